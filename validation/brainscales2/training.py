"""DelGrad's trainings, exactly and on noisy chips in the loop: Adam on small batches, with their silent-neuron rule.

A step is what :class:`validation.brainscales2.BrainScaleS2` does, but compiled, and but for spikes that a neuron
repeats after the chip's refractory period. As in DelGrad's code a sample's part in the gradient of a neuron's weights
is dropped if a weight gets more than :data:`CAP`; a batch in which too many spikes are missing makes no gradient step:
in the first layer that misses them, weights of neurons that miss some rise, by twice as much each time in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from eventsolve.interrupts import call, interruptible
from eventsolve.io import datasets
from eventsolve.typing import Reals
from validation.brainscales2.chip import Mismatch
from validation.brainscales2.closed_forms import SLOPES, Slope
from validation.brainscales2.kernels import layers as kernels
from validation.brainscales2.networks import (
    T_END,
    TAU,
    Parameters,
    Setup,
    broadcast,
    by_parameter,
    delay_of,
    encoded,
    initial,
    keys,
    network,
)
from validation.brainscales2.target import BrainScaleS2
from validation.training.batches import through_batches

Engine = Literal["exact", "crossing", "measured", "threshold", "true"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
"""The ideal network; a chip in the loop with one of the slopes; a chip whose parameters are known."""

CAP = 0.2
"""Of a sample's part in dL/dw of the mean loss, where weights are DelGrad's and times are in tau."""
SILENT = 100.0
"""What an output that is silent adds to the loss of a sample."""
BUMP = 5e-4
FALL, EVERY = 0.95, 20
"""By how much the rates fall, and every how many epochs."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of an Adam of its own, which takes rate times moment and then divides: that of :mod:`validation.training.optimizers`
rounds otherwise, and the trainings of docs/targets/brainscales2.md are those of these bits."""


@dataclass(frozen=True, eq=False)
class Circuits:
    """A chip as arrays, layer by layer; times in tau.

    Attributes
    ----------
    levels, factors : tuple of ndarray, (n_post,)
        Thresholds, and time constants relative to the nominal ones.
    gains : tuple of ndarray, (n_rows, n_post, n_pre)
    offsets : tuple of ndarray, (n_pre,)
        Of delay circuits.
    settings : BrainScaleS2 or None
        Its grids and its noise; None for an ideal network without any.
    """

    levels: tuple[Reals, ...]
    factors: tuple[Reals, ...]
    gains: tuple[Reals, ...]
    offsets: tuple[Reals, ...]
    settings: BrainScaleS2 | None = None


def ideal(setup: Setup) -> Circuits:
    """Return what the data sheet says."""
    shapes = setup.layers
    return Circuits(
        tuple(np.full(post, setup.threshold) for _, post, _ in shapes),
        tuple(np.ones(post) for _, post, _ in shapes),
        tuple(np.ones(shape) for shape in shapes),
        tuple(np.zeros(pre) for _, _, pre in shapes),
    )


def circuits(setup: Setup, chip: BrainScaleS2) -> Circuits:
    """Return what a chip is really like."""
    drawn: Mismatch = chip.drawn(network(setup, initial(setup, 0)))
    bare, names = ideal(setup), ("in", "hidden", "out")
    return replace(
        bare,
        levels=tuple(level + drawn.threshold.get(names[k + 1], 0.0) for k, level in enumerate(bare.levels)),
        factors=tuple(factor * drawn.tau.get(names[k + 1], 1.0) for k, factor in enumerate(bare.factors)),
        gains=tuple(
            np.stack([drawn.gain.get(key, np.ones(gain.shape[1:])) for key in rows])
            for rows, gain in zip(keys(setup), bare.gains, strict=True)
        ),
        offsets=tuple(offset + drawn.delay.get(names[k], 0.0) / TAU for k, offset in enumerate(bare.offsets)),
        settings=chip,
    )


@dataclass(frozen=True, eq=False)
class Pass:
    """What was measured of a batch, layer by layer; times in tau, inf where silent.

    Attributes
    ----------
    arrivals : tuple of ndarray, (n_samples, n_pre)
        At the layer, behind axonal delays.
    delays : tuple of ndarray, (n_post, n_pre)
        On the way from there.
    spikes : tuple of ndarray, (n_samples, n_post)
    levels : tuple of ndarray, (n_post,)
        Thresholds as they were.
    weights : tuple of ndarray, (n_rows, n_post, n_pre)
        As they were held, in eventsolve's unit.
    """

    arrivals: tuple[Reals, ...]
    delays: tuple[Reals, ...]
    spikes: tuple[Reals, ...]
    levels: tuple[Reals, ...]
    weights: tuple[Reals, ...]


def forward(
    setup: Setup, parameters: Parameters, times: Reals, circuit: Circuits, rng: np.random.Generator
) -> Pass:
    """Return what the network does with inputs at ``times``, (n_samples, 4)."""
    chip = circuit.settings
    noise = _Noise(chip, rng)
    spikes: list[Reals] = []
    arrivals, delays, levels, weights = [], [], [], []
    sent = times
    for k, (_, post, pre) in enumerate(setup.layers):
        held = parameters.weights[k] * setup.ratio
        if chip is not None and chip.has("weight_grid"):
            held = (
                np.clip(np.rint(held / chip.weight_step), -chip.weight_max, chip.weight_max)
                * chip.weight_step
            )
        own = np.zeros((post, pre))
        measured = spikes[-1] if spikes else sent
        if setup.delays == "axonal":
            line = delay_of(setup, parameters.delays[k])
            if chip is not None and chip.has("delay_grid"):
                line = chip.line(line * TAU) / TAU
            sent = noise.moved(sent + line + circuit.offsets[k])
            measured = noise.stamped(sent)
        elif setup.delays is not None:
            own = np.ascontiguousarray(broadcast(setup, delay_of(setup, parameters.delays[k]), (post, pre)))
        level = noise.threshold(circuit.levels[k])
        found = np.empty((len(sent), post))
        total = np.einsum("rpi,rpi->pi", held, circuit.gains[k])
        call(kernels.first_spikes, sent, own, total, level, circuit.factors[k], setup.ratio, found)
        if chip is not None:
            found[found > T_END] = np.inf
        sent = noise.lost(noise.moved(found))
        arrivals.append(measured)
        delays.append(own)
        spikes.append(noise.stamped(sent))
        levels.append(level)
        weights.append(held)
    return Pass(tuple(arrivals), tuple(delays), tuple(spikes), tuple(levels), tuple(weights))


class _Noise:
    """What a chip does to thresholds and spikes in a trial; nothing without a chip."""

    def __init__(self, chip: BrainScaleS2 | None, rng: np.random.Generator) -> None:
        self.chip, self.rng = chip, rng

    def _size(self, cause: str, of: str) -> float:
        return float(getattr(self.chip, of)) if self.chip is not None and self.chip.has(cause) else 0.0

    def threshold(self, level: Reals) -> Reals:
        size = self._size("threshold_noise", "threshold_noise")
        return level + size * self.rng.standard_normal(level.size) if size else level

    def moved(self, times: Reals) -> Reals:
        size = self._size("jitter", "jitter") / TAU
        return np.maximum(times + size * self.rng.standard_normal(times.shape), 0.0) if size else times

    def lost(self, times: Reals) -> Reals:
        size = self._size("lost", "lost")
        return np.where(self.rng.random(times.shape) < size, np.inf, times) if size else times

    def stamped(self, times: Reals) -> Reals:
        size = self._size("time_grid", "time_stamp") / TAU
        return np.rint(times / size) * size if size else times


def loss(setup: Setup, outputs: Reals, labels: Any) -> tuple[Reals, Reals]:
    """Return each sample's loss and dL/dt of its outputs; what is silent adds :data:`SILENT` and no slope."""
    rows = np.arange(labels.size)
    own = outputs[rows, labels][:, None]
    with np.errstate(invalid="ignore"):
        error = outputs - own - setup.gap
    error[rows, labels] = 0.0
    silent = ~np.isfinite(outputs)
    missing = silent | silent[rows, labels][:, None]
    missing[rows, labels] = silent[rows, labels]
    error[missing] = 0.0
    slope = error.copy()
    slope[rows, labels] = -error.sum(axis=1)
    return 0.5 * (error**2).sum(axis=1) + SILENT * missing.sum(axis=1), slope


