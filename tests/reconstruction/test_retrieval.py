"""Images of method `retrieval`, against scikit-learn's correlation distances and hand-made features."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from hpc_recon import evaluate, reconstruct
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ChangedStudy, DataError
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group
from hpc_recon.reconstruction import retrieval
from hpc_recon.stores import arrays, images, items, layout, shapes

LAYERS = ["conv1_1", "conv2_1"]


@pytest.fixture
def study(study: Study, make_study, content, decode_truly) -> Study:
    entries = {
        "near": {"method": "retrieval", "network": "vgg"},
        "three": {"method": "retrieval", "network": "vgg", "layers": ["conv2_1"], "mean_of": 3},
    }
    made = make_study({**content, "reconstruct": entries})
    decode_truly(made)
    return made


def read(study: Study, variant: str, dataset: str, name: str) -> tuple[np.ndarray, list[str]]:
    path = layout.image_file(study, variant, "S1", "VC", dataset, name)
    return np.load(path.with_suffix(".npy")), json.loads(path.with_suffix(".json").read_text())["retrieved"]


def expected(study: Study, dataset: str, layers: list[str], n: int) -> np.ndarray:
    """Return rows of the nearest training stimuli by scikit-learn, layer by layer, all units at once."""
    training, total = items.training_rows(study, "S1"), 0.0
    for layer in layers:
        name = layout.decoded("S1", "VC", dataset, study.decoded_name("vgg"), layer)
        decoded = arrays.read(study.workspace, name).astype(np.float64)
        true = arrays.read(study.workspace, layout.features("vgg", layer), training).astype(np.float64)
        varies = np.ptp(true, axis=0) > 0
        mean, scale = true.mean(axis=0)[varies], true.std(axis=0, ddof=1)[varies]
        zscored = [(values[:, varies] - mean) / scale for values in (decoded, true)]
        total = total + 1 - pairwise_distances(*zscored, metric="correlation")
    return training[np.argsort(-total, axis=1)[:, :n]]


def test_the_nearest_are_those_of_an_independent_program(study: Study, run_verb, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "UNITS", 1000)  # several blocks a layer
    run_verb(reconstruct, study)
    table = images.read_table(study.workspace)
    for variant, layers, n in (("near", LAYERS, 1), ("three", ["conv2_1"], 3)):
        for dataset in ("natural", "shapes"):
            rows = expected(study, dataset, layers, n)
            for name, own in zip(items.read_shown(study, "S1", dataset).names, rows, strict=True):
                image, labels = read(study, variant, dataset, name)
                assert labels == [table.labels[row] for row in own]
                mean = images.read_images(study.workspace, np.sort(own)).mean(axis=0) / 255
                np.testing.assert_allclose(image, mean, atol=1e-6)


def test_images_are_scored_as_those_of_any_method(study: Study, run_verb) -> None:
    run_verb(reconstruct, study)
    run_verb(evaluate, study)
    with (study.workspace / "scores" / "images.csv").open(newline="") as stream:
        found = [row for row in csv.DictReader(stream) if row["metric"] == "pixel_correlation"]
    values = {variant: [row["value"] for row in found if row["variant"] == variant] for variant in ("near", "three")}
    assert [len(own) for own in values.values()] == [5, 5]
    # All layers and one image: this is what `evaluate` compares every method with.
    assert values["near"] == [row["value"] for row in found if row["variant"] == "nearest_training_image"]


def test_work_returns_the_files_that_it_projects(study: Study) -> None:
    reconstruct.prepare(study)
    for tile in reconstruct.plan(study, shapes.read(study)):
        files = reconstruct.work(study, tile)
        assert len(set(files)) == tile.need.files_out
        assert sum(path.stat().st_size for path in files if path.suffix == ".npy") <= 1.2 * tile.need.bytes_out


def test_features_decoded_from_an_earlier_version_are_refused(study: Study, finish) -> None:
    group = Group("decode", ("S1", "VC", study.decoded_name("vgg"), "conv2_1"))
    path = receipts.group_folder(study.workspace, group) / receipts.GROUP_FILE
    write_json(path, {"digest": "x", "upstream": {"extract/vgg/conv2_1": "another"}})
    with pytest.raises(ChangedStudy):
        reconstruct.prepare(study)


def test_a_mean_of_more_images_than_there_are_is_refused(study: Study, make_study, content, decode_truly) -> None:
    """It was the mean of all of them, for every item."""
    entry = {"method": "retrieval", "network": "vgg", "mean_of": 11}
    made = make_study({**content, "reconstruct": {"many": entry}})
    decode_truly(made)
    with pytest.raises(DataError, match="many: mean_of asks for 11 training images, but there are 10 of S1"):
        reconstruct.prepare(made)
