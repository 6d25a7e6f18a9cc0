"""The hinge on the peaks of silent neurons: against the multiprecision solver, at kinks and jumps, and in cycles."""

import numpy as np
import pytest
from comparing import Comparison
from directions import central_difference, products, random_direction
from scipy.optimize import minimize_scalar

import eventsolve as es

T = 30e-3
LEVEL = 1.2


def quiet(kind):
    """Neurons of which most are silent: peaks inside an interval, at a kink, at a jump, at the start and at the end."""
    net = es.Network()
    net.add_input("in", 3)
    neuron = es.LIF(
        [12e-3, 8e-3, 10e-3, 9e-3, 11e-3], 5e-3, 1.1, -0.1, 0.05, v_initial=[0.0, 0.1, 0.0, 0.9, 0.2]
    )
    net.add_population("out", 5, neuron)
    weight = np.array(
        [[0.9, 0.1, 0.0], [0.9, -7.0, 0.2], [6.0, 1.0, 1.0], [0.2, -0.3, -0.2], [0.1, 0.2, 2.5]]
    )
    if kind == "loop":
        weight[1, 1] = 0.3
    net.connect("in", "out", weight, delay=[[1e-3, 2e-3, 0.5e-3]] * 5)
    if kind == "delta":
        net.connect(
            "in",
            "out",
            [[0.1, 0.0, 0.7], [0.0, 0.1, 0.0], *[[0.0, 0.0, 0.05]] * 3],
            delay=1e-3,
            synapse="delta",
            name="d",
        )
    if kind in ("loop", "kink"):
        # of neuron 2, which spikes: it moves all others, and may end the rise of neuron 1
        back = np.zeros((5, 5))
        back[:, 2] = [0.1, -6.0 if kind == "kink" else 0.0, 0.3, -0.4, 0.5]
        net.connect("out", "out", back, delay=[[0.2e-3] * 5] * 5)
    return net, {"in": es.SpikeTrains.from_lists([[[1e-3, 3e-3], [7e-3], [26e-3]]])}


def peak(exact, neuron, near):
    """The largest V in multiprecision: at an event, before it or after it, or where Newton finds V' = 0."""
    ctx = exact.context
    times = [state.time for state in exact.states["out"][0][neuron]] + [ctx.mpf(T)]
    best = max(
        max(exact.voltage("out", 0, neuron, t), exact.voltage_before("out", 0, neuron, t)) for t in times
    )
    t = ctx.mpf(near)
    p = exact.problem.neurons["out"][neuron]
    tau_mem, tau_syn, leak = (ctx.mpf(x) for x in (p.tau_mem, p.tau_syn, p.v_leak))
    for _ in range(12):
        v, i = exact.voltage("out", 0, neuron, t), exact.current("out", 0, neuron, t)
        slope = (leak - v + i) / tau_mem
        t -= slope / ((-slope - i / tau_syn) / tau_mem)
        if not 0 < t < T:
            return best
    return max(best, exact.voltage("out", 0, neuron, t))


@pytest.mark.parametrize("kind", ["layer", "delta", "loop"])
def test_gradients_are_central_differences(kind):
    """Difference steps of 1e-9 leave 1e-15 or so of the loss; V in float64 is known to 1e-14, and V' to as much/tau."""
    net, inputs = quiet(kind)
    solution = es.solve(net, inputs, T)
    peaks = solution.silent_maxima("out")
    assert peaks.neurons.tolist() == [0, 1, 3, 4]
    loss = es.losses.SilentHinge("out", LEVEL)
    value, grads = es.value_and_grad(solution, loss)
    direction = random_direction(solution, 3)
    del direction["t_ref"]

    def exact_loss(exact):
        assert {n for _, n in exact.spikes["out"][0]} == {2}
        found = [peak(exact, n, t) for n, t in zip(peaks.neurons.tolist(), peaks.time.tolist(), strict=True)]
        return [sum((exact.context.mpf(LEVEL) - v) ** 2 for v in found) / 2, *found]

    compare = Comparison()
    for name, by_key in direction.items():
        one = {name: by_key}
        want = central_difference(solution, inputs, one, exact_loss, 30, "1e-9")[0]
        terms = products(grads, one)
        got = (terms.sum(), es.jvp(solution, one, loss).loss)
        compare.close(np.array(got), want, 1e-10 * np.abs(terms).sum(), (kind, name))
    compare.demand(0.8)
    ctx_peaks = [float(v) for v in exact_loss(es.multiprecision.solve(net, inputs, T))[1:]]
    np.testing.assert_allclose(peaks.value, ctx_peaks, rtol=1e-13)
    assert value == pytest.approx(0.5 * sum((LEVEL - v) ** 2 for v in ctx_peaks), rel=1e-12, abs=0.0)


def test_the_networks_have_peaks_of_every_kind():
    kinds = set()
    for kind in ("layer", "delta"):
        net, inputs = quiet(kind)
        peaks = es.solve(net, inputs, T).silent_maxima("out")
        for time, arrival in zip(peaks.time, peaks.arrival, strict=True):
            name = {0.0: "start", T: "end"}.get(float(time), "inside")
            kinds.add(name if arrival == -1 else "kink" if arrival >= 0 else "jump")
    assert kinds == {"start", "end", "inside", "kink", "jump"}


