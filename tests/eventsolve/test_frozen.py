"""What verbs return crosses to other processes bit for bit, and nothing of it can be changed."""

import copy
import dataclasses
import pickle
import weakref
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.frozen import Frozen, FrozenMapping, MadeWhenRead, read_only
from eventsolve.io.records import Record
from eventsolve.solution import Chunk
from eventsolve.testing import Problem

LOSS = es.losses.TargetTimeMSE("out", np.full((3, 2), 9e-3), silent="skip")
INPUTS = {"in": es.SpikeTrains.from_lists([[[1e-3 * (k + 1)], [2e-3, 4e-3]] for k in range(3)])}


def network(sparse):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("mid", 3, es.LIF(20e-3, 5e-3, v_leak=np.array([0.1, 0.2, 0.3])))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    weight = np.array([[3.0, 1.0], [2.0, 2.5], [0.0, 4.0]])
    net.connect("in", "mid", sp.csr_array(weight) if sparse else weight, delay=1e-3)
    net.connect("mid", "out", np.array([[2.0, 3.0, 1.0], [1.0, 0.5, 3.0]]))
    net.connect("out", "mid", np.full((3, 2), 0.1), delay=2e-3)
    return net


@cache
def results():
    """One of everything, by name."""
    solution = es.solve(network(False), INPUTS, 30e-3)
    sparse = es.solve(network(True), INPUTS, 30e-3)
    state = solution.final_state
    _, gradients = es.value_and_grad(solution, LOSS)
    spikes = {name: trains for name, trains in solution.spikes.items() if name != "in"}
    return {
        "trains": solution.spikes["out"],
        "spikes": solution.spikes,
        "network": solution.network,
        "sparse network": sparse.network,
        "solution": solution,
        "first spikes": es.solve_first_spikes(network(False), INPUTS, 30e-3, "out"),
        "state": state,
        "onward": es.solve(
            solution.network, {"in": es.SpikeTrains.from_lists([[[], []]] * 3)}, 40e-3, initial=state
        ),
        "gradients": gradients,
        "sparse gradients": es.value_and_grad(sparse, LOSS, reduction="none")[1],
        "tangents": es.jvp(solution, {"weight": {("in", "mid"): 1.0}}, LOSS, reduction="none"),
        "adjoint": es.adjoint_states(solution, LOSS),
        "margins": es.margins(solution),
        "condition": es.gradient_condition(solution),
        "estimate": es.trust_radius(solution, certify=False),
        "radius": es.trust_radius(es.solve(network(False), {"in": INPUTS["in"].select([0])}, 5e-3)),
        "certificate": es.certify(sparse, gradients=LOSS),
        "loss": LOSS,
        "problem": Problem(network(True), INPUTS, 30e-3, LOSS),
        "record": Record(
            name="a chip",
            t_end=30e-3,
            inputs=INPUTS,
            spikes=spikes,
            gradients={"weight": dict(gradients.weight)},
        ),
    }


NAMES = (
    "trains", "spikes", "network", "sparse network", "solution", "first spikes", "state", "onward", "gradients",
    "sparse gradients", "tangents", "adjoint", "margins", "condition", "estimate", "radius", "certificate", "loss",
    "problem", "record",
)  # fmt: skip


