"""Records of right implementations on a clock, in the many ways in which people step a network, and their verdicts.

``python -m tests.right_records`` asks :func:`validation.diagnosis.diagnose` for a verdict on each: it has to be
accepted and told to be the scheme that it is. What computes them is plain numpy that shares no code with
:mod:`validation.grid`.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from tests.clocked_program import trains
from tests.planted_records import NETWORKS, problem
from validation.diagnosis import Diagnosis, diagnose

Arrays = dict[str, np.ndarray]
STEPS = (1e-3, 1e-4, 1e-5)


@dataclass(frozen=True)
class Way:
    """How a network is stepped; by default V moves with the current of the point before, and arrivals are added last.

    ``order`` is that; or "current": arrivals, V with the new I, spikes, to the next layer in the same step; "block":
    the same, but all spikes of neurons act in the step after; "late": inputs, too; "voltage late": the default, a step
    later.
    """

    h: float = 1e-3
    propagators: str = "exact"
    order: str = "voltage"
    inputs: str = "nearest"
    points: str = "1..n"
    stamp: int = 0
    inclusive: bool = False
    late_feedback: bool = False
    late_reset: bool = False
    hold: int = 0
    slope: str = "grid"
    current: str = "seen"
    number: str = "float64"

    def r(self, x: Any) -> Any:
        """Round to the number format."""
        if self.number == "float64":
            return x
        return np.asarray(x, dtype=self.number).astype(np.float64)

    def factors(self, p: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return by what V and I are multiplied in a step, and what I adds to V."""
        a, b = self.h / p.parameter("tau_mem"), self.h / p.parameter("tau_syn")
        if self.propagators == "euler":
            return 1 - a, 1 - b, a
        if self.propagators == "implicit":
            return 1 / (1 + a), 1 / (1 + b), a / (1 + a)
        if self.propagators in ("rk2", "rk4"):
            matrix = np.zeros((a.size, 2, 2))
            matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1] = -a, a, -b
            total = term = np.broadcast_to(np.eye(2), matrix.shape)
            for k in range(1, int(self.propagators[2]) + 1):
                term = term @ matrix / k
                total = total + term
            return total[:, 0, 0], total[:, 1, 1], total[:, 0, 1]
        beta, alpha = np.exp(-a), np.exp(-b)
        if self.propagators == "exponential":
            return beta, alpha, 1 - beta
        if self.propagators == "scaled":
            return beta, alpha, a
        m, s = p.parameter("tau_mem"), p.parameter("tau_syn")
        return beta, alpha, s / (s - m) * (alpha - beta)

    def steps(self, times: np.ndarray) -> np.ndarray:
        """Return the step in which an input arrives."""
        x = times / self.h
        near = x.round(9)
        how = {
            "nearest": np.rint(x),
            "half up": np.floor(near + 0.5),
            "up": np.ceil(near),
            "down": np.floor(near),
            "truncated": np.floor(x),
            "next": np.floor(near) + 1,
        }
        return how[self.inputs].astype(np.int64)

    @property
    def first(self) -> int:
        """The first point at which states move."""
        return int(self.points[0])

    def last(self, given: es.Problem) -> int:
        """Return the last point."""
        return round(given.t_end / self.h) - self.points.endswith("n-1")


