"""Does the order of events stay within a trust radius, and change where the first-order estimate says?"""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from comparing import Comparison
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from moving import NAMES, distance, moved, orders, worst_direction
from networks import EPS, random_case, rounded_behind_the_peak

import eventsolve as es
from eventsolve.patterns import pattern_of
from eventsolve.stability import estimates, trust

pytestmark = pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # times of any ratio are drawn

few = settings(max_examples=4)
NEURONS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def solutions(seed):
    """A feed-forward solution and one of a loop with everything in it, where there is one."""
    found = [random_case(seed).solve()]
    loop = solved(Loop(seed, n=2, t_end=30e-3))
    return found if loop is None else [*found, loop]


# -- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weight", "delay", "tau_syn"])
@settings(max_examples=3)
@given(seed=st.integers(0, 1000))
def test_the_estimate_is_the_least_over_all_distances_and_none_is_below_its_bound(name, seed):
    for solution in solutions(seed):
        pattern = pattern_of(solution, name)
        cut = estimates._cut(pattern, solution, 0, solution.n_samples)
        part = estimates.part_of(solution, 0, solution.n_samples)
        layers = estimates.spiking_layers(solution)
        layer_parts = [estimates.layer_part_of(part, layer) for layer in layers]
        rows = [estimates._rows(part, layer_part, cut) for layer_part in layer_parts]
        ranked = list(estimates._ranked(part, layer_parts, rows, cut))
        least = np.full(part.n_samples, np.inf)
        at = np.zeros(part.n_samples, np.int64)
        while (chosen := np.array([k < r.lower.size for k, r in zip(at, ranked, strict=True)])).any():
            radii = estimates._radii(part, layer_parts, cut, ranked, at, chosen)
            for s, radius in zip(np.flatnonzero(chosen), radii, strict=True):
                assert radius >= ranked[s].lower[at[s]] * (1 - 1e4 * EPS)
                least[s] = min(least[s], radius)
            at += chosen
        np.testing.assert_array_equal(es.trust_radius(solution, name, certify=False).radius, least)


def difference(solution, limit, name, key, direction, h):
    """The central difference of one distance, or None if the order of events changes within it."""
    up, down = (moved(solution, {name: {key: sign * h * direction}}) for sign in (1, -1))
    if not (orders(up) == orders(solution) == orders(down)):
        return None
    return (distance(limit, es.margins(up)) - distance(limit, es.margins(down))) / (2 * h)


def speed(solution):
    """No V of the solution moves faster than this, in 1/s."""
    net, total, rate = solution.network, 2.0, 0.0
    for p in net.projections.values():
        total += float(np.abs(p.weights).max(initial=0.0)) * solution.spikes[p.pre].counts().sum()
    for p in net.populations.values():
        if p.neuron is not None:
            rate = max(rate, float((1 / p.parameter("tau_mem") + 1 / p.parameter("tau_syn")).max()))
    return total * rate


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=st.integers(0, 1000))
def test_the_estimate_is_a_distance_over_its_central_differences(name, seed):
    rng, compare = np.random.default_rng(seed), Comparison()
    for solution in solutions(seed):
        pattern = pattern_of(solution, name)
        keys = [key for key, scale in pattern[name].items() if scale.size]
        key = keys[rng.integers(len(keys))]
        one = np.zeros(pattern[name][key].size)
        one[rng.integers(one.size)] = 1.0
        if name == "t_ref":
            one[:] = solution.network.population(key).parameter("t_ref") > 0
            one[1:] = 0.0
        shaped = one
        if name in ("weight", "delay"):
            shaped = solution.network.projections[key].shaped(one)
        estimate = es.trust_radius(solution, {name: {key: shaped}}, certify=False)
        scale = 1e-3 if name in ("delay", "t_ref", "spike_times", "tau_mem", "tau_syn") else 1.0
        for s, limit in enumerate(estimate.limits):
            if limit is None:  # nothing that is named moves any distance
                assert estimate.radius[s] == np.inf
                continue
            coarse, fine = (difference(solution, limit, name, key, one, h * scale) for h in (2e-6, 1e-6))
            if (
                coarse is None or fine is None
            ):  # the order changes within the step: the radius is not far above it
                assert estimate.radius[s] < 1e3 * 2e-6 * scale
                continue
            derivative = limit.value / estimate.radius[s]
            # truncation by Richardson, with a factor for higher orders; rounding by the bound on that of spike times,
            # which move V by no more than all weights that may arrive over the shortest time constant
            condition = es.gradient_condition(solution)
            late = max(t.max(initial=0.0) for t in condition.time_error.values()) + EPS * solution.t_end
            if limit.kind != "gap":
                late = late * speed(solution) + 64 * EPS * (1 + speed(solution) * 1e-3)
            rounding = 2 * late / (1e-6 * scale)
            compare.close(abs(fine), derivative, 4 * abs(coarse - fine) + rounding + 1e-6 * derivative)
    assume(compare.informative)  # Hypothesis reports if there are too few


