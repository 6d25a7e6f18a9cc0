"""All switches on is the chip, all off the exact network; each alone is what another implementation makes of it."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from cores import TTFS, arithmetics, assert_same, random_problem
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import slopes, time_bounds

import eventsolve as es
from validation.fixedpoint import ArithmeticUnit, FixedFormat
from validation.grid import TimeStepped
from validation.oracle import oracle
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core, SwitchedCore, Switches
from validation.spinnaker2.kernels.intervals import crossing, transfer, voltage
from validation.spinnaker2.switched import _dynamics, _Run
from validation.spinnaker2.switches import switched_arithmetic

EPS = np.finfo(float).eps
DT, T_END = 1e-3, 30e-3
CORE = SpiNNaker2Core(DT, "s16.15", traces=False)


def problem(seed, n_samples=2, n_hidden=5, delay=0.0, n_spikes=2, reset=0.0, silent="t_end"):
    """in -> hidden -> out with a skip connection, inputs between grid points."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 4)
    sizes = {"in": 4, "hidden": n_hidden, "out": 3}
    for name in ("hidden", "out"):
        tau_mem, tau_syn = rng.uniform(8e-3, 30e-3), rng.uniform(4e-3, 8e-3)
        levels = {
            "v_threshold": rng.uniform(0.8, 1.2, sizes[name]),
            "v_reset": reset + rng.uniform(-0.3, 0.3, sizes[name]),
        }
        net.add_population(name, sizes[name], es.LIF(tau_mem, tau_syn, **levels))
    for pre, post in (("in", "hidden"), ("hidden", "out"), ("in", "out")):
        scale = 4.0 / math.sqrt(sizes[pre])
        net.connect(pre, post, rng.normal(scale, scale, (sizes[post], sizes[pre])), delay=delay)
    times = [[np.sort(rng.uniform(0, 20e-3, n_spikes)).tolist() for _ in range(4)] for _ in range(n_samples)]
    loss = es.losses.TTFSCrossEntropy(
        "out", rng.integers(0, 3, n_samples), tau0=2e-3, tau1=0.1, alpha=0.01, silent=silent
    )
    return net, {"in": es.SpikeTrains.from_lists(times)}, loss


def without_delay(net):
    return net.with_delays({key: 0.0 for key in net.projections})


def switched(*names, core=CORE):
    return SwitchedCore(core, Switches.only(names))


def assert_close(got, want, net, inputs, loss, t_end=T_END, run=None):
    """Assert that two float64 records of one network differ by rounding alone.

    Spike times: by the bound of their conditioning, once per interval between events, of which there is one per grid
    point and arrival. Gradients: :func:`assert_backward_stable`.
    """
    solution = es.solve(net, inputs, t_end)
    for name in ("hidden", "out"):
        assume(solution.spikes[name].n_spikes == 0 or slopes(solution, name)[1].min() > 0.02)
    assume(not solution.warnings)
    n_intervals = round(t_end / DT) + max(s.n_spikes for s in solution.spikes.values())
    bounds = time_bounds(solution)
    for name in ("hidden", "out"):
        a, b = got.spikes[name], want.spikes[name]
        np.testing.assert_array_equal(a.counts(), b.counts())
        order, other = (np.lexsort((x.times, x.neurons, x.samples)) for x in (a, b))
        assert (np.abs(a.times[order] - b.times[other]) <= n_intervals * bounds[name][other]).all()
    assert_backward_stable(
        got, want, net, lambda other: run(es.Problem(other, inputs, t_end, loss)), n_intervals
    )
    np.testing.assert_allclose(got.loss_values, want.loss_values, rtol=1e-10)


def assert_backward_stable(got, want, net, run, n_intervals):
    """Assert that gradients differ by what roundings of the weights would do, one per interval and term.

    What they do is taken from ``run`` on weights that are off 2^20 times as much.
    """
    scale, rng = {}, np.random.default_rng(0)
    for _ in range(4):
        moved = {
            key: p.weight * (1 + EPS * 2**20 * rng.choice([-1, 1], p.weight.shape))
            for key, p in net.projections.items()
        }
        there = run(net.with_weights(moved))
        for kind in ("weight", "spike_times"):
            for key, value in getattr(want, kind).items():
                shift = np.abs(getattr(there, kind)[key] - value).max(initial=0.0) * 2.0**-20
                least = EPS * np.abs(value).max(initial=0.0)
                scale[kind, key] = max(scale.get((kind, key), least), shift)
    for (kind, key), unit in scale.items():
        a, b = getattr(got, kind)[key], getattr(want, kind)[key]
        if kind == "spike_times":
            trains = got.spikes[key], want.spikes[key]
            order, other = (np.lexsort((x.times, x.neurons, x.samples)) for x in trains)
            a, b = a[order], b[other]
        assert (np.abs(a - b) <= 16 * n_intervals * unit).all(), (kind, key)


