"""A network in balls, part by part: its wiring, where a stream goes on, who comes first at one time, what is lost."""

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from mpmath import mp, mpf

import eventsolve as es
from eventsolve.certify import network
from eventsolve.certify.arithmetic import rational, working_precision
from eventsolve.certify.boxes import Numbers, Start, box_of
from eventsolve.certify.crossing import crossing_ahead
from eventsolve.certify.network import Wiring, enclose, went_on
from eventsolve.certify.neuron import Unproven

MS = 1e-3


def small(inputs=None, t_end=1 * MS):
    """Two inputs, a cycle of two populations that is solved after another one, and a readout."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LI(20 * MS, 5 * MS))
    net.add_population("a", 2, es.LIF(20 * MS, 5 * MS))
    net.add_population("b", 1, es.LIF(10 * MS, 5 * MS))
    net.add_population("first", 3, es.LIF(30 * MS, 5 * MS))
    net.add_input("aux", 1)
    net.connect(
        "in", "first", [[1.0, 0.0], [2.0, 3.0], [0.0, 4.0]], delay=[[3 * MS, 0], [1 * MS, 0], [0, 2 * MS]]
    )
    net.connect("first", "a", [[5.0, 0.0, 6.0], [7.0, 8.0, 0.0]], delay=1 * MS)
    net.connect("a", "b", [[9.0, 10.0]], synapse="delta")
    net.connect("b", "a", [[11.0], [0.0]], delay=0.0)
    net.connect("a", "out", [[12.0, 13.0]])
    net.connect("aux", "b", [[14.0]], delay=0.0)
    inputs = {"in": [[], []], "aux": [[]]} if inputs is None else inputs
    return es.solve(net, {name: es.SpikeTrains.from_lists([t]) for name, t in inputs.items()}, t_end)


def listed(wiring):
    """Bundles as plain numbers: (delay, level, ((cell, weight, delta), ...))."""
    synapses = wiring.box.synapses
    found = {}
    for source, bundles in wiring.bundles.items():
        for bundle in bundles:
            assert bundle.exact == rational(float(bundle.delay))
            for t in bundle.targets:
                assert synapses.target[t.synapse] == t.cell
                assert synapses.source[t.synapse] == source
                assert synapses.weight.middle[t.synapse] == float(t.weight)
        found[source] = [
            (float(b.delay), b.level, tuple((t.cell, float(t.weight), bool(t.delta)) for t in b.targets))
            for b in bundles
        ]
    return found


def test_a_bundle_is_what_a_source_sends_at_once_to_one_level():
    """Sources are in 0, 1, aux 2, out 3, a 4 and 5, b 6, first 7 to 9; cells out 0, a 1 and 2, b 3, first 4 to 6."""
    box = box_of(small())
    wiring = Wiring(box, everything=False)
    assert wiring.spiking == [False, True, True, True, True, True, True]
    levels = wiring.level_of_source
    assert len(levels) == 10
    assert levels[:3] == [-1, -1, -1]
    first, (cycle, out) = levels[7], sorted({levels[4], levels[3]})
    assert levels == [-1, -1, -1, out, cycle, cycle, cycle, first, first, first]
    assert 0 <= first < cycle < out
    assert listed(wiring) == {
        0: [(1 * MS, first, ((5, 2.0, False),)), (3 * MS, first, ((4, 1.0, False),))],
        1: [(0.0, first, ((5, 3.0, False),)), (2 * MS, first, ((6, 4.0, False),))],
        2: [(0.0, cycle, ((3, 14.0, False),))],
        4: [(0.0, cycle, ((3, 9.0, True),))],
        5: [(0.0, cycle, ((3, 10.0, True),))],
        6: [(0.0, cycle, ((1, 11.0, False),))],
        7: [(1 * MS, cycle, ((1, 5.0, False), (2, 7.0, False)))],
        8: [(1 * MS, cycle, ((2, 8.0, False),))],
        9: [(1 * MS, cycle, ((1, 6.0, False),))],
    }
    everything = listed(Wiring(box, everything=True))
    assert everything[4] == [(0.0, cycle, ((3, 9.0, True),)), (0.0, out, ((0, 12.0, False),))]
    assert everything[9] == [(1 * MS, cycle, ((1, 6.0, False), (2, 0.0, False)))]
    assert everything[6] == [(0.0, cycle, ((1, 11.0, False), (2, 0.0, False)))]
    n = sum(len(targets) for bundles in everything.values() for _, _, targets in bundles)
    assert n == box.synapses.source.size


def test_synapses_of_weight_0_that_vary_are_wired_and_those_to_readouts_are_not():
    box = box_of(small(), {"weight": 0.5})
    found = {
        (source, t.cell, float(t.weight.mid()), float(t.weight.rad()))
        for source, bundles in Wiring(box, everything=False).bundles.items()
        for bundle in bundles
        for t in bundle.targets
    }
    assert any(found_one[:3] == (0, 6, 0.0) and found_one[3] >= 0.5 for found_one in found)
    assert not [target for target in found if target[1] == 0]


def test_delays_that_vary_are_bundles_of_their_own_and_not_negative():
    box = box_of(small())
    radius = np.zeros_like(box.synapses.delay.radius)
    own = np.flatnonzero((box.synapses.source == 7) & (box.synapses.target == 2))
    radius[own] = 2 * MS
    radius[1] = 1 * MS  # of one without a delay
    synapses = replace(box.synapses, delay=Numbers(box.synapses.delay.middle, radius))
    wiring = Wiring(replace(box, synapses=synapses, exact=False), everything=True)
    alone, rest = sorted(wiring.bundles[7], key=lambda b: b.exact is not None)
    assert [t.synapse for t in alone.targets] == own.tolist()
    assert (alone.exact, rest.exact) == (None, rational(1 * MS))
    assert [t.cell for t in rest.targets] == [1]
    with working_precision(100):
        assert float(alone.delay.lower()) == pytest.approx(0.0, abs=1e-9)
        assert alone.delay >= 0 or alone.delay.lower() > -1e-9
        assert float(alone.delay.upper()) == pytest.approx(3 * MS, rel=1e-6, abs=0.0)
    # synapse 1 is its own, though it has the delay and the level of others, and those are one
    of_one = [
        b for b in wiring.bundles[int(box.synapses.source[1])] if any(t.synapse == 1 for t in b.targets)
    ]
    assert [[t.synapse for t in b.targets] for b in of_one] == [[1]]
    assert of_one[0].exact is None
    alike = [b for b in wiring.bundles[int(box.synapses.source[0])] if b.targets[0].synapse == 0]
    assert [(b.exact, b.level) for b in alike] == [(rational(0.0), of_one[0].level)]


# -- where a stream goes on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free_at", [-1.0, 2.5, 6.0])
def test_a_box_goes_on_with_what_the_middle_of_it_has_become(free_at):
    """From the last event on, held up to its release or to the start; by the radii of V and I, which are of then."""
    box = box_of(small())
    tau_mem, tau_syn, leak = 20.0, 5.0, 0.25
    n = box.n_cells

    def numbers(name, middle, radius):
        radii, values = box.parameters[name].radius.copy(), box.parameters[name].middle.copy()
        values[2], radii[2] = middle, radius
        return Numbers(values, radii)

    own = {"tau_mem": (tau_mem, 1.0), "tau_syn": (tau_syn, 1.0), "v_leak": (leak, 0.125)}
    own |= {"v_initial": (0.0, 2.0**-10), "i_initial": (0.0, 2.0**-12)}
    parameters = box.parameters | {name: numbers(name, *values) for name, values in own.items()}
    columns = np.full((5, n), 77.0)
    columns[:, 2] = 2.0, 0.75, -3.0, free_at, 0.0
    began, until = 2.0, 4.0
    box = replace(box, parameters=parameters, start={0: None, 1: Start(*columns)}, t_start=until, exact=False)
    with working_precision(120), mp.workdps(40):
        voltage, current, begin, release = went_on(box, 1, 2)
        held = min(max(free_at, began), until)
        s = mpf(until - held)
        m, y = mpf(tau_mem), mpf(tau_syn)
        i = -3 * mp.exp(-(mpf(held) - began) / y)
        v = mpf(leak) + mpf("0.75") * mp.exp(-s / m) + i * y / (y - m) * (mp.exp(-s / y) - mp.exp(-s / m))
        assert float(voltage.mid()) == pytest.approx(float(v), rel=1e-15, abs=0.0)
        assert float(current.mid()) == pytest.approx(float(-3 * mp.exp(-mpf(2) / y)), rel=1e-15, abs=0.0)
        assert float(voltage.rad()) == pytest.approx(2.0**-10, rel=1e-6, abs=0.0)
        assert float(current.rad()) == pytest.approx(2.0**-12, rel=1e-6, abs=0.0)
        assert (begin.key, release.key, release.low) == (until, free_at, 0.0)


# -- events ----------------------------------------------------------------------------------------------------------


def enclosed(solution, radii=None, **options):
    options = {"allow_undecided": True} | options
    return enclose(Wiring(box_of(solution, radii), everything=True), 0, 120, **options)


def one(weight, delay=0.0, *, size=1, t_ref=0.0, synapse="exponential"):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", size, es.LIF(20 * MS, 5 * MS, t_ref=t_ref))
    net.connect("in", "out", np.full((size, 1), weight), delay=delay, synapse=synapse)
    return net


def trains(*times):
    return {"in": es.SpikeTrains.from_lists([[list(times)]])}


@pytest.mark.parametrize("given", [0, 3])
def test_as_many_spikes_as_are_allowed_are_proven_and_not_one_more(given):
    """Those that are given do not count."""
    net = one(30.0)
    net.connect("out", "out", [[0.0]])
    solution = es.solve(net, trains(*(1 * MS + 1e-6 * k for k in range(given + 1))), 30 * MS)
    n = solution.spikes["out"].n_spikes
    assert n >= 2
    assert enclosed(solution, most_spikes=n).open == {}
    cut = enclosed(solution, most_spikes=n - 1)
    assert [(cell, why.question.name) for cell, (_, why) in cut.open.items()] == [(0, "RUNAWAY")]
    assert len(cut.spikes) - cut.n_given == n


def test_what_arrives_up_to_the_end_is_in_the_history_and_what_comes_behind_it_is_not():
    """And a little more, as far as spikes are sought: 2**-36 of the trial."""
    t_end = 10 * MS
    beyond = t_end * 2.0**-36
    times = [t_end, t_end + 0.5 * beyond, t_end + 2 * beyond, 2 * t_end]
    solution = es.solve(one(0.1, 5 * MS), trains(*(t - 5 * MS for t in times[:1])), t_end)
    for time, arrives in zip(times, (True, True, False, False), strict=True):
        box = box_of(solution)
        train = box.trains["in"]
        moved = {"in": replace(train, times=Numbers(np.array([time - 5 * MS]), np.zeros(1)))}
        found = enclose(Wiring(replace(box, trains=moved), everything=True), 0, 120, allow_undecided=False)
        assert bool(found.history) is arrives
    later = replace(box_of(solution), t_start=5 * MS)
    for time, arrives in ((t_end + 0.4 * beyond, True), (t_end + 0.6 * beyond, False)):
        moved = {"in": replace(later.trains["in"], times=Numbers(np.array([time - 5 * MS]), np.zeros(1)))}
        found = enclose(Wiring(replace(later, trains=moved), everything=True), 0, 120, allow_undecided=False)
        assert bool(found.history) is arrives


def named(box, event):
    """Over which projection something arrives, by its name, and from which source; None for a spike."""
    if event.synapse < 0:
        return None
    (key,) = [key for key, place in box.synapses.slices.items() if place.start <= event.synapse < place.stop]
    return key[2], int(box.synapses.source[event.synapse])


def test_at_one_time_what_was_sent_first_comes_first_and_then_inputs_and_populations_before():
    """All arrive at 4 ms, as jumps of V; sources are in 0 and 1, aux 2, a 4."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_input("aux", 1)
    net.add_population("b", 1, es.LIF(20 * MS, 5 * MS))
    net.add_population("a", 1, es.LIF(20 * MS, 5 * MS))
    net.connect("a", "b", [[0.125]], delay=1 * MS, synapse="delta", name="a")
    net.connect("aux", "b", [[0.25]], delay=2 * MS, synapse="delta", name="aux")
    net.connect("in", "b", [[0.25, 0.5]], delay=[[1 * MS, 2 * MS]], synapse="delta", name="in")
    net.connect("in", "a", [[2.0, 0.0]], delay=0.0, synapse="delta", name="trigger")
    inputs = {"in": [[3 * MS], [2 * MS]], "aux": [[2 * MS]]}
    solution = es.solve(net, {name: es.SpikeTrains.from_lists([t]) for name, t in inputs.items()}, 6 * MS)
    box, found = box_of(solution), enclosed(solution)
    assert found.open == {}
    assert [named(box, e) for e in found.history if e.cell == 0 and e.moment.key == 4 * MS] == [
        ("in", 1),
        ("aux", 2),
        ("in", 0),
        None,
        ("a", 4),
    ]
    # a spike that is triggered says by which arrival, and stands behind it
    for k, spike in enumerate(found.spikes):
        if spike.cell >= 0:
            assert found.history[spike.trigger].synapse >= 0
            assert found.history[spike.trigger].cell == spike.cell
            assert found.history[spike.trigger + 1][::2] == (spike.cell, k)


