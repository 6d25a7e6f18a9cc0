"""Is a NetX file read as lava-dl reads it, written so that it is the same program again, and refused if it is none?"""

import dataclasses

import h5py
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from loihi2_reference import EXAMPLE, program

from validation.loihi2.netx import arrays_of, netx_weights, program_of, read_netx, write_netx
from validation.loihi2.program import Dense, Layer, Program

LAYER = {
    "type": "dense",
    "shape": np.array([2]),
    "weight": np.array([[3, -5, 7], [1, 0, -2]], np.float32),
    "neuron/type": "CUBA",
    "neuron/iDecay": 742,
    "neuron/vDecay": 200,
    "neuron/vThMant": 500,
}


def file_of(*layers, n_inputs=3):
    """The datasets of a file: an input, and layers that are LAYER but for what is given; None leaves out."""
    arrays = {"layer/0/type": "input", "layer/0/shape": np.array([n_inputs])}
    for k, change in enumerate(layers, 1):
        for name, values in (LAYER | change).items():
            if values is not None:
                arrays[f"layer/{k}/{name}"] = values
    return arrays


def written(path, arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_the_example_is_written_again_as_it_was(tmp_path):
    made = read_netx(EXAMPLE)
    write_netx(made, tmp_path / "again.net")
    assert read_netx(tmp_path / "again.net") == made
    with h5py.File(EXAMPLE) as one, h5py.File(tmp_path / "again.net") as two:
        names = [[], []]
        for file, found in ((one, names[0]), (two, names[1])):
            file.visititems(
                lambda n, o, found=found: found.append(n) if isinstance(o, h5py.Dataset) else None
            )
        assert names[0] == names[1]
        for name in names[0]:
            np.testing.assert_array_equal(one[name][()], two[name][()], name)


weights = st.integers(-128, 127)


@given(st.lists(st.lists(weights, min_size=3, max_size=3), min_size=2, max_size=4), st.booleans())
def test_integers_of_mixed_signs_survive_exactly(rows, recurrent):
    matrix = np.array(rows)
    own = [matrix, matrix[:, :1] * np.ones((1, len(rows)), int)] if recurrent else [matrix]
    flat = np.concatenate([m.ravel() for m in own])
    assume(flat.min() < 0 < flat.max())
    scaled, exponent, bits = netx_weights(own, "layer/1")
    for meant, given_ in zip(own, scaled, strict=True):
        made = Dense(given_, 0, exponent, bits)
        if made.mode != "inhibitory" or -made.weights.min() <= 255:
            assert made.linear
            np.testing.assert_array_equal(made.effective, meant)
        else:  # a matrix without a positive weight beside one that has: 256 is beyond the 255 that one sign has
            assert (made.effective > meant).any()


@pytest.mark.parametrize(
    ("given_", "exponent", "bits", "held"),
    [
        ([[3, -5]], -5, 4, [[3, -5]]),  # 127/3 and 128/5: 2^4, one more for signs; odd: n = 0 - 1
        ([[100, -100]], -1, 6, [[100, -100]]),
        ([[131, -3]], 0, 9, [[131, -3]]),  # an odd weight beyond 128: 9 bits
        ([[300, -400]], 0, 8, [[254, -256]]),
        ([[255, 1]], 0, 8, [[255, 1]]),
        ([[12, 4]], -4, 2, [[12, 4]]),
        ([[-3, -1]], -6, 2, [[-3, -1]]),
        ([[-3, 0]], -6, 3, [[-3, 0]]),
        ([[-128, -3]], -1, 7, [[-127, -3]]),  # -256 is beyond the 255 of one sign
    ],
)
def test_scales_are_those_of_the_rule(given_, exponent, bits, held):
    scaled, exp, n = netx_weights([np.array(given_)], "layer/1")
    assert (exp, n) == (exponent, bits)
    np.testing.assert_array_equal(Dense(scaled[0], 0, exp, n).effective, held)


def test_what_lava_reads_otherwise_than_it_is_meant_is_said():
    rec = {"type": "dense_rec", "weight": [[3, -5], [1, -2]], "weight_rec": [[1, 2], [3, 4]]}
    delayed = program_of(
        file_of(rec | {"delay": [[0, 70], [1, 2]], "delay_rec": [[5, 5], [5, 5]]}, n_inputs=2)
    )
    [layer] = delayed.layers
    assert layer.ff.weight_exp == layer.rec.weight_exp == 0
    np.testing.assert_array_equal(layer.ff.effective, np.array([[3, -5], [1, -2]]) * 32)
    np.testing.assert_array_equal(layer.rec.delays, [[0, 62], [1, 2]])
    said = " ".join(delayed.notes)
    for part in ("1 delays beyond 62", "32 times too strongly", "delay_rec is not read"):
        assert part in said
    assert "refDelay is not read" in " ".join(program_of(file_of({"neuron/refDelay": 3})).notes)
    assert "2 weights beyond" in " ".join(program_of(file_of({"weight": [[300, -400, 0], [0, 1, 2]]})).notes)
    assert program_of(file_of({"neuron/refDelay": 1})).notes == ()


def test_what_may_be_left_out_has_its_default_and_numbers_may_be_one_or_many():
    bare = {name: None for name in LAYER if name.startswith("neuron/")}
    [plain] = program_of(file_of(bare)).layers
    assert (plain.du[0], plain.dv[0], plain.vth[0], plain.bias.any()) == (-1, 4096, 2**17, False)
    several = {
        "type": ["dense"],
        "weight": np.arange(-2.9, 3),
        "neuron/iDecay": [1, 2],
        "neuron/vThMant": [7],
        "bias": [1.9, -1.9],
    }
    [layer] = program_of(file_of(several)).layers
    np.testing.assert_array_equal(layer.ff.effective, [[-2, -1, 0], [0, 1, 2]])
    np.testing.assert_array_equal(layer.du, [0, 1])
    np.testing.assert_array_equal(layer.bias, [64, -64])
    by_target = program_of(file_of({"delay": [1, 2]})).layers[0].ff.delays
    by_source = program_of(file_of({"delay": [1, 2, 3]})).layers[0].ff.delays
    np.testing.assert_array_equal(by_target, [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(by_source, [[1, 2, 3], [1, 2, 3]])
    assert (program_of(file_of({"delay": 9})).layers[0].ff.delays == 9).all()
    first = {name.replace("layer/1", "layer/0"): v for name, v in file_of({}).items() if "layer/1" in name}
    assert program_of(first).n_inputs == 3


def test_resets_are_staggered_by_layer(tmp_path):
    made = read_netx(EXAMPLE, reset_interval=50, reset_offset=7)
    assert [(layer.reset_interval, layer.reset_offset) for layer in made.layers] == [
        (50, 8),
        (50, 9),
        (50, 10),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "conv"}, "type must be 'input' for the first layer, 'dense' or 'dense_rec'; got 'conv'"),
        ({"type": "input"}, "type must be 'input' for the first"),
        ({"type": None}, "layer/1 must have a dataset 'type'"),
        ({"type": 3}, "layer/1/type must be one text; got 3"),
        ({"shape": [0]}, "shape must be integers >= 1"),
        ({"shape": [2**40]}, "shape must be integers >= 1"),
        ({"weight": [[1, 2], [3, 4]]}, "weight must have 2 rows of 3 weights"),
        ({"weight": np.full((2, 3), np.nan)}, "weight must be finite numbers"),
        ({"weight": np.full((2, 3), 1e30)}, "weight must be finite numbers within 31 bits"),
        ({"weight": np.zeros((2, 3))}, "all weights of layer/1 are 0, which lava-dl does not load"),
        ({"weight": np.full((2, 3), 300)}, "beyond 8 bits, 300 to 300: lava-dl would shift them by -1"),
        ({"type": "dense_rec"}, "layer/1 must have a dataset 'weight_rec'"),
        ({"type": "dense_rec", "weight_rec": [[1, 2]]}, "weight_rec must have 2 times 2 weights"),
        ({"type": "dense_rec", "weight_rec": np.eye(2), "delay": 1}, "must have the shape of weight_rec"),
        ({"delay": -1}, "delay must be integers >= 0"),
        ({"delay": 0.5}, "delay must be integers >= 0"),
        ({"delay": [1, 2, 3, 4]}, "delay must have one entry"),
        ({"delay": [[1, 2]]}, "delay must have shape"),
        ({"neuron/type": "SDNN"}, "neuron/type must be 'CUBA'; got 'SDNN'"),
        ({"neuron/iDecay": None}, "layer/1/neuron must have iDecay"),
        ({"neuron/iDecay": 5000}, "du must be integers in"),
        ({"neuron/vThMant": [1, 2, 3]}, "vThMant must be a number, or one for each of 2 neurons; got 3"),
        ({"bias": np.inf}, "bias must be finite numbers"),
    ],
)
def test_what_lava_does_not_load_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        program_of(file_of(change))


