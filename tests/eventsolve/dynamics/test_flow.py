"""flow_derivative: against differences of exact flows, the volume that it keeps, and pieces that compose."""

import functools
import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from comparing import Comparison
from loops import Loop, solved
from networks import EPS, random_case

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.dynamics import coordinates, displaced, flow_derivative, position, velocity
from eventsolve.multiprecision.problems import context
from eventsolve.schedule import layers_of


def loop(seed):
    """A random loop of one sample, or None."""
    drawn = Loop(seed, n=3)
    drawn.times = drawn.times[:1]
    return drawn if solved(drawn) is not None else None


@functools.cache
def loops():
    return [seed for seed in range(40) if loop(seed) is not None][:12]


def between(trains, low, high):
    """Those spikes of one sample that lie in (low, high]."""
    kept = (trains.times > low) & (trains.times <= high)
    return es.SpikeTrains.from_arrays(
        trains.times[kept],
        trains.neurons[kept],
        trains.samples[kept],
        n_neurons=trains.n_neurons,
        n_samples=1,
    )


def pieces_of(net, inputs, cuts):
    found, state, before = [], None, -1.0
    for cut in cuts:
        found.append(
            es.solve(net, {k: between(t, before, cut) for k, t in inputs.items()}, cut, initial=state)
        )
        state, before = found[-1].final_state, cut
    return found


def rounding(solution, pieces):
    """Bound what float64 loses of a derivative: the sizes of all paths through the pieces, times what a piece rounds.

    A piece rounds at most 16 times for each of its events and coordinates, and at a spike the slope loses the ratio of
    what it is the sum of to itself.
    """
    net = solution.network
    worst = 1.0
    for name, trains in solution.spikes.items():
        population = net.population(name)
        if population.neuron is None or not trains.n_spikes:
            continue
        before = np.nextafter(trains.times, 0.0)
        current = solution.current(name, before)[0, trains.neurons, np.arange(trains.n_spikes)]
        level = (population.parameter("v_threshold") - population.parameter("v_leak"))[trains.neurons]
        worst = max(worst, float(((abs(current) + abs(level)) / abs(current - level)).max()))
    sizes = None
    for piece in pieces:
        matrix = abs(flow_derivative(piece).vectors)
        sizes = matrix if sizes is None else matrix @ sizes
    n_events = sum(t.n_spikes for t in solution.spikes.values())
    return 16 * EPS * (n_events + 1) * len(sizes) * worst * sizes


def exact_position(exact, net, end):
    """The coordinates of the end, from the multiprecision solver."""
    values, t_end = [], exact.problem.t_end
    spikes = {name: [(t, n) for t, n in exact.spikes[name][0]] for name in end.populations}
    longest = {
        name: max([0, *(max(p.delay) for p in net.projections.values() if p.pre == name)]) for name in spikes
    }
    under_way = {
        name: [t for t, _ in spikes[name] if t + exact.context.mpf(longest[name]) > t_end] for name in spikes
    }
    for kind, k, neuron, spike in zip(end.kinds, end.population, end.neuron, end.spike, strict=True):
        name = end.populations[k]
        if kind == 0:
            values.append(exact.voltage(name, 0, int(neuron), t_end))
        elif kind == 2:
            values.append(exact.current(name, 0, int(neuron), t_end))
        elif kind == 1:
            values.append([t for t, n in spikes[name] if n == neuron][-1])
        else:
            values.append(under_way[name][spike])
    return values


def kinds_of_spikes(solution):
    """Which there are: by an arrival or a crossing, with a reset by subtraction, with a refractory period."""
    found = set()
    for layer in layers_of(solution.network):
        own = solution.chunks[0].queued[layer.name]
        subtracts, t_ref = (x[own.neurons] for x in (layer.neurons.subtracts, layer.neurons.t_ref))
        found |= set(
            zip((own.trigger >= 0).tolist(), (subtracts > 0).tolist(), (t_ref > 0).tolist(), strict=True)
        )
    return found


