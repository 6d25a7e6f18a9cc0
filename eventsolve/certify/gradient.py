"""Gradients in balls: a sample once more with all of its events known, forwards and then backwards.

Forwards, a neuron's :class:`Trajectory` is a list of segments. Each begins with V and I just after an event and ends
just before the next one, or where a loss reads V.

Backwards, p_V = dL/dV and p_I = dL/dI follow the transposed propagator, as over a segment of h seconds the state is
linear in its start. The time t of an event matters by (p f)(t-) - (p f)(t+), where f is the right-hand side of the
differential equations, as the one flow goes on longer and the other begins later. At a crossing t is where
V = v_threshold: e = dL/dt_k, with all that the spike causes and -p_V V'(t+), is paid by V at t-, p_V = -e/V'(t-), and
by the threshold; at a triggered spike by the arrival that has its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from flint import arb

from eventsolve.certify.arithmetic import (
    ONE,
    ZERO,
    EventTime,
    at_time,
    ball,
    elapsed,
    later,
    not_before,
    order,
    rational,
    surely_less,
    surely_zero,
)
from eventsolve.certify.boxes import PARAMETERS, Box
from eventsolve.certify.membrane import Rates, propagator, rates_of, response_derivatives
from eventsolve.certify.network import Enclosed, went_on
from eventsolve.certify.neuron import Question, Unproven


class End(Enum):
    """What ends a segment."""

    ARRIVAL = "an arrival"
    SPIKE = "a spike of its own"
    RELEASE = "the end of its refractory period"
    READ = "a loss reads its voltage"


class Read(NamedTuple):
    """A loss reads V of a cell, with dL/dV: at a fixed time, or just before or after an arrival, and moves with it.

    ``arrival`` is the place of the arrival in the history, -1 at a fixed time: after all that happens then or, where
    ``before``, before it, as a place that is known to be the first of those at about that time.
    """

    cell: int
    moment: EventTime
    cotangent: arb
    arrival: int = -1
    after: bool = False
    before: bool = False


class Parameters(NamedTuple):
    """One neuron's parameters as balls; a readout's threshold is inf."""

    rates: Rates
    threshold: arb
    reset: arb
    leak: arb
    t_ref: arb
    subtracts: bool


class Segment(NamedTuple):
    """From V and I at ``begin`` over ``duration`` to ``end``; ``which`` is a place in the history, or among reads."""

    begin: EventTime
    duration: arb
    voltage: arb
    current: arb
    decay_mem: arb
    decay_syn: arb
    response: arb
    held: bool
    last_voltage: arb
    last_current: arb
    end: End
    moment: EventTime
    which: int


def parameters_of(box: Box, cell: int) -> Parameters:
    """Return a neuron's parameters."""
    row = {name: (float(n.middle[cell]), float(n.radius[cell])) for name, n in box.parameters.items()}
    return Parameters(
        rates_of(ball(*row["tau_mem"]), ball(*row["tau_syn"])),
        ball(*row["v_threshold"]),
        ball(*row["v_reset"]),
        ball(*row["v_leak"]),
        not_before(0.0, *row["t_ref"]),
        bool(box.subtracts[cell]),
    )


def is_free_at_once(box: Box, cell: int) -> bool:
    """Say whether a neuron has no refractory period in any network of the box."""
    t_ref = box.parameters["t_ref"]
    return float(t_ref.middle[cell]) == 0.0 and float(t_ref.radius[cell]) == 0.0


