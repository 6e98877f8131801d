"""Curves of accuracy: against known ones, scipy's general fit, and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from hpc_recon.numerics import saturation

SIZES = np.array([60.0, 90, 120, 180, 240, 360, 480])


def curve(n, a, b):
    return a * np.sqrt(n / (n + b))


def test_curves_that_are_there_are_found():
    truth = [(0.3, 50.0), (0.6, 400.0), (0.9, 4000.0)]
    found = saturation.fit(SIZES, np.stack([curve(SIZES, *pair) for pair in truth]), link="correlation")
    np.testing.assert_allclose(np.stack([found.a, found.b], axis=1), truth, rtol=1e-3)
    np.testing.assert_allclose(found.at(2000.0), [curve(2000.0, *pair) for pair in truth], rtol=1e-4)
    assert found.at(SIZES).shape == (3, 7)


def test_noisy_values_have_the_least_squares_of_scipys_general_fit():
    rng = np.random.default_rng(0)
    values = curve(SIZES, 0.4, 150.0) + 0.01 * rng.normal(size=(20, 7))
    found = saturation.fit(SIZES, values, link="correlation")
    for row, a, b in zip(values, found.a, found.b, strict=True):
        own = np.square(curve(SIZES, a, b) - row).sum()
        limits = ([0, SIZES[0] / 100], [1, 1000 * SIZES[-1]])
        (a2, b2), _ = optimize.curve_fit(curve, SIZES, row, p0=(0.4, 150), bounds=limits, xtol=1e-12, ftol=1e-12)
        assert own <= np.square(curve(SIZES, a2, b2) - row).sum() * (1 + 1e-6)


def test_identification_is_a_curve_on_the_normal_scale():
    found = saturation.fit(SIZES, stats.norm.cdf(curve(SIZES, 2.5, 300.0))[None], link="identification")
    assert (found.a[0], found.b[0]) == pytest.approx((2.5, 300.0), rel=1e-3)
    assert found.at(1e9)[0] == pytest.approx(stats.norm.cdf(2.5))
    assert np.isfinite(saturation.fit(SIZES, np.ones((1, 7)), link="identification").at(1e4)).all()


def test_what_does_not_rise_ends_at_chance_and_what_does_not_level_off_stays_below_one():
    nothing = saturation.fit(SIZES, np.full((1, 7), -0.02), link="correlation")
    assert nothing.a[0] == 0
    assert nothing.at(1e6)[0] == 0
    straight = saturation.fit(SIZES, 0.02 * np.sqrt(SIZES)[None], link="correlation")
    assert straight.at(1e9)[0] <= 1
    flat = saturation.fit(SIZES, np.full((1, 7), 0.3), link="correlation")
    assert flat.at(1e5)[0] == pytest.approx(0.3, abs=2e-3)


def test_draws_and_units_are_drawn_again():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 3, 30)) + np.arange(4)[:, None, None] + rng.normal(size=30)
    found = saturation.resampled_means(values, resamples=2000, seed=0)
    loop = np.array(
        [
            values[rng.integers(0, 4, 4)][:, :, rng.integers(0, 30, 30)].mean(axis=(0, 2))
            for _ in range(2000)
        ]
    )  # fmt: skip
    np.testing.assert_allclose(found.mean(axis=0), values.mean(axis=(0, 2)), atol=0.06)  # 5 standard errors
    np.testing.assert_allclose(np.cov(found.T), np.cov(loop.T), atol=0.06)
    np.testing.assert_array_equal(found[:5], saturation.resampled_means(values, resamples=2000, seed=0)[:5])


def test_small_sizes_foretell_the_largest():
    rng = np.random.default_rng(2)
    units = rng.uniform(0.2, 0.5, 40)
    values = np.stack([curve(SIZES, 1.0, 200.0)[:, None] * units + 0.02 * rng.normal(size=(7, 40)) for _ in range(4)])
    values[:, :, 0] = np.nan
    found = saturation.fit_resampled(SIZES, values, link="correlation", confidence=0.9, resamples=200, seed=3)
    np.testing.assert_allclose(found.mean, values[:, :, 1:].mean(axis=(0, 2)))
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()
    told = found.foretold
    assert told.n_sizes == 5
    assert told.measured == found.mean[-1]
    assert told.low < told.predicted < told.high
    assert told.low < told.measured < told.high
    small = saturation.fit(SIZES[:5], found.mean[None, :5], link="correlation")
    assert told.predicted == pytest.approx(small.at(480.0)[0])
    value, low, high = found.at(960.0)
    assert found.mean[-1] < value < 0.5
    assert low < value < high


def test_two_small_sizes_foretell_nothing():
    values = np.random.default_rng(0).uniform(0.1, 0.2, size=(2, 3, 5))
    found = saturation.fit_resampled(np.array([1.0, 2, 4]), values, link="correlation", confidence=0.9, resamples=100,
                                     seed=0)  # fmt: skip
    assert found.foretold is None


@pytest.mark.parametrize(
    ("sizes", "values"),
    [([5.0, 5.0], np.ones((1, 2))), ([0.0, 5.0], np.ones((1, 2))), ([1.0, 2.0], np.full((1, 2), np.nan)),
     ([1.0, 2.0], np.ones((1, 3)))],
)  # fmt: skip
def test_what_is_no_curve_is_refused(sizes, values):
    with pytest.raises(ValueError, match=r"must be finite|two different sizes"):
        saturation.fit(np.array(sizes), values, link="correlation")
    with pytest.raises(ValueError, match="none of them 0"):
        saturation.resampled_means(np.ones((2, 3, 0)), resamples=10, seed=0)
