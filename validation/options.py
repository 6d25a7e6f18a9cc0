"""What the commands' options have in common."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from validation.durations import looks_like_milliseconds, seconds

MOST_SAMPLES = 10**6
"""Of any command: more would take days, or more memory than there is."""


def wrong(error: object, hint: str | None = None) -> typer.BadParameter:
    """Return what an error says of the input as a bad option, whatever names and characters it contains."""
    from eventsolve.checks import printable  # help imports nothing heavy

    return typer.BadParameter(printable(str(error)), param_hint=hint)


def duration(option: str, text: str) -> float:
    """Read the duration of an option, in seconds."""
    try:
        value = seconds(text)
    except ValueError as error:
        raise wrong(error, f"'--{option}'") from None
    if looks_like_milliseconds(text):
        typer.echo(
            f"warning: {text.strip()} is {value:g} s; write {text.strip()}ms for milliseconds", err=True
        )
    return value


def finite(value: float | None) -> float | None:
    """Refuse infinities and NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value!r} is not a finite number")
    return value


def folder(path: Path) -> Path:
    """Refuse a folder that can't be made or written to: before the work, not after it."""
    try:
        there = next(place for place in (path.resolve(), *path.resolve().parents) if place.exists())
        if not there.is_dir():
            raise typer.BadParameter(f"{there} is not a folder")
    except OSError as error:
        raise typer.BadParameter(str(error)) from None
    if not os.access(there, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"{there} can't be written to")
    return path


def file(path: Path | None) -> Path | None:
    """Refuse a file that can't be written."""
    if path is not None:
        folder(path.parent)
        if path.exists() and not os.access(path, os.W_OK):
            raise typer.BadParameter(f"{path} can't be written to")
    return path


class InFolder(TyperCommand):
    """A command that keeps its folder, ``--out`` or ``--runs``, from other runs for as long as it takes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        from eventsolve.files import NotWrittenError, claimed

        option = "runs" if "runs" in ctx.params else "out"
        with ExitStack() as held:
            try:
                held.enter_context(claimed(ctx.params[option]))
            except NotWrittenError as error:
                raise wrong(error, f"'--{option}'") from None
            return super().invoke(ctx)
