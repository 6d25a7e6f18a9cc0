"""Certificates: do enclosures hold the truth, over all that the solver takes, and is what is wrong refused?"""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from enclosing import exactly, parsed
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import Loop
from networks import random_case

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.certify import samples
from tests.campaign import draw

pytestmark = pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # times of any ratio are drawn

DIGITS = 30


def enclosed(certificate, name, trains):
    """Decimal balls by sample and neuron, each in the order of time."""
    found = {}
    for text, sample, neuron in zip(
        certificate.decimals[name], trains.samples.tolist(), trains.neurons.tolist(), strict=True
    ):
        found.setdefault((sample, neuron), []).append(parsed(text))
    return found


def assert_holds_the_truth(solution, certificate):
    """Every enclosure holds the spike of the multiprecision solver, to the digits that it was asked for."""
    truth = multiprecision.solve(
        solution.network,
        {name: solution.spikes[name] for name, p in solution.network.populations.items() if p.neuron is None},
        solution.t_end,
        digits=DIGITS,
    )
    for name in certificate.spike_times:
        balls = enclosed(certificate, name, solution.spikes[name])
        for sample, spikes in enumerate(truth.spikes[name]):
            for neuron in range(truth.problem.size(name)):
                times = [time for time, n in spikes if n == neuron]
                mine = balls.get((sample, neuron), [])
                assert len(mine) == len(times)
                for ball, time in zip(mine, times, strict=True):
                    slack = time * truth.context.mpf(10) ** -DIGITS
                    assert abs(exactly(ball.mid()) - time) <= exactly(ball.rad()) + slack


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1))
def test_feed_forward_networks_are_proven_and_enclosed(seed):
    solution = random_case(seed).solve()
    certificate = es.certify(solution, digits=DIGITS)
    assert certificate.proven
    assert_holds_the_truth(solution, certificate)


@pytest.mark.parametrize("index", range(10))
def test_networks_of_the_campaign_are_proven_and_enclosed(index):
    case = draw(7, index)
    try:
        solution = es.solve(case.net, case.inputs, case.t_end, max_spikes=100)
    except es.SpikeBudgetError as error:  # not up to a spike: float64 cannot say on which side of it that is
        solution = es.solve(case.net, case.inputs, 0.99 * error.time)
    certificate = es.certify(solution, digits=DIGITS)
    assert certificate.proven, str(certificate)
    assert_holds_the_truth(solution, certificate)


@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 7])
def test_loops_with_everything_in_them_are_proven(seed):
    solution = Loop(seed, t_end=30e-3).solve()
    certificate = es.certify(solution, digits=DIGITS)
    assert certificate.proven, str(certificate)
    assert sum(m.size for m, _ in certificate.spike_times.values()) > 10


def test_what_a_certificate_says_is_what_it_holds():
    solution = random_case(5).solve()
    certificate = es.certify(solution)
    assert certificate.undecided == certificate.refuted == ()
    assert certificate.digits == 15
    assert certificate.tolerance is None
    assert list(certificate.precisions) == [94]  # 15 + 13 digits in bits
    for name, (middle, radius) in certificate.spike_times.items():
        times = solution.spikes[name].times
        assert (radius <= 4 * np.spacing(times)).all()
        ulps = (np.abs(middle - times) + radius) / np.spacing(times)
        assert ulps.max(initial=0) <= certificate.distance + 1
        assert (certificate.tolerances[name] > 0).all()
    assert str(certificate).startswith("proven: all ")
    with pytest.raises(AttributeError):
        certificate.digits = 3


