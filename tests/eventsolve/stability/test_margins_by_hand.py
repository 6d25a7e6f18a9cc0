"""Which sample, neuron and source every margin names, and in what words, of small networks whose delays tell them."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.stability.margins import Distances

MS = 1e-3
KINDS = ("voltage", "overshoot", "slope", "gap")
LIF = es.LIF(20 * MS, 5 * MS, t_ref=2 * MS)
DELAYS = {
    ("in", "a"): 0.11 * MS,
    ("more", "a"): 0.23 * MS,
    ("more", "b"): 0.37 * MS,
    ("a", "b"): 1.3 * MS,
    ("b", "a"): 1.7 * MS,
    ("a", "a"): 2.9 * MS,
    ("a", "c"): 0.53 * MS,
    ("b", "c"): 0.71 * MS,
}


@pytest.fixture(scope="module")
def solution():
    """Two inputs, two populations in one cycle, and one behind it: a projection is told by its delay."""
    random = np.random.default_rng(5)
    sizes = {"in": 2, "more": 3, "a": 2, "b": 3, "c": 2}
    net = es.Network()
    for name, size in sizes.items():
        if name in ("in", "more"):
            net.add_input(name, size)
        else:
            net.add_population(name, size, LIF)
    for (pre, post), delay in DELAYS.items():
        outer = pre in ("in", "more") or post == "c"
        net.connect(
            pre, post, random.uniform(3, 5, (sizes[post], sizes[pre])) * (1 if outer else 0.2), delay=delay
        )
    inputs = {
        name: es.SpikeTrains.from_dense(random.uniform(0, 20 * MS, (3, sizes[name], 3)))
        for name in ("in", "more")
    }
    return es.solve(net, inputs, 40 * MS)


@pytest.fixture(scope="module")
def margins(solution):
    return es.margins(solution)


def test_every_gap_names_the_spike_whose_arrival_it_is_to(solution, margins):
    """Where a source and its neuron spike, and the projection's delay later, something arrives."""
    named = set()
    for name, gaps in margins.gap.items():
        own = solution.spikes[name]
        for k in range(gaps.values.size):
            sample, neuron = gaps.samples[k], gaps.neurons[k]
            times = own.times[(own.samples == sample) & (own.neurons == neuron)]
            place, source = int(gaps.places[k]), str(gaps.sources[k])
            assert abs(gaps.values[k] - abs(gaps.times[k] - gaps.other_times[k])) < 1e-15
            if place == 4:
                assert (source, gaps.source_neurons[k], gaps.other_times[k]) == ("", -1, solution.t_end)
                assert gaps.times[k] == times[-1]
                continue
            assert np.abs(times + (2 * MS if place in (2, 3) else 0.0) - gaps.times[k]).min() < 1e-15
            assert (gaps.other_times[k] > gaps.times[k]) == (place in (0, 2))
            sent = solution.spikes[source]
            of_it = sent.times[(sent.samples == sample) & (sent.neurons == gaps.source_neurons[k])]
            assert np.abs(of_it + DELAYS[source, name] - gaps.other_times[k]).min() < 1e-15
            named.add((source, int(gaps.source_neurons[k]), name))
    sizes = {name: trains.n_neurons for name, trains in solution.spikes.items()}
    assert named == {(pre, k, post) for pre, post in DELAYS for k in range(sizes[pre])}


def test_spikes_and_peaks_are_those_of_their_sample_and_neuron(solution, margins):
    for name in ("a", "b", "c"):
        spikes = solution.spikes[name]
        made = sorted(
            zip(spikes.samples.tolist(), spikes.neurons.tolist(), spikes.times.tolist(), strict=True)
        )
        for kind in ("slope", "overshoot"):
            d = getattr(margins, kind)[name]
            assert sorted(zip(d.samples.tolist(), d.neurons.tolist(), d.times.tolist(), strict=True)) == made
        d = margins.voltage[name]
        assert set(d.neurons.tolist()) == set(range(spikes.n_neurons))
        v = solution.voltage(name, d.times)[d.samples, d.neurons, np.arange(d.times.size)]
        np.testing.assert_allclose(d.values, 1.0 - v, rtol=0, atol=1e-12)


