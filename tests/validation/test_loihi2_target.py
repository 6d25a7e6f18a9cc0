"""Is a network exported as the rules say, and is each approximation of Loihi 2 what its switch says?"""

import dataclasses
import itertools
import math
from functools import cache

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from validation.attribution import Ablation, attribute
from validation.attribution.ablation import observe
from validation.loihi2 import Loihi2, Settings, export, logits, network_of, read_netx, run, write_netx
from validation.loihi2.causes import ALL, PARAMETERS
from validation.loihi2.quantities import least_time_step

DT = 1e-3
NEURON = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def chain(seed=1, n_in=6, n_hidden=8, recurrent=True, delays=True, out=None, n_out=3, **neuron):
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", n_in)
    net.add_population("hidden", n_hidden, es.LIF(**(NEURON | neuron)))
    net.add_population("out", n_out, es.LI(**NEURON) if out is None else out)
    steps = rng.integers(0, 5, (n_hidden, n_in)) * delays
    net.connect("in", "hidden", rng.normal(1.5, 2.0, (n_hidden, n_in)), delay=steps * DT)
    if recurrent:
        net.connect("hidden", "hidden", rng.normal(0.0, 1.5, (n_hidden, n_hidden)))
    net.connect("hidden", "out", rng.normal(0.0, 1.0, (n_out, n_hidden)))
    return net


def trains(seed=2, n_in=6, n_samples=3, t_end=50e-3, n=5, on_grid=False):
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 0.8 * t_end, (n_samples, n_in, n))
    if on_grid:
        steps = np.stack([
            [rng.choice(int(0.8 * t_end / DT), n, replace=False) for _ in range(n_in)] for _ in range(n_samples)
        ])  # fmt: skip
        times = steps * DT
    return es.SpikeTrains.from_dense(np.sort(times, axis=2))


def problem(net=None, **options):
    t_end = options.get("t_end", 50e-3)
    return es.Problem(net or chain(), {"in": trains(**options)}, t_end)


def sent(record, n_rows):
    """The inputs of a record as a program takes them, (n_samples, n_rows, n_inputs)."""
    moved = record.trains["in"]
    found = np.zeros((moved.n_samples, n_rows, moved.n_neurons), int)
    found[moved.samples, np.rint(moved.times / DT).astype(int), moved.neurons] = 1
    return found


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kernel", ["exact", "mlgenn"])
def test_with_all_causes_it_is_the_program_that_lava_runs(kernel, bits):
    net = chain(seed=5, v_leak=0.3, v_reset=-0.2, v_initial=-0.2)
    target = Loihi2(DT, kernel=kernel, weight_bits=bits, percentile=99.0)
    record = target.run(problem(net))
    made = target.export(net)
    found = run(made.program, sent(record, 51))
    hidden = record.spikes["hidden"]
    flags = np.zeros_like(found.s[0])
    flags[hidden.samples, np.rint(hidden.times / DT).astype(int), hidden.neurons] = 1
    np.testing.assert_array_equal(flags, found.s[0])
    assert hidden.n_spikes > 20
    voltage = found.v[1].transpose(0, 2, 1) * (made.quanta["out"] / 64)
    np.testing.assert_array_equal(record.traces["out"].voltage, voltage)
    assert record.counters["clipped_weights"] == sum(r.n_clipped for r in made.roundings.values()) > 0
    assert record.counters["wraps"] == found.wraps


def test_a_program_is_written_and_read_and_does_the_same(tmp_path):
    made = Loihi2(DT).export(chain(delays=False))
    write_netx(made.program, tmp_path / "a.net")
    assert read_netx(tmp_path / "a.net") == made.program


# -- what is exact without a cause


def readout(delay=0.0, tau_mem=20e-3):
    net = es.Network()
    net.add_input("in", 6)
    net.add_population("out", 2, es.LI(tau_mem, 5e-3))
    net.connect("in", "out", np.random.default_rng(3).normal(0, 1, (2, 6)), delay=delay)
    return net