def test_a_peak_in_a_cycle_that_moves_with_an_arrival_is_refused():
    net, inputs = quiet("kink")
    solution = es.solve(net, inputs, T)
    assert (solution.silent_maxima("out").arrival >= 0).any()
    with pytest.raises(
        ValueError, match="voltage samples of 'out', which is in a cycle, must be fixed in time"
    ):
        es.value_and_grad(solution, es.losses.SilentHinge("out", LEVEL))


def test_it_goes_to_0_as_a_neuron_starts_to_spike_and_wakes_it():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[1.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    solution = es.solve(net, inputs, T)
    highest = float(solution.silent_maxima("out").value[0])
    values, slopes = [], []
    for share in (0.5, 0.9, 1 - 1e-6, 1 + 1e-6):
        one = es.solve(net.with_weights({("in", "out"): [[share / highest]]}), inputs, T)
        value, grads = es.value_and_grad(one, es.losses.SilentHinge("out", 1.0))
        values.append(value)
        slopes.append(grads.weight["in", "out"][0, 0])
    np.testing.assert_allclose(values, [0.125, 0.005, 0.5e-12, 0.0], rtol=1e-8)
    np.testing.assert_allclose(slopes, [-0.5 * highest, -0.1 * highest, -1e-6 * highest, 0.0], rtol=1e-8)
    below = es.losses.SilentHinge("out", 0.5 * highest)  # V is above: nothing is missing
    assert es.value_and_grad(solution, below)[0] == 0.0


def test_neurons_count_in_each_sample_in_which_they_are_silent_with_levels_of_their_own():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[9.0], [1.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]], [[]]])}, T)
    loss = es.losses.SilentHinge("out", [1.0, 2.0])
    highest = solution.silent_maxima("out").value
    np.testing.assert_array_equal(solution.silent_maxima("out").samples, [0, 1, 1])
    np.testing.assert_array_equal(solution.silent_maxima("out").neurons, [1, 0, 1])
    values, _ = es.value_and_grad(solution, loss, reduction="none")
    np.testing.assert_allclose(values, [0.5 * (2.0 - highest[0]) ** 2, 0.5 * (1 + 4)], rtol=1e-14)


def test_of_a_stream_it_is_the_peak_since_it_went_on():
    """Of readouts, too: a voltage that was larger before belongs to the earlier solution."""
    for neuron in (es.LI(20e-3, 5e-3), es.LIF(20e-3, 5e-3)):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, neuron)
        net.connect("in", "out", [[1.0]])
        for middle in (4e-3, 20e-3):  # before the peak of what arrived at 1 ms, and after it
            first = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, middle)
            later = es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 60e-3, initial=first.final_state)
            peaks = later.silent_maxima("out") if neuron.spiking else later.maxima("out")
            found = minimize_scalar(
                lambda t, later=later: -later.voltage("out", [t])[0, 0, 0],
                bounds=(middle, 60e-3),
                method="bounded",
                options={"xatol": 1e-9},
            )
            want = max(-found.fun, float(later.voltage("out", [middle])[0, 0, 0]))
            assert peaks.value.item() == pytest.approx(want, rel=1e-12, abs=0.0)
            assert peaks.time.item() >= middle
            loss = (
                es.losses.SilentHinge("out", 1.0)
                if neuron.spiking
                else es.losses.MaxVoltageLoss("out", lambda m: (m[:, 0], np.ones_like(m)))
            )
            value, grads = es.value_and_grad(later, loss)
            assert np.isfinite(value)
            assert grads.v_initial["out"][0] != 0.0
            assert (grads.i_initial["out"][0] != 0.0) == (peaks.time.item() > middle)
            certified = loss if neuron.spiking else es.losses.MaxVoltageCrossEntropy("out", [0])
            certificate = es.certify(later, gradients=certified)
            assert certificate.proven, str(certificate)


@pytest.mark.parametrize("kind", ["layer", "delta", "loop"])
def test_it_is_enclosed(kind):
    net, inputs = quiet(kind)
    solution = es.solve(net, inputs, T)
    loss = es.losses.SilentHinge("out", LEVEL)
    certificate = es.certify(solution, gradients=loss)
    assert certificate.proven, str(certificate)
    value, _ = es.value_and_grad(solution, loss)
    middle, radius = certificate.gradients.value
    assert abs(value - middle) <= radius + 64 * np.spacing(value)
    assert radius < 1e-9


def test_what_does_not_fit():
    net, inputs = quiet("layer")
    solution = es.solve(net, inputs, T)
    with pytest.raises(ValueError, match=r"level must be a number or have shape \(5,\); got \(2,\)"):
        es.value_and_grad(solution, es.losses.SilentHinge("out", [1.0, 2.0]))
    with pytest.raises(ValueError, match="is of neurons that spike; 'in' is an input"):
        es.value_and_grad(solution, es.losses.SilentHinge("in", 1.0))
    with pytest.raises(ValueError, match="level must be finite; it is inf"):
        es.losses.SilentHinge("out", np.inf)
    with pytest.raises(ValueError, match="'in' is an input: it has no voltage"):
        solution.silent_maxima("in")
    readout = es.Network()
    readout.add_population("out", 1, es.LI(20e-3, 5e-3))
    with pytest.raises(ValueError, match="silent_maxima are of populations that spike; 'out' is LI"):
        es.solve(readout, {}, T).silent_maxima("out")
