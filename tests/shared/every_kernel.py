"""Small problems that between them run every kernel: python every_kernel.py prints a digest of the numbers of each.

Under NUMBA_DISABLE_JIT=1 kernels are the plain Python that they are written in, and those that ran are listed.
"""

import dataclasses
import hashlib
import os
import struct
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse
from loops import Loop
from networks import random_case

import eventsolve as es
from eventsolve import losses
from eventsolve.dynamics import position, velocity
from validation.brainscales2 import training
from validation.brainscales2.networks import SETUPS
from validation.brainscales2.networks import initial as initial_of
from validation.fixedpoint import FixedFormat
from validation.grid.flaws import Flaws
from validation.grid.time_stepped import TimeStepped
from validation.loihi2 import Loihi2
from validation.loihi2.program import Dense, Layer, Program
from validation.loihi2.running import run
from validation.registry import target
from validation.sbp import circuit, reference
from validation.sbp.rule import EXACT
from validation.sbp.weights import initial, one_hot
from validation.spinnaker2.arithmetic import Arithmetic

GRID = 2.0**-10
"""Seconds, of times whose sums are exact."""
ROOT = Path(es.__file__).parents[1]
ran = set()


def watch(frame, event, _):
    if event == "call" and "kernels" in (code := frame.f_code).co_filename:
        ran.add((code.co_filename, code.co_name))


def digest(value):
    """Of the bits of all numbers in a record, however deep."""
    found = hashlib.sha256()

    def add(part):
        if part is None or isinstance(part, es.Network | np.random.Generator) or callable(part):
            return
        if isinstance(part, str):
            found.update(part.encode())
        elif isinstance(part, bool | int | np.integer | np.bool_):
            found.update(str(int(part)).encode())
        elif isinstance(part, float | np.floating):
            found.update(struct.pack("d", part))
        elif isinstance(part, np.ndarray):
            found.update(np.ascontiguousarray(part).tobytes()) if part.dtype != object else add(part.tolist())
        elif scipy.sparse.issparse(part):
            add(part.tocsr().data)
        elif isinstance(part, Mapping):
            for key in sorted(part, key=repr):
                add(repr(key))
                add(part[key])
        elif dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                add(getattr(part, field.name))
        elif isinstance(part, Iterable):
            for each in part:
                add(each)
        else:
            raise TypeError(f"what are the numbers of {type(part)}?")

    add(value)
    return found.hexdigest()[:16]


def cotangents_of(solution):
    return {
        name: np.cos(np.arange(trains.n_spikes)) for name, trains in solution.spikes.items() if name != "in"
    }


def answers(solution, loss=None):
    """Whatever the verbs say of a solution."""
    net, names = solution.network, list(solution.spikes)
    times = np.linspace(0, solution.t_end, 7)
    yield solution.spikes, solution.warnings
    computed = [n for n in names if net.population(n).neuron is not None]
    yield [(solution.voltage(n, times), solution.current(n, times)) for n in computed]
    yield es.vjp(solution, cotangents_of(solution))
    if loss is not None:
        yield es.value_and_grad(solution, loss)
        yield es.value_and_grad(solution, loss, wrt=("weight",))
    yield es.jvp(solution, {"weight": dict.fromkeys(net.projections, 1.0)})


def judged(solution):
    """How far its numbers may be trusted."""
    yield es.margins(solution)
    yield es.vjp(solution, cotangents_of(solution)).condition
    yield [es.trust_radius(solution, of=name, certify=False) for name in ("weight", "spike_times")]


def feed_forward():
    solution = random_case(11).solve()
    labels = np.zeros(solution.n_samples, np.int64)
    yield from answers(
        solution, losses.FirstSpikeCrossEntropy("out", labels, tau0=1e-3, alpha=1e-3, silent="t_end")
    )
    yield from judged(solution)
    yield es.margins(solution, nearest=1)
    yield es.solve_first_spikes(solution.network, {"in": solution.spikes["in"]}, 50e-3, "out").spikes


def every_parameter():
    solution = Loop(5, n=2, t_end=25e-3).solve()
    yield from answers(solution, losses.SpikeCountLoss("a", 3.0))
    yield from judged(solution)
    yield es.dynamics.flow_derivative(solution)


