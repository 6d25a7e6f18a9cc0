"""GeNN, as mlGeNN's EventProp compiler drives it, as an implementation under test.

Modelled after genn-team/ml_genn at 02114c3 (version 2.3.1, ``ml_genn/compilers/event_prop_compiler.py``) on
genn-team/genn at a3f45d2 (pygenn 5.4.0): Nowotny, Turner & Knight (2025), Shoesmith et al. (2025). The forward pass has
the bits of GeNN's single-threaded CPU backend, the backward pass its numbers to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import count, duration, real, seconds
from eventsolve.io.records import Record
from eventsolve.network import Network
from validation.genn.adapters import gradient_factor
from validation.genn.causes import FAULTS, MEANINGS, Causes
from validation.genn.clock import Clock, milliseconds
from validation.genn.outcome import Outcome, record_of
from validation.genn.readouts import reading_of
from validation.genn.simulation import Regulariser, Settings, simulate
from validation.genn.tables import Variant, sent_inputs, shifted
from validation.genn.tuning import tuned
from validation.grid.cost import cost
from validation.grid.steps import number_of_steps
from validation.oracle import oracle
from validation.target import Cost, Grain, Resolution

Trials = Literal["separate", "consecutive"]


@dataclass(frozen=True)
class GeNN:
    """Discretised EventProp as mlGeNN runs it on GeNN, with its faults.

    It runs LIF and LI populations in any topology, with exponential synapses, dense or sparse, delays of whole steps
    and refractory periods, and a loss on one population, which for mlGeNN is

    - ``MeanVoltageCrossEntropy`` of LI neurons: AvgVar if "uniform", AvgVarExpWeight if "exponential";
    - ``SumVoltageCrossEntropy`` of LI neurons, of its own time_step: SumVar;
    - ``MaxVoltageCrossEntropy`` of LI neurons: MaxVar;
    - ``TrajectoryMSE`` of LI neurons: Var with MeanSquareError;
    - ``FirstSpikeCrossEntropy`` of LIF neurons: FirstSpikeTime, softmax_temperature being tau0 and ttfs_alpha alpha in
      ms; also ``TTFSCrossEntropy`` without its early term;
    - ``RelativeMSE`` of LIF neurons: FirstSpikeTime with RelativeMeanSquareError.

    An LI's v_leak is mlGeNN's bias. What the real one does wrong is done alike, and can be left out: see
    :class:`validation.genn.Causes`.

    Parameters
    ----------
    time_step : float
        Seconds.
    faithful : bool
        Whether GeNN's faults are in place (:data:`validation.genn.causes.FAULTS`), or mended. The approximations of its
        scheme are in place either way.
    without : sequence of str, or str
        Further causes that are left out, as text with + between them.
    max_spikes : int
        Of mlGeNN's compiler: its ring buffers have room for one less.
    reg_lambda_upper, reg_lambda_lower : float
        Strength of the spike-count regulariser for hidden neurons above and below ``reg_nu_upper``; as in mlGeNN, it is
        added to GeNN's own gradient, which lacks the factor of its readout.
    reg_nu_upper : float
        Spikes per sample that the regulariser wishes of every hidden neuron.
    batched : bool
        Whether the samples are one batch of GeNN, by whose size it divides and over which its regulariser counts
        spikes; or each is a batch of its own. Records hold gradients of each sample's own loss either way.
    trials : {"separate", "consecutive"}
        Whether each sample is run from rest, or they follow each other in one run, and each finds what the one before
        has left in currents and ring buffers.
    variant : {"mlgenn", "genn_eventprop"}
        The compiler, or the code of Nowotny et al. (tnowotny/genn_eventprop at 7cf409a), read and not run:
        exact propagators, any time constants, and of ``MeanVoltageCrossEntropy`` every weighting (sum, sum_weigh_exp,
        sum_weigh_linear, sum_weigh_sigmoid), ``MaxVoltageCrossEntropy`` (max), ``InstantCrossEntropy`` (avg_xentropy),
        ``FirstSpikeCrossEntropy`` (first_spike) and ``TTFSCrossEntropy`` (first_spike_exp). It has no refractory
        periods, delays and biases.
    accumulator : float
        Seconds: genn_eventprop's TAU_ACCUMULATOR. Not 0, it makes of ``MeanVoltageCrossEntropy`` its sum_weigh_input,
        whose weight is a low-pass of the sample's own input activity; no loss of :mod:`eventsolve.losses` has it but,
        for a sample alone, one with that function of t/T for its weighting.
    traces : bool
        Whether the record has V and I of every step.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    """

    time_step: float
    faithful: bool = True
    without: str | tuple[str, ...] = field(default="", kw_only=True)
    max_spikes: int = field(default=500, kw_only=True)
    reg_lambda_upper: float = field(default=0.0, kw_only=True)
    reg_lambda_lower: float = field(default=0.0, kw_only=True)
    reg_nu_upper: float = field(default=0.0, kw_only=True)
    batched: bool = field(default=False, kw_only=True)
    trials: Trials = field(default="separate", kw_only=True)
    variant: Variant = field(default="mlgenn", kw_only=True)
    accumulator: float = field(default=0.0, kw_only=True)
    traces: bool = field(default=True, kw_only=True)
    threads: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))
        for name in ("faithful", "batched", "traces"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False; got {getattr(self, name)!r}")
        named = self.without
        if isinstance(named, str):
            named = tuple(part.strip() for part in named.split("+") if part.strip())
        object.__setattr__(self, "without", tuple(named))
        Causes().without(self.without)
        if count("max_spikes", self.max_spikes) < 2:
            raise ValueError(
                f"max_spikes must be at least 2, for a ring buffer with room for one; got {self.max_spikes!r}"
            )
        for name in ("reg_lambda_upper", "reg_lambda_lower", "reg_nu_upper"):
            value = real(name, getattr(self, name))
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be finite and >= 0; got {value!r}")
            object.__setattr__(self, name, value)
        if self.trials not in ("separate", "consecutive"):
            raise ValueError(f"trials must be 'separate' or 'consecutive'; got {self.trials!r}")
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}; got {self.variant!r}")
        value = seconds("accumulator", self.accumulator)
        if not 0 <= value < np.inf or (value and self.variant != "genn_eventprop"):
            raise ValueError(
                "accumulator must be finite and >= 0 s, and 0 unless variant is 'genn_eventprop', which has it; got "
                f"{value!r} with {self.variant!r}"
            )
        object.__setattr__(self, "accumulator", value)
        if self.batched and self.trials == "consecutive":
            raise ValueError("trials 'consecutive' are batches of one sample each; got batched True")

    @property
    def present(self) -> Causes:
        """What is in place."""
        return Causes().without((() if self.faithful else FAULTS) + tuple(self.without))

    def causes(self) -> Mapping[str, str]:
        """Return what each approximation and fault that is in place does, by name."""
        return {name: MEANINGS[name] for name in self.present.on}

    def faults(self) -> tuple[str, ...]:
        """Return those of its causes that its scheme does not need."""
        return tuple(name for name in FAULTS if name in self.present.on)

    @classmethod
    def variants(cls, time_step: float) -> Iterator[GeNN]:
        """Yield what a record may come from: either code, consecutive trials or not, in float32 or float64."""
        for without in ("", "single_precision"):
            for variant in get_args(Variant):
                for trials in get_args(Trials):
                    yield cls(time_step, without=without, variant=variant, trials=trials, traces=False)

    def tuned(self, problem: es.Problem, record: Record) -> Iterator[GeNN]:
        """Yield the same with other settings from which a record's gradients may come, given that its spikes do."""
        return tuned(self, problem, record)

    def kept(self) -> tuple[str, ...]:
        """Return nothing: none of them is how the network is meant."""
        return ()

    def with_causes(self, on: Iterable[str]) -> GeNN:
        """Return the same with some causes in place and all others left out.

        Raises
        ------
        ValueError
            If a name is not one of a cause.
        """
        chosen = set(on)
        Causes().without(chosen)
        left_out = tuple(name for name in Causes.names() if name not in chosen)
        return replace(self, faithful=True, without=left_out)

    def at(self, grain: Grain) -> GeNN:
        """Return the same at another time step, and in float32 (23 bits) or float64 (None).

        Raises
        ------
        ValueError
            If GeNN has no such numbers.
        """
        if grain.bits not in (None, 23):
            raise ValueError(f"bits must be 23, of float32, or None, of float64; got {grain.bits!r}")
        others = tuple(name for name in self.without if name != "single_precision")
        return replace(
            self,
            time_step=grain.time_step,
            without=others if grain.bits else (*others, "single_precision"),
        )

    @property
    def name(self) -> str:
        """Of the implementation and its settings, where they are not the defaults."""
        system = "GeNN" if self.variant == "mlgenn" else "genn_eventprop"
        parts = [f"{system}, {self.time_step * 1e3:g} ms"]
        if not self.faithful:
            parts.append("faults mended")
        if self.without:
            parts.append("without " + " and ".join(self.without))
        if self.reg_lambda_upper or self.reg_lambda_lower:
            parts.append(
                f"regulariser {self.reg_lambda_upper:g}/{self.reg_lambda_lower:g} at {self.reg_nu_upper:g}"
            )
        if self.accumulator:
            parts.append(f"accumulator {self.accumulator * 1e3:g} ms")
        if self.max_spikes != 500:
            parts.append(f"max_spikes {self.max_spikes}")
        if self.batched:
            parts.append("one batch")
        if self.trials != "separate":
            parts.append("consecutive trials")
        return ", ".join(parts)

    def resolution(self, network: Network) -> Resolution:
        """Return its step, one step of transport on its grid, and the distance of its numbers near 1."""
        kind = np.float32 if self.present.single_precision else np.float64
        return Resolution(
            self.time_step,
            dict.fromkeys(network.projections, int(self.present.grid)),
            quantum=float(np.finfo(kind).eps),
        )

    def gradient_factor(self, problem: es.Problem) -> float:
        """Return by what GeNN's own ``Gradient`` of a sample has to be multiplied to be dL/dw.

        Raises
        ------
        ValueError
            If the problem has no loss, or one that GeNN has not.
        """
        network, loss = problem.network, problem.loss
        if loss is None:
            raise ValueError("problem must have a loss, on which the factor depends; it has none")
        reading = reading_of(loss, network, problem.n_samples, self.time_step, self.variant)
        tau_mem = float(network.population(reading.population).parameter("tau_mem")[0])
        n_steps = number_of_steps(problem.t_end, self.time_step)
        return gradient_factor(
            reading.name, tau_mem=tau_mem, time_step=self.time_step, t_end=n_steps * self.time_step
        )

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return what a sample costs on average, as :func:`validation.grid.cost.cost` counts it."""
        return cost(problem, record, self.time_step, "float32")

    @staticmethod
    def settings() -> tuple[dict[str, Any], ...]:
        """Return time steps from 2 ms to 20 us."""
        return tuple({"time_step": h} for h in (2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5))

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Parameters
        ----------
        problem : Problem
            Its t_end is rounded to steps.

        Returns
        -------
        Record
            Spikes have the times that GeNN records, of the beginning of their step. dL/dt of a spike is (I - V) times
            the adjoint after its jump; GeNN has none for inputs. Delays have gradients on projections that have delays.
            A trace is V before the reset, and I after its decay, of the end of each step. ``counters`` has how many
            spikes the backward pass never heard of ("unheard_spikes"), how many inputs waited for the spike of their
            neuron before ("waiting_inputs") or were never sent ("lost_inputs").

        Raises
        ------
        ValueError
            If GeNN cannot represent the network, the inputs or the loss.
        """
        if not self.present.grid:
            return self._exact(problem)
        return record_of(self.simulate(problem, traces=self.traces), problem, self.name, self.time_step)

    def decisions(self, problem: es.Problem) -> NDArray[np.int64] | None:
        """Return the class of each sample, (n_samples,): the largest of what the readout scores, as GeNN compares them.

        None where the loss reads no score of each class over the trial; and without the grid, for the exact network has
        no readout of GeNN's.

        Raises
        ------
        ValueError
            As :meth:`run`.
        """
        if not self.present.grid:
            return None
        outcome = self.simulate(problem, traces=False)
        reading, answer = outcome.reading, outcome.answer
        if reading is None or answer is None or reading.of_spikes or reading.name in ("Var", "avg_xentropy"):
            return None
        return np.asarray(answer.scores.argmax(axis=1))

    def simulate(self, problem: es.Problem, *, traces: bool = True, adjoints: bool = False) -> Outcome:
        """Run a problem as :meth:`run` does, and return everything in GeNN's own terms.

        Parameters
        ----------
        problem : Problem
        traces, adjoints : bool
            Whether V and I, and lambda_V and lambda_I, of every step are kept.
        """
        return simulate(problem, self._settings(), traces=traces, adjoints=adjoints)

    def _exact(self, problem: es.Problem) -> Record:
        """Return the exact record, of inputs that arrive when GeNN lets them arrive."""
        inputs = problem.inputs
        if self.accumulator:
            raise ValueError(
                "accumulator must be 0 s without the grid: no exact loss weighs by input activity"
            )
        if self.present.late_inputs:
            clock = Clock(
                milliseconds(self.time_step), number_of_steps(problem.t_end, self.time_step), np.float64
            )
            sent = sent_inputs(dict.fromkeys(inputs, 0), inputs, clock, self.time_step, late=True)
            inputs = {name: shifted(trains, self.time_step) for name, trains in sent.spikes.items()}
        exact = oracle(replace(problem, inputs=inputs))
        return replace(exact, name=self.name, inputs=problem.inputs, spikes={**exact.spikes, **inputs})

    def _settings(self) -> Settings:
        return Settings(
            time_step=self.time_step,
            causes=self.present,
            max_spikes=self.max_spikes,
            regulariser=Regulariser(self.reg_lambda_upper, self.reg_lambda_lower, self.reg_nu_upper),
            batched=self.batched,
            consecutive=self.trials == "consecutive",
            variant=self.variant,
            accumulator=self.accumulator,
            threads=self.threads,
        )
