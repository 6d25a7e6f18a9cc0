from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from validation import registry
from validation.registry import options_of, settings, target, task
from validation.spinnaker2 import SpiNNaker2Core


@dataclass(frozen=True)
class Chip:
    time_step: float
    steps: int = 1
    dense: bool = True
    seed: int | None = None
    name: str = "a chip"


@pytest.fixture
def chip(monkeypatch):
    entry = EntryPoint("chip", f"{__name__}:Chip", registry.TARGETS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Chip)
    monkeypatch.setattr(registry, "_entries", lambda group: {"chip": entry})


def test_targets_and_tasks_of_this_package_are_found():
    assert "spinnaker2" in registry.names(registry.TARGETS)
    assert {"digits", "keywords", "random", "yinyang"} <= set(registry.names(registry.TASKS))


def test_a_target_takes_its_options_as_values_or_as_text():
    core = target("spinnaker2", time_step=1e-3, format="s16.15")
    assert isinstance(core, SpiNNaker2Core)
    assert core.name == target("spinnaker2", time_step="1ms", format="s16.15").name


def test_options_are_read_by_the_type_that_they_are_declared_with(chip):
    given = settings(["time_step=0.1ms,steps=3", "dense=false", "seed=none"])
    assert target("chip", **given) == Chip(1e-4, 3, False, None)
    assert target("chip", time_step="1e-3", seed="7") == Chip(1e-3, seed=7)
    assert options_of(registry.TARGETS, "chip")["steps"] == 1


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("time_step", "soon", "time_step must be a number, with a unit if it is a time; got 'soon'"),
        ("steps", "1.5", "steps must be an integer; got '1.5'"),
        ("dense", "yes", "dense must be true or false; got 'yes'"),
        ("seed", "x", "seed must be an integer or none; got 'x'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(chip, option, text, expected):
    with pytest.raises(ValueError, match=expected):
        target("chip", **({"time_step": 1e-3} | {option: text}))


def test_unknown_names_and_options_are_told_with_those_that_there_are():
    with pytest.raises(
        ValueError, match=r"there is no target 'spinaker2'; there are .*: was 'spinnaker2' meant\?"
    ):
        target("spinaker2")
    with pytest.raises(ValueError, match="there is no task 'mnist'; there are delgrad, digits, keywords"):
        task("mnist")
    with pytest.raises(ValueError, match=r"the task 'yinyang' has no option 'size'; it has setup"):
        task("yinyang", size=3)


@pytest.mark.parametrize("given", [["time_step"], ["=3"], [""], ["a=1", "a=2"]])
def test_settings_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match=r"an option must be name=value|given twice"):
        settings(given)
