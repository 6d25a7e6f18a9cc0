"""Does a continuation find every value where the order of events changes, and no others?"""

import pickle
import sys
from contextlib import contextmanager

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve import multiprecision, plot
from eventsolve.dynamics import ContinuationError, continuation

EPS = np.finfo(float).eps
LIF = es.LIF(tau_mem=20e-3, tau_syn=10e-3)


def one_neuron(weights, times, t_end=50e-3, neuron=LIF, synapse="exponential", delay=0.0):
    """Inputs of one spike each to one neuron."""
    net = es.Network()
    net.add_input("in", len(times))
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [weights], synapse=synapse, delay=delay)
    return es.Problem(net, {"in": es.SpikeTrains.from_lists([[[t] for t in times]])}, t_end)


def followed(problem, parameter, over, **options):
    return continuation(problem.network, parameter, over, of=problem, **options)


def weight(pre=0, post=0):
    return "weight", ("in", "out"), (post, pre)


def response(s, tau_mem="0.02", tau_syn="0.01"):
    """K(s) of MODEL in mpmath: the voltage s seconds after an arrival of weight 1."""
    a, b = (mpmath.mpf(float(tau)) for tau in (tau_mem, tau_syn))
    return b / (b - a) * (mpmath.exp(-mpmath.mpf(s) / b) - mpmath.exp(-mpmath.mpf(s) / a))


def first_rise(weight):
    """When the voltage of one arrival first reaches 1, up to its peak at 20 ms ln 2."""
    return mpmath.findroot(lambda s: response(s) - 1 / mpmath.mpf(weight), (1e-3, 13e-3), solver="anderson")


