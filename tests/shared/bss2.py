"""A chip that was worked out elsewhere (tests/data/README.md), and networks in its manner."""

from pathlib import Path

import numpy as np

import eventsolve as es
from validation.brainscales2 import BrainScaleS2, Mismatch

TAU = 6e-6
ROWS = 5
DATA = np.load(Path(__file__).parents[1] / "data" / "bss2_golden.npz")


def lines(theta):
    """Return delays in tau: what a chip's parameters of them ask for."""
    return 2.0 + 1.5 / (1.0 + np.exp(-theta))


def layered(weights, delays, labels, times, *, t_end=30.0, ratio=1.0, threshold=2.6, gap=0.3, silent="skip"):
    """Return a problem of two layers, an input driving several rows: weights [(n_rows, n_post, n_pre), ...], in tau."""
    neuron = es.LIF(ratio * TAU, TAU, v_threshold=threshold, t_ref=t_end * TAU)
    net = es.Network()
    names = ("in", "hidden", "out")
    net.add_input("in", weights[0].shape[2])
    for k, rows in enumerate(weights):
        net.add_population(names[k + 1], rows.shape[1], neuron)
        for c, weight in enumerate(rows):
            delay = 0.0 if delays is None else np.broadcast_to(delays[k] * TAU, weight.shape)
            name = f"row {c}" if len(rows) > 1 else None
            net.connect(names[k], names[k + 1], weight, delay=delay, name=name)
    loss = es.losses.RelativeMSE("out", labels, gap=gap * TAU, silent=silent)
    return es.Problem(net, {"in": es.SpikeTrains.from_dense(times * TAU)}, t_end * TAU, loss)


def rows_of(values):
    """Return (n_pre * ROWS, n_post), row 5 i + c being copy c of input i, as (ROWS, n_post, n_pre)."""
    return values.reshape(-1, ROWS, values.shape[1]).transpose(1, 2, 0)


def golden_problem():
    weights = [rows_of(DATA["w1"]), DATA["w2"].T[None]]
    return layered(weights, [lines(DATA["d1"]), lines(DATA["d2"])], DATA["label"], DATA["t"])


def golden_chip(**settings):
    """The chip; the other program rounds a delay after its offset, and takes gradients at rounded weights."""
    delay = {}
    for name, k in (("in", "1"), ("hidden", "2")):
        asked = lines(DATA[f"d{k}"])
        real = np.rint((asked + DATA[f"delay_offset_{k}"]) * 48) / 48
        delay[name] = (real - np.rint(asked * 48) / 48) * TAU
    gain = {("in", "hidden", f"row {c}"): g for c, g in enumerate(rows_of(DATA["gain_1"]))}
    mismatch = Mismatch(
        threshold={"hidden": DATA["theta_hidden"] - 2.6, "out": DATA["theta_out"] - 2.6},
        tau={"hidden": DATA["tau_hidden"], "out": DATA["tau_out"]},
        gain=gain | {("hidden", "out"): DATA["gain_2"].T},
        delay=delay,
    )
    off = "unrounded+threshold_noise+jitter+lost+refractory+time_grid"
    return BrainScaleS2(mismatch=mismatch, **({"without": off} | settings))
