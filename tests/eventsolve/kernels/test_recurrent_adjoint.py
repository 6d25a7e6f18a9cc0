"""Parts of the way back through a cycle, against what is written down anew, and what happens within a rounding."""

import functools
import inspect
import itertools
from math import fsum

import numpy as np
import pytest
import scipy.sparse as sp
from comparing import Comparison
from mpmath.ctx_mp import MPContext
from networks import EPS

import eventsolve as es
from eventsolve import adjoint
from eventsolve.dynamics import flow_derivative
from eventsolve.kernels import deliveries, recurrent_adjoint
from eventsolve.kernels.recurrent_adjoint import Adjoint
from eventsolve.kernels.tables import AT_START
from eventsolve.losses import Evaluation, VoltageSamples

MS = 1e-3
PARAMETERS = (
    *("weight", "delay", "tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak"),
    *("t_ref", "v_initial", "i_initial"),
)
MP = MPContext()
MP.dps = 40


@pytest.fixture
def plain(monkeypatch):
    """The kernels as they are written: compiled for calls from Python they would take longer than their tests."""
    for name in ("place_of", "error_of"):
        monkeypatch.setattr(recurrent_adjoint, name, inspect.unwrap(getattr(recurrent_adjoint, name)))
    monkeypatch.setattr(recurrent_adjoint, "propagator", propagator)
    monkeypatch.setattr(
        recurrent_adjoint,
        "propagator_derivatives",
        lambda *given: derivatives(*given[:3]),
    )
    return lambda name: inspect.unwrap(getattr(recurrent_adjoint, name))


def response(h, tau_mem, tau_syn):
    """V a time after a unit of current was there."""
    h, m, y = MP.mpf(h), MP.mpf(tau_mem), MP.mpf(tau_syn)
    return y / (y - m) * (MP.exp(-h / y) - MP.exp(-h / m))


def propagator(h, tau_mem, tau_syn):
    return (
        np.exp(-h / tau_mem),
        np.exp(-h / tau_syn),
        float(response(h, tau_mem, tau_syn)),
    )


@functools.cache
def derivatives(h, tau_mem, tau_syn):
    return (
        None,
        float(MP.diff(lambda m: response(h, m, tau_syn), tau_mem)),
        float(MP.diff(lambda y: response(h, tau_mem, y), tau_syn)),
    )


def test_the_error_of_a_row_is_the_sum_over_its_neurons(plain):
    """However many there are, and wherever in their block and among the weights they begin."""
    rng, rate_mem, rate_syn = np.random.default_rng(0), 50.0, 200.0
    row_error, add_errors = plain("row_error"), plain("add_errors")
    for n, first, lowest in itertools.product(range(26), (0, 3), (0, 5)):
        weights, p_v, p_i = (
            rng.normal(size=n + lowest),
            *rng.normal(size=(2, n + first)),
        )
        terms = weights[lowest:] * (rate_syn * p_i[first:] - rate_mem * p_v[first:])
        room = (
            (n + 4)
            * EPS
            * (np.abs(weights[lowest:]) @ (250.0 * np.ones(n) * (np.abs(p_i[first:]) + np.abs(p_v[first:]))))
        )
        found = row_error(weights, lowest, p_v, p_i, first, n, rate_mem, rate_syn)
        assert abs(found - terms.sum()) <= room
        row = np.zeros(n + lowest)
        add_errors(row, weights, lowest, p_v, p_i, first, n, rate_mem, rate_syn)
        np.testing.assert_allclose(row[lowest:], terms, rtol=0.0, atol=room)
        assert not row[:lowest].any()


