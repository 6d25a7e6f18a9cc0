"""What follows for the others where something is not decided or not exact: a neuron, a delay, a weight, a start."""

import numpy as np
import pytest

import eventsolve as es

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
