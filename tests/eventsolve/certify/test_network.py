"""What follows for the others where something is not decided or not exact: a neuron, a delay, a weight, a start."""

import itertools
import math
from unittest import mock

import numpy as np
import pytest

import eventsolve as es
from eventsolve.certify import network
from eventsolve.certify.crossing import crossing_ahead
from eventsolve.certify.samples import OpenQuestion

PAIR = "two events come too close to tell their order"
LOST = "spikes that may reach it are not decided"


def one(*connections, size=1, t_ref=0.0):
    """One neuron, or some, with an input over some connections: (weight, delay, synapse)."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", size, es.LIF(20e-3, 5e-3, t_ref=t_ref))
    for k, (weight, delay, synapse) in enumerate(connections):
        net.connect("in", "out", np.full((size, 1), weight), delay=delay, synapse=synapse, name=f"c{k}")
    return net


def trains(*neurons):
    return {"in": es.SpikeTrains.from_lists([[list(times) for times in neurons]])}


def silent(solution):
    """The claim that nothing spikes."""
    return {"out": es.SpikeTrains.from_lists([[[]] * solution.network.population("out").size])}


def undecided_pair():
    """Two equal neurons that inhibit each other at once, and a third that hears them 5 ms later, and an input."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("pair", 2, es.LIF(20e-3, 5e-3))
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "pair", [[8.0, 0.0], [8.0, 0.0]])
    net.connect("pair", "pair", [[0.0, -9.0], [-9.0, 0.0]])
    net.connect("pair", "out", [[30.0, 30.0]], delay=5e-3)
    net.connect("in", "out", [[0.0, 8.0]])
    return es.solve(net, trains([0.0], [1e-3]), 30e-3)


@pytest.fixture(scope="module")
def solution():
    return undecided_pair()


class TestDoubtfulSource:
    """Of a neuron that hears an undecided one nothing is said from then on, and everything before."""

    def claim(self, *times):
        return {"out": es.SpikeTrains.from_lists([[list(times)]])}

    def test_its_spikes_are_proven_up_to_when_the_other_may_reach_it(self, solution):
        certificate = es.certify(solution)
        assert not certificate.proven
        assert not certificate.refuted
        questions = {question.population: question for question in certificate.undecided}
        # the one that is looked at first; the other may hear it
        assert any(PAIR in q.why for q in certificate.undecided if q.population == "pair")
        assert LOST in questions["out"].why
        crossing = solution.spikes["pair"].times[0]
        assert questions["pair"].time <= crossing
        first, *later = solution.spikes["out"].times.tolist()
        assert questions["pair"].time + 5e-3 == pytest.approx(questions["out"].time, rel=1e-12, abs=0.0)
        assert first < questions["out"].time < min(later)
        middle, _ = certificate.spike_times["out"]
        assert middle[0] == pytest.approx(first, rel=1e-14, abs=0.0)

    def test_what_is_claimed_before_is_judged_and_what_is_claimed_after_is_not(self, solution):
        first = solution.spikes["out"].times[0]
        for times, kind in (
            ([first], None),
            ([first, 20e-3], None),
            ([first, 11e-3, 20e-3], None),
            ([], "missed"),
            ([2e-3, first], "extra"),
            ([20e-3], "missed"),
        ):
            certificate = es.certify(solution, spikes=self.claim(*times))
            assert not certificate.proven
            assert [r.kind for r in certificate.refuted] == ([] if kind is None else [kind])


PEAK = 20e-3 * 5e-3 / 15e-3 * math.log(4.0)
"""When V of a neuron at rest, with time constants of 20 and 5 ms, is largest after an arrival, in seconds."""
HIGHEST = (math.exp(-PEAK / 20e-3) - math.exp(-PEAK / 5e-3)) / 3
"""How large, for a weight of 1."""


