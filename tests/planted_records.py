"""Records of a clocked implementation that shares no code with the diagnosis, right ones and with planted faults.

``python -m tests.planted_records`` asks :func:`validation.diagnosis.diagnose` for a verdict on each: a right one has to
be accepted; a fault has to be named, or honestly not; a name that is not the fault's is a failure.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from validation.diagnosis import Diagnosis, diagnose

Arrays = dict[str, np.ndarray]

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

# -- the implementation -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """EventProp on a clock in numpy, each of whose settings but the first four is something wrong."""

    h: float = 1e-3
    propagators: str = "exact"
    rounding: str = "nearest"
    number: str = "float64"
    current_first: bool = False
    held: bool = True
    leaks: tuple[str, ...] = ()
    packets: str = "all"
    lost: tuple[str, int] | None = None
    late_after: int | None = None
    jitter: float = 0.0
    resets_current: bool = False
    reset_term: bool = True
    slope: str = "before"
    p_v: float = 1.0
    p_i: float = 1.0
    keeps_p_v: bool = False
    back: Callable[[es.Problem], es.Network] | None = None
    errors: Callable[[Arrays], Arrays] = field(default=lambda e: e)

    def number_of(self, x: Any) -> Any:
        """Round to the number format."""
        return np.asarray(x, dtype=self.number).astype(np.float64)

    def factors(self, p: Any) -> tuple[Any, Any, Any]:
        """Return beta, alpha, and what I adds to V."""
        m, s = p.parameter("tau_mem"), p.parameter("tau_syn")
        if self.propagators == "euler":
            return 1 - self.h / m, 1 - self.h / s, self.h / m
        a, b = np.exp(-self.h / m), np.exp(-self.h / s)
        if self.propagators == "exponential":
            return a, b, 1 - a
        return a, b, np.where(np.isclose(m, s), self.h / m * a, s / (s - m + (m == s)) * (b - a))

    def run(self, given: es.Problem, ran: es.Problem | None = None) -> Record:
        """Return the record of a problem, or what it becomes if another one is run in its place."""
        ran = ran or given
        raster, states = self.forward(ran)
        spikes = {name: trains(raster[name], self.h) for name in states}
        grid = {**ran.inputs, **spikes}
        seen = SimpleNamespace(
            spikes=grid,
            network=ran.network,
            n_samples=ran.n_samples,
            t_end=ran.t_end,
            t_start=0.0,
            stopped=None,
        )
        loss: Any = replace(ran.loss, silent="skip")  # type: ignore[type-var]
        evaluation = loss.evaluate(seen)
        errors = {name: np.zeros(raster[name].shape) for name in raster}
        for name, values in evaluation.spike_times.items():
            t = grid[name]
            errors[name][np.rint(t.times / self.h).astype(int), t.samples, t.neurons] = values
        weight, told = self.backward(ran, raster, states, self.errors(errors))
        of = {name: value[np.rint(spikes[name].times / self.h).astype(int), spikes[name].samples, spikes[name].neurons]
              for name, value in told.items() if name in spikes}  # fmt: skip
        return replace(
            Record.of(
                given,
                "planted",
                spikes=spikes,
                time_step=self.h,
                loss_values=np.asarray(evaluation.values),
                gradients={"weight": weight, "spike_times": of},
            )
        )

    def forward(self, ran: es.Problem) -> tuple[Arrays, dict[str, tuple[np.ndarray, ...]]]:
        """Return who spikes when; V, I, whether V was free, and I after arrivals, (n_steps + 1, n_samples, n) each."""
        net, n_steps, n_samples = ran.network, round(ran.t_end / self.h), ran.n_samples
        steps = {"nearest": np.rint, "up": np.ceil, "down": np.floor}[self.rounding]
        raster = {name: np.zeros((n_steps + 1, n_samples, p.size)) for name, p in net.populations.items()}
        for name, t in ran.inputs.items():
            k = steps((t.times / self.h).round(9)).astype(int)
            inside = k <= n_steps
            raster[name][k[inside], t.samples[inside], t.neurons[inside]] = 1.0
        neurons = {name: p for name, p in net.populations.items() if p.neuron is not None}
        states = {
            name: tuple(np.zeros((n_steps + 1, n_samples, p.size)) for _ in range(4))
            for name, p in neurons.items()
        }
        groups = [range(n_samples)] if not self.leaks else [range(s, s + 1) for s in range(n_samples)]
        v: Arrays = {}
        i: Arrays = {}
        for group in groups:
            of = list(group)
            for name, p in neurons.items():
                if name not in v or "V" not in self.leaks:
                    v[name] = v.get(name, 0.0) * 0.0 + np.broadcast_to(
                        p.parameter("v_initial"), (len(of), p.size)
                    )
                if name not in i or "I" not in self.leaks:
                    i[name] = np.broadcast_to(p.parameter("i_initial"), (len(of), p.size)) * 1.0
            self._some(net, raster, states, of, v, i, n_steps)
        return raster, states

    def _some(
        self, net: es.Network, raster: Arrays, states: Any, of: list[int], v: Arrays, i: Arrays, n_steps: int
    ) -> None:
        r, neurons = self.number_of, {n: net.population(n) for n in states}
        factor = {name: self.factors(p) for name, p in neurons.items()}
        until = {name: np.full((len(of), p.size), -1) for name, p in neurons.items()}
        w = {key: r(p.weight) for key, p in net.projections.items()}
        d = {key: int(np.rint(p.delay.max(initial=0.0) / self.h)) for key, p in net.projections.items()}
        rng = np.random.default_rng(5)
        for k in range(n_steps + 1):
            for name, p in neurons.items():
                was, free = i[name], k > until[name]
                beta, alpha, c = factor[name]
                if k:
                    i[name] = r(alpha * i[name])
                    drive = i[name] if self.current_first else was
                    leak = p.parameter("v_leak")
                    if self.current_first:
                        i[name] = drive = r(drive + self._arriving(net, raster, w, d, name, k - 1, of))
                    moved = r(r(beta * v[name]) + r(c * drive) + (1 - beta) * leak)
                    v[name] = np.where(free, moved, v[name])
                if self.jitter:
                    v[name] = v[name] + rng.normal(0, self.jitter, v[name].shape)
                for x, value in zip(states[name], (v[name], i[name], free, i[name]), strict=True):
                    x[k, of] = value
                fires = (v[name] > p.parameter("v_threshold")) & (free | (not self.held))
                raster[name][k, of] = fires
                drop = p.parameter("v_threshold") - p.parameter("v_reset")
                subtracts = getattr(p.neuron, "reset", "value") == "subtract"
                v[name] = np.where(fires, v[name] - drop if subtracts else p.parameter("v_reset"), v[name])
                if self.resets_current:
                    i[name] = np.where(fires, 0.0, i[name])
                if self.held:
                    until[name] = np.where(fires, k + np.rint(p.parameter("t_ref") / self.h), until[name])
            if not self.current_first:
                for name in neurons:
                    i[name] = r(i[name] + self._arriving(net, raster, w, d, name, k, of))
                    states[name][3][k, of] = i[name]

    def _arriving(
        self, net: es.Network, raster: Arrays, w: Any, d: Any, name: str, k: int, of: list[int]
    ) -> Any:
        total = np.zeros((len(of), net.population(name).size))
        for key in net.projections:
            at = k - d[key]
            if key[1] != name or at < 0:
                continue
            sent = raster[key[0]][at][of].copy()
            if self.lost is not None and self.lost[0] == key[0]:
                seen = np.flatnonzero(raster[key[0]][: at + 1, 0].sum(axis=1).cumsum() >= self.lost[1])
                if 0 in of and seen.size and seen[0] == at:
                    sent[of.index(0), np.argmax(sent[of.index(0)])] = 0.0
            if self.packets == "first":
                first = np.cumsum(sent, axis=1) == 1
                sent = sent * first
            total += sent @ w[key].T
        return total

    def backward(
        self, ran: es.Problem, raster: Arrays, states: Any, errors: Arrays
    ) -> tuple[dict[Any, Any], Arrays]:
        """Return dL/dw of every sample, and dL/dt at every spike."""
        net = ran.network if self.back is None else self.back(ran)
        r, n_steps = self.number_of, round(ran.t_end / self.h)
        neurons = {n: net.population(n) for n in states}
        factor = {name: self.factors(p) for name, p in neurons.items()}
        d = {key: int(np.rint(p.delay.max(initial=0.0) / self.h)) for key, p in net.projections.items()}
        shapes = {name: states[name][0].shape for name in neurons}
        at_v, at_i = ({name: np.zeros(shape) for name, shape in shapes.items()} for _ in range(2))
        p_v, p_i = ({name: np.zeros(shape[1:]) for name, shape in shapes.items()} for _ in range(2))
        held, released = ({name: np.zeros(shape[1:]) for name, shape in shapes.items()} for _ in range(2))
        told = {name: errors[name].copy() for name in raster}
        for k in range(n_steps, -1, -1):
            for name, p in neurons.items():
                v, _, free, left = (x[k] for x in states[name])
                at_i[name][k], at_v[name][k] = p_i[name], p_v[name]
                if p.parameter("t_ref").any():
                    out = free == 0
                    rate = 1 / p.parameter("tau_mem")
                    if k < n_steps:
                        freed = out & (states[name][2][k + 1] > 0)
                        released[name] = np.where(
                            freed, -p_v[name] * (p.parameter("v_leak") - v + left) * rate, released[name]
                        )
                    held[name] = np.where(out, held[name] + p_v[name], held[name])
                    p_v[name] = np.where(out, 0.0, p_v[name])
                    at_v[name][k] = p_v[name]
            for name, p in neurons.items():
                z = raster[name][k] > 0
                v, i = states[name][0][k], states[name][1][k]
                error = told[name][k] + self._answer(net, at_v, at_i, d, name, k, n_steps)
                rate, leak = 1 / p.parameter("tau_mem"), p.parameter("v_leak")
                drop = p.parameter("v_threshold") - p.parameter("v_reset")
                subtracts = getattr(p.neuron, "reset", "value") == "subtract"
                reset = v - drop if subtracts else p.parameter("v_reset")
                before, after = (leak + i - v) * rate, (leak + i - reset) * rate
                waits = p.parameter("t_ref") > 0
                own = np.where(waits, released[name], -p_v[name] * after)
                error = error + (own if self.reset_term else 0.0)
                told[name][k] = np.where(z, error, 0.0)
                kept = np.where(waits, held[name], p_v[name])
                divisor = {
                    "before": before,
                    "after": after,
                    "none": rate,
                    "current": i * rate,
                    "sign": -before,
                }[self.slope]
                with np.errstate(divide="ignore", invalid="ignore"):
                    jump = np.where(error == 0, 0.0, -error / divisor)
                p_v[name] = r(np.where(z, jump + (kept if self.keeps_p_v else 0.0), p_v[name]))
                held[name], released[name] = np.where(z, 0.0, held[name]), np.where(z, 0.0, released[name])
            for name in neurons:
                if k:
                    beta, alpha, c = factor[name]
                    p_i[name] = r(r(alpha * p_i[name]) + r(c * p_v[name]))
                    p_v[name] = r(beta * p_v[name])
        weight = {}
        for key in net.projections:
            sent, felt = raster[key[0]][: n_steps + 1 - d[key]], at_i[key[1]][d[key] :]
            weight[key] = np.einsum("ksp,ksq->spq", felt, sent)
        return weight, told

    def _answer(
        self, net: es.Network, at_v: Arrays, at_i: Arrays, d: Any, name: str, k: int, n_steps: int
    ) -> Any:
        total: Any = 0.0
        for key, q in net.projections.items():
            if key[0] == name and k + d[key] <= n_steps:
                p, at = net.population(key[1]), k + d[key]
                of_i = self.p_i * at_i[key[1]][at] / p.parameter("tau_syn")
                total = total + (of_i - self.p_v * at_v[key[1]][at] / p.parameter("tau_mem")) @ q.weight
        return total


def trains(raster: np.ndarray, h: float) -> es.SpikeTrains:
    """Return spikes of a raster."""
    k, s, n = np.nonzero(raster)
    order = np.lexsort((n, k, s))
    return es.SpikeTrains.from_arrays(
        k[order] * h, n[order], s[order], n_samples=raster.shape[1], n_neurons=raster.shape[2]
    )


# -- faults -----------------------------------------------------------------------------------------------------------

Plant = Callable[[Program, es.Problem], Record]


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
    return lambda program, given: replace(program, **settings).run(given)


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


IN, OUT = ("in", "hidden"), ("hidden", "out")
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
        gradients(lambda g, r: g + np.random.default_rng(1).normal(0, np.abs(g).max() / 5, g.shape)), "(?!x)x"
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
        "one (weight|synapse)|synapse",
    ),
    "source off by one": Fault(with_weights(lambda w: np.roll(w, 1, 1), IN), "off by one"),
    "delay +1": Fault(with_delays(1), "delay|spikes act 1 step later"),
    "delay +1 of one": Fault(with_delays(1, OUT), "delay", SHALLOW),
    "delay -1": Fault(with_delays(-1, IN), "delay", ("delays", "recurrent")),
    "delays forgotten": Fault(with_delays(None), "delay", ("delays", "recurrent")),
    "tau swapped": Fault(with_neurons("hidden", tau_mem=5e-3, tau_syn=20e-3), "swapped"),
    "tau_mem 10 ms": Fault(with_neurons("hidden", tau_mem=10e-3), "tau_mem multiplied"),
    "tau_syn 7 ms": Fault(with_neurons("hidden", tau_syn=7e-3), "tau_syn multiplied"),
    "threshold 1.1": Fault(
        with_neurons("hidden", v_threshold=1.1), "v_threshold multiplied|weights multiplied"
    ),
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
    # machine
    "state carried": Fault(set_to(leaks=("V", "I")), "sample to sample"),
    "current carried": Fault(set_to(leaks=("I",)), "sample to sample"),
    "first packet only": Fault(set_to(packets="first"), "packet"),
    "one packet lost": Fault(set_to(lost=("in", 4)), "one packet|lost"),
    "float16": Fault(set_to(number="float16"), "float16|half"),
    "noise": Fault(set_to(jitter=0.05), "(?!x)x"),
    "current first": Fault(set_to(current_first=True), "discretized|transport|later|delay"),
    "resets current": Fault(set_to(resets_current=True), "current is reset"),
    "not held": Fault(set_to(held=False), "refractory", ("refractory",)),
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
    # loss
    "no early term": Fault(with_loss(alpha=0.0), "early"),
    "tau0 twice": Fault(with_loss(tau0=4e-3), "tau0"),
    "alpha twice": Fault(with_loss(alpha=6e-3), "alpha|early"),
    "labels off by one": Fault(with_loss(labels=lambda x: (x + 1) % 3), "label"),
    "labels rolled": Fault(with_loss(labels=lambda x: np.roll(x, 1)), "label"),
}

RIGHT: dict[str, Program] = {
    "exact": Program(),
    "up": Program(rounding="up"),
    "euler": Program(propagators="euler"),
    "exponential": Program(propagators="exponential"),
    "float32": Program(number="float32"),
}
STEPS = (1e-3, 1e-4, 1e-5)

# -- judged -----------------------------------------------------------------------------------------------------------


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


def judged(case: Case) -> tuple[str, Diagnosis]:
    """Return whether a verdict is right: "accepted", "named", "unexplained" or "wrong", and the verdict."""
    found = diagnose(case.given, case.record)
    if case.kind == "correct":
        return ("accepted" if found.accepted else "refused"), found
    if found.verdict == "unexplained":
        return "unexplained", found
    named = all(re.search(words, found.sentence, re.IGNORECASE) for words in case.words.split(" && "))
    return ("named" if named else "wrong"), found


def cases(seed: int, networks: tuple[str, ...], steps: tuple[float, ...], only: str = "") -> Iterator[Case]:
    """Yield right records and those with a fault."""
    for kind in networks:
        given = problem(kind, seed)
        for h in steps:
            for name, program in RIGHT.items():
                program = replace(program, h=h)
                if not only or re.search(only, "correct"):
                    yield Case("correct", kind, h, name, "", program.run(given), given)
            right = Program(h=h).run(given)
            for name, fault in FAULTS.items():
                if kind not in fault.on or (only and not re.search(only, name)):
                    continue
                record = fault.plant(Program(h=h), given)
                if same(record, right):
                    continue
                yield Case(name, kind, h, "exact", fault.words, record, given)


def same(a: Record, b: Record) -> bool:
    """Say whether a fault shows nowhere."""
    if any(
        not np.array_equal(a.spikes[n].times, t.times)
        or not np.array_equal(a.spikes[n].neurons, t.neurons)
        or not np.array_equal(a.spikes[n].samples, t.samples)
        for n, t in b.spikes.items()
    ):
        return False
    return all(
        v.shape == b.weight[k].shape and np.allclose(v, b.weight[k], rtol=1e-6, atol=0)
        for k, v in a.weight.items()
    )


def main() -> int:
    """Plant and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_records", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--steps", nargs="*", type=float, default=list(STEPS))
    parser.add_argument("--only", default="", help="an expression for the faults")
    parser.add_argument("--all", action="store_true", help="list every verdict")
    a = parser.parse_args()
    count: Counter[tuple[str, str]] = Counter()
    for case in cases(a.seed, tuple(a.networks), tuple(a.steps), a.only):
        start = time.process_time()
        verdict, found = judged(case)
        count["correct" if case.kind == "correct" else "fault", verdict] += 1
        if a.all or verdict in ("wrong", "refused", "unexplained"):
            took = time.process_time() - start
            what = f"{verdict:11} {case.network:10} {case.h:g} {case.kind}: {case.program}"
            print(f"{what}: {found.sentence[:300]}  [{took:.1f} s]", flush=True)
    print(json.dumps({f"{kind} {verdict}": n for (kind, verdict), n in sorted(count.items())}, indent=1))
    return 1 if any(verdict in ("wrong", "refused") for _, verdict in count) else 0


if __name__ == "__main__":
    sys.exit(main())
