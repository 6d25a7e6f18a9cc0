"""lyapunov_spectrum: laws that any flow obeys, networks worked out by hand, and what it says where none is found."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from networks import EPS

import eventsolve as es
from eventsolve.dynamics import LyapunovError, coordinates, displaced, lyapunov_spectrum, position
from eventsolve.jobs import finished


def inhibitory(seed, n=20, *, synapse="exponential", tau_syn=5e-3, delay=0.0, t_ref=0.0, unit=1.0, drive=1.5):
    """Neurons that spike by themselves and inhibit each other, at random."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    neuron = es.LIF(
        20e-3,
        tau_syn,
        v_threshold=unit,
        v_leak=unit * rng.uniform(drive - 0.1, drive + 0.1, n),
        v_initial=unit * rng.uniform(0, 0.9, n),
        t_ref=t_ref,
    )
    net.add_population("n", n, neuron)
    weight = np.where(rng.random((n, n)) < 0.3, -0.15, 0.0) * (20e-3 / tau_syn if synapse != "delta" else 1.0)
    net.connect("n", "n", sp.csr_array(unit * weight), delay=delay, synapse=synapse)
    return net


@pytest.mark.parametrize(
    "options", [{}, {"delay": 1.5e-3, "t_ref": 2e-3}, {"synapse": "delta", "delay": 2e-3}, {"t_ref": 2e-3}]
)
def test_the_flow_itself_neither_grows_nor_decays(options):
    """An exponent of an autonomous network is 0: of these the largest, or one of those near it."""
    found = lyapunov_spectrum(inhibitory(1, **options), None, 2.0, 4)
    assert (found.errors < 3.0).all()
    nearest = np.argmin(abs(found.exponents))
    assert abs(found.exponents[nearest]) < 5 * found.errors[nearest]
    assert found.exponents[3] < -5 * found.errors[3]  # a 0 would not have passed as all of them
    assert found.n_spikes > 500


