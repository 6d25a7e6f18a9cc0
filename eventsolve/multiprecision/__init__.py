"""The slow truth: the same problem in mpmath at any number of digits, written to be obviously right.

Nothing here is shared with the float64 kernels. A :class:`Problem` holds every parameter as an mpf, so that
it can be given in decimals and perturbed far below the resolution of float64; :func:`problem` reads one from
a network, whose float64 numbers it takes exactly as they are. :func:`solve` runs it forward, :func:`gradient`
differentiates by central differences; ``solve_problem`` and ``derivative`` do so for a ``Problem``.

Order of events: by time. At one time threshold crossings come before arrivals, crossings by population (in
the order in which the network lists them) and then neuron; arrivals act one after the other, by the spike that
caused them and then by synapse (by projection, then in the order of ``Projection.weights``). Spikes of inputs
come first, by input, time and channel; then those of neurons, in the order in which they occur. Whether two
times are equal is decided at the working precision.

All numbers are mpf of a context of their own (``solution.context``); the global precision of mpmath is
neither read nor changed. In an expression of two mpf the left one's context rounds: start from the solution's
numbers or its context.
"""

from eventsolve.lazily import attached as _attached
from eventsolve.multiprecision.differences import Loss as Loss
from eventsolve.multiprecision.differences import SpikeCountChanged as SpikeCountChanged
from eventsolve.multiprecision.differences import derivative as derivative
from eventsolve.multiprecision.differences import gradient as gradient
from eventsolve.multiprecision.flow import State as State
from eventsolve.multiprecision.forward import solve as solve
from eventsolve.multiprecision.forward import solve_problem as solve_problem
from eventsolve.multiprecision.problems import NEURON_PARAMETERS as NEURON_PARAMETERS
from eventsolve.multiprecision.problems import Mpf as Mpf
from eventsolve.multiprecision.problems import Neuron as Neuron
from eventsolve.multiprecision.problems import Parameter as Parameter
from eventsolve.multiprecision.problems import Problem as Problem
from eventsolve.multiprecision.problems import Spike as Spike
from eventsolve.multiprecision.problems import Synapse as Synapse
from eventsolve.multiprecision.problems import problem as problem
from eventsolve.multiprecision.solution import ExactSolution as ExactSolution

__dir__ = _attached(__name__)[1]