def test_the_weight_at_which_a_neuron_first_spikes():
    # V's peak is linear in the only weight, so the estimate is exact; balls over-estimate, but not twofold
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[6.3]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    solution = es.solve(net, inputs, 40e-3)
    radius = es.trust_radius(solution)
    peak = 1.0 - es.margins(solution).voltage["n"].least()[0]
    critical = 6.3 / peak - 6.3
    assert radius.first_order[0] == pytest.approx(critical, abs=64 * EPS)
    assert critical / 2 <= radius.certified[0] <= critical + 64 * EPS
    assert (
        not es.solve(net.with_weights({("in", "n"): [[6.3 + 0.999 * critical]]}), inputs, 40e-3)
        .spikes["n"]
        .n_spikes
    )
    assert (
        es.solve(net.with_weights({("in", "n"): [[6.3 + 1.001 * critical]]}), inputs, 40e-3)
        .spikes["n"]
        .n_spikes
    )
    assert str(radius.limits[0]).startswith("neuron 0 of 'n' in sample 0 stays")


def test_multiples_divide_the_radius():
    solution = random_case(3).solve()
    whole = es.trust_radius(solution, "weight", certify=False).radius
    keys = solution.network.projections
    np.testing.assert_array_equal(
        es.trust_radius(solution, {"weight": dict.fromkeys(keys, 2.0)}, certify=False).radius, whole / 2
    )
    shaped = {key: np.full(p.weight.shape, 4.0) for key, p in keys.items()}
    np.testing.assert_array_equal(
        es.trust_radius(solution, {"weight": shaped}, certify=False).radius, whole / 4
    )
    both = es.trust_radius(
        solution, {"weight": dict.fromkeys(keys, 1.0), "delay": dict.fromkeys(keys, 1e-3)}, certify=False
    )
    assert (both.radius <= whole).all()
    nothing = es.trust_radius(solution, {"weight": dict.fromkeys(keys, 0.0)}, certify=False)
    assert np.isinf(nothing.radius).all()
    assert nothing.limits == (None, None)


def test_sparse_weights_move_as_dense_ones():
    dense = random_case(5).solve()
    net = es.Network()
    for name, p in dense.network.populations.items():
        net.add_input(name, p.size) if p.neuron is None else net.add_population(name, p.size, p.neuron)
    for key, p in dense.network.projections.items():
        net.connect(*key, sp.csr_array(p.weight), delay=sp.csr_array(p.delay.reshape(p.weight.shape)))
    sparse = es.solve(net, {"in": dense.spikes["in"]}, dense.t_end)
    for name in ("weight", "delay", "tau_mem"):
        np.testing.assert_array_equal(
            es.trust_radius(sparse, name, certify=False).radius,
            es.trust_radius(dense, name, certify=False).radius,
        )


