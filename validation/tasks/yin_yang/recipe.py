"""Recipes: what is trained, on what, and how.

A recipe is the same for every engine. Gradients, weight decay and Adam's eps are therefore stated for the true gradient
dL/dw; an engine that works in another unit has them converted. Béna et al. state theirs for dL/dw in code units, dt
times the true one: their weight decay of 6.5e-7 is 6.5e-4 here, their eps of 1e-8 is 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from eventsolve.io import datasets
from eventsolve.typing import Reals
from validation.spinnaker2 import SGD, Adam
from validation.tasks.yin_yang.task import SETUPS, Setup

SilentNeuronRule: TypeAlias = Literal["none", "bump", "resolve", "raise"]

VALIDATION_SEED = 41
"""Of the published validation set."""


@dataclass(frozen=True)
class Exponential:
    """The learning rate falls by ``factor`` in ``epochs`` epochs, at once or a little after every batch."""

    factor: float
    epochs: int = 1
    every: Literal["epoch", "batch"] = "epoch"

    def share(self, epoch: float, n_epochs: int) -> float:
        """Return by how much the first learning rate is multiplied at a time in epochs."""
        passed = epoch / self.epochs
        return float(self.factor ** (passed if self.every == "batch" else math.floor(passed)))


@dataclass(frozen=True)
class Cosine:
    """The learning rate falls to 0 along half a cosine (Loshchilov & Hutter 2017)."""

    def share(self, epoch: float, n_epochs: int) -> float:
        """Return by how much the first learning rate is multiplied at a time in epochs."""
        return 0.5 * (1.0 + math.cos(math.pi * epoch / n_epochs))


@dataclass(frozen=True)
class Recipe:
    """A training on Yin-Yang.

    Attributes
    ----------
    name, source : str
        The source is a publication, or says what departs from one.
    setup : Setup
        Network, encoding, loss and initial weights.
    rule : SGD or Adam
        For the true gradient; see the module docstring.
    schedule : Exponential or Cosine
        Of the learning rate.
    epochs, batch_size : int
        The samples left over by an epoch's last whole batch are not used in it.
    n_train, n_test : int
    n_validation : int
        Points on which the best epoch is chosen, whose weights are those of the training; 0: the last epoch's are.
    train_seed, test_seed : int
        Of the data set; the published ones are 42 for training, 40 for testing and 41, always, for validation. More
        points of a seed begin with the published ones.
    delays : (low, high), optional
        Seconds between which initial delays are drawn; they are trained. None: delays are fixed at ``transport``.
    delay_rate : float
        Learning rate of delays, in seconds where that of weights is in units of v_threshold.
    transport : float
        Seconds by which every synapse of the exact engine delays if delays are not trained.
    jitter : float
        Seconds by which the spikes of a hidden neuron are earlier or later than that at most, drawn anew for every
        neuron and batch of training.
    silent_neuron_rule : {"none", "bump", "resolve", "raise"}
        What is done about silent neurons: see :mod:`validation.tasks.yin_yang.silence`.
    """

    name: str
    source: str
    setup: Setup
    rule: SGD | Adam
    schedule: Exponential | Cosine
    epochs: int
    batch_size: int
    n_train: int = 5000
    n_test: int = 10000
    n_validation: int = 0
    train_seed: int = 42
    test_seed: int = 40
    delays: tuple[float, float] | None = None
    delay_rate: float = 0.0
    transport: float = 0.0
    jitter: float = 0.0
    silent_neuron_rule: SilentNeuronRule = "none"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "n_train", "n_test"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1; got {value!r}")
        if (
            isinstance(self.n_validation, bool)
            or not isinstance(self.n_validation, int)
            or self.n_validation < 0
        ):
            raise ValueError(f"n_validation must be an integer >= 0; got {self.n_validation!r}")
        if not 0 <= self.jitter <= self.transport:
            raise ValueError(
                f"jitter must be >= 0 and at most transport = {self.transport!r} s; got {self.jitter!r}"
            )
        if self.jitter and self.delays is not None:
            raise ValueError("jitter is of delays that are fixed; delays are trained")
        if self.batch_size > self.n_train:
            raise ValueError(f"batch_size must be at most n_train = {self.n_train}; got {self.batch_size}")
        if not (math.isfinite(self.rule.learning_rate) and self.rule.learning_rate > 0):
            raise ValueError(f"learning_rate must be finite and > 0; got {self.rule.learning_rate!r}")

    @property
    def n_batches(self) -> int:
        """Of an epoch."""
        return self.n_train // self.batch_size


def described(recipe: Recipe) -> dict[str, Any]:
    """Return everything that decides a training, as JSON knows it."""
    document = asdict(recipe)
    for name in ("rule", "schedule"):
        document[name] = {"kind": type(getattr(recipe, name)).__name__} | document[name]
    return document


def in_new_names(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`described` said in version 0.1.0, or says now, in the names of now.

    The ``silent_neuron_rule`` was the ``remedy``, and "resolve" was "lift".
    """
    renamed = dict(document)
    if "remedy" in renamed and "silent_neuron_rule" not in renamed:
        rule = renamed.pop("remedy")
        renamed["silent_neuron_rule"] = "resolve" if rule == "lift" else rule
    return renamed


