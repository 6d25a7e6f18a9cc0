"""vjp() and value_and_grad(): the exact gradient, backwards through a solution's recorded spikes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import (
    count,
    first_entry,
    flag,
    index_vector,
    real_array,
    require_mapping,
    require_one_of,
    shown,
)
from eventsolve.chunks import chunk_ranges, joined, map_chunks
from eventsolve.errors import Carrying
from eventsolve.frozen import Frozen, FrozenMapping, MadeWhenRead, read_only
from eventsolve.interrupts import call
from eventsolve.kernels.layered_adjoint import backward
from eventsolve.kernels.recurrent_adjoint import mirror
from eventsolve.kernels.tables import Cotangents, Run, Sampled, Sums, Wanted
from eventsolve.losses import Evaluation, Loss, VoltageSamples
from eventsolve.losses.evaluation import evaluation_of
from eventsolve.mean_voltages import Means, Trial, is_readout, mean_adjoint_of, means_back
from eventsolve.patterns import NAMES, NEURON_PARAMETERS
from eventsolve.reductions import USUAL, Reduction
from eventsolve.sampled import joined_samples, sampled_of
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, arrow, listed, several
from eventsolve.solution import Gathered, Solution, Stopped, places_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.stability.condition import Condition, IllConditioned, gradient_condition
from eventsolve.stability.one_sided import Coincidence, OneSided, coincidences_of
from eventsolve.synapses import canonical_rows, same_synapses
from eventsolve.typing import Integers, Key, Reals, Synaptic


class UndefinedGradientError(ValueError):
    """The gradient does not exist: a spike that the loss depends on grazes its threshold with no slope."""


class NotAskedForError(Carrying, KeyError):
    """A gradient that ``wrt`` did not name, and that was not computed."""

    def __init__(self, name: str, wrt: tuple[str, ...]) -> None:
        super().__init__(name, wrt)

    def __str__(self) -> str:
        name, wrt = self.args
        return f"the gradient for {name} was not asked for: wrt is {wrt}"


class NotAskedFor(FrozenMapping[Any, Any]):
    """What stands in :class:`Gradients` for a quantity that ``wrt`` did not name: empty, and an error where it is read.

    Parameters
    ----------
    name : str
    wrt : tuple of str
    """

    __slots__ = ("_named",)
    _named: tuple[str, tuple[str, ...]]

    def __init__(self, name: str, wrt: tuple[str, ...]) -> None:
        super().__init__({})
        object.__setattr__(self, "_named", (name, wrt))

    def __getitem__(self, key: object) -> NoReturn:
        raise NotAskedForError(*self._named)

    def __repr__(self) -> str:
        return f"<not asked for: wrt is {self._named[1]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._named


@dataclass(frozen=True, eq=False, repr=False)
class StreamGradients(Frozen):
    """Derivatives of a loss for everything that a network and its inputs are made of.

    With ``reduction="none"`` every parameter's gradient has n_samples as first axis (a tuple of matrices for a sparse
    weight). A mapping that ``wrt`` does not name is empty, and reading a key of it is a KeyError that says so: what
    was not computed is not 0.

    Attributes
    ----------
    weight, delay : mapping of projection key to ndarray or csr_array, (n_post, n_pre)
        By (pre, post), in the layout of the weight that was given; the delay's is per synapse, in 1/s.
    tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref, v_initial, i_initial : mapping of population to ndarray, (n,)
        Readouts have no v_threshold, v_reset and t_ref. Of what went on from a stored state, v_initial and i_initial
        are the gradients for every neuron's V and I in that state, which counts as given.
    spike_times : mapping of input to ndarray, (n_spikes,)
        dL/dt in 1/s of every input spike, in the order of ``inputs[name].times``.
    silent_samples : ndarray of int64
        Samples to which the loss's policy for silent outputs was applied.
    n_samples : int
    per_sample : bool
        Whether ``reduction`` was "none".
    wrt : tuple of str
        The names of the mappings that were asked for: all, by default.
    """

    weight: Mapping[Key, Synaptic]
    delay: Mapping[Key, Synaptic]
    tau_mem: Mapping[str, Reals]
    tau_syn: Mapping[str, Reals]
    v_threshold: Mapping[str, Reals]
    v_reset: Mapping[str, Reals]
    v_leak: Mapping[str, Reals]
    t_ref: Mapping[str, Reals]
    v_initial: Mapping[str, Reals]
    i_initial: Mapping[str, Reals]
    spike_times: Mapping[str, Reals]
    silent_samples: NDArray[np.int64]
    n_samples: int = field(repr=False)
    per_sample: bool = field(repr=False)
    wrt: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        for name in NAMES:
            require_mapping(name, getattr(self, name), "population or projection to array")
        for name in ("weight", "delay"):
            given = getattr(self, name)
            parts = {key: _synaptic(f"{name}[{key!r}]", values) for key, values in given.items()}
            vars(self)[name] = parts or given  # one that was not asked for stays as it is
        vars(self).update(
            n_samples=count("n_samples", self.n_samples),
            per_sample=flag("per_sample", self.per_sample),
            wrt=checked_wrt(self.wrt),
            silent_samples=index_vector("silent_samples", self.silent_samples, self.n_samples),
        )
        super().__post_init__()

    def _summary(self) -> Summary:
        samples = several(self.n_samples, "sample")
        rows: list[tuple[str, object]] = [
            (f"{quantity} {arrow(key)}", _size_of(values))
            for quantity in ("weight", "delay")
            for key, values in getattr(self, quantity).items()
        ]
        neuronal = [name for name in NEURON_PARAMETERS if getattr(self, name)]
        rows.append(("per neuron", listed(neuronal, 10) or "none"))
        spikes = [f"{values.size} of {name}" for name, values in self.spike_times.items()]
        rows.append(("spike_times", listed(spikes) or "none"))
        if self.wrt != NAMES:
            rows.append(("wrt", listed(self.wrt, len(NAMES))))
        if self.silent_samples.size:
            rows.append(("silent_samples", listed(map(str, self.silent_samples))))
        title = f"{type(self).__name__}({f'of each of {samples}' if self.per_sample else f'over {samples}'})"
        return title, rows


@dataclass(frozen=True, eq=False, repr=False)
class Gradients(StreamGradients):
    """Derivatives of a loss, or of a sum of spike times weighted by cotangents, along a solution.

    Attributes
    ----------
    weight, delay, tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref, v_initial, i_initial : mapping
        As of :class:`StreamGradients`.
    spike_times : mapping of population to ndarray, (n_spikes,)
        dL/dt_k in 1/s of every spike with all that it changes downstream, in the order of ``solution.spikes``; for an
        input, the gradient for its spike times.
    silent_samples, n_samples, per_sample, wrt
        As of :class:`StreamGradients`.
    solution : Solution
    voltage_samples : mapping of population to VoltageSamples
        Where the loss reads voltages.
    of_loss : tuple of str
        Populations that the loss reads, also where that has no derivative, as of outputs that are silent; of
        cotangents, those of which some are not 0.
    """

    solution: Solution = field(repr=False, kw_only=True)
    voltage_samples: Mapping[str, VoltageSamples] = field(repr=False, kw_only=True)
    of_loss: tuple[str, ...] = field(repr=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_solution(self.solution)
        require_mapping("voltage_samples", self.voltage_samples, "population to VoltageSamples")
        for name in self.of_loss:
            require_one_of("of_loss", name, self.solution.network.populations)
        if self.n_samples != self.solution.n_samples:
            raise ValueError(
                f"n_samples must be that of the solution, {self.solution.n_samples}; got {self.n_samples}"
            )
        for name in NAMES:
            for key, values in getattr(self, name).items():
                self._check_shape(name, key, values)

    def _check_shape(self, name: str, key: Any, values: Any) -> None:
        """Raise a ValueError unless a gradient has the shape of what it is by in the solution."""
        network, where = self.solution.network, f"{name}[{key!r}]"
        synaptic, sparse = name in ("weight", "delay"), False
        require_one_of(f"a key of {name}", key, network.projections if synaptic else network.populations)
        if name == "spike_times":
            shape: tuple[int, ...] = (self.solution.spikes[key].n_spikes,)
        else:
            shape = network.projections[key].weight.shape if synaptic else (network.population(key).size,)
            sparse = synaptic and sp.issparse(network.projections[key].weight)
            if isinstance(values, tuple) != (self.per_sample and sparse):
                kind = "a tuple of matrices" if self.per_sample and sparse else "one array or matrix"
                raise ValueError(f"{where} must be {kind}; got {shown(values)}")
            if self.per_sample and sparse:
                if len(values) != self.n_samples:
                    raise ValueError(
                        f"{where} must be a tuple of {self.n_samples} matrices; got {shown(values)}"
                    )
            elif self.per_sample:
                shape = (self.n_samples, *shape)
        for part in values if isinstance(values, tuple) else (values,):
            if part.shape != shape:
                raise ValueError(f"{where} must have shape {shape}, as in the solution; got {part.shape}")
            if sparse and not (sp.issparse(part) and same_synapses(part, network.projections[key].weight)):
                raise ValueError(
                    f"{where} must be sparse, with the synapses of the solution's weight; got {shown(part)}"
                )
            if sp.issparse(part) and not sparse:
                raise ValueError(f"{where} must be an array, as the solution's weight is; got {shown(part)}")

    @cached_property
    def one_sided(self) -> tuple[OneSided, ...]:
        """Places where two events come at one time and the other order would have other derivatives, or another loss.

        Gradients are those of the order that the solution took, and one-sided: they hold for all changes that keep it
        at every such place. Worked out when it is asked for; empty but for spikes, delays and refractory periods on a
        grid. :func:`eventsolve.gradient_sides` says for which numbers it matters, and how.
        """
        return tuple(tie.place for tie in self.coincidences)

    @cached_property
    def coincidences(self) -> list[Coincidence]:
        """The places of ``one_sided``, each with what moves its two events."""
        self._require_spike_times("one_sided")
        self.solution.require_solved("coincidences are")
        sampled = [
            {
                name: sampled_of(voltage_samples, low, high)
                for name, voltage_samples in self.voltage_samples.items()
            }
            for low, high in chunk_ranges(self.solution.n_samples)
        ]
        return coincidences_of(self.solution, self.spike_times, sampled, self.of_loss)

    @cached_property
    def condition(self) -> Condition:
        """How many digits float64 knows of the derivatives of every spike time, worked out when it is asked for."""
        return gradient_condition(self.solution)

    def flagged(self, digits: float) -> tuple[IllConditioned, ...]:
        """Return the spikes through which a gradient flows that has fewer digits there."""
        self._require_spike_times("flagged")
        return self.condition.flagged(digits, among=self.spike_times)

    def _require_spike_times(self, what: str) -> None:
        if "spike_times" not in self.wrt:
            raise ValueError(
                f"{what} looks at the spikes through which the gradient flows: wrt must name 'spike_times', too; "
                f"got {self.wrt}"
            )


def _synaptic(where: str, given: Any) -> Synaptic:
    """Return a gradient by synapse as arrays of float64, or matrices of them in compressed rows."""
    if isinstance(given, tuple | list):
        return tuple(_matrix(f"{where}[{k}]", part) for k, part in enumerate(given))
    return _matrix(where, given)


def _matrix(where: str, given: Any) -> Any:
    if sp.issparse(given):
        computed = isinstance(given, sp.csr_array) and not given.data.flags.writeable
        if computed and given.dtype == np.float64 and given.has_canonical_format:
            return given  # of one that can be written what it says of its layout may be out of date
        rows = canonical_rows(given)
        return sp.csr_array((real_array(where, rows.data), rows.indices, rows.indptr), shape=rows.shape)
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{where} must be an array or a sparse matrix; got {shown(given)}")
    return given if given.dtype == np.float64 else real_array(where, given)


def _size_of(gradient: Any) -> str:
    """Return the shape of a gradient and its Euclidean norm."""
    parts = gradient if isinstance(gradient, tuple) else (gradient,)
    norm = math.hypot(
        *(float(np.linalg.norm(part.data if sp.issparse(part) else part)) for part in parts), 0.0
    )
    shape = f"{len(parts)} of {parts[0].shape}" if isinstance(gradient, tuple) and parts else gradient.shape
    return f"{'sparse ' if parts and sp.issparse(parts[0]) else ''}{shape}, norm {norm:.3g}"


def vjp(
    solution: Solution,
    cotangents: Mapping[str, ArrayLike],
    *,
    wrt: Collection[str] | None = None,
    reduction: Literal["sum", "none"] = "sum",
    threads: int | None = None,
) -> Gradients:
    """Return the gradient of sum_k cotangent_k t_k, exactly (Wunderlich & Pehle 2021).

    Parameters
    ----------
    solution : Solution
    cotangents : mapping of population to array_like, (n_spikes,)
        One for every spike of the named populations, in the order of ``solution.spikes[population].times``.
    wrt : collection of str, optional
        What to differentiate with respect to, by the names of :class:`Gradients`: "weight", "delay", "tau_mem", ...,
        "spike_times". Only those gradients are computed, with the same bits; by default all.
    reduction : {"sum", "none"}
        Sum over the samples, or keep each sample's own gradient.
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Raises
    ------
    ValueError
        For unknown names, cotangents of another length or not finite, an unknown reduction, or a ``wrt`` that is
        empty or names what has no gradient.
    UndefinedGradientError
        If a spike that matters grazes its threshold.
    """
    require_one_of("reduction", reduction, ("sum", "none"))
    asked = checked_wrt(wrt)
    require_solution(solution)
    if not isinstance(cotangents, Mapping):
        raise TypeError(
            f"cotangents must be a mapping of population to numbers, one for each spike; got {shown(cotangents)}"
        )
    checked = {}
    for name, values in cotangents.items():
        require_population("cotangents name", name, solution)
        checked[name] = _cotangent(name, values, solution.spikes[name].n_spikes)
    of_loss = tuple(name for name, values in checked.items() if values.any())
    return _backward(solution, Evaluation(np.empty(0), checked), of_loss, asked, reduction == "none", threads)


@overload
def value_and_grad(
    solution: Solution,
    loss: Loss,
    *,
    wrt: Collection[str] | None = ...,
    reduction: Literal["mean", "sum"] = ...,
    threads: int | None = ...,
) -> tuple[float, Gradients]: ...


@overload
def value_and_grad(
    solution: Solution,
    loss: Loss,
    *,
    wrt: Collection[str] | None = ...,
    reduction: Literal["none"],
    threads: int | None = ...,
) -> tuple[Reals, Gradients]: ...


@overload
def value_and_grad(
    solution: Solution,
    loss: Loss,
    *,
    wrt: Collection[str] | None = ...,
    reduction: Reduction,
    threads: int | None = ...,
) -> tuple[float | Reals, Gradients]: ...


def value_and_grad(
    solution: Solution,
    loss: Loss,
    *,
    wrt: Collection[str] | None = None,
    reduction: Reduction = USUAL,
    threads: int | None = None,
) -> tuple[float | Reals, Gradients]:
    """Return a loss and its exact gradient.

    Parameters
    ----------
    solution : Solution
    loss : Loss
        From :mod:`eventsolve.losses`.
    wrt : collection of str, optional
        As in :func:`vjp`: only these gradients are computed; by default all.
    reduction : {"mean", "sum", "none"}
        Over the batch, of value and gradient alike; "none" gives values (n_samples,) and each sample's own gradient.
    threads : int, optional
        As in ``solve``.

    Returns
    -------
    value : float or ndarray of float64, (n_samples,)
    gradients : Gradients

    Raises
    ------
    TypeError
        If the solution or the loss is something else.
    ValueError
        If the loss does not fit the solution, or reads the time of a silent output and its policy is "raise"; for an
        unknown reduction, or a ``wrt`` that is empty or names what has no gradient.
    UndefinedGradientError
        If a spike that matters grazes its threshold.
    """
    require_one_of("reduction", reduction, ("mean", "sum", "none"))
    asked = checked_wrt(wrt)
    require_solution(solution)
    evaluation = evaluated(solution, loss)
    n = solution.n_samples
    if reduction == "mean" and n == 0:
        raise ValueError("the mean over an empty batch is not defined; choose reduction='sum' or 'none'")
    scaled_down = scaled(evaluation, 1.0 / n if reduction == "mean" else 1.0)
    read = scaled_down.populations()
    gradients = _backward(solution, scaled_down, read, asked, reduction == "none", threads)
    return reduced(evaluation.values, reduction), gradients


def reduced(values: Reals, reduction: Reduction) -> float | Reals:
    """Return each sample's loss, or their sum or mean as a float."""
    if reduction == "none":
        return values
    total = float(np.sum(values))
    return total / values.size if reduction == "mean" else total


