"""Enclosures of losses and gradients: do they hold the multiprecision solver's loss and its central differences?"""

import numpy as np
import pytest
import scipy.sparse as sp
from comparing import Comparison
from directions import differences, signed_step
from enclosing import WIDE
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import Loop, solved
from networks import random_case

import eventsolve as es
from eventsolve import multiprecision
from tests.planted_faults import is_no_better_known

pytestmark = pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # times of any ratio are drawn

DIGITS = 25
T_END = 15e-3
NEURONS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def small(kind):
    """A network with all parameters, one spike train each, and a readout."""
    rng = np.random.default_rng(8)
    net = es.Network()
    net.add_input("in", 2)
    numbers = {"v_leak": 0.2, "v_reset": -0.1, "t_ref": 1e-3, "v_initial": 0.1, "i_initial": 0.5}
    neuron = es.LIF([12e-3, 5e-3], 5e-3, **numbers, reset="subtract" if kind == "subtract" else "value")
    net.add_population("a", 2, neuron)
    net.add_population("out", 2, es.LI(15e-3, [6e-3, 15e-3], v_leak=0.1))
    net.connect("in", "a", rng.normal(5, 2, (2, 2)), delay=rng.uniform(0, 2e-3, (2, 2)))
    net.connect("a", "out", rng.normal(0, 2, (2, 2)), delay=1.3e-3)
    if kind == "loop":
        net.connect("a", "a", [[0.0, 1.5], [-1.0, 0.5]], delay=[[1.4e-3, 2.1e-3], [0.7e-3, 1.7e-3]])
    if kind in ("delta", "subtract"):
        net.connect("in", "a", [[1.2, 0.1], [0.0, 0.3]], synapse="delta", delay=3e-3, name="jump")
        net.connect("in", "out", [[1.2, 0.1], [0.0, 0.3]], synapse="delta", delay=3e-3, name="jump")
    trains = es.SpikeTrains.from_lists([[[0.5e-3, 9e-3], [2e-3, 9.5e-3]]])
    return es.solve(net, {"in": trains}, T_END)


def assert_encloses(certificate, solution, loss, *, informative):
    """Every enclosure holds the central difference, which is right to DIGITS of the natural scale, kind by kind."""
    compare, rng = Comparison(), np.random.default_rng(4)
    problem = multiprecision.problem(solution.network, {"in": solution.spikes["in"]}, solution.t_end)
    grads = certificate.gradients
    for name in ("weight", "delay", *NEURONS, "spike_times"):
        for key, (middle, radius) in getattr(grads, name).items():
            if name == "spike_times" and key != "in":
                continue
            # all numbers of a kind at once, each by a step of its own
            step = signed_step(rng, name, np.ones(middle.shape))
            (truth,) = differences(problem, {name: {key: step}}, lambda s: [loss(s)], 2 * DIGITS, "1e-20")
            products = [WIDE.mpf(m) * WIDE.mpf(d) for m, d in zip(middle.flat, step.flat, strict=True)]
            reach = sum(WIDE.mpf(r) * abs(WIDE.mpf(d)) for r, d in zip(radius.flat, step.flat, strict=True))
            # a difference of losses that cancels is right to the largest of its terms
            slack = WIDE.mpf(10) ** (3 - DIGITS) * (sum(map(abs, products)) + 1)
            compare.close(sum(products), truth, reach + slack, (name, key))
    compare.demand(informative)


@pytest.mark.parametrize("kind", ["layers", "loop", "delta", "subtract"])
def test_gradients_of_spike_times_hold_central_differences(kind):
    solution = small(kind)
    spikes = solution.spikes["a"]
    cotangents = np.random.default_rng(1).normal(size=spikes.n_spikes)

    def loss(exact):
        by_neuron = {}
        for time, neuron in exact.spikes["a"][0]:
            by_neuron.setdefault(neuron, []).append(time)
        total = exact.context.zero
        for c, neuron, k in zip(cotangents, spikes.neurons.tolist(), rank(spikes), strict=True):
            total += exact.context.mpf(float(c)) * by_neuron[neuron][k]
        return total

    certificate = es.certify(solution, gradients={"a": cotangents}, digits=DIGITS)
    assert certificate.proven, str(certificate)
    assert_encloses(certificate, solution, loss, informative=0.45)


def rank(spikes):
    """Which of its neuron's spikes each one is."""
    seen = {}
    for neuron in spikes.neurons.tolist():
        seen[neuron] = seen.get(neuron, -1) + 1
        yield seen[neuron]


