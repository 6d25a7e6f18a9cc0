"""Random networks over all that the solver takes, float64 against mpmath: ``python -m tests.campaign``.

Every network is a function of (seed, index). It is solved by :func:`eventsolve.solve` and by
:mod:`eventsolve.multiprecision`, and spikes are paired in the order in which each neuron makes them. What is reported:

- missed and extra spikes. A network whose spikes differ is solved again, in mpmath, with all of its numbers moved by a
  few units in the last place: if its spikes then differ among themselves, float64 cannot decide it, and it counts as
  undecidable; else the solver is wrong. It is wrong, too, where a certificate refutes it.
- the error of spike times in units of their own conditioning: that of V at a crossing, a few roundings of every term,
  over V' there, reaches later spikes through the derivatives of their times.
- whether the same spikes come in pieces, each going on where the one before it was cut, at random or at a spike.
- with ``--certify``, whether what the two agree on is certified; a network that is not counts as a failure, but for
  ties of events at one real time, whose order matters and which no finite number of digits tells apart.

Every fifth network is one of ties: delta synapses, with inputs, delays and refractory periods on a decimal grid, whose
sums float64 puts at one time.

A campaign takes any ``concurrent.futures.Executor``, adds every finished batch to a log, and goes on from there as
long as the sources are what they were.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.certify.neuron import Question
from eventsolve.files import write_text
from eventsolve.jobs import LostJobsError, as_finished
from eventsolve.solve import RepeatedSpikeError, SpikeBudgetError
from tests.shared.cuts import solved_in_pieces
from tests.shared.logs import Log, resumed

EPS = float(np.finfo(float).eps)
MOST_SPIKES = 400
"""Of one sample; a network that makes more is looked at up to there."""
CERTIFIED_DIGITS = 30
"""Those to which the multiprecision solver solves."""
BOUNDED = 24
"""Of how many spikes of a network the conditioning is worked out, those with the largest errors first."""


@dataclass(frozen=True)
class Case:
    """A network, its inputs, and how long to look at it."""

    net: es.Network
    inputs: dict[str, es.SpikeTrains]
    t_end: float


def ratio_of_time_constants(rng: np.random.Generator) -> float:
    """tau_mem / tau_syn: equal, nearly equal, of the popular ratios, or anything from 1e-3 to 1e3."""
    kind = rng.integers(5)
    if kind == 0:
        return float(rng.choice([1.0, 2.0, 4.0, 0.5]))
    if kind == 1:
        return 1.0 + float(rng.choice([-1.0, 1.0])) * 10.0 ** -float(rng.integers(1, 17))
    if kind == 2:
        return 10.0 ** rng.uniform(-3, 3)
    return float(rng.uniform(0.4, 6.0))


def peak_of_response(ratio: float) -> float:
    """The largest voltage that a unit of current causes."""
    if abs(ratio - 1) < 1e-3:
        return float(np.exp(-1))
    return float(ratio ** (ratio / (1 - ratio)) if ratio < 1e3 else 1 / ratio)


def draw_ties(rng: np.random.Generator) -> Case:
    """Return a network of delta synapses, most of them, with all times on a grid."""
    steps_per_second = int(rng.choice([1_000, 10_000, 4_000]))

    def seconds(steps: np.ndarray) -> np.ndarray:
        return np.asarray(steps) / steps_per_second

    net = es.Network()
    net.add_input("in", int(rng.integers(1, 4)))
    names = ["a", "b", "c"][: rng.integers(1, 4)]
    for name in names:
        neuron = es.LIF(
            tau_mem=20e-3,
            tau_syn=float(rng.choice([5e-3, 10e-3, 20e-3])),
            v_leak=float(rng.choice([0.0, 0.3, 1.1], p=[0.7, 0.2, 0.1])),
            v_reset=float(rng.choice([0.0, 0.5, -0.5])),
            t_ref=float(seconds(rng.integers(0, 8))),
            reset="subtract" if rng.random() < 0.3 else "value",
        )
        net.add_population(name, int(rng.integers(1, 4)), neuron)

    def connect(pre: str, post: str, serial: int) -> None:
        shape = (net.population(post).size, net.population(pre).size)
        # of which no sum is a difference between a threshold and a reset, where balls can tell nothing
        weight = rng.choice([1.57, 2.03, -0.97, -2.11, 0.76, 0.61], shape) * (rng.random(shape) < 0.8)
        steps = rng.integers(0, 8) if rng.random() < 0.5 else rng.integers(0, 8, shape)
        kind = "delta" if rng.random() < 0.75 else "exponential"
        weight = weight if kind == "delta" else 3.0 * weight
        net.connect(pre, post, weight, delay=seconds(steps), synapse=kind, name=str(serial))

    for k, name in enumerate(names):
        for pre in ["in", *names[:k]]:
            if pre == "in" or rng.random() < 0.5:
                connect(pre, name, len(net.projections))
        if rng.random() < 0.4:
            connect(name, str(rng.choice(names[: k + 1])), len(net.projections))
    trains = [
        [
            np.unique(seconds(rng.integers(0, 40, rng.integers(1, 7))))
            for _ in range(net.population("in").size)
        ]
        for _ in range(rng.integers(1, 3))
    ]
    return Case(net, {"in": es.SpikeTrains.from_lists(trains)}, float(seconds(48)))


def draw(seed: int, index: int) -> Case:
    """Return the network of that number."""
    rng = np.random.default_rng([seed, index])
    if index % 5 == 4:
        return draw_ties(rng)
    tau = 5e-3
    grid = 2.0**-10 if rng.random() < 0.5 else 1e-3
    names = ["a", "b", "c"][: rng.integers(1, 4)]
    net = es.Network()
    net.add_input("in", int(rng.integers(1, 4)))
    peaks = {}
    fastest = tau
    for name in names:
        n = int(rng.integers(1, 5))
        alike = rng.random() < 0.6
        ratios = np.array([ratio_of_time_constants(rng) for _ in range(1 if alike else n)])
        tau_syn = tau * rng.uniform(0.5, 2.0, ratios.size)
        peaks[name] = float(np.median([peak_of_response(r) for r in ratios]))
        fastest = min(fastest, float((tau_syn * np.minimum(ratios, 1.0)).min()))
        leak = rng.uniform(-0.5, 0.95, n) if rng.random() < 0.6 else np.zeros(n)
        leak = np.where(rng.random(n) < 0.1, rng.uniform(1.05, 1.4, n), leak)
        started = rng.random() < 0.3
        net.add_population(
            name,
            n,
            es.LIF(
                tau_mem=np.broadcast_to(tau_syn * ratios, n),
                tau_syn=np.broadcast_to(tau_syn, n),
                v_threshold=rng.uniform(0.8, 1.2, n) if rng.random() < 0.5 else 1.0,
                v_reset=rng.uniform(-0.5, 0.5, n) if rng.random() < 0.5 else 0.0,
                v_leak=leak,
                t_ref=rng.choice([0.0, 1e-3, grid, rng.uniform(0, 5e-3)]),
                v_initial=rng.uniform(-0.5, 0.79, n) if started else 0.0,
                i_initial=rng.normal(0, 1, n) if started else 0.0,
                reset="subtract" if rng.random() < 0.3 else "value",
            ),
        )

    def connect(pre: str, post: str, mean: float, scale: float, kind: str = "exponential") -> None:
        shape = (net.population(post).size, net.population(pre).size)
        weight = rng.normal(mean, scale, shape)
        weight /= peaks[post] * np.sqrt(shape[1]) if kind == "exponential" else 2.0
        weight *= np.where(rng.random(shape) < 0.02, 10.0 ** rng.uniform(-300, 1, shape), 1.0)
        weight *= rng.random(shape) < 0.8
        delay = [
            0.0,
            grid,
            rng.uniform(0, 5e-3),
            rng.uniform(0, 5e-3, shape),
            grid * rng.integers(0, 4, shape),
        ]
        net.connect(
            pre,
            post,
            weight,
            delay=delay[rng.integers(5)],
            synapse=kind,
            name=kind if kind != "exponential" else None,
        )

    for k, name in enumerate(names):
        connect("in", name, 1.0, 1.5)
        if k:
            connect(names[k - 1], name, 0.6, 1.0)
        if rng.random() < 0.3:
            connect(name, str(rng.choice(names[: k + 1])), 0.0, 0.6) if rng.random() < 0.5 else connect(
                name, name, -0.2, 0.5, "delta"
            )
        if rng.random() < 0.25:
            connect("in", name, 0.3, 0.8, "delta")
    if rng.random() < 0.2:
        net.add_population("li", 2, es.LI(tau * 2, tau))
        peaks["li"] = 0.25
        connect(names[-1], "li", 0.0, 1.0)
    t_end = float(rng.uniform(3, 12)) * tau
    t_end = min(t_end, 400 * fastest) * (1e4 if rng.random() < 0.03 else 1.0)
    n_samples = int(rng.integers(1, 3))
    trains = []
    for _ in range(n_samples):
        sample = []
        for _ in range(net.population("in").size):
            times = rng.uniform(0, t_end, rng.integers(0, 6))
            if rng.random() < 0.4:
                times = grid * np.floor(times / grid)
            if rng.random() < 0.1:
                times = np.append(times, [0.0, t_end])
            sample.append(np.unique(times))
        trains.append(sample)
    return Case(net, {"in": es.SpikeTrains.from_lists(trains)}, t_end)


OF_TIES = {Question.TIE.value, Question.DOUBTFUL_SOURCE.value}
"""What stays undecided where a tie does: the tie, and what comes of it."""


@dataclass
class Tally:
    """What came of some networks."""

    networks: int = 0
    refused: int = 0
    spikes: int = 0
    missed: int = 0
    extra: int = 0
    undecidable: int = 0
    warned: int = 0
    pieces: int = 0
    inexact: int = 0
    certified: int = 0
    ties: list[str] = field(default_factory=list)
    worst: float = 0.0
    worst_index: int = -1
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what came of other networks."""
        if other.worst > self.worst:
            self.worst_index = other.worst_index
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if f.name == "worst":
                self.worst = max(mine, theirs)
            elif f.name != "worst_index":
                setattr(self, f.name, mine + theirs)


