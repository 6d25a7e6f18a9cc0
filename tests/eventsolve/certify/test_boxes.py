"""What a box holds: numbers to the last bit, radii where they belong, and what is on its way of every sample."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import quantities as pq

import eventsolve as es
from eventsolve.certify.boxes import PARAMETERS, box_of, source_names
from eventsolve.chunks import chunk_ranges


def chained(n_samples, *, t_end):
    """A sample's spikes trigger others over delays whose sums are no float64, and those are on their way at the end."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 3, es.LIF(20e-3, 5e-3, v_leak=[0.1, -0.7, 0.3], v_reset=[0.05, -0.3, 0.2]))
    net.connect("in", "n", [[2.0], [0.0], [2.0]], delay=0.3e-3, synapse="delta")
    net.connect("n", "n", [[0.0, 0.0, 0.0], [2.5, 0.0, 0.0], [0.0, 0.0, 0.0]], delay=0.7e-3, synapse="delta")
    net.connect("n", "n", np.full((3, 3), 0.1), delay=50e-3, name="late")
    sent = 1e-3 + 1e-5 * np.arange(n_samples)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[t]] for t in sent])}, t_end)


def going_on(n_samples):
    """That from 9 ms on."""
    first = chained(n_samples, t_end=9e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[]]] * n_samples)}
    return first.final_state, es.solve(first.network, inputs, 20e-3, initial=first.final_state)


def test_what_is_on_its_way_is_that_of_the_state_in_every_chunk():
    n_samples = 2 * chunk_ranges(10**6)[0][1] + 3
    state, solution = going_on(n_samples)
    assert len(solution.chunks) > 2
    train, given = box_of(solution).carried["n"], state.in_flight["n"]
    np.testing.assert_array_equal(train.times.middle, given.times)
    np.testing.assert_array_equal(train.samples, given.samples)
    np.testing.assert_array_equal(train.neurons, given.neurons)
    np.testing.assert_array_equal(train.low, state.low["n"])
    np.testing.assert_array_equal(train.turns, state.turns["n"])
    assert set(train.samples.tolist()) == set(range(n_samples))
    assert np.count_nonzero(train.low) > n_samples
    assert train.turns.any()  # two neurons spike at one time
    assert not train.times.radius.any()


def test_a_start_is_that_of_its_sample():
    state, solution = going_on(3)
    (states,) = state.layers.values()
    start = box_of(solution).start
    assert np.unique(states.time[:, 1]).size == 3
    for sample in range(3):
        for field, values in (("time", states.time), ("excess", states.u), ("free_at", states.free_at)):
            np.testing.assert_array_equal(getattr(start[sample], field), values[sample])


def test_v_of_a_start_is_not_above_what_it_is_said_to_begin_with():
    """In any sample, and exactly: V is a sum that float64 may round down."""
    _, solution = going_on(40)
    box = box_of(solution)
    leak = solution.network.population("n").parameter("v_leak")
    down = 0
    for cell in range(3):
        exact = [
            Fraction(u) + Fraction(float(leak[cell]))
            for u in solution.from_start().start_states("n").u[:, cell].tolist()
        ]
        assert Fraction(float(box.begins[cell])) >= max(exact)
        down += sum(Fraction(float(t)) < t for t in exact)
    assert down > 5
    fresh = box_of(chained(2, t_end=9e-3))
    assert fresh.begins.tolist() == [0.0, 0.0, 0.0]


def one(**neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, **neuron))
    net.connect("in", "n", [[0.5]], delay=1e-3)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 5e-3)


@pytest.mark.parametrize("name", ["v_reset", "v_initial"])
def test_a_box_whose_ends_meet_within_a_rounding_is_refused(name):
    rng, refused = np.random.default_rng(0), 0
    for _ in range(24):
        value, radius, least = rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.4), rng.uniform(0.1, 0.3)
        highest = Fraction(value) + Fraction(radius)
        threshold = float(highest + Fraction(least))
        solution = one(v_threshold=threshold, **{name: value})
        if highest >= Fraction(threshold) - Fraction(least):
            with pytest.raises(ValueError, match=f"radii must leave {name} below v_threshold"):
                box_of(solution, {name: radius, "v_threshold": least})
            refused += 1
        apart = box_of(solution, {name: radius * (1 - 1e-12), "v_threshold": least})
        assert apart.parameters[name].radius[0] == radius * (1 - 1e-12)
    assert refused > 5


def test_a_network_that_goes_on_a_rounding_below_its_threshold_is_a_box_of_one():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[np.nextafter(1.0, 0.0)]], synapse="delta")
    first = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 1e-3)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 3e-3, initial=first.final_state)
    box = box_of(solution)
    assert box.exact
    assert box.begins[0] >= 1.0  # with what float64 may have taken from it
    assert es.certify(solution).proven


def test_every_radius_is_of_the_numbers_that_it_names():
    solution = one()
    for name in (*PARAMETERS, "weight", "delay", "spike_times"):
        box = box_of(solution, {name: 1e-6})
        assert not box.exact
        radii = {parameter: numbers.radius for parameter, numbers in box.parameters.items()}
        radii |= {"weight": box.synapses.weight.radius, "delay": box.synapses.delay.radius}
        radii["spike_times"] = box.trains["in"].times.radius
        assert {parameter: radius.tolist() for parameter, radius in radii.items()} == {
            parameter: [1e-6 if parameter == name else 0.0] for parameter in radii
        }
    assert box_of(solution).exact


