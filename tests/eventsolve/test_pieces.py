"""Gradients along streams that are solved in pieces: those of the whole, in the memory of a piece."""

import re

import numpy as np
import pytest
from comparing import Comparison
from cuts import between, loops
from directions import central_difference, flat, known_to, products, random_direction
from memory import in_a_fresh_process, noisy, peak
from networks import EPS, random_case, slopes

import eventsolve as es
from eventsolve import pieces as module
from eventsolve.losses import Evaluation
from eventsolve.patterns import NAMES, NEURON_PARAMETERS


def wave(names, frequency=300.0):
    """A loss of all spike times of some populations, whose derivative by each is the cosine of its phase."""

    def function(spikes):
        trains = {name: spikes[name] for name in names}
        values = sum(
            np.bincount(t.samples, np.sin(frequency * t.times) / frequency, t.n_samples)
            for t in trains.values()
        )
        return values, {name: np.cos(frequency * t.times) for name, t in trains.items()}

    return es.losses.SpikeTimeLoss(function)


def random_problem(seed):
    """Layers without cycles or loops in turn: network, inputs, t_end, its solution, the populations, a generator."""
    if seed % 2:
        net, inputs, names, rng = loops(seed)
        try:
            return net, inputs, 60e-3, es.solve(net, inputs, 60e-3, max_spikes=200), names, rng
        except (es.SpikeBudgetError, es.RepeatedSpikeError) as error:  # up to where it runs away
            t_end = 0.9 * error.time
            return net, inputs, t_end, es.solve(net, inputs, t_end), names, rng
    case, rng = random_case(seed), np.random.default_rng([5, seed])
    return case.net, case.inputs, case.t_end, case.solve(), ["hidden", "out"], rng


def cut(solution, names, rng, t_end):
    """Cuts at some of the spikes, just behind others, and between, so that some pieces hold nothing at all."""
    times = np.concatenate([solution.spikes[name].times for name in [*names, "in"]])
    times = np.unique(times[(times > 0) & (times < 0.99 * t_end)])
    at = rng.choice(times, min(6, times.size), replace=False)
    behind = np.where(rng.random(at.size) < 0.5, np.nextafter(at, 1.0), at)
    return np.unique(np.concatenate([behind, np.linspace(0, t_end, 16)[1:-1]]))


def gradients_of(grads):
    """Every number of a gradient, by quantity and key; of spike times those of the input."""
    for quantity in ("weight", "delay", *NEURON_PARAMETERS):
        for key, values in getattr(grads, quantity).items():
            yield quantity, key, flat(values)
    yield "spike_times", "in", grads.spike_times["in"]


def test_the_gradient_in_pieces_is_that_of_the_whole():
    """To the errors of the derivatives of every spike time in float64, which their condition bounds."""
    compare = Comparison()
    under_way = held = 0
    for seed in range(30):
        net, inputs, t_end, whole, names, rng = random_problem(seed)
        cuts, loss = cut(whole, names, rng, t_end), wave(names)
        value, grads = es.value_and_grad(whole, loss, reduction="sum")
        got, found = es.value_and_grad_in_pieces(net, inputs, t_end, loss, cuts, reduction="sum")
        assert abs(got - value) <= 8 * EPS * sum(whole.spikes[name].n_spikes for name in names) / 300.0
        errors = es.gradient_condition(whole).errors
        of_pieces = {(quantity, key): values for quantity, key, values in gradients_of(found)}
        for quantity, key, values in gradients_of(grads):
            known = sum(
                np.abs(np.cos(300.0 * whole.spikes[name].times)) @ errors[quantity][name] for name in names
            )
            compare.close(of_pieces[quantity, key], values, 2 * known, (seed, quantity, key))  # of both
        for name in names:
            free = (
                whole.spikes[name].times + net.population(name).parameter("t_ref")[whole.spikes[name].neurons]
            )
            held += np.count_nonzero(
                np.searchsorted(cuts, free) > np.searchsorted(cuts, whole.spikes[name].times)
            )
        under_way += sum(
            whole.spikes[p.pre].n_spikes * bool((p.delay > 4e-3).any()) for p in net.projections.values()
        )
    compare.demand(0.7)  # the others are 0
    assert held > 50  # spikes that are released beyond a cut
    assert under_way > 100  # spikes with a delay longer than a piece


