"""Options of shape-semantic entries: profiles, what they refuse, and the entries that one stands for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.shape_options import SemanticStage, ShapeSemanticTraining

GIVEN = {"method": "shape_semantic", "shape": {"network": "shape"}}
KMEANS = {"target": "kmeans", "network": "net"}


def options(**changes) -> ShapeSemanticTraining:
    return ShapeSemanticTraining(**{**GIVEN, **changes})


def test_a_profile_fills_in_what_is_not_given():
    assert (options().image_size, options().width) == (256, 1.0)
    tiny = options(profile="tiny", steps=5)
    assert (tiny.image_size, tiny.width, tiny.steps) == (32, 0.25, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 48}, "must be a power of 2"),
        ({"image_size": 16, "patch_layers": 4}, "fewer than 2 patches an edge of 16 pixels"),
        ({"image_weight": 0, "adversarial_weight": 0}, "nothing would be learnt"),
        ({"leave_out": ["shape", "semantics"]}, "the generator sees nothing"),
        ({"clusters": [3]}, "clusters makes entries of target kmeans"),
        ({"targets": ["labels", "kmeans"]}, "kmeans need an embedding"),
        ({"ablations": ["augmentation"]}, "leave out augmentation, which is not there"),
        ({"ablations": ["fusion"], "leave_out": ["fusion"]}, "leave out fusion, which is not there"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        options(**changes)


def test_an_embedding_belongs_to_targets_that_need_one():
    with pytest.raises(ValidationError, match="target is kmeans; give a network"):
        SemanticStage(target="kmeans")
    with pytest.raises(ValidationError, match="target is labels; leave network out"):
        SemanticStage(network="net")


def test_one_entry_stands_for_targets_clusters_ablations_and_seeds():
    given = options(semantic=KMEANS, targets=["labels", "kmeans"], clusters=[5, 9], ablations=["fusion"])
    found = given.entries("f")
    assert list(found) == ["f.labels", "f.kmeans", "f.kmeans.k5", "f.kmeans.k9", "f.no-fusion"]
    assert found["f.labels"].semantic.network is None
    assert found["f.kmeans.k9"].semantic.clusters == 9
    assert found["f.no-fusion"].combiner == "first"
    assert found["f.labels"].combiner == "ridge"
    assert found["f.labels"].entries("f.labels") == {"f.labels": found["f.labels"]}
    seeds = options(ablations=["shape"], seeds=[1, 2]).entries("f")
    assert list(seeds) == ["f.seed1", "f.seed2", "f.no-shape.seed1", "f.no-shape.seed2"]
    assert [own.seed for own in seeds.values()] == [1, 2, 1, 2]


def test_augmentation_may_be_left_out():
    own = options(augmentation={"dataset": "extra"}, ablations=["augmentation"])
    assert own.augments is not None
    assert own.entries("f")["f.no-augmentation"].augments is None
