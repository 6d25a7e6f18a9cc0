"""Packets on the chip: keys, routing entries, the links that packets take, and how many take each of them in each step.

A key has 32 bits: what kind of packet it is, the copy and the element that sent it, a slot, and what it is about: for
spikes, errors and the sums that the elements of a layer pass on, a step and a neuron; for gradients and weights, a
synapse. The slot tells receivers apart where an element sends to one of several: the projection and the part of its
source to which an error goes back, the optimizer element of a gradient, the layer element of a weight. A routing entry
looks at everything above the step: one entry per kind, copy, element and slot, whatever the number of neurons.

Elements are placed in the order of the copies on the nodes of a mesh, row by row. A packet goes along x, then along y,
and a multicast packet takes every link once. (The router's real floor plan is not public; a mesh with XY routing is.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp

from eventsolve.typing import Integers
from validation.spinnaker2.image import LOSS, Image, Spikes
from validation.spinnaker2.memory import KEY_BYTES, DoesNotFit, Element, Layout, carried_bytes, number_bytes

Node: TypeAlias = tuple[int, int]
Link: TypeAlias = tuple[Node, Node]

KEY_BITS = 32
HEADER_BYTES = 1


class Kind(IntEnum):
    """Of a packet."""

    SPIKE = 0
    ERROR = 1
    SUM = 2
    GRADIENT = 3
    WEIGHT = 4


class KeyLayout(NamedTuple):
    """How many bits each field of a key has, from the highest.

    Attributes
    ----------
    kind, copy, element, slot : int
    step, neuron : int
        Of spikes, errors and sums.
    synapse : int
        Of gradients and weights, in the place of step and neuron.
    """

    kind: int
    copy: int
    element: int
    slot: int
    step: int
    neuron: int
    synapse: int

    @property
    def low(self) -> int:
        """Bits that routing entries do not look at."""
        return max(self.step + self.neuron, self.synapse)

    @property
    def bits(self) -> int:
        """Of the whole key."""
        return self.kind + self.copy + self.element + self.slot + self.low

    @property
    def mask(self) -> int:
        """The bits that routing entries look at."""
        return (1 << self.bits) - (1 << self.low)

    def prefix(self, kind: Kind, copy: int, element: int, slot: int) -> int:
        """Return the key of a routing entry."""
        return (((kind << self.copy | copy) << self.element | element) << self.slot | slot) << self.low

    def key(self, kind: Kind, copy: int, element: int, slot: int, step: int, neuron: int) -> int:
        """Return the key of a spike, an error or a sum."""
        return self.prefix(kind, copy, element, slot) | step << self.neuron | neuron

    def fields(self, key: int) -> tuple[Kind, int, int, int, int, int]:
        """Return kind, copy, element, slot, step and neuron of a key of a spike, an error or a sum."""
        found = []
        for width in (self.neuron, self.low - self.neuron, self.slot, self.element, self.copy, self.kind):
            found.append(key & ((1 << width) - 1))
            key >>= width
        neuron, step, slot, element, copy, kind = found
        return Kind(kind), copy, element, slot, step, neuron


class Route(NamedTuple):
    """A routing entry, and what goes by it.

    Attributes
    ----------
    kind : Kind
    copy, element, slot : int
        Of the sender; optimizer elements are counted on from those of a copy, and have copy 0.
    about : Element
        The element whose neurons, or weights, its packets are about.
    fixed : int
        Packets per sample of a gradient, per batch of a weight; 0 where spikes decide.
    payload : int
        Bytes.
    source : int
        The sender's place on the chip.
    targets : tuple of int
        The receivers' places.
    """

    kind: Kind
    copy: int
    element: int
    slot: int
    about: Element
    fixed: int
    payload: int
    source: int
    targets: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Of one packet."""
        return HEADER_BYTES + KEY_BYTES + self.payload


@dataclass(frozen=True, eq=False)
class Traffic:
    """How many packets a batch sent.

    Attributes
    ----------
    links : tuple of Link
    forward, backward : ndarray of int64, (n_links, n_steps)
        Packets on each link in each step: spikes; errors and sums, by the step of the spike that they answer. Samples
        that a copy runs one after the other are added up.
    update : ndarray of int64, (n_links,)
        Gradients and weights.
    sent, sent_bytes : mapping of Kind to int
        A multicast packet counts once.
    """

    links: tuple[Link, ...]
    forward: Integers
    backward: Integers
    update: Integers
    sent: Mapping[Kind, int]
    sent_bytes: Mapping[Kind, int]


