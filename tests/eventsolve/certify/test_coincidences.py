"""Does a certificate say where its gradients have another side, as float64 says by other means?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from ties import GRID, tied_network

import eventsolve as es

NEURON = es.LIF(20e-3, 5e-3)


def trains(*times):
    return {"in": es.SpikeTrains.from_lists([[list(row) for row in times]])}


def driven(neuron, weights, *times, delay=0.0, more=None, t_end=20 * GRID):
    """Inputs over delta synapses, and over others if there are more, to one neuron."""
    net = es.Network()
    net.add_input("in", len(times))
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [weights], synapse="delta", delay=delay)
    if more is not None:
        net.connect("in", "out", [more], name="more")
    return es.solve(net, trains(*times), t_end)


def places(found):
    """Times are rounded to what two computations of one crossing have in common."""
    return {(place.population, place.sample, place.neuron, round(place.time, 12)) for place in found}


def reasons(solution, loss=None, **settings):
    """Certify by a loss or times of all spikes; enclosed is what float64 has, and places are those that it lists."""
    if loss is None:
        loss = {"out": np.ones(solution.spikes["out"].n_spikes)}
    grads = es.vjp(solution, loss) if isinstance(loss, dict) else es.value_and_grad(solution, loss)[1]
    certificate = es.certify(solution, gradients=loss, **settings)
    assert certificate.proven, str(certificate)
    assert places(grads.one_sided) <= places(certificate.one_sided)
    return [place.why for place in certificate.one_sided]


def test_random_ties_are_those_that_float64_lists():
    """By kernels that share nothing with it; more may be listed where V would only just reach its threshold."""
    both = more = none = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        net, inputs, t_end = tied_network(rng)
        try:
            solution = es.solve(net, inputs, t_end)
        except es.RepeatedSpikeError:
            continue
        cotangents = {"b": rng.choice([1.0, 2.0, -1.0], solution.spikes["b"].n_spikes)}
        listed = places(es.vjp(solution, cotangents).one_sided)
        certificate = es.certify(solution, gradients=cotangents)
        assert certificate.proven
        proven = places(certificate.one_sided)
        assert listed <= proven
        both, more, none = both + len(listed), more + len(proven - listed), none + (not proven)
    assert both >= 60
    assert more <= 3
    assert none >= 5


def test_a_current_that_comes_with_the_delta_that_triggers():
    """Sooner it would lift V, which the reset by value forgets; later it acts on V set free at once."""
    solution = driven(NEURON, [1.5, 0.0], [GRID], [GRID], more=[0.0, 9.0])
    assert solution.spikes["out"].n_spikes > 1
    assert reasons(solution) == [
        "something arrives exactly as its refractory period ends",
        "something arrives exactly with what triggers its spike",
    ]
    # as well where it is taken first, of a neuron with a lower number
    first = driven(NEURON, [0.0, 1.5], [GRID], [GRID], more=[9.0, 0.0])
    assert first.spikes["out"].n_spikes > 1
    assert reasons(first) == ["something arrives exactly with what triggers its spike"]
    held = driven(es.LIF(20e-3, 5e-3, t_ref=0.5 * GRID), [1.5, 0.0], [GRID], [GRID], more=[0.0, 9.0])
    assert held.spikes["out"].n_spikes > 1
    assert reasons(held) == []  # forgotten sooner, and later held


@pytest.mark.parametrize(
    ("reset", "t_ref", "kept"),
    [("value", 0.0, False), ("value", 0.5, True), ("subtract", 0.0, True), ("subtract", 0.5, False)],
)
def test_a_small_jump_beside_the_trigger(reset, t_ref, kept):
    """V loses it either way by value and held, and keeps it either way by subtraction and free."""
    neuron = es.LIF(20e-3, 5e-3, v_leak=1.2, t_ref=t_ref * GRID, reset=reset)
    said = reasons(driven(neuron, [1.5, 0.25], [GRID], [GRID]))
    assert ("something arrives exactly with what triggers its spike" not in said) is kept
    # a longer period than none would hold V as it comes
    assert ("something arrives exactly as its refractory period ends" in said) is (t_ref == 0.0)


@pytest.mark.parametrize("inhibition", [-0.25, -0.75])
def test_an_inhibition_that_might_keep_the_trigger_from_it(inhibition):
    """It comes after the trigger, into the refractory period; before it, the larger one would keep V below."""
    neuron = es.LIF(20e-3, 5e-3, t_ref=0.5 * GRID)
    said = reasons(driven(neuron, [1.5, inhibition], [GRID], [GRID]))
    assert said == ([] if inhibition == -0.25 else ["something arrives exactly with what triggers its spike"])


@pytest.mark.parametrize(
    ("v_reset", "jump", "again"),
    [(0.0, 0.5, True), (0.0, 0.375, False), (0.25, 0.25, True), (-0.25, 0.625, False)],
)
def test_a_jump_that_would_trigger_again_after_a_reset_by_subtraction(v_reset, jump, again):
    """Without the inhibition in between the larger one would lift V from 0.5 + v_reset to the threshold."""
    neuron = es.LIF(20e-3, 5e-3, v_reset=v_reset, v_initial=0.0, reset="subtract")
    said = reasons(driven(neuron, [1.5, -0.25, jump], [GRID], [GRID], [GRID]))
    assert ("something arrives exactly with what triggers its spike" in said) is again


def test_an_arrival_that_just_reaches_the_threshold():
    assert reasons(driven(NEURON, [1.0], [GRID])) == [
        "an arrival may lift it to its threshold and no further"
    ]
    assert reasons(driven(NEURON, [1.0 + 2.0**-40], [GRID])) == []


def test_an_order_of_arrivals_that_keeps_a_neuron_silent_for_now():
    solution = driven(NEURON, [-0.5, 1.25], [GRID], [GRID], more=[0.0, 9.0])
    assert "in another order it may spike" in reasons(solution)[0]
    assert reasons(driven(NEURON, [-0.5, 0.75], [GRID], [GRID], more=[0.0, 9.0])) == []
    # one alone has no order, and neither have those that arrive while V is held
    held = es.LIF(20e-3, 5e-3, t_ref=2 * GRID)
    silenced = driven(held, [1.5, -0.5, 1.25], [GRID], [2 * GRID], [2 * GRID], more=[0.0, 0.0, 19.0])
    assert silenced.spikes["out"].n_spikes > 1
    assert reasons(silenced) == []


def test_a_jump_that_comes_alone_has_no_order():
    """Not in a box either, where it is proven to stay below the threshold by finer means than the ball of V here."""

    def charged(weight, jump, threshold):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_threshold=threshold))
        net.connect("in", "out", [[weight, 0.0]])
        net.connect("in", "out", [[0.0, jump]], synapse="delta", name="jump")
        net.connect("in", "out", [[0.0, 8.0]], delay=2 * GRID, name="late")
        return es.solve(net, trains([k * GRID for k in range(1, 41)], [42 * GRID]), 60 * GRID)

    before = charged(1.0, 0.0, 1e9).voltage("out", [42 * GRID])[0, 0, 0]
    solution = charged(0.5 / before, 0.499, 1.0)
    assert solution.spikes["out"].n_spikes == 2
    assert reasons(solution, radii={"tau_mem": {"out": 1e-4}}) == []


@pytest.mark.parametrize(("kind", "weight"), [("delta", -0.5), ("exponential", 8.0)])
def test_what_arrives_exactly_as_a_refractory_period_ends(kind, weight):
    """Sooner it acts while V is held, later when it is free; proven is the gradient of V set free first."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=1e-3))
    net.connect("in", "out", [[2.0]], synapse="delta")
    net.connect("in", "out", [[weight]], delay=1e-3, synapse=kind, name="late")
    solution = es.solve(net, trains([1e-3]), 60e-3)
    assert solution.spikes["out"].n_spikes > 1
    assert reasons(solution) == ["something arrives exactly as its refractory period ends"]
    # the loss depends on the first spike alone, which comes before; a jump is told all the same
    first = {"out": np.eye(solution.spikes["out"].n_spikes)[0]}
    assert (reasons(solution, first) == []) is (kind == "exponential")


