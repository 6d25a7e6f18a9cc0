"""Do gradients say where they are one-sided, for which numbers, and on which side?

The truth are one-sided differences of the multiprecision solver, which share no code with gradients. Times are
multiples of 2^-10 s, of which every sum is exact.
"""

import numpy as np
import pytest
from ties import GRID, tied_network

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.multiprecision.differences import _replaced, _values
from eventsolve.patterns import NAMES

STEP = 1e-20
"""Of a difference, whose error is as many times the second derivative: beyond the digits that are compared."""


def one_sided(problem, base, cotangents, parameter, index):
    """The differences for a growing and a falling number: None where spikes appear, vanish or jump, or at an edge."""
    ctx = base.context
    counts = [[n for _, n in base.spikes["b"][0]].count(m) for m in (0, 1)]

    def value(solution):
        by_neuron = [[t for t, n in sorted(solution.spikes["b"][0]) if n == m] for m in (0, 1)]
        if [len(times) for times in by_neuron] != counts:
            return None
        return sum(
            (ctx.mpf(c) * t for c, t in zip(cotangents, [*by_neuron[0], *by_neuron[1]], strict=True)),
            ctx.mpf(0),
        )

    found, number = [], ctx.mpf(_values(problem, parameter)[index])
    for step in (ctx.mpf(STEP), -ctx.mpf(STEP)):
        if number + step < 0 and parameter[0] in ("delay", "t_ref", "spike_times"):
            found.append(None)
            continue
        try:
            moved = multiprecision.solve_problem(
                _replaced(problem, parameter, index, number + step), digits=40
            )
            there = value(moved)
        except ValueError:  # a neuron that would spike twice at one time
            there = None
        slope = None if there is None else (there - value(base)) / step
        found.append(None if slope is None or abs(slope) > 1e8 else float(slope))
    return found


@pytest.mark.parametrize("seed", [2, 6, 28])
def test_every_number_is_the_derivative_on_the_sides_that_are_named(seed):
    rng = np.random.default_rng(seed)
    net, inputs, t_end = tied_network(rng)
    solution = es.solve(net, inputs, t_end)
    spikes = solution.spikes["b"]
    by_neuron = np.lexsort((spikes.times, spikes.neurons))
    cotangents = rng.choice([1.0, 2.0, -1.0], spikes.n_spikes)
    given = np.empty_like(cotangents)
    given[by_neuron] = cotangents
    grads = es.vjp(solution, {"b": given})
    sides = es.gradient_sides(grads)
    problem = multiprecision.problem(net, inputs, t_end)
    base = multiprecision.solve_problem(problem, digits=40)
    places = [
        (name, key, k)
        for name in NAMES
        for key in sides[name]
        if name != "spike_times" or key == "in"
        for k in range(np.size(sides[name][key]))
    ]
    of_interest = [p for p in places if sides[p[0]][p[1]].reshape(-1)[p[2]] != 0]
    others = [places[k] for k in rng.permutation(len(places))[:6]]
    wrong = 0
    for name, key, k in of_interest[:12] + others:
        got = float(np.reshape(getattr(grads, name)[key], -1)[k])
        side = int(sides[name][key].reshape(-1)[k])
        up, down = (
            d is not None and abs(d - got) <= 1e-9 * (1e-3 + abs(d))
            for d in one_sided(problem, base, cotangents, (name, key), k)
        )
        number = float(_values(problem, (name, key))[k])
        at_edge = number == 0.0 and name in ("delay", "t_ref", "spike_times")
        assert {0: up and (down or at_edge), 1: up, -1: down, 2: True}[side], (name, key, k, side)
        wrong += not (up and (down or at_edge))
    # without sides so many numbers would have been called derivatives that are none
    assert wrong >= 2
    assert len(grads.one_sided) >= 2


