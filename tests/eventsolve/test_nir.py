"""Networks from and to NIR: nothing lost on the way, and the spikes are those of NIR's own equations."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es

nir = pytest.importorskip("nir", reason="the package nir is not installed")
from eventsolve.io.nir import from_nir, read, to_nir  # noqa: E402


def drawn(seed, *, current_based=True):
    """A recurrent network with a readout, every parameter per neuron and delays per source or per target."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    sizes = {"in": 3, "a": 4, "b": 2, "out": 2}
    net.add_input("in", sizes["in"])
    for name in ("a", "b", "out"):
        n = sizes[name]
        shared = {"tau_mem": rng.uniform(5e-3, 30e-3, n), "v_leak": rng.uniform(-0.5, 0.5, n)}
        shared["tau_syn"] = rng.uniform(2e-3, 9e-3, n) if current_based else shared["tau_mem"]
        levels = {"v_threshold": rng.uniform(0.8, 1.2, n), "v_reset": rng.uniform(-0.4, 0.4, n)}
        net.add_population(name, n, es.LI(**shared) if name == "out" else es.LIF(**shared, **levels))
    for *pair, name in (
        ("in", "a", None),
        ("in", "a", "late"),
        ("a", "b", None),
        ("b", "a", None),
        ("b", "out", None),
    ):
        pre, post = pair
        shape = sizes[post], sizes[pre]
        weight = rng.normal(1.0, 1.0, shape) * (3.0 if current_based else 0.5)
        kinds = (0.0, rng.uniform(1e-3, 5e-3, (1, shape[1])), rng.uniform(1e-3, 5e-3, (shape[0], 1)))
        delay = np.broadcast_to(kinds[rng.integers(3)], shape)
        if name or pre == "b":
            delay = np.maximum(delay, 1e-3)  # a pair of projections that differ, and a loop with a delay
        kind = "exponential" if current_based else "delta"
        net.connect(pre, post, weight, delay=delay, name=name, synapse=kind)
    return net


def assert_same(got, want):
    """Every number of two networks is the same."""
    assert list(got.populations) == list(want.populations)
    for name, population in want.populations.items():
        other = got.population(name)
        assert other.size == population.size
        assert type(other.neuron) is type(population.neuron)
        for parameter in (
            "tau_mem",
            "tau_syn",
            "v_threshold",
            "v_reset",
            "v_leak",
            "v_initial",
            "i_initial",
            "t_ref",
        ):
            np.testing.assert_array_equal(
                other.parameter(parameter), population.parameter(parameter), parameter
            )
    assert list(got.projections) == list(want.projections)
    for key, projection in want.projections.items():
        other = got.projections[key]
        np.testing.assert_array_equal(other.weight, projection.weight)
        np.testing.assert_array_equal(other.delay, projection.delay)
        assert other.synapse == projection.synapse


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_network_returns_from_nir_with_every_bit(seed, current_based):
    net = drawn(seed, current_based=current_based)
    assert_same(from_nir(to_nir(net)), net)


def test_a_network_returns_from_a_file(tmp_path):
    net = drawn(3)
    nir.write(tmp_path / "net.nir", to_nir(net))
    got = from_nir(nir.read(tmp_path / "net.nir"))
    assert set(got.populations) == set(net.populations)  # a file sorts its nodes by name
    assert set(got.projections) == set(net.projections)
    for key, projection in net.projections.items():
        np.testing.assert_array_equal(got.projections[key].weight, projection.weight)
        np.testing.assert_array_equal(got.projections[key].delay, projection.delay)


def test_a_graph_in_other_units_is_the_same_network():
    net, unit = drawn(5), 2.0**-10  # a power of two rounds nothing
    graph = to_nir(net, time_unit=unit)
    np.testing.assert_array_equal(graph.nodes["a"].tau_mem, net.population("a").parameter("tau_mem") / unit)
    assert_same(from_nir(graph, time_unit=unit), net)


