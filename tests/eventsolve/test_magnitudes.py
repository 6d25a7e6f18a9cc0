"""Slips of unit are warned about with what was meant, and what a network may well be is silent."""

import re
import warnings

import pytest

import eventsolve as es

TRAINS = es.SpikeTrains.from_lists([[[1e-3, 9e-3]]])


def network(tau_mem=20e-3, tau_syn=5e-3, delay=1e-3, kind=es.LIF, **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, kind(tau_mem=tau_mem, tau_syn=tau_syn, **neuron))
    net.connect("in", "out", [[9.0], [8.0]], delay=delay)
    return net


def cycle():
    net = network()
    net.connect("out", "out", [[0.0, 1.0], [1.0, 0.0]], delay=1e-3)
    return net


def solved(t_end=60e-3, trains=TRAINS, **constants):
    return es.solve(network(**constants), {"in": trains}, t_end)


def ttfs(tau0=0.5e-3, tau1=6.4e-3):
    return es.losses.TTFSCrossEntropy("out", [0], tau0=tau0, tau1=tau1, alpha=3e-3, silent="skip")


WRONG_UNITS = {
    "tau_mem of 'out' is 20.0 s and t_end is 0.06 s: were milliseconds meant (0.02)?": lambda: solved(
        tau_mem=20
    ),
    "tau_syn of 'out' is 5.0 s and t_end is 0.06 s: were milliseconds meant (0.005)?": lambda: solved(
        tau_syn=5
    ),
    "tau_mem of 'out' is 10.0 s": lambda: solved(tau_mem=[10, 10], kind=es.LI),
    "delay of ('in', 'out') is 1.0 s and t_end is 0.06 s, so that no spike arrives: "
    "were milliseconds meant (0.001)?": lambda: solved(delay=1.0),
    "the first input spike is 5.0 s and t_end is 0.06 s, so that no input has an effect: "
    "were milliseconds meant (0.005)?": lambda: solved(trains=es.SpikeTrains.from_lists([[[5, 7]], [[]]])),
    "t_end is 50.0 s and the last input spike is at 0.05 s, the slowest time constant 0.02 s, and nothing goes on by "
    "itself: were milliseconds meant (0.05)?": lambda: solved(
        50.0, es.SpikeTrains.from_lists([[[5e-3, 50e-3]]])
    ),
    "tau0 is 0.5 s and t_end is 0.06 s: were milliseconds meant (0.0005)?": lambda: es.value_and_grad(
        solved(), ttfs(tau0=0.5)
    ),
    "tau1 is 6.4 s": lambda: es.value_and_grad(solved(), ttfs(tau1=6.4)),
    "gap is 5.0 s": lambda: es.value_and_grad(solved(), es.losses.RelativeMSE("out", [0], gap=5)),
    "the earliest target is 20.0 s": lambda: es.value_and_grad(
        solved(), es.losses.TargetTimeMSE("out", [[20, 40]])
    ),
}


@pytest.mark.parametrize("said", WRONG_UNITS)
def test_milliseconds_for_seconds_are_warned_about_where_they_were_given(said):
    with pytest.warns(es.UnitWarning, match=re.escape(said)) as caught:
        WRONG_UNITS[said]()
    assert {warning.filename for warning in caught} == {__file__}


SILENT = {
    "the network itself": lambda: solved(),
    "all times in milliseconds": lambda: solved(
        60, es.SpikeTrains.from_lists([[[1, 9]]]), tau_mem=20, tau_syn=5, delay=1
    ),
    "no time at all": lambda: solved(0.0, tau_mem=20.0, delay=1.0),
    "an integrator without leak": lambda: solved(tau_mem=1e6),
    "an integrator with weights to match": lambda: solved(tau_mem=10.0, tau_syn=5e-3, v_threshold=1e-3),
    "a current that stays": lambda: solved(tau_syn=1e3),
    "one spike per neuron": lambda: solved(t_ref=1.0),
    "a slow readout": lambda: solved(20e-3, tau_mem=0.9, kind=es.LI),
    "a slower readout in a longer trial": lambda: solved(0.1, tau_mem=4.0, kind=es.LI),
    "delays that are learned for speech": lambda: solved(10e-3, delay=0.3),
    "a piece of a stream": lambda: solved(0.1e-3, delay=10e-3),
    "inputs after a piece of a stream": lambda: solved(1e-3, es.SpikeTrains.from_lists([[[0.09]]])),
    "hardware a thousand times as fast": lambda: solved(
        60e-6, es.SpikeTrains.from_lists([[[1e-6]]]), tau_mem=20e-6, tau_syn=5e-6, delay=1e-6
    ),
    "one synapse that is never used": lambda: solved(delay=[[1e-3], [9.0]]),
    "a long silence": lambda: solved(10.0),
    "a long run that goes on by itself": lambda: solved(50.0, v_leak=1.2, t_ref=0.5),
    "a long run in a cycle": lambda: es.solve(cycle(), {"in": TRAINS}, 50.0),
    "a long run without inputs": lambda: solved(50.0, es.SpikeTrains.from_lists([[[]]])),
    "a long stream": lambda: solved(50.0, es.SpikeTrains.from_lists([[[5e-3, 40.0]]])),
    "a flat loss": lambda: es.value_and_grad(solved(), ttfs(tau0=0.2, tau1=0.2)),
    "a target that is never": lambda: es.value_and_grad(
        solved(), es.losses.TargetTimeMSE("out", [[10e-3, 1e3]])
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_what_may_well_be_meant_is_silent(what):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SILENT[what]()


def test_one_slow_neuron_among_others_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = es.Network()
        net.add_population("out", 3, es.LIF(tau_mem=[20e-3, 20e-3, 9.0], tau_syn=5e-3))
        es.solve(net, {}, 60e-3)
