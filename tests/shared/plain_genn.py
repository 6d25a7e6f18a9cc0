"""GeNN's EventProp in plain Python, from the equations: every neuron a row of numbers, every trial step by step.

It runs as GeNN does: the trials of one sample each follow one another, and while one goes forward the one before goes
backward, with ring buffers, read and write pointers and flags. A silent trial at the end takes the last one backward.
"""

import math

import numpy as np
import scipy.sparse as sp

import eventsolve as es

LOSSES = {
    "AvgVar": lambda labels, *_: es.losses.MeanVoltageCrossEntropy("out", labels),
    "AvgVarExpWeight": lambda labels, *_: es.losses.MeanVoltageCrossEntropy(
        "out", labels, weighting="exponential"
    ),
    "SumVar": lambda labels, _, dt: es.losses.SumVoltageCrossEntropy("out", labels, time_step=dt * 1e-3),
    "MaxVar": lambda labels, *_: es.losses.MaxVoltageCrossEntropy("out", labels),
    "Var": lambda _, targets, dt: es.losses.TrajectoryMSE(
        "out", lambda t, s: targets[s][np.rint(t / (dt * 1e-3)).astype(int) - 1].T
    ),
    "RelativeMSE": lambda labels, *_: es.losses.RelativeMSE("out", labels, gap=1e-3),
    "FirstSpikeTime": lambda labels, *_: es.losses.FirstSpikeCrossEntropy(
        "out", labels, tau0=1.5e-3, alpha=0.3e-3
    ),
}
"""By mlGeNN's names: of labels, targets and dt in ms."""
READOUT = {"population": "out", "temperature": 1.5, "alpha": 0.3, "gap": 1.0}
"""Their constants, as :class:`Plain` takes them."""


class Neuron:
    """What GeNN keeps of a neuron: its state, its adjoint and its ring buffer."""

    def __init__(self, float_, max_spikes):
        self.zero = float_(0)
        self.max_spikes = max_spikes
        self.write, self.read = 0, max_spikes - 1
        self.write_start = self.read_end = max_spikes - 1
        self.ring = [None] * max_spikes
        self.flag = False
        self.v = self.held = self.lambda_v = self.lambda_i = self.rev = self.zero
        self.spiked, self.count, self.count_back = False, 0, 0
        self.first = self.first_back = None

    def begin(self, v_initial):
        self.read = (self.write - 1) % self.max_spikes
        self.read_end, self.write_start = self.write_start, self.read
        self.v, self.held = v_initial, self.zero
        self.lambda_v = self.lambda_i = self.zero
        self.count_back, self.count = self.count, 0
        self.first_back, self.first = self.first, None

    def note(self, time, step, slope):
        self.count += 1
        if self.write != self.read_end:
            self.ring[self.write] = (time, step, slope)
            self.write = (self.write + 1) % self.max_spikes

    def consume(self):
        self.read, self.flag = (self.read - 1) % self.max_spikes, False


