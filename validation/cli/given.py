"""What a command is given: a task by its name or a problem in a record, and a target by its name, with options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.options import MOST_SAMPLES, wrong

if TYPE_CHECKING:
    import eventsolve as es
    from eventsolve.io import records
    from validation.target import Target

SUFFIXES = (".json", ".npz", ".h5", ".hdf5")

Source = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task by its name ('eventsolve-validate tasks' lists them), or a record that holds a network and its "
        "inputs: .json, .npz, .h5 or .hdf5.",
        show_default=False,
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        help="By its name; 'eventsolve-validate targets' lists them. Needed, but for a record that judges itself.",
        show_default=False,
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE,...",
        help="Options of the target, or of the task, with units: time_step=0.1ms,format=s16.15. One that both have is "
        "written target.NAME or task.NAME. May be repeated.",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_SAMPLES, help="Of the task, or the first ones of a record. (default: 32, or all)"
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Of all that the task draws, and of what the command draws.")
]


@dataclass(frozen=True)
class Given:
    """What a command works on.

    Attributes
    ----------
    title : str
        Of the task or the record.
    problem : Problem
    target : Target
    options : mapping of str to str
        Of the target, as they were given.
    record : eventsolve.io.records.Record or None
        What the problem is of, if it is of a file.
    """

    title: str
    problem: es.Problem
    target: Target
    options: Mapping[str, str]
    record: records.Record | None = None


def given(
    source: str,
    target: str,
    options: Sequence[str] | None,
    *,
    tool: str,
    samples: int | None = None,
    task_samples: int = 32,
    seed: int = 42,
    least: int = 1,
    defaults: Mapping[str, Any] | None = None,
    others: bool = False,
) -> Given:
    """Return what a command is given, or say as a bad option what is wrong with it.

    Parameters
    ----------
    source : str
        A task's name, or a record's file.
    target : str
        A target's name.
    options : sequence of str, optional
        As ``--set`` takes them.
        "" is refused, unless the record is of another format.
    tool : str
        What the target has to be able to do, one of :data:`validation.target.TOOLS`.
    samples : int, optional
        By default ``task_samples`` of a task, and all of a record.
    task_samples, seed : int
    least : int
        Samples that the command needs.
    defaults : mapping of str to value, optional
        Of options that the target has to be given, where they are not.
    others : bool
        Whether a record of another format is the caller's to hand over; it is refused otherwise.
    """
    from eventsolve.io.records import OtherRecord
    from validation import registry
    from validation.target import require

    try:
        read = _read(source) if _is_file(source) else None
        if not target:
            raise typer.BadParameter(
                "it must be given, but for a record that judges itself", param_hint="'--target'"
            )
        chosen = registry.settings(list(options or []))
        of_target, of_task = _shared(chosen, target, source)
        require(registry.kind(registry.TARGETS, target), tool)
        needed = {
            name: value
            for name, value in (defaults or {}).items()
            if registry.options_of(registry.TARGETS, target).get(name) is MISSING
        }
        made = registry.target(target, **{**needed, **of_target})
        title, problem, record = _problem(source, read, of_task, samples, task_samples, seed)
        if problem.n_samples < least:
            raise ValueError(f"{tool} needs at least {least} samples; {source} gives {problem.n_samples}")
    except OtherRecord as other:
        if others:
            raise
        raise wrong(other) from None
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise wrong(error) from None
    return Given(title, problem, made, of_target, record)


def _is_file(source: str) -> bool:
    return Path(source).suffix.lower() in SUFFIXES


def _shared(chosen: dict[str, str], target: str, source: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the options of the target and those of the task."""
    from validation import registry

    known = {"target": set(registry.options_of(registry.TARGETS, target)), "task": set[str]()}
    if not _is_file(source):
        known["task"] = set(registry.options_of(registry.TASKS, source))
    found: dict[str, dict[str, str]] = {"target": {}, "task": {}}
    for name, value in chosen.items():
        owner, dot, option = name.partition(".")
        if dot and owner in known:
            if option not in known[owner]:
                raise ValueError(
                    f"the {owner} has no option {option!r}; it has {', '.join(sorted(known[owner])) or 'none'}"
                )
            found[owner][option] = value
            continue
        owners = [owner for owner, names in known.items() if name in names]
        if len(owners) > 1:
            raise ValueError(f"{name!r} is an option of both: write target.{name} or task.{name}")
        if not owners:
            raise ValueError(
                f"there is no option {name!r}; the target {target!r} has {', '.join(sorted(known['target']))}, "
                f"the task {', '.join(sorted(known['task'])) or 'none'}"
            )
        found[owners[0]][name] = value
    return found["target"], found["task"]


def _problem(
    source: str,
    record: records.Record | None,
    options: dict[str, str],
    samples: int | None,
    task_samples: int,
    seed: int,
) -> tuple[str, es.Problem, records.Record | None]:
    """Return the title and the problem of a task or a record."""
    from validation import registry

    if record is None:
        task = registry.task(source, **options)
        return task.name, task.problem(n_samples=samples or task_samples, seed=seed), None
    problem = record.problem()
    if samples is not None:
        if samples > problem.n_samples:
            raise ValueError(f"{source} has {problem.n_samples} samples; got {samples}")
        problem = problem.select(range(samples))
    return record.name, problem, record


def _read(source: str) -> records.Record:
    from eventsolve.io import records

    if not Path(source).is_file():
        raise ValueError(f"there is no file {source!r}")
    return records.read(source)
