"""Is the core right in fixed point, at its borders, and towards the continuous limit?"""

from dataclasses import replace

import numpy as np
import pytest
from cores import TTFS
from scipy.sparse import csr_array

import eventsolve as es
from validation.fixedpoint import S8_7, S16_15, FixedFormat
from validation.spinnaker2 import FLOAT32, FLOAT64, SGD, Adam, Arithmetic, OptimizerProgram, SpiNNaker2Core
from validation.spinnaker2.arithmetic import Calculator
from validation.spinnaker2.image import GradientBlock, LossSettings, WeightBlock
from validation.spinnaker2.layer_program import guarded
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.optimizer_program import sample_gradients
from validation.spinnaker2.packets import SpikePackets

TAU_SYN, TAU_MEM = 5e-3, 20e-3
LIF = es.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN)


def yin_yang_like(n_samples, hidden=40, seed=0):
    """Random points in five inputs, as in the Yin-Yang task; weights as published for 5-120-3, signs mixed."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", hidden, LIF)
    net.add_population("out", 3, LIF)
    net.connect("in", "hidden", rng.normal(1.431, 1.431, (hidden, 5)))
    net.connect("hidden", "out", rng.normal(5.2, 2.8, (3, hidden)) / np.sqrt(hidden))
    points = rng.random((n_samples, 2))
    steps = np.rint(2 + 24 * np.concatenate([points, 1 - points, np.ones((n_samples, 1))], axis=1)) - 2
    return net, {"in": es.SpikeTrains.from_dense(steps * 1e-3)}, TTFS(rng.integers(0, 3, n_samples))


def one_neuron(weight, **neuron):
    net = es.Network()
    net.add_input("in", np.shape(weight)[1])
    net.add_population("out", len(weight), es.LIF(**{"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **neuron}))
    net.connect("in", "out", weight)
    return net


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


# -- fixed point


@pytest.mark.parametrize("error_scale", [1.0, 32.0])
@pytest.mark.parametrize("rounding", ["half_up", "stochastic"])
def test_s16_15_is_close_to_float64(error_scale, rounding):
    """What is off are roundings: as large as they can add up to, and of gradients, halved by every bit more."""
    net, inputs, loss = yin_yang_like(64)
    problem = es.Problem(net, inputs, 27e-3, loss)
    exact = SpiNNaker2Core(1e-3, "float64").run(problem)
    runs = {}
    for bits, name in ((15, "s16.15"), (19, "s12.19")):
        arithmetic = replace(Arithmetic.preset(name), rounding=rounding, seed=3)
        runs[bits] = SpiNNaker2Core(1e-3, arithmetic, error_scale=error_scale).run(problem)
    unmoved = np.ones(
        64, dtype=bool
    )  # a spike moves by a step where a rounding decides whether V is above the threshold
    for run in runs.values():
        for name in ("hidden", "out"):
            for s in range(64):
                one, other = (r.spikes[name].select([s]).times for r in (run, exact))
                unmoved[s] &= np.array_equal(one, other)
    assert unmoved.sum() > 32
    for bits, run in runs.items():
        lsb = 2.0**-bits
        # each spike adds a weight that is off by 1/2 LSB or 1, each step a rounded product; all decay with 4/5 per step
        room = 5 * (40 + 1) * lsb
        currents = [r.traces["out"].current[unmoved] for r in (run, exact)]
        np.testing.assert_allclose(*currents, rtol=0, atol=room)
        # V follows I, and each step rounds two products of its own, which decay with 19/20
        voltages = [r.traces["out"].voltage[unmoved] for r in (run, exact)]
        np.testing.assert_allclose(*voltages, rtol=0, atol=room + 20 * 2 * lsb)
        assert run.counters["saturations"] == run.counters["guarded_denominators"] == 0
    for key, right in exact.weight.items():
        coarse, fine = (np.linalg.norm((run.weight[key] - right)[unmoved]) for run in runs.values())
        # 2^4, and as roundings are what they happen to be, up to four times more or less; of a gradient that is large
        assert 4 < coarse / fine < 64
        assert coarse < 2.0**-8 * np.linalg.norm(right[unmoved])


def test_a_larger_error_scale_loses_less():
    """Without a scale, batch means of errors fall below the resolution of s16.15."""
    net, inputs, loss = yin_yang_like(32)
    exact = SpiNNaker2Core(1e-3, "float64").run(es.Problem(net, inputs, 27e-3, loss))
    loss_of = {}
    for scale in (2.0**-8, 1.0, 32.0):
        record = SpiNNaker2Core(1e-3, "s16.15", error_scale=scale).run(es.Problem(net, inputs, 27e-3, loss))
        loss_of[scale] = relative(record.weight["in", "hidden"].sum(0), exact.weight["in", "hidden"].sum(0))
    assert loss_of[2.0**-8] > 0.05 > loss_of[1.0] > 0.99 * loss_of[32.0]


def test_each_quantity_can_be_quantized_alone():
    """Weights of s8.7 in a float64 core are the float64 core with rounded weights."""
    net, inputs, loss = yin_yang_like(8)
    weights = replace(Arithmetic.preset("float64"), name="s8.7 weights", weight=S8_7)
    rounded = net.with_weights({k: np.floor(p.weight * 128 + 0.5) / 128 for k, p in net.projections.items()})
    a = SpiNNaker2Core(1e-3, weights).run(es.Problem(net, inputs, 27e-3, loss))
    b = SpiNNaker2Core(1e-3, "float64").run(es.Problem(rounded, inputs, 27e-3, loss))
    for key in a.weight:
        np.testing.assert_array_equal(a.weight[key], b.weight[key])
    state = replace(Arithmetic.preset("float64"), name="s16.15 state", state=S16_15)
    c = SpiNNaker2Core(1e-3, state).run(es.Problem(net, inputs, 27e-3, loss))
    trace = c.traces["hidden"].voltage * 2**15
    np.testing.assert_array_equal(trace, np.rint(trace))


def test_float32_is_float32_throughout():
    net, inputs, loss = yin_yang_like(8)
    record = SpiNNaker2Core(1e-3, "float32").run(es.Problem(net, inputs, 27e-3, loss))
    for trace in record.traces.values():
        np.testing.assert_array_equal(trace.voltage, trace.voltage.astype(np.float32))
    exact = SpiNNaker2Core(1e-3, "float64").run(es.Problem(net, inputs, 27e-3, loss))
    assert 0 < relative(record.weight["in", "hidden"], exact.weight["in", "hidden"]) < 1e-4


def test_powers_of_two_as_error_scale_change_no_bit_in_floating_point():
    net, inputs, loss = yin_yang_like(8)
    a, b = (
        SpiNNaker2Core(1e-3, "float64", error_scale=s).run(
            es.Problem(net, inputs, 27e-3, replace(loss, alpha=0.0))
        )
        for s in (1.0, 128.0)
    )
    for key in a.weight:
        np.testing.assert_array_equal(a.weight[key], b.weight[key])


def test_saturations_are_counted_and_wrapping_is_another_choice():
    net = one_neuron([[200.0, 200.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [0.0]]])}
    small = replace(Arithmetic.preset("s16.15"), weight=S8_7, state=FixedFormat(8, 15))
    record = SpiNNaker2Core(1e-3, small).run(es.Problem(net, inputs, 10e-3, TTFS(np.array([0]))))
    assert record.counters["saturations"] == 1
    assert record.traces["out"].current.max() == 2.0**8 - 2.0**-15
    wrapping = replace(small, overflow="wrap")
    record = SpiNNaker2Core(1e-3, wrapping).run(es.Problem(net, inputs, 10e-3, TTFS(np.array([0]))))
    assert record.counters["wraps"] == 1
    assert record.traces["out"].current[0, 0, 1] == 400.0 - 512.0


def test_a_denominator_that_rounding_makes_zero_is_guarded_and_counted():
    """In exact arithmetic I - Vpre > 0 at every spike; with 3 fraction bits and beta = 1/2 it need not be."""
    rng = np.random.default_rng(0)
    net = one_neuron(rng.uniform(0.2, 1.0, (200, 4)), tau_mem=2e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 5e-3], [1e-3, 6e-3], [2e-3, 7e-3], [3e-3, 8e-3]]])}
    loss = TTFS(np.array([0]))
    coarse = replace(Arithmetic.preset("s16.15"), state=FixedFormat(16, 3))
    record = SpiNNaker2Core(1e-3, coarse).run(es.Problem(net, inputs, 20e-3, loss))
    assert record.counters["guarded_denominators"] > 0
    fine = SpiNNaker2Core(1e-3, "s16.15").run(es.Problem(net, inputs, 20e-3, loss))
    assert fine.spikes["out"].n_spikes > 0
    assert fine.counters["guarded_denominators"] == 0


def test_the_guard_is_one_lsb():
    assert guarded(np.array([-3, 0, 1, 5]), S16_15).tolist() == [1, 1, 1, 5]
    assert guarded(np.array([0, 1], dtype=np.float32), FLOAT32).tolist() == [np.float32(1e-10), 1.0]


def test_the_same_seed_gives_the_same_bits():
    net, inputs, loss = yin_yang_like(4)
    runs = []
    for seed in (1, 1, 2):
        arithmetic = replace(Arithmetic.preset("s16.15"), rounding="stochastic", seed=seed)
        runs.append(
            SpiNNaker2Core(1e-3, arithmetic).run(es.Problem(net, inputs, 27e-3, loss)).traces["out"].voltage
        )
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize("arithmetic", ["s16.15", "float32", "float64"])
def test_a_sample_does_not_depend_on_its_batch(arithmetic):
    net, inputs, loss = yin_yang_like(6)
    core = SpiNNaker2Core(1e-3, arithmetic)
    batch = core.run(es.Problem(net, inputs, 27e-3, loss))
    for s in range(6):
        alone = core.run(
            es.Problem(net, {"in": inputs["in"].select([s])}, 27e-3, replace(loss, labels=loss.labels[[s]]))
        )
        assert alone.loss_values[0] == batch.loss_values[s]
        for key in batch.weight:
            np.testing.assert_array_equal(alone.weight[key][0], batch.weight[key][s])


# -- towards continuous time


@pytest.mark.parametrize("levels", [{}, {"v_threshold": 1.2, "v_reset": -0.3}])
def test_gradients_of_weights_and_spikes_approach_the_exact_ones(levels):
    """dL/dt_k of every spike and dL/dw, against the exact solver; the error falls with the time step.

    The exact network has the delay of one step per layer that the core has, so spikes line up.
    """
    neuron = es.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, **levels)
    rng = np.random.default_rng(6)
    w1, w2 = rng.normal(3.0, 2.0, (6, 5)), rng.normal(2.0, 0.7, (3, 6))
    inputs = {"in": es.SpikeTrains.from_dense(np.array([[0.0, 3e-3, 6e-3, 11e-3, 17e-3]]))}
    loss = es.losses.TTFSCrossEntropy("out", np.array([1]), tau0=1.5e-3, tau1=0.1, alpha=0.01, silent="t_end")
    errors = []
    for dt in (1e-5, 1e-6):
        net, exact_net = es.Network(), es.Network()
        for n, delay in ((net, 0.0), (exact_net, dt)):
            n.add_input("in", 5)
            n.add_population("hidden", 6, neuron)
            n.add_population("out", 3, neuron)
            n.connect("in", "hidden", w1, delay=delay)
            n.connect("hidden", "out", w2, delay=delay)
        record = SpiNNaker2Core(dt, "float64", decay="exponential", traces=False).run(
            es.Problem(net, inputs, 40e-3, loss)
        )
        solution = es.solve(exact_net, inputs, t_end=40e-3)
        _, grads = es.value_and_grad(solution, loss, reduction="none")
        worst = []
        for name in ("in", "hidden", "out"):
            np.testing.assert_array_equal(record.spikes[name].counts(), solution.spikes[name].counts())
            mine, theirs = record.spikes[name], solution.spikes[name]
            np.testing.assert_allclose(mine.times, theirs.times, atol=30 * dt)
            order, exact_order = (np.lexsort((t.times, t.neurons)) for t in (mine, theirs))
            worst.append(relative(record.spike_times[name][order], grads.spike_times[name][exact_order]))
        worst.extend(relative(record.weight[key], grads.weight[key]) for key in record.weight)
        errors.append(np.array(worst))
    assert (errors[1] < 0.01).all()
    assert (errors[1] < 0.15 * errors[0]).all()


def test_skip_connections_and_several_inputs_add_up():
    """A skip connection with the weights of a direct one acts as that one, one input split in two as one."""
    rng = np.random.default_rng(1)
    w = rng.normal(4.0, 3.0, (3, 4))
    trains = es.SpikeTrains.from_dense(np.round(rng.random((5, 4)) * 20) * 1e-3)
    loss = TTFS(rng.integers(0, 3, 5))
    whole = SpiNNaker2Core(1e-3, "s16.15").run(es.Problem(one_neuron(w), {"in": trains}, 30e-3, loss))
    net = es.Network()
    net.add_input("a", 2)
    net.add_input("b", 2)
    net.add_population("silent", 2, LIF)
    net.add_population("out", 3, LIF)
    net.connect("a", "silent", np.zeros((2, 2)))
    net.connect("silent", "out", np.ones((3, 2)))
    net.connect("a", "out", w[:, :2])
    net.connect("b", "out", w[:, 2:])
    halves = {
        name: es.SpikeTrains.from_dense(trains.first()[:, columns])
        for name, columns in (("a", [0, 1]), ("b", [2, 3]))
    }
    parts = SpiNNaker2Core(1e-3, "s16.15").run(es.Problem(net, halves, 30e-3, loss))
    joined = np.concatenate([parts.weight["a", "out"], parts.weight["b", "out"]], axis=2)
    np.testing.assert_array_equal(joined, whole.weight["in", "out"])
    np.testing.assert_array_equal(parts.loss_values, whole.loss_values)


# -- the loss program


@pytest.mark.parametrize("silent", ["t_end", "skip", "raise"])
@pytest.mark.parametrize("arithmetic", ["float64", "s16.15"])
def test_errors_are_the_derivative_of_the_loss(silent, arithmetic):
    """Central differences in the first spike times, of the loss written out."""
    first = np.array([[5.0, 9.0, 30.0], [12.0, 4.0, 6.0], [29.0, 7.0, 8.0]])
    labels, n_steps, xi, beta, alpha = np.array([1, 2, 1]), 30, 5.0, 64.0, 3e-3

    def loss(t, sample):
        included = t if silent == "t_end" else t[t < n_steps]
        own = t[labels[sample]]
        return own / xi + np.log(np.exp(-included / xi).sum()) + alpha * np.expm1(own / beta)

    numbers = Arithmetic.preset(arithmetic)
    settings = LossSettings("out", labels, xi, beta, alpha, silent, error_scale=32.0)
    program = LossProgram(settings, 3, n_steps, numbers, Calculator(numbers, 0))
    for sample, neuron in np.argwhere(first < n_steps):
        step = int(first[sample, neuron])
        program.forward(step + 1, [SpikePackets("out", np.array([sample]), np.array([neuron]))])
        program.forward(step + 5, [SpikePackets("out", np.array([sample]), np.array([neuron]))])
    np.testing.assert_allclose(program.values, [loss(first[s], s) for s in range(3)], rtol=1e-12)
    sent = np.zeros(first.shape)
    for step in range(n_steps - 2, -1, -1):
        for packets in program.backward(step, []):
            scale = 2.0**15 if arithmetic == "s16.15" else 1.0
            sent[packets.samples, packets.neurons] += packets.payloads / scale / 32.0
    for sample, neuron in np.ndindex(first.shape):
        shift = np.zeros(3)
        shift[neuron] = 1e-4
        slope = (loss(first[sample] + shift, sample) - loss(first[sample] - shift, sample)) / 2e-4
        want = 0.0 if first[sample, neuron] >= n_steps - 1 else slope
        assert sent[sample, neuron] == pytest.approx(
            want, abs=1e-8 if arithmetic == "float64" else 1.5 * 2.0**-20
        )


def test_a_silent_label_is_skipped_or_an_error():
    net = one_neuron([[9.0], [0.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]], [[0.0]]])}
    loss = TTFS(np.array([1, 0]))
    skipped = SpiNNaker2Core(1e-3, "float64").run(
        es.Problem(net, inputs, 30e-3, replace(loss, silent="skip"))
    )
    assert skipped.loss_values[0] == 0
    assert not skipped.weight["in", "out"][0].any()
    assert skipped.weight["in", "out"][1].any()
    at_end = SpiNNaker2Core(1e-3, "float64").run(es.Problem(net, inputs, 30e-3, loss))
    assert at_end.loss_values[0] > 10
    assert at_end.weight["in", "out"][0].any()
    with pytest.raises(ValueError, match=r"silent in 1 of 2 samples \(0\)"):
        SpiNNaker2Core(1e-3, "float64").run(es.Problem(net, inputs, 30e-3, replace(loss, silent="raise")))


# -- the optimizer program


def test_training_steps_are_those_of_the_formulas():
    """Adam with coupled L2 and SGD, written out over three batches, on code units."""
    net, inputs, loss = yin_yang_like(8)
    core = SpiNNaker2Core(1e-3, "float64", error_scale=4.0)
    for rule in (Adam(1e-2, weight_decay=1e-3, eps=1e-6), SGD(0.5, weight_decay=1e-3)):
        optimizer = OptimizerProgram(rule, core.formats, 4.0, number=FLOAT64)
        w = {key: p.weight for key, p in net.projections.items()}
        m = {key: 0.0 for key in w}
        v = {key: 0.0 for key in w}
        trained = net
        for t in (1, 2, 3):
            trained, record = core.train_step(es.Problem(trained, inputs, 27e-3, loss), optimizer)
            for key in w:
                g = 1e-3 * record.weight[key].mean(axis=0) + 1e-3 * w[key]
                if isinstance(rule, SGD):
                    w[key] = w[key] - 0.5 * g
                else:
                    m[key] = 0.9 * m[key] + 0.1 * g
                    v[key] = 0.999 * v[key] + 0.001 * g**2
                    w[key] = w[key] - 1e-2 * (m[key] / (1 - 0.9**t)) / (
                        np.sqrt(v[key] / (1 - 0.999**t)) + 1e-6
                    )
                np.testing.assert_allclose(trained.projections[key].weight, w[key], rtol=1e-9, atol=1e-12)


def test_training_lowers_the_loss_in_fixed_point():
    net, inputs, loss = yin_yang_like(32)
    core = SpiNNaker2Core(1e-3, "s16.15")
    optimizer = OptimizerProgram(Adam(5e-3), core.formats, core.error_scale)
    losses = []
    for _ in range(30):
        net, record = core.train_step(es.Problem(net, inputs, 27e-3, loss), optimizer)
        losses.append(record.loss_values.mean())
    assert losses[-1] < 0.9 * losses[0]
    raw = net.projections["in", "hidden"].weight * 2**15
    np.testing.assert_array_equal(raw, np.rint(raw))


def test_the_optimizer_rounds_what_it_stores():
    arithmetic = Arithmetic.preset("s16.15")
    optimizer = OptimizerProgram(SGD(1.0), arithmetic, 2.0, number=FixedFormat(0, 20))
    block = GradientBlock(("in", "out"), np.array([[[3 << 15]], [[5 << 15]]]), arithmetic.gradient, 5e-3)
    np.testing.assert_allclose(sample_gradients(block, 2.0).ravel(), [-7.5e-3, -12.5e-3])
    assert optimizer.batch_gradient(block) == np.rint(-1e-2 * 2**20) / 2**20
    (updated,) = optimizer.update([WeightBlock(("in", "out"), np.array([[1 << 15]]), S16_15)], [block])
    assert updated.values.tolist() == [[(1 << 15) + round(0.01 * 2**15)]]
    with pytest.raises(ValueError, match="no gradient"):
        optimizer.update([WeightBlock(("a", "b"), np.array([[1.0]]), FLOAT32)], [block])


# -- what the record says


def test_inputs_are_put_on_the_grid_and_undelivered_ones_are_counted():
    net = one_neuron([[9.0, 1.0, 1.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1.4e-3], [29e-3], [35e-3]]])}
    record = SpiNNaker2Core(1e-3, "float64").run(es.Problem(net, inputs, 30e-3, TTFS(np.array([0]))))
    assert record.spikes["in"].to_lists() == [[[1e-3], [29e-3], [35e-3]]]
    assert record.counters["undelivered_inputs"] == 2
    assert record.spike_times["in"][0] != 0
    assert not record.spike_times["in"][1:].any()
    assert record.weight["in", "out"][0, 0, 1:].tolist() == [0, 0]
    assert record.traces["out"].voltage.shape == (1, 1, 30)


def test_levels_per_neuron_and_another_reset():
    """Thresholds scale with the weights, and a reset above 0 leads to earlier second spikes."""
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    core = SpiNNaker2Core(1e-4, "float64")
    loss = TTFS(np.array([0]))
    two = core.run(es.Problem(one_neuron([[30.0], [60.0]], v_threshold=[1.0, 2.0]), inputs, 40e-3, loss))
    trains = two.spikes["out"].to_lists()[0]
    assert trains[0] == trains[1]
    low = core.run(es.Problem(one_neuron([[30.0]]), inputs, 40e-3, loss)).spikes["out"].times
    high = core.run(es.Problem(one_neuron([[30.0]], v_reset=0.5), inputs, 40e-3, loss)).spikes["out"].times
    assert low[0] == high[0]
    assert low[1] > high[1]


@pytest.mark.parametrize("arithmetic", ["s16.15", "float32"])
def test_nothing_happens_in_an_empty_batch_in_one_step_or_without_spikes(arithmetic):
    net, core = one_neuron([[1.0], [1.0]]), SpiNNaker2Core(1e-3, arithmetic)
    empty = core.run(
        es.Problem(net, {"in": es.SpikeTrains.from_lists([], n_neurons=1)}, 9e-3, TTFS(np.empty(0, np.int64)))
    )
    assert empty.loss_values.shape == (0,)
    assert empty.weight["in", "out"].shape == (0, 2, 1)
    for t_end in (1e-3, 9e-3):
        record = core.run(
            es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, t_end, TTFS(np.array([0])))
        )
        assert record.spikes["out"].n_spikes == 0
        assert not record.weight["in", "out"].any()


# -- what the core refuses


def _recurrent():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, LIF)
    net.add_population("out", 1, LIF)
    net.connect("in", "a", [[1.0]])
    net.connect("a", "out", [[1.0]])
    net.connect("out", "a", [[1.0]])
    return net


def _built(neuron=LIF, weight=((1.0,), (1.0,)), delay=0.0, synapse="exponential"):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, neuron)
    net.connect("in", "out", weight, delay=delay, synapse=synapse)
    return net


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: _built(es.LIF(tau_mem=[1e-2, 2e-2], tau_syn=5e-3)), "tau_mem of population 'out' differs"),
        (lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, v_leak=0.1)), "v_leak of population 'out'"),
        (lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, t_ref=1e-3)), "t_ref of population 'out'"),
        (
            lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, reset="subtract")),
            "reset of population 'out' must be 'value'",
        ),
        (lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, v_initial=0.1)), "v_initial of population 'out'"),
        (lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, i_initial=0.1)), "i_initial of population 'out'"),
        (lambda: _built(synapse="delta"), "synapse of .* must be 'exponential'"),
        (lambda: _built(es.LI(tau_mem=2e-2, tau_syn=5e-3)), "is LI"),
        (lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=1e-3)), "time_step < tau_syn"),
        (
            lambda: _built(es.LIF(tau_mem=2e-2, tau_syn=5e-3, v_threshold=1e9)),
            "v_threshold of population 'out'",
        ),
        (lambda: _built(delay=1e-3), "delay of"),
        (lambda: _built(weight=csr_array([[1.0], [1.0]])), "is sparse"),
        (_recurrent, "recurrent .*a"),
    ],
)
def test_networks_that_it_cannot_represent_are_refused_by_name(network, message):
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    with pytest.raises(ValueError, match=message):
        SpiNNaker2Core(1e-3, "s16.15").run(es.Problem(network(), inputs, 30e-3, TTFS(np.array([0]))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"in": es.SpikeTrains.from_lists([[[1e-3, 1.2e-3]]])}}, "both in step 1"),
        ({"inputs": {}}, "inputs must be given"),
        ({"inputs": {"in": es.SpikeTrains.from_lists([[[], []]])}}, "has 1 neurons"),
        ({"t_end": 1e-4}, "t_end must be at least one time step"),
        ({"loss": es.losses.MeanVoltageCrossEntropy("out", [0])}, "has no tau0"),
        ({"loss": None}, "has no population"),
        ({"loss": TTFS(np.array([0, 1]))}, "labels must be integers of shape"),
        ({"loss": TTFS(np.array([2]))}, r"labels must lie in 0\.\.1"),
        ({"loss": TTFS(np.array([0]), population="in")}, "is an input"),
    ],
)
def test_other_mistakes_are_named(change, message):
    arguments = {
        "inputs": {"in": es.SpikeTrains.from_lists([[[0.0]]])},
        "t_end": 30e-3,
        "loss": TTFS(np.array([0])),
    }
    with pytest.raises(ValueError, match=message):
        SpiNNaker2Core(1e-3).run(es.Problem(_built(), **{**arguments, **change}))


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_time_steps_as_long_as_a_time_constant_are_refused(decay):
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    core = SpiNNaker2Core(5e-3, decay=decay)
    with pytest.raises(
        ValueError, match=r"the core needs time_step < tau_syn; got 0.005 s and 0\.005 s in .* 'out'"
    ):
        core.run(es.Problem(_built(), inputs, 30e-3, TTFS(np.array([0]))))


def test_settings_are_checked():
    for arguments, message in (
        ({"time_step": 0.0}, "time_step"),
        ({"time_step": 1e-3, "error_scale": -1.0}, "error_scale"),
        ({"time_step": 1e-3, "decay": "exact"}, "decay"),
        ({"time_step": 1e-3, "format": "u1.1"}, r"format must be one of float64, float32, s16\.15"),
    ):
        with pytest.raises(ValueError, match=message):
            SpiNNaker2Core(**arguments)
    assert SpiNNaker2Core(1e-4, "s16.15").name == "SpiNNaker2 core, 0.1 ms, s16.15, euler"