CLOSED = {
    # the largest K is 1/4 with tau_mem = 2 tau_syn
    "graze": (one_neuron([0.0], [0.0]), weight(), (0.0, 5.0), lambda: mpmath.mpf(4), "graze", "gains"),
    # V reaches 1 at the time of the second, which keeps it from going on
    "cut": (
        one_neuron([0.0, -30.0], [0.0, 5e-3]),
        weight(),
        (0.0, 9.0),
        lambda: 1 / response(5e-3),
        "cut",
        "gains",
    ),
    # the spike comes before the second one for larger weights
    "swap": (
        one_neuron([4.5, 0.5], [0.0, 5e-3]),
        weight(),
        (4.5, 9.0),
        lambda: 1 / response(5e-3),
        "swap",
        "keeps",
    ),
    "release": (
        one_neuron([4.5, 0.5], [0.0, 9e-3], neuron=es.LIF(20e-3, 10e-3, t_ref=4e-3)),
        weight(),
        (5.5, 9.0),
        lambda: 1 / response(mpmath.mpf(9e-3) - mpmath.mpf(4e-3)),
        "release",
        "keeps",
    ),
    "lift": (
        one_neuron([0.5, 0.3], [0.0, 20e-3], synapse="delta"),
        weight(1),
        (0.2, 1.0),
        lambda: 1 - mpmath.mpf(0.5) * mpmath.exp(-mpmath.mpf(20e-3) / mpmath.mpf(20e-3)),
        "lift",
        "gains",
    ),
    "end": (
        one_neuron([0.0], [0.0], t_end=5e-3),
        weight(),
        (0.0, 9.0),
        lambda: 1 / response(5e-3),
        "end",
        "gains",
    ),
    # v_leak + (w - v_leak) exp(-t/tau) = 1 where the arrival comes
    "v_leak": (
        one_neuron([0.0], [1e-3], t_end=30e-3),
        ("v_leak", "out", 0),
        (0.0, 1.4),
        lambda: 1 / (1 - mpmath.exp(-mpmath.mpf(30e-3) / mpmath.mpf(20e-3))),
        "end",
        "gains",
    ),
    # a spike at K(s) = 1/w comes with the second input, wherever the first one is
    "spike_times": (
        one_neuron([6.0, 0.4], [0.0, 20e-3]),
        ("spike_times", "in", 0),
        (0.0, 18e-3),
        lambda: mpmath.mpf(20e-3) - first_rise(6),
        "swap",
        "keeps",
    ),
    "delay": (
        one_neuron([6.0, 0.4], [0.0, 20e-3], delay=[[0.0, 1e-3]]),
        ("delay", ("in", "out"), (0, 0)),
        (0.0, 18e-3),
        lambda: mpmath.mpf(20e-3) + mpmath.mpf(1e-3) - first_rise(6),
        "swap",
        "keeps",
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_an_event_is_where_its_closed_form_says(name):
    problem, parameter, over, truth, kind, change = CLOSED[name]
    found = followed(problem, parameter, over)
    with mpmath.workdps(40):
        events = [e for e in found.events if (e.kind, e.change) == (kind, change)]
        wrong = [abs(e.value - truth()) for e in events]
        event = events[int(np.argmin(wrong))]
        assert float(min(wrong)) <= bound(found, event), event
    assert event.low <= event.value <= event.high


def bound(found, event):
    """How far rounding may move an event: that of its distance over the derivative, and some steps of the value.

    V is a sum of terms with a size of at most ``scale``, each with some roundings; what arrives late by the error of
    another spike changes V by at most its slope, which is at most scale / tau, times that.
    """
    solution = found.solution_at(event.high if event.change == "loses" else event.low)
    errors = es.gradient_condition(solution).time_error
    late = max(
        (float(errors[name][solution.spikes[name].times <= event.time].max(initial=0.0)) for name in errors),
        default=0.0,
    )
    population = solution.network.population(event.population)
    scale = sum(np.abs(p.weights).sum() for p in solution.network.projections.values())
    scale += sum(float(np.abs(population.parameter(n)).max()) for n in ("v_threshold", "v_reset", "v_leak"))
    tau = min(float(population.parameter(n).min()) for n in ("tau_mem", "tau_syn"))
    rounding = 16 * EPS * scale + scale / tau * late
    if event.kind not in ("graze", "cut", "lift"):
        rounding = max(2 * late + 4 * EPS * event.time, rounding)
    return rounding / abs(event.slope) + 4 * max(EPS * abs(event.value), event.high - event.low)


def pair(seed):
    """Two neurons that hear two inputs and each other, late, over synapses of both kinds."""
    rng = np.random.default_rng([seed, 20])
    net = es.Network()
    net.add_input("in", 2)
    tau_syn = rng.uniform(4e-3, 9e-3, 2)
    neuron = es.LIF(
        tau_syn * rng.choice([0.7, 1.0, 2.0, 3.0]),
        tau_syn,
        v_reset=rng.uniform(-0.3, 0.3, 2),
        v_leak=rng.uniform(-0.3, 0.6, 2),
        t_ref=float(rng.choice([0.0, 3e-3])),
        reset=str(rng.choice(["value", "subtract"])),
    )
    net.add_population("out", 2, neuron)
    net.connect("in", "out", rng.normal(2.0, 2.0, (2, 2)), delay=rng.uniform(0, 3e-3, (2, 2)))
    net.connect("out", "out", rng.normal(0.0, 2.0, (2, 2)), delay=rng.uniform(1e-3, 5e-3, (2, 2)))
    if rng.random() < 0.5:
        net.connect("in", "out", rng.normal(0.3, 0.4, (2, 2)), delay=2e-3, synapse="delta", name="delta")
    trains = [[np.sort(rng.uniform(0, 25e-3, rng.integers(1, 4))) for _ in range(2)]]
    parameter, over = [
        (("weight", ("in", "out"), (0, 1)), (-2.0, 5.0)),
        (("weight", ("out", "out"), (1, 0)), (-3.0, 3.0)),
        (("delay", ("out", "out"), (0, 1)), (0.5e-3, 10e-3)),
        (("tau_mem", "out", 0), (3e-3, 25e-3)),
        (("tau_syn", "out"), (3e-3, 10e-3)),
        (("v_leak", "out", 1), (-0.5, 0.9)),
        (("spike_times", "in", 0), (0.0, 25e-3)),
        ({"weight": {("in", "out"): rng.normal(0, 1, (2, 2))}, "v_threshold": {"out": 0.05}}, (-1.0, 1.0)),
    ][rng.integers(8)]
    return es.Problem(net, {"in": es.SpikeTrains.from_lists(trains)}, 40e-3, max_spikes=40), parameter, over


def followed_far(problem, parameter, over):
    """As far as 300 solutions go, or until a neuron would spike twice at one time, or the network runs away."""
    try:
        return followed(problem, parameter, over, max_solves=300)
    except ContinuationError as error:
        return error.so_far
    except (es.RepeatedSpikeError, es.SpikeBudgetError):
        reject()  # at the first value already


def order_of(exact):
    """Every neuron's spikes and which of them each arrival comes behind, from the multiprecision solver alone."""
    given_problem, found = exact.problem, []
    for name, neurons in given_problem.neurons.items():
        for k, neuron in enumerate(neurons):
            own = [t for t, n in exact.spikes[name][0] if n == k]
            found.append((name, k, len(own)))
            for key, synapses in given_problem.synapses.items():
                for s, synapse in enumerate(synapses):
                    if (key[1], synapse.target) != (name, k) or synapse.weight == 0:
                        continue
                    sent = [t for t, n in exact.spikes[key[0]][0] if n == synapse.source]
                    for number, t in enumerate(sent):
                        arrival = t + synapse.delay
                        if arrival <= given_problem.t_end:
                            slot = sum(x < arrival for x in own) + sum(
                                x + neuron.t_ref < arrival for x in own
                            )
                            found.append((key, s, number, slot))
    return sorted(found, key=repr)


def exact_order(found, value):
    network, inputs = found._task.path.at(value)
    return order_of(multiprecision.solve(network, inputs, found._task.t_end, digits=40))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example(0)
def test_multiprecision_has_another_order_on_either_side_of_every_event(seed):
    problem, parameter, over = pair(seed)
    found = followed_far(problem, parameter, over)
    told_apart = 0
    for event in found.events:
        wide = bound(found, event)
        # of a trigger: a crossing just behind the arrival that would trigger has one order on both sides
        if event.kind != "trigger" and wide < 1e-6 * (over[1] - over[0]):
            sides = [exact_order(found, event.value + sign * wide) for sign in (-1, 1)]
            assert sides[0] != sides[1], (event, wide)
            told_apart += 1
        if told_apart == 3:
            break
    assert told_apart or not found.events


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example(1)
def test_a_dense_sweep_has_the_spikes_of_the_branches(seed):
    problem, parameter, over = pair(seed)
    found = followed_far(problem, parameter, over)
    for value in np.linspace(over[0], found.branches[-1].values[-1], 100):
        solution, branch = found.solution_at(value), found.branch_at(value)
        for name, neurons in branch.neurons.items():
            want = solution.spikes[name].counts()[0]
            np.testing.assert_array_equal(branch.counts(name, want.size), want, f"{value!r} {neurons}")


def test_derivatives_are_those_of_spike_times_between_events():
    problem, parameter, over = pair(3)
    found = followed(problem, parameter, over)
    assert len(found.branches) == len({e.low for e in found.events}) + 1 > 5
    checked = 0
    for branch in found.branches[:6]:
        assert (np.diff(branch.values) > 0).all()
        middle = 0.5 * (branch.values[0] + branch.values[-1])
        step = 1e-4 * (branch.values[-1] - branch.values[0])
        here = followed(problem, parameter, (middle, middle + step)).branches[0]
        low, high = (found.solution_at(middle + s).spikes["out"] for s in (-step, step))
        order = np.lexsort((low.times, low.neurons)), np.lexsort((high.times, high.neurons))
        want = (high.times[order[1]] - low.times[order[0]]) / (2 * step)
        np.testing.assert_array_equal(here.neurons["out"], branch.neurons["out"])
        np.testing.assert_allclose(
            here.derivatives["out"][0], want, rtol=1e-3, atol=1e-3 * np.abs(want).max(initial=0)
        )
        checked += want.size
    assert checked > 10


def test_neurons_that_are_alike_have_their_events_together():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, LIF)
    net.connect("in", "out", [[0.0], [0.0]])
    problem = es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 50e-3)
    found = followed(problem, ("weight", ("in", "out")), (0.0, 5.0))
    assert [(e.kind, e.change, e.neuron) for e in found.events] == [
        ("graze", "gains", 0),
        ("graze", "gains", 1),
    ]
    assert found.events[0].gained == (("out", 0, 1), ("out", 1, 1))
    assert len(found.branches) == 2
    assert "2 branches, 2 events" in repr(found)
    assert "gains a spike at 0.0138629 s, where V grazes" in repr(found)