class Run:
    """A network that is stepped in some way."""

    def __init__(self, way: Way, given: es.Problem) -> None:
        self.way, self.given, net = way, given, given.network
        self.net, self.n, self.samples = net, way.last(given), given.n_samples
        self.neurons = {name: p for name, p in net.populations.items() if p.neuron is not None}
        self.factor = {name: way.factors(p) for name, p in self.neurons.items()}
        cycles = {key for key in net.projections if key[0] == key[1]}
        self.d = {}
        for key, p in net.projections.items():
            late = {
                "voltage": 0,
                "current": 0,
                "late": 1,
                "voltage late": 1,
                "block": int(key[0] not in given.inputs),
            }
            self.d[key] = int(np.rint(p.delay.max(initial=0.0) / way.h)) + late[way.order]
            self.d[key] += int(way.late_feedback and key in cycles)
        self.w = {key: way.r(np.asarray(p.weight)) for key, p in net.projections.items()}
        self.raster = {
            name: np.zeros((self.n + 1, self.samples, p.size)) for name, p in net.populations.items()
        }
        for name, t in given.inputs.items():
            k = way.steps(t.times)
            inside = k <= self.n
            self.raster[name][k[inside], t.samples[inside], t.neurons[inside]] = 1.0
        self.refractory = {}
        for name, p in self.neurons.items():
            steps = np.rint(p.parameter("t_ref") / way.h).astype(int)
            steps = np.maximum(steps + way.hold * (steps > 0), 0)
            if way.late_reset and not self.subtracts(name):
                steps = steps + 1
            self.refractory[name] = steps
        self.v, self.i, self.left, self.was, self.free = ({} for _ in range(5))
        self.forward()

    def subtracts(self, name: str) -> bool:
        """Say whether a spike takes something from V."""
        return getattr(self.neurons[name].neuron, "reset", "value") == "subtract"

    def drop(self, name: str) -> np.ndarray:
        """Return how much: a step later it is what is left of more."""
        p = self.neurons[name]
        drop = p.parameter("v_threshold") - p.parameter("v_reset")
        return drop / self.factor[name][0] if self.way.late_reset else drop

    def arriving(self, name: str, k: int) -> Any:
        """Return what arrives at a population at a point."""
        total = np.zeros((self.samples, self.neurons[name].size))
        for key, w in self.w.items():
            if key[1] == name and k >= self.d[key]:
                total = total + self.raster[key[0]][k - self.d[key]] @ w.T
        return total

    def forward(self) -> None:
        """Step through."""
        way, r = self.way, self.way.r
        shape = {name: (self.n + 1, self.samples, p.size) for name, p in self.neurons.items()}
        for name, of in shape.items():
            for states in (self.v, self.i, self.left, self.was):
                states[name] = np.zeros(of)
            self.free[name] = np.ones(of, bool)
        v = {
            m: np.broadcast_to(p.parameter("v_initial"), shape[m][1:]).copy() for m, p in self.neurons.items()
        }
        i = {
            m: np.broadcast_to(p.parameter("i_initial"), shape[m][1:]).copy() for m, p in self.neurons.items()
        }
        until = {m: np.full(shape[m][1:], -1) for m in self.neurons}
        current_first = not way.order.startswith("voltage")
        for k in range(self.n + 1):
            moves = k >= way.first
            for name, p in self.neurons.items():
                beta, alpha, c = self.factor[name]
                was = i[name]
                if moves:
                    i[name] = r(alpha * i[name])
                if current_first:
                    i[name] = r(i[name] + self.arriving(name, k))
                free = k > until[name]
                if moves:
                    drive = i[name] if current_first else was
                    moved = r(r(r(beta * v[name]) + r(c * drive)) + r((1 - beta) * p.parameter("v_leak")))
                    v[name] = np.where(free, moved, v[name])
                self.v[name][k], self.i[name][k], self.was[name][k] = v[name], i[name], was
                self.free[name][k] = free
                threshold = p.parameter("v_threshold")
                fires = ((v[name] >= threshold) if way.inclusive else (v[name] > threshold)) & free
                self.raster[name][k] = fires
                reset = v[name] - self.drop(name) if self.subtracts(name) else p.parameter("v_reset")
                v[name] = np.where(fires, reset, v[name])
                until[name] = np.where(fires, k + self.refractory[name], until[name])
            for name in self.neurons:
                if not current_first:
                    i[name] = r(i[name] + self.arriving(name, k))
                self.left[name][k] = i[name]

    def slope_current(self, name: str, k: int) -> np.ndarray:
        """Return the current of the slopes at a spike."""
        if self.way.current == "end":
            return self.left[name][k] * (
                1.0 if self.way.order.startswith("voltage") else self.factor[name][1]
            )
        return self.was[name][k] if self.way.current == "moved by" else self.i[name][k]

    def backward(self, errors: Arrays) -> tuple[dict[Any, np.ndarray], Arrays]:
        """Return dL/dw of every sample, and dL/dt at every spike."""
        way, r = self.way, self.way.r
        zeros = lambda: {name: np.zeros(x.shape[1:]) for name, x in self.v.items()}  # noqa: E731
        at_v, at_i = ({name: np.zeros(x.shape) for name, x in self.v.items()} for _ in range(2))
        p_v, p_i, held, released = zeros(), zeros(), zeros(), zeros()
        told = {name: x.copy() for name, x in errors.items()}
        current_first = not way.order.startswith("voltage")
        for k in range(self.n, -1, -1):
            if not current_first:
                for name in self.neurons:
                    at_i[name][k], at_v[name][k] = p_i[name], np.where(self.free[name][k], p_v[name], 0.0)
            for name in reversed(self.neurons):
                p, (beta, alpha, c) = self.neurons[name], self.factor[name]
                rate, leak = 1 / p.parameter("tau_mem"), p.parameter("v_leak")
                out, v = ~self.free[name][k], self.v[name][k]
                if k < self.n:
                    freed = out & self.free[name][k + 1]
                    gone = -p_v[name] * (leak - v + self.left[name][k]) * rate
                    released[name] = np.where(freed, gone, released[name])
                held[name] = np.where(out, held[name] + p_v[name], held[name])
                p_v[name] = np.where(out, 0.0, p_v[name])
                z = self.raster[name][k] > 0
                error = told[name][k] + self.answer(at_v, at_i, name, k)
                i = self.slope_current(name, k)
                seen = p.parameter("v_threshold") if way.slope == "threshold" else v
                reset = seen - self.drop(name) if self.subtracts(name) else p.parameter("v_reset")
                before, after = (leak + i - seen) * rate, (leak + i - reset) * rate
                error = error + np.where(self.refractory[name] > 0, released[name], -p_v[name] * after)
                told[name][k] = np.where(z, error, 0.0)
                with np.errstate(divide="ignore", invalid="ignore"):
                    jump = np.where(error == 0, 0.0, -error / before)
                p_v[name] = r(np.where(z, jump, p_v[name]))
                held[name], released[name] = np.where(z, 0.0, held[name]), np.where(z, 0.0, released[name])
                moves = k >= way.first
                if current_first:
                    if moves:
                        p_i[name] = r(p_i[name] + r(c * p_v[name]))
                    at_i[name][k], at_v[name][k] = p_i[name], p_v[name]
                    if moves:
                        p_i[name], p_v[name] = r(alpha * p_i[name]), r(beta * p_v[name])
                elif moves:
                    p_i[name] = r(r(alpha * p_i[name]) + r(c * p_v[name]))
                    p_v[name] = r(beta * p_v[name])
        weight = {}
        for key in self.w:
            sent = self.raster[key[0]][: self.n + 1 - self.d[key]]
            weight[key] = np.einsum("ksp,ksq->spq", at_i[key[1]][self.d[key] :], sent)
        return weight, told

    def answer(self, at_v: Arrays, at_i: Arrays, name: str, k: int) -> Any:
        """Return dL/dt of a spike through its arrivals."""
        total: Any = 0.0
        for key, w in self.w.items():
            at = k + self.d[key]
            if key[0] == name and at <= self.n:
                post = self.neurons[key[1]]
                felt = at_i[key[1]][at] / post.parameter("tau_syn") - at_v[key[1]][at] / post.parameter(
                    "tau_mem"
                )
                total = total + felt @ w
        return total


