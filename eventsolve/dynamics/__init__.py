"""What a network does in the long run, from exact derivatives of its flow through all events."""

from eventsolve.dynamics.continuation import Branch as Branch
from eventsolve.dynamics.continuation import Continuation as Continuation
from eventsolve.dynamics.continuation import ContinuationError as ContinuationError
from eventsolve.dynamics.continuation import continuation as continuation
from eventsolve.dynamics.crossings import Event as Event
