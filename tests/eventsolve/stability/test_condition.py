"""Has a gradient as many digits as its condition says, however a spike grazes?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import EPS, random_case, rounded_behind_the_peak

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.patterns import NAMES

KEYS = (("in", "hidden"), ("hidden", "out"))


def grazing_network(seed, closeness):
    """in -> hidden -> out, whose first hidden neuron exceeds its threshold with its first spike by a share of it."""
    rng = np.random.default_rng(seed)
    n_in, n_hidden = 2, 2
    w1, w2 = rng.uniform(2.0, 6.0, (n_hidden, n_in)), rng.uniform(4.0, 9.0, (1, n_hidden))
    times = [[[0.0], [float(rng.uniform(0.5e-3, 3e-3))]]]
    inputs = {"in": es.SpikeTrains.from_lists(times)}

    def network(thresholds):
        net = es.Network()
        net.add_input("in", n_in)
        net.add_population("hidden", n_hidden, es.LIF(20e-3, 5e-3, v_threshold=thresholds))
        net.add_population("out", 1, es.LIF(15e-3, 5e-3, v_reset=-0.2, t_ref=1e-3))
        net.connect("in", "hidden", w1)
        net.connect("hidden", "out", w2, delay=1e-3)
        return net

    silent = es.margins(es.solve(network([50.0, 50.0]), inputs, 40e-3)).voltage["hidden"]
    peaks = np.array([50.0 - silent.values[silent.neurons == n].min() for n in range(n_hidden)])
    return network(peaks * [1 - closeness, 0.5]), inputs, 40e-3


def exact_derivatives(net, inputs, t_end):
    """dt/dw of every spike by every weight, [population][spike, weight], by central differences at 60 digits."""
    problem = multiprecision.problem(net, inputs, t_end)
    ctx = multiprecision.solve_problem(problem, digits=60).context
    columns = {name: [] for name in ("hidden", "out")}
    for key in KEYS:
        for k, synapse in enumerate(problem.synapses[key]):
            solutions = []
            for sign in (1, -1):
                h = sign * ctx.mpf(10) ** -25
                row = list(problem.synapses[key])
                row[k] = replace(synapse, weight=ctx.mpf(synapse.weight) + h)
                moved = replace(problem, synapses={**problem.synapses, key: tuple(row)})
                solutions.append(multiprecision.solve_problem(moved, digits=60))
            for name, found in columns.items():
                up, down = ([t for t, _ in s.spikes[name][0]] for s in solutions)
                found.append([(a - b) / (2 * ctx.mpf(10) ** -25) for a, b in zip(up, down, strict=True)])
    return {name: np.array(found, dtype=object).T for name, found in columns.items()}


@pytest.mark.parametrize("closeness", [1e-1, 1e-3, 1e-6, 1e-9, 1e-11])
def test_gradients_have_the_digits_that_their_condition_says(closeness):
    net, inputs, t_end = grazing_network(1, closeness)
    solution = es.solve(net, inputs, t_end)
    condition = es.gradient_condition(solution)
    exact = exact_derivatives(net, inputs, t_end)
    lost = []
    for name in ("hidden", "out"):
        n = solution.spikes[name].n_spikes
        assert exact[name].shape[0] == n
        for k in range(n):
            grads = es.vjp(solution, {name: np.arange(n) == k})
            got = np.concatenate([grads.weight[key].reshape(-1) for key in KEYS])
            error = float(sum(abs(a - b) for a, b in zip(exact[name][k], got, strict=True)))
            size = float(sum(abs(a) for a in exact[name][k]))
            assert error <= condition.error[name][k]
            assert size <= condition.size[name][k] * (1 + 1e6 * EPS)
            lost.append(error / size)
    # it is no bound that always holds because it is useless: the worst spike is known to within some digits of it
    least = min(d.min() for d in condition.digits.values())
    assert least >= -np.log10(max(*lost, EPS)) - 5


@pytest.mark.parametrize("seed", range(3))
def test_spike_times_are_as_exact_as_they_are_said_to_be(seed):
    for solution in (random_case(seed).solve(), Loop(seed + 1, n=2, t_end=30e-3).solve()):
        inputs = {
            name: t for name, t in solution.spikes.items() if solution.network.population(name).neuron is None
        }
        truth = multiprecision.solve(solution.network, inputs, solution.t_end, digits=25)
        condition = es.gradient_condition(solution)
        for name, bound in condition.time_error.items():
            for s in range(solution.n_samples):
                exact = sorted((neuron, t) for t, neuron in truth.spikes[name][s])
                here = np.flatnonzero(solution.spikes[name].samples == s)
                here = here[
                    np.lexsort((solution.spikes[name].times[here], solution.spikes[name].neurons[here]))
                ]
                off = [
                    float(abs(t - solution.spikes[name].times[k]))
                    for k, (_, t) in zip(here, exact, strict=True)
                ]
                assert (off <= bound[here]).all()


def test_the_closer_a_crossing_grazes_the_fewer_digits():
    least = []
    for k in range(1, 11):
        net, inputs, t_end = grazing_network(2, 10.0**-k)
        condition = es.gradient_condition(es.solve(net, inputs, t_end))
        least.append(-np.log10((condition.error["hidden"] / condition.size["hidden"]).max()))
        fewest = condition.digits["hidden"].min()
        assert fewest <= least[-1]
        flagged = condition.flagged(fewest + 0.5)
        assert flagged[0].population == "hidden"
        assert all(spike.population == "out" for spike in condition.flagged(max(fewest, 0.0)))
    # the relative error of V' is V'' eps/V'^2, and V'^2 is 2 V'' times the closeness, but for its square root
    assert (np.abs(np.diff(least) + 1) <= 10.0 ** (-0.5 * np.arange(1, 10))).all()


def test_gradients_carry_their_condition():
    net, inputs, t_end = grazing_network(1, 1e-9)
    solution = es.solve(net, inputs, t_end)
    n = solution.spikes["hidden"].n_spikes
    grads = es.vjp(solution, {"hidden": np.ones(n)})
    (worst,) = grads.flagged(7)
    assert worst.population == "hidden"
    assert str(worst).startswith("the derivatives of the spike of neuron 0 of 'hidden' in sample 0 at ")
    assert grads.condition.error["out"].size == solution.spikes["out"].n_spikes
    other = (solution.spikes["hidden"].times != worst.time).astype(float)
    assert es.vjp(solution, {"hidden": other}).flagged(7) == ()


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_sizes_are_those_of_derivatives(seed):
    loop = solved(Loop(seed, n=2, t_end=30e-3))
    for solution in [random_case(seed).solve(), *([] if loop is None else [loop])]:
        condition = es.gradient_condition(solution)
        assert tuple(condition.sizes) == NAMES
        for name in condition.size:
            spikes = solution.spikes[name]
            for k in range(0, spikes.n_spikes, 5):
                grads = es.vjp(solution, {name: np.arange(spikes.n_spikes) == k})
                for parameter in NAMES:
                    found = getattr(grads, parameter)
                    found = {"in": found["in"]} if parameter == "spike_times" else found
                    got = sum(np.abs(g).sum() for g in found.values())
                    assert got <= condition.sizes[parameter][name][k] * (1 + 1e4 * EPS)


# -- every parameter, and runs of any length ---------------------------------------------------------------------


def short_life(weight, start, synapse="exponential"):
    """A neuron that crosses its threshold about 1.25 tau_mem/weight after its only arrival, and how long to look."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_reset=-0.1, v_leak=0.1, v_initial=0.2, t_ref=1e-3))
    net.connect("in", "n", [[weight]])
    inputs = {"in": es.SpikeTrains.from_lists([[[start]]])}
    return net, inputs, start + 40e-3 / weight


