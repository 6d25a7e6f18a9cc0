"""In the loop: a target's own spikes, and exact gradients along them, for whatever gives spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.io.records.record import QUANTITIES
from validation.target import Target


@dataclass(frozen=True)
class InTheLoop:
    """A target that is asked for its spikes alone; gradients are those of :func:`eventsolve.observe` along them.

    So anything can be trained on that spikes, a chip that gives no gradients too. Where the target says after how many
    of its steps spikes arrive, V and I along them have these as delays.

    Parameters
    ----------
    target : Target
    slope : {"measured", "threshold", "crossing"}
        As of :func:`eventsolve.observe`; nothing flows through spikes without one.
    """

    target: Target
    slope: Literal["measured", "threshold", "crossing"] = "measured"

    @property
    def name(self) -> str:
        """Of the target, and of what is taken along its spikes."""
        return f"{self.target.name}, in the loop ({self.slope} slope)"

    def run(self, problem: es.Problem) -> Record:
        """Return the target's spikes, and losses and gradients along them.

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
        observed = es.observe(
            self._with_transport(problem.network),
            problem.inputs,
            {name: record.spikes[name] for name in spiking},
            problem.t_end,
            slope=self.slope,
            undefined="zero",
        )
        spikes = {name: observed.spikes[name] for name in spiking}
        if problem.loss is None:
            return Record.of(problem, self.name, spikes=spikes)
        value, grads = es.value_and_grad(observed, problem.loss, reduction="none")
        return Record.of(
            problem,
            self.name,
            spikes=spikes,
            loss_values=np.asarray(value, dtype=np.float64),
            gradients={quantity: getattr(grads, quantity) for quantity in QUANTITIES},
        )

    def held(self, network: es.Network) -> es.Network:
        """Return the network as the target holds its weights, if it says so."""
        held = getattr(self.target, "held", None)
        found: es.Network = held(network) if callable(held) else network
        return found

    def _with_transport(self, network: es.Network) -> es.Network:
        resolution = getattr(self.target, "resolution", None)
        if resolution is None:
            return network
        found = resolution(network)
        return network.with_delays(
            {
                key: network.projections[key].shaped(network.projections[key].delay + steps * found.time_step)
                for key, steps in found.transport.items()
            }
        )
