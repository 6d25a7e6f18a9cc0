"""A few problems that tell implementations apart, each with one thing in it: where to begin without Hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventsolve.losses import MaxVoltageCrossEntropy, TargetTimeMSE, TTFSCrossEntropy
from eventsolve.network import LI, LIF, Network
from eventsolve.problem import Problem, Size, network_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Key

_NEURON = LIF(20e-3, 5e-3)
_FIRST, _SECOND = [[9.0, 4.0], [5.0, 8.0], [7.0, 7.5]], [[8.0, 3.0, 5.0], [4.0, 9.0, 6.0]]
_TRAINS = [[[0.0, 6e-3], [2e-3]], [[1e-3], [3.3e-3]], [[0.5e-3, 9e-3], [2.5e-3]]]


def _one_spike() -> Problem:
    net = network_of({"in": 1, "out": (1, _NEURON)}, {("in", "out"): {"weight": [[8.0]]}})
    return Problem(net, {"in": SpikeTrains.from_lists([[[0.0]]])}, 50e-3, TargetTimeMSE("out", [[2e-3]]))


def _with(network: Network, n_samples: int = 1) -> Problem:
    loss = TTFSCrossEntropy("out", [0, 1, 1][:n_samples], tau0=2e-3, tau1=10e-3, alpha=3e-3)
    return Problem(network, {"in": SpikeTrains.from_lists(_TRAINS[:n_samples])}, 20e-3, loss)


def _layered(hidden: LIF = _NEURON, *, delay: float = 0.0, n_samples: int = 1) -> Problem:
    populations: dict[str, Size] = {"in": 2, "hidden": (3, hidden), "out": (2, LIF(19e-3, 6e-3, t_ref=5e-3))}
    weights: dict[Key, dict[str, Any]] = {
        ("in", "hidden"): {"weight": _FIRST, "delay": delay},
        ("hidden", "out"): {"weight": _SECOND, "delay": 2 * delay},
    }
    return _with(network_of(populations, weights), n_samples)


def _recurrent() -> Problem:
    inside = [[0.0, -1.4, 0.5], [0.7, 0.0, -0.8], [-0.6, 0.9, 0.0]]
    net = network_of(
        {"in": 2, "hidden": (3, _NEURON), "out": (2, LIF(19e-3, 6e-3, t_ref=5e-3))},
        {
            ("in", "hidden"): {"weight": _FIRST},
            ("hidden", "hidden"): {"weight": inside, "delay": 0.3e-3},
            ("hidden", "out"): {"weight": _SECOND},
        },
    )
    return _with(net)


def _readout() -> Problem:
    net = network_of(
        {"in": 2, "hidden": (3, _NEURON), "out": (2, LI(20e-3, 5e-3))},
        {("in", "hidden"): {"weight": _FIRST}, ("hidden", "out"): {"weight": _SECOND}},
    )
    return Problem(
        net, {"in": SpikeTrains.from_lists(_TRAINS[:1])}, 20e-3, MaxVoltageCrossEntropy("out", [0])
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "one spike": _one_spike,
    "two layers": _layered,
    "a batch": lambda: _layered(n_samples=3),
    "delays": lambda: _layered(delay=1.1e-3),
    "equal time constants": lambda: _layered(LIF(8e-3, 8e-3)),
    "parameters per neuron": lambda: _layered(
        LIF([18e-3, 20e-3, 24e-3], [5e-3, 4e-3, 6e-3], [1.0, 0.9, 1.1])
    ),
    "leak and reset": lambda: _layered(LIF(20e-3, 5e-3, v_leak=0.2, v_reset=-0.3)),
    "a refractory period": lambda: _layered(LIF(20e-3, 5e-3, t_ref=2.2e-3)),
    "a recurrent layer": _recurrent,
    "a readout": _readout,
}
"""By what is in them."""
