"""The command ``template``: an example of a record, to make one's own like it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from validation.options import file, wrong


def template(
    network: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A record or NIR graph with the network that it is of. (default: a small one)",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(dir_okay=False, callback=file, help="File, .json, .npz, .h5 or .hdf5.")
    ] = Path("record.json"),
) -> None:
    """Write an example of a record, with every part filled, and in JSON explained.

    Inputs are drawn, and the rest is computed on a clock of 1 ms: put your own numbers in their place, leave out what
    you do not have, and hand it to 'eventsolve-validate check'. A file that is there already is not overwritten.
    """
    if out.exists():
        raise typer.BadParameter(f"{out} is there already", param_hint="'--out'")

    from eventsolve.files import write_text
    from eventsolve.io import records
    from validation.check import network_in
    from validation.example import example, example_network, explained

    try:
        record = example(example_network() if network is None else network_in(network))
        if out.suffix.lower() == ".json":
            write_text(out, explained(record))
        else:
            records.write(record, out)
    except (ValueError, ImportError) as error:
        raise wrong(error) from None
    typer.echo(f"record: {out}\nnext:   eventsolve-validate check {out}")
