"""Weights: He normal from a seed, a local file (torch's or Caffe's), or torchvision's by name; no downloads."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from torch import Tensor, nn

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import PIXEL_ARCHITECTURES, Network
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.text import closest
from hpc_recon.nets import architectures, caffe
from hpc_recon.nets.identity import file_sha256, identity, known_preprocessing, random_seed, weights_kind

#: Standard deviation of random biases. Zero biases leave a network of ReLUs without gradient at a mean-colour image.
BIAS_DEVIATION = 0.1
#: Standard deviation of random parameters that are neither weights nor biases (class tokens, position embeddings).
_TOKEN_DEVIATION = 0.02


def load_into(body: nn.Module, network: Network) -> None:
    """Give `body` its weights, in place; of a body without its classifier, those of the rest.

    Raises
    ------
    StudyError
        If a file is missing or differs from `sha256`, a seed is not a number, or torchvision's weights have
        another name or are not in the local cache.
    DataError
        If a file does not hold the network's parameters; the mismatching keys are named.
    """
    if not any(True for _ in body.parameters()):
        return
    identity(network)  # checks sha256
    kind = weights_kind(network.weights)
    if kind == "own":
        return
    if kind == "random":
        fill_random(body, random_seed(network.weights))
        return
    path = Path(network.weights) if kind == "file" else torchvision_file(network)
    wanted = body.state_dict()
    left_out = architectures.build_empty(network.architecture).state_dict().keys() - wanted.keys()
    if path.suffix == ".caffemodel":
        names = architectures.caffe_names(network.architecture, body)
        if names is None:
            raise DataError(
                f"{path} names its parameters by Caffe's layers, which {network.architecture} does not have; give the "
                "weights as a torch state dict"
            )
        state = caffe.read_state(path, names, wanted, left_out=left_out)
    else:
        state = {key: value for key, value in read_state(path).items() if key not in left_out}
    require_match(state, wanted, path=path, architecture=network.architecture)
    body.load_state_dict(state)


def require(network: Network) -> None:
    """Raise unless the weights are there and can be used, without loading them: `load_into` lists the errors."""
    identity(network)
    if network.architecture not in PIXEL_ARCHITECTURES and weights_kind(network.weights) == "torchvision":
        torchvision_file(network)


def fill_random(body: nn.Module, seed: int) -> None:
    """Fill every parameter from its own seed, so that it depends on the seed and the parameter's name alone.

    Weights of two or more dimensions are He normal (standard deviation sqrt(2 / fan-in)); weights of one
    dimension (normalisation) are 1; biases are normal with standard deviation 0.1; buffers keep their defaults.
    """
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            rng = np.random.default_rng(seed_of(seed, "parameter", name))
            shape = tuple(parameter.shape)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1.0)
                continue
            if name.endswith("bias"):
                deviation = BIAS_DEVIATION
            elif parameter.ndim > 1 and name.endswith("weight"):
                deviation = float(np.sqrt(2.0 / np.prod(shape[1:])))
            else:
                deviation = _TOKEN_DEVIATION
            values = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
            parameter.copy_(torch.from_numpy(values))


def plain_content(path: Path) -> Any:
    """Return what `torch.save` wrote, onto the CPU; nothing but plain tensors, numbers and text is accepted.

    Raises
    ------
    ValueError
        If it is something else, or damaged; says why.
    OSError
        If it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:  # torch's own words end in advice to run whatever is in it
        raise ValueError("no torch file, or other objects in it") from error
    except Exception as error:  # of damaged files: struct.error, IndexError, AssertionError, ...
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: a mapping of names to tensors, and nothing else (`weights_only=True`).

    Raises
    ------
    DataError
        If the file is not such a mapping.
    """
    try:
        state = plain_content(path)
    except ValueError as error:
        raise DataError(
            f"{path} is not a file of plain tensors ({error}); save a state dict: torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(
            f"{path} must hold a state dict (names and tensors), but holds a {type(state).__name__} with other values; "
            "save one: torch.save(model.state_dict(), path)"
        )
    return dict(state)


def require_match(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, path: Path, architecture: str) -> None:
    """Raise `DataError` naming missing, unknown and misshapen parameters, all at once."""
    problems = []
    # Counters of batch normalisation are absent from old files and never used in evaluation.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in wanted]
    wrong = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", wrong)):
        if keys:
            more = f" and {len(keys) - 6} more" if len(keys) > 6 else ""
            problems.append(f"{len(keys)} {what}: {', '.join(keys[:6])}{more}")
    if problems:
        raise DataError(
            f"{path} does not hold the parameters of {architecture}: {'; '.join(problems)}. Give the architecture that "
            "the file was saved from, or another file"
        )


def torchvision_file(network: Network) -> Path:
    """Return the cached file of torchvision's weights; never downloads.

    Raises
    ------
    StudyError
        If torchvision has no weights of that name for the architecture, or the file is not in the local cache;
        the message holds the command that fetches it.
    """
    name = network.weights.partition(":")[2]
    known = _torchvision_weights(network.architecture)
    if name not in known:
        raise StudyError(
            "networks", [f"unknown torchvision weights {name!r} of {network.architecture}{closest(name, known)}"]
        )
    file = Path(urlparse(known[name]).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise StudyError(
            "networks",
            [
                f"torchvision's weights {name} of {network.architecture} are not on this computer (no {path}); nothing "
                "is downloaded while computing. Fetch them where there is network access: "
                f'python -c "import torchvision; torchvision.models.get_model({network.architecture!r}, '
                f'weights={name!r})", or copy {known[name]} there'
            ],
        )
    expected = file.rsplit("-", 1)[-1].split(".")[0]
    if not file_sha256(path).startswith(expected):
        raise StudyError("networks", [f"{path} is damaged: its sha256 does not begin with {expected}; fetch it again"])
    return path


def _torchvision_weights(architecture: str) -> dict[str, str]:
    """Return the addresses of torchvision's weights by name, `DEFAULT` included."""
    import torchvision

    enumeration = torchvision.models.get_model_weights(architecture)
    return {name: str(member.value.url) for name, member in enumeration.__members__.items()}


def advice(network: Network) -> str | None:
    """Return a warning about the weights that a user should read once, or None."""
    kind, known = weights_kind(network.weights), known_preprocessing(network)
    torchvisions = kind == "torchvision" or (kind == "file" and known == "imagenet")
    if network.architecture in ("vgg16", "vgg19") and torchvisions:
        return (
            f"{network.architecture} with torchvision's weights is not the network of the published studies: those "
            "used Caffe weights (VGG_ILSVRC_*_layers), whose features differ strongly. Give that file as `weights`"
        )
    if kind in ("file", "torchvision") and known is not None and network.preprocessing not in (None, known):
        return (
            f"{network.architecture} is used with preprocessing {network.preprocessing}, but its weights expect "
            f"{known}, as far as is known (docs/weights.md): its features will not be those of the network. Remove "
            "`preprocessing`"
        )
    return None
