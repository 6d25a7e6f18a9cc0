"""Are margins the distances that they are said to be, of every event, and of nothing else?"""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import EPS, random_case, time_bounds

import eventsolve as es
from eventsolve import multiprecision

few = settings(max_examples=15)
KINDS = ("voltage", "overshoot", "slope", "gap")


def table(distances):
    """Everything in a record of distances, row by row, in an order that only depends on what it says."""
    columns = [c for c in vars(distances).values() if isinstance(c, np.ndarray) and c.dtype.kind != "U"]
    names = getattr(distances, "sources", np.array([]))
    order = np.lexsort([distances.values, distances.times, distances.neurons, distances.samples])
    return [c[order] for c in columns if c.shape == distances.values.shape], names[
        order
    ] if names.size else ()


def same(a, b):
    for x, y in zip((*table(a)[0], table(a)[1]), (*table(b)[0], table(b)[1]), strict=True):
        np.testing.assert_array_equal(x, y)


# -- against the slow truth ---------------------------------------------------------------------------------------


class SlowTrajectory:
    """One neuron of an exact solution: its voltage and its events, worked out from spikes, weights and delays alone."""

    def __init__(self, truth, net, name, sample, neuron):
        self.truth, self.ctx = truth, truth.context
        self.who = (name, sample, neuron)
        parameters = truth.problem.neurons[name][neuron]
        self.threshold, self.leak, self.tau_mem, self.t_ref = (
            self.ctx.mpf(getattr(parameters, p)) for p in ("v_threshold", "v_leak", "tau_mem", "t_ref")
        )
        self.t_end = self.ctx.mpf(truth.problem.t_end)
        self.spikes = [t for t, n in truth.spikes[name][sample] if n == neuron]
        self.arrivals = sorted(
            t + self.ctx.mpf(s.delay)
            for key, synapses in truth.problem.synapses.items()
            if key[1] == name
            for s in synapses
            if s.target == neuron
            for t, source in truth.spikes[key[0]][sample]
            if source == s.source and t + self.ctx.mpf(s.delay) <= self.t_end
        )
        self.releases = [
            t + self.t_ref for t in self.spikes if self.t_ref > 0 and t + self.t_ref <= self.t_end
        ]

    def held(self, time):
        return any(t <= time < t + self.t_ref for t in self.spikes)

    def slope(self, time, before=False):
        v, i = (
            (self.truth.voltage_before, self.truth.current_before)
            if before
            else (
                self.truth.voltage,
                self.truth.current,
            )
        )
        return (self.leak - v(*self.who, time) + i(*self.who, time)) / self.tau_mem

    def below(self):
        """Threshold minus the largest V of every interval that has a largest V of its own."""
        edges = sorted({self.ctx.mpf(0), *self.spikes, *self.arrivals, *self.releases, self.t_end})
        found = []
        for a, b in itertools.pairwise(edges):
            if self.held(a) or b in self.spikes:
                continue
            start, end = self.truth.voltage(*self.who, a), self.truth.voltage_before(*self.who, b)
            if self.slope(a) > 0 and self.slope(b, before=True) < 0:
                found.append(self.truth.voltage(*self.who, self.turn(a, b, self.slope)))
            elif end > start:
                found.append(end)
            elif a not in self.arrivals:
                found.append(start)
        return sorted(self.threshold - v for v in found)

    def turn(self, a, b, slope):
        for _ in range(70):
            middle = (a + b) / 2
            a, b = (middle, b) if slope(middle) > 0 else (a, middle)
        return a

    def overshoot(self):
        """How far V would go beyond the threshold without the reset; K as it stands in MODEL, bought with digits."""
        ctx, found = self.ctx, []
        tau_mem, tau_syn = self.tau_mem, ctx.mpf(self.truth.problem.neurons[self.who[0]][self.who[2]].tau_syn)
        for t in self.spikes:
            stop = min([a for a in self.arrivals if a > t], default=self.t_end)
            current = self.truth.current(*self.who, t)

            def v(s, current=current):
                mem, syn = ctx.exp(-s / tau_mem), ctx.exp(-s / tau_syn)
                k = s / tau_mem * mem if tau_mem == tau_syn else tau_syn / (tau_syn - tau_mem) * (syn - mem)
                return self.leak + (self.threshold - self.leak) * mem + current * k

            def slope(s, current=current, v=v):
                return self.leak - v(s) + current * ctx.exp(-s / tau_syn)

            peak = self.turn(ctx.mpf(0), stop - t, slope) if slope(stop - t) < 0 else stop - t
            found.append(v(peak) - self.threshold)
        return found

    def gaps(self):
        own = sorted([*self.spikes, *self.releases])
        found = [self.t_end - self.spikes[-1]] if self.spikes else []
        for a in self.arrivals:
            found += [a - max(t for t in own if t <= a)] if own and own[0] <= a else []
            found += [min(t for t in own if t >= a) - a] if own and own[-1] >= a else []
        return sorted(found)


