"""How options are given to strategies: the fewest and the most, some names of several, yes or no or as drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
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


def check_names(name: str, given: Collection[str], known: Iterable[str]) -> None:
    """Raise a ValueError unless names are some of those that are known."""
    known = list(known)
    each = given if isinstance(given, Collection) and not isinstance(given, str) else [given]
    for one in each:
        if each is not given or one not in known:
            raise ValueError(f"{name} must be among {', '.join(known)}; got {shown(one)}")


def check_choices(**given: bool | None) -> None:
    """Raise a ValueError unless each is True, False, or None, for what is drawn."""
    for name, chosen in given.items():
        if chosen is not None and not isinstance(chosen, bool):
            raise ValueError(f"{name} must be True, False or None; got {shown(chosen)}")
