"""A clocked implementation of EventProp in numpy that shares no code with the diagnosis, and its faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record

Arrays = dict[str, np.ndarray]


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
    doubled: bool = False
    queue: int | None = None
    floor: float = -np.inf
    limit: float = np.inf
    quantum: float = 0.0
    jitter: float = 0.0
    resets_current: bool = False
    reset_term: bool = True
    slope: str = "before"
    p_v: float = 1.0
    p_i: float = 1.0
    keeps_p_v: bool = False
    decays_back: bool = True
    summed_late: int = 0
    sent_late: int = 0
    slope_least: float = 0.0
    sees_back: float = np.inf
    back: Callable[[es.Problem], es.Network] | None = None
    errors: Callable[[Arrays], Arrays] = field(default=lambda e: e)

    def number_of(self, x: Any) -> Any:
        """Round to the number format."""
        if self.quantum:
            return np.floor(np.asarray(x) / self.quantum) * self.quantum
        return np.asarray(x, dtype=self.number).astype(np.float64)

    def factors(self, p: Any) -> tuple[Any, Any, Any]:
        """Return beta, alpha, and what I adds to V."""
        m, s = p.parameter("tau_mem"), p.parameter("tau_syn")
        if self.propagators == "euler":
            return 1 - self.h / m, 1 - self.h / s, self.h / m
        a, b = np.exp(-self.h / m), np.exp(-self.h / s)
        if self.propagators == "exponential":
            return a, b, 1 - a
        return a, b, np.where(m == s, self.h / m * a, s / (s - m + (m == s)) * (b - a))

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
        return Record.of(
            given,
            "planted",
            spikes=spikes,
            time_step=self.h,
            loss_values=np.asarray(evaluation.values),
            gradients={"weight": weight, "spike_times": of},
        )

    def forward(self, ran: es.Problem) -> tuple[Arrays, dict[str, tuple[np.ndarray, ...]]]:
        """Return who spikes when; V, I, whether V was free, and I after arrivals, (n_steps + 1, n_samples, n) each."""
        net, n_steps, n_samples = ran.network, round(ran.t_end / self.h), ran.n_samples
        steps = {"nearest": np.rint, "up": np.ceil, "down": np.floor}[self.rounding]
        raster = {name: np.zeros((n_steps + 1, n_samples, p.size)) for name, p in net.populations.items()}
        for name, t in ran.inputs.items():
            at = t.times / self.h
            k = steps(at if self.rounding == "nearest" else at.round(9)).astype(int)
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
                    i[name] = np.clip(r(alpha * i[name]), -self.limit, self.limit)
                    drive = i[name] if self.current_first else was
                    leak = p.parameter("v_leak")
                    if self.current_first:
                        i[name] = drive = r(drive + self._arriving(net, raster, w, d, name, k - 1, of))
                    moved = r(r(beta * v[name]) + r(c * drive) + (1 - beta) * leak)
                    v[name] = np.where(free, np.maximum(moved, self.floor), v[name])
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
                    sent[of.index(0), np.argmax(sent[of.index(0)])] = 2.0 if self.doubled else 0.0
            if self.queue is not None:
                sent = sent * (np.cumsum(sent, axis=1) <= self.queue)
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
                if (n_steps - k) * self.h > self.sees_back:
                    p_v[name], p_i[name] = 0.0 * p_v[name], 0.0 * p_i[name]
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
                divisor = np.where(np.abs(divisor) < self.slope_least, self.slope_least, divisor)
                with np.errstate(divide="ignore", invalid="ignore"):
                    jump = np.where(error == 0, 0.0, -error / divisor)
                p_v[name] = r(np.where(z, jump + (kept if self.keeps_p_v else 0.0), p_v[name]))
                held[name], released[name] = np.where(z, 0.0, held[name]), np.where(z, 0.0, released[name])
            for name in neurons:
                if k:
                    beta, alpha, c = factor[name]
                    kept_i = alpha * p_i[name] if self.decays_back else p_i[name]
                    p_i[name] = r(r(kept_i) + r(c * p_v[name]))
                    p_v[name] = r(beta * p_v[name])
        weight = {}
        for key in net.projections:
            late = d[key] + self.summed_late
            first = max(0, -late)
            sent, felt = raster[key[0]][first : n_steps + 1 - max(late, 0)], at_i[key[1]][max(late, 0) :]
            felt = felt[: len(sent)]
            weight[key] = np.einsum("ksp,ksq->spq", felt, sent)
        return weight, told

    def _answer(
        self, net: es.Network, at_v: Arrays, at_i: Arrays, d: Any, name: str, k: int, n_steps: int
    ) -> Any:
        total: Any = 0.0
        for key, q in net.projections.items():
            at = k + d[key] + self.sent_late
            if key[0] == name and at <= n_steps:
                p = net.population(key[1])
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
