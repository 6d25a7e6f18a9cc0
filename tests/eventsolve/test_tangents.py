"""jvp: by duality with vjp, against central differences of the multiprecision solver, with every kind of loss."""

import pickle

import numpy as np
import pytest
from comparing import Comparison
from directions import central_difference, known_to, largest_step, products, random_direction
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import EPS, random_case
from readouts import VOLTAGE_TIMES, chain, readout_problem

import eventsolve as es

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=20)
@given(SEEDS, st.sampled_from(["layers", "loop"]))
@example(508545, "loop")  # a kink: an exact tie
def test_forwards_is_backwards_by_duality(seed, kind):
    """Of all numbers and all spikes at once: what is wrong anywhere shows.

    Both ways use the same times and slopes, and differ by what they round: a few times at every spike on a path from a
    number to a spike, of what all such paths add up to in size, which ``gradient_condition`` bounds. What moves the
    emission of spikes it does not know; there each spike is as one more input.
    """
    solution = random_case(seed).solve() if kind == "layers" else solved(Loop(seed))
    assume(solution is not None)
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=t.n_spikes) for name, t in solution.spikes.items()}
    n_spikes = sum(c.size for c in cotangents.values())
    grads = es.vjp(solution, cotangents)
    sizes = es.gradient_condition(solution).sizes
    direction = random_direction(solution, seed)
    paths = sum(
        largest_step(direction[kind]) * float(np.abs(cotangents[name]) @ size)
        for kind, by_name in sizes.items()
        for name, size in by_name.items()
    )
    paths += float(np.abs(cotangents["in"] * direction["spike_times"]["in"]).sum())
    emission = random_direction(solution, seed, emitted=True)["spike_times"]
    emission = {"spike_times": {name: step for name, step in emission.items() if name != "in"}}
    for moved, size in ((direction, paths), (emission, np.abs(products(grads, emission)).sum())):
        dt = es.jvp(solution, moved)
        forwards = sum(float(cotangents[name] @ dt[name]) for name in cotangents)
        backwards = float(products(grads, moved).sum())
        bound = 8 * n_spikes * EPS * size
        assert abs(forwards - backwards) <= bound
        assume(np.isfinite(bound))
        assert n_spikes < 10 or bound < 1e-3 * abs(backwards)


@pytest.mark.parametrize("kind", ["layers", "loop", "chain"])
def test_every_spike_moves_as_central_differences_say(kind):
    compare = Comparison()
    for seed in (1, 2):
        if kind == "chain":
            net, inputs = chain(1, seed)
            solution = es.solve(net, inputs, 40e-3)
        elif kind == "layers":
            case = random_case(seed, n_samples=1)
            solution, inputs = case.solve(), case.inputs
        else:
            loop = Loop(seed, n=3)
            solution, inputs = solved(loop), loop.trains()
        direction = random_direction(solution, seed)
        for name, step in direction["t_ref"].items():  # less than 0 it cannot be
            step *= solution.network.population(name).parameter("t_ref") > 0
        names = [name for name, trains in solution.spikes.items() if trains.n_spikes]

        def times(exact, names=names):
            return [t for name in names for sample in exact.spikes[name] for t, _ in sample]

        want = central_difference(solution, inputs, direction, times)
        dt = es.jvp(solution, direction)
        bounds = known_to(solution, direction)
        found = np.concatenate([dt[name] for name in names])
        bound = np.concatenate([bounds.get(name, np.zeros(dt[name].size)) for name in names])
        # an input moves by its step itself, and half an ulp of it
        compare.close(found, want, bound + EPS * np.abs(want), kind)
    compare.demand(0.95)


def losses_of(solution):
    labels = np.arange(solution.n_samples) % 2

    def trajectory(times, sample):
        return np.stack([0.5 + 3.0 * times, np.cos(100.0 * times)])

    for name in ("out", "read"):
        yield es.losses.MeanVoltageCrossEntropy(name, labels, weighting="exponential")
        yield es.losses.InstantCrossEntropy(name, labels)
        yield es.losses.TrajectoryMSE(name, trajectory)
        yield es.losses.SampledVoltage(name, VOLTAGE_TIMES[:2], lambda v: ((v**3).sum(axis=(1, 2)), 3 * v**2))
    yield es.losses.MaxVoltageCrossEntropy("read", labels)
    yield es.losses.TTFSCrossEntropy("out", labels, tau0=1e-3, tau1=5e-3, alpha=1e-2, silent="t_end")


