"""What Lava computed, from ``tests/data/loihi2_reference.npz`` and ``netx_example.net``, as programs and inputs."""

from functools import cache
from pathlib import Path

import numpy as np

from validation.loihi2.netx import read_netx
from validation.loihi2.program import Dense, Layer, Program

FOLDER = Path(__file__).parents[1] / "data"
EXAMPLE = FOLDER / "netx_example.net"
PARAMETERS = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")
DATA = np.load(FOLDER / "loihi2_reference.npz")
CASES = tuple(sorted({key.split("/")[0] for key in DATA.files} - {"about"}))


def dense(place, graded=False):
    return Dense(
        DATA[f"{place}/weights"],
        DATA[f"{place}/delays"] if f"{place}/delays" in DATA.files else 0,
        int(DATA[f"{place}/weight_exp"]),
        int(DATA[f"{place}/num_weight_bits"]),
        str(DATA[f"{place}/sign_mode"]) or None,
        24 if graded else 0,
    )


@cache
def program(case):
    """The program of a case."""
    if case == "netx_example":
        return read_netx(EXAMPLE)
    layers = []
    while f"{case}/layer{len(layers)}/u" in DATA.files:
        place = f"{case}/layer{len(layers)}"
        resets = {
            name: int(DATA[f"{place}/{name}"])
            for name in ("reset_interval", "reset_offset")
            if f"{place}/{name}" in DATA.files
        }
        layers.append(
            Layer(
                dense(f"{place}/ff", bool(DATA[f"{case}/graded"]) and not layers),
                dense(f"{place}/rec") if f"{place}/rec/weights" in DATA.files else None,
                **{name: DATA[f"{place}/{name}"] for name in PARAMETERS},
                **resets,
            )
        )
    return Program(tuple(layers))


def inputs(case):
    """What was sent in each step, (n_rows, n_inputs)."""
    return DATA[f"{case}/input"]


def expected(case, name):
    """u, v or s of every layer, (n_rows, n) each."""
    return [DATA[f"{case}/layer{k}/{name}"] for k in range(len(program(case).layers))]
