"""Maps of decoders: counted from the decoders themselves, and at the places of the voxels in every format."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.exchange import export_maps, exporting
from hpc_recon.exchange.exporting import Selection
from hpc_recon.stores import arrays, layout, positions

AFFINE = np.array([[0.0, 2, 0, -10], [-2, 0, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])
LEFT, RIGHT = "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"
IJK = np.random.default_rng(0).permutation(np.argwhere(np.ones((4, 5, 6))))[:40]


def dense(study, roi: str, layer: str, mask: np.ndarray) -> np.ndarray:
    """Oracle: all weights of a layer, (n_units, n_voxels of the subject), unit by unit."""
    name = study.decoded_name("net")
    voxel, weight = (
        arrays.read(study.workspace, layout.decoder("S1", roi, name, layer, part)) for part in ("voxel", "weight")
    )
    numbers = np.flatnonzero(mask)
    whole = np.zeros((len(voxel), len(mask)))
    for unit in range(len(voxel)):
        for v, w in zip(voxel[unit], weight[unit], strict=True):
            if v != np.iinfo(voxel.dtype).max:
                whole[unit, numbers[v]] = w
    return whole


def write(study, folder: Path, **options) -> list[str]:
    batches = list(export_maps.maps(study, Selection(layers=("conv",)), **options))
    planned = exporting.plan(folder, batches, overwrite=False, workspace=study.workspace)
    exporting.run(planned)
    return sorted(planned.files)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch):
    def put(found: positions.Positions | None) -> None:
        monkeypatch.setattr(export_maps, "read_positions", lambda workspace, split: found)

    return put


@pytest.mark.parametrize("units", [None, {"every": 3}])
def test_maps_on_the_grid_of_the_voxels(decodable, run_verb, place, tmp_path: Path, monkeypatch, units) -> None:
    study, data = decodable(rois=["V1", "VC"], units=units)
    run_verb(fit, study)
    place(positions.of_grid(IJK, (4, 5, 6), AFFINE))
    monkeypatch.setattr(layout, "units_per_shard", lambda n, *, width: 16)
    files = write(study, tmp_path / "to", units=(99, 6))
    kinds = ("selected", "unit-6", "unit-99", "weight")
    assert files == [f"S1/{roi}/conv_{kind}.nii.gz" for roi in ("V1", "VC") for kind in kinds]
    row = {None: {6: 6, 99: 99}, 3: {6: 2, 99: 33}}[units and units["every"]]
    for roi in study.rois:
        mask = data.mask if roi == "V1" else np.ones(40, dtype=bool)
        whole = dense(study, roi, "conv", mask)
        expected = {"selected": (whole != 0).mean(axis=0), "weight": np.abs(whole).mean(axis=0)}
        expected |= {f"unit-{unit}": whole[row[unit]] for unit in (6, 99)}
        for kind, values in expected.items():
            image = nib.load(tmp_path / "to" / "S1" / roi / f"conv_{kind}.nii.gz")
            np.testing.assert_allclose(image.affine, AFFINE)
            found = np.asarray(image.dataobj)
            np.testing.assert_allclose(found[tuple(IJK.T)], values, rtol=1e-6)
            assert np.count_nonzero(found) == np.count_nonzero(values)
        varied = (whole != 0).any(axis=1).mean()  # a unit that never changes has no weights
        assert np.isclose(expected["selected"].sum(), 12 * varied)  # each decoder reads 12 voxels


def surface(n_left: int, n_volume: int = 0) -> positions.Positions:
    """40 places: vertices of both hemispheres in turn, then voxels."""
    n = 40 - n_volume
    structure = np.where(np.arange(n) < n_left, 0, 1)
    ijk = np.concatenate([np.full((n, 3), -1), IJK[:n_volume]])
    return positions.Positions(
        ijk.astype(np.int32),
        np.concatenate([3 * np.arange(n), np.full(n_volume, -1)]).astype(np.int32),
        np.concatenate([structure, np.full(n_volume, 2)]).astype(np.int32),
        (RIGHT, LEFT, "CIFTI_STRUCTURE_THALAMUS_LEFT"),
        (4, 5, 6) if n_volume else None,
        AFFINE if n_volume else None,
        {RIGHT: 130, LEFT: 140},
    )


def test_maps_of_both_hemispheres(tmp_path: Path) -> None:
    values = np.arange(1, 41, dtype=np.float32)
    paths = export_maps.write_map(tmp_path / "m", values, surface(15))
    assert [path.name for path in paths] == ["m_hemi-R.func.gii", "m_hemi-L.func.gii"]
    right, left = (nib.load(path).darrays[0].data for path in paths)
    assert (right.shape, left.shape) == ((130,), (140,))
    np.testing.assert_array_equal(right[3 * np.arange(15)], values[:15])
    np.testing.assert_array_equal(left[3 * np.arange(15, 40)], values[15:])
    assert np.count_nonzero(right) + np.count_nonzero(left) == 40


def test_maps_of_vertices_and_voxels(tmp_path: Path) -> None:
    values = np.arange(1, 41, dtype=np.float32)
    order = np.random.default_rng(1).permutation(40)  # samples need not come structure by structure
    found = surface(15, 10)
    mixed = positions.Positions(
        found.ijk[order], found.vertex[order], found.structure[order], found.structures, found.grid_shape,
        found.affine, found.surface_sizes,
    )  # fmt: skip
    (path,) = export_maps.write_map(tmp_path / "m", values[order], mixed)
    assert path.name == "m.dscalar.nii"
    image = nib.load(path)
    axis = image.header.get_axis(1)
    columns = zip(axis.name, axis.vertex, axis.voxel.tolist(), image.dataobj[0], strict=True)
    shown = {(s, int(v), *x): y for s, v, x, y in columns}
    expected = {
        (found.structures[s], int(v), *x): y
        for s, v, x, y in zip(found.structure, found.vertex, found.ijk.tolist(), values, strict=True)
    }
    assert shown == expected


def test_what_cannot_be_mapped(decodable, run_verb, place) -> None:
    study, _ = decodable()
    place(None)
    with pytest.raises(MissingStore, match="nothing says where the voxels of S1 lie"):
        list(export_maps.maps(study, Selection()))
    run_verb(fit, study)
    place(positions.of_grid(IJK, (4, 5, 6), AFFINE))
    with pytest.raises(StudyError, match=r"30: net/fc has the units 0 to 29"):
        list(export_maps.maps(study, Selection(), units=(30,)))
    some, _ = decodable(units=5, workspace=str(study.workspace))
    with pytest.raises(StudyError, match=r"net/fc has 5 units decoded"):
        export_maps._rows(some, "net", "fc", 30, range(30))
    none, _ = decodable(fit={"n_voxels": 12, "decode": True})
    with pytest.raises(StudyError, match="no weights to map"):
        list(export_maps.maps(none, Selection()))
