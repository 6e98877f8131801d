"""Caffe's networks: CaffeNet and AlexNet as modules, and `.caffemodel` files as state dicts.

Both have the state-dict keys of the published torch files (`features.<i>`, `classifier.<i>`). They differ in the order
of pooling and normalisation. Their input is 227 x 227, BGR on 0-255 minus the mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hpc_recon.core.errors import DataError
from hpc_recon.formats.caffemodel import open_caffemodel

#: Architectures whose only published weights are Caffe's.
ARCHITECTURES = ("caffenet", "alexnet_caffe")
_CLASSES = 1000
#: Parameters in the order of a layer's blobs.
_PARAMETERS = ("weight", "bias")


class _CaffeAlexNet(nn.Module):
    """Five convolutions, three of them in two groups, with response normalisation; three fully connected layers."""

    def __init__(self, *, pool_first: bool) -> None:
        super().__init__()
        first, second = ([nn.MaxPool2d(3, 2), _response_norm()] for _ in range(2))
        if not pool_first:
            first.reverse()
            second.reverse()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), *first),
            *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), *second),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))  # the identity at 227 x 227
        connected = [
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, _CLASSES),
        ]
        if pool_first:  # CaffeNet's published state dict counts two dropouts
            connected.insert(2, nn.Dropout())
            connected.insert(0, nn.Dropout())
        self.classifier = nn.Sequential(*connected)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class scores (n, 1000) of preprocessed images (n, 3, H, W)."""
        scores: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(start_dim=1))
        return scores


def build(architecture: str) -> nn.Module:
    """Return `caffenet` (BVLC's reference network: pooling, then normalisation) or `alexnet_caffe` (the reverse)."""
    return _CaffeAlexNet(pool_first=architecture == "caffenet")


def layer_names(body: nn.Module) -> dict[str, str]:
    """Return module paths by Caffe's layer names: conv1, relu1, pool1, norm1, ... fc6, relu6, fc7, relu7, fc8.

    `conv1` ... `fc8` are the outputs before the ReLU; in Caffe's own blobs of these names the ReLU has been applied in
    place, unless the prototxt was changed as the lab's was.
    """
    names: dict[str, str] = {}
    number = 0
    kinds: tuple[tuple[type[nn.Module], str], ...] = (
        (nn.Conv2d, "conv"),
        (nn.Linear, "fc"),
        (nn.ReLU, "relu"),
        (nn.MaxPool2d, "pool"),
        (nn.LocalResponseNorm, "norm"),
    )
    for part in ("features", "classifier"):
        for path, module in body.get_submodule(part).named_children():
            number += isinstance(module, (nn.Conv2d, nn.Linear))
            for kind, text in kinds:
                if isinstance(module, kind):
                    names[f"{text}{number}"] = f"{part}.{path}"
    return names


def leaky_average(body: nn.Module, *, slope: float = 0.2) -> None:
    """Replace every ReLU by a LeakyReLU and every max pooling by an average pooling, in place.

    The network of the imagery reconstructions of Shen et al. (2019); its weights are those of the plain network.
    """
    for parent in list(body.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.ReLU):
                setattr(parent, name, nn.LeakyReLU(slope))
            elif isinstance(module, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(module.kernel_size, module.stride, module.padding))


def read_state(
    path: Path, modules: Mapping[str, str], wanted: Mapping[str, Tensor], *, left_out: Collection[str] = ()
) -> dict[str, Tensor]:
    """Read a `.caffemodel` as a state dict.

    Parameters
    ----------
    modules
        Module path of each Caffe layer, as of `architectures.caffe_names`.
    wanted
        The module's own state dict: shapes count, values do not. Blobs that have the same shape but for axes of
        length 1 (legacy files: a bias is (1, 1, 1, n)) are reshaped; others keep their shape.
    left_out
        Keys that are not read.

    Returns
    -------
    dict
        Float32 tensors by key; a layer that `modules` does not know keeps its own name, so that
        `weights.require_match` names it.

    Raises
    ------
    DataError
        If the file is not a `.caffemodel`, or a layer has more blobs than a weight and a bias.
    """
    state: dict[str, Tensor] = {}
    for layer, blobs in open_caffemodel(path).layers.items():
        if len(blobs) > len(_PARAMETERS):
            raise DataError(
                f"{path}: layer {layer!r} has {len(blobs)} blobs, but a convolution or fully connected layer has a "
                "weight and a bias; this network has other kinds of layers, so give its weights as a torch state dict"
            )
        for parameter, blob in zip(_PARAMETERS, blobs, strict=False):  # a layer may have no bias
            key = f"{modules.get(layer, layer)}.{parameter}"
            if key in left_out:
                continue
            values = torch.from_numpy(blob.read()).float()
            shape = tuple(wanted[key].shape) if key in wanted else ()
            state[key] = values.reshape(shape) if _without_ones(shape) == _without_ones(blob.shape) else values
    return state


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _response_norm() -> nn.LocalResponseNorm:
    """Across 5 channels; torch divides alpha by the number of channels as Caffe does."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
