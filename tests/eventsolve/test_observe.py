"""observe: V, I and gradients along given spikes; laws, a twin in mpmath, closed forms, and every door."""

import copy
import pickle
from functools import partial

import numpy as np
import plain_observed
import pytest
from comparing import Comparison
from directions import moved_problem, products, random_direction
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import EPS, random_case
from scipy.special import lambertw

import eventsolve as es
from eventsolve import multiprecision

SEEDS = st.integers(0, 2**32 - 1)
SLOPES = ("measured", "threshold", "crossing")
KINDS = ("weight", "delay", "tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial")


def any_solution(seed, kind):
    """A solution and its inputs: layers with delays and refractory periods, or a loop with everything in it."""
    if kind == "layers":
        case = random_case(seed)
        return case.solve(), case.inputs
    loop = Loop(seed)
    return solved(loop), loop.trains()


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(["layers", "loop"]))
def test_its_own_spikes_are_where_a_network_spikes_and_in_the_same_order(seed, kind):
    solution, inputs = any_solution(seed, kind)
    assume(solution is not None)
    observed = es.observe(solution.network, inputs, solution.spikes, solution.t_end)
    for name, residual in observed.residual.voltage.items():
        assert observed.residual.unreported[name].n_spikes == 0
        population = solution.network.population(name)
        size = (
            np.abs(population.parameter("v_threshold")).max() + np.abs(population.parameter("v_leak")).max()
        )
        for p in solution.network.afferents(name):
            counts = solution.spikes[p.pre].counts().max(axis=0, initial=0)
            size += float((np.abs(p.weight) @ counts).max(initial=0.0))
        # each term of V has a few roundings for every event that it was carried through
        n_events = sum(trains.n_spikes for trains in solution.spikes.values())
        assert np.abs(residual).max(initial=0.0) <= 8 * EPS * n_events * size
    for ours, theirs in zip(observed._chunks, solution._chunks, strict=True):
        for name, spikes in theirs.spikes.items():
            for column, other in zip(spikes, ours.spikes[name], strict=True):
                np.testing.assert_array_equal(column, other)


@settings(max_examples=10)
@given(SEEDS, st.sampled_from(["layers", "loop"]))
def test_on_its_own_spikes_the_slope_of_the_threshold_gives_the_gradient_bit_for_bit(seed, kind):
    solution, inputs = any_solution(seed, kind)
    assume(solution is not None)
    observed = es.observe(solution.network, inputs, solution.spikes, solution.t_end, slope="threshold")
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=t.n_spikes) for name, t in solution.spikes.items()}
    want, got = es.vjp(solution, cotangents), es.vjp(observed, cotangents)
    for kind_ in (*KINDS, "i_initial", "spike_times"):
        for key, values in getattr(want, kind_).items():
            np.testing.assert_array_equal(getattr(got, kind_)[key], values)


def jittered(trains, rng, size, t_end, least=0.0):
    """The same spikes, each up to ``size`` seconds off, but for those that would come out of turn."""
    times = trains.times + rng.uniform(-size, size, trains.n_spikes)
    order = np.lexsort((trains.neurons, times, trains.samples))
    times, neurons, samples = times[order], trains.neurons[order], trains.samples[order]
    keep = (times > 0) & (times <= t_end)
    last = {}
    for k in range(times.size):
        who = samples[k], neurons[k]
        keep[k] &= times[k] > last.get(who, -1.0) + least
        if keep[k]:
            last[who] = times[k]
    return es.SpikeTrains(times[keep], neurons[keep], samples[keep], trains.n_samples, trains.n_neurons)


