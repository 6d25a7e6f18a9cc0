"""Spikes and gradients against data computed in quadruple precision (tests/data says how)."""

import json
from itertools import cycle
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from networks import EPS, gradient_bounds

import eventsolve as es

DATA = Path(__file__).parents[1] / "data"
ENTRIES = {entry["kind"]: entry for entry in json.loads((DATA / "reference_networks.json").read_text())}
PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak")


def levels_of(entry):
    """Depth of every neuron: the length of the longest path from an input, where a cycle is one place."""
    graph = nx.DiGraph((pre, post) for pre, post, *_ in entry["synapses"] if pre >= 0)
    graph.add_nodes_from(range(len(entry["neurons"])))
    cycles = nx.condensation(graph)
    depth = {}
    for c in nx.topological_sort(cycles):
        depth[c] = max((depth[b] + 1 for b in cycles.predecessors(c)), default=0)
    return {k: depth[c] for k, c in cycles.graph["mapping"].items()}


def alone(entry):
    """Every neuron in a population of its own, so that a cycle runs through several."""
    return {k: k for k in range(len(entry["neurons"]))}


def build(entry, group):
    """One population per group, one sparse projection per pair of them; synapses as (projection key, row, column)."""
    level = group(entry)
    members = {
        depth: [k for k in sorted(level) if level[k] == depth] for depth in sorted(set(level.values()))
    }
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
    readout = set(entry["loss"]["readout"])
    tau = float(entry["loss"]["tau"])
    coefficients = [float(x) for x in entry["loss"]["coefficients"]]

    def function(spikes):
        read = sorted(
            (t, f"level{d}", place)
            for d, m in members.items()
            for place, (t, k) in enumerate(
                zip(spikes[f"level{d}"].times, spikes[f"level{d}"].neurons, strict=True)
            )
            if m[k] in readout
        )
        gradient = {f"level{d}": np.zeros(spikes[f"level{d}"].n_spikes) for d in members}
        for c, (t, name, place) in zip(cycle(coefficients), read, strict=False):
            gradient[name][place] = c + t / tau
        value = sum(c * t + t**2 / (2 * tau) for c, (t, *_) in zip(cycle(coefficients), read, strict=False))
        return [value], gradient

    return es.losses.SpikeTimeLoss(function)


@pytest.mark.parametrize("group", [levels_of, alone])
@pytest.mark.parametrize("kind", ENTRIES)
def test_reference_network(kind, group):
    entry = ENTRIES[kind]
    truth = entry["truth"]
    net, members, places = build(entry, group)
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
    late = es.gradient_condition(solution).time_error
    by_place = {
        (t, members[depth][k]): late[f"level{depth}"][at]
        for depth in members
        for at, (t, k) in enumerate(
            zip(solution.spikes[f"level{depth}"].times, solution.spikes[f"level{depth}"].neurons, strict=True)
        )
    }
    for found, (time, _) in zip(got, want, strict=True):
        assert abs(found[0] - time) <= by_place[found] + EPS * time

    loss = reference_loss(entry, members)
    value, grads = es.value_and_grad(solution, loss, reduction="sum")
    cotangents = loss.evaluate(solution).spike_times
    room = sum((np.abs(c) * (late[name] + 4 * EPS * solution.t_end)).sum() for name, c in cotangents.items())
    assert abs(value - float(truth["loss"])) <= room < 1e-9 * value
    bounds = gradient_bounds(solution, cotangents)
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
    informative = 0
    for field, (got_values, want_values) in pairs.items():
        room = bounds["spike_times" if field == "inputs" else field]
        np.testing.assert_allclose(got_values, want_values, rtol=0, atol=room, err_msg=field)
        informative += np.abs(want_values).max() > 1e3 * room
    assert informative >= len(pairs) - 2


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
    assert value == pytest.approx(data["loss_per_sample"].mean(), rel=1e-12, abs=0.0)
    for key, name in ((("in", "hidden"), "gW1"), (("hidden", "out"), "gW2")):
        want_each = data[name + "_each"].transpose(0, 2, 1)
        want_mean = data[name + "_mean32"].T
        for got_one, want_one in zip(each.weight[key], want_each, strict=True):
            assert np.linalg.norm(got_one - want_one) <= 1e-10 * np.linalg.norm(want_one)
        assert np.linalg.norm(mean.weight[key] - want_mean) <= 1e-10 * np.linalg.norm(want_mean)
