"""What the two kernels that go backwards leave out, tell and make room for, against what is told neuron by neuron."""

import inspect
from itertools import accumulate, repeat

import numpy as np
import pytest
from comparing import Comparison
from networks import EPS

import eventsolve as es
from eventsolve import adjoint
from eventsolve.interrupts import call
from eventsolve.kernels import layered_adjoint
from eventsolve.kernels.arrivals import Grouped
from eventsolve.kernels.layered_adjoint import backward
from eventsolve.kernels.tables import Cotangents, Sampled, Spikes, Wanted
from eventsolve.losses import Evaluation, VoltageSamples
from eventsolve.patterns import NAMES

MS = 1e-3
NOTHING = np.empty(0, np.int64)
UNREAD = Sampled(np.empty(0), NOTHING, np.zeros(2, np.int64), NOTHING, np.empty(0))
NO_BOUNDARY = np.empty((0, 3, 0))


def by_neuron(of, n):
    """What kernels are given of one sample's spikes or readings."""
    places = np.argsort(of.neurons, kind="stable")
    return Grouped(of, 0, np.searchsorted(of.neurons[places], np.arange(n + 1)), places)


def test_the_way_back_begins_at_the_last_thing_that_a_loss_depends_on(monkeypatch):
    """Of random spikes, readings and states at the end, for any members of a group, by a list of all that matters."""
    plain = {}  # compiled for calls from Python they would take longer than all tests of this file
    for name in ("goes_on", "count_contributing", "last_contribution", "next_contributing"):
        plain[name] = inspect.unwrap(getattr(layered_adjoint, name))
        monkeypatch.setattr(layered_adjoint, name, plain[name])
    rng, n, t_end = np.random.default_rng(0), 4, 1.0
    some_none = 0
    for _ in range(150):
        n_spikes = int(rng.integers(0, 7))
        times, who = np.sort(rng.uniform(0.1, t_end, n_spikes)), rng.integers(0, n, n_spikes)
        if n_spikes:
            times[-1] = rng.choice([times[-1], t_end])
        offsets, zeros = np.array([0, n_spikes]), np.zeros(n_spikes, np.int64)
        here = by_neuron(Spikes(times, who, offsets, zeros, zeros - 1, np.zeros(n_spikes)), n)
        spikes = rng.choice([-1.0, 0.0, 0.0, 1.0], n_spikes)
        readers = np.flatnonzero(rng.random(n) < 0.15)
        sampled = UNREAD._replace(neurons=readers, offsets=np.array([0, readers.size]))
        boundary = np.zeros((rng.integers(0, 2), 3, n))
        if boundary.size and rng.random() < 0.5:
            boundary[0, rng.integers(0, 3), rng.integers(0, n)] = rng.choice([-1.0, 1.0])
        cotangents = Cotangents(spikes, np.empty(0), sampled, boundary)
        read = by_neuron(sampled, n)

        def until(
            neuron, boundary=boundary, readers=readers, times=times, mattering=(spikes != 0.0), who=who
        ):
            """When all is over that a neuron's part of the loss hangs on; None if there is none."""
            if neuron in readers or (boundary.size and boundary[0, :, neuron].any()):
                return t_end
            return times[mattering & (who == neuron)].max(initial=0.0) or None

        members = rng.permutation(n)
        for neuron in range(n):
            own = spikes[who == neuron]
            assert (
                plain["count_contributing"](neuron, cotangents, here)
                == np.flatnonzero(own).max(initial=-1) + 1
            )
        for first in range(n):
            mattering = [k for k in range(first, n) if until(members[k]) is not None]
            found = plain["next_contributing"](members, first, n, cotangents, here, read)
            assert found == (mattering[0] if mattering else n)
            some_none += not mattering
            if mattering:
                latest = max(until(members[k]) for k in mattering)
                found = plain["last_contribution"](members, first, n, cotangents, here, read, t_end)
                assert found == np.nextafter(latest, t_end)  # and what arrives then, by what was rounded off
    assert some_none > 50


def pacemakers(n, n_samples=1, t_end=30 * MS, *, cyclic=False):
    """Neurons whose leak is above threshold, two and two of which hear the one input alike; samples are alike."""
    net = es.Network()
    net.add_input("in", 1)
    start = np.linspace(0.4, 0.0, n)  # the first of each two spikes first
    net.add_population("n", n, es.LIF(20 * MS, 5 * MS, v_leak=1.5 + start, v_initial=-start))
    net.connect("in", "n", np.full((n, 1), 0.1), delay=MS * (1 + np.arange(n) // 2)[:, None])
    if cyclic:
        net.connect("n", "n", np.zeros((n, n)), delay=1 * MS)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]] * n_samples)}, t_end)


