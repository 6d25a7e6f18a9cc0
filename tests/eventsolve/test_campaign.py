"""The first networks of the campaign: no spike missed, none extra, every time right to its conditioning."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import eventsolve as es
from eventsolve.certify.neuron import Question
from tests.campaign import Tally, campaign, draw, run_batch

pytestmark = pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # times of any ratio are drawn

SEED = 4


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_random_networks_are_those_of_the_multiprecision_solver(first):
    tally = run_batch(SEED, range(first, first + 40))
    assert tally.networks == 40
    assert tally.failures == []
    assert (tally.missed, tally.extra) == (0, 0)
    assert tally.worst <= 1
    assert tally.spikes > 200


def test_networks_on_which_both_agree_are_certified():
    tally = run_batch(SEED, range(240, 255), certify=True)
    assert tally.failures == []
    assert tally.certified == 15 - tally.refused - tally.undecidable - tally.inexact > 10


def test_a_tonic_neuron_whose_own_crossing_ties_with_its_delivery_stays_open():
    tally = run_batch(1, [2170], certify=True)
    # which of the two comes first is beyond any number of digits: multiprecision may see it in either order
    assert (tally.certified, tally.failures, len(tally.ties) + tally.undecidable) == (0, [], 1)
    case = draw(1, 2170)
    solution = es.solve(case.net, case.inputs, case.t_end)
    certificate = es.certify(solution, digits=30)
    assert not certificate.refuted
    assert Question.TIE.value in {question.why for question in certificate.undecided}
    (tie, *_) = solution.warnings
    assert (tie.population, tie.neuron, tie.source, tie.source_neuron) == ("b", 1, "b", 1)
    assert tie.time == pytest.approx(certificate.undecided[0].time, abs=1e-15)


def test_a_delta_spike_with_a_reset_by_subtraction_leaves_v_as_uncertain_as_it_was():
    assert run_batch(1, [2695], certify=True).certified == 1


def test_a_network_is_a_function_of_its_number():
    for index in range(5):
        a, b = draw(SEED, index), draw(SEED, index)
        assert a.t_end == b.t_end
        np.testing.assert_array_equal(a.inputs["in"].times, b.inputs["in"].times)
        for key, projection in a.net.projections.items():
            np.testing.assert_array_equal(projection.weight, b.net.projections[key].weight)


def test_batches_add_up_through_any_executor():
    total = Tally()
    with ThreadPoolExecutor(2) as executor:
        for _, tally in campaign(SEED, [range(3), range(3, 5)], executor):
            total.add(tally)
    assert total.networks == 5
    assert total.spikes == run_batch(SEED, range(5)).spikes
