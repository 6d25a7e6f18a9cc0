"""Is what is proven of a flux tube so, and do the estimates know how far they may be off?"""

import math

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.dynamics.flux_tubes import clopper_pearson, fitted, have_parted


def ring(weight, n=6, t_end=80e-3):
    """Neurons above their threshold that inhibit one another, late, over delta synapses."""
    net = es.Network()
    rng = np.random.default_rng(4)
    leak, start = rng.uniform(1.3, 1.6, n), rng.uniform(0.0, 0.9, n)
    net.add_population("a", n, es.LIF(tau_mem=20e-3, tau_syn=5e-3, v_leak=leak, v_initial=start))
    weights = weight * (rng.random((n, n)) < 0.5) * (1 - np.eye(n))
    net.connect("a", "a", sp.csr_array(weights), delay=1e-3, synapse="delta")
    return es.solve(net, {}, t_end)


def test_no_perturbation_within_the_proven_radius_changes_a_number_of_spikes():
    solution = ring(-0.1, n=3, t_end=30e-3)
    tube = es.flux_tube(solution, n_directions=0)
    assert 0.0 < tube.certified <= tube.first_order
    assert tube.size != tube.size  # nothing was sampled
    inside = es.flux_tube(
        solution, sizes=[0.3 * tube.certified, tube.certified], n_directions=20, certified=False
    )
    assert inside.changed.tolist() == [0, 0]
    assert math.isnan(inside.certified)
    assert "a proven bound" in repr(tube)
    assert "not asked for" in repr(inside)


def test_neurons_that_do_not_hear_each_other_never_part():
    tube = es.flux_tube(ring(0.0), n_directions=10, certified=False)
    assert not tube.parted.any()
    assert tube.size == math.inf
    assert tube.interval[1] == math.inf
    assert tube.interval[0] > 0.0


def test_a_seed_says_it_all_and_larger_perturbations_part_more_often():
    solution = ring(-0.2)
    one, other = (es.flux_tube(solution, n_directions=12, seed=3, certified=False) for _ in range(2))
    np.testing.assert_array_equal(one.parted, other.parted)
    assert one.interval[0] <= one.size <= one.interval[1]
    assert ((one.fraction[:, 0] <= one.parted / 12) & (one.parted / 12 <= one.fraction[:, 1])).all()
    assert one.changed[0] == 0 < one.changed[-1]


def test_the_fit_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    sizes, n, truth = np.geomspace(1e-3, 1.0, 7), 40, 0.05
    covered = 0
    for _ in range(100):
        hits = rng.binomial(n, -np.expm1(-sizes / truth))
        size, (low, high) = fitted(sizes, hits, n)
        assert low <= size <= high
        covered += low <= truth <= high
    # 95 of 100, binomially: fewer with a probability of less than 1e-4
    assert covered >= 85
    low, high = clopper_pearson(np.array([0, 40]), 40).T
    # with no hits of 40: 1 - (DOUBT/2)**(1/40)
    assert (low[0], high[1]) == (0.0, 1.0)
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 40), rel=1e-12, abs=0.0)


def test_what_makes_no_sense_is_refused():
    solution = ring(0.0, n=2)
    with pytest.raises(ValueError, match="of must name some of"):
        es.flux_tube(solution, "weight")
    with pytest.raises(
        ValueError, match=r"sizes must be finite, > 0, and below .*, where a neuron may start"
    ):
        es.flux_tube(solution, sizes=[1e-3, 5.0])
    two = es.SpikeTrains.from_lists([[[0.0]], [[1e-3]]])
    net = es.Network()
    net.add_input("in", 1)
    with pytest.raises(ValueError, match="of one sample, from time 0 to a later one; got 2 samples"):
        es.flux_tube(es.solve(net, {"in": two}, 1e-2))


def test_after_an_interrupt_there_is_the_tube_of_the_directions_that_were_done(monkeypatch):
    solution, sizes = ring(-0.2), [1e-3, 1e-2]
    whole = es.flux_tube(solution, sizes=sizes, n_directions=3, certified=False)
    calls = []

    def interrupted(*spikes):
        calls.append(spikes)
        if len(calls) == 7:  # two sizes of three directions are done
            raise KeyboardInterrupt
        return have_parted(*spikes)

    monkeypatch.setattr("eventsolve.dynamics.flux_tubes.have_parted", interrupted)
    with pytest.raises(es.Interrupted) as stopped:
        es.flux_tube(solution, sizes=sizes, n_directions=9, certified=True)
    found = stopped.value.so_far
    assert found.n_directions == 3
    assert math.isnan(found.certified)
    np.testing.assert_array_equal(found.parted, whole.parted)
