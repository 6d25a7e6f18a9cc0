"""exp and log in plain arithmetic, without branches and tables: loops over them are vectorised (compiled).

A call to the C library's costs as much as ten multiplications, and keeps a loop from taking several neurons in one
step. These have the same bits in a vector, alone, and in plain Python, on every machine with IEEE arithmetic.
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import embedded

ROUND = 1.5 * 2.0**52
"""Added and subtracted, it rounds to an integer, which meanwhile stands in the last bits of the sum."""
ROUND_BITS = 0x4338000000000000
"""Its bits."""
LN2_HIGH = 0.6931471803691238
"""ln 2 in 32 bits, so that its products with small integers are exact, and what is left of it."""
LN2_LOW = 1.9082149292705877e-10
LOG2_E = 1.4426950408889634
UNDERFLOW = 708.0
"""exp(-a) is below the normal numbers soon above."""
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1/2)."""


@embedded
def decay(a):
    """Return exp(-a) for a >= 0, to one ulp, and 0 above UNDERFLOW.

    exp(-a) = 2^k exp(r) with |r| <= ln 2 / 2, and exp(r) = 1 + r + r^2 q(r), q the minimax polynomial of degree 9
    (error 1.3e-17). 2^k is made by writing its exponent.
    """
    x = -(a if a < UNDERFLOW else UNDERFLOW)
    shifted = x * LOG2_E + ROUND
    k = shifted - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    q0 = 0.5000000000000001 + r * 0.16666666666666674
    q2 = 0.04166666666662382 + r * 0.008333333333322129
    q4 = 0.001388888891736876 + r * 0.00019841269886831662
    q6 = 2.480152105564744e-05 + r * 2.755724206490074e-06
    q8 = 2.762020251071917e-07 + r * 2.511015219240185e-08
    q = (q0 + r2 * q2) + r4 * ((q4 + r2 * q6) + r4 * q8)
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    y = (1.0 + (r + r2 * q)) * power
    return y if a <= UNDERFLOW else 0.0


@embedded
def log1p(x):
    """Return log(1 + x) for x > -1, to one ulp."""
    y = 1.0 + x
    return log_of_sum(y, 1.0 - (y - x) if x >= 1.0 else x - (y - 1.0))


@embedded
def log_of_sum(y, lost):
    """Return log(y + lost), to one ulp, for a normal y and what rounding has taken from it.

    y = 2^k m with m in [sqrt(1/2), sqrt(2)). With f = m - 1 and s = f / (2 + f), log m = 2 artanh s = f - s (f - p)
    with p/s^2 the minimax polynomial of degree 6 in s^2 (error 1e-17). What was lost is given back as its quotient by
    y, to a few digits.
    """
    bits = np.float64(y).view(np.int64)
    exponent = (bits - SQRT_HALF_BITS) >> 52
    f = np.int64(bits - (exponent << 52)).view(np.float64) - 1.0
    k = np.int64(exponent + ROUND_BITS).view(np.float64) - ROUND
    given_back = lost * (1.0 - f + f * f) * np.int64((1023 - exponent) << 52).view(np.float64)
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    p0 = 0.666666666666667 + z * 0.39999999999897884
    p2 = 0.2857142862665214 + z * 0.22222211031676706
    p4 = 0.18182896210630037 + z * 0.15331497716548545
    p = z * ((p0 + z2 * p2) + z2 * z2 * (p4 + z2 * 0.14619097141730655))
    return k * LN2_HIGH + (f - (s * (f - p) - (k * LN2_LOW + given_back)))