def test_a_sparse_weight_keeps_its_values():
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    weight = sp.csr_array(([2.0, 3.0], ([0, 1], [2, 0])), shape=(2, 3))
    net.connect("in", "a", weight, delay=sp.csr_array(([1e-3, 2e-3], ([0, 1], [2, 0])), shape=(2, 3)))
    got = from_nir(to_nir(net)).projections["in", "a"]
    np.testing.assert_array_equal(got.weight, weight.toarray())
    assert got.delay[2] == 1e-3
    assert got.delay[3] == 2e-3


# -- NIR's own equations -------------------------------------------------------------------------------------------


def column(*values):
    return np.array(values, dtype=float)


def recurrent_graph():
    """Everything at once: r, w_in, leaks, resets and thresholds of their own, biases, delays, a loop, LIF and LI."""
    nodes = {
        "in": nir.Input({"input": np.array([2])}),
        "axon": nir.Delay(column(1e-3, 2e-3)),
        "fc": nir.Affine(np.array([[0.9, 0.3], [0.4, 1.1], [0.5, 0.8]]), column(0.02, -0.1, 0.3)),
        "gain": nir.Scale(column(1.0, 0.8, 1.3)),
        "a": nir.CubaLIF(
            tau_mem=column(20e-3, 10e-3, 5e-3),
            tau_syn=column(5e-3, 5e-3, 8e-3),
            r=column(2.0, 1.5, 0.5),
            v_leak=column(0.1, 0.0, -0.2),
            v_threshold=column(1.0, 0.9, 1.1),
            v_reset=column(0.0, 0.2, -0.1),
            w_in=column(0.02, 0.03, 0.09),
        ),
        "loop": nir.Linear(np.array([[0.0, 0.2, 0.0], [0.3, 0.0, -0.2], [0.1, 0.0, 0.0]])),
        "dendrite": nir.Delay(column(2e-3, 3e-3, 1.5e-3)),
        "down": nir.Affine(np.array([[0.03, 0.02, 0.025]]), column(0.3)),
        "b": nir.LIF(
            tau=column(15e-3),
            r=column(0.6),
            v_leak=column(0.2),
            v_threshold=column(0.9),
            v_reset=column(0.05),
        ),
        "read": nir.Linear(np.array([[0.5, 0.2, -0.3]])),
        "out": nir.CubaLI(
            tau_mem=column(9e-3), tau_syn=column(6e-3), r=column(2.0), v_leak=column(0.3), w_in=column(0.01)
        ),
        "spikes": nir.Output({"output": np.array([1])}),
        "voltage": nir.Output({"output": np.array([1])}),
    }
    edges = [
        ("in", "axon"),
        ("axon", "fc"),
        ("fc", "gain"),
        ("gain", "a"),
        ("a", "loop"),
        ("loop", "dendrite"),
    ]
    edges += [
        ("dendrite", "a"),
        ("a", "down"),
        ("down", "b"),
        ("b", "spikes"),
        ("a", "read"),
        ("read", "out"),
    ]
    return nir.NIRGraph(nodes, [*edges, ("out", "voltage")])


