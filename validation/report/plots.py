"""Axes for pictures: plots of Bokeh that fit any width, and say what the mouse is over.

Text that has names in it, titles and legends, stands on the page beside a plot, never in it; in a plot are ticks and
units, and names in what is shown at the mouse, which Bokeh shows as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Line, LinearColorMapper, Scatter
from bokeh.models.annotations import Span, TeeHead, Whisker
from bokeh.plotting import figure
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import printable
from validation.report.colours import AREAS, LINES, diverging, on_light
from validation.report.document import Key, Panel

HEIGHT = 300
"""Of a plot, in CSS pixels."""


def axes(xlabel: str, ylabel: str, *, height: int = HEIGHT, **options: Any) -> Any:
    """Return an empty plot as wide as its place; ranges and kinds of axes are options of ``bokeh.plotting.figure``."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        min_width=240,
        tools="box_zoom,reset,save",
        active_drag=None,  # so that a finger on the plot moves the page
        toolbar_location="above",
        x_axis_label=xlabel,
        y_axis_label=ylabel,
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    # the ground is the page's; what is painted once leaves a fringe where it is cleared
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    for grid in plot.grid:
        grid.grid_line_alpha = 0.5
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.minor_tick_line_color = None
    return plot


def source(**columns: ArrayLike) -> Any:
    """Return columns as a plot holds them: reals in float32, whose seven digits are enough, and names printable."""
    return ColumnDataSource({name: _column(values) for name, values in columns.items()})


def _column(values: ArrayLike) -> Any:
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return single(array)
    if array.dtype.kind in "iu":
        return array.astype(np.int32)
    return [printable(str(value), 60) for value in array.tolist()]


def single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return numbers in float32; those beyond it are infinite, and not drawn."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def marks(
    plot: Any, columns: Any, x: str, y: str, *, colour: str, hover: Mapping[str, str], **look: Any
) -> None:
    """Draw a mark for each row, and show values at the mouse: by their words, the columns, as "@error{0.000}"."""
    hollow = look.pop("hollow", False)
    fill = None if hollow else on_light(colour)
    glyph = Scatter(x=x, y=y, line_color=on_light(colour), fill_color=fill, **{"size": 6} | look)
    drawn = plot.add_glyph(columns, glyph)
    if hover:
        tell(plot, [drawn], hover)


def lines(plot: Any, columns: Any, x: str, y: str, *, colour: str, **look: Any) -> Any:
    """Draw a line through the rows."""
    return plot.add_glyph(columns, Line(x=x, y=y, line_color=on_light(colour), **{"line_width": 1.6} | look))


def tell(plot: Any, drawn: Sequence[Any], hover: Mapping[str, str], **options: Any) -> None:
    """Show values at the mouse over what was drawn."""
    plot.add_tools(HoverTool(renderers=list(drawn), tooltips=list(hover.items()), visible=False, **options))


def curve(plot: Any, k: int, name: str, x: ArrayLike, y: ArrayLike, words: tuple[str, str]) -> Key:
    """Draw the k-th of several lines with its marks, without what a logarithmic axis cannot show; return its legend.

    ``words`` are what x and y are. Lines differ in colour and in dash, so that those that coincide are all seen.
    """
    values = np.asarray(y, dtype=np.float64)
    columns = source(
        x=np.asarray(x, dtype=np.float64), y=np.where(values > 0, values, np.nan), name=[name] * values.size
    )
    colour = LINES[k % len(LINES)]
    lines(plot, columns, "x", "y", colour=colour, line_dash=("solid", "dashed", "dotted", "dotdash")[k % 4])
    hover = {"of": "@name", words[0]: "@x{0.[000000]}", words[1]: "@y{0.000e+0}"}
    marks(plot, columns, "x", "y", colour=colour, hover=hover, size=7)
    return Key(name, colour, "—")


