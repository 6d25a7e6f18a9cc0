"""The pytest plugin of eventsolve: a marker, two fixtures, an option and a line in the summary.

``@pytest.mark.eventsolve(examples=..., problems=[...])`` marks a test of an implementation: ``examples`` is how many
Hypothesis examples it draws, unless ``--eventsolve-examples`` says otherwise or the test has settings of its own, and
there is no deadline, which a first call that compiles would miss and the next one keep; ``problems`` are the names of
those that :func:`eventsolve_problem` is to be.

pytest loads a plugin before anything else, in every suite of an environment. So this one stands apart, and imports
eventsolve only for tests that use it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import wraps
from typing import Any

import pytest

_PROPERTY = "eventsolve"
_CHECKED = pytest.StashKey[int]()
_UNSUPPORTED = pytest.StashKey[int]()
_SET = pytest.StashKey[set[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--eventsolve-examples``."""
    parser.getgroup("eventsolve").addoption(
        "--eventsolve-examples",
        type=_at_least_one,
        metavar="N",
        help="Hypothesis examples that tests marked with eventsolve draw",
    )


def _at_least_one(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; got {text!r}")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.stash[_CHECKED] = 0
    config.stash[_UNSUPPORTED] = 0
    config.stash[_SET] = set()
    config.addinivalue_line(
        "markers",
        "eventsolve(examples=None, problems=None): a test of an implementation beside the exact solution; how many "
        "Hypothesis examples it draws, and which problems the fixture eventsolve_problem is",
    )


def _options(item: pytest.Item) -> Mapping[str, Any]:
    """Return the options of the closest marker of a test, after a look at all of them."""
    every = [_checked(marker) for marker in item.iter_markers("eventsolve")]
    return every[0] if every else {}


def _checked(marker: pytest.Mark) -> Mapping[str, Any]:
    """Return the options of a marker, which are what they are said to be; raises pytest.UsageError."""
    options = marker.kwargs
    other = [*marker.args, *(name for name in options if name not in ("examples", "problems"))]
    if other:
        raise pytest.UsageError(
            f"the marker eventsolve takes examples=... and problems=...; got {other[0]!r}"
        )
    examples, names = options.get("examples"), options.get("problems")
    if examples is not None and (type(examples) is not int or examples < 1):
        raise pytest.UsageError(f"examples must be an int of at least 1; got {examples!r}")
    if names is not None and not (
        isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names)
    ):
        raise pytest.UsageError(f"problems must be a list of one name or more; got {names!r}")
    return options


# -- fixtures ------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``eventsolve_problem`` once for each problem."""
    names = _options(metafunc.definition).get("problems")
    if "eventsolve_problem" not in metafunc.fixturenames:
        return
    from eventsolve.testing.canonical import PROBLEMS

    names = list(PROBLEMS) if names is None else names
    for name in names:
        if name not in PROBLEMS:
            raise pytest.UsageError(f"problems must be among {', '.join(PROBLEMS)}; got {name!r}")
    metafunc.parametrize("eventsolve_problem", names, indirect=True, ids=names)


@pytest.fixture
def eventsolve_problem(request: pytest.FixtureRequest) -> Any:
    """Return a :class:`eventsolve.testing.Problem`: of a few that have one thing in them each, one for each test."""
    from eventsolve.testing.canonical import PROBLEMS

    return PROBLEMS[request.param]()


@pytest.fixture(scope="session")
def eventsolve_check(pytestconfig: pytest.Config) -> Callable[..., Any]:
    """Return :func:`eventsolve.testing.check_implementation`, counted for the summary."""
    from eventsolve.testing import Unsupported, check_implementation

    @wraps(check_implementation)
    def counted(*arguments: Any, **options: Any) -> Any:
        pytestconfig.stash[_CHECKED] += 1
        try:
            return check_implementation(*arguments, **options)
        except BaseException as error:
            if isinstance(error.__context__, Unsupported):
                pytestconfig.stash[_CHECKED] -= 1
                pytestconfig.stash[_UNSUPPORTED] += 1
            raise

    return counted


