"""What is known of a test whose problems fail: Hypothesis shows it hundreds of them, the smaller the less they say.

The first that fails is diagnosed at once, before it is shrunk, and so are a few more; what is raised for any of them
says what explains those. After some more problems no new one may fail, so that shrinking ends with what it has.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from types import FrameType
from weakref import WeakKeyDictionary

import numpy as np

from eventsolve.network import parameters_of
from eventsolve.problem import Problem
from eventsolve.testing.mismatch import Joint, Named, told

LOG = logging.getLogger("eventsolve.testing")
DIAGNOSED = 3
"""Failing problems of a test that are diagnosed."""
SHRINKING = 60
"""Problems that a test is shown after the first that fails; later ones must be known to fail, or are passed over."""


@dataclass
class Failing:
    """What is known of one test.

    Attributes
    ----------
    diagnoses : list of Named
        Of the first problems that failed.
    known : set of str
        Digests of all problems that failed.
    shown : int
        Problems since the first that failed.
    """

    diagnoses: list[Named] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    shown: int = 0

    def passes_over(self, problem: Problem) -> bool:
        """Count a problem that is shown, and say whether it is not to be looked at any more."""
        if not self.known:
            return False
        self.shown += 1
        return self.shown > SHRINKING and digest(problem) not in self.known

    def named(self, problem: Problem, diagnose: Callable[[], Named | None]) -> Named | None:
        """Return what explains this and other problems that failed."""
        one = digest(problem)
        if one not in self.known and len(self.diagnoses) < DIAGNOSED:
            found = diagnose()
            if found is not None:
                self.diagnoses.append(found)
                if len(self.diagnoses) == 1:
                    first = told(found)
                    LOG.warning("the first problem that fails %s; %s", first[0], "; ".join(first[1:]))
        self.known.add(one)
        return joint(self.diagnoses)


_RUNS: MutableMapping[object, dict[object, Failing]] = WeakKeyDictionary()
"""By the run of a test, and by the code of the implementation."""
_RUN = "StateForActualGivenExecution"
"""The class of what Hypothesis runs a test by, once from the first example to the last."""


def of(implementation: object) -> Failing | None:
    """Return what is known in the present run of a test, if it is one of Hypothesis's.

    What it tests is told by its code: a function that is made for each example is still the same. Another run of the
    test knows nothing, nor does another test: in a notebook or a loop either may test something that was mended.
    """
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is None or not hypothesis.currently_in_test_context():
        return None
    run = _run()
    if run is None:
        return None
    return _RUNS.setdefault(run, {}).setdefault(
        getattr(implementation, "__code__", type(implementation)), Failing()
    )


def _run() -> object | None:
    """Return what Hypothesis runs the present test by, which only the stack says; None if it is not found."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "hypothesis.core":
            owner: object = frame.f_locals.get("self")
            if type(owner).__name__ == _RUN:
                return owner
        frame = frame.f_back
    return None


def joint(diagnoses: list[Named]) -> Named | None:
    """Return what explains most of several problems; names that differ in what follows a colon are the same."""
    if len(diagnoses) < 2:
        return diagnoses[0] if diagnoses else None
    named = [d for d in diagnoses if d.verdict in ("convention", "fault")] or diagnoses
    names = dict.fromkeys(name for d in named for name in (d.name, *d.rivals))
    having = {name: [d for d in named if _stem(name) in map(_stem, (d.name, *d.rivals))] for name in names}
    most = max(map(len, having.values()))
    best = list({_stem(name): name for name in reversed(names) if len(having[name]) == most}.values())[::-1]
    share = float(sum(d.explains for d in having[best[0]])) / len(diagnoses)
    return Joint(having[best[0]][0].verdict, best[0], tuple(best[1:3]), share, most, len(diagnoses))


def _stem(name: str) -> str:
    return name.partition(":")[0]


def digest(problem: Problem) -> str:
    """Return a digest of what a problem is made of."""
    found = hashlib.sha256(repr((problem.t_end, problem.loss)).encode())
    for p in problem.network.populations.values():
        found.update(f"{p.name} {p.size} {type(p.neuron).__name__}".encode())
        for name in () if p.neuron is None else parameters_of(p.neuron):
            found.update(np.ascontiguousarray(p.parameter(name)).tobytes())
    for key, q in problem.network.projections.items():
        found.update(repr((key, q.synapse)).encode())
        for values in (q.row_offsets, q.sources, q.weights, q.delay):
            found.update(np.ascontiguousarray(values).tobytes())
    for name, trains in problem.inputs.items():
        found.update(f"{name} {trains.n_samples}".encode())
        for values in (trains.samples, trains.neurons, trains.times):
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
