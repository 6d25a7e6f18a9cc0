"""Does the comparison find what was planted, and nothing else?"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.compare import agreement, compare, worst_spike
from eventsolve.compare.comparison import broken_limits
from eventsolve.compare.matching import match_spikes
from eventsolve.io.records import Record
from tests.shared.records import altered
from validation.oracle import oracle

STEP = 1e-3
SIZES = {"in": 2, "hidden": 4, "out": 3}
FIRST, SECOND = ("in", "hidden"), ("hidden", "out")


def exact_record(n_samples=3, seed=0):
    """Two spikes per neuron and sample, 10 ms apart, and random gradients."""
    random = np.random.default_rng(seed)
    spikes = {
        name: es.SpikeTrains.from_dense(
            random.uniform(1e-3, 8e-3, (n_samples, size, 1)) + np.array([0.0, 10e-3])
        )
        for name, size in SIZES.items()
    }
    return Record(
        name="exact",
        spikes=spikes,
        loss_values=random.uniform(1, 2, n_samples),
        gradients={
            "spike_times": {name: random.normal(size=trains.n_spikes) for name, trains in spikes.items()},
            "weight": {
                key: random.normal(size=(n_samples, SIZES[key[1]], SIZES[key[0]])) for key in (FIRST, SECOND)
            },
        },
        reduction="none",
    )


def model_of(record, **changes):
    return altered(record, name="model", time_step=STEP, **changes)


def with_train(record, population, change):
    """The record with another list of times in one population; dL/dt of new spikes is 1."""
    lists = record.spikes[population].to_lists()
    change(lists)
    trains = es.SpikeTrains.from_lists(lists)
    times = record.spike_times | {population: np.ones(trains.n_spikes)}
    return model_of(record, spikes=record.spikes | {population: trains}, spike_times=times)


def optimal_pairs(e, m, window):
    """All pairings that keep the order, tried one by one: (most pairs, smallest sum of shifts)."""
    best = (0, 0.0)
    for n in range(1, min(len(e), len(m)) + 1):
        for a in combinations(e, n):
            for b in combinations(m, n):
                shift = np.abs(np.subtract(a, b))
                if (shift <= window).all() and (n, -shift.sum()) > (best[0], -best[1]):
                    best = (n, shift.sum())
    return best


def test_a_record_agrees_with_itself():
    exact = exact_record()
    result = compare(exact, model_of(exact))
    assert (result.missed, result.extra, result.first, result.first_backward) == (0, 0, None, None)
    for weight in result.weight.values():
        assert weight.mean.relative_error == 0
        assert weight.mean.cosine == pytest.approx(1, abs=1e-15)
        assert weight.mean.sign_agreement == 1
    assert broken_limits(result, max_error=0.0, min_cosine=0.99) == []


def test_a_planted_missed_spike_is_found():
    exact = exact_record()
    model = with_train(exact, "hidden", lambda lists: lists[1][2].pop(0))
    result = compare(exact, model)
    match = result.spikes["hidden"]
    (k,) = match.missed
    assert match.extra.size == 0
    assert (match.exact.samples[k], match.exact.neurons[k]) == (1, 2)
    assert match.exact.times[k] == exact.spikes["hidden"].to_lists()[1][2][0]
    np.testing.assert_array_equal(result.differing_samples, [False, True, False])
    assert (result.first.kind, result.first.where) == ("spikes", "hidden")
    worst = worst_spike(result)
    assert (worst.kind, worst.population, worst.sample, worst.neuron) == ("missed", "hidden", 1, 2)


def test_the_worst_sample_is_by_errors_relative_to_their_projection():
    exact = exact_record()
    exact = model_of(exact, weight={FIRST: 1e-6 * exact.weight[FIRST], SECOND: 10.0 * exact.weight[SECOND]})
    first, second = exact.weight[FIRST].copy(), exact.weight[SECOND].copy()
    first[1] *= 2.0
    second[0] *= 1.001

    def without(lists):
        for sample in (0, 1):
            next(times for times in lists[sample] if times).pop(0)

    model = with_train(model_of(exact, weight={FIRST: first, SECOND: second}), "hidden", without)
    result = compare(exact, model)
    np.testing.assert_array_equal(result.differing_samples[:2], [True, True])
    assert worst_spike(result).sample == 1


def test_a_planted_extra_spike_is_found():
    exact = exact_record()
    result = compare(exact, with_train(exact, "out", lambda lists: lists[2][0].append(40e-3)))
    (k,) = result.spikes["out"].extra
    assert result.missed == 0
    assert result.spikes["out"].model.times[k] == 40e-3
    assert worst_spike(result).kind == "extra"


def test_a_planted_shift_is_measured_and_not_called_missed():
    exact = exact_record()

    def later(lists):
        lists[0][1][1] += 1.5 * STEP

    match = compare(exact, with_train(exact, "hidden", later)).spikes["hidden"]
    assert match.missed.size == match.extra.size == 0
    assert match.max_shift == pytest.approx(1.5 * STEP, rel=1e-12, abs=0.0)
    assert match.mean_shift == pytest.approx(1.5 * STEP / match.exact.n_spikes, rel=1e-12, abs=0.0)


def test_a_shift_beyond_the_window_is_one_missed_and_one_extra():
    exact = exact_record()

    def later(lists):
        lists[0][1][1] += 3 * STEP

    result = compare(exact, with_train(exact, "hidden", later), window=2 * STEP)
    assert (result.missed, result.extra) == (1, 1)


def test_the_default_window_grows_with_depth():
    exact = exact_record()
    result = compare(exact, model_of(exact))
    assert {name: match.window / STEP for name, match in result.spikes.items()} == pytest.approx(
        {"in": 1.5, "hidden": 2.5, "out": 3.5}
    )
    with pytest.raises(ValueError, match="window"):
        compare(exact, replace(exact, name="continuous"))


@pytest.mark.parametrize("seed", range(20))
def test_pairing_is_optimal(seed):
    random = np.random.default_rng(seed)
    window = random.choice([0.0, 0.5, 1.0, 2.0])
    trains = [
        [[np.unique(random.integers(0, 24, random.integers(0, 6)) / 4) for _ in range(6)] for _ in range(2)]
        for _ in range(2)
    ]
    e, m = (es.SpikeTrains.from_lists(t) for t in trains)
    match = match_spikes("p", e, m, window)
    for sample in range(2):
        for neuron in range(6):
            n, shift = optimal_pairs(trains[0][sample][neuron], trains[1][sample][neuron], window)
            here = (e.samples[match.exact_index] == sample) & (e.neurons[match.exact_index] == neuron)
            assert here.sum() == n
            assert np.abs(match.shift[here]).sum() == pytest.approx(shift)
            assert (np.diff(match.model_index[here]) > 0).all()
    assert match.exact_index.size + match.missed.size == e.n_spikes
    assert match.model_index.size + match.extra.size == m.n_spikes


def test_a_planted_sign_flip_shows_in_signs_and_cosine():
    exact = exact_record()
    flipped = exact.weight[SECOND].copy()
    flipped[:, 0, 0] *= -1
    result = compare(exact, model_of(exact, weight=exact.weight | {SECOND: flipped}))
    n = flipped[0].size
    assert result.weight[SECOND].mean.sign_agreement == pytest.approx(1 - 1 / n)
    assert result.weight[SECOND].mean.cosine < 1
    assert result.weight[FIRST].mean.relative_error == 0
    assert (result.first.kind, result.first.where) == ("dL/dw", "hidden → out")
    assert result.first == result.first_backward


def test_the_one_wrong_synapse_is_the_worst():
    exact = exact_record()
    wrong = exact.weight[FIRST].copy()
    wrong[:, 2, 1] += 0.25
    weight = compare(exact, model_of(exact, weight=exact.weight | {FIRST: wrong})).weight[FIRST]
    worst = weight.worst(3)[0]
    assert (worst.post, worst.pre) == (2, 1)
    assert worst.error == pytest.approx(0.25)
    assert np.flatnonzero(weight.absolute_error > 1e-12).size == 1
    assert weight.relative_error[2, 1] == pytest.approx(0.25 / abs(worst.exact))


def test_dl_dt_is_compared_over_paired_spikes():
    exact = exact_record()
    times = exact.spike_times["hidden"].copy()
    times[5] += 2.0
    result = compare(exact, model_of(exact, spike_times=exact.spike_times | {"hidden": times}))
    assert result.spike_times["hidden"].absolute_error.max() == pytest.approx(2.0)
    assert (result.first.kind, result.first.where) == ("dL/dt", "hidden")
    worst = worst_spike(result)
    assert (worst.kind, worst.population, worst.sample) == ("matched", "hidden", 0)
    assert worst.neuron == exact.spikes["hidden"].neurons[5]


def test_samples_with_differing_spikes_are_told_apart():
    exact = exact_record()
    wrong = exact.weight[FIRST].copy()
    wrong[1] *= 3
    model = with_train(exact, "hidden", lambda lists: lists[1][2].pop(0))
    result = compare(exact, altered(model, weight=exact.weight | {FIRST: wrong}))
    split = result.weight[FIRST].samples
    assert split.matching.relative_error == 0
    assert split.differing.relative_error == pytest.approx(2)
    assert 0 < split.everything.relative_error < 2
    assert [sample.relative_error for sample in result.weight[FIRST].per_sample] == pytest.approx([0, 2, 0])


def test_spikes_that_no_gradient_depends_on_do_not_make_a_sample_differ():
    exact = exact_record()
    trains = exact.spikes["hidden"]
    place = int(np.flatnonzero((trains.samples == 1) & (trains.neurons == 2))[0])

    def differing(dl_dt):
        times = exact.spike_times["hidden"].copy()
        times[place] = dl_dt
        known = altered(exact, spike_times=exact.spike_times | {"hidden": times})
        lacking = with_train(known, "hidden", lambda lists: lists[1][2].pop(0))
        missed, extra = compare(known, lacking), compare(lacking, replace(known, time_step=STEP))
        assert missed.missed == extra.extra == 1
        np.testing.assert_array_equal(missed.differing_samples, extra.differing_samples)
        return missed.differing_samples.tolist()

    assert differing(0.0) == [False, False, False]
    assert differing(1e-300) == [False, True, False]
    assert differing(np.nan) == [False, True, False]


def test_stages_come_in_the_order_of_the_computation():
    result = compare(exact_record(), model_of(exact_record()))
    assert [(stage.kind, stage.where) for stage in result.stages] == [
        ("spikes", "in"),
        ("spikes", "hidden"),
        ("spikes", "out"),
        ("loss", ""),
        ("dL/dt", "out"),
        ("dL/dw", "hidden → out"),
        ("dL/dt", "hidden"),
        ("dL/dw", "in → hidden"),
        ("dL/dt", "in"),
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_everything(bad):
    exact = exact_record()
    wrong = exact.weight[SECOND].copy()
    wrong[0, 1, 2] = bad
    result = compare(exact, model_of(exact, weight=exact.weight | {SECOND: wrong}), tolerance=1e9)
    assert result.first.where == "hidden → out"
    said = f"not finite in 1 of {wrong.size} entries, entry [0, 1, 2] is {bad}"
    for limits in ({"max_error": 1e9}, {"min_cosine": -1.0}, {"max_error": 1e9, "min_cosine": -1.0}):
        assert broken_limits(result, **limits) == [f"dL/dw of hidden → out: {said}"]
    assert broken_limits(result) == []
    both = {key: np.full_like(values, bad) for key, values in exact.weight.items()}
    everywhere = broken_limits(compare(exact, model_of(exact, weight=both)), max_error=1e9)
    assert [sentence.partition(": not finite in ")[0] for sentence in everywhere] == [
        "dL/dw of hidden → out",
        "dL/dw of in → hidden",
    ]
    assert said in repr(result)
    worst = result.weight[SECOND].worst(1)[0]
    assert (worst.post, worst.pre) == (1, 2)
    loss = compare(exact, model_of(exact, loss_values=np.full(3, bad)), tolerance=1e9)
    assert loss.first.kind == "loss"
    kind = "not a number" if np.isnan(bad) else "infinite"
    assert f"got {bad!r}, which is {kind} (" in str(loss.first.divergence)
    assert str(loss.first.divergence).endswith("3 of 3 are off, 3 of them not finite")


def test_zero_against_zero_and_zero_against_something():
    zero, one = np.zeros(3), np.ones(3)
    assert (agreement(zero, zero).relative_error, agreement(zero, zero).cosine) == (0, 1)
    assert (agreement(zero, one).relative_error, agreement(zero, one).cosine) == (np.inf, 0)
    assert (agreement(one, zero).relative_error, agreement(one, zero).cosine) == (1, 0)
    assert agreement(1e-200 * one, 2e-200 * one).relative_error == pytest.approx(1)


def test_an_empty_batch_agrees():
    exact = exact_record(n_samples=0)
    result = compare(exact, model_of(exact))
    assert result.first is None
    assert worst_spike(result) is None


def test_records_that_cannot_be_compared_are_refused():
    exact = exact_record()
    with pytest.raises(ValueError, match=r"weight must be of .* that 'exact' has.*'model' has .*nowhere"):
        compare(exact, model_of(exact, weight=exact.weight | {("in", "nowhere"): exact.weight[FIRST]}))
    with pytest.raises(ValueError, match=r"weight of .* must have one shape"):
        compare(exact, model_of(exact, weight={FIRST: exact.weight[FIRST][:1]}))
    with pytest.raises(ValueError, match="nothing in common"):
        compare(
            altered(exact, spike_times={}, loss_values=None, weight={}),
            model_of(exact, spikes={}, spike_times={}),
        )
    with pytest.raises(ValueError, match="loss"):
        compare(exact, model_of(exact, loss_values=exact.loss_values[:1]))
    with pytest.raises(ValueError, match="n_neurons"):
        compare(exact, model_of(exact, spikes=exact.spikes | {"in": exact.spikes["out"]}, spike_times={}))
    with pytest.raises(ValueError, match="window"):
        compare(exact, model_of(exact), window=np.nan)


@pytest.mark.parametrize(
    ("lacking", "listed"),
    [
        ({"weight": {}}, ["dL/dw of in → hidden", "dL/dw of hidden → out"]),
        ({"weight": {}, "spike_times": {}, "loss_values": None}, 6 * [""]),
        ({"loss_values": None}, ["loss"]),
    ],
)
def test_what_both_have_is_compared_and_the_rest_listed(lacking, listed):
    exact = exact_record()
    whole, result = compare(exact, model_of(exact)), compare(exact, model_of(exact, **lacking))
    assert whole.not_given == ()
    assert len(result.not_given) == len(listed)
    assert all(
        f"{words}" in said and "which model does not give" in said
        for words, said in zip(listed, result.not_given, strict=True)
    )
    assert {stage.label for stage in result.stages} < {stage.label for stage in whole.stages}
    assert result.first is None
    assert worst_spike(result) is None or not lacking.keys() >= {"spike_times"}
    # the other way round it is the exact record that does not give it
    other = compare(altered(exact, **lacking), model_of(exact))
    assert all("which exact does not give" in said for said in other.not_given)


def test_a_population_that_is_not_recorded_is_listed():
    exact = exact_record()
    spikes = {name: trains for name, trains in exact.spikes.items() if name != "out"}
    times = {name: values for name, values in exact.spike_times.items() if name != "out"}
    result = compare(exact, model_of(exact, spikes=spikes, spike_times=times))
    assert result.not_given == (
        "spikes of out, which model does not give",
        "dL/dt of out, which model does not give",
    )
    assert set(result.spikes) == {"in", "hidden"}


@pytest.mark.parametrize("layout", ["matrices", "by synapse", "dense"])
def test_a_sparse_projection_is_compared_by_synapse(layout):
    random = np.random.default_rng(3)
    weight = sp.csr_array(random.uniform(4, 8, (4, 2)) * [[1, 1], [0, 1], [1, 0], [1, 1]])
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 4, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", weight)
    inputs = {"in": es.SpikeTrains.from_dense(random.uniform(0, 5e-3, (3, 2)))}
    exact = oracle(
        es.Problem(
            net,
            inputs,
            60e-3,
            es.losses.TTFSCrossEntropy("out", [0, 1, 2], tau0=1e-3, tau1=6e-3, alpha=0.0, silent="t_end"),
        )
    )
    key = ("in", "out")
    matrices = [sp.csr_array((row, weight.indices, weight.indptr), weight.shape) for row in exact.weight[key]]
    right, wrong = ([w.copy() for w in matrices] for _ in range(2))
    wrong[1].data[3] += 1.0  # neuron 2 from input 0
    forms = {
        "matrices": lambda given: given,
        "by synapse": lambda given: np.stack([w.data for w in given]),
        "dense": lambda given: np.stack([w.toarray() for w in given]),
    }
    same = compare(exact, altered(exact, name="same", weight={key: forms[layout](right)}), window=0.0)
    assert same.first is None
    result = compare(exact, altered(exact, name="off", weight={key: forms[layout](wrong)}), window=0.0)
    assert result.first.label == "dL/dw of in → out"
    (worst,) = result.weight[key].worst(1)
    assert (worst.post, worst.pre) == (2, 0)
    assert worst.error == pytest.approx(1 / 3)
    assert result.weight[key].exact.shape == (3, 6)


def test_the_exact_record_agrees_with_itself_and_sums_to_the_batch_gradient():
    random = np.random.default_rng(3)
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 4, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.add_population("out", 3, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "hidden", random.uniform(4, 8, (4, 2)))
    net.connect("hidden", "out", random.uniform(4, 8, (3, 4)))
    inputs = {"in": es.SpikeTrains.from_dense(random.uniform(0, 5e-3, (6, 2)))}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1, 2, 0, 1, 2], tau0=1e-3, tau1=6e-3, alpha=3e-3)
    exact = oracle(es.Problem(net, inputs, 60e-3, loss))
    result = compare(exact, replace(exact, name="again"), window=0.0)
    assert exact.loss_values.shape == (6,)
    assert {key: weight.shape for key, weight in exact.weight.items()} == {
        FIRST: (6, 4, 2),
        SECOND: (6, 3, 4),
    }
    assert (result.missed, result.extra, result.first) == (0, 0, None)
    _, grads = es.value_and_grad(es.solve(net, inputs, t_end=60e-3), loss)
    for key, weight in result.weight.items():
        np.testing.assert_allclose(weight.mean_exact, grads.weight[key], rtol=1e-12, atol=1e-18)
