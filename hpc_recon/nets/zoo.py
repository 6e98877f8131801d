"""Networks by description: load one, list its layers, and say how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import FEATURES_ONLY, Network
from hpc_recon.core.text import closest
from hpc_recon.nets import architectures, foreign, weights
from hpc_recon.nets.identity import identity, preprocessing, weights_kind
from hpc_recon.nets.preprocess import Preprocess
from hpc_recon.nets.taps import Net, Tap, trace

Size = int | tuple[int, int]

#: Height and width at which every architecture runs to its end, as far as it takes sizes other than its own.
_LARGE = 224


@dataclass(frozen=True)
class Structure:
    """What is known of a network without its weights."""

    #: By layer name, in network order.
    taps: MappingProxyType[str, Tap]
    #: Number of parameters; 4 bytes each.
    n_parameters: int
    #: Why deeper layers are missing (images too small), or "".
    stopped: str = ""
    #: By module path: why a module that runs is not a layer.
    refused: Mapping[str, str] = field(default_factory=dict)


def input_size(network: Network, image_size: Size) -> tuple[int, int]:
    """Return (height, width) of the network's input: its own `image_size`, else that of the stimuli."""
    if network.image_size is not None:
        return network.image_size, network.image_size
    return (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])


def structure(network: Network, *, image_size: Size) -> Structure:
    """Return the layers of the network's architecture and their shapes; allocates nothing.

    Networks from elsewhere (`timm:`, `python:`) that the meta device cannot run are run once for real on a black image.

    Raises
    ------
    StudyError
        If the architecture is unknown.
    """
    return _structure(network.architecture, input_size(network, image_size))


@lru_cache(maxsize=32)
def _structure(architecture: str, size: tuple[int, int]) -> Structure:
    # Foreign networks are built for real, which must not touch anybody's random state.
    with torch.inference_mode(mode=False), torch.random.fork_rng(devices=[]):
        body = architectures.build_empty(architecture)
        with torch.device("meta"):
            taps, refused, stopped = trace(body, torch.zeros(1, 3, *size))
        if stopped and foreign.kind(architecture):
            taps, refused, stopped = trace(architectures.build(architecture), torch.zeros(1, 3, *size))
    named = architectures.caffe_names(architecture, body)
    if named is not None:
        taps = {layer: taps[path] for layer, path in named.items() if path in taps}
    n_parameters = sum(parameter.numel() for parameter in body.parameters())
    return Structure(MappingProxyType(taps), n_parameters, stopped, MappingProxyType(refused))


def loading_bytes(network: Network, *, image_size: Size) -> tuple[int, int]:
    """Return the bytes of a network's weights in memory, and the most that are held while they are loaded.

    A VGG is built without its classifier where no layer of it is wanted; a file is read whole all the same. Random
    weights are drawn one parameter at a time, and the largest may be most of them.
    """
    found = structure(network, image_size=image_size)
    built = found.n_parameters
    if not _has_classifier(network, {found.taps[layer].path for layer in network.layers}):
        built -= _classifier_parameters(network.architecture)
    from_file = weights_kind(network.weights) in ("file", "torchvision")
    return 4 * built, 4 * (built + (found.n_parameters if from_file else built))


@lru_cache(maxsize=8)
def _classifier_parameters(architecture: str) -> int:
    classifier = architectures.build_empty(architecture).get_submodule("classifier")
    return sum(parameter.numel() for parameter in classifier.parameters())


def _has_classifier(network: Network, paths: set[str]) -> bool:
    """Return whether a network is built whole: all are, but VGGs of which no layer of the classifier is wanted."""
    return not architectures.is_torchvision_vgg(network.architecture) or any(p.startswith("classifier") for p in paths)


def check(network: Network, *, image_size: Size, runs: bool = True) -> None:
    """Raise `StudyError` unless the network's weights are there (with their sha256) and its layers exist.

    For commands that run long before the network is needed. `runs`: whether its weights are needed at all
    (`Study.runs`); a network that is known by its features alone has neither weights nor layers here.
    """
    if runs:
        identity(network)
    if network.architecture != FEATURES_ONLY:
        check_layers(network, image_size=image_size)