def require_solution(solution: object) -> None:
    """Raise a TypeError unless it is a solution."""
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution, which es.solve gives; got {shown(solution)}")


def checked_wrt(wrt: Collection[str] | None) -> tuple[str, ...]:
    """Return the names that are asked for, in the order of Gradients, or raise an error that says what there is."""
    if wrt is None:
        return NAMES
    if isinstance(wrt, str) or not isinstance(wrt, Collection):
        hint = f": for one name write wrt=({wrt!r},)" if isinstance(wrt, str) else ""
        raise TypeError(f"wrt must be a collection of names out of {NAMES}; got {shown(wrt)}{hint}")
    unknown = [name for name in wrt if name not in NAMES]
    if unknown:
        raise ValueError(f"wrt must name some of {NAMES}; got {shown(unknown[0])}")
    if not len(wrt):
        raise ValueError(f"wrt must name at least one of {NAMES}; got {shown(wrt)}")
    return tuple(name for name in NAMES if name in wrt)


def evaluated(solution: Solution, loss: Loss) -> Evaluation:
    """Return what a loss, which may be anybody's, gives; or raise an error that says what does not fit the solution."""
    evaluation = evaluation_of(loss, solution)
    for name in evaluation.spike_times:
        require_population("the loss's derivative names", name, solution)
    voltage_samples = {}
    for name, given in evaluation.voltages.items():
        require_population("the loss reads voltages of", name, solution)
        voltage_samples[name] = _checked_samples(name, given, solution)
    means = {key: _checked_means(key, slopes, solution) for key, slopes in evaluation.means.items()}
    times = {
        name: _cotangent(name, slopes, solution.spikes[name].n_spikes)
        for name, slopes in evaluation.spike_times.items()
    }
    return replace(evaluation, spike_times=times, voltages=voltage_samples, means=means)