def test_a_batch_is_its_samples():
    case = random_case(11, n_samples=3)
    whole = es.trust_radius(case.solve(), "weight", certify=False)
    for s in range(3):
        one = es.trust_radius(
            case.solve(inputs={"in": case.inputs["in"].select([s])}), "weight", certify=False
        )
        assert one.radius[0] == whole.radius[s]
        assert one.limits[0]._replace(sample=s) == whole.limits[s]
    many = case.solve(inputs={"in": case.inputs["in"].select([0, 1, 2] * 30)})
    for threads in (1, 2):
        np.testing.assert_array_equal(
            es.trust_radius(many, "weight", threads=threads, certify=False).radius, np.tile(whole.radius, 30)
        )


def test_spikes_that_the_network_makes_may_be_emitted_late():
    solution = random_case(2).solve()
    inputs = es.trust_radius(solution, "spike_times", certify=False).radius
    everything = es.trust_radius(
        solution, {"spike_times": dict.fromkeys(solution.spikes, 1.0)}, certify=False
    ).radius
    assert (everything <= inputs).all()
    with pytest.raises(ValueError, match="must name inputs"):
        es.trust_radius(solution, {"spike_times": {"hidden": 1.0}})


# -- the certificate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weight", "spike_times", "tau_mem"])
def test_random_perturbations_inside_never_change_the_order(name):
    rng = np.random.default_rng(0)
    for solution in (random_case(1, n_samples=1).solve(), solved(Loop(1, n=2, t_end=20e-3))):
        radius = es.trust_radius(solution, name)
        assert (radius.certified > 0).all()
        before = orders(solution)
        for _ in range(6):
            corner = rng.random() < 0.5
            steps = {
                key: radius.certified.min()
                * (rng.choice([-1.0, 1.0], x.size) if corner else rng.uniform(-1, 1, x.size))
                for key, x in radius.of[name].items()
            }
            assert orders(moved(solution, {name: steps})) == before


@pytest.mark.parametrize("seed", range(4))
def test_just_outside_the_order_changes_at_the_named_place(seed):
    # the least favourable corner of a box a little larger than the estimate, or more so: distances are not linear
    solution = random_case(seed, n_samples=1).solve()
    estimate = es.trust_radius(solution, certify=False)
    (limit,) = estimate.limits
    direction = worst_direction(solution, limit)

    def at(factor):
        return moved(solution, {"weight": {k: factor * estimate.radius[0] * d for k, d in direction.items()}})

    assert orders(at(0.5)) == orders(solution)
    changed = next(f for f in (1.01, 1.05, 1.2, 1.5, 2.0, 3.0) if orders(at(f)) != orders(solution))
    assert changed <= 2.0
    mine = [s.spikes[limit.population] for s in (at(changed), solution)]
    here = [t.times[t.neurons == limit.neuron] for t in mine]
    arrivals = [
        np.concatenate([c.spikes[limit.population].arrivals for c in s.chunks])[t.neurons == limit.neuron]
        for s, t in zip((at(changed), solution), mine, strict=True)
    ]
    ends = limit.event.endswith("release")
    assert ends or here[0].size != here[1].size or (arrivals[0] != arrivals[1]).any()


def test_processes_give_what_one_does_of_every_sample():
    """V jumps once in one sample and twice in the other, to just below the threshold: what a weight may gain."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[0.5]], synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]], [[1e-3, 2e-3]]])}, 3e-3)
    one = es.trust_radius(solution, "weight")
    with ProcessPoolExecutor(1) as pool:
        two = es.trust_radius(solution, "weight", executor=pool)
    np.testing.assert_array_equal(one.certified, two.certified)
    assert one.undecided == two.undecided
    assert [(question.population, question.sample) for question in one.undecided] == [("n", 0), ("n", 1)]
    assert one.looked_at.all()
    critical = 1.0 / np.array([1.0, 1.0 + np.exp(-1 / 20)]) - 0.5
    assert (one.certified >= critical / trust.CLOSE).all()
    assert (one.certified <= critical).all()


@pytest.mark.parametrize(("ulps", "proven"), [(1, False), (2, True)])
def test_no_radius_is_certified_below_what_float64_can_express(ulps, proven):
    """A weight that jumps V to some ulps below the threshold of 1: with one, the next weight already has a spike."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[1.0 - ulps * EPS / 2, 0.0]], synapse="delta")
    radius = es.trust_radius(es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], []]])}, 3e-3))
    assert 0 < radius.first_order[0] <= ulps * EPS / 2
    assert ("no change that float64 can express" in str(radius)) is not proven
    assert radius.undecided[0] is not None
    if proven:
        assert EPS / 2 <= radius.certified[0] < EPS
    else:
        assert radius.certified[0] == 0


