"""Does a name that is markup, a control sequence or no text at all stand in every report as what it is?"""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.checks import printable, shown
from eventsolve.io import records
from eventsolve.testing import network_of
from validation import check as checking
from validation import report
from validation.cli import app as cli
from validation.junit import to_junit
from validation.terminal import console

HOSTILE = [
    "[/x]",
    "[bold red]x[/]",
    "\x1b[2J\x1b]0;title\x07",
    "a\r\nb\tc\x00",
    "\x9b31m\x7f",
    "\u202egnp\u2066",
    "<script>alert(1)</script>&\"'",
    "$\\frac{$",
    "$x^$ $",
    "{{ 7*7 }}{% raw %}",
    ":warning: :smile:",
    "x" * 5000,
]
HALVES = "\ud800x\udfff"
TOGETHER = ["".join(HOSTILE[:6]), "".join(HOSTILE[6:10]), HOSTILE[-1] + "[/x]", HALVES]
"""The same in fewer names, where each costs a report with its pictures."""


def problem(name):
    net = network_of(
        {"in": 1, name: (2, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(19e-3, 6e-3))},
        {("in", name): {"weight": [[9.0], [8.0]]}, (name, "out", name): {"weight": [[8.0, 3.0], [4.0, 9.0]]}},
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3]], [[1e-3]]])}
    return net, inputs


def record_of(name):
    """A record of which nothing agrees, so that everything is named."""
    net, inputs = problem(name)
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=6.4e-3, alpha=3e-3)
    solution = es.solve(net, inputs, 50e-3)
    value, grads = es.value_and_grad(solution, loss)
    late = solution.spikes[name]
    late = es.SpikeTrains.from_arrays(late.times + 1e-3, late.neurons, late.samples, n_neurons=2, n_samples=2)
    return records.Record(
        name=name,
        t_end=50e-3,
        inputs=inputs,
        spikes={name: late, "out": solution.spikes["out"]},
        network=net,
        loss=loss,
        loss_values=2 * np.asarray(value),
        gradients={
            "weight": {key: -w for key, w in grads.weight.items()},
            "tau_mem": {key: 2 * w for key, w in grads.tau_mem.items()},
            "spike_times": {key: 3 * w for key, w in grads.spike_times.items()},
        },
        traces={name: records.Trace(np.array([0.0, 5e-3]), np.zeros((2, 2, 2)))},
        time_step=1e-4,
        notes=name,
    )


def assert_plain(text, *, lines=True):
    """Nothing in a text is obeyed by a terminal, and every character can be written."""
    text.encode("utf-8")
    for line in text.split("\n") if lines else [text]:
        assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("name", TOGETHER, ids=["markup", "scripts", "long", "halves"])
def test_every_report_shows_the_name_as_it_is(name, tmp_path, capsys):
    record = record_of(name)
    run = checking.check(record, record.network, patience=0.1, tolerance=1e-8)
    assert len(run.findings) > 4
    document = report.document_of([run], report.provenance({"record": name}, name))
    html, data = report.write(document, tmp_path)
    text = html.read_text("utf-8")
    assert_plain(text)
    assert text.count("<script") == 2  # the plots and what shows them
    assert "<script>alert" not in text
    assert json.loads(data.read_text("utf-8"))["runs"][0]["title"] == name
    assert_plain(data.read_text("utf-8"))
    xml = to_junit(run)
    assert_plain(xml)
    assert ElementTree.fromstring(xml).get("name") == printable(name)
    report.to_terminal(document.headline, console())
    console(stderr=True).print(name)
    printed = capsys.readouterr()
    assert_plain(printed.out)
    assert_plain(printed.err)
    assert printable(name.split("\n")[0])[:20] in printed.err
    for finding in run.findings.values():
        assert_plain(finding, lines=False)


@pytest.mark.parametrize("name", TOGETHER[:1], ids=["markup"])
def test_the_command_shows_the_name_as_it_is(name, tmp_path):
    records.write(record_of(name), tmp_path / "r.json")
    arguments = [
        "check",
        "--patience",
        "0.1s",
        str(tmp_path / "r.json"),
        "--out",
        str(tmp_path),
        "--junit",
        str(tmp_path / "j.xml"),
    ]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1, result.output
    assert_plain(result.output)
    assert_plain((tmp_path / "j.xml").read_text("utf-8"))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("where", ["name of a gradient", "key", "population", "model", "file"])
def test_what_is_refused_is_named_as_it_is(name, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a report may be written
    document = {"format": "eventsolve-record", "version": 1, "name": "mine", "t_end": 1.0}
    file = "r.json"
    if where == "key":
        document[name] = 1
    elif where == "population":
        document["network"] = {
            "populations": [{"name": name, "size": 1, "model": "input"}] * 2,
            "projections": [],
        }
    elif where == "model":
        document["network"] = {"populations": [{"name": "x", "size": 1, "model": name}], "projections": []}
    elif where == "name of a gradient":
        document["gradients"] = {"weight": [{"pre": name, "post": name, "values": [True]}]}
    else:
        document["version"] = 2
        file = f"{name.translate({0: None, ord('/'): '|'})[:100]}.json"
    (tmp_path / file).write_text(json.dumps(document), "utf-8")
    result = CliRunner().invoke(cli.app, ["check", str(tmp_path / file), "--patience", "0.1s"])
    assert result.exit_code == 2, result.output
    assert_plain(result.output)
    assert "is not a record" in " ".join(result.output.replace("│", " ").split())


def test_halves_of_characters_are_no_names(tmp_path):
    for key, value in (("name", HALVES), ("notes", HALVES), (HALVES, 1), ("spikes", {HALVES: {}})):
        document = {"format": "eventsolve-record", "version": 1, "name": "mine", "t_end": 1.0, key: value}
        (tmp_path / "r.json").write_text(json.dumps(document), "utf-8")
        with pytest.raises(records.RecordError, match=r"ud800x.udfff"):
            records.read(tmp_path / "r.json")


def test_what_is_printable_stays_as_it_is_and_the_rest_is_escaped():
    assert printable("hidden → out (µ, 中)") == "hidden → out (µ, 中)"
    assert printable("a\nb\x1b\ud800\u202e") == r"a\nb\x1b\ud800\u202e"
    assert printable("x" * 3000) == "x" * 1000 + " ... " + "x" * 1000
    assert len(shown(["x" * 10_000] * 10_000)) < 300
    assert shown(10**5000) == "int of very many digits"
    assert shown("\ud800") == r"'\ud800'"
    assert shown([1, "a"]) == "[1, 'a']"