@pytest.mark.parametrize("seed", range(4))
def test_every_margin_is_that_of_the_exact_solution(seed):
    case = random_case(seed)
    solution = case.solve()
    truth = multiprecision.solve(case.net, case.inputs, case.t_end, digits=40)
    margins = es.margins(solution)
    time_error = max(b.max(initial=0.0) for b in time_bounds(solution).values()) + EPS * case.t_end
    for name in ("hidden", "out"):
        population = case.net.population(name)
        for sample in range(solution.n_samples):
            for neuron in range(population.size):
                trajectory = SlowTrajectory(truth, case.net, name, sample, neuron)
                # V is a sum of terms whose sizes add up to that of all that arrives, and moves as fast as they
                size = 2.0 + sum(
                    np.abs(p.weight[neuron]) @ solution.spikes[p.pre].counts()[sample]
                    for p in case.net.afferents(name)
                )
                rates = (
                    1 / population.parameter("tau_mem")[neuron] + 1 / population.parameter("tau_syn")[neuron]
                )
                speed = size * rates
                in_volts = 16 * EPS * (2 + len(trajectory.arrivals)) * size + 2 * speed * time_error
                for kind, wanted, bound in (
                    ("voltage", trajectory.below(), in_volts),
                    ("overshoot", sorted(trajectory.overshoot()), in_volts),
                    (
                        "slope",
                        sorted(trajectory.slope(t, before=True) for t in trajectory.spikes),
                        in_volts * rates,
                    ),
                    ("gap", trajectory.gaps(), 2 * time_error + 4 * EPS * case.t_end),
                ):
                    d = getattr(margins, kind)[name]
                    got = np.sort(d.values[(d.samples == sample) & (d.neurons == neuron)])
                    assert got.size == len(wanted), (kind, name, sample, neuron)
                    assert (np.abs(got - np.array(wanted, float)) <= bound).all(), (
                        kind,
                        name,
                        sample,
                        neuron,
                    )


def test_a_peak_worked_out_by_hand():
    # tau_mem = tau_syn: V = w (t/tau) exp(-t/tau) peaks at tau with w/e; 2.6/e is 0.9565, 2.8/e is 1.03
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 2, es.LIF(10e-3, 10e-3))
    net.connect("in", "n", [[2.6], [2.8]])
    margins = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists([[[5e-3]]])}, 80e-3))
    (silent,) = margins.voltage["n"].times[margins.voltage["n"].neurons == 0][:1]
    assert silent == pytest.approx(15e-3, rel=4 * EPS, abs=0.0)
    assert margins.smallest()["voltage"][0].value == pytest.approx(1 - 2.6 / np.e, abs=8 * EPS)
    assert margins.overshoot["n"].values == pytest.approx([2.8 / np.e - 1], abs=16 * EPS)
    assert margins.smallest()["gap"] == margins.smallest(9)["gap"][:1]
    assert margins.smallest(9)["gap"][1].event == "its last spike before t_end"
    assert margins.smallest(9)["gap"][0].event == "an arrival from neuron 0 of 'in' before its spike"