OF_ONE_SPIKE = tuple((name, ("in", "n")) for name in ("weight", "delay")) + tuple(
    (name, "in" if name == "spike_times" else "n") for name in NAMES[2:]
)


@pytest.mark.parametrize("start", [0.0, 1e-3])
@pytest.mark.parametrize("exponent", [1.0, 3.5, 6.0, 9.0, 12.0])
def test_gradients_of_short_lives_have_the_digits_that_their_condition_says(start, exponent):
    net, inputs, t_end = short_life(10.0**exponent, start)
    solution = es.solve(net, inputs, t_end)
    assert solution.spikes["n"].n_spikes == 1
    exact = multiprecision.gradient(
        net, inputs, t_end, lambda s: s.spikes["n"][0][0][0], OF_ONE_SPIKE, digits=30
    )
    grads, condition = es.vjp(solution, {"n": [1.0]}), es.gradient_condition(solution)
    elapsed = solution.spikes["n"].times[0] - start
    relative = []
    for (name, key), (wanted,) in exact.items():
        got = np.reshape(getattr(grads, name)[key], -1)[0]
        error, size = float(abs(got - wanted)), float(abs(wanted))
        assert error <= condition.errors[name]["n"][0] + 1e-28 * size, name
        assert size <= condition.sizes[name]["n"][0] * (1 + 64 * EPS)
        if size > 1e-28:
            # a dozen roundings, and a duration that is known to half an ulp of its two ends; dt/dtau_syn goes with
            # the square of the duration
            assert error <= (64 * EPS + 2 * EPS * start / elapsed) * size, name
            relative.append((condition.errors[name]["n"][0] / condition.sizes[name]["n"][0], name))
    worst, name = max(relative)
    flagged = grads.flagged(-np.log10(worst) + 0.01)
    assert [spike.parameter for spike in flagged] == [name]
    assert f" by {name} have " in str(flagged[0])
    # no bound that holds because it is useless: three digits more than the shortest duration has
    assert worst <= 1e3 * (EPS + EPS * start / elapsed)


