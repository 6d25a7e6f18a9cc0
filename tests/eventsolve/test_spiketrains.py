"""Spike trains keep every spike, in one order, and refuse what is not a spike train with a message that says why."""

import dataclasses
import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from strategies import spike_lists

from eventsolve import SpikeTrains

NAN, INF = math.nan, math.inf
FLAT = {"times": [0.1, 0.2], "neurons": [0, 1], "samples": [0, 0], "n_neurons": 2, "n_samples": 1}


def from_replace(times, neurons, samples, *, n_neurons, n_samples):
    empty = SpikeTrains.from_lists([], n_neurons=0)
    return dataclasses.replace(
        empty, times=times, neurons=neurons, samples=samples, n_neurons=n_neurons, n_samples=n_samples
    )


of_every_door = pytest.mark.parametrize(
    "door", [SpikeTrains.from_arrays, SpikeTrains, from_replace], ids=["from_arrays", "itself", "replace"]
)
"""Every way to make trains of flat arrays."""


def saying(*words):
    """Match a message that holds every one of the words."""
    return "".join(f"(?=.*{re.escape(word)})" for word in words)


def flat(trains):
    return list(zip(trains.samples.tolist(), trains.times.tolist(), trains.neurons.tolist(), strict=True))


# -- round trips -------------------------------------------------------------------------------------------------------


@given(spike_lists())
def test_lists_come_back(drawn):
    lists, n_neurons = drawn
    trains = SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    assert trains.to_lists() == lists
    assert (trains.n_samples, trains.n_neurons) == (len(lists), n_neurons)
    assert trains.n_spikes == sum(len(train) for sample in lists for train in sample)


@given(spike_lists())
def test_order_is_sample_then_time_then_neuron(drawn):
    lists, n_neurons = drawn
    found = flat(SpikeTrains.from_lists(lists, n_neurons=n_neurons))
    assert found == sorted(
        (s, t, n) for s, sample in enumerate(lists) for n, train in enumerate(sample) for t in train
    )


@given(spike_lists())
def test_arrays_come_back(drawn):
    lists, n_neurons = drawn
    trains = SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    again = SpikeTrains.from_arrays(
        trains.times, trains.neurons, trains.samples, n_neurons=n_neurons, n_samples=len(lists)
    )
    assert flat(again) == flat(trains)
    for array, kind in ((again.times, np.float64), (again.neurons, np.int64), (again.samples, np.int64)):
        assert array.dtype == kind


@given(spike_lists(), st.integers(0, 2), st.randoms(use_true_random=False))
def test_dense_is_padded_with_inf_in_any_order(drawn, padding, random):
    lists, n_neurons = drawn
    n_slots = max((len(train) for sample in lists for train in sample), default=0) + padding
    dense = np.full((len(lists), n_neurons, n_slots), INF)
    for s, sample in enumerate(lists):
        for n, train in enumerate(sample):
            row = train + [INF] * (n_slots - len(train))
            random.shuffle(row)
            dense[s, n] = row
    trains = SpikeTrains.from_dense(dense)
    assert trains.to_lists() == lists
    assert trains.n_neurons == n_neurons


@given(spike_lists())
def test_first_counts_and_offsets(drawn):
    lists, n_neurons = drawn
    trains = SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    shape = (len(lists), n_neurons)
    first = [[min(train, default=INF) for train in sample] for sample in lists]
    assert np.array_equal(trains.first(), np.reshape(first, shape))
    counts = [[len(train) for train in sample] for sample in lists]
    assert np.array_equal(trains.counts(), np.reshape(counts, shape))
    assert trains.offsets.tolist() == [0, *itertools.accumulate(sum(map(len, sample)) for sample in lists)]
    index = trains.first_index()
    assert np.array_equal(index >= 0, np.isfinite(trains.first()))
    assert (trains.times[index[index >= 0]] == trains.first()[index >= 0]).all()


@given(spike_lists(min_samples=1), st.data())
def test_select(drawn, data):
    lists, n_neurons = drawn
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    selected = SpikeTrains.from_lists(lists).select(chosen)
    assert selected.to_lists() == [lists[k] for k in chosen]
    assert (selected.n_samples, selected.n_neurons) == (len(chosen), n_neurons)


@given(spike_lists())
def test_first_dense_is_first(drawn):
    lists, n_neurons = drawn
    first = SpikeTrains.from_lists(lists, n_neurons=n_neurons).first()
    assert np.array_equal(SpikeTrains.from_dense(first).first(), first)


