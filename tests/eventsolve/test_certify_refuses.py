"""What is wrong is refused: planted faults, wrong kernels, peaks beyond the digits allowed, hostile records."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from enclosing import WIDE
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from loops import Loop
from networks import random_case

import eventsolve as es
from eventsolve import adjoint, solve_chunk
from eventsolve.certify import certificate as certificate_module
from eventsolve.certify import claims, crossing, samples
from eventsolve.certify.arithmetic import working_precision
from eventsolve.certify.records import digest_of
from tests.lost_spikes import RATIO, claim_of, solution_of
from tests.planted_faults import SPIKE_FAULTS, accepted_gradients, accepted_spikes

pytestmark = pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # times of any ratio are drawn

TAU = [(20e-3, 5e-3), (5e-3, 5e-3), (4e-3, 9e-3), (5e-3 * (1 + 2**-40), 5e-3)]


@pytest.mark.parametrize("kind", SPIKE_FAULTS)
def test_planted_spikes_are_refuted(kind):
    accepted, _ = accepted_spikes(kind, 20, seed=3)
    assert accepted == 0


def test_planted_gradients_are_refuted():
    accepted, left_out = accepted_gradients(20, seed=5)
    assert accepted == 0
    assert left_out <= 10


# -- a claim is refuted by its first wrong spike -------------------------------------------------------------------


class TestClaims:
    @pytest.fixture
    def solution(self):
        return random_case(11).solve()

    def claimed(self, solution, change):
        trains = solution.spikes["hidden"]
        columns = [trains.times.copy(), trains.neurons.copy(), trains.samples.copy()]
        return {"hidden": es.SpikeTrains.from_arrays(*change(*columns), n_neurons=4, n_samples=2)}

    def test_its_own_spikes_are_proven(self, solution):
        assert es.certify(solution, spikes=dict(list(solution.spikes.items())[1:])).proven

    def test_the_first_of_two_missing_spikes_is_named(self, solution):
        claim = self.claimed(solution, lambda t, n, s: [np.delete(x, [2, 6]) for x in (t, n, s)])
        certificate = es.certify(solution, spikes=claim)
        first = certificate.refuted[0]
        trains = solution.spikes["hidden"]
        assert (first.kind, first.population, first.sample) == ("missed", "hidden", trains.samples[2])
        assert first.neuron == trains.neurons[2]
        assert first.time == pytest.approx(trains.times[2], rel=1e-14, abs=0.0)
        assert math.isnan(first.claimed)
        assert f"spikes at {first.time!r} s, which is missing" in str(first)
        assert f"refuted: neuron {first.neuron} of 'hidden' in sample" in str(certificate)

    def test_a_moved_spike_is_named_with_both_times(self, solution):
        def move(t, n, s):
            t[3] += 1e-12
            return t, n, s

        (refutation,) = es.certify(solution, spikes=self.claimed(solution, move)).refuted
        assert refutation.kind == "moved"
        assert refutation.claimed - refutation.time == pytest.approx(1e-12, rel=1e-3, abs=0.0)

    def test_what_is_within_a_stated_tolerance_is_accepted(self, solution):
        def move(t, n, s):
            t[3] += 1e-6
            return t, n, s

        claim = self.claimed(solution, move)
        assert es.certify(solution, spikes=claim, tolerance=1.1e-6).proven
        assert not es.certify(solution, spikes=claim, tolerance=0.9e-6).proven

    def test_silence_is_refuted_spike_by_spike(self, solution):
        nothing = es.SpikeTrains.from_arrays([], [], [], n_neurons=4, n_samples=2)
        certificate = es.certify(solution, spikes={"hidden": nothing})
        spiking = np.unique(
            np.stack([solution.spikes["hidden"].samples, solution.spikes["hidden"].neurons]), axis=1
        )
        assert len(certificate.refuted) == spiking.shape[1]  # of every neuron the first
        assert {r.kind for r in certificate.refuted} == {"missed"}


def test_a_published_rule_loses_spikes_and_without_its_oversight_does_not():
    solution = solution_of(2)
    certificate = es.certify(solution, spikes=claim_of(solution, 1.0))
    assert certificate.refuted
    assert {r.kind for r in certificate.refuted} <= {"missed", "moved"}
    assert str(certificate.refuted[0]).endswith("which is missing")
    assert es.certify(solution, spikes=claim_of(solution, RATIO)).proven


# -- nothing is decided by the float64 kernels ---------------------------------------------------------------------


def slow(neurons):
    return neurons._replace(tau_mem=neurons.tau_mem * (1 + 1e-9))


def test_a_wrong_kernel_for_layers_is_refused(monkeypatch):
    right = random_case(2).solve()
    assert es.certify(right).proven
    forward = solve_chunk.forward
    monkeypatch.setattr(solve_chunk, "forward", lambda neurons, *rest: forward(slow(neurons), *rest))
    wrong = random_case(2).solve()
    certificate = es.certify(wrong)
    assert {r.kind for r in certificate.refuted} == {"moved"}


def test_a_wrong_kernel_for_cycles_is_refused(monkeypatch):
    queue = solve_chunk.solve_queue
    monkeypatch.setattr(solve_chunk, "solve_queue", lambda neurons, *rest: queue(slow(neurons), *rest))
    assert es.certify(Loop(2, t_end=30e-3).solve()).refuted


def test_a_kernel_that_finds_no_spikes_is_refused(monkeypatch):
    forward = solve_chunk.forward

    def deaf(neurons, *rest):
        return forward(neurons._replace(v_threshold=neurons.v_threshold + 1e3), *rest)

    monkeypatch.setattr(solve_chunk, "forward", deaf)
    solution = random_case(2).solve()
    assert solution.spikes["hidden"].n_spikes == 0
    assert {r.kind for r in es.certify(solution).refuted} == {"missed"}


def test_a_network_that_runs_away_is_left_open_after_spikes_enough(monkeypatch):
    """A wrong kernel may stop where the network does not: what is missed first is named all the same."""
    monkeypatch.setattr(samples, "MOST_SPIKES", 200)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "loop", [[8.0]])
    net.connect("loop", "loop", [[30.0]], delay=1e-5)
    trains = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    with pytest.raises(es.SpikeBudgetError):
        es.solve(net, trains, 50e-3, max_spikes=1000)
    quiet = es.solve(net.with_weights({("loop", "loop"): [[0.0]]}), trains, 50e-3)
    claim = quiet._with(network=net)
    certificate = es.certify(claim)
    assert certificate.refuted[0].kind in ("missed", "moved")
    assert "far more spikes" in certificate.undecided[0].why


def test_a_wrong_adjoint_kernel_is_refused(monkeypatch):
    solution = random_case(2).solve()
    cotangents = {"out": np.ones(solution.spikes["out"].n_spikes)}
    assert es.certify(solution, gradients=cotangents).proven
    backward = adjoint.backward

    def wrong(layer, *rest):
        return backward(layer._replace(neurons=slow(layer.neurons)), *rest)

    monkeypatch.setattr(adjoint, "backward", wrong)
    certificate = es.certify(solution, gradients=cotangents)
    assert not certificate.proven
    assert certificate.mismatches
    assert "the gradient for weight" in str(certificate)


# -- grazing -------------------------------------------------------------------------------------------------------


def grazing(tau_mem, tau_syn, distance):
    """A neuron whose peak is 1 + distance to 60 digits, by weights that arrive together and add up."""
    a, b = WIDE.mpf(tau_mem), WIDE.mpf(tau_syn)
    t = a if a == b else a * b / (a - b) * WIDE.log(a / b)
    k = t / a * WIDE.exp(-t / a) if a == b else b / (b - a) * (WIDE.exp(-t / b) - WIDE.exp(-t / a))
    left, weights = (1 + WIDE.mpf(distance)) / k, []
    for _ in range(4):
        weights.append(float(left))
        left -= weights[-1]
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("out", 1, es.LIF(tau_mem, tau_syn))
    net.connect("in", "out", [weights])
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]] * 4])}, 0.1), float(t)


def nothing():
    return {"out": es.SpikeTrains.from_arrays([], [], n_neurons=1)}


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("k", [3, 10, 16, 20, 25, 30])
@pytest.mark.parametrize(("tau_mem", "tau_syn"), TAU)
def test_a_peak_is_decided_up_to_the_digits_allowed(tau_mem, tau_syn, k, side):
    solution, peak = grazing(tau_mem, tau_syn, side * WIDE.mpf(10) ** -k)
    certificate = es.certify(solution, spikes=nothing(), digits=30)
    assert not certificate.undecided
    assert certificate.proven == (side < 0)
    if side > 0:
        (refutation,) = certificate.refuted
        assert refutation.kind == "missed"
        # the parabola below the peak: the crossing is sqrt(2 tau_mem tau_syn 10^-k) before it, to first order
        early = math.sqrt(2 * tau_mem * tau_syn * 10.0**-k)
        assert peak - refutation.time == pytest.approx(
            early, rel=2 * 10 ** (-k / 2), abs=4 * np.spacing(peak)
        )


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("digits", [5, 12])
def test_a_peak_beyond_the_digits_allowed_is_reported(digits, side):
    k = digits + samples.GUARD_DIGITS + 4
    solution, peak = grazing(20e-3, 5e-3, side * WIDE.mpf(10) ** -k)
    certificate = es.certify(solution, spikes=nothing(), digits=digits)
    assert not certificate.proven
    assert not certificate.refuted
    (question,) = certificate.undecided
    assert question[:3] == ("out", 0, 0)
    assert question.time <= peak
    assert "too close to its threshold" in str(certificate)


def test_more_digits_decide_what_fewer_left_open():
    solution, _ = grazing(20e-3, 5e-3, -(WIDE.mpf(10) ** -30))
    assert not es.certify(solution, spikes=nothing(), digits=12).proven
    certificate = es.certify(solution, spikes=nothing(), digits=30)
    assert certificate.proven


# -- records -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    solution = random_case(4).solve()
    cotangents = {"out": np.ones(solution.spikes["out"].n_spikes)}
    path = tmp_path_factory.mktemp("record") / "certificate.json"
    es.certify(solution, gradients=cotangents).save(path)
    return solution, cotangents, path


def test_a_record_holds_what_was_stored_and_is_proven_again(stored, tmp_path):
    solution, cotangents, path = stored
    certificate = es.Certificate.load(path)
    assert certificate.proven
    assert certificate.check(solution, gradients=cotangents)
    certificate.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    fresh = es.certify(solution)
    assert certificate.decimals == fresh.decimals
    for name, (middle, radius) in fresh.spike_times.items():
        np.testing.assert_array_equal(certificate.spike_times[name].midpoints, middle)
        np.testing.assert_array_equal(certificate.spike_times[name].radii, radius)


def test_a_record_of_what_is_not_proven_says_so_again(tmp_path):
    solution, _ = grazing(20e-3, 5e-3, WIDE.mpf(10) ** -40)
    certificate = es.certify(solution, spikes=nothing())
    certificate.save(tmp_path / "c.json")
    again = es.Certificate.load(tmp_path / "c.json")
    assert not again.proven
    assert again.undecided == certificate.undecided
    assert again.check(solution, spikes=nothing())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A record in which there is one of everything, of a network that is proven in milliseconds."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("hidden", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", [[8.0], [7.0]], delay=1e-3)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]], [[2e-3]]])}, 30e-3)
    cotangents = {"hidden": np.linspace(1.0, 2.0, solution.spikes["hidden"].n_spikes)}
    path = tmp_path_factory.mktemp("small") / "certificate.json"
    certificate = es.certify(solution, gradients=cotangents)
    assert certificate.proven
    certificate.save(path)
    return solution, cotangents, path


def tampered(stored, change, tmp_path):
    record = json.loads(stored[2].read_text())
    change(record)
    path = tmp_path / "tampered.json"
    path.write_text(json.dumps(record))
    return path


def spikes_of(record):
    return record["samples"][0]["spikes"]["hidden"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.update(fingerprint="0" * 64), "another network"),
        (lambda r: r["samples"].pop(), "covers 1 of 2 samples"),
        (lambda r: (r["samples"].pop(), r.update(n_samples=1)), "covers 1 of 2 samples, and says 1"),
        (lambda r: spikes_of(r)["radii"].__setitem__(0, 1.0), "enclosure 0"),
        (
            lambda r: (
                spikes_of(r)["radii"].__setitem__(0, 1.0),
                spikes_of(r)["midpoints"].__setitem__(0, 0.5),
            ),
            "0.5",
        ),
        (
            lambda r: spikes_of(r)["decimals"].__setitem__(0, "[0.01 +/- 1]"),
            "decimals of 'hidden': enclosure 0",
        ),
        (lambda r: spikes_of(r)["decimals"].__setitem__(0, ""), "decimals of 'hidden': enclosure 0"),
        (lambda r: spikes_of(r)["tolerances"].__setitem__(0, 1e-3), "tolerances of 'hidden': 0"),
        (lambda r: r["samples"][0].update(distance=0.0), "sample 0: distance"),
        (lambda r: r["samples"][1].update(intervals=7), "sample 1: intervals is 7"),
        (lambda r: r["samples"][1].update(bits=53), "sample 1: bits is 53"),
        (lambda r: r.update(gradient_distance=0.25), "gradient_distance"),
        (lambda r: r.update(digits=16), "bits"),
        (lambda r: r.update(tolerance=1.0), "tolerances"),
        (lambda r: spikes_of(r)["midpoints"].__setitem__(0, 1e-3), "enclosure 0"),
        (lambda r: spikes_of(r)["radii"].__setitem__(0, 0.0), "enclosure 0"),
        (lambda r: r["gradients"]["weight"][0][2].__setitem__(0, 7.0), "weight"),
        (lambda r: r.update(gradients=None), "shape"),
        (lambda r: r["samples"][0]["refuted"].append(["missed", "hidden", 0, 0, 1e-3, None]), "refuted"),
    ],
)
def test_a_record_that_says_otherwise_is_not_confirmed(small, change, says, tmp_path):
    solution, cotangents, _ = small
    certificate = es.Certificate.load(tampered(small, change, tmp_path))
    assert not certificate.check(solution, gradients=cotangents)
    assert says in certificate.disagreement(solution, gradients=cotangents)


# -- altered anywhere ------------------------------------------------------------------------------------------------


def leaves(document, path=()):
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def other_values(value):
    """Return what a leaf is changed to: a number in its last place, a text in its last letter."""
    if isinstance(value, bool) or value is None:
        return [0.5]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [float(np.nextafter(value, np.inf)), None]
    if isinstance(value, str):
        digit = next((k for k in range(len(value) - 1, -1, -1) if value[k].isdigit()), None)
        last = len(value) - 1 if digit is None else digit
        return [value[:last] + ("1" if value[last] != "1" else "2") + value[last + 1 :]]
    return [[0]] if isinstance(value, list) else [{"a": 1}]


def mutants(text):
    """Yield every record in which one thing is another one, gone, there twice, or in its neighbour's place."""
    places = list(leaves(json.loads(text)))
    for path in places:
        for change in ("change", "remove", "twice", "swap"):
            document = json.loads(text)
            holder = document
            for key in path[:-1]:
                holder = holder[key]
            key = path[-1]
            if change == "change":
                for other in other_values(holder[key]):
                    holder[key] = other
                    yield path, json.dumps(document)
            elif change == "remove":
                del holder[key]
                yield path, json.dumps(document)
            elif change == "twice" and isinstance(holder, list):
                holder.insert(key, holder[key])
                yield path, json.dumps(document)
            elif change == "twice":
                whole = json.dumps(document)
                entry = f"{json.dumps(key)}: {json.dumps(holder[key])}"
                yield path, whole.replace(entry, f"{entry}, {entry}", 1)
            elif isinstance(holder, list) and key + 1 < len(holder) and holder[key] != holder[key + 1]:
                holder[key], holder[key + 1] = holder[key + 1], holder[key]
                yield path, json.dumps(document)


