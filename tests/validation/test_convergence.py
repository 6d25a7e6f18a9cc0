"""Do errors fall with time step and fraction bits as theory says, and is what is said of them right?"""

import math
from dataclasses import replace

import numpy as np
import pytest
from cores import chain_problem
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.compare import compare
from validation.attribution.convergence import (
    converge,
    crossover,
    errors,
    observed_order,
)
from validation.fixedpoint import FixedFormat
from validation.oracle import oracle
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core
from validation.spinnaker2.arithmetic import with_bits
from validation.target import Grain

CORE = SpiNNaker2Core(1e-3, "s16.15", traces=False)
STEPS = (16e-6, 8e-6, 4e-6, 2e-6, 1e-6)


@pytest.fixture(scope="module")
def task():
    net, inputs, _, loss = chain_problem(4, n_samples=16)
    return es.Problem(net, inputs, 32e-3, loss)


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_samples_without_spike_changes_have_errors_of_first_order_in_the_time_step(task, decay):
    """Grids, one-step integrals and late jumps err by O(dt): theory's 1 lies in the 99.9 % interval, 0 and 2 do not."""
    found = list(converge(task, replace(CORE, decay=decay), STEPS, [None]))
    same = np.all([e.same for e in found], axis=0)
    assert same.sum() >= 10
    for kind in ("spike_times", "gradient"):
        order = observed_order(STEPS, np.stack([getattr(e, kind) for e in found])[:, same], 0.999)
        assert 0 < order.low < 1 < order.high < 2


def test_what_bits_do_is_of_first_order_in_the_resolution(task):
    """From 14 bits on no spike changes at this time step, and every bit halves the error, of which a rounding is part.

    Over 18 bits the slope of a factor of at most 8 either way at both ends is within 3/18 * 2 of 1.
    """
    bits = (14, 17, 20, 23, 26, 29, 32)
    found = {e.grain.bits: e.beside for e in converge(task, CORE, [1e-3], bits)}
    x, y = np.array(bits, float), np.log2([found[b] for b in bits])
    slope = np.polyfit(x, y, 1)[0]
    assert abs(slope + 1) < 2 * 3 / 18


def test_errors_are_those_of_a_comparison(task):
    found = errors((task, CORE, Grain(1e-3, 15)))
    network = task.network
    exact = oracle(replace(task, network=network.with_delays(dict.fromkeys(network.projections, 1e-3))))
    model = CORE.at(Grain(1e-3, 15)).run(task)
    c = compare(exact, model, window=1.0)
    same = ~np.any(
        [(s.counts() != model.spikes[n].counts()).any(axis=1) for n, s in exact.spikes.items()], axis=0
    )
    np.testing.assert_array_equal(found.same, same)
    for k in range(16):
        want = max(
            np.abs(m.shift[m.exact.samples[m.exact_index] == k]).max(initial=0.0) for m in c.spikes.values()
        )
        assert found.spike_times[k] == want if same[k] else math.isnan(found.spike_times[k])
        parts = [
            (np.linalg.norm(w.model[k] - w.exact[k]), np.linalg.norm(w.exact[k])) for w in c.weight.values()
        ]
        off, size = np.linalg.norm(parts, axis=0)
        assert found.gradient[k] == pytest.approx(off / size, rel=1e-12, abs=0.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.3, 3.0), st.integers(0, 2**32 - 1))
def test_the_order_of_a_power_law_is_its_power(power, seed):
    rng = np.random.default_rng(seed)
    sizes = np.array([1.0, 0.5, 0.1, 0.02])
    found = rng.uniform(0.1, 10, 6) * sizes[:, None] ** power
    order = observed_order(sizes, found)
    assert order.order == pytest.approx(power, abs=1e-9)
    assert order.n_samples == 6
    found[2, 3] = np.nan
    assert observed_order(sizes, found).n_samples == 5
    assert observed_order(sizes, found[:, 3:4]) is None


def test_an_interval_holds_the_true_order_as_often_as_it_says():
    """600 intervals of 90 %, each of which holds the mean of noisy slopes: 5 standard errors of a share are 0.061."""
    sizes, hits = np.array([1.0, 0.1, 0.01]), 0
    for seed in range(600):
        noise = np.random.default_rng(seed).normal(0, 0.3, (3, 8))
        order = observed_order(sizes, np.exp(np.log(sizes)[:, None] + noise), 0.9)
        hits += order.low <= 1 <= order.high
    assert abs(hits / 600 - 0.9) < 5 * math.sqrt(0.09 / 600)


@settings(max_examples=50, deadline=None)
@given(st.floats(1.5e-6, 0.9e-3), st.floats(0.3, 2.0), st.floats(0.1, 1.5))
def test_bits_dominate_below_where_two_power_laws_cross(where, up, down):
    steps = np.geomspace(1e-6, 1e-3, 7)
    got = crossover(steps, (steps / where) ** up, (steps / where) ** -down)
    assert got == pytest.approx(where, rel=1e-9, abs=0.0)
    assert crossover(steps, np.ones(7), np.full(7, 0.5)) is None
    assert crossover(steps, np.ones(7), np.full(7, 2.0)) == pytest.approx(1e-3)


def test_fifteen_bits_are_those_of_the_preset():
    mine, preset = with_bits(CORE.formats, 16, 15), Arithmetic.preset("s16.15")
    for name in ("weight", "state", "adjoint", "decay", "probability", "gradient", "name"):
        assert getattr(mine, name) == getattr(preset, name)
    assert with_bits(CORE.formats, 16, 40).decay == FixedFormat(0, 57, signed=False)


@pytest.mark.parametrize(
    ("steps", "bits", "message"),
    [
        (
            [3e-3],
            [15],
            r"time_steps must divide the 0.032 s of the run .*; got 0.003 s, of which 0.0029\d* s is the nearest",
        ),
        ([0.0], [15], "got 0.0 s"),
        ([1e-3], [41], "bits must be 0 to 40, or None for float64; got 41"),
    ],
)
def test_resolutions_that_are_none(task, steps, bits, message):
    with pytest.raises(ValueError, match=message):
        next(converge(task, CORE, steps, bits))
