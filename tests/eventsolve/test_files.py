"""Files are whole or absent, whatever happens while they are written, and a folder belongs to one run at a time."""

import ast
import errno
import functools
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eventsolve as es
from eventsolve import files
from eventsolve.files import LOCK, NotWrittenError, claimed, whole, write_text, write_texts
from eventsolve.io import records


@functools.cache
def solution():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[10.0]])
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 30e-3)


@functools.cache
def record():
    return records.Record(
        name="a chip",
        t_end=30e-3,
        inputs={"in": solution().spikes["in"]},
        spikes={"out": solution().spikes["out"]},
        traces={
            "out": records.Trace(
                np.linspace(0, 30e-3, 5000), np.random.default_rng(1).normal(size=(1, 1, 5000))
            )
        },
    )


def write_record(ending):
    return lambda path: records.write(record(), path.with_suffix(ending))


WRITERS = {
    "text": lambda path: write_text(path, "x" * 100_000),
    "certificate": lambda path: es.certify(solution()).save(path),
    **{ending: write_record(ending) for ending in (".json", ".npz", ".h5")},
}


def bytes_in(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_leaves_what_was_there(writer, before, tmp_path, monkeypatch):
    path = tmp_path / "file"
    if before:
        writer(path)
    there = bytes_in(tmp_path)
    assert len(there) == before

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)  # all is written by then, beside
    with pytest.raises(KeyboardInterrupt):
        writer(path)
    assert bytes_in(tmp_path) == there


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are those of a process")
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(writer, tmp_path):
    """A limit on the size of files refuses as a full disk does, in the midst of writing."""
    path = tmp_path / "file"
    record()  # here, and not where no kernel can be kept
    write_text(path.with_suffix(".old"), "before")
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
            writer(path)
        except NotWrittenError as error:
            said = "cannot be written: File too large" in str(error)
            os._exit(7 if said and isinstance(error.__cause__, OSError) else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert bytes_in(tmp_path) == {"file.old": b"before"}


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(NotWrittenError, match=r"none/file cannot be written: No such file or directory"):
        write_text(tmp_path / "none" / "file", "x")


def test_a_file_keeps_its_mode_and_its_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to(real)
    write_text(link, "after")
    assert link.is_symlink()
    assert real.read_text() == "after"
    assert real.stat().st_mode & 0o777 == 0o640
    fresh, plain = tmp_path / "fresh", tmp_path / "plain"
    write_text(fresh, "x")
    plain.write_text("x")
    assert fresh.stat().st_mode == plain.stat().st_mode


def test_a_device_is_written_to_as_it_is():
    write_text("/dev/null", "x")
    assert not Path("/dev/null").is_file()


def test_what_has_no_room_is_kept_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report").write_text("a file where the folder should be")
    with pytest.raises(
        NotWrittenError, match=r"report cannot be made: .*; it was written into .*eventsolve-"
    ) as caught:
        write_texts(tmp_path / "report", {"a.json": "1", "a.html": "2"})
    (kept,) = (tmp_path / "elsewhere").iterdir()
    assert bytes_in(kept) == {"a.json": b"1", "a.html": b"2"}
    assert str(kept) in str(caught.value)
    kept_texts = write_texts(tmp_path / "new" / "folder", {"a.json": "1"})
    assert kept_texts == (tmp_path / "new" / "folder" / "a.json",)


def test_the_first_error_is_told_if_there_is_no_room_anywhere(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(NotWrittenError, match=r"a cannot be written: No space left on device$"):
        write_texts(tmp_path, {"a": "1"})
    assert bytes_in(tmp_path) == {}


def test_whole_takes_what_is_written_under_its_path_only(tmp_path):
    with whole(tmp_path / "file") as beside:
        assert beside.parent == tmp_path
        assert beside.name.startswith(".file.")
        beside.write_bytes(b"all of it")
        assert not (tmp_path / "file").exists()
    assert bytes_in(tmp_path) == {"file": b"all of it"}


def test_a_folder_belongs_to_one_run(tmp_path):
    folder = tmp_path / "new"
    other = f"""
from pathlib import Path
from eventsolve.files import claimed, NotWrittenError
while input():
    try:
        with claimed(Path({str(folder)!r})):
            print("mine", flush=True)
    except NotWrittenError as error:
        print(error, flush=True)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", other], **pipes) as process:

        def said():
            process.stdin.write("again\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        with claimed(folder):
            assert said() == f"another run is writing into {folder}"
            assert [file.name for file in folder.iterdir()] == [LOCK]
            (folder / "result").write_text("x")
        assert said() == "mine"
        process.communicate("\n")
    assert process.returncode == 0
    assert bytes_in(folder) == {"result": b"x"}
    with claimed(tmp_path / "unused"):
        pass
    assert not (tmp_path / "unused").exists()


def test_a_folder_that_cannot_be_made_cannot_be_claimed(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWrittenError, match="cannot be written into: "), claimed(tmp_path / "file"):
        raise AssertionError("it was claimed")


# -- no file is written otherwise ---------------------------------------------------------------------------------

FOLDERS = ("eventsolve", "validation", "benchmarks", "docs", "notebooks", "examples")
METHODS = ("write_text", "write_bytes", "open")
"""Of the path that is written."""
FIRST = (
    "savefig",
    "savez",
    "savez_compressed",
    "savetxt",
    "to_csv",
    "tofile",
    "File",
    "ZipFile",
    "filled",
)
SECOND = ("dump",)
"""Functions and methods that take where to write as first and as second argument."""


def target_of(call):
    """The expression that says where a call writes a file, or None if it writes none."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else None
    name = method or (call.func.id if isinstance(call.func, ast.Name) else "")
    if name in ("open", "File", "ZipFile"):
        place = 0 if method == "open" else 1
        given = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg == "mode")]
        if not any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax+") for mode in given):
            return None
    if method in METHODS:
        return call.func.value
    if name in SECOND:
        return call.args[1]
    known = name in (*FIRST, "open") or (method == "save" and getattr(call.func.value, "id", "") == "np")
    return call.args[0] if known and call.args else None  # without one they return text


