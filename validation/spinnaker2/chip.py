"""A SpiNNaker2 chip that trains a network: copies of its programs, one sample each, and an optimizer program.

A step runs a batch on the copies, sums the gradients of its samples in the gradient format, updates the weights by the
optimizer's rule, and sends them back. How many copies there are decides how many rounds a batch takes, not one bit of
what comes out. A chip is a record: what changes from step to step is its state, which goes in and comes out.

>>> import eventsolve as es
>>> from validation.spinnaker2 import Adam, Chip, SpiNNaker2Core
>>> net = es.Network()
>>> net.add_input("in", 2)
>>> net.add_population("out", 2, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
>>> net.connect("in", "out", [[9.0, 4.0], [5.0, 8.0]])
>>> chip = Chip(net, SpiNNaker2Core(1e-3, "s16.15"), t_end=27e-3, rule=Adam(1e-2))
>>> inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [2e-3]], [[3e-3], [0.0]]])}
>>> loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=1.5e-3, tau1=0.1, alpha=0.01, silent="t_end")
>>> state, batch = chip.step(chip.initial, inputs, loss)
>>> batch.predictions.tolist()
[0, 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import real_array
from eventsolve.network import Network
from eventsolve.typing import Integers, Key, Reals
from validation.grid.steps import number_of_samples, number_of_steps
from validation.spinnaker2 import batched
from validation.spinnaker2.arithmetic import FLOAT32, Calculator, Number, check_range, decode
from validation.spinnaker2.chip_state import BatchResult, ChipState, earliest, state_of
from validation.spinnaker2.cost import Cost, cost
from validation.spinnaker2.image import Image
from validation.spinnaker2.memory import Hardware, Layout, Plan, layout
from validation.spinnaker2.optimizer_program import SGD, Adam, OptimizerProgram
from validation.spinnaker2.routing import Routing, Traffic
from validation.spinnaker2.target import SpiNNaker2Core


@dataclass(frozen=True, eq=False)
class Chip:
    """A chip loaded with a network.

    Parameters
    ----------
    network : Network
        With its initial weights.
    core : SpiNNaker2Core
        Time step, arithmetic, decay factors and error scale of the programs.
    t_end : float
        Seconds; the programs run t_end / time_step steps.
    rule : SGD or Adam
    optimizer_number : FloatFormat or FixedFormat
        Of batch gradients and moments.
    output : str, optional
        The population that losses read; by default the one layer from which no projection leaves.
    parts : mapping of str to int
        How many elements hold a layer, where it is not one.
    copies : int, optional
        How many samples run side by side; by default as many as there are elements for.
    hardware : Hardware

    Raises
    ------
    DoesNotFit
        A ValueError that shows every buffer of the element that is too small, or says what else is.
    ValueError
        If the core cannot represent the network, or a weight lies outside its format.
    """

    network: Network
    core: SpiNNaker2Core
    t_end: float
    rule: SGD | Adam
    optimizer_number: Number = field(default=FLOAT32, kw_only=True)
    output: str | None = field(default=None, kw_only=True)
    parts: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    copies: int | None = field(default=None, kw_only=True)
    hardware: Hardware = field(default=Hardware(), kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.rule, SGD | Adam):
            raise ValueError(f"rule must be an SGD or an Adam; got {self.rule!r}")
        layers = self._image.layers
        for name, count in self.parts.items():
            if name not in layers:
                raise ValueError(f"parts must be of {list(layers)}; got {name!r}")
            if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= layers[name].size:
                raise ValueError(
                    f"parts of {name!r} must be 1 to {layers[name].size} elements; got {count!r}"
                )
        if self.copies is not None and (
            isinstance(self.copies, bool) or not isinstance(self.copies, int) or self.copies < 1
        ):
            raise ValueError(f"copies must be None or an integer >= 1; got {self.copies!r}")
        _ = self.initial, self.routing

    @cached_property
    def read_by_loss(self) -> str:
        """The population that losses read."""
        layers = self._image.layers
        sending = {block.key[0] for layer in layers.values() for block in layer.afferents}
        ends = [name for name in layers if name not in sending]
        if self.output is None and len(ends) != 1:
            raise ValueError(f"output must say which of {ends} the loss reads")
        output = ends[0] if self.output is None else self.output
        if output not in layers:
            raise ValueError(f"output must be one of {list(layers)}; got {output!r}")
        return output

    @cached_property
    def layout(self) -> Layout:
        """Which elements hold what."""
        plan = Plan(
            self._image,
            self.read_by_loss,
            self.n_steps,
            self.rule,
            self.optimizer_number,
            self.parts,
            self.copies,
            self.hardware,
        )
        return layout(plan)

    @cached_property
    def routing(self) -> Routing:
        """The keys and routes of its packets."""
        return Routing(self.layout, self._image, self.read_by_loss, self.n_steps)

    def rounds(self, n_samples: int) -> int:
        """Return how many samples the busiest copy runs of a batch."""
        return -(-n_samples // self.layout.copies)

    def traffic(self, batch: BatchResult) -> Traffic:
        """Count the packets of a batch, link by link and step by step."""
        return self.routing.traffic({**batch.inputs, **batch.outcome.spikes}, batch.losses.size)

    def cost(self, batch: BatchResult, *, early: bool = True) -> Cost:
        """Return what a sample of a batch costs; ``early``: whether the loss has an early-spike term."""
        spikes = {**batch.inputs, **batch.outcome.spikes}
        return cost(self._image, self.read_by_loss, spikes, batch.losses.size, self.n_steps, early=early)

    @cached_property
    def n_steps(self) -> int:
        """Steps of a run, the initial state included."""
        return number_of_steps(self.t_end, self.core.time_step)

    @cached_property
    def initial(self) -> ChipState:
        """The state with the weights of the network, and no batch so far."""
        return self.with_weights({key: p.weight for key, p in self.network.projections.items()})

    def with_weights(self, weights: Mapping[Key, Any]) -> ChipState:
        """Return a state with given weights, (n_post, n_pre) in float64, and no batch so far.

        Raises
        ------
        ValueError
            If weights are missing, of another shape, or outside the weight format.
        """
        held = {}
        for key, shape in self._shapes.items():
            if key not in weights:
                raise ValueError(
                    f"weights must be given for {list(self._shapes)}; those of {key} are missing"
                )
            given = real_array(f"weights of {key}", weights[key])
            if given.shape != shape:
                raise ValueError(f"weights of {key} must have shape {shape}; got {given.shape}")
            number = self.core.formats.weight
            check_range(f"weights of {key}", given, number)
            held[key] = Calculator(self.core.formats, 0).encode(given.T, number)
        return ChipState(held)

    def weights(self, state: ChipState) -> dict[Key, Reals]:
        """Return the weights of a state as float64, (n_post, n_pre)."""
        number = self.core.formats.weight
        return {key: np.ascontiguousarray(decode(w, number).T) for key, w in state.weights.items()}

    def resumed(self, arrays: Mapping[str, NDArray[Any]]) -> ChipState:
        """Return the state of which these are the :meth:`ChipState.arrays`.

        Raises
        ------
        ValueError
            If they are not of a state of this chip.
        """
        return state_of(arrays, self._shapes, self.core.formats.weight, self.optimizer_number)

    def step(
        self,
        state: ChipState,
        inputs: Mapping[str, es.SpikeTrains],
        loss: Any,
        *,
        learning_rate: float | None = None,
        threads: int | None = None,
    ) -> tuple[ChipState, BatchResult]:
        """Run a batch and update the weights.

        Parameters
        ----------
        state : ChipState
        inputs : mapping of str to SpikeTrains
        loss : eventsolve.losses.TTFSCrossEntropy
            Or anything with its attributes; it holds the labels of the batch.
        learning_rate : float, optional
            In place of the rule's, as schedules have it.
        threads : int, optional
            By default one per usable core. The bits do not depend on it.

        Raises
        ------
        ValueError
            As :meth:`SpiNNaker2Core.run` does.
        """
        batch = self.run(state, inputs, loss, threads=threads)
        image = self._image_of(state)
        rule = self.rule if learning_rate is None else replace(self.rule, learning_rate=learning_rate)
        optimizer = OptimizerProgram(
            rule,
            self.core.formats,
            self.core.error_scale,
            number=self.optimizer_number,
            moments=state.moments,
            batch=state.n_batches,
        )
        blocks = [block for layer in image.layers.values() for block in layer.afferents]
        updated = optimizer.update(blocks, batch.outcome.gradients)
        following = ChipState(
            {block.key: block.values for block in updated},
            optimizer.moments,
            state.n_batches + 1,
            state.n_samples + batch.losses.size,
        )
        return following, replace(batch, overflows=batch.overflows + optimizer.overflows)

    def run(
        self,
        state: ChipState,
        inputs: Mapping[str, es.SpikeTrains],
        loss: Any,
        *,
        threads: int | None = None,
    ) -> BatchResult:
        """Run a batch forward and backward, as :meth:`step` does before it updates the weights."""
        n_samples = number_of_samples(self.network, inputs)
        settings = self.core.loss_settings(loss, self.network, n_samples)
        if settings.population != self.read_by_loss:
            raise ValueError(
                f"loss reads {settings.population!r}; the chip is wired for output={self.read_by_loss!r}"
            )
        inputs_on_grid = self.core.on_grid(inputs)
        image = self._image_of(state)
        outcome = batched.run(
            image,
            inputs_on_grid,
            settings,
            self.n_steps,
            first_sample=state.n_samples,
            threads=threads,
        )
        shape = n_samples, image.sizes[settings.population]
        first = batched.first_of(outcome.spikes[settings.population], shape, self.n_steps)
        return BatchResult(
            outcome.losses, inputs_on_grid, self._seconds(first), outcome, image.overflows + outcome.overflows
        )

    def first_spikes(
        self,
        state: ChipState,
        inputs: Mapping[str, es.SpikeTrains],
        population: str,
        *,
        threads: int | None = None,
    ) -> Reals:
        """Run a batch forward and return first spikes in seconds, inf where silent; (n_samples, n_neurons)."""
        n_samples = number_of_samples(self.network, inputs)
        if population not in self._image.layers:
            raise ValueError(f"population must be one of {list(self._image.layers)}; got {population!r}")
        first = batched.first_spikes(
            self._image_of(state),
            self.core.on_grid(inputs),
            population,
            n_samples,
            self.n_steps,
            first_sample=state.n_samples,
            threads=threads,
        )
        return self._seconds(first)

    def predict(
        self,
        state: ChipState,
        inputs: Mapping[str, es.SpikeTrains],
        population: str,
        *,
        threads: int | None = None,
    ) -> Integers:
        """Return which neuron spikes first, the lowest of those at one time, 0 if none does; (n_samples,)."""
        return earliest(self.first_spikes(state, inputs, population, threads=threads))

    @cached_property
    def _image(self) -> Image:
        return self.core.image(self.network)

    @cached_property
    def _shapes(self) -> dict[Key, tuple[int, int]]:
        return {key: p.weight.shape for key, p in self.network.projections.items()}

    def _image_of(self, state: ChipState) -> Image:
        return self._image.with_weights(state.weights)

    def _seconds(self, first: Integers) -> Reals:
        return np.where(first < self.n_steps, first * self.core.time_step, np.inf)