def several():
    """Inputs and populations of several sizes, and an input spike of each channel of its own."""
    net = es.Network()
    net.add_input("x", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_input("y", 1)
    net.add_population("b", 3, es.LIF(20e-3, 5e-3, reset="subtract"))
    net.add_population("c", 1, es.LI(20e-3, 5e-3))
    rng = np.random.default_rng(3)
    for pre, post, shape in (("x", "b", (3, 2)), ("y", "a", (2, 1)), ("a", "b", (3, 2)), ("b", "c", (1, 3))):
        net.connect(pre, post, rng.normal(size=shape), delay=1e-3 * rng.integers(1, 4, shape))
    inputs = {
        "x": es.SpikeTrains.from_lists([[[1e-3], [2e-3]]]),
        "y": es.SpikeTrains.from_lists([[[3e-3]]]),
    }
    return es.solve(net, inputs, 5e-3)


def test_sources_are_numbered_through_inputs_first_and_cells_population_after_population():
    solution = several()
    box = box_of(solution)
    channels = [("x", 0), ("x", 1), ("y", 0)]
    cells = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]
    sources = channels + cells
    assert (box.n_channels, box.n_cells) == (len(channels), len(cells))
    assert [cells[cell] for cell in np.flatnonzero(box.subtracts)] == [("b", 0), ("b", 1), ("b", 2)]
    assert [box.cell_name(cell) for cell in range(box.n_cells)] == cells
    with pytest.raises(IndexError):
        box.cell_name(len(cells))
    assert {name: sources[first] for name, first in source_names(box).items()} == {
        name: (name, 0) for name in "xyabc"
    }
    synapses = box.synapses
    found = [
        (sources[source], cells[target], weight, delay)
        for source, target, weight, delay in zip(
            synapses.source.tolist(),
            synapses.target.tolist(),
            synapses.weight.middle.tolist(),
            synapses.delay.middle.tolist(),
            strict=True,
        )
    ]
    expected = []
    for (pre, post), projection in solution.network.projections.items():
        for i, j in np.ndindex(projection.weight.shape):
            weight, delay = projection.weight[i, j], projection.delay.reshape(projection.weight.shape)[i, j]
            expected.append(((pre, j), (post, i), float(weight), float(delay)))
    assert sorted(found) == sorted(expected)


def test_what_v_may_begin_with_is_hardly_more_than_it_is_however_small_or_large():
    """By some roundings of its two terms, where the sum is rounded once."""
    for scale in (1e-9, 1.0, 1e6):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_threshold=scale, v_leak=0.3 * scale))
        net.connect("in", "n", [[0.4 * scale]], synapse="delta")
        first = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 2e-3)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 3e-3, initial=first.final_state)
        (u,) = solution.from_start().start_states("n").u[0]
        exact, size = Fraction(float(u)) + Fraction(0.3 * scale), abs(float(u)) + 0.3 * scale
        above = Fraction(float(box_of(solution).begins[0])) - exact
        assert 0 < above <= Fraction(16 * 2.0**-52 * size)


def test_radii_of_times_may_carry_a_unit_and_others_may_not():
    solution = one()
    box = box_of(solution, {"delay": 0.5 * pq.us, "t_ref": {"n": 2.0 * pq.us}})
    assert box.synapses.delay.radius.tolist() == [0.5e-6]
    assert box.parameters["t_ref"].radius.tolist() == [2e-6]
    with pytest.raises(ValueError, match="weight"):
        box_of(solution, {"weight": 0.5 * pq.us})


def test_radii_of_what_is_no_parameter_are_refused():
    with pytest.raises(ValueError, match="radii name 'tau', which is not a parameter"):
        box_of(one(), {"tau": 1e-6})
    with pytest.raises(ValueError, match=r"radii\['tau_mem'\] name 'm'; there are \['n'\]"):
        box_of(one(), {"tau_mem": {"m": 1e-6}})


def test_what_is_wrong_with_a_radius_is_said_of_what_it_is_for():
    with pytest.raises(ValueError, match=r"radii\['weight'\]\[\('in', 'n'\)\] must be finite and >= 0; "):
        box_of(one(), {"weight": {("in", "n"): -1e-6}})


def test_a_state_of_time_0_is_a_start():
    state = one().final_state
    states = {
        name: of._replace(time=0 * of.time, u=0 * of.u + 0.25, i=0 * of.i)
        for name, of in state.layers.items()
    }
    nothing = {name: es.SpikeTrains.from_lists([[[]]]) for name in state.in_flight}
    empty = (
        {name: of[:0] for name, of in state.low.items()},
        {name: of[:0] for name, of in state.turns.items()},
    )
    start = replace(state, time=0.0, layers=states, in_flight=nothing, low=empty[0], turns=empty[1])
    solution = es.solve(one().network, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 5e-3, initial=start)
    assert solution.voltage("n", [0.0]).item() == 0.25
    box = box_of(solution)
    assert box.start[0].excess.tolist() == [0.25]
    assert 0.25 <= box.begins[0] < 0.25 + 1e-14


def test_inputs_alone_are_a_box_without_cells():
    net = es.Network()
    net.add_input("in", 2)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], []]])}, 5e-3)
    box = box_of(solution)
    assert (box.n_channels, box.n_cells) == (2, 0)
    assert box.synapses.source.size == 0
    assert all(numbers.middle.size == numbers.radius.size == 0 for numbers in box.parameters.values())
