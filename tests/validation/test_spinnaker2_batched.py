"""Does the batched run give the bits and the counters of the run packet by packet, whatever the numbers are?"""

import re
from dataclasses import replace

import numpy as np
import pytest
from cores import ROUNDINGS, TTFS, arithmetics, assert_same, random_problem
from hypothesis import example, given, settings
from hypothesis import strategies as st

import eventsolve as es
from validation.fixedpoint import S8_7, U0_32, ArithmeticUnit, FixedFormat
from validation.grid.kernels import words
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core, batched
from validation.spinnaker2.operands import divisor, factor, fixed


@settings(max_examples=40, deadline=None)
@given(
    arithmetics,
    st.integers(0, 2**32 - 1),
    st.integers(0, 5),
    st.integers(1, 30),
    st.sampled_from(["euler", "exponential"]),
    st.sampled_from(["t_end", "skip"]),
)
@example(replace(Arithmetic.preset("s16.15"), weight=FixedFormat(0, 40)), 1, 3, 27, "euler", "t_end")
@example(replace(Arithmetic.preset("s16.15"), state=FixedFormat(1, 3)), 2, 3, 27, "euler", "skip")
@example(replace(Arithmetic.preset("s16.15"), rounding="stochastic"), 3, 3, 27, "euler", "skip")
def test_batched_and_packet_by_packet_agree_bit_for_bit(arithmetic, seed, n_samples, n_steps, decay, silent):
    problem = random_problem(seed, n_samples, n_steps, silent)
    core = SpiNNaker2Core(1e-3, arithmetic, decay=decay)
    assert_same(core.run(es.Problem(*problem)), core.run_packet_by_packet(es.Problem(*problem)))


