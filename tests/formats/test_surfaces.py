"""GIFTI and CIFTI, written by nibabel and read here, and the other way."""

from __future__ import annotations

import base64
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel import cifti2

from hpc_recon.core.errors import DataError
from hpc_recon.formats import surfaces

N_TIMES = 7


def save_gifti(path: Path, arrays: list[np.ndarray], labels: dict[int, str] | None = None) -> Path:
    table = None
    if labels is not None:
        table = nib.gifti.GiftiLabelTable()
        for number, name in labels.items():
            label = nib.gifti.GiftiLabel(number)
            label.label = name
            table.labels.append(label)
    darrays = [nib.gifti.GiftiDataArray(array) for array in arrays]
    nib.save(nib.GiftiImage(darrays=darrays, labeltable=table), path)
    return path


def axis(n_left: int = 40, n_right: int = 30) -> cifti2.BrainModelAxis:
    left = cifti2.BrainModelAxis.from_surface(np.arange(0, 2 * n_left, 2), 100, name="CortexLeft")
    right = cifti2.BrainModelAxis.from_surface(np.arange(n_right), 100, name="CortexRight")
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1] = True
    voxels = cifti2.BrainModelAxis.from_mask(mask, affine=np.eye(4), name="thalamus_left")
    return left + right + voxels


def save_cifti(
    path: Path, values: np.ndarray, first: cifti2.Axis, columns: cifti2.BrainModelAxis | None = None
) -> Path:
    nib.save(nib.Cifti2Image(values, (first, axis() if columns is None else columns)), path)
    return path


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_TIMES, 73)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, values: np.ndarray) -> Path:
    return save_cifti(tmp_path / "run.dtseries.nii", values, cifti2.SeriesAxis(0, 0.8, N_TIMES))


def test_hemispheres_are_side_by_side_in_either_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    left, right = (rng.standard_normal((N_TIMES, n)).astype(np.float32) for n in (50, 60))
    one = save_gifti(tmp_path / "L.func.gii", list(left))
    other = save_gifti(tmp_path / "R.func.gii", [np.ascontiguousarray(right.T)])
    np.testing.assert_array_equal(surfaces.read_hemispheres(one, other), np.hstack([left, right]))
    with pytest.raises(DataError, match=r"L\.func\.gii has 7 volumes, .*R\.func\.gii has 6"):
        surfaces.read_hemispheres(one, save_gifti(tmp_path / "R.func.gii", list(right[:6])))


def test_gifti_labels_have_names(tmp_path: Path) -> None:
    labels = np.array([0, 3, 3, 9], dtype=np.int32)
    path = save_gifti(tmp_path / "a.label.gii", [labels], {0: "???", 3: "V1", 9: "V2"})
    found, names = surfaces.read_gifti_labels(path)
    assert found.tolist() == labels.tolist()
    assert names == {0: "???", 3: "V1", 9: "V2"}
    with pytest.raises(DataError, match=r"1 labels have no name .*\[9\]"):
        surfaces.read_gifti_labels(save_gifti(tmp_path / "a.label.gii", [labels], {3: "V1"}))


def test_data_in_another_file_and_entities_are_refused(tmp_path: Path) -> None:
    secret = np.arange(20, dtype=np.float32)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    path = save_gifti(tmp_path / "a.func.gii", [secret])
    text = path.read_text()
    outside = text.replace('Encoding="GZipBase64Binary"', 'Encoding="ExternalFileBinary"').replace(
        'ExternalFileName=""', 'ExternalFileName="secret.bin"'
    )
    assert "secret.bin" in outside
    assert "ExternalFileBinary" in outside
    path.write_text(outside)
    with pytest.raises(DataError, match="ExternalFileBinary is not supported"):
        surfaces.read_gifti(path)
    path.write_text(text.replace("<!DOCTYPE GIFTI", '<!DOCTYPE GIFTI [<!ENTITY a "b">]><!-- '))
    for read in (surfaces.read_gifti, surfaces.gifti_shape):
        with pytest.raises(DataError, match="declares XML entities"):
            read(path)


