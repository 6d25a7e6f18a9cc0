"""Learning samples by circuit, closed form and exact backpropagation; the files that samples come from."""

import gzip
import json

import numpy as np
import pytest
from learning import digits
from typer.testing import CliRunner

from benchmarks.tables import spiking_backpropagation
from eventsolve.bounded import Unreadable
from validation.cli.app import app
from validation.sbp import circuit, images
from validation.sbp.rule import CHIP, EXACT, Rule
from validation.sbp.training import ROWS, Operations, accuracy, operations, table, trained
from validation.sbp.weights import Weights, initial

RUN = CliRunner()


def some(n=120):
    x, labels = digits(2 * n)
    every = images.samples(x, labels)
    halves = slice(n), slice(n, None)
    return tuple(every._replace(inputs=every.inputs[part], labels=every.labels[part]) for part in halves)


def test_circuit_and_closed_form_train_alike_to_the_last_bit():
    training, test = some(60)
    engines = "circuit", "closed form"
    runs = [list(trained(training, test, hidden=20, epochs=2, seed=3, engine=engine)) for engine in engines]
    for one, other in zip(*runs, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))
        assert one.test == other.test
        assert one.at_limit == other.at_limit
        assert one.learning > 0


@pytest.mark.parametrize("rule", [CHIP, EXACT, Rule(read="after"), Rule(bits=9)], ids=lambda rule: rule.name)
def test_classes_are_learned(rule):
    """Ten classes; of 120 samples a tenth is right by chance, with a standard deviation of a fortieth."""
    training, test = some()
    last = list(trained(training, test, rule, hidden=60, epochs=6, seed=1))[-1]
    assert last.test.sums > 0.3
    assert last.test.exact <= last.test.spikes + 1e-9
    assert accuracy(last.weights, training, rule).sums > 0.3


def test_trainings_start_alike():
    """From the same weights, whatever the rule, so that what differs is the rule's doing."""
    usual = initial((5, 4, 3), 7)
    for rule in (row.rule for row in ROWS if row.rule.bits == 8):
        assert all(np.array_equal(a, b) for a, b in zip(initial((5, 4, 3), 7, rule), usual, strict=True))
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_table_is_of_its_trainings():
    training, test = some(40)
    rows = [row for row in ROWS if row.name in ("chip, closed form", "5 bits")]
    found = list(table(training, test, rows, hidden=10, epochs=2, seeds=(0, 1)))
    assert [result.row for result in found] == rows
    again = list(trained(training, test, rows[0].rule, hidden=10, epochs=2, seed=1))
    assert found[0].last[1].test == again[-1].test
    assert found[0].first_learning[1] == again[0].learning
    mean, deviation = found[0].spread(lambda epoch: epoch.test.sums)
    values = [epoch.test.sums for epoch in found[0].last]
    assert mean == pytest.approx(np.mean(values))
    assert deviation == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))


def test_operations_are_counted():
    """By hand: one input of two fires, and no hidden neuron, as its sum of 2 is within the box and below 512."""
    weights = Weights(np.full((2, 3), 2), np.full((3, 2), 2))
    sample = images.Samples(np.array([[True, False]]), np.array([0]), 2)
    learning, answering = operations(weights, sample)
    assert answering == Operations(4, 1 + 4, 4 + 2 + 3 + 2, 3, 0)
    # x in 1, 7, 11, m_x in 6, h_lo in 2 thrice, c_h in 6 thrice, the target in 3, twelve gates
    assert learning.spikes == 3 + 1 + 3 + 3 + 1 + 12
    assert learning.plastic == 3 * 9
    assert learning.updates == 0
    trials = circuit.learned(weights, sample.inputs, sample.targets)
    assert learning.spikes == sum(int(s.sum()) for s in trials.spikes.values())
    random = np.random.default_rng(2)
    x, t = random.random((8, 12)) < 0.5, random.random((8, 4)) < 0.5
    start = initial((12, 16, 4), 2)
    trials = circuit.learned(start, x, t)
    held = circuit.held(start)
    changed = sum(int((w[0] != held[name]).sum()) for name, w in trials.weights.items())
    assert trials.counts[0, 3] == changed > 0


def test_digits_are_those_of_the_file():
    training, test = images.digits()
    assert training.inputs.shape == (1437, 64)
    assert test.inputs.shape == (360, 64)
    assert 0.3 < training.inputs.mean() < 0.4
    assert training.targets.sum() == 1437


# -- files of MNIST's form -------------------------------------------------------------------------------------------


def written(tmp_path, ending="", n=5, side=28):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (n, side, side)).astype(np.uint8)
    labels = rng.integers(0, 10, n).astype(np.uint8)
    paths = tmp_path / f"images{ending}", tmp_path / f"labels{ending}"
    images.write_idx(grey, paths[0])
    images.write_idx(labels, paths[1])
    return grey, labels, paths


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_of_that_form_are_read(tmp_path, ending):
    grey, labels, paths = written(tmp_path, ending)
    found = images.idx(*paths)
    assert found.inputs.shape == (5, 400)
    assert np.array_equal(found.inputs.reshape(5, 20, 20), grey[:, 4:-4, 4:-4] > 127)
    assert np.array_equal(found.labels, labels)
    assert images.idx(*paths, crop=0).inputs.shape == (5, 784)