def test_from_a_start_at_rest_it_is_what_multiprecision_differences_say():
    """Delays, refractory periods, both resets, delta synapses and self-connections; of V and I of every neuron."""
    compare, coordinates_seen, spikes_seen = Comparison(), set(), set()
    for seed, t_end in itertools.product((0, 1, 2, 4, 11, 14), (17e-3, 26e-3)):
        drawn = loop(seed)
        net, inputs = drawn.network(), drawn.trains()
        solution = es.solve(net, inputs, t_end)
        derivative = flow_derivative(solution)
        coordinates_seen |= set(derivative.end.kinds.tolist())
        spikes_seen |= kinds_of_spikes(solution)
        allowed = rounding(solution, pieces_of(net, inputs, np.linspace(0.0, t_end, 6)[1:]))
        step = np.random.default_rng(seed).uniform(-1, 1, len(derivative.start))
        given, ctx = multiprecision.problem(net, inputs, t_end), context(60)
        h = ctx.mpf("1e-15")
        sides = [
            exact_position(
                multiprecision.solve_problem(started(given, derivative.start, step, sign * h), digits=40),
                net,
                derivative.end,
            )
            for sign in (1, -1)
        ]
        want = np.array([float((a - b) / (2 * h)) for a, b in zip(*sides, strict=True)])
        compare.close(derivative.vectors @ step, want, allowed @ abs(step), seed)
    compare.demand(0.9)
    assert coordinates_seen == {0, 1, 2, 3}
    assert len(spikes_seen) == 8


def started(given, where, step, h):
    """The problem with V and I of every neuron moved at the start, by h along a step."""
    neurons = {}
    for name, cells in given.neurons.items():
        v, i = (step[where.of(kind, name)] for kind in ("V", "I"))
        neurons[name] = tuple(
            replace(
                cell,
                v_initial=h.context.mpf(cell.v_initial) + h * float(v[m]),
                i_initial=h.context.mpf(cell.i_initial) + h * float(i[m]),
            )
            for m, cell in enumerate(cells)
        )
    return replace(given, neurons=neurons)