def record(way: Way, given: es.Problem) -> Record:
    """Return what an implementation that steps a network in some way writes down."""
    run, h = Run(way, given), way.h
    spikes = {name: trains(run.raster[name], h) for name in run.neurons}
    told_at = {
        name: es.SpikeTrains.from_arrays(
            (np.rint(t.times / h) + way.stamp) * h,
            t.neurons,
            t.samples,
            n_samples=t.n_samples,
            n_neurons=t.n_neurons,
        )
        for name, t in spikes.items()
    }
    seen = SimpleNamespace(
        spikes={**given.inputs, **told_at}, network=given.network, n_samples=given.n_samples, t_end=given.t_end,
        t_start=0.0, stopped=None,
    )  # fmt: skip
    loss: Any = replace(given.loss, silent="skip")  # type: ignore[type-var]
    evaluation = loss.evaluate(seen)
    errors = {name: np.zeros(x.shape) for name, x in run.v.items()}

    def at(name: str) -> Any:
        t = spikes[name]
        return np.rint(t.times / h).astype(int), t.samples, t.neurons

    for name, values in evaluation.spike_times.items():
        errors[name][at(name)] = values
    weight, told = run.backward(errors)
    return Record.of(
        given,
        "mine",
        spikes=told_at,
        time_step=h,
        loss_values=np.asarray(evaluation.values),
        gradients={"weight": weight, "spike_times": {name: told[name][at(name)] for name in run.neurons}},
    )


