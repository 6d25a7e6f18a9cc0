"""Pictures: every function takes Axes, or makes a new figure, draws into them and returns them.

Times are drawn in milliseconds, in the colours of Okabe & Ito, which every kind of colour vision tells apart. What has
a label is named by ``ax.legend()``; ``matplotlib.rc_context(plot.STYLE)`` gives whole figures the same look.

- :func:`raster`, :func:`margin_strips`                                  spikes, and how near others are
- :func:`voltage`, :func:`current`                                       exact states, piece by piece between events
- :func:`adjoint_voltage`, :func:`adjoint_current`                       dL/dV and dL/dI alike
- :func:`gradient_scatter`, :func:`gradient_map`                         a gradient beside another; synapse by synapse
- :func:`convergence`, :func:`waterfall`                                 errors over a resolution, and by their causes
- :func:`spectrum`, :func:`exponent_convergence`                         Lyapunov exponents, and how they converge
- :func:`floquet_multipliers`, :func:`response_curve`                   of periodic orbits: stability, and kicks
- :func:`orbit_branches`                                                 orbits over a parameter, stable or not
- :func:`network`                                                        populations and projections
- :func:`decision_boundary`                                              what a classifier says of every point
- :func:`branches`                                                     a bifurcation diagram, with its events marked
- :func:`phase_portrait`, :func:`return_map`                            I over V with jumps; each number over the last
- :func:`sensitivity`                                                   which number moves which spike
- :func:`explore`                                                        any of these with sliders, in a notebook
"""

from eventsolve.lazily import attached as _attached
from eventsolve.plot import _matplotlib as _matplotlib
from eventsolve.plot.branches import branches as branches
from eventsolve.plot.branches import phase_portrait as phase_portrait
from eventsolve.plot.branches import return_map as return_map
from eventsolve.plot.branches import sensitivity as sensitivity
from eventsolve.plot.decisions import decision_boundary as decision_boundary
from eventsolve.plot.errors import convergence as convergence
from eventsolve.plot.errors import waterfall as waterfall
from eventsolve.plot.exponents import exponent_convergence as exponent_convergence
from eventsolve.plot.exponents import spectrum as spectrum
from eventsolve.plot.gradients import gradient_map as gradient_map
from eventsolve.plot.gradients import gradient_scatter as gradient_scatter
from eventsolve.plot.graph import network as network
from eventsolve.plot.orbits import floquet_multipliers as floquet_multipliers
from eventsolve.plot.orbits import orbit_branches as orbit_branches
from eventsolve.plot.orbits import response_curve as response_curve
from eventsolve.plot.sliders import explore as explore
from eventsolve.plot.spikes import margin_strips as margin_strips
from eventsolve.plot.spikes import raster as raster
from eventsolve.plot.style import STYLE as STYLE
from eventsolve.plot.traces import adjoint_current as adjoint_current
from eventsolve.plot.traces import adjoint_voltage as adjoint_voltage
from eventsolve.plot.traces import current as current
from eventsolve.plot.traces import voltage as voltage

__dir__ = _attached(__name__)[1]
