"""Radii to first order of networks so small that they follow by hand."""

import numpy as np
import pytest
from networks import rounded_behind_the_peak

import eventsolve as es
from eventsolve.chunks import SAMPLES_PER_CHUNK
from eventsolve.kernels import distances
from eventsolve.patterns import pattern_of
from eventsolve.stability import estimates
from eventsolve.stability.margins import spiking_layers
from eventsolve.stability.parts import layer_part_of, part_of

MS = 1e-3
UNIT = 6.349604207872798
"""The weight whose response peaks at the threshold, for time constants of 20 ms and 5 ms."""


def solved(weight, times=(1 * MS,), t_end=60 * MS, *, synapse="exponential", n_samples=1, **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS, **neuron))
    net.connect("in", "out", [[weight]], synapse=synapse)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[list(times)]] * n_samples)}, t_end)


def test_a_weight_of_0_that_may_move_makes_events():
    """It lifts V, which is at 1/2, to the threshold at 1/2."""
    solution = solved(0.0, synapse="delta", v_initial=0.5, v_leak=0.5)
    found = es.trust_radius(solution, "weight", certify=False)
    assert found.radius.tolist() == [pytest.approx(0.5)]
    assert found.limits[0].kind == "voltage"
    # one that may not is none
    assert es.trust_radius(solution, "spike_times", certify=False).radius.tolist() == [np.inf]


@pytest.mark.parametrize("n_samples", [1, SAMPLES_PER_CHUNK + 3])
def test_what_is_nearest_of_a_peak_below_the_threshold(n_samples):
    solution = solved(3.0, n_samples=n_samples)
    short = 1 - 3.0 / UNIT
    for name, radius in (("weight", short * UNIT), ("v_threshold", short)):
        found = es.trust_radius(solution, name, certify=False)
        np.testing.assert_allclose(found.radius, radius, rtol=1e-12)
        assert [limit.sample for limit in found.limits] == list(range(n_samples))
        assert {limit.kind for limit in found.limits} == {"voltage"}
    # of v_leak alone: V at the peak moves by 1 - exp(-s/tau_mem)
    s = 20 * MS * 5 * MS / (15 * MS) * np.log(4)
    found = es.trust_radius(solution, "v_leak", certify=False).radius
    assert (found < short / (1 - np.exp(-s / (20 * MS)))).all()


def test_a_spike_may_move_up_to_the_end_or_by_itself_up_to_its_arrival():
    t_end = 3 * MS
    solution = solved(40.0, t_end=t_end, t_ref=10 * MS)
    (spike,) = solution.spikes["out"].times
    assert spike - 1 * MS < t_end - spike
    for of, radius in (
        ("spike_times", t_end - spike),  # with its input, by which the gap between the two stays
        ({"spike_times": {"in": 0.5}}, (t_end - spike) / 0.5),
        ({"spike_times": {"out": 1.0}}, spike - 1 * MS),
    ):
        found = es.trust_radius(solution, of, certify=False)
        assert found.radius.tolist() == [pytest.approx(radius)]
        assert found.limits[0].kind == "gap"


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after seventeen years
def test_any_change_may_take_a_spike_away_that_has_no_slope():
    found = es.trust_radius(rounded_behind_the_peak(), "weight", certify=False)
    assert found.radius.tolist() == [0.0]
    # that of weights is 0 by a distance that is not, as it depends on that spike
    assert found.limits[0].value > 0.1


# -- what is nearest ------------------------------------------------------------------------------------------------


def distances_of(solution, of):
    """Return the pattern, the part and its layers, and all distances of a solution, as an estimate looks at them."""
    pattern, part = pattern_of(solution, of), part_of(solution, 0, solution.n_samples)
    pattern = {"spike_times": {}, **pattern}
    layer_parts = [layer_part_of(part, layer) for layer in spiking_layers(part)]
    return pattern, part, layer_parts, [estimates._rows(part, own, pattern) for own in layer_parts]


@pytest.mark.parametrize("value", [0.0, -0.3, 0.3])
def test_a_distance_below_0_is_one_of_0_and_infinitely_far_if_nothing_moves_it(value):
    solution = solved(3.0)
    pattern, part, layer_parts, (rows,) = distances_of(solution, "weight")
    rows.numbers[:, distances.VALUE] = value
    with np.errstate(divide="raise", invalid="raise"):
        (ranked,) = estimates._ranked(part, layer_parts, [rows], pattern)
        assert ranked.lower.size > 0
        assert (ranked.lower == 0.0).all() if value <= 0.0 else (ranked.lower > 0.0).all()
        first, one = np.zeros(1, np.int64), np.ones(1, np.bool_)
        (radius,) = estimates._radii(part, layer_parts, pattern, [ranked], first, one)
        assert radius == pytest.approx(ranked.lower[0], rel=1e-12, abs=0.0)
        # a multiple of 0 moves nothing
        still = distances_of(solution, {"weight": {("in", "out"): 0.0}})[0]
        (radius,) = estimates._radii(part, layer_parts, still, [ranked], first, one)
        assert radius == np.inf
        (ranked,) = estimates._ranked(part, layer_parts, [rows], still)
        assert ranked.lower.size == 0


