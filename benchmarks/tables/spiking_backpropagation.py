"""The table of docs/targets/sbp.md: python benchmarks/tables/spiking_backpropagation.py."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from validation import report
from validation.options import InFolder, folder, wrong
from validation.report.document import Document, Table, Words, where_from
from validation.sbp.cli.learning import Crop, Epochs, Hidden, Images, Labels, samples_of
from validation.sbp.images import Samples
from validation.sbp.training import PUBLISHED, ROWS, operations
from validation.sbp.training import table as rows_of

app = typer.Typer()


@app.command(cls=InFolder)
def table(
    hidden: Hidden = 100,
    epochs: Epochs = 30,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each rule.")] = 3,
    images: Images = None,
    labels: Labels = None,
    crop: Crop = 4,
    only: Annotated[list[str] | None, typer.Option(help="Rules by the beginning of their names.")] = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, callback=folder, help="Folder for HTML and JSON.")
    ] = Path("learning-report"),
    json: Annotated[bool, typer.Option("--json", help="Print the JSON report to standard output.")] = False,
) -> None:
    """Train by circuit, closed form and exact backpropagation, with other bits, boxes and signs, from equal seeds.

    Exits with 2 on a bad option, or a file that is not of MNIST's form.
    """
    rows = [row for row in ROWS if not only or any(row.name.startswith(name) for name in only)]
    if not rows:
        raise typer.BadParameter(f"there are {', '.join(row.name for row in ROWS)}", param_hint="'--only'")
    try:
        training, test = samples_of(images, labels, crop)
        results = list(rows_of(training, test, rows, hidden=hidden, epochs=epochs, seeds=range(seeds)))
    except (ValueError, ImportError, OSError) as error:
        raise wrong(error) from None
    heads = (
        "rule",
        "exactly",
        "by spikes",
        "by sums",
        "samples\nlearned, first",
        "last",
        "weights\nat a limit",
    )
    shown = Table(
        "accuracy on other samples",
        heads,
        tuple(
            (
                result.row.name,
                *(_percent(*result.spread(lambda e, k=k: e.test[k])) for k in range(3)),  # type: ignore[misc]
                f"{sum(result.first_learning) / seeds:.0f}",
                f"{result.spread(lambda e: e.learning)[0]:.0f}",
                f"{result.spread(lambda e: e.at_limit)[0]:.0f}",
            )
            for result in results
        ),
        note="Mean and standard deviation over seeds. Exactly: each output as it should be; by spikes: the first "
        "output that fires; by sums: the output of the largest sum.",
    )
    chip = next((r for r in results if r.row.rule.error == "sign" and r.row.rule.bits == 8), None)
    counted = [] if chip is None else list(operations(chip.last[0].weights, _first(test, 200)))
    if chip is not None and chip.row.rule.limits == "none":
        counted = []  # whose weights the circuit does not hold
    costs = Table(
        "operations of a sample, in the circuit",
        ("steps", "spikes", "fixed\nsynapses", "plastic\nsynapses", "weights\nchanged"),
        tuple((str(c.steps), *(f"{value:.0f}" for value in c[1:])) for c in counted),
        words=(),
    )
    sizes = f"{training.inputs.shape[1]}-{hidden}-{training.n_classes}"
    title = f"{sizes}, {epochs} epochs of {len(training.labels)} samples, {seeds} seeds"
    mark = f"Published for 400-400-10 on MNIST after 60 epochs, on the chip: {100 * PUBLISHED:.1f} %."
    origin = report.provenance({"seeds": seeds, "epochs": epochs, "hidden": hidden}, shlex.join(sys.argv))
    data = {
        "format": "eventsolve-learning-table",
        "version": 1,
        "provenance": origin,
        "network": sizes,
        "epochs": epochs,
        "rows": [
            {
                "name": result.row.name,
                "rule": result.row.rule.name,
                "engine": result.row.engine,
                "exact": [e.test.exact for e in result.last],
                "spikes": [e.test.spikes for e in result.last],
                "sums": [e.test.sums for e in result.last],
                "learning": [e.learning for e in result.last],
                "first_learning": list(result.first_learning),
                "at_limit": [e.at_limit for e in result.last],
            }
            for result in results
        ],
        "operations": [c._asdict() for c in counted],
    }
    headline = (Words(title, "lead"), shown, *((costs,) if counted else ()), Words(mark))
    report.publish(Document(title, headline, (where_from(origin),), origin, data), out, json=json)


def _percent(mean: float, deviation: float) -> str:
    return f"{100 * mean:.1f}" if math.isnan(deviation) else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def _first(samples: Samples, n: int) -> Samples:
    return samples._replace(inputs=samples.inputs[:n], labels=samples.labels[:n])


if __name__ == "__main__":
    app()
