"""Is what is recommended the cheapest that gives what is wanted, on samples that it was not chosen for too?"""

import itertools
from dataclasses import replace

import pytest
from cores import chain_problem

import eventsolve as es
from eventsolve.compare import compare
from validation.attribution.recommendation import (
    Candidate,
    Setting,
    candidates,
    frontier,
    ranked,
    recommended,
    tried,
)
from validation.oracle import oracle
from validation.spinnaker2 import SGD, Chip, SpiNNaker2Core
from validation.target import Cost

CORE = SpiNNaker2Core(1e-3, "s16.15", traces=False)
SETTINGS = [
    Setting(rank, f"{dt}, {number}", SpiNNaker2Core(dt, number, traces=False, rounding=rounding))
    for rank, (dt, (number, rounding)) in enumerate(
        itertools.product(
            (1e-3, 1e-4, 1e-5),
            (("s8.7", "down"), ("s8.7", "half_up"), ("s16.15", "half_up"), ("float32", None)),
        )
    )
]


def batch(samples):
    """Different samples of one task."""
    return es.Problem(*chain_problem(4, n_samples=24)).select(samples)


@pytest.fixture(scope="module")
def found():
    return list(candidates(batch(range(12)), SETTINGS))


@pytest.fixture(scope="module")
def others():
    return batch(range(12, 24))


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.99])
def test_nothing_cheaper_gives_the_cosine_on_both_batches(found, others, wanted):
    got = recommended(found, wanted, others)
    assert got.candidate.cosine >= wanted
    assert got.checked >= wanted
    for c in found:
        if c.cost.bytes < got.candidate.cost.bytes:
            assert c.cosine < wanted or tried(others, c.setting).cosine < wanted


def test_the_frontier_leaves_out_what_costs_more_and_gives_less(found):
    best = frontier(found)
    assert best[-1].cosine == max(c.cosine for c in found)
    for c in found:
        assert any(b.cost.bytes <= c.cost.bytes and b.cosine >= c.cosine for b in best)
    for cheap, dear in itertools.pairwise(best):
        assert (cheap.cost.bytes, cheap.cosine) < (dear.cost.bytes, dear.cosine)


def test_what_nothing_gives_is_not_recommended(found, others):
    assert recommended(found, 1.0, others) is None
    with pytest.raises(ValueError, match=r"wanted must be a cosine from -1 to 1; got 1.5"):
        recommended(found, 1.5, others)


def test_cosine_and_cost_are_those_of_the_comparison_and_of_the_chip(others):
    got = tried(others, Setting(0, "", CORE))
    network = others.network
    delayed = network.with_delays(dict.fromkeys(network.projections, 1e-3))
    c = compare(oracle(replace(others, network=delayed)), CORE.run(others))
    assert got.cosine == min(w.mean.cosine for w in c.weight.values())
    chip = Chip(others.network, CORE, others.t_end, SGD(1.0))
    cost = chip.cost(chip.run(chip.initial, others.inputs, others.loss))
    assert (got.cost.operations, got.cost.packet_bytes) == (cost.macs, cost.bytes)
    assert got.cost.bytes == 4 * cost.macs + cost.bytes


def test_of_equal_costs_the_simplest_comes_first():
    made = [Candidate(Setting(rank, "", CORE), 0.9, Cost(10.0, 1.0, 21.0)) for rank in (2, 0, 1)]
    assert [c.setting.rank for c in ranked(made)] == [0, 1, 2]


def test_a_rounding_that_is_none():
    with pytest.raises(ValueError, match=r"rounding must be one of down, .*; got 'up'"):
        SpiNNaker2Core(1e-3, "s8.7", rounding="up")


def test_a_rounding_is_the_formats_and_another_format_has_its_own():
    core = SpiNNaker2Core(1e-3, "s16.15", rounding="down")
    assert core.formats.rounding == "down"
    assert replace(core, format="s8.7").formats.rounding == "half_up"
