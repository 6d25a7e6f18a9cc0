"""Numbers that carry a unit: a time becomes seconds, rounded once, and everything else is refused, at every door."""

import datetime
import math
from fractions import Fraction

import astropy.units as u
import neo
import numpy as np
import pint
import pytest
import quantities as pq
import scipy.sparse as sp
from hypothesis import given as drawn
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.adapters.arrays import array_problem
from eventsolve.certify import certify
from eventsolve.checks import index_vector, real, real_array, seconds, seconds_array
from eventsolve.compare.matching import match_spikes
from eventsolve.io.datasets import encode_latency, encode_steps
from eventsolve.io.neo import from_neo, to_neo
from eventsolve.io.nir import to_nir
from eventsolve.io.pynn import from_events
from eventsolve.multiprecision import problem
from eventsolve.testing import assert_spikes_match, check_implementation, strategies

REGISTRY = pint.UnitRegistry()

MILLISECONDS = {
    "quantities": lambda x: x * pq.ms,
    "pint": lambda x: REGISTRY.Quantity(x, "ms"),
    "astropy": lambda x: x * u.ms,
}
VOLTS = {
    "quantities": lambda x: x * pq.mV,
    "pint": lambda x: REGISTRY.Quantity(x, "mV"),
    "astropy": lambda x: x * u.mV,
}
of_any_library = pytest.mark.parametrize("library", MILLISECONDS)


@of_any_library
@drawn(st.integers(0, 10**9))
def test_whole_milliseconds_are_the_nearest_double(library, count):
    assert seconds("t", MILLISECONDS[library](count)) == float(f"{count}e-3")
    assert seconds_array("t", [MILLISECONDS[library](count)]).tolist() == [float(f"{count}e-3")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (9.0 * pq.us, 9e-6),
        (9 * pq.ns, 9e-9),
        (1.5 * pq.min, 90.0),
        (2 * pq.hour, 7200.0),
        (3 * pq.s, 3.0),
        (7 * pq.CompoundUnit("0.1*ms"), 7e-4),
        (9 * pq.ms * pq.mV / pq.V, 9e-6),
        (9 * REGISTRY.microsecond, 9e-6),
        (2 * REGISTRY.hour, 7200.0),
        (7 * u.us, 7e-6),
        (1 * u.d, 86400.0),
        (datetime.timedelta(milliseconds=9), 9e-3),
        (np.timedelta64(9, "ms"), 9e-3),
        (np.timedelta64(3, "10us"), 3e-5),
        (np.timedelta64(2**62 + 1, "ns"), float(Fraction(2**62 + 1, 10**9))),
        (math.inf * pq.ms, math.inf),
        (0.009, 0.009),
        (np.float32(0.5), 0.5),
    ],
)
def test_times_of_any_unit(given, expected):
    assert seconds("t", given) == expected


def test_durations_without_a_time_are_nan_and_calendars_are_refused():
    assert np.isnan(seconds_array("t", np.array(["NaT", 1], dtype="m8[s]"))[0])
    for given in (np.timedelta64(1, "Y"), np.timedelta64(1)):
        with pytest.raises(ValueError, match=r"^t must be .* unit of time; got "):
            seconds("t", given)
    with pytest.raises(ValueError, match=r"^t must be a number of seconds; "):
        seconds("t", np.datetime64("2020-01-01"))


@of_any_library
@pytest.mark.parametrize("shape", [(3,), (1, 3), (0,), (2, 2, 2)])
def test_arrays_keep_their_shape(library, shape):
    values = np.arange(np.prod(shape)).reshape(shape) + 9.0
    given = MILLISECONDS[library](values)
    assert seconds_array("t", given).tolist() == (values / 1000).tolist()
    assert (given == MILLISECONDS[library](values)).all()  # the caller's own stays as it is


@of_any_library
def test_units_are_found_deep_in_lists(library):
    with_unit, volts = MILLISECONDS[library], VOLTS[library]
    deep = [[(0.5, with_unit(5))], [[with_unit(6), 0.0]]]
    assert seconds_array("t", deep).tolist() == [[[0.5, 0.005]], [[0.006, 0.0]]]
    for given in ([[0.0, volts(5)]], [volts(np.array([5.0]))]):
        with pytest.raises(ValueError, match=r"^t must be .* unit of time; got .*5"):
            seconds_array("t", given)
    for given in (deep, with_unit(1), [volts(5)]):
        with pytest.raises(ValueError, match=r"^x must be numbers, without a unit; got "):
            real_array("x", given)
        with pytest.raises(ValueError, match=r"^k must be a vector of integers, without a unit; got "):
            index_vector("k", given, 9)


