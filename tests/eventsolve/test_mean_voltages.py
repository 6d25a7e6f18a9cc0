"""Mean voltages in closed form: against mpmath term by term, and against the quadrature, which shares no line."""

from dataclasses import replace
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest
from comparing import Comparison
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.adjoint import evaluated
from eventsolve.kernels import mean_voltages as kernels
from eventsolve.quadrature import NODES, _nodes_between

EPS = np.finfo(float).eps
LENGTHS = st.one_of(
    st.sampled_from([0.0, 1e-300, 1e-9, 0.25, 0.5, 0.75, 1.0, 2.0, 40.0, 700.0]),
    st.floats(0, 3),
    st.floats(-12, 2).map(lambda x: 10.0**x),
)
STEPS = st.sampled_from([0.0, 1e-15, 1e-8, 0.1])


def divided(nodes):
    """exp[-a, -b, ...] by mpmath: nodes that are equal are moved apart by 1e-40, in 200 digits."""
    with mp.workdps(200):
        x = [-mp.mpf(a) * (1 + k * mp.mpf(10) ** -40) - k * mp.mpf(10) ** -40 for k, a in enumerate(nodes)]
        table = [mp.exp(t) for t in x]
        for order in range(1, len(x)):
            table = [(table[k + 1] - table[k]) / (x[k + order] - x[k]) for k in range(len(x) - order)]
        return table[0]


@given(nodes=st.lists(LENGTHS, min_size=4, max_size=4), shift=STEPS)
def test_divided_differences_are_right_to_the_conditioning_of_exp(nodes, shift):
    a, b, c, d = sorted([nodes[0], nodes[0] + shift, *nodes[2:]])
    # exp(-low) of a rounded exponent is known to low ulps; every order loses less than three bits (NEAR), a series none
    for function, of, growth in (
        (kernels.difference_2, (a, b), 4),
        (kernels.difference_3, (b, a, c), 4 * 8),
        (kernels.difference_4, (a, b, c, d), 4 * 64),
    ):
        want = divided(of)
        if want > 1e-280:  # above, exponentials underflow, quietly
            assert abs(function(*of) - want) <= growth * EPS * (1 + min(of)) * want


def exact_terms(s, tau_mem, tau_syn, rate):
    """What V, I and the leak add, and the derivatives of what I adds, by what defines them, in mpmath."""
    with mp.workdps(250):
        tm, ts, r, length = (mp.mpf(x) for x in (tau_mem, tau_syn, rate, s))
        ts = ts * (1 + mp.mpf(10) ** -40) if tm == ts else ts

        def integral(k):  # of exp(-k x) over [0, s]
            return -mp.expm1(-k * length) / k if k else length

        def of_current(tm, ts):
            return ts / (ts - tm) * (integral(r + 1 / ts) - integral(r + 1 / tm))

        def response(x):
            return ts / (ts - tm) * (mp.exp(-x / ts) - mp.exp(-x / tm))

        step = mp.mpf(10) ** -50
        return (
            integral(r + 1 / tm),
            of_current(tm, ts),
            integral(r) - integral(r + 1 / tm),
            -(r * of_current(tm, ts) + mp.exp(-r * length) * response(length)),
            (of_current(tm * (1 + step), ts) - of_current(tm * (1 - step), ts)) / (2 * step * tm),
            (of_current(tm, ts * (1 + step)) - of_current(tm, ts * (1 - step))) / (2 * step * ts),
        )


TAUS = st.one_of(
    st.sampled_from([5e-3, 10e-3, 20e-3, 20e-3 * (1 + EPS), 1.0]), st.floats(-9, 3).map(lambda x: 10.0**x)
)


@given(
    s=st.one_of(st.sampled_from([0.0, 1e-12, 20e-3, 1.0]), st.floats(-9, 1).map(lambda x: 10.0**x)),
    tau_mem=TAUS,
    tau_syn=TAUS,
    rate=st.sampled_from([0.0, 1.0, 50.0, 1e4]),
)
def test_what_an_arrival_adds_has_all_digits_for_any_time_constants(s, tau_mem, tau_syn, rate):
    got = (
        kernels.of_voltage(s, tau_mem, rate),
        kernels.of_current(s, tau_mem, tau_syn, rate),
        kernels.of_leak(s, tau_mem, rate),
        kernels.by_time(s, tau_mem, tau_syn, rate),
        kernels.by_tau_mem(s, tau_mem, tau_syn, rate),
        kernels.by_tau_syn(s, tau_mem, tau_syn, rate),
    )
    # the differences' own bounds, of exponents that are off by two roundings each; products add fewer than ten
    shortest = s * (1 / max(tau_mem, tau_syn) + rate)
    for found, want in zip(got, exact_terms(s, tau_mem, tau_syn, rate), strict=True):
        if abs(want) > 1e-250:
            assert abs(found - want) <= EPS * (4 * 64 + 10 + 4 * shortest) * abs(want)