class TestEventsAtOneTime:
    def test_a_chain_of_delta_spikes_at_one_time_is_ordered_by_its_causes(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("chain", 3, es.LIF(20e-3, 5e-3, t_ref=1e-3))
        net.connect("in", "chain", [[1.5], [0.0], [0.0]], synapse="delta")
        net.connect("chain", "chain", [[0, 0, -3], [2.0, 0, 0], [0, 2.0, 0]], synapse="delta")
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3, 2e-3]]])}, 5e-3)
        certificate = es.certify(solution)
        assert certificate.proven
        # the second input arrives as the refractory periods end, exactly: 2e-3 is the double of 1e-3
        np.testing.assert_array_equal(solution.spikes["chain"].times, [1e-3] * 3 + [2e-3] * 3)
        np.testing.assert_array_equal(
            certificate.spike_times["chain"].midpoints, solution.spikes["chain"].times
        )
        np.testing.assert_array_equal(certificate.spike_times["chain"].radii, 0.0)

    def test_equal_neurons_that_excite_each_other_are_proven_though_their_order_is_open(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("pair", 2, es.LIF(20e-3, 5e-3, t_ref=2e-3))
        net.connect("in", "pair", [[8.0], [8.0]])
        net.connect("pair", "pair", [[1.0, 1.0], [1.0, 1.0]], delay=1e-3)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 10e-3]]])}, 30e-3)
        assert es.certify(solution).proven

    def test_arrivals_as_a_refractory_period_ends_are_proven_though_their_order_is_open(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("pair", 2, es.LIF(20e-3, 5e-3, t_ref=1e-3))
        net.connect("in", "pair", [[8.0], [8.0]])
        net.connect("pair", "pair", [[0.0, 3.0], [3.0, 0.0]], delay=1e-3)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 10e-3]]])}, 30e-3)
        certificate = es.certify(solution, digits=DIGITS)
        assert certificate.proven
        assert_holds_the_truth(solution, certificate)

    def test_inhibition_between_equal_neurons_without_delay_stays_open(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("pair", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "pair", [[8.0], [8.0]])
        net.connect("pair", "pair", [[0.0, -9.0], [-9.0, 0.0]])
        certificate = es.certify(es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 30e-3))
        assert not certificate.proven
        assert not certificate.refuted
        question = certificate.undecided[0]
        assert (question.population, question.sample) == ("pair", 0)
        assert "two events come too close to tell their order" in str(question)

    def test_arrivals_a_rounding_apart_are_told_apart(self):
        # 0.1 + 0.2 is an ulp more than 0.3 in float64, and less than an ulp more in truth
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[0.9, -0.5]], delay=[[0.2, 0.0]], synapse="delta")
        net.connect("in", "out", [[0.4, 0.0]], delay=0.2, synapse="delta", name="more")
        trains = es.SpikeTrains.from_lists([[[0.1], [0.3]]])
        solution = es.solve(net, {"in": trains}, 1.0)
        truth = multiprecision.solve(net, {"in": trains}, 1.0, digits=DIGITS)
        certificate = es.certify(solution, spikes={"out": truth.to_spiketrains("out")})
        assert certificate.proven


class TestCorners:
    def test_a_proof_of_nothing_says_that_it_proves_nothing(self):
        solution = random_case(5).solve()
        readout = es.Network()
        readout.add_population("out", 2, es.LI(20e-3, 5e-3, v_initial=3.0))
        none = es.Network()
        none.add_input("in", 0)
        none.add_population("out", 0, es.LIF(20e-3, 5e-3))
        none.connect("in", "out", np.zeros((0, 0)))
        for certificate in (
            es.certify(solution, spikes={}),
            es.certify(es.solve(es.Network(), {}, 1.0)),
            es.certify(es.solve(readout, {}, 1.0)),
            es.certify(es.solve(none, {"in": es.SpikeTrains.from_lists([], n_neurons=0)}, 1.0)),
        ):
            assert not certificate.proven
            assert certificate.empty
            assert certificate.spike_times == {}
            assert certificate.refuted == certificate.undecided == ()
            assert str(certificate).startswith("proves nothing: ")
        # a population without neurons, and one without spikes, are something that is claimed
        assert es.certify(es.solve(none, {"in": es.SpikeTrains.from_lists([[]], n_neurons=0)}, 1.0)).proven
        quiet = es.Network()
        quiet.add_population("out", 2, es.LIF(20e-3, 5e-3))
        assert es.certify(es.solve(quiet, {}, 1.0)).proven
        # and so are gradients where nothing spikes
        loss = es.losses.MaxVoltageCrossEntropy("out", [0])
        assert es.certify(es.solve(readout, {}, 1.0), gradients=loss).proven

    def test_no_time(self):
        net = es.Network()
        net.add_population("tonic", 1, es.LIF(20e-3, 5e-3, v_leak=2.0))
        assert es.certify(es.solve(net, {}, 0.0)).proven

    def test_tonic_neurons(self):
        net = es.Network()
        net.add_population("tonic", 3, es.LIF(20e-3, [5e-3, 20e-3, 1.0], v_leak=[1.5, 1.0 + 1e-9, 1.0]))
        solution = es.solve(net, {}, 0.5)
        assert solution.spikes["tonic"].counts().tolist() == [[22, 1, 0]]
        assert es.certify(solution).proven

    @pytest.mark.parametrize("seed", range(3))
    def test_a_solution_that_went_on_from_a_stored_state(self, seed):
        loop = Loop(seed, t_end=40e-3)
        first = es.solve(loop.network(), loop.trains(high=15e-3), 15e-3)
        second = es.solve(loop.network(), loop.trains(low=15e-3), 40e-3, initial=first.final_state)
        certificate = es.certify(second, digits=DIGITS)
        assert certificate.proven, str(certificate)
        assert sum(m.size for m, _ in certificate.spike_times.values()) > 5

    def test_what_is_before_a_neuron_would_spike_twice(self):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[1.5, 1.5]], synapse="delta")
        trains = es.SpikeTrains.from_lists([[[1e-3, 5e-3], [2e-3, 5e-3]]])
        with pytest.raises(es.RepeatedSpikeError) as stopped:
            es.solve(net, {"in": trains}, 20e-3)
        certificate = es.certify(stopped.value.solution)
        assert certificate.proven
        assert certificate.spike_times["out"].midpoints.tolist() == [1e-3, 2e-3]

    def test_a_solution_of_first_spikes_is_proven_up_to_them(self):
        case = random_case(14, n_samples=4)
        solution = es.solve_first_spikes(case.net, case.inputs, case.t_end, "hidden")
        assert solution.stopped.until.min() < case.t_end
        certificate = es.certify(solution)
        assert certificate.proven, str(certificate)
        loss = es.losses.TargetTimeMSE("hidden", np.full((4, 4), 10e-3), silent="t_end")
        certificate = es.certify(solution, gradients=loss)
        assert certificate.proven, str(certificate)
        whole = es.certify(case.solve(), gradients=loss)
        np.testing.assert_array_equal(
            certificate.gradients.weight["in", "hidden"].midpoints,
            whole.gradients.weight["in", "hidden"].midpoints,
        )

    def test_spikes_at_the_end(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[8.0]])
        trains = es.SpikeTrains.from_lists([[[0.0]]])
        crossing = es.solve(net, {"in": trains}, 0.05).spikes["out"].times[0]
        for t_end, n in ((crossing, 1), (np.nextafter(crossing, 0.0), 0)):  # within rounding either is right
            solution = es.solve(net, {"in": trains}, t_end)
            assert solution.spikes["out"].n_spikes == n
            assert es.certify(solution).proven


