"""Enclosed gradients where something is special: boxes of every number, stored states, ties, silence and kinks.

Beside them stand gradients of the compiled adjoint, which shares no code with balls, of the network itself or of others
in its box.
"""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from comparing import Comparison
from flint import arb
from loops import Loop
from networks import random_case

import eventsolve as es
from eventsolve.certify.arithmetic import ZERO, at_time
from eventsolve.certify.boxes import box_of
from eventsolve.certify.gradient import End, Read, parameters_of, trajectories_of
from eventsolve.certify.network import Wiring, enclose

NEURONS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def make(numbers, *, reset="value"):
    """Two neurons with every parameter, a jump, and a readout."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 2, es.LIF(**{name: numbers[name] for name in NEURONS}, reset=reset))
    net.add_population("out", 2, es.LI(15e-3, [6e-3, 15e-3], v_leak=0.1))
    net.connect("in", "a", numbers["weight"], delay=numbers["delay"])
    net.connect("in", "a", [[1.2, 0.1], [0.0, 0.3]], synapse="delta", delay=3e-3, name="jump")
    net.connect("a", "out", [[1.0, -2.0], [0.5, 1.5]], delay=1.3e-3)
    return net


NUMBERS = {
    "tau_mem": np.array([12e-3, 5e-3]),
    "tau_syn": np.array([5e-3, 5e-3]),
    "v_threshold": np.array([1.0, 1.1]),
    "v_reset": np.array([-0.1, -0.2]),
    "v_leak": np.array([0.2, 0.1]),
    "t_ref": np.array([1e-3, 0.5e-3]),
    "v_initial": np.array([0.1, 0.0]),
    "i_initial": np.array([0.5, 0.2]),
    "weight": np.array([[5.0, 7.0], [4.0, 6.0]]),
    "delay": np.array([[0.5e-3, 1.2e-3], [0.9e-3, 0.3e-3]]),
}
INPUT = {"in": es.SpikeTrains.from_lists([[[0.5e-3, 9e-3], [2e-3, 9.5e-3]]])}
T_END = 15e-3
SCALES = {"tau_mem": 1e-3, "tau_syn": 1e-3, "t_ref": 1e-3, "delay": 1e-3}


def cotangents_of(solution):
    n = solution.spikes["a"].n_spikes
    return {"a": np.where(np.arange(n) % 2 == 0, 1.0, -0.7)}


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("name", NUMBERS)
def test_gradients_of_a_box_hold_those_of_its_networks(name, reset):
    """Also where every enclosure of first order in the box's width is about as wide as what its networks do."""
    solution = es.solve(make(NUMBERS, reset=reset), INPUT, T_END)
    cotangents, radius = cotangents_of(solution), 1e-6 * SCALES.get(name, 1.0)
    certificate = es.certify(
        solution, gradients=cotangents, radii={name: _everywhere(solution, name, radius)}
    )
    assert certificate.proven, str(certificate)
    compare = Comparison()
    for k in range(NUMBERS[name].size):
        for side in (-1, 1):
            moved = NUMBERS[name].copy()
            moved.reshape(-1)[k] += side * 0.999 * radius
            other = es.solve(make(NUMBERS | {name: moved}, reset=reset), INPUT, T_END)
            grads = es.vjp(other, cotangents)
            for which in ("weight", "delay", *NEURONS, "spike_times"):
                for key, (middle, spread) in getattr(certificate.gradients, which).items():
                    values = getattr(grads, which)[key]
                    rounding = 1e-12 * np.abs(middle).max(initial=0.0)
                    compare.close(middle, values, spread + rounding, (which, key))
    compare.demand(0.5)


def _everywhere(solution, name, radius):
    if name in ("weight", "delay"):
        return {("in", "a"): radius}
    return {"a": radius}


