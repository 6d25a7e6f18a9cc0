"""calibrate(): which parameters explain spikes that were measured, how well they are known, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import flag, instance, real, require_mapping, require_one_of, seconds, shown
from eventsolve.free_numbers import (
    FACTORS,
    Number,
    Undetermined,
    bounds_of,
    checked_populations,
    direction_of_numbers,
    flat,
    jacobian_of,
    jacobian_of_reach,
    late_spikes,
    levels_of,
    moved_network,
    numbers_of,
    reach_of,
    sizes_of,
    undetermined,
)
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.jobs import advancing, bar_of
from eventsolve.kinds import require_shapes
from eventsolve.matched_spikes import (
    among,
    chosen,
    firsts,
    free_for,
    from_first,
    joined_spikes,
    none_of,
    without_early,
)
from eventsolve.network import LARGEST, Network
from eventsolve.observe import Observation, observe
from eventsolve.shown import Summary, several
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Booleans, Direction, Reals

ROUNDS = 12
"""How often lost and extra spikes are looked for at most."""
FAR = 6.0
"""Of how many standard deviations a residual is that no noise makes."""


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Frozen):
    """What :func:`calibrate` finds.

    Attributes
    ----------
    network : Network
        With the numbers that were found.
    names : tuple of str, (n,)
    values, errors : ndarray of float64, (n,)
        Of each free number: a factor of time constants and gains, and a shift (in its own unit) of everything else,
        with its standard error. The error is inf where the spikes cannot tell the number at all.
    covariance : ndarray of float64, (n, n)
        Of the shifts and of the logarithms of the factors, in what the spikes can tell.
    undetermined : tuple of Undetermined
    observation : Observation
        Of the measured spikes, as they were taken, along the calibrated network.
    lost, extra : mapping of population to SpikeTrains
        Spikes that the network makes and that were not measured, put where it makes them; and measured ones that no
        network near makes, which were left out, those within a refractory period among them.
    noise : float
        The standard deviation of what is left of the residuals, in the unit of the voltage, or in the given noise.
    n_spikes : int
        How many spikes were taken: residuals that the numbers make as small as they can.
    """

    network: Network
    names: tuple[str, ...]
    values: Reals
    errors: Reals
    covariance: Reals
    undetermined: tuple[Undetermined, ...]
    observation: Observation
    lost: Mapping[str, SpikeTrains]
    extra: Mapping[str, SpikeTrains]
    noise: float
    n_spikes: int
    _numbers: tuple[Number, ...] = field(repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, _numbers="n", names="n", values="n", errors="n", covariance="n n")

    def directions(self) -> list[Direction]:
        """Return the uncertainty as directions, as :func:`eventsolve.spread` takes them: one for each that is told."""
        size, axes = np.linalg.eigh(self.covariance)
        found: list[Direction] = []
        for variance, axis in zip(size, axes.T, strict=True):
            if variance > 1e-30 * size[-1]:
                found.append(direction_of_numbers(self.network, self._numbers, math.sqrt(variance) * axis))
        return found

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [
            (name, f"{'x ' if quantity.quantity in FACTORS else ''}{value:.6g} +- {error:.2g}")
            for name, value, error, quantity in zip(
                self.names, self.values, self.errors, self._numbers, strict=True
            )
        ]
        rows += [("(cannot be told)", str(direction)) for direction in self.undetermined]
        beside = [sum(t.n_spikes for t in kind.values()) for kind in (self.lost, self.extra)]
        rows.append(("(spikes)", f"{self.n_spikes} taken, {beside[0]} lost, {beside[1]} extra"))
        rows.append(("(noise)", f"{self.noise:.3g}"))
        return f"Calibration({several(len(self.names), 'number')})", rows


def calibrate(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    spikes: Mapping[str, SpikeTrains],
    t_end: float,
    free: Mapping[str, str] | Collection[str],
    *,
    of: Collection[str] | None = None,
    time_noise: float = 0.0,
    voltage_noise: float | None = None,
    loss: Literal["linear", "soft_l1", "cauchy"] = "soft_l1",
    unmatched: bool = True,
    threads: int | None = None,
    progress: bool = False,
) -> Calibration:
    """Find the parameters with which a network makes the measured spikes.

    Along the measured spikes (:func:`eventsolve.observe`) each spike says V = v_threshold: the parameters are those
    with the least squares of the residuals V - v_threshold, each divided by its noise. As V at a spike follows from
    spikes that were measured, not from ones that the model makes, errors do not pile up from spike to spike and from
    layer to layer, and no spike appears or vanishes while parameters move.

    Parameters
    ----------
    network : Network
        What is believed about the chip: its data sheet.
    inputs, spikes : mapping of str to SpikeTrains
        As in :func:`eventsolve.observe`. Populations whose spikes are not given are solved.
    t_end : float
        Seconds.
    free : mapping of str to str, or collection of str
        Which quantities are free, and whether each ``"neuron"`` (a gain or delay: of all its synapses of one
        projection), ``"layer"`` (a population or projection), the ``"chip"``, or of gains and delays each ``"source"``
        (neuron that sends) or ``"synapse"`` has its own. Quantities are factors of tau_mem, tau_syn and gain (of
        weights), and shifts of v_threshold, v_reset, v_leak, v_initial, i_initial, t_ref and delay; and ``"latency"``
        (of neurons), seconds from a crossing to the spike that was measured, sent and reset by, which is no part of
        the network: half a step of an implementation that looks at the threshold once per step. Names alone are free
        per layer.
    of : collection of str, optional
        Only these populations, and projections to them; by default all whose spikes are given.
    time_noise, voltage_noise : float, optional
        Standard deviations of spike times in seconds (of a jitter, or of a grid: its step / sqrt(12)) and of
        thresholds. Both together give the noise of a spike's residual. By default times are exact, and the noise of
        thresholds is estimated from the residuals.
    loss : {"linear", "soft_l1", "cauchy"}
        As in ``scipy.optimize.least_squares``: how much residuals count that are larger than the noise.
    unmatched : bool
        Whether spikes may be lost and extra: measured ones at which V is far from any threshold are left out, and
        crossings that are far beyond it and were not reported are put in, until neither is found any more.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    progress : bool
        Whether to show a progress bar on stderr: of the fits, one for each choice of lost and extra spikes.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        As :func:`eventsolve.observe`; for unknown quantities, levels or populations; if nothing is free or there are
        fewer spikes than free numbers.

    Notes
    -----
    Standard errors are those of the least squares, from the spread of the residuals: of samples where there are at
    least ten (which allows for noise that differs between samples and is common within one), otherwise of all
    residuals.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[9.0]])
    >>> inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 11e-3, 18e-3]], [[0.0, 3e-3, 18e-3]]])}
    >>> chip = net.with_neurons({"out": es.LIF(tau_mem=22e-3, tau_syn=5e-3, v_threshold=1.1)})
    >>> spikes = es.solve(chip, inputs, 40e-3).spikes
    >>> found = es.calibrate(net, inputs, spikes, 40e-3, free=("tau_mem", "v_threshold"))
    >>> [f"{name} {value:.3f}" for name, value in zip(found.names, found.values, strict=True)]
    ['tau_mem of out 1.100', 'v_threshold of out 0.100']
    """
    require_one_of("loss", loss, ("linear", "soft_l1", "cauchy"))
    instance("network", network, Network)
    require_mapping("spikes", spikes, "population to SpikeTrains")
    time_noise = _checked_noise("time_noise", seconds("time_noise", time_noise))
    if voltage_noise is not None:
        voltage_noise = _checked_noise("voltage_noise", real("voltage_noise", voltage_noise))
    if voltage_noise == 0.0 and time_noise == 0.0:
        raise ValueError("voltage_noise must be > 0, or None to be estimated, if time_noise is 0")
    spikes, early = without_early(network, spikes) if flag("unmatched", unmatched) else (dict(spikes), {})
    first = observe(network, inputs, spikes, t_end, threads=threads)
    given = tuple(first.slopes)
    if not given:
        raise ValueError(f"spikes must be those of a population that spikes; got {shown(sorted(spikes))}")
    numbers = numbers_of(network, levels_of(free), given if of is None else checked_populations(of, given))
    fit = _Fit(network, inputs, t_end, numbers, threads, time_noise, voltage_noise, loss)
    apart = len(given) == sum(p.spiking for p in network.populations.values())
    x = np.zeros(len(numbers))
    measured = {name: spikes[name] for name in given}
    before, now = None, _Spikes(measured, {name: none_of(trains) for name, trains in measured.items()})
    with advancing(bar_of(progress, "fitting", ROUNDS)) as advance:
        for k in range(ROUNDS):
            if unmatched:
                now = fit.matched(x, measured, fit.scales(x, now))
            if now == before:
                advance(ROUNDS - k)
                break
            x = fit.solved(x, now, apart)
            before = now
            advance(1)
    extra = {
        name: joined_spikes(early.get(name, none_of(trains)), chosen(trains, ~among(trains, now.taken[name])))
        for name, trains in measured.items()
    }
    return fit.result(x, now, apart, extra)


def _checked_noise(name: str, noise: float) -> float:
    if not (noise == 0.0 or 1.0 / LARGEST <= noise <= LARGEST):  # residuals are divided by it
        raise ValueError(f"{name} must be 0, or from 2**-200 to 2**200, {LARGEST:.3g}; got {noise!r}")
    return noise


class _Spikes(NamedTuple):
    """The measured spikes that are taken, and those that are put in, by population."""

    taken: Mapping[str, SpikeTrains]
    added: Mapping[str, SpikeTrains]

    def all(self) -> dict[str, SpikeTrains]:
        return {name: joined_spikes(trains, self.added[name]) for name, trains in self.taken.items()}


@dataclass(frozen=True)
class _Fit:
    """What is fitted, and to what noise."""

    network: Network
    inputs: Mapping[str, SpikeTrains]
    t_end: float
    numbers: tuple[Number, ...]
    threads: int | None
    time_noise: float
    voltage_noise: float | None
    loss: str

    def observed(self, x: Reals, spikes: _Spikes) -> Observation:
        return observe(
            moved_network(self.network, self.numbers, x),
            self.inputs,
            spikes.all(),
            self.t_end,
            threads=self.threads,
        )

    def noise(self, observation: Observation) -> dict[str, Reals]:
        """Return what the noise of every residual is taken to be, by population; in units of its scale by default."""
        found = {}
        for name, slopes in observation.slopes.items():
            rises = self.time_noise * np.where(slopes > 0.0, slopes, 0.0)
            level = self.voltage_noise
            if level is None:  # where V hardly rises, a spike is not known without end
                level = 0.1 * float(np.median(rises)) if rises.any() else 1.0
            found[name] = np.hypot(level, rises)
        return found

    def weights(self, observation: Observation, spikes: _Spikes) -> Reals:
        """Return one over the noise of every residual, 0 for spikes that were put in and ones that arrivals trigger."""
        weights = [np.empty(0)]
        for name, noise in self.noise(observation).items():
            known = ~among(observation.spikes[name], spikes.added[name]) & ~np.isnan(observation.slopes[name])
            weights.append(np.where(known, 1.0 / noise, 0.0))
        return np.concatenate(weights)

    def residuals(self, observation: Observation, x: Reals, slopes: Reals | None = None) -> Reals:
        """Return V - v_threshold at all crossings, in the network's own unit of the voltage, in which none shrinks.

        Spikes say nothing of a unit, in which v_threshold - v_reset, gains and all else are larger or smaller: where
        these are free, smaller residuals in a smaller unit would else be taken for better ones. A neuron that is late
        crossed before its spike, when V was lower by the latency times V' (to first order), or times given slopes.
        """
        return (
            (flat(observation.residual.voltage) - self.passed(observation, x, slopes))
            * reach_of(self.network, observation)
            / reach_of(observation.network, observation)
        )

    def passed(self, observation: Observation, x: Reals, slopes: Reals | None = None) -> Reals:
        """Return how far V came from its crossing to its spike, for all spikes."""
        rises = _rises(observation) if slopes is None else slopes
        return rises * (late_spikes(observation, self.numbers) @ x)

    def jacobian(self, observation: Observation, x: Reals, slopes: Reals, apart: bool) -> Reals:
        """Return the derivatives of :meth:`residuals`, with slopes held."""
        own, nominal = reach_of(observation.network, observation), reach_of(self.network, observation)
        residuals = flat(observation.residual.voltage) - self.passed(observation, x, slopes)
        by_reach = jacobian_of_reach(observation, self.numbers) * residuals[:, None]
        by_latency = slopes[:, None] * late_spikes(observation, self.numbers)
        by_network = jacobian_of(observation, self.numbers, apart, self.threads)
        return (by_network - by_latency - by_reach / own[:, None]) * (nominal / own)[:, None]

    def scales(self, x: Reals, spikes: _Spikes) -> dict[str, Reals]:
        """Return how large each neuron's residuals are, in units of their noise: its own, or that of all if larger.

        A neuron that does not fit yet has no spikes that are far off.
        """
        observation = self.observed(x, spikes)
        weights = self.weights(observation, spikes)
        residuals, start, found = weights * self.residuals(observation, x), 0, {}
        every = _spread_of(residuals[weights > 0.0])
        for name in observation.slopes:
            trains = observation.spikes[name]
            place = slice(start, start + trains.n_spikes)
            known, who, start = weights[place] > 0.0, trains.neurons, place.stop
            found[name] = np.full(trains.n_neurons, every)
            for n in np.flatnonzero(np.bincount(who[known], minlength=trains.n_neurons) >= _ENOUGH):
                found[name][n] = max(every, _spread_of(residuals[place][known & (who == n)]))
        return found

    def bounds(self, spikes: _Spikes) -> tuple[Reals, Reals]:
        return bounds_of(self.network, self.numbers, spikes.all())

    def solved(self, x: Reals, spikes: _Spikes, apart: bool) -> Reals:
        """Return the numbers with the least squares; noise, and the slopes of late spikes, are those before."""
        from scipy.optimize import least_squares  # slow to import, and wanted here alone

        start = self.observed(x, spikes)
        weights, slopes = self.weights(start, spikes), _rises(start)
        n = int(np.count_nonzero(weights))
        if n < len(self.numbers):
            raise ValueError(
                f"free must be at most as many numbers as there are spikes: {len(self.numbers)} and {n}"
            )

        def residuals(x: Reals) -> Reals:
            return weights * self.residuals(self.observed(x, spikes), x, slopes)

        def jacobian(x: Reals) -> Reals:
            return _told(weights[:, None] * self.jacobian(self.observed(x, spikes), x, slopes, apart))

        # below it there is no noise, but rounding, and every residual counts
        floor = 1e-6 * float(np.median((weights * reach_of(self.network, start))[weights > 0.0]))
        scale = float(flat(self.scales(x, spikes)).max())
        for _ in range(3):
            if scale == 0.0:
                break
            found = least_squares(
                residuals,
                x,
                jacobian,
                bounds=self.bounds(spikes),
                x_scale="jac",
                loss=self.loss,
                f_scale=2.0 * max(scale, floor),
                xtol=1e-10,
                ftol=1e-10,
                gtol=1e-14,
                max_nfev=50,
            )
            x, before = found.x, scale
            scale = float(flat(self.scales(x, spikes)).max())
            if self.loss == "linear" or scale > 0.5 * before or scale < floor:
                break
        return x

    def matched(self, x: Reals, measured: Mapping[str, SpikeTrains], scales: Mapping[str, Reals]) -> _Spikes:
        """Return which of the measured spikes a network near the numbers makes, and those that it makes besides."""
        now = _Spikes(measured, {name: none_of(trains) for name, trains in measured.items()})
        for _ in range(ROUNDS):
            again = self.unmatched(x, now, scales)
            if again == now:
                break
            now = again
        return now

    def unmatched(self, x: Reals, spikes: _Spikes, scales: Mapping[str, Reals]) -> _Spikes:
        """Return the spikes anew: without measured ones at which V is far below, with crossings nobody reported."""
        observation = self.observed(x, spikes)
        limits = {
            name: np.maximum(FAR * scales[name][observation.spikes[name].neurons] * noise, _ROUNDING)
            for name, noise in self.noise(observation).items()
        }
        residuals = _by_population(
            observation, flat(observation.residual.voltage) - self.passed(observation, x)
        )
        # where V is far beyond the threshold a spike is lost before, but none after it is known to be
        until = {
            name: chosen(
                observation.spikes[name], ~from_first(observation.spikes[name], residual > limits[name])
            )
            for name, residual in residuals.items()
        }
        short = self.observed(x, _Spikes(until, {name: none_of(trains) for name, trains in until.items()}))
        taken, added = {}, {}
        for name, limit in limits.items():
            trains, residual = observation.spikes[name], residuals[name]
            put_in = among(trains, spikes.added[name])
            # what comes after a wrong spike is wrong by it: of each neuron only the first is taken at its word
            wrong = firsts(trains, np.abs(residual) > limit) & (residual < 0.0)
            lost, excess = short.residual.unreported[name], short.residual.excess[name]
            scale = scales[name][trains.neurons]  # 0 where all fit to the last bit
            ratio = np.divide(limit, scale, out=np.zeros_like(limit), where=scale > 0.0)
            typical = float(np.median(ratio)) if limit.size else 0.0
            missing = excess > np.maximum(typical * scales[name][lost.neurons], _ROUNDING)
            missing &= free_for(lost, trains, observation.network.population(name).parameter("t_ref"))
            taken[name] = chosen(trains, ~put_in & ~wrong)
            added[name] = joined_spikes(chosen(trains, put_in & ~wrong), chosen(lost, firsts(lost, missing)))
        return _Spikes(taken, added)

    def correction(self, x: Reals, spikes: _Spikes, apart: bool) -> Reals:
        """Return the step from the least squares to the most likely numbers, to first order.

        A threshold that is noisy moves the spike: how dense spikes are in time goes with the noise's density and with
        V', and least squares leave out the latter, which biases them in the second order of the noise.
        """
        observation = self.observed(x, spikes)
        weights, noise = self.weights(observation, spikes), flat(self.noise(observation))
        steady = (
            np.concatenate([np.empty(0), *(s > 0.0 for s in observation.slopes.values())]) * (weights > 0.0)
            > 0.0
        )
        of_threshold = 1.0 - (self.time_noise * flat(observation.slopes) / noise) ** 2
        bend = np.zeros(x.size)
        for k, step in enumerate(np.eye(x.size) * 1e-6 * sizes_of(self.network, self.numbers)):
            sides = [self.observed(x + sign * step, spikes) for sign in (1.0, -1.0)]
            logs = [
                np.log(np.abs(flat(side.slopes)[steady]) / reach_of(side.network, side)[steady])
                for side in sides
            ]
            bend[k] = float(of_threshold[steady] @ (logs[0] - logs[1])) / (2.0 * step[k])
        slopes = _rises(observation)
        jacobian = (weights[:, None] * self.jacobian(observation, x, slopes, apart))[weights > 0.0]
        scale = _spread_of((weights * self.residuals(observation, x))[weights > 0.0])
        inverse = _inverse(jacobian)[0]
        return scale**2 * inverse @ bend

    def result(self, x: Reals, spikes: _Spikes, apart: bool, extra: Mapping[str, SpikeTrains]) -> Calibration:
        x = np.clip(x + self.correction(x, spikes, apart), *self.bounds(spikes))
        observation = self.observed(x, spikes)
        weights = self.weights(observation, spikes)
        known = weights > 0.0
        residuals = (weights * self.residuals(observation, x))[known]
        jacobian = (weights[:, None] * self.jacobian(observation, x, _rises(observation), apart))[known]
        samples = np.concatenate([observation.spikes[name].samples for name in observation.slopes])[known]
        scale = _spread_of(residuals)
        covariance, blind = _uncertainty(
            jacobian, residuals, samples, observation.n_samples, scale, self.loss
        )
        errors = np.sqrt(np.diag(covariance))
        errors[(np.abs(blind) > 1e-6 * np.abs(blind).max(axis=1, initial=0.0, keepdims=True)).any(axis=0)] = (
            np.inf
        )
        factors = np.array([number.quantity in FACTORS for number in self.numbers])
        values = np.where(factors, np.exp(x), x)
        return Calibration(
            network=observation.network,
            names=tuple(number.name for number in self.numbers),
            values=values,
            errors=np.where(factors, values, 1.0) * errors,
            covariance=covariance,
            undetermined=undetermined(blind, self.numbers),
            observation=observation,
            lost=FrozenMapping(dict(spikes.added)),
            extra=FrozenMapping(
                {name: extra.get(name, none_of(trains)) for name, trains in spikes.taken.items()}
            ),
            noise=scale,
            n_spikes=residuals.size,
            _numbers=self.numbers,
        )


def _rises(observation: Observation) -> Reals:
    """Return V' at all spikes that were given, 0 where an arrival triggers one."""
    return np.nan_to_num(flat(observation.slopes), nan=0.0)


