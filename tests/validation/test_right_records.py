"""Verdicts on right implementations that share no code with the diagnosis; `make right` judges many more."""

import pytest

from tests.right_records import WAYS, given_problem, judged, record, way_of
from validation.diagnosis import forward
from validation.diagnosis.evidence import evidence_of
from validation.diagnosis.twins import Clock

KINDS = {
    "held a step less": "refractory",
    "as Norse": "feedback",
    "steps from 0": "leak",
    "as Brian2": "refractory",
}


@pytest.mark.parametrize("name", WAYS)
def test_a_right_implementation_is_told_which_scheme_it_is(name):
    kind = KINDS.get(name, "subtract" if "snnTorch" in name else "plain")
    given = given_problem(kind, 1)
    verdict, found = judged(name, given, record(way_of(name, kind, 1e-3), given))
    assert verdict == "named", found


def test_of_fine_steps_the_right_order_is_not_crowded_out():
    """At 10 us all propagators and roundings of one order were nearer than the right one of another."""
    name, given = "current first, neurons a step later", given_problem("subtract", 1)
    verdict, found = judged(name, given, record(way_of(name, "subtract", 1e-5), given))
    assert verdict == "named", found


def test_of_the_scheme_that_is_nearest_in_all_samples_others_are_looked_for():
    """The two samples that are tried first part early from it, and the right one, one thing away, was never tried."""
    name, given = "current first, from 1", given_problem("feedback", 13)
    evidence = evidence_of(given, record(way_of(name, "feedback", 1e-3), given), 1e-3)
    found = forward.varied(evidence, forward.bases(evidence)[0])
    assert Clock(order="current_first", feedback=1) in found
