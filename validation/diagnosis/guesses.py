"""Guesses: one thing wrong in the network, in the machine, or in what the machine was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.network import LARGEST, Projection
from eventsolve.problem import Problem
from eventsolve.typing import Key, Reals
from validation.diagnosis.evidence import Evidence
from validation.diagnosis.factors import Numbers, factors
from validation.grid.flaws import NONE, Flaws

Kind: TypeAlias = Literal["convention", "fault"]
NEVER = 1e30
"""A threshold that is not reached."""
MOST_CHANNELS = 64
"""How many inputs are guessed to be dead, one by one."""


@dataclass(frozen=True, eq=False)
class Guess:
    """One thing wrong, and what is run instead.

    Attributes
    ----------
    name : str
        What is wrong, in words.
    where : str
        In which part of the computation.
    problem : Problem
        What is run.
    flaws : Flaws
        With which flaws it is run.
    kind : {"convention", "fault"}
    """

    name: str
    where: str
    problem: Problem
    flaws: Flaws = NONE
    kind: Kind = "fault"


def arrow(key: Key) -> str:
    """Return a projection in words."""
    return f"{key[0]} → {key[1]}" + (f" ({key[2]})" if len(key) > 2 else "")


# -- the machine ---------------------------------------------------------------------------------------------------


def in_the_machine(evidence: Evidence) -> Iterator[Guess]:
    """Yield what may be wrong in how states move and packets go."""
    problem = evidence.problem
    first = next((p.name for p in problem.network.populations.values() if p.neuron is not None), "")
    said = ", as the record says" if evidence.record.scheme.reset_between_samples is False else ""
    if problem.n_samples > 1:
        for what, flaws in (
            ("V and I are", Flaws(carries_voltage=True, carries_current=True)),
            ("I is", Flaws(carries_current=True)),
            ("V is", Flaws(carries_voltage=True)),
        ):
            yield Guess(
                f"state carried from sample to sample: {what} not reset between samples{said}",
                f"spikes of {first}, from sample 1 on",
                problem,
                flaws,
            )
    for packets, words in (
        ("one per projection", "of a projection only the first"),
        ("last per projection", "of a projection only the last"),
        ("one per population", "to a population only the first"),
        ("one", "only the first"),
    ):
        yield Guess(
            f"packets dropped: of several in the same step {words} is delivered",
            f"spikes of {first}",
            problem,
            Flaws(packets=packets),  # type: ignore[arg-type]
        )
    yield Guess(
        "the current is reset at a spike, too", f"spikes of {first}", problem, Flaws(resets_current=True)
    )
    if any(p.parameter("t_ref").any() for p in _neurons(problem)):
        yield Guess(
            "V is not held in the refractory period, only spikes are suppressed",
            f"spikes of {first}",
            problem,
            Flaws(drifts=True),
        )


# -- the network ---------------------------------------------------------------------------------------------------


def in_the_network(evidence: Evidence) -> Iterator[Guess]:
    """Yield what may be wrong in the network that runs."""
    problem, network = evidence.problem, evidence.problem.network
    for name, where, changed in networks(evidence):
        yield Guess(name, where, replace(problem, network=changed))
    for name, changed in _scaled(evidence):
        yield Guess(name, "all weights", replace(problem, network=changed))
    yield from rounded(evidence)
    spiking = [p.name for p in _neurons(problem) if p.neuron.spiking]
    for whose in together_and_alone(spiking):
        other = network
        for name in whose:
            other = with_parameters(other, name, t_ref=2 * problem.t_end)
        yield Guess(
            f"one spike per neuron: silence after the first: {', '.join(whose)}",
            f"spikes of {whose[0]}",
            replace(problem, network=other),
        )
    for p in _neurons(problem):
        if p.neuron.spiking:
            drop = p.parameter("v_threshold") * (1 - 1e-9)
            kept = with_parameters(network, p.name, v_reset=drop, reset="subtract")
            yield Guess(
                f"no reset after a spike: {p.name}", f"spikes of {p.name}", replace(problem, network=kept)
            )
    for p in _neurons(problem):
        if not p.neuron.spiking:
            continue
        rows = evidence.spikes.get(p.name)
        silent = np.setdiff1d(np.arange(p.size), rows[:, 2]) if rows is not None else np.empty(0, np.int64)
        for neuron in silent[:MOST_CHANNELS].tolist():
            threshold = p.parameter("v_threshold").copy()
            threshold[neuron] = NEVER
            yield Guess(
                f"dead neuron: neuron {neuron} of {p.name!r} never spikes, or has weights or a threshold that keep it "
                "silent",
                f"spikes of {p.name}, neuron {neuron} of {p.name!r}",
                replace(problem, network=with_parameters(network, p.name, v_threshold=threshold)),
            )


Changed: TypeAlias = tuple[str, str, es.Network]


def lags(evidence: Evidence, most: int = 1) -> Iterator[tuple[str, float]]:
    """Yield by how much a time may be off, in words and in seconds: at most ``most`` steps of a clock."""
    if not evidence.clocked:
        yield from ((f"{abs(lag):.6g} s too {'long' if lag > 0 else 'short'}", lag) for lag in evidence.lags)
        return
    for steps in (n * sign for n in range(1, most + 1) for sign in (1, -1)):
        by = "a step" if abs(steps) == 1 else f"{abs(steps)} steps"
        yield f"{by} too {'long' if steps > 0 else 'short'}", steps * evidence.time_step


def networks(evidence: Evidence) -> Iterator[Changed]:
    """Yield what is wrong, where, and the network with it."""
    network = evidence.problem.network
    projections = network.projections
    yield from _weights(projections, network)
    yield from _delays(evidence)
    changes: list[tuple[str, str, Callable[[Any], dict[str, Any]]]] = [
        ("t_ref", f"refractory period {by}", partial(_held_longer, lag)) for by, lag in lags(evidence)
    ]
    changes += [
        ("tau", "tau_mem and tau_syn swapped", lambda n: {"tau_mem": n.tau_syn, "tau_syn": n.tau_mem}),
        ("t_ref", "refractory period ignored (t_ref = 0)", lambda n: {"t_ref": 0.0}),
        ("v_leak", "leak ignored (v_leak = 0)", lambda n: {"v_leak": 0.0}),
        ("v_reset", "reset to 0 in place of v_reset", lambda n: {"v_reset": 0.0}),
        (
            "reset",
            "reset by subtraction and reset to a value mistaken for each other",
            lambda n: {"reset": "value" if n.reset == "subtract" else "subtract"},
        ),
        ("v_initial", "initial state ignored", lambda n: {"v_initial": 0.0, "i_initial": 0.0}),
    ]
    for name, words, change in changes:
        of = [p for p in network.populations.values() if p.neuron is not None]
        if name in ("t_ref", "v_reset", "reset"):
            of = [p for p in of if p.spiking]
        others = {p.name: change(p.neuron) for p in of if _changes(p.neuron, change(p.neuron))}
        for whose in together_and_alone(list(others)):
            neurons: dict[str, Any] = {q: network.population(q).neuron for q in whose}
            other = network.with_neurons({q: replace(n, **others[q]) for q, n in neurons.items()})
            yield f"{words}: {', '.join(whose)}", f"spikes of {whose[0]}", other


def _changes(neuron: Any, parameters: Mapping[str, Any]) -> bool:
    """Return whether any of a neuron's parameters would be another: else there is nothing to be wrong in."""
    return any(np.any(getattr(neuron, name) != value) for name, value in parameters.items())


