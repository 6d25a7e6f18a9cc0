"""Every training of docs/training.md, and that page: python benchmarks/tables/training.py."""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventsolve.files import write_texts
from eventsolve.jobs import LostJobsError, as_finished
from validation.durations import seconds
from validation.options import InFolder, folder, wrong
from validation.pages import page
from validation.tasks.keywords import words
from validation.tasks.yin_yang.campaign import Job, Result, run
from validation.tasks.yin_yang.recipe import RECIPES, described, in_new_names
from validation.tasks.yin_yang.report import ceiling
from validation.tasks.yin_yang.trainer import seconds_of
from validation.terminal import console

SEEDS = (42, 43, 44)


@dataclass(frozen=True)
class Row:
    """A training with several seeds.

    Attributes
    ----------
    name : str
        Of its folder.
    engine, recipe : str
    follows : str
        The row from whose weights, seed by seed, it starts; "" if it starts anew.
    time_step : str
        Of the engine "genn", as on the command line; "" elsewhere.
    """

    name: str
    engine: str
    recipe: str
    follows: str = ""
    time_step: str = ""

    def command(self, seed: int | str) -> str:
        """Return the command line of one of its trainings."""
        words = ["eventsolve-validate", "train", "yinyang", "--engine", self.engine, "--recipe", self.recipe]
        words += ["--time-step", self.time_step] if self.time_step else []
        words += ["--seed", str(seed)]
        if self.follows:
            words += ["--weights", f"{self.follows}-{seed}/checkpoint.npz"]
        return shlex.join([*words, "--out", f"{self.name}-{seed}"])


ROWS = (
    Row("exact-published", "exact", "wunderlich2021"),
    Row("exact-slow", "exact", "slow"),
    Row("exact-delays", "exact", "delays"),
    Row("exact-coded", "exact", "coded"),
    Row("float32-published", "float32", "bena2024-short"),
    Row("float32-alone", "float32", "alone"),
    Row("chip-alone", "spinnaker2", "alone"),
    Row("float32-hybrid", "float32", "tuned", follows="exact-coded"),
    Row("chip-hybrid", "spinnaker2", "tuned", follows="exact-coded"),
    Row("exact-first", "exact", "genn-eventprop-quick"),
    Row("genn-first-0.1ms", "genn", "genn-eventprop-quick", time_step="0.1ms"),
    Row("genn-first-1ms", "genn", "genn-eventprop-quick", time_step="1ms"),
    Row("exact-relative", "exact", "mlgenn-quick"),
    Row("genn-relative-0.1ms", "genn", "mlgenn-quick", time_step="0.1ms"),
    Row("genn-relative-1ms", "genn", "mlgenn-quick", time_step="1ms"),
)


def jobs(row: Row, folder: Path, seeds: Sequence[int] = SEEDS) -> list[Job]:
    """Return the trainings of a row, each in a folder of its own."""
    return [
        Job(
            row.engine,
            RECIPES[row.recipe],
            seed,
            folder / f"{row.name}-{seed}",
            weights=folder / f"{row.follows}-{seed}" / "checkpoint.npz" if row.follows else None,
            time_step=seconds(row.time_step) if row.time_step else None,
        )
        for seed in seeds
    ]


def run_row(
    row: Row, folder: Path, executor: Executor | None = None, finished: Callable[[], None] = lambda: None
) -> list[Result]:
    """Train a row and return its results by seed; the row that it follows must have been trained in the same folder."""
    found = {}
    for job, result in as_finished(run, jobs(row, folder), executor):
        found[job.seed] = result
        finished()
    return [found[seed] for seed in sorted(found)]