class Trajectory:
    """One neuron from its start, up to where it has been told of."""

    def __init__(self, box: Box, sample: int, cell: int, reads: Iterable[Read]) -> None:
        self.box, self.cell = box, cell
        self.parameters = parameters_of(box, cell)
        self.reads = list(reads)
        self.n_read = 0
        self.segments: list[Segment] = []
        self.recent: list[EventTime] = []
        self.time = at_time(0.0)
        self.release: EventTime | None = None
        n = box.parameters
        self.voltage, self.current = n["v_initial"].at(cell), n["i_initial"].at(cell)
        if box.start is not None:
            self.voltage, self.current, self.time, release = went_on(box, sample, cell)
            if (release.key, release.low) > (self.time.key, self.time.low):
                self.release = release

    def arrive(self, moment: EventTime, weight: arb, *, delta: bool, which: int) -> None:
        """Let a weight arrive."""
        self._catch_up(moment, End.ARRIVAL, which)
        self._append(moment, End.ARRIVAL, which)
        if not delta:
            self.current += weight
        elif self.release is None:
            self.voltage += weight
        self.recent.append(moment)
        self._read_after(which)

    def spike(self, moment: EventTime, *, triggered: bool, which: int) -> None:
        """Let the neuron spike."""
        self._catch_up(moment, End.SPIKE, which)
        self._require_settled(moment)
        self._append(moment, End.SPIKE, which)
        p = self.parameters
        if triggered and p.subtracts:
            self.voltage -= p.threshold - p.reset
        else:
            self.voltage = p.reset
        self.release = None
        if not is_free_at_once(self.box, self.cell):
            t_ref = self.box.parameters["t_ref"]
            exact = float(t_ref.radius[self.cell]) == 0.0
            self.release = later(moment, p.t_ref, rational(float(t_ref.middle[self.cell])) if exact else None)

    def finish(self, t_end: EventTime) -> None:
        """Read what is still to be read."""
        while self.n_read < len(self.reads):
            self._catch_up(t_end, End.READ, -1)
            if self.n_read < len(self.reads):
                self._read(self.reads[self.n_read])

    def _catch_up(self, until: EventTime, end: End, which: int) -> None:
        """Take releases and reads that come before an event."""
        while True:
            read = self._next_read(until, end, which)
            release = self.release
            if release is not None and not self._comes_first(release, until, always=False):
                release = None
            if release is not None and (
                read is None or not self._comes_first(read.moment, release, always=False)
            ):
                self._require_settled(release)
                self._append(release, End.RELEASE, -1)
                self.release = None
            elif read is not None:
                self._read(read)
            else:
                return

    def _next_read(self, until: EventTime, end: End, which: int) -> Read | None:
        """Return the next read if it comes before an event."""
        if self.n_read == len(self.reads):
            return None
        read = self.reads[self.n_read]
        if read.arrival >= 0:
            return read if read.arrival == which and not read.after else None
        always = read.before or end is End.READ
        return read if self._comes_first(read.moment, until, always=always) else None

    def _comes_first(self, moment: EventTime, other: EventTime, *, always: bool) -> bool:
        """Say whether a moment comes before another, or with it where ``always``; a release comes with it."""
        side = order(moment, other)
        if side is None:
            if always:
                return True
            raise Unproven(self.cell, moment.key, Question.TIE)
        return side < 0 or (side == 0 and (always or moment is self.release))

    def _read(self, read: Read) -> None:
        self._append(read.moment, End.READ, self.n_read)
        self.n_read += 1

    def _read_after(self, which: int) -> None:
        """Take reads just after an arrival."""
        while self.n_read < len(self.reads):
            read = self.reads[self.n_read]
            if read.arrival != which or not read.after:
                return
            self._read(read)

    def _require_settled(self, moment: EventTime) -> None:
        """Prove that what was taken for earlier than a spike or a release is."""
        for earlier in self.recent:
            if order(earlier, moment) not in (-1, 0):
                raise Unproven(self.cell, moment.key, Question.TIE)
        self.recent = [moment]

    def _append(self, moment: EventTime, end: End, which: int) -> None:
        p, held = self.parameters, self.release is not None
        duration = elapsed(self.time, moment)
        decay_mem, decay_syn, response = propagator(p.rates, duration)
        voltage, current = self.voltage, self.current * decay_syn
        if not held:
            voltage = p.leak + (self.voltage - p.leak) * decay_mem + self.current * response
        self.segments.append(
            Segment(
                self.time,
                duration,
                self.voltage,
                self.current,
                decay_mem,
                decay_syn,
                response,
                held,
                voltage,
                current,
                end,
                moment,
                which,
            )
        )
        self.time, self.voltage, self.current = moment, voltage, current


def trajectories_of(
    box: Box, sample: int, enclosed: Enclosed, reads: Iterable[Read]
) -> dict[int, Trajectory]:
    """Return the trajectories of all cells to which something happens or of which something is read.

    Raises
    ------
    Unproven
        If the order of two events is open and matters to a gradient.
    """
    by_cell: dict[int, list[Read]] = {}
    for read in reads:
        by_cell.setdefault(read.cell, []).append(read)
    trajectories = {cell: Trajectory(box, sample, cell, given) for cell, given in by_cell.items()}
    synapses = box.synapses
    for which, event in enumerate(enclosed.history):
        trajectory = trajectories.get(event.cell)
        if trajectory is None:
            trajectory = trajectories[event.cell] = Trajectory(box, sample, event.cell, ())
        if event.synapse < 0:
            triggered = enclosed.spikes[event.spike].trigger >= 0
            trajectory.spike(event.moment, triggered=triggered, which=which)
        else:
            k = event.synapse
            trajectory.arrive(event.moment, synapses.weight.at(k), delta=bool(synapses.delta[k]), which=which)
    end = at_time(float(box.until[sample]))
    for trajectory in trajectories.values():
        trajectory.finish(end)
    return trajectories


