"""Do contributions add up, agree with other ways to find them, and blame what was done?"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import create_autospec

import numpy as np
import pytest
from cores import chain_problem
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.compare import agreement
from validation.attribution import Ablation, attribute
from validation.attribution.causes import LEAST_PAIRS
from validation.attribution.changes import changed
from validation.attribution.shapley import changes, estimated, order_pairs
from validation.fixedpoint import ArithmeticUnit, FixedFormat
from validation.oracle import oracle
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core, Switches

EPS = np.finfo(float).eps
DT = 1e-3
FEW = ("input_grid", "spike_grid", "late_jump", "weight_format")


def ablation(*few, core=None, **options):
    """Only a few switches are attributed to; all others are kept on."""
    core = core or SpiNNaker2Core(DT, "s16.15")
    kept = tuple(name for name in Switches.names() if name not in few)
    return Ablation(es.Problem(*chain_problem()), core, kept, **options)


def last(iterator):
    *_, result = iterator
    return result


# -- orders and Shapley values


def exact_shapley(players, worth):
    """By the sum over coalitions, with factorials, of the definition."""
    n, values = len(players), []
    for player in players:
        others = [p for p in players if p != player]
        values.append(
            sum(
                math.factorial(k) * math.factorial(n - 1 - k) / math.factorial(n)
                * (worth[frozenset({*c, player})] - worth[frozenset(c)])
                for k in range(n)
                for c in itertools.combinations(others, k)
            )
        )  # fmt: skip
    return np.stack(values)


def game(players, seed):
    rng = np.random.default_rng(seed)
    return {
        frozenset(c): rng.normal(size=3)
        for k in range(len(players) + 1)
        for c in itertools.combinations(players, k)
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_mean_over_all_orders_is_the_shapley_value(n, seed):
    players = tuple("abcde"[:n])
    worth = game(players, seed)
    every = [changes(order, players, worth) for order in itertools.permutations(players)]
    np.testing.assert_allclose(estimated(every).values, exact_shapley(players, worth), atol=1e-12)


def test_sampled_values_are_unbiased_and_their_standard_errors_right():
    """Over 400 independent estimates: their mean within 5 of its standard errors, and their variance that of the mean
    squared standard error, within what 400 draws leave to chance (a relative 0.07 each for normal ones, 5 of them)."""
    players = tuple("abcde")
    worth = game(players, 1)
    found = [
        estimated(
            [
                (changes(one, players, worth) + changes(other, players, worth)) / 2
                for one, other in itertools.islice(order_pairs(players, seed), 16)
            ]
        )
        for seed in range(400)
    ]
    values = np.stack([f.values for f in found])
    off = np.abs(values.mean(axis=0) - exact_shapley(players, worth))
    assert (off <= 5 * values.std(axis=0) / math.sqrt(400)).all()
    claimed = np.mean([f.standard_errors**2 for f in found], axis=0)
    assert np.abs(claimed / values.var(axis=0, ddof=1) - 1).max() < 5 * math.sqrt(2 / 400)


# -- contributions add up


@pytest.fixture(scope="module")
def found():
    return last(attribute(ablation(*FEW), tolerance=1e-9, max_pairs=6))


def test_a_waterfall_and_shapley_values_add_up_to_the_chips_error(found):
    n = len(found.ablation.quantities)
    scale = np.abs(found.levels[:, :n]).max(axis=0)
    for k, quantity in enumerate(found.ablation.quantities):
        parts = list(found.waterfall(quantity).values())
        assert abs(math.fsum(parts) - found.errors[quantity]) <= 2 * len(parts) * EPS * scale[k]
        blamed = math.fsum(value for value, _ in found.blame(quantity).values())
        rest = found.errors[quantity] - found.levels[0, k]
        assert abs(blamed - rest) <= 32 * len(FEW) * EPS * max(scale[k], 1e-3)


def test_synapse_by_synapse_contributions_add_up_to_the_chips_gradient(found):
    for key in found.ablation.projections:
        none, chip = found.ablation.gradients(found.levels[[0, -1]])[key]
        total = sum(found.synapses(key).values())
        np.testing.assert_allclose(none + total, chip, rtol=0, atol=64 * EPS * np.abs(found.levels).max())
        assert sum(found.shares(key).values()) == pytest.approx(1.0, abs=1e-9)


def test_the_chips_errors_are_those_of_its_own_record(found):
    s = found.ablation
    record = s.target.run(s.problem)
    network = s.problem.network
    exact = oracle(replace(s.problem, network=network.with_delays(dict.fromkeys(network.projections, DT))))
    for key, label in ((("in", "hidden"), "in → hidden"), (("hidden", "out"), "hidden → out")):
        want = agreement(exact.weight[key].mean(axis=0), record.weight[key].mean(axis=0)).relative_error
        assert found.errors[f"dL/dw of {label}"] == pytest.approx(want, rel=1e-12, abs=0.0)


def test_sampled_shapley_values_are_those_of_all_sets_of_switches(found):
    worth = {}
    s = found.ablation
    for k in range(len(FEW) + 1):
        for c in itertools.combinations(s.causes, k):
            worth[frozenset(c)] = s.observed(s.run(c))
    exact = exact_shapley(s.causes, worth)
    many = last(attribute(s, tolerance=0.02, max_pairs=2000, seed=3))
    n = len(s.quantities)
    allowed = 0.02 * many.levels[-1, :n]  # what a standard error may be in the end
    assert many.settled
    assert many.shapley.n_pairs < 2000
    assert (many.shapley.standard_errors[:, :n] <= allowed).all()
    assert (np.abs(many.shapley.values - exact)[:, :n] <= 5 * allowed).all()
    np.testing.assert_array_equal(many.alone[0], worth[frozenset({s.causes[0]})] - worth[frozenset()])


def test_it_ends_with_enough_pairs_of_orders_however_exact_the_first_ones_are(monkeypatch):
    """A game that any pair of orders solves exactly: each player is worth 1, and two of them another 3 together."""

    game = create_autospec(Ablation, instance=True, causes=("a", "b", "c"), quantities=("together", "each"))

    def observe(ablation, on):
        return np.array([10.0 + 3.0 * on.issuperset("ab"), 1.0 + len(on)])

    monkeypatch.setattr("validation.attribution.causes.observe", observe)
    found = list(attribute(game, tolerance=1e-3))
    assert [one.settled for one in found] == [False] * LEAST_PAIRS + [True]
    assert LEAST_PAIRS == 16
    np.testing.assert_allclose(found[-1].shapley.values, [[1.5, 1.0], [1.5, 1.0], [0.0, 1.0]], rtol=1e-14)
    np.testing.assert_array_equal(found[0].alone, [[0.0, 1.0]] * 3)
    np.testing.assert_array_equal(found[0].without, [[3.0, 1.0], [3.0, 1.0], [0.0, 1.0]])


def test_an_executor_changes_no_bit():
    s = ablation("input_grid", "late_jump")
    here = last(attribute(s, max_pairs=3, seed=5))
    with ThreadPoolExecutor(2) as pool:
        there = last(attribute(s, max_pairs=3, seed=5, executor=pool))
    np.testing.assert_array_equal(here.shapley.values, there.shapley.values)


# -- blame goes where it belongs


def test_with_the_delay_kept_a_perfect_system_has_no_error():
    """All but the delay off: what remains is rounding, as the exact network has that delay."""
    s = Ablation(es.Problem(*chain_problem()), SpiNNaker2Core(DT, "float64"))
    none = s.observed(s.run(()))[: len(s.quantities)]
    assert (none < 1e-9).all()
    late = Ablation(es.Problem(*chain_problem()), SpiNNaker2Core(DT, "float64"), kept=())
    assert late.observed(late.run(("step_delay",)))[0] > DT / 2


def test_alone_a_weight_format_makes_the_error_of_rounded_weights():
    arithmetic = replace(Arithmetic.preset("s16.15"), weight=FixedFormat(4, 4))
    s = Ablation(es.Problem(*chain_problem()), SpiNNaker2Core(DT, arithmetic))
    found = next(attribute(s, max_pairs=0))
    rounded = {
        k: ArithmeticUnit("nearest_even").quantize(p.weight, FixedFormat(4, 4)) / 16.0
        for k, p in s.exact_problem.network.projections.items()
    }
    there = oracle(replace(s.exact_problem, network=s.exact_problem.network.with_weights(rounded)))
    want = s.observed(there) - s.observed(s.exact)
    np.testing.assert_allclose(
        found.alone[s.causes.index("weight_format")], want, rtol=0, atol=1e-8 * np.abs(want).max()
    )


# -- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kept": ("delay",)}, r"causes of .* are .*; got \['delay'\]"),
        ({"kept": Switches.names()}, "kept must leave a cause"),
        ({"window": 0.0}, "window must be > 0 seconds; got 0.0"),
    ],
)
def test_studies_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        Ablation(es.Problem(*chain_problem()), SpiNNaker2Core(DT), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": ["late_jump"]}, "order must hold each of input_grid, late_jump once; got late_jump"),
        ({"tolerance": 0.0}, "tolerance must be > 0; got 0.0"),
        ({"max_pairs": -1}, "max_pairs must be an integer >= 0; got -1"),
    ],
)
def test_attributions_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        next(attribute(ablation("input_grid", "late_jump"), **options))


# -- spikes that changed


@pytest.fixture(scope="module")
def coarse():
    return changed(Ablation(es.Problem(*chain_problem(seed=4, n_samples=8)), SpiNNaker2Core(2e-3, "s16.15")))


def test_the_part_of_changed_samples_is_what_their_own_gradients_are_off(coarse):
    c = coarse.comparison
    assert 0 < coarse.n_changed < coarse.n_samples
    for key, share in coarse.shares.items():
        inside = outside = 0.0
        for k in range(coarse.n_samples):
            square = float(np.linalg.norm(c.model.weight[key][k] - c.exact.weight[key][k])) ** 2
            inside, outside = (
                (inside + square, outside) if c.differing_samples[k] else (inside, outside + square)
            )
        assert share == pytest.approx(inside / (inside + outside), rel=1e-12, abs=0.0)


def test_changed_spikes_are_those_that_only_one_has_with_their_margins(coarse):
    """Margins by the exact voltage at their time: at an extra spike's peak, and as the overshoot of a missed spike."""
    c = coarse.comparison
    assert sum(s.kind == "missed" for s in coarse.spikes) == c.missed > 0
    assert sum(s.kind == "extra" for s in coarse.spikes) == c.extra > 0
    net, inputs, t_end, _ = chain_problem(seed=4, n_samples=8)
    solution = es.solve(net.with_delays(dict.fromkeys(net.projections, 2e-3)), inputs, t_end)
    for spike in coarse.spikes:
        trains = (c.exact if spike.kind == "missed" else c.model).spikes[spike.population]
        here = (trains.samples == spike.sample) & (trains.neurons == spike.neuron)
        assert spike.time in trains.times[here]
        assert spike.margin > 0
        if spike.kind == "extra" and np.isfinite(spike.margin):
            peak = solution.voltage(spike.population, [spike.margin_time])[spike.sample, spike.neuron, 0]
            assert peak == pytest.approx(1 - spike.margin, abs=1e-9)
        if spike.kind == "missed":
            assert spike.margin_time == spike.time
