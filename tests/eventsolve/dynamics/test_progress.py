"""Do bars of progress reach their end, whatever shows them, and change nothing?"""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rich.progress

import eventsolve as es
from eventsolve.calibrate import ROUNDS


@pytest.fixture
def bars(monkeypatch):
    """What each bar was to reach, and what it was told."""
    found = []

    class Told(rich.progress.Progress):
        def add_task(self, name, total=None, **options):
            found.append([name, total, 0.0])
            return super().add_task(name, total=total, **options)

        def update(self, task, *, advance=None, description=None, **options):
            found[-1][2] += advance or 0.0
            super().update(task, advance=advance, description=description, **options)

    monkeypatch.setattr(rich.progress, "Progress", Told)
    return found


def test_bars_of_dynamics_reach_their_ends(bars):
    net = es.Network()
    net.add_population("n", 2, es.LIF(20e-3, 5e-3, v_leak=1.5, t_ref=2e-3, v_initial=[0.0, 0.5]))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    solution = es.solve(net, {}, 60e-3)
    states = [es.solve(net, {}, 0.0).final_state] * 2
    orbit = es.periodic_orbit(net)

    def verbs(**options):
        yield "averaging", 0.2, es.lyapunov_spectrum(net, states, 0.1, 1, transient=0.0, **options).rates
        with ThreadPoolExecutor(2) as executor:
            shared = es.lyapunov_spectrum(net, states, 0.1, 1, transient=0.0, executor=executor, **options)
        yield "averaging", 2, shared.rates
        yield "perturbing", 3, es.flux_tube(solution, n_directions=3, certified=False, **options).parted
        moved = es.sensitivity(solution, of="v_threshold", **options)
        yield "differentiating", 2, moved.blocks["n", "v_threshold", "n"]
        over = ("weight", ("n", "n"), (0, 1)), (0.4, 0.42)
        yield "following", 1, es.continuation(net, *over, of=solution, **options).branches[-1].values
        yield "following", 1, es.continuation(net, *over, of=orbit, **options).branches[-1].values

    quiet = list(verbs())
    assert bars == []
    for (name, total, result), (_, _, without) in zip(verbs(progress=True), quiet, strict=True):
        assert bars[-1][:2] == [name, pytest.approx(total)]
        assert bars[-1][2] == pytest.approx(total), name
        assert np.array_equal(result, without)
    assert len(bars) == len(quiet)


def test_other_bars_reach_their_ends(bars):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[9.0, 1.0], [9.0, 1.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 20e-3], [1e-3]]])}
    solution = es.solve(net, inputs, 40e-3)
    free = es.Network()
    free.add_population("n", 1, es.LIF(20e-3, 5e-3, v_leak=2.0, t_ref=1e-3))
    orbit = es.periodic_orbit(free)
    loss = es.losses.SpikeCountLoss("out", 2.0)
    pair = es.Network()
    pair.add_input("in", 2)
    pair.add_population("n", 1, es.LIF(20e-3, 5e-3))
    pair.connect("in", "n", [[-0.5, 1.2]], synapse="delta")
    pair.connect("in", "n", [[4.0, 4.0]], name="slow")
    tied = es.solve(pair, {"in": es.SpikeTrains.from_lists([[[1e-3], [1e-3]]])}, 20e-3)
    sided = es.vjp(tied, {"n": np.ones(tied.spikes["n"].n_spikes)})
    causes = [{"v_threshold": {"out": [0.1, 0.1]}}, {"tau_mem": {"out": [1e-3, 0.0]}}]

    def verbs(**options):
        yield (
            "differentiating",
            3,
            es.spread(
                solution,
                {"tau_mem": {"out": [1e-3, 0.0]}, "delay": {("in", "out"): [[1e-6, 0], [0, 1e-6]]}},
                **options,
            ).spike_times["out"],
        )
        yield "differentiating", 2, es.spread(solution, causes, **options).spike_times["out"]
        found = es.value_and_grad_in_pieces(net, inputs, 40e-3, loss, 4, **options)[1]
        yield "differentiating in pieces", 8, found.weight["in", "out"]
        yield "differentiating", 1, es.gradient_sides(sided, **options)["spike_times"]["in"]
        fit = es.calibrate(net, inputs, solution.spikes, 40e-3, ("v_threshold",), **options)
        yield "fitting", ROUNDS, fit.values
        yield "searching an orbit", 1, es.periodic_orbit(free, **options).spikes["n"].times
        yield "searching an orbit", 1, es.periodic_orbit(free, guess=orbit, **options).spikes["n"].times
        certificate = es.certify_orbit(orbit, **options)
        yield "enclosing times in", 4, certificate.multipliers.midpoints
        assert certificate.check(orbit, **options)
        yield "enclosing times in", 4, np.array(certificate.period)
        exact = es.multiprecision.gradient(
            net, inputs, 5e-3, lambda s: s.spikes["out"][0][0][0], [("weight", ("in", "out"))], **options
        )
        yield "differentiating", 4, exact["weight", ("in", "out")]

    quiet = list(verbs())
    assert bars == []
    for (name, total, result), (_, _, without) in zip(verbs(progress=True), quiet, strict=True):
        assert bars[-1][0].startswith(name)
        assert bars[-1][1:] == [pytest.approx(total), pytest.approx(total)], name
        assert np.array_equal(result, without)
    assert len(bars) == len(quiet)


def test_threads_executor_and_progress_are_alike_everywhere():
    shared = {"threads": None, "executor": None, "progress": False}
    verbs = {
        f"{module.__name__}.{name}": inspect.signature(getattr(module, name)).parameters
        for module in (es, es.dynamics, es.multiprecision)
        for name in dir(module)
        if inspect.isfunction(getattr(module, name)) and name[0] != "_"
    }
    assert len(verbs) > 20
    for name, parameters in verbs.items():
        options = [option for option in parameters if option in shared]
        assert list(parameters)[len(parameters) - len(options) :] == options, f"{name}: they come last"
        assert options == [option for option in shared if option in options], f"{name}: in this order"
        for option in options:
            assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY, name
            assert parameters[option].default is shared[option], name
        assert "progress" in options or "executor" not in options, f"{name}: what is shared out takes long"
