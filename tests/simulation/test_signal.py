"""What a linear decoder recovers from each preset: pixels of new photographs, by plain ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hpc_recon.core.sampling import seed_of
from hpc_recon.simulation import stimuli, trials, voxels
from hpc_recon.simulation.presets import PRESETS

N_TRAINING, N_TEST, N_VOXELS = 160, 40, 400


@pytest.fixture(scope="module")
def shown() -> tuple[np.ndarray, np.ndarray]:
    """Signals (n_stimuli, n_voxels) and pixels (n_stimuli, 8 * 8 * 3), training rows first."""
    training = stimuli.training_crops(N_TRAINING, image_size=32, seed=0)
    test = stimuli.natural_crops(N_TEST, image_size=32, seed=0)
    images = np.concatenate([training.images, test.images])
    brain = voxels.population("S1", n_voxels=N_VOXELS, preset=PRESETS["easy"], study_seed=0)
    answers = voxels.responses(images, brain, study_seed=0)
    pixels = images.reshape(len(images), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1) / 255
    return voxels.standardised(answers, np.arange(len(images)) < N_TRAINING), pixels


def identification(preset: str, shown: tuple[np.ndarray, np.ndarray]) -> float:
    """Mean pairwise identification of the test photographs from pixels decoded relative to the training mean."""
    signal, pixels = shown
    chosen = PRESETS[preset]
    brain = voxels.population("S1", n_voxels=N_VOXELS, preset=chosen, study_seed=0)

    def sample(rows: slice, n_repeats: int) -> np.ndarray:
        seed = seed_of(preset, rows.start, n_repeats)
        patterns = signal[:N_TRAINING]
        made = trials.trials(
            signal[rows], brain, n_repeats=n_repeats, preset=chosen, seed=seed, patterns=patterns, average=True
        )
        return (made.samples - brain.baseline) / brain.scale

    training, test = slice(0, N_TRAINING), slice(N_TRAINING, None)
    mean = pixels[training].mean(axis=0)
    decoder = Ridge(alpha=300).fit(sample(training, 5), pixels[training] - mean)
    decoded = decoder.predict(sample(test, 24))
    alike = np.corrcoef(decoded, pixels[test] - mean)[:N_TEST, N_TEST:]
    won = np.diag(alike)[:, None] > alike
    return float(won.sum() / (N_TEST * (N_TEST - 1)))


def test_presets_are_easy_realistic_and_at_chance(shown: tuple[np.ndarray, np.ndarray]):
    """Chance: an item's accuracy is uniform on [0, 1], so the mean of 40 has a standard error of .289 / sqrt(40)."""
    scores = {name: identification(name, shown) for name in PRESETS}
    assert scores["easy"] > 0.95
    assert 0.6 < scores["realistic"] < 0.93
    assert abs(scores["null"] - 0.5) < 2 * np.sqrt(1 / 12 / N_TEST)
    assert scores["easy"] > scores["realistic"] > scores["null"]
