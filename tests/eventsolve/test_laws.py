"""Laws that an exact solver obeys, on random heterogeneous networks."""

from dataclasses import replace

import numpy as np
import pytest
from comparing import Comparison
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import COMPUTED, EPS, cases, gradient_bounds, one_by_one, random_case, reached, time_bounds

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.network import LARGEST

few = settings(max_examples=40)
"""An example solves and differentiates a network many times."""

PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")


def same_spikes(a, b, bound):
    """Same number of spikes of every neuron, each time within its bound."""
    assert np.array_equal(a.counts(), b.counts())
    by_neuron = [np.lexsort((s.times, s.neurons, s.samples)) for s in (a, b)]
    assert (np.abs(a.times[by_neuron[0]] - b.times[by_neuron[1]]) <= bound[by_neuron[0]]).all()


def weighted(solution, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=solution.spikes[name].n_spikes) for name in ("hidden", "out")}


@few
@given(cases(leak=False), st.floats(1e-4, 0.1))
def test_time_shift(case, shift):
    solution = case.solve()
    inputs = case.inputs["in"]
    later = es.SpikeTrains.from_arrays(
        inputs.times + shift, inputs.neurons, inputs.samples, n_neurons=3, n_samples=inputs.n_samples
    )
    shifted = case.solve(inputs={"in": later}, t_end=case.t_end + shift)
    bounds, rounding = time_bounds(solution), 2 * EPS * (case.t_end + shift)
    for name in ("hidden", "out"):
        a, b = solution.spikes[name], shifted.spikes[name]
        back = es.SpikeTrains(b.times - shift, b.neurons, b.samples, b.n_samples, b.n_neurons)
        # shifting rounds every input and every time to the larger numbers
        same_spikes(a, back, 2 * bounds[name] * (1 + shift / case.t_end) + rounding)


@few
@given(cases(), st.permutations(range(4)))
def test_permuting_neurons_permutes_spikes_bit_for_bit(case, order):
    order = list(order)
    solution = case.solve()
    net = es.Network()
    net.add_input("in", 3)
    parameters = {p: case.net.population("hidden").parameter(p)[order] for p in PARAMETERS}
    net.add_population("hidden", 4, es.LIF(**parameters))
    net.add_population("out", 2, case.net.population("out").neuron)
    for key, p in case.net.projections.items():
        weight, delay = p.weight, p.delay.reshape(p.weight.shape)
        if key == ("in", "hidden"):
            weight, delay = weight[order], delay[order]
        elif key == ("hidden", "out"):
            weight, delay = weight[:, order], delay[:, order]
        net.connect(*key, weight, delay=delay)
    permuted = case.solve(net=net)
    assert permuted.spikes["out"].to_lists() == solution.spikes["out"].to_lists()
    hidden = permuted.spikes["hidden"].to_lists()
    for sample, neurons in enumerate(solution.spikes["hidden"].to_lists()):
        assert [hidden[sample][k] for k in range(4)] == [neurons[order[k]] for k in range(4)]


def in_other_units(case, *, time=1.0, voltage=1.0):
    """The same network and inputs, with every time and every potential times a factor, solved."""
    factors = dict.fromkeys(("tau_mem", "tau_syn", "t_ref"), time)
    factors |= dict.fromkeys(("v_threshold", "v_reset", "v_leak"), voltage)
    neurons = {
        name: es.LIF(**{p: case.net.population(name).parameter(p) * by for p, by in factors.items()})
        for name in ("hidden", "out")
    }
    projections = case.net.projections
    net = (
        case.net.with_neurons(neurons)
        .with_weights({key: p.weight * voltage for key, p in projections.items()})
        .with_delays({key: p.delay.reshape(p.weight.shape) * time for key, p in projections.items()})
    )
    inputs = {name: replace(trains, times=trains.times * time) for name, trains in case.inputs.items()}
    return case.solve(net=net, inputs=inputs, t_end=case.t_end * time)