def measured_case(seed, kind, slope):
    """An observation of jittered spikes, all or in part, whose slopes are positive; None where they are not."""
    rng = np.random.default_rng([seed, 3])
    if kind == "layers":
        case = random_case(seed, n_samples=1)
        solution, inputs, names = case.solve(), case.inputs, ("hidden", "out")
    else:
        loop = Loop(seed, n=3)
        solution, inputs, names = solved(loop), loop.trains(), ("a",)
    if solution is None or solution.spikes[names[0]].n_spikes < 3:
        return None
    spikes = {name: jittered(solution.spikes[name], rng, 2e-4, solution.t_end, 2.1e-3) for name in names}
    try:
        observed = es.observe(solution.network, inputs, spikes, solution.t_end, slope=slope)
    except (es.SpikeBudgetError, es.RepeatedSpikeError):
        return None
    if any((~(values > 20.0)).any() for values in observed.slopes.values()):
        return None
    return observed, inputs


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("kind", ["layers", "loop"])
def test_gradients_are_the_derivatives_that_the_documentation_says(kind, slope):
    """By central differences of the plain twin, along a direction in all numbers at once: jvp, and vjp by duality."""
    compare = Comparison()
    ctx = multiprecision.problems.context(50)
    cases = ((seed, measured_case(seed, kind, slope)) for seed in range(8))
    seed, (observed, inputs) = next((seed, found) for seed, found in cases if found is not None)
    network = observed.network
    plain = multiprecision.problem(network, inputs, observed.t_end)
    slopes = {name: slope if name in observed.slopes else "measured" for name in network.populations}
    given, places = plain_observed.in_order(observed, ctx)
    held = plain_observed.hold(ctx, plain, given, slopes)
    direction = random_direction(observed, seed)
    for name, step in direction["t_ref"].items():  # less than 0 it cannot be
        step *= network.population(name).parameter("t_ref") > 0

    def along(problem, spikes):
        return plain_observed.derivative(
            ctx, lambda h: moved_problem(problem, direction, h), spikes, ctx.mpf("1e-18")
        )

    want = along(plain, held)
    # what roundings of the numbers do to the derivatives, which the kernels cannot know better than to
    rng = np.random.default_rng(seed)
    known = np.zeros(want.size)
    for _ in range(3):
        problem, times = plain_observed.rounded_anew(ctx, plain, given, rng, 8 * EPS)
        again = plain_observed.hold(ctx, problem, times, slopes)
        known = np.maximum(known, np.abs(along(problem, again) - want))
    dt = es.jvp(observed, direction)
    got = np.array([dt[name][k] for name, k in places])
    compare.close(got, want, 16 * known + 64 * EPS * np.abs(want), "forwards")
    for (name, k), spike in zip(places, held, strict=True):
        if name in observed.slopes and not spike.trigger:
            r, s = observed.residual.voltage[name][k], observed.slopes[name][k]
            assert abs(r - float(spike.residual)) < 1e-12
            assert s == pytest.approx(float(spike.slope), rel=1e-9, abs=0.0)
    cotangents = {n: rng.normal(size=t.n_spikes) for n, t in observed.spikes.items()}
    forwards = np.concatenate([cotangents[name] * dt[name] for name in cotangents])
    backwards = products(es.vjp(observed, cotangents), direction)
    size = np.abs(forwards).sum() + np.abs(backwards).sum()
    compare.close(forwards.sum(), backwards.sum(), 64 * EPS * size * len(places), "backwards")
    compare.demand(0.95)


# -- closed forms ----------------------------------------------------------------------------------------------------


