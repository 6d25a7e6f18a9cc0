"""Solutions that go on with other delays: a spike arrives as it was sent, once; where it would not, that is refused."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from cuts import between
from networks import EPS

import eventsolve as es

SENT, CUT, T_END = 4e-3, 6e-3, 40e-3
INPUTS = {"in": es.SpikeTrains.from_lists([[[0.5e-3, 20e-3], [SENT]]])}
BEFORE, AFTER = {"in": between(INPUTS["in"], None, CUT)}, {"in": between(INPUTS["in"], CUT, 1.0)}
DELAYS = np.array([[1e-3, 5e-3], [1e-3, 1e-3]])


def network(delays=DELAYS, *, sparse=False, cycle=False, v=0.0, i=0.0):
    """Two neurons that hear two inputs; of the spike at 4 ms only the way to neuron 0 takes until after the cut."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3, v_initial=v, i_initial=i))
    if sparse:
        there = ~np.isnan(delays)
        rows, columns = np.nonzero(there)
        at = (rows, columns)
        weight = sp.coo_array((np.array([[5.0, 6.0], [7.0, 4.0]])[there], at), shape=(2, 2))
        net.connect("in", "a", weight, delay=sp.coo_array((np.asarray(delays)[there], at), shape=(2, 2)))
    else:
        net.connect("in", "a", [[5.0, 6.0], [7.0, 4.0]], delay=delays)
    if cycle:
        net.connect("a", "a", [[0.0, 0.2], [0.3, 0.0]], delay=0.1e-3)
    return net


@pytest.fixture(scope="module")
def state():
    return es.solve(network(), BEFORE, CUT).final_state


def shorter(place, by):
    delays = DELAYS.copy()
    delays[place] = by
    return delays


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("delays", [shorter((0, 0), 3e-3), shorter((1, 1), 1.9e-3), shorter((1, 0), 0.0)])
def test_what_arrived_has_arrived_and_what_is_on_its_way_arrives_as_it_was_sent(delays, cycle):
    """As in a network that begins at the cut with those V and I, the spike on its way an input that arrives then."""
    before = es.solve(network(cycle=cycle), BEFORE, CUT)
    assert before.final_state.in_flight["in"].times.tolist() == [SENT]
    went_on = es.solve(network(delays, cycle=cycle), AFTER, T_END, initial=before.final_state)
    v, i = before.voltage("a", [CUT])[0, :, 0], before.current("a", [CUT])[0, :, 0]
    afresh = network(delays, cycle=cycle, v=v, i=i).cut_at(())
    afresh.add_input("late", 1)
    afresh.connect("late", "a", [[6.0], [0.0]])
    late = es.SpikeTrains.from_lists([[[SENT + 5e-3 - CUT]]])
    moved = es.SpikeTrains.from_lists([[[20e-3 - CUT], []]])
    wanted = es.solve(afresh, {"in": moved, "late": late}, T_END - CUT).spikes["a"]
    found = went_on.spikes["a"]
    assert wanted.n_spikes >= 3
    assert found.neurons.tolist() == wanted.neurons.tolist()
    np.testing.assert_allclose(found.times - CUT, wanted.times, rtol=0, atol=1e3 * EPS * T_END)
    assert es.certify(went_on).proven


