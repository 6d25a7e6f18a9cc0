"""GeNN's EventProp beside what GeNN computed, and beside the same in plain Python, equal in every bit."""

from dataclasses import replace

import numpy as np
import plain_genn
import pytest
import scipy.sparse as sp
from genn_reference import DATA, reference

import eventsolve as es
from validation.genn import GeNN, adapters
from validation.oracle import oracle
from validation.target import Grain

KEYS = {"in_hid": ("in", "hid"), "hid_hid": ("hid", "hid"), "hid_out": ("hid", "out")}
EPS = 2.0**-24


CASES = [
    (net, loss, dt)
    for net in ("ff", "rec")
    for loss in ("avg", "exp", "sum", "max", "first", "first_temperature", "first_rmse")
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


@pytest.mark.parametrize("net", ["ff", "rec"])
def test_the_regulariser_is_that_of_genn(net):
    target = GeNN(1e-3, reg_lambda_upper=1e-3, reg_lambda_lower=1e-3, reg_nu_upper=2.0)
    outcome = target.simulate(reference(net, "avg", 1.0))
    for name in ("in_hid", "hid_out") if net == "ff" else KEYS:
        expected = DATA[f"{net}/1.0/avg_reg/grad/{name}"]
        assert abs(outcome.gradient(KEYS[name]) - expected).max() <= 3e-5 * abs(expected).max(), name


@pytest.mark.parametrize("late", ["none", "16.5", "17.5", "18.5"])
def test_the_end_of_a_trial_is_that_of_genn(late):
    """A spike in the last step takes the gradient of all of them; one in the last two is heard by the next trial."""
    network = es.Network()
    network.add_input("in", 1)
    network.add_population("hid", 1, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[30.0]])
    network.connect("hid", "out", [[1.0], [-1.0]])
    times = [2.5e-3] + ([] if late == "none" else [float(late) * 1e-3])
    trains = es.SpikeTrains.from_lists([[times], [[]]])
    loss = es.losses.MeanVoltageCrossEntropy("out", [0, 0])
    outcome = GeNN(1e-3, trials="consecutive").simulate(es.Problem(network, {"in": trains}, 20e-3, loss))
    data = {name.removeprefix(f"ends/{late}/"): DATA[name] for name in DATA.files if f"ends/{late}/" in name}
    first = outcome.samples == 0
    np.testing.assert_array_equal(outcome.clock.times[outcome.fired.steps[first]], data["spikes_hid"])
    for key, name in ((("in", "hid"), "in_hid"), (("hid", "out"), "hid_out")):
        np.testing.assert_array_equal(outcome.current(key)[1], data[f"next_trial_I_{name}"])
        expected = data[f"grad_{name}"]
        found = outcome.gradient(key)[0].ravel()
        assert abs(found - expected).max() <= 5e-6 * abs(expected).max(), name
        assert (late == "17.5" or (late, name) == ("18.5", "in_hid")) == (not expected.any())
    for name in ("hid", "out"):
        np.testing.assert_array_equal(
            outcome.of(name, outcome.states.voltage)[1], data[f"next_trial_V_{name}"]
        )


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


@pytest.mark.parametrize("loss", plain_genn.LOSSES)
@pytest.mark.parametrize(("max_spikes", "consecutive"), [(500, False), (4, False), (9, True)])
def test_the_plain_twin_has_the_same_bits(loss, max_spikes, consecutive):
    """Three samples of 50 steps, some with spikes in the last, waiting inputs, full ring buffers and silent outputs."""
    rng = np.random.default_rng([max_spikes, list(plain_genn.LOSSES).index(loss)])
    network, n_steps, labels = drawn(rng, loss), 50, [0, 2, 1]
    times = np.sort(rng.uniform(0, n_steps * H, (3, 4, 9)), axis=2)
    times[:, 0, -1] = (n_steps - 1.2) * H
    times[:, 1, 3] = times[:, 1, 2] + 0.01 * H
    trains = es.SpikeTrains.from_dense(np.sort(times, axis=2) * 1e-3)
    targets = rng.normal(0, 1, (3, n_steps, 3))
    readout = plain_genn.READOUT | {"kind": loss, "nu": 3.7, "upper": 1e-3, "lower": 2e-3}
    target = GeNN(
        H * 1e-3,
        max_spikes=max_spikes,
        trials="consecutive" if consecutive else "separate",
        reg_lambda_upper=1e-3,
        reg_lambda_lower=2e-3,
        reg_nu_upper=3.7,
    )
    problem = es.Problem(
        network, {"in": trains}, n_steps * H * 1e-3, plain_genn.LOSSES[loss](labels, targets, H)
    )
    outcome = target.simulate(problem, adjoints=True)
    assert outcome.sent.waiting > 0
    assert max_spikes == 500 or not outcome.found.heard.all()
    samples = plain_genn.trials_of(problem, readout, labels, targets, H, n_steps, max_spikes, consecutive)
    plain_genn.assert_same(outcome, samples)


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
        assert distance(target.run(problem), exact, key) == pytest.approx(error, rel=0.05, abs=0.0)


