"""Does the core compute what the published equations say? Golden vectors, and the equations written out plainly."""

from itertools import pairwise

import numpy as np
import pytest
from cores import TTFS
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from validation.spinnaker2 import FLOAT64, Arithmetic, SpiNNaker2Core
from validation.spinnaker2.arithmetic import Calculator
from validation.spinnaker2.core import Core
from validation.spinnaker2.image import LossSettings, Parameters, WeightBlock, layer_image
from validation.spinnaker2.input_program import InputProgram
from validation.spinnaker2.layer_program import LayerProgram
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.packets import ErrorPackets, SpikePackets

DT, TAU_SYN, TAU_MEM = 1e-3, 5e-3, 20e-3


class GivenErrors:
    """Sends given errors to the first spikes of a population."""

    def __init__(self, population, errors):
        self.population, self.errors = population, np.asarray(errors, dtype=np.float64)
        self.first = {}

    def forward(self, step, received):
        for _, _, neurons in received:
            for n in neurons.tolist():
                self.first.setdefault(n, step - 1)

    def backward(self, step, received):
        neurons = np.array([n for n, k in sorted(self.first.items()) if k == step], dtype=np.int64)
        return (ErrorPackets(self.population, 0 * neurons, neurons, self.errors[neurons]),)


def factors(decay, dt=DT):
    if decay == "euler":
        return 1 - dt / TAU_SYN, 1 - dt / TAU_MEM
    return float(np.exp(-dt / TAU_SYN)), float(np.exp(-dt / TAU_MEM))


def two_layers(inputs, w0, w1, errors, n_steps, decay):
    """Run input -> hidden -> out in float64 with given errors; return the two layer programs."""
    arithmetic = Arithmetic.preset("float64")
    alpha, beta = factors(decay)
    layers = []
    for name, pre, w in (("hidden", "in", w0), ("out", "hidden", w1)):
        n = len(w)
        calculator = Calculator(arithmetic, 0)
        weights = [WeightBlock((pre, name), np.array(w, dtype=np.float64).T, FLOAT64)]
        parameters = Parameters(alpha, beta, TAU_SYN, np.ones(n), np.zeros(n))
        image = layer_image(parameters, weights, arithmetic, calculator)
        layers.append(LayerProgram(name, image, 1, n_steps, arithmetic, calculator))
    steps = np.array([k for train in inputs for k in train])
    neurons = np.array([n for n, train in enumerate(inputs) for _ in train])
    source = InputProgram("in", steps, neurons, 0 * steps, (1, len(inputs)), FLOAT64)
    programs = {"in": source, "hidden": layers[0], "out": layers[1], "loss": GivenErrors("out", errors)}
    core = Core(programs, {"in": [], "hidden": ["in"], "out": ["hidden"], "loss": ["out"]}, n_steps)
    core.forward(["in"], ["loss"])
    core.backward(["in"])
    return layers


def steps_of(layer, neuron):
    return [k for k, packets in enumerate(layer.spikes) if neuron in packets.neurons]


GOLDEN_A = {
    "euler": {
        "hidden": [[19, 23, 28, 41], [14, 20, 23, 26, 33, 41], [13, 19, 22, 24, 28, 34, 40, 44]],
        "out": [(15, 25), (15, 27)],
        "slopes": [16.3875, 18.05],
        "w1": [[0, 0, -6.102212e-05], [0, 0, 5.540166e-05]],
        "w0": [-5.220385e-06, -3.071841e-06],
    },
    "exponential": {
        "hidden": [[19, 23, 27, 40], [14, 20, 23, 26, 31, 40, 45], [13, 18, 21, 23, 26, 30, 39, 43]],
        "out": [(15, 29), (15, 30)],
        "slopes": [16.6175614, 18.3011995],
        "w1": [[0, 0, -5.454147e-05], [0, 0, 4.952387e-05]],
        "w0": [-4.450122e-06, -2.539734e-06],
    },
}


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_the_authors_gradient_check_is_reproduced(decay):
    """The repository's gradient_check_for_spinnaker notebook: Euler is what it stores, to its printed digits."""
    want = GOLDEN_A[decay]
    hidden, out = two_layers(
        [[7, 14, 28, 38, 42], [10, 18, 20, 22, 38]],
        [[1, 4], [2, 5], [3, 6]],
        [[7, 9, 11], [8, 10, 12]],
        [1, -1],
        50,
        decay,
    )
    assert [steps_of(hidden, n) for n in range(3)] == want["hidden"]
    trains = [steps_of(out, n) for n in range(2)]
    assert [(t[0], len(t)) for t in trains] == want["out"]
    slopes = [out.currents[15, 0, n] - out.voltages[15, 0, n] for n in range(2)]
    np.testing.assert_allclose(slopes, want["slopes"], rtol=5e-9)
    w1, w0 = (-TAU_SYN * layer.gradient_blocks()[0].values[0].T for layer in (out, hidden))
    np.testing.assert_allclose(w1, want["w1"], rtol=0, atol=0.51e-11)
    np.testing.assert_allclose(w0, [[0, 0], [0, 0], want["w0"]], rtol=0, atol=0.51e-12)


