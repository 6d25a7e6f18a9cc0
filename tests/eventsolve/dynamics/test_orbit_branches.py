"""Orbits along a parameter: bifurcations and meetings beside roots at 40 digits, and Arb on both sides of them."""

import json
import pickle

import numpy as np
import pytest
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
from eventsolve import plot
from eventsolve.dynamics import ContinuationError, NoOrbitError, continuation, periodic_orbit
from eventsolve.dynamics.curves import repeated_path
from eventsolve.dynamics.paths import path_of

EPS = np.finfo(float).eps
DELAYS = ("delay", ("n", "n"))
WEIGHT_IN = ("weight", ("in", "n"), (0, 0))
PERIOD, AT = 30e-3, 7e-3


def antiphase():
    spikes = {"n": es.SpikeTrains.from_lists([[[1e-3], [12e-3]]])}
    return periodic_orbit(pair(), guess=(spikes, 22e-3))


def follow(*arguments, **options):
    """Return what was followed, and the error if it does not reach the end of the range."""
    try:
        return continuation(*arguments, **options), None
    except ContinuationError as error:
        return error.so_far, error


def locked():
    return driven(7.0), periodic_orbit(driven(7.0), one_spike(AT), period=PERIOD)


def gap(s, weight):
    """V a period after a spike that came s after the arrival of a weight, minus the threshold."""
    t = mpf(TAU_SYN)
    kept = mp.exp(-mpf(PERIOD) / t)
    return weight * mp.exp(-s / t) / (1 - kept) * response(mpf(PERIOD))[0] + weight * response(s)[0] - 1


def current(s, weight):
    return weight * mp.exp(-s / mpf(TAU_SYN)) / (1 - mp.exp(-mpf(PERIOD) / mpf(TAU_SYN)))


def proven_beside(found, event, by):
    """Return whether Arb proves orbits on either side of an event, and that they are stable there."""
    return [es.certify_orbit(found.orbit_at(event.value + sign * by)) for sign in (-1.0, 1.0)]


def test_a_neuron_whose_drive_falls_to_its_threshold():
    """Its period is a logarithm that grows beyond all bounds; the spike is lost where the drive is the threshold."""
    net = es.Network()
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    found, error = follow(net, ("v_leak", "n", 0), (LEAK, 0.9), of=periodic_orbit(net))
    (branch,) = found.branches
    values = branch.values
    period = TAU_MEM * np.log(values / (values - 1.0)) + T_REF
    # the logarithm has the drive's rounding over its distance from the threshold
    assert (np.abs(branch.periods - period) <= 8 * EPS * (period + TAU_MEM / (values - 1.0))).all()
    assert (values > 1.0).all()
    assert np.count_nonzero(branch.periods > 10 * branch.periods[0]) > 5
    (event,) = found.events
    assert abs(event.value - 1.0) <= 4 * EPS
    assert (event.kind, event.change, event.follows, event.population) == ("graze", "loses", "ends", "n")
    assert not found.complete
    assert "settles on no orbit: dies out" in str(error)


def test_antiphase_becomes_stable_where_a_multiplier_is_one_by_hand():
    """Delay and period at which the voltage's equation holds and the characteristic function has the root 1."""
    found = continuation(pair(), DELAYS, (3e-3, 6e-3), of=antiphase())
    (event,) = found.events
    with mp.workdps(40):

        def both(delay, period):
            gap, of = characteristic(period, True, delay)
            return gap, of(mpf(1), -1)

        delay, _ = mp.findroot(both, (mpf(event.value), mpf("0.0215")))
    # next to it V at a spike may be off by 64 roundings, which its slope turns into time
    late = 64 * EPS * LEAK / ((LEAK - 1.0) / TAU_MEM)
    assert abs(event.value - delay) <= 2 * late
    assert (event.kind, event.follows, event.multiplier) == ("branching", "on", 1.0)
    # wherever the steps fall the branch goes straight on
    for end in (4e-3, 3.4e-3, 20e-3):
        (again,) = continuation(pair(), DELAYS, (3e-3, end), of=antiphase()).events[:1]
        assert again.kind == "branching"
        assert abs(again.value - delay) <= 2 * late
    assert event.stable == (False, True)
    before, after = proven_beside(found, event, 1e-8)
    assert before.proven
    assert after.proven
    assert (before.stable, after.stable) == (False, True)
    stable = found.branches[0].stable
    assert (stable == (found.branches[0].values > event.value)).all()
    # the branch that crosses is that of unequal neurons: it turns back there
    crossing = continuation(pair(), DELAYS, (3e-3, 6e-3), of=periodic_orbit(pair()))
    (turn,) = crossing.events
    assert (turn.kind, turn.follows) == ("branching", "back")
    # where two directions meet, the way is known to the cube root of rounding and the value to its square
    assert abs(turn.value - delay) <= 32 * EPS ** (2 / 3) * 3e-3
    assert crossing.branches[0].values[[0, -1]].tolist() == [3e-3, 3e-3]


