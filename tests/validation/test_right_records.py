"""Verdicts on right implementations that share no code with the diagnosis; `make right` judges many more."""

import pytest

from tests.right_records import WAYS, given_problem, judged, record, way_of

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