def euler(graph, times, t_end, h):
    """Integrate the equations of NIR's docstrings step by step: a spike is a pulse of 1/h for one step.

    Returns the spikes of every neuron node, (time, neuron), and the last voltages.
    """
    n_steps = round(t_end / h)
    outputs = {
        name: np.zeros((n_steps, int(node.output_type["output"][0]))) for name, node in graph.nodes.items()
    }
    for neuron, train in enumerate(times):
        outputs["in"][np.rint(np.array(train) / h).astype(int), neuron] = 1 / h
    before = {name: [pre for pre, post in graph.edges if post == name] for name in graph.nodes}
    v = {name: np.zeros(outputs[name].shape[1]) for name in graph.nodes}
    current = {name: np.zeros(outputs[name].shape[1]) for name in graph.nodes}
    spikes = {name: [] for name in graph.nodes}
    order = ["axon", "fc", "gain", "loop", "dendrite", "a", "down", "b", "read", "out"]
    for k in range(1, n_steps):
        for name in order:
            node = graph.nodes[name]
            kind = type(node).__name__
            if kind == "Delay":
                for i, lag in enumerate(np.rint(node.delay / h).astype(int)):
                    outputs[name][k, i] = (
                        sum(outputs[pre][k - lag, i] for pre in before[name]) if k >= lag else 0.0
                    )
                continue
            x = sum(
                outputs[pre][k if graph.nodes[pre].__class__.__name__ in MAPS else k - 1]
                for pre in before[name]
            )
            if kind in ("Affine", "Linear"):
                outputs[name][k] = node.weight @ x + getattr(node, "bias", 0.0)
            elif kind == "Scale":
                outputs[name][k] = node.scale * x
            else:
                if kind.startswith("Cuba"):
                    v[name] = v[name] + h / node.tau_mem * (node.v_leak - v[name] + node.r * current[name])
                    current[name] = current[name] + h / node.tau_syn * (-current[name] + node.w_in * x)
                else:
                    v[name] = v[name] + h / node.tau * (node.v_leak - v[name] + node.r * x)
                if kind.endswith("LIF"):
                    fired = v[name] > node.v_threshold
                    v[name] = np.where(fired, node.v_reset, v[name])
                    outputs[name][k] = fired / h
                    spikes[name] += [(k * h, int(i)) for i in np.flatnonzero(fired)]
    return spikes, v


MAPS = ("Affine", "Linear", "Scale", "Delay")
TIMES = [[2e-3, 12e-3, 23e-3], [4e-3, 15e-3]]


def by_neuron(spikes):
    times, neurons = (np.array(column) for column in zip(*spikes, strict=True))
    order = np.lexsort((times, neurons))
    return times[order], neurons[order]


def test_spikes_are_those_to_which_an_euler_integration_of_nirs_equations_converges():
    graph, t_end = recurrent_graph(), 40e-3
    solution = es.solve(from_nir(graph), {"in": es.SpikeTrains.from_lists([TIMES])}, t_end)
    errors = []
    for h in (1.6e-5, 4e-6):
        spikes, voltages = euler(graph, TIMES, t_end, h)
        off = []
        for name in ("a", "b"):
            exact = solution.spikes[name]
            assert exact.n_spikes > 3
            want_times, want_neurons = by_neuron(list(zip(exact.times, exact.neurons, strict=True)))
            times, neurons = by_neuron(spikes[name])
            np.testing.assert_array_equal(neurons, want_neurons)
            off.append(np.abs(times - want_times).max())
        off.append(abs(voltages["out"][0] - solution.voltage("out", [t_end])[0, 0, 0]) * 1e-2)
        errors.append(max(off))
    assert errors[1] < 0.5 * errors[0]  # of first order: a quarter, and a rounding to steps


def test_a_bias_sets_in_at_once():
    """The current of a CubaLIF approaches r w_in b from 0; both it and V are known in closed form."""
    parameters = {"tau_mem": column(20e-3), "tau_syn": column(5e-3), "r": column(2.0), "v_leak": column(0.1)}
    node = nir.CubaLI(**parameters, w_in=column(0.7))
    nodes = {
        "in": nir.Input({"input": np.array([1])}),
        "fc": nir.Affine(np.array([[1.0]]), column(0.6)),
        "out": node,
        "end": nir.Output({"output": np.array([1])}),
    }
    net = from_nir(nir.NIRGraph(nodes, [("in", "fc"), ("fc", "out"), ("out", "end")]))
    t = np.linspace(0, 50e-3, 11)
    voltage = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 50e-3).voltage("out", t)[0, 0]
    drive = 2.0 * 0.7 * 0.6
    slow, fast = np.exp(-t / 20e-3), np.exp(-t / 5e-3)
    want = (0.1 + drive) * (1 - slow) - drive * 5e-3 / (5e-3 - 20e-3) * (fast - slow)
    np.testing.assert_allclose(voltage, want, rtol=0, atol=8 * np.finfo(float).eps)
    np.testing.assert_allclose(
        to_nir(net).nodes["in->out"].bias * to_nir(net).nodes["out"].w_in, drive, rtol=1e-15
    )


