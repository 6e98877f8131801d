from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import costs, features, taps, zoo

LAYERS = ("conv1_1", "conv3_1")
NETWORK = Network(architecture="vgg11_quarter", layers=LAYERS)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def test_features_are_activations_in_order_of_channel_row_column():
    found = features.compute(NETWORK, LAYERS, pictures=PICTURES)
    net = zoo.load(NETWORK, image_size=16)
    direct = taps.activations(net, torch.from_numpy(PICTURES).permute(0, 3, 1, 2) / 255, LAYERS)
    for layer, (values, shape) in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.reshape(5, *shape), direct[layer].numpy(), rtol=1e-5, atol=1e-5)


def test_read_only_pictures_are_accepted():
    pictures = PICTURES.copy()
    pictures.flags.writeable = False
    assert features.compute(NETWORK, ["conv1_1"], pictures=pictures)["conv1_1"][0].shape == (5, 16 * 256)


def test_micro_batches_do_not_change_features(monkeypatch: pytest.MonkeyPatch):
    whole = features.compute(NETWORK, LAYERS, pictures=PICTURES)
    monkeypatch.setattr(costs, "MICRO_BATCH_BYTES", 1)
    single = features.compute(NETWORK, LAYERS, pictures=PICTURES)
    for layer in LAYERS:
        np.testing.assert_allclose(single[layer][0], whole[layer][0], rtol=1e-5, atol=1e-5)


def test_features_that_are_not_finite_are_refused_with_layer_units_and_count():
    values = np.zeros((3, 100), np.float32)
    values[1, 10:14] = np.nan
    values[2, 40] = np.inf
    with pytest.raises(DataError, match=r"5 of 300 values of vgg/conv1_1 .*units 10 to 40.*use other weights"):
        features.require_finite(values, layer="vgg/conv1_1", dtype="float32")


def test_features_too_large_for_float16_are_refused_with_the_remedy():
    values = np.zeros((3, 100), np.float32)
    values[0, 7] = 1e5
    with pytest.raises(DataError, match=r"units 7 to 7; they exceed 65504.*dtype: float32"):
        features.require_finite(values, layer="vgg/conv1_1", dtype="float16")
    features.require_finite(values, layer="vgg/conv1_1", dtype="float32")


def test_features_of_an_absolute_network_are_the_absolute_features_of_the_plain_one():
    plain = features.compute(NETWORK, LAYERS, pictures=PICTURES)
    absolute = features.compute(NETWORK.model_copy(update={"transform": "abs"}), LAYERS, pictures=PICTURES)
    for layer in LAYERS:
        assert (plain[layer][0] < 0).any()
        np.testing.assert_array_equal(absolute[layer][0], np.abs(plain[layer][0]))
        assert absolute[layer][1] == plain[layer][1]
