"""What is installed is what is described: names, types, versions, commands, and the direction of imports."""

import ast
import configparser
import doctest
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import eventsolve
import validation

ROOT = Path(__file__).parents[1]
PUBLIC = (
    *("Certificate", "Gradients", "LI", "LIF", "Network", "Solution", "SpikeTrains", "State"),
    *("RepeatedSpikeError", "SpikeBudgetError", "UndefinedGradientError"),
    *("Condition", "Margin", "Margins", "RadiusEstimate", "TrustRadius"),
    *("certify", "estimate_radius", "gradient_condition", "margins", "trust_radius"),
    *("losses", "solve", "solve_first_spikes", "value_and_grad", "vjp"),
)
MODULES = sorted(
    module.name
    for package in (eventsolve, validation)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
)


def version():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["metadata"]["version"]


def imported(package):
    """Map the Python files of a package to the absolute names that they import."""
    names = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        found = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports relatively"
                found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        names[file.relative_to(ROOT)] = found
    return names


def tops(names):
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    assert getattr(eventsolve, name).__doc__


def test_nothing_else_is_public():
    modules = {name.split(".")[1] for name in MODULES if name.startswith("eventsolve.")}
    assert {n for n in vars(eventsolve) if not n.startswith("_")} - modules == set(PUBLIC) - modules


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are_for_and_their_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("package", ["eventsolve", "validation"])
def test_packages_are_typed(package):
    assert (importlib.resources.files(package) / "py.typed").is_file()


def test_one_version():
    assert importlib.metadata.version("eventsolve") == version()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == version()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(\d.*?)\]", changes, re.MULTILINE)[1] == version()


def test_license_is_shipped():
    assert importlib.metadata.metadata("eventsolve")["License-File"] == "LICENSE"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_the_command_is_the_module():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="eventsolve-validate")
    assert command.load() is importlib.import_module("validation.__main__").main


def test_the_oracle_knows_nothing_of_what_it_judges():
    for file, names in imported("eventsolve").items():
        assert "validation" not in tops(names), file
    assert any("eventsolve" in tops(names) for names in imported("validation").values())


def test_kernels_import_nothing_but_numbers():
    from eventsolve.compiled import KERNEL_FILES

    files = imported("eventsolve")
    for file in KERNEL_FILES[1:]:
        names = files[Path("eventsolve") / file]
        assert tops(names) <= {"__future__", "eventsolve", "math", "numba", "numpy", "typing"}, file
        own = {name.split(".")[1] + ".py" for name in names if name.startswith("eventsolve.")}
        assert own <= set(KERNEL_FILES), file


def test_certificates_share_nothing_with_what_they_certify():
    from eventsolve.compiled import KERNEL_FILES

    kernels = {"eventsolve." + file.removesuffix(".py") for file in KERNEL_FILES} | {
        "eventsolve.multiprecision"
    }
    for file, names in imported("eventsolve").items():
        if file.parts[1] == "certify":
            assert not names & kernels, file