@pytest.mark.parametrize("of", ["spike_times", "delay"])
@pytest.mark.parametrize(("ulps", "proven"), [(0.5, False), (4, True)])
def test_times_move_by_no_less_than_the_spacing_of_float64_at_the_end(of, ulps, proven):
    spacing = float(np.spacing(3e-3))
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[1.5, -0.5]], synapse="delta")
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [1e-3 + ulps * spacing]]])}
    radius = es.trust_radius(es.solve(net, inputs, 3e-3), of)
    assert radius.certified[0] >= spacing if proven else radius.certified[0] == 0


def test_an_interrupt_keeps_the_samples_that_are_done(monkeypatch):
    real, calls = trust.certified_radius, []

    def interrupted(job):
        calls.append(job.sample)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(trust, "certified_radius", interrupted)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 samples were looked at") as caught:
        es.trust_radius(random_case(4, n_samples=3).solve(), "v_threshold")
    assert isinstance(caught.value, es.Interrupted)
    radius = caught.value.so_far
    np.testing.assert_array_equal(radius.looked_at, [True, False, False])
    assert [question is None for question in radius.undecided] == [False, True, True]
    np.testing.assert_array_equal(radius.certified[1:], 0)
    assert "looked_at 1 of 3 samples" in " ".join(repr(radius).split())


def test_an_order_of_two_equal_times_is_trusted_only_if_nothing_tells_them_apart():
    # the delta synapse that triggers and the inhibition beside it arrive together, from one spike or from two
    def network():
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("n", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "n", [[-0.1, 0.0]], synapse="delta", name="first")
        net.connect("in", "n", [[0.0, 1.5]], synapse="delta", name="second")
        return net

    apart = es.solve(network(), {"in": es.SpikeTrains.from_lists([[[1e-3], [1e-3]]])}, 5e-3)
    assert es.margins(apart).least["gap"][0] == 0
    assert es.trust_radius(apart, "spike_times", certify=False).radius[0] == 0
    assert es.trust_radius(apart, "weight", certify=False).radius[0] > 0


def test_empty_batches_and_readouts():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("read", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "read", np.ones((2, 1)))
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 5e-3)
    radius = es.trust_radius(solution)
    np.testing.assert_array_equal(radius.first_order, [np.inf])
    np.testing.assert_array_equal(radius.certified, [1.0])  # up to which it is sought
    empty = es.solve(net, {"in": es.SpikeTrains.from_lists([], n_neurons=1)}, 5e-3)
    assert es.trust_radius(empty).certified.shape == (0,)
    assert str(es.trust_radius(empty)) == "no samples"


# -- the search --------------------------------------------------------------------------------------------------------

TWICE = 2.0**0.125
"""How much farther than a certified radius the next one may be that is not, as a factor."""


def sought(monkeypatch, truth, estimate, pattern=None):
    """Return what is certified if proofs succeed up to ``truth``, what is open beyond, and all radii that are tried."""
    box = trust.box_of(silent_or_triggered(0.25))
    pattern = {"weight": {("in", "n"): np.array([1e30])}} if pattern is None else pattern
    tried = []

    def question(job, radius):
        tried.append(radius)
        return None if radius <= truth else radius

    monkeypatch.setattr(trust, "_open_question", question)
    sample, radius, beyond = trust.certified_radius(trust.Job(0, box, pattern, {}, estimate))
    assert sample == 0
    return radius, beyond, tried


@pytest.mark.parametrize("truth", np.geomspace(1e-3, 1e3, 23).tolist())
def test_a_radius_is_sought_until_one_fails_within_the_eighth_root_of_2(monkeypatch, truth):
    radius, beyond, tried = sought(monkeypatch, truth, 1.0)
    assert radius <= truth < beyond <= TWICE * radius
    assert len(tried) <= abs(np.log(truth)) / np.log(8) + 8


