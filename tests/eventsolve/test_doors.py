"""Constructors of what verbs take: a value of another kind is taken, or refused in a sentence of our own."""

import re
import traceback
from dataclasses import fields, is_dataclass, replace
from functools import cache
from importlib import import_module
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.compare.matching import match_spikes
from eventsolve.dynamics import continuation, flow_derivative
from eventsolve.frozen import Frozen
from eventsolve.io.datasets import yin_yang
from eventsolve.io.records import GivenErrors, Record, RecordError, Scheme, Trace
from eventsolve.kinds import kinds_of

OTHER = (
    *(None, "x", 3.7, -1, float("nan"), float("inf"), object(), True, 1j, b"x", es),
    *([], {}, (None,), {"a": None}, {"q": 1}, {("a",): None}),
    *(np.array([np.nan]), np.zeros(3), np.zeros((1, 1))),
)


@cache
def records():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.add_population("o", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "a", [[9.0, 3.0], [2.0, 8.0]], delay=1e-3)
    net.connect("a", "o", np.ones((2, 2)))
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [4e-3]]] * 2)}
    solution = es.solve(net, inputs, 20e-3)
    first = es.losses.TTFSCrossEntropy("a", [0, 1], tau0=1e-3, tau1=5e-3, alpha=1e-3)
    voltage = es.losses.MeanVoltageCrossEntropy("o", [0, 1])
    _, stream = es.value_and_grad_in_pieces(net, inputs, 20e-3, first, 2)
    tonic = es.Network()
    tonic.add_population("t", 1, es.LIF(20e-3, 5e-3, v_leak=2.0))
    return (
        inputs["in"],
        net.population("a").neuron,
        net.population("o").neuron,
        es.Problem(net, inputs, 20e-3, first),
        solution,
        solution.final_state,
        es.observe(net, inputs, {"a": solution.spikes["a"]}, 20e-3),
        es.periodic_orbit(tonic),
        es.certify(solution),
        first,
        voltage,
        es.losses.Sum((first, voltage), (1.0, 1.0)),
        es.losses.TargetTimeMSE("a", np.full((2, 2), 5e-3)),
        es.losses.RelativeMSE("a", [0, 1], gap=1e-3),
        es.losses.SilentHinge("a", 0.5),
        record_of(net, inputs, solution, first),
        Trace(np.zeros(3), np.zeros((1, 2, 3)), currents={("in", "a"): np.zeros((1, 2, 3))}),
        yin_yang(3),
        stream,
        es.vjp(solution, {}),
        es.jvp(solution, {"v_leak": {"a": 1.0}}),
        es.spread(solution, {"v_leak": {"a": 1.0}}),
        es.adjoint_states(solution, first),
        net.projections["in", "a"],
        GivenErrors({"in": inputs["in"]}, {"in": np.ones(inputs["in"].n_spikes)}),
    )


def record_of(net, inputs, solution, loss):
    values, gradients = es.value_and_grad(solution, loss, reduction="none")
    problem = es.Problem(net, inputs, 20e-3, loss)
    return Record.of(
        problem,
        "a record",
        spikes=dict(solution.spikes),
        loss_values=values,
        gradients={name: getattr(gradients, name) for name in ("weight", "tau_mem", "spike_times")},
        time_step=1e-3,
        traces={"a": Trace(np.zeros(3), np.zeros((2, 2, 3)))},
        counters={"saturations": 1},
        weights={"forward": {("in", "a"): np.zeros((2, 2))}},
        arrivals={"a": solution.spikes["a"]},
    )


def refused_by(record, **changes):
    """The line that raised what a changed record is refused with, None if it is taken."""
    try:
        repr(replace(record, **changes))
    except (TypeError, ValueError) as error:
        return traceback.extract_tb(error.__traceback__)[-1].line
    return None


@pytest.mark.parametrize("k", range(25))
def test_what_is_of_another_kind_is_taken_or_refused_in_our_words(k):
    record = records()[k]
    names = [field.name for field in fields(record) if not field.name.startswith("_")]
    lines = {
        (name, i): refused_by(record, **{name: other}) for name in names for i, other in enumerate(OTHER)
    }
    refused = {place: line for place, line in lines.items() if line is not None}
    assert len(refused) >= len(OTHER) // 2
    assert [
        place for place, line in refused.items() if "raise" not in line and not line.startswith(")")
    ] == []


def classes(base):
    for kind in base.__subclasses__():
        yield kind
        yield from classes(kind)


