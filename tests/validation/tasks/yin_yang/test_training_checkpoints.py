"""Does a training go on where it stopped, and is everything that is no checkpoint of it refused?"""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import DELAYED, SMALL, same, states

from validation.spinnaker2 import Adam
from validation.tasks.yin_yang import checkpoint, trainer
from validation.tasks.yin_yang.exact_engine import ExactEngine


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    recipe = replace(DELAYED, n_validation=32)
    whole = states(recipe)
    engine, path = ExactEngine(recipe, threads=1), tmp_path / "checkpoint.npz"
    checkpoint.save(path, whole[0], recipe, engine, 1)
    loaded = checkpoint.load(path, recipe, engine, 1)
    assert same(loaded, whole[0])
    assert same(states(recipe, start=loaded)[-1], whole[-1])


@pytest.fixture
def saved(tmp_path):
    engine, path = ExactEngine(SMALL), tmp_path / "checkpoint.npz"
    checkpoint.save(path, trainer.initial_state(SMALL, engine, 1), SMALL, engine, 1)
    return path


def rewritten(path, **changes):
    """The checkpoint with some arrays replaced, or taken out if they are None."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters_0": None}, "it has no 'parameters_0'"),
        ({"parameters_0": np.zeros((3, 3))}, "must be float64 of shape (30, 5)"),
        ({"parameters_0": np.full((30, 5), np.nan)}, "must be finite"),
        ({"parameters_0": np.zeros((30, 5), np.float32)}, "must be float64"),
        ({"parameters_0": np.zeros((3000, 500))}, "must have at most max_bytes"),
        ({"parameters_0": np.array([{}], dtype=object)}, "is no checkpoint: array 'parameters_0'"),
        ({"counters": np.array([1, 7])}, "a number of steps and a layer"),
        ({"counters": np.array([-1, 0])}, "a number of steps and a layer"),
        ({"history": np.zeros((9, 8))}, "one row for each of up to 3 epochs; got (9, 8)"),
        ({"history": np.zeros((2, 3))}, "must be float64 of shape (2, 8)"),
        ({"identity": np.array("{}")}, "is of another training"),
        ({"identity": np.array("}")}, "does not say what training"),
        ({"identity": np.array(3)}, "must be text"),
        ({"stowaway": np.zeros(3)}, "holds 'stowaway'"),
    ],
)
def test_a_hostile_checkpoint_is_refused(saved, changes, said):
    rewritten(saved, **changes)
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)
    assert said in str(error.value)


def test_a_pickle_in_a_checkpoint_is_never_loaded(saved):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
    members["bump_amount.npy"] = (
        header + len(text).to_bytes(2, "little") + text + b"cos\nsystem\n(S'false'\ntR."
    )
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(
        checkpoint.CheckpointError, match="must hold integers or real numbers of 1 to 8 bytes, or text"
    ):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", bytes(1000)])
def test_what_is_no_archive_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="is no checkpoint"):
        checkpoint.load(path, SMALL, ExactEngine(SMALL), 1)


def test_a_checkpoint_packed_in_a_way_of_the_future(saved):
    content = bytearray(saved.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 109  # ten times the version of zip that can unpack it
    saved.write_bytes(content)
    with pytest.raises(
        checkpoint.CheckpointError, match="is no checkpoint: it is no zip of arrays: zip file version"
    ):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)


def with_old_names(identity, **beside):
    """The identity of a checkpoint as 0.1.0 wrote it."""
    document = json.loads(identity)
    rule = document["recipe"].pop("silent_neuron_rule")
    document["recipe"] |= {"remedy": {"resolve": "lift"}.get(rule, rule), **beside}
    return json.dumps(document, sort_keys=True)


@pytest.mark.parametrize("rule", ["none", "bump", "resolve", "raise"])
def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path, rule):
    recipe = replace(SMALL, silent_neuron_rule=rule)
    engine, path = ExactEngine(recipe), tmp_path / "checkpoint.npz"
    state = trainer.initial_state(recipe, engine, 1)
    checkpoint.save(path, state, recipe, engine, 1)
    with np.load(path) as archive:
        identity = with_old_names(str(archive["identity"]))
    assert '"remedy"' in identity
    assert "silent_neuron_rule" not in identity
    rewritten(path, identity=np.array(identity))
    assert same(checkpoint.load(path, recipe, engine, 1), state)
    other = replace(SMALL, silent_neuron_rule="none" if rule == "raise" else "raise")
    with pytest.raises(checkpoint.CheckpointError, match=f"its recipe.silent_neuron_rule is '{rule}', not"):
        checkpoint.load(path, other, engine, 1)


@pytest.mark.parametrize("rule", [["lift"], None, {"lift": 1}, "sing"])
def test_an_old_name_with_another_value_is_of_another_training(saved, rule):
    with np.load(saved) as archive:
        identity = with_old_names(str(archive["identity"]), remedy=rule)
    rewritten(saved, identity=np.array(identity))
    with pytest.raises(checkpoint.CheckpointError, match=r"its recipe.silent_neuron_rule"):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)


def test_a_checkpoint_with_an_old_name_beside_the_new_one_is_refused(saved):
    with np.load(saved) as archive:
        identity = with_old_names(str(archive["identity"]), silent_neuron_rule="none")
    rewritten(saved, identity=np.array(identity))
    with pytest.raises(checkpoint.CheckpointError, match=r"it has 'recipe.remedy' beside"):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)


@given(st.data())
def test_a_damaged_checkpoint_is_refused_or_the_one_that_was_written(tmp_path_factory, data):
    engine, path = ExactEngine(SMALL), tmp_path_factory.mktemp("damaged") / "checkpoint.npz"
    state = trainer.initial_state(SMALL, engine, 1)
    checkpoint.save(path, state, SMALL, engine, 1)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = checkpoint.load(path, SMALL, engine, 1)
    except checkpoint.CheckpointError:
        return
    assert same(loaded, state)


def test_a_checkpoint_of_another_training_names_the_difference(saved):
    other = replace(SMALL, rule=Adam(1e-3))
    with pytest.raises(checkpoint.CheckpointError, match=r"its recipe.rule.learning_rate is 0.02, not 0.001"):
        checkpoint.load(saved, other, ExactEngine(other), 1)
    with pytest.raises(checkpoint.CheckpointError, match="its seed is 1, not 2"):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 2)
