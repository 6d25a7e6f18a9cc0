"""What wrong numbers of a chip's program look like: one thing done otherwise that would give them.

States are explained by other numbers (rounding, overflow, the weights of another batch or layout) that give exactly
what was got, or by what a step adds to the decayed state: arrivals a step late or early, one of them missing, no reset.
Backward numbers are explained by the adjoint of the layer written out in float64 (Béna et al. 2024, as in
:mod:`validation.spinnaker2.layer_program`) with one thing done otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

import numpy as np

import eventsolve as es
from eventsolve.compare.comparison import label_of
from eventsolve.io.records import Record
from eventsolve.typing import Booleans, Key, Reals
from validation.diagnosis.evidence import answer_of, evidence_of
from validation.diagnosis.writing import conventions_of
from validation.fixedpoint import FixedFormat, Overflow, Rounding
from validation.grid.first_spikes import read_loss
from validation.grid.steps import number_of_samples, number_of_steps
from validation.spinnaker2 import SpiNNaker2Core
from validation.spinnaker2.arithmetic import Arithmetic, Calculator, Number, decode
from validation.spinnaker2.image import Image, LayerImage
from validation.spinnaker2.layer_program import LayerProgram
from validation.spinnaker2.packets import SpikePackets

STALE, TRANSPOSED = "stale weights: those of the batch before", "transposed weights"


@dataclass(frozen=True, eq=False)
class Reference:
    """A problem, and what the model of the chip makes of it: what a chip's program is held against."""

    core: SpiNNaker2Core
    problem: es.Problem
    previous: es.Network | None
    image: Image
    expected: Record

    @classmethod
    def of(cls, core: SpiNNaker2Core, problem: es.Problem, previous: es.Network | None) -> Reference:
        """Run the model, with traces."""
        shown = replace(core, traces=True)
        return cls(shown, problem, previous, shown.image(problem.network), shown.run(problem))

    @property
    def dt(self) -> float:
        """Seconds of a step."""
        return self.core.time_step

    @property
    def n_steps(self) -> int:
        """Steps of a run, the initial state included."""
        return number_of_steps(self.problem.t_end, self.dt)

    @property
    def output(self) -> str:
        """The population that the loss reads."""
        n = number_of_samples(self.problem.network, self.problem.inputs)
        return read_loss(self.problem.loss, self.problem.network, n).population

    def consumers(self, name: str) -> list[Key]:
        """Projections on which spikes of a population go."""
        return [key for key in self.expected.weight if key[0] == name]

    def is_last(self, name: str) -> Booleans:
        """Say behind which spikes the own adjoint is 0: their neuron has none later with a dL/dt, (n_spikes,)."""
        trains = self.expected.spikes[name]
        felt = self.expected.spike_times[name] != 0
        cells = trains.samples * trains.n_neurons + trains.neurons
        latest = np.full(trains.n_samples * trains.n_neurons, -np.inf)
        np.maximum.at(latest, cells[felt], trains.times[felt])
        last: Booleans = trains.times >= latest[cells]
        return last

    def weights(self, key: Key) -> Reals:
        """Weights as the core holds them, (n_post, n_pre)."""
        block = next(b for b in self.image.layers[key[1]].afferents if b.key == key)
        return decode(block.values, block.number).T


def raster(record: Record, name: str, n_steps: int, dt: float) -> Booleans:
    """Return who spikes when, (n_samples, n_neurons, n_steps); what is later than the last step is left out."""
    trains = record.trains[name]
    steps = np.rint(trains.times / dt).astype(np.int64)
    found = np.zeros((trains.n_samples, trains.n_neurons, n_steps), np.bool_)
    here = steps < n_steps
    found[trains.samples[here], trains.neurons[here], steps[here]] = True
    return found


def _grain(number: Number, values: Reals) -> float:
    """By how much a few roundings may move numbers of a format."""
    if isinstance(number, FixedFormat):
        return 4 * number.resolution
    return 16 * float(np.finfo(number.dtype).eps) * float(np.abs(values).max(initial=1.0))


