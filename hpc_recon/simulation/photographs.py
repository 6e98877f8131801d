"""The photographs that ship inside scikit-image and scikit-learn, split into training and held-out ones.

Only files that lie in the installed packages are used, so nothing is downloaded. Diagrams, pages of text and
the second half of a stereo pair are left out: letters and shapes must be new to a decoder, and no scene may
stand on both sides of the split.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

_SKIMAGE = ("skimage", "data")
_SKLEARN = ("sklearn", "datasets/images")

#: Package, folder in it, and file of each photograph.
_FILES: dict[str, tuple[str, str, str]] = {
    "astronaut": (*_SKIMAGE, "astronaut.png"),
    "brick": (*_SKIMAGE, "brick.png"),
    "camera": (*_SKIMAGE, "camera.png"),
    "chelsea": (*_SKIMAGE, "chelsea.png"),
    "china": (*_SKLEARN, "china.jpg"),
    "coffee": (*_SKIMAGE, "coffee.png"),
    "coins": (*_SKIMAGE, "coins.png"),
    "flower": (*_SKLEARN, "flower.jpg"),
    "grass": (*_SKIMAGE, "grass.png"),
    "gravel": (*_SKIMAGE, "gravel.png"),
    "hubble": (*_SKIMAGE, "hubble_deep_field.jpg"),
    "ihc": (*_SKIMAGE, "ihc.png"),
    "moon": (*_SKIMAGE, "moon.png"),
    "motorcycle": (*_SKIMAGE, "motorcycle_left.png"),
    "retina": (*_SKIMAGE, "retina.jpg"),
    "rocket": (*_SKIMAGE, "rocket.jpg"),
}

#: Photographs whose crops are test stimuli, and never training stimuli.
HELD_OUT = ("chelsea", "china", "coffee", "flower")

#: Photographs of training crops, and how many crops each gets relative to the others: colourful scenes with
#: objects count more than grey textures.
TRAINING: dict[str, int] = {
    "astronaut": 6,
    "motorcycle": 6,
    "rocket": 4,
    "camera": 3,
    "coins": 3,
    "ihc": 3,
    "retina": 3,
    "hubble": 1,
    "moon": 1,
    "brick": 1,
    "grass": 1,
    "gravel": 1,
}


def path_of(name: str) -> Path:
    """Return the file of a photograph, without importing the package that holds it.

    Raises
    ------
    DataError
        If the package, or the file in it, is not installed.
    """
    package, folder, file = _FILES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(
            f"the photograph {name!r} ships inside {package}, which is not installed: install hpc_recon anew"
        )
    path = Path(spec.origin).parent / folder / file
    if not path.is_file():
        raise DataError(
            f"the photograph {name!r} should ship inside {package}, but {path} does not exist. "
            f"Install a release of {package} that holds it (scikit-image 0.26 and scikit-learn 1.9 do)"
        )
    return path


def load(name: str) -> Array:
    """Return a photograph, (height, width, 3) uint8 RGB; grey photographs have three equal channels."""
    with Image.open(path_of(name)) as image:
        return np.asarray(image.convert("RGB"))