def test_a_radius_is_sought_in_steps_of_8_up_to_4096_times_the_estimate_and_down_to_what_rounds_it_away(
    monkeypatch,
):
    start = 0.75e-3
    radius, beyond, tried = sought(monkeypatch, np.inf, start)
    assert (radius, beyond, tried) == (4096 * start, None, [start * 8.0**k for k in range(5)])
    radius, beyond, tried = sought(monkeypatch, -1.0, start)
    assert (radius, beyond, tried) == (0.0, 2.0**-60 * start, [start * 8.0**-k for k in range(21)])
    # one that no estimate limits, up to 1
    assert sought(monkeypatch, np.inf, np.inf) == (1.0, None, [1.0])
    # nor below what float64 can express
    pattern = {"weight": {("in", "n"): np.array([1.0])}}
    radius, beyond, tried = sought(monkeypatch, -1.0, 1.0, pattern)
    assert (radius, beyond) == (0.0, EPS / 8)


@pytest.mark.parametrize("estimate", [1.0, 0.5, 1.0 / 8.0])
def test_no_radius_is_tried_at_which_there_is_no_network(monkeypatch, estimate):
    """A time constant of 20 ms vanishes at a radius of 1."""
    pattern = {"tau_mem": {"n": np.array([20e-3])}}
    found = sought(monkeypatch, np.inf, estimate, pattern)
    assert found == (min(estimate, 0.5), None, [min(estimate, 0.5)])


@pytest.mark.parametrize(("ulps", "tried"), [(1, []), (2, [EPS / 2])])
def test_the_smallest_radius_is_tried_if_half_of_the_largest_is_no_less(monkeypatch, ulps, tried):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_initial=1.0 - ulps * EPS / 2))
    net.connect("in", "n", [[0.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 3e-3)
    asked = []
    monkeypatch.setattr(trust, "_open_question", lambda _, radius: asked.append(radius))
    (radius,) = es.trust_radius(solution, "v_initial").certified
    assert asked == tried
    assert radius == sum(tried)


def test_the_smallest_and_largest_radius_are_those_of_the_numbers_that_move():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population(
        "n",
        2,
        es.LIF([20e-3, 10e-3], 5e-3, v_threshold=[1.0, 3.0], v_reset=[0.5, -1.0], v_initial=[0.25, 1.0]),
    )
    net.connect("in", "n", [[0.25, 0.0], [3.0, 2.0**-40]], delay=1e-3)
    box = trust.box_of(es.solve(net, {"in": es.SpikeTrains.from_lists([[[], [1e-3]]])}, 3e-3))
    key = ("in", "n")

    def least(name, key, scale):
        with np.errstate(divide="raise", invalid="raise"):
            return trust._smallest(box, {name: {key: np.array(scale)}})

    assert least("weight", key, [0.0, 0.0, 0.0, 0.0]) == 0.0
    assert least("weight", key, [0.0, 1.0, 0.0, 0.0]) == 0.0  # a weight of 0 has neighbours at any distance
    assert (
        least("weight", key, [4.0, 1.0, 0.5, 0.0]) == EPS / 8 / 4
    )  # below a power of 2 they are half as far apart
    assert least("weight", key, [4.0, 1.0, 0.5, 1.0]) == 2.0**-40 * EPS / 2
    assert least("v_threshold", "n", [2.0, 1.0]) == EPS / 4
    for name, at, n in (("delay", key, 4), ("t_ref", "n", 2), ("spike_times", "in", 1)):
        assert least(name, at, [2.0] * n) == (3e-3 - np.nextafter(3e-3, 0.0)) / 2

    def most(**scales):
        return trust._largest(box, {name: {"n": np.array(scale)} for name, scale in scales.items()})

    assert most() == most(v_leak=[1.0, 1.0]) == most(tau_mem=[0.0, 0.0]) == np.inf
    assert most(tau_mem=[1.0, 4.0]) == 10e-3 / 4
    assert most(tau_mem=[1.0, 1.0], tau_syn=[2.0, 0.0]) == 2.5e-3
    assert most(v_threshold=[1.0, 0.0]) == 0.5
    assert most(v_threshold=[1.0, 2.0]) == 0.5
    assert most(v_threshold=[1.0, 0.0], v_reset=[1.0, 9.0]) == 0.25
    assert most(v_threshold=[0.0, 1.0], v_initial=[0.0, 1.0]) == 1.0
    assert most(v_initial=[3.0, 1.0]) == 0.25


def test_a_radius_says_what_limits_it_first():
    moved = es.trust_radius(silent_or_triggered(0.5), "weight")
    assert str(moved).endswith(f" to first order in sample 0; first, {moved.limits[0]}")
    still = es.trust_radius(silent_or_triggered(0.5), {"weight": {("in", "n"): 0.0}})
    assert still.limits == (None,)
    assert str(still).endswith(", inf to first order in sample 0")


# -- at the door ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("weights", "of must name some of"),
        (3, "of must be one of"),
        ({"weight": 1.0}, r"of\['weight'\] must be a mapping of projections"),
        ({"weight": {("in", "out2"): 1.0}}, r"of\['weight'\] names \('in', 'out2'\)"),
        ({"tau_mem": {"in": 1.0}}, r"of\['tau_mem'\] names 'in'"),
        ({"tau_mem": {"out": [1.0]}}, r"must be a number or have shape \(2,\)"),
        ({"weight": {("in", "out"): np.ones((3, 2))}}, "must be a number or like the weight"),
        ({"weight": {("in", "out"): sp.csr_array(np.eye(2, 3))}}, "it must store exactly the synapses"),
        ({"spike_times": {"in": -1.0}}, r"must be finite and >= 0; entry \[0\] is -1.0"),
        ({"v_leak": {"out": np.nan}}, "must be finite and >= 0"),
    ],
)
def test_what_cannot_move_is_refused(of, message):
    solution = random_case(0).solve()
    with pytest.raises(ValueError, match=message):
        es.trust_radius(solution, of, certify=False)