def test_whether_v_is_held_at_all_is_a_question_of_a_gradient():
    """A refractory period that may be 0 or not: what arrives at a spike's own time is before or after its end."""
    numbers = NUMBERS | {"t_ref": np.zeros(2)}
    solution = es.solve(make(numbers), INPUT, T_END)
    assert es.certify(solution, gradients=cotangents_of(solution)).proven
    certificate = es.certify(solution, gradients=cotangents_of(solution), radii={"t_ref": {"a": 1e-9}})
    assert not certificate.proven
    assert not certificate.refuted
    assert certificate.undecided[0].why.startswith("the gradient is open: ")


@pytest.mark.parametrize("t_ref", [0.0, 1e-3])
def test_a_reset_by_subtraction_leaves_v_where_the_jump_lifted_it(t_ref):
    """With and without a period in which it is held: of the second spike too, which depends on that."""
    numbers = NUMBERS | {"t_ref": np.full(2, t_ref), "v_leak": np.array([0.9, 0.1])}
    inputs = {"in": es.SpikeTrains.from_lists([[[0.5e-3, 6e-3], [2e-3, 6.5e-3]]])}
    solution = es.solve(make(numbers, reset="subtract"), inputs, T_END)
    spikes = solution.spikes["a"]
    jumps = np.isclose(spikes.times[:, None], [3.5e-3, 9e-3], rtol=1e-15, atol=0.0).any(axis=1)
    assert jumps.any()
    assert (spikes.times > spikes.times[jumps][0]).any()
    certificate = es.certify(solution, gradients={"a": np.ones(spikes.n_spikes)})
    assert certificate.proven, str(certificate)
    assert np.abs(certificate.gradients.t_ref["a"].midpoints).max() > 0.1


@pytest.fixture(scope="module")
def second():
    """A solution that goes on from a stored state."""
    loop = Loop(1, n=3, t_end=40e-3)
    first = es.solve(loop.network(), loop.trains(high=12e-3), 12e-3)
    found = es.solve(loop.network(), loop.trains(low=12e-3), 40e-3, initial=first.final_state)
    assert found.spikes["a"].n_spikes > 3
    return found


class TestStoredState:
    """Times of a loss count from the start of the trial, and V and I from what was stored."""

    def test_gradients_of_spike_times(self, second):
        cotangents = {name: np.ones(second.spikes[name].n_spikes) for name in ("a", "b")}
        certificate = es.certify(second, gradients=cotangents, digits=25)
        assert certificate.proven, str(certificate)

    def test_a_count(self, second):
        for target in (0.5, 10.0):
            loss = es.losses.SpikeCountLoss("a", target, upper=2.0, lower=0.5)
            certificate = es.certify(second, gradients=loss, digits=25)
            assert certificate.proven, str(certificate)
            value, _ = es.value_and_grad(second, loss)
            assert certificate.gradients.value.midpoints == pytest.approx(value, rel=1e-12, abs=0.0)

    @pytest.mark.parametrize(
        "loss",
        [
            lambda: es.losses.MeanVoltageCrossEntropy("out", [1], weighting="exponential"),
            lambda: es.losses.MeanVoltageCrossEntropy("out", [1], weighting="linear"),
            lambda: es.losses.SumVoltageCrossEntropy("out", [1], time_step=0.1),
            lambda: es.losses.MaxVoltageCrossEntropy("out", [0]),
        ],
    )
    def test_voltages_of_a_readout(self, loss):
        """Whose largest voltage was before the trial."""
        net = make(NUMBERS)
        first = es.solve(net, INPUT, T_END)
        later = {"in": es.SpikeTrains.from_lists([[[17e-3], [18e-3]]])}
        second = es.solve(net, later, 35e-3, initial=first.final_state)
        certificate = es.certify(second, gradients=loss(), digits=25)
        assert certificate.proven, str(certificate)
        value, _ = es.value_and_grad(second, loss())
        assert certificate.gradients.value.midpoints == pytest.approx(value, rel=1e-11, abs=0.0)


