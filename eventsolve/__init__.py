"""Exact spike times and exact gradients of spiking neural networks in continuous time."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from eventsolve import losses as losses
from eventsolve._version import __version__ as __version__
from eventsolve.adjoint import Gradients as Gradients
from eventsolve.adjoint import StreamGradients as StreamGradients
from eventsolve.adjoint import UndefinedGradientError as UndefinedGradientError
from eventsolve.adjoint import value_and_grad as value_and_grad
from eventsolve.adjoint import vjp as vjp
from eventsolve.adjoint_states import AdjointStates as AdjointStates
from eventsolve.adjoint_states import adjoint_states as adjoint_states
from eventsolve.calibrate import Calibration as Calibration
from eventsolve.calibrate import calibrate as calibrate
from eventsolve.certify import Certificate as Certificate
from eventsolve.certify import OrbitCertificate as OrbitCertificate
from eventsolve.certify import certify as certify
from eventsolve.certify import certify_orbit as certify_orbit
from eventsolve.first_spikes import solve_first_spikes as solve_first_spikes
from eventsolve.interrupts import Interrupted as Interrupted
from eventsolve.network import LI as LI
from eventsolve.network import LIF as LIF
from eventsolve.network import Network as Network
from eventsolve.observe import Observation as Observation
from eventsolve.observe import Residual as Residual
from eventsolve.observe import observe as observe
from eventsolve.pieces import value_and_grad_in_pieces as value_and_grad_in_pieces
from eventsolve.problem import Problem as Problem
from eventsolve.solution import Solution as Solution
from eventsolve.solve import RepeatedSpikeError as RepeatedSpikeError
from eventsolve.solve import SpikeBudgetError as SpikeBudgetError
from eventsolve.solve import solve as solve
from eventsolve.spiketrains import SpikeTrains as SpikeTrains
from eventsolve.stability.condition import Condition as Condition
from eventsolve.stability.condition import gradient_condition as gradient_condition
from eventsolve.stability.estimates import RadiusEstimate as RadiusEstimate
from eventsolve.stability.margins import Margin as Margin
from eventsolve.stability.margins import Margins as Margins
from eventsolve.stability.margins import margins as margins
from eventsolve.stability.one_sided import OneSided as OneSided
from eventsolve.stability.sides import gradient_sides as gradient_sides
from eventsolve.stability.spread import Spread as Spread
from eventsolve.stability.spread import spread as spread
from eventsolve.stability.trust import TrustRadius as TrustRadius
from eventsolve.stability.trust import trust_radius as trust_radius
from eventsolve.state import State as State
from eventsolve.tangents import Tangents as Tangents
from eventsolve.tangents import jvp as jvp
from eventsolve.units import UnitWarning as UnitWarning

if _TYPE_CHECKING:
    from eventsolve import adapters as adapters
    from eventsolve import dynamics as dynamics
    from eventsolve import io as io
    from eventsolve import multiprecision as multiprecision
    from eventsolve import plot as plot
    from eventsolve import testing as testing
    from eventsolve.dynamics import Continuation as Continuation
    from eventsolve.dynamics import ContinuationError as ContinuationError
    from eventsolve.dynamics import FluxTube as FluxTube
    from eventsolve.dynamics import LyapunovError as LyapunovError
    from eventsolve.dynamics import LyapunovSpectrum as LyapunovSpectrum
    from eventsolve.dynamics import NoOrbitError as NoOrbitError
    from eventsolve.dynamics import Orbit as Orbit
    from eventsolve.dynamics import OrbitContinuation as OrbitContinuation
    from eventsolve.dynamics import PhaseResponse as PhaseResponse
    from eventsolve.dynamics import Sensitivity as Sensitivity
    from eventsolve.dynamics import continuation as continuation
    from eventsolve.dynamics import flux_tube as flux_tube
    from eventsolve.dynamics import lyapunov_spectrum as lyapunov_spectrum
    from eventsolve.dynamics import periodic_orbit as periodic_orbit
    from eventsolve.dynamics import phase_response as phase_response
    from eventsolve.dynamics import sensitivity as sensitivity
    from eventsolve.plot.explorer import Explorer as Explorer
    from eventsolve.plot.explorer import explore as explore
else:
    from eventsolve.lazily import attached as _attached

    __getattr__, __dir__ = _attached(
        __name__,
        *("adapters", "dynamics", "io", "losses", "multiprecision", "plot", "testing"),
        names=dict.fromkeys(
            (
                *("Continuation", "ContinuationError", "FluxTube", "LyapunovError", "LyapunovSpectrum"),
                *("NoOrbitError", "Orbit", "OrbitContinuation", "PhaseResponse", "Sensitivity"),
                *("continuation", "flux_tube", "lyapunov_spectrum", "periodic_orbit", "phase_response"),
                "sensitivity",
            ),
            "dynamics",
        )
        | dict.fromkeys(("Explorer", "explore"), "plot.explorer"),
    )