def test_without_any_cause_it_is_the_oracle():
    problem = reference("rec", "avg", 1.0)
    record, exact = GeNN(1e-3).with_causes([]).run(problem), oracle(problem)
    for key in exact.weight:
        np.testing.assert_array_equal(record.weight[key], exact.weight[key])
    np.testing.assert_array_equal(record.loss_values, exact.loss_values)


def kinked(w_in=9.0, w_out=((3.0, -6.0), (1.0, 0.5)), late=2.1e-3, label=0):
    """One output of two rises until the second hidden neuron inhibits it: a maximum at a kink."""
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("hid", 2, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[12.0, 0.0], [0.0, w_in]])
    network.connect("hid", "out", np.array(w_out))
    trains = es.SpikeTrains.from_lists([[[0.3e-3], [late]]])
    return es.Problem(network, {"in": trains}, 40e-3, es.losses.MaxVoltageCrossEntropy("out", [label]))


@pytest.mark.parametrize(
    ("problem", "smooth"),
    [
        (kinked(), 0.00004),  # exact 0.0216
        (kinked(8.5, ((3.128, -6.0), (1.0, 2.0)), 2.8e-3, 1), -0.00065),  # exact -0.01788
    ],
)
def test_a_maximum_at_a_kink_is_never_right_and_its_cause_is_found(problem, smooth):
    """GeNN converges, to what is left without the term of the kink, and with that term to what is exact."""
    key, off = ("in", "hid"), []
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
        assert faithful == pytest.approx(smooth, abs=2e-5)
        assert abs(faithful - exact) > 0.95 * abs(exact)
        off.append(abs(mended - exact) / abs(exact))
    assert off[0] < 0.05  # one step of 0.1 ms beside 5 ms
    assert off[1] < 0.2 * off[0]


# -- adapters


@pytest.mark.parametrize("loss", ["avg", "max", "first", "first_rmse"])
def test_arrays_of_genn_make_the_record_that_the_target_makes(loss):
    """Of the reference, as GeNN's views hold it; gradients are those of the target to 3e-5 of their largest."""
    problem, kind = reference("rec", loss, 1.0), "spiking" if loss.startswith("first") else "li"
    raw = {key: DATA[f"rec/1.0/{loss}/grad/{name}"] for name, key in KEYS.items()}
    rows = DATA[f"rec/1.0/{kind}/spikes_hid"]
    spikes = {"hid": [(rows[rows[:, 0] == s, 2], rows[rows[:, 0] == s, 1]) for s in range(2)]}
    voltages = {} if kind == "spiking" else {"out": DATA["rec/1.0/li/V_out"]}
    target = GeNN(1e-3).run(problem)
    found = adapters.record("dump", problem, 1e-3, gradients=raw, spikes=spikes, voltages=voltages)
    assert found.spikes["hid"] == target.spikes["hid"]
    for population in voltages:
        np.testing.assert_array_equal(found.traces[population].voltage, target.traces[population].voltage)
        np.testing.assert_array_equal(found.traces[population].times, target.traces[population].times)
    flat = adapters.record(
        "dump", problem, 1e-3, gradients={key: values.reshape(2, -1) for key, values in raw.items()}
    )
    # as one batch of two, and its sum: GeNN would have divided each by 2, but for the relative error
    share = 1 if loss == "first_rmse" else 2
    batch = {key: values / share for key, values in raw.items()}
    mean = adapters.record(
        "dump",
        problem,
        1e-3,
        gradients={key: values.sum(axis=0) for key, values in batch.items()},
        batch_size=2,
    )
    assert mean.reduction == "mean"
    for key, values in target.weight.items():
        assert abs(found.weight[key] - values).max() <= 3e-5 * abs(values).max()
        np.testing.assert_array_equal(flat.weight[key], found.weight[key])
        np.testing.assert_allclose(mean.weight[key], found.weight[key].mean(axis=0), rtol=1e-6, atol=1e-12)