# -- empty answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trains", "shape"),
    [
        (SpikeTrains.from_lists([], n_neurons=3), (0, 3)),
        (SpikeTrains.from_lists([[], []]), (2, 0)),
        (SpikeTrains.from_lists([[[], []]]), (1, 2)),
        (SpikeTrains.from_dense(np.empty((0, 3))), (0, 3)),
        (SpikeTrains.from_dense(np.empty((2, 0))), (2, 0)),
        (SpikeTrains.from_dense(np.empty((2, 3, 0))), (2, 3)),
        (SpikeTrains.from_dense(np.full((1, 2), INF)), (1, 2)),
        (SpikeTrains.from_arrays([], [], n_neurons=0), (1, 0)),
        (SpikeTrains.from_arrays([], [], [], n_neurons=4, n_samples=0), (0, 4)),
        (SpikeTrains.from_lists([[[1.0]]]).select([]), (0, 1)),
    ],
)
def test_silence_of_any_size(trains, shape):
    assert (trains.n_samples, trains.n_neurons) == shape
    assert trains.n_spikes == 0
    assert trains.counts().shape == trains.first().shape == trains.first_index().shape == shape
    assert not trains.counts().any()
    assert (trains.first() == INF).all()
    assert trains.offsets.tolist() == [0] * (shape[0] + 1)
    assert trains.select(range(shape[0])).to_lists() == trains.to_lists()
    assert trains.neurons.dtype == trains.samples.dtype == np.int64


# -- what is taken -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "train",
    [
        (0.25, 1.5),
        iter([0.25, 1.5]),
        np.array([0.25, 1.5], dtype=np.float32),
        np.array([Fraction(1, 4), 1.5], dtype=object),
        np.ma.array([0.25, 1.5], mask=False),
        np.array([[0.25, 9.0], [1.5, 9.0]])[:, 0],
    ],
)
def test_any_sequence_of_real_numbers_is_a_train(train):
    assert SpikeTrains.from_lists([[train]]).to_lists() == [[[0.25, 1.5]]]


def test_trailing_silent_samples_and_neurons_are_kept():
    trains = SpikeTrains.from_arrays([0.1], [0], [0], n_neurons=3, n_samples=2)
    assert trains.to_lists() == [[[0.1], [], []], [[], [], []]]


def test_repr_says_the_sizes():
    assert repr(SpikeTrains.from_lists([[[1.0], []]])) == "SpikeTrains(1 spike, 1 sample, 2 neurons)"


# -- the caller's arrays -----------------------------------------------------------------------------------------------


def test_the_callers_arrays_are_neither_frozen_nor_aliased():
    times, neurons, samples = np.array([0.1, 0.2]), np.array([1, 0]), np.array([0, 0])
    dense, train = np.array([[0.2, 0.1]]), np.array([0.1])
    from_arrays = SpikeTrains.from_arrays(times, neurons, samples, n_neurons=2, n_samples=1)
    from_dense = SpikeTrains.from_dense(dense)
    from_lists = SpikeTrains.from_lists([[np.array([0.2]), train]])
    itself = SpikeTrains(times, neurons, samples, 1, 2)
    replaced = dataclasses.replace(itself, times=times)
    for array in (times, neurons, samples, dense, train):
        array[...] = 7
    for trains in (from_arrays, from_dense, from_lists, itself, replaced):
        assert trains.to_lists() == [[[0.2], [0.1]]]