def delgrad(t, w, at, ratio, threshold, kind):
    """dt/dw of a first spike at t, as DelGrad's closed forms have it (tau_syn = 1, tau_mem = ratio)."""
    if ratio == 1:
        a, b = (w * np.exp(at)).sum(), (w * at * np.exp(at)).sum()
        slope = {
            "crossing": lambda: 1 + lambertw(-threshold / a * np.exp(b / a)).real,
            "measured": lambda: 1 - (t - b / a),
            "threshold": lambda: 1 - threshold * np.exp(t) / a,
        }[kind]()
        return -np.exp(at) * (t - at) / (a * slope)
    a1, a2, z = (w * np.exp(at)).sum(), (w * np.exp(at / 2)).sum(), np.exp(-t / 2)
    c = threshold / ratio
    slope = {
        "crossing": lambda: np.sqrt(a2**2 - 4 * a1 * c),
        "measured": lambda: 2 * a1 * z - a2,
        "threshold": lambda: a1 * z - c / z,
    }[kind]()
    return -2 * (np.exp(at / 2) - np.exp(at) * z) / slope


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("ratio", [1, 2])
def test_first_spikes_have_the_gradients_of_the_closed_forms_of_delgrad(ratio, slope):
    """At times that no ideal neuron makes, before and after its own; tau_mem = 2 tau_syn has the weights doubled."""
    rng = np.random.default_rng(ratio)
    times, weights = np.sort(rng.uniform(0, 1.5, 5)), rng.uniform(0.8, 2.0, 5)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("out", 1, es.LIF(tau_mem=float(ratio), tau_syn=1.0, v_threshold=1.0))
    net.connect("in", "out", ratio * weights[None])
    inputs = {"in": es.SpikeTrains.from_dense(times[None])}
    own = float(es.solve(net, inputs, 10.0).spikes["out"].first()[0, 0])
    for shift in (-0.08, 0.0, 0.05):
        t = own + shift
        observed = es.observe(net, inputs, {"out": es.SpikeTrains.from_lists([[[t]]])}, 10.0, slope=slope)
        got = es.vjp(observed, {"out": [1.0]}, wrt=("weight",)).weight["in", "out"][0] * ratio
        heard = times < t
        want = delgrad(t, weights[heard], times[heard], ratio, 1.0, slope)
        np.testing.assert_allclose(got[heard], want, rtol=1e-12)
        assert (got[~heard] == 0.0).all()
        assert (
            shift == 0.0
            or abs(want - delgrad(own, weights[heard], times[heard], ratio, 1.0, slope)).max() > 1e-3
        )


# -- doors -----------------------------------------------------------------------------------------------------------


