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
    trains = replace(state.in_flight["in"], **changes)
    return replace(state, in_flight={**state.in_flight, "in": trains})


def neurons(state, **columns):
    key = ("hidden",)
    return replace(state, neurons={**state.neurons, key: state.neurons[key]._replace(**columns)})


TAMPERED = {
    "time must be finite and >= 0; got nan": lambda s: replace(s, time=NAN),
    "time must be a number of seconds": lambda s: replace(s, time=None),
    "n_samples must be an integer >= 0; got 'one'": lambda s: replace(s, n_samples="one"),
    "('hidden',)].u must be finite; entry [0, 1] is nan": lambda s: states(s, u=np.array([[0.0, NAN]])),
    "('hidden',)].i must be finite; entry [0, 0] is inf": lambda s: states(s, i=np.array([[np.inf, 0.0]])),
    "('hidden',)].free_at must be numbers; entry [0, 0] is nan": lambda s: states(
        s, free_at=np.array([[NAN, 0.0]])
    ),
    "('hidden',)].i must be float64 of shape (1, 2); got (0.0, 0.0)": lambda s: states(s, i=[0.0, 0.0]),
    "('hidden',)].clock must be float64 of shape (1, 2)": lambda s: states(s, clock=np.zeros((2, 2))),
    "('hidden',)].u must be float64 of shape (1, 2); got None": lambda s: states(s, u=None),
    "('hidden',)].time must not be after the state's 0.01 s; entry [0, 0] is 1.0": lambda s: states(
        s, time=np.ones((1, 2))
    ),
    "layers must be a mapping of populations to States; got None": lambda s: replace(s, layers=None),
    "layers['hidden'] must be a States; got 'none'": lambda s: replace(s, layers={"hidden": "none"}),
    "initial must be of the same populations of neurons as the network; it lacks 'hidden'": lambda s: replace(
        s, layers={("out",): s.layers[("out",)]}, neurons={("out",): s.neurons[("out",)]}
    ),
    "initial.in_flight must have the spikes of every population that projects; it lacks 'hidden'": lambda s: (
        replace(s, in_flight={"in": s.in_flight["in"]})
    ),
    "in_flight['in'] must be a SpikeTrains; got 3": lambda s: replace(s, in_flight={"in": 3}),
    "in_flight must be a mapping of population to SpikeTrains": lambda s: replace(s, in_flight="in"),
    "initial.in_flight['in'] must be of the 2 neurons of 'in'; got those of 3": lambda s: under_way(
        s, n_neurons=3
    ),
    "in_flight['in'] must have 1 samples; got 2": lambda s: under_way(s, n_samples=2),
    "in_flight['in'] must not be after the state's 0.01 s": lambda s: under_way(
        s, times=s.in_flight["in"].times + 1.0
    ),
    "low['in'] must be float64 of shape (1,); got array([]": lambda s: replace(
        s, low={**s.low, "in": np.empty(0)}
    ),
    "low['in'] must be finite; entry [0] is nan": lambda s: replace(s, low={**s.low, "in": np.array([NAN])}),
    "turns['in'] must be int64 of shape (1,); got None": lambda s: replace(s, turns={}),
    "turns must be a mapping of population to orders; got [0]": lambda s: replace(s, turns=[0]),
    "neurons must be a mapping of populations to Neurons; got None": lambda s: replace(s, neurons=None),
    "neurons must be those of [('hidden',), ('out',)]; got []": lambda s: replace(s, neurons={}),
    "neurons[('hidden',)] must be a Neurons; got None": lambda s: replace(
        s, neurons={**s.neurons, ("hidden",): None}
    ),
    "neurons[('hidden',)].tau_mem must be > 0; entry [1] is -1.0": lambda s: neurons(
        s, tau_mem=np.array([20e-3, -1.0])
    ),
    "neurons[('hidden',)].v_leak must be finite; entry [0] is inf": lambda s: neurons(
        s, v_leak=np.array([np.inf, 0.0])
    ),
    "neurons[('hidden',)].v_reset must be float64 of shape (2,); got array([0.])": lambda s: neurons(
        s, v_reset=np.zeros(1)
    ),
    "delays must be a mapping of (pre, post) to delays; got None": lambda s: replace(s, delays=None),
    "delays must be by (pre, post) or (pre, post, name); got 'in'": lambda s: replace(s, delays={"in": 0.0}),
    "delays[('in', 'hidden')] must be a number of seconds, or like the weight; it is 'late'": lambda s: (
        replace(s, delays={("in", "hidden"): "late"})
    ),
    "delays[('in', 'hidden')] must be finite and >= 0; it is -0.001": lambda s: replace(
        s, delays={("in", "hidden"): -1e-3}
    ),
    "delays[('in', 'hidden')] must be a number or have shape (2, 2); got (1, 2)": lambda s: replace(
        s, delays={("in", "hidden"): np.zeros((1, 2))}
    ),
}


@pytest.mark.parametrize("said", TAMPERED)
def test_what_is_no_state_of_the_network_is_refused_by_name(said, stopped):
    net, state = stopped
    assert going_on(net, replace(state)).spikes["hidden"].n_spikes > 0
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        going_on(net, TAMPERED[said](state))


def other(sizes=(2, 2, 1), names=("in", "hidden", "out"), back=False):
    net = es.Network()
    net.add_input(names[0], sizes[0])
    net.add_population(names[1], sizes[1], es.LIF(20e-3, 5e-3))
    net.add_population(names[2], sizes[2], es.LIF(20e-3, 5e-3) if back else es.LI(20e-3, 5e-3))
    net.connect(names[0], names[1], np.ones((sizes[1], sizes[0])), delay=8e-3)
    net.connect(names[1], names[2], np.ones((sizes[2], sizes[1])), delay=5e-3)
    if back:
        net.connect(names[2], names[1], np.ones((sizes[1], sizes[2])))
    return net


OTHER = {
    "initial must be of the same populations of neurons as the network; it lacks 'b' and has 'hidden', which the "
    "network lacks": other(names=("in", "b", "out")),
    "initial must have as many neurons as the network: 3 in 'hidden'; got 2": other(sizes=(2, 3, 1)),
    "initial must be of a network with the same cycles, as populations of a cycle are solved together: the cycle of "
    "'hidden', 'out' here, where initial has 'hidden'; keep synapses": other(back=True),
    "initial.in_flight must have the spikes of every population that projects; it lacks 'more'": other(
        names=("more", "hidden", "out")
    ),
    "initial.in_flight['in'] must be of the 4 neurons of 'in'; got those of 2": other(sizes=(4, 2, 1)),
}


@pytest.mark.parametrize("said", OTHER)
def test_what_differs_in_another_network_is_named(said, stopped):
    state = stopped[1]
    trains = {
        n: es.SpikeTrains.from_lists([[[]] * p.size])
        for n, p in OTHER[said].populations.items()
        if p.neuron is None
    }
    with pytest.raises(ValueError, match=re.escape(said)):
        es.solve(OTHER[said], trains, 30e-3, initial=state)
    with pytest.raises(ValueError, match=re.escape(said.replace("initial", "state"))):
        es.dynamics.position(OTHER[said], state)
