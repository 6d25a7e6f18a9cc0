"""spread(): how far spikes and a loss vary from chip to chip, to first order, before there is a chip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eventsolve.adjoint import require_solution
from eventsolve.checks import shown
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.jobs import advancing, bar_of
from eventsolve.losses import Loss
from eventsolve.patterns import Pattern, direction_of
from eventsolve.reductions import USUAL, Reduction
from eventsolve.shown import Summary, ms
from eventsolve.solution import Solution
from eventsolve.tangents import jvp
from eventsolve.typing import Direction, Reals


@dataclass(frozen=True, eq=False, repr=False)
class Spread(Frozen):
    """Standard deviations of what a solution gives.

    Attributes
    ----------
    spike_times : mapping of population to ndarray of float64, (n_spikes,)
        In seconds, in the order of ``solution.spikes``.
    loss : float, ndarray of float64, (n_samples,), or None
        Of the loss as it is reduced, None without one.
    solution : Solution
    """

    spike_times: Mapping[str, Reals]
    loss: float | Reals | None
    solution: Solution = field(repr=False)

    def __post_init__(self) -> None:
        require_solution(self.solution)
        self.solution.require_times("spike_times", self.spike_times)
        self.solution.require_losses("loss", self.loss)
        super().__post_init__()

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [
            (
                name,
                f"median {ms(float(np.median(sd)))}, largest {ms(float(sd.max()))}"
                if sd.size
                else "no spikes",
            )
            for name, sd in self.spike_times.items()
        ]
        if self.loss is not None:
            rows.append(("loss", f"{float(np.max(self.loss)):.3g}" if np.size(self.loss) else "no samples"))
        return "Spread (standard deviations)", rows


def spread(
    solution: Solution,
    of: Direction | Sequence[Direction],
    loss: Loss | None = None,
    *,
    reduction: Reduction = USUAL,
    threads: int | None = None,
    progress: bool = False,
) -> Spread:
    """Return how far every spike time, and a loss, vary with the numbers of a network, to first order and exactly.

    The variance of a spike time is d^T C d, with the covariance C of the numbers and the derivatives d of the time with
    respect to them. It holds for variations so small that no spike appears, vanishes or changes places:
    ``trust_radius`` says how small that is, and larger ones have to be sampled.

    Parameters
    ----------
    solution : Solution
    of : mapping, or sequence of mappings
        The standard deviation of every number, each varying by itself: ``{"tau_mem": {"hidden": 1e-3}}``, as
        :func:`jvp` takes directions. Or the covariance as C = sum of l l^T over causes l, each a direction with what
        it moves together, such as the temperature of a chip, or ``calibration.directions()``.
    loss : Loss, optional
    reduction : {"mean", "sum", "none"}
        Of the loss over the batch, as in :func:`value_and_grad`: the chip is the same for all samples.
    threads : int, optional
        As in ``solve``.
    progress : bool
        Whether to show a progress bar of the causes on stderr.

    Returns
    -------
    Spread

    Raises
    ------
    TypeError, ValueError, UndefinedGradientError
        As :func:`jvp`, which is called once for every cause, or once for every single number that varies.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[9.0]])
    >>> solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 20e-3)
    >>> found = es.spread(solution, {"v_threshold": {"out": 0.05}, "tau_mem": {"out": 1e-3}})
    >>> [round(sd * 1e3, 3) for sd in found.spike_times["out"][:1].tolist()]  # in ms
    [0.374]
    """
    require_solution(solution)
    variances = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    of_loss: Any = 0.0
    causes: Iterable[Direction]
    if isinstance(of, Mapping):
        varying = direction_of(solution, of)
        causes = _single(solution, varying)
        n_causes = sum(
            int(np.count_nonzero(sizes)) for by_key in varying.values() for sizes in by_key.values()
        )
    else:
        causes = _causes(of)
        n_causes = len(of)
    with advancing(bar_of(progress, "differentiating", n_causes)) as advance:
        for cause in causes:
            moved = jvp(solution, cause, loss, reduction=reduction, threads=threads)
            for name, dt in moved.spike_times.items():
                variances[name] += dt**2
            if moved.loss is not None:
                of_loss = of_loss + moved.loss**2
            advance(1)
    return Spread(
        FrozenMapping({name: np.sqrt(variance) for name, variance in variances.items()}),
        None if loss is None else np.sqrt(of_loss),
        solution,
    )


def _causes(of: object) -> Sequence[Direction]:
    if isinstance(of, str) or not isinstance(of, Sequence):
        raise TypeError(
            f"of must be a mapping of standard deviations, or a sequence of directions; got {shown(of)}"
        )
    return of


def _single(solution: Solution, varying: Pattern) -> Iterator[Direction]:
    """Yield a direction for every number that varies, of so far as its standard deviation."""
    for name, by_key in varying.items():
        for key, sizes in by_key.items():
            flat = np.asarray(sizes).reshape(-1)
            for k in np.flatnonzero(flat):
                step = np.zeros(flat.size)
                step[k] = flat[k]
                yield {name: {key: _shaped(solution, name, key, step)}}


def _shaped(solution: Solution, name: str, key: Any, values: Reals) -> Any:
    """Return numbers as a direction has them: of synapses like the weight."""
    return solution.network.projections[key].shaped(values) if name in ("weight", "delay") else values
