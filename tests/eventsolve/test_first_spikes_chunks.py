"""What a solution of first spikes says of single samples names them by their place in the batch, not in a chunk."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve import first_spikes
from eventsolve.chunks import SAMPLES_PER_CHUNK
from eventsolve.schedule import layers_of
from eventsolve.solution import gather

PEAK = 6.349604207872798
"""The weight whose response peaks at the threshold, for time constants of 20 ms and 5 ms."""


def grazing():
    """An output that spikes at once, and a neuron that may graze its threshold, earlier or later than that."""
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.add_population("near", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[12.0, 0.0, 0.0]])
    net.connect("in", "near", [[0.0, PEAK, 0.0]])
    return net


def test_warnings_and_errors_of_a_large_batch_name_their_sample():
    n = 2 * SAMPLES_PER_CHUNK + 5
    early, late = SAMPLES_PER_CHUNK + 3, 2 * SAMPLES_PER_CHUNK + 1
    trains = [[[30e-3], [], []] for _ in range(n)]
    trains[early][1] = [0.0]  # grazes about 9 ms later, before the first spike of the output
    trains[late][1] = [40e-3]  # and after it
    inputs = {"in": es.SpikeTrains.from_lists(trains)}
    whole = es.solve(grazing(), inputs, 0.1)
    assert [w.sample for w in whole.warnings] == [early, late]
    short = es.solve_first_spikes(grazing(), inputs, 0.1, "out")
    assert short.warnings == whole.warnings[:1]
    # a small batch is solved to t_end at once, and then cut: also of what was undecided behind it
    few = {"in": inputs["in"].select([early, late])}
    assert [w.sample for w in es.solve(grazing(), few, 0.1).warnings] == [0, 1]
    assert [w.sample for w in es.solve_first_spikes(grazing(), few, 0.1, "out").warnings] == [0]


@pytest.mark.parametrize(("first", "runs_away"), [(30e-3, 0.0), (80e-3, 40e-3)])
def test_a_loop_that_runs_away_in_a_large_batch_names_its_sample(first, runs_away):
    """At once, or where only this sample is solved again."""
    net = grazing()
    net.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "loop", [[0.0, 0.0, 12.0]])
    net.connect("loop", "loop", [[12.0]], delay=1e-3)
    n, bad = 2 * SAMPLES_PER_CHUNK, SAMPLES_PER_CHUNK + 7
    trains = [[[30e-3], [], []] for _ in range(n)]
    trains[bad] = [[first], [], [runs_away]]
    trains[3][2] = [60e-3]  # after its first spike, which is out of sight
    with pytest.raises(es.SpikeBudgetError, match=f"neuron 0 of 'loop' in sample {bad}"):
        es.solve_first_spikes(net, {"in": es.SpikeTrains.from_lists(trains)}, 1.0, "out", max_spikes=20)


@pytest.mark.parametrize("first", [5, SAMPLES_PER_CHUNK + 7])
def test_of_loops_that_run_away_in_two_chunks_the_earlier_is_named(first):
    net = grazing()
    net.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "loop", [[0.0, 0.0, 12.0]])
    net.connect("loop", "loop", [[12.0]], delay=1e-3)
    trains = [[[80e-3], [], []] for _ in range(2 * SAMPLES_PER_CHUNK)]
    for bad in (5, SAMPLES_PER_CHUNK + 7):
        trains[bad][2] = [1e-3 if bad == first else 10e-3]
    with pytest.raises(es.SpikeBudgetError, match=f"neuron 0 of 'loop' in sample {first} "):
        es.solve_first_spikes(net, {"in": es.SpikeTrains.from_lists(trains)}, 1.0, "out", max_spikes=20)


@pytest.fixture
def ends(monkeypatch):
    """How many samples are solved until when, call by call."""
    found, solve_chunk = [], first_spikes.solve_chunk

    def noted(layers, chunk, after, end, max_spikes):
        found.append((chunk.n_samples, end))
        return solve_chunk(layers, chunk, after, end, max_spikes)

    monkeypatch.setattr(first_spikes, "solve_chunk", noted)
    return found


@pytest.mark.parametrize("start", [0.0, 50e-3])
def test_the_window_is_chosen_by_the_latest_of_the_pilots(ends, start):
    """A window that is too short costs a second run of its samples, and changes nothing else."""
    n = 2 * SAMPLES_PER_CHUNK
    none = {"in": es.SpikeTrains.from_lists([[[], [], []]] * n)}
    state = es.solve(grazing(), none, start).final_state if start else None
    trains = {"in": es.SpikeTrains.from_lists([[[start + 2e-3 * (k % 10 + 1)], [], []] for k in range(n)])}
    short = es.solve_first_spikes(grazing(), trains, 1.0, "out", initial=state)
    latest = short.stopped.until.max() - start
    assert ends[0] == (first_spikes.PILOT, 1.0)
    assert {size for size, _ in ends[1:]} == {SAMPLES_PER_CHUNK}
    assert all(latest <= end - start <= first_spikes.SLACK * latest + 1e-15 for _, end in ends[1:])


def test_the_window_is_chosen_by_all_pilots_though_one_runs_away_behind_its_first_spikes(ends):
    """What stops the solver there divides the pilots into those that were complete before it, and the others."""
    net = grazing()
    net.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "loop", [[0.0, 0.0, 12.0]])
    net.connect("loop", "loop", [[12.0]], delay=1e-3)
    trains = [[[70e-3 + 1e-3 * (k % 10)], [], []] for k in range(2 * SAMPLES_PER_CHUNK)]
    trains[3] = [[1e-3], [], [3e-3]]
    inputs = {"in": es.SpikeTrains.from_lists(trains)}
    short = es.solve_first_spikes(net, inputs, 1.0, "out", max_spikes=20, threads=1)
    latest = short.stopped.until.max()
    assert short.stopped.until[3] < 5e-3
    assert [size for size, _ in ends[:3]] == [first_spikes.PILOT, first_spikes.PILOT, first_spikes.PILOT - 1]
    window = next(end for size, end in ends if size == SAMPLES_PER_CHUNK)
    assert latest <= window <= first_spikes.SLACK * latest + 1e-15


def test_what_grazes_just_when_the_first_spikes_are_complete_is_warned_of():
    """An arrival over a delta synapse triggers the last first spike exactly when another neuron peaks."""
    net = grazing().with_weights({("in", "out"): [[0.0, 0.0, 0.0]]})
    net.connect("in", "out", [[0.0, 0.0, 1.5]], synapse="delta", name="now")
    alone = {"in": es.SpikeTrains.from_lists([[[], [1e-3], []]])}
    (graze,) = es.solve(net, alone, 0.1).warnings
    inputs = {"in": es.SpikeTrains.from_lists([[[], [1e-3], [graze.time]]])}
    short = es.solve_first_spikes(net, inputs, 0.1, "out")
    assert short.stopped.until.tolist() == [graze.time]
    assert short.warnings == (graze,)


def test_until_when_samples_were_solved_cannot_be_written():
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [], []]])}
    assert not es.solve_first_spikes(grazing(), inputs, 0.1, "out").stopped.until.flags.writeable


def test_a_sample_that_needs_more_than_the_window_is_solved_again_from_its_own_state():
    net = grazing().with_weights({("in", "out"): [[12.0, 0.0, 0.5]]})
    n, late = 2 * SAMPLES_PER_CHUNK + 5, SAMPLES_PER_CHUNK + 3
    before = es.SpikeTrains.from_lists([[[], [], [1e-4 * (k % 7)]] for k in range(n)])
    state = es.solve(net, {"in": before}, 1e-3).final_state
    trains = [[[30e-3], [], []] for _ in range(n)]
    trains[late] = [[80e-3], [40e-3], []]  # and a peak that grazes before that
    inputs = {"in": es.SpikeTrains.from_lists(trains)}
    whole = es.solve(net, inputs, 0.1, initial=state)
    short = es.solve_first_spikes(net, inputs, 0.1, "out", initial=state)
    np.testing.assert_array_equal(short.spikes["out"].first(), whole.spikes["out"].first())
    assert [w.sample for w in short.warnings] == [w.sample for w in whole.warnings] == [late]


@pytest.mark.parametrize("delay", [0.0, 1e-3])
def test_what_triggers_the_first_spikes_is_known_without_the_inputs_that_come_later(delay):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 1, es.LIF(20e-3, 5e-3))
    net.add_population("b", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", [[1.5, 0.3]], synapse="delta")
    net.connect("a", "b", [[1.5]], synapse="delta", delay=delay)
    net.connect("b", "a", [[0.1]], delay=1e-3)  # a cycle: one queue has both
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [5e-3]]])}
    whole = es.solve(net, inputs, 10e-3)
    short = es.solve_first_spikes(net, inputs, 10e-3, "b")
    assert short.stopped.until[0] == whole.spikes["b"].times[0] == 1e-3 + delay
    cotangent = {"b": [1.0]}
    a, b = es.vjp(whole, cotangent), es.vjp(short, cotangent)
    assert b.spike_times["in"].tolist() == a.spike_times["in"].tolist() == [1.0, 0.0]
    for key in net.projections:
        np.testing.assert_array_equal(b.weight[key], a.weight[key])
        np.testing.assert_array_equal(b.delay[key], a.delay[key])


def triggers_of(solution):
    """Of every own spike of the one queue: its sample, time and neuron, and what triggers it, in the same words."""
    (layer,) = (layer for layer in layers_of(solution.network) if layer.efferents is not None)
    (chunk,) = solution.chunks
    own, given = chunk.queued[layer.name], gather(layer, chunk._replace(queued={})).spikes
    found = {}
    for sample in range(solution.n_samples):
        first, last = given.offsets[sample : sample + 2]
        low, high = own.offsets[sample : sample + 2]
        sent = [("given", given.times[k], given.neurons[k]) for k in range(first, last)]
        sent += [("own", own.times[k], own.neurons[k]) for k in range(low, high)]
        for k in range(low, high):
            rank, bundle = divmod(int(own.trigger[k]), layer.efferents.delay.size)
            cause = None if own.trigger[k] < 0 else (*sent[rank], bundle)
            found[sample, own.times[k], own.neurons[k]] = cause
    return found


@pytest.mark.parametrize("delay", [0.0, 1e-3])
def test_in_every_sample_of_a_batch_spikes_keep_what_triggers_them(delay):
    """Whatever is cut off: inputs that come after the last first spike, but none that comes exactly with it."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_population("b", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", [[1.5, 0.3], [0.4, 1.2]], synapse="delta")
    net.connect("a", "b", [[1.5, 0.0]], synapse="delta", delay=delay)
    net.connect("b", "a", [[0.1], [1.3]], synapse="delta", delay=1.3e-3)
    trains = [[[3e-3, 6e-3], [1e-3, 5e-3]], [[1e-3], [0.5e-3, 5e-3, 6e-3]], [[2e-3, 7e-3], [2.5e-3]]]
    inputs = {"in": es.SpikeTrains.from_lists(trains)}
    whole, short = es.solve(net, inputs, 10e-3), es.solve_first_spikes(net, inputs, 10e-3, "b")
    expected = triggers_of(whole)
    found = triggers_of(short)
    assert found == {(s, t, n): cause for (s, t, n), cause in expected.items() if t <= short.stopped.until[s]}
    kinds = [cause[0] for cause in found.values() if cause]
    assert kinds.count("given") >= 3
    assert kinds.count("own") >= 3
    assert len(found) < len(expected)