def drawn(rate, n, n_in=3, delay=None, sparse=False, synapse="exponential", readout=False, seed=2, **neuron):
    """A recurrent population, all neurons alike or not, and its input."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", n_in)
    net.add_population("a", n, es.LIF(20e-3, 5e-3, **neuron))
    net.connect("in", "a", rng.normal(2.0, 1.0, (n, n_in)))
    weight = rng.normal(0.0, 0.6, (n, n))
    if synapse == "delta":
        weight *= 0.3
    if sparse:
        weight = scipy.sparse.csr_array(np.where(rng.random((n, n)) < 0.4, weight, 0.0))
    late = {} if delay is None else {"delay": delay}
    if delay == "each":
        late = {"delay": rng.uniform(1e-3, 5e-3, (n, n))}
        if sparse:
            late["delay"] = weight.copy()
            late["delay"].data = rng.uniform(1e-3, 5e-3, weight.nnz)
    net.connect("a", "a", weight, synapse=synapse, **late)
    if readout:
        net.add_population("out", 2, es.LI(20e-3, 5e-3))
        net.connect("a", "out", rng.normal(0.0, 1.0, (2, n)))
    trains = es.SpikeTrains.from_lists(
        [[np.sort(rng.uniform(0, 40e-3, rate)) for _ in range(n_in)] for _ in range(2)]
    )
    return es.Problem(net, {"in": trains}, 50e-3)


def recurrent():
    for options in (
        {},
        {"delay": 1e-3},
        {"delay": "each"},
        {"delay": "each", "t_ref": 2e-3, "reset": "subtract"},
        {"sparse": True},
        {"sparse": True, "delay": "each"},
        {"sparse": True, "delay": 1e-3, "synapse": "delta"},
        {"synapse": "delta", "delay": 1e-3},
        {"sparse": True, "synapse": "delta", "v_leak": 1.2},
    ):
        problem = drawn(2, 4, **options)
        solution = es.solve(problem.network, problem.inputs, problem.t_end, max_spikes=5000)
        yield from answers(solution)
        yield from judged(solution)


def readouts():
    labels = np.array([0, 1])
    for loss in (
        losses.MeanVoltageCrossEntropy("out", labels),
        losses.MeanVoltageCrossEntropy("out", labels, weighting="exponential"),
        losses.MaxVoltageCrossEntropy("out", labels),
        losses.InstantCrossEntropy("out", labels),
        losses.SampledVoltage("out", [10e-3, 33e-3], lambda v: (v.sum(axis=(1, 2)), np.ones_like(v))),
    ):
        problem = drawn(3, 4, readout=True)
        yield from answers(es.solve(problem.network, problem.inputs, problem.t_end), loss)


def rhythms():
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3, v_initial=[0.0, 0.5]))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    orbit = es.periodic_orbit(net)
    yield orbit, es.phase_response(orbit, "n", neuron=0, phases=5)
    yield es.continuation(net, ("weight", ("n", "n"), (0, 1)), (0.4, 0.402), of=orbit).branches
    yield es.lyapunov_spectrum(net, None, t=0.2, k=3)
    state = es.solve(net, {}, 30e-3).final_state
    yield position(net, state), velocity(net, state)


def observed():
    case = random_case(11)
    along = es.observe(case.net, case.inputs, {"hidden": case.solve().spikes["hidden"]}, case.t_end)
    yield from answers(along)
    yield along.residual


def clocked(name, **options):
    """What a target computes for a network that most can take."""
    rng = np.random.default_rng(3)
    net = es.Network()
    net.add_input("in", 4)
    tau_mem, t_ref = options.pop("tau_mem", 20e-3), options.pop("t_ref", 0.0)
    net.add_population("hidden", 6, es.LIF(tau_mem, 5e-3, t_ref=t_ref))
    readout = options.pop("readout", False)
    net.add_population("out", 2, es.LI(tau_mem, 5e-3) if readout else es.LIF(tau_mem, 5e-3, t_ref=t_ref))
    net.connect("in", "hidden", options.pop("strength", 1.0) * rng.normal(2.5, 1.0, (6, 4)))
    if options.pop("cycle", False):
        net.connect("hidden", "hidden", rng.normal(0.0, 0.5, (6, 6)))
    net.connect("hidden", "out", rng.normal(1.0, 1.0, (2, 6)))
    trains = es.SpikeTrains.from_lists([[[t] for t in rng.uniform(0, 15e-3, 4)] for _ in range(2)])
    labels = np.array([0, 1])
    loss = (
        losses.MeanVoltageCrossEntropy("out", labels)
        if readout
        else losses.TTFSCrossEntropy("out", labels, tau0=1e-3, tau1=5e-3, alpha=1e-3, silent="t_end")
    )
    on = options.pop("on", None)
    under_test = target(name, **options)
    if on is not None:
        under_test = under_test.with_causes(on)
    return under_test.run(es.Problem(net, {"in": trains}, 30e-3, loss))


def ties():
    """Two spikes at one time reach a neuron together: derivatives are one-sided, and margins are 0."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, t_ref=10e-3))
    net.connect("in", "out", [[2.0, 0.1]], synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3, 11e-3], [1e-3]]])}, 40e-3)
    yield from answers(solution)
    yield es.margins(solution, nearest=1)
    along = es.observe(net, {"in": solution.spikes["in"]}, {"out": solution.spikes["out"]}, 40e-3)
    yield along.residual
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, t_ref=GRID))
    net.connect("in", "out", [[8.0, -3.0]])
    net.connect("in", "out", [[1.5, -0.5]], synapse="delta", name="jump")
    solution = es.solve(
        net, {"in": es.SpikeTrains.from_lists([[[GRID, 2 * GRID], [GRID, 2 * GRID]]])}, 9 * GRID
    )
    gradients = es.vjp(solution, cotangents_of(solution))
    yield gradients, gradients.one_sided