@dataclass(frozen=True, eq=False)
class Step:
    """What a batch gives: its mean loss, gradients like :attr:`Parameters.arrays`, and how many spikes were dropped."""

    loss: float
    gradients: tuple[Reals, ...]
    dropped: int


def backward(
    setup: Setup,
    parameters: Parameters,
    measured: Pass,
    labels: Any,
    circuit: Circuits,
    engine: Engine,
    cap: float = CAP,
) -> Step:
    """Return the gradient of the mean loss along what was measured, in DelGrad's unit and by delays' parameters."""
    values, errors = loss(setup, measured.spikes[-1], labels)
    kind: Slope = "measured" if engine in ("exact", "true") else engine  # type: ignore[assignment]
    bare = ideal(setup)
    by_weight: list[Reals] = []
    by_delay: list[Reals] = []
    dropped = 0
    for k in reversed(range(len(measured.spikes))):
        known = engine == "true"
        gains = circuit.gains[k] if known else bare.gains[k]
        shape = measured.weights[k].shape[1:]
        dw, dd, dt = np.zeros(shape), np.zeros(shape), np.zeros(measured.arrivals[k].shape)
        _, n = call(
            kernels.along,
            measured.arrivals[k],
            measured.delays[k],
            np.einsum("rpi,rpi->pi", measured.weights[k], gains),
            measured.spikes[k],
            errors,
            kernels.Neurons(
                measured.levels[k] if known else bare.levels[k],
                circuit.factors[k] if known else bare.factors[k],
                setup.ratio,
            ),
            SLOPES.index(kind),
            cap * len(labels) / setup.ratio,
            kernels.Gradients(dw, dd, dt),
        )
        dropped += n
        by_weight.insert(0, gains * dw * setup.ratio / len(labels))
        if setup.delays is not None:
            parameter = parameters.delays[k]
            total = {"axonal": dt.sum(axis=0), "dendritic": dd.sum(axis=1), "synaptic": dd}[setup.delays]
            by_delay.insert(0, total * by_parameter(setup, parameter) / len(labels))
        errors = dt
    return Step(float(values.mean()), (*by_weight, *by_delay), dropped)