def test_layers_are_numbered_from_0_on(tmp_path):
    arrays = file_of({}, {"weight": [[1, -1], [2, -2]]})
    broken = {name.replace("layer/1", "layer/3"): values for name, values in arrays.items()}
    with pytest.raises(ValueError, match=r"without gaps; got \[0, 2, 3\]"):
        program_of(broken)
    with pytest.raises(ValueError, match=r"called 0, 1, ...; got '01'"):
        program_of({name.replace("layer/1", "layer/01"): values for name, values in arrays.items()})
    with pytest.raises(ValueError, match="it must have groups"):
        program_of({})


def test_datasets_that_are_never_read_may_hold_anything(tmp_path):
    path = written(tmp_path / "a.net", file_of({}))
    with h5py.File(path, "a") as file:
        file["layer/1/inFeatures"] = h5py.Empty("f4")
        file["layer/1/neuron/gradedSpike"] = h5py.Empty("i4")
        file["layer/1/neuron/refDelay"] = h5py.Empty("i4")
        file["layer/1/other"] = np.zeros(2, [("a", "i4"), ("b", "f8")])
        file["simulation/Ts"] = 1
    assert read_netx(path) == program_of(file_of({}))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(90), b"no file of this kind"])
def test_what_is_no_file_of_this_kind_is_refused(tmp_path, content):
    path = tmp_path / "bad.net"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.net is no NetX file"):
        read_netx(path)


