"""What identifies a network's features: architecture, weights by content, input size. Needs no torch."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import sha256
from hpc_recon.core.network_options import PIXEL_ARCHITECTURES, SHAPE_ARCHITECTURES, Network
from hpc_recon.core.weights import WORDS

#: torchvision's weights of architectures that also have Caffe weights, by the first digits of their sha256 (they stand
#: in torchvision's file names). Its third VGG16, IMAGENET1K_FEATURES, expects a preprocessing of its own.
_TORCHVISION_VGG = {"397923af": "imagenet", "dcbb9e9d": "imagenet", "88682ab5": "other"}
#: The lab's files: VGG_ILSVRC_19_layers.pt and its relatives.
_CAFFE_NAME = re.compile(r"VGG_ILSVRC_1[69]_layers")
#: Architectures whose only published weights are Caffe's.
_CAFFE_ONLY = ("vgg19_leaky_avg", "caffenet", "alexnet_caffe")


def weights_kind(weights: str) -> str:
    """Return `random`, `torchvision`, `own` or `file`.

    >>> weights_kind("random:3"), weights_kind("torchvision:DEFAULT"), weights_kind("own"), weights_kind("/data/vgg.pt")
    ('random', 'torchvision', 'own', 'file')
    """
    kind = weights.partition(":")[0]
    return kind if kind in WORDS else "file"


def random_seed(weights: str) -> int:
    """Return the seed of `random:<seed>`.

    Raises
    ------
    StudyError
        If the seed is not a whole number >= 0.
    """
    text = weights.partition(":")[2]
    if not text.isdigit():
        raise StudyError("networks", [f"weights {weights!r}: random weights are written random:<seed>, as random:0"])
    return int(text)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a weights file; remembered while its size and time of change stay the same.

    Raises
    ------
    StudyError
        If the file does not exist.
    """
    try:
        return sha256(path)
    except OSError as error:
        raise StudyError(
            "networks",
            [
                f"the weights file {path} cannot be read ({error.strerror}); give an existing file, random:<seed> "
                "or torchvision:<NAME>"
            ],
        ) from error


def identity(network: Network) -> dict[str, Any]:
    """Return what determines the features of a network's layers, without `layers` and `dtype`.

    A local file counts by its sha256, not by its path, so that a study may move. `transform` is named where there
    is one. Your own network (`python:`) counts by its name and the sha256 of the source of its module; what that
    imports or loads is not seen.

    Raises
    ------
    StudyError
        If a local file is missing, differs from `sha256`, a random seed is not a number, the weights' preprocessing is
        not known, or the module of a `python:` architecture does not exist.
    """
    settings: dict[str, Any] = {"architecture": network.architecture, "image_size": network.image_size}
    if network.transform != "none":
        settings["transform"] = network.transform
    if network.architecture in PIXEL_ARCHITECTURES + SHAPE_ARCHITECTURES:
        return settings
    if network.architecture.startswith("python:"):
        settings["code"] = module_sha256(network.architecture.split(":")[1])
    kind = weights_kind(network.weights)
    if kind == "own" and not network.architecture.startswith("python:"):
        raise StudyError(
            "networks",
            [
                "weights: own are those that a python: function has loaded, but the architecture is "
                f"{network.architecture}"
            ],
        )
    if kind == "file":
        found = file_sha256(Path(network.weights))
        if network.sha256 is not None and network.sha256 != found:
            raise StudyError(
                "networks",
                [
                    f"the weights file {network.weights} has sha256 {found}, but the study expects {network.sha256}; "
                    "fetch the right file, or correct sha256"
                ],
            )
        settings["weights"] = f"sha256:{found}"
    elif kind == "random":
        settings["weights"] = f"random:{random_seed(network.weights)}"
    else:
        settings["weights"] = network.weights
    settings["preprocessing"] = preprocessing(network)
    return settings


def preprocessing(network: Network) -> str:
    """Return the name of the preprocessing that belongs to a network's weights.

    `network.preprocessing` where it is given. Else what is known of the weights:

    - `none` for `vgg_normalised` (its first layer does it) and the pixels themselves;
    - `caffe` for every `.caffemodel`, every file of `vgg19_leaky_avg`, `caffenet` and `alexnet_caffe`, and files called
      `VGG_ILSVRC_16_layers*` or `VGG_ILSVRC_19_layers*`;
    - `imagenet` for random and torchvision's weights (also as a local file of vgg16 or vgg19: known by its sha256), and
      files of torchvision's other architectures.

    Raises
    ------
    StudyError
        If nothing is known: another file of `vgg16` or `vgg19` (Caffe's or torchvision's?), weights of `timm:` and
        `python:` networks, torchvision's VGG16 `IMAGENET1K_FEATURES`. The remedy is to write `preprocessing`.
    """
    if network.preprocessing is not None:
        return network.preprocessing
    kind, path, architecture = weights_kind(network.weights), Path(network.weights), network.architecture
    if architecture in (*PIXEL_ARCHITECTURES, *SHAPE_ARCHITECTURES, "vgg_normalised"):
        return "none"
    if network.weights == "torchvision:IMAGENET1K_FEATURES":
        raise _unknown(network, "these weights expect RGB on 0-255 minus a mean of their own, which is not offered")
    if kind in ("random", "torchvision"):
        return "imagenet"
    if path.suffix == ".caffemodel" or architecture in _CAFFE_ONLY:
        return "caffe"
    if architecture.startswith(("timm:", "python:")):
        raise _unknown(network, "weights of networks from elsewhere do not say what they expect")
    if architecture in ("vgg16", "vgg19"):
        known = _TORCHVISION_VGG.get(file_sha256(path)[:8]) if path.is_file() else None
        if known == "imagenet":
            return known
        if known is None and _CAFFE_NAME.match(path.name):
            return "caffe"
        raise _unknown(
            network, "Caffe's weights and torchvision's have the same keys and shapes, and this file is neither's"
        )
    return "imagenet"


def known_preprocessing(network: Network) -> str | None:
    """Return what is known of the weights' preprocessing, whatever the study says; None if nothing is."""
    try:
        return preprocessing(network.model_copy(update={"preprocessing": None}))
    except StudyError:
        return None


def _unknown(network: Network, why: str) -> StudyError:
    return StudyError(
        "networks",
        [
            f"the preprocessing of {network.architecture} with weights {network.weights} is not known: {why}; write "
            "preprocessing: imagenet, caffe, half, clip or none (docs/weights.md)"
        ],
    )


def module_sha256(name: str) -> str:
    """Return the sha256 of a module's source, found without running the module itself.

    Raises
    ------
    StudyError
        If there is no such module.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:  # a parent package is absent or fails
        spec, reason = None, f" ({error})"
    else:
        reason = ""
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise StudyError(
            "networks",
            [
                f"the module {name!r} cannot be found{reason}; install it on every node, or put its folder into "
                "PYTHONPATH"
            ],
        )
    return file_sha256(Path(spec.origin))