def test_within_a_cycle_arrivals_come_as_their_spikes_occurred_behind_those_of_inputs():
    """Three neurons that are triggered at one time, the last of them first; then what they send arrives at once.

    Something else that the last sends comes before, so that what comes now is the second of its bundles.
    """
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("n", 4, es.LIF(20 * MS, 5 * MS, t_ref=1.0))
    weights, delays = np.zeros((4, 3)), np.zeros((4, 3))
    weights[[2, 0, 1], [0, 1, 2]] = 2.0
    weights[3], delays[3] = 0.125, 1 * MS
    net.connect("in", "n", weights, delay=delays, synapse="delta", name="in")
    back, later = np.zeros((4, 4)), np.full((4, 4), 1 * MS)
    back[3, :3] = 0.125
    later[0, 2] = 0.5 * MS
    net.connect("n", "n", back, delay=later, synapse="delta", name="n")
    times = {"in": es.SpikeTrains.from_lists([[[2 * MS], [2 * MS], [2 * MS]]])}
    solution = es.solve(net, times, 5 * MS)
    box, found = box_of(solution), enclosed(solution)
    order = [spike.cell for spike in found.spikes if spike.cell >= 0]
    assert order == [2, 0, 1]
    assert sorted(order) == sorted(solution.spikes["n"].neurons.tolist())
    arrived = [named(box, e) for e in found.history if e.cell == 3]
    assert arrived == [*(("in", k) for k in range(3)), ("n", 5), ("n", 3), ("n", 4)]


