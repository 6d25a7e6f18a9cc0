import dataclasses
import itertools
import json
import pathlib

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from mpmath.ctx_mp import MPContext

import eventsolve as es
from eventsolve import multiprecision as exact
from eventsolve.multiprecision import Neuron, Problem, Synapse

# Here the reference loses digits of its quadruple precision to tau_syn - tau_mem; our differences do not.
REFERENCE_DIGITS = {"equal": 21, "near_equal": 21}
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
REFERENCE = {entry["kind"]: entry for entry in json.loads((DATA / "reference_networks.json").read_text())}

mp = MPContext()
mp.dps = 60


# -- the reference networks ----------------------------------------------------------------------------------


def reference_problem(entry):
    """One entry as a problem: decimals become mpf without passing through float64."""
    neurons = tuple(
        Neuron(**{name: mp.mpf(value) for name, value in neuron.items()}, t_ref=mp.mpf(0))
        for neuron in entry["neurons"]
    )
    synapses = {("in", "net"): [], ("net", "net"): []}
    for pre, post, weight, delay in entry["synapses"]:
        key, source = (("in", "net"), -1 - pre) if pre < 0 else (("net", "net"), pre)
        synapses[key].append(Synapse(source, post, mp.mpf(weight), mp.mpf(delay)))
    spikes = sorted(
        (mp.mpf(time), channel) for channel, times in enumerate(entry["inputs"]) for time in times
    )
    return Problem(
        {"net": neurons},
        {key: tuple(values) for key, values in synapses.items()},
        {"in": (tuple(spikes),)},
        {"in": len(entry["inputs"])},
        mp.mpf(entry["t_end"]),
    )


def reference_loss(entry):
    coefficients = [mp.mpf(c) for c in entry["loss"]["coefficients"]]
    tau = mp.mpf(entry["loss"]["tau"])

    def loss(solution):
        times = [t for t, neuron in solution.spikes["net"][0] if neuron in entry["loss"]["readout"]]
        pairs = zip(times, itertools.cycle(coefficients), strict=False)
        return sum(t * c + t * t / solution.context.mpf(2 * tau) for t, c in pairs)

    return loss


def reference_gradient(entry):
    """Every derivative of the entry, as (parameter, index) -> decimal string."""
    truth, count = {}, {("in", "net"): 0, ("net", "net"): 0}
    for k, (pre, *_) in enumerate(entry["synapses"]):
        key = ("in" if pre < 0 else "net", "net")
        for name in ("weight", "delay"):
            truth[(name, key), count[key]] = entry["truth"][name][k]
        count[key] += 1
    for k, neuron in enumerate(entry["truth"]["neurons"]):
        truth |= {((name, "net"), k): value for name, value in neuron.items()}
    spikes = sorted(
        (mp.mpf(time), channel, entry["truth"]["inputs"][channel][k])
        for channel, times in enumerate(entry["inputs"])
        for k, time in enumerate(times)
    )
    return truth | {(("spike_times", "in"), k): value for k, (*_, value) in enumerate(spikes)}


@pytest.mark.parametrize("kind", REFERENCE)
def test_spikes_are_the_reference_to_30_digits(kind):
    entry = REFERENCE[kind]
    solution = exact.solve_problem(reference_problem(entry), digits=32)
    spikes = solution.spikes["net"][0]
    assert [neuron for _, neuron in spikes] == [neuron for _, neuron in entry["truth"]["spikes"]]
    for (time, _), (expected, _) in zip(spikes, entry["truth"]["spikes"], strict=True):
        assert abs(time / mp.mpf(expected) - 1) < mp.mpf("1e-30")
    assert abs(reference_loss(entry)(solution) / mp.mpf(entry["truth"]["loss"]) - 1) < mp.mpf("1e-30")


@pytest.mark.parametrize("kind", REFERENCE_DIGITS)
def test_differences_agree_with_each_other_where_time_constants_nearly_coincide(kind):
    entry = REFERENCE[kind]
    problem, loss = reference_problem(entry), reference_loss(entry)
    for name in ("tau_mem", "tau_syn"):
        parameter = (name, "net")
        fine = exact.derivative(problem, loss, parameter, 0, digits=40)
        coarse = exact.derivative(problem, loss, parameter, 0, digits=30, step=1e-20)
        assert close(coarse, fine, 29)