def test_a_readout_decays_with_its_time_constants():
    """Exactly: one stretch of 32 is carried by exp(-h/tau), which rounds a few times."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "out", [[1.0]])
    trains = {"in": es.SpikeTrains.from_lists([[[0.11, 0.35]]])}
    found = lyapunov_spectrum(net, None, 1.0, 2, trains)
    np.testing.assert_allclose(found.exponents, [-50.0, -200.0], rtol=1e-6)
    assert found.n_spikes == 0


def test_two_neurons_that_inhibit_each_other_by_hand():
    """In turn, over delta synapses of weight w: y = a - V of the one as the other is reset goes to a(a - 1)/y - w.

    So y^2 + w y = a(a - 1) where they settle, and perturbations are multiplied by -a(a - 1)/y^2 from spike to spike.
    """
    a, w, tau = 1.5, -0.2, 20e-3
    y = (-w + np.sqrt(w * w + 4 * a * (a - 1))) / 2
    between = tau * np.log(y / (a - 1))
    expected = np.log(a * (a - 1) / y**2) / between
    net = es.Network()
    net.add_population("n", 2, es.LIF(tau, 5e-3, v_leak=a, v_initial=[0.0, a - y]))
    net.connect("n", "n", [[0.0, w], [w, 0.0]], synapse="delta")
    period = 2 * between
    waited = 60.3 * period
    found = lyapunov_spectrum(net, None, 64 * period, 2, transient=waited)
    # vectors have turned to their directions in half of the transient to exp(expected waited/2), and to rounding
    assert expected < -10
    allowed = (np.exp(expected * waited / 2) * 10 + 2e-8 * found.n_intervals) / (64 * period)
    assert allowed < 1e-5 * abs(expected)
    np.testing.assert_allclose(found.exponents, [0.0, expected], rtol=0, atol=allowed)
    assert found.settled


def test_all_exponents_add_up_to_the_divergence_and_the_slopes_at_spikes():
    """Without delays and refractory periods their sum is -sum of 1/tau, and log V'+/V'- of each spike, over time."""
    n, t, waited = 6, 0.5, 0.125
    net = inhibitory(3, n)
    found = lyapunov_spectrum(net, None, t, 2 * n, transient=waited)
    solution = es.solve(net, {}, waited + t)
    trains, neuron = solution.spikes["n"], net.population("n")
    counted = trains.times > waited
    logs = 0.0
    for k in np.flatnonzero(counted):
        m, when = trains.neurons[k], trains.times[k]
        leak, tau = neuron.parameter("v_leak")[m], 20e-3
        for sign, at in ((-1, np.nextafter(when, 0.0)), (1, when)):
            v, i = solution.voltage("n", [at])[0, m, 0], solution.current("n", [at])[0, m, 0]
            logs += sign * np.log(abs(leak - v + i) / tau)
    expected = -n * (1 / 20e-3 + 1 / 5e-3) + logs / t
    assert counted.sum() > 50
    assert abs(logs / t) > 10
    # each interval's determinant is right to the digits that orthogonalisation leaves, 8 at least
    assert abs(found.exponents.sum() - expected) < 2e-8 * found.n_intervals * 2 * n / t


def test_the_unit_of_voltage_does_not_matter_in_any_bit():
    options = {"delay": 1e-3, "t_ref": 1e-3}
    one, two = (lyapunov_spectrum(inhibitory(4, unit=u, **options), None, 0.3, 3) for u in (1.0, 4.0))
    assert np.array_equal(one.rates, two.rates)
    assert len(set(one.exponents.tolist())) == 3


def driven(n=8):
    """A network with noise for its input, and a sample of that for each of two trajectories."""
    rng = np.random.default_rng(7)
    net = es.Network()
    net.add_input("in", 10)
    net.add_population("n", n, es.LIF(20e-3, 5e-3, v_leak=0.6, v_initial=rng.uniform(0, 0.5, n)))
    net.connect("in", "n", rng.uniform(0.0, 1.2, (n, 10)))
    net.connect("n", "n", np.where(rng.random((n, n)) < 0.4, -0.8, 0.0), delay=1e-3)
    trains = [[np.sort(rng.uniform(1e-4, 0.8, rng.poisson(0.8 * 60))) for _ in range(10)] for _ in range(2)]
    return net, es.SpikeTrains.from_lists(trains)


def between(trains, low, high):
    kept = (trains.times > low) & (trains.times <= high)
    return es.SpikeTrains.from_arrays(
        trains.times[kept],
        trains.neurons[kept],
        trains.samples[kept],
        n_neurons=trains.n_neurons,
        n_samples=trains.n_samples,
    )


def test_two_nearby_trajectories_part_as_fast():
    """The difference of two solutions, brought back to 1e-7 again and again: nothing of it is derived."""
    net, trains = driven()
    alone = trains.select([0])
    t, step, seed = 0.8, 0.02, 5
    found = lyapunov_spectrum(net, None, t, 1, {"in": alone}, transient=0.0, seed=seed)
    state = es.solve(net, {"in": between(alone, -1.0, 0.0)}, 0.0).final_state
    units = unit_of(net, state)
    apart = np.random.default_rng([seed, 0]).normal(size=units.size) * units  # in the same direction at first
    grown, cuts = 0.0, np.arange(0, t + step / 2, step)
    for low, high in itertools.pairwise(cuts):
        late = {"in": between(alone, low, high)}
        apart *= 1e-7 / np.linalg.norm(apart / unit_of(net, state))
        one = es.solve(net, late, high, initial=state)
        two = es.solve(net, late, high, initial=displaced(net, state, apart))
        assert np.array_equal(one.spikes["n"].neurons, two.spikes["n"].neurons)
        apart = position(net, two.final_state) - position(net, one.final_state)
        state = one.final_state
        grown += np.log(np.linalg.norm(apart / unit_of(net, state)) / 1e-7)
    # each step is right to the size of the difference, times a curvature of some tens of units
    assert abs(grown / t - found.exponents[0]) < 1e-7 * 1e3 * (t / step) / t
    assert abs(found.exponents[0]) > 5.0


def unit_of(net, state):
    where = coordinates(net, state)
    return np.where((where.kinds == 1) | (where.kinds == 3), 20e-3, 1.0)


def test_networks_that_inhibit_over_delta_synapses_are_stable():
    """But for the flow itself: any perturbation decays, however irregular the spikes (Jahnke et al. 2008)."""
    for seed in (1, 2, 3):
        found = lyapunov_spectrum(inhibitory(seed, 30, synapse="delta", delay=1.7e-3), None, 2.0, 3)
        assert abs(found.exponents[0]) < 5 * found.errors[0]
        assert (found.exponents[1:] < -5 * found.errors[1:]).all()


def test_a_direction_that_spikes_forget_is_lost():
    """Over a delta synapse each spike sets V to v_reset, whatever V was."""
    net = es.Network()
    net.add_population("a", 1, es.LIF(20e-3, 5e-3, v_leak=2.0))
    net.add_population("b", 1, es.LIF(20e-3, 5e-3, v_initial=0.3))
    net.connect("a", "b", [[2.0]], synapse="delta")
    found = lyapunov_spectrum(net, None, 1.0, 2)
    assert abs(found.exponents[0]) < 5 * found.errors[0]
    assert found.exponents[1] == -np.inf
    assert found.errors[1] == 0.0
    assert "-inf" in repr(found)
    driven = es.Network()
    driven.add_input("in", 1)
    driven.add_population("b", 1, es.LIF(20e-3, 5e-3, v_initial=0.3))
    driven.connect("in", "b", [[2.0]], synapse="delta")
    trains = {"in": es.SpikeTrains.from_lists([[np.arange(7e-3, 1.3, 14e-3)]])}
    nothing = lyapunov_spectrum(driven, None, 1.0, 1, trains)
    assert nothing.exponents.tolist() == [-np.inf]
    assert nothing.n_spikes == 71


def test_samples_states_executors_and_streams_give_the_same_bits(monkeypatch):
    net, trains = driven()
    both = {"in": trains}
    state = es.solve(net, {"in": between(trains, -1.0, 0.0)}, 0.0).final_state
    whole = lyapunov_spectrum(net, state, 0.3, 2, both)
    with ThreadPoolExecutor(2) as executor:
        shared = lyapunov_spectrum(net, [state], 0.3, 2, both, executor=executor)
    streamed = lyapunov_spectrum(net, state, 0.3, 2, lambda low, high: {"in": between(trains, low, high)})
    monkeypatch.setattr(
        "eventsolve.dynamics.lyapunov.finished", lambda *given: (finished(*given)[0][::-1], None)
    )
    backwards = lyapunov_spectrum(net, [state], 0.3, 2, both)  # the last trajectory is done first
    monkeypatch.undo()
    for other in (shared, backwards, streamed, pickle.loads(pickle.dumps(whole))):
        assert np.array_equal(other.rates, whole.rates)
        assert (other.n_spikes, other.n_intervals) == (whole.n_spikes, whole.n_intervals)
    assert whole.rates.shape == (2, 32, 2)
    assert not np.array_equal(whole.rates[0], whole.rates[1])
    np.testing.assert_allclose(whole.convergence[-1], whole.exponents, rtol=64 * EPS)
    assert not whole.rates.flags.writeable
    assert len(repr(whole).splitlines()) <= 5


def test_what_dies_out_or_runs_away_is_said_with_what_was_found():
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_initial=0.5))
    net.connect("n", "n", np.ones((2, 2)))
    with pytest.raises(LyapunovError, match="is silent: it has not spiked") as error:
        lyapunov_spectrum(net, None, 0.1, 1)
    assert error.value.so_far is None
    burning = es.Network()
    burning.add_input("in", 1)
    burning.add_population("n", 1, es.LIF(20e-3, 5e-3))
    burning.connect("in", "n", [[9.0]])
    trains = {"in": es.SpikeTrains.from_lists([[np.arange(1e-3, 0.6, 7e-3)]])}
    with pytest.raises(LyapunovError, match=r"is silent: its last spike is at 0\.\d+ s") as error:
        lyapunov_spectrum(burning, None, 2.0, 1, trains, transient=0.1)
    assert 0 < error.value.so_far.rates.shape[1] * error.value.so_far.block <= 0.6
    assert pickle.loads(pickle.dumps(error.value)).so_far.n_spikes == error.value.so_far.n_spikes
    fast = es.Network()
    fast.add_population("n", 5, es.LIF(20e-3, 5e-3, v_leak=1.5, v_initial=[0.1, 0.2, 0.3, 0.4, 0.5]))
    with pytest.raises(LyapunovError, match="has more than max_spikes = 100 spikes") as error:
        lyapunov_spectrum(fast, None, 1.0, 1, transient=0.05, max_spikes=100)
    assert 0 < error.value.so_far.n_spikes <= 100
    twice = es.Network()
    twice.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=2.0, reset="subtract", v_reset=0.0))
    twice.connect("n", "n", [[2.5]], synapse="delta")
    with pytest.raises(LyapunovError, match="would spike twice"):
        lyapunov_spectrum(twice, None, 1.0, 1)


def test_a_transient_that_is_not_over_is_said():
    """A drive that begins half way is as two networks, one after the other."""
    net, _ = driven()
    rng = np.random.default_rng(3)
    times = [np.sort(rng.uniform(1.0, 2.0, 100)) for _ in range(10)]
    changing = lyapunov_spectrum(net, None, 2.0, 1, {"in": es.SpikeTrains.from_lists([times])}, transient=0.0)
    assert not changing.settled
    assert "not settled" in repr(changing)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"k": 0},
            ValueError,
            "k must be an integer from 1 to the number of voltages and currents, 40; got 0",
        ),
        ({"k": 41}, ValueError, "got 41"),
        ({"t": -1.0}, ValueError, "t must be"),
        ({"transient": -1.0}, ValueError, "transient must be finite and >= 0"),
        ({"initial": 3}, TypeError, "initial must be a State"),
        ({"initial": []}, TypeError, "initial must be a State"),
        ({"inputs": 3}, TypeError, "inputs must be a mapping"),
        (
            {"inputs": {"in": es.SpikeTrains.from_lists([[[0.1]], [[0.2]]])}},
            ValueError,
            "a sample for each of 1",
        ),
        ({"network": 3}, TypeError, "network must be a Network"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"max_spikes": -1}, ValueError, "max_spikes must be"),
    ],
)
def test_arguments_are_refused_by_name(change, error, said):
    given = {"network": inhibitory(1), "initial": None, "t": 0.1, "k": 1} | change
    with pytest.raises(error, match=said):
        lyapunov_spectrum(**given)


def test_an_interrupt_before_the_first_block_has_nothing_and_says_so():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=1.5))
    net.connect("in", "n", [[0.1]])

    def interrupts(after, to):
        raise KeyboardInterrupt

    with pytest.raises(es.Interrupted, match="nothing was finished before it") as caught:
        lyapunov_spectrum(net, None, t=1.0, k=1, inputs=interrupts)
    assert caught.value.so_far is None
