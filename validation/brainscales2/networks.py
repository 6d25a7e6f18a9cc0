"""DelGrad's networks for Yin-Yang, as Göltz et al. (2025) train them in simulation and on the chip.

Sizes, thresholds, encoding, initial values and rates are those of the configurations in JulianGoeltz/fastAndDeep at
33e4876; weights are in that code's unit, in which a network with tau_mem = 2 tau_syn has half of eventsolve's. There is
no configuration for dendritic delays among them: they are given those of synaptic ones here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

import eventsolve as es
from eventsolve.checks import count
from eventsolve.io import datasets
from eventsolve.typing import Key, Reals

TAU = 6e-6
"""Seconds: tau_syn of the chip, and of all that is stated in tau."""
T_END = 30.0
"""tau: the time that the chip gives a sample."""
EARLIEST, LATEST = 0.15, 2.0
"""tau: the time of an input of 0, and of 1."""
RAISED = (0.6, 0.3)
"""By how much the weights of each layer on the chip are raised, for neurons that spike."""
Delays = Literal["axonal", "dendritic", "synaptic"]


@dataclass(frozen=True)
class Setup:
    """One of DelGrad's networks, 4-hidden-3, and how it is trained; times in tau.

    Attributes
    ----------
    name, published : str
        The latter is the configuration's name, empty if there is none.
    hidden, rows : int
        How many neurons, and how many synapses of each an input drives.
    ratio : int
        tau_mem / tau_syn.
    threshold : float
    delays : {"axonal", "dendritic", "synaptic"} or None
        Shared by what a neuron sends, by what it receives, or one for each synapse.
    shift, scale : float
        A delay is ``shift + scale sigmoid(parameter)``.
    batch : int
    rates : (float, float)
        Adam's, of weights and of delays' parameters.
    moments : pair of (mean, standard deviation)
        Of initial weights, per layer.
    delay_spread : float
        Standard deviation of delays' parameters.
    gap : float
        By which other outputs should come after the label's.
    silence : (float, float)
        Share of hidden and output spikes that may be missing in a batch that makes a gradient step.
    on_chip : bool
        Whether it fits the chip.
    accuracy : float or None
        Published, of one seed.
    """

    name: str
    published: str
    hidden: int
    ratio: int
    threshold: float
    delays: Delays | None
    batch: int
    rates: tuple[float, float]
    moments: tuple[tuple[float, float], tuple[float, float]]
    rows: int = 1
    shift: float = 0.0
    scale: float = 1.0
    delay_spread: float = 0.25
    gap: float = 0.2
    silence: tuple[float, float] = (0.3, 0.0)
    on_chip: bool = False
    accuracy: float | None = None

    @property
    def layers(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Rows, neurons and inputs of each layer."""
        return (self.rows, self.hidden, 4), (1, 3, self.hidden)


def _simulated(
    name: str,
    published: str,
    hidden: int,
    delays: Delays | None,
    rates: tuple[float, float],
    first: float,
    accuracy: float | None,
) -> Setup:
    return Setup(
        name, published, hidden, 2, 1.0, delays, 150, rates, ((first, 1.0), (first, 1.0)), accuracy=accuracy
    )


def _chip(name: str, published: str, delays: Delays | None, accuracy: float) -> Setup:
    return Setup(
        name, published, 30, 1, 2.6, delays, 40, (0.002, 0.002), ((0.1, 0.12), (0.075, 0.15)), rows=5, shift=2.0,
        scale=1.5, delay_spread=0.5, gap=0.3, silence=(0.05, 0.05), on_chip=True, accuracy=accuracy,
    )  # fmt: skip


SETUPS: Mapping[str, Setup] = {
    setup.name: setup
    for setup in (
        _simulated("weights", "H30_W", 30, None, (0.02, 0.02), 0.5, 0.967),
        _simulated("axonal", "H30_WA", 30, "axonal", (0.005, 0.005), 1.0, 0.975),
        _simulated("dendritic", "", 30, "dendritic", (0.01, 0.003), 1.0, None),
        _simulated("synaptic", "H30_WS", 30, "synaptic", (0.01, 0.003), 1.0, 0.982),
        _simulated("synaptic-5", "H5_WS", 5, "synaptic", (0.015, 0.01), 1.0, 0.954),
        _chip("chip-weights", "hxpynn_W", None, 0.849),
        _chip("chip-axonal", "hxpynn", "axonal", 0.926),
    )
}


@dataclass(frozen=True, eq=False)
class Parameters:
    """What is trained.

    Attributes
    ----------
    weights : tuple of ndarray, (n_rows, n_post, n_pre)
        Per layer, in the unit of DelGrad's code.
    delays : tuple of ndarray
        Per layer, the parameter of a delay: (n_pre,) axonal, (n_post,) dendritic, (n_post, n_pre) synaptic; empty
        without delays.
    """

    weights: tuple[Reals, ...]
    delays: tuple[Reals, ...] = field(default=())

    @property
    def arrays(self) -> tuple[Reals, ...]:
        """Weights, then delays."""
        return self.weights + self.delays