def in_parts(net, inputs, cut, t_end):
    """A run that goes on from a cut, and the whole of it."""
    whole = es.solve(net, inputs, t_end)
    first = es.solve(net, {name: before(train, cut) for name, train in inputs.items()}, cut)
    rest = {name: before(train, cut, after=True) for name, train in inputs.items()}
    return whole, es.solve(net, rest, t_end, initial=first.final_state)


def before(train, cut, *, after=False):
    chosen = (train.times > cut) == after
    return es.SpikeTrains.from_arrays(
        train.times[chosen],
        train.neurons[chosen],
        train.samples[chosen],
        n_neurons=train.n_neurons,
        n_samples=train.n_samples,
    )


@pytest.mark.parametrize("cut", [2.5 * MS, 6 * MS, 9 * MS])
def test_a_stream_goes_on_with_what_is_held_and_what_is_on_its_way(cut):
    """Spikes of inputs and of the cycle itself; the same spikes are enclosed as of the whole."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 2, es.LIF(20 * MS, 5 * MS, v_leak=[0.25, -0.125], t_ref=[3 * MS, 0.0]))
    net.connect("in", "n", [[9.0, 0.0], [3.0, 6.0]], delay=[[1 * MS, 0.0], [4 * MS, 5 * MS]], name="in")
    net.connect("n", "n", [[0.0, 2.0], [5.0, 0.0]], delay=3 * MS, name="n")
    inputs = {"in": es.SpikeTrains.from_lists([[[0.5 * MS, 7 * MS], [2 * MS, 8 * MS]]])}
    whole, rest = in_parts(net, inputs, cut, 30 * MS)
    late = whole.spikes["n"].times > cut
    assert late.sum() > 2
    own = [s for s in enclosed(rest).spikes if s.cell >= 0]
    of_whole = [s for s in enclosed(whole).spikes if s.cell >= 0 and s.moment.key > cut]
    assert [s.cell for s in own] == [s.cell for s in of_whole]
    for a, b in zip(own, of_whole, strict=True):
        assert float(abs(a.moment.ball - b.moment.ball).upper()) < 1e-15
    assert es.certify(rest).proven
    # and V and I, which may be elsewhere as it goes on, move what comes then
    wide = [s for s in enclosed(rest, {"v_initial": 1e-6, "i_initial": 1e-6}).spikes if s.cell >= 0]
    first = {}
    for a, b in zip(wide, own, strict=True):
        assert a.moment.ball.contains(b.moment.ball.mid())
        first.setdefault(a.cell, float(a.moment.ball.rad()))
    assert all(1e-10 < radius < 1e-4 for radius in first.values())


def test_what_arrives_at_a_cut_in_some_networks_and_not_in_others_is_lost():
    """A spike on its way that may have arrived: whom it reaches is open from then on, and nobody else is."""
    net = one(0.3, 2 * MS, size=2)
    state = es.solve(net, trains(1 * MS), 3 * MS - 1e-6).final_state
    solution = es.solve(net, trains(), 10 * MS, initial=state)
    assert enclosed(solution, {"delay": 0.5e-6}).open == {}
    found = enclosed(solution, {"delay": {("in", "out"): np.array([[2e-6], [0.0]])}})
    assert [(cell, why.question.name) for cell, (_, why) in found.open.items()] == [(0, "DOUBTFUL_SOURCE")]
    (time, _) = found.open[0]
    assert time == pytest.approx(3 * MS - 2e-6, rel=1e-9, abs=0.0)


def with_times(box, times, radii):
    """The same box with other times of its input, one spike of each channel."""
    train = box.trains["in"]
    assert train.neurons.tolist() == list(range(len(times)))
    moved = replace(train, times=Numbers(np.array(times), np.array(radii)))
    return replace(box, trains=box.trains | {"in": moved}, exact=False)


def tied(t_end=10 * MS):
    """Two jumps of V, of which the first may be a spike; a current before and one behind; and who hears of it."""
    net = es.Network()
    net.add_input("in", 4)
    net.add_input("other", 1)
    net.add_population("c", 4, es.LIF(20 * MS, 5 * MS))
    net.add_population("out", 1, es.LI(20 * MS, 5 * MS))
    jumps, currents, hears = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    jumps[0, 1:3] = 1.2, -1.0
    currents[0, [0, 3]] = 0.1
    hears[1, 0] = 0.5
    net.connect("in", "c", jumps, synapse="delta", name="jumps")
    net.connect("in", "c", currents, name="currents")
    net.connect("other", "c", [[0.0], [30.0], [0.1], [0.0]], name="other")
    net.connect("c", "c", hears, delay=2 * MS, name="c")
    net.connect("c", "out", np.ones((1, 4)))
    inputs = {"in": [[1 * MS], [4 * MS], [4 * MS], [9 * MS]], "other": [[4 * MS]]}
    return es.solve(net, {name: es.SpikeTrains.from_lists([t]) for name, t in inputs.items()}, t_end)


def opened(box, *, everything=False):
    found = enclose(Wiring(box, everything=everything), 0, 120, allow_undecided=True)
    return found, {cell: (time, why.question.name) for cell, (time, why) in found.open.items()}


def test_whoever_hears_a_neuron_that_is_open_is_proven_up_to_then():
    box = box_of(tied())
    found, open_cells = opened(with_times(box, [1 * MS, 4 * MS, 4 * MS, 9 * MS], [0.0, 1e-6, 1e-6, 0.0]))
    # from then on, and the other two milliseconds later; what it did before that is proven
    assert open_cells == {
        0: (pytest.approx(4 * MS - 1e-6, rel=1e-9, abs=0.0), "TIE"),
        1: (pytest.approx(6 * MS - 1e-6, rel=1e-9, abs=0.0), "DOUBTFUL_SOURCE"),
    }
    spiked = [float(s.moment.ball) for s in found.spikes if s.cell == 1]
    assert len(spiked) == 2
    assert all(4 * MS < time < 6 * MS - 1e-6 for time in spiked)
    assert found.doubtful == {k for k, s in enumerate(found.spikes) if s.cell == 0}
    early, open_cells = opened(with_times(box, [1 * MS, 1.5 * MS, 1.5 * MS, 9 * MS], [0.0, 1e-6, 1e-6, 0.0]))
    assert open_cells[1] == (pytest.approx(3.5 * MS - 1e-6, rel=1e-9, abs=0.0), "DOUBTFUL_SOURCE")
    assert not [s for s in early.spikes if s.cell == 1]
    # with the tie decided nothing is open
    _, open_cells = opened(with_times(box, [1 * MS, 4.1 * MS, 4 * MS, 9 * MS], [0.0, 1e-6, 1e-6, 0.0]))
    assert open_cells == {}


def test_what_is_open_only_behind_the_end_is_of_no_concern():
    t_end = 10 * MS
    beyond = t_end * 2.0**-36
    box = box_of(tied())
    for tie, third, is_open in (
        (t_end + 0.5 * beyond, t_end + 0.9 * beyond, False),
        (t_end - 0.5 * beyond, t_end + 0.9 * beyond, True),
        (t_end + 0.05 * beyond, t_end + 0.9 * beyond, True),
    ):
        radius = 0.1 * beyond
        _, open_cells = opened(with_times(box, [1 * MS, tie, tie, third], [0.0, radius, radius, 0.0]))
        assert (0 in open_cells) is is_open


def test_of_what_is_open_the_first_is_raised_unless_it_may_stay_so():
    box = with_times(box_of(tied()), [1 * MS, 4 * MS, 4 * MS, 9 * MS], [0.0, 1e-6, 1e-6, 0.0])
    with pytest.raises(Unproven) as raised:
        enclose(Wiring(box, everything=False), 0, 120, allow_undecided=False)
    assert (raised.value.cell, raised.value.question.name) == (0, "TIE")


def test_synapses_of_weight_0_and_readouts_are_in_the_history_and_nothing_is_open_by_them():
    box = with_times(box_of(tied()), [1 * MS, 4 * MS, 4 * MS, 9 * MS], [0.0, 1e-6, 1e-6, 0.0])
    found, open_cells = opened(box, everything=True)
    assert open_cells == opened(box)[1]
    heard = [e for e in found.history if e.cell == 4]
    assert [box.synapses.source[e.synapse] for e in heard] == [
        5 + s.cell for s in found.spikes if s.cell >= 0
    ]
    assert sum(e.cell == 3 for e in found.history) > 0


NEVER = 1.0
"""Seconds, behind the end of every trial here."""


def hearing(tie, heard, t_end=10 * MS, *, jump=NEVER, current=NEVER, own_tie=(NEVER, 0.0)):
    """The box of a neuron 0 that makes no spike and is open from a tie (time, radius) on, and of 1, which hears it.

    That is over a synapse for each (delay, radius) of ``heard``. Besides, a jump of V that triggers a spike may arrive
    at 1, a current from which it spikes half a millisecond later, and a tie of its own, which is a spike in one order
    of the two.
    """
    net = es.Network()
    net.add_input("in", 6)
    net.add_population("c", 2, es.LIF(20 * MS, 5 * MS))
    jumps, currents = np.zeros((2, 6)), np.zeros((2, 6))
    jumps[0, :2] = jumps[1, 2:4] = -1.0, 1.2
    jumps[1, 4], currents[1, 5] = 2.0, 40.0
    net.connect("in", "c", jumps, synapse="delta", name="jumps")
    net.connect("in", "c", currents, name="currents")
    for k, (delay, _) in enumerate(heard):
        net.connect("c", "c", [[0.0, 0.0], [0.5, 0.0]], delay=delay, name=f"hears {k}")
    delays = {("c", "c", f"hears {k}"): radius for k, (_, radius) in enumerate(heard)}
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS]] * 6])}
    box = box_of(es.solve(net, inputs, t_end), {"delay": delays})
    columns = zip(tie, tie, own_tie, own_tie, (jump, 0.0), (current, 0.0), strict=True)
    return with_times(box, *map(list, columns))


def spikes_of(found, cell):
    return [k for k, spike in enumerate(found.spikes) if spike.cell == cell]


def test_a_spike_that_the_queue_overlooks_is_found_before_a_spike_that_is_lost():
    """And nothing of the neuron that may hear this from then on."""
    box = hearing((4 * MS, 1e-6), [(2 * MS, 0.0)], current=5 * MS)
    with mock.patch.object(network, "crossing_ahead", return_value=math.inf):
        found, open_cells = opened(box)
    (spike,) = spikes_of(found, 1)
    assert 5 * MS < found.spikes[spike].moment.key < 6 * MS - 1e-6
    assert open_cells[1] == (
        pytest.approx(found.spikes[spike].moment.key, rel=1e-12, abs=0.0),
        "DOUBTFUL_SOURCE",
    )
    assert spike not in found.doubtful


def test_of_a_neuron_that_is_open_no_spike_is_sought_as_another_is_lost():
    """It would spike half a millisecond after the first that is lost arrives, and does where it hears that later."""
    for delay, spikes in ((2 * MS, False), (5 * MS, True)):
        found, open_cells = opened(hearing((4 * MS, 1e-6), [(delay, 0.0), (5 * MS, 0.0)], current=5.9 * MS))
        assert bool(spikes_of(found, 1)) is spikes
        assert open_cells[1][1] == "DOUBTFUL_SOURCE"


@pytest.mark.parametrize("before", [False, True])
def test_a_neuron_is_open_from_where_what_it_hears_may_come_first(before):
    """From 6 ms to 10 ms; it spiked at 6.5 ms, up to which it is proven if all that it hears comes at 7 ms."""
    tie, first = (4 * MS, 1e-6), [(3 * MS, 0.0)]
    found, open_cells = opened(hearing(tie, first, jump=6.5 * MS))
    assert open_cells[1] == (6.5 * MS, "DOUBTFUL_SOURCE")
    assert found.doubtful == set()
    found, open_cells = opened(hearing(tie, first * before + [(4 * MS, 2 * MS)], jump=6.5 * MS))
    assert open_cells[1] == (pytest.approx(6 * MS - 1e-6, rel=1e-9, abs=0.0), "DOUBTFUL_SOURCE")
    assert found.doubtful == set(spikes_of(found, 1))
    assert len(found.doubtful) == 1


@pytest.mark.parametrize(("radius", "is_open"), [(0.05, False), (2.0, True)])
def test_a_neuron_that_is_open_only_behind_the_end_is_open_if_it_may_hear_something_before(radius, is_open):
    t_end = 10 * MS
    beyond = t_end * 2.0**-36
    own_tie = (t_end + 0.5 * beyond, 0.1 * beyond)
    box = hearing((4 * MS, radius * beyond), [(6 * MS + 0.9 * beyond, 0.0)], t_end, own_tie=own_tie)
    _, open_cells = opened(box)
    assert set(open_cells) == ({0, 1} if is_open else {0})


def alone(heard=NEVER, *, radius=0.0, until=None):
    """The box of one neuron with two inputs: one, within a radius, makes it spike, the other is of no account."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("c", 1, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "c", [[10.0, -0.01]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS], [2 * MS]]])}
    box = with_times(box_of(es.solve(net, inputs, 10 * MS)), [1 * MS, heard], [radius, 0.0])
    return box if until is None else replace(box, until=np.array([until]))


