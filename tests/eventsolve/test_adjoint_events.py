"""What every event adds to the adjoint, against differences in many digits, for both kernels that go backwards."""

from math import fsum

import numpy as np
import pytest
from comparing import Comparison
from directions import differences, signed_step
from networks import EPS, gradient_bounds
from scipy.optimize import brentq

import eventsolve as es
from eventsolve import adjoint, multiprecision
from eventsolve.losses import Evaluation
from eventsolve.patterns import NAMES

MS = 1e-3
T_END = 13 * MS
CUTS = (3.7 * MS, 11 * MS)
"""While the first neuron is held after its first spike, if it ever is, and later one or both."""
READ = (3.5 * MS, 6 * MS, 12 * MS)
"""While V is held after a first spike, if it ever is; free; and late."""

ROUNDING = 1e-25
"""Of differences of 40 digits over a step of 1e-15."""

INPUTS = [[2 * MS], [6.1 * MS]]
LOOP = [[0.0, 1.1], [-0.9, 0.6]]


def network(loop, reset, t_ref):
    """Two neurons: the first is lifted beyond its threshold at 3 ms, the second crosses it; both spike again later."""
    net = es.Network()
    net.add_input("in", 2)
    neuron = es.LIF(
        [20 * MS, 15 * MS],
        [5 * MS, 7 * MS],
        v_threshold=[1.0, 0.9],
        v_reset=[-0.3, 0.1],
        v_leak=[0.15, -0.1],
        t_ref=t_ref,
        v_initial=[0.2, -0.1],
        i_initial=[0.7, -0.4],
        reset=reset,
    )
    net.add_population("n", 2, neuron)
    net.connect("in", "n", [[1.2, 0.0], [-0.2, 0.35]], delay=1 * MS, synapse="delta", name="jump")
    net.connect("in", "n", [[5.0, 6.0], [9.0, 5.0]], delay=[[0.5 * MS, 1.5 * MS], [0.7 * MS, 2.5 * MS]])
    # a current that sets in at 4 ms, while V of the first is held if it ever is
    net.connect("in", "n", [[0.8, 0.0], [0.0, 0.0]], delay=2 * MS, name="held")
    if loop is not None:
        net.connect("n", "n", loop, delay=[[0.0, 1.3 * MS], [0.4 * MS, 2.2 * MS]])
    return net


rng = np.random.default_rng(1)
SPIKES, VOLTAGES = rng.uniform(0.3, 1.0, (2, 20)) * rng.choice([-1, 1], (2, 20)), rng.normal(0, 1e-2, (2, 3))
"""What the times of each neuron's spikes, and V where it is read, are multiplied with."""


def all_times_and_readings(solution):
    """A loss of every spike and of V here and there."""
    spikes = solution.spikes["n"]
    whose = list(zip(spikes.samples, spikes.neurons, strict=True))
    place = [whose[:k].count(own) for k, own in enumerate(whose)]
    cotangents, n = SPIKES[spikes.neurons, place], solution.n_samples
    read = es.losses.SampledVoltage(
        "n", READ, lambda v: ((v * VOLTAGES).sum((1, 2)), np.broadcast_to(VOLTAGES, v.shape))
    )
    return es.losses.Sum([es.losses.SpikeTimeLoss(lambda _: (np.zeros(n), {"n": cotangents})), read])


def from_the_end(solution, component, neuron, sign):
    """The gradients of V, I or the release of one neuron at t_end; dL/dt of all spikes; the adjoint of the start."""
    final = np.zeros((solution.n_samples, 3, 2))
    final[:, component, neuron] = sign
    times, contributions, start = adjoint.back(
        solution, Evaluation(np.empty(0)), NAMES, False, None, adjoint.CutAdjoint({("n",): final}, {})
    )
    layers = adjoint.layers_of(solution.network)
    return adjoint.by_name(layers, contributions, NAMES, False) | {"spike_times": times}, start.neurons["n",]


