"""What is read: by row, the areas of the options, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.stores import brain, items
from hpc_recon.training import Place, shape_sources


def test_areas_and_layers_are_those_named_or_the_only_ones(shape_study):
    options = shape_study.train["fused"]
    place = Place("fused", "S1", "VC")
    assert shape_sources.areas_of(options, place) == ("V1", "V2")
    alone = options.model_copy(update={"shape": options.shape.model_copy(update={"rois": ()})})
    assert shape_sources.areas_of(alone, place) == ("VC",)
    assert shape_sources.shape_layer(shape_study, options) == "pixels"
    assert shape_sources.layer_of(shape_study, "embedding", "grid8") == "grid8"


def test_a_layer_that_is_no_square_grid_is_no_shape(shape_study):
    options = shape_study.train["fused"]
    assert shape_sources.grid_of(shape_study, options, (3, 8, 8)) == (3, 8, 8)
    for shape in ((2, 8, 8), (1, 8, 9), (64,)):
        with pytest.raises(DataError, match=r"square grid of 1 or 3 channels, but pixels of shape is"):
            shape_sources.grid_of(shape_study, options, shape)


def test_predictions_of_other_images_are_refused(shape_study):
    with pytest.raises(DataError, match=r"those of the 15 training images, but .* has 16"):
        shape_sources.out_of_fold(shape_study, "S1", "V1", "shape", "pixels", 15)


def test_decoded_shapes_and_patterns_are_those_of_the_items(shape_study):
    place = Place("fused", "S1", "VC")
    shown = items.read_shown(shape_study, "S1", "test")
    found = shape_sources.decoded_shapes(shape_study, place, "test")
    assert found.shape == (2, 4, 64)
    true = items.true_features(shape_study, "shape", "pixels", shown.rows)
    r = np.corrcoef(np.concatenate([found.mean(axis=0), true]))[:4, 4:]
    assert r.diagonal().mean() > r[~np.eye(4, dtype=bool)].mean()
    patterns = shape_sources.item_patterns(shape_study, "S1", "V1", "test")
    np.testing.assert_array_equal(patterns, brain.read_items(shape_study, "S1", "test", "V1").samples)
    assert patterns.shape == (4, 15)


def test_equal_pictures_have_equal_digests(shape_study):
    one = dict(shape_sources.digests(shape_study, np.array([5, 2, 9])))
    assert sorted(one) == [2, 5, 9]
    assert len(set(one.values())) == 3
    assert dict(shape_sources.digests(shape_study, np.array([2])))[2] == one[2]
