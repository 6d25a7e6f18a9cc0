"""Certificates of periodic orbits: truths within enclosures, planted faults, and what a proof may not leave out."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from flint import acb, arb
from mpmath import mp, mpf
from rhythms import rhythmic

import eventsolve as es
from eventsolve.certify import arithmetic, orbits, rhythms
from eventsolve.certify.arithmetic import UNIT, working_precision
from eventsolve.certify.orbits import OrbitCertificate, certify_orbit, krawczyk
from eventsolve.certify.records import digest_of
from eventsolve.dynamics import periodic_orbit

TAU_MEM, TAU_SYN, LEAK, T_REF = 20e-3, 5e-3, 1.5, 2e-3


def alone():
    net = es.Network()
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    return net


def pair(weight=0.4, v_initial=(0.0, 0.5)):
    net = es.Network()
    net.add_population("n", 2, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF, v_initial=v_initial))
    net.connect("n", "n", [[0.0, weight], [weight, 0.0]], delay=3e-3)
    return net


def driven(synapse, weight, period, **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(**{"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **neuron}))
    net.add_population("silent", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.add_population("out", 1, es.LI(TAU_MEM, TAU_SYN))
    net.connect("in", "n", [[weight]], delay=1e-3, synapse=synapse)
    net.connect("n", "silent", [[0.5]], delay=period + 3e-3)
    net.connect("n", "out", [[0.5]])
    return periodic_orbit(net, {"in": es.SpikeTrains.from_lists([[[7e-3]]])}, period=period)


ORBITS = {
    "alone": lambda: periodic_orbit(alone()),
    "pair": lambda: periodic_orbit(pair()),
    "in phase": lambda: periodic_orbit(pair(v_initial=0.0)),
    "locked": lambda: driven("exponential", 7.0, 30e-3),
    "triggered": lambda: driven("delta", 1.2, 10e-3, t_ref=1e-3),
    "subtracting": lambda: driven("delta", 1.3, 25e-3, reset="subtract"),
}


@pytest.fixture(scope="module")
def known():
    return {name: make() for name, make in ORBITS.items()}


@pytest.mark.parametrize("name", ORBITS)
def test_orbits_are_proven_with_the_multipliers_that_the_flow_has(known, name):
    """The monodromy matrix in balls is another one than that of the flow, in code and in coordinates of spikes."""
    orbit = known[name]
    certificate = certify_orbit(orbit)
    assert certificate.proven, certificate
    assert certificate.stable == orbit.stable
    assert certificate.radius >= 1e-5 * orbit.period
    # where anything is unknown, a power of ten of the period, and not a rounding more than was proven
    power = round(np.log10(orbit.period / certificate.radius))
    assert Fraction(certificate.radius) < Fraction(orbit.period) / 10**power or name == "triggered"
    assert len(certificate.multipliers.radii) == len(orbit.multipliers)
    off = np.abs(certificate.multipliers.midpoints[:2] - orbit.multipliers[:2])
    assert (off <= 1e-12).all()
    assert (certificate.multipliers.radii[:2] <= 1e-12).all()
    for population, enclosed in certificate.spike_times.items():
        assert (np.abs(enclosed.midpoints - orbit.spikes[population].times) <= 1e-15).all()
    assert certificate.check(orbit)
    assert len(repr(certificate).splitlines()) <= 5


def test_an_enclosure_holds_the_truth_at_sixty_digits(known):
    """The period of a neuron alone is a logarithm of exact numbers; far wider balls would hold it as well."""
    certificate = certify_orbit(known["alone"], digits=18)
    with mp.workdps(60):
        leak, mem, ref = mpf(LEAK), mpf(TAU_MEM), mpf(T_REF)
        period = mem * mp.log(leak / (leak - 1)) + ref
        middle, radius = certificate.period
        assert abs(mpf(middle) - period) <= mpf(radius)
    assert radius <= 2.0**-52 * middle


def test_an_enclosure_holds_where_the_multiprecision_solver_settles():
    """A neuron that follows its input, solved from rest at 50 digits: by the 60th beat 0.3**60 is left of the start.

    Times of the input are sums of powers of 2, so that float64 has them exactly.
    """
    beats, given, period = 60, 2.0**-7, 2.0**-5
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("in", "n", [[7.0]], delay=1e-3)
    orbit = periodic_orbit(net, {"in": es.SpikeTrains.from_lists([[[given]]])}, period=period)
    certificate = certify_orbit(orbit)
    beat = es.SpikeTrains.from_lists([[[given + k * period for k in range(beats)]]])
    truth = es.multiprecision.solve(net, {"in": beat}, beats * period, digits=50)
    with mp.workdps(50):
        last = truth.spikes["n"][0][-1][0] - (beats - 1) * mpf(period)
        middle, radius = (float(column[0]) for column in certificate.spike_times["n"])
        assert abs(mpf(middle) - last) <= mpf(radius)
    assert np.abs(orbit.multipliers).max() < 0.3
    assert radius <= 2.0**-52 * period


@pytest.mark.parametrize("name", ORBITS)
def test_altered_claims_are_refuted(known, name):
    """A spike, the period, a multiplier or a weight that is a little off: none of it passes for the orbit."""
    orbit = known[name]
    times = orbit.spikes["n"].times.copy()
    times[-1] *= 1.0 + 1e-9
    moved = es.SpikeTrains(
        times, orbit.spikes["n"].neurons, orbit.spikes["n"].samples, 1, orbit.spikes["n"].n_neurons
    )
    other = orbit.multipliers.copy()
    other[0] *= 1.0 + 1e-9
    lost = orbit.multipliers.copy()
    lost[-1] = 0.25
    altered = {
        "multiplier": dataclasses.replace(orbit, multipliers=other),
        "last multiplier": dataclasses.replace(orbit, multipliers=lost),
        "no multipliers": dataclasses.replace(orbit, multipliers=orbit.multipliers[:0]),
    }
    # the first crossing of a free orbit fixes the phase: moved alone it would be another phase
    if not orbit.free or orbit.n_spikes > 1:
        altered["spike"] = dataclasses.replace(orbit, spikes={**orbit.spikes, "n": moved})
    if orbit.free:
        altered["period"] = dataclasses.replace(orbit, period=orbit.period * (1.0 + 1e-9))
    key = next(iter(orbit.network.projections), None)
    if key is not None and orbit.network.projections[key].synapse == "exponential":
        weight = orbit.network.projections[key].weight * (1.0 + 1e-9)
        altered["weight"] = dataclasses.replace(orbit, network=orbit.network.with_weights({key: weight}))
    for what, claim in altered.items():
        certificate = certify_orbit(claim)
        assert not certificate.proven, what
        assert certificate.refuted or certificate.undecided, what


def trains(times, n_neurons=1, samples=1):
    rows = [[times, *([[]] * (n_neurons - 1))], *([[[]] * n_neurons] * (samples - 1))]
    return es.SpikeTrains.from_lists(rows, n_neurons=n_neurons)


@pytest.fixture(scope="module")
def read_out():
    """The orbit of a driven neuron beside a readout."""
    network = es.Network()
    network.add_input("in", 1)
    network.add_population("n", 1, es.LIF(20e-3, 5e-3))
    network.add_population("out", 1, es.LI(20e-3, 5e-3))
    network.connect("in", "n", [[20.0]])
    return periodic_orbit(network, {"in": trains([1e-3])}, period=30e-3)


@pytest.mark.parametrize(
    ("altered", "why"),
    [
        (lambda o: {"multipliers": o.multipliers * np.nan}, "multipliers must be finite"),
        (lambda o: {"multipliers": o.multipliers[::-1]}, "largest first"),
        (lambda o: {"spikes": {**o.spikes, "in": trains([0.7 * o.period])}}, "not those that it is given"),
        (lambda o: {"inputs": {"in": trains([0.1 * o.period], samples=2)}}, "one sample of 1 neurons"),
        (lambda o: {"inputs": {"in": trains([1.1 * o.period])}}, "outside of the period"),
        (lambda o: {"inputs": {"in": trains([0.0])}}, "outside of the period"),
        (
            lambda o: {"spikes": {**o.spikes, "out": trains([0.1 * o.period])}},
            "readout 'out' is said to spike",
        ),
    ],
)
def test_claims_that_are_not_of_each_spike_once_prove_nothing(read_out, altered, why):
    orbit = read_out
    assert certify_orbit(orbit).proven
    found = certify_orbit(dataclasses.replace(orbit, **altered(orbit)))
    assert not found.proven
    assert why in found.undecided


@pytest.mark.parametrize(
    ("altered", "why"),
    [
        (lambda o: {"spikes": {**o.spikes, "more": trains([0.1 * o.period])}}, "spikes must be those of"),
        (lambda o: {"spikes": {}}, "spikes must be those of"),
        (lambda o: {"reference": ("zz", 7)}, "'zz' is not a population"),
        (lambda o: {"reference": ("n", 7)}, "neuron of reference"),
        (lambda o: {"period": "a"}, "period must be a number"),
        (lambda o: {"period": np.inf}, "period must be finite"),
    ],
)
def test_what_is_no_claim_of_an_orbit_is_refused_as_it_is_made(read_out, altered, why):
    with pytest.raises(ValueError, match=why):
        dataclasses.replace(read_out, **altered(read_out))


def test_a_claim_from_which_newton_runs_away_ends_at_once(known):
    orbit = known["pair"]
    (first, second) = orbit.spikes["n"].times
    more = es.SpikeTrains.from_lists([[[first], [second, 0.95 * orbit.period]]])
    for changed in ({"spikes": {"n": more}}, {"period": 2.0 * orbit.period}):
        assert not certify_orbit(dataclasses.replace(orbit, **changed)).proven


@pytest.mark.parametrize("orbit", [5, None, "orbit"])
def test_what_is_no_orbit_is_refused(orbit):
    with pytest.raises(TypeError, match="orbit must be an Orbit"):
        certify_orbit(orbit)


def test_an_orbit_with_input_is_not_free(known):
    certificate = certify_orbit(dataclasses.replace(known["locked"], free=True))
    assert not certificate.proven
    assert "inputs, which fix its period" in certificate.undecided


def test_orbits_of_random_networks_are_proven_with_the_multipliers_that_the_flow_has():
    """Recurrent, free and locked, delta and exponential, both resets: every orbit that is found is proven.

    Of 20 networks so many have an orbit of few spikes; the others do not settle, or have ties.
    """
    found, free = 0, 0
    for seed in range(20):
        net, arguments = rhythmic(seed)
        try:
            orbit = periodic_orbit(net, most=3, **arguments)
        except es.NoOrbitError:
            continue
        if orbit.n_spikes > 6:
            continue
        certificate = certify_orbit(orbit)
        assert certificate.proven, (seed, certificate)
        assert certificate.stable == orbit.stable
        found, free = found + 1, free + orbit.free
    assert found >= 8, found
    assert 2 <= free <= found - 2


def test_a_certificate_is_one_of_its_orbit_alone(known):
    certificate = certify_orbit(known["pair"])
    assert certificate.disagreement(known["in phase"]) == (
        "the certificate is of another network, other inputs or another claim"
    )
    wider = dataclasses.replace(certificate, radius=2.0 * certificate.radius)
    assert wider.disagreement(known["pair"]).startswith("the certificate was altered")
    wider = dataclasses.replace(wider, digest=digest_of(wider))
    assert wider.disagreement(known["pair"]).startswith("radius is")
    elsewhere = dataclasses.replace(
        known["locked"], inputs={"in": es.SpikeTrains.from_lists([[[7e-3 + 1e-12]]])}
    )
    assert "other inputs" in certify_orbit(known["locked"]).disagreement(elsewhere)
    calm = dataclasses.replace(certificate, stable=False)
    calm = dataclasses.replace(calm, digest=digest_of(calm))
    assert not calm.check(known["pair"])


def test_a_spike_that_is_left_out_or_added_is_not_an_orbit(known):
    orbit = known["locked"]
    none = es.SpikeTrains.from_lists([[[]]])
    silent = certify_orbit(dataclasses.replace(orbit, spikes={**orbit.spikes, "n": none}))
    assert not silent.proven
    assert "spikes at about" in silent.undecided or "beyond its threshold" in silent.undecided
    more = es.SpikeTrains.from_lists([[[*orbit.spikes["n"].times, orbit.spikes["n"].times[0] + 5e-3]]])
    assert not certify_orbit(dataclasses.replace(orbit, spikes={**orbit.spikes, "n": more})).proven
    trigger = known["triggered"]
    weaker = trigger.network.with_weights({("in", "n"): [[0.9]]})
    missed = certify_orbit(dataclasses.replace(trigger, network=weaker))
    assert not missed.proven
    assert "as is claimed" in missed.undecided


def test_orbits_that_balls_cannot_tell_stay_undecided():
    """A threshold that an arrival lifts V exactly to, and two neurons whose phases are free."""
    net = es.Network()
    net.add_population("n", 2, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    one = periodic_orbit(alone())
    spikes = es.SpikeTrains.from_lists([[[1e-3], [9e-3]]])
    certificate = certify_orbit(dataclasses.replace(one, network=net, spikes={"n": spikes}))
    assert not certificate.proven
    assert certificate.undecided


@pytest.mark.parametrize("digits", [0, -1, 1.5])
def test_digits_are_a_number(known, digits):
    with pytest.raises(ValueError, match="digits"):
        certify_orbit(known["alone"], digits=digits)


# -- what a proof may not leave out -----------------------------------------------------------------------------------


def parabola(x):
    return [x[0] * x[0] - 2], [[2 * x[0]]]


def test_krawczyk_proves_one_root_and_refuses_two_or_none():
    with working_precision(80):
        (found,) = krawczyk(parabola, [arb(1.4)], [arb(0.1)])
        assert found.contains(arb(2).sqrt())
        assert krawczyk(parabola, [arb(1.4)], [arb(3.0)]) is None
        assert krawczyk(parabola, [arb(1.6)], [arb(0.1)]) is None


def test_krawczyk_without_the_jacobian_over_the_box_would_prove_two_roots():
    """That is why the remainder (1 - Y J(X)) (X - m) is in it: with J at the middle alone it is as good as 0."""

    def flat(x):
        values, _ = parabola(x)
        return values, [[2 * x[0].mid()]]

    with working_precision(80):
        assert krawczyk(flat, [arb(1.4)], [arb(3.0)]) is not None


def test_without_radii_an_enclosure_misses_the_truth(known, monkeypatch):
    """With 44 bits a number is off by more than nothing: the middle of the enclosure alone is not the root."""
    with mp.workdps(60):
        period = TAU_MEM * mp.log(mpf(LEAK) / (mpf(LEAK) - 1)) + mpf(T_REF)
        truth = arb(mp.nstr(period, 50))
    with working_precision(44):
        claim = orbits._read(known["alone"])

        def system(x):
            return orbits._equations(orbits._with(claim.rhythm, x))[:2]

        middle = orbits._polished(system, orbits._unknowns(claim.rhythm), claim.rhythm.period, [1.0])
        (found,), _ = orbits._narrow(system, middle)
    with working_precision(200):
        assert found.contains(truth)
        assert not arb(found.mid()).contains(truth)
        assert found.rad() < 1e-12


def test_the_jacobian_of_the_equations_is_their_derivative(known):
    """By differences of the equations themselves at 400 bits, of all orbits: every column, chained resets included."""
    compared = 0
    for orbit in known.values():
        with working_precision(400):
            rhythm = orbits._read(orbit).rhythm
            x = [a.mid() for a in orbits._unknowns(rhythm)]
            _, jacobian, _ = orbits._equations(orbits._with(rhythm, x))
            step = arb(2) ** -120
            for j in range(len(x)):
                high, low = list(x), list(x)
                high[j], low[j] = x[j] + step, x[j] - step
                up, down = (orbits._equations(orbits._with(rhythm, y))[0] for y in (high, low))
                for i, (a, b) in enumerate(zip(up, down, strict=True)):
                    assert abs(float((a - b) / (2 * step) - jacobian[i][j])) <= 1e-25 * max(
                        1.0, abs(float(jacobian[i][j]))
                    )
                    compared += 1
    assert compared == 11


def test_a_multiplier_of_one_belongs_to_every_free_orbit(known):
    """A root of time that was taken for another event's hid arrivals a period ago, and this enclosure told."""
    for orbit in known.values():
        if orbit.free:
            certificate = certify_orbit(orbit)
            off = np.abs(certificate.multipliers.midpoints - 1.0)
            assert np.count_nonzero(off <= certificate.multipliers.radii) == 1


