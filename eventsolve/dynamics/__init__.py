"""What a network does in the long run, from exact derivatives of its flow through all events."""

from eventsolve.dynamics.continuation import Branch as Branch
from eventsolve.dynamics.continuation import Continuation as Continuation
from eventsolve.dynamics.continuation import ContinuationError as ContinuationError
from eventsolve.dynamics.continuation import continuation as continuation
from eventsolve.dynamics.crossings import Event as Event
from eventsolve.dynamics.flow import Coordinates as Coordinates
from eventsolve.dynamics.flow import FlowDerivative as FlowDerivative
from eventsolve.dynamics.flow import coordinates as coordinates
from eventsolve.dynamics.flow import displaced as displaced
from eventsolve.dynamics.flow import flow_derivative as flow_derivative
from eventsolve.dynamics.flow import position as position
from eventsolve.dynamics.flow import velocity as velocity
from eventsolve.dynamics.flux_tubes import FluxTube as FluxTube
from eventsolve.dynamics.flux_tubes import flux_tube as flux_tube
from eventsolve.dynamics.lyapunov import LyapunovError as LyapunovError
from eventsolve.dynamics.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from eventsolve.dynamics.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from eventsolve.dynamics.orbit import NoOrbitError as NoOrbitError
from eventsolve.dynamics.orbit import Orbit as Orbit
from eventsolve.dynamics.orbit_branches import OrbitBranch as OrbitBranch
from eventsolve.dynamics.orbit_branches import OrbitContinuation as OrbitContinuation
from eventsolve.dynamics.orbit_branches import OrbitEvent as OrbitEvent
from eventsolve.dynamics.phase import PhaseResponse as PhaseResponse
from eventsolve.dynamics.phase import phase_response as phase_response
from eventsolve.dynamics.searches import periodic_orbit as periodic_orbit
from eventsolve.dynamics.sensitivity import Sensitivity as Sensitivity
from eventsolve.dynamics.sensitivity import sensitivity as sensitivity
from eventsolve.lazily import attached as _attached

__dir__ = _attached(__name__)[1]
