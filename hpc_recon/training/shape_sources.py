"""What shape-semantic training reads from the stores, by row of the stimulus table, never by the order of names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.core.tiles import ranges
from hpc_recon.stores import arrays, brain, images, items, layout, tables
from hpc_recon.stores import shapes as store_shapes
from hpc_recon.training import Place

#: Samples, and images, that are read at a time.
_SAMPLES, _IMAGES = 1024, 48


def options_of(study: Study, place: Place) -> ShapeSemanticTraining:
    """Return the options of the entry."""
    options = study.train[place.name]
    assert isinstance(options, ShapeSemanticTraining), options.method
    return options


def layer_of(study: Study, network: str, layer: str | None) -> str:
    """Return the layer that is read: the one named, else the only one."""
    return layer or study.networks[network].layers[0]


def shape_layer(study: Study, options: ShapeSemanticTraining) -> str:
    """Return the layer that is the shape."""
    return layer_of(study, options.shape.network, options.shape.layer)


def areas_of(options: ShapeSemanticTraining, place: Place) -> tuple[str, ...]:
    """Return the areas that the shape is decoded from."""
    return options.shape.rois or (place.roi,)


def grid_of(study: Study, options: ShapeSemanticTraining, unit_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, g, g) of a shape's layer.

    Raises
    ------
    DataError
        If it is no square grid of one or three channels.
    """
    if len(unit_shape) != 3 or unit_shape[0] not in (1, 3) or unit_shape[1] != unit_shape[2]:
        layer = shape_layer(study, options)
        raise DataError(
            f"a shape is a square grid of 1 or 3 channels, but {layer} of {options.shape.network} is "
            f"{' x '.join(map(str, unit_shape))}; name a layer as grid32 of shape_gray, or a network of pixels with "
            "image_size"
        )
    return unit_shape[0], unit_shape[1], unit_shape[2]


def true_shapes(study: Study, options: ShapeSemanticTraining, rows: Array) -> tuple[Array, tuple[int, int, int]]:
    """Return the true shapes of images, (n, cells) float32, and what a row is reshaped to."""
    layer = shape_layer(study, options)
    grid = grid_of(study, options, store_shapes.read(study).unit_shape(options.shape.network, layer))
    return items.true_features(study, options.shape.network, layer, rows), grid


def predicted_shapes(study: Study, place: Place, n_rows: int) -> Array:
    """Return the shapes of training images that decoders without them predict, (areas, n, cells)."""
    options = options_of(study, place)
    network, layer = options.shape.network, shape_layer(study, options)
    return np.stack([out_of_fold(study, place.split, roi, network, layer, n_rows) for roi in areas_of(options, place)])


def out_of_fold(study: Study, split: str, roi: str, network: str, layer: str, n_rows: int) -> Array:
    """Return predictions of training images by decoders without them, (n, n_units) float32, by ascending row.

    Raises
    ------
    DataError
        If they are not as many as the training images.
    """
    ref = layout.out_of_fold(split, roi, study.decoded_name(network), layer)
    found: Array = arrays.read(layout.workspace_of(study), ref)
    if len(found) != n_rows:
        raise DataError(
            f"predictions out of fold must be those of the {n_rows} training images, but {ref.path} has {len(found)} "
            "(fit.samples leaves some out?); fit with all of them"
        )
    return found


def decoded_shapes(study: Study, place: Place, dataset: str) -> Array:
    """Return the decoded shapes of the items of a test dataset, (areas, n, cells)."""
    options = options_of(study, place)
    network, layer = options.shape.network, shape_layer(study, options)
    workspace, name = layout.workspace_of(study), study.decoded_name(network)
    return np.stack(
        [
            arrays.read(workspace, layout.decoded(place.split, roi, dataset, name, layer))
            for roi in areas_of(options, place)
        ]
    )


def training_patterns(study: Study, split: str, roi: str, rows: Array) -> Array:
    """Return the mean raw pattern of each training image, (n, n_voxels) float64, by ascending row.

    A sample that is itself a mean counts as often as it has presentations.
    """
    workspace, dataset = layout.workspace_of(study), study.training_dataset
    labels = brain.read_labels(workspace, split, dataset)
    place = np.searchsorted(rows, brain.stimulus_rows(workspace, labels))
    columns = tables.read_checked(workspace, layout.samples_columns(split, dataset))
    counts = np.asarray(columns.get(brain.N_AVERAGED, [1] * len(labels)), np.float64)
    mask = brain.read_roi(workspace, split, roi)
    voxels = None if mask.all() else np.flatnonzero(mask)
    total = np.zeros((len(rows), int(mask.sum())))
    for start, stop in ranges(len(labels), _SAMPLES):
        block = arrays.read(workspace, layout.samples(split, dataset), np.arange(start, stop), voxels)
        np.add.at(total, place[start:stop], block * counts[start:stop, None])
    return total / np.bincount(place, weights=counts, minlength=len(rows))[:, None]


def item_patterns(study: Study, split: str, roi: str, dataset: str) -> Array:
    """Return the mean raw pattern of each item of a test dataset, (n, n_voxels)."""
    found: Array = brain.read_items(study, split, dataset, roi).samples
    return found


def digests(study: Study, rows: Array) -> Iterator[tuple[int, bytes]]:
    """Yield each row with a digest of its stimulus's pixels, 48 read at a time."""
    workspace = layout.workspace_of(study)
    for start, stop in ranges(len(rows), _IMAGES):
        own = np.sort(rows[start:stop])
        for row, image in zip(own.tolist(), images.read_images(workspace, own), strict=True):
            yield row, hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