class _Said(logging.Handler):
    """Shows at once what explains the first problem of a test that fails: shrinking it may take minutes."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self.config = config

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the terminal."""
        terminal = self.config.pluginmanager.getplugin("terminalreporter")
        capture = self.config.pluginmanager.getplugin("capturemanager")
        if terminal is None:
            return
        shown = contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled()
        with shown:
            terminal.ensure_newline()
            terminal.write_line(f"eventsolve: {record.getMessage()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Show what is said while a test runs."""
    logger, said = logging.getLogger("eventsolve.testing"), _Said(item.config)
    logger.addHandler(said)
    try:
        return (yield)
    finally:
        logger.removeHandler(said)


# -- examples ------------------------------------------------------------------------------------------------------


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a marked test draw as many examples as were asked for, without a deadline; one with settings keeps those."""
    marker, function = item.get_closest_marker("eventsolve"), getattr(item, "function", None)
    options = _options(item)
    of_case = getattr(getattr(item, "callspec", None), "marks", ())
    if any(mark.name == "eventsolve" and mark.kwargs for mark in of_case):
        raise pytest.UsageError(f"the marker eventsolve is of a test, not of one case of it: {item.nodeid}")
    if marker is None or function is None or function in item.config.stash[_SET]:
        return
    if "hypothesis" not in sys.modules:  # nor is this a test of Hypothesis then
        return
    examples = item.config.getoption("--eventsolve-examples") or options.get("examples")
    from hypothesis import is_hypothesis_test, settings
    from hypothesis.errors import InvalidArgument

    if is_hypothesis_test(function):
        item.config.stash[_SET].add(function)
        with contextlib.suppress(InvalidArgument):  # what Hypothesis says of a second @settings
            settings(deadline=None, **({"max_examples": examples} if examples else {}))(function)


# -- the summary ---------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on a test's report how many problems it checked and where it differs, for the summary of any process."""
    report = yield
    if call.when == "call":
        checked, item.config.stash[_CHECKED] = item.config.stash[_CHECKED], 0
        unsupported, item.config.stash[_UNSUPPORTED] = item.config.stash[_UNSUPPORTED], 0
        found = call.excinfo.value if call.excinfo is not None else None
        mismatch = next(_mismatches(found), None)
        if (
            checked
            or unsupported
            or mismatch is not None
            or item.get_closest_marker("eventsolve") is not None
        ):
            said = "" if mismatch is None else _in_short(mismatch)
            crash = f"{type(found).__name__}" if report.failed and mismatch is None else ""
            report.user_properties.append((_PROPERTY, [checked, unsupported, said, crash]))
    return report


def _mismatches(error: BaseException | None) -> Iterator[Any]:
    """Yield the mismatches in an error, which may be a group."""
    divergence = sys.modules.get("eventsolve.testing.mismatch")
    if divergence is not None and isinstance(error, divergence.Mismatch):
        yield error
    elif isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _mismatches(part)


def _in_short(mismatch: Any) -> str:
    what = str(mismatch.divergence).split(":")[0]
    return f"{what}, which looks like {mismatch.explanations[0]}" if mismatch.explanations else what


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests compared how many problems, and where which of them differ."""
    found = [
        (report.nodeid, *value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == _PROPERTY
    ]
    if not found:
        return
    differ = [(node, said) for node, *_, said, _ in found if said]
    crashed = [(node, f"ended with {crash}") for node, *_, crash in found if crash]
    checked, unsupported = (sum(entry[k] for entry in found) for k in (1, 2))
    parts = [f"{len(found)} tests"]
    parts += [f"{checked} problems"] if checked else []
    parts += [f"{unsupported} not supported"] if unsupported else []
    parts += [f"{len(differ)} differ"]
    parts += [f"{len(crashed)} failed otherwise"] if crashed else []
    terminalreporter.write_line(f"eventsolve: {', '.join(parts)}")
    for node, said in differ + crashed:
        terminalreporter.write_line(f"  {node}: {said}")
