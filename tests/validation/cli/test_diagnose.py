"""Does the command put a verdict and what follows from it into one report?"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from validation.cli.app import app

DATA = Path(__file__).parents[2] / "data" / "diagnose"


@pytest.mark.parametrize(
    ("name", "code", "said", "titles"),
    [
        ("a11.json", 0, "explained by its time step", ["What makes the error", "Which step would do"]),
        ("b08.json", 1, "refractory period ignored", []),
    ],
)
def test_one_report_has_the_verdict_and_what_follows(name, code, said, titles, tmp_path):
    result = CliRunner().invoke(app, ["diagnose", str(DATA / name), "--out", str(tmp_path)])
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split())
    following = f"attribute {DATA / name} --target timestepped --set time_step=0.001"
    assert (following in " ".join(result.output.split())) is (code == 0)
    page = (tmp_path / "diagnosis.html").read_text("utf-8")
    for title in titles:
        assert title in page
    (run,) = json.loads((tmp_path / "diagnosis.json").read_text("utf-8"))["runs"]
    assert run["accepted"] is (code == 0)


def test_a_file_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    result = CliRunner().invoke(app, ["diagnose", str(tmp_path / "r.json"), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "RECORD" in result.output
