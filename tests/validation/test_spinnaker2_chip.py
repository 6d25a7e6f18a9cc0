"""Does the chip train as its core does, hold what it says it holds, and send the packets that it counts?"""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cores import TTFS
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import eventsolve as es
from validation.cli import app as cli
from validation.fixedpoint import S8_7, S16_15, U0_32, FixedFormat
from validation.spinnaker2 import FLOAT32, SGD, Adam, Arithmetic, Chip, OptimizerProgram, SpiNNaker2Core
from validation.spinnaker2.memory import KEY_BYTES, DoesNotFit, Hardware, fewest_parts, number_bytes
from validation.spinnaker2.routing import KEY_BITS, Kind

LIF = es.LIF(tau_mem=20e-3, tau_syn=5e-3)
T_END = 27e-3


def layered(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    names = ["in", *(f"hidden{k}" for k in range(len(sizes) - 2)), "out"]
    net = es.Network()
    net.add_input("in", sizes[0])
    for pre, post, a, b in zip(names, names[1:], sizes, sizes[1:], strict=False):
        net.add_population(post, b, LIF)
        net.connect(pre, post, rng.normal(7 / np.sqrt(a), 5 / np.sqrt(a), (b, a)))
    return net


def work(n_samples, n_inputs, n_outputs, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 25, (n_samples, n_inputs))
    return {"in": es.SpikeTrains.from_dense(steps * 1e-3)}, TTFS(rng.integers(0, n_outputs, n_samples))


def chip_of(net, arithmetic="s16.15", rule=None, **options):
    core = SpiNNaker2Core(1e-3, arithmetic, traces=False)
    return Chip(net, core, T_END, rule or Adam(1e-2, weight_decay=1e-3), **options)


# -- training


@pytest.mark.parametrize("arithmetic", ["s16.15", "float32", "s4.9"])
@pytest.mark.parametrize("number", [FLOAT32, FixedFormat(3, 28)])
@pytest.mark.parametrize("rule", [Adam(1e-2, weight_decay=1e-3), SGD(0.5, weight_decay=1e-3)])
def test_steps_are_those_of_packets_and_the_optimizer_program(arithmetic, number, rule):
    """Three batches, against gradients from packets and an optimizer program that holds its moments itself."""
    net = layered(4, 12, 3)
    chip = chip_of(net, arithmetic, rule, optimizer_number=number)
    core, state = chip.core, chip.initial
    optimizer = OptimizerProgram(rule, core.formats, core.error_scale, number=number)
    for seed in range(3):
        inputs, loss = work(7, 4, 3, seed)
        record = core.run_packet_by_packet(es.Problem(net, inputs, T_END, loss))
        net, _ = core.train_step(es.Problem(net, inputs, T_END, loss), optimizer)
        state, batch = chip.step(state, inputs, loss)
        np.testing.assert_array_equal(batch.losses, record.loss_values)
        np.testing.assert_array_equal(batch.first_spikes, record.spikes["out"].first())
        np.testing.assert_array_equal(batch.predictions, np.argmin(record.spikes["out"].first(), axis=1))
        for key, projection in net.projections.items():
            np.testing.assert_array_equal(chip.weights(state)[key], projection.weight)
    assert (state.n_batches, state.n_samples) == (3, 21)


def test_a_learning_rate_takes_the_place_of_the_rules():
    net, (inputs, loss) = layered(4, 6, 3), work(5, 4, 3)
    want, _ = chip_of(net, rule=Adam(3e-2)).step(chip_of(net).initial, inputs, loss)
    chip = chip_of(net, rule=Adam(1e-3))
    got, _ = chip.step(chip.initial, inputs, loss, learning_rate=3e-2)
    for key in want.weights:
        np.testing.assert_array_equal(got.weights[key], want.weights[key])


def test_predictions_are_of_first_spikes_and_ties_go_to_the_lowest():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 3, LIF)
    net.connect("in", "out", [[0.0, 20.0], [20.0, 0.0], [20.0, 0.0]])
    chip = chip_of(net)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], []], [[], [0.0]], [[], []]])}
    assert chip.predict(chip.initial, inputs, "out").tolist() == [1, 0, 0]
    first = chip.first_spikes(chip.initial, inputs, "out")
    assert np.isinf(first[0]).tolist() == [True, False, False]
    assert np.isinf(first[2]).all()


