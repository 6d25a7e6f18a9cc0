"""What is installed is what is described: names, types, versions, commands, and the direction of imports."""

import ast
import configparser
import doctest
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import eventsolve
import validation
from eventsolve.jobs import finished

ROOT = Path(__file__).parents[1]
PUBLIC = (
    *(
        "AdjointStates",
        "Calibration",
        "Certificate",
        "Condition",
        "Continuation",
        "ContinuationError",
        "Explorer",
        "FluxTube",
        "Gradients",
        "Interrupted",
        "LI",
        "LIF",
        "LyapunovError",
        "LyapunovSpectrum",
        "Margin",
        "Margins",
        "Network",
        "NoOrbitError",
        "Observation",
        "OneSided",
        "Orbit",
        "OrbitCertificate",
        "OrbitContinuation",
        "PhaseResponse",
        "Problem",
        "RadiusEstimate",
        "Residual",
        "Sensitivity",
        "Solution",
        "SpikeTrains",
        "Spread",
        "State",
        "StreamGradients",
        "Tangents",
        "TrustRadius",
        "UnitWarning",
    ),
    *("RepeatedSpikeError", "SpikeBudgetError", "UndefinedGradientError"),
    *(
        "adjoint_states",
        "calibrate",
        "certify",
        "certify_orbit",
        "continuation",
        "explore",
        "flux_tube",
        "gradient_condition",
        "gradient_sides",
        "jvp",
        "losses",
        "lyapunov_spectrum",
        "margins",
        "observe",
        "sensitivity",
        "periodic_orbit",
        "phase_response",
        "solve",
        "solve_first_spikes",
        "spread",
        "trust_radius",
        "value_and_grad",
        "value_and_grad_in_pieces",
        "vjp",
    ),
)
MODULES = sorted(
    module.name
    for package in (eventsolve, validation)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
)


def setup():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def version():
    return eventsolve.__version__


def extras():
    """Return the packages that modules of their own need; an extra has the name of what it makes importable."""
    return set(setup()["options.extras_require"]) - {"test", "dev"}


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


LAZY = ("adapters", "dynamics", "io", "multiprecision", "plot", "testing")


def test_nothing_else_is_shown():
    assert {name for name in dir(eventsolve) if name[0] != "_"} == {*PUBLIC, *LAZY}


@pytest.mark.parametrize("name", [*LAZY, "losses"])
def test_packages_show_no_modules_but_those_for_users(name):
    """An import of a module from anywhere else does not change what is shown."""
    package = importlib.import_module(f"eventsolve.{name}")
    shown = {inner for inner in dir(package) if isinstance(vars(package).get(inner), types.ModuleType)}
    assert shown <= {"strategies", "jax", "torch", "datasets", "neo", "nir", "pynn", "records", "shd"}


def test_packages_are_imported_when_they_are_asked_for():
    program = (
        "import sys, eventsolve as es\n"
        f"assert not {{'matplotlib', 'scipy.optimize', *('eventsolve.' + n for n in {LAZY})}} & {{*sys.modules}}\n"
        "assert es.__version__ and es.plot.raster and es.multiprecision.solve and es.io.records.read\n"
        "assert es.testing.check_implementation and es.testing.strategies and es.io.datasets\n"
        "try:\n    es.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "module 'eventsolve' has no attribute 'nothing'\n"


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are_for_and_their_examples_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in extras():
            raise
        pytest.skip(f"{error.name} is not installed")
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_the_core_imports_no_extra():
    program = "import sys, eventsolve; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "numpy" in found.stdout.split()
    assert not extras() & set(found.stdout.split())


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


def test_the_pytest_plugin_is_announced():
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="eventsolve")
    assert plugin.value == "pytest_eventsolve"