@pytest.mark.parametrize(
    ("on", "delay", "on_grid"),
    [
        (("grid",), 0.0, True),
        (("grid", "input_rounding"), 3e-3, True),
        (("grid",), 0.0, False),
        (("grid",), 1.7e-3, False),
        (("grid", "decays"), 0.6e-3, False),
    ],
)
@pytest.mark.parametrize("tau_mem", [20e-3, 5e-3])
def test_on_the_grid_voltages_are_those_of_continuous_time(on, delay, on_grid, tau_mem):
    # 50 steps of two roundings each, and a response of a few ulps, of voltages up to 3
    given = problem(readout(delay, tau_mem), on_grid=on_grid)
    record = Loihi2(DT).with_causes(on).run(given)
    left = given.network
    if "decays" in on:
        taus = {what: float(values[0]) for what, values in held(left, "out").items()}
        grown = response(tau_mem, 5e-3) / response(**taus)
        left = left.with_neurons({"out": es.LI(**taus)})
        left = left.with_weights({("in", "out"): left.projections["in", "out"].weight * grown})
    exact = es.solve(left, given.inputs, given.t_end)
    times = record.traces["out"].times
    np.testing.assert_allclose(record.traces["out"].voltage, exact.voltage("out", times), atol=300 * 2.3e-16)
    assert np.abs(record.traces["out"].voltage).max() > 0.1


def response(tau_mem, tau_syn):
    """K(dt), by mpmath: exact where the constants are equal, or nearly so."""
    with mpmath.workdps(40):
        m, s, dt = mpmath.mpf(tau_mem), mpmath.mpf(tau_syn), mpmath.mpf(DT)
        if m == s:
            return float(dt / m * mpmath.exp(-dt / m))
        return float(s / (s - m) * (mpmath.exp(-dt / s) - mpmath.exp(-dt / m)))


def held(net, name):
    """Time constants that 4096ths stand for."""
    neuron = net.population(name)
    return {
        what: -DT / np.log1p(-np.rint(4096 * (1 - np.exp(-DT / neuron.parameter(what)))) / 4096)
        for what in ("tau_mem", "tau_syn")
    }


def test_with_decays_that_are_rounded_weights_have_another_response():
    # weights stay w K(tau), so that in continuous time w becomes w K(tau)/K(tau held)
    given = problem(readout())
    record = Loihi2(DT).with_causes(["decays"]).run(given)
    assert record.spikes["in"] == given.inputs["in"]
    made = Loihi2(DT).with_causes(PARAMETERS)
    again = es.solve(made.export(chain()).dequantized(), problem().inputs, 50e-3)
    assert made.run(problem()).spikes["hidden"] == again.spikes["hidden"]


@pytest.mark.parametrize("delays", [False, True])
def test_without_causes_it_is_the_oracle(delays):
    given = problem(chain(seed=6, delays=delays))
    record = Loihi2(DT).with_causes([]).run(given)
    assert record.spikes["hidden"] == given.solution.spikes["hidden"]
    assert record.time_step is None


def test_a_spike_is_seen_half_a_step_late_on_average():
    net = chain(seed=7, recurrent=False, n_hidden=200)
    given = problem(net, n_samples=4)
    exact = given.solution.spikes["hidden"]
    found = Loihi2(1e-4).with_causes(["grid"]).run(given).spikes["hidden"]
    same = exact.counts() == found.counts()
    first = np.concatenate([
        (found[int(s), int(n)] - exact[int(s), int(n)])[:1] for s, n in zip(*np.nonzero(same), strict=True)
    ])  # fmt: skip
    assert first.size > 500
    assert ((first > 0) & (first <= 1e-4)).all()
    # uniform in (0, dt]: mean dt/2, five standard errors of dt/sqrt(12 n)
    assert abs(first.mean() - 0.5e-4) < 5 * 1e-4 / math.sqrt(12 * first.size)