W1 = np.array(
    [
        [408, 132, 196, 244, 91],
        [192, 192, -33, 322, 269],
        [112, 170, 257, 159, 161],
        [6, 263, 208, 227, -3],
        [403, 212, 142, 452, 186],
        [6, 140, -101, 326, 139],
    ]
)
W2 = np.array([[97, 329, -19, 261, -72, 107], [38, 379, 418, 150, 300, 169], [265, 96, -27, -39, 241, 480]])
GOLDEN_B = {
    "euler": {
        "hidden": [[11, 21], [7, 26], [12, 26], [25], [10, 17, 26], []],
        "out": [[], [11, 14, 18, 23], [13, 19, 24]],
        "loss": 0.2351437522,
        "first": [27, 11, 13],
        "e": [np.nan, 0.1391937115, -0.1390697862],
        "slope": 0.61725,
        "margin": 9.3e-3,
        "w2": [
            [0] * 6,
            [0, -4.793604e-05, 0, 0, 0, 0],
            [2.908836e-05, 8.650897e-05, 0, 0, 5.090463e-05, 0],
        ],
        "w1": [
            [2.578698e-05, 8.130598e-05, 0, 0, 8.447173e-05],
            [0, -4.931767e-05, 0, 0, -8.885596e-05],
            [0] * 5,
            [0] * 5,
            [0, 3.782445e-05, 0, 0, 4.205803e-05],
            [0] * 5,
        ],
    },
    "exponential": {
        "hidden": [[11, 20], [7, 26], [11, 25], [23], [9, 13, 25], []],
        "out": [[25], [11, 13, 15, 18, 25], [13, 17, 23]],
        "loss": 0.2351952837,
        "first": [25, 11, 13],
        "e": [-4.66503e-05, 0.139220898, -0.1390626199],
        "slope": 0.89951,
        "margin": 2.8e-3,
        "w2": [
            [8.79236e-08, 4.23968e-08, 4.817792e-08, 1.425616e-08, 9.562224e-08, 0],
            [0, -5.05325e-05, 0, 0, -2.146703e-05, 0],
            [2.747537e-05, 8.521003e-05, 2.747537e-05, 0, 6.467587e-05, 0],
        ],
        "w1": [
            [2.327106e-05, 7.718575e-05, 0, 0, 8.272675e-05],
            [0, -4.881726e-05, 0, 0, -9.151236e-05],
            [-7.513365e-06, -2.492897e-05, 0, 0, -2.671923e-05],
            [2.184246e-07, 1.849973e-07, 1.521439e-07, 0, 1.563866e-07],
            [4.357879e-10, -1.048634e-04, 0, 0, -1.329733e-04],
            [0] * 5,
        ],
    },
}