# -- other simulators ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:nirtorch.load is being deprecated:DeprecationWarning")
def test_norse_runs_the_same_graph_and_converges_to_the_same_spikes():
    """Norse steps NIR's CubaLIF by Euler; a pulse of one step has to be 1/h high there, of inputs and weights alike."""
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
    import torch

    rng = np.random.default_rng(1)
    n, t_end = 5, 30e-3
    times = [[1e-3, 9e-3], [3e-3], [4e-3, 6e-3]]
    node = nir.CubaLIF(
        tau_mem=rng.uniform(8e-3, 20e-3, n),
        tau_syn=rng.uniform(3e-3, 9e-3, n),
        r=rng.uniform(0.5, 2.0, n),
        v_leak=np.zeros(n),
        v_threshold=rng.uniform(0.9, 1.1, n),
        w_in=rng.uniform(0.5e-2, 1e-2, n),
    )
    nodes = {
        "in": nir.Input({"input": np.array([3])}),
        "fc": nir.Linear(rng.uniform(1.0, 4.0, (n, 3))),
        "a": node,
    }
    nodes["end"] = nir.Output({"output": np.array([n])})
    graph = nir.NIRGraph(nodes, [("in", "fc"), ("fc", "a"), ("a", "end")])
    solution = es.solve(from_nir(graph), {"in": es.SpikeTrains.from_lists([times])}, t_end)
    exact = solution.spikes["a"]
    assert exact.counts().min() >= 1
    want, want_neurons = by_neuron(list(zip(exact.times, exact.neurons, strict=True)))
    errors = []
    for h in (4e-5, 1e-5):
        raster = torch.zeros(round(t_end / h), 1, 3)
        for channel, train in enumerate(times):
            raster[np.rint(np.array(train) / h).astype(int), 0, channel] = 1 / h
        module, state, found = norse.from_nir(graph, dt=h), None, []
        with torch.no_grad():
            for k, row in enumerate(raster):
                z, state = module(row, state)
                found += [(k * h, int(i)) for i in np.flatnonzero(z.numpy()[0])]
        got, neurons = by_neuron(found)
        np.testing.assert_array_equal(neurons, want_neurons)
        errors.append(np.abs(got - want).max())
    assert errors[1] < 0.5 * errors[0]


# -- graphs that were written on a clock ---------------------------------------------------------------------------


def snntorch_graph(dt=1e-4, alpha=None, beta=0.9, weight=0.6, n=3):
    """What snnTorch's export_to_nir writes of Linear and Leaky(beta), or Synaptic(alpha, beta): 0-d, a batch of one."""
    tau, zero, one = np.array(dt / (1 - beta)), np.array(0.0), np.array(1.0)
    common = {"r": tau / dt, "v_leak": zero, "v_threshold": one, "v_reset": zero}
    if alpha is None:
        neuron = nir.LIF(tau=tau, **common)
    else:
        tau_syn = np.array(dt / (1 - alpha))
        neuron = nir.CubaLIF(tau_mem=tau, tau_syn=tau_syn, w_in=tau_syn / dt, **common)
    nodes = {
        "input": nir.Input(np.array([1, 2])),
        "fc": nir.Affine(np.full((n, 2), weight), np.full(n, 0.01)),
        "lif": neuron,
        "output": nir.Output(np.array([1, n])),
    }
    return nir.NIRGraph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output")], type_check=False)


def test_a_step_turns_pulses_of_height_one_into_the_programs_own_jumps():
    net = from_nir(snntorch_graph(), dt=1e-4)
    (projection,) = net.projections.values()
    assert (net.population("input").size, net.population("lif").size) == (2, 3)
    np.testing.assert_allclose(projection.weight, 0.6, rtol=4 * np.finfo(float).eps)
    np.testing.assert_allclose(net.population("lif").parameter("tau_mem"), 1e-3, rtol=1e-15)
    # a program on the clock has V = 0.9 V + 0.01 of the bias, which comes to rest at 0.1
    np.testing.assert_allclose(net.population("lif").parameter("v_leak"), 0.1, rtol=1e-14)
    again = from_nir(snntorch_graph(dt=0.1), time_unit=1e-3, dt=1e-4).projections["input", "lif"]
    np.testing.assert_allclose(again.weight, 0.6, rtol=4 * np.finfo(float).eps)


