"""What the programs of one network occupy, buffer by buffer, and on how many processing elements it fits.

Buffers are sized for the worst that can happen, so that no input overflows one: every neuron may spike in every step.
A number takes the smallest of 1, 2, 4 or 8 bytes that holds it.

- A layer element holds the neurons low .. high - 1 of its layer, with all their weights. For the backward pass it keeps
  who spiked when, one bit per neuron and step, and the denominators I - Vpre of its own spikes. Packets that arrive
  while others are read double the packet buffer, which serves spikes in the forward and errors in the backward pass.
  Weights are turned into the state format when they are added.
- An input element holds the spikes of one sample while those of the next are loaded.
- The loss element holds first spikes, exponentials, probabilities and errors.
- Optimizer elements share the weights, with sums over the batch and moments, and take a packet of every copy at a time.

Code and stack are those of the linker script that py-spinnaker2 uses; 148 of the 152 elements are free to use there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from validation.fixedpoint import FixedFormat
from validation.spinnaker2.arithmetic import Number
from validation.spinnaker2.image import LOSS, Image, LayerImage
from validation.spinnaker2.loss_program import accumulator
from validation.spinnaker2.optimizer_program import SGD, Adam

KEY_BYTES = 4
OPTIMIZER = "(optimizer)"


@dataclass(frozen=True)
class Hardware:
    """A chip.

    Attributes
    ----------
    elements : int
        Processing elements that applications may use.
    memory : int
        Bytes of each.
    code, stack : int
        Bytes of it for a program and for its stack and heap.
    routing_entries : int
        Multicast entries of the router.
    elements_per_quad, columns : int
        Elements at one node of the network on chip, and nodes in one row of it.
    """

    elements: int = 148
    memory: int = 128 * 1024
    code: int = 32 * 1024
    stack: int = 4 * 1024
    routing_entries: int = 16384
    elements_per_quad: int = 4
    columns: int = 8


class Buffer(NamedTuple):
    """One buffer of an element."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Element:
    """One processing element and what lies in its memory.

    Attributes
    ----------
    program : str
        The name of a population, :data:`~validation.spinnaker2.image.LOSS`, or "(optimizer)".
    low, high : int
        Which neurons, or weights, of it.
    buffers : tuple of Buffer
    """

    program: str
    low: int
    high: int
    buffers: tuple[Buffer, ...]

    @property
    def bytes(self) -> int:
        """Of all buffers."""
        return sum(buffer.bytes for buffer in self.buffers)

    @property
    def name(self) -> str:
        """Such as "hidden[0:60]"."""
        return f"{self.program}[{self.low}:{self.high}]"

    def table(self, memory: int) -> str:
        """Return the buffers as lines of text, for messages."""
        lines = [f"{self.name} needs {self.bytes} of {memory} bytes:"]
        return "\n".join([*lines, *(f"  {b.name:<24}{b.bytes:>12}" for b in self.buffers)])


class DoesNotFit(ValueError):
    """A program needs more memory than an element has, or a network more elements, keys or routes than there are."""