def check_layers(network: Network, *, image_size: Size) -> None:
    """Raise `StudyError` naming every layer that the network does not have (and the closest), or not at that size."""
    found = structure(network, image_size=image_size)
    missing = [layer for layer in network.layers if layer not in found.taps]
    if not missing:
        return
    height, width = input_size(network, image_size)
    too_small = f"does not exist for images of {height} x {width} pixels ({found.stopped}); set image_size, as 224"
    large = structure(network.model_copy(update={"image_size": _LARGE}), image_size=_LARGE)
    whole = large.taps
    problems = []
    for layer in missing:
        if layer in found.refused:
            problems.append(f"layer {layer!r} of {network.architecture} {found.refused[layer]}")
        elif found.stopped and (layer in whole or not whole):
            problems.append(f"layer {layer!r} of {network.architecture} {too_small}")
        elif large.stopped:
            problems.append(
                f"layer {layer!r} of {network.architecture} is unknown, or behind the place where the network stops "
                f"({large.stopped}){closest(layer, whole)}"
            )
        else:
            problems.append(f"unknown layer {layer!r} of {network.architecture}{closest(layer, whole)}")
    raise StudyError("networks", problems)


def all_layers(network: Network, *, image_size: Size | None = None) -> list[str]:
    """Return every layer of the architecture, in network order.

    The order does not depend on the size; without `image_size` the network's own or 224 pixels are used.
    """
    return list(structure(network, image_size=image_size or network.image_size or _LARGE).taps)


def unit_shapes(network: Network, *, image_size: Size) -> dict[str, tuple[int, ...]]:
    """Return (channels, height, width), (tokens, dimensions) or (n_units,) of each of `network.layers`, in that order.

    Raises
    ------
    StudyError
        If a layer is unknown; all of them are named.
    """
    check_layers(network, image_size=image_size)
    taps = structure(network, image_size=image_size).taps
    return {layer: taps[layer].unit_shape for layer in network.layers}


def n_units(shape: tuple[int, ...]) -> int:
    """Return the number of units of a unit shape.

    >>> n_units((64, 8, 8))
    4096
    """
    return int(np.prod(shape))


def load(network: Network, *, image_size: Size, device: str = "cpu") -> Net:
    """Load a network: resizing and preprocessing from RGB in [0, 1] included, in evaluation mode, no gradients
    on weights.

    Parameters
    ----------
    image_size
        Height and width of the stimuli, pixels; used where the network has no `image_size` of its own.

    Raises
    ------
    StudyError, DataError
        As in `check_layers` and `weights.load_into`.

    Notes
    -----
    The last two networks of a process are kept, so that tiles of one worker share them; treat a net as
    read-only. Its copy in memory is 4 bytes a parameter.
    """
    check_layers(network, image_size=image_size)
    return _load(network, input_size(network, image_size), device, _stamp(network))


def _stamp(network: Network) -> str:
    """Return text that changes when the network's weights do (a file replaced under the same name)."""
    return str(sorted(identity(network).items(), key=str))


@lru_cache(maxsize=2)
def _load(network: Network, size: tuple[int, int], device: str, _stamp: str) -> Net:
    taps = _structure(network.architecture, size).taps
    # Tensors made in a caller's inference mode could never take part in a gradient.
    # torchvision's own initialisation must not touch anybody's random state.
    with torch.inference_mode(mode=False), torch.random.fork_rng(devices=[]):
        body = _body(network, {taps[layer].path for layer in network.layers})
        weights.load_into(body, network)
        preprocess = Preprocess(preprocessing(network))
        net = Net(body, preprocess=preprocess, size=size, taps=taps, transform=network.transform)
        return net.to(device).eval().requires_grad_(requires_grad=False)


def _body(network: Network, paths: set[str]) -> nn.Module:
    """Build the module; a VGG without its classifier unless one of its layers is wanted."""
    if not _has_classifier(network, paths):
        return architectures.build_convolutions(network.architecture)
    own_input = weights_kind(network.weights) == "torchvision"
    return architectures.build(network.architecture, torchvision_input=own_input)
