"""Some of the hostile values for options, up to where a command begins its work; all of them: make hostile-options."""

import pytest
from commands import COMMANDS
from typer.testing import CliRunner

from tests import hostile_options
from validation.cli.app import app


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_value_is_accepted_or_refused(command, tmp_path, monkeypatch):
    """The work itself would fail with a full disk, which is a sentence and 2, too."""
    monkeypatch.chdir(tmp_path)
    hostile_options.folder_of(tmp_path)

    def full(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(COMMANDS[command][0], full)
    chosen = [case for case in hostile_options.cases() if case.command == command]
    # one for every third option, each time another value
    for case in chosen[:: 3 * len(hostile_options.HOSTILE) + 1]:
        result = CliRunner().invoke(app, list(case.arguments))
        assert result.exit_code in hostile_options.ENDS, (case, result.output)
        assert "Traceback" not in result.output, case
