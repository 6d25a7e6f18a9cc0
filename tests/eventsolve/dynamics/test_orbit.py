"""Periodic orbits beside closed forms, 40-digit equations of their own, and what the solver does again and again."""

import dataclasses
import pickle

import numpy as np
import pytest
from comparing import Comparison
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from rhythms import rhythmic
from two_neurons import (
    LEAK,
    T_REF,
    TAU_MEM,
    TAU_SYN,
    characteristic,
    driven,
    one_spike,
    pair,
    response,
)

import eventsolve as es
from eventsolve.dynamics import NoOrbitError, Orbit, periodic_orbit

EPS = np.finfo(float).eps


def test_a_neuron_that_spikes_by_itself():
    """Its period is a logarithm; V forgets all but a shift in time, and what is left of an autapse's I decays."""
    net = es.Network()
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, 1.0, -0.2, LEAK, T_REF))
    net.connect("n", "n", [[0.0]])
    orbit = periodic_orbit(net)
    period = TAU_MEM * np.log((LEAK + 0.2) / (LEAK - 1.0)) + T_REF
    assert abs(orbit.period - period) <= 8 * EPS * period
    assert orbit.free
    assert orbit.stable
    assert np.allclose(orbit.multipliers, [1.0, np.exp(-period / TAU_SYN)], rtol=0, atol=1e-14)
    assert orbit.reference == ("n", 0)
    assert orbit.phase_zero == orbit.spikes["n"].times[0]


@pytest.mark.parametrize("half", [False, True])
def test_two_neurons_in_phase_and_in_antiphase(half):
    """Period and multipliers are roots of functions written down by hand for the symmetric states, at 40 digits."""
    spikes = {"n": es.SpikeTrains.from_lists([[[1e-3], [12e-3 if half else 1e-3]]])}
    orbit = periodic_orbit(pair(), guess=(spikes, 22e-3))
    with mp.workdps(40):
        period = mp.findroot(lambda p: characteristic(p, half)[0], mpf(orbit.period))
        assert abs(orbit.period - period) <= 8 * EPS * period
        lag = np.diff(orbit.spikes["n"].times)[0]
        # V is rounded by EPS of its drive, which a slope turns into time, and a lag that settles slowly adds it up
        slope = (LEAK - 1.0) / TAU_MEM
        settles = min(abs(1.0 - float(abs(m))) for m in orbit.transverse)
        assert abs(lag - (period / 2 if half else 0)) <= 8 * EPS * (period + LEAK / slope / settles)
        of = characteristic(period, half)[1]
        sizes = []
        for multiplier in map(complex, orbit.multipliers):
            off = []
            for mode in (1, -1):
                root = mp.findroot(lambda x, m=mode: of(x, m), multiplier, verify=False)
                if abs(of(root, mode)) < 1e-25:
                    off.append(abs(root - multiplier))
            assert min(off) <= 1e-13
            sizes.append(abs(multiplier))
    assert len(sizes) == 4
    assert np.count_nonzero(np.abs(orbit.multipliers - 1.0) < 1e-13) == 1
    assert orbit.stable == (max(sizes) < 1.0 + 1e-13)


def test_an_orbit_that_is_locked_to_its_input():
    """One spike per period of the input: its phase is the root of one equation, which has the multiplier in it, too."""
    period, at, weight = 30e-3, 7e-3, 7.0
    orbit = periodic_orbit(driven(weight), one_spike(at), period=period)
    assert orbit.n_spikes == 1
    assert not orbit.free
    with mp.workdps(40):
        arrival, t = mpf(at) + mpf(1e-3), mpf(TAU_SYN)
        k, steep = response(mpf(period))
        kept = mp.exp(-mpf(period) / t)

        def gap(s):
            """V a period after a spike that came s after the arrival, minus the threshold."""
            return weight * mp.exp(-s / t) / (1 - kept) * k + weight * response(s)[0] - 1

        s = mp.findroot(gap, mpf(float(orbit.spikes["n"].times[0])) - arrival)
        assert abs(orbit.spikes["n"].times[0] - (arrival + s)) <= 8 * EPS * period
        current = weight * mp.exp(-s / t) / (1 - kept)
        slope = (current - 1) / mpf(TAU_MEM)
        multiplier = current * (k / t + steep) / slope
    assert abs(orbit.multipliers[0] - complex(multiplier)) <= 64 * EPS
    assert abs(orbit.multipliers[1] - float(kept)) <= 64 * EPS