def test_a_program_on_the_clock_follows_the_network_that_is_read_with_its_step():
    """Synaptic(alpha, beta), I = alpha I + x and V = beta V + I: errors fall as the step, as Euler's do."""
    errors = []
    for dt in (1e-4, 1e-5):
        alpha, beta = 1 - dt / 5e-3, 1 - dt / 10e-3
        net = from_nir(snntorch_graph(dt, alpha, beta, weight=20 * dt), dt=dt)
        voltage, current, volts = 0.0, 0.0, []
        for k in range(round(20e-3 / dt)):
            current = alpha * current + 20 * dt * (k == 0)
            voltage = beta * voltage + current
            volts.append(voltage)
        trains = es.SpikeTrains.from_lists([[[0.0], []]])
        quiet = net.with_neurons({"lif": es.LI(10e-3, 5e-3)})
        times = dt * np.arange(1, len(volts) + 1)
        exact = es.solve(quiet, {"input": trains}, 21e-3).voltage("lif", times)[0, 0]
        errors.append(np.abs(exact - volts).max() / exact.max())
    assert errors[0] < 0.05
    assert errors[1] < 0.15 * errors[0]


def test_a_file_of_single_numbers_and_a_batch_of_one_is_read_with_its_step(tmp_path):
    graph = snntorch_graph()
    for name, value in vars_of(graph.nodes["lif"]).items():
        setattr(graph.nodes["lif"], name, np.atleast_1d(value))  # a file holds no scalars
    nir.write(tmp_path / "clocked.nir", graph)
    net = read(tmp_path / "clocked.nir", dt=1e-4)
    np.testing.assert_allclose(net.projections["input", "lif"].weight, 0.6, rtol=4 * np.finfo(float).eps)
    with pytest.warns(es.UnitWarning, match="was it written on a clock"):
        read(tmp_path / "clocked.nir")


def test_a_graph_that_looks_clocked_is_warned_about():
    for graph, said in (
        (snntorch_graph(), r"6e\+03 times .* perhaps 0\.0001: from_nir"),
        (snntorch_graph(alpha=0.8), r"perhaps 0\.0001"),
        (graph_of(nir.Linear(np.eye(2) * 300)), r"60 times .* in seconds: from_nir"),
    ):
        with pytest.warns(es.UnitWarning, match=said):
            from_nir(graph)
    for bad in (0.0, -1e-4, np.inf, np.nan):
        with pytest.raises(ValueError, match="dt must be a finite number of seconds > 0"):
            from_nir(snntorch_graph(), dt=bad)


def test_scalars_take_their_size_from_what_they_are_connected_to():
    graph = snntorch_graph(n=4)
    graph.nodes |= {"scale": nir.Scale(np.array(2.0)), "next": nir.LIF(**vars_of(graph.nodes["lif"]))}
    graph.nodes["lif"].v_threshold = np.array([1.0])
    graph.edges = [("input", "fc"), ("fc", "lif"), ("lif", "scale"), ("scale", "next"), ("next", "output")]
    net = from_nir(graph, dt=1e-4)
    assert [net.population(name).size for name in ("lif", "next")] == [4, 4]
    assert net.projections["lif", "next"].weight.toarray().tolist() == (np.eye(4) * 2.0).tolist()
    alone = nir.NIRGraph({"lif": graph.nodes["lif"]}, [], type_check=False)
    alone.nodes["lif"].v_threshold = np.array(1.0)
    with pytest.raises(ValueError, match="node 'lif' has scalars only"):
        from_nir(alone)