# -- all on, all off


@settings(max_examples=30, deadline=None)
@given(
    arithmetics,
    st.integers(0, 2**32 - 1),
    st.integers(0, 4),
    st.integers(1, 25),
    st.sampled_from(["euler", "exponential"]),
    st.sampled_from(["t_end", "skip"]),
)
def test_all_on_is_the_core_bit_for_bit(arithmetic, seed, n_samples, n_steps, decay, silent):
    core = SpiNNaker2Core(DT, arithmetic, decay=decay)
    case = random_problem(seed, n_samples, n_steps, silent)
    assert_same(SwitchedCore(core).run(es.Problem(*case)), core.run(es.Problem(*case)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 3e-3, 0.1e-3]))
def test_all_off_is_the_exact_network(seed, time_step):
    net, inputs, loss = problem(seed)
    core = replace(CORE, time_step=time_step)
    assert_close(
        switched(core=core).run(es.Problem(net, inputs, T_END, loss)),
        oracle(es.Problem(net, inputs, T_END, loss)),
        *(net, inputs, loss),
        run=oracle,
    )


# -- one switch, and another implementation of it


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_input_grid_alone_is_the_exact_network_with_rounded_inputs(seed):
    net, inputs, loss = problem(seed)
    lists = inputs["in"].to_lists()
    assume(all(len({round(t / DT) for t in train}) == len(train) for s in lists for train in s))
    rounded = {"in": es.SpikeTrains.from_lists([[[round(t / DT) * DT for t in x] for x in s] for s in lists])}
    assert_close(
        switched("input_grid").run(es.Problem(net, inputs, T_END, loss)),
        oracle(es.Problem(net, rounded, T_END, loss)),
        *(net, rounded, loss),
        run=oracle,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_step_delay_alone_is_the_exact_network_with_that_delay(seed):
    net, inputs, loss = problem(seed, delay=DT)
    assert_close(
        switched("step_delay").run(es.Problem(without_delay(net), inputs, T_END, loss)),
        oracle(es.Problem(net, inputs, T_END, loss)),
        *(net, inputs, loss),
        run=oracle,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["s16.15", "s4.6"]))
def test_the_weight_format_alone_is_the_exact_network_with_rounded_weights(seed, name):
    net, inputs, loss = problem(seed)
    number, unit = FixedFormat.parse(name), ArithmeticUnit("nearest_even")
    held = {k: unit.quantize(p.weight, number) * number.resolution for k, p in net.projections.items()}
    rounded = net.with_weights(held)
    core = replace(CORE, format=Arithmetic.preset(name))
    assert_close(
        switched("weight_format", core=core).run(es.Problem(net, inputs, T_END, loss)),
        oracle(es.Problem(rounded, inputs, T_END, loss)),
        *(rounded, inputs, loss),
        run=oracle,
    )


@pytest.mark.parametrize("delay", [0.0, DT])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_grids_of_inputs_and_spikes_alone_are_the_time_stepped_network(delay, seed):
    """Which has exact propagators, and runs up to t_end, where the chip ends a step before.

    Its adjoint takes the overshoot into the swing of the reset too, which shows where a neuron spikes again.
    """
    net, inputs, loss = problem(seed, delay=delay, n_spikes=1, reset=-9.0, silent="skip")
    steps = np.rint(inputs["in"].times / DT)
    assume(
        np.unique(np.stack([inputs["in"].samples, inputs["in"].neurons, steps]), axis=1).shape[1]
        == steps.size
    )
    target = TimeStepped(DT)
    want = target.run(es.Problem(net, inputs, T_END, loss))
    assume(all(want.spikes[name].counts().max() <= 1 for name in ("hidden", "out")))
    assume(want.loss_values.any())
    margin = min(
        np.abs(want.traces[n].voltage - net.population(n).parameter("v_threshold")[:, None]).min()
        for n in want.traces
    )
    assume(margin > 1e-9)  # else rounding decides whether there is a spike
    names = ("input_grid", "spike_grid", "overshoot", *(("step_delay",) if delay else ()))
    got = switched(*names).run(es.Problem(without_delay(net), inputs, T_END + DT, loss))
    for name in want.spikes:
        np.testing.assert_allclose(got.spikes[name].times, want.spikes[name].times, rtol=4 * EPS)
        np.testing.assert_array_equal(got.spikes[name].neurons, want.spikes[name].neurons)
    np.testing.assert_allclose(got.loss_values, want.loss_values, rtol=1e-12)
    assert_backward_stable(
        got, want, net, lambda other: target.run(es.Problem(other, inputs, T_END, loss)), 60
    )


