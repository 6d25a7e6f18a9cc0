"""Networks, number formats and comparisons for the models of the SpiNNaker2 core."""

from dataclasses import fields

import numpy as np
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.io.records import Record
from validation.fixedpoint import S16_15, U0_32, FixedFormat
from validation.spinnaker2 import FLOAT32, FLOAT64, Arithmetic

ROUNDINGS = ("down", "to_zero", "half_up", "nearest_even", "stochastic")


def TTFS(labels, population="out", tau0=1.5e-3, tau1=100e-3, alpha=0.01, silent="t_end"):
    """The published loss of the core, Béna et al. (2024)."""
    return es.losses.TTFSCrossEntropy(population, labels, tau0=tau0, tau1=tau1, alpha=alpha, silent=silent)


def assert_same(a: Record, b: Record) -> None:
    """Assert that two records are equal in every bit."""
    assert [f.name for f in fields(Record)] == [
        *("name", "t_end", "inputs", "spikes", "network", "loss", "loss_values", "gradients", "reduction"),
        *("time_step", "traces", "notes", "counters", "scheme", "own_reset", "weights", "trials"),
        "arrivals",
    ]
    assert a.name == b.name
    assert not a.arrivals
    assert not b.arrivals
    assert a.counters == b.counters
    assert a.notes == b.notes
    assert a.reduction == b.reduction == "none"
    assert set(a.gradients) == set(b.gradients) == {"weight", "spike_times"}
    for mine, theirs in ((a.spikes, b.spikes), (a.traces, b.traces)):
        assert list(mine) == list(theirs)
        for name, x in mine.items():
            names = ("times", "neurons", "samples") if mine is a.spikes else ("times", "voltage", "current")
            for field in names:
                np.testing.assert_array_equal(getattr(x, field), getattr(theirs[name], field))
    for mine, theirs in ((a.weight, b.weight), (a.spike_times, b.spike_times)):
        assert set(mine) == set(theirs)
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], strict=True)
    np.testing.assert_array_equal(a.loss_values, b.loss_values, strict=True)


def random_problem(seed, n_samples, n_steps, silent="t_end"):
    """Two inputs, two hidden populations, one added after the output, skip connections, levels per neuron."""
    rng = np.random.default_rng(seed)
    sizes = {"in": int(rng.integers(1, 6)), "other": 2, "out": 3, "a": int(rng.integers(1, 9)), "b": 4}
    net = es.Network()
    for name in ("in", "other"):
        net.add_input(name, sizes[name])
    for name in ("out", "a", "b"):
        levels = {
            "v_threshold": rng.uniform(0.8, 1.2, sizes[name]),
            "v_reset": rng.uniform(-0.3, 0.3, sizes[name]),
        }
        tau_mem, tau_syn = rng.uniform(5e-3, 30e-3, 2)
        net.add_population(name, sizes[name], es.LIF(tau_mem=tau_mem, tau_syn=tau_syn, **levels))
    pairs = [("in", "a"), ("a", "b"), ("b", "out"), ("in", "out"), ("other", "b"), ("a", "out")]
    for pre, post in [pairs[0], pairs[2], *(p for p in pairs[1:] if p != pairs[2] and rng.random() < 0.6)]:
        scale = 8.0 / np.sqrt(sizes[pre])
        net.connect(pre, post, rng.normal(scale, scale, (sizes[post], sizes[pre])))
    inputs = {}
    for name in ("in", "other"):
        dense = rng.random((n_samples, sizes[name], n_steps + 2)) < 0.15
        lists = [[(np.flatnonzero(train) * 1e-3).tolist() for train in sample] for sample in dense]
        inputs[name] = es.SpikeTrains.from_lists(lists, n_neurons=sizes[name])
    return net, inputs, n_steps * 1e-3, TTFS(rng.integers(0, 3, n_samples), silent=silent)


def chain_problem(seed=0, n_samples=3, n_hidden=6):
    """in -> hidden -> out, inputs between grid points, 30 ms."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hidden", n_hidden, es.LIF(20e-3, 5e-3))
    net.add_population("out", 3, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(2.5, 1.5, (n_hidden, 4)))
    net.connect("hidden", "out", rng.normal(2.0, 1.0, (3, n_hidden)))
    times = rng.uniform(0, 15e-3, (n_samples, 4)).tolist()
    inputs = {"in": es.SpikeTrains.from_lists([[[t] for t in sample] for sample in times])}
    loss = es.losses.TTFSCrossEntropy(
        "out", rng.integers(0, 3, n_samples), tau0=2e-3, tau1=0.1, alpha=0.01, silent="t_end"
    )
    return net, inputs, 30e-3, loss


signed = st.builds(FixedFormat, st.integers(1, 24), st.integers(1, 39))
numbers = st.sampled_from([FLOAT32, FLOAT64, S16_15]) | signed
arithmetics = st.builds(
    Arithmetic,
    name=st.just("drawn"),
    weight=numbers,
    state=numbers,
    decay=st.sampled_from([U0_32, FixedFormat(0, 16, signed=False), FixedFormat(0, 63), FLOAT32, FLOAT64]),
    adjoint=numbers,
    probability=st.sampled_from([FixedFormat(1, 30), FLOAT64]),
    gradient=st.sampled_from([FixedFormat(47, 15), FixedFormat(8, 7), FixedFormat(24, 39), FLOAT32, FLOAT64]),
    rounding=st.sampled_from(ROUNDINGS),
    overflow=st.sampled_from(["saturate", "wrap"]),
    seed=st.integers(0, 5),
)
