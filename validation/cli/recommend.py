"""The command ``recommend``: the cheapest setting of a target that is good enough."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation import exits
from validation.cli.given import Options, Seed, Source, TargetName, given
from validation.cli.running import SEED, Workers, consoles, pool, progress, refusals
from validation.options import MOST_SAMPLES, wrong

if TYPE_CHECKING:
    from validation.attribution.recommendation import Candidate, Setting


def recommend(
    cosine: Annotated[
        float, typer.Argument(min=-1, max=1, help="The least gradient cosine, of every layer.")
    ],
    task: Source,
    target: TargetName,
    options: Options = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Values of an option to try, simplest first; may be repeated, for all combinations. "
            "(default: what the target has to offer)",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_SAMPLES,
            help="To choose by, and as many others to check on. (default: 32, or half of a record)",
        ),
    ] = None,
    seed: Seed = SEED,
    workers: Workers = 1,
) -> None:
    """Recommend the cheapest setting of a target that gives a gradient cosine, checked on other samples.

    A setting that cannot be run, such as bits so coarse that an output falls silent, is left out. Exits with 1 if none
    is good enough.
    """
    from validation import registry

    try:
        registry.kind(registry.TARGETS, target)
        tried = _varied(vary) if vary else _offered(target)
    except (ValueError, ImportError) as error:
        raise wrong(error) from None
    found_given = given(
        task,
        target,
        options,
        tool="recommend",
        samples=None if samples is None else 2 * samples,
        task_samples=64,
        seed=seed,
        defaults=tried[0],
        least=2,
    )

    from rich import box
    from rich.table import Table

    from validation.attribution.ablation import Refusal
    from validation.attribution.recommendation import candidates, frontier, ranked, recommended
    from validation.report import number

    errors, tables = consoles()
    found: list[Candidate] = []
    refused: list[Refusal[Setting]] = []
    with refusals():
        problem = found_given.problem
        half = problem.n_samples // 2
        chosen, others = problem.select(range(half)), problem.select(range(half, problem.n_samples))
        settings = _settings(target, found_given.options, tried)
        with pool(workers) as executor, progress(errors, "settings", len(settings)) as advance:
            try:
                for one in candidates(chosen, settings, executor):
                    if isinstance(one, Refusal):
                        refused.append(one)
                    else:
                        found.append(one)
                    advance()
            except KeyboardInterrupt:
                errors.print(
                    f"interrupted: {len(found) + len(refused)} of {len(settings)} settings were tried"
                )
                raise typer.Exit(exits.INTERRUPTED) from None
        best = recommended(found, cosine, others)
    title = "settings that are better than all cheaper ones; costs per sample"
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for heading in ("setting", "cosine", "multiply-accumulates", "packet bytes", "bytes"):
        shown.add_column(heading, justify="left" if heading == "setting" else "right")
    rows = {c.setting.rank: c for c in [*frontier(found), *([best.candidate] if best is not None else [])]}
    for c in ranked(list(rows.values())):
        style = "bold" if best is not None and c.setting == best.candidate.setting else None
        cells = (f"{c.cosine:.4f}", *(number(value) for value in c.cost))
        shown.add_row(str(c.setting), *cells, style=style)
    tables.print(shown)
    if refused:
        first = min(refused, key=lambda refusal: refusal.of.rank)
        tables.print(
            f"{len(refused)} of {len(settings)} settings cannot be run; the first, {first.of}: {first.why}",
            soft_wrap=True,
        )
    if best is None:
        errors.print(f"no setting gives a cosine of {cosine:g} on both batches")
        raise typer.Exit(exits.DIFFERS)
    tables.print(
        f"{best.candidate.setting}: cosine {best.candidate.cosine:.4f}, on other samples {best.checked:.4f}",
        soft_wrap=True,
    )


def _varied(vary: Sequence[str]) -> list[dict[str, Any]]:
    """Return all combinations of values that options are given."""
    axes: dict[str, list[str]] = {}
    for text in vary:
        name, equals, values = text.partition("=")
        if not (equals and name.strip() and values.strip()):
            raise ValueError(f"--vary must be name=value,value,...; got {text!r}")
        if name.strip() in axes:
            raise ValueError(f"the option {name.strip()!r} is varied twice")
        axes[name.strip()] = [value.strip() for value in values.split(",")]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _offered(target: str) -> list[dict[str, Any]]:
    """Return what a target has to offer."""
    from validation import registry
    from validation.target import require

    kind = registry.kind(registry.TARGETS, target)
    require(kind, "recommend")
    return [dict(options) for options in kind.settings()]


def _settings(target: str, options: Mapping[str, str], tried: Sequence[Mapping[str, Any]]) -> list[Setting]:
    from validation import registry
    from validation.attribution.recommendation import Setting

    # traces, which nobody looks at here, are gigabytes of fine steps
    untraced = {"traces": False} if "traces" in registry.options_of(registry.TARGETS, target) else {}
    settings = []
    for rank, varied in enumerate(tried):
        made: Any = registry.target(target, **{**untraced, **options, **varied})
        settings.append(Setting(rank, _label(varied), made))
    return settings


def _label(options: Mapping[str, Any]) -> str:
    words = [
        f"{value * 1e3:g} ms" if name == "time_step" and isinstance(value, float) else str(value)
        for name, value in options.items()
    ]
    return ", ".join(words)