def test_every_cause_acts_by_itself():
    # mlGeNN's kernel, at a step at which each cause is seen, and in voltages that nobody rounds but for it
    net = es.Network()
    net.add_input("in", 6)
    net.add_population("hidden", 8, es.LIF(20e-3, 5e-3, v_threshold=1.2, v_leak=0.1))
    net.connect("in", "hidden", np.random.default_rng(4).normal(1.5, 2.0, (8, 6)), delay=1.3e-3)
    given = problem(net)
    assert (observe(Ablation(given, Loihi2(DT, kernel="mlgenn")), frozenset()) == 0).all()
    base = frozenset({"grid"})
    for cause in ALL:
        step = {"kernel": 5e-3, "truncation": 1e-4, "decays": 1e-4}.get(cause, DT)
        target = Loihi2(step, kernel="mlgenn", percentile=90.0)
        on = base if cause == "grid" else base | {cause}
        changed = target.with_causes(on).run(given).spikes["hidden"]
        before = target.with_causes(base - {cause}).run(given).spikes["hidden"]
        if cause == "limits":  # nothing comes near 24 bits here
            assert changed == before
        else:
            assert changed != before, cause


def test_24_bits_are_a_cause_where_they_are_reached():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LI(20.0, 20.0))
    net.connect("in", "out", [[1.0]])
    times = es.SpikeTrains.from_dense(np.arange(2100)[None, None] * DT)
    given = es.Problem(net, {"in": times}, 2.2)
    # 127 quanta of 64 in each step are beyond 2**23 after 1032 steps, if nothing decays
    target = Loihi2(DT, scale="full", without="decays+truncation")
    free, limited = dataclasses.replace(target, without=(*target.without, "limits")), target
    one, two = free.run(given), limited.run(given)
    assert one.counters["wraps"] == one.counters["voltage_clips"] == 0
    assert two.counters["wraps"] > 0
    assert two.counters["voltage_clips"] > 0
    assert two.traces["out"].voltage.max() < one.traces["out"].voltage.max()


def test_shapley_values_add_up_to_the_error():
    small = problem(chain(n_hidden=4, recurrent=False, delays=False), n_samples=1)
    ablation = Ablation(small, Loihi2(DT, input_rounding="up"), kept=("delays", "limits"))
    *_, found = attribute(ablation, max_pairs=2)
    assert ablation.quantities == ("V of out", "spike times of hidden")
    for k, quantity in enumerate(ablation.quantities):
        blame = found.blame(quantity)
        assert sum(value for value, _ in blame.values()) == pytest.approx(
            found.errors[quantity] - found.levels[0, k], rel=1e-9, abs=0.0
        )


# -- the rules of the export


@cache
def mlgenn_integers(seed, bits, percentile, dt=DT):
    """mlGeNN's rules, written out one weight at a time: (integers by projection, vThMant, iDecay, vDecay)."""
    net = chain(seed)
    alpha, beta = math.exp(-dt / 20e-3), math.exp(-dt / 5e-3)
    k = (1 - alpha) * (5e-3 / dt) * (1 - beta)
    found = {}
    for post, pres in (("hidden", ("in", "hidden")), ("out", ("hidden",))):
        scaled = {pre: k * net.projections[pre, post].weight for pre in pres}
        every = np.concatenate([w.ravel() for w in scaled.values()])
        h = max(np.percentile(every[every > 0], percentile), np.percentile(-every[every <= 0], percentile))
        top = math.floor(math.log2(h))
        q = 2.0 ** (top - (bits - 2))
        for pre, w in scaled.items():
            found[pre, post] = np.clip(q * np.round(w / q), -(2.0 ** (top + 1)), 2.0 ** (top + 1) - q) / q
        found[post] = round(1.0 / q)
    return found, round(4096 * (1 - beta)), round(4096 * (1 - alpha))


