"""Radii to first order of networks so small that they follow by hand."""

import numpy as np
import pytest
from networks import rounded_behind_the_peak

import eventsolve as es
from eventsolve.chunks import SAMPLES_PER_CHUNK

MS = 1e-3
UNIT = 6.349604207872798
"""The weight whose response peaks at the threshold, for time constants of 20 ms and 5 ms."""


def solved(weight, times=(1 * MS,), t_end=60 * MS, *, synapse="exponential", n_samples=1, **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20 * MS, 5 * MS, **neuron))
    net.connect("in", "out", [[weight]], synapse=synapse)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[list(times)]] * n_samples)}, t_end)


def test_a_weight_of_0_that_may_move_makes_events():
    """It lifts V, which is at 1/2, to the threshold at 1/2."""
    solution = solved(0.0, synapse="delta", v_initial=0.5, v_leak=0.5)
    found = es.trust_radius(solution, "weight", certify=False)
    assert found.radius.tolist() == [pytest.approx(0.5)]
    assert found.limits[0].kind == "voltage"
    # one that may not is none
    assert es.trust_radius(solution, "spike_times", certify=False).radius.tolist() == [np.inf]


@pytest.mark.parametrize("n_samples", [1, SAMPLES_PER_CHUNK + 3])
def test_what_is_nearest_of_a_peak_below_the_threshold(n_samples):
    solution = solved(3.0, n_samples=n_samples)
    short = 1 - 3.0 / UNIT
    for name, radius in (("weight", short * UNIT), ("v_threshold", short)):
        found = es.trust_radius(solution, name, certify=False)
        np.testing.assert_allclose(found.radius, radius, rtol=1e-12)
        assert [limit.sample for limit in found.limits] == list(range(n_samples))
        assert {limit.kind for limit in found.limits} == {"voltage"}
    # of v_leak alone: V at the peak moves by 1 - exp(-s/tau_mem)
    s = 20 * MS * 5 * MS / (15 * MS) * np.log(4)
    found = es.trust_radius(solution, "v_leak", certify=False).radius
    assert (found < short / (1 - np.exp(-s / (20 * MS)))).all()


def test_a_spike_may_move_up_to_the_end_or_by_itself_up_to_its_arrival():
    t_end = 3 * MS
    solution = solved(40.0, t_end=t_end, t_ref=10 * MS)
    (spike,) = solution.spikes["out"].times
    assert spike - 1 * MS < t_end - spike
    for of, radius in (
        ("spike_times", t_end - spike),  # with its input, by which the gap between the two stays
        ({"spike_times": {"in": 0.5}}, (t_end - spike) / 0.5),
        ({"spike_times": {"out": 1.0}}, spike - 1 * MS),
    ):
        found = es.trust_radius(solution, of, certify=False)
        assert found.radius.tolist() == [pytest.approx(radius)]
        assert found.limits[0].kind == "gap"


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after seventeen years
def test_any_change_may_take_a_spike_away_that_has_no_slope():
    found = es.trust_radius(rounded_behind_the_peak(), "weight", certify=False)
    assert found.radius.tolist() == [0.0]
    # that of weights is 0 by a distance that is not, as it depends on that spike
    assert found.limits[0].value > 0.1
