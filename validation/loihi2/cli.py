"""The commands ``export``, which writes a network as a NetX file, and ``loihi2``, which finds time step and bits."""

from __future__ import annotations

import json as json_module
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from validation import exits
from validation.cli.given import Options, Samples, Seed, Source, given
from validation.options import file, wrong

if TYPE_CHECKING:
    import eventsolve as es
    from validation.loihi2.recommendation import Tried

NEEDED = {"time_step": 1e-3}
"""Options of the target that are used if they are not given."""


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TASK|NETWORK|CHECKPOINT",
            help="A task by its name, whose network has its initial weights; a record or NIR graph with a network, "
            "such as 'train task --out' writes; or a checkpoint of a published training ('train recipes' lists them).",
            show_default=False,
        ),
    ],
    target: Annotated[str, typer.Option("--target", help="Whose file is written.")] = "loihi2",
    options: Options = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, callback=file, help="NetX file. (default: none is written)"),
    ] = None,
    misread: Annotated[
        bool,
        typer.Option("--misread", help="Write a file for other loaders even if lava-dl would misread it."),
    ] = False,
    seed: Seed = 42,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export a network to integers, report what each rounding did, and write a file.

    Exits with 2 if the target cannot hold the network; the message says why.
    """
    from validation import registry
    from validation.loihi2.netx import write_netx
    from validation.loihi2.target import Loihi2

    try:
        network, of_target = _network(source, target, options, seed)
        made = registry.target(target, **{**NEEDED, **of_target})
        if not isinstance(made, Loihi2):
            raise ValueError(f"the target {target!r} has no file to be exported to; 'loihi2' has")
        exported = made.export(network)
        if path is not None:
            write_netx(exported.program, path, misread=misread)
    except (ValueError, OSError, ImportError) as error:
        raise wrong(error) from None
    if json:
        document: dict[str, Any] = {
            "target": made.name,
            "quanta": dict(exported.quanta),
            "roundings": {"->".join(key): asdict(r) for key, r in exported.roundings.items()},
            "thresholds": {
                name: sorted({int(v) for v in layer.vth})
                for name, layer in zip(exported.quanta, exported.program.layers, strict=True)
            },
            "notes": list(exported.program.notes),
            "file": None if path is None else str(path),
        }
        typer.echo(json_module.dumps(document, indent=2))
        return
    typer.echo(f"{made.name}\n{exported!r}")
    if path is not None:
        typer.echo(f"file: {path}")


def _network(
    source: str, target: str, options: list[str] | None, seed: int
) -> tuple[es.Network, dict[str, str]]:
    """Return the network that a source names, and options of the target."""
    from validation import registry
    from validation.check import network_in
    from validation.tasks.yin_yang import checkpoint

    path = Path(source)
    if path.suffix.lower() in (".nir", ".json", ".npz", ".h5", ".hdf5"):
        if not path.is_file():
            raise ValueError(f"there is no file {source!r}")
        chosen = registry.settings(options or [])
        try:
            return network_in(path), chosen
        except ValueError as error:
            if path.suffix.lower() != ".npz":
                raise
            try:
                return checkpoint.network_in(path), chosen
            except checkpoint.CheckpointError as other:
                raise ValueError(f"{error}; {other}") from None
    found = given(source, target, options, tool="compare", task_samples=1, seed=seed, defaults=NEEDED)
    return found.problem.network, dict(found.options)


def loihi2(
    task: Source,
    options: Options = None,
    wanted: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="The share of what --of names that has to agree with the exact network."
        ),
    ] = 0.95,
    of: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="spikes (the share of neurons with the right number), logits (their cosine), decisions (the share of "
            "samples) or accuracy (with labels, in place of the exact network).",
        ),
    ] = "decisions",
    samples: Samples = None,
    seed: Seed = 42,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the time step and the bits that a network needs on Loihi 2, and report what rounding does to it.

    Unless a time step is given, several are tried, since a finer one is not better there. For each, the fewest bits of
    each layer are searched for, and the setting with the fewest bytes is reported. Exits with 1 if no bits are enough,
    with 2 if no step can be run.
    """
    from validation.loihi2.quantities import least_time_step
    from validation.loihi2.recommendation import STEPS, Wanted, best_step, cheapest, over_steps
    from validation.loihi2.target import Loihi2

    if of not in get_args(Wanted):
        raise typer.BadParameter(f"{of!r} is not one of {', '.join(get_args(Wanted))}", param_hint="'--of'")
    what: Any = of
    found = given(task, "loihi2", options, tool="compare", samples=samples, seed=seed, defaults=NEEDED)
    target = found.target
    assert isinstance(target, Loihi2)
    try:
        alone = (target.time_step,) if "time_step" in found.options else STEPS
        steps = over_steps(found.problem, target, alone)
        best = best_step(steps, what)
        bits = cheapest(found.problem, steps, wanted, what)
        least = least_time_step(found.problem.network, target.settings_of_export)
    except ValueError as error:
        raise wrong(error) from None
    if json:
        typer.echo(
            json_module.dumps(
                {
                    "steps": [_document(one) for one in steps],
                    "best": _document(best),
                    "cheapest": None if bits is None else _document(bits),
                    "thresholds_fit_from": least,
                },
                indent=2,
            )
        )
        raise typer.Exit(0 if bits else exits.DIFFERS)
    typer.echo(f"{found.title}, {found.problem.n_samples} samples")
    for one in steps:
        typer.echo(_line(one) + (" <- best" if one is best else ""))
    typer.echo(f"thresholds fit 17 bits at steps of {least:.3g} s and more")
    if bits is None:
        held = best.target.name.split(", ")[2]
        typer.echo(f"{held} are not enough for {wanted:.0%} of {of} at any of these time steps")
        raise typer.Exit(exits.DIFFERS)
    typer.echo(f"cheapest with {wanted:.0%} of {of}: {_line(bits)}")


def _document(one: Tried) -> dict[str, Any]:
    return {
        "time_step": one.target.time_step,
        "weight_bits": one.target.weight_bits,
        "agreement": None
        if one.agreement is None
        else {name: None if math.isnan(share) else share for name, share in one.agreement._asdict().items()},
        "cost": None if one.cost is None else one.cost._asdict(),
        "why": one.why or None,
    }


def _line(one: Tried) -> str:
    start = f"{one.target.time_step * 1e3:6g} ms, {one.target.name.split(', ')[2]:>10}: "
    if one.agreement is None or one.cost is None:
        return start + one.why
    found = one.agreement
    said = [
        f"{found.spikes:.1%} of neurons with the right number of spikes, {1e3 * found.late:.3g} ms off",
        f"{found.decisions:.1%} of decisions the same",
    ]
    said += [] if math.isnan(found.logits) else [f"cosine of logits {found.logits:.4f}"]
    said += [] if math.isnan(found.accuracy) else [f"accuracy {found.accuracy:.1%}"]
    return start + "; ".join(
        [*said, f"{one.cost.operations:.3g} operations, {one.cost.bytes:.3g} bytes a sample"]
    )