# -- forward


def current_of(record: Record, name: str) -> Reals:
    """Return the current of a trace, or raise a ValueError if the record has none."""
    current = record.traces[name].current
    if current is None:
        raise ValueError(f"currents of {name!r} are needed to localise a fault; {record.name!r} has none")
    return current


def input_faults(reference: Reference, got: Record, name: str) -> tuple[str, ...]:
    """Say what wrong input spikes look like."""
    want, have = (raster(r, name, reference.n_steps, reference.dt) for r in (reference.expected, got))
    found = []
    for shift, words in ((1, "every spike a step late"), (-1, "every spike a step early")):
        moved = np.roll(want, shift, axis=2)
        moved[:, :, 0 if shift > 0 else -1] = False
        inner = slice(1, -1)
        if np.array_equal(moved[:, :, inner], have[:, :, inner]):
            found.append(words)
    lost = int(np.count_nonzero(want & ~have))
    if lost and not (have & ~want).any():
        found.append(f"{lost} of {int(want.sum())} packets lost")
    return tuple(found)


def state_faults(
    reference: Reference, got: Record, name: str, quantity: str, place: tuple[int, int, int]
) -> tuple[str, ...]:
    """Say what a wrong current, voltage or spike of a layer looks like."""
    if quantity == "spikes":
        return ("the comparison with the threshold",)
    found = [
        words for words, _ in sorted(_reruns(reference, got, name, quantity, place), key=lambda fit: -fit[1])
    ]
    stepwise = _arrival_faults if quantity == "current" else _voltage_faults
    return tuple([*found, *stepwise(reference, got, name, place)])


def _reruns(
    reference: Reference, got: Record, name: str, quantity: str, place: tuple[int, int, int]
) -> Iterator[tuple[str, int]]:
    """Yield other programs of a layer that make of its arrivals what was got, and how many numbers they give.

    They have to give all numbers up to the place that is off, and more than the model gives.
    """
    step = place[2]
    have, want = getattr(got.traces[name], quantity), getattr(reference.expected.traces[name], quantity)
    for words, arithmetic, layer in _others(reference, name):
        program = LayerProgram(
            name,
            layer,
            got.n_samples,
            reference.n_steps,
            arithmetic,
            Calculator(arithmetic, reference.image.streams[name]),
        )
        sources = {
            block.key[0]: raster(got, block.key[0], reference.n_steps, reference.dt)
            for block in layer.afferents
        }
        for k in range(1, reference.n_steps):
            arriving = (SpikePackets(source, *np.nonzero(s[:, :, k - 1])) for source, s in sources.items())
            program.forward(k, [packets for packets in arriving if packets.samples.size])
        there = program.currents if quantity == "current" else program.voltages
        same = decode(there, arithmetic.state).transpose(1, 2, 0) == have
        if same[:, :, : step + 1].all() and np.count_nonzero(same) > np.count_nonzero(want == have):
            yield words, int(np.count_nonzero(same))


def _others(reference: Reference, name: str) -> Iterator[tuple[str, Arithmetic, LayerImage]]:
    """Yield how a layer may compute, or be loaded, otherwise."""
    a, layer = reference.core.formats, reference.image.layers[name]
    for other in _arithmetics(a):
        yield other[0], other[1], layer
    weights = {key: p.weight for key, p in reference.problem.network.projections.items()}
    into = [key for key in weights if key[1] == name]
    if reference.previous is not None:
        old = {key: reference.previous.projections[key].weight for key in into}
        yield (
            STALE,
            a,
            reference.core.image(reference.problem.network.with_weights({**weights, **old})).layers[name],
        )
    for key in into:
        if weights[key].shape[0] == weights[key].shape[1]:
            turned = reference.problem.network.with_weights({**weights, key: weights[key].T.copy()})
            yield f"{TRANSPOSED} of {label_of(key)}", a, reference.core.image(turned).layers[name]


