"""Losses that regularise, that add up, and any function of readouts: against the multiprecision solver and by hand."""

import mpmath
import numpy as np
import pytest
from directions import central_difference, products, random_direction
from networks import EPS
from readouts import chain
from scipy.special import logsumexp

import eventsolve as es
from eventsolve.losses.evaluation import cross_entropy

T = 40e-3


def solved(n_samples=1, seed=3):
    net, inputs = chain(n_samples, seed)
    return es.solve(net, inputs, T), inputs


def along(solution, inputs, loss, exact, digits=30):
    """Assert that value and derivative along a direction are those of the multiprecision solver; return the latter.

    Its difference is right to 1e-12 or so of its size. The loss in float64 is, to the conditioning of spikes that
    cross with slopes of more than 1/10 of their largest: relative to what the terms of the derivative add up to.
    """
    direction = random_direction(solution, 5)
    for name, step in direction["t_ref"].items():
        step *= solution.network.population(name).parameter("t_ref") > 0
    want = central_difference(solution, inputs, direction, lambda s: [exact(s)], digits, "1e-9")[0]
    _, grads = es.value_and_grad(solution, loss)
    terms = products(grads, direction)
    assert terms.sum() == pytest.approx(want, abs=1e-9 * np.abs(terms).sum())
    assert es.jvp(solution, direction, loss).loss == pytest.approx(want, abs=1e-9 * np.abs(terms).sum())
    assert abs(want) > 1e-6 * np.abs(terms).sum()
    return want


FIRST = {"tau0": 2e-3, "alpha": 1e-4}


class TestFirstSpikes:
    def exact(self, label):
        def loss(exact):
            ctx = exact.context
            t = exact.first("out")[0]
            tau0, alpha, end = (ctx.mpf(x) for x in (2e-3, 1e-4, T))
            total = ctx.log(sum(ctx.exp(-x / tau0) for x in t))
            return t[label] / tau0 + total + alpha / (ctx.mpf(1.01) * end - t[label])

        return loss

    def test_gradients_are_central_differences(self):
        solution, inputs = solved()
        along(solution, inputs, es.losses.FirstSpikeCrossEntropy("out", [1], **FIRST), self.exact(1))

    def test_values_and_silence(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[9.0], [1.0]])
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, T)
        t = solution.spikes["out"].times[0]
        value, _ = es.value_and_grad(solution, es.losses.FirstSpikeCrossEntropy("out", [0], **FIRST))
        assert value == pytest.approx(1e-4 / (1.01 * T - t), rel=1e-14, abs=0.0)
        silent = es.losses.FirstSpikeCrossEntropy("out", [1], **FIRST)
        with pytest.raises(ValueError, match="silent in 1 of 1 samples"):
            es.value_and_grad(solution, silent)
        late = es.losses.FirstSpikeCrossEntropy("out", [1], silent="t_end", **FIRST)
        value, grads = es.value_and_grad(solution, late)
        want = np.logaddexp(0.0, (T - t) / 2e-3) + 1e-4 / (0.01 * T)
        assert value == pytest.approx(want, rel=1e-13, abs=0.0)
        np.testing.assert_array_equal(grads.silent_samples, [0])

    @pytest.mark.parametrize("name", ["tau0", "alpha"])
    @pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
    def test_constants(self, name, value):
        with pytest.raises(ValueError, match=name):
            es.losses.FirstSpikeCrossEntropy("out", [0], **{**FIRST, name: value})


