"""Other simulators as implementations under test, each run by a Python that has it: its own, or this one's extra.

What they have in common is two layers of LIF neurons with one tau_mem and one tau_syn, threshold 1, reset and leak 0,
fed by inputs that spike once, and time-to-first-spike cross-entropy; ``validation/runners`` says how each of them is
told that, and what else it needs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import duration, first_entry, seconds
from eventsolve.io.records import Record
from eventsolve.network import LIF, Network
from eventsolve.spiketrains import sorted_trains
from eventsolve.typing import Key
from validation.grid.first_spikes import TTFSLoss, first_spike_loss, read_loss
from validation.grid.steps import check_network, number_of_samples

RUNNERS = Path(__file__).parent / "runners"


@dataclass(frozen=True)
class Peer:
    """A simulator with one of ``validation/runners``.

    Parameters
    ----------
    runner : str
        "jaxsnn", "eventax", "norse", "nest", "brian2", or "eventsolve".
    settings : mapping of str to bool, int, float or str
        Of the runner: those of its ``build``.
    python : str or Path
        The interpreter that has the simulator; by default this one.
    time_step : float, optional
        Seconds, of a simulator whose spikes lie on a grid.
    t_ref : float
        Seconds: the refractory period that the simulator cannot do without, which the network has to have.
    """

    runner: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    python: str | Path = sys.executable
    time_step: float | None = None
    t_ref: float = 0.0

    def __post_init__(self) -> None:
        if self.time_step is not None:
            object.__setattr__(self, "time_step", duration("time_step", self.time_step))
        object.__setattr__(self, "t_ref", seconds("t_ref", self.t_ref))
        if not 0 <= self.t_ref < np.inf:
            raise ValueError(f"t_ref must be finite and >= 0; got {self.t_ref!r}")

    @property
    def name(self) -> str:
        """Of the simulator and its settings."""
        return ", ".join([self.runner, *(f"{key} {value}" for key, value in self.settings.items())])

    def run(self, problem: es.Problem) -> Record:
        """Let the simulator do the work on a batch.

        Returns
        -------
        Record
            Without dL/dt, and for a simulator that has none without gradients of the weights.

        Raises
        ------
        ValueError
            If the network, the inputs or the loss are not among those that the module docstring describes, or the
            simulator finds the label's output silent.
        RuntimeError
            If the simulator fails: its own last words.
        """
        network, inputs, t_end, loss = problem.network, problem.inputs, problem.t_end, problem.loss
        n_samples = number_of_samples(network, inputs)
        reading = read_loss(loss, network, n_samples)
        (source, hidden, out), work = self._work(network, inputs, t_end, reading)
        with tempfile.TemporaryDirectory() as folder:
            given, taken = Path(folder, "work.npz"), Path(folder, "result.npz")
            np.savez(given, **work)
            command = [
                self.python,
                RUNNERS / f"run_{self.runner}.py",
                given,
                taken,
                json.dumps(dict(self.settings)),
            ]
            execute(
                command, cwd=folder, env=dict(os.environ) | {"PYTHONPATH": str(Path(es.__file__).parents[1])}
            )
            with np.load(taken) as data:
                found = dict(data)
        spikes = {source: inputs[source]}
        for name, layer in ((hidden, "hidden"), (out, "out")):
            times, neurons, samples = (found[f"{layer}_{c}"] for c in ("times", "neurons", "samples"))
            spikes[name] = sorted_trains(times, neurons, samples, (n_samples, network.population(name).size))
        weight: dict[Key, NDArray[np.float64]] = {}
        if "w1" in found:
            weight = {(source, hidden): found["w1"].astype(float), (hidden, out): found["w2"].astype(float)}
        values, _ = first_spike_loss(reading, spikes[out].first(), t_end)
        return Record.of(
            problem,
            self.name,
            spikes=spikes,
            loss_values=values,
            gradients={"weight": weight} if weight else {},
            time_step=self.time_step,
        )

    def _work(
        self, network: Network, inputs: Mapping[str, es.SpikeTrains], t_end: float, reading: TTFSLoss
    ) -> tuple[tuple[str, str, str], dict[str, Any]]:
        """Return the names of the three populations, and what the runner gets."""
        names = self._chain(network)
        if reading.population != names[2]:
            raise ValueError(
                f"the loss must read {names[2]!r}, the second layer; it reads {reading.population!r}"
            )
        if reading.silent != "raise":
            raise ValueError(f"silent must be 'raise' with {self.runner}; got {reading.silent!r}")
        trains = inputs[names[0]]
        if not (trains.counts() == 1).all():
            sample, neuron = (int(i) for i in np.argwhere(trains.counts() != 1)[0])
            raise ValueError(
                f"every neuron of input {names[0]!r} must spike once; neuron {neuron} in sample {sample} has "
                f"{int(trains.counts()[sample, neuron])} spikes"
            )
        first, second = (network.projections[key].weight for key in pairwise(names))
        exact = es.solve(
            network, inputs, t_end
        ).spikes  # for simulators that want to know how many there may be
        work = {
            "times": trains.first(),
            "labels": reading.labels,
            "w1": first,
            "w2": second,
            "most_spikes": [int(exact[name].counts().sum(axis=1).max(initial=0)) for name in names[1:]],
            "t_end": t_end,
            **{name: getattr(reading, name) for name in ("tau0", "tau1", "alpha")},
            **{tau: float(network.population(names[1]).parameter(tau)[0]) for tau in ("tau_mem", "tau_syn")},
        }
        return names, work

    def _chain(self, network: Network) -> tuple[str, str, str]:
        """Return the names of input, first and second layer, or say why there is no such chain."""
        for name, population in network.populations.items():
            if population.neuron is not None and np.any(population.parameter("t_ref") != self.t_ref):
                raise ValueError(f"t_ref of population {name!r} must be {self.t_ref!r} s with {self.runner}")
        free = {
            name: replace(p.neuron, t_ref=0.0)
            for name, p in network.populations.items()
            if isinstance(p.neuron, LIF)
        }
        check_network(network.with_neurons(free), self.runner)
        keys = list(network.projections)
        if len(network.populations) != 3 or len(keys) != 2 or keys[0][1] != keys[1][0]:
            raise ValueError(
                f"{self.runner} is given an input and two layers in a row; the projections are {keys}"
            )
        chain = keys[0][0], keys[0][1], keys[1][1]
        wanted = {"v_threshold": 1.0, "v_reset": 0.0, "v_leak": 0.0, "v_initial": 0.0, "i_initial": 0.0}
        for tau in ("tau_mem", "tau_syn"):
            wanted[tau] = float(network.population(chain[1]).parameter(tau)[0])
        for name in chain[1:]:
            for parameter, value in wanted.items():
                values = network.population(name).parameter(parameter)
                if np.any(values != value):
                    raise ValueError(
                        f"{parameter} of population {name!r} must be {value!r} with {self.runner}; "
                        f"{first_entry(values, values != value)}"
                    )
        for key, projection in network.projections.items():
            if np.any(projection.delay != 0) or projection.synapse != "exponential":
                raise ValueError(f"{key} must be exponential synapses without delay with {self.runner}")
        return chain


def execute(command: list[Any], timeout: float | None = None, **more: Any) -> None:
    """Execute a command; a failure is a RuntimeError with the last line that says something."""
    process = subprocess.run(
        command,
        timeout=timeout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **more,
    )
    if process.returncode:
        lines = [line.strip() for line in process.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"[\w.]*(Error|ERROR)[\w.]*: ", line)]
        last = (errors or lines or [f"exit status {process.returncode}"])[-1]
        raise RuntimeError(last[:200])
