"""Networks whose events come together: times are multiples of 2^-10 s, of which every sum is exact."""

import eventsolve as es

GRID = 2.0**-10


def tied_network(rng):
    """in -> a -> b on a grid of times, delays and refractory periods, over both kinds of synapses."""
    net = es.Network()
    net.add_input("in", 3)
    for name in ("a", "b"):
        neuron = es.LIF(
            20e-3,
            5e-3,
            t_ref=GRID * rng.integers(0, 3),
            v_reset=rng.choice([0.0, -0.25]),
            v_leak=rng.choice([0, 0.5]),
            reset=str(rng.choice(["value", "subtract"])),
        )
        net.add_population(name, 2, neuron)
    for pre, post in (("in", "a"), ("a", "b"), ("in", "b")):
        shape = (2, 3 if pre == "in" else 2)
        for kind, weights in (("delta", [0, 0, -0.5, 0.75, 1.5]), ("exponential", [0, -3.0, 2.0, 5.0, 8.0])):
            delay = GRID * rng.integers(0, 4, shape)
            net.connect(pre, post, rng.choice(weights, shape), delay=delay, synapse=kind, name=kind)
    times = [sorted(set((GRID * rng.integers(1, 6, rng.integers(1, 3))).tolist())) for _ in range(3)]
    return net, {"in": es.SpikeTrains.from_lists([times])}, 9 * GRID
