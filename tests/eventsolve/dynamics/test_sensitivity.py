"""Are blocks of the Jacobian those of central differences, whichever way they are gone?"""

import numpy as np
import pytest
import scipy.sparse as sp
from networks import random_case

import eventsolve as es
from eventsolve.dynamics.paths import path_of


@pytest.fixture(scope="module")
def solution():
    return random_case(5).solve()


def differences(solution, name, key, number, step):
    """dt of all spikes by central differences of the solver, for a step of one number."""
    scale = np.zeros(
        solution.network.projections[key].weights.size if name in ("weight", "delay") else 10_000
    )
    if name in ("weight", "delay"):
        scale[number] = 1.0
        direction = {name: {key: solution.network.projections[key].shaped(scale)}}
    else:
        size = (
            solution.spikes[key].n_spikes if name == "spike_times" else solution.network.population(key).size
        )
        scale = scale[:size]
        scale[number] = 1.0
        direction = {name: {key: scale}}
    path = path_of(solution, direction)
    low, high = (es.solve(*path.at(sign * step), solution.t_end).spikes for sign in (-1.0, 1.0))
    return {name: (high[name].times - low[name].times) / (2 * step) for name in ("hidden", "out")}


@pytest.mark.parametrize("name", ["weight", "delay", "tau_mem", "v_initial", "spike_times"])
def test_every_entry_is_a_central_difference(solution, name):
    found = es.sensitivity(solution, of=name)
    checked = 0
    for (population, _, key), block in found.blocks.items():
        if population != "out":
            continue
        rng = np.random.default_rng(0)
        for number in rng.choice(block.shape[1], min(2, block.shape[1]), replace=False):
            step = 1e-7 * (1e-2 if name in ("delay", "tau_mem", "spike_times") else 1.0)
            want = differences(solution, name, key, int(number), step)["out"]
            # differences of times that are right to some 1e-17 s, and their curvature
            np.testing.assert_allclose(block[:, number], want, rtol=1e-4, atol=1e-5 * np.abs(block).max())
            checked += want.size
    assert checked > 10


def test_both_ways_lead_to_the_same(solution):
    back = es.sensitivity(solution, of="weight", spikes={"out": [0, 3]})
    forth = es.sensitivity(solution, of={"weight": {("hidden", "out"): [[2.0, 0, 0, 0], [0, 0, 0, 0]]}})
    assert (back.way, forth.way) == ("vjp", "jvp")
    one = back.block("out", "weight", ("hidden", "out"))
    other = forth.block("out", "weight", ("hidden", "out"))[[0, 3]]
    assert one.shape == other.shape == (2, 2, 4)
    np.testing.assert_allclose(2.0 * one[:, 0, 0], other[:, 0, 0], rtol=1e-10, atol=1e-18)
    assert not other[:, 1].any()
    assert "by vjp" in repr(back)
    assert back.largest(1)[0].derivative == max(
        (b.flat[np.argmax(np.abs(b))] for b in back.blocks.values()), key=abs
    )
    assert "moves the spike of neuron" in str(back.largest(2)[1])


def test_a_sparse_weight_has_a_column_for_each_synapse():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", sp.csr_array([[9.0, 0.0], [4.0, 8.0]]))
    trains = es.SpikeTrains.from_lists([[[0.0], [1e-3]]])
    found = es.sensitivity(es.solve(net, {"in": trains}, 20e-3))
    block = found.block("out", "weight", ("in", "out"))
    assert block.shape[1] == 3
    first = found.solution.spikes["out"].neurons == 0
    assert first.any()
    assert (block[first][:, 1:] == 0).all()
    assert (block[first][:, 0] < 0).all()


def test_what_is_too_large_or_unknown_is_refused(solution):
    with pytest.raises(ValueError, match="more than max_bytes = 100: choose some spikes"):
        es.sensitivity(solution, max_bytes=100)
    with pytest.raises(ValueError, match="spikes must name a population that spikes"):
        es.sensitivity(solution, spikes="in")
    with pytest.raises(ValueError, match="must lie in"):
        es.sensitivity(solution, spikes={"out": [10**6]})
    with pytest.raises(ValueError, match="must name inputs; got 'out'"):
        es.sensitivity(solution, of={"spike_times": {"out": 1.0}})
