"""Do the strategies keep what they promise, cover what they name, and shrink to what can be read?"""

import dataclasses
import unittest

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck, NoSuchExample

import eventsolve as es
from eventsolve.testing import (
    Mismatch,
    Problem,
    Unsupported,
    check_implementation,
    failing,
    network_of,
    strategies,
)
from eventsolve.testing.canonical import PROBLEMS

EPS = np.finfo(float).eps
VARIABLE = [entry.name for entry in dataclasses.fields(es.LIF) if entry.name != "reset"]
FEW = settings(max_examples=5)
SEARCH = settings(
    max_examples=50, database=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate]
)


def arrivals(solution, name, sample, neuron):
    """Every arrival at a neuron, one synapse at a time, but for those that its own spikes are at once."""
    found = []
    for p in solution.network.afferents(name):
        n_pre = p.weight.shape[1]
        for time, pre, of in zip(
            *(getattr(solution.spikes[p.pre], a) for a in ("times", "neurons", "samples")), strict=True
        ):
            delay = p.delay[neuron * n_pre + pre]
            if of == sample and not (p.pre == name and pre == neuron and delay == 0):
                found.append(time + delay)
    return found


def simultaneous(trains):
    """Whether two channels spike at one time in a sample."""
    return bool(((np.diff(trains.times) == 0) & (np.diff(trains.samples) == 0)).any())


@FEW
@given(strategies.problems())
def test_spikes_are_steep_and_events_apart(problem):
    solution = problem.solution
    assert not solution.warnings
    for name, population in problem.network.populations.items():
        if population.neuron is None or not population.neuron.spiking:
            continue
        trains = solution.spikes[name]
        threshold, t_ref, tau = (population.parameter(p) for p in ("v_threshold", "t_ref", "tau_mem"))
        for sample in range(problem.n_samples):
            for n in range(population.size):
                mine = trains.times[(trains.samples == sample) & (trains.neurons == n)]
                own = np.concatenate([mine, mine + t_ref[n]] if t_ref[n] else [mine])
                others = np.array([*arrivals(solution, name, sample, n), problem.t_end])
                assert (np.abs(own[:, None] - others) >= 2e-6 * (1 - 1e-9)).all()
                assert (np.diff(np.sort(own)) >= 2e-6 * (1 - 1e-9)).all()
                for time in mine:
                    h = 1e-8  # below the smallest gap; V'' h is far below the bound on V'
                    rise = threshold[n] - solution.voltage(name, [time - h])[sample, n, 0]
                    assert rise / h * tau[n] / threshold[n] >= 0.05 * (1 - 1e-2)


@FEW
@given(strategies.problems())
def test_peaks_stay_away_from_the_threshold(problem):
    """On a fine grid, a local maximum that is not the way up to a spike is well below the threshold."""
    times = np.linspace(0.0, problem.t_end, 4001)
    for name, population in problem.network.populations.items():
        if population.neuron is None or not population.neuron.spiking:
            continue
        voltage = problem.solution.voltage(name, times)
        threshold = population.parameter("v_threshold")[:, None]
        trains = problem.solution.spikes[name]
        peak = (voltage[..., 1:-1] >= voltage[..., :-2]) & (voltage[..., 1:-1] >= voltage[..., 2:])
        near = voltage[..., 1:-1] > threshold * (1 - 0.0199)
        for sample, n, k in np.argwhere(peak & near):
            mine = trains.times[(trains.samples == sample) & (trains.neurons == n)]
            assert ((mine > times[k]) & (mine <= times[k + 2])).any()


@FEW
@given(strategies.problems(rate=(1.0, 3.0), kinds=["TTFSCrossEntropy"], t_end=40e-3))
def test_populations_fire_as_often_as_wanted_and_every_output_does(problem):
    assert problem.t_end == 40e-3
    for name in problem.network.populations:
        if name != "in":
            mean = problem.solution.spikes[name].counts().mean(axis=0)
            assert ((mean >= 1.0) & (mean <= 3.0)).all()
    assert problem.solution.spikes["out"].counts().min() >= 1