def verdict(path, text, solution, cotangents, *, signed=False):
    """Return the sentence with which a record is refused, or None; ``signed``: with a digest that fits it."""
    path.write_text(text)
    try:
        certificate = es.Certificate.load(path)
    except ValueError as error:
        return str(error)
    if signed:
        certificate = replace(certificate, digest=digest_of(certificate))
    return certificate.disagreement(solution, gradients=cotangents)


def test_a_record_that_is_altered_anywhere_is_refused(small, tmp_path, monkeypatch):
    solution, cotangents, stored_path = small
    text = stored_path.read_text()
    proofs = certificate_module.certify(solution, gradients=cotangents)
    # the same solution is proven again for every mutant with the same digits and tolerance: once is enough
    real = certificate_module.certify
    monkeypatch.setattr(
        certificate_module,
        "certify",
        lambda s, *, digits, tolerance, **what: (
            proofs
            if (digits, tolerance) == (15, None)
            else real(s, digits=digits, tolerance=tolerance, **what)
        ),
    )
    assert verdict(tmp_path / "c.json", text, solution, cotangents) is None
    assert verdict(tmp_path / "c.json", json.dumps(json.loads(text)), solution, cotangents) is None
    n, passed, harmless = 0, [], 0
    for path, mutant in mutants(text):
        n += 1
        if verdict(tmp_path / "c.json", mutant, solution, cotangents) is None:
            passed.append(path)
        # who computes the digest anew can change numbers by less than their slack, and nothing else
        if verdict(tmp_path / "c.json", mutant, solution, cotangents, signed=True) is None:
            assert set(path) & {
                "radii",
                "decimals",
                "tolerances",
                "distance",
                "gradient_distance",
                "digest",
            } or ((path[0] == "gradients" and path[-2] == 3) or path[1] == "value"), path
            harmless += 1
    assert n > 300
    assert passed == []
    assert 0 < harmless < n / 4


