from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.fft import dctn, idctn

from hpc_recon.methods import filters


def images(n: int = 2, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n, 3, height, width)) * 50)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 2.0, 3.7])
def test_blur_is_scipys(sigma: float):
    found = filters.blur(images(), sigma).numpy()
    for made, image in zip(found, images().numpy(), strict=True):
        expected = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in image])
        np.testing.assert_allclose(made, expected, rtol=1e-10, atol=1e-12)


def test_each_image_is_rolled_by_its_own_offsets():
    found = filters.shift(images(), [(1, -2), (0, 3)]).numpy()
    given = images().numpy()
    np.testing.assert_array_equal(found[0], np.roll(np.roll(given[0], 1, -1), -2, -2))
    np.testing.assert_array_equal(found[1], np.roll(given[1], 3, -2))


@pytest.mark.parametrize("percent", [0.0, 5.0, 33.0])
def test_extremes_are_clipped_at_numpys_percentiles(percent: float):
    for made, image in zip(filters.clip_extreme(images(), percent).numpy(), images().numpy(), strict=True):
        ends = np.percentile(image, [percent / 2, 100 - percent / 2])
        np.testing.assert_allclose(made, np.clip(image, *ends), rtol=1e-12)


def test_small_pixels_become_zero_in_all_channels():
    sizes = images() ** 2
    found = filters.clip_small(images(), sizes, 20.0).numpy()
    for made, image, size in zip(found, images().numpy(), sizes.numpy(), strict=True):
        norm = np.sqrt((size**2).sum(axis=0))
        small = norm < np.percentile(norm, 20)
        assert small.sum() == 13  # of 63
        np.testing.assert_array_equal(made, np.where(small, 0.0, image))


def test_stretched_images_fill_the_range():
    made = filters.stretch(images())
    assert (float(made.min()), float(made.max())) == (0.0, 1.0)
    assert bool((filters.stretch(torch.full((1, 3, 4, 4), 7.0)) == 0).all())


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_the_gradient_of_the_p_norm(exponent: float):
    x = images().requires_grad_()
    (expected,) = torch.autograd.grad((x.abs() ** exponent).sum(), x)
    torch.testing.assert_close(filters.p_norm_gradient(x.detach(), exponent), expected)


def test_pixels_of_mean_colour_have_no_gradient_of_a_p_norm_below_1():
    """0^(p - 1) times a sign of 0 was NaN, which a clipping that sets pixels to 0 spread over the image."""
    found = filters.p_norm_gradient(torch.tensor([[-4.0, 0.0, 4.0]]), 0.5)
    torch.testing.assert_close(found, torch.tensor([[-0.25, 0.0, 0.25]]))


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.5])
def test_the_gradient_of_the_total_variation(exponent: float):
    """Oracle: autograd through the same forward differences."""
    x = images().requires_grad_()
    down = torch.nn.functional.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 1))
    right = torch.nn.functional.pad(x[:, :, :, 1:] - x[:, :, :, :-1], (0, 1))
    r2 = down.square() + right.square()
    v = torch.where(r2 > 0, r2, torch.ones_like(r2)) ** (exponent / 2) * (r2 > 0)
    (expected,) = torch.autograd.grad(v.sum(), x)
    torch.testing.assert_close(filters.total_variation_gradient(x.detach(), exponent), expected)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_natural_filter_multiplies_the_cosine_transform(power: float):
    """Oracle: scipy's DCT-II, which mirrors in the same way; factors have mean 1 over the frequencies of the FFT."""
    x = images()
    height, width = x.shape[-2:]

    def factors(down: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (down[:, None] ** 2 + right[None] ** 2 + 1 / max(height, width) ** 2) ** (-power / 2)

    mean = factors(np.fft.fftfreq(2 * height), np.fft.rfftfreq(2 * width)).mean()
    own = factors(np.arange(height) / (2 * height), np.arange(width) / (2 * width)) / mean
    expected = idctn(dctn(x.numpy(), axes=(-2, -1)) * own, axes=(-2, -1))
    np.testing.assert_allclose(filters.natural(x, power).numpy(), expected, atol=1e-10)


def test_the_natural_filter_is_symmetric_and_positive():
    matrix = filters.natural(torch.eye(20, dtype=torch.float64).reshape(20, 1, 4, 5), 2.0).reshape(20, 20).numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0