def test_spikes_are_read_only():
    trains = SpikeTrains.from_lists([[[0.1], [0.2]]])
    for array in (trains.times, trains.neurons, trains.samples, trains.offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        trains.times = np.zeros(2)


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD_TIMES = [
    ([0.1, NAN], "entry [1] is nan"),
    ([0.1, INF], "entry [1] is inf"),
    ([-INF, 0.1], "entry [0] is -inf"),
    ([-0.1, 0.1], "entry [0] is -0.1"),
    (["0.1", "0.2"], "entry [0] is '0.1'"),
    ([True, False], "entry [0] is True"),
    ([0.1, "0.2"], "entry [1] is '0.2'"),
    ([0.1, 2j], "entry [1] is 2j"),
    (np.array([0.1, 2j]), "entry [1] is 2j"),
    (np.array([0.1, 0.2], dtype=complex), "entry [0] is (0.1+0j)"),
    ([0.1, None], "entry [1] is None"),
    (np.array([0.1, True], dtype=object), "entry [1] is True"),
    (np.ma.array([0.1, 0.2], mask=[0, 1]), "entry [1] is masked"),
    ([[0.1], [0.2, 0.3]], "[[0.1], [0.2, 0.3]]"),
    ([0, 10**400], "got [0, 1000"),
    (np.array(["2020-01-01"] * 2, dtype="M8[D]"), "2020"),
]


@of_every_door
@pytest.mark.parametrize(("times", "said"), [*BAD_TIMES, ([[0.1, 0.2]], "(1, 2)"), (0.1, "()")])
def test_times_of_arrays(door, times, said):
    with pytest.raises(ValueError, match=saying("times", said)):
        door(**(FLAT | {"times": times}))


@pytest.mark.parametrize(("times", "said"), BAD_TIMES)
def test_times_of_lists(times, said):
    with pytest.raises(ValueError, match=saying("trains[1][0]", said)):
        SpikeTrains.from_lists([[[]], [times]])


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([[0.1, NAN]], "entry [0, 1] is nan"),
        ([[0.1, -INF]], "entry [0, 1] is -inf"),
        ([[0.1], [-0.5]], "entry [1, 0] is -0.5"),
        ([[[0.1, 0.2]], [[0.1, -1.0]]], "entry [1, 0, 1] is -1.0"),
        ([["0.1"]], "entry [0, 0] is '0.1'"),
        ([[True]], "entry [0, 0] is True"),
        ([[1j]], "entry [0, 0] is 1j"),
        ([[0.1, None]], "entry [0, 1] is None"),
        ([[0.1], [0.2, 0.3]], "[[0.1], [0.2, 0.3]]"),
        (np.ma.array([[0.1, 0.2]], mask=[[0, 1]]), "entry [0, 1] is masked"),
        (sp.csr_array([[0.1]]), "Sparse"),
        (0.1, "()"),
        ([0.1, 0.2], "(2,)"),
        (np.zeros((1, 1, 1, 1)), "(1, 1, 1, 1)"),
        ([[[0.5, 0.5]]], "0.5 s"),
        (None, "None"),
    ],
)
def test_times_of_dense(times, said):
    with pytest.raises(ValueError, match=saying("times", said)):
        SpikeTrains.from_dense(times)


@of_every_door
@pytest.mark.parametrize(("name", "rest"), [("neurons", {}), ("samples", {"n_neurons": 9})])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, -1], "entry [1] is -1"),
        ([0, 3], "entry [1] is 3"),
        ([0.0, 1.0], "float64"),
        ([0, NAN], "nan"),
        ([False, True], "True"),
        (["0", "1"], "'0'"),
        ([0, 1j], "1j"),
        ([0, None], "None"),
        ([[0], [0, 1]], "[[0], [0, 1]]"),
        ([[0, 1]], "(1, 2)"),
        (0, "()"),
        ([0, 10**30], "1" + 30 * "0"),
        (np.array([0, 2**63], dtype=np.uint64), "entry [1] is 9223372036854775808"),
        (np.ma.array([0, 1], mask=[0, 1]), "entry [1] is masked"),
    ],
)
def test_indices_of_arrays(door, name, rest, values, said):
    with pytest.raises(ValueError, match=saying(name, said)):
        door(**(FLAT | rest | {name: values}))


@of_every_door
@pytest.mark.parametrize("name", ["n_neurons", "n_samples"])
@pytest.mark.parametrize("value", [-1, 2.0, NAN, INF, True, "2", 1j, [2], np.array([2])])
def test_sizes_of_arrays(door, name, value):
    with pytest.raises(ValueError, match=saying(name, repr(value))):
        door(**(FLAT | {name: value}))


@pytest.mark.parametrize("value", [-1, 2.0, NAN, True, "2", 3])
def test_n_neurons_of_lists(value):
    with pytest.raises(ValueError, match=saying("n_neurons", repr(value))):
        SpikeTrains.from_lists([[[0.1], []]], n_neurons=value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_samples": None}, ("n_samples", "given with samples")),
        ({"samples": None, "n_samples": 2}, ("samples", "n_samples = 2")),
        ({"samples": None, "n_samples": True}, ("n_samples", "True")),
    ],
)
def test_samples_that_may_be_left_out_of_arrays(changes, said):
    with pytest.raises(ValueError, match=saying(*said)):
        SpikeTrains.from_arrays(**(FLAT | changes))


