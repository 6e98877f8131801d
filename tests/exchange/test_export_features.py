"""Features, decoded features and spreads in files, read back by our readers of labs' trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.exchange import export_features, exporting
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats import feature_trees, matlab
from hpc_recon.stores import arrays, brain, images, layout

NETWORKS = {"net": {"architecture": "vgg11_quarter", "layers": ["f1", "f2"]}}


def write(batches, folder: Path, workspace: Path) -> int:
    return exporting.run(exporting.plan(folder, batches, overwrite=False, workspace=workspace))


def test_true_features_of_a_dataset(decodable, tmp_path: Path) -> None:
    study, data = decodable()
    to = tmp_path / "to"
    chosen = Selection(datasets=("natural", "training"))
    assert write(export_features.true_features(study, chosen), to, study.workspace) == 2 * 30
    tree = feature_trees.FeatureTree(to)
    assert tree.layers == ("conv", "fc")
    assert tree.shape("conv") == (4, 5, 5)
    rows = [data.labels.index(label) for label in tree.labels]
    for layer in tree.layers:
        np.testing.assert_array_equal(tree.read(layer), data.features[layer][rows])


def test_decoded_features_of_subjects_and_folds(make_study, fill_workspace, tmp_path: Path) -> None:
    folds = {"folds": 2, "training_dataset": "training", "test_dataset": "natural"}
    sample = {"samples": {"file": "a.npy"}}
    ingest = {
        "subjects": {"S1": {"datasets": {"training": sample, "natural": sample}}},
        "stimuli": {"training": {"folder": "x"}, "natural": {"folder": "y"}},
        "cross_validation": folds,
    }
    study = make_study(networks=NETWORKS, simulate=None, ingest=ingest, rois=["VC", "V1"])
    fill_workspace(study)
    to = tmp_path / "to"
    write(export_features.decoded(study, Selection(rois=("V1",))), to, study.workspace)
    tree = feature_trees.DecodedTree(to)
    folds_of = [("S1", "V1"), ("S1", "V1", "r1f01"), ("S1", "V1", "r1f02")]
    assert list(tree.groups()) == [(layer, *rest) for layer in ("f1", "f2") for rest in folds_of]
    for split, place in zip(study.splits(), folds_of, strict=True):
        labels, values = tree.read("f2", *place)
        items = brain.read_items(study, split, "natural", "V1")
        stored = arrays.read(study.workspace, layout.decoded(split, "V1", "natural", "net", "f2"))
        assert labels == tuple(sorted(items.names))
        np.testing.assert_array_equal(values, stored[np.argsort(items.names)])


def test_single_trials_are_named_by_their_number_and_blocks_do_not_matter(
    make_study, fill_workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(networks=NETWORKS, decode={"average": False}, units=7)
    fill_workspace(study)
    monkeypatch.setattr(export_features, "BLOCK_BYTES", 4 * 7 * 3)  # three items at a time
    batches = list(export_features.decoded(study, Selection(layers=("f1",))))
    assert [len(batch.files) for batch in batches] == [3, 3, 2]
    write(batches, tmp_path / "to", study.workspace)
    labels, values = feature_trees.DecodedTree(tmp_path / "to").read("f1", "S1", "VC")
    shown = brain.read_labels(study.workspace, "S1", "natural")
    assert labels == tuple(f"sample{i:06d}-{label}" for i, label in enumerate(shown, 1))
    stored = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", study.decoded_name("net"), "f1"))
    np.testing.assert_array_equal(values, stored)
    assert matlab.read_array(next((tmp_path / "to").rglob("*.mat")), "feat").shape == (1, 7)


def test_rows_that_are_not_the_studys_items_get_no_names(make_study, fill_workspace) -> None:
    fill_workspace(make_study(networks=NETWORKS))
    trials = make_study(networks=NETWORKS, decode={"average": False})
    with pytest.raises(DataError, match=r"has 4 rows, but the study 8 items; run .*hpc_recon\.decode"):
        list(export_features.decoded(trials, Selection()))


def test_what_was_not_decoded_names_its_command(decodable) -> None:
    with pytest.raises(MissingStore, match=r"hpc_recon\.decode"):
        list(export_features.decoded(decodable()[0], Selection()))


def test_spreads_of_training_features(decodable, tmp_path: Path) -> None:
    study, data = decodable()
    write(export_features.statistics(study, Selection()), tmp_path / "to", study.workspace)
    training = np.flatnonzero(np.array(images.read_table(study.workspace).dataset) == "training")
    for ddof, ending in ((0, ""), (1, "_dof1")):
        path = tmp_path / "to" / f"estimated_net_cnn_feat_std{ending}.mat"
        for layer, shape in (("conv", (4, 25)), ("fc", (1, 30))):
            values = data.features[layer][training].astype(float).reshape(len(training), *shape)
            found = matlab.read_array(path, layer)
            assert found.shape == (1, 1)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found[0, 0], values.std(axis=2, ddof=ddof).mean(), rtol=1e-6)


def test_spreads_are_not_those_of_decoders_from_elsewhere(decodable) -> None:
    study, _ = decodable(fit={"files": {"net": {"folders": "lab"}}})
    with pytest.raises(StudyError, match=r"fit\.files: nothing says which stimuli the decoders were trained on"):
        list(export_features.statistics(study, Selection()))
