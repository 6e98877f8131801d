"""How a generator's images are shown: as they are, or stretched to the whole range, as the published figures."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array

#: Percentiles that the published stretch clips at.
LOWEST, HIGHEST = 0.02, 99.98


def raw(images: Array) -> Array:
    """Clip images on 0-255 and return them on 0-1, float32: colours are absolute.

    >>> raw(np.array([-3.0, 51.0, 300.0])).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    return (np.clip(images, 0.0, 255.0) / 255.0).astype(np.float32)


def stretched(images: Array) -> Array:
    """Clip each image at its 0.02nd and 99.98th percentile and stretch it to 0-1, float32.

    Parameters
    ----------
    images
        (n, H, W, 3). Percentiles are taken over all values of an image, channels together. An image of one value
        becomes 0.
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    low, high = np.percentile(flat, [LOWEST, HIGHEST], axis=1)[..., None]
    clipped = np.clip(flat, low, high)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray(((clipped - low) / span).reshape(images.shape), np.float32)


def placed(images: Array, *, image_size: int, stimuli: tuple[int, int]) -> Array:
    """Put the middle of a stimulus back into its place, (n, *stimuli, 3) float32 in [0, 1].

    Parameters
    ----------
    images
        (n, crop, crop, 3) in [0, 1]: the middle of stimuli that were resized to `image_size`.
    image_size
        Height and width that stimuli were resized to.
    stimuli
        Their own height and width.

    Notes
    -----
    Resized by the factor by which stimuli were, bilinear; the margin around it repeats the nearest pixel.
    """
    from PIL import Image

    crop = images.shape[1]
    height, width = (round(crop * n / image_size) for n in stimuli)
    top, left = ((n - own) // 2 for n, own in zip(stimuli, (height, width), strict=True))
    margins = ((top, stimuli[0] - height - top), (left, stimuli[1] - width - left), (0, 0))
    found = []
    for image in images:
        resized = image
        if (height, width) != (crop, crop):
            channels = [
                np.asarray(Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BILINEAR))
                for c in range(3)
            ]
            resized = np.stack(channels, axis=-1)
        found.append(np.pad(resized, margins, mode="edge"))
    return np.stack(found).clip(0.0, 1.0).astype(np.float32)
