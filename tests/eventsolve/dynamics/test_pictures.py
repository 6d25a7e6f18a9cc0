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
    with pytest.raises(ValueError, match=r"of must be one of \['times', 'intervals'\]"):
        plot.branches(followed, "out", of="rates", ax=ax)
    with pytest.raises(ValueError, match=r"population must be one of .*, those that spike"):
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
        assert reset.get_ydata()[0] == pytest.approx(reset.get_ydata()[1], rel=1e-12, abs=0.0)
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
    with pytest.raises(ValueError, match="name must be one of"):
        plot.sensitivity(found, "out", "delay", ("in", "out"), ax=ax)


NO_POPULATION = [["out"], 0, np.array([0, 1]), {"out": 1}, None, True, "x"]
NO_NEURON = [[0], np.array([0, 1]), {"n": 1}, 0.5, True, "x", -1, 99]


def test_what_is_no_population_and_no_neuron_is_told(followed, problem, ax):
    """Lists were unhashable, arrays ambiguous, and a neuron that does not exist gave an empty picture."""
    solution = followed.solution_at(8.0)
    sensitivity = es.sensitivity(solution, of="weight")
    net = es.Network()
    net.add_population("out", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3, v_initial=[0.0, 0.5]))
    net.connect("out", "out", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    orbit = es.periodic_orbit(net)
    orbits = es.continuation(net, ("tau_mem", "out", 0), (20e-3, 20.1e-3), of=orbit)
    of_population = [
        lambda name: plot.branches(followed, name, ax=ax),
        lambda name: plot.orbit_branches(orbits, name, of="phases", ax=ax),
        lambda name: plot.phase_portrait(solution, name, ax=ax),
        lambda name: plot.voltage(solution, name, ax=ax),
        lambda name: plot.current(solution, name, ax=ax),
        lambda name: plot.sensitivity(sensitivity, name, "weight", ("in", "out"), ax=ax),
        lambda name: es.phase_response(orbit, name),
        lambda name: es.explore(problem.network, problem.inputs, problem.t_end, watch={"out": name}),
        lambda name: followed.branches[0].counts(name, 1),
    ]
    of_neuron = [
        lambda k: plot.branches(followed, "out", neuron=k, ax=ax),
        lambda k: plot.orbit_branches(orbits, "out", neuron=k, of="phases", ax=ax),
        lambda k: plot.phase_portrait(solution, "out", neuron=k, ax=ax),
        lambda k: plot.voltage(solution, "out", neuron=k, ax=ax),
        lambda k: es.phase_response(orbit, "out", k),
        lambda k: orbits.orbit(k, 0),
        lambda k: orbits.orbit_at(20.05e-3, k),
    ]
    for call in of_population:
        for wrong in NO_POPULATION:
            with pytest.raises(ValueError, match=r"must be|must lie|is not a population"):
                call(wrong)
    for call in of_neuron:
        for wrong in NO_NEURON:
            with pytest.raises(ValueError, match="must be"):
                call(wrong)
    assert len(ax.lines) == 0
    plot.orbit_branches(orbits, "out", neuron=np.int64(1), of="phases", ax=ax)
    assert ax.lines
