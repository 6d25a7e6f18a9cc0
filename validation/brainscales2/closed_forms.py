r"""First spikes of ideal neurons, and their derivatives, in closed form: the formulas of Göltz et al. (2021, 2025).

They hold for a neuron that starts at rest and counts once. Times are in tau_syn; weights are eventsolve's, which are
``tau_mem / tau_syn`` times those of the papers; c = v_threshold - v_leak. Over the inputs i that came before the spike,

    tau_mem = tau_syn:    A = sum w e^t_i,  B = sum w t_i e^t_i,   t = B/A - W,  W = W0(-(c/A) e^(B/A))
    tau_mem = 2 tau_syn:  a1 = sum w e^t_i, a2 = sum w e^(t_i/2),  t = 2 log(2 a1 / (a2 + S)),  S = sqrt(a2^2 - 4 a1 c)

With the kernel K of an input, its derivative K', and V' where the spike is,

    dt/dw_i = -K(t - t_i) / V',      dt/dt_i = w_i K'(t - t_i) / V'

and the papers' 1 + W and S are V' at the crossing that the formula itself finds.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from eventsolve.typing import Reals

Slope = Literal["crossing", "measured", "threshold"]
SLOPES: tuple[Slope, ...] = get_args(Slope)
RATIOS = (1.0, 2.0)
"""tau_mem / tau_syn for which a first spike has a closed form here."""


def first_spikes(arrivals: Reals, weights: Reals, level: Reals, ratio: float, *, added: float = 0.0) -> Reals:
    """Return when neurons at rest reach their threshold first.

    Parameters
    ----------
    arrivals : ndarray, (n_samples, n_inputs) or (n_samples, n_inputs, n_neurons)
        In tau_syn; inf for an input that never comes.
    weights : ndarray, (n_inputs, n_neurons)
    level : ndarray, () or (n_neurons,)
        v_threshold - v_leak, > 0.
    ratio : float
        tau_mem / tau_syn, 1 or 2.
    added : float
        What DelGrad's code adds to A, B, a1 and a2, in its own unit of weights: 1e-6 there.

    Returns
    -------
    ndarray, (n_samples, n_neurons)
        In tau_syn; inf where there is no spike.

    Raises
    ------
    ValueError
        If there is no closed form for the ratio.
    """
    times, w = _sorted(arrivals, weights)
    before = np.where(np.isfinite(times), times, 0.0)
    w = np.where(np.isfinite(times), w, 0.0)
    found, _ = _crossings(before, w, level, ratio, added)
    following = np.concatenate([times[:, 1:], np.full_like(times[:, :1], np.inf)], axis=1)
    consistent = np.isfinite(times) & (found >= times) & (found <= following)
    which = np.argmax(consistent, axis=1)[:, None]
    first: Reals = np.where(consistent.any(axis=1), np.take_along_axis(found, which, axis=1)[:, 0], np.inf)
    return first


def _sorted(arrivals: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """Return arrivals in their order and the weights that come with them, (n_samples, n_inputs, n_neurons) each."""
    times = arrivals if arrivals.ndim == 3 else arrivals[:, :, None]
    times = np.broadcast_to(times, (times.shape[0], *weights.shape))
    order = np.argsort(times, axis=1, kind="stable")
    return np.take_along_axis(times, order, axis=1), np.take_along_axis(
        np.broadcast_to(weights, times.shape), order, axis=1
    )


def _crossings(
    times: Reals, weights: Reals, level: Reals, ratio: float, added: float = 0.0
) -> tuple[Reals, Reals]:
    """Return the crossing after each prefix of inputs, (n_samples, n_inputs, n_neurons), and exp(t) V' at it.

    Of ratio 2 that is exp(t/2) V', the papers' S. Without a rising crossing the first is inf, and the second NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if ratio == 1.0:
            a = np.cumsum(weights * np.exp(times), axis=1) + added
            b = np.cumsum(weights * times * np.exp(times), axis=1) + added
            argument = -(level / a) * np.exp(b / a)
            real = (a > 0) & (argument >= -np.exp(-1.0))
            w = lambertw(np.where(real, argument, 0.0)).real
            return np.where(real, b / a - w, np.inf), np.where(real, a * (1.0 + w), np.nan)
        if ratio == 2.0:
            half = weights / 2.0  # in the unit of the papers, in which the level is halved, too
            a1 = np.cumsum(half * np.exp(times), axis=1) + added
            a2 = np.cumsum(half * np.exp(times / 2.0), axis=1) + added
            radicand = a2**2 - 2.0 * a1 * level
            real = (a1 > 0) & (a2 > 0) & (radicand >= 0)
            s = np.sqrt(np.where(real, radicand, np.nan))
            return np.where(real, 2.0 * np.log(2.0 * a1 / (a2 + s)), np.inf), s
    raise ValueError(f"a first spike has a closed form for tau_mem / tau_syn of 1 and 2; got {ratio!r}")


def kernel(since: Reals, ratio: float) -> tuple[Reals, Reals, Reals]:
    """Return what an input of weight 1 adds to V, to V' and to I, so many tau_syn after it arrived.

    V' is per tau_syn; ``since`` must be >= 0.
    """
    current = np.exp(-since)
    if ratio == 1.0:
        return since * current, (1.0 - since) * current, current
    slow = np.exp(-since / ratio)
    return (slow - current) / (ratio - 1.0), (current - slow / ratio) / (ratio - 1.0), current


def slopes(
    arrivals: Reals,
    weights: Reals,
    spikes: Reals,
    causal: NDArray[np.bool_],
    level: Reals,
    ratio: float,
    kind: Slope,
) -> Reals:
    """Return V' at given spikes, as a way of computing it has it.

    "measured" takes V and I of the model at the measured time; "threshold" the model's I there, and the threshold for
    V; "crossing" where the model itself crosses after the same inputs, as DelGrad's 1 + W and S.

    Parameters
    ----------
    arrivals : ndarray, (n_samples, n_inputs, n_neurons)
        In tau_syn, finite where causal.
    weights : ndarray, (n_inputs, n_neurons)
    spikes : ndarray, (n_samples, n_neurons)
        In tau_syn, finite.
    causal : ndarray of bool, (n_samples, n_inputs, n_neurons)
        Which inputs came before the spike.
    level : ndarray, (n_neurons,)
    ratio : float
    kind : {"crossing", "measured", "threshold"}

    Returns
    -------
    ndarray, (n_samples, n_neurons)
        Per tau_syn; NaN where the model has no crossing.
    """
    since = np.where(causal, spikes[:, None] - arrivals, 0.0)
    seen = np.where(causal, weights, 0.0)
    if kind == "crossing":
        times = np.where(causal, arrivals, 0.0)
        latest = spikes[:, None, :]
        _, found = _crossings(np.where(causal, times - latest, 0.0), seen, level, ratio)
        return found[:, -1]  # relative to the measured time, so that exp(t) at it is 1
    _, rise, current = kernel(since, ratio)
    if kind == "measured":
        total: Reals = (seen * rise).sum(axis=1)
        return total
    drawn: Reals = ((seen * current).sum(axis=1) - level) / ratio
    return drawn
