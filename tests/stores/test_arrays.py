from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import ChangedStudy, DamagedStore, DataError, MissingStore
from hpc_recon.stores import arrays, checks
from hpc_recon.stores.layout import Geometry, Ref

REDO = "`python -m hpc_recon.extract --study <study file> --redo --only 'extract/vgg/conv1_1..conv1_2/'`"


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (None, None),
        (slice(3, 9), None),
        (None, slice(16, 23)),
        (np.array([0, 5, 9]), slice(2, 5)),
        (slice(4, 8), np.array([0, 15, 16, 22])),
        (np.array([1, 2]), np.array([7, 20])),
        (np.array([], dtype=int), None),
        (slice(5, 5), np.array([3])),
    ],
)
def test_read_returns_what_numpy_would(stored, rows, columns):
    whole = slice(None)
    wanted = stored.values[whole if rows is None else rows][:, whole if columns is None else columns]
    found = stored.read(rows, columns)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


@given(
    st.lists(st.integers(0, 9), unique=True).map(sorted),
    st.lists(st.integers(0, 22), unique=True).map(sorted),
    st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_numbers_return_what_numpy_would(stored, rows, columns, ranges):
    row_part = slice(min(rows, default=0), max(rows, default=0)) if ranges else np.array(rows, dtype=int)
    wanted = stored.values[row_part][:, np.array(columns, dtype=int)]
    np.testing.assert_array_equal(stored.read(row_part, np.array(columns, dtype=int)), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "uint16", "uint32", "int64", "bool"])
def test_each_dtype_comes_back_equal(tmp_path, finish, dtype):
    ref = Ref("decoders.zarr/x", "fit")
    values = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 200, (7, 2, 3)).astype(dtype)
    arrays.create(
        tmp_path, ref, shape=(7, 2, 3), dtype=dtype, geometry=Geometry((4, 2, 3), (2, 2, 3)), made_by="fit/S1"
    )
    finish(tmp_path, "fit/S1", arrays.write(tmp_path, ref, (0,), values))
    found = arrays.read(tmp_path, ref)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)
    assert arrays.describe(tmp_path, ref).dtype == np.dtype(dtype)


def test_plain_zarr_reads_the_hierarchy(stored):
    group = zarr.open_group(stored.workspace / "features.zarr", mode="r")
    np.testing.assert_array_equal(group["vgg/conv1_1"][:], stored.values)


def test_array_of_one_axis(tmp_path, finish):
    ref = Ref("decoded.zarr/gain", "decode")
    arrays.create(tmp_path, ref, shape=(5,), dtype="float32", geometry=Geometry((5,), (5,)), made_by="decode/S1")
    finish(tmp_path, "decode/S1", arrays.write(tmp_path, ref, (0,), np.arange(5.0)))  # float64 is cast
    np.testing.assert_array_equal(arrays.read(tmp_path, ref, np.array([1, 4])), [1, 4])
    with pytest.raises(ValueError, match="one axis and so no columns"):
        arrays.read(tmp_path, ref, None, slice(0, 1))


@pytest.mark.parametrize("rows", [[3, 1], [1, 1], [-1], [10], [[1]], [0.5]])
def test_numbers_must_be_sorted_distinct_and_in_range(stored, rows):
    with pytest.raises(ValueError, match=r"numbers of features\.zarr/vgg/conv1_1, axis 0 must be"):
        stored.read(np.array(rows))


def test_range_with_a_step_is_refused(stored):
    with pytest.raises(ValueError, match="must have no step"):
        stored.read(slice(0, 8, 2))


def test_missing_array_names_the_command(tmp_path):
    message = r"features\.zarr/vgg/x does not exist in .*; make it with `python -m hpc_recon\.extract --study"
    with pytest.raises(MissingStore, match=message):
        arrays.read(tmp_path, Ref("features.zarr/vgg/x", "extract"))
    with pytest.raises(
        MissingStore, match=r"hpc_recon\.ingest --study <study file>` or `python -m hpc_recon\.simulate"
    ):
        arrays.describe(tmp_path, Ref("stimuli.zarr/images", "ingest"))


def test_absent_shard_is_an_error_and_not_fill_values(stored):
    stored.files[2].unlink()
    stored.files[5].unlink()
    with pytest.raises(DamagedStore) as caught:
        stored.read()
    text = str(caught.value)
    assert "2 of 6 shards of features.zarr/vgg/conv1_1 are damaged" in text
    assert f"first: {stored.files[2]} is absent" in text
    assert REDO in text


@pytest.mark.parametrize(
    ("size", "reason"), [(0, "is empty, its receipt says 300 bytes"), (100, "has 100 bytes, its receipt says 300")]
)
def test_short_shard_is_an_error(stored, size, reason):
    path = stored.files[2]
    assert path.stat().st_size == 300  # 4 x 16 float32, two checksums, the index with its checksum
    with open(path, "r+b") as stream:
        stream.truncate(size)
    with pytest.raises(DamagedStore, match=reason):
        stored.read(slice(4, 8), slice(0, 3))
    np.testing.assert_array_equal(stored.read(slice(0, 4)), stored.values[:4])  # other shards are not asked