def run_network(seed: int, index: int, *, certify: bool = False) -> Tally:
    """Hold one network against mpmath, and its certificate against both."""
    case = draw(seed, index)
    tally = Tally(networks=1)
    try:
        solution = es.solve(case.net, case.inputs, case.t_end, max_spikes=MOST_SPIKES, threads=1)
    except SpikeBudgetError as error:
        if not error.time > 0:
            return replace(tally, refused=1)
        # not up to a spike: float64 cannot say on which side of it that is
        case = replace(case, t_end=0.99 * error.solution.t_end)
        solution = es.solve(case.net, case.inputs, case.t_end, threads=1)
    except RepeatedSpikeError as error:
        truth = solved(multiprecision.problem(case.net, case.inputs, case.t_end))
        if truth is None or repeats(truth):
            return replace(tally, refused=1)
        tally.failures.append(f"seed {seed}, index {index}: {error}")
        return tally
    problem = multiprecision.problem(case.net, case.inputs, case.t_end)
    truth = solved(problem)
    if truth is None:  # in exact numbers; the sums of float64 have parted what was one time
        return replace(tally, undecidable=1)
    tally.pieces, parted = parted_by_cuts(case, solution, np.random.default_rng([seed, index, 2]))
    if parted:
        tally.failures.append(f"seed {seed}, index {index}: {parted}")
        return tally
    names = [name for name, p in case.net.populations.items() if p.neuron is not None and p.neuron.spiking]
    pairs = {name: (solution.spikes[name], truth.to_spiketrains(name)) for name in names}
    tally.warned = int(bool(solution.warnings))
    tally.spikes = sum(want.n_spikes for _, want in pairs.values())
    if any(not np.array_equal(got.counts(), want.counts()) for got, want in pairs.values()):
        refuted = certify and es.certify(solution, digits=CERTIFIED_DIGITS).refuted
        if not refuted and differs_within_ulps(problem, seed, index):
            return replace(tally, undecidable=1, spikes=0)
        for name, (got, want) in pairs.items():
            tally.missed += int(np.maximum(want.counts() - got.counts(), 0).sum())
            tally.extra += int(np.maximum(got.counts() - want.counts(), 0).sum())
            for s, n in np.argwhere(got.counts() != want.counts()):
                tally.failures.append(
                    f"seed {seed}, index {index}: neuron {n} of {name!r} in sample {s} has "
                    f"{got.counts()[s, n]} spikes, not {want.counts()[s, n]}"
                )
        return tally
    errors = {name: np.abs(by_neuron(got) - by_neuron(want)) for name, (got, want) in pairs.items()}
    for name, k, bound in conditioning(solution, errors):
        ratio = errors[name][k] / bound
        if ratio > tally.worst:
            tally.worst, tally.worst_index = float(ratio), index
    if tally.worst > 1:
        # near a grazing crossing or a tie the first order does not reach: are the errors those of moved last places?
        if differs_within_ulps(problem, seed, index, solution):
            return replace(tally, inexact=1, worst=0.0, worst_index=-1)
        tally.failures.append(
            f"seed {seed}, index {index}: an error of {tally.worst:.3g} times its conditioning"
        )
    elif certify:
        certificate = es.certify(solution, digits=CERTIFIED_DIGITS)
        tally.certified = int(certificate.proven)
        if not certificate.proven:
            why = {question.why for question in certificate.undecided}
            tied = not certificate.refuted and Question.TIE.value in why <= OF_TIES
            said = tally.ties if tied else tally.failures
            said.append(f"seed {seed}, index {index}: {certificate}")
    return tally