def readout(*connections, **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LI(20e-3, 5e-3, **neuron))
    for k, (weight, delay, synapse) in enumerate(connections):
        net.connect("in", "out", np.reshape(weight, (2, 1)), delay=delay, synapse=synapse, name=f"c{k}")
    return net


class TestReadings:
    def test_a_reading_as_a_jump_arrives_is_of_v_after_it(self):
        net = readout(([1.0, -0.5], 1e-3, "delta"))
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 10e-3)
        slopes = np.array([[[1.0], [2.0]]])
        loss = es.losses.SampledVoltage("out", [2e-3], lambda v: ((v * slopes).sum((1, 2)), slopes))
        certificate = es.certify(solution, gradients=loss)
        assert certificate.proven, str(certificate)
        assert certificate.gradients.weight["in", "out", "c0"].midpoints.tolist() == [[1.0], [2.0]]

    def test_a_reading_that_some_networks_of_a_box_have_before_an_arrival_is_undecided(self):
        net = readout(([1.0, -0.5], 1e-3, "exponential"))
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 10e-3)
        slopes = np.array([[[1.0], [2.0]]])
        loss = es.losses.SampledVoltage("out", [2e-3], lambda v: ((v * slopes).sum((1, 2)), slopes))
        assert es.certify(solution, gradients=loss).proven
        certificate = es.certify(solution, gradients=loss, radii={"spike_times": 1e-6})
        assert not certificate.proven
        assert certificate.undecided[0].why.startswith("the gradient is open: two events")

    def test_two_maxima_of_which_either_may_be_the_larger_are_undecided(self):
        # a jump of 1 at 1 ms, and one at 21 ms that lifts what is left of it to as much again
        weight = 1.0 - np.exp(-1.0)
        net = readout(([1.0, 0.3], 0.0, "delta"), ([weight - 1e-4, 0.1], 20e-3, "delta"))
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 40e-3)
        loss = es.losses.MaxVoltageCrossEntropy("out", [0])
        assert es.certify(solution, gradients=loss, radii={"weight": 2e-5}).proven
        for radius in (7e-5, 2e-4):
            certificate = es.certify(solution, gradients=loss, radii={"weight": radius})
            assert not certificate.proven
            assert "about as large in two places" in certificate.undecided[0].why

    def test_a_maximum_that_may_be_after_the_start_is_undecided(self):
        """In some networks of the box V rises first, in others it falls."""
        numbers = {"v_initial": [0.5, 0.1], "i_initial": [0.5, 0.0]}
        solution = es.solve(readout(([0.0, 0.0], 0.0, "delta"), **numbers), INPUT_ONE, 20e-3)
        loss = es.losses.MaxVoltageCrossEntropy("out", [0])
        certificate = es.certify(solution, gradients=loss, radii={"i_initial": {"out": 0.1}})
        assert not certificate.proven
        assert "about as large in two places" in certificate.undecided[0].why


INPUT_ONE = {"in": es.SpikeTrains.from_lists([[[15e-3]]])}


def test_where_a_count_may_be_on_either_side_of_its_target_both_strengths_count():
    solution = es.solve(make(NUMBERS), INPUT, T_END)
    spikes = solution.spikes["a"]
    counts = np.bincount(spikes.neurons, 1 - spikes.times / T_END, 2)
    loss = es.losses.SpikeCountLoss("a", counts, upper=2.0, lower=0.5)
    certificate = es.certify(solution, gradients=loss, radii={"v_leak": {"a": 1e-5}})
    assert certificate.proven, str(certificate)
    seen = set()
    for side in (-1, 1):
        numbers = NUMBERS | {"v_leak": NUMBERS["v_leak"] + side * 0.999e-5}
        value, grads = es.value_and_grad(es.solve(make(numbers), INPUT, T_END), loss)
        middle, radius = certificate.gradients.value
        assert abs(value - middle) <= radius
        for key, (middle, radius) in certificate.gradients.weight.items():
            assert (np.abs(grads.weight[key] - middle) <= radius).all()
        seen.add(bool(grads.weight["in", "a"][0, 0] > 0))
    assert seen == {False, True}