def test_the_shape_of_a_run_is_known_from_its_first_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((7, 50), np.float32)
    many = save_gifti(tmp_path / "many.func.gii", list(values))
    one = save_gifti(tmp_path / "one.func.gii", [np.ascontiguousarray(values.T)])
    assert surfaces.gifti_shape(many) == surfaces.gifti_shape(one) == (7, 50)
    many.write_bytes(many.read_bytes()[: many.stat().st_size // 2])  # what follows is not looked at
    monkeypatch.setattr(surfaces, "_HEAD_BYTES", 100)
    assert surfaces.gifti_shape(many) == (7, 50)
    with pytest.raises(DataError, match=r"mesh\.gii: 1 arrays, the first of shape \[2, 2, 2\]"):
        surfaces.gifti_shape(save_gifti(tmp_path / "mesh.gii", [np.zeros((2, 2, 2), np.float32)]))
    (tmp_path / "a.func.gii").write_text("not XML")
    with pytest.raises(DataError, match=r"a\.func\.gii: not a readable GIFTI file"):
        surfaces.gifti_shape(tmp_path / "a.func.gii")


@pytest.mark.parametrize("n_maps", [None, 2])
def test_gifti_maps_are_what_nibabel_reads(tmp_path: Path, n_maps: int | None) -> None:
    values = np.random.default_rng(2).standard_normal((12,) if n_maps is None else (n_maps, 12))
    surfaces.write_gifti(tmp_path / "m.func.gii", values)
    found = np.stack([array.data for array in nib.load(tmp_path / "m.func.gii").darrays])
    np.testing.assert_allclose(found, np.atleast_2d(values), rtol=1e-6)
    with pytest.raises(DataError, match="maps must be"):
        surfaces.write_gifti(tmp_path / "m.func.gii", np.ones((2, 2, 2)))


def test_cifti_is_read_whole_and_by_columns(run: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "_BLOCK_COLUMNS", 16)
    series = surfaces.open_cifti(run)
    assert (series.n_volumes, series.tr_s, series.grayordinates.n_columns) == (N_TIMES, 0.8, 73)
    np.testing.assert_array_equal(series.read(), values)
    chosen = np.zeros(73, bool)
    chosen[[0, 15, 16, 70]] = True
    np.testing.assert_array_equal(series.read(chosen), values[:, chosen])
    with pytest.raises(DataError, match="73 grayordinates; columns must be"):
        series.read(chosen[:5])


def test_columns_are_vertices_then_voxels(run: Path) -> None:
    found = surfaces.open_cifti(run).grayordinates
    names = found.structures()
    assert (names[0], names[40], names[70]) == (
        "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT", "CIFTI_STRUCTURE_THALAMUS_LEFT",
    )  # fmt: skip
    assert found.vertices()[:3].tolist() == [0, 2, 4]
    assert found.vertices()[70:].tolist() == [-1, -1, -1]
    assert found.ijk()[70:].tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 2]]


def test_a_series_that_is_not_of_time_has_no_tr(tmp_path: Path, values: np.ndarray) -> None:
    path = save_cifti(tmp_path / "f.dtseries.nii", values, cifti2.SeriesAxis(0, 0.8, N_TIMES, unit="HERTZ"))
    assert surfaces.open_cifti(path).tr_s == 0


def save_labels(path: Path, columns: cifti2.BrainModelAxis | None = None) -> Path:
    table = {0: ("???", (0, 0, 0, 0)), 1: ("L_V1_ROI", (1, 0, 0, 1)), 2: ("R_V1_ROI", (0, 1, 0, 1))}
    size = 73 if columns is None else len(columns)
    labels = np.zeros((1, size), np.int32)
    labels[0, :5], labels[0, 40:50] = 1, 2
    return save_cifti(path, labels, cifti2.LabelAxis(["parcels"], [table]), columns)


def test_labels_of_grayordinates(tmp_path: Path, run: Path) -> None:
    labels, names, own = surfaces.read_dense_labels(save_labels(tmp_path / "p.dlabel.nii"))
    own.require_same(surfaces.open_cifti(run).grayordinates)
    assert [names[1], names[2]] == ["L_V1_ROI", "R_V1_ROI"]
    assert np.flatnonzero(labels == 2).tolist() == list(range(40, 50))


def test_labels_of_other_grayordinates_name_both_files(tmp_path: Path, run: Path) -> None:
    grayordinates = surfaces.open_cifti(run).grayordinates
    with pytest.raises(DataError, match=r"p\.dlabel\.nii has 63 grayordinates, .*run\.dtseries\.nii has 73"):
        surfaces.read_dense_labels(save_labels(tmp_path / "p.dlabel.nii", axis(30)))[2].require_same(grayordinates)
    with pytest.raises(DataError, match=r"73 grayordinates each, but of other structures"):
        surfaces.read_dense_labels(save_labels(tmp_path / "p.dlabel.nii", axis(30, 40)))[2].require_same(grayordinates)
    with pytest.raises(DataError, match="one map of labels"):
        surfaces.read_dense_labels(run)
    with pytest.raises(DataError, match="no series"):
        surfaces.open_cifti(save_labels(tmp_path / "p.dlabel.nii"))


