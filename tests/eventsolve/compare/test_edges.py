"""Comparisons exactly at their limits, of what is no number, and of inputs that were moved."""

import math

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import compare, worst_spike
from eventsolve.compare.agreement import split
from eventsolve.compare.comparison import TimesComparison
from eventsolve.compare.divergence import number_divergence, within
from eventsolve.compare.matching import all_paired, match_spikes
from tests.eventsolve.compare.test_compare import exact_record, model_of, with_train


def one(*times):
    return es.SpikeTrains.from_lists([[list(times)]])


@pytest.mark.parametrize(("exact", "model"), [((0.25,), (0.5,)), ((0.25, 2.0), (0.5,))])
def test_spikes_exactly_a_window_apart_are_a_pair(exact, model):
    """One to one, and where one has more."""
    exact, model = one(*exact), one(*model)
    match = match_spikes("out", exact, model, 0.25)
    assert match.exact_index.tolist() == match.model_index.tolist() == [0]
    narrower = match_spikes("out", exact, model, math.nextafter(0.25, 0.0))
    assert narrower.exact_index.size == 0
    if exact.n_spikes == model.n_spikes:
        assert all_paired(exact, model, 0.25)
        assert not all_paired(exact, model, math.nextafter(0.25, 0.0))


def test_what_is_no_number_is_within_no_margin_and_is_the_place_that_is_named():
    expected, got = np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 3.5])
    assert not within(expected, np.array([1.0, np.nan, 3.0]), 1.0)
    for margin, off in ((1.0, 1), (0.1, 2)):
        found = number_divergence("v_leak", "out", expected, got, margin, per_sample=False)
        assert (found.neuron, found.count, found.size) == (1, off, 3)
        assert math.isnan(found.got)


def test_a_relative_error_of_what_is_no_number_is_none_whatever_the_exact_one_is():
    exact, model = np.array([0.0, 2.0, 0.0, 0.0]), np.array([np.nan, np.nan, 1.0, 0.0])
    agreement = split(exact[None], exact[None], np.array([False]))
    found = TimesComparison("out", exact, model, agreement).relative_error
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.inf, 0.0])


def test_an_input_that_was_moved_is_no_spike_that_was_missed_and_none_to_look_at_first():
    exact = exact_record()
    inputs = [name for name in exact.spikes if not any(key[1] == name for key in exact.weight)]
    assert len(inputs) == 1

    def changed(lists):
        lists[1][0].pop(0)

    assert compare(exact, with_train(exact, "out", changed)).missed == 1
    result = compare(exact, with_train(exact, inputs[0], changed))
    assert result.spikes[inputs[0]].missed.size == 1
    assert (result.missed, result.extra) == (0, 0)
    assert worst_spike(result).population != inputs[0]
    assert worst_spike(compare(exact, model_of(exact))).population != inputs[0]