@pytest.mark.parametrize(
    ("heard", "after", "radius", "is_open"),
    [(NEVER, 1.1, 0.8, False), (2 * MS, 1.1, 0.8, False), (NEVER, 0.5, 2.0, True)],
)
def test_a_spike_that_may_come_behind_all_that_is_asked_is_of_no_concern(heard, after, radius, is_open):
    """Nor that it may not: it is behind the end, but perhaps not so far behind it as spikes are sought."""
    found, _ = opened(alone(heard))
    crossing = found.spikes[spikes_of(found, 0)[0]].moment.key
    beyond = crossing * 2.0**-36
    until = crossing - after * beyond
    assert 2 * MS < until < 10 * MS
    _, open_cells = opened(alone(heard, radius=radius * beyond, until=until))
    assert bool(open_cells) is is_open


def test_what_is_heard_at_the_end_itself_is_not_taken_to_be_behind_it():
    """A neuron that is then open stays so: more than need be, never less."""
    found, _ = opened(alone())
    last = found.spikes[spikes_of(found, 0)[0]].moment.key
    beyond = last * 2.0**-36
    until = last - 1.1 * beyond
    _, open_cells = opened(alone(until, radius=0.8 * beyond, until=until))
    assert open_cells == {0: (until, "GRAZING")}