def long_delays():
    """Spikes under way and neurons held over many pieces, over exponential and delta synapses and both resets."""
    rng = np.random.default_rng(4)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("a", 4, es.LIF(20e-3, 5e-3, t_ref=13e-3, v_initial=0.3, i_initial=0.2))
    net.add_population("b", 3, es.LIF(15e-3, 6e-3, t_ref=[4e-3, 17e-3, 9e-3], reset="subtract"))
    net.connect("in", "a", rng.uniform(2.0, 5.0, (4, 3)), delay=11e-3)
    net.connect("a", "b", rng.uniform(1.0, 2.5, (3, 4)), delay=rng.uniform(8e-3, 19e-3, (3, 4)))
    net.connect("in", "b", rng.uniform(0.3, 0.8, (3, 3)), delay=7e-3, synapse="delta", name="kick")
    net.connect("b", "a", rng.normal(0.5, 1.0, (4, 3)), delay=14e-3)
    trains = [[np.sort(rng.uniform(0, 60e-3, 4)) for _ in range(3)] for _ in range(2)]
    return net, {"in": es.SpikeTrains.from_lists(trains)}


def test_delays_and_refractory_periods_may_be_longer_than_pieces():
    net, inputs = long_delays()
    whole = es.solve(net, inputs, 0.1)
    assert min(whole.spikes[name].n_spikes for name in "ab") >= 15
    loss, compare = wave("ab"), Comparison()
    grads = es.value_and_grad(whole, loss, reduction="sum")[1]
    found = es.value_and_grad_in_pieces(net, inputs, 0.1, loss, 50, reduction="sum")[1]
    errors = es.gradient_condition(whole).errors
    of_pieces = {(quantity, key): values for quantity, key, values in gradients_of(found)}
    for quantity, key, values in gradients_of(grads):
        known = sum(errors[quantity][name].sum() for name in "ab")
        compare.close(of_pieces[quantity, key], values, 2 * known, (quantity, key))
    compare.demand(0.8)


