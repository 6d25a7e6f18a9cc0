"""The time-stepped network in plain Python, one sample, one neuron and one synapse after the other.

It shares the factors of a step with :class:`validation.grid.TimeStepped`, and nothing else.
"""

from collections import defaultdict

import networkx as nx
import numpy as np

from validation.fixedpoint import ArithmeticUnit, FixedFormat, to_float
from validation.grid.scheme import factors
from validation.grid.steps import in_steps


def rounding_of(target):
    """Return what an operation's result goes through."""
    if target.number == "float64":
        return lambda x: x
    if target.number == "float32":
        return lambda x: float(np.float32(x))
    if target.number == "float16":
        return lambda x: float(np.float16(x))
    unit, number = ArithmeticUnit(target.rounding, target.overflow), FixedFormat.parse(target.number)
    return lambda x: float(to_float(unit.quantize(x, number), number))


def nearest_of(target):
    """Return what parameters and weights go through, and factors."""
    if target.number == "float64":
        return (lambda x: x), (lambda x: x)
    if target.number == "float32":
        return (lambda x: float(np.float32(x))), (lambda x: float(np.float32(x)))
    if target.number == "float16":
        return (lambda x: float(np.float16(x))), (lambda x: x)
    unit, number = ArithmeticUnit("nearest_even"), FixedFormat.parse(target.number)
    return (lambda x: float(to_float(unit.quantize(x, number), number)) if np.isfinite(x) else x), (
        lambda x: x
    )


