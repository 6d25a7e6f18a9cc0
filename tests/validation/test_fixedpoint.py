"""Is fixed-point arithmetic exact? Against Python's integers and fractions, and against APyTypes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from apytypes import APyFixedArray, OverflowMode, QuantizationMode
from fxpmath import Fxp
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.fixedpoint import S0_31, S8_7, S16_15, U0_32, ArithmeticUnit, FixedFormat, to_float

S47_15 = FixedFormat(47, 15)
S48_15 = FixedFormat(48, 15)
FORMATS = (S16_15, S0_31, U0_32, S8_7, S48_15, FixedFormat(3, 0), FixedFormat(0, 1, signed=False))
DETERMINISTIC = ("down", "to_zero", "half_up", "nearest_even")
APY_ROUNDING = {
    "down": QuantizationMode.TO_NEG,
    "to_zero": QuantizationMode.TO_ZERO,
    "half_up": QuantizationMode.TIES_POS,
    "nearest_even": QuantizationMode.TIES_EVEN,
}
APY_OVERFLOW = {"saturate": OverflowMode.SAT, "wrap": OverflowMode.WRAP}

formats = st.sampled_from(FORMATS)
roundings = st.sampled_from(DETERMINISTIC)
overflows = st.sampled_from(("saturate", "wrap"))


def raws(number):
    extremes = st.sampled_from((number.minimum, number.maximum, 0, 1))
    return extremes | st.integers(number.minimum, number.maximum)


def rounded(x: Fraction, rounding: str) -> int:
    if rounding == "down":
        return math.floor(x)
    if rounding == "to_zero":
        return math.trunc(x)
    if rounding == "half_up":
        return math.floor(x + Fraction(1, 2))
    return round(x)


def fitted(n: int, number: FixedFormat, overflow: str) -> int:
    if overflow == "saturate":
        return min(max(n, number.minimum), number.maximum)
    modulus = 2 ** (number.value_bits + number.signed)
    n %= modulus
    return n - modulus if n > number.maximum else n


def value(raw: int, number: FixedFormat) -> Fraction:
    return Fraction(int(raw), 2**number.fraction_bits)


def expected(x: Fraction, number: FixedFormat, rounding: str, overflow: str) -> tuple[int, int]:
    n = rounded(x * 2**number.fraction_bits, rounding)
    return fitted(n, number, overflow), int(not number.minimum <= n <= number.maximum)


@settings(max_examples=600, deadline=None)
@given(st.data(), formats, formats, formats, roundings, overflows)
def test_every_operation_is_the_exact_one_rounded_once(data, fx, fy, out, rounding, overflow):
    x, y = data.draw(raws(fx)), data.draw(raws(fy))
    a, b = value(x, fx), value(y, fy)
    cases = [("add", a + b), ("subtract", a - b), ("multiply", a * b)]
    if y:
        cases.append(("divide", a / b))
    for name, exact in cases:
        unit = ArithmeticUnit(rounding, overflow)
        got = getattr(unit, name)(np.array([x]), fx, np.array([y]), fy, out)
        assert got.dtype == np.int64
        assert (int(got[0]), unit.overflows) == expected(exact, out, rounding, overflow), name
    unit = ArithmeticUnit(rounding, overflow)
    assert (int(unit.convert(np.array([x]), fx, out)[0]), unit.overflows) == expected(
        a, out, rounding, overflow
    )


@settings(max_examples=600, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), formats, roundings, overflows)
def test_every_finite_float_is_quantized_exactly(x, out, rounding, overflow):
    unit = ArithmeticUnit(rounding, overflow)
    for scaled in (x, math.ldexp(math.frexp(x)[0], 3), math.ldexp(math.frexp(x)[0], -out.fraction_bits)):
        before = unit.overflows
        got = int(unit.quantize([scaled], out)[0])
        assert (got, unit.overflows - before) == expected(Fraction(scaled), out, rounding, overflow)


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_products_and_casts_agree_with_apytypes(rounding, overflow):
    rng = np.random.default_rng(1)
    x, y = rng.integers(-(2**31), 2**31, (2, 5000))
    y[:2500] >>= 15
    u = rng.integers(0, 2**32, 5000)
    bits = {"quantization": APY_ROUNDING[rounding], "overflow": APY_OVERFLOW[overflow]}
    a = APyFixedArray(x.tolist(), int_bits=17, frac_bits=15)
    unit = ArithmeticUnit(rounding, overflow)
    for other, number, signed in ((y, S16_15, 17), (u, U0_32, 1)):
        b = APyFixedArray(other.tolist(), int_bits=signed, frac_bits=number.fraction_bits)
        want = (a * b).cast(int_bits=17, frac_bits=15, **bits)
        np.testing.assert_array_equal(unit.multiply(x, S16_15, other, number, S16_15), _signed(want))
    want = a.cast(int_bits=9, frac_bits=7, **bits)
    np.testing.assert_array_equal(unit.convert(x, S16_15, S8_7), _signed(want))
    want = (a + a).cast(int_bits=17, frac_bits=15, **bits)
    np.testing.assert_array_equal(unit.add(x, S16_15, x, S16_15, S16_15), _signed(want))


def _signed(array):
    raw = np.array(array.to_bits(), dtype=np.int64)
    return np.where(raw >= 2 ** (array.bits - 1), raw - 2**array.bits, raw)


@pytest.mark.parametrize(
    ("rounding", "theirs"), [("down", "floor"), ("to_zero", "trunc"), ("nearest_even", "around")]
)
def test_quantization_agrees_with_fxpmath(rounding, theirs):
    x = np.random.default_rng(2).normal(size=1000) * 4e4
    want = Fxp(x, signed=True, n_word=32, n_frac=15, rounding=theirs, overflow="saturate")
    np.testing.assert_array_equal(ArithmeticUnit(rounding).quantize(x, S16_15), np.asarray(want.val))


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_a_number_without_axes_is_quantized_too(overflow):
    want = {"saturate": S8_7.maximum, "wrap": 0}[overflow]
    assert ArithmeticUnit(overflow=overflow).quantize(512.0, S8_7) == want


def test_two_unsigned_fractions_multiply_beyond_64_bits():
    largest = np.array([U0_32.maximum])
    got = ArithmeticUnit("down").multiply(largest, U0_32, largest, U0_32, U0_32)
    assert got.tolist() == [(2**32 - 1) ** 2 >> 32]


@pytest.mark.parametrize("p", [0, 1, 2, 5, 7, -1, -2, -7, -8, 12345, -12345])
def test_stochastic_rounding_counts_every_draw(p):
    """With n = 3 dropped bits each of the 8 draws is seen once: exactly p mod 8 of them round up."""

    class Counting:
        def random_raw(self, size):
            return np.arange(size, dtype=np.uint64) << np.uint64(61)

    unit = ArithmeticUnit("stochastic", rng=Counting())
    got = unit.convert(np.full(8, p), FixedFormat(20, 3), FixedFormat(20, 0))
    assert sorted(set(got - (p >> 3))) == ([0, 1] if p % 8 else [0])
    assert np.count_nonzero(got > p >> 3) == p % 8


def test_stochastic_rounding_has_no_bias():
    """The mean of n draws of probability q lies within 5 standard deviations."""
    n = 40000
    unit = ArithmeticUnit("stochastic", rng=np.random.SFC64(3))
    for x, product, q in (
        (np.full(n, -3), unit.multiply(np.full(n, -3), S16_15, np.full(n, 2**30), U0_32, S16_15), 0.25),
        (np.full(n, 7), unit.divide(np.full(n, 7), S16_15, np.full(n, 3 << 15), S16_15, S16_15), 1 / 3),
        (None, unit.quantize(np.full(n, 0.75 * 2.0**-15), S16_15), 0.75),
        (
            None,
            unit.multiply(np.full(n, 3 << 30), U0_32, np.full(n, 1 << 29), U0_32, FixedFormat(0, 3)),
            0.75,
        ),
    ):
        up = product - product.min()
        assert set(np.unique(up)) == {0, 1}, x
        assert abs(up.mean() - q) < 5 * math.sqrt(q * (1 - q) / n)


def test_the_same_seed_gives_the_same_bits():
    x = np.random.default_rng(0).integers(-(2**31), 2**31, 1000)
    runs = [ArithmeticUnit("stochastic", rng=np.random.SFC64(7)).convert(x, S16_15, S8_7) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


@settings(max_examples=200, deadline=None)
@given(st.data(), formats)
def test_values_return_from_floating_point_unchanged(data, number):
    if number.value_bits > 53:
        number = S47_15 if number == S48_15 else number
    raw = data.draw(raws(number))
    if abs(raw) < 2**53:
        assert ArithmeticUnit().quantize(to_float([raw], number), number).tolist() == [raw]


def test_a_floor_shift_decay_never_leaves_minus_one_lsb():
    """A u0.32 decay without rounding, as of SpiNNaker's synapses, holds -1 LSB for ever; rounding releases it."""
    decay = ArithmeticUnit().quantize([0.5], U0_32)
    minus_one = np.array([-1])
    assert ArithmeticUnit("down").multiply(minus_one, S16_15, decay, U0_32, S16_15).tolist() == [-1]
    assert ArithmeticUnit("half_up").multiply(minus_one, S16_15, decay, U0_32, S16_15).tolist() == [0]


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (2, 0)])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_totals_of_any_shape_in_a_wide_format_are_those_of_integers(shape, overflow):
    wide = FixedFormat(63, 0)
    unit = ArithmeticUnit("half_up", overflow)
    terms = np.resize([2**62, 2**62, 7], shape).astype(np.int64)
    got = unit.total(terms, wide)
    sums = [sum(row) for row in (terms.tolist() if len(shape) > 1 else [terms.tolist()])]
    if overflow == "saturate":
        want = [min(total, wide.maximum) for total in sums]
    else:
        want = [(total + 2**63) % 2**64 - 2**63 for total in sums]
    assert got.dtype == np.int64
    assert got.reshape(-1).tolist() == want


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_one_number_of_a_wide_format_is_like_many(rounding, overflow):
    wide, fine = FixedFormat(63, 0), FixedFormat(1, 62)
    unit = ArithmeticUnit(rounding, overflow)
    operations = {
        "add": lambda x, y: unit.add(x, wide, y, wide, wide),
        "subtract": lambda x, y: unit.subtract(x, wide, y, fine, wide),
        "multiply": lambda x, y: unit.multiply(x, wide, y, fine, wide),
        "divide": lambda x, y: unit.divide(x, wide, y, fine, wide),
        "convert": lambda x, y: unit.convert(x, wide, fine),
    }
    for x, y in ((2**63 - 1, 2**63 - 1), (-(2**63), 3), (2**62 + 1, -(2**62)), (5, 7)):
        for name, operation in operations.items():
            many = operation(np.array([x]), np.array([y]))
            one = operation(np.array(x), np.array(y))
            assert (one.shape, one.dtype) == ((), np.int64), name
            assert int(one) == int(many[0]), name