@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_neuron_may_spike_right_behind_a_hold_that_spans_a_cut(reset):
    """Nothing arrives between its release and its next spike: V at the release is that at which it was held."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 1, es.LIF(20e-3, 15e-3, v_reset=0.2, t_ref=30e-3, reset=reset, i_initial=1.2))
    net.connect("in", "a", [[0.9, 0.0]], synapse="delta", name="kick")
    net.connect("in", "a", [[0.0, 8.0]])
    net.connect("a", "a", [[0.1]], delay=60e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[18e-3], [40e-3]]])}
    whole = es.solve(net, inputs, 0.1)
    triggered, free = whole.spikes["a"].times
    assert triggered == 18e-3
    assert free < 1.1 * (triggered + 30e-3)
    loss, compare = wave("a"), Comparison()
    grads = es.value_and_grad(whole, loss)[1]
    errors = es.gradient_condition(whole).errors
    for cuts in ([30e-3], [20e-3, 45e-3], [triggered + 30e-3]):
        found = es.value_and_grad_in_pieces(net, inputs, 0.1, loss, cuts)[1]
        of_pieces = {(quantity, key): values for quantity, key, values in gradients_of(found)}
        for quantity, key, values in gradients_of(grads):
            compare.close(of_pieces[quantity, key], values, 2 * errors[quantity]["a"].sum(), (quantity, key))
    compare.demand(0.5)


@pytest.mark.parametrize("cuts", [[15e-3, 25e-3], [15e-3, 40e-3], [20e-3]])
def test_the_largest_voltage_of_what_is_held_at_a_cut_is_not_looked_for(cuts):
    """It has spiked; an input that arrives while it is held, and after it, is no matter."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("b", 2, es.LIF(15e-3, 15e-3, t_ref=20e-3))
    net.connect("in", "b", [[14.0], [0.7]])
    inputs = {"in": es.SpikeTrains.from_lists([[[10e-3, 20e-3]]])}
    loss = es.losses.SilentHinge("b", 1.5)
    whole = es.solve(net, inputs, 0.1)
    assert whole.spikes["b"].neurons.tolist() == [0, 0]
    assert whole.spikes["b"].times[0] + 20e-3 > 25e-3
    value, grads = es.value_and_grad(whole, loss)
    got, found = es.value_and_grad_in_pieces(net, inputs, 0.1, loss, cuts)
    assert value == pytest.approx(got, rel=4 * EPS, abs=0.0)
    weight = grads.weight["in", "b"]
    assert weight[1, 0] < 0.0 == weight[0, 0]
    np.testing.assert_allclose(found.weight["in", "b"], weight, rtol=64 * EPS, atol=0.0)
    state = es.solve(net, {"in": between(inputs["in"], None, 15e-3)}, 15e-3).final_state
    rest = es.solve(net, {"in": between(inputs["in"], 15e-3, 1.0)}, 0.1, initial=state)
    assert np.isnan(rest.largest_voltages("b").value[0]).tolist() == [True, False]
    assert es.value_and_grad(rest, loss)[0] > 0.0


def all_times(names):
    """The sum of all spike times of some populations."""

    def function(spikes):
        trains = {name: spikes[name] for name in names}
        values = sum(np.bincount(t.samples, t.times, t.n_samples) for t in trains.values())
        return values, {name: np.ones(t.n_spikes) for name, t in trains.items()}

    return es.losses.SpikeTimeLoss(function)


def test_the_gradient_in_pieces_is_a_central_difference():
    """Of a multiprecision solution of the whole, which shares no code, along a direction of all numbers."""
    net, inputs = long_delays()
    whole = es.solve(net, inputs, 0.1)
    direction = random_direction(whole, 3)

    def value(solution):
        return [sum(time for name in "ab" for sample in solution.spikes[name] for time, _ in sample)]

    want = central_difference(whole, inputs, direction, value)[0]
    grads = es.value_and_grad_in_pieces(net, inputs, 0.1, all_times("ab"), 30, reduction="sum")[1]
    terms = products(grads, direction)
    known = known_to(whole, direction)
    bound = sum(float(known[name].sum()) for name in "ab") + terms.size * EPS * np.abs(terms).sum()
    assert abs(terms.sum() - want) <= bound
    assert bound < 1e-6 * abs(want)


# -- losses ----------------------------------------------------------------------------------------------------

LABELS = [1, 0, 1]


def readouts():
    """Spikes that a readout hears, whose mean, largest and other voltages losses are on; three samples."""
    rng = np.random.default_rng(8)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", 6, es.LIF(20e-3, 5e-3, v_threshold=[1.0] * 5 + [9.0], t_ref=2e-3))
    net.add_population("out", 2, es.LI(15e-3, [5e-3, 8e-3], v_leak=0.1, v_initial=0.2))
    net.connect("in", "hidden", rng.uniform(1.0, 4.0, (6, 4)), delay=3e-3)
    net.connect("hidden", "hidden", rng.normal(0.0, 0.5, (6, 6)), delay=5e-3)
    net.connect("hidden", "out", rng.normal(0.3, 0.6, (2, 6)), delay=rng.uniform(0, 6e-3, (2, 6)))
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 60e-3, (3, 4, 4)))
    return net, {"in": trains}


def squares(values):
    """Half the sum of squares of what is read, and its derivative."""
    axes = tuple(range(1, values.ndim))
    return 0.5 * (values**2).sum(axis=axes), values


