"""In continuous time, is what gives other spikes named where it was planted?"""

import math
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.testing import Mismatch, Problem, assert_spikes_match, check_implementation, network_of

STEP, ATOL = 0.5e-3, 1e-9
W1, W2 = np.array([[9.0, 4.0], [5.0, 8.0]]), np.array([[8.0, 3.0], [4.0, 9.0]])
LEAKS, RESETS, STARTS = [0.2, 0.1], [0.1, -0.2], [0.3, 0.1]


def problem(
    *, tau_mem=(18e-3, 23e-3), tau_syn=(4.5e-3, 6e-3), t_ref=2e-3, v_leak=LEAKS, v_reset=RESETS, v_initial=STARTS,
    first=W1, second=W2, d_first=0.0, d_second=1e-3,
):  # fmt: skip
    def neuron(k):
        return es.LIF(
            np.multiply(tau_mem, k), np.multiply(tau_syn, k), 1.0, v_reset, v_leak, t_ref, v_initial=v_initial
        )

    net = network_of(
        {"in": 2, "hidden": (2, neuron(1.0)), "out": (2, neuron(1.1))},
        {
            ("in", "hidden"): {"weight": first, "delay": d_first},
            ("hidden", "out"): {"weight": second, "delay": d_second},
        },
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3], [2e-3]], [[1e-3], [3e-3, 7e-3]]])}
    return Problem(net, inputs, 50e-3)


def scaled(factor):
    return {"first": W1 * np.array(factor)[:, None], "second": W2 * np.array(factor)[:, None]}


PLANTED = {
    "delay 0.0005 s too long: in → hidden, hidden → out": {"d_first": STEP, "d_second": 1e-3 + STEP},
    "delay 0.0005 s too long: in → hidden": {"d_first": STEP},
    "delay 0.0005 s too long: hidden → out": {"d_second": 1e-3 + STEP},
    "delay 0.0005 s too short: hidden → out": {"d_second": 1e-3 - STEP},
    "delays forgotten: hidden → out": {"d_second": 0.0},
    "weights transposed: in → hidden, hidden → out read as (n_pre, n_post)": {"first": W1.T, "second": W2.T},
    "weights transposed: hidden → out read as (n_pre, n_post)": {"second": W2.T},
    "tau_mem and tau_syn swapped": {"tau_mem": (4.5e-3, 6e-3), "tau_syn": (18e-3, 23e-3)},
    "refractory period ignored (t_ref = 0)": {"t_ref": 0.0},
    "leak ignored (v_leak = 0)": {"v_leak": 0.0},
    "reset to 0 in place of v_reset": {"v_reset": 0.0},
    "initial state ignored": {"v_initial": 0.0},
    "one spike per neuron: silence after the first": {"t_ref": 1.0},
    "weights multiplied by 2": scaled([2.0, 2.0]),
    "weights multiplied by 1/(1 - exp(-time_step/tau_mem))": {
        "first": W1 / np.array([[-math.expm1(-0.5 / 18)], [-math.expm1(-0.5 / 23)]]),
        "second": W2 / np.array([[-math.expm1(-0.5 / 19.8)], [-math.expm1(-0.5 / 25.3)]]),
    },
}


def complaint(got, right=None, **options):
    with pytest.raises(Mismatch) as caught:
        assert_spikes_match(got, (right or problem()).solution, atol=ATOL, **options)
    return caught.value


@pytest.mark.parametrize("words", PLANTED)
def test_another_network(words):
    got = {name: t for name, t in problem(**PLANTED[words]).solution.spikes.items() if name != "in"}
    mismatch = complaint(got, time_step=STEP)
    assert any(found.startswith(words) for found in mismatch.explanations), mismatch


def test_weights_of_the_wrong_sign():
    driven = {"v_leak": 1.2}
    got = problem(**driven, **scaled([-1.0, -1.0])).solution.spikes["out"]
    mismatch = complaint({"out": got}, problem(**driven))
    assert mismatch.explanations == ()  # the leak alone makes them spike, as with many other weights
    assert "too much would explain it" in str(mismatch)
    assert "sign of all weights turned round" in str(mismatch)


def test_a_step_of_delay_is_seen_without_knowing_the_step():
    got = problem(d_first=0.3e-3).solution.spikes["hidden"]
    mismatch = complaint({"hidden": got})
    assert any(found.startswith("delay 0.0003 s too long") for found in mismatch.explanations), mismatch


def written(trains, times):
    order = np.lexsort((trains.neurons, times, trains.samples))
    return replace(trains, times=times[order], neurons=trains.neurons[order], samples=trains.samples[order])


def test_times_in_milliseconds():
    trains = problem().solution.spikes["out"]
    mismatch = complaint({"out": written(trains, trains.times * 1e3)})
    assert mismatch.explanations[0].startswith("times in milliseconds")


def test_spikes_written_down_late():
    trains = problem().solution.spikes["hidden"]
    mismatch = complaint({"hidden": written(trains, trains.times + 1e-3)}, time_step=1e-3)
    assert mismatch.explanations[0].startswith("times 0.001 s late, while spikes act in time")


def test_neurons_in_another_order():
    trains = problem().solution.spikes["hidden"]
    order = np.lexsort((1 - trains.neurons, trains.times, trains.samples))
    got = es.SpikeTrains.from_arrays(
        trains.times[order], 1 - trains.neurons[order], trains.samples[order], n_neurons=2, n_samples=2
    )
    assert complaint({"hidden": got}).explanations == (
        "neurons in another order: of 'hidden', 0..1 are written down as [1, 0]",
    )


def test_other_spikes_without_a_cause_are_not_given_one():
    random = np.random.default_rng(0)
    got = es.SpikeTrains.from_dense(random.uniform(0, 50e-3, (2, 2, 5)))
    assert complaint({"hidden": got}, time_step=STEP).explanations == ()


def test_silence_has_too_many_causes_to_name_one():
    silent = {name: es.SpikeTrains.from_lists([[[], []]] * 2) for name in ("hidden", "out")}
    assert complaint(silent).explanations == ()


def test_a_loop_that_would_run_away_is_no_explanation():
    net = network_of(
        {"in": 1, "a": (1, es.LIF(20e-3, 5e-3))},
        {("in", "a"): {"weight": [[9.0]]}, ("a", "a"): {"weight": [[-9.0]]}},  # its sign is all that holds it
    )
    loop = Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 50e-3)
    got = {"a": es.SpikeTrains.from_lists([[[1e-3, 2e-3, 3e-3]]])}
    with pytest.raises(Mismatch) as caught:
        check_implementation(lambda _: {"spikes": got}, loop, spikes_atol=ATOL, rtol=0.0)
    assert caught.value.explanations == ()
