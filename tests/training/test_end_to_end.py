"""What the weights of an end-to-end generator depend on, what is refused, and what it is projected to need."""

from __future__ import annotations

import pytest

from hpc_recon import train
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.stores import shapes
from hpc_recon.training import Place, end_to_end

PLACE = Place("e2e", "S1", "VC")
PAPER = EndToEndTraining(method="end_to_end", comparator={"weights": "random:0"}).model_dump(mode="json")


def test_weights_depend_on_what_changes_them_alone():
    base = EndToEndTraining(method="end_to_end", profile="tiny")
    same = {"steps": 5, "checkpoint_every": 7, "log_every": 3, "loading_threads": 4, "seconds_per_step": 1.0}
    for key, value in same.items():
        assert end_to_end.settings_of(base.model_copy(update={key: value})) == end_to_end.settings_of(base), key
    for key, value in {"batch": 5, "seed": 1, "order": "shuffled", "precision": "bfloat16", "crop": 50}.items():
        assert end_to_end.settings_of(base.model_copy(update={key: value})) != end_to_end.settings_of(base), key
    other = base.comparator.model_copy(update={"weights": "random:9"})
    assert end_to_end.settings_of(base.model_copy(update={"comparator": other})) != end_to_end.settings_of(base)


def test_a_comparator_without_its_layers_is_refused(trainable):
    study, _ = trainable(comparator={"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv9_1"]})
    with pytest.raises(StudyError, match="conv9_1"):
        train.plan(study, shapes.read(study))


def test_too_few_samples_are_refused_before_anything_is_trained(trainable):
    study, _ = trainable(training={"images": 999})
    with pytest.raises(DataError, match="999"):
        end_to_end.prepare(study, PLACE)


def test_the_published_training_is_projected(trainable):
    """Weights, gradients and two means of 88,430,146 parameters, and the comparator's."""
    study, _ = trainable(profile="paper", **{key: value for key, value in PAPER.items() if key != "profile"})
    sizes = shapes.read(study)
    tile = train.plan(study, sizes)[-1]
    assert tile.need.bytes_out > 3 * 4 * 5_700_000  # of 40 voxels, most parameters are convolutions
    assert tile.need.host_bytes > tile.need.device_bytes > 2**30
    slow = end_to_end.need_of(study, sizes, PLACE, n_steps=20)
    assert slow.seconds > end_to_end.need_of(study, sizes, PLACE, n_steps=10).seconds
