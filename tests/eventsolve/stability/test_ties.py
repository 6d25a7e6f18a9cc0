"""Events that float64 puts at one time: their order is that of the exact sums of the given numbers.

The truth here is :mod:`fractions`: every float64 is a fraction, and so is every sum of them.
"""

from fractions import Fraction

import numpy as np
import pytest
from cuts import solved_in_pieces
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve import multiprecision

GRID = 59
"""All pairs of times of a ms and b ms later, of which both are at most so many ms."""
PAIRS = [(a, b) for a in range(1, GRID) for b in range(1, GRID) if a + b <= GRID]


def ms(k):
    return k / 1000


def exact(*times):
    return sum((Fraction(t) for t in times), Fraction(0))


def by_pairs(trains):
    """Return the number of spikes of every pair: sample a - 1, neuron b - 1."""
    counts = trains.counts()
    return np.array([counts[a - 1, b - 1] for a, b in PAIRS])


def trains_of(times):
    """Return trains with ``times(a, b)`` for each pair, (sample a - 1, neuron b - 1)."""
    return es.SpikeTrains.from_lists(
        [[times(a, b) if a + b <= GRID else [] for b in range(1, GRID)] for a in range(1, GRID)]
    )


def refractory():
    """Neuron b - 1 is held for b ms, and its own input lifts it at a ms and at a + b ms."""
    net = es.Network()
    net.add_input("in", GRID - 1)
    net.add_population("out", GRID - 1, es.LIF(20e-3, 5e-3, t_ref=[ms(b) for b in range(1, GRID)]))
    net.connect("in", "out", 2.0 * np.eye(GRID - 1), synapse="delta")
    return net, {"in": trains_of(lambda a, b: [ms(a), ms(a + b)])}


def delayed():
    """What lifts neuron b - 1 sets out at a ms and takes b ms; what holds it down comes at a + b ms."""
    net = es.Network()
    net.add_input("up", GRID - 1)
    net.add_input("down", GRID - 1)
    net.add_population("out", GRID - 1, es.LIF(20e-3, 5e-3))
    one = np.eye(GRID - 1)
    net.connect("up", "out", 1.5 * one, delay=np.diag([ms(b) for b in range(1, GRID)]), synapse="delta")
    net.connect("down", "out", -one, synapse="delta")
    return net, {
        "up": trains_of(lambda a, b: [ms(a)]),
        "down": trains_of(lambda a, b: [ms(a + b)]),
    }


