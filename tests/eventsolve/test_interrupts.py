"""Signals while kernels run: handlers run when the kernel has ended, which it does at once; nothing else is harmed."""

import ast
import functools
import gc
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import eventsolve as es
from eventsolve import interrupts
from eventsolve.chunks import map_chunks
from eventsolve.interrupts import call, interruptible
from tests import interrupts as campaign

ROOT = pathlib.Path(__file__).parents[2]


def driven(n=50):
    """Neurons that spike without end, as their leak is above threshold."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", n, es.LIF(20e-3, 5e-3, v_leak=1.5))
    net.connect("in", "out", np.linspace(0.1, 0.2, n)[:, None])
    return net


INPUTS = {"in": es.SpikeTrains.from_lists([[[0.5]], [[0.25]]])}
MANY = 10**7
"""Spikes that take seconds, and not all memory where an interrupt does not come out."""


@pytest.fixture
def uncollected():
    """Python loses what a handler raises within a callback of its garbage collector, and Hypothesis has set one."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def handler(uncollected):
    """Install a handler of SIGINT, and another's wakeup descriptor; afterwards both have to be where they were."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before, wakeup = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(writer.fileno())

    def install(function):
        signal.signal(signal.SIGINT, function)
        installed.append(function)

    installed = []
    try:
        yield install
        assert signal.getsignal(signal.SIGINT) is installed[-1]
        assert signal.set_wakeup_fd(wakeup) == writer.fileno()
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(wakeup)
        reader.close()
        writer.close()


def interrupts_itself(until, flag):
    """As a kernel would be interrupted: the handler of the signal has to wait, the flag is set."""
    if until.pop():
        signal.raise_signal(signal.SIGINT)
    return "complete" if flag[0] == 0 else "half"


def test_what_a_handler_raises_comes_out_of_the_kernel(handler):
    handler(signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        call(interrupts_itself, [True])
    assert call(interrupts_itself, [False]) == "complete"


def test_work_is_done_again_after_a_handler_that_does_not_raise_and_not_for_ever(handler):
    heard = []
    handler(lambda number, _: heard.append(number))
    again = [True, True]  # the signal comes each time, the second time to no avail
    assert call(interrupts_itself, again) == "complete"
    assert heard == [signal.SIGINT] * 2
    assert again == []


def test_an_error_of_the_work_gives_way_to_the_handlers(handler):
    handler(signal.default_int_handler)

    def fails():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("of the work")

    with pytest.raises(KeyboardInterrupt) as caught:
        interruptible(fails)
    assert str(caught.value.__context__) == "of the work"


def test_whoever_listened_for_signals_hears_of_them(handler):
    handler(lambda *_: None)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    theirs = signal.set_wakeup_fd(writer.fileno())
    call(interrupts_itself, [False, True])
    assert signal.set_wakeup_fd(theirs) == writer.fileno()
    reader.settimeout(10)
    assert set(reader.recv(100)) == {signal.SIGINT}
    reader.close()
    writer.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 130])
def test_every_thread_is_stopped(handler, threads, n_samples):
    """A network that spikes for hours is left alone at once, and the next call is right."""
    handler(signal.default_int_handler)
    net = driven()
    inputs = {"in": es.SpikeTrains.from_lists([[[0.01 * k]] for k in range(n_samples)])}
    expected = es.solve(net, inputs, 0.5, threads=threads)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        es.solve(net, inputs, 1e6, threads=threads, max_spikes=MANY)
    assert time.perf_counter() - start < 5.0
    timer.join()
    again = es.solve(net, inputs, 0.5, threads=threads)
    assert again.spikes["out"].times.tobytes() == expected.spikes["out"].times.tobytes()


def test_a_kernel_that_is_not_compiled_is_left_to_another_thread(handler):
    handler(signal.default_int_handler)
    seen = []

    class Cold:
        overloads = ()

        def __call__(self, flag):
            seen.append(threading.current_thread())
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    if flag[0]:
                        return "half"
                    time.sleep(0.01)
            return "complete"

    interrupt = True
    with pytest.raises(KeyboardInterrupt):
        call(Cold())
    interrupt = False
    assert call(Cold()) == "complete"
    assert map_chunks(lambda k: call(Cold()), 5, 2) == ["complete"] * 5
    assert threading.main_thread() not in seen


def test_a_caller_on_another_thread_is_no_matter_for_signals():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(es.solve(driven(), INPUTS, 0.1).spikes["out"].n_spikes)
    )
    thread.start()
    thread.join()
    assert found == [es.solve(driven(), INPUTS, 0.1).spikes["out"].n_spikes]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_process_can_be_interrupted(uncollected):
    es.solve(driven(), INPUTS, 0.1)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            es.solve(driven(), INPUTS, 1e6, max_spikes=MANY)
        except KeyboardInterrupt:
            os._exit(7)
        finally:
            os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@functools.cache
def compiled_in(file):
    """Names of the functions of a module that are compiled, and may return arrays."""
    return {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "compiled" for d in node.decorator_list)
    }


def kernels_called_directly(source):
    """Names of kernels that a module calls but through interrupts.call."""
    tree = ast.parse(source)
    kernels = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            place = ROOT / node.module.replace(".", "/")
            for alias in node.names:
                if (place / f"{alias.name}.py").exists():
                    kernels |= {f"{alias.name}.{name}" for name in compiled_in(place / f"{alias.name}.py")}
                elif place.with_suffix(".py").exists() and alias.name in compiled_in(
                    place.with_suffix(".py")
                ):
                    kernels.add(alias.name)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return sorted(kernels & calls)


def test_every_kernel_is_called_where_it_can_be_interrupted():
    files = [
        file
        for file in itertools.chain(ROOT.glob("eventsolve/**/*.py"), ROOT.glob("validation/**/*.py"))
        if "kernels" not in file.parts
    ]
    found = {str(file.relative_to(ROOT)): kernels_called_directly(file.read_text()) for file in files}
    assert {file: names for file, names in found.items() if names} == {
        # three that take a moment, within interruptible
        "validation/tasks/keywords/ear.py": ["fired_cells", "moved_membrane", "released_vesicles"]
    }
    assert kernels_called_directly("from eventsolve.kernels.layered import forward\nforward(1)") == [
        "forward"
    ]
    assert kernels_called_directly("from eventsolve.kernels import trajectories\ntrajectories.maxima(1)") == [
        "trajectories.maxima"
    ]


def test_signals_are_put_off_for_as_long_as_a_kernel_runs_only():
    assert not interrupts.within()
    assert interruptible(interrupts.within)
    assert map_chunks(lambda k: interrupts.within(), 4, 2) == [True] * 4


def test_interrupts_at_random_times_leave_every_verb_as_it_was(tmp_path):
    """The campaign, cut short; it fails for what it would fail for at length."""
    command = [sys.executable, "-m", "tests.interrupts", "--interrupts", "40", "--each", "40", "--seed", "2"]
    command += ["--log", str(tmp_path / "log.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["interrupts"] == 40
    assert report["interrupted"] > 0


def test_a_campaign_of_interrupts_goes_on_from_what_is_finished_and_adds_it_up(tmp_path, monkeypatch, capsys):
    asked = []

    def in_a_process(n, seed):
        asked.append((n, seed))
        if len(asked) == 3:
            raise KeyboardInterrupt
        counts = {"interrupted": n - 1, "too late": 1, "wrong": 0} | dict.fromkeys(
            campaign.SLOW, 0.25 * len(asked)
        )
        return {"process_seed": seed, "status": 0, "verbs": {"solve": counts}}

    monkeypatch.setattr(campaign, "in_a_process", in_a_process)
    command = ["", "--interrupts", "50", "--each", "20", "--seed", "7", "--log", str(tmp_path / "log.jsonl")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        campaign.main()
    assert campaign.main() == 0
    assert asked == [(20, 7), (20, 8), (10, 9), (10, 9)]
    report = json.loads(capsys.readouterr().out)
    assert (report["interrupts"], report["interrupted"]) == (50, 47)
    assert report["slowest, processor"] == 1.0  # the limit itself
    monkeypatch.setattr(campaign, "SLOW", dict.fromkeys(campaign.SLOW, 0.99))
    assert campaign.main() == 1
