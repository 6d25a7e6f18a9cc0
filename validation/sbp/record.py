"""What a chip recorded of its learning: weights before and after each trial, spikes by phase; and its file.

A file is a document as :mod:`eventsolve.io.records` writes it, JSON, a zip of arrays or HDF5, in its own format::

    {"format": "eventsolve-learning-record", "version": 1, "name": "my chip",
     "inputs": [[0, 1, ...], ...], "targets": [[1, 0, ...], ...],
     "before": {"x->h": [[[...]]], "h->o": ...}, "after": {...}, "spikes": {"h": [[[...]]], ...},
     "read": "before", "consecutive": true}

``spikes``, ``read`` and ``consecutive`` may be left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.bounded import MAX_BYTES, Budget
from eventsolve.checks import shown
from eventsolve.frozen import Frozen
from eventsolve.io.records import RecordError, document_in, write_document
from eventsolve.io.records.fields import Document, mapping, reals, text
from validation.sbp import circuit
from validation.sbp.rule import CHIP, Read, Rule
from validation.sbp.weights import Flags, Integers, Weights, binary, check_shape, on_grid
from validation.sbp.wiring import LEARNING, Wiring

FORMAT, VERSION = "eventsolve-learning-record", 1
NEEDED = ("x->h", "h->o")
"""W1 and W2; the other projections hold copies of them, and may be left out."""
_REQUIRED = ("format", "version", "name", "inputs", "targets", "before", "after")
_OPTIONAL = ("spikes", "read", "consecutive")


@dataclass(frozen=True, eq=False, repr=False)
class Record(Frozen):
    """Trials of a chip that learns by spiking backpropagation.

    Attributes
    ----------
    name : str
    inputs, targets : ndarray of bool, (n_trials, n_in) and (n_trials, n_out)
    before, after : mapping of str to ndarray of int32, (n_trials, n_pre, n_post)
        Weights before and after each trial, by projection; "x->h" (W1) and "h->o" (W2) at least, of the others
        ("x->h_lo", "x->h_hi", "h->o_lo", "h->o_hi", "o->hT", "oTm->hT") what there is.
    spikes : mapping of str to ndarray of bool, (n_trials, 12, n)
        By population, of those that were recorded; phase 0 is the last of a trial.
    read : {"before", "after"} or None
        Whether spikes have the weight before the learning of their step, if that is known.
    consecutive : bool or None
        Whether each trial came at once after the one before, so that what was under way goes on; None if unknown.

    Raises
    ------
    ValueError
        If a weight is off the chip's grid or range, an input or a target not binary, a layer of size 0, or the parts do
        not fit each other.
    """

    name: str
    inputs: Flags
    targets: Flags
    before: Mapping[str, Integers]
    after: Mapping[str, Integers]
    spikes: Mapping[str, Flags] = field(default_factory=dict)
    read: Read | None = None
    consecutive: bool | None = None

    def __post_init__(self) -> None:
        checked = _checked(self)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Inputs, hidden neurons, outputs."""
        return self.inputs.shape[1], self.before["x->h"].shape[2], self.targets.shape[1]

    @property
    def n_trials(self) -> int:
        """How many there are."""
        return len(self.inputs)

    def weights(self, trial: int) -> Weights:
        """Return W1 and W2 before a trial."""
        return Weights(self.before["x->h"][trial], self.before["h->o"][trial])

    @cached_property
    def derived(self) -> dict[str, Integers]:
        """What every projection holds before the first trial, if W1 and W2 are copied as they should be."""
        return circuit.held(self.weights(0))

    @cached_property
    def between(self) -> str:
        """Which weight is first another one before a trial than after the one before it; "" if none is."""
        for trial in range(1, self.n_trials):
            for name in self.before:
                old, new = self.after[name][trial - 1], self.before[name][trial]
                apart = np.argwhere(old != new)
                if len(apart):
                    i, j = map(int, apart[0])
                    was, now = f"{old[i, j]} after trial {trial - 1}", f"{new[i, j]} before trial {trial}"
                    return f"{name}[{i}, {j}] is {was} and {now}"
        return ""

    def _summary(self) -> tuple[str, list[tuple[str, object]]]:
        return f"Record of learning: {self.name}", [
            ("network", "-".join(map(str, self.sizes))),
            ("trials", self.n_trials),
            ("weights", ", ".join(self.before)),
            ("spikes", ", ".join(self.spikes) or "none"),
        ]


def recorded(
    weights: Weights,
    inputs: ArrayLike,
    targets: ArrayLike,
    rule: Rule = CHIP,
    *,
    wiring: Wiring = LEARNING,
    held: Mapping[str, Integers] | None = None,
    name: str = "circuit",
) -> Record:
    """Return the record of a circuit that learns samples, with all that it may hold.

    Parameters
    ----------
    weights : Weights
    inputs, targets : array_like, (n_trials, n_in) and (n_trials, n_out)
    rule : Rule
    wiring : Wiring
        The circuit, which may have a fault.
    held : mapping of str to ndarray, optional
        What projections hold to begin with, if it is not what ``weights`` say.
    name : str

    Raises
    ------
    ValueError
        As :func:`validation.sbp.circuit.learned`.
    """
    start = circuit.held(weights, wiring, rule) | dict(held or {})
    trials = circuit.ran(circuit.begun(start, wiring), inputs, targets, wiring, rule)
    before = {
        projection: np.concatenate([start[projection][np.newaxis], values])[:-1]
        for projection, values in trials.weights.items()
    }
    return Record(name, np.asarray(inputs), np.asarray(targets), before, trials.weights, trials.spikes)