@pytest.mark.parametrize("seed", [0, 2, 6])  # of few spikes in many digits
def test_every_derivative_has_the_digits_that_its_condition_says(seed):
    rng = np.random.default_rng(seed)
    case = random_case(seed, n_samples=1)
    # so strong that a neuron spikes every few microseconds; up to some spikes of all
    strong = case.net.with_weights({KEYS[0]: 1e3 * case.net.projections[KEYS[0]].weight})
    times = np.sort(case.solve(net=strong).spikes["hidden"].times)
    loop = Loop(seed + 1, n=2, t_end=10e-3)
    loop.times = loop.times[:1]
    tried = 0
    for solution in (case.solve(), case.solve(net=strong, t_end=times[8]), solved(loop)):
        if solution is None:
            continue
        problem = multiprecision.problem(solution.network, {"in": solution.spikes["in"]}, solution.t_end)
        condition = es.gradient_condition(solution)
        for name in [n for n in condition.time_error if solution.spikes[n].n_spikes]:
            spikes = solution.spikes[name]
            k = int(rng.integers(spikes.n_spikes))
            neuron = int(spikes.neurons[k])
            place = np.count_nonzero(spikes.neurons[:k] == neuron)
            grads = es.vjp(solution, {name: (np.arange(spikes.n_spikes) == k).astype(float)})
            for parameter in rng.choice(NAMES, 2, replace=False):
                found = getattr(grads, parameter)
                keys = ["in"] if parameter == "spike_times" else list(found)
                key = keys[rng.integers(len(keys))]
                index = int(rng.integers(np.size(found[key])))
                wanted = multiprecision.derivative(
                    problem,
                    lambda s, n=name, m=neuron, at=place: [t for t, who in s.spikes[n][0] if who == m][at],
                    (parameter, key),
                    index,
                    digits=25,
                )
                error = float(abs(np.reshape(found[key], -1)[index] - wanted))
                assert error <= condition.errors[parameter][name][k] + 1e-22 * float(abs(wanted))
                tried += 1
    assert tried >= 6


def test_threads_and_batches_change_nothing():
    case = random_case(3, n_samples=3)
    whole = es.gradient_condition(case.solve())
    many = case.solve(inputs={"in": case.inputs["in"].select([0, 1, 2] * 30)})
    for threads in (1, 2):
        found = es.gradient_condition(many, threads=threads)
        for name in ("hidden", "out"):
            np.testing.assert_array_equal(found.error[name], np.tile(whole.error[name], 30))


def test_a_spike_that_an_input_triggers_has_every_digit():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[2.0]], synapse="delta")
    condition = es.gradient_condition(es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 5e-3))
    np.testing.assert_array_equal(condition.digits["n"], [np.inf])
    assert condition.flagged(16) == ()


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after seventeen years
def test_nothing_is_known_of_a_spike_that_float64_puts_behind_the_peak_of_v():
    solution = rounded_behind_the_peak()
    slope, spikes = es.margins(solution).slope["out"], solution.spikes["out"]
    falls = np.isin(spikes.neurons, slope.neurons[slope.values <= 0.0])
    assert falls.size == 8
    assert 0 < falls.sum() < 8
    condition = es.gradient_condition(solution)
    assert (np.isinf(condition.time_error["out"]) == falls).all()
    assert ((condition.digits["out"] == -np.inf) == falls).all()


def test_what_is_known_of_a_neuron_does_not_depend_on_one_beside_it():
    """Both start within a refractory period; the other one spikes, whatever this one does."""
    lif = es.LIF(20e-3, 5e-3, t_ref=4e-3)

    def continued(columns):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", len(columns), lif)
        net.connect("in", "out", np.diag([40.0, 30.0])[columns])
        before = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [0.0]]])}, 3e-3)
        assert before.spikes["out"].n_spikes == len(columns)
        later = es.SpikeTrains.from_lists([[[3.5e-3], [3.7e-3]]])
        return es.solve(net, {"in": later}, 20e-3, initial=before.final_state)

    both, alone = continued([0, 1]), continued([1])
    here = both.spikes["out"].neurons == 1
    assert 0 < here.sum() < here.size
    both, alone = es.gradient_condition(both), es.gradient_condition(alone)
    np.testing.assert_array_equal(both.time_error["out"][here], alone.time_error["out"])
    for name in NAMES:
        np.testing.assert_array_equal(both.errors[name]["out"][here], alone.errors[name]["out"])


@pytest.mark.parametrize("digits", [-1, "3", True, float("nan")])
def test_bad_digits_are_refused(digits):
    with pytest.raises(ValueError, match="digits must be a number >= 0"):
        es.gradient_condition(random_case(0).solve()).flagged(digits)


def test_only_solutions_have_a_condition():
    with pytest.raises(TypeError, match="solution must be a Solution; got Network"):
        es.gradient_condition(es.Network())
