from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.methods import reliability


def test_residual_weights_are_inverse_variances_of_mean_one():
    found = reliability.residual_weights(np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(found, np.array([1, 0.5, 0.25]) / 1.75 * 3, rtol=1e-6)


def test_a_unit_without_residual_does_not_take_all():
    found = reliability.residual_weights(np.array([0.0, 1.0, 1.0]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1:] / found[0], 1e-3, rtol=1e-5)


def test_calibration_undoes_shrinkage_and_weighs_by_precision():
    """Oracle: a linear Gaussian model whose posterior mean is known; regression finds the slope and the noise."""
    rng = np.random.default_rng(0)
    n, mean, scale = 200_000, np.array([2.0, -1.0]), np.array([3.0, 0.5])
    t = rng.standard_normal((n, 2))
    noise = np.array([0.5, 2.0])  # of the measurement of t
    measured = t + noise * rng.standard_normal((n, 2))
    decoded_z = measured / (1 + noise**2)  # the posterior mean of t
    decoded = mean + scale * decoded_z
    r = np.array([np.corrcoef(t[:, j], decoded_z[:, j])[0, 1] for j in range(2)])
    made, weights = reliability.calibrated(decoded, correlation=r, mean=mean, scale=scale)
    undone = (made - mean) / scale
    for j in range(2):
        slope, _ = np.polyfit(t[:, j], undone[:, j], 1)
        assert slope == pytest.approx(1.0, abs=0.02)
    precision = 1 / np.var(made - mean - scale * t, axis=0)
    assert weights[0] / weights[1] == pytest.approx(precision[0] / precision[1], rel=0.05)


def test_units_that_were_not_decoded_count_for_nothing():
    r, scale = np.array([0.05, -0.9, np.sqrt(0.5), 1.0, 0.9]), np.array([1.0, 1, 1, 1, 0])
    made, weights = reliability.calibrated(np.ones((1, 5)), correlation=r, mean=np.zeros(5), scale=scale)
    assert (weights == 0).tolist() == [True, True, False, False, True]
    np.testing.assert_allclose(weights[3] / weights[2], 99, rtol=1e-5)
    np.testing.assert_allclose(made[0], [1, 1, 2, 1 / 0.99, 1], rtol=1e-6)
    assert weights.mean() == pytest.approx(1)


def test_a_layer_without_any_reliable_unit_has_no_weight():
    _, weights = reliability.calibrated(np.ones((1, 2)), correlation=np.zeros(2), mean=np.zeros(2), scale=np.ones(2))
    assert not weights.any()