def _checked_means(key: tuple[str, float], slopes: Reals, solution: Solution) -> Reals:
    name, rate = key
    require_population("the loss reads mean voltages of", name, solution)
    if not is_readout(solution, name):
        raise ValueError(f"mean voltages have a closed form for LI populations; {name!r} is none")
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(f"the rate of a mean voltage of {name!r} must be finite and >= 0; got {rate!r}")
    checked = real_array(f"the cotangent of the mean voltages of {name!r}", slopes)
    shape = (solution.n_samples, solution.network.population(name).size)
    if checked.shape != shape:
        raise ValueError(
            f"the cotangent of the mean voltages of {name!r} must have shape {shape}; got {checked.shape}"
        )
    if not np.isfinite(checked).all():
        raise ValueError(
            f"the cotangent of the mean voltages of {name!r} must be finite; "
            f"{first_entry(checked, ~np.isfinite(checked))}"
        )
    return checked


def _checked_samples(name: str, voltage_samples: VoltageSamples, solution: Solution) -> VoltageSamples:
    layer = solution.layer(name)
    place = layer.slice_of(name)
    checked = VoltageSamples(
        index_vector(f"samples at which {name!r} is read", voltage_samples.samples, solution.n_samples),
        index_vector(f"neurons of {name!r} that are read", voltage_samples.neurons, place.stop - place.start),
        real_array(f"times at which {name!r} is read", voltage_samples.times),
        np.array(voltage_samples.arrivals, dtype=np.int64),
        real_array(f"the cotangent of what is read of {name!r}", voltage_samples.cotangents),
    )
    sizes = {column.shape for column in checked}
    if len(sizes) > 1:
        raise ValueError(
            f"voltage samples of {name!r} must have one length; got {[column.size for column in checked]}"
        )
    outside = ~((checked.times >= solution.t_start) & (checked.times <= solution.t_end))
    if outside.any():
        raise ValueError(
            f"times at which {name!r} is read must lie in [{solution.t_start!r}, t_end = {solution.t_end!r}]; "
            f"{first_entry(checked.times, outside)}"
        )
    moving = checked.moving
    if layer.cyclic and moving.any():
        raise ValueError(
            f"voltage samples of {name!r}, which is in a cycle, must be fixed in time, with -1 for arrivals; "
            f"{first_entry(checked.arrivals, moving)}"
        )
    if not np.isfinite(checked.cotangents).all():
        raise ValueError(
            f"the cotangent of what is read of {name!r} must be finite; "
            f"{first_entry(checked.cotangents, ~np.isfinite(checked.cotangents))}"
        )
    s, n, t = checked.samples, checked.neurons, checked.times
    same = (s[1:] == s[:-1]) & (n[1:] == n[:-1])
    if ((s[1:] < s[:-1]) | ((s[1:] == s[:-1]) & (n[1:] < n[:-1])) | (same & (t[1:] < t[:-1]))).any():
        raise ValueError(f"voltage samples of {name!r} must be sorted by sample, neuron and time")
    return checked


