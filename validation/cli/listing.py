"""The commands ``targets`` and ``tasks``: what there is, what each can do, and its options."""

from __future__ import annotations

import dataclasses
import inspect
import json as json_module
from typing import Annotated, Any

import typer

from validation.options import wrong

Name = Annotated[str | None, typer.Argument(help="One of them, to be told all of it.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def targets(name: Name = None, json: Json = False) -> None:
    """List the implementations that can be put to the test, what each can do, and its options."""
    from validation.registry import TARGETS

    _show(TARGETS, name, json)


def tasks(name: Name = None, json: Json = False) -> None:
    """List the data sets with their networks and losses, and their options."""
    from validation.registry import TASKS

    _show(TASKS, name, json)


def _show(group: str, name: str | None, json: bool) -> None:
    if name is None:
        _print(_listed(group), json)
        return
    from validation import registry

    try:
        text = inspect.getdoc(registry.kind(group, name)) or ""
    except (ValueError, ImportError) as error:
        raise wrong(error, "'NAME'") from None
    typer.echo(json_module.dumps({"name": name, "text": text}, indent=2) if json else text)


def _listed(group: str) -> list[dict[str, Any]]:
    """Return an entry for everything of a group; one that cannot be loaded says why."""
    from validation import registry
    from validation.target import TOOLS, missing

    listed = []
    for name in registry.names(group):
        try:
            kind = registry.kind(group, name)
        except ImportError as error:
            listed.append({"name": name, "missing": str(error)})
            continue
        entry: dict[str, Any] = {"name": name, "what": (kind.__doc__ or "").strip().split("\n")[0]}
        if group == registry.TARGETS:
            entry["can"] = [tool for tool in TOOLS if not missing(kind, tool)]
        entry["options"] = {
            option: None if default is dataclasses.MISSING else _shown(default)
            for option, default in registry.options_of(group, name).items()
        }
        listed.append(entry)
    return listed


def _shown(default: Any) -> str:
    """Return a default as ``--set`` would take it."""
    if isinstance(default, bool) or default is None:
        return str(default).lower()
    return str(default)


def _print(listed: list[dict[str, Any]], json: bool) -> None:
    if json:
        typer.echo(json_module.dumps(listed, indent=2))
        return
    from validation.terminal import console

    out = console()
    for entry in listed:
        if "missing" in entry:
            out.print(f"{entry['name']}: cannot be loaded: {entry['missing']}", soft_wrap=True)
            continue
        out.print(f"{entry['name']}: {entry['what']}", soft_wrap=True)
        if "can" in entry:
            out.print(f"    can      {', '.join(entry['can'])}", soft_wrap=True)
        options = [
            name if default is None else f"{name}={default}" for name, default in entry["options"].items()
        ]
        out.print(f"    options  {', '.join(options) or 'none'}", soft_wrap=True)