def _held_longer(lag: float, neuron: Any) -> dict[str, Any]:
    return {"t_ref": np.maximum(np.asarray(neuron.t_ref) + lag, 0.0)}


def together_and_alone(names: list[Any]) -> list[list[Any]]:
    """Return all, then each alone."""
    return [names, *([name] for name in names)] if len(names) > 1 else [names] if names else []


def _weights(projections: Mapping[Key, Projection], network: es.Network) -> Iterator[Changed]:
    def changed(keys: list[Key], change: Callable[[Any], Any]) -> es.Network:
        return network.with_weights({key: change(projections[key].weight) for key in keys})

    def reweighted(keys: list[Key], change: Callable[[Reals], Reals]) -> es.Network:
        of = {key: projections[key] for key in keys}
        return network.with_weights({key: p.shaped(change(p.weights)) for key, p in of.items()})

    orders: list[tuple[str, str, Callable[[Reals], Reals]]] = [
        ("weights transposed: ", " read as (n_pre, n_post)", lambda weight: weight.T.reshape(weight.shape))
    ]
    for by in (1, -1):
        for axis, side in ((1, "source"), (0, "target")):
            words = f"neuron index off by one: {side} neuron j of "
            rest = f" takes the place of j {'+ 1' if by > 0 else '- 1'}"
            orders.append((words, rest, partial(np.roll, shift=by, axis=axis)))
    dense = {key: p for key, p in projections.items() if isinstance(p.weight, np.ndarray)}
    for words, rest, order in orders:
        moved = [key for key, p in dense.items() if np.any(order(p.weight) != p.weight)]
        for keys in together_and_alone(moved):
            of, post = ", ".join(map(arrow, keys)), keys[0][1]
            yield f"{words}{of}{rest}", f"weights {of}; spikes of {post}", changed(keys, order)
    changes: list[tuple[str, Callable[[Reals], Reals]]] = [
        ("sign of inhibition lost: absolute value of the weights", np.abs),
        ("negative weights lost: inhibition is 0", partial(np.maximum, 0.0)),
        ("sign of all weights turned round", np.negative),
        ("weights missing: 0", np.zeros_like),
    ]
    for words, change in changes:
        moved = [key for key, p in projections.items() if np.any(change(p.weights) != p.weights)]
        for keys in together_and_alone(moved):
            of, post = ", ".join(map(arrow, keys)), keys[0][1]
            yield f"{words}: {of}", f"weights {of}; spikes of {post}", reweighted(keys, change)
    by_pattern = {_pattern(p): key for key, p in projections.items()}
    for key, p in projections.items():
        other = by_pattern[_pattern(p)]
        if other != key:
            yield (
                f"weights of {arrow(key)} and {arrow(other)} exchanged",
                f"weights {arrow(key)}; spikes of {key[1]}",
                network.with_weights({key: projections[other].weight, other: p.weight}),
            )