def require_population(what: str, name: object, solution: Solution) -> None:
    """Raise a ValueError unless a solution has a population of that name."""
    populations = solution.network.populations
    if name not in populations:
        raise ValueError(f"{what} {shown(name)}, which is not a population; there are {list(populations)}")


def _cotangent(name: str, values: ArrayLike, n_spikes: int) -> Reals:
    if isinstance(values, np.ndarray) and values.dtype == np.bool_:
        values = values.astype(np.float64)  # a mask chooses the spikes whose times are added up
    array = real_array(f"the cotangent of {name!r}", values)
    if array.shape != (n_spikes,):
        raise ValueError(
            f"the cotangent of {name!r} must have one entry for each of its {n_spikes} spikes; got {array.shape}"
        )
    if not np.isfinite(array).all():
        k = int(np.argmax(~np.isfinite(array)))
        raise ValueError(f"the cotangent of {name!r} must be finite; entry {k} is {float(array[k])!r}")
    return array


def scaled(evaluation: Evaluation, scale: float) -> Evaluation:
    """Return an evaluation whose derivatives are multiplied by a number; its values are as they were."""
    if scale == 1.0:
        return evaluation
    return replace(
        evaluation,
        spike_times={name: values * scale for name, values in evaluation.spike_times.items()},
        voltages={
            name: r._replace(cotangents=r.cotangents * scale) for name, r in evaluation.voltages.items()
        },
        means={key: scale * cotangents for key, cotangents in evaluation.means.items()},
    )


