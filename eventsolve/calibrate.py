"""calibrate(): which parameters explain spikes that were measured, how well they are known, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from eventsolve.adjoint import check_choice
from eventsolve.checks import shown
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.network import TIMES, Key, Network, Projection
from eventsolve.observe import Observation, observe
from eventsolve.shown import Summary, arrow, several
from eventsolve.spiketrains import SpikeTrains

Reals = NDArray[np.float64]
Booleans = NDArray[np.bool_]

FACTORS = ("tau_mem", "tau_syn", "gain")
SHIFTS = ("v_threshold", "v_reset", "v_leak", "v_initial", "i_initial", "t_ref", "delay")
OF_SYNAPSES = ("gain", "delay")
LEVELS = ("neuron", "layer", "chip", "source", "synapse")
ROUNDS = 8
"""How often lost and extra spikes are looked for at most."""
FAR = 6.0
"""Of how many standard deviations a residual is that no noise makes."""


class Part(NamedTuple):
    """What one number moves: of a population or a projection, which neurons or synapses; ``posts`` hear of it.

    Parts with the same ``colour`` of one place touch different posts.
    """

    place: str | Key
    mask: Booleans
    posts: Booleans
    colour: int


class Number(NamedTuple):
    """A number that is free: a factor or a shift of one quantity in some places."""

    quantity: str
    name: str
    parts: tuple[Part, ...]


class Undetermined(NamedTuple):
    """A direction that the spikes cannot tell: numbers by name, with how far each goes (of its own unit) along it."""

    numbers: tuple[str, ...]
    steps: tuple[float, ...]

    def __str__(self) -> str:
        return " ".join(f"{step:+.3g} {name}" for name, step in zip(self.numbers, self.steps, strict=True))


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
        How many residuals there are.
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

    def directions(self) -> list[dict[str, dict[Any, Any]]]:
        """Return the uncertainty as directions, as :func:`eventsolve.spread` takes them: one for each that is told."""
        size, axes = np.linalg.eigh(self.covariance)
        found = []
        for variance, axis in zip(size, axes.T, strict=True):
            if variance > 1e-30 * size[-1]:
                found.append(_direction(self.network, self._numbers, math.sqrt(variance) * axis))
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
        rows.append(("(spikes)", f"{self.n_spikes} explained, {beside[0]} lost, {beside[1]} extra"))
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
) -> Calibration:
    """Find the parameters with which a network makes spikes that were measured.

    Along the measured spikes (:func:`eventsolve.observe`) each spike says V = v_threshold: the parameters are those
    with the least squares of the residuals V - v_threshold, each divided by its noise. As V at a spike follows from
    spikes that were measured, not from ones that the model makes, errors do not pile up from spike to spike and from
    layer to layer, and no spike appears or vanishes while parameters move.

    Parameters
    ----------
    network : Network
        What is believed of the chip: its data sheet.
    inputs, spikes : mapping of str to SpikeTrains
        As in :func:`eventsolve.observe`. Populations whose spikes are not given are solved.
    t_end : float
        Seconds.
    free : mapping of str to str, or collection of str
        Which quantities are free, and whether each ``"neuron"`` (a gain or delay: of all its synapses of one
        projection), ``"layer"`` (a population or projection), the ``"chip"``, or of gains and delays each ``"source"``
        (neuron that sends) or ``"synapse"`` has its own. Quantities are factors of tau_mem, tau_syn and gain (of
        weights), and shifts of v_threshold, v_reset, v_leak, v_initial, i_initial, t_ref and delay. Names alone are
        free per layer.
    of : collection of str, optional
        Only these populations, and projections to them; by default all whose spikes are given.
    time_noise, voltage_noise : float, optional
        Standard deviations of spike times in seconds (of a jitter, or of a grid: its step / sqrt(12)) and of
        thresholds. What a spike's residual may be is what both make of it. By default times are exact, and the noise
        of thresholds is estimated from the residuals.
    loss : {"linear", "soft_l1", "cauchy"}
        As of ``scipy.optimize.least_squares``: how far residuals count that are larger than the noise.
    unmatched : bool
        Whether spikes may be lost and extra: measured ones at which V is far from any threshold are left out, and
        crossings that are far beyond it and were not reported are put in, until neither is found any more.
    threads : int, optional
        As in :func:`eventsolve.solve`.

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
    Standard errors are those of the least squares: the spread of the residuals, sample by sample where there are at
    least ten (which allows for noise that is not the same for all, and is common to a sample), else of all of them.

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
    check_choice("loss", loss, ("linear", "soft_l1", "cauchy"))
    for what, noise in (("time_noise", time_noise), ("voltage_noise", voltage_noise)):
        if noise is not None and not (isinstance(noise, int | float) and 0.0 <= noise < math.inf):
            raise ValueError(f"{what} must be finite and >= 0; got {shown(noise)}")
    if voltage_noise == 0.0 and time_noise == 0.0:
        raise ValueError("voltage_noise must be > 0, or None to be estimated, if time_noise is 0")
    spikes, early = _without_early(network, spikes) if unmatched else (dict(spikes), {})
    first = observe(network, inputs, spikes, t_end, threads=threads)
    given = tuple(first.slopes)
    numbers = _numbers(network, _levels(free), given if of is None else _checked_of(of, given))
    fit = _Fit(network, inputs, t_end, numbers, threads, time_noise, voltage_noise, loss)
    apart = len(given) == sum(getattr(p.neuron, "spiking", False) for p in network.populations.values())
    x = np.zeros(len(numbers))
    taken, added = {name: spikes[name] for name in given}, {name: _nothing(spikes[name]) for name in given}
    removed = {name: early.get(name, _nothing(spikes[name])) for name in given}
    for _ in range(ROUNDS if unmatched else 1):
        now = _Spikes(taken, added)
        x, scale = fit.solved(x, now, apart)
        if not unmatched:
            break
        again = fit.unmatched(x, now, scale)
        if all(again[0][n] == taken[n] and again[1][n] == added[n] for n in given):
            break
        left_out = {name: _chosen(taken[name], ~_among(taken[name], again[0][name])) for name in given}
        removed = {name: _joined(removed[name], left_out[name]) for name in given}
        taken, added = again
    return fit.result(x, _Spikes(taken, added), apart, removed)