def _pattern(p: Projection) -> tuple[Any, ...]:
    """Return what two projections share whose synapses are between the same neurons, stored alike."""
    return p.weight.shape, *(of.tobytes() for of in (p.row_offsets, p.sources) if sp.issparse(p.weight))


def rounded(evidence: Evidence) -> Iterator[Guess]:
    """Yield weights rounded to few bits."""
    network = evidence.problem.network
    changes: list[tuple[str, Callable[[Projection], Reals]]] = [
        ("weights rounded to float16", lambda p: p.weights.astype(np.float16).astype(np.float64)),
        *((f"weights rounded to multiples of {2.0**-b:g}", partial(_in_units, 2.0**-b)) for b in range(9)),
        *((f"weights rounded to {bits} bits", partial(_in_bits, bits)) for bits in range(2, 9)),
    ]
    for words, change in changes:
        others = {key: change(p) for key, p in network.projections.items()}
        moved = [
            key for key, weights in others.items() if np.any(weights != network.projections[key].weights)
        ]
        for keys in together_and_alone(moved):
            of = ", ".join(map(arrow, keys))
            found = network.with_weights({key: network.projections[key].shaped(others[key]) for key in keys})
            where = f"weights {of}; spikes of {keys[0][1]}"
            yield Guess(f"{words}: {of}", where, replace(evidence.problem, network=found))


def _in_units(unit: float, p: Projection) -> Reals:
    return np.asarray(np.rint(p.weights / unit) * unit)


def _in_bits(bits: int, p: Projection) -> Reals:
    return _in_units((float(np.abs(p.weights).max(initial=0.0)) or 1.0) / (2 ** (bits - 1) - 1), p)


def _scaled(evidence: Evidence) -> Iterator[tuple[str, es.Network]]:
    """Yield the network with all weights multiplied by a factor between conventions."""
    problem = evidence.problem
    projections = problem.network.projections
    step = evidence.time_step if evidence.clocked else evidence.record.time_step
    found: dict[str, dict[Any, Any]] = {}
    for key, p in projections.items():
        for name, reason, factor in factors(Numbers("weight", key, problem, step)):
            rows = np.broadcast_to(factor if factor.ndim else factor[None, None], (p.weight.shape[0], 1))
            per_synapse = np.repeat(rows[:, 0], np.diff(p.row_offsets))
            words = f"weights multiplied by {name}" + (f" ({reason})" if reason else "")
            scaled = p.weights * per_synapse
            if np.all(np.abs(scaled) <= LARGEST):  # else it is no network
                found.setdefault(words, {})[key] = p.shaped(scaled)
    for words, weights in found.items():
        if len(weights) == len(projections):
            yield words, problem.network.with_weights(weights)