@few
@given(cases(), st.sampled_from([0.25, 8.0, 2.0**-190, 2.0**190]))
def test_scaling_voltage_by_a_power_of_two_changes_no_bit_of_time(case, factor):
    solution, scaled = case.solve(), in_other_units(case, voltage=factor)
    for name in ("hidden", "out"):
        assert scaled.spikes[name].to_lists() == solution.spikes[name].to_lists()
    a, b = (es.vjp(s, weighted(s)) for s in (solution, scaled))
    for key in case.net.projections:
        np.testing.assert_array_equal(a.weight[key], b.weight[key] * factor)


@few
@given(cases(), st.sampled_from([0.25, 8.0, 2.0**-185, 2.0**190]))
def test_scaling_all_times_by_a_power_of_two_scales_every_bit(case, factor):
    solution, scaled = case.solve(), in_other_units(case, time=factor)
    for name in ("hidden", "out"):
        np.testing.assert_array_equal(scaled.spikes[name].times, solution.spikes[name].times * factor)
        np.testing.assert_array_equal(scaled.spikes[name].neurons, solution.spikes[name].neurons)
    a, b = (es.vjp(s, weighted(s)) for s in (solution, scaled))
    for key in case.net.projections:
        np.testing.assert_array_equal(b.weight[key], a.weight[key] * factor)
        np.testing.assert_array_equal(b.delay[key], a.delay[key])
    for name in ("hidden", "out"):
        np.testing.assert_array_equal(b.tau_mem[name], a.tau_mem[name])
        np.testing.assert_array_equal(b.tau_syn[name], a.tau_syn[name])


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "weight", "v_threshold", "t_end"),
    [
        (LARGEST, LARGEST, LARGEST, 1 / LARGEST, 3.0),
        (1.0, 1.0, LARGEST, 1 / LARGEST, 3 / LARGEST),
        (1.0, LARGEST, LARGEST, 1.0, 3 / LARGEST),
        (LARGEST, LARGEST, 3.0, 1 / LARGEST, 3.0),
        (1 / LARGEST, 1 / LARGEST, LARGEST, LARGEST / 16, 3 / LARGEST),
    ],
)
@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")
def test_the_largest_ratios_of_scales_are_solved(tau_mem, tau_syn, weight, v_threshold, t_end):
    """To a few ulps of the end; numbers that differ by 2**800 need as many bits of the reference, 260 digits."""
    net = es.Network()
    net.add_input("in", 1)
    neuron = es.LIF(tau_mem=tau_mem, tau_syn=tau_syn, v_threshold=v_threshold, t_ref=t_end / 7)
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [[weight]])
    inputs = {"in": es.SpikeTrains.from_lists([[[t_end / 8, t_end / 2]]])}
    solution = es.solve(net, inputs, t_end)
    got = solution.spikes["out"].times
    want = multiprecision.solve(net, inputs, t_end, digits=260).to_spiketrains("out").times
    assert got.size == want.size > 0
    assert np.abs(got - want).max() <= 4 * EPS * t_end
    grads = es.vjp(solution, {"out": np.ones(got.size)})
    for values in (
        grads.weight["in", "out"],
        grads.tau_mem["out"],
        grads.tau_syn["out"],
        grads.v_threshold["out"],
    ):
        assert np.isfinite(values).all()


@few
@given(cases())
def test_splitting_a_population_in_two(case):
    net = es.Network()
    net.add_input("in", 3)
    for half, rows in (("left", slice(0, 1)), ("right", slice(1, 4))):
        values = {p: case.net.population("hidden").parameter(p)[rows] for p in PARAMETERS}
        net.add_population(half, rows.stop - rows.start, es.LIF(**values))
    net.add_population("out", 2, case.net.population("out").neuron)
    for key, p in case.net.projections.items():
        weight, delay = p.weight, p.delay.reshape(p.weight.shape)
        for half, rows in (("left", slice(0, 1)), ("right", slice(1, 4))):
            if key == ("in", "hidden"):
                net.connect("in", half, weight[rows], delay=delay[rows])
            elif key == ("hidden", "out"):
                net.connect(half, "out", weight[:, rows], delay=delay[:, rows])
        if key == ("in", "out"):
            net.connect("in", "out", weight, delay=delay)
    solution = case.solve()
    assume(solution.spikes["out"].n_spikes < 1000)  # every spike's bound takes its sample again
    split = case.solve(net=net)
    bound = 2 * time_bounds(solution)["out"]  # the order in which equal times are added may differ
    same_spikes(solution.spikes["out"], split.spikes["out"], bound)
    cotangent = weighted(solution)["out"]
    one = es.vjp(solution, {"out": cotangent}).weight["in", "hidden"]
    two = es.vjp(split, {"out": cotangent}).weight
    room = 2 * gradient_bounds(solution, {"out": cotangent})["weight"]
    np.testing.assert_allclose(
        np.concatenate([two["in", "left"], two["in", "right"]]), one, rtol=0, atol=room
    )