class _Spikes(NamedTuple):
    """The measured spikes that are taken, and those that are put in, by population."""

    taken: Mapping[str, SpikeTrains]
    added: Mapping[str, SpikeTrains]

    def all(self) -> dict[str, SpikeTrains]:
        return {name: _joined(trains, self.added[name]) for name, trains in self.taken.items()}


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
            _moved(self.network, self.numbers, x), self.inputs, spikes.all(), self.t_end, threads=self.threads
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
            known = ~_among(observation.spikes[name], spikes.added[name]) & ~np.isnan(
                observation.slopes[name]
            )
            weights.append(np.where(known, 1.0 / noise, 0.0))
        return np.concatenate(weights)

    def residuals(self, observation: Observation) -> Reals:
        """Return V - v_threshold at all spikes, in the network's own unit of the voltage, in which none shrinks.

        Spikes say nothing of a unit, in which v_threshold - v_reset, gains and all else are larger or smaller: where
        these are free, smaller residuals in a smaller unit would else be taken for better ones.
        """
        return (
            _flat(observation.residual.voltage)
            * _reach(self.network, observation)
            / _reach(observation.network, observation)
        )

    def jacobian(self, observation: Observation, apart: bool) -> Reals:
        """Return the derivatives of :meth:`residuals`."""
        own, nominal = _reach(observation.network, observation), _reach(self.network, observation)
        by_reach = (
            _jacobian_of_reach(observation, self.numbers) * _flat(observation.residual.voltage)[:, None]
        )
        return (_jacobian(observation, self.numbers, apart, self.threads) - by_reach / own[:, None]) * (
            nominal / own
        )[:, None]

    def solved(self, x: Reals, spikes: _Spikes, apart: bool) -> tuple[Reals, float]:
        """Return the numbers with the least squares, and the robust scale of what is left in units of the noise."""
        weights = self.weights(self.observed(x, spikes), spikes)
        n = int(np.count_nonzero(weights))
        if n < len(self.numbers):
            raise ValueError(
                f"free must be at most as many numbers as there are spikes: {len(self.numbers)} and {n}"
            )

        def residuals(x: Reals) -> Reals:
            return weights * self.residuals(self.observed(x, spikes))

        def jacobian(x: Reals) -> Reals:
            return weights[:, None] * self.jacobian(self.observed(x, spikes), apart)

        scale = _spread_of(residuals(x)[weights > 0.0])
        for _ in range(3):
            if scale == 0.0:
                break
            found = least_squares(
                residuals,
                x,
                jacobian,
                bounds=_bounds(self.network, self.numbers, spikes.all()),
                x_scale="jac",
                loss=self.loss,
                f_scale=2.0 * scale,
                xtol=1e-12,
                ftol=1e-12,
                gtol=1e-12,
            )
            x, before = found.x, scale
            scale = _spread_of(residuals(x)[weights > 0.0])
            if self.loss == "linear" or scale > 0.9 * before:
                break
        return x, scale

    def unmatched(
        self, x: Reals, spikes: _Spikes, scale: float
    ) -> tuple[dict[str, SpikeTrains], dict[str, SpikeTrains]]:
        """Return the spikes anew: without measured ones at which V is far below, with crossings nobody reported."""
        observation = self.observed(x, spikes)
        limits = {
            name: np.maximum(FAR * scale * noise, _ROUNDING)
            for name, noise in self.noise(observation).items()
        }
        # where V is far beyond the threshold a spike is lost before, but none after it is known to be
        until = {
            name: _chosen(
                observation.spikes[name], ~_from_first(observation.spikes[name], residual > limits[name])
            )
            for name, residual in observation.residual.voltage.items()
        }
        short = self.observed(x, _Spikes(until, {name: _nothing(trains) for name, trains in until.items()}))
        taken, added = {}, {}
        for name, limit in limits.items():
            trains, residual = observation.spikes[name], observation.residual.voltage[name]
            put_in = _among(trains, spikes.added[name])
            # what comes after a wrong spike is wrong by it: of each neuron only the first is taken at its word
            wrong = _firsts(trains, np.abs(residual) > limit) & (residual < 0.0)
            lost, excess = short.residual.unreported[name], short.residual.excess[name]
            missing = excess > (float(np.median(limit)) if limit.size else _ROUNDING)
            missing &= _free_for(lost, trains, observation.network.population(name).parameter("t_ref"))
            taken[name] = _chosen(trains, ~put_in & ~wrong)
            added[name] = _joined(_chosen(trains, put_in & ~wrong), _chosen(lost, _firsts(lost, missing)))
        return taken, added

    def correction(self, x: Reals, spikes: _Spikes, apart: bool) -> Reals:
        """Return the step from the least squares to the most likely numbers, to first order.

        A threshold that is noisy moves the spike: how dense spikes are in time goes with the noise's density and with
        V', and least squares leave out the latter, which biases them in the second order of the noise.
        """
        observation = self.observed(x, spikes)
        weights, noise = self.weights(observation, spikes), _flat(self.noise(observation))
        steady = (
            np.concatenate([np.empty(0), *(s > 0.0 for s in observation.slopes.values())]) * (weights > 0.0)
            > 0.0
        )
        of_threshold = 1.0 - (self.time_noise * _flat(observation.slopes) / noise) ** 2
        bend = np.zeros(x.size)
        for k, step in enumerate(np.eye(x.size) * 1e-6 * _sizes(self.network, self.numbers)):
            sides = [self.observed(x + sign * step, spikes) for sign in (1.0, -1.0)]
            logs = [
                np.log(np.abs(_flat(side.slopes)[steady]) / _reach(side.network, side)[steady])
                for side in sides
            ]
            bend[k] = float(of_threshold[steady] @ (logs[0] - logs[1])) / (2.0 * step[k])
        jacobian = (weights[:, None] * self.jacobian(observation, apart))[weights > 0.0]
        scale = _spread_of((weights * self.residuals(observation))[weights > 0.0])
        inverse = _inverse(jacobian)[0]
        return scale**2 * inverse @ bend

    def result(self, x: Reals, spikes: _Spikes, apart: bool, extra: Mapping[str, SpikeTrains]) -> Calibration:
        x = x + self.correction(x, spikes, apart)
        observation = self.observed(x, spikes)
        weights = self.weights(observation, spikes)
        known = weights > 0.0
        residuals = (weights * self.residuals(observation))[known]
        jacobian = (weights[:, None] * self.jacobian(observation, apart))[known]
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
            undetermined=tuple(_undetermined(direction, self.numbers) for direction in blind),
            observation=observation,
            lost=FrozenMapping(dict(spikes.added)),
            extra=FrozenMapping(
                {name: extra.get(name, _nothing(trains)) for name, trains in spikes.taken.items()}
            ),
            noise=scale,
            n_spikes=residuals.size,
            _numbers=self.numbers,
        )


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


