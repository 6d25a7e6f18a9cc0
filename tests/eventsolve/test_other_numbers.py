"""Solutions that go on with other numbers: V and I are what they were, and move by the new ones from then on."""

import re

import numpy as np
import pytest
from cuts import between
from networks import EPS

import eventsolve as es
from eventsolve import dynamics

AT, T_END = 22e-3, 60e-3
INPUTS = {"in": es.SpikeTrains.from_lists([[[1e-3, 18e-3, 31e-3], [4e-3, 29e-3]]])}
BEFORE, AFTER = (
    {"in": between(INPUTS["in"], None, AT)},
    {"in": between(INPUTS["in"], AT, 1.0)},
)
OTHERS = {
    "tau_mem": 12e-3,
    "tau_syn": 9e-3,
    "v_leak": 0.25,
    "v_threshold": 0.8,
    "v_reset": -0.3,
    "t_ref": 7e-3,
}


def network(cycle, v=0.0, i=0.0, **numbers):
    """Two neurons, which hear each other or not."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population(
        "a", 2, es.LIF(**{"tau_mem": 20e-3, "tau_syn": 5e-3, **numbers}, v_initial=v, i_initial=i)
    )
    net.connect("in", "a", [[8.0, 4.0], [3.2, 2.8]])
    if cycle:
        net.connect("a", "a", [[0.0, 0.2], [0.3, 0.0]], delay=1e-3)
    return net


def spike_times(solution, begin=0.0):
    trains = solution.spikes["a"]
    return [trains.times[trains.neurons == n] - begin for n in range(2)]


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_it_goes_on_as_from_those_v_and_i(name, cycle):
    before = es.solve(network(cycle), BEFORE, AT)
    assert before.spikes["a"].n_spikes > 0
    v, i = before.voltage("a", [AT])[0, :, 0], before.current("a", [AT])[0, :, 0]
    assert (before.final_state.layers[("a",)].time < AT).all()
    numbers = {name: OTHERS[name]}
    went_on = es.solve(network(cycle, **numbers), AFTER, T_END, initial=before.final_state)
    np.testing.assert_allclose(went_on.voltage("a", [AT])[0, :, 0], v, rtol=8 * EPS, atol=2 * EPS)
    moved = {"in": es.SpikeTrains.from_lists([[[31e-3 - AT], [29e-3 - AT]]])}
    afresh = es.solve(network(cycle, v, i, **numbers), moved, T_END - AT)
    same = es.solve(network(cycle), AFTER, T_END, initial=before.final_state)
    for found, wanted in zip(spike_times(went_on, AT), spike_times(afresh), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e3 * EPS * T_END)  # of V' > 1e-3 / tau_mem
    assert sum(t.size for t in spike_times(went_on)) > 0
    as_before = [
        a.tolist() == b.tolist() for a, b in zip(spike_times(went_on), spike_times(same), strict=True)
    ]
    assert not all(as_before)


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "v_leak", "v_threshold"])
def test_gradients_are_of_the_numbers_from_then_on(name, cycle):
    """Those of what was before are no part of it: a central difference, whose own errors are some 1e-9 of it."""
    state = es.solve(network(cycle), BEFORE, AT).final_state

    def solved(by):
        usual = {"tau_mem": 20e-3, "tau_syn": 5e-3, "v_leak": 0.0, "v_threshold": 1.0}[name]
        return es.solve(network(cycle, **{name: usual + by}), AFTER, T_END, initial=state)

    solution = solved(0.0)
    n = solution.spikes["a"].n_spikes
    assert n >= 2
    weights = np.arange(1.0, n + 1)
    step = 1e-5 * (1.0 if name.startswith("v") else 10e-3)
    difference = (solved(step).spikes["a"].times - solved(-step).spikes["a"].times) @ weights / (2 * step)
    grads = es.vjp(solution, {"a": weights})
    slope = getattr(grads, name)["a"].sum()
    assert slope == pytest.approx(difference, rel=1e-6, abs=0.0)
    along = es.jvp(solution, {name: {"a": np.ones(2)}}).spike_times["a"] @ weights
    assert along == pytest.approx(slope, rel=1e-10, abs=0.0)
    certificate = es.certify(solution, gradients={"a": weights})
    assert certificate.proven, str(certificate)


def test_a_voltage_beyond_the_new_threshold_is_refused():
    state = es.solve(network(False), BEFORE, AT).final_state
    said = (
        "initial must have V below the threshold of every neuron; that of neuron 0 of 'a' in sample 0 is 0."
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        es.solve(network(False, v_threshold=0.2), AFTER, T_END, initial=state)


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "weight"])
def test_a_trust_radius_is_that_of_a_network_with_those_v_and_i(name, cycle):
    """And is proven: networks within it go on from the same V and I, with the same order of events."""
    first = es.solve(network(cycle), BEFORE, AT)
    went_on = es.solve(network(cycle), AFTER, T_END, initial=first.final_state)
    v, i = first.voltage("a", [AT])[0, :, 0], first.current("a", [AT])[0, :, 0]
    moved = {"in": es.SpikeTrains.from_lists([[[31e-3 - AT], [29e-3 - AT]]])}
    afresh = es.solve(network(cycle, v, i), moved, T_END - AT)
    of = {"weight": {("in", "a"): np.ones((2, 2))}} if name == "weight" else {name: {"a": np.ones(2)}}
    found, wanted = (es.trust_radius(solution, of) for solution in (went_on, afresh))
    np.testing.assert_allclose(found.certified, wanted.certified, rtol=1e-6)
    estimates = [es.trust_radius(solution, of, certify=False) for solution in (went_on, afresh)]
    np.testing.assert_allclose(estimates[0].radius, estimates[1].radius, rtol=1e-9)
    assert 0.0 < found.certified[0] <= estimates[0].radius[0]


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn"])
def test_a_continuation_reaches_as_far_as_that_of_a_network_with_those_v_and_i(name, cycle):
    """At the state's own numbers, too, from which derivatives of distances say how far a branch reaches."""
    first = es.solve(network(cycle), BEFORE, AT)
    v, i = first.voltage("a", [AT])[0, :, 0], first.current("a", [AT])[0, :, 0]
    moved = {"in": es.SpikeTrains.from_lists([[[31e-3 - AT], [29e-3 - AT]]])}
    parameter, over = {name: {"a": np.ones(2)}}, (0.0, 1e-3)
    solution = es.solve(network(cycle), AFTER, T_END, initial=first.final_state)
    found = es.continuation(network(cycle), parameter, over, solution, initial=first.final_state)
    afresh = es.solve(network(cycle, v, i), moved, T_END - AT)
    wanted = es.continuation(network(cycle, v, i), parameter, over, afresh)
    assert wanted.branches[0].reach[0] > 1e-5
    np.testing.assert_allclose(found.branches[0].reach[0], wanted.branches[0].reach[0], rtol=1e-9)