def repeats(truth: multiprecision.ExactSolution) -> bool:
    """Return whether a neuron spikes twice at what float64 takes for one time."""
    for name in truth.problem.neurons:
        for train in truth.spikes[name]:
            if len({(float(time), neuron) for time, neuron in train}) < len(train):
                return True
    return False


def parted_by_cuts(case: Case, solution: es.Solution, rng: np.random.Generator) -> tuple[int, str]:
    """Solve a case in pieces, cut at random and at spikes; return how many, and which spikes differ from one run's."""
    spikes = np.concatenate([trains.times for trains in solution.spikes.values()])
    cuts = [rng.uniform(0, case.t_end, rng.integers(0, 3))]
    if spikes.size:
        at = rng.choice(spikes, rng.integers(0, 4))
        cuts.append(np.where(rng.random(at.size) < 0.5, at, np.nextafter(at, np.inf)))
    times = np.unique(np.concatenate(cuts))
    ends = [*times[(times > 0) & (times < case.t_end)].tolist(), case.t_end]
    pieces = solved_in_pieces(case.net, case.inputs, ends, threads=1)
    for name, whole in solution.spikes.items():
        if name in case.inputs:
            continue
        parts = [piece.spikes[name] for piece in pieces]
        times, neurons, samples = (
            np.concatenate([getattr(part, column) for part in parts])
            for column in ("times", "neurons", "samples")
        )
        order = np.lexsort((neurons, times, samples))
        same = times.size == whole.n_spikes and all(
            np.array_equal(column[order], of)
            for column, of in ((times, whole.times), (neurons, whole.neurons), (samples, whole.samples))
        )
        if not same:
            return len(ends), f"the spikes of {name!r} are others in pieces that end at {ends}"
    return len(ends), ""