REFUSED = {
    "moved": (shorter((0, 1), 6e-3), "neuron 0 had a delay of 0.005 s and has a delay of 0.006 s"),
    "by an ulp": (shorter((0, 1), np.nextafter(5e-3, 1.0)), "neuron 0 had a delay of 0.005 s"),
    "never": (shorter((0, 1), 1e-3), "neuron 0 had a delay of 0.005 s and has a delay of 0.001 s"),
    "twice": (shorter((1, 1), 3e-3), "neuron 1 had a delay of 0.001 s and has a delay of 0.003 s"),
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("sparse", [False, True])
def test_what_would_arrive_otherwise_is_refused(why, sparse):
    state = es.solve(network(sparse=sparse), BEFORE, CUT).final_state
    delays, said = REFUSED[why]
    said = f"initial has a spike of neuron 1 of 'in', sent at 0.004 s, for which ('in', 'a') to {said}"
    for following in (es.solve, lambda *a, **k: es.solve_first_spikes(*a, "a", **k)):
        with pytest.raises(ValueError, match=re.escape(said)):
            following(network(delays, sparse=sparse), AFTER, T_END, initial=state)
    # the advice that is given helps
    net = network(delays, sparse=sparse)
    as_it_was = es.solve(net.with_delays(state.delays), AFTER, T_END, initial=state)
    straight = es.solve(network(sparse=sparse), AFTER, T_END, initial=state)
    assert as_it_was.spikes["a"].times.tolist() == straight.spikes["a"].times.tolist()
    said_so = replace(state, delays=es.solve(net, INPUTS, 0.0).final_state.delays)
    assert es.solve(net, AFTER, T_END, initial=said_so).spikes["a"].n_spikes > 0


@pytest.mark.parametrize("without", [(0, 1), (0, 0)])
def test_synapses_that_one_of_two_networks_lacks(without):
    """Of a spike on its way over it, the arrival would be lost, or come from nowhere; else they may differ."""
    delays = shorter((1, 1), 5e-3)
    whole = network(delays, sparse=True)
    delays[without] = np.nan
    less = network(delays, sparse=True)
    for before, after, said in (
        (whole, less, "had a delay of 0.005 s and has no synapse"),
        (less, whole, "had no synapse and has a delay of 0.005 s"),
    ):
        state = es.solve(before, BEFORE, CUT).final_state
        if without == (0, 1):
            with pytest.raises(ValueError, match=said):
                es.solve(after, AFTER, T_END, initial=state)
        else:
            assert es.solve(after, AFTER, T_END, initial=state).t_end == T_END


def test_projections_that_one_of_two_networks_lacks(state):
    more = network().cut_at(())
    more.connect("in", "a", np.zeros((2, 2)), delay=1e-3, name="more")
    assert es.solve(more, AFTER, T_END, initial=state).t_end == T_END
    later = network().cut_at(())
    later.connect("in", "a", np.zeros((2, 2)), delay=9e-3, name="more")
    with pytest.raises(ValueError, match=re.escape("('in', 'a', 'more') to neuron 0 had no synapse and has")):
        es.solve(later, AFTER, T_END, initial=state)
    on = es.solve(later, BEFORE, CUT).final_state
    with pytest.raises(
        ValueError, match=re.escape("had a delay of 0.009 s and has no synapse in this network")
    ):
        es.solve(network(), AFTER, T_END, initial=on)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_state_that_was_stored_says_the_same(sparse):
    for delays in (DELAYS, np.full((2, 2), 5e-3), np.zeros((2, 2))):
        net = network(delays, sparse=sparse)
        state = es.solve(net, BEFORE, CUT).final_state
        stored = pickle.loads(pickle.dumps(state))
        found, wanted = (es.solve(net, AFTER, T_END, initial=s).spikes["a"].times for s in (stored, state))
        assert found.tolist() == wanted.tolist()
        if delays.any():
            with pytest.raises(ValueError, match="initial has a spike of neuron 1"):
                es.solve(network(delays + 1e-3, sparse=sparse), AFTER, T_END, initial=stored)


@pytest.mark.parametrize("cycle", [False, True])
def test_the_gradient_of_a_delay_is_of_spikes_on_their_way_too(cycle):
    """As of pieces of one solution, whose sum it is: of states whose spikes were sent with it."""
    before = es.solve(network(cycle=cycle), BEFORE, CUT).final_state

    def solved(by):
        net = network(shorter((0, 1), 5e-3 + by), cycle=cycle)
        return es.solve(net, AFTER, T_END, initial=replace(before, delays=net_delays(net)))

    def net_delays(net):
        return {**before.delays, ("in", "a"): net.projections["in", "a"].delay.reshape(2, 2)}

    solution, step = solved(0.0), 1e-7
    weights = np.arange(1.0, solution.spikes["a"].n_spikes + 1)
    difference = (solved(step).spikes["a"].times - solved(-step).spikes["a"].times) @ weights / (2 * step)
    slope = es.vjp(solution, {"a": weights}).delay["in", "a"][0, 1]
    # of the difference, rounding 1e-17 s / 1e-7 s, and truncation (1e-7 s / 5e-3 s)^2
    assert abs(slope) > 0.1
    assert slope == pytest.approx(difference, rel=0, abs=1e-7)
    along = es.jvp(solution, {"delay": {("in", "a"): [[0.0, 1.0], [0.0, 0.0]]}}).spike_times["a"] @ weights
    assert along == pytest.approx(slope, rel=1e-10, abs=0)
    assert es.certify(solution, gradients={"a": weights}).proven


def test_no_box_proves_a_delay_by_which_a_spike_has_arrived_before(state):
    """From 5 ms down to 2 ms the spike is on its way at the cut, and less would have been before it."""
    solution = es.solve(network(), AFTER, 8e-3, initial=state)
    radii = {"delay": {("in", "a"): np.array([[0.0, 0.9e-3], [0.0, 0.0]])}}
    assert es.certify(solution, radii=radii).proven
    radii = {"delay": {("in", "a"): np.array([[0.0, 3.1e-3], [0.0, 0.0]])}}
    assert not es.certify(solution, radii=radii).proven
    of = {"delay": {("in", "a"): np.array([[0.0, 1.0], [0.0, 0.0]])}}
    assert 0.9e-3 < es.trust_radius(solution, of).certified[0] <= 3e-3


def test_a_continuation_does_not_move_a_delay_over_which_a_spike_is_on_its_way(state):
    solution = es.solve(network(), AFTER, T_END, initial=state)
    one = {"delay": {("in", "a"): np.array([[0.0, 1.0], [0.0, 0.0]])}}
    with pytest.raises(ValueError, match="initial has a spike of neuron 1 of 'in'"):
        es.continuation(network(), one, (0.0, 1e-3), solution, initial=state)
    other = {"delay": {("in", "a"): np.array([[0.0, 0.0], [1.0, 0.0]])}}
    assert es.continuation(network(), other, (0.0, 1e-3), solution, initial=state).branches


def test_a_displacement_is_of_spikes_that_are_on_their_way_as_they_were_sent(state):
    """By whatever delays the network has that is asked."""
    net = network(np.full((2, 2), 1e-3))
    where = es.dynamics.coordinates(network(), state)
    moved = es.dynamics.displaced(net, state, np.zeros(len(where)))
    assert moved.in_flight["in"].times.tolist() == [SENT]
    with pytest.raises(ValueError, match=r"had a delay of 0\.005 s and has a delay of 0\.001 s"):
        es.solve(net, AFTER, T_END, initial=moved)
