"""Mutants planted in functions that have been read: forks of one process that has collected the tests swap their code.

A fork runs the tests that run what the mutant changes, or share a fixture that runs it, until one fails: those first
that noticed others, then the quickest. What is changed where a module or a class is read, or runs as tests are
collected, cannot be judged so, unless a test notices: it is to be held against all tests in a process that reads it.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import inspect
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import coverage
import pytest

FORK = multiprocessing.get_context("fork")
FIXTURES = "|fixtures"
"""What the name of a test ends with where its fixtures run, not itself."""


class Mutant(NamedTuple):
    """The rows, counted from 1, that a mutant changes, and the module with it."""

    rows: range
    source: str


def own(code: CodeType) -> tuple[bytes, str, tuple[str, ...]]:
    """Return what a code object does, but for the functions and classes that are defined in it."""
    consts = [repr(const) for const in code.co_consts if not isinstance(const, CodeType)]
    return code.co_code, " ".join(consts), code.co_names + code.co_varnames


def swapped(old: CodeType, new: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    """Return the code objects of functions that differ, from without; None where what reads them differs."""
    if old == new:
        return []
    parts = [[const for const in code.co_consts if isinstance(const, CodeType)] for code in (old, new)]
    is_function = bool(old.co_flags & inspect.CO_OPTIMIZED)
    if len(parts[0]) != len(parts[1]) or (not is_function and own(old) != own(new)):
        return None
    found = [(old, new)] if is_function else []
    for pair in zip(*parts, strict=True):
        inner = swapped(*pair)
        if inner is None:
            return None
        found += inner
    return found


def statements(source: str) -> dict[int, range]:
    """Return the rows of the statement that each row is part of; of one with a body, those before it."""
    found: dict[int, range] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
            rows = range(node.lineno, last + 1)
            found |= dict.fromkeys(rows, rows)
    return found


def sharing(items: Sequence[pytest.Item]) -> dict[str, set[str]]:
    """Return the tests that share with each, itself among them, a fixture that is made for more than one."""
    of: dict[object, set[str]] = {}
    for item in items:
        for fixtures in item._fixtureinfo.name2fixturedefs.values():
            if fixtures[-1].scope != "function":
                of.setdefault(fixtures[-1], set()).add(item.nodeid)
    found = {item.nodeid: {item.nodeid} for item in items}
    for tests in of.values():
        for test in tests:
            found[test] |= tests
    return found


def ended(process: multiprocessing.process.BaseProcess) -> None:
    """End a process that leads a group, and all in the group."""
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


class Planting:
    """The plugin of pytest that runs tests once, to see what they run, and then for each of the mutants."""

    def __init__(
        self, module: str, mutants: Mapping[str, Mutant], limit: tuple[float, float], said: Connection
    ):
        self.module, self.path, self.mutants, self.said = module, str(Path(module).absolute()), mutants, said
        self.patience, self.moment = limit
        self.collecting, self.testing = self._watched(), None

    def _watched(self) -> coverage.Coverage:
        return coverage.Coverage(data_file=None, include=[self.path], messages=False)

    def pytest_sessionstart(self) -> None:
        """Begin to watch what runs as tests are collected."""
        self.collecting.start()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Say of each mutant that can be judged its name, and whether it is noticed; at the end, None."""
        importlib.import_module(self.module.removesuffix(".py").replace("/", "."))
        self.collecting.stop()
        collected = set(self.collecting.get_data().lines(self.path) or ())
        source = Path(self.path).read_text(encoding="utf-8")
        code, rows = compile(source, self.path, "exec"), statements(source)
        functions: dict[CodeType, list[FunctionType]] = {}
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType):
                functions.setdefault(thing.__code__, []).append(thing)
        seconds, running = self._observed(session)
        last: list[str] = []
        for name, mutant in self.mutants.items():
            try:
                pairs = swapped(code, compile(mutant.source, self.path, "exec"))
            except SyntaxError:  # no Python any more: nobody can read it
                self.said.send((name, True))
                continue
            if not pairs or pairs[0][0] not in functions:
                continue
            changed = {row for r in mutant.rows for row in rows.get(r, range(r, r + 1))}
            tests = sorted(
                {test for row in changed for test in running.get(row, ())},
                key=lambda test: (-last.index(test) if test in last else 1, seconds[test]),
            )
            noticed_by = self._noticed(session, tests, pairs, functions, seconds)
            if noticed_by is not None:
                last = [*(test for test in last if test != noticed_by), noticed_by]
            if noticed_by is not None or not changed & collected:
                self.said.send((name, noticed_by is not None))
        self.said.send(None)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Watch what fixtures run."""
        if self.testing is not None:
            self.testing.switch_context(f"{item.nodeid}{FIXTURES}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Watch what the test itself runs."""
        if self.testing is not None:
            self.testing.switch_context(item.nodeid)

    def _observed(self, session: pytest.Session) -> tuple[dict[str, float], dict[int, set[str]]]:
        """Return how long each test takes, and the tests that run each row, by a fork: this process keeps nothing."""
        here, there = FORK.Pipe(duplex=False)

        def observe() -> None:
            os.setsid()
            self.testing, seconds = self._watched(), {}
            self.testing.start()
            for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                begin = time.monotonic()
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                seconds[item.nodeid] = time.monotonic() - begin
            self.testing.stop()
            contexts = self.testing.get_data().contexts_by_lineno(self.path)
            there.send((seconds, contexts, session.testsfailed))
            os._exit(0)

        process = FORK.Process(target=observe)
        process.start()
        there.close()  # so that a crash is the end of what is received
        try:
            seconds, contexts, failed = here.recv()
        finally:
            ended(process)
        assert not failed, "the tests do not pass without a mutant"
        shared = sharing(session.items)
        running: dict[int, set[str]] = {}
        for row, names in contexts.items():
            tests = running.setdefault(row, set())
            for name in filter(None, names):
                tests |= shared[name.removesuffix(FIXTURES)] if name.endswith(FIXTURES) else {name}
        return seconds, running

    def _noticed(
        self,
        session: pytest.Session,
        tests: list[str],
        pairs: list[tuple[CodeType, CodeType]],
        functions: dict[CodeType, list[FunctionType]],
        seconds: Mapping[str, float],
    ) -> str | None:
        """Return the test that fails with other code in functions, or ends late; None if all pass."""
        here, there = FORK.Pipe(duplex=False)
        by_name = {item.nodeid: item for item in session.items}

        def run() -> None:
            os.setsid()  # so that what tests start ends with them
            for old, new in pairs:
                for function in functions.get(old, ()):
                    function.__code__ = new
            items = [by_name[test] for test in tests]
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                there.send(session.testsfailed == 0)
                if session.testsfailed:
                    break
            os._exit(0)

        process = FORK.Process(target=run)
        process.start()
        there.close()
        try:
            for test in tests:
                if not here.poll(self.patience * seconds[test] + self.moment) or not here.recv():
                    return test
            return None
        except EOFError:  # the process crashed
            return test
        finally:
            ended(process)
