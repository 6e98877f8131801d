"""Networks in which reconstructions and stimuli are compared, at exactly the input that a published score names.

Nothing is resized here, and nothing is downloaded: images come at the size of the network's input, weights from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.nets import architectures, caffe, clip_image, devices, taps, weights
from hpc_recon.nets.preprocess import Preprocess

#: What `load` returns, for callers that do not know torch.
Body = nn.Module
#: Parts of a SwAV checkpoint that are not the backbone.
_SWAV_HEADS = ("projection_head.", "prototypes.")


def load(architecture: str, path: Path) -> Body:
    """Build a network with the weights of a file, in evaluation mode: one of torchvision's, or one of those below.

    `clip` is CLIP's image encoder, `alexnet_caffe` Caffe's AlexNet (a `.caffemodel` or a state dict). Inception
    transforms its input as torchvision's own weights need it. `swav` is a ResNet-50 without its classifier; the
    projection head and prototypes of a checkpoint are left out.

    Raises
    ------
    DataError
        If the file does not hold the network's parameters.
    """
    if architecture == "clip":
        return clip_image.load(path).eval().requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        body = architectures.build("resnet50" if architecture == "swav" else architecture, torchvision_input=True)
    if path.suffix == ".caffemodel" and architecture in caffe.ARCHITECTURES:
        state = caffe.read_state(path, caffe.layer_names(body), body.state_dict())
    else:
        state = weights.read_state(path)
    if architecture == "swav":
        body.fc = nn.Identity()
        plain = {key.removeprefix("module."): value for key, value in state.items()}
        state = {key: value for key, value in plain.items() if not key.startswith(_SWAV_HEADS)}
    wanted = body.state_dict()
    weights.require_match(state, wanted, path=path, architecture=architecture)
    body.load_state_dict(state, strict=False)  # counters of batch normalisation may be absent
    return body.eval().requires_grad_(requires_grad=False)


def activations(
    body: Body, paths: Sequence[str], images: Array, *, preprocessing: str = "imagenet"
) -> dict[str, Array]:
    """Return the outputs of modules, by path, (n, n_units) float32 in C order.

    Parameters
    ----------
    images
        (n, H, W, 3) float in [0, 1], at the size of the network's input.
    preprocessing
        What the network's weights expect, as of `preprocess.Preprocess`.

    Raises
    ------
    DataError
        If an activation is NaN or infinite.

    Notes
    -----
    All images pass together: give a few at a time.
    """
    device = devices.choose()
    body.to(device)
    prepare = Preprocess(preprocessing).to(device)
    size = (images.shape[1], images.shape[2])
    named = {path: taps.Tap(path, (-1,)) for path in paths}  # one row an image
    net = taps.Net(body, preprocess=prepare, size=size, taps=named)
    with torch.inference_mode():
        found = taps.activations(net, _tensor(images).to(device), paths)
    joined = {path: values.cpu().numpy() for path, values in found.items()}
    damaged = [path for path, values in joined.items() if not np.isfinite(values).all()]
    if damaged:
        raise DataError(
            f"activations of images must be finite, but those of {', '.join(damaged)} are not; check the weights file"
        )
    return joined


def bilinear(images: Array, size: int) -> Array:
    """Resize images (n, H, W, C) in float to `size` x `size`: bilinear, with antialiasing where it shrinks.

    Antialiasing is named because torchvision's default for tensors changed; for enlargement it makes no difference.
    """
    resized = functional.interpolate(_tensor(images), size=(size, size), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized.numpy().transpose(0, 2, 3, 1))


def _tensor(images: Array) -> Tensor:
    """Return images (n, H, W, C) as a tensor (n, C, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(images, np.float32).transpose(0, 3, 1, 2)))