def by_neuron(trains: es.SpikeTrains) -> np.ndarray:
    """Times by sample, then neuron, then time."""
    times: np.ndarray = trains.times[np.lexsort((trains.times, trains.neurons, trains.samples))]
    return times


def conditioning(solution: es.Solution, errors: dict[str, np.ndarray]) -> Iterator[tuple[str, int, float]]:
    """Yield (population, place, bound) for the spikes with the largest errors, to first order, in seconds."""
    local = {}
    order = {}
    for name in errors:
        spikes = solution.spikes[name]
        order[name] = np.lexsort((spikes.times, spikes.neurons, spikes.samples))
        population = solution.network.population(name)
        at = (spikes.samples, spikes.neurons, np.arange(spikes.n_spikes))
        current = solution.current(name, spikes.times)[at]
        tau_mem, tau_syn, threshold, leak = (
            population.parameter(p)[spikes.neurons] for p in ("tau_mem", "tau_syn", "v_threshold", "v_leak")
        )
        slope = (leak - threshold + current) / tau_mem
        arrivals, size = 0.0, np.abs(population.parameter("i_initial")).max(initial=0.0)
        for p in solution.network.afferents(name):
            count = solution.spikes[p.pre].counts().max(axis=0, initial=0)
            weight = np.abs(p.weight)
            arrivals += count.sum()
            size += float((weight @ count).max(initial=0.0))
        # what one current raises V by, at most: the response of a unit peaks below 1 and below tau_syn / tau_mem
        voltage = size * np.minimum(1.0, tau_syn / tau_mem) + np.abs(leak) + threshold + 1.0
        rounding = 8 * EPS * (2 + arrivals + spikes.n_spikes) * (voltage + np.abs(current) * EPS)
        # a spike that an arrival triggers has its time; its slope may be anything
        with np.errstate(divide="ignore"):
            local[name] = np.where(slope > 0, rounding / np.abs(slope), 0.0) + 2 * EPS * solution.t_end
    pool = [(errors[name][k], name, k) for name in errors for k in range(errors[name].size)]
    for _, name, k in sorted(pool, reverse=True)[:BOUNDED]:
        one = np.zeros(errors[name].size)
        one[order[name][k]] = 1.0
        try:
            reach = es.vjp(solution, {name: one}, threads=1).spike_times
        except es.UndefinedGradientError:
            continue
        bound = sum(np.abs(reach[other]) @ local[other] for other in local)
        bound += np.abs(reach["in"]).sum() * EPS * solution.t_end
        yield name, k, float(bound)