@pytest.mark.parametrize("rounding", ["half_up", "stochastic"])
def test_a_resumed_run_is_the_uninterrupted_one(rounding):
    arithmetic = replace(Arithmetic.preset("s16.15"), rounding=rounding)
    chip = chip_of(layered(4, 8, 3), arithmetic, optimizer_number=FixedFormat(3, 40))
    batches = [work(5, 4, 3, seed) for seed in range(4)]
    state = chip.initial
    for inputs, loss in batches[:2]:
        state, _ = chip.step(state, inputs, loss)
    resumed = chip.resumed(state.arrays())
    for inputs, loss in batches[2:]:
        (state, a), (resumed, b) = chip.step(state, inputs, loss), chip.step(resumed, inputs, loss)
        np.testing.assert_array_equal(a.losses, b.losses)
    for name, values in state.arrays().items():
        np.testing.assert_array_equal(values, resumed.arrays()[name])


def test_other_batches_draw_other_random_numbers():
    arithmetic = replace(Arithmetic.preset("s4.7"), rounding="stochastic")
    chip = chip_of(layered(4, 8, 3), arithmetic)
    inputs, loss = work(5, 4, 3)
    first = chip.run(chip.initial, inputs, loss).outcome.gradients
    later = chip.run(replace(chip.initial, n_samples=5), inputs, loss).outcome.gradients
    assert any((a.values != b.values).any() for a, b in zip(first, later, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight in>hidden0": np.zeros((4, 7), np.int64)}, "weight in>hidden0 must be int64 of shape"),
        ({"weight in>hidden0": np.zeros((4, 8))}, "must be int64"),
        ({"weight in>hidden0": np.full((4, 8), 2**40)}, "must hold raw numbers of s16.15"),
        ({"counts": np.array([1.5, 2])}, "counts must be two integers"),
        ({"counts": np.array([-1, 2])}, "counts must be two integers"),
        ({"surprise": np.zeros(1)}, "arrays must be those of a state"),
        ({"first in>hidden0": np.zeros((4, 8), np.float32)}, "arrays must be those of a state"),
    ],
)
def test_states_of_other_chips_are_refused(change, message):
    chip = chip_of(layered(4, 8, 3))
    with pytest.raises(ValueError, match=message):
        chip.resumed({**chip.initial.arrays(), **change})


# -- what does not fit


def test_every_bytes_of_a_small_layer_by_hand():
    """4-12-3, 27 steps, s16.15 with 64-bit sums; the hidden layer on two elements."""
    chip = chip_of(layered(4, 12, 3), parts={"hidden0": 2})
    names = [e.name for e in chip.layout.copy]
    assert names == ["in[0:4]", "hidden0[0:6]", "hidden0[6:12]", "out[0:3]", "(loss)[0:3]"]
    assert dict(chip.layout.copy[1].buffers) == {
        "code": 32768,
        "stack and heap": 4096,
        "weights": 6 * 4 * 4,
        "decay factors": 4 * 4,
        "thresholds, resets": 2 * 6 * 4,
        "currents, voltages": 2 * 6 * 4,
        "their adjoints": 2 * 6 * 4,
        "errors": 6 * 4,
        "who spiked when": 14 + 21,  # 4 * 27 and 6 * 27 bits
        "denominators": 6 * 26 * 4,
        "gradients": 6 * 4 * 8,
        "packets": 2 * max(4 * 4, 6 * 8),
    }
    assert dict(chip.layout.copy[2].buffers)["packets"] == 2 * (6 * 8 + 4 * (4 + 8))
    assert dict(chip.layout.copy[0].buffers)["packets"] == 2 * 4 * 8
    assert dict(chip.layout.copy[3].buffers)["packets"] == 2 * max(12 * 4, 3 * 8)
    assert dict(chip.layout.optimizer[0].buffers) == {
        "code": 32768,
        "stack and heap": 4096,
        "weights": 84 * 4,
        "sums over the batch": 84 * 8,
        "moments": 84 * 8,
        "packets": 2 * chip.layout.copies * 12,
    }
    assert chip.layout.copies == (148 - 1) // 5


