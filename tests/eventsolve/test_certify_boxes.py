"""Boxes: does what is proven hold for every network in the box, and how much wider than need be are the enclosures?"""

import numpy as np
import pytest
from enclosing import parsed
from loops import Loop
from networks import random_case

import eventsolve as es

NEURONS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")
RADIUS = 1e-8
SCALES = {"tau_mem": 1e-2, "tau_syn": 1e-2, "t_ref": 1e-2, "delay": 1e-2, "spike_times": 1e-2}


def radius_of(name):
    return RADIUS * SCALES.get(name, 1.0)


def corner(rng, values, name, *, least=-np.inf):
    """The values at a corner of the box, or on an edge where a value may not be less."""
    return np.maximum(values + radius_of(name) * rng.choice([-1.0, 1.0], np.shape(values)), least)


def perturbed(rng, solution, names):
    """A solution of a network at a corner of the box."""
    net, neurons = solution.network, {}
    for name, p in net.populations.items():
        if p.neuron is not None:
            values = {f: p.parameter(f) for f in (*NEURONS, "v_initial", "i_initial")}
            for f in values.keys() & set(names):
                values[f] = corner(rng, values[f], f, least=0.0 if f == "t_ref" else -np.inf)
            neurons[name] = es.LIF(**values, reset=p.neuron.reset)
    net = net.with_neurons(neurons)
    if "weight" in names:
        net = net.with_weights({k: corner(rng, p.weight, "weight") for k, p in net.projections.items()})
    if "delay" in names:
        delays = {
            k: corner(rng, p.delay.reshape(p.weight.shape), "delay", least=0.0)
            for k, p in net.projections.items()
        }
        net = net.with_delays(delays)
    trains = solution.spikes["in"]
    if "spike_times" in names:
        times = corner(rng, trains.times, "spike_times", least=0.0)
        trains = es.SpikeTrains.from_arrays(
            times, trains.neurons, trains.samples, n_neurons=trains.n_neurons, n_samples=trains.n_samples
        )
    return es.solve(net, {"in": trains}, solution.t_end)


ALL = (*NEURONS, "v_initial", "i_initial", "weight", "delay", "spike_times")


@pytest.mark.parametrize("names", [*((name,) for name in ALL), ALL], ids=lambda names: "-".join(names)[:30])
@pytest.mark.parametrize("make", [lambda: random_case(21).solve(), lambda: Loop(0, n=2, t_end=12e-3).solve()])
def test_every_network_in_a_box_has_the_spikes_that_are_proven_of_it(make, names):
    solution = make()
    certificate = es.certify(solution, radii={name: radius_of(name) for name in names})
    assert certificate.proven, str(certificate)
    rng = np.random.default_rng(1)
    for _ in range(5):
        other = perturbed(rng, solution, names)
        for name, (middle, radius) in certificate.spike_times.items():
            order = np.lexsort(
                (solution.spikes[name].times, solution.spikes[name].neurons, solution.spikes[name].samples)
            )
            theirs = other.spikes[name]
            theirs = theirs.times[np.lexsort((theirs.times, theirs.neurons, theirs.samples))]
            # float64 solves the corner to its own rounding, as far as the tolerance says
            allowed = radius + certificate.tolerances[name]
            assert (np.abs(theirs - middle[order]) <= allowed[order]).all()


def test_radii_are_given_number_by_number():
    solution = random_case(21).solve()
    weight = solution.network.projections["in", "hidden"].weight
    alone = np.zeros_like(weight)
    alone[1, 2] = 1e-6
    certificate = es.certify(solution, radii={"weight": {("in", "hidden"): alone}})
    assert certificate.proven
    wide = certificate.spike_times["hidden"].radii > 1e-12
    np.testing.assert_array_equal(np.unique(solution.spikes["hidden"].neurons[wide]), [1])