def test_of_every_loss_it_is_the_product_with_its_gradient():
    """As many roundings as there are spikes and places at which voltages are read, of each term."""
    net, inputs = chain(3)
    solution = es.solve(net, inputs, 40e-3)
    direction = random_direction(solution, 5, emitted=True)
    for loss in losses_of(solution):
        _, grads = es.value_and_grad(solution, loss, reduction="sum")
        terms = products(grads, direction)
        reads = sum(r.times.size for r in loss.evaluate(solution).voltages.values())
        spikes = sum(t.n_spikes for t in solution.spikes.values())
        bound = (reads + spikes) * EPS * np.abs(terms).sum()
        by_sample = es.jvp(solution, direction, loss, reduction="none").loss
        assert by_sample.shape == (3,)
        assert not by_sample.flags.writeable
        total = es.jvp(solution, direction, loss, reduction="sum").loss
        assert total == np.sum(by_sample)
        assert es.jvp(solution, direction, loss).loss == total / 3
        assert abs(total - terms.sum()) <= bound
        assert bound < 1e-6 * abs(total)


def test_the_largest_voltage_moves_with_the_arrival_that_it_rides_on():
    """A kink, over an exponential synapse, and a jump, over a delta one."""
    for synapse in ("exponential", "delta"):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 2, es.LI(20e-3, 5e-3))
        weight = [[4.0, -9.0], [1.0, 0.5]] if synapse == "exponential" else [[0.6, 0.3], [0.2, 0.5]]
        net.connect("in", "out", weight, delay=1e-3, synapse=synapse)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [4e-3]]])}, 30e-3)
        assert (solution.maxima("out").arrival != -1).any()
        loss = es.losses.MaxVoltageCrossEntropy("out", [0])
        direction = random_direction(solution, 2)
        terms = products(es.value_and_grad(solution, loss)[1], direction)
        got = es.jvp(solution, direction, loss).loss
        assert abs(got - terms.sum()) <= 16 * EPS * np.abs(terms).sum()
        h = 1e-7
        sides = []
        for k in (1, -1):
            step = {n: {key: k * h * x for key, x in by.items()} for n, by in direction.items()}
            times = solution.spikes["in"].times + step["spike_times"]["in"]
            trains = es.SpikeTrains(times, solution.spikes["in"].neurons, solution.spikes["in"].samples, 1, 2)
            p = net.projections["in", "out"]
            other = net.with_weights({p.key: p.weight + step["weight"][p.key]})
            other = other.with_delays({p.key: p.shaped(p.delay) + step["delay"][p.key]})
            fields = {
                q: np.asarray(getattr(net.population("out").neuron, q)) + step[q]["out"]
                for q in ("tau_mem", "tau_syn", "v_leak", "v_initial", "i_initial")
            }
            other = other.with_neurons({"out": es.LI(**fields)})
            sides.append(es.value_and_grad(es.solve(other, {"in": trains}, 30e-3), loss)[0])
        # a loss of order 1 by steps of up to 1 in voltages, 1/20 of a time constant: h^2, and eps/h
        assert got == pytest.approx((sides[0] - sides[1]) / (2 * h), abs=1e-8)
        assert abs(got) > 1e-2


def test_a_recurrent_network_with_everything_in_it_and_a_sparse_readout():
    net, dense, t_end = readout_problem(11)
    trains = es.SpikeTrains.from_dense(dense)
    solution = es.solve(net, {"in": trains}, t_end)
    loss = es.losses.MaxVoltageCrossEntropy("read", np.zeros(solution.n_samples, int))
    direction = random_direction(solution, 1, emitted=True)
    terms = products(es.value_and_grad(solution, loss)[1], direction)
    got = es.jvp(solution, direction, loss).loss
    spikes = sum(t.n_spikes for t in solution.spikes.values())
    assert abs(got - terms.sum()) <= spikes * EPS * np.abs(terms).sum()
    assert abs(got) > 1e-3


def test_a_stream_that_went_on_moves_by_its_state_and_what_is_on_the_way_stays():
    loop = Loop(4)
    first = es.solve(loop.network(), loop.trains(high=15e-3), 15e-3, max_spikes=2000)
    later = es.solve(
        loop.network(), loop.trains(low=15e-3), loop.t_end, initial=first.final_state, max_spikes=2000
    )
    assert sum(later.spikes[name].n_spikes for name in ("a", "b")) > 5
    rng = np.random.default_rng(0)
    cotangents = {name: rng.normal(size=t.n_spikes) for name, t in later.spikes.items()}
    direction = random_direction(later, 3, emitted=True)
    terms = products(es.vjp(later, cotangents), direction)
    dt = es.jvp(later, direction)
    got = sum(cotangents[name] @ dt[name] for name in cotangents)
    assert abs(got - terms.sum()) <= sum(t.size for t in dt.values()) * EPS * np.abs(terms).sum()


