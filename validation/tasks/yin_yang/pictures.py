"""The pictures of a training: curves over epochs, and what the network decides at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from validation.report import plots
from validation.report.colours import AREAS
from validation.report.document import Key, Picture

if TYPE_CHECKING:
    from eventsolve.typing import Integers, Reals
    from validation.tasks.yin_yang.trainer import Epoch

CLASSES = ("exact", "model", "green")
"""Colours of yin, yang and dots."""


def curves(history: tuple[Epoch, ...], ceiling: float | None) -> Picture:
    """Draw loss, error and activity over the epochs; ``ceiling`` is the best accuracy that the inputs' code allows."""
    columns = {name: np.array([getattr(e, name) for e in history]) for name in history[0]._fields}
    epochs = np.arange(1, len(history) + 1)

    def drawn(plot: Any, *curves: tuple[str, Any], word: str) -> list[Key]:
        return [
            plots.curve(plot, k, name, epochs, values, ("epoch", word))
            for k, (name, values) in enumerate(curves)
        ]

    loss = plots.axes("epoch", "mean over the epoch's batches")
    panels = [plots.panel(loss, "loss", drawn(loss, ("loss", columns["loss"]), word="loss"))]
    error = plots.axes("epoch", "samples classified wrongly (%)", y_axis_type="log")
    wrong = {name: 100 * np.maximum(1 - columns[f"{name}_accuracy"], 1e-5) for name in ("train", "test")}
    legend = drawn(error, ("training", wrong["train"]), ("test", wrong["test"]), word="wrong (%)")
    if ceiling is not None:
        plots.rule(error, y=100 * (1 - ceiling))
        legend.append(Key("least that the code allows", "quiet", "╌"))
    panels.append(plots.panel(error, "error", legend))
    spikes = plots.axes("epoch", "spikes per test sample; neurons")
    named = {"hidden": "hidden_spikes", "outputs": "output_spikes", "silent hidden neurons": "silent"}
    legend = drawn(spikes, *((word, columns[name]) for word, name in named.items()), word="number")
    panels.append(plots.panel(spikes, "activity", legend))
    return Picture(
        "Over the epochs",
        "Training error is measured while the weights change, test error after every epoch. A hidden neuron is "
        "silent if it spikes in no test sample.",
        tuple(panels),
        about="howto/train",
    )


def decisions(grid: Reals, predicted: Integers, points: Reals, labels: Integers, test: Integers) -> Picture:
    """Draw the class that the network gives to every point of the disk, and the test points that it gets wrong.

    Parameters
    ----------
    grid : ndarray of float64, (n_side,)
        Coordinates of the points of a square grid.
    predicted : ndarray of int64, (n_side, n_side)
        By y and x; -1 where there is none, -2 outside the disk.
    points : ndarray of float64, (n_test, 4)
    labels, test : ndarray of int64, (n_test,)
        True and predicted classes.
    """
    areas, errors = (_disk(grid, predicted) for _ in range(2))
    wrong = np.flatnonzero(test != labels)
    names = np.array([*AREAS, "none"])
    for k, (name, colour) in enumerate(zip(AREAS, CLASSES, strict=True)):
        here = wrong[labels[wrong] == k]
        columns = plots.source(
            x=points[here, 0], y=points[here, 1], true=[name] * here.size, decided=names[test[here]]
        )
        hover = {"true class": "@true", "decided": "@decided", "x": "@x{0.000}", "y": "@y{0.000}"}
        plots.marks(errors, columns, "x", "y", colour=colour, hover=hover, size=5)
    legend = [Key(name, colour) for name, colour in zip(AREAS, CLASSES, strict=True)]
    return Picture(
        "Decisions",
        "The output that spikes first for an input at every point of the disk; no colour where no output spikes.",
        (
            plots.panel(areas, "decided class; lines are the true borders", legend),
            plots.panel(
                errors, f"{wrong.size} of {len(labels)} test points are wrong: their true class", legend
            ),
        ),
        about="howto/train",
    )


def _disk(grid: Reals, predicted: Integers) -> Any:
    """Return a plot of the decided classes, with the true borders."""
    low, high = float(grid[0]), float(grid[-1])
    plot = plots.axes("x", "y", height=440, x_range=(-0.02, 1.02), y_range=(-0.02, 1.02))
    plot.update(sizing_mode="scale_width", width=440, max_width=520)  # a disk is as high as it is wide
    plots.area_map(plot, np.where(predicted < 0, np.nan, predicted), low, high)
    turn = np.linspace(0, 2 * np.pi, 200)
    for x, radius, angle in (
        (0.5, 0.5, turn),
        (0.25, 0.1, turn),
        (0.75, 0.1, turn),
        (0.25, 0.25, turn[:101]),
        (0.75, 0.25, turn[100:]),
    ):
        border = plots.source(x=x + radius * np.cos(angle), y=0.5 + radius * np.sin(angle))
        plots.lines(plot, border, "x", "y", colour="ink", line_width=0.8)
    return plot