def differs_within_ulps(
    problem: multiprecision.Problem, seed: int, index: int, solution: es.Solution | None = None
) -> bool:
    """Return whether spikes appear or vanish as all numbers move by up to four units in the last place.

    With a solution also whether spike times then move by as much as its own are off.
    """
    rng = np.random.default_rng([seed, index, 1])
    counts, times = [], []
    for trial in range(33):
        moved = problem if trial == 0 else jittered(problem, rng)
        truth = solved(moved)
        if truth is None:
            return True
        trains = {name: truth.to_spiketrains(name) for name in problem.neurons}
        counts.append(b"".join(t.counts().tobytes() for t in trains.values()))
        times.append(np.concatenate([by_neuron(t) for t in trains.values()]))
        if counts[-1] != counts[0]:
            return True
    if solution is None:
        return False
    off = np.abs(np.concatenate([by_neuron(solution.spikes[name]) for name in problem.neurons]) - times[0])
    reach = np.max([np.abs(t - times[0]) for t in times[1:]], axis=0)
    return bool((off <= 8 * reach + 4 * EPS * float(problem.t_end)).all())


def solved(problem: multiprecision.Problem) -> multiprecision.ExactSolution | None:
    """Return the slow solution, or None if a neuron would spike twice at one time, which either solver refuses."""
    try:
        return multiprecision.solve_problem(problem, digits=30)
    except ValueError as error:
        if "would spike twice" in str(error):
            return None
        raise