def test_of_first_spikes_alone_inputs_after_the_end_move_by_their_step():
    net, inputs = chain(3)
    solution = es.solve_first_spikes(net, inputs, 40e-3, "out")
    assert solution.stopped is not None
    direction = random_direction(solution, 4)
    loss = es.losses.TTFSCrossEntropy("out", [0, 1, 0], tau0=1e-3, tau1=5e-3, alpha=0.0, silent="skip")
    found = es.jvp(solution, direction, loss)
    np.testing.assert_array_equal(found["in"], direction["spike_times"]["in"])
    terms = products(es.value_and_grad(solution, loss)[1], direction)
    assert abs(found.loss - terms.sum()) <= found["in"].size * EPS * np.abs(terms).sum()


def test_threads_and_batches_change_no_bit():
    net, inputs = chain(70)
    solution = es.solve(net, inputs, 40e-3)
    direction = random_direction(solution, 6)
    one, two = (es.jvp(solution, direction, threads=n) for n in (1, 2))
    last = solution.spikes["in"].samples == 69
    alone = es.solve(net, {"in": inputs["in"].select([69])}, 40e-3)
    own = es.jvp(alone, {**direction, "spike_times": {"in": direction["spike_times"]["in"][last]}})
    for name in ("hidden", "out"):
        np.testing.assert_array_equal(one[name], two[name])
        np.testing.assert_array_equal(own[name], one[name][solution.spikes[name].samples == 69])


def test_what_it_returns_is_a_mapping_that_cannot_be_changed():
    net, inputs = chain(1)
    solution = es.solve(net, inputs, 40e-3)
    dt = es.jvp(solution, {"weight": {("in", "hidden"): 1.0}})
    assert list(dt) == list(solution.spikes)
    assert dt.loss is None
    assert dt["out"] is dt.spike_times["out"]
    again = pickle.loads(pickle.dumps(dt))
    np.testing.assert_array_equal(again["out"], dt["out"])
    assert not again["out"].flags.writeable
    assert len(repr(dt)) < 2000
    assert all((values == 0).all() for values in es.jvp(solution, {}).values())


class TestErrors:
    def solution(self):
        net, inputs = chain(2)
        return es.solve(net, inputs, 40e-3)

    @pytest.mark.parametrize(
        ("direction", "error", "message"),
        [
            ("weight", TypeError, "direction must be a mapping of some of"),
            ({"weights": {}}, ValueError, "direction must name some of .*; got 'weights'"),
            ({"weight": 1.0}, ValueError, r"direction\['weight'\] must be a mapping of projections; got 1.0"),
            ({"weight": {("in", "out"): 1.0}}, ValueError, r"direction\['weight'\] names \('in', 'out'\)"),
            ({"tau_mem": {"in": 1.0}}, ValueError, r"direction\['tau_mem'\] names 'in'"),
            ({"t_ref": {"read": 1.0}}, ValueError, r"direction\['t_ref'\] names 'read'"),
            ({"weight": {("in", "hidden"): [1.0]}}, ValueError, "must be a number or like the weight"),
            ({"v_leak": {"out": [1.0]}}, ValueError, r"must be a number or have shape \(2,\)"),
            ({"v_leak": {"out": np.nan}}, ValueError, r"direction\['v_leak'\]\['out'\] must be finite; "),
        ],
    )
    def test_a_direction_that_does_not_fit(self, direction, error, message):
        with pytest.raises(error, match=message):
            es.jvp(self.solution(), direction)

    def test_other_arguments(self):
        solution = self.solution()
        with pytest.raises(TypeError, match="solution must be a Solution"):
            es.jvp("solution", {})
        with pytest.raises(TypeError, match=r"loss must be one of eventsolve\.losses"):
            es.jvp(solution, {}, "loss")
        with pytest.raises(ValueError, match="reduction must be one of"):
            es.jvp(solution, {}, reduction="max")

    def test_a_spike_without_a_slope_has_no_derivative(self):
        # a spike recorded where a weaker network's voltage would not rise through the threshold
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[8.0]])
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.05)
        solution = solution._with(network=net.with_weights({("in", "out"): [[1.0]]}))
        with pytest.raises(es.UndefinedGradientError, match="neuron 0 of 'out' in sample 0"):
            es.jvp(solution, {"weight": {("in", "out"): 1.0}})
        assert not es.jvp(solution, {})["out"].any()