def names_in(node):
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def not_beside(source):
    """The lines that write a file of which the name at the end can be seen half-written.

    A file may be written where ``whole`` says, that is ``beside`` or something made of it; in memory; or into a folder
    for temporary files.
    """
    if not any(f"{name}(" in source for name in (*METHODS, *FIRST, *SECOND, "save")):
        return []
    tree = ast.parse(source)
    bound = []
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            bound += [(item.optional_vars, item.context_expr) for item in node.items if item.optional_vars]
        elif isinstance(node, ast.Assign):
            bound += [(target, node.value) for target in node.targets]
    safe, before = {"beside", "io", "tempfile"}, 0
    while len(safe) > before:
        before = len(safe)
        safe |= {name for to, value in bound if names_in(value) & safe for name in names_in(to)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (target := target_of(node)) is not None
        and not names_in(target) & safe
    ]


WRONG = """
open(path, "w")
path.open(mode="xb")
path.write_text(text)
(folder / "x").write_bytes(b"")
np.savez(path, x=x)
np.save(path, x)
json.dump(document, file)
figure.savefig(path)
frame.to_csv(path)
h5py.File(path, "a")
ZipFile(path, mode="w")
"""
RIGHT = """
with whole(path) as beside, beside.open("wb") as file:
    np.savez(file, x=x)
    json.dump(document, file)
with whole(path) as beside:
    figure.savefig(beside)
content = io.BytesIO()
with h5py.File(content, "w") as h5:
    pass
open(path)
path.open("rb")
h5py.File(path, "r")
image.save(raw)
"""


def test_files_are_written_beside_everywhere():
    assert not_beside(WRONG) == list(range(2, 2 + WRONG.strip().count("\n") + 1))
    assert not_beside(RIGHT) == []
    root = Path(__file__).parents[2]
    sources = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*.py"))]
    assert len(sources) > 200
    found = {
        f"{file.relative_to(root)}:{line}"
        for file in sources
        for line in not_beside(file.read_text(encoding="utf-8"))
    }
    assert found == set()
