"""Are those arrivals over delta synapses found whose order keeps a neuron from spiking, and how far they may move?"""

import itertools

import numpy as np
import pytest
from loops import Loop, solved
from moving import distance, moved, orders
from networks import EPS

import eventsolve as es
from eventsolve import multiprecision

ARRIVAL = 5
"""The place of a gap between two arrivals."""


def one_neuron(weights, kinds, times, t_end=20e-3, **neuron):
    """A neuron that hears one spike from each channel, over a synapse of its kind."""
    net = es.Network()
    net.add_input("in", len(weights))
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, **neuron))
    for kind in ("delta", "exponential"):
        net.connect(
            "in",
            "n",
            [[w * (k == kind) for w, k in zip(weights, kinds, strict=True)]],
            synapse=kind,
            name=kind,
        )
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[t] for t in times]])}, t_end)


def swaps(gaps):
    """(sample, neuron, later time, earlier time) of all gaps between two arrivals."""
    rows = np.flatnonzero(gaps.places == ARRIVAL)
    columns = (gaps.samples, gaps.neurons, gaps.times, gaps.other_times)
    return sorted(tuple(c[k].item() for c in columns) for k in rows)


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_two_arrivals_whose_swap_makes_a_spike():
    solution = one_neuron([-0.5, 1.2], ["delta", "delta"], [5e-3, 5e-3 + 1e-6])
    assert not solution.spikes["n"].n_spikes
    (gap,) = es.margins(solution).smallest(3)["gap"]
    assert gap.value == pytest.approx(1e-6, abs=EPS * 20e-3)
    assert str(gap).startswith(
        "neuron 0 of 'n' in sample 0 has an arrival from neuron 0 of 'in' before one that it keeps from making it spike"
    )
    radius = es.trust_radius(solution, "spike_times")
    assert radius.first_order[0] == pytest.approx(5e-7, abs=EPS * 20e-3)
    assert 2.5e-7 <= radius.certified[0] <= 5e-7
    assert es.trust_radius(solution, "delay", certify=False).radius[0] == pytest.approx(5e-7, abs=EPS * 20e-3)
    # weights move no arrival of an input: what they may change is V
    assert es.trust_radius(solution, "weight", certify=False).limits[0].kind == "voltage"
    swapped = one_neuron([-0.5, 1.2], ["delta", "delta"], [5e-3 + 5.01e-7, 5e-3 + 4.99e-7])
    assert swapped.spikes["n"].n_spikes == 1


@pytest.mark.parametrize(
    ("weights", "kinds", "times", "neuron", "pairs"),
    [
        # inhibition that is not needed, inhibition behind, two that excite, an exponential synapse: they commute
        ([-0.5, 0.9], "dd", [5, 5.1], {}, []),
        ([0.9, -0.5], "dd", [5, 5.1], {}, []),
        ([0.3, 0.6], "dd", [5, 5.1], {}, []),
        ([-0.5, 1.2], "ed", [5, 5.0001], {"v_initial": -0.5}, []),
        ([-0.5, 1.2], "de", [5, 5.0001], {}, []),
        # two inhibitory ones, of which both have to be passed, or the far one is enough, or each
        ([-0.2, -0.2, 1.15], "ddd", [5, 5.1, 5.2], {}, [(5.2, 5)]),
        ([-0.6, -0.2, 1.5], "ddd", [5, 5.1, 5.2], {}, [(5.2, 5)]),
        ([-0.6, -0.6, 1.9], "ddd", [5, 5.1, 5.2], {}, [(5.2, 5), (5.2, 5.1)]),
        # what lies between does not matter, unless it is a spike or the end of a refractory period
        ([-0.6, 0.1, -0.1, 1.4], "dded", [5, 5.1, 5.15, 5.2], {}, [(5.2, 5)]),
        ([-0.6, 2.0, 0.9], "ddd", [5, 5.1, 5.2], {}, []),
        ([2.0, -0.6, 0.9], "ddd", [5, 5.1, 5.2], {"t_ref": 0.15e-3}, []),
        ([2.0, -0.6, 1.2], "ddd", [5, 5.1, 5.2], {"t_ref": 0.05e-3}, [(5.2, 5.1)]),
    ],
)
def test_which_orders_matter(weights, kinds, times, neuron, pairs):
    kinds = [{"d": "delta", "e": "exponential"}[k] for k in kinds]
    solution = one_neuron(weights, kinds, [t * 1e-3 for t in times], **neuron)
    wanted = sorted((0, 0, later * 1e-3, earlier * 1e-3) for later, earlier in pairs)
    assert swaps(es.margins(solution).gap["n"]) == wanted