def test_no_refractory_period_ends_with_its_spike():
    """A longer one would hold V as the neuron's own spike comes back, without a delay."""
    net = es.Network()
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_leak=1.5))
    net.connect("out", "out", [[3.0]])
    solution = es.solve(net, {}, 60e-3)
    assert solution.spikes["out"].n_spikes > 1
    assert set(reasons(solution)) == {"something arrives exactly as its refractory period ends"}
    held = es.solve(net.with_neurons({"out": es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=GRID)}), {}, 60e-3)
    assert held.spikes["out"].n_spikes > 1
    assert reasons(held) == []  # it comes after its spike however that moves


def test_what_comes_back_to_a_spike_by_way_of_another_neuron_stays_behind_it():
    """However the spike moves; float64 lists these places, but both sides have one derivative."""

    def relayed(v_leak):
        net = es.Network()
        net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_leak=v_leak, t_ref=GRID))
        net.add_population("relay", 1, es.LIF(20e-3, 5e-3, t_ref=GRID))
        net.connect("out", "relay", [[1.5]], synapse="delta")
        net.connect("relay", "out", [[3.0]])
        solution = es.solve(net, {}, 50e-3)
        assert solution.spikes["relay"].n_spikes == solution.spikes["out"].n_spikes == 3
        return solution

    solution, h = relayed(1.5), 1e-6
    certificate = es.certify(solution, gradients={"out": np.ones(3)})
    assert certificate.proven
    assert certificate.one_sided == ()
    before, here, after = (relayed(1.5 + k * h).spikes["out"].times.sum() for k in (-1, 0, 1))
    proven = float(certificate.gradients.v_leak["out"].midpoints[0])
    # each side is off by half the second derivative times h
    assert abs((after - here) / h - (here - before) / h) < 2e-5 * abs(proven)
    assert abs((after - before) / (2 * h) - proven) < 1e-6 * abs(proven)


