"""Is every reader bounded, whatever the path is and whatever the file says that it holds?"""

import io
import json
import os
import time
import tracemalloc
import zipfile
import zlib

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve import bounded
from eventsolve.io import hdf5, records
from eventsolve.io import nir as nir_files
from eventsolve.io.shd import read_shd
from validation.tasks.yin_yang import checkpoint
from validation.tasks.yin_yang.recipe import Parameters

LIMIT = 1 << 20


def load_weights(path):
    return checkpoint.load_weights(path, Parameters((np.zeros((1, 1)),), ()), None)


READERS = {
    "record": records.read,
    "certificate": es.Certificate.load,
    "graph": nir_files.read,
    "recordings": read_shd,
    "checkpoint": load_weights,
}
ENDINGS = {"record": ["json", "npz", "h5"]}
DOORS = [(kind, ending) for kind in READERS for ending in ENDINGS.get(kind, ["x"])]


@pytest.mark.parametrize(("kind", "ending"), DOORS)
@pytest.mark.parametrize("what", ["pipe", "link to a pipe", "device", "folder", "socket"])
def test_what_is_no_file_is_refused_and_never_waited_for(kind, ending, what, tmp_path):
    path = tmp_path / f"given.{ending}"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    start = time.perf_counter()
    # a socket cannot be opened at all
    with pytest.raises((ValueError, OSError), match=r"must be a regular file|No such device or address"):
        READERS[kind](path)
    assert time.perf_counter() - start < 5


