"""How ranges are given to strategies: the fewest and the most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from eventsolve.checks import shown

Range: TypeAlias = tuple[int, int]
Draw: TypeAlias = Callable[..., Any]


def is_pair(given: object) -> bool:
    """Say whether something is (fewest, most), of whatever."""
    return isinstance(given, tuple | list) and len(given) == 2


def check_range(name: str, given: Range, least: int) -> None:
    """Raise a ValueError unless a range is two integers, at least ``least``, the first not above the second."""
    whole = is_pair(given) and all(isinstance(k, int) and not isinstance(k, bool) for k in given)
    if not (whole and least <= given[0] <= given[1]):
        raise ValueError(f"{name} must be (fewest, most), integers >= {least}; got {shown(given)}")
