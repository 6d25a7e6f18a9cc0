"""snnTorch as an implementation under test: time steps and surrogate gradients; the extra ``snntorch``."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import snntorch
import torch

import eventsolve as es
from eventsolve.checks import duration
from eventsolve.io.records import Record
from eventsolve.network import Network
from eventsolve.typing import Key
from validation.grid.steps import check_network
from validation.torch_targets import Module, RasterTarget


@dataclass(frozen=True)
class SnnTorch:
    """Feed-forward LIF networks of ``snntorch.Synaptic`` neurons, float32.

    Its gradients are surrogates (snnTorch's default, the derivative of an arctangent), not those of any spike time.
    The neuron adds its current to its voltage as it is, where eventsolve's is driven by (1 - beta) of it: that factor
    is put into what arrives. It runs v_leak, v_reset, t_ref, delays and initial states of 0 only, and dense weights.

    Parameters
    ----------
    time_step : float
        Seconds.
    """

    time_step: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))

    @property
    def name(self) -> str:
        """Of the implementation and its time step."""
        return f"snnTorch, {self.time_step * 1e3:g} ms, surrogate gradients"

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch; a ValueError says what it cannot represent."""
        network = problem.network
        check_network(network, "snnTorch")
        for population in network.populations.values():
            for parameter in ("v_leak", "v_reset", "v_initial", "i_initial"):
                if np.any(population.parameter(parameter) != 0):
                    raise ValueError(
                        f"{parameter} of population {population.name!r} must be 0: snnTorch has none"
                    )
        for projection in network.projections.values():
            if np.any(projection.delay != 0):
                raise ValueError(f"delay of {projection.key} must be 0: snnTorch has none")
        return RasterTarget(self.name, self._build, self.time_step, first_step=1).run(problem)

    def _build(self, network: Network) -> tuple[Module, dict[Key, torch.Tensor]]:
        weights = {
            key: torch.zeros(p.weight.shape, requires_grad=True) for key, p in network.projections.items()
        }
        order = [n for n in nx.topological_sort(network.graph) if network.population(n).neuron is not None]

        def module(rasters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            spikes, found = dict(rasters), {}
            for name in order:
                alpha, beta, threshold = self._constants(network, name)
                arriving = sum(spikes[p.pre] @ weights[p.key].T for p in network.afferents(name))
                neuron = snntorch.Synaptic(alpha, beta, threshold, reset_mechanism="zero", reset_delay=False)
                current, voltage = neuron.init_synaptic()
                rows = []
                for row in (1 - beta) * arriving:
                    fired, current, voltage = neuron(row, current, voltage)
                    rows.append(fired)
                spikes[name] = found[name] = torch.stack(rows)
            return found

        return module, weights

    def _constants(self, network: Network, name: str) -> tuple[torch.Tensor, ...]:
        """Return the decay factors of current and voltage, and the threshold, (n_neurons,)."""
        population = network.population(name)
        decays = (np.exp(-self.time_step / population.parameter(tau)) for tau in ("tau_syn", "tau_mem"))
        return tuple(
            torch.tensor(a, dtype=torch.float32) for a in (*decays, population.parameter("v_threshold"))
        )
