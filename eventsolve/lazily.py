"""Parts of a package that are there once the package is imported, but are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from eventsolve.renamed import missing


def attached(
    package: str, *parts: str, names: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that shows its names and these modules, and no others.

    ``names`` are those of functions and classes, by the module of the package that has them.
    """
    homes = names or {}

    def __getattr__(name: str) -> Any:
        if name in parts:
            return import_module(f"{package}.{name}")
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        raise missing(package, name)

    def __dir__() -> list[str]:
        names = vars(sys.modules[package]).items()
        inner = {n for n, value in names if isinstance(value, ModuleType) or n.startswith("@")}
        return sorted(
            {n for n, _ in names if n not in inner and (n[:1] != "_" or n[:2] == "__")} | {*parts, *homes}
        )

    return __getattr__, __dir__
