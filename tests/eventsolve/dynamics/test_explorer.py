"""Does an explorer show what the solver says where its sliders are, and draw no more than that?"""

import io
import sys

import numpy as np
import pytest
from PIL import Image

import eventsolve as es


def hundred():
    rng = np.random.default_rng(0)
    net = es.Network()
    net.add_input("in", 20)
    net.add_population("a", 100, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    net.connect("in", "a", rng.normal(1.2, 0.8, (100, 20)))
    net.connect("a", "a", rng.normal(-0.1, 0.5, (100, 100)) * (rng.random((100, 100)) < 0.1), delay=1.5e-3)
    trains = es.SpikeTrains.from_lists([[np.sort(rng.uniform(0, 50e-3, 3)) for _ in range(20)]])
    return net, {"in": trains}, 50e-3


@pytest.fixture(scope="module")
def small():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 2, es.LIF(20e-3, 10e-3))
    net.connect("in", "out", [[5.0, 1.0], [2.0, 3.5]], delay=1e-3)
    return net, {"in": es.SpikeTrains.from_lists([[[0.0], [2e-3]]])}, 40e-3


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)


def test_where_sliders_are_is_what_is_solved(small):
    net, inputs, t_end = small
    key = ("in", "out")
    explorer = es.explore(net, inputs, t_end, sliders={"w": (("weight", key, (0, 0)), 0.0, 12.0)})
    assert explorer.values == {"w": 5.0}
    before = pixels(explorer.picture())
    said = explorer.move(w=9.0)
    want = es.solve(net.with_weights({key: [[9.0, 1.0], [2.0, 3.5]]}), inputs, t_end)
    np.testing.assert_array_equal(explorer.solution.spikes["out"].times, want.spikes["out"].times)
    assert said.startswith("crossed a bifurcation: ")
    assert "neuron 0 of out" in said
    assert (np.abs(pixels(explorer.picture()) - before) > 30).sum() > 50
    crossed = explorer.crossed()
    assert any(e.change == "gains" for e in crossed.events)
    assert crossed.branches[-1].counts("out", 2).tolist() == want.spikes["out"].counts()[0].tolist()
    assert explorer.move(w=9.0 + 1e-9) == "no spike appeared or vanished"


def test_every_number_has_a_slider_and_what_cannot_be_is_said(small):
    net, inputs, t_end = small
    explorer = es.explore(net, inputs, t_end)
    assert list(explorer.sliders) == [
        *("weight in → out", "delay in → out", "tau_mem out", "tau_syn out", "v_leak out")
    ]
    explorer.move(**{"tau_mem out": 0.5, "v_leak out": 0.25, "weight in → out": -0.25})
    want = net.with_weights({("in", "out"): 0.75 * np.array([[5.0, 1.0], [2.0, 3.5]])})
    want = want.with_neurons({"out": es.LIF(30e-3, 10e-3, v_leak=0.25)})
    solved = es.solve(want, inputs, t_end)
    np.testing.assert_array_equal(explorer.solution.spikes["out"].times, solved.spikes["out"].times)
    here = explorer.solution
    assert explorer.move(**{"tau_mem out": -2.0}).startswith(
        "no solution there: tau_mem must be finite and > 0"
    )
    assert explorer.solution is here
    with pytest.raises(ValueError, match="there is no slider 'w'"):
        explorer.move(w=1.0)
    with pytest.raises(ValueError, match=r"must go from below to above 5\.0, where it is"):
        es.explore(net, inputs, t_end, sliders={"w": (("weight", ("in", "out"), (0, 0)), 6.0, 12.0)})
    for value in ("a", None, [1.0]):
        with pytest.raises(ValueError, match="tau_mem out must be a number"):
            explorer.move(**{"tau_mem out": value})
    assert explorer.solution is here
    with pytest.raises(
        ValueError, match=r"sliders\['d'\] must stay where there is a network; at -0\.5, delay"
    ):
        es.explore(net, inputs, t_end, sliders={"d": (("delay", ("in", "out")), -0.5, 1.0)})
    with pytest.raises(TypeError, match="network must be a Network; got None"):
        es.explore(None, inputs, t_end)
    with pytest.raises(TypeError, match="sliders must be a Mapping; got 3"):
        es.explore(net, inputs, t_end, sliders=3)
    with pytest.raises(ValueError, match=r"a name in watch must be one of .*, populations of neurons"):
        es.explore(net, inputs, t_end, watch={"in": [0]})


def test_widgets_move_the_picture_and_without_them_there_is_one(small, monkeypatch):
    explorer = es.explore(*small)
    box = explorer.widget()
    *bars, image, words = box.children
    assert [bar.description for bar in bars] == list(explorer.sliders)
    before = image.value
    bars[0].value = 0.8
    assert image.value != before
    assert words.value == explorer.said
    assert explorer.values["weight in → out"] == 0.8
    assert explorer._repr_png_() == image.value
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'eventsolve\[explore\]'"):
        explorer.widget()
    assert pixels(explorer._repr_png_()).shape == (416, 560)


def test_of_a_hundred_neurons_only_what_moves_is_drawn_again(monkeypatch):
    explorer = es.explore(*hundred())
    drawn = []
    for axes in explorer.figure.axes:
        monkeypatch.setattr(axes, "draw", drawn.append)
    explorer.figure.canvas.draw()
    assert len(drawn) == 3  # as it is drawn as a whole
    name = "weight in → a"
    pictures = set()
    for value in (0.02, 0.05, 0.08):
        explorer.move(**{name: value})
        pictures.add(explorer.picture())
    assert len(pictures) == 3
    assert len(drawn) == 3
    assert explorer.solution.spikes["a"].n_spikes > 50