def _backward(
    solution: Solution,
    evaluation: Evaluation,
    of_loss: tuple[str, ...],
    wrt: tuple[str, ...],
    per_sample: bool,
    threads: int | None,
) -> Gradients:
    """Run every chunk back, and join: spike by spike, and per sample or added up in the order of the chunks."""
    if solution.stopped is not None:
        solved = {
            name: values[_solved(solution.spikes[name], solution.stopped)]
            for name, values in evaluation.spike_times.items()
        }
        evaluation = replace(evaluation, spike_times=solved)
    spike_times, contributions, _ = back(solution, evaluation, wrt, per_sample, threads)
    fields = by_name(layers_of(solution.network), contributions, wrt, per_sample)
    for times in spike_times.values():
        times.setflags(write=False)
    gradients = Gradients._made(
        **fields,
        spike_times=FrozenMapping.of_read_only(spike_times)
        if "spike_times" in wrt
        else NotAskedFor("spike_times", wrt),
        silent_samples=evaluation.silent_samples,
        n_samples=solution.n_samples,
        solution=solution,
        voltage_samples=evaluation.voltages,
        of_loss=of_loss,
        per_sample=per_sample,
        wrt=wrt,
    )
    if solution.stopped is not None and "spike_times" in wrt:
        gradients = _with_unsolved(gradients, solution.spikes, solution.stopped)
    return gradients


