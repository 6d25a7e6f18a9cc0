"""Problems solved in pieces, each going on where the one before it ended, and networks to cut."""

import numpy as np

import eventsolve as es


def between(trains, after, until):
    """Return the spikes in (after, until], after None: from the start."""
    late = trains.times > (-1.0 if after is None else after)
    here = late & (trains.times <= until)
    return es.SpikeTrains(
        trains.times[here], trains.neurons[here], trains.samples[here], trains.n_samples, trains.n_neurons
    )


def solved_in_pieces(net, inputs, ends, **options):
    """Return the solutions up to each of the ends in turn."""
    pieces, state, last = [], None, None
    for end in ends:
        given = {name: between(trains, last, end) for name, trains in inputs.items()}
        pieces.append(es.solve(net, given, end, initial=state, **options))
        state, last = pieces[-1].final_state, end
    return pieces


def loops(seed):
    """Return a random network of populations that advance together, its inputs and populations, and the generator."""
    rng = np.random.default_rng([7, seed])
    net = es.Network()
    net.add_input("in", 3)
    names = ["a", "b"][: rng.integers(1, 3)]
    for name in names:
        n = int(rng.integers(1, 6))
        t_ref = float(rng.choice([0.0, 2e-3, rng.uniform(0, 6e-3)]))
        reset = "subtract" if rng.random() < 0.3 else "value"
        net.add_population(name, n, es.LIF(20e-3, 5e-3, t_ref=t_ref, reset=reset))

    def connect(pre, post, mean, scale, kind):
        shape = (net.population(post).size, net.population(pre).size)
        weight = rng.normal(mean, scale, shape)
        if rng.random() < 0.5:
            weight *= rng.random(shape) < 0.7
        delay = [0.0, 1e-3, rng.uniform(0, 5e-3), rng.uniform(0, 5e-3, shape)][rng.integers(4)]
        net.connect(pre, post, weight, delay=delay, synapse=kind, name=kind)

    for k, name in enumerate(names):
        connect("in", name, 2.5, 2.0, "exponential")
        connect(name, name, 0.0, 1.5, "exponential")
        if rng.random() < 0.3:
            connect(name, name, 0.0, 0.5, "delta")
        if rng.random() < 0.3:
            connect("in", name, 0.3, 0.6, "delta")
        if k:
            connect(names[0], name, 1.0, 2.0, "exponential")
            connect(name, names[0], 0.0, 1.5, "exponential")
    trains = [np.unique(rng.uniform(0, 60e-3, rng.integers(1, 8))) for _ in range(3)]
    return net, {"in": es.SpikeTrains.from_lists([trains])}, names, rng