def test_a_spike_that_a_delta_synapse_triggers_has_the_time_of_the_arrival():
    orbit = periodic_orbit(driven(1.2, "delta"), one_spike(7e-3), period=10e-3)
    assert orbit.spikes["n"].times.tolist() == [7e-3 + 1e-3]
    assert np.abs(orbit.multipliers).max() <= np.exp(-2.0) + 1e-14


def test_subtraction_keeps_what_was_beyond_the_threshold():
    """V after the spike is 0.3 / (1 - exp(-T/tau_mem)), and a change of it decays by exp(-T/tau_mem) per period."""
    period = 25e-3
    orbit = periodic_orbit(driven(1.3, "delta", reset="subtract"), one_spike(7e-3), period=period)
    left = np.exp(-period / TAU_MEM)
    solution = orbit.solution()
    after = solution.voltage("n", [float(solution.spikes["n"].times[0])])[0, 0, 0]
    assert abs(after - 0.3 / (1.0 - left)) <= 32 * EPS
    assert abs(np.abs(orbit.multipliers).max() - left) <= 32 * EPS


def test_silent_neurons_and_readouts_are_part_of_the_state():
    net = pair()
    net.add_population("out", 1, es.LI(10e-3, 4e-3))
    net.connect("n", "out", [[1.0, 0.5]], delay=30e-3)
    orbit = periodic_orbit(net)
    for tau in (10e-3, 4e-3):
        assert np.abs(orbit.multipliers - np.exp(-orbit.period / tau)).min() <= 1e-13
    first, second = orbit.solution(2), orbit.solution(1)
    begin = orbit.state.time
    v = first.voltage("out", [begin, begin + orbit.period, begin + 2.0 * orbit.period])[0, 0]
    assert np.ptp(v) <= 64 * EPS
    assert second.t_end == begin + orbit.period


def test_an_orbit_of_two_periods_of_the_input():
    """A threshold that only every second input spike reaches; the phase of the orbit is that of the input."""
    orbit = periodic_orbit(driven(0.7, "delta", tau_mem=50e-3), one_spike(2e-3), period=20e-3)
    assert orbit.period == 40e-3
    assert orbit.n_spikes == 1
    assert orbit.inputs["in"].n_spikes == 2


def test_an_orbit_from_a_guess_may_be_unstable():
    """The trajectory leaves the in-phase orbit; Newton's method from a guess finds it."""
    known = periodic_orbit(pair((0.0, 0.0)))
    found = periodic_orbit(pair((0.0, 0.5)), guess=known)
    assert not found.stable
    assert abs(found.period - known.period) <= 4 * EPS
    spikes = {"n": es.SpikeTrains.from_lists([[[1.0e-3], [1.1e-3]]])}
    again = periodic_orbit(pair((0.0, 0.5)), guess=(spikes, 22e-3))
    assert abs(again.period - known.period) <= 8 * EPS


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_solver_repeats_an_orbit(seed):
    """Period after period the spikes come again, but for errors that grow at most as the monodromy's powers."""
    net, given_inputs = rhythmic(seed)
    try:
        orbit = periodic_orbit(net, most=6, **given_inputs)
    except NoOrbitError:
        reject()
    n = 4
    solution = orbit.solution(n)
    compare = Comparison()
    grown = sum(np.abs(np.linalg.matrix_power(orbit.monodromy, k)).sum() for k in range(n + 1))
    tolerance = 256 * EPS * max(1.0, grown) * max(1.0, orbit.n_spikes) * orbit.state.time / 1e-3
    made, said = solution.spikes["n"], orbit.spikes["n"]
    for neuron in range(said.n_neurons):
        expected = np.concatenate([said[0, neuron] + k * orbit.period for k in range(n)])
        assert made[0, neuron].size == expected.size
        compare.close(made[0, neuron] - orbit.state.time, expected, tolerance * orbit.period)
    if said.n_spikes:
        compare.demand(1.0)


# -- no orbit -------------------------------------------------------------------------------------------------------


def test_a_network_that_dies_out():
    with pytest.raises(NoOrbitError, match="no spike in the second half") as caught:
        periodic_orbit(
            pair(weight=0.0).with_neurons({"n": es.LIF(TAU_MEM, TAU_SYN, v_leak=0.9, v_initial=0.5)}),
            transient=0.5,
        )
    assert caught.value.why == "dies out"
    assert caught.value.solution.t_end == 0.5
    assert "another initial state, or a guess, may lead to an orbit" in str(caught.value)


def test_a_transient_that_is_too_short_for_a_spike_is_not_said_to_die_out():
    """Two neurons that are driven spike 24 ms apart, and were told to die out after 20 ms."""
    with pytest.raises(NoOrbitError, match=r"but the next is at 0\.02\d+ s: a longer transient") as caught:
        periodic_orbit(pair(v_initial=0.9, weight=0.0), transient=20e-3)
    assert caught.value.why == "does not settle"
    assert caught.value.solution.t_end == 20e-3