def _arithmetics(a: Arithmetic) -> Iterator[tuple[str, Arithmetic]]:
    """Yield the same formats with other rounding, or another overflow."""
    if not any(isinstance(number, FixedFormat) for number in (a.weight, a.state, a.adjoint)):
        return
    for rounding in get_args(Rounding):
        if rounding not in (a.rounding, "stochastic"):
            yield f"rounding {rounding!r} in place of {a.rounding!r}", replace(a, rounding=rounding)
    for overflow in get_args(Overflow):
        if overflow != a.overflow:
            yield f"overflow {overflow!r} in place of {a.overflow!r}", replace(a, overflow=overflow)


def _arrival_faults(
    reference: Reference, got: Record, name: str, place: tuple[int, int, int]
) -> Iterator[str]:
    """Yield what the arrivals of a neuron look like, by what its current is beyond its own decay."""
    sample, neuron, step = place
    layer = reference.image.layers[name]
    current = current_of(got, name)[sample, neuron]
    alpha = float(decode(layer.alpha, reference.core.formats.decay))
    added = current[1:] - alpha * current[:-1]
    arriving = np.zeros((reference.n_steps + 1,))
    packets: list[tuple[str, int, int, float]] = []
    for block in layer.afferents:
        source = block.key[0]
        spikes = raster(got, source, reference.n_steps, reference.dt)[sample]
        w = reference.weights(block.key)[neuron]
        arriving[1:] += w @ spikes
        packets += [(source, j, k, float(w[j])) for j, k in np.argwhere(spikes[:, : reference.n_steps - 1])]
    grain = _grain(reference.core.formats.state, current) * max(1, len(packets))

    def explains(other: Reals) -> bool:
        return bool((np.abs(added - other[1 : reference.n_steps]) <= grain).all())

    if explains(np.concatenate([[0.0], arriving[:-1]])):
        yield "arrivals a step late"
    if explains(np.concatenate([arriving[1:], [0.0]])):
        yield "arrivals a step early"
    if explains(-arriving):
        yield "the wrong sign of the weights"
    for source, j, k, weight in packets:
        if k + 1 == step and weight and abs(added[step - 1] - (arriving[step] - weight)) <= grain:
            yield f"a lost packet: the spike of neuron {j} of {source!r} in step {k}"


def _voltage_faults(
    reference: Reference, got: Record, name: str, place: tuple[int, int, int]
) -> Iterator[str]:
    """Yield what a voltage looks like, by from where it decayed."""
    sample, neuron, step = place
    layer, number = reference.image.layers[name], reference.core.formats.decay
    v, i = got.traces[name].voltage[sample, neuron], current_of(got, name)[sample, neuron]
    beta, rest = (float(decode(f, number)) for f in (layer.beta, layer.one_minus_beta))
    grain = _grain(reference.core.formats.state, v)
    if not step or not raster(got, name, reference.n_steps, reference.dt)[sample, neuron, step - 1]:
        return
    decayed = v[step] - rest * i[step]
    threshold = float(decode(layer.v_threshold, reference.core.formats.state)[neuron])
    if abs(decayed - beta * v[step - 1]) <= grain:
        yield "a lost reset: the voltage goes on from where it crossed the threshold"
    if abs(decayed - beta * (v[step - 1] - threshold)) <= grain:
        yield "a reset by subtraction of the threshold"


# -- backward


class Rules(NamedTuple):
    """One thing that an adjoint may do otherwise."""

    denominator: Callable[[Reals, Reals, Reals], Reals] = lambda i, v, reset: i - v
    swing: float = 1.0
    keeps: float = 1.0