@pytest.mark.parametrize(
    ("number", "size"),
    [(S16_15, 4), (S8_7, 2), (U0_32, 4), (FixedFormat(47, 15), 8), (FLOAT32, 4), (FixedFormat(0, 7), 1)],
)
def test_bytes_of_numbers(number, size):
    assert number_bytes(number) == size


def test_the_published_set_up_and_what_fills_a_chip():
    """The model needs 4 elements per sample, so 36 samples side by side; 22 leave 6 elements for each."""
    chip = chip_of(layered(5, 120, 3))
    assert len(chip.layout.copy) == 4
    assert chip.layout.copies == 36
    assert chip.layout.used == 145
    assert (148 - len(chip.layout.optimizer)) // 22 == 6
    assert chip.rounds(22) == 1
    assert chip.rounds(37) == 2
    assert chip_of(layered(5, 120, 3), copies=22).layout.copies == 22


def test_a_layer_that_does_not_fit_is_refused_with_its_buffers_and_a_remedy():
    net = layered(5, 1200, 3)
    with pytest.raises(DoesNotFit) as refused:
        chip_of(net)
    message = str(refused.value)
    assert message.startswith("hidden0[0:1200] needs ")
    for buffer, size in (("weights", 24000), ("denominators", 124800), ("gradients", 48000), ("code", 32768)):
        assert f"{buffer:<24}{size:>12}" in message
    parts = int(message.rpartition(": ")[2].rstrip("}"))
    largest = max(e.bytes for e in chip_of(net, parts={"hidden0": parts}).layout.copy)
    assert largest <= 128 * 1024
    with pytest.raises(DoesNotFit):
        chip_of(net, parts={"hidden0": parts - 1})


def test_what_cannot_be_shared_does_not_fit_on_any_number_of_elements():
    small = Hardware(memory=40 * 1024)
    with pytest.raises(DoesNotFit, match="does not fit on any number of elements"):
        chip_of(layered(2, 900, 1), hardware=small, parts={"hidden0": 100})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 40}, "40 copies of 4 elements, and an optimizer, do not fit on 148 elements"),
        ({"hardware": Hardware(elements=4)}, "1 copies of 4 elements"),
        ({"hardware": Hardware(routing_entries=100)}, "the router has 100 entries; 290 are needed"),
        ({"hardware": Hardware(memory=62262)}, None),
        ({"hardware": Hardware(memory=62261)}, r"hidden0\[0:120\] needs 62262 of 62261 bytes"),
    ],
)
def test_the_chip_has_limits(options, message):
    net = layered(5, 120, 3)
    if message is None:
        assert chip_of(net, **options).layout.copies > 0
        return
    with pytest.raises(DoesNotFit, match=message):
        chip_of(net, **options)