def _checked(record: Record) -> dict[str, Any]:
    if not isinstance(record.name, str) or not record.name:
        raise ValueError(f"name must be a string; got {shown(record.name)}")
    if record.read not in (None, "before", "after"):
        raise ValueError(f"read must be before, after or None; got {shown(record.read)}")
    if record.consecutive is not None and not isinstance(record.consecutive, bool):
        raise ValueError(f"consecutive must be True or False; got {shown(record.consecutive)}")
    x, t = binary("inputs", record.inputs), binary("targets", record.targets)
    if len(x) != len(t) or not len(x):
        raise ValueError(f"targets must be as many as inputs, at least one; got {len(t)} and {len(x)}")
    weights: dict[str, dict[str, Integers]] = {}
    known = {p.name: p for p in LEARNING.plastic}
    for when in ("before", "after"):
        given = getattr(record, when)
        for name in (*NEEDED, *given):
            if name not in given:
                raise ValueError(f"{when} must have {name!r}; it has {', '.join(given) or 'nothing'}")
            if name not in known:
                raise ValueError(f"{when} has {shown(name)}, which is none of {', '.join(known)}")
        hidden = np.shape(given["x->h"])[-1] if np.ndim(given["x->h"]) == 3 else 0
        sizes = (x.shape[1], hidden, t.shape[1])
        weights[when] = {}
        for name, values in given.items():
            shape = tuple(LEARNING.size(end, sizes) or None for end in (known[name].pre, known[name].post))
            weights[when][name] = on_grid(f"{when}[{name!r}]", values, shape=(len(x), *shape))
    if set(weights["before"]) != set(weights["after"]):
        apart = sorted(set(weights["before"]) ^ set(weights["after"]))
        raise ValueError(f"before and after must have the same projections; {apart[0]!r} is in one of them")
    spikes = {}
    for name, values in record.spikes.items():
        if name not in LEARNING.names:
            raise ValueError(f"spikes has {shown(name)}, which is none of {', '.join(LEARNING.names)}")
        found = np.asarray(values)
        shape = (len(x), LEARNING.n_phases, LEARNING.size(name, sizes))
        check_shape(f"spikes[{name!r}]", found, shape)
        spikes[name] = binary(f"spikes[{name!r}]", found.reshape(len(x) * shape[1], shape[2])).reshape(shape)
    return {"inputs": x, "targets": t, **weights, "spikes": spikes}


# -- files -----------------------------------------------------------------------------------------------------------


def write(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a record; the name's ending says how: ``.json``, ``.npz``, ``.h5`` or ``.hdf5``.

    Raises
    ------
    ValueError
        For another ending.
    NotWrittenError
        If the file system refuses; what was there before is there still.
    """
    small: Any = {
        "inputs": record.inputs.astype(np.int8),
        "targets": record.targets.astype(np.int8),
        "before": {name: values.astype(np.int16) for name, values in record.before.items()},
        "after": {name: values.astype(np.int16) for name, values in record.after.items()},
        "spikes": {name: values.astype(np.int8) for name, values in record.spikes.items()},
    }
    said = {"format": FORMAT, "version": VERSION, "name": record.name}
    known = {"read": record.read, "consecutive": record.consecutive}
    write_document(said | {name: value for name, value in known.items() if value is not None} | small, path)


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Record:
    """Read a record.

    Raises
    ------
    RecordError
        If the file is none, or would take more than ``max_bytes``, counted before it is allocated.
    OSError
        If it cannot be opened.
    """
    return record_of(*document_in(path, max_bytes=max_bytes))


def record_of(document: object, budget: Budget) -> Record:
    """Return the record of a document, whose arrays are ndarrays or nested lists; raises as :func:`read`."""
    top = mapping("the record", document, _REQUIRED, _OPTIONAL)
    if top["format"] != FORMAT:
        raise RecordError(f"format must be {FORMAT!r}; got {shown(top['format'])}")
    if isinstance(top["version"], bool) or top["version"] != VERSION:
        raise RecordError(f"version must be {VERSION}, which this release reads; got {shown(top['version'])}")
    parts = {
        name: _arrays(name, mapping(name, top.get(name, {})), budget)
        for name in ("before", "after", "spikes")
    }
    read: Any = text("read", top["read"], ("before", "after")) if "read" in top else None
    try:
        return Record(
            text("name", top["name"]),
            _array("inputs", top["inputs"], budget),
            _array("targets", top["targets"], budget),
            **parts,
            read=read,
            consecutive=top.get("consecutive"),
        )
    except RecordError:
        raise
    except ValueError as error:
        raise RecordError(str(error)) from error


def _arrays(where: str, given: Document, budget: Budget) -> dict[str, NDArray[Any]]:
    return {name: _array(f"{where}.{name}", values, budget) for name, values in given.items()}


def _array(where: str, given: object, budget: Budget) -> Any:
    """Return numbers, and count what checking them takes: as floats, and on the grid."""
    if isinstance(given, np.ndarray):
        budget.take(12 * given.size, where)
        return given
    return reals(where, given, budget)