def test_a_silent_neuron_above_the_level_of_a_hinge_is_none_of_it():
    net = make(NUMBERS)
    quiet = {"in": es.SpikeTrains.from_lists([[[0.5e-3], []]])}
    net = net.with_weights({("in", "a"): [[1.5, 0.0], [0.5, 0.0]], ("in", "a", "jump"): np.zeros((2, 2))})
    solution = es.solve(net, quiet, T_END)
    assert solution.spikes["a"].n_spikes == 0
    highest = solution.voltage("a", np.linspace(0, T_END, 200)).max(axis=2)[0]
    loss = es.losses.SilentHinge("a", [0.5 * highest[0], 1.0])
    certificate = es.certify(solution, gradients=loss)
    assert certificate.proven, str(certificate)
    value, _ = es.value_and_grad(solution, loss)
    assert certificate.gradients.value.midpoints == pytest.approx(value, rel=1e-12, abs=0.0)
    assert value > 0
    assert certificate.gradients.weight["in", "a"].midpoints[0].tolist() == [0.0, 0.0]


def test_a_sample_whose_label_is_silent_is_skipped():
    inputs = {"in": es.SpikeTrains.from_lists([[[0.5e-3], [2e-3]], [[], []]])}
    numbers = NUMBERS | {"i_initial": np.zeros(2)}
    solution = es.solve(make(numbers), inputs, T_END)
    assert set(solution.spikes["a"].samples.tolist()) == {0}
    for loss in (
        es.losses.TTFSCrossEntropy("a", [1, 0], tau0=1e-3, tau1=6e-3, alpha=0.01, silent="skip"),
        es.losses.TargetTimeMSE("a", np.full((2, 2), 5e-3), silent="skip"),
    ):
        certificate = es.certify(solution, gradients=loss)
        assert certificate.proven, str(certificate)
        value, _ = es.value_and_grad(solution, loss)
        assert certificate.gradients.value.midpoints == pytest.approx(value, rel=1e-12, abs=0.0)


def test_a_gradient_by_an_arrival_about_as_v_is_released_is_undecided():
    """Spikes of two equal neurons reach each other as their refractory periods end, in an order that is open."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("pair", 2, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    net.connect("in", "pair", [[8.0], [8.0]])
    net.connect("pair", "pair", [[0.0, 3.0], [3.0, 0.0]], delay=1e-3)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 10e-3]]])}, 30e-3)
    assert es.certify(solution).proven
    certificate = es.certify(solution, gradients={"pair": np.ones(solution.spikes["pair"].n_spikes)})
    assert not certificate.proven
    assert certificate.undecided[0].why.startswith("the gradient is open: ")


def enclosed_as_float64_has_it(solution, loss, **settings):
    """The certificate of a loss and its gradient, proven, as the compiled adjoint has it of every number."""
    certificate = es.certify(solution, gradients=loss, **settings)
    assert certificate.proven, str(certificate)
    assert certificate.mismatches == ()
    return certificate


@pytest.fixture(scope="module")
def batch():
    """Three samples of two spiking populations and a readout; in the first a neuron is silent."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 3, es.LIF(12e-3, 5e-3, t_ref=4e-3))
    net.add_population("b", 2, es.LIF([10e-3, 8e-3], 4e-3, t_ref=8e-3))
    net.add_population("out", 2, es.LI(9e-3, 6e-3, v_leak=[0.2, -0.1]))
    net.connect("in", "a", [[7.0, 0.0], [0.0, 8.0], [4.0, 6.0]], delay=0.5e-3)
    net.connect("a", "b", [[7.0, 0.0, 1.0], [0.0, 1.5, 3.0]], delay=1e-3)
    net.connect("a", "out", [[1.0, 0.5, -2.0], [-1.0, 1.5, 0.5]], delay=0.7e-3)
    trains = [[[1e-3], []], [[1e-3], [2e-3]], [[0.5e-3, 6e-3], [2e-3, 4e-3]]]
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists(trains)}, 20e-3)
    spikes = solution.spikes["b"]
    counts = np.bincount(spikes.samples * 2 + spikes.neurons, minlength=6).reshape(3, 2)
    assert counts.tolist() == [[1, 0], [1, 1], [1, 1]]
    return solution


