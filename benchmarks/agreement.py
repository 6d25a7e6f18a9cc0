"""What agrees with the oracle, and how far: python benchmarks/agreement.py writes docs/adapters.md.

Every adapter and every simulator that is installed here does the same small piece of work, and is held to what theory
says of it: exact ones to their rounding, those in time steps to converging. ``make agreement`` installs them first.

The exit status is 1 if anything is further off than that.
"""

import argparse
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.compare.matching import match_spikes
from eventsolve.files import write_text
from eventsolve.io.records import Record
from validation.grid import TimeStepped
from validation.oracle import oracle
from validation.peers import Peer
from validation.spinnaker2 import SpiNNaker2Core

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adapters.md"
T_END, TAU_SYN, WINDOW = 40e-3, 5e-3, 2e-3
COARSE, FINE = (1e-4, 2.5e-5), (1e-4, 6.25e-6)
ROUNDING, SPIKES = 1e-10, 1e-11
LAYERS = ("hidden", "out")
LOSS = {"tau0": 1.5e-3, "tau1": 100e-3, "alpha": 0.01}


@dataclass(frozen=True)
class Row:
    """One agreement: what it is of, what was found, and whether that is as it should be."""

    who: str
    what: str
    spikes: str
    gradients: str
    expected: str
    holds: bool


class Disagreement(Exception):
    """Spikes that only one of two has."""


def problem(
    tau_mem: float = 10e-3, t_ref: float = 0.0, samples: tuple[int, ...] = (0, 1, 2)
) -> tuple[Any, ...]:
    """Return network, inputs, t_end and loss: 4-6-2, each input spikes once."""
    rng = np.random.default_rng(7)
    net = es.Network()
    net.add_input("in", 4)
    for name, n in (("hidden", 6), ("out", 2)):
        net.add_population(name, n, es.LIF(tau_mem, TAU_SYN, t_ref=t_ref))
    net.connect("in", "hidden", rng.normal(2.0, 0.5, (6, 4)))
    net.connect("hidden", "out", rng.normal(1.5, 0.5, (2, 6)))
    times = rng.permuted(np.tile(np.arange(8) * 1e-3, (3, 1)), axis=1)[:, :4]
    trains = es.SpikeTrains.from_dense(times).select(list(samples))
    labels = np.array([0, 1, 1])[list(samples)]
    return net, {"in": trains}, T_END, es.losses.TTFSCrossEntropy("out", labels, **LOSS)


def shift(exact: Record, found: Record) -> float:
    """Return by how much spikes are off, in seconds; the same spikes have to be there."""
    matches = [match_spikes(name, exact.spikes[name], found.spikes[name], WINDOW) for name in LAYERS]
    wrong = sum(match.missed.size + match.extra.size for match in matches)
    if wrong:
        raise Disagreement(f"{wrong} spikes are missed or extra")
    return max(match.max_shift for match in matches)


def gradient_error(exact: Record, found: Record) -> float:
    """Return the largest relative error of a layer's gradients, sample by sample."""
    return max(
        float(np.linalg.norm(found.weight[key] - gradient) / np.linalg.norm(gradient))
        for key, gradient in exact.weight.items()
    )


# -- rows ------------------------------------------------------------------------------------------------------


def exact_row(who: str, what: str, target: Any, given: tuple[Any, ...], bound: float = ROUNDING) -> Row:
    """Hold a target to the oracle; bound is of gradients, and a hundredth of it in seconds of spikes."""
    exact, found = oracle(es.Problem(*given)), target.run(es.Problem(*given))
    moved, off = shift(exact, found), gradient_error(exact, found)
    holds = moved <= bound * 1e-2 and off <= bound
    return Row(who, what, f"{moved:.0e} s", f"{off:.0e}", f"gradients to {bound:.0e}", holds)


def steps_row(who: str, target: Callable[[float], Any], steps: tuple[float, float] = FINE) -> Row:
    """See whether spikes, and gradients if they are of spike times, come closer as the time step becomes finer.

    An error is of first order, but it also holds where a spike falls between two steps: the root of the steps' ratio
    is the least by which it has to shrink.
    """
    given = problem()
    exact, found = oracle(es.Problem(*given)), [target(step).run(es.Problem(*given)) for step in steps]
    errors = [[shift(exact, record) for record in found]]
    gradients = "surrogate" if found[0].weight else "none"
    if steps == FINE:
        errors.append([gradient_error(exact, record) for record in found])
        gradients = ", ".join(f"{error:.1e}" for error in errors[1])
    least = np.sqrt(steps[1] / steps[0])
    return Row(
        who,
        f"steps of {steps[0] * 1e3:g} and {steps[1] * 1e3:g} ms",
        ", ".join(f"{error:.1e} s" for error in errors[0]),
        gradients,
        "errors fall with the step",
        all(fine < least * coarse for coarse, fine in errors),
    )