def test_an_adjoint_is_taken_back_with_its_derivatives(plain):
    """By differences of the transposed propagator, which act on p and on its own derivatives; any of them may be 0."""
    tau_mem, tau_syn, h = 20 * MS, 7 * MS, 9 * MS
    step_back = plain("step_back")
    for kinds in itertools.product((0.0, 1.0, -1.0, 0.3), repeat=5):
        if kinds.count(0.0) < 3 and kinds.count(0.3):
            continue  # enough of those
        for flow in (False, True):
            begin = np.array(kinds) * (1.0 if flow else np.array([1.0, 1.0, 0.0, 0.0, 0.0]))
            v, i, s_v, s_i, r_i = begin
            columns = [np.array([7.0, x]) for x in begin]
            step_back(1, h, Adjoint(*columns), tau_mem, tau_syn, flow)
            ea, eb, k = propagator(h, tau_mem, tau_syn)
            _, k_mem, k_syn = derivatives(h, tau_mem, tau_syn)
            by_mem, by_syn = ea * h / tau_mem**2, eb * h / tau_syn**2
            expected = np.array(
                [
                    (v * ea),
                    (i * eb + v * k),
                    (s_v * ea + v * by_mem) * flow,
                    (s_i * eb + s_v * k + v * k_mem) * flow,
                    (r_i * eb + i * by_syn + v * k_syn) * flow,
                ]
            )
            found = np.array([column[1] for column in columns])
            size = np.abs(begin).max() * np.array([1.0, 1.0, 300.0, 300.0, 300.0])
            assert (np.abs(found - expected) <= 8 * EPS * size).all(), (begin, flow)
            assert all(column[0] == 7.0 for column in columns)


def test_a_block_is_taken_back_as_its_neurons_are(plain):
    """Each by the transposed propagator and its derivatives, and none beside them; rows add up in the same place."""
    rng, first, n, lowest = np.random.default_rng(2), 3, 10, 2
    own, row = slice(first, first + n), slice(lowest, lowest + n)
    ea, eb, k, by_mem, by_syn, k_mem, k_syn = rng.uniform(0.1, 1.0, 7)
    before = rng.normal(size=(5, first + n + 2))
    found = before.copy()
    plain("flow_back")(Adjoint(*found), first, n, ea, eb, k, by_mem, by_syn, k_mem, k_syn)
    v, i, s_v, s_i, r_i = before[:, own]
    expected = before.copy()
    expected[2:, own] = (
        s_v * ea + v * by_mem,
        s_i * eb + s_v * k + v * k_mem,
        r_i * eb + i * by_syn + v * k_syn,
    )
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=8 * EPS * np.abs(before).max())
    plain("row_back")(found[0], found[1], first, n, ea, eb, k)
    expected[:2, own] = v * ea, i * eb + v * k
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=8 * EPS * np.abs(before).max())
    weights, sums, column = rng.normal(size=(3, lowest + first + n + 5))
    for name, take, give in (
        ("add_row", (sums, lowest, column, first, n), lambda: (row, sums[row] + column[own])),
        (
            "decay_and_add",
            (sums, first, n, eb, weights, lowest),
            lambda: (own, sums[own] * eb + weights[row]),
        ),
    ):
        was = sums.copy()
        where, now = give()
        plain(name)(*take)
        was[where] = now
        np.testing.assert_allclose(sums, was, rtol=4 * EPS, atol=0.0)
    totals = rng.normal(size=(2, first + n + 2))
    expected = totals.copy()
    plain("add_products")(*totals, weights, lowest, before[3], before[4], first, n)
    expected[:, own] += weights[row] * before[3:, own]
    np.testing.assert_allclose(totals, expected, rtol=0.0, atol=8 * EPS * np.abs(expected).max())


LAYOUTS = {"alone": False, "a row": True, "a part of a row": True}


