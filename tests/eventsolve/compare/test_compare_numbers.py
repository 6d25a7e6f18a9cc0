"""The numbers of a comparison, each beside one worked out by hand: a wrong sign, factor, mean or limit is noticed."""

import math
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import Stage, agreement, compare, worst_spike
from eventsolve.compare.comparison import broken_limits
from eventsolve.compare.matching import match_spikes
from eventsolve.compare.records import depths
from tests.eventsolve.compare.test_compare import FIRST, SECOND, STEP, exact_record, model_of, with_train
from tests.shared.records import altered


def test_an_agreement_by_hand():
    found = agreement(np.array([3.0, 0.0, -4.0, 0.0]), np.array([3.0, 4.0, 4.0, 0.0]))
    assert found.count == 4
    assert found.relative_error == pytest.approx(math.sqrt(4**2 + 8**2) / 5, rel=1e-15, abs=0.0)
    assert found.cosine == pytest.approx((3 * 3 - 4 * 4) / (5 * math.sqrt(41)), rel=1e-15, abs=0.0)
    assert (found.sign_agreement, found.both_nonzero, found.largest_error) == (0.5, 2, 8.0)
    assert agreement(
        np.array([3.0, 4.0, 4.0, 0.0]), np.array([3.0, 0.0, -4.0, 0.0])
    ).relative_error == pytest.approx(math.sqrt(80 / 41), rel=1e-15, abs=0.0)


def test_a_model_that_is_a_multiple_points_the_same_way():
    e = np.array([1.0, -2.0, 5.0])
    assert agreement(e, 3 * e).cosine == pytest.approx(1.0, abs=1e-15)
    assert agreement(e, 3 * e).relative_error == pytest.approx(2.0, rel=1e-15, abs=0.0)
    assert agreement(e, -e).cosine == pytest.approx(-1.0, abs=1e-15)
    assert agreement(e, -e).sign_agreement == 0.0
    assert math.isnan(agreement(np.array([0.0, 1.0]), np.array([1.0, 0.0])).sign_agreement)
    assert agreement(np.array([1.0, 0.0]), np.array([0.0, 0.0])).both_nonzero == 0


def test_what_is_not_a_number_agrees_with_nothing():
    for pair in (([1.0, np.nan], [1.0, 1.0]), ([1.0, 1.0], [1.0, np.inf])):
        found = agreement(*map(np.array, pair))
        assert found.count == 2
        assert all(math.isnan(x) for x in (found.relative_error, found.cosine, found.largest_error))


def weights(exact, model):
    """The comparison of two gradients of the second projection, (n_samples, 3, 4)."""
    record = exact_record(n_samples=len(exact))
    full = np.zeros((len(exact), 3, 4)), np.zeros((len(exact), 3, 4))
    for array, values in zip(full, (exact, model), strict=True):
        array[:, 0, : len(values[0])] = values
    given = altered(record, weight=record.weight | {SECOND: full[0]})
    return compare(given, model_of(given, weight=record.weight | {SECOND: full[1]})).weight[SECOND]


def test_gradients_are_averaged_over_the_batch_and_each_sample_is_its_own():
    found = weights([[1.0, 2.0], [3.0, -2.0]], [[2.0, 2.0], [4.0, -6.0]])
    np.testing.assert_array_equal(found.mean_exact[0, :2], [2.0, 0.0])
    np.testing.assert_array_equal(found.mean_model[0, :2], [3.0, -2.0])
    np.testing.assert_array_equal(found.absolute_error[0, :3], [1.0, 2.0, 0.0])
    np.testing.assert_array_equal(found.relative_error[0, :3], [0.5, np.inf, 0.0])
    assert found.mean.relative_error == pytest.approx(math.sqrt(5) / 2, rel=1e-15, abs=0.0)
    errors = [a.relative_error for a in found.per_sample]
    assert errors == pytest.approx([1 / math.sqrt(5), math.sqrt(17 / 13)], rel=1e-15, abs=0.0)
    assert found.samples.everything.relative_error == pytest.approx(math.sqrt(18 / 18), rel=1e-15, abs=0.0)
    first, second, third = found.worst(3)
    assert [(s.post, s.pre, s.exact, s.model, s.error) for s in (first, second)] == [
        (0, 1, 0.0, -2.0, -2.0),
        (0, 0, 2.0, 3.0, 1.0),
    ]
    assert third.error == 0.0
    assert found.label == "hidden → out"