def _delays(evidence: Evidence) -> Iterator[Changed]:
    network = evidence.problem.network
    projections = network.projections
    delayed = [key for key, p in projections.items() if p.delay.any()]
    for keys in together_and_alone(delayed):
        of, post = ", ".join(map(arrow, keys)), keys[0][1]
        none = {key: projections[key].shaped(np.zeros_like(projections[key].delay)) for key in keys}
        yield f"delays forgotten: {of}", f"delay of {of}; spikes of {post}", network.with_delays(none)
    for by, lag in lags(evidence, 2):
        least = -lag * (1 - 1e-9)  # a delay that is shorter cannot be too short by as much
        can = [key for key, p in projections.items() if p.delay.size and p.delay.max() >= least]
        inner = [key for key in can if key[0] not in evidence.problem.inputs]
        groups = together_and_alone(can)
        if 1 < len(inner) < len(can):
            groups.insert(1, inner)
        for keys in groups:
            of, post = ", ".join(map(arrow, keys)), keys[0][1]
            late = {
                key: projections[key].shaped(np.maximum(projections[key].delay + lag, 0.0)) for key in keys
            }
            yield f"delay {by}: {of}", f"delay of {of}; spikes of {post}", network.with_delays(late)


# -- what the network is given ----------------------------------------------------------------------------------------


def in_the_inputs(evidence: Evidence) -> Iterator[Guess]:
    """Yield what may be wrong in the inputs."""
    problem = evidence.problem
    for name, trains in problem.inputs.items():
        where = f"inputs {name!r}"

        def given(changed: es.SpikeTrains, name: str = name) -> Problem:
            return replace(problem, inputs={**problem.inputs, name: changed})

        for by in (1, -1):
            rolled = (trains.neurons + by) % max(1, trains.n_neurons)
            yield Guess(
                f"neuron index off by one: input neuron j of {name!r} sends as j {'+ 1' if by > 0 else '- 1'}",
                where,
                given(_trains(trains, neurons=rolled)),
            )
            samples = (trains.samples + by) % max(1, trains.n_samples)
            if trains.n_samples > 1:
                yield Guess(
                    f"samples off by one: sample s gets the inputs of s {'- 1' if by > 0 else '+ 1'}",
                    where,
                    given(_trains(trains, samples=samples)),
                )
        first = np.sort(np.unique(np.stack([trains.samples, trains.neurons]), axis=1, return_index=True)[1])
        if first.size < trains.n_spikes:
            yield Guess(
                f"only the first spike of every input neuron of {name!r} is sent",
                where,
                given(_trains(trains, first)),
            )
        for neuron in range(min(trains.n_neurons, MOST_CHANNELS)):
            others = np.flatnonzero(trains.neurons != neuron)
            if others.size < trains.n_spikes:
                yield Guess(
                    f"dead input: neuron {neuron} of {name!r} never spikes",
                    f"{where}, neuron {neuron} of {name!r}",
                    given(_trains(trains, others)),
                )


def _trains(
    trains: es.SpikeTrains, chosen: Any = slice(None), neurons: Any = None, samples: Any = None
) -> es.SpikeTrains:
    times = trains.times[chosen]
    of = (trains.neurons if neurons is None else neurons)[chosen]
    inside = (trains.samples if samples is None else samples)[chosen]
    order = np.lexsort((of, times, inside))
    return es.SpikeTrains.from_arrays(
        times[order],
        of[order],
        inside[order],
        n_samples=trains.n_samples,
        n_neurons=trains.n_neurons,
    )


def _neurons(problem: Problem) -> list[Any]:
    return [p for p in problem.network.populations.values() if p.neuron is not None]


def with_parameters(network: es.Network, population: str, **parameters: Any) -> es.Network:
    """Return the network with other parameters of a population."""
    neuron: Any = network.population(population).neuron
    return network.with_neurons({population: replace(neuron, **parameters)})


def forward(evidence: Evidence) -> Iterator[Guess]:
    """Yield every guess that changes spikes."""
    yield from in_the_machine(evidence)
    yield from in_the_network(evidence)
    yield from in_the_inputs(evidence)


# -- the way back ----------------------------------------------------------------------------------------------------