@dataclass(frozen=True, eq=False)
class Routing:
    """The keys and routes of a layout.

    Raises
    ------
    DoesNotFit
        If keys need more bits than they have, or the router more entries.
    """

    layout: Layout
    image: Image
    output: str
    n_steps: int

    def __post_init__(self) -> None:
        keys, entries = self.keys, self.layout.hardware.routing_entries
        if keys.bits > KEY_BITS:
            fields = ", ".join(f"{name} {bits}" for name, bits in zip(keys._fields, keys, strict=True))
            raise DoesNotFit(f"a key has {KEY_BITS} bits; {keys.bits} are needed: {fields}")
        if len(self.routes) > entries:
            raise DoesNotFit(f"the router has {entries} entries; {len(self.routes)} are needed")

    @cached_property
    def keys(self) -> KeyLayout:
        """The fields of keys, as narrow as the network allows."""
        copy, optimizer = self.layout.copy, self.layout.optimizer
        return KeyLayout(
            kind=_width(len(Kind)),
            copy=_width(self.layout.copies),
            element=_width(len(copy) + len(optimizer)),
            slot=_width(max((route.slot for route in self.routes), default=0) + 1),
            step=_width(self.n_steps),
            neuron=_width(max(e.high - e.low for e in copy)),
            synapse=_width(max((self._synapses(e) for e in copy), default=0)),
        )

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """All routing entries."""
        return tuple(
            route
            for found in (self._of_spikes(), self._of_errors(), self._of_gradients(), self._of_weights())
            for route in found
        )

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """All links that some packet takes."""
        return tuple(sorted({link for route in self.routes for link in self.tree(route)}))

    def tree(self, route: Route) -> set[Link]:
        """Return the links that a packet takes, each once."""
        source = self._node(route.source)
        return {link for target in route.targets for link in _path(source, self._node(target))}

    def traffic(self, spikes: Mapping[str, Spikes], n_samples: int) -> Traffic:
        """Count the packets of a batch, of which sample s runs on copy s modulo the number of copies.

        Parameters
        ----------
        spikes : mapping of str to Spikes
            Of every population.
        n_samples : int
        """
        about = self._counts(spikes, n_samples)
        first = self._counts({self.output: _first(spikes[self.output])}, n_samples)
        n = len(self.routes)
        forward, backward = np.zeros((n, self.n_steps), np.int64), np.zeros((n, self.n_steps), np.int64)
        update = np.zeros(n, np.int64)
        samples = np.bincount(np.arange(n_samples) % self.layout.copies, minlength=self.layout.copies)
        for k, route in enumerate(self.routes):
            if route.kind is Kind.SPIKE:
                forward[k] = about[route.copy, route.about]
            elif route.kind is Kind.GRADIENT:
                update[k] = route.fixed * samples[route.copy]
            elif route.kind is Kind.WEIGHT:
                update[k] = route.fixed
            else:
                from_loss = self.layout.copy[route.element].program == LOSS
                answered = (first if from_loss else about)[route.copy, route.about]
                backward[k, :-1] = answered[:-1]  # what is sent in the last step never arrives
        crossed = self._incidence
        totals = (forward + backward).sum(axis=1) + update
        sent = dict.fromkeys(Kind, 0)
        sent_bytes = dict.fromkeys(Kind, 0)
        for route, total in zip(self.routes, totals.tolist(), strict=True):
            sent[route.kind] += total
            sent_bytes[route.kind] += total * route.bytes
        return Traffic(self.links, crossed @ forward, crossed @ backward, crossed @ update, sent, sent_bytes)

    # -- routes

    def _of_spikes(self) -> Iterator[Route]:
        for e, element in enumerate(self.layout.copy):
            targets = [
                t
                for t, other in enumerate(self.layout.copy)
                if element.program in self._sources(other.program)
            ]
            if targets:
                yield from self._in_copies(Kind.SPIKE, e, 0, element, 0, targets)

    def _of_errors(self) -> Iterator[Route]:
        adjoint = self.image.arithmetic.adjoint
        for e, element in enumerate(self.layout.copy):
            owners = [
                (t, other)
                for source in self._sources(element.program)
                for t, other in enumerate(self.layout.copy)
                if other.program == source
            ]
            following = self.layout.copy[e + 1 : e + 2]
            passes_on = bool(following) and following[0].program == element.program
            for slot, (t, other) in enumerate(owners):
                if passes_on:
                    yield from self._in_copies(Kind.SUM, e, slot, other, carried_bytes(adjoint), [e + 1])
                else:
                    yield from self._in_copies(Kind.ERROR, e, slot, other, number_bytes(adjoint), [t])

    def _of_gradients(self) -> Iterator[Route]:
        payload = number_bytes(self.image.arithmetic.gradient)
        for e, o, slot, count in self._shares():
            for copy in range(self.layout.copies):
                target = (self._optimizer_place(o),)
                about = self.layout.optimizer[o]
                source = self._place(copy, e)
                yield Route(Kind.GRADIENT, copy, e, slot, about, count, payload, source, target)

    def _of_weights(self) -> Iterator[Route]:
        payload = number_bytes(self.image.arithmetic.weight)
        for e, o, _, count in self._shares():
            targets = tuple(self._place(copy, e) for copy in range(self.layout.copies))
            sender = len(self.layout.copy) + o
            about = self.layout.optimizer[o]
            yield Route(Kind.WEIGHT, 0, sender, e, about, count, payload, self._optimizer_place(o), targets)

    def _shares(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield which layer element shares how many weights with which optimizer element, and the how many-th it is."""
        start = 0
        for e, element in enumerate(self.layout.copy):
            stop = start + self._synapses(element)
            slot = 0
            for o, other in enumerate(self.layout.optimizer):
                common = min(stop, other.high) - max(start, other.low)
                if common > 0:
                    yield e, o, slot, common
                    slot += 1
            start = stop

    def _in_copies(
        self, kind: Kind, e: int, slot: int, about: Element, payload: int, targets: Iterable[int]
    ) -> Iterator[Route]:
        for copy in range(self.layout.copies):
            places = tuple(self._place(copy, t) for t in targets)
            yield Route(kind, copy, e, slot, about, 0, payload, self._place(copy, e), places)

    def _sources(self, program: str) -> list[str]:
        """Return whose spikes a program receives, projection by projection."""
        if program == LOSS:
            return [self.output]
        layer = self.image.layers.get(program)
        return [] if layer is None else [block.key[0] for block in layer.afferents]

    def _synapses(self, element: Element) -> int:
        layer = self.image.layers.get(element.program)
        if layer is None:
            return 0
        return (element.high - element.low) * sum(int(block.values.shape[0]) for block in layer.afferents)

    # -- places

    def _place(self, copy: int, element: int) -> int:
        return copy * len(self.layout.copy) + element

    def _optimizer_place(self, o: int) -> int:
        return self.layout.copies * len(self.layout.copy) + o

    def _node(self, place: int) -> Node:
        quad = place // self.layout.hardware.elements_per_quad
        return quad % self.layout.hardware.columns, quad // self.layout.hardware.columns

    @cached_property
    def _incidence(self) -> sp.csr_array:
        index = {link: k for k, link in enumerate(self.links)}
        rows = [index[link] for route in self.routes for link in self.tree(route)]
        columns = [k for k, route in enumerate(self.routes) for _ in self.tree(route)]
        ones = np.ones(len(rows), np.int64)
        return sp.csr_array((ones, (rows, columns)), shape=(len(index), len(self.routes)))

    def _counts(self, spikes: Mapping[str, Spikes], n_samples: int) -> dict[tuple[int, Element], Integers]:
        """Return how many neurons of each element spiked in each step, by copy."""
        found = {}
        copies = np.arange(n_samples) % self.layout.copies
        for element in self.layout.copy:
            counts = np.zeros((self.layout.copies, self.n_steps), np.int64)
            if element.program in spikes:
                steps, neurons, samples = spikes[element.program]
                here = (neurons >= element.low) & (neurons < element.high) & (steps < self.n_steps)
                np.add.at(counts, (copies[samples[here]], steps[here]), 1)
            for copy, row in enumerate(counts):
                found[copy, element] = row
        return found


def _first(spikes: Spikes) -> Spikes:
    """Return the first spike of every neuron."""
    order = np.lexsort((spikes.steps, spikes.neurons, spikes.samples))
    steps, neurons, samples = (x[order] for x in spikes)
    new = np.ones(steps.size, dtype=bool)
    new[1:] = (np.diff(neurons) != 0) | (np.diff(samples) != 0)
    return Spikes(steps[new], neurons[new], samples[new])


def _path(source: Node, target: Node) -> Iterator[Link]:
    """Yield the links from one node to another, along x and then along y."""
    x, y = source
    while (x, y) != target:
        toward = (
            (x + (1 if target[0] > x else -1), y) if x != target[0] else (x, y + (1 if target[1] > y else -1))
        )
        yield (x, y), toward
        x, y = toward


def _width(count: int) -> int:
    """Return how many bits tell this many things apart."""
    return max(count - 1, 0).bit_length()