def test_errors_of_spike_times_by_hand():
    exact = exact_record(n_samples=1)
    e = exact.spike_times["out"].copy()
    e[:3] = [2.0, 0.0, 0.0]
    m = e.copy()
    m[:3] = [1.0, 0.5, 0.0]
    given = altered(exact, spike_times=exact.spike_times | {"out": e})
    result = compare(given, model_of(given, spike_times=exact.spike_times | {"out": m}))
    found, order = result.spike_times["out"], result.spikes["out"].exact_index
    absolute, relative = np.zeros(e.size), np.zeros(e.size)
    absolute[:3], relative[:3] = [1.0, 0.5, 0.0], [0.5, np.inf, 0.0]
    np.testing.assert_array_equal(found.absolute_error, absolute[order])
    np.testing.assert_array_equal(found.relative_error, relative[order])


def test_samples_whose_spikes_match_are_compared_by_themselves():
    exact = exact_record()
    wrong = exact.weight[SECOND].copy()
    wrong[0] *= 2.0  # error 1 of sample 0, and its spikes differ
    wrong[1] *= 1.5
    lists = exact.spikes["out"].to_lists()
    lists[0][0].append(40e-3)
    trains = es.SpikeTrains.from_lists(lists)
    times = exact.spike_times | {"out": np.ones(trains.n_spikes)}
    model = model_of(
        exact,
        spikes=exact.spikes | {"out": trains},
        spike_times=times,
        weight=exact.weight | {SECOND: wrong},
        loss_values=exact.loss_values * [2.0, 1.0, 1.0],
    )
    found = compare(exact, model)
    split = found.weight[SECOND].samples
    norm = [float(np.linalg.norm(x)) for x in exact.weight[SECOND]]
    assert split.differing.relative_error == pytest.approx(1.0, rel=1e-14, abs=0.0)
    assert split.matching.relative_error == pytest.approx(
        0.5 * norm[1] / math.hypot(norm[1], norm[2]), rel=1e-14, abs=0.0
    )
    assert split.everything.relative_error == pytest.approx(
        math.hypot(norm[0], 0.5 * norm[1]) / math.sqrt(sum(x * x for x in norm)), rel=1e-14, abs=0.0
    )
    stages = {stage.label: stage for stage in found.stages}
    assert stages["loss"].error == pytest.approx(
        exact.loss_values[0] / np.linalg.norm(exact.loss_values), rel=1e-14, abs=0.0
    )
    assert stages["loss"].error_where_spikes_match == 0.0
    assert stages["spikes of out"].error == 1.0
    assert stages["dL/dw of hidden → out"].error == split.everything.relative_error
    assert stages["dL/dw of hidden → out"].error_where_spikes_match == split.matching.relative_error


def test_a_stage_agrees_up_to_its_tolerance():
    for error, agrees in ((0.1, True), (math.nextafter(0.1, 1.0), False), (math.nan, False)):
        assert Stage("loss", "", error, 0.0, 0.1).agrees is agrees
        assert Stage("loss", "", 0.0, error, 0.1).agrees_where_spikes_match is agrees


