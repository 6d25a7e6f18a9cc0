"""NetX files of lava-dl, read as programs and written from them.

Files are read as lava-nc 0.10.0 and lava-dl 0.6.0 read them, with their misreadings. Needs the extra ``h5py``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eventsolve.bounded import MAX_BYTES, Budget, Unreadable, opened
from eventsolve.checks import printable, shown
from eventsolve.files import whole
from eventsolve.io.hdf5 import filled, read_arrays
from eventsolve.typing import Integers
from validation.loihi2.program import LARGEST_THRESHOLD, Dense, Layer, Program, integer

NETX_DELAY = 62
"""Steps: NetX clips longer delays."""
BIAS_EXP = 6
"""A NetX bias is in weight units."""
_MATCHING = (
    r"layer/\d{1,4}/(type|shape|weight|weight_rec|delay|delay_rec|bias"
    r"|neuron/(type|iDecay|vDecay|vThMant|refDelay))"
)
_SYNAPSE_BYTES = 96
"""Memory that a synapse takes while a file is read: 64-bit copies of its weight and delay."""

Arrays = Mapping[str, Any]


def read_netx(
    path: str | os.PathLike[str],
    *,
    reset_interval: int = 0,
    reset_offset: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Program:
    """Read a NetX file as lava-dl does.

    Parameters
    ----------
    path : path
    reset_interval, reset_offset : int
        As in NetX: layer i, counted from 0, is reset in the steps k, counted from 1, with k mod reset_interval =
        (reset_offset + 1 + i) mod reset_interval; with an interval of 0 it is never reset.
    max_bytes : int
        Largest memory for reading: the file, the arrays that it declares, and the program.

    Returns
    -------
    Program
        Its notes say what lava-dl changes or ignores.

    Raises
    ------
    ValueError
        If it is no NetX file, or one that lava-dl does not load or this package does not run.
    OSError
        If it cannot be opened.
    ImportError
        Without h5py.
    """
    interval = integer("reset_interval", reset_interval, 0, 2**31 - 1)
    offset = integer("reset_offset", reset_offset, 0, 2**30)
    name = printable(os.path.basename(os.fspath(path)))
    budget = Budget(max_bytes)
    try:
        with opened(path, max_bytes) as file:
            found = read_arrays(file, budget, groups=True, matching=_MATCHING)
        program = program_of({"/".join(p): v for p, v in found.items() if v is not None}, budget)
    except Unreadable as error:
        raise Unreadable(f"{name} is no NetX file: {error}") from error
    except ValueError as error:
        raise Unreadable(f"{name}: {error}") from error
    if not interval:
        return program
    return replace(
        program,
        layers=tuple(
            replace(layer, reset_interval=interval, reset_offset=offset + 1 + i)
            for i, layer in enumerate(program.layers)
        ),
    )


def program_of(arrays: Arrays, budget: Budget | None = None) -> Program:
    """Return the program that lava-dl makes of the datasets of a file, which are given by path.

    Raises
    ------
    ValueError
        If lava-dl does not load them.
    """
    budget = budget or Budget(MAX_BYTES)
    groups: dict[int, dict[str, Any]] = {}
    for path, values in arrays.items():
        _, called, rest = path.split("/", 2)
        if str(int(called)) != called:
            raise ValueError(f"groups of layers must be called 0, 1, ...; got {shown(called)}")
        groups.setdefault(int(called), {})[rest] = values
    if not groups or sorted(groups) != list(range(len(groups))):
        raise ValueError(f"it must have groups layer/0, layer/1, ... without gaps; got {sorted(groups)}")
    layers: list[Layer] = []
    notes: list[str] = []
    n_before = 0
    for number in range(len(groups)):
        group = groups[number]
        where = f"layer/{number}"
        kind = _text(group, "type", where)
        shape = np.asarray(_required(group, "shape", where)).reshape(-1)
        size = math.prod(int(n) for n in shape.tolist()) if shape.dtype.kind in "iu" and shape.size else 0
        if not 0 < size < 2**31:
            raise ValueError(f"{where}/shape must be integers >= 1; got {shown(shape.tolist())}")
        if kind == "input" and number == 0:
            n_before = size
            continue
        if kind not in ("dense", "dense_rec"):
            raise ValueError(
                f"{where}/type must be 'input' for the first layer, 'dense' or 'dense_rec'; got {shown(kind)}"
            )
        layer = _layer(group, where, size, n_before, kind == "dense_rec", budget, notes)
        layers.append(layer)
        n_before = size
    return Program(tuple(layers), tuple(notes))


def _layer(
    group: Arrays, where: str, size: int, n_before: int, recurrent: bool, budget: Budget, notes: list[str]
) -> Layer:
    given = np.asarray(_required(group, "weight", where))
    if not given.size or given.size % size or n_before not in (0, given.size // size):
        raise ValueError(
            f"{where}/weight must have {size} rows of {n_before or 'some'} weights; got shape {given.shape}"
        )
    n_rec = size * size if recurrent else 0
    budget.take(_SYNAPSE_BYTES * (given.size + n_rec), f"{where}/weight")
    weight = _cut(given, f"{where}/weight").reshape(size, -1)
    rec = None
    if recurrent:
        rec = _cut(_required(group, "weight_rec", where), f"{where}/weight_rec")
        if rec.size != n_rec:
            raise ValueError(f"{where}/weight_rec must have {size} times {size} weights; got {rec.shape}")
        rec = rec.reshape(size, size)
    scaled, weight_exp, bits = netx_weights([weight] if rec is None else [weight, rec], where, notes)
    delays: list[Any] = [0, 0]
    if "delay" in group:
        delay = _delays(group["delay"], weight.shape, where, notes)
        delays = [delay, 0]
        if rec is not None:
            if delay.shape != rec.shape:
                raise ValueError(
                    f"{where}/delay of a dense_rec layer must have the shape of weight_rec, {rec.shape}, since lava-dl "
                    f"uses it for both matrices; got {delay.shape}"
                )
            delays = [delay, delay]
            if weight_exp:
                notes.append(
                    f"{where} is recurrent with delays: lava-dl drops the exponent of its weights, which act "
                    f"{2**-weight_exp} times too strongly, and uses delay for both matrices."
                )
            weight_exp = 0
    if "delay_rec" in group:
        notes.append(f"{where}/delay_rec is not read by lava-dl.")
    matrices = [Dense(w, d, weight_exp, bits) for w, d in zip(scaled, delays, strict=False)]
    neuron = {name: group.get(f"neuron/{name}") for name in ("iDecay", "vDecay", "vThMant")}
    if any(key.startswith("neuron/") for key in group):
        kind = _text(group, "neuron/type", where)
        if kind not in ("CUBA", "LOIHI"):
            raise ValueError(f"{where}/neuron/type must be 'CUBA'; got {shown(kind)}")
        for name, values in neuron.items():
            if values is None:
                raise ValueError(f"{where}/neuron must have {name}")
    else:
        neuron = {"iDecay": 0, "vDecay": 4096, "vThMant": LARGEST_THRESHOLD + 1}
    ref = group.get("neuron/refDelay")
    if ref is not None and np.asarray(ref).dtype.kind in "iuf" and np.any(np.asarray(ref) > 1):
        notes.append(f"{where}/neuron/refDelay is not read by lava-dl: there is no refractory period.")
    held = {name: _per_neuron(values, f"{where}/neuron/{name}", size) for name, values in neuron.items()}
    bias = group.get("bias")
    return Layer(
        matrices[0],
        matrices[1] if len(matrices) > 1 else None,
        du=held["iDecay"] - 1,
        dv=held["vDecay"],
        vth=held["vThMant"],
        bias_mant=0 if bias is None else _per_neuron(bias, f"{where}/bias", size),  # type: ignore[arg-type]
        bias_exp=BIAS_EXP,  # type: ignore[arg-type]
    )


def netx_weights(
    matrices: list[Integers], where: str, notes: list[str] | None = None
) -> tuple[list[Integers], int, int]:
    """Return the matrices of a layer, which share a scale, shifted as NetX shifts them, with exponent and bits.

    The shift is exact, and integers -128..127 of mixed signs survive it; if no weight is positive, the largest may not
    survive. ``notes`` receives a sentence on weights that are clipped.

    Raises
    ------
    ValueError
        If all weights are 0, or weights of one sign exceed 255: lava-dl fails, or shifts by a negative number.
    """
    flat = np.concatenate([m.ravel() for m in matrices])
    low, high = int(flat.min()), int(flat.max())
    signed = not (high < 0 or low >= 0)
    if signed and (low < -256 or high > 254):
        n = int(np.count_nonzero((flat < -256) | (flat > 254)))
        if notes is not None:
            notes.append(f"{where}: {n} weights beyond -256..254 are clipped.")
        matrices = [np.clip(m, -256, 254) for m in matrices]
        flat = np.concatenate([m.ravel() for m in matrices])
        low, high = max(low, -256), min(high, 254)
    if low == high == 0:
        raise ValueError(f"all weights of {where} are 0, which lava-dl does not load")
    if high < 0:
        scale = 256 / -low
    elif low >= 0:
        scale = 255 / high
    else:
        scale = min(127 / high if high else math.inf, 128 / -low)
    b = math.floor(math.log2(scale)) + signed
    if b < 0:
        raise ValueError(
            f"weights of {where} are of one sign and beyond 8 bits, {low} to {high}: lava-dl would shift them by {b}"
        )
    bits = int(np.bitwise_or.reduce(flat))
    zeros = min(8, (bits & -bits).bit_length() - 1)
    return [np.asarray(m << b) for m in matrices], -b, 8 - b - (zeros - signed)


def _delays(given: Any, shape: tuple[int, ...], where: str, notes: list[str]) -> Integers:
    values = np.asarray(given)
    if values.dtype.kind not in "iuf" or not np.all(
        np.isfinite(values) & (values >= 0) & (values == np.rint(values))
    ):
        raise ValueError(f"{where}/delay must be integers >= 0; got {shown(given)}")
    clipped = np.minimum(values, NETX_DELAY).astype(np.int64)
    late = int(np.count_nonzero(values > NETX_DELAY))
    if late:
        notes.append(f"{where}: {late} delays beyond {NETX_DELAY} steps are clipped.")
    if values.ndim == 1 and values.shape != (1,):
        if values.size == shape[0]:
            clipped = clipped[:, None]
        elif values.size != shape[1]:
            raise ValueError(
                f"{where}/delay must have one entry, one per target ({shape[0]}), one per source ({shape[1]}) or "
                f"shape {shape}; got {values.shape}"
            )
    elif values.size > 1 and values.shape != shape:
        raise ValueError(f"{where}/delay must have shape {shape}; got {values.shape}")
    return np.array(np.broadcast_to(clipped.reshape(()) if clipped.size == 1 else clipped, shape))


def _required(group: Arrays, name: str, where: str) -> Any:
    if name not in group:
        raise ValueError(f"{where} must have a dataset {name!r}")
    return group[name]


def _text(group: Arrays, name: str, where: str) -> str:
    value = _required(group, name, where)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise ValueError(f"{where}/{name} must be one text; got {shown(value)}")
    return value


def _cut(given: Any, name: str) -> Integers:
    """Return numbers cut to integers, towards 0."""
    values = np.asarray(given)
    if values.dtype.kind not in "iufb" or not np.all(
        np.isfinite(values) & (np.abs(values.astype(np.float64)) < 2**31)
    ):
        raise ValueError(f"{name} must be finite numbers within 31 bits; got {shown(given)}")
    return np.asarray(np.trunc(values.astype(np.float64)).astype(np.int64))


def _per_neuron(given: Any, name: str, size: int) -> Integers:
    values = _cut(given, name).reshape(-1)
    if values.size not in (1, size):
        raise ValueError(f"{name} must be a number, or one for each of {size} neurons; got {values.size}")
    return np.array(np.broadcast_to(values, (size,)))


# -- writing ---------------------------------------------------------------------------------------------------------


def write_netx(program: Program, path: str | os.PathLike[str], *, misread: bool = False) -> None:
    """Write a program as a NetX file, which lava-dl reads as the same program.

    A NetX file does not hold reset intervals: they are given to NetX when it loads the file.

    Parameters
    ----------
    program : Program
    path : path
    misread : bool
        Write the file for other loaders even if lava-dl 0.6.0 would read another program, as with recurrent delays.

    Raises
    ------
    ValueError
        If NetX cannot hold the program: weights or biases are no whole weight units, or there are initial states or
        graded inputs; or, unless ``misread``, if lava-dl would read another program.
    OSError
        If the file cannot be written.
    ImportError
        Without h5py.
    """
    arrays = arrays_of(program)
    if not misread:
        try:
            again = program_of(arrays)
        except ValueError as error:
            raise ValueError(f"lava-dl does not load this program from a NetX file: {error}") from error
        for k, (meant, read) in enumerate(zip(program.layers, again.layers, strict=True)):
            for what, one, other in zip(
                ("weights", "recurrent weights", "delays", "recurrent delays"),
                _acting(meant),
                _acting(read),
                strict=True,
            ):
                if not np.array_equal(one, other):
                    bad = int(np.count_nonzero(one != other))
                    raise ValueError(
                        f"lava-dl reads {bad} {what} of layer {k} otherwise than they are meant"
                        + "".join(f"; {note}" for note in again.notes)
                    )
    with whole(path) as beside, filled(beside) as file:
        for name, values in arrays.items():
            file[name] = np.bytes_(values) if isinstance(values, str) else values


def arrays_of(program: Program) -> dict[str, Any]:
    """Return the datasets of a NetX file by path; raise a ValueError for what NetX cannot hold."""
    arrays: dict[str, Any] = {"layer/0/type": "input", "layer/0/shape": np.array([program.n_inputs])}
    for k, layer in enumerate(program.layers):
        where = f"layer/{k + 1}"
        if layer.ff.num_message_bits:
            raise ValueError(f"layer {k} takes graded inputs, for which NetX has no place")
        if layer.u0.any() or layer.v0.any():
            raise ValueError(f"layer {k} has initial states other than 0, for which NetX has no place")
        if (layer.bias % 2**BIAS_EXP).any():
            raise ValueError(
                f"biases of layer {k} must be whole weight units, multiples of {2**BIAS_EXP}, for NetX"
            )
        weights = [m.effective for m in layer.matrices]
        if not all(
            m.linear and (w == np.rint(w)).all() for m, w in zip(layer.matrices, weights, strict=True)
        ):
            raise ValueError(
                f"weights of layer {k} must be whole weight units for NetX, whose exponent follows from them"
            )
        arrays |= {
            f"{where}/type": "dense" if layer.rec is None else "dense_rec",
            f"{where}/shape": np.array([layer.size]),
            f"{where}/inFeatures": np.int32(layer.ff.weights.shape[1]),
            f"{where}/outFeatures": np.int32(layer.size),
            f"{where}/weight": weights[0].astype(np.float32),
            f"{where}/neuron/type": "CUBA",
            f"{where}/neuron/iDecay": _brief(layer.du + 1),
            f"{where}/neuron/vDecay": _brief(layer.dv),
            f"{where}/neuron/vThMant": _brief(layer.vth),
            f"{where}/neuron/refDelay": np.int32(1),
            f"{where}/neuron/gradedSpike": np.False_,
        }
        if layer.bias.any():
            arrays[f"{where}/bias"] = (layer.bias >> BIAS_EXP).astype(np.float32)
        if layer.ff.delays.any() or (layer.rec is not None and layer.rec.delays.any()):
            arrays[f"{where}/delay"] = layer.ff.delays.astype(np.int32)
        if layer.rec is not None:
            arrays[f"{where}/weight_rec"] = weights[1].astype(np.float32)
            if layer.rec.delays.any() and not np.array_equal(layer.rec.delays, layer.ff.delays):
                arrays[f"{where}/delay_rec"] = layer.rec.delays.astype(np.int32)
    return arrays


def _brief(values: Integers) -> Any:
    """Return one number if all are the same."""
    return np.int32(values[0]) if (values == values[0]).all() else values.astype(np.int32)


def _acting(layer: Layer) -> tuple[Any, ...]:
    """Return the effective weights and the delays, empty for a missing matrix."""
    own = layer.matrices
    return (
        *(own[k].effective if k < len(own) else np.empty(0) for k in (0, 1)),
        *(own[k].delays if k < len(own) else np.empty(0) for k in (0, 1)),
    )
