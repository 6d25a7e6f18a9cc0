"""Delta synapses, resets, initial values and recurrence in the multiprecision solver, each in closed form."""

import dataclasses

import numpy as np
import pytest
from mpmath.ctx_mp import MPContext

import eventsolve as es
from eventsolve import multiprecision as exact

mp = MPContext()
mp.dps = 60
TAU_MEM, TAU_SYN = 2.0, 1.0  # K(s) = x - x² with x = exp(-s/2)


def x_at(s):
    return mp.exp(-mp.mpf(s) / 2)


def network(weights, *, inputs=("in",), synapse="delta", delay=0.0, neuron=es.LIF, **parameters):
    """Connect inputs, in the order of ``weights``, to one neuron "out"; every input has one channel."""
    net = es.Network()
    for name in inputs:
        net.add_input(name, 1)
    net.add_population("out", 1, neuron(**{"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **parameters}))
    for name, weight in weights.items():
        net.connect(name, "out", [[weight]], synapse=synapse, delay=delay)
    return net


def trains(**times):
    return {name: es.SpikeTrains.from_lists([[list(values)]]) for name, values in times.items()}


def times(solution, population="out"):
    return [time for time, _ in solution.spikes[population][0]]


def close(found, expected, digits):
    return abs(found - expected) <= abs(expected) * mp.mpf(10) ** -digits


def differentiated(net, inputs, t_end, loss, *wrt):
    found = exact.gradient(net, inputs, t_end, loss, wrt, digits=30)
    return [values[0] for values in found.values()]


# -- initial values ------------------------------------------------------------------------------------------


def test_initial_voltage_and_current_decay_in_closed_form_and_are_differentiated():
    net = network({}, neuron=es.LI, v_leak=0.25, v_initial=0.75, i_initial=-3.0)
    inputs = trains(**{"in": []})
    solution = exact.solve(net, inputs, 1.0, digits=40)
    assert solution.voltage("out", 0, 0, 0) == solution.voltage_before("out", 0, 0, 0) == 0.75
    assert solution.current("out", 0, 0, 0) == solution.current_before("out", 0, 0, 0) == -3
    x = x_at(1)
    assert close(solution.voltage("out", 0, 0, 1), mp.mpf("0.25") + x / 2 - 3 * (x - x * x), 40)
    assert close(solution.current("out", 0, 0, 1), -3 * x * x, 40)

    def voltage(solution):
        return solution.voltage("out", 0, 0, 1)

    dv, di = differentiated(net, inputs, 1.0, voltage, ("v_initial", "out"), ("i_initial", "out"))
    assert close(dv, x, 30)
    assert close(di, x - x * x, 30)


def test_a_crossing_from_initial_values_is_a_quadratic_and_so_are_its_derivatives():
    """V = (v + i) x - i x² reaches 1 at the larger root x; q is the root of the discriminant, V' = q x/2."""
    v, i = mp.mpf("0.5"), mp.mpf("3")
    net = network({}, v_initial=0.5, i_initial=3.0)
    inputs = trains(**{"in": []})
    q = mp.sqrt((v + i) ** 2 - 4 * i)
    x = (v + i + q) / (2 * i)
    solution = exact.solve(net, inputs, 1.0, digits=40)
    assert close(times(solution)[0], -2 * mp.log(x), 40)

    def first(solution):
        return times(solution)[0]

    dv, di = differentiated(net, inputs, 1.0, first, ("v_initial", "out"), ("i_initial", "out"))
    assert close(dv, -2 / q, 30)
    assert close(di, -2 * (1 - x) / q, 30)


def test_a_problem_is_read_with_what_each_neuron_and_projection_is():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("lif", 2, es.LIF(2.0, 1.0, v_initial=[0.5, 0.25], i_initial=3.0, reset="subtract"))
    net.add_population("li", 1, es.LI(2.0, 1.0, v_initial=2.0, i_initial=-1.0))
    net.connect("in", "lif", [[1.0], [2.0]])
    net.connect("in", "lif", [[3.0], [4.0]], synapse="delta", name="jump")
    problem = exact.problem(net, trains(**{"in": [0.5]}), 1.0)
    lif, li = problem.neurons["lif"], problem.neurons["li"]
    assert [(n.v_initial, n.i_initial, n.subtract) for n in (*lif, *li)] == [
        (0.5, 3, True),
        (0.25, 3, True),
        (2, -1, False),
    ]
    assert [s.delta for s in problem.synapses["in", "lif"]] == [False, False]
    assert [s.delta for s in problem.synapses["in", "lif", "jump"]] == [True, True]
    beyond = dataclasses.replace(lif[0], v_initial=mp.mpf(1))
    with pytest.raises(ValueError, match="v_initial of neuron 1 of 'lif'"):
        exact.solve_problem(
            dataclasses.replace(problem, neurons={**problem.neurons, "lif": (lif[0], beyond)})
        )


# -- delta synapses ------------------------------------------------------------------------------------------


def test_a_delta_arrival_moves_the_voltage_and_is_differentiated():
    net = network({"in": 0.25}, delay=0.25, v_initial=0.75)
    inputs = trains(**{"in": [0.5]})
    solution = exact.solve(net, inputs, 2.0, digits=40)
    assert close(solution.voltage_before("out", 0, 0, 0.75), x_at(0.75) * 0.75, 40)
    assert close(solution.voltage("out", 0, 0, 0.75), x_at(0.75) * 0.75 + 0.25, 40)
    assert close(solution.voltage("out", 0, 0, 2), x_at(2) * 0.75 + x_at("1.25") / 4, 40)
    assert solution.current("out", 0, 0, 2) == 0
    assert times(solution) == []

    def voltage(solution):
        return solution.voltage("out", 0, 0, 2)

    key = ("in", "out")
    dw, dd, dt = differentiated(
        net, inputs, 2.0, voltage, ("weight", key), ("delay", key), ("spike_times", "in")
    )
    assert close(dw, x_at("1.25"), 30)
    assert close(dd, x_at("1.25") / 8, 30)
    assert close(dt, x_at("1.25") / 8, 30)


@pytest.mark.parametrize("t_ref", [0.0, 0.5])
@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_triggered_spike_has_the_time_of_its_arrival_and_only_subtraction_keeps_the_excess(reset, t_ref):
    parameters = dict(v_threshold=1.25, v_reset=-0.5, v_initial=0.75, reset=reset, t_ref=t_ref)
    net = network({"in": 2.0}, delay=0.25, **parameters)
    inputs = trains(**{"in": [0.5]})
    solution = exact.solve(net, inputs, 2.0, digits=40)
    assert times(solution) == [mp.mpf("0.75")]
    before = x_at("0.75") * 0.75
    after = before + mp.mpf("0.25") if reset == "subtract" else mp.mpf("-0.5")
    for time in (0.75, 0.75 + t_ref):
        assert close(solution.voltage("out", 0, 0, time), after, 40)
    rest = x_at(mp.mpf("1.25") - t_ref)
    assert close(solution.voltage("out", 0, 0, 2), after * rest, 40)

    def voltage(solution):
        return solution.voltage("out", 0, 0, 2)

    def time(solution):
        return times(solution)[0]

    key = ("in", "out")
    names = ("v_reset", "v_threshold", "v_initial", "t_ref")
    wrt = [("weight", key), ("delay", key), ("spike_times", "in"), *((name, "out") for name in names)]
    kept = rest if reset == "subtract" else 0
    moved = after * rest / 2 - kept * before / 2
    expected = [kept, moved, moved, rest, -kept, kept * x_at("0.75"), after * rest / 2]
    for found, value in zip(differentiated(net, inputs, 2.0, voltage, *wrt), expected, strict=True):
        assert abs(found - value) < mp.mpf("1e-29")
    for found, value in zip(differentiated(net, inputs, 2.0, time, *wrt), (0, 1, 1, 0, 0, 0, 0), strict=True):
        assert abs(found - value) < mp.mpf("1e-29")


def test_an_arrival_that_just_reaches_the_threshold_triggers_and_leaves_the_gradient_undefined():
    net, inputs = network({"in": 1.0}), trains(**{"in": [0.5]})
    assert times(exact.solve(net, inputs, 1.0)) == [0.5]
    problem = exact.problem(net, inputs, 1.0)
    with pytest.raises(exact.SpikeCountChanged):
        exact.derivative(problem, lambda solution: solution.context.zero, ("weight", ("in", "out")), 0)


def test_a_continuous_crossing_is_reset_alike_by_value_and_by_subtraction():
    inputs = trains(**{"in": [0.0]})
    solutions = [
        exact.solve(network({"in": 20.0}, synapse="exponential", v_reset=-0.5, reset=reset), inputs, 1.0)
        for reset in ("value", "subtract")
    ]
    assert len(times(solutions[0])) > 2
    assert solutions[0].states == solutions[1].states


def test_a_held_voltage_ignores_delta_arrivals_up_to_its_release():
    net = network({"in": 2.0}, t_ref=0.5, v_reset=-0.5, v_threshold=1.75)
    solution = exact.solve(net, trains(**{"in": [0.25, 0.5, 0.75]}), 1.0, digits=40)
    assert times(solution) == [0.25]
    assert solution.voltage_before("out", 0, 0, 0.75) == -0.5
    assert solution.voltage("out", 0, 0, 0.75) == 1.5
    assert close(solution.voltage("out", 0, 0, 1), x_at("0.25") * 1.5, 40)


def test_a_readout_takes_delta_arrivals_of_any_size():
    net = network({"in": 20.0}, neuron=es.LI)
    solution = exact.solve(net, trains(**{"in": [0.0]}), 1.0, digits=40)
    assert close(solution.voltage("out", 0, 0, 1), 20 * x_at(1), 40)


# -- order of arrivals ---------------------------------------------------------------------------------------


def spikes_of(net, inputs):
    return times(exact.solve(net, inputs, 1.0))


@pytest.mark.parametrize(("first", "second"), [(2.0, -3.0), (-3.0, 2.0)])
def test_arrivals_at_one_time_act_by_input_then_time_then_channel_then_projection(first, second):
    """Only if the excitation comes first does it reach the threshold."""
    expected = [0.25] if first > second else []
    by_input = network({"b": second, "a": first}, inputs=("a", "b"))
    assert spikes_of(by_input, trains(a=[0.25], b=[0.25])) == expected

    by_channel = es.Network()
    by_channel.add_input("in", 2)
    by_channel.add_population("out", 1, es.LIF(TAU_MEM, TAU_SYN))
    by_channel.connect("in", "out", [[first, second]], synapse="delta")
    assert spikes_of(by_channel, {"in": es.SpikeTrains.from_lists([[[0.25], [0.25]]])}) == expected

    by_time = es.Network()
    by_time.add_input("in", 2)
    by_time.add_population("out", 1, es.LIF(TAU_MEM, TAU_SYN))
    by_time.connect("in", "out", [[second, first]], synapse="delta", delay=[[0.0, 0.125]])
    assert spikes_of(by_time, {"in": es.SpikeTrains.from_lists([[[0.25], [0.125]]])}) == expected

    by_projection = network({"in": first})
    by_projection.connect("in", "out", [[second]], synapse="delta", name="later")
    assert spikes_of(by_projection, trains(**{"in": [0.25]})) == expected


@pytest.mark.parametrize(("direct", "relayed"), [(2.0, -3.0), (-3.0, 2.0)])
def test_spikes_of_inputs_act_before_spikes_of_neurons_that_they_trigger(direct, relayed):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("relay", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.add_population("out", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("relay", "out", [[relayed]], synapse="delta")
    net.connect("in", "relay", [[1.5]], synapse="delta")
    net.connect("in", "out", [[direct]], synapse="delta")
    solution = exact.solve(net, trains(**{"in": [0.25]}), 1.0)
    assert times(solution, "relay") == [0.25]
    assert times(solution) == ([0.25] if direct > relayed else [])


@pytest.mark.parametrize("early", [0, 1, 20])
def test_a_crossing_comes_before_an_arrival_at_its_time_also_where_rounding_has_turned_the_two(early):
    """Towards a v_leak just above the threshold V is so slow that it is there for many ulps of time."""
    net = network({"in": -3.0}, v_leak=1 + 2**-10)
    problem = exact.problem(net, trains(**{"in": [17.0]}), 20.0)
    alone = exact.solve_problem(dataclasses.replace(problem, inputs={"in": ((),)}))
    (crossing,) = times(alone)
    ulp = alone.context.ldexp(1, 4 - alone.context.prec)
    assert 8 < crossing < 16
    arrival = crossing - early * ulp
    solution = exact.solve_problem(dataclasses.replace(problem, inputs={"in": (((arrival, 0),),)}))
    assert times(solution) == [arrival]
    assert solution.voltage("out", 0, 0, arrival) == -3


def test_a_neuron_that_would_spike_twice_at_one_time_is_refused():
    for net, inputs in (
        (network({"in": 3.0}, reset="subtract"), trains(**{"in": [0.25]})),
        (network({"a": 2.0, "b": 2.0}, inputs=("a", "b")), trains(a=[0.25], b=[0.25])),
    ):
        with pytest.raises(ValueError, match=r"neuron 0 of 'out' in sample 0 would spike twice at 0\.25 s"):
            exact.solve(net, inputs, 1.0)
    loop = network({"in": 2.0})
    loop.connect("out", "out", [[2.0]], synapse="delta")
    with pytest.raises(ValueError, match="spike twice"):
        exact.solve(loop, trains(**{"in": [0.25]}), 1.0)
    refractory = network({"in": 2.0}, t_ref=0.125)
    refractory.connect("out", "out", [[2.0]], synapse="delta")
    assert times(exact.solve(refractory, trains(**{"in": [0.25]}), 1.0)) == [0.25]


# -- recurrence ----------------------------------------------------------------------------------------------


def test_a_loop_without_delay_is_solved_and_differentiated():
    """a crosses, triggers b, and b takes 1/4 off a's voltage after the reset, all at one time."""
    net = es.Network()
    net.add_input("in", 1)
    leak, w, tau = mp.mpf("1.5"), mp.mpf("-0.25"), mp.mpf(2)
    net.add_population("a", 1, es.LIF(TAU_MEM, TAU_SYN, v_leak=1.5))
    net.add_population("b", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("a", "b", [[1.5]], synapse="delta")
    net.connect("b", "a", [[-0.25]], synapse="delta")
    inputs = trains(**{"in": []})
    solution = exact.solve(net, inputs, 5.0, digits=40)
    first = tau * mp.log(leak / (leak - 1))
    second = first + tau * mp.log((leak - w) / (leak - 1))
    assert times(solution, "a") == times(solution, "b")
    assert len(times(solution, "a")) == 2
    assert close(times(solution, "a")[0], first, 40)
    assert close(times(solution, "a")[1], second, 40)
    assert close(solution.voltage("a", 0, 0, times(solution, "a")[0]), w, 40)

    def last(solution):
        return times(solution, "b")[-1]

    expected = {
        ("weight", ("a", "b")): 0,
        ("weight", ("b", "a")): -tau / (leak - w),
        ("delay", ("b", "a")): -w / (leak - w),
        ("v_reset", "a"): -tau / (leak - w),
        ("v_reset", "b"): 0,
        ("v_initial", "a"): -tau / leak,
    }
    found = exact.gradient(net, inputs, 5.0, last, expected, digits=30)
    for parameter, value in expected.items():
        assert abs(found[parameter][0] - value) < mp.mpf("1e-29"), parameter


def recurrent(seed):
    rng = np.random.default_rng(seed)
    n_in, n = 2, 4
    net = es.Network()
    net.add_input("in", n_in)
    neuron = es.LIF(
        tau_mem=rng.choice([2.0, 3.0, 5.0], n),
        tau_syn=rng.choice([1.0, 2.0, 3.0], n),
        v_reset=rng.uniform(-0.4, 0.4, n),
        v_leak=rng.uniform(-0.5, 1.2, n),
        t_ref=rng.choice([0.0, 0.5], n),
        v_initial=rng.uniform(-0.5, 0.9, n),
        i_initial=rng.normal(0, 1, n),
        reset=["value", "subtract"][seed % 2],
    )
    net.add_population("net", n, neuron)
    for synapse, size in (("exponential", 2.0), ("delta", 0.5)):
        for pre, n_pre, mean in (
            ("in", n_in, size),
            ("net", n, -size / 4),
        ):  # more inhibition than excitation
            weight = rng.normal(mean, size / 2, (n, n_pre))
            delay = rng.uniform(0, 2, weight.shape)
            net.connect(pre, "net", weight, delay=delay, synapse=synapse, name=synapse)
    spikes = [[np.sort(rng.uniform(0, 8, 4)) for _ in range(n_in)]]
    return net, {"in": es.SpikeTrains.from_lists(spikes)}, 12.0


@pytest.mark.parametrize("seed", range(6))
def test_a_recurrent_network_is_the_superposition_of_its_arrivals(seed):
    """Given all spikes, I and V are sums over arrivals that know nothing of the order of events."""
    net, inputs, t_end = recurrent(seed)
    solution = exact.solve(net, inputs, t_end, digits=30)
    assert len(times(solution, "net")) > 4
    problem = solution.problem
    for k, neuron in enumerate(problem.neurons["net"]):
        tau_mem, tau_syn, v_leak = (mp.mpf(getattr(neuron, n)) for n in ("tau_mem", "tau_syn", "v_leak"))
        arrivals = [
            (mp.mpf(time) + synapse.delay, mp.mpf(synapse.weight), synapse.delta)
            for key, synapses in problem.synapses.items()
            for synapse in synapses
            if synapse.target == k
            for time, source in solution.spikes[key[0]][0]
            if source == synapse.source
        ]
        own = [mp.mpf(time) for time, i in solution.spikes["net"][0] if i == k]

        def response(s, tau_mem=tau_mem, tau_syn=tau_syn):
            if tau_mem == tau_syn:
                return s / tau_mem * mp.exp(-s / tau_mem)
            return tau_syn / (tau_syn - tau_mem) * (mp.exp(-s / tau_syn) - mp.exp(-s / tau_mem))

        def current(t, arrivals=arrivals, neuron=neuron, tau_syn=tau_syn):
            past = [(0, mp.mpf(neuron.i_initial), False), *(a for a in arrivals if a[0] <= t)]
            return sum(w * mp.exp(-(t - ta) / tau_syn) for ta, w, delta in past if not delta)

        for spike in own:
            triggered = any(abs(ta - spike) < mp.mpf("1e-40") for ta, _, delta in arrivals if delta)
            before = solution.voltage_before("net", 0, k, spike)
            assert (before < 1) if triggered else abs(before - 1) < mp.mpf("1e-28")
        for t in np.linspace(0, t_end, 57):
            t = mp.mpf(t)
            i, v = solution.current("net", 0, k, t), solution.voltage("net", 0, k, t)
            assert v < 1
            assert abs(i - current(t)) < mp.mpf("1e-28")
            last = max((spike for spike in own if spike <= t), default=None)
            start = mp.mpf(0) if last is None else last + neuron.t_ref
            if t < start:
                continue
            v0 = mp.mpf(neuron.v_initial) if last is None else mp.mpf(solution.voltage("net", 0, k, last))
            expected = v_leak + (v0 - v_leak) * mp.exp(-(t - start) / tau_mem)
            expected += (current(start)) * response(t - start)
            for ta, w, delta in arrivals:
                if start < ta <= t:
                    expected += w * (mp.exp(-(t - ta) / tau_mem) if delta else response(t - ta))
            assert abs(v - expected) < mp.mpf("1e-28")