def many_spikes():
    rng = np.random.default_rng(6)
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=50.0))
    net.add_population("m", 2, es.LIF(20e-3, 5e-3))
    net.connect("n", "m", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    solution = es.solve(net, {}, 50e-3)
    yield solution.spikes
    few = es.SpikeTrains.from_lists([[[2e-3], [3e-3]]])
    yield es.observe(net, {}, {"n": few}, 50e-3).residual
    crowded = es.Network()
    crowded.add_input("in", 1)
    crowded.add_population("loop", 1, es.LIF(20e-3, 5e-3))
    crowded.connect("in", "loop", [[0.02]])
    crowded.connect("loop", "loop", [[0.1]], delay=1e-3)
    together = es.SpikeTrains.from_lists(
        [[1e-3 + 1e-6 * np.arange(200)]]
    )  # more than a first window has room for
    yield es.solve(crowded, {"in": together}, 50e-3).spikes
    busy = es.Network()
    busy.add_input("in", 1)
    busy.add_population("m", 2, es.LIF(20e-3, 5e-3, v_leak=50.0))
    busy.connect("in", "m", [[1.0], [0.0]])
    trains = {"in": es.SpikeTrains.from_lists([[[1e-3]]])}
    problem = es.Problem(busy, trains, 50e-3, losses.SpikeCountLoss("m", 1.0))
    for step in (1e-3, 0.1e-3):
        yield TimeStepped(step).run(problem)
    yield TimeStepped(1e-3).run_flawed(problem, Flaws(first_only=True))
    yield Loihi2(0.1e-3).run(problem)
    halved = Program((Layer(Dense([[3, 5], [1, 7]], weight_exp=-1)),))
    yield run(halved, rng.integers(0, 2, (6, 2)))
    for name, options in (("genn", {"readout": True}), ("spinnaker2", {})):
        yield clocked(name, time_step=0.1e-3, strength=30.0, **options)


def along_a_parameter():
    case = random_case(11, n_samples=1)
    problem = es.Problem(case.net, case.inputs, case.t_end)
    yield es.continuation(case.net, ("weight", ("in", "hidden"), (0, 0)), (1.0, 1.2), of=problem).branches


def adjoints():
    case = random_case(11)
    solution = case.solve()
    states = es.adjoint_states(solution, losses.SpikeCountLoss("out", 3.0))
    yield states.voltage("hidden", [1e-3, 2e-2]), states.current("hidden", [1e-3, 2e-2])
    problem = drawn(3, 4, readout=True)
    loss = losses.MeanVoltageCrossEntropy("out", np.array([0, 1]))
    states = es.adjoint_states(es.solve(problem.network, problem.inputs, problem.t_end), loss)
    yield states.voltage("out", [1e-3, 2e-2]), states.current("out", [1e-3, 2e-2])


def in_pieces():
    case = random_case(11)
    for given, read in ((case, "out"), (drawn(3, 4, delay="each", t_ref=2e-3, readout=True), "a")):
        net = given.net if given is case else given.network
        loss = losses.SpikeCountLoss(read, 3.0)
        value, grads = es.value_and_grad_in_pieces(net, given.inputs, given.t_end, loss, 7)
        yield value, grads


def targets():
    for name in ("float64", "float32", "float16", "s16.15", "s20.31"):
        yield clocked("timestepped", time_step=1e-3, number=name)
        yield clocked("timestepped", time_step=1e-3, number=name, readout=True, cycle=True)
    coarse = replace(Arithmetic.preset("s16.15"), adjoint=FixedFormat(20, 11))
    for name in ("float64", "float32", "s16.15", "s16.46", coarse):
        yield clocked("spinnaker2", time_step=1e-3, format=name)
    yield clocked("spinnaker2", time_step=1e-3, format="s16.15", rounding="stochastic")
    yield clocked("timestepped", time_step=1e-3, number="s3.10", overflow="wrap")
    for faithful in (True, False):
        yield clocked("genn", time_step=1e-3, readout=True, cycle=True, faithful=faithful)
    yield clocked("loihi2", time_step=1e-3, readout=True, cycle=True)
    yield clocked("brainscales2", tau_mem=10e-3, t_ref=1.0)


def causes():
    for on in (
        (),
        ("spike_grid", "euler_decay", "overshoot"),
        ("weight_format", "state_format", "saturation"),
    ):
        yield clocked("spinnaker2", on=on, time_step=1e-3, format="s16.15")
    formats = ("weight_format", "state_format", "decay_format", "adjoint_format", "rounding", "saturation")
    for on in (formats, (*formats, "late_jump")):
        yield clocked("spinnaker2", on=on, time_step=1e-3, format="s16.15")
    for on in ((), ("grid",), ("grid", "truncation")):
        yield clocked("loihi2", on=on, time_step=1e-3, readout=True, cycle=True)


def learning():
    rng = np.random.default_rng(4)
    start = initial((12, 16, 4), 4)
    inputs, answers_ = rng.random((6, 12)) < 0.4, one_hot(rng.integers(0, 4, 6), 4)
    yield reference.learned(start, inputs, answers_), reference.outputs(start, inputs)
    yield reference.learned(start, inputs, answers_, EXACT)
    yield circuit.learned(start, inputs, answers_).weights


def in_the_loop():
    times, labels = training.points(20, 0)
    for name in ("chip-axonal", "axonal"):
        setup, rng = SETUPS[name], np.random.default_rng(5)
        chip = training.circuits(setup, training.chip_of(1)) if setup.on_chip else training.ideal(setup)
        parameters = initial_of(setup, 5)
        parameters = replace(parameters, weights=tuple(3.0 * w for w in parameters.weights))
        for engine in training.ENGINES:
            measured = training.forward(setup, parameters, times, chip, rng)
            yield measured, training.backward(setup, parameters, measured, labels, chip, engine)


EVERYTHING = (
    feed_forward, every_parameter, recurrent, readouts, rhythms, observed, ties, many_spikes, along_a_parameter,
    adjoints, in_pieces, targets, causes, learning, in_the_loop,
)  # fmt: skip


def main():
    plain = os.environ.get("NUMBA_DISABLE_JIT") == "1"
    if plain:  # compiled kernels make no calls that could be seen
        threading.setprofile(watch)
        sys.setprofile(watch)
    for story in EVERYTHING:
        print(story.__name__, *(digest(part) for part in story()), flush=True)
    sys.setprofile(None)
    if plain:
        for file, name in sorted(ran):
            print("ran", Path(file).relative_to(ROOT).as_posix(), name)


if __name__ == "__main__":
    main()