def test_a_file_that_grows_or_hides_its_size_is_read_up_to_the_limit(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    budget = bounded.Budget(LIMIT)
    with bounded.opened(path, LIMIT) as file, path.open("ab") as more:
        more.write(bytes(100_000))
        more.flush()
        assert len(bounded.content_of(file, budget)) == 100_001
        more.write(bytes(2 * LIMIT))
        more.flush()
        with pytest.raises(bounded.Unreadable, match="at most max_bytes"):
            bounded.content_of(file, budget)


# -- JSON ------------------------------------------------------------------------------------------------------------

TOKENS = [
    "[]",
    "{}",
    "0",
    "1.5",
    "1e300",
    "123456789012",
    '""',
    '"ab"',
    '"abcdefghij"',
    '"\u00e9"',
    '"\u2192ab"',
]
TOKENS += ['"\U0001f600ab"', '{"a": 1}', '{"a": [1, {}], "b": "c"}', "null", "[[], [[]]]", "[1, 2.5, 3]"]


@settings(max_examples=50)
@given(tokens=st.lists(st.sampled_from(TOKENS), min_size=1, max_size=4), n=st.integers(200, 3000))
def test_no_text_takes_more_to_parse_than_is_counted(tokens, n):
    """Fails for any of the terms of the bound left out: each is needed by one of the tokens."""
    text = f"[{', '.join((tokens * n)[:n])}]".encode()
    budget = bounded.Budget(2**40)
    tracemalloc.start()
    try:
        bounded.parsed(text, budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= budget.most - budget.left + 20_000
    with pytest.raises(bounded.Unreadable, match="what its JSON says would take"):
        bounded.parsed(text, bounded.Budget(len(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ('{"a": ' * 900 + "1" + "}" * 900, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' must not be given twice"),
        ('{"\\u001b[31m": 1, "\\u001b[31m": 1}', r"key '\\x1b\[31m' must not be given twice"),
        ("[-Infinity]", "-Infinity is no number in JSON"),
        ("1" * 5000, "holds no JSON: Exceeds the limit"),
        ("\ufeff[]", "holds no JSON: Unexpected UTF-8 BOM"),
        ("[]\n\x00", "holds no JSON: Extra data"),
    ],
)
def test_texts_that_are_no_documents_for_any_reader(text, words):
    with pytest.raises(bounded.Unreadable, match=words):
        bounded.parsed(text.encode(), bounded.Budget(2**30))


# -- arrays ----------------------------------------------------------------------------------------------------------


def packed(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def document(**more):
    return {"format": "eventsolve-record", "version": 1, "name": "mine", "t_end": 1.0} | more


def with_arrays(written, **arrays):
    text = json.dumps(written).encode()
    return packed(document=np.frombuffer(text, np.uint8), **arrays)


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_array_that_is_named_two_thousand_times_is_read_once(tmp_path):
    """It took 6 GB from 13 kB."""
    size, path = 400_000, tmp_path / "r.npz"
    named = [{"pre": "a", "post": f"{k}", "values": {"array": "z"}} for k in range(2000)]
    path.write_bytes(with_arrays(document(gradients={"weight": named}), z=np.zeros(size)))
    assert path.stat().st_size < 60_000
    assert peak_of(lambda: records.read(path)) < 4 * 8 * size
    # in another unit of time each is another array, and counted
    named = document(gradients={"delay": named}, conventions={"time_unit": "ms"})
    path.write_bytes(with_arrays(named, z=np.zeros(size)))

    def refused():
        with pytest.raises(records.RecordError, match="at most max_bytes = 33554432"):
            records.read(path, max_bytes=1 << 25)

    assert peak_of(refused) < 1 << 26


def test_integers_are_counted_as_the_numbers_that_they_become(tmp_path):
    path = tmp_path / "r.npz"
    path.write_bytes(with_arrays(document(loss_values={"array": "z"}), z=np.zeros(LIMIT // 2, np.int8)))

    def refused():
        with pytest.raises(records.RecordError, match="loss_values would take 4194304 bytes"):
            records.read(path, max_bytes=LIMIT)

    assert peak_of(refused) < 2 * LIMIT


def test_a_directory_longer_than_its_archive_may_be_is_not_read(tmp_path):
    """An entry takes 46 bytes in the file and 700 in memory."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k in range(15_000):
            archive.writestr(f"{k:x}", b"")
    path = tmp_path / "r.npz"
    path.write_bytes(stream.getvalue())

    def refused():
        with pytest.raises(records.RecordError, match="its directory is too long"):
            records.read(path, max_bytes=2 * LIMIT)

    assert peak_of(refused) < 4 * LIMIT


# -- HDF5 ------------------------------------------------------------------------------------------------------------


def graph_file(path, change=None, weight=None):
    weight = np.ones((2, 3)) if weight is None else weight
    n, m = weight.shape
    graph = nir.NIRGraph(
        {
            "in": nir.Input(np.array([m])),
            "w": nir.Linear(weight),
            "n": nir.LIF(np.ones(n), np.ones(n), np.zeros(n), np.ones(n), np.zeros(n)),
            "out": nir.Output(np.array([n])),
        },
        [("in", "w"), ("w", "n"), ("n", "out")],
    )
    nir.write(path, graph)
    if change:
        with h5py.File(path, "r+") as file:
            change(file)
    return path


def replaced(name, **arguments):
    def change(file):
        del file[name]
        file.create_dataset(name, **arguments)

    return change


def linked(target):
    def change(file):
        del file["node/nodes/w/weight"]
        file["node/nodes/w/weight"] = target

    return change


def same_text(file):
    """Texts that are one text in the file."""
    del file["node/edges"]
    held = file.create_dataset("node/edges", (1 << 15, 2), dtype=h5py.string_dtype(), fillvalue="x" * 4096)
    held[0] = ("in", "w")


def into_itself(file):
    file["node/nodes/again"] = file["node"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("node/nodes/w/weight", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(64, 64)), "max_bytes"),
        (replaced("node/nodes/in/shape", data=np.array([10**12])), "max_bytes"),
        (linked(h5py.ExternalLink("/etc/passwd", "x")), "must be a dataset of this file"),
        (linked(h5py.SoftLink("/node/nodes/n/tau")), "must be a dataset of this file"),
        (replaced("node/nodes/w/weight", data=np.zeros(3, "c16")), "must hold integers or real numbers"),
        (replaced("node/nodes/w/weight", data=h5py.Empty("f8")), "must hold integers or real numbers"),
        (replaced("node/nodes/w/type", data="Surprise"), "not built as NIR says: AssertionError"),
        (replaced("node/edges", data="none"), "not built as NIR says: not enough values"),
        (same_text, "max_bytes"),
        (into_itself, "deep|at most 10000 arrays"),
        (lambda file: file.pop("node"), "must have a group 'node'"),
    ],
)
def test_graphs_that_declare_too_much_or_point_elsewhere_are_refused(change, words, tmp_path):
    with pytest.raises(ValueError, match=rf"g\.nir(: | holds no NIR graph).*({words})"):
        nir_files.read(graph_file(tmp_path / "g.nir", change), max_bytes=1 << 26)


def test_a_graph_is_read_as_nir_reads_it(tmp_path):
    path = graph_file(tmp_path / "g.nir")
    network, plain = nir_files.read(path), nir_files.from_nir(nir.read(path))
    assert list(network.populations) == list(plain.populations) == ["in", "n"]
    np.testing.assert_array_equal(network.projections["in", "n"].weight, plain.projections["in", "n"].weight)


def test_what_a_graph_multiplies_out_to_is_counted_before():
    """Two small matrices, whose product has 10**10 entries."""
    n = 100_000
    graph = nir.NIRGraph(
        {
            "in": nir.Input(np.array([n])),
            "down": nir.Linear(np.ones((1, n))),
            "up": nir.Linear(np.ones((n, 1))),
            "n": nir.LIF(*(np.ones(n) for _ in range(5))),
            "out": nir.Output(np.array([n])),
        },
        [("in", "down"), ("down", "up"), ("up", "n"), ("n", "out")],
    )
    with pytest.raises(ValueError, match=r"the product of nodes .* would take 800008\d+ bytes .* max_bytes"):
        nir_files.from_nir(graph)
    wide = nir.NIRGraph({"in": nir.Input(np.array([10**12]))}, [], type_check=False)
    with pytest.raises(ValueError, match="input 'in' of 1000000000000 neurons would take"):
        nir_files.from_nir(wide)


def test_a_chunk_is_not_unpacked_beyond_the_limit(tmp_path):
    """One byte in a chunk of 16 MB, which holds 128 MB."""
    path = tmp_path / "r.h5"
    with h5py.File(path, "w") as file:
        held = file.create_dataset(
            "document", (1,), "u1", maxshape=(None,), chunks=(1 << 26,), compression="gzip"
        )
        held.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 27), 1))
    with pytest.raises(records.RecordError, match=r"r\.h5 is not a record"):
        records.read(path, max_bytes=1 << 22)


def test_a_file_that_keeps_the_hdf5_library_busy_for_ever_is_given_up(tmp_path, monkeypatch):
    """Found by changing bytes at random: a heap of texts whose next entry is where the last one was."""
    path = graph_file(tmp_path / "g.nir")
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    assert int.from_bytes(content[heap + 24 : heap + 32], "little") > 0
    content[heap + 24 : heap + 32] = (2**64 - 16).to_bytes(8, "little")  # the first text is -16 bytes long
    path.write_bytes(content)
    monkeypatch.setattr(hdf5, "PATIENCE", 3.0)
    with pytest.raises(ValueError, match="holds no NIR graph: the HDF5 library did not finish"):
        nir_files.read(path, max_bytes=LIMIT)
