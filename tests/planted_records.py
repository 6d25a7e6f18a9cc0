"""Records of a clocked implementation that shares no code with the diagnosis, right ones and with planted faults.

``python -m tests.planted_records`` asks :func:`validation.diagnosis.diagnose` for a verdict on each: a right one has to
be accepted; a fault has to be named, or honestly not; a name that is not the fault's is a failure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from tests.clocked_program import Program
from validation import registry
from validation.diagnosis import Diagnosis, diagnose
from validation.diagnosis.verdict import PATIENCE

# -- networks ---------------------------------------------------------------------------------------------------------


def network(kind: str, rng: np.random.Generator) -> es.Network:
    """Return a random network whose neurons spike."""
    net = es.Network()
    net.add_input("in", 5)
    slow = {"tau_mem": 20e-3, "tau_syn": 5e-3}
    more: dict[str, Any] = {
        "refractory": {"t_ref": 2e-3},
        "subtract": {"reset": "subtract"},
        "leak": {"v_leak": 0.2, "v_reset": -0.3},
    }.get(kind, {})
    first, second = {"delays": (1e-3, 2e-3), "recurrent": (1e-3, 1e-3)}.get(kind, (0.0, 0.0))

    def weights(post: int, pre: int, mean: float, spread: float) -> np.ndarray:
        return rng.normal(mean, spread, (post, pre)).round(3)

    net.add_population("hidden", 7, es.LIF(**slow, **more))
    net.connect("in", "hidden", weights(7, 5, 2.4, 2.2), delay=first)
    last = "hidden"
    if kind == "deep":
        net.add_population("middle", 6, es.LIF(tau_mem=15e-3, tau_syn=6e-3))
        net.connect("hidden", "middle", weights(6, 7, 1.5, 1.2))
        last = "middle"
    if kind == "recurrent":
        net.connect("hidden", "hidden", weights(7, 7, -0.1, 0.6), delay=2e-3)
    net.add_population("out", 3, es.LIF(**slow, **more))
    net.connect(last, "out", weights(3, net.population(last).size, 1.4, 1.0), delay=second)
    return net


def problem(kind: str, seed: int) -> es.Problem:
    """Return a problem whose outputs all spike in every sample, and hidden neurons several times."""
    rng = np.random.default_rng([seed, sum(kind.encode())])
    for _ in range(500):
        net = network(kind, rng)
        apart = [(0.0, 11e-3), (13e-3, 25e-3)]  # so that no two spikes of an input are in one step
        lists = [[[round(rng.uniform(*span), 6) for span in apart] for _ in range(5)] for _ in range(5)]
        inputs = {"in": es.SpikeTrains.from_lists(lists)}
        loss = es.losses.TTFSCrossEntropy("out", rng.integers(0, 3, 5), tau0=2e-3, tau1=15e-3, alpha=3e-3)
        found = es.Problem(net, inputs, 50e-3, loss)
        counts = {name: trains.counts() for name, trains in found.solution.spikes.items() if name != "in"}
        if (counts["out"] > 0).all() and all((c.sum(axis=0) > 1).all() for c in counts.values()):
            return found
    raise AssertionError("no network of this kind spikes as wanted")


NETWORKS = ("plain", "deep", "delays", "recurrent", "refractory", "subtract", "leak")

# -- faults -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """A registered target, which runs as :class:`tests.clocked_program.Program` does."""

    h: float
    target: str
    settings: tuple[tuple[str, Any], ...] = ()

    def run(self, given: es.Problem, ran: es.Problem | None = None) -> Record:
        """Return the record of a problem, or what it becomes if another one is run in its place."""
        target: Any = registry.target(self.target, time_step=self.h, **dict(self.settings))
        found = target.run(ran or given)
        gradients = {
            "weight": dict(found.weight),
            "spike_times": {n: e for n, e in found.spike_times.items() if n != "in"},
        }
        spikes = {n: t for n, t in found.spikes.items() if n != "in"}
        return Record.of(
            given,
            "planted",
            spikes=spikes,
            time_step=self.h,
            loss_values=found.loss_values,
            gradients=gradients,
        )


Plant = Callable[[Any, es.Problem], Record | None]


@dataclass(frozen=True)
class Fault:
    """A fault: how it is planted, expressions of which a verdict that names it has one, and where it can be."""

    plant: Plant
    words: str
    on: tuple[str, ...] = NETWORKS


def with_weights(change: Callable[[np.ndarray], np.ndarray], *keys: tuple[str, str]) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        chosen = keys or tuple(given.network.projections)
        changed = {key: change(given.network.projections[key].weight) for key in chosen}
        return program.run(given, replace(given, network=given.network.with_weights(changed)))

    return plant


def with_neurons(population: str, **changed: Any) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        neuron = given.network.population(population).neuron
        found = {n: f(getattr(neuron, n)) if callable(f) else f for n, f in changed.items()}
        network = given.network.with_neurons({population: replace(neuron, **found)})
        return program.run(given, replace(given, network=network))

    return plant


def with_delays(steps: int | None, *keys: tuple[str, str]) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        projections = given.network.projections
        late = {
            key: np.zeros_like(projections[key].weight)
            + (
                0
                if steps is None
                else np.maximum(0, projections[key].delay.max(initial=0.0) + steps * program.h)
            )
            for key in keys or projections
        }
        return program.run(given, replace(given, network=given.network.with_delays(late)))

    return plant


def with_inputs(change: Callable[[es.SpikeTrains, Program], dict[str, Any]]) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        t = given.inputs["in"]
        columns = {"times": t.times, "neurons": t.neurons, "samples": t.samples} | change(t, program)
        order = np.lexsort((columns["neurons"], columns["times"], columns["samples"]))
        moved = es.SpikeTrains.from_arrays(
            *(columns[n][order] for n in ("times", "neurons", "samples")), n_neurons=5, n_samples=5
        )
        return program.run(given, replace(given, inputs={"in": moved}))

    return plant


def with_loss(**changed: Any) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        loss: Any = given.loss
        found = {n: f(getattr(loss, n)) if callable(f) else f for n, f in changed.items()}
        return program.run(given, replace(given, loss=replace(loss, **found)))

    return plant


def set_to(**settings: Any) -> Plant:
    """Plant another setting of the program of our own, which other machines do not have."""
    return lambda program, given: (
        replace(program, **settings).run(given) if isinstance(program, Program) else None
    )


def back(change: Callable[[es.Network], es.Network]) -> Plant:
    return set_to(back=lambda ran: change(ran.network))


def written(change: Callable[[Record, Program], Record]) -> Plant:
    return lambda program, given: change(program.run(given), program)


def gradients(change: Callable[[Any, Any], Any], *keys: Any) -> Plant:
    def changed(record: Record, program: Program) -> Record:
        weight = {k: change(v, record) if not keys or k in keys else v for k, v in record.weight.items()}
        return replace(record, gradients={**record.gradients, "weight": weight})

    return written(changed)


def spikes(change: Callable[[es.SpikeTrains, Program], Any], *names: str) -> Plant:
    def changed(record: Record, program: Program) -> Record:
        moved = {n: change(t, program) if not names or n in names else t for n, t in record.spikes.items()}
        numbers = {q: p for q, p in record.gradients.items() if q != "spike_times"}
        return replace(record, spikes=moved, gradients=numbers)

    return written(changed)


def rebuilt(t: es.SpikeTrains, chosen: Any = slice(None), **columns: Any) -> es.SpikeTrains:
    of = {"times": t.times, "neurons": t.neurons, "samples": t.samples} | columns
    times, neurons, samples = (of[n][chosen] for n in ("times", "neurons", "samples"))
    order = np.lexsort((neurons, times, samples))
    return es.SpikeTrains.from_arrays(
        times[order], neurons[order], samples[order], n_samples=t.n_samples, n_neurons=t.n_neurons
    )


def summed(record: Record, program: Program) -> Record:
    weight = {k: v.sum(axis=0) for k, v in record.weight.items()}
    assert record.loss_values is not None
    return replace(
        record, reduction="mean", loss_values=record.loss_values.mean(), gradients={"weight": weight}
    )


def with_weights_each(change: Callable[[Any, np.ndarray], np.ndarray]) -> Plant:
    def plant(program: Program, given: es.Problem) -> Record:
        changed = {key: change(key, p.weight) for key, p in given.network.projections.items()}
        return program.run(given, replace(given, network=given.network.with_weights(changed)))

    return plant


def with_errors(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Plant what is wrong in dL/dt of the loss, (n_steps + 1, n_samples, n)."""
    return set_to(errors=lambda errors: {name: change(e) if e.any() else e for name, e in errors.items()})


