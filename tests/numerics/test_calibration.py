"""Calibration of latents: lengths and moments become those asked for; correlations stay."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics import calibration

RNG = np.random.default_rng(3)


def test_latents_get_the_length_of_a_standard_normal_one_in_their_own_direction():
    z = RNG.normal(size=(5, 16)) * 0.2
    made = calibration.to_norm(z)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 4.0, rtol=1e-6)
    np.testing.assert_allclose(made / 4, z / np.linalg.norm(z, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(calibration.to_norm(z, 2.5), axis=1), 2.5, rtol=1e-6)


def test_a_zero_latent_has_no_direction():
    with pytest.raises(ValueError, match="latent 1 is zero"):
        calibration.to_norm(np.array([[1.0, 0], [0, 0]]))


def test_shrunken_predictions_get_the_moments_of_training_and_keep_their_correlations():
    true = RNG.normal(1.0, 2.0, size=(4000, 3))
    predicted = 0.3 * true + RNG.normal(size=true.shape) * 0.1 + 5
    made = calibration.matched(predicted, source=calibration.moments(predicted), target=calibration.moments(true))
    np.testing.assert_allclose(made.mean(0), true.mean(0), atol=1e-4)
    np.testing.assert_allclose(made.std(0), true.std(0), rtol=1e-4)
    for j in range(3):
        before, after = (np.corrcoef(x[:, j], true[:, j])[0, 1] for x in (predicted, made))
        assert before == pytest.approx(after, abs=1e-6)


def test_a_number_that_does_not_vary_becomes_the_mean():
    source, target = (np.zeros(2), np.array([0.0, 1.0])), (np.array([7.0, 0.0]), np.ones(2))
    np.testing.assert_array_equal(calibration.matched(np.array([[3.0, 2.0]]), source=source, target=target), [[7, 2]])
