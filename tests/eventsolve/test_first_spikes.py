"""solve_first_spikes: what a loss on first spikes sees of the whole solution, bit for bit, and nothing else."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import random_case

import eventsolve as es

SEEDS = st.integers(0, 2**32 - 1)
PARAMETERS = (
    "weight",
    "delay",
    "tau_mem",
    "tau_syn",
    "v_threshold",
    "v_reset",
    "v_leak",
    "t_ref",
    "v_initial",
)


def assert_is_the_beginning(short, whole, population):
    """Every spike of the whole up to each sample's last first spike, and the same value and gradient."""
    until = np.minimum(whole.spikes[population].first().max(axis=1, initial=whole.t_start), whole.t_end)
    np.testing.assert_array_equal(short.stopped.until, until)
    for name, trains in whole.spikes.items():
        if whole.network.population(name).neuron is not None:
            keep = trains.times <= until[trains.samples]
            for column in ("times", "neurons", "samples"):
                np.testing.assert_array_equal(
                    getattr(short.spikes[name], column), getattr(trains, column)[keep]
                )
    assert short.warnings == tuple(w for w in whole.warnings if w.time <= until[w.sample])
    loss = es.losses.TargetTimeMSE(
        population, np.full((*until.shape, size(whole, population)), 0.01), silent="t_end"
    )
    value, grads = es.value_and_grad(short, loss)
    expected, of_whole = es.value_and_grad(whole, loss)
    assert value == expected
    for parameter in PARAMETERS:
        for key, gradient in getattr(of_whole, parameter).items():
            np.testing.assert_array_equal(getattr(grads, parameter)[key], gradient)
    np.testing.assert_array_equal(grads.spike_times["in"], of_whole.spike_times["in"])


def size(solution, population):
    return solution.network.population(population).size


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(["hidden", "out"]), st.sampled_from([1, 3, 150]))
def test_it_is_the_beginning_of_the_whole_solution(seed, population, n_samples):
    case = random_case(seed, n_samples=n_samples)
    short = es.solve_first_spikes(case.net, case.inputs, case.t_end, population)
    assert_is_the_beginning(short, case.solve(), population)


@settings(max_examples=25)
@given(SEEDS, st.sampled_from("ab"))
def test_and_so_it_is_with_cycles_and_delta_synapses(seed, population):
    loop = Loop(seed)
    whole = solved(loop)
    assume(whole is not None)
    short = es.solve_first_spikes(loop.network(), loop.trains(), loop.t_end, population)
    assert_is_the_beginning(short, whole, population)


def test_and_with_cycles_in_a_large_batch_of_which_some_need_longer():
    loop = Loop(4)
    rng = np.random.default_rng(5)
    chosen = rng.integers(0, 2, 130)
    inputs = {"in": loop.trains()["in"].select(chosen)}
    whole = es.solve(loop.network(), inputs, loop.t_end)
    short = es.solve_first_spikes(loop.network(), inputs, loop.t_end, "b")
    assert_is_the_beginning(short, whole, "b")


def test_the_batch_is_the_loop_whatever_the_pilots_say():
    case = random_case(11, n_samples=100)
    together = es.solve_first_spikes(case.net, case.inputs, case.t_end, "out")
    for k in (0, 50, 99):
        alone = es.solve_first_spikes(case.net, {"in": case.inputs["in"].select([k])}, case.t_end, "out")
        assert alone.stopped.until[0] == together.stopped.until[k]
        for name in ("hidden", "out"):
            np.testing.assert_array_equal(alone.spikes[name].times, together.spikes[name].select([k]).times)


def runaway():
    """An output that fires once, early, and a loop of one neuron that, once started, never stops."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[12.0, 0.0]])
    net.connect("in", "loop", [[0.0, 12.0]])
    net.connect("loop", "loop", [[12.0]], delay=1e-3)
    return net


def test_a_loop_that_runs_away_after_the_first_spikes_is_out_of_sight():
    net = runaway()
    late = {"in": es.SpikeTrains.from_lists([[[0.0], [20e-3]]])}
    with pytest.raises(es.SpikeBudgetError):
        es.solve(net, late, 1.0, max_spikes=50)
    short = es.solve_first_spikes(net, late, 1.0, "out", max_spikes=50)
    assert short.spikes["out"].n_spikes == 1
    assert short.spikes["loop"].n_spikes == 0


def test_one_that_runs_away_before_them_is_an_error_that_names_it():
    net = runaway()
    early = {"in": es.SpikeTrains.from_lists([[[0.0], [20e-3]], [[0.9], [0.0]]])}
    with pytest.raises(es.SpikeBudgetError, match="neuron 0 of 'loop' in sample 1") as caught:
        es.solve_first_spikes(net, early, 1.0, "out", max_spikes=50)
    assert caught.value.solution.spikes["loop"].n_spikes > 0


def test_it_goes_on_from_a_stored_state():
    case = random_case(3, n_samples=2)
    half = es.solve(case.net, {"in": up_to(case.inputs["in"], 20e-3)}, 20e-3)
    rest = {"in": up_to(case.inputs["in"], np.inf, after=20e-3)}
    whole = es.solve(case.net, rest, case.t_end, initial=half.final_state)
    short = es.solve_first_spikes(case.net, rest, case.t_end, "out", initial=half.final_state)
    assert_is_the_beginning(short, whole, "out")


def up_to(trains, last, after=-1.0):
    lists = [[[t for t in train if after < t <= last] for train in sample] for sample in trains.to_lists()]
    return es.SpikeTrains.from_lists(lists)


@pytest.mark.parametrize("inputs", [[], [[[]] * 3] * 2], ids=["empty batch", "no spikes"])
def test_nothing_to_see_is_nothing_to_solve(inputs):
    case = random_case(0, leak=False)
    trains = {"in": es.SpikeTrains.from_lists(inputs, n_neurons=3)}
    short = es.solve_first_spikes(case.net, trains, case.t_end, "out")
    np.testing.assert_array_equal(short.stopped.until, np.full(len(inputs), case.t_end))


def test_what_needs_the_whole_solution_says_so():
    case = random_case(8)
    short = es.solve_first_spikes(case.net, case.inputs, case.t_end, "out")
    assert short.stopped.until.max() < case.t_end
    early = float(short.stopped.until.min())
    np.testing.assert_array_equal(short.voltage("hidden", [early]), case.solve().voltage("hidden", [early]))
    for ask, what in (
        (lambda: short.voltage("hidden", [case.t_end]), "a voltage or current after that"),
        (lambda: short.final_state, "final_state"),
        (lambda: es.margins(short), "margins"),
        (lambda: es.trust_radius(short, of="weight"), "trust radii"),
        (
            lambda: es.value_and_grad(short, es.losses.TargetTimeMSE("hidden", np.ones((2, 4)))),
            "a loss on 'hidden'",
        ),
    ):
        with pytest.raises(ValueError, match=f"ends with the first spikes of 'out'.*for {what} use"):
            ask()


@pytest.mark.parametrize(
    ("population", "message"),
    [("in", "'in' is an input"), ("read", "'read' is an LI"), ("none", "'none' is not a population")],
)
def test_only_spiking_populations_have_first_spikes(population, message):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("read", 1, es.LI(20e-3, 5e-3))
    with pytest.raises(ValueError, match=message):
        es.solve_first_spikes(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 1.0, population)