def vars_of(node):
    return {name: getattr(node, name) for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")}


def test_an_input_of_two_dimensions_is_refused():
    graph = snntorch_graph()
    graph.nodes["input"] = nir.Input(np.array([2, 2]))
    with pytest.raises(ValueError, match=r"node 'input' has shape \(2, 2\); a population has one dimension"):
        from_nir(graph, dt=1e-4)


# -- what is taken apart, and what is refused ----------------------------------------------------------------------


def cuba(n):
    ones = np.ones(n)
    return nir.CubaLIF(
        tau_mem=20e-3 * ones, tau_syn=5e-3 * ones, r=ones, v_leak=0 * ones, v_threshold=ones, w_in=5e-3 * ones
    )


def graph_of(*between, n=2, after=None, edges=()):
    """in -> between -> a (-> end), and further edges."""
    nodes = {"in": nir.Input({"input": np.array([n])})}
    nodes |= {f"m{k}": node for k, node in enumerate(between)} | {"a": cuba(n)} | (after or {})
    chain = [*(name for name in nodes if name not in (after or {}))]
    nodes["end"] = nir.Output({"output": np.array([n])})
    return nir.NIRGraph(nodes, [*pairwise(chain), ("a", "end"), *edges], type_check=False)


def test_graphs_in_the_graph_are_taken_apart():
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([2])}),
            "lif": cuba(2),
            "w_rec": nir.Linear(np.array([[0.0, 1.0], [2.0, 0.0]])),
            "output": nir.Output({"output": np.array([2])}),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    nodes = {
        "in": nir.Input({"input": np.array([2])}),
        "fc": nir.Linear(np.eye(2) * 3),
        "rnn": inner,
        "b": cuba(2),
    }
    nodes["end"] = nir.Output({"output": np.array([2])})
    edges = [("in", "fc"), ("fc", "rnn"), ("rnn", "b"), ("b", "end")]
    net = from_nir(nir.NIRGraph(nodes, edges))
    assert set(net.projections) == {("in", "rnn.lif"), ("rnn.lif", "rnn.lif"), ("rnn.lif", "b")}
    np.testing.assert_array_equal(
        net.projections["rnn.lif", "rnn.lif"].weight, np.array([[0.0, 1.0], [2.0, 0.0]])
    )
    np.testing.assert_array_equal(net.projections["rnn.lif", "b"].weight.toarray(), np.eye(2))


def test_maps_in_a_row_are_one_projection():
    first, second = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    maps = (
        nir.Delay(column(1e-3, 2e-3)),
        nir.Linear(first),
        nir.Delay(column(3e-3, 3e-3)),
        nir.Linear(second),
    )
    (projection,) = from_nir(graph_of(*maps, nir.Delay(column(4e-3, 5e-3)))).projections.values()
    np.testing.assert_allclose(projection.weight, second @ first, rtol=1e-15)
    np.testing.assert_allclose(projection.delay, [8e-3, 9e-3, 9e-3, 10e-3], rtol=1e-15)


def test_two_ways_are_two_projections_called_after_their_nodes():
    net = from_nir(
        graph_of(
            nir.Linear(np.eye(2)),
            after={"other": nir.Linear(np.ones((2, 2))), "wait": nir.Delay(column(1e-3, 1e-3))},
            edges=[("in", "other"), ("other", "wait"), ("wait", "a")],
        )
    )
    assert set(net.projections) == {("in", "a", "m0"), ("in", "a", "other+wait")}


