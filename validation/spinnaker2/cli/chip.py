"""The command ``eventsolve-validate chip``: what a network occupies on a chip, and what a sample of it costs."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation import exits
from validation.options import MOST_SAMPLES, duration, wrong

if TYPE_CHECKING:
    from rich.console import Console

    from validation.spinnaker2 import Chip
    from validation.spinnaker2.cost import Cost
    from validation.spinnaker2.routing import Traffic


def chip(
    sizes: Annotated[str, typer.Option(help="Neurons per layer, inputs first.")] = "5,120,3",
    steps: Annotated[int, typer.Option(min=2, help="Time steps of a run.")] = 27,
    dt: Annotated[str, typer.Option(metavar="DURATION", help="Time step.")] = "1ms",
    arithmetic: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="float32, float64 or a format such as s16.15.")
    ] = "s16.15",
    optimizer: Annotated[str, typer.Option(help="adam or sgd.")] = "adam",
    optimizer_format: Annotated[
        str, typer.Option(metavar="FORMAT", help="Of batch gradients and moments.")
    ] = "float32",
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER=N", help="Hold a layer on N elements; may be repeated."),
    ] = None,
    copies: Annotated[
        int | None, typer.Option(min=1, help="Samples side by side. (default: as many as fit)")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples over which costs are averaged.")
    ] = 220,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of samples and weights.")] = 42,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the memory of every element, copies, keys, routes and link loads, and the cost of a sample.

    Layers are called in, hidden (hidden1, hidden2, ... if there are several) and out. Weights are drawn as published
    for 5-120-3; five inputs get Yin-Yang, others uniform coordinates in the same code. Exits with 1 if the network
    does not fit, and with 2 on a bad option.
    """
    from validation.spinnaker2.memory import DoesNotFit
    from validation.terminal import console

    try:
        built, found = _built(
            _sizes(sizes),
            steps,
            dt,
            arithmetic,
            optimizer,
            optimizer_format,
            part or [],
            copies,
            samples,
            seed,
        )
    except DoesNotFit as error:
        typer.echo(f"does not fit: {error}", err=True)
        raise typer.Exit(exits.DIFFERS) from None
    except (ValueError, MemoryError) as error:
        raise wrong(error) from None
    if json:
        settings = {"sizes": sizes, "steps": steps, "dt": dt, "format": arithmetic, "samples": samples}
        settings |= {"optimizer": optimizer, "optimizer_format": optimizer_format, "seed": seed}
        typer.echo(json_module.dumps({"settings": settings, **_document(built, *found)}, indent=2))
        return
    _print(console(), built, *found)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) < 2 or min(sizes) < 1 or sizes[0] < 2:
        raise typer.BadParameter(
            f"{text!r} is not two or more numbers such as 5,120,3, the first at least 2",
            param_hint="'--sizes'",
        )
    return sizes


def _parts(given: list[str]) -> dict[str, int]:
    parts = {}
    for text in given:
        name, _, count = text.partition("=")
        if not count.isdigit():
            raise typer.BadParameter(f"{text!r} is not of the form hidden=2", param_hint="'--part'")
        parts[name] = int(count)
    return parts