def two(layout, late, weight, *, loop=1 * MS, jump=False, delay=0.0):
    """Two neurons that one input lifts to their threshold, and what comes over another at a time given."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_input("late", 1)
    net.add_population("n", 2, es.LIF(20 * MS if LAYOUTS[layout] else [20 * MS, 21 * MS], 5 * MS))
    first, later = np.array([[14.0], [3.0]]), np.array([[weight], [0.5 * weight]])
    if layout == "a part of a row":
        first, later = (sp.csr_array(there * [[1.0], [0.0]]) for there in (first, later))
    net.connect("in", "n", first)
    net.connect("late", "n", later, delay=delay)
    if jump:
        net.connect("late", "n", [[-0.2], [0.0]], synapse="delta", name="jump", delay=delay)
    if loop is not None:
        net.connect("n", "n", np.zeros((2, 2)), delay=loop)
    times = {"in": [1 * MS], "late": [late - delay]}
    inputs = {name: es.SpikeTrains.from_lists([[spikes]]) for name, spikes in times.items()}
    return es.solve(net, inputs, late + 0.2 * MS)


def test_a_part_of_a_row_is_one_wherever_it_begins():
    """Of 4 neurons an input reaches one and the next two, whose places begin at 1 and end at 3; or all, some by 0."""
    weights, found = np.array([[9.0, 0.0], [0.0, 8.0], [0.0, 7.0], [0.0, 0.0]]), []
    for into in (weights, sp.csr_array(weights)):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("n", 4, es.LIF(20 * MS, 5 * MS))
        net.connect("in", "n", into, delay=1 * MS)
        net.connect("n", "n", np.linspace(-0.5, 1.5, 16).reshape(4, 4), delay=1 * MS)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 6 * MS], [1 * MS]]])}, 15 * MS)
        assert solution.layer("n").efferents.dense.all()
        assert (np.bincount(solution.spikes["n"].neurons)[:3] > 0).all()
        grads = es.vjp(solution, {"n": np.linspace(1.0, 2.0, solution.spikes["n"].n_spikes)})
        found.append((solution.spikes["n"], grads))
    (spikes, whole), (same, part) = found
    np.testing.assert_array_equal(same.neurons, spikes.neurons)
    there = weights != 0.0
    for name in ("weight", "delay"):
        expected = getattr(whole, name)["in", "n"]
        rows = getattr(part, name)["in", "n"].toarray()
        np.testing.assert_allclose(rows[there], expected[there], rtol=1e-11)
        assert not rows[~there].any()
    for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak"):
        np.testing.assert_allclose(getattr(part, name)["n"], getattr(whole, name)["n"], rtol=1e-11)
    np.testing.assert_allclose(part.spike_times["in"], whole.spike_times["in"], rtol=1e-11)


def summand(time, side=1.0):
    """What a float64 has to be added to for a sum that is rounded to a time, and above it, or below it."""
    delays = np.random.default_rng(0).uniform(0.2 * MS, 0.9 * MS, 200).tolist()
    return next(d for d in delays if time - d + d == time and side * fsum((time - d, d, -time)) > 0.0)


@pytest.mark.parametrize("loop", [None, 1 * MS, 0.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_crossing_at_the_time_of_an_arrival_has_the_slope_of_its_place(layout, loop):
    """Before it where V is there by itself, after it where it gets there by that, within a rounding of time.

    So it is where the exact time of the arrival is above the float64 of both, and what the spike sends arrives at once.
    """
    tau_mem, tau_syn = 20 * MS, 5 * MS
    at = two(layout, 8 * MS, 0.0, loop=loop).spikes["n"].times[0]
    compare = Comparison()
    for late, weight, jump, n_before in (
        (at, -3.0, False, 1),
        (at, 5.0, False, 1),
        (at, -3.0, True, 1),
        (at - 64 * np.spacing(at), 1e4, False, 2),
    ):
        delay = summand(late) if loop == 0.0 else 0.0
        solution = two(layout, late, weight, loop=loop, jump=jump, delay=delay)
        if loop is not None:
            assert solution.layer("n").efferents.dense.tolist() == [LAYOUTS[layout]]
        spikes = solution.spikes["n"]
        assert (spikes.times[0], spikes.neurons[0]) == (late, 0)
        run, _ = solution.run_of(solution.layer("n"), solution._chunks[0])
        assert run.own.arrivals[0] == n_before
        grads = es.vjp(solution, {"n": np.arange(spikes.n_spikes) == 0})
        since = float(MP.mpf(late) - MP.mpf(1 * MS))
        current = 14.0 * np.exp(-since / tau_syn) + (weight if n_before == 2 else 0.0)
        slope = (current - 1.0) / tau_mem
        lifted = float(response(since, tau_mem, tau_syn))
        # of a few roundings each: of the exponent, of the difference of exponentials, of I less the threshold
        early, found = (
            values.toarray() if sp.issparse(values) else values
            for values in (grads.weight["in", "n"], grads.weight["late", "n"])
        )
        compare.close(early[0, 0], -lifted / slope, 64 * EPS * lifted / slope, weight)
        assert abs(found[0, 0]) <= 128 * np.spacing(at)  # V is moved by what has arrived a rounding ago
    compare.demand(1.0)


def one(times, weights, t_end, *, delay=0.0, synapse="delta", tau_syn=5 * MS, **neuron):
    """A neuron with a synapse to itself that carries nothing, and the inputs that it hears."""
    net = es.Network()
    net.add_input("in", len(times))
    net.add_population("n", 1, es.LIF(20 * MS, tau_syn, **neuron))
    net.connect("in", "n", [weights], delay=delay, synapse=synapse)
    net.connect("n", "n", [[0.0]], delay=1 * MS)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[t] for t in times]])}, t_end)


def read_at_the_end(solution):
    loss = es.losses.SampledVoltage("n", [solution.t_end], lambda v: (v.sum((1, 2)), np.ones_like(v)))
    return es.value_and_grad(solution, loss)


@pytest.mark.parametrize("slope", [1.0, -1.0, 0.5])
def test_what_a_loss_has_of_one_neuron_reaches_what_arrived_before(slope):
    """Whatever the size of it, of V or of I at the end or of V before, where there is nothing else."""
    since, late = 7 * MS, 6 * MS
    by_current = [float(response(h, 20 * MS, 5 * MS)) for h in (since, late - 1 * MS)]
    by_voltage = [np.exp(-h / (20 * MS)) for h in (since, late - 1 * MS)]
    read = es.losses.SampledVoltage("n", [late], lambda v: (slope * v.sum((1, 2)), np.full_like(v, slope)))
    for synapse, expected in (
        ("exponential", (by_current[0], np.exp(-since / (5 * MS)), by_current[1])),
        ("delta", (by_voltage[0], 0.0, by_voltage[1])),
    ):
        solution = one([1 * MS], [0.3], 8 * MS, synapse=synapse)
        found = []
        for component in range(2):
            final = np.zeros((1, 3, 1))
            final[0, component, 0] = slope
            cut = adjoint.CutAdjoint({("n",): final}, {})
            _, ((contribution,),), _ = adjoint.back(
                solution, Evaluation(np.empty(0)), ("weight",), False, None, cut
            )
            found.append(contribution[0][0, 0])
        found.append(es.value_and_grad(solution, read, wrt=("weight",))[1].weight["in", "n"][0, 0])
        np.testing.assert_allclose(found, slope * np.array(expected), rtol=16 * EPS)


def test_the_current_of_a_start_decays_from_there_on():
    """In milliseconds: a second beside it float64 has none of it left."""
    current, tau_syn = 30.0, 1 * MS
    solution = one(
        [8 * MS], [0.1], 9 * MS, synapse="exponential", tau_syn=tau_syn, i_initial=current, t_ref=1.0
    )
    (crossing,) = solution.spikes["n"].times
    slope = (current * np.exp(-crossing / tau_syn) - 1.0) / (20 * MS)
    grads = es.vjp(solution, {"n": np.ones(1)})
    np.testing.assert_allclose(grads.v_threshold["n"], 1.0 / slope, rtol=64 * EPS)


def test_the_very_first_delivery_makes_a_neuron_spike_as_any_other_does():
    """V is V less the height of the threshold then, so that when it arrived counts by what it has added beyond that."""
    start, weight, at, t_end, tau = 0.2, 1.3, 2 * MS, 9 * MS, 20 * MS
    solution = one([at], [weight], t_end, reset="subtract", v_initial=start, v_reset=-0.1)
    value, grads = read_at_the_end(solution)
    assert solution.spikes["n"].times.tolist() == [at]
    kept, added = np.exp(-(t_end - at) / tau), weight - 1.1
    assert value == pytest.approx((start * np.exp(-at / tau) + added) * kept, rel=16 * EPS, abs=0)
    after = start * np.exp(-at / tau) + added
    np.testing.assert_allclose(grads.spike_times["in"], [added * kept / tau], rtol=32 * EPS)
    np.testing.assert_allclose(grads.spike_times["n"], [after * kept / tau], rtol=32 * EPS)


def test_a_jump_within_a_rounding_of_a_crossing_moves_v_from_where_that_has_reset_it():
    """Without a refractory period it is never ignored: not where its exact time is before the float64 of the spike."""
    tau, leak, weight, lift, later, t_end = 20 * MS, 1.5, 0.3, 0.6, 30 * MS, 34 * MS
    crossing = one([0.0], [0.0], t_end, v_leak=leak).spikes["n"].times[0]
    assert crossing == pytest.approx(tau * np.log(leak / (leak - 1.0)), rel=1e-14, abs=0)
    delay = summand(crossing, -1.0)
    solution = one(
        [crossing - delay, later - delay], [weight, lift], t_end, delay=delay, v_leak=leak, reset="subtract"
    )
    times = solution.spikes["n"].times
    assert times.tolist() == [crossing, later]
    grads = read_at_the_end(solution)[1]
    before = (weight - leak) * np.exp(-(later - crossing) / tau)  # V less v_leak
    expected = (before + lift - 1.0) * np.exp(-(t_end - later) / tau) / tau
    assert grads.spike_times["n"][1] == pytest.approx(expected, rel=64 * EPS, abs=0)


def test_v_that_is_read_at_the_start_is_the_initial_one():
    """Before what arrives then, and wherever else a loss reads."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 2, es.LIF(20 * MS, 5 * MS, v_initial=[0.1, 0.2]))
    net.connect("in", "n", [[0.3], [0.4]], synapse="delta")
    net.connect("n", "n", np.zeros((2, 2)), delay=1 * MS)

    class Reads:
        def evaluate(self, solution):
            samples, neurons = np.zeros(3, np.int64), np.array([0, 0, 1])
            read = VoltageSamples(
                samples,
                neurons,
                np.array([0.0, 2 * MS, 0.0]),
                np.array([AT_START, -1, AT_START]),
                np.array([1.0, 0.5, -3.0]),
            )
            return Evaluation(np.zeros(1), voltages={"n": read})

    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 3 * MS)
    grads = es.value_and_grad(solution, Reads())[1]
    decayed = 0.5 * np.exp(-2 * MS / (20 * MS))
    np.testing.assert_allclose(grads.v_initial["n"], [1.0 + decayed, -3.0], rtol=4 * EPS)
    np.testing.assert_allclose(grads.weight["in", "n"][:, 0], [decayed, 0.0], rtol=4 * EPS)