def test_what_passes_with_another_digest_is_still_true(small, tmp_path):
    """Radii within their slack, and decimals: each still holds the exact enclosure."""
    solution, cotangents, stored_path = small
    proofs = es.certify(solution, gradients=cotangents).proofs
    document = json.loads(stored_path.read_text())
    accepted = 0
    for factor in (0.5, 1 - 2**-9, 1 - 2**-12, 1 + 2**-12, 1 + 2**-9, 2.0):
        for sample, entry in enumerate(document["samples"]):
            held = entry["spikes"]["hidden"]["radii"]
            for k, radius in enumerate(held):
                held[k] = radius * factor
                said = verdict(tmp_path / "c.json", json.dumps(document), solution, cotangents, signed=True)
                assert (said is None) == (abs(factor - 1) < 2**-11)
                if said is None:
                    mantissa, exponent, size, scale = proofs[sample].exact["hidden"][k]
                    with working_precision(400):
                        far = abs(arb((mantissa, exponent)) - arb(entry["spikes"]["hidden"]["midpoints"][k]))
                        assert far + arb((size, scale)) <= arb(held[k])
                    accepted += 1
                held[k] = radius
    assert accepted == 2 * solution.spikes["hidden"].n_spikes


def test_a_record_is_confirmed_where_float64_rounds_otherwise(monkeypatch):
    """Guesses and tolerances go through libm, whose last bit differs from one machine to another."""
    random = np.random.default_rng(5)

    class Elsewhere:
        def __getattr__(self, name):
            function = getattr(math, name)
            if name not in ("exp", "expm1", "log1p", "log", "sqrt"):
                return function
            return lambda x: math.nextafter(function(x), random.choice([-math.inf, math.inf]))

    different = 0
    for seed in range(4):
        solution = random_case(seed).solve() if seed % 2 else Loop(seed, t_end=20e-3).solve()
        certificate = es.certify(solution)
        with monkeypatch.context() as patch:
            for module in (crossing, claims):
                patch.setattr(module, "math", Elsewhere())
            other = es.certify(solution)
        different += other.digest != certificate.digest
        assert other.disagreement(solution) is None
        assert certificate.disagreement(solution) is None
    assert different > 0


