"""Small trainings, and when two states are the same."""

from dataclasses import replace

import numpy as np

from validation.spinnaker2 import Adam
from validation.tasks.yin_yang import trainer
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.recipe import BENA, WUNDERLICH, Cosine

SMALL = replace(
    WUNDERLICH,
    setup=replace(WUNDERLICH.setup, name="5-30-3", sizes=(5, 30, 3), moments=((1.5, 0.78), (3.0, 0.7))),
    rule=Adam(2e-2),
    epochs=3,
    n_train=192,
    n_test=64,
)
DELAYED = replace(SMALL, delays=(0.0, 5e-3), delay_rate=50e-6, schedule=Cosine(), silent_neuron_rule="bump")

CODED = replace(
    BENA,
    setup=replace(BENA.setup, name="5-20-3", sizes=(5, 20, 3), moments=((2.0, 1.0), (2.0, 1.0))),
    epochs=2,
    n_train=44,
    n_test=32,
)


def states(recipe, seed=1, start=None):
    engine = ExactEngine(recipe, threads=1)
    data = trainer.load_data(recipe, engine)
    first = trainer.initial_state(recipe, engine, seed) if start is None else start
    return list(trainer.train(recipe, engine, seed, first, data))


def same(one, other):
    """Two states, bit for bit but for the time they took."""
    arrays = [
        (
            *s.parameters.arrays,
            *s.best.arrays,
            *s.moments.first,
            *s.moments.second,
            [e[:-1] for e in s.history],
            s.moments.count,
        )
        for s in (one, other)
    ]
    return all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True)) and one.bump == other.bump