def _inverse(jacobian: Reals) -> tuple[Reals, Reals]:
    """Return the inverse of J^T J in what J tells, and the directions that it does not tell, (n_blind, n)."""
    size = np.linalg.norm(jacobian, axis=0)
    size[size == 0.0] = 1.0
    _, singular, axes = np.linalg.svd(jacobian / size, full_matrices=False)
    told = singular > _BLIND * singular[0]
    inverse = axes[told].T / singular[told] ** 2 @ axes[told]
    return inverse / np.outer(size, size), axes[~told] / size


_ROUNDING = 1e-9
"""Of the unit of the voltage: what no residual is looked at below."""
_BLIND = 1e-9
"""Singular values, of columns of length 1, that are smaller beside the largest are no information, but rounding."""
_ENOUGH = 10
"""How many samples say how far their sums of scores vary."""


def _spread_of(residuals: Reals) -> float:
    """Return the standard deviation of a normal distribution with this median absolute residual."""
    return float(np.median(np.abs(residuals))) / 0.6744897501960817


def _flat(by_population: Mapping[str, Reals]) -> Reals:
    return np.concatenate([np.empty(0), *by_population.values()])


def _reach(network: Network, observation: Observation) -> Reals:
    """Return v_threshold - v_reset of a network's neurons, for every spike that was given."""
    found = [np.empty(0)]
    for name in observation.slopes:
        population = network.population(name)
        reach = population.parameter("v_threshold") - population.parameter("v_reset")
        found.append(reach[observation.spikes[name].neurons])
    return np.concatenate(found)


