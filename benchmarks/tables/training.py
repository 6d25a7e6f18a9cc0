"""Every training of docs/training.md, and that page: python benchmarks/tables/training.py."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from validation.options import InFolder, folder, wrong
from validation.recipes import table as trainings
from validation.recipes import words
from validation.terminal import console

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
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, each a process on one thread.")] = 1,
) -> None:
    """Train every row of the table with three seeds, and write docs/training.md; an interrupt loses one epoch each."""
    all_rows: list[trainings.Row | words.WordsRow] = [*trainings.ROWS, *words.ROWS]
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
    with ProcessPoolExecutor(jobs) as pool, Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(rows[0].name, total=len(rows) * len(trainings.SEEDS))
        try:
            for row in rows:
                bar.update(task, description=row.name)
                if isinstance(row, words.WordsRow):
                    ends = words.run_row(row, runs, pool, lambda: bar.advance(task), trainings.SEEDS)
                    documents.append(words.document(row, ends, trainings.SEEDS))
                    continue
                results = trainings.run_row(row, runs, pool, lambda: bar.advance(task))
                documents.append(trainings.document(row, results))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            errors.print(
                f"interrupted: {len(documents)} of {len(rows)} rows were finished; the same command goes on"
            )
            raise typer.Exit(130) from None
        except FileNotFoundError as error:  # the synthesizer that says the words
            pool.shutdown(cancel_futures=True)
            raise wrong(error) from None
    data, page = trainings.write(trainings.merged(documents, out) if only else documents, out)
    errors.print(f"table: {page}\n       {data}", soft_wrap=True)


if __name__ == "__main__":
    app()