def test_a_number_between_two_ties_is_neither_derivative():
    """A spike at 5 ends its refractory period at 6, when the trigger arrives, and behind it another that would do."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("b", 1, es.LIF(20e-3, 5e-3, t_ref=GRID))
    net.connect("in", "b", [[1.5, 1.5]], synapse="delta", delay=GRID)
    inputs = {"in": es.SpikeTrains.from_lists([[[4 * GRID, 5 * GRID], [5 * GRID]]])}
    solution = es.solve(net, inputs, 20 * GRID)
    np.testing.assert_array_equal(solution.spikes["b"].times, [5 * GRID, 6 * GRID])
    grads = es.vjp(solution, {"b": [0.0, 1.0]})
    np.testing.assert_array_equal(grads.spike_times["in"], [0.0, 1.0, 0.0])

    def second(step):
        moved = es.SpikeTrains.from_lists([[[4 * GRID, 5 * GRID + step], [5 * GRID]]])
        return es.solve(net, {"in": moved}, 20 * GRID).spikes["b"].times[1]

    # later it comes behind the other trigger, earlier V is still held: the spike stays where it is
    assert second(1e-6) == second(-1e-6) == 6 * GRID
    sides = es.gradient_sides(grads)
    np.testing.assert_array_equal(sides["spike_times"]["in"], [-1, 2, 1])
    np.testing.assert_array_equal(sides["t_ref"]["b"], [-1])
    assert not any(side.any() for side in sides["weight"].values())
    first, other = grads.one_sided
    assert (first.first, first.second) == (
        "the end of its refractory period",
        "an arrival from neuron 0 of 'in'",
    )
    assert (other.first, other.second) == ("its spike", "an arrival from neuron 1 of 'in'")
    assert first[:4] == ("b", 0, 0, 6 * GRID)
    assert str(first).startswith(
        "an arrival from neuron 0 of 'in' comes at the very time of the end of its refractory"
    )
    # both later by as much, the order is kept: along with the other the number is a derivative
    both = es.SpikeTrains.from_lists([[[4 * GRID, 5 * GRID + 1e-6], [5 * GRID + 1e-6]]])
    late = es.solve(net, {"in": both}, 20 * GRID).spikes["b"].times[1]
    assert (late - 6 * GRID) / 1e-6 == pytest.approx(grads.spike_times["in"].sum(), rel=1e-9, abs=0.0)


def test_two_arrivals_whose_order_keeps_a_neuron_silent():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("b", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "b", [[-0.5, 1.2]], synapse="delta")
    net.connect("in", "b", [[4.0, 4.0]], name="slow")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[GRID], [GRID]]])}, 20 * GRID)
    grads = es.vjp(solution, {"b": np.ones(solution.spikes["b"].n_spikes)})
    (place,) = grads.one_sided
    assert (place.first, place.second) == tuple(f"an arrival from neuron {n} of 'in'" for n in (0, 1))
    np.testing.assert_array_equal(es.gradient_sides(grads)["spike_times"]["in"], [-1, 1])


def test_a_read_at_the_time_of_an_arrival():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("read", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "read", [[3.0]], delay=GRID)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[3 * GRID]], [[4 * GRID]]])}, 20 * GRID)
    loss = es.losses.SampledVoltage("read", [4 * GRID], lambda v: (v[:, 0, 0], v**0))
    for reduction, sides, n in (("mean", [[-1]], 2), ("none", [[-1], [0]], 1)):
        _, grads = es.value_and_grad(solution, loss, reduction=reduction)
        (place,) = grads.one_sided
        assert (place.second, place.sample) == ("a sample of its voltage", 0)
        found = es.gradient_sides(grads)
        np.testing.assert_array_equal(found["delay"]["in", "read"].reshape(-1, 1), sides)
        np.testing.assert_array_equal(found["spike_times"]["in"], [-1, 0])
        # what an earlier arrival has done by then; a later one does nothing
        np.testing.assert_allclose(grads.spike_times["in"], [-3.0 / 20e-3 / n, 0.0], rtol=1e-12)


def test_nothing_is_one_sided_away_from_ties_or_of_what_the_loss_does_not_see():
    net, inputs, t_end = tied_network(np.random.default_rng(6))
    solution = es.solve(net, inputs, t_end)
    n = {name: trains.n_spikes for name, trains in solution.spikes.items()}
    assert es.vjp(solution, {"b": np.zeros(n["b"])}).one_sided == ()
    assert all(place.population == "a" for place in es.vjp(solution, {"a": np.ones(n["a"])}).one_sided)
    apart = es.SpikeTrains.from_arrays(
        inputs["in"].times + 1e-5 * np.sqrt(2.0 + np.arange(n["in"])), inputs["in"].neurons, n_neurons=3
    )
    free = net.with_neurons({name: es.LIF(20e-3, 5e-3, t_ref=1.37e-3) for name in ("a", "b")})
    other = es.solve(free, {"in": apart}, t_end)
    grads = es.vjp(other, {"b": np.ones(other.spikes["b"].n_spikes)})
    assert not any(side.any() for by_key in es.gradient_sides(grads).values() for side in by_key.values())


def test_only_gradients_have_sides():
    with pytest.raises(TypeError, match="gradients must be a Gradients; got Network"):
        es.gradient_sides(es.Network())