class TestSpikeCount:
    def test_gradients_are_central_differences_above_and_below(self):
        solution, inputs = solved()
        loss = es.losses.SpikeCountLoss("hidden", [1.0, 30.0, 2.0, 40.0], upper=0.5, lower=0.25)

        def exact(found):
            ctx = found.context
            counts = [ctx.zero] * 4
            for time, neuron in found.spikes["hidden"][0]:
                counts[neuron] += 1 - time / ctx.mpf(T)
            excess = [c - target for c, target in zip(counts, (1, 30, 2, 40), strict=True)]
            assert {x > 0 for x in excess} == {True, False}
            return sum(x**2 / (4 if x > 0 else 8) for x in excess)

        along(solution, inputs, loss, exact)

    def test_a_spike_that_leaves_through_the_end_has_counted_for_nothing(self):
        solution, inputs = solved()
        last = float(solution.spikes["hidden"].times[-1])
        loss = es.losses.SpikeCountLoss("hidden", 3.0)
        sides = []
        for end in (np.nextafter(last, 0), last):
            one = es.solve(solution.network, inputs, end)
            sides.append((one.spikes["hidden"].n_spikes, es.value_and_grad(one, loss)[0]))
        assert sides[1][0] == sides[0][0] + 1
        assert sides[1][1] == pytest.approx(sides[0][1], rel=1e-13, abs=0.0)

    def test_silent_neurons_count_nothing(self):
        solution, _ = solved()
        net = solution.network.with_weights({("in", "hidden"): np.zeros((4, 3))})
        silent = es.solve(net, {"in": solution.spikes["in"]}, T)
        assert es.value_and_grad(silent, es.losses.SpikeCountLoss("hidden", 2.0, lower=0.5))[0] == 4.0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"target": -1.0}, "target must be finite and >= 0; it is -1.0"),
            ({"target": [[1.0]]}, "target must be a number or have shape"),
            ({"target": 1.0, "upper": -1.0}, "upper must be finite and >= 0"),
            ({"target": 1.0, "lower": np.nan}, "lower must be finite and >= 0"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            es.losses.SpikeCountLoss("hidden", **arguments)

    def test_what_does_not_fit(self):
        solution, inputs = solved()
        for loss, message in (
            (es.losses.SpikeCountLoss("hidden", [1.0]), r"target must be a number or have shape \(4,\)"),
            (es.losses.SpikeCountLoss("read", 1.0), "is of neurons that spike; 'read' is LI"),
            (es.losses.SpikeCountLoss("in", 1.0), "is of neurons that spike; 'in' is an input"),
        ):
            with pytest.raises(ValueError, match=message):
                es.value_and_grad(solution, loss)
        first = es.solve_first_spikes(solution.network, inputs, T, "out")
        with pytest.raises(ValueError, match="ends with the first spikes"):
            es.value_and_grad(first, es.losses.SpikeCountLoss("out", 1.0))


class TestReadouts:
    def test_sums_of_voltages_are_means_over_the_number_of_steps(self):
        solution, _ = solved(2)
        loss = es.losses.SumVoltageCrossEntropy("read", [0, 1], time_step=5e-3)
        means = []
        es.losses.MeanVoltageLoss("read", lambda m: (means.append(m) or m.sum(1), np.ones_like(m))).evaluate(
            solution
        )
        scores = means[0] * T / 5e-3
        want = logsumexp(scores, axis=1) - scores[[0, 1], [0, 1]]
        room = 4 * EPS * np.abs(scores).max()  # of the difference here
        np.testing.assert_allclose(
            es.value_and_grad(solution, loss, reduction="none")[0], want, rtol=1e-13, atol=room
        )
        for step in (0.0, -1e-3, np.nan):
            with pytest.raises(ValueError, match="time_step must be finite and > 0"):
                es.losses.SumVoltageCrossEntropy("read", [0], time_step=step)

    @pytest.mark.parametrize("name", ["mean", "sum", "largest"])
    def test_any_function_of_them_has_its_gradient(self, name):
        """Four-point differences of h = 1e-5 of a direction: h^4 of the fifth derivative, and 1e-14/h."""
        solution, inputs = solved(2)
        targets = np.array([[0.3, -0.2], [0.5, 0.1]])

        def squares(scores):
            return 0.5 * ((scores - targets) ** 2).sum(axis=1), scores - targets

        if name == "mean":
            loss = es.losses.MeanVoltageLoss("read", squares, weighting="exponential")
        elif name == "sum":
            loss = es.losses.SumVoltageCrossEntropy("read", [1, 0], time_step=1e-3)
        else:
            loss = es.losses.MaxVoltageLoss("read", squares)
        rng = np.random.default_rng(2)
        steps = {key: rng.normal(size=p.weight.shape) for key, p in solution.network.projections.items()}

        def moved(h):
            net = solution.network.with_weights(
                {key: p.weight + h * steps[key] for key, p in solution.network.projections.items()}
            )
            return es.value_and_grad(es.solve(net, inputs, T), loss)[0]

        h = 1e-5
        want = (8 * (moved(h) - moved(-h)) - moved(2 * h) + moved(-2 * h)) / (12 * h)
        _, grads = es.value_and_grad(solution, loss)
        got = products(grads, {"weight": steps})
        assert got.sum() == pytest.approx(want, abs=1e-7 * np.abs(got).sum())
        assert abs(want) > 1e-4 * np.abs(got).sum()

    def test_functions_of_other_shapes(self):
        solution, _ = solved(2)
        for loss in (
            es.losses.MeanVoltageLoss("read", lambda m: (m, m)),
            es.losses.MaxVoltageLoss("read", lambda m: (m[:, 0], m[:, 0])),
        ):
            with pytest.raises(ValueError, match="the function must return losses"):
                es.value_and_grad(solution, loss)
        with pytest.raises(TypeError, match="function must be a function"):
            es.losses.MaxVoltageLoss("read", 1.0)
        with pytest.raises(ValueError, match="weighting must be one of"):
            es.losses.MeanVoltageLoss("read", lambda m: (m, m), weighting="late")


class TestSum:
    def terms(self):
        return [
            es.losses.MaxVoltageCrossEntropy("read", [0, 1]),
            es.losses.MeanVoltageCrossEntropy("read", [1, 1], weighting="exponential"),
            es.losses.SampledVoltage("read", [1e-3, 20e-3], lambda v: ((v**2).sum((1, 2)), 2 * v)),
            es.losses.SpikeCountLoss("hidden", 14.0),
            es.losses.TTFSCrossEntropy("out", [0, 1], tau0=1e-3, tau1=5e-3, alpha=0.1, silent="skip"),
        ]

    def test_it_is_the_sum_of_values_and_of_gradients(self):
        solution, _ = solved(2)
        weights = np.array([1.0, -2.0, 0.5, 1e-3, 3.0])
        parts = [es.value_and_grad(solution, term, reduction="none") for term in self.terms()]
        value, grads = es.value_and_grad(solution, es.losses.Sum(self.terms(), weights), reduction="none")
        np.testing.assert_allclose(
            value, sum(w * v for w, (v, _) in zip(weights, parts, strict=True)), rtol=1e-14
        )
        n_roundings = grads.voltage_samples["read"].times.size + sum(
            t.n_spikes for t in solution.spikes.values()
        )
        for name in ("weight", "delay", "tau_mem", "tau_syn", "v_leak"):
            for key, got in getattr(grads, name).items():
                each = [w * getattr(g, name)[key] for w, (_, g) in zip(weights, parts, strict=True)]
                size = np.max(np.sum(np.abs(each), axis=0))
                np.testing.assert_allclose(got, sum(each), rtol=0, atol=n_roundings * EPS * size)
                assert np.abs(got).max() > 0 or key[-1] == "out" or name != "weight"

    def test_one_term_of_weight_one_is_that_term(self):
        solution, _ = solved(2)
        for term in self.terms():
            value, grads = es.value_and_grad(solution, term)
            same, again = es.value_and_grad(solution, es.losses.Sum([term]))
            assert same == value
            np.testing.assert_array_equal(again.weight["in", "hidden"], grads.weight["in", "hidden"])

    def test_reads_at_one_time_come_as_a_life_does(self):
        """A readout that jumps at an arrival: read at that time before it, and by its maximum after it."""
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, es.LI(20e-3, 5e-3))
        net.connect("in", "out", [[1.0]], delay=1e-3, synapse="delta")
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3, 4e-3]]])}, 30e-3)
        largest = es.losses.MaxVoltageLoss("out", lambda m: (m[:, 0], np.ones_like(m)))
        time = float(solution.maxima("out").time[0, 0])
        assert solution.maxima("out").arrival[0, 0] < -1
        sample = es.losses.SampledVoltage("out", [time], lambda v: (v[:, 0, 0], np.ones_like(v)))
        parts = [es.value_and_grad(solution, loss)[1] for loss in (largest, sample)]
        for terms in ([largest, sample], [sample, largest]):
            _, grads = es.value_and_grad(solution, es.losses.Sum(terms))
            for name, key in (("weight", ("in", "out")), ("delay", ("in", "out")), ("spike_times", "in")):
                got = getattr(grads, name)[key]
                want = sum(getattr(g, name)[key] for g in parts)
                np.testing.assert_allclose(got, want, rtol=1e-13)
                assert np.abs(got).max() > 0.1

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([],), TypeError, "terms must be a list or tuple of at least one loss"),
            ((es.losses.SpikeCountLoss("a", 1.0),), TypeError, "terms must be a list or tuple"),
            ((["loss"],), TypeError, r"terms\[0\] must be one of eventsolve.losses"),
            (
                ([es.losses.SpikeCountLoss("a", 1.0)], [1.0, 2.0]),
                ValueError,
                "one number for each of 1 terms",
            ),
            (([es.losses.SpikeCountLoss("a", 1.0)], [np.inf]), ValueError, "weights must be finite"),
        ],
    )
    def test_bad_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            es.losses.Sum(*arguments)


