"""Spikes and gradients against data computed in quadruple precision (tests/data says how)."""

import json
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es

DATA = Path(__file__).parents[1] / "data"
ENTRIES = {entry["kind"]: entry for entry in json.loads((DATA / "reference_networks.json").read_text())}
ACYCLIC = ["chain", "deep", "hetero", "equal", "near_equal", "slow_syn", "rebound"]
PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak")


def levels_of(entry):
    """Depth of every neuron: the length of the longest path from an input."""
    level = dict.fromkeys(range(len(entry["neurons"])), 0)
    for _ in level:
        for pre, post, *_ in entry["synapses"]:
            if pre >= 0:
                level[post] = max(level[post], level[pre] + 1)
    return level


def build(entry):
    """One population per level, one sparse projection per pair of levels; synapses as (projection key, row, column)."""
    level = levels_of(entry)
    members = {depth: [k for k in level if level[k] == depth] for depth in sorted(set(level.values()))}
    net = es.Network()
    net.add_input("in", len(entry["inputs"]))
    for depth, neurons in members.items():
        values = {p: [float(entry["neurons"][k][p]) for k in neurons] for p in PARAMETERS}
        net.add_population(f"level{depth}", len(neurons), es.LIF(**values))
    places = []
    for pre, post, *_ in entry["synapses"]:
        source = ("in", -1 - pre) if pre < 0 else (f"level{level[pre]}", members[level[pre]].index(pre))
        target = (f"level{level[post]}", members[level[post]].index(post))
        places.append(((source[0], target[0]), target[1], source[1]))
    for key in dict.fromkeys(place[0] for place in places):
        chosen = [n for n, place in enumerate(places) if place[0] == key]
        shape = (net.population(key[1]).size, net.population(key[0]).size)
        rows, columns = zip(*[places[n][1:] for n in chosen], strict=True)
        weight, delay = (
            sp.coo_array(([float(entry["synapses"][n][field]) for n in chosen], (rows, columns)), shape=shape)
            for field in (2, 3)
        )
        net.connect(*key, weight, delay=delay)
    return net, members, places


def reference_loss(entry, members):
    """sum_k c_k t_k + t_k^2 / (2 tau) over the readout's spikes in time order, coefficients repeating."""
    readout = entry["loss"]["readout"]
    ((name, neurons),) = ((f"level{d}", m) for d, m in members.items() if set(readout) <= set(m))
    tau = float(entry["loss"]["tau"])

    def function(spikes):
        trains = spikes[name]
        read = np.isin(trains.neurons, [neurons.index(k) for k in readout])
        c = np.zeros(trains.n_spikes)
        c[read] = [float(x) for x, _ in zip(cycle(entry["loss"]["coefficients"]), range(read.sum()))]
        t = np.where(read, trains.times, 0.0)
        return [np.sum(c * t + t**2 / (2 * tau))], {name: c + t / tau}

    return es.losses.SpikeTimeLoss(function)


@pytest.mark.parametrize("kind", ACYCLIC)
def test_reference_network(kind):
    entry = ENTRIES[kind]
    truth = entry["truth"]
    net, members, places = build(entry)
    inputs = es.SpikeTrains.from_lists([[[float(t) for t in train] for train in entry["inputs"]]])
    solution = es.solve(net, {"in": inputs}, t_end=float(entry["t_end"]))

    got = sorted(
        (t, members[depth][k])
        for depth in members
        for t, k in zip(
            solution.spikes[f"level{depth}"].times, solution.spikes[f"level{depth}"].neurons, strict=True
        )
    )
    want = [(float(t), k) for t, k in truth["spikes"]]
    assert [k for _, k in got] == [k for _, k in want]
    np.testing.assert_allclose([t for t, _ in got], [t for t, _ in want], rtol=1e-9, atol=0)

    value, grads = es.value_and_grad(solution, reference_loss(entry, members), reduction="sum")
    assert value == pytest.approx(float(truth["loss"]), rel=1e-9)
    pairs = {
        field: (
            [float(getattr(grads, field)[key].toarray()[row, column]) for key, row, column in places],
            [float(x) for x in truth[field]],
        )
        for field in ("weight", "delay")
    }
    for field in PARAMETERS:
        by_neuron = {
            k: getattr(grads, field)[f"level{d}"][n] for d, m in members.items() for n, k in enumerate(m)
        }
        pairs[field] = (
            [by_neuron[k] for k in sorted(by_neuron)],
            [float(n[field]) for n in truth["neurons"]],
        )
    by_input = grads.spike_times["in"]
    pairs["inputs"] = (
        [by_input[k] for n in range(inputs.n_neurons) for k in np.flatnonzero(inputs.neurons == n)],
        [float(x) for train in truth["inputs"] for x in train],
    )
    for field, (got_values, want_values) in pairs.items():
        # an entry may be a difference of larger ones: relative to itself or to 1e-3 of the largest of its kind
        scale = 1e-3 * np.max(np.abs(want_values))
        np.testing.assert_allclose(got_values, want_values, rtol=1e-9, atol=1e-9 * scale, err_msg=field)


def yinyang():
    return np.load(DATA / "yinyang_reference.npz")


def yinyang_network(data, neuron=None):
    neuron = neuron or es.LIF(tau_mem=20e-3, tau_syn=5e-3)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 200, neuron)
    net.add_population("out", 3, neuron)
    net.connect("in", "hidden", data["W1"].T)
    net.connect("hidden", "out", data["W2"].T)
    return net


def test_yinyang_reference():
    data = yinyang()
    inputs = es.SpikeTrains.from_dense(data["in_times_ms"] * 1e-3)
    solution = es.solve(yinyang_network(data), {"in": inputs}, t_end=60e-3)
    assert solution.warnings == ()
    for population, prefix in (("hidden", "hid"), ("out", "out")):
        spikes = solution.spikes[population]
        got = np.lexsort((spikes.times, spikes.neurons, spikes.samples))
        want = np.lexsort((data[prefix + "_t_ms"], data[prefix + "_neuron"], data[prefix + "_sample"]))
        np.testing.assert_array_equal(spikes.samples[got], data[prefix + "_sample"][want])
        np.testing.assert_array_equal(spikes.neurons[got], data[prefix + "_neuron"][want])
        np.testing.assert_allclose(spikes.times[got], data[prefix + "_t_ms"][want] * 1e-3, rtol=0, atol=1e-14)
    loss = es.losses.TTFSCrossEntropy("out", data["labels"], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)
    values, each = es.value_and_grad(solution, loss, reduction="none")
    value, mean = es.value_and_grad(solution, loss)
    np.testing.assert_allclose(values, data["loss_per_sample"], rtol=1e-12)
    assert value == pytest.approx(data["loss_per_sample"].mean(), rel=1e-12)
    for key, name in ((("in", "hidden"), "gW1"), (("hidden", "out"), "gW2")):
        want_each = data[name + "_each"].transpose(0, 2, 1)
        want_mean = data[name + "_mean32"].T
        for got_one, want_one in zip(each.weight[key], want_each, strict=True):
            assert np.linalg.norm(got_one - want_one) <= 1e-10 * np.linalg.norm(want_one)
        assert np.linalg.norm(mean.weight[key] - want_mean) <= 1e-10 * np.linalg.norm(want_mean)