def test_the_tolerance_is_that_of_the_deepest_populations_times():
    exact = exact_record()
    found = compare(exact, model_of(exact))
    assert found.tolerance == pytest.approx(
        2 * STEP / np.median(exact.spikes["out"].times), rel=1e-15, abs=0.0
    )
    continuous = compare(exact, replace(exact, name="model"), window=STEP)
    assert continuous.tolerance == pytest.approx(2.0**-26, rel=1e-15, abs=0.0)
    assert depths(["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("a", "c"), ("c", "b"), ("c", "d")]) == {
        "a": 0,
        "b": 1,
        "c": 1,
        "d": 2,
    }


def test_limits_are_broken_just_beyond_them():
    exact = exact_record()
    model = model_of(exact, weight=exact.weight | {SECOND: 1.5 * exact.weight[SECOND]})
    found = compare(exact, model)
    error, cosine = found.weight[SECOND].mean.relative_error, found.weight[SECOND].mean.cosine
    assert broken_limits(found, max_error=error, min_cosine=cosine) == []
    assert len(broken_limits(found, max_error=math.nextafter(error, 0.0))) == 1
    assert len(broken_limits(found, min_cosine=math.nextafter(cosine, 2.0))) >= 1
    assert broken_limits(found) == []


def test_the_worst_spike_is_in_the_sample_whose_gradients_are_furthest_off():
    exact = exact_record()
    wrong = exact.weight[FIRST].copy()
    wrong[2] += 1.0
    wrong[1] -= 0.5
    off = exact.spike_times["hidden"].copy()
    here = np.flatnonzero(exact.spikes["hidden"].samples == 2)
    off[here[3]] -= 4.0
    off[here[1]] += 2.0
    off[np.flatnonzero(exact.spikes["hidden"].samples == 0)[0]] += 100.0
    model = model_of(
        exact, weight=exact.weight | {FIRST: wrong}, spike_times=exact.spike_times | {"hidden": off}
    )
    found = worst_spike(compare(exact, model))
    assert (found.kind, found.population, found.sample) == ("matched", "hidden", 2)
    assert found.neuron == exact.spikes["hidden"].neurons[here[3]]
    assert found.time == exact.spikes["hidden"].times[here[3]]


def test_sizes_of_projections_and_populations_do_not_decide_which_spike_is_the_worst():
    record = exact_record()
    # every weight of the first projection, and every dL/dt of its population, is a million times as large
    large = {"hidden": 1e6 * record.spike_times["hidden"]}
    exact = altered(
        record,
        weight=record.weight | {FIRST: 1e6 * record.weight[FIRST]},
        spike_times=record.spike_times | large,
    )
    first, second = exact.weight[FIRST].copy(), exact.weight[SECOND].copy()
    first[0] += 10.0
    second[2] += 0.5
    hidden, out = (exact.spike_times[name].copy() for name in ("hidden", "out"))
    here = {name: np.flatnonzero(exact.spikes[name].samples == 2) for name in ("hidden", "out")}
    hidden[here["hidden"][1]] += 10.0
    out[here["out"][2]] += 0.5
    model = model_of(
        exact,
        weight=exact.weight | {FIRST: first, SECOND: second},
        spike_times=exact.spike_times | {"hidden": hidden, "out": out},
    )
    found = worst_spike(compare(exact, model))
    place = here["out"][2]
    assert (found.kind, found.population, found.sample) == ("matched", "out", 2)
    assert (found.neuron, found.time) == (
        exact.spikes["out"].neurons[place],
        exact.spikes["out"].times[place],
    )


def test_of_missed_and_extra_spikes_of_a_population_the_earliest_is_the_worst():
    exact = exact_record()

    def changed(lists):
        lists[1][2].pop(1)
        lists[1][0].insert(0, 0.1e-3)

    found = worst_spike(compare(exact, with_train(exact, "hidden", changed)))
    assert (found.kind, found.sample, found.neuron, found.time) == ("extra", 1, 0, 0.1e-3)


def test_trains_that_are_too_long_to_be_paired_together_are_all_paired():
    # each of the two has 2001 times 2000 possible pairs, which is as much as is looked at at a time
    n = 2000
    times = 1e-3 * np.arange(1, n + 2)
    exact = es.SpikeTrains.from_lists([[times, times], [[], times[:3]]])
    model = es.SpikeTrains.from_lists([[times[1:] + 1e-4, times[:-1] - 1e-4], [[], times[:2]]])
    match = match_spikes("out", exact, model, 0.5e-3)
    assert (match.exact_index.size, match.missed.size, match.extra.size) == (2 * n + 2, 3, 0)
    places = [(int(exact.samples[k]), int(exact.neurons[k]), float(exact.times[k])) for k in match.missed]
    assert sorted(places) == [(0, 0, times[0]), (0, 1, times[-1]), (1, 1, times[2])]
