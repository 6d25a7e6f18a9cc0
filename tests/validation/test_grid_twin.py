"""The compiled grid beside the same in plain Python, equal in every bit: random networks, on every kind of scheme."""

import numpy as np
import plain_grid
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.losses import Evaluation
from validation.grid import TimeStepped

H, N_STEPS, N_SAMPLES = 1e-3, 40, 3

SCHEMES = [
    {},
    {"number": "float32", "slope": "threshold", "transport": 1},
    {"propagators": "euler", "input_rounding": "up"},
    {"propagators": "exponential", "input_rounding": "down"},
    {"number": "s5.6", "inclusive": True},
    {"order": "current_first", "transport": 1},
    {"order": "current_first", "transport": 2, "number": "float32", "propagators": "exponential"},
    {"number": "s8.10"},
    {"number": "s8.10", "rounding": "down", "order": "current_first", "transport": 1, "propagators": "euler"},
    {"number": "s6.12", "rounding": "nearest_even", "overflow": "wrap"},
    {"number": "s6.12", "rounding": "to_zero"},
    {"number": "float16"},
    {"points": "0..n"},
    {"order": "current_first", "feedback": 1, "points": "0..n"},
    {"order": "current_first", "feedback": 1, "number": "s8.10", "inclusive": True},
]


class SpikesAndVoltages:
    """A loss that reads every spike time, and voltages of "out" at some steps."""

    steps = (3, 11, 12, 30)

    def evaluate(self, solution):
        slopes = {n: np.sin(700 * t.times + t.neurons) for n, t in solution.spikes.items() if n != "in"}
        size = solution.network.population("out").size
        samples, neurons, steps = (
            x.ravel()
            for x in np.meshgrid(np.arange(solution.n_samples), np.arange(size), self.steps, indexing="ij")
        )
        reads = es.losses.VoltageSamples(
            samples, neurons, steps * H, np.full(steps.size, -1), 0.1 * np.cos(neurons + steps)
        )
        return Evaluation(np.zeros(solution.n_samples), slopes, {"out": reads})


def network(rng):
    def lif(n, **changes):
        return es.LIF(
            tau_mem=rng.uniform(8e-3, 25e-3, n),
            tau_syn=rng.uniform(4e-3, 9e-3, n),
            v_threshold=rng.uniform(0.8, 1.2, n),
            v_reset=rng.uniform(-0.3, 0.1, n),
            v_leak=rng.uniform(-0.1, 0.2, n),
            v_initial=rng.uniform(-0.1, 0.2, n),
            i_initial=rng.uniform(-0.1, 0.2, n),
            **changes,
        )

    net = es.Network()
    net.add_input("in", 4)
    net.add_population("a", 4, lif(4, reset=str(rng.choice(["value", "subtract"]))))
    net.add_population("b", 3, lif(3, t_ref=rng.integers(0, 4, 3) * H))
    net.add_population("out", 2, es.LI(tau_mem=15e-3, tau_syn=rng.uniform(4e-3, 9e-3, 2)))
    net.connect("in", "a", rng.normal(2.2, 1.0, (4, 4)), delay=rng.integers(0, 4, (4, 4)) * H)
    net.connect(
        "in", "a", rng.uniform(0, 0.4, (4, 4)), delay=rng.integers(0, 3) * H, synapse="delta", name="lift"
    )
    net.connect("a", "a", rng.normal(0, 0.5, (4, 4)))
    weight = sp.random_array((3, 4), density=0.6, rng=rng, data_sampler=rng.standard_normal) + sp.eye_array(
        3, 4
    )
    net.connect("a", "b", 2.0 * weight.tocsr(), delay=H)
    net.connect("b", "a", rng.normal(0, 0.4, (4, 3)), delay=rng.integers(0, 3, (4, 3)) * H, synapse="delta")
    net.connect("a", "b", rng.uniform(-0.2, 0.6, (3, 4)), synapse="delta", name="lift")
    net.connect("b", "out", rng.normal(1.0, 1.0, (2, 3)))
    net.connect("a", "out", rng.normal(0.1, 0.1, (2, 4)), delay=2 * H, synapse="delta")
    return net


def inputs(rng):
    steps = np.sort(rng.permuted(np.tile(np.arange(25), (N_SAMPLES, 4, 1)), axis=2)[:, :, :5], axis=2)
    return {"in": es.SpikeTrains.from_dense((steps + rng.uniform(0.1, 0.4, steps.shape)) * H)}


@pytest.mark.parametrize("settings", SCHEMES, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_plain_grid_has_the_same_bits(settings, seed):
    rng = np.random.default_rng(seed)
    net, given, target = network(rng), inputs(rng), TimeStepped(H, **settings)
    record = target.run(es.Problem(net, given, N_STEPS * H, SpikesAndVoltages()))
    assert record.spikes["a"].n_spikes + record.spikes["b"].n_spikes > 10 * N_SAMPLES
    lifted = 0
    trains = record.spikes["in"]
    for s in range(N_SAMPLES):
        own = np.flatnonzero(trains.samples == s)
        steps = np.rint(trains.times[own] / H).astype(int)
        events = [("in", int(n), int(step)) for n, step in zip(trains.neurons[own], steps, strict=True)]
        plain = plain_grid.Sample(net, target, events, N_STEPS)
        lifted += sum(spike[4] != 0.0 for spike in plain.spikes)
        errors = [np.sin(700 * (step * H) + c[1]) for step, c, *_ in plain.spikes]
        reads = {
            step: [(("out", n), 0.1 * np.cos(n + step)) for n in range(1, -1, -1)]
            for step in SpikesAndVoltages.steps
        }
        errors, of_inputs, weight, delay = plain.backward(errors, reads)
        for name in ("a", "b"):
            mine = sorted(
                (x[0], x[1][1], e) for x, e in zip(plain.spikes, errors, strict=True) if x[1][0] == name
            )
            t = record.spikes[name]
            here = t.samples == s
            assert t.neurons[here].tolist() == [n for _, n, _ in mine]
            assert t.times[here].tolist() == [step * H for step, _, _ in mine]
            assert record.spike_times[name][here].tolist() == [e for _, _, e in mine]
        found = record.spike_times["in"][own].tolist()
        assert found == [of_inputs[step, (name, n)] for name, n, step in events]
        for key, projection in net.projections.items():
            for got, expected in ((record.weight, weight), (record.delay, delay)):
                values = got[key][s].data if sp.issparse(got[key][s]) else got[key][s].ravel()
                assert values.tolist() == [expected[key, k] for k in range(projection.weights.size)]
    assert lifted > 0