def test_keys_that_need_more_than_32_bits_are_refused():
    """100 elements with 15 neurons each, 2000 steps: 3 + 0 + 7 + 7 + 11 + 4 bits; twice the steps are too many."""
    core, net = SpiNNaker2Core(1e-6, "s16.15", traces=False), layered(2, 1500, 2)
    options = {"parts": {"hidden0": 100}, "copies": 1, "hardware": Hardware(memory=2**22)}
    assert Chip(net, core, 2e-3, SGD(1.0), **options).routing.keys.bits <= KEY_BITS
    with pytest.raises(DoesNotFit, match="a key has 32 bits; 33 are needed: kind 3, copy 0, element 7"):
        Chip(net, core, 4e-3, SGD(1.0), **options)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 600),
    st.integers(1, 20),
    st.sampled_from(["s16.15", "s8.7", "float64"]),
)
def test_what_the_remedy_says_is_the_fewest(n_in, n_hidden, n_out, arithmetic):
    chip = chip_of(layered(n_in, 2, n_out), arithmetic, hardware=Hardware(memory=60 * 1024))
    net = layered(n_in, n_hidden, n_out)
    core = chip.core
    from validation.spinnaker2.memory import Plan, layer_elements

    plan = Plan(core.image(net), "out", 27, SGD(1.0), FLOAT32, {}, None, chip.hardware)
    parts = fewest_parts(plan, "hidden0")
    for count in range(1, n_hidden + 1):
        elements = layer_elements(plan, "hidden0", count)
        assert [e.low for e in elements[1:]] == [e.high for e in elements[:-1]]
        assert (elements[0].low, elements[-1].high) == (0, n_hidden)
        fits = all(e.bytes <= chip.hardware.memory for e in elements)
        if count == parts:
            assert fits
            break
        assert not fits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "adam"}, "rule must be an SGD or an Adam; got 'adam'"),
        ({"parts": {"in": 2}}, "parts must be of"),
        ({"parts": {"out": 0}}, "parts of 'out' must be 1 to 3 elements; got 0"),
        ({"parts": {"out": 4}}, "parts of 'out' must be 1 to 3 elements; got 4"),
        ({"parts": {"out": True}}, "parts of 'out'"),
        ({"copies": 0}, "copies must be None or an integer >= 1; got 0"),
        ({"output": "in"}, "output must be one of"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        chip_of(layered(4, 8, 3), **options)


def test_weights_that_a_format_cannot_hold_are_refused():
    net = layered(4, 8, 3)
    with pytest.raises(
        ValueError, match=r"weights of \('in', 'hidden0'\) must lie in -2.0 to 1.96875, the range"
    ):
        chip_of(net, "s1.5")
    chip = chip_of(net)
    weights = chip.weights(chip.initial)
    with pytest.raises(ValueError, match=r"entry \[1, 0\] is 70000.0, and 3 more are outside"):
        chip.with_weights({**weights, ("in", "hidden0"): np.eye(8, 4, k=-1) * 70000.0})
    with pytest.raises(ValueError, match="are missing"):
        chip.with_weights({})
    with pytest.raises(ValueError, match=r"must have shape \(8, 4\)"):
        chip.with_weights({**weights, ("in", "hidden0"): np.zeros((4, 8))})
    with pytest.raises(ValueError, match="the range of s16"):
        chip.with_weights({**weights, ("in", "hidden0"): np.full((8, 4), np.nan)})


def test_time_steps_delays_and_losses_that_it_has_not_are_refused():
    net = layered(4, 8, 3)
    with pytest.raises(ValueError, match="time_step < tau_syn"):
        Chip(net, SpiNNaker2Core(6e-3), 60e-3, SGD(1.0))
    delayed = net.with_delays({("in", "hidden0"): 1.5e-3, ("hidden0", "out"): 0.0})
    with pytest.raises(ValueError, match="every layer delays by one time step"):
        chip_of(delayed)
    chip = chip_of(net)
    inputs, loss = work(2, 4, 3)
    with pytest.raises(ValueError, match="loss reads 'hidden0'; the chip is wired for output='out'"):
        chip.step(chip.initial, inputs, replace(loss, population="hidden0"))
    with pytest.raises(ValueError, match="population must be one of"):
        chip.predict(chip.initial, inputs, "in")
    two_ends = es.Network()
    two_ends.add_input("in", 1)
    for name in ("a", "b"):
        two_ends.add_population(name, 2, LIF)
        two_ends.connect("in", name, [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"output must say which of \['a', 'b'\] the loss reads"):
        chip_of(two_ends)
    assert chip_of(two_ends, output="b").read_by_loss == "b"


# -- packets


def skipping(seed, n_hidden):
    """in -> a -> b -> out with in -> b and a -> out."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 5, "a": n_hidden, "b": 6, "out": 3}
    net = es.Network()
    net.add_input("in", 5)
    for name in ("a", "b", "out"):
        net.add_population(name, sizes[name], LIF)
    for pre, post in (("in", "a"), ("a", "b"), ("in", "b"), ("b", "out"), ("a", "out")):
        scale = 6 / np.sqrt(sizes[pre])
        net.connect(pre, post, rng.normal(scale, scale, (sizes[post], sizes[pre])))
    return net


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 6))
def test_packets_are_those_that_programs_send(seed, n_hidden, parts_a, parts_out, copies):
    """Totals against the packet-by-packet run, steps against a listening core, sums against a split layer."""
    net = skipping(seed, n_hidden)
    inputs, loss = work(8, 5, 3, seed)
    chip = chip_of(net, parts={"a": parts_a, "out": parts_out}, copies=copies)
    batch = chip.run(chip.initial, inputs, loss)
    traffic = chip.traffic(batch)
    record = chip.core.run_packet_by_packet(es.Problem(net, inputs, T_END, loss))
    assert traffic.sent[Kind.SPIKE] == record.counters["spike_packets"]
    assert traffic.sent[Kind.ERROR] == record.counters["error_packets"]
    delivered = {
        name: int((np.rint(trains.times / 1e-3) < 26).sum()) for name, trains in record.spikes.items()
    }
    assert traffic.sent[Kind.SUM] == (parts_a - 1) * delivered["in"] + (parts_out - 1) * (
        delivered["b"] + delivered["a"]
    )
    n_weights = sum(p.weight.size for p in net.projections.values())
    assert traffic.sent[Kind.GRADIENT] == 8 * n_weights
    assert traffic.sent[Kind.WEIGHT] == n_weights
    assert traffic.sent_bytes[Kind.SPIKE] == 5 * traffic.sent[Kind.SPIKE]
    assert traffic.sent_bytes[Kind.ERROR] == 9 * traffic.sent[Kind.ERROR]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(1, 3), st.integers(1, 24))
def test_keys_are_unique_and_routes_tell_them_apart(seed, n_hidden, parts, copies):
    chip = chip_of(skipping(seed, n_hidden), parts={"a": parts, "b": 2}, copies=copies if parts == 1 else 5)
    routing, keys = chip.routing, chip.routing.keys
    assert keys.bits <= KEY_BITS
    prefixes = [keys.prefix(r.kind, r.copy, r.element, r.slot) for r in routing.routes]
    assert len(set(prefixes)) == len(prefixes)
    assert all(p & ~keys.mask == 0 and p < 1 << keys.bits for p in prefixes)
    rng = np.random.default_rng(seed)
    for k in rng.integers(0, len(prefixes), 20):
        route = routing.routes[k]
        if route.kind in (Kind.GRADIENT, Kind.WEIGHT):
            continue
        step, neuron = int(rng.integers(chip.n_steps)), int(rng.integers(route.about.high - route.about.low))
        key = keys.key(route.kind, route.copy, route.element, route.slot, step, neuron)
        assert key & keys.mask == prefixes[k]
        assert keys.fields(key) == (route.kind, route.copy, route.element, route.slot, step, neuron)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9))
def test_link_loads_are_those_of_packets_walked_one_by_one(seed, parts, copies):
    """Every packet of a batch is walked over the mesh by its own rules: x first, then y, each link once."""
    net = skipping(seed, 7)
    inputs, loss = work(4, 5, 3, seed)
    chip = chip_of(net, parts={"a": parts, "b": 2}, copies=copies)
    batch = chip.run(chip.initial, inputs, loss)
    traffic, copy = chip.traffic(batch), chip.layout.copy
    spikes = {**batch.inputs, **batch.outcome.spikes}
    owner = {e.program: [k for k, f in enumerate(copy) if f.program == e.program] for e in copy}
    loads = {}

    def walk(phase, step, source, targets):
        crossed = set()
        x0, y0 = (source // 4) % 8, (source // 4) // 8
        for target in targets:
            x1, y1 = (target // 4) % 8, (target // 4) // 8
            xs = list(range(x0, x1 + 1)) if x1 >= x0 else list(range(x0, x1 - 1, -1))
            ys = list(range(y0, y1 + 1)) if y1 >= y0 else list(range(y0, y1 - 1, -1))
            crossed |= {((a, y0), (b, y0)) for a, b in pairwise(xs)}
            crossed |= {((x1, a), (x1, b)) for a, b in pairwise(ys)}
        for link in crossed:
            loads[phase, link, step] = loads.get((phase, link, step), 0) + 1

    def element_of(name, neuron):
        return next(k for k in owner[name] if copy[k].low <= neuron < copy[k].high)

    consumers = {name: [p.post for p in net.projections.values() if p.pre == name] for name in spikes}
    for name, (steps, neurons, samples) in spikes.items():
        for step, neuron, sample in zip(steps.tolist(), neurons.tolist(), samples.tolist(), strict=True):
            base = sample % copies * len(copy)
            source = base + element_of(name, neuron)
            targets = [base + k for post in consumers[name] for k in owner[post]]
            if name == "out":
                targets.append(base + len(copy) - 1)
            walk("forward", step, source, targets)
            if step == chip.n_steps - 1:
                continue
            for post in consumers[name]:
                chain = [base + k for k in owner[post]]
                for a, b in pairwise(chain):
                    walk("backward", step, a, [b])
                walk("backward", step, chain[-1], [source])
            earlier = (neurons == neuron) & (samples == sample) & (steps < step)
            if name == "out" and not earlier.any():
                walk("backward", step, base + len(copy) - 1, [source])
    counted = {}
    for phase, counts in (("forward", traffic.forward), ("backward", traffic.backward)):
        for k, step in np.argwhere(counts):
            counted[phase, traffic.links[k], int(step)] = int(counts[k, step])
    assert counted == loads


def test_costs_by_hand():
    """2-2-1: input spikes at 0 and 3 ms, one of them in two samples; hidden neuron 0 spikes once, and so does out."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 2, LIF)
    net.add_population("out", 1, LIF)
    net.connect("in", "hidden", [[8.0, 0.0], [0.0, 0.0]])
    net.connect("hidden", "out", [[9.0, 0.0]])
    chip = chip_of(net)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [3e-3]], [[], [26e-3]]])}
    batch = chip.run(chip.initial, inputs, TTFS(np.array([0, 0])))
    spikes = batch.outcome.spikes
    assert (spikes["hidden"].steps.size, spikes["out"].steps.size) == (1, 1)
    cost = chip.cost(batch)
    hidden, out = cost.layers
    assert (hidden.arriving, hidden.spikes) == (1.0, 0.5)  # the one in the last step is never delivered
    assert (hidden.additions, hidden.error_macs, hidden.error_packets) == (4.0, 2.0, 1.0)
    assert (out.arriving, out.additions, out.error_macs) == (0.5, 1.0, 0.5)
    assert hidden.neuron_macs == 6 * 2 * 26
    assert hidden.dense_error_packets == 2 * 26
    assert (hidden.dense_error_macs, hidden.dense_error_bytes) == (2 * 2 * 26, 2 * 26 * 9)
    assert (cost.spike_packets, cost.loss_packets, cost.exponentials) == (2.5, 0.5, 2.0)
    assert chip.cost(batch, early=False).exponentials == 1.0
    assert cost.spike_bytes == 2.5 * (1 + KEY_BYTES)
    assert cost.bytes == 2.5 * 5 + 0.5 * 9 + 1.5 * 9
    assert cost.macs == 6 * 3 * 26 + 1.0 + 2.5
    assert cost.dense_macs - cost.macs == 2 * 2 * 26 + 2 * 26 - 2.5