CASES = {
    # two spikes where the second input does not come before the release
    refractory: lambda a, b: 2 if exact(ms(a + b)) >= exact(ms(a), ms(b)) else 1,
    # one spike where what lifts comes first; at one time that was sent first
    delayed: lambda a, b: 1 if exact(ms(a), ms(b)) <= exact(ms(a + b)) else 0,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_all_pairs_of_times_on_a_grid_of_milliseconds_are_in_their_exact_order(case):
    net, inputs = case()
    solution = es.solve(net, inputs, ms(GRID + 1))
    wanted = np.array([CASES[case](a, b) for a, b in PAIRS])
    np.testing.assert_array_equal(by_pairs(solution.spikes["out"]), wanted)
    assert solution.warnings == ()
    # how often rounded sums would have failed: they equal the grid's time, or miss it
    rounded = {
        refractory: lambda a, b: 2 if ms(a + b) >= ms(a) + ms(b) else 1,
        delayed: lambda a, b: 1 if ms(a) + ms(b) <= ms(a + b) else 0,
    }[case]
    wrong = np.array([rounded(a, b) for a, b in PAIRS]) != wanted
    assert (len(PAIRS), wrong.sum()) == (1711, 374)
    # multiprecision and certificates say the same of samples with many of these
    some = np.argsort(-np.bincount([a - 1 for (a, _), w in zip(PAIRS, wrong, strict=True) if w]))[:3].tolist()
    few = {name: trains.select(some) for name, trains in inputs.items()}
    truth = multiprecision.solve(net, few, ms(GRID + 1)).to_spiketrains("out")
    np.testing.assert_array_equal(truth.counts(), solution.spikes["out"].select(some).counts())
    assert es.certify(es.solve(net, few, ms(GRID + 1))).proven


@pytest.mark.parametrize("synapse", ["delta", "exponential"])
def test_an_arrival_at_the_end_is_in_one_of_two_pieces(synapse):
    """It is in the first if the exact sum of when it was sent and its delay does not exceed the end."""
    net = es.Network()
    net.add_input("in", GRID - 1)
    net.add_population("out", GRID - 1, es.LIF(20e-3, 5e-3))
    delay = np.diag([ms(b) for b in range(1, GRID)])
    net.connect("in", "out", 2.0 * np.eye(GRID - 1), delay=delay, synapse=synapse)
    early = 0
    for a in (1, 3, 8):
        for b in range(1, 40):
            inputs = {
                "in": es.SpikeTrains.from_lists([[[ms(a)] if n == b - 1 else [] for n in range(GRID - 1)]])
            }
            end = ms(a) + ms(b)
            first = es.solve(net, inputs, end)
            nothing = {"in": es.SpikeTrains.from_lists([[[]] * (GRID - 1)])}
            second = es.solve(net, nothing, ms(GRID), initial=first.final_state)
            arrived = exact(ms(a), ms(b)) <= exact(end)
            early += not arrived
            if synapse == "delta":
                counts = [s.spikes["out"].n_spikes for s in (first, second)]
                assert counts == [int(arrived), int(not arrived)]
            else:
                assert first.current("out", [end])[0, b - 1, 0] == (2.0 if arrived else 0.0)
                assert second.current("out", [end])[0, b - 1, 0] == 2.0
    assert early > 20


def chain(delays, *, loop):
    """Return populations, or neurons of one that is a loop, each of which spikes when the one before it has."""
    net = es.Network()
    net.add_input("in", 2)
    n = len(delays)
    if loop:
        net.add_population("relay", n, es.LIF(20e-3, 5e-3))
        net.connect("in", "relay", [[2.0, 0.0]] + [[0.0, 0.0]] * (n - 1), delay=delays[0], synapse="delta")
        ring, wait = np.zeros((n, n)), np.zeros((n, n))
        for k in range(1, n):
            ring[k, k - 1], wait[k, k - 1] = 2.0, delays[k]
        net.connect("relay", "relay", ring, delay=wait, synapse="delta")
        return net, "relay", n - 1
    before, neuron = "in", [[2.0, 0.0]]
    for k, delay in enumerate(delays):
        net.add_population(f"relay {k}", 1, es.LIF(20e-3, 5e-3))
        net.connect(before, f"relay {k}", neuron, delay=delay, synapse="delta")
        before, neuron = f"relay {k}", [[2.0]]
    return net, before, 0


@st.composite
def routes(draw):
    """Two routes that take as long on a grid, one by way of relays: numbers of steps, and the grid in seconds."""
    steps = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    start = draw(st.integers(0, 30))
    cut = draw(st.integers(0, sum(steps)))
    return start, steps, cut, draw(st.sampled_from([1e-3, 1e-4, 0.7e-3])), draw(st.booleans())


@settings(deadline=None, max_examples=60)
@given(routes())
def test_a_chain_of_spikes_arrives_in_the_exact_order_of_its_sums(route):
    """A neuron hears a chain that lifts it and an input that holds it down, at one time but for rounding."""
    start, steps, cut, grid, loop = route
    net, last, relay = chain([k * grid for k in steps], loop=loop)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    n = net.population(last).size
    lift = np.zeros((1, n))
    lift[0, relay] = 1.5
    net.connect(last, "out", lift, synapse="delta")
    other = (start + sum(steps) - cut) * grid
    net.connect("in", "out", [[0.0, -1.0]], delay=cut * grid, synapse="delta")
    inputs = {"in": es.SpikeTrains.from_lists([[[start * grid], [other]]])}
    t_end = (start + sum(steps) + 1) * grid
    solution = es.solve(net, inputs, t_end)
    chained = exact(start * grid, *(k * grid for k in steps))
    direct = exact(other, cut * grid)
    # at exactly one time the spike acts first that was sent first
    first = chained < direct or (chained == direct and chained < exact(other))
    if chained != direct or chained != exact(other):
        assert solution.spikes["out"].n_spikes == first
    assert (
        solution.spikes["out"].n_spikes
        == multiprecision.solve(net, inputs, t_end).to_spiketrains("out").n_spikes
    )
    assert es.certify(solution).proven
    assert solution.spikes[last].times[-1] == float(chained)
    assert solution.warnings == ()
    # the whole chain moves with the spike that it began with
    cotangent = np.zeros(solution.spikes[last].n_spikes)
    cotangent[-1] = 1.0
    np.testing.assert_array_equal(es.vjp(solution, {last: cotangent}).spike_times["in"][:1], [1.0])
    # cut where float64 says that all of it happens
    pieces = solved_in_pieces(net, inputs, [float(chained), t_end])
    assert sum(p.spikes["out"].n_spikes for p in pieces) == solution.spikes["out"].n_spikes


def test_what_a_spike_takes_longer_than_float64_can_add_is_not_lost():
    """1e-25 s is 2^-45 of what float64 resolves at 10 ms: the order of two arrivals is still that of their sums."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[1.5, -1.0], [1.5, -1.0]], delay=[[1e-25, 0.0], [0.0, 1e-25]], synapse="delta")
    inputs = {"in": es.SpikeTrains.from_lists([[[10e-3], [10e-3]]])}
    solution = es.solve(net, inputs, 20e-3)
    assert solution.spikes["out"].neurons.tolist() == [1]
    assert multiprecision.solve(net, inputs, 20e-3).to_spiketrains("out").neurons.tolist() == [1]
    assert es.certify(solution).proven


# -- computed times ---------------------------------------------------------------------------------------------------


def twins(**options):
    """Return a network of two neurons alike, "a" and "b", of which both cross at one time, and their inputs."""
    net = es.Network()
    net.add_input("in", 1)
    for name in "ab":
        net.add_population(name, 1, es.LIF(20e-3, 5e-3, **options))
        net.connect("in", name, [[8.0]])
    return net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}


def hindered():
    net, inputs = twins()
    net.connect("a", "b", [[-40.0]])
    return net, inputs, "b", "its own threshold crossing"


def lifted_and_held_down():
    net, inputs = twins()
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("a", "out", [[1.5]], delay=1e-3, synapse="delta")
    net.connect("b", "out", [[-1.0]], delay=1e-3, synapse="delta")
    return net, inputs, "out", "another arrival"


def released():
    net, inputs = twins(t_ref=2e-3)
    net.connect("a", "b", [[2.0]], delay=2e-3, synapse="delta", name="late")
    return net, inputs, "b", "the end of its refractory period"


@pytest.mark.parametrize("case", [hindered, lifted_and_held_down, released], ids=lambda case: case.__name__)
def test_a_tie_of_computed_times_whose_order_matters_is_a_warning(case):
    net, inputs, population, event = case()
    solution = es.solve(net, inputs, 20e-3)
    (tie, *_) = solution.warnings
    assert (tie.population, tie.sample, tie.neuron, tie.event) == (population, 0, 0, event)
    assert abs(tie.arrival - tie.time) < 1e-15
    assert "too close for float64 to tell their order" in str(tie)
    certificate = es.certify(solution)
    assert not certificate.proven
    assert not certificate.refuted


def harmless_order():
    """What comes with a crossing does not hinder it, and currents have no order."""
    net, inputs = twins()
    net.connect("a", "b", [[-0.5]])
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("a", "out", [[1.5]], delay=1e-3)
    net.connect("b", "out", [[-1.0]], delay=1e-3)
    return net, inputs


def one_root():
    """A spike is back as its neuron is released, exactly."""
    net, inputs = twins(t_ref=2e-3)
    net.connect("b", "b", [[1.5]], delay=2e-3, synapse="delta")
    return net, inputs


@pytest.mark.parametrize("case", [harmless_order, one_root], ids=lambda case: case.__name__)
def test_a_tie_whose_order_is_known_or_does_not_matter_is_none(case):
    net, inputs = case()
    solution = es.solve(net, inputs, 20e-3)
    assert solution.spikes["b"].n_spikes
    assert solution.warnings == ()


def test_a_spike_that_is_back_as_its_neuron_is_released_is_certified():
    net, inputs = one_root()
    solution = es.solve(net, inputs, 20e-3)
    assert es.certify(solution).proven
    truth = multiprecision.solve(net, inputs, 20e-3)
    assert solution.spikes["b"].n_spikes == truth.to_spiketrains("b").n_spikes > 1
