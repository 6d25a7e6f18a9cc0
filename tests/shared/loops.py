"""Random recurrent networks with everything in them, whose numbers tests can move one by one."""

import numpy as np

import eventsolve as es


class Loop:
    """in -> a <-> b with self-connections, delta synapses and every parameter per neuron; numbers can be moved."""

    def __init__(self, seed, n=4, t_end=50e-3):
        rng = np.random.default_rng(seed)
        self.n, self.t_end, self.rng = n, t_end, rng
        self.neurons, self.resets = {}, {}
        for name in ("a", "b"):
            tau_syn = rng.uniform(3e-3, 9e-3, n) if rng.random() < 0.6 else np.full(n, 5e-3)
            self.neurons[name] = {
                "tau_mem": tau_syn * rng.choice([0.7, 1.0, 2.0, 4.0]),
                "tau_syn": tau_syn,
                "v_threshold": rng.uniform(0.8, 1.2, n),
                "v_reset": rng.uniform(-0.3, 0.3, n),
                "v_leak": rng.uniform(-0.3, 0.9, n),
                "t_ref": np.full(n, rng.choice([0.0, 2e-3])),
                "v_initial": rng.uniform(-0.5, 0.7, n),
                "i_initial": rng.normal(0, 1, n),
            }
            self.resets[name] = str(rng.choice(["value", "subtract"]))
        self.weight, self.delay = {}, {}
        for key, mean, scale in (
            (("in", "a"), 1.0, 2.0),
            (("a", "b"), 0.3, 1.5),
            (("b", "a"), 0.0, 1.0),
            (("a", "a"), 0.0, 1.0),
            (("in", "b", "delta"), 0.3, 0.4),
            (("a", "b", "delta"), 0.05, 0.25),
        ):
            shape = (n, 3 if key[0] == "in" else n)
            self.weight[key] = rng.normal(mean, scale, shape)
            one_delay = rng.random() < 0.3
            self.delay[key] = np.full(shape, 1.1e-3) if one_delay else rng.uniform(0.3e-3, 5e-3, shape)
        self.times = [
            [np.sort(rng.uniform(0, 40e-3, rng.integers(1, 5))) for _ in range(3)] for _ in range(2)
        ]

    def trains(self, low=-1.0, high=np.inf):
        return {
            "in": es.SpikeTrains.from_lists(
                [[t[(t > low) & (t <= high)] for t in sample] for sample in self.times]
            )
        }

    def network(self):
        net = es.Network()
        net.add_input("in", 3)
        for name, values in self.neurons.items():
            net.add_population(name, self.n, es.LIF(**values, reset=self.resets[name]))
        for key, weight in self.weight.items():
            kind = "delta" if len(key) == 3 else "exponential"
            net.connect(
                *key[:2], weight, delay=self.delay[key], synapse=kind, name=key[2] if len(key) == 3 else None
            )
        return net

    def solve(self):
        return es.solve(self.network(), self.trains(), self.t_end, max_spikes=2000)


def solved(loop):
    """The solution, or None for the few draws that run away or spike twice at one time."""
    try:
        return loop.solve()
    except (es.SpikeBudgetError, es.RepeatedSpikeError):
        return None
