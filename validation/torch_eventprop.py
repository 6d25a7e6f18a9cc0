"""Discretised EventProp in PyTorch, as Béna et al. (2024, arXiv 2412.15021) run it off the chip; the extra ``torch``.

Written anew from the equations of GabrielBena/pytorch-eventprop; the chip model's layer program has them, and is the
same algorithm packet by packet. Here it is one ``torch.autograd.Function`` per layer, whole batches at a time.
A raster's gradient is the error dL/dt_k of its spikes in 1/s, so that weights get dL/dw of the loss in seconds; the
authors write the loss in steps and get time_step times that (:mod:`validation.conventions`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
import torch

import eventsolve as es
from eventsolve.checks import duration
from eventsolve.io.records import Record
from eventsolve.magnitudes import warn_of_step
from eventsolve.network import Network
from eventsolve.typing import Key
from validation.grid.steps import check_network, number_of_steps, to_steps
from validation.torch_targets import Module, TimesTarget


@dataclass(frozen=True)
class TorchEventProp:
    """Feed-forward LIF networks on a time grid, forward and backward as published.

    It runs LIF populations with v_leak 0, t_ref 0 and initial states of 0, and dense weights without delays; every
    layer delays by one time step. Input spikes are moved to the nearest step; the last step's are never used.

    Parameters
    ----------
    time_step : float
        Seconds.
    dtype : torch.dtype
        The authors' is float32.
    """

    time_step: float
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))

    @property
    def name(self) -> str:
        """Of the implementation and its settings."""
        return f"PyTorch EventProp, {self.time_step * 1e3:g} ms, {str(self.dtype).removeprefix('torch.')}"

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Raises
        ------
        ValueError
            If the network, the inputs or the loss are not among those that the class docstring lists.
        """
        network = problem.network
        _check(network)
        n_steps = number_of_steps(problem.t_end, self.time_step)
        warn_of_step(self.time_step, network)
        for name, trains in problem.inputs.items():
            to_steps(name, trains, self.time_step)  # two spikes in one step are refused

        def build(network: Network) -> tuple[Module, dict[Key, torch.Tensor]]:
            weights = {
                key: torch.zeros(p.weight.shape, dtype=self.dtype, requires_grad=True)
                for key, p in network.projections.items()
            }
            return _Layers(network, weights, n_steps, self.time_step), weights

        return TimesTarget(self.name, build, self.time_step).run(
            replace(problem, t_end=self.time_step * n_steps)
        )