def _by_population(observation: Observation, values: Reals) -> dict[str, Reals]:
    """Return numbers of all spikes that were given, by population."""
    ends = np.cumsum([trains.n_spikes for trains in map(observation.spikes.__getitem__, observation.slopes)])
    return dict(zip(observation.slopes, np.split(values, ends[:-1]), strict=True))


def _uncertainty(
    jacobian: Reals, residuals: Reals, samples: NDArray[np.int64], n_samples: int, scale: float, loss: str
) -> tuple[Reals, Reals]:
    """Return the covariance of the numbers in what the residuals tell, and the directions of which they tell nothing.

    Of an M-estimator (Huber 1981): the inverse curvature on both sides of how much the score varies, from sample to
    sample (clusters) where there are enough of them, which allows for what is common to a sample.
    """
    inverse, blind = _inverse(jacobian)
    n, p = residuals.size, len(inverse) - len(blind)
    ratio = residuals / (2.0 * scale) if scale > 0.0 else np.zeros(n)
    scores = {
        "linear": residuals,
        "soft_l1": residuals / np.sqrt(1.0 + ratio**2),
        "cauchy": residuals / (1.0 + ratio**2),
    }[loss]
    bends = {
        "linear": np.ones(n),
        "soft_l1": (1.0 + ratio**2) ** -1.5,
        "cauchy": (1.0 - ratio**2) / (1.0 + ratio**2) ** 2,
    }[loss]
    varies = jacobian.T @ jacobian * (float(scores @ scores) / max(n - p, 1))
    if n_samples >= _ENOUGH:
        sums = np.zeros((n_samples, len(inverse)))
        np.add.at(sums, samples, jacobian * scores[:, None])
        varies = sums.T @ sums * (n_samples / (n_samples - 1) * (n - 1) / max(n - p, 1))
    inverse = inverse / float(bends.mean())
    return inverse @ varies @ inverse, blind