def running(voltages, times, sample):
    """A running loss that knows the time and the sample."""
    weight = 1.0 + np.sin(100.0 * times) + sample
    return 0.5 * weight * (voltages**2).sum(axis=0), weight * voltages


losses = es.losses
ON_FIRST = {"tau0": 5e-3, "tau1": 20e-3, "alpha": 0.1}
LOSSES = [
    losses.TTFSCrossEntropy("hidden", LABELS, **ON_FIRST),
    losses.FirstSpikeCrossEntropy("hidden", LABELS, tau0=5e-3, alpha=1e-3),
    losses.TargetTimeMSE("hidden", np.full((3, 6), 20e-3), silent="t_end"),
    losses.RelativeMSE("hidden", LABELS, gap=2e-3, silent="t_end"),
    losses.SpikeCountLoss("hidden", 3.0),
    losses.SilentHinge("hidden", 9.0),
    losses.MaxVoltageCrossEntropy("out", LABELS),
    losses.MaxVoltageLoss("out", squares),
    losses.MeanVoltageCrossEntropy("out", LABELS, weighting="exponential"),
    losses.MeanVoltageLoss("out", squares),
    losses.SumVoltageCrossEntropy("out", LABELS, time_step=1e-3),
    losses.MeanVoltageCrossEntropy("out", LABELS, weighting="linear"),
    losses.MeanVoltageLoss("hidden", squares, weighting=lambda x: np.cos(3 * x)),
    losses.SumVoltageCrossEntropy("hidden", LABELS, time_step=10e-3),
    losses.InstantCrossEntropy("out", LABELS),
    losses.InstantCrossEntropy("hidden", LABELS),
    losses.TrajectoryMSE("out", lambda times, sample: np.stack([np.cos(50 * times), times])),
    losses.RunningLoss("hidden", running),
    losses.SampledVoltage("out", [0.0, 10e-3, 20e-3, 33e-3, 80e-3], squares),
    losses.SampledVoltage("hidden", [10e-3, 41e-3], squares),
    losses.Sum(
        [
            losses.Sum(
                [losses.MeanVoltageCrossEntropy("out", LABELS), losses.SpikeCountLoss("hidden", 2.0)], [2, 3]
            ),
            losses.MeanVoltageCrossEntropy("hidden", LABELS, weighting="sigmoid"),
            losses.SampledVoltage("out", [15e-3, 60e-3], squares),
            losses.SampledVoltage("out", [15e-3, 61e-3], squares),
            losses.RunningLoss("out", running),
            losses.TrajectoryMSE("out", lambda times, sample: np.stack([times, times])),
            losses.MaxVoltageLoss("out", squares),
        ],
        [0.5, 3.0, 1.0, -2.0, 4.0, 1.5, 0.25],
    ),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_are_read_in_pieces(loss):
    """To the roundings of so many events in turn, each of which is magnified by at most the flattest crossing."""
    net, inputs = readouts()
    whole = es.solve(net, inputs, 80e-3)
    value, grads = es.value_and_grad(whole, loss, reduction="none")
    got, found = es.value_and_grad_in_pieces(
        net, inputs, 80e-3, loss, [10e-3, 20e-3, 21e-3, 50e-3, 66e-3], reduction="none"
    )
    n_events = sum(trains.counts().sum(axis=1).max() for trains in whole.spikes.values())
    flattest = slopes(whole, "hidden")[1].min()
    rounding = 16 * EPS * n_events / flattest
    assert rounding < 1e-10
    np.testing.assert_allclose(got, value, rtol=0, atol=rounding * (1 + np.abs(value).max()))
    np.testing.assert_array_equal(found.silent_samples, grads.silent_samples)
    of_pieces = {(quantity, key): values for quantity, key, values in gradients_of(found)}
    some = 0
    for quantity, key, values in gradients_of(grads):
        largest = np.abs(values).max(initial=0.0)
        some += largest > 0
        np.testing.assert_allclose(
            of_pieces[quantity, key], values, rtol=0, atol=rounding * largest, err_msg=f"{quantity} {key}"
        )
    assert some >= 5


class Own:
    """A loss of somebody's own: what it says that it reads, and what it gives."""

    def __init__(self, readings, evaluation):
        self.of_readings, self.evaluation = readings, evaluation

    def readings(self, network, trial):
        return self.of_readings

    def evaluate(self, solution):
        return self.evaluation(solution)


def values_of(read):
    """A loss's evaluation that adds up what is read of a solution."""
    return lambda solution: losses.Evaluation(read(solution).reshape(solution.n_samples, -1).sum(axis=1))


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (
            Own(
                losses.Readings(voltages={"out": np.array([30e-3, 70e-3])}),
                values_of(lambda s: s.voltage("out", [50e-3])),
            ),
            ValueError,
            "the loss reads the voltage of 'out' at 0.05 s, which its readings do not name",
        ),
        (
            Own(losses.Readings(spikes=("hidden",)), values_of(lambda s: s.voltage("out", [0.05]))),
            ValueError,
            "the loss reads the voltage of 'out' at 0.05 s, which its readings do not name",
        ),
        (
            Own(losses.Readings(means=(("out", 0.0),)), values_of(lambda s: s.mean_voltages("out", 1.0))),
            ValueError,
            "the loss reads the mean voltage of 'out' with rate 1.0, which its readings do not name",
        ),
        (
            Own(losses.Readings(), values_of(lambda s: s.maxima("out").value)),
            ValueError,
            "the loss reads the largest voltage of 'out', which its readings do not name",
        ),
        (
            Own(losses.Readings(), values_of(lambda s: s.spikes["hidden"].counts())),
            ValueError,
            "the loss reads the spikes of 'hidden', which its readings do not name",
        ),
        (Own({}, None), TypeError, "readings of a loss must be eventsolve.losses.Readings; got {}"),
        (
            Own(losses.Readings(spikes="out"), None),
            TypeError,
            "spikes of readings must be a tuple; got 'out'",
        ),
        (
            Own(losses.Readings(means=("out",)), None),
            TypeError,
            "means of readings must be pairs of population and rate; got 'out'",
        ),
        (
            Own(losses.Readings(), lambda s: (0.0, {})),
            TypeError,
            "a loss must evaluate to an Evaluation; got (0.0, {})",
        ),
        (
            Own(losses.Readings(), lambda s: losses.Evaluation(np.zeros(2))),
            ValueError,
            "a loss must have one value for each of 3 samples; got shape (2,)",
        ),
        (losses.SpikeCountLoss, TypeError, "which is a class: one of its instances is needed"),
    ],
)
def test_a_loss_that_does_not_say_what_it_reads_is_told_so(loss, error, words):
    net, inputs = readouts()
    with pytest.raises(error, match=re.escape(words)):
        es.value_and_grad_in_pieces(net, inputs, 80e-3, loss, 3)


