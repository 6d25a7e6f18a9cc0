"""dL/dV and dL/dI at any time, against what a synapse of weight 0 that acts at that time is worth."""

import math
from copy import copy

import numpy as np
import pytest
from comparing import Comparison
from directions import differences
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import random_case, slopes

import eventsolve as es
from eventsolve import multiprecision

EPS = np.finfo(float).eps
NAMES = ("a", "b")
READ_AT = (6.1e-3, 17.3e-3, 24.9e-3)


def spike_loss(solution):
    """Sum over all spikes of c_k t_k, the same c in every solution with as many spikes; exactly, of one sample."""
    rng = np.random.default_rng(7)
    c = {name: rng.normal(size=solution.spikes[name].n_spikes) for name in NAMES}

    def loss(spikes):
        values = np.zeros(solution.n_samples)
        for name in NAMES:
            np.add.at(values, spikes[name].samples, c[name] * spikes[name].times)
        return values, c

    def exact(truth, sample):
        values = [
            (c[name][solution.spikes[name].offsets[sample] + k], time)
            for name in NAMES
            for k, (time, _) in enumerate(truth.spikes[name][0])
        ]
        return sum((truth.context.mpf(weight) * time for weight, time in values), truth.context.mpf(0))

    return es.losses.SpikeTimeLoss(loss), exact


def voltage_loss(solution):
    """Sum of squared voltages of population b, which is triggered as well, at three times."""

    def exact(truth, sample):
        return sum(truth.voltage("b", 0, n, t) ** 2 for n in range(2) for t in READ_AT)

    return es.losses.SampledVoltage("b", READ_AT, lambda v: ((v**2).sum(axis=(1, 2)), 2 * v)), exact


def probed(loop, name, times):
    """The network with a synapse of weight 0 to every neuron of a population, which acts at each of the times."""
    net = loop.network()
    size = net.population(name).size
    net.add_input("probe", len(times))
    for synapse in ("delta", "exponential"):
        net.connect("probe", name, np.zeros((size, len(times))), synapse=synapse, name=synapse)
    trains = es.SpikeTrains.from_lists([[[t] for t in times]] * 2)
    return net, loop.trains() | {"probe": trains}


def jittered(loop, solution, kind, name, times):
    """How far p_V and p_I move with all numbers by 16 ulps: float64 is right to no more than that."""
    base = es.adjoint_states(solution, kind(solution)[0])
    states = base.voltage(name, times), base.current(name, times)
    spread = [16 * EPS * np.abs(p).max(axis=2, keepdims=True) for p in states]
    for seed in range(4):
        signs = np.random.default_rng(seed)

        def moved(values, signs=signs):
            return values * (1 + 16 * EPS * signs.choice([-1.0, 1.0], np.shape(values)))

        near = copy(loop)
        near.weight = {key: moved(w) for key, w in loop.weight.items()}
        near.delay = {key: moved(d) for key, d in loop.delay.items()}
        near.neurons = {a: {p: moved(values) for p, values in b.items()} for a, b in loop.neurons.items()}
        near.times = [[moved(t) for t in sample] for sample in loop.times]
        other = near.solve()
        again = es.adjoint_states(other, kind(solution)[0])
        for k, p in enumerate((again.voltage(name, times), again.current(name, times))):
            spread[k] = np.maximum(spread[k], 4 * np.abs(p - states[k]))
    return states, spread


