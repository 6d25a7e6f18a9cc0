"""First spikes and their derivatives from closed forms, which share nothing with the solver, beside it."""

import numpy as np
import pytest
from bss2 import TAU
from comparing import Comparison
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from validation.brainscales2.closed_forms import RATIOS, SLOPES, first_spikes, kernel, slopes

EPS = float(np.finfo(np.float64).eps)
cases = settings(max_examples=15, deadline=None)


def draw(seed, ratio):
    """Inputs in tau, weights and thresholds of one layer, about half of whose neurons spike early."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0.0, 4.0, (6, 8))
    weights = rng.normal(1.0, 1.0, (8, 5)) * ratio
    return times, weights, rng.uniform(0.7, 1.5, 5)


def solved(times, weights, level, ratio):
    net = es.Network()
    net.add_input("in", times.shape[1])
    net.add_population("out", level.size, es.LIF(ratio * TAU, TAU, v_threshold=level, t_ref=1.0))
    net.connect("in", "out", weights.T)
    return es.solve(net, {"in": es.SpikeTrains.from_dense(times * TAU)}, 60 * TAU)


@pytest.mark.parametrize("ratio", RATIOS)
@cases
@given(seed=st.integers(0, 2**32 - 1))
def test_first_spikes_are_the_solvers(ratio, seed):
    times, weights, level = draw(seed, ratio)
    solution = solved(times, weights, level, ratio)
    found, want = first_spikes(times, weights, level, ratio), solution.spikes["out"].first() / TAU
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(want))
    # both are off by some roundings of each term of V, of which each sum has twice as many as there are inputs, and
    # which cancel to V, against V' at the crossing
    spiking = np.isfinite(want)
    at = np.where(spiking, want, -np.inf)
    causal = times[:, :, None] < at[:, None]
    k, rise, current = kernel(np.where(causal, at[:, None] - times[:, :, None], 0.0), ratio)
    terms = (np.abs(weights) * np.where(causal, k + 2 * current * (1 + at[:, None]), 0.0)).sum(axis=1)
    slope = (weights * np.where(causal, rise, 0.0)).sum(axis=1)
    rounding = 32 * EPS * terms[spiking]
    off = np.abs(found[spiking] - want[spiking])
    assert (off <= rounding / slope[spiking] + EPS * want[spiking]).all()


@pytest.mark.parametrize("ratio", RATIOS)
@cases
@given(seed=st.integers(0, 2**32 - 1))
def test_derivatives_are_those_of_the_solver_by_every_slope(ratio, seed):
    times, weights, level = draw(seed, ratio)
    solution = solved(times, weights, level, ratio)
    trains = solution.spikes["out"]
    at = trains.first() / TAU
    causal = times[:, :, None] < np.where(np.isfinite(at), at, -np.inf)[:, None]
    since = np.where(causal, at[:, None] - times[:, :, None], 0.0)
    value, rise, _ = kernel(since, ratio)
    condition = es.gradient_condition(solution)
    limit = np.full((2, *at.shape), np.inf)
    for k, name in enumerate(("weight", "spike_times")):
        limit[k, trains.samples, trains.neurons] = 2 * condition.errors[name]["out"]
    compared = Comparison()
    for n in range(level.size):
        one = es.vjp(solution, {"out": (trains.neurons == n).astype(float)}, reduction="none")
        by_time = np.zeros(times.shape)
        inputs = solution.spikes["in"]
        by_time[inputs.samples, inputs.neurons] = one.spike_times["in"]
        felt = np.isfinite(at[:, n])
        for kind in SLOPES:
            finite = np.where(np.isfinite(at), at, 0.0)
            slope = slopes(times[:, :, None], weights, finite, causal, level, ratio, kind)[:, n][:, None]
            dw = np.where(causal[:, :, n], -value[:, :, n], 0.0)[felt] / slope[felt] * TAU
            dt = np.where(causal[:, :, n], weights[:, n] * rise[:, :, n], 0.0)[felt] / slope[felt]
            # twice the solver's own error: V' of "crossing" and "threshold" is off by roundings of V, as its time is
            compared.close(dw, one.weight["in", "out"][:, n][felt], limit[0, felt, n][:, None], kind)
            compared.close(dt, by_time[felt], limit[1, felt, n][:, None], kind)
    compared.demand(0.2)


@pytest.mark.parametrize("ratio", RATIOS)
def test_derivatives_are_central_differences_of_the_closed_form(ratio):
    rng = np.random.default_rng(5)
    times, weights, level = draw(5, ratio)
    at = first_spikes(times, weights, level, ratio)
    causal = times[:, :, None] < np.where(np.isfinite(at), at, -np.inf)[:, None]
    since = np.where(causal, at[:, None] - times[:, :, None], 0.0)
    value, rise, _ = kernel(since, ratio)
    slope = slopes(
        times[:, :, None], weights, np.where(np.isfinite(at), at, 0.0), causal, level, ratio, "crossing"
    )
    steep = slope > 0.1
    assert steep.sum() > 5
    dw, dt = rng.normal(size=weights.shape), rng.normal(size=times.shape)
    by_weight = np.where(causal, -value * dw, 0.0).sum(axis=1)
    by_time = (np.where(causal, rise * weights, 0.0) * dt[:, :, None]).sum(axis=1)
    predicted = (by_weight + by_time) / slope

    def moved(h):
        found = first_spikes(times + h * dt, weights + h * dw, level, ratio)
        return np.where(np.isfinite(found), found, 1e3)  # where it goes or comes, the difference is large

    errors = []
    for h in (1e-3, 5e-4):
        difference = (moved(h) - moved(-h)) / (2 * h)
        errors.append(np.abs(difference - predicted)[steep])
    settled = (
        errors[0] < 1e-2
    )  # inputs that pass one another or the spike within h make another function of it
    assert settled.sum() > 5
    # of second order: half the step, a quarter of the error, but for the roundings of the differences
    assert (errors[1] <= 0.3 * errors[0] + 64 * EPS * 10 / 5e-4)[settled].mean() > 0.9


def test_a_ratio_without_a_closed_form_is_refused():
    with pytest.raises(ValueError, match="closed form for tau_mem / tau_syn of 1 and 2; got 4"):
        first_spikes(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1), 4.0)


def test_no_spike_is_inf():
    far = np.array([[np.inf, 0.0]])
    assert first_spikes(far, np.array([[9.0], [0.1]]), np.ones(1), 1.0) == np.inf
    assert first_spikes(far, np.array([[9.0], [-3.0]]), np.ones(1), 2.0) == np.inf
