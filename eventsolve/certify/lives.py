"""A sample once more with all of its events known: what V and I are at each, in balls, and where a loss reads V.

A neuron's life is a list of segments. Each begins with V and I just after an event and ends just before the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from flint import arb

from eventsolve.certify.balls import ball, not_before
from eventsolve.certify.boxes import Box
from eventsolve.certify.cells import Question, Unproven
from eventsolve.certify.flow import Rates, propagator, rates_of
from eventsolve.certify.forward import Enclosed
from eventsolve.certify.moments import Moment, at_time, elapsed, later, order, rational


class End(Enum):
    """What ends a segment."""

    ARRIVAL = "an arrival"
    SPIKE = "a spike of its own"
    RELEASE = "the end of its refractory period"
    READ = "a loss reads its voltage"


class Read(NamedTuple):
    """A loss reads V of a cell, with dL/dV: at a fixed time, or just before or after an arrival, and moves with it.

    ``arrival`` is the place of the arrival in the history, -1 at a fixed time.
    """

    cell: int
    moment: Moment
    cotangent: arb
    arrival: int = -1
    after: bool = False


class Parameters(NamedTuple):
    """One neuron's parameters as balls; a readout's threshold is None."""

    rates: Rates
    threshold: arb | None
    reset: arb
    leak: arb
    t_ref: arb
    subtracts: bool


class Segment(NamedTuple):
    """From V and I at ``begin`` over ``duration`` to ``end``; ``which`` is a place in the history, or among reads."""

    begin: Moment
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
    moment: Moment
    which: int


def parameters_of(box: Box, cell: int) -> Parameters:
    """Return a neuron's parameters."""
    row = {name: (float(n.middle[cell]), float(n.radius[cell])) for name, n in box.parameters.items()}
    spiking = row["v_threshold"][0] < float("inf")
    return Parameters(
        rates_of(ball(*row["tau_mem"]), ball(*row["tau_syn"])),
        ball(*row["v_threshold"]) if spiking else None,
        ball(*row["v_reset"]),
        ball(*row["v_leak"]),
        not_before(0.0, *row["t_ref"]),
        bool(box.subtracts[cell]),
    )


class Life:
    """One neuron from its start, up to where it has been told of."""

    def __init__(self, box: Box, sample: int, cell: int, reads: Iterable[Read]) -> None:
        self.box, self.cell = box, cell
        self.parameters = parameters_of(box, cell)
        self.reads = list(reads)
        self.n_read = 0
        self.segments: list[Segment] = []
        self.recent: list[Moment] = []
        self.time = at_time(0.0)
        self.release: Moment | None = None
        n = box.parameters
        self.voltage = ball(float(n["v_initial"].middle[cell]), float(n["v_initial"].radius[cell]))
        self.current = ball(float(n["i_initial"].middle[cell]), float(n["i_initial"].radius[cell]))
        if box.start is not None:
            time, excess, current, free_at, free_low = (float(column[cell]) for column in box.start[sample])
            self.time = at_time(time)
            self.voltage, self.current = ball(float(n["v_leak"].middle[cell])) + excess, ball(current)
            self.release = at_time(free_at, free_low) if (free_at, free_low) > (time, 0.0) else None

    def arrive(self, moment: Moment, weight: arb, *, delta: bool, which: int) -> None:
        """Let a weight arrive."""
        self._catch_up(moment, End.ARRIVAL, delta, which)
        self._append(moment, End.ARRIVAL, which)
        if not delta:
            self.current += weight
        elif self.release is None:
            self.voltage += weight
        self.recent.append(moment)
        self._read_riding(which, after=True)

    def spike(self, moment: Moment, *, triggered: bool, which: int) -> None:
        """Let the neuron spike."""
        self._catch_up(moment, End.SPIKE, False, which)
        self._require_settled(moment)
        self._append(moment, End.SPIKE, which)
        p = self.parameters
        if triggered and p.subtracts and p.threshold is not None:
            self.voltage -= p.threshold - p.reset
        else:
            self.voltage = p.reset
        t_ref = float(self.box.parameters["t_ref"].middle[self.cell])
        exact = float(self.box.parameters["t_ref"].radius[self.cell]) == 0.0
        self.release = None
        if not (exact and t_ref == 0.0):
            self.release = later(moment, p.t_ref, rational(t_ref) if exact else None)

    def finish(self, t_end: Moment) -> None:
        """Read what is still to be read."""
        while self.n_read < len(self.reads):
            self._catch_up(t_end, End.READ, False, -1)
            if self.n_read < len(self.reads):
                self._read(self.reads[self.n_read])

    def _catch_up(self, until: Moment, end: End, delta: bool, which: int) -> None:
        """Take releases and reads that come before an event."""
        while True:
            read = self._next_read(until, end, delta, which)
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

    def _next_read(self, until: Moment, end: End, delta: bool, which: int) -> Read | None:
        """Return the next read if it comes before an event, or with one across which V is continuous."""
        if self.n_read == len(self.reads):
            return None
        read = self.reads[self.n_read]
        if read.arrival >= 0:
            return read if read.arrival == which and not read.after else None
        smooth = end is End.READ or (end is End.ARRIVAL and not delta)
        return read if self._comes_first(read.moment, until, always=smooth) else None

    def _comes_first(self, moment: Moment, other: Moment, *, always: bool) -> bool:
        """Say whether a moment comes before another, or with it where ``always``; a release comes with it."""
        side = order(moment, other)
        if side is None:
            if always:
                return True
            raise Unproven(self.cell, moment.key, Question.TIE, 0.0)
        return side < 0 or (side == 0 and (always or moment is self.release))

    def _read(self, read: Read) -> None:
        self._append(read.moment, End.READ, self.n_read)
        self.n_read += 1

    def _read_riding(self, which: int, *, after: bool) -> None:
        while self.n_read < len(self.reads):
            read = self.reads[self.n_read]
            if read.arrival != which or read.after is not after:
                return
            self._read(read)

    def _require_settled(self, moment: Moment) -> None:
        """Prove that what was taken for earlier than a spike or a release is."""
        for earlier in self.recent:
            if order(earlier, moment) not in (-1, 0):
                raise Unproven(self.cell, moment.key, Question.TIE, 0.0)
        self.recent = [moment]

    def _append(self, moment: Moment, end: End, which: int) -> None:
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


def lives_of(box: Box, sample: int, enclosed: Enclosed, reads: Iterable[Read]) -> dict[int, Life]:
    """Return the lives of all cells to which something happens or of which something is read.

    Raises
    ------
    Unproven
        If the order of two events is open and matters to a gradient.
    """
    by_cell: dict[int, list[Read]] = {}
    for read in reads:
        by_cell.setdefault(read.cell, []).append(read)
    lives = {cell: Life(box, sample, cell, given) for cell, given in by_cell.items()}
    synapses = box.synapses
    for which, event in enumerate(enclosed.history):
        life = lives.get(event.cell)
        if life is None:
            life = lives[event.cell] = Life(box, sample, event.cell, ())
        if event.synapse < 0:
            triggered = enclosed.spikes[event.spike].trigger >= 0
            life.spike(event.moment, triggered=triggered, which=which)
        else:
            k = event.synapse
            weight = ball(float(synapses.weight.middle[k]), float(synapses.weight.radius[k]))
            life.arrive(event.moment, weight, delta=bool(synapses.delta[k]), which=which)
    end = at_time(float(box.until[sample]))
    for life in lives.values():
        life.finish(end)
    return lives