def test_arrivals_of_the_period_before_are_on_their_way():
    """A spike that arrives in the next period is a coordinate; its root is not that of the end of the period."""
    net = pair()
    net.add_population("late", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("n", "late", [[0.1, 0.2]], delay=50e-3)
    orbit = periodic_orbit(net)
    certificate = certify_orbit(orbit)
    assert certificate.proven, certificate
    assert len(orbit.multipliers) == len(certificate.multipliers.radii) >= 8


def test_an_order_that_is_not_proven_is_not_taken():
    """Wide balls of time overlap an arrival, and the equations over them are none."""
    orbit = ORBITS["pair"]()
    with working_precision(80):
        rhythm = orbits._read(orbit).rhythm
        wide = [a.mid() + arb(4e-3) * UNIT for a in orbits._unknowns(rhythm)]
        with pytest.raises(arithmetic.Undecided):
            orbits._equations(orbits._with(rhythm, wide))


@pytest.mark.parametrize("name", ["pair", "locked"])
def test_the_equations_over_a_box_hold_those_at_its_points(known, name):
    """Values and derivatives at 12 random points and corners; without the radius of any time they would not."""
    rng, compared = np.random.default_rng(1), 0
    with working_precision(120):
        rhythm = orbits._read(known[name]).rhythm
        middle = [a.mid() for a in orbits._unknowns(rhythm)]
        radius = arb(1e-5)
        values, jacobian, _ = orbits._equations(orbits._with(rhythm, [m + radius * UNIT for m in middle]))
        for draw in range(12):
            at = rng.choice([-1.0, 1.0], len(middle)) if draw < 6 else rng.uniform(-1.0, 1.0, len(middle))
            point = [m + radius * arb(float(x)) for m, x in zip(middle, at, strict=True)]
            there, slopes, _ = orbits._equations(orbits._with(rhythm, point))
            for wide, narrow in zip(
                [*values, *(x for row in jacobian for x in row)],
                [*there, *(x for row in slopes for x in row)],
                strict=True,
            ):
                assert wide.contains(narrow)
                compared += 1
    assert compared >= 24


def test_a_spike_where_the_voltage_falls_is_not_one(known):
    """V, not reset, comes back to its threshold from above: a root of the equations that is no spike."""
    orbit = known["locked"]
    with working_precision(120):
        rhythm = orbits._read(orbit).rhythm
        falling = [arb(orbit.spikes["n"].times[0] + 9e-3)]

        def system(x):
            return orbits._equations(orbits._with(rhythm, x))[:2]

        (time,) = orbits._polished(system, falling, rhythm.period, [1.0])
        assert abs(float(system([time])[0][0])) < 1e-25
        names = orbits._read(orbit).names
        with pytest.raises((orbits.NotAnOrbit, arithmetic.Undecided)):
            orbits._require_no_other(orbits._with(rhythm, [time + arb(1e-25) * UNIT]), names)
    assert time > orbit.spikes["n"].times[0] + 5e-3
    later = es.SpikeTrains.from_lists([[[float(time)]]])
    certificate = certify_orbit(dataclasses.replace(orbit, spikes={**orbit.spikes, "n": later}))
    assert certificate.undecided is not None


def test_a_neuron_whose_silence_would_be_beyond_the_threshold_is_not_silent():
    orbit = driven("exponential", 7.0, 30e-3)
    net = orbit.network.with_neurons({"n": es.LIF(TAU_MEM, TAU_SYN, v_leak=2.0)})
    silent = {"n": es.SpikeTrains.from_lists([[[]]])}
    certificate = certify_orbit(dataclasses.replace(orbit, network=net, spikes={**orbit.spikes, **silent}))
    assert "which is silent, is beyond its threshold" in certificate.undecided


@pytest.mark.parametrize("weight", [1.5, 2.0, 3.0])
def test_a_silent_neuron_adds_up_what_every_period_leaves_of_it(known, weight):
    """Of one period V reaches half the threshold at most; twelve make spikes of the stronger two weights."""
    orbit = known["triggered"]
    net = orbit.network.with_weights({("n", "silent"): [[weight]]})
    inputs = {"in": es.SpikeTrains.from_lists([[7e-3 + orbit.period * np.arange(60)]])}
    spikes = es.solve(net, inputs, 60 * orbit.period).spikes["silent"].n_spikes
    assert (spikes == 0) == (weight == 1.5)
    certificate = certify_orbit(dataclasses.replace(orbit, network=net))
    assert certificate.proven == (spikes == 0), certificate


@pytest.mark.parametrize("name", ["pair", "locked"])
def test_how_far_rounding_moves_v_does_not_depend_on_the_signs_of_weights(known, name):
    """It goes with the sizes of the terms that V is a sum of, however they cancel."""
    with working_precision(100):
        rhythm = orbits._read(known[name]).rhythm
        arrivals = [[a._replace(weight=-a.weight) for a in arriving] for arriving in rhythm.arrivals]
        turned = dataclasses.replace(rhythm, arrivals=arrivals)
        for k in range(rhythm.n_spikes):
            one, other = (
                r.voltage(r.events[k].cell, r.moment(k, 0), r.spike_before(k), k) for r in (rhythm, turned)
            )
            assert one.size.overlaps(other.size)
            assert not one.voltage.overlaps(other.voltage)
            assert float(one.size) >= abs(float(one.voltage - rhythm.constants[rhythm.events[k].cell].leak))


@pytest.mark.parametrize("apart", [-1e-6, 0.0, 1e-6])
def test_an_arrival_at_the_very_end_of_a_refractory_period_leaves_an_orbit_open(apart):
    """Whether V takes its jump is a convention that no proof rests on; here the two times are the same exactly."""
    step = 2.0**-10

    def network(late):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, t_ref=2 * step))
        net.connect("in", "n", [[1.2, 0.5]], delay=[[step, late]], synapse="delta")
        return net

    inputs = {"in": es.SpikeTrains.from_lists([[[7 * step], [7 * step]]])}
    orbit = periodic_orbit(network(3 * step + (apart or 1e-6)), inputs, period=32 * step)
    certificate = certify_orbit(dataclasses.replace(orbit, network=network(3 * step + apart)))
    assert certificate.proven == (apart != 0.0)
    assert (certificate.undecided is None) == (apart != 0.0)


