"""Balls beside numbers of other libraries."""

from fractions import Fraction

from flint import arb
from mpmath.ctx_mp import MPContext

from eventsolve.certify.arithmetic import working_precision

WIDE = MPContext()
WIDE.dps = 450


def exactly(x):
    """An exact ball as an mpf."""
    mantissa, exponent = x.man_exp()
    return WIDE.ldexp(int(mantissa), int(exponent))


def rational(x):
    """An exact ball, or a float64 number, as a fraction."""
    if isinstance(x, float):
        return Fraction(x)
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def ends(ball):
    """Both ends of a ball as fractions."""
    return rational(ball.mid()) - rational(ball.rad()), rational(ball.mid()) + rational(ball.rad())


def holds(ball, number):
    """Whether a ball holds an mpf."""
    return abs(exactly(ball.mid()) - WIDE.mpf(number)) <= exactly(ball.rad())


def radius(ball):
    return exactly(ball.rad())


def parsed(text):
    """A decimal ball of a certificate."""
    with working_precision(400):
        return arb(text)


def response(s, tau_mem, tau_syn):
    """K(s) as it stands: 450 digits pay for the cancellation, down to the smallest float64."""
    if tau_mem == tau_syn:
        return s / tau_mem * WIDE.exp(-s / tau_mem)
    return tau_syn / (tau_syn - tau_mem) * (WIDE.exp(-s / tau_syn) - WIDE.exp(-s / tau_mem))
