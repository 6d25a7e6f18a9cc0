"""Whether all networks of a box have one order of events: the spikes claimed, in one smooth piece.

Beyond what :mod:`eventsolve.certify.cells` proves of every spike, an arrival and the end of a refractory period have to
be in one order: no spike appears or vanishes where they pass each other, but derivatives jump.
"""

from __future__ import annotations

from eventsolve.certify.balls import not_before, working_precision
from eventsolve.certify.boxes import Box
from eventsolve.certify.cells import Question
from eventsolve.certify.claims import Claims, judge
from eventsolve.certify.forward import Enclosed, Wiring
from eventsolve.certify.moments import Moment, at_time, later, order, rational
from eventsolve.certify.samples import Doubt, doubts_of, enclosed_to
from eventsolve.certify.tolerances import tolerances


def first_doubt(wiring: Wiring, sample: int, claimed: Claims, digits: int) -> Doubt | None:
    """Return the first question that keeps a sample's box from being proven one piece, None if it is.

    Parameters
    ----------
    wiring : Wiring
        Of the box.
    sample : int
    claimed : mapping of population to (times, neurons)
        The spikes of the network in the middle, in the order of SpikeTrains.
    digits : int
        As for :func:`eventsolve.certify`.
    """
    box = wiring.box
    enclosed = enclosed_to(wiring, sample, digits)
    doubts = doubts_of(box, sample, enclosed)
    with working_precision(enclosed.bits):
        allowed = tolerances(box, sample, enclosed)
        for name, (times, neurons) in claimed.items():
            found = judge(box, enclosed, allowed, name, sample, times, neurons)
            doubts += [Doubt(name, sample, n, box.t_end, Question.END.value) for n in found.open_at_end]
            doubts += [Doubt(name, sample, r.neuron, r.when, str(r)) for r in found.refuted]
        doubts += _releases(box, sample, enclosed)
    return min(doubts, key=lambda doubt: doubt.time, default=None)


def _releases(box: Box, sample: int, enclosed: Enclosed) -> list[Doubt]:
    """Return the arrivals that may come before or after the end of a refractory period."""
    held_until: dict[int, Moment] = {}
    if box.start is not None:
        start = box.start[sample]
        for c, (time, *free) in enumerate(
            zip(start.time.tolist(), start.free_at.tolist(), start.free_low.tolist(), strict=True)
        ):
            if free > [time, 0.0]:
                held_until[c] = at_time(*free)
    doubts = []
    t_ref = box.parameters["t_ref"]
    for event in enclosed.history:
        c = event.cell
        if event.synapse < 0:
            middle, radius = float(t_ref.middle[c]), float(t_ref.radius[c])
            held_until.pop(c, None)
            if middle + radius > 0.0:
                exact = None if radius else rational(middle)
                held_until[c] = later(event.moment, not_before(0.0, middle, radius), exact)
        elif c in held_until and order(held_until[c], event.moment) is None:
            name, neuron = box.cell_name(c)
            doubts.append(Doubt(name, sample, neuron, event.moment.key, Question.TIE.value))
    return doubts