@pytest.mark.parametrize(
    ("seed", "bits", "percentile"), [*itertools.product((1, 2, 3), (8, 5), (99.0, 90.0))]
)
def test_mlgenn_writes_the_same_integers(seed, bits, percentile):
    want, i_decay, v_decay = mlgenn_integers(seed, bits, percentile)
    made = export(chain(seed), Settings(DT, bits, "power_of_two", percentile, "mlgenn")).program
    hidden, out = made.layers
    np.testing.assert_array_equal(hidden.ff.effective, want["in", "hidden"])
    np.testing.assert_array_equal(hidden.rec.effective, want["hidden", "hidden"])
    np.testing.assert_array_equal(out.ff.effective, want["hidden", "out"])
    assert set(hidden.vth) == {want["hidden"]}
    assert set(out.vth) == {2**16}
    assert {*hidden.du, *out.du} == {i_decay - 1}
    assert {*hidden.dv, *out.dv} == {v_decay}
    assert "spikes and is reset once its voltage is beyond 65536 weight units" in " ".join(made.notes)
    assert set(export(chain(seed), Settings(DT)).program.layers[1].vth) == {2**17}


def test_the_full_scale_has_the_largest_weight_at_the_largest_integer():
    net = chain(seed=9)
    made = export(net, Settings(DT, scale="full"))
    for layer in made.program.layers:
        assert max(np.abs(m.effective).max() for m in layer.matrices) == 127
    power = export(net, Settings(DT))
    assert made.roundings["in", "hidden"].rms_error * made.quanta["hidden"] <= (
        power.roundings["in", "hidden"].rms_error * power.quanta["hidden"]
    )


def test_leak_and_reset_are_moved_so_that_the_reset_is_0():
    net = chain(v_leak=0.3, v_reset=-0.2, v_threshold=0.9, v_initial=-0.2)
    made = export(net, Settings(DT))
    layer, q = made.program.layers[0], made.quanta["hidden"]
    assert set(layer.bias_mant) == {round(0.5 * (1 - math.exp(-1 / 20)) / q)}
    assert set(layer.bias_exp) == {6}
    assert set(layer.vth) == {round(1.1 / q)}
    assert not layer.v0.any()
    assert "acts from the first step on" in " ".join(made.program.notes)
    started = export(chain(v_initial=0.5), Settings(DT))
    assert set(started.program.layers[0].v0) == {
        round(0.5 / math.exp(-1 / 20) / started.quanta["hidden"] * 64)
    }


def test_a_program_stands_for_the_network_that_its_export_dequantizes():
    made = export(chain(seed=5, v_leak=0.3), Settings(DT))
    one, two = made.dequantized(), network_of(made.program, DT, quanta=list(made.quanta.values()))
    assert [p.weight.shape for p in one.projections.values()] == [
        p.weight.shape for p in two.projections.values()
    ]
    for a, b in zip(one.projections.values(), two.projections.values(), strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=4e-16)
        np.testing.assert_array_equal(a.delay, b.delay)
    for a, b in zip(one.populations.values(), two.populations.values(), strict=True):
        for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak"):
            np.testing.assert_allclose(a.parameter(name), b.parameter(name), rtol=1e-15)


def test_without_rounding_of_states_the_program_is_its_network_on_the_grid():
    # parameters that are whole from the start, so that nothing is left but grid and states
    made = export(chain(recurrent=False), Settings(DT))
    again = export(made.dequantized(), Settings(DT))
    assert again.program == made.program
    assert all(r.rms_error < 1e-12 for r in again.roundings.values())


def variant(**changes):
    net = chain(recurrent=False, delays=False)
    return net.with_neurons({"hidden": es.LIF(**(NEURON | changes))})


def further(build):
    net = chain(recurrent=False, delays=False)
    build(net)
    return net


def skip(net):
    net.connect("in", "out", np.ones((3, 6)))


def second_input(net):
    net.add_input("other", 2)
    net.connect("other", "hidden", np.ones((8, 2)))


def twice(net):
    net.connect("in", "hidden", np.ones((8, 6)), name="again")


def alone(net):
    net.add_population("alone", 2, es.LIF(**NEURON))


def delta():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("hidden", 1, es.LIF(**NEURON))
    net.connect("in", "hidden", [[1.0]], synapse="delta")
    return net