def test_arrivals_that_one_spike_brings_at_one_time_are_not_swapped_by_moving_it():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[-0.5]], synapse="delta", name="first")
    net.connect("in", "n", [[1.2]], synapse="delta", name="second")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[5e-3]]])}, 20e-3)
    np.testing.assert_array_equal(es.margins(solution).gap["n"].values, [0.0])
    assert es.trust_radius(solution, "delay", certify=False).radius[0] == 0
    assert np.isinf(es.trust_radius(solution, "spike_times", certify=False).radius[0])
    assert es.trust_radius(solution, "spike_times").certified[0] > 1e-3


# -- against the slow truth -------------------------------------------------------------------------------------------


def slow_swaps(truth, net, name, sample, neuron):
    """All pairs by their definition, from exact spikes and voltages alone, and how close the closest call is."""
    ctx, who = truth.context, (name, sample, neuron)
    parameters = truth.problem.neurons[name][neuron]
    t_end, t_ref = ctx.mpf(truth.problem.t_end), ctx.mpf(parameters.t_ref)
    spikes = [t for t, n in truth.spikes[name][sample] if n == neuron]
    edges = sorted([*spikes, *(t + t_ref for t in spikes)])
    arrivals = []
    for key, synapses in truth.problem.synapses.items():
        for s in synapses:
            if key[1] == name and s.target == neuron and s.delta:
                for t, source in truth.spikes[key[0]][sample]:
                    if source == s.source and t + ctx.mpf(s.delay) <= t_end:
                        arrivals.append((t + ctx.mpf(s.delay), ctx.mpf(s.weight)))
    arrivals.sort()
    found, closest = [], ctx.inf
    for k, (later, weight) in enumerate(arrivals):
        if weight <= 0 or later in spikes or any(t <= later < t + t_ref for t in spikes):
            continue
        since = max([t for t in edges if t <= later], default=ctx.mpf(-1))
        short = parameters.v_threshold - truth.voltage(*who, later)
        takes = [
            (t, -w * ctx.exp(-(later - t) / parameters.tau_mem))
            for t, w in reversed(arrivals[:k])
            if w < 0 and t > since
        ]
        for m, (t, one) in enumerate(takes):
            nearer = sum((x for _, x in takes[:m]), ctx.mpf(0))
            if any(passed < short <= passed + one for passed in (ctx.mpf(0), nearer)):
                found.append((sample, neuron, float(later), float(t)))
            closest = min([closest, *(abs(short - x) for x in (one, nearer, nearer + one) if x)])
    return found, closest


@pytest.mark.parametrize("seed", [0, 11, 16, 56])
def test_every_swap_that_matters_is_found_in_loops(seed):
    loop = Loop(seed, n=3, t_end=40e-3)
    loop.weight["in", "b", "delta"] *= 2.0
    loop.weight["a", "b", "delta"] *= 3.0
    solution = solved(loop)
    truth = multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, loop.t_end, digits=25)
    n_pairs = 0
    for neuron in range(loop.n):
        for sample in range(solution.n_samples):
            wanted, closest = slow_swaps(truth, solution.network, "b", sample, neuron)
            gaps = es.margins(solution).gap["b"]
            got = [row for row in swaps(gaps) if row[:2] == (sample, neuron)]
            assert closest > 1e-9  # so that float64 can tell
            assert len(got) == len(wanted)
            np.testing.assert_allclose(np.array(got), np.array(sorted(wanted)), rtol=0, atol=1e-12)
            n_pairs += len(wanted)
    assert n_pairs >= 5


# -- really swapped ---------------------------------------------------------------------------------------------------