@pytest.mark.parametrize("cycle", [False, True])
def test_what_was_before_has_no_part_in_the_condition(cycle):
    state = es.solve(network(cycle), BEFORE, AT).final_state
    solution = es.solve(network(cycle), AFTER, T_END, initial=state)
    found, wanted = (es.gradient_condition(of).errors for of in (solution, solution.from_start()))
    for name in ("tau_mem", "tau_syn", "v_leak"):
        assert found[name]["a"].size >= 2
        np.testing.assert_array_equal(found[name]["a"], wanted[name]["a"])


@pytest.mark.parametrize("cycle", [False, True])
def test_where_a_state_is_does_not_depend_on_the_numbers_of_who_asks(cycle):
    before = es.solve(network(cycle), BEFORE, AT)
    state, other = before.final_state, network(cycle, tau_mem=12e-3, tau_syn=9e-3, v_leak=0.25)
    where = dynamics.coordinates(other, state)
    at = dynamics.position(other, state)
    v, i = before.voltage("a", [AT])[0, :, 0], before.current("a", [AT])[0, :, 0]
    np.testing.assert_allclose(at[where.of("V", "a")], v, rtol=8 * EPS, atol=2 * EPS)
    np.testing.assert_allclose(at[where.of("I", "a")], i, rtol=8 * EPS)
    moves = dynamics.velocity(other, state)[where.of("V", "a")]
    np.testing.assert_allclose(moves, (i - (v - 0.25)) / 12e-3, rtol=64 * EPS, atol=0)
    by = np.zeros(at.size)
    by[where.of("V", "a")] = 0.01
    moved = dynamics.position(other, dynamics.displaced(other, state, by))
    np.testing.assert_allclose(moved - at, by, rtol=0, atol=8 * EPS)