def test_what_no_arrival_triggers_is_marked_as_such_and_so_is_what_is_given():
    """And a spike that is found only as something arrives behind it is neither behind that nor triggered by it."""
    for guess in (network.crossing_ahead, lambda *numbers: math.inf):
        with mock.patch.object(network, "crossing_ahead", guess):
            found, _ = opened(alone(5 * MS))
        assert [spike[::2] for spike in found.spikes[:3]] == [(-1, -1), (-1, -1), (0, -1)]
        assert [(e.spike, e.synapse) for e in found.history[:3]] == [(0, 0), (2, -1), (1, 1)]


# -- which crossing comes first ----------------------------------------------------------------------------------------


def racing(*thresholds, edges=(), heard=(), t_end=20 * MS):
    """The solution of neurons that an input at 16 ms makes spike within a millisecond, each at its threshold.

    Over ``edges`` (source, target) they end that at once. Another one hears an input at each time in ``heard``, and the
    rest.
    """
    net = es.Network()
    net.add_input("in", 1 + len(heard))
    net.add_population("n", len(thresholds) + 1, es.LIF(20 * MS, 5 * MS, v_threshold=[*thresholds, 9.0]))
    weights = np.zeros((len(thresholds) + 1, 1 + len(heard)))
    weights[:-1, 0], weights[-1, 1:] = 30.0, 0.25
    net.connect("in", "n", weights, name="in")
    back = np.zeros((len(thresholds) + 1,) * 2)
    back[-1, :-1] = 0.25
    for source, target in edges:
        back[target, source] = -60.0
    net.connect("n", "n", back, name="n")
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[16 * MS], *([time] for time in heard)]])}, t_end)