class Plain:
    """One run of several trials.

    ``populations`` maps names to (size, constants) with constants None for inputs, ``projections`` is a list of
    (key, pre, post, synapses {(pre, post): (weight, steps)}), ``readout`` a dict of what the loss is. Milliseconds.
    """

    def __init__(self, populations, projections, readout, *, dt, n_steps, float_=np.float32, max_spikes=500):
        self.f, self.dt, self.n_steps = float_, dt, n_steps
        self.projections, self.readout = projections, readout
        self.sizes = {name: size for name, (size, _) in populations.items()}
        self.constants = {name: self._rounded(c) for name, (_, c) in populations.items() if c is not None}
        self.neurons = {
            name: [Neuron(float_, max_spikes) for _ in range(n)] for name, n in self.sizes.items()
        }
        self.longest = max((d for p in projections for _, d in p[3].values()), default=0)
        self.current = {p[0]: [float_(0)] * self.sizes[p[2]] for p in projections}
        self.waiting = {p[0]: {} for p in projections}
        self.delayed = {p[0]: any(d > 0 for _, d in p[3].values()) for p in projections}
        self.out = []

    def _rounded(self, c):
        dt, f = self.dt, self.f
        tau_mem, tau_syn = c["tau_mem"], c["tau_syn"]
        alpha, beta = math.exp(-dt / tau_mem), math.exp(-dt / tau_syn)
        return {
            "alpha": f(alpha),
            "beta": f(beta),
            "s": f(tau_syn / dt * (1 - beta)),
            "s1": f(dt / (tau_syn * (1 - beta))),
            "a": f(tau_mem / (tau_mem - tau_syn)),
            "tau_syn": f(tau_syn),
            "tau_mem": f(tau_mem),
            "bias": f((1 - alpha) * c.get("v_leak", 0.0)),
            **{
                k: [f(x) for x in np.atleast_1d(c[k])] if k in c else [f(d)]
                for k, d in (("theta", math.inf), ("v_reset", 0), ("v_initial", 0), ("t_ref", 0))
            },
            "subtract": c.get("subtract", False),
            "spiking": "theta" in c,
        }

    def trials(self, inputs, labels, targets=None):
        """Run trials; ``inputs`` is, for each of them, {name: [times of a neuron, ...]} in ms."""
        self.labels, self.targets = labels, targets
        nothing = {
            name: [[] for _ in range(n)] for name, n in self.sizes.items() if name not in self.constants
        }
        for k in range(len(inputs) + 1):
            self._trial(k, inputs[k] if k < len(inputs) else nothing)
        return self.out[:-1]

    def _trial(self, k, inputs):
        f, n_steps = self.f, self.n_steps
        pending = {name: [sorted(t) for t in trains] for name, trains in inputs.items()}
        if k:
            self.back = self._loss(k - 1)
            self.gradient = {p[0]: {s: [f(0), f(0)] for s in p[3]} for p in self.projections}
        for name, neurons in self.neurons.items():
            for j, neuron in enumerate(neurons):
                neuron.begin(self._of(name, "v_initial", j) if name in self.constants else None)
        record = {
            "spikes": [],
            "v": {n: [] for n in self.constants},
            "lambda": {n: [] for n in self.constants},
        }
        record["sent"], record["first_step"] = [], {}
        self.out.append(record)
        self.past = []
        for step in range(n_steps):
            time = f(step) * f(self.dt)
            if step == n_steps - 1:
                for key, current in self.current.items():
                    self.current[key] = [f(0)] * len(current)
                    self.waiting[key] = {}
            self._synapses(k, step)
            for name, neurons in self.neurons.items():
                totals = self._totals(name)
                for j, neuron in enumerate(neurons):
                    self._backward(k, name, j, neuron, step, time)
                    neuron.spiked = False
                    if name not in self.constants:
                        queue = pending[name][j]
                        if queue and time >= f(queue[0]):
                            queue.pop(0)
                            neuron.spiked = True
                            record["sent"].append((name, j, step))
                            neuron.note(time, step, None)
                    else:
                        self._forward(record, name, j, neuron, step, time, totals[j])
            self.past.append({n: [(x.lambda_v, x.lambda_i) for x in self.neurons[n]] for n in self.constants})
            for name in self.constants:
                record["v"][name].append([x.v for x in self.neurons[name]])
        if k:
            self.out[k - 1]["gradient"] = self.gradient
            for name in self.constants:
                self.out[k - 1]["lambda"][name] = [row[name] for row in self.past]

    def _of(self, name, what, j):
        values = self.constants[name][what]
        return values[j % len(values)]

    def _synapses(self, k, step):
        for key, pre, _, synapses in self.projections:
            if not self.delayed[key]:
                for (i, j), (w, _) in sorted(synapses.items()):
                    if self.neurons[pre][i].spiked:
                        self.current[key][j] += w
            else:
                now = self.waiting[key]
                for (i, j), (w, d) in sorted(synapses.items()):
                    if self.neurons[pre][i].spiked:
                        slot = now.setdefault(d, {})
                        slot[j] = slot.get(j, self.f(0)) + w
                for j, w in now.pop(0, {}).items():
                    self.current[key][j] += w
                self.waiting[key] = {d - 1: slot for d, slot in now.items()}
        for name in self.constants:
            for neuron in self.neurons[name]:
                neuron.rev = self.f(0)
        for key, pre, post, synapses in self.projections:
            for (i, j), (w, d) in sorted(synapses.items()):
                if self.neurons[pre][i].flag and k:
                    if step - 1 - d < 0:
                        continue
                    lambda_v, lambda_i = self.past[step - 1 - d][post][j]
                    both = self.gradient[key][i, j]
                    both[0] -= lambda_i * self.constants[post]["tau_syn"]
                    both[1] -= w * (lambda_i - lambda_v)
                    if pre in self.constants:
                        self.neurons[pre][i].rev += w * (lambda_v - lambda_i)

    def _totals(self, name):
        totals = [self.f(0)] * self.sizes[name]
        if name in self.constants:
            c = self.constants[name]
            for key, _, post, _ in self.projections:
                if post == name:
                    totals = [t + i * c["s"] for t, i in zip(totals, self.current[key], strict=True)]
                    self.current[key] = [i * c["beta"] for i in self.current[key]]
        return totals

    def _forward(self, record, name, j, neuron, step, time, total):
        c = self.constants[name]
        if neuron.held > 0:
            neuron.held -= self.f(self.dt)
        else:
            neuron.v = c["alpha"] * neuron.v + (self.f(1) - c["alpha"]) * total + c["bias"]
        theta, v_reset = self._of(name, "theta", j), self._of(name, "v_reset", j)
        if neuron.v >= theta and neuron.held <= 0:
            slope = total * c["s1"] - neuron.v
            neuron.spiked = True
            record["spikes"].append((name, j, step, slope))
            neuron.note(time, step, slope)
            if neuron.first is None:
                neuron.first = (time, step)
            neuron.v = neuron.v - (theta - v_reset) if c["subtract"] else v_reset
            neuron.held = self._of(name, "t_ref", j)

    def _backward(self, k, name, j, neuron, step, time):
        """Backward step ``step`` of the trial before, in the step of this one."""
        f, dt = self.f, self.f(self.dt)
        back = f(self.n_steps * self.dt) - time - dt
        if k and name in self.constants:
            c = self.constants[name]
            ours = name == self.readout["population"]
            d = self._drive(j, step, time, back) if ours and not c["spiking"] else f(0)
            spread = c["alpha"] - c["beta"]
            neuron.lambda_i = d + (neuron.lambda_i - d) * c["beta"] + c["a"] * (neuron.lambda_v - d) * spread
            neuron.lambda_v = d + (neuron.lambda_v - d) * c["alpha"]
            if ours and step == 0 and j in self.back.get("phantom", {}):
                neuron.lambda_v += self.back["phantom"][j]
            if neuron.flag:
                _, _, slope = neuron.ring[neuron.read]
                recip = f(1) / slope
                neuron.lambda_v += recip * (self._of(name, "theta", j) * neuron.lambda_v + neuron.rev)
                if ours and neuron.first_back and abs(back - neuron.first_back[0]) < f(1e-3) * dt:
                    numerator, divisor = self.back["jump"][j]
                    neuron.lambda_v += recip * numerator / divisor
                if not ours and "nu" in self.readout:
                    excess = neuron.count_back - int(self.readout["nu"])
                    strength = self.readout["upper"] if excess > 0 else self.readout["lower"]
                    neuron.lambda_v -= f(strength) * f(excess)
        if neuron.flag:
            neuron.consume()
        if neuron.read != neuron.read_end:
            noted = neuron.ring[neuron.read][0]
            if abs(back - noted - dt) < f(1e-3) * dt:
                neuron.flag = True

    # -- losses

    def _loss(self, k):
        f, name = self.f, self.readout["population"]
        kind, label = self.readout["kind"], self.labels[k]
        neurons, n = self.neurons[name], self.sizes[name]
        trial = self.n_steps * self.dt
        v = self.out[k]["v"][name]
        if kind in ("FirstSpikeTime", "RelativeMSE"):
            s = [-x.first[0] if x.first else f(np.finfo(np.float32).min) for x in neurons]
            if kind == "RelativeMSE":
                s = [x if x >= -f(trial) else f(0) for x in s]
                total = f(0)
                for x in s:
                    total += x
                gap = f(self.readout["gap"])
                jump = {j: ((-s[j] + s[label]) - gap, f(1)) for j in range(n)}
                jump[label] = (total - f(n) * s[label] + f(n - 1) * gap, f(1))
                return {"jump": jump}
            p = self._softmax(s)
            temperature, alpha = self.readout["temperature"], self.readout["alpha"]
            late = f(1.01 * trial) + s[label]
            with np.errstate(over="ignore"):
                early = f(alpha) / (late * late)
            jump = {j: (-p[j], f(temperature)) for j in range(n)}
            jump[label] = ((f(1) - p[label]) / f(temperature) + early, f(1))
            back = {"jump": jump, "softmax": p}
            if neurons[label].first is None:
                back["phantom"] = {label: f(alpha / (0.0001 * trial * trial))}
            return back
        scale, share = f(1 / self.n_steps), f(1 / trial)
        if kind == "Var":
            wanted = [[f(x) for x in row] for row in self.targets[k]]
            return {
                "error": [[y - x for y, x in zip(*rows, strict=True)] for rows in zip(wanted, v, strict=True)]
            }
        m, step_of = [f(0)] * n, [0] * n
        for step, row in enumerate(v):
            weight = np.exp(-(f(step) * f(self.dt) * share)) * scale
            for j, x in enumerate(row):
                if kind == "MaxVar":
                    if x > m[j]:
                        m[j], step_of[j] = x, step
                else:
                    m[j] += {"AvgVar": scale, "AvgVarExpWeight": weight, "SumVar": f(1)}[kind] * x
        p = self._softmax(m)
        g = [(f(1) if j == label else f(0)) - p[j] for j in range(n)]
        return {"g": g, "softmax": p, "step": step_of}

    def _softmax(self, m):
        share = [np.exp(x - max(m)) for x in m]
        total = self.f(0)
        for x in share:
            total += x
        return [x / total for x in share]

    def _drive(self, j, step, time, back):
        f, kind = self.f, self.readout["kind"]
        trial = self.n_steps * self.dt
        share = self.constants[self.readout["population"]]["tau_mem"] * f(1) * f(trial)
        if kind == "Var":
            return self.back["error"][self.n_steps - 1 - step][j] / share
        g = self.back["g"][j]
        if kind == "MaxVar":
            noted = f(self.back["step"][j]) * f(self.dt)
            return g / share if abs(back - noted) < f(1e-3) * f(self.dt) else f(0)
        if kind == "AvgVarExpWeight":
            return g * np.exp(-(f(1) - time * f(1 / trial))) / share
        return g / share