@dataclass(frozen=True, eq=False)
class _Layers:
    """A network as a module from spike times to spike times, population by population."""

    network: Network
    weights: dict[Key, torch.Tensor]
    n_steps: int
    time_step: float

    def __call__(self, times: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rasters, found = {}, {}
        for name in nx.topological_sort(self.network.graph):
            if name in times:
                rasters[name] = _Raster.apply(times[name], self.n_steps, self.time_step)
                continue
            afferents = self.network.afferents(name)
            size = self.network.population(name).size
            n_samples = next(iter(times.values())).shape[0]
            dtype = next((w.dtype for w in self.weights.values()), torch.float32)
            before = [rasters[p.pre] for p in afferents] or [
                torch.zeros(self.n_steps, n_samples, 0, dtype=dtype)
            ]
            weight = [self.weights[p.key] for p in afferents] or [torch.zeros(size, 0, dtype=dtype)]
            constants = _constants(self.network, name, self.time_step, dtype)
            rasters[name] = _EventProp.apply(torch.cat(before, dim=2), torch.cat(weight, dim=1), *constants)
            found[name] = _Times.apply(rasters[name], self.time_step)
        return found


class _EventProp(torch.autograd.Function):
    """One layer: the raster of all that it listens to, and its weights, to its raster.

    ``alpha`` and ``beta`` are the decay factors of current and voltage over a step, ``rests`` 1 - alpha and 1 - beta,
    each rounded from float64 as in the published code: if float32 subtracted them from 1, 60 of the 357 spikes of two
    samples of both published networks would be at another step of 10 us, and none at another one of 0.1 ms. tau_syn is
    in seconds. All are (n_neurons,), like v_threshold and v_reset, and rests (2, n_neurons). Rasters are
    (n_steps, n_samples, n).
    """

    @staticmethod
    def forward(
        ctx: Any,
        arriving: torch.Tensor,
        weight: torch.Tensor,
        alpha: torch.Tensor,
        beta: torch.Tensor,
        rests: torch.Tensor,
        tau_syn: torch.Tensor,
        v_threshold: torch.Tensor,
        v_reset: torch.Tensor,
    ) -> torch.Tensor:
        n_steps, n_samples, _ = arriving.shape
        spikes = torch.zeros(n_steps, n_samples, weight.shape[0], dtype=weight.dtype)
        slopes = torch.ones_like(spikes)
        current, voltage = torch.zeros_like(spikes[0]), torch.zeros_like(spikes[0])
        for k in range(1, n_steps):
            current = alpha * current + arriving[k - 1] @ weight.T
            voltage = beta * voltage + rests[1] * current
            fired = voltage > v_threshold
            spikes[k] = fired
            slopes[k] = current - voltage + 1e-10
            voltage = torch.where(fired, v_reset, voltage)
        ctx.save_for_backward(arriving, weight, spikes, slopes)
        ctx.constants = alpha, beta, rests[0], tau_syn, v_threshold - v_reset
        return spikes

    @staticmethod
    def backward(ctx: Any, errors: torch.Tensor) -> tuple[Any, ...]:
        arriving, weight, spikes, slopes = ctx.saved_tensors
        alpha, beta, rest, tau_syn, swing = ctx.constants
        gradient, passed = torch.zeros_like(weight), torch.zeros_like(arriving)
        lam_i, lam_v = torch.zeros_like(spikes[0]), torch.zeros_like(spikes[0])
        for k in range(len(spikes) - 2, -1, -1):
            passed[k] = (lam_v - lam_i) @ weight
            lam_i = alpha * lam_i + rest * lam_v
            jump = spikes[k + 1] * (swing * lam_v + errors[k + 1]) / slopes[k + 1]
            lam_v = beta * lam_v + jump
            gradient -= (tau_syn * lam_i).T @ arriving[k]
        return passed, gradient, None, None, None, None, None, None


class _Times(torch.autograd.Function):
    """A raster's spike times, dense; their gradients become the errors of the spikes, but for the last step's."""

    @staticmethod
    def forward(ctx: Any, raster: torch.Tensor, time_step: float) -> torch.Tensor:
        n_samples, n_neurons = raster.shape[1:]
        steps, samples, neurons = np.nonzero(raster.numpy())
        order = np.lexsort((neurons, steps, samples))
        steps, samples, neurons = steps[order], samples[order], neurons[order]
        spikes = es.SpikeTrains.from_arrays(
            steps * time_step, neurons, samples, n_neurons=n_neurons, n_samples=n_samples
        )
        index = [torch.from_numpy(column.copy()) for column in (steps, samples, neurons, spikes.slots())]
        ctx.shape, ctx.place, ctx.slot = raster.shape, tuple(index[:3]), tuple(index[1:])
        return torch.from_numpy(spikes.to_dense()).to(raster.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        errors = torch.zeros(ctx.shape, dtype=gradient.dtype)
        errors[ctx.place] = gradient[ctx.slot]
        errors[-1] = 0.0
        return errors, None


class _Raster(torch.autograd.Function):
    """Spike times as a raster; a spike's error is the gradient of its time."""

    @staticmethod
    def forward(ctx: Any, times: torch.Tensor, n_steps: int, time_step: float) -> torch.Tensor:
        steps = torch.round(times.double() / time_step)
        kept = steps < n_steps
        samples, neurons, _ = torch.nonzero(kept, as_tuple=True)
        raster = torch.zeros(n_steps, *times.shape[:2], dtype=times.dtype)
        ctx.place, ctx.kept = (steps[kept].long(), samples, neurons), kept
        raster[ctx.place] = 1.0
        return raster

    @staticmethod
    def backward(ctx: Any, errors: torch.Tensor) -> tuple[Any, ...]:
        gradient = torch.zeros(ctx.kept.shape, dtype=errors.dtype)
        gradient[ctx.kept] = errors[ctx.place]
        return gradient, None, None


def _constants(network: Network, name: str, time_step: float, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    population = network.population(name)
    tau_mem, tau_syn = population.parameter("tau_mem"), population.parameter("tau_syn")
    alpha, beta = np.exp(-time_step / tau_syn), np.exp(-time_step / tau_mem)
    arrays = (
        alpha,
        beta,
        np.stack([1.0 - alpha, 1.0 - beta]),
        tau_syn,
        population.parameter("v_threshold"),
        population.parameter("v_reset"),
    )
    return tuple(torch.from_numpy(array).to(dtype) for array in arrays)


def _check(network: Network) -> None:
    check_network(network, "PyTorch EventProp")
    for population in network.populations.values():
        for name in ("v_leak", "v_initial", "i_initial"):
            if np.any(population.parameter(name) != 0):
                raise ValueError(
                    f"{name} of population {population.name!r} must be 0: PyTorch EventProp has none"
                )
    for projection in network.projections.values():
        if np.any(projection.delay != 0):
            raise ValueError(f"delay of {projection.key} must be 0: every layer delays by one time step")
