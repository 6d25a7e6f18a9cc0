"""Does the time-stepped network converge to continuous time, with first order, and refuse the rest by name?"""

import math

import numpy as np
import pytest

import eventsolve as es
from validation.grid import TimeStepped
from validation.grid.kernels.numbers import halved
from validation.grid.steps import MOST_STEPS, in_steps, number_of_steps
from validation.spinnaker2 import SpiNNaker2Core

TAU_MEM = 10e-3
LIF = es.LIF(tau_mem=TAU_MEM, tau_syn=TAU_MEM / 2)


def first_time():
    """A loss that is the sum of the first spike times of "out", in seconds."""

    def function(spikes):
        first, index = spikes["out"].first(), spikes["out"].first_index()
        slopes = np.zeros(spikes["out"].n_spikes)
        slopes[index[index >= 0]] = 1.0
        return np.where(np.isinf(first), 0.0, first).sum(axis=1), {"out": slopes}

    return es.losses.SpikeTimeLoss(function)


def one_neuron(weight, neuron=LIF, delay=0.0):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [[weight]], delay=delay)
    return net


def one_spike(time=0.0):
    return {"in": es.SpikeTrains.from_lists([[[time]]])}


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)


@pytest.mark.parametrize("weight", [4.5, 7.0, 20.0])
def test_one_spike_converges_to_the_quadratic(weight):
    """With tau_mem = 2 tau_syn, V = w (x - x^2) and x = exp(-t/tau_mem): t and dt/dw are closed form."""
    x = (1 + math.sqrt(1 - 4 / weight)) / 2
    t, dt_dw = -TAU_MEM * math.log(x), -TAU_MEM / (x * weight**2 * (2 * x - 1))
    slopes = []
    for time_step in (1e-5, 1e-6):
        record = TimeStepped(time_step).run(es.Problem(one_neuron(weight), one_spike(), 6e-3, first_time()))
        assert 0 <= record.spikes["out"].times[0] - t <= time_step * (1 + 1e-9)
        assert record.loss_values[0] == pytest.approx(record.spikes["out"].times[0], rel=1e-6, abs=0.0)
        np.testing.assert_allclose(record.spike_times["out"][0], 1.0, rtol=1e-5)
        # a later input spike moves the output spike with it
        np.testing.assert_allclose(record.spike_times["in"], [1.0], rtol=2 * time_step / 1e-4)
        slopes.append(abs(record.weight["in", "out"][0, 0, 0] / dt_dw - 1))
    # dt/dw = -K(t)/V'(t): a step late by up to h changes it by a factor of 1 + h (K'/K - K"/K') at first order
    k, k1, k2 = x - x**2, (2 * x**2 - x) / TAU_MEM, (x - 4 * x**2) / TAU_MEM**2
    for time_step, slope in zip((1e-5, 1e-6), slopes, strict=True):
        assert slope < 1.2 * time_step * abs(k1 / k - k2 / k1)


def published(rng, **neuron):
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 5, es.LIF(**neuron))
    net.add_population("out", 3, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "hidden", rng.normal(3.0, 1.5, (5, 4)), delay=rng.integers(0, 4, (5, 4)) * 1e-3)
    net.connect("hidden", "out", rng.normal(2.0, 0.7, (3, 5)))
    net.connect("in", "out", rng.normal(0.5, 0.2, (3, 4)), delay=2e-3)
    return net


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_networks_converge_to_the_exact_solution(seed):
    """Spikes, dL/dt of every spike and dL/dw, with delays, leak, reset and time constants per neuron."""
    rng = np.random.default_rng(seed)
    net = published(
        rng,
        tau_mem=rng.uniform(8e-3, 25e-3, 5),
        tau_syn=rng.uniform(4e-3, 9e-3, 5),
        v_threshold=rng.uniform(0.8, 1.2, 5),
        v_reset=rng.uniform(-0.3, 0.1, 5),
        v_leak=rng.uniform(-0.1, 0.2, 5),
    )
    inputs = {"in": es.SpikeTrains.from_dense(rng.integers(0, 12, (3, 4)) * 1e-3)}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1, 2], tau0=2e-3, tau1=20e-3, alpha=0.1)
    solution = es.solve(net, inputs, t_end=30e-3)
    values, grads = es.value_and_grad(solution, loss, reduction="none")
    errors = []
    for time_step in (1e-5, 1e-6):
        record = TimeStepped(time_step).run(es.Problem(net, inputs, 30e-3, loss))
        assert record.counters["falling_crossings"] == 0
        found = [relative(record.loss_values, values)]
        for name in ("in", "hidden", "out"):
            mine, theirs = record.spikes[name], solution.spikes[name]
            np.testing.assert_array_equal(mine.counts(), theirs.counts())
            a, b = (np.lexsort((t.times, t.neurons, t.samples)) for t in (mine, theirs))
            if name != "in":
                found.append(relative(mine.times[a], theirs.times[b]))
            found.append(relative(record.spike_times[name][a], grads.spike_times[name][b]))
        found.extend(relative(record.weight[key], grads.weight[key]) for key in record.weight)
        errors.append(np.array(found))
    assert errors[1].max() < 5e-3
    assert errors[1].max() < 0.2 * errors[0].max()
    assert (errors[1] < 0.5 * errors[0]).all()