def first_spikes(found):
    first = {}
    for spike in found.spikes[found.n_given :]:
        first.setdefault(spike.cell, spike.moment)
    return first


@pytest.fixture(scope="module")
def around():
    """Two thresholds, at which V is just before and just after a float64 time; and that time."""
    thresholds = [1.0 + k * 2.0**-52 for k in range(40)]
    moments = first_spikes(opened(box_of(racing(*thresholds)))[0])
    pairs = zip(range(39), range(1, 40), strict=True)
    at_one = (i for i, j in pairs if moments[i].low < 0 < moments[j].low and moments[i].key == moments[j].key)
    k = next(at_one)
    return thresholds[k], thresholds[k + 1], moments[k].key


def test_of_what_comes_at_one_float64_time_the_first_is_taken_first(around):
    """Two crossings, the second of the neuron that is looked at first, and something else between them."""
    before, after, time = around
    box = box_of(racing(after, before, edges=[(1, 0)], heard=[time, time + 1 * MS]))
    found, open_cells = opened(box)
    assert open_cells == {}
    first = first_spikes(found)
    assert set(first) == {1}
    assert (first[1].key, first[1].low < 0) == (time, True)


def test_a_crossing_that_is_known_is_taken_before_one_that_seems_to_be_at_its_float64_time(around):
    before, after, _ = around

    def guess(excess, current, level, *taus):
        return 0.0 if level == before and current > 0.0 else crossing_ahead(excess, current, level, *taus)

    with mock.patch.object(network, "crossing_ahead", guess):
        found, open_cells = opened(box_of(racing(before, after, edges=[(0, 1)], heard=[16.25 * MS])))
    assert open_cells == {}
    assert set(first_spikes(found)) == {0}


