"""For the test suites of those who have an implementation of their own.

- :func:`check_implementation` runs one on a :class:`Problem` and compares spikes, loss and gradients;
- :func:`assert_spikes_match` and :func:`assert_gradients_match` compare results that are there already;
- ``eventsolve.testing.strategies`` draws networks, inputs, losses and whole problems with Hypothesis (extra
  ``testing``).

An implementation raises :class:`Unsupported` for a problem that it does not claim to solve.

What does not match is a :class:`Mismatch`: it names the first place where the two part, and what it looks like.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from eventsolve.compare.divergence import Divergence as Divergence
from eventsolve.problem import Problem as Problem
from eventsolve.problem import network_of as network_of
from eventsolve.testing.assertions import Unsupported as Unsupported
from eventsolve.testing.assertions import assert_gradients_match as assert_gradients_match
from eventsolve.testing.assertions import assert_spikes_match as assert_spikes_match
from eventsolve.testing.assertions import check_implementation as check_implementation
from eventsolve.testing.mismatch import Mismatch as Mismatch

if _TYPE_CHECKING:
    from eventsolve.testing import strategies as strategies
else:
    from eventsolve.lazily import attached as _attached

    __getattr__, __dir__ = _attached(__name__, "strategies")
