"""Files of records: JSON, a zip of .npy arrays, HDF5. What a file declares is checked before it is allocated."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.bounded import MAX_BYTES, Budget, Unreadable, arrays_of, content_of, opened, parsed
from eventsolve.checks import printable, shown
from eventsolve.errors import Carrying
from eventsolve.files import whole
from eventsolve.io.hdf5 import filled, read_arrays
from eventsolve.io.records.document import FORMAT, document_of, record_of
from eventsolve.io.records.fields import RecordError
from eventsolve.io.records.record import Record

Document = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]

KINDS = "eventsolve.records"
"""The entry points of other formats of records, each by its name."""
_DOCUMENT = "document"


def write(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a record; the name's ending says how: ``.json``, ``.npz``, ``.h5`` or ``.hdf5``.

    Raises
    ------
    ValueError
        For another ending, or a loss that is not made of numbers.
    NotWrittenError
        If the file system refuses; what was there before is there still.
    """
    write_document(document_of(record), path)


def write_document(document: Document, path: str | os.PathLike[str]) -> None:
    """Write any document of objects, lists, strings, numbers and arrays; raises as :func:`write`."""
    form = _form_of(Path(path))
    with whole(path) as beside:
        form.write(beside, document)


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Record:
    """Read a record.

    Parameters
    ----------
    path : path
        Ends with ``.json``, ``.npz``, ``.h5`` or ``.hdf5``.
    max_bytes : int
        What reading may take: the file, and all that it declares to hold, as it is counted before it is allocated.

    Raises
    ------
    RecordError
        If the file is not a record, or no regular file. Nothing is executed, written, or allocated beyond the limit;
        the HDF5 library, which is not made for files from just anywhere, reads in a process of its own.
    OSError
        If it cannot be opened.
    """
    path = Path(path)
    document, budget = document_in(path, max_bytes=max_bytes)
    with _named(path):
        told = document.get("format") if isinstance(document, dict) else None
        # what is installed is searched for others alone
        if isinstance(told, str) and told != FORMAT and told in _formats():
            raise OtherRecord(told, document, budget)
        return record_of(document, budget)


class OtherRecord(Carrying, RecordError):
    """A document of another format of records, which an entry point of the group ``eventsolve.records`` reads.

    Attributes
    ----------
    format : str
        Its format, the name of the entry point.
    document : object
        What the file holds.
    budget : Budget
        What is left for reading it.
    """

    def __init__(self, format: str, document: object, budget: Budget) -> None:
        super().__init__(
            f"it is a record of the format {format!r}, which says nothing of a network in continuous time"
        )
        self.format, self.document, self.budget = format, document, budget


def document_in(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> tuple[Any, Budget]:
    """Return the document of a file, whatever it says, and what may still be taken; raises as :func:`read`."""
    path = Path(path)
    form = _form_of(path)
    budget = Budget(max_bytes)
    with _named(path), opened(path, max_bytes) as file:
        return form.read(file, budget), budget


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file it is that something is unreadable."""
    try:
        yield
    except OtherRecord:
        raise
    except Unreadable as error:
        raise RecordError(f"{printable(path.name)} is not a record: {error}") from error


def _formats() -> set[str]:
    return {entry.name for entry in entry_points(group=KINDS)}


# -- JSON ----------------------------------------------------------------------------------------------------------


def _write_json(beside: Path, document: Document) -> None:
    beside.write_text(_text(document, _listed), encoding="utf-8")


def _read_json(file: IO[bytes], budget: Budget) -> Any:
    return parsed(content_of(file, budget), budget)


def _text(document: Document, array: Callable[[NDArray[Any]], Any]) -> str:
    """Return JSON with arrays as ``array`` says."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"a record cannot hold {shown(value)}")

    return json.dumps(document, default=plain, allow_nan=False, ensure_ascii=False) + "\n"


def _listed(values: NDArray[Any]) -> Any:
    """Return nested lists, None for what is not finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        gaps = values.astype(object)
        gaps[~np.isfinite(values)] = None
        return gaps.tolist()
    return values.tolist()


# -- arrays beside the document ------------------------------------------------------------------------------------


def _apart(document: Document) -> dict[str, NDArray[Any]]:
    """Return a document's arrays by the names that stand for them in it, and itself as an array of UTF-8 bytes."""
    arrays: dict[str, NDArray[Any]] = {}

    def named(values: NDArray[Any]) -> Any:
        name = f"array_{len(arrays)}"
        arrays[name] = values if values.dtype.kind in "iuf" else values.astype(np.int64)
        return {"array": name}

    text = _text(document, named)
    return {_DOCUMENT: np.frombuffer(text.encode("utf-8"), dtype=np.uint8), **arrays}


def _together(arrays: Arrays, budget: Budget) -> Any:
    """Return the document of such arrays with each in its place, however often it is named."""
    if _DOCUMENT not in arrays:
        raise RecordError(f"it has no array {_DOCUMENT!r}")
    text = arrays[_DOCUMENT]
    if text.dtype != np.uint8 or text.ndim != 1:
        raise RecordError(
            f"array {_DOCUMENT!r} must be a vector of bytes; got {text.dtype} of shape {text.shape}"
        )

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            value[:] = (placed(entry) for entry in value)
            return value
        if not isinstance(value, dict):
            return value
        name = value.get("array")
        if len(value) == 1 and isinstance(name, str):
            if name not in arrays:
                raise RecordError(f"it has no array {shown(name)}; there are {shown(sorted(arrays))}")
            return arrays[name]
        for key in value:
            value[key] = placed(value[key])
        return value

    budget.take(text.nbytes, "its document")
    return placed(parsed(text.tobytes(), budget))


def _write_npz(beside: Path, document: Document) -> None:
    arrays: dict[str, Any] = _apart(document)
    with beside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _read_npz(file: IO[bytes], budget: Budget) -> Any:
    return _together(_numbers(arrays_of(file, budget)), budget)


def _numbers(arrays: Arrays) -> Arrays:
    for name, values in arrays.items():
        if values.dtype.kind not in "iuf":
            raise RecordError(f"array {shown(name)} must hold integers or real numbers; got {values.dtype}")
    return arrays


def _write_hdf5(beside: Path, document: Document) -> None:
    with filled(beside) as file:
        for name, values in _apart(document).items():
            file.create_dataset(name, data=values)


def _read_hdf5(file: IO[bytes], budget: Budget) -> Any:
    arrays = {name: values for (name,), values in read_arrays(file, budget).items()}
    return _together(_numbers(arrays), budget)


# -- which ---------------------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    write: Callable[[Path, Document], None]
    read: Callable[[IO[bytes], Budget], Any]


_HDF5 = _Form(_write_hdf5, _read_hdf5)
_FORMS = {
    ".json": _Form(_write_json, _read_json),
    ".npz": _Form(_write_npz, _read_npz),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}


def _form_of(path: Path) -> _Form:
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"path must end with {', '.join(_FORMS)}; got {path.name!r}")
    return form
