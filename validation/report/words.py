"""What a comparison found, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eventsolve.checks import printable
from eventsolve.compare import Comparison, Stage


def summary(comparison: Comparison) -> str:
    """Say in plain words how far two records agree."""
    n_spikes = sum(match.exact.n_spikes for match in comparison.computed)
    missed, extra = comparison.missed, comparison.extra
    n_samples, n_differing = comparison.differing_samples.size, int(comparison.differing_samples.sum())
    if missed or extra:
        where = f"{n_differing} of {n_samples} samples" if n_differing else "no sample"
        spikes = f"Of {n_spikes} spikes the model misses {missed} and adds {extra}; gradients depend on them in {where}"
    else:
        spikes = f"All {n_spikes} spikes are matched"
    cosines = " and ".join(
        f"{number(weight.mean.cosine)} with that of {weight.label}" for weight in comparison.weight.values()
    )
    words = [spikes]
    if cosines:
        words.append(f"its mean gradient has a cosine of {cosines}")
    if comparison.first is None:
        words.append("the two agree everywhere within tolerance")
    else:
        words.append(f"the two part first at the {_place(comparison.first)}")
    text = "; ".join(words) + "."
    if comparison.not_given:
        text += f" Not compared: {printable('; '.join(comparison.not_given), 1000)}."
    backward = comparison.first_backward
    if comparison.first is not None and comparison.first.kind == "spikes" and n_differing < n_samples:
        matching = n_samples - n_differing
        samples = "one sample" if matching == 1 else f"{matching} samples"
        place = (
            f"parts first at the {_place(backward, matching=True)}" if backward else "agrees within tolerance"
        )
        text += f" On the {samples} whose spikes match, the backward pass {place}."
    return text


def _place(stage: Stage, *, matching: bool = False) -> str:
    if stage.kind == "spikes":
        return stage.label
    error = stage.error_where_spikes_match if matching else stage.error
    if math.isnan(error):
        return f"{stage.label} (with numbers that are not finite)"
    return f"{stage.label} (relative error {number(error)}, tolerance {number(stage.tolerance)})"


def number(value: float) -> str:
    """Return a number in at most four significant digits."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def steps(seconds: float, comparison: Comparison) -> float:
    """Return a time in the model's time steps, nan in continuous time."""
    step = comparison.model.time_step
    return seconds / step if step else math.nan


def degrees(cosine: float) -> str:
    """Return the angle of a cosine in whole degrees; 90° is what a random direction has."""
    return (
        "undefined" if math.isnan(cosine) else f"{math.degrees(math.acos(max(-1.0, min(1.0, cosine)))):.0f}°"
    )


def joined(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list in a sentence."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return "undefined" if math.isnan(share) else f"{100 * share:.1f} %"
