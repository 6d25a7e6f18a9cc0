"""Does everything that the grid runs converge to the exact solution, at the order that theory gives?

A spike is seen at the first point after it, late by u h with u in [0, 1), whatever the propagators; inputs, delays and
refractory periods that are not on the grid are moved by up to h; sums over steps are off by O(h). So all errors have
order 1 in h. As h is halved, u takes other values, which scatters an error around its line. Every pattern of inputs is
shown SHIFTS times, moved by random fractions of the coarsest step, so that u is drawn anew: ln of the norm of m
independent u has standard deviation 0.45/sqrt(m), and the slope fitted to K steps, each half of the last one, has that
over ln 2 sqrt(K (K^2 - 1)/12): 0.08 for m = SHIFTS = 12 (one spike may dominate) and K = 4. ALLOWED is six times that,
because h is not yet 0; K is 5 where delta synapses are, across whose arrivals V jumps.

Only samples count in which, at every h, each neuron has the exact number of spikes, and before each of them, up to it,
and until it is free again, the exact number of arrivals: gradients jump where the order of two events changes.
"""

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve import losses
from eventsolve.io.records.record import NEURONAL
from validation.grid import TimeStepped

STEPS = [1e-4 / 2**k for k in range(5)]
PATTERNS, SHIFTS = 6, 12
N_SAMPLES = PATTERNS * SHIFTS
T_END = 20e-3
ALLOWED = 0.5


def lif(rng, n, **changes):
    """Parameters per neuron."""
    given = {
        "tau_mem": rng.uniform(8e-3, 25e-3, n),
        "tau_syn": rng.uniform(4e-3, 9e-3, n),
        "v_threshold": rng.uniform(0.8, 1.2, n),
        "v_reset": rng.uniform(-0.3, 0.1, n),
        "v_leak": rng.uniform(-0.1, 0.2, n),
        "v_initial": rng.uniform(-0.1, 0.2, n),
        "i_initial": rng.uniform(-0.1, 0.2, n),
    }
    return es.LIF(**(given | changes))


def li(rng, n):
    return es.LI(tau_mem=rng.uniform(8e-3, 25e-3, n), tau_syn=rng.uniform(4e-3, 9e-3, n), v_leak=0.1)


def inputs(rng):
    patterns = rng.uniform(0.2e-3, 6e-3, (PATTERNS, 1, 4))
    shifts = rng.uniform(0, STEPS[0], (PATTERNS, SHIFTS, 1))
    return {"in": es.SpikeTrains.from_dense((patterns + shifts).reshape(N_SAMPLES, 4))}


def feedforward(rng, output=None, **changes):
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 5, lif(rng, 5, **changes))
    net.add_population("out", 3, output or lif(rng, 3))
    net.connect("in", "hidden", rng.normal(1.9, 0.5, (5, 4)), delay=rng.uniform(0, 3e-3, (5, 4)))
    net.connect("hidden", "out", rng.normal(1.4, 0.3, (3, 5)), delay=1.2345e-3)
    return net


def cyclic(rng):
    """With self-connections, without delay and with."""
    net = feedforward(rng)
    net.connect("hidden", "hidden", rng.normal(0.0, 0.4, (5, 5)))
    net.connect("out", "hidden", rng.normal(0.0, 0.3, (5, 3)), delay=0.7e-3)
    return net


def parallel(rng):
    net = feedforward(rng)
    net.connect("in", "hidden", rng.normal(0.3, 0.3, (5, 4)), delay=4e-3, name="late")
    net.connect("in", "out", rng.normal(0.3, 0.1, (3, 4)))
    return net


def sparse(rng):
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 5, lif(rng, 5))
    net.add_population("out", 3, lif(rng, 3))
    for pre, post, shape, mean in (("in", "hidden", (5, 4), 2.8), ("hidden", "out", (3, 5), 2.0)):
        weight = sp.random_array(shape, density=0.7, rng=rng, data_sampler=partial(rng.normal, mean, 0.8))
        weight = weight.tocsr()
        delay = sp.csr_array((rng.uniform(0, 2e-3, weight.nnz), weight.indices, weight.indptr), shape=shape)
        net.connect(pre, post, weight, delay=delay)
    return net


def delta(rng, **changes):
    """Arrivals lift V, and some across its threshold; no two at one time, whose order would matter."""
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 2, lif(rng, 2, **changes))
    net.add_population("out", 2, lif(rng, 2))
    for pre, post, shape, mean in (("in", "hidden", (2, 4), 1.2), ("hidden", "out", (2, 2), 2.0)):
        net.connect(pre, post, rng.normal(mean, 0.3, shape), delay=rng.uniform(0, 3e-3, shape))
        lift, delay = rng.uniform(0.3, 0.6, shape), rng.uniform(0.5e-3, 3e-3, shape)
        net.connect(pre, post, lift, delay=delay, synapse="delta", name="lift")
    return net


