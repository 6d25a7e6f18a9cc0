"""genn_eventprop as a variant, beside a plain reading of its models, on random networks; and what it is refused."""

import itertools
import math
from dataclasses import replace

import numpy as np
import plain_paper
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from validation.genn import GeNN

H = 0.5
TAU = {"tau0": 1.5, "tau1": 20.0}
LOSSES = {
    "sum": lambda labels: es.losses.MeanVoltageCrossEntropy("out", labels),
    "exponential": lambda labels: es.losses.MeanVoltageCrossEntropy("out", labels, weighting="exponential"),
    "linear": lambda labels: es.losses.MeanVoltageCrossEntropy("out", labels, weighting="linear"),
    "sigmoid": lambda labels: es.losses.MeanVoltageCrossEntropy("out", labels, weighting="sigmoid"),
    "input": lambda labels: es.losses.MeanVoltageCrossEntropy("out", labels),
    "avg_xentropy": lambda labels: es.losses.InstantCrossEntropy("out", labels),
    "max": lambda labels: es.losses.MaxVoltageCrossEntropy("out", labels),
    "first_spike": lambda labels: es.losses.FirstSpikeCrossEntropy("out", labels, tau0=1.5e-3, alpha=0.3e-3),
    "first_spike_exp": lambda labels: es.losses.TTFSCrossEntropy(
        "out", labels, tau0=1.5e-3, tau1=20e-3, alpha=0.3
    ),
}
FACTOR = {"max": lambda tau, trial: trial, "first_spike": lambda *_: 1.0, "first_spike_exp": lambda *_: 1.0}


def drawn(rng, spiking, same):
    """Return a random network of one or two recurrent layers, with time constants that are equal or not."""
    network, layers = es.Network(), int(rng.integers(1, 3))
    network.add_input("in", 4)
    names = ["in", *"ab"[:layers], "out"]
    for name in names[1:]:
        tau_mem = float(rng.uniform(5e-3, 30e-3))
        tau_syn = tau_mem if same else float(rng.uniform(2e-3, 12e-3))
        threshold = float(rng.uniform(0.8, 1.2))
        n = 3 if name == "out" else 4
        lif = es.LIF(tau_mem, tau_syn, v_threshold=threshold)
        neuron = lif if name != "out" or spiking else es.LI(tau_mem, tau_syn)
        network.add_population(name, n, neuron)
    for pre, post in itertools.pairwise(names):
        shape = (network.population(post).size, network.population(pre).size)
        network.connect(pre, post, rng.normal(3.0, 2.0, shape))
    network.connect("a", "a", rng.normal(0, 0.7, (4, 4)))
    return network


def plain_trial(problem, kind, sample, n_steps, reg):
    populations, projections = {}, []
    for name, p in problem.network.populations.items():
        populations[name] = None
        if p.neuron is not None:
            populations[name] = {
                "tau_mem": 1e3 * p.parameter("tau_mem")[0],
                "tau_syn": 1e3 * p.parameter("tau_syn")[0],
                "v_initial": [0.0] * p.size,
            }
            if p.neuron.spiking:
                populations[name]["theta"] = p.parameter("v_threshold")[0]
    for key, p in problem.network.projections.items():
        projections.append((key, p.pre, p.post, p.weight.tolist()))
    sizes = {name: p.size for name, p in problem.network.populations.items()}
    sent = {}
    for name, trains in problem.inputs.items():
        sent[name] = []
        for times in trains.to_lists()[sample]:
            steps = []
            for time in times:
                first = math.ceil(time * 1e3 / H - 1e-9)
                steps.append(max(first, steps[-1] + 1) if steps else first)
            sent[name].append([n for n in steps if n < n_steps])
    loss = {"kind": kind, "population": "out", "tau": 20.0, "alpha": 0.3, **TAU}
    label = int(problem.loss.labels[sample])
    return plain_paper.trial(populations, projections, sizes, sent, loss, label, H, n_steps, reg)


