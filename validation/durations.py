"""Durations as they are written, with a unit or without."""

from __future__ import annotations

import math
import re

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}

_LONG = 0.1
"""Seconds from which on a number without a unit is probably one of milliseconds: no time step is so long."""


def number(text: str) -> float | None:
    """Read a number of seconds with a unit or without, of either sign; None where it is none."""
    match = re.fullmatch(r"\s*([^\sa-zµ]*(?:e[-+]?\d+)?)\s*([a-zµ]*)\s*", text)
    try:
        value = float(match[1]) * _UNITS[match[2]] if match else math.nan
    except (ValueError, KeyError):
        return None
    # 0.1 ms is 1e-4 s, not the product of two rounded numbers
    return float(f"{value:.12g}") if math.isfinite(value) else None


def seconds(text: str) -> float:
    """Read a duration > 0 such as ``1ms``, ``0.1 ms``, ``100us`` or ``1e-3`` (seconds).

    Raises
    ------
    ValueError
        If it is none.
    """
    value = number(text)
    if value is None or not value > 0:
        raise ValueError(f"{text!r} is not a duration > 0; write seconds, or a unit as in 1ms or 100us")
    return value


def looks_like_milliseconds(text: str) -> bool:
    """Say whether a duration has no unit and is too long for seconds."""
    return seconds(text) >= _LONG and not re.search(r"[a-zµ]\s*$", text)