def _jacobian_of_reach(observation: Observation, numbers: tuple[Number, ...]) -> Reals:
    """Return the derivatives of v_threshold - v_reset for every spike that was given."""
    columns = []
    for number in numbers:
        sign = {"v_threshold": 1.0, "v_reset": -1.0}.get(number.quantity, 0.0)
        of = {part.place: sign * part.mask for part in number.parts} if sign else {}
        rows = [
            of[name][trains.neurons] if name in of else np.zeros(trains.n_spikes)
            for name in observation.slopes
            for trains in [observation.spikes[name]]
        ]
        columns.append(np.concatenate([np.empty(0), *rows]))
    return np.stack(columns, axis=1)


def _sizes(network: Network, numbers: tuple[Number, ...]) -> Reals:
    """Return how large a step of each number is: 1 of a factor, the membrane time constant or the reach of a shift."""
    found = []
    for number in numbers:
        place = number.parts[0].place
        population = network.population(place[1] if number.quantity in OF_SYNAPSES else place)  # type: ignore[arg-type]
        if number.quantity in FACTORS:
            found.append(1.0)
        elif number.quantity in TIMES:
            found.append(float(population.parameter("tau_mem").min()))
        else:
            found.append(float((population.parameter("v_threshold") - population.parameter("v_reset")).min()))
    return np.array(found)


# -- the numbers that are free ---------------------------------------------------------------------------------------


def _levels(free: object) -> dict[str, str]:
    """Return the level of each quantity that is free, or raise an error that says which there are."""
    if isinstance(free, str) or not isinstance(free, Mapping | Collection):
        raise TypeError(
            f"free must be a mapping of quantity to level, or names of quantities; got {shown(free)}"
        )
    levels = dict(free) if isinstance(free, Mapping) else dict.fromkeys(free, "layer")
    for quantity, level in levels.items():
        if quantity not in (*FACTORS, *SHIFTS):
            raise ValueError(f"free must name some of {(*FACTORS, *SHIFTS)}; got {shown(quantity)}")
        levels_of_it = LEVELS if quantity in OF_SYNAPSES else LEVELS[:3]
        if level not in levels_of_it:
            raise ValueError(f"free[{quantity!r}] must be one of {levels_of_it}; got {shown(level)}")
    if not levels:
        raise ValueError(f"free must name at least one of {(*FACTORS, *SHIFTS)}")
    return levels