Contribution: TypeAlias = tuple[Reals, Reals, Reals]
"""What a layer contributes to the gradients of its weights, its delays and its neurons' parameters."""


class CutAdjoint(NamedTuple):
    """The adjoint of what a piece of a stream hands on to the next, at the cut between them.

    ``neurons`` are dL/dV, dL/dI and, of neurons that are held there, dL/dt of their release, by layer,
    (n_samples, 3, n); ``in_flight`` is dL/dt of the spikes under way, in the order of ``State.in_flight``.
    """

    neurons: dict[tuple[str, ...], Reals]
    in_flight: dict[str, Reals]


def back(
    solution: Solution,
    evaluation: Evaluation,
    wrt: tuple[str, ...],
    per_sample: bool,
    threads: int | None,
    final: CutAdjoint | None = None,
    trial: Trial | None = None,
) -> tuple[dict[str, Reals], list[list[Contribution]], CutAdjoint | None]:
    """Run every chunk back from t_end, where the adjoint is ``final``, by default 0.

    ``trial`` says from when to when means are taken, by default over the solution.

    Returns
    -------
    spike_times : dict of population to ndarray, (n_spikes,)
    contributions : list
        Of every chunk, if ``per_sample``, or one for their sum: that of every layer.
    start : CutAdjoint or None
        The adjoint of the start states, if ``final`` was given.
    """
    solution = solution.from_start()  # what was before is no part of it, and not differentiated
    layers = layers_of(solution.network)
    ranges = chunk_ranges(solution.n_samples)
    wanted = Wanted("weight" in wrt, "delay" in wrt, not _FLOW.isdisjoint(wrt))
    starts = {
        name: list(accumulate((chunk.spikes[name].times.size for chunk in solution._chunks), initial=0))
        for name in solution.spikes
    }
    cotangents = evaluation.spike_times

    def work(k: int) -> tuple[dict[str, Reals], list[Contribution], CutAdjoint | None]:
        chunk = solution._chunks[k]
        errors = {
            name: cotangents[name][starts[name][k] : starts[name][k + 1]].copy()
            if name in cotangents
            else np.zeros(spikes.times.size)
            for name, spikes in chunk.spikes.items()
        }
        low, high = ranges[k]
        cut = None
        if final is not None:
            cut = CutAdjoint(
                {name: columns[low:high].copy() for name, columns in final.neurons.items()},
                {name: np.zeros(spikes.times.size) for name, spikes in chunk.carried.items()},
            )
        return _chunk_back(
            solution,
            layers,
            k,
            low,
            errors,
            {n: sampled_of(r, low, high) for n, r in evaluation.voltages.items()},
            evaluation.means,
            cut,
            trial,
            wanted,
            "spike_times" in wrt,
            per_sample,
        )

    spike_times: dict[str, list[Reals]] = {name: [] for name in solution.spikes}
    contributions: list[list[Contribution]] = []
    cuts = []
    for errors, results, cut in map_chunks(work, len(solution._chunks), threads):
        for name, values in errors.items():
            spike_times[name].append(values)
        if cut is not None:
            cuts.append(cut)
        if per_sample or not contributions:
            contributions.append(results)
        else:
            add_to(contributions[0], results)
    joined_times = {name: joined(parts or [np.empty(0)]) for name, parts in spike_times.items()}
    if final is None:
        return joined_times, contributions, None
    start = CutAdjoint(
        {
            name: joined([cut.neurons[name] for cut in cuts] or [columns])
            for name, columns in final.neurons.items()
        },
        {name: joined([cut.in_flight[name] for cut in cuts]) for name in (cuts[0].in_flight if cuts else ())},
    )
    return joined_times, contributions, start


