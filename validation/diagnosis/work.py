"""How much guesses may cost: counted, never timed, so that a verdict is the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import eventsolve as es
from eventsolve.testing import plain_adjoint
from validation.diagnosis.evidence import Evidence

CALL = 2e-3
"""What a run costs before its first step, in seconds of a usual machine, as all of the following."""
STEP = 1.5e-9
"""A step of a neuron, forward."""
EVENT = 1e-9
"""A packet at a synapse, on a clock."""
BACK = 4
"""A run back, which goes forward again first, in runs forward."""
SOLVED = 2e-7
"""A packet at a synapse of the exact solver, forward."""
PLAIN = 1e-5
"""A step of the adjoint event by event."""


@dataclass
class Work:
    """What guesses may still cost.

    Attributes
    ----------
    left : float
        Seconds of a usual machine.
    untried, tried : int
        Guesses for which not enough was left, and those for which there was.
    """

    left: float
    untried: int = 0
    tried: int = 0

    def allows(self, cost: float, guesses: int = 1) -> bool:
        """Take a cost off what is left and return True, or count what it is for as untried."""
        if cost > self.left:
            self.left, self.untried = 0.0, self.untried + guesses
            return False
        self.left -= cost
        self.tried += guesses
        return True


def cost(evidence: Evidence, *, back: bool = False) -> float:
    """Return what running the problem of some evidence once costs, forward alone or forward and ``back``."""
    problem = evidence.problem
    packets = _packets(evidence)
    if not evidence.clocked:
        forward = CALL + SOLVED * packets
        return forward + (PLAIN * plain_adjoint.work(problem.solution) if back else 0.0)
    neurons = sum(p.size for p in problem.network.populations.values() if p.neuron is not None)
    forward = CALL + problem.n_samples * evidence.n_steps * neurons * STEP + packets * EVENT
    return forward * BACK if back else forward


def _packets(evidence: Evidence) -> float:
    """Return how many packets arrive at synapses, about, by the spikes that are recorded or given."""
    problem: es.Problem = evidence.problem
    spikes = {name: trains.n_spikes for name, trains in problem.inputs.items()}
    spikes |= {name: len(rows) for name, rows in evidence.spikes.items()}
    return sum(
        spikes.get(p.pre, 0) * p.weights.size / max(1, problem.network.population(p.pre).size)
        for p in problem.network.projections.values()
    )