def leaking(v_leak, v_threshold=1.0, **numbers):
    net = es.Network()
    net.add_population("a", 1, es.LIF(20e-3, 5e-3, v_leak=v_leak, v_threshold=v_threshold, **numbers))
    return net


def test_no_box_has_a_threshold_below_the_v_with_which_it_goes_on():
    """Such networks are refused; V falls from 0.83 here, so that none of them would spike."""
    state = es.solve(leaking(0.9), {}, 50e-3).final_state
    solution = es.solve(leaking(0.0), {}, 80e-3, initial=state)
    v = float(solution.voltage("a", [50e-3])[0, 0, 0])
    assert es.certify(solution, radii={"v_threshold": 0.999 * (1.0 - v)}).proven
    with pytest.raises(
        ValueError, match="radii must leave V, with which the solution goes on, below v_threshold"
    ):
        es.certify(solution, radii={"v_threshold": 1.001 * (1.0 - v)})
    afresh = es.solve(leaking(0.0, v_initial=v), {}, 30e-3)
    found, wanted = (es.trust_radius(s, {"v_threshold": {"a": np.ones(1)}}) for s in (solution, afresh))
    assert 0.0 < found.certified[0] < 1.0 - v
    np.testing.assert_allclose(found.certified, wanted.certified, rtol=1e-9)


@pytest.mark.parametrize("name", ["v_initial", "i_initial"])
def test_the_radius_of_v_initial_is_of_the_v_with_which_it_goes_on(name):
    first = es.solve(leaking(1.5), {}, 10e-3)
    solution = es.solve(leaking(1.6), {}, 40e-3, initial=first.final_state)
    v, i = (float(of("a", [10e-3])[0, 0, 0]) for of in (first.voltage, first.current))
    afresh = es.solve(leaking(1.6, v_initial=v, i_initial=i), {}, 30e-3)
    of = {name: {"a": np.ones(1)}}
    found, wanted = (es.trust_radius(s, of) for s in (solution, afresh))
    assert found.certified[0] > 0.0
    np.testing.assert_allclose(found.certified, wanted.certified, rtol=1e-6)
    with pytest.raises(ValueError, match="must not move v_initial or i_initial where initial is given"):
        es.continuation(leaking(1.6), of, (0.0, 0.1), solution, initial=first.final_state)


@pytest.mark.parametrize("ulps", [1, 2, 3])
@pytest.mark.parametrize("numbers", [{"tau_mem": 21e-3}, {"v_leak": 0.1}, {"tau_syn": 6e-3}])
def test_a_voltage_that_rounding_does_not_tell_from_its_threshold_spikes_as_it_goes_on(numbers, ulps):
    """It is below it, as the neuron had not spiked, however V is rounded once more for other numbers."""
    refused = 0
    for current in np.linspace(7.0, 12.0, 40):
        net = leaking(0.0, i_initial=current)
        end = es.solve(net, {}, 30e-3).spikes["a"].times[0]
        for _ in range(ulps):
            end = np.nextafter(end, 0.0)
        first = es.solve(net, {}, end)
        if first.spikes["a"].n_spikes:  # the crossing was rounded up
            continue
        other = es.Network()
        other.add_population("a", 1, es.LIF(**{"tau_mem": 20e-3, "tau_syn": 5e-3, **numbers}))
        went_on = es.solve(other, {}, 31e-3, initial=first.final_state)
        # V is within 8 ulps of its terms, which are below 30, of the threshold, and rises by more than 1/20 ms
        assert went_on.spikes["a"].times[0] - end < 8 * EPS * 30.0 * 20e-3 + 4 * EPS * end
        assert es.certify(went_on).proven
        refused += first.voltage("a", [end])[0, 0, 0] >= 1.0
    assert refused >= 1


def test_infinite_thresholds_and_readouts_go_on_from_any_voltage():
    def net(v_leak):
        net = es.Network()
        net.add_population("read", 1, es.LI(20e-3, 5e-3, v_leak=v_leak, v_initial=5.0))
        return net

    state = es.solve(net(2.0), {}, 10e-3).final_state
    v = es.solve(net(2.0), {}, 10e-3).voltage("read", [10e-3])[0, 0, 0]
    after = es.solve(net(3.0), {}, 20e-3, initial=state)
    assert after.voltage("read", [20e-3])[0, 0, 0] == pytest.approx(
        3.0 + (v - 3.0) * np.exp(-0.5), rel=8 * EPS, abs=0
    )
