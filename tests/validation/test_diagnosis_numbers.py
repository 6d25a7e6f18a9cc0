"""In continuous time, is every error of loss and gradients named where it was planted by hand, and none elsewhere?"""

import math

import numpy as np
import pytest

import eventsolve as es
from eventsolve.testing import Mismatch, Problem, check_implementation, network_of
from validation.diagnosis import factors

TAU_MEM, TAU_SYN, DELAY = 20e-3, 5e-3, 1.5e-3
NEURON = es.LIF(TAU_MEM, TAU_SYN, v_reset=0.2)
EXACT = 1e-9
"""Of gradients worked out by hand with doubles: some hundred roundings, amplified by the conditioning of V'."""


def kernel(s, tau_mem=TAU_MEM, tau_syn=TAU_SYN):
    return tau_syn / (tau_syn - tau_mem) * (math.exp(-s / tau_syn) - math.exp(-s / tau_mem))


def exact(problem, *quantities, reduction="mean"):
    value, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
    return {name: value if name == "loss" else dict(getattr(grads, name)) for name in quantities}


def complaint(problem, results, **options):
    with pytest.raises(Mismatch) as caught:
        check_implementation(lambda _: results, problem, spikes_atol=1e-12, rtol=EXACT, **options)
    return caught.value


# -- layers with every parameter different -----------------------------------------------------------------------------


def layered(n_samples=3):
    net = network_of(
        {
            "in": 2,
            "hidden": (2, es.LIF([18e-3, 23e-3], [4.5e-3, 6e-3], v_threshold=1.3)),
            "out": (2, es.LIF([19e-3, 26e-3], [5.5e-3, 7e-3])),
        },
        {
            ("in", "hidden"): {"weight": [[9.0, 4.0], [5.0, 8.0]]},
            ("hidden", "out"): {"weight": [[8.0, 3.0], [4.0, 9.0]], "delay": 1e-3},
        },
    )
    lists = [[[k * 1e-3, 6e-3], [2e-3 + k * 0.4e-3]] for k in range(n_samples)]
    labels = np.arange(n_samples) % 2
    loss = es.losses.TTFSCrossEntropy("out", labels, tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)
    return Problem(net, {"in": es.SpikeTrains.from_lists(lists)}, 50e-3, loss)


FIRST, SECOND = ("in", "hidden"), ("hidden", "out")
STEP = 0.25e-3
PLANTED = {
    "-1": -1.0,
    "tau_syn": np.array([[5.5e-3], [7e-3]]),
    "-tau_syn": -np.array([[5.5e-3], [7e-3]]),
    "1/tau_mem": 1 / np.array([[19e-3], [26e-3]]),
    "tau_mem/tau_syn": np.array([[19 / 5.5], [26 / 7]]),
    "1/(tau_mem tau_syn)": 1 / np.array([[19e-3 * 5.5e-3], [26e-3 * 7e-3]]),
    "N": 3.0,
    "1/N": 1 / 3,
    "n_outputs": 2.0,
    "1/2": 0.5,
    "1000": 1e3,
    "1/1e6": 1e-6,
    "time_step": STEP,
    "t_end": 50e-3,
    "1/(t_end/time_step)": STEP / 50e-3,
    "tau_mem t_end": np.array([[19e-3], [26e-3]]) * 50e-3,
    "1/(tau_mem t_end/time_step)": STEP / 50e-3 / np.array([[19e-3], [26e-3]]),
    "(1 - exp(-time_step/tau_syn))": np.array([[1 - math.exp(-0.25 / 5.5)], [1 - math.exp(-0.25 / 7)]]),
    "(1 - exp(-time_step/tau_mem))": np.array([[1 - math.exp(-0.25 / 19)], [1 - math.exp(-0.25 / 26)]]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_factor(name):
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][SECOND] = results["weight"][SECOND] * PLANTED[name]
    mismatch = complaint(problem, results, time_step=STEP)
    assert any(
        found.split(" (")[0] == f"a factor {name}".split(" (")[0] for found in mismatch.explanations
    ), mismatch
    assert mismatch.divergence.place == SECOND
    assert mismatch.divergence.quantity == "weight"


def test_every_factor_is_planted():
    planted = {name.removeprefix("-").removeprefix("1/") for name in PLANTED}
    planted |= {name.removeprefix("(").removesuffix(")") for name in planted}
    assert set(factors.FACTORS) - {"v_threshold"} <= planted


def test_a_factor_v_threshold_of_the_layer_that_has_one():
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][FIRST] = results["weight"][FIRST] / 1.3
    assert complaint(problem, results).explanations[0].startswith("a factor 1/v_threshold")