@pytest.mark.parametrize("kind", REFERENCE)
def test_gradients_are_the_reference_to_its_digits(kind):
    entry = REFERENCE[kind]
    problem, loss = reference_problem(entry), reference_loss(entry)
    truth = reference_gradient(entry)
    digits = REFERENCE_DIGITS.get(kind, 25)
    by_parameter = itertools.groupby(sorted(truth.items(), key=repr), key=lambda item: item[0][0])
    for parameter, group in by_parameter:
        values = {index: mp.mpf(value) for (_, index), value in group}
        size = max(abs(value) for value in values.values())
        chosen = sorted(values, key=lambda index: -abs(values[index]))[:2]
        for index in chosen:
            found = exact.derivative(problem, loss, parameter, index, digits=27)
            assert abs(found - values[index]) <= size * mp.mpf(10) ** -digits, (parameter, index)


def test_spikes_are_the_yinyang_reference():
    data = np.load(DATA / "yinyang_reference.npz")
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 200, es.LIF(tau_mem=20.0, tau_syn=5.0))
    net.add_population("out", 3, es.LIF(tau_mem=20.0, tau_syn=5.0))
    net.connect("in", "hidden", data["W1"].T)
    net.connect("hidden", "out", data["W2"].T)
    trains = es.SpikeTrains.from_dense(data["in_times_ms"][:1])
    solution = exact.solve(net, {"in": trains}, 60.0, digits=20)
    for population, short in (("hidden", "hid"), ("out", "out")):
        expected = data[f"{short}_sample"] == 0
        found = solution.to_spiketrains(population)
        order = np.lexsort((data[f"{short}_neuron"][expected], data[f"{short}_t_ms"][expected]))
        assert found.neurons.tolist() == data[f"{short}_neuron"][expected][order].tolist()
        np.testing.assert_allclose(found.times, data[f"{short}_t_ms"][expected][order], rtol=3e-16, atol=0)


# -- one neuron in closed form -------------------------------------------------------------------------------


def one_neuron(weight=0.0, at=0.0, t_end=1.0, delay=0.0, neuron=es.LI, **parameters):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, neuron(**parameters))
    net.connect("in", "out", [[weight]], delay=delay)
    return net, {"in": es.SpikeTrains.from_lists([[[at]]])}, t_end


def lif(**kwargs):
    return one_neuron(neuron=es.LIF, **kwargs)


def times(solution, population="out"):
    return [time for time, _ in solution.spikes[population][0]]


def close(found, expected, digits):
    return abs(found - expected) <= abs(expected) * mp.mpf(10) ** -digits


def test_twice_the_synaptic_time_constant_is_a_quadratic():
    solution = exact.solve(*lif(weight=8.0, tau_mem=2.0, tau_syn=1.0, t_end=0.5), digits=40)
    assert close(times(solution)[0], -2 * mp.log((1 + mp.sqrt(mp.mpf(1) / 2)) / 2), 40)


@pytest.mark.parametrize("above", [2**-20, 2**-48])
def test_a_grazing_crossing_is_found_and_a_peak_just_below_threshold_is_none(above):
    """The peak of V is weight/4: twice the time constant again, where the quadratic's roots merge."""
    parameters = dict(tau_mem=2.0, tau_syn=1.0, t_end=4.0)
    assert times(exact.solve(*lif(weight=4 - above, **parameters))) == []
    found = times(exact.solve(*lif(weight=4 + above, **parameters), digits=30))
    assert len(found) == 1
    assert close(found[0], -2 * mp.log((1 + mp.sqrt(1 - 4 / mp.mpf(4 + above))) / 2), 30)


def test_equal_time_constants_are_lambert_w():
    solution = exact.solve(*lif(weight=4.0, tau_mem=0.25, tau_syn=0.25, t_end=0.1), digits=40)
    assert close(times(solution)[0], -mp.lambertw(-mp.mpf(1) / 4) / 4, 40)


def test_constant_drive_fires_periodically_and_each_period_holds_the_refractory_time():
    parameters = dict(tau_mem=0.25, tau_syn=0.125, v_leak=1.5, v_reset=-0.5, t_ref=0.0625)
    solution = exact.solve(*lif(t_end=2.0, **parameters), digits=40)
    first = -mp.log(mp.mpf("0.5") / mp.mpf("1.5")) / 4
    period = mp.mpf("0.0625") - mp.log(mp.mpf("0.5") / 2) / 4
    found = times(solution)
    assert len(found) == int(mp.floor((2 - first) / period)) + 1
    assert all(close(time, first + k * period, 39) for k, time in enumerate(found))


