"""What the areas see."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.nets import taps, zoo
from hpc_recon.simulation import areas, readout


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(3, 64, 64, 3), dtype=np.uint8)


def test_opponent_channels_keep_polarity_and_ignore_what_is_not_there():
    grey = np.full((1, 64, 64, 3), 0.5, np.float32)
    assert not readout.opponent_channels(grey).any()
    light, dark = readout.opponent_channels(grey + 0.2)[0], readout.opponent_channels(grey - 0.2)[0]
    assert [i for i in range(12) if light[i].max() > 1e-3] == [0]  # on, luminance, as it is
    assert [i for i in range(12) if dark[i].max() > 1e-3] == [6]  # off
    red = grey.copy()
    red[..., 0] += 0.2
    assert set(np.flatnonzero(readout.opponent_channels(red).max(axis=(0, 2, 3)) > 1e-3)) == {0, 1, 8}


def test_contrast_is_relative_to_the_surround():
    step = np.full((1, 64, 64, 3), 0.5, np.float32)
    step[:, :, 32:] = 0.7
    on, off = readout.opponent_channels(step)[0, [3, 9], 32]
    assert on.argmax() == 32
    assert off.argmax() == 31
    assert on[5] == pytest.approx(0, abs=1e-3)


def test_maps_are_projections_of_rectified_layers(images: np.ndarray):
    """Oracle: one map computed by hand from the network's own activations."""
    ((rows, maps),) = list(readout.area_maps(images, study_seed=5))
    assert rows == slice(0, 3)
    assert [m.shape for m in maps.values()] == [
        (32, 3, 4096), (32, 3, 576), (32, 3, 144), (32, 3, 36), (32, 3, 9),
    ]  # fmt: skip
    network = areas.model_network(5)
    layer = taps.read(zoo.load(network, image_size=64), images, ["conv3_1"])["conv3_1"]
    weights = readout.projections("V3", 256, study_seed=5)
    by_hand = sum(weights[7, c] * np.maximum(layer[1, c], 0).astype(np.float64) for c in range(256))
    assert maps["V3"][7, 1] == pytest.approx(by_hand.ravel(), abs=1e-3)  # float32 sums of 256 terms of order 1


def test_batches_do_not_change_maps(images: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    ((_, whole),) = list(readout.area_maps(images, study_seed=5))
    monkeypatch.setattr(readout, "BATCH", 2)
    parts = list(readout.area_maps(images, study_seed=5))
    assert [rows for rows, _ in parts] == [slice(0, 2), slice(2, 3)]
    for name, maps in whole.items():
        joined = np.concatenate([part[name] for _, part in parts], axis=1)
        assert joined == pytest.approx(maps, abs=1e-4)


def test_images_of_any_size_are_seen_at_one_size(images: np.ndarray):
    small = images[:, ::2, ::2]
    ((_, maps),) = list(readout.area_maps(small, study_seed=5))
    assert maps["V1"].shape == (32, 3, 4096)
    assert readout._resized(images) == pytest.approx(images / 255.0, abs=1e-6)