def test_every_spike_of_a_period_has_to_be_made(known):
    """A spike whose trigger does not arrive is missing, also where nothing else speaks against it."""
    with working_precision(100):
        claim = orbits._read(known["triggered"])
        rhythm = dataclasses.replace(claim.rhythm, arrivals=[[] for _ in claim.rhythm.arrivals])
        with pytest.raises(orbits.NotAnOrbit, match=f"makes 0 of {known['triggered'].n_spikes} spikes"):
            orbits._require_no_other(rhythm, claim.names)


def test_stability_is_only_said_where_it_is_proven():
    one, near, small, large = acb(1), acb(arb(1, 1e-9)), acb(0.5), acb(arb(1.1, 0.01))
    assert orbits._stability([one, small], free=True) is True
    assert orbits._stability([small], free=False) is True
    assert orbits._stability([one, near], free=True) is None
    assert orbits._stability([near], free=False) is None
    assert orbits._stability([large, one], free=True) is False


def test_events_of_other_periods_have_roots_of_their_own(known):
    with working_precision(80):
        rhythm = orbits._read(known["pair"]).rhythm
        roots = [rhythm.moment(k, laps).root for k in range(2) for laps in range(-300, 300)]
    assert len({*roots, rhythms.AT_END}) == len(roots) + 1
    assert max(roots) < orbits.OTHER_ROOTS


