"""DelGrad's networks trained exactly, and on noisy chips: python benchmarks/tables/delgrad.py."""

from __future__ import annotations

import json as documents
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventsolve.files import write_text
from validation.cli.running import refusals
from validation.options import InFolder, folder, wrong

if TYPE_CHECKING:
    from validation.brainscales2.training import Plan


app = typer.Typer()


@app.command(cls=InFolder)
def delgrad(
    setup: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="May be repeated. (default: all)")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE",
            help="exact, or a chip in the loop with a slope: crossing, measured, threshold, or true, of a chip whose "
            "parameters are known; may be repeated. (default: all that fit the network)",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, with as many chips.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Published: 300.")] = 300,
    out: Annotated[
        Path,
        typer.Option(
            file_okay=False, callback=folder, help="Folder of delgrad.json, the finished trainings."
        ),
    ] = Path("reports"),
    table: Annotated[bool, typer.Option("--table", help="Train nothing, and print what is there.")] = False,
) -> None:
    """Train DelGrad's networks on Yin-Yang, exactly and on noisy chips of BrainScaleS-2 in the loop.

    A training that is in the file already is not repeated: an interrupted command goes on where it was.
    """
    from validation.brainscales2.training import result, train

    with refusals():
        plans = _plans(setup or [], engine or [], seeds, epochs)
    document = out / "delgrad.json"
    done = _read(document)
    for plan in [] if table else plans:
        if _key(plan) in done:
            continue
        done[_key(plan)] = result(plan, list(train(plan))[-1])
        _write(document, done)
        found = done[_key(plan)]
        typer.echo(
            f"{_key(plan)}: {found['accuracy']:.3f}, on the ideal network {found['ideal']:.3f}", err=True
        )
    wanted = {_key(plan) for plan in plans}
    for line in lines([found for key, found in done.items() if key in wanted]):
        typer.echo(line)


def _plans(setups: Sequence[str], engines: Sequence[str], seeds: int, epochs: int) -> list[Plan]:
    from validation.brainscales2.networks import SETUPS
    from validation.brainscales2.training import ENGINES, Plan

    for name in setups:
        if name not in SETUPS:
            raise ValueError(f"setup must be one of {', '.join(SETUPS)}; got {name!r}")
    chosen: list[Any] = list(engines) or list(ENGINES)
    return [
        Plan(SETUPS[name], one, seed, epochs)
        for seed in range(seeds)
        for name in setups or SETUPS
        for one in chosen
        if engines or one == "exact" or SETUPS[name].on_chip
    ]


def _key(plan: Plan) -> str:
    return f"{plan.setup.name} {plan.engine} {plan.seed} {plan.epochs}"


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = documents.loads(path.read_text(encoding="utf-8"))
        assert all("accuracy" in one for one in found.values())
    except (ValueError, AttributeError, AssertionError, TypeError) as error:
        raise wrong(ValueError(f"{str(path)!r} holds no trainings of this command")) from error
    return dict(found)


def _write(path: Path, done: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, documents.dumps(done, indent=1))


def lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of some trainings, and how engines differ, seed by seed."""
    import numpy as np

    from validation.brainscales2.networks import SETUPS

    def mean(values: Sequence[float]) -> str:
        error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
        return f"{np.mean(values):.3f}{error}" if values else "-"

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["setup"], one["engine"]), []).append(one)
    yield (
        f"{'network':14} {'engine':10} {'n':>3} {'test':16} {'published':10} {'on the ideal one':17} "
        f"{'on other chips':16} {'bumped':7} silent"
    )
    for (setup, engine), runs in groups.items():
        mark = SETUPS[setup].accuracy
        others = [float(np.mean(run["others"])) for run in runs if run["others"]]
        yield (
            f"{setup:14} {engine:10} {len(runs):3} {mean([r['accuracy'] for r in runs]):16} "
            f"{'-' if mark is None else f'{mark:.3f}':10} {mean([r['ideal'] for r in runs]):17} {mean(others):16} "
            f"{np.mean([r['bumped'] for r in runs]):7.3f} {np.mean([r['silent'] for r in runs]):.3f}"
        )
    yield from differences(groups)


def differences(groups: dict[tuple[str, str], list[dict[str, Any]]]) -> Iterator[str]:
    """Yield by how much each slope trains better than "crossing", over the seeds that both have."""
    import numpy as np
    from scipy.stats import t

    for (setup, engine), runs in groups.items():
        if engine in ("crossing", "exact") or (setup, "crossing") not in groups:
            continue
        of = {run["seed"]: run["accuracy"] for run in groups[setup, "crossing"]}
        gains = [run["accuracy"] - of[run["seed"]] for run in runs if run["seed"] in of]
        if len(gains) < 2:
            continue
        half = float(t.ppf(0.975, len(gains) - 1)) * np.std(gains, ddof=1) / len(gains) ** 0.5
        better = sum(gain > 0 for gain in gains)
        yield (
            f"{setup}: {engine} less crossing {np.mean(gains):+.4f}, 95 % from {np.mean(gains) - half:+.4f} to "
            f"{np.mean(gains) + half:+.4f}; better in {better} of {len(gains)}"
        )


if __name__ == "__main__":
    app()