FIRST = {"order": "current", "points": "0..n-1"}
LOOP = {"points": "0..n-1", "inputs": "down"}
NEAREST, OWN = "inputs to the nearest step(,|$)", "act in their own step"

WAYS: dict[str, tuple[Mapping[str, Any], str]] = {
    "exact": ({}, f"exact propagators, .*{NEAREST}|exact propagators.*{NEAREST}"),
    "Euler": ({"propagators": "euler"}, f"forward Euler.*{NEAREST}"),
    "exponential": ({"propagators": "exponential"}, f"exponential decays,.*{NEAREST}"),
    "scaled": ({"propagators": "scaled"}, "scaled by h/tau_mem"),
    "backward Euler": ({"propagators": "implicit"}, "backward Euler"),
    "backward Euler, current first": ({"propagators": "implicit", **FIRST}, f"backward Euler.*{OWN}"),
    "Runge-Kutta 2": ({"propagators": "rk2"}, "Runge-Kutta of second"),
    "Runge-Kutta 4": ({"propagators": "rk4"}, "Runge-Kutta of fourth"),
    "inputs up": ({"inputs": "up"}, "inputs to the next step"),
    "inputs down": ({"inputs": "down"}, "inputs to the step before"),
    "inputs, halves up": ({"inputs": "half up"}, "inputs to the nearest step"),
    "inputs truncated": ({"inputs": "truncated"}, "inputs to the step"),
    "inputs next": ({"inputs": "next"}, "inputs to the (next|step before)"),
    "float32": ({"number": "float32"}, "float32"),
    "Euler, float32": ({"propagators": "euler", "number": "float32"}, "forward Euler.*float32"),
    "V at the threshold": ({"inclusive": True}, "exact propagators"),
    "slope at the threshold": ({"slope": "threshold"}, "slope at the threshold"),
    "slope before arrivals decayed": ({"current": "moved by"}, "current (that moved V|before voltage)"),
    "slope after arrivals": ({"current": "end"}, "current at the end of the step|exact propagators, float64"),
    "steps from 0": ({"points": "0..n-1"}, "exact propagators"),
    "a step later": ({"order": "voltage late"}, "act 1 step later"),
    "current first": (FIRST, f"current before voltage, spikes {OWN}"),
    "current first, from 1": ({"order": "current"}, f"current before voltage, spikes {OWN}"),
    "current first, slope decayed": ({**FIRST, "current": "end"}, f"spikes {OWN}.*current at the end"),
    "current first, down": ({**FIRST, "inputs": "down"}, f"spikes {OWN}.*step before"),
    "current first, told at the end": (
        {**FIRST, "inputs": "down", "stamp": 1},
        f"{OWN}.*(inputs to the next step|end of their step)",
    ),
    "current first, a step later": ({"order": "late"}, "exact propagators"),
    "current first, neurons a step later": ({**FIRST, "order": "block"}, "inputs in their own"),
    "reset a step late": ({"late_reset": True}, "resets a step late"),
    "held a step less": ({"hold": -1}, "held a step less"),
    "as snnTorch": (
        {**FIRST, **LOOP, "propagators": "exponential", "late_reset": True},
        f"{OWN}.*resets a step late",
    ),
    "as snnTorch, reset at once": (
        {**FIRST, **LOOP, "propagators": "exponential"},
        f"exponential decays.*{OWN}",
    ),
    "as Norse": ({**LOOP, "propagators": "euler", "late_feedback": True}, "forward Euler"),
    "as Brian2": ({**LOOP, "hold": -1}, "exact propagators"),
    "as lava": ({**LOOP, "order": "late", "propagators": "euler"}, "forward Euler"),
}
"""How networks are stepped, and an expression for the scheme that it is."""
KINDS = (*NETWORKS, "feedback")