@pytest.mark.parametrize(
    ("rows", "truth"),
    [
        ([[0.0, -1.0], [1.0, 0.0]], [1j, -1j]),
        ([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]], [4.0, 1.0, 1.0]),
    ],
)
def test_eigenvalues_are_within_their_balls_also_where_they_are_multiple(rows, truth):
    """A rotation, and a symmetric matrix with a double eigenvalue."""
    with working_precision(100):
        found = orbits._eigenvalues([[arb(x) for x in row] for row in rows])
        left = list(found)
        for value in truth:
            near = [x for x in left if x.contains(acb(value))]
            assert near, (value, found)
            left.remove(near[0])
        assert max(float(x.real.rad()) for x in found) < 1e-9


def test_a_double_eigenvalue_with_one_eigenvector_is_undecided():
    with working_precision(100), pytest.raises(arithmetic.Undecided):
        orbits._eigenvalues([[arb(3), arb(1)], [arb(-1), arb(1)]])


def test_the_splay_state_of_five_neurons_that_are_alike_is_proven():
    """Symmetry makes multipliers multiple, and they are enclosed in common."""
    net = es.Network()
    neuron = es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF, v_initial=[0.64, 0.27, 0.04, 0.01, 0.81])
    net.add_population("n", 5, neuron)
    net.connect("n", "n", -0.1 * (1.0 - np.eye(5)), delay=1.5e-3)
    orbit = periodic_orbit(net, transient=5.0)
    certificate = certify_orbit(orbit)
    assert certificate.proven, certificate
    assert certificate.stable
    assert orbit.n_spikes == 5