def test_total_saturates_once_at_its_end():
    unit = ArithmeticUnit()
    x = np.array([[S16_15.maximum, S16_15.maximum, S16_15.minimum, S16_15.minimum]])
    assert unit.total(x, S16_15).tolist() == [-2]
    assert unit.overflows == 0
    assert unit.total(x[:, :2], S16_15).tolist() == [S16_15.maximum]
    assert unit.overflows == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_by_index(bad):
    with pytest.raises(ValueError, match=r"values\[1\] is"):
        ArithmeticUnit().quantize([0.0, bad], S16_15)


def test_other_mistakes_are_named():
    with pytest.raises(ZeroDivisionError, match="1 elements"):
        ArithmeticUnit().divide(np.array([1, 1]), S16_15, np.array([1, 0]), S16_15, S16_15)
    with pytest.raises(ValueError, match="needs rng"):
        ArithmeticUnit("stochastic")
    with pytest.raises(ValueError, match="'up'"):
        ArithmeticUnit("up")
    with pytest.raises(ValueError, match="'clip'"):
        ArithmeticUnit(overflow="clip")
    with pytest.raises(ValueError, match="64"):
        FixedFormat(49, 15 + 49)
    with pytest.raises(ValueError, match="is not a fixed-point format"):
        FixedFormat.parse("q16.15")


def test_names_are_read_and_written():
    assert FixedFormat.parse("s16.15") == S16_15
    assert [str(f) for f in (S16_15, S0_31, U0_32, S8_7)] == ["s16.15", "s0.31", "u0.32", "s8.7"]
    assert S16_15.resolution == 2.0**-15