@pytest.mark.parametrize("kind", ["layers", "delta"])
def test_gradients_of_sampled_voltages_hold_central_differences(kind):
    solution = small(kind)
    times = [3.3e-3, 11e-3, T_END]
    slopes = np.random.default_rng(2).normal(size=(1, 2, 3))
    loss = es.losses.SampledVoltage("out", times, lambda v: ((v * slopes).sum((1, 2)), slopes))

    def exact_loss(exact):
        return sum(
            exact.context.mpf(float(slopes[0, n, q])) * exact.voltage("out", 0, n, t)
            for n in range(2)
            for q, t in enumerate(times)
        )

    certificate = es.certify(solution, gradients=loss, digits=DIGITS)
    assert certificate.proven, str(certificate)
    assert np.isnan(certificate.gradients.value.midpoints)  # a function of the user's has no enclosure
    assert_encloses(certificate, solution, exact_loss, informative=0.45)


def softmax_loss(ctx, scores, label):
    return ctx.log(sum(ctx.exp(s - scores[label]) for s in scores))


def test_time_to_first_spike_and_its_gradient_are_enclosed():
    solution = small("layers")
    loss = es.losses.TTFSCrossEntropy("a", [1], tau0=2e-3, tau1=6.4e-3, alpha=3e-2)

    def exact_loss(exact):
        ctx, (first,) = exact.context, exact.first("a")
        early = ctx.mpf(3e-2) * ctx.expm1(first[1] / ctx.mpf(6.4e-3))
        return softmax_loss(ctx, [-t / ctx.mpf(2e-3) for t in first], 1) + early

    certificate = es.certify(solution, gradients=loss, digits=DIGITS)
    assert certificate.proven, str(certificate)
    truth = exact_loss(
        multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, T_END, digits=DIGITS)
    )
    middle, radius = certificate.gradients.value
    assert abs(WIDE.mpf(float(middle)) - truth) <= WIDE.mpf(float(radius))
    assert_encloses(certificate, solution, exact_loss, informative=0.45)


def test_the_largest_voltage_is_found_and_enclosed():
    """On a grid of the multiprecision solution no voltage is larger, and one is as large to the grid's second order."""
    solution = small("delta")
    loss = es.losses.MaxVoltageCrossEntropy("out", [0])
    certificate = es.certify(solution, gradients=loss, digits=DIGITS)
    assert certificate.proven, str(certificate)
    exact = multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, T_END, digits=DIGITS)
    grid = np.linspace(0, T_END, 301)
    events = [state.time for n in range(2) for state in exact.states["out"][0][n]]
    tops = []
    for n in range(2):
        places = [*map(exact.context.mpf, grid.tolist()), *events]
        tops.append(
            max(max(exact.voltage("out", 0, n, t), exact.voltage_before("out", 0, n, t)) for t in places)
        )
    value = softmax_loss(exact.context, tops, 0)
    middle, radius = certificate.gradients.value
    # V'' is at most about (sum of weights)/(tau_mem tau_syn) = 10 / 90e-6, over half a step of 50e-6 s
    assert abs(float(middle) - value) <= float(radius) + 2 * 10 / 90e-6 * 25e-6**2


