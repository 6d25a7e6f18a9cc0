r"""Networks from and to NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024); the extra ``nir``.

NIR writes its neurons as ODEs driven by trains of Dirac pulses, S (``nir/ir/neuron.py``):

    CubaLIF, CubaLI:   tau_syn dI/dt = -I + w_in S,   tau_mem dv/dt = (v_leak - v) + r I
    LIF, LI:           tau dv/dt = (v_leak - v) + r S

so that a spike over a weight w adds r w_in w / tau_syn to what eventsolve calls the current, and r w / tau to the
voltage of neurons without one: a delta synapse. A constant input b, the bias of an Affine, adds to the leak: r w_in b,
towards which the current of a CubaLIF relaxes from 0, and r b. NIR leaves initial states open; here they are 0.

It also leaves the height of a spike open, and exporters that run on a clock write graphs in which a spike is a pulse of
height 1 that lasts one step dt: an area of dt, where Dirac's has 1. Taken literally their synapses come out 1/dt too
strong: snnTorch's ``Leaky(beta=0.9)`` is written with tau = 1e-3, r = 10 and dt = 1e-4, so that a weight of 0.6 lifts V
by r w / tau = 6000. ``from_nir(graph, dt=1e-4)`` multiplies by the area, which gives the 0.6 of the program. Biases are
constants, and the same in both readings. What remains is that tau = dt / (1 - beta) is Euler's: V decays by exp(-0.1) =
0.905 over a step, not by 0.9.
"""

from eventsolve.io.nir.reading import from_nir as from_nir
from eventsolve.io.nir.reading import read as read
from eventsolve.io.nir.writing import to_nir as to_nir