def test_a_grid_finer_than_the_events_misses_nothing_and_a_coarse_one_does():
    """The peak of a subthreshold-to-threshold bump lies between two points of a coarse grid."""
    net, inputs, loss = one_neuron(4.0001), one_spike(), first_time()
    assert TimeStepped(1e-6).run(es.Problem(net, inputs, 20e-3, loss)).spikes["out"].n_spikes == 1
    record = TimeStepped(1e-3).run(es.Problem(net, inputs, 20e-3, loss))
    assert record.spikes["out"].n_spikes == 0
    assert record.loss_values[0] == 0
    assert not record.weight["in", "out"].any()


def test_a_spike_seen_after_its_peak_is_counted():
    record = TimeStepped(4e-3).run(es.Problem(one_neuron(4.1), one_spike(), 20e-3, first_time()))
    assert record.spikes["out"].times.tolist() == [8e-3]
    assert record.counters["falling_crossings"] == 1


def test_silence_has_the_three_policies_of_the_library():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, LIF)
    net.connect("in", "out", [[9.0], [0.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]], [[0.0]]])}
    for silent in ("skip", "t_end"):
        loss = es.losses.TTFSCrossEntropy("out", [1, 0], tau0=2e-3, tau1=20e-3, alpha=0.1, silent=silent)
        values, grads = es.value_and_grad(es.solve(net, inputs, t_end=20e-3), loss, reduction="none")
        record = TimeStepped(1e-6).run(es.Problem(net, inputs, 20e-3, loss))
        np.testing.assert_allclose(record.loss_values, values, rtol=2e-3)
        np.testing.assert_allclose(record.weight["in", "out"], grads.weight["in", "out"], rtol=2e-3)
    loss = es.losses.TTFSCrossEntropy("out", [1, 0], tau0=2e-3, tau1=20e-3, alpha=0.1)
    with pytest.raises(ValueError, match=r"silent in 1 of 2 samples \(0\)"):
        TimeStepped(1e-3).run(es.Problem(net, inputs, 20e-3, loss))


def test_traces_are_the_exact_state_on_the_grid():
    """No spike in between: the propagator is exact, whatever the time step."""
    net, inputs = one_neuron(3.0), one_spike()
    record = TimeStepped(1e-3).run(es.Problem(net, inputs, 20e-3, first_time()))
    solution = es.solve(net, inputs, t_end=20e-3)
    trace = record.traces["out"]
    np.testing.assert_allclose(trace.voltage, solution.voltage("out", trace.times), atol=1e-15)
    np.testing.assert_allclose(trace.current[..., 1:], solution.current("out", trace.times[1:]), atol=1e-14)


def test_times_between_points_are_rounded_and_said_so():
    net = one_neuron(9.0, es.LIF(tau_mem=TAU_MEM, tau_syn=TAU_MEM / 2, t_ref=2.6e-3), delay=1.4e-3)
    record = TimeStepped(1e-3).run(es.Problem(net, one_spike(), 20e-3, first_time()))
    on_grid = one_neuron(9.0, es.LIF(tau_mem=TAU_MEM, tau_syn=TAU_MEM / 2, t_ref=3e-3), delay=1e-3)
    same = TimeStepped(1e-3).run(es.Problem(on_grid, one_spike(), 20e-3, first_time()))
    np.testing.assert_array_equal(record.spikes["out"].times, same.spikes["out"].times)
    assert len(record.notes) == 2
    assert record.notes[1].startswith(
        "1 delays of ('in', 'out') are rounded to steps of 0.001 s, by up to 0.0004"
    )
    assert same.notes == ()