def test_the_words_of_a_margin_name_all_of_it(margins):
    said = {
        "voltage": r"stays {value:.3g} below its threshold at {time!r} s",
        "overshoot": r"goes {value:.3g} beyond its threshold with its spike at {time!r} s",
        "slope": r"crosses its threshold at {value:.3g}/s with its spike at {time!r} s",
        "gap": r"has {event}, {value:.3g} s from {time!r} s",
    }
    shown = "".join(repr(margins).split())
    for kind, (nearest, *_) in margins.smallest(3).items():
        who = f"neuron {nearest.neuron} of {nearest.population!r} in sample {nearest.sample} "
        assert str(nearest) == who + said[kind].format(**nearest._asdict())
        assert "".join(str(nearest).split()) in shown
        assert bool(nearest.event) == (kind == "gap")


def test_of_several_populations_and_samples_the_summary_has_the_smallest_of_each_kind():
    """Whichever it is: each sample by itself, of which the first populations are silent in some."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 1, LIF)
    net.add_population("b", 1, LIF)
    net.connect("in", "a", [[9.0, 0.0]])
    net.connect("in", "b", [[0.0, 8.0]])
    for trains in (
        [[[], [1 * MS]], [[], []]],
        [[[], []], [[2 * MS], []]],
        [[[1 * MS], [2 * MS]], [[3 * MS], []]],
    ):
        margins = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists(trains)}, 30 * MS))
        shown = "".join(repr(margins).split())
        for kind in KINDS:
            assert "".join(str(margins.smallest()[kind][0]).split()) in shown
    silent = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists([[[], []]])}, 30 * MS))
    assert "slope none".replace(" ", "") in "".join(repr(silent).split())


def test_offsets_and_the_least_of_samples_by_hand():
    samples = np.array([0, 0, 2])
    d = Distances(np.array([3.0, 4.0, 2.0]), np.zeros(3), np.zeros(3, np.int64), samples, 4)
    assert d.offsets.tolist() == [0, 2, 2, 3, 3]
    assert not d.offsets.flags.writeable
    assert d.least().tolist() == [3.0, np.inf, 2.0, np.inf]


def test_arrivals_of_any_weight_but_0_are_events():
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("n", 1, LIF)
    net.connect("in", "n", [[9.0, 0.0, 1.0, -1.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [5 * MS], [6 * MS], [7 * MS]]])}
    gaps = es.margins(es.solve(net, inputs, 20 * MS)).gap["n"]
    assert set(gaps.source_neurons.tolist()) == {-1, 0, 2, 3}


def test_one_of_each_kind_population_and_sample_may_be_kept(solution, margins):
    nearest = es.margins(solution, nearest=1)
    for kind in KINDS:
        for name, d in getattr(nearest, kind).items():
            every = getattr(margins, kind)[name]
            assert d.values.tolist() == every.values[every.offsets[:-1]].tolist()


def test_a_silent_input_changes_no_margin_of_a_cycle():
    """Not even where the cycle would have no source but itself, and its own spikes are all that arrives."""

    def margins(*inputs):
        net = es.Network()
        net.add_population("n", 2, es.LIF(20 * MS, 5 * MS, t_ref=2 * MS, v_leak=[1.5, 1.2]))
        net.connect("n", "n", [[0.1, 0.2], [0.3, 0.0]], delay=[[0.1 * MS, 0.2 * MS], [0.3 * MS, 0.0]])
        for name in inputs:
            net.add_input(name, 1)
            net.connect(name, "n", np.zeros((2, 1)))
        return es.margins(
            es.solve(net, {name: es.SpikeTrains.from_lists([[[]]]) for name in inputs}, 60 * MS)
        )

    alone, beside = margins(), margins("in")
    for kind in KINDS:
        one, other = getattr(alone, kind)["n"], getattr(beside, kind)["n"]
        assert one.values.size > 0
        for name in ("values", "times", "neurons"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    gaps = alone.gap["n"]
    own = (gaps.places == 0) & (gaps.neurons == 0) & (gaps.source_neurons == 0)
    assert gaps.values[own].size == 0  # nothing is between a spike and its own arrival, which it causes


def test_no_samples_have_no_margins():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 2, LIF)
    net.connect("in", "n", [[9.0], [9.0]])
    some, none = (
        es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists(lists, n_neurons=1)}, 40 * MS))
        for lists in ([[[1 * MS]]], [])
    )
    for kind in KINDS:
        one, other = getattr(none, kind)["n"], getattr(some, kind)["n"]
        assert (one.n_samples, one.values.size, one.offsets.tolist()) == (0, 0, [0])
        for name in ("values", "times", "neurons", "samples"):
            assert getattr(one, name).dtype == getattr(other, name).dtype
    assert none.gap["n"].sources.size == none.gap["n"].source_neurons.size == 0