def test_neurons_that_are_equal_spike_at_one_time(around):
    _, after, time = around
    found, open_cells = opened(box_of(racing(after, after)))
    assert open_cells == {}
    first = first_spikes(found)
    assert (first[0].key, first[0].low) == (first[1].key, first[1].low)
    assert first[0].key == time
    heard = [found.spikes[e.spike] for e in found.history if e.cell == 2]
    assert [(s.cell, s.moment.key) for s in heard[:2]] == [(0, time), (1, time)]


@pytest.mark.parametrize("seems", ["at the last", "unclear"])
def test_a_crossing_is_found_in_its_turn_though_float64_sees_it_at_the_last_or_nowhere(seems):
    """It keeps another neuron from a spike that float64 overlooks."""
    t_end = 20 * MS
    horizon = t_end + network.BEYOND * t_end

    def guess(excess, current, level, *taus):
        if level > 1.0 or current <= 0.0:
            return math.inf
        return math.nan if seems == "unclear" else horizon - 16 * MS

    with mock.patch.object(network, "crossing_ahead", guess):
        found, open_cells = opened(box_of(racing(1.125, 1.0, edges=[(1, 0)], t_end=t_end)))
    assert open_cells == {}
    assert set(first_spikes(found)) == {1}


# -- constants ---------------------------------------------------------------------------------------------------------


def test_a_refractory_period_that_varies_is_not_negative():
    """Each spike comes as long after the one before as without it, or up to so much later."""
    net = es.Network()
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS, v_leak=2.0, t_ref=2.0**-20))
    solution = es.solve(net, {}, 40 * MS)
    first, second = (s.moment.ball for s in enclosed(solution, {"t_ref": 2.0**-19}).spikes[:2])
    least, most = (float(of) for of in ((second - first).lower(), (second - first).upper()))
    without = 20 * MS * math.log(2.0)
    assert least == pytest.approx(without, rel=0.0, abs=2.0**-24)
    assert most == pytest.approx(without + 3 * 2.0**-20, rel=0.0, abs=2.0**-24)


def test_ten_thousand_spikes_are_proven_unless_told_otherwise_and_not_one_more():
    solution = es.solve(one(2.0, size=10_001, synapse="delta"), trains(1 * MS), 2 * MS)
    found = enclose(Wiring(box_of(solution), everything=False), 0, 64, allow_undecided=True)
    assert [(cell, why.question.name) for cell, (_, why) in found.open.items()] == [(10_000, "RUNAWAY")]


CROSSES = 0.0038262517554583106
"""When a neuron of 20 and 5 ms crosses after a weight of 10 at 1 ms, if it hears nothing else."""


def each_once(*times):
    return {"in": es.SpikeTrains.from_lists([[[t] for t in times]])}