def bars(
    plot: Any, names: Sequence[str], low: ArrayLike, high: ArrayLike, value: ArrayLike, colours: Sequence[str]
) -> None:
    """Draw a bar for each name from low to high, and show its name and value at the mouse."""
    ends = [np.asarray(column, dtype=np.float64) for column in (low, high, value)]
    for colour in dict.fromkeys(colours):
        here = [k for k, c in enumerate(colours) if c == colour]
        lows, highs, values = (column[here] for column in ends)
        columns = source(name=[names[k] for k in here], low=lows, high=highs, value=values)
        drawn = plot.vbar(
            x="name",
            bottom="low",
            top="high",
            width=0.7,
            source=columns,
            fill_color=on_light(colour),
            line_color=on_light(colour),
        )
        tell(plot, [drawn], {"cause": "@name", "changes the error by": "@value{0.000e+0}"})
    plot.xaxis.major_label_orientation = 0.9


def whiskers(plot: Any, names: Sequence[str], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """Draw a line with two ends for each name."""
    heads: dict[str, Any] = {
        end: TeeHead(size=6, line_color=on_light("ink")) for end in ("upper_head", "lower_head")
    }
    columns = source(name=names, low=low, high=high)
    plot.add_layout(
        Whisker(base="name", lower="low", upper="high", source=columns, line_color=on_light("ink"), **heads)
    )


def rule(plot: Any, *, x: float | None = None, y: float | None = None, dash: str = "dashed") -> None:
    """Draw a line right across, at x or at y."""
    look: dict[str, Any] = {"line_color": on_light("quiet"), "line_dash": dash, "line_width": 1.2}
    if x is not None:
        plot.add_layout(Span(location=x, dimension="height", **look))
    if y is not None:
        plot.add_layout(Span(location=y, dimension="width", **look))


def heat_map(plot: Any, values: NDArray[np.float64], names: Mapping[str, NDArray[Any]], bound: float) -> None:
    """Draw numbers (n_rows, n_columns) as colours that are the ground at 0 and end at ``bound``, with rows from below.

    ``names`` are what is shown at the mouse beside the value, each of the same shape.
    """
    rows, columns = values.shape
    light, _ = diverging()
    shown = plot.image(
        image="value",
        source=ColumnDataSource(
            {"value": [single(values)]}
            | {name: [np.ascontiguousarray(column, dtype=np.int32)] for name, column in names.items()}
        ),
        x=-0.5,
        y=-0.5,
        dw=columns,
        dh=rows,
        color_mapper=LinearColorMapper(
            palette=light, low=-bound, high=bound, nan_color=on_light("ink"), tags=["diverging"]
        ),
    )
    tell(plot, [shown], {name: f"@{name}" for name in names} | {"value": "@value{0.0000e+0}"})


def area_map(plot: Any, classes: NDArray[np.float64], low: float, high: float) -> None:
    """Draw the classes of a square grid as areas, nothing where they are nan."""
    plot.image(
        image="value",
        source=ColumnDataSource({"value": [classes.astype(np.float32)]}),
        x=low,
        y=low,
        dw=high - low,
        dh=high - low,
        color_mapper=LinearColorMapper(
            palette=[light for light, _ in AREAS.values()],
            low=-0.5,
            high=len(AREAS) - 0.5,
            nan_color="#00000000",
            tags=["areas"],
        ),
    )


def ticks(axis: Any, values: ArrayLike) -> None:
    """Tick these numbers, those that are far enough apart on a logarithmic axis to be read."""
    chosen: list[float] = []
    for value in np.unique(np.asarray(values, dtype=np.float64)).tolist():
        if not chosen or value >= 1.9 * chosen[-1]:
            chosen.append(value)
    axis.ticker = FixedTicker(ticks=chosen)
    axis.major_label_overrides = {value: f"{value:g}" for value in chosen}


def few_ticks(axis: Any, numbers: Sequence[int]) -> None:
    """Tick the places 0, 1, ... of some numbers and write the numbers there, all of them where they are few."""
    ticks = list(range(0, len(numbers), max(1, -(-len(numbers) // 10))))
    axis.ticker = FixedTicker(ticks=ticks)
    axis.major_label_overrides = {tick: str(numbers[tick]) for tick in ticks}


def panel(plot: Any, title: str = "", legend: Sequence[Key] = ()) -> Panel:
    """Return a finished plot with its words."""
    document = Document()  # as bokeh.embed.json_item makes it, which writes everything twice
    document.add_root(plot)
    item = {"target_id": None, "root_id": plot.id, "doc": document.to_json(deferred=False)}
    words = tuple(Key(printable(text, 60), colour, mark) for text, colour, mark in legend)
    return Panel(item, printable(title, 80), words)