def small():
    """in (2) -> hidden (2) -> out (LI), with spikes of hidden that it may have made."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 2, es.LIF(tau_mem=20e-3, tau_syn=5e-3, t_ref=2e-3))
    net.add_population("out", 1, es.LI(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "hidden", [[9.0, 8.0], [7.0, 6.0]])
    net.connect("hidden", "out", [[1.0, 2.0]])
    return net, {"in": es.SpikeTrains.from_lists([[[5e-3], [6e-3]]])}


def trains(*times, **sizes):
    return es.SpikeTrains.from_lists([[list(train) for train in times]], **sizes)


DOORS = {
    r"spikes name 'hiden', which is not a population; there are \['in', 'hidden', 'out'\]": {
        "hiden": trains([], [])
    },
    r"spikes\['hidden'\] must have 1 samples of 2 neurons; got 1 of 3": {"hidden": trains([], [], [])},
    r"spikes\['hidden'\] must have 1 samples of 2 neurons; got 2 of 2": {
        "hidden": es.SpikeTrains.from_lists([[[], []]] * 2)
    },
    r"spikes\['hidden'\] must not be after t_end = 0.05 s; entry \[0\] is 0.06": {
        "hidden": trains([60e-3], [])
    },
    r"neuron 1 in sample 0 spikes at 0.01 and 0.0119 s, and its t_ref is 0.002 s": {
        "hidden": trains([], [10e-3, 11.9e-3])
    },
    r"spikes\['out'\] must be empty: 'out' are LI neurons": {"out": trains([1e-3])},
    r"spikes\['in'\] must be the spikes of inputs\['in'\], or be left out": {"in": trains([5e-3], [])},
}


@pytest.mark.parametrize("said", DOORS)
def test_spikes_that_cannot_be_taken_are_named(said):
    net, inputs = small()
    with pytest.raises(ValueError, match=said):
        es.observe(net, inputs, DOORS[said], 50e-3)


def test_what_is_no_mapping_of_spike_trains_is_named():
    net, inputs = small()
    with pytest.raises(
        TypeError, match="spikes must be a mapping of population to SpikeTrains; got SpikeTrains"
    ):
        es.observe(net, inputs, trains([], []), 50e-3)
    with pytest.raises(TypeError, match=r"spikes\['hidden'\] must be SpikeTrains; got \[\]"):
        es.observe(net, inputs, {"hidden": []}, 50e-3)
    for choice in ({"slope": "own"}, {"undefined": "nan"}):
        with pytest.raises(ValueError, match=f"{next(iter(choice))} must be one of"):
            es.observe(net, inputs, {}, 50e-3, **choice)


def test_spikes_that_nothing_can_make_are_residuals_and_have_no_gradient():
    """Before any arrival V is at rest: a spike then is as far from the threshold as rest is, and does not move."""
    net, inputs = small()
    early = es.observe(net, inputs, {"hidden": trains([1e-3], [])}, 50e-3)
    assert early.residual.voltage["hidden"].tolist() == [-1.0]
    assert early.slopes["hidden"].tolist() == [0.0]
    said = r"neuron 0 of 'hidden' in sample 0 spiked at 0.001 s, where by slope='measured' its voltage does not rise"
    with pytest.raises(es.UndefinedGradientError, match=said):
        es.vjp(early, {"hidden": [1.0]})
    with pytest.raises(es.UndefinedGradientError, match=said):
        es.jvp(early, {"v_threshold": {"hidden": 1.0}})
    passed = es.observe(net, inputs, {"hidden": trains([1e-3], [])}, 50e-3, undefined="zero")
    assert es.vjp(passed, {"hidden": [1.0]}).v_threshold["hidden"].tolist() == [0.0, 0.0]
    assert es.jvp(passed, {"v_threshold": {"hidden": 1.0}})["hidden"].tolist() == [0.0]
    assert es.vjp(passed, {"hidden": [1.0]}).spike_times["hidden"].tolist() == [1.0]


def test_crossings_that_nobody_reported_are_listed_where_they_begin():
    net, inputs = small()
    own = es.solve(net, inputs, 50e-3).spikes["hidden"]
    assert own.n_spikes >= 2
    first = np.isin(np.arange(own.n_spikes), own.first_index())
    silent = es.observe(net, inputs, {"hidden": trains([], [])}, 50e-3).residual.unreported["hidden"]
    np.testing.assert_array_equal(silent.times, own.times[first])  # without a reset V comes there once
    np.testing.assert_array_equal(silent.neurons, own.neurons[first])
    free = es.observe(net, inputs, {"hidden": trains([], [])}, 50e-3)
    height = (
        free.voltage("hidden", np.linspace(0, 50e-3, 5001)).max(axis=2)[0] - 1.0
    )  # its grid misses by h^2 |V''|/8
    np.testing.assert_allclose(
        free.residual.excess["hidden"], height[silent.neurons], atol=(1e-5) ** 2 * 17 / 1e-4
    )
    late = es.SpikeTrains(own.times[first] + 1e-4, own.neurons[first], own.samples[first], 1, 2)
    after = es.observe(net, inputs, {"hidden": late}, 50e-3).residual  # V is beyond the threshold still
    assert (after.voltage["hidden"] > 0).all()
    assert after.unreported["hidden"].n_spikes == own.n_spikes - 2
    too_late = es.SpikeTrains(own.times[first] + 40e-3, own.neurons[first], own.samples[first], 1, 2)
    after = es.observe(net, inputs, {"hidden": too_late}, 50e-3).residual
    assert (after.voltage["hidden"] < 0).all()
    np.testing.assert_array_equal(after.unreported["hidden"].times, own.times[first])


def test_populations_that_are_not_given_are_solved_with_what_the_given_ones_send():
    net, inputs = small()
    observed = es.observe(net, inputs, {}, 50e-3)
    solution = es.solve(net, inputs, 50e-3)
    assert observed.spikes == solution.spikes
    assert observed.residual.voltage == {}
    times = np.linspace(0, 50e-3, 101)
    np.testing.assert_array_equal(observed.voltage("out", times), solution.voltage("out", times))
    given = es.observe(net, inputs, {"hidden": trains([10e-3], [])}, 50e-3)
    assert given.current("out", [10e-3]).tolist() == [[[1.0]]]
    assert given.voltage("hidden", [10e-3, 12e-3])[0, 0].tolist() == [0.0, 0.0]


def test_an_observation_is_pickled_copied_printed_and_cannot_be_changed():
    net, inputs = small()
    observed = es.observe(net, inputs, {"hidden": trains([10e-3], [9e-3])}, 50e-3, slope="crossing")
    for copied in (pickle.loads(pickle.dumps(observed)), copy.deepcopy(observed)):
        assert copied.spikes == observed.spikes
        assert copied.slope == "crossing"
        cotangents = {"hidden": [1.0, 2.0]}
        a, b = (es.vjp(o, cotangents).weight["in", "hidden"] for o in (observed, copied))
        np.testing.assert_array_equal(a, b)
        assert not copied.residual.voltage["hidden"].flags.writeable
        assert not copied.slopes["hidden"].flags.writeable
    text = repr(observed)
    assert text.startswith("Observation(1 sample, 0 to 50 ms)")
    assert "2 spikes of 2 neurons, given" in text
    assert "crossing" in text
    assert "|V - v_threshold|: median" in text
    with pytest.raises(AttributeError):
        observed.slope = "measured"


REFUSED = {
    "a certificate is of a network's own spikes": es.certify,
    "margins are of a network's own spikes": es.margins,
    "trust radii are of": es.trust_radius,
    "trust radii are": partial(es.trust_radius, certify=False),
    "the condition of gradients is that of": es.gradient_condition,
    "final_state is that of": lambda observed: observed.final_state,
    "coincidences are of": lambda observed: es.vjp(observed, {"hidden": [1.0]}).one_sided,
    "coincidences are": lambda observed: es.gradient_sides(es.vjp(observed, {"hidden": [1.0]})),
    "the condition of gradients is": lambda observed: es.vjp(observed, {"hidden": [1.0]}).condition,
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_asks_about_a_network_that_was_solved_is_refused(said):
    net, inputs = small()
    observed = es.observe(net, inputs, {"hidden": trains([10e-3], [])}, 50e-3)
    with pytest.raises(ValueError, match=said):
        REFUSED[said](observed)
    assert observed.warnings == ()


def test_losses_on_spikes_and_voltages_and_adjoint_states_go_along_given_spikes():
    """A loss on the readout's voltage: its derivative by the times of given spikes, and the adjoint before them."""
    net, inputs = small()
    spikes = trains([10e-3], [9e-3])
    observed = es.observe(net, inputs, {"hidden": spikes}, 50e-3)
    loss = es.losses.SampledVoltage("out", [20e-3], lambda v: (v[:, 0, 0], v**0))
    value, grads = es.value_and_grad(observed, loss)
    assert value == pytest.approx(float(observed.voltage("out", [20e-3])[0, 0, 0]), rel=1e-15, abs=0.0)
    h = 1e-6
    for k, (at, other) in enumerate(((9e-3, [[10e-3], None]), (10e-3, [None, [9e-3]]))):
        sides = []
        for step in (h, -h):
            moved = [[at + step] if train is None else train for train in other]
            again = es.observe(net, inputs, {"hidden": trains(*moved)}, 50e-3)
            sides.append(es.value_and_grad(again, loss)[0])
        # h^2 of the third derivative, some 1/tau_syn^3, and rounding
        bound = h**2 / (5e-3) ** 3 + 1e-15 / h
        assert abs(grads.spike_times["hidden"][k] - (sides[0] - sides[1]) / (2 * h)) <= bound
    adjoint = es.adjoint_states(observed, loss)
    before = adjoint.voltage("hidden", [9e-3 - 1e-12, 10e-3 - 1e-12])[0, [1, 0], [0, 1]]
    np.testing.assert_allclose(before, -grads.spike_times["hidden"] / observed.slopes["hidden"], rtol=1e-6)