@pytest.mark.parametrize("kind", [spike_loss, voltage_loss])
@pytest.mark.parametrize("seed", [2, 11, 38])
def test_they_are_central_differences_in_25_digits(seed, kind):
    loop = Loop(seed, n=2, t_end=30e-3)
    solution = loop.solve()
    assert min(solution.spikes[name].n_spikes for name in NAMES) > 2
    _, exact = kind(solution)
    held = solution.spikes["a"].times[:1] + 0.5e-3  # of some seeds within a refractory period
    times = np.sort(np.concatenate([[0.4e-3, 5.2e-3, 11.7e-3, 17.1e-3], held]))
    compare = Comparison()
    rng = np.random.default_rng(seed)
    for name, sample in (("a", 0), ("b", 1)):
        states, spread = jittered(loop, solution, kind, name, times)
        net, inputs = probed(loop, name, times)
        inputs = {pre: trains.select([sample]) for pre, trains in inputs.items()}
        problem = multiprecision.problem(net, inputs, loop.t_end)
        for p, bound, synapse in zip(states, spread, ("delta", "exponential"), strict=True):
            # of both neurons together, each by a step of its own: that what comes late in one is seen
            for time in range(times.size):
                step = np.zeros((2, times.size))
                step[:, time] = rng.choice([-1.0, 1.0], 2) * [1.0, 0.5]
                direction = {"weight": {("probe", name, synapse): step}}
                (truth,) = differences(problem, direction, lambda s, k=sample: [exact(s, k)], 40, "1e-12")
                room = bound[sample, :, time] @ np.abs(step[:, time])
                compare.close(p[sample, :, time] @ step[:, time], float(truth), room, (name, synapse, time))
    compare.demand(0.4)  # nothing that comes after the last spike, or while V is held, moves a spike


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_they_are_the_gradients_of_synapses_of_weight_0(seed):
    loop = Loop(seed, n=3, t_end=30e-3)
    solution = solved(loop)
    assume(solution is not None)
    times, compare = np.linspace(0.1e-3, 29.9e-3, 40), Comparison()
    kind = (spike_loss, voltage_loss)[seed % 2]
    for name in NAMES:
        states, spread = jittered(loop, solution, kind, name, times)
        net, inputs = probed(loop, name, times)
        again = es.solve(net, inputs, loop.t_end, max_spikes=2000)
        grads = es.value_and_grad(again, kind(solution)[0], reduction="none")[1]
        for p, bound, synapse in zip(states, spread, ("delta", "exponential"), strict=True):
            compare.close(grads.weight["probe", name, synapse], p, 2 * bound)  # each has its own roundings
    assume(compare.informative > compare.compared / 4)  # Hypothesis reports if there are too few


@pytest.mark.parametrize("seed", range(5))
def test_before_a_spike_it_is_minus_the_spikes_worth_over_the_slope(seed):
    solution = random_case(seed).solve()
    spikes = solution.spikes["hidden"]
    loss = es.losses.SpikeTimeLoss(
        lambda s: (np.bincount(s["out"].samples, s["out"].times, 2), {"out": np.ones(s["out"].n_spikes)})
    )
    worth = es.value_and_grad(solution, loss, reduction="sum")[1].spike_times["hidden"]
    before = np.nextafter(spikes.times, 0.0)  # where a voltage is within rounding of its limit
    got = es.adjoint_states(solution, loss).voltage("hidden", before)
    got = got[spikes.samples, spikes.neurons, np.arange(spikes.n_spikes)]
    assert spikes.n_spikes > 5
    np.testing.assert_allclose(
        got, -worth / slopes(solution, "hidden")[0], rtol=64 * EPS * solution.t_end / 1e-3
    )


def test_a_read_while_the_start_state_is_held_is_no_event():
    """Both adjoints know it: a delivery in that time was brought back from the read, not from the release."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(10e-3, 5e-3, t_ref=[6e-3, 0.0]))
    net.connect("in", "a", [[20.0, 0.0], [0.0, 20.0]])
    net.connect("a", "a", [[0.0, 0.5], [0.1, 0.0]], delay=1e-3)

    def solved(shift):
        first = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], []]])}, 2e-3)
        later = {"in": es.SpikeTrains.from_lists([[[], [2.2e-3 + shift]]])}
        return es.solve(net, later, 12e-3, initial=first.final_state)

    loss = es.losses.SampledVoltage(
        "a", [5e-3, 7.5e-3], lambda v: (v[:, 0].sum(axis=1), np.ones_like(v) * [[1.0], [0.0]])
    )
    solution = solved(0.0)
    grads = es.value_and_grad(solution, loss)[1]
    step = 1e-7
    sides = [es.value_and_grad(solved(k * step), loss)[0] for k in (-1, 1)]
    assert grads.spike_times["in"][0] != 0
    assert grads.spike_times["in"][0] == pytest.approx((sides[1] - sides[0]) / (2 * step), rel=1e-7, abs=0.0)


@pytest.mark.parametrize("time", [-1e-3, math.nan, 51e-3])
def test_times_outside_the_solution_are_refused(time):
    states = es.adjoint_states(
        random_case(1).solve(), es.losses.SampledVoltage("out", [1e-3], lambda v: (v[:, 0, 0], v))
    )
    with pytest.raises(ValueError, match=r"times must lie in \[0.0, t_end = 0.05\]; entry 1"):
        states.voltage("hidden", [1e-3, time])
    with pytest.raises(ValueError, match="'in' is an input: it has no voltage"):
        states.current("in", [1e-3])


def test_a_solution_of_first_spikes_is_refused():
    case = random_case(1)
    solution = es.solve_first_spikes(case.net, case.inputs, case.t_end, "out")
    with pytest.raises(ValueError, match="for adjoint states use eventsolve"):
        es.adjoint_states(solution, es.losses.TargetTimeMSE("out", [[0.0, 0.0]] * 2, silent="skip"))
