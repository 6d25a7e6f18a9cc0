"""Spikes from and to Neo, of PyNN's making too."""

import numpy as np
import pytest
from hypothesis import given
from strategies import spike_lists

import eventsolve as es

neo = pytest.importorskip("neo", reason="Neo is not installed")
import quantities as pq  # noqa: E402

from eventsolve.io.neo import from_neo, to_neo  # noqa: E402


@given(spike_lists())
def test_spikes_return_from_neo_with_every_bit(drawn):
    lists, n_neurons = drawn
    trains = es.SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    back = from_neo(to_neo(trains, t_stop=trains.times.max(initial=1.0)), n_neurons=n_neurons)
    assert (back.n_samples, back.n_neurons) == (trains.n_samples, n_neurons)
    for column in ("times", "neurons", "samples"):
        np.testing.assert_array_equal(getattr(back, column), getattr(trains, column))


def test_a_file_keeps_them(tmp_path):
    trains = es.SpikeTrains.from_lists([[[1e-3, 2e-3], []], [[], [5e-3]]])
    file = neo.io.PickleIO(str(tmp_path / "spikes.pkl"))
    file.write(to_neo(trains, t_stop=10e-3, name="out"))
    block = file.read_block()
    assert block.name == "out"
    assert from_neo(block).to_lists() == trains.to_lists()


def block_of(*trains):
    block, segment = neo.Block(), neo.Segment()
    for times, notes in trains:
        train = neo.SpikeTrain(times, t_start=-1.0, t_stop=1e3, units="ms", **notes)
        segment.spiketrains.append(train)
    block.segments.append(segment)
    return block


def test_units_and_order_are_neos_to_choose():
    block = block_of(([5.0, 2.0], {"source_index": 2}), ([1.0], {"source_index": 0}))
    assert from_neo(block).to_lists() == [[[1e-3], [], [2e-3, 5e-3]]]
    assert from_neo(block, n_neurons=4).n_neurons == 4
    assert from_neo(block_of(([1.0], {}), ([], {}))).to_lists() == [[[1e-3], []]]


def test_what_a_batch_cannot_hold_is_refused():
    with pytest.raises(TypeError, match=r"block must be a neo\.Block; got Segment"):
        from_neo(neo.Segment())
    with pytest.raises(ValueError, match="segment 0 has two trains of neuron 1"):
        from_neo(block_of(([1.0], {"source_index": 1}), ([2.0], {"source_index": 1})))
    with pytest.raises(ValueError, match="n_neurons must be at least 3, as neuron 2 has a train; got 2"):
        from_neo(block_of(([1.0], {"source_index": 2})), n_neurons=2)
    with pytest.raises(
        ValueError, match=r"trains\[0\]\[0\] must be finite and >= 0; entry \[0\] is -0\.0005"
    ):
        from_neo(block_of(([-0.5], {})))
    with pytest.raises(ValueError, match="strictly increasing"):
        from_neo(block_of(([1.0, 1.0], {})))
    with pytest.raises(
        ValueError, match=r"t_stop must be at least 0\.002 s, the time of the last spike; got 0\.001"
    ):
        to_neo(es.SpikeTrains.from_lists([[[2e-3]]]), t_stop=1e-3)


def test_pynn_writes_blocks_that_are_read():
    """PyNN's mock simulator lets neuron k spike at k + 2 and k + 7 ms."""
    mock = pytest.importorskip("pyNN.mock", reason="PyNN is not installed")
    mock.setup()
    population = mock.Population(3, mock.IF_curr_exp())
    population.record("spikes")
    mock.run(20.0)
    trains = from_neo(population.get_data())
    want = [[(k + 2.0) * 1e-3, (k + 7.0) * 1e-3] for k in range(3)]
    np.testing.assert_allclose(trains.to_lists()[0], want, rtol=1e-15)


def test_trains_are_quantities_in_seconds():
    (segment,) = to_neo(es.SpikeTrains.from_lists([[[1e-3]]]), t_stop=1.0).segments
    (train,) = segment.spiketrains
    assert train.units == pq.s
    assert train.annotations == {"source_index": 0}