def given_problem(kind: str, seed: int) -> es.Problem:
    """Return a problem: "feedback" is the recurrent one without delays."""
    if kind != "feedback":
        return problem(kind, seed)
    given = problem("recurrent", seed)
    none = {key: np.zeros_like(p.weight) for key, p in given.network.projections.items()}
    return replace(given, network=given.network.with_delays(none))


def way_of(name: str, kind: str, h: float) -> Way | None:
    """Return a way in which a kind of network is stepped, None if it is not another one there."""
    settings = dict(WAYS[name][0])
    if "hold" in settings and kind != "refractory":
        return None
    if settings.get("late_reset") and kind == "refractory":
        return None
    if kind == "feedback" and settings.get("order") == "current":
        settings["late_feedback"] = True
    elif kind != "feedback":
        settings.pop("late_feedback", None)
    return Way(h=h, **settings)


def judged(name: str, given: es.Problem, found: Record) -> tuple[str, Diagnosis]:
    """Return "named", "accepted" under another name or "refused", and the verdict."""
    verdict = diagnose(given, found)
    if not verdict.accepted:
        return "refused", verdict
    return ("named" if re.search(WAYS[name][1], verdict.twin) else "accepted"), verdict


def main() -> int:
    """Judge all of them, or some of them by chance."""
    parser = argparse.ArgumentParser(prog="python -m tests.right_records", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--networks", nargs="*", default=list(KINDS))
    parser.add_argument("--steps", nargs="*", type=float, default=list(STEPS))
    parser.add_argument("--only", default="", help="an expression for the ways")
    parser.add_argument("--part", default="whole", choices=list(PARTS), help="what of a record is there")
    parser.add_argument("--most", type=int, help="how many are judged, drawn by the seed; by default all")
    parser.add_argument("--all", action="store_true", help="list every verdict")
    a = parser.parse_args()
    count: Counter[tuple[str, float, str]] = Counter()
    plans = [
        (kind, h, name) for kind in a.networks for h in a.steps for name in WAYS if re.search(a.only, name)
    ]
    plans = [plan for plan in plans if way_of(plan[2], plan[0], plan[1]) is not None]
    if a.most is not None:
        plans = random.Random(a.seed).sample(plans, min(a.most, len(plans)))
    for kind, h, name in plans:
        given, way = given_problem(kind, a.seed), way_of(name, kind, h)
        assert way is not None
        whole = record(way, given)
        start = time.process_time()
        verdict, found = judged(name, given, PARTS[a.part](whole))
        count[kind, h, verdict] += 1
        if a.all or verdict != "named":
            took = time.process_time() - start
            text = f"{verdict:9} {kind:10} {h:g} {name}: {found.sentence[:300]}  [{took:.1f} s]"
            print(text, flush=True)
    print(table(count, a.networks, a.steps))
    return 1 if any(verdict == "refused" for _, _, verdict in count) else 0


def table(
    count: Mapping[tuple[str, float, str], int], networks: Sequence[str], steps: Sequence[float]
) -> str:
    """Return how many are told to be the scheme that they are, another one that is the same there, or refused."""
    rows = [f"| network | {' | '.join(f'{h:g} s' for h in steps)} |", f"|---|{'---|' * len(steps)}"]
    for kind in networks:
        cells = (
            " / ".join(str(count.get((kind, h, v), 0)) for v in ("named", "accepted", "refused"))
            for h in steps
        )
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[[Record], Record]] = {
    "whole": lambda r: r,
    "spikes": lambda r: replace(r, gradients={}, loss_values=None),
    "weights": lambda r: replace(r, gradients={"weight": r.gradients["weight"]}, loss_values=None),
    "gradients alone": lambda r: replace(
        r, gradients={"weight": r.gradients["weight"]}, loss_values=None, spikes={}
    ),
    "outputs": lambda r: replace(r, gradients={}, spikes={"out": r.spikes["out"]}),
    "mean": lambda r: replace(
        r,
        gradients={"weight": {key: x.mean(axis=0) for key, x in r.gradients["weight"].items()}},
        loss_values=None,
        reduction="mean",
    ),
}
"""What of a record is there."""


if __name__ == "__main__":
    sys.exit(main())
