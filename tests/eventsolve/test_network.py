"""Networks hold what they were given, in a fixed order, and refuse anything else, saying what and where."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es
from eventsolve import LI, LIF, Network

NAN, INF = math.nan, math.inf
LIF_PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")
WEIGHT = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
"""From the three channels of "in" to the two neurons of "out"."""


def saying(*words):
    """Match a message that holds every one of the words."""
    return "".join(f"(?=.*{re.escape(word)})" for word in words)


def lif(**changes):
    return LIF(**({"tau_mem": 20e-3, "tau_syn": 5e-3} | changes))


def unconnected(n_in=3, n_out=2):
    net = Network()
    net.add_input("in", n_in)
    net.add_population("out", n_out, lif())
    return net


def connected(weight=WEIGHT, **options):
    net = unconnected()
    net.connect("in", "out", weight, **options)
    return net


def only(net):
    (projection,) = net.projections.values()
    return projection


def entries(weight):
    """Stored entries of a sparse weight as {(post, pre): value}."""
    coo = weight.tocoo()
    return dict(zip(zip(coo.row.tolist(), coo.col.tolist(), strict=True), coo.data.tolist(), strict=True))


# -- neuron parameters -------------------------------------------------------------------------------------------------

NO_NUMBERS = [
    ("20e-3", "'20e-3'"),
    (True, "True"),
    (2j, "2j"),
    (None, "None"),
    ({}, "{}"),
    (Decimal("0.01"), "Decimal('0.01')"),
    (["1.0", "2.0"], "entry [0] is '1.0'"),
    ([1.0, None], "entry [1] is None"),
    (np.array([True, True]), "entry [0] is True"),
    (np.array([1.0, 2j]), "entry [1] is 2j"),
    (np.ma.array([1.0, 2.0], mask=[0, 1]), "entry [1] is masked"),
    ([1.0, [2.0, 3.0]], "[1.0, [2.0, 3.0]]"),
    ([[1.0, 2.0]], "(1, 2)"),
    (sp.csr_array([[1.0]]), "Sparse"),
    (10**400, "100000"),
    (NAN, "it is nan"),
    (INF, "it is inf"),
    (-INF, "it is -inf"),
    ([1.0, NAN], "entry [1] is nan"),
    ([INF, 1.0], "entry [0] is inf"),
]


@pytest.mark.parametrize("name", LIF_PARAMETERS)
@pytest.mark.parametrize(("value", "said"), NO_NUMBERS)
def test_lif_parameters_are_finite_real_numbers(name, value, said):
    with pytest.raises(ValueError, match=saying(name, said)):
        lif(**{name: value})


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "v_leak"])
@pytest.mark.parametrize(("value", "said"), NO_NUMBERS)
def test_li_parameters_are_finite_real_numbers(name, value, said):
    with pytest.raises(ValueError, match=saying(name, said)):
        LI(**({"tau_mem": 20e-3, "tau_syn": 5e-3} | {name: value}))


@pytest.mark.parametrize("neuron", [LIF, LI])
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn"])
@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "it is 0.0"), (-1e-3, "-0.001"), ([1e-3, -0.0], "[1] is -0.0")]
)
def test_time_constants_are_positive(neuron, name, value, said):
    with pytest.raises(ValueError, match=saying(name, "> 0", said)):
        neuron(**({"tau_mem": 20e-3, "tau_syn": 5e-3} | {name: value}))


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "0.0"), (-1.0, "-1.0"), ([1.0, -2.0], "entry [1] is -2.0")]
)
def test_threshold_is_positive(value, said):
    with pytest.raises(ValueError, match=saying("v_threshold", "> 0", said)):
        lif(v_threshold=value)


@pytest.mark.parametrize(("value", "said"), [(-1e-3, "-0.001"), ([0.0, -2.0], "entry [1] is -2.0")])
def test_refractory_period_is_not_negative(value, said):
    with pytest.raises(ValueError, match=saying("t_ref", ">= 0", said)):
        lif(t_ref=value)


@pytest.mark.parametrize(
    ("threshold", "reset", "said"),
    [
        (1.0, 1.0, ("v_reset 1.0", "v_threshold 1.0")),
        (1.0, 1.5, ("v_reset 1.5", "v_threshold 1.0")),
        ([1.0, 2.0], 1.5, ("v_reset 1.5", "v_threshold 1.0", "neuron 0")),
        (1.0, [0.0, 1.25], ("v_reset 1.25", "v_threshold 1.0", "neuron 1")),
        ([1.0, 2.0], [0.5, 2.5], ("v_reset 2.5", "v_threshold 2.0", "neuron 1")),
    ],
)
def test_reset_is_below_threshold(threshold, reset, said):
    with pytest.raises(ValueError, match=saying("v_reset must be below v_threshold", *said)):
        lif(v_threshold=threshold, v_reset=reset)


def test_parameters_per_neuron_have_one_length():
    with pytest.raises(ValueError, match=saying("tau_mem", "t_ref", "one length", "(2,)", "(3,)")):
        lif(tau_mem=[1e-3, 2e-3], t_ref=[0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "value",
    [
        (0.5, 0.25),
        np.array([0.5, 0.25], np.float32),
        np.array([Fraction(1, 2), 0.25], object),
        np.ma.array([0.5, 0.25]),
    ],
)
def test_any_sequence_of_real_numbers_is_a_parameter(value):
    parameter = lif(tau_mem=value).tau_mem
    assert parameter.tolist() == [0.5, 0.25]
    assert type(parameter) is np.ndarray
    assert parameter.dtype == np.float64


def test_parameters_reach_every_neuron():
    net = Network()
    net.add_population("a", 2, lif(v_leak=[0.1, 0.2], t_ref=np.float32(0.5)))
    net.add_population("r", 2, LI(1e-2, [1e-3, 2e-3]))
    assert net.population("a").parameter("v_leak").tolist() == [0.1, 0.2]
    assert net.population("a").parameter("t_ref").tolist() == [0.5, 0.5]
    assert net.population("r").parameter("tau_syn").tolist() == [1e-3, 2e-3]
    assert net.population("r").parameter("v_threshold").tolist() == [INF, INF]


def test_the_callers_parameters_are_neither_frozen_nor_aliased():
    tau = np.array([1e-3, 2e-3])
    neuron = lif(tau_mem=tau)
    tau[...] = 9.0
    assert neuron.tau_mem.tolist() == [1e-3, 2e-3]
    with pytest.raises(ValueError, match="read-only"):
        neuron.tau_mem[0] = 1.0
    with pytest.raises(AttributeError):
        neuron.tau_mem = 1.0


# -- populations -------------------------------------------------------------------------------------------------------

ADD = {
    "input": lambda net, name, size: net.add_input(name, size),
    "population": lambda net, name, size: net.add_population(name, size, lif()),
}


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
@pytest.mark.parametrize("name", ["", None, 3, True, NAN, b"a", ["a"], ("a",)])
def test_population_names_are_text(add, name):
    net = Network()
    with pytest.raises(ValueError, match=saying("name of a population", repr(name))):
        add(net, name, 2)
    assert not net.populations


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
@pytest.mark.parametrize("size", [-1, 2.0, NAN, INF, True, np.True_, "2", None, 2j, [2], np.array([2])])
def test_population_sizes_are_counts(add, size):
    net = Network()
    with pytest.raises(ValueError, match=saying("size of population 'a'", repr(size))):
        add(net, "a", size)
    assert not net.populations


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
def test_population_names_are_taken_once(add):
    net = unconnected()
    for name in ("in", "out"):
        with pytest.raises(ValueError, match=saying("name", repr(name), "taken")):
            add(net, name, 2)


@pytest.mark.parametrize("neuron", [None, LIF, 20e-3, "LIF", {"tau_mem": 1.0}])
def test_neurons_are_lif_or_li(neuron):
    with pytest.raises(TypeError, match=saying("neuron of population 'a'", repr(neuron))):
        Network().add_population("a", 2, neuron)


@pytest.mark.parametrize("name", LIF_PARAMETERS)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_parameters_have_the_size_of_the_population(name, size):
    neuron = lif(**{name: np.array([0.5, 0.25])})
    with pytest.raises(ValueError, match=saying(name, "population 'a'", f"({size},)", "(2,)")):
        Network().add_population("a", size, neuron)


def test_sizes_of_numpy_are_counts():
    net = Network()
    net.add_input("in", np.int32(3))
    assert net.population("in").size == 3
    assert type(net.population("in").size) is int


@pytest.mark.parametrize("name", ["ghost", "", None, 3, ["in"]])
def test_asking_for_a_population_that_is_not(name):
    with pytest.raises(ValueError, match=saying(repr(name), "['in', 'out']")):
        unconnected().population(name)
    with pytest.raises(ValueError, match=saying(repr(name), "['in', 'out']")):
        unconnected().afferents(name)


# -- names and keys of projections -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ghost", "", None, 3, NAN, ["in"]])
def test_connect_wants_populations_that_exist(name):
    net = unconnected()
    with pytest.raises(ValueError, match=saying("pre", repr(name), "['in', 'out']")):
        net.connect(name, "out", WEIGHT)
    with pytest.raises(ValueError, match=saying("post", repr(name), "['in', 'out']")):
        net.connect("in", name, WEIGHT)
    assert not net.projections


def test_inputs_receive_nothing_and_readouts_send_nothing():
    net = unconnected()
    net.add_population("readout", 2, LI(1e-2, 1e-3))
    with pytest.raises(ValueError, match=saying("post 'in'", "input")):
        net.connect("out", "in", np.ones((3, 2)))
    with pytest.raises(ValueError, match=saying("pre 'readout'", "LI")):
        net.connect("readout", "out", np.ones((2, 2)))


@pytest.mark.parametrize("name", ["", 3, True, NAN, ["fast"], ("fast",)])
def test_names_of_projections_are_text(name):
    with pytest.raises(ValueError, match=saying("name of a projection", repr(name))):
        unconnected().connect("in", "out", WEIGHT, name=name)


@pytest.mark.parametrize("name", [None, "fast"])
def test_keys_are_taken_once(name):
    net = connected(name=name)
    key = ("in", "out") if name is None else ("in", "out", "fast")
    with pytest.raises(ValueError, match=saying(repr(key), "connected already")):
        net.connect("in", "out", WEIGHT, name=name)
    net.connect("in", "out", WEIGHT, name="other")
    assert list(net.projections) == [key, ("in", "out", "other")]


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ([[1.0, 2.0, 3.0], [4.0, NAN, 6.0]], "entry [1, 1] is nan"),
        ([[1.0, 2.0, INF], [4.0, 5.0, 6.0]], "entry [0, 2] is inf"),
        ([[1.0, 2.0, 3.0], [-INF, 5.0, 6.0]], "entry [1, 0] is -inf"),
        ([[1.0, 2.0, 3.0], [4.0, "5", 6.0]], "entry [1, 1] is '5'"),
        ([[1.0, 2.0, 3.0], [4.0, None, 6.0]], "entry [1, 1] is None"),
        ([[1.0, 2.0, 3.0], [4.0, 5j, 6.0]], "entry [1, 1] is 5j"),
        (np.ones((2, 3)) + 1j, "entry [0, 0] is (1+1j)"),
        (np.ones((2, 3), bool), "entry [0, 0] is True"),
        (np.ma.masked_equal(WEIGHT, 5.0), "entry [1, 1] is masked"),
        ([[1.0, 2.0, 3.0], [4.0]], "[[1.0, 2.0, 3.0], [4.0]]"),
        (1.0, "()"),
        ([1.0, 2.0, 3.0], "(3,)"),
        (np.ones((3, 2)), "(3, 2)"),
        (np.ones((1, 3)), "(1, 3)"),
        (np.ones((2, 3, 1)), "(2, 3, 1)"),
        ([], "(0,)"),
        (None, "None"),
        ("ones", "'ones'"),
    ],
)
def test_dense_weights(weight, said):
    net = unconnected()
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", said)):
        net.connect("in", "out", weight)
    assert not net.projections
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", said)):
        connected().with_weights({("in", "out"): weight})


@pytest.mark.parametrize("layout", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (np.array([[0.0, 2.0, 0.0], [4.0, NAN, 6.0]]), "entry [1, 1] is nan"),
        (np.array([[0.0, 0.0, INF], [0.0, 0.0, 0.0]]), "entry [0, 2] is inf"),
        (np.eye(3), "(3, 3)"),
        (np.eye(2, 3, dtype=bool), "bool"),
        (np.eye(2, 3) * 1j, "complex128"),
    ],
)
def test_sparse_weights(layout, weight, said):
    weight = sp.coo_array(weight).asformat(layout)
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", said)):
        unconnected().connect("in", "out", weight)


def test_one_dimensional_sparse_weight():
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", "(3,)")):
        unconnected().connect("in", "out", sp.coo_array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float32, np.longdouble, object])
def test_weights_of_any_real_type(dtype):
    assert np.array_equal(only(connected(np.array(WEIGHT, dtype))).weight, WEIGHT)
    if dtype not in (object, np.float16):
        assert np.array_equal(only(connected(sp.csr_array(np.array(WEIGHT, dtype)))).weight.toarray(), WEIGHT)


@pytest.mark.parametrize("given", [np.asfortranarray(WEIGHT), np.matrix(WEIGHT), np.ma.array(WEIGHT)])
def test_weights_of_any_layout_are_kept_by_rows(given):
    projection = only(connected(given))
    assert type(projection.weight) is np.ndarray
    assert projection.weights.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert projection.sources.tolist() == [0, 1, 2, 0, 1, 2]
    assert projection.row_offsets.tolist() == [0, 3, 6]


@pytest.mark.parametrize("kind", [sp.coo_array, sp.coo_matrix])
def test_sparse_duplicates_are_summed(kind):
    net = connected(kind(([1.0, 2.0, 4.0], ([1, 0, 1], [2, 0, 2])), shape=(2, 3)))
    assert entries(only(net).weight) == {(0, 0): 2.0, (1, 2): 5.0}


def test_duplicates_within_compressed_rows_are_summed():
    weight = sp.csr_array(([1.0, 2.0, 4.0], [2, 0, 2], [0, 1, 3]), shape=(2, 3))
    weight = sp.csr_array((weight.data, [2, 2, 2], weight.indptr), shape=(2, 3))
    before = weight.nnz
    assert entries(only(connected(weight)).weight) == {(0, 2): 1.0, (1, 2): 6.0}
    assert weight.nnz == before


def test_duplicates_are_found_behind_an_outdated_flag():
    weight = sp.csr_array(([1.0, 2.0], [1, 2], [0, 2, 2]), shape=(2, 3))
    assert weight.has_canonical_format
    weight.indices[:] = [2, 2]
    assert entries(only(connected(weight)).weight) == {(0, 2): 3.0}


@pytest.mark.parametrize("layout", ["coo", "csc", "csr"])
def test_stored_zeros_are_synapses(layout):
    weight = sp.coo_array(([0.0, 2.0], ([1, 0], [2, 0])), shape=(2, 3)).asformat(layout)
    assert entries(only(connected(weight)).weight) == {(0, 0): 2.0, (1, 2): 0.0}


def test_entries_that_cancel_are_a_synapse():
    projection = only(connected(sp.coo_array(([1.0, -1.0], ([1, 1], [2, 2])), shape=(2, 3))))
    assert entries(projection.weight) == {(1, 2): 0.0}


@given(
    st.dictionaries(st.tuples(st.integers(0, 1), st.integers(0, 2)), st.integers(-5, 5)),
    st.sampled_from(["coo", "csc", "csr"]),
    st.randoms(use_true_random=False),
)
def test_sparse_weights_are_rows_in_order(stored, layout, random):
    order = list(stored.items())
    random.shuffle(order)
    rows, columns = [k[0] for k, _ in order], [k[1] for k, _ in order]
    given = sp.coo_array(
        (np.array([w for _, w in order], float), (np.array(rows, int), np.array(columns, int))), shape=(2, 3)
    )
    projection = only(connected(given.asformat(layout)))
    expected = sorted(stored.items())
    rows = np.repeat(np.arange(2), np.diff(projection.row_offsets))
    found = zip(rows.tolist(), projection.sources.tolist(), projection.weights.tolist(), strict=True)
    assert list(found) == [(post, pre, w) for (post, pre), w in expected]
    assert entries(projection.shaped(projection.weights)) == stored


# -- delays ------------------------------------------------------------------------------------------------------------

SPARSE = sp.coo_array(([1.0, 2.0], ([1, 0], [2, 0])), shape=(2, 3))


def sparse_delay(*values):
    return sp.coo_array((np.array(values), ([1, 0], [2, 0])), shape=(2, 3))


@pytest.mark.parametrize(
    ("weight", "delay", "said"),
    [
        (WEIGHT, -1e-3, "it is -0.001"),
        (WEIGHT, NAN, "it is nan"),
        (WEIGHT, INF, "it is inf"),
        (WEIGHT, "1e-3", "'1e-3'"),
        (WEIGHT, True, "True"),
        (WEIGHT, 1j, "1j"),
        (WEIGHT, None, "None"),
        (WEIGHT, [[0.0] * 3, [0.0, -2.0, 0.0]], "entry [1, 1] is -2.0"),
        (WEIGHT, [[0.0] * 3, [0.0, NAN, 0.0]], "entry [1, 1] is nan"),
        (WEIGHT, [[0.0] * 3, [INF, 0.0, 0.0]], "entry [1, 0] is inf"),
        (WEIGHT, [[0.0] * 3, [0.0]], "[[0.0, 0.0, 0.0], [0.0]]"),
        (WEIGHT, np.zeros(3), "(3,)"),
        (WEIGHT, [0.0], "(1,)"),
        (WEIGHT, np.zeros((3, 2)), "(3, 2)"),
        (WEIGHT, np.zeros((1, 1)), "(1, 1)"),
        (WEIGHT, np.ma.masked_all((2, 3)), "entry [0, 0] is masked"),
        (WEIGHT, sparse_delay(0.1, 0.2), "sparse"),
        (SPARSE, -1e-3, "it is -0.001"),
        (SPARSE, np.zeros((2, 3)), "(2, 3)"),
        (SPARSE, np.zeros(2), "(2,)"),
        (SPARSE, sparse_delay(-0.5, 0.2), "entry [1, 2] is -0.5"),
        (SPARSE, sparse_delay(0.1, NAN), "entry [0, 0] is nan"),
        (SPARSE, sparse_delay(0.1, INF), "entry [0, 0] is inf"),
        (SPARSE, sparse_delay(1j, 0.0), "complex128"),
        (SPARSE, sparse_delay(0.1, 0.2).T, "(3, 2)"),
        (SPARSE, sp.coo_array(([0.1], ([1], [2])), shape=(2, 3)), "1 stored entries"),
        (SPARSE, sp.coo_array(([0.1, 0.2], ([1, 0], [2, 1])), shape=(2, 3)), "exactly the synapses"),
        (SPARSE, sp.coo_array(([0.1, 0.2, 0.3], ([1, 0, 0], [2, 0, 0])), shape=(2, 3)), "3 stored entries"),
        (SPARSE, sp.csr_array(([0.2, 0.3, 0.1], [0, 0, 2], [0, 2, 3]), shape=(2, 3)), "3 stored entries"),
    ],
)
def test_delays(weight, delay, said):
    net = unconnected()
    with pytest.raises(ValueError, match=saying("delay of ('in', 'out')", said)):
        net.connect("in", "out", weight, delay=delay)
    assert not net.projections
    with pytest.raises(ValueError, match=saying("delay of ('in', 'out')", said)):
        connected(weight).with_delays({("in", "out"): delay})


def test_one_delay_reaches_every_synapse():
    assert only(connected(delay=1e-3)).delay.tolist() == [1e-3] * 6
    assert only(connected(SPARSE, delay=np.float32(0.5))).delay.tolist() == [0.5] * 2


@pytest.mark.parametrize("layout", ["coo", "csc", "csr", "dok", "lil"])
def test_delays_follow_their_synapses(layout):
    given = sparse_delay(0.25, 0.5).asformat(layout)
    assert only(connected(SPARSE, delay=given)).delay.tolist() == [0.5, 0.25]
    dense = np.arange(6.0).reshape(2, 3)
    assert only(connected(delay=np.asfortranarray(dense))).delay.tolist() == list(range(6))


def test_stored_zero_delays_are_delays():
    assert only(connected(SPARSE, delay=sparse_delay(0.0, 0.0))).delay.tolist() == [0.0, 0.0]


# -- nothing there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 2), (3, 0), (0, 0)])
def test_no_neurons(n_in, n_out):
    shape = (n_out, n_in)
    for weight in (np.zeros(shape), [], sp.csr_array(shape)):
        for delay in (0.0, weight):
            net = unconnected(n_in, n_out)
            net.connect("in", "out", weight, delay=delay)
            projection = only(net)
            assert projection.weight.shape == shape
            assert projection.weights.size == projection.delay.size == projection.sources.size == 0
            assert projection.row_offsets.tolist() == [0] * (n_out + 1)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.1]] * n_in])}, 1.0)
    assert solution.spikes["out"].n_spikes == 0


def test_weights_without_entries_still_have_a_shape():
    net = unconnected(3, 0)
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", "(0, 3)", "(4, 0)")):
        net.connect("in", "out", np.zeros((4, 0)))


def test_no_connections_and_no_populations():
    assert unconnected().projections == {}
    assert unconnected().afferents("out") == []
    assert Network().populations == {}
    assert repr(Network()) == "Network(0 populations, 0 projections)"
    inputs = {"in": es.SpikeTrains.from_lists([[[0.1], [], []]])}
    assert es.solve(unconnected(), inputs, 1.0).spikes["out"].n_spikes == 0


# -- copies ------------------------------------------------------------------------------------------------------------


def two_sources(names):
    """Connect sources to "out" in the given order, which need not be the order in which they were added."""
    net = Network()
    for name in ("a", "b", "c"):
        net.add_input(name, 1)
    net.add_population("out", 1, lif())
    for k, (pre, name) in enumerate(names):
        net.connect(pre, "out", [[float(k)]], name=name)
    return net


@given(st.permutations([("a", None), ("b", None), ("c", None), ("a", "again"), ("c", "again")]))
def test_copies_keep_the_order_in_which_projections_were_connected(names):
    net = two_sources(names)
    keys = [(pre, "out") if name is None else (pre, "out", name) for pre, name in names]
    copies = [
        net.with_weights({}),
        net.with_delays({keys[0]: 1.0}),
        net.with_neurons({"out": lif(t_ref=1.0)}),
    ]
    for each in (net, *copies, copies[0].with_delays({})):
        assert list(each.projections) == keys
        assert [p.weights[0] for p in each.afferents("out")] == list(range(5))


def test_with_weights_changes_weights_alone():
    net = connected(delay=1e-3)
    other = net.with_weights({("in", "out"): np.zeros((2, 3))})
    assert not only(other).weight.any()
    assert only(other).delay.tolist() == [1e-3] * 6
    assert only(net).weight.tolist() == WEIGHT


def test_with_weights_keeps_synapses():
    net = connected(SPARSE, delay=sparse_delay(0.25, 0.5))
    other = net.with_weights({("in", "out"): sp.csc_array(sparse_delay(0.0, 7.0))})
    assert entries(only(other).weight) == {(0, 0): 7.0, (1, 2): 0.0}
    assert only(other).delay.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SPARSE, WEIGHT, ("2 stored entries", "dense")),
        (WEIGHT, SPARSE, ("dense", "2 stored entries")),
        (SPARSE, sp.coo_array(([1.0], ([1], [2])), shape=(2, 3)), ("2 stored entries", "1 stored entries")),
        (SPARSE, sp.coo_array(([1.0, 1.0], ([1, 0], [2, 1])), shape=(2, 3)), ("synapses",)),
        (SPARSE, SPARSE.T, ("(2, 3)", "(3, 2)")),
    ],
)
def test_with_weights_refuses_other_synapses(old, new, said):
    with pytest.raises(ValueError, match=saying("weight of ('in', 'out')", *said)):
        connected(old).with_weights({("in", "out"): new})


@pytest.mark.parametrize("what", ["weights", "delays"])
@pytest.mark.parametrize("key", [("in", "ghost"), ("out", "in"), "in", ("in", "out", "fast"), None, 3])
def test_copies_want_keys_that_exist(what, key):
    net = connected()
    with pytest.raises(ValueError, match=saying(what, repr(key), "[('in', 'out')]")):
        getattr(net, f"with_{what}")({key: WEIGHT})


@pytest.mark.parametrize("what", ["weights", "delays", "neurons"])
@pytest.mark.parametrize("value", [None, 1.0, NAN, "in", [("in", "out")], np.ones((2, 3))])
def test_copies_want_mappings(what, value):
    with pytest.raises(TypeError, match=saying(what, "mapping", repr(value)[:20])):
        getattr(connected(), f"with_{what}")(value)


def test_with_neurons_changes_neurons_alone():
    net = connected(delay=1e-3)
    other = net.with_neurons({"out": lif(v_leak=[0.1, 0.2])})
    assert other.population("out").parameter("v_leak").tolist() == [0.1, 0.2]
    assert net.population("out").parameter("v_leak").tolist() == [0.0, 0.0]
    assert only(other) is only(net)
    assert list(other.populations) == list(net.populations)


@pytest.mark.parametrize("name", ["ghost", "", None, 3])
def test_with_neurons_wants_populations_that_exist(name):
    with pytest.raises(ValueError, match=saying(repr(name), "['in', 'out']")):
        connected().with_neurons({name: lif()})


def test_with_neurons_refuses_what_does_not_fit():
    net = connected()
    with pytest.raises(ValueError, match=saying("neurons", "'in'", "input")):
        net.with_neurons({"in": lif()})
    with pytest.raises(ValueError, match=saying("tau_mem", "'out'", "(2,)", "(3,)")):
        net.with_neurons({"out": lif(tau_mem=[1.0, 2.0, 3.0])})
    with pytest.raises(TypeError, match=saying("neuron of population 'out'", "20")):
        net.with_neurons({"out": 20})


def test_with_neurons_refuses_a_readout_that_projects():
    net = connected()
    assert isinstance(net.with_neurons({"out": LI(1e-2, 1e-3)}).population("out").neuron, LI)
    net.add_population("next", 1, lif())
    net.connect("out", "next", np.ones((1, 2)))
    with pytest.raises(ValueError, match=saying("neurons['out']", "LI", "no spikes")):
        net.with_neurons({"out": LI(1e-2, 1e-3)})


# -- read-only ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.array, sp.csr_array, sp.csc_array, sp.coo_array])
def test_the_callers_arrays_are_neither_frozen_nor_aliased(kind):
    weight, delay = kind(np.array(WEIGHT)), kind(np.array(WEIGHT))
    net = connected(weight, delay=delay)
    other = net.with_weights({("in", "out"): weight}).with_delays({("in", "out"): delay})
    for mine in (weight, delay):
        (mine if kind is np.array else mine.data)[...] = 9.0
    if kind in (sp.csr_array, sp.csc_array):
        weight.indices[...] = 0
        weight.indptr[...] = 0
    for each in (net, other):
        assert only(each).weights.tolist() == only(each).delay.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert only(each).sources.tolist() == [0, 1, 2, 0, 1, 2]
        assert only(each).row_offsets.tolist() == [0, 3, 6]


@pytest.mark.parametrize("weight", [WEIGHT, sp.csr_array(WEIGHT)])
def test_weights_and_delays_are_read_only(weight):
    projection = only(connected(weight))
    arrays = [projection.weights, projection.delay]
    if sp.issparse(weight):
        arrays += [projection.weight.data, projection.weight.indices, projection.weight.indptr]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        projection.weight[0, 0] = 1.0
    with pytest.raises(AttributeError):
        projection.weight = None


def test_the_graph_is_a_copy_that_cannot_be_changed():
    net = connected()
    graph = net.graph
    assert list(graph.nodes) == ["in", "out"]
    assert graph.edges["in", "out", ("in", "out")]["projection"] is only(net)
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        graph.add_node("more")
    graph.nodes["in"]["population"] = None
    assert net.population("in").size == 3


@pytest.mark.parametrize("freeze", [Network.freeze, lambda net: es.solve(net, silence(), 1.0)])
def test_solved_networks_cannot_be_changed(freeze):
    net = connected()
    freeze(net)
    for change in (
        lambda: net.add_input("more", 1),
        lambda: net.add_population("more", 1, lif()),
        lambda: net.connect("in", "out", WEIGHT, name="more"),
    ):
        with pytest.raises(RuntimeError, match=saying("cannot be changed", "with_weights")):
            change()
    assert repr(net).startswith("Network(2 populations, 1 projection)")
    for other in (net.with_weights({}), net.with_delays({}), net.with_neurons({})):
        other.add_input("more", 1)
        assert "more" in other.populations
    assert "more" not in net.populations


def silence():
    return {"in": es.SpikeTrains.from_lists([[[], [], []]])}


def test_numbers_of_a_scale_that_kernels_cannot_multiply_are_refused():
    for name, value in (("tau_mem", 1e-61), ("tau_syn", 1e-160), ("tau_mem", 1e61), ("v_threshold", 1e-61)):
        with pytest.raises(
            ValueError, match=rf"{name} must be from 2\*\*-200 to 2\*\*200, .*{re.escape(repr(value))}"
        ):
            es.LIF(**{"tau_mem": 1.0, "tau_syn": 1.0, "v_reset": -1.0, "v_initial": -1.0} | {name: value})
    for name in ("v_leak", "i_initial", "v_reset"):
        with pytest.raises(ValueError, match=rf"{name} must be at most 2\*\*200 in size; it is -1e\+61"):
            es.LIF(tau_mem=1.0, tau_syn=1.0, **{name: -1e61})
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(1.0, 1.0, v_leak=-1e-300, t_ref=1e300))
    with pytest.raises(
        ValueError, match=r"weight of .* must be at most 2\*\*200 in size; entry \[0, 0\] is 1e\+61"
    ):
        net.connect("in", "out", [[1e61]])
    net.connect("in", "out", [[5e-324]], delay=1e300)
    with pytest.raises(ValueError, match=r"t_end must be at most 2\*\*200 s"):
        es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 1e61)
    for name in ("tau0", "tau1"):
        with pytest.raises(ValueError, match=rf"{name} must be from 2\*\*-200 to 2\*\*200 s; got 1e-61"):
            es.losses.TTFSCrossEntropy("out", [0], **{"tau0": 1.0, "tau1": 1.0, "alpha": 0.0} | {name: 1e-61})