def test_a_voltage_that_is_read_as_something_happens():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LI(20e-3, 5e-3))
    net.connect("in", "out", [[3.0]])
    solution = es.solve(net, trains([4 * GRID]), 20 * GRID)

    def at(time, scale=1.0):
        return es.losses.SampledVoltage("out", [time], lambda v: (v[:, 0, 0], scale * v**0))

    assert reasons(solution, at(4 * GRID)) == ["a loss reads its voltage exactly as something happens to it"]
    assert reasons(solution, at(5 * GRID)) == []
    assert reasons(solution, at(4 * GRID, scale=0.0)) == []
    # a largest voltage moves with the arrival that makes it, and not with another
    for current, said in ((0.0, 0), (-2.0, 1)):
        jumps = es.Network()
        jumps.add_input("in", 2)
        jumps.add_population("out", 2, es.LI(20e-3, 5e-3))
        jumps.connect("in", "out", [[0.5, 0.0], [0.0, 0.0]], synapse="delta")
        jumps.connect("in", "out", [[0.0, current], [0.0, 0.0]], name="current")
        largest = es.solve(jumps, trains([4 * GRID], [4 * GRID]), 20 * GRID)
        assert len(reasons(largest, es.losses.MaxVoltageCrossEntropy("out", [0]))) == said


@pytest.mark.parametrize("what", ["spike", "release"])
def test_the_voltage_of_a_spiking_neuron_that_is_read_as_it_spikes_or_is_set_free(what):
    neuron = es.LIF(20e-3, 5e-3, v_leak=0.5, t_ref=GRID)
    time = {"spike": 2 * GRID, "release": 3 * GRID}[what]
    loss = es.losses.SampledVoltage("out", [time], lambda v: (v[:, 0, 0], v**0))
    assert reasons(driven(neuron, [1.5], [2 * GRID]), loss) == [
        "a loss reads its voltage exactly as something happens to it"
    ]


