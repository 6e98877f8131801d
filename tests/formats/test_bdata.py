from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats import bdata
from hpc_recon.formats.bdata import BData

NAN = np.nan
KEYS = ["VoxelData", "ROI_V1", "voxel_x", "stimulus_name", "Label"]
VALUES = np.array(
    [
        [1, 1, 1, NAN, NAN, NAN],
        [1, 0, 1, NAN, NAN, NAN],
        [0.5, 1, -2, NAN, NAN, NAN],
        [NAN, NAN, NAN, 1, NAN, NAN],
        [NAN, NAN, NAN, NAN, 1, 1],
    ]
)
SAMPLES = np.column_stack([np.random.default_rng(0).standard_normal((5, 3)), [1, 2, NAN, 1, 30.5], np.ones((5, 2))])


def write(path, *, dataset="dataset", metadata="metadata", samples=SAMPLES, keys=KEYS, values=VALUES, **options):
    """A BData file straight from h5py, as bdpy lays it out: not by the writer under test."""
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=samples, **options)
        file[f"{metadata}/key"] = np.array([key.encode() for key in keys])
        file[f"{metadata}/description"] = np.array([f"1 = {key}".encode() for key in keys])
        file[f"{metadata}/value"] = values
        file["header/ctime"] = b"2020-01-01"
        file["header/ctime_epoch"] = 1.5
        file["header/callstack"] = [b"a.py:1", b"b.py:2"]
        for number, text in {"1.0": "a", "2": "é", "30.5": "c", "7.0": "unused"}.items():
            file[f"vmap/stimulus_name/{number}"] = text.encode()
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


@pytest.mark.parametrize("spelling", [("dataset", "metadata"), ("dataSet", "metaData")])
def test_both_spellings_give_all_parts(path, spelling) -> None:
    found = BData(write(path, dataset=spelling[0], metadata=spelling[1]))
    assert found.shape == (5, 6)
    assert found.keys == tuple(KEYS)
    assert found.descriptions["ROI_V1"] == "1 = ROI_V1"
    assert found.header == {"ctime": "2020-01-01", "ctime_epoch": 1.5, "callstack": ["a.py:1", "b.py:2"]}
    assert found.vmaps == ("stimulus_name",)
    assert found.columns("ROI_V1").tolist() == [0, 2]
    assert found.columns("VoxelData - ROI_V1").tolist() == [1]
    np.testing.assert_array_equal(found.value("voxel_x"), VALUES[2])
    np.testing.assert_array_equal(found.read("ROI_V1 = 1"), SAMPLES[:, [0, 2]].astype(np.float32))
    np.testing.assert_array_equal(found.numbers("stimulus_name"), SAMPLES[:, 3])
    np.testing.assert_array_equal(found.numbers("Label", column=1), SAMPLES[:, 5])
    assert found.label("stimulus_name") == ("a", "é", "n/a", "a", "c")


@settings(max_examples=60)
@given(st.data())
def test_any_rows_and_columns_are_those_of_numpy_however_the_file_is_stored(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("read") / "a.h5"
    n, d = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    stored = data.draw(st.sampled_from([np.float64, np.float32, np.int16]))
    samples = (np.random.default_rng(1).standard_normal((n, d)) * 100).astype(stored)
    chunks = data.draw(st.one_of(st.none(), st.tuples(st.integers(1, n), st.integers(1, d))))
    write(
        path, samples=samples, keys=["x"], values=np.ones((1, d)), chunks=chunks, compression="gzip" if chunks else None
    )

    def draw(length):
        indices = st.lists(st.integers(0, length - 1), max_size=25).map(lambda x: np.array(x, np.int64))
        masks = st.lists(st.booleans(), min_size=length, max_size=length).map(np.array)
        return data.draw(st.one_of(indices, masks))

    columns, rows = draw(d), data.draw(st.one_of(st.just(slice(1, None, 3)), st.just(draw(n))))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bdata, "BLOCK_BYTES", data.draw(st.sampled_from([1, 100, 1 << 20])))
        found = BData(path).read(columns, rows, dtype=dtype)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, samples[rows][:, columns].astype(dtype))


