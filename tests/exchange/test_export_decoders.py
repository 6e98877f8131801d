"""Decoders in the lab's files predict what ours do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from hpc_recon import decode, fit
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.exchange import export_decoders, exporting
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats import decoder_trees
from hpc_recon.stores import arrays, layout


def write(study, folder: Path, selection: Selection = Selection()) -> int:  # noqa: B008 - frozen
    batches = list(export_decoders.decoders(study, selection))
    return exporting.run(exporting.plan(folder, batches, overwrite=False, workspace=study.workspace))


def predict(model: Path, samples: np.ndarray) -> np.ndarray:
    """Predict as bdpy does: dense weights, z-scored by the files' own statistics, all in float64."""
    scaling = decoder_trees.read_scaling(model)
    z = (samples - scaling.x_mean) / scaling.x_norm
    found = []
    for rows in decoder_trees.read_rows(model):
        weights = np.zeros((len(rows.bias), samples.shape[1]))
        unit, slot = np.nonzero(rows.voxel != decoder_trees.UNUSED)
        weights[unit, rows.voxel[unit, slot]] = rows.weight[unit, slot]
        found.append(z @ weights.T + rows.bias)
    return np.concatenate(found, axis=1) * scaling.y_norm + scaling.y_mean


@pytest.mark.parametrize("units", [None, 11])
def test_exported_decoders_predict_the_decoded_features(decodable, run_verb, tmp_path: Path, units) -> None:
    study, data = decodable(rois=["V1", "VC"], units=units, data={"constant_voxels": 2})
    run_verb(fit, study)
    run_verb(decode, study)
    n_files = {None: 2 * ((4 + 2 * 4 + 1) + (4 + 2 + 1)), 11: 2 * 2 * (4 + 2 + 1)}[units]
    assert write(study, tmp_path / "to") == n_files
    for roi in study.rois:
        for layer in ("conv", "fc"):
            model = tmp_path / "to" / layer / "S1" / roi / "model"
            name = study.decoded_name("net")
            stored = arrays.read(study.workspace, layout.decoded("S1", roi, "natural", name, layer))
            found = predict(model, data.test("S1", roi, "natural"))
            np.testing.assert_allclose(found, stored, rtol=2e-5, atol=2e-5)  # float32 weights, another order of sums
            shape = (11,) if units else {"conv": (4, 5, 5), "fc": (30,)}[layer]
            assert decoder_trees.read_scaling(model).unit_shape == shape
            status = yaml.safe_load((model / "info.yaml").read_text())["_status"]
            assert status == {"computation_id": f"{layer}/S1/{roi}/model", "computation_status": "done"}


def test_only_what_is_chosen_and_there(decodable, run_verb, tmp_path: Path) -> None:
    study, _ = decodable()
    with pytest.raises(MissingStore, match=r"fit/S1/VC/net/fc is not finished.*hpc_recon\.fit"):
        list(export_decoders.decoders(study, Selection(layers=("fc",))))
    run_verb(fit, study)
    batches = list(export_decoders.decoders(study, Selection(layers=("fc",))))
    assert [name for batch in batches for name in batch.files] == [
        f"fc/S1/VC/model/{name}" for name in ("x_mean.mat", "x_norm.mat", "y_mean.mat", "y_norm.mat")
    ] + [f"fc/S1/VC/model/{name}" for name in ("W.mat", "b.mat", "info.yaml")]


def test_decoders_that_no_file_can_hold_are_refused(decodable) -> None:
    study, _ = decodable(fit={"n_voxels": 12, "decode": True})
    with pytest.raises(StudyError, match="stores predictions and no decoders"):
        list(export_decoders.decoders(study, Selection()))
    study, _ = decodable(decode={"files": {"net": {"folders": "lab"}}})
    with pytest.raises(StudyError, match="decoded elsewhere, so there are no decoders"):
        list(export_decoders.decoders(study, Selection()))
    study, _ = decodable(fit={"n_voxels": 12, "spatial_norm": "norm2"})
    with pytest.raises(StudyError, match=r"spatial_norm: norm2 changes each pattern"):
        list(export_decoders.decoders(study, Selection()))