def test_the_loss_in_steps_alone_is_that_of_spikes_moved_to_the_end_of_their_step():
    net, inputs, loss = problem(3)
    exact, got = (
        switched(*names).run(es.Problem(net, inputs, T_END, loss)) for names in ((), ("loss_in_steps",))
    )
    first = np.ceil(exact.spikes["out"].first() / DT) * DT
    times = np.where(np.isinf(first), T_END, first)
    rows = np.arange(2)
    labels = np.asarray(loss.labels)
    want = times[rows, labels] / 2e-3 + np.log(np.exp(-times / 2e-3).sum(axis=1))
    want += 0.01 * np.expm1(times[rows, labels] / 0.1)
    np.testing.assert_allclose(got.loss_values, want, rtol=1e-12)
    np.testing.assert_array_equal(got.spikes["out"].times, exact.spikes["out"].times)


# -- every switch does something


def coarse():
    """A chip on which every approximation shows: narrow formats, saturation, guarded denominators."""
    a = replace(Arithmetic.preset("s5.5"), decay=FixedFormat(0, 8, signed=False), gradient=FixedFormat(12, 3))
    return SpiNNaker2Core(DT, a, error_scale=64.0)


def flat():
    """A short membrane time constant, so that coarse voltages reach the current that drives them."""
    rng = np.random.default_rng(0)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("out", 200, es.LIF(tau_mem=2e-3, tau_syn=5e-3))
    net.connect("in", "out", rng.uniform(0.2, 1.0, (200, 4)))
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 5e-3], [1e-3, 6e-3], [2e-3, 7e-3], [3e-3, 8e-3]]])}
    return net, inputs, TTFS(np.array([0])), 20e-3


def numbers(record):
    spikes = [x for s in record.spikes.values() for x in (s.times, s.neurons)]
    return np.concatenate(
        [
            record.loss_values,
            *spikes,
            *record.spike_times.values(),
            *(w.ravel() for w in record.weight.values()),
        ]
    )


@pytest.mark.parametrize("name", Switches.names())
def test_no_switch_is_dead_on_the_chip(name):
    """Some of a few networks changes, whatever is switched off."""
    every = set(Switches.names())
    changed = False
    cases = [(*problem(seed, n_samples=4, n_hidden=12, n_spikes=1), T_END) for seed in range(6)]
    for net, inputs, loss, t_end in [*cases, flat()]:
        whole, part = SwitchedCore(coarse()), SwitchedCore(coarse(), Switches.only(every - {name}))
        try:
            changed |= not np.array_equal(
                numbers(whole.run(es.Problem(net, inputs, t_end, loss))),
                numbers(part.run(es.Problem(net, inputs, t_end, loss))),
            )
        except ValueError as error:
            changed |= "without its guard" in str(error)
    assert changed


ALONE = set(Switches.names()) - {"overshoot", "rounding", "saturation"}


@pytest.mark.parametrize("name", Switches.names())
def test_alone_a_switch_changes_the_exact_network_unless_it_is_about_another(name):
    """Overshoot is of the grid, rounding and saturation are of formats."""
    net, inputs, loss = problem(0, n_samples=4, n_hidden=12, n_spikes=1)
    exact, got = (
        switched(*on, core=coarse()).run(es.Problem(net, inputs, T_END, loss)) for on in ((), (name,))
    )
    same = np.array_equal(numbers(exact), numbers(got))
    assert same == (name not in ALONE)