def loop():
    net = es.Network()
    net.add_input("in", 1)
    for name in "ab":
        net.add_population(name, 1, es.LIF(**NEURON))
    for pre, post in (("in", "a"), ("a", "b"), ("b", "a")):
        net.connect(pre, post, [[1.0]])
    return net


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda: variant(t_ref=1e-3), "t_ref of population 'hidden' must be 0: Lava has no integer refractory"),
        (lambda: variant(reset="subtract"), "reset of population 'hidden' must be 'value'"),
        (lambda: variant(i_initial=0.1), "i_initial of population 'hidden' must be 0"),
        (lambda: variant(tau_mem=9.0), "tau_mem of population 'hidden' is 9.0 s: at steps of 0.001 s"),
        (lambda: variant(v_threshold=1e3), "beyond 17 bits, so that it would never fire; steps of .* fit"),
        (lambda: variant(v_threshold=1e9), "beyond 17 bits, so that it would never fire; no time step fits"),
        (lambda: variant(v_threshold=1e-6), "v_threshold of population 'hidden' is less than half a weight unit"),
        (lambda: variant(v_leak=-1e5), "is a bias of .* weight units in each step, beyond 13 bits"),
        (lambda: further(skip), "'in' leads to 'hidden' and to 'out'"),
        (lambda: further(second_input), "the network has 2 inputs"),
        (lambda: further(twice), "one matrix between two layers"),
        (lambda: further(alone), "'alone' is not in it"),
        (delta, "must be 'exponential'"),
        (loop, "chain of layers"),
        (lambda: chain().with_delays({("in", "hidden"): 0.07}), r"delay of .* must be at most 62 steps"),
        (lambda: chain().with_weights({("hidden", "out"): np.zeros((3, 8))}), "weights to population 'out' are 0"),
    ],
)  # fmt: skip
def test_what_the_chip_or_its_file_cannot_hold_is_refused(net, message):
    network = net()
    with pytest.raises(ValueError, match=message):
        Loihi2(DT).export(network)


def test_a_threshold_that_overflows_is_refused_and_the_step_is_said_from_which_on_it_does_not():
    net = chain(recurrent=False, delays=False)
    net = net.with_neurons({"hidden": es.LIF(20e-3, 5e-3, v_threshold=30.0)})
    least = least_time_step(net, Settings(DT))
    assert Loihi2(least * 1.01).export(net).program.layers[0].vth.max() < 2**17
    with pytest.raises(ValueError, match=r"beyond 17 bits.*steps of .* s or more fit"):
        Loihi2(least * 0.45).export(net)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 9}, r"weight_bits must be an integer in 2\.\.8; got 9"),
        ({"percentile": 0.0}, r"percentile must be in \(0, 100\]"),
        ({"scale": "half"}, "scale must be one of power_of_two, full; got 'half'"),
        ({"kernel": "K"}, "kernel must be one of exact, mlgenn; got 'K'"),
        ({"input_rounding": "even"}, "input_rounding must be one of"),
        ({"samples": "all"}, "samples must be one of"),
        ({"without": "gird"}, "causes are grid, .*; got 'gird'"),
        ({"traces": 1}, "traces must be True or False"),
    ],
)
def test_options_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Loihi2(DT, **options)


# -- runs


def test_inputs_that_share_a_step_are_sent_once_and_counted():
    net = readout()
    twice_ = es.SpikeTrains.from_lists([[[1e-3, 1.2e-3], [2e-3], [], [], [], []]])
    once = es.SpikeTrains.from_lists([[[1e-3], [2e-3], [], [], [], []]])
    one = Loihi2(DT).run(es.Problem(net, {"in": twice_}, 20e-3))
    two = Loihi2(DT).run(es.Problem(net, {"in": once}, 20e-3))
    assert (one.counters["merged_inputs"], two.counters["merged_inputs"]) == (1, 0)
    np.testing.assert_array_equal(one.traces["out"].voltage, two.traces["out"].voltage)


