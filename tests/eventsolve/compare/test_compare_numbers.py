"""The numbers of a comparison, each beside one worked out by hand: a wrong sign, factor, mean or limit is noticed."""

import math
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import Stage, agreement, compare, worst_spike
from eventsolve.compare.comparison import Synapse, batch_mean, broken_limits, felt_spikes, label_of
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


def test_the_mean_of_a_batch_by_hand():
    values = np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 11.0]])
    assert batch_mean(values).tolist() == [4.0, 6.0]
    assert batch_mean(values[:1]).tolist() == [1.0, 2.0]
    assert batch_mean(values[:0]).tolist() == [0.0, 0.0]


def test_the_relative_error_of_a_synapse_by_hand():
    for exact, model, error in (
        (2.0, 3.0, 0.5),
        (1.0, 3.0, 2.0),
        (-1.0, -3.0, 2.0),
        (2.0, 2.0, 0.0),
        (1.0, 1.0, 0.0),
        (0.0, 1.0, math.inf),
        (0.0, -1.0, math.inf),
        (0.0, 0.0, 0.0),
    ):
        assert Synapse(0, 0, exact, model).relative_error == error
    assert math.isnan(Synapse(0, 0, 0.0, math.nan).relative_error)


def test_projections_have_arrows_and_their_own_names():
    assert label_of("out") == "out"
    assert label_of(("in", "out")) == "in → out"
    assert label_of(("in", "out", "slow")) == "in → out (slow)"


def test_a_comparison_says_in_one_line_where_two_part():
    exact = exact_record()
    assert "they agree within tolerance" in repr(compare(exact, model_of(exact)))
    other = compare(exact, model_of(exact, weight=exact.weight | {FIRST: 2 * exact.weight[FIRST]}))
    assert "they part at the dL/dw of in → hidden" in repr(other)


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


def shifted(exact, *errors):
    """A model that is off in gradients of a projection, or in dL/dt of a population, in one sample each."""
    weight = {key: values.copy() for key, values in exact.weight.items()}
    times = {name: values.copy() for name, values in exact.spike_times.items()}
    for key, sample, off in errors:
        if isinstance(key, tuple):
            weight[key][sample].flat[: len(off)] += off
        else:
            times[key][np.flatnonzero(exact.spikes[key].samples == sample)[: len(off)]] += off
    return model_of(exact, weight=weight, spike_times=times)


def of_size_one(record, **zero):
    """The record with gradients of size 1 and alternating sign, or all 0 where it says so."""
    sign = {
        key: np.where(np.arange(values.size) % 2, 1.0, -1.0).reshape(values.shape)
        for key, values in (record.weight | record.spike_times).items()
    }
    weight = {key: sign[key] * (key != zero.get("weight")) for key in record.weight}
    times = {name: sign[name] * (name != zero.get("times")) for name in record.spike_times}
    return altered(record, weight=weight, spike_times=times)


def test_the_worst_sample_is_by_squares_summed():
    """Of errors 1 and -1 in one sample, and 1.2 in another, the sums of squares are 2 and 1.44."""
    exact = of_size_one(exact_record())
    model = shifted(exact, (FIRST, 1, [1.0, -1.0]), (FIRST, 2, [1.2]))
    assert worst_spike(compare(exact, model)).sample == 1


def test_gradients_that_should_vanish_count_as_they_are():
    exact = of_size_one(exact_record(), weight=FIRST)
    model = shifted(exact, (FIRST, 1, [1.5]), (SECOND, 2, [1.0]))
    assert worst_spike(compare(exact, model)).sample == 1
    exact = of_size_one(exact_record(), times="hidden")
    for off, population in ((1.5, "hidden"), (0.0, "out")):
        model = shifted(exact, ("hidden", 0, [off]), ("out", 0, [1.0]))
        assert worst_spike(compare(exact, model)).population == population


