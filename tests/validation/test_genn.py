"""GeNN's EventProp beside what GeNN computed, and beside the same in plain Python, equal in every bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import plain_genn
import pytest
import scipy.sparse as sp

import eventsolve as es
from validation.genn import GeNN
from validation.oracle import oracle

DATA = np.load(Path(__file__).parents[1] / "data" / "genn_reference.npz")
KEYS = {"in_hid": ("in", "hid"), "hid_hid": ("hid", "hid"), "hid_out": ("hid", "out")}
LABELS = [0, 2]
EPS = 2.0**-24


def reference(net, loss, dt):
    """Return a problem of the reference; ``dt`` in ms."""
    spiking = loss.startswith("first")
    w_in, w_out = DATA[f"{net}/w_in"], DATA[f"{net}/w_{'spike' if spiking else 'out'}"]
    neurons = {"tau_mem": 20e-3, "tau_syn": 5e-3}
    network = es.Network()
    network.add_input("in", w_in.shape[0])
    network.add_population("hid", w_in.shape[1], es.LIF(**neurons))
    network.add_population("out", 3, es.LIF(**neurons) if spiking else es.LI(**neurons))
    network.connect("in", "hid", w_in.T)
    if net == "rec":
        network.connect("hid", "hid", DATA["rec/w_rec"].T)
    network.connect("hid", "out", w_out.T)
    samples, inputs, times = DATA[f"{net}/inputs"][np.lexsort(DATA[f"{net}/inputs"].T[[1, 2, 0]])].T
    trains = es.SpikeTrains.from_arrays(
        times * 1e-3, inputs.astype(int), samples.astype(int), n_samples=2, n_neurons=5
    )
    losses, target = es.losses, DATA[f"{net}/1.0/mse/target"]
    made = {
        "avg": lambda: losses.MeanVoltageCrossEntropy("out", LABELS),
        "exp": lambda: losses.MeanVoltageCrossEntropy("out", LABELS, weighting="exponential"),
        "max": lambda: losses.MaxVoltageCrossEntropy("out", LABELS),
        "mse": lambda: losses.TrajectoryMSE(
            "out", lambda times, s: target[s][np.rint(times / 1e-3).astype(int) - 1].T
        ),
        "first_rmse": lambda: losses.RelativeMSE("out", LABELS, gap=1e-3),
    }
    return es.Problem(network, {"in": trains}, 50e-3, made[loss]())


CASES = [
    (net, loss, dt)
    for net in ("ff", "rec")
    for loss in ("avg", "exp", "max", "first_rmse")
    for dt in (1.0, 0.1)
]
CASES += [("ff", "mse", 1.0), ("rec", "mse", 1.0)]


@pytest.mark.parametrize(("net", "loss", "dt"), CASES)
def test_the_forward_pass_has_the_bits_of_genn(net, loss, dt):
    kind = "spiking" if loss.startswith("first") else "li"
    outcome = GeNN(dt * 1e-3).simulate(reference(net, loss, dt))
    data = {
        name.removeprefix(f"{net}/{dt}/{kind}/"): DATA[name]
        for name in DATA.files
        if f"{net}/{dt}/{kind}/" in name
    }
    for population in ("hid", "out"):
        np.testing.assert_array_equal(outcome.of(population, outcome.states.voltage), data[f"V_{population}"])
    for name, key in KEYS.items():
        if f"I_{name}" in data:
            np.testing.assert_array_equal(outcome.current(key), data[f"I_{name}"])
    for population in {"hid", "out"} if kind == "spiking" else {"hid"}:
        own = outcome.spikes(population)
        found = np.stack(
            [
                outcome.samples[own].astype(np.float32),
                (outcome.fired.neurons[own] - outcome.tables.populations[population]).astype(np.float32),
                outcome.clock.times[outcome.fired.steps[own]],
                outcome.fired.slopes[own],
            ],
            axis=1,
        )
        expected = data[f"spikes_{population}"]
        np.testing.assert_array_equal(found, expected[np.lexsort(expected.T[[1, 2, 0]])])


@pytest.mark.parametrize(("net", "loss", "dt"), CASES)
def test_gradients_and_adjoints_are_those_of_genn_to_the_rounding_of_float32(net, loss, dt):
    """Of the largest entry 4 EPS/(1 - alpha), and not more than 3e-5.

    Everything goes through the same operations, but for exp in the softmax, which differs between libraries by an ulp,
    and the sums of Rev, whose order in GeNN is not known. Once a bit differs, each step rounds otherwise: a
    product and a sum, by EPS each in either run, and a step's rounding is remembered for 1/(1 - alpha) steps. So is the
    first step of MaxVar's source, where D - D alpha cancels to D (1 - alpha).
    """
    tolerance = min(3e-5, 4 * EPS / -np.expm1(-dt / 20))
    outcome = GeNN(dt * 1e-3).simulate(reference(net, loss, dt), adjoints=True)
    pairs = [
        (outcome.of(p, {"V": outcome.found.lambda_v, "I": outcome.found.lambda_i}[x]), f"lambda_{x}_{p}")
        for p in ("hid", "out")
        for x in "VI"
    ]
    pairs += [
        (outcome.gradient(key), f"grad/{name}")
        for name, key in KEYS.items()
        if net == "rec" or name != "hid_hid"
    ]
    for found, name in pairs:
        expected = DATA[f"{net}/{dt}/{loss}/{name}"]
        assert abs(expected).max() > 0
        assert abs(found - expected).max() <= tolerance * abs(expected).max(), name


# -- the plain twin

H = 0.5


def drawn(rng, loss):
    """Return a random network: two recurrent layers, delays, a refractory period, a bias, sparse weights."""
    network = es.Network()
    network.add_input("in", 4)
    network.add_population("a", 5, es.LIF(20e-3, 5e-3, v_threshold=rng.uniform(0.8, 1.2, 5)))
    network.add_population("b", 4, es.LIF(7e-3, 9e-3, t_ref=1.3e-3, v_reset=-0.2, reset="subtract"))
    spiking = loss in ("RelativeMSE", "FirstSpikeTime")
    network.add_population(
        "out", 3, es.LIF(15e-3, 5e-3) if spiking else es.LI(15e-3, 5e-3, v_leak=0.03, v_initial=0.1)
    )
    network.connect("in", "a", rng.normal(2.4, 1.0, (5, 4)), delay=rng.integers(0, 4, (5, 4)) * H * 1e-3)
    network.connect("in", "a", rng.normal(0.3, 0.3, (5, 4)), name="again")
    network.connect("a", "a", rng.normal(0, 0.5, (5, 5)))
    weight = sp.random_array((4, 5), density=0.7, rng=rng, data_sampler=rng.standard_normal) + sp.eye_array(
        4, 5
    )
    network.connect("a", "b", (2.0 * weight).tocsr())
    network.connect("b", "a", rng.normal(0, 0.4, (5, 4)), delay=2 * H * 1e-3)
    network.connect("b", "out", rng.normal(1.8, 1.0, (3, 4)))
    network.connect("a", "out", rng.normal(0.9, 0.3, (3, 5)))
    return network


def plain_run(network, trains, readout, labels, targets, n_steps, max_spikes, consecutive):
    populations = {}
    for name, p in network.populations.items():
        constants = None
        if p.neuron is not None:
            constants = {
                "tau_mem": p.parameter("tau_mem")[0] * 1e3,
                "tau_syn": p.parameter("tau_syn")[0] * 1e3,
            }
            constants["v_initial"] = p.parameter("v_initial")
            if p.neuron.spiking:
                constants |= {"theta": p.parameter("v_threshold"), "v_reset": p.parameter("v_reset")}
                constants |= {"t_ref": p.parameter("t_ref") * 1e3, "subtract": p.neuron.reset == "subtract"}
            else:
                constants["v_leak"] = float(p.parameter("v_leak")[0])
        populations[name] = (p.size, constants)
    projections = []
    for key, p in network.projections.items():
        post = np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
        steps = np.rint(p.delay / (H * 1e-3)).astype(int)
        synapses = {
            (int(i), int(j)): (np.float32(w), int(d))
            for i, j, w, d in zip(p.sources, post, p.weights, steps, strict=True)
        }
        projections.append((key, p.pre, p.post, synapses))
    lists = trains.to_lists()
    chunks = [list(range(len(lists)))] if consecutive else [[s] for s in range(len(lists))]
    found = []
    for chunk in chunks:
        plain = plain_genn.Plain(
            populations, projections, readout, dt=H, n_steps=n_steps, max_spikes=max_spikes
        )
        inputs = [{"in": [[t * 1e3 for t in train] for train in lists[s]]} for s in chunk]
        found += plain.trials(inputs, [labels[s] for s in chunk], [targets[s] for s in chunk])
    return found


LOSSES = {
    "AvgVar": lambda labels, _: es.losses.MeanVoltageCrossEntropy("out", labels),
    "AvgVarExpWeight": lambda labels, _: es.losses.MeanVoltageCrossEntropy(
        "out", labels, weighting="exponential"
    ),
    "MaxVar": lambda labels, _: es.losses.MaxVoltageCrossEntropy("out", labels),
    "Var": lambda _, targets: es.losses.TrajectoryMSE(
        "out", lambda t, s: targets[s][np.rint(t / (H * 1e-3)).astype(int) - 1].T
    ),
    "RelativeMSE": lambda labels, _: es.losses.RelativeMSE("out", labels, gap=1e-3),
    "FirstSpikeTime": lambda labels, _: es.losses.TTFSCrossEntropy(
        "out", labels, tau0=1.5e-3, tau1=1.0, alpha=0.0
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("max_spikes", "consecutive"), [(500, False), (4, False), (9, True)])
def test_the_plain_twin_has_the_same_bits(loss, max_spikes, consecutive):
    """Three samples of 50 steps, some with spikes in the last, waiting inputs, full ring buffers and silent outputs."""
    rng = np.random.default_rng([max_spikes, list(LOSSES).index(loss)])
    network, n_steps, labels = drawn(rng, loss), 50, [0, 2, 1]
    times = np.sort(rng.uniform(0, n_steps * H, (3, 4, 9)), axis=2)
    times[:, 0, -1] = (n_steps - 1.2) * H
    times[:, 1, 3] = times[:, 1, 2] + 0.01 * H
    trains = es.SpikeTrains.from_dense(np.sort(times, axis=2) * 1e-3)
    targets = rng.normal(0, 1, (3, n_steps, 3))
    readout = {"kind": loss, "population": "out", "temperature": 1.5, "alpha": 0.0, "gap": 1.0}
    readout |= {"nu": 3.7, "upper": 1e-3, "lower": 2e-3}
    target = GeNN(
        H * 1e-3,
        max_spikes=max_spikes,
        trials="consecutive" if consecutive else "separate",
        reg_lambda_upper=1e-3,
        reg_lambda_lower=2e-3,
        reg_nu_upper=3.7,
    )
    problem = es.Problem(network, {"in": trains}, n_steps * H * 1e-3, LOSSES[loss](labels, targets))
    outcome = target.simulate(problem, adjoints=True)
    assert outcome.sent.waiting > 0
    assert max_spikes == 500 or not outcome.found.heard.all()
    samples = plain_run(network, trains, readout, labels, targets, n_steps, max_spikes, consecutive)
    for s, plain in enumerate(samples):
        own = outcome.samples == s
        names = {first: name for name, first in outcome.tables.populations.items()}
        firsts = sorted(names)
        fired = []
        for j, step, slope in zip(
            outcome.fired.neurons[own], outcome.fired.steps[own], outcome.fired.slopes[own], strict=True
        ):
            first = max(x for x in firsts if x <= j)
            fired.append((names[first], int(j - first), int(step), slope))
        assert sorted(fired) == sorted(plain["spikes"])
        events = outcome.sent.events
        here = slice(events.bounds[s], events.bounds[s + 1])
        assert sorted(
            ("in", int(j), int(n)) for j, n in zip(events.places[here], events.steps[here], strict=True)
        ) == sorted(plain["sent"])
        for name in outcome.tables.populations:
            np.testing.assert_array_equal(outcome.of(name, outcome.states.voltage)[s], plain["v"][name])
            both = np.stack(
                [outcome.of(name, outcome.found.lambda_v)[s], outcome.of(name, outcome.found.lambda_i)[s]], -1
            )
            np.testing.assert_array_equal(both, np.array(plain["lambda"][name]))
        by_key = [
            outcome.tables.by_projection(x.astype(np.float64))
            for x in (outcome.found.weight, outcome.found.delay)
        ]
        for key, p in network.projections.items():
            post = np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
            for which in (0, 1):
                if which == 1 and not p.delay.any():
                    continue
                values = by_key[which][key][s]
                values = values.data if sp.issparse(values) else values.ravel()
                wanted = [
                    plain["gradient"][key][int(i), int(j)][which]
                    for i, j in zip(p.sources, post, strict=True)
                ]
                np.testing.assert_array_equal(values, wanted)


# -- causes


def distance(record, exact, key):
    return np.linalg.norm(record.weight[key] - exact.weight[key]) / np.linalg.norm(exact.weight[key])


@pytest.mark.parametrize(
    ("net", "loss", "key", "errors"),
    [
        ("ff", "avg", ("in", "hid"), (0.45, 0.11, 0.011)),
        ("ff", "exp", ("hid", "out"), (0.029, 3.5e-3, 3.2e-4)),
        ("ff", "max", ("in", "hid"), (0.20, 0.039, 2.2e-3)),
        ("rec", "max", ("hid", "out"), (0.052, 5.2e-3, 3.3e-4)),
    ],
)
def test_records_are_in_si_units_and_approach_the_exact_ones_with_the_step(net, loss, key, errors):
    """The errors are those of another reading of the equations, in float64, with inputs moved to their arrival."""
    problem = reference(net, loss, 1.0)
    for step, error in zip((1e-3, 1e-4, 1e-5), errors, strict=True):
        target = GeNN(step, without="single_precision", traces=False)
        exact = target.with_causes(["late_inputs"]).run(problem)
        assert distance(target.run(problem), exact, key) == pytest.approx(error, rel=0.05)


def test_without_any_cause_it_is_the_oracle():
    problem = reference("rec", "avg", 1.0)
    record, exact = GeNN(1e-3).with_causes([]).run(problem), oracle(problem)
    for key in exact.weight:
        np.testing.assert_array_equal(record.weight[key], exact.weight[key])
    np.testing.assert_array_equal(record.loss_values, exact.loss_values)


def kinked():
    """One output of two rises until the second hidden neuron inhibits it: a maximum at a kink."""
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("hid", 2, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[12.0, 0.0], [0.0, 9.0]])
    network.connect("hid", "out", [[3.0, -6.0], [1.0, 0.5]])
    trains = es.SpikeTrains.from_lists([[[0.3e-3], [2.1e-3]]])
    return es.Problem(network, {"in": trains}, 40e-3, es.losses.MaxVoltageCrossEntropy("out", [0]))


def test_a_maximum_at_a_kink_is_never_right_and_its_cause_is_found():
    """Exact 0.0216; GeNN 0.00005 at 0.1 ms and 0.00004 at 0.01 ms; with the missing term 0.0210 and 0.0215."""
    problem, key, off = kinked(), ("in", "hid"), []
    for step in (1e-4, 1e-5):
        target = GeNN(step, without="single_precision", traces=False)
        exact, faithful, mended = (
            t.run(problem).weight[key][0, 1, 1]
            for t in (
                target.with_causes(["late_inputs"]),
                target,
                replace(target, without=("single_precision", "kinks")),
            )
        )
        assert abs(faithful - exact) > 0.99 * abs(exact)
        off.append(abs(mended - exact) / abs(exact))
    assert off[0] < 0.05  # one step of 0.1 ms beside 5 ms
    assert off[1] < 0.2 * off[0]
