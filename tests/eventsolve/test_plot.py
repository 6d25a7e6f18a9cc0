"""Do pictures hold what they are said to show? What is drawn is read back from the Axes."""

import dataclasses
import inspect
import sys
import types
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from networks import random_case

import eventsolve as es
from eventsolve import plot
from eventsolve.plot.style import SERIES


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def solution():
    return random_case(2).solve()


@pytest.fixture(scope="module")
def states(solution):
    n = solution.spikes["out"].n_spikes
    return es.adjoint_states(
        solution,
        es.losses.SpikeTimeLoss(
            lambda s: (np.bincount(s["out"].samples, s["out"].times, 2), {"out": np.ones(n)})
        ),
    )


def pieces(line):
    """The stretches of a line between the places at which the pen is lifted, as rows (time, value)."""
    xy = line.get_xydata()
    ends = np.flatnonzero(np.isnan(xy[:, 1]))
    return [piece[~np.isnan(piece[:, 1])] for piece in np.split(xy, ends + 1) if len(piece)]


def test_a_raster_has_a_tick_for_every_spike_of_the_sample(solution, ax):
    spikes = solution.spikes["hidden"]
    assert plot.raster(spikes, sample=1, ax=ax, label="exact", offset=0.2) is ax
    (line,) = ax.lines
    here = spikes.samples == 1
    np.testing.assert_array_equal(line.get_xdata(), spikes.times[here] * 1e3)
    np.testing.assert_array_equal(line.get_ydata(), spikes.neurons[here] + 0.2)
    assert (ax.get_xlabel(), ax.get_ylabel(), line.get_label()) == ("time (ms)", "neuron", "exact")


@pytest.mark.parametrize("name", ["hidden", "out"])
def test_no_line_joins_the_two_sides_of_a_reset(solution, name, ax):
    spikes, population = solution.spikes[name], solution.network.population(name)
    neuron = int(np.argmax(solution.spikes[name].counts()[0]))
    plot.voltage(solution, name, neuron=neuron, ax=ax)
    line, threshold = ax.lines
    own = spikes.times[(spikes.samples == 0) & (spikes.neurons == neuron)] * 1e3
    drawn = pieces(line)
    assert own.size >= 1
    assert len(drawn) == solution.event_times(name)[0].size - 1
    v_threshold, v_reset = (
        population.parameter("v_threshold")[neuron],
        population.parameter("v_reset")[neuron],
    )
    for time in own:
        k = next(k for k, p in enumerate(drawn) if p[0, 0] == time)
        before, after = drawn[k - 1], drawn[k]
        # neighbouring float64 of seconds, 2**-52 apart at most, each rounded to milliseconds
        assert time - before[-1, 0] <= 3 * np.spacing(time)
        assert before[-1, 1] == pytest.approx(v_threshold, rel=1e-12, abs=0.0)
        assert after[0, 1] == v_reset
    assert set(threshold.get_ydata()) == {v_threshold}
    (falls,) = ax.collections
    np.testing.assert_array_equal([s[:, 0] for s in falls.get_segments()], np.stack([own, own], axis=1))
    np.testing.assert_allclose([s[:, 1] for s in falls.get_segments()], [[v_reset, v_threshold]] * own.size)


def test_what_is_drawn_between_events_is_the_state(solution, states, ax):
    for draw, values in (
        (lambda: plot.voltage(solution, "out", sample=1, ax=ax), solution.voltage),
        (lambda: plot.current(solution, "out", sample=1, ax=ax), solution.current),
        (lambda: plot.adjoint_voltage(states, "out", sample=1, ax=ax), states.voltage),
        (lambda: plot.adjoint_current(states, "out", sample=1, ax=ax), states.current),
    ):
        ax.clear()
        draw()
        xy = np.concatenate(pieces(ax.lines[0]))
        inside = xy[np.isfinite(xy[:, 1])][1::3]
        edges = solution.event_times("out")[1]
        far = np.abs(inside[:, 0, None] / 1e3 - edges).min(axis=1) > 1e-9
        want = values("out", inside[far, 0] / 1e3)[1, 0]
        np.testing.assert_allclose(inside[far, 1], want, rtol=1e-11, atol=1e-13 * np.abs(want).max())
        assert "unit of weight" in ax.get_ylabel()
        assert ax.get_xlim() == (0.0, 50.0)