def test_wrong_requests_say_what_there_is(path) -> None:
    found = BData(write(path))
    for request, message in {
        lambda: found.value("ROI_V2"): "no metadata key 'ROI_V2'; did you mean 'ROI_V1'",
        lambda: found.columns("ROI_V2"): "did you mean 'ROI_V1'",
        lambda: found.label("Label", column=0): "keys that have one: stimulus_name",
        lambda: found.numbers("Label"): "has 2 columns; say which",
        lambda: found.numbers("Label", column=2): "column=2 does not exist",
        lambda: found.read(np.array([6])): "must be 0 to 5",
        lambda: found.read(np.array([-1])): "must be 0 to 5",
        lambda: found.read(np.array([0.5])): "whole numbers",
        lambda: found.read(None, np.array([True])): "a mask must have shape",
        lambda: found.read(dtype=np.int32): "float32 or float64",
        lambda: found.vmap("stimulus_name", np.array([3.0])): "3.0 .1 numbers. of 'stimulus_name'.*not in its vmap",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            request()
        assert ("dtype must be" in str(caught.value)) or str(path) in str(caught.value)


def test_numbers_too_large_for_float32_are_refused(path) -> None:
    samples = SAMPLES.copy()
    samples[2, 1] = 1e300
    found = BData(write(path, samples=samples))
    with pytest.raises(DataError, match="too large for float32; read it as float64"):
        found.read()
    assert found.read(np.array([1]), dtype=np.float64)[2, 0] == 1e300


def test_a_file_that_changes_is_noticed(path) -> None:
    found = BData(write(path))
    write(path, samples=np.vstack([SAMPLES, SAMPLES]))
    with pytest.raises(DataError, match="has changed"):
        found.read()


def replace(path, name, content):
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        if content is not None:
            file[name] = content


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata", None, "has no metadata or metaData; it has dataset, header, vmap"),
        ("dataset", None, "has no dataset or dataSet"),
        ("dataSet", np.ones((2, 2)), "has both dataset and dataSet"),
        ("metadata/value", np.ones((5, 7)), r"shape \(5, 7\) for 6 columns"),
        ("metadata/value", np.ones((4, 6)), "has 5 keys, 5 descriptions and values of"),
        ("metadata/description", np.array([b"a"]), "5 keys, 1 descriptions"),
        ("metadata/key", np.array([b"a", b"b", b"c", b"d", b"\xe9"]), "text 4 of /metadata/key.*not UTF-8"),
        ("metadata/key", np.arange(5), "must hold text"),
        ("metadata/value", ["a"], "must hold numbers"),
        ("dataset", np.ones(3), "must have 2 axes"),
        ("dataset", np.ones((0, 6)), "is empty"),
        ("dataset", np.ones((5, 0)), "is empty"),
        ("dataset", ["a", "b"], "must hold numbers, but holds text"),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_named(path, name, content, message) -> None:
    write(path)
    replace(path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        BData(path)
    assert str(path) in str(caught.value)


def test_a_key_twice_is_refused_only_if_its_rows_differ(path) -> None:
    keys = [*KEYS, "ROI_V1"]
    equal = BData(write(path, keys=keys, values=np.vstack([VALUES, VALUES[1]])))
    assert equal.columns("ROI_V1").tolist() == [0, 2]
    differing = BData(write(path, keys=keys, values=np.vstack([VALUES, VALUES[0]])))
    assert differing.columns("VoxelData").tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="'ROI_V1' 2 times with different values"):
        differing.columns("ROI_V1")


def test_a_vmap_with_two_texts_or_no_number_is_refused(path) -> None:
    write(path)
    replace(path, "vmap/stimulus_name/1", b"b")
    with pytest.raises(DataError, match=r"gives 1\.0 two texts"):
        BData(path).label("stimulus_name")
    replace(path, "vmap/stimulus_name/1", None)
    replace(path, "vmap/stimulus_name/one", b"b")
    with pytest.raises(DataError, match="the entry 'one', which is no number"):
        BData(path).label("stimulus_name")


def test_without_vmap_and_header(path) -> None:
    write(path)
    replace(path, "vmap", None)
    replace(path, "header", None)
    found = BData(path)
    assert (found.vmaps, found.header) == ((), {})
    with pytest.raises(DataError, match="no key of the file has one"):
        found.label("stimulus_name")


def test_a_large_vmap_costs_nothing_to_open_and_only_what_is_used_is_read(path) -> None:
    write(path)
    with h5py.File(path, "a", libver="latest") as file:
        one = file["vmap/stimulus_name/1.0"]
        group = file["vmap/stimulus_name"]
        for number in range(100, 30_100):
            group[f"{number}.0"] = one  # hard links: as many names, quickly made
    begin = time.process_time()
    found = BData(path)
    opened = time.process_time() - begin
    begin = time.process_time()
    assert found.label("stimulus_name") == ("a", "é", "n/a", "a", "c")
    listed = time.process_time() - begin
    assert opened < 0.2  # milliseconds in practice; reading 30,000 texts takes seconds
    assert listed < 0.2  # by the names "1.0", "2" and "30.5"; nothing is listed


def test_of_a_large_vmap_other_spellings_are_found_and_two_texts_are_refused(path, monkeypatch) -> None:
    monkeypatch.setattr(bdata, "LISTED_ENTRIES", 0)
    write(path)
    assert BData(path).label("stimulus_name") == ("a", "é", "n/a", "a", "c")
    replace(path, "vmap/stimulus_name/2", None)
    replace(path, "vmap/stimulus_name/2.00", b"d")
    assert BData(path).label("stimulus_name") == ("a", "d", "n/a", "a", "c")
    replace(path, "vmap/stimulus_name/2", b"b")
    replace(path, "vmap/stimulus_name/2.0", b"e")
    with pytest.raises(DataError, match=r"gives 2\.0 two texts"):
        BData(path).label("stimulus_name")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_one_roi_is_read_within_bounded_memory(path) -> None:
    """A 384 MB file: 3,000 samples by 16,000 columns. The blocks and 200 columns take far less than 60 MB."""
    n, d = 3_000, 16_000
    values = np.full((1, d), NAN)
    values[0, ::80] = 1
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("dataset", (n, d), np.float64)
        for top in range(0, n, 500):
            dataset[top : top + 500] = np.arange(top, top + 500)[:, None] + np.arange(d) / d
        file["metadata/key"], file["metadata/description"] = np.array([b"ROI"]), np.array([b"x"])
        file["metadata/value"] = values
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import numpy as np
        from hpc_recon.formats.bdata import BData

        def memory(field):
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))

        before = memory("VmRSS")
        found = BData(Path(sys.argv[1])).read("ROI", dtype=np.float64)
        d, n = 16_000, 3_000
        assert np.array_equal(found, np.arange(n)[:, None] + np.arange(0, d, 80) / d)
        print(memory("VmHWM") - before)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(ran.stdout) < 60e6
