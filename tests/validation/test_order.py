"""Are other spikes put down to a model's resolution where it explains them, and to a bug where it does not?"""

import numpy as np
import pytest
from networks import random_case

import eventsolve as es
from eventsolve.compare.matching import match_spikes
from validation.order import spike_order
from validation.spinnaker2 import SpiNNaker2Core
from validation.tasks.yin_yang.task import SETUPS, network


def matches(solution, model):
    return {name: match_spikes(name, solution.spikes[name], model[name], 1e-3) for name in ("hidden", "out")}


def without_first(trains):
    kept = np.arange(1, trains.n_spikes)
    return es.SpikeTrains.from_arrays(
        trains.times[kept],
        trains.neurons[kept],
        trains.samples[kept],
        n_neurons=trains.n_neurons,
        n_samples=trains.n_samples,
    )


def test_a_lost_spike_is_a_bug_below_the_radius_and_explained_above_it():
    solution = random_case(3).solve()
    radius = es.trust_radius(solution, certify=False).radius
    keys = solution.network.projections
    lost = matches(solution, {**solution.spikes, "hidden": without_first(solution.spikes["hidden"])})
    fine = spike_order(solution, lost, {"weight": dict.fromkeys(keys, 0.99 * radius.min())})
    np.testing.assert_array_equal(fine.other_spikes, [True, False])
    np.testing.assert_array_equal(fine.unexplained, [True, False])
    assert "look for a bug, first in sample 0" in str(fine)
    coarse = spike_order(solution, lost, {"weight": dict.fromkeys(keys, 1.01 * radius.max())})
    np.testing.assert_array_equal(coarse.unexplained, [False, False])
    assert str(coarse).endswith(
        "1 has a neuron with more or fewer spikes, all of which its resolution explains."
    )
    assert coarse.limits == es.trust_radius(solution, certify=False).limits


def test_the_same_spikes_need_no_explanation():
    solution = random_case(3).solve()
    same = spike_order(solution, matches(solution, solution.spikes), {"weight": {("in", "out"): 1e-12}})
    assert same.within.all()
    assert not same.unexplained.any()
    assert str(same) == (
        "The model's resolution leaves 2 of 2 samples in the smooth piece of the exact network; "
        "0 have a neuron with more or fewer spikes."
    )


@pytest.mark.parametrize(("arithmetic", "half"), [("s16.15", 2.0**-16), ("float32", None), ("float64", None)])
def test_a_core_is_off_by_two_steps_and_half_a_last_place(arithmetic, half):
    net = network(SETUPS["5-120-3"], 1)
    found = SpiNNaker2Core(time_step=1e-4, format=arithmetic).resolution(net).radii(net)
    assert found["spike_times"] == {"in": 2e-4, "hidden": 2e-4, "out": 2e-4}
    for key, p in net.projections.items():
        stored = p.weight.astype(arithmetic) if half is None else np.round(p.weight * 2**15) / 2**15
        assert (np.abs(stored - p.weight) <= found["weight"][key]).all()