@FEW
@given(
    strategies.problems(
        layers=(2, 3),
        size=(2, 4),
        recurrent=False,
        delays=False,
        ratios=[2.0],
        vary=["v_leak"],
        samples=(2, 2),
        kinds=["RelativeMSE", "TargetTimeMSE"],
    )
)
def test_dimensions_are_kept(problem):
    populations = problem.network.populations
    assert 3 <= len(populations) <= 4
    assert all(2 <= p.size <= 4 for p in populations.values())
    assert nx.is_directed_acyclic_graph(problem.network.graph)
    assert problem.n_samples == 2
    assert isinstance(problem.loss, es.losses.RelativeMSE | es.losses.TargetTimeMSE)
    assert not any(p.delay.any() for p in problem.network.projections.values())
    for name in set(populations) - {"in"}:
        neuron = populations[name].neuron
        np.testing.assert_allclose(neuron.tau_mem, np.multiply(2.0, neuron.tau_syn), rtol=4 * EPS)
        assert (neuron.v_threshold, neuron.v_reset, neuron.t_ref, neuron.v_initial) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", strategies.LOSSES)
def test_every_loss_is_drawn_on_what_it_reads(kind):
    problem = find(strategies.problems(kinds=[kind]), lambda p: True, settings=SEARCH)
    assert type(problem.loss).__name__ == kind
    es.value_and_grad(problem.solution, problem.loss)


@pytest.mark.parametrize(
    ("options", "has"),
    [
        ({"recurrent": True}, lambda p: not nx.is_directed_acyclic_graph(p.network.graph)),
        ({"delays": True}, lambda p: all(q.delay.all() for q in p.network.projections.values())),
    ],
)
def test_wanted_dimensions_are_there(options, has):
    find(strategies.problems(**options), has, settings=SEARCH)
    with pytest.raises(NoSuchExample, match=r"No examples found"):
        find(strategies.problems(**options), lambda p: not has(p), settings=settings(SEARCH, max_examples=5))


def test_spikes_of_channels_coincide_or_never_do():
    net = network_of({"in": 3, "more": 2})
    find(strategies.inputs(net), lambda given: simultaneous(given["in"]), settings=SEARCH)
    find(strategies.problems(size=(2, 3)), lambda p: simultaneous(p.inputs["in"]), settings=SEARCH)
    with pytest.raises(NoSuchExample):
        find(strategies.inputs(net, together=False), lambda given: simultaneous(given["in"]), settings=SEARCH)


def test_nothing_varies_that_is_not_named():
    drawn = strategies.networks(vary=[], size=(2, 3), layers=(2, 2))

    def varies(network):
        neurons = [p.neuron for p in network.populations.values() if p.neuron is not None]
        defaults = es.LIF(neurons[0].tau_mem, 5e-3)
        return any(getattr(n, name) != getattr(defaults, name) for n in neurons for name in VARIABLE)

    with pytest.raises(NoSuchExample):
        find(drawn, varies, settings=SEARCH)
    for name in ("tau_mem", "tau_syn"):
        find(
            strategies.networks(vary=[name], size=(2, 3)),
            lambda network, name=name: np.ndim(getattr(network.population("out").neuron, name)),
            settings=SEARCH,
        )


def test_a_problem_shrinks_to_one_of_everything():
    shrinking = settings(SEARCH, phases=[Phase.generate, Phase.shrink])
    problem = find(strategies.problems(), lambda p: True, settings=shrinking)
    assert [p.size for p in problem.network.populations.values()] == [1, 1]
    assert problem.n_samples == 1
    assert problem.solution.spikes["in"].times.tolist() == [0.0]
    assert problem.network.population("out").neuron.tau_syn == 5e-3
    assert len(repr(problem)) < 400


def test_a_property_that_fails_prints_what_fails():
    @settings(SEARCH, phases=[Phase.generate, Phase.shrink])
    @given(strategies.problems(layers=(1, 1), size=(1, 2)))
    def property_of_out(problem):
        assert not problem.network.population("out").parameter("v_leak").any()

    with pytest.raises(AssertionError) as caught:
        property_of_out()
    (note,) = (text for text in caught.value.__notes__ if "Problem(" in text)
    assert "v_leak=" in note
    assert "network_of(" in note
    assert len(note.splitlines()) < 20


# -- a problem is the Python that it prints ----------------------------------------------------------------------------


@FEW
@given(strategies.problems())
def test_a_problem_prints_as_the_python_that_makes_it(problem):
    again = eval(repr(problem), {"es": es, "Problem": Problem, "network_of": network_of})
    assert repr(again) == repr(problem)
    for name, trains in problem.solution.spikes.items():
        np.testing.assert_array_equal(again.solution.spikes[name].times, trains.times)
    assert (
        es.value_and_grad(again.solution, again.loss)[0]
        == es.value_and_grad(problem.solution, problem.loss)[0]
    )


class Mine:
    def evaluate(self, solution):
        raise NotImplementedError

    def __repr__(self):
        return "a loss\n of mine"