# -- a training ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A training.

    Attributes
    ----------
    setup : Setup
    engine : Engine
    seed : int
        Of initial parameters, of the order of samples, of noise, and of the chip.
    epochs : int
    n_train : int
        Of the published 5000 samples.
    """

    setup: Setup
    engine: Engine
    seed: int
    epochs: int = 300
    n_train: int = 5000

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {self.engine!r}")
        if self.engine != "exact" and not self.setup.on_chip:
            raise ValueError(
                f"the network {self.setup.name!r} does not fit the chip; train it with the engine 'exact'"
            )
        for name in ("epochs", "n_train"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)!r}")

    @property
    def chip(self) -> BrainScaleS2 | None:
        """The chip in the loop."""
        return None if self.engine == "exact" else chip_of(self.seed)


def chip_of(seed: int) -> BrainScaleS2:
    """Return a chip with all causes that a training knows."""
    return BrainScaleS2(seed, slope="measured", without=("unrounded", "refractory"))


def points(n: int, seed: int) -> tuple[Reals, Any]:
    """Return input times in tau and labels."""
    data = datasets.yin_yang(n, seed)
    return encoded(data.points), np.asarray(data.labels)


@dataclass(frozen=True, eq=False)
class Trained:
    """A training's end.

    Attributes
    ----------
    parameters : Parameters
    history : tuple of float
        Validation accuracy after each epoch.
    bumped : float
        Share of steps without a gradient.
    dropped : float
        Spikes that the cap dropped, per gradient step.
    """

    parameters: Parameters
    history: tuple[float, ...]
    bumped: float
    dropped: float


def accuracy(
    setup: Setup,
    parameters: Parameters,
    circuit: Circuits,
    times: Reals,
    labels: Any,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the share of samples whose label spikes first, and that of silent outputs."""
    outputs = forward(setup, parameters, times, circuit, rng).spikes[-1]
    right = np.isfinite(outputs.min(axis=1)) & (outputs.argmin(axis=1) == labels)
    return float(right.mean()), float(np.isinf(outputs).mean())


