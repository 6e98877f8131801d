"""Damaged files of every reader: read, or refused by an error that names them, within bounds of time and memory."""

from __future__ import annotations

import importlib
import random
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    fuzz_files, fuzz_mutations, fuzz_readers = (
        importlib.import_module(name) for name in ("fuzz_files", "fuzz_mutations", "fuzz_readers")
    )
finally:
    sys.path.remove(str(BENCHMARKS))

#: In child processes, because their C libraries may crash: those that are read by h5py, Pillow, and nibabel.
IN_CHILDREN = {
    "bdata": 60,
    "mat73": 50,
    "h5": 60,
    "sparse": 40,
    "decoders": 30,
    "features": 40,
    "betas": 60,
    "images": 60,
}
#: In this process, many more: Python, numpy, expat.
HERE = ("mat5", "npz", "npy", "nifti", "gifti", "cifti", "tables", "caffe", "selectors")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and peak memory are Linux's")
@pytest.mark.parametrize("name", IN_CHILDREN)
def test_damaged_files_neither_crash_nor_hang_nor_cost_memory(name: str) -> None:
    refused, slowest, findings = fuzz_files.fuzz(name, IN_CHILDREN[name])
    assert findings == []
    assert refused > IN_CHILDREN[name] // 8  # many mutations hit what is never read; if most did, nothing is tested
    assert slowest < fuzz_files.SECONDS


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, dict[Path, bytes]]:
    """The files of each reader of this process: path -> content."""
    found = {}
    for name in HERE:
        root = tmp_path_factory.mktemp(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of writing: tests of what is written are elsewhere
            fuzz_readers.READERS[name][0](root)
        found[name] = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    return found


@pytest.mark.parametrize("name", HERE)
def test_many_changes_are_read_or_refused(name: str, sound) -> None:
    _, attempts, must_name = fuzz_readers.READERS[name]
    files = sound[name]
    root = next(iter(files)).parent
    usual = {path: fuzz_files.read_all(attempts, root, must_name, set(files) - {path}) for path in files}
    refused = 0
    for number in range(300):
        rng = random.Random(f"{name} {number}")
        path = rng.choice(sorted(files))
        path.write_bytes(fuzz_mutations.mutated(files[path], list(files.values()), rng))
        refused += fuzz_files.read_all(attempts, root, must_name, set(files) - {path}) > usual[path]
        path.write_bytes(files[path])
    assert refused > 300 // 8


@pytest.mark.parametrize("name", HERE)
@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_piece_in_any_place_is_read_or_refused(name: str, sound, data: st.DataObject) -> None:
    """What hypothesis thinks of: any bytes in place of any others of any file, and nothing but the error of ours."""
    _, attempts, must_name = fuzz_readers.READERS[name]
    path = data.draw(st.sampled_from(sorted(sound[name])))
    content = sound[name][path]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 40)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=16)) + content[stop:])
    try:
        fuzz_files.read_all(attempts, path.parent, must_name, set(sound[name]) - {path})
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", sorted({*HERE, *IN_CHILDREN, "std"}))
def test_every_reader_reads_its_sound_files(name: str, tmp_path) -> None:
    """So that a finding is about the change, and a refusal too."""
    make, attempts, must_name = fuzz_readers.READERS[name]
    make(tmp_path)
    tried = list(attempts(tmp_path))
    assert fuzz_files.read_all(lambda root: tried, tmp_path, must_name) < len(tried)
    assert set(fuzz_readers.READERS) == {*HERE, *IN_CHILDREN, "std"}


def test_the_same_number_makes_the_same_file_and_others_differ() -> None:
    content = bytes(range(256)) * 4

    def made(number):
        return fuzz_mutations.mutated(content, [content], random.Random(number))

    assert made(7) == made(7)
    assert len({made(number) for number in range(50)} - {content}) > 40


def test_what_is_not_an_error_of_ours_is_a_finding(tmp_path) -> None:
    def raising(error):
        def attempt():
            raise error

        return lambda root: [attempt]

    with pytest.raises(KeyError):
        fuzz_files.read_all(raising(KeyError("x")), tmp_path, True)
    with pytest.raises(RuntimeError, match="does not name the file"):
        fuzz_files.read_all(raising(DataError("x")), tmp_path, True)
    assert fuzz_files.read_all(raising(DataError(f"{tmp_path}/a: x")), tmp_path, True) == 1
    hidden = DataError(f"{tmp_path}/a: x")
    hidden.__cause__ = MemoryError()
    with pytest.raises(RuntimeError, match="more memory"):
        fuzz_files.read_all(raising(hidden), tmp_path, True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and peak memory are Linux's")
def test_crashes_hangs_and_memory_are_findings(tmp_path) -> None:
    """Readers that misbehave at one file, found by number; the files after it are read all the same."""
    (tmp_path / "bad_readers.py").write_text(
        "import os, time\n"
        "def make(root):\n"
        "    (root / 'a').write_bytes(bytes(1000))\n"
        "seen = [-2]\n"
        "def attempts(root):\n"
        "    seen[0] += 1\n"
        "    number = int((root.parent / 'progress').read_text().split()[0]) if seen[0] >= 0 else -1\n"
        "    return [lambda: {1: os.abort, 3: lambda: time.sleep(60), 5: lambda: bytes(b'x' * (100 << 20))}"
        ".get(number, int)()]\n"
        "READERS = {'bad': (make, attempts, True)}\n"
    )
    _, _, findings = fuzz_files.fuzz("bad", 7, file=tmp_path / "bad_readers.py", seconds=5)
    assert [number for number, _ in findings] == [1, 3, 5]
    assert "exit -6" in findings[0][1]
    assert "exit -14" in findings[1][1]
    assert "the peak memory grew by" in findings[2][1]