@pytest.mark.parametrize("component", [0, 1])
def test_the_adjoint_of_an_end_is_the_sum_over_its_neurons(component):
    """V alone or I alone, of every neuron of a population at once."""
    solution = es.solve(network(LOOP, "value", 0.0), {"in": es.SpikeTrains.from_lists([INPUTS])}, T_END)
    whole, *parts = (
        from_the_end(solution, component, which, 1.0)[0]["weight"] for which in (slice(None), 0, 1)
    )
    for key, values in whole.items():
        added = parts[0][key] + parts[1][key]
        assert np.abs(added).max() > 0.0
        np.testing.assert_allclose(values, added, rtol=0.0, atol=64 * EPS * np.abs(added).max())


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 2 * MS])
@pytest.mark.parametrize("cyclic", [False, True])
def test_gradients_are_central_differences_in_many_digits(cyclic, t_ref, reset):
    """Of spike times, of voltages, and of the state in which every neuron is at a time; of all of it and in pieces."""
    net = network(LOOP if cyclic else None, reset, t_ref)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([INPUTS])}, T_END)
    spikes, inputs = solution.spikes["n"], {"in": solution.spikes["in"]}
    assert (np.bincount(spikes.neurons) >= 2).all(), spikes.neurons
    assert (
        spikes.times[spikes.neurons == 0][0] == 3 * MS
    )  # triggered by the jump, which the adjoint has to follow
    place = [np.count_nonzero(spikes.neurons[:k] == m) for k, m in enumerate(spikes.neurons)]
    cotangents = SPIKES[spikes.neurons, place]
    before = es.solve(net, inputs, CUTS[-1])
    earlier = before.spikes["n"]
    held = [earlier.times[earlier.neurons == m].max() + t_ref > CUTS[-1] for m in range(2)]
    assert any(held) == (t_ref > 0.0)
    state = [(component, m) for m in range(2) for component in ((0, 1, 2) if held[m] else (0, 1))]

    def exact(found):
        count, total, last = [0, 0], found.context.mpf(0), [None, None]
        for time, neuron in found.spikes["n"][0]:
            total += float(SPIKES[neuron, count[neuron]]) * time
            count[neuron] += 1
            if time < CUTS[-1]:
                last[neuron] = time
        for neuron in range(2):
            for q, time in enumerate(READ):
                total += float(VOLTAGES[neuron, q]) * found.voltage("n", 0, neuron, time)
        of_state = (
            lambda m: found.voltage("n", 0, m, CUTS[-1]),
            lambda m: found.current("n", 0, m, CUTS[-1]),
            lambda m: last[m] + found.problem.neurons["n"][m].t_ref,
        )
        return [total, *(of_state[component](m) for component, m in state)]

    loss = all_times_and_readings(solution)
    whole = es.value_and_grad(solution, loss)[1]
    parts = es.value_and_grad_in_pieces(net, inputs, T_END, loss, CUTS)[1]
    at_cut = [from_the_end(before, component, m, 1.0) for component, m in state]
    for (component, m), (gradients, start) in zip(state, at_cut, strict=True):
        opposite, at_start = from_the_end(before, component, m, -1.0)
        for name in NAMES:
            for key, values in gradients[name].items():
                np.testing.assert_array_equal(opposite[name][key], -values)
        np.testing.assert_array_equal(at_start, -start)
        np.testing.assert_array_equal(start[0, 0], gradients["v_initial"]["n"])
        np.testing.assert_array_equal(start[0, 1], gradients["i_initial"]["n"])
        np.testing.assert_array_equal(start[0, 2], 0.0)  # none is held then
    wanted = [
        (name, key)
        for name in NAMES
        for key in getattr(whole, name)
        # no t_ref is below 0, and a spike of the network itself is no number that may move
        if not (name == "t_ref" and t_ref == 0.0) and (name != "spike_times" or key == "in")
    ]
    problem = multiprecision.problem(solution.network, inputs, T_END)
    errors, errors_before = (es.gradient_condition(s).errors for s in (solution, before))
    compare, signs = Comparison(), np.random.default_rng(5)
    n_events = 10 * (spikes.n_spikes + 5)
    for name, key in wanted:
        found = np.asarray(getattr(whole, name)[key])
        # all numbers of a kind at once, each by a step of its own
        values = net.projections[key].delay.reshape(found.shape) if name == "delay" else np.ones(found.shape)
        step = signed_step(signs, name, values)
        expected, *of_state = map(float, differences(problem, {name: {key: step}}, exact))
        # what spike times are known to; of a voltage, a few roundings at each event of the terms that it adds
        room = np.abs(step).max() * (abs(cotangents) * errors[name]["n"]).sum()
        room += n_events * 8 * EPS * np.abs(found * step).sum()
        compare.close((found * step).sum(), expected, room, (name, key))
        found = np.asarray(getattr(parts, name)[key])
        compare.close((found * step).sum(), expected, 2 * room, (name, key, "in pieces"))
        for (gradients, _), expected, what in zip(at_cut, of_state, state, strict=True):
            found = gradients[name][key]
            room = (
                np.abs(step).max() * (np.abs(gradients["spike_times"]["n"]) * errors_before[name]["n"]).sum()
            )
            room += n_events * 8 * EPS * np.abs(found * step).sum() + ROUNDING
            compare.close((found * step).sum(), expected, room, (name, key, what))
    compare.demand(0.6)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 2 * MS])