class TestUndecidedFirst:
    """Where a spike that may be there stays open, so do those that it would prevent, though they were found first."""

    def network(self, above, *, back):
        """A neuron whose peak is about at the threshold, one that it inhibits and that would spike 1 ms later; another.

        The last hears the second, 1 ms later; with ``back`` the first does, too.
        """
        net = es.Network()
        net.add_input("in", 1)
        for name in ("grazing", "inhibited", "behind"):
            net.add_population(name, 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "grazing", [[(1 + above) / HIGHEST]])
        net.connect("in", "inhibited", [[1.03 / HIGHEST]], delay=3e-3)
        net.connect("grazing", "inhibited", [[-20.0]])
        net.connect("inhibited", "behind", [[30.0]], delay=1e-3)
        if back:
            net.connect("inhibited", "grazing", [[0.1]], delay=5e-3)
        return net

    @pytest.mark.parametrize("back", [False, True])
    @pytest.mark.parametrize("above", [1e-4, -1e-4])
    def test_what_an_undecided_spike_might_prevent_is_neither_missed_nor_proven(self, above, back):
        solution = es.solve(self.network(above, back=back), trains([0.0]), 40e-3)
        n_spikes = {name: solution.spikes[name].n_spikes for name in ("grazing", "inhibited", "behind")}
        assert n_spikes["grazing"] == (above > 0)
        assert n_spikes["inhibited"] == (above < 0)
        assert (n_spikes["behind"] > 0) == (above < 0)
        assert es.certify(solution).proven
        certificate = es.certify(solution, radii={"weight": {("in", "grazing"): 2e-3}})
        assert certificate.refuted == ()
        assert {question.population for question in certificate.undecided} == set(n_spikes)
        for name in n_spikes:
            _, radius = certificate.spike_times[name]
            assert np.isinf(radius).all()

    def test_what_is_claimed_before_all_that_is_open_is_refuted(self):
        solution = es.solve(self.network(-1e-4, back=False), trains([1e-3]), 40e-3)
        claim = {"inhibited": es.SpikeTrains.from_lists([[[0.5e-3]]])}
        certificate = es.certify(solution, radii={"weight": {("in", "grazing"): 2e-3}}, spikes=claim)
        assert [r.kind for r in certificate.refuted] == ["extra"]

    @pytest.mark.parametrize("ulps", range(-4, 5))
    def test_spikes_of_a_pair_that_is_undecided_are_not_refuted_whichever_is_looked_at_first(self, ulps):
        solution, off = undecided_pair(), itertools.cycle([0, ulps])

        def guess(*numbers):
            return crossing_ahead(*numbers) * (1 + next(off) * 2.0**-52)

        with mock.patch.object(network, "crossing_ahead", guess):
            certificate = es.certify(solution)
        assert certificate.refuted == ()
        assert any(PAIR in question.why for question in certificate.undecided)

    @pytest.mark.parametrize("seed", range(6))
    def test_no_right_claim_is_refuted_in_whatever_order_spikes_are_looked_for(self, seed):
        random = np.random.default_rng(seed)
        net = es.Network()
        net.add_input("in", 3)
        net.add_population("n", 4, es.LIF(20e-3, 5e-3, t_ref=random.choice([0.0, 2e-3])))
        net.connect("in", "n", random.uniform(0.0, 8.0, (4, 3)))
        net.connect(
            "n", "n", random.uniform(-5.0, 2.0, (4, 4)), delay=random.choice([0.0, 1e-3, 3e-3], (4, 4))
        )
        inputs = {"in": es.SpikeTrains.from_dense(random.uniform(0, 20e-3, (1, 3, 3)))}
        solution = es.solve(net, inputs, 30e-3)
        assert solution.spikes["n"].n_spikes > 4
        factors = [0.5, 0.9, 1.0, 1.1, 2.0, np.inf]

        def guess(*numbers):
            return crossing_ahead(*numbers) * random.choice(factors)

        with mock.patch.object(network, "crossing_ahead", guess):
            certificate = es.certify(solution)
        assert certificate.refuted == ()
        (middle, radius), times = certificate.spike_times["n"], solution.spikes["n"].times
        np.testing.assert_allclose(middle[np.isfinite(radius)], times[np.isfinite(radius)], rtol=1e-12)