PACKAGES = [
    f"eventsolve.{name}" for name in ("calibrate", "certify.orbits", "dynamics.flow", "io.records", "plot")
]
PACKAGES += [
    f"validation.{name}" for name in ("attribution", "sbp.record", "loihi2.running", "loihi2.exporting")
]


def test_every_field_of_every_record_refuses_another_kind_by_its_name():
    for package in PACKAGES:
        import_module(package)
    looked = 0
    for kind in filter(is_dataclass, classes(Frozen)):
        for name, taken in kinds_of(kind).items():
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
                taken(name, object())
            looked += 1
    assert looked > 250


def results():
    """Records that only verbs make, of what there is in a small solution."""
    net, inputs, solution = solved()
    margins, orbit = es.margins(solution), records()[7]
    followed = continuation(net, ("v_leak", "a"), (0.0, 0.3), solution)
    claimed = {"a": solution.spikes["a"]}
    return (
        *(margins, margins.voltage["a"], margins.gap["a"], margins.overshoot["a"]),
        *(
            es.trust_radius(solution),
            es.trust_radius(solution, certify=False),
            es.gradient_condition(solution),
        ),
        *(followed, followed.branches[0], followed.events[0], es.phase_response(orbit, "t", phases=4)),
        *(es.flux_tube(solution, n_directions=2), es.sensitivity(solution), flow_derivative(solution)),
        es.lyapunov_spectrum(orbit.network, None, 1.0, 1),
        es.calibrate(net, inputs, claimed, 20e-3, ["v_leak"]),
        match_spikes("a", claimed["a"], claimed["a"], 1e-3),
    )


def test_results_with_other_parts_are_refused_in_words_of_our_own_or_print():
    n = 0
    for record in results():
        for field in fields(record):
            if not field.name.startswith("_"):
                for other in OTHER:
                    line = refused_by(record, **{field.name: other})
                    assert line is None or "raise" in line or line.startswith(")"), (type(record), field.name)
                    n += line is not None
    assert n > 1000


def test_numbers_of_a_result_become_those_that_it_says_it_has():
    radius = es.trust_radius(solved().solution, certify=False)
    same = replace(radius, radius=radius.radius.tolist(), limits=list(radius.limits))
    assert same.radius.dtype == np.float64
    assert same.limits == radius.limits
    with pytest.raises(ValueError, match=r"^radius must be numbers; entry \[0\] is 'x'"):
        replace(radius, radius=["x"])
    with pytest.raises(TypeError, match=r"^limits\[0\] must be a Margin; got 3"):
        replace(radius, limits=(3,))
    with pytest.raises(TypeError, match=r"^neurons must be an array of int64; got float64"):
        replace(es.margins(solved().solution).voltage["a"], neurons=np.zeros(3))
    with pytest.raises(TypeError, match=r"^voltage\['a'\] must be a Distances; got None"):
        replace(es.margins(solved().solution), voltage={"a": None})


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("name", 3.7, "name must be a str; got 3.7"),
        ("network", 3.7, "network must be a Network, a Reference or None; got 3.7"),
        ("loss", 3.7, "loss must be one of eventsolve.losses, or have evaluate(solution); got 3.7"),
        ("spikes", 3.7, "spikes must be a mapping of names to what belongs to them; got 3.7"),
        ("spikes", {"a": [[1.0]]}, "spikes['a'] must be a SpikeTrains; got [[1.0]]"),
        ("arrivals", {3: None}, "arrivals must be by name; got 3"),
        ("gradients", {"weight": 1.0}, "gradients['weight'] must be a mapping of place to array; got 1.0"),
        ("gradients", {"tau_mem": {"a": "x"}}, "gradient of tau_mem of 'a' must be numbers; it is 'x'"),
        (
            "weights",
            {"forward": {("in", "a"): "x"}},
            "weights['forward'][('in', 'a')] must be numbers; it is",
        ),
        ("traces", {"a": 1.0}, "traces['a'] must be a Trace; got 1.0"),
        ("counters", {"dropped": 1.5}, "counters['dropped'] must be an integer; got 1.5"),
        ("loss_values", ["x"], "loss_values must be numbers; entry [0] is 'x'"),
        ("notes", 3, "notes must be a tuple; got 3"),
        ("reduction", "max", "reduction must be one of ['mean', 'sum', 'none']; got 'max'"),
        ("own_reset", 1, "own_reset must be True or False; got 1"),
        ("scheme", "euler", "scheme must be a Scheme; got 'euler'"),
        ("trials", True, "trials must be an integer; got True"),
    ],
)
def test_a_record_of_an_implementation_says_which_part_is_of_another_kind(name, given, said):
    with pytest.raises(RecordError, match=f"^{re.escape(said)}"):
        replace(records()[15], **{name: given})