def test_arrays_that_do_not_fit_are_refused():
    problem = reference("ff", "avg", 1.0)
    for arguments, message in [
        (
            {"gradients": {("in", "hid"): np.zeros((4, 5))}},
            r"gradient of \('in', 'hid'\) must have shape \(5, 4\); got \(4, 5\)",
        ),
        (
            {"gradients": {("in", "out"): np.zeros((5, 3))}},
            r"gradients name \('in', 'out'\), which is not connected",
        ),
        (
            {"gradients": {("in", "hid"): np.zeros((5, 4)), ("hid", "out"): np.zeros((2, 4, 3))}},
            "all be of every sample, or all of the batch",
        ),
        ({"voltages": {"hid": np.zeros((2, 50, 4))}}, "what 'hid' had before its resets is not in them"),
        ({"voltages": {"out": np.zeros((2, 3, 50))}}, r"must have shape \(2, 50, 3\); got \(2, 3, 50\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            adapters.record("dump", problem, 1e-3, **arguments)


# -- what GeNN cannot run


def small(hidden=None, readout=None, **connection):
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("hid", 2, hidden or es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, readout or es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[9.0, 1.0], [2.0, 8.0]], **connection)
    network.connect("hid", "out", [[1.0, 0.0], [0.5, 1.0]])
    trains = es.SpikeTrains.from_lists([[[0.4e-3, 0.8e-3], [2e-3]]])
    return es.Problem(network, {"in": trains}, 20e-3, es.losses.MeanVoltageCrossEntropy("out", [0]))


def test_what_mlgenn_cannot_compile_is_refused_as_it_fails():
    mean = es.losses.MeanVoltageCrossEntropy
    for problem, message in [
        (small(es.LIF(5e-3, 5e-3)), "mlGeNN ends with a ZeroDivisionError"),
        (small(es.LIF([20e-3, 10e-3], 5e-3)), "tau_mem of population 'hid' differs between neurons"),
        (small(es.LIF(20e-3, 5e-3, v_leak=0.1)), "mlGeNN's LIF has no bias, only its LI has"),
        (small(es.LIF(20e-3, 5e-3, i_initial=0.1)), "GeNN starts without currents"),
        (small(synapse="delta"), "mlGeNN's EventProp compiler knows no other"),
        (small(delay=70.0), r"is up to 70000 steps of 0.001 s; GeNN's buffer has room for 65534"),
        (
            replace(small(), loss=mean("out", [0], weighting="linear")),
            "uniformly or exponentially; got weighting 'linear'",
        ),
        (
            replace(small(), loss=mean("hid", [0])),
            "voltages of LI populations; got MeanVoltageCrossEntropy of 'hid'",
        ),
        (replace(small(), loss=es.losses.InstantCrossEntropy("out", [0])), "ends with a KeyError"),
        (
            replace(small(), loss=es.losses.SumVoltageCrossEntropy("out", [0], time_step=1e-4)),
            "mlGeNN sums over its own steps",
        ),
        (
            replace(small(), loss=es.losses.SampledVoltage("out", [1e-3], len)),
            "has no loss like SampledVoltage",
        ),
        (
            replace(
                small(readout=es.LIF(20e-3, 5e-3)),
                loss=es.losses.TTFSCrossEntropy("out", [0], tau0=1e-3, tau1=1e-2, alpha=0.1),
            ),
            "is that of FirstSpikeCrossEntropy",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            GeNN(1e-3).run(problem)
    for arguments, message in [
        ({"without": "spike_grid"}, "causes are grid, late_inputs, .*; got 'spike_grid'"),
        ({"max_spikes": 1}, "max_spikes must be at least 2"),
        ({"reg_nu_upper": -1.0}, "reg_nu_upper must be finite and >= 0; got -1.0"),
        ({"trials": "all"}, "trials must be 'separate' or 'consecutive'"),
        ({"trials": "consecutive", "batched": True}, "batches of one sample each"),
        ({"faithful": 1}, "faithful must be True or False; got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            GeNN(1e-3, **arguments)
    with pytest.raises(ValueError, match="bits must be 23, of float32, or None, of float64; got 8"):
        GeNN(1e-3).at(Grain(1e-4, 8))


@pytest.mark.parametrize("variant", ["mlgenn", "genn_eventprop"])
def test_losses_that_genn_has_not_are_refused_with_what_it_has(variant):
    losses = es.losses
    for loss, message in [
        (
            losses.SilentHinge("hid", 1.0),
            "has no loss like SilentHinge: .* reg_lambda_lower, and the phantom spike",
        ),
        (
            losses.SpikeCountLoss("hid", 3.0),
            "like SpikeCountLoss: its regulariser of spike counts is a setting",
        ),
        (
            losses.Sum([losses.MeanVoltageCrossEntropy("out", [0]), losses.SpikeCountLoss("hid", 3.0)]),
            "like Sum: it takes one loss of one population, and adds its regulariser itself",
        ),
        (losses.MeanVoltageLoss("out", len), "of means it has the cross-entropy alone"),
        (losses.MaxVoltageLoss("out", len), "of largest voltages it has the cross-entropy alone"),
        (losses.RunningLoss("out", len), "the distance from a trajectory alone, TrajectoryMSE"),
        (losses.TargetTimeMSE("hid", [[1e-3, 2e-3]]), "relative to the label's alone, RelativeMSE"),
        (losses.SpikeTimeLoss(len), "FirstSpikeCrossEntropy and RelativeMSE alone"),
    ]:
        with pytest.raises(ValueError, match=message):
            GeNN(1e-3, variant=variant).run(replace(small(), loss=loss))
    digits = losses.TTFSCrossEntropy("out", [0], tau0=1e-3, tau1=1e-2, alpha=0.1)
    with pytest.raises(
        ValueError, match=r"must be 0, or variant 'genn_eventprop', which has its term; got 0\.1"
    ):
        GeNN(1e-3).run(replace(small(readout=es.LIF(20e-3, 5e-3)), loss=digits))


# -- silent outputs, and batches


def silenced(loss):
    """Two outputs of which one never fires in the first sample, and both do in the second."""
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("out", 2, es.LIF(20e-3, 5e-3))
    network.connect("in", "out", [[9.0, 3.0], [0.5, 8.0]])
    trains = es.SpikeTrains.from_lists([[[0.4e-3], []], [[0.4e-3], [2e-3]]])
    return es.Problem(network, {"in": trains}, 30e-3, loss)


@pytest.mark.parametrize("variant", ["mlgenn", "genn_eventprop"])
def test_mended_silent_outputs_are_what_the_loss_says(variant):
    """The label of the first sample is silent: refused, left out, or at t_end; the other is as if it were alone."""

    def loss(silent):
        return es.losses.FirstSpikeCrossEntropy("out", [1, 1], tau0=2e-3, alpha=1e-3, silent=silent)

    options = {"variant": variant, "without": "single_precision+temperature", "traces": False}
    with pytest.raises(ValueError, match="out"):
        GeNN(1e-4, faithful=False, **options).run(silenced(loss("raise")))
    for silent in ("skip", "t_end"):
        problem = silenced(loss(silent))
        target = GeNN(1e-5, faithful=False, **options)
        exact, record = oracle(problem), target.run(problem)
        key = ("in", "out")
        assert distance(record, exact, key) < 0.01  # steps of 10 us beside 2 ms
        np.testing.assert_allclose(record.loss_values, exact.loss_values, rtol=0.02)
        assert not record.weight[key][0, 1].any()  # a silent output has no gradient of its own
        if silent == "skip":
            assert not record.weight[key][0].any()
    faithful = GeNN(1e-4, **options).run(silenced(loss("raise")))
    assert faithful.weight[key][0, 1].any()  # the phantom spike
    assert np.isinf(faithful.loss_values[0])


def test_mended_relative_errors_know_silent_outputs():
    """GeNN takes them for spikes at t = 0; mended, at t_end, it is the exact loss but for the step."""
    problem = silenced(es.losses.RelativeMSE("out", [0, 0], gap=1e-3, silent="t_end"))
    exact = oracle(problem)
    mended, faithful = (
        GeNN(1e-5, faithful=f, without="single_precision", traces=False).run(problem) for f in (False, True)
    )
    assert distance(mended, exact, ("in", "out")) < 0.01
    assert distance(faithful, exact, ("in", "out")) > 0.5


def test_a_batch_is_its_samples_but_for_the_regulariser():
    """Records hold each sample's own gradients; GeNN's are divided by the size of its batch, and add up to the mean."""
    problem = reference("rec", "first", 1.0)
    alone, batch = GeNN(1e-3).run(problem), GeNN(1e-3, batched=True).run(problem)
    raw = GeNN(1e-3, batched=True).simulate(problem)
    for key, values in alone.weight.items():
        assert abs(batch.weight[key] - values).max() <= 3e-5 * abs(values).max()
        mean = raw.gradient(key).sum(axis=0).T
        assert abs(mean - values.mean(axis=0)).max() <= 3e-5 * abs(values).max()


@pytest.mark.parametrize(("upper", "lower", "nu"), [(1e-3, 2e-3, 1.7), (3e-3, 1e-3, 0.6)])
def test_the_regulariser_of_a_batch_counts_spikes_of_the_batch(upper, lower, nu):
    """Backwards the first jump of a neuron, at its last spike, is less by k/B^2 (S - int(nu B)), S of the batch."""
    problem = reference("ff", "avg", 1.0)
    regular = {"reg_lambda_upper": upper, "reg_lambda_lower": lower, "reg_nu_upper": nu}
    plain, pushed = (
        GeNN(1e-3, batched=True, without="single_precision", **o).simulate(problem, adjoints=True)
        for o in ({}, regular)
    )
    hidden = plain.tables.populations["hid"] + np.arange(4)
    fired, n_steps, seen = plain.fired, plain.clock.n_steps, 0
    for j in hidden:
        total = np.count_nonzero(fired.neurons == j)
        excess = total - int(nu * 2)
        expected = (upper if excess > 0 else lower) / 4 * excess
        for s in range(2):
            own = fired.steps[(plain.samples == s) & (fired.neurons == j)]
            if own.size:
                m = n_steps - 1 - own.max()
                off = plain.found.lambda_v[s, m, j] - pushed.found.lambda_v[s, m, j]
                assert off == pytest.approx(expected, rel=1e-9, abs=1e-15)
                seen += 1
    assert seen >= 4


def test_two_spikes_of_an_input_in_one_step_are_sent_one_after_the_other():
    record = GeNN(1e-3).run(small())
    assert record.counters["waiting_inputs"] == 1
    np.testing.assert_allclose(record.spikes["in"].times, [1e-3, 2e-3, 2e-3])


# -- each fault alone


def test_each_fault_that_is_mended_is_right_again():
    """Gradients that a fault falsifies are within 1 % of those of the mended run, which faces none."""
    chain = small()
    problem = replace(chain, inputs={"in": es.SpikeTrains.from_lists([[[2e-3], [17.5e-3]]])})
    network = problem.network.with_weights({("in", "hid"): [[30.0, 30.0], [0.0, 0.0]]})
    problem = replace(problem, network=network)
    faithful, mended = GeNN(1e-3).run(problem), GeNN(1e-3, faithful=False).run(problem)
    assert faithful.counters["unheard_spikes"] == faithful.spikes["hid"].n_spikes
    assert mended.counters["unheard_spikes"] == 0
    alone = GeNN(1e-3, without="last_spike").run(problem)
    key = ("hid", "out")
    assert not faithful.weight[key].any()
    assert mended.weight[key].any()
    assert abs(alone.weight[key] - mended.weight[key]).max() <= 0.01 * abs(mended.weight[key]).max()
    full = GeNN(1e-3, max_spikes=3, without="last_spike").run(problem)
    assert full.counters["unheard_spikes"] == faithful.spikes["hid"].n_spikes - 2
    roomy = GeNN(1e-3, max_spikes=3, without="last_spike+ring_buffer").run(problem)
    np.testing.assert_array_equal(roomy.weight[key], alone.weight[key])


def test_the_temperature_divides_slopes_and_not_times():
    problem = reference("ff", "first_temperature", 1.0)
    one, half = GeNN(1e-3).run(reference("ff", "first", 1.0)), GeNN(1e-3).run(problem)
    mended = GeNN(1e-3, without="temperature").run(problem)
    plain = replace(problem.loss, alpha=0.0)
    bare = {
        tau: GeNN(1e-3).run(replace(problem, loss=replace(plain, tau0=tau))).weight["hid", "out"]
        for tau in (1e-3, 0.5e-3)
    }
    assert abs(bare[0.5e-3] - 2 * bare[1e-3]).max() <= 1e-6 * abs(bare[1e-3]).max()
    assert (
        abs(half.weight["hid", "out"] - one.weight["hid", "out"]).max()
        > 0.1 * abs(one.weight["hid", "out"]).max()
    )
    assert (
        abs(half.weight["hid", "out"] - mended.weight["hid", "out"]).max()
        > 1e-3 * abs(mended.weight["hid", "out"]).max()
    )


# -- genn_eventprop


@pytest.mark.parametrize("tau_syn", [5e-3, 20e-3])
def test_the_losses_of_genn_eventprop_approach_the_exact_ones(tau_syn):
    """With the factors that are read in its source, to first order of the step, and where time constants are equal."""
    losses = es.losses
    made = [
        losses.MeanVoltageCrossEntropy("out", [0], weighting=w)
        for w in ("uniform", "exponential", "linear", "sigmoid")
    ]
    made += [losses.InstantCrossEntropy("out", [0]), losses.MaxVoltageCrossEntropy("out", [0])]
    made += [losses.FirstSpikeCrossEntropy("out", [0], tau0=2e-3, alpha=1e-3)]
    made += [losses.TTFSCrossEntropy("out", [0], tau0=2e-3, tau1=20e-3, alpha=0.1)]
    for loss in made:
        spiking = isinstance(loss, losses.FirstSpikeCrossEntropy | losses.TTFSCrossEntropy)
        network = es.Network()
        network.add_input("in", 2)
        network.add_population("hid", 2, es.LIF(20e-3, tau_syn))
        network.add_population("out", 2, es.LIF(20e-3, tau_syn) if spiking else es.LI(20e-3, tau_syn))
        network.connect("in", "hid", [[12.0, 1.0], [2.0, 9.0]])
        network.connect("hid", "out", [[9.0, 3.0], [6.0, 8.0]])
        trains = es.SpikeTrains.from_lists([[[0.3e-3], [2.1e-3]]])
        problem = es.Problem(network, {"in": trains}, 40e-3, loss)
        off = []
        for step in (1e-5, 2e-6):
            target = GeNN(
                step, variant="genn_eventprop", faithful=False, without="single_precision", traces=False
            )
            exact = target.with_causes(["late_inputs"]).run(problem)
            record = target.run(problem)
            off.append(max(distance(record, exact, key) for key in exact.weight))
        assert off[0] < 0.1, loss
        assert off[1] < 0.02, loss
    with pytest.raises(ValueError, match="genn_eventprop has no loss like RelativeMSE"):
        target.run(replace(problem, loss=losses.RelativeMSE("out", [0], gap=1e-3)))
    with pytest.raises(ValueError, match="genn_eventprop delays inputs alone"):
        target.run(small(delay=1e-3))
    with pytest.raises(ValueError, match="variant must be one of mlgenn, genn_eventprop; got 'genn'"):
        GeNN(1e-3, variant="genn")