def test_errors_of_spike_times_are_relative_to_the_largest_of_their_population():
    exact = of_size_one(exact_record())
    large = exact.spike_times["hidden"].copy()
    large[-1] = 10.0  # of another sample
    exact = altered(exact, spike_times=exact.spike_times | {"hidden": large})
    found = worst_spike(compare(exact, shifted(exact, ("hidden", 0, [1.0]), ("out", 0, [0.5]))))
    assert (found.population, found.sample) == ("out", 0)


def test_a_gradient_of_the_whole_batch_tells_no_samples_apart():
    record = exact_record()
    means = {"weight": {key: values.mean(axis=0) for key, values in record.weight.items()}}
    exact = replace(
        record,
        reduction="mean",
        loss_values=record.loss_values.mean(),
        gradients=record.gradients | means,
    )
    off = exact.weight | {FIRST: exact.weight[FIRST] + 1.0}
    result = compare(exact, model_of(exact, weight=off))
    assert result.weight[FIRST].exact.shape == (1, 4, 2)
    assert worst_spike(result).sample == 0
    late = with_train(altered(exact, weight=off), "out", lambda lists: lists[2][1].pop(0))
    found = worst_spike(compare(exact, late))
    assert (found.kind, found.sample, found.neuron) == ("missed", 2, 1)


def test_where_all_agree_the_first_spike_of_the_first_sample_is_named():
    exact = exact_record()
    trains = exact.spikes["hidden"]
    found = worst_spike(compare(exact, model_of(exact)))
    assert (found.kind, found.population, found.sample) == ("matched", "hidden", 0)
    assert found.time == trains.times[(trains.samples == 0) & (trains.neurons == found.neuron)][0]


def test_the_spike_that_is_named_is_of_the_worst_sample_though_its_own_derivatives_agree():
    exact = of_size_one(exact_record())
    found = worst_spike(
        compare(exact, shifted(exact, (SECOND, 2, [1.0]), ("hidden", 0, [0.5]), ("out", 1, [0.5])))
    )
    trains = exact.spikes["hidden"]
    assert (found.population, found.sample) == ("hidden", 2)
    assert found.time in trains.times[(trains.samples == 2) & (trains.neurons == found.neuron)]


def test_a_population_that_is_silent_in_the_worst_sample_has_no_worst_spike():
    record = exact_record()

    def without(*names):
        spikes, times = dict(record.spikes), dict(record.spike_times)
        for name in names:
            keep = record.spikes[name].samples != 2
            lists = record.spikes[name].to_lists()
            lists[2] = [[] for _ in lists[2]]
            spikes[name], times[name] = es.SpikeTrains.from_lists(lists), record.spike_times[name][keep]
        exact = replace(record, spikes=spikes, gradients=record.gradients | {"spike_times": times})
        wrong = exact.weight[FIRST].copy()
        wrong[2] += 1.0
        return worst_spike(compare(exact, model_of(exact, weight=exact.weight | {FIRST: wrong})))

    assert (without().population, without().sample) == ("hidden", 2)
    assert (without("hidden").population, without("hidden").sample) == ("out", 2)
    assert without("hidden", "out") is None


def test_of_samples_whose_spikes_differ_the_worst_is_one_whatever_its_error():
    exact = exact_record()
    found = worst_spike(compare(exact, with_train(exact, "out", lambda lists: lists[1][2].pop(0))))
    assert (found.kind, found.population, found.sample, found.neuron) == ("missed", "out", 1, 2)


def test_spikes_that_are_felt_have_a_derivative_other_than_0():
    exact = exact_record(n_samples=1)
    times = np.array([0.0, 1.0, -1.0, math.nan, 0.0, 2.0])
    known = altered(exact, spike_times={"out": times})
    chosen = np.array([5, 4, 3, 2, 1])
    assert felt_spikes(known, "out", chosen).tolist() == [5, 3, 2, 1]
    assert felt_spikes(known, "hidden", chosen).tolist() == chosen.tolist()


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