def train(plan: Plan) -> Iterator[Trained]:
    """Yield what is trained after each epoch."""
    setup = plan.setup
    circuit = ideal(setup) if plan.chip is None else circuits(setup, plan.chip)
    parameters = initial(setup, plan.seed)
    times, labels = points(plan.n_train, 42)
    held_out = points(1000, 41)
    rng = np.random.default_rng([plan.seed, 1])
    data_sheet = BrainScaleS2()
    most = data_sheet.weight_max * data_sheet.weight_step if setup.on_chip else np.inf
    n_layers = len(parameters.weights)
    zeros = tuple(np.zeros_like(a) for a in parameters.arrays)
    state = _State(parameters, (zeros, zeros))
    rates: list[float] = []

    def step(before: _State, batch: Any) -> tuple[_State, None]:
        at, chosen, drawn = times[batch], labels[batch], rng.bit_generator.state

        def once() -> tuple[Pass, Step]:
            rng.bit_generator.state = drawn  # also of a step that was interrupted, and is begun again
            measured = forward(setup, before.parameters, at, circuit, rng)
            return measured, backward(setup, before.parameters, measured, chosen, circuit, plan.engine)

        measured, found = interruptible(once)
        after = _after(before, measured, found, rates, setup.silence)
        arrays = after.parameters.arrays
        weights = tuple(np.clip(w, -most, most) for w in arrays[:n_layers])
        return replace(after, parameters=Parameters(weights, tuple(arrays[n_layers:]))), None

    history: list[float] = []
    for epoch in range(plan.epochs):
        rates = [r * FALL ** (epoch // EVERY) for r in setup.rates]
        state, _ = through_batches(state, rng.permutation(len(labels)), setup.batch, step, whole=True)
        history.append(accuracy(setup, state.parameters, circuit, *held_out, rng)[0])
        bumped = state.bumps / (state.bumps + state.taken)
        yield Trained(state.parameters, tuple(history), bumped, state.dropped / max(1, state.taken))


@dataclass(frozen=True, eq=False)
class _State:
    """A training after some steps: gradient steps, bumps, spikes that the cap dropped; the last layer bumped, or -1."""

    parameters: Parameters
    moments: tuple[tuple[Reals, ...], tuple[Reals, ...]]
    taken: int = 0
    bumps: int = 0
    dropped: int = 0
    bumped: int = -1
    bump: float = 0.0


def _after(
    state: _State, measured: Pass, step: Step, rates: Sequence[float], silence: Sequence[float]
) -> _State:
    """Return the state after a batch: by the bump of a layer that is too silent, or else by Adam."""
    arrays, n_layers = list(state.parameters.arrays), len(state.parameters.weights)
    quiet = [k for k, t in enumerate(measured.spikes) if np.isinf(t).mean() > silence[k]]
    if quiet:
        k = quiet[0]
        bump = 2.0 * state.bump if k == state.bumped else BUMP
        arrays[k] = arrays[k].copy()
        arrays[k][:, np.isinf(measured.spikes[k]).any(axis=0)] += bump
        after = replace(state, bumps=state.bumps + 1, bumped=k, bump=bump)
    else:
        taken = state.taken + 1
        first, second = (
            tuple(beta * m + (1.0 - beta) * g**power for m, g in zip(moment, step.gradients, strict=True))
            for moment, beta, power in zip(state.moments, BETAS, (1, 2), strict=True)
        )
        for k, (m, v) in enumerate(zip(first, second, strict=True)):
            m, v = m / (1.0 - BETAS[0] ** taken), v / (1.0 - BETAS[1] ** taken)
            arrays[k] = arrays[k] - rates[k >= n_layers] * m / (np.sqrt(v) + EPSILON)
        dropped = state.dropped + step.dropped
        after = replace(state, moments=(first, second), taken=taken, dropped=dropped, bumped=-1)
    return replace(after, parameters=Parameters(tuple(arrays[:n_layers]), tuple(arrays[n_layers:])))


# -- a table of trainings -----------------------------------------------------------------------------------------


OTHERS = 4
"""Chips of another seed on which weights that a chip has learned are tried."""


def result(plan: Plan, trained: Trained) -> dict[str, Any]:
    """Return what a training is worth on the test set: on its own chip or the ideal network, and on others."""
    setup, rng = plan.setup, np.random.default_rng([plan.seed, 2])
    test = points(1000, 40)
    chips = (
        [circuits(setup, chip_of(1000 + plan.seed * OTHERS + k)) for k in range(OTHERS)]
        if setup.on_chip
        else []
    )
    own = ideal(setup) if plan.chip is None else circuits(setup, plan.chip)
    right, silent = accuracy(setup, trained.parameters, own, *test, rng)
    return {
        "setup": setup.name,
        "engine": plan.engine,
        "seed": plan.seed,
        "epochs": plan.epochs,
        "n_train": plan.n_train,
        "accuracy": right,
        "silent": silent,
        "ideal": accuracy(setup, trained.parameters, ideal(setup), *test, rng)[0],
        "others": [accuracy(setup, trained.parameters, chip, *test, rng)[0] for chip in chips],
        "validation": [round(value, 4) for value in trained.history],
        "bumped": trained.bumped,
        "dropped": trained.dropped,
    }