@pytest.mark.parametrize(("hears", "is_there"), [(-0.5, False), (0.0, True)])
def test_what_hears_a_neuron_that_is_open_behind_the_end_is_not_proven_there(hears, is_there):
    """A spike just behind t_end, which float64 may take for one before, was proven of who hears of a tie before it."""
    t_end = CROSSES - 0.5 * CROSSES * network.BEYOND
    beyond = t_end * network.BEYOND
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("x", 1, es.LIF(20 * MS, 5 * MS))
    net.add_population("z", 1, es.LIF(20 * MS, 5 * MS))
    net.connect(
        "in", "x", [[-1.0, 1.2, 0.0]], synapse="delta", delay=t_end + 0.2 * beyond - MS
    )  # it has a tie a fifth of the way behind t_end
    net.connect("in", "z", [[0.0, 0.0, 10.0]])
    net.connect("x", "z", [[hears]], synapse="delta")
    solution = es.solve(net, each_once(MS, MS, MS), t_end)
    times = {"spike_times": {"in": np.array([0.05 * beyond, 0.05 * beyond, 0.0])}}
    assert es.certify(solution, radii=times).proven  # up to t_end nothing is open
    claimed = {"z": es.SpikeTrains.from_lists([[[t_end]]])}
    proof = es.certify(solution, radii=times, spikes=claimed, tolerance=1e-12)
    assert proof.proven is is_there
    if not is_there:  # a network of the box: x spikes first, and z much later
        early = each_once(MS + 0.025 * beyond, MS - 0.025 * beyond, MS)
        assert es.solve(net, early, 2 * t_end).spikes["z"].times[0] > 1.5 * t_end


END = 10 * MS
BEHIND = END * network.BEYOND
"""How far behind the end spikes are sought."""


def chained(tie, first=0.5, *, back=0.0, lifts=(NEVER, NEVER), peak=NEVER, heights=(0.0, 0.0)):
    """The box of neurons 0 -> 1 -> 2 that hear each other at once, and of 3, which hears 1 and is heard by nobody.

    0 has a tie (time, radius), and makes no spike in the order of the middle; 1, and 2 with 3, are lifted above their
    threshold at the times of ``lifts``, and 1 may hear 2 ``back`` at once. A current of the weight (middle, radius) of
    ``heights`` arrives at 1 at the time of ``peak``.
    """
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("c", 4, es.LIF(20 * MS, 5 * MS))
    jumps, currents, radius, hears = np.zeros((4, 5)), np.zeros((4, 5)), np.zeros((4, 5)), np.zeros((4, 4))
    jumps[0, :2] = -1.0, 1.2
    jumps[1, 2] = jumps[2, 3] = jumps[3, 3] = 2.0
    currents[1, 4], radius[1, 4] = heights
    hears[1, 0], hears[2, 1], hears[3, 1], hears[1, 2] = first, 0.1, 0.1, back
    net.connect("in", "c", jumps, synapse="delta", name="jumps")
    net.connect("in", "c", currents, name="currents")
    net.connect("c", "c", hears, synapse="delta", name="c")
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS]] * 5])}
    box = box_of(es.solve(net, inputs, END), {"weight": {("in", "c", "currents"): radius}})
    columns = zip(tie, tie, (lifts[0], 0.0), (lifts[1], 0.0), (peak, 0.0), strict=True)
    return with_times(box, *map(list, columns))


def at(part):
    return END + part * BEHIND


def cells_of(found):
    return [spike.cell for spike in found.spikes[found.n_given :]]


def test_what_comes_behind_the_end_of_who_hears_an_open_neuron_is_not_proven_as_far_as_it_is_heard():
    """Of 1, of which it may come later or not at all, and so of 2 and 3; nothing is open up to the end."""
    tie = at(0.2), 0.01 * BEHIND
    found, open_cells = opened(chained(tie, lifts=(at(0.5), at(0.7))))
    assert (cells_of(found), open_cells) == ([], {})
    unheard, open_cells = opened(chained(tie, first=0.0, lifts=(at(0.5), at(0.7))))
    assert (cells_of(unheard), unheard.doubtful, open_cells) == ([1, 2, 3], set(), {})


def test_what_comes_before_the_last_event_of_an_open_neuron_is_none_of_its_doing():
    """It is proven up to there: 1 spikes before, and 2 and 3 before it, or behind and may hear of 1 till then."""
    tie = at(0.5), 0.01 * BEHIND
    for second, there in ((0.7, [1]), (0.3, [1, 2, 3])):
        found, open_cells = opened(chained(tie, lifts=(at(0.1), at(second))))
        assert (cells_of(found), found.doubtful, open_cells) == (there, set(), {})


def test_what_is_lost_behind_the_end_goes_round_a_loop_without_delay_once():
    found, open_cells = opened(chained((at(0.2), 0.01 * BEHIND), back=0.1, lifts=(at(0.1), at(0.5))))
    assert (cells_of(found), found.doubtful, open_cells) == ([1], set(), {})


def test_who_is_open_before_the_end_is_not_taken_for_proven_as_it_is_reached_behind():
    """A peak at the threshold for some weights: nothing happens there, so that it is looked at only then."""
    tau_m, tau_s = 20 * MS, 5 * MS
    peak = tau_m * tau_s / (tau_m - tau_s) * math.log(tau_m / tau_s)
    grazing = (tau_m - tau_s) / tau_s / (math.exp(-peak / tau_m) - math.exp(-peak / tau_s))
    for off, is_open in ((0.0, True), (-0.01 * grazing, False)):
        heights = grazing + off, 1e-6 * grazing
        box = chained((at(0.6), 0.01 * BEHIND), peak=0.5 * MS, heights=heights)
        _, open_cells = opened(box)
        assert (1 in open_cells) is is_open