def jittered(problem: multiprecision.Problem, rng: np.random.Generator) -> multiprecision.Problem:
    """Return the problem with all of its numbers moved by a few ulps."""

    def move(x: object) -> object:
        return x * (1 + int(rng.integers(-4, 5)) * EPS)  # type: ignore[operator]

    neurons = {
        name: tuple(
            replace(
                n,
                tau_mem=move(n.tau_mem),
                tau_syn=move(n.tau_syn),
                v_threshold=move(n.v_threshold),
                v_leak=move(n.v_leak),
                t_ref=move(n.t_ref),
            )
            for n in row
        )
        for name, row in problem.neurons.items()
    }
    synapses = {
        key: tuple(replace(s, weight=move(s.weight), delay=move(s.delay)) for s in row)
        for key, row in problem.synapses.items()
    }
    inputs = {
        name: tuple(tuple((move(t), k) for t, k in spikes) for spikes in samples)
        for name, samples in problem.inputs.items()
    }
    return replace(problem, neurons=neurons, synapses=synapses, inputs=inputs)


def run_batch(seed: int, indices: Iterable[int], *, certify: bool = False) -> Tally:
    """Hold some networks against mpmath."""
    tally = Tally()
    for index in indices:
        tally.add(run_network(seed, index, certify=certify))
    return tally


def campaign(
    seed: int, batches: Iterable[range], executor: Executor, *, certify: bool = False
) -> Iterator[tuple[range, Tally]]:
    """Yield every batch with what came of it, as they finish; a LostJobsError at the end names those that did not."""
    yield from as_finished(partial(run_batch, seed, certify=certify), batches, executor)


warnings.filterwarnings("ignore", category=es.UnitWarning)  # times of any ratio are drawn


def main() -> int:
    """Run a campaign, or go on with one."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--networks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=50, help="networks per job")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--certify", action="store_true", help="also certify every network")
    parser.add_argument(
        "--log", type=Path, default=Path("reports/campaign.jsonl"), help="finished batches; goes on there"
    )
    parser.add_argument("--summary", type=Path, default=None, help="JSON file to write at the end")
    arguments = parser.parse_args()
    settings = {"seed": arguments.seed, "batch": arguments.batch, "certify": arguments.certify}
    with resumed(arguments.log, **settings) as log:
        return run_logged(arguments, log)


def run_logged(arguments: argparse.Namespace, log: Log) -> int:
    """Run what is not in the log yet, and report all of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    starts = range(0, arguments.networks, arguments.batch)
    wanted = {k: min(arguments.batch, arguments.networks - k) for k in starts}
    total, done = Tally(), set()
    for entry in log.entries:
        if wanted.get(entry["first"]) == entry["tally"]["networks"]:
            done.add(entry["first"])
            total.add(Tally(**entry["tally"]))
    batches = [range(k, k + wanted[k]) for k in starts if k not in done]
    console = Console(stderr=True)
    begin = time.perf_counter()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    complete = True
    with (
        ProcessPoolExecutor(arguments.workers) as executor,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("", total=len(batches) + len(done), completed=len(done))
        try:
            for batch, tally in campaign(arguments.seed, batches, executor, certify=arguments.certify):
                log.add(first=batch.start, tally=vars(tally))
                total.add(tally)
                for failure in tally.failures:
                    console.print(failure, style="bold red", highlight=False)
                progress.update(
                    task, advance=1, description=f"{total.spikes} spikes, {len(total.failures)} failures"
                )
        except KeyboardInterrupt:
            complete = False
        except LostJobsError as error:
            complete = False
            console.print(f"{error}; run again to go on", style="bold red", highlight=False)
    report = {
        "command": f"python -m tests.campaign --networks {arguments.networks} --seed {arguments.seed}"
        + " --certify" * arguments.certify,
        "complete": complete,
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - begin, 1),
        **vars(total),
    }
    print(json.dumps(report, indent=1))
    if arguments.summary is not None:
        write_text(arguments.summary, json.dumps(report, indent=1) + "\n")
    return 0 if complete and not total.failures else 1


if __name__ == "__main__":
    sys.exit(main())
