"""Compare eventsolve with its peers on Yin-Yang, 5-200-3, all measured by one command: python benchmarks/peers.py.

Each peer is installed from the package index into a virtual environment of its own under ``benchmarks/.environments``,
once, and executed there (``validation/runners/run_*.py``); everyone gets the same spikes and weights and the same core.
What cannot be installed or fails is a row that says why. Writes ``docs/benchmarks.md`` and ``docs/benchmarks.png``.

``--only PEER`` measures eventsolve and that peer again, and keeps what was found for the others.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import venv
import zipfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import eventsolve as es
from eventsolve.compare.matching import match_spikes
from eventsolve.files import whole, write_text
from eventsolve.io.datasets import encode_latency, yin_yang
from eventsolve.spiketrains import sorted_trains
from validation.peers import RUNNERS, execute

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = HERE / ".environments"
REFERENCE = ROOT / "tests" / "data" / "yinyang_reference.npz"
T_END, TAU_SYN = 60e-3, 5e-3
LOSS = {"tau0": 0.5e-3, "tau1": 6.4e-3, "alpha": 3e-3}
WINDOW = 1e-3
TIMEOUT = 150
OURS = "eventsolve"


@dataclass(frozen=True)
class Peer:
    """A program to compare with, under settings that its runner knows.

    ``works`` are the (tau_mem in ms, batch size) that it is asked to do; others would take minutes.
    """

    title: str
    name: str
    requirements: tuple[str, ...]
    works: tuple[tuple[int, int], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    remark: str = ""

    @property
    def t_ref(self) -> float:
        """The refractory period that it cannot do without, in seconds."""
        return self.settings["dt"] if self.name == "nest" else 0.0


ALL = ((20, 1), (20, 32), (20, 1024), (10, 1), (10, 32), (10, 1024))
SMALL = tuple(work for work in ALL if work[1] <= 32)
NEST, BRIAN2, NORSE = ("nest-simulator==3.10.0",), ("brian2==2.9.0", "numpy<2.4"), ("norse==1.1.0",)
EVENTAX = ("eventax==0.1.0", "jax>=0.9.1")
PEERS = (
    Peer(OURS, OURS, (), ALL),
    Peer(
        "eventsolve, to first spikes",
        OURS,
        (),
        ALL,
        {"first": True},
        "for a gradient it stops once every output has spiked, which changes no bit of it",
    ),
    Peer(
        "jaxsnn, float64",
        "jaxsnn",
        ("jaxsnn==0.3.0",),
        ((20, 1), (20, 32), (10, 1), (10, 32), (10, 1024)),
        remark="exact for tau_mem / tau_syn of 1 and 2; takes any other for the nearest of them and raises nothing",
    ),
    Peer(
        "eventax, defaults",
        "eventax",
        EVENTAX,
        ((20, 1), (20, 32), (10, 1)),
        {"accurate": False},
        "ODE steps of 0.01 ms (Euler), float32; for a gradient it stops once every output has spiked",
    ),
    Peer(
        "eventax, Dopri8",
        "eventax",
        EVENTAX,
        ((20, 1), (20, 32), (10, 1)),
        {"accurate": True},
        "ODE steps of 1 ms of order 8, bisection, float64",
    ),
    Peer("Norse, 1 ms", "norse", NORSE, ALL, {"dt": 1e-3}, "Euler steps; surrogate gradients, float32"),
    Peer("Brian2, 0.1 ms", "brian2", BRIAN2, ALL, {"dt": 1e-4}, "exact update between steps; no gradients"),
    Peer(
        "NEST ps, 0.1 ms",
        "nest",
        NEST,
        SMALL,
        {"model": "iaf_psc_exp_ps", "dt": 1e-4},
        "exact times, but a refractory period of a step at least; no gradients",
    ),
    Peer(
        "NEST ps, 0.01 ms",
        "nest",
        NEST,
        SMALL,
        {"model": "iaf_psc_exp_ps", "dt": 1e-5},
        "the same, smaller step",
    ),
    Peer(
        "NEST lossless, 0.1 ms",
        "nest",
        NEST,
        SMALL,
        {"model": "iaf_psc_exp_ps_lossless", "dt": 1e-4},
        "a test for crossings within a step; otherwise the same",
    ),
)


# -- the work, and the truth about it --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Truth:
    """Exact spikes of (hidden, out), mean gradients, and who says so."""

    spikes: tuple[es.SpikeTrains, es.SpikeTrains]
    gradients: tuple[np.ndarray, np.ndarray]
    by: str


def inputs_of(batch: int) -> tuple[es.SpikeTrains, np.ndarray]:
    """Return the reference's samples, and further ones of the same kind beyond its 32."""
    with np.load(REFERENCE) as data:
        times, labels = data["in_times_ms"] * 1e-3, data["labels"]
    more = yin_yang(max(0, batch - len(labels)), seed=42)
    times = np.concatenate([times, encode_latency(more.points).first()])[:batch]
    return es.SpikeTrains.from_dense(times), np.concatenate([labels, more.labels])[:batch]