def network():
    """Three readouts, two of one schedule, with leaks, start states and a delay each, that hear spiking neurons."""
    net = es.Network()
    rng = np.random.default_rng(3)
    net.add_input("in", 3)
    net.add_population("a", 4, es.LIF(12e-3, 5e-3, v_leak=0.1))
    out = es.LI(
        [10e-3, 10e-3, 6e-3],
        [4e-3, 4e-3, 6e-3],
        v_leak=[0.2, -0.4, 0.0],
        v_initial=0.3,
        i_initial=[0.1, 0.5, 0],
    )
    net.add_population("out", 3, out)
    net.connect("in", "a", rng.uniform(3, 6, (4, 3)), delay=1e-3)
    net.connect(
        "a", "out", rng.normal(1, 2, (3, 4)), delay=[[1e-3] * 4, [1e-3] * 4, [0.5e-3, 2e-3, 0.0, 1e-3]]
    )
    times = [[[0.0, 4e-3, 11e-3], [1e-3, 7.3e-3], [29e-3]], [[2e-3], [], [3e-3, 9e-3]], [[], [], []]]
    return net, {"in": es.SpikeTrains.from_lists(times)}


def loss_of(weighting):
    def function(means):
        return (means**3).sum(axis=1), 3 * means**2

    return es.losses.MeanVoltageLoss("out", function, weighting=weighting)


class AtNodes:
    """A loss with its means read at the nodes of the quadrature."""

    def __init__(self, loss):
        self.loss = loss

    def evaluate(self, solution):
        return es.losses.read_at_nodes(solution, self.loss.evaluate(solution))


MIXED = es.losses.Sum(
    [loss_of("uniform"), loss_of("exponential"), loss_of("linear"), loss_of("uniform")], [1, 2, 3, 4]
)
KINDS = {"uniform": loss_of("uniform"), "exponential": loss_of("exponential"), "mixed": MIXED}
QUANTITIES = ("weight", "delay", "tau_mem", "tau_syn", "v_leak", "v_initial", "i_initial", "spike_times")


@pytest.fixture(scope="module")
def solutions():
    net, inputs = network()
    whole = es.solve(net, inputs, 30e-3)
    first = es.solve(net, inputs, 12.5e-3)
    rest = later(inputs["in"], 12.5e-3)
    on = es.solve(net, {"in": rest}, 30e-3, initial=first.final_state)
    return {"whole": whole, "went on": on}


def later(trains, time):
    keep = trains.times > time
    return es.SpikeTrains.from_arrays(
        trains.times[keep],
        trains.neurons[keep],
        trains.samples[keep],
        n_neurons=trains.n_neurons,
        n_samples=trains.n_samples,
    )


@pytest.mark.parametrize("which", ["whole", "went on"])
@pytest.mark.parametrize("kind", KINDS)
def test_means_and_their_gradients_are_those_of_the_quadrature(solutions, which, kind):
    solution, loss, compared = solutions[which], KINDS[kind], Comparison()
    value, got = es.value_and_grad(solution, loss, reduction="none")
    expected, want = es.value_and_grad(solution, AtNodes(loss), reduction="none")
    compared.close(value, expected, 200 * EPS * (1 + np.abs(expected)))
    for quantity in QUANTITIES:
        for key, numbers in getattr(want, quantity).items():
            found = getattr(got, quantity)[key]
            # of sums of a hundred terms, which for the slopes cancel to 1e-2 of them
            scale = np.abs(numbers).max(initial=0.0)
            compared.close(found, numbers, 1e4 * EPS * scale + 1e-300, (quantity, key))
    compared.demand(0.4)


def test_what_is_asked_for_and_the_batch_change_no_bit(solutions):
    solution = solutions["whole"]
    value, everything = es.value_and_grad(solution, MIXED, reduction="none")
    alone = es.value_and_grad(solution, MIXED, reduction="none", wrt=("weight",))[1]
    key = ("a", "out")
    assert np.array_equal(alone.weight[key], everything.weight[key])
    net, inputs = network()
    for s in range(3):
        one = es.solve(net, {"in": inputs["in"].select([s])}, 30e-3)
        again, grads = es.value_and_grad(one, MIXED, reduction="none")
        assert again[0] == value[s]
        assert np.array_equal(grads.weight[key][0], everything.weight[key][s])
        assert np.array_equal(grads.delay[key][0], everything.delay[key][s])