FIRST = {"tau0": 1e-3, "tau1": 6e-3, "alpha": 0.01}
LABELS = [0, 0, 1]


@pytest.mark.parametrize(
    "loss",
    [
        es.losses.TTFSCrossEntropy("b", LABELS, **FIRST, silent="t_end"),
        es.losses.RelativeMSE("b", LABELS, gap=2e-3, silent="t_end"),
        es.losses.SilentHinge("b", [0.9, 0.8]),
        es.losses.SpikeCountLoss("b", [0.3, 0.6], upper=2.0, lower=0.5),
        es.losses.SpikeCountLoss("b", 0.4),
        es.losses.MaxVoltageCrossEntropy("out", LABELS),
        es.losses.MeanVoltageCrossEntropy("out", LABELS, weighting="linear"),
        es.losses.InstantCrossEntropy("out", LABELS),
        es.losses.SpikeTimeLoss(
            lambda s: (np.bincount(s["b"].samples, s["b"].times ** 2, 3), {"b": 2 * s["b"].times})
        ),
        es.losses.SampledVoltage("out", [3e-3, 20e-3], lambda v: ((v**2).sum(axis=(1, 2)), 2 * v)),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_a_batch_are_means_over_neurons_that_are_not_the_first(batch, loss):
    certificate = enclosed_as_float64_has_it(batch, loss)
    value, _ = es.value_and_grad(batch, loss)
    middle = certificate.gradients.value.midpoints
    assert np.isnan(middle) or middle == pytest.approx(value, rel=1e-12, abs=0.0)
    assert np.isnan(middle) == isinstance(loss, es.losses.SpikeTimeLoss | es.losses.SampledVoltage)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
def test_what_is_read_of_a_neuron_after_its_last_spike_depends_on_it(reset, t_ref):
    """As it is held and later; nothing else happens to it any more."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, es.LIF(10e-3, 4e-3, v_reset=-0.2, v_leak=0.1, t_ref=t_ref, reset=reset))
    net.connect("in", "a", [[6.0]])
    net.connect("in", "a", [[1.3]], synapse="delta", delay=6e-3, name="jump")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 15e-3)
    spikes = solution.spikes["a"].times
    assert spikes.size > 1
    for time in (spikes[-1] + 1e-3, spikes[-1] + 3e-3):
        loss = es.losses.SampledVoltage("a", [time], lambda v: (v.sum(axis=(1, 2)), np.ones_like(v)))
        grads = enclosed_as_float64_has_it(solution, loss).gradients
        moves = abs(grads.weight["in", "a"].midpoints) > 1e-3
        # held where the jump lifted it, or at v_reset
        assert moves.all() == (time > spikes[-1] + t_ref or reset == "subtract")


class TestTriggered:
    """Spikes that a jump triggers, the very first event of all, and what else comes at that time."""

    def solution(self, *, reset="value", t_ref=0.0, late=0.0, end=20e-3):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("a", 1, es.LIF(10e-3, 4e-3, v_reset=-0.2, v_leak=0.1, t_ref=t_ref, reset=reset))
        net.connect("in", "a", [[1.4]], synapse="delta", delay=1e-3, name="jump")
        net.connect("in", "a", [[7.0]], delay=1e-3 + late, name="current")
        return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, end)

    @pytest.mark.parametrize("reset", ["value", "subtract"])
    def test_a_jump_that_is_the_first_event_of_all(self, reset):
        solution = self.solution(reset=reset, late=2e-3)
        assert solution.spikes["a"].times[0] == 2e-3
        assert solution.spikes["a"].n_spikes > 1
        cotangents = {"a": np.where(np.arange(solution.spikes["a"].n_spikes) % 2, 1.0, -0.7)}
        grads = enclosed_as_float64_has_it(solution, cotangents).gradients
        assert (grads.weight["in", "a", "jump"].midpoints != 0).all() == (reset == "subtract")

    def test_a_current_that_arrives_with_the_spike_that_a_jump_triggers_has_a_gradient(self):
        solution = self.solution()
        assert solution.spikes["a"].n_spikes > 1
        grads = enclosed_as_float64_has_it(solution, {"a": np.ones(solution.spikes["a"].n_spikes)}).gradients
        assert (abs(grads.weight["in", "a", "current"].midpoints) > 1e-4).all()

    def test_v_is_exactly_at_its_reset_after_a_crossing_also_where_it_resets_by_subtraction(self):
        solution = self.solution(reset="subtract", late=2e-3)
        box = box_of(solution, {"weight": {("in", "a", "current"): 1e-3}})
        enclosed = enclose(Wiring(box, everything=True), 0, 100, allow_undecided=False)
        (trajectory,) = trajectories_of(box, 0, enclosed, [Read(0, at_time(20e-3), ZERO)]).values()
        after = [
            s.voltage for before, s in itertools.pairwise(trajectory.segments) if before.end is End.SPIKE
        ]
        triggered, *crossed = after
        assert not triggered.is_exact()
        assert crossed
        assert all(voltage == arb(-0.2) for voltage in crossed)


def released(*, at, t_ref=2e-3, weight=3.0):
    """A spike at 1 ms, released at 3 ms, and a current that arrives later."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("a", 1, es.LIF(10e-3, 4e-3, v_leak=0.3, t_ref=t_ref))
    net.connect("in", "a", [[1.4, 0.0]], synapse="delta", name="jump")
    net.connect("in", "a", [[0.0, weight]], name="current")
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [at]]])}, 15e-3)


