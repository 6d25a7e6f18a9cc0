"""In the loop: a target's own spikes, and exact gradients along them or straight through, for whatever gives spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.io.records.record import QUANTITIES
from validation.target import Target

Along = Literal["measured", "threshold", "crossing", "straight_through"]


@dataclass(frozen=True)
class InTheLoop:
    """A target that is asked for its spikes alone; gradients come from the exact adjoint.

    So anything can be trained on that spikes, a chip that gives no gradients too. A target may hold another network
    than the one that it is given, by rounding: if it says which (``stands_for``), V, I and gradients are those of that
    network, and the gradient at the numbers that it holds is taken for that at those which are trained, as in all
    quantization-aware training. Where it says after how many of its steps spikes arrive, these are delays.

    Parameters
    ----------
    target : Target
    along : {"measured", "threshold", "crossing", "straight_through"}
        Along the spikes that the target made, with one of the slopes of :func:`eventsolve.observe`, where nothing flows
        through spikes without one; or straight through: at the exact solution of the network that the target stands
        for, whose own spikes its steps do not move.
    """

    target: Target
    along: Along = "measured"

    def __post_init__(self) -> None:
        if self.along not in get_args(Along):
            raise ValueError(f"along must be one of {', '.join(get_args(Along))}; got {self.along!r}")

    @property
    def name(self) -> str:
        """Of the target, and of what is taken along its spikes."""
        how = "straight through" if self.along == "straight_through" else f"{self.along} slope"
        return f"{self.target.name}, in the loop ({how})"

    def run(self, problem: es.Problem) -> Record:
        """Return the target's spikes, and gradients; the losses are the target's own if it has any.

        Raises
        ------
        ValueError
            As the target; if it gives no spikes of a population that the network is observed by, or such as
            :func:`eventsolve.observe` refuses.
        """
        record = self.target.run(problem)
        spiking = [name for name, p in problem.network.populations.items() if p.spiking]
        missing = [name for name in spiking if name not in record.spikes]
        if missing:
            raise ValueError(f"{record.name!r} gives no spikes of {missing[0]!r} to take gradients along")
        given = {name: record.spikes[name] for name in spiking}
        if problem.loss is None:
            return Record.of(problem, self.name, spikes=given)
        meant = self._stands_for(problem, record)
        solution = self._solution(meant, given)
        value, grads = es.value_and_grad(solution, problem.loss, reduction="none")
        own = value if record.loss_values is None else record.loss_values
        spikes = {**given, **meant.inputs}
        gradients: dict[str, dict[Any, Any]] = {quantity: getattr(grads, quantity) for quantity in QUANTITIES}
        timed = spikes if self.along != "straight_through" else {}  # which has other spikes
        gradients["spike_times"] = {name: gradients["spike_times"][name] for name in timed}
        return Record.of(
            problem,
            self.name,
            spikes=spikes,
            loss_values=np.asarray(own, dtype=np.float64),
            gradients=gradients,
        )

    def held(self, network: es.Network) -> es.Network:
        """Return the network as the target holds its weights, if it says so."""
        held = getattr(self.target, "held", None)
        found: es.Network = held(network) if callable(held) else network
        return found

    def decisions(self, problem: es.Problem) -> NDArray[np.int64] | None:
        """Return what the target decides for, if it says so."""
        decide = getattr(self.target, "decisions", None)
        found: NDArray[np.int64] | None = decide(problem) if callable(decide) else None
        return found

    def _solution(self, problem: es.Problem, given: dict[str, es.SpikeTrains]) -> es.Solution:
        """Return what is differentiated: of spikes on a grid, the last may be at the end of a step beyond the end."""
        if self.along == "straight_through":
            return problem.solution
        last = max((float(trains.times.max()) for trains in given.values() if trains.n_spikes), default=0.0)
        t_end = max(problem.t_end, last)
        return es.observe(problem.network, problem.inputs, given, t_end, slope=self.along, undefined="zero")

    def _stands_for(self, problem: es.Problem, record: Record) -> es.Problem:
        """Return the problem in continuous time that the target stands for."""
        network = problem.network
        stands_for, resolution = (getattr(self.target, name, None) for name in ("stands_for", "resolution"))
        if stands_for is not None:
            inputs = {name: record.trains[name] for name in problem.inputs}
            return replace(problem, network=stands_for(network), inputs=inputs)
        if resolution is None:
            return problem
        found = resolution(network)
        late = network.with_delays(
            {
                key: network.projections[key].shaped(network.projections[key].delay + steps * found.time_step)
                for key, steps in found.transport.items()
            }
        )
        return replace(problem, network=late)
