"""Images from decoded features: tiles, provenance, recovery."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpc_recon import extract, reconstruct
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ChangedStudy
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import digest
from hpc_recon.reconstruction import from_features
from hpc_recon.stores import shapes


def test_true_features_become_their_images(study: Study, run_verb, decode_truly, truth, picture):
    decode_truly(study)
    tiles = run_verb(reconstruct, study)
    found = [(t.group.path[0], t.group.path[3] if len(t.group.path) > 2 else None, t.start, t.stop) for t in tiles]
    assert found == [
        ("images", "natural", 0, 2), ("images", "natural", 2, 3), ("images", "shapes", 0, 2),
        ("plain", "natural", 0, 1), ("plain", "natural", 1, 2), ("plain", "natural", 2, 3), ("images", None, 0, 2),
    ]  # fmt: skip
    for dataset in ("natural", "shapes"):
        for name, image in zip(*truth(study, dataset), strict=True):
            made = picture(study, "images", dataset, name)
            assert np.corrcoef(made.ravel(), image.ravel())[0, 1] > 0.98
    for name, image in zip(*truth(study, "natural"), strict=True):
        np.testing.assert_allclose(picture(study, "plain", "natural", name), image, atol=1e-6)


def test_groups_depend_on_the_layers_that_they_read(make_study, study: Study, content):
    one = make_study(
        {**content, "reconstruct": {"images": {"method": "icnn", "network": "vgg", "layers": ["conv2_1"]}}}
    )
    (tile, *_) = reconstruct.plan(one, shapes.read(one))
    assert tile.group.upstream == ("simulate/stimuli", "simulate/S1", "decode/S1/VC/vgg/conv2_1")
    (other, *_) = reconstruct.plan(study, shapes.read(study))
    assert tile.group.settings != other.group.settings


def test_the_recovery_check_says_what_perfect_decoding_would_give(study: Study, run_verb, decode_truly, truth, picture):
    decode_truly(study, gain=2.0, offset=3.0)  # gain and offset belong to a correction that is not asked for: wrong
    run_verb(reconstruct, study)
    names, true = truth(study, "natural")
    folder = study.workspace / "images" / "images" / "_recovery"
    assert sorted(path.name for path in folder.glob("*.json")) == [f"{name}.json" for name in names[:2]]
    for name, image in zip(names[:2], true[:2], strict=True):
        record = json.loads((folder / f"{name}.json").read_text())
        made = np.load(folder / f"{name}.npy")
        expected = np.corrcoef(made.ravel(), image.ravel())[0, 1]
        assert record["pixel_correlation"] == pytest.approx(expected, abs=1e-6)
        assert expected > 0.98
        assert np.corrcoef(picture(study, "images", "natural", name).ravel(), image.ravel())[0, 1] < 0.98


def test_auto_batches_depend_on_shapes_alone(study: Study, variant):
    tiles = reconstruct.plan(variant(images_per_tile="auto"), shapes.read(study))
    assert [(tile.start, tile.stop) for tile in tiles] == [(0, 3)]


def test_features_of_another_network_are_refused(study: Study, make_study, content, decode_truly):
    decode_truly(study)
    reconstruct.prepare(study)  # its own network: fine
    networks = {**content["networks"], "vgg": {**content["networks"]["vgg"], "weights": "random:7"}}
    other = make_study({**content, "networks": networks})
    with pytest.raises(ChangedStudy, match=r"conv1_1 were made by another network.*weights was 'random:0' and is"):
        reconstruct.prepare(other)


def test_features_decoded_before_extraction_was_repeated_are_refused(
    study: Study, make_study, run_verb, content, decode_truly
):
    decode_truly(study)
    key = "decode/S1/VC/vgg/conv1_1"
    made_by = shapes.read(study).made_by("vgg", "conv1_1")
    recorded = {made_by: digest(dict(receipts.group_digests(study.workspace, made_by)))}
    path = study.workspace / "receipts" / key / receipts.GROUP_FILE
    write_json(path, {"digest": "x", "upstream": recorded})
    reconstruct.prepare(study)
    networks = {**content["networks"], "vgg": {**content["networks"]["vgg"], "weights": "random:7"}}
    other = make_study({**content, "networks": networks})
    run_verb(extract, other)
    with pytest.raises(ChangedStudy, match=f"{key} was made from an earlier {made_by}"):
        reconstruct.prepare(other)


def test_a_file_counts_by_its_content(study: Study, tmp_path: Path, variant):
    settings = []
    for folder, value in (("a", 1), ("b", 1), ("c", 0)):
        (tmp_path / folder).mkdir()
        mask = np.ones((16, 16))
        mask[0] = value
        np.save(tmp_path / folder / "mask.npy", mask)
        own = variant(masks={"conv1_1": {"file": f"{folder}/mask.npy"}})
        settings.append(reconstruct.plan(own, shapes.read(own))[0].group.settings)
    assert settings[0] == settings[1] != settings[2]


def test_new_options_do_not_disown_older_images(study: Study):
    found = json.loads(reconstruct.plan(study, shapes.read(study))[0].group.settings)["options"]
    assert found == {
        "method": "icnn", "network": "vgg", "images_per_tile": 2, "layers": None, "layer_weights": {}, "iterations": 40,
        "total_variation": 0.0, "image_size": None, "start": "training_mean", "start_noise": 0.0, "smoothness": 1.0,
    }  # fmt: skip


def test_a_method_that_fails_with_true_features_says_so(study: Study, variant):
    own = variant(recovery=2, iterations=1, start="uniform")
    reconstruct.prepare(own)
    (tile,) = [tile for tile in reconstruct.plan(own, shapes.read(own)) if tile.stage == "recovery"]
    with pytest.warns(UserWarning, match=r"images: images from true features correlate 0\.\d\d, 0\.\d\d with their"):
        files = reconstruct.work(own, tile)
    assert len(set(files)) == tile.need.files_out == 6


def test_an_image_of_one_colour_correlates_with_nothing():
    flat, noise = np.full((4, 4, 3), 0.5), np.random.default_rng(0).random((4, 4, 3))
    assert from_features._correlation(flat, noise) == 0
    assert from_features._correlation(noise, noise) == pytest.approx(1)