ADJOINTS: dict[str, Rules] = {
    "a denominator from the voltage after the reset, I - v_reset": Rules(lambda i, v, reset: i - reset),
    "a denominator with the wrong sign, V - I": Rules(lambda i, v, reset: v - i),
    "a denominator of I alone": Rules(lambda i, v, reset: i),
    "no (v_threshold - v_reset) lambda_V in the jump": Rules(swing=0.0),
    "the adjoint voltage not carried through a spike": Rules(keeps=0.0),
}
"""By what would be wrong."""


class Adjoints(NamedTuple):
    """Of a layer; (n_samples, n_neurons, n_steps) each: what a gradient samples, and what an error is made of."""

    current: Reals
    difference: Reals


def adjoint(reference: Reference, name: str, rules: Rules) -> Adjoints:
    """Return the adjoint of a layer, in float64 and SI units, for the errors that it received in the model."""
    layer, number = reference.image.layers[name], reference.core.formats
    alpha, beta = (float(decode(f, number.decay)) for f in (layer.alpha, layer.beta))
    threshold, reset = (decode(x, number.state) for x in (layer.v_threshold, layer.v_reset))
    trace, currents = reference.expected.traces[name], current_of(reference.expected, name)
    trains = reference.expected.spikes[name]
    spikes = raster(reference.expected, name, reference.n_steps, reference.dt)
    total = np.zeros(spikes.shape)
    steps = np.rint(trains.times / reference.dt).astype(np.int64)
    total[trains.samples, trains.neurons, steps] = reference.expected.spike_times[name]
    shape = spikes.shape[:2]
    true_v, lam_v, lam_i = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    current, difference = np.zeros(spikes.shape), np.zeros(spikes.shape)
    for k in range(reference.n_steps - 2, -1, -1):
        i, v, fired = currents[:, :, k + 1], trace.voltage[:, :, k + 1], spikes[:, :, k + 1]
        error = total[:, :, k + 1] - true_v * (
            i - reset
        )  # what was received: dL/dt less what the model's adjoint adds
        difference[:, :, k] = lam_v - lam_i
        lam_i = alpha * lam_i + (1 - alpha) * lam_v
        slope = np.where(fired, rules.denominator(i, v, reset), 1.0)
        jump = np.where(fired, (rules.swing * (threshold - reset) * lam_v + error) / slope, 0.0)
        lam_v = beta * np.where(fired, rules.keeps, 1.0) * lam_v + jump
        true_jump = np.where(fired, ((threshold - reset) * true_v + error) / np.where(fired, i - v, 1.0), 0.0)
        true_v = beta * true_v + true_jump
        current[:, :, k] = lam_i
    return Adjoints(current, difference)


def plain_gradient(reference: Reference, key: Key, rules: Rules) -> Reals:
    """Return dL/dw of a projection by :func:`adjoint`, (n_samples, n_post, n_pre)."""
    arriving = raster(reference.expected, key[0], reference.n_steps, reference.dt)
    arriving[:, :, -1] = False
    tau_syn = reference.image.layers[key[1]].tau_syn
    return np.asarray(
        -tau_syn * np.einsum("spk,sqk->spq", adjoint(reference, key[1], rules).current, arriving)
    )


def _fit(reference: Reference, got: Reals, expected: Reals, plain: Reals, other: Reals) -> float:
    """Return how far numbers are from those of a fault, 1 being as far as from the expected ones.

    A fault's numbers are the expected ones changed as float64 says.
    """
    predicted = expected + (other - plain)
    whole = float(np.linalg.norm(got - expected))
    return float(np.linalg.norm(got - predicted)) / whole if whole and math.isfinite(whole) else math.inf


CLOSE = 0.05
"""A fault explains an error of which it leaves less than this part; number formats leave some."""