@pytest.mark.parametrize(("rounding", "step"), [("nearest", 2), ("up", 3), ("down", 2)])
def test_inputs_go_to_the_point_that_they_are_on_whatever_its_last_bit(rounding, step):
    """Multiples of 0.1 ms are a last bit above or below a whole number of steps in float64, as they were made."""
    decimal = np.array([float(f"{k}e-4") for k in range(1, 1000)])
    product = np.arange(1, 1000) * 1e-4
    quotients = np.concatenate([decimal, product]) / 1e-4
    assert min((quotients > np.rint(quotients)).sum(), (quotients < np.rint(quotients)).sum()) >= 5
    for times in (decimal, product):
        assert in_steps(times, 1e-4, rounding).tolist() == list(range(1, 1000))
    assert in_steps(np.array([2.4e-4]), 1e-4, rounding).tolist() == [step]


def test_transport_is_a_delay_and_resolution_says_so():
    net = one_neuron(9.0)
    later = TimeStepped(1e-3, transport=2)
    a = later.run(es.Problem(net, one_spike(), 20e-3, first_time()))
    b = TimeStepped(1e-3).run(es.Problem(one_neuron(9.0, delay=2e-3), one_spike(), 20e-3, first_time()))
    np.testing.assert_array_equal(a.spikes["out"].times, b.spikes["out"].times)
    np.testing.assert_array_equal(a.weight["in", "out"], b.weight["in", "out"])
    resolution = TimeStepped(1e-3, transport=2, number="s16.15").resolution(net)
    assert resolution.transport == {("in", "out"): 2}
    assert (resolution.time_step, resolution.quantum) == (1e-3, 2.0**-15)


def test_fixed_point_counts_what_is_out_of_range_and_draws_words_by_sample():
    net = one_neuron(9.0)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 1e-3, 2e-3]], [[1e-3, 2e-3, 3e-3]]])}
    loss = first_time()
    target = TimeStepped(1e-3, number="s4.11")
    assert target.run(es.Problem(net, inputs, 20e-3, loss)).counters["overflows"] > 0
    assert (
        TimeStepped(1e-3, number="s16.15").run(es.Problem(net, inputs, 20e-3, loss)).counters["overflows"]
        == 0
    )
    noisy = TimeStepped(1e-3, number="s8.6", rounding="stochastic", seed=1)
    both = noisy.run(es.Problem(net, inputs, 20e-3, loss))
    alone = noisy.run(es.Problem(net, {"in": inputs["in"].select([0])}, 20e-3, loss))
    np.testing.assert_array_equal(both.traces["out"].voltage[0], alone.traces["out"].voltage[0])
    other = TimeStepped(1e-3, number="s8.6", rounding="stochastic", seed=2).run(
        es.Problem(net, inputs, 20e-3, loss)
    )
    assert (both.traces["out"].voltage != other.traces["out"].voltage).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_step": 0.0}, "time_step must be finite"),
        (
            {"propagators": "heun"},
            "propagators must be one of exact, exponential, euler, scaled, implicit, rk2, rk4; got 'heun'",
        ),
        ({"input_rounding": "even"}, "input_rounding must be one of"),
        ({"slope": "secant"}, "slope must be one of"),
        ({"feedback": -1}, "feedback must be an integer >= 0"),
        ({"hold": 0.5}, "hold must be an integer"),
        ({"points": "1..n+1"}, "points must be one of"),
        ({"transport": -1}, "transport must be an integer >= 0"),
        ({"adjoint": "recursion"}, "needs order 'current_first'"),
        ({"number": "float8"}, "number must be 'float64', 'float32', 'float16' or a fixed-point format"),
        ({"number": "s32.31"}, "at most 52 bits"),
        ({"rounding": "even"}, "rounding must be one of"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        TimeStepped(**{"time_step": 1e-3, **settings})


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_the_recursion_is_that_of_the_core(decay):
    """In float64, without any code in common; the core adds 1e-10 to denominators above 1e-3, which is 1e-7 of them."""
    rng = np.random.default_rng(5)
    net = es.Network()
    net.add_input("in", 4)
    for name, n in (("hidden", 8), ("out", 3)):
        net.add_population(name, n, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "hidden", rng.normal(3.0, 1.0, (8, 4)))
    net.connect("hidden", "out", rng.normal(1.5, 0.5, (3, 8)))
    inputs = {"in": es.SpikeTrains.from_dense(rng.integers(0, 12, (4, 4)) * 1e-3)}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1, 2, 0], tau0=2e-3, tau1=20e-3, alpha=0.1, silent="skip")
    core = SpiNNaker2Core(1e-3, "float64", decay=decay).run(es.Problem(net, inputs, 30e-3, loss))
    settings = {"propagators": decay, "order": "current_first", "transport": 1, "adjoint": "recursion"}
    grid = TimeStepped(1e-3, **settings).run(es.Problem(net, inputs, 30e-3, loss))
    assert core.spikes["hidden"].n_spikes > 20
    for name, trains in core.spikes.items():
        np.testing.assert_array_equal(grid.spikes[name].times, trains.times)
        np.testing.assert_allclose(grid.spike_times[name], core.spike_times[name], rtol=1e-6, atol=1e-6)
    for key, gradient in core.weight.items():
        assert relative(grid.weight[key], gradient) < 1e-6
    assert set(grid.gradients) == {"weight", "delay", "spike_times"}