def test_a_spike_that_the_next_arrival_cuts_off():
    # V rises through the threshold until the inhibition: without the reset it would be largest just there
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[9.0, -20.0]])
    stop = 3.4e-3
    alone = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], []]])}, 10e-3)
    (spike,) = alone.spikes["n"].times[:1]
    assert spike < stop
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [stop]]])}, 10e-3)
    silent = es.solve(
        net.with_neurons({"n": es.LIF(20e-3, 5e-3, v_threshold=9.0)}), {"in": alone.spikes["in"]}, 10e-3
    )
    margins = es.margins(solution)
    highest = silent.voltage("n", [stop])[0, 0, 0] - 1.0
    assert margins.overshoot["n"].values[0] == pytest.approx(highest, abs=64 * EPS)


# -- laws -----------------------------------------------------------------------------------------------------------


@few
@given(st.integers(0, 10_000))
def test_a_batch_is_its_samples_and_threads_change_nothing(seed):
    case = random_case(seed, n_samples=3)
    whole = es.margins(case.solve(), threads=1)
    for s in range(3):
        one = es.margins(case.solve(inputs={"in": case.inputs["in"].select([s])}))
        for kind in KINDS:
            assert whole.least[kind][s] == one.least[kind][0]
            for name, d in getattr(whole, kind).items():
                piece = slice(d.offsets[s], d.offsets[s + 1])
                np.testing.assert_array_equal(d.values[piece], getattr(one, kind)[name].values)
                np.testing.assert_array_equal(d.neurons[piece], getattr(one, kind)[name].neurons)
    many = case.inputs["in"].select([0, 1, 2] * 50)
    one, two = (es.margins(case.solve(inputs={"in": many}), threads=n) for n in (1, 2))
    for kind in KINDS:
        for name in ("hidden", "out"):
            same(getattr(one, kind)[name], getattr(two, kind)[name])


@few
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_nearest_are_the_first_of_all(seed, nearest):
    solution = random_case(seed).solve()
    some, everything = es.margins(solution, nearest=nearest), es.margins(solution)
    for kind in KINDS:
        for name, d in getattr(everything, kind).items():
            rank = np.arange(d.values.size) - d.offsets[d.samples]
            np.testing.assert_array_equal(getattr(some, kind)[name].values, d.values[rank < nearest])
        assert some.smallest(nearest)[kind] == everything.smallest(nearest)[kind]


@few
@given(st.integers(0, 10_000))
def test_a_later_start_and_other_numbers_of_neurons_change_nothing(seed):
    # a shift by a power of two of all times but t = 0, where V and I are at rest, moves no gap but in rounding
    case = random_case(seed, leak=False)
    order = np.random.default_rng(seed).permutation(4)
    shift = 2.0**-5
    moved = es.Network()
    moved.add_input("in", 3)
    for name, n in (("hidden", 4), ("out", 2)):
        p = case.net.population(name)
        at = order if name == "hidden" else slice(None)
        values = {
            q: p.parameter(q)[at] for q in ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")
        }
        moved.add_population(name, n, es.LIF(**values))
    for key, p in case.net.projections.items():
        delay = p.delay.reshape(p.weight.shape)
        if "hidden" in key:
            at = (order, slice(None)) if key[1] == "hidden" else (slice(None), order)
            moved.connect(*key, p.weight[at], delay=delay[at])
        else:
            moved.connect(*key, p.weight, delay=delay)
    late = es.SpikeTrains.from_lists(
        [[[t + shift for t in n] for n in s] for s in case.inputs["in"].to_lists()]
    )
    one, two = case.solve(), es.solve(moved, {"in": late}, case.t_end + shift)
    assume(all(one.spikes[n].n_spikes == two.spikes[n].n_spikes for n in ("hidden", "out")))
    a, b = es.margins(one), es.margins(two)
    bound = max(x.max(initial=0.0) for s in (one, two) for x in time_bounds(s).values()) + 8 * EPS * shift
    for name in ("hidden", "out"):
        np.testing.assert_allclose(
            np.sort(a.gap[name].values), np.sort(b.gap[name].values), rtol=0, atol=4 * bound
        )
        assert a.voltage[name].values.size == b.voltage[name].values.size


