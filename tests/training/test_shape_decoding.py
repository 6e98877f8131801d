"""The semantic vector: scaled by training images, and the classes that are decoded of test items."""

from __future__ import annotations

import numpy as np

from hpc_recon.methods.semantic import Network
from hpc_recon.numerics.semantics import Linear
from hpc_recon.training import Place, shape_inputs
from hpc_recon.training.shape_decoding import Semantics
from hpc_recon.training.shape_sources import item_patterns

PLACE = Place("fused", "S1", "VC")


def test_vectors_of_test_items_are_scaled_by_training_images(shape_study):
    found = shape_inputs.read(shape_study, PLACE).semantics
    assert isinstance(found.decoder, Network)
    raw = found.decoder.vectors(item_patterns(shape_study, "S1", "VC", "test"))
    np.testing.assert_allclose(
        found.of_items(shape_study, PLACE, "test"), (raw - found.mean) / found.scale, rtol=1e-5, atol=1e-6
    )
    constant = Semantics(None, np.zeros(2), np.array([1.0, 0.0]), None, ())
    assert constant.scaled(np.array([[3.0, 4.0]])).tolist() == [[3.0, 0.0]]


def test_classes_of_items_are_those_of_the_largest_logit(shape_study):
    found = shape_inputs.read(shape_study, PLACE).semantics
    patterns = item_patterns(shape_study, "S1", "VC", "test")
    expected = found.decoder.outputs(patterns).argmax(axis=1)
    np.testing.assert_array_equal(found.classes(shape_study, PLACE, "test"), expected)
    assert found.names == ("a", "b")


def test_what_is_stored_is_what_is_read(shape_study):
    options = shape_study.train["fused"]
    for decoder in (shape_inputs.read(shape_study, PLACE).semantics.decoder, None):
        one = Semantics(decoder, np.ones(4), np.ones(4), np.ones((3, 2)), ("a", "b"))
        two = Semantics.from_arrays(options, one.arrays())
        assert (two.names, type(two.decoder)) == (one.names, type(decoder))
        np.testing.assert_array_equal(two.centres, one.centres)
    assert not isinstance(two.decoder, Linear)
