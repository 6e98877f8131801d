"""Tiles of a training: parts in order, what its weights depend on, and what it is projected to need."""

from __future__ import annotations

import pytest

from hpc_recon import train
from hpc_recon.core.errors import StudyError
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.stores import shapes
from hpc_recon.training import planning


def plan(study):
    return train.plan(study, shapes.read(study))


def test_parts_follow_each_other_and_networks_are_side_by_side(trainable):
    study, _ = trainable({"rois": ["VC", "V1"]}, seeds=[0, 1])
    tiles = plan(study)
    assert [tile.stage for tile in tiles] == ["images", *["part001"] * 4, *["part002"] * 4, *["part003"] * 4]
    own = [tile for tile in tiles if tile.group.path == ("e2e.seed1", "S1", "V1")]
    assert [(tile.start, tile.stop) for tile in own] == [(0, 4), (4, 8), (8, 10)]
    assert own[0].group.upstream == ("simulate/S1", "train/_images-40")


def test_a_study_without_networks_has_no_tiles(decodable):
    assert plan(decodable()[0]) == []


def test_weights_depend_on_what_changes_them_alone():
    base = EndToEndTraining(method="end_to_end", profile="tiny")
    same = {"steps": 5, "checkpoint_every": 7, "log_every": 3, "loading_threads": 4, "seconds_per_step": 1.0}
    for key, value in same.items():
        assert planning.settings_of(base.model_copy(update={key: value})) == planning.settings_of(base), key
    for key, value in {"batch": 5, "seed": 1, "order": "shuffled", "precision": "bfloat16", "crop": 50}.items():
        assert planning.settings_of(base.model_copy(update={key: value})) != planning.settings_of(base), key
    other = base.comparator.model_copy(update={"weights": "random:9"})
    assert planning.settings_of(base.model_copy(update={"comparator": other})) != planning.settings_of(base)


def test_a_comparator_without_its_layers_is_refused(trainable):
    study, _ = trainable(comparator={"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv9_1"]})
    with pytest.raises(StudyError, match="conv9_1"):
        plan(study)


def test_the_published_training_is_projected(trainable):
    """Weights, gradients and two means of 88,430,146 parameters, and the comparator's."""
    study, _ = trainable(profile="paper", **{key: value for key, value in PAPER.items() if key != "profile"})
    tile = plan(study)[-1]
    assert tile.need.bytes_out > 3 * 4 * 5_700_000  # of 40 voxels, most parameters are convolutions
    assert tile.need.host_bytes > tile.need.device_bytes > 2**30
    slow = planning.need_of(study, shapes.read(study), "e2e", ("S1", "VC"), n_steps=20)
    assert slow.seconds > planning.need_of(study, shapes.read(study), "e2e", ("S1", "VC"), n_steps=10).seconds


PAPER = EndToEndTraining(method="end_to_end", comparator={"weights": "random:0"}).model_dump(mode="json")