# -- everything that solve takes ------------------------------------------------------------------------------------


@few
@given(st.integers(0, 10_000))
def test_loops_delta_synapses_and_every_reset(seed):
    solution = solved(Loop(seed))
    assume(solution is not None)
    margins = es.margins(solution)
    for name in ("a", "b"):
        spikes = solution.spikes[name]
        chunk_trigger = np.concatenate([c.spikes[name].trigger for c in solution.chunks])
        assert margins.overshoot[name].values.size == spikes.n_spikes
        assert margins.slope[name].values.size == np.count_nonzero(chunk_trigger < 0)
        # float64 decided that these spikes are there and no others: none is on the wrong side by more than rounding
        size = 40 * (1 + np.abs(np.concatenate([p.weights for p in solution.network.afferents(name)])).max())
        for kind in KINDS:
            assert (getattr(margins, kind)[name].values >= -64 * EPS * size).all()
        assert set(margins.gap[name].sources) <= {"", "in", "a", "b"}


def test_an_arrival_of_weight_zero_is_no_event():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[9.0, 0.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [2e-3]]])}
    one = es.margins(es.solve(net, inputs, 20e-3))
    assert set(one.gap["n"].source_neurons) == {0, -1}


@pytest.mark.parametrize("synapse", ["exponential", "delta"])
def test_v_that_rises_past_an_arrival_of_weight_zero_has_no_margin_there(synapse):
    found = []
    for times in ([], [1e-3, 2e-3], [8e-3]):  # while V rises, and while it falls
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("n", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "n", [[3.0, 0.0]])
        net.connect("in", "n", [[0.0, 0.0]], synapse=synapse, name="more")
        margins = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], times]])}, 20e-3))
        found.append(margins.voltage["n"].values)
    for values in found[1:]:
        np.testing.assert_allclose(values, found[0], rtol=1e-14)


def test_own_arrivals_have_an_order_by_nature():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[9.0]])
    net.connect("n", "n", [[-1.0]])  # arrives with the spike that causes it
    gaps = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 5e-3)).gap["n"]
    assert (gaps.values > 0).all()


@pytest.mark.parametrize("delay", [0.0, 1e-3, 5e-3])
@pytest.mark.parametrize("synapse", ["exponential", "delta"])
def test_the_overshoot_of_a_spike_is_without_what_it_sends_to_itself(delay, synapse):
    """Without the spike that does not arrive V goes on to its peak at 1 + overshoot, as in the network without loop."""

    def net(loop):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("n", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "n", [[10.0]])
        if loop:
            net.connect("n", "n", [[-0.2]], delay=delay, synapse=synapse)
        return net

    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    found, wanted = (es.margins(es.solve(net(loop), inputs, 30e-3)).overshoot["n"] for loop in (True, False))
    assert wanted.values.size == 1
    # V peaks where I = V, at s = ln(4) 20/3 ms, at 10/3 (4^(-1/3) - 4^(-4/3)), above 1
    assert wanted.values[0] == pytest.approx(10 / 3 * (4 ** (-1 / 3) - 4 ** (-4 / 3)) - 1.0, rel=1e-12, abs=0)
    np.testing.assert_array_equal(found.values, wanted.values)


def test_what_an_earlier_spike_sends_to_its_own_neuron_does_cut_an_overshoot_off():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[20.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    alone = es.solve(net, inputs, 30e-3)
    first, second = alone.spikes["n"].times[:2].tolist()
    loop = net.cut_at(())
    loop.connect("n", "n", [[1e-3]], delay=second + 0.1e-3 - first)
    of = es.margins(es.solve(loop, inputs, second + 0.05e-3)).overshoot["n"]
    assert of.values.size == 2
    solution = es.solve(loop, inputs, 30e-3)
    assert solution.spikes["n"].times[1] == second
    of = es.margins(solution).overshoot["n"]
    cut = of.values[of.times == second]
    uncut = es.margins(alone).overshoot["n"]
    assert 0.0 < cut[0] < 0.5 * uncut.values[uncut.times == second][0]


def test_readouts_and_empty_networks_have_none():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("nobody", 0, es.LIF(20e-3, 5e-3))
    net.add_population("read", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "read", np.ones((2, 2)))
    net.connect("in", "nobody", np.ones((0, 2)))
    margins = es.margins(es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], []]])}, 5e-3))
    assert set(margins.voltage) == {"nobody"}
    assert all(np.isinf(least).all() for least in margins.least.values())
    assert margins.smallest(3) == dict.fromkeys(KINDS, ())
    nobody = es.SpikeTrains.from_lists([], n_neurons=2)
    assert es.margins(es.solve(net, {"in": nobody}, 5e-3)).least["gap"].shape == (0,)


