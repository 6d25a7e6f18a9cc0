"""The pictures of a training: curves over epochs, and what the network decides at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eventsolve.plot.style import EXACT, MODEL, QUIET, SERIES, STYLE
from validation.pictures import Picture, canvas, finished

if TYPE_CHECKING:
    from validation.recipes.engines import Integers
    from validation.recipes.recipe import Reals
    from validation.recipes.trainer import Epoch

CLASSES = ("#A9CCE3", "#F5CBA7", "#ABEBC6", "#FFFFFF")
"""Of yin, yang, dots, and no decision: light enough for points of the test set to be seen on them."""


def curves(history: tuple[Epoch, ...], ceiling: float | None) -> Picture:
    """Draw loss, error and activity over the epochs; ``ceiling`` is the best accuracy that the inputs' code allows."""
    import matplotlib as mpl
    from matplotlib.ticker import StrMethodFormatter

    columns = {name: np.array([getattr(e, name) for e in history]) for name in history[0]._fields}
    epochs = np.arange(1, len(history) + 1)
    with mpl.rc_context(STYLE):
        figure, ((loss, error, spikes),) = canvas(11.0, 3.2, 1, 3)
        loss.plot(epochs, columns["loss"], color=EXACT)
        loss.set(title="loss", xlabel="epoch", ylabel="mean over the epoch's batches")
        for name, colour, label in (("train_accuracy", EXACT, "training"), ("test_accuracy", MODEL, "test")):
            error.semilogy(epochs, 100 * np.maximum(1 - columns[name], 1e-5), color=colour, label=label)
        if ceiling is not None:
            error.axhline(
                100 * (1 - ceiling), color=QUIET, linestyle="--", label="least that the code allows"
            )
        error.set(title="error", xlabel="epoch", ylabel="samples classified wrongly (%)")
        for ticks in (error.yaxis.set_major_formatter, error.yaxis.set_minor_formatter):
            ticks(StrMethodFormatter("{x:g}"))
        error.legend(frameon=False)
        for k, (name, label) in enumerate(
            (("hidden_spikes", "hidden"), ("output_spikes", "outputs"), ("silent", "silent hidden neurons"))
        ):
            spikes.plot(
                epochs,
                columns[name],
                color=SERIES[k],
                linestyle=":" if name == "silent" else "-",
                label=label,
            )
        spikes.set(title="activity", xlabel="epoch", ylabel="spikes per test sample; neurons", ylim=(0, None))
        spikes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        return finished(
            figure,
            "Over the epochs",
            "Training error is measured while the weights change, test error after every epoch. A hidden neuron "
            "is silent if it spikes in no test sample.",
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
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    with mpl.rc_context(STYLE):
        figure, ((areas, errors),) = canvas(11.0, 5.2, 1, 2)
        shown = np.ma.masked_equal(np.where(predicted == -1, 3, predicted), -2)
        extent = (grid[0], grid[-1], grid[0], grid[-1])
        for axis in (areas, errors):
            axis.imshow(
                shown,
                origin="lower",
                extent=extent,
                cmap=ListedColormap(CLASSES),
                vmin=-0.5,
                vmax=3.5,
                interpolation="nearest",
            )
            _boundary(axis)
            axis.set(xlabel="x", ylabel="y", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axis.set_aspect("equal")
        wrong = test != labels
        errors.scatter(*points[wrong, :2].T, s=7, color=[SERIES[k] for k in labels[wrong]], linewidths=0)
        areas.set_title("decided class; lines are the true borders")
        errors.set_title(
            f"{np.count_nonzero(wrong)} of {len(labels)} test points are wrong; colours: their true class"
        )
        return finished(
            figure,
            "Decisions",
            "The output that spikes first for an input at every point of the disk: yin blue, yang orange, dots green, "
            "white where no output spikes.",
        )


def _boundary(axis: Any) -> None:
    turn = np.linspace(0, 2 * np.pi, 400)
    for x, radius, angle in (
        (0.5, 0.5, turn),
        (0.25, 0.1, turn),
        (0.75, 0.1, turn),
        (0.25, 0.25, turn[:200]),
        (0.75, 0.25, turn[200:]),
    ):
        axis.plot(x + radius * np.cos(angle), 0.5 + radius * np.sin(angle), color="#000000", linewidth=0.7)
