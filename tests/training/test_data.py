"""Batches from the stores: the very samples, their own images, one crop for all; whatever fits into the buffer."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import train
from hpc_recon.core.errors import DataError
from hpc_recon.training import data, pictures
from hpc_recon.training.data import Scaling
from hpc_recon.training.order import offsets


@pytest.fixture
def made(trainable, run_verb):
    study, written = trainable(steps=1, losses={"feature": 0, "adversarial": 0})
    run_verb(train, study)  # resizes the stimuli
    return study, written


def test_samples_are_z_scored_as_one_set_and_images_are_their_own(made):
    study, written = made
    samples, rows = written.brain["S1", "training"]
    stream = data.stream(study, "e2e", "S1", "VC")
    mean, deviation = samples.astype(np.float64).mean(axis=0), samples.astype(np.float64).std(axis=0)
    expected = (samples - mean) / deviation
    images = pictures.read(study, np.arange(33), size=40)
    for step in (0, 17, 18, 40):  # 72 samples: 18 steps are a pass
        batch = stream.batch(step)
        drawn = offsets(step, 4, margin=4, seed=stream.seed)
        for voxels, image, (top, left) in zip(batch["voxels"], batch["images"], drawn, strict=True):
            sample = int(np.argmin(np.abs(expected - voxels).sum(axis=1)))
            np.testing.assert_allclose(voxels, expected[sample], atol=1e-5)
            own = images[rows[sample]][top : top + 36, left : left + 36]
            np.testing.assert_array_equal(image, own[..., ::-1].transpose(2, 0, 1))  # BGR
    assert batch["voxels"].dtype == np.float32


def test_a_pass_sees_every_sample_once_whatever_the_buffer(made, monkeypatch):
    study, written = made
    monkeypatch.setattr("hpc_recon.training.order.CHUNK", 8)
    monkeypatch.setattr("hpc_recon.training.buffers.CHUNK", 8)
    small = study.train["e2e"].model_copy(update={"buffer_bytes": 2**16})
    study = study.model_copy(update={"train": {"e2e": small}})
    stream = data.stream(study, "e2e", "S1", "VC")
    assert stream.order.in_buffer == 8
    reads = []
    read = stream.read_samples
    stream.read_samples = lambda places: reads.append(len(places)) or read(places)
    seen = np.concatenate([stream.batch(step)["voxels"] for step in range(18)])
    samples, _ = written.brain["S1", "training"]
    expected = stream.scaling.apply(samples)
    order = np.lexsort(seen.T), np.lexsort(expected.T)
    np.testing.assert_allclose(seen[order[0]], expected[order[1]], atol=1e-6)
    assert reads == [8] * 9  # each buffer is read once
    assert len(stream._held) <= 2


def test_a_part_of_the_samples_and_voxels_has_its_own_statistics(trainable, run_verb):
    study, written = trainable({"rois": ["V1"]}, training={"images": 6, "samples": 13})
    samples = data.training_samples(study, "e2e", "S1", "V1")
    assert (len(samples.numbers), len(np.unique(samples.stimuli))) == (13, 6)
    scaling = data.scaling_of(study, samples)
    own = written.brain["S1", "training"][0][samples.numbers][:, written.mask].astype(np.float64)
    np.testing.assert_allclose(scaling.mean, own.mean(axis=0))
    np.testing.assert_allclose(scaling.scale, own.std(axis=0))
    np.testing.assert_array_equal(samples.stimuli, written.brain["S1", "training"][1][samples.numbers])
    study = trainable(training={"samples": 100})[0]
    with pytest.raises(DataError, match=r"train.e2e \(S1\): training.samples asks for 100"):
        train.prepare(study)


def test_averaged_items_are_scaled_by_the_root_of_their_own_number():
    scaling = Scaling(np.array([1.0, 2.0]), np.array([2.0, 0.0]), 1.0)
    items = np.array([[3.0, 5.0], [3.0, 5.0]], np.float32)
    np.testing.assert_allclose(scaling.apply(items), [[1, 0], [1, 0]])
    np.testing.assert_allclose(scaling.apply(items, np.array([24.0, 12.0])), [[24**0.5, 0], [12**0.5, 0]])
    averaged = Scaling(np.zeros(2), np.ones(2), 4.0)  # trained with means of four
    np.testing.assert_allclose(averaged.apply(items, np.array([16.0, 4.0]))[:, 0], [6, 3])
    rng = np.random.default_rng(0)  # white noise: the mean of 24 trials has the deviation of one again
    noise = rng.normal(size=(24, 20000)).mean(axis=0)[None]
    single = Scaling(np.zeros(20000), np.ones(20000), 1.0)
    assert single.apply(noise, np.array([24.0])).std() == pytest.approx(1, abs=0.03)


def test_examples_are_the_same_whatever_the_step(made):
    study, _ = made
    stream = data.stream(study, "e2e", "S1", "VC")
    first = stream.examples(5)
    stream.batch(9)
    again = stream.examples(5)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert first["images"].shape == (5, 3, 36, 36)