SHARES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("reset term missing: no -p_V V' of a spike's own reset in its dL/dt", {"reset_share": 0.0}),
    ("V' after the reset in place of V' before it, in the jump -e/V'", {"slope_after": True}),
    ("p_V not reset at a spike: the jump -e/V' is added to it", {"carries": True}),
    ("no p_V in dL/dt of an arrival: lambda_I alone goes back", {"voltage_share": 0.0}),
    ("no p_I in dL/dt of an arrival: lambda_V alone goes back", {"current_share": 0.0}),
    ("the wrong sign of p_V in dL/dt of an arrival", {"voltage_share": -1.0}),
    ("the wrong sign of p_I in dL/dt of an arrival", {"current_share": -1.0}),
    ("the wrong sign of dL/dt of an arrival", {"current_share": -1.0, "voltage_share": -1.0}),
    (
        "nothing goes back through spikes: every spike has only the loss's own dL/dt",
        {"current_share": 0.0, "voltage_share": 0.0},
    ),
    ("no current in V' at a spike", {"drives": 0.0}),
    ("the wrong sign of the jump e/V' at a spike", {"jump_share": -1.0}),
    ("no V' in the jump at a spike: -e in place of -e/V'", {"level": True}),
    ("only the first spike of a neuron is seen on the way back", {"first_only": True}),
)


def adjoints(evidence: Evidence) -> Iterator[Guess]:
    """Yield what may be wrong in the equations of the way back."""
    problem, network = evidence.problem, evidence.problem.network
    deepest = [p.name for p in network.populations.values() if p.neuron is not None]
    hidden = deepest[0] if deepest else ""
    first = next((arrow(key) for key in network.projections), "")
    for name, shares in SHARES:
        yield Guess(name, f"dL/dt of {hidden}; dL/dw of {first}", problem, Flaws(**shares))
    yield Guess(
        "dL/dt is written down without the term of the spike's own reset",
        f"dL/dt of {hidden}",
        problem,
        Flaws(told_share=0.0),
        "convention",
    )
    if problem.n_samples > 1:
        yield Guess(
            "adjoint carried from sample to sample: p_V and p_I are not cleared between samples",
            "dL/dw of every projection",
            problem,
            Flaws(adjoint_carried=True),
        )


def backward(evidence: Evidence) -> Iterator[Guess]:
    """Yield every guess that changes gradients and no spike."""
    yield from adjoints(evidence)
    problem = evidence.problem
    held = any(p.parameter("t_ref").any() for p in _neurons(problem))
    for name, where, changed in networks(evidence):
        if name.startswith("refractory") and not (held and "ignored" in name):
            continue  # the way back has no rule for a V that was not held on the way there
        place = where.partition(";")[0]
        yield Guess(f"on the way back: {name}", f"way back through {place}", problem, Flaws(back=changed))
    yield from _losses(evidence)


def _losses(evidence: Evidence) -> Iterator[Guess]:
    """Yield what may be wrong in the loss or in how it is read."""
    from validation.diagnosis import reading

    problem = evidence.problem
    loss: Any = problem.loss
    where = f"loss; dL/dw into {getattr(loss, 'population', 'the outputs')}"
    for name, function in reading.readings(evidence):
        yield Guess(name, where, problem, Flaws(reading=function))
    if getattr(loss, "alpha", 0.0):
        yield Guess("no early-spike term in the loss", where, replace(problem, loss=replace(loss, alpha=0.0)))
    if hasattr(loss, "tau0") and hasattr(loss, "tau1"):
        swapped = replace(loss, tau0=loss.tau1, tau1=loss.tau0)
        yield Guess("tau0 and tau1 of the loss swapped", where, replace(problem, loss=swapped))
    labels = getattr(loss, "labels", None)
    if labels is not None and np.size(labels):
        n = problem.network.population(loss.population).size
        options: list[tuple[str, Reals]] = [
            ("labels off by one: class c is taken for c + 1", (np.asarray(labels) + 1) % n),
            ("labels off by one: class c is taken for c - 1", (np.asarray(labels) - 1) % n),
            ("labels of the sample before", np.roll(labels, 1)),
            ("labels of the sample after", np.roll(labels, -1)),
        ]
        for name, other in options:
            yield Guess(name, where, replace(problem, loss=replace(loss, labels=other)))
