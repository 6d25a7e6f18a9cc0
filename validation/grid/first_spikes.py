"""The time-to-first-spike cross-entropy on steps, for programs that know no other loss."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.losses.evaluation import cross_entropy
from eventsolve.network import Network
from eventsolve.typing import Integers, Reals

Silent: TypeAlias = Literal["raise", "skip", "t_end"]


class TTFSLoss(NamedTuple):
    """What a time-stepped implementation reads of a time-to-first-spike cross-entropy; seconds."""

    population: str
    labels: Integers
    tau0: float
    tau1: float
    alpha: float
    silent: Silent


def read_loss(loss: Any, network: Network, n_samples: int) -> TTFSLoss:
    """Return the attributes of a loss, or raise a ValueError if it is another one or does not fit the network."""
    missing = [name for name in TTFSLoss._fields if not hasattr(loss, name)]
    if missing:
        raise ValueError(
            f"loss must be a time-to-first-spike cross-entropy; {type(loss).__name__} has no {', '.join(missing)}"
        )
    output = network.population(loss.population)
    if output.neuron is None:
        raise ValueError(f"the loss reads {output.name!r}, which is an input")
    labels = np.asarray(loss.labels)
    if labels.shape != (n_samples,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers of shape ({n_samples},); got {labels.dtype} of shape {labels.shape}"
        )
    if ((labels < 0) | (labels >= output.size)).any():
        raise ValueError(f"labels must lie in 0..{output.size - 1}; got {labels.min()} to {labels.max()}")
    if loss.silent not in ("raise", "skip", "t_end"):
        raise ValueError(f"silent must be 'raise', 'skip' or 't_end'; got {loss.silent!r}")
    return TTFSLoss(output.name, labels.astype(np.int64), loss.tau0, loss.tau1, loss.alpha, loss.silent)


def refuse_silent(population: str, silent: NDArray[np.bool_]) -> None:
    """Raise the ValueError for samples whose label is silent, if there are any."""
    if silent.any():
        where = np.flatnonzero(silent)
        listed = ", ".join(str(s) for s in where[:10]) + (", ..." if where.size > 10 else "")
        raise ValueError(
            f"the label's output in {population!r} is silent in {where.size} of {silent.size} samples ({listed}), "
            "where the loss is not defined; choose silent='skip' or silent='t_end' to go on without them"
        )


def first_spike_loss(loss: TTFSLoss, first: Reals, t_end: float) -> tuple[Reals, Reals]:
    """Return t_y/tau0 + ln sum exp(-t/tau0) + alpha (exp(t_y/tau1) - 1) of each sample, and its derivative by t.

    Parameters
    ----------
    loss : TTFSLoss
    first : ndarray of float64, (n_samples, n_neurons)
        First spike times in seconds, inf where silent.
    t_end : float
        Seconds: what a silent output counts as under the policy "t_end", without a derivative.

    Returns
    -------
    values : ndarray of float64, (n_samples,)
    slopes : ndarray of float64, (n_samples, n_neurons)
        1/s.
    """
    silent = np.isinf(first)
    first = np.where(silent, t_end, first) if loss.silent == "t_end" else first.copy()
    rows = np.arange(len(first))
    missing = np.isinf(first[rows, loss.labels])
    if loss.silent == "raise":
        refuse_silent(loss.population, missing)
    first[missing] = 0.0
    label = first[rows, loss.labels]
    values, by_score = cross_entropy(-first / loss.tau0, np.asarray(loss.labels))
    values += loss.alpha * np.expm1(label / loss.tau1)
    slopes = -by_score / loss.tau0
    slopes[rows, loss.labels] += loss.alpha / loss.tau1 * np.exp(label / loss.tau1)
    slopes[silent | missing[:, None]] = 0.0
    return np.where(missing, 0.0, values), slopes