def _checked_of(of: Collection[str], given: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(of, str) or not set(of) <= set(given):
        raise ValueError(
            f"of must name some of the populations whose spikes are given, {given}; got {shown(of)}"
        )
    return tuple(name for name in given if name in of)


def _numbers(network: Network, levels: Mapping[str, str], names: tuple[str, ...]) -> tuple[Number, ...]:
    """Return all numbers that are free, in the order of the quantities, then of the places."""
    found: list[Number] = []
    for quantity, level in levels.items():
        places = (
            [
                (p.key, arrow(p.key), list(_of_projection(p, level)))
                for p in network.projections.values()
                if p.post in names
            ]
            if quantity in OF_SYNAPSES
            else [(name, name, list(_of_neurons(network.population(name).size, level))) for name in names]
        )
        if level == "chip":
            parts = tuple(Part(key, *pieces[0][1:]) for key, _, pieces in places)
            found.append(Number(quantity, f"{quantity} of the chip", parts))
            continue
        for key, label, pieces in places:
            for which, *part in pieces:
                found.append(Number(quantity, f"{quantity} of {label}{which}", (Part(key, *part),)))
    return tuple(found)


def _of_neurons(n: int, level: str) -> Iterator[tuple[str, Booleans, Booleans, int]]:
    """Yield which neurons a number is of: its name, the neurons, who hear of it, a colour."""
    for mask, which in (
        [(row, f"[{k}]") for k, row in enumerate(np.eye(n, dtype=bool))]
        if level == "neuron"
        else [(np.ones(n, bool), "")]
    ):
        yield which, mask, mask, 0


def _of_projection(p: Projection, level: str) -> Iterator[tuple[str, Booleans, Booleans, int]]:
    """Yield which synapses a number is of: its name, the synapses, the neurons that hear of it, and a colour."""
    n_post, n_pre = p.weight.shape
    posts = np.repeat(np.arange(n_post), np.diff(p.row_offsets))
    every = np.ones(n_post, bool)
    if level == "neuron":
        for n in range(n_post):
            yield f"[{n}]", posts == n, np.arange(n_post) == n, 0
    elif level == "source":
        for n in range(n_pre):
            yield f"[:, {n}]", p.sources == n, every, n
    elif level == "synapse":
        for k, (post, pre) in enumerate(zip(posts.tolist(), p.sources.tolist(), strict=True)):
            yield f"[{post}, {pre}]", np.arange(posts.size) == k, np.arange(n_post) == post, pre
    else:
        yield "", np.ones(posts.size, bool), every, 0


def _moved(network: Network, numbers: tuple[Number, ...], x: Reals) -> Network:
    """Return the network with its free numbers moved."""
    neurons: dict[str, dict[str, Reals]] = {}
    weights: dict[Key, Reals] = {}
    delays: dict[Key, Reals] = {}
    projections = network.projections
    for number, step in zip(numbers, x.tolist(), strict=True):
        for part in number.parts:
            if number.quantity == "gain":
                values = weights.setdefault(part.place, projections[part.place].weights.copy())
            elif number.quantity == "delay":
                values = delays.setdefault(part.place, projections[part.place].delay.copy())
            else:
                population = network.population(part.place)  # type: ignore[arg-type]
                of = neurons.setdefault(population.name, {})
                values = of.setdefault(number.quantity, population.parameter(number.quantity))
            values[part.mask] = (
                values[part.mask] * math.exp(step) if number.quantity in FACTORS else values[part.mask] + step
            )
    if weights:
        network = network.with_weights({key: projections[key].shaped(w) for key, w in weights.items()})
    if delays:
        network = network.with_delays(
            {key: projections[key].shaped(np.maximum(d, 0.0)) for key, d in delays.items()}
        )
    if neurons:
        network = network.with_neurons(
            {name: replace(network.population(name).neuron, **values) for name, values in neurons.items()}  # type: ignore[type-var]
        )
    return network


def _steps(network: Network, quantity: str, part: Part) -> tuple[str, Any, Reals]:
    """Return the kind, the place and how far each of its numbers goes for a step of 1 of a free number."""
    if quantity in OF_SYNAPSES:
        p = network.projections[part.place]
        return (
            ("weight", part.place, p.weights * part.mask)
            if quantity == "gain"
            else ("delay", part.place, 1.0 * part.mask)
        )
    size = network.population(part.place).parameter(quantity) if quantity in FACTORS else 1.0  # type: ignore[arg-type]
    return quantity, part.place, size * part.mask


def _direction(network: Network, numbers: tuple[Number, ...], steps: Reals) -> dict[str, dict[Any, Any]]:
    """Return how far all numbers of a network go as its free ones make these steps."""
    found: dict[str, dict[Any, Any]] = {}
    for number, step in zip(numbers, steps.tolist(), strict=True):
        for part in number.parts:
            kind, place, values = _steps(network, number.quantity, part)
            found.setdefault(kind, {})
            found[kind][place] = found[kind].get(place, 0.0) + step * values
    for kind in {"weight", "delay"} & found.keys():
        found[kind] = {key: network.projections[key].shaped(values) for key, values in found[kind].items()}
    return found


def _jacobian(
    observation: Observation, numbers: tuple[Number, ...], apart: bool, threads: int | None
) -> Reals:
    """Return the derivatives of all residuals by all free numbers, (n_spikes, n).

    A neuron whose spikes are all held, and all of whose sources' are, hears of its own numbers alone: if all
    populations are given (``apart``), those of one colour are moved together, and told apart by whose the spike is.
    """
    network, trains = observation.network, observation.spikes
    sizes = [trains[name].n_spikes for name in observation.slopes]
    starts = dict(zip(observation.slopes, np.cumsum([0, *sizes]).tolist(), strict=False))
    jacobian = np.zeros((sum(sizes), len(numbers)))
    together: dict[Any, list[tuple[int, Part]]] = {}
    for k, number in enumerate(numbers):
        for part in number.parts:
            together.setdefault(
                (number.quantity, part.place, part.colour) if apart else (k, part.place), []
            ).append((k, part))
    for group in together.values():
        quantity, place = numbers[group[0][0]].quantity, group[0][1].place
        steps = np.zeros(len(numbers))
        steps[[k for k, _ in group]] = 1.0
        direction = _direction(
            network, tuple(Number(quantity, "", (part,)) for _, part in group), np.ones(len(group))
        )
        moved = observation.residual_along(direction, threads=threads)
        if not apart:
            jacobian[:, group[0][0]] += _flat(moved)
            continue
        post = place[1] if quantity in OF_SYNAPSES else place
        rows = slice(starts[post], starts[post] + trains[post].n_spikes)
        for k, part in group:
            jacobian[rows, k] += moved[post] * part.posts[trains[post].neurons]
    return jacobian


def _bounds(
    network: Network, numbers: tuple[Number, ...], spikes: Mapping[str, SpikeTrains]
) -> tuple[Reals, Reals]:
    """Return between which limits the numbers stay: factors of e^3, and whatever makes a neuron and a delay."""
    low, high = np.full(len(numbers), -np.inf), np.full(len(numbers), np.inf)
    for k, number in enumerate(numbers):
        if number.quantity in FACTORS:
            low[k], high[k] = -3.0, 3.0
        for part in number.parts:
            if number.quantity == "delay":
                low[k] = max(low[k], -network.projections[part.place].delay[part.mask].min(initial=np.inf))
                continue
            if number.quantity not in ("v_threshold", "v_reset", "v_initial", "t_ref"):
                continue
            population = network.population(part.place)  # type: ignore[arg-type]
            of = {
                name: population.parameter(name)[part.mask]
                for name in ("v_threshold", "v_reset", "v_initial", "t_ref")
            }
            room = 0.999 * np.minimum(
                of["v_threshold"] - np.maximum(of["v_reset"], of["v_initial"]), of["v_threshold"]
            )
            if number.quantity == "v_threshold":
                low[k] = max(low[k], -room.min(initial=np.inf))
            elif number.quantity == "t_ref":
                low[k] = max(low[k], -of["t_ref"].min(initial=np.inf))
                shortest = _shortest_intervals(spikes[population.name])[part.mask]
                high[k] = min(high[k], (shortest - of["t_ref"]).min(initial=np.inf))
            else:
                high[k] = min(
                    high[k], (0.999 * (of["v_threshold"] - of[number.quantity])).min(initial=np.inf)
                )
    return low, high


def _undetermined(direction: Reals, numbers: tuple[Number, ...]) -> Undetermined:
    """Return a direction by the names of the numbers that it is made of, the largest step being 1."""
    largest = int(np.argmax(np.abs(direction)))
    steps = direction / direction[largest]
    told = np.flatnonzero(np.abs(steps) > 1e-6)
    return Undetermined(tuple(numbers[k].name for k in told), tuple(steps[told].tolist()))


# -- spikes that are lost or extra -----------------------------------------------------------------------------------


def _nothing(trains: SpikeTrains) -> SpikeTrains:
    return _chosen(trains, np.zeros(trains.n_spikes, bool))


def _chosen(trains: SpikeTrains, which: Booleans) -> SpikeTrains:
    return SpikeTrains(
        trains.times[which], trains.neurons[which], trains.samples[which], trains.n_samples, trains.n_neurons
    )


def _joined(one: SpikeTrains, other: SpikeTrains) -> SpikeTrains:
    times, neurons, samples = (
        np.concatenate([getattr(trains, column) for trains in (one, other)])
        for column in ("times", "neurons", "samples")
    )
    order = np.lexsort((neurons, times, samples))
    return SpikeTrains(times[order], neurons[order], samples[order], one.n_samples, one.n_neurons)


def _who(trains: SpikeTrains) -> list[tuple[int, int, float]]:
    return list(zip(trains.samples.tolist(), trains.neurons.tolist(), trains.times.tolist(), strict=True))


def _among(trains: SpikeTrains, others: SpikeTrains) -> Booleans:
    """Return which spikes are among others."""
    known = set(_who(others))
    return np.array([spike in known for spike in _who(trains)], dtype=bool)


def _firsts(trains: SpikeTrains, which: Booleans) -> Booleans:
    """Return which of some spikes are the first of these of their neuron and sample."""
    found = np.zeros(trains.n_spikes, bool)
    places = np.flatnonzero(which)
    of = trains.samples[places] * trains.n_neurons + trains.neurons[places]
    found[places[np.unique(of, return_index=True)[1]]] = True
    return found


def _from_first(trains: SpikeTrains, which: Booleans) -> Booleans:
    """Return which spikes are the first of some of their neuron and sample, or after it."""
    first = {(s, n): t for s, n, t in _who(_chosen(trains, _firsts(trains, which)))}
    return np.array([t >= first.get((s, n), math.inf) for s, n, t in _who(trains)], dtype=bool)


def _by_neuron(trains: SpikeTrains) -> dict[tuple[int, int], list[float]]:
    found: dict[tuple[int, int], list[float]] = {}
    for sample, neuron, time in _who(trains):
        found.setdefault((sample, neuron), []).append(time)
    return found


def _free_for(new: SpikeTrains, trains: SpikeTrains, t_ref: Reals) -> Booleans:
    """Return which spikes could be put between those that there are, without one in a refractory period."""
    times = _by_neuron(trains)
    return np.array(
        [
            all(abs(t - time) > t_ref[neuron] for t in times.get((sample, neuron), []))
            for sample, neuron, time in _who(new)
        ],
        dtype=bool,
    )


def _shortest_intervals(trains: SpikeTrains) -> Reals:
    """Return each neuron's shortest interval between two spikes, inf without any."""
    shortest = np.full(trains.n_neurons, np.inf)
    for (_, neuron), times in _by_neuron(trains).items():
        if len(times) > 1:
            shortest[neuron] = min(shortest[neuron], float(np.diff(times).min()))
    return shortest


def _without_early(
    network: Network, spikes: Mapping[str, SpikeTrains]
) -> tuple[dict[str, SpikeTrains], dict[str, SpikeTrains]]:
    """Return the spikes without those in a refractory period, which no parameters explain, and those."""
    kept, early = {}, {}
    for name, trains in spikes.items():
        known = isinstance(trains, SpikeTrains) and name in network.populations
        if not known or trains.n_neurons != network.population(name).size:
            kept[name] = trains  # for observe to refuse
            continue
        t_ref = network.population(name).parameter("t_ref").tolist()
        free: dict[tuple[int, int], float] = {}
        good = np.ones(trains.n_spikes, bool)
        for k, (sample, neuron, time) in enumerate(_who(trains)):
            good[k] = t_ref[neuron] == 0.0 or time >= free.get((sample, neuron), 0.0)
            if good[k]:
                free[sample, neuron] = time + t_ref[neuron]
        kept[name], early[name] = _chosen(trains, good), _chosen(trains, ~good)
    return kept, early
