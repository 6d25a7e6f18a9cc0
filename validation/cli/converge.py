"""The command ``converge``: how a target's error falls with its time step and its fraction bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.cli.given import Options, Samples, Seed, Source, TargetName, given
from validation.cli.running import SEED, Json, Out, Workers, command, pool, progress, refusals
from validation.options import duration

if TYPE_CHECKING:
    from validation.target import Grain


def converge(
    task: Source,
    target: TargetName,
    options: Options = None,
    samples: Samples = None,
    seed: Seed = SEED,
    dt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DURATION",
            help="Time step; may be repeated. (default: 8 of them, from two fifths of the shortest time constant down)",
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

    float64 is always among the formats. What the target cannot run, such as bits so coarse that an output falls silent,
    is left out, and it says why. Exits as attribute does.
    """
    asked = tuple(dict.fromkeys(duration("dt", text) for text in dt or ()))
    found_given = given(
        task,
        target,
        options,
        tool="converge",
        samples=samples,
        task_samples=8,
        seed=seed,
        defaults={"time_step": asked[0] if asked else 1e-3},
    )

    from validation.attribution import report
    from validation.attribution.ablation import Refusal
    from validation.attribution.convergence import BITS, Errors, time_steps
    from validation.attribution.convergence import converge as converged
    from validation.report import provenance, publish
    from validation.terminal import console

    errors = console(stderr=True)
    found: list[Errors] = []
    refused: list[Refusal[Grain]] = []
    complete = True
    steps = asked or time_steps(found_given.problem)
    numbers: list[int | None] = [None, *dict.fromkeys(BITS if bits is None else bits)]
    with refusals():
        of: Any = found_given.target  # which is Refinable, as was made sure
        total = len(steps) * len(numbers)
        with pool(workers) as executor, progress(errors, "runs", total) as advance:
            try:
                for one in converged(found_given.problem, of, steps, numbers, executor):
                    if isinstance(one, Errors):
                        found.append(one)
                    else:
                        refused.append(one)
                    advance()
            except KeyboardInterrupt:
                complete = False
    found.sort(key=lambda e: _column(e.grain))
    refused.sort(key=lambda r: _column(r.of))
    origin = provenance(
        {"task": task, "target": target, "set": list(options or []), "samples": samples, "seed": seed},
        command(),
    )
    title = f"{found_given.title}, {target}"
    publish(
        report.convergence_of(found, refused, title, origin, complete=complete), out, "convergence", json=json
    )
    if not complete:
        raise typer.Exit(130)


def _column(grain: Grain) -> tuple[bool, int, float]:
    return grain.bits is not None, grain.bits or 0, -grain.time_step