def trials_of(problem, readout, labels, targets, dt, n_steps, max_spikes, consecutive):
    """Run a problem, its samples one after the other or each by itself; ``dt`` in ms."""
    network, populations, projections = problem.network, {}, []
    for name, p in network.populations.items():
        constants = None
        if p.neuron is not None:
            constants = {
                "tau_mem": p.parameter("tau_mem")[0] * 1e3,
                "tau_syn": p.parameter("tau_syn")[0] * 1e3,
                "v_initial": p.parameter("v_initial"),
            }
            if p.neuron.spiking:
                constants |= {"theta": p.parameter("v_threshold"), "v_reset": p.parameter("v_reset")}
                constants |= {"t_ref": p.parameter("t_ref") * 1e3, "subtract": p.neuron.reset == "subtract"}
            else:
                constants["v_leak"] = float(p.parameter("v_leak")[0])
        populations[name] = (p.size, constants)
    for key, p in network.projections.items():
        post = np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
        steps = np.rint(p.delay / (dt * 1e-3)).astype(int)
        synapses = {
            (int(i), int(j)): (np.float32(w), int(d))
            for i, j, w, d in zip(p.sources, post, p.weights, steps, strict=True)
        }
        projections.append((key, p.pre, p.post, synapses))
    lists = {name: trains.to_lists() for name, trains in problem.inputs.items()}
    samples = range(problem.n_samples)
    found = []
    for chunk in [list(samples)] if consecutive else [[s] for s in samples]:
        plain = Plain(populations, projections, readout, dt=dt, n_steps=n_steps, max_spikes=max_spikes)
        inputs = [
            {name: [[t * 1e3 for t in train] for train in rows[s]] for name, rows in lists.items()}
            for s in chunk
        ]
        found += plain.trials(inputs, [labels[s] for s in chunk], [targets[s] for s in chunk])
    return found


