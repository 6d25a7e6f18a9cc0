"""What all commands do alike: a folder belongs to one run; interrupts and unwritable files end in a sentence."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from eventsolve.checks import printable
from eventsolve.files import NotWrittenError, claimed

UNWRITTEN = getattr(os, "EX_IOERR", 74)
"""Exit status if a file cannot be written."""
INTERRUPTED = 130


class Commands(TyperGroup):
    """A group of commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except NotWrittenError as error:
            typer.echo(printable(str(error)), err=True)
            raise typer.Exit(UNWRITTEN) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


class InFolder(TyperCommand):
    """A command that keeps its folder, ``--out`` or ``--runs``, from other runs for as long as it takes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        option = "runs" if "runs" in ctx.params else "out"
        with ExitStack() as held:
            try:
                held.enter_context(claimed(ctx.params[option]))
            except NotWrittenError as error:
                raise typer.BadParameter(printable(str(error)), param_hint=f"'--{option}'") from None
            return super().invoke(ctx)