class TestBatches:
    @pytest.fixture
    def solution(self):
        return random_case(3, n_samples=10).solve()

    @pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
    def test_any_executor_gives_the_same_certificate(self, solution, pool):
        alone = es.certify(solution, progress=True)
        with pool(2) as executor:
            shared = es.certify(solution, executor=executor)
        assert alone.proven
        assert shared.proven
        assert shared.decimals == alone.decimals

    def test_each_sample_is_certified_as_it_is_alone(self, solution):
        together = es.certify(solution)
        alone = es.certify(
            es.solve(solution.network, {"in": solution.spikes["in"].select([9])}, solution.t_end)
        )
        here = solution.spikes["out"].samples == 9
        texts = np.array(together.decimals["out"])[here]
        assert texts.tolist() == list(alone.decimals["out"])

    def test_an_interrupt_keeps_what_is_done_and_says_so(self, solution, monkeypatch):
        calls = []

        def prove_all(job):
            calls.append(job.samples)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return batches_prove_all(job)

        batches_prove_all = samples._prove_all
        monkeypatch.setattr(samples, "_prove_all", prove_all)
        with pytest.raises(KeyboardInterrupt, match=r"so_far .*8 of 10 samples") as caught:
            es.certify(solution)
        assert isinstance(caught.value, es.Interrupted)
        certificate = pickle.loads(pickle.dumps(caught.value)).so_far
        assert not certificate.complete
        assert not certificate.proven
        assert [proof.sample for proof in certificate.proofs] == list(range(8))
        assert "8 of 10 samples" in str(certificate)


class TestRefused:
    """What does not fit is named at the door."""

    @pytest.fixture
    def solution(self):
        return random_case(1).solve()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"digits": 0}, "digits must be an integer >= 1"),
            ({"digits": 2.5}, "digits must be an integer"),
            ({"tolerance": -1e-9}, "tolerance must be finite and >= 0"),
            ({"tolerance": np.nan}, "tolerance must be finite and >= 0"),
            ({"radii": {"wieght": 1e-3}}, "radii name 'wieght'"),
            ({"radii": {"weight": {("in", "nowhere"): 1e-3}}}, "radii\\['weight'\\] name"),
            ({"radii": {"weight": -1.0}}, "radii\\['weight'\\] must be finite and >= 0"),
            ({"radii": {"tau_mem": 1.0}}, "must leave tau_mem > 0"),
            ({"radii": {"v_reset": 5.0}}, "must leave v_reset below v_threshold"),
            ({"claimed_gradients": 1}, "must come with the loss"),
        ],
    )
    def test_options(self, solution, options, message):
        with pytest.raises(ValueError, match=message):
            es.certify(solution, **options)

    def test_claims_that_do_not_fit(self, solution):
        out = solution.spikes["out"]
        with pytest.raises(ValueError, match="spikes name 'in'"):
            es.certify(solution, spikes={"in": solution.spikes["in"]})
        with pytest.raises(ValueError, match="must have 2 samples of 2 neurons; got 1 of 2"):
            es.certify(solution, spikes={"out": out.select([0])})
        with pytest.raises(ValueError, match="must not be after t_end"):
            es.certify(solution, spikes={"out": replace(out, times=out.times + 1.0)})
        with pytest.raises(TypeError, match="must be SpikeTrains"):
            es.certify(solution, spikes={"out": out.times})
        with pytest.raises(ValueError, match="either spikes or gradients"):
            es.certify(solution, spikes={"out": out}, gradients={})
        with pytest.raises(TypeError, match="solution must be a Solution"):
            es.certify(out)