def test_what_fixed_point_cannot_hold_is_refused_by_both():
    """The slope of a loss that grows faster than float64 goes is infinite."""
    net = es.Network()
    net.add_input("in", 1)
    neuron = es.LIF(tau_mem=20e-3, tau_syn=5e-3)
    net.add_population("hidden", 1, neuron)
    net.add_population("out", 2, neuron)
    net.connect("in", "hidden", [[20.0]])
    net.connect("hidden", "out", [[20.0], [20.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    core = SpiNNaker2Core(1e-3, replace(Arithmetic.preset("float64"), adjoint=FixedFormat(30, 10)))
    problem = net, inputs, 20e-3, TTFS(np.array([0]), tau1=1e-6)
    with np.errstate(over="ignore", invalid="ignore"):
        for run in (core.run_packet_by_packet, core.run):
            with pytest.raises(ValueError, match="must be finite to be held in s30"):
                run(es.Problem(*problem))


@pytest.mark.parametrize("preset", Arithmetic.presets)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_presets_agree_at_the_published_size(preset, rounding):
    rng = np.random.default_rng(0)
    net = es.Network()
    net.add_input("in", 5)
    neuron = es.LIF(tau_mem=20e-3, tau_syn=5e-3)
    net.add_population("hidden", 120, neuron)
    net.add_population("out", 3, neuron)
    net.connect("in", "hidden", rng.normal(1.431, 1.431, (120, 5)))
    net.connect("hidden", "out", rng.normal(0.475, 0.256, (3, 120)))
    inputs = {"in": es.SpikeTrains.from_dense(rng.integers(0, 27, (5, 5)) * 1e-3)}
    core = SpiNNaker2Core(1e-3, replace(Arithmetic.preset(preset), rounding=rounding))
    problem = net, inputs, 27e-3, TTFS(rng.integers(0, 3, 5))
    assert_same(core.run(es.Problem(*problem)), core.run_packet_by_packet(es.Problem(*problem)))


@pytest.mark.parametrize("rounding", ["half_up", "stochastic"])
def test_bits_do_not_depend_on_threads(rounding):
    core = SpiNNaker2Core(1e-3, replace(Arithmetic.preset("s16.15"), rounding=rounding))
    net, inputs, _, loss = random_problem(7, 150, 27)
    loaded = core.image(net), core.on_grid(inputs), core.loss_settings(loss, net, 150), 27
    one, many = (batched.run(*loaded, threads=threads) for threads in (1, 7))
    for a, b in zip(one.gradients, many.gradients, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    for name in one.errors:
        np.testing.assert_array_equal(one.errors[name], many.errors[name])
    first = batched.first_spikes(*loaded[:2], "out", 150, 27)
    spikes = one.spikes["out"]
    want = np.full((150, 3), 27)
    np.minimum.at(want, (spikes.samples, spikes.neurons), spikes.steps)
    np.testing.assert_array_equal(first, want)


@pytest.mark.parametrize("rounding", ["half_up", "nearest_even", "down"])
@pytest.mark.parametrize("preset", Arithmetic.presets)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 8), max_size=3, unique=True))
def test_a_layer_on_several_elements_gives_the_bits_of_one(preset, rounding, seed, cuts):
    net, inputs, t_end, loss = random_problem(seed, 3, 20)
    core = SpiNNaker2Core(1e-3, replace(Arithmetic.preset(preset), rounding=rounding))
    parts = {}
    for name in ("a", "out"):
        size = net.population(name).size
        edges = sorted({0, size, *(c for c in cuts if c < size)})
        parts[name] = np.diff(edges).tolist()
    split = core.run_packet_by_packet(es.Problem(net, inputs, t_end, loss), parts)
    assert_same(split, core.run(es.Problem(net, inputs, t_end, loss)))


def test_a_split_layer_saturates_as_one_element_does():
    """Sums travel unsaturated: partial ones that leave the format and come back are no overflow."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 4, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", [[60.0], [60.0], [60.0], [60.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 2e-3, 4e-3]]])}
    narrow = replace(Arithmetic.preset("s16.15"), adjoint=FixedFormat(4, 15))
    core = SpiNNaker2Core(1e-3, narrow, error_scale=64.0)
    problem = net, inputs, 20e-3, TTFS(np.array([1]))
    whole = core.run(es.Problem(*problem))
    assert whole.counters["saturations"] > 0
    for parts in ([1, 1, 1, 1], [1, 3], [2, 2]):
        assert_same(core.run_packet_by_packet(es.Problem(*problem), {"out": parts}), whole)


def test_layers_are_not_split_under_stochastic_rounding():
    core = SpiNNaker2Core(1e-3, replace(Arithmetic.preset("s16.15"), rounding="stochastic"))
    net, inputs, t_end, loss = random_problem(0, 1, 10)
    with pytest.raises(ValueError, match=re.escape("one element per layer; parts are given for ['out']")):
        core.run_packet_by_packet(es.Problem(net, inputs, t_end, loss), {"out": [1, 2]})


# -- one result at a time

anything = st.builds(FixedFormat, st.integers(0, 32), st.integers(1, 31), st.booleans())
anything |= st.sampled_from([FixedFormat(48, 15), FixedFormat(0, 63), FixedFormat(0, 63, False), S8_7, U0_32])


def raws(number):
    edges = [number.minimum, number.maximum, 0, 1 if number.maximum else 0, number.maximum // 2]
    return st.integers(number.minimum, number.maximum) | st.sampled_from(edges)


class OneWord:
    """A generator that gives one word."""

    def __init__(self, word):
        self.word = word

    def random_raw(self, size):
        return np.full(size, self.word, dtype=np.uint64)


def test_the_lowest_number_taken_from_0_saturates_upwards():
    number = FixedFormat(48, 15)
    a = Arithmetic.preset("s16.15")
    assert words.subtracted(0, number.minimum, fixed(number, a)) == (number.maximum, 1)


@settings(max_examples=400, deadline=None)
@given(
    st.data(),
    anything,
    anything,
    st.sampled_from(ROUNDINGS),
    st.sampled_from(["saturate", "wrap"]),
    st.integers(0, 2**64 - 1),
)
def test_words_are_the_arithmetic_unit_on_one_number(data, number, other, rounding, overflow, word):
    x, y, z = data.draw(raws(number)), data.draw(raws(other)), data.draw(raws(number))
    a = replace(Arithmetic.preset("s16.15"), rounding=rounding, overflow=overflow)
    target, drawn = fixed(number, a), np.uint64(word)

    def unit(operation, *operands):
        u = ArithmeticUnit(rounding, overflow, OneWord(word) if rounding == "stochastic" else None)
        result = getattr(u, operation)(
            *(np.array([v]) if isinstance(v, int) else v for v in operands), number
        )
        return int(result[0]), u.overflows

    assert words.added(x, z, target) == unit("add", x, number, z, number)
    assert words.subtracted(x, z, target) == unit("subtract", x, number, z, number)
    operand = factor(number, other, a)
    assert words.multiplied(x, y, 0.0, operand, target, drawn) == unit("multiply", x, number, y, other)
    if operand.plain:
        plain = (x * y + operand.bias) >> operand.shift
        assert abs(x * y + operand.bias) < 2**63
        assert words.fitted(plain, target) == unit("multiply", x, number, y, other)
    if y > 0:
        got = words.divided(x, y, 0.0, divisor(number, other), target, drawn)
        assert got == unit("divide", x, number, y, other)
    more = number.fraction_bits - other.fraction_bits
    got = words.accumulated(x, y, max(more, 0), max(-more, 0), target, drawn)
    assert got == unit("add", x, number, y, other)


@settings(max_examples=400, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-70, 70),
    anything,
    st.sampled_from(ROUNDINGS),
    st.sampled_from(["saturate", "wrap"]),
    st.integers(0, 2**64 - 1),
)
@example(-1e-98, 0, FixedFormat(23, 31, signed=False), "down", "wrap", 0)
@example(-1.3e19, 0, FixedFormat(63, 0), "down", "wrap", 0)
def test_floats_are_quantized_as_the_arithmetic_unit_does(x, power, number, rounding, overflow, word):
    value = float(np.ldexp(np.frexp(x)[0], power))
    a = replace(Arithmetic.preset("s16.15"), rounding=rounding, overflow=overflow)
    for v in (x, value):
        u = ArithmeticUnit(rounding, overflow, OneWord(word) if rounding == "stochastic" else None)
        want = int(u.quantize([v], number)[0])
        assert words.quantized(v, fixed(number, a), np.uint64(word)) == (want, u.overflows)
    assert words.quantized(np.inf, fixed(number, a), np.uint64(word))[1] == words.NOT_FINITE


def test_random_words_are_those_of_numpy():
    generator = np.random.SFC64([3, 1, 4])
    state = generator.state["state"]["state"][None].copy()
    assert [words.next_word(state, 0) for _ in range(100)] == generator.random_raw(100).tolist()
