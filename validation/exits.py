"""How a command of ``eventsolve-validate`` ends, and what it prints on.

====  ================================================================================================================
0     a record that was judged is accepted, every limit holds, what was asked for is done
1     it is not, or a limit is broken: no setting is good enough, a network does not fit, a training diverges
2     the input or the usage is wrong, or the output can't be written
70    an internal error, with its traceback on standard error
130   interrupted
141   whoever read standard output stopped reading, as head does; reports are written before anything is printed
====  ================================================================================================================

``check`` and ``diagnose`` judge. ``compare`` and ``attribute`` measure, and a target on a clock is never
equal to the exact network: only limits make them fail, whatever they say of it.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

DIFFERS, WRONG, INTERNAL, INTERRUPTED, UNREAD = 1, 2, 70, 130, 141
STATUS = (
    "Exit status: 0 it agrees, 1 it differs or a limit is broken, 2 the input or usage is wrong or the output can't "
    "be written, 70 an internal error, 130 interrupted, 141 nobody reads standard output any more."
)

MOVED = {
    "delgrad": "`python benchmarks/tables/delgrad.py` in the repository",
    "loop-bias": "`python benchmarks/tables/loop_bias.py` in the repository",
    "train table": "`python benchmarks/tables/training.py` in the repository",
    "sbp table": "`python benchmarks/tables/spiking_backpropagation.py` in the repository",
    "train search --jobs": "`train search --workers`",
}
"""What became of commands and options since version 0.1.0."""


class Commands(TyperGroup):
    """Commands that end as this module says, whatever happens in them, and print what a stream can show."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line and exit; a character that a stream can't show is printed as its number."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return super().main(*arguments, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:
            sys.exit(_unwritable(error))
        except MemoryError as error:
            why = f" ({error})" if str(error) else ""
            print(
                f"what is asked takes more memory than there is{why}: ask for fewer samples, neurons or steps",
                file=sys.stderr,
            )
            sys.exit(WRONG)
        except Exception:
            traceback.print_exc()
            print("internal error: please report it with the lines above", file=sys.stderr)
            sys.exit(INTERNAL)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is meant, or say what became of it."""
        named = [arg.partition("=")[0] for arg in args]
        for old, new in MOVED.items():
            words, _, option = old.partition(" --")
            if named[: words.count(" ") + 1] == words.split() and (not option or f"--{option}" in named):
                ctx.fail(f"`{old}` is {new} now")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; where nobody reads what is printed, typer and rich would exit with 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (BrokenPipeError, SystemExit):
            raise typer.Exit(_unwritable(BrokenPipeError())) from None


def _unwritable(error: OSError) -> int:
    """Say what can't be read or written, and keep Python from trying it again at its end.

    Of a pipe that nobody reads any more nothing is said.
    """
    if not isinstance(error, BrokenPipeError):
        print(f"Error: {error}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD if isinstance(error, BrokenPipeError) else WRONG