@pytest.mark.parametrize("gap", [0.0, 1.0, 20.0, 37.0, 60.0, 300.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_saturated_cross_entropy_has_all_of_its_digits(gap, label):
    """Near 0 the loss and the label's slope are what the others add up to: as differences of 1 they were lost."""
    scores = [0.25, 0.25 - gap, -0.5 - gap]
    value, slope = cross_entropy(np.array([scores]), np.array([label]))
    with mpmath.workdps(400):
        shares = [mpmath.exp(mpmath.mpf(x) - scores[label]) for x in scores]
        want = mpmath.log(mpmath.fsum(shares))
        slopes = [share / mpmath.fsum(shares) for share in shares]
        slopes[label] = -(mpmath.fsum(shares) - 1) / mpmath.fsum(shares)
        # differences of scores are rounded, which an exponential multiplies by their size
        few = (8 + 4 * gap) * 2.0**-53
        assert abs(mpmath.mpf(float(value[0])) - want) <= few * want
        for got, exact in zip(slope[0].tolist(), slopes, strict=True):
            assert abs(got - exact) <= few * abs(exact)


def test_saturated_gradients_are_those_of_a_certificate():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[9.0], [8.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 0.05)
    for tau0 in (1e-3, 2e-4, 1e-4, 5e-5):
        loss = es.losses.TTFSCrossEntropy("out", [0], tau0=tau0, tau1=6.4e-3, alpha=0.0)
        value, grads = es.value_and_grad(solution, loss)
        assert value > 0
        assert (grads.weight["in", "out"] != 0).all()
        assert es.certify(
            solution, gradients=loss, claimed_gradients=grads
        ).proven  # refuted in their eighth digit