def initial(setup: Setup, seed: int) -> Parameters:
    """Return initial parameters that a seed draws."""
    rng = np.random.default_rng(seed)
    weights = tuple(
        rng.normal(mean, sd, shape) for (mean, sd), shape in zip(setup.moments, setup.layers, strict=True)
    )
    if setup.delays is None:
        return Parameters(weights)
    shapes: list[tuple[int, ...]] = [
        {"axonal": (pre,), "dendritic": (post,), "synaptic": (post, pre)}[setup.delays]
        for _, post, pre in setup.layers
    ]
    return Parameters(weights, tuple(rng.normal(0.0, setup.delay_spread, shape) for shape in shapes))


def delay_of(setup: Setup, parameter: Reals) -> Reals:
    """Return delays in tau."""
    result: Reals = setup.shift + setup.scale / (1.0 + np.exp(-parameter))
    return result


def by_parameter(setup: Setup, parameter: Reals) -> Reals:
    """Return the derivative of delays by their parameter."""
    sigmoid = 1.0 / (1.0 + np.exp(-parameter))
    result: Reals = setup.scale * sigmoid * (1.0 - sigmoid)
    return result


def broadcast(setup: Setup, delays: Reals, shape: tuple[int, int]) -> Reals:
    """Return delays of every synapse, (n_post, n_pre)."""
    return np.broadcast_to(delays[:, None] if setup.delays == "dendritic" else delays, shape)


def network(setup: Setup, parameters: Parameters, t_end: float = T_END) -> es.Network:
    """Return the network, in seconds and in eventsolve's unit of weights; ``t_end`` in tau."""
    neuron = es.LIF(setup.ratio * TAU, TAU, v_threshold=setup.threshold, t_ref=t_end * TAU)
    net = es.Network()
    names = ("in", "hidden", "out")
    net.add_input("in", 4)
    for k, (_, post, pre) in enumerate(setup.layers):
        net.add_population(names[k + 1], post, neuron)
        delay = (
            broadcast(setup, delay_of(setup, parameters.delays[k]), (post, pre)) * TAU
            if setup.delays
            else 0.0
        )
        for weight, key in zip(parameters.weights[k], keys(setup)[k], strict=True):
            net.connect(
                names[k],
                names[k + 1],
                weight * setup.ratio,
                delay=delay,
                name=key[2] if len(key) > 2 else None,
            )
    return net


def keys(setup: Setup) -> tuple[tuple[Key, ...], ...]:
    """Return the projections of each row, layer by layer."""
    first: tuple[Key, ...] = tuple(("in", "hidden", f"row {c}") for c in range(setup.rows))
    return (first if setup.rows > 1 else (("in", "hidden"),)), (("hidden", "out"),)


def encoded(points: Reals) -> Reals:
    """Return the time of each coordinate's spike, in tau."""
    result: Reals = EARLIEST + (LATEST - EARLIEST) * points
    return result


@dataclass(frozen=True)
class DelGrad:
    """DelGrad's networks for Yin-Yang, by the time of the first output spike.

    The published trainings on the chip start with weights of which no neuron spikes, and raise them first; here the
    initial weights are those, raised by :data:`RAISED`.

    Attributes
    ----------
    setup : str
        One of :data:`SETUPS`: "weights", "axonal", "dendritic", "synaptic", "synaptic-5" in simulation, "chip-weights"
        and "chip-axonal" on the chip.

    Raises
    ------
    ValueError
        If there is no such set-up.
    """

    setup: str = "chip-axonal"

    def __post_init__(self) -> None:
        if self.setup not in SETUPS:
            raise ValueError(f"setup must be one of {', '.join(SETUPS)}; got {self.setup!r}")

    @property
    def name(self) -> str:
        """The task and its set-up."""
        return f"DelGrad's Yin-Yang, {self.setup}"

    def problem(self, n_samples: int = 32, seed: int = 42) -> es.Problem:
        """Return points and initial parameters that ``seed`` draws; silent outputs are skipped."""
        setup = SETUPS[self.setup]
        data = datasets.yin_yang(count("n_samples", n_samples), seed)
        parameters = initial(setup, seed)
        if setup.on_chip:
            weights = tuple(w + more for w, more in zip(parameters.weights, RAISED, strict=True))
            parameters = Parameters(weights, parameters.delays)
        return problem(setup, parameters, data)


def problem(setup: Setup, parameters: Parameters, data: datasets.YinYang) -> es.Problem:
    """Return a batch of points for a network."""
    trains = es.SpikeTrains.from_dense(encoded(data.points) * TAU)
    loss = es.losses.RelativeMSE("out", data.labels, gap=setup.gap * TAU, silent="skip")
    return es.Problem(network(setup, parameters), {"in": trains}, T_END * TAU, loss)