LABELS = np.arange(N_SAMPLES) % 3
FIRST = losses.TTFSCrossEntropy("out", LABELS, tau0=3e-3, tau1=20e-3, alpha=0.1, silent="skip")


def all_spikes(spikes):
    """Every spike of every neuron counts."""
    out, hidden = spikes["out"], spikes["hidden"]
    values = np.zeros(out.n_samples)
    for trains in (out, hidden):
        np.add.at(values, trains.samples, np.sin(300 * trains.times + trains.neurons))
    return values, {
        name: 300 * np.cos(300 * spikes[name].times + spikes[name].neurons) for name in ("out", "hidden")
    }


def sampled(voltages):
    return 0.5 * (voltages**2).sum(axis=(1, 2)), voltages


def target(times, sample):
    return np.sin(200 * times + np.arange(3)[:, None] + sample)


ANY = losses.SpikeTimeLoss(all_spikes)
MEAN = losses.MeanVoltageCrossEntropy("out", LABELS, weighting="exponential")

CASES = {
    "parameters per neuron": (feedforward, ANY, {}),
    "first spikes": (feedforward, FIRST, {}),
    "cycles": (cyclic, ANY, {}),
    "several projections": (parallel, ANY, {}),
    "sparse": (sparse, ANY, {}),
    "refractory": (lambda rng: feedforward(rng, t_ref=rng.uniform(0.5e-3, 3e-3, 5)), ANY, {}),
    "subtraction": (lambda rng: feedforward(rng, reset="subtract"), ANY, {}),
    "delta": (delta, ANY, {}),
    "delta, subtraction": (lambda rng: delta(rng, reset="subtract"), ANY, {}),
    "delta, refractory": (lambda rng: delta(rng, t_ref=1.7e-3), ANY, {}),
    "delta, current first": (delta, ANY, {"order": "current_first", "transport": 1}),
    "mean voltage": (lambda rng: feedforward(rng, li(rng, 3)), MEAN, {}),
    "largest voltage": (
        lambda rng: feedforward(rng, li(rng, 3)),
        losses.MaxVoltageCrossEntropy("out", LABELS),
        {},
    ),
    "trajectory": (lambda rng: feedforward(rng, li(rng, 3)), losses.TrajectoryMSE("out", target), {}),
    "samples": (
        lambda rng: feedforward(rng, li(rng, 3)),
        losses.SampledVoltage("out", [7.77e-3, 14.1e-3], sampled),
        {},
    ),
    "running loss on spikes": (feedforward, MEAN, {}),
    "running loss on refractory": (
        lambda rng: feedforward(rng, lif(rng, 3, t_ref=2e-3)),
        losses.InstantCrossEntropy("out", LABELS),
        {},
    ),
    "samples of spikes": (feedforward, losses.SampledVoltage("out", [7.77e-3, 14.1e-3], sampled), {}),
    "up": (feedforward, ANY, {"input_rounding": "up"}),
    "down": (feedforward, ANY, {"input_rounding": "down"}),
    "transport": (feedforward, ANY, {"transport": 1}),
    "current first": (feedforward, ANY, {"order": "current_first", "transport": 1}),
    "current first, in the same step": (feedforward, ANY, {"order": "current_first"}),
    "current first, feedback, from 0": (
        cyclic,
        ANY,
        {"order": "current_first", "feedback": 1, "points": "0..n-1"},
    ),
    "current first, mean": (
        lambda rng: feedforward(rng, li(rng, 3)),
        MEAN,
        {"order": "current_first", "transport": 1},
    ),
    "Euler": (cyclic, ANY, {"propagators": "euler"}),
    "Euler, current first": (
        feedforward,
        ANY,
        {"propagators": "euler", "order": "current_first", "transport": 1},
    ),
    "exponential": (feedforward, ANY, {"propagators": "exponential"}),
    "scaled": (feedforward, ANY, {"propagators": "scaled"}),
    "backward Euler": (cyclic, ANY, {"propagators": "implicit"}),
    "Runge-Kutta 2": (feedforward, ANY, {"propagators": "rk2"}),
    "Runge-Kutta 4": (feedforward, ANY, {"propagators": "rk4"}),
    "halves up": (feedforward, ANY, {"input_rounding": "half_up"}),
    "truncated": (feedforward, ANY, {"input_rounding": "truncated"}),
    "next": (feedforward, ANY, {"input_rounding": "next"}),
    "slope by what moved V": (cyclic, ANY, {"slope_current": "moved_by"}),
    "threshold": (cyclic, ANY, {"slope": "threshold"}),
    "fixed point": (feedforward, ANY, {"number": "s12.40"}),
}


