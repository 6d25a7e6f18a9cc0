"""The command ``calibrate``: which parameters explain the spikes of a record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from validation.cli.running import Json, ReportFolder, command
from validation.options import duration, finite, wrong


def calibrate(
    record: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A record: .json, .npz, .h5 or .hdf5.")
    ],
    free: Annotated[
        str,
        typer.Option(
            metavar="NAME[:LEVEL],...",
            help="What is free: factors of tau_mem, tau_syn and gain, shifts of v_threshold, v_reset, v_leak, "
            "v_initial, i_initial, t_ref and delay, and the latency from a crossing to its spike. LEVEL is neuron, "
            "layer (the default) or chip, of gains and delays also source or synapse: "
            "tau_mem:neuron,v_threshold.",
            show_default=False,
        ),
    ],
    network: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A record or NIR graph with the network of this one."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Populations. (default: all whose spikes are recorded)"),
    ] = None,
    time_noise: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Standard deviation of spike times: of a clock, its step divided by 3.46. (default: they are exact, "
            "and thresholds are noisy)",
        ),
    ] = None,
    voltage_noise: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Of thresholds. (default: it is estimated)"),
    ] = None,
    out: ReportFolder = Path("calibration-report"),
    json: Json = False,
) -> None:
    """Find the time constants, thresholds, gains, leaks and delays with which the network makes a record's spikes.

    Each comes with its standard error, and what the spikes cannot tell is named.
    """
    jitter = 0.0 if time_noise is None else duration("time-noise", time_noise)

    import eventsolve as es
    from eventsolve.free_numbers import FACTORS
    from eventsolve.io import records
    from validation import check, report
    from validation.report.document import Document, Facts, Section, Table, Words, where_from

    levels = {
        name: level or "layer" for name, _, level in (part.strip().partition(":") for part in free.split(","))
    }
    try:
        given = records.read(record)
        problem = given.problem(check.network_of(given, network))
        spiking = {
            name: trains for name, trains in given.spikes.items() if problem.network.population(name).spiking
        }
        found = es.calibrate(
            problem.network,
            problem.inputs,
            spiking,
            problem.t_end,
            levels,
            of=None if of is None else [name.strip() for name in of.split(",")],
            time_noise=jitter,
            voltage_noise=voltage_noise,
        )
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        raise wrong(error) from None
    rows = tuple(
        (name, ("x " if name.split(" ")[0] in FACTORS else "") + f"{value:.6g}", f"{error:.2g}")
        for name, value, error in zip(found.names, found.values.tolist(), found.errors.tolist(), strict=True)
    )
    lost, extra = (sum(t.n_spikes for t in kind.values()) for kind in (found.lost, found.extra))
    told = (
        f"{found.n_spikes} spikes taken; {lost} more that were not recorded, "
        f"{extra} left out that nothing near explains."
    )
    blind = tuple(
        Words(f"The spikes cannot tell: {direction}.", "notice") for direction in found.undetermined
    )
    table = Table(
        "Calibrated numbers",
        ("number", "value", "standard error"),
        rows,
        note="Time constants and gains are factors (x), all else shifts in seconds or the unit of v_threshold.",
    )
    origin = report.provenance({"record": str(record), "free": free}, command())
    document = Document(
        f"Calibration: {given.name}",
        (Words(told, "verdict"), table, *blind),
        (
            Section("What is left", (Facts((("noise (one standard deviation)", f"{found.noise:.4g}"),)),)),
            where_from(origin),
        ),
        origin,
        {
            "names": list(found.names),
            "values": found.values.tolist(),
            "errors": [None if error == float("inf") else error for error in found.errors.tolist()],
            "undetermined": [str(direction) for direction in found.undetermined],
            "spikes": {"taken": found.n_spikes, "lost": lost, "extra": extra},
            "noise": found.noise,
        },
    )
    report.publish(document, out, "calibration", json=json)