def test_a_scheme_says_which_part_is_of_another_kind():
    for field in fields(Scheme):
        for other in OTHER:
            line = refused_by(Scheme(), **{field.name: other})
            assert line is None or "raise" in line or line.startswith(")"), (field.name, other)
    with pytest.raises(
        RecordError, match=r"^order of the scheme must be one of voltage_first, current_first; got arr"
    ):
        Scheme(order=np.zeros(3))


def test_errors_that_are_given_belong_to_spikes():
    given = records()[24]
    with pytest.raises(ValueError, match=r"^a key of errors must be one of \['in'\]; got 'out'"):
        replace(given, errors={"out": np.zeros(1)})
    with pytest.raises(
        ValueError, match=r"^errors\['in'\] must have shape \(4,\), as there are spikes; got \(3,\)"
    ):
        replace(given, errors={"in": np.zeros(3)})


def test_numbers_of_a_record_become_float64_and_counts_integers():
    record = Record(
        "single precision",
        spikes={"a": solved().solution.spikes["a"]},
        gradients={"tau_mem": {"a": np.ones((1, 2), np.float32)}},
        loss_values=[1],
        reduction="none",
        counters={"dropped": np.int32(3)},
        notes=["one"],
    )
    assert record.gradients["tau_mem"]["a"].dtype == record.loss_values.dtype == np.float64
    assert type(record.counters["dropped"]) is int
    assert record.notes == ("one",)