def test_a_loss_may_name_its_times_in_any_order_and_give_lists():
    net, inputs = readouts()

    def evaluation(solution):
        times = solution.spikes["hidden"].times
        read = solution.voltage("out", [70e-3, 30e-3, 70e-3])
        return losses.Evaluation(read[:, 0, :] @ [1.0, 2.0, 4.0], {"hidden": list(np.ones(times.size))})

    voltages = {"out": [70e-3, 30e-3, 70e-3]}
    loss = Own(losses.Readings(spikes=("hidden",), voltages=voltages), evaluation)
    value, grads = es.value_and_grad(es.solve(net, inputs, 80e-3), loss)
    got, found = es.value_and_grad_in_pieces(net, inputs, 80e-3, loss, 3)
    assert got == pytest.approx(value, rel=1e-12, abs=0)
    key = "in", "hidden"
    np.testing.assert_allclose(found.weight[key], grads.weight[key], rtol=1e-9, atol=0)


# -- what is asked, and what is refused ------------------------------------------------------------------------


def test_one_piece_has_the_bits_of_the_whole_and_threads_change_none():
    net, inputs = readouts()
    loss = losses.MeanVoltageCrossEntropy("out", LABELS)
    value, grads = es.value_and_grad(es.solve(net, inputs, 80e-3), loss)
    got, found = es.value_and_grad_in_pieces(net, inputs, 80e-3, loss, 1)
    assert got == value
    for (*_, a), (*_, b) in zip(gradients_of(grads), gradients_of(found), strict=True):
        np.testing.assert_array_equal(a, b)
    many = {"in": inputs["in"].select(np.arange(150) % 3)}  # three chunks
    loss = losses.MeanVoltageCrossEntropy("out", np.arange(150) % 2)
    one, several = (es.value_and_grad_in_pieces(net, many, 80e-3, loss, 4, threads=n)[1] for n in (1, 3))
    for (*_, a), (*_, b) in zip(gradients_of(one), gradients_of(several), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_what_is_asked_for_is_computed():
    net, inputs = readouts()
    loss = losses.MeanVoltageCrossEntropy("out", LABELS)
    everything = es.value_and_grad_in_pieces(net, inputs, 80e-3, loss, 4)[1]
    for name in NAMES:
        found = es.value_and_grad_in_pieces(net, inputs, 80e-3, loss, 4, wrt=(name,))[1]
        for key, values in getattr(everything, name).items():
            np.testing.assert_array_equal(flat(getattr(found, name)[key]), flat(values))
        other = "delay" if name == "weight" else "weight"
        with pytest.raises(KeyError, match=f"the gradient for {other} was not asked for"):
            getattr(found, other)["in", "hidden"]


def test_a_stream_that_goes_on_has_the_gradient_for_its_state():
    net, inputs = long_delays()
    state = es.solve(net, {"in": between(inputs["in"], None, 25e-3)}, 25e-3).final_state
    assert state.in_flight["in"].n_spikes > 0
    rest = {"in": between(inputs["in"], 25e-3, 1.0)}
    whole = es.solve(net, rest, 0.1, initial=state)
    loss = wave("ab")
    grads = es.value_and_grad(whole, loss)[1]
    found = es.value_and_grad_in_pieces(net, rest, 0.1, loss, 7, initial=state)[1]
    errors = es.gradient_condition(whole).errors
    for quantity in ("v_initial", "i_initial", "weight"):
        known = sum(errors[quantity][name].sum() for name in "ab")
        for key, values in getattr(grads, quantity).items():
            assert np.abs(values).max() > 1e6 * known
            np.testing.assert_allclose(getattr(found, quantity)[key], values, rtol=0, atol=2 * known)


def test_a_trial_without_duration_is_one_piece():
    net = es.Network()
    net.add_population("out", 2, es.LI(20e-3, 5e-3, v_initial=[0.5, 0.2]))
    loss = es.losses.MaxVoltageCrossEntropy("out", [0])
    value, grads = es.value_and_grad(es.solve(net, {}, 0.0), loss)
    found, in_pieces = es.value_and_grad_in_pieces(net, {}, 0.0, loss, 1)
    assert found == value
    np.testing.assert_array_equal(in_pieces.v_initial["out"], grads.v_initial["out"])
    assert grads.v_initial["out"].any()


def test_every_piece_but_the_last_is_solved_twice(monkeypatch):
    net, inputs = readouts()
    ends = []

    def counted(problem, t_end, *rest):
        ends.append(t_end)
        return solved(problem, t_end, *rest)

    solved = module.solved
    monkeypatch.setattr(module, "solved", counted)
    es.value_and_grad_in_pieces(net, inputs, 80e-3, losses.MeanVoltageLoss("out", squares), [0.02, 0.05])
    assert ends == [0.02, 0.05, 0.08, 0.05, 0.02]


class Unread:
    """A loss that does not say what it reads."""

    def evaluate(self, solution):
        return Evaluation(np.zeros(solution.n_samples))


REFUSED = {
    "loss must say what it reads to be differentiated in pieces": dict(loss=Unread()),
    "labels must lie in 0..1; entry 2 is 3": dict(
        loss=losses.MeanVoltageCrossEntropy("out", [0, 1, 3], weighting="linear")
    ),
    "labels must have one entry for each of 3 samples": dict(loss=losses.InstantCrossEntropy("out", [0, 1])),
    "times at which 'out' is read must lie in [0.0, t_end = 0.08]; entry [1] is 0.09": dict(
        loss=losses.SampledVoltage("out", [0.01, 0.09], squares)
    ),
    "pieces must be from 1 to 1000000; got 0": dict(pieces=0),
    "pieces must be from 1 to 1000000; got 1000000000": dict(pieces=10**9),
    "pieces must be cut at increasing times within (0.0, t_end = 0.08); entry [1] is 0.01": dict(
        pieces=[0.02, 0.01]
    ),
    "pieces must be cut at increasing times within (0.0, t_end = 0.08); entry [0] is 0.08": dict(
        pieces=[0.08]
    ),
    "pieces must be an int, how many, or a vector of cuts in seconds; got 0.02": dict(pieces=0.02),
    "pieces must be an int, how many, or a vector of cuts in seconds; it is True": dict(pieces=True),
    "pieces must be an int, how many, or a vector of cuts in seconds; it is '3'": dict(pieces="3"),
    "pieces must be an int, how many, or a vector of cuts in seconds; it is None": dict(pieces=None),
    "reduction must be one of": dict(reduction="max"),
    "'nowhere' is not a population": dict(loss=losses.SpikeCountLoss("nowhere", 1.0)),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_done_in_pieces_is_refused_by_name(said):
    net, inputs = readouts()
    options = {"loss": losses.MeanVoltageLoss("out", squares), "pieces": 2, **REFUSED[said]}
    with pytest.raises((ValueError, TypeError, KeyError), match=re.escape(said)):
        es.value_and_grad_in_pieces(net, inputs, 80e-3, options.pop("loss"), options.pop("pieces"), **options)


# -- memory ----------------------------------------------------------------------------------------------------


def in_pieces_and_whole(lengths):
    """How much memory gradients of streams take in pieces, what they keep by rights, and that of the longest whole."""
    loss = losses.MeanVoltageCrossEntropy("out", [1])
    net, inputs = noisy(1.0)
    es.value_and_grad_in_pieces(net, inputs, 1.0, loss, 2)  # compiled, and with all its pages
    in_pieces, kept = [], []
    for seconds in lengths:
        net, inputs = noisy(seconds)
        taken, (value, _) = peak(
            lambda net=net, s=seconds, given=inputs: es.value_and_grad_in_pieces(
                net, given, s, loss, int(2 * s)
            )
        )
        in_pieces.append(taken)
        kept.append(40 * inputs["in"].n_spikes + 50 * 100 * 2 * seconds)
    whole, (wanted, _) = peak(lambda: es.value_and_grad(es.solve(net, inputs, lengths[-1]), loss))
    return in_pieces, kept, value, whole, wanted


def test_the_memory_is_that_of_a_piece_however_long_the_stream():
    """But for 40 bytes or so of every input spike, and the states at the cuts: 100 neurons with 48 bytes each."""
    in_pieces, kept, value, whole, wanted = in_a_fresh_process(in_pieces_and_whole, (6.0, 12.0))
    assert wanted == pytest.approx(value, rel=1e-9, abs=0.0)
    assert in_pieces[1] < 0.2 * whole
    assert in_pieces[1] - in_pieces[0] < kept[1] - kept[0] + 2**20  # the allocator's own rounding
