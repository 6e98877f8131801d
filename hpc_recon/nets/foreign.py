"""Networks from elsewhere: `timm:<name>`, and your own `python:<package.module>:<function>`.

The function is called without arguments and returns a `torch.nn.Module` that takes images (n, 3, H, W). It is imported
and run because the study names it: it may do whatever Python may do, so run studies of others only after reading them.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from hpc_recon.core.errors import StudyError
from hpc_recon.core.text import closest


def kind(architecture: str) -> str:
    """Return `timm`, `python`, or "" for the architectures that this package names.

    >>> kind("timm:vit_tiny_patch16_224"), kind("python:lab.nets:make"), kind("vgg19")
    ('timm', 'python', '')
    """
    found, colon, _ = architecture.partition(":")
    return found if colon and found in ("timm", "python") else ""


def check(architecture: str) -> None:
    """Raise `StudyError` unless the network can be named: timm knows it, or the function exists (it is not called)."""
    if kind(architecture) == "timm":
        name = architecture.partition(":")[2]
        known = _timm().list_models()
        if name not in known:
            raise StudyError("networks", [f"timm has no network {name!r}{closest(name, known)}"])
    else:
        _function(architecture)


def build(architecture: str) -> nn.Module:
    """Return the module; weights mean nothing yet, except those that your own function has loaded.

    Raises
    ------
    StudyError
        If timm is not installed, a name is unknown, or the function fails or returns something else than a module.
    """
    check(architecture)
    if kind(architecture) == "timm":
        module: Any = _timm().create_model(architecture.partition(":")[2], pretrained=False)
        return _module(architecture, module)
    function = _function(architecture)
    try:
        module = function()
    except Exception as error:  # anything: it is the user's code
        raise StudyError(
            "networks", [f"{architecture} failed: {type(error).__name__}: {error}; it is called without arguments"]
        ) from error
    return _module(architecture, module)


def _module(architecture: str, module: Any) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise StudyError(
            "networks", [f"{architecture} returned a {type(module).__name__}; it must return a torch.nn.Module"]
        )
    return module


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise StudyError(
            "networks",
            [f"networks of timm need the package timm ({error}); install it on every node: pip install timm"],
        ) from error


def _function(architecture: str) -> Any:
    """Import the function of `python:<package.module>:<function>`."""
    _, module_name, function_name = (*architecture.split(":"), "", "")[:3]
    if architecture.count(":") != 2 or not module_name or not function_name:
        raise StudyError(
            "networks", [f"{architecture!r}: your own network is written python:<package.module>:<function>"]
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code
        raise StudyError(
            "networks",
            [
                f"{architecture}: the module {module_name} cannot be imported ({type(error).__name__}: {error}); "
                "install it on every node, or put its folder into PYTHONPATH"
            ],
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name in vars(module) if callable(getattr(module, name)) and not name.startswith("_")]
        raise StudyError(
            "networks",
            [f"{architecture}: {module_name} has no function {function_name!r}{closest(function_name, names)}"],
        )
    return function