def test_gradients_by_synapse_are_arrays_or_matrices_in_any_layout():
    """Those in compressed columns were read as rows, and other kinds ended where they were printed."""
    stream = records()[18]
    wide = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    for layout in (sp.csc_array, sp.coo_array, sp.csr_array, sp.dok_array):
        changed = replace(stream, weight={("in", "a"): layout(wide)})
        assert np.array_equal(changed.weight["in", "a"].toarray(), wide)
        assert not changed.weight["in", "a"].data.flags.writeable
    for given, said in (
        ({"zz": 1}, "delay['zz'] must be an array or a sparse matrix; got 1"),
        ({("in", "a"): (1,)}, "delay[('in', 'a')][0] must be an array or a sparse matrix; got 1"),
        ({("in", "a"): np.array(["x"])}, "delay[('in', 'a')] must be numbers; entry [0] is 'x'"),
        ({("in", "a"): sp.csr_array(wide * 1j)}, "delay[('in', 'a')] must be numbers; entry [0] is 1j"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(said)}"):
            replace(stream, delay=given)


def test_gradients_of_sparse_weights_have_the_synapses_of_the_weights():
    """Another pattern was taken, and read by the synapses of the network: numbers of others."""
    weight = sp.csr_array([[2.0, 0.0], [0.0, 3.0]])
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", weight)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [2e-3]]])}, 20e-3)
    gradients = es.vjp(solution, {"a": np.ones(solution.spikes["a"].n_spikes)})
    for given in (weight.toarray(), sp.csr_array([[0.0, 1.0], [1.0, 0.0]]), sp.csr_array((2, 2))):
        with pytest.raises(ValueError, match=r"must be sparse, with the synapses of the solution's weight"):
            replace(gradients, weight={("in", "a"): given})
    with pytest.raises(ValueError, match="must be one array or matrix"):
        replace(gradients, weight={("in", "a"): (weight, weight)})
    split = sp.csr_array(([1.0, 1.0, 3.0], [0, 0, 1], [0, 2, 3]), shape=(2, 2))  # one entry in two parts
    assert np.array_equal(replace(gradients, weight={("in", "a"): split}).weight["in", "a"].data, weight.data)
    kept = replace(gradients, weight={("in", "a"): weight})
    assert np.array_equal(kept.weight["in", "a"].data, weight.data)


def unsorted(values):
    """A matrix in compressed rows whose columns are the wrong way round, and which says that they are not."""
    rows = sp.csr_array((np.asarray(values, float), np.array([1, 0]), np.array([0, 2, 2])), shape=(2, 2))
    rows.has_canonical_format = True
    return rows


@pytest.mark.parametrize("writeable", [True, False])
def test_directions_and_gradients_in_any_order_are_read_and_left_as_they_are(writeable):
    """Columns of a direction were sorted in place, and so those of a weight that shared them, whose data were not."""
    weight, direction = unsorted([3.0, 9.0]), unsorted([0.5, 0.25])
    direction.indices = weight.indices
    for array in (direction.data, direction.indices, direction.indptr):
        array.setflags(write=writeable)
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", weight)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [2e-3]]])}, 20e-3)
    assert solution.spikes["a"].n_spikes
    key = ("in", "a")
    found = es.jvp(solution, {"weight": {key: direction}})
    plain = es.jvp(solution, {"weight": {key: sp.csr_array([[0.25, 0.5], [0.0, 0.0]])}})
    twice = sp.coo_array(([0.25, 0.25, 0.25], ([0, 0, 0], [0, 1, 1])), shape=(2, 2))
    for other in (found, es.jvp(solution, {"weight": {key: twice}})):
        np.testing.assert_array_equal(other.spike_times["a"], plain.spike_times["a"])
    es.trust_radius(solution, of={"weight": {key: direction}}, certify=False)
    assert weight.indices.tolist() == [1, 0]
    assert weight.data.tolist() == [3.0, 9.0]
    gradients = es.vjp(solution, {"a": np.ones(solution.spikes["a"].n_spikes)})
    if writeable:
        assert replace(gradients, weight={key: direction}).weight[key].data.tolist() == [0.25, 0.5]


def test_gradients_of_dense_weights_are_arrays():
    """Zeros of a sparse one were compared with nothing."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", [[9.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 20e-3)
    gradients = es.vjp(solution, {"a": np.ones(solution.spikes["a"].n_spikes)})
    with pytest.raises(ValueError, match="must be an array, as the solution's weight is"):
        replace(gradients, weight={("in", "a"): sp.csr_array([[1.0]])})


def test_parts_of_a_result_have_shapes_that_agree():
    radius, margins = es.trust_radius(solved().solution, certify=False), es.margins(solved().solution)
    branch = continuation(solved().net, ("v_leak", "a"), (0.0, 0.1), solved().solution).branches[0]
    n = branch.values.size
    for record, parts, said in (
        (radius, {"limits": ()}, "limits must have 1 entries, as radius says; got shape (0,)"),
        (radius, {"radius": np.zeros((1, 1))}, "radius must have the axes (n); got shape (1, 1)"),
        (margins.gap["a"], {"places": np.zeros(0, int)}, "places must have"),
        (branch, {"spike_times": {}}, "spike_times must have the keys of neurons, ['a']; got []"),
        (
            branch,
            {"reach": np.zeros(n + 1)},
            f"reach must have {n} entries, as values says; got shape ({n + 1},)",
        ),
        (branch, {"derivatives": {"a": np.zeros((n, 99))}}, "derivatives['a'] must have"),
        (
            es.lyapunov_spectrum(records()[7].network, None, 1.0, 1),
            {"rates": np.zeros(3)},
            "rates must have the axes",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            replace(record, **parts)


class Solved(NamedTuple):
    net: es.Network
    inputs: dict
    solution: es.Solution


@cache
def solved(n_samples=1):
    """A network that is read out, and its solution: a few spikes of every sample."""
    problem = records()[3]
    inputs = {"in": problem.inputs["in"].select(np.arange(n_samples))}
    return Solved(problem.network, inputs, es.solve(problem.network, inputs, 20e-3))


CHANGES = {"v_leak": {"a": 1.0}}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: es.certify(solved().solution, digits=10**6), "digits must be at most 300, as how far apart"),
        (lambda: es.certify(solved().solution, digits=10**400), "digits must be at most 300"),
        (lambda: es.certify_orbit(records()[7], digits=301), "digits must be at most 300"),
        (lambda: replace(records()[8], digits=10**9), "digits must be at most 300"),
        (
            lambda: multiprecision.solve(solved().net, solved().inputs, 1e-3, digits=10**6),
            "digits must be at most 10000, in which",
        ),
        (
            lambda: multiprecision.gradient(solved().net, solved().inputs, 1e-3, len, [], digits=10**6),
            "digits must be at most 10000",
        ),
        (
            lambda: multiprecision.derivative(
                multiprecision.problem(solved().net, solved().inputs, 1e-3),
                len,
                ("v_leak", "a"),
                0,
                step="1e-1000000",
            ),
            "step must be a number from 1e-10000 to 1e-3; got '1e-1000000'",
        ),
        (
            lambda: es.solve(solved().net, solved().inputs, 1e-3, max_spikes=2**70),
            f"max_spikes must be at most {2**63 - 1}; got",
        ),
        (
            lambda: es.solve_first_spikes(solved().net, solved().inputs, 1e-3, "a", max_spikes=2**70),
            "max_spikes must be at most",
        ),
        (lambda: es.margins(solved().solution, nearest=2**70), "nearest must be at most"),
        (lambda: es.phase_response(records()[7], "t", phases=10**9), "phases must be at most 1000000"),
        (lambda: es.flux_tube(solved().solution, n_directions=10**9), "n_directions must be at most 1000000"),
        (lambda: es.vjp(solved().solution, {}, reduction=np.zeros(3)), "reduction must be one of"),
        (lambda: es.vjp(solved().solution, {}, wrt=np.zeros(0)), "wrt must name at least one of"),
        (lambda: es.certify(solved().solution, progress="no"), "progress must be True or False; got 'no'"),
        (
            lambda: es.spread(solved().solution, CHANGES, progress=np.zeros(3)),
            "progress must be True or False",
        ),
        (
            lambda: es.certify(solved().solution, executor="pool"),
            "executor must be a concurrent.futures.Executor",
        ),
        (
            lambda: es.certify(solved().solution, gradients={}, claimed_gradients="mine"),
            "claimed_gradients must be a Gradients",
        ),
        (
            lambda: es.certify(solved().solution, radii={"v_threshold": {"o": 0.1}}),
            "radii['v_threshold'] name 'o'; there are ['a']",
        ),
        (lambda: es.adjoint_states(None, records()[9]), "solution must be a Solution"),
        (
            lambda: es.dynamics.coordinates(None, solved().solution.final_state),
            "network must be a Network; got None",
        ),
        (lambda: flow_derivative(solved().solution, "x"), "vectors must be numbers"),
        (lambda: solved().solution.mean_voltages("o", -1.0), "rate must be finite and >= 0; got -1.0"),
        (
            lambda: es.value_and_grad(
                solved().solution, es.losses.TrajectoryMSE("o", lambda t, s: np.zeros((t.size, 3)))
            ),
            "the target must return voltages",
        ),
        (
            lambda: es.calibrate(
                solved().net,
                solved().inputs,
                {"a": solved().solution.spikes["a"]},
                20e-3,
                ["tau_mem"],
                time_noise=1e-320,
            ),
            "time_noise must be 0, or from 2**-200",
        ),
        (
            lambda: es.calibrate(solved().net, solved().inputs, None, 20e-3, ["tau_mem"]),
            "spikes must be a mapping",
        ),
        (lambda: es.Network().add_input("in", 10**12), "size of population 'in' must be at most 2147483647"),
        (
            lambda: es.Network().add_population("a", 10**12, es.LIF(20e-3, 5e-3)),
            "size of population 'a' must be at most 2147483647",
        ),
        (
            lambda: es.losses.TargetTimeMSE("a", [[5e-3]], silent=np.zeros(3)),
            "silent must be one of ['raise', 'skip', 't_end']",
        ),
        (lambda: es.losses.TargetTimeMSE(None, [[5e-3]]), "population must be a str; got None"),
        (lambda: es.losses.MeanVoltageCrossEntropy(np.nan, [0]), "population must be a str; got nan"),
        (lambda: es.margins(solved().solution).smallest(-1), "n must be an integer >= 0; got -1"),
        (lambda: es.margins(solved().solution).smallest("a"), "n must be an integer >= 0; got 'a'"),
        (
            lambda: replace(es.margins(solved().solution), n_samples=-7),
            "n_samples must be an integer >= 0; got -7",
        ),
        (
            lambda: es.testing.check_implementation(
                lambda _: {"spikes": {"a": [[1.0]]}}, records()[3], spikes_atol=1e-9, rtol=1e-9
            ),
            "spikes of 'a' must be a SpikeTrains; got [[1.0]]",
        ),
    ],
)
def test_what_runs_for_ever_or_is_nothing_to_ask_for_is_refused_at_once(asked, said):
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        asked()


def test_a_thousand_digits_are_worked_out_and_three_hundred_decided():
    exact = multiprecision.solve(solved().net, solved().inputs, 20e-3, digits=1000)
    fewer = multiprecision.solve(solved().net, solved().inputs, 20e-3, digits=1100)
    (time, _), (same, _) = exact.spikes["a"][0][0], fewer.spikes["a"][0][0]
    assert 0 < abs(time - same) < fewer.context.mpf(10) ** -1000
    assert es.certify(solved().solution, digits=np.int64(300)).proven


def test_counts_of_numpy_are_taken_as_those_of_python():
    found = es.solve(solved().net, solved().inputs, 20e-3, max_spikes=np.int32(100), threads=np.int64(2))
    assert np.array_equal(found.spikes["a"].times, solved().solution.spikes["a"].times)


def test_parts_that_cannot_belong_together_are_refused():
    """Each of these was taken: gradients went on with the spikes of another solution."""
    _, _, two = solved(2)
    gradients = es.vjp(solved().solution, {"a": np.ones(solved().solution.spikes["a"].n_spikes)})
    each = es.vjp(two, {}, reduction="none")
    moved, spread = es.jvp(solved().solution, CHANGES), es.spread(solved().solution, CHANGES)
    condition, states = (
        es.gradient_condition(solved().solution),
        es.adjoint_states(solved().solution, records()[14]),
    )
    changed = [
        (solved().solution, {"network": solved().net}),
        (gradients, {"solution": two}),
        (gradients, {"n_samples": 2}),
        (gradients, {"weight": {("in", "a"): np.zeros(3)}}),
        (gradients, {"weight": {("in", "o"): np.zeros((2, 2))}}),
        (gradients, {"tau_mem": {"a": 1.0}}),
        (gradients, {"spike_times": {"a": np.zeros(99)}}),
        (gradients, {"per_sample": True}),
        (each, {"per_sample": False}),
        *((record, {"solution": two}) for record in (moved, spread, condition, states)),
        (moved, {"spike_times": {"a": np.zeros(99)}}),
        (moved, {"loss": np.zeros(5)}),
    ]
    for record, parts in changed:
        with pytest.raises((TypeError, ValueError)):
            replace(record, **parts)
    zeros = {("in", "a"): np.zeros((2, 2)), ("a", "o"): np.zeros((2, 2))}
    assert not replace(gradients, weight=zeros).weight["in", "a"].any()  # a claim that may be judged
    with pytest.raises(ValueError, match=r"of_loss must be one of .*'a'.*; got 'nobody'"):
        replace(gradients, of_loss=("nobody",))
    with pytest.raises(TypeError, match="of_loss must be a tuple"):
        replace(gradients, of_loss="a")


def test_a_state_is_of_the_time_to_which_it_was_solved():
    """One that is said to be later had spikes before its own time, where those are looked for after it."""
    early = es.solve(solved().net, solved().inputs, 6e-3).final_state
    nothing = {"in": es.SpikeTrains.from_lists([[[], []]])}
    for solve in (es.solve, lambda *given, **more: es.solve_first_spikes(*given, "a", **more)):
        assert solve(solved().net, nothing, 30e-3, initial=early).spikes["a"].times.min() > 6e-3
        with pytest.raises(
            ValueError, match=r"initial must be a state that was solved to its time, 0.02 s; neuron"
        ):
            solve(solved().net, nothing, 30e-3, initial=replace(early, time=20e-3))
    sent = es.solve(solved().net, solved().inputs, 1.5e-3).final_state
    with pytest.raises(ValueError, match=r"low\['in'\] must be what rounding leaves of the times"):
        replace(sent, low={**sent.low, "in": np.ones(sent.low["in"].size)})


def test_a_batch_without_samples_has_no_nodes_and_no_gradient_in_pieces():
    nothing = np.empty(0)
    inputs = {"in": es.SpikeTrains.from_arrays(nothing, nothing, nothing, n_samples=0, n_neurons=2)}
    solution = es.solve(solved().net, inputs, 20e-3)
    running = es.losses.TrajectoryMSE("o", lambda times, sample: np.zeros((2, times.size)))
    assert solution.nodes("o").times.shape == (0, 0)
    for loss in (running, es.losses.MeanVoltageCrossEntropy("o", [])):
        values, gradients = es.value_and_grad(solution, loss, reduction="none")
        assert values.shape == (0,)
        total, streamed = es.value_and_grad_in_pieces(solved().net, inputs, 20e-3, loss, 3, reduction="sum")
        assert total == 0.0
        assert not streamed.weight["in", "a"].any()
        assert gradients.weight["in", "a"].shape == (0, 2, 2)
