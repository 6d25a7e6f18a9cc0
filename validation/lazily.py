"""Names of a package that are imported when they are first asked for: commands of its own then help without numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_of(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names are in these modules of it."""
    places = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in places:
            from eventsolve.renamed import missing

            raise missing(package, name)
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return __getattr__
