"""The architectures: a module without meaningful weights yet, and the names of its layers.

VGG layers carry their Caffe names: `conv3_2` is what the ReLU after that convolution receives (with batch
normalisation, the normalised output), `fc6` ... `fc8` the outputs of the fully connected layers. CaffeNet and AlexNet
have Caffe's names too. Layers of any other network, of torchvision, timm or your own, are named by module path
(`features.0`, `layer1.0.conv1`, `blocks.3.mlp`).

torchvision is imported where one of its networks is asked for: that takes as long as torch itself, in every worker.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import SHAPE_ARCHITECTURES
from hpc_recon.core.text import closest
from hpc_recon.nets import caffe, foreign, shape_targets
from hpc_recon.nets.preprocess import Clip, Luminance

#: Widths of the convolutions of VGG-11 (Simonyan & Zisserman 2015, configuration A); 0 is a max pooling, of which the
#: last is left out.
_VGG11 = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512)
_OWN = (
    *("pixels", "pixels_gray", "vgg11_quarter", "vgg11_features", "vgg_normalised", "vgg19_leaky_avg"),
    *caffe.ARCHITECTURES,
    *SHAPE_ARCHITECTURES,
)


@lru_cache(maxsize=1)
def known() -> tuple[str, ...]:
    """Return the names of all architectures."""
    models = _models()
    return (*_OWN, *models.list_models(module=models))


def check(architecture: str) -> None:
    """Raise `StudyError` with the closest name unless the architecture is known."""
    if foreign.kind(architecture):
        foreign.check(architecture)
    elif architecture not in _OWN and architecture not in known():
        raise StudyError("networks", [f"unknown architecture {architecture!r}{closest(architecture, known())}"])


def build(architecture: str, *, torchvision_input: bool = False) -> nn.Module:
    """Build the module of an architecture on torch's current default device; its weights mean nothing yet.

    Parameters
    ----------
    torchvision_input
        The weights will be torchvision's own: two networks (GoogLeNet, Inception) then shift their input.

    Notes
    -----
    In-place activations are made out-of-place, so that an activation once read stays what it was.
    """
    check(architecture)
    if architecture == "pixels":
        body: nn.Module = nn.Sequential(Clip())
    elif architecture == "pixels_gray":
        body = nn.Sequential(Clip(), Luminance())
    elif architecture in SHAPE_ARCHITECTURES:
        body = shape_targets.Shape(architecture)
    elif architecture == "vgg11_quarter":
        body = nn.Sequential(OrderedDict(features=_convolutions([width // 4 for width in _VGG11])))
    elif architecture == "vgg11_features":  # torchvision's VGG-11 without its fully connected layers
        body = nn.Sequential(OrderedDict(features=_convolutions((*_VGG11, 0))))
    elif architecture == "vgg_normalised":
        body = _vgg_normalised()
    elif architecture == "vgg19_leaky_avg":
        body = _torchvision("vgg19", init_weights=False)
        caffe.leaky_average(body)
    elif architecture in caffe.ARCHITECTURES:
        body = caffe.build(architecture)
    elif foreign.kind(architecture):
        body = foreign.build(architecture)
    else:
        extra: dict[str, Any] = {}
        if architecture in ("googlenet", "inception_v3"):
            extra = {"init_weights": False, "transform_input": torchvision_input}
        body = _torchvision(architecture, **extra)
    for module in body.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return body.eval()


def _torchvision(architecture: str, **options: Any) -> nn.Module:
    body: nn.Module = _models().get_model(architecture, weights=None, **options)
    return body


def _models() -> Any:
    """Return torchvision's models; torch 2.6 computes while it imports them, also where only shapes are built."""
    with torch.device("cpu"):
        import torchvision

    return torchvision.models


def _convolutions(widths: Sequence[int]) -> nn.Sequential:
    """Build 3 x 3 convolutions with ReLUs and poolings, in the order and under the names of torchvision's VGGs."""
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if width == 0:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def build_empty(architecture: str) -> nn.Module:
    """Build the module on the meta device: shapes only, nothing allocated.

    RegNets compute with tensors while they are built, which the meta device cannot: they are built for real
    and moved. So are networks from elsewhere, which may do the same.
    """
    if architecture.startswith("regnet") or foreign.kind(architecture):
        return build(architecture).to("meta")
    with torch.device("meta"):
        return build(architecture)


def build_convolutions(architecture: str) -> nn.Module:
    """Build a torchvision VGG without its classifier, which holds most of the parameters; weights are undefined."""
    body = build_empty(architecture)
    body.classifier = nn.Identity()
    body = body.to_empty(device="cpu")
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return body.eval()


def is_torchvision_vgg(architecture: str) -> bool:
    """Return whether this is one of torchvision's VGGs, or has its module tree.

    >>> is_torchvision_vgg("vgg19_bn"), is_torchvision_vgg("vgg11_quarter")
    (True, False)
    """
    return re.fullmatch(r"vgg\d\d(_bn|_leaky_avg)?", architecture) is not None


def caffe_names(architecture: str, body: nn.Module) -> dict[str, str] | None:
    """Return module paths by layer name in network order, or None where layers are named by their module path."""
    if architecture in ("pixels", "pixels_gray"):
        return {"pixels": str(len(body) - 1)}  # type: ignore[arg-type]
    if architecture in SHAPE_ARCHITECTURES:
        return shape_targets.layers()
    if architecture == "vgg_normalised":
        return _name_convolutions(body, prefix="", skip=1)
    if architecture in caffe.ARCHITECTURES:
        return caffe.layer_names(body)
    if not re.fullmatch(r"vgg(11_quarter|11_features|\d\d(_bn|_leaky_avg)?)", architecture):
        return None
    names = _name_convolutions(body.get_submodule("features"), prefix="features.", skip=0)
    if architecture not in ("vgg11_quarter", "vgg11_features"):
        names |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    return names


def _name_convolutions(features: nn.Module, *, prefix: str, skip: int) -> dict[str, str]:
    """Name the convolutions of a VGG-like sequence `conv<block>_<number>`, leaving out the first `skip`."""
    names: dict[str, str] = {}
    block, number, seen = 1, 0, 0
    for path, module in features.named_children():
        if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            block, number = block + 1, 0
        elif isinstance(module, nn.Conv2d):
            seen += 1
            if seen > skip:
                number += 1
                names[f"conv{block}_{number}"] = prefix + path
        elif isinstance(module, nn.BatchNorm2d):
            names[f"conv{block}_{number}"] = prefix + path
    return names


def _vgg_normalised() -> nn.Sequential:
    """VGG-19 up to conv3_1 with reflection padding; the 1x1 convolution in front is its preprocessing."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256):
        if width == 0:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, width, 3), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)
