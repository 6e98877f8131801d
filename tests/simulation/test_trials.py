"""Samples: order, noise, repeats, raw scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpc_recon.simulation import trials, voxels
from hpc_recon.simulation.presets import PRESETS

EASY = PRESETS["easy"]


@pytest.fixture(scope="module")
def brain() -> voxels.Population:
    return voxels.population("S1", n_voxels=300, preset=EASY, study_seed=0)


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((80, 300), dtype=np.float32)


def test_each_stimulus_is_shown_once_a_repeat_in_a_new_order(brain: voxels.Population, signal: np.ndarray):
    made = trials.trials(signal, brain, n_repeats=3, preset=EASY, seed=1)
    assert made.samples.shape == (240, 300)
    assert made.samples.dtype == np.float32
    orders = made.stimulus.reshape(3, 80)
    assert all(sorted(order) == list(range(80)) for order in orders)
    assert (orders[0] != orders[1]).any()
    assert made.columns["repeat"] == [1.0] * 80 + [2.0] * 80 + [3.0] * 80
    assert made.columns["run"][:51] == [1.0] * 50 + [2.0]
    assert set(made.columns["n_averaged"]) == {1.0}


def test_averaging_is_the_mean_of_the_same_trials(brain: voxels.Population, signal: np.ndarray):
    kept = trials.trials(signal, brain, n_repeats=4, preset=EASY, seed=1)
    mean = trials.trials(signal, brain, n_repeats=4, preset=EASY, seed=1, average=True)
    by_hand = np.stack([kept.samples[kept.stimulus == i].mean(axis=0) for i in range(80)])
    assert mean.samples == pytest.approx(by_hand, abs=2e-4)  # float32 sums in another order, values up to 50
    assert mean.stimulus.tolist() == list(range(80))
    assert mean.columns == {"n_averaged": [4.0] * 80}


def test_noise_and_raw_scale_are_what_the_population_says(brain: voxels.Population):
    made = trials.trials(np.zeros((4000, 300), np.float32), brain, n_repeats=1, preset=EASY, seed=1)
    sd = brain.scale * brain.noise
    # 4000 samples: the mean is known to sd / 63, the standard deviation to 1.1 %; 5 of those.
    assert np.abs((made.samples.mean(axis=0) - brain.baseline) / sd).max() < 5 / 63
    assert made.samples.std(axis=0) / sd == pytest.approx(1, abs=0.06)


def test_the_shared_part_of_the_noise_is_shared(brain: voxels.Population):
    zero = np.zeros((4000, 300), np.float32)
    made = trials.trials(zero, brain, n_repeats=1, preset=EASY, seed=1).samples
    expected = EASY.shared * (brain.loading @ brain.loading.T)
    np.fill_diagonal(expected, 1.0)
    assert np.abs(np.corrcoef(made.T) - expected).max() < 6 / np.sqrt(4000)
    own = trials.trials(zero, brain, n_repeats=1, preset=replace(EASY, shared=0.0), seed=1).samples
    assert np.abs(np.corrcoef(own.T) - np.eye(300)).max() < 6 / np.sqrt(4000)


def test_the_signal_is_in_the_trials_and_null_has_none(brain: voxels.Population, signal: np.ndarray):
    many = trials.trials(signal, brain, n_repeats=200, preset=EASY, seed=1, average=True).samples
    recovered = (many - brain.baseline) / brain.scale
    clean = brain.noise < 3
    slope = (recovered * signal).sum(axis=0) / (signal**2).sum(axis=0)
    # A slope from 80 stimuli, noise / sqrt(200) each: standard error below 3 / sqrt(200 * 80) = .024.
    assert slope[clean] == pytest.approx(1, abs=0.12)
    null = PRESETS["null"]
    first = trials.trials(signal, brain, n_repeats=2, preset=null, seed=1).samples
    second = trials.trials(0 * signal, brain, n_repeats=2, preset=null, seed=1).samples
    assert (first == second).all()


def test_noise_depends_on_the_seed_alone(brain: voxels.Population, signal: np.ndarray):
    one, again, other = (trials.trials(signal, brain, n_repeats=2, preset=EASY, seed=s).samples for s in (1, 1, 2))
    assert (one == again).all()
    assert np.abs(one - other).min() >= 0
    assert (one != other).mean() > 0.99


def test_wandering_has_the_covariance_of_signals_and_averages_out(brain: voxels.Population, signal: np.ndarray):
    loud = replace(EASY, signal=0.0, noise=1e-6, wandering=3.0)
    quiet = replace(brain, noise=np.full_like(brain.noise, 1e-6))
    zero = np.zeros((4000, 300), np.float32)
    made = trials.trials(zero, quiet, n_repeats=1, preset=loud, seed=1, patterns=signal).samples
    found = np.cov(((made - brain.baseline) / brain.scale).T) / 9
    expected = signal.T @ signal / len(signal)
    assert np.abs(found - expected).max() < 6 * expected.max() / np.sqrt(4000)
    with pytest.raises(ValueError, match="needs patterns"):
        trials.trials(zero[:2], quiet, n_repeats=1, preset=loud, seed=1)
