"""What the published gradient descent does to images between its steps; each image of a batch by itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Standard deviations at which a Gaussian is cut off.
_TRUNCATE = 4.0
#: Smallest v = r^beta in the gradient of the total variation, whose exponent may be negative.
_SMALLEST = 1e-5


def blur(images: Tensor, sigma: float) -> Tensor:
    """Return images (n, C, H, W) convolved with a Gaussian of `sigma` pixels, cut off at 4 sigma.

    Beyond the border the image is mirrored with its edge repeated (d c b a | a b c d | d c b a). Sigma 0
    changes nothing.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return images
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    n, channels, height, width = images.shape
    flat = images.reshape(n * channels, 1, height, width)
    flat = functional.conv2d(flat[:, :, _mirrored(height, radius, images)], kernel.reshape(1, 1, -1, 1))
    flat = functional.conv2d(flat[:, :, :, _mirrored(width, radius, images)], kernel.reshape(1, 1, 1, -1))
    return flat.reshape(images.shape)


def natural(images: Tensor, power: float) -> Tensor:
    """Return images (n, C, H, W) with each frequency f multiplied by `1 / (f0^2 + f^2)^(power / 2)`, f0 = 1 / side.

    f in cycles a pixel, side the larger of H and W. The image goes on mirrored beyond its border, which makes the
    filter symmetric and positive. Powers 1 and 2 are the amplitude and the power spectrum of natural images (Field
    1987). Factors have mean 1 over frequencies. Power 0 changes nothing.
    """
    height, width = images.shape[-2:]
    down = torch.fft.fftfreq(2 * height, device=images.device, dtype=images.dtype)
    right = torch.fft.rfftfreq(2 * width, device=images.device, dtype=images.dtype)
    squared = down[:, None].square() + right[None].square() + 1.0 / max(height, width) ** 2
    factor = squared ** (-power / 2)
    mirrored = torch.cat([images, images.flip(-1)], dim=-1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], dim=-2)
    spectrum = torch.fft.rfft2(mirrored) * (factor / factor.mean())
    made: Tensor = torch.fft.irfft2(spectrum, s=(2 * height, 2 * width))
    return made[..., :height, :width].contiguous()


def _mirrored(n: int, radius: int, like: Tensor) -> Tensor:
    """Return the rows that stand at -radius ... n + radius - 1."""
    index = torch.arange(-radius, n + radius, device=like.device) % (2 * n)
    return torch.where(index < n, index, 2 * n - 1 - index)


def shift(images: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """Return images (n, C, H, W), each rolled by its own (right, down) pixels; what leaves comes in opposite."""
    rolled = [
        torch.roll(image, (right, down), dims=(-1, -2)) for image, (right, down) in zip(images, offsets, strict=True)
    ]
    return torch.stack(rolled)


def clip_extreme(images: Tensor, percent: float) -> Tensor:
    """Return images clipped at their percentiles percent / 2 and 100 - percent / 2, over pixels and channels."""
    flat = images.flatten(start_dim=1)
    ends = _percentiles(flat, [percent / 2, 100 - percent / 2])
    return torch.minimum(torch.maximum(flat, ends[:, :1]), ends[:, 1:]).reshape(images.shape)


def clip_small(images: Tensor, sizes: Tensor, percent: float) -> Tensor:
    """Return images with 0 in every channel of the pixels whose size is below the percentile.

    Parameters
    ----------
    sizes
        (n, C, H, W): the norm over channels is the size of a pixel.
    """
    norm = sizes.square().sum(dim=1, keepdim=True).sqrt()
    least = _percentiles(norm.flatten(start_dim=1), [percent])
    return images.masked_fill(norm < least.reshape(-1, 1, 1, 1), 0.0)


def stretch(images: Tensor, percent: float = 4.0) -> Tensor:
    """Return images clipped by `clip_extreme`, then moved to 0 ... 1; an image of one value becomes 0."""
    flat = clip_extreme(images, percent).flatten(start_dim=1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    return ((flat - low) / span).reshape(images.shape)


def _percentiles(flat: Tensor, percents: list[float]) -> Tensor:
    """Return percentiles of each row with linear interpolation, (n, len(percents))."""
    shares = torch.tensor([min(max(p, 0.0), 100.0) / 100 for p in percents], dtype=flat.dtype, device=flat.device)
    return torch.stack([torch.quantile(row, shares) for row in flat])


def p_norm_gradient(images: Tensor, exponent: float) -> Tensor:
    """Return the gradient of sum |x|^p: p |x|^(p - 1) sign(x); 0 where x is 0, also for p below 1."""
    size = torch.where(images == 0, torch.ones_like(images), images.abs())
    return exponent * size ** (exponent - 1) * images.sign()


def total_variation_gradient(images: Tensor, exponent: float) -> Tensor:
    """Return the gradient of sum v, v = r^beta, r^2 = dx^2 + dy^2, by forward differences, 0 at the far edges.

    Where v is below 1e-5 it is taken for 1e-5, as published: for beta < 2 the slope at r = 0 would be infinite.
    """
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[:, :, :-1] = images[:, :, 1:] - images[:, :, :-1]
    right[:, :, :, :-1] = images[:, :, :, 1:] - images[:, :, :, :-1]
    v = (down.square() + right.square()).sqrt() ** exponent
    factor = v.clamp_min(_SMALLEST) ** ((exponent - 2) / exponent)
    down, right = factor * down, factor * right
    gradient = -(down + right)
    gradient[:, :, 1:] += down[:, :, :-1]
    gradient[:, :, :, 1:] += right[:, :, :, :-1]
    return exponent * gradient