def test_a_certificate_travels_in_a_file_and_an_altered_one_is_refused(known, tmp_path):
    """Every number and word of the file altered, one after the other: the file is refused, or the certificate is."""
    path, altered_path = tmp_path / "orbit.json", tmp_path / "altered.json"
    for name in ("pair", "alone"):
        orbit = known[name]
        certificate = certify_orbit(orbit)
        certificate.save(path)
        again = OrbitCertificate.load(path)
        assert repr(again) == repr(certificate)
        assert again.digest == certificate.digest
        assert again.check(orbit)
    record = json.loads(path.read_text())

    def altered(value):
        """Return versions of a record with one entry changed each."""
        if isinstance(value, dict):
            for key, entry in value.items():
                yield {k: v for k, v in value.items() if k != key}
                yield from ({**value, key: other} for other in altered(entry))
        elif isinstance(value, list):
            yield [*value, value[-1] if value else 0.0]
            for k, entry in enumerate(value):
                yield from ([*value[:k], other, *value[k + 1 :]] for other in altered(entry))
        elif isinstance(value, bool) or value is None:
            yield "yes" if value is None else not value
        elif isinstance(value, int | float):
            yield value + 1
            yield float(np.nextafter(value, np.inf))
        else:
            yield value[:-1] + ("0" if value[-1] != "0" else "1")

    refused = caught = 0
    for changed in altered(record):
        altered_path.write_text(json.dumps(changed))
        try:
            found = OrbitCertificate.load(altered_path)
        except ValueError:
            refused += 1
            continue
        assert "altered" in found.disagreement(known["alone"])
        caught += 1
    assert refused >= 10
    assert caught >= 10
    path.write_text(json.dumps(record | {"format": "eventsolve certificate 1"}))
    with pytest.raises(ValueError, match="not that of a certificate: format must be"):
        OrbitCertificate.load(path)


def test_a_certificate_that_proves_nothing_travels_too(known, tmp_path):
    broken = dataclasses.replace(known["alone"], period=2.0 * known["alone"].period)
    certificate = certify_orbit(broken)
    assert certificate.undecided is not None
    certificate.save(tmp_path / "nothing.json")
    assert OrbitCertificate.load(tmp_path / "nothing.json").check(broken)
