"""Does every registered target keep what a target promises, on everything that it says it can run?"""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from cores import chain_problem

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.problem import network_of
from validation import registry
from validation.attribution.ablation import late
from validation.oracle import oracle
from validation.target import TOOLS, Grain, forward_only, missing

NAMES = registry.names(registry.TARGETS)
SOME = {"time_step": 1e-3}
"""What options are given that a target has to be given."""


def made(name, **options):
    needed = registry.options_of(registry.TARGETS, name)
    known = {k: v for k, v in (SOME | options).items() if k in needed}
    return registry.target(name, **known)


LIF = es.LIF(20e-3, 5e-3)
ONCE = es.LIF(10e-3, 5e-3, t_ref=1.0)
TIMES = es.SpikeTrains.from_lists([[[1e-3], [4e-3]], [[2e-3], [1e-3]]])
W_IN, W_OUT = [[7.0, 4.0], [5.0, 6.0], [3.0, 8.0]], [[3.0, 2.0, 2.5], [1.5, 3.5, 2.0]]


def small(hidden=LIF, out=LIF, between=None, loss=None, **projection):
    net = network_of(
        {"in": 2, "hidden": (3, hidden), "out": (2, out)},
        {("in", "hidden"): {"weight": W_IN}, ("hidden", "out"): {"weight": W_OUT, **projection}}
        | ({("hidden", "hidden"): between} if between else {}),
    )
    ttfs = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=0.1, alpha=0.0, silent="t_end")
    return es.Problem(net, {"in": TIMES}, 30e-3, ttfs if loss is None else loss)


PROBLEMS = {
    "layers": small(),
    "early": es.Problem(*chain_problem()),
    "recurrent": small(between={"weight": 0.5 * np.eye(3), "delay": 2e-3}),
    "delays": small(delay=1e-3),
    "sparse": small(weight=sp.csr_array(np.array(W_OUT))),
    "refractory": small(hidden=es.LIF(20e-3, 5e-3, t_ref=2e-3)),
    "readout": small(out=es.LI(20e-3, 5e-3), loss=es.losses.MaxVoltageCrossEntropy("out", [0, 1])),
    "subtraction": small(hidden=es.LIF(20e-3, 5e-3, reset="subtract")),
    "no loss": dataclasses.replace(small(), loss=None),
    "one spike": small(hidden=ONCE, out=ONCE),
}


def bits(problem):
    """All that a target might change."""
    arrays = [p.weights for p in problem.network.projections.values()]
    arrays += [t.times for t in problem.inputs.values()]
    arrays += [np.asarray(problem.loss.labels)] if problem.loss is not None else []
    return [np.array(a).tobytes() for a in arrays]


def run(name, case):
    """What a target makes of a problem: its record, or None if it says that it cannot run it."""
    problem = PROBLEMS[case]
    before = bits(problem)
    try:
        return made(name).run(problem)
    except ValueError as error:
        said = str(error)
    finally:
        assert bits(problem) == before
    assert len(said) > 20  # a refusal says what
    return None


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_what_it_can_completely_and_refuses_the_rest(name):
    target, ran = made(name), []
    assert target.name
    for case, problem in PROBLEMS.items():
        record = run(name, case)
        if record is None:
            continue
        ran.append(case)
        assert isinstance(record, Record)
        assert record.name
        net, n = problem.network, problem.n_samples
        for p in net.populations.values():
            if p.neuron is None or p.neuron.spiking:
                trains = record.trains[p.name]
                assert (trains.n_samples, trains.n_neurons) == (n, p.size)
                if record.time_step and p.neuron is not None:
                    steps = trains.times / record.time_step
                    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        if problem.loss is None:
            continue
        assert record.loss_values.shape == (n,)
        assert np.isfinite(record.loss_values).all()
        if forward_only(target):
            assert not any(record.gradients.values())
            continue
        for key, p in net.projections.items():
            assert record.weight[key].shape[0] == n
            assert record.weight[key][0].size == p.weights.size
            assert np.isfinite(record.weight[key]).all()
    assert ran, "it runs something"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_problem_gives_the_same_bits(name):
    case = next(case for case in PROBLEMS if run(name, case) is not None and PROBLEMS[case].loss is not None)
    one, two = run(name, case), run(name, case)
    assert one.loss_values.tobytes() == two.loss_values.tobytes()
    assert bool(one.weight) != forward_only(made(name))
    for key, weight in one.weight.items():
        assert weight.tobytes() == two.weight[key].tobytes()
    for population, trains in one.trains.items():
        assert trains.times.tobytes() == two.trains[population].times.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_do_not_fit_are_refused(name):
    problem = PROBLEMS["layers"]
    with pytest.raises(ValueError, match="in"):
        made(name).run(dataclasses.replace(problem, inputs={}))


