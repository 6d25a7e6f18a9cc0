"""Balls beside numbers of other libraries."""

from flint import arb
from mpmath.ctx_mp import MPContext

from eventsolve.certify.balls import working_precision

WIDE = MPContext()
WIDE.dps = 450


def exactly(x):
    """An exact ball as an mpf."""
    mantissa, exponent = x.man_exp()
    return WIDE.ldexp(int(mantissa), int(exponent))


def holds(ball, number):
    """Whether a ball holds an mpf."""
    return abs(exactly(ball.mid()) - WIDE.mpf(number)) <= exactly(ball.rad())


def radius(ball):
    return exactly(ball.rad())


def parsed(text):
    """A decimal ball of a certificate."""
    with working_precision(400):
        return arb(text)
