"""Claims of spikes and gradients beside what is proven: which is named, and how far a time may be off."""

import dataclasses

import numpy as np
import pytest
from networks import random_case

import eventsolve as es


def crossing_network(**neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, **neuron))
    net.connect("in", "out", [[8.0]])
    return net


INPUT = {"in": es.SpikeTrains.from_lists([[[0.0, 10e-3, 20e-3]]])}


@pytest.fixture(scope="module")
def solution():
    found = es.solve(crossing_network(), INPUT, 40e-3)
    assert found.spikes["out"].n_spikes >= 3
    return found


def judged(solution, times, **options):
    trains = es.SpikeTrains.from_lists([[sorted(times)]])
    return es.certify(solution, spikes={"out": trains}, **options)


def kinds(certificate):
    return [(r.kind, r.when) for r in certificate.refuted]


class TestSpikes:
    def test_one_that_is_moved_is_named_as_such_only_if_nothing_else_is_off(self, solution):
        first, *others = solution.spikes["out"].times.tolist()
        early, late = first - 1e-6, first + 1e-6
        assert kinds(judged(solution, [late, *others])) == [
            ("moved", pytest.approx(first, rel=1e-12, abs=0.0))
        ]
        # besides one more: the earlier of the two errors
        assert kinds(judged(solution, [late, *others, 39e-3])) == [("missed", pytest.approx(first))]
        assert kinds(judged(solution, [early, *others, 39e-3])) == [("extra", early)]

    def test_one_too_many_does_not_take_the_place_of_those_that_follow(self, solution):
        times = solution.spikes["out"].times.tolist()
        certificate = judged(solution, [1e-3, *times])
        assert kinds(certificate) == [("extra", 1e-3)]
        middle, radius = certificate.spike_times["out"]
        assert np.isnan(middle[0])
        assert (np.abs(middle[1:] - times) <= radius[1:] + certificate.tolerances["out"][1:]).all()

    def test_one_within_its_tolerance_of_the_end_may_be_claimed_or_not(self, solution):
        first = solution.spikes["out"].times[0]
        short = es.solve(crossing_network(), INPUT, first + 1e-9)
        assert judged(short, [], tolerance=1.1e-9).proven
        assert judged(short, [first], tolerance=1.1e-9).proven
        assert kinds(judged(short, [], tolerance=0.9e-9)) == [("missed", pytest.approx(first))]

    def test_of_first_spikes_what_is_claimed_after_them_is_not_judged(self):
        case = random_case(14, n_samples=4)
        short, whole = es.solve_first_spikes(case.net, case.inputs, case.t_end, "hidden"), case.solve()
        claim = whole.spikes["hidden"]
        after = claim.times > short.stopped.until[claim.samples]
        assert after.any()
        certificate = es.certify(short, spikes={"hidden": claim})
        assert not certificate.refuted
        np.testing.assert_array_equal(np.isnan(certificate.spike_times["hidden"].midpoints), after)


def first_order(solution, spike):
    """How far one rounding of every number moves a spike, to first order: by the adjoint."""
    population = "out"
    trains = solution.spikes[population]
    grads = es.vjp(solution, {population: (np.arange(trains.n_spikes) == spike).astype(float)})
    net, total = solution.network, float(trains.times[spike])
    for key, projection in net.projections.items():
        total += float(np.abs(grads.weight[key] * projection.weight).sum())
    for name in ("v_threshold", "v_leak"):
        for where, values in getattr(grads, name).items():
            total += float(np.abs(values * net.population(where).parameter(name)).sum())
    total += float(np.abs(grads.spike_times["in"] * solution.spikes["in"].times).sum())
    return 2.0**-53 * total


def late():
    """Two arrivals after 1000 s, the second of which is just strong enough: their times are known to 1e-13 s."""
    net = crossing_network().with_weights({("in", "out"): [[3.9]]})
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e3, 1e3 + 4e-3]]])}, 1e3 + 40e-3)


def two_layers():
    net = crossing_network()
    net.add_population("first", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "first", [[8.0]])
    net.connect("first", "out", [[-6.0]], delay=0.1e-3)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 2e-3, 3e-3]]])}, 40e-3)


ACCURATE = {
    "one crossing": lambda: es.solve(crossing_network(), INPUT, 40e-3),
    "a large v_leak": lambda: es.solve(
        crossing_network(v_leak=1e3, v_threshold=1e3 + 1, v_reset=1e3, v_initial=1e3), INPUT, 40e-3
    ),
    "late": late,
    "two layers": two_layers,
}


@pytest.mark.parametrize("name", ACCURATE)
def test_a_time_may_be_off_by_a_few_roundings_of_what_it_depends_on(name):
    """Of every number four, of which the absolute values add up: no less, and by their signs not much more."""
    solution = ACCURATE[name]()
    assert solution.spikes["out"].n_spikes
    tolerances = es.certify(solution).tolerances["out"]
    for spike, tolerance in enumerate(tolerances.tolist()):
        least = 4 * first_order(solution, spike)
        assert 0.99 * least <= tolerance <= 10 * least


@pytest.fixture(scope="module")
def case():
    solution = random_case(21).solve()
    cotangents = {name: np.ones(t.n_spikes) for name, t in solution.spikes.items()}
    return solution, cotangents, es.vjp(solution, cotangents)


class TestGradients:
    def changed(self, grads, change, name="weight", key=("in", "hidden")):
        values = getattr(grads, name)[key].copy()
        change(values)
        return dataclasses.replace(grads, **{name: {**getattr(grads, name), key: values}})

    @pytest.mark.parametrize(("off", "mismatch"), [(0.5e-10, False), (2e-10, True), (-2e-10, True)])
    def test_one_that_is_off_by_more_than_its_tolerance_is_named(self, case, off, mismatch):
        solution, cotangents, grads = case

        def change(values):
            values[1, 0] += off * np.abs(values).max()

        claimed = self.changed(grads, change)
        certificate = es.certify(solution, gradients=cotangents, claimed_gradients=claimed)
        assert [(m.parameter, m.key, m.entry) for m in certificate.mismatches] == (
            [("weight", ("in", "hidden"), (1, 0))] if mismatch else []
        )
        assert certificate.proven is not mismatch

    def test_the_distance_is_the_largest_of_all_arrays_and_counts_the_radius(self, case):
        solution, cotangents, grads = case

        def change(values):
            values[0, 1] += 2**16 * np.spacing(np.abs(values).max())

        certificate = es.certify(
            solution, gradients=cotangents, claimed_gradients=self.changed(grads, change), digits=15
        )
        assert 2**16 - 2**12 <= certificate.gradient_distance <= 2**16 + 2**12
        box = es.certify(solution, gradients=cotangents, radii={"weight": 1e-9})
        (middle, radius), claimed = box.gradients.weight["in", "hidden"], grads.weight["in", "hidden"]
        ulp = np.spacing(np.abs(middle).max())
        assert (radius > 8 * ulp).any()
        assert box.gradient_distance >= float((np.abs(claimed - middle) + radius).max() / ulp)

    @pytest.mark.parametrize("else_off", [0.0, 1.0])
    def test_one_that_is_no_number_is_wrong_whatever_else_is(self, case, else_off):
        solution, cotangents, grads = case

        def change(values):
            values[0, 0] += else_off * np.abs(values).max()
            values[1, 1] = np.nan

        certificate = es.certify(
            solution, gradients=cotangents, claimed_gradients=self.changed(grads, change)
        )
        assert not certificate.proven
        (mismatch,) = certificate.mismatches
        assert mismatch.entry == (1, 1)
        assert np.isnan(mismatch.claimed)
