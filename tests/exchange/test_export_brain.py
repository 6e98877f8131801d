"""Samples in BData files: every value, label, ROI and place of a voxel, and ingested again as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpc_recon import ingest
from hpc_recon.exchange import export_brain, exporting
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats.bdata import BData
from hpc_recon.stores import brain, images, positions

AFFINE = np.array([[0.0, 2, 0, -10], [-2, 0, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])


def write(study, folder: Path, selection: Selection = Selection()) -> int:  # noqa: B008 - frozen
    batches = list(export_brain.samples(study, selection))
    planned = exporting.plan(folder, batches, overwrite=False, workspace=study.workspace)
    assert sum(batch.files[name] for batch in batches for name in batch.files) == sum(planned.files.values())
    return exporting.run(planned)


@pytest.fixture
def placed(decodable):
    """A study whose voxels lie in a grid, in no order."""
    study, data = decodable(rois=["VC", "V1"])
    ijk = np.random.default_rng(0).permutation(np.argwhere(np.ones((4, 5, 6))))[:40]
    files = positions.write_positions(
        study.workspace, "S1", positions.of_grid(ijk, (4, 5, 6), AFFINE), made_by="simulate/S1"
    )
    data.receipt(("simulate", "S1_places"), files)
    # the receipt of the split lists its files; the fake's has none of the places, so add them there
    from hpc_recon.core import receipts
    from hpc_recon.core.tiles import Group, Tile

    tile = Tile(Group("simulate", ("S1",)), "fake", 0, 1)
    known = receipts.read(study.workspace, tile)
    receipts.write(study.workspace, tile, [*(study.workspace / name for name in known.files), *files], {})
    return study, data, ijk


def test_every_sample_label_column_mask_and_place(placed, tmp_path: Path) -> None:
    study, data, ijk = placed
    assert write(study, tmp_path / "to") == 3
    for dataset in study.datasets:
        table = BData(tmp_path / "to" / f"S1_{dataset}.h5")
        samples, rows = data.brain["S1", dataset]
        np.testing.assert_array_equal(table.read("VoxelData"), samples)
        assert table.label("stimulus_name") == tuple(data.labels[row] for row in rows)
        np.testing.assert_array_equal(table.read("ROI_V1"), samples[:, data.mask])
        assert table.columns("ROI_VC").tolist() == list(range(40))
        for axis, (index, mm) in enumerate(zip("ijk", "xyz", strict=True)):
            np.testing.assert_array_equal(table.value(f"voxel_{index}")[:40], ijk[:, axis])
            centres = np.column_stack([ijk, np.ones(40)]) @ AFFINE.T
            np.testing.assert_allclose(table.value(f"voxel_{mm}")[:40], centres[:, axis])
            assert np.isnan(table.value(f"voxel_{mm}")[40:]).all()
        assert ("Session" in table.keys) == (dataset == "training")
    np.testing.assert_array_equal(BData(tmp_path / "to" / "S1_training.h5").numbers("Session"), data.session["S1"])


def test_ingest_reads_them_again_equal(placed, tmp_path: Path, make_study, run_verb) -> None:
    study, _, _ = placed
    write(study, tmp_path / "to")
    table = images.read_table(study.workspace)
    for label, dataset, picture in zip(table.labels, table.dataset, images.read_images(study.workspace), strict=True):
        (tmp_path / "pictures" / dataset).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "pictures" / dataset / f"{label}.png")
    datasets = {
        name: {
            "bdata": {"files": f"to/S1_{name}.h5", "labels": {"key": "stimulus_name"}, "columns": columns},
            "repeats": "keep",
        }
        for name, columns in (("training", {"session": "Session"}), ("natural", {}), ("shapes", {}))
    }
    again = make_study(
        simulate=None,
        workspace=str(tmp_path / "again"),
        rois=["V1"],
        datasets={name: {"role": d.role} for name, d in study.datasets.items()},
        ingest={
            "subjects": {"S1": {"datasets": datasets, "rois": {"V1": {"select": "ROI_V1"}}}},
            "stimuli": {name: {"folder": f"pictures/{name}"} for name in study.datasets},
        },
    )
    run_verb(ingest, again)
    for dataset in study.datasets:
        old, new = (brain.read_brain(s.workspace, "S1", dataset) for s in (study, again))
        np.testing.assert_array_equal(new.samples, old.samples)
        assert new.labels == old.labels
        assert new.columns.get("session") == old.columns.get("session")
    np.testing.assert_array_equal(*(brain.read_roi(s.workspace, "S1", "V1") for s in (study, again)))


def test_vertices_have_their_index_and_side(decodable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = decodable()
    names = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
    side = np.arange(40) % 2
    found = positions.Positions(
        np.full((40, 3), -1, np.int32), np.arange(40, dtype=np.int32), side.astype(np.int32), names, None, None,
        dict.fromkeys(names, 50),
    )  # fmt: skip
    monkeypatch.setattr(positions, "read_positions", lambda workspace, split: found)
    assert write(study, tmp_path / "to", Selection(datasets=("natural",))) == 1
    table = BData(tmp_path / "to" / "S1_natural.h5")
    np.testing.assert_array_equal(table.value("vertex_index")[:40], np.arange(40))
    np.testing.assert_array_equal(table.columns("VertexRight"), np.flatnonzero(side))
    assert "voxel_x" not in table.keys
