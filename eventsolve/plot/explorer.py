"""explore(): a network under sliders: raster, voltages, margins, and what each change crosses, as fast as one moves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from eventsolve.checks import index_vector, instance, real, real_array, require_one_of, shown
from eventsolve.dynamics import Continuation, continuation
from eventsolve.dynamics.paths import Parameter, Path, numbers_of, path_of, rebuilt
from eventsolve.dynamics.points import shaped
from eventsolve.dynamics.walks import said
from eventsolve.network import Network
from eventsolve.plot.sliders import STEPS, ipywidgets
from eventsolve.plot.style import EXACT, MODEL, QUIET, SERIES, STYLE
from eventsolve.problem import Problem
from eventsolve.shown import arrow, several
from eventsolve.solution import Solution
from eventsolve.solve import RepeatedSpikeError, SpikeBudgetError, solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.stability.margins import margins
from eventsolve.typing import Reals

READS = 300
"""Voltages are drawn at so many times, and at both sides of every spike."""
NEAREST = 20
"""Margins drawn of each kind and population."""
MAX_SPIKES = 100_000
SIZE, DPI = (7.0, 5.2), 80
WATCHED = 3


class Slider(NamedTuple):
    """What a slider moves, along which path, and from where to where; it starts at ``start``."""

    path: Path
    low: float
    high: float
    start: float


class Explorer:
    """A network whose numbers are moved by sliders; :func:`explore` makes it.

    Attributes
    ----------
    sliders : dict of str to Slider
    values : dict of str to float
        Where the sliders are.
    solution : Solution
        There.
    said : str
        What the last change crossed, or why there is no solution, in which case the last one stays.
    figure : matplotlib.figure.Figure
    """

    def __init__(self, problem: Problem, sliders: dict[str, Slider], watched: dict[str, Any]) -> None:
        self.sliders = sliders
        self.values = {name: slider.start for name, slider in sliders.items()}
        self.said = ""
        self._problem, self._watched = problem, watched
        self.solution = self._before = self._solved(self.values)
        self._build()

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _numbers(self, values: Mapping[str, float]) -> dict[str, dict[Any, Reals]]:
        """Return all numbers that sliders move; of those that several move, the changes add up."""
        found: dict[str, dict[Any, Reals]] = {}
        for label, (path, *_) in self.sliders.items():
            for name, by_key in path.start.items():
                for key, start in by_key.items():
                    base = self._base(name, key)
                    now = found.setdefault(name, {}).setdefault(key, base)
                    found[name][key] = now + (start + values[label] * path.step[name][key] - base)
        return found

    def _base(self, name: str, key: Any) -> Reals:
        if name == "spike_times":
            return self._problem.inputs[key].times
        projections = self._problem.network.projections
        if name in ("weight", "delay"):
            return projections[key].weights if name == "weight" else projections[key].delay
        return self._problem.network.population(key).parameter(name)

    def _solved(self, values: Mapping[str, float]) -> Solution:
        network, inputs = rebuilt(self._problem.network, self._problem.inputs, self._numbers(values))
        return solve(network, inputs, self._problem.t_end, max_spikes=self._problem.max_spikes)

    def move(self, **values: float) -> str:
        """Move sliders; return what that crossed, in words, or why there is no solution there.

        Raises
        ------
        ValueError
            If there is no such slider, or a value is no number.
        """
        for name in values:
            if name not in self.sliders:
                raise ValueError(f"there is no slider {shown(name)}; there are {list(self.sliders)}")
        asked = {**self.values, **{name: real(name, value) for name, value in values.items()}}
        try:
            solution = self._solved(asked)
        except (ValueError, SpikeBudgetError, RepeatedSpikeError) as error:
            self.said = f"no solution there: {said(error)}"
            return self.said
        self._before, self.solution, self.values = self.solution, solution, asked
        self.said = _crossed(self._before, solution)
        return self.said

    def crossed(self, max_solves: int = 2000) -> Continuation:
        """Return all events between where the sliders were and where they are, exactly: from value 0 to 1.

        Raises
        ------
        ContinuationError
            As :func:`eventsolve.continuation`.
        ValueError
            If nothing was moved.
        """
        before, after = self._before, self.solution
        inputs = {name: before.spikes[name] for name in self._problem.inputs}
        step = {
            name: {key: numbers_of(after, name, key) - numbers_of(before, name, key) for key in by_key}
            for name, by_key in self._numbers(self.values).items()
        }
        direction = shaped(step, before)
        problem = Problem(before.network, inputs, before.t_end, max_spikes=self._problem.max_spikes)
        return continuation(before.network, direction, (0.0, 1.0), of=problem, max_solves=max_solves)

    # -- pictures ----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Draw once all that does not move; of the rest, only lines are drawn anew for every picture."""
        with mpl.rc_context(STYLE):
            self.figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
            self._canvas = cast(Any, FigureCanvasAgg(self.figure))
            raster, traces, strips = self.figure.subplots(3, 1, height_ratios=(3, 3, 1.4))
        network, t_end = self.solution.network, self.solution.t_end * 1e3
        spiking = [p for p in network.populations.values() if p.neuron is None or p.spiking]
        rows = np.concatenate([[0], np.cumsum([p.size for p in spiking])]).tolist()
        raster.set(xlim=(0.0, t_end or 1.0), ylim=(-0.9, max(rows[-1], 1) - 0.1), ylabel="neuron", title=" ")
        raster.set_yticks(rows[:-1], [p.name for p in spiking])
        self._rows = {p.name: row for p, row in zip(spiking, rows, strict=False)}
        moving: list[tuple[Axes, Artist]] = []
        self._ticks, self._traces, self._strips = {}, {}, {}
        for k, p in enumerate(spiking):
            color = QUIET if p.neuron is None else SERIES[k % len(SERIES)]
            (self._ticks[p.name],) = raster.plot([], [], "|", color=color, markersize=4, animated=True)
            moving.append((raster, self._ticks[p.name]))
        for k, (name, neuron) in enumerate((n, i) for n, some in self._watched.items() for i in some):
            color = SERIES[k % len(SERIES)]
            (line,) = traces.plot([], [], color=color, linewidth=1.2, animated=True, label=f"{name} {neuron}")
            self._traces[name, neuron] = line
            moving.append((traces, line))
        levels = [0.0]
        for name, _ in self._traces:
            population = network.population(name)
            for parameter in ("v_threshold", "v_reset", "v_leak"):
                values = population.parameter(parameter)
                levels += values[np.isfinite(values)].tolist()
            traces.axhline(float(population.parameter("v_threshold").min()), color=QUIET, linestyle="--")
        room = max(levels) - min(levels) or 1.0
        traces.set(
            xlim=(0.0, t_end or 1.0),
            ylim=(min(levels) - 0.7 * room, max(levels) + 0.15 * room),
            xlabel="time (ms)",
            ylabel="V",
        )
        if self._traces:
            traces.legend(loc="upper right", fontsize=7)
        for row, kind in enumerate(("voltage", "overshoot", "gap")):
            color = (EXACT, MODEL, QUIET)[row]
            (line,) = strips.plot([], [], "|", color=color, markersize=9, animated=True)
            self._strips[kind] = line
            moving.append((strips, line))
        strips.set(
            xscale="log", xlim=(1e-7, 10.0), ylim=(2.5, -0.5), xlabel="margin (unit of weight; gap in s)"
        )
        strips.set_yticks(range(3), ("voltage", "overshoot", "gap"))
        self._words = raster.text(0.0, 1.02, "", transform=raster.transAxes, fontsize=9, animated=True)
        moving.append((raster, self._words))
        self._moving = moving
        self._canvas.draw()
        self.figure.set_layout_engine("none")  # what is drawn once stays where it is
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    def picture(self) -> bytes:
        """Return the picture of where the sliders are, a PNG."""
        solution = self.solution
        for name, line in self._ticks.items():
            trains = solution.spikes[name]
            line.set_data(trains.times * 1e3, trains.neurons + self._rows[name])
        grid = np.linspace(solution.t_start, solution.t_end, READS)
        for name in self._watched:
            times = solution.spikes[name].times
            if solution.network.population(name).spiking:
                own = times[np.isin(solution.spikes[name].neurons, self._watched[name])]
                every = np.unique(np.concatenate([grid, own, np.nextafter(own, 0.0)]))
            else:
                every = grid
            voltages = solution.voltage(name, every)[0]
            for neuron in self._watched[name]:
                self._traces[name, neuron].set_data(every * 1e3, voltages[neuron])
        near = margins(solution, nearest=NEAREST)
        for row, (kind, line) in enumerate(self._strips.items()):
            parts = [np.empty(0), *(d.values for d in getattr(near, kind).values())]
            values = np.maximum(np.concatenate(parts), 1e-7)
            line.set_data(values, np.full(values.size, row))
        self._words.set_text(self.said[:110].replace("$", r"\$"))
        self._canvas.restore_region(self._background)
        for ax, artist in self._moving:
            ax.draw_artist(artist)
        width, height = self._canvas.get_width_height()
        image = Image.frombuffer("RGBA", (width, height), self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        with io.BytesIO() as png:
            image.convert("RGB").save(png, format="png", compress_level=1)
            return png.getvalue()

    def _repr_png_(self) -> bytes:
        """Show the picture where a notebook has no widgets."""
        return self.picture()

    def widget(self) -> Any:
        """Return sliders, picture and words as one widget.

        Raises
        ------
        ImportError
            Without ``ipywidgets``, which comes with the extra ``explore``.
        """
        widgets = ipywidgets()
        if widgets is None:
            raise ImportError("sliders need ipywidgets: pip install 'eventsolve[explore]'")
        image = widgets.Image(value=self.picture(), format="png")
        words = widgets.HTML(value="")
        bars = []

        def moved(change: Any) -> None:
            words.value = self.move(**{change["owner"].description: change["new"]})
            image.value = self.picture()

        for name, (_, low, high, start) in self.sliders.items():
            bar = widgets.FloatSlider(
                value=start,
                min=low,
                max=high,
                step=(high - low) / STEPS,
                description=name,
                readout_format=".4g",
                layout=widgets.Layout(width="30em"),
                style={"description_width": "14em"},
            )
            bar.observe(moved, names="value")
            bars.append(bar)
        return widgets.VBox([*bars, image, words])


def _crossed(before: Solution, after: Solution) -> str:
    """Say which neurons gained and lost spikes, and that others may have changed their order."""
    more = fewer = 0
    whose = ""
    for name, trains in after.spikes.items():
        if after.network.population(name).spiking:
            change = (trains.counts() - before.spikes[name].counts())[0]
            more += int(change[change > 0].sum())
            fewer -= int(change[change < 0].sum())
            if change.any() and not whose:
                whose = f"; first, neuron {int(np.flatnonzero(change)[0])} of {name}"
    if not more and not fewer:
        return "no spike appeared or vanished"
    gained = [f"{several(more, 'spike')} more"] * bool(more) + [f"{several(fewer, 'spike')} fewer"] * bool(
        fewer
    )
    return f"crossed a bifurcation: {', '.join(gained)}{whose}"


def explore(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    *,
    sliders: Mapping[str, tuple[Parameter, float, float]] | None = None,
    watch: Mapping[str, Sequence[int]] | None = None,
    max_spikes: int = MAX_SPIKES,
) -> Explorer:
    """Explore a network with sliders: raster, voltages, margins, and what each change crosses.

    In a notebook ``explore(...).widget()`` shows sliders; the explorer itself is displayed as a picture without
    sliders.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains
        One sample.
    t_end : float
        Seconds.
    sliders : mapping of str to (parameter, low, high), optional
        By name: any weight, delay, drive, time constant, input spike or direction of many, as
        :func:`eventsolve.continuation` takes them. By default, from half to twice their values, the weights of each
        projection, its delays if there are some, and the time constants of each population; and its v_leak, a drive, by
        up to v_threshold - v_reset.
    watch : mapping of population to sequence of int, optional
        Neurons whose voltage is drawn; by default the first three of the last population.
    max_spikes : int
        As for :func:`eventsolve.solve`; beyond it, the last picture stays.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        As :func:`eventsolve.solve` and :func:`eventsolve.continuation`, or for an empty range, or one at whose ends a
        number is out of its bounds.
    """
    instance("network", network, Network)
    if sliders is not None:
        instance("sliders", sliders, Mapping)
    problem = Problem(network, inputs, t_end, max_spikes=max_spikes)
    if problem.n_samples != 1:
        raise ValueError(f"inputs must have one sample; got {problem.n_samples}")
    unmoved = solve(network, inputs, 0.0, max_spikes=max_spikes)
    if sliders is None:
        sliders = _all_sliders(network)
    found = {}
    for name, given in sliders.items():
        if not (isinstance(given, tuple) and len(given) == 3):
            raise ValueError(f"sliders[{name!r}] must be (parameter, low, high); got {shown(given)}")
        path = path_of(unmoved, given[0])
        start = _start(path, unmoved)
        low, high = real_array(f"sliders[{name!r}]", given[1:], "a low and a high number").tolist()
        if not low <= start <= high or not low < high:
            raise ValueError(
                f"sliders[{name!r}] must go from below to above {start!r}, where it is; got {low!r} to {high!r}"
            )
        for value in (low, high):
            try:
                path.at(value)
            except ValueError as error:
                raise ValueError(
                    f"sliders[{name!r}] must stay where there is a network; at {value!r}, {error}"
                ) from error
        found[name] = Slider(path, low, high, start)
    neurons = {n: p.size for n, p in network.populations.items() if p.neuron is not None and p.size}
    if watch is None:
        watch = {n: range(min(size, WATCHED)) for n, size in [*neurons.items()][-1:]}
    instance("watch", watch, Mapping)
    for name in watch:
        require_one_of("a name in watch", name, neurons, ", populations of neurons")
    watched = {
        n: index_vector(f"watch[{n!r}]", list(some) if isinstance(some, range) else some, neurons[n]).tolist()
        for n, some in watch.items()
    }
    return Explorer(problem, found, watched)


def _start(path: Path, unmoved: Solution) -> float:
    """Return the value at which a path has the numbers that there are: 0, or that of those which have the value."""
    for name, by_key in path.step.items():
        for key, step in by_key.items():
            here = numbers_of(unmoved, name, key)
            moved = np.flatnonzero(step)
            if moved.size and (path.start[name][key][moved] != here[moved]).any():
                return float(here[moved[0]])
    return 0.0


def _all_sliders(network: Network) -> dict[str, tuple[Parameter, float, float]]:
    found: dict[str, tuple[Parameter, float, float]] = {}
    for key, projection in network.projections.items():
        found[f"weight {arrow(key)}"] = {"weight": {key: projection.weight}}, -0.5, 1.0
        if projection.delay.any():
            found[f"delay {arrow(key)}"] = ({"delay": {key: projection.shaped(projection.delay)}}, -0.5, 1.0)
    for name, p in network.populations.items():
        if p.neuron is None or not p.size:
            continue
        for tau in ("tau_mem", "tau_syn"):
            found[f"{tau} {name}"] = {tau: {name: p.parameter(tau)}}, -0.5, 1.0
        if p.spiking:
            reach = p.parameter("v_threshold") - p.parameter("v_reset")
            found[f"v_leak {name}"] = {"v_leak": {name: reach}}, -1.0, 1.0
    return found