def test_a_network_that_runs_away():
    with pytest.raises(NoOrbitError, match=r"max_spikes = 10 .*allow more, or a shorter transient") as caught:
        periodic_orbit(pair(), max_spikes=10)
    assert caught.value.why == "runs away"
    assert caught.value.solution.spikes["n"].n_spikes == 10


def test_a_transient_that_is_longer_than_asked():
    """The two neurons approach antiphase by 0.974 per period: after 3 periods they are still far from it."""
    net = pair((0.0, 0.9), delay=1e-3)
    with pytest.raises(NoOrbitError, match="a longer transient") as caught:
        periodic_orbit(net, transient=66e-3)
    assert caught.value.why == "does not settle"
    assert caught.value.solution.spikes["n"].n_spikes > 2


def test_a_grazing_orbit():
    """The input lifts V to its threshold at the top, and from a little lower not at all: the slope is lost."""
    orbit = periodic_orbit(driven(7.0), one_spike(7e-3), period=60e-3)
    with pytest.raises(NoOrbitError, match="does not rise") as caught:
        periodic_orbit(driven(6.0), one_spike(7e-3), period=60e-3, guess=orbit)
    assert caught.value.why == "grazing"


def test_events_that_coincide_and_could_come_in_either_order():
    """Two neurons in phase without delay: each is hit as it spikes, and the return map has a kink there."""
    with pytest.raises(NoOrbitError) as caught:
        periodic_orbit(pair((0.0, 0.0), delay=0.0))
    assert caught.value.why == "tie"


def test_an_arrival_as_a_period_begins_is_told():
    """The trajectory has settled with the period of the input: a multiple of it would be no answer."""
    net = driven(1.2, "delta")
    net.add_population("out", 1, es.LI(TAU_MEM, TAU_SYN))
    net.connect("n", "out", [[1.0]], delay=12e-3)
    with pytest.raises(NoOrbitError, match="let the inputs begin elsewhere") as caught:
        periodic_orbit(net, one_spike(7e-3), period=10e-3)
    assert caught.value.why == "tie"
    assert caught.value.solution is not None
    assert periodic_orbit(net, one_spike(6e-3), period=10e-3).period == 10e-3


def test_orbits_that_are_not_isolated():
    """Two equal neurons that do not hear each other may have any phases."""
    net = es.Network()
    net.add_population("n", 2, es.LIF(TAU_MEM, TAU_SYN, v_leak=1.5, v_initial=[0.0, 0.5]))
    with pytest.raises(NoOrbitError) as caught:
        periodic_orbit(net)
    assert caught.value.why == "not isolated"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"period": None}, "period, that of the inputs in seconds, must be given"),
        ({"period": -1.0}, "period must be finite and > 0; got -1.0"),
        ({"period": 1e-3}, r"inputs\['in'\] must lie in \[0, period = 0.001\]; got a spike at 0.007 s"),
        ({"inputs": {}}, "period is that of the inputs, of which none has a spike"),
        ({"inputs": {"on": 0}}, "inputs name 'on', which is not an input"),
        ({"transient": 0.0}, "transient must be finite and > 0; got 0.0"),
        ({"guess": ({}, 1.0), "transient": 1.0}, "a guess needs none"),
        ({"guess": ({}, 30e-3)}, "guess must have spikes of 'n', one sample of 1 neurons; got None"),
        ({"guess": ({}, 45e-3)}, "guess"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"inputs": one_spike(7e-3), "period": 30e-3, **changes}
    with pytest.raises(ValueError, match=message):
        periodic_orbit(driven(7.0), **arguments)


def test_an_orbit_is_a_record():
    orbit = periodic_orbit(pair())
    again = pickle.loads(pickle.dumps(orbit))
    assert repr(again) == repr(orbit)
    assert np.array_equal(again.multipliers, orbit.multipliers)
    assert len(repr(orbit).splitlines()) <= 4
    with pytest.raises(ValueError, match="read-only"):
        orbit.multipliers[0] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        orbit.period = 1.0
    assert isinstance(orbit, Orbit)


@pytest.mark.parametrize("altered", [{"multipliers": None}, {"monodromy": None}, {"multipliers": [1.0]}])
def test_an_orbit_whose_multipliers_are_none_is_refused_by_name(altered):
    """All that reads them had an error that named nothing."""
    with pytest.raises(TypeError, match=f"{next(iter(altered))} of an orbit must be a "):
        dataclasses.replace(periodic_orbit(pair()), **altered)
