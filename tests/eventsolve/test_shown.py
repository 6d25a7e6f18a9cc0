import pytest

import eventsolve as es
from eventsolve.shown import Shown, several


class Thing(Shown):
    def _summary(self):
        return "Thing <1>", [("size", 3), ("a longer name", "x" * 300), ("lines", "one\n two")]


def test_a_record_shows_a_line_for_each_value():
    lines = repr(Thing()).splitlines()
    assert lines[0] == "Thing <1>"
    assert lines[1] == "  size           3"
    assert max(map(len, lines)) <= 110
    assert lines[-1].endswith("one two")
    assert lines[-2].endswith("xx ...")


def test_a_notebook_shows_a_table_in_which_nothing_is_markup():
    html = Thing()._repr_html_()
    assert "Thing &lt;1&gt;" in html
    assert html.count("<tr>") == 3


def test_numbers_have_their_nouns():
    assert [several(1, "spike"), several(0, "spike"), several(2, "axis", "axes")] == [
        "1 spike",
        "0 spikes",
        "2 axes",
    ]


@pytest.fixture
def trains():
    return es.SpikeTrains.from_lists([[[1e-3, 3e-3], [2e-3]], [[], [5e-3]], [[4e-3], []]])


def test_trains_are_indexed_by_sample_and_neuron(trains):
    assert trains[0, 0].tolist() == [1e-3, 3e-3]
    assert trains[-1, -2].tolist() == [4e-3]
    assert trains[1, 0].size == 0
    assert not trains[0, 0].flags.writeable
    assert trains[1].to_lists() == [[[], [5e-3]]]
    assert trains[1:].to_lists() == trains.to_lists()[1:]
    assert len(trains) == 3
    assert [one.n_samples for one in trains] == [1, 1, 1]


@pytest.mark.parametrize(
    ("index", "error"), [((0, 2), IndexError), (3, IndexError), ((0, 0, 0), IndexError), ("a", TypeError)]
)
def test_an_index_beyond_is_refused(trains, index, error):
    with pytest.raises(error, match=r"must be|have \[sample, neuron\]"):
        trains[index]


def test_trains_are_equal_if_every_spike_is(trains):
    same = es.SpikeTrains.from_lists(trains.to_lists())
    assert trains == same
    assert hash(trains) == hash(same)
    assert trains != trains[:2]
    assert trains != es.SpikeTrains.from_lists([[[1e-3, 3e-3], [2e-3]], [[], [5e-3]], [[], [4e-3]]])
    assert trains != 3


def test_trains_go_to_pandas_and_back(trains):
    frame = trains.to_pandas()
    assert list(frame.columns) == ["sample", "neuron", "time"]
    mixed = frame.sample(frac=1.0, random_state=1)
    assert es.SpikeTrains.from_pandas(mixed, n_neurons=2, n_samples=3) == trains
    assert (
        es.SpikeTrains.from_pandas(frame[frame["sample"] == 0][["neuron", "time"]], n_neurons=2) == trains[0]
    )
    with pytest.raises(ValueError, match="frame must have the columns neuron, time; it has"):
        es.SpikeTrains.from_pandas(frame[["neuron"]], n_neurons=2)


def test_tangents_say_how_far_spikes_move_and_print_no_arrays():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[9.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 30e-3)
    loss = es.losses.TargetTimeMSE("out", [[5e-3]])
    tangents = es.jvp(solution, {"weight": {("in", "out"): 1.0}}, loss)
    lines = repr(tangents).splitlines()
    assert lines[0] == "Tangents(2 spikes)"
    assert lines[1] == f"  spike_times  in by up to 0 s, out by up to {abs(tangents['out'][0]):.3g} s"
    assert lines[2] == f"  loss         {tangents.loss:.6g}"
