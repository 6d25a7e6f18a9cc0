"""Records of correct clocked implementations that share no code with this one: a setting of the grid equals each."""

import json
from pathlib import Path

import numpy as np
import pytest

import eventsolve as es
from eventsolve.io import records
from validation.grid import TimeStepped

DATA = Path(__file__).parents[1] / "data" / "diagnose"

CORE = {"number": "float32", "order": "current_first", "transport": 1, "adjoint": "recursion"}
SETTINGS = {
    "a01": {},
    "a02": {"input_rounding": "up"},
    "a03": {"input_rounding": "up"},
    "a04": {**CORE, "propagators": "exponential"},
    "a05": {**CORE, "propagators": "euler"},
    "a06": {**CORE, "propagators": "euler"},
    "a07": {"number": "float32", "slope": "threshold"},
    "a08": {"propagators": "euler"},
    "a09": {"propagators": "euler"},
    "a10": {},
    "a11": {"input_rounding": "up"},
    "a12": {"input_rounding": "up"},
    "a13": {},
    "a14": {},
    "a15": {},
    "a16": {"number": "float32"},
}
INDEX = {e["file"].split(".")[0]: e for e in json.loads((DATA / "index.json").read_text()) if e["set"] == "a"}


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)


def spikes_equal(a, b, time_step):
    """Say whether two trains are one; times of a grid may be written as k h or as a sum of steps."""
    same = a.n_spikes == b.n_spikes and (a.neurons == b.neurons).all() and (a.samples == b.samples).all()
    return bool(same) and np.abs(a.times - b.times).max(initial=0.0) < 1e-6 * time_step


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_grid_equals_every_correct_record(name):
    """Spikes exactly; all else to the rounding of the number format, through as many operations as there are steps.

    An adjoint of n steps with unit roundoff u is off by about n u of its largest term, and where slopes at a spike
    cancel by 1/h more: sqrt(n) u/(slope h) of random roundings. Allowed is n u: 4000 u at most.
    """
    record = records.read(DATA / INDEX[name]["file"])
    settings = SETTINGS[name]
    found = TimeStepped(record.time_step, **settings).run(
        es.Problem(record.network, record.inputs, record.t_end, record.loss)
    )
    for population, trains in record.spikes.items():
        assert spikes_equal(found.spikes[population], trains, record.time_step)
    u = 2.0**-24 if settings.get("number") == "float32" else 2.0**-53
    n = round(record.t_end / record.time_step)
    reduce = {"mean": lambda x: x.mean(axis=0), "sum": lambda x: x.sum(axis=0), "none": lambda x: x}[
        record.reduction
    ]
    share = 1 / record.n_samples if record.reduction == "mean" else 1.0
    assert relative(reduce(found.loss_values), record.loss_values) <= n * u
    quantities = [(reduce(found.weight[key]), g) for key, g in record.gradients["weight"].items()]
    quantities += [
        (share * found.spike_times[p], g) for p, g in record.gradients.get("spike_times", {}).items()
    ]
    assert len(quantities) >= 2
    assert max(relative(a, b) for a, b in quantities) <= n * u
    for population, trace in record.traces.items():
        np.testing.assert_allclose(found.traces[population].voltage, trace.voltage, rtol=0, atol=n * u)


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_do_not(name):
    """Each setting matters: with any one of them at another value, spikes or gradients are off by far more."""
    record = records.read(DATA / INDEX[name]["file"])
    settings = SETTINGS[name]
    rounding = settings.get("input_rounding", "nearest")
    others = {
        "input_rounding": "nearest" if rounding == "up" else "up",
        "transport": settings.get("transport", 0) + 1,
        "propagators": "exponential" if settings.get("propagators") == "euler" else "euler",
        "inclusive": None,
        "slope": "grid" if settings.get("slope") == "threshold" else "threshold",
    }
    reduce = {"mean": lambda x: x.mean(axis=0), "sum": lambda x: x.sum(axis=0), "none": lambda x: x}[
        record.reduction
    ]
    for setting, value in others.items():
        if value is None:
            continue
        found = TimeStepped(record.time_step, **{**settings, setting: value}).run(
            es.Problem(record.network, record.inputs, record.t_end, record.loss)
        )
        spikes = all(
            spikes_equal(found.spikes[p], trains, record.time_step) for p, trains in record.spikes.items()
        )
        off = max(relative(reduce(found.weight[k]), g) for k, g in record.gradients["weight"].items())
        assert not spikes or off > 1e-5, setting