@dataclass(frozen=True, eq=False)
class Parameters:
    """What is trained.

    Attributes
    ----------
    weights : tuple of ndarray of float64, (n_post, n_pre)
        Per layer, in the unit of v_threshold.
    delays : tuple of ndarray of float64, (n_post, n_pre)
        Per layer, seconds; empty if delays are not trained.
    """

    weights: tuple[Reals, ...]
    delays: tuple[Reals, ...] = field(default=())

    @property
    def arrays(self) -> tuple[Reals, ...]:
        """Weights, then delays."""
        return self.weights + self.delays

    def like(self, arrays: tuple[Reals, ...]) -> Parameters:
        """Return other parameters of the same shapes."""
        return Parameters(arrays[: len(self.weights)], arrays[len(self.weights) :])


def initial_parameters(recipe: Recipe, seed: int) -> Parameters:
    """Draw weights as :func:`validation.tasks.yin_yang.task.network` does, and delays uniformly."""
    weights = tuple(datasets.normal_weights(recipe.setup.sizes, recipe.setup.moments, seed))
    if recipe.delays is None:
        return Parameters(weights)
    random = np.random.default_rng([seed, 1])
    return Parameters(weights, tuple(random.uniform(*recipe.delays, size=w.shape) for w in weights))


WUNDERLICH = Recipe(
    name="wunderlich2021",
    source="Wunderlich & Pehle (2021)",
    setup=SETUPS["5-200-3"],
    rule=Adam(5e-3),
    schedule=Exponential(0.95),
    epochs=100,
    batch_size=32,
)
BENA = Recipe(
    name="bena2024",
    source="Béna et al. (2024), published off-chip code",
    setup=SETUPS["5-120-3"],
    rule=Adam(1.9e-3, weight_decay=6.5e-4, eps=1e-5),
    schedule=Exponential(0.95, every="batch"),
    epochs=40,
    batch_size=22,
    n_train=60000,
    test_seed=43,
)
SLOW = replace(
    WUNDERLICH,
    name="slow",
    source="Wunderlich & Pehle (2021), but a lower learning rate that falls to 0, four times the samples in fewer "
    "epochs, and silent neurons raised",
    rule=Adam(2e-3),
    schedule=Cosine(),
    epochs=30,
    n_train=20000,
    silent_neuron_rule="raise",
)
DELAYS = Recipe(
    name="delays",
    source="Göltz et al. (2025): network, time constants, encoding; loss of Wunderlich & Pehle (2021), "
    "four times the samples and fewer epochs, silent neurons raised",
    setup=Setup(
        name="5-30-3",
        encoding="continuous",
        sizes=(5, 30, 3),
        moments=((2.0, 2.0), (2.0, 2.0)),  # 1 and 1 in their unit, times tau_mem / tau_syn
        t_end=20e-3,
        tau0=0.5e-3,
        tau1=6.4e-3,
        alpha=3e-3,
        silent="skip",
        tau_mem=10e-3,
        t_max=10e-3,
    ),
    rule=Adam(3e-3),
    schedule=Cosine(),
    epochs=40,
    batch_size=32,
    n_train=20000,
    delays=(0.0, 5e-3),
    delay_rate=20e-6,
    silent_neuron_rule="raise",
)
CODED = Recipe(
    name="coded",
    source="network and code of Béna et al. (2024) in continuous time; loss of Wunderlich & Pehle (2021); "
    "hidden spikes as uncertain as a grid makes them, silent neurons raised",
    setup=replace(
        SETUPS["5-120-3"],
        moments=((2.0, 1.0), (0.35, 0.2)),  # few hidden neurons silent, outputs that spike
        t_end=40e-3,  # an output that is late has a gradient, one that is silent none
        tau0=0.5e-3,
        tau1=6.4e-3,
        alpha=3e-3,
        silent="skip",
    ),
    rule=Adam(2e-3),
    schedule=Cosine(),
    epochs=20,
    batch_size=32,
    n_train=20000,
    test_seed=43,
    # By the end of the step after its own, a spike has added to a voltage of the chip what it adds within a step of
    # continuous time. But crossings are seen at the ends of steps: half a step late on average, and up to a whole one.
    transport=0.5e-3,
    jitter=0.5e-3,
    silent_neuron_rule="raise",
)
TUNED = replace(
    BENA,
    name="tuned",
    source="Béna et al. (2024), but half xi, no weight decay, a low learning rate that falls to 0, batches of 200, "
    "and the epoch that is best on the validation set",
    setup=replace(SETUPS["5-120-3"], tau0=0.75e-3),
    rule=Adam(1e-4, eps=1e-5),
    schedule=Cosine(),
    epochs=20,
    batch_size=200,
    n_train=10000,
    n_validation=5000,
)
ALONE = replace(
    BENA,
    name="alone",
    source="Béna et al. (2024), but less weight decay, a learning rate that falls to 0, silent neurons raised, "
    "and the epoch that is best on the validation set",
    rule=replace(BENA.rule, weight_decay=1e-4),
    schedule=Cosine(),
    epochs=10,
    n_train=20000,
    n_validation=5000,
    silent_neuron_rule="raise",
)
SHORT = replace(
    BENA,
    name="bena2024-short",
    source="Béna et al. (2024), with the 5000 samples of its first versions",
    n_train=5000,
)
MLGENN = Recipe(
    name="mlgenn",
    source="mlGeNN's example for EventProp on Yin-Yang; there at 0.01 ms",
    setup=Setup(
        name="4-100-3",
        encoding="continuous",
        sizes=(4, 100, 3),
        moments=((1.5, 0.78), (0.93, 0.1)),
        t_end=30e-3,
        tau0=1e-3,
        tau1=1e-3,
        alpha=0.0,
        silent="t_end",
        t_max=29.96e-3,
        loss="relative",
        gap=1e-3,
    ),
    rule=Adam(3e-3, betas=(0.9, 0.99)),
    schedule=Exponential(0.998),
    epochs=300,
    batch_size=512,
    n_train=5120,
)
MLGENN_QUICK = replace(
    MLGENN,
    name="mlgenn-quick",
    source="mlGeNN's example for EventProp on Yin-Yang, but 20 epochs, in batches of 128",
    epochs=20,
    batch_size=128,
    n_test=2000,
)
GENN_EVENTPROP = Recipe(
    name="genn-eventprop",
    source="Nowotny, Turner & Knight (2024), the settings of their code for Yin-Yang",
    setup=Setup(
        name="5-100-3",
        encoding="continuous",
        sizes=(5, 100, 3),
        moments=((1.5, 0.78), (0.93, 0.1)),
        t_end=30e-3,
        tau0=0.5e-3,
        tau1=6.4e-3,
        alpha=3e-6,
        silent="skip",
        t_max=29.96e-3,
        loss="first_spike",
    ),
    rule=Adam(5e-3),
    schedule=Exponential(0.95),
    epochs=10,
    batch_size=32,
    n_train=32000,
)
GENN_EVENTPROP_QUICK = replace(
    GENN_EVENTPROP,
    name="genn-eventprop-quick",
    source="Nowotny, Turner & Knight (2024), the settings of their code for Yin-Yang, but a quarter of the samples",
    n_train=8000,
    n_test=2000,
)
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *(WUNDERLICH, SLOW, DELAYS, BENA, SHORT, ALONE, CODED, TUNED),
        *(MLGENN, MLGENN_QUICK, GENN_EVENTPROP, GENN_EVENTPROP_QUICK),
    )
}