@pytest.mark.parametrize("weight", [1.0, -1.0, 0.0])
def test_an_arrival_that_may_not_move_is_an_event_unless_it_has_no_weight(weight):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS, t_ref=10 * MS))
    net.connect("in", "out", [[40.0, weight]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS], [1.1 * MS]]])}, 9 * MS)
    (spike,) = solution.spikes["out"].times
    assert 1.2 * MS < spike < 2 * MS
    nearest = spike - (1.1 * MS if weight else 1 * MS)
    found = estimates.estimate_radius(solution=solution, of={"spike_times": {"out": 1.0}})
    assert found.radius.tolist() == [pytest.approx(nearest)]
    assert found.limits[0].event == f"an arrival from neuron {1 if weight else 0} of 'in' before its spike"


def test_events_at_one_time_that_move_together_stay_together():
    """A spike that an input triggers, and the arrival of another one that it triggers: the gap of 0 is kept."""
    net = es.Network()
    net.add_input("in", 1)
    for name in ("between", "out"):
        net.add_population(name, 1, es.LIF(20 * MS, 5 * MS, t_ref=10 * MS))
        net.connect("in", name, [[2.0]], synapse="delta")
    net.connect("between", "out", [[0.1]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 4 * MS)
    assert solution.spikes["out"].times.tolist() == [1 * MS]
    assert es.margins(solution).least["gap"].tolist() == [0.0]
    found = es.trust_radius(solution, {"spike_times": {"in": 1.0}}, certify=False)
    assert found.radius.tolist() == [pytest.approx(3 * MS)]  # up to the end
    alone = es.trust_radius(solution, {"spike_times": {"between": 1.0}}, certify=False)
    assert alone.radius.tolist() == [0.0]


def test_of_equal_distances_the_first_is_named():
    """Both delays move V's peak, each against the other: it is farther than the triangle inequality has it."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[2.0, 1.5], [2.0, 1.5]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS], [4 * MS]]])}, 60 * MS)
    pattern, part, layer_parts, rows = distances_of(solution, "delay")
    (ranked,) = estimates._ranked(part, layer_parts, rows, pattern)
    found = es.trust_radius(solution, "delay", certify=False)
    assert found.limits[0].neuron == 0
    assert found.limits[0].kind == "voltage"
    assert (ranked.lower < 0.9 * found.radius[0]).sum() >= 2


def test_what_spikes_by_itself_may_do_so_up_to_the_end():
    net = es.Network()
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS, v_leak=2.0, t_ref=1.0))
    time = 20 * MS * np.log(2)
    solution = es.solve(net, {}, time + 1e-6)
    found = es.trust_radius(solution, {"spike_times": {"out": 1.0}}, certify=False)
    assert found.limits[0].event == "its last spike before t_end"
    assert found.radius.tolist() == [pytest.approx(1e-6)]


# -- what is said of it ---------------------------------------------------------------------------------------------


def test_a_summary_names_the_smallest_radius_and_what_limits_it():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[3.0]])
    inputs = es.SpikeTrains.from_lists([[[]], [[1 * MS]], [[1 * MS, 30 * MS]]])
    found = es.trust_radius(es.solve(net, {"in": inputs}, 60 * MS), "weight", certify=False)
    lines = str(found).splitlines()
    (radius,) = [line for line in lines if line.split()[0] == "radius"]
    (limit,) = [line for line in lines if line.split()[0] == "limit"]
    assert radius.endswith(f"{found.radius[2]:.3g} (sample 2) to inf")
    assert f"{found.limits[2].value:.3g}" in limit
    quiet = es.trust_radius(es.solve(net, {"in": inputs.select([0])}, 60 * MS), "weight", certify=False)
    assert "limit" not in [line.split()[0] for line in str(quiet).splitlines()]
    nobody = es.trust_radius(es.solve(net, {"in": inputs.select([])}, 60 * MS), "weight", certify=False)
    assert [line.split()[1:] for line in str(nobody).splitlines() if line.split()[0] == "radius"] == [
        ["none"]
    ]
    assert "limit" not in [line.split()[0] for line in str(nobody).splitlines()]