def clustered(seed, n=5):
    """A neuron with arrivals within a microsecond of each other, most of them over delta synapses."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 1.0], n) * rng.uniform(0.2, 1.2, n)
    kinds = rng.choice(["delta", "delta", "delta", "exponential"], n)
    times = 5e-3 + np.cumsum(rng.uniform(0.1e-6, 1e-6, n))
    reset = str(rng.choice(["value", "subtract"]))
    return one_neuron(weights, kinds, times, v_initial=rng.uniform(-0.5, 0.8), reset=reset)


def changes_within(solution, radius):
    """Whether a corner of the box of all input times, moved by up to a radius, has another order of events."""
    before = orders(solution)
    n = solution.spikes["in"].n_spikes
    return any(
        orders(moved(solution, {"spike_times": {"in": radius * np.array(corner)}})) != before
        for corner in itertools.product((-1.0, 1.0), repeat=n)
    )


def test_the_estimate_is_where_some_corner_of_the_box_changes_spikes():
    pairs = 0
    for seed in range(14):
        try:
            solution = clustered(seed)
        except es.RepeatedSpikeError:
            continue
        estimate = es.trust_radius(solution, "spike_times", certify=False)
        (radius,), (limit,) = estimate.radius, estimate.limits
        if not radius < 5e-6:
            continue
        # distances are linear up to the ratio of these times to the time constants, and times are rounded
        slack = 1e-3 + 8 * EPS * 20e-3 / radius
        assert not changes_within(solution, radius * (1 - slack))
        if "keeps" in limit.event:  # of other gaps derivatives change, spikes need not
            assert changes_within(solution, radius * (1 + slack))
            pairs += 1
    assert pairs >= 4


def delta_network(seed):
    """in -> a -> b: two neurons spike soon after each other, and one inhibits b just before the other excites it."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_population("b", 2, es.LIF(15e-3, 5e-3, v_reset=-0.2, t_ref=1e-3))
    weaker = np.array([[1.0], [1.0 - rng.uniform(1e-4, 1e-3)]])
    net.connect("in", "a", rng.uniform(3.0, 6.0, 3) * weaker)
    net.connect("a", "b", [[-rng.uniform(0.3, 1.0), 1.2], [0.2, 0.3]], synapse="delta", delay=1e-3)
    trains = es.SpikeTrains.from_lists([[[rng.uniform(0, 1e-3)] for _ in range(3)]])
    return es.solve(net, {"in": trains}, 5e-3)


def fastest(solution, limit, name, of, h):
    """The corner towards which one distance shrinks fastest, by central differences."""
    corner = {}
    for key, scale in of.items():
        corner[key] = np.zeros(scale.size)
        for k in range(scale.size):
            one = h * (np.arange(scale.size) == k)
            up, down = (es.margins(moved(solution, {name: {key: sign * one}})) for sign in (1, -1))
            corner[key][k] = -np.sign(distance(limit, up) - distance(limit, down))
    return corner


@pytest.mark.parametrize(
    ("name", "keys", "unit"), [("delay", [("a", "b")], 1e-3), ("weight", [("in", "a")], 1.0)]
)
def test_spikes_of_a_network_change_where_two_of_its_arrivals_swap(name, keys, unit):
    tried = 0
    for seed in range(6):
        solution = delta_network(seed)
        estimate = es.trust_radius(solution, {name: dict.fromkeys(keys, 1.0)}, certify=False)
        (radius,), (limit,) = estimate.radius, estimate.limits
        if limit is None or "keeps" not in limit.event or not radius < 2e-2 * unit:
            continue
        corner = fastest(solution, limit, name, estimate.of[name], 1e-3 * radius)
        before = orders(solution)

        def differs(factor, corner=corner, before=before, solution=solution, radius=radius):
            steps = {key: factor * radius * c for key, c in corner.items()}
            return orders(moved(solution, {name: steps})) != before

        low, high = 0.0, 2.0
        assert differs(high)
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if differs(middle) else (middle, high)
        # distances are linear up to how far numbers move, against their own scales
        assert abs(high - 1) <= 8 * radius / unit + 1e-6
        tried += 1
    assert tried >= 3


def test_no_perturbation_within_a_certified_radius_swaps_what_matters():
    rng = np.random.default_rng(0)
    tried = 0
    for seed in range(10):
        try:
            solution = clustered(seed)
        except es.RepeatedSpikeError:
            continue
        trust = es.trust_radius(solution, "spike_times")
        (radius,), (estimate,) = trust.certified, trust.first_order
        if not 0.0 < radius < 5e-6:
            continue
        assert radius <= estimate * (1 + 1e-3)
        n = solution.spikes["in"].n_spikes
        assert not changes_within(solution, radius)
        inside = {"spike_times": {"in": radius * rng.uniform(-1, 1, n)}}
        assert orders(moved(solution, inside)) == orders(solution)
        tried += 1
    assert tried >= 5