def test_a_file_takes_no_more_than_it_may(tmp_path):
    path = tmp_path / "bomb.net"
    with h5py.File(path, "w") as file:
        for name, values in file_of({"weight": None}).items():
            file[name] = values
        file.create_dataset("layer/1/weight", (2, 10**9), "i1", chunks=(1, 1000), compression="gzip")
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="at most max_bytes"):
        read_netx(path)
    weight = np.tile(np.array([3, -1], np.int8), (2, 1000))
    wide = written(tmp_path / "wide.net", file_of({"weight": weight}, n_inputs=2000))
    assert read_netx(wide, max_bytes=10**6).n_inputs == 2000
    with pytest.raises(ValueError, match="layer/1/weight would take"):
        read_netx(wide, max_bytes=200_000)
    with h5py.File(tmp_path / "link.net", "w") as file:
        file["layer/0/type"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(ValueError, match="must be a dataset of this file"):
        read_netx(tmp_path / "link.net")


@pytest.mark.parametrize("case", ["typical", "excitatory", "recurrent_6", "dense_8_6_4", "inhibition"])
def test_what_netx_can_hold_acts_the_same_when_it_is_read_again(tmp_path, case):
    made = program(case)
    bare = Program(tuple(dataclasses.replace(x, u0=0, v0=0, bias_mant=0) for x in made.layers))
    write_netx(bare, tmp_path / "a.net")
    again = read_netx(tmp_path / "a.net")
    for one, two in zip(bare.layers, again.layers, strict=True):
        for m, n in zip(one.matrices, two.matrices, strict=True):
            np.testing.assert_array_equal(m.effective, n.effective)
        for name in ("du", "dv", "vth"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("graded", "layer 0 takes graded inputs, for which NetX has no place"),
        ("many", "initial states other than 0|whole weight units"),
        ("negative_bias", "biases of layer 0 must be whole weight units"),
        (
            "weight_exp_up",
            "reads 1 weights of layer 0 otherwise than they are meant; .* beyond -256..254 are clipped",
        ),
        ("weight_exp_down", "weights of layer 0 must be whole weight units"),
        (
            "longest_delay",
            "reads . delays of layer 0 otherwise than they are meant; .* beyond 62 steps are clipped",
        ),
    ],
)
def test_what_netx_cannot_hold_is_not_written(tmp_path, case, message):
    with pytest.raises(ValueError, match=message):
        write_netx(program(case), tmp_path / "a.net")
    assert not list(tmp_path.iterdir())


def test_recurrent_delays_are_written_for_other_loaders_only(tmp_path):
    layer = Layer(
        Dense([[8, -4], [2, 6]]), Dense([[2, -2], [4, 8]], [[1, 2], [3, 4]]), du=100, dv=100, vth=10
    )
    with pytest.raises(ValueError, match=r"otherwise than they are meant; .*recurrent with delays"):
        write_netx(Program((layer,)), tmp_path / "a.net")
    write_netx(Program((layer,)), tmp_path / "a.net", misread=True)
    with h5py.File(tmp_path / "a.net") as file:
        np.testing.assert_array_equal(file["layer/1/delay_rec"], layer.rec.delays)
    silent = Program((Layer(Dense([[0, 0]])),))
    with pytest.raises(ValueError, match="does not load this program from a NetX file: all weights"):
        write_netx(silent, tmp_path / "b.net")
    assert "layer/1/weight" in arrays_of(silent)
