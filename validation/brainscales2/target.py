"""BrainScaleS-2, an analog chip that learns in the loop, as an implementation under test.

Modelled after the code of Göltz et al. (2025), "DelGrad" (JulianGoeltz/fastAndDeep at 33e4876), and of jaxsnn
(electronicvisions/jaxsnn at 5e9bb86): the chip runs the network forward, and formulas of ideal neurons are evaluated
where its spikes were measured. The chip here is the exact solver on a perturbed network; how much its circuits scatter
is taken from the authors' own hardware-aware simulation where that says so, and a guess elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

import eventsolve as es
from eventsolve.checks import count, duration, real, seconds
from eventsolve.frozen import FrozenMapping
from eventsolve.io.records import Record, Scheme
from eventsolve.network import Network
from eventsolve.typing import Reals
from validation.brainscales2.causes import MEANINGS, NAMES, checked
from validation.brainscales2.chip import (
    Counters,
    Mismatch,
    Noise,
    lines_of,
    measure,
    mismatched,
    random,
    with_lines,
)
from validation.brainscales2.closed_forms import SLOPES, Slope
from validation.brainscales2.loop import Found, Measured, Way, check_way, gradient, layers_of, ratio_of
from validation.target import Resolution

if TYPE_CHECKING:
    from validation.diagnosis.diagnosis import Diagnosis
    from validation.diagnosis.evidence import Evidence

Flavour = Literal["delgrad", "jaxsnn"]

OF_MISMATCH = {
    "threshold": "threshold_spread",
    "tau": "tau_spread",
    "gain": "gain_spread",
    "delay": "delay_spread",
}
"""Which cause each part of a mismatch is."""
SIZES = ("threshold_mean", *OF_MISMATCH.values())


@dataclass(frozen=True)
class BrainScaleS2:
    """A noisy chip in the loop.

    It runs LIF populations without cycles that spike once (``t_ref`` at least t_end), start at rest and are alike
    within a population, over dense exponential synapses. Delays are those of circuits behind the neurons that send, one
    for each. A loss reads spikes. Weights and thresholds are in the unit in which the chip's thresholds are 2.6.

    What is drawn is drawn of ``seed`` for the chip, and of ``noise_seed`` for trials; each cause has random numbers of
    its own. A cause of size 0 is none.

    Parameters
    ----------
    seed : int
        Of the chip.
    trials : int
        How often the batch is run; the record has them all, one trial after the other.
    noise_seed : int
        Of the first trial; another batch of a training has another one.
    flavour : {"delgrad", "jaxsnn"}
        Whose way back: closed forms of first spikes with the weights before they were rounded; or EventProp, which
        divides by I - v_threshold, or by 1e-6 if that is smaller, at the rounded weights.
    slope : {"crossing", "measured", "threshold"}, optional
        Of which V' is taken at a spike: by default "crossing" of delgrad, "threshold" of jaxsnn, which has no other.
    without : sequence of str, or str
        Causes (:data:`validation.brainscales2.causes.MEANINGS`) that are left out, as text with + between them.
    weight_step, weight_max : float, int
        A weight is a multiple of ``weight_step``, at most ``weight_max`` of them.
    delay_step, delay_min, delay_max : float
        Seconds.
    threshold_mean, threshold_spread : float
        Mean and standard deviation of what is added to thresholds.
    tau_spread, gain_spread : float
        Relative standard deviations: of the time constants of a neuron, both by the same factor (a guess), and of the
        strength of a synapse (a guess).
    delay_spread : float
        Standard deviation in seconds, of a delay circuit (a guess).
    threshold_noise : float
        Standard deviation of what is added to thresholds in a trial.
    jitter : float
        Standard deviation in seconds, of a spike, and again of what a delay circuit sends.
    lost, extra : float
        Probabilities: that a spike is lost (a guess), and that a neuron seems to spike at a random time of a sample.
    refractory : float
        Seconds after which the chip's neurons may spike again.
    time_stamp : float
        Seconds, of recorded times.
    cap : float
        A sample's part in the gradient of a neuron's weights is dropped if a weight gets more, as loss per weight; inf
        for no cap. DelGrad trains with 0.2 of the mean loss of a batch in tau_syn^2, which is as many times more of a
        sample's own loss as there are samples.
    mismatch : Mismatch, optional
        The chip itself, in place of one that is drawn; causes of it that are left out are left out of it.
    """

    seed: int = 0
    trials: int = field(default=1, kw_only=True)
    noise_seed: int = field(default=0, kw_only=True)
    flavour: Flavour = field(default="delgrad", kw_only=True)
    slope: Slope | None = field(default=None, kw_only=True)
    without: str | tuple[str, ...] = field(default="", kw_only=True)
    weight_step: float = field(default=1.0 / 30.0, kw_only=True)
    weight_max: int = field(default=63, kw_only=True)
    delay_step: float = field(default=0.125e-6, kw_only=True)
    delay_min: float = field(default=8.25e-6, kw_only=True)
    delay_max: float = field(default=33.25e-6, kw_only=True)
    threshold_mean: float = field(default=0.13, kw_only=True)
    threshold_spread: float = field(default=0.08, kw_only=True)
    tau_spread: float = field(default=0.05, kw_only=True)
    gain_spread: float = field(default=0.1, kw_only=True)
    delay_spread: float = field(default=0.6e-6, kw_only=True)
    threshold_noise: float = field(default=0.04, kw_only=True)
    jitter: float = field(default=60e-9, kw_only=True)
    lost: float = field(default=0.01, kw_only=True)
    extra: float = field(default=0.0, kw_only=True)
    refractory: float = field(default=20e-6, kw_only=True)
    time_stamp: float = field(default=8e-9, kw_only=True)
    cap: float = field(default=np.inf, kw_only=True)
    mismatch: Mismatch | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        named = self.without
        if isinstance(named, str):
            named = tuple(part.strip() for part in named.split("+") if part.strip())
        object.__setattr__(self, "without", checked(named))
        for name in ("seed", "noise_seed", "trials", "weight_max"):
            least = 1 if name in ("trials", "weight_max") else 0
            if count(name, getattr(self, name)) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)!r}")
        for name, allowed in (("flavour", get_args(Flavour)), ("slope", (*SLOPES, None))):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}; got {getattr(self, name)!r}"
                )
        if self.flavour == "jaxsnn" and self.slope not in (None, "threshold"):
            raise ValueError(
                f"flavour 'jaxsnn' has slope 'threshold', I - v_threshold; got slope {self.slope!r}"
            )
        for name in ("delay_step", "delay_min", "delay_max", "time_stamp", "refractory"):
            object.__setattr__(self, name, duration(name, getattr(self, name)))
        if self.delay_max < self.delay_min:
            raise ValueError(
                f"delay_max must be at least delay_min, {self.delay_min!r} s; got {self.delay_max!r}"
            )
        sizes = {"threshold_mean": real, "delay_spread": seconds, "jitter": seconds}
        for name in (
            "weight_step", "threshold_mean", "threshold_spread", "tau_spread", "gain_spread", "delay_spread",
            "threshold_noise", "jitter", "lost", "extra", "cap",
        ):  # fmt: skip
            value = sizes.get(name, real)(name, getattr(self, name))
            if name != "cap" and not np.isfinite(value):
                raise ValueError(f"{name} must be finite; got {value!r}")
            if not (value >= 0 or name == "threshold_mean") or (
                name in ("weight_step", "cap") and not value > 0
            ):
                bound = "> 0" if name in ("weight_step", "cap") else ">= 0"
                raise ValueError(f"{name} must be {bound}; got {value!r}")
            if name in ("lost", "extra") and value > 1:
                raise ValueError(f"{name} must be a probability, at most 1; got {value!r}")
            object.__setattr__(self, name, value)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def way(self) -> Way:
        """How the gradient is taken."""
        jaxsnn = self.flavour == "jaxsnn"
        return Way(self.slope or ("threshold" if jaxsnn else "crossing"), 1e-6 if jaxsnn else 0.0, self.cap)

    @property
    def name(self) -> str:
        """Of the implementation and its settings, where they are not the defaults."""
        chip = f"chip {self.seed}" if self.mismatch is None else "a known chip"
        parts = [f"BrainScaleS-2, {chip}, {self.flavour}, slope {self.way.slope}"]
        if self.trials > 1:
            parts.append(f"{self.trials} trials")
        if self.noise_seed:
            parts.append(f"noise {self.noise_seed}")
        if self.without:
            parts.append("ideal" if not self.causes() else f"without {' and '.join(self.without)}")
        return ", ".join(parts)

    def causes(self) -> Mapping[str, str]:
        """Return what each cause that is in place does, by name."""
        return {name: text for name, text in MEANINGS.items() if self.has(name)}

    def has(self, cause: str) -> bool:
        """Return whether a cause is in place."""
        if cause in self.without:
            return False
        if cause == "unrounded":
            return self.flavour == "delgrad"
        if self.mismatch is not None:
            if cause == "threshold_mean":
                return False  # it is in the threshold of each
            for part, name in OF_MISMATCH.items():
                if name == cause:
                    return bool(getattr(self.mismatch, part))
        return cause in ("weight_grid", "delay_grid", "refractory", "time_grid") or bool(getattr(self, cause))

    def kept(self) -> tuple[str, ...]:
        """Return nothing: none of them is how the network is meant."""
        return ()

    def with_causes(self, on: Iterable[str]) -> BrainScaleS2:
        """Return the same chip with some causes in place and all others left out.

        Raises
        ------
        ValueError
            If a name is not one of a cause.
        """
        chosen = set(checked(on))
        return replace(self, without=tuple(name for name in NAMES if name not in chosen))

    def resolution(self, network: Network) -> Resolution:
        """Return the step of recorded times, no steps of transport, and the step of weights.

        Spikes scatter besides, by much more than a step: so wide as to count is a time constant.
        """
        taus = [
            p.parameter("tau_mem").max(initial=0.0)
            for p in network.populations.values()
            if p.neuron is not None
        ]
        return Resolution(
            self.time_stamp if self.has("time_grid") else 0.0,
            dict.fromkeys(network.projections, 0),
            quantum=self.weight_step if self.has("weight_grid") else float(np.finfo(np.float64).eps),
            floating=not self.has("weight_grid"),
            spread=float(max(taus, default=0.0)),
        )

    def drawn(self, network: Network) -> Mismatch:
        """Return how this chip differs from its data sheet, where a network is on it."""
        if self.mismatch is not None:
            self.mismatch.check(network)
            left_out: dict[str, Any] = {
                part: {} for part, cause in OF_MISMATCH.items() if not self.has(cause)
            }
            return replace(self.mismatch, **left_out)

        def normal(what: str, place: object, shape: int | tuple[int, ...]) -> Reals:
            return np.asarray(random(self.seed, what, str(place)).standard_normal(shape))

        size = {name: getattr(self, name) if self.has(name) else 0.0 for name in SIZES}
        own = [p for p in network.populations.values() if p.neuron is not None]
        return Mismatch(
            threshold={
                p.name: size["threshold_mean"]
                + size["threshold_spread"] * normal("threshold", p.name, p.size)
                for p in own
            },
            tau={p.name: 1.0 + size["tau_spread"] * normal("tau", p.name, p.size) for p in own},
            gain={
                key: 1.0 + size["gain_spread"] * normal("gain", key, np.asarray(p.weight).shape)
                for key, p in network.projections.items()
            },
            delay={
                name: size["delay_spread"] * normal("delay", name, delays.size)
                for name, delays in lines_of(network).items()
            },
        )

    def programmed(self, network: Network) -> Network:
        """Return the network as it is programmed: weights and delays to the nearest that the chip has.

        Raises
        ------
        ValueError
            As :meth:`run`.
        """
        self._place(network)
        return self._programmed(network)

    def _programmed(self, network: Network) -> Network:
        lines = lines_of(network)
        if self.has("weight_grid"):
            most = self.weight_max
            network = network.with_weights(
                {
                    key: np.clip(np.rint(np.asarray(p.weight) / self.weight_step), -most, most)
                    * self.weight_step
                    for key, p in network.projections.items()
                }
            )
        if self.has("delay_grid") and lines:
            network = with_lines(network, {name: self.line(delays) for name, delays in lines.items()})
        return network

    def line(self, delays: Reals) -> Reals:
        """Return delays, seconds, as circuits have them."""
        held: Reals = (
            np.rint(np.clip(delays, self.delay_min, self.delay_max) / self.delay_step) * self.delay_step
        )
        return held

    def chip(self, network: Network) -> Network:
        """Return the network that this chip really is, without noise: its exact gradient is the chip's true one.

        A weight acts times its gain: :meth:`by_programmed` gives the gradient by what was programmed.
        """
        return mismatched(self.programmed(network), self.drawn(network))

    def by_programmed(self, network: Network, weight: Mapping[Any, Reals]) -> dict[Any, Reals]:
        """Return gradients of the weights of :meth:`chip` by the programmed weights, and so times the gains."""
        gains = self.drawn(network).gain
        return {key: values * gains[key] if key in gains else values for key, values in weight.items()}

    @staticmethod
    def replay(evidence: Evidence, tolerance: float) -> Diagnosis | None:
        """Return what explains a record of such a chip; see :mod:`validation.brainscales2.replay`."""
        from validation.brainscales2.replay import found

        return found(evidence, tolerance)

    # -- what it does ---------------------------------------------------------------------------------------------

    def run(self, problem: es.Problem) -> Record:
        """Run a batch on the chip, and take the gradient in the loop.

        Parameters
        ----------
        problem : Problem

        Returns
        -------
        Record
            Of all trials, with the first spike of every neuron, and gradients of weights, delays and spike times by the
            network that was given. ``counters`` has how many spikes were lost, extra, or repeated and not recorded;
            where the ideal neuron has no crossing ("unsolved", no gradient), or V' is not > 0 ("falling"); what the cap
            dropped; and how many weights and delays are out of range.

        Raises
        ------
        ValueError
            If the chip cannot represent the network, the inputs or the loss.
        """
        whole = (
            problem
            if self.trials == 1
            else problem.select(np.tile(np.arange(problem.n_samples), self.trials))
        )
        held, measured, counters = self._trials(problem)
        spikes = {
            name: measured.trains(name)
            for name, p in problem.network.populations.items()
            if p.neuron is not None
        }
        seen = problem.network if self.has("unrounded") else held
        out_of_range = self._out_of_range(problem.network)
        record = Record.of(
            whole,
            self.name,
            spikes=spikes,
            arrivals={
                name: es.SpikeTrains.from_dense(measured.arrivals[name]) for name in lines_of(problem.network)
            },
            time_step=self.time_stamp if self.has("time_grid") else None,
            scheme=Scheme(one_spike=True, reset_between_samples=True),
            trials=self.trials,
            weights={
                "forward": {key: p.weight for key, p in held.projections.items()},
                "backward": {key: p.weight for key, p in seen.projections.items()},
            },
            counters={"lost": counters.lost, "extra": counters.extra, "repeated": counters.repeated}
            | out_of_range,
            notes=self._notes(out_of_range),
        )
        if whole.loss is None:
            return record
        values, errors = judged(whole, spikes)
        found = gradient(seen, measured, errors, self.way)
        return replace(
            record,
            loss_values=values,
            gradients=as_gradients(found, record),
            counters={
                **record.counters,
                "unsolved": found.unsolved,
                "falling": found.falling,
                "dropped": found.dropped,
            },
        )

    def measured(self, problem: es.Problem) -> tuple[Measured, Counters]:
        """Return what is recorded of all trials of a batch, and what happened on the way."""
        return self._trials(problem)[1:]

    def _trials(self, problem: es.Problem) -> tuple[Network, Measured, Counters]:
        """Return the network as it is programmed, what is recorded, and what happened."""
        network = problem.network
        self.check(problem)
        held = self._programmed(network)
        chip = mismatched(held, self.drawn(network))
        noise = Noise(
            threshold=self.threshold_noise if self.has("threshold_noise") else 0.0,
            jitter=self.jitter if self.has("jitter") else 0.0,
            lost=self.lost if self.has("lost") else 0.0,
            extra=self.extra if self.has("extra") else 0.0,
            t_ref=self.refractory if self.has("refractory") else None,
            time_stamp=self.time_stamp if self.has("time_grid") else 0.0,
        )
        counters = Counters()
        runs = [
            measure(
                chip, problem.inputs, problem.t_end, noise, (self.noise_seed + trial, self.seed), counters
            )
            for trial in range(self.trials)
        ]
        spikes, arrivals = (
            {name: np.concatenate([getattr(run, what)[name] for run in runs]) for name in network.populations}
            for what in ("spikes", "arrivals")
        )
        return held, Measured(spikes, arrivals), counters

    def _notes(self, out_of_range: Mapping[str, int]) -> list[str]:
        bounds = {
            "weights_out_of_range": f"{self.weight_max * self.weight_step:.6g}",
            "delays_out_of_range": f"{self.delay_min!r} to {self.delay_max!r} s",
        }
        return [
            f"{many} {what.partition('_')[0]} are beyond what the chip holds, {bounds[what]}, and held at its end"
            for what, many in out_of_range.items()
            if many
        ]

    def _out_of_range(self, network: Network) -> dict[str, int]:
        found = {}
        if self.has("weight_grid"):
            most = (self.weight_max + 0.5) * self.weight_step
            found["weights_out_of_range"] = int(
                sum(np.count_nonzero(np.abs(p.weights) > most) for p in network.projections.values())
            )
        if self.has("delay_grid"):
            low, high = self.delay_min - self.delay_step / 2, self.delay_max + self.delay_step / 2
            found["delays_out_of_range"] = int(
                sum(np.count_nonzero((d < low) | (d > high)) for d in lines_of(network).values())
            )
        return found

    def _place(self, network: Network) -> None:
        """Raise a ValueError that says what of a network the chip cannot hold, if there is something."""
        for names in layers_of(network):
            if len(names) > 1 or any(p.pre == p.post for p in network.afferents(names[0])):
                raise ValueError(
                    f"a network on the chip must have no cycle; got one through {', '.join(names)}"
                )
        for key, p in network.projections.items():
            if not isinstance(p.weight, np.ndarray):
                raise ValueError(f"weights on the chip are dense; that of {key} is sparse")
            if p.synapse != "exponential":
                raise ValueError(f"synapses on the chip are exponential; those of {key} are {p.synapse}")
        for population in network.populations.values():
            neuron = population.neuron
            if neuron is None:
                continue
            if not neuron.spiking:
                raise ValueError(f"the chip records spikes, no voltages; {population.name!r} is LI")
            ratio_of(population)
            for name in ("v_initial", "i_initial"):
                rest = population.parameter("v_leak") if name == "v_initial" else 0.0
                if (population.parameter(name) != rest).any():
                    raise ValueError(
                        f"neurons on the chip start at rest; {name} of {population.name!r} is not there"
                    )
        check_way(network, self.way.slope)
        lines_of(network)

    def check(self, problem: es.Problem) -> None:
        """Raise a ValueError that says what the chip cannot represent, if there is something."""
        network = problem.network
        self._place(network)
        for name, population in network.populations.items():
            if population.neuron is None:
                given = problem.inputs.get(name)
                if given is None or given.n_neurons != population.size:
                    raise ValueError(
                        f"inputs must have spikes of {population.size} neurons of {name!r}; got "
                        f"{'none' if given is None else given.n_neurons}"
                    )
            elif (population.parameter("t_ref") < problem.t_end).any():
                raise ValueError(
                    f"neurons on the chip count once in a sample, by a long refractory period: t_ref of {name!r} must "
                    f"be at least t_end, {problem.t_end!r} s; got {float(population.parameter('t_ref').min())!r} s"
                )


@dataclass(frozen=True, eq=False)
class _Spikes:
    """What a loss asks of a solution, where only spikes were recorded."""

    network: Network
    spikes: Mapping[str, es.SpikeTrains]
    n_samples: int
    t_end: float
    t_start = 0.0
    stopped = None

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"the chip records spikes, and no voltages; the loss asks for {name}")


def judged(problem: es.Problem, spikes: Mapping[str, es.SpikeTrains]) -> tuple[Reals, dict[str, Reals]]:
    """Return each sample's loss, and dL/dt of first spikes by population, (n_samples, n_neurons).

    Raises
    ------
    ValueError
        If the loss reads anything but spikes, or refuses silent neurons.
    """
    assert problem.loss is not None
    seen = _Spikes(problem.network, FrozenMapping(spikes), problem.n_samples, problem.t_end)
    evaluation = problem.loss.evaluate(cast(Any, seen))
    errors = {}
    for name, values in evaluation.spike_times.items():
        trains = spikes[name]
        dense = np.zeros((trains.n_samples, trains.n_neurons))
        np.add.at(dense, (trains.samples, trains.neurons), values)
        errors[name] = dense
    return evaluation.values, errors


def as_gradients(found: Found, record: Record) -> dict[str, Any]:
    """Return a gradient in the layout of a record."""
    return {
        "weight": found.weight,
        "delay": found.delay,
        "spike_times": {
            name: found.spike_times[name][trains.samples, trains.neurons, trains.slots()]
            for name, trains in record.trains.items()
        },
    }