def test_records_travel():
    problem, parameter, over, *_ = CLOSED["graze"]
    found = followed(problem, parameter, over)
    again = pickle.loads(pickle.dumps(found))
    assert repr(again) == repr(found)
    assert again.to_dict() == found.to_dict()
    assert again.to_dict()["events"][0]["kind"] == "graze"
    with pytest.raises(ValueError, match="read-only"):
        found.branches[0].values[0] = 1.0
    assert found.branch_at(found.events[0].value - 1.0) is found.branches[0]
    with pytest.raises(ValueError, match=r"value must lie in 0\.0\.\.5\.0"):
        found.branch_at(6.0)


def test_a_parameter_that_leaves_its_bounds_is_followed_to_them():
    problem = one_neuron([5.0, 1.0], [0.0, 4e-3], delay=2e-3)
    with pytest.raises(ContinuationError, match=r"delay of .* must be finite and >= 0.*followed to") as error:
        followed(problem, {"delay": {("in", "out"): -1.0}}, (0.0, 1e-2))
    so_far = error.value.so_far
    assert not so_far.complete
    assert abs(error.value.value - 2e-3) < 1e-15
    assert so_far.branches[-1].values[-1] == error.value.value
    assert isinstance(error.value.__cause__, ValueError)
    with pytest.raises(ValueError, match="tau_mem must be finite and > 0"):
        followed(problem, ("tau_mem", "out", 0), (-1e-3, 1e-2))


