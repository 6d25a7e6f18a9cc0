"""The gradient of cycles whose populations go back together, row by row, against balls and against differences."""

from dataclasses import replace

import numpy as np
import pytest
from comparing import Comparison

import eventsolve as es
from eventsolve.certify.claims import TOLERANCE, arrays_of
from eventsolve.kernels.deliveries import PIECE
from eventsolve.losses import Evaluation, VoltageSamples


def dense(seed, n=6):
    """Two populations of a cycle that advance together; a seed chooses delays, holds and time constants."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    t_ref = (0.0, 1e-3, rng.choice([0.0, 2e-3], n))[seed % 3]
    tau_syn = (5e-3, 20e-3, 10e-3, 19.9e-3)[seed % 4]
    reset, leak = rng.uniform(-0.2, 0.2, n), rng.uniform(0.5, 1.2, n)
    net.add_population(
        "a",
        n,
        es.LIF(20e-3, tau_syn, 1.0, reset, leak, t_ref, v_initial=0.4, i_initial=rng.normal(0, 0.1, n)),
    )
    net.add_population("b", n, es.LIF(10e-3, 5e-3, v_leak=0.9))
    net.connect("in", "a", rng.normal(2.0, 1.0, (n, 3)), delay=1e-3)
    by_source = np.broadcast_to(rng.uniform(1e-3, 3e-3, n), (n, n))
    net.connect("a", "a", rng.normal(0, 0.3, (n, n)), delay=(0.0, 1e-3, by_source)[(seed // 2) % 3])
    net.connect("a", "b", rng.normal(0.2, 0.5, (n, n)))
    net.connect("b", "a", rng.normal(0.0, 0.4, (n, n)) * (rng.random((n, n)) < 0.6), delay=2e-3)
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 15e-3, (1, 3)))
    solution = es.solve(net, {"in": trains}, 70e-3)
    assert solution.layer("a").efferents.dense.all()
    return solution


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_of_a_dense_cycle_is_what_balls_enclose(seed):
    solution = dense(seed)
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=solution.spikes[name].n_spikes) for name in "ab"}
    certificate = es.certify(solution, gradients=cotangents)
    assert certificate.proven, str(certificate)
    assert certificate.mismatches == ()
    compare, found = Comparison(), es.vjp(solution, cotangents)
    # cut right behind a spike, where its neuron is ahead of the others of its block, and between spikes
    cuts = np.unique([solution.spikes["a"].times[[0, -1]], solution.spikes["b"].times[[1, 2]] + 0.3e-3])
    loss = es.losses.SpikeTimeLoss(lambda _: (np.zeros(1), cotangents))
    inputs = {"in": solution.spikes["in"]}
    parts = es.value_and_grad_in_pieces(solution.network, inputs, solution.t_end, loss, cuts)[1]
    for quantity, key, (middle, radius) in arrays_of(certificate.gradients):
        room = TOLERANCE * np.abs(middle).max(initial=0.0) + radius  # as for misfits
        compare.close(getattr(found, quantity)[key], middle, room, (quantity, key))
        if quantity != "spike_times" or key == "in":
            compare.close(getattr(parts, quantity)[key], middle, 2 * room, (quantity, key))
    compare.demand(0.4)


def per_synapse(n=40):
    """A delay per synapse, so that a second of activity is several pieces of deliveries."""
    rng = np.random.default_rng(5)
    net = es.Network()
    neuron = es.LIF(
        20e-3, 5e-3, v_leak=rng.uniform(0.9, 1.3, n), t_ref=1e-3, v_initial=rng.uniform(0, 0.9, n)
    )
    net.add_population("loop", n, neuron)
    net.connect("loop", "loop", rng.normal(-0.01, 0.1, (n, n)), delay=rng.uniform(1e-3, 5e-3, (n, n)))
    return net


def moved(net, quantity, step, direction):
    neuron, key = net.population("loop").neuron, ("loop", "loop")
    if quantity == "weight":
        return net.with_weights({key: net.projections[key].weight + step * direction})
    if quantity == "delay":
        values = net.projections[key].delay.reshape(direction.shape)
        return net.with_delays({key: values + step * direction})
    values = net.population("loop").parameter(quantity) + step * direction
    return net.with_neurons({"loop": replace(neuron, **{quantity: values})})


def test_a_cycle_over_several_pieces_of_deliveries_has_the_derivative_along_any_direction():
    net, t_end = per_synapse(), 0.8
    solution = es.solve(net, {}, t_end)
    spikes = solution.spikes["loop"]
    assert spikes.n_spikes * 40 > 2 * PIECE
    rng = np.random.default_rng(1)
    cotangent = rng.normal(size=spikes.n_spikes)
    found = es.vjp(solution, {"loop": cotangent})
    compare = Comparison()
    for quantity, size in (("weight", 1e-8), ("delay", 1e-9), ("tau_mem", 1e-9), ("tau_syn", 1e-9)):
        gradient = next(iter(getattr(found, quantity).values()))
        direction = rng.normal(size=gradient.shape)
        expected = float((gradient * direction).sum())

        def along(step, quantity=quantity, direction=direction):
            other = es.solve(moved(net, quantity, step, direction), {}, t_end).spikes["loop"]
            np.testing.assert_array_equal(other.neurons, spikes.neurons)
            return float(cotangent @ other.times)

        near, far = ((along(h) - along(-h)) / (2 * h) for h in (size, 2 * size))
        # right to what two differences are apart, and to the roundings of the times
        noise = 64 * np.finfo(float).eps * spikes.n_spikes / size
        compare.close(expected, (4 * near - far) / 3, abs(near - far) + noise, quantity)
    compare.demand(1.0)


def test_a_read_of_a_neuron_in_a_cycle_cannot_move_with_an_arrival():
    class Rides:
        def evaluate(self, solution):
            one, none = np.array([0]), np.zeros(1)
            return Evaluation(
                none, voltages={"a": VoltageSamples(one, one, np.array([10e-3]), one, none + 1.0)}
            )

    with pytest.raises(
        ValueError, match="voltage samples of 'a', which is in a cycle, must be fixed in time"
    ):
        es.value_and_grad(dense(0), Rides())
