"""Execute the notebooks from clean and write them back with what they print and draw: ``python notebooks/rerun.py``.

Names of notebooks restrict it to these. Cells that are tagged ``sliders`` keep no output: it needs a kernel.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from eventsolve.files import whole

FOLDER = Path(__file__).parent
LONG = re.compile(r"\d+\.\d{12,}(?:e[+-]?\d+)?")
SECONDS = 300
"""For one cell: a minute is meant for a whole notebook, but machines differ, and a first run compiles."""


def notebooks() -> list[Path]:
    """Return the notebooks, in the order in which they are read."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> NotebookNode:
    """Return a notebook with nothing but what its cells give in a new kernel, run in the repository."""
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER.parent)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    for cell in code_cells(notebook):
        if "sliders" in cell.metadata.get("tags", ()):
            cell.outputs = []
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    notebook.metadata = {  # without the states of widgets, which are large
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def smaller(png: str) -> str:
    """Return a figure with a palette of colours: it has few, and takes a third of the room."""
    with io.BytesIO(base64.b64decode(png)) as raw, io.BytesIO() as small:
        image = Image.open(raw).convert("RGB").quantize(96, dither=Image.Dither.NONE)
        image.save(small, format="png", optimize=True)
        return base64.b64encode(small.getvalue()).decode("ascii")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: NotebookNode) -> list[str]:
    """Return what every code cell says in words and numbers; figures are told by their kind alone.

    Of long numbers eleven digits count: the last ones of a product of matrices are others on another machine. Cells
    that are tagged ``chaotic`` are left out: all that they say hangs on such digits.
    """
    said = []
    for cell in code_cells(notebook):
        if "chaotic" in cell.metadata.get("tags", ()):
            continue
        parts = [
            output.text if output.output_type == "stream" else f"\n{output.data.get('text/plain', '')}\n"
            for output in cell.outputs
            if output.output_type != "error"
        ]  # what is printed comes in pieces, wherever a slow machine flushes it
        text = re.sub(r"<Figure size .*>", "<Figure>", "".join(parts))
        said.append(LONG.sub(lambda number: f"{float(number[0]):.11g}", text))
    return said


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="e.g. 01_one_neuron")
    names = parser.parse_args().names
    known = {path.stem: path for path in notebooks()}
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is not a notebook; there are {', '.join(known)}")
    for name in names or known:
        start = time.perf_counter()
        print(f"{name} ... ", end="", flush=True)
        with whole(known[name]) as beside:
            nbformat.write(executed(known[name]), beside)
        print(f"{time.perf_counter() - start:.1f} s, {known[name].stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