def test_a_solution_that_goes_on_has_the_margins_of_its_own_part():
    loop = Loop(4)
    net = loop.network()
    first = es.solve(net, loop.trains(high=20e-3), 20e-3)
    second = es.solve(net, loop.trains(low=20e-3), loop.t_end, initial=first.final_state)
    whole = es.solve(net, loop.trains(), loop.t_end)
    a, b = es.margins(second), es.margins(whole)
    for name in ("a", "b"):
        late = b.slope[name].times > 20e-3
        np.testing.assert_array_equal(np.sort(a.slope[name].values), np.sort(b.slope[name].values[late]))


@pytest.mark.parametrize("nearest", [0, -1, 1.0, True, "2"])
def test_a_bad_nearest_is_refused(nearest):
    with pytest.raises(ValueError, match="nearest must be an integer >= 1"):
        es.margins(random_case(0).solve(), nearest=nearest)


def test_only_solutions_have_margins():
    with pytest.raises(TypeError, match="solution must be a Solution; got Network"):
        es.margins(es.Network())


@pytest.mark.parametrize("of", [es.margins, partial(es.trust_radius, certify=False), es.gradient_condition])
def test_a_solution_of_first_spikes_is_no_whole_one(of):
    case = random_case(0)
    with pytest.raises(ValueError, match=r"use eventsolve\.solve"):
        of(es.solve_first_spikes(case.net, case.inputs, case.t_end, population="out"))


def test_margins_are_read_only():
    margins = es.margins(random_case(0).solve())
    with pytest.raises(ValueError, match="read-only"):
        margins.voltage["out"].values[0] = 0.0


def test_the_least_and_the_smallest_are_those_of_all():
    solution = random_case(3, n_samples=4).solve()
    margins = es.margins(solution)
    found = margins.smallest(5)
    for kind in ("voltage", "overshoot", "slope", "gap"):
        every = getattr(margins, kind)
        assert sum(d.values.size for d in every.values()) > 5
        for d in every.values():
            for s, least in enumerate(d.least()):
                assert least == d.values[d.samples == s].min(initial=np.inf)
        least = [min(d.least()[s] for d in every.values()) for s in range(4)]
        np.testing.assert_array_equal(margins.least[kind], least)
        values = np.sort(np.concatenate([d.values for d in every.values()]))
        assert [margin.value for margin in found[kind]] == values[:5].tolist()
        for margin in found[kind]:
            d = every[margin.population]
            here = (d.samples == margin.sample) & (d.neurons == margin.neuron) & (d.times == margin.time)
            assert margin.value in d.values[here]


def test_every_slope_names_the_sample_and_the_neuron_of_a_spike():
    """Also in the second chunk of samples, and of the second of two populations of one cycle."""
    case = random_case(3, n_samples=2)
    many = case.solve(inputs={"in": case.inputs["in"].select([0, 1] * 40)})
    loop = Loop(2, n=2, t_end=30e-3).solve()
    assert loop.layer("b").name == ("a", "b")
    for solution in (many, loop):
        for name, d in es.margins(solution).slope.items():
            spikes = solution.spikes[name]
            assert d.values.size
            made = set(
                zip(spikes.samples.tolist(), spikes.neurons.tolist(), spikes.times.tolist(), strict=True)
            )
            named = set(zip(d.samples.tolist(), d.neurons.tolist(), d.times.tolist(), strict=True))
            assert named <= made
            assert len(named) == d.values.size
