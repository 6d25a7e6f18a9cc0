"""A network as a program of integers, and the network that a program stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import eventsolve as es
from eventsolve.checks import duration
from eventsolve.frozen import Frozen
from eventsolve.network import Network
from eventsolve.shown import Summary, arrow
from eventsolve.typing import Key, Reals
from validation.loihi2.causes import PARAMETERS
from validation.loihi2.program import DECAY, LARGEST_THRESHOLD, LSB, Program
from validation.loihi2.quantities import (
    MLGENN_READOUT,
    Part,
    Settings,
    Wires,
    layer_of,
    network_of_parts,
    parts_of,
    response,
    tau_of,
)


@dataclass(frozen=True)
class Rounding:
    """The effect of rounding on the weights of a projection; weights and errors in quanta.

    Attributes
    ----------
    n_synapses, n_clipped, n_zeroed, n_altered : int
        How many synapses there are, how many weights were clipped, became 0, and are changed by lava-dl.
    rms_weight, rms_error : float
        Root mean square of the weights before rounding, and of their changes by rounding, clipping and lava-dl.
    """

    n_synapses: int
    n_clipped: int
    n_zeroed: int
    n_altered: int
    rms_weight: float
    rms_error: float


@dataclass(frozen=True, eq=False, repr=False)
class Export(Frozen):
    """A network, the program that it became, and what each rounding did.

    Attributes
    ----------
    network : Network
    settings : Settings
    program : Program
        Its notes are warnings, in a sentence each.
    quanta : mapping of str to float
        By population, a weight unit in the unit of the network's voltages; it is :data:`LSB` units of a state.
    roundings : mapping of (pre, post) to Rounding
    tau_mem, tau_syn : mapping of str to ndarray of float64, (n,)
        Seconds, those that the decays stand for.
    """

    network: Network
    settings: Settings
    program: Program
    quanta: dict[str, float]
    roundings: dict[Key, Rounding]
    tau_mem: dict[str, Reals]
    tau_syn: dict[str, Reals]

    def dequantized(self) -> Network:
        """Return the network in continuous time that the program stands for, with the original names."""
        on = PARAMETERS
        return network_of_parts(self.network, parts_of(self.network, self.settings, on), self.settings, on)

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = []
        for key, r in self.roundings.items():
            said = f"{r.n_synapses} weights of {r.rms_weight:.3g} quanta rms, {r.n_clipped} clipped, {r.n_zeroed} now 0"
            if r.n_altered:
                said += f", {r.n_altered} altered by lava-dl"
            rows.append((arrow(key), said))
        for name, quantum in self.quanta.items():
            neuron = self.network.population(name)
            changes = [
                100 * float(np.max(np.abs(held[name] / neuron.parameter(what) - 1.0)))
                for what, held in (("tau_mem", self.tau_mem), ("tau_syn", self.tau_syn))
            ]
            rows.append(
                (
                    name,
                    f"quantum {quantum:.4g}; tau_mem within {changes[0]:.2g} %, tau_syn {changes[1]:.2g} %",
                )
            )
        if self.program.notes:
            rows.append(("notes", " ".join(self.program.notes)))
        sizes = "-".join(map(str, (self.program.n_inputs, *self.program.sizes)))
        bits = "-".join(str(n) for n in dict.fromkeys(self.settings.bits_of(len(self.program.layers))))
        return f"Export({sizes}, {bits} bits)", rows


def export(network: Network, settings: Settings) -> Export:
    """Return the program that a network becomes.

    Parameters
    ----------
    network : Network
        A chain of populations behind one input, each of which may lead to itself.
    settings : Settings

    Raises
    ------
    ValueError
        If Loihi 2 or NetX cannot represent the network; the message says why.
    """
    return export_of(network, settings, parts_of(network, settings))


def export_of(network: Network, settings: Settings, parts: tuple[Part, ...]) -> Export:
    """Return the program of a network from its parts, which all causes have rounded."""
    notes: list[str] = []
    roundings = {}
    for part in parts:
        for wire in part.wires:
            roundings[wire.projection.key] = _rounding(wire)
        notes += _warnings(part, roundings)
    program = Program(tuple(layer_of(part) for part in parts), tuple(notes))
    return Export(
        network,
        settings,
        program,
        {part.population.name: part.quantum for part in parts},
        roundings,
        {part.population.name: part.tau_mem for part in parts},
        {part.population.name: part.tau_syn for part in parts},
    )


def _rounding(wire: Wires) -> Rounding:
    return Rounding(
        n_synapses=wire.scaled.size,
        n_clipped=int(np.count_nonzero(np.rint(wire.scaled) != wire.meant)),
        n_zeroed=int(np.count_nonzero((wire.weights == 0) & (wire.scaled != 0))),
        n_altered=int(np.count_nonzero(wire.weights != wire.meant)),
        rms_weight=float(np.sqrt(np.mean(wire.scaled**2))) if wire.scaled.size else 0.0,
        rms_error=float(np.sqrt(np.mean((wire.weights - wire.scaled) ** 2))) if wire.scaled.size else 0.0,
    )


def _warnings(part: Part, roundings: dict[Key, Rounding]) -> list[str]:
    name, said = part.population.name, []
    if any(wire.projection.pre == name and wire.steps.any() for wire in part.wires):
        said.append(
            f"{name!r} is recurrent with delays: lava-dl 0.6.0 reads such a layer wrongly, so that it is written for "
            "other loaders only."
        )
    for wire in part.wires:
        key, meant = wire.projection.key, wire.meant
        if meant.size and (meant.min() >= 0 or meant.max() <= 0):
            said.append(
                f"weights of {arrow(key)} are of one sign, at which mlGeNN's exporter fails"
                + (f" and lava-dl changes {roundings[key].n_altered}" if roundings[key].n_altered else "")
                + "."
            )
    if part.readout and (part.threshold <= MLGENN_READOUT).any():
        said.append(
            f"the readout {name!r} spikes and is reset once its voltage is beyond {MLGENN_READOUT} weight units, "
            f"{MLGENN_READOUT * part.quantum:.3g}, as mlGeNN's exporter writes it."
        )
    if (part.bias != 0).any():
        said.append(
            f"the leak of {name!r} is a bias that acts from the first step on, one step before it should."
        )
    return said


def network_of(program: Program, time_step: float, *, quanta: float | Sequence[float] = 1.0) -> Network:
    """Return the network that a program stands for, in continuous time.

    At the time steps its solution is what the chip computes, except that the chip sees spikes late, on the grid, and
    holds states as whole numbers of 24 bits.

    Parameters
    ----------
    program : Program
        The input is called "in", layers "layer0", "layer1", ...
    time_step : float
        Seconds.
    quanta : float or sequence of float
        A weight unit of each layer in the unit of the network's voltages; 1.0 leaves thresholds as they are written.

    Raises
    ------
    ValueError
        If a decay is 0 or 4096, to which no time constant corresponds, if weights are shifted after they are summed, or
        if a layer has initial states or resets.
    """
    dt = duration("time_step", time_step)
    units = [float(q) for q in np.broadcast_to(np.asarray(quanta, float), len(program.layers))]
    if not all(np.isfinite(unit) and unit > 0 for unit in units):
        raise ValueError(f"quanta must be finite and > 0; got {quanta!r}")
    network, before = es.Network(), "in"
    network.add_input(before, program.n_inputs)
    for k, (layer, unit) in enumerate(zip(program.layers, units, strict=True)):
        name = f"layer{k}"
        if layer.u0.any() or layer.v0.any() or layer.reset_interval:
            raise ValueError(
                f"layer {k} has initial states or periodic resets, which a network does not have"
            )
        for what, decay in (("du", layer.du + 1), ("dv", layer.dv)):
            if ((decay == 0) | (decay == DECAY)).any():
                raise ValueError(
                    f"{what} of layer {k} leaves all or nothing of a state, as no time constant does"
                )
        if not all(m.linear for m in layer.matrices) or layer.ff.num_message_bits:
            raise ValueError(
                f"weights of layer {k} are shifted after they are summed, or multiplied by payloads"
            )
        tau_syn, tau_mem = tau_of(dt, np.asarray(layer.du + 1.0)), tau_of(dt, layer.dv.astype(np.float64))
        leak = unit * layer.bias / LSB / -np.expm1(-dt / tau_mem)
        silent = layer.vth > LARGEST_THRESHOLD
        if silent.any() and not silent.all():
            raise ValueError(
                f"some neurons of layer {k} can fire and others cannot, but a population has neurons of one kind"
            )
        neuron = (
            es.LI(tau_mem, tau_syn, v_leak=leak)
            if silent.all()
            else es.LIF(tau_mem, tau_syn, v_threshold=unit * layer.vth, v_leak=leak)
        )
        network.add_population(name, layer.size, neuron)
        scale = (unit / response(dt, tau_mem, tau_syn))[:, None]
        network.connect(before, name, scale * layer.ff.effective, delay=layer.ff.delays * dt)
        if layer.rec is not None:
            if silent.all():
                raise ValueError(f"layer {k} is recurrent but never fires")
            network.connect(name, name, scale * layer.rec.effective, delay=layer.rec.delays * dt)
        before = name
    return network