class Sample:
    """One sample of a network: ``spikes`` (step, cell, V, I, lift), and V and I after each step by cell."""

    def __init__(self, net, target, given, n_steps):
        self.target, self.n_steps, self.r = target, n_steps, rounding_of(target)
        value, factor = nearest_of(target)
        self.cells, self.p = [], {}
        for name, population in net.populations.items():
            if population.neuron is None:
                continue
            found = factors(population, target.time_step, target.propagators)
            for k in range(population.size):
                self.cells.append((name, k))
                own = {
                    n: float(population.parameter(n)[k]) for n in ("tau_mem", "tau_syn", "v_leak", "t_ref")
                }
                own |= {
                    n: value(float(population.parameter(n)[k]))
                    for n in ("v_threshold", "v_reset", "v_initial", "i_initial")
                }
                own["beta"], own["alpha"], own["k"] = (
                    factor(float(x[k])) for x in (found.decay_mem, found.decay_syn, found.transfer)
                )
                own["drive"] = value(float((1 - found.decay_mem[k]) * own["v_leak"]))
                own["held"] = int(in_steps(own["t_ref"], target.time_step))
                own["subtracts"] = getattr(population.neuron, "reset", "value") == "subtract"
                self.p[name, k] = own
        self.synapses = defaultdict(list)
        for key, q in net.projections.items():
            rows = np.repeat(np.arange(q.row_offsets.size - 1), np.diff(q.row_offsets))
            inside = (
                net.graph.has_edge(q.post, q.pre) or q.pre == q.post or nx.has_path(net.graph, q.post, q.pre)
            )
            steps = in_steps(q.delay, target.time_step) + target.transport + inside * target.feedback
            for s, (post, pre) in enumerate(zip(rows.tolist(), q.sources.tolist(), strict=True)):
                synapse = (
                    key,
                    s,
                    (q.post, post),
                    value(float(q.weights[s])),
                    int(steps[s]),
                    q.synapse == "delta",
                )
                self.synapses[q.pre, pre].append(synapse)
        order = {key: place for place, key in enumerate(net.projections)}
        for of in self.synapses.values():
            of.sort(key=lambda s: (order[s[0]], s[4], s[2][1]))
        self.groups = self.ordered(net) if target.order == "current_first" else [self.cells]
        self.inputs = defaultdict(list)
        for name, k, step in given:
            self.inputs[step].append((name, k))
        self.forward()

    def ordered(self, net):
        """Return the cells in groups, so that no group gets a spike of its own or of a later one in the same step."""
        prompt = {(c[0], s[2][0]) for c in self.cells for s in self.synapses[c] if s[4] == 0}
        if not prompt:
            return [self.cells]
        left, groups = list(dict.fromkeys(c[0] for c in self.cells)), []
        while left:
            name = next(n for n in left if not any(pre in left and post == n for pre, post in prompt))
            left.remove(name)
            groups.append([c for c in self.cells if c[0] == name])
        self.cells = [c for group in groups for c in group]
        return groups

    def moved(self, v, i, drives, p):
        kept, driven = self.r(v * p["beta"]), self.r(drives * p["k"])
        return self.r(self.r(kept + driven) + p["drive"])

    def above(self, v, p):
        return v >= p["v_threshold"] if self.target.inclusive else v > p["v_threshold"]

    def forward(self):
        first = self.target.order == "current_first"
        arriving = defaultdict(float)  # (step, cell, delta)
        v = {c: self.p[c]["v_initial"] for c in self.cells}
        i = {c: self.p[c]["i_initial"] for c in self.cells}
        until = dict.fromkeys(self.cells, -1)
        self.spikes, self.v, self.i, self.free = [], [], [], []

        def send(cell, step):
            for _, _, post, w, steps, delta in self.synapses[cell]:
                if step + steps <= self.n_steps:
                    total = arriving[step + steps, post, delta] + w
                    arriving[step + steps, post, delta] = (
                        total if self.target.number == "float16" else self.r(total)
                    )

        def fire(c, step, lift):
            p = self.p[c]
            self.spikes.append((step, c, v[c], i[c], lift))
            v[c] = self.r(v[c] - (p["v_threshold"] - p["v_reset"]) if p["subtracts"] else p["v_reset"])
            until[c] = step + p["held"]

        for step in range(self.n_steps + 1):
            free = {c: step == 0 or step > until[c] for c in self.cells}
            begin = len(self.spikes)
            if first:
                for cell in self.inputs[step]:
                    send(cell, step)
            for group in self.groups:
                lifts = {}
                for c in group:
                    p, was = self.p[c], i[c]
                    moves = step > 0 or self.target.points[0] == "0"
                    if moves:
                        i[c] = self.r(i[c] * p["alpha"])
                    if first and (step, c, False) in arriving:
                        i[c] = self.r(i[c] + arriving.pop((step, c, False)))
                    if free[c] and moves:
                        v[c] = self.moved(v[c], i[c], i[c] if first else was, p)
                    lift = arriving.pop((step, c, True), 0.0) if first else 0.0
                    if lift != 0.0 and free[c]:
                        already = self.above(v[c], p)
                        v[c] = self.r(v[c] + lift)
                        if not already:
                            lifts[c] = lift
                sent = len(self.spikes)
                for c in group:
                    if self.above(v[c], self.p[c]):
                        fire(c, step, lifts.get(c, 0.0))
                for s in self.spikes[sent:] if first else ():
                    send(s[1], step)
            for cell in self.inputs[step] if not first else ():
                send(cell, step)
            sent = begin
            while not first:
                for s in self.spikes[sent:]:
                    send(s[1], step)
                sent = len(self.spikes)
                here = {key: arriving.pop(key) for key in list(arriving) if key[0] == step}
                if not here:
                    break
                for c in self.cells:
                    if (step, c, False) in here:
                        i[c] = self.r(i[c] + here[step, c, False])
                for c in self.cells:
                    lift = here.get((step, c, True), 0.0)
                    if lift == 0.0 or not free[c] or step < until[c]:
                        continue
                    already = self.above(v[c], self.p[c])
                    v[c] = self.r(v[c] + lift)
                    once = all(s[1] != c for s in self.spikes[begin:])
                    if self.above(v[c], self.p[c]) and not already and once:
                        fire(c, step, lift)
            self.v.append(dict(v))
            self.i.append(dict(i))
            self.free.append(free)

    def backward(self, errors, reads):
        """Return dL/dt of spikes and of inputs (by step, cell), and gradients by (key, synapse)."""
        r, first = self.r, self.target.order == "current_first"
        p_v, p_i = dict.fromkeys(self.cells, 0.0), dict.fromkeys(self.cells, 0.0)
        held, released = dict.fromkeys(self.cells, 0.0), dict.fromkeys(self.cells, 0.0)
        at_i, at_v, at_lift, at_arrival = {}, {}, {}, defaultdict(float)
        weight, delay, of_inputs = defaultdict(float), defaultdict(float), {}
        errors = list(errors)

        def answer(cell, step):
            total = 0.0
            for key, s, post, w, steps, delta in self.synapses[cell]:
                at = step + steps, post
                if at[0] > self.n_steps:
                    continue
                rate_mem, rate_syn = 1 / self.p[post]["tau_mem"], 1 / self.p[post]["tau_syn"]
                weight[key, s] += at_lift[at] if delta else at_i[at]
                value = (
                    at_lift[at] * rate_mem + at_arrival[at]
                    if delta
                    else at_i[at] * rate_syn - at_v[at] * rate_mem
                )
                delay[key, s] += w * value
                total += w * value
            return total

        for step in range(self.n_steps, -1, -1):
            for group in self.groups[::-1]:
                if not first:
                    for c in group:
                        at_i[step, c], at_v[step, c] = p_i[c], p_v[c]
                for c, slope in reads.get(step, ()):
                    if c not in group:
                        continue
                    p_v[c] = r(p_v[c] + slope)
                for c in group:
                    p = self.p[c]
                    if not self.free[step][c]:
                        if step < self.n_steps and self.free[step + 1][c]:
                            slope = (p["v_leak"] - self.v[step][c] + self.i[step][c]) * (1 / p["tau_mem"])
                            released[c] = -p_v[c] * slope
                        held[c] += p_v[c]
                        p_v[c] = at_v[step, c] = 0.0
                    at_lift[step, c] = p_v[c]
                for k in [k for k, s in enumerate(self.spikes) if s[0] == step and s[1] in group][::-1]:
                    _, c, v, i, lift = self.spikes[k]
                    p = self.p[c]
                    rate, drop = 1 / p["tau_mem"], p["v_threshold"] - p["v_reset"]
                    errors[k] = error = errors[k] + answer(c, step)
                    if self.target.slope == "threshold" and lift == 0.0:
                        v = p["v_threshold"]
                    reset = v - drop if p["subtracts"] else p["v_reset"]
                    before = (p["v_leak"] + i) * rate - v * rate
                    if p["held"]:
                        error += released[c]
                        p_v[c] += held[c]
                        released[c] = held[c] = 0.0
                    else:
                        error += -p_v[c] * ((p["v_leak"] + i) * rate - reset * rate)
                    errors[k] = error
                    if lift == 0.0:
                        p_v[c] = r(-(error / before if error != 0.0 else 0.0))
                        continue
                    if p["subtracts"]:
                        error += p_v[c] * before
                    else:
                        p_v[c] = 0.0
                    if not first:
                        at_v[step, c] = at_lift[step, c] = p_v[c]
                    at_arrival[step, c] = error / lift
                for c in group:
                    p = self.p[c]
                    if step == 0 and self.target.points[0] != "0":
                        if first:
                            at_i[step, c], at_v[step, c], at_lift[step, c] = p_i[c], p_v[c], p_v[c]
                        continue
                    if first:
                        p_i[c] = r(p_i[c] + r(p_v[c] * p["k"]))
                        at_i[step, c], at_v[step, c], at_lift[step, c] = p_i[c], p_v[c], p_v[c]
                        p_i[c] = r(p_i[c] * p["alpha"])
                    else:
                        p_i[c] = r(r(p_i[c] * p["alpha"]) + r(p_v[c] * p["k"]))
                    p_v[c] = r(p_v[c] * p["beta"])
            for cell in self.inputs[step][::-1]:
                of_inputs[step, cell] = answer(cell, step)
        return errors, of_inputs, weight, delay
