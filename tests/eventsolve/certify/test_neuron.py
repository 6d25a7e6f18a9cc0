"""One neuron whose arrivals come at times that are balls: what is proven of it holds in whatever order they come."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from flint import arb

import eventsolve as es
from eventsolve.certify.arithmetic import at_time, ball, later, rational, rooted, working_precision
from eventsolve.certify.membrane import Held, rates_of
from eventsolve.certify.neuron import Cell, Constants, Question, Unproven

CORNERS = 16


def drawn(rng):
    """A neuron near its threshold, with arrivals near each other, near its releases and near its crossings."""
    tau_syn = float(rng.choice([5e-3, 20e-3, 2e-3]))
    neuron = es.LIF(
        20e-3,
        tau_syn,
        v_leak=float(rng.choice([0.0, 0.5, 1.3, -0.5])),
        v_reset=float(rng.choice([0.0, -0.5, 0.7])),
        v_initial=float(rng.choice([0.0, 0.9, -1.0])),
        i_initial=float(rng.choice([0.0, 1.0, -1.0])),
        t_ref=float(rng.choice([0.0, 1e-3, 2e-3])),
        reset=str(rng.choice(["value", "subtract"])),
    )
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("out", 1, neuron)
    kinds = rng.random(4) < 0.5
    size = 20e-3 / tau_syn
    weights = np.where(
        kinds, rng.choice([-0.4, 0.1, 0.3, 0.6, 1.1], 4), size * rng.choice([-0.5, 0.2, 1.0, 2.0], 4)
    )
    net.connect("in", "out", np.where(kinds, 0.0, weights)[None, :])
    net.connect("in", "out", np.where(kinds, weights, 0.0)[None, :], synapse="delta", name="jump")
    radius = float(rng.choice([1e-6, 2e-5, 2e-4, 1e-3]))
    first = rng.choice([1e-3, 4e-3], 4) + radius * rng.choice([0.0, 0.5, 1.5, 4.0], 4)
    t_ref = float(np.asarray(neuron.t_ref))
    first = first + rng.choice([0.0, t_ref], 4)
    return net, np.maximum(first, radius), radius


def corners(rng, times, radius):
    """Trains with every spike anywhere in its ball, most at one end; the first sample is the middle."""
    moved = times + radius * rng.choice([-1.0, 1.0, 0.999, -0.999, 0.3], (CORNERS, 4))
    moved[0] = times
    return es.SpikeTrains.from_lists([[[t] for t in sample] for sample in moved.tolist()])


@pytest.mark.parametrize("seed", range(3))
def test_what_is_proven_of_a_neuron_holds_wherever_its_arrivals_are_in_their_balls(seed):
    rng, outcomes = np.random.default_rng(seed), Counter()
    for _ in range(100):
        net, times, radius = drawn(rng)
        trains = corners(rng, times, radius)
        try:
            all_of_them = es.solve(net, {"in": trains}, 12e-3, threads=1)
            middle = es.solve(net, {"in": trains.select([0])}, 12e-3, threads=1)
        except es.RepeatedSpikeError as error:
            middle, all_of_them = None, error
        if middle is None:
            outcomes["twice at one time"] += 1
            continue
        certificate = es.certify(middle, radii={"spike_times": radius})
        assert not certificate.refuted
        if not certificate.proven:
            outcomes["open"] += 1
            continue
        (m, r), spikes = certificate.spike_times["out"], all_of_them.spikes["out"]
        for sample in range(CORNERS):
            theirs = spikes.times[spikes.samples == sample]
            assert theirs.size == m.size
            assert (np.abs(theirs - m) <= r + certificate.tolerances["out"]).all()
        outcomes["spikes" if m.size else "silent"] += 1
    assert outcomes["spikes"] >= 10
    assert outcomes["silent"] >= 10
    assert outcomes["open"] >= 10


# -- one step at a time --------------------------------------------------------------------------------------------

ROOTS = itertools.count(1)
MS = 1e-3


@pytest.fixture
def precision():
    with working_precision(100):
        yield


def neuron(
    *,
    leak=0.0,
    voltage=0.0,
    current=0.0,
    tau_mem=20 * MS,
    tau_syn=5 * MS,
    reset=0.0,
    t_ref=0.0,
    subtracts=False,
    free_at=0.0,
):
    """A cell with a threshold of 1, and a list that its spikes go to."""
    rates = rates_of(ball(tau_mem), ball(tau_syn))
    constants = Constants(rates, ball(1.0), ball(reset), ball(leak), ball(t_ref), rational(t_ref), subtracts)
    start, spikes = at_time(0.0), []
    cell = Cell(
        0,
        constants,
        Held(rates, ball(leak), start.ball, ball(current), True),
        start,
        at_time(free_at),
        ball(voltage),
        lambda _, moment, triggered: spikes.append((moment, triggered)),
        ROOTS,
    )
    return cell, spikes


def between(low, high):
    """A time that is known to lie between two."""
    return rooted(arb(low).union(arb(high)), next(ROOTS))


def course(t, arrivals, *, leak=0.0, voltage=0.0, current=0.0, tau_mem=20 * MS, tau_syn=5 * MS):
    """V of a neuron at a time, of arrivals at times that are numbers: (time, weight, whether it is a jump)."""

    def k(s):
        return tau_syn / (tau_syn - tau_mem) * (math.exp(-s / tau_syn) - math.exp(-s / tau_mem))

    v = leak + (voltage - leak) * math.exp(-t / tau_mem) + current * k(t)
    return v + sum(
        w * (math.exp(-(t - at) / tau_mem) if jump else k(t - at)) for at, w, jump in arrivals if at <= t
    )


def crosses(until, arrivals, **numbers):
    """Whether V reaches 1 up to a time."""
    return max(course(t, arrivals, **numbers) for t in np.linspace(0.0, until, 4001).tolist()) >= 1.0


def assert_open(cell, arrivals, question=Question.TIE):
    """The last of some arrivals leaves a question open, and none before."""
    *before, last = arrivals
    for moment, weight, jump in before:
        cell.receive(moment, ball(weight), jump)
    with pytest.raises(Unproven) as why:
        cell.receive(last[0], ball(last[1]), last[2])
    assert why.value.question is question
    return why.value


@pytest.mark.usefixtures("precision")
class TestSettle:
    def test_a_neuron_is_settled_up_to_where_a_time_may_be_first(self):
        cell, spikes = neuron(current=8.0)
        crossing = cell.next_spike(at_time(0.1)).key
        for low, high, n in ((1e-6, 3e-6, 1), (-3e-6, -1e-6, 0), (-1e-6, 1e-6, 0), (-1e-6, 3e-6, 0)):
            cell, spikes = neuron(current=8.0)
            cell.settle(between(crossing + low, crossing + high))
            assert [moment.key for moment, _ in spikes] == [crossing] * n
            # and of one whose crossing is known already, whether it comes before is asked
            cell, spikes = neuron(current=8.0)
            assert cell.next_spike(at_time(0.1)).key == crossing
            until = between(crossing + low, crossing + high)
            if low < 0 < high:
                with pytest.raises(Unproven) as why:
                    cell.settle(until)
                assert why.value.question is Question.TIE
            else:
                cell.settle(until)
            assert [moment.key for moment, _ in spikes] == [crossing] * n
        # and what comes about as it crosses is refused
        assert_open(cell, [(between(crossing - 1e-6, crossing + 1e-6), 0.1, False)])

    def test_a_cell_that_starts_held_is_held_until_its_release(self):
        cell, spikes = neuron(voltage=0.9, current=8.0, free_at=2 * MS)
        assert cell.membrane is None
        cell.settle(at_time(1 * MS))
        assert cell.membrane is None
        cell.settle(at_time(50 * MS))
        (first, triggered) = spikes[0]
        assert not triggered
        now = 8.0 * math.exp(-2 / 5)
        assert course(first.key - 2 * MS, [], voltage=0.9, current=now) == pytest.approx(1.0, abs=1e-12)

    def test_v_is_free_from_its_release_on_whatever_it_would_have_been_before(self):
        """V falls from its release on, and if it had been free, it would have crossed 1 before, downwards."""
        numbers = {"voltage": 0.99, "current": 0.5}
        assert course(-2 * MS, [], **numbers) > 1
        cell, spikes = neuron(voltage=0.99, current=0.5 * math.exp(2 / 5), free_at=2 * MS)
        cell.receive(at_time(2 * MS), ball(-0.3), True)  # a jump just as V is released counts
        assert spikes == []
        assert float(cell.membrane.voltage) == pytest.approx(0.69, abs=1e-13)

    def test_only_a_spike_that_surely_comes_before_a_time_is_the_next(self):
        assert neuron(current=1.0)[0].next_spike(at_time(0.1)) is None
        known, _ = neuron(current=8.0)
        crossing = known.next_spike(at_time(0.1)).key
        for cell in (neuron(current=8.0)[0], known):
            assert cell.next_spike(at_time(crossing - 1e-6)) is None
            assert cell.next_spike(between(crossing - 1e-6, crossing + 1e-6)) is None
            assert cell.next_spike(between(crossing + 1e-6, crossing + 2e-6)).key == crossing

    def test_intervals_in_which_a_crossing_is_looked_for_are_counted(self):
        cell, _ = neuron(current=8.0)
        assert cell.intervals == 0
        for _ in range(2):
            cell.next_spike(at_time(0.1))
            assert cell.intervals == 1
        cell.receive(at_time(1 * MS), ball(-1.0), False)
        cell.settle(at_time(2 * MS))
        assert cell.intervals == 2

    def test_what_is_known_of_the_next_crossing_is_forgotten_when_something_arrives(self):
        cell, _ = neuron(current=8.0)
        early = cell.next_spike(at_time(0.1))
        cell.receive(at_time(1 * MS), ball(-1.0), False)
        late = cell.next_spike(at_time(0.1))
        assert late.key > early.key
        assert course(late.key, [(1 * MS, -1.0, False)], current=8.0) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.usefixtures("precision")
class TestOrder:
    def test_what_may_come_before_a_spike_is_refused(self):
        cell, spikes = neuron(current=8.0)
        spike = cell.next_spike(at_time(0.1))
        cell.spike(spike)
        assert spikes == [(spike, False)]
        for low, high in ((-2, -1), (-1, 1)):
            with pytest.raises(Unproven):
                cell.receive(between(spike.key + low * 1e-6, spike.key + high * 1e-6), ball(0.1), False)

    def test_of_a_crowd_what_may_come_before_the_event_before_it_is_refused(self):
        cell, _ = neuron()
        cell.receive(at_time(2 * MS), ball(0.1), False)
        assert_open(cell, [(between(3 * MS, 4 * MS), 0.1, False), (between(1 * MS, 5 * MS), 0.1, False)])

    def test_a_jump_that_may_come_as_v_is_released_is_refused_and_a_current_is_not(self):
        for jump in (True, False):
            cell, _ = neuron(t_ref=2 * MS, current=8.0)
            cell.spike(cell.next_spike(at_time(0.1)))
            around = between(cell.release.key - 1e-5, cell.release.key + 1e-5)
            if jump:
                assert_open(cell, [(around, 0.1, True)])
            else:
                cell.receive(around, ball(0.1), False)
                assert cell.membrane is not None

    def test_what_arrives_while_v_is_held_waits_for_its_release(self):
        cell, _ = neuron(voltage=0.2, free_at=2 * MS)
        cell.receive(between(0.5 * MS, 0.6 * MS), ball(5.0), False)
        cell.receive(at_time(1 * MS), ball(0.5), True)  # a jump while V is held is lost
        cell.settle(at_time(4 * MS))
        for at in (0.5 * MS, 0.6 * MS):
            now = 5.0 * math.exp(-(2 * MS - at) / (5 * MS))
            assert cell.membrane.voltage.contains(arb(course(2 * MS, [], voltage=0.2, current=now), 1e-13))


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("wide", [0.1 * MS, 1 * MS])
@pytest.mark.parametrize("tau_syn", [5 * MS, 80 * MS])
def test_what_arrives_as_v_is_released_acts_from_the_later_of_the_two_times(wide, tau_syn):
    """A current that hardly decays is one that a moment at the release instead of after it would give away."""
    for narrow in (at_time(2 * MS), between(2 * MS - wide / 4, 2 * MS + wide)):
        cell, _ = neuron(voltage=0.2, free_at=1.0, tau_syn=tau_syn)
        cell.release = later(narrow, ball(0.0), rational(0.0))
        cell.receive(between(2 * MS - wide, 2 * MS + wide / 2), ball(4.0), False)
        cell.settle(at_time(6 * MS))
        found, informative = cell.membrane.voltage, []
        releases = [2 * MS] if narrow.ball.is_exact() else [2 * MS - 0.999 * wide / 4, 2 * MS + 0.999 * wide]
        for release, arrival in itertools.product(
            releases, (2 * MS - 0.999 * wide, 2 * MS, 2 * MS + 0.499 * wide)
        ):
            late = max(release, arrival)
            weight = 4.0 * math.exp(-(late - arrival) / tau_syn)
            v = course(6 * MS - release, [(late - release, weight, False)], voltage=0.2, tau_syn=tau_syn)
            assert found.contains(arb(v, 1e-13))
            informative.append(v)
        # what is enclosed is not so wide that any number would do
        assert found.rad() < 4 * (max(informative) - min(informative))


@pytest.mark.usefixtures("precision")
class TestBounds:
    """While arrivals overlap V has to stay below the threshold in every network, and from the release on."""

    def test_v_that_may_cross_between_its_release_and_what_arrives_is_open(self):
        numbers = {"leak": 1.3, "tau_mem": 5 * MS, "tau_syn": 1 * MS}
        assert crosses(1.9 * MS, [], voltage=0.9, **numbers)  # if released at 1 ms, before the arrival
        cell, _ = neuron(voltage=0.9, free_at=1.0, **numbers)
        cell.release = between(1 * MS, 3 * MS)
        with pytest.raises(Unproven):
            cell.receive(between(2.9 * MS, 3.1 * MS), ball(-0.001), False)

    def test_a_weight_that_crosses_only_in_some_networks_is_open(self):
        numbers = {"voltage": 0.9, "leak": 0.0, "tau_syn": 80 * MS}
        for weight, radius, open_ in ((1.2, 0.5, True), (1.2, 0.0, False), (1.0, 0.1, False)):
            highest = [(1 * MS, weight + radius, False)]
            assert crosses(6 * MS, highest, **numbers) is open_
            cell, _ = neuron(**numbers)
            if open_:
                with pytest.raises(Unproven):
                    cell.receive(between(1 * MS, 6 * MS), arb(weight, radius), False)
            else:
                cell.receive(between(1 * MS, 6 * MS), arb(weight, radius), False)


@pytest.mark.usefixtures("precision")
class TestJumps:
    def test_v_just_after_a_spike_that_a_jump_triggers_holds_that_of_every_time(self):
        numbers = {
            "leak": 2.0,
            "current": -1.4,
            "tau_syn": 1 * MS,
            "tau_mem": 5 * MS,
        }  # rises, and ever faster
        low, high = 0.1 * MS, 0.6 * MS
        cell, spikes = neuron(**numbers, subtracts=True, reset=0.25)
        cell.receive(between(low, high), ball(1.2), True)
        assert [triggered for _, triggered in spikes] == [True]
        before = [course(t, [], **numbers) for t in np.linspace(1.001 * low, 0.999 * high, 20)]
        slopes = np.diff(before)
        assert (np.diff(slopes) > 0).all()
        assert max(before) < 1
        for v in before:
            assert cell.voltage.contains(arb(v + 1.2 - 0.75, 1e-13))
        assert cell.voltage.rad() < 2 * (max(before) - min(before))

    def test_a_jump_onto_the_threshold_itself_is_a_spike_and_one_that_may_miss_it_is_open(self):
        cell, spikes = neuron(voltage=0.5)
        cell.receive(at_time(0.0), ball(0.5), True)
        assert len(spikes) == 1
        cell, spikes = neuron(voltage=0.5)
        with pytest.raises(Unproven) as why:
            cell.receive(at_time(0.0), arb(0.5, 1e-20), True)
        assert why.value.question is Question.GRAZING

    def test_a_jump_when_v_may_have_crossed_is_open(self):
        cell, _ = neuron(current=8.0)
        crossing = cell.next_spike(at_time(0.1)).key
        cell, _ = neuron(current=8.0)
        assert_open(cell, [(between(crossing - 1e-5, crossing + 1e-5), 0.5, True)])

    def test_a_second_spike_at_one_time_is_open(self):
        cell, spikes = neuron(voltage=0.5)
        cell.receive(at_time(0.5 * MS), ball(1.5), True)
        cell.receive(at_time(1 * MS), ball(1.5), True)
        assert len(spikes) == 2
        assert_open(cell, [(at_time(1 * MS), 1.5, True)], Question.REPEATED)

    def test_jumps_at_one_moment_come_in_their_order(self):
        cell, spikes = neuron(voltage=0.8)
        moment = between(1 * MS, 2 * MS)
        for weight in (-0.5, 0.4, 0.1):
            cell.receive(moment, ball(weight), True)
        assert spikes == []
        cell.settle(at_time(3 * MS))
        assert cell.membrane.voltage.contains(arb(course(3 * MS, [], voltage=0.8), 1e-13))

    def test_a_jump_from_which_v_is_not_lowered_below_the_threshold_is_open(self):
        cell, _ = neuron(voltage=0.5, reset=0.25, subtracts=True)
        cell.receive(at_time(0.0), ball(1.0), True)
        assert cell.voltage.contains(0.75)
        cell, _ = neuron(voltage=0.5, reset=0.25, subtracts=True)
        assert assert_open(cell, [(at_time(0.0), 1.25, True)], Question.REPEATED).width == 0
        cell, _ = neuron(voltage=0.5, reset=0.25, subtracts=True)
        with pytest.raises(Unproven) as why:  # from some it is, from others not
            cell.receive(at_time(0.0), arb(1.2499, 1e-3), True)
        assert why.value.question is Question.REPEATED


CROWDS = {
    "a second that may come before the first": (
        {"voltage": 0.6, "tau_syn": 20 * MS + 1e-9},
        [((1.9, 2.0), 0.1, False), ((0.1, 2.1), 6.5, False)],
        [(0.1 * MS, 6.5, False), (1.9 * MS, 0.1, False)],
    ),
    "a second that is narrow, while the first may come later": (
        {"voltage": 0.7, "leak": 0.7},
        [((1.0, 4.0), 1.6, False), ((1.5, 1.5), 2.0, False)],
        [(1.0 * MS, 1.6, False), (1.5 * MS, 2.0, False)],
    ),
    "a third that comes after the second, but not after the first": (
        {"voltage": 0.7, "leak": 0.7},
        [((0.1, 5.0), -2.0, False), ((1.0, 1.0), 1.0, False), ((1.5, 1.5), 2.5, False)],
        [(5.0 * MS, -2.0, False), (1.0 * MS, 1.0, False), (1.5 * MS, 2.5, False)],
    ),
    "a third that comes after the first, but not after the second": (
        {"voltage": 0.7, "leak": 0.7},
        [((1.0, 1.2), 0.1, False), ((0.5, 5.0), -2.0, False), ((2.0, 2.0), 3.5, False)],
        [(5.0 * MS, -2.0, False), (1.0 * MS, 0.1, False), (2.0 * MS, 3.5, False)],
    ),
    "a third between the earliest of the second and the first": (
        {"voltage": 0.7, "leak": 0.7, "tau_syn": 80 * MS},
        [((3.0, 4.0), 0.001, False), ((0.1, 3.5), 1.4, False), ((2.0, 2.0), 1.2, False)],
        [(3.0 * MS, 0.001, False), (0.1 * MS, 1.4, False), (2.0 * MS, 1.2, False)],
    ),
    "a second that surely comes before the first": (
        {"voltage": 0.6, "tau_syn": 20 * MS + 1e-9},
        [((3.0, 6.0), 0.1, False), ((1.0, 2.0), 6.5, False)],
        [(3.0 * MS, 0.1, False), (1.0 * MS, 6.5, False)],
    ),
    "a current of before that is negative, and decays": (
        {"voltage": 0.9, "leak": 1.3, "current": -0.5, "tau_mem": 5 * MS, "tau_syn": 1 * MS},
        [((0.0, 4.0), -0.001, False)],
        [(4.0 * MS, -0.001, False)],
    ),
    "a current of before that is positive": (
        {"voltage": 0.7, "leak": 0.7, "current": 2.5},
        [((0.1, 5.0), -0.5, False)],
        [(5.0 * MS, -0.5, False)],
    ),
    "a jump before V has fallen": (
        {"voltage": 0.8, "leak": -2.0},
        [((0.0, 4.0), 0.001, False), ((0.0, 4.0), 0.3, True)],
        [(0.0, 0.3, True), (4.0 * MS, 0.001, False)],
    ),
    "two jumps": (
        {"voltage": 0.5},
        [((0.0, 1.0), 0.001, False), ((0.0, 1.0), 0.3, True), ((0.0, 1.0), 0.3, True)],
        [(0.0, 0.3, True), (0.01 * MS, 0.3, True)],
    ),
    "a jump that lifts and one that lowers": (
        {"voltage": 0.8},
        [((0.0, 1.0), -0.4, True), ((0.0, 1.0), 0.3, True)],
        [(0.0, 0.3, True), (1.0 * MS, -0.4, True)],
    ),
    "currents that add up": (
        {"voltage": 0.8},
        [((0.0, 4.0), 1.5, False), ((0.0, 4.0), 1.5, False)],
        [(0.0, 1.5, False), (0.0, 1.5, False)],
    ),
}


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("name", CROWDS)
def test_a_crowd_that_crosses_in_one_of_its_orders_is_open(name):
    numbers, given, worst = CROWDS[name]
    until = max(high for (_, high), _, _ in given) * MS
    assert crosses(until, worst, **numbers)
    cell, _ = neuron(**numbers)
    moments = [
        at_time(low * MS) if low == high else between(low * MS, high * MS) for (low, high), _, _ in given
    ]
    assert_open(cell, [(moment, w, jump) for moment, (_, w, jump) in zip(moments, given, strict=True)])


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("name", CROWDS)
def test_the_same_crowd_further_below_the_threshold_is_proven(name):
    numbers, given, _ = CROWDS[name]
    cell, spikes = neuron(**numbers | {"voltage": -1.5, "leak": min(numbers.get("leak", 0.0), 0.0)})
    for (low, high), w, jump in given:
        cell.receive(at_time(low * MS) if low == high else between(low * MS, high * MS), ball(w), jump)
    assert spikes == []