class TestStoredState:
    def test_what_arrived_exactly_as_the_state_was_stored_does_not_arrive_again(self):
        net = one((0.7, 1e-3, "delta"), (0.1, 3e-3, "delta"))  # twice it would be a spike
        inputs = es.SpikeTrains.from_lists([[[1e-3]]])
        state = es.solve(net, {"in": inputs}, 2e-3).final_state
        second = es.solve(net, trains([]), 10e-3, initial=state)
        assert second.spikes["out"].n_spikes == 0
        assert es.certify(second).proven

    def test_a_release_is_known_to_more_than_float64(self):
        # 1 ms and 10 ms are more than 11 ms, by less than float64 tells: the second input finds V held
        net = one((2.0, 0.0, "delta"), t_ref=10e-3)
        assert 1e-3 + 10e-3 == 11e-3
        state = es.solve(net, trains([1e-3]), 5e-3).final_state
        second = es.solve(net, trains([11e-3]), 30e-3, initial=state)
        assert second.spikes["out"].n_spikes == 0
        assert es.certify(second).proven


class TestBoxes:
    """Where numbers are not exact, networks of the box decide otherwise than the one in the middle."""

    @pytest.mark.parametrize("apart", [0.0, 0.1e-3])
    def test_delays_that_vary_each_by_itself_may_change_the_order(self, apart):
        net = one((-1.0, 1e-3, "delta"), (1.2, 1e-3 + apart, "delta"))
        solution = es.solve(net, trains([1e-3]), 10e-3)
        assert solution.spikes["out"].n_spikes == 0
        swapped = one((-1.0, 1.4e-3, "delta"), (1.2, 0.6e-3 + apart, "delta"))
        assert es.solve(swapped, trains([1e-3]), 10e-3).spikes["out"].n_spikes == 1
        certificate = es.certify(solution, radii={"delay": 0.5e-3})
        assert not certificate.proven
        assert not certificate.refuted
        if apart:
            assert es.certify(solution, radii={"delay": 0.01e-3}).proven

    def test_a_weight_of_0_that_varies_is_a_synapse(self):
        solution = es.solve(one((0.0, 0.0, "delta")), trains([1e-3]), 10e-3)
        assert es.certify(solution, radii={"weight": 0.9}).proven
        certificate = es.certify(solution, radii={"weight": 1.1})
        assert not certificate.proven
        assert not certificate.refuted

    def test_a_spike_that_leaves_the_trial_in_some_networks_is_undecided(self):
        solution = es.solve(one((2.0, 0.0, "delta")), trains([5e-3 - 1e-6]), 5e-3)
        assert es.certify(solution, radii={"spike_times": 0.5e-6}).proven
        certificate = es.certify(solution, radii={"spike_times": 2e-6})
        assert not certificate.refuted
        assert [question.why for question in certificate.undecided] == [
            "of the networks in the box some spike before t_end and some after it"
        ]

    def test_input_spikes_of_a_box_are_not_before_the_trial(self):
        """Before it there is nothing: a spike at its start comes up to so much later."""
        solution = es.solve(one((8.0, 0.0, "exponential")), trains([0.0]), 20e-3)
        (first,) = solution.spikes["out"].times
        middle, radius = es.certify(solution, radii={"spike_times": 1e-6}).spike_times["out"]
        assert middle - radius <= first
        assert middle - radius == pytest.approx(first, abs=1e-8)
        assert first + 1e-6 <= middle + radius


def test_a_question_that_is_open_from_the_beginning_does_not_say_until_when_it_is_proven():
    """It was "proven up to -2.83e-12 s", where an arrival at 0 may come as much before."""
    for until, said in ((0.25, "is proven up to 0.25 s"), (-2.83e-12, "is not proven from its beginning on")):
        question = OpenQuestion("a", 3, 1, until, "why")
        assert str(question) == f"neuron 1 of 'a' in sample 3 {said}: why"