def test_only_solutions_have_radii():
    with pytest.raises(TypeError, match="solution must be a Solution; got Network"):
        es.trust_radius(es.Network())


def test_without_certificates_there_is_the_estimate_alone_and_nothing_of_certificates_to_choose():
    solution = random_case(0).solve()
    both, alone = es.trust_radius(solution, threads=2), es.trust_radius(solution, certify=False)
    assert isinstance(alone, es.RadiusEstimate)
    np.testing.assert_array_equal(both.first_order, alone.radius)
    assert both.limits == alone.limits
    for chosen in ({"progress": True}, {"executor": ThreadPoolExecutor(1)}):
        with pytest.raises(ValueError, match="executor and progress are of certificates"):
            es.trust_radius(solution, certify=False, **chosen)


@pytest.mark.parametrize("certify", ["yes", None, 0])
def test_certify_is_true_or_false(certify):
    with pytest.raises(TypeError, match="certify must be True or False"):
        es.trust_radius(random_case(11).solve(), certify=certify)


def silent_or_triggered(weight):
    """A neuron that a jump at 2 ms lifts by a weight, up to 3 ms."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[weight]], delay=1e-3, synapse="delta")
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 3e-3)


def test_a_radius_leaves_networks_that_are_networks():
    """Nothing else limits these: a time constant is positive, and V begins below its threshold."""
    silent = silent_or_triggered(0.0)
    for name, most in (("tau_mem", 20e-3), ("tau_syn", 5e-3), ("v_threshold", 1.0), ("v_initial", 1.0)):
        (radius,) = es.trust_radius(silent, name).certified
        assert most / 4 <= radius < most, name


@pytest.mark.parametrize(("v_reset", "v_initial"), [(0.5, 0.0), (0.0, 0.25), (-1.0, -0.5), (0.5, 0.75)])
def test_a_threshold_may_move_down_to_where_v_begins_and_is_reset_to(v_reset, v_initial):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_reset=v_reset, v_initial=v_initial, v_leak=-9.0))
    net.connect("in", "n", [[0.0]])
    silent = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 3e-3)
    for name, most in (
        ("v_threshold", 1.0 - max(v_reset, v_initial)),
        ("v_reset", 1.0 - v_reset),
        ("v_initial", 1.0 - v_initial),
    ):
        (radius,) = es.trust_radius(silent, name).certified
        assert most / 4 <= radius < most, name


def test_a_delay_may_grow_until_its_spike_is_after_the_end():
    spikes = silent_or_triggered(2.0)
    assert spikes.spikes["n"].times.tolist() == [2e-3]
    radius = es.trust_radius(spikes, "delay")
    assert radius.first_order[0] == pytest.approx(1e-3, rel=1e-12, abs=0.0)
    assert 1e-3 / trust.CLOSE <= radius.certified[0] <= 1e-3


def test_multiples_of_spike_times_are_those_of_their_sample():
    net = silent_or_triggered(2.0).network
    both = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]], [[1.25e-3]]])}, 3e-3)
    radius = es.trust_radius(both, {"spike_times": {"in": [1.0, 0.5]}}).certified
    latest = np.array([1e-3, 1.5e-3])  # then its arrival is after the end
    assert (radius >= latest / trust.CLOSE).all()
    assert (radius <= latest).all()


def test_what_does_not_move_is_where_it_was_exactly():
    """An arrival as the refractory period ends is heard, whatever the delay of another one is."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    net.connect("in", "n", [[0.1, 2.0]], delay=[[1.5e-3, 0.0]], synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3, 2e-3]]])}, 3e-3)
    assert solution.spikes["n"].times.tolist() == [1e-3, 2e-3]
    (radius,) = es.trust_radius(solution, {"delay": {("in", "n"): [[1.0, 0.0]]}}).certified
    assert 0.5e-3 / trust.CLOSE <= radius <= 0.5e-3


