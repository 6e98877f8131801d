"""numpy or cupy: the only place that imports cupy.

Functions of this layer ask `namespace(X)` and use what both libraries have; so one text serves both devices.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, TypeAlias

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import StudyError
from hpc_recon.core.text import closest

#: `numpy` or `cupy`: no common type describes both modules.
Namespace: TypeAlias = Any

VARIABLE = "HPC_RECON_XP"
NAMES = ("auto", "numpy", "cupy")


def _device_count(cupy: Namespace) -> int:
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:  # the driver is absent, or older than the runtime
        return 0


def module(name: str | None = None) -> Namespace:
    """Return the array library to compute with.

    Parameters
    ----------
    name
        `numpy`, `cupy`, or `auto` (cupy where it is installed and finds a device, else numpy).
        None reads the environment variable `HPC_RECON_XP`, whose default is `auto`.

    Raises
    ------
    StudyError
        If the name is unknown, or cupy was asked for by name and is not installed or finds no device.

    Examples
    --------
    >>> module("numpy").__name__
    'numpy'
    """
    asked = name if name is not None else os.environ.get(VARIABLE, "auto")
    where = "--xp" if name is not None else VARIABLE
    if asked not in NAMES:
        raise StudyError(where, [f"unknown array library {asked!r}{closest(asked, NAMES)}"])
    if asked == "numpy":
        return np
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        if asked == "auto":
            return np
        problem = f"cupy is not installed ({error}); run `pip install hpc_recon[cuda12]` or `[cuda13]`, or use numpy"
        raise StudyError(where, [problem]) from error
    if _device_count(cupy) > 0:
        return cupy
    if asked == "auto":
        return np
    raise StudyError(where, ["cupy is installed but finds no CUDA device; run on a GPU node, or use numpy"])


def namespace(*arrays: Any) -> Namespace:
    """Return the library that all these arrays belong to; None and Python numbers belong to any.

    Raises
    ------
    TypeError
        If numpy and cupy arrays are mixed, or something else is given.

    Examples
    --------
    >>> namespace(np.zeros(2), None, 3.0).__name__
    'numpy'
    """
    homes = {type(array).__module__.partition(".")[0] for array in arrays if hasattr(array, "dtype")}
    if homes <= {"numpy"}:
        return np
    if homes == {"cupy"}:
        return importlib.import_module("cupy")
    raise TypeError(
        f"arrays must all be numpy arrays or all be cupy arrays, got {', '.join(sorted(homes))}; "
        "move them with cupy.asarray or hpc_recon.numerics.xp.to_numpy"
    )


def to_numpy(array: Any) -> Array:
    """Return a numpy array with the same values: the array itself, or a copy from the device."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.get())