def nir_row() -> Row:
    import nir

    from eventsolve.io.nir import from_nir, to_nir

    net, inputs, t_end, loss = problem()
    back = from_nir(nir.NIRGraph.from_dict(to_nir(net).to_dict()))
    there = oracle(es.Problem(back, inputs, t_end, loss))
    exact = oracle(es.Problem(net, inputs, t_end, loss))
    moved, off = shift(exact, there), gradient_error(exact, there)
    return Row("NIR", "to a graph and back", f"{moved:.0e} s", f"{off:.0e}", "every bit", moved == off == 0)


def torch_row() -> Row:
    from eventsolve.adapters.torch import ExactModule
    from validation.torch_targets import TimesTarget

    def build(network: es.Network) -> tuple[Any, Any]:
        module = ExactModule(network, T_END, outputs=LAYERS)
        return module, {key: module.weight["->".join(key)] for key in network.projections}

    return exact_row(
        "PyTorch, `ExactModule`", "loss differentiated by torch", TimesTarget("torch", build), problem()
    )


def jax_row() -> Row:
    import jax
    import jax.numpy as jnp

    from eventsolve.adapters.jax import exact_function

    jax.config.update("jax_enable_x64", True)
    net, inputs, t_end, loss = given = problem()
    solve, parameters = exact_function(net, t_end, outputs=LAYERS, n_spikes=40)
    times = inputs["in"].first()

    def losses(parameters: Any) -> Any:
        first = solve(parameters, {"in": times})["out"][..., 0]
        label = jnp.take_along_axis(first, jnp.asarray(loss.labels)[:, None], axis=1)[:, 0]
        values = label / loss.tau0 + jax.nn.logsumexp(-first / loss.tau0, axis=1)
        return values + loss.alpha * jnp.expm1(label / loss.tau1)

    found = jax.jacrev(losses)(parameters)["weight"]
    spikes = {
        name: es.SpikeTrains.from_dense(np.asarray(t)) for name, t in solve(parameters, {"in": times}).items()
    }
    weight = {key: np.asarray(found["->".join(key)]) for key in net.projections}
    record = Record.of(
        es.Problem(*given),
        "jax",
        spikes=spikes,
        loss_values=np.asarray(losses(parameters)),
        gradients={"weight": weight},
    )
    exact = oracle(es.Problem(*given))
    moved, off = shift(exact, record), gradient_error(exact, record)
    return Row(
        "JAX, `exact_function`",
        "loss differentiated by JAX",
        f"{moved:.0e} s",
        f"{off:.0e}",
        f"gradients to {ROUNDING:.0e}",
        moved == 0 and off <= ROUNDING,
    )


def nest_row(model: str) -> Row:
    """NEST's refractory period of a step is the network's, too; without it first spikes are the same."""
    step = COARSE[0]
    given = problem(t_ref=step)
    found = Peer("nest", {"model": model, "dt": step}, t_ref=step).run(es.Problem(*given))
    moved = shift(oracle(es.Problem(*given)), found)
    first = es.solve(*problem()[:3]).spikes["hidden"].first()
    firsts = float(np.abs(found.spikes["hidden"].first() - first).max())
    return Row(
        f"NEST, `{model}`",
        f"steps of {step * 1e3:g} ms",
        f"{moved:.0e} s, first {firsts:.0e} s",
        "none",
        f"with its refractory period, and first spikes without, to {SPIKES:.0e} s",
        max(moved, firsts) <= SPIKES,
    )


def core(step: float) -> Any:
    return SpiNNaker2Core(step, "float64", traces=False)


def eventprop(step: float) -> Any:
    import torch

    from validation.torch_eventprop import TorchEventProp

    return TorchEventProp(step, torch.float64)


def snntorch(step: float) -> Any:
    from validation.snntorch import SnnTorch

    return SnnTorch(step)


def grid_peer(runner: str) -> Callable[[float], Peer]:
    return lambda step: Peer(runner, {"dt": step}, time_step=step)


