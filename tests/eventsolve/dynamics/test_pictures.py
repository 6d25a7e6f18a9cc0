"""Do pictures of branches, portraits, maps and sensitivities hold what they are said to show?"""

import numpy as np
import pytest
from matplotlib.figure import Figure

import eventsolve as es
from eventsolve import plot


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def problem():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=10e-3, t_ref=1e-3))
    net.connect("in", "out", [[0.0, 2.0]])
    return es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0], [6e-3]]])}, 30e-3)


@pytest.fixture(scope="module")
def followed(problem):
    return es.continuation(problem.network, ("weight", ("in", "out"), (0, 0)), (3.0, 9.0), of=problem)


def test_branches_go_through_exact_times_and_mark_every_event(followed, ax):
    plot.branches(followed, "out", ax=ax)
    events = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    assert len(events) == len(followed.events) > 2
    marks = [(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in events]
    assert marks == [(e.value, e.time * 1e3) for e in followed.events]
    curves = [line for line in ax.lines if line not in events]
    assert len(curves) == sum(branch.neurons["out"].size for branch in followed.branches)
    checked = 0
    for curve in curves:
        for value, time in curve.get_xydata()[1:-1:3]:
            times = followed.solution_at(value).spikes["out"].times * 1e3
            checked += 1
            assert np.abs(times - time).min() < 1e-9
    assert checked > 5
    assert ax.get_xlabel() == "weight of in → out (0 to 0)"
    other = Figure().add_subplot()
    plot.branches(followed, "out", of="intervals", ax=other)
    assert other.get_ylabel() == "interval (ms)"
    with pytest.raises(ValueError, match="of must be 'times' or 'intervals'"):
        plot.branches(followed, "out", of="rates", ax=ax)
    with pytest.raises(ValueError, match="population must be one that spikes"):
        plot.branches(followed, "in", ax=ax)


def test_a_portrait_has_a_jump_for_every_arrival_and_reset(problem, ax):
    solution = es.solve(problem.network.with_weights({("in", "out"): [[7.0, 2.0]]}), problem.inputs, 30e-3)
    plot.phase_portrait(solution, "out", ax=ax)
    n_spikes = solution.spikes["out"].n_spikes
    assert n_spikes > 0
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert len(dotted) == n_spikes + 1  # the other arrival is at the start
    resets = [d for d in dotted if d.get_xdata()[1] == 0.0 and d.get_xdata()[0] > 0.99]
    assert len(resets) == n_spikes
    for reset in resets:
        assert reset.get_ydata()[0] == pytest.approx(reset.get_ydata()[1], rel=1e-12)
    (arrival,) = [d for d in dotted if d not in resets]
    assert np.diff(arrival.get_ydata())[0] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="neuron must be"):
        plot.phase_portrait(solution, "out", neuron=1, ax=ax)


def test_a_return_map_has_each_number_over_the_one_before(ax):
    plot.return_map([1.0, 3.0, 2.0, 2.5], ax=ax)
    points = [line for line in ax.lines if line.get_marker() == "."]
    np.testing.assert_array_equal(points[0].get_xydata(), [[1.0, 3.0], [3.0, 2.0], [2.0, 2.5]])
    with pytest.raises(ValueError, match="two or more finite numbers"):
        plot.return_map([1.0], ax=ax)


def test_a_sensitivity_is_drawn_spike_by_spike(problem, ax):
    solution = es.solve(problem.network.with_weights({("in", "out"): [[9.0, 2.0]]}), problem.inputs, 30e-3)
    found = es.sensitivity(solution)
    plot.sensitivity(found, "out", "weight", ("in", "out"), ax=ax)
    shown = np.asarray(ax.images[0].get_array())
    block = found.blocks["out", "weight", ("in", "out")]
    np.testing.assert_array_equal(shown if shown.shape == block.shape else shown.T, block)
    with pytest.raises(ValueError, match="must be of a block"):
        plot.sensitivity(found, "out", "delay", ("in", "out"), ax=ax)