def test_one_spike_is_enclosed_to_first_order():
    """dt = -dV/V' over each number's radius: what is more comes from the second order."""
    solution = random_case(21, n_samples=1).solve()
    spikes = solution.spikes["hidden"]
    first = spikes.first_index()[0].max()
    grads = es.vjp(solution, {"hidden": (np.arange(spikes.n_spikes) == first).astype(float)})
    for name in ("weight", "tau_mem", "v_leak", "spike_times"):
        radius = 1e-9 * SCALES.get(name, 1.0)
        reach = sum(
            np.abs(values).sum()
            for key, values in getattr(grads, name).items()
            if key not in ("hidden", "out")
        )
        reach += (
            np.abs(getattr(grads, name).get("hidden", 0.0)).sum() if name in ("tau_mem", "v_leak") else 0.0
        )
        certificate = es.certify(solution, radii={name: radius})
        found = certificate.spike_times["hidden"].radii[first]
        own = es.certify(solution).spike_times["hidden"].radii[first]
        assert reach * radius * (1 - 1e-6) <= found
        assert found <= 1.5 * reach * radius + own


def test_a_box_in_which_spikes_vanish_is_not_proven():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[6.4]])  # its response peaks at the threshold for 6.3496...
    trains = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    solution = es.solve(net, trains, 0.1)
    assert solution.spikes["out"].n_spikes == 1
    assert es.certify(solution, radii={"weight": 0.04}).proven
    assert es.solve(net.with_weights({("in", "out"): [[6.34]]}), trains, 0.1).spikes["out"].n_spikes == 0
    certificate = es.certify(solution, radii={"weight": 0.06})
    assert not certificate.proven
    assert not certificate.refuted
    assert certificate.undecided[0][:3] == ("out", 0, 0)


def test_a_box_in_which_a_spike_leaves_the_trial_is_not_proven():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[8.0]])
    trains = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    crossing = es.solve(net, trains, 0.1).spikes["out"].times[0]
    solution = es.solve(net, trains, crossing + 1e-6)
    assert es.certify(solution, radii={"weight": 1e-3}).proven
    certificate = es.certify(solution, radii={"weight": 1e-2})
    assert not certificate.proven
    assert certificate.undecided


def test_arrivals_that_change_places_in_a_box_are_proven_where_their_order_does_not_matter():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[3.0, 2.5]])
    net.connect("in", "out", [[0.5, -0.2]], synapse="delta", name="direct")
    trains = {"in": es.SpikeTrains.from_lists([[[5e-3], [5e-3 + 1e-7]]])}
    solution = es.solve(net, trains, 0.05)
    assert solution.spikes["out"].n_spikes == 1
    certificate = es.certify(solution, radii={"spike_times": 1e-6})
    assert certificate.proven, str(certificate)


def test_gradients_of_a_box_hold_those_of_its_networks():
    solution = random_case(21, n_samples=1).solve()
    cotangents = {"hidden": np.ones(solution.spikes["hidden"].n_spikes)}
    certificate = es.certify(solution, gradients=cotangents, radii={"weight": 1e-7})
    assert certificate.proven, str(certificate)
    rng = np.random.default_rng(2)
    for _ in range(5):
        net = solution.network
        net = net.with_weights(
            {k: p.weight + 1e-7 * rng.uniform(-1, 1, p.weight.shape) for k, p in net.projections.items()}
        )
        grads = es.vjp(es.solve(net, {"in": solution.spikes["in"]}, solution.t_end), cotangents)
        for key, (middle, radius) in certificate.gradients.weight.items():
            assert (np.abs(grads.weight[key] - middle) <= radius).all()


def test_a_box_of_one_network_is_that_network():
    solution = random_case(21).solve()
    assert es.certify(solution, radii={"weight": 0.0}).decimals == es.certify(solution).decimals
    assert parsed(es.certify(solution).decimals["out"][0]).rad() < 1e-22


@pytest.mark.parametrize(
    ("radii", "message"),
    [
        ({"tau_mem": 20e-3}, "must leave tau_mem > 0"),
        ({"tau_syn": {"n": 5e-3}}, "must leave tau_syn > 0"),
        ({"v_threshold": 1.0}, "must leave v_reset below v_threshold"),
        ({"v_reset": 1.0}, "must leave v_reset below v_threshold"),
        ({"v_threshold": 0.5, "v_initial": 0.5}, "must leave v_initial below v_threshold"),
        ({"weight": np.inf}, "must be finite and >= 0"),
        ({"delay": -1e-3}, "must be finite and >= 0"),
    ],
)
def test_a_box_that_holds_what_is_no_network_is_refused(radii, message):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "n", [[9.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 20e-3)
    with pytest.raises(ValueError, match=message):
        es.certify(solution, radii=radii)