def test_a_largest_voltage_that_rides_on_an_arrival_moves_the_spike_that_arrives():
    """No other event of the readout lies between a spike and its arrival, which ends the rise of the voltage."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, es.LIF(20e-3, 5e-3))
    net.add_population("out", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "a", [[7.5]])
    net.connect("in", "out", [[5.0], [1.0]], delay=1e-3)
    net.connect("a", "out", [[-30.0], [0.0]], delay=1e-3)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 10e-3)
    assert solution.spikes["a"].n_spikes == 1
    assert solution.maxima("out").arrival[0, 0] >= 0
    certificate = es.certify(solution, gradients=es.losses.MaxVoltageCrossEntropy("out", [0]))
    assert certificate.proven, str(certificate)
    assert abs(certificate.gradients.weight["in", "a"].midpoints[0, 0]) > 1e-3


def losses(labels, n):
    first = {"tau0": 1e-3, "tau1": 6e-3, "alpha": 0.01}
    weightings = ("uniform", "exponential", "linear", "sigmoid")
    return [
        es.losses.TTFSCrossEntropy("a", labels, **first, silent="skip"),
        es.losses.TTFSCrossEntropy("a", labels, **first, silent="t_end"),
        es.losses.RelativeMSE("a", labels, gap=2e-3, silent="t_end"),
        es.losses.TargetTimeMSE("a", np.full((n, 2), 5e-3), silent="skip"),
        es.losses.SpikeTimeLoss(
            lambda s: (np.bincount(s["a"].samples, s["a"].times ** 2, n), {"a": 2 * s["a"].times})
        ),
        es.losses.MaxVoltageCrossEntropy("out", labels),
        *(es.losses.MeanVoltageCrossEntropy("out", labels, weighting=w) for w in weightings),
        es.losses.InstantCrossEntropy("out", labels),
        es.losses.TrajectoryMSE("out", lambda t, s: np.zeros((2, t.size))),
        es.losses.InstantCrossEntropy("a", labels),
        es.losses.FirstSpikeCrossEntropy("a", labels, tau0=1e-3, alpha=1e-4, silent="t_end"),
        es.losses.SpikeCountLoss("a", [0.3, 5.0], upper=2.0, lower=0.5),
        es.losses.SumVoltageCrossEntropy("out", labels, time_step=5e-3),
        es.losses.Sum(
            [es.losses.MeanVoltageCrossEntropy("out", labels), es.losses.SpikeCountLoss("a", 1.0)], [1.0, 0.1]
        ),
    ]


def test_what_moves_with_an_arrival_is_refused_but_for_the_loss_that_is_written_out():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, es.LIF(20e-3, 5e-3))
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "a", [[9.0]])
    net.connect("in", "out", [[1.0]], synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, T_END)
    largest = es.losses.MaxVoltageCrossEntropy("out", [0])
    assert es.certify(solution, gradients=largest).proven
    assert (solution.maxima("out").arrival != -1).any()
    for loss in (
        es.losses.Sum([largest, es.losses.SpikeCountLoss("a", 1.0)]),
        es.losses.MaxVoltageLoss("out", lambda m: (m.sum(axis=1), np.ones_like(m))),
    ):
        with pytest.raises(ValueError, match=f"gradients of {type(loss).__name__} have no enclosure"):
            es.certify(solution, gradients=loss)


@pytest.mark.parametrize("index", range(17))
def test_float64_losses_and_gradients_lie_in_their_enclosures(index):
    solution = small("layers")
    loss = losses([1], 1)[index]
    certificate = es.certify(solution, gradients=loss)
    assert certificate.proven, str(certificate)
    value, _ = es.value_and_grad(solution, loss)
    middle, radius = certificate.gradients.value
    if not np.isnan(middle):
        assert abs(value - middle) <= radius + 64 * np.spacing(abs(value) + 1.0)
    assert certificate.gradient_distance < 1e5


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_gradients_of_random_networks_agree_with_float64(seed):
    case = random_case(seed)
    solution = case.solve()
    cotangents = {name: np.ones(t.n_spikes) for name, t in solution.spikes.items()}
    certificate = es.certify(solution, gradients=cotangents, digits=DIGITS)
    assert not certificate.undecided
    assert not certificate.refuted
    # ten digits, but where a spike is too flat for float64 to know so many
    for mismatch in certificate.mismatches:
        assert is_no_better_known(solution, cotangents, mismatch), str(mismatch)


@pytest.mark.parametrize("seed", range(6))
def test_gradients_of_loops_agree_with_float64(seed):
    solution = solved(Loop(seed, n=3, t_end=15e-3))
    assert solution is not None
    cotangents = {name: np.ones(t.n_spikes) for name, t in solution.spikes.items()}
    certificate = es.certify(solution, gradients=cotangents, digits=DIGITS)
    assert certificate.proven, str(certificate)


def test_a_batch_adds_up_as_the_float64_gradient_does():
    solution = random_case(9, n_samples=4).solve()
    loss = es.losses.TargetTimeMSE("hidden", np.full((4, 4), 10e-3), silent="t_end")
    certificate = es.certify(solution, gradients=loss)
    assert certificate.proven
    value, grads = es.value_and_grad(solution, loss)
    assert abs(value - certificate.gradients.value.midpoints) <= 1e-12 * value
    assert grads.spike_times["in"].shape == certificate.gradients.spike_times["in"].midpoints.shape


def test_a_sparse_weight_has_its_gradient_synapse_by_synapse():
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", sp.csr_array([[8.0, 0.0, 3.0], [0.0, 9.0, 0.0]]))
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3], [2e-3]]])}, 0.02)
    certificate = es.certify(solution, gradients={"out": np.ones(solution.spikes["out"].n_spikes)})
    assert certificate.proven
    assert certificate.gradients.weight["in", "out"].midpoints.shape == (3,)


def test_gradients_that_are_not_of_this_solution_are_refused():
    solution, other = small("layers"), random_case(1).solve()
    cotangents = {"a": np.ones(solution.spikes["a"].n_spikes)}
    theirs = es.vjp(other, {"out": np.ones(other.spikes["out"].n_spikes)})
    with pytest.raises(ValueError, match=r"claimed_gradients\.weight lacks"):
        es.certify(solution, gradients=cotangents, claimed_gradients=theirs)
    each = es.vjp(solution, cotangents, reduction="none")
    with pytest.raises(ValueError, match="must have shape"):
        es.certify(solution, gradients=cotangents, claimed_gradients=each)
