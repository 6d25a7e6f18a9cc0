"""Spikes as PyNN programs write them."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.io.pynn import from_events, to_spike_times


def test_a_sample_is_a_list_of_milliseconds_per_neuron():
    trains = es.SpikeTrains.from_lists([[[1e-3], []], [[2e-3, 5e-3], [4e-3]]])
    assert to_spike_times(trains, 1) == [[2.0, 5.0], [4.0]]


def test_pynn_takes_what_it_is_given():
    mock = pytest.importorskip("pyNN.mock", reason="PyNN is not installed")
    mock.setup()
    trains = es.SpikeTrains.from_lists([[[2e-3, 5e-3], [], [4e-3]]])
    source = mock.Population(3, mock.SpikeSourceArray(spike_times=to_spike_times(trains)))
    given = [list(sequence.value) for sequence in source.get("spike_times")]
    assert given == to_spike_times(trains)


def test_rows_of_neuron_and_time_are_a_sample():
    rows = [[2, 5.0], [0, 1.0], [2, 1.0], [0, 0.0]]
    assert from_events(rows, n_neurons=4).to_lists() == [[[0.0, 1e-3], [], [1e-3, 5e-3], []]]
    assert from_events([], n_neurons=2).to_lists() == [[[], []]]
    there = es.SpikeTrains.from_lists([[[1e-3], [3e-3, 7e-3]]])
    columns = np.column_stack([there.neurons, 1e3 * there.times])
    np.testing.assert_allclose(from_events(columns, n_neurons=2).times, there.times, rtol=1e-15)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[0, 1.0, 2.0]], r"events must have shape \(n_spikes, 2\); got \(1, 3\)"),
        ([[0.5, 1.0]], r"neurons of events must be integers in 0\.\.1; entry \[0\] is 0\.5"),
        ([[2, 1.0]], r"neurons of events must be integers in 0\.\.1; entry \[0\] is 2"),
        ([[0, -1.0]], "times must be finite and >= 0"),
        ([[0, 1.0], [0, 1.0]], "times must not repeat"),
        ([["0", "1"]], "events must be rows of neuron and time in milliseconds"),
    ],
)
def test_other_rows_are_refused(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_events(rows, n_neurons=2)