def test_the_adjoint_of_a_spike_jumps_and_that_of_a_current_does_not(solution, states, ax):
    spikes = solution.spikes["out"]
    k = int(np.argmax(spikes.samples == 0))
    time, neuron = spikes.times[k] * 1e3, int(spikes.neurons[k])
    plot.adjoint_voltage(states, "out", neuron=neuron, ax=ax)
    drawn = pieces(ax.lines[0])
    before, after = (next(p for p in drawn if p[end, 0] == pytest.approx(time)) for end in (-1, 0))
    assert before[-1, 1] < 0 < abs(before[-1, 1] - after[0, 1])
    ax.clear()
    plot.adjoint_current(states, "out", neuron=neuron, ax=ax)
    drawn = pieces(ax.lines[0])
    for left, right in pairwise(drawn):
        assert left[-1, 1] == pytest.approx(right[0, 1], rel=1e-9, abs=1e-15)


def test_a_network_that_ends_at_its_start_is_one_piece(ax):
    net = es.Network()
    net.add_population("out", 1, es.LI(20e-3, 5e-3, v_initial=0.5))
    plot.voltage(es.solve(net, {}, 0.0), "out", ax=ax)
    assert set(np.concatenate(pieces(ax.lines[0]))[:, 1]) == {0.5}
    assert len(ax.lines) == 1  # a readout has no threshold


def test_a_scatter_circles_what_is_furthest_off(ax):
    exact = np.arange(6.0).reshape(2, 3)
    model = exact.copy()
    model[1, 2], model[0, 0], model[0, 1] = 9.0, -1.0, np.nan
    plot.gradient_scatter(exact, model, ax=ax)
    assert len(ax.collections[0].get_offsets()) == 5
    circles = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert circles == [[5.0, 9.0], [0.0, -1.0]]
    assert ax.texts[0].get_text() == "furthest off\n1 ← 2\n0 ← 0"
    assert ax.get_xlim() == ax.get_ylim() == (-1.05 * 9, 1.05 * 9)


@pytest.mark.parametrize("shape", [(2, 5), (20, 3)])
def test_a_map_has_one_cell_for_every_synapse_and_white_at_0(shape, ax):
    values = np.random.default_rng(0).normal(size=shape)
    values[1, 1] = np.nan
    plot.gradient_map(values, ax=ax, pre="a", post="b")
    (image,) = ax.images
    shown = image.get_array()
    wide = shape[1] >= shape[0]
    np.testing.assert_array_equal(shown.filled(np.nan), values if wide else values.T)
    assert image.get_clim() == (-np.nanmax(np.abs(values)), np.nanmax(np.abs(values)))
    assert ax.get_xlabel() == ("a neuron" if wide else "b neuron")


def test_convergence_draws_positive_errors_in_order_of_the_step(ax):
    plot.convergence({"s16.15": ([1.0, 0.01, 0.1], [3.0, 0.0, 2.0]), "float32": ([1.0], [np.inf])}, ax=ax)
    one, other = ax.lines
    np.testing.assert_array_equal(one.get_ydata(), [2.0, 3.0])
    np.testing.assert_allclose(one.get_xdata(), [0.1, 1.0], rtol=0.02)
    assert other.get_xdata().size == 0
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_a_waterfall_adds_up(ax):
    plot.waterfall({"grid": 0.5, "rounding": -0.2}, total="all", ylabel="error", ax=ax)
    spans = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
    assert spans == [(0.0, 0.5), (0.5, 0.3), (0.0, 0.3)]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["grid", "rounding", "all"]
    assert [t.get_text() for t in ax.texts] == ["+0.5", "-0.2", "0.3"]


