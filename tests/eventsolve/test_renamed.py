"""Old names: whoever asks for one is told the new one, which exists."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import eventsolve
from eventsolve.frozen import Frozen
from eventsolve.renamed import RENAMED
from eventsolve.testing import Mismatch

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
        with pytest.raises(AttributeError, match=re.escape(RENAMED[old])):
            getattr(importlib.import_module(owner), name)
        return
    kind = classes()[owner]
    assert new in getattr(kind, "__dataclass_fields__", kind.__annotations__) or hasattr(kind, new)
    with pytest.raises(AttributeError, match=re.escape(RENAMED[old])):
        getattr(kind.__new__(kind), name)
