"""Records: what an implementation computed, in a file that any language can write.

A record is one document, described in ``docs/reference/records.md`` and by the JSON schema :func:`schema`: a network or
a reference to one, inputs, and as much as there is of spikes, losses, gradients and traces, with the units and
conventions that they are in. Its arrays stand in it as lists (``.json``), or beside it in a zip of ``.npy`` files
(``.npz``) or as datasets (``.h5``, with the extra ``h5py``). Nothing is ever unpickled.

>>> import io, eventsolve as es
>>> from eventsolve.io import records
>>> record = records.Record(
...     name="mine",
...     t_end=50e-3,
...     inputs={"in": es.SpikeTrains.from_lists([[[0.0]]])},
...     spikes={"out": es.SpikeTrains.from_lists([[[7e-3]]])},
...     time_step=1e-3,
... )
>>> records.write(record, "mine.npz")  # doctest: +SKIP
>>> records.read("mine.npz").spikes["out"].first()  # doctest: +SKIP
array([[0.007]])
"""

from eventsolve.bounded import MAX_BYTES as MAX_BYTES
from eventsolve.io.records.document import schema as schema
from eventsolve.io.records.fields import RecordError as RecordError
from eventsolve.io.records.files import KINDS as KINDS
from eventsolve.io.records.files import OtherRecord as OtherRecord
from eventsolve.io.records.files import document_in as document_in
from eventsolve.io.records.files import read as read
from eventsolve.io.records.files import write as write
from eventsolve.io.records.files import write_document as write_document
from eventsolve.io.records.losses import GivenErrors as GivenErrors
from eventsolve.io.records.record import Record as Record
from eventsolve.io.records.record import Reference as Reference
from eventsolve.io.records.record import Trace as Trace
from eventsolve.io.records.scheme import Scheme as Scheme
