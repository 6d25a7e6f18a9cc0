"""Numbers beside numbers, with a count of how many of the comparisons could have failed."""

import numpy as np


class Comparison:
    """Holds numbers to tolerances, and knows for how many of them a 0 would not have passed.

    A gradient of 1e-8 that may be off by 1e-6 is compared with nothing, as a 0 passes. ``demand``, to be asked
    at the end, fails where too many comparisons are not informative.
    """

    def __init__(self):
        self.compared = self.informative = 0

    def close(self, found, expected, tolerance, what=""):
        """Assert that numbers are within their tolerances of what is expected."""
        found, expected, tolerance = np.broadcast_arrays(found, expected, tolerance)
        off = abs(found - expected)
        wrong = ~np.asarray(off <= tolerance, dtype=bool)  # also nan
        first = {"found": found, "expected": expected, "tolerance": tolerance}
        assert not wrong.any(), (what, {name: column[wrong][0] for name, column in first.items()})
        self.compared += found.size
        self.informative += int(np.sum(np.asarray(abs(expected) > tolerance, dtype=bool)))

    def demand(self, share):
        """Assert that at least this share of all numbers compared was informative."""
        assert self.compared, "nothing was compared"
        assert self.informative >= share * self.compared, (
            f"only {self.informative} of {self.compared} comparisons could have failed, less than {share}"
        )
