"""Decoded features of others: found by label under the names that labs use, and read as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core.errors import DataError
from hpc_recon.exchange import decoded_features
from hpc_recon.formats import feature_trees, matlab
from hpc_recon.stores import arrays, layout

SHAPES = {"conv": (4, 5, 5), "fc": (30,)}
LABELS = [*(f"natural{i:02d}" for i in range(6)), *(f"shapes{i:02d}" for i in range(3))]
VALUES = {
    layer: np.random.default_rng(0).normal(size=(9, int(np.prod(shape)))).astype("f4")
    for layer, shape in SHAPES.items()
}
FILES = {"net": {"folders": ["lab/natural", "lab/shapes"], "subjects": {"S1": "sub-01"}, "rois": {"V1": "ROI_V1"}}}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a folder with a tree a dataset: the lab's present names, and those of the archives of 2019."""
    for layer, shape in SHAPES.items():
        for label, row in zip(LABELS, VALUES[layer], strict=True):
            if label.startswith("natural"):
                root = tmp_path / "lab" / "natural"
                feature_trees.write_decoded(root, layer, "sub-01", "ROI_V1", label, row, shape)
            else:
                name = f"shapes-net-{layer}-sub-01-ROI_V1-{label}.mat"
                path = tmp_path / "lab" / "shapes" / layer / "sub-01" / "ROI_V1" / name
                matlab.write_v5(path, {"feat": row.reshape(shape if len(shape) > 1 else (1, *shape))})
    return tmp_path / "lab"


def make(decodable, **changes):
    return decodable(rois=["V1"], decode={"files": FILES, **changes.pop("decode", {})}, **changes)


@pytest.mark.parametrize("units", [None, 7])
def test_every_item_is_read_with_statistics_of_the_reference_stimuli(decodable, lab, run_verb, units) -> None:
    study, data = make(decodable, units=units, decode={"norm_correction": "l2_norm"})
    run_verb(fit, study)
    tiles = run_verb(decode, study)
    assert sum(tile.stage == "decode" for tile in tiles) == 2
    name = study.decoded_name("net")
    training = np.flatnonzero(data.dataset == "training")
    for layer in SHAPES:
        chosen = slice(None)
        if units:
            from hpc_recon.core.sampling import unit_sample

            chosen = unit_sample(study, "net", layer, VALUES[layer].shape[1])
        for dataset, rows in (("natural", slice(0, 6)), ("shapes", slice(6, 9))):
            features, gain = (
                arrays.read(study.workspace, layout.decoded("S1", "V1", dataset, name, layer, part))
                for part in ("features", "gain")
            )
            np.testing.assert_array_equal(features, VALUES[layer][rows][:, chosen])
            assert np.isfinite(gain).all()
            assert (gain > 0).all()
        stats = arrays.read(study.workspace, layout.decoder("S1", "V1", name, layer, "stats"))
        true = data.features[layer][training][:, chosen].astype(float)
        np.testing.assert_allclose(stats[:, 1], true.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(stats[:, 2], true.std(axis=0, ddof=1), rtol=1e-5, atol=1e-12)
        assert not stats[:, 0].any()


def test_a_tile_writes_what_it_projects(decodable, lab, run_verb) -> None:
    from hpc_recon.stores import shapes

    study, _ = make(decodable)
    run_verb(fit, study)
    planned = [tile for tile in decode.plan(study, shapes.read(study)) if tile.stage == "decode"]
    decode.prepare(study)
    for tile in planned:
        written = decode.work(study, tile)
        assert len(written) == len(set(written)) == tile.need.files_out
    assert [tile for tile in decode.plan(study, shapes.read(study)) if tile.stage == "decode"] == planned


def test_items_without_files_or_with_two(decodable, lab) -> None:
    study, _ = make(decodable)
    (lab / "natural" / "fc" / "sub-01" / "ROI_V1" / "natural03.mat").unlink()
    message = r"1 of 9 test stimuli have no decoded features in .*fc/sub-01/ROI_V1.*natural03"
    with pytest.raises(DataError, match=message):
        decoded_features.look(study, "S1", "V1", "net", "fc")
    feature_trees.write_decoded(lab / "shapes", "conv", "sub-01", "ROI_V1", "natural01", VALUES["conv"][1], (4, 5, 5))
    with pytest.raises(DataError, match=r"1 test stimuli have decoded features twice, in .*natural01"):
        decoded_features.look(study, "S1", "V1", "net", "conv")
    with pytest.raises(DataError, match=r"9 of 9 .*no such folder has any.*name subject and ROI as the files do"):
        decoded_features.look(study, "S2", "V1", "net", "conv")


def test_units_of_another_shape_and_files_that_changed(decodable, lab, run_verb) -> None:
    study, _ = make(decodable)
    run_verb(fit, study)
    found = decoded_features.look(study, "S1", "V1", "net", "conv")
    before = decoded_features.identity(study, found)
    matlab.write_v5(found.files["natural02"], {"feat": np.ones((1, 5, 5, 4))})
    assert decoded_features.identity(study, found) != before
    decode.prepare(study)
    message = r"natural02\.mat has units \(5, 5, 4\), but other labels have \(4, 5, 5\).*reversed"
    with pytest.raises(DataError, match=message):
        decoded_features.write(study, ("S1", "V1", "net", "conv"))