def pointwise(like: Any, value: float) -> np.ndarray:
    """Return ones of the same shape, and a value in one place in the middle."""
    factors = np.ones(np.shape(like))
    factors.flat[factors.size // 2] = value
    return factors


def swapped(w: np.ndarray, one: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    found = w.copy()
    found[one], found[other] = w[other], w[one]
    return found


IN, OUT, REC = ("in", "hidden"), ("hidden", "out"), ("hidden", "hidden")
UNNAMED = "(?!x)x"
SYNAPSE = "one (weight|synapse)|synapse"
SILENCED = SYNAPSE + "|has weights or a threshold that keep it silent"
"""Of a weight without which its neuron may never spike, which nothing tells from others of the neuron."""
OTHERS = ("plain", "deep", "delays", "recurrent", "subtract")
SHALLOW = tuple(name for name in NETWORKS if name != "deep")
FAULTS: dict[str, Fault] = {
    # written down
    "milliseconds": Fault(spikes(lambda t, p: rebuilt(t, times=t.times * 1e3)), "millisec|1000 times"),
    "times in steps": Fault(spikes(lambda t, p: rebuilt(t, times=t.times / p.h)), "in steps"),
    "times a step late": Fault(spikes(lambda t, p: rebuilt(t, times=t.times + p.h)), "a step late"),
    "times of out a step early": Fault(
        spikes(lambda t, p: rebuilt(t, times=np.maximum(t.times - p.h, 0)), "out"), "a step early"
    ),
    "neurons rolled": Fault(
        spikes(lambda t, p: rebuilt(t, neurons=(t.neurons + 1) % t.n_neurons), "hidden"),
        "off by one|another order",
    ),
    "two neurons swapped": Fault(
        spikes(
            lambda t, p: rebuilt(t, neurons=np.array([1, 0, *range(2, t.n_neurons)])[t.neurons]), "hidden"
        ),
        "another order",
    ),
    "samples rolled": Fault(
        spikes(lambda t, p: rebuilt(t, samples=(t.samples + 1) % t.n_samples)),
        "samples? (in another order|s |off by one)",
    ),
    "two samples swapped": Fault(
        spikes(lambda t, p: rebuilt(t, samples=np.array([1, 0, *range(2, t.n_samples)])[t.samples])),
        "samples? (in another order|swapped|exchanged)",
    ),
    "first spikes only": Fault(
        spikes(
            lambda t, p: rebuilt(
                t, np.sort(np.unique(np.stack([t.samples, t.neurons]), axis=1, return_index=True)[1])
            ),
            "hidden",
        ),
        "first spike",
    ),
    "one spike not written": Fault(
        spikes(lambda t, p: rebuilt(t, np.arange(t.n_spikes) != 3), "hidden"),
        "not written|one spike|missing|lost",
    ),
    "one spike too many": Fault(
        spikes(
            lambda t, p: (
                rebuilt(
                    t,
                    times=np.append(t.times, 7 * p.h),
                    neurons=np.append(t.neurons, 2),
                    samples=np.append(t.samples, 0),
                )
                if not ((t.samples == 0) & (t.neurons == 2) & (np.abs(t.times - 7 * p.h) < p.h / 2)).any()
                else rebuilt(
                    t,
                    times=np.append(t.times, 8 * p.h),
                    neurons=np.append(t.neurons, 2),
                    samples=np.append(t.samples, 0),
                )
            ),
            "hidden",
        ),
        "extra|too many|one spike",
    ),
    "factor -1": Fault(gradients(lambda g, r: -g), "factor -1|sign"),
    "factor tau_syn": Fault(gradients(lambda g, r: g * 5e-3, IN, OUT), "tau_syn|0\\.005", SHALLOW),
    "factor h": Fault(gradients(lambda g, r: g * r.time_step), "time_step"),
    "factor 1/h": Fault(gradients(lambda g, r: g / r.time_step), "time_step"),
    "factor tau_mem": Fault(gradients(lambda g, r: g * 20e-3, IN, OUT), "tau_mem|0\\.02", SHALLOW),
    "factor 0.37": Fault(gradients(lambda g, r: g * 0.37), "0\\.37"),
    "sum": Fault(written(summed), "factor N|number of samples"),
    "gradient transposed": Fault(
        gradients(lambda g, r: np.swapaxes(g, 1, 2).reshape(g.shape), IN), "transpos"
    ),
    "gradient rows shifted": Fault(gradients(lambda g, r: np.roll(g, 1, 1), IN), "row|shift"),
    "gradient columns shifted": Fault(gradients(lambda g, r: np.roll(g, -1, 2), IN), "column|shift"),
    "gradient samples rolled": Fault(gradients(lambda g, r: np.roll(g, 1, 0)), "sample"),
    "gradient accumulated": Fault(gradients(lambda g, r: np.cumsum(g, 0)), "accumulated"),
    "gradient absolute": Fault(gradients(lambda g, r: np.abs(g)), "absolute|sign"),
    "gradient clipped": Fault(
        gradients(lambda g, r: np.clip(g, -np.abs(g).max() / 4, np.abs(g).max() / 4)), "clip"
    ),
    "gradient zero": Fault(gradients(lambda g, r: 0 * g, IN), "0"),
    "gradient float16": Fault(
        gradients(lambda g, r: g.astype(np.float16).astype(float)), "float16|half|rounded|11 bits|bits"
    ),
    "gradient noise": Fault(
        gradients(lambda g, r: g + np.random.default_rng(1).normal(0, np.abs(g).max() / 5, g.shape)), UNNAMED
    ),
    "gradient of one layer negated": Fault(gradients(lambda g, r: -g, IN), "factor -1|sign"),
    "gradient rows swapped": Fault(gradients(lambda g, r: g[:, [1, 0, *range(2, 7)]], IN), UNNAMED),
    "gradient of one synapse": Fault(gradients(lambda g, r: g * pointwise(g, 0.5), IN), UNNAMED),
    "gradient norms": Fault(
        gradients(lambda g, r: g / np.linalg.norm(g, axis=(1, 2), keepdims=True).clip(1e-300)), UNNAMED
    ),
    "gradient biased": Fault(gradients(lambda g, r: g + np.abs(g).max() / 50), UNNAMED),
    "gradient of one sample": Fault(
        gradients(lambda g, r: g * (np.arange(len(g)) != 2)[:, None, None]), UNNAMED
    ),
    "gradient decayed": Fault(
        gradients(lambda g, r: g * np.exp(-r.time_step / 5e-3), IN, OUT),
        "time_step|0\\.(8187|9802|998)",
        SHALLOW,
    ),
    "loss negated": Fault(
        written(lambda r, p: replace(r, loss_values=-r.loss_values)),
        "factor -1",  # type: ignore[operator]
    ),
    "loss of one sample": Fault(
        written(lambda r, p: replace(r, loss_values=r.loss_values * pointwise(r.loss_values, 1.3))), UNNAMED
    ),
    # network
    "weights x1.5": Fault(with_weights(lambda w: 1.5 * w, IN), "multiplied by"),
    "weights x0.9": Fault(with_weights(lambda w: 0.9 * w), "multiplied by"),
    "weights x h/tau": Fault(
        with_weights(lambda w: w * (1 - np.exp(-1e-3 / 5e-3)), IN), "multiplied by|no neuron"
    ),
    "weights clipped": Fault(with_weights(lambda w: np.clip(w, -2.0, 2.0), IN), "saturat|limit|clip"),
    "weights 4 bits": Fault(
        with_weights(lambda w: np.rint(w / (np.abs(w).max() / 7)) * (np.abs(w).max() / 7), IN),
        "4 bits|rounded",
    ),
    "weights float16": Fault(
        with_weights(lambda w: w.astype(np.float16).astype(float)), "float16|half|rounded|discretized"
    ),
    "weights transposed": Fault(with_weights(lambda w: w.T.reshape(w.shape), IN), "transpos"),
    "weights negated": Fault(with_weights(lambda w: -w, OUT), "sign", SHALLOW),
    "sign lost": Fault(with_weights(np.abs), "sign of inhibition|absolute"),
    "inhibition lost": Fault(with_weights(lambda w: np.maximum(w, 0)), "inhibition"),
    "one weight 0": Fault(
        with_weights(lambda w: w * (np.arange(w.size) != 8).reshape(w.shape), IN),
        SILENCED,
    ),
    "one weight halved": Fault(with_weights(lambda w: w * pointwise(w, 0.5), IN), SYNAPSE),
    "one weight negated": Fault(with_weights(lambda w: w * pointwise(w, -1.0), IN), SILENCED),
    "one weight of out": Fault(with_weights(lambda w: w * pointwise(w, 1.6), OUT), SYNAPSE, SHALLOW),
    "two weights swapped": Fault(
        with_weights(lambda w: swapped(w, (3, 1), (3, 2)), IN), "two synapses exchanged"
    ),
    "weights swapped across": Fault(
        with_weights(lambda w: swapped(w, (2, 1), (4, 3)), IN), "two synapses exchanged"
    ),
    "rows swapped": Fault(with_weights(lambda w: w[[0, 4, 2, 3, 1, *range(5, len(w))]], IN), "exchanged"),
    "weights wrapped": Fault(with_weights(lambda w: (w + 3.0) % 6.0 - 3.0, IN), "wrap|overflow"),
    "weights truncated": Fault(
        with_weights(lambda w: np.trunc(w * 2) / 2, IN), "trunc|towards 0|rounded down"
    ),
    "weights floored": Fault(with_weights(lambda w: np.floor(w * 4) / 4), "floor|rounded down"),
    "weights plus a constant": Fault(with_weights(lambda w: w + 0.2, IN), UNNAMED + "|added"),
    "weights noisy": Fault(
        with_weights(lambda w: w * np.random.default_rng(3).normal(1.0, 0.1, w.shape)), UNNAMED
    ),
    "weights of one neuron": Fault(
        with_weights(lambda w: w * np.where(np.arange(len(w)) == 2, 1.4, 1.0)[:, None], IN),
        "neuron 2",
    ),
    "weights of one neuron noisy": Fault(
        with_weights(
            lambda w: (
                w
                * np.where(
                    (np.arange(len(w)) == 2)[:, None],
                    np.random.default_rng(w.size).normal(1.0, 0.1, w.shape),
                    1.0,
                )
            ),
            IN,
        ),
        UNNAMED,
    ),
    "weights of one source": Fault(
        with_weights(lambda w: w * np.where(np.arange(w.shape[1]) == 2, 1.4, 1.0), IN),
        UNNAMED + "|neuron 2 of 'in'",
    ),
    "two layers off": Fault(
        with_weights_each(lambda k, w: w * (1.2 if k[0] == "in" else 0.8)),
        UNNAMED + "|multiplied.*multiplied",
    ),
    "recurrence lost": Fault(with_weights(lambda w: 0 * w, REC), "missing", ("recurrent",)),
    "recurrence transposed": Fault(with_weights(lambda w: w.T.copy(), REC), "transpos", ("recurrent",)),
    "recurrence negated": Fault(with_weights(lambda w: -w, REC), "sign", ("recurrent",)),
    "self-connections lost": Fault(
        with_weights(lambda w: w * (1 - np.eye(len(w))), REC), "self", ("recurrent",)
    ),
    "delay +2": Fault(with_delays(2, IN), "delay"),
    "source off by one": Fault(with_weights(lambda w: np.roll(w, 1, 1), IN), "off by one"),
    "delay +1": Fault(with_delays(1), "delay|spikes act 1 step later"),
    "delay +1 of one": Fault(with_delays(1, OUT), "delay", SHALLOW),
    "delay -1": Fault(with_delays(-1, IN), "delay|inputs in their own", ("delays", "recurrent")),
    "delays forgotten": Fault(with_delays(None), "delay", ("delays", "recurrent")),
    "tau swapped": Fault(with_neurons("hidden", tau_mem=5e-3, tau_syn=20e-3), "swapped"),
    "tau_mem 10 ms": Fault(with_neurons("hidden", tau_mem=10e-3), "tau_mem multiplied"),
    "tau_syn 7 ms": Fault(with_neurons("hidden", tau_syn=7e-3), "tau_syn multiplied"),
    "tau_mem of out": Fault(with_neurons("out", tau_mem=14e-3), "tau_mem"),
    "tau_syn of out": Fault(with_neurons("out", tau_syn=4e-3), "tau_syn"),
    "tau of hidden": Fault(
        with_neurons("hidden", tau_mem=16e-3, tau_syn=6e-3), UNNAMED + "|tau_mem.*tau_syn"
    ),
    "threshold of out": Fault(with_neurons("out", v_threshold=0.93), "v_threshold|weights multiplied"),
    "threshold of one": Fault(
        with_neurons("hidden", v_threshold=np.array([1, 1, 1, 0.8, 1, 1, 1.0])),
        "v_threshold.*neuron 3|neuron 3",
    ),
    "tau of one": Fault(
        with_neurons("hidden", tau_mem=np.array([1, 1, 1, 0.7, 1, 1, 1.0]) * 20e-3), "neuron 3"
    ),
    "thresholds spread": Fault(
        with_neurons("hidden", v_threshold=np.array([1, 0.95, 1.04, 0.9, 1.07, 1, 0.97])), UNNAMED
    ),
    "leak instead": Fault(with_neurons("hidden", v_leak=0.1), "v_leak", OTHERS),
    "leak halved": Fault(with_neurons("hidden", v_leak=0.1), "v_leak", ("leak",)),
    "start at": Fault(with_neurons("hidden", v_initial=0.4), "v_initial|initial"),
    "start with a current": Fault(with_neurons("hidden", i_initial=0.5), "i_initial|initial"),
    "reset a little below": Fault(with_neurons("hidden", v_reset=-0.2), "v_reset|reset"),
    "refractory a step": Fault(
        lambda p, q: with_neurons("hidden", t_ref=2 * p.h)(p, q), "refractory", OTHERS
    ),
    "refractory 1 ms": Fault(with_neurons("hidden", t_ref=1e-3), "refractory", OTHERS),
    "refractory - 1": Fault(
        lambda p, q: with_neurons("hidden", t_ref=lambda t: np.asarray(t) - p.h)(p, q),
        "refractory",
        ("refractory",),
    ),
    "refractory twice": Fault(with_neurons("hidden", t_ref=4e-3), "refractory", ("refractory",)),
    "threshold 1.1": Fault(with_neurons("hidden", v_threshold=1.1), "v_threshold|weights multiplied"),
    "reset by subtraction": Fault(
        with_neurons("hidden", reset="subtract"), "subtract", tuple(n for n in NETWORKS if n != "subtract")
    ),
    "reset to a value": Fault(with_neurons("hidden", reset="value"), "subtract", ("subtract",)),
    "reset to 0": Fault(with_neurons("hidden", v_reset=0.0), "reset to 0", ("leak",)),
    "reset to 0.5": Fault(with_neurons("hidden", v_reset=0.5), "v_reset|reset"),
    "leak to 0": Fault(with_neurons("hidden", v_leak=0.0), "leak", ("leak",)),
    "refractory forgotten": Fault(with_neurons("hidden", t_ref=0.0), "refractory", ("refractory",)),
    "refractory + 1": Fault(
        lambda p, q: with_neurons("hidden", t_ref=lambda t: np.asarray(t) + p.h)(p, q),
        "refractory",
        ("refractory",),
    ),
    "one spike per neuron": Fault(with_neurons("hidden", t_ref=1.0), "one spike per neuron"),
    "dead neuron": Fault(
        with_neurons("hidden", v_threshold=np.array([1.0, 1.0, 1e30, 1.0, 1.0, 1.0, 1.0])), "dead"
    ),
    "dead input": Fault(
        with_inputs(lambda t, p: {n: getattr(t, n)[t.neurons != 1] for n in ("times", "neurons", "samples")}),
        "dead",
    ),
    "inputs late": Fault(with_inputs(lambda t, p: {"times": t.times + p.h}), "late|delay"),
    "inputs rolled": Fault(with_inputs(lambda t, p: {"neurons": (t.neurons + 1) % 5}), "off by one"),
    "inputs of another sample": Fault(
        with_inputs(lambda t, p: {"samples": (t.samples + 1) % 5}), "samples? off by one|sample s"
    ),
    "two inputs swapped": Fault(
        with_inputs(lambda t, p: {"neurons": np.array([0, 3, 2, 1, 4])[t.neurons]}), "order|swapped|exchanged"
    ),
    "inputs in another order": Fault(
        with_inputs(lambda t, p: {"neurons": np.array([2, 4, 1, 0, 3])[t.neurons]}), "order|swapped|exchanged"
    ),
    "inputs two steps late": Fault(with_inputs(lambda t, p: {"times": t.times + 2 * p.h}), "late|delay"),
    "one input of one sample late": Fault(
        with_inputs(lambda t, p: {"times": t.times + 2 * p.h * (t.neurons == 1) * (t.samples == 1)}),
        UNNAMED + "|neuron 1 of 'in'",
    ),
    "one input late": Fault(
        with_inputs(lambda t, p: {"times": t.times + 2 * p.h * (t.neurons == 1)}), "neuron 1 of 'in'"
    ),
    "inputs stretched": Fault(with_inputs(lambda t, p: {"times": t.times * 1.1}), UNNAMED + "|times"),
    "inputs jittered": Fault(
        with_inputs(
            lambda t, p: {"times": t.times + np.random.default_rng(2).uniform(0, 1e-3, t.times.size)}
        ),
        UNNAMED,
    ),
    "input spikes of one sample lost": Fault(
        with_inputs(lambda t, p: {n: getattr(t, n)[t.samples != 2] for n in ("times", "neurons", "samples")}),
        UNNAMED + "|sample 2",
    ),
    "two samples' inputs swapped": Fault(
        with_inputs(lambda t, p: {"samples": np.array([1, 0, 2, 3, 4])[t.samples]}),
        "samples?.*(order|swapped)",
    ),
    # machine
    "state carried": Fault(set_to(leaks=("V", "I")), "sample to sample"),
    "current carried": Fault(set_to(leaks=("I",)), "sample to sample"),
    "first packet only": Fault(set_to(packets="first"), "packet"),
    "one packet lost": Fault(set_to(lost=("in", 4)), "one packet|lost"),
    "float16": Fault(set_to(number="float16"), "float16|half"),
    "noise": Fault(set_to(jitter=0.05), UNNAMED),
    "current first": Fault(set_to(current_first=True), "discretized|transport|later|delay"),
    "resets current": Fault(set_to(resets_current=True), "current is reset"),
    "not held": Fault(set_to(held=False), "refractory", ("refractory",)),
    "one packet twice": Fault(set_to(lost=("in", 4), doubled=True), "twice"),
    "one packet of hidden lost": Fault(set_to(lost=("hidden", 3)), "one packet|lost", SHALLOW),
    "queue of two": Fault(set_to(queue=2), "packet"),
    "V not below 0": Fault(set_to(floor=0.0), UNNAMED + "|below|floor|negative"),
    "I limited": Fault(set_to(limit=1.5), UNNAMED + "|limit|saturat"),
    "8 fractional bits": Fault(set_to(quantum=2.0**-8), UNNAMED + "|2\\^-8|bits"),
    "16 fractional bits": Fault(set_to(quantum=2.0**-16), UNNAMED + "|bits"),
    # way back
    "no reset term": Fault(set_to(reset_term=False), "reset'?s? term"),
    "slope after": Fault(set_to(slope="after"), "after the reset"),
    "no slope": Fault(set_to(slope="none"), "no V'"),
    "slope of the current alone": Fault(set_to(slope="current"), "slope|V'|after the reset"),
    "slope of the wrong sign": Fault(set_to(slope="sign"), "sign"),
    "no p_V": Fault(set_to(p_v=0.0), "no p_V"),
    "no p_I": Fault(set_to(p_i=0.0), "no p_I"),
    "nothing back": Fault(set_to(p_i=0.0, p_v=0.0), "nothing goes back"),
    "wrong sign of p_V": Fault(set_to(p_v=-1.0), "wrong sign of p_V"),
    "p_V kept": Fault(set_to(keeps_p_v=True), "p_V not reset"),
    "transposed back": Fault(
        back(lambda n: n.with_weights({OUT: n.projections[OUT].weight.T.reshape(3, 7)})), "transpos", SHALLOW
    ),
    "stale weights": Fault(
        back(lambda n: n.with_weights({k: p.weight * 1.02 for k, p in n.projections.items()})),
        "stale|multiplied|weights",
    ),
    "delays forgotten back": Fault(
        back(lambda n: n.with_delays({k: np.zeros_like(p.weight) for k, p in n.projections.items()})),
        "way back: delay",
        ("delays", "recurrent"),
    ),
    "refractory forgotten back": Fault(
        back(
            lambda n: n.with_neurons(
                {q: replace(n.population(q).neuron, t_ref=0.0) for q in ("hidden", "out")}
            )
        ),
        "way back: refractory",
        ("refractory",),
    ),
    "tau_syn back": Fault(
        back(lambda n: n.with_neurons({"hidden": replace(n.population("hidden").neuron, tau_syn=7e-3)})),
        "tau_syn",
    ),
    "tau_mem back": Fault(
        back(lambda n: n.with_neurons({"out": replace(n.population("out").neuron, tau_mem=10e-3)})), "tau_mem"
    ),
    "threshold back": Fault(
        back(lambda n: n.with_neurons({"hidden": replace(n.population("hidden").neuron, v_threshold=1.1)})),
        "v_threshold",
    ),
    "recurrence not back": Fault(
        back(lambda n: n.with_weights({REC: 0 * n.projections[REC].weight})), "missing: 0", ("recurrent",)
    ),
    "weights of out negated back": Fault(
        back(lambda n: n.with_weights({OUT: -n.projections[OUT].weight})), "sign", SHALLOW
    ),
    "random weights back": Fault(
        back(lambda n: n.with_weights({OUT: np.random.default_rng(1).normal(1.0, 1.0, (3, 7))})),
        UNNAMED,
        SHALLOW,
    ),
    "one weight back": Fault(
        back(lambda n: n.with_weights({OUT: n.projections[OUT].weight * (np.arange(21).reshape(3, 7) != 8)})),
        UNNAMED,
        SHALLOW,
    ),
    "sign of p_I": Fault(set_to(p_i=-1.0), "wrong sign of p_I"),
    "half of p_V": Fault(set_to(p_v=0.5), UNNAMED + "|p_V"),
    "p_V tau_syn for tau_mem": Fault(set_to(p_v=4.0), UNNAMED + "|p_V"),
    "no decay of p_I": Fault(set_to(decays_back=False), UNNAMED + "|decay"),
    "summed a step late": Fault(set_to(summed_late=1), UNNAMED + "|late|early"),
    "summed a step early": Fault(set_to(summed_late=-1), UNNAMED + "|late|early"),
    "sent back a step late": Fault(set_to(sent_late=1), UNNAMED + "|late|early|delay"),
    "slopes not small": Fault(set_to(slope_least=60.0), UNNAMED + "|slope|V'"),
    "back 20 ms": Fault(set_to(sees_back=20e-3), UNNAMED + "|trunc|all numbers are 0"),
    "p_V clipped": Fault(with_errors(lambda e: np.clip(e, -50.0, 50.0)), UNNAMED + "|clip"),
    "error of one sample": Fault(with_errors(lambda e: e * (np.arange(5) != 2)[:, None]), UNNAMED),
    "error of one output": Fault(with_errors(lambda e: e * (np.arange(e.shape[2]) != 1)), UNNAMED),
    # loss
    "no early term": Fault(with_loss(alpha=0.0), "early"),
    "tau0 twice": Fault(with_loss(tau0=4e-3), "tau0"),
    "alpha twice": Fault(with_loss(alpha=6e-3), "alpha|early"),
    "tau0 in ms": Fault(with_loss(tau0=2.0), "tau0"),
    "tau1 1.5": Fault(with_loss(tau1=22.5e-3), "tau1"),
    "tau swapped in the loss": Fault(with_loss(tau0=15e-3, tau1=2e-3), "tau0 and tau1"),
    "alpha 1/h": Fault(with_loss(alpha=3.0), "alpha"),
    "tau0 and alpha": Fault(with_loss(tau0=3e-3, alpha=4e-3), UNNAMED + "|tau0.*alpha"),
    "one label wrong": Fault(with_loss(labels=lambda x: (x + (np.arange(5) == 1)) % 3), "label"),
    "labels all 0": Fault(with_loss(labels=lambda x: 0 * x), "label"),
    "labels 1 and 2 swapped": Fault(with_loss(labels=lambda x: np.array([0, 2, 1])[x]), "label"),
    "labels off by one": Fault(with_loss(labels=lambda x: (x + 1) % 3), "label"),
    "labels rolled": Fault(with_loss(labels=lambda x: np.roll(x, 1)), "label"),
}

AND = " & "
"""Between two faults of one record."""


@dataclass(frozen=True)
class Faulty:
    """A machine with a fault, in which another one is planted."""

    machine: Any
    plant: Plant

    @property
    def h(self) -> float:
        """The time step."""
        return float(self.machine.h)

    def run(self, given: es.Problem, ran: es.Problem | None = None) -> Record | None:
        """Return the record of a problem, or what it becomes if another one is run in its place."""
        found = self.plant(self.machine, ran or given)
        if found is None:
            return None
        return replace(found, network=given.network, inputs=given.inputs, loss=given.loss)


def fault_of(kind: str) -> Fault:
    """Return a fault, or two at once, of which a verdict names either or both."""
    if AND not in kind:
        return FAULTS[kind]
    one, other = (FAULTS[k] for k in kind.split(AND))
    return Fault(
        lambda machine, given: one.plant(Faulty(machine, other.plant), given), f"{one.words}|{other.words}"
    )


def pairs(network: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return pairs of faults drawn by chance, of which the first is one of the network or its inputs."""
    every = list(FAULTS)
    of_networks = every[every.index("weights x1.5") : every.index("state carried")]
    of = [kind for kind, fault in FAULTS.items() if network in fault.on]
    moving = [kind for kind in of if kind in of_networks]
    return [f"{rng.choice(moving)}{AND}{rng.choice(of)}" for _ in range(count)]


RIGHT: dict[str, Program] = {
    "exact": Program(),
    "up": Program(rounding="up"),
    "euler": Program(propagators="euler"),
    "exponential": Program(propagators="exponential"),
    "float32": Program(number="float32"),
}
MACHINES: dict[str, Callable[[float], Any]] = {
    "numpy": lambda h: Program(h=h),
    "fixed": lambda h: Machine(h, "timestepped", (("number", "s16.15"),)),
    "core": lambda h: Machine(h, "spinnaker2"),
}
"""What faults are planted in."""
STEPS = (1e-3, 1e-4, 1e-5)

# -- judged -----------------------------------------------------------------------------------------------------------

TOLD: dict[str, Callable[[Record], Record]] = {
    "all": lambda r: r,
    "means": lambda r: averaged(r),
    "spikes": lambda r: spikes_alone(r),
    "few spikes": lambda r: spikes_alone(r),
}
"""What a record tells: all, spikes with loss and gradients of the batch, spikes alone, or those of one sample alone."""


def spikes_alone(record: Record) -> Record:
    """Return a record without loss and gradients."""
    return replace(record, gradients={}, loss_values=None)


def averaged(record: Record) -> Record:
    """Return a record with the mean over the batch of what is of every sample."""
    if record.reduction == "mean":
        return record
    weight = {k: v.mean(axis=0) for k, v in record.weight.items()}
    assert record.loss_values is not None
    return replace(
        record, reduction="mean", loss_values=record.loss_values.mean(), gradients={"weight": weight}
    )


@dataclass(frozen=True)
class Case:
    """One record, and what a right verdict on it is."""

    kind: str
    network: str
    h: float
    program: str
    words: str
    record: Record = field(repr=False)
    given: es.Problem = field(repr=False)
    told: str = "all"

    @property
    def key(self) -> str:
        """What it is called in a file of results."""
        return f"{self.program}/{self.network}/{self.h:g}/{self.told}/{self.kind}"


def judged(case: Case, patience: float = PATIENCE) -> tuple[str, Diagnosis]:
    """Return whether a verdict is right: "accepted", "named", "unexplained" or "wrong", and the verdict."""
    found = diagnose(case.given, case.record, patience=patience)
    if case.kind == "correct":
        return ("accepted" if found.accepted else "refused"), found
    if found.verdict == "unexplained":
        return "unexplained", found
    named = all(re.search(words, found.sentence, re.IGNORECASE) for words in case.words.split(" && "))
    return ("named" if named else "wrong"), found


@dataclass(frozen=True)
class Choice:
    """Which cases."""

    seed: int = 1
    machines: tuple[str, ...] = tuple(MACHINES)
    networks: tuple[str, ...] = NETWORKS
    steps: tuple[float, ...] = STEPS
    told: tuple[str, ...] = tuple(TOLD)
    only: str = ""
    pairs: int = 0


def plans(choice: Choice) -> list[tuple[str, str, float, str, str]]:
    """Return machine, network, step, what is told and fault of every case, in an order of chance."""
    rng = np.random.default_rng(choice.seed)
    found = []
    for machine, network, h, told in itertools.product(
        choice.machines, choice.networks, choice.steps, choice.told
    ):
        kinds = [kind for kind, fault in FAULTS.items() if network in fault.on]
        kinds += list(RIGHT) if machine == "numpy" else []
        if choice.pairs:
            kinds = pairs(network, choice.pairs, rng)
        found += [(machine, network, h, told, kind) for kind in kinds if re.search(choice.only, kind)]
    rng.shuffle(found)  # type: ignore[arg-type]
    return found


def case_of(plan: tuple[str, str, float, str, str], given: es.Problem) -> Case | None:
    """Return the case of a plan, None if the machine cannot run it or the fault shows nowhere."""
    machine, network, h, told, kind = plan
    if kind in RIGHT:
        record = TOLD[told](replace(RIGHT[kind], h=h).run(given))
        if told == "few spikes":
            record, given = first_sample(record), replace(given, loss=None).select([0])
        return Case("correct", network, h, kind, "", record, given, told)
    program, fault = MACHINES[machine](h), fault_of(kind)
    try:
        planted = fault.plant(program, given)
        right = program.run(given)
    except ValueError:  # of a target that does not do what this network, or the fault, needs
        if isinstance(program, Program):
            raise
        return None
    if planted is None:
        return None
    record, beside = TOLD[told](planted), TOLD[told](right)
    if told == "few spikes":
        record, beside, given = (
            first_sample(record),
            first_sample(beside),
            replace(given, loss=None).select([0]),
        )
    if same(record, beside):
        return None
    return Case(kind, network, h, machine, fault.words, record, given, told)


def first_sample(record: Record) -> Record:
    """Return what a record of spikes alone says of its first sample."""

    def first(trains: dict[str, es.SpikeTrains]) -> dict[str, es.SpikeTrains]:
        return {name: t[:1] for name, t in trains.items()}

    return replace(record, inputs=first(dict(record.inputs)), spikes=first(dict(record.spikes)), loss=None)


FLOAT32 = 1e-5
"""What roundings of float32 may do to a gradient over some hundred steps."""


def same(a: Record, b: Record) -> bool:
    """Say whether a fault shows nowhere, or in numbers by less than float32 rounds them."""
    if any(
        not np.array_equal(a.spikes[n].times, t.times)
        or not np.array_equal(a.spikes[n].neurons, t.neurons)
        or not np.array_equal(a.spikes[n].samples, t.samples)
        for n, t in b.spikes.items()
    ):
        return False
    pairs = [(v, b.weight[k]) for k, v in a.weight.items()]
    pairs += [] if a.loss_values is None else [(a.loss_values, b.loss_values)]
    return all(
        np.shape(v) == np.shape(w) and np.linalg.norm(v - w) <= FLOAT32 * np.linalg.norm(w) for v, w in pairs
    )


def results(path: Path) -> dict[str, dict[str, Any]]:
    """Return the results in a file, by the key of the case."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {found["case"]: found for found in map(json.loads, lines)}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return how many faults are named, unexplained or wrongly named, by what is told, machine, network and step."""
    count: dict[tuple[str, str, str], Counter[tuple[str, str]]] = {}
    for key, result in found.items():
        machine, network, h, told, _ = key.split("/", 4)
        if result["verdict"] in ("accepted", "refused"):
            machine = "right ones"
        count.setdefault((machine, told, network), Counter())[h, result["verdict"]] += 1
    rows = ["| planted in | told | network | 1 ms | 0.1 ms | 10 us |", "|---|---|---|---|---|---|"]
    for (machine, told, network), of in sorted(count.items()):
        kinds = ("accepted", "refused") if machine == "right ones" else ("named", "unexplained", "wrong")
        cells = [" / ".join(str(of[f"{h:g}", kind]) for kind in kinds) for h in STEPS]
        rows.append(f"| {machine} | {told} | {network} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    """Plant and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_records", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machines", nargs="*", default=list(MACHINES))
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--steps", nargs="*", type=float, default=list(STEPS))
    parser.add_argument("--told", nargs="*", default=list(TOLD))
    parser.add_argument("--only", default="", help="an expression for the faults")
    parser.add_argument(
        "--pairs",
        type=int,
        default=0,
        help="two faults at once in place of one: so many drawn for each table cell",
    )
    parser.add_argument("--most", type=int, help="how many are judged, by default all")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="as of diagnose")
    parser.add_argument("--results", type=Path, help="a file of what was judged before, which is added to")
    parser.add_argument("--table", action="store_true", help="print the table of the results and end")
    a = parser.parse_args()
    known = results(a.results) if a.results else {}
    choice = Choice(
        a.seed, tuple(a.machines), tuple(a.networks), tuple(a.steps), tuple(a.told), a.only, a.pairs
    )
    given: dict[str, es.Problem] = {}
    judgements = 0
    for plan in [] if a.table else plans(choice):
        machine, network, h, told, kind = plan
        name = "correct" if kind in RIGHT else kind
        key = f"{kind if kind in RIGHT else machine}/{network}/{h:g}/{told}/{name}"
        if key in known or judgements == a.most:
            continue
        if network not in given:
            given[network] = problem(network, a.seed)
        case = case_of(plan, given[network])
        if case is None:
            continue
        start = time.process_time()
        try:
            verdict, found = judged(case, a.patience)
            sentence = found.sentence
        except Exception:  # of any kind: the others are judged, and this one is a failure
            verdict, sentence = "crashed", traceback.format_exc()
        judgements += 1
        took = time.process_time() - start
        known[key] = {"case": key, "verdict": verdict, "seconds": round(took, 2), "sentence": sentence}
        print(f"{verdict:11} {key}: {sentence[:300]}  [{took:.1f} s]", flush=True)
        if a.results:
            with a.results.open("a") as file:
                file.write(json.dumps(known[key]) + "\n")
    print(table(known))
    return 1 if any(result["verdict"] in ("wrong", "refused", "crashed") for result in known.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