# -- the command


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["chip", *map(str, arguments)])


def test_the_command_prints_what_the_json_holds():
    arguments = ("--sizes", "5,16,3", "--samples", 8, "--part", "hidden=2")
    text, document = invoke(*arguments), json.loads(invoke(*arguments, "--json").stdout)
    assert text.exit_code == 0, text.output
    assert [e["name"] for e in document["copy"]] == [
        "in[0:5]",
        "hidden[0:8]",
        "hidden[8:16]",
        "out[0:3]",
        "(loss)[0:3]",
    ]
    for element in document["copy"]:
        assert element["name"] in text.stdout
        assert str(element["bytes"]) in text.stdout
        assert sum(element["buffers"].values()) == element["bytes"]
    assert f"{document['elements']} of 148" in text.stdout
    assert f"keys of {document['key']['bits']} bits" in text.stdout
    assert document["packets"]["error"] < document["cost"]["layers"][1]["dense_error_packets"] * 8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--sizes", "5,3000,3"), 1, "it fits on"),
        (("--copies", 99), 1, "99 copies"),
        (("--sizes", "5"), 2, "--sizes"),
        (("--sizes", "5,x"), 2, "--sizes"),
        (("--dt", "6ms"), 2, "time_step < tau_syn"),
        (("--dt", "soon"), 2, "not a duration"),
        (("--format", "q8"), 2, "format must be"),
        (("--format", "s1.6"), 2, "the range of s1.6"),
        (("--optimizer", "lion"), 2, "--optimizer"),
        (("--optimizer-format", "int"), 2, "not a fixed-point format"),
        (("--part", "hidden"), 2, "--part"),
        (("--part", "nowhere=2"), 2, "parts must be of"),
    ],
)
def test_the_command_refuses_by_name(arguments, code, message):
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    text = " ".join(result.stderr.replace("│", " ").split())
    assert message in text
