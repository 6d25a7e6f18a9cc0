"""Records with something changed."""

from dataclasses import replace

from eventsolve.io.records import Record
from eventsolve.io.records.record import QUANTITIES


def altered(record: Record, **changes) -> Record:
    """The record with other fields, or other gradients by the name of their quantity."""
    gradients = {q: changes.pop(q) for q in QUANTITIES if q in changes}
    return replace(record, gradients=record.gradients | gradients, **changes)
