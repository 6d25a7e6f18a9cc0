"""Hypothesis strategies for networks, inputs, losses and whole problems; needs the extra ``testing``.

What they draw shrinks to one neuron, one sample, one input spike, default parameters and round numbers, and prints as
the Python that makes it again. :func:`problems` also keeps away from where an exact answer says nothing about an
approximate one: no crossing is nearly a graze, no peak nearly a spike, and no spike nearly ties with an
event whose order matters.

>>> from hypothesis import given
>>> from eventsolve.testing import check_implementation, strategies
>>> @given(strategies.problems(recurrent=False, delays=False))
... def test_mine(problem):
...     check_implementation(mine, problem, spikes_atol=1e-9, rtol=1e-6)
"""

from eventsolve.testing.strategies.inputs import inputs as inputs
from eventsolve.testing.strategies.losses import LOSSES as LOSSES
from eventsolve.testing.strategies.losses import losses as losses
from eventsolve.testing.strategies.networks import RATIOS as RATIOS
from eventsolve.testing.strategies.networks import VARY as VARY
from eventsolve.testing.strategies.networks import networks as networks
from eventsolve.testing.strategies.problems import problems as problems