def test_long_shard_is_an_error(stored):
    with open(stored.files[0], "ab") as stream:
        stream.write(b"x")
    with pytest.raises(DamagedStore, match="has 301 bytes, its receipt says 300"):
        stored.read()


def test_an_exchanged_shard_is_found_when_most_of_it_is_read(stored):
    stored.files[2].write_bytes(stored.files[0].read_bytes())  # whole, with sound checksums of its own
    with pytest.raises(DamagedStore, match="is not the one that was written") as caught:
        stored.read(slice(4, 8), slice(0, 16))
    assert str(stored.files[2]) in str(caught.value)
    assert REDO in str(caught.value)
    np.testing.assert_array_equal(stored.read(slice(0, 4)), stored.values[:4])


def test_a_shard_is_read_once_a_process_for_its_checksum(stored, monkeypatch):
    read = []
    original = checks.checksum
    monkeypatch.setattr(checks, "checksum", lambda path: read.append(path) or original(path))
    stored.read()
    stored.read()
    assert sorted(read) == sorted(stored.files)
    stored.read(slice(4, 5), slice(0, 8))  # a small part: its chunk's checksum alone
    assert len(read) == 6


def test_every_flipped_byte_is_found(stored):
    path = stored.files[2]  # rows 4:8, columns 0:16
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ (1 << offset % 8)]) + whole[offset + 1 :])
        with pytest.raises(DamagedStore) as caught:
            stored.read()
        text = str(caught.value)
        assert f"the shard {path} fails its checksum" in text
        assert "features.zarr/vgg/conv1_1 [rows 4:8, columns 0:16]" in text
        assert REDO in text
    path.write_bytes(whole)
    np.testing.assert_array_equal(stored.read(), stored.values)


def test_read_that_fails_once_is_told_from_a_damaged_shard(stored, monkeypatch):
    class Stale:
        def __getitem__(self, selection):
            raise OSError("stale handle")

    opened = arrays._open
    calls = []

    def fail_first(workspace, ref):
        calls.append(ref)
        if len(calls) == 1:
            return Stale()
        return opened(workspace, ref)

    monkeypatch.setattr(arrays, "_open", fail_first)
    with pytest.raises(DamagedStore, match=r"failed \(stale handle\), but each of its shards can be read now"):
        stored.read()


def test_shards_without_receipt_are_missing(stored):
    for receipt in (stored.workspace / "receipts").rglob("stage-0000000[48]*.json"):
        receipt.unlink()
    with pytest.raises(MissingStore) as caught:
        stored.read()
    text = str(caught.value)
    assert "4 of 6 shards of features.zarr/vgg/conv1_1 have no receipt" in text
    assert f"first: {stored.files[2]}" in text
    assert "`python -m hpc_recon.extract --study <study file>`" in text
    np.testing.assert_array_equal(stored.read(slice(0, 4)), stored.values[:4])


def test_torn_shard_does_not_stop_its_rewrite(stored, finish):
    path = stored.files[2]
    with open(path, "r+b") as stream:
        stream.truncate(100)
    files = arrays.write(stored.workspace, stored.ref, (4, 0), stored.values[4:8])
    finish(stored.workspace, stored.made_by, files, start=4)
    assert files == stored.files[2:4]
    np.testing.assert_array_equal(stored.read(), stored.values)


def test_rewrite_gives_identical_bytes(stored):
    before = [path.read_bytes() for path in stored.files[:2]]
    arrays.write(stored.workspace, stored.ref, (0, 0), stored.values[:4])
    assert [path.read_bytes() for path in stored.files[:2]] == before


@pytest.mark.parametrize(
    ("start", "shape", "axis"),
    [((2, 0), (4, 23), 0), ((0, 0), (3, 23), 0), ((0, 0), (4, 20), 1), ((0, 16), (4, 8), 1), ((8, 0), (4, 23), 0)],
)
def test_unaligned_write_is_refused_and_touches_nothing(stored, start, shape, axis):
    before = {path: path.stat().st_mtime_ns for path in stored.files}
    with pytest.raises(DataError, match=rf"two writers of one shard would lose each other's values: axis {axis}"):
        arrays.write(stored.workspace, stored.ref, start, np.zeros(shape, np.float32))
    assert {path: path.stat().st_mtime_ns for path in stored.files} == before


