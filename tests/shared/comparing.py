"""Numbers beside numbers, with a count of how many of the comparisons could have failed."""

import numpy as np


class Comparison:
    """Holds numbers to tolerances, and knows for how many of them a 0 would not have passed.

    A gradient of 1e-8 that may be off by 1e-6 is compared with nothing: whatever it is, the test passes. Such a comparison
    is not informative. ``demand`` fails where too few were, and has to be asked before the comparison is dropped.
    """

    def __init__(self):
        self.compared = self.informative = 0

    def close(self, found, expected, tolerance, what=""):
        """Assert that numbers are within their tolerances of what is expected."""
        found, expected, tolerance = np.broadcast_arrays(found, expected, tolerance)
        off = abs(found - expected)
        wrong = ~np.asarray(off <= tolerance, dtype=bool)  # also nan
        assert not wrong.any(), (
            f"{what}: {found[wrong][0]!r} is not {expected[wrong][0]!r}, by {off[wrong][0]!r} of {tolerance[wrong][0]!r}"
        )
        self.compared += off.size
        self.informative += int(np.sum(np.asarray(abs(expected) > tolerance, dtype=bool)))

    def demand(self, share):
        """Assert that at least this share of all numbers compared was informative."""
        assert self.compared, "nothing was compared"
        assert self.informative >= share * self.compared, (
            f"only {self.informative} of {self.compared} comparisons could have failed, less than {share}"
        )
