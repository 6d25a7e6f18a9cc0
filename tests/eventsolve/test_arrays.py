"""A network as a function of arrays: its pullback is the derivative of its results."""

import numpy as np
import pytest
from hypothesis import given
from readouts import VOLTAGE_TIMES, readout_problem
from strategies import spike_lists

import eventsolve as es
from eventsolve.adapters.arrays import QUANTITIES, array_problem


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pullbacks_are_the_derivatives_of_the_results(seed):
    net, times, t_end = readout_problem(seed)
    outputs = ("a", "b", "read")
    problem = array_problem(net, t_end, outputs=outputs, trainable=QUANTITIES, voltage_times=VOLTAGE_TIMES)
    rng = np.random.default_rng(seed)
    values = problem.initial()
    solution = problem.solve(values, [times])
    results = problem.results(solution)
    assert min(np.isfinite(r).sum() for r in results) >= 6
    finite = [np.isfinite(r) for r in results]
    cotangents = [rng.normal(size=r.shape) for r in results]  # also where results are inf
    found = problem.pullback(solution, [times], cotangents)
    assert [g.shape for g in found.parameters] == [v.shape for v in values]
    for k, (place, gradient) in enumerate(
        zip((*problem.places, "times"), (*found.parameters, *found.times), strict=True)
    ):
        is_time = place == "times" or place.quantity in ("delay", "tau_mem", "tau_syn", "t_ref")
        direction = rng.normal(size=gradient.shape) * (5e-3 if is_time else 1.0)
        if place != "times" and place.quantity == "t_ref" and not values[k].any():
            continue  # it cannot be smaller than 0
        if place == "times":
            direction[~np.isfinite(times)] = 0.0

        def total(step, k=k, place=place, direction=direction):
            moved = list(values)
            inputs = times
            if place == "times":
                inputs = times + step * direction
            else:
                moved[k] = values[k] + step * direction
            new = problem.results(problem.solve(moved, [inputs]))
            assert [r.shape for r in new] == [r.shape for r in results]
            return sum((c[f] * r[f]).sum() for c, r, f in zip(cotangents, new, finite, strict=True))

        h = 1e-6
        got = np.sum(gradient * direction)
        want = (8 * (total(h) - total(-h)) - (total(2 * h) - total(-2 * h))) / (12 * h)
        # results are known to 1e-13 or so, of times and voltages alike; truncation is of fourth order in h
        assert got == pytest.approx(want, rel=1e-6, abs=1e-6)


@given(spike_lists())
def test_dense_times_return_as_they_were(drawn):
    lists, n_neurons = drawn
    trains = es.SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    dense = trains.to_dense()
    assert dense.shape == (trains.n_samples, n_neurons, max(1, int(trains.counts().max(initial=0))))
    back = es.SpikeTrains.from_dense(dense)
    np.testing.assert_array_equal(back.times, trains.times)
    np.testing.assert_array_equal(back.neurons, trains.neurons)
    np.testing.assert_array_equal(dense[trains.samples, trains.neurons, trains.slots()], trains.times)
    np.testing.assert_array_equal(dense[..., 0], trains.first())


def test_a_train_that_does_not_fit_is_an_error():
    trains = es.SpikeTrains.from_lists([[[1.0], []], [[], [1.0, 2.0]]])
    with pytest.raises(
        ValueError, match="n_spikes must be at least 2, the spikes of neuron 1 in sample 1; got 1"
    ):
        trains.to_dense(1)
    assert trains.to_dense(3).shape == (2, 2, 3)


def test_input_times_may_stand_in_any_order():
    net, times, t_end = readout_problem(1)
    problem = array_problem(net, t_end, voltage_times=VOLTAGE_TIMES)
    flipped = times[:, :, ::-1].copy()
    straight, turned = (problem.solve(problem.initial(), [t]) for t in (times, flipped))
    for a, b in zip(problem.results(straight), problem.results(turned), strict=True):
        np.testing.assert_array_equal(a, b)
    cotangents = [np.ones_like(r) for r in problem.results(straight)]
    (a,), (b,) = (
        problem.pullback(s, [t], cotangents).times for s, t in ((straight, times), (turned, flipped))
    )
    np.testing.assert_array_equal(a, b[:, :, ::-1])


def small():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_population("read", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "a", [[10.0], [11.0]])
    net.connect("a", "read", [[1.0, 1.0]])
    return net


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "voltage_times must be given, as output 'read' is an LI"),
        ({"outputs": ("in",)}, "outputs name 'in', which is an input"),
        ({"outputs": ("b",)}, "'b' is not a population"),
        ({"outputs": ()}, "outputs must name a population"),
        ({"outputs": ("a",), "trainable": ("reset",)}, "trainable must be among .*; got 'reset'"),
        ({"outputs": ("a",), "voltage_times": ["1"]}, "voltage_times must be numbers in seconds"),
    ],
)
def test_what_it_cannot_be_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        array_problem(small(), 50e-3, **settings)


def test_parameters_are_named_after_what_they_belong_to():
    problem = array_problem(small(), 50e-3, outputs=("a",), trainable=("weight", "v_threshold", "tau_mem"))
    assert [(p.quantity, p.label) for p in problem.places] == [
        ("weight", "in->a"),
        ("weight", "a->read"),
        ("v_threshold", "a"),
        ("tau_mem", "a"),
        ("tau_mem", "read"),
    ]
