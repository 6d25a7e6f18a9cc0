"""Loihi 2 as a target: a network is exported, run as the integers that Lava computes, and read out.

The target is forward only: networks for this path are trained elsewhere, and the chip computes no gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import real
from eventsolve.io.records import Record, Trace
from eventsolve.io.records.scheme import Scheme
from eventsolve.losses.voltages import WEIGHTINGS
from eventsolve.network import Network
from eventsolve.typing import Reals
from validation.grid.solution import GridSolution
from validation.grid.steps import (
    InputRounding,
    grid_trains,
    in_steps,
    number_of_samples,
    number_of_steps,
)
from validation.loihi2.causes import ALL, MEANINGS, checked
from validation.loihi2.exporting import Export, export, export_of
from validation.loihi2.kernels.tables import Layers, Neurons, Rules, Sent
from validation.loihi2.program import DECAY, LSB
from validation.loihi2.quantities import (
    Kernel,
    Part,
    Scale,
    Settings,
    chain_of,
    network_of_parts,
    parts_of,
    response,
)
from validation.loihi2.running import Fired, Matrix, Tables, matrices_of, refuse_inexact, run_samples
from validation.target import Cost, Resolution

Samples = Literal["separate", "consecutive"]


ROUNDINGS: tuple[InputRounding, ...] = ("nearest", "up", "down")
"""Roundings of inputs that are tried for a record that names none."""


@dataclass(frozen=True)
class Loihi2:
    """A network on Loihi 2, by Lava's integers.

    It runs LIF and LI populations in a chain behind one input, each of which may be recurrent, with exponential
    synapses and delays up to 62 steps. v_leak becomes a bias, and v_reset is 0 on the chip. Refractory periods, resets
    by subtraction, delta synapses, other topologies, and thresholds beyond 17 bits are refused.

    A spike is seen, and recorded, at the end of the step in which V exceeds its threshold. Losses are computed from the
    states after each step; there are no gradients.

    Parameters
    ----------
    time_step : float
        Seconds.
    weight_bits : int, tuple of int, or str
        2..8, signs included: one number for all layers, or one per layer; as text with + between them.
    scale : {"power_of_two", "full"}
        Whether a population's weight unit is a power of two, or makes its largest weight the largest integer.
    percentile : float
        The percentile of absolute weights that is represented; larger weights may be clipped. mlGeNN takes 99.
    kernel : {"exact", "mlgenn"}
        Whether weights are scaled by the response of the membrane to a current, or by mlGeNN's k. With "mlgenn" a
        readout also has the threshold of mlGeNN's exporter, which it may reach.
    input_rounding : {"nearest", "up", "down"}
        To which step an input spike is moved. If two spikes of a channel fall into one step, one is sent.
    samples : {"separate", "consecutive"}
        Whether a sample begins with no spikes in flight, or with those that the sample before has sent last. States are
        set to 0 between samples either way.
    without : sequence of str, or str
        Causes (:data:`validation.loihi2.causes.MEANINGS`) that are left out, as text with + between them.
    traces : bool
        Whether the record has voltages of readouts.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    """

    time_step: float
    weight_bits: int | str | tuple[int, ...] = field(default=8, kw_only=True)
    scale: Scale = field(default="power_of_two", kw_only=True)
    percentile: float = field(default=100.0, kw_only=True)
    kernel: Kernel = field(default="exact", kw_only=True)
    input_rounding: InputRounding = field(default="nearest", kw_only=True)
    samples: Samples = field(default="separate", kw_only=True)
    without: str | tuple[str, ...] = field(default="", kw_only=True)
    traces: bool = field(default=True, kw_only=True)
    threads: int | None = field(default=None, kw_only=True)

    forward_only: ClassVar[bool] = True
    instead: ClassVar[Mapping[str, str]] = {
        "recommend": "'eventsolve-validate loihi2 TASK --wanted SHARE --of spikes|logits|decisions|accuracy' finds the "
        "cheapest bits and time step of it",
        "converge": "'eventsolve-validate loihi2 TASK' goes through its time steps, the finest not the best one",
        "train": "--along measured or straight_through trains with it in the loop",
    }

    def __post_init__(self) -> None:
        bits = self.weight_bits
        if isinstance(bits, str):
            parts = [part.strip() for part in bits.split("+")]
            if not all(part.isdecimal() for part in parts):
                raise ValueError(
                    f"weight_bits must be an integer, or several with + between them; got {bits!r}"
                )
            bits = tuple(int(part) for part in parts)
        settings = Settings(self.time_step, bits, self.scale, self.percentile, self.kernel)
        object.__setattr__(self, "weight_bits", settings.weight_bits)
        object.__setattr__(self, "time_step", settings.time_step)
        object.__setattr__(self, "percentile", settings.percentile)
        for name, allowed in (("input_rounding", InputRounding), ("samples", Samples)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(allowed))}; got {getattr(self, name)!r}"
                )
        if not isinstance(self.traces, bool):
            raise ValueError(f"traces must be True or False; got {self.traces!r}")
        named = self.without
        if isinstance(named, str):
            named = tuple(part.strip() for part in named.split("+") if part.strip())
        object.__setattr__(self, "without", checked(named))

    @property
    def settings_of_export(self) -> Settings:
        """The settings with which the network becomes integers."""
        bits = self.weight_bits
        assert not isinstance(bits, str)
        return Settings(self.time_step, bits, self.scale, self.percentile, self.kernel)

    @property
    def _bits(self) -> str:
        bits = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,)
        return "-".join(map(str, bits))

    @property
    def on(self) -> frozenset[str]:
        """The causes that are not left out."""
        return frozenset(ALL) - frozenset(self.without)

    def export(self, network: Network) -> Export:
        """Return the program that a network becomes, with all causes, whichever a run leaves out."""
        return export(network, self.settings_of_export)

    def stands_for(self, network: Network) -> Network:
        """Return the network in continuous time that the program stands for, whichever causes a run leaves out."""
        return self.export(network).dequantized()

    def decisions(self, problem: es.Problem) -> NDArray[np.int64] | None:
        """Return the class of each sample, (n_samples,): the largest logit of a readout; None if the outputs spike.

        Raises
        ------
        ValueError
            As :meth:`run`.
        """
        last = chain_of(problem.network)[-1]
        neuron = problem.network.population(last).neuron
        if neuron is None or neuron.spiking:
            return None
        record = replace(self, traces=True).run(replace(problem, loss=None))
        return np.asarray(logits(record, last, problem.loss).argmax(axis=1))

    def causes(self) -> Mapping[str, str]:
        """Return what each active approximation does, by name; mlGeNN's kernel only if it is used."""
        return {
            name: said
            for name, said in MEANINGS.items()
            if name in self.on and (name != "kernel" or self.kernel == "mlgenn")
        }

    def kept(self) -> tuple[str, ...]:
        """Return no causes: none of them is part of the intended network."""
        return ()

    def with_causes(self, on: Iterable[str]) -> Loihi2:
        """Return the target with some causes only; without any, it solves the network exactly.

        Raises
        ------
        ValueError
            If there is no such cause.
        """
        chosen = checked(on)
        return replace(self, without=tuple(name for name in ALL if name not in chosen))

    @classmethod
    def variants(cls, time_step: float) -> Iterator[Loihi2]:
        """Yield possible origins of a record, the defaults first: bits, kernels, scales, and roundings of inputs."""
        scales = (("power_of_two", 100.0), ("full", 100.0), ("power_of_two", 99.0))
        choices = itertools.product(range(8, 1, -1), get_args(Kernel), scales, ROUNDINGS)
        for bits, kernel, (scale, percentile), rounding in choices:
            yield cls(
                time_step,
                weight_bits=bits,
                kernel=kernel,
                scale=cast(Scale, scale),
                percentile=percentile,
                input_rounding=rounding,
            )

    @property
    def name(self) -> str:
        """The implementation and its settings that are not the defaults."""
        parts = [f"Loihi 2, {self.time_step * 1e3:g} ms, {self._bits} bits"]
        if self.scale != "power_of_two":
            parts.append("full scale")
        if self.percentile != 100:
            parts.append(f"percentile {self.percentile:g}")
        if self.kernel != "exact":
            parts.append("mlGeNN's kernel")
        if self.input_rounding != "nearest":
            parts.append(f"inputs {self.input_rounding}")
        if self.samples != "separate":
            parts.append("consecutive samples")
        if self.without:
            parts.append("without " + " and ".join(self.without))
        return ", ".join(parts)

    def resolution(self, network: Network) -> Resolution:
        """Return the time step, no steps of transport, and the largest quantum of all weights."""
        parts = parts_of(network, self.settings_of_export, ())
        quanta = [
            part.quantum / float(response(self.time_step, part.tau_mem, part.tau_syn).min()) for part in parts
        ]
        return Resolution(
            self.time_step, dict.fromkeys(network.projections, 0), quantum=max(quanta), floating=False
        )

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return the cost of a sample: two operations per neuron and step, and one per spike and synapse.

        Operations are counted; neither time nor energy is measured. A weight takes a byte or less, a state three.
        """
        network, n = problem.network, max(record.n_samples, 1)
        chain = chain_of(network)
        bits = dict(zip(chain[1:], self.settings_of_export.bits_of(len(chain) - 1), strict=True))
        rows = number_of_steps(problem.t_end, self.time_step) + 1
        updates = float(rows * sum(network.population(name).size for name in chain[1:]))
        reached = weight_bytes = packets = 0.0
        for projection in network.projections.values():
            fan_out = np.bincount(projection.sources, minlength=network.population(projection.pre).size)
            sent = np.bincount(record.trains[projection.pre].neurons, minlength=fan_out.size)
            reached += float(fan_out @ sent) / n
            weight_bytes += float(fan_out @ sent) / n * bits[projection.post] / 8
            packets += float(sent.sum()) / n
        packet_bytes = 4.0 * packets
        return Cost(2 * updates + reached, packet_bytes, 6 * updates + weight_bytes + packet_bytes)

    @staticmethod
    def settings() -> tuple[dict[str, Any], ...]:
        """Return time steps with fewer bits, simplest first."""
        return tuple(
            {"time_step": step, "weight_bits": bits}
            for step in (2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5)
            for bits in range(8, 1, -1)
        )

    def run(self, problem: es.Problem) -> Record:
        """Run a network forward on a batch.

        Parameters
        ----------
        problem : Problem
            t_end is rounded to whole steps.

        Returns
        -------
        Record
            Spikes, the values of the loss if there is one, and voltages of readouts after each step. ``counters``:
            currents that wrapped ("wraps") or were out by more than one wrap ("beyond_one_turn"), voltages that were
            clipped ("voltage_clips"), spikes of readouts ("readout_resets"), weights that were clipped
            ("clipped_weights"), and inputs that shared their step with another of their channel ("merged_inputs").

        Raises
        ------
        ValueError
            If Loihi 2 or NetX cannot represent the network, or the inputs do not fit.
        """
        number_of_samples(problem.network, problem.inputs)
        chain_of(problem.network)
        if "grid" not in self.on:
            return self._exact(problem)
        return self._gridded(problem)

    def _exact(self, problem: es.Problem) -> Record:
        """Return the spikes of the remaining network, solved exactly."""
        on = self.on - {"truncation", "limits"}
        network, inputs = problem.network, problem.inputs
        parts = parts_of(network, self.settings_of_export, on)
        if on - {"input_rounding"}:
            network = network_of_parts(network, parts, self.settings_of_export, on)
        if "input_rounding" in on:
            inputs = {name: self._sent(trains)[0] for name, trains in inputs.items()}
        left = replace(problem, network=network, inputs=inputs)
        values = None if problem.loss is None else problem.loss.evaluate(left.solution).values
        traces = {}
        if parts[-1].readout and self.traces:
            name, n_steps = parts[-1].population.name, number_of_steps(problem.t_end, self.time_step)
            times = np.minimum(self.time_step * np.arange(n_steps + 1), problem.t_end)
            traces[name] = Trace(times, left.solution.voltage(name, times))
        return Record.of(
            problem,
            self.name,
            spikes={**left.solution.spikes, **inputs},
            loss_values=None if values is None else np.asarray(values, dtype=np.float64),
            traces=traces,
        )

    def _sent(self, trains: es.SpikeTrains) -> tuple[es.SpikeTrains, Sent, int]:
        """Return inputs as they are sent, the same for the kernel, and how many shared their step with another."""
        bounds = np.asarray(trains.offsets, dtype=np.int64)
        if "input_rounding" not in self.on:
            exact = trains.times / self.time_step
            whole = in_steps(trains.times, self.time_step, "down")
            rests = np.clip(exact - whole, 0.0, np.nextafter(1.0, 0.0))
            rests[whole > exact] = 0.0
            return trains, Sent(bounds, whole, np.array(trains.neurons), np.ones(whole.size), rests), 0
        steps = in_steps(trains.times, self.time_step, self.input_rounding)
        places = np.unique(np.stack([trains.samples, steps, trains.neurons]), axis=1)
        samples, rows, neurons = (np.ascontiguousarray(column) for column in places)
        moved, _ = grid_trains(rows, neurons, samples, (trains.n_samples, trains.n_neurons), self.time_step)
        bounds = np.searchsorted(samples, np.arange(trains.n_samples + 1))
        n = rows.size
        return moved, Sent(bounds, rows, neurons, np.ones(n), np.zeros(n)), steps.size - n

    def _gridded(self, problem: es.Problem) -> Record:
        network, on = problem.network, self.on
        parts = parts_of(network, self.settings_of_export, on)
        n_rows = number_of_steps(problem.t_end, self.time_step) + 1
        given = next(iter(problem.inputs))
        moved, sent, merged = self._sent(problem.inputs[given])
        tables = _tables(parts, self.time_step, on)
        rules = Rules(
            truncated="truncation" in on,
            limited="limits" in on,
            consecutive=self.samples == "consecutive",
            between="input_rounding" not in on or "delays" not in on,
        )
        exported = None
        if on == frozenset(ALL):
            exported = export_of(network, self.settings_of_export, parts)
            refuse_inexact(exported.program, n_rows)
        sizes = [part.population.size for part in parts]
        firsts = dict(
            zip((part.population.name for part in parts), np.cumsum([0, *sizes[:-1]]).tolist(), strict=True)
        )
        last = parts[-1]
        kept_from = firsts[last.population.name] if last.readout else sum(sizes)
        fired = run_samples(tables, rules, sent, n_rows, kept_from=kept_from, threads=self.threads)
        spikes, readout_resets = _trains(parts, fired, firsts, moved.n_samples, self.time_step)
        traces = {}
        if last.readout and self.traces:
            voltage = last.v_reset + fired.v * (last.quantum / LSB)
            traces[last.population.name] = Trace(
                self.time_step * np.arange(n_rows, dtype=np.float64),
                np.ascontiguousarray(voltage.transpose(0, 2, 1)),
            )
        values = None
        if problem.loss is not None:

            def states() -> tuple[Reals, Reals]:
                everything = (
                    fired
                    if kept_from == 0
                    else run_samples(tables, rules, sent, n_rows, threads=self.threads)
                )
                return _in_units(parts, everything, self.time_step)

            solution = GridSolution(
                network,
                {**spikes, given: moved},
                n_samples=moved.n_samples,
                first=1,
                n_steps=n_rows - 1,
                time_step=self.time_step,
                t_end=(n_rows - 1) * self.time_step,
                stamp=0,
                states=states,
                populations=firsts,
            )
            values = np.asarray(problem.loss.evaluate(cast(Any, solution)).values, dtype=np.float64)
        counters = {
            "wraps": fired.wraps,
            "beyond_one_turn": fired.beyond,
            "voltage_clips": fired.clips,
            "readout_resets": readout_resets,
            "clipped_weights": sum(
                int(np.count_nonzero(np.rint(wire.scaled) != wire.meant))
                for part in parts
                for wire in part.wires
                if "weight_clipping" in on and "weight_rounding" in on
            ),
            "merged_inputs": merged,
        }
        return Record.of(
            problem,
            self.name,
            spikes={**spikes, given: moved},
            loss_values=values,
            time_step=self.time_step,
            traces=traces,
            counters=counters,
            notes=() if exported is None else exported.program.notes,
            scheme=Scheme(
                propagators="exact",
                input_rounding=self.input_rounding if "input_rounding" in on else "none",
                transport=0,
                inclusive=False,
                number=f"{self._bits}-bit weights, 24-bit states",
                reset_between_samples=self.samples == "separate",
                one_spike=False,
            ),
        )


def _tables(parts: tuple[Part, ...], dt: float, on: frozenset[str]) -> Tables:
    """Return populations as the kernel takes them, with or without rounding."""
    join = np.concatenate
    keep_u, keep_v = (
        join([(DECAY - getattr(part, name)) / DECAY for part in parts]) for name in ("decay_u", "decay_v")
    )
    neurons = Neurons(
        keep_u=keep_u,
        keep_v=keep_v,
        bias=join([part.bias * LSB for part in parts]),
        threshold=join([np.where(np.isinf(part.threshold), np.inf, part.threshold * LSB) for part in parts]),
        u0=np.zeros(keep_u.size),
        v0=join([part.v_initial * LSB for part in parts]),
        tau_mem=join([part.tau_mem / dt for part in parts]),
        tau_syn=join([part.tau_syn / dt for part in parts]),
        response=join([response(dt, part.tau_mem, part.tau_syn) for part in parts]),
    )
    sizes = np.array([part.population.size for part in parts])
    nothing = np.zeros(sizes.size, np.int64)
    return Tables(
        neurons,
        Layers(np.cumsum(sizes) - sizes, sizes, nothing, nothing),
        matrices_of([[_matrix(wire, "delays" not in on) for wire in part.wires] for part in parts]),
    )


def _matrix(wire: Any, between: bool) -> Matrix:
    steps = wire.matrix(wire.steps)
    whole = np.floor(steps).astype(np.int64) if between else steps.astype(np.int64)
    return Matrix(wire.matrix(wire.weights), whole, None, steps - whole if between else None)


def _trains(
    parts: tuple[Part, ...], fired: Fired, firsts: Mapping[str, int], n_samples: int, time_step: float
) -> tuple[dict[str, es.SpikeTrains], int]:
    """Return the spikes of every population, none for a readout, and how many times a readout was reset."""
    spikes, resets, samples = {}, 0, fired.samples
    for part in parts:
        first, size = firsts[part.population.name], part.population.size
        own = (fired.neurons >= first) & (fired.neurons < first + size)
        if part.readout:
            resets += int(np.count_nonzero(own))
            own[:] = False
        spikes[part.population.name], _ = grid_trains(
            fired.rows[own], fired.neurons[own] - first, samples[own], (n_samples, size), time_step
        )
    return spikes, resets


def _in_units(parts: tuple[Part, ...], fired: Fired, dt: float) -> tuple[Reals, Reals]:
    """Return V and I after each step, (n_samples, n_rows, n_neurons), in the unit of the network.

    In each row u is K(dt) times the current at the beginning of its step; exp(-dt/tau_syn) of the current is left at
    the end.
    """
    join = np.concatenate
    scale = join([np.full(part.population.size, part.quantum / LSB) for part in parts])
    reset = join([part.v_reset for part in parts])
    left = join([np.exp(-dt / part.tau_syn) / response(dt, part.tau_mem, part.tau_syn) for part in parts])
    return reset + scale * fired.v, scale * left * fired.u


def logits(record: Record, population: str, loss: object = None) -> Reals:
    """Return the logits that the deployment computes from a readout's voltages after each step, (n_samples, n_neurons).

    A logit is the sum over steps of V exp(-t/T), where T is the end of the run, unless the loss reads voltages
    otherwise: with its own weighting, with none, or only the largest voltage. mlGeNN also divides sums by T. The class
    is that of the largest logit.

    Parameters
    ----------
    record : Record
    population : str
    loss : Loss, optional

    Raises
    ------
    ValueError
        If the record has no trace of the population, or no end.
    """
    trace = record.traces.get(population)
    if trace is None or record.t_end is None:
        raise ValueError(
            f"the record has no voltages of {population!r}; it has {', '.join(record.traces) or 'none'}"
        )
    return scores(trace.times, trace.voltage, real("t_end", record.t_end), loss)


def scores(times: Reals, voltage: Reals, t_end: float, loss: object = None) -> Reals:
    """Return the logits of voltages at given times, (n_samples, n_neurons, n_times)."""
    if isinstance(loss, es.losses.MaxVoltageCrossEntropy):
        return np.asarray(voltage.max(axis=2))
    weighting: Any = "exponential"
    if isinstance(loss, es.losses.SumVoltageCrossEntropy):
        weighting = "uniform"
    elif isinstance(loss, es.losses.MeanVoltageCrossEntropy):
        weighting = loss.weighting
    function = WEIGHTINGS[weighting] if isinstance(weighting, str) else weighting
    return np.asarray(voltage @ np.asarray(function(times / t_end), dtype=np.float64))
