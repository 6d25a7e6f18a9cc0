"""calibrate: planted chips come back within their standard errors, and what spikes cannot tell is named."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.free_numbers import FACTORS

T_END = 80e-3
NOMINAL = {"tau_mem": 20e-3, "tau_syn": 5e-3, "v_threshold": 1.0}


def chip(weight, delay=0.0, **neurons):
    net = es.Network()
    net.add_input("in", weight.shape[1])
    net.add_population("hidden", weight.shape[0], es.LIF(**{**NOMINAL, **neurons}))
    net.connect("in", "hidden", weight, delay=delay)
    return net


def inputs(rng, n_samples, n=6, grid=None):
    times = rng.uniform(0, 60e-3, (n_samples, n, 4))
    return {"in": es.SpikeTrains.from_dense(times if grid is None else np.round(times / grid) * grid)}


WEIGHT = np.random.default_rng(7).normal(3, 2, (4, 6))


def planted(seed, n_samples=30, sd=0.05, **more):
    """A chip with mismatch of every neuron, its inputs and its spikes."""
    rng = np.random.default_rng(seed)
    off = {name: value * np.exp(sd * rng.normal(size=4)) for name, value in NOMINAL.items()}
    net = chip(WEIGHT, **off, **more)
    given = inputs(rng, n_samples)
    return off, given, es.solve(net, given, T_END).spikes


FREE = {"tau_mem": "neuron", "tau_syn": "neuron", "v_threshold": "neuron"}


def truth(off):
    return np.concatenate(
        [off[name] / NOMINAL[name] if name in FACTORS else off[name] - NOMINAL[name] for name in FREE]
    )


def test_a_chip_without_noise_comes_back_to_rounding():
    off, given, spikes = planted(0)
    found = es.calibrate(chip(WEIGHT), given, spikes, T_END, FREE)
    np.testing.assert_allclose(found.values, truth(off), rtol=0, atol=1e-12)
    assert found.undetermined == ()
    assert found.n_spikes == spikes["hidden"].n_spikes > 1000
    for name, value in off.items():
        np.testing.assert_allclose(found.network.population("hidden").parameter(name), value, rtol=1e-12)
    assert found.names[0] == "tau_mem of hidden[0]"
    assert "tau_mem of hidden[0]" in repr(found)


def noisy(seed, n_samples, sd=0.04):
    """Three neurons that spike once a sample, each time with a threshold of its own."""
    rng = np.random.default_rng([seed, 11])
    off = {"tau_mem": 21.5e-3, "tau_syn": 4.8e-3, "v_threshold": 1.08}
    given = inputs(rng, n_samples)
    # three for every sample, of which each sample takes its own
    thresholds = off["v_threshold"] + sd * rng.normal(size=3 * n_samples)
    every = chip(np.tile(WEIGHT[:3], (n_samples, 1)), **{**off, "v_threshold": thresholds}, t_ref=1.0)
    first = es.solve(every, given, T_END).spikes["hidden"].first().reshape(n_samples, n_samples, 3)
    own = np.arange(n_samples)
    return off, given, {"hidden": es.SpikeTrains.from_dense(first[own, own])}


@pytest.mark.parametrize("how", [{}, {"voltage_noise": 0.04, "loss": "linear"}])
def test_planted_numbers_are_within_their_standard_errors_as_often_as_they_say(how):
    """z = (found - planted) / error over many chips: of 24 x 3 their mean square is 1 to 4 of its own deviations.

    Numbers of one chip are correlated, so that of the 72 only 24 are counted as independent: sqrt(2 / 24) = 0.29.
    """
    n_chips, z = 24, []
    free = ("tau_mem", "tau_syn", "v_threshold")
    for seed in range(n_chips):
        off, given, spikes = noisy(seed, n_samples=30)
        found = es.calibrate(chip(WEIGHT[:3], t_ref=1.0), given, spikes, T_END, free, **how)
        want = np.array([off["tau_mem"] / 20e-3, off["tau_syn"] / 5e-3, off["v_threshold"] - 1.0])
        z.append((found.values - want) / found.errors)
    z = np.array(z)
    assert (np.abs(z.mean(axis=0)) < 4 / np.sqrt(n_chips)).all()
    assert abs((z**2).mean() - 1.0) < 4 * np.sqrt(2 / n_chips)
    assert found.noise == pytest.approx(1.0 if how else 0.04, rel=0.3, abs=0.0)


def test_what_spikes_cannot_tell_is_named_with_its_error_infinite():
    """Gains and thresholds are one scale where V rests and resets at 0."""
    _, given, spikes = planted(0)
    found = es.calibrate(chip(WEIGHT), given, spikes, T_END, ("tau_mem", "gain", "v_threshold"))
    assert len(found.undetermined) == 1
    names, steps = found.undetermined[0]
    assert set(names) == {"gain of in → hidden", "v_threshold of hidden"}
    ratio = dict(zip(names, steps, strict=True))
    # log gain 1 is a threshold larger by itself
    assert ratio["v_threshold of hidden"] / ratio["gain of in → hidden"] == pytest.approx(
        1 + found.values[2], rel=1e-6, abs=0.0
    )
    assert np.isinf(found.errors).tolist() == [False, True, True]
    assert "cannot be told" in repr(found)
    alone = es.calibrate(chip(WEIGHT), given, spikes, T_END, ("tau_mem", "v_threshold"))
    assert np.isfinite(alone.errors).all()


def test_directions_that_cannot_be_told_are_of_as_few_numbers_as_may_be():
    """The gain and the threshold of each neuron, and not a mixture of all."""
    _, given, spikes = planted(0)
    found = es.calibrate(chip(WEIGHT), given, spikes, T_END, {"gain": "neuron", "v_threshold": "neuron"})
    assert [set(direction.numbers) for direction in found.undetermined] == [
        {f"gain of in → hidden[{n}]", f"v_threshold of hidden[{n}]"} for n in range(4)
    ]


@pytest.mark.parametrize(
    ("quantity", "level", "value"),
    [
        ("delay", "layer", 0.7e-3),
        ("delay", "source", np.linspace(0, 1e-3, 6)),
        ("gain", "synapse", np.exp(np.random.default_rng(1).normal(0, 0.1, 24))),
        ("gain", "neuron", np.array([0.9, 1.0, 1.1, 1.2])),
        ("v_leak", "neuron", np.array([-0.1, 0.0, 0.1, 0.2])),
        ("v_reset", "layer", -0.3),
        ("t_ref", "chip", 1e-3),
        ("tau_syn", "chip", 1.1),
    ],
)
def test_every_quantity_at_its_level_comes_back(quantity, level, value):
    nominal_delay = np.full(WEIGHT.shape, 1e-3)
    weight, delay, neurons = WEIGHT, nominal_delay, {"t_ref": 1e-3}
    if quantity == "gain":
        weight = WEIGHT * (value.reshape(4, 6) if level == "synapse" else value[:, None])
    elif quantity == "delay":
        delay = nominal_delay + value
    elif quantity == "tau_syn":
        neurons["tau_syn"] = 5e-3 * value
    elif quantity == "t_ref":
        neurons["t_ref"] = 1e-3 + value
    else:
        neurons[quantity] = value
    given = inputs(np.random.default_rng(3), 20)
    spikes = es.solve(chip(weight, delay, **neurons), given, T_END).spikes
    nominal = chip(WEIGHT, nominal_delay, t_ref=1e-3)
    found = es.calibrate(nominal, given, {"hidden": spikes["hidden"]}, T_END, {quantity: level})
    assert found.undetermined == ()
    np.testing.assert_allclose(found.values, np.atleast_1d(value), rtol=0, atol=1e-9)


def test_lost_and_extra_spikes_are_found_and_bias_nothing():
    off, given, spikes = planted(2, n_samples=12, t_ref=2e-3)
    rng = np.random.default_rng(5)
    own = spikes["hidden"]
    keep = rng.random(own.n_spikes) > 0.02
    hurt = es.SpikeTrains(own.times[keep], own.neurons[keep], own.samples[keep], own.n_samples, 4)
    times, who, which = rng.uniform(20e-3, T_END, 6), rng.integers(0, 4, 6), rng.integers(0, 12, 6)
    order = np.lexsort(
        (np.append(hurt.neurons, who), np.append(hurt.times, times), np.append(hurt.samples, which))
    )
    hurt = es.SpikeTrains(
        np.append(hurt.times, times)[order],
        np.append(hurt.neurons, who)[order],
        np.append(hurt.samples, which)[order],
        own.n_samples,
        4,
    )
    found = es.calibrate(chip(WEIGHT, t_ref=2e-3), given, {"hidden": hurt}, T_END, FREE)
    lost, extra = found.lost["hidden"], found.extra["hidden"]
    assert set(extra.times.tolist()) >= set(times.tolist())
    gone = own.times[~keep]
    assert gone.size > 10
    assert max(np.abs(lost.times - t).min() for t in gone) < 1e-9
    # true spikes that follow within the refractory period of extra ones cannot be taken, and are put in again
    put_off = set(extra.times.tolist()) - set(times.tolist())
    assert lost.n_spikes == gone.size + len(put_off)
    assert put_off <= set(own.times.tolist())
    np.testing.assert_allclose(found.values, truth(off), rtol=0, atol=1e-10)


def test_populations_that_are_not_measured_are_solved_along():
    """Hidden neurons that nobody sees, whose numbers the outputs tell; free ones are those that are seen."""
    rng = np.random.default_rng(4)
    nets = []
    for tau in (20e-3, 22e-3):
        net = chip(WEIGHT)
        net.add_population("out", 2, es.LIF(tau_mem=tau, tau_syn=5e-3))
        net.connect("hidden", "out", [[1.0, 1.2, 0.8, 1.1], [0.9, 1.3, 1.0, 0.7]], delay=1e-3)
        nets.append(net)
    given = inputs(rng, 20)
    spikes = es.solve(nets[1], given, T_END).spikes["out"]
    found = es.calibrate(nets[0], given, {"out": spikes}, T_END, ("tau_mem",))
    assert found.names == ("tau_mem of out",)
    assert found.values[0] == pytest.approx(1.1, abs=1e-12)


def test_a_latency_comes_back_to_the_second_order_of_itself():
    """Neurons that spike once, 2 and 1 per cent of tau_syn late: what first order leaves falls by four."""
    once = {"t_ref": 10 * T_END}
    given = inputs(np.random.default_rng(3), 30)
    exact = es.solve(chip(WEIGHT, **once), given, T_END).spikes["hidden"]
    assert exact.n_spikes > 100
    left = []
    for late in (100e-6, 50e-6):
        measured = es.SpikeTrains(
            exact.times + late, exact.neurons, exact.samples, exact.n_samples, exact.n_neurons
        )
        found = es.calibrate(
            chip(WEIGHT, **once),
            given,
            {"hidden": measured},
            T_END + late,
            ("latency", "tau_mem"),
            loss="linear",
            unmatched=False,
        )
        assert found.names == ("latency of hidden", "tau_mem of hidden")
        left.append(abs(found.values - [late, 1.0]) / [late, 1.0])
    assert left[1][0] < 0.02
    assert (
        left[0][0] / left[1][0] > 1.5
    )  # the latency's relative error is of first order, tau_mem's of second
    assert left[0][1] / left[1][1] > 2.5


def test_what_cannot_be_told_does_not_drift():
    """A latency and a delay of all that arrives are one number of neurons that spike once; both stay near 0."""
    given = inputs(np.random.default_rng(3), 30)
    weight, delay = WEIGHT, np.full_like(WEIGHT, 1e-3)
    exact = es.solve(chip(weight, delay, t_ref=10 * T_END), given, T_END).spikes["hidden"]
    first = exact.first()
    measured = es.SpikeTrains.from_dense(
        (first + np.random.default_rng(4).normal(0, 20e-6, first.shape))[..., None]
    )
    assert measured.n_spikes == exact.n_spikes > 100
    found = es.calibrate(
        chip(weight, delay, t_ref=10 * T_END),
        given,
        {"hidden": measured},
        T_END,
        ("latency", "delay", "tau_mem"),
        time_noise=20e-6,
    )
    assert [direction.numbers for direction in found.undetermined] == [
        ("latency of hidden", "delay of in → hidden")
    ]
    assert (np.abs(found.values[:2]) < 20e-6).all()
    assert abs(found.values[2] - 1) < 4 * found.errors[2] < 0.02


DOORS = {
    r"a name in free must be one of .*; got 'tau'": {"free": ["tau"]},
    r"free\['tau_mem'\] must be one of \['neuron', 'layer', 'chip'\]; got 'synapse'": {
        "free": {"tau_mem": "synapse"}
    },
    r"free must name at least one": {"free": []},
    r"a name in of must be one of \['hidden'\], the populations whose spikes are given; got 'in'": {
        "free": ["tau_mem"],
        "of": ["in"],
    },
    r"time_noise must be 0, or from 2\*\*-200 .* got nan": {"free": ["tau_mem"], "time_noise": np.nan},
    r"voltage_noise must be > 0, or None": {"free": ["tau_mem"], "voltage_noise": 0.0},
    r"loss must be one of": {"free": ["tau_mem"], "loss": "huber"},
}


@pytest.mark.parametrize("said", DOORS)
def test_what_cannot_be_taken_is_named(said):
    _, given, spikes = planted(0, n_samples=1)
    with pytest.raises(ValueError, match=said):
        es.calibrate(chip(WEIGHT), given, spikes, T_END, **DOORS[said])


def test_more_numbers_than_spikes_are_refused():
    _, given, spikes = planted(0, n_samples=1)
    few = {"hidden": es.SpikeTrains.from_lists([[[20e-3], [], [], []]])}
    with pytest.raises(ValueError, match="at most as many numbers as there are spikes: 4 and"):
        es.calibrate(chip(WEIGHT), given, few, T_END, {"tau_mem": "neuron"}, unmatched=False)
    with pytest.raises(ValueError, match=r"spikes must be those of a population that spikes; got \[\]"):
        es.calibrate(chip(WEIGHT), given, {}, T_END, {"tau_mem": "layer"})
    with pytest.raises(TypeError, match="free must be a mapping"):
        es.calibrate(chip(WEIGHT), given, spikes, T_END, "tau_mem")