def test_every_coordinate_of_a_state_in_the_middle_is_what_differences_say():
    """Also releases and spikes on their way, each alone: central differences of solve() itself, of two steps.

    Their truncation is estimated by that of the larger step; what they round, by the state's own size over the step.
    """
    compare, kinds = Comparison(), []
    for seed in loops()[:7]:
        drawn = loop(seed)
        net, inputs = drawn.network(), drawn.trains()
        held = [name for name in "ab" if net.population(name).parameter("t_ref")[0] > 0.0]
        times = np.concatenate([solved(drawn).spikes[name].times for name in held or "ab"])
        middle = times[times.size // 2] + 0.4e-3  # most have just spiked
        t_end = middle + 6e-3
        first, second = pieces_of(net, inputs, (middle, t_end))
        state = first.final_state
        late = {"in": between(inputs["in"], middle, t_end)}
        derivative = flow_derivative(second)
        allowed = rounding(second, [second])
        assert np.array_equal(derivative.start.kinds, coordinates(net, state).kinds)
        for k, kind in enumerate(derivative.start.kinds.tolist()):
            unit = 1e-3 if kind in (1, 3) else 1.0
            found = []
            for h in (2e-5 * unit, 1e-5 * unit):
                sides = []
                for sign in (1, -1):
                    by = np.zeros(len(derivative.start))
                    by[k] = sign * h
                    moved = es.solve(net, late, t_end, initial=displaced(net, state, by))
                    same = all(
                        np.array_equal(moved.spikes[n].neurons, second.spikes[n].neurons)
                        for n in second.spikes
                    )
                    sides.append(position(net, moved.final_state) if same else None)
                if any(side is None or side.size != len(derivative.end) for side in sides):
                    break
                found.append((sides[0] - sides[1]) / (2 * h))
            if len(found) < 2:
                continue  # the order of events changes within the step
            size = np.where((derivative.end.kinds == 1) | (derivative.end.kinds == 3), 2 * t_end, 4.0)
            noise = allowed.max(axis=1) / (1e-5 * unit) + 64 * EPS * size / (1e-5 * unit)
            truncation = abs(found[0] - found[1])
            reached = derivative.vectors[:, k] != 0.0
            assert (abs(found[1])[~reached] <= noise[~reached]).all()
            compare.close(
                derivative.vectors[reached, k], found[1][reached], (truncation + noise)[reached], (seed, k)
            )
            kinds.append(kind)
    compare.demand(0.8)
    assert np.bincount(kinds, minlength=4).min() >= 6


@pytest.mark.parametrize("which", range(6))
def test_pieces_compose(which):
    drawn = loop(loops()[which])
    net, inputs = drawn.network(), drawn.trains()
    whole = flow_derivative(es.solve(net, inputs, 30e-3))
    pieces = pieces_of(net, inputs, np.linspace(0, 30e-3, 8)[1:])
    vectors, names = np.eye(len(whole.start)), whole.start.names()
    for piece in pieces:
        found = flow_derivative(piece, vectors)
        assert found.start.names() == names
        vectors, names = found.vectors, found.end.names()
    assert names == whole.end.names()
    compare, reached = Comparison(), whole.vectors != 0.0
    assert (vectors[~reached] == 0.0).all()
    allowed = rounding(es.solve(net, inputs, 30e-3), pieces)
    compare.close(vectors[reached], whole.vectors[reached], allowed[reached])
    compare.demand(0.9)


def test_of_layers_and_readouts_and_any_sample_of_a_batch():
    """A network without a cycle, beside the sample alone and beside jvp."""
    case = random_case(3, n_samples=70)
    solution = case.solve()
    for sample in (1, 66):
        alone = es.solve(case.net, {"in": case.inputs["in"].select([sample])}, case.t_end)
        a, b = flow_derivative(solution, sample=sample), flow_derivative(alone)
        assert np.array_equal(a.vectors, b.vectors)
    step = np.random.default_rng(1).normal(size=len(b.start))
    direction = {
        "v_initial": {name: step[b.start.of("V", name)] for name in b.start.populations},
        "i_initial": {name: step[b.start.of("I", name)] for name in b.start.populations},
    }
    dt, found = es.jvp(alone, direction), flow_derivative(alone, step)
    compare = Comparison()
    for name in b.start.populations:
        bound = 1e3 * EPS * (abs(b.spike_times[name]) @ abs(step))
        compare.close(found.spike_times[name][:, 0], dt[name], bound)
    compare.demand(0.9)


def test_it_keeps_the_volume_that_divergence_and_slopes_say():
    """Without delays the determinant is exp(-sum of t/tau) times V'+/V'- of every spike, and 1 for every arrival."""
    rng = np.random.default_rng(5)
    n, t_end = 5, 60e-3
    for t_ref in (0.0, 2e-3):
        net = es.Network()
        net.add_population(
            "n",
            n,
            es.LIF(
                20e-3, 5e-3, v_leak=rng.uniform(1.3, 1.8, n), v_initial=rng.uniform(0, 0.9, n), t_ref=t_ref
            ),
        )
        weight = rng.normal(0, 0.3, (n, n))
        net.connect("n", "n", weight)
        solution = es.solve(net, {}, t_end)
        derivative = flow_derivative(solution)
        trains = solution.spikes["n"]
        _, log = np.linalg.slogdet(derivative.vectors)
        assert trains.n_spikes > 10
        held = derivative.end.of("release", "n")
        free_time = np.full(n, t_end)
        expected = -n * t_end / 5e-3
        for neuron in range(n):
            mine = trains.times[trains.neurons == neuron]
            released = np.minimum(mine + t_ref, t_end)
            free_time[neuron] -= (released - mine).sum()
            for t in mine:
                left = slope(solution, neuron, np.nextafter(t, 0.0))
                expected -= np.log(abs(left))
                if t + t_ref <= t_end:
                    # its own arrival is at the same time: V moves on with it
                    right = slope(solution, neuron, t + t_ref if t_ref else t)
                    expected += np.log(abs(right))
        expected -= free_time.sum() / 20e-3
        assert (t_ref > 0) or held.size == 0
        # a log of a determinant of 2n rows: each of n_events propagators and quotients rounds a few times
        assert abs(log - expected) < 64 * EPS * np.linalg.cond(derivative.vectors) * (trains.n_spikes + 2 * n)
        assert abs(expected) > 1.0


def slope(solution, neuron, t):
    """V' at a time, right-continuous: (v_leak - V + I)/tau_mem."""
    leak = solution.network.population("n").parameter("v_leak")[neuron]
    v, i = solution.voltage("n", [t])[0, neuron, 0], solution.current("n", [t])[0, neuron, 0]
    tau = solution.network.population("n").parameter("tau_mem")[neuron]
    return (leak - v + i) / tau


@pytest.mark.parametrize("t_ref", [0.0, 3e-3])
def test_without_input_the_velocity_is_carried_to_the_velocity(t_ref):
    """The direction of the flow itself, also with spikes on their way and neurons that are held."""
    rng = np.random.default_rng(2)
    n = 6
    net = es.Network()
    net.add_population("e", n, es.LIF(15e-3, 4e-3, v_leak=rng.uniform(1.2, 1.9, n), t_ref=t_ref))
    net.add_population(
        "i", 3, es.LIF(10e-3, 10e-3, v_leak=1.3, v_initial=[0.1, 0.4, 0.8], t_ref=t_ref, reset="subtract")
    )
    for pre, post, scale in (("e", "e", 0.2), ("e", "i", 0.2), ("i", "e", -0.3), ("i", "i", -0.2)):
        shape = (net.population(post).size, net.population(pre).size)
        net.connect(pre, post, scale * rng.uniform(0, 1, shape), delay=rng.uniform(0.2e-3, 4e-3, shape))
    net.connect("e", "i", 0.05 * rng.uniform(0, 1, (3, n)), delay=1e-3, synapse="delta", name="jump")
    first, second = pieces_of(net, {}, (83e-3, 117e-3))
    before, after = velocity(net, first.final_state), velocity(net, second.final_state)
    found = flow_derivative(second, before)
    kinds = set(found.start.kinds.tolist()) | set(found.end.kinds.tolist())
    assert kinds == ({0, 1, 2, 3} if t_ref else {0, 2, 3})
    allowed = rounding(second, [second]) @ abs(before)
    Comparison().close(found.vectors[:, 0], after, allowed)
    assert sum(t.n_spikes for t in second.spikes.values()) > 15
    for times in found.spike_times.values():  # the same trajectory, but earlier
        np.testing.assert_allclose(times, -1.0, rtol=1e-9)


def test_a_spike_over_a_delta_synapse_loses_a_direction_or_keeps_what_is_beyond_the_threshold():
    for reset, kept in (("value", 0.0), ("subtract", np.exp(-0.5))):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_initial=0.5, reset=reset))
        net.connect("in", "n", [[0.9]], synapse="delta")
        derivative = flow_derivative(es.solve(net, {"in": es.SpikeTrains.from_lists([[[2e-3]]])}, 10e-3))
        assert derivative.end.names() == ["V of neuron 0 of 'n'"]
        assert derivative.vectors[0, 0] == pytest.approx(kept, rel=8 * EPS, abs=0)


