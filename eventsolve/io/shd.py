"""The HDF5 files of the Spiking Heidelberg Digits and Speech Commands (Cramer et al. 2022); the extra ``h5py``.

A file has ``spikes/times`` in seconds and ``spikes/units``, an array of its own per recording, and ``labels``. The
published times are float16: half a millisecond apart at half a second, so that two spikes of a unit may share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.bounded import Budget, Unreadable, opened
from eventsolve.checks import count, index_vector, printable
from eventsolve.files import whole
from eventsolve.frozen import Frozen
from eventsolve.io.hdf5 import Rows, filled, read_arrays
from eventsolve.spiketrains import SpikeTrains

N_UNITS = 700
MAX_BYTES = 2**33
_SPIKE_BYTES = 96


@dataclass(frozen=True, eq=False, repr=False)
class Recordings(Frozen):
    """Spikes and labels of some recordings.

    Attributes
    ----------
    trains : SpikeTrains
        A sample per recording, a neuron per unit.
    labels : ndarray of int64, (n_samples,)
    n_dropped : int
        Spikes that share unit and time with another, and were dropped.
    """

    trains: SpikeTrains
    labels: NDArray[np.int64]
    n_dropped: int


def read_shd(
    path: str | Path,
    *,
    samples: Sequence[int] | None = None,
    n_units: int = N_UNITS,
    repeated: Literal["raise", "drop"] = "raise",
    max_bytes: int = MAX_BYTES,
) -> Recordings:
    """Read recordings.

    Parameters
    ----------
    path : str or Path
    samples : sequence of int, optional
        Which recordings, in this order; default all of them, at 24 bytes per spike.
    n_units : int
        Channels; the published files have 700.
    repeated : {"raise", "drop"}
        What to do where a unit has a time twice: a neuron can spike once at a time.
    max_bytes : int
        What reading may take, about 100 bytes per spike of the chosen recordings; by default 8 GiB, which the
        published digits fit into.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file or contradicts itself, or a unit has a time twice and ``repeated`` is "raise".
    """
    if repeated not in ("raise", "drop"):
        raise ValueError(f"repeated must be 'raise' or 'drop'; got {repeated!r}")
    size = count("n_units", n_units)
    name = printable(str(path))
    rows = None if samples is None else index_vector("samples", samples, 2**62).tolist()
    wanted = {"spikes/times": rows, "spikes/units": rows, "labels": None}
    budget = Budget(max_bytes)
    try:
        with opened(path, max_bytes) as file:
            read = read_arrays(file, budget, names=wanted)
        times, units, labels = (read[tuple(key.split("/"))] for key in wanted)
        if not (isinstance(times, Rows) and isinstance(units, Rows) and np.ndim(labels) == 1):
            raise Unreadable("times and units must have a vector for each recording, and labels a number")
        n = len(labels)
        if not times.n_rows == units.n_rows == n:
            raise Unreadable(
                "it must have times, units and a label for each recording; "
                f"it has {times.n_rows}, {units.n_rows} and {n}"
            )
        budget.take(_SPIKE_BYTES * sum(t.size for t in times.parts), "its spikes")
    except Unreadable as error:
        raise ValueError(f"{name} holds no recordings: {error}") from error
    chosen = range(n) if samples is None else index_vector("samples", samples, n).tolist()
    found = [
        _sorted(name, k, t, u, size, repeated)
        for k, t, u in zip(chosen, times.parts, units.parts, strict=True)
    ]
    labels = np.asarray(labels, dtype=np.int64)[list(chosen)]
    columns = [(t, u, np.full(t.size, k)) for k, (t, u, _) in enumerate(found)]
    nothing = (np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    times, units, numbers = (np.concatenate(column) for column in zip(nothing, *columns, strict=True))
    labels.setflags(write=False)
    trains = SpikeTrains.from_arrays(times, units, numbers, n_neurons=size, n_samples=len(found))
    return Recordings(trains, labels, sum(dropped for *_, dropped in found))


def write_shd(path: str | Path, trains: SpikeTrains, labels: ArrayLike) -> None:
    """Write recordings in that layout, times as float64, so that :func:`read_shd` returns every bit.

    Parameters
    ----------
    path : str or Path
        Must not exist.
    trains : SpikeTrains
    labels : array_like of int, (n_samples,)
        0..65535.

    Raises
    ------
    FileExistsError
        If the file exists.
    ValueError
        If there is not one label per sample.
    """
    numbers = index_vector("labels", labels, 2**16)
    if numbers.size != trains.n_samples:
        raise ValueError(
            f"labels must have one entry for each of {trains.n_samples} samples; got {numbers.size}"
        )
    if Path(path).exists():
        raise FileExistsError(f"{path} is there already")
    with whole(path) as beside, filled(beside) as file:
        for key, values, kind in (("times", trains.times, np.float64), ("units", trains.neurons, np.uint16)):
            column = file.create_dataset(f"spikes/{key}", (trains.n_samples,), dtype=h5py.vlen_dtype(kind))
            for k, (start, stop) in enumerate(zip(trains.offsets[:-1], trains.offsets[1:], strict=True)):
                column[k] = values[start:stop].astype(kind)
        file.create_dataset("labels", data=numbers.astype(np.uint16))


def _sorted(
    path: str, number: int, times: Any, units: Any, n_units: int, repeated: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return one recording by time and unit, and how many spikes were dropped."""
    name = f"recording {number} of {path}"
    t, u = np.asarray(times), index_vector(f"units of {name}", units, n_units)
    if t.shape != u.shape or t.dtype.kind != "f":
        raise ValueError(
            f"{name} must have a time in seconds for each of {u.size} units; got {t.size} of {t.dtype}"
        )
    t = t.astype(np.float64)
    if not (np.isfinite(t) & (t >= 0)).all():
        raise ValueError(f"{name} must have times that are finite and >= 0")
    order = np.lexsort((u, t))
    t, u = t[order], u[order]
    again = np.zeros(t.size, dtype=np.bool_)
    again[1:] = (np.diff(t) == 0) & (np.diff(u) == 0)
    if again.any() and repeated == "raise":
        k = int(np.argmax(again))
        raise ValueError(
            f"{name} has unit {int(u[k])} twice at {float(t[k])!r} s, and {int(again.sum()) - 1} more of the kind; "
            "choose repeated='drop' to keep one of each"
        )
    return t[~again], u[~again], int(again.sum())