def test_nearly_equal_time_constants_are_paid_for_with_digits():
    """The spike moves by dt/dtau_syn times the difference of the time constants, to second order in it."""
    near_tau = float(np.nextafter(0.25, 1))
    equal = lif(weight=4.0, tau_mem=0.25, tau_syn=0.25, t_end=0.1)
    near = exact.solve(*lif(weight=4.0, tau_mem=0.25, tau_syn=near_tau, t_end=0.1), digits=40)
    slope = exact.gradient(*equal, last_spike, [("tau_syn", "out")], digits=30)["tau_syn", "out"][0]
    difference = mp.mpf(near_tau) - mp.mpf("0.25")
    expected = times(exact.solve(*equal, digits=40))[0] + slope * difference
    assert abs(times(near)[0] - expected) < 10 * difference**2
    assert near.context.dps > 70


def test_the_spike_at_t_end_counts_and_a_later_one_does_not():
    network, inputs, _ = lif(weight=8.0, tau_mem=2.0, tau_syn=1.0)
    spike = -2 * mp.log((1 + mp.sqrt(mp.mpf(1) / 2)) / 2)
    problem = exact.problem(network, inputs, 1.0)
    for offset, count in (("1e-35", 1), ("-1e-35", 0)):
        problem = dataclasses.replace(problem, t_end=spike + mp.mpf(offset))
        assert len(times(exact.solve_problem(problem, digits=40))) == count


def test_a_delivery_after_t_end_does_nothing_and_one_at_t_end_moves_the_current_only():
    late = exact.solve(*one_neuron(weight=8.0, at=0.5, delay=0.75, tau_mem=2.0, tau_syn=1.0))
    assert late.current("out", 0, 0, 1) == late.voltage("out", 0, 0, 1) == 0
    just = exact.solve(*one_neuron(weight=8.0, at=0.5, delay=0.5, tau_mem=2.0, tau_syn=1.0))
    assert (just.voltage("out", 0, 0, 1), just.current("out", 0, 0, 1)) == (0, 8)


def test_a_neuron_held_at_reset_keeps_its_current_and_its_deliveries():
    net, _, _ = lif(weight=8.0, tau_mem=2.0, tau_syn=1.0, t_ref=1.0, v_reset=-0.25)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 1.0]]])}
    solution = exact.solve(net, inputs, 1.3, digits=40)
    (spike,) = times(solution)
    for time in (spike, mp.mpf(1), mp.mpf("1.3")):
        assert solution.voltage("out", 0, 0, time) == mp.mpf("-0.25")
    assert close(solution.current("out", 0, 0, "1.25"), 8 * (1 + mp.exp(1)) * mp.exp(-mp.mpf("1.25")), 40)


def taylor_step(state, h, tau_mem, tau_syn, v_leak):
    """The ODE by its power series, without any closed form."""
    v, i = state
    value = [v, i]
    for n in range(120):
        dv = ((v_leak if n == 0 else 0) - v + i) / tau_mem / (n + 1) * h
        v, i = dv, -i / tau_syn / (n + 1) * h
        value = [value[0] + v, value[1] + i]
    return value


@pytest.mark.parametrize("tau_syn", [0.0078125, 0.03125, 0.03125 + 2**-40, 0.125])
def test_the_voltage_obeys_the_differential_equation(tau_syn):
    tau_mem, v_leak = 0.03125, 0.375
    net, _, _ = one_neuron(weight=3.0, tau_mem=tau_mem, tau_syn=tau_syn, v_leak=v_leak)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.015625, 0.046875]]])}
    solution = exact.solve(net, inputs, 0.0625, digits=35)
    state, h = [mp.mpf(0), mp.mpf(0)], mp.mpf(1) / 256
    for step in range(16):
        time = step * h
        if time in (0.015625, 0.046875):
            state[1] += 3
        assert abs(solution.voltage("out", 0, 0, time) - state[0]) < mp.mpf("1e-35")
        assert abs(solution.current("out", 0, 0, time) - state[1]) < mp.mpf("1e-35")
        state = taylor_step(state, h, mp.mpf(tau_mem), mp.mpf(tau_syn), mp.mpf(v_leak))


