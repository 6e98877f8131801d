"""What identifies a network's features: architecture, weights by content, input size. Needs no torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpc_recon.core.config import PIXEL_ARCHITECTURES, Network
from hpc_recon.core.errors import StudyError


def weights_kind(weights: str) -> str:
    """Return `random`, `torchvision` or `file`.

    >>> weights_kind("random:3"), weights_kind("torchvision:DEFAULT"), weights_kind("/data/vgg.pt")
    ('random', 'torchvision', 'file')
    """
    kind = weights.partition(":")[0]
    return kind if kind in ("random", "torchvision") else "file"


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
        stat = path.stat()
    except OSError as error:
        raise StudyError(
            "networks",
            [
                f"the weights file {path} cannot be read ({error.strerror}); give an existing file, random:<seed> "
                "or torchvision:<NAME>"
            ],
        ) from error
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identity(network: Network) -> dict[str, Any]:
    """Return what determines the features of a network's layers, without `layers` and `dtype`.

    A local file counts by its sha256, not by its path, so that a study may move. `transform` is named where there
    is one.

    Raises
    ------
    StudyError
        If a local file is missing, differs from `sha256`, or a random seed is not a number.
    """
    settings: dict[str, Any] = {"architecture": network.architecture, "image_size": network.image_size}
    if network.transform != "none":
        settings["transform"] = network.transform
    if network.architecture in PIXEL_ARCHITECTURES:
        return settings
    kind = weights_kind(network.weights)
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

    `network.preprocessing` where it is given. Else `none` for `vgg_normalised` (its first layer does it) and
    the pixels themselves, `caffe` for a local file of `vgg16` or `vgg19` (the lab's Caffe weights; no other
    file says which they are), `imagenet` for everything else.
    """
    if network.preprocessing is not None:
        return network.preprocessing
    if network.architecture in (*PIXEL_ARCHITECTURES, "vgg_normalised"):
        return "none"
    if network.architecture in ("vgg16", "vgg19") and weights_kind(network.weights) == "file":
        return "caffe"
    return "imagenet"