def test_complex_gradients_are_refused_not_cut_to_their_real_part(stored):
    solution, cotangents, _ = stored
    grads = es.vjp(solution, cotangents)
    weight = {key: w + 1e-3j for key, w in grads.weight.items()}
    with pytest.raises(ValueError, match=r"weight\[.*must be numbers"):
        es.certify(solution, gradients=cotangents, claimed_gradients=replace(grads, weight=weight))


def test_a_record_of_another_solution_is_not_confirmed(stored):
    certificate = es.Certificate.load(stored[2])
    other = random_case(4, n_samples=2, delays=False).solve()
    assert "another network" in certificate.disagreement(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("samples"),
        lambda r: r.update(extra=1),
        lambda r: r.update(format="eventsolve certificate 1"),
        lambda r: r.update(n_samples=-1),
        lambda r: r.update(n_samples=1.5),
        lambda r: r.update(n_samples=True),
        lambda r: r.update(digits="15"),
        lambda r: r.update(tolerance=-1.0),
        lambda r: r.update(samples={}),
        lambda r: r["samples"].reverse(),
        lambda r: r["samples"].append(r["samples"][0]),
        lambda r: spikes_of(r)["radii"].__setitem__(0, -1e-18),
        lambda r: spikes_of(r)["radii"].pop(),
        lambda r: spikes_of(r)["radii"].__setitem__(0, None),
        lambda r: spikes_of(r)["midpoints"].__setitem__(0, "1e-3"),
        lambda r: spikes_of(r)["midpoints"].__setitem__(0, 10**400),
        lambda r: spikes_of(r)["decimals"].__setitem__(0, 1e-3),
        lambda r: r["samples"][0]["spikes"].pop("hidden"),
        lambda r: r["samples"][0].update(undecided=[[1]]),
        lambda r: r["samples"][0].update(one_sided=[["hidden", 0, 0, 1e-3]]),
        lambda r: r["samples"][0].update(refuted=[["lost", "hidden", 0, 0, 1e-3, None]]),
        lambda r: r["gradients"]["weight"][0].__setitem__(1, [1, 1]),
        lambda r: r["gradients"].pop("v_leak"),
        lambda r: r.update(misfits=[["weight"]]),
        lambda r: r.update(digits=0),
        lambda r: r.pop("digest"),
        lambda r: r["gradients"]["weight"].append(r["gradients"]["weight"][0]),
        lambda r: spikes_of(r)["decimals"].__setitem__(0, "1e-999999999"),
        lambda r: spikes_of(r)["decimals"].__setitem__(0, "1" * 10_000),
    ],
)
def test_a_record_of_another_form_is_refused(stored, change, tmp_path):
    with pytest.raises(ValueError, match="the record is not that of a certificate"):
        es.Certificate.load(tampered(stored, change, tmp_path))


@given(st.data())
def test_a_truncated_or_garbled_record_is_refused(stored, tmp_path_factory, data):
    text = stored[2].read_bytes()
    cut = data.draw(st.integers(0, len(text) - 3))
    tail = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("garbled") / "c.json"
    path.write_bytes(text[:cut] + tail)
    with pytest.raises(ValueError, match="the record is not that of a certificate"):
        es.Certificate.load(path)


@pytest.mark.parametrize("text", ["", "null", "[]", "[" * 100_000, '{"format": NaN}', "\x00", "1" * 5000])
def test_what_is_no_record_is_refused(text, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="the record is not that of a certificate"):
        es.Certificate.load(path)