@few
@given(cases(), st.floats(0, 45e-3))
def test_an_arrival_of_weight_zero_splits_an_interval_and_changes_nothing(case, time):
    net = es.Network()
    net.add_input("in", 3)
    net.add_input("nothing", 1)
    for name in ("hidden", "out"):
        net.add_population(name, case.net.population(name).size, case.net.population(name).neuron)
    for key, p in case.net.projections.items():
        net.connect(*key, p.weight, delay=p.delay.reshape(p.weight.shape))
    net.connect("nothing", "hidden", np.zeros((4, 1)))
    net.connect("nothing", "out", np.zeros((2, 1)))
    solution = case.solve()
    silence = es.SpikeTrains.from_dense(np.full((2, 1), time))
    split = case.solve(net=net, inputs={**case.inputs, "nothing": silence})
    bounds = time_bounds(solution)
    for name in ("hidden", "out"):
        same_spikes(solution.spikes[name], split.spikes[name], 2 * bounds[name])


@few
@given(cases(n_samples=3))
def test_batch_is_loop_bit_for_bit(case):
    batch = case.solve()
    loss = es.losses.TargetTimeMSE("out", np.zeros((3, 2)), silent="t_end")
    values, grads = es.value_and_grad(batch, loss, reduction="none")
    for sample in range(3):
        one = case.solve(inputs={"in": case.inputs["in"].select([sample])})
        for name in ("hidden", "out"):
            assert one.spikes[name].to_lists()[0] == batch.spikes[name].to_lists()[sample]
        loss_one = es.losses.TargetTimeMSE("out", np.zeros((1, 2)), silent="t_end")
        value, grad = es.value_and_grad(one, loss_one, reduction="sum")
        assert value == values[sample]
        for key in case.net.projections:
            np.testing.assert_array_equal(grads.weight[key][sample], grad.weight[key])
            np.testing.assert_array_equal(grads.delay[key][sample], grad.delay[key])
        for p in PARAMETERS:
            np.testing.assert_array_equal(getattr(grads, p)["hidden"][sample], getattr(grad, p)["hidden"])


def test_threads_and_chunks_change_no_bit():
    case = random_case(7, n_samples=150)
    one = es.solve(case.net, case.inputs, case.t_end, threads=1)
    two = es.solve(case.net, case.inputs, case.t_end, threads=2)
    np.testing.assert_array_equal(one.spikes["out"].times, two.spikes["out"].times)
    cotangents = weighted(one)
    a, b = es.vjp(one, cotangents, threads=1), es.vjp(two, cotangents, threads=2)
    for key in case.net.projections:
        np.testing.assert_array_equal(a.weight[key], b.weight[key])
    each = es.vjp(one, cotangents, reduction="none")
    for key in case.net.projections:
        bound = 150 * EPS * np.abs(each.weight[key]).sum(axis=0)
        assert (np.abs(each.weight[key].sum(axis=0) - a.weight[key]) <= bound).all()


@few
@given(cases())
def test_vjp_is_linear_in_the_cotangent(case):
    solution = case.solve()
    x, y = weighted(solution, 1), weighted(solution, 2)
    both = es.vjp(solution, {name: 2.0 * x[name] - 0.5 * y[name] for name in x})
    gx, gy = es.vjp(solution, x), es.vjp(solution, y)
    # every entry is a sum of products along paths through spikes: bound the paths by those of each spike alone
    sizes = np.concatenate([np.abs(2.0 * x[name]) + np.abs(0.5 * y[name]) for name in COMPUTED])
    again, _, cotangents = one_by_one(solution)
    alone = es.vjp(again, cotangents, reduction="none")
    for key in case.net.projections:
        combined = 2.0 * gx.weight[key] - 0.5 * gy.weight[key]
        scale = (sizes[:, None, None] * np.abs(alone.weight[key])).sum(axis=0)
        limit = 1e3 * sizes.size * EPS * (scale + scale.max(initial=0.0))
        assert (np.abs(both.weight[key] - combined) <= limit).all()


