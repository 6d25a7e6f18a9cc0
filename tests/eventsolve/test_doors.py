"""Constructors of what verbs take: a value of another kind is taken, or refused in a sentence of our own."""

import traceback
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

import eventsolve as es

OTHER = (
    *(None, "x", 3.7, -1, float("nan"), float("inf"), object(), True, 1j, b"x", es),
    *([], {}, (None,), {"a": None}, {"q": 1}, {("a",): None}),
    *(np.array([np.nan]), np.zeros(3), np.zeros((1, 1))),
)


@cache
def records():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_population("o", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "a", [[9.0, 3.0], [2.0, 8.0]], delay=1e-3)
    net.connect("a", "o", np.ones((2, 2)))
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [4e-3]]] * 2)}
    solution = es.solve(net, inputs, 20e-3)
    first = es.losses.TTFSCrossEntropy("a", [0, 1], tau0=1e-3, tau1=5e-3, alpha=1e-3)
    voltage = es.losses.MeanVoltageCrossEntropy("o", [0, 1])
    tonic = es.Network()
    tonic.add_population("t", 1, es.LIF(20e-3, 5e-3, v_leak=2.0))
    return (
        inputs["in"],
        net.population("a").neuron,
        net.population("o").neuron,
        es.Problem(net, inputs, 20e-3, first),
        solution,
        solution.final_state,
        es.observe(net, inputs, {"a": solution.spikes["a"]}, 20e-3),
        es.periodic_orbit(tonic),
        es.certify(solution),
        first,
        voltage,
        es.losses.Sum((first, voltage), (1.0, 1.0)),
        es.losses.TargetTimeMSE("a", np.full((2, 2), 5e-3)),
        es.losses.RelativeMSE("a", [0, 1], gap=1e-3),
        es.losses.SilentHinge("a", 0.5),
    )


def refused_by(record, **changes):
    """The line that raised what a changed record is refused with, None if it is taken."""
    try:
        repr(replace(record, **changes))
    except (TypeError, ValueError) as error:
        return traceback.extract_tb(error.__traceback__)[-1].line
    return None


@pytest.mark.parametrize("k", range(15))
def test_what_is_of_another_kind_is_taken_or_refused_in_our_words(k):
    record = records()[k]
    names = [field.name for field in fields(record) if not field.name.startswith("_")]
    lines = {
        (name, i): refused_by(record, **{name: other}) for name in names for i, other in enumerate(OTHER)
    }
    refused = {place: line for place, line in lines.items() if line is not None}
    assert len(refused) >= len(OTHER) // 2
    assert [
        place for place, line in refused.items() if "raise" not in line and not line.startswith(")")
    ] == []
