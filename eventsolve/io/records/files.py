"""Files of records: JSON, a zip of .npy arrays, HDF5. What a file declares is checked before it is allocated."""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import shown
from eventsolve.io.records.document import document_of, record_of
from eventsolve.io.records.fields import RecordError
from eventsolve.io.records.record import Record

Document = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]

MAX_BYTES = 2**30
"""Of a file, and of all that it declares to hold, unless told otherwise."""
_MAX_ARRAYS = 10_000
_STATE_BYTES = 64
"""What solving takes for each neuron of each sample, at least."""
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
"""What zipfile raises for a file that is cut off, damaged, encrypted, or no archive at all."""
_DOCUMENT = "document"
_NPY = re.compile(
    rb"\{'descr': '([<>|][iuf][1248])', 'fortran_order': (False|True), 'shape': \(([0-9, ]{0,200})\),? ?\}\s*"
)


def write(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a record; the name's ending says how: ``.json``, ``.npz``, ``.h5`` or ``.hdf5``.

    Raises
    ------
    ValueError
        For another ending, or a loss that is not made of numbers.
    """
    _form_of(Path(path)).write(Path(path), document_of(record))


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Record:
    """Read a record.

    Parameters
    ----------
    path : path
        Ends with ``.json``, ``.npz``, ``.h5`` or ``.hdf5``.
    max_bytes : int
        Largest size of the file, and of all that it declares to hold.

    Raises
    ------
    RecordError
        If the file is not a record. Nothing is executed, written, or allocated beyond what the limit allows to find
        out; an HDF5 file, though, goes through the HDF5 library, which is not made for files from just anywhere.
    OSError
        If it cannot be opened.
    """
    path = Path(path)
    form = _form_of(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise RecordError(f"{path.name} must have at most max_bytes = {max_bytes} bytes; it has {size}")
        try:
            return record_of(form.read(file, max_bytes), max_bytes // _STATE_BYTES)
        except RecordError as error:
            raise RecordError(f"{path.name} is not a record: {error}") from error


# -- JSON ----------------------------------------------------------------------------------------------------------


def _write_json(path: Path, document: Document) -> None:
    path.write_text(_text(document, _listed), encoding="utf-8")


def _read_json(file: Any, max_bytes: int) -> Any:
    return _parsed(file.read())


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_not_json, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"it holds no JSON: {error or 'it is nested too deeply'}") from error


def _not_json(constant: str) -> NoReturn:
    raise RecordError(f"{constant} is no number in JSON; write null for what is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    found: Document = {}
    for key, value in pairs:
        if key in found:
            raise RecordError(f"key {shown(key)} must not be given twice")
        found[key] = value
    return found


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
        arrays[name] = values if values.dtype.kind == "f" else values.astype(np.int64)
        return {"array": name}

    text = _text(document, named)
    return {_DOCUMENT: np.frombuffer(text.encode("utf-8"), dtype=np.uint8), **arrays}


def _together(arrays: Arrays) -> Any:
    """Return the document of such arrays with each in its place."""
    if _DOCUMENT not in arrays:
        raise RecordError(f"it has no array {_DOCUMENT!r}")
    text = arrays[_DOCUMENT]
    if text.dtype != np.uint8 or text.ndim != 1:
        raise RecordError(
            f"array {_DOCUMENT!r} must be a vector of bytes; got {text.dtype} of shape {text.shape}"
        )

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        name = value.get("array")
        if len(value) == 1 and isinstance(name, str):
            if name not in arrays:
                raise RecordError(f"it has no array {shown(name)}; there are {shown(sorted(arrays))}")
            return arrays[name]
        return {key: placed(entry) for key, entry in value.items()}

    return placed(_parsed(text.tobytes()))


def _write_npz(path: Path, document: Document) -> None:
    arrays: dict[str, Any] = _apart(document)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _read_npz(file: Any, max_bytes: int) -> Any:
    arrays = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_sizes([member.file_size for member in members], max_bytes)
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise RecordError(f"array {shown(member.filename)} must be stored or deflated")
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise RecordError(f"array {shown(name)} must not be there twice")
                with archive.open(member) as packed:
                    arrays[name] = _npy(name, packed.read(member.file_size))
    except RecordError:
        raise
    except BROKEN as error:
        raise RecordError(f"it is no zip of arrays: {error or type(error).__name__}") from error
    return _together(arrays)


def _check_sizes(sizes: list[int], max_bytes: int) -> None:
    if len(sizes) > _MAX_ARRAYS:
        raise RecordError(f"it must hold at most {_MAX_ARRAYS} arrays; it holds {len(sizes)}")
    if sum(sizes) > max_bytes:
        raise RecordError(
            f"its arrays must have at most max_bytes = {max_bytes} bytes; they have {sum(sizes)}"
        )


def _npy(name: str, raw: bytes) -> NDArray[Any]:
    """Return the array of a .npy file, version 1 or 2, of integers or real numbers."""
    stream = io.BytesIO(raw)
    magic = stream.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(magic)
    if width is None:
        raise RecordError(
            f"array {shown(name)} must be a .npy file of version 1 or 2; it starts with {magic!r}"
        )
    header = stream.read(int.from_bytes(stream.read(width), "little"))
    found = _NPY.fullmatch(header)
    if found is None:
        raise RecordError(
            f"array {shown(name)} must hold integers or real numbers of 1 to 8 bytes; its header is {shown(header)}"
        )
    try:
        dtype = np.dtype(found[1].decode())
        shape = tuple(int(n) for n in found[3].replace(b",", b" ").split())
    except (TypeError, ValueError) as error:
        raise RecordError(f"array {shown(name)} has a header that makes no sense: {error}") from error
    data = raw[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data) or len(shape) > 8:
        raise RecordError(f"array {shown(name)} declares {dtype} of shape {shape} and has {len(data)} bytes")
    order: Any = "F" if found[2] == b"True" else "C"
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _write_hdf5(path: Path, document: Document) -> None:
    h5py = _h5py()
    with h5py.File(path, "w") as file:
        for name, values in _apart(document).items():
            file.create_dataset(name, data=values)


def _read_hdf5(file: Any, max_bytes: int) -> Any:
    h5py = _h5py()
    arrays = {}
    try:
        with h5py.File(file, "r") as content:
            names = list(content)
            if len(names) > _MAX_ARRAYS:
                raise RecordError(f"it must hold at most {_MAX_ARRAYS} arrays; it holds {len(names)}")
            for name in names:  # links to elsewhere are not followed
                inside = isinstance(content.get(name, getlink=True), h5py.HardLink)
                if not inside or not isinstance(content[name], h5py.Dataset):
                    raise RecordError(f"{shown(name)} must be a dataset of this file")
                held = content[name]
                if held.external or held.is_virtual or held.dtype.kind not in "iuf" or held.shape is None:
                    raise RecordError(f"array {shown(name)} must hold integers or real numbers in this file")
            _check_sizes([content[name].nbytes for name in names], max_bytes)
            arrays = {name: content[name][()] for name in names}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"it is no HDF5 file of arrays: {error}") from error
    return _together(arrays)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 files need h5py: pip install eventsolve[h5py]") from error
    return h5py


# -- which ---------------------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    write: Callable[[Path, Document], None]
    read: Callable[[Any, int], Any]


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
