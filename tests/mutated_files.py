"""Mutated files of every kind that is read: none hangs, ends in a traceback, or takes twice what it may.

``python -m tests.mutated_files`` changes records, certificates, NIR graphs and checkpoints, as bytes and in what they
say, and gives each to its reader in a process of its own that is watched: a record that is read is also checked against
the exact solution and reported, and a certificate that is read is proven again. Seeded: file k of a seed is always the
same. Prints how many there were of each kind, how many were accepted and refused, the peak of memory above what the
process held before, and the slowest; exits with 1 if anything happened that must not.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import random
import select
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.io import nir as graphs
from eventsolve.io import records
from eventsolve.io.records.record import PASSES
from eventsolve.testing import network_of
from validation import check as checking
from validation import report
from validation.junit import to_junit
from validation.tasks.yin_yang import checkpoint
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.recipe import WUNDERLICH
from validation.tasks.yin_yang.trainer import initial_state
from validation.terminal import console
from validation.training import checkpoint as descents
from validation.training.descent import Epoch, Row
from validation.training.optimizers import Memory
from validation.training.parameters import Parameters

MAX_BYTES = 2**25
PATIENCE = 120.0
"""Seconds after which a file hangs."""
GUESSES = 0.2
"""Processor seconds for guesses at what is wrong in a record that was read: they are tried, and not all of them."""
SHARES = {"json": 30, "npz": 20, "h5": 7, "certificate": 18, "nir": 7, "checkpoint": 9, "descent": 9}
"""Of a hundred files, so many of each kind; HDF5 files take longest, as each is read in a process of its own."""

Reader = Callable[[Path], str]
"""Takes a file and says what became of it; raises what the command line turns into a sentence."""


# -- the files that are changed --------------------------------------------------------------------------------------


def _network() -> es.Network:
    return network_of(
        {"in": 2, "a": (3, es.LIF(20e-3, [5e-3, 4e-3, 6e-3], t_ref=1e-3)), "out": (2, es.LIF(20e-3, 5e-3))},
        {
            ("in", "a"): {"weight": [[9.0, 4.0], [5.0, 8.0], [7.0, 7.0]], "delay": 1e-3},
            ("a", "out"): {"weight": sp.csr_array([[9.0, 0.0, 5.0], [0.0, 9.0, 6.0]])},
        },
    )


def _solution() -> es.Solution:
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3], [1e-3]], [[2e-3], [2.5e-3]]])}
    return es.solve(_network(), inputs, 50e-3)


def _record() -> records.Record:
    solution = _solution()
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=10e-3, alpha=3e-3)
    value, grads = es.value_and_grad(solution, loss)
    spikes = {name: solution.spikes[name] for name in ("a", "out")}
    times = np.array([0.0, 1e-2])
    voltage = solution.voltage("a", times)
    flat = {key: w.data if sp.issparse(w) else w for key, w in grads.weight.items()}
    return records.Record(
        "whole",
        50e-3,
        {"in": solution.spikes["in"]},
        spikes,
        _network(),
        loss,
        np.asarray(value),
        {"weight": flat, "tau_syn": dict(grads.tau_syn), "spike_times": dict(grads.spike_times)},
        time_step=1e-3,
        traces={
            "a": records.Trace(
                times,
                voltage,
                solution.current("a", times),
                *(voltage - k for k in (1.0, 2.0, 3.0)),
                {("in", "a"): voltage},
            )
        },
        notes="whole",
        counters={"dropped packets": 3},
        scheme=records.Scheme(
            "euler", "voltage_first", "nearest", 1, False, "grid", "s16.15", True, False, "seen", "left"
        ),
        own_reset=False,
        trials=2,
        weights={name: {("in", "a"): _network().projections["in", "a"].weight} for name in PASSES},
    )


def _graph(path: Path) -> None:
    import nir

    ones = np.ones(2)
    nir.write(
        path,
        nir.NIRGraph(
            {
                "in": nir.Input(np.array([3])),
                "w": nir.Affine(np.arange(6.0).reshape(2, 3), np.zeros(2)),
                "n": nir.CubaLIF(
                    0.02 * ones, 0.005 * ones, ones, 0 * ones, ones, v_reset=0 * ones, w_in=ones
                ),
                "d": nir.Delay(1e-3 * ones),
                "up": nir.Linear(np.ones((4, 2))),
                "m": nir.LIF(np.ones(4), np.ones(4), np.zeros(4), np.ones(4), np.zeros(4)),
                "out": nir.Output(np.array([4])),
            },
            [("in", "w"), ("w", "n"), ("n", "d"), ("d", "up"), ("up", "m"), ("m", "out")],
        ),
    )


RECIPE = replace(
    WUNDERLICH,
    setup=replace(WUNDERLICH.setup, name="5-9-3", sizes=(5, 9, 3), moments=((1.5, 0.78), (3.0, 0.7))),
    epochs=3,
)


PARAMETERS = Parameters(_network(), ("weight", "delay", "tau_mem", "t_ref"))
IDENTITY = json.dumps({"format": descents.FORMAT, "settings": {"seed": 1, "rate": 0.1}})
DESCENT = Epoch(
    1,
    0.5,
    0.6,
    None,
    _network(),
    Memory(2, (PARAMETERS.values(_network()),) * 2),
    (Row(float("nan"), 0.7, float("nan")), Row(0.5, 0.6, float("nan"))),
)


def originals(folder: Path) -> dict[str, bytes]:
    """Return the bytes of one good file of each kind."""
    for ending in ("json", "npz", "h5"):
        records.write(_record(), folder / f"good.{ending}")
    es.certify(_solution()).save(folder / "good.certificate")
    _graph(folder / "good.nir")
    engine = ExactEngine(RECIPE)
    checkpoint.save(folder / "good.checkpoint", initial_state(RECIPE, engine, 1), RECIPE, engine, 1)
    descents.save(folder / "good.descent", DESCENT, PARAMETERS, IDENTITY)
    return {kind: (folder / f"good.{kind}").read_bytes() for kind in SHARES}


# -- changes -----------------------------------------------------------------------------------------------------------

SIZES = [0, 1, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        10**9,
        10**30,
        10**400,
        -(10**18),
        1e-300,
        5e-324,
        1e300,
        -1e300,
        0.5,
        1e6,
    ),
    *("", "in", "a", "out", "LIF", "LI", "step", "ms", "[/x]\x1b[2J", "\ud800", "\u202e", "x" * 10_000),
    *([], {}, [[]], [None], [[1.0], [2.0, 3.0]], {"array": "array_0"}, {"file": "/dev/zero"}, [0] * 5000),
]


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change, cut out, put in, move or repeat some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        size = len(data) or 1
        k, length = rng.randrange(size), rng.choice([1, 2, 4, 8, 40])
        if rng.random() < 0.3:
            k = rng.randrange(min(size, 3000))
        what = rng.randrange(8)
        if what == 0:
            data[k : k + 1] = bytes([rng.randrange(256)])
        elif what == 1 and data:
            data[k] ^= 1 << rng.randrange(8)
        elif what == 2:
            data[k : k + 8] = rng.choice(SIZES).to_bytes(8, "little")
        elif what == 3:
            data[k : k + 4] = (rng.choice(SIZES) % 2**32).to_bytes(4, "little")
        elif what == 4:
            del data[k : k + length]
        elif what == 5:
            data[k:k] = rng.randbytes(length)
        elif what == 6:
            other = rng.randrange(size)
            data[k : k + length] = data[other : other + length]
        else:
            del data[k if rng.random() < 0.2 else size :]
    return bytes(data)


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, entry in pairs:
        yield (*path, key)
        if isinstance(entry, dict | list) and len(path) < 20:
            yield from _places(entry, (*path, key))


def changed_document(text: str, rng: random.Random) -> str:
    """Change, take away, repeat or nest something of a JSON document."""
    document = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 4])):
        path = rng.choice(list(_places(document)) or [()])
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        if not path:
            continue
        key, what = path[-1], rng.randrange(8)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(rng.choice([1, 2, 1000]))]
        elif what == 2 and isinstance(holder[key], int | float):
            holder[key] = holder[key] * rng.choice([-1, 0.5, 1e3, 1e9, 1e-9, 2]) + rng.choice([0, 1e-9])
        elif what == 3 and isinstance(holder, dict):
            holder[rng.choice(["[/x]", "\x1b", "extra", "in"])] = holder.pop(key)
        elif what == 4:
            for _ in range(rng.choice([2, 70, 200])):
                holder[key] = [holder[key]]
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    text = json.dumps(document)
    if rng.random() < 0.05:  # a key that is there twice
        text = text.replace('"', '"', 1).replace("{", '{"name": "twice", "name": 1, ', 1)
    if rng.random() < 0.05:
        text = rng.choice(["\ufeff", "", " " * 100_000, "["]) + text.replace(
            "0", rng.choice(["NaN", "0", "1e999"]), 1
        )
    return text


def changed_archive(content: bytes, rng: random.Random) -> bytes:
    """Change what is in a zip of arrays, and keep it a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    k = rng.randrange(len(members))
    name, held = members[k]
    what = rng.randrange(7)
    if what == 0:
        members[k] = name, changed_bytes(held, rng)
    elif what == 1:
        del members[k]
    elif what == 2:
        members.append((rng.choice([name, f"../{name}", "\x1b[2J.npy", "x" * 5000]), held))
    elif what == 3:
        members[k] = name, held[:10] + changed_bytes(held[10:118], rng) + held[118:]
    elif what == 4:
        stream = io.BytesIO()
        np.save(
            stream, rng.choice([np.zeros(2**21), np.zeros((2**18, 1), np.int8), np.array("x"), np.float16(1)])
        )
        members[k] = name, stream.getvalue()
    elif what == 5:
        members[k] = name, bytes(rng.choice([0, 2**20, 2**26]))
    elif members[0][0].startswith("document"):
        start = len(members[0][1]) - len(members[0][1][128:])
        text = changed_document(members[0][1][start:].decode(), rng).encode("utf-8", "surrogatepass")
        stream = io.BytesIO()
        np.save(stream, np.frombuffer(text, np.uint8))
        members[0] = members[0][0], stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, held in members:
            if name not in archive.namelist() or name == members[k][0]:
                _put(archive, name, held)
    return stream.getvalue()