EVENTAX = Peer("eventax", {"accurate": True})
ROWS: tuple[tuple[str, str, Callable[[], Row]], ...] = (
    ("NIR", "nir", nir_row),
    ("PyTorch, `ExactModule`", "torch", torch_row),
    ("JAX, `exact_function`", "jax", jax_row),
    ("jaxsnn", "jaxsnn", lambda: exact_row("jaxsnn", "tau_mem = tau_syn", Peer("jaxsnn"), problem(TAU_SYN))),
    (
        "jaxsnn",
        "jaxsnn",
        lambda: exact_row("jaxsnn", "tau_mem = 2 tau_syn", Peer("jaxsnn"), problem(2 * TAU_SYN)),
    ),
    (
        "eventax",
        "eventax",
        lambda: exact_row("eventax", "Dopri8, one sample", EVENTAX, problem(samples=(0,)), 1e-6),
    ),
    ("NEST", "nest", lambda: nest_row("iaf_psc_exp_ps")),
    ("NEST", "nest", lambda: nest_row("iaf_psc_exp_ps_lossless")),
    ("time-stepped", "numpy", lambda: steps_row("`TimeStepped`", TimeStepped)),
    ("SpiNNaker2 core", "numpy", lambda: steps_row("`SpiNNaker2Core`, float64", core)),
    ("EventProp in PyTorch", "torch", lambda: steps_row("`TorchEventProp` (Béna et al. 2024)", eventprop)),
    ("snnTorch", "snntorch", lambda: steps_row("snnTorch", snntorch, COARSE)),
    ("Norse", "norse", lambda: steps_row("Norse", grid_peer("norse"), COARSE)),
    ("Brian2", "brian2", lambda: steps_row("Brian2", grid_peer("brian2"), COARSE)),
)


# -- the command -----------------------------------------------------------------------------------------------

TEXT = """\
# Agreement with other frameworks

Made by `python benchmarks/agreement.py`; do not edit. `make agreement` installs what it needs first.

The work is one network, 4-6-2 LIF neurons (tau_syn 5 ms, tau_mem 10 ms unless said otherwise), three samples of four
input spikes, 40 ms, and time-to-first-spike cross-entropy. *Spikes* is the largest distance of a spike from the
oracle's; none is missed or extra. *Gradients* is the largest relative error of a layer's dL/dw over all samples.

| who | what | spikes | gradients | expected | holds |
|---|---|---|---|---|---|
{rows}

Versions: {versions}.

## What is what

| extra | gives | module |
|---|---|---|
| `nir` | networks from and to NIR graphs | `eventsolve.io.nir`: `from_nir`, `to_nir` |
| `torch` | a module that solves and differentiates exactly | `eventsolve.adapters.torch`: `ExactModule` |
| `torch` | a module of your own as a target | `validation.torch_targets`: `TimesTarget`, `RasterTarget` |
| `torch` | the published discretised EventProp as a target | `validation.torch_eventprop`: `TorchEventProp` |
| `jax` | a function that solves and differentiates exactly | `eventsolve.adapters.jax`: `exact_function` |
| `snntorch` | a target with surrogate gradients | `validation.snntorch`: `SnnTorch` |
| `jaxsnn`, `eventax` | targets in continuous time | `validation.peers`: `Peer` |
| `norse` | a target with surrogate gradients | `validation.peers`: `Peer` |
| `nest`, `brian2` | targets without gradients | `validation.peers`: `Peer` |
| `neo` | spikes from and to Neo, and of PyNN | `eventsolve.io.neo`, `eventsolve.io.pynn` |
| `h5py` | Spiking Heidelberg Digits and Speech Commands | `eventsolve.io.shd` |
| `distributed` | campaigns on a cluster | [scale out](howto/scale_out.md) |

`pip install "eventsolve[torch]"` installs an extra. A surrogate gradient is not the derivative of any spike time; it
is not compared. Factors between conventions are in `validation/conventions.py`, each with its source.
"""


def measured() -> Iterator[Row]:
    """Yield the rows, each as it is measured."""
    for who, package, row in ROWS:
        if importlib.util.find_spec(package) is None:
            yield Row(who, f"{package} is not installed here", "-", "-", "-", True)
            continue
        try:
            yield row()
        except (Disagreement, RuntimeError) as error:
            yield Row(who, str(error).replace("|", "/"), "-", "-", "-", False)


def versions() -> str:
    names = (
        "eventsolve",
        "numpy",
        "nir",
        "torch",
        "jax",
        "jaxsnn",
        "eventax",
        "nest-simulator",
        "norse",
        "snntorch",
    )
    found = []
    for name in (*names, "brian2"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    rows, lines = [], []
    for row in measured():
        rows.append(row)
        verdict = "yes" if row.holds else "NO"
        cells = (row.who, row.what, row.spikes, row.gradients, row.expected, verdict)
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    write_text(PAGE, TEXT.format(rows="\n".join(lines), versions=versions()))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