def add_to(total: list[Contribution], more: list[Contribution]) -> None:
    """Add what every layer contributes to what it contributed before."""
    for into, terms in zip(total, more, strict=True):
        for column, term in zip(into, terms, strict=True):
            column += term


_FLOW = frozenset(("tau_mem", "tau_syn", "v_leak"))
"""What acts all the time, and not only at spikes."""


def _solved(trains: SpikeTrains, stopped: Stopped) -> NDArray[np.bool_]:
    """Return which spikes come before their sample was stopped: all but some of the inputs."""
    return np.asarray(trains.times <= stopped.until[trains.samples])


def _with_unsolved(gradients: Gradients, spikes: Mapping[str, SpikeTrains], stopped: Stopped) -> Gradients:
    """Return the gradients with 0 for input spikes that come after their sample was stopped."""
    times = {name: np.zeros(trains.n_spikes) for name, trains in spikes.items()}
    for name, values in gradients.spike_times.items():
        times[name][_solved(spikes[name], stopped)] = values
    return Gradients._made(**vars(gradients) | {"spike_times": times})


def _chunk_back(
    solution: Solution,
    layers: tuple[Layer, ...],
    k: int,
    low: int,
    errors: dict[str, Reals],
    sampled: Mapping[str, Sampled],
    means: Means,
    cut: CutAdjoint | None,
    trial: Trial | None,
    wanted: Wanted,
    judged: bool,
    per_sample: bool,
) -> tuple[dict[str, Reals], list[Contribution], CutAdjoint | None]:
    """Return dL/dt of every spike of chunk k, what every layer contributes, and the adjoint at the start for ``cut``.

    ``cut`` is that of the neurons at t_end, and 0 for the spikes under way at the start: both are replaced.
    """
    chunk = solution._chunks[k]
    results: list[Contribution] = []
    for layer in reversed(layers):
        run, sources = solution.run_of(layer, chunk)
        own = run.own
        places: Mapping[str, Integers | slice]
        if layer.efferents is None:
            places, of_spikes = {layer.name[0]: slice(None)}, errors[layer.name[0]]
        else:
            places, of_spikes = places_of(layer, own), np.empty(own.times.size)
            for name, rows in places.items():
                of_spikes[rows] = errors[name]
        here = joined_samples(layer, sampled, chunk.n_samples)
        boundary = _NO_BOUNDARY if cut is None else cut.neurons[layer.name]
        cotangents = Cotangents(of_spikes, solution.slopes_of_layer(k, layer), here, boundary)
        sums, grazing = (
            _around_cycle(solution, layer, run, sources, cotangents, wanted, judged, per_sample)
            if layer.cyclic
            else call(backward, layer.by_target, run, cotangents, wanted, per_sample, layer.n_synapses)
        )
        source_errors = sums.errors
        if grazing >= 0:
            sample = low + int(np.searchsorted(own.offsets, grazing, side="right")) - 1
            name, neuron = layer.neuron_of(int(own.neurons[grazing]))
            raise UndefinedGradientError(
                f"the gradient is not defined: neuron {neuron} of {name!r} in sample {sample} "
                f"{solution.without_slope(float(own.times[grazing]))}, and the loss depends on that spike"
            )
        found = (source_errors, sums.weight, sums.delay, sums.parameters)
        for more in means_back(solution, layer, k, run, means, wanted, per_sample, trial):
            for into, term in zip(found, more, strict=True):
                into += term
        if cut is not None and means:
            here_at = np.full((chunk.n_samples, 1), solution.t_start)
            for column, by_mean in enumerate(mean_adjoint_of(solution, layer, k, means, here_at, trial)):
                boundary[:, column] += by_mean[:, :, 0]
        for name, place in places.items():
            errors[name] = sums.totals[place]
        if sources.order is not None:
            ungrouped = np.empty_like(source_errors)
            ungrouped[sources.order] = source_errors
            source_errors = ungrouped
        start = 0
        for (source, size), carried in zip(sources.parts, sources.carried, strict=True):
            if source is not None:
                errors[source] += source_errors[start : start + size]
            elif carried is not None and cut is not None:
                cut.in_flight[carried] += source_errors[start : start + size]
            start += size
        results.append((sums.weight, sums.delay, sums.parameters))
    results.reverse()
    return errors, results, cut


