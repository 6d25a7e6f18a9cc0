"""Arrays of pygenn and ml_genn, in the units and layouts of this repository: every convention of GeNN in one place.

GeNN's times are milliseconds, its weights and gradients (n_pre, n_post), and its gradients lack a factor that depends
on the readout. They are gradients, of which an optimizer goes against the direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import eventsolve as es
from eventsolve.io.records import Record, Trace
from eventsolve.typing import Key, Reals
from validation import conventions
from validation.genn.readouts import Name, reading_of
from validation.grid.steps import number_of_steps


def gradient_factor(readout: Name, *, tau_mem: float, time_step: float, t_end: float) -> float:
    """Return by what GeNN's ``Gradient`` has to be multiplied to be dL/dw; seconds.

    ``tau_mem`` is the readout's. Of "RelativeMSE" the loss is in s^2, of which mlGeNN's has a million times as many.
    """
    shared = {
        "AvgVarExpWeight": "AvgVar",
        "RelativeMSE": "FirstSpikeTime",
        "sum": "sum, exp, linear, sigmoid",
    }
    system = "genn_eventprop" if readout in ("sum", "max", "avg_xentropy", "first_spike") else "mlGeNN"
    convention = conventions.of(system, shared.get(readout, readout))
    assert convention.gradient_factor is not None
    constants = conventions.Constants(tau_mem=tau_mem, time_step=time_step, t_end=t_end)
    factor = float(np.asarray(convention.gradient_factor(constants)))
    return factor * (1e-6 if readout == "RelativeMSE" else 1.0)


def weight_of(g: ArrayLike, n_pre: int, n_post: int) -> Reals:
    """Return weights (n_post, n_pre) from the view of a dense ``g``, which is (n_pre, n_post) or flat."""
    return _oriented("g", g, n_pre, n_post)


def spikes_of(recorded: Sequence[tuple[ArrayLike, ArrayLike]], n_neurons: int) -> es.SpikeTrains:
    """Return spikes from ``spike_recording_data``: of each sample of a batch the times in ms, and the neurons.

    A trial's times have to begin at 0, as they do where mlGeNN resets its time.
    """
    columns: list[tuple[Any, Any, Any]] = [(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))]
    for sample, (times, neurons) in enumerate(recorded):
        seconds = np.asarray(times, dtype=np.float64) * 1e-3
        which = np.asarray(neurons).astype(np.int64)
        order = np.lexsort((which, seconds))
        columns.append((seconds[order], which[order], np.full(seconds.size, sample)))
    times, neurons, samples = (np.concatenate(c) for c in zip(*columns, strict=True))
    return es.SpikeTrains.from_arrays(times, neurons, samples, n_samples=len(recorded), n_neurons=n_neurons)


def record(
    name: str,
    problem: es.Problem,
    time_step: float,
    *,
    gradients: Mapping[Key, ArrayLike] | None = None,
    spikes: Mapping[str, Sequence[tuple[ArrayLike, ArrayLike]]] | None = None,
    voltages: Mapping[str, ArrayLike] | None = None,
    batch_size: int = 1,
) -> Record:
    """Return the record of a run of mlGeNN.

    Parameters
    ----------
    name : str
    problem : Problem
        What was run; its loss, as :class:`validation.genn.GeNN` takes it, says which factor gradients need.
    time_step : float
        Seconds.
    gradients : mapping of (pre, post) to array_like
        ``Gradient`` as it is before the optimizer: of every sample, (n_samples, n_pre, n_post), or ``ReducedGradient``,
        the sum over the batch, (n_pre, n_post). The last two axes may be one, as in GeNN's views.
    spikes : mapping of str to sequence of (times, neurons)
        ``spike_recording_data`` of populations, in ms.
    voltages : mapping of str to array_like, (n_samples, n_steps, n_neurons)
        V of LI populations after every step.
    batch_size : int
        That GeNN was compiled with.

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If an array has another shape, gradients are given without a loss that mlGeNN has, or some are of samples and
        others of the batch.
    """
    network, n_samples = problem.network, problem.n_samples
    traces = {}
    for population, given in (voltages or {}).items():
        neuron = network.population(population).neuron
        if neuron is None or neuron.spiking:
            raise ValueError(
                f"voltages are of LI populations: what {population!r} had before its resets is not in them"
            )
        v = np.asarray(given, dtype=np.float64)
        shape = (n_samples, number_of_steps(problem.t_end, time_step), network.population(population).size)
        if v.shape != shape:
            raise ValueError(f"voltages of {population!r} must have shape {shape}; got {v.shape}")
        traces[population] = Trace(time_step * np.arange(1.0, shape[1] + 1), v.transpose(0, 2, 1))
    results: dict[str, Any] = {
        "spikes": {
            population: spikes_of(recorded, network.population(population).size)
            for population, recorded in (spikes or {}).items()
        },
        "traces": traces,
        "time_step": time_step,
    }
    if not gradients:
        return Record.of(problem, name, **results)
    if problem.loss is None:
        raise ValueError("gradients need the loss of the problem, on which their factor depends")
    reading = reading_of(problem.loss, network, n_samples, time_step)
    tau_mem = float(network.population(reading.population).parameter("tau_mem")[0])
    factor = gradient_factor(reading.name, tau_mem=tau_mem, time_step=time_step, t_end=problem.t_end)
    found, each = {}, set()
    for key, given in gradients.items():
        if key not in network.projections:
            raise ValueError(
                f"gradients name {key}, which is not connected; there are {list(network.projections)}"
            )
        n_post, n_pre = network.projections[key].weight.shape
        size = np.size(given)
        of_samples = size == n_samples * n_pre * n_post and (n_samples > 1 or np.shape(given)[0] == 1)
        each.add(of_samples)
        found[key] = factor * _oriented(
            f"gradient of {key}", given, n_pre, n_post, n_samples if of_samples else None
        )
    if len(each) > 1:
        raise ValueError("gradients must all be of every sample, or all of the batch")
    divided = batch_size if reading.divided else 1
    if each == {True}:
        own = {key: divided * values for key, values in found.items()}
        return Record.of(problem, name, gradients={"weight": own}, **results)
    mean = {key: values * divided / n_samples for key, values in found.items()}
    return Record(
        name,
        problem.t_end,
        problem.inputs,
        network=network,
        loss=problem.loss,
        gradients={"weight": mean},
        reduction="mean",
        **results,
    )


def _oriented(what: str, given: ArrayLike, n_pre: int, n_post: int, n_samples: int | None = None) -> Reals:
    """Return an array with the target first, from one with the source first, whose two axes may be one."""
    values = np.asarray(given, dtype=np.float64)
    front = () if n_samples is None else (n_samples,)
    if values.shape not in ((*front, n_pre, n_post), (*front, n_pre * n_post)):
        raise ValueError(f"{what} must have shape {(*front, n_pre, n_post)}; got {values.shape}")
    return values.reshape(*front, n_pre, n_post).swapaxes(-1, -2)