def test_a_factor_of_a_gradient_by_spike_times_is_that_of_the_neuron_that_spikes():
    problem = layered()
    results = exact(problem, "spike_times")
    tau = np.array([4.5e-3, 6e-3])[problem.solution.spikes["hidden"].neurons]
    results["spike_times"]["hidden"] = results["spike_times"]["hidden"] * tau
    assert complaint(problem, results).explanations[0].startswith("a factor tau_syn")


def test_a_constant_ratio_without_a_name_is_said():
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][SECOND] = results["weight"][SECOND] * 0.73
    assert complaint(problem, results).explanations == ("a common factor of 0.73",)


def test_a_transposition():
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][SECOND] = results["weight"][SECOND].T
    assert complaint(problem, results).explanations[0].startswith("written down transposed")


def test_a_gradient_of_another_shape_is_told_that_its_transpose_fits():
    net = network_of({"in": 3, "out": (1, NEURON)}, {("in", "out"): {"weight": [[9.0, 4.0, 2.0]]}})
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3], [2e-3]]])}
    problem = Problem(net, inputs, 50e-3, es.losses.TargetTimeMSE("out", [[0.0]]))
    results = {"weight": {("in", "out"): np.zeros((3, 1))}}
    with pytest.raises(ValueError, match=r"must have shape \(1, 3\); got \(3, 1\), a transposition"):
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=0.0)


@pytest.mark.parametrize("quantity", ["loss", "weight"])
def test_a_loss_without_its_early_spike_term(quantity):
    problem = layered()
    bare = es.losses.TTFSCrossEntropy("out", [0, 1, 0], tau0=0.5e-3, tau1=6.4e-3, alpha=0.0)
    results = exact(Problem(problem.network, problem.inputs, problem.t_end, bare), quantity)
    assert "no early-spike term in the loss" in complaint(problem, results).explanations


def test_what_has_no_cause_is_not_given_one():
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][SECOND] = results["weight"][SECOND] + np.array([[0.1, -0.2], [0.4, 0.3]])
    mismatch = complaint(problem, results)
    assert mismatch.explanations == ()
    assert "looks like nothing that is known" in str(mismatch)


def test_a_number_that_is_not_finite_is_within_no_margin():
    problem = layered()
    results = exact(problem, "weight")
    results["weight"][SECOND] = results["weight"][SECOND] * np.array([[1.0, np.nan], [1.0, 1.0]])
    mismatch = complaint(problem, results)
    assert (mismatch.divergence.neuron, mismatch.divergence.source) == (0, 1)
    assert mismatch.explanations == ()


# -- errors of the adjoint, worked out by hand ----------------------------------------------------------------------


def chain():
    """One spike in, one of a, one of b; L = 1/2 t_b^2."""
    net = network_of(
        {"in": 1, "a": (1, NEURON), "b": (1, NEURON)},
        {("in", "a"): {"weight": [[7.0]]}, ("a", "b"): {"weight": [[7.5]], "delay": DELAY}},
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    problem = Problem(net, inputs, 50e-3, es.losses.TargetTimeMSE("b", [[0.0]]))
    assert [problem.solution.spikes[name].n_spikes for name in "ab"] == [1, 1]
    return problem


def by_hand(problem, delivery, slope=lambda v: 1.0 - v):
    """dL/dw of both synapses of the chain; the error is in dL/dt of the delivery or in V' = (I - V)/tau_mem."""
    t_a, t_b = (float(problem.solution.spikes[name].times[0]) for name in "ab")
    s = t_b - t_a - DELAY
    slope_a = (7.0 * math.exp(-t_a / TAU_SYN) - slope(0.0)) / TAU_MEM
    slope_b = (7.5 * math.exp(-s / TAU_SYN) - slope(0.0)) / TAU_MEM
    p_v = -t_b / slope_b
    e_a = delivery(p_v, s)
    return {("in", "a"): [[-e_a / slope_a * kernel(t_a)]], ("a", "b"): [[p_v * kernel(s)]]}


def delivered(current, voltage, earlier=0.0):
    """dL/dt_del of the chain's delivery, from p_V at the spike of b and the time since: shares of p_I and p_V."""

    def delivery(p_v, s):
        s = s + earlier
        return 7.5 * (current * p_v * kernel(s) / TAU_SYN - voltage * p_v * math.exp(-s / TAU_MEM) / TAU_MEM)

    return delivery


def test_the_chain_by_hand_is_the_gradient():
    problem = chain()
    results = {"weight": by_hand(problem, delivered(1.0, 1.0))}
    check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=EXACT)


