"""Do the commands that explain an error do what they say, and fail as they say?"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from cores import chain_problem
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io import records
from tests.shared.records import altered
from validation.attribution import ablation, convergence
from validation.cli import app as cli
from validation.spinnaker2 import SpiNNaker2Core

TASK = ["yinyang", "--set", "setup=5-120-3", "--target", "spinnaker2"]
CHIP = [*TASK, "--set", "time_step=1ms,format=s16.15"]
BRIEF = [*CHIP, "--samples", 4, "--pairs", 2]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def finite(value):
    """Every number in a document."""
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from finite(entry)
    elif isinstance(value, float):
        yield value


class TestAttribute:
    def test_what_it_writes_adds_up(self, tmp_path):
        result = invoke("attribute", *BRIEF, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        document = json.loads((tmp_path / "attribution.json").read_text(encoding="utf-8"))
        assert document["complete"] is True
        assert document["kept"] == ["step_delay"]
        assert document["pairs"] == 2
        for quantity in document["quantities"]:
            parts = [quantity["none"], *(s["sequence"] for s in quantity["switches"].values())]
            scale = max(abs(p) for p in parts)
            assert math.fsum(parts) == pytest.approx(quantity["chip"], abs=1e-12 * max(1.0, scale))
        assert all(math.isfinite(number) for number in finite(document))
        assert "dL/dw of hidden → out: relative error" in result.stdout
        page = (tmp_path / "attribution.html").read_text(encoding="utf-8")
        assert page.count("data-plot=") == 4 + 6
        assert result.stdout.startswith("The largest cause is ")
        _, out, hidden = result.stdout.split("Error of the direction of dL/dw of ")
        assert out.startswith("hidden → out, 1 - cosine")
        assert hidden.startswith("in → hidden, 1 - cosine")
        assert "guard" not in hidden.split("- dL/dw")[0]
        assert "below 1% of the error: --all" in " ".join(hidden.split())
        assert "guard" in page.split("<details>")[2]

    def test_several_processes_give_the_same(self, tmp_path):
        for workers in (1, 2):
            out = tmp_path / str(workers)
            assert invoke("attribute", *BRIEF, "--workers", workers, "--out", out).exit_code == 0
        one, two = (json.loads((tmp_path / n / "attribution.json").read_text(encoding="utf-8")) for n in "12")
        assert one["quantities"] == two["quantities"]

    def test_an_interrupt_keeps_what_is_finished(self, tmp_path, monkeypatch):
        real, runs = ablation.Ablation.observed, []

        def observed(self, record):
            runs.append(record)
            if len(runs) > 90:
                raise KeyboardInterrupt
            return real(self, record)

        monkeypatch.setattr(ablation.Ablation, "observed", observed)
        result = invoke("attribute", *CHIP, "--samples", 4, "--out", tmp_path)
        assert result.exit_code == 130
        document = json.loads((tmp_path / "attribution.json").read_text(encoding="utf-8"))
        assert document["complete"] is False
        assert document["pairs"] >= 1
        assert "interrupted" in (tmp_path / "attribution.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--set", "setup=5-100-3"], "the option 'setup' is given twice"),
            (["--set", "decay=linear"], "decay must be"),
            (["--keep", "delay"], "causes of"),
            (["--order", "guard"], "order must hold each of"),
        ],
    )
    def test_what_it_refuses(self, arguments, says, tmp_path):
        result = invoke("attribute", *BRIEF, *arguments, "--out", tmp_path)
        assert result.exit_code == 2
        assert says in " ".join(result.stderr.replace("│", " ").split())
        assert not list(tmp_path.iterdir())


class TestConverge:
    def test_what_it_says_is_what_it_found(self, tmp_path):
        steps = [part for step in ("8us", "4us", "2us") for part in ("--dt", step)]
        result = invoke("converge", *CHIP, *steps, "--bits", 8, "--bits", 24, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        document = json.loads((tmp_path / "convergence.json").read_text(encoding="utf-8"))
        assert len(document["errors"]) == 9
        for order in document["orders"]:
            assert order["samples"] >= 4
            assert order["low"] < order["order"] < order["high"]
            assert f"of order {order['order']:.3g} in the time step" in result.stdout
        assert {order["of"] for order in document["orders"]} == {"spike_times", "gradient"}
        assert document["crossovers"][0] == {"bits": 8, "time_step": pytest.approx(8e-6)}
        assert (tmp_path / "convergence.html").read_text(encoding="utf-8").count("data-plot=") == 3

    def test_an_interrupt_keeps_what_is_finished(self, tmp_path, monkeypatch):
        real, runs = convergence.errors, []

        def errors(job):
            runs.append(job)
            if len(runs) > 2:
                raise KeyboardInterrupt
            return real(job)

        monkeypatch.setattr(convergence, "errors", errors)
        result = invoke("converge", *CHIP, "--samples", 2, "--dt", "1ms", "--dt", "500us", "--out", tmp_path)
        assert result.exit_code == 130
        document = json.loads((tmp_path / "convergence.json").read_text(encoding="utf-8"))
        assert (document["complete"], len(document["errors"])) == (False, 2)


class TestRecommend:
    SETTINGS = (*TASK, "--samples", 8, "--vary", "time_step=1ms,50us", "--vary", "format=s16.15,float32")

    def test_the_cheapest_that_is_good_enough_on_other_samples_too(self):
        result = invoke("recommend", 0.1, *self.SETTINGS)
        assert result.exit_code == 0, result.output
        assert "1ms, s16.15: cosine" in result.stdout

    def test_none(self):
        result = invoke("recommend", 1, *self.SETTINGS)
        assert result.exit_code == 1
        assert "no setting gives a cosine of 1 on both batches" in result.stderr


class TestLocalise:
    CORE = SpiNNaker2Core(1e-3, "s16.15")

    def record(self, **changes):
        """What the model gives, in a file's form."""
        return altered(self.CORE.run(es.Problem(*chain_problem())), name="my chip", **changes)

    def run(self, tmp_path, record, *options):
        records.write(record, tmp_path / "mine.npz")
        return invoke(
            "localise",
            tmp_path / "mine.npz",
            "--target",
            "spinnaker2",
            *(options or ["--set", "format=s16.15"]),
        )

    def test_nothing(self, tmp_path):
        result = self.run(tmp_path, self.record())
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("my chip does what SpiNNaker2 core, 1 ms, s16.15")

    def test_a_gradient_of_the_wrong_sign(self, tmp_path):
        weight = {("in", "hidden"): -self.record().gradients["weight"]["in", "hidden"]}
        weight["hidden", "out"] = self.record().gradients["weight"]["hidden", "out"]
        result = self.run(tmp_path, self.record(weight=weight))
        assert result.exit_code == 1
        assert "layer program of 'hidden': gradient, first seen in in → hidden" in result.stdout
        assert "looks like: a factor -1" in result.stdout

    def test_numbers_that_are_off_by_less_than_allowed(self, tmp_path):
        weight = {key: w * (1 + 1e-7) for key, w in self.record().gradients["weight"].items()}
        assert self.run(tmp_path, self.record(weight=weight)).exit_code == 1
        assert (
            self.run(tmp_path, self.record(weight=weight), "--set", "format=s16.15", "--rtol", 1e-6).exit_code
            == 0
        )

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"traces": {}}, "traces of 'hidden' are needed"),
            ({"weight": {}}, "nothing is off forward; dL/dw of in → hidden, sample by sample, is needed"),
            ({"spike_times": {}}, "nothing is off forward; dL/dt of 'in' is needed"),
        ],
    )
    def test_records_that_are_not_enough(self, changes, says, tmp_path):
        result = self.run(tmp_path, self.record(**changes))
        assert result.exit_code == 2
        assert says in " ".join(result.stderr.replace("│", " ").split())

    def test_a_record_in_continuous_time(self, tmp_path):
        result = self.run(tmp_path, replace(self.record(), time_step=None))
        assert result.exit_code == 2
        assert "the target 'spinnaker2' needs time_step=..." in " ".join(
            result.stderr.replace("│", " ").split()
        )

    def test_other_formats(self, tmp_path):
        assert np.isfinite(self.record().loss_values).all()
        assert self.run(tmp_path, self.record(), "--set", "format=float32").exit_code == 1