SEEDS = {"several projections": 7, "delta, current first": 2}
"""Other than 1, where that has too few informative samples, or is not yet in its order at such steps."""


def order_of_events(net, spikes, tie, step=None, transport=0):
    """Return how many arrivals of each projection come before each spike, up to it, and until its neuron is free again.

    Spikes are by sample, neuron and time, as in :func:`_flat`; times less than ``tie`` apart are one.
    """

    def rounded(times):
        return times if step is None else np.rint(times / step) * step

    found = {}
    for p in net.projections.values():
        pre, post = spikes[p.pre], spikes[p.post]
        n = net.population(p.post).size
        rows = np.repeat(np.arange(n), np.diff(p.row_offsets))
        spike, synapse = np.nonzero(pre.neurons[:, None] == p.sources[None, :])
        times = pre.times[spike] + rounded(p.delay[synapse]) + transport * (step or 0.0)
        cells = pre.samples[spike] * n + rows[synapse]
        arrivals = np.sort(cells + times)  # all times are below 1
        order = np.lexsort((post.times, post.neurons, post.samples))
        t_ref = rounded(net.population(p.post).parameter("t_ref"))[post.neurons[order]]
        at = (post.samples * n + post.neurons)[order] + post.times[order]
        found[p.key] = (
            post.samples[order],
            np.searchsorted(arrivals, np.stack([at - tie, at + tie, at + t_ref + tie])),
        )
    return found


def exact(net, given, loss):
    solution = es.solve(net, given, t_end=T_END)
    values, grads = es.value_and_grad(solution, loss, reduction="none")
    neurons = {
        f"{parameter} of {name}": values
        for parameter in (
            "tau_mem",
            "tau_syn",
            "v_threshold",
            "v_reset",
            "v_leak",
            "v_initial",
            "i_initial",
            "t_ref",
        )
        for name, values in getattr(grads, parameter).items()
    }
    return solution.spikes, _flat(
        values, solution.spikes, grads.spike_times, grads.weight, grads.delay, neurons
    )


def stepped(target, net, given, loss):
    r = target.run(es.Problem(net, given, T_END, loss))
    neurons = {
        f"{p} of {name}": values
        for p in NEURONAL
        if p in r.gradients
        for name, values in r.gradients[p].items()
    }
    return r.spikes, _flat(r.loss_values, r.spikes, r.spike_times, r.weight, r.delay, neurons)


def _flat(loss, spikes, spike_times, weight, delay, neurons):
    """Return every quantity by sample: a list of vectors, spikes by neuron and then time."""
    n = len(loss)
    found = {"loss": [np.atleast_1d(x) for x in loss]}
    for name, trains in spikes.items():
        order = np.lexsort((trains.times, trains.neurons, trains.samples))
        for what, values in (("t", trains.times), ("dL/dt", spike_times[name])):
            found[f"{what} of {name}"] = [values[order][trains.samples[order] == s] for s in range(n)]
    for what, of in (("dL/dw", weight), ("dL/dd", delay)):
        for key, values in of.items():
            found[f"{what} of {key}"] = [m.data if sp.issparse(m) else np.ravel(m) for m in values]
    return found | {name: list(values) for name, values in neurons.items()}


@pytest.mark.parametrize("case", CASES)
def test_everything_converges_with_order_one(case):
    build, loss, settings = CASES[case]
    rng = np.random.default_rng(SEEDS.get(case, 1))
    net, given = build(rng), inputs(rng)
    spikes, truth = exact(net, given, loss)
    transport = settings.get("transport", 0)
    right = order_of_events(net, spikes, 1e-12)
    same = np.ones(N_SAMPLES, dtype=bool)
    runs = []
    steps = STEPS if "delta" in case else STEPS[:-1]
    for step in steps:
        found, run = stepped(TimeStepped(step, traces=False, **settings), net, given, loss)
        runs.append(run)
        for name in net.populations:
            same &= (found[name].counts() == spikes[name].counts()).all(axis=1)
        order = order_of_events(net, found, step / 2, step, transport)
        for key, (samples, counts) in order.items():
            for s in np.flatnonzero(same):
                same[s] = np.array_equal(counts[:, samples == s], right[key][1][:, right[key][0] == s])
    informative = np.flatnonzero(same)
    assert informative.size >= SHIFTS

    def distance(a, b):
        return np.linalg.norm(np.concatenate([a[s] - b[s] for s in informative]))

    slopes = {}
    for quantity, values in truth.items():
        errors = [distance(run[quantity], values) for run in runs]
        if any(np.any(values[s]) for s in informative):
            slopes[quantity] = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        else:
            assert not any(errors), quantity
    assert len(slopes) >= 10
    assert {q: s for q, s in slopes.items() if abs(s - 1) > ALLOWED} == {}