def test_the_voltage_is_the_threshold_before_a_spike_and_the_reset_after_it():
    solution = exact.solve(*lif(weight=8.0, tau_mem=2.0, tau_syn=1.0, v_reset=-0.5), digits=30)
    spike = times(solution)[0]
    assert solution.voltage("out", 0, 0, spike) == -0.5
    assert abs(solution.voltage("out", 0, 0, spike - mp.mpf("1e-32")) - 1) < mp.mpf("1e-30")


# -- gradients -----------------------------------------------------------------------------------------------


def last_spike(solution):
    return times(solution)[-1]


def test_the_refractory_time_is_differentiated_also_at_zero():
    """tau_mem = 2 tau_syn, reset 0: the second spike follows the end of the hold by the quadratic's root."""
    for t_ref in (0.0, 0.125):
        problem = lif(weight=20.0, tau_mem=2.0, tau_syn=1.0, t_ref=t_ref, t_end=0.5)
        first, second, *_ = times(exact.solve(*problem, digits=40))
        current = 20 * mp.exp(-first - mp.mpf(t_ref))
        q = mp.sqrt(1 - 4 / current)
        x = (1 + q) / 2
        assert close(second, first + mp.mpf(t_ref) - 2 * mp.log(x), 38)
        expected = 1 + 2 / (x * current * q)
        found = exact.gradient(*problem, lambda solution: times(solution)[1], [("t_ref", "out")])[
            "t_ref", "out"
        ]
        assert found.shape == (1,)
        assert close(found[0], expected, 28)


def test_zero_delays_and_inputs_at_zero_are_differentiated_from_the_right():
    problem = lif(weight=8.0, tau_mem=2.0, tau_syn=1.0, t_end=0.5)
    wrt = [("delay", ("in", "out")), ("spike_times", "in"), ("weight", ("in", "out"))]
    found = exact.gradient(*problem, last_spike, wrt, digits=30)
    assert close(found["delay", ("in", "out")][0], 1, 30)
    assert close(found["spike_times", "in"][0], 1, 30)
    q = mp.sqrt(mp.mpf(1) / 2)
    assert close(found["weight", ("in", "out")][0], -4 / (64 * q * (1 + q)), 30)


@pytest.mark.parametrize("step", [1e-8, 1e-20])
def test_the_result_has_the_digits_that_the_step_leaves(step):
    problem = exact.problem(*lif(weight=8.0, tau_mem=2.0, tau_syn=1.0, t_end=0.5))
    found = exact.derivative(problem, last_spike, ("weight", ("in", "out")), 0, digits=30, step=step)
    q = mp.sqrt(mp.mpf(1) / 2)
    error = abs(found / (-4 / (64 * q * (1 + q))) - 1)
    assert error < max(step**2, mp.mpf("1e-30"))


def test_gradients_come_in_the_order_of_the_spikes_and_of_the_synapses():
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LI(tau_mem=2.0, tau_syn=1.0))
    weight = sp.csr_array(np.array([[0.0, 2.0, 3.0], [5.0, 0.0, 0.0]]))
    net.connect("in", "out", weight, delay=0.125)
    trains = es.SpikeTrains.from_lists([[[0.25], [0.5], [0.125]], [[], [0.0], []]])

    def loss(solution):
        return sum(solution.voltage("out", sample, 0, 1) for sample in range(2))

    wrt = [("weight", ("in", "out")), ("spike_times", "in"), ("tau_mem", "out")]
    found = exact.gradient(net, {"in": trains}, 1.0, loss, wrt, digits=20)

    def response(s):
        return mp.exp(-s / 2) - mp.exp(-s)

    def slope(s):
        return mp.exp(-s) - mp.exp(-s / 2) / 2

    weights, spikes = found["weight", ("in", "out")], found["spike_times", "in"]
    expected = [response(mp.mpf("0.375")) + response(mp.mpf("0.875")), response(mp.mpf("0.75")), 0]
    assert all(abs(a - b) < 1e-19 for a, b in zip(weights, expected, strict=True))
    expected = [-3 * slope(mp.mpf("0.75")), 0, -2 * slope(mp.mpf("0.375")), -2 * slope(mp.mpf("0.875"))]
    assert all(abs(a - b) < 1e-19 for a, b in zip(spikes, expected, strict=True))
    assert found["tau_mem", "out"][1] == 0