def test_what_the_recursion_has_no_rule_for_is_refused():
    target = TimeStepped(1e-3, order="current_first", transport=1, adjoint="recursion")
    held = one_neuron(9.0, es.LIF(tau_mem=1e-2, tau_syn=5e-3, t_ref=1e-3))
    lifted = one_neuron(9.0)
    lifted.connect("in", "out", [[0.1]], synapse="delta", name="lift")
    for net, message in ((held, "has a refractory period"), (lifted, "is 'delta'")):
        with pytest.raises(ValueError, match=message):
            target.run(es.Problem(net, one_spike(), 20e-3, first_time()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"in": es.SpikeTrains.from_lists([[[1e-3, 1.2e-3]]])}}, "both in step 1"),
        ({"inputs": {}}, "inputs must be given"),
        ({"inputs": {"in": es.SpikeTrains.from_lists([[[], []]])}}, "has 1 neurons"),
        ({"t_end": 1e-4}, "t_end must be at least one time step"),
        (
            {"loss": es.losses.TTFSCrossEntropy("out", [1], tau0=1e-3, tau1=1e-2, alpha=0.0)},
            r"labels must lie in 0\.\.0",
        ),
        ({"loss": es.losses.MaxVoltageCrossEntropy("out", [0])}, "is none"),
        ({"loss": es.losses.MeanVoltageCrossEntropy("in", [0])}, "'in' is an input"),
        (
            {"loss": es.losses.SampledVoltage("out", [1.0], lambda v: (v, v))},
            r"must lie in \[0, t_end = 0.02",
        ),
    ],
)
def test_other_mistakes_are_named(change, message):
    arguments = {"inputs": one_spike(), "t_end": 20e-3, "loss": first_time()}
    with pytest.raises(ValueError, match=message):
        TimeStepped(1e-3).run(es.Problem(one_neuron(9.0), **{**arguments, **change}))
    with pytest.raises(ValueError, match="which the number format cannot hold"):
        TimeStepped(1e-3, number="s2.8").run(es.Problem(one_neuron(9.0), **arguments))


def test_without_a_loss_there_are_spikes_alone():
    problem = es.Problem(one_neuron(9.0), one_spike(), 20e-3, first_time())
    with_loss = TimeStepped(1e-3).run(problem)
    alone = TimeStepped(1e-3).run(es.Problem(problem.network, problem.inputs, problem.t_end))
    assert alone.spikes["out"] == with_loss.spikes["out"]
    assert alone.loss_values is None
    assert not alone.weight
    assert not alone.spike_times


def test_a_float16_is_the_nearest_one():
    """Over its whole range: halves of its last bit, subnormals, what is out of range, and 0."""
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.standard_normal(20_000) * 2.0 ** rng.integers(-27, 18, 20_000),
            (np.arange(4096) + 0.5) * 2.0**-24,
            [65519.99, 65520.0, 1e300, 0.0, 2.0**-25, np.nextafter(2.0**-25, 1), np.inf],
        ]
    )
    x = np.concatenate([x, -x])
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16).astype(np.float64)
    assert np.array_equal([halved(value) for value in x], expected)


def test_a_clock_counts_at_least_one_step_and_at_most_so_many():
    assert number_of_steps(27e-3, 1e-3) == 27
    assert number_of_steps(float(MOST_STEPS), 1.0) == MOST_STEPS == 2**31 - 1
    for t_end, time_step in ((2.0**31, 1.0), (27e-3, 1e-300)):
        with pytest.raises(
            ValueError, match=f"t_end must be at most 2147483647 time steps of {time_step!r} s"
        ):
            number_of_steps(t_end, time_step)
    for t_end in (0.4e-3, 0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"t_end must be at least one time step of 0\.001 s"):
            number_of_steps(t_end, 1e-3)
