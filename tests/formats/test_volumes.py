"""NIfTI read and written: against nibabel's own whole-array reading, headers parsed by hand, and damaged files."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats.volumes import (
    Grid,
    Mask,
    open_series,
    read_atlas,
    read_grid,
    read_label_table,
    read_mask,
    write_map,
)

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2.5, -72], [0, 0, 0, 1]])
SHAPE = (5, 6, 4)


@pytest.fixture
def mask() -> Mask:
    return Mask("mask.nii", Grid(SHAPE, AFFINE), np.random.default_rng(0).random(SHAPE) < 0.4)


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, **header: float) -> Path:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    if "tr" in header:
        image.header.set_zooms((2, 2, 2.5, header["tr"]))
    nib.save(image, path)
    return path


def bold(n_volumes: int = 21) -> np.ndarray:
    return np.random.default_rng(1).normal(800, 50, (*SHAPE, n_volumes)).astype(np.float32)


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_run_is_read_in_blocks_in_mask_order(tmp_path: Path, mask: Mask, name: str, kind: type) -> None:
    values = bold()
    nib.save(kind(values, AFFINE), tmp_path / name)
    series = open_series(tmp_path / name, mask)
    blocks = list(series.blocks(8))
    assert [len(block) for block in blocks] == [8, 8, 5]
    expected = np.array([[values[i, j, k, t] for i, j, k in mask.ijk()] for t in range(21)])
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    np.testing.assert_array_equal(series.read(), expected)
    assert series.read().dtype == np.float32


def test_int16_with_slope_and_intercept_is_scaled(tmp_path: Path, mask: Mask) -> None:
    """The header is written by hand: slope at byte 112, intercept at byte 116 of NIfTI-1."""
    raw = np.random.default_rng(2).integers(-30000, 30000, (*SHAPE, 3), dtype=np.int16)
    path = save(tmp_path / "run.nii", raw)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 0.25, -10.0)
    path.write_bytes(content)
    found = open_series(path, mask).read()
    np.testing.assert_array_equal(found, (raw[mask.inside].T * 0.25 - 10.0).astype(np.float32))


@pytest.mark.parametrize(("unit", "tr", "expected"), [("sec", 2.0, 2.0), ("msec", 800.0, 0.8), ("unknown", 2.0, 0.0)])
def test_the_tr_is_in_seconds_or_missing(tmp_path: Path, mask: Mask, unit: str, tr: float, expected: float) -> None:
    image = nib.Nifti1Image(bold(2), AFFINE)
    image.header.set_zooms((2, 2, 2.5, tr))
    image.header.set_xyzt_units("mm", unit)
    nib.save(image, tmp_path / "run.nii")
    assert open_series(tmp_path / "run.nii", mask).tr_s == pytest.approx(expected, rel=1e-6)


def test_memory_is_a_block_not_the_run(tmp_path: Path) -> None:
    shape = (40, 40, 40)
    inside = np.zeros(shape, bool)
    inside[:5] = True
    nib.save(nib.Nifti1Image(np.zeros((*shape, 60), np.float32), AFFINE), tmp_path / "run.nii.gz")
    series = open_series(tmp_path / "run.nii.gz", Mask("mask", Grid(shape, AFFINE), inside))
    tracemalloc.start()
    for _ in series.blocks(8):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # the file has 15.4 MB; a volume 0.26 MB, a block 0.26 MB


def test_coordinates_are_the_affine_of_the_indices(mask: Mask) -> None:
    for (i, j, k), (x, y, z) in zip(mask.ijk(), mask.coordinates_mm(), strict=True):
        assert (x, y, z) == (90 - 2 * i, -126 + 2 * j, -72 + 2.5 * k)


def test_masks_on_other_grids_name_both_files(tmp_path: Path, mask: Mask) -> None:
    path = save(tmp_path / "run.nii", bold(2)[:4])
    with pytest.raises(
        DataError, match=r"run\.nii and mask\.nii are not on one grid: shape \(4, 6, 4\) and \(5, 6, 4\)"
    ):
        open_series(path, mask)
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    with pytest.raises(DataError, match=r"affine .* \(0\.5 mm apart\)"):
        open_series(save(tmp_path / "run.nii", bold(2), moved), mask)
    moved[0, 3] = AFFINE[0, 3] + 0.001
    open_series(save(tmp_path / "run.nii", bold(2), moved), mask)


def test_a_roi_is_columns_of_the_mask(mask: Mask) -> None:
    inside = np.zeros(SHAPE, bool)
    inside[2] = True
    columns = mask.columns_of(Mask("roi", mask.grid, inside))
    assert columns.tolist() == [i == 2 for i, _, _ in mask.ijk().tolist()]


def test_a_mask_has_one_value_or_a_threshold(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[1, 2, 3] = 1
    assert read_mask(save(tmp_path / "m.nii.gz", values)).ijk().tolist() == [[1, 2, 3]]
    values[0, 0, 0] = 0.4
    with pytest.raises(DataError, match=r"one value besides 0, this file has 2"):
        read_mask(save(tmp_path / "m.nii.gz", values))
    assert read_mask(tmp_path / "m.nii.gz", above=0.5).n_voxels == 1
    assert read_mask(tmp_path / "m.nii.gz", above=0.1).n_voxels == 2
    with pytest.raises(DataError, match="no voxel is inside"):
        read_mask(tmp_path / "m.nii.gz", above=1)
    values[0, 0, 1] = np.nan
    with pytest.raises(DataError, match="1 voxels are NaN"):
        read_mask(save(tmp_path / "m.nii.gz", values))
    with pytest.raises(DataError, match="one volume"):
        read_mask(save(tmp_path / "m.nii.gz", bold(2)))


def test_an_atlas_is_named_masks(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.int16)
    labels[0], labels[1], labels[2, 0, 0] = 1, 7, -1
    table = tmp_path / "t.tsv"
    table.write_text("index\tname\tcolour\n1\tV1\tred\n7\tLOC\tblue\n9\tFFA\tgreen\n")
    atlas = read_atlas(save(tmp_path / "a.nii.gz", labels), read_label_table(table))
    assert atlas.mask("LOC").ijk()[:, 0].tolist() == [1] * 24
    with pytest.raises(DataError, match=r"label 'FFA' \(number 9\) has no voxel"):
        atlas.mask("FFA")
    with pytest.raises(DataError, match=r"no label 'V9'. Known: V1, LOC, FFA"):
        atlas.mask("V9")
    with pytest.raises(DataError, match=r"1 labels have no name in the table: \[7\]"):
        read_atlas(tmp_path / "a.nii.gz", {1: "V1"})
    assert read_atlas(tmp_path / "a.nii.gz").mask("7").n_voxels == 24
    with pytest.raises(DataError, match="whole numbers"):
        read_atlas(save(tmp_path / "a.nii.gz", bold(1)))


def test_label_tables_of_number_and_name(tmp_path: Path) -> None:
    table = tmp_path / "roi.ctab"
    table.write_text("0 Unknown\n1 V1v\n\n2, left V1d\n")
    assert read_label_table(table) == {0: "Unknown", 1: "V1v", 2: "left V1d"}
    for bad in ("1 a\n1 b\n", "x a\n", "1\n", "1.5 a\n"):
        table.write_text(bad)
        with pytest.raises(DataError, match="line "):
            read_label_table(table)
    table.write_bytes(b"1 \xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_label_table(table)
    table.write_text("\n")
    with pytest.raises(DataError, match="no label"):
        read_label_table(table)


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
@pytest.mark.parametrize("n_maps", [None, 3])
def test_maps_are_what_nibabel_reads(tmp_path: Path, mask: Mask, name: str, n_maps: int | None) -> None:
    shape = (mask.n_voxels,) if n_maps is None else (n_maps, mask.n_voxels)
    values = np.random.default_rng(3).standard_normal(shape)
    write_map(tmp_path / name, values, mask, outside=np.nan)
    image = nib.load(tmp_path / name)
    found = np.asarray(image.dataobj)
    np.testing.assert_allclose(image.affine, AFFINE)
    for voxel, (i, j, k) in enumerate(mask.ijk()):
        np.testing.assert_allclose(found[i, j, k], values[..., voxel], rtol=1e-6)
    assert np.isnan(found[~mask.inside]).all()
    first = (tmp_path / name).read_bytes()
    write_map(tmp_path / name, values, mask, outside=np.nan)
    assert (tmp_path / name).read_bytes() == first


def test_maps_of_another_size_or_name_are_refused(tmp_path: Path, mask: Mask) -> None:
    with pytest.raises(DataError, match=rf"mask\.nii has {mask.n_voxels} voxels, the map's values have shape \(3,\)"):
        write_map(tmp_path / "m.nii", np.ones(3), mask)
    with pytest.raises(DataError, match="written as"):
        write_map(tmp_path / "m.img", np.ones(mask.n_voxels), mask)
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_named(tmp_path: Path, mask: Mask) -> None:
    path = save(tmp_path / "run.nii", bold())
    content = path.read_bytes()
    packed = gzip.compress(content)
    bad = {
        "short.nii": content[:2000],
        "header.nii": content[:100],
        "empty.nii": b"",
        "pointer.nii.gz": b"version https://git-lfs.github.com/spec/v1\n",
        "not.nii": b"x" * 5000,
        "plain.nii.gz": content,
    }
    for name, damaged in bad.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            open_series(tmp_path / name, mask)
    (tmp_path / "cut.nii.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cut\.nii\.gz"):
        open_series(tmp_path / "cut.nii.gz", mask).read()
    with pytest.raises(FileNotFoundError):
        open_series(tmp_path / "absent.nii", mask)
    with pytest.raises(DataError, match=r"one file, \.nii or \.nii\.gz"):
        open_series(tmp_path / "run.img", mask)
    with pytest.raises(DataError, match="four axes"):
        open_series(save(tmp_path / "three.nii", bold()[..., 0]), mask)


def test_a_header_that_announces_more_than_the_file_is_refused_before_reading(tmp_path: Path, mask: Mask) -> None:
    path = save(tmp_path / "run.nii", bold())
    content = bytearray(path.read_bytes())
    content[40:56] = struct.pack("<8h", 4, *SHAPE, 32000, 1, 1, 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"announces \(5, 6, 4, 32000\)"):
        open_series(path, mask)


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
def test_mutated_files_give_values_or_a_clear_error(tmp_path: Path, mask: Mask, name: str) -> None:
    save(tmp_path / name, bold(3))
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(6)
    messages: list[str] = []
    for _ in range(300):
        mutated = bytearray(content)
        for at in rng.integers(0, 400 if name.endswith(".nii") else len(content), 3):
            mutated[at] = rng.integers(256)
        (tmp_path / name).write_bytes(mutated)
        try:
            found = open_series(tmp_path / name, mask).read()
        except DataError as error:
            messages.append(str(error))
        else:
            assert found.shape[1] == mask.n_voxels
    assert messages
    assert all(name in message for message in messages)


def test_values_beyond_float32_are_refused(tmp_path: Path, mask: Mask) -> None:
    path = save(tmp_path / "run.nii", np.full((*SHAPE, 2), 1e300))
    with pytest.raises(DataError, match=r"run\.nii: not a readable NIfTI file: overflow"):
        open_series(path, mask).read()


def test_the_grid_of_any_file(tmp_path: Path) -> None:
    affine = np.array([[0.0, -2, 0, 7], [2, 0, 0, -3], [0, 0, 2.5, 1], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.int16), affine), tmp_path / "run.nii.gz")
    found = read_grid(tmp_path / "run.nii.gz")
    assert found.shape == (3, 4, 5)
    np.testing.assert_allclose(found.affine, affine)
