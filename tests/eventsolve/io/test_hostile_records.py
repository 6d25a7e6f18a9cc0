"""Is every broken, cut off, lying, oversized or inconsistent file refused as what it is, and nothing else?"""

import contextlib
import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.io import records
from eventsolve.testing import network_of

SCHEMA = jsonschema.Draft202012Validator(records.schema())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a record with everything, by container."""
    net = network_of(
        {"in": 2, "a": (2, es.LIF(20e-3, [5e-3, 4e-3], t_ref=1e-3)), "out": (1, es.LIF(20e-3, 5e-3))},
        {
            ("in", "a"): {"weight": [[9.0, 4.0], [5.0, 8.0]], "delay": 1e-3},
            ("a", "out"): {"weight": [[9.0, 9.0]]},
        },
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3]], [[2e-3], [2.5e-3]]])}
    solution = es.solve(net, inputs, 50e-3)
    loss = es.losses.TTFSCrossEntropy("out", [0, 0], tau0=2e-3, tau1=10e-3, alpha=3e-3)
    value, grads = es.value_and_grad(solution, loss)
    record = records.Record(
        "whole",
        50e-3,
        inputs,
        {name: solution.spikes[name] for name in ("a", "out")},
        net,
        loss,
        np.asarray(value),
        {
            "weight": dict(grads.weight),
            "tau_syn": dict(grads.tau_syn),
            "spike_times": dict(grads.spike_times),
        },
        time_step=1e-3,
        traces={"a": records.Trace(np.array([0.0, 1e-2]), solution.voltage("a", [0.0, 1e-2]))},
        notes="whole",
    )
    folder = tmp_path_factory.mktemp("whole")
    for ending in ("json", "npz", "h5"):
        records.write(record, folder / f"r.{ending}")
    return {ending: (folder / f"r.{ending}").read_bytes() for ending in ("json", "npz", "h5")}


def read(folder, ending, content):
    path = folder / f"r.{ending}"
    path.write_bytes(content)
    return records.read(path)


def refused(folder, ending, content, words):
    with pytest.raises(records.RecordError, match=words):
        read(folder, ending, content)


# -- bytes ---------------------------------------------------------------------------------------------------------


@st.composite
def damage(draw, size):
    """A function that changes some bytes, cuts some out, or puts some in."""
    changes = draw(
        st.lists(
            st.tuples(st.integers(0, size), st.integers(0, 40), st.binary(max_size=8)), min_size=1, max_size=4
        )
    )

    def damaged(content):
        for start, length, put in changes:
            content = content[:start] + put + content[start + length :]
        return content

    return damaged


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_damaged_files_are_records_or_refused(ending, whole, tmp_path):
    content = whole[ending]

    @settings(max_examples=75, deadline=None)
    @given(damage(len(content)))
    def check(damaged):
        with contextlib.suppress(records.RecordError):  # and no other error
            assert isinstance(read(tmp_path, ending, damaged(content)), records.Record)

    check()


@pytest.mark.parametrize("ending", ["json", "npz", "h5"])
def test_cut_off_files_are_refused(ending, whole, tmp_path):
    content = whole[ending]
    for end in {0, 1, 3, len(content) // 3, len(content) // 2, len(content) - 30, len(content) - 3}:
        refused(tmp_path, ending, content[:end], "is not a record")


@pytest.mark.parametrize("ending", ["json", "npz", "h5"])
def test_pickles_are_refused_unopened(ending, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    refused(tmp_path, ending, pickle.dumps(Trap()), "is not a record")
    if ending == "npz":
        stream = io.BytesIO()
        np.savez(stream, document=np.array([Trap()], dtype=object))
        refused(tmp_path, ending, stream.getvalue(), "must hold integers or real numbers")


# -- structure -----------------------------------------------------------------------------------------------------

ODD = [10**30, -1e300, 1e300, 0.5, "", "in", "out", "a", "LIF", [], {}, [[]], [None], [[1.0], [2.0, 3.0]]]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(ODD)
    | st.dictionaries(
        st.sampled_from(["array", "file", "indptr", "times", "in"]), st.integers(0, 2), max_size=2
    )
)


def entries(document):
    if isinstance(document, dict):
        return dict(document)
    return dict(enumerate(document)) if isinstance(document, list) else {}


def places(document, path=()):
    """Every path into a document."""
    for key, entry in entries(document).items():
        yield (*path, key)
        yield from places(entry, (*path, key))


def change(document, path, value, removed):
    """Put a value at a place or take away what is there, as far as the place is still there."""
    for key in path[:-1]:
        document = entries(document).get(key)
    if path[-1] in entries(document):
        if removed:
            del document[path[-1]]
        else:
            document[path[-1]] = value


def test_changed_documents_are_records_of_the_schema_or_refused(whole, tmp_path):
    text = whole["json"].decode()
    paths = sorted(places(json.loads(text)), key=repr)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(paths), VALUES, st.booleans()), min_size=1, max_size=2))
    def check(changes):
        document = json.loads(text)
        for where, value, removed in changes:
            change(document, where, value, removed)
        try:
            read(tmp_path, "json", json.dumps(document).encode())
        except records.RecordError:
            return
        SCHEMA.validate(document)

    check()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no JSON"),
        ("{", "holds no JSON"),
        ("[" * 100_000, "holds no JSON"),
        ("[]", "must be an object"),
        ('{"format": NaN}', "NaN is no number in JSON; write null"),
        ('{"name": 1, "name": 2}', "key 'name' must not be given twice"),
        ('{"format": ' + "9" * 10_000 + "}", "holds no JSON"),
        ("\ud800", "holds no JSON"),
    ],
)
def test_texts_that_are_no_documents(text, words, tmp_path):
    refused(tmp_path, "json", text.encode("utf-8", "surrogatepass"), words)


# -- files that lie about their size ---------------------------------------------------------------------------------


def archive(members, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def npy(header, data=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header(descr="<f8", shape="(3,)"):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    bomb = archive({"document.npy": b"\0" * (1 << 27)})
    assert len(bomb) < 1 << 18
    path = tmp_path / "r.npz"
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(
            records.RecordError,
            match=r"its arrays would take 134217728 bytes, and .* at most max_bytes = 1000000",
        ):
            records.read(path, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_that_declares_little_is_not_unpacked_further(tmp_path):
    bomb = bytearray(archive({"document.npy": b"\0" * (1 << 27)}))
    true, false = struct.pack("<L", 1 << 27), struct.pack("<L", 1000)
    assert bomb.count(true) >= 2
    path = tmp_path / "r.npz"
    path.write_bytes(bytes(bomb).replace(true, false))
    tracemalloc.start()
    try:
        with pytest.raises(records.RecordError):
            records.read(path, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            npy(header(shape="(1000000000000,)"), b"\0" * 24),
            "declares float64 of shape .1000000000000,. and has 24",
        ),
        (npy(header(), b"\0" * 23), "has 23 bytes"),
        (npy(header("|O"), b"\0" * 24), "must hold integers or real numbers"),
        (npy(header("<c16"), b"\0" * 48), "must hold integers or real numbers"),
        (npy("__import__('os')\n"), "must hold integers or real numbers"),
        (npy(header("<f1"), b"\0" * 3), "makes no sense"),
        (npy(header(shape="(1, 1, 1, 1, 1, 1, 1, 1, 1,)"), b"\0" * 8), "declares"),
        (b"\x93NUMPY\x09\x00", "version 1 or 2"),
        (b"", "version 1 or 2"),
    ],
)
def test_arrays_that_lie_are_refused(content, words, tmp_path):
    refused(tmp_path, "npz", archive({"document.npy": content}), words)


def test_an_archive_with_a_name_that_is_no_text_is_refused(tmp_path):
    """Found by damaging files at random: zipfile raises UnicodeDecodeError."""
    content = bytearray(archive({"documént.npy": npy(header(), b"\0" * 24)}))
    content[content.index(b"\xc3\xa9")] = 0x9D
    refused(tmp_path, "npz", bytes(content), "no zip of arrays")


def test_other_archives_are_refused(tmp_path, whole):
    refused(tmp_path, "npz", archive({}), "no array 'document'")
    refused(tmp_path, "npz", archive({"a.npy": npy(header(), b"\0" * 24)}), "no array 'document'")
    refused(
        tmp_path, "npz", archive({"document.npy": npy(header(), b"\0" * 24)}), "must be a vector of bytes"
    )
    many = archive({f"{k}.npy": b"" for k in range(10_001)}, zipfile.ZIP_STORED)
    refused(tmp_path, "npz", many, "at most 10000 arrays; it holds 10001")
    text = b'{"format": {"array": "there"}}'
    alone = archive({"document.npy": npy(header("|u1", f"({len(text)},)"), text)})
    refused(tmp_path, "npz", alone, "no array 'there'")
    packed = archive({"document.npy": npy(header(), b"\0" * 24)}, zipfile.ZIP_LZMA)
    refused(tmp_path, "npz", packed, "must be stored or deflated")
    refused(tmp_path, "npz", whole["h5"], "no zip of arrays")
    refused(tmp_path, "h5", whole["npz"], "no HDF5 file of arrays")


def test_declared_sizes_are_bounded_by_what_may_be_allocated(tmp_path):
    document = {"format": "eventsolve-record", "version": 1, "name": "big", "t_end": 1, "n_samples": 10_000}
    population = {"name": "in", "size": 10_000, "model": "input"}
    document["network"] = {"populations": [population], "projections": []}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    with pytest.raises(
        records.RecordError, match=r"network.populations\[0\].size must be an integer in 0..1677"
    ):
        records.read(path)


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(b" " * 2000)
    with pytest.raises(records.RecordError, match="at most max_bytes = 1000 bytes; it has 2000"):
        records.read(path, max_bytes=1000)


def test_hdf5_that_points_elsewhere_or_holds_other_things_is_refused(tmp_path):
    import h5py

    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["document"] = np.zeros(3, np.uint8)
    for name, make in {
        "link": lambda f: f.__setitem__("document", h5py.ExternalLink(str(secret), "document")),
        "soft": lambda f: f.__setitem__("document", h5py.SoftLink("/elsewhere")),
        "group": lambda f: f.create_group("document"),
        "text": lambda f: f.__setitem__("document", "text"),
        "empty": lambda f: f.__setitem__("document", h5py.Empty("f8")),
    }.items():
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(records.RecordError, match=r"must be a dataset of this file|must hold integers"):
            records.read(path)
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("document", shape=(1 << 40,), dtype="u1", chunks=(1 << 20,))  # nothing is stored
    with pytest.raises(records.RecordError, match="at most max_bytes"):
        records.read(path)


def test_a_comment_is_no_key_and_a_population_may_have_its_name(tmp_path):
    document = {
        "//": {"name": "of mine"},
        "format": "eventsolve-record",
        "version": 1,
        "name": "mine",
        "t_end": 1.0,
        "conventions": {"//": "in seconds", "time_unit": "s"},
        "spikes": {"//": {"//": ["who", "when"], "n_neurons": 1, "times": [0.5], "neurons": [0]}},
    }
    SCHEMA.validate(document)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    record = records.read(path)
    assert list(record.spikes) == ["//"]
    path.write_text(json.dumps({**document, "/": 1}), encoding="utf-8")
    with pytest.raises(records.RecordError, match="'/', which is none of"):
        records.read(path)