def solve(tau_mem: float, batch: int, t_ref: float = 0.0) -> tuple[dict[str, Any], Truth]:
    """Return what the runners get, and the truth: quadruple precision where the reference has it.

    ``t_ref`` is for peers that need one; it is no part of the work.
    """
    trains, labels = inputs_of(batch)
    with np.load(REFERENCE) as data:
        reference = dict(data)
    w1, w2 = reference["W1"].T, reference["W2"].T
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 200, es.LIF(tau_mem, TAU_SYN, t_ref=t_ref))
    net.add_population("out", 3, es.LIF(tau_mem, TAU_SYN, t_ref=t_ref))
    net.connect("in", "hidden", w1)
    net.connect("hidden", "out", w2)
    solution = es.solve(net, {"in": trains}, T_END)
    spikes = solution.spikes["hidden"], solution.spikes["out"]
    by = OURS
    if tau_mem == 20e-3 and t_ref == 0 and batch <= reference["labels"].size:
        by = "quadruple precision"
        gradients = tuple(reference[name][:batch].mean(axis=0).T for name in ("gW1_each", "gW2_each"))
        found = []
        for layer, prefix in zip(spikes, ("hid", "out"), strict=True):
            chosen = reference[f"{prefix}_sample"] < batch
            times, neurons, samples = (
                reference[f"{prefix}_{name}"][chosen] for name in ("t_ms", "neuron", "sample")
            )
            found.append(sorted_trains(times * 1e-3, neurons, samples, (layer.n_samples, layer.n_neurons)))
        spikes = found[0], found[1]
    else:
        loss = es.losses.TTFSCrossEntropy("out", labels, **LOSS)
        _, found = es.value_and_grad(solution, loss)
        gradients = found.weight["in", "hidden"], found.weight["hidden", "out"]
    most = [int(layer.counts().sum(axis=1).max()) for layer in spikes]
    work = {"times": trains.first(), "labels": labels, "w1": w1, "w2": w2, "most_spikes": most}
    return work | {"tau_mem": tau_mem, "tau_syn": TAU_SYN, "t_end": T_END, **LOSS}, Truth(
        spikes, gradients, by
    )


# -- running a peer --------------------------------------------------------------------------------------------


def environment_of(peer: Peer) -> Path:
    """Return the Python of the peer's environment, which is made if it is not there."""
    if not peer.requirements:
        return Path(sys.executable)
    home = CACHE / peer.name
    python = home / "bin" / "python"
    done = home / "requirements.txt"
    wanted = "\n".join(peer.requirements) + "\n"
    if not (done.exists() and done.read_text(encoding="utf-8") == wanted):
        print(f"installing {' '.join(peer.requirements)} into {home.relative_to(ROOT)}", flush=True)
        venv.create(home, with_pip=True, clear=True)
        execute([python, "-m", "pip", "install", "--quiet", *peer.requirements], timeout=1200)
        write_text(done, wanted)
    return python


def measured(peer: Peer, work: dict[str, Any], truth: Truth, budget: float) -> dict[str, Any]:
    """Let a peer do the work; return a row, with "failed" in it where something did not come."""
    folder = CACHE / "work"
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / "work.npz", folder / "result.npz"
    with whole(source) as beside, beside.open("wb") as file:
        np.savez(file, **work)
    target.unlink(missing_ok=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    path = {"PYTHONPATH": str(Path(es.__file__).parents[1])} if not peer.requirements else {}
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(CACHE / "jax")}  # first times are not compared
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    row: dict[str, Any] = {}
    try:
        command = [environment_of(peer), RUNNERS / f"run_{peer.name}.py", source, target]
        settings = json.dumps({**peer.settings, "budget": budget})
        execute([*command, settings], timeout=TIMEOUT, env=kept | threads | compiled | path, cwd=folder)
    except subprocess.TimeoutExpired as error:
        row["failed"] = f"stopped after {error.timeout:.0f} s"
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        row["failed"] = str(error).replace("|", "/")[:200]
    if target.exists():  # also of a peer that failed later on
        try:
            with np.load(target) as found:
                row |= judged(dict(found), truth)
                if peer.t_ref:
                    _, held = solve(work["tau_mem"], len(work["labels"]), peer.t_ref)
                    row["held"] = judged(dict(found), held)
        except (ValueError, zipfile.BadZipFile) as error:
            row["failed"] = f"gave no usable spikes: {error}"[:200]
    return row