def assert_same(outcome, samples):
    """Compare a run with what :func:`trials_of` gives, bit for bit."""
    tables, events = outcome.tables, outcome.sent.events
    network = tables.network
    names = {first: name for name, first in tables.populations.items()}
    sources = {tables.sources[name]: name for name, p in network.populations.items() if p.neuron is None}
    for s, plain in enumerate(samples):
        own = outcome.samples == s
        fired = []
        for j, step, slope in zip(
            outcome.fired.neurons[own], outcome.fired.steps[own], outcome.fired.slopes[own], strict=True
        ):
            first = max(x for x in names if x <= j)
            fired.append((names[first], int(j - first), int(step), slope))
        assert sorted(fired) == sorted(plain["spikes"])
        sent = []
        for k in range(events.bounds[s], events.bounds[s + 1]):
            first = max(x for x in sources if x <= events.places[k])
            sent.append((sources[first], int(events.places[k] - first), int(events.steps[k])))
        assert sorted(sent) == sorted(plain["sent"])
        for name in tables.populations:
            np.testing.assert_array_equal(outcome.voltage(name)[s], plain["v"][name])
            both = np.stack(
                [outcome.of(name, outcome.found.lambda_v)[s], outcome.of(name, outcome.found.lambda_i)[s]], -1
            )
            np.testing.assert_array_equal(both, np.array(plain["lambda"][name]))
        # without any delay there are no gradients of delays
        by_key = [tables.by_projection(x) for x in (outcome.found.weight, outcome.found.delay) if x.size]
        for key, p in network.projections.items():
            post = np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
            for which in (0, 1):
                if which == 1 and not p.delay.any():
                    continue
                values = by_key[which][key][s]
                values = values.data if sp.issparse(values) else values.ravel()
                wanted = [
                    plain["gradient"][key][int(i), int(j)][which]
                    for i, j in zip(p.sources, post, strict=True)
                ]
                np.testing.assert_array_equal(values, wanted)
