"""Further scores of images: errors, SSIM of grey images in both published forms, SSIM between all pairs.

Conventions as in `numerics.scores`: image i belongs to stimulus i, or to `target[i]`; values in [0, 1] unless said.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from skimage.color import rgb2gray

from hpc_recon.core.array import Array
from hpc_recon.numerics.scores import ssim, structural


def rmse(images: Array, stimuli: Array) -> Array:
    """Return the root mean squared difference over all pixels and channels, (n,) float64, in the images' unit.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if images.shape != stimuli.shape:
        raise ValueError(f"both arrays must have one shape, item by item, got {images.shape} and {stimuli.shape}")
    gap = np.asarray(images, np.float64) - np.asarray(stimuli, np.float64)
    return np.asarray(np.sqrt((gap**2).reshape(len(gap), -1).mean(axis=1)))


def psnr(images: Array, stimuli: Array) -> Array:
    """Return the peak signal to noise ratio of images in [0, 1], -20 log10(rmse) in dB, (n,) float64.

    NaN for an image that is equal to its stimulus: it has no noise, and a mean over images would be infinite.
    """
    error = rmse(images, stimuli)
    return np.asarray(-20 * np.log10(np.where(error > 0, error, np.nan)))


def euclidean_similarity(images: Array, stimuli: Array) -> Array:
    """Return minus the Euclidean distance over pixels and channels of every image and stimulus, (n, m) float64."""
    pixels = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (images, stimuli)]
    return np.asarray(-cdist(*pixels, "euclidean"))


def ssim_similarity(images: Array, stimuli: Array) -> Array:
    """Return `scores.ssim` of every image with every stimulus, (n, m) float64; NaN for images below 11 pixels.

    Notes
    -----
    Time: n x m SSIMs. Memory: one image repeated m times.
    """
    return np.stack([ssim(np.broadcast_to(image, stimuli.shape), stimuli) for image in images])


def grey(images: Array) -> Array:
    """Return the luminance of RGB images as scikit-image has it: .2125 R + .7154 G + .0721 B, (n, H, W) float64."""
    return np.asarray(rgb2gray(np.asarray(images, np.float64)))


def ssim_grey(images: Array, stimuli: Array, *, columns: bool = False) -> Array:
    """Return the SSIM of grey images: Gaussian window of sigma 1.5, population covariance, range 1.

    Parameters
    ----------
    images, stimuli
        (n, H, W) in [0, 1].
    columns
        The mean over columns of one-dimensional SSIMs. This is what `multichannel=True` computed for grey images before
        scikit-image 0.20, and what some published figures therefore are; it is not the SSIM of images.

    Returns
    -------
    Array
        (n,) float64; NaN for images smaller than the window of 11 pixels.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, H, W).
    """
    if images.shape != stimuli.shape or images.ndim != 3:
        raise ValueError(f"both arrays must be (n, H, W), item by item, got {images.shape} and {stimuli.shape}")
    return structural(images, stimuli, channel_axis=-1 if columns else None)