def test_a_network_that_runs_away_is_followed_to_there():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, LIF)
    net.connect("in", "out", [[6.0]])
    net.connect("out", "out", [[0.0]], delay=1e-4)
    problem = es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 30e-3, max_spikes=12)
    with pytest.raises(ContinuationError, match="makes more than max_spikes = 12") as error:
        followed(problem, ("weight", ("out", "out")), (0.0, 9.0))
    assert 0.0 < error.value.value < 9.0
    assert error.value.so_far.events
    assert isinstance(error.value.__cause__, es.SpikeBudgetError)
    with pytest.raises(ContinuationError, match="max_solves = 3 networks were solved"):
        followed(problem, ("weight", ("out", "out")), (0.0, 1.0), max_solves=3)


@pytest.mark.parametrize(
    ("parameter", "over", "words"),
    [
        (weight(), (1.0, 0.0), "over must be two finite numbers, the smaller first"),
        (("weight", ("in", "out"), 3), (0.0, 1.0), r"place of a weight must be \(post, pre\)"),
        (("weight", ("in", "nowhere")), (0.0, 1.0), "parameter 'weight' names .'in', 'nowhere'.; there are"),
        (("tau_mem", ["out"]), (0.1, 1.0), r"parameter 'tau_mem' names \['out'\]; there are \['out'\]"),
        ((["tau_mem"], "out"), (0.1, 1.0), "parameter must be .name, key. or"),
        ({"tau_mem": {"in": 1.0}}, (0.1, 1.0), r"parameter\['tau_mem'\] names 'in'"),
        (("tau", "out"), (0.0, 1.0), "parameter must be .name, key. or"),
        (("tau_mem", "out", 1), (0.1, 1.0), "place must be an integer in 0..0"),
        ({"weight": {("in", "out"): 0.0}}, (0.0, 1.0), "parameter must move at least one number"),
        ({"spike_times": {"out": 1.0}}, (0.0, 1.0), "parameter must move spikes of inputs only"),
    ],
)
def test_what_makes_no_sense_is_refused(parameter, over, words):
    with pytest.raises(ValueError, match=words):
        followed(one_neuron([5.0], [0.0]), parameter, over)
    two = es.SpikeTrains.from_lists([[[0.0]], [[1e-3]]])
    problem = one_neuron([5.0], [0.0])
    with pytest.raises(ValueError, match="of must have one sample; got 2"):
        followed(es.Problem(problem.network, {"in": two}, 0.05), weight(), (0.0, 1.0))


def test_what_is_followed_has_the_inputs_of_the_network():
    problem = one_neuron([5.0], [0.0])
    other = one_neuron([5.0, 1.0], [0.0, 1.0])
    with pytest.raises(
        ValueError, match=r"network must have the inputs of what is followed.*'in': 1.*got .*'in': 2"
    ):
        continuation(other.network, weight(), (5.0, 6.0), of=problem)
    with pytest.raises(TypeError, match=r"parameter must be \(name, key\)"):
        followed(problem, 3, (0.0, 1.0))
    with pytest.raises(TypeError, match="initial must be a State; got 3"):
        followed(problem, weight(), (0.0, 1.0), initial=3)