def test_cifti_maps_are_what_nibabel_reads(tmp_path: Path, run: Path, values: np.ndarray) -> None:
    grayordinates = surfaces.open_cifti(run).grayordinates
    path = tmp_path / "m.dscalar.nii"
    surfaces.write_cifti(path, values[:2].astype(np.float64), grayordinates, ["weight", "frequency"])
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), values[:2])
    assert image.header.get_axis(0).name.tolist() == ["weight", "frequency"]
    assert image.header.get_axis(1) == axis()
    with pytest.raises(DataError, match=r"need values of that shape, not \(3, 73\)"):
        surfaces.write_cifti(path, values[:3], grayordinates, ["a", "b"])
    with pytest.raises(DataError, match=r"\.dscalar\.nii"):
        surfaces.write_cifti(tmp_path / "m.nii", values[:1], grayordinates, ["a"])


def test_damaged_files_are_named(tmp_path: Path, run: Path) -> None:
    content = run.read_bytes()
    plain = nib.Nifti2Image(np.zeros((2, 2, 2)), np.eye(4)).to_bytes()
    for name, damaged in {
        "cut.nii": content[:-40], "head.nii": content[:700], "empty.nii": b"", "plain.nii": plain,
        "junk.nii": b"x" * 900,
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            surfaces.open_cifti(tmp_path / name)
    gifti = save_gifti(tmp_path / "a.func.gii", [np.ones(500, np.float32)]).read_bytes()
    data = gifti.index(b"<Data>") + len(b"<Data>")
    other = base64.b64encode(b"no deflate stream")
    for name, damaged in {
        "cut.gii": gifti[:-60], "empty.gii": b"", "junk.gii": b"x" * 900, "no.gii": b"<GIFTI/>",
        "code.gii": gifti.replace(b"UTF-8", b"UTF-S"),
        "data.gii": gifti[:data] + other + gifti[gifti.index(b"</Data>") :],
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            surfaces.read_gifti(tmp_path / name)
    with pytest.raises(DataError, match=r"one \.nii file"):
        surfaces.open_cifti(tmp_path / "run.dtseries.nii.gz")


@pytest.mark.parametrize("name", ["run.dtseries.nii", "a.func.gii"])
def test_mutated_files_give_values_or_a_clear_error(tmp_path: Path, run: Path, name: str) -> None:
    path = run if name == run.name else save_gifti(tmp_path / name, [np.ones(500, np.float32)] * 2)
    content, rng, messages = path.read_bytes(), np.random.default_rng(6), []
    for _ in range(150):
        mutated = bytearray(content)
        for at in rng.integers(0, len(content), 4):
            mutated[at] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            found = surfaces.read_gifti(path) if name.endswith(".gii") else surfaces.open_cifti(path).read()
        except DataError as error:
            messages.append(str(error))
        else:
            assert found.ndim == 2
    assert messages
    assert all(name in message for message in messages)


def test_the_shape_of_a_run_is_known_from_its_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal((N_TIMES, 5000)).astype(np.float32)
    one = save_gifti(tmp_path / "a.func.gii", list(values))
    other = save_gifti(tmp_path / "b.func.gii", [np.ascontiguousarray(values.T)])
    assert surfaces.gifti_shape(one) == surfaces.gifti_shape(other) == (N_TIMES, 5000)
    one.write_bytes(one.read_bytes()[:3000])  # within the values of the first array
    assert surfaces.gifti_shape(one) == (N_TIMES, 5000)
    one.write_bytes(one.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.func\.gii: .* arrays, the first of shape \[\]"):
        surfaces.gifti_shape(one)
    one.write_text("<GIFTI NumberOfDataArrays='1'><DataArray Dimensionality='1'>")
    with pytest.raises(DataError, match=r"a\.func\.gii: not a readable GIFTI file"):
        surfaces.gifti_shape(one)
    one.write_text("no XML")
    with pytest.raises(DataError, match=r"a\.func\.gii: not a readable GIFTI file"):
        surfaces.gifti_shape(one)


def test_dense_labels_say_what_their_columns_are(tmp_path: Path) -> None:
    labels, names, columns = surfaces.read_dense_labels(save_labels(tmp_path / "a.dlabel.nii"))
    assert np.bincount(labels).tolist() == [58, 5, 10]
    assert names == {0: "???", 1: "L_V1_ROI", 2: "R_V1_ROI"}
    assert columns.surface_sizes() == {"CIFTI_STRUCTURE_CORTEX_LEFT": 100, "CIFTI_STRUCTURE_CORTEX_RIGHT": 100}
    grid = columns.grid()
    assert grid is not None
    assert grid.shape == (3, 3, 3)
    surface = surfaces.read_dense_labels(save_labels(tmp_path / "b.dlabel.nii", axis()[:70]))[2]
    assert surface.grid() is None
