"""Old names: whoever asks for one is told the new one, which exists."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import eventsolve
from eventsolve.frozen import Frozen
from eventsolve.renamed import RENAMED
from eventsolve.testing import Mismatch
from validation import exits
from validation.cli.app import app

NOTES = (Path(__file__).parents[2] / "docs" / "upgrade.md").read_text(encoding="utf-8")


def classes() -> dict[str, type]:
    for module in pkgutil.walk_packages(eventsolve.__path__, "eventsolve."):
        if not module.ispkg and module.name.rpartition(".")[2] in ("adjoint", "adjoint_states"):
            importlib.import_module(module.name)
    importlib.import_module("validation.attribution")
    found, new = {}, [Frozen, Mismatch]
    while new:
        kind = new.pop()
        found[kind.__name__] = kind
        new += kind.__subclasses__()
    return found


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_raises_with_the_new_one(old):
    owner, _, name = old.rpartition(".")
    home, _, new = RENAMED[old].partition("(")[0].rpartition(".")
    assert re.search(rf"`[^|`]*\b{name}\b[^|`]*`", NOTES), "the upgrade notes name it"
    if owner.startswith(("eventsolve", "validation")):
        assert hasattr(importlib.import_module(home), new)
        module = importlib.import_module(owner)
        with pytest.raises(AttributeError, match=re.escape(RENAMED[old])):
            getattr(module, name)
        with pytest.raises(ImportError, match=re.escape(RENAMED[old])):
            exec(f"from {owner} import {name}")
        assert not hasattr(module, name)
        assert getattr(module, name, None) is None
        assert name not in dir(module)
        return
    kind = classes()[owner]
    assert new in getattr(kind, "__dataclass_fields__", kind.__annotations__) or hasattr(kind, new)
    with pytest.raises(AttributeError, match=re.escape(RENAMED[old])):
        getattr(kind.__new__(kind), name)


def test_a_name_that_never_was_is_imported_as_from_any_module():
    with pytest.raises(ImportError, match=r"^cannot import name 'nonsense' from 'eventsolve' \("):
        exec("from eventsolve import nonsense")


@pytest.mark.parametrize("old", exits.MOVED)
def test_an_old_command_says_what_became_of_it(old):
    assert f"eventsolve-validate {old}`" in NOTES
    (new,) = re.findall("`(.*)`", exits.MOVED[old])
    assert f"`{new.removeprefix('train search ')}`" in NOTES
    for words in (
        old.split(),
        [*old.split(), "--help"],
        old.replace("--jobs", "--trials 3 --jobs=2").split(),
    ):
        result = CliRunner().invoke(app, words, env={"COLUMNS": "200", "TERM": "dumb"})
        assert result.exit_code == exits.WRONG
        assert f"`{old}` is {exits.MOVED[old]} now" in result.output
