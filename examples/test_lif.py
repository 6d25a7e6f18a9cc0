"""Ten lines that find what is wrong in ``lif.py``, and name it."""

import pytest
from hypothesis import given
from lif import STEP, run

from eventsolve.testing import check_implementation, strategies

PLAIN = {"vary": [], "ratios": [4.0, 2.0], "recurrent": False, "delays": False, "skip": False}
APART = {"min_slope": 0.5, "min_gap": 10 * STEP}


@pytest.mark.eventsolve(examples=25)
@given(strategies.problems(**PLAIN, **APART, kinds=["TargetTimeMSE"], rate=(0.5, 2), t_end=20e-3))
def test_lif(problem):
    check_implementation(run, problem, spikes_atol=10 * STEP, rtol=0.2, time_step=STEP)