def _put(archive: zipfile.ZipFile, name: str, held: bytes) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the name is there twice
        archive.writestr(name, held)


def changed(kind: str, content: bytes, rng: random.Random) -> bytes:
    """Return a mutated file."""
    if kind in ("json", "certificate") and rng.random() < 0.7:
        return changed_document(content.decode(), rng).encode("utf-8", "surrogatepass")
    if kind in ("npz", "checkpoint", "descent") and rng.random() < 0.6:
        return changed_archive(content, rng)
    return changed_bytes(content, rng)


# -- readers -----------------------------------------------------------------------------------------------------------


def _checked(path: Path) -> str:
    record = records.read(path, max_bytes=MAX_BYTES)
    net = checking.network_of(record, None)
    run = checking.check(record, net, max_spikes=MAX_BYTES // 1024, patience=GUESSES)
    with contextlib.redirect_stderr(io.StringIO()):  # printed, and shown to nobody
        report.to_terminal(report.headline([run]), console(stderr=True))
    to_junit(run)
    return "accepted"


def _proven(path: Path) -> str:
    said = es.Certificate.load(path, max_bytes=MAX_BYTES).disagreement(_solution())
    if said is not None:
        raise ValueError(said)
    return "accepted"


def _resumed(path: Path) -> str:
    checkpoint.load(path, RECIPE, ExactEngine(RECIPE), 1)
    return "accepted"


def _went_on(path: Path) -> str:
    descents.load(path, PARAMETERS, IDENTITY)
    return "accepted"


def _connected(path: Path) -> str:
    graphs.read(path, max_bytes=MAX_BYTES)
    return "accepted"


READERS: dict[str, Reader] = {
    **dict.fromkeys(("json", "npz", "h5"), _checked),
    "certificate": _proven,
    "nir": _connected,
    "checkpoint": _resumed,
    "descent": _went_on,
}


def _high_water() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        held = {line.split(":")[0]: line.split()[1] for line in file if line.startswith("Vm")}
    return 1024 * int(held["VmHWM"])


def work() -> None:
    """Read paths from standard input, and answer each with a line of JSON: what became of it, seconds, bytes."""
    READERS["json"](Path(sys.argv[-1]))  # compile
    print("ready", flush=True)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        before, start = _high_water(), time.perf_counter()
        try:
            found = READERS[path.suffix[1:]](path), ""
        except (
            ValueError,
            RuntimeError,
            OSError,
            ImportError,
        ) as error:  # what the commands turn into a sentence
            found = "refused", f"{type(error).__name__}: {error}"
        except BaseException as error:
            found = "traceback", f"{type(error).__name__}: {error}"
        answer = [*found, time.perf_counter() - start, _high_water() - before]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


# -- the campaign ------------------------------------------------------------------------------------------------------


class Reading:
    """A process that reads files, begun anew when one of them ends it."""

    def __init__(self, example: Path) -> None:
        self.example = example
        self.process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> list[Any]:
        """Return what became of a file."""
        if self.process is None:
            command = [
                sys.executable,
                "-W",
                "ignore::UserWarning",
                "-W",
                "error::RuntimeWarning",
                "-m",
                "tests.mutated_files",
                "--work",
            ]
            self.process = subprocess.Popen(
                [*command, str(self.example)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self.process.stdout is not None
            self.process.stdout.readline()  # ready: what comes before it is no file's time
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            ready = bool(select.select([self.process.stdout], [], [], PATIENCE)[0])
            line = self.process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if line:
            return list(json.loads(line))
        what = "crash" if ready else "hang"
        self.close()
        return [what, "", PATIENCE, 0]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def campaign(n_files: int, seed: int, *, keep: Path | None = None) -> dict[str, Any]:
    """Mutate and read so many files; ``keep`` is where those stay that something went wrong with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = originals(folder)
        reading = Reading(folder / "good.json")
        kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
        found: dict[str, dict[str, int]] = {
            kind: {"files": 0, "accepted": 0, "refused": 0} for kind in SHARES
        }
        largest, slowest, wrong = (0, ""), (0.0, ""), []
        for k in range(n_files):
            rng = random.Random(f"{seed}/{k}")
            kind = kinds[k % len(kinds)] if n_files < len(kinds) else rng.choice(kinds)
            path = folder / f"file{k}.{kind}"
            path.write_bytes(changed(kind, good[kind], rng))
            what, said, seconds, n_bytes = reading.read(path)
            found[kind]["files"] += 1
            found[kind][what] = found[kind].get(what, 0) + 1
            largest, slowest = max(largest, (n_bytes, path.name)), max(slowest, (seconds, path.name))
            if what not in ("accepted", "refused") or n_bytes >= 2 * MAX_BYTES:
                wrong.append(f"{path.name}: {what}, {n_bytes} bytes, {seconds:.1f} s: {said[:300]}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / path.name).write_bytes(path.read_bytes())
            path.unlink()
        reading.close()
    return {
        "kinds": found,
        "largest": largest,
        "slowest": slowest,
        "wrong": wrong,
    }


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="Folder for the files that something went wrong with.")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work()
        return
    start = time.perf_counter()
    result = campaign(given.files, given.seed, keep=given.keep)
    print(
        f"{given.files} files, seed {given.seed}, max_bytes {MAX_BYTES}, {time.perf_counter() - start:.0f} s"
    )
    for kind, counts in result["kinds"].items():
        print(f"  {kind:12}" + ", ".join(f"{n} {what}" for what, n in counts.items()))
    print(f"  most memory: {result['largest'][0] / 2**20:.1f} MiB above before, {result['largest'][1]}")
    print(f"  slowest: {result['slowest'][0]:.1f} s, {result['slowest'][1]}")
    for line in result["wrong"]:
        print(f"  wrong: {line}")
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
