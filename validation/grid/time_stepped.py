r"""Networks on a time grid: what the solver runs, as EventProp on a clock computes it.

States move from point to point, h apart; spikes, arrivals and resets are on points. By default, at point k:

    I[k] = exp(-h/tau_syn) I[k-1]+
    V[k] = v_leak + exp(-h/tau_mem) (V[k-1]+ - v_leak) + K I[k-1]+,   K as in MODEL, Forward
    spike where V[k] > v_threshold:  V[k]+ = v_reset
    I[k]+ = I[k] + weights of the spikes that arrive at k

The adjoint is the transpose of these moves, with the jump of the exact adjoint (MODEL, Backward) at spikes, whose slope
is taken at the grid point: V'- = (v_leak - V[k] + I[k]) / tau_mem. With exact propagators states are exact between
events, so that everything converges to the exact solution with the first order of the step, in which spikes are late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

import eventsolve as es
from eventsolve.checks import duration
from eventsolve.chunks import joined, map_chunks
from eventsolve.interrupts import call
from eventsolve.io.records import Record, Scheme, Trace
from eventsolve.io.records.scheme import Traced
from eventsolve.losses import Evaluation
from eventsolve.magnitudes import warn_of_step
from eventsolve.network import Network, Population
from eventsolve.typing import Integers, Key, Reals
from validation.fixedpoint import FixedFormat, Overflow, Rounding
from validation.grid.causes import causes, with_causes
from validation.grid.cost import cost
from validation.grid.flaws import NONE, Flaws
from validation.grid.kernels.backward import backward
from validation.grid.kernels.forward import forward
from validation.grid.kernels.numbers import FIXED, Noise, Number
from validation.grid.kernels.tables import N_QUANTITIES, Clocked, Events, Fired, Reads, Rules, Sums
from validation.grid.localisation import Departure, localised
from validation.grid.number import as_number, kernel_number, noise_of, overflows, quantum, steps_and_formats
from validation.grid.scheme import Propagators, factors
from validation.grid.solution import GridSolution, States
from validation.grid.steps import InputRounding, grid_trains, number_of_samples, number_of_steps
from validation.grid.tables import Tables, events_of, inputs_of, levels_of, part, tables_of, transports
from validation.target import Cost, Grain, Resolution, Resolved

SlopeCurrent: TypeAlias = Literal["seen", "moved_by", "end"]
Points: TypeAlias = Literal["1..n", "0..n", "0..n-1", "1..n-1"]
WORDS: Mapping[Propagators, str] = MappingProxyType(
    {
        "exact": "exact propagators",
        "exponential": "exponential decays",
        "euler": "forward Euler",
        "scaled": "exponential decays, current scaled by h/tau_mem",
        "implicit": "backward Euler",
        "rk2": "Runge-Kutta of second order",
        "rk4": "Runge-Kutta of fourth order",
    }
)
"""What propagators are called."""
SAMPLES = 8
"""Of a chunk: samples share nothing, so that any number gives the same bits."""


@dataclass(frozen=True, eq=False)
class ForwardRun:
    """What a network did forward, from which any way back starts.

    Attributes
    ----------
    problem : Problem
    tables : Tables
    inputs : Events
        Input spikes.
    input_order : ndarray of int64
        Which of the given input spikes each of them is.
    bounds : ndarray of int64, (n_samples + 1,)
        Where the spikes of neurons of each sample begin.
    places : mapping of str to ndarray of int64
        Which of the spikes of neurons, or of the given ones, each spike of a population is.
    solution : GridSolution
    traces : mapping of str to Trace
    """

    problem: es.Problem
    tables: Tables
    inputs: Events
    input_order: Integers
    bounds: Integers
    places: Mapping[str, Integers]
    solution: GridSolution
    traces: Mapping[str, Trace]

    @cached_property
    def evaluation(self) -> Evaluation:
        """Return what the loss gives; the states that it reads are not kept, as they may be large."""
        loss: Any = self.problem.loss
        evaluation: Evaluation = loss.evaluate(replace(self.solution))  # which is read as a solution is
        return evaluation


class _Ready(NamedTuple):
    """A network and its inputs as kernels take them; steps are those of the inputs, in the order in which they came."""

    tables: Tables
    number: Number
    n_steps: int
    steps: Mapping[str, Integers]
    inputs: Events
    input_order: Integers


@dataclass(frozen=True)
class TimeStepped:
    """Networks on a time grid, by a method, an order within a step and a number format of your choice.

    It runs every network that :func:`eventsolve.solve` runs, with every loss of :mod:`eventsolve.losses`. Delays and
    refractory periods are rounded to the nearest step, which ``Record.notes`` says where it moves one. A spike that
    arrives over a delta synapse and lifts its target across the threshold makes it spike at that point, once; the
    adjoint of that spike's time goes to the arrivals there, by their weights.

    Parameters
    ----------
    time_step : float
        Seconds.
    propagators : {"exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"}
        How states move over a step: exactly; with exponential decays, V driven by (1 - exp(-h/tau_mem)) I; by forward
        Euler; with exponential decays, V driven by h/tau_mem I; by backward Euler; by a Runge-Kutta method of second or
        of fourth order.
    input_rounding : {"nearest", "up", "down", "half_up", "next", "truncated"}
        To which point an input spike is moved, as :func:`validation.grid.steps.in_steps` does it.
    transport : int
        After how many steps a spike arrives, beyond its delay.
    input_transport : int, optional
        The same of input spikes, if it is another.
    feedback : int
        After how many more steps it arrives over projections that are part of a cycle of the network.
    stamp : int
        By how many steps spikes of neurons are told later than the point at which they were seen.
    late_reset : bool
        Whether a reset comes a step late: V is the reset value at the next point, or what is subtracted is so there.
    hold : int
        By how many steps V is held longer than the refractory period, where there is one.
    slope : {"grid", "threshold"}
        Whether slopes at a spike are those of the V that was seen above threshold, or of V at threshold.
    slope_current : {"seen", "moved_by", "end"}
        Whether slopes at a spike are those of the I that was seen as spikes were looked for, of that by which V moved
        there, or of that at the end of the step: with arrivals, or decayed over it if the current is first. With what
        arrives in the step of a spike, but after it, the slope of that spike is another one at any step.
    order : {"voltage_first", "current_first"}
        Whether over a step V moves with the current at its beginning, and what arrives at its end is added after spikes
        were looked for; or with the current at its end, after arrivals. With the latter and no transport a spike acts
        on later populations in its own step, which is refused where a cycle takes no time.
    points : {"1..n", "0..n", "0..n-1", "1..n-1"}
        At which points of the grid states move and spikes are looked for, t_end being n steps. A loop over n steps that
        counts from 0 moves states at point 0, too, and ends before point n.
    adjoint : {"transpose", "recursion"}
        Whether adjoints move by the transpose of the states' moves, or by a recursion of their own in the manner of
        Bena et al. (2024): decays of their own and jumps a step later. The latter is for order "current_first", without
        refractory periods, subtraction and delta synapses, and gives no gradients of neuron parameters.
    inclusive : bool
        Whether V equal to the threshold is a spike.
    number : str
        "float64", "float32", "float16", or a fixed-point format such as "s16.15", of up to 52 bits. V, I, weights and
        adjoints are held in it, and every operation on them is rounded; factors of a step are float32 beside float32,
        else float64; dL/dt and sums of gradients are float64, and beside float16 what arrives in one step, too.
    rounding : {"down", "to_zero", "half_up", "nearest_even", "stochastic"}
        Of fixed-point operations, as in :mod:`validation.fixedpoint`.
    overflow : {"saturate", "wrap"}
        Of fixed-point operations.
    seed : int
        Of stochastic rounding; every sample has random words of its own.
    traces : bool
        Whether the record has V and I of every step.
    traced : {"seen", "left"}
        Whether traces are V and I as spikes are looked for, or as a step leaves them, after resets and arrivals.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    """

    time_step: float
    propagators: Propagators = "exact"
    input_rounding: InputRounding = "nearest"
    transport: int = 0
    slope: Literal["grid", "threshold"] = "grid"
    order: Literal["voltage_first", "current_first"] = "voltage_first"
    input_transport: int | None = None
    feedback: int = 0
    points: Points = "1..n"
    stamp: int = 0
    late_reset: bool = False
    hold: int = 0
    slope_current: SlopeCurrent = "seen"
    adjoint: Literal["transpose", "recursion"] = "transpose"
    inclusive: bool = False
    number: str = "float64"
    rounding: Rounding = "half_up"
    overflow: Overflow = "saturate"
    seed: int = 0
    traces: bool = True
    traced: Traced = "seen"
    threads: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))
        choices = {
            "propagators": get_args(Propagators),
            "input_rounding": get_args(InputRounding),
            "slope": ("grid", "threshold"),
            "order": ("voltage_first", "current_first"),
            "points": get_args(Points),
            "slope_current": get_args(SlopeCurrent),
            "adjoint": ("transpose", "recursion"),
            "rounding": get_args(Rounding),
            "overflow": get_args(Overflow),
            "traced": get_args(Traced),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        for name in ("transport", "input_transport", "feedback", "stamp"):
            steps = getattr(self, name)
            if name == "input_transport" and steps is None:
                continue
            if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
                raise ValueError(f"{name} must be an integer >= 0; got {steps!r}")
        if isinstance(self.hold, bool) or not isinstance(self.hold, int):
            raise ValueError(f"hold must be an integer; got {self.hold!r}")
        if self.adjoint == "recursion" and self.order != "current_first":
            raise ValueError(f"adjoint 'recursion' needs order 'current_first'; got order {self.order!r}")
        kernel_number(self.number, self.rounding, self.overflow)

    @property
    def name(self) -> str:
        """Of the implementation and its settings, where they are not the defaults."""
        parts = [f"time-stepped, {self.time_step * 1e3:g} ms, {self.number}"]
        if self.propagators != "exact":
            parts.append(WORDS[self.propagators])
        if self.input_rounding != "nearest":
            parts.append(f"inputs rounded {self.input_rounding}")
        if self.transport:
            parts.append(f"transport of {self.transport} step" + ("s" if self.transport > 1 else ""))
        if self.input_transport is not None:
            parts.append(f"{self.input_transport} of inputs")
        if self.feedback:
            parts.append(f"{self.feedback} more in cycles")
        if self.slope != "grid":
            parts.append("slope at threshold")
        if self.order != "voltage_first":
            parts.append("current first")
        if self.points != "1..n":
            parts.append(f"points {self.points}")
        if self.stamp:
            parts.append(f"told {self.stamp} later")
        if self.late_reset:
            parts.append("resets a step late")
        if self.hold:
            parts.append(f"held {self.hold:+d}")
        if self.slope_current != "seen":
            parts.append(f"slope with the current {self.slope_current}")
        if self.adjoint != "transpose":
            parts.append("adjoint by recursion")
        if self.inclusive:
            parts.append("spikes at threshold")
        return ", ".join(parts)

    def resolution(self, network: Network) -> Resolution:
        """Return how finely the network is resolved."""
        number = kernel_number(self.number, self.rounding, self.overflow)
        return Resolution(
            time_step=self.time_step,
            transport=self._transports(network),
            quantum=quantum(number),
            floating=number.kind != FIXED,
        )

    def causes(self) -> dict[str, str]:
        """Return what each of its approximations does, by name; see :mod:`validation.grid.causes`."""
        return causes(self)

    def kept(self) -> tuple[str, ...]:
        """Return its steps of transport, which are a delay and no error."""
        return ("transport",) if self.transport or self.input_transport or self.feedback else ()

    def with_causes(self, on: Iterable[str]) -> Resolved:
        """Return it with some of its approximations, on a fine grid without "time_step"."""
        return with_causes(self, on)

    def at(self, grain: Grain) -> TimeStepped:
        """Return it at another time step, in fixed point with as many fraction bits, or in float64.

        Integer bits are those that it has, or 16, and fewer where 52 bits do not hold them beside the fraction.
        """
        whole = 16 if self.number.startswith("float") else FixedFormat.parse(self.number).integer_bits
        number = (
            "float64" if grain.bits is None else FixedFormat(min(whole, 52 - grain.bits), grain.bits).name
        )
        return replace(self, time_step=grain.time_step, number=number, traces=False)

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return what a sample costs on average, as :func:`validation.grid.cost.cost` counts it."""
        return cost(problem, record, self.time_step, self.number)

    def held(self, network: Network) -> Network:
        """Return the network with its weights in the number format, to the nearest, ties to the even one."""
        number = kernel_number(self.number, self.rounding, self.overflow)
        return network.with_weights(
            {
                key: p.shaped(as_number(f"weight of {key}", p.weights, number))
                for key, p in network.projections.items()
            }
        )

    @staticmethod
    def settings() -> tuple[dict[str, Any], ...]:
        """Return time steps from 1 ms to 10 us with fixed-point formats of 16 to 32 bits, and with float32."""
        return steps_and_formats("number")

    def localised(
        self,
        problem: es.Problem,
        record: Record,
        *,
        previous: Network | None = None,
        rtol: float | None = None,
    ) -> Departure | None:
        """Return where a record departs from what this does first; see :mod:`validation.grid.localisation`.

        By default floating-point numbers may be off by a rounding per step, fixed-point ones by nothing.
        """
        if rtol is None:
            number = kernel_number(self.number, self.rounding, self.overflow)
            rtol = 0.0 if number.kind == FIXED else problem.t_end / self.time_step * quantum(number)
        return localised(self, problem, record, previous=previous, rtol=rtol)

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Parameters
        ----------
        problem : Problem
            Its t_end is rounded to the grid; spikes are detected from the first grid point after 0 up to there. A loss
            reads voltages as :class:`validation.grid.solution.GridSolution` says; without one there are spikes alone.

        Returns
        -------
        Record
            ``counters["falling_crossings"]`` counts spikes whose voltage had passed its peak when the grid saw it above
            threshold; their slope, and with it the sign of their gradient, is wrong. ``counters["overflows"]``, in
            fixed point, counts results out of range.

        Raises
        ------
        ValueError
            If inputs or loss do not fit the network, two spikes of an input fall into one step, or the number format
            cannot hold a parameter.
        """
        return self.run_flawed(problem, NONE)

    def run_flawed(self, problem: es.Problem, flaws: Flaws) -> Record:
        """Run as :meth:`run` does, with something wrong on purpose.

        Parameters
        ----------
        problem : Problem
        flaws : Flaws
        """
        return self.run_back(self.run_forward(problem, flaws), flaws)

    def run_forward(self, problem: es.Problem, flaws: Flaws) -> ForwardRun:
        """Run the network forward, with something wrong on purpose, as far as it is :attr:`Flaws.forward`."""
        network, inputs, t_end = problem.network, problem.inputs, problem.t_end
        ready = self._ready(problem, flaws)
        tables, n_steps, n_samples = ready.tables, ready.n_steps, ready.inputs.bounds.size - 1
        forwards = partial(self._forward, tables, flaws, ready.number, ready.inputs, n_steps)
        left = self.traced == "left"
        fired, bounds, seen, kept, _ = forwards(traced=self.traces and not left, kept=self.traces and left)
        traces = kept if left else seen
        samples, steps = _samples(bounds), ready.steps
        spikes, places = _trains(network, tables, inputs, steps, samples, fired, self.time_step, self.stamp)
        solution = GridSolution(
            network,
            spikes,
            n_samples,
            int(self.points[0]),
            n_steps,
            self.time_step,
            number_of_steps(t_end, self.time_step) * self.time_step,
            self.stamp,
            lambda: forwards(kept=True)[3],
            tables.populations,
        )
        times = self.time_step * (np.arange(n_steps + 1.0) + self.stamp)
        return ForwardRun(
            problem,
            tables,
            ready.inputs,
            ready.input_order,
            bounds,
            places,
            solution,
            _traces(network, tables, times, traces) if self.traces else {},
        )

    def run_spikes(self, problem: es.Problem, flaws: Flaws) -> dict[str, Integers]:
        """Return what spikes :meth:`run_forward` finds and nothing else: the fastest answer to many guesses.

        Of every population of neurons, (n_spikes, 3): sample, step and neuron, sorted in this order.
        """
        ready = self._ready(problem, flaws)
        fired, bounds, *_ = self._forward(ready.tables, flaws, ready.number, ready.inputs, ready.n_steps)
        rows = np.stack([_samples(bounds), fired.steps + self.stamp, fired.neurons], axis=1)
        rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
        spikes = {}
        for name, first in ready.tables.populations.items():
            size = problem.network.population(name).size
            own = rows[(rows[:, 2] >= first) & (rows[:, 2] < first + size)]
            spikes[name] = own - np.array([0, 0, first])
        return spikes

    def _ready(self, problem: es.Problem, flaws: Flaws) -> _Ready:
        """Return a network and its inputs as kernels take them."""
        network, inputs = problem.network, problem.inputs
        self._check(network)
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(problem.t_end, self.time_step) - self.points.endswith("n-1")
        warn_of_step(self.time_step, network)
        number = kernel_number(self.number, self.rounding, self.overflow)
        tables = self._tables(network, number, flaws, *self._delivery(network))
        events = inputs_of(tables, inputs, self.time_step, self.input_rounding, n_samples)
        return _Ready(tables, number, n_steps, *events)

    def run_back(self, run: ForwardRun, flaws: Flaws) -> Record:
        """Return the record of a run, which :meth:`run_forward` made with the same settings of the way forward."""
        problem, tables, solution, places = run.problem, run.tables, run.solution, run.places
        network, loss = problem.network, problem.loss
        self._check(network)
        record = partial(
            Record.of,
            problem,
            self.name,
            spikes=solution.spikes,
            time_step=self.time_step,
            scheme=Scheme(
                propagators=self.propagators,
                order=self.order,
                input_rounding=self.input_rounding,
                transport=self.transport,
                inclusive=self.inclusive,
                slope=self.slope,
                number=self.number,
                reset_between_samples=True,
                one_spike=False,
                traced_voltage=self.traced if self.traces else None,
                traced_current=self.traced if self.traces else None,
            ),
            traces=run.traces,
            notes=tuple(
                f"{count} {what} are rounded to steps of {self.time_step!r} s, by up to {most:.2g} s"
                for what, (count, most) in tables.rounded.items()
            ),
        )
        if loss is None:
            return record()
        evaluation = run.evaluation
        if flaws.reading is not None:
            evaluation = flaws.reading(evaluation, replace(solution))
        errors = np.zeros(run.bounds[-1])
        for name, values in evaluation.spike_times.items():
            if name in tables.populations:
                errors[places[name]] = values
        reads, cotangents = _reads(evaluation, solution, tables)
        number = kernel_number(self.number, self.rounding, self.overflow)
        back = (
            tables
            if flaws.back is None
            else self._tables(flaws.back, number, flaws, *self._delivery(network))
        )
        errors, input_errors, sums, falling, noise = self._backward(
            tables, back, flaws, number, run.inputs, solution.n_steps, run.bounds, errors, reads, cotangents
        )
        given = np.empty_like(input_errors)
        given[run.input_order] = input_errors
        spike_times = {name: errors[places[name]] for name in tables.populations}
        first = 0
        for name in tables.inputs:
            size = places[name].size
            spike_times[name] = given[first : first + size][places[name]]
            if name in evaluation.spike_times:
                spike_times[name] = spike_times[name] + evaluation.spike_times[name]
            first += size
        gradients: dict[str, Mapping[Any, Any]] = {
            "weight": back.by_projection(sums.weight),
            "delay": back.by_projection(sums.delay),
            "spike_times": {name: spike_times[name] for name in network.populations},
        }
        if self.adjoint == "transpose" and not self.late_reset:
            gradients |= tables.by_parameter(sums.neurons)
        counters = {"falling_crossings": falling}
        if number.kind == FIXED:
            counters["overflows"] = noise
        return record(
            loss_values=np.asarray(evaluation.values, dtype=np.float64),
            gradients=gradients,
            counters=counters,
        )

    def _tables(
        self,
        network: Network,
        number: Number,
        flaws: Flaws,
        transport: Mapping[Key, int],
        levels: tuple[tuple[str, ...], ...],
    ) -> Tables:
        if self.hold or self.late_reset:
            network = network.with_neurons(
                {name: self._stepped(p) for name, p in network.populations.items() if p.spiking}
            )
        return tables_of(network, self.time_step, self.propagators, transport, number, flaws.packets, levels)

    def _delivery(self, network: Network) -> tuple[dict[Key, int], tuple[tuple[str, ...], ...]]:
        """Return the steps of transport of every projection, and the levels of populations."""
        transport = self._transports(network)
        if self.order == "current_first":
            return transport, levels_of(network, self.time_step, transport)
        return transport, (tuple(name for name, p in network.populations.items() if p.neuron is not None),)

    def _transports(self, network: Network) -> dict[Key, int]:
        of = transports(network, self.transport, self.feedback)
        if self.input_transport is None:
            return of
        given = {name for name, p in network.populations.items() if p.neuron is None}
        return {key: self.input_transport if key[0] in given else steps for key, steps in of.items()}

    def _stepped(self, population: Population) -> Any:
        """Return neurons that do on time what these do a step late, and are held longer."""
        neuron: Any = population.neuron
        t_ref, v_threshold = population.parameter("t_ref"), population.parameter("v_threshold")
        changed: dict[str, Any] = {}
        if self.hold:
            t_ref = np.where(t_ref > 0, np.maximum(t_ref + self.hold * self.time_step, 0.0), 0.0)
            changed["t_ref"] = t_ref
        if self.late_reset and neuron.reset == "value":  # V is the reset value until the next point
            changed["t_ref"] = t_ref + self.time_step
        elif self.late_reset:  # what is left of it a step later is what should be subtracted there
            decay = factors(population, self.time_step, self.propagators).decay_mem
            changed["v_reset"] = v_threshold - (v_threshold - population.parameter("v_reset")) / decay
        return replace(neuron, **changed) if changed else neuron

    def _check(self, network: Network) -> None:
        """Raise a ValueError if the adjoint has no rule for something in the network."""
        if self.adjoint == "transpose":
            return
        for p in network.populations.values():
            if p.parameter("t_ref").any() or getattr(p.neuron, "reset", "value") != "value":
                raise ValueError(
                    f"population {p.name!r} has a refractory period or a reset by subtraction, for which adjoint "
                    "'recursion' has no rule"
                )
        for key, projection in network.projections.items():
            if projection.synapse != "exponential":
                raise ValueError(f"synapse of {key} is 'delta', for which adjoint 'recursion' has no rule")

    def _rules(self) -> Rules:
        return Rules(
            self.order == "current_first",
            self.inclusive,
            self.slope == "threshold",
            self.adjoint == "recursion",
            self.points.startswith("0"),
            get_args(SlopeCurrent).index(self.slope_current),
        )

    def _clocked(
        self, tables: Tables, flaws: Flaws, number: Number, inputs: Events, n_steps: int, noise: Noise
    ) -> Clocked:
        rules, as_kernels = self._rules(), flaws.of_kernels()
        return Clocked(tables.neurons, tables.synapses, rules, as_kernels, number, inputs, n_steps, noise)

    def _forward(
        self,
        tables: Tables,
        flaws: Flaws,
        number: Number,
        events: Events,
        n_steps: int,
        *,
        traced: bool = False,
        kept: bool = False,
    ) -> tuple[Fired, Integers, States, States, int]:
        """Return all spikes, where each sample's begin, traces and states if wanted, and how many overflows."""
        n_samples, n = events.bounds.size - 1, tables.neurons.v_threshold.size
        shape = (n_steps + 1, n)
        before = tuple(np.empty((n_samples if traced else 0, *shape)) for _ in range(2))
        after = tuple(np.empty((n_samples if kept else 0, *shape)) for _ in range(2))

        size = _at_once(flaws, n_samples)

        def work(k: int) -> tuple[Integers, Fired, int]:
            low, high = _range(k, size, n_samples)
            noise = noise_of(number, low, high, self.seed)
            own_inputs, _ = part(events, low, high)
            bounds, fired = call(
                forward,
                self._clocked(tables, flaws, number, own_inputs, n_steps, noise),
                tuple(x[low:high] for x in before),
                tuple(x[low:high] for x in after),
            )
            return np.diff(bounds), fired, overflows(noise)

        results = map_chunks(work, -(-n_samples // size), self.threads)
        empty = Fired(*(np.empty(0, np.int64),) * 2, *(np.empty(0),) * 3)
        fired = Fired(*(np.concatenate(c) for c in zip(empty, *(r[1] for r in results), strict=True)))
        bounds = np.cumsum(np.concatenate([np.zeros(1, np.int64), *(r[0] for r in results)]))
        return fired, bounds, (before[0], before[1]), (after[0], after[1]), sum(r[2] for r in results)

    def _backward(
        self,
        tables: Tables,
        back: Tables,
        flaws: Flaws,
        number: Number,
        events: Events,
        n_steps: int,
        bounds: Integers,
        errors: Reals,
        reads: Events,
        cotangents: Reals,
    ) -> tuple[Reals, Reals, Sums, int, int]:
        """Return dL/dt of spikes and of input spikes, gradients, falling spikes and overflows."""
        n_samples, n_synapses = bounds.size - 1, tables.order.size
        size = _at_once(flaws, n_samples)

        def work(k: int) -> tuple[Reals, Reals, Sums, int, int]:
            low, high = _range(k, size, n_samples)
            noise = noise_of(number, low, high, self.seed)
            own_inputs, _ = part(events, low, high)
            own_reads, read = part(reads, low, high)
            completed = errors[bounds[low] : bounds[high]].copy()  # work may be begun again
            of_inputs = np.zeros(own_inputs.steps.size)
            sums = Sums(
                np.zeros((high - low, n_synapses)),
                np.zeros((high - low, n_synapses)),
                np.zeros((high - low, N_QUANTITIES, tables.neurons.v_threshold.size)),
            )
            falling: int = call(
                backward,
                *(self._clocked(t, flaws, number, own_inputs, n_steps, noise) for t in (tables, back)),
                Reads(*own_reads, cotangents[read]),
                bounds[low : high + 1] - bounds[low],
                completed,
                of_inputs,
                sums,
            )
            return completed, of_inputs, sums, falling, overflows(noise)

        results = map_chunks(work, -(-n_samples // size), self.threads)
        if not results:
            nothing = np.zeros((0, n_synapses))
            return (
                errors,
                np.zeros(0),
                Sums(nothing, nothing, np.zeros((0, N_QUANTITIES, tables.neurons.v_leak.size))),
                0,
                0,
            )
        sums = Sums(*(joined(columns) for columns in zip(*(r[2] for r in results), strict=True)))
        completed, of_inputs = joined([r[0] for r in results]), joined([r[1] for r in results])
        return completed, of_inputs, sums, sum(r[3] for r in results), sum(r[4] for r in results)


def _samples(bounds: Integers) -> Integers:
    """Return the sample of every spike."""
    return np.repeat(np.arange(bounds.size - 1), np.diff(bounds))


def _at_once(flaws: Flaws, n_samples: int) -> int:
    """Return how many samples a chunk has: all, where one depends on the one before."""
    return max(1, n_samples) if flaws.in_order else SAMPLES


def _range(chunk: int, size: int, n_samples: int) -> tuple[int, int]:
    return chunk * size, min((chunk + 1) * size, n_samples)


def _trains(
    network: Network,
    tables: Tables,
    inputs: Mapping[str, es.SpikeTrains],
    steps: Mapping[str, Integers],
    samples: Integers,
    fired: Fired,
    time_step: float,
    stamp: int,
) -> tuple[dict[str, es.SpikeTrains], dict[str, Integers]]:
    """Return all spikes by population, and where each was: in the given trains, or among those of neurons."""
    spikes, places = {}, {}
    for name, population in network.populations.items():
        shape = (int(next(iter(inputs.values())).n_samples), population.size)
        if population.neuron is None:
            trains = inputs[name]
            spikes[name], places[name] = grid_trains(
                steps[name], trains.neurons, trains.samples, shape, time_step
            )
            continue
        first = tables.populations[name]
        own = np.flatnonzero((fired.neurons >= first) & (fired.neurons < first + population.size))
        spikes[name], order = grid_trains(
            fired.steps[own] + stamp, fired.neurons[own] - first, samples[own], shape, time_step
        )
        places[name] = own[order]
    return spikes, places


def _reads(evaluation: Evaluation, solution: GridSolution, tables: Tables) -> tuple[Events, Reals]:
    """Return where a loss reads voltages, and dL/dV there."""
    nothing = (np.empty(0, np.int64),) * 3 + (np.empty(0),)
    columns = [
        (r.samples, solution.step_of(r.times), r.neurons + tables.populations[name], r.cotangents)
        for name, r in evaluation.voltages.items()
    ]
    samples, steps, neurons, cotangents = (np.concatenate(c) for c in zip(nothing, *columns, strict=True))
    reads, order = events_of(samples, steps, neurons, solution.n_samples)
    return reads, cotangents[order]


def _traces(network: Network, tables: Tables, times: Reals, states: States) -> dict[str, Trace]:
    found = {}
    for name, first in tables.populations.items():
        own = slice(first, first + network.population(name).size)
        voltage, current = (x[:, :, own].transpose(0, 2, 1) for x in states)
        found[name] = Trace(times, voltage, current)
    return found