def test_the_pytest_plugin_imports_nothing_heavy():
    script = (
        "import sys, pytest_eventsolve; assert not {'eventsolve', 'numpy', 'hypothesis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("folder", "file"), [(".", "tests/eventsolve/test_network.py"), ("examples", "test_lif.py")]
)
def test_pytest_finds_the_package_from_any_folder(folder, file):
    """As the command ``pytest`` does, without the current folder: tests lie in folders of the packages' names."""
    command = [sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", file]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        command, cwd=ROOT / folder, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_schema_of_records_is_shipped():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert "io/records/schema.json" in parser["options.package_data"]["eventsolve"]
    assert (importlib.resources.files("eventsolve.io.records") / "schema.json").is_file()


def test_what_is_computed_needs_no_pictures_reports_or_command_line():
    """Targets and verdicts included: a test suite has them with the extra ``testing`` alone."""
    script = (
        "import sys\n"
        "import eventsolve.certify, eventsolve.testing, eventsolve.io.records, validation.diagnosis\n"
        "from validation.registry import target\n"
        "from validation import __main__ as door\n"
        "target('timestepped', time_step=1e-3)\n"
        "found = {*door.NEEDED, 'PIL'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_what_is_not_installed_is_said_in_a_sentence(monkeypatch, capsys):
    door = importlib.import_module("validation.__main__")
    monkeypatch.setattr(door, "find_spec", lambda name: None if name in ("rich", "typer") else object())
    with pytest.raises(SystemExit) as ended:
        door.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "eventsolve-validate needs rich, typer: pip install 'eventsolve[validate]'\n"
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pictures need matplotlib: pip install 'eventsolve"):
        importlib.reload(importlib.import_module("eventsolve.plot._matplotlib"))
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(ImportError, match="progress bars need rich: pip install 'eventsolve"):
        finished(list, [[]], None, ("counting", 1))
    assert finished(list, [[1]], None, None) == ([1], None)


def test_the_extra_brings_what_the_command_line_asks_for():
    brought = {re.match(r"[\w-]+", line)[0] for line in setup()["options.extras_require"]["validate"].split()}
    assert brought == {*importlib.import_module("validation.__main__").NEEDED, "pillow"}


def test_assertions_and_records_need_no_extra():
    script = (
        "import sys, eventsolve.testing, eventsolve.io.records\n"
        "assert not {'hypothesis', 'pytest', 'h5py', 'jsonschema'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_oracle_knows_nothing_of_what_it_judges():
    for file, names in imported("eventsolve").items():
        assert "validation" not in tops(names), file
    assert any("eventsolve" in tops(names) for names in imported("validation").values())


@pytest.mark.parametrize("package", ["eventsolve", "validation"])
def test_kernels_import_nothing_but_numbers_and_what_the_key_of_their_cache_covers(package):
    files = {file: names for file, names in imported(package).items() if "eventsolve.compiled" in names}
    assert len(files) > 5
    for file, names in files.items():
        assert tops(names) <= {"__future__", "eventsolve", package, "math", "numba", "numpy", "typing"}, file
        own = {name for name in names if name.startswith(("eventsolve.", "validation."))}
        folder = ".".join(file.parent.parts)
        foreign = {
            name for name in own if ".kernels." not in f"{name}." and not name.startswith(f"{folder}.")
        }
        assert foreign <= {"eventsolve.compiled", "eventsolve.compiled.compiled"} | {
            f"eventsolve.compiled.{way}" for way in ("without_refcount", "embedded", "prefetch")
        }, file


def test_certificates_share_nothing_with_what_they_certify():
    for file, names in imported("eventsolve").items():
        if file.parts[1] == "certify":
            shared = {n for n in names if n.startswith(("eventsolve.kernels", "eventsolve.multiprecision"))}
            assert not shared, file


def test_chips_and_one_data_set_are_named_where_they_belong_and_nowhere_else():
    """Sources of the oracle and of the tools; the data set itself is one of ``eventsolve.io.datasets``."""
    own = ("brainscales2", "sbp", "spinnaker2", "loihi2", "tasks")
    found = [
        str(file.relative_to(ROOT))
        for package in ("eventsolve", "validation")
        for file in sorted((ROOT / package).rglob("*.*"))
        if file.suffix in (".py", ".j2", ".css", ".js", ".json")
        and file.relative_to(ROOT).parts[1] not in own
        and re.search(
            r"brainscales|bss-?2|spinnaker|loihi|yin.?yang",
            file.read_text(encoding="utf-8"),
            re.IGNORECASE,
        )
    ]
    assert found == [str(Path("eventsolve", "io", "datasets.py"))]
