"""What is kept of recent tables changes nothing: each run has the bits that it has alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from validation.grid import TimeStepped, tables
from validation.grid.flaws import NONE

KEPT = [tables._levels_of, tables._wiring, tables._neurons, tables._slopes, tables._inputs_of]


def base(sparse):
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("a", 2, es.LIF(tau_mem=20e-3, tau_syn=5e-3, t_ref=[1e-3, 2.2e-3]))
    net.add_population("out", 2, es.LIF(tau_mem=10e-3, tau_syn=5e-3))
    weight = np.array([[9.0, 0.0, 4.0], [0.0, 8.0, 5.0]])
    net.connect("in", "a", sp.csr_array(weight) if sparse else weight, delay=1.1e-3)
    net.connect("a", "out", [[9.0, -2.0], [7.0, 6.0]], delay=2e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3, 4.4e-3], [2e-3], [3e-3]], [[5e-3], [1e-3], []]])}
    return es.Problem(
        net, inputs, 0.04, es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=10e-3, alpha=1e-3)
    )


def variations(problem):
    """Yield problems that differ in one thing each, in ways that something kept must tell apart."""
    net = problem.network
    yield problem
    yield replace(problem, network=net.with_weights({("a", "out"): [[8.0, -2.0], [7.0, 6.0]]}))
    yield replace(problem, network=net.with_delays({("a", "out"): 3e-3}))
    yield replace(problem, network=net.with_delays({("in", "a"): 0.0}))
    for changed in ({"tau_mem": 18e-3}, {"t_ref": 3e-3}, {"v_threshold": 0.8}, {"v_leak": 0.2}):
        yield replace(
            problem, network=net.with_neurons({"a": replace(net.population("a").neuron, **changed)})
        )
    other = es.SpikeTrains.from_lists([[[1e-3, 6e-3], [2e-3], [3e-3]], [[5e-3], [1e-3], []]])
    yield replace(problem, inputs={"in": other})
    if sp.issparse(net.projections["in", "a"].weight):  # as many synapses, elsewhere
        moved = es.Network()
        moved.add_input("in", 3)
        for name in ("a", "out"):
            moved.add_population(name, 2, net.population(name).neuron)
        moved.connect("in", "a", sp.csr_array([[9.0, 4.0, 0.0], [0.0, 8.0, 5.0]]), delay=1.1e-3)
        moved.connect("a", "out", net.projections["a", "out"].weight, delay=2e-3)
        yield replace(problem, network=moved)


TARGETS = [
    TimeStepped(1e-3, traces=False),
    TimeStepped(1e-3, traces=False, transport=1),
    TimeStepped(5e-4, traces=False, propagators="euler"),
    TimeStepped(1e-3, traces=False, order="current_first", points="0..n", number="float32"),
    TimeStepped(1e-3, traces=False, input_rounding="up"),
]


def bits(target, problem):
    record = target.run_flawed(problem, NONE)
    found = [record.loss_values, *(trains.times for trains in record.spikes.values())]
    for places in record.gradients.values():
        found += places.values()
    return b"".join(np.ascontiguousarray(values).tobytes() for values in found)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_run_has_the_bits_that_it_has_alone(sparse):
    cases = [(target, problem) for problem in variations(base(sparse)) for target in TARGETS]
    alone = []
    for case in cases:
        for of in KEPT:
            of.cache_clear()
        alone.append(bits(*case))
    assert len(set(alone)) > len(cases) // 2  # they differ: what is kept could be of another one
    order = np.random.default_rng(5).permutation(3 * len(cases)) % len(cases)
    assert all(bits(*cases[k]) == alone[k] for k in order)
    assert all(of.cache_info().hits for of in KEPT)


def test_what_is_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(tables, "SMALL", 3)
    for of in KEPT:
        of.cache_clear()
    bits(TARGETS[3], base(False))
    assert [of.cache_info().currsize for of in (tables._levels_of, tables._wiring, tables._inputs_of)] == [
        0,
        0,
        0,
    ]
