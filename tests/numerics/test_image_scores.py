"""Errors and SSIMs of images, against scikit-image and formulas written out.

Why not torchmetrics: its SSIM (1.9) also averages over the border of 5 pixels, whose windows reach into a mirror image,
so it is another number: .001 to .008 apart on images of 40 x 48 pixels, and equal to 8 decimals to the formula without
its crop. PSNR, RMSE and Pearson's r are the same (largest difference 6e-7). Its import takes twice as long as torch's.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from hpc_recon.numerics import image_scores, scores


@pytest.fixture
def pairs():
    rng = np.random.default_rng(2)
    stimuli = rng.random((4, 20, 24, 3))
    return np.clip(stimuli + 0.3 * rng.normal(size=stimuli.shape), 0, 1), stimuli


def test_errors_are_those_of_scikit_image(pairs):
    for i, (a, b) in enumerate(zip(*pairs, strict=True)):
        assert image_scores.rmse(*pairs)[i] == pytest.approx(np.sqrt(mean_squared_error(a, b)))
        assert image_scores.psnr(*pairs)[i] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1))
    same = image_scores.psnr(pairs[1], pairs[1])
    assert np.isnan(same).all()
    assert image_scores.rmse(pairs[1], pairs[1]).tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="one shape"):
        image_scores.rmse(pairs[0], pairs[1][:2])


def test_similarities_of_all_pairs(pairs):
    made, stimuli = pairs
    alike, near = image_scores.ssim_similarity(made, stimuli[:3]), image_scores.euclidean_similarity(made, stimuli[:3])
    assert alike.shape == near.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert alike[i, j] == pytest.approx(scores.ssim(made[i : i + 1], stimuli[j : j + 1])[0])
            assert near[i, j] == pytest.approx(-np.sqrt(((made[i] - stimuli[j]) ** 2).sum()))


def _ssim(a, b, axes):
    """SSIM by its formula: Gaussian means along `axes`, borders of five pixels left out."""

    def mean(x):
        for axis in axes:
            x = gaussian_filter1d(x, 1.5, axis=axis, truncate=3.5, mode="reflect")
        return x

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    full = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    return full[tuple(slice(5, -5) if axis in axes else slice(None) for axis in range(2))].mean()


def test_the_two_published_forms_of_ssim_are_two_functions(pairs):
    grey = [image_scores.grey(x) for x in pairs]
    np.testing.assert_allclose(grey[0], pairs[0] @ [0.2125, 0.7154, 0.0721])
    true, columns = image_scores.ssim_grey(*grey), image_scores.ssim_grey(*grey, columns=True)
    for i, (a, b) in enumerate(zip(*grey, strict=True)):
        assert true[i] == pytest.approx(_ssim(a, b, (0, 1)))
        assert columns[i] == pytest.approx(_ssim(a, b, (0,)))  # down each column, mean over columns
    assert np.abs(true - columns).max() > 0.01
    assert np.isnan(image_scores.ssim_grey(grey[0][:, :10], grey[1][:, :10])).all()
    with pytest.raises(ValueError, match=r"\(n, H, W\)"):
        image_scores.ssim_grey(*pairs)