@pytest.mark.parametrize("kind", LOSSES)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), same=st.booleans(), end=st.booleans())
def test_the_plain_reading_agrees(kind, seed, same, end):
    """In float64, to 1e-10 of the largest entry: hundreds of steps, whose roundings a jump divides by I - V.

    With ``end``, inputs reach the last steps, so that some neurons fire there and lose their gradients.
    """
    rng, n_steps = np.random.default_rng(seed), 60
    network = drawn(rng, kind.startswith("first"), same)
    times = rng.uniform(0, n_steps * H * (1.0 if end else 0.6), (2, 4, 6))
    trains = es.SpikeTrains.from_dense(np.sort(times, axis=2) * 1e-3)
    problem = es.Problem(network, {"in": trains}, n_steps * H * 1e-3, LOSSES[kind]([0, 2]))
    reg = (2e-3, 1e-3, 2.5)
    target = GeNN(
        H * 1e-3,
        variant="genn_eventprop",
        without="single_precision",
        accumulator=20e-3 if kind == "input" else 0.0,
        reg_lambda_upper=reg[0],
        reg_lambda_lower=reg[1],
        reg_nu_upper=reg[2],
        traces=False,
    )
    outcome, record = target.simulate(problem), target.run(problem)
    tau_mem = 1e3 * network.population("out").parameter("tau_mem")[0]
    factor = FACTOR.get(kind, lambda tau, _: tau)(tau_mem, n_steps * H)
    firsts = outcome.tables.populations
    for s in range(2):
        spikes, gradient = plain_trial(problem, kind, s, n_steps, reg)
        own = outcome.samples == s
        found = list(zip(outcome.fired.neurons[own].tolist(), outcome.fired.steps[own].tolist(), strict=True))
        assert sorted(found) == sorted((firsts[name] + j, n) for name, j, n, _ in spikes)
        near = min((abs(slope) for *_, slope in spikes), default=1.0)
        for key, wanted in gradient.items():
            off = abs(outcome.gradient(key)[s].T - wanted).max()
            assert off <= 1e-10 * (abs(wanted).max() or 1.0) / min(near, 1.0), key
            np.testing.assert_allclose(record.weight[key][s], factor * outcome.gradient(key)[s].T, rtol=1e-12)


def test_input_activity_is_a_weight_of_time_for_one_sample():
    """w(t), as read in every step, given as a function of t/T to the readout that weighs by time, gives the same."""
    rng, n_steps = np.random.default_rng(5), 60
    network = drawn(rng, False, False)
    trains = es.SpikeTrains.from_dense(np.sort(rng.uniform(0, 25, (1, 4, 6)), axis=2) * 1e-3)
    problem = es.Problem(network, {"in": trains}, n_steps * H * 1e-3, LOSSES["sum"]([1]))
    options = {"variant": "genn_eventprop", "without": "single_precision", "traces": False}
    weighed = GeNN(H * 1e-3, accumulator=20e-3, **options)
    sent = weighed.simulate(problem).sent
    steps = np.sort(sent.events.steps)

    def activity(x):
        # forwards the weight of t/T, backwards that of one step later, which has to be the same
        at = np.rint(np.asarray(x) * n_steps).astype(int)
        told, v = [0.0], 0.0
        for n in range(n_steps):
            v += (0.01 * np.count_nonzero(steps == n - 1) - v) * H / 20.0
            told.append(v)
        later = at[0] == 1  # the backward pass asks for steps 1 .. N
        return np.array([told[n - later] for n in at])

    given = replace(problem, loss=replace(problem.loss, weighting=activity))
    one, other = weighed.run(problem), GeNN(H * 1e-3, **options).run(given)
    assert max(abs(w).max() for w in one.weight.values()) > 0
    for key, values in one.weight.items():
        np.testing.assert_allclose(values, other.weight[key], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(one.loss_values, other.loss_values, rtol=1e-12)


@pytest.mark.parametrize(("late", "leaks"), [(16.8, False), (17.8, False), (18.8, True)])
def test_only_spikes_of_the_last_step_leak_into_the_next_trial(late, leaks):
    """It clears currents before the last step, as mlGeNN does, and again after it: of step 18 mlGeNN leaks, too."""
    network = es.Network()
    network.add_input("in", 1)
    network.add_population("hid", 1, es.LIF(20e-3, 5e-3))
    network.connect("in", "hid", [[30.0]])
    trains = es.SpikeTrains.from_lists([[[late * 1e-3]], [[]]])
    problem = es.Problem(network, {"in": trains}, 20e-3)
    counts = {
        variant: GeNN(1e-3, variant=variant, trials="consecutive").run(problem).spikes["hid"].counts()[1, 0]
        for variant in ("mlgenn", "genn_eventprop")
    }
    assert (counts["genn_eventprop"] > 0) == leaks
    assert (counts["mlgenn"] > 0) == (late > 17)


def test_an_accumulator_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match=r"accumulator must be finite and >= 0 s.*; got 0.02 with 'mlgenn'"):
        GeNN(1e-3, accumulator=20e-3)
    rng = np.random.default_rng(1)
    trains = es.SpikeTrains.from_dense(np.full((1, 4, 1), 1e-3))
    problem = es.Problem(drawn(rng, False, False), {"in": trains}, 10e-3, LOSSES["linear"]([1]))
    target = GeNN(1e-3, variant="genn_eventprop", accumulator=20e-3)
    with pytest.raises(ValueError, match="got MeanVoltageCrossEntropy with weighting 'linear'"):
        target.run(problem)
    with pytest.raises(ValueError, match="no exact loss weighs by input activity"):
        target.with_causes([]).run(problem)