def test_sparse_weights_names_and_empty_batches_print_too():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, [5e-3, 6e-3], reset="subtract"))
    weight = sp.csr_array([[9.0, 0.0], [0.0, 8.0]])
    net.connect("in", "a", weight, delay=weight * 1e-3)
    net.connect("a", "a", [[0.0, 0.1], [0.2, 0.0]], delay=1e-3, synapse="delta", name="direct")
    problem = Problem(net, {"in": es.SpikeTrains.from_lists([], n_neurons=2)}, 10e-3)
    import numpy
    import scipy

    names = {"es": es, "Problem": Problem, "network_of": network_of, "numpy": numpy, "scipy": scipy}
    again = eval(repr(problem), names)
    assert repr(again) == repr(problem)
    for key, projection in net.projections.items():
        other = again.network.projections[key]
        assert (other.weights == projection.weights).all()
        assert (other.delay == projection.delay).all()
        assert other.synapse == projection.synapse


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (
            es.losses.SpikeTimeLoss(lambda spikes: ([0.0], {})),
            "loss=...,  # SpikeTimeLoss(function=<function",
        ),
        (es.losses.MeanVoltageCrossEntropy("a", [0], weighting=np.ones_like), "loss=...,  # MeanVoltage"),
        (Mine(), "loss=...,  # a loss of mine"),
        (es.losses.RelativeMSE("a", [0], gap=np.float64(5e-3)), "gap=0.005)"),
    ],
)
def test_what_no_python_makes_is_left_out_and_what_is_printed_is_python(loss, said):
    net = network_of({"in": 1, "a": (1, es.LIF(np.float64(20e-3), 5e-3))})
    problem = Problem(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, np.float64(0.05), loss)
    assert said in repr(problem)
    assert "t_end=0.05," in repr(problem)
    names = {"es": es, "network_of": network_of, "Problem": lambda **given: given}
    assert eval(repr(problem), names)["t_end"] == 0.05


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"network": "net"}, TypeError, "network must be a Network; got 'net'"),
        ({"inputs": [1.0]}, TypeError, "inputs must be a mapping"),
        ({"t_end": -1.0}, ValueError, "t_end must be finite and >= 0"),
        ({"loss": ...}, TypeError, "loss must be one of eventsolve.losses, or have .*; got Ellipsis"),
    ],
)
def test_a_problem_of_something_else_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        Problem(**{"network": network_of({}), "inputs": {}, "t_end": 1.0} | changes)


# -- what they are for -------------------------------------------------------------------------------------------------


@FEW
@given(strategies.problems())
def test_the_exact_solution_is_an_implementation_that_passes(problem):
    def mine(given):
        value, grads = es.value_and_grad(given.solution, given.loss)
        return {
            "spikes": given.solution.spikes,
            "loss": value,
            "weight": grads.weight,
            "tau_syn": grads.tau_syn,
        }

    assert set(check_implementation(mine, problem, spikes_atol=0.0, rtol=0.0).values()) == {0.0}


@FEW
@given(strategies.problems(kinds=["TargetTimeMSE"]))
def test_problems_that_are_not_supported_are_drawn_again(problem):
    def mine(given):
        if given.n_samples > 1:
            raise Unsupported("batches")
        return {"spikes": given.solution.spikes}

    check_implementation(mine, problem, spikes_atol=0.0, rtol=0.0)
    assert problem.n_samples == 1


def test_an_implementation_that_supports_nothing_fails_and_is_skipped_outside_of_hypothesis():
    def none(given):
        raise Unsupported("spikes")

    @settings(SEARCH)
    @given(st.integers())
    def drawn(number):
        check_implementation(none, None, spikes_atol=0.0, rtol=0.0)

    with pytest.raises(FailedHealthCheck, match="0 inputs were generated"):
        drawn()
    with pytest.raises(unittest.SkipTest, match="not supported: spikes"):
        check_implementation(none, None, spikes_atol=0.0, rtol=0.0)

    def broken(given):
        raise NotImplementedError("of a library")

    with pytest.raises(NotImplementedError, match="of a library"):
        check_implementation(broken, None, spikes_atol=0.0, rtol=0.0)


