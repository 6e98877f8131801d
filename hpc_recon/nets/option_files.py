"""Small files that options name (a start, a mask, a direction): read by `formats`, which believes no header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats import archives, images

#: White of an image of 8 bits.
_LEVELS = 255


def image(path: Path, *, what: str) -> Array:
    """Read an image as a stimulus is read, (H, W, 3) float32 RGB in [0, 1].

    Parameters
    ----------
    what
        Names the file in a message, as `start_file`.

    Raises
    ------
    DataError
        If it is no image.
    """
    try:
        found = images.read_image(path)
    except DataError as error:
        raise DataError(f"{what} {path} cannot be read as an image ({error}); give a PNG or JPEG") from error
    return found.astype(np.float32) / np.float32(_LEVELS)


def numbers(path: Path, *, what: str, remedy: str) -> Array:
    """Read the array of a `.npy`, of any shape and type.

    Raises
    ------
    DataError
        If it is absent, damaged, or no `.npy`.
    """
    try:
        return archives.read_npy(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{what} cannot be read as .npy ({error}); {remedy}") from error
