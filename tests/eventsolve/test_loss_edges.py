"""Losses of a trial that goes on from a stored state, of silence in part of a batch, and at their limits, by hand."""

import inspect
import itertools
import math
import re
import warnings

import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision

MS = 1e-3
START, END = 10 * MS, 40 * MS


def network(output):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 3, output)
    net.connect("in", "out", [[9.0, 2.0], [3.0, 8.0], [0.5, 7.0]])
    return net


LIF = es.LIF(20 * MS, 5 * MS, v_threshold=[1.0, 1.1, 0.9], v_reset=[0.0, -0.3, 0.2])
PLAIN = es.LIF(20 * MS, 5 * MS)


@pytest.fixture(scope="module")
def streams():
    """A trial of 30 ms that begins after 10 ms, of two samples of neurons that spike, and of readouts."""
    found = {}
    for name, output in (("spikes", LIF), ("readout", es.LI(20 * MS, 5 * MS))):
        net = network(output)
        before = {"in": es.SpikeTrains.from_lists([[[1 * MS], [4 * MS]], [[2 * MS], [8 * MS]]])}
        state = es.solve(net, before, START).final_state
        after = {"in": es.SpikeTrains.from_lists([[[12 * MS], [15 * MS, 30 * MS]], [[11 * MS], [25 * MS]]])}
        found[name] = es.solve(net, after, END, initial=state)
    assert (found["spikes"].spikes["out"].counts() > 0).all()
    return found


def test_a_count_is_over_the_trial(streams):
    """Of neurons that are above their targets by less than 1, and by more, and below, each by its strength."""
    solution = streams["spikes"]
    trains = solution.spikes["out"]
    counts = np.zeros((2, 3))
    for s, n, t in zip(trains.samples, trains.neurons, trains.times, strict=True):
        counts[s, n] += (END - t) / (END - START)
    target = np.array([counts[0, 0] - 0.3, counts[0, 1] - 1.2, counts[0, 2] + 0.4])
    upper, lower = 2.0, 0.5
    excess = counts - target
    strength = np.where(excess > 0, upper, lower)
    assert {(x > 0, abs(x) > 1) for x in excess[0]} == {(True, False), (True, True), (False, False)}
    loss = es.losses.SpikeCountLoss("out", target, upper=upper, lower=lower)
    evaluation = loss.evaluate(solution)
    np.testing.assert_allclose(evaluation.values, (strength * excess**2 / 2).sum(axis=1), rtol=1e-13)
    by_spike = -(strength * excess)[trains.samples, trains.neurons] / (END - START)
    np.testing.assert_allclose(evaluation.spike_times["out"], by_spike, rtol=1e-12)


def mean_voltages(solution, weight, n_points=20_001):
    """1/T int weight(t) V(t) dt of readouts, (n_samples, n), by the trapezoidal rule between arrivals."""
    edges = np.unique([START, END, *solution.spikes["in"].times.tolist()])
    total = 0.0
    for low, high in itertools.pairwise(edges):
        t = np.linspace(low, high, n_points)
        v = solution.voltage("out", t)
        total = total + np.trapezoid(v * weight((t - START) / (END - START)), t, axis=2)
    return total / (END - START)