@dataclass(frozen=True)
class Layout:
    """Which elements hold a network.

    Attributes
    ----------
    hardware : Hardware
    copy : tuple of Element
        Of each copy: inputs, layers in the order of the network, part by part, and the loss.
    optimizer : tuple of Element
        One set for all copies.
    copies : int
        How many samples run side by side.
    """

    hardware: Hardware
    copy: tuple[Element, ...]
    optimizer: tuple[Element, ...]
    copies: int

    @property
    def used(self) -> int:
        """How many elements are occupied."""
        return self.copies * len(self.copy) + len(self.optimizer)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a layout is made for.

    Attributes
    ----------
    image : Image
    output : str
        The population that the loss reads.
    n_steps : int
    rule : SGD or Adam
    optimizer_number : FloatFormat or FixedFormat
    parts : mapping of str to int
        How many elements hold a layer; 1 where nothing is said.
    copies : int or None
        None for as many as there are elements for.
    hardware : Hardware
    """

    image: Image
    output: str
    n_steps: int
    rule: SGD | Adam
    optimizer_number: Number
    parts: Mapping[str, int]
    copies: int | None
    hardware: Hardware


def number_bytes(number: Number) -> int:
    """Return how many bytes hold a number."""
    bits = number.value_bits + number.signed if isinstance(number, FixedFormat) else number.bits
    return next(n for n in (1, 2, 4, 8) if 8 * n >= bits)


def carried_bytes(adjoint: Number) -> int:
    """Return the payload of a sum that the elements of a layer pass on: in fixed point it is not saturated yet."""
    return 8 if isinstance(adjoint, FixedFormat) else number_bytes(adjoint)


def layout(plan: Plan) -> Layout:
    """Place a network on a chip.

    Raises
    ------
    DoesNotFit
        If an element needs more memory than it has, with all of its buffers; or if there are not enough elements.
    """
    image, hardware = plan.image, plan.hardware
    copy = [_input_element(plan, name) for name in image.inputs]
    for name in image.layers:
        copy += layer_elements(plan, name, plan.parts.get(name, 1))
    copy.append(_loss_element(plan))
    for element in copy:
        if element.bytes > hardware.memory:
            raise DoesNotFit(element.table(hardware.memory) + _remedy(plan, element))
    wanted = hardware.elements // len(copy) if plan.copies is None else plan.copies
    for copies in range(wanted, 0, -1):
        placed = Layout(hardware, tuple(copy), _optimizer_elements(plan, copies), copies)
        if placed.used <= hardware.elements:
            return placed
        if plan.copies is not None:
            break
    raise DoesNotFit(
        f"{max(wanted, 1)} copies of {len(copy)} elements, and an optimizer, do not fit on {hardware.elements} elements"
    )


def layer_elements(plan: Plan, name: str, parts: int) -> list[Element]:
    """Return the elements of a layer that is split into parts of nearly equal size."""
    size = plan.image.layers[name].size
    edges = [size * p // parts for p in range(parts + 1)]
    return [_layer_element(plan, name, low, high) for low, high in pairwise(edges)]


def fewest_parts(plan: Plan, name: str) -> int | None:
    """Return on how many elements a layer fits, or None if not even one neuron fits on an element."""
    for parts in range(1, plan.image.layers[name].size + 1):
        if all(e.bytes <= plan.hardware.memory for e in layer_elements(plan, name, parts)):
            return parts
    return None


def _remedy(plan: Plan, element: Element) -> str:
    if element.program not in plan.image.layers:
        return ""
    parts = fewest_parts(plan, element.program)
    if parts is None:
        return "\nit does not fit on any number of elements, since what arrives goes to all of them"
    return f"\nit fits on {parts} elements: parts={{{element.program!r}: {parts}}}"


def _input_element(plan: Plan, name: str) -> Element:
    size = plan.image.sizes[name]
    error = KEY_BYTES + number_bytes(plan.image.arithmetic.adjoint)
    buffers = (
        *_always(plan),
        Buffer("spikes of two samples", 2 * _bits(size, plan.n_steps)),
        Buffer("packets", 2 * size * _answers(plan, name) * error),
    )
    return Element(name, 0, size, buffers)


def _layer_element(plan: Plan, name: str, low: int, high: int) -> Element:
    image, a, n = plan.image, plan.image.arithmetic, high - low
    n_pre = _fan_in(image.layers[name])
    state, adjoint = number_bytes(a.state), number_bytes(a.adjoint)
    spikes = n_pre * KEY_BYTES
    errors = n * _answers(plan, name) * (KEY_BYTES + adjoint)
    sums = n_pre * (KEY_BYTES + carried_bytes(a.adjoint)) if low > 0 else 0
    buffers = (
        *_always(plan),
        Buffer("weights", n * n_pre * number_bytes(a.weight)),
        Buffer("decay factors", 4 * number_bytes(a.decay)),
        Buffer("thresholds, resets", 2 * n * state),
        Buffer("currents, voltages", 2 * n * state),
        Buffer("their adjoints", 2 * n * adjoint),
        Buffer("errors", n * adjoint),
        Buffer("who spiked when", _bits(n_pre, plan.n_steps) + _bits(n, plan.n_steps)),
        Buffer("denominators", n * (plan.n_steps - 1) * state),
        Buffer("gradients", n * n_pre * number_bytes(a.gradient)),
        Buffer("packets", 2 * max(spikes, errors + sums)),
    )
    return Element(name, low, high, buffers)


def _loss_element(plan: Plan) -> Element:
    a, n = plan.image.arithmetic, plan.image.sizes[plan.output]
    probability = number_bytes(a.probability)
    buffers = (
        *_always(plan),
        Buffer("factor", number_bytes(a.adjoint)),
        Buffer("first spikes, label", 2 * (n + 1)),
        Buffer("exponentials, their sum", n * probability + number_bytes(accumulator(a.probability))),
        Buffer("probabilities", n * probability),
        Buffer("errors", n * number_bytes(a.adjoint)),
        Buffer("packets", 2 * n * KEY_BYTES),
    )
    return Element(LOSS, 0, n, buffers)


def _optimizer_elements(plan: Plan, copies: int) -> tuple[Element, ...]:
    """Return the fewest elements that hold all weights with their sums and moments."""
    a, memory = plan.image.arithmetic, plan.hardware.memory
    n_weights = sum(_fan_in(layer) * layer.size for layer in plan.image.layers.values())
    always = sum(buffer.bytes for buffer in _always(plan))
    incoming = 2 * copies * (KEY_BYTES + number_bytes(a.gradient))
    moments = 2 * number_bytes(plan.optimizer_number) if isinstance(plan.rule, Adam) else 0
    each = number_bytes(a.weight) + number_bytes(a.gradient) + moments
    room = (memory - always - incoming) // each
    if room < 1:
        raise DoesNotFit(
            f"an optimizer element has {memory} bytes; code, stack and heap take {always}, packets of {copies} copies "
            f"{incoming}, and a weight would take {each}"
        )
    count = max(1, -(-n_weights // room))
    edges = [n_weights * p // count for p in range(count + 1)]
    return tuple(
        Element(
            OPTIMIZER,
            low,
            high,
            (
                *_always(plan),
                Buffer("weights", (high - low) * number_bytes(a.weight)),
                Buffer("sums over the batch", (high - low) * number_bytes(a.gradient)),
                Buffer("moments", (high - low) * moments),
                Buffer("packets", incoming),
            ),
        )
        for low, high in pairwise(edges)
    )


def _always(plan: Plan) -> tuple[Buffer, Buffer]:
    return Buffer("code", plan.hardware.code), Buffer("stack and heap", plan.hardware.stack)


def _fan_in(layer: LayerImage) -> int:
    return sum(block.values.shape[0] for block in layer.afferents)


def _answers(plan: Plan, name: str) -> int:
    """Return how many errors answer one spike of a population."""
    keys = [block.key for layer in plan.image.layers.values() for block in layer.afferents]
    return sum(key[0] == name for key in keys) + (name == plan.output)


def _bits(n: int, n_steps: int) -> int:
    """Return the bytes of one bit per neuron and step."""
    return -(-n * n_steps // 8)
