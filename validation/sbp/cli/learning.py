"""The commands ``eventsolve-validate sbp``: an example of a record, and a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.options import file, wrong

if TYPE_CHECKING:
    from validation.sbp.images import Samples

app = typer.Typer(
    help="Spiking backpropagation: records, trainings, and what approximations cost.",
    no_args_is_help=True,
)

Images = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Images to learn and images to test on, the option twice: files of MNIST's form, .gz or not. "
        "(default: handwritten digits of scikit-learn)",
    ),
]
Labels = Annotated[
    list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Their labels, the option twice.")
]
Crop = Annotated[int, typer.Option(min=0, help="Pixels that are cut off images on each side.")]
Hidden = Annotated[int, typer.Option(min=1, help="Hidden neurons.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often every sample is learned.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of weights and orders.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE,...",
        help="Of the rule: error, read, edge, limits, bits, box, dead, typical.",
    ),
]


@app.command()
def record(
    out: Annotated[Path, typer.Option(dir_okay=False, callback=file, help="A file .json, .npz or .h5.")],
    trials: Annotated[int, typer.Option(min=1, help="Digits that are learned.")] = 20,
    hidden: Hidden = 30,
    seed: Seed = 0,
    fault: Annotated[
        str | None, typer.Option(help="What is wrong with the circuit, in the words of a verdict.")
    ] = None,
) -> None:
    """Write a record of the circuit that learns digits, as an example of the file, or of a fault.

    Exits with 2 if there is no such fault.
    """
    from validation.sbp import circuit, images
    from validation.sbp import record as records
    from validation.sbp.diagnosis import explains
    from validation.sbp.guesses import guesses, right
    from validation.sbp.weights import initial

    known = {guess.says: guess for guess in guesses("before")}
    if fault is not None and fault not in known:
        some = "; ".join(list(known)[:20])
        raise typer.BadParameter(f"there is no fault {fault!r}, but {some}; ...", param_hint="'--fault'")
    guess = right("before") if fault is None else known[fault]
    try:
        training, _ = images.digits()
        weights = initial((training.inputs.shape[1], hidden, 10), seed)
        held = guess.began(circuit.held(weights))
        x, t = training.inputs[:trials], training.targets[:trials]
        written = records.recorded(weights, x, t, guess.rule, wiring=guess.wiring, held=held, name=out.stem)
        records.write(written, out)
    except (ValueError, ImportError, OSError) as error:
        raise wrong(error) from None
    if fault is not None and explains(written, right("before")):
        typer.echo(
            "the fault leaves no trace in these trials: the record is that of the right circuit", err=True
        )


@app.command()
def train(
    options: Set = None,
    engine: Annotated[str, typer.Option(help="circuit, or closed form.")] = "closed form",
    hidden: Hidden = 100,
    epochs: Epochs = 30,
    seed: Seed = 0,
    images: Images = None,
    labels: Labels = None,
    crop: Crop = 4,
) -> None:
    """Learn images by one rule, and test after every epoch; error=real,limits=none is exact backpropagation.

    Exits with 2 on a bad option, or a file that is not of MNIST's form.
    """
    from validation import registry
    from validation.sbp.rule import Rule
    from validation.sbp.training import PUBLISHED, trained
    from validation.terminal import console

    try:
        rule = replace(Rule(), **_parsed(registry.settings(list(options or []))))
        training, test = samples_of(images, labels, crop)
        kind: Any = engine
        for epoch in trained(training, test, rule, hidden=hidden, epochs=epochs, seed=seed, engine=kind):
            exact, spikes, sums = epoch.test
            console().print(
                f"epoch {epoch.number:3d}: {epoch.learning} of {len(training.labels)} samples learned, others right: "
                f"exactly {exact:.4f}, by spikes {spikes:.4f}, by sums {sums:.4f}",
                soft_wrap=True,
            )
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise wrong(error) from None
    if images:
        console().print(f"published for 400-400-10 on MNIST after 60 epochs, on the chip: {PUBLISHED}")


def samples_of(images: list[Path] | None, labels: list[Path] | None, crop: int) -> tuple[Samples, Samples]:
    """Return the samples to learn and to test on, of files that were given, or digits."""
    from validation.sbp import images as reading

    if not images and not labels:
        return reading.digits()
    given = [*(images or ()), *(labels or ())]
    if len(images or ()) != 2 or len(given) != 4:
        raise ValueError("images and labels must be given twice each: to learn, and to test on")
    return reading.idx(given[0], given[2], crop=crop), reading.idx(given[1], given[3], crop=crop)


def _parsed(options: dict[str, str]) -> dict[str, Any]:
    """Return a rule's options from text, and leave to it to judge them."""
    from validation.sbp.rule import Rule

    found: dict[str, Any] = {}
    for name, text in options.items():
        if name not in Rule.__dataclass_fields__:
            raise ValueError(f"a rule has no option {name!r}; it has {', '.join(Rule.__dataclass_fields__)}")
        if text in ("true", "false"):
            found[name] = text == "true"
        elif text.isdecimal():
            found[name] = int(text)
        else:
            found[name] = float(text) if name == "typical" else text
    return found