def test_a_range_without_end_is_followed_as_far_as_asked(monkeypatch):
    """It took gigabytes without a word. Kept is what a shorter range has, within the bytes that are allowed."""
    told = []

    @contextmanager
    def heard(bar):
        told.append(bar)
        yield lambda by, words=None: told.append((by, words))

    monkeypatch.setattr(sys.modules[continuation.__module__], "advancing", heard)
    monkeypatch.setattr("eventsolve.dynamics.walks.AHEAD", 2**14)  # so that what lies ahead is solved anew
    problem = one_neuron([9.0], [0.0], t_end=60e-3)
    options = {"max_spikes": 300, "progress": True}
    with pytest.raises(
        ContinuationError, match="more than max_bytes = 1500: follow a smaller range"
    ) as error:
        followed(problem, weight(), (9.0, 1e9), max_bytes=1500, **options)
    far = error.value.so_far
    assert 5 < len(far.events) == len(far.branches) - 1
    assert told[0] == ("following", 1.0)
    assert len(told) > far.n_solved
    assert f", {far.n_solved} solved" in told[-1][1]
    assert sum(by for by, _ in told[1:]) < 1e-6  # of the way
    near = followed(problem, weight(), (9.0, error.value.value))
    assert [event.value for event in near.events] == pytest.approx(
        [e.value for e in far.events], rel=1e-13, abs=0.0
    )
    kept = sum(16 * b.neurons["out"].size * b.values.size for b in far.branches)
    kept += sum(8 * (e.before["out"].size + e.after["out"].size) for e in far.events)
    assert 1500 < kept < 1800
    with pytest.raises(ContinuationError, match="makes more than max_spikes = 8 spikes") as error:
        followed(problem, weight(), (9.0, 1e9), max_spikes=8)
    assert max(b.neurons["out"].size for b in error.value.so_far.branches) == 8


def test_what_was_ended_before_its_first_value_is_a_record():
    problem = one_neuron([9.0], [0.0])
    with pytest.raises(ContinuationError, match="max_solves = 0") as error:
        followed(problem, weight(), (0.0, 9.0), max_solves=0)
    assert "not followed yet" in repr(error.value.so_far)
    assert error.value.so_far.to_dict()["branches"] == []
    with pytest.raises(ValueError, match="value must be one that was followed to, and none was"):
        error.value.so_far.branch_at(1.0)
    with pytest.raises(ValueError, match="continuation must have a branch"):
        plot.branches(error.value.so_far, "out")


def test_an_arrival_that_passes_the_end_is_no_event():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 10e-3, t_ref=2e-3))
    net.connect("in", "out", [[6.0]])
    net.connect("out", "out", [[0.5]], delay=2e-3)
    problem = es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 7e-3)
    found = followed(problem, weight(), (5.0, 7.0))
    times = [found.solution_at(w).spikes["out"].times[0] + 2e-3 for w in (5.0, 7.0)]
    assert times[1] < problem.t_end < times[0]  # of the arrival, and of the end of the refractory period
    assert len(found.branches) == 1
    assert not found.events


def test_a_delay_that_begins_at_exact_synchrony_is_not_halved_to_nothing():
    """Delays that no time of the solution can tell from 0 are not looked at: else there are 196 solutions, not 47."""
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]])
    problem = es.Problem(net, {}, 80e-3)
    found = continuation(net, ("delay", ("n", "n"), (0, 1)), (0.0, 1e-3), of=problem)
    assert found.n_solved <= 60
    assert all(event.value <= np.spacing(80e-3) for event in found.events)
    assert found.branches[-1].values[-1] == 1e-3


def test_neurons_without_delay_are_followed_in_as_few_steps_as_with_one():
    """What an arrival cuts off that comes with its spike for good is 0, and stays so but for rounding.

    That was taken for a distance about to vanish, in more than 10 000 solutions. Each event takes about ten.
    """
    n, leak = 6, np.linspace(1.4, 1.6, 6)
    net = es.Network()
    net.add_population(
        "n", n, es.LIF(20e-3, 5e-3, v_leak=leak, t_ref=2e-3, v_initial=np.linspace(0.0, 0.9, n))
    )
    net.connect("n", "n", np.full((n, n), -0.2))
    found = followed(es.Problem(net, {}, 60e-3), ("weight", ("n", "n")), (-0.3, -0.2))
    assert found.complete
    assert found.n_solved <= 20 * (1 + len(found.events))
    for branch in found.branches:
        middle = branch.values.mean()
        times = es.solve(net.with_weights({("n", "n"): np.full((n, n), middle)}), {}, 60e-3).spikes["n"]
        assert times.n_spikes == branch.neurons["n"].size