def test_a_spike_that_vanishes_within_the_step_leaves_the_gradient_undefined():
    problem = exact.problem(*lif(weight=8.0, tau_mem=2.0, tau_syn=1.0))
    spike = -2 * mp.log((1 + mp.sqrt(mp.mpf(1) / 2)) / 2)
    problem = dataclasses.replace(problem, t_end=spike + mp.mpf("1e-28"))
    with pytest.raises(exact.SpikeCountChanged, match="neuron 0 of 'out' in sample 0 has 0 or 1 spikes"):
        exact.derivative(problem, last_spike, ("weight", ("in", "out")), 0)


# -- order, rounding, errors ---------------------------------------------------------------------------------


def test_a_zero_delay_chain_keeps_its_order_and_its_samples_apart():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 2, es.LIF(tau_mem=2.0, tau_syn=1.0))
    net.add_population("b", 1, es.LIF(tau_mem=2.0, tau_syn=1.0))
    net.connect("a", "b", [[6.0, 6.0]])
    net.connect("in", "a", [[8.0], [8.0]])
    solution = exact.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]], [[]], [[0.5]]])}, 1.0, digits=30)
    assert [neuron for _, neuron in solution.spikes["a"][0]][:2] == [0, 1]
    first = solution.first("a")
    assert first[0][0] == first[0][1]
    assert first[1] == [mp.inf, mp.inf]
    assert close(first[2][0], first[0][0] + mp.mpf("0.5"), 30)
    rise = -2 * mp.log((1 + mp.sqrt(mp.mpf(2) / 3)) / 2)
    assert close(solution.first("b")[0][0], first[0][0] + rise, 30)
    trains = solution.to_spiketrains("a")
    assert (trains.n_samples, trains.n_neurons) == (3, 2)
    assert trains.first().tolist() == [[float(t) for t in row] for row in first]
    assert solution.to_spiketrains("in").times.tolist() == [0.0, 0.5]


def test_the_global_precision_is_neither_read_nor_changed():
    problem = lif(weight=8.0, tau_mem=2.1, tau_syn=1.3, t_end=0.5)
    expected = times(exact.solve(*problem))
    with mpmath.workdps(3):
        assert times(exact.solve(*problem)) == expected
        assert mpmath.mp.dps == 3


def test_what_does_not_fit_is_refused():
    net, inputs, t_end = lif(weight=8.0, tau_mem=2.0, tau_syn=1.0)
    with pytest.raises(ValueError, match="inputs must name"):
        exact.solve(net, {}, t_end)
    with pytest.raises(ValueError, match="has 1 channels"):
        exact.solve(net, {"in": es.SpikeTrains.from_lists([[[], []]])}, t_end)
    with pytest.raises(ValueError, match="t_end"):
        exact.solve(net, inputs, float("inf"))
    with pytest.raises(ValueError, match="time must lie in"):
        exact.solve(net, inputs, t_end).voltage("out", 0, 0, 2)
    for wrt in [("weight", ("in", "in")), ("tau", "out"), ("tau_mem", "in"), ("spike_times", "out")]:
        with pytest.raises(ValueError, match=r"must be one of|is none of"):
            exact.gradient(net, inputs, t_end, last_spike, [wrt])
    with pytest.raises(ValueError, match="does not spike"):
        exact.gradient(*one_neuron(tau_mem=1.0, tau_syn=1.0), last_spike, [("v_reset", "out")])
    with pytest.raises(ValueError, match="step"):
        exact.gradient(net, inputs, t_end, last_spike, [("tau_mem", "out")], step=0.1)
    problem = exact.problem(net, inputs, t_end)
    early = dataclasses.replace(problem, inputs={"in": (((mp.mpf(-1), 0),),)})
    with pytest.raises(ValueError, match="must be >= 0"):
        exact.solve_problem(early)
    (synapse,), (neuron,) = problem.synapses["in", "out"], problem.neurons["out"]
    acausal = dataclasses.replace(synapse, delay=mp.mpf(-1))
    with pytest.raises(ValueError, match="delay of"):
        exact.solve_problem(dataclasses.replace(problem, synapses={("in", "out"): (acausal,)}))
    hasty = dataclasses.replace(neuron, t_ref=mp.mpf(-1))
    with pytest.raises(ValueError, match="t_ref of population 'out'"):
        exact.solve_problem(dataclasses.replace(problem, neurons={"out": (hasty,)}))
    net = es.Network()
    net.add_input("a", 1)
    net.add_input("b", 1)
    batches = {name: es.SpikeTrains.from_lists([[[]]] * n) for name, n in (("a", 1), ("b", 2))}
    with pytest.raises(ValueError, match="the same number of samples"):
        exact.solve(net, batches, t_end)