def able(tool):
    return [name for name in NAMES if not missing(registry.kind(registry.TARGETS, name), tool)]


def runnable(name):
    return next(p for c, p in PROBLEMS.items() if p.loss is not None and run(name, c) is not None)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if hasattr(registry.kind(registry.TARGETS, n), "resolution")]
)
def test_a_resolution_is_of_the_network(name):
    problem = runnable(name)
    found = made(name).resolution(problem.network)
    assert set(found.transport) == set(problem.network.projections)
    assert all(steps >= 0 for steps in found.transport.values())
    assert found.quantum > 0
    assert found.time_step == made(name).run(problem).time_step
    radii = found.radii(problem.network)
    assert set(radii["spike_times"]) == set(problem.network.populations)


@pytest.mark.parametrize("name", able("attribute"))
def test_with_all_causes_it_is_itself_and_without_any_nearer_to_the_oracle(name):
    target, problem = made(name), runnable(name)
    causes, kept = target.causes(), target.kept()
    assert causes
    assert set(kept) <= set(causes)
    assert all(text for text in causes.values())
    whole, own = target.with_causes(causes).run(problem), target.run(problem)
    for population, trains in own.spikes.items():
        assert trains == whole.spikes[population]
    for key, weight in own.weight.items():
        np.testing.assert_array_equal(weight, whole.weight[key])
    bare = target.with_causes(kept)
    exact = oracle(late(problem, bare.resolution(problem.network)))
    without = bare.run(problem)
    if forward_only(target):
        for population, trains in exact.spikes.items():
            assert trains == without.spikes[population]
            assert problem.network.population(population).neuron is None or trains != own.spikes[population]
    for key, weight in exact.weight.items() if not forward_only(target) else ():
        off, none = (np.linalg.norm(r.weight[key] - weight) for r in (own, without))
        assert none < off or none <= 1e-9 * np.linalg.norm(weight)
    with pytest.raises(ValueError, match="no such"):
        target.with_causes(["no such cause"])


@pytest.mark.parametrize("name", able("converge"))
def test_it_is_had_at_the_grain_that_is_asked_for(name):
    problem = runnable(name)
    for step in (5e-4, 2e-4):
        other = made(name).at(Grain(step, None))
        assert other.resolution(problem.network).time_step == step
        assert other.run(problem).time_step == step


@pytest.mark.parametrize("name", able("recommend"))
def test_every_setting_that_it_offers_can_be_made_and_costs_something(name):
    kind = registry.kind(registry.TARGETS, name)
    for options in kind.settings():
        made(name, **options)
    problem = runnable(name)
    cost = made(name).cost(problem, made(name).run(problem))
    assert cost.operations > 0
    assert cost.bytes >= cost.packet_bytes > 0


@pytest.mark.parametrize("name", able("localise"))
def test_it_does_not_depart_from_itself(name):
    problem = runnable(name)
    target = made(name, traces=True)
    assert target.localised(problem, target.run(problem)) is None


def test_targets_are_found_for_every_tool():
    assert all(able(tool) for tool in TOOLS)
