"""A user's own PyTorch module as an implementation under test; the extra ``torch``.

A module is built for a network by a function of the user's, which also says which of its tensors are the network's
weights; these are set to the network's, (n_post, n_pre). What the module gives, torch differentiates:

- :class:`TimesTarget`: a module from spike times to spike times, as those that are trained with EventProp.
- :class:`RasterTarget`: a module from rasters to rasters, one entry per step, as those with surrogate gradients. Its
  loss reads h sum_k prod_{j <= k} (1 - s[j]), which is the time of the first spike, and smooth in s.

Either records the gradients of weights that torch finds, and of the times of input spikes where there are any. It has
no dL/dt for spikes of neurons: torch sees what a spike causes downstream, but not in its own neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import duration
from eventsolve.io.records import Record
from eventsolve.magnitudes import warn_of_step
from eventsolve.network import Network
from eventsolve.typing import Key
from validation.grid.first_spikes import TTFSLoss, first_spike_loss, read_loss
from validation.grid.steps import grid_trains, number_of_samples, number_of_steps, to_steps

Tensors: TypeAlias = Mapping[str, torch.Tensor]
Module: TypeAlias = Callable[[dict[str, torch.Tensor]], Tensors]
Build: TypeAlias = Callable[[Network], tuple[Module, Mapping[Key, torch.Tensor]]]
"""From a network to a module for it, and which of its tensors are the weights, (n_post, n_pre), by projection."""


@dataclass(frozen=True, eq=False)
class TimesTarget:
    """A module from spike times to spike times; see the module docstring.

    Parameters
    ----------
    name : str
        For tables and titles.
    build : callable
        See :data:`Build`. The module takes and gives times in seconds, (n_samples, n_neurons, n_spikes), inf where
        there is no further spike, by input and by population.
    time_step : float, optional
        Seconds, of a module that works in steps.
    """

    name: str
    build: Build
    time_step: float | None = None

    def run(self, problem: es.Problem) -> Record:
        """Run the module forward and backward on a batch.

        Raises
        ------
        ValueError
            If the weights are not the network's, the module gives no spikes of the population that the loss reads, or
            the loss is not a time-to-first-spike cross-entropy.
        """
        network, inputs, t_end, loss = problem.network, problem.inputs, problem.t_end, problem.loss
        reading = read_loss(loss, network, number_of_samples(network, inputs))
        module, weights = _built(self.build, network)
        dtype = next((w.dtype for w in weights.values()), torch.float64)
        times = {
            name: torch.from_numpy(trains.to_dense()).to(dtype).requires_grad_()
            for name, trains in inputs.items()
        }
        found = _checked(module(dict(times)), network, reading)
        output = found[reading.population]
        first = output.amin(dim=2) if output.shape[2] else output.new_full(output.shape[:2], torch.inf)
        spikes = dict(inputs) | {
            name: es.SpikeTrains.from_dense(t.detach().double().numpy()) for name, t in found.items()
        }
        values, slopes = first_spike_loss(reading, spikes[reading.population].first(), t_end)
        gradients, by_time = _differentiated(first, slopes, weights, times)
        slots = {name: (trains.samples, trains.neurons, trains.slots()) for name, trains in inputs.items()}
        return Record.of(
            problem,
            self.name,
            spikes=spikes,
            loss_values=values,
            gradients={
                "weight": gradients,
                "spike_times": {name: gradient[slots[name]] for name, gradient in by_time.items()},
            },
            time_step=self.time_step,
        )


@dataclass(frozen=True, eq=False)
class RasterTarget:
    """A module from rasters to rasters; see the module docstring.

    Parameters
    ----------
    name : str
        For tables and titles.
    build : callable
        See :data:`Build`. The module takes and gives rasters, (n_steps, n_samples, n_neurons), 1 where a neuron
        spikes and else 0, by input and by population.
    time_step : float
        Seconds. Input spikes are moved to the nearest multiple k, and stand in row k.
    first_step : int
        The multiple of the time step at which the spikes of row 0 of the module's rasters lie.
    """

    name: str
    build: Build
    time_step: float
    first_step: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))

    def run(self, problem: es.Problem) -> Record:
        """Run the module forward and backward on a batch; raises as :meth:`TimesTarget.run` does."""
        network, inputs, t_end, loss = problem.network, problem.inputs, problem.t_end, problem.loss
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(t_end, self.time_step)
        warn_of_step(self.time_step, network)
        reading = read_loss(loss, network, n_samples)
        module, weights = _built(self.build, network)
        dtype = next((w.dtype for w in weights.values()), torch.float32)
        rasters, spikes = {}, {}
        for name, trains in inputs.items():
            steps = to_steps(name, trains, self.time_step)
            kept = steps < n_steps
            raster = torch.zeros(n_steps, n_samples, trains.n_neurons, dtype=dtype)
            raster[steps[kept], trains.samples[kept], trains.neurons[kept]] = 1.0
            rasters[name] = raster
            spikes[name], _ = grid_trains(
                steps, trains.neurons, trains.samples, (n_samples, trains.n_neurons), self.time_step
            )
        found = _checked(module(rasters), network, reading)
        output = found[reading.population]
        late = self.time_step * (self.first_step + torch.cumprod(1 - output, dim=0).sum(dim=0))
        first = torch.where(output.detach().any(dim=0), late, torch.inf)
        for name, raster in found.items():
            steps, samples, neurons = np.nonzero(raster.detach().numpy())
            spikes[name], _ = grid_trains(
                steps + self.first_step, neurons, samples, (n_samples, raster.shape[2]), self.time_step
            )
        values, slopes = first_spike_loss(reading, spikes[reading.population].first(), t_end)
        gradients, _ = _differentiated(first, slopes, weights, {})
        return Record.of(
            problem,
            self.name,
            spikes=spikes,
            loss_values=values,
            gradients={"weight": gradients},
            time_step=self.time_step,
        )


def _built(build: Build, network: Network) -> tuple[Module, dict[Key, torch.Tensor]]:
    """Return the module and its weights, which are set to the network's."""
    module, weights = build(network)
    if set(weights) != set(network.projections):
        raise ValueError(f"build must return weights for {list(network.projections)}; got {list(weights)}")
    for key, projection in network.projections.items():
        if sp.issparse(projection.weight):
            raise ValueError(f"weight of {key} is sparse; a module under test holds a dense matrix")
        if tuple(weights[key].shape) != projection.weight.shape:
            raise ValueError(
                f"the module's weight of {key} must have shape (n_post, n_pre) = {projection.weight.shape}; "
                f"got {tuple(weights[key].shape)}"
            )
        with torch.no_grad():
            weights[key].copy_(torch.from_numpy(np.array(projection.weight)))
    return module, {key: weights[key] for key in network.projections}