@pytest.mark.parametrize("loop", [None, LOOP])
def test_a_sample_has_its_own_gradient_in_any_batch(loop, t_ref, reset):
    """To the last bit, of a whole trial and of one that goes on from a state in which a neuron may be held."""
    net = network(loop, reset, t_ref)
    rows = [INPUTS, [[3.1 * MS], [1.5 * MS, 8 * MS]], [[2.2 * MS, 5 * MS], []]]
    cut = 4.1 * MS
    found = []
    for samples in (rows, *([row] for row in rows)):
        trains = [
            es.SpikeTrains.from_lists(
                [[[t for t in times if (t > cut) == late] for times in row] for row in samples]
            )
            for late in (False, True)
        ]
        whole = es.solve(net, {"in": es.SpikeTrains.from_lists(samples)}, T_END)
        state = es.solve(net, {"in": trains[0]}, cut).final_state
        rest = es.solve(net, {"in": trains[1]}, T_END, initial=state)
        found.append([])
        for solution in (whole, rest):
            loss = all_times_and_readings(whole)
            if solution is rest:
                loss = es.losses.SampledVoltage(
                    "n", (6 * MS, 12 * MS), lambda v: (v.sum((1, 2)), np.ones_like(v))
                )
            grads = es.value_and_grad(solution, loss, reduction="none")[1]
            summed = es.value_and_grad(solution, loss, reduction="sum")[1]
            for name in NAMES:
                for key, values in getattr(grads, name).items():
                    if name == "spike_times":
                        trains = solution.spikes[key]
                        found[-1].append(np.split(values, trains.offsets[1:-1]))
                    else:
                        found[-1].append(values)
                        np.testing.assert_allclose(
                            getattr(summed, name)[key],
                            values.sum(0),
                            rtol=0.0,
                            atol=8 * EPS * np.abs(values).sum(0).max(),
                        )
    batch, *alone = found
    for sample, one in enumerate(alone):
        for values, own in zip(batch, one, strict=True):
            np.testing.assert_array_equal(values[sample], own[0])