def chain(*weights, names=("in", "hidden", "out"), **parameters):
    net = es.Network()
    net.add_input(names[0], np.shape(weights[0])[1])
    for pre, post, w in zip(names, names[1:], weights, strict=False):
        net.add_population(post, len(w), es.LIF(**{"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **parameters}))
        net.connect(pre, post, w)
    return net


def on_grid(trains, dt=DT):
    return es.SpikeTrains.from_lists([[[k * dt for k in train] for train in sample] for sample in trains])


def steps(trains, dt=DT, sample=0):
    return [[round(t / dt) for t in train] for train in trains.to_lists()[sample]]


def first_errors(first):
    """Return what the loss program sends for first spikes at given steps, NaN where it sends nothing."""
    arithmetic = Arithmetic.preset("float64")
    settings = LossSettings("out", np.array([1]), 1.5, 100.0, 0.01, "t_end", error_scale=1.0)
    program = LossProgram(settings, 3, 27, arithmetic, Calculator(arithmetic, 0))
    for n, k in enumerate(first):
        if k < 27:
            program.forward(k + 1, [SpikePackets("out", np.array([0]), np.array([n]))])
    sent = {}
    for k in range(25, -1, -1):
        for packets in program.backward(k, []):
            sent.update(zip(packets.neurons.tolist(), packets.payloads.tolist(), strict=True))
    return [sent.get(n, np.nan) for n in range(3)]


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_a_network_with_fractional_weights_is_reproduced(decay):
    want = GOLDEN_B[decay]
    core = SpiNNaker2Core(DT, "float64", decay=decay)
    record = core.run(
        es.Problem(
            chain(W1 / 64, W2 / 64),
            {"in": on_grid([[[9], [4], [19], [24], [0]]])},
            27e-3,
            TTFS(np.array([1])),
        )
    )
    assert steps(record.spikes["hidden"]) == want["hidden"]
    assert steps(record.spikes["out"]) == want["out"]
    np.testing.assert_allclose(record.loss_values, [want["loss"]], rtol=0, atol=0.51e-10)
    assert first_errors(want["first"]) == pytest.approx(want["e"], rel=1e-6, nan_ok=True, abs=0.0)
    for key, name in ((("hidden", "out"), "w2"), (("in", "hidden"), "w1")):
        expected = np.array(want[name])
        np.testing.assert_allclose(record.weight[key][0] * DT, expected, rtol=1e-6, atol=1e-16)
    slopes, margins = [], []
    for name in ("hidden", "out"):
        trace, spikes = record.traces[name], record.spikes[name]
        k = np.rint(spikes.times / DT).astype(int)
        at = (spikes.samples, spikes.neurons, k)
        slopes.append((trace.current[at] - trace.voltage[at]).min())
        margins.append(np.abs(trace.voltage - 1).min())
    assert min(slopes) == pytest.approx(want["slope"], abs=0.6e-5)
    assert min(margins) == pytest.approx(want["margin"], abs=0.06e-3)


@pytest.mark.parametrize(
    ("weight", "dt", "exponential", "euler"),
    [
        (7, 1e-3, -1.2110e-3, -1.4781e-3),
        (7, 1e-4, -2.0651e-3, -2.1112e-3),
        (7, 1e-5, -2.1854e-3, -2.1903e-3),
        (10, 1e-3, -2.8878e-4, -3.3341e-4),
        (10, 1e-4, -4.0315e-4, -4.0880e-4),
        (10, 1e-5, -4.2616e-4, -4.2675e-4),
        (20, 1e-3, -6.1874e-5, 0.0),
        (20, 1e-4, -6.4121e-5, -6.4857e-5),
        (20, 1e-5, -6.7014e-5, -6.7090e-5),
    ],
)
def test_one_neuron_and_one_input_spike(weight, dt, exponential, euler):
    """The derivative of the first spike time, with the loss as its own time constant: exp(t/beta) of tau1 >> t."""
    for decay, want in (("exponential", exponential), ("euler", euler)):
        core = SpiNNaker2Core(dt, "float64", decay=decay, traces=False)
        # a single output: the softmax is constant, and the early-spike term is t_y tau1/tau1 to 1 part in 1e6
        loss = TTFS(np.array([0]), tau1=1e4, alpha=1e4)
        record = core.run(
            es.Problem(chain([[weight]], names=("in", "out")), {"in": on_grid([[[0]]])}, 40e-3, loss)
        )
        assert record.weight["in", "out"][0, 0, 0] == pytest.approx(want, rel=1e-4, abs=1e-15)


def plain(spikes_in, w, labels_errors, alpha, beta, n_steps):
    """Sections 2 and 3 of the published simulator, one sample, as they stand; gradients without -tau_syn."""
    n_in = spikes_in.shape[1]
    trains, currents, voltages = [spikes_in], [], []
    for matrix in w:
        current = np.zeros((n_steps, len(matrix)))
        voltage, spikes, v = current.copy(), current.copy(), np.zeros(len(matrix))
        for k in range(1, n_steps):
            current[k] = alpha * current[k - 1]
            for n in np.flatnonzero(trains[-1][k - 1]):
                current[k] += matrix[:, n]
            voltage[k] = beta * v + (1 - beta) * current[k]
            spikes[k] = voltage[k] > 1.0
            v = np.where(spikes[k] == 1, 0.0, voltage[k])
        trains.append(spikes)
        currents.append(current)
        voltages.append(voltage)
    error = labels_errors(trains[-1])
    gradients = []
    for layer in range(len(w) - 1, -1, -1):
        below, spikes, matrix = trains[layer], trains[layer + 1], w[layer]
        lam_v, lam_i = np.zeros(len(matrix)), np.zeros(len(matrix))
        gradient, delta = np.zeros(matrix.shape), np.zeros((n_steps, matrix.shape[1]))
        for i in range(n_steps - 2, -1, -1):
            for o in range(len(matrix)):
                delta[i] += matrix[o] * (lam_v - lam_i)[o]
            lam_i_new = alpha * lam_i + (1 - alpha) * lam_v
            slope = currents[layer][i + 1] - voltages[layer][i + 1] + 1e-10
            jump = spikes[i + 1] * (lam_v + error[i + 1]) / slope
            lam_v, lam_i = beta * lam_v + jump, lam_i_new
            gradient += np.outer(lam_i, below[i])
        gradients.append(gradient)
        error = delta
    assert n_in == w[0].shape[1]
    return trains, currents, voltages, gradients[::-1], error


def errors_of_first_spikes(label, xi, beta, alpha, n_steps):
    def errors(spikes):
        fired = spikes.any(axis=0)
        first = np.where(fired, spikes.argmax(axis=0), n_steps)
        exponentials = np.exp(-((first - first.min()) / xi))
        total = 0.0
        for x in exponentials:
            total += x
        e = (np.eye(len(first))[label] - exponentials / total) * (1 / xi)
        e[label] += np.exp(first[label] / beta + np.log(alpha / beta))
        error = np.zeros(spikes.shape)
        for n in np.flatnonzero(fired & (first < n_steps - 1)):
            error[first[n], n] = e[n]
        return error

    return errors


@pytest.mark.parametrize("decay", ["euler", "exponential"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_packets_agree_with_the_plain_equations_bit_for_bit(decay, seed, hidden):
    rng = np.random.default_rng(seed)
    n_steps, n_samples = int(rng.integers(2, 60)), 3
    sizes = [4, *hidden, 3]
    w = [rng.normal(9.0 / np.sqrt(a), 9.0 / np.sqrt(a), (b, a)) for a, b in pairwise(sizes)]
    spikes = rng.random((n_samples, n_steps, sizes[0])) < 0.15
    labels = rng.integers(0, 3, n_samples)
    names = ("in", *(f"hidden {k}" for k in range(len(hidden))), "out")
    trains = on_grid([[np.flatnonzero(s[:, n]) for n in range(sizes[0])] for s in spikes])
    core = SpiNNaker2Core(DT, "float64", decay=decay, error_scale=1.0)
    record = core.run(es.Problem(chain(*w, names=names), {"in": trains}, n_steps * DT, TTFS(labels)))
    for sample in range(n_samples):
        loss = errors_of_first_spikes(labels[sample], 1.5e-3 / DT, 0.1 / DT, 0.01, n_steps)
        s, currents, voltages, gradients, errors = plain(
            spikes[sample].astype(float), w, loss, *factors(decay), n_steps
        )
        for k, (pre, post) in enumerate(pairwise(names)):
            assert steps(record.spikes[post], sample=sample) == [
                np.flatnonzero(x).tolist() for x in s[k + 1].T
            ]
            np.testing.assert_array_equal(record.traces[post].current[sample].T, currents[k])
            np.testing.assert_array_equal(record.traces[post].voltage[sample].T, voltages[k])
            np.testing.assert_array_equal(record.weight[pre, post][sample], gradients[k] * -TAU_SYN / DT)
        mine = record.spikes["in"]
        here = mine.samples == sample
        k = np.rint(mine.times[here] / DT).astype(int)
        np.testing.assert_array_equal(record.spike_times["in"][here], errors[k, mine.neurons[here]] / DT)