@pytest.mark.parametrize("which", ["whole", "went on"])
def test_along_a_direction_the_derivative_is_that_of_the_gradient(solutions, which):
    solution, rng = solutions[which], np.random.default_rng(8)
    grads = es.value_and_grad(solution, MIXED, reduction="none")[1]
    direction, products = {}, np.zeros(3)
    for quantity in QUANTITIES:
        direction[quantity] = {}
        for key, numbers in getattr(grads, quantity).items():
            if quantity == "spike_times":
                if key != "in":
                    continue
                step = rng.normal(size=numbers.shape)
                np.add.at(products, solution.spikes[key].samples, step * numbers)
            else:
                step = rng.normal(size=numbers.shape[1:])
                products += (numbers * step).reshape(3, -1).sum(axis=1)
            direction[quantity][key] = step
    got = es.jvp(solution, direction, MIXED, reduction="none").loss
    assert got == pytest.approx(products, rel=1e-10, abs=0.0)


@pytest.mark.parametrize("which", ["whole", "went on"])
def test_adjoint_states_are_those_of_a_voltage_that_is_moved(solutions, which):
    solution = solutions[which]
    grads = es.value_and_grad(solution, MIXED, reduction="none")[1]
    states = es.adjoint_states(solution, MIXED)
    if which == "whole":
        here = [0.0]
        assert states.voltage("out", here)[..., 0] == pytest.approx(
            grads.v_initial["out"], rel=1e-12, abs=0.0
        )
        assert states.current("out", here)[..., 0] == pytest.approx(
            grads.i_initial["out"], rel=1e-12, abs=0.0
        )
    # and between, with the source of the mean, they fulfil the equations of the adjoint
    closed = es.adjoint_states(solution, KINDS["exponential"])
    times, h = np.array([14e-3, 20e-3, 27e-3]), 1e-6
    p_v, p_i = closed.voltage("out", times), closed.current("out", times)
    before, after = (closed.voltage("out", times + d) for d in (-h, h))
    out = solution.network.population("out")
    slopes = evaluated(solution, KINDS["exponential"]).means["out", 1.0]
    span = solution.t_end - solution.t_start
    source = slopes[:, :, None] / span * np.exp(-(times - solution.t_start) / span)
    rise = p_v / out.parameter("tau_mem")[:, None] - source
    assert (after - before) / (2 * h) == pytest.approx(rise, rel=1e-5, abs=0.0)
    before, after = (closed.current("out", times + d) for d in (-h, h))
    rise = p_i / out.parameter("tau_syn")[:, None] - p_v / out.parameter("tau_mem")[:, None]
    assert (after - before) / (2 * h) == pytest.approx(rise, rel=1e-5, abs=0.0)


def test_means_that_do_not_fit_are_refused(solutions):
    solution = solutions["whole"]
    good = loss_of("uniform").evaluate(solution)

    def refused(key, slopes, words):
        given = SimpleNamespace(evaluate=lambda s: replace(good, means={key: slopes}))
        with pytest.raises(ValueError, match=words):
            es.value_and_grad(solution, given)

    fits = np.zeros((3, 3))
    refused(("a", 0.0), np.zeros((3, 4)), "closed form for LI populations; 'a' is none")
    refused(("nobody", 0.0), fits, "'nobody', which is not a population")
    refused(("out", -1.0), fits, "finite and >= 0; got -1.0")
    refused(("out", 0.0), fits[:2], r"must have shape \(3, 3\)")
    refused(("out", 0.0), fits * np.nan, "must be finite")


@given(r=st.floats(-6, 0).map(lambda x: 10.0**x))
def test_short_pieces_need_few_nodes(r):
    longest = 2e-3
    times, weights = _nodes_between(np.array([0.0, r * longest]), longest)
    assert times.size <= NODES
    assert times.size < NODES or r > 0.3
    # a pole as near as any that pieces are cut for: 1/(z - x) with x beyond the end, at 1.9 half lengths of the longest
    far = r * longest / 2 + (r * longest / 2 + 1.9 * longest / 2)
    got = np.sum(weights / (far - times))
    want = -np.log1p(-r * longest / far)
    assert abs(got - want) <= 8 * EPS * want