# -- between two events


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn"), [(20e-3, 5e-3), (5e-3, 5e-3), (5e-3, 20e-3), (5e-3, 5e-3 * (1 + 1e-12))]
)
def test_the_transfer_of_current_to_voltage_is_the_integral(tau_mem, tau_syn):
    with mpmath.workdps(40):
        for h in (1e-9, 1e-4, 1e-3, 4.9e-3):
            m, s = mpmath.mpf(tau_mem), mpmath.mpf(tau_syn)
            want = mpmath.quad(
                lambda u, m=m, s=s, h=h: mpmath.exp(-(h - u) / m) * mpmath.exp(-u / s) / m, [0, h]
            )
            assert abs(transfer(h, tau_mem, tau_syn) - want) <= 8 * EPS * want


def dynamics(names, decay="exponential"):
    core = replace(CORE, decay=decay)
    net, _, _ = problem(0)
    switches = Switches.only(names)
    arithmetic = switched_arithmetic(core.formats, switches)
    image = replace(core, format=arithmetic).image(net)
    run = _Run(image, switches, DT, 1, 30, False)
    return _dynamics(run, decay, 20e-3, image.layers["hidden"])


@pytest.mark.parametrize("one_step", [False, True])
@pytest.mark.parametrize("decay", ["exponential", "euler"])
@settings(max_examples=60, deadline=None)
@given(st.floats(-3.0, 0.999), st.floats(-5.0, 60.0), st.floats(-5.0, 60.0), st.floats(1e-5, DT))
def test_crossings_are_first_and_complete(decay, one_step, v, i, driving, h):
    """Against the voltage on 2000 points of the interval, of formulas of its own."""
    names = (["euler_decay"] if decay == "euler" else []) + (["one_step_integral"] if one_step else [])
    d = dynamics(names, decay)
    s = np.linspace(0.0, h, 2001)
    mem = 1 - s / d.tau_mem if decay == "euler" else np.exp(-s / d.tau_mem)
    if one_step:
        course = mem * v + (1 - mem) * driving
    else:
        ratio = d.tau_syn / (d.tau_syn - d.tau_mem)
        course = mem * v + ratio * (np.exp(-s / d.tau_syn) - np.exp(-s / d.tau_mem)) * i
        np.testing.assert_allclose(
            [voltage(x, v, i, d)[0] for x in s[::100]], course[::100], rtol=0, atol=1e-12
        )
    above = course > 1.0
    got = crossing(v, i, driving, h, 1.0, d)
    if got < 0:
        assert course.max() <= 1.0 + 1e-9
        return
    assert 0 < got <= h
    first = np.flatnonzero(above)[0] if above.any() else 2000
    assert s[max(first - 2, 0)] - 1e-12 <= got <= s[min(first + 1, 2000)] + 1e-12
    assert abs(np.interp(got, s, course) - 1.0) < 1e-3


# -- what is refused, and names


def test_a_denominator_of_0_is_refused_without_its_guard():
    every = set(Switches.names())
    core = SpiNNaker2Core(DT, replace(Arithmetic.preset("s16.15"), state=FixedFormat(16, 3)))
    net, inputs, loss, t_end = flat()
    case = net, inputs, t_end, loss
    assert SwitchedCore(core).run(es.Problem(*case)).counters["guarded_denominators"] > 0
    with pytest.raises(ValueError, match=r"without its guard, the denominator of .* spikes of 'out' is 0"):
        SwitchedCore(core, Switches.only(every - {"guard"})).run(es.Problem(*case))


def test_switches_have_names():
    assert Switches() == Switches.only(Switches.names())
    assert Switches.only([]).on == ()
    assert Switches.only(["guard"]).on == ("guard",)
    with pytest.raises(ValueError, match=r"switches are input_grid, .*; got \['nothing'\]"):
        Switches.only(["nothing"])
    assert SwitchedCore(CORE).name == CORE.name
    assert switched("guard").name.endswith(", of it guard")
    assert switched().name.endswith(", of it nothing")
    without = Switches.only(set(Switches.names()) - {"guard"})
    assert SwitchedCore(CORE, without).name.endswith(", without guard")


def test_formats_are_what_is_left():
    a = Arithmetic.preset("s4.9")
    off = switched_arithmetic(a, Switches.only(["state_format"]))
    assert (str(off.state), str(off.weight), str(off.decay), str(off.adjoint), str(off.gradient)) == (
        *("s53.9", "float64"),
        *("float64", "float64", "float64"),
    )
    assert off.rounding == "nearest_even"
    assert switched_arithmetic(a, Switches()) == a