def test_what_is_under_way_arrives_in_the_next_sample():
    net = readout(delay=4e-3)
    late = es.SpikeTrains.from_lists([[[19e-3], [], [], [], [], []], [[], [], [], [], [], []]])
    given = es.Problem(net, {"in": late}, 20e-3)
    apart = Loihi2(DT).run(given).traces["out"].voltage
    joined = Loihi2(DT, samples="consecutive").run(given).traces["out"].voltage
    np.testing.assert_array_equal(apart[0], joined[0])
    assert not apart[1].any()
    assert (joined[1, :, :3] == 0).all()  # sent in row 19 of 21, it arrives in row 19 + 1 + 4 = 21 + 3
    assert (joined[1, :, 3] != 0).all()


def test_mlgenns_readout_is_reset_and_counted():
    net = readout()
    many = es.SpikeTrains.from_dense(np.tile(np.arange(400) * DT, (1, 6, 1)))
    strong = net.with_weights({("in", "out"): np.full((2, 6), 1.0)}).with_neurons({"out": es.LI(2.0, 2.0)})
    given = es.Problem(strong, {"in": many}, 0.5)
    target = Loihi2(DT, kernel="mlgenn", traces=True)
    resets = target.run(given).counters["readout_resets"]
    assert resets > 0
    assert resets == sum(
        int(s.sum()) for s in run(target.export(strong).program, sent(target.run(given), 501)).s
    )
    assert dataclasses.replace(target, kernel="exact").run(given).counters["readout_resets"] == 0


def test_logits_weigh_voltages_by_their_time():
    given = problem()
    record = Loihi2(DT).run(given)
    trace = record.traces["out"]
    want = [
        [sum(v * math.exp(-t / 50e-3) for v, t in zip(row, trace.times, strict=True)) for row in sample]
        for sample in trace.voltage
    ]
    np.testing.assert_allclose(logits(record, "out"), want, rtol=1e-12)
    with pytest.raises(ValueError, match="no voltages of 'hidden'"):
        logits(record, "hidden")


def test_losses_have_the_values_of_the_states_after_each_step():
    net = chain(seed=3)
    loss = es.losses.MaxVoltageCrossEntropy("out", [0, 1, 2])
    given = dataclasses.replace(problem(net), loss=loss)
    record = Loihi2(DT).run(given)
    largest = record.traces["out"].voltage.max(axis=2)
    want = [math.log(sum(math.exp(x - row[k]) for x in row)) for k, row in enumerate(largest)]
    np.testing.assert_allclose(record.loss_values, want, rtol=1e-12)
    assert not record.gradients


def test_sparse_weights_are_dense_ones_with_zeros():
    dense = chain(seed=4, recurrent=False, delays=False)
    weight = np.where(
        np.random.default_rng(0).random((8, 6)) < 0.5, dense.projections["in", "hidden"].weight, 0.0
    )
    net = es.Network()
    net.add_input("in", 6)
    net.add_population("hidden", 8, es.LIF(**NEURON))
    net.connect("in", "hidden", sp.csr_array(weight))
    full = es.Network()
    full.add_input("in", 6)
    full.add_population("hidden", 8, es.LIF(**NEURON))
    full.connect("in", "hidden", weight)
    for on in (ALL, PARAMETERS, ("grid", "weight_rounding")):
        one, two = (Loihi2(DT).with_causes(on).run(problem(n)).spikes["hidden"] for n in (net, full))
        np.testing.assert_array_equal(one.neurons, two.neurons)
        np.testing.assert_allclose(one.times, two.times, rtol=1e-12)


def test_cost_counts_updates_and_additions():
    given = problem(chain(recurrent=False))
    record = Loihi2(DT).run(given)
    cost = Loihi2(DT).cost(given, record)
    n_in, n_hidden = record.trains["in"].n_spikes, record.trains["hidden"].n_spikes
    assert cost.operations == pytest.approx(2 * 11 * 51 + (8 * n_in + 3 * n_hidden) / 3)
    assert cost.packet_bytes == pytest.approx(4 * (n_in + n_hidden) / 3)
