"""The cost of guesses, which is counted and never timed, so that a verdict is the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import eventsolve as es
from eventsolve.testing import plain_adjoint
from validation.diagnosis.evidence import Evidence

CALL = 2e-3
"""Cost of a run before its first step, in seconds of a usual machine, as are the costs below."""
STEP = 1.5e-9
"""Cost of a step of a neuron, forward."""
EVENT = 1e-9
"""Cost of a packet at a synapse, on a clock."""
BACK = 4
"""Cost of a run backward, which repeats the run forward, in runs forward."""
SOLVED = 2e-7
"""Cost of a packet at a synapse of the exact solver, forward."""
PLAIN = 1e-5
"""Cost of a step of the adjoint event by event."""


@dataclass
class Work:
    """What guesses may still cost.

    Attributes
    ----------
    left : float
        Seconds of a usual machine.
    untried, tried : int
        How many guesses there was no work left for, and how many were tried.
    """

    left: float
    untried: int = 0
    tried: int = 0

    def allows(self, cost: float, guesses: int = 1) -> bool:
        """Subtract a cost and return True if enough is left; else count the guesses as untried and return False."""
        if cost > self.left:
            self.left, self.untried = 0.0, self.untried + guesses
            return False
        self.left -= cost
        self.tried += guesses
        return True


def cost(evidence: Evidence, *, back: bool = False) -> float:
    """Return the cost of running the problem of some evidence once, forward only, or forward and ``back``."""
    problem = evidence.problem
    packets = _packets(evidence)
    if not evidence.clocked:
        forward = CALL + SOLVED * packets
        return forward + (PLAIN * plain_adjoint.work(problem.solution) if back else 0.0)
    neurons = sum(p.size for p in problem.network.populations.values() if p.neuron is not None)
    forward = CALL + problem.n_samples * evidence.n_steps * neurons * STEP + packets * EVENT
    return forward * BACK if back else forward


def _packets(evidence: Evidence) -> float:
    """Return about how many packets arrive at synapses, estimated from the recorded and given spikes."""
    problem: es.Problem = evidence.problem
    spikes = {name: trains.n_spikes for name, trains in problem.inputs.items()}
    spikes |= {name: len(rows) for name, rows in evidence.spikes.items()}
    return sum(
        spikes.get(p.pre, 0) * p.weights.size / max(1, problem.network.population(p.pre).size)
        for p in problem.network.projections.values()
    )