def test_three_neurons_that_take_turns_lose_stability_by_a_pair():
    """By symmetry multipliers of the splay state are complex; Arb proves on which side of the circle they are."""
    net = es.Network()
    net.add_population("n", 3, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    net.connect("n", "n", 0.2 * (1.0 - np.eye(3)), delay=3e-3)
    spikes = {"n": es.SpikeTrains.from_lists([[[1e-3], [8.2e-3], [15.4e-3]]])}
    orbit = periodic_orbit(net, guess=(spikes, 21.5e-3))
    found = continuation(net, DELAYS, (3e-3, 0.5e-3), of=orbit)
    (event,) = found.events
    assert (event.kind, event.follows, event.stable) == ("torus", "on", (True, False))
    assert event.multiplier.imag > 0.05
    assert abs(abs(event.multiplier) - 1.0) <= 1e-13
    for by in (1e-5, 1e-8, 1e-11):
        before, after = proven_beside(found, event, by)
        assert before.proven
        assert after.proven
        assert (before.stable, after.stable) == (False, True)  # of smaller and of larger delays


def test_arrivals_that_pass_spikes_and_releases_in_phase():
    """Of two neurons in phase, where the delay is the period, and the period and the refractory period."""
    found = continuation(pair(), DELAYS, (3e-3, 30e-3), of=periodic_orbit(pair((0.0, 0.0))))
    kinds = [event.kind for event in found.events]
    assert kinds == ["branching", "swap", "swap", "release", "release"]
    assert [event.neuron for event in found.events] == [-1, 0, 1, 0, 1]
    with mp.workdps(40):
        swap = mp.findroot(lambda p: characteristic(p, False, p)[0], mpf("0.0227"))
        free = mp.findroot(lambda p: characteristic(p, False, mpf(T_REF))[0], mpf("0.0222"))
        for event, value in zip(found.events[1:], [swap] * 2 + [free + mpf(T_REF)] * 2, strict=True):
            assert abs(event.value - value) <= 16 * EPS * value
            assert (event.change, event.follows) == ("keeps", "on")
    # stability is lost at once where the arrivals pass the spikes
    assert found.events[1].stable == (True, False)
    before, after = proven_beside(found, found.events[1], 1e-7)
    assert before.proven
    assert after.proven
    assert (before.stable, after.stable) == (True, False)


def test_a_locked_orbit_turns_at_a_fold_and_ends_where_its_spike_grazes():
    """Weights at which the equation of the phase has a double root, and at which V is flat at the spike."""
    net, orbit = locked()
    found = continuation(net, WEIGHT_IN, (7.0, 3.0), of=orbit)
    fold, graze = found.events
    with mp.workdps(40):
        s, weight = mp.findroot(
            lambda s, w: (gap(s, w), mp.diff(lambda x: gap(x, w), s)), (mpf("0.0085"), mpf(fold.value))
        )
        assert abs(fold.value - weight) <= 16 * EPS * weight
        s, weight = mp.findroot(
            lambda s, w: (gap(s, w), current(s, w) - 1), (mpf("0.0089"), mpf(graze.value))
        )
        assert abs(graze.value - weight) <= 16 * EPS * weight
        assert abs(graze.time - (AT + 1e-3 + float(s))) <= 1e-9 * PERIOD
    assert (fold.kind, fold.follows, fold.stable) == ("fold", "back", (True, False))
    assert (graze.kind, graze.change, graze.follows) == ("graze", "loses", "known")
    assert not found.complete  # it ends inside the range
    assert f"followed to {found.branches[-1].values[-1]:.6g}" in repr(found)
    values = found.branches[0].values
    beside = np.flatnonzero(np.diff(np.sign(np.diff(values))))
    assert beside.size == 1
    for k, stable in ((int(beside[0]) - 1, True), (int(beside[0]) + 3, False)):
        certificate = es.certify_orbit(found.orbit(0, k))
        assert certificate.proven
        assert certificate.stable is stable


def test_a_spike_appears_where_v_grazes_its_threshold():
    """The peak of V after the spike is the current there times the largest response: its root is the event."""
    net, orbit = locked()
    found = continuation(net, WEIGHT_IN, (7.0, 8.55101), of=orbit)
    event = found.events[0]
    with mp.workdps(40):
        m, t = mpf(TAU_MEM), mpf(TAU_SYN)
        peak = response(m * t / (m - t) * mp.log(m / t))[0]
        _, weight = mp.findroot(
            lambda s, w: (gap(s, w), current(s, w) * peak - 1), (mpf("0.004"), mpf(event.value))
        )
    assert abs(event.value - weight) <= 16 * EPS * weight
    assert (event.kind, event.change, event.follows) == ("graze", "gains", "jumps")
    # behind it the network settles on longer and longer orbits: one spike more in ever fewer periods of the input
    assert found.complete
    turns = [round(branch.periods[0] / PERIOD) for branch in found.branches]
    assert turns[0] == 1
    assert turns[1:] == sorted(turns[1:], reverse=True)
    assert turns[1] > turns[-1] > 1
    assert [b.neurons["n"].size - n for b, n in zip(found.branches[1:], turns[1:], strict=True)] == [1] * len(
        turns[1:]
    )
    certificate = es.certify_orbit(found.orbit(len(turns) - 1, 0))
    assert certificate.proven
    assert certificate.stable


def test_a_triggered_spike_ends_with_its_lift():
    """V after a subtraction is (w - 1) / (1 - exp(-T/tau_mem)): the spike is lost at w = 1."""
    net = driven(1.3, "delta", reset="subtract")
    orbit = periodic_orbit(net, one_spike(AT), period=25e-3)
    found, error = follow(net, WEIGHT_IN, (1.3, 0.5), of=orbit)
    event = found.events[0]
    assert abs(event.value - 1.0) <= 8 * EPS
    assert (event.kind, event.change) == ("lift", "loses")
    assert isinstance(error.__cause__, NoOrbitError)
    assert error.value == found.branches[-1].values[-1]
    # behind 1.7 V is beyond its threshold also after the reset; what another error carries is not spoken of
    found, error = follow(net, WEIGHT_IN, (1.3, 2.5), of=orbit)
    assert found.events[-1].change == "gains"
    assert "would spike twice" in str(error)
    assert ".solution" not in str(error)


def test_an_input_spike_that_moves_takes_the_orbit_with_it():
    net, orbit = locked()
    found = continuation(net, ("spike_times", "in", 0), (AT, 2e-3), of=orbit)
    late = found.branches[0].spike_times["n"][:, 0] - found.branches[0].values
    assert np.ptp(late) <= 32 * EPS * PERIOD
    with pytest.raises(ContinuationError, match=r"must stay in \(0, period"):
        continuation(net, ("spike_times", "in", 0), (AT, 40e-3), of=orbit)


@pytest.mark.parametrize(("seed", "far"), [(19, 6.0), (31, 6.0), (33, 0.2)])
def test_what_arb_proves_beside_events_of_random_networks(seed, far):
    """Orbits of every branch are proven, stable where it is said; each event has other orbits on its other side."""
    net, given = rhythmic(seed)
    weight = np.asarray(net.projections["n", "n"].weight)
    direction = {"weight": {("n", "n"): weight}}
    found, _ = follow(net, direction, (0.0, far), of=periodic_orbit(net, most=4, **given))
    assert found.events
    for number, branch in enumerate(found.branches):
        k = branch.values.size // 2
        certificate = es.certify_orbit(found.orbit(number, k))
        assert certificate.proven
        assert certificate.stable == branch.stable[k]
    assert ("flip" in [event.kind for event in found.events]) == (seed == 33)
    for event in found.events:
        if event.kind == "flip":
            before, after = proven_beside(found, event, 1e-6)
            assert before.proven
            assert after.proven
            assert (before.stable, after.stable) == event.stable


def test_records_travel():
    net, orbit = locked()
    found = continuation(net, WEIGHT_IN, (7.0, 3.0), of=orbit)
    assert json.loads(json.dumps(found.to_dict()))["events"][0]["multiplier"] == [1.0, 0.0]
    again = pickle.loads(pickle.dumps(found))
    assert repr(again) == repr(found)
    assert np.array_equal(again.branches[0].multipliers, found.branches[0].multipliers)
    with pytest.raises(ValueError, match="read-only"):
        found.branches[0].values[0] = 1.0
    with pytest.raises(ValueError, match="value must lie on a branch"):
        found.orbit_at(3.0)
    assert abs(found.orbit_at(6.5).spikes["n"].times[0] - found.orbit_at(6.6).spikes["n"].times[0]) < 1e-3


def test_what_makes_no_sense_is_refused():
    net, orbit = locked()
    with pytest.raises(ValueError, match="two different numbers"):
        continuation(net, WEIGHT_IN, (7.0, 7.0), of=orbit)
    with pytest.raises(ValueError, match="an orbit has neither"):
        continuation(net, WEIGHT_IN, (7.0, 3.0), of=orbit, max_spikes=3)
    with pytest.raises(TypeError, match="network must be a Network"):
        continuation(None, WEIGHT_IN, (7.0, 3.0), of=orbit)
    with pytest.raises(TypeError, match="a Solution, a Problem or an Orbit"):
        continuation(net, WEIGHT_IN, (7.0, 3.0), of=net)
    with pytest.raises(NoOrbitError):
        continuation(net, WEIGHT_IN, (3.0, 7.0), of=orbit)
    with pytest.raises(ContinuationError, match="max_solves = 3 orbits were solved"):
        continuation(net, WEIGHT_IN, (7.0, 3.0), of=orbit, max_solves=3)
    with pytest.raises(ContinuationError, match=r"delay of .* must be finite and >= 0"):
        continuation(net, ("delay", ("in", "n")), (1e-3, -1e-3), of=orbit)


@pytest.mark.parametrize("last", [0.0, -1e-3])
def test_where_a_parameter_leaves_its_bounds_the_network_ends_and_not_its_orbit(last):
    """It was told that V grazes at a negative time constant, or that Newton's method does not find the next orbit."""
    net = es.Network()
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    with pytest.raises(ContinuationError, match="tau_mem must be finite and > 0") as stopped:
        es.continuation(net, ("tau_mem", "n", 0), (20e-3, last), of=es.periodic_orbit(net))
    assert 0.0 < stopped.value.value <= 1e-9 * TAU_MEM
    assert stopped.value.so_far.events == ()
    with pytest.raises(ContinuationError, match="tau_syn must be finite and > 0") as stopped:
        es.continuation(pair(), ("tau_syn", "n"), (TAU_SYN, last), of=antiphase())
    assert 0.0 < stopped.value.value < 1e-8 * TAU_SYN


def test_delays_and_weights_are_followed_to_their_bounds():
    """To the last value that there is, from the first one too; and a range beyond sets no unit of steps."""
    net, orbit = locked()
    for parameter, start in ((("delay", ("in", "n")), 1e-3), (("t_ref", "n", 0), 0.0)):
        with pytest.raises(ContinuationError, match=f"{parameter[0]} .*must be finite and >= 0") as stopped:
            continuation(net, parameter, (start, -1e-3), of=orbit)
        assert stopped.value.value == 0.0
        assert len(stopped.value.so_far.branches) == 1
    still = es.Network()
    still.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    still.add_population("out", 1, es.LI(TAU_MEM, TAU_SYN))
    still.connect("n", "out", [[1.0]])
    with pytest.raises(ContinuationError, match=r"must be at most 2\*\*200 in size") as stopped:
        continuation(still, ("weight", ("n", "out"), (0, 0)), (1.0, 1e308), of=periodic_orbit(still))
    assert 0.0 <= 1.0 - stopped.value.value / 2.0**200 <= 2.0**-39


@pytest.mark.parametrize("other", ["three", "renamed", "undriven"])
def test_an_orbit_of_other_neurons_is_refused_in_these_words(other):
    net = es.Network()
    if other == "renamed":
        net.add_input("in", 1)
    net.add_population(
        "m" if other == "renamed" else "n", 3 if other == "three" else 1, es.LIF(TAU_MEM, TAU_SYN)
    )
    parameter = ("tau_mem", "m" if other == "renamed" else "n")
    with pytest.raises(ValueError, match="network must have the populations of what is followed"):
        continuation(net, parameter, (20e-3, 21e-3), of=locked()[1])


def test_what_is_no_value_no_state_and_no_neuron_is_refused():
    net = es.Network()
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    with pytest.raises(TypeError, match="initial must be a State; got 3"):
        es.periodic_orbit(net, initial=3)
    followed = es.continuation(net, ("tau_mem", "n", 0), (20e-3, 21e-3), of=es.periodic_orbit(net))
    for wrong in ("x", None):
        with pytest.raises((TypeError, ValueError), match="value must be a number"):
            followed.orbit_at(wrong)
    for wrong in ({"population": "x"}, {"neuron": 0}, {"population": "n", "neuron": 5}):
        with pytest.raises(ValueError, match="must be one "):
            plot.orbit_branches(followed, **wrong)


def test_branches_that_cross_are_followed_to_both_sides():
    """The branch of unequal neurons, which settles from elsewhere and is followed on its own, and its mirror image."""
    found = continuation(pair(), DELAYS, (3e-3, 4e-3), of=antiphase(), crossing=True)
    alone = continuation(pair(), DELAYS, (3e-3, 4e-3), of=periodic_orbit(pair()))
    assert len(found.branches) == 3
    assert found.complete
    apart = []
    for number in (1, 2):
        assert found.branches[number].values[-1] == 3e-3
        assert found.branches[number].values.max() < found.events[0].value
        orbit, other = found.orbit_at(3.15e-3, number), alone.orbit_at(3.15e-3)
        assert abs(orbit.period - other.period) <= 64 * EPS * other.period
        times = [orbit.spikes["n"][0, k][0] for k in (0, 1)]
        apart.append((times[1] - times[0]) % orbit.period / orbit.period)
    assert abs(sum(apart) - 1.0) <= 1e-12
    assert abs(apart[0] - 0.5) > 0.01


def flipping():
    """A neuron that hears itself late, and loses stability by period doubling as its inhibition grows."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5.5e-3, v_leak=0.45, t_ref=1e-3))
    net.connect("in", "n", [[7.7]], delay=1e-3)
    net.connect("n", "n", [[-2.6]], delay=23e-3)
    return net, {"inputs": {"in": es.SpikeTrains.from_lists([[[5e-3]]])}, "period": 28e-3}


def test_twice_and_more_times_the_period_of_the_input_is_followed():
    """What the network settles on by itself, and what Arb proves, lies on these branches."""
    net, given = flipping()
    self_weight = ("weight", ("n", "n"), (0, 0))
    found, error = follow(net, self_weight, (-2.6, -4.245), of=periodic_orbit(net, **given), crossing=True)
    flip, graze = found.events[:2]
    assert (flip.kind, flip.follows, flip.stable) == ("flip", "on", (True, False))
    assert (graze.kind, graze.follows, graze.stable) == ("graze", "jumps", (False, True))
    periods = [branch.periods[0] / given["period"] for branch in found.branches]
    assert periods[:2] == [1.0, 13.0]
    doubled = periods.index(2.0)
    for value, number in ((-3.93, doubled), (-4.2447, 1)):
        orbit = found.orbit_at(value, number)
        settled = periodic_orbit(net.with_weights({("n", "n"): [[value]]}), transient=12.0, **given)
        assert settled.period == orbit.period
        late = np.round(np.arange(13) * given["period"], 15)[:, None]
        shifted = np.sort((orbit.spikes["n"].times + late) % orbit.period, axis=1)
        assert np.abs(shifted - settled.spikes["n"].times).max(axis=1).min() <= 1e-12
        certificate = es.certify_orbit(orbit)
        assert certificate.proven
        assert certificate.stable
    assert found.branches[doubled].values[0] < flip.value
    again = pickle.loads(pickle.dumps(found))
    assert again.orbit_at(-3.93, doubled).period == 2 * given["period"]
    assert error is None or "followed to" in str(error)


def test_inputs_that_move_do_so_in_each_period():
    net, given = flipping()
    path = path_of(es.solve(net, given["inputs"], 0.0), ("spike_times", "in", 0))
    longer = repeated_path(path, 28e-3, 3)
    _, inputs = longer.at(6e-3)
    np.testing.assert_allclose(inputs["in"].times, 6e-3 + 28e-3 * np.arange(3), rtol=4 * EPS)
    assert longer.direction_at(6e-3)["spike_times"]["in"].tolist() == [1.0, 1.0, 1.0]
    problem = es.Problem(net, given["inputs"], 28e-3)
    with pytest.raises(ValueError, match="crossing is of branches of orbits"):
        continuation(net, ("weight", ("n", "n")), (-2.6, -2.5), of=problem, crossing=True)
