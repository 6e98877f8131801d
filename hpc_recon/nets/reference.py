"""Reference statistics for norm corrections: read from the lab's files, or made from any folder of natural images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.core.tiles import ranges
from hpc_recon.formats import mat5
from hpc_recon.formats.images import list_images, opened_image
from hpc_recon.formats.matlab import KINDS, version
from hpc_recon.nets import features, zoo

#: Images decoded at once; `features.compute` cuts them into micro-batches of its own.
_BATCH = 48
#: A file of statistics has one number, or one a channel, for each layer.
_MAX_STATISTICS_BYTES = 2**20
_REMEDY = "give the lab's file of standard deviations"


@dataclass(frozen=True)
class Reference:
    """Statistics of one layer over `n_images` images: `mean` (k,) float64 of the k columns of the statistic."""

    n_images: int
    mean: Array


def read_image(path: Path, size: tuple[int, int]) -> Array:
    """Read an image as the published features were made: on white, bicubic to the input size, its aspect ignored.

    Returns
    -------
    Array
        (*size, 3) uint8 RGB.

    Raises
    ------
    DataError
        As `formats.images.opened_image`.
    """
    with opened_image(path) as image:
        colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, (255, 255, 255, 255))
    picture = Image.alpha_composite(white, colours).convert("RGB")
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def read_images(network: Network, paths: Sequence[Path]) -> Array:
    """Read images at the size of a network's input, (n, *size, 3) uint8; errors as `read_image`.

    Raises
    ------
    DataError
        Also if the network has no input size of its own.
    """
    if network.image_size is None:
        raise DataError(
            "images of a folder are resized to the network's image_size, but it has none; write image_size, as 224"
        )
    size = zoo.input_size(network, network.image_size)
    return np.stack([read_image(path, size) for path in paths])


def folder_features(network: Network, folder: Path) -> Iterator[dict[str, tuple[Array, tuple[int, ...]]]]:
    """Yield the features of a folder's images, 48 images at a time.

    Parameters
    ----------
    network
        Its `image_size` must be given: the folder's images may have any sizes.

    Yields
    ------
    dict
        By layer of `network.layers`: (n, n_units) float32, and the unit shape; as `features.compute`.

    Raises
    ------
    DataError
        If the folder has no images, one cannot be read, the network has no input size, or features are not finite.

    Notes
    -----
    Memory: the features of 48 images; choose few layers of a large network.
    """
    paths = list_images(folder)
    for start, stop in ranges(len(paths), _BATCH):
        pictures = read_images(network, paths[start:stop])
        found = features.compute(network, network.layers, pictures=pictures)
        for layer, (values, _) in found.items():
            features.require_finite(values, layer=layer, dtype="float32")
        yield found


def folder_statistics(
    network: Network, folder: Path, statistic: Callable[[Array, tuple[int, ...]], Array]
) -> dict[str, Reference]:
    """Return the mean over a folder's images of a statistic of each layer of the network.

    Parameters
    ----------
    statistic
        From features (n, n_units) and the unit shape to (n, k): `numerics.corrections.reference_statistics`.

    Returns
    -------
    dict
        By layer, in the order of `network.layers`.

    Raises
    ------
    DataError
        As in `folder_features`.
    """
    sums: dict[str, Array] = {}
    n_images = 0
    for found in folder_features(network, folder):
        n_images += len(next(iter(found.values()))[0])
        for layer, (values, shape) in found.items():
            rows = np.asarray(statistic(values, shape), np.float64).sum(axis=0)  # (k,)
            sums[layer] = sums[layer] + rows if layer in sums else rows
    return {layer: Reference(n_images, total / n_images) for layer, total in sums.items()}


def read_std_file(path: Path) -> dict[str, float]:
    """Read the lab's standard deviations (`estimated_vgg19_cnn_feat_std.mat` and its relatives).

    Returns
    -------
    dict
        By layer: the number, or the mean of the numbers where the file holds one a channel. They are the column
        `channel_std` of `numerics.corrections` (ddof 0), or `mean_center` if the file's name says `dof1`.

    Raises
    ------
    DataError
        If the file is not a MATLAB file up to version 7 of positive numbers by layer.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); give the lab's .mat file") from error
    if size > _MAX_STATISTICS_BYTES:
        raise DataError(f"{path} has more than {_MAX_STATISTICS_BYTES} bytes, so it is not a file of statistics")
    if version(path) != 5:
        raise DataError(f"{path} is a MATLAB file of version 7.3; save it with -v7")
    found = {}
    for layer in mat5.names(path):
        values = mat5.read(path, layer)
        if not isinstance(values, np.ndarray):
            raise DataError(f"{path}: {layer} must hold numbers, but is {KINDS[type(values)]}; {_REMEDY}")
        if values.dtype.kind not in "fiu" or not values.size or not (np.isfinite(values) & (values > 0)).all():
            raise DataError(
                f"{path}: {layer} must hold positive numbers, one or one a channel, but holds {values.dtype} of shape "
                f"{values.shape}; {_REMEDY}"
            )
        found[layer] = float(np.mean(values, dtype=np.float64))
    if not found:
        raise DataError(f"{path} holds no layer; {_REMEDY}")
    return found
