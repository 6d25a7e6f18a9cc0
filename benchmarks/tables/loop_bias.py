"""How far gradients in the loop are from the chip's true one: python benchmarks/tables/loop_bias.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from validation.cli.running import refusals

if TYPE_CHECKING:
    from validation.brainscales2.bias import Gap


app = typer.Typer()


@app.command()
def loop_bias(
    chips: Annotated[int, typer.Option(min=1, help="Chips, of the seeds 0, 1, ...")] = 8,
    samples: Annotated[int, typer.Option(min=1, help="Points of the published test set.")] = 1000,
    epochs: Annotated[int, typer.Option(min=1, help="For which the ideal network is trained before.")] = 20,
    trials: Annotated[int, typer.Option(min=2, help="Of noise.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Of orders, for Shapley values.")] = 8,
) -> None:
    """Say how far gradients in the loop are from the true gradient of a chip of BrainScaleS-2, and what makes it so.

    Median over chips, and the middle half of them; then what averaging trials does, what calibration has to reach, and
    the share of each cause in the bias and in the accuracy of weights that come from the ideal network.
    """
    with refusals():
        for line in report(chips, samples, epochs, trials, pairs):
            typer.echo(line)


def report(chips: int, samples: int, epochs: int, trials: int, pairs: int) -> Iterator[str]:
    """Yield the lines of the report."""
    from dataclasses import replace

    import numpy as np

    from validation.brainscales2 import BrainScaleS2, bias
    from validation.brainscales2.closed_forms import SLOPES
    from validation.brainscales2.networks import TAU
    from validation.brainscales2.training import CAP

    parameters = bias.trained(bias.SETUP, epochs)
    batch = bias.batch_of(bias.SETUP, parameters, samples)
    yield f"4x5-30-3 with axonal delays, {epochs} epochs of training; {samples} samples, {chips} chips; error (cosine)"
    yield f"{'cause':22}" + "".join(f"{slope:>34}" for slope in SLOPES)
    for name, causes, sizes in bias.TABLE:
        found = bias.biases(batch, chips, causes, sizes)
        yield f"{name:22}" + "".join(f"{_quartiles(found[slope]):>34}" for slope in SLOPES)
    ideal = BrainScaleS2().with_causes([])
    for of, size in (("a sample", 1), ("40 samples, as published", 40)):
        capped = bias.in_the_loop(replace(ideal, cap=size * CAP * TAU**2), batch)["measured"]
        off = bias.gap(capped, bias.true(ideal, batch))
        yield f"a cap of {CAP:g} of the loss of {of}, alone, on an ideal chip: {off.error:.2f} ({off.cosine:.2f})"
    yield ""
    for size in (40, samples):
        part = bias.batch_of(bias.SETUP, parameters, size)
        yield (
            f"{trials} trials of {size} samples; noise of one, bias, trials until noise is below bias; "
            f"median of {chips} chips"
        )
        for words, without in (
            ("all causes", ()),
            ("jitter alone", _all_but("jitter")),
            ("threshold noise alone", _all_but("threshold_noise")),
        ):
            runs = [
                bias.averaging(part, BrainScaleS2(seed, without=without), trials) for seed in range(chips)
            ]
            for slope in SLOPES:
                noise, left, enough = (
                    float(np.median([getattr(run[slope], what) for run in runs]))
                    for what in ("noise", "bias", "enough")
                )
                yield f"  {words:22} {slope:10} {noise:6.2f} {left:6.2f} {enough:6g}"
    yield ""
    yield "what is left of the bias where so much of every fixed cause is left after calibration"
    for share, found in bias.calibrated(batch, chips, (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)).items():
        yield f"{f'{100 * share:g} %':22}" + "".join(f"{_quartiles(found[slope]):>34}" for slope in SLOPES)
    yield ""
    yield f"Shapley values of fixed causes, ± 1 standard error of {pairs} pairs of orders"
    part = bias.batch_of(bias.SETUP, parameters, min(samples, 200))
    blame = bias.blame(part, min(chips, 4), pairs)
    rights = bias.accuracies(bias.SETUP, parameters, chips, pairs)
    yield f"{'cause':22}" + "".join(f"{'bias, ' + slope:>22}" for slope in SLOPES) + f"{'accuracy':>22}"
    for k, name in enumerate(bias.FIXED):
        values = [*blame.values[k], *rights.values[k]]
        errors = [*blame.standard_errors[k], *rights.standard_errors[k]]
        yield f"{name:22}" + "".join(
            f"{f'{value:+.3f} ± {error:.3f}':>22}" for value, error in zip(values, errors, strict=True)
        )


def _all_but(cause: str) -> tuple[str, ...]:
    from validation.brainscales2.causes import NAMES

    return tuple(name for name in NAMES if name != cause)


def _quartiles(found: Sequence[Gap]) -> str:
    import numpy as np

    low, middle, high = np.quantile([one.error for one in found], (0.25, 0.5, 0.75))
    cosine = float(np.median([one.cosine for one in found]))
    if high < 1e-6:
        return f"{high:.0e} ({cosine:.2f})"
    return f"{middle:.2f}, {low:.2f} to {high:.2f} ({cosine:.2f})"


if __name__ == "__main__":
    app()