def test_a_table_with_a_column_called_unit_is_not_a_unit():
    class Table(list):
        def __getattr__(self, name):
            return "V" if name in ("unit", "units", "dimensions") else super().__getattribute__(name)

    assert real_array("x", Table([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert real("x", u.Quantity(1).value) == 1.0


# -- every door --------------------------------------------------------------------------------------------------------

LIF = {"tau_mem": 20e-3, "tau_syn": 5e-3}


def one_neuron(weight=9.0, **connect):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(**LIF))
    net.connect("in", "out", weight, **connect)
    return net


def solved():
    return es.solve(one_neuron([[9.0]]), {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 50e-3)


def seen(loss):
    value, grads = es.value_and_grad(solved(), loss)
    return value, grads.weight["in", "out"].tolist()


def block(times):
    segment = neo.Segment()
    segment.spiketrains.append(neo.SpikeTrain(times, t_stop=0.1 * pq.s))
    whole = neo.Block()
    whole.segments.append(segment)
    return whole


TIMES = {
    "SpikeTrains": lambda t: es.SpikeTrains(t([5, 9]), [0, 0], [0, 0], 1, 1).times,
    "from_arrays": lambda t: es.SpikeTrains.from_arrays(t([5, 9]), [0, 0], n_neurons=1).times,
    "from_lists": lambda t: es.SpikeTrains.from_lists([[t([5, 9])], [[t(5), t(9)]]]).times,
    "from_dense": lambda t: es.SpikeTrains.from_dense(t(np.array([[5, 9]]))).times,
    "tau_mem": lambda t: es.LIF(tau_mem=t(20), tau_syn=5e-3).tau_mem,
    "tau_syn": lambda t: es.LI(tau_mem=20e-3, tau_syn=t([5, 6])).tau_syn,
    "t_ref": lambda t: es.LIF(**LIF, t_ref=[t(2), t(3)]).t_ref,
    "delay": lambda t: one_neuron([[9.0]], delay=t(1)).projections["in", "out"].delay,
    "delays": lambda t: one_neuron([[9.0]], delay=t([[1]])).projections["in", "out"].delay,
    "with_delays": lambda t: (
        one_neuron([[9.0]]).with_delays({("in", "out"): t(1)}).projections["in", "out"].delay
    ),
    "solve": lambda t: es.solve(one_neuron([[9.0]]), {"in": es.SpikeTrains.from_lists([[[]]])}, t(50)).t_end,
    "solve_first_spikes": lambda t: (
        es.solve_first_spikes(one_neuron([[9.0]]), {"in": solved().spikes["in"]}, t(50), "out").t_end
    ),
    "voltage": lambda t: solved().voltage("out", t([2, 9])),
    "current": lambda t: solved().current("out", [t(2), 0.009]),
    "adjoint": lambda t: es.adjoint_states(solved(), es.losses.TargetTimeMSE("out", [[0.01]])).voltage(
        "out", t([2, 9])
    ),
    "tau0": lambda t: seen(es.losses.TTFSCrossEntropy("out", [0], tau0=t(1), tau1=t(6), alpha=3e-3)),
    "targets": lambda t: seen(es.losses.TargetTimeMSE("out", t([[9]]))),
    "gap": lambda t: es.losses.RelativeMSE("out", [0], gap=t(9)).gap,
    "times of SampledVoltage": lambda t: (
        es.losses.SampledVoltage("out", t([2, 9]), lambda v: (v.sum(axis=(1, 2)), np.ones_like(v))).times
    ),
    "voltage_times": lambda t: (
        array_problem(one_neuron([[9.0]]), t(50), voltage_times=t([1, 9])).voltage_times
    ),
    "radii": lambda t: certify(solved(), radii={"delay": t(1e-9), "spike_times": t(1e-9)}).spike_times["out"],
    "tolerance": lambda t: certify(solved(), tolerance=t(1e-9)).tolerance,
    "trust_radius": lambda t: (
        es.trust_radius(solved(), {"delay": {("in", "out"): t(1)}}, certify=False).radius
    ),
    "to_neo": lambda t: float(to_neo(solved().spikes["in"], t_stop=t(50)).segments[0].spiketrains[0].t_stop),
    "encode_latency": lambda t: encode_latency([[0.5, 1.0]], t(1), t(9)).times,
    "encode_steps": lambda t: encode_steps([[0.5, 1.0]], step=t(1)).times,
    "match_spikes": lambda t: match_spikes("in", solved().spikes["in"], solved().spikes["in"], t(1)).window,
    "multiprecision": lambda t: float(
        problem(one_neuron([[9.0]]), {"in": solved().spikes["in"]}, t(50)).t_end
    ),
    "to_nir": lambda t: float(to_nir(one_neuron([[9.0]]), time_unit=t(1)).nodes["out"].tau_mem[0]),
    "assert_spikes_match": lambda t: assert_spikes_match(solved(), solved(), atol=t(1), time_step=t(1)),
}


@of_any_library
@pytest.mark.parametrize("door", TIMES)
def test_a_time_may_carry_its_unit(door, library):
    plain = TIMES[door](lambda x: np.asarray(x) / 1000)
    np.testing.assert_equal(TIMES[door](MILLISECONDS[library]), plain)
    with pytest.raises(ValueError, match=r"(?s)must be .*, or carry a unit of time; got .*\d"):
        TIMES[door](VOLTS[library])


def weighted(x):
    return es.losses.SampledVoltage("out", [9e-3], lambda v: (v[:, 0, 0], x(np.ones_like(v))))


NUMBERS = {
    "v_threshold": lambda x: es.LIF(**LIF, v_threshold=x(1)),
    "v_leak": lambda x: es.LI(**LIF, v_leak=x([0.1, 0.2])),
    "weight": lambda x: one_neuron(x([[9.0]])),
    "weights in a list": lambda x: one_neuron([[x(9.0)]]),
    "with_weights": lambda x: one_neuron([[9.0]]).with_weights({("in", "out"): x([[9.0]])}),
    "neurons": lambda x: es.SpikeTrains([5e-3], x([0]), [0], 1, 1),
    "cotangents": lambda x: es.vjp(solved(), {"out": x(np.ones(solved().spikes["out"].n_spikes))}),
    "alpha": lambda x: es.losses.TTFSCrossEntropy("out", [0], tau0=1e-3, tau1=6e-3, alpha=x(3e-3)),
    "labels": lambda x: es.losses.MaxVoltageCrossEntropy("out", x([0])),
    "losses": lambda x: seen(es.losses.SpikeTimeLoss(lambda s: (x([0.0]), {}))),
    "derivative": lambda x: seen(es.losses.SpikeTimeLoss(lambda s: ([0.0], {"out": x(s["out"].times)}))),
    "slopes": lambda x: seen(weighted(x)),
    "running": lambda x: seen(es.losses.RunningLoss("out", lambda v, t, k: (x(v[0]), np.ones_like(v)))),
    "target": lambda x: seen(es.losses.TrajectoryMSE("out", lambda t, k: x(np.ones((1, t.size))))),
    "weighting": lambda x: seen(es.losses.MeanVoltageCrossEntropy("out", [0], weighting=lambda t: x(t))),
    "radii": lambda x: certify(solved(), radii={"weight": x(1e-9)}),
    "of": lambda x: es.trust_radius(solved(), {"weight": {("in", "out"): x(1)}}, certify=False),
    "points": lambda x: encode_latency(x([[0.5]])),
    "events": lambda x: from_events(x([[0, 9.0]]), n_neurons=1),
    "rtol": lambda x: check_implementation(dict, None, spikes_atol=0.0, rtol=x(1e-3)),
    "min_slope": lambda x: strategies.problems(min_slope=x(0.1)),
}


@of_any_library
@pytest.mark.parametrize("door", NUMBERS)
def test_any_other_number_must_not_carry_a_unit(door, library):
    for with_unit in (VOLTS[library], MILLISECONDS[library]):
        with pytest.raises(ValueError, match=r"(?s)must be .*, without a unit; got "):
            NUMBERS[door](with_unit)


def test_a_neo_train_in_milliseconds_is_in_milliseconds():
    train = neo.SpikeTrain([5, 7, 9] * pq.ms, t_stop=10 * pq.ms)
    assert es.SpikeTrains.from_lists([[train]]).times.tolist() == [0.005, 0.007, 0.009]
    assert from_events([[0, 9.0]], n_neurons=1).times.tolist() == [0.009]
    assert from_neo(block([9, 5] * pq.ms)).times.tolist() == [0.005, 0.009]


def test_sparse_weights_hold_plain_numbers():
    matrix = sp.csr_array(np.array([[9.0]]))
    matrix.data = matrix.data * pq.mV
    with pytest.raises(ValueError, match=r"weight of .* without a unit"):
        one_neuron(matrix)
