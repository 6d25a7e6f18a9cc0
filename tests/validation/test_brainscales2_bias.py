"""The bias of gradients in the loop: do its table and its averages say what laws say they must?"""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.tables import loop_bias
from validation import registry
from validation.brainscales2 import BrainScaleS2, bias
from validation.brainscales2.causes import NAMES
from validation.brainscales2.closed_forms import SLOPES
from validation.cli.app import app

ROUNDING = 1e-9
"""Far above what a dozen spikes' conditioning makes of float64, far below every bias of the table."""


@pytest.fixture(scope="module")
def batch():
    return registry.task("delgrad").problem(16, 3)


def test_the_table_has_no_bias_where_laws_say_so_and_some_elsewhere(batch):
    for name, causes, sizes in bias.TABLE:
        for slope, gaps in bias.biases(batch, 1, causes, sizes).items():
            free = name.startswith("delay") or (name.startswith("threshold") and slope == "measured")
            assert all((gap.error < ROUNDING) == free for gap in gaps), (name, slope, gaps)


def test_trials_average_the_noise_away_and_leave_the_bias(batch):
    jitter = BrainScaleS2(1, without=tuple(name for name in NAMES if name != "jitter"), jitter=1e-10)
    for slope, found in bias.averaging(batch, jitter, 6).items():
        assert found.noise > 0, slope
        # to first order in the jitter the mean of the gradient is the gradient: what is left is of second order
        assert found.bias < found.noise
    fixed = BrainScaleS2(1).with_causes(bias.FIXED)
    found = bias.averaging(batch, fixed, 2)["crossing"]
    assert found.noise == 0
    assert found.bias == pytest.approx(
        bias.biases(batch, 2, bias.FIXED, {})["crossing"][1].error, rel=1e-9, abs=0.0
    )
    assert found.enough == 1


def test_shares_of_causes_add_up_to_the_bias(batch):
    whole = bias.blame(batch, 1, 1)
    for slope, total in zip(SLOPES, whole.values.sum(axis=0), strict=True):
        (gap,) = bias.biases(batch, 1, bias.FIXED, {})[slope]
        assert total == pytest.approx(gap.error, rel=1e-9, abs=0.0)


def test_the_less_is_left_by_calibration_the_smaller_the_bias(batch):
    found = bias.calibrated(batch, 2, (1.0, 1e-3, 1e-6))
    for slope in ("crossing", "measured", "threshold"):
        errors = [np.mean([gap.error for gap in found[share][slope]]) for share in (1.0, 1e-3, 1e-6)]
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 2e-3 * errors[1]  # in proportion, once spikes keep their order


def test_the_script_prints_the_table():
    arguments = ["--chips", "1", "--samples", "16", "--trials", "2", "--pairs", "1"]
    found = CliRunner().invoke(loop_bias.app, [*arguments, "--epochs", "3"])
    assert found.exit_code == 0, found.output
    for words in ("threshold sd 0.3", "all fixed causes", "a cap of 0.2", "after calibration", "accuracy"):
        assert words in found.output
    silent = CliRunner().invoke(loop_bias.app, [*arguments, "--epochs", "1"])
    assert silent.exit_code == 2
    assert "the true gradient is 0" in silent.output


def test_a_comparison_pairs_spikes_within_their_scatter_and_does_not_blame_the_clock(tmp_path):
    """Spikes are recorded to 8 ns, which is no time step that anything is due to."""
    command = ["compare", "delgrad", "--target", "brainscales2", "--samples", "4", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "they scatter enough to change the order of events" in said
    assert "a time step of" not in said
    missed, total = re.search(r"(\d+), \d+ .*? of (\d+)", said).groups()
    assert int(missed) < int(total) / 10
