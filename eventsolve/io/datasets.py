"""Data sets that can be generated, their encodings as spikes, and initial weights of networks for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import duration, index_vector, real_array, seconds
from eventsolve.frozen import Frozen
from eventsolve.spiketrains import SpikeTrains

_RADIUS, _DOT_RADIUS = 0.5, 0.1


@dataclass(frozen=True, eq=False, repr=False)
class YinYang(Frozen):
    """Points of the Yin-Yang data set (Kriener, Göltz & Petrovici 2022, NICE '22).

    Attributes
    ----------
    points : ndarray of float64, (n_samples, 4)
        x, y, 1 - x, 1 - y of points in the disk of radius 0.5 around (0.5, 0.5); no unit.
    labels : ndarray of int64, (n_samples,)
        0 and 1 for the two halves (1 holds most of the part above y = 0.5), 2 for the dots, as in the data
        set's published code.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        points, labels = _coordinates(self.points), index_vector("labels", self.labels, 3)
        if points.shape != (labels.size, 4):
            raise ValueError(
                f"points must have shape (n_samples, 4), with a label each; got {points.shape} and {labels.size} labels"
            )
        vars(self).update(points=points, labels=labels)
        super().__post_init__()


def yin_yang(n_samples: int, seed: int = 42) -> YinYang:
    """Draw points by the procedure of the data set's published code: its seeds give its points.

    For every sample a class is drawn from three with equal probability, then points of the unit square until
    one lies in the disk and in that class. The published sets use the seeds 42 (training), 41 (validation)
    and 40 (test).

    Parameters
    ----------
    n_samples : int
        Number of points, >= 0.
    seed : int
        Of ``numpy.random.RandomState``, 0 .. 2**32 - 1.

    Raises
    ------
    ValueError
        If either is out of range.
    """
    for name, value in (("n_samples", n_samples), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"{name} must be an integer >= 0; got {value!r}")
    if seed >= 2**32:
        raise ValueError(f"seed must be below 2**32; got {seed!r}")
    random = np.random.RandomState(seed)
    points, labels = np.empty((n_samples, 4)), np.empty(n_samples, dtype=np.int64)
    for k in range(n_samples):
        labels[k] = random.randint(3)
        while True:
            x, y = random.rand(2) * 2.0 * _RADIUS
            if (
                np.sqrt((x - _RADIUS) ** 2 + (y - _RADIUS) ** 2) <= _RADIUS
                and yin_yang_class(x, y) == labels[k]
            ):
                break
        points[k] = x, y, 1.0 - x, 1.0 - y
    return YinYang(points, labels)


def yin_yang_class(x: float, y: float) -> int:
    """Return the class, 0, 1 or 2, of a point of the disk (``which_class`` of the published code)."""
    to_right = np.sqrt((x - 1.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2)
    to_left = np.sqrt((x - 0.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2)
    if to_right < _DOT_RADIUS or to_left < _DOT_RADIUS:
        return 2
    return int(
        to_right <= _DOT_RADIUS
        or _DOT_RADIUS < to_left <= 0.5 * _RADIUS
        or (y > _RADIUS and to_right > 0.5 * _RADIUS)
    )


def encode_latency(points: ArrayLike, t_min: float = 0.0, t_max: float = 30e-3) -> SpikeTrains:
    """Encode each coordinate as one spike at ``t_min + x (t_max - t_min)``; a last channel is a bias, at 0 s.

    Wunderlich & Pehle 2021: larger coordinates spike later.

    Parameters
    ----------
    points : array_like, (n_samples, n_coordinates)
        In 0..1.
    t_min, t_max : float
        Seconds, 0 <= t_min < t_max.

    Returns
    -------
    SpikeTrains
        n_coordinates + 1 neurons.
    """
    x = _coordinates(points)
    t_min, t_max = seconds("t_min", t_min), seconds("t_max", t_max)
    if not 0 <= t_min < t_max < np.inf:
        raise ValueError(
            f"t_min and t_max must be finite with 0 <= t_min < t_max; got {t_min!r} and {t_max!r}"
        )
    return _with_bias(t_min + x * (t_max - t_min))


def latency_steps(points: ArrayLike, n_steps: int = 27, first_step: int = 2) -> NDArray[np.int64]:
    """Return the step of each coordinate's one spike in a discrete latency code; a last channel is a bias.

    ``round(min(s (1 - x), 0.99 s) + first_step)`` with ``s = n_steps - 1 - first_step``, half to even; the
    bias spikes at step 0. Larger coordinates spike earlier, and x = 0 falls on the last step, which a core of
    ``n_steps`` steps never delivers. It is the linear latency code of snnTorch with normalisation, as used
    with SpiNNaker2 (Béna et al. 2024).

    Parameters
    ----------
    points : array_like, (n_samples, n_coordinates)
        In 0..1.
    n_steps, first_step : int
        Length of the code and the step of x = 1; first_step < n_steps - 1.

    Returns
    -------
    ndarray of int64, (n_samples, n_coordinates + 1)
    """
    x = _coordinates(points)
    if not 0 <= first_step < n_steps - 1:
        raise ValueError(
            f"first_step must lie in 0..n_steps - 2; got {first_step!r} with n_steps {n_steps!r}"
        )
    span = n_steps - 1 - first_step
    steps = np.round(np.minimum(span * (1.0 - x), 0.99 * span) + first_step).astype(np.int64)
    return np.concatenate([steps, np.zeros((x.shape[0], 1), np.int64)], axis=1)


def encode_steps(
    points: ArrayLike, n_steps: int = 27, first_step: int = 2, step: float = 1e-3
) -> SpikeTrains:
    """Encode with :func:`latency_steps`: spikes at ``latency_steps * step``, ``step`` in seconds."""
    step = duration("step", step)
    return SpikeTrains.from_dense(latency_steps(points, n_steps, first_step) * step)


def normal_weights(
    sizes: tuple[int, ...], moments: tuple[tuple[float, float], ...], seed: int
) -> list[NDArray[np.float64]]:
    """Draw the weights of a layered network from normal distributions.

    Parameters
    ----------
    sizes : tuple of int
        Neurons per layer, inputs first.
    moments : tuple of (mean, standard deviation)
        One pair per layer of weights, in the unit of v_threshold. Published for Yin-Yang: 5-200-3 with
        (1.5, 0.78), (0.93, 0.1) (Wunderlich & Pehle 2021); 5-120-3 with (3.2, 3.2) / sqrt(5),
        (5.2, 2.8) / sqrt(120) (Béna et al. 2024).
    seed : int
        Of ``numpy.random.default_rng``.

    Returns
    -------
    list of ndarray of float64, (n_post, n_pre)
    """
    if len(moments) != len(sizes) - 1:
        raise ValueError(
            f"moments must hold one pair per layer of weights, {len(sizes) - 1}; got {len(moments)}"
        )
    random = np.random.default_rng(seed)
    pairs = zip(sizes[:-1], sizes[1:], moments, strict=True)
    return [np.ascontiguousarray(random.normal(*m, size=(n_pre, n_post)).T) for n_pre, n_post, m in pairs]


def _coordinates(points: ArrayLike) -> NDArray[np.float64]:
    x = real_array("points", points)
    if x.ndim != 2:
        raise ValueError(f"points must have shape (n_samples, n_coordinates); got {x.shape}")
    outside = ~((x >= 0) & (x <= 1))
    if outside.any():
        k = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(f"points must lie in 0..1; points{list(k)} is {float(x[k])!r}")
    return x


def _with_bias(times: NDArray[np.float64]) -> SpikeTrains:
    return SpikeTrains.from_dense(np.concatenate([times, np.zeros((times.shape[0], 1))], axis=1))