@FEW
@given(strategies.problems(), st.integers(0, 2**32 - 1))
def test_a_little_noise_changes_no_order(problem, seed):
    """Weights off by 1e-9 move spikes by about 1e-9 tau_mem / (slope 0.05 ...), far below gaps and peaks."""
    random = np.random.default_rng(seed)
    noisy = problem.network.with_weights(
        {
            key: p.weight * (1 + 1e-9 * random.uniform(-1, 1, p.weight.shape))
            for key, p in problem.network.projections.items()
        }
    )
    other = es.solve(noisy, problem.inputs, problem.t_end)
    for name, trains in problem.solution.spikes.items():
        assert (other.spikes[name].counts() == trains.counts()).all()


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (strategies.problems, {"layers": (2, 1)}, "layers"),
        (strategies.problems, {"layers": (0, 1)}, "layers"),
        (strategies.problems, {"size": (1.5, 2)}, "size"),
        (strategies.problems, {"samples": (0, 1)}, "samples"),
        (strategies.problems, {"ratios": []}, "ratios"),
        (strategies.problems, {"ratios": [0.0]}, "ratios"),
        (strategies.problems, {"vary": ["tau"]}, "vary .* 'tau'"),
        (strategies.problems, {"kinds": []}, "kinds"),
        (strategies.problems, {"kinds": ["Best"]}, "kinds .* 'Best'"),
        (strategies.problems, {"rate": (3, 1)}, "rate"),
        (strategies.problems, {"t_end": 0.0}, "t_end"),
        (strategies.problems, {"size": (1, 17)}, "t_end must leave room for 3 input spikes of 17 channels"),
        (strategies.problems, {"min_gap": -1.0}, "min_gap"),
        (strategies.problems, {"min_slope": float("nan")}, "min_slope"),
        (strategies.inputs, {"network": network_of({"in": 3}), "until": 1e-3}, "until"),
        (strategies.losses, {"network": network_of({"out": 1}), "n_samples": 1}, "fits 'out'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(**options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: strategies.problems(samples=1), r"samples must be \(fewest, most\), integers >= 1; got 1"),
        (lambda: strategies.networks(size="12"), r"size must be \(fewest, most\), integers >= 1; got '12'"),
        (lambda: strategies.problems(rate=2.0), r"rate must be \(fewest, most\) spikes >= 0; got 2.0"),
        (lambda: strategies.problems(rate=("a", 1.0)), "rate must be a number; it is 'a'"),
        (lambda: strategies.networks(ratios=3.7), "ratios must be some finite numbers > 0; got 3.7"),
        (
            lambda: strategies.networks(ratios=["4"]),
            "ratios must be some finite numbers > 0; entry .0. is '4'",
        ),
        (lambda: strategies.networks(vary=3), "vary must be among v_threshold, .*, tau_mem; got 3"),
        (
            lambda: strategies.networks(vary="v_leak"),
            "vary must be among v_threshold, .*, tau_mem; got 'v_leak'",
        ),
        (lambda: strategies.networks(vary=[["v_leak"]]), r"vary must be among .*; got \['v_leak'\]"),
        (lambda: strategies.problems(kinds=3), "kinds must be among TTFSCrossEntropy, .*; got 3"),
        (lambda: strategies.problems(recurrent=3), "recurrent must be True, False or None; got 3"),
        (lambda: strategies.networks(readout="no"), "readout must be True, False or None; got 'no'"),
        (lambda: strategies.problems(together=0), "together must be True, False or None; got 0"),
        (lambda: strategies.inputs(3), "network must be a Network; got 3"),
        (lambda: strategies.losses(None, n_samples=1), "network must be a Network; got None"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_what_a_run_knows_of_failing_problems_ends_with_it():
    """One test after the other in one process, as in a notebook: a right one had none of its problems looked at."""

    def outcome(factor):
        looked_at = []

        def mine(problem):
            looked_at.append(problem)
            _, grads = es.value_and_grad(problem.solution, problem.loss)
            return {"weight": {key: factor * values for key, values in grads.weight.items()}}

        @settings(SEARCH, max_examples=4, phases=[Phase.generate, Phase.shrink])
        @given(st.sampled_from([PROBLEMS["two layers"](), PROBLEMS["a recurrent layer"]()]))
        def test(problem):
            known = failing.of(mine)
            assert known is failing.of(mine)
            check_implementation(mine, problem, spikes_atol=0.0, rtol=1e-9)

        try:
            test()
        except Mismatch as error:
            return str(error)
        return len(looked_at)

    assert "a factor -1" in outcome(-1.0)
    halved = outcome(0.5)
    assert "a factor 1/2" in halved or "a factor 1/n_outputs" in halved
    assert "a factor -1" not in halved
    assert outcome(1.0) >= 2


def test_nothing_is_known_outside_of_a_test_of_hypothesis():
    assert failing.of(lambda problem: {}) is None
