"""Do bars of progress reach their end, whatever shows them, and change nothing?"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rich.progress

import eventsolve as es


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
