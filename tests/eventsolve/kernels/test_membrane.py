"""Are the propagator's derivatives right to a few ulps for every duration and every ratio of time constants?"""

import numpy as np
import pytest
from mpmath import mp

from eventsolve.compiled import compiled
from eventsolve.kernels.membrane import propagator, propagator_derivatives

EPS = np.finfo(float).eps


@compiled
def derivatives(s, tau_mem, tau_syn):
    ea, eb, k = propagator(s, tau_mem, tau_syn)
    return propagator_derivatives(s, tau_mem, tau_syn, ea, eb, k)


def exact(s, tau_mem, tau_syn):
    """The three derivatives and the sizes of their terms: K as it stands in MODEL, differentiated, in 160 digits."""
    with mp.workdps(160):
        s, m, y = mp.mpf(s), mp.mpf(tau_mem), mp.mpf(tau_syn)
        y += 0 if y != m else m * mp.mpf(10) ** -40  # K is smooth there: this changes its 40th digit
        ea, eb, d = mp.exp(-s / m), mp.exp(-s / y), y - m
        k = y / d * (eb - ea)
        by_mem = k / d - y / d * ea * s / m**2
        by_syn = -m / d**2 * (eb - ea) + y / d * eb * s / y**2
        return (-mp.expm1(-s / m), by_mem, by_syn), (-mp.expm1(-s / m), abs(by_mem) + k / m, by_syn)


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 0.5, 1.0, 1.0 + 1e-9, 2.0, 3.7, 20.0, 1e3])
def test_derivatives_of_the_propagator_have_all_digits(ratio):
    tau_syn = 5e-3
    tau_mem = ratio * tau_syn
    for s in 10.0 ** np.arange(-17, 2.0, 0.5) * tau_mem:
        got = derivatives(s, tau_mem, tau_syn)
        wanted, sizes = exact(s, tau_mem, tau_syn)
        # a dozen roundings, of which a subtraction of the two exponentials multiplies some by up to 4.1 squared,
        # and that of an argument moves an exponential by as many as there are time constants in it
        allowed = 16 * 4.1**2 * EPS * (1.0 + s / tau_mem + s / tau_syn)
        for a, b, size in zip(got, wanted, sizes, strict=True):
            assert abs(a - b) <= allowed * size + 1e-300


def test_a_time_that_is_nothing_to_the_membrane_changes_nothing_by_its_parameters():
    """Also where it is one to the synapse, and a quotient by it would be 0/0."""
    assert derivatives(0.0, 5e-3, 20e-3) == (0.0, 0.0, 0.0)
    assert derivatives(1e-20, 1e308, 1e-20) == (0.0, 0.0, 0.0)
