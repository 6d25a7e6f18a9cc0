"""Do the commands take any task, any record and any target, and say what is wrong with what they are given?"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.io import records
from eventsolve.problem import network_of
from validation import registry
from validation.cli import app as cli
from validation.oracle import oracle
from validation.registry import target, task
from validation.target import Record

DATA = Path(__file__).parents[2] / "data"
DIGITS = ["digits", "--samples", 3, "--set", "hidden=12"]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def said(result):
    return " ".join(result.stderr.replace("│", " ").split())


def recurrent():
    """A network with a cycle and delays, which SpiNNaker2's programs do not run."""
    net = network_of(
        {"in": 2, "hidden": (3, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(20e-3, 5e-3))},
        {
            ("in", "hidden"): {"weight": [[6.0, 3.0], [5.0, 4.5], [2.5, 6.0]]},
            ("hidden", "hidden"): {"weight": 4.0 * np.roll(np.eye(3), 1, 0), "delay": 1e-3},
            ("hidden", "out"): {"weight": [[1.2, 0.8, 0.6], [0.5, 1.0, 1.4]], "delay": 1e-3},
        },
    )
    trains = es.SpikeTrains.from_lists([[[0.0004], [0.0021]], [[0.0013], [0.0002]], [[0.003], [0.0007]]])
    loss = es.losses.TTFSCrossEntropy("out", [0, 1, 1], tau0=2e-3, tau1=1e-2, alpha=3e-3, silent="t_end")
    return es.Problem(net, {"in": trains}, 30e-3, loss)


@pytest.fixture
def file(tmp_path):
    problem = recurrent()
    path = tmp_path / "mine.json"
    record = records.Record("mine", problem.t_end, problem.inputs, network=problem.network, loss=problem.loss)
    records.write(record, path)
    return path


class TestListing:
    @pytest.mark.parametrize(("command", "group"), [("targets", registry.TARGETS), ("tasks", registry.TASKS)])
    def test_everything_is_listed_with_its_options(self, command, group):
        listed = json.loads(invoke(command, "--json").stdout)
        assert [entry["name"] for entry in listed] == list(registry.names(group))
        for entry in listed:
            assert set(entry["options"]) == set(registry.options_of(group, entry["name"]))
            assert entry["what"]
        words = invoke(command).stdout
        assert all(entry["name"] in words and entry["what"] in words for entry in listed)

    def test_what_a_target_can_do_is_listed(self):
        listed = {entry["name"]: entry for entry in json.loads(invoke("targets", "--json").stdout)}
        assert all("compare" in entry["can"] for entry in listed.values())

    def test_one_is_told_in_full(self):
        assert "time_step : float" in invoke("targets", "timestepped").stdout
        refused = invoke("tasks", "digit")
        assert refused.exit_code == 2
        assert "was 'digits' meant?" in said(refused)

    def test_what_cannot_be_loaded_says_why(self, monkeypatch):
        def fails(group, name):
            raise ImportError("it needs a chip")

        monkeypatch.setattr(registry, "kind", fails)
        result = invoke("targets")
        assert result.exit_code == 0
        assert "timestepped: cannot be loaded: it needs a chip" in result.stdout