def document(row: Row, results: Sequence[Result], seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Return a row as JSON."""
    recipe = RECIPES[row.recipe]
    return {
        "name": row.name,
        "engine": row.engine,
        "time_step": row.time_step,
        "follows": row.follows,
        "recipe": described(recipe),
        "runs": [
            {
                "seed": seed,
                "command": row.command(seed),
                "before": result.before,
                "test_accuracy": result.state.chosen.test_accuracy,
                "hidden_spikes": result.state.chosen.hidden_spikes,
                "silent": result.state.chosen.silent,
                "test_accuracies": [epoch.test_accuracy for epoch in result.state.history],
                "validation_accuracies": [epoch.validation_accuracy for epoch in result.state.history],
                "seconds": seconds_of(result.state.history),
            }
            for seed, result in zip(seeds, results, strict=True)
        ],
    }


def merged(documents: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return rows with those of the table that a folder has, if it has one, in the order of :data:`ROWS`."""
    known = {}
    if (folder / "training.json").is_file():
        table = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        rows = [row | {"recipe": in_new_names(row["recipe"])} for row in table["rows"]]
        known = {row["name"]: row for row in [*rows, *table.get("words", ())]}
    known |= {row["name"]: row for row in documents}
    names = [*(row.name for row in ROWS), *(row.name for row in words.ROWS)]
    return [known[name] for name in names if name in known]


def write(documents: Sequence[dict[str, Any]], folder: Path) -> tuple[Path, Path]:
    """Write ``training.json`` and ``training.md`` into a folder, made if needed; return their paths."""
    of_words = {row.name for row in words.ROWS}
    content: dict[str, Any] = {
        "format": "eventsolve-training-table",
        "version": 1,
        "machine": {
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "ceiling": ceiling("code"),
        "rows": [row for row in documents if row["name"] not in of_words],
        "words": [row for row in documents if row["name"] in of_words],
    }
    contents = content | {
        "rows": [_shown(row) for row in content["rows"]],
        "words": [_shown_words(row) for row in content["words"]],
        "seeds": SEEDS,
        "chip": "spinnaker2",
    }
    texts = {
        "training.json": json.dumps(content, indent=1) + "\n",
        "training.md": page("training.md.j2", contents, html=False, folder=Path(__file__).parent),
    }
    data, written = write_texts(folder, texts)
    return data, written


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of a row of the page."""
    last = [100 * run["test_accuracy"] for run in row["runs"]]
    recipe = row["recipe"]
    return {
        "name": row["name"],
        "engine": row["engine"] + (f", {row['time_step']}" if row.get("time_step") else ""),
        "follows": row["follows"],
        "recipe": recipe["name"],
        "source": recipe["source"],
        "network": recipe["setup"]["name"],
        "before": _spread([100 * run["before"] for run in row["runs"]], 1),
        "accuracy": _spread(last, 2),
        "each": ", ".join(f"{value:.2f}" for value in last),
        "hidden_spikes": f"{np.mean([run['hidden_spikes'] for run in row['runs']]):.0f}",
        "silent": f"{np.mean([run['silent'] for run in row['runs']]):.0f}",
        "work": f"{recipe['epochs']} x {recipe['n_train']}",
        "seconds": f"{np.mean([run['seconds'] for run in row['runs']]):.0f}",
        "command": row["runs"][0]["command"],
    }


def _shown_words(row: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of a row of the table of losses."""
    accuracies = [100 * np.array(run["test_accuracies"]) for run in row["runs"]]
    engine = row.get("engine", "exact")
    return {
        "name": row["name"],
        "said": row["said"],
        "engine": ", ".join([engine, *row["options"].split(",")]) if row.get("options") else engine,
        "network": row["network"],
        "samples": row["samples"],
        "epochs": row["epochs"],
        "before": _spread([found[0] for found in accuracies], 1),
        "accuracy": _spread([found[-1] for found in accuracies], 1),
        "each": ", ".join(f"{found[-1]:.1f}" for found in accuracies),
        "reach": f"{np.mean(row['reach']):.1e}",
        "loss": _spread([run["losses"][-1] for run in row["runs"]], 2),
        "test_loss": _spread([run["test_losses"][-1] for run in row["runs"]], 2),
        "seconds": f"{row['epochs'] * row['seconds_of_an_epoch']:.0f}",
        "command": row["runs"][0]["command"],
    }


def _spread(values: Sequence[float | None], digits: int) -> str:
    """Return mean and standard deviation, that of the population from which the seeds are drawn; - if one is none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    if len(known) < 2:
        return f"{known[0]:.{digits}f}"
    return f"{np.mean(known):.{digits}f} ± {np.std(known, ddof=1):.{digits}f}"


app = typer.Typer()


@app.command(cls=InFolder)
def training(
    runs: Annotated[
        Path,
        typer.Option(
            file_okay=False, callback=folder, help="Folder of checkpoints; those there are gone on from."
        ),
    ] = Path("reports/training"),
    out: Annotated[
        Path, typer.Option(file_okay=False, callback=folder, help="Folder for training.md and training.json.")
    ] = Path("docs"),
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW", help="Some rows only, may be repeated; the others of the table in --out stay."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Trainings at a time, each a process on one thread.")
    ] = 1,
) -> None:
    """Train every row of the table with three seeds, and write docs/training.md; an interrupt loses one epoch each."""
    all_rows: list[Row | words.WordsRow] = [*ROWS, *words.ROWS]
    rows = [row for row in all_rows if not only or row.name in only]
    for name in only or []:
        if name not in {row.name for row in all_rows}:
            known = ", ".join(row.name for row in all_rows)
            raise typer.BadParameter(f"{name!r} is not one of {known}", param_hint="'--only'")
    errors = console(stderr=True)
    documents = []
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TextColumn("trainings"),
        TimeElapsedColumn(),
    )
    with ProcessPoolExecutor(workers) as pool, Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(rows[0].name, total=len(rows) * len(SEEDS))
        try:
            for row in rows:
                bar.update(task, description=row.name)
                if isinstance(row, words.WordsRow):
                    ends = words.run_row(row, runs, pool, lambda: bar.advance(task), SEEDS)
                    documents.append(words.document(row, ends, SEEDS))
                    continue
                results = run_row(row, runs, pool, lambda: bar.advance(task))
                documents.append(document(row, results))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            errors.print(
                f"interrupted: {len(documents)} of {len(rows)} rows were finished; the same command goes on"
            )
            raise typer.Exit(130) from None
        except LostJobsError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # the synthesizer that says the words
                raise
            raise wrong(error.__cause__) from None
    data, page = write(merged(documents, out) if only else documents, out)
    errors.print(f"table: {page}\n       {data}", soft_wrap=True)


if __name__ == "__main__":
    app()
