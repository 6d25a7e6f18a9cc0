"""Errors of the first hour say what was expected, and what there is."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.losses import Evaluation, VoltageSamples

TRAINS = es.SpikeTrains.from_lists([[[1e-3], [2e-3]]])


def network(kind=es.LIF):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 2, kind(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "hidden", [[9.0, 8.0], [7.0, 6.0]])
    return net


def solved(kind=es.LIF):
    return es.solve(network(kind), {"in": TRAINS}, 50e-3)


MESSAGES = {
    "loss must be one of eventsolve.losses, or have evaluate(solution); got <function .*>: "
    "a function of spike times goes into SpikeTimeLoss(function)": lambda: es.value_and_grad(
        solved(), lambda spikes: 0.0
    ),
    "loss must be one of eventsolve.losses, or have evaluate(solution); got 'ttfs'": lambda: (
        es.value_and_grad(solved(), "ttfs")
    ),
    "solution must be a Solution, which es.solve gives; got Network(.*)": lambda: es.value_and_grad(
        network(), es.losses.MaxVoltageCrossEntropy("hidden", [0])
    ),
    "solution must be a Solution, which es.solve gives; got {}": lambda: es.vjp({}, {}),
    "cotangents must be a mapping of population to numbers, one for each spike; got [1.0]": lambda: es.vjp(
        solved(), [1.0]
    ),
    "inputs must be a mapping of input to SpikeTrains, here {'in': trains}; got SpikeTrains(.*)": lambda: (
        es.solve(network(), TRAINS, 50e-3)
    ),
    "network must be a Network; got {}": lambda: es.solve({}, {"in": TRAINS}, 50e-3),
    "function must be a function; got 3": lambda: es.losses.RunningLoss("hidden", 3),
    "target must be a function; got 3": lambda: es.losses.TrajectoryMSE("hidden", 3),
}


@pytest.mark.parametrize("said", MESSAGES)
def test_what_is_something_else_is_named_with_what_was_expected(said):
    with pytest.raises(TypeError, match=re.escape(said).replace(re.escape(".*"), ".*")):
        MESSAGES[said]()


# -- losses of somebody's own ------------------------------------------------------------------------------------------


class Own:
    def __init__(self, given):
        self.given = given

    def evaluate(self, solution):
        return self.given


def reads(**changes):
    whole = VoltageSamples(
        np.array([0, 0]), np.array([0, 1]), np.array([1e-3, 2e-3]), np.full(2, -1), np.ones(2)
    )
    return {"hidden": whole._replace(**changes)}


EVALUATIONS = [
    (None, TypeError, "a loss must evaluate to an Evaluation; got None"),
    (Evaluation(np.zeros(2)), ValueError, "one value for each of 1 samples; got shape (2,)"),
    (
        Evaluation(np.zeros(1), {"hiden": np.zeros(1)}),
        ValueError,
        "names 'hiden', which is not a population; there",
    ),
    (
        Evaluation(np.zeros(1), {}, {"more": reads()["hidden"]}),
        ValueError,
        "reads voltages of 'more', which is not",
    ),
    (
        Evaluation(np.zeros(1), {}, reads(neurons=[0, 10**9])),
        ValueError,
        "must lie in 0..1; entry [1] is 1000000000",
    ),
    (Evaluation(np.zeros(1), {}, reads(samples=[0, 1])), ValueError, "must lie in 0..0; entry [1] is 1"),
    (Evaluation(np.zeros(1), {}, reads(times=[1e-3, 1.0])), ValueError, "t_end = 0.05]; entry [1] is 1.0"),
    (Evaluation(np.zeros(1), {}, reads(times=[1e-3, np.nan])), ValueError, "entry [1] is nan"),
    (
        Evaluation(np.zeros(1), {}, reads(cotangents=[1.0, np.inf])),
        ValueError,
        "must be finite; entry [1] is inf",
    ),
    (
        Evaluation(np.zeros(1), {}, reads(neurons=[1, 0])),
        ValueError,
        "must be sorted by sample, neuron and time",
    ),
    (
        Evaluation(np.zeros(1), {}, reads(neurons=[1])),
        ValueError,
        "must have one length; got [2, 1, 2, 2, 2]",
    ),
    (
        Evaluation(np.zeros(1), {}, {"in": reads()["hidden"]}),
        ValueError,
        "'in' is an input: it has no voltage",
    ),
]


@pytest.mark.parametrize(("evaluation", "error", "said"), EVALUATIONS)
def test_what_somebodys_own_loss_gives_is_checked_before_it_is_used(evaluation, error, said):
    solution = solved(es.LI)
    assert es.value_and_grad(solution, Own(Evaluation(np.zeros(1), {}, reads())))[0] == 0.0
    with pytest.raises(error, match=re.escape(said)):
        es.value_and_grad(solution, Own(evaluation))


# -- names that are not there, and solutions that were not solved ------------------------------------------------------


def test_a_missing_name_says_what_there_is_and_what_is_near():
    solution = solved()
    grads = es.vjp(solution, {})
    for look_up, said in (
        (lambda: solution.spikes["hiden"], "there is no 'hiden', but 'in', 'hidden'; was 'hidden' meant?"),
        (lambda: solution.spikes["elsewhere"], "there is no 'elsewhere', but 'in', 'hidden'"),
        (
            lambda: grads.weight["in->hidden"],
            "there is no 'in->hidden', but ('in', 'hidden'); was ('in', 'hidden') meant?",
        ),
        (
            lambda: es.vjp(es.solve(es.Network(), {}, 1.0), {}).weight["in"],
            "there is no 'in', as the mapping is empty",
        ),
    ):
        with pytest.raises(KeyError) as caught:
            look_up()
        assert str(caught.value) == said
    assert solution.spikes.get("hiden") is None
    assert "hiden" not in solution.spikes
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_a_solution_is_made_by_what_solves_alone():
    """Its parts belong together: with another network, gradients would go back through spikes that are not its own."""
    solution = solved()
    observed = es.observe(solution.network, {"in": TRAINS}, {"hidden": solution.spikes["hidden"]}, 0.05)
    for found in (solution, observed):
        for changes in ({}, {"network": solution.network}, {"t_end": 1.0}, {"spikes": {"in": TRAINS}}):
            with pytest.raises(TypeError, match="cannot be put together, nor a part of it replaced"):
                replace(found, **changes)
    with pytest.raises(TypeError, match="a Solution cannot be put together"):
        es.Solution(solution.network, 0.0, 1.0)
