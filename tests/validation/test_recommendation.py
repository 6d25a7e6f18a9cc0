"""Is what is recommended the cheapest that gives what is wanted, on samples that it was not chosen for too?"""

import itertools

import pytest
from cores import chain_problem

import eventsolve as es
from eventsolve.compare import compare
from validation.attribution.recommendation import (
    Batch,
    Candidate,
    Setting,
    candidates,
    frontier,
    ranked,
    recommended,
    tried,
)
from validation.attribution.study import delayed
from validation.oracle import oracle
from validation.spinnaker2 import SGD, Chip, SpiNNaker2Core

CORE = SpiNNaker2Core(1e-3, "s16.15", traces=False)
SETTINGS = [
    Setting(dt, number, rounding)
    for dt, (number, rounding) in itertools.product(
        (1e-3, 1e-4, 1e-5), (("s8.7", "down"), ("s8.7", "half_up"), ("s16.15", "half_up"), ("float32", ""))
    )
]


def batch(samples):
    """Different samples of one task."""
    net, inputs, t_end, loss = chain_problem(4, n_samples=24)
    lists, labels = inputs["in"].to_lists(), loss.labels
    trains = type(inputs["in"]).from_lists([lists[k] for k in samples])
    chosen = type(loss)("out", [labels[k] for k in samples], tau0=2e-3, tau1=0.1, alpha=0.01, silent="t_end")
    return Batch(net, {"in": trains}, t_end, chosen)


@pytest.fixture(scope="module")
def found():
    return list(candidates(batch(range(12)), SETTINGS, CORE))


@pytest.fixture(scope="module")
def others():
    return batch(range(12, 24))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.99])
def test_nothing_cheaper_gives_the_cosine_on_both_batches(found, others, wanted):
    got = recommended(found, wanted, others, CORE)
    assert got.candidate.cosine >= wanted
    assert got.checked >= wanted
    for c in found:
        if c.bytes < got.candidate.bytes:
            assert c.cosine < wanted or tried(others, CORE, c.setting).cosine < wanted


def test_the_frontier_leaves_out_what_costs_more_and_gives_less(found):
    best = frontier(found)
    assert best[-1].cosine == max(c.cosine for c in found)
    for c in found:
        assert any(b.bytes <= c.bytes and b.cosine >= c.cosine for b in best)
    for cheap, dear in itertools.pairwise(best):
        assert (cheap.bytes, cheap.cosine) < (dear.bytes, dear.cosine)


def test_what_nothing_gives_is_not_recommended(found, others):
    assert recommended(found, 1.0, others, CORE) is None
    with pytest.raises(ValueError, match=r"wanted must be a cosine from -1 to 1; got 1.5"):
        recommended(found, 1.5, others, CORE)


def test_cosine_and_cost_are_those_of_the_comparison_and_of_the_chip(others):
    got = tried(others, CORE, Setting(1e-3, "s16.15", "half_up"))
    args = others.inputs, others.t_end, others.loss
    c = compare(
        oracle(es.Problem(delayed(others.network, 1e-3), *args)), CORE.run(es.Problem(others.network, *args))
    )
    assert got.cosine == min(w.mean.cosine for w in c.weight.values())
    chip = Chip(others.network, CORE, others.t_end, SGD(1.0))
    cost = chip.cost(chip.run(chip.initial, others.inputs, others.loss))
    assert (got.macs, got.packet_bytes) == (cost.macs, cost.bytes)
    assert got.bytes == 4 * cost.macs + cost.bytes


def test_of_equal_costs_the_simplest_rounding_comes_first():
    made = [
        Candidate(Setting(1e-3, "s8.7", r), 0.9, 10.0, 1.0, 21.0) for r in ("stochastic", "down", "half_up")
    ]
    assert [c.setting.rounding for c in ranked(made)] == ["down", "half_up", "stochastic"]


def test_a_rounding_that_is_none():
    with pytest.raises(ValueError, match=r"rounding must be one of down, .*; got 'up'"):
        tried(batch(range(1)), CORE, Setting(1e-3, "s8.7", "up"))