def reads(population, time):
    return es.losses.SampledVoltage(population, [time], lambda v: (v.sum(axis=(1, 2)), np.ones_like(v)))


class TestReleases:
    """What comes about as a refractory period ends."""

    def has_a_gradient_in_a_small_box_alone(self, solution, loss):
        enclosed_as_float64_has_it(solution, loss, radii={"t_ref": {"a": 1e-8}})
        radii = {"t_ref": {"a": 1e-6}}
        assert es.certify(solution, radii=radii).proven
        certificate = es.certify(solution, gradients=loss, radii=radii)
        assert not certificate.proven
        assert certificate.undecided[0].why.startswith("the gradient is open: two events")

    def test_a_current_of_a_box_whose_order_with_the_release_is_open_has_no_gradient(self):
        """Which spikes there are is proven: of the two times the later one counts."""
        solution = released(at=3e-3 + 1e-7)
        self.has_a_gradient_in_a_small_box_alone(solution, reads("a", 10e-3))

    @pytest.mark.parametrize("side", [-1, 1])
    def test_a_reading_of_a_box_whose_order_with_the_release_is_open_has_no_gradient(self, side):
        solution = released(at=12e-3)
        self.has_a_gradient_in_a_small_box_alone(solution, reads("a", 3e-3 + side * 1e-7))

    def test_a_reading_exactly_at_the_release_is_of_v_set_free(self):
        """As float64 has it, of the two sides that it has."""
        at = 1e-3 + 2e-3
        assert Fraction(1e-3) + Fraction(2e-3) == Fraction(at)
        enclosed_as_float64_has_it(released(at=12e-3), reads("a", at))

    def test_no_refractory_period_of_a_box_is_negative(self):
        box = box_of(released(at=12e-3, t_ref=1e-9), {"t_ref": {"a": 1e-6}})
        t_ref = parameters_of(box, 0).t_ref
        assert t_ref >= -1e-6 * 2.0**-28  # a radius is rounded up to 30 bits
        assert t_ref.contains(arb(1e-9) + arb(1e-6))


