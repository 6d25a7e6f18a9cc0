"""Draw the pictures of ``docs/gallery.md`` with the code that it shows: ``make gallery``.

Every image of the page shows the figure that the block of code before it drew last.
"""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image

from eventsolve.files import whole

matplotlib.use("agg")
from matplotlib import pyplot as plt

PAGE = Path(__file__).parent / "gallery.md"
PART = re.compile(
    r"^```python\n(?P<code>.*?)^```$|^!\[.*?\]\((?P<picture>gallery/\w+\.png)\)$", re.DOTALL | re.MULTILINE
)
DPI = 110


def drawn(page: Path = PAGE) -> dict[str, bytes]:
    """Execute the code of the page, and return its pictures by their paths beside it, as PNG with few colours."""
    pictures: dict[str, bytes] = {}
    namespace: dict[str, Any] = {"__name__": "gallery"}
    for part in PART.finditer(page.read_text(encoding="utf-8")):
        if part["code"] is not None:
            plt.close("all")
            exec(compile(part["code"], str(page), "exec"), namespace)
            continue
        with io.BytesIO() as raw, io.BytesIO() as small:
            plt.figure(plt.get_fignums()[-1]).savefig(raw, dpi=DPI, bbox_inches="tight")
            image = Image.open(raw).convert("RGB").quantize(96, dither=Image.Dither.NONE)
            image.save(small, format="png", optimize=True)
            pictures[part["picture"]] = small.getvalue()
    return pictures


if __name__ == "__main__":
    for path, content in drawn().items():
        (PAGE.parent / path).parent.mkdir(exist_ok=True)
        with whole(PAGE.parent / path) as beside:
            beside.write_bytes(content)
        print(path)