def order_of(solution, name):
    """Everything discrete about a population's spikes: whose, and after how many arrivals each came and was over.

    Where one of these changes the derivative jumps, although the spike times do not.
    """
    spikes = solution.spikes[name]
    ends = spikes.times + solution.network.population(name).parameter("t_ref")[spikes.neurons]
    arrivals = np.concatenate([chunk.spikes[name].arrivals for chunk in solution.chunks])
    received = np.zeros(spikes.n_spikes, int)
    for p in solution.network.afferents(name):
        pre, delay = solution.spikes[p.pre], p.delay.reshape(p.weight.shape)
        times = pre.times[None, :] + delay[spikes.neurons][:, pre.neurons]
        received += ((times <= ends[:, None]) & (pre.samples == spikes.samples[:, None])).sum(axis=1)
    return np.stack([spikes.samples, spikes.neurons, arrivals, received])


def changed(case, field, key, direction):
    """The case with one kind of parameter moved along a direction, for any step."""

    def at(step):
        if field == "spike_times":
            inputs = case.inputs["in"]
            moved = es.SpikeTrains.from_arrays(
                inputs.times + step * direction, inputs.neurons, inputs.samples, n_neurons=3, n_samples=2
            )
            return case.solve(inputs={"in": moved})
        if field in ("weight", "delay"):
            p = case.net.projections[key]
            if field == "weight":
                return case.solve(net=case.net.with_weights({key: p.weight + step * direction}))
            return case.solve(
                net=case.net.with_delays({key: p.delay.reshape(p.weight.shape) + step * direction})
            )
        values = {q: case.net.population(key).parameter(q) for q in PARAMETERS}
        values[field] = values[field] + step * direction
        return case.solve(net=case.net.with_neurons({key: es.LIF(**values)}))

    return at


@pytest.mark.parametrize("field", ["weight", "delay", *PARAMETERS, "spike_times"])
@few
@given(case=cases(margin=0.1), seed=st.integers(0, 99))
def test_vjp_is_the_central_difference(case, seed, field):
    rng = np.random.default_rng(seed)
    solution = case.solve()
    cotangents = weighted(solution)
    key = {"weight": ("in", "hidden"), "delay": ("hidden", "out"), "spike_times": "in"}.get(field, "hidden")
    gradient = getattr(es.vjp(solution, cotangents), field)[key]
    size = 1.0 if field in ("weight", "v_threshold", "v_reset", "v_leak") else 1e-2
    direction = rng.uniform(0.2, 1.0, np.shape(gradient)) * size
    if field == "t_ref":
        direction = direction * (case.net.population(key).parameter("t_ref") > 0)
    at = changed(case, field, key, direction)

    def difference(step):
        up, down = at(step), at(-step)
        total = 0.0
        for name, c in cotangents.items():
            a, b = up.spikes[name], down.spikes[name]
            if not all(np.array_equal(order_of(s, name), order_of(solution, name)) for s in (up, down)):
                return None
            total += np.sum(c * (a.times - b.times))
        return total / (2 * step)

    step = 1e-6
    coarse, fine = difference(2 * step), difference(step)
    # else a spike came, went or passed an arrival within the step: no difference to compare with
    assume(coarse is not None and fine is not None)
    exact = float(np.sum(gradient * direction))
    # truncation by Richardson (four times less at half the step), with a factor for higher orders; rounding
    # by its bound
    rounding = reached(solution, cotangents) / step
    scale = np.abs(gradient * direction).sum()
    compare = Comparison()
    compare.close(exact, fine, 4 * abs(coarse - fine) + rounding + 1e-9 * scale)
    assume(compare.informative)  # Hypothesis reports if there are too few
