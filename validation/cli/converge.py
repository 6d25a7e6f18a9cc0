"""The command ``converge``: how a target's error falls with its time step and its fraction bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.cli.given import Options, Samples, Seed, Source, TargetName, given
from validation.cli.running import Json, Out, Workers, command, pool, progress, refusals
from validation.options import duration

if TYPE_CHECKING:
    from validation.attribution.convergence import Errors


def converge(
    task: Source,
    target: TargetName,
    options: Options = None,
    samples: Samples = None,
    seed: Seed = 42,
    dt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DURATION", help="Time step; may be repeated. (default: 2ms to 10us, 8 of them)"
        ),
    ] = None,
    bits: Annotated[
        list[int] | None,
        typer.Option(min=0, max=40, help="Fraction bits; may be repeated. (default: 4, 8, ... 40)"),
    ] = None,
    workers: Workers = 1,
    out: Out = Path("convergence-report"),
    json: Json = False,
) -> None:
    """Show errors over time steps and fraction bits: their order, and the time step below which bits dominate.

    float64 is always among the formats. Exits as attribute does.
    """
    default = ["2ms", "1ms", "500us", "200us", "100us", "50us", "20us", "10us"]
    steps = [duration("dt", text) for text in dict.fromkeys(dt or default)]
    numbers: list[int | None] = [None, *dict.fromkeys(bits if bits is not None else range(4, 41, 4))]
    found_given = given(
        task,
        target,
        options,
        tool="converge",
        samples=samples,
        task_samples=8,
        seed=seed,
        defaults={"time_step": steps[0]},
    )

    from validation.attribution import report
    from validation.attribution.convergence import converge as converged
    from validation.report import provenance, publish
    from validation.terminal import console

    errors = console(stderr=True)
    found: list[Errors] = []
    complete = True
    with refusals():
        of: Any = found_given.target  # which is Refinable, as was made sure
        total = len(steps) * len(numbers)
        with pool(workers) as executor, progress(errors, "runs", total) as advance:
            try:
                for one in converged(found_given.problem, of, steps, numbers, executor):
                    found.append(one)
                    advance()
            except KeyboardInterrupt:
                complete = False
    found.sort(key=lambda e: (e.grain.bits is not None, e.grain.bits or 0, -e.grain.time_step))
    origin = provenance(
        {"task": task, "target": target, "set": list(options or []), "samples": samples, "seed": seed},
        command(),
    )
    title = f"{found_given.title}, {target}"
    publish(report.convergence_of(found, title, origin, complete=complete), out, "convergence", json=json)
    if not complete:
        raise typer.Exit(130)
