"""One neuron whose arrivals come at times that are balls: what is proven of it holds in whatever order they come."""

from collections import Counter

import numpy as np
import pytest

import eventsolve as es

CORNERS = 16


def drawn(rng):
    """A neuron near its threshold, with arrivals near each other, near its releases and near its crossings."""
    tau_syn = float(rng.choice([5e-3, 20e-3, 2e-3]))
    neuron = es.LIF(
        20e-3,
        tau_syn,
        v_leak=float(rng.choice([0.0, 0.5, 1.3, -0.5])),
        v_reset=float(rng.choice([0.0, -0.5, 0.7])),
        v_initial=float(rng.choice([0.0, 0.9, -1.0])),
        i_initial=float(rng.choice([0.0, 1.0, -1.0])),
        t_ref=float(rng.choice([0.0, 1e-3, 2e-3])),
        reset=str(rng.choice(["value", "subtract"])),
    )
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("out", 1, neuron)
    kinds = rng.random(4) < 0.5
    size = 20e-3 / tau_syn
    weights = np.where(
        kinds, rng.choice([-0.4, 0.1, 0.3, 0.6, 1.1], 4), size * rng.choice([-0.5, 0.2, 1.0, 2.0], 4)
    )
    net.connect("in", "out", np.where(kinds, 0.0, weights)[None, :])
    net.connect("in", "out", np.where(kinds, weights, 0.0)[None, :], synapse="delta", name="jump")
    radius = float(rng.choice([1e-6, 2e-5, 2e-4, 1e-3]))
    first = rng.choice([1e-3, 4e-3], 4) + radius * rng.choice([0.0, 0.5, 1.5, 4.0], 4)
    t_ref = float(np.asarray(neuron.t_ref))
    first = first + rng.choice([0.0, t_ref], 4)
    return net, np.maximum(first, radius), radius


def corners(rng, times, radius):
    """Trains with every spike anywhere in its ball, most at one end; the first sample is the middle."""
    moved = times + radius * rng.choice([-1.0, 1.0, 0.999, -0.999, 0.3], (CORNERS, 4))
    moved[0] = times
    return es.SpikeTrains.from_lists([[[t] for t in sample] for sample in moved.tolist()])


@pytest.mark.parametrize("seed", range(3))
def test_what_is_proven_of_a_neuron_holds_wherever_its_arrivals_are_in_their_balls(seed):
    rng, outcomes = np.random.default_rng(seed), Counter()
    for _ in range(100):
        net, times, radius = drawn(rng)
        trains = corners(rng, times, radius)
        try:
            all_of_them = es.solve(net, {"in": trains}, 12e-3, threads=1)
            middle = es.solve(net, {"in": trains.select([0])}, 12e-3, threads=1)
        except es.RepeatedSpikeError as error:
            middle, all_of_them = None, error
        if middle is None:
            outcomes["twice at one time"] += 1
            continue
        certificate = es.certify(middle, radii={"spike_times": radius})
        assert not certificate.refuted
        if not certificate.proven:
            outcomes["open"] += 1
            continue
        (m, r), spikes = certificate.spike_times["out"], all_of_them.spikes["out"]
        for sample in range(CORNERS):
            theirs = spikes.times[spikes.samples == sample]
            assert theirs.size == m.size
            assert (np.abs(theirs - m) <= r + certificate.tolerances["out"]).all()
        outcomes["spikes" if m.size else "silent"] += 1
    assert outcomes["spikes"] >= 10
    assert outcomes["silent"] >= 10
    assert outcomes["open"] >= 10
