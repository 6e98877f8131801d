"""Activations of chosen layers, differentiable, computed no further than the deepest of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hpc_recon.core.array import Array
from hpc_recon.core.threads import available
from hpc_recon.nets.preprocess import Preprocess, resize


@dataclass(frozen=True)
class Tap:
    """Where a layer is read: the module's path, its shape, and whether the network overwrites its output later."""

    path: str
    #: (channels, height, width) of maps, (tokens, dimensions) of transformers, else (n_units,).
    unit_shape: tuple[int, ...]
    #: The output must be copied when it is read: the network changes it in place afterwards.
    overwritten: bool = False


#: What is done to the outputs of layers before anybody sees them, by `Network.transform`.
TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda output: output, "abs": torch.abs}


class Net(nn.Module):
    """A network ready for use: resizing, preprocessing, body; `taps` names its layers in network order.

    `transform` is a key of `TRANSFORMS`; `activations` applies it, so that features which are stored and features
    of an image that is compared with them are always the same function of the layers' outputs.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        preprocess: Preprocess,
        size: tuple[int, int],
        taps: Mapping[str, Tap],
        transform: str = "none",
    ) -> None:
        super().__init__()
        self.body = body
        self.preprocess = preprocess
        self.size = size
        self.taps = dict(taps)
        self.transform = TRANSFORMS[transform]

    def forward(self, images: Tensor) -> Tensor:
        """Run RGB images (n, 3, H, W) in [0, 1] of any size through the whole network."""
        output: Tensor = self.body(self.preprocess(resize(images, self.size)))
        return output


class _Reached(Exception):
    """Every wanted layer has been read; the rest of the network need not run."""


@contextmanager
def _hooks(net: nn.Module, paths: Mapping[str, str], hook: Callable[[str, Any], Any]) -> Iterator[None]:
    """Call `hook(layer, output)` after each of the modules; the hooks are removed whatever happens."""

    def bound(layer: str) -> Callable[[nn.Module, Any, Any], Any]:
        return lambda _module, _inputs, output: hook(layer, output)

    handles = []
    try:
        for layer, path in paths.items():
            handles.append(net.get_submodule(path).register_forward_hook(bound(layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations(net: Net, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
    """Return the outputs of `layers`, transformed as the network's `transform` says.

    Parameters
    ----------
    images
        (n, 3, H, W), RGB in [0, 1]; resized to the network's input size if they differ from it.
    layers
        Names of `net.taps`; any order.

    Returns
    -------
    dict
        By layer in the given order: (n, *unit_shape), on the device and of the dtype of `images`. Gradients
        flow back to `images` unless the caller switched them off.

    Raises
    ------
    KeyError
        If a layer is unknown (`zoo.check_layers` gives the user's message).

    Notes
    -----
    The network stops behind the deepest wanted layer. Hooks are registered for the call only. Not to be called
    for one `Net` from two threads at once.
    """
    wanted = {layer: net.taps[layer] for layer in layers}
    found: dict[str, Tensor] = {}

    def keep(layer: str, output: Tensor) -> Tensor | None:
        tap = wanted[layer]
        found[layer] = output.reshape(output.shape[0], *tap.unit_shape)
        if len(found) == len(wanted):
            raise _Reached
        return output.clone() if tap.overwritten else None

    if wanted:
        with _hooks(net.body, {layer: tap.path for layer, tap in wanted.items()}, keep), suppress(_Reached):
            net(images)
    # Taken out one by one: a transformed layer stands beside one untransformed layer, not beside all of them.
    return {layer: net.transform(found.pop(layer)) for layer in wanted}


def read(net: Net, images: Array, layers: Collection[str]) -> dict[str, Array]:
    """Return the outputs of `layers` as numpy arrays, for callers without torch.

    Parameters
    ----------
    images
        (n, H, W, 3) uint8 RGB; the caller batches them.

    Returns
    -------
    dict
        By layer in the given order: (n, *unit_shape) float32.

    Notes
    -----
    Uses `core.threads.available()` threads on the CPU; torch's own number is restored. As `activations`, not to be
    called for one `Net` from two threads at once.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(available())
    try:
        with torch.inference_mode():
            device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
            batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
            found = activations(net, batch.to(torch.float32) / 255.0, layers)
            return {layer: values.cpu().numpy() for layer, values in found.items()}
    finally:
        torch.set_num_threads(before)


class _ShapeOfReLU(TorchFunctionMode):
    """Answers a ReLU on the meta device by its shape, without torch's own meta function.

    That one is the first to import torch's compiler: 1 s of CPU in every process that plans with a network or loads one
    (benchmarks/LOG.md).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not nn.functional.relu or not args or not args[0].is_meta:
            return func(*args, **(kwargs or {}))
        inplace = args[1] if len(args) > 1 else (kwargs or {}).get("inplace", False)
        return args[0].zero_() if inplace else torch.empty_like(args[0])


def trace(body: nn.Module, images: Tensor) -> tuple[dict[str, Tap], dict[str, str], str]:
    """Find the layers of a body by running it once (on the meta device: no memory, no arithmetic).

    Parameters
    ----------
    images
        (1, 3, H, W), on the device of the body.

    Returns
    -------
    dict
        By module path, in the order in which modules finish: every module that runs exactly once and returns
        one tensor with a leading sample axis. Modules used several times (a shared ReLU) have no one output.
    dict
        By module path: why each other module that ran is not a layer.
    str
        Why the body stopped before its end (images too small for its deeper layers), or "".
    """
    outputs: dict[str, Tensor] = {}
    versions: dict[str, int] = {}
    excluded: dict[str, str] = {}

    def note(path: str, output: Any) -> None:
        if path in outputs:
            excluded[path] = "runs several times for an image, so it has no one output"
        elif not isinstance(output, Tensor):
            excluded[path] = f"returns a {type(output).__name__}, not one tensor; name a module inside or around it"
        elif output.ndim < 2 or output.shape[0] != 1:
            excluded[path] = f"returns a tensor {tuple(output.shape)} for one image, whose first axis is not the image"
        if path in excluded:
            return
        outputs[path] = output
        versions[path] = output._version

    paths = {path: path for path, _ in body.named_modules() if path}
    stopped = ""
    with torch.no_grad(), _hooks(body, paths, note), _ShapeOfReLU():
        try:
            body(images)
        except Exception as error:  # anything: it may be the user's code
            stopped = f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]
    taps = {
        path: Tap(path, _unit_shape(output), overwritten=output._version != versions[path])
        for path, output in outputs.items()
        if path not in excluded
    }
    return taps, excluded, stopped


def _unit_shape(output: Tensor) -> tuple[int, ...]:
    """Return (channels, height, width) of maps, (tokens, dimensions) of transformers; else a row of units."""
    shape = tuple(int(n) for n in output.shape[1:])
    return shape if len(shape) in (2, 3) else (int(torch.Size(shape).numel()),)
