"""Losses as documents: those that are numbers alone, and errors that were given from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve import losses
from eventsolve.bounded import Budget
from eventsolve.checks import require_one_of, shown
from eventsolve.compare.matching import match_spikes
from eventsolve.frozen import Frozen
from eventsolve.io.records.fields import RecordError, indices, mapping, number, reals, scaled, text
from eventsolve.losses import Evaluation, Loss
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Reals

KINDS: dict[str, tuple[str, ...]] = {
    "TTFSCrossEntropy": ("tau0", "tau1"),
    "FirstSpikeCrossEntropy": ("tau0", "alpha"),
    "TargetTimeMSE": ("targets",),
    "RelativeMSE": ("gap",),
    "MaxVoltageCrossEntropy": (),
    "MeanVoltageCrossEntropy": (),
    "SumVoltageCrossEntropy": ("time_step",),
    "InstantCrossEntropy": (),
    "SpikeCountLoss": (),
    "SilentHinge": (),
}
"""Losses by the names of their classes, and which of their fields are times."""
SQUARED = ("TargetTimeMSE", "RelativeMSE")
"""Losses that are squares of times."""


@dataclass(frozen=True, eq=False)
class GivenErrors(Frozen):
    """L = sum_k e_k t_k over some spikes: dL/dt_k that came from outside, as for one layer of a larger network.

    Of another run of the network, spikes take the errors of those with which they pair in order, others none.

    Attributes
    ----------
    spikes : mapping of str to SpikeTrains
        To which the errors belong.
    errors : mapping of str to ndarray of float64, (n_spikes,)
        1/s.

    Raises
    ------
    TypeError, ValueError
        If they are of other kinds, or there is not one error for each spike.
    """

    spikes: Mapping[str, SpikeTrains]
    errors: Mapping[str, Reals]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in self.errors.items():
            require_one_of("a key of errors", name, self.spikes)
            if values.shape != (self.spikes[name].n_spikes,):
                raise ValueError(
                    f"errors[{name!r}] must have shape ({self.spikes[name].n_spikes},), as there are spikes; "
                    f"got {values.shape}"
                )

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's sum, and its derivative by the spike times."""
        values = np.zeros(solution.n_samples)
        slopes = {}
        for name, given in self.errors.items():
            trains = solution.spikes[name]
            latest = max(float(t.times.max(initial=0.0)) for t in (trains, self.spikes[name]))
            match = match_spikes(name, trains, self.spikes[name], latest)
            slopes[name] = np.zeros(trains.n_spikes)
            slopes[name][match.exact_index] = given[match.model_index]
            np.add.at(values, trains.samples, slopes[name] * trains.times)
        return Evaluation(values, slopes)

    def select(self, samples: NDArray[np.int64]) -> GivenErrors:
        """Return the errors of some samples, in the order given."""
        found = {}
        for name, trains in self.spikes.items():
            bounds = np.searchsorted(trains.samples, np.arange(trains.n_samples + 1))
            own = [np.arange(bounds[k], bounds[k + 1]) for k in samples.tolist()]
            found[name] = np.concatenate([np.empty(0, np.int64), *own])
        return GivenErrors(
            {name: trains.select(samples) for name, trains in self.spikes.items()},
            {name: errors[found[name]] for name, errors in self.errors.items()},
        )


def loss_document(loss: Loss) -> dict[str, Any]:
    """Return a loss as a document, in seconds, or raise a ValueError if it is one that computes what it likes."""
    kind = type(loss).__name__
    if isinstance(loss, GivenErrors):
        return {"kind": kind, "errors": dict(loss.errors)}
    if getattr(losses, kind, None) is not type(loss) or kind not in KINDS:
        raise ValueError(
            f"loss must be one of {', '.join([*KINDS, 'GivenErrors'])} to be written; got {kind}"
        )
    document: dict[str, Any] = {"kind": kind}
    for entry in fields(loss):  # type: ignore[arg-type]
        value = getattr(loss, entry.name)
        if callable(value):
            raise ValueError(f"{entry.name} of {kind} must be a name to be written; got {shown(value)}")
        document[entry.name] = value
    return document


def loss_of(
    where: str,
    document: object,
    seconds: float,
    spikes: Mapping[str, SpikeTrains],
    orders: Mapping[str, NDArray[np.int64]],
    budget: Budget,
) -> tuple[Loss | None, tuple[str, ...]]:
    """Return the loss of a document whose unit of time lasts ``seconds``, and what is to be said of it.

    One of another tool, which there is only a name of, is None.

    ``spikes`` are the record's, to which given errors belong, and ``orders`` where each stands in the document.

    Raises
    ------
    RecordError
        If it is not a loss.
    """
    entry = mapping(where, document, ("kind",))
    kind = text(f"{where}.kind", entry["kind"], (*KINDS, "GivenErrors", "Other"))
    if kind == "Other":
        mapping(where, entry, ("kind", "name"), ())
        name = text(f"{where}.name", entry["name"])
        return None, (
            f"The loss is {name}, which is none of {', '.join(KINDS)}: nothing is known of its gradients.",
        )
    if kind == "GivenErrors":
        mapping(where, entry, ("kind", "errors"), ())
        errors = {}
        for name, values in mapping(f"{where}.errors", entry["errors"]).items():
            if name not in spikes:
                raise RecordError(f"{where}.errors has {shown(name)}, of which there are no spikes")
            place = f"{where}.errors of {name!r}"
            errors[name] = scaled(place, reals(place, values, budget), 1.0 / seconds, budget)
            budget.take(errors[name].nbytes, place)
            if errors[name].shape != spikes[name].times.shape or not np.isfinite(errors[name]).all():
                raise RecordError(
                    f"{where}.errors of {name!r} must be {spikes[name].n_spikes} finite numbers, one per spike"
                )
            errors[name] = errors[name][orders[name]]
        return GivenErrors({name: spikes[name] for name in errors}, errors), ()
    made: Any = getattr(losses, kind)
    required = [f.name for f in fields(made) if f.default is MISSING]
    optional = [f.name for f in fields(made) if f.default is not MISSING]
    mapping(where, entry, ("kind", *required), optional)
    values = {name: entry[name] for name in (*required, *optional) if name in entry}
    text(f"{where}.population", values["population"])
    for name in values:
        if name in KINDS[kind]:
            place = f"{where}.{name}"
            values[name] = scaled(place, reals(place, values[name], budget), seconds, budget)
            budget.take(2 * values[name].nbytes, place)
            values[name] = values[name] if values[name].ndim else float(values[name])
        elif name == "labels":
            values[name] = indices(f"{where}.labels", values[name], 2**31, budget)
        elif name in ("alpha", "upper", "lower"):
            values[name] = number(f"{where}.{name}", values[name])
        elif name in ("target", "level"):
            values[name] = reals(f"{where}.{name}", values[name], budget)
        elif name in ("silent", "weighting"):
            text(f"{where}.{name}", values[name])
    try:
        loss: Loss = made(**values)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordError(f"{where}: {error}") from error
    return loss, ()
