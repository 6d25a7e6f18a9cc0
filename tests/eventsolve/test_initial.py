"""A stored state goes on bit for bit, and one that was tampered with does not go on at all."""

import re
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es

NAN = float("nan")


def network():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 2, es.LIF(20e-3, 5e-3))
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "hidden", [[9.0, 8.0], [7.0, 6.0]], delay=8e-3)
    net.connect("hidden", "out", [[1.0, 1.0]], delay=5e-3)
    return net


@pytest.fixture(scope="module")
def stopped():
    trains = es.SpikeTrains.from_lists([[[1e-3, 6e-3], [2e-3]]])
    net = network()
    return net, es.solve(net, {"in": trains}, 10e-3).final_state


def going_on(net, state):
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[12e-3], []]])}, 30e-3, initial=state)


def states(state, **columns):
    key = ("hidden",)
    return replace(state, layers={**state.layers, key: state.layers[key]._replace(**columns)})


def under_way(state, **changes):
    trains = replace(state.on_the_way["in"], **changes)
    return replace(state, on_the_way={**state.on_the_way, "in": trains})


TAMPERED = {
    "initial.time must be finite": lambda s: replace(s, time=NAN),
    "hidden',)].u must be finite; entry [0, 1] is nan": lambda s: states(s, u=np.array([[0.0, NAN]])),
    "hidden',)].i must be finite; entry [0, 0] is inf": lambda s: states(s, i=np.array([[np.inf, 0.0]])),
    "hidden',)].free_at must be finite; entry [0, 0] is nan": lambda s: states(
        s, free_at=np.array([[NAN, 0.0]])
    ),
    "hidden',)].i must be float64 of shape (1, 2); got (0.0, 0.0)": lambda s: states(s, i=[0.0, 0.0]),
    "hidden',)].clock must be float64 of shape (1, 2)": lambda s: states(s, clock=np.zeros((2, 2))),
    "hidden',)].time must not be after the state's 0.01 s; entry [0, 0] is 1.0": lambda s: states(
        s, time=np.ones((1, 2))
    ),
    "on_the_way['hidden'] must be SpikeTrains; got None": lambda s: replace(
        s, on_the_way={"in": s.on_the_way["in"]}
    ),
    "on_the_way['in'] must have 1 samples of 2 neurons; got 1 of 3": lambda s: under_way(s, n_neurons=3),
    "on_the_way['in'] must not be after the state's 0.01 s": lambda s: under_way(
        s, times=s.on_the_way["in"].times + 1.0
    ),
    "initial.low['in'] must have one entry for each of 1 spikes; got array([]": lambda s: replace(
        s, low={**s.low, "in": np.empty(0)}
    ),
    "initial.turns['in'] must have one entry for each of 1 spikes; got None": lambda s: replace(s, turns={}),
}


@pytest.mark.parametrize("said", TAMPERED)
def test_what_is_no_state_of_the_network_is_refused_by_name(said, stopped):
    net, state = stopped
    assert going_on(net, replace(state)).spikes["hidden"].n_spikes > 0
    with pytest.raises(ValueError, match=re.escape(said)):
        going_on(net, TAMPERED[said](state))