def content(value):
    """All numbers and words in a result, arrays as their bytes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if sp.issparse(value):
        return value.shape, [content(array) for array in (value.data, value.indices, value.indptr)]
    if isinstance(value, es.Network):
        return content((value.populations, value.projections))
    if dataclasses.is_dataclass(value):
        return type(value), [(f.name, content(getattr(value, f.name))) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(key, content(item)) for key, item in value.items()]
    if isinstance(value, tuple | list):
        return type(value), [content(item) for item in value]
    return repr(value)


def arrays(value, path=""):
    """(path, array) of every array that a holder of a result reaches by public names."""
    if isinstance(value, np.ndarray):
        yield path, value
    elif sp.issparse(value):
        for name in ("data", "indices", "indptr"):
            yield f"{path}.{name}", getattr(value, name)
    elif isinstance(value, es.Network):
        yield from arrays((value.populations, value.projections), path)
    elif isinstance(value, es.Solution):
        public = ("network", "spikes", "chunks", "stopped", "warnings")
        for name in public if value.stopped else (*public, "final_state"):
            yield from arrays(getattr(value, name), f"{path}.{name}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from arrays(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from arrays(item, f"{path}[{key!r}]")
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            yield from arrays(item, f"{path}[{k}]")


def itself(value):
    """Return what came from another process."""
    return value


COPIES = {
    "pickled": lambda value: pickle.loads(pickle.dumps(value)),
    "deep": copy.deepcopy,
    "shallow": copy.copy,
}


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_the_same_bit_for_bit_and_as_read_only(name):
    assert set(results()) == set(NAMES)
    value = results()[name]
    assert [path for path, array in arrays(value, name) if array.flags.writeable] == []
    for how, copied in COPIES.items():
        other = copied(value)
        assert content(other) == content(value), how
        assert [path for path, array in arrays(other, name) if array.flags.writeable] == [], how
        assert repr(other) == repr(value)


def test_results_cross_a_pool_of_processes():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for name, value in zip(results(), pool.map(itself, results().values()), strict=True):
            assert content(value) == content(results()[name]), name


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_is_gone_on_with_as_the_result_itself(copied):
    solution, state = copied(results()["solution"]), copied(results()["state"])
    assert content(es.value_and_grad(solution, LOSS)[1]) == content(results()["gradients"])
    assert solution.voltage("mid", [5e-3, 20e-3]).tobytes() == (
        results()["solution"].voltage("mid", [5e-3, 20e-3]).tobytes()
    )
    silence = {"in": es.SpikeTrains.from_lists([[[], []]] * 3)}
    onward = es.solve(solution.network, silence, 40e-3, initial=state)
    assert content(onward.spikes) == content(results()["onward"].spikes)


def test_kernels_are_compiled_once_whether_a_solution_is_new_or_copied():
    from eventsolve.kernels.recurrent import solve_queue
    from eventsolve.kernels.recurrent_adjoint import mirror

    for copied in COPIES.values():
        solution = copied(results()["solution"])
        es.value_and_grad(solution, LOSS)
        es.solve(
            solution.network,
            {"in": es.SpikeTrains.from_lists([[[], []]] * 3)},
            40e-3,
            initial=solution.final_state,
        )
    for kernel in (mirror, solve_queue):
        assert len(getattr(kernel, "overloads", [0])) == 1


def test_a_held_sparse_weight_cannot_be_changed():
    net = network(True)
    before = content(net)
    held = net.projections["in", "mid"].weight
    for array in (held.data, held.indices, held.indptr):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    net.projections["in", "mid"].weight.resize((4, 2))
    held.data = np.zeros(1)
    assert content(net) == before


def test_a_frozen_mapping_is_a_mapping_and_no_more():
    given = {"a": np.zeros(2), "b": {"c": [np.ones(1)]}}
    frozen = FrozenMapping(given)
    given["a"][0], given["d"] = 5.0, 1
    assert list(frozen) == ["a", "b"]
    assert len(frozen) == 2
    assert repr(frozen["b"]) == "{'c': (array([1.]),)}"
    with pytest.raises(TypeError):
        frozen["a"] = 1
    with pytest.raises(AttributeError, match="cannot be changed"):
        frozen.more = 1
    with pytest.raises(ValueError, match="read-only"):
        frozen["b"]["c"][0][0] = 2.0
    assert read_only(frozen) is frozen
    assert isinstance(read_only(Chunk(1, {}, {}, {}, {}, {})), Chunk)


def test_what_is_made_when_read_is_made_once_and_lets_go_of_what_it_was_made_of():
    calls = []
    base = np.arange(3.0)

    def make():
        calls.append(1)
        return {"a": read_only(base)}

    lazy = MadeWhenRead(make)
    reference = weakref.ref(make)
    del make
    assert read_only(lazy) is lazy
    assert not calls
    assert list(lazy) == ["a"]
    assert lazy["a"][2] == 2.0
    assert calls == [1]
    assert reference() is None
    for copied in (copy.copy(lazy), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert type(copied) is FrozenMapping
        assert list(copied) == ["a"]
        assert not copied["a"].flags.writeable
    with pytest.raises(AttributeError):
        lazy.weight  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_compared_without_an_error_and_may_be_a_key(name):
    one = results()[name]
    again = pickle.loads(pickle.dumps(one))
    assert one == one
    if isinstance(one, es.SpikeTrains | FrozenMapping):
        assert one == again
    elif isinstance(one, Frozen):
        assert one != again
        assert {one: 1, again: 2}[one] == 1
    for other in (again, {}, None, 1.0):
        assert (one == other) is (other == one)
        assert (one != other) is not (one == other)


def test_mappings_of_results_are_equal_if_all_in_them_is():
    ones = {"mid": np.ones(results()["solution"].spikes["mid"].n_spikes)}
    gradients, again = (es.vjp(results()["solution"], ones) for _ in range(2))
    sparse, rerun = (es.vjp(es.solve(network(True), INPUTS, 30e-3), ones, reduction="none") for _ in range(2))
    for mine, other in ((gradients, again), (sparse, rerun)):
        for quantity in ("weight", "delay", "tau_mem", "spike_times"):
            held = getattr(other, quantity)
            assert getattr(mine, quantity) == held
            assert getattr(mine, quantity) == dict(held)
            assert dict(held) == getattr(mine, quantity)
    assert gradients.tau_mem != gradients.v_leak
    assert gradients.weight != sparse.weight
    nan, zero = (FrozenMapping({"a": np.array([1.0, value])}) for value in (np.nan, 0.0))
    assert nan == FrozenMapping({"a": np.array([1.0, np.nan])})
    assert nan != zero
    assert zero != FrozenMapping({"a": np.zeros((1, 2))})
    assert zero != FrozenMapping({"b": zero["a"]})
    assert zero != FrozenMapping({**zero, "b": 1})
    assert zero != {"a": (1.0, 0.0)}
    assert FrozenMapping({"a": (1, [zero["a"]])}) == {"a": [1, (zero["a"].copy(),)]}
    for foreign in (zero["a"], sp.csr_array(np.eye(2)), zero, None):
        assert FrozenMapping({"a": 1.0}) != {"a": foreign}
        assert FrozenMapping({"a": foreign}) != {"a": 1.0}
    assert FrozenMapping({"a": "x"}) != 3
    for other in ({"a": np.array(["x"])}, {"a": np.array([None])}):
        assert FrozenMapping(other) == {"a": other["a"].copy()}
    with pytest.raises(TypeError, match="unhashable"):
        hash(zero)