def _checked(found: Tensors, network: Network, reading: TTFSLoss) -> Tensors:
    for name in found:
        network.population(name)
    if reading.population not in found:
        raise ValueError(f"the module gives no spikes of {reading.population!r}, which the loss reads")
    return found


def _differentiated(
    first: torch.Tensor, slopes: NDArray[np.float64], weights: Mapping[Key, torch.Tensor], times: Tensors
) -> tuple[dict[Key, Any], dict[str, Any]]:
    """Return each sample's gradients by the weights, and those by the input times that matter to the module.

    ``slopes`` are those of the loss by the first spikes, (n_samples, n_neurons): all that torch need know of it.
    """
    read = torch.where(torch.isfinite(first), first, 0.0) * torch.from_numpy(slopes).to(first.dtype)
    gradients = {key: np.zeros((len(slopes), *w.shape)) for key, w in weights.items()}
    if not read.requires_grad:
        return gradients, {}
    for sample, value in enumerate(read.sum(dim=1)):
        found = torch.autograd.grad(value, list(weights.values()), retain_graph=True, allow_unused=True)
        for key, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                gradients[key][sample] = gradient.double().numpy()
    found = torch.autograd.grad(read.sum(), list(times.values()), allow_unused=True) if times else ()
    return gradients, {n: g.double().numpy() for n, g in zip(times, found, strict=True) if g is not None}
