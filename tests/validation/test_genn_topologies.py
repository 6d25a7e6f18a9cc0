"""GeNN's EventProp on networks of any shape, step and loss, beside the same in plain Python, equal in every bit."""

import itertools

import numpy as np
import plain_genn
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.compare import agreement
from validation.attribution.recommendation import Setting, tried
from validation.genn import GeNN
from validation.oracle import oracle


def drawn(rng, loss, dt):
    """Return a random network: up to three layers of any constants, two inputs, skips, cycles, delays, gaps."""
    network = es.Network()
    network.add_input("in", int(rng.integers(1, 4)))
    network.add_input("more", int(rng.integers(1, 3)))
    layers = ["a", "b", "c"][: int(rng.integers(1, 4))]
    spiking = loss in ("RelativeMSE", "FirstSpikeTime")

    def constants():
        tau_mem = float(rng.uniform(6.0, 30.0)) * 1e-3  # all constants are longer than a step
        ratio = float(rng.choice([0.4, 0.8, 1.3, 2.5]))
        return tau_mem, ratio * tau_mem

    for name in layers:
        size = int(rng.integers(1, 5))
        network.add_population(
            name,
            size,
            es.LIF(
                *constants(),
                v_threshold=rng.uniform(0.5, 1.5, size),
                v_reset=float(rng.choice([0.0, -0.3])),
                v_initial=rng.uniform(-0.2, 0.4, size),
                t_ref=float(rng.choice([0.0, 0.9, 3.0])) * 1e-3,
                reset=str(rng.choice(["value", "subtract"])),
            ),
        )
    tau = constants()
    neuron = es.LIF(*tau) if spiking else es.LI(*tau, v_leak=float(rng.uniform(-0.05, 0.05)))
    network.add_population("out", int(rng.integers(2, 4)), neuron)
    order = ["in", *layers, "out"]
    pairs = [*itertools.pairwise(order), ("more", str(rng.choice(layers)))]
    others = [(a, b) for a in [*layers, "in"] for b in layers if (a, b) not in pairs]
    pairs += [pair for pair in others if rng.uniform() < 0.4]
    if rng.uniform() < 0.4:
        pairs.append((layers[0], "out"))
    for pre, post in dict.fromkeys(pairs):
        shape = network.population(post).size, network.population(pre).size
        recurrent = pre in layers and post in layers and layers.index(pre) >= layers.index(post)
        weight = rng.normal(0.0 if recurrent else 3.0, 0.6 if recurrent else 2.0, shape)
        if rng.uniform() < 0.25:
            kept = rng.uniform(size=shape) < 0.7
            kept[0, 0] = True
            weight = sp.csr_array(np.where(kept, weight, 0.0))
            delay = float(rng.integers(0, 3)) * dt * 1e-3
        else:
            delay = rng.integers(0, 4, shape) * dt * 1e-3 if rng.uniform() < 0.4 else 0.0
        network.connect(pre, post, weight, delay=delay)
    return network


@pytest.mark.parametrize("loss", plain_genn.LOSSES)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32 - 1),
    dt=st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]),
    n_steps=st.integers(2, 60),
    max_spikes=st.sampled_from([500, 2, 5]),
    consecutive=st.booleans(),
)
def test_any_network_has_the_bits_of_the_plain_twin(loss, seed, dt, n_steps, max_spikes, consecutive):
    rng = np.random.default_rng(seed)
    network, labels = drawn(rng, loss, dt), [0, 1, 1]
    inputs = {}
    for name in ("in", "more"):
        shape = (3, network.population(name).size, int(rng.integers(1, 8)))
        times = np.sort(rng.uniform(0, n_steps * dt, shape), axis=2)
        inputs[name] = es.SpikeTrains.from_dense(times * 1e-3)
    targets = rng.normal(0, 1, (3, n_steps, network.population("out").size))
    problem = es.Problem(network, inputs, n_steps * dt * 1e-3, plain_genn.LOSSES[loss](labels, targets, dt))
    upper, lower, nu = (float(x) for x in rng.uniform(0, [1e-3, 1e-3, 5]))
    readout = plain_genn.READOUT | {"kind": loss, "nu": nu, "upper": upper, "lower": lower}
    outcome = GeNN(
        dt * 1e-3,
        max_spikes=max_spikes,
        trials="consecutive" if consecutive else "separate",
        reg_lambda_upper=upper,
        reg_lambda_lower=lower,
        reg_nu_upper=nu,
    ).simulate(problem, adjoints=True)
    samples = plain_genn.trials_of(problem, readout, labels, targets, dt, n_steps, max_spikes, consecutive)
    plain_genn.assert_same(outcome, samples)


def test_a_recommendation_holds_genn_against_the_network_without_its_step():
    """GeNN's late inputs and spikes are errors, not delays of the network: the cosine is with the exact gradient."""
    rng = np.random.default_rng(3)
    network = es.Network()
    network.add_input("in", 3)
    network.add_population("hid", 4, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", rng.normal(5.0, 2.0, (4, 3)))
    network.connect("hid", "out", rng.normal(0.5, 1.0, (2, 4)))
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 20e-3, (4, 3, 1)))
    problem = es.Problem(
        network, {"in": trains}, 40e-3, es.losses.MeanVoltageCrossEntropy("out", [0, 1, 0, 1])
    )
    exact, costs = oracle(problem), []
    for rank, step in enumerate((1e-3, 1e-4)):
        target = GeNN(step, traces=False)
        candidate = tried(problem, Setting(rank, "", target))
        record = target.run(problem)
        cosines = [
            agreement(exact.weight[key].mean(axis=0), values.mean(axis=0)).cosine
            for key, values in record.weight.items()
        ]
        assert candidate.cosine == min(cosines)
        costs.append(candidate.cost.bytes)
    assert costs[1] > 5 * costs[0]
    assert [options["time_step"] for options in GeNN.settings()] == sorted(
        (options["time_step"] for options in GeNN.settings()), reverse=True
    )