def test_a_box_is_no_rounding_narrower_than_its_radius():
    box = trust.box_of(silent_or_triggered(2.0))
    rounded = set()
    for k in range(1, 40):
        scale, radius = 1.0 / k, 0.1
        grown = trust.grown(box, {"weight": {("in", "n"): np.array([scale])}}, radius)
        exact = Fraction(scale) * Fraction(radius)
        assert Fraction(float(grown.synapses.weight.radius[0])) >= exact
        rounded.add(Fraction(scale * radius) < exact)
        assert not grown.exact
    assert rounded == {False, True}


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after seventeen years
def test_where_any_change_may_take_a_spike_away_nothing_is_certified():
    radius = es.trust_radius(rounded_behind_the_peak())
    assert radius.certified.tolist() == radius.first_order.tolist() == [0.0]
    assert radius.looked_at.all()
    assert "looked_at" not in repr(radius)


@pytest.mark.parametrize("name", ["v_initial", "v_threshold"])
def test_no_radius_is_certified_that_reaches_where_no_neuron_is(name):
    """V begins at the number next to the threshold: the least change that float64 can express is none of a neuron."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_initial=np.nextafter(1.0, 0.0)))
    net.connect("in", "n", [[0.0, 0.0]])
    radius = es.trust_radius(es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], []]])}, 3e-3), name)
    assert radius.certified[0] == 0
    assert "no change that float64 can express" in str(radius)


@pytest.mark.filterwarnings("error")
def test_a_multiple_of_any_size_scales_the_radius():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[9.0, 4.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [2e-3]]])}, 20e-3)

    def certified(multiple):
        return es.trust_radius(solution, {"weight": {("in", "n"): multiple}}).certified[0]

    one = certified(1.0)
    for multiple in (1e300, 1e170, 1e-170, 1e-300):
        assert 1 / trust.CLOSE <= certified(multiple) * multiple / one <= trust.CLOSE
    assert certified(5e-324) > 1e307  # as far as float64 goes, where twice as far would be infinite
