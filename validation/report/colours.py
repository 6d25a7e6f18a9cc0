"""The colours of pages and pictures, by name, on light and on dark ground."""

from __future__ import annotations

from eventsolve.plot.style import EXACT, MODEL, QUIET, SERIES

INK = "#1d2733"
NAMES = {
    "exact": (EXACT, "#58b4f0"),
    "model": (MODEL, "#ff8f4a"),
    "ink": (INK, "#e6eaef"),
    "quiet": (QUIET, "#98a3af"),
    "green": (SERIES[2], "#35c79a"),
    "pink": ("#b8548f", "#e79cc8"),
    "yellow": ("#a86f00", "#f2bd3e"),
    "sky": ("#3b86b5", "#a5d8f7"),
}
"""On light ground those of :mod:`eventsolve.plot.style`, where they stand out enough; on dark ground lighter hues."""
LINES = ("exact", "model", "green", "pink", "yellow", "sky")
"""For the series of a picture, in turn."""
AREAS = {"yin": ("#a9cce3", "#24506e"), "yang": ("#f5cba7", "#7a4420"), "dots": ("#abebc6", "#1f6b45")}
"""Behind marks: light enough on light ground, and dark enough on dark ground, for marks to be seen on them."""
STEPS = 127
"""Of a diverging palette, an odd number, so that its middle is 0."""


def on_light(name: str) -> str:
    """Return a colour as a picture holds it; the page puts that for dark ground in its place."""
    return NAMES[name][0]


def diverging() -> tuple[list[str], list[str]]:
    """Return palettes from negative over none to positive for light and for dark ground, whose middle is the ground."""
    light = [_mixed("#08519c", "#ffffff", "#b23a00", k) for k in range(STEPS)]
    dark = [_mixed("#6cc0ff", "#171c22", "#ff9a57", k) for k in range(STEPS)]
    return light, dark


def _mixed(low: str, middle: str, high: str, k: int) -> str:
    share = 2 * k / (STEPS - 1) - 1
    end = high if share > 0 else low
    parts = [
        round(int(middle[i : i + 2], 16) * (1 - abs(share)) + int(end[i : i + 2], 16) * abs(share))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)