class Sized(NamedTuple):
    """A number in a ball, and in float64 the sum of the sizes of all terms that it is the sum of."""

    value: arb
    size: float

    def times(self, factor: arb) -> Sized:
        """Return its product with a number."""
        return Sized(self.value * factor, self.size * abs(float(factor.mid())))

    def plus(self, other: Sized) -> Sized:
        """Return its sum with another one."""
        return Sized(self.value + other.value, self.size + other.size)


NOTHING = Sized(ZERO, 0.0)


def sized(number: arb) -> Sized:
    """Return a number that is a single term."""
    return Sized(number, abs(float(number.mid())))


class Sums(list[arb]):
    """Sums in balls, at first of nothing, and in ``sizes`` those of the sizes of their terms."""

    def __init__(self, n: int) -> None:
        super().__init__([ZERO] * n)
        self.sizes = [0.0] * n

    def add(self, k: int, *terms: Sized) -> None:
        """Add terms to one of the sums."""
        for term in terms:
            self[k] += term.value
            self.sizes[k] += term.size

    def get(self, k: int) -> Sized:
        """Return one of the sums."""
        return Sized(self[k], self.sizes[k])


@dataclass(frozen=True, eq=False)
class Adjoint:
    """Derivatives of a loss: by synapse, by parameter and cell, and dL/dt of every spike with all that it causes.

    ``after`` is p_V of every cell just after what ends each of its segments.
    """

    weight: Sums
    delay: Sums
    parameters: Mapping[str, Sums]
    spike_times: Sums
    after: Mapping[int, list[arb]]


