"""The command ``localise``: where an implementation departs first from what it should do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from validation import exits
from validation.cli.given import Options, TargetName
from validation.cli.running import consoles, handed_over
from validation.options import wrong


def localise(
    record: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A record of an implementation: .json, .npz, .h5 or .hdf5."
        ),
    ],
    target: TargetName = "",
    options: Options = None,
    network: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A record or NIR graph with the network of this one."),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="One with the weights of the batch before, which may be stale."
        ),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How far numbers may be off, relative to the largest of their kind. (default: nothing, but for "
            "floating-point numbers of 'timestepped' a rounding per step)",
        ),
    ] = None,
) -> None:
    """Name the first number in which an implementation departs from a target, and what it looks like.

    The target is what it should do, step by step, at the record's time step unless another is set. The record needs
    spikes, and better traces of every step; for the way back also the loss, and dL/dt and dL/dw. Exits with 1 if
    something is off, with 2 on a bad option or a record that is not enough.
    """
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check, registry
    from validation.target import require

    _, tables = consoles()
    try:
        without = {"target": target, "network": network, "before": before, "rtol": rtol}
        with handed_over("localise", record, options, without=without):
            given = records.read(record)
        if not target:
            raise typer.BadParameter(
                "it must be given, but for a record that judges itself", param_hint="'--target'"
            )
        chosen = registry.settings(list(options or []))
        if given.time_step is not None and "time_step" in registry.options_of(registry.TARGETS, target):
            chosen.setdefault("time_step", repr(given.time_step))
        model: Any = registry.target(target, **chosen)
        require(model, "localise")
        net = check.network_of(given, network)
        old = None if before is None else check.network_of(records.read(before), None)
        problem = given.problem(net)
        found = model.localised(problem, given, previous=old, **({} if rtol is None else {"rtol": rtol}))
    except (ValueError, TypeError, StoppedError, OSError, ImportError) as error:
        raise wrong(error) from None
    if found is None:
        tables.print(f"{given.name} does what {model.name} does", soft_wrap=True)
        return
    tables.print(str(found), soft_wrap=True)
    raise typer.Exit(exits.DIFFERS)