CONV = nir.Conv1d(3, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1))
REFUSED = {
    "convolution": (graph_of(CONV), "node 'm0' is a Conv1d"),
    "no leak": (graph_of(nir.IF(np.ones(2), np.ones(2))), "node 'm0' is a IF"),
    "voltages as input": (
        graph_of(nir.LI(np.ones(2), np.ones(2), np.zeros(2)), nir.Linear(np.eye(2))),
        "node 'm0' is a LI and leads on to other nodes",
    ),
    "channels delayed in between": (
        graph_of(nir.Linear(np.eye(2)), nir.Delay(column(1e-3, 2e-3)), nir.Linear(np.eye(2))),
        "node 'm2' mixes channels",
    ),
    "delayed bias": (
        graph_of(nir.Affine(np.eye(2), np.ones(2)), nir.Delay(column(1e-3, 1e-3))),
        "node 'm1' delays a bias",
    ),
    "loop without neuron": (
        graph_of(nir.Linear(np.eye(2)), nir.Linear(np.eye(2)), edges=[("m1", "m0")]),
        "loop without a neuron",
    ),
    "same edge twice": (graph_of(nir.Linear(np.eye(2)), edges=[("in", "m0")]), "occurs twice"),
    "unknown node": (graph_of(nir.Linear(np.eye(2)), edges=[("in", "nowhere")]), "'nowhere'"),
    "negative delay": (graph_of(nir.Delay(column(-1e-3, 0.0))), "delay of .* must be finite and >= 0"),
    "two dimensions": (graph_of(nir.Linear(np.ones((3, 2, 2)))), "weight of node 'm0' must have shape"),
    "map before an output": (
        graph_of(
            after={"fc": nir.Linear(np.eye(2)), "more": nir.Output({"output": np.array([2])})},
            edges=[("a", "fc"), ("fc", "more")],
        ),
        r"nodes \['fc'\] lie between 'a' and output 'more'",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_represented_is_refused_by_name(why):
    graph, sentence = REFUSED[why]
    with pytest.raises(ValueError, match=sentence):
        from_nir(graph)


def test_numbers_that_no_neuron_has_are_refused_by_node():
    graph = graph_of()
    graph.nodes["a"].tau_mem = column(-1.0, 1.0)
    with pytest.raises(ValueError, match=r"node 'a' cannot be represented: tau_mem must be finite and > 0"):
        from_nir(graph)


@pytest.mark.parametrize("name", ["r", "w_in"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_factor_that_is_not_finite_is_named_itself(name, bad):
    graph = graph_of()
    setattr(graph.nodes["a"], name, column(1.0, bad))
    with pytest.raises(ValueError, match=f"{name} of node 'a' must be finite"):
        from_nir(graph)


def test_neurons_that_feel_nothing_are_read():
    graph = graph_of(nir.Linear(np.eye(2) * 300))
    graph.nodes["a"].r = column(0.0, 1.0)
    with pytest.warns(es.UnitWarning, match="on a clock.* give the step in seconds: from_nir"):
        net = from_nir(graph)
    np.testing.assert_array_equal(net.projections["in", "a"].weights[0], 0.0)


def test_only_graphs_and_units_of_time_are_taken():
    with pytest.raises(TypeError, match=r"graph must be a nir\.NIRGraph; got str"):
        from_nir("net.nir")
    with pytest.raises(ValueError, match="time_unit must be a finite number of seconds > 0; got 0"):
        from_nir(graph_of(), time_unit=0)


def built(neuron, *connections):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, neuron)
    for settings in connections:
        net.connect("in", "a", np.eye(2), **settings)
    return net


UNWRITABLE = {
    "t_ref of population 'a' must be 0": built(es.LIF(20e-3, 5e-3, t_ref=1e-3), {}),
    "v_initial of population 'a' must be 0": built(es.LIF(20e-3, 5e-3, v_initial=0.5), {}),
    "i_initial of population 'a' must be 0": built(es.LIF(20e-3, 5e-3, i_initial=0.5), {"synapse": "delta"}),
    "i_initial of population 'a' is not 0": built(
        es.LIF(20e-3, 5e-3, i_initial=0.5), {"delay": [[1e-3, 1e-3], [2e-3, 2e-3]]}
    ),
    "population 'a' resets by subtraction": built(
        es.LIF(20e-3, 5e-3, reset="subtract"), {"synapse": "delta"}
    ),
    "population 'a' has exponential and delta synapses": built(
        es.LIF(20e-3, 5e-3), {}, {"synapse": "delta", "name": "direct"}
    ),
    "delays of .* differ from synapse to synapse": built(
        es.LIF(20e-3, 5e-3), {"delay": [[1e-3, 2e-3], [3e-3, 1e-3]]}
    ),
}


@pytest.mark.parametrize("sentence", UNWRITABLE)
def test_what_nir_cannot_express_is_refused_by_name(sentence):
    with pytest.raises(ValueError, match=sentence):
        to_nir(UNWRITABLE[sentence])


def test_names_that_a_file_cannot_hold_are_refused():
    net = es.Network()
    net.add_input("a/b", 1)
    with pytest.raises(ValueError, match="'a/b' must not contain '/'"):
        to_nir(net)
