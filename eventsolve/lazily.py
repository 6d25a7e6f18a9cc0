"""Parts and names of a package that are there once it is imported, but are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def attached(
    package: str, *parts: str, names: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that shows its names and these modules, and no others.

    ``names`` are further ones that it shows, each with the module that has it.
    """
    elsewhere = names or {}

    def __getattr__(name: str) -> Any:
        if name in parts:
            return import_module(f"{package}.{name}")
        if name in elsewhere:
            return getattr(import_module(elsewhere[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        shown = vars(sys.modules[package]).items()
        inner = {n for n, value in shown if isinstance(value, ModuleType) or n.startswith("@")}
        own = {n for n, _ in shown if n not in inner and (n[:1] != "_" or n[:2] == "__")}
        return sorted(own | {*parts, *elsewhere})

    return __getattr__, __dir__