@pytest.mark.parametrize(
    ("words", "delivery"),
    [
        ("no p_V in dL/dt of an arrival", delivered(1.0, 0.0)),
        ("no p_I in dL/dt of an arrival", delivered(0.0, 1.0)),
        ("the wrong sign of p_V in dL/dt of an arrival", delivered(1.0, -1.0)),
        ("the wrong sign of dL/dt of an arrival", delivered(-1.0, -1.0)),
        ("nothing goes back through spikes", delivered(0.0, 0.0)),
    ],
)
def test_a_wrong_delivery(words, delivery):
    problem = chain()
    mismatch = complaint(problem, {"weight": by_hand(problem, delivery)})
    assert any(found.startswith(words) for found in mismatch.explanations), mismatch
    assert mismatch.divergence.place == ("in", "a")
    assert "weight of ('a', 'b')" in str(mismatch)


def test_delays_forgotten_on_the_way_back():
    problem = chain()
    results = by_hand(problem, delivered(1.0, 1.0, earlier=DELAY))
    t_a, t_b = (float(problem.solution.spikes[name].times[0]) for name in "ab")
    slope_b = (7.5 * math.exp(-(t_b - t_a - DELAY) / TAU_SYN) - 1.0) / TAU_MEM
    results["a", "b"] = [[-t_b / slope_b * kernel(t_b - t_a)]]  # read when the spike leaves, too
    mismatch = complaint(problem, {"weight": results})
    assert mismatch.explanations[0].startswith("on the way back: delays forgotten"), mismatch


def test_the_slope_after_the_reset():
    problem = chain()
    results = {"weight": by_hand(problem, delivered(1.0, 1.0), slope=lambda v: 0.2)}
    assert complaint(problem, results).explanations[0].startswith("V' after the reset")


def twice():
    """One spike in, two spikes out; L = t_2."""

    def second(spikes):
        return [spikes["out"].times[1]], {"out": np.eye(spikes["out"].n_spikes)[1]}

    net = network_of({"in": 1, "out": (1, NEURON)}, {("in", "out"): {"weight": [[11.0]]}})
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    problem = Problem(net, inputs, 9e-3, es.losses.SpikeTimeLoss(second))
    assert problem.solution.spikes["out"].n_spikes == 2
    return problem


def second_by_hand(problem, *, moves=1.0, passes=0.0):
    """dt_2/dw of V(t_2) = v_reset exp(-s/tau_mem) + I(t_1) K(s), s = t_2 - t_1.

    ``moves`` is the share of dV(t_2)/dt_1 that is kept, ``passes`` that of dV(t_1)/dw that goes through the reset.
    """
    t_1, t_2 = problem.solution.spikes["out"].times
    s = float(t_2 - t_1)
    i_1, i_2 = (11.0 * math.exp(-t / TAU_SYN) for t in (t_1, t_2))
    first = -kernel(t_1) / ((i_1 - 1.0) / TAU_MEM)
    away = (i_1 - NEURON.v_reset) / TAU_MEM * math.exp(-s / TAU_MEM)
    change = math.exp(-t_1 / TAU_SYN) * kernel(s) - moves * away * first
    change += passes * kernel(t_1) * math.exp(-s / TAU_MEM)
    return {"weight": {("in", "out"): [[-change / ((i_2 - 1.0) / TAU_MEM)]]}}


def test_two_spikes_by_hand_are_the_gradient():
    problem = twice()
    check_implementation(lambda _: second_by_hand(problem), problem, spikes_atol=0.0, rtol=EXACT)


def test_the_term_of_the_reset_forgotten():
    problem = twice()
    assert (
        complaint(problem, second_by_hand(problem, moves=0.0))
        .explanations[0]
        .startswith("reset term missing")
    )


def test_a_voltage_adjoint_that_is_not_reset():
    problem = twice()
    assert (
        complaint(problem, second_by_hand(problem, passes=1.0))
        .explanations[0]
        .startswith("p_V not reset at a spike")
    )