@pytest.mark.parametrize("synapse", ["exponential", "delta"])
@pytest.mark.parametrize("tau_mem", [20 * MS, [20 * MS, 21 * MS, 22 * MS]])
def test_deliveries_that_are_listed_piece_by_piece_give_the_same_bits(monkeypatch, tau_mem, synapse):
    """Of one or of three each, where kernels are plain Python; compiled, a piece has as many as ever."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 3, es.LIF(tau_mem, 5 * MS, t_ref=[0.0, 1 * MS, 3 * MS]))
    net.connect("in", "n", [[9.0, 2.0], [7.0, 5.0], [0.0, 9.0]], delay=1 * MS)
    net.connect(
        "n",
        "n",
        [[0.0, 1.0, -2.0], [2.0, 0.0, 1.0], [0.5, 3.0, 0.0]],
        delay=np.linspace(0.0, 4e-3, 9).reshape(3, 3),
    )
    net.connect(
        "n",
        "n",
        [[0.0, 0.1, 0.2], [0.3, 0.0, 0.1], [0.2, 0.1, 0.0]],
        delay=0.7 * MS,
        synapse=synapse,
        name="m",
    )
    trains = es.SpikeTrains.from_lists(
        [[[0.0, 5 * MS], [2 * MS, 3 * MS, 9 * MS]], [[], [3 * MS]], [[1 * MS], []]]
    )
    solution = es.solve(net, {"in": trains}, 30 * MS)
    n = solution.spikes["n"].n_spikes
    assert n > 12
    cotangents, found = np.random.default_rng(0).normal(size=n), []
    for piece in (deliveries.PIECE, 1, 3):
        monkeypatch.setattr(deliveries, "PIECE", piece)
        grads = es.vjp(solution, {"n": cotangents})
        found.append(
            [
                values.tobytes()
                for name in ("weight", "delay", "tau_mem", "tau_syn", "spike_times")
                for values in getattr(grads, name).values()
            ]
        )
    assert found[0] == found[1] == found[2]


def cycle(seed, tau_mem):
    """Two populations of a cycle; a seed chooses delays, holds and resets."""
    rng, n = np.random.default_rng(seed), 5
    net = es.Network()
    net.add_input("in", 2)
    neuron = {"v_reset": rng.uniform(-0.2, 0.2, n), "v_leak": rng.uniform(0.2, 0.9, n), "v_initial": 0.15}
    neuron |= {
        "t_ref": (0.0, 1 * MS, rng.choice([0.0, 2 * MS], n))[seed % 3],
        "i_initial": rng.normal(0, 0.1, n),
    }
    net.add_population("a", n, es.LIF(tau_mem, 5 * MS, reset=("value", "subtract")[seed % 2], **neuron))
    net.add_population("b", n, es.LIF(0.5 * tau_mem, 7 * MS, v_leak=0.7))
    net.connect("in", "a", rng.normal(3.0, 1.0, (n, 2)), delay=1 * MS)
    net.connect("a", "a", rng.normal(0, 0.3, (n, n)), delay=(0.0, 1 * MS, 3 * MS)[seed % 3])
    net.connect("a", "b", rng.normal(0.5, 0.5, (n, n)))
    net.connect("b", "a", rng.normal(0.0, 0.4, (n, n)) * (rng.random((n, n)) < 0.6), delay=2 * MS)
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 15 * MS, (2, 2, 2)))
    return es.solve(net, {"in": trains}, 40 * MS), trains


@pytest.mark.parametrize("seed", range(6))
def test_a_dense_cycle_goes_back_as_its_neurons_do_alone(seed):
    """Time constants that differ in the last bit let neurons advance alone; of samples, of a cut, of what is read."""
    solutions = [
        cycle(seed, tau_mem) for tau_mem in (np.full(5, 20 * MS), 20 * MS * (1.0 + EPS * (np.arange(5) % 2)))
    ]
    assert solutions[0][0].layer("a").efferents.dense.all()
    assert not solutions[1][0].layer("a").efferents.dense.any()
    spikes = solutions[0][0].spikes
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=spikes[name].n_spikes) for name in "ab"}
    readings = rng.normal(size=(2, 5, 3))
    of_spikes = es.losses.SpikeTimeLoss(lambda _: (np.zeros(2), cotangents))
    read = es.losses.SampledVoltage(
        "a", [5 * MS, 17.3 * MS, 39 * MS], lambda v: ((v * readings).sum((1, 2)), readings)
    )
    loss, found = es.losses.Sum([of_spikes, read]), []
    for solution, trains in solutions:
        for name in "ab":
            np.testing.assert_array_equal(solution.spikes[name].neurons, spikes[name].neurons)
            assert solution.spikes[name].n_spikes > 5
        cuts = [float(solution.spikes["a"].times[1]), 21 * MS]
        found += [
            es.value_and_grad(solution, loss)[1],
            es.value_and_grad_in_pieces(solution.network, {"in": trains}, solution.t_end, loss, cuts)[1],
        ]
    dense, *others = found
    for name in PARAMETERS:
        for key, values in getattr(dense, name).items():
            size = np.abs(values).max(initial=0.0)
            for other in others:
                np.testing.assert_allclose(getattr(other, name)[key], values, rtol=0.0, atol=1e-11 * size)


def right_behind_a_spike(seed, tau_mem):
    """What is left of a cycle behind its first spike, whose neuron is ahead of its block."""
    whole, trains = cycle(seed, tau_mem)
    cut = float(whole.spikes["a"].times[0])
    parts = []
    for late in (False, True):
        of = (trains.times > cut) == late
        parts.append(
            es.SpikeTrains.from_arrays(
                *(column[of] for column in (trains.times, trains.neurons, trains.samples)),
                n_neurons=trains.n_neurons,
                n_samples=trains.n_samples,
            )
        )
    state = es.solve(whole.network, {"in": parts[0]}, cut).final_state
    return es.solve(whole.network, {"in": parts[1]}, whole.t_end, initial=state)


@pytest.mark.parametrize("seed", [1, 2])
def test_so_does_one_that_goes_on_right_behind_a_spike(seed):
    """Its states are those of one time before it is gone back."""
    found, cotangents = [], None
    for tau_mem in (np.full(5, 20 * MS), 20 * MS * (1.0 + EPS * (np.arange(5) % 2))):
        rest = right_behind_a_spike(seed, tau_mem)
        if cotangents is None:
            run, _ = rest.run_of(rest.layer("a"), rest._chunks[0])
            assert np.ptp(run.start.time[:, :5], axis=1).max() > 0.1 * MS
            rng = np.random.default_rng(seed)
            cotangents = {name: rng.normal(size=rest.spikes[name].n_spikes) for name in "ab"}
        found.append(es.vjp(rest, cotangents))
    dense, alone = found
    for name in ("weight", "delay", "v_threshold", "v_leak", "t_ref", "v_initial", "i_initial"):
        for key, values in getattr(dense, name).items():
            size = np.abs(values).max(initial=0.0)
            np.testing.assert_allclose(getattr(alone, name)[key], values, rtol=0.0, atol=1e-11 * size)


@pytest.mark.parametrize("seed", [1, 2])
def test_perturbations_of_a_dense_cycle_begin_where_it_goes_on(seed):
    """Its neurons are as of their last events, from which they decay before anything else arrives."""
    rest = right_behind_a_spike(seed, np.full(5, 20 * MS))
    run, _ = rest.run_of(rest.layer("a"), rest._chunks[0])
    assert np.ptp(run.start.time[:, :5], axis=1).max() > 0.1 * MS
    for sample in range(2):
        found, expected = (flow_derivative(of, sample=sample) for of in (rest, rest.from_start()))
        size = np.abs(expected.vectors).max()
        np.testing.assert_allclose(found.vectors, expected.vectors, rtol=0.0, atol=1e-11 * size)


def along_spikes_on_a_grid(seed, loops):
    """Networks that differ by a loop alone, along the same spikes: nearly all that happens is at the time of more."""
    rng, n, grid, found = np.random.default_rng(seed), 4, np.arange(1, 60) * 1e-4, []
    t_ref = float(rng.choice([0.0, 0.3 * MS, 1 * MS]))

    def trains(n, n_spikes, apart):
        """Rows of times that lie further apart."""
        rows = []
        for _ in range(n):
            rows.append([])
            for t in np.sort(rng.choice(grid, n_spikes, replace=False)).tolist():
                if not rows[-1] or t - rows[-1][-1] > apart + 1e-9:
                    rows[-1].append(t)
        return es.SpikeTrains.from_lists([rows])

    def delays(*shape):
        return rng.choice([0.0, 0.1 * MS, 0.2 * MS, 0.3 * MS, 0.5 * MS], shape)

    inputs, spikes = trains(3, 8, 0.0), trains(n, 14, t_ref)
    neuron = {"t_ref": t_ref, "reset": str(rng.choice(["value", "subtract"])), "v_reset": -0.1}
    jumps = rng.normal(0.3, 0.4, (n, 3)), delays(n, 1) if rng.random() < 0.5 else delays(n, 3)
    currents, back = (rng.normal(1.0, 1.0, (n, 3)), delays(n, 3)), delays(n, n)
    for loop in loops:
        net = es.Network()
        net.add_input("in", 3)
        net.add_population("n", n, es.LIF([20 * MS, 15 * MS, 15 * MS, 12 * MS], 5 * MS, **neuron))
        net.connect(
            "in", "n", jumps[0], delay=np.broadcast_to(jumps[1], (n, 3)), synapse="delta", name="jumps"
        )
        net.connect("in", "n", currents[0], delay=currents[1])
        if loop is not None:
            net.connect("n", "n", np.full((n, n), loop), delay=back)
        found.append(
            es.observe(net, {"in": inputs}, {"n": spikes}, 8 * MS, slope="threshold", undefined="zero")
        )
    return found


@pytest.mark.parametrize("seed", [30, 34, 42, 49, 54, 58])
def test_a_loop_that_carries_nothing_alters_no_gradient_along_spikes_on_a_grid(seed):
    """Its neurons one by one share no code with it; sums are above, at and below the float64 of spikes."""
    alone, cyclic = along_spikes_on_a_grid(seed, (None, 0.0))
    rng = np.random.default_rng(seed)
    cotangents, slopes = rng.normal(size=alone.spikes["n"].n_spikes), rng.normal(size=(1, 4, 2))
    of_spikes = es.losses.SpikeTimeLoss(lambda _: (np.zeros(1), {"n": cotangents}))
    read = es.losses.SampledVoltage("n", [3.05 * MS, 7.5 * MS], lambda v: ((v * slopes).sum((1, 2)), slopes))
    expected, found = (
        es.value_and_grad(solution, es.losses.Sum([of_spikes, read]))[1] for solution in (alone, cyclic)
    )
    for name in (*PARAMETERS, "spike_times"):
        for key, values in getattr(expected, name).items():
            size = np.abs(values).max(initial=0.0)
            np.testing.assert_allclose(getattr(found, name)[key], values, rtol=0.0, atol=1e-11 * size)


@pytest.mark.parametrize("seed", [1, 3, 6, 8])
def test_so_it_is_with_loops_that_carry_something_by_how_spikes_move(seed):
    """Products with a direction are those of the derivative along it, which each neuron is gone through for alone."""
    (solution,) = along_spikes_on_a_grid(seed, (0.4,))
    rng = np.random.default_rng(seed)
    cotangents = rng.normal(size=solution.spikes["n"].n_spikes)
    grads = es.vjp(solution, {"n": cotangents})
    for name in ("weight", "tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "spike_times"):
        steps = {
            key: rng.normal(size=values.shape)
            for key, values in getattr(grads, name).items()
            if name != "spike_times" or key == "in"
        }
        terms = np.concatenate([(getattr(grads, name)[key] * step).ravel() for key, step in steps.items()])
        moved = es.jvp(solution, {name: steps})["n"] @ cotangents
        assert abs(moved - terms.sum()) <= 1e-11 * np.abs(terms).sum()