def test_a_spike_exactly_at_the_end():
    solution = driven(NEURON, [1.5], [4 * GRID], t_end=4 * GRID)
    assert reasons(solution) == ["it spikes exactly at t_end"]
    assert reasons(solution, {"out": [0.0]}) == []
    # where a solution of first spikes stops is no end
    net, inputs = solution.network, trains([4 * GRID])
    first = es.solve_first_spikes(net, inputs, 20 * GRID, population="out")
    assert first.spikes["out"].n_spikes == 1
    assert reasons(first) == []


def test_nothing_is_said_of_neurons_on_which_the_loss_does_not_depend():
    net, inputs, t_end = tied_network(np.random.default_rng(6))
    solution = es.solve(net, inputs, t_end)
    n = {name: trains.n_spikes for name, trains in solution.spikes.items()}
    by_a = es.certify(solution, gradients={"a": np.ones(n["a"])}).one_sided
    by_b = es.certify(solution, gradients={"b": np.ones(n["b"])}).one_sided
    assert {place.population for place in by_a} == {"a"}
    assert {place.population for place in by_b} == {"a", "b"}
    assert es.certify(solution, gradients={"b": np.zeros(n["b"])}).one_sided == ()
    assert es.certify(solution).one_sided == ()


@pytest.mark.parametrize(
    "loss",
    [
        es.losses.SpikeCountLoss("out", target=2.0, lower=0.1),
        es.losses.TTFSCrossEntropy("out", [0], tau0=2e-3, tau1=10e-3, alpha=3e-3, silent="t_end"),
        es.losses.TargetTimeMSE("out", [[5e-3]], silent="t_end"),
        es.losses.TargetTimeMSE("out", [[5e-3]], silent="skip"),
        es.losses.Sum([es.losses.TargetTimeMSE("out", [[5e-3]], silent="skip")]),
    ],
)
def test_a_silent_output_that_would_spike_in_another_order_counts(loss):
    """Its loss jumps, and has no derivative that would say so."""

    def value(step):
        inputs = trains([8 * GRID], [8 * GRID + step])
        return es.value_and_grad(es.solve(solution.network, inputs, 20 * GRID), loss)[0]

    solution = driven(NEURON, [-0.5, 1.2], [8 * GRID], [8 * GRID])
    assert solution.spikes["out"].n_spikes == 0
    assert abs(value(-1e-9) - value(0.0)) > 1e-7
    assert abs(value(1e-9) - value(0.0)) < 1e-9 * (1.0 + value(0.0))
    said = ["arrivals come at exactly one time, and in another order it may spike"]
    assert reasons(solution, loss) == said
    (place,) = es.value_and_grad(solution, loss)[1].one_sided
    assert (place.first, place.second) == tuple(f"an arrival from neuron {n} of 'in'" for n in (0, 1))


def test_a_certificate_says_it_keeps_it_and_is_held_to_it(tmp_path):
    solution = driven(NEURON, [1.5, 0.0], [GRID], [GRID], more=[0.0, 9.0])
    cotangents = {"out": np.ones(solution.spikes["out"].n_spikes)}
    certificate = es.certify(solution, gradients=cotangents)
    said = (
        "gradients are one-sided at 2 places, first, neuron 0 of 'out' in sample 0, 0.0009765625 s: something"
    )
    assert said in str(certificate)
    assert "one-sided" in repr(certificate)
    certificate.save(tmp_path / "certificate.json")
    again = es.Certificate.load(tmp_path / "certificate.json")
    assert again.one_sided == certificate.one_sided
    assert again.check(solution, gradients=cotangents)
    record = json.loads((tmp_path / "certificate.json").read_text())
    record["samples"][0]["one_sided"] = []
    (tmp_path / "other.json").write_text(json.dumps(record))
    silent = es.Certificate.load(tmp_path / "other.json")
    assert silent.disagreement(solution, gradients=cotangents).startswith("sample 0: one_sided is []")
    proofs = (replace(certificate.proofs[0], one_sided=()),)
    assert not replace(certificate, proofs=proofs).check(solution, gradients=cotangents)
