"""From RGB images in [0, 1] to what a network's weights expect."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Channel means and standard deviations of ImageNet, RGB on [0, 1]; torchvision's weights were trained with them.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SCALE = (0.229, 0.224, 0.225)
#: Channel means of the Caffe networks, BGR on [0, 255] (means over `ilsvrc_2012_mean.npy`).
CAFFE_MEAN = (104.00698793, 116.66876762, 122.67891434)
#: Mean and scale by kind.
_CONSTANTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": (_IMAGENET_MEAN, _IMAGENET_SCALE),
    "caffe": (CAFFE_MEAN, (1.0, 1.0, 1.0)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


class Preprocess(nn.Module):
    """Reorder the channels, multiply, subtract the mean, divide by the scale: `(x[order] * factor - mean) / scale`.

    Parameters
    ----------
    kind
        `imagenet` (RGB, mean and standard deviation of ImageNet), `caffe` (BGR on 0-255, mean subtracted), `half`
        (RGB, to -1 ... 1), `clip` (RGB, mean and standard deviation of OpenAI's CLIP) or `none`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in _CONSTANTS:
            raise ValueError(f"preprocessing must be one of {', '.join(_CONSTANTS)}, got {kind!r}")
        self.kind = kind
        mean, scale = _CONSTANTS[kind]
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).reshape(1, 3, 1, 1))

    def mean_rgb(self) -> Tensor:
        """Return the colour that becomes zero, RGB on [0, 1], (3, 1, 1); black where nothing is subtracted."""
        mean = self.mean[0]
        return mean.flip(0) / 255.0 if self.kind == "caffe" else mean.clone()

    def forward(self, images: Tensor) -> Tensor:
        """Return images (n, 3, H, W) as the weights expect them; differentiable."""
        if self.kind == "none":
            return images
        if self.kind == "caffe":
            images = images.flip(1) * 255.0
        return (images - self.mean) / self.scale


class Luminance(nn.Module):
    """Rec. 601 luminance: RGB (n, 3, H, W) to (n, 1, H, W); grey images keep their values."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor((0.299, 0.587, 0.114)).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the weighted sum of the three channels."""
        return (images * self.weights).sum(dim=1, keepdim=True)


class Clip(nn.Module):
    """Values into [0, 1]: bicubic enlargement overshoots at edges, and pixels are colours."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the images clipped."""
        return images.clamp(0.0, 1.0)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images (n, C, H, W) at `size` (height, width), bicubic with antialiasing; differentiable.

    Images of that size already come back as they are. Values may overshoot [0, 1] at edges, as with any bicubic filter.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return functional.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
