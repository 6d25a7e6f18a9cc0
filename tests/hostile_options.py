"""Hostile values for every option and argument of every command: ``python -m tests.hostile_options``.

Each command gets arguments that are right, and then in the place of one of them, or for one option more, what is no
number, infinite, negative, huge or tiny, text that is empty, long, of another script, with markup or control sequences,
and a folder or a device where a file is meant. It runs in a process of its own, and has to end with 0, 1 or 2 and
without a traceback. Prints how many ended how, and exits with 1 if any ended otherwise; work that is merely long, which
some numbers ask for, is stopped and counted. ``--every 10`` takes each tenth command line only.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import typer
from typer.testing import CliRunner

from validation import exits
from validation.cli.app import app

sys.path.append(str(Path(__file__).parent / "shared"))
from commands import COMMANDS

PATIENCE = 10.0
"""Seconds that a command may take."""
MEMORY = 6 * 2**30
HOSTILE = (
    *("nan", "inf", "-inf", "0", "-1", "0.5", "1e400", "9" * 21, "-" + "9" * 400, "1e-300"),
    *("nanms", "-5ms", "0s", "1e-300s", "1e300s", "1 fortnight"),
    *("", " ", "=", "a=b", "seed=nan", "time_step=nan", ",", "1,,2", "1:2", "->", "--", "none", "all"),
    *("\u202eé\u4e2d", "\x1b[2J[/x][bold]", "\ud800", "\0", "x" * 5000, "../" * 40),
    *(".", "/dev/null", "/dev/zero", "missing/none.json", "dangling.json", "empty.json", "wrong.json"),
)
ENDS = (0, exits.DIFFERS, exits.WRONG)


class Case(NamedTuple):
    """A command line with something hostile in it."""

    command: str
    parameter: str
    value: str
    arguments: tuple[str, ...]


def commands() -> dict[str, click.Command]:
    """Return every command by its name."""
    found: dict[str, click.Command] = {}
    pending = [("", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            inner: dict[str, click.Command] = command.commands
            pending += [(f"{name} {key}".strip(), one) for key, one in inner.items()]
        else:
            found[name] = command
    return found


def cases() -> Iterator[Case]:
    """Yield every command with every hostile value in the place of every argument and option."""
    parsed = commands()
    assert set(parsed) == set(COMMANDS), set(parsed) ^ set(COMMANDS)
    for name, (_, given) in COMMANDS.items():
        right = [
            "good.json" if word.endswith("setup.cfg") else word for word in given
        ]  # to get beyond its reading
        n_words = len(name.split())
        options = [p for p in parsed[name].params if p.param_type_name == "option"]
        for k in range(n_words, len(right)):
            if not right[k].startswith("-") and not right[k - 1].startswith("-"):
                for value in HOSTILE:
                    yield Case(name, f"argument {k - n_words}", value, (*right[:k], value, *right[k + 1 :]))
        for option in options:
            if getattr(option, "is_flag", False) or option.name == "help":
                continue
            kept = list(right)
            for spelt in option.opts:
                if spelt in kept and not getattr(option, "multiple", False):
                    del kept[kept.index(spelt) : kept.index(spelt) + 2]
            for value in HOSTILE:
                yield Case(name, option.opts[0], value, (*kept, option.opts[0], value))


@functools.cache
def template() -> str:
    """Return a record that is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "good.json")
        made = CliRunner().invoke(app, ["template", "--out", str(path)])
        assert made.exit_code == 0, made.output
        return path.read_text(encoding="utf-8")


def folder_of(base: Path) -> None:
    """Put into a folder what the arguments, right and hostile ones, name."""
    (base / "good.json").write_text(template(), encoding="utf-8")
    (base / "empty.json").touch()
    (base / "wrong.json").write_text('{"format": [NaN, "\\ud800"]}', encoding="utf-8")
    (base / "dangling.json").symlink_to("nowhere")


def run_here(case: Case, folder: str, report: Any) -> None:
    """Run a case in this process, which was forked for it, and send how it ended: its status, and the last words."""
    try:
        os.setsid()
        os.chdir(folder)
        folder_of(Path(folder))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
        result = CliRunner().invoke(app, list(case.arguments))
        said = result.output
        if "Traceback" in said or "internal error" in said or result.exit_code not in ENDS:
            report.send((result.exit_code, said[-1500:]))
        else:
            report.send((result.exit_code, ""))
    except BaseException:
        report.send((-1, traceback.format_exc()))


def ended(case: Case) -> tuple[int | str, str]:
    """Return how a case ended, and its last words if it should not have ended so."""
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")
        receiving, sending = fork.Pipe(duplex=False)
        process = fork.Process(target=run_here, args=(case, folder, sending))
        process.start()
        sending.close()
        try:
            if not receiving.poll(PATIENCE):
                return "late", ""
            status, words = receiving.recv()
            return status, words
        except EOFError:
            process.join()
            return f"killed, {process.exitcode}", "no answer"
        finally:
            process.join(0.2)
            if process.is_alive():
                os.killpg(process.pid or 0, 9)
            process.join()


def main() -> int:
    """Run the cases and say how they ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile_options", description=__doc__)
    parser.add_argument("commands", nargs="*", help="which; all by default")
    parser.add_argument("--every", type=int, default=1, help="take each such case only")
    arguments = parser.parse_args()
    chosen = [case for case in cases() if not arguments.commands or case.command in arguments.commands]
    template()
    found: dict[str, Counter[str]] = {}
    wrong = 0
    for case in chosen[:: arguments.every]:
        status, words = ended(case)
        found.setdefault(case.command, Counter())[str(status)] += 1
        if words:
            wrong += 1
            print(f"{status}: {case.command} {case.parameter} {case.value[:60]!a}\n{words}", flush=True)
    print(json.dumps(found, indent=1))
    print(f"{sum(map(Counter.total, found.values()))} command lines, {wrong} ended wrongly")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