def test_strips_mark_the_smallest_margin_and_those_of_0(ax):
    plot.margin_strips({"appears": [0.3, 0.01, np.inf], "vanishes": [0.0, 2.0]}, unit="unit of V", ax=ax)
    ticks = [line for line in ax.lines if line.get_marker() == "|"]
    assert [set(line.get_xdata()) for line in ticks] == [{0.3, 0.01}, {2.0}]
    assert next(line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o") == 0.01
    assert ax.texts[0].get_text() == "1 at 0"
    assert ax.get_xlabel() == "margin (unit of V)"


def test_a_graph_names_populations_and_projections(ax):
    net = random_case(0).net
    loop = es.Network()
    for name, population in net.populations.items():
        if population.neuron is None:
            loop.add_input(name, population.size)
        else:
            loop.add_population(name, population.size, population.neuron)
    loop.connect("in", "hidden", np.ones((4, 3)), delay=1e-3)
    loop.connect("hidden", "hidden", np.ones((4, 4)), delay=np.linspace(1e-3, 2e-3, 16).reshape(4, 4))
    loop.connect("hidden", "out", np.ones((2, 4)))
    loop.connect("in", "out", np.ones((2, 3)), synapse="delta", name="skip")
    plot.network(loop, ax=ax)
    words = [t.get_text() for t in ax.texts]
    assert words[:3] == ["in\n3 input", "hidden\n4 LIF", "out\n2 LIF"]
    assert set(words[3:]) == {
        "12 synapses\n1 ms",
        "16 synapses\n1..2 ms",
        "8 synapses",
        "skip\n6 synapses\ndelta",
    }
    assert len([p for p in ax.patches if type(p).__name__ == "FancyArrowPatch"]) == 4
    x = {t.get_text().split("\n")[0]: t.get_position()[0] for t in ax.texts[:3]}
    assert x["in"] < x["hidden"] < x["out"]


def test_a_boundary_has_an_area_for_every_class_and_a_marker_for_every_point(ax):
    x, y = np.linspace(0, 1, 5), np.linspace(0, 2, 3)
    classes = np.array([[0, 0, 1, 1, -1]] * 3)
    plot.decision_boundary(x, y, classes, points=[[0.1, 0.2], [0.9, 1.0]], labels=[1, 0], ax=ax)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array().filled(-1), classes)
    assert image.get_extent() == [-0.125, 1.125, -0.5, 2.5]
    assert [line.get_label() for line in ax.lines] == ["class 0", "class 1"]
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0.9, 1.0]], [[0.1, 0.2]]]
    assert [to_hex(line.get_color()).upper() for line in ax.lines] == list(SERIES[:2])


def test_without_axes_there_is_a_figure_each(solution):
    first, second = (plot.raster(solution.spikes["out"]) for _ in range(2))
    assert first.figure is not second.figure


def test_colours_are_told_apart_by_their_lightness_too():
    """Of the two that stand for exact and model, and the grey: as a printer without colours shows them."""
    lightness = [
        np.dot([0.299, 0.587, 0.114], [int(c[k : k + 2], 16) for k in (1, 3, 5)]) for c in SERIES[:2]
    ]
    assert abs(lightness[0] - lightness[1]) > 25


def test_without_ipywidgets_a_picture_is_drawn_once_at_its_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    calls = []
    plot.explore(lambda **values: calls.append(values), weight=(1.0, 3.0, 2.5), delay=(0.0, 1.0, 0.0))
    assert calls == [{"weight": 2.5, "delay": 0.0}]


def test_with_ipywidgets_every_argument_has_a_slider(monkeypatch):
    calls, sliders = [], []
    stand_in = types.ModuleType("ipywidgets")
    stand_in.FloatSlider = lambda **options: sliders.append(options) or options["value"]
    stand_in.interact = lambda function, **start: function(**start)
    monkeypatch.setitem(sys.modules, "ipywidgets", stand_in)
    plot.explore(lambda **values: calls.append(values), weight=(1.0, 3.0, 2.5))
    assert calls == [{"weight": 2.5}]
    assert [(s["min"], s["max"], s["value"], s["step"]) for s in sliders] == [(1.0, 3.0, 2.5, 0.02)]