def test_write_of_wrong_rank_is_refused(stored):
    with pytest.raises(DataError, match=r"has shape \(10, 23\); got values of shape \(23,\)"):
        arrays.write(stored.workspace, stored.ref, (0,), np.zeros(23, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused_with_place_and_count(stored, bad):
    values = stored.values[4:8].copy()
    values[1, 3] = values[2, 22] = bad
    with pytest.raises(DataError) as caught:
        arrays.write(stored.workspace, stored.ref, (4, 0), values)
    text = str(caught.value)
    assert "features.zarr/vgg/conv1_1 takes finite numbers, but 2 of 92 values in [rows 4:8, columns 0:23]" in text
    assert "first at [5, 3]" in text
    np.testing.assert_array_equal(stored.read(), stored.values)  # nothing was written


def test_overflow_of_float16_is_refused(tmp_path):
    ref = Ref("features.zarr/a/b", "extract")
    arrays.create(tmp_path, ref, shape=(1, 2), dtype="float16", geometry=Geometry((1, 2), (1, 2)), made_by="extract/a")
    with pytest.raises(DataError, match=r"1 of 2 values .* NaN or infinite as float16"):
        arrays.write(tmp_path, ref, (0, 0), np.array([[1.0, 1e6]], np.float32))


def test_nan_is_accepted_only_when_said_so(stored, finish):
    values = stored.values[:4].copy()
    values[0, 0] = np.nan
    files = arrays.write(stored.workspace, stored.ref, (0, 0), values, allow_nan=True)
    finish(stored.workspace, stored.made_by, files)
    assert np.isnan(stored.read(slice(0, 1))[0, 0])
    values[0, 1] = np.inf
    with pytest.raises(DataError, match="1 of 92"):
        arrays.write(stored.workspace, stored.ref, (0, 0), values, allow_nan=True)


def test_values_that_do_not_fit_the_dtype_are_refused(tmp_path):
    ref = Ref("decoders.zarr/voxel", "fit")
    arrays.create(tmp_path, ref, shape=(2,), dtype="uint16", geometry=Geometry((2,), (2,)), made_by="fit/S1")
    for values in (np.array([1, 70000]), np.array([-1, 1]), np.array([1.0, 2.0])):
        with pytest.raises(DataError, match=r"stores uint16, but the values are (int|float)64 and do not fit"):
            arrays.write(tmp_path, ref, (0,), values)


def test_all_fill_values_are_stored_and_not_skipped(tmp_path, finish):
    ref = Ref("decoders.zarr/voxel", "fit")
    arrays.create(tmp_path, ref, shape=(8, 3), dtype="uint16", geometry=Geometry((4, 3), (2, 3)), made_by="fit/S1")
    files = arrays.write(tmp_path, ref, (0, 0), np.full((8, 3), 65535, np.uint16))
    assert [path.stat().st_size for path in files] == [2 * (12 + 4) + 2 * 16 + 4] * 2
    finish(tmp_path, "fit/S1", files)
    assert (arrays.read(tmp_path, ref) == 65535).all()


def test_create_twice_keeps_the_data(stored):
    stored.create()
    np.testing.assert_array_equal(stored.read(), stored.values)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"dtype": "float16"}, "dtype is float32, now float16"),
        ({"shape": (10, 24)}, r"shape is \[10, 23\], now \[10, 24\]"),
        ({"attributes": {"unit_shape": [1, 23]}}, "attributes is"),
        ({"made_by": "extract/other"}, "made_by is"),
    ],
)
def test_create_with_other_properties_is_refused(stored, change, text):
    with pytest.raises(ChangedStudy, match=f"exists and differs .*{text}.*not overwritten"):
        stored.create(**change)
    np.testing.assert_array_equal(stored.read(), stored.values)


def test_an_array_of_which_no_tile_was_finished_is_made_anew(stored):
    shutil.rmtree(stored.workspace / "receipts")  # as a redo removes them, before it is killed
    stored.create(shape=(10, 24))
    assert arrays.describe(stored.workspace, stored.ref).shape == (10, 24)
    assert not any(path.exists() for path in stored.files), "shards of the old shape"


def test_impossible_shapes_are_refused(tmp_path):
    ref = Ref("features.zarr/x", "extract")
    for shape, shards, chunks in (((0, 3), (1, 3), (1, 3)), ((3, 3), (3,), (3,)), ((4, 4), (4, 4), (3, 4))):
        with pytest.raises(DataError, match=r"features\.zarr/x .*cannot have"):
            arrays.create(
                tmp_path, ref, shape=shape, dtype="float32", geometry=Geometry(shards, chunks), made_by="extract/x"
            )
    assert not list(tmp_path.iterdir())


def test_metadata_say_what_the_specification_says(stored):
    content = json.loads((stored.workspace / stored.ref.path / "zarr.json").read_text())
    assert content["fill_value"] == "NaN"
    (codec,) = content["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert [inner["name"] for inner in codec["configuration"]["codecs"]] == ["bytes", "crc32c"]
    assert [inner["name"] for inner in codec["configuration"]["index_codecs"]] == ["bytes", "crc32c"]
    assert content["attributes"]["hpc_recon"]["format"] == 1
    assert "consolidated_metadata" not in json.loads((stored.workspace / "features.zarr" / "zarr.json").read_text())
