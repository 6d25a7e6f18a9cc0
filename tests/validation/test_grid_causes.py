"""Is a time-stepped network with all its approximations itself, and without any as exact as its fine grid?"""

from dataclasses import replace

import numpy as np
import pytest
from cores import chain_problem

import eventsolve as es
from eventsolve.io.records import Record
from validation.attribution import Ablation
from validation.fixedpoint import FixedFormat
from validation.grid import TimeStepped
from validation.grid.causes import FINER, Loaded
from validation.grid.localisation import localised
from validation.oracle import oracle

DT = 1e-3
EVERYTHING = TimeStepped(
    DT,
    propagators="euler",
    input_rounding="up",
    transport=2,
    feedback=1,
    points="0..n-1",
    slope="threshold",
    order="current_first",
    adjoint="recursion",
    inclusive=True,
    number="s16.15",
    rounding="down",
)
PROBLEM = es.Problem(*chain_problem())


def error(record, exact):
    """Of all batch-mean gradients, relative."""
    parts = [
        (np.linalg.norm(record.weight[k].mean(axis=0) - w.mean(axis=0)), np.linalg.norm(w.mean(axis=0)))
        for k, w in exact.weight.items()
    ]
    off, size = np.linalg.norm(parts, axis=0)
    return off / size


def test_every_option_that_departs_from_the_reference_is_a_cause():
    assert list(TimeStepped(DT).causes()) == ["time_step"]
    assert set(EVERYTHING.causes()) == {
        *("time_step", "propagators", "input_rounding", "transport", "order", "slope", "adjoint"),
        *("points", "inclusive", "number", "rounding", "overflow"),
    }
    assert EVERYTHING.kept() == ("transport",)
    assert TimeStepped(DT).kept() == ()


def test_with_all_causes_it_is_itself():
    assert EVERYTHING.with_causes(EVERYTHING.causes()) is EVERYTHING


def test_with_none_it_is_the_reference_on_a_fine_grid():
    assert EVERYTHING.with_causes(()) == TimeStepped(DT / FINER, rounding="nearest_even", traces=False)


@pytest.mark.parametrize(
    "target",
    [TimeStepped(4e-4), TimeStepped(4e-4, transport=1), replace(EVERYTHING, time_step=4e-4)],
    ids=["reference", "late", "everything"],
)
def test_with_none_its_error_is_far_below_its_own(target):
    """Steps 16 times finer: an error of first order is a 16th; 4 leaves room for the samples' other constants."""
    ablation = Ablation(PROBLEM, target)
    assert error(ablation.run(()), ablation.exact) < error(ablation.run(ablation.causes), ablation.exact) / 4


def test_kept_transport_is_a_delay_of_the_exact_network():
    ablation = Ablation(PROBLEM, TimeStepped(DT, transport=2))
    delays = {p.delay.max() for p in ablation.exact_problem.network.projections.values()}
    assert delays == {2 * DT}
    assert Ablation(PROBLEM, TimeStepped(DT, transport=2), kept=()).exact_problem is PROBLEM


@pytest.mark.parametrize(("rounding", "bits"), [("down", 4), ("half_up", 2)])
def test_a_finer_grid_has_finer_numbers_and_weights_as_they_were(rounding, bits):
    """Of a random walk of independent roundings the variances add, of one to one side the roundings themselves."""
    target = TimeStepped(DT, number="s8.7", rounding=rounding)
    made = target.with_causes(("number", "rounding", "overflow"))
    assert isinstance(made, Loaded)
    assert made.target.number == f"s8.{7 + bits}"
    assert made.weights == FixedFormat(8, 7)
    assert 2 ** (bits if rounding == "down" else 2 * bits) == FINER
    weights = made.run(PROBLEM).network.projections["in", "hidden"].weight * 2**7
    assert np.array_equal(weights, np.rint(weights))


def test_without_its_range_a_format_goes_on():
    target = TimeStepped(DT, number="s2.7")
    assert target.with_causes(("time_step", "number", "rounding")).number == "s45.7"


def test_a_cause_that_is_none():
    with pytest.raises(ValueError, match=r"causes of .* are time_step; got \['number'\]"):
        TimeStepped(DT).with_causes(("number",))


# -- where an implementation departs


def planted(problem, **changes):
    return TimeStepped(DT, number="s16.15", **changes).run(problem)


MODEL = TimeStepped(DT, number="s16.15")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"propagators": "euler"}, "propagators 'euler' in place of 'exact'"),
        ({"input_rounding": "up"}, "input_rounding 'up' in place of 'nearest'"),
        ({"transport": 1}, "transport 1 in place of 0"),
        ({"rounding": "down"}, "rounding 'down' in place of 'half_up'"),
        ({"slope": "threshold"}, "slope 'threshold' in place of 'grid'"),
    ],
)
def test_another_scheme_is_named(options, words):
    found = localised(MODEL, PROBLEM, planted(PROBLEM, **options))
    assert words in found.looks_like
    assert found.quantity == ("dL/dw" if "slope" in options else found.quantity)