REFUSED = {
    "weight must be .low, high, start. with low <= start <= high": lambda s: plot.explore(
        print, weight=(0, 1, 2)
    ),
    "sample must be an integer in 0..1; got 2": lambda s: plot.raster(s.spikes["out"], sample=2),
    "sample must be an integer in 0..1; got -1": lambda s: plot.voltage(s, "out", sample=-1),
    "neuron must be an integer in 0..1; got 2": lambda s: plot.voltage(s, "out", neuron=2),
    "neuron must be an integer in 0..1; got True": lambda s: plot.current(s, "out", neuron=True),
    "'in' is an input: it has no voltage": lambda s: plot.voltage(s, "in"),
    "'nobody' is not a population": lambda s: plot.current(s, "nobody"),
    r"one shape, \(n_post, n_pre\) or \(n,\); got \(2,\) and \(3,\)": lambda s: plot.gradient_scatter(
        [1, 2], [1, 2, 3]
    ),
    r"values must have shape \(n_post, n_pre\) and entries; got \(3,\)": lambda s: plot.gradient_map(
        [1, 2, 3]
    ),
    r"'a' must have one length; got shapes \(1,\) and \(2,\)": lambda s: plot.convergence(
        {"a": ([1], [1, 2])}
    ),
    r"steps of 'a' must be finite and > 0; entry \[1\] is 0.0": lambda s: plot.convergence(
        {"a": ([1, 0], [1, 2])}
    ),
    "contributions must name at least one cause": lambda s: plot.waterfall({}, ylabel=""),
    r"contributions must be finite; entry \[0\] is nan": lambda s: plot.waterfall({"a": np.nan}, ylabel=""),
    "margins must name at least one kind": lambda s: plot.margin_strips({}, unit="s"),
    r"margins\['a'\] must be >= 0; entry \[1\] is -1.0": lambda s: plot.margin_strips(
        {"a": [1, -1]}, unit="s"
    ),
    "x must be two or more evenly spaced": lambda s: plot.decision_boundary([0, 1, 3], [0, 1], [[0] * 3] * 2),
    r"classes must be integers of shape \(n_y, n_x\) = \(2, 3\)": lambda s: plot.decision_boundary(
        [0, 1, 2], [0, 1], [[0, 0]] * 3
    ),
    r"classes must be >= -1; entry \[0, 1\] is -2": lambda s: plot.decision_boundary(
        [0, 1], [0, 1], [[0, -2], [0, 0]]
    ),
    "points and labels must be given together": lambda s: plot.decision_boundary(
        [0, 1], [0, 1], [[0, 0]] * 2, points=[[0, 0]]
    ),
    "at most 6, which colours tell apart; got 8": lambda s: plot.decision_boundary(
        [0, 1], [0, 1], [[0, 7]] * 2
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_bad_input_is_refused(sentence, solution):
    with pytest.raises(ValueError, match=sentence):
        REFUSED[sentence](solution)


def test_axes_are_axes():
    with pytest.raises(TypeError, match="ax must be matplotlib Axes or None; got Figure"):
        plot.waterfall({"a": 1.0}, ylabel="", ax=Figure())


def test_exponents_are_drawn_with_their_errors_and_lost_ones_at_the_edge(ax):
    from eventsolve.dynamics import LyapunovSpectrum

    rng = np.random.default_rng(0)
    rates = rng.normal([20.0, -5.0, 0.0], 1, (1, 32, 3))
    rates[..., 2] = -np.inf
    found = LyapunovSpectrum(rates, 0.1, 1.0, 100, 32)
    plot.spectrum(found, ax=ax)
    drawn = {tuple(line.get_xdata()): line.get_ydata() for line in ax.lines if line.get_marker() == "o"}
    assert (drawn[(1,)], drawn[(2,)]) == (found.exponents[0], found.exponents[1])
    bars = [np.ptp(c.get_segments()[0][:, 1]) for c in ax.collections]
    np.testing.assert_allclose(sorted(bars), sorted(4 * found.errors[:2]))
    (lost,) = (line for line in ax.lines if line.get_marker() == "v")
    assert lost.get_xdata().tolist() == [3]
    other = plot.exponent_convergence(found, ax=Figure().add_subplot())
    assert len(other.lines) == 3
    np.testing.assert_array_equal(other.lines[1].get_ydata(), found.convergence[:, 1])


def test_multipliers_outside_of_the_circle_have_another_colour_and_that_of_time_is_a_ring(ax):
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    orbit = es.periodic_orbit(net)
    assert plot.floquet_multipliers(orbit, ax=ax, label="in phase") is ax
    circle, inside, outside, ring = ax.lines
    np.testing.assert_allclose(np.hypot(*circle.get_xydata().T), 1.0)
    drawn = np.concatenate([inside.get_xydata(), outside.get_xydata()]) @ [1.0, 1j]
    np.testing.assert_array_equal(np.sort(drawn), np.sort(orbit.transverse))
    assert (np.hypot(*inside.get_xydata().T) < 1.0).all()
    assert len(outside.get_xydata()) == 1
    assert inside.get_color() != outside.get_color()
    assert ring.get_markerfacecolor() == "none"


@pytest.mark.parametrize("kick", [None, 0.1])
def test_a_response_curve_is_over_the_phase_and_leaves_out_what_did_not_settle(kick, ax):
    net = es.Network()
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    found = es.phase_response(es.periodic_orbit(net), "n", kick=kick, phases=[0.7, 0.2, 0.5])
    found = dataclasses.replace(found, settled=np.array([True, True, False]))
    plot.response_curve(found, ax=ax)
    x, y = ax.lines[0].get_xydata().T
    np.testing.assert_array_equal(x, [0.2, 0.5, 0.7])
    np.testing.assert_array_equal(y, [found.advance[1] * 1e3, np.nan, found.advance[0] * 1e3])
    assert ax.get_ylabel() == ("advance (ms per unit)" if kick is None else "advance (ms)")


@pytest.mark.parametrize("given", [None, 3, "x"])
def test_what_is_no_such_thing_is_refused_by_every_picture(given):
    """One sentence that names the argument, and never an AttributeError of something inside."""
    names = [n for n in dir(plot) if n[0] != "_" and callable(getattr(plot, n))]
    assert len(names) >= 20
    for name in names:
        function = getattr(plot, name)
        parameters = inspect.signature(function).parameters.values()
        wanted = [
            p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        positional = [given for p in wanted if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: "unit" for p in wanted if p.kind is p.KEYWORD_ONLY}
        with pytest.raises((TypeError, ValueError), match=r" must "):
            function(*positional, **named)


@pytest.mark.parametrize("of", ["period", "phases", "multipliers"])
def test_branches_of_orbits_are_full_where_stable_and_marked_at_events(of, ax):
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    spikes = {"n": es.SpikeTrains.from_lists([[[1e-3], [12e-3]]])}
    orbit = es.periodic_orbit(net, guess=(spikes, 22e-3))
    found = es.continuation(net, ("delay", ("n", "n")), (3e-3, 4e-3), of=orbit)
    plot.orbit_branches(found, "n", neuron=1, of=of, ax=ax)
    (branch,) = found.branches
    curves = [line for line in ax.lines if np.array_equal(line.get_xdata(), branch.values)]
    for line in curves:
        drawn = np.isfinite(line.get_ydata())
        alike = branch.stable == (line.get_linestyle() == "-")
        np.testing.assert_array_equal(drawn, alike | np.append(False, alike[:-1]))
    if of == "period":
        assert len(curves) == 2
        np.testing.assert_array_equal(np.fmax(*(line.get_ydata() for line in curves)), branch.periods * 1e3)
    marks = [line for line in ax.lines if line.get_label() == "branching"]
    assert [line.get_xdata()[0] for line in marks] == [found.events[0].value]
    with pytest.raises(ValueError, match=r"of must be one of \['period', 'phases', 'multipliers'\]"):
        plot.orbit_branches(found, of="times")
    with pytest.raises(ValueError, match=r"population must be one of \['n'\], those that spike; got None"):
        plot.orbit_branches(found, of="phases")