def test_a_state_is_moved_to_where_it_is_said_and_no_further():
    drawn = loop(loops()[1])
    net, inputs = drawn.network(), drawn.trains()
    state = es.solve(net, inputs, 22e-3).final_state
    where, at = coordinates(net, state), position(net, state)
    by = np.full(len(where), 1e-7)
    moved = displaced(net, state, by)
    np.testing.assert_allclose(position(net, moved), at + by, rtol=0, atol=8 * EPS)
    again = pickle.loads(pickle.dumps(where))
    assert again.names() == where.names()
    assert len(repr(where)) < 200
    names = where.populations
    for kind, size, said in (("V", 5.0, "threshold"), ("spike", 1.0, "not on its way")):
        places = np.concatenate([where.of(kind, name) for name in names])
        far = np.zeros(len(where))
        far[places[0]] = size
        with pytest.raises(ValueError, match=said):
            displaced(net, state, far)
    with pytest.raises(ValueError, match="one number for each of"):
        displaced(net, state, [1.0])


def test_a_refractory_period_too_short_for_float64_is_none():
    found = []
    for t_ref in (0.0, 1e-20):
        net = es.Network()
        net.add_population("n", 3, es.LIF(20e-3, 5e-3, v_leak=[1.3, 1.5, 1.8], t_ref=t_ref))
        net.connect("n", "n", [[0.1, -0.3, 0.2], [0.2, 0.1, -0.1], [-0.3, 0.3, 0.1]], delay=1e-3)
        solution = es.solve(net, {}, 60e-3)
        found.append(flow_derivative(solution).vectors)
    assert solution.spikes["n"].n_spikes > 5
    assert np.array_equal(*found)


def test_a_spike_without_a_slope_is_refused_by_place():
    """A spike recorded where a weaker network's voltage would not rise through the threshold."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[8.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.05)
    solution = solution._with(network=net.with_weights({("in", "out"): [[1.0]]}))
    with pytest.raises(es.UndefinedGradientError, match="neuron 0 of 'out' grazes its threshold"):
        flow_derivative(solution)
    assert flow_derivative(solution, np.zeros(2)).vectors.tolist() == [[0.0], [0.0]]


def test_what_is_no_solution_vector_or_sample_is_refused():
    case = random_case(3, n_samples=2)
    solution = case.solve()
    with pytest.raises(TypeError, match="solution must be a Solution"):
        flow_derivative(3)
    with pytest.raises(ValueError, match=r"sample must be an integer in 0..1"):
        flow_derivative(solution, sample=2)
    with pytest.raises(ValueError, match="one row for each of 12 coordinates"):
        flow_derivative(solution, [1.0, 2.0])
    first = es.solve_first_spikes(case.net, case.inputs, case.t_end, population="out")
    with pytest.raises(ValueError, match="the derivative of its flow"):
        flow_derivative(first)