class TestCompare:
    def test_a_task_takes_options_beside_the_targets(self, tmp_path):
        result = invoke(
            "compare",
            *DIGITS,
            "--target",
            "timestepped",
            "--set",
            "time_step=0.1ms",
            "--json",
            "--out",
            tmp_path,
        )
        assert result.exit_code == 0, result.output
        run = json.loads(result.stdout)["runs"][0]
        problem = task("digits", hidden=12).problem(3)
        expected = compare(oracle(problem), target("timestepped", time_step=1e-4).run(problem))
        assert run["settings"]["task"] == "digits, 64-12-10"
        for entry, weight in zip(run["weights"], expected.weight.values(), strict=True):
            assert entry["mean"]["relative_error"] == weight.mean.relative_error
        assert run["order"] is not None

    def test_a_record_gives_its_problem(self, file, tmp_path):
        result = invoke(
            "compare", file, "--target", "timestepped", "--set", "time_step=20us", "--out", tmp_path / "out"
        )
        assert result.exit_code == 0, result.output
        document = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
        assert document["runs"][0]["samples"] == 3
        some = invoke(
            "compare",
            file,
            "--samples",
            2,
            "--target",
            "timestepped",
            "--set",
            "time_step=20us",
            "--json",
            "--out",
            tmp_path / "out",
        )
        assert json.loads(some.stdout)["runs"][0]["samples"] == 2

    def test_a_broken_limit_fails(self, file, tmp_path):
        arguments = [
            "compare",
            file,
            "--target",
            "timestepped",
            "--set",
            "time_step=1ms",
            "--out",
            tmp_path / "o",
        ]
        assert invoke(*arguments, "--min-cosine", "-1").exit_code == 0
        result = invoke(*arguments, "--max-error", 1e-9, "--junit", tmp_path / "x.xml")
        assert result.exit_code == 1
        assert "limit broken: dL/dw of" in result.stderr
        assert "<testsuite" in (tmp_path / "x.xml").read_text("utf-8")

    def test_what_a_target_cannot_run_is_a_sentence(self, file):
        result = invoke("compare", file, "--target", "spinnaker2", "--set", "time_step=1ms")
        assert result.exit_code == 2
        assert "the network is recurrent (hidden -> hidden)" in said(result)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["digit", "--target", "timestepped"], "there is no task 'digit'"),
            (
                ["absent.json", "--target", "timestepped", "--set", "time_step=1ms"],
                "there is no file 'absent.json'",
            ),
            (["digits", "--target", "loihi3"], "there is no target 'loihi3'"),
            ([*DIGITS, "--target", "timestepped"], "the target 'timestepped' needs time_step=..."),
            ([*DIGITS, "--target", "timestepped", "--set", "step=1"], "there is no option 'step'"),
            ([*DIGITS, "--target", "timestepped", "--set", "task.step=1"], "the task has no option 'step'"),
            ([*DIGITS, "--target", "timestepped", "--set", "time_step=soon"], "time_step must be"),
            (
                [*DIGITS, "--target", "timestepped", "--set", "time_step=-0.1ms"],
                "time_step must be finite and > 0; got -0.0001",
            ),
            ([*DIGITS, "--target", "timestepped", "--set", "time_step"], "an option must be name=value"),
        ],
    )
    def test_what_is_wrong_with_what_is_given(self, arguments, sentence):
        result = invoke("compare", *arguments)
        assert result.exit_code == 2
        assert sentence in said(result)

    def test_a_record_without_a_network_is_told_so(self, tmp_path):
        path = tmp_path / "bare.json"
        records.write(records.Record("bare", 1e-2, {"in": es.SpikeTrains.from_lists([[[0.0]]])}), path)
        result = invoke("compare", path, "--target", "timestepped", "--set", "time_step=1ms")
        assert result.exit_code == 2
        assert "the network of the record bare is nowhere" in said(result)


@dataclass(frozen=True)
class Both:
    """A target and a task, which share an option."""

    hidden: int = 3
    name: str = "both"

    def run(self, problem):
        return Record.of(problem, f"seen {self.hidden}", spikes=problem.solution.spikes, time_step=1e-3)


def test_an_option_of_both_has_to_say_whose_it_is(monkeypatch, tmp_path):
    entries, both = registry._entries, SimpleNamespace(load=lambda: Both)
    monkeypatch.setattr(
        registry,
        "_entries",
        lambda group: entries(group) | ({"both": both} if group == registry.TARGETS else {}),
    )
    base = ["compare", "digits", "--samples", 1, "--target", "both", "--out", tmp_path]
    refused = invoke(*base, "--set", "hidden=4")
    assert refused.exit_code == 2
    assert "'hidden' is an option of both: write target.hidden or task.hidden" in said(refused)
    result = invoke(*base, "--set", "target.hidden=4,task.hidden=9")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert document["runs"][0]["settings"]["task"] == "digits, 64-9-10"


FIXED = ["--target", "timestepped", "--set", "number=s16.15,propagators=euler,transport=1"]


