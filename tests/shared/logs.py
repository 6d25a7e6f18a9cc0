"""Logs of long runs, one JSON document a line: a run that was interrupted goes on from what is finished."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eventsolve.files import write_text

ROOT = Path(__file__).parents[2]


class Log:
    """What is finished of one run: an entry is kept as soon as it is added, and the file is whole at any time."""

    def __init__(self, path: Path, of: Mapping[str, Any]) -> None:
        self._path = path
        self._of = dict(of) | {"sources": digest()}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        self._lines = text.splitlines()

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Those of the same run on the same sources, in the order in which they were added."""
        everything = (json.loads(line) for line in self._lines)
        return [entry for entry in everything if all(entry.get(key) == v for key, v in self._of.items())]

    def add(self, **entry: Any) -> None:
        """Add what is finished."""
        self._lines.append(json.dumps(self._of | entry))
        write_text(self._path, "\n".join(self._lines) + "\n")


@contextmanager
def resumed(path: Path, **of: Any) -> Iterator[Log]:
    """Open the log of the run that is told by its settings; two runs cannot write into one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            yield Log(path, of)
    except Timeout:
        raise SystemExit(f"another run is writing into {path}") from None


def digest() -> str:
    """Return what results of the library rest on: its sources."""
    found = hashlib.sha256()
    for file in sorted((ROOT / "eventsolve").rglob("*.py")):
        found.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]
