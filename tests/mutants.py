"""Mutants: small errors planted one by one, each of which a test has to notice: ``python -m tests.mutants``.

cosmic-ray plants them, in a copy of the sources: another operator of arithmetic or comparison, a number that is one
off, a condition turned round, a loop that is never entered, and of its own kind here a term that is not added, the
other of min and max, a step to the next number that is not taken, and a midpoint instead of the end of a ball. Each is
held against the tests of its module; those of kernels run as plain Python (``NUMBA_DISABLE_JIT=1``). What survives has
to be listed in tests/data/equivalent_mutants.json with the reason why no test can tell it from the original; all else
is an error.

Each is planted in functions that have been read, and held first against the tests that run it
(tests/shared/swapping.py). Where that decides nothing, all tests of the module run in a process of its own, a fork of
one that has read libraries of others and nothing of this repository: so whatever is planted is read, wherever it is.

Results are kept in build/mutants, one SQLite session of cosmic-ray for each module, and a run goes on where it was
interrupted as long as the module and its tests are what they were. ``--sample`` draws some, of a few modules, and keeps
nothing; neither does ``--chosen``, which plants those of tests/data/chosen_mutants.json instead: somebody who read a
module as an adversary chose them. Nor does ``--again``, which plants those that survived an earlier run, by what that
printed: so one sees, while tests are written, which are noticed now.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cosmic_ray.plugins
import flint  # noqa: F401, with those below: what tests need of others is read once, before processes are forked
import hypothesis  # noqa: F401
import matplotlib  # noqa: F401
import mpmath  # noqa: F401
import networkx  # noqa: F401
import numba
import pytest
import scipy.optimize
import scipy.sparse  # noqa: F401
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code, use_mutation
from cosmic_ray.operators.operator import Operator
from cosmic_ray.util import restore_contents
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from parso.python.tree import Keyword, Name

from tests.shared.swapping import FORK, Mutant, Planting, ended

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "build" / "mutants"
EQUIVALENT = ROOT / "tests" / "data" / "equivalent_mutants.json"
CHOSEN = ROOT / "tests" / "data" / "chosen_mutants.json"
COPIED = ("eventsolve", "validation", "tests", "pytest_eventsolve.py", "setup.cfg", "pyproject.toml")
PATIENCE, MOMENT = 5.0, 10.0
"""How many times as long as without it, and how many seconds more, a mutant may take: then it counts as noticed."""
SURVIVED = f"{TestOutcome.SURVIVED.value}: "
FEW = 4
"""Modules from which a sample is drawn."""

CERTIFY = "tests/eventsolve/certify"
TESTS: dict[str, tuple[str, ...]] = {
    "eventsolve/certify/arithmetic.py": (
        f"{CERTIFY}/test_arithmetic.py",
        f"{CERTIFY}/test_event_times.py",
        "tests/eventsolve/test_certify_flow.py",
    ),
    "eventsolve/certify/membrane.py": (
        f"{CERTIFY}/test_membrane.py",
        "tests/eventsolve/test_certify_flow.py",
    ),
    "eventsolve/certify/crossing.py": (f"{CERTIFY}/test_crossing.py",),
    "eventsolve/certify/neuron.py": (f"{CERTIFY}/test_neuron.py", "tests/eventsolve/test_certify.py"),
    "eventsolve/certify/network.py": (
        f"{CERTIFY}/test_network_by_hand.py",
        f"{CERTIFY}/test_network.py",
        f"{CERTIFY}/test_neuron.py",
        "tests/eventsolve/test_certify.py",
        "tests/eventsolve/test_certify_boxes.py",
    ),
    "eventsolve/certify/gradient.py": (
        f"{CERTIFY}/test_readings.py",
        f"{CERTIFY}/test_gradient.py",
        "tests/eventsolve/test_certify_gradients.py",
    ),
    "eventsolve/certify/coincidences.py": (f"{CERTIFY}/test_coincidences.py",),
    "eventsolve/certify/losses.py": (
        f"{CERTIFY}/test_readings.py",
        f"{CERTIFY}/test_gradient.py",
        "tests/eventsolve/test_certify_gradients.py",
    ),
    "eventsolve/certify/claims.py": (
        f"{CERTIFY}/test_claims_by_hand.py",
        f"{CERTIFY}/test_claims.py",
    ),
    "eventsolve/certify/boxes.py": (
        f"{CERTIFY}/test_boxes.py",
        "tests/eventsolve/test_certify_boxes.py",
    ),
    "eventsolve/kernels/crossing.py": ("tests/eventsolve/kernels/test_crossing_steps.py",),
    "eventsolve/kernels/queues.py": (
        "tests/eventsolve/kernels/test_queues.py",
        "tests/eventsolve/test_queue_order.py",
    ),
    "eventsolve/kernels/recurrent.py": (
        "tests/eventsolve/kernels/test_event_loop.py",
        "tests/eventsolve/kernels/test_event_loop_by_hand.py",
        "tests/eventsolve/test_queue_order.py",
    ),
    "eventsolve/kernels/membrane.py": (
        "tests/eventsolve/kernels/test_membrane_digits.py",
        "tests/eventsolve/kernels/test_membrane.py",
        "tests/eventsolve/test_integrator.py",
    ),
    "eventsolve/kernels/layered_adjoint.py": (
        "tests/eventsolve/kernels/test_adjoints.py",
        "tests/eventsolve/test_adjoint_events.py",
        "tests/eventsolve/test_readings_at_events.py",
    ),
    "eventsolve/kernels/recurrent_adjoint.py": (
        "tests/eventsolve/kernels/test_recurrent_adjoint.py",
        "tests/eventsolve/kernels/test_adjoints.py",
        "tests/eventsolve/test_queue_order.py",
        "tests/eventsolve/test_adjoint_events.py",
        "tests/eventsolve/test_readings_at_events.py",
    ),
    "eventsolve/losses/spike_times.py": (
        "tests/eventsolve/test_loss_edges.py",
        "tests/eventsolve/test_losses.py",
        "tests/eventsolve/test_loss_terms.py",
        "tests/eventsolve/test_magnitudes.py",
    ),
    "eventsolve/losses/voltages.py": (
        "tests/eventsolve/test_loss_edges.py",
        "tests/eventsolve/test_loss_terms.py",
        "tests/eventsolve/test_voltage_losses.py",
    ),
    "eventsolve/first_spikes.py": (
        "tests/eventsolve/test_first_spikes_chunks.py",
        "tests/eventsolve/test_first_spikes.py",
    ),
    "eventsolve/stability/margins.py": (
        "tests/eventsolve/stability/test_margins_by_hand.py",
        "tests/eventsolve/stability/test_margins.py",
    ),
    "eventsolve/stability/trust.py": ("tests/eventsolve/stability/test_trust.py",),
    "eventsolve/stability/condition.py": (
        "tests/eventsolve/stability/test_condition_by_event.py",
        "tests/eventsolve/stability/test_condition_of_levels.py",
        "tests/eventsolve/stability/test_condition.py",
    ),
    "eventsolve/stability/estimates.py": (
        "tests/eventsolve/stability/test_estimates.py",
        "tests/eventsolve/stability/test_trust.py",
    ),
    "eventsolve/compare/comparison.py": (
        "tests/eventsolve/compare/test_edges.py",
        "tests/eventsolve/compare/test_compare_numbers.py",
        "tests/eventsolve/compare/test_compare.py",
        "tests/eventsolve/compare/test_one_rule.py",
    ),
    "eventsolve/io/records/record.py": (
        "tests/eventsolve/io/test_record_edges.py",
        "tests/eventsolve/io/test_records.py",
    ),
    "eventsolve/io/records/fields.py": (
        "tests/eventsolve/io/test_record_edges.py",
        "tests/eventsolve/io/test_records.py",
    ),
    "eventsolve/io/records/losses.py": (
        "tests/eventsolve/test_problem_samples.py",
        "tests/eventsolve/io/test_record_edges.py",
        "tests/eventsolve/io/test_records.py",
    ),
    "eventsolve/io/records/networks.py": (
        "tests/eventsolve/io/test_record_edges.py",
        "tests/eventsolve/io/test_records.py",
    ),
}
"""Modules and the tests that have to notice, the fastest first."""
QUICK = [
    *(f"eventsolve/certify/{name}.py" for name in ("arithmetic", "membrane", "crossing")),
    *(
        "eventsolve/losses/spike_times.py",
        "eventsolve/compare/comparison.py",
        "eventsolve/io/records/fields.py",
    ),
]
"""Those whose tests take seconds, from which a sample is drawn."""

TAKEN = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not", "AddNot", "NumberReplacer"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
)
"""Operators of cosmic-ray: those whose mutants are errors that one might make."""


class LeaveOut(Operator):
    """Leaves an augmented assignment out, such as a term that is added."""

    def mutation_positions(self, node):
        """Return where a statement may be left out."""
        if (
            node.type == "expr_stmt"
            and node.children[1].type == "operator"
            and len(node.children[1].value) > 1
        ):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Return the statement that does nothing."""
        return Keyword("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls):
        """Return nothing: cosmic-ray asks for it."""
        return ()


OTHER = {"min": "max", "max": "min", "upper": "mid", "lower": "mid", "floor": "ceil", "ceil": "floor"}


class OtherName(Operator):
    """Calls something else by the names of OTHER."""

    def mutation_positions(self, node):
        """Return where one of the names is called."""
        if node.type == "name" and node.value in OTHER:
            following = node.get_next_leaf()
            if following is not None and following.value == "(":
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Return the other name."""
        return Name(OTHER[node.value], node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls):
        """Return nothing: cosmic-ray asks for it."""
        return ()


class NoStep(Operator):
    """Leaves a step to the next float64 number out."""

    def mutation_positions(self, node):
        """Return where a step is taken."""
        if node.type == "atom_expr":
            called, arguments = node.children[-2].get_code(), node.children[-1].get_code()
            if called.endswith("nextafter") and arguments.startswith("("):
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        """Return the number that the step is taken from."""
        arguments = node.children[-1].children[1]
        first = arguments.children[0] if arguments.type == "arglist" else arguments
        return Name(f"({first.get_code().strip()})", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls):
        """Return nothing: cosmic-ray asks for it."""
        return ()


class Operators:
    """The operators, under the name by which cosmic-ray looks for them."""

    def __init__(self) -> None:
        cosmic = cosmic_ray.plugins.OPERATOR_PROVIDERS["core"]
        self.by_name = {name: cosmic[name] for name in TAKEN}
        self.by_name |= {operator.__name__: operator for operator in (LeaveOut, OtherName, NoStep)}

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __getitem__(self, name: str) -> type[Operator]:
        return self.by_name[name]


class Change(NamedTuple):
    """What a mutant changes, by which it is known however the file around it moves."""

    module: str
    before: str
    after: str


@functools.cache
def mutated(source: str, operator: str, occurrence: int) -> str:
    """Return a source with one mutant in it."""
    return mutate_code(source.encode(), cosmic_ray.plugins.get_operator(operator)(), occurrence)


def change_of(source: str, mutation: MutationSpec) -> Change:
    """Return what a mutant changes."""
    after = mutated(source, mutation.operator_name, mutation.occurrence)
    lines, k = (source.splitlines(), after.splitlines()), mutation.start_pos[0] - 1
    return Change(
        str(mutation.module_path), lines[0][k].strip(), lines[1][k].strip() if k < len(lines[1]) else ""
    )


def mutants_of(module: str, source: str) -> dict[str, WorkItem]:
    """Return the mutants of a module, but for those of signatures and imports, which compute nothing."""
    lines, found = source.splitlines(), {}
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder) / "all.sqlite", WorkDB.Mode.create) as db,
    ):
        init([Path(module)], db, {})
        for item in db.work_items:
            mutation = item.mutations[0]
            line = lines[mutation.start_pos[0] - 1].strip()
            if not line.startswith(("def ", "@", "from ", "import ", "class ")) and line not in ("*,", "/,"):
                name = uuid.uuid5(uuid.NAMESPACE_OID, f"{mutation.operator_name} {mutation.occurrence}").hex
                found[name] = WorkItem(name, item.mutations)
    return found


def listed() -> dict[Change, str]:
    """Return the mutants that are as right as the original, with the reason."""
    entries = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {
        Change(entry["module"], entry["before"], after): entry["reason"]
        for entry in entries
        for after in entry["after"]
    }


def copied(folder: Path) -> None:
    """Copy sources and tests into a folder in which mutants are planted."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


def run_here(module: str, output: int, plugins: tuple[object, ...] = ()) -> None:
    """Run the tests of a module in this process, which was forked for it, and end it with the status of pytest."""
    os.setsid()  # so that what they start ends with them
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.dont_write_bytecode = True  # two mutants in one second would be one to Python
    # every mutant of a kernel would be compiled; for other modules kernels are on disk after the first run
    os.environ["NUMBA_DISABLE_JIT"] = str(int("/kernels/" in module))
    numba.config.reload_config()
    ignored = (f"ignore::{kind}" for kind in ("RuntimeWarning", "pytest.PytestAssertRewriteWarning"))
    options = ("-q", "-x", "--tb=short", "-p", "no:cacheprovider", *(f"-W{warning}" for warning in ignored))
    status = pytest.main([*options, *TESTS[module]], plugins=plugins)
    sys.stdout.flush()
    os._exit(status)


class Tests:
    """The tests of a module in the current folder, which pass as the module stands, and not without it."""

    def __init__(self, module: str) -> None:
        self.module, self.limit = module, None
        begin = time.monotonic()
        noticed, output = self._run()
        self.limit = PATIENCE * (time.monotonic() - begin) + MOMENT
        assert not noticed, f"the tests of {module} do not pass as it stands:\n{output}"
        with restore_contents(Path(module)):
            Path(module).write_text("raise ImportError\n", encoding="utf-8")
            assert self._run()[0], f"the tests of {module} do not read it"

    def _run(self) -> tuple[bool, str]:
        """Return whether tests fail, or end late, and what they print."""
        with tempfile.TemporaryFile() as output:
            process = FORK.Process(target=run_here, args=(self.module, output.fileno()))
            process.start()
            try:
                process.join(self.limit)
            finally:
                if process.exitcode is None:
                    ended(process)
            output.seek(0)
            return process.exitcode != 0, output.read().decode(errors="replace")

    def run(self, item: WorkItem, change: Change) -> WorkResult:
        """Plant a mutant, and say what became of it."""
        mutation = item.mutations[0]
        operator = cosmic_ray.plugins.get_operator(mutation.operator_name)()
        with use_mutation(mutation.module_path, operator, mutation.occurrence) as (_, after):
            assert after is not None, f"{mutation} changes nothing"
            return self._judged(change)

    def plant(self, change: Change) -> WorkResult:
        """Plant a change that is chosen, and say what became of it."""
        path = Path(change.module)
        source = path.read_text(encoding="utf-8")
        assert source.count(change.before) == 1, f"{change.module} has not once: {change.before}"
        with restore_contents(path):
            path.write_text(source.replace(change.before, change.after), encoding="utf-8")
            return self._judged(change)

    def _judged(self, change: Change) -> WorkResult:
        noticed, output = self._run()
        return judged(change, noticed, output)


def told(change: Change) -> str:
    """Return a mutant in one line."""
    return f"{change.module}: {change.before}  ->  {change.after}"


def judged(change: Change, noticed: bool, output: str = "") -> WorkResult:
    """Return what became of a mutant, and print it."""
    outcome = TestOutcome.KILLED if noticed else TestOutcome.SURVIVED
    print(f"{outcome.value}: {told(change)}", flush=True)
    return WorkResult(WorkerOutcome.NORMAL, output, outcome)


def judged_at_once(module: str, mutants: list[WorkItem]) -> Iterator[tuple[str, bool]]:
    """Return whether mutants are noticed as they are planted in functions that have been read, where that decides."""
    source, planted = (ROOT / module).read_text(encoding="utf-8"), {}
    for item in mutants:
        mutation = item.mutations[0]
        rows = range(mutation.start_pos[0], mutation.end_pos[0] + 1)
        planted[item.job_id] = Mutant(rows, mutated(source, mutation.operator_name, mutation.occurrence))
    here, there = FORK.Pipe(duplex=False)
    with tempfile.TemporaryFile() as output:
        planting = Planting(module, planted, (PATIENCE, MOMENT), there)
        process = FORK.Process(target=run_here, args=(module, output.fileno(), (planting,)))
        process.start()
        there.close()
        try:
            while (found := here.recv()) is not None:
                yield found
        except EOFError:
            output.seek(0)
            raise AssertionError(
                f"mutants of {module} cannot be planted:\n{output.read().decode()}"
            ) from None
        finally:
            process.terminate()  # it ends what it has begun
            process.join()


def held(module: str, source: str, mutants: dict[str, WorkItem]) -> Iterator[tuple[str, Change, WorkResult]]:
    """Hold mutants of a module against its tests, and return each by its name with what became of it."""
    known, changes, left = listed(), {}, dict(mutants)
    for name, item in mutants.items():
        changes[name] = change_of(source, item.mutations[0])
        if changes[name] in known:
            del left[name]
            yield name, changes[name], WorkResult(WorkerOutcome.SKIPPED)
    for name, noticed in judged_at_once(module, list(left.values())):
        del left[name]
        yield name, changes[name], judged(changes[name], noticed)
    tests = Tests(module) if left else None
    for name, item in left.items():
        yield name, changes[name], tests.run(item, changes[name])


def digest_of(module: str) -> str:
    """Return what results rest on: the module and its tests."""
    digest = hashlib.sha256()
    for name in (module, *TESTS[module]):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def survivors(results: list[tuple[Change, WorkResult]]) -> list[Change]:
    """Return the mutants that no test noticed."""
    return [change for change, result in results if result.test_outcome == TestOutcome.SURVIVED]


def run(modules: list[str], limit: int | None) -> dict[str, list[tuple[Change, WorkResult]]]:
    """Run the mutants of modules that have not run, up to a limit for each; return all results."""
    found = {}
    KEPT.mkdir(parents=True, exist_ok=True)
    for module in modules:
        source = (ROOT / module).read_text(encoding="utf-8")
        mutants = mutants_of(module, source)
        with use_db(
            KEPT / f"{module.replace('/', '.')}-{digest_of(module)}.sqlite", WorkDB.Mode.create
        ) as db:
            if not db.num_work_items:
                db.add_work_items(mutants.values())
            pending = sorted(item.job_id for item in db.pending_work_items)[:limit]
            if pending:
                for name, _, result in held(module, source, {name: mutants[name] for name in pending}):
                    db.set_result(name, result)
            found[module] = [
                (change_of(source, mutants[name].mutations[0]), result) for name, result in db.results
            ]
    return found


def again(modules: list[str], printed: str) -> dict[str, list[tuple[Change, WorkResult]]]:
    """Run the mutants of modules that survived by what an earlier run printed."""
    survived = {line.removeprefix(SURVIVED) for line in printed.splitlines() if line.startswith(SURVIVED)}
    found = {}
    for module in modules:
        source = (ROOT / module).read_text(encoding="utf-8")
        mutants = {
            name: item
            for name, item in mutants_of(module, source).items()
            if told(change_of(source, item.mutations[0])) in survived
        }
        if mutants:
            found[module] = [(change, result) for _, change, result in held(module, source, mutants)]
    return found


def rank(item: WorkItem, lines: list[str], seed: int) -> str:
    """Return what says when a mutant is drawn: by its line, and where in that it is."""
    mutation = item.mutations[0]
    row, column = mutation.start_pos
    text = f"{seed} {mutation.operator_name} {lines[row - 1].strip()} {column}"
    return hashlib.sha256(text.encode()).hexdigest()


def sampled(n: int, seed: int) -> dict[str, list[tuple[Change, WorkResult]]]:
    """Run mutants that are drawn from some of the modules with quick tests, none of those that are listed.

    What is drawn hangs on the lines that are mutated: a change elsewhere in a module leaves the others drawn.
    """
    known = listed()
    found: dict[str, list[tuple[Change, WorkResult]]] = {}
    for module in random.Random(seed).sample(QUICK, k=FEW):
        source = (ROOT / module).read_text(encoding="utf-8")
        lines = source.splitlines()
        mutants = {rank(item, lines, seed): item for item in mutants_of(module, source).values()}
        new = (
            mutants[key]
            for key in sorted(mutants)
            if change_of(source, mutants[key].mutations[0]) not in known
        )
        drawn = {item.job_id: item for item in itertools.islice(new, n // FEW)}
        found[module] = [(change, result) for _, change, result in held(module, source, drawn)]
    return found


def chosen(modules: list[str]) -> dict[str, list[tuple[Change, WorkResult]]]:
    """Run the mutants of modules that somebody chose, none of those that are listed."""
    known, found = listed(), {}
    entries = [Change(**entry) for entry in json.loads(CHOSEN.read_text(encoding="utf-8"))]
    for module in modules:
        changes = [change for change in entries if change.module == module]
        if changes:
            tests, skipped = Tests(module), WorkResult(WorkerOutcome.SKIPPED)
            found[module] = [
                (change, skipped if change in known else tests.plant(change)) for change in changes
            ]
    return found


def main() -> int:
    """Run mutants and say which survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="whose mutants are run; all by default")
    parser.add_argument("--limit", type=int, help="mutants of each module in this run")
    parser.add_argument("--sample", type=int, help="mutants drawn from a few modules instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chosen", action="store_true", help="those that were chosen by hand instead")
    parser.add_argument("--again", type=Path, help="what an earlier run printed: those that survived it")
    parser.add_argument("--count", action="store_true", help="say how many mutants there are, and run none")
    arguments = parser.parse_args()
    cosmic_ray.plugins.OPERATOR_PROVIDERS = {"eventsolve": Operators()}
    modules = arguments.modules or list(TESTS)
    if arguments.count:
        counts = {
            module: len(mutants_of(module, (ROOT / module).read_text(encoding="utf-8"))) for module in modules
        }
        print(json.dumps(counts | {"all": sum(counts.values())}, indent=1))
        return 0
    printed = arguments.again.read_text(encoding="utf-8") if arguments.again else None
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        os.chdir(folder)
        os.environ |= {
            "HYPOTHESIS_PROFILE": "mutants",
            "PYTHONPATH": folder,
            "PYTHONDONTWRITEBYTECODE": "1",  # of processes that tests start, either
        }
        sys.path[:] = [folder, *(path for path in sys.path if Path(path).absolute() != ROOT)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]  # of the folder that this program lies in
        if arguments.chosen:
            results = chosen(modules)
        elif printed is not None:
            results = again(modules, printed)
        elif arguments.sample:
            results = sampled(arguments.sample, arguments.seed)
        else:
            results = run(modules, arguments.limit)
        os.chdir(ROOT)
    left = []
    for module, pairs in results.items():
        outcomes = Counter(r.test_outcome.value if r.test_outcome else "equivalent" for _, r in pairs)
        print(f"{module}: {dict(outcomes)}")
        left += survivors(pairs)
    for change in left:
        print(f"survived: {change.module}\n  - {change.before}\n  + {change.after}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