class TestTools:
    """On a recurrent network with delays, on the time-stepped reference in fixed point."""

    def test_causes_of_a_recurrent_network_add_up(self, file, tmp_path):
        out = tmp_path / "out"
        result = invoke("attribute", file, *FIXED, "--set", "time_step=1ms", "--pairs", 1, "--out", out)
        assert result.exit_code == 0, result.output
        document = json.loads((out / "attribution.json").read_text("utf-8"))
        assert document["kept"] == ["transport"]
        names = {"time_step", "propagators", "number", "rounding", "overflow"}
        for quantity in document["quantities"]:
            assert set(quantity["switches"]) == names
            parts = [quantity["none"], *(part["sequence"] for part in quantity["switches"].values())]
            scale = max(1.0, *map(abs, parts))
            assert sum(parts) == pytest.approx(quantity["chip"], abs=1e-12 * scale)
        assert "dL/dw of hidden → hidden" in result.stdout

    def test_errors_of_a_recurrent_network_fall_with_the_time_step(self, file, tmp_path):
        out = tmp_path / "out"
        steps = [part for step in ("1ms", "100us", "10us") for part in ("--dt", step)]
        result = invoke("converge", file, *FIXED, *steps, "--bits", 15, "--out", out)
        assert result.exit_code == 0, result.output
        found = json.loads((out / "convergence.json").read_text("utf-8"))["errors"]
        errors = {e["time_step"]: e["mean"] for e in found if e["bits"] is None}
        assert errors[1e-5] < errors[1e-4] < errors[1e-3]

    def test_the_cheapest_setting_for_digits_is_checked_on_other_samples(self):
        vary = ["--vary", "time_step=1ms,100us", "--vary", "number=s8.7,float32"]
        result = invoke("recommend", 0.9, *DIGITS, "--target", "timestepped", *vary)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1].startswith("100us, ")
        none = invoke("recommend", 1, *DIGITS, "--target", "timestepped", *vary)
        assert none.exit_code == 1
        assert "no setting gives a cosine of 1 on both batches" in none.stderr

    @pytest.mark.parametrize("vary", ["time_step", "=1ms", "time_step="])
    def test_what_is_varied_has_to_be_an_option_with_values(self, vary):
        result = invoke("recommend", 0.2, *DIGITS, "--target", "timestepped", "--vary", vary)
        assert result.exit_code == 2
        assert "--vary must be name=value,value" in said(result)

    def test_a_departure_is_found_in_a_record_of_digits(self, tmp_path):
        problem = task("digits", hidden=12).problem(3)
        path = tmp_path / "mine.npz"
        records.write(target("timestepped", time_step=5e-4, number="s16.15").run(problem), path)
        base = ["localise", path, "--target", "timestepped"]
        assert invoke(*base, "--set", "number=s16.15").exit_code == 0
        result = invoke(*base, "--set", "number=s16.15,propagators=euler")
        assert result.exit_code == 1
        assert "looks like: propagators 'exact' in place of 'euler'" in result.stdout

    def test_a_records_own_time_step_is_taken_and_another_refused(self):
        record = DATA / "diagnose" / "a10.json"
        assert invoke("localise", record, "--target", "timestepped", "--rtol", 1e-12).exit_code == 0
        other = invoke("localise", record, "--target", "timestepped", "--set", "time_step=1ms")
        assert other.exit_code == 2
        assert "the record has a time step of 0.0001 s, the target one of 0.001 s" in said(other)

    def test_a_users_record_is_attributed(self, tmp_path):
        options = ["--target", "timestepped", "--set", "time_step=0.1ms", "--pairs", 0]
        result = invoke("attribute", DATA / "diagnose" / "a10.json", *options, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        (cause,) = json.loads((tmp_path / "attribution.json").read_text("utf-8"))["quantities"][0]["switches"]
        assert cause == "time_step"

    @pytest.mark.parametrize("tool", ["attribute", "converge", "localise"])
    def test_what_a_target_lacks_is_said(self, tool, monkeypatch, file):
        entries, both = registry._entries, SimpleNamespace(load=lambda: Both)
        monkeypatch.setattr(registry, "_entries", lambda group: entries(group) | {"both": both})
        result = invoke(tool, file, "--target", "both")
        assert result.exit_code == 2
        assert f"{tool} needs a target with" in said(result)
        assert "it can compare" in said(result)


def coarse():
    """A cycle whose label falls silent with few bits, and two spikes of an input within a millisecond."""
    trains = es.SpikeTrains.from_lists([[[0.0004, 0.0010], [0.0021]], [[0.0013], [0.0002]]])
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=1e-2, alpha=3e-3)
    return es.Problem(recurrent().network, {"in": trains}, 17.3e-3, loss)


def readout():
    """A readout, which has no threshold."""
    net = network_of(
        {"in": 2, "hidden": (3, es.LIF(20e-3, 5e-3)), "out": (2, es.LI(20e-3, 5e-3))},
        {
            ("in", "hidden"): {"weight": [[6.0, 3.0], [5.0, 4.5], [2.5, 6.0]], "delay": 1.25e-3},
            ("hidden", "out"): {"weight": [[1.2, 0.8, 0.6], [0.5, 1.0, 1.4]]},
        },
    )
    loss = es.losses.MaxVoltageCrossEntropy("out", [0, 1])
    return es.Problem(net, {"in": es.SpikeTrains.from_dense([[4e-4, 2e-3], [1e-3, 0.0]])}, 20e-3, loss)


SOURCES = {
    "cycle": coarse,
    "readout": readout,
    "spikes alone": lambda: replace(coarse(), loss=None),
    "digits": lambda: task("digits", hidden=12).problem(8),
}