_NO_BOUNDARY = np.empty((0, 3, 0))
"""An adjoint of 0 at t_end, of which nothing is asked at the start."""


def _around_cycle(
    solution: Solution,
    layer: Layer,
    run: Run,
    sources: Gathered,
    cotangents: Cotangents,
    wanted: Wanted,
    inputs_judged: bool,
    per_sample: bool,
) -> tuple[Sums, int]:
    """Return what ``backward`` does, of a cyclic layer; its synapses in the order of its efferents."""
    judged = np.ones(layer.n_sources, np.bool_)
    if not inputs_judged:
        for name, (a, b) in zip(layer.sources, pairwise(layer.source_offsets.tolist()), strict=True):
            judged[a:b] = solution.network.population(name).neuron is not None
    n_before = run.spikes.times.size - run.own.times.size
    order = np.arange(run.own.times.size) if sources.order is None else sources.order
    own_of = np.where(order >= n_before, order - n_before, -1)
    found: tuple[Sums, int] = call(
        mirror, layer.neurons, layer.efferents, run, own_of, cotangents, judged, wanted, per_sample
    )
    return found


def by_name(
    layers: tuple[Layer, ...], contributions: list[list[Contribution]], wrt: tuple[str, ...], per_sample: bool
) -> dict[str, Mapping[Any, Any]]:
    """Return the mappings of :class:`Gradients` but for ``spike_times``, those that were not asked for included.

    To give every number its name takes as long as a small network's way back: that is done once one is read.
    """
    n_rows = 0 if per_sample else 1
    columns: tuple[list[Reals], ...] = ([], [], [])
    for index, layer in enumerate(layers):
        shapes = ((n_rows, layer.n_synapses), (n_rows, layer.n_synapses), (n_rows, 8, layer.size))
        for k, shape in enumerate(shapes):
            column = joined([chunk[index][k] for chunk in contributions] or [np.zeros(shape)])
            column.setflags(write=False)  # and so is every part of it
            columns[k].append(column if per_sample else column[0])
    weight, delay, parameters = columns

    def of_synapses(columns: list[Reals]) -> dict[Any, Any]:
        found = {}
        for layer, column in zip(layers, columns, strict=True):
            split = layer.bundles_by_projection(column) if layer.cyclic else layer.by_projection(column)
            found.update({p.key: read_only(p.shaped(split[p.key])) for p in layer.projections})
        return found

    def of_neurons(row: int, name: str) -> dict[Any, Any]:
        return {
            population.name: column[..., row, layer.slice_of(population.name)]
            for layer, column in zip(layers, parameters, strict=True)
            for population in layer.populations
            if hasattr(population.neuron, name)
        }

    make = {"weight": partial(of_synapses, weight), "delay": partial(of_synapses, delay)}
    make |= {name: partial(of_neurons, row, name) for row, name in enumerate(NEURON_PARAMETERS)}
    return {name: MadeWhenRead(make[name]) if name in wrt else NotAskedFor(name, wrt) for name in make}