@pytest.mark.parametrize(("t_ref", "side"), [(1.9e-3, 1.0), (2e-3, 0.0), (2.1e-3, -1.0)])
@pytest.mark.parametrize("loop", [None, LOOP])
def test_a_cut_at_the_end_of_a_refractory_period_alters_no_gradient(loop, t_ref, side):
    """Whether the exact sum is at the float64 number of the cut, just before it or just behind it."""
    net, inputs = network(loop, "subtract", t_ref), {"in": es.SpikeTrains.from_lists([INPUTS])}
    whole = es.solve(net, inputs, T_END)
    assert whole.spikes["n"].times[0] == 3 * MS
    assert np.sign(fsum((3 * MS, t_ref, -(3 * MS + t_ref)))) == side
    loss, compare = all_times_and_readings(whole), Comparison()
    grads, cotangents = es.value_and_grad(whole, loss)[1], {"n": np.ones(whole.spikes["n"].n_spikes)}
    bounds = gradient_bounds(whole, cotangents)
    for cuts in ([3 * MS + t_ref], [3.5 * MS, 3 * MS + t_ref], [3 * MS + t_ref, 7 * MS]):
        found = es.value_and_grad_in_pieces(net, inputs, T_END, loss, cuts)[1]
        for name in NAMES:
            for key, values in getattr(found, name).items():
                expected = getattr(grads, name)[key]
                room = 2 * bounds[name] + 64 * EPS * 60 * np.abs(expected).max(initial=0.0)
                compare.close(values, expected, room, (cuts, name, key))
    compare.demand(0.5)


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after seventeen years
@pytest.mark.parametrize("cyclic", [False, True])
def test_a_spike_at_which_v_does_not_rise_has_no_gradient(cyclic):
    """V peaks at a multiple of 2^-23 s, to which times at 2^29 s are rounded, and at the threshold, by an ulp."""
    rng, n, late = np.random.default_rng(0), 60, round(9 * MS * 2**23) / 2**23
    tau_syn = np.repeat(rng.uniform(3 * MS, 6 * MS, n // 2), 2)  # two and two hear the same
    tau_mem = np.array(
        [
            brentq(lambda m, s=s: np.log(m / s) * m * s / (m - s) - late, 1.05 * s, 1.0, xtol=1e-18)
            for s in tau_syn
        ]
    )
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", n, es.LIF(tau_mem, tau_syn))
    net.connect(
        "in", "n", (np.exp(late / tau_syn) * (1 + EPS * np.repeat(rng.integers(-1, 3, n // 2), 2)))[:, None]
    )
    if cyclic:
        net.connect("n", "n", np.zeros((n, n)), delay=1.0)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[2.0**29]]])}, 2.0**29 + 0.1)
    spikes, slope = solution.spikes["n"], es.margins(solution).slope["n"]
    for neurons in (slope.neurons[slope.values == 0.0], slope.neurons[slope.values < 0.0]):
        assert neurons.size  # where I is the threshold to the last bit, and where it is below
        with pytest.raises(
            es.UndefinedGradientError, match=f"neuron {neurons.min()} of 'n' in sample 0 grazes"
        ):
            es.vjp(solution, {"n": np.isin(spikes.neurons, neurons).astype(float)})
    steep = np.isin(spikes.neurons, slope.neurons[slope.values > 0.0])
    assert steep.any()
    assert np.isfinite(es.vjp(solution, {"n": steep.astype(float)}).weight["in", "n"]).all()


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_spike_moves_with_the_arrival_that_triggers_it_wherever_rounding_puts_the_two(cyclic):
    """A sum of float64 is no float64: it is above the rounded time of the spike as often as it is below."""
    times, delays = np.arange(1, 12) * MS, np.array([0.3, 0.7, 1.1, 2.3, 4.9]) * MS
    rests = {fsum((t, d, -(t + d))) > 0.0 for t in times.tolist() for d in delays.tolist()}
    assert rests == {False, True}
    n = delays.size
    net = es.Network()
    net.add_input("in", n)
    net.add_population("n", n, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "n", 2.0 * np.eye(n), delay=np.broadcast_to(delays, (n, n)), synapse="delta")
    if cyclic:
        net.connect("n", "n", np.zeros((n, n)), delay=1 * MS)
    inputs = {"in": es.SpikeTrains.from_dense(np.broadcast_to(times[:, None], (times.size, n)))}
    solution = es.solve(net, inputs, 20 * MS)
    assert (solution.spikes["n"].counts() == 1).all()
    grads = es.vjp(solution, {"n": np.ones(times.size * n)})
    np.testing.assert_array_equal(grads.spike_times["in"], 1.0)
    np.testing.assert_array_equal(grads.delay["in", "n"], times.size * np.eye(n))
    np.testing.assert_array_equal(grads.weight["in", "n"], 0.0)


@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_loop_that_carries_nothing_alters_no_gradient_of_a_start_while_v_is_held(reset):
    """The two kernels share no code; the first neuron is held at V that it has been reset to as the piece begins."""
    found, cut = [], 3.7 * MS
    early, late = (
        {"in": es.SpikeTrains.from_lists([[[t for t in times if (t > cut) == after] for times in INPUTS]])}
        for after in (False, True)
    )
    state = es.solve(network(np.zeros((2, 2)), reset, 2 * MS), early, cut).final_state
    for loop in (None, np.zeros((2, 2))):
        piece = es.solve(network(loop, reset, 2 * MS), late, T_END, initial=state)
        read = es.losses.SampledVoltage(
            "n",
            (4 * MS, 6 * MS, 12 * MS),
            lambda v: ((v * VOLTAGES).sum((1, 2)), np.broadcast_to(VOLTAGES, v.shape)),
        )
        cotangents = {"n": SPIKES[piece.spikes["n"].neurons, np.arange(piece.spikes["n"].n_spikes)]}
        found.append((piece, cotangents, es.vjp(piece, cotangents), es.value_and_grad(piece, read)[1]))
    (piece, cotangents, *one), (other, _, *two) = found
    assert piece.spikes["n"].n_spikes >= 3
    np.testing.assert_array_equal(piece.spikes["n"].neurons, other.spikes["n"].neurons)
    bounds, compare = gradient_bounds(piece, cotangents), Comparison()
    for name in NAMES:
        for key, values in getattr(one[0], name).items():
            compare.close(getattr(two[0], name)[key], values, 2 * bounds[name], (name, key))
            values = getattr(one[1], name)[key]
            room = 64 * EPS * 60 * np.abs(values).max(initial=0.0)
            compare.close(getattr(two[1], name)[key], values, room, (name, key))
    compare.demand(0.5)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("loop", [None, LOOP])
def test_a_refractory_period_below_a_rounding_of_time_is_none(loop, reset):
    """A release is then at the time of its spike, and comes after it."""
    inputs = {"in": es.SpikeTrains.from_lists([INPUTS])}
    none, short = (es.solve(network(loop, reset, t_ref), inputs, T_END) for t_ref in (0.0, 1e-25))
    spikes = none.spikes["n"]
    assert short.spikes["n"] == spikes
    cotangents = {"n": SPIKES[spikes.neurons, np.arange(spikes.n_spikes)]}
    one, other = (es.vjp(solution, cotangents) for solution in (none, short))
    bounds, compare = gradient_bounds(none, cotangents), Comparison()
    for name in NAMES:
        for key, values in getattr(one, name).items():
            compare.close(getattr(other, name)[key], values, 2 * bounds[name], (name, key))
    compare.demand(0.6)