@pytest.mark.parametrize("source", SOURCES)
class TestEveryTool:
    """On a user's record; with all that a tool tries by itself on the one of which some cannot be run."""

    @pytest.fixture
    def path(self, source, tmp_path):
        path = tmp_path / "mine.npz"
        problem = SOURCES[source]()
        records.write(target("timestepped", time_step=2e-4, number="s16.15").run(problem), path)
        return path

    def test_attribute(self, source, path, tmp_path):
        options = ["--target", "timestepped", "--set", "time_step=0.2ms,number=s16.15", "--pairs", 2]
        result = invoke("attribute", path, *options, "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("The largest cause of every layer is ")
        of = "spike times" if source == "spikes alone" else "direction of dL/dw"
        assert of in result.stdout.split("Error of ")[1]

    def test_converge(self, source, path, tmp_path):
        few = ["--dt", "0.1ms", "--dt", "50us", "--bits", 16]
        options = ["--target", "timestepped", *([] if source == "cycle" else few)]
        result = invoke("converge", path, *options, "--json", "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert ("No order in the time step" in result.stderr) is (found["orders"] == [])
        if source == "cycle":
            assert len(found["errors"]) > 60
            assert len(found["errors"]) + len(found["refused"]) == 8 * 11
            assert "ms with 4 bits. The first of them: the label's output in 'out' is silent" in result.stderr

    def test_recommend(self, source, path, tmp_path):
        few = ["--vary", "time_step=0.5ms,20us", "--vary", "number=s16.15,float32"]
        options = ["--target", "timestepped", *([] if source == "cycle" else few)]
        result = invoke("recommend", 0.5, path, *options)
        if source == "spikes alone":
            assert result.exit_code == 2
            assert "the gradients of all weights are 0" in said(result)
            return
        assert result.exit_code == 0, result.output
        assert "on other samples" in result.stdout.splitlines()[-1]
        assert ("settings cannot be run; the first, 0.2 ms, s8.7" in result.stdout) is (source == "cycle")

    def test_localise(self, source, path):
        assert invoke("localise", path, "--target", "timestepped", "--set", "number=s16.15").exit_code == 0
        other = invoke(
            "localise", path, "--target", "timestepped", "--set", "number=s16.15,propagators=euler"
        )
        assert other.exit_code == 1
        assert "propagators 'exact' in place of 'euler'" in other.stdout


class TestTemplate:
    def test_the_example_is_a_record_with_everything_in_it(self, tmp_path):
        path = tmp_path / "record.json"
        assert invoke("template", "--out", path).exit_code == 0
        document = json.loads(path.read_text("utf-8"))
        known = records.schema()["properties"]
        assert set(document) - {"//"} == set(known)
        assert set(document["gradients"]) - {"//"} == set(known["gradients"]["properties"])
        assert set(document["conventions"]) == {"//", *known["conventions"]["properties"]}
        read = records.read(path)
        assert read.traces
        checked = invoke(
            "compare", path, "--target", "timestepped", "--set", "time_step=1ms", "--out", tmp_path / "o"
        )
        assert checked.exit_code == 0, checked.output

    def test_every_key_that_the_schema_explains_is_explained(self, tmp_path):
        path = tmp_path / "record.json"
        invoke("template", "--out", path)
        document = json.loads(path.read_text("utf-8"))
        for key, part in records.schema()["properties"].items():
            if "description" in part:
                assert document["//"][key].startswith(part["description"])

    def test_it_is_of_the_network_that_is_given(self, file, tmp_path):
        for suffix in ("json", "npz"):
            path = tmp_path / f"made.{suffix}"
            result = invoke("template", "--network", file, "--out", path)
            assert result.exit_code == 0, result.output
            made = records.read(path)
            assert list(made.network.projections) == list(recurrent().network.projections)
            assert set(made.gradients["weight"]) == set(made.network.projections)

    def test_no_file_is_overwritten(self, file):
        before = file.read_bytes()
        result = invoke("template", "--out", file)
        assert result.exit_code == 2
        assert "is there already" in said(result)
        assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chip", "--dt", "1e-300s"), "tau0 must be from 2**-200 to 2**200 s"),
        (("chip", "--samples", "999999999999999999999"), "should be less than or equal to 1000000"),
        *(
            (command, "should be less than or equal to 1000000")
            for command in (
                ("yinyang", "--samples", "999999999999999999999"),
                ("compare", "yinyang", "--target", "genn", "--samples", "1000001"),
                ("recommend", "0.9", "yinyang", "--target", "genn", "--samples", "1000001"),
                ("train", "digits", "--target", "genn", "--samples", "1000001"),
                ("train", "yinyang", "--train-samples", "1000001"),
                ("train", "search", "--test-samples", "1000001"),
            )
        ),
        (
            ("compare", "random", "--target", "genn", "--set", "time_step=1ms,size=65"),
            "size must be at most 64; got 65",
        ),
        (
            ("compare", "random", "--target", "genn", "--set", "time_step=1ms,layers=9"),
            "layers must be at most 8; got 9",
        ),
    ],
)
def test_a_number_that_nothing_can_be_computed_with_is_a_wrong_option(arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in said(result)
    assert "Traceback" not in result.stderr