def judged(found: dict[str, Any], truth: Truth) -> dict[str, Any]:
    """Compare what a runner found with the truth: times in µs per sample, errors in seconds or relative."""
    n_samples = truth.spikes[0].n_samples
    row: dict[str, Any] = {"versions": str(found["versions"]), "truth": truth.by}
    for name in ("forward", "first_forward", "gradient", "first_gradient"):
        if name in found:
            row[name] = float(found[name]) * 1e6 / n_samples
    row |= {"spikes": 0, "missed": 0, "extra": 0, "shift": 0.0}
    for layer, exact in zip(("hidden", "out"), truth.spikes, strict=True):
        columns = (found[f"{layer}_{name}"] for name in ("times", "neurons", "samples"))
        spikes = sorted_trains(*columns, (exact.n_samples, exact.n_neurons))
        match = match_spikes(layer, exact, spikes, WINDOW)
        row["spikes"] += exact.n_spikes
        row["missed"] += match.missed.size
        row["extra"] += match.extra.size
        row["shift"] = max(row["shift"], match.max_shift)
    if "w1" in found:
        pairs = zip((found["w1"], found["w2"]), truth.gradients, strict=True)
        row["gradient_errors"] = [
            float(np.linalg.norm(got - want) / np.linalg.norm(want)) for got, want in pairs
        ]
    return row


# -- the command -----------------------------------------------------------------------------------------------


