"""Is what a record says put beside other spikes as a definition does it, number by number?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es
from validation.diagnosis.evidence import LAST_STEP, moved_beside, rows_of

FEW = st.integers(0, 2)


def rows(steps):
    row = st.tuples(FEW, steps, FEW)
    return st.lists(row, max_size=8).map(
        lambda found: np.array(sorted(found, key=lambda r: (r[0], r[1], r[2])), dtype=np.int64).reshape(-1, 3)
    )


@given(
    *(rows(st.integers(-9, 9) | st.sampled_from([-LAST_STEP, LAST_STEP - 2, LAST_STEP])) for _ in range(2)),
    st.integers(0, 4),
    st.booleans(),
)
def test_spikes_move_onto_the_nearest_of_their_neuron(got, said, within, of_any):
    """The nearest, the earlier of two, and no further than they may: steps of 61 bits, too, which once overflowed."""
    wanted = []
    for sample, step, neuron in got.tolist():
        near = [b for a, b, c in said.tolist() if a == sample and (of_any or c == neuron)]
        best = min(near, key=lambda b: (abs(b - step), b), default=step)
        wanted.append((sample, best if abs(best - step) <= within else step, neuron))
    found = moved_beside(got, said, within, of_any=of_any)
    assert sorted(map(tuple, found.tolist())) == sorted(wanted)
    assert np.array_equal(found, found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))])


def test_steps_beyond_all_clocks_are_the_last():
    trains = es.SpikeTrains.from_lists([[[2e-3, 1e300]]])
    assert rows_of(trains, 1e-3)[:, 1].tolist() == [2, LAST_STEP]
    assert rows_of(trains, 1e-300)[:, 1].tolist() == [LAST_STEP, LAST_STEP]