class _Costate:
    """p_V and p_I of one neuron at the end of its last segment that is left."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory, self.left = trajectory, len(trajectory.segments)
        self.v, self.i = NOTHING, NOTHING
        self.after = [ZERO] * self.left
        self.released = NOTHING
        self.inherited: Sized | None = None


def adjoint(
    box: Box, enclosed: Enclosed, trajectories: Mapping[int, Trajectory], cotangents: Mapping[int, arb]
) -> Adjoint:
    """Go back through the events of a sample.

    Parameters
    ----------
    box, enclosed, trajectories
        Of a sample of which nothing is open; the loss's reads are in the trajectories.
    cotangents : mapping of int to arb
        dL/dt in 1/s of spikes, by their place in ``enclosed.spikes``.

    Raises
    ------
    Unproven
        If a spike on which the loss depends has no slope that is proven.
    """
    synapses = box.synapses
    costates = {cell: _Costate(trajectory) for cell, trajectory in trajectories.items()}
    found = Adjoint(
        Sums(synapses.source.size),
        Sums(synapses.source.size),
        {name: Sums(box.n_cells) for name in PARAMETERS},
        Sums(len(enclosed.spikes)),
        {cell: costate.after for cell, costate in costates.items()},
    )
    for spike, cotangent in cotangents.items():
        found.spike_times.add(spike, sized(cotangent))
    for which in range(len(enclosed.history) - 1, -1, -1):
        costate = costates[enclosed.history[which].cell]
        while _step_back(box, enclosed, found, costate) not in (End.ARRIVAL, End.SPIKE):
            pass
        # what is read just before this arrival moves with it: its spike has to know before its own turn comes
        while _is_read_before(costate, which):
            _step_back(box, enclosed, found, costate)
    for costate in costates.values():
        while costate.left:
            _step_back(box, enclosed, found, costate)
        found.parameters["v_initial"].add(costate.trajectory.cell, costate.v)
        found.parameters["i_initial"].add(costate.trajectory.cell, costate.i)
    return found


def _is_read_before(costate: _Costate, which: int) -> bool:
    """Say whether the event that is next to be undone is a read that moves with an arrival, just before it."""
    if not costate.left:
        return False
    segment = costate.trajectory.segments[costate.left - 1]
    return segment.end is End.READ and costate.trajectory.reads[segment.which].arrival == which


def _step_back(box: Box, enclosed: Enclosed, found: Adjoint, costate: _Costate) -> End:
    """Go back over the event that ends a segment, and the segment; return what ended it."""
    costate.left -= 1
    segment = costate.trajectory.segments[costate.left]
    costate.after[costate.left] = costate.v.value
    if segment.end is End.ARRIVAL:
        _over_arrival(box, enclosed, found, costate, segment)
    elif segment.end is End.SPIKE:
        _over_spike(enclosed, found, costate, segment)
    elif segment.end is End.RELEASE:
        costate.released = _flow(costate.v, costate.trajectory, segment.last_voltage, segment.last_current)
    else:
        read = costate.trajectory.reads[segment.which]
        cotangent = sized(read.cotangent)
        costate.v = costate.v.plus(cotangent)
        if read.arrival >= 0:
            error = _flow(cotangent, costate.trajectory, segment.last_voltage, segment.last_current)
            event = enclosed.history[read.arrival]
            found.delay.add(event.synapse, error)
            found.spike_times.add(event.spike, error)
    _through(found, costate, segment)
    return segment.end


def _flow(p_v: Sized, trajectory: Trajectory, voltage: arb, current: arb) -> Sized:
    """Return p_V V', by the terms that V' is the sum of."""
    terms = sum(sized(term).size for term in (trajectory.parameters.leak, voltage, current))
    slope = _slope(trajectory, voltage, current)
    return Sized(p_v.value * slope, p_v.size * terms * float(trajectory.parameters.rates.mem.mid()))


def _slope(trajectory: Trajectory, voltage: arb, current: arb) -> arb:
    return (trajectory.parameters.leak - voltage + current) * trajectory.parameters.rates.mem


def _over_arrival(box: Box, enclosed: Enclosed, found: Adjoint, costate: _Costate, segment: Segment) -> None:
    event = enclosed.history[segment.which]
    k, rates = event.synapse, costate.trajectory.parameters.rates
    weight = box.synapses.weight.at(k)
    if not box.synapses.delta[k]:
        found.weight.add(k, costate.i)
        error = costate.i.times(weight * rates.syn)
        if not segment.held:
            error = error.plus(costate.v.times(-weight * rates.mem))
    elif segment.held:
        return
    else:
        found.weight.add(k, costate.v)
        error = costate.v.times(weight * rates.mem)
        if costate.inherited is not None:
            moved = _flow(costate.v, costate.trajectory, segment.last_voltage, segment.last_current)
            error, costate.inherited = costate.inherited.plus(moved), None
    found.delay.add(k, error)
    found.spike_times.add(event.spike, error)


def _over_spike(enclosed: Enclosed, found: Adjoint, costate: _Costate, segment: Segment) -> None:
    trajectory, spike = costate.trajectory, enclosed.history[segment.which].spike
    p, cell = trajectory.parameters, trajectory.cell
    later = trajectory.segments[costate.left + 1] if costate.left + 1 < len(trajectory.segments) else None
    after = NOTHING  # if nothing more is known of the neuron
    if later is not None and later.held:
        after = costate.released
    elif later is not None:
        after = _flow(costate.v, trajectory, later.voltage, segment.last_current)
    costate.released = NOTHING
    found.spike_times.add(spike, after.times(-ONE))
    error = found.spike_times.get(spike)
    found.parameters["t_ref"].add(cell, after.times(-ONE))
    found.parameters["v_reset"].add(cell, costate.v)
    if enclosed.spikes[spike].trigger >= 0:
        costate.inherited = error
        if p.subtracts:
            found.parameters["v_threshold"].add(cell, costate.v.times(-ONE))
        else:
            costate.v = NOTHING
        return
    costate.v = NOTHING
    if surely_zero(error.value):
        return
    slope = _slope(trajectory, p.threshold, segment.last_current)
    if not surely_less(ZERO, slope):
        raise Unproven(cell, segment.moment.key, Question.SLOPE)
    costate.v = error.times(-ONE / slope)
    found.parameters["v_threshold"].add(cell, costate.v.times(-ONE))


def _through(found: Adjoint, costate: _Costate, segment: Segment) -> None:
    """Go back through a segment, over which the state is linear in its start."""
    trajectory, h = costate.trajectory, segment.duration
    if (surely_zero(costate.v.value) and surely_zero(costate.i.value)) or surely_zero(h):
        return
    rates, leak, cell = trajectory.parameters.rates, trajectory.parameters.leak, trajectory.cell
    decay_mem, decay_syn, response = segment.decay_mem, segment.decay_syn, segment.response
    parameters = found.parameters
    parameters["tau_syn"].add(cell, costate.i.times(segment.current * decay_syn * h * rates.syn * rates.syn))
    costate.i = costate.i.times(decay_syn)
    if segment.held:
        return
    by = response_derivatives(rates, h, decay_mem, decay_syn, response)
    excess = segment.voltage - leak
    parameters["tau_syn"].add(cell, costate.v.times(segment.current * by.by_tau_syn))
    parameters["tau_mem"].add(
        cell,
        costate.v.times(excess * decay_mem * h * rates.mem * rates.mem),
        costate.v.times(segment.current * by.by_tau_mem),
    )
    parameters["v_leak"].add(cell, costate.v.times(ONE - decay_mem))
    costate.i = costate.i.plus(costate.v.times(response))
    costate.v = costate.v.times(decay_mem)
