"""adjoint_states(): dL/dV and dL/dI at any time, between the events of a solution and at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eventsolve.adjoint import require_solution, value_and_grad
from eventsolve.checks import require_mapping
from eventsolve.chunks import chunk_ranges
from eventsolve.frozen import Frozen
from eventsolve.interrupts import call
from eventsolve.kernels.adjoint_states import sample_adjoint, slopes_of
from eventsolve.losses import Loss, VoltageSamples
from eventsolve.mean_voltages import Means, mean_adjoint_of
from eventsolve.sampled import joined_samples, sampled_of
from eventsolve.solution import Solution, own_spikes, places_of
from eventsolve.typing import Reals


@dataclass(frozen=True, eq=False, repr=False)
class AdjointStates(Frozen):
    """The adjoint of a solution's states: what moving V or I of one neuron at one time does to a loss.

    Between events dp_V/dt = p_V/tau_mem and dp_I/dt = p_I/tau_syn - p_V/tau_mem (Wunderlich & Pehle 2021, with
    p_V = -tau_mem lambda_V and p_I = -tau_syn lambda_I). Before a spike p_V is -dL/dt_k / V'(t_k); while V is held it
    is 0.

    Attributes
    ----------
    solution : Solution
    spike_times : mapping of population to ndarray of float64, (n_spikes,)
        dL/dt_k in 1/s of each sample's own loss, with all that the spike changes.
    voltage_samples : mapping of population to VoltageSamples
        Where the loss reads voltages, at which p_V jumps; a running loss is read at the nodes of its quadrature.
    means : mapping of (population, rate) to ndarray of float64, (n_samples, n_neurons)
        Derivatives by mean voltages in closed form: with those dp_V/dt has its source, and no nodes.
    """

    solution: Solution
    spike_times: Mapping[str, Reals]
    voltage_samples: Mapping[str, VoltageSamples]
    means: Means

    def __post_init__(self) -> None:
        require_solution(self.solution)
        self.solution.require_times("spike_times", self.spike_times)
        require_mapping("voltage_samples", self.voltage_samples, "population to VoltageSamples")
        require_mapping("means", self.means, "(population, rate) to array")
        super().__post_init__()

    def voltage(self, population: str, times: ArrayLike) -> Reals:
        """Return p_V = dL/dV of each sample's own loss at ``times`` in [t_start, t_end].

        (n_samples, n_neurons, n_times), in 1/(unit of V). At the time of an event it is that of the voltage after it.
        """
        return self._states(population, times)[0]

    def current(self, population: str, times: ArrayLike) -> Reals:
        """Return p_I = dL/dI as :meth:`voltage` does p_V; arrivals do not change it."""
        return self._states(population, times)[1]

    def event_times(self, population: str) -> list[Reals]:
        """Return those of the solution and those of the loss's voltage samples, sample by sample, sorted."""
        times = self.solution.event_times(population)
        if population in self.voltage_samples:
            voltage_samples = self.voltage_samples[population]
            return [
                np.union1d(t, voltage_samples.times[voltage_samples.samples == s])
                for s, t in enumerate(times)
            ]
        return times

    def _states(self, population: str, times: ArrayLike) -> tuple[Reals, Reals]:
        solution = self.solution
        layer = solution.layer(population)
        everywhere, back = solution.in_order(times)
        parts = []
        for k, (low, high) in enumerate(chunk_ranges(solution.n_samples)):
            chunk = solution._chunks[k]
            own = own_spikes(layer, chunk)
            start = chunk.start[layer.name]
            totals = np.empty(own.times.size)
            for name, places in places_of(layer, own).items():
                first, last = solution.spikes[name].offsets[[low, high]]
                totals[places] = self.spike_times[name][first:last]
            left = solution.slopes_of_layer(k, layer)
            if left.size < totals.size:
                left = call(slopes_of, layer.by_target, solution.run_of(layer, chunk)[0])
            here = {name: sampled_of(v, low, high) for name, v in self.voltage_samples.items()}
            sampled = joined_samples(layer, here, chunk.n_samples)
            p_v, p_i = call(
                sample_adjoint,
                layer.neurons,
                start.free_at,
                left,
                own,
                totals,
                sampled,
                everywhere[low:high],
                solution.t_end,
            )
            by_v, by_i = mean_adjoint_of(solution, layer, k, self.means, everywhere[low:high])
            parts.append((p_v + by_v, p_i + by_i))
        place = layer.slice_of(population)
        empty = np.empty((0, layer.size, everywhere.shape[1]))
        p_v, p_i = (
            np.concatenate(column)[:, place][..., back] for column in zip((empty, empty), *parts, strict=True)
        )
        return p_v, p_i


def adjoint_states(solution: Solution, loss: Loss, *, threads: int | None = None) -> AdjointStates:
    """Return dL/dV and dL/dI of each sample's own loss, for every neuron at any time.

    Parameters
    ----------
    solution : Solution
    loss : Loss
        From :mod:`eventsolve.losses`.
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Raises
    ------
    ValueError, UndefinedGradientError
        As ``value_and_grad``; ValueError for a solution of first spikes only.

    Examples
    --------
    V decays with tau_mem = 20 ms towards a reading at 10 ms, which is the loss.

    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_population("out", 1, es.LI(tau_mem=20e-3, tau_syn=5e-3, v_initial=1.0))
    >>> solution = es.solve(net, {}, t_end=20e-3)
    >>> loss = es.losses.SampledVoltage("out", [10e-3], lambda v: (v[:, 0, 0], v**0))
    >>> es.adjoint_states(solution, loss).voltage("out", [0.0, 9.9e-3, 10e-3]).round(3)
    array([[[0.607, 0.995, 0.   ]]])
    """
    require_solution(solution)
    solution.require_whole("adjoint states")
    gradients = value_and_grad(solution, loss, wrt=("spike_times",), reduction="sum", threads=threads)[1]
    evaluation = loss.evaluate(solution)
    return AdjointStates(solution, gradients.spike_times, evaluation.voltages, evaluation.means)