def test_other_weights_are_named():
    net = PROBLEM.network
    key = ("in", "hidden")
    negative = replace(PROBLEM, network=net.with_weights({key: -net.projections[key].weight}))
    found = localised(MODEL, PROBLEM, planted(negative))
    assert "the wrong sign of the weights of in → hidden" in found.looks_like
    old = net.with_weights({k: 0.5 * p.weight for k, p in net.projections.items()})
    stale = localised(MODEL, PROBLEM, planted(replace(PROBLEM, network=old)), previous=old)
    assert stale.looks_like == ("stale weights: those of the batch before",)


def test_a_gradient_of_the_wrong_sign_is_named():
    got = MODEL.run(PROBLEM)
    weight = {k: -w if k == ("in", "hidden") else w for k, w in got.weight.items()}
    found = localised(MODEL, PROBLEM, replace(got, gradients={**got.gradients, "weight": weight}))
    assert (found.quantity, found.of) == ("dL/dw", "in → hidden")
    assert found.looks_like == ("the wrong sign",)


def test_nothing_is_found_where_nothing_is_wrong():
    assert localised(MODEL, PROBLEM, MODEL.run(PROBLEM)) is None
    got = MODEL.run(PROBLEM)
    bare = Record("spikes", PROBLEM.t_end, PROBLEM.inputs, {"out": got.spikes["out"]}, time_step=DT)
    assert localised(MODEL, PROBLEM, bare) is None


def test_states_that_a_step_leaves_are_those_from_which_the_next_begins():
    target = TimeStepped(DT)
    seen, left = (replace(target, traced=traced).run(PROBLEM) for traced in ("seen", "left"))
    for name, trace in seen.traces.items():
        after, tau_syn = left.traces[name], PROBLEM.network.population(name).parameter("tau_syn")[:, None]
        np.testing.assert_allclose(
            after.current[..., :-1], trace.current[..., 1:] * np.exp(DT / tau_syn), atol=1e-12
        )
        reset = np.zeros(trace.voltage.shape, bool)
        spikes = seen.spikes[name]
        reset[spikes.samples, spikes.neurons, np.rint(spikes.times / DT).astype(int)] = True
        np.testing.assert_array_equal(after.voltage, np.where(reset, 0.0, trace.voltage))
        assert reset.any()
        assert np.any(after.current != trace.current)


def read_as(voltage, current, problem=PROBLEM, **options):
    """A record whose traces are in another convention, which its scheme says or not."""
    v, i = (planted(problem, traced=traced, **options) for traced in (voltage, current))
    traces = {name: replace(t, current=i.traces[name].current) for name, t in v.traces.items()}
    said = replace(v.scheme, traced_voltage=voltage, traced_current=current)
    return replace(v, traces=traces, scheme=said)


@pytest.mark.parametrize(("voltage", "current"), [("left", "seen"), ("seen", "left"), ("left", "left")])
def test_traces_in_any_convention_are_read_as_they_are(voltage, current):
    right = read_as(voltage, current)
    assert localised(MODEL, PROBLEM, right) is None
    silent = replace(right.scheme, traced_voltage=None, traced_current=None)
    assert localised(MODEL, PROBLEM, replace(right, scheme=silent)) is None
    lies = replace(right.scheme, traced_voltage="seen", traced_current="seen")
    found = localised(MODEL, PROBLEM, replace(right, scheme=lies))
    assert found.quantity == ("current" if current == "left" else "voltage")


def test_a_convention_that_was_found_out_is_said():
    wrong = read_as("left", "left", transport=1)
    found = localised(MODEL, PROBLEM, replace(wrong, scheme=replace(wrong.scheme, traced_current=None)))
    assert "(traces are read as V after resets and I after arrivals)" in str(found)
    with pytest.raises(ValueError, match="traced must be one of seen, left; got 'after'"):
        TimeStepped(DT, traced="after")


def test_numbers_that_differ_are_printed_so_that_they_do():
    got = MODEL.run(PROBLEM)
    weight = {k: w * (1 + 1e-9) for k, w in got.weight.items()}
    found = localised(MODEL, PROBLEM, replace(got, gradients={**got.gradients, "weight": weight}))
    expected, seen = str(found).split("expected ")[1].split(" of it apart")[0].split(", got ")
    assert expected != seen.split(", ")[0]
    assert seen.endswith("1e-09")


def test_a_record_without_spikes_is_not_enough():
    with pytest.raises(ValueError, match="spikes or traces are needed to localise a fault"):
        localised(MODEL, PROBLEM, Record("nothing", PROBLEM.t_end, PROBLEM.inputs, time_step=DT))


def test_what_a_sample_costs_is_what_it_does():
    """By hand: 3 multiply-accumulates per neuron and step and one per arrival, twice, and one per arrival for dL/dw."""
    record = MODEL.run(PROBLEM)
    sizes = {"in": 6, "hidden": 3}
    arrivals = sum(record.spikes[name].n_spikes * out for name, out in sizes.items()) / record.n_samples
    sent = sum(record.spikes[name].n_spikes for name in sizes) / record.n_samples
    found = MODEL.cost(PROBLEM, record)
    assert found.operations == pytest.approx(2 * (3 * 9 * 30 + arrivals) + arrivals)
    assert found.packet_bytes == pytest.approx(sent * (4 + 8))
    assert found.bytes == pytest.approx(4 * found.operations + found.packet_bytes)
    assert oracle(PROBLEM).n_samples == record.n_samples