def gone_back(solution, spikes, slopes=None, wanted=(True, True, True), *, per_sample=False):
    """What the kernel returns for cotangents of the spikes of "n", and slopes that were observed."""
    layer = solution.layer("n")
    run, sources = solution.run_of(layer, solution._chunks[0])
    unread = UNREAD._replace(offsets=np.zeros(solution.n_samples + 1, np.int64))
    cotangents = Cotangents(spikes, np.empty(0) if slopes is None else slopes, unread, NO_BOUNDARY)
    wanted = Wanted(*wanted)
    if layer.cyclic:
        return adjoint._around_cycle(solution, layer, run, sources, cotangents, wanted, True, per_sample)
    return call(backward, layer.by_target, run, cotangents, wanted, per_sample, layer.n_synapses)


@pytest.mark.parametrize("cyclic", [False, True])
def test_of_all_spikes_without_a_slope_the_first_is_told(cyclic):
    """Whichever neurons, groups and samples they are of: by the order of the spikes."""
    rng = np.random.default_rng(1)
    solution = pacemakers(4, n_samples=2, t_end=50 * MS, cyclic=cyclic)
    n = solution.spikes["n"].n_spikes
    assert n >= 12
    ones = rng.choice([-1.0, 1.0], n)
    flat = [np.arange(n) == k for k in range(n)]
    flat += [rng.random(n) < 0.3 for _ in range(20)] + [np.zeros(n, bool), np.ones(n, bool)]
    for which in flat:
        slopes = np.where(which, rng.choice([0.0, -1.0], n), 1.0)
        _, grazing = gone_back(solution, ones, slopes)
        assert grazing == (np.flatnonzero(which)[0] if which.any() else -1)
    alone = pacemakers(1, t_end=25 * MS, cyclic=cyclic)
    assert alone.spikes["n"].n_spikes == 1
    assert gone_back(alone, np.ones(1), np.zeros(1))[1] == 0
    one, half = (gone_back(alone, np.ones(1), np.array([slope]))[0] for slope in (40.0, 80.0))
    assert one.parameters[0, 2, 0] == 1.0 / 40.0  # dt/dv_threshold
    np.testing.assert_array_equal(half.parameters[0], 0.5 * one.parameters[0])


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_spike_counts_as_much_as_its_cotangent_of_either_sign(cyclic):
    solution = pacemakers(2, cyclic=cyclic)
    for one in np.eye(solution.spikes["n"].n_spikes):
        found = [gone_back(solution, factor * one)[0] for factor in (1.0, -1.0, 2.0, 0.5)]
        for there, opposite, twice, half in zip(*(sums[:-1] for sums in found), strict=True):
            np.testing.assert_array_equal(there, -opposite)
            np.testing.assert_array_equal(twice, 2.0 * there)
            np.testing.assert_array_equal(half, 0.5 * there)


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("per_sample", [False, True])
def test_there_is_a_row_for_each_sample_or_one_and_a_column_for_what_is_wanted(per_sample, cyclic):
    solution = pacemakers(2, n_samples=3, cyclic=cyclic)
    n_synapses = 6 if cyclic else 2
    spikes, n_rows = np.ones(solution.spikes["n"].n_spikes), 3 if per_sample else 1
    full, _ = gone_back(solution, spikes, per_sample=per_sample)
    for wanted in ((True, True, True), (False, True, True), (True, False, True), (True, True, False)):
        sums, _ = gone_back(solution, spikes, wanted=wanted, per_sample=per_sample)
        assert sums.weight.shape == (n_rows, n_synapses * wanted[0])
        assert sums.delay.shape == (n_rows, n_synapses * wanted[1])
        assert sums.parameters.shape == (n_rows, 8, 2)
        flow = [0, 1, 4]  # the time constants and the leak
        np.testing.assert_array_equal(sums.parameters[:, flow].any(), wanted[2])
        rest = np.delete(np.arange(8), flow)
        np.testing.assert_array_equal(sums.parameters[:, rest], full.parameters[:, rest])
        np.testing.assert_array_equal(sums.totals, full.totals)
        for name, there in zip(("weight", "delay"), wanted, strict=False):
            np.testing.assert_array_equal(getattr(sums, name), getattr(full, name)[:, : n_synapses * there])
    alone, _ = gone_back(pacemakers(2, cyclic=cyclic), np.ones(spikes.size // 3))  # samples are alike
    np.testing.assert_allclose(
        full.parameters, np.repeat(alone.parameters, n_rows, 0) * (1 if per_sample else 3), rtol=4 * EPS
    )


def test_a_neuron_that_is_not_read_alters_nothing_of_one_that_is():
    """No other neuron's reading says how far one has to be followed."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 3, es.LI([20 * MS, 10 * MS, 10 * MS], 5 * MS, v_initial=0.3))
    net.connect("in", "n", [[0.9], [0.7], [-0.2]], delay=[[1 * MS], [2 * MS], [2 * MS]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 8 * MS)

    class Reads:
        def __init__(self, slopes):
            self.neurons, self.slopes = np.array(list(slopes)), np.array(list(slopes.values()))

        def evaluate(self, solution):
            zeros, n = np.zeros(1), self.neurons.size
            samples = VoltageSamples(
                np.zeros(n, np.int64), self.neurons, np.full(n, 6 * MS), np.full(n, -1), self.slopes
            )
            return Evaluation(zeros, voltages={"n": samples})

    slopes = {0: 0.5, 1: -2.0, 2: 3.0}
    together = es.value_and_grad(solution, Reads(slopes))[1]
    key = ("in", "n")
    for neuron, slope in slopes.items():
        alone = es.value_and_grad(solution, Reads({neuron: slope}))[1]
        expected = np.where(np.arange(3) == neuron, together.weight[key][:, 0], 0.0)
        np.testing.assert_array_equal(alone.weight[key][:, 0], expected)
        assert expected[neuron] != 0.0


def response(t, tau_mem, tau_syn):
    """V a time after a unit of current has arrived."""
    return np.where(t > 0, tau_syn / (tau_mem - tau_syn) * (np.exp(-t / tau_mem) - np.exp(-t / tau_syn)), 0.0)


@pytest.mark.parametrize(("n_arrivals", "n_reads"), [(255, 1), (256, 0), (257, 1), (3, 300)])
def test_there_is_room_for_a_neuron_to_which_much_happens(n_arrivals, n_reads):
    """Room for 256 segments, of which each event ends one, is doubled where there are more."""
    t_end, tau_mem, tau_syn = 0.5, 20 * MS, 5 * MS
    times = np.linspace(0.0, 0.9 * t_end, n_arrivals)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LI(tau_mem, tau_syn))
    net.connect("in", "n", [[0.1]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[times]])}, t_end)
    read = np.linspace(0.2 * t_end, t_end, n_reads) if n_reads else np.array([t_end])
    if n_reads:
        loss = es.losses.SampledVoltage("n", read, lambda v: (v.sum((1, 2)), np.ones_like(v)))
        found = es.value_and_grad(solution, loss)[1].weight["in", "n"][0, 0]
    else:
        final = adjoint.CutAdjoint({("n",): np.array([[[1.0], [0.0], [0.0]]])}, {})
        _, ((contribution,),), _ = adjoint.back(solution, Evaluation(np.empty(0)), NAMES, False, None, final)
        found = contribution[0][0, 0]
    terms = response(read[:, None] - times, tau_mem, tau_syn)
    # a rounding of each decay for each event that it is taken over, and a few of each term here and there
    compare = Comparison()
    compare.close(found, terms.sum(), (n_arrivals + n_reads + 16) * 4 * EPS * terms.sum())
    compare.demand(1.0)


def test_there_is_room_for_a_neuron_that_spikes_often():
    """One of a rhythm, which is held for as long as it then takes to its threshold: its times are sums."""
    tau, t_ref, leak, n = 20 * MS, 2 * MS, 2.0, 130
    period = tau * np.log(leak / (leak - 1.0))
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(tau, 5 * MS, v_leak=leak, t_ref=t_ref))
    net.connect("in", "n", [[1.0]])
    t_end = n * period + (n - 0.5) * t_ref
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, t_end)
    assert solution.spikes["n"].n_spikes == n
    times = [*accumulate(repeat(period + t_ref, n - 1), initial=period)]
    np.testing.assert_allclose(solution.spikes["n"].times, times, rtol=8 * n * EPS)
    grads = es.vjp(solution, {"n": np.arange(n) == n - 1})
    for found, expected in (
        (grads.t_ref["n"][0], n - 1.0),
        (grads.tau_mem["n"][0], n * period / tau),
        (grads.v_threshold["n"][0], n * tau / (leak - 1.0)),
    ):
        assert found == pytest.approx(expected, rel=16 * n * EPS, abs=0.0)