WEIGHTS = {
    "uniform": np.ones_like,
    "exponential": lambda x: np.exp(-x),
    "linear": lambda x: 1 - x,
    "sigmoid": lambda x: 1 / (1 + np.exp((x - 0.5) / 0.2)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_mean_voltage_is_over_the_trial(streams, name):
    """The trapezoidal rule is right to V'' h^2/12, with steps of a microsecond or so and V'' of 1e6: to 1e-7."""
    solution = streams["readout"]
    means = mean_voltages(solution, WEIGHTS[name])
    loss = es.losses.MeanVoltageLoss("out", lambda m: (m.sum(axis=1), np.ones_like(m)), weighting=name)
    values, _ = es.value_and_grad(solution, loss, reduction="none")
    np.testing.assert_allclose(values, means.sum(axis=1), atol=3e-7)
    assert (np.abs(means) > 1e-2).all()


def test_a_sum_of_voltages_has_as_many_steps_as_the_trial(streams):
    solution = streams["readout"]
    step = 10 * MS
    scores = mean_voltages(solution, np.ones_like) * (END - START) / step
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = np.array([1, 0])
    loss = es.losses.SumVoltageCrossEntropy("out", labels, time_step=step)
    evaluation = loss.evaluate(solution)
    np.testing.assert_allclose(evaluation.values, -np.log(shares[[0, 1], labels]), atol=1e-5)
    (slope,) = evaluation.means.values()
    shares[[0, 1], labels] -= 1
    np.testing.assert_allclose(slope, shares * (END - START) / step, atol=1e-5)


def test_a_running_loss_of_spiking_neurons_is_over_the_trial(streams):
    """dL/dt of a spike has l before it less l after it, over the length of the trial."""
    solution = streams["spikes"]
    trains = solution.spikes["out"]
    square = es.losses.RunningLoss("out", lambda v, t, s: ((v**2).sum(axis=0), 2 * v))
    evaluation = square.evaluate(solution)
    jump = np.asarray(LIF.v_threshold) ** 2 - np.asarray(LIF.v_reset) ** 2
    np.testing.assert_allclose(evaluation.spike_times["out"], jump[trains.neurons] / (END - START), rtol=1e-9)


def test_a_mean_voltage_of_spiking_neurons_is_over_the_trial(streams):
    """dL/dt of a spike is what V falls by, times the derivative by the mean and the weight then, over the length."""
    solution = streams["spikes"]
    trains = solution.spikes["out"]
    by_means = np.array([[2.0, 3.0, 5.0], [7.0, 11.0, 13.0]])
    loss = es.losses.MeanVoltageLoss(
        "out", lambda m: ((m * by_means).sum(axis=1), by_means), weighting="linear"
    )
    drop = np.asarray(LIF.v_threshold) - np.asarray(LIF.v_reset)
    weight = (END - trains.times) / (END - START)
    wanted = by_means[trains.samples, trains.neurons] * drop[trains.neurons] * weight / (END - START)
    assert set(trains.samples.tolist()) == {0, 1}
    np.testing.assert_allclose(loss.evaluate(solution).spike_times["out"], wanted, rtol=1e-9)


def test_a_sample_without_spikes_takes_none_from_those_behind_it():
    net = network(LIF)
    inputs = es.SpikeTrains.from_lists([[[], []], [[1 * MS], [2 * MS]]])
    solution = es.solve(net, {"in": inputs}, END)
    trains = solution.spikes["out"]
    assert set(trains.samples.tolist()) == {1}
    loss = es.losses.RunningLoss("out", lambda v, t, s: (v.sum(axis=0), np.ones_like(v)))
    drop = np.asarray(LIF.v_threshold) - np.asarray(LIF.v_reset)
    np.testing.assert_allclose(
        loss.evaluate(solution).spike_times["out"], drop[trains.neurons] / END, rtol=1e-12
    )


def test_a_loss_on_voltages_says_what_it_reads():
    trial = (START, END)
    net = network(es.LI(20 * MS, 5 * MS))
    net.add_population("spikes", 1, PLAIN)

    def square(m):
        return (m**2).sum(axis=1), 2 * m

    for loss in (
        es.losses.RunningLoss("out", lambda v, t, s: (v.sum(axis=0), np.ones_like(v))),
        es.losses.InstantCrossEntropy("out", [0]),
        es.losses.TrajectoryMSE("out", lambda t, s: np.zeros((3, t.size))),
    ):
        assert loss.readings(net, trial).running is True
    for weighting, rate in (("uniform", 0.0), ("exponential", 1.0)):
        loss = es.losses.MeanVoltageLoss("out", square, weighting=weighting)
        readings = loss.readings(net, trial)
        assert (readings.means, readings.average, readings.running) == ((("out", rate),), None, False)
    for population, weighting in (
        ("out", "linear"),
        ("out", np.cos),
        ("spikes", "uniform"),
        ("in", "uniform"),
    ):
        loss = es.losses.MeanVoltageLoss(population, square, weighting=weighting)
        readings = loss.readings(net, trial)
        assert (readings.means, readings.average) == ((), loss)


def test_a_voltage_may_be_sampled_at_the_start_and_no_time_be_changed_afterwards(streams):
    def first(v):
        return v[:, 0, 0], np.zeros_like(v)

    loss = es.losses.SampledVoltage("out", [0.0, 1 * MS], first)
    assert loss.times.tolist() == [0.0, 1 * MS]
    with pytest.raises(ValueError, match="read-only"):
        loss.times[0] = 1.0
    with pytest.raises(ValueError, match="times must be finite, >= 0 and strictly increasing"):
        es.losses.SampledVoltage("out", [-1 * MS, 1 * MS], first)


def test_a_function_of_voltages_whose_shapes_do_not_fit_is_told_both():
    solution = es.solve(
        network(es.LI(20 * MS, 5 * MS)), {"in": es.SpikeTrains.from_lists([[[1 * MS], []]] * 2)}, END
    )
    for loss, shapes in (
        (
            es.losses.SampledVoltage("out", [1 * MS], lambda v: (np.zeros(1), v)),
            "losses (2,) and dL/dV (2, 3, 1)",
        ),
        (
            es.losses.MaxVoltageLoss("out", lambda v: (np.zeros(1), v)),
            "losses (2,) and their derivative (2, 3)",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(f"the function must return {shapes}; got (1,) and ")):
            es.value_and_grad(solution, loss)


def hinged():
    """Two neurons that do not spike, with peaks below and above a level, and one that does."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 3, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[3.0], [5.0], [9.0]])
    return net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}


def test_a_hinge_is_of_silent_neurons_below_their_level_however_little():
    net, inputs = hinged()
    solution = es.solve(net, inputs, 40 * MS)
    peaks = np.array([3.0, 5.0]) / 6.349604207872798  # the weight whose response peaks at 1
    level = [peaks[0] + 0.01, peaks[1] - 0.01, 1.0]
    loss = es.losses.SilentHinge("out", level)
    assert loss.evaluate(solution).voltages["out"].neurons.tolist() == [0]  # and no other peak is read
    value, grads = es.value_and_grad(solution, loss)
    assert value == pytest.approx(0.5 * 0.01**2, rel=1e-10, abs=0.0)
    found = grads.weight["in", "out"][:, 0]
    assert found[0] == pytest.approx(-0.01 / 6.349604207872798, rel=1e-9, abs=0.0)
    assert found[1:].tolist() == [0.0, 0.0]


def test_a_sample_that_is_skipped_makes_neither_numbers_nor_warnings():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[9.0, 0.0], [0.0, 9.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS], [2 * MS]], [[], [2 * MS]]])}
    solution = es.solve(net, inputs, 20 * MS)
    for loss in (
        es.losses.TTFSCrossEntropy("out", [0, 0], tau0=2 * MS, tau1=5 * MS, alpha=0.1, silent="skip"),
        es.losses.RelativeMSE("out", [0, 0], gap=3 * MS, silent="skip"),
        es.losses.TargetTimeMSE("out", np.full((2, 2), 9 * MS), silent="skip"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values, grads = es.value_and_grad(solution, loss, reduction="none")
        assert values[0] > 0
        assert values[1] == 0.0
        assert grads.weight["in", "out"][1].tolist() == [[0.0, 0.0], [0.0, 0.0]]
        assert np.abs(grads.weight["in", "out"][0]).max() > 0
        np.testing.assert_array_equal(grads.silent_samples, [1])


def test_with_times_at_the_end_for_silence_any_silent_output_is_named():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[9.0], [0.1]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 20 * MS)
    constants = {"tau0": 2 * MS, "tau1": 5 * MS, "alpha": 0.1}
    for silent, named in (("t_end", [0]), ("skip", [])):
        loss = es.losses.TTFSCrossEntropy("out", [0], **constants, silent=silent)
        np.testing.assert_array_equal(loss.evaluate(solution).silent_samples, named)


def test_of_a_batch_in_which_more_are_silent_than_one_each_sample_is_what_it_is_alone():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, PLAIN)
    net.connect("in", "out", [[9.0, 0.0], [0.0, 9.0]])
    trains = [[[], [2 * MS]], [[1 * MS], [2 * MS]], [[], [3 * MS]], [[4 * MS], []]]
    labels, targets = [0, 0, 0, 1], 1e-3 * np.arange(8.0).reshape(4, 2)

    def losses(samples, silent):
        own = [labels[k] for k in samples]
        tau0 = 2 * MS
        yield es.losses.TTFSCrossEntropy("out", own, tau0=tau0, tau1=5 * MS, alpha=0.1, silent=silent)
        yield es.losses.FirstSpikeCrossEntropy("out", own, tau0=tau0, alpha=0.1 * MS, silent=silent)
        yield es.losses.RelativeMSE("out", own, gap=3 * MS, silent=silent)
        yield es.losses.TargetTimeMSE("out", targets[samples], silent=silent)

    def judged(samples, silent):
        inputs = {"in": es.SpikeTrains.from_lists([trains[k] for k in samples])}
        solution = es.solve(net, inputs, 20 * MS)
        found = [
            es.value_and_grad(solution, loss, reduction="none") for loss in losses(list(samples), silent)
        ]
        return [(value, grads.weight["in", "out"], grads.silent_samples.tolist()) for value, grads in found]

    for silent in ("t_end", "skip"):
        alone = [judged([k], silent) for k in range(4)]
        for k, (values, weights, named) in enumerate(judged(range(4), silent)):
            np.testing.assert_array_equal(values, [of[k][0][0] for of in alone])
            np.testing.assert_array_equal(weights, [of[k][1][0] for of in alone])
            assert named == [0, 2, 3]
            assert (np.count_nonzero(values), values[1] > 0) == ({"t_end": 4, "skip": 1}[silent], True)


@pytest.mark.parametrize("n_silent", [1, 10, 11])
def test_of_silent_samples_ten_are_named(n_silent):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, PLAIN)
    net.connect("in", "out", [[9.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS]], *[[[]]] * n_silent])}
    solution = es.solve(net, inputs, 20 * MS)
    named = {1: "1", 10: "1, 2, 3, 4, 5, 6, 7, 8, 9, 10", 11: "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."}[n_silent]
    said = f"silent in {n_silent} of {n_silent + 1} samples ({named}), where"
    with pytest.raises(ValueError, match=re.escape(said)):
        es.value_and_grad(solution, es.losses.TargetTimeMSE("out", np.zeros((n_silent + 1, 1))))


@pytest.mark.parametrize("name", ["tau0", "tau1"])
def test_a_time_constant_has_a_reciprocal_that_is_in_range(name):
    def made(value):
        constants = {"tau0": 2 * MS, "tau1": 5 * MS, "alpha": 0.1} | {name: value}
        return es.losses.TTFSCrossEntropy("out", [0], **constants)

    for value in (2.0**-200, 2.0**200):
        assert getattr(made(value), name) == value
    for value in (0.0, 1e-300, np.nextafter(2.0**-200, 0), np.nextafter(2.0**200, np.inf)):
        with pytest.raises(ValueError, match=rf"{name} must be from 2\*\*-200 to 2\*\*200 s"):
            made(value)


def test_without_strength_the_term_for_early_spikes_is_none(streams):
    solution, tau0 = streams["spikes"], 2 * MS
    first = solution.spikes["out"].first()
    want = np.log(np.exp((first[[0, 1], [1, 2]][:, None] - first) / tau0).sum(axis=1))
    for loss in (
        es.losses.TTFSCrossEntropy("out", [1, 2], tau0=tau0, tau1=5 * MS, alpha=0),
        es.losses.FirstSpikeCrossEntropy("out", [1, 2], tau0=tau0, alpha=0),
    ):
        np.testing.assert_allclose(loss.evaluate(solution).values, want, rtol=1e-13)


def test_counts_above_and_below_their_targets_weigh_alike_unless_told_otherwise(streams):
    for target in (0.0, 50.0):
        counted = [
            es.losses.SpikeCountLoss("out", target, **strengths).evaluate(streams["spikes"]).values
            for strengths in ({}, {"upper": 1.0}, {"lower": 1.0}, {"upper": 1.0, "lower": 1.0})
        ]
        assert (counted[0] > 0).all()
        assert len({values.tobytes() for values in counted}) == 1


def test_what_divides_by_the_length_of_a_trial_needs_one():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, PLAIN)
    net.connect("in", "out", [[9.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 0.0)
    early = es.losses.FirstSpikeCrossEntropy("out", [0], tau0=2 * MS, alpha=MS, silent="t_end")
    for loss, said in (
        (early, "needs t_end > 0"),
        (es.losses.SpikeCountLoss("out", 1.0), "needs t_end > 0.0"),
    ):
        with pytest.raises(ValueError, match=said):
            es.value_and_grad(solution, loss)


def test_constants_of_a_loss_are_given_by_name():
    for name, positional in {
        "TTFSCrossEntropy": ["population", "labels"],
        "FirstSpikeCrossEntropy": ["population", "labels"],
        "TargetTimeMSE": ["population", "targets"],
        "RelativeMSE": ["population", "labels"],
        "SpikeCountLoss": ["population", "target"],
        "MeanVoltageLoss": ["population", "function"],
        "MeanVoltageCrossEntropy": ["population", "labels"],
        "SumVoltageCrossEntropy": ["population", "labels"],
    }.items():
        parameters = inspect.signature(getattr(es.losses, name)).parameters.values()
        assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == positional


def test_targets_are_a_copy_that_cannot_be_written():
    given = np.full((1, 2), 9 * MS)
    loss = es.losses.TargetTimeMSE("out", given)
    given[0, 0] = 1.0
    assert loss.targets.tolist() == [[9 * MS, 9 * MS]]
    with pytest.raises(ValueError, match="read-only"):
        loss.targets[0, 0] = 1.0


def test_a_function_whose_losses_are_of_another_shape_is_refused():
    net, inputs = hinged()
    solution = es.solve(net, inputs, 40 * MS)
    n = solution.spikes["out"].n_spikes
    wrong = es.losses.SpikeTimeLoss(lambda spikes: ([[0.0]], {"out": np.zeros(n)}))
    with pytest.raises(ValueError, match="one loss for each of 1 samples"):
        es.value_and_grad(solution, wrong)
    readout = es.solve(
        network(es.LI(20 * MS, 5 * MS)), {"in": es.SpikeTrains.from_lists([[[1 * MS], []]])}, END
    )
    for cls in (es.losses.MaxVoltageLoss, es.losses.MeanVoltageLoss):
        with pytest.raises(ValueError, match="the function must return losses"):
            es.value_and_grad(readout, cls("out", lambda m: (np.zeros((1, 1)), np.ones_like(m))))


def test_a_maximum_on_an_arrival_moves_with_its_delay():
    """As that of another function of the maxima does: dV/ddelay is V' just before the arrival."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LI(20 * MS, 5 * MS))
    net.connect("in", "out", [[5.0, -30.0]], delay=[[0.0, 1 * MS]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS], [3 * MS]]])}, 10 * MS)
    loss = es.losses.MaxVoltageLoss("out", lambda m: (m.sum(axis=1), np.ones_like(m)))
    _, grads = es.value_and_grad(solution, loss)
    keys = [("delay", ("in", "out"))]
    truth = multiprecision.gradient(
        net, {"in": solution.spikes["in"]}, 10 * MS, lambda s: s.voltage("out", 0, 0, 4 * MS), keys, digits=30
    )[keys[0]]
    # V at 4 ms, which another arrival moves as it moves the maximum, and besides what the maximum's own place does
    slope = (
        float(solution.current("out", [4 * MS])[0, 0, 0] + 30.0 - solution.voltage("out", [4 * MS])[0, 0, 0])
        / 20e-3
    )
    found = grads.delay["in", "out"][0]
    assert found[0] == pytest.approx(float(truth[0]), rel=1e-9, abs=0.0)
    assert found[1] == pytest.approx(slope, rel=1e-9, abs=0.0)
    assert math.isfinite(slope)
    assert slope > 10.0