def measure_all(only: list[str], budget: float) -> dict[str, Any]:
    """Measure the chosen peers, and eventsolve beside them; return all rows by title and work, old ones too."""
    store = CACHE / "results.json"
    rows: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if only and store.exists() else {}
    works = {work: solve(work[0] * 1e-3, work[1]) for work in ALL}
    ours: dict[tuple[int, int], dict[str, Any]] = {}
    state = commit()
    for peer in PEERS:
        if only and peer.name not in (OURS, *only):
            continue
        for tau, batch in peer.works:
            start = time.perf_counter()
            row = measured(peer, *works[tau, batch], budget)
            ours.setdefault((tau, batch), row)
            for name in ("forward", "gradient"):
                if name in row and name in ours[tau, batch]:
                    row[f"{name}_ratio"] = row[name] / ours[tau, batch][name]
            row |= {"date": date.today().isoformat(), "commit": state}
            rows[f"{peer.title} at {tau} ms, batch {batch}"] = row
            said = row.get("failed") or f"{row['forward']:.1f} µs per sample"
            print(
                f"{peer.title}, {tau} ms, batch {batch}: {said} ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
            write_text(store, json.dumps(rows, indent=1))
    return rows


def commit() -> str:
    git = ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                line.split(":")[1].strip()
                for line in info.read_text(encoding="utf-8").splitlines()
                if line.startswith("model name")
            ),
            cpu,
        )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(rows: dict[str, Any], tau: int) -> list[str]:
    """Return the lines of one tau_mem's table."""
    lines = [
        "| system | batch | forward | ratio | with gradient | ratio | missed / extra of | shift | "
        "gradient error W1 / W2 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer in PEERS:
        for batch in (batch for t, batch in peer.works if t == tau):
            row = rows.get(f"{peer.title} at {tau} ms, batch {batch}", {"failed": "not measured yet"})
            cells = [peer.title, str(batch)]
            for name in ("forward", "gradient"):
                cells += [shown(row[name]) if name in row else "-"]
                cells += [shown(row[f"{name}_ratio"]) if f"{name}_ratio" in row else "-"]
            own = peer.name == OURS and row.get("truth") == OURS
            if "spikes" in row and not own:
                cells += [f"{row['missed']} / {row['extra']} of {row['spikes']}", f"{row['shift']:.0e} s"]
            else:
                cells += ["(taken as the truth)" if own else "-", "-"]
            errors = row.get("gradient_errors")
            cells += [" / ".join(f"{error:.0e}" for error in errors) if errors and not own else "-"]
            if "failed" in row:
                cells[-1] = row["failed"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


PAGE = """\
# eventsolve and its peers on Yin-Yang

Made by `python benchmarks/peers.py`; do not edit.

- **Machine**: {machine}. Every system is held to one core.
- **Versions**: {versions}.
- **Date**: {date}, at {commits}.
- **Work**: Yin-Yang samples as five input spikes, 5-200-3 LIF neurons, tau_syn 5 ms, threshold 1, reset 0, 60 ms;
  time-to-first-spike cross-entropy. Weights and the first 32 samples are those of `tests/data/yinyang_reference.npz`.
- **Times** are µs per sample, medians after a first run, which compiles, of 3 to 300 runs (fewer where one takes
  seconds); building the network is not counted. *With gradient* is forward and backward, *ratio* that to eventsolve in
  the same run of the command.
- **Errors**: spikes are paired in order within {window:g} ms; those without partner are missed or extra, *shift* is the
  largest of a pair. Gradients are those of the batch's mean loss, their error is a relative norm. The truth is in
  quadruple precision at 20 ms for batches of 1 and 32; elsewhere it is eventsolve. At 10 ms jaxsnn, which shares no
  code with it, is a witness.

![µs per sample by system](benchmarks.png)

## tau_mem 20 ms

{slow}

## tau_mem 10 ms

{fast}

## NEST beside eventsolve with NEST's refractory period

A refractory period of a step is no part of the work, and makes most of NEST's differences: given the same period,
eventsolve finds these.

{held}

## What they do

{remarks}
"""


def held(rows: dict[str, Any]) -> list[str]:
    """Return the lines of the table of peers beside eventsolve with their refractory period."""
    lines = ["| system | tau_mem | batch | missed / extra of | shift |", "|---|---:|---:|---:|---:|"]
    for peer in PEERS:
        for tau, batch in peer.works:
            row = rows.get(f"{peer.title} at {tau} ms, batch {batch}", {}).get("held")
            if row is not None:
                counts = f"{row['missed']} / {row['extra']} of {row['spikes']}"
                lines.append(f"| {peer.title} | {tau} ms | {batch} | {counts} | {row['shift']:.0e} s |")
    return lines


def page(rows: dict[str, Any]) -> str:
    versions = dict.fromkeys(
        v for row in rows.values() if "versions" in row for v in row["versions"].split(", ")
    )
    dates = sorted({row["date"] for row in rows.values()})
    return PAGE.format(
        machine=machine(),
        versions=", ".join([f"eventsolve {importlib.metadata.version('eventsolve')}", *versions]),
        date=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        commits=", ".join(dict.fromkeys(row["commit"] for row in rows.values())),
        window=WINDOW * 1e3,
        slow="\n".join(table(rows, 20)),
        fast="\n".join(table(rows, 10)),
        held="\n".join(held(rows)),
        remarks="\n".join(f"- **{peer.title}**: {peer.remark}." for peer in PEERS if peer.remark),
    )


def plot(rows: dict[str, Any], path: Path) -> None:
    """Draw µs per sample as bars on a logarithmic axis; hatched where spikes are missed or extra."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    colours = {1: "#4477aa", 32: "#66ccee", 1024: "#228833"}
    figure, axes = plt.subplots(2, 2, figsize=(11, 9.5), sharex=True, sharey=True, layout="constrained")
    for row_axes, tau in zip(axes, (20, 10), strict=True):
        for axis, (name, what) in zip(
            row_axes, (("forward", "forward"), ("gradient", "forward and gradient")), strict=True
        ):
            for place, peer in enumerate(PEERS):
                for offset, (batch, colour) in zip((-0.27, 0, 0.27), colours.items(), strict=True):
                    row = rows.get(f"{peer.title} at {tau} ms, batch {batch}", {})
                    if name not in row:
                        continue
                    wrong = row["missed"] + row["extra"] > 0
                    hatch = "////" if wrong else None
                    axis.barh(
                        place + offset,
                        row[name],
                        0.25,
                        color=colour,
                        hatch=hatch,
                        edgecolor="white",
                        linewidth=0,
                    )
                    axis.text(row[name] * 1.15, place + offset, shown(row[name]), va="center", fontsize=7)
            axis.set_title(f"{what}, tau_mem {tau} ms", fontsize=10)
            axis.set_xscale("log")
            axis.grid(axis="x", color="0.9")
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(PEERS)), [peer.title for peer in PEERS])
    axes[0, 0].invert_yaxis()
    low, high = axes[0, 0].get_xlim()
    axes[0, 0].set_xlim(low / 1.2, high * 2)
    for axis in axes[1]:
        axis.set_xlabel("µs per sample, one core")
    legend = [Patch(color=colour, label=f"batch {batch}") for batch, colour in colours.items()]
    legend.append(Patch(facecolor="0.7", hatch="////", edgecolor="white", label="spikes missed or extra"))
    figure.legend(handles=legend, loc="outside upper center", ncols=4, frameon=False)
    with whole(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(dict.fromkeys(peer.name for peer in PEERS))
    parser.add_argument(
        "--only", action="append", choices=names, default=[], metavar="PEER", help=", ".join(names)
    )
    parser.add_argument("--budget", type=float, default=1.0, help="seconds to spend on a number; default 1")
    arguments = parser.parse_args()
    rows = measure_all(arguments.only, arguments.budget)
    write_text(ROOT / "docs" / "benchmarks.md", page(rows))
    plot(rows, ROOT / "docs" / "benchmarks.png")


if __name__ == "__main__":
    main()