def _built(
    sizes: list[int],
    steps: int,
    dt: str,
    arithmetic: str,
    optimizer: str,
    optimizer_format: str,
    part: list[str],
    copies: int | None,
    samples: int,
    seed: int,
) -> tuple[Chip, tuple[Traffic, Cost]]:
    """Return the chip, and what a batch of samples on it sent and cost."""
    import numpy as np

    import eventsolve as es
    from eventsolve.io import datasets
    from validation.fixedpoint import FixedFormat
    from validation.spinnaker2 import FLOAT32, FLOAT64, SGD, Adam, Chip, SpiNNaker2Core
    from validation.spinnaker2.memory import DoesNotFit

    if optimizer not in ("adam", "sgd"):
        raise typer.BadParameter(f"{optimizer!r} is not one of adam, sgd", param_hint="'--optimizer'")
    time_step = duration("dt", dt)
    names = ["in", *(f"hidden{k + 1}" for k in range(len(sizes) - 2)), "out"]
    if len(sizes) == 3:
        names[1] = "hidden"
    moments = [(5.2 / n**0.5, 2.8 / n**0.5) for n in sizes[:-1]]
    moments[0] = (3.2 / sizes[0] ** 0.5, 3.2 / sizes[0] ** 0.5)
    net = es.Network()
    net.add_input("in", sizes[0])
    for pre, post, size, w in zip(
        names, names[1:], sizes[1:], datasets.normal_weights(tuple(sizes), tuple(moments), seed), strict=False
    ):
        net.add_population(post, size, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
        net.connect(pre, post, w)
    rng = np.random.default_rng(seed)
    yin_yang = datasets.yin_yang(samples, seed) if sizes[0] == 5 else None
    points = rng.random((samples, sizes[0] - 1)) if yin_yang is None else yin_yang.points
    labels = rng.integers(0, sizes[-1], samples)
    if yin_yang is not None and sizes[-1] >= 3:
        labels = yin_yang.labels
    rule = Adam(1.9e-3) if optimizer == "adam" else SGD(1.0)
    try:
        known = {"float32": FLOAT32, "float64": FLOAT64}
        number = known.get(optimizer_format) or FixedFormat.parse(optimizer_format)
        core = SpiNNaker2Core(time_step, arithmetic, traces=False)
        built = Chip(
            net,
            core,
            steps * time_step,
            rule,
            optimizer_number=number,
            parts=_parts(part),
            copies=copies,
        )
        inputs = {"in": datasets.encode_steps(points, steps, min(2, steps - 2), step=time_step)}
    except DoesNotFit:
        raise
    except ValueError as error:
        raise wrong(error) from None
    loss = es.losses.TTFSCrossEntropy(
        "out", labels, tau0=1.5 * time_step, tau1=100 * time_step, alpha=0.01, silent="t_end"
    )
    batch = built.run(built.initial, inputs, loss)
    return built, (built.traffic(batch), built.cost(batch))


def _document(built: Chip, traffic: Traffic, cost: Cost) -> dict[str, Any]:
    """Return everything as what JSON holds; bytes, and means per sample under ``cost``."""
    from dataclasses import asdict

    layout, keys = built.layout, built.routing.keys
    return {
        "hardware": asdict(layout.hardware),
        "copies": layout.copies,
        "elements": layout.used,
        "copy": [{"name": e.name, "bytes": e.bytes, "buffers": dict(e.buffers)} for e in layout.copy],
        "optimizer": [
            {"name": e.name, "bytes": e.bytes, "buffers": dict(e.buffers)} for e in layout.optimizer
        ],
        "key": {"bits": keys.bits, **keys._asdict()},
        "routes": len(built.routing.routes),
        "links": len(traffic.links),
        "busiest_link_in_a_step": {
            "forward": int(traffic.forward.max(initial=0)),
            "backward": int(traffic.backward.max(initial=0)),
        },
        "packets": {kind.name.lower(): count for kind, count in traffic.sent.items()},
        "packet_bytes": {kind.name.lower(): count for kind, count in traffic.sent_bytes.items()},
        "cost": asdict(cost)
        | {
            "macs": cost.macs,
            "dense_macs": cost.dense_macs,
            "bytes": cost.bytes,
            "dense_bytes": cost.dense_bytes,
        },
    }


def _print(out: Console, built: Chip, traffic: Traffic, cost: Cost) -> None:
    from rich.table import Table

    layout, keys = built.layout, built.routing.keys
    elements = (*layout.copy, *layout.optimizer)
    names = list(dict.fromkeys(buffer.name for e in elements for buffer in e.buffers))
    memory = Table("buffer", title=f"bytes of {layout.hardware.memory}")
    for element in elements:
        memory.add_column(element.name, justify="right")
    for name in names:
        memory.add_row(name, *(str(dict(e.buffers).get(name, "")) for e in elements))
    memory.add_section()
    memory.add_row("together", *(str(e.bytes) for e in elements))
    out.print(memory)
    out.print(
        f"{layout.copies} copies of {len(layout.copy)} elements and {len(layout.optimizer)} for the optimizer: "
        f"{layout.used} of {layout.hardware.elements}",
        f"keys of {keys.bits} bits ({', '.join(f'{n} {b}' for n, b in keys._asdict().items())}), "
        f"{len(built.routing.routes)} routes of {layout.hardware.routing_entries}",
        f"busiest of {len(traffic.links)} links in a step: {traffic.forward.max(initial=0)} packets forward, "
        f"{traffic.backward.max(initial=0)} backward, for {cost.n_samples} samples",
        sep="\n",
    )
    per_layer = Table(
        "layer", title=f"per sample, mean of {cost.n_samples}; in brackets if errors were dense"
    )
    for column in ("arriving", "spikes", "additions", "neuron MACs"):
        per_layer.add_column(column, justify="right")
    for column in ("error MACs", "error packets", "error bytes"):
        per_layer.add_column(column, justify="right")
    for c in cost.layers:
        per_layer.add_row(
            c.layer,
            *(f"{x:.1f}" for x in (c.arriving, c.spikes, c.additions, c.neuron_macs)),
            f"{c.error_macs:.1f} ({c.dense_error_macs:.0f})",
            f"{c.error_packets:.1f} ({c.dense_error_packets:.0f})",
            f"{c.error_bytes:.1f} ({c.dense_error_bytes:.0f})",
        )
    out.print(per_layer)
    out.print(
        f"together {cost.macs:.0f} multiply-accumulates ({cost.dense_macs:.0f} dense), {cost.bytes:.0f} bytes "
        f"({cost.dense_bytes:.0f} dense), {cost.exponentials:.0f} exponentials; spikes {cost.spike_packets:.1f}, "
        f"loss {cost.loss_packets:.1f} packets",
    )
