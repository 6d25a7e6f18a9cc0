"""exp and log in plain arithmetic against mpmath; crossings sought together against crossings sought alone."""

import math
import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from eventsolve.compiled import compiled
from eventsolve.kernels.crossing import crossing_time, crossing_times
from eventsolve.kernels.elementary import UNDERFLOW, decay, log1p


@compiled
def decays(a):
    """Return exp(-a), vectorised."""
    result = np.empty(a.size)
    for k in range(a.size):
        result[k] = decay(a[k])
    return result


@compiled
def logs(x):
    """Return log(1 + x), vectorised."""
    result = np.empty(x.size)
    for k in range(x.size):
        result[k] = log1p(x[k])
    return result


def arguments():
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.uniform(-20, 0, 500)
    a = np.concatenate(
        [rng.uniform(0, 1, 500), rng.uniform(0, UNDERFLOW, 500), spread, 40 * spread, [UNDERFLOW]]
    )
    edge = 2.0**-0.5 + np.arange(-5, 6) * 2.0**-53 - 1.0
    huge = 10.0 ** rng.uniform(0, 300, 500)
    x = np.concatenate([rng.uniform(-1, 3, 500), spread, -spread[spread < 1], huge, spread - 1.0, edge])
    return a, x[x > -1.0]


def test_both_are_right_to_one_ulp():
    a, x = arguments()
    with mpmath.workprec(120):
        for values, results, function in (
            (a, decays(a), lambda y: mpmath.exp(-y)),
            (x, logs(x), mpmath.log1p),
        ):
            for value, result in zip(values.tolist(), results.tolist(), strict=True):
                assert abs(function(mpmath.mpf(value)) - result) <= np.spacing(abs(result)), value


def test_ends_of_the_range():
    np.testing.assert_array_equal(
        decays(np.array([0.0, 1e-320, UNDERFLOW + 1, 1e300, math.inf])), [1, 1, 0, 0, 0]
    )
    assert decays(np.array([UNDERFLOW]))[0] > sys.float_info.min
    np.testing.assert_array_equal(logs(np.array([0.0, 5e-324])), [0.0, 5e-324])


def test_plain_python_has_the_same_bits():
    program = (
        "from test_elementary import arguments, decays, logs\n"
        "a, x = arguments()\n"
        "print((decays(a[::5]).tobytes() + logs(x[::5]).tobytes()).hex())\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=os.path.dirname(__file__),
            env={**os.environ, "NUMBA_DISABLE_JIT": disable, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disable in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 1000


@pytest.mark.parametrize("tau_mem", [20e-3, 5e-3, 5.001e-3, 1e-3])
@pytest.mark.parametrize("n", [1, 7, 200])
def test_crossings_sought_together_are_those_sought_alone_bit_for_bit(tau_mem, n):
    rng = np.random.default_rng(n)
    c = rng.choice([1.0, 0.3, -0.2], n)
    states = np.stack([c - rng.exponential(0.5, n), rng.normal(1.0, 2.0, n), c])
    states[0, : n // 20] = c[: n // 20]
    times, grazing = np.empty(n), np.empty(n, np.bool_)
    crossing_times(
        n,
        states,
        tau_mem,
        5e-3,
        times,
        grazing,
        np.empty((6, n)),
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
    )
    alone = [crossing_time(*state, tau_mem, 5e-3) for state in states.T]
    np.testing.assert_array_equal(times, [s for s, _ in alone])
    np.testing.assert_array_equal(grazing, [graze for _, graze in alone])