@of_every_door
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_neurons": 2**32, "n_samples": 2**31}, ("n_samples * n_neurons", "2147483648 * 4294967296")),
        ({"times": [0.1]}, ("times", "neurons", "samples", "1, 2 and 2")),
        ({"neurons": [0]}, ("one length", "2, 1 and 2")),
        ({"samples": [0, 0, 0]}, ("one length", "2, 2 and 3")),
        ({"n_neurons": 0}, ("neurons", "entry [0] is 0")),
        ({"n_samples": 0}, ("samples", "entry [0] is 0")),
        ({"times": [0.2, 0.1]}, ("times", "sorted", "0.1", "comes after", "0.2")),
        ({"times": [0.1, 0.1], "neurons": [1, 0]}, ("neurons", "sorted", "neuron 0", "neuron 1")),
        ({"samples": [1, 0], "n_samples": 2}, ("samples", "sorted", "sample 0", "sample 1")),
        ({"times": [0.1, 0.1], "neurons": [1, 1]}, ("times", "repeat", "spike 1", "neuron 1", "0.1 s")),
    ],
)
def test_arrays_that_do_not_fit_together(door, changes, said):
    with pytest.raises(ValueError, match=saying(*said)):
        door(**(FLAT | changes))


@pytest.mark.parametrize(
    ("trains", "said"),
    [
        ([[[0.2, 0.1]]], ("trains[0][0]", "increasing", "entry 1 is 0.1 after 0.2")),
        ([[[], [0.1, 0.1]]], ("trains[0][1]", "increasing", "entry 1 is 0.1 after 0.1")),
        ([[[0.1]], [[0.1], []]], ("trains", "same number of neurons", "[1, 2]")),
        ([[[[0.1]]]], ("trains[0][0]", "(1, 1)")),
        (
            [[0.1, 0.2]],
            ("trains[0][0]", "nested as [sample][neuron][spike]", "got 0.1: give one sample as [[train"),
        ),
        ([[0.1, 0.2], [0.3]], ("trains[0][0]", "got 0.1: give one sample")),
        ([["0.1"]], ("trains[0][0]", "'0.1'")),
        ([[""]], ("trains[0][0]", "''")),
        (
            [0.1],
            (
                "trains[0]",
                "list of neurons",
                "nested as [sample][neuron][spike]",
                "0.1: give one train as [[train]]",
            ),
        ),
        ([[[0.1]], None], ("trains[1]", "None")),
        (0.1, ("trains", "0.1")),
        (None, ("trains", "None")),
        ([], ("n_neurons", "empty batch")),
    ],
)
def test_lists_that_are_no_trains(trains, said):
    with pytest.raises(ValueError, match=saying(*said)):
        SpikeTrains.from_lists(trains)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([0, 2], "entry [1] is 2"),
        ([-1], "entry [0] is -1"),
        ([0.5], "0.5"),
        ([True, False], "True"),
        (["a"], "'a'"),
        (0, "()"),
        ([[0]], "(1, 1)"),
        ([NAN], "nan"),
        ([None], "None"),
    ],
)
def test_samples_of_select(samples, said):
    with pytest.raises(ValueError, match=saying("samples", said)):
        SpikeTrains.from_lists([[[0.1]], [[0.2]]]).select(samples)


def test_nothing_can_be_selected_from_an_empty_batch():
    with pytest.raises(ValueError, match=saying("samples", "none to choose from", "entry [0] is 0")):
        SpikeTrains.from_lists([], n_neurons=2).select([0])


@of_every_door
def test_arrays_of_a_train_are_read_only_and_those_of_the_caller_are_not(door):
    times, places = np.array([1e-3]), np.array([0])
    trains = door(times, places, places, n_samples=1, n_neurons=1)
    for array in (trains.times, trains.neurons, trains.samples):
        assert not array.flags.writeable
    assert times.flags.writeable
    assert places.flags.writeable


def test_replaced_spikes_are_those_of_neurons_that_there_are():
    trains = SpikeTrains.from_lists([[[0.1], [0.2]]])
    with pytest.raises(ValueError, match=saying("neurons", "entry [1] is 1000000000")):
        dataclasses.replace(trains, neurons=[0, 10**9])
    assert dataclasses.replace(trains, n_neurons=3).to_lists() == [[[0.1], [0.2], []]]