def test_files_that_are_not_what_they_say_are_refused(tmp_path):
    _, _, (pictures, labels) = written(tmp_path)
    with pytest.raises(Unreadable, match="labels must begin with 0x00000803, as a file of images"):
        images.idx(labels, labels)
    short = tmp_path / "short"
    short.write_bytes(pictures.read_bytes()[:-1])
    with pytest.raises(Unreadable, match="short says that it holds 5 x 28 x 28 bytes; it has 3919"):
        images.idx(short, labels)
    short.write_bytes(b"\0\0\x08\x03")
    with pytest.raises(Unreadable, match="it has -12"):
        images.idx(short, labels)
    with pytest.raises(
        ValueError, match="crop must be an integer >= 0 that leaves some of 28 x 28 pixels; got 14"
    ):
        images.idx(pictures, labels, crop=14)
    with pytest.raises(ValueError, match="threshold must lie in 0"):
        images.idx(pictures, labels, threshold=1.0)
    with pytest.raises(Unreadable, match="max_bytes = 100"):
        images.idx(pictures, labels, max_bytes=100)
    packed = tmp_path / "bomb.gz"
    packed.write_bytes(gzip.compress(bytes(10**7)))
    with pytest.raises(Unreadable, match=r"what bomb\.gz unpacks to would take"):
        images.idx(packed, labels, max_bytes=10**6)
    packed.write_bytes(gzip.compress(pictures.read_bytes())[:-20])
    with pytest.raises(Unreadable, match="is no whole gzip file"):
        images.idx(packed, labels)
    other = tmp_path / "other"
    images.write_idx(np.array([1, 12, 3, 4, 5], dtype=np.uint8), other)
    with pytest.raises(ValueError, match=r"labels must lie in 0..9, one for each output; entry \[1\] is 12"):
        images.idx(pictures, other)
    images.write_idx(np.array([1], dtype=np.uint8), other)
    with pytest.raises(ValueError, match="labels must be as many as inputs; got 1 and 5"):
        images.idx(pictures, other)


# -- commands --------------------------------------------------------------------------------------------------------


def test_a_record_with_a_fault_is_written_and_checked(tmp_path):
    path = str(tmp_path / "mine.npz")
    made = ["sbp", "record", "--out", path, "--trials", "3", "--hidden", "12"]
    ran = RUN.invoke(app, made)
    assert ran.exit_code == 0, ran.output
    ran = RUN.invoke(app, ["localise", path])
    assert ran.exit_code == 0, ran.output
    assert "mine learns as the circuit does, in every bit of 3 trials" in ran.output
    fault = "gate 6 to o and o_hi and o_lo comes one step late"
    ran = RUN.invoke(app, [*made[:4], "--trials", "10", "--hidden", "15", "--fault", fault])
    assert ran.exit_code == 0, ran.output
    assert "the fault leaves no trace in these trials" in ran.output
    ran = RUN.invoke(app, [*made, "--fault", "nothing"])
    assert ran.exit_code == 2
    assert "there is no fault 'nothing'" in " ".join(ran.output.split())


def test_training_is_a_command_and_the_table_a_script(tmp_path):
    _, _, (pictures, labels) = written(tmp_path, n=30, side=8)
    files = [
        *(f"--images={pictures}",) * 2,
        *(f"--labels={labels}",) * 2,
        "--crop=0",
        "--hidden=5",
        "--epochs=2",
    ]
    ran = RUN.invoke(app, ["sbp", "train", *files, "--set", "error=real,limits=none"])
    assert ran.exit_code == 0, ran.output
    assert "epoch   2:" in ran.output
    assert "published for 400-400-10 on MNIST" in ran.output
    ran = RUN.invoke(app, ["sbp", "train", "--set", "bits=99"])
    assert ran.exit_code == 2
    ran = RUN.invoke(app, ["sbp", "train", "--set", "speed=9"])
    assert ran.exit_code == 2
    ran = RUN.invoke(app, ["sbp", "train", "--engine", "magic", "--epochs", "1"])
    assert ran.exit_code == 2
    out = tmp_path / "table"
    ran = RUN.invoke(
        spiking_backpropagation.app, [*files, "--seeds", "1", "--only", "chip", "--out", str(out)]
    )
    assert ran.exit_code == 0, ran.output
    data = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in data["rows"]] == ["chip, circuit of twelve steps", "chip, closed form"]
    assert data["rows"][0]["exact"] == data["rows"][1]["exact"]
    assert [count["steps"] for count in data["operations"]] == [12, 4]