def _axes(jacobian: Reals) -> tuple[Reals, Reals, Reals, Reals, Booleans]:
    """Return U, s and V^T of J with columns of length 1, those lengths, and which directions J tells."""
    size = np.linalg.norm(jacobian, axis=0)
    size[size == 0.0] = 1.0
    left, singular, axes = np.linalg.svd(jacobian / size, full_matrices=False)
    return left, singular, axes, size, singular > _BLIND * singular[0]


def _told(jacobian: Reals) -> Reals:
    """Return J without the rounding along directions that it does not tell, in which numbers would drift."""
    left, singular, axes, size, told = _axes(jacobian)
    return jacobian if told.all() else left[:, told] * singular[told] @ axes[told] * size


def _inverse(jacobian: Reals) -> tuple[Reals, Reals]:
    """Return the inverse of J^T J in what J tells, and the directions that it does not tell, (n_blind, n)."""
    _, singular, axes, size, told = _axes(jacobian)
    inverse = axes[told].T / singular[told] ** 2 @ axes[told]
    return inverse / np.outer(size, size), axes[~told] / size


_ROUNDING = 1e-9
"""Of the unit of the voltage: what no residual is looked at below."""
_BLIND = 1e-9
"""Singular values, of columns of length 1, that are smaller beside the largest are no information, but rounding."""
_ENOUGH = 10
"""How many samples say how far their sums of scores vary, and how many spikes how far a neuron's residuals do."""


def _spread_of(residuals: Reals) -> float:
    """Return the standard deviation of a normal distribution with this median absolute residual."""
    return float(np.median(np.abs(residuals))) / 0.6744897501960817