def test_a_spike_that_nothing_triggers_answers_for_what_follows_at_once():
    """It is the first event of all, and its arrival, without a delay, the second."""
    net = es.Network()
    net.add_population("a", 1, es.LIF(20e-3, 5e-3, v_leak=1.5))
    net.add_population("b", 1, es.LIF(20e-3, 5e-3))
    net.connect("a", "b", [[9.0]])
    solution = es.solve(net, {}, 35e-3)
    assert [solution.spikes[name].n_spikes for name in ("a", "b")] == [1, 1]
    grads = enclosed_as_float64_has_it(solution, {"b": np.ones(1)}).gradients
    assert abs(grads.v_leak["a"].midpoints[0]) > 1e-3


@pytest.mark.parametrize("synapse", ["exponential", "delta"])
def test_a_gradient_that_is_0_as_its_terms_cancel_is_not_refuted_for_float64s_rounding(synapse):
    """The largest V moves with the arrival that makes it, and stays as large whenever that comes."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "out", [[1.0], [2.5]], delay=[[3e-3], [4e-3]], synapse=synapse)
    loss, rounded = es.losses.MaxVoltageCrossEntropy("out", [0]), 0
    for k in range(8):
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[k * 1e-3 + 3e-4]]])}, 0.1)
        certificate = es.certify(solution, gradients=loss)
        assert certificate.proven, str(certificate)
        proven, (_, grads) = certificate.gradients, es.value_and_grad(solution, loss)
        for name, key in (("delay", ("in", "out")), ("spike_times", "in")):
            middle, radius = (column.reshape(-1) for column in getattr(proven, name)[key])
            assert (abs(middle) <= radius).all()
            assert (radius < 1e-20).all()
            rounded += (np.asarray(getattr(grads, name)[key]) != 0.0).any()
        # of a wrong one the same size is not rounding
        wrong = {("in", "out"): grads.delay["in", "out"] + np.array([[0.0], [1e-6]])}
        claimed = replace(grads, delay=wrong)
        refuted = es.certify(solution, gradients=loss, claimed_gradients=claimed)
        assert [(m.parameter, m.entry) for m in refuted.mismatches] == [("delay", (1, 0))]
    assert rounded >= 1 or synapse == "delta"


def test_terms_are_no_smaller_than_what_they_add_up_to():
    """And no larger where they are all of one sign: V that is read after one arrival, by its weight."""
    checked = 0
    for seed in range(6):
        solution = random_case(seed, n_samples=2).solve()
        cotangents = {"out": np.ones(solution.spikes["out"].n_spikes)}
        for proof in es.certify(solution, gradients=cotangents).proofs:
            part = proof.gradient
            arrays = [("weight", "", part.weight), ("delay", "", part.delay)]
            arrays += [(name, "", enclosed) for name, enclosed in part.parameters.items()]
            arrays += [("spike_times", name, enclosed) for name, enclosed in part.spike_times.items()]
            for name, key, enclosed in arrays:
                checked += np.count_nonzero(enclosed.midpoints)
                assert (part.sizes[name, key] >= abs(enclosed.midpoints) * (1 - 1e-12)).all()
    assert checked > 500
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "out", [[2.0]])
    read = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 20e-3)
    part = es.certify(read, gradients=reads("out", 10e-3)).proofs[0].gradient
    np.testing.assert_allclose(part.sizes["weight", ""], abs(part.weight.midpoints), rtol=1e-14, atol=0.0)