def adjoint_faults(reference: Reference, got: Record, name: str) -> tuple[str, ...]:
    """Say what a wrong adjoint looks like, by all gradients of the layer."""
    keys = [block.key for block in reference.image.layers[name].afferents]

    def joined(of: Callable[[Key], Reals]) -> Reals:
        return np.concatenate([of(key).ravel() for key in keys])

    have, want = joined(lambda key: got.weight[key]), joined(lambda key: reference.expected.weight[key])
    plain = joined(lambda key: plain_gradient(reference, key, Rules()))
    fits = []
    for words, rules in ADJOINTS.items():
        other = joined(lambda key, rules=rules: plain_gradient(reference, key, rules))  # type: ignore[misc]
        fit = _fit(reference, have, want, plain, other)
        if fit < CLOSE:
            fits.append((fit, words))
    rest = tuple(words for key in keys for words in gradient_faults(reference, got, key)) if not fits else ()
    return tuple(
        dict.fromkeys([*(words for _, words in sorted(fits)), *_rerun_gradients(reference, got, keys), *rest])
    )


def gradient_faults(reference: Reference, got: Record, key: Key) -> tuple[str, ...]:
    """Say what a wrong gradient looks like, by its convention errors."""
    place = ("weight", key)
    evidence = evidence_of(
        reference.problem, replace(got, gradients={"weight": {key: got.weight[key]}}), reference.dt
    )
    return tuple(
        convention.name
        for convention in conventions_of(evidence, answer_of(reference.expected, evidence), place, 1e-6)[:3]
    )


def common_factor(reference: Reference, got: Record, keys: list[Key]) -> tuple[str, ...]:
    """Return what explains the gradients of all projections alike."""
    each = [gradient_faults(reference, got, key) for key in keys]
    return tuple(words for words in each[0] if all(words in other for other in each[1:]))


def _rerun_gradients(reference: Reference, got: Record, keys: list[Key]) -> Iterator[str]:
    """Yield other arithmetics of the whole core that give exactly these gradients."""
    for words, arithmetic in _arithmetics(reference.core.formats):
        there = replace(reference.core, format=arithmetic).run(reference.problem)
        if all(np.array_equal(there.weight[key], got.weight[key]) for key in keys):
            yield words


def error_faults(reference: Reference, got: Record, name: str, off: Booleans) -> tuple[str, ...]:
    """Say what wrong errors of spikes look like: those of a loss, or those that layers send back.

    ``off`` says which spikes got a wrong one of those that tell what was received.
    """
    want, have = reference.expected.spike_times[name], got.spike_times[name]
    known = reference.is_last(name) | (name in reference.image.inputs)
    found = []
    scale = float(np.abs(want[known]).max(initial=0.0))
    if np.abs(have + want)[known].max(initial=0.0) <= 1e-6 * scale:
        found.append("a factor -1 (a sign)")
    if (have[off] == 0).all():
        found.append(f"lost error packets: {int(off.sum())} of {int(np.count_nonzero(want[known]))} are 0")
    found += list(_sent_otherwise(reference, name, want, have, known))
    return tuple(dict.fromkeys(found))


def _sent_otherwise(
    reference: Reference, name: str, want: Reals, have: Reals, known: Booleans
) -> Iterator[str]:
    """Yield other weights with which layers would have sent what was received."""
    trains = reference.expected.spikes[name]
    steps = np.rint(trains.times / reference.dt).astype(np.int64)
    inside = known & (steps < reference.n_steps - 1)

    def change(key: Key, other: Reals) -> Reals:
        difference = adjoint(reference, key[1], Rules()).difference[trains.samples[inside], :, steps[inside]]
        return np.asarray(
            (difference * (other - reference.weights(key))[:, trains.neurons[inside]].T).sum(axis=1)
        )

    for key in reference.consumers(name):
        w = reference.weights(key)
        candidates = {"the wrong sign of the weights": -w}
        if reference.previous is not None:
            candidates[STALE] = reference.previous.projections[key].weight
        if w.shape[0] == w.shape[1]:
            candidates[TRANSPOSED] = w.T
        for words, other in candidates.items():
            moved = change(key, other)
            fit = _fit(reference, have[inside], want[inside], np.zeros(moved.shape), moved)
            if fit < CLOSE:
                yield f"{words} of {label_of(key)} in what is sent back"
