"""Stage `decode` of `decode`: a range of a layer's units predicted for every test dataset from stored decoders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Tile, ranges
from hpc_recon.decoding import estimators, inputs
from hpc_recon.numerics import decoder, needs, xp
from hpc_recon.stores import arrays, layout

if TYPE_CHECKING:
    from hpc_recon.core.array import Array


def write_predictions(study: Study, tile: Tile) -> list[Path]:
    """Predict a range of units for every test dataset, block by block."""
    split, roi, decoded_name, layer = tile.group.path
    workspace, library = layout.workspace_of(study), xp.module()
    test = inputs.test_patterns(study, split, roi)
    predict = estimators.predictor(study)
    n_units = tile.stop - tile.start
    predicted = {dataset: np.empty((len(Z), n_units), np.float32) for dataset, Z in test.items()}
    for start, stop in ranges(n_units, needs.UNITS_AT_ONCE):
        # Whole chunks of the stores: decoders of a tile can be ten times as large as what they predict.
        units = slice(tile.start + start, tile.start + stop)
        voxel, weight, table = (
            arrays.read(workspace, layout.decoder(split, roi, decoded_name, layer, part), units)
            for part in ("voxel", "weight", "stats")
        )
        n_used = _n_used(voxel, weight)
        stored = decoder.from_table(
            library.asarray(voxel[:, :n_used]), library.asarray(weight[:, :n_used]), library.asarray(table)
        )
        for dataset, Z in test.items():
            predicted[dataset][:, start:stop] = xp.to_numpy(predict(Z, stored))
        del voxel, weight, stored
    files = []
    for dataset, values in predicted.items():
        ref = layout.decoded(split, roi, dataset, decoded_name, layer)
        files += arrays.write(workspace, ref, (0, tile.start), values)
    return files


def _n_used(voxel: Array, weight: Array) -> int:
    """Return how many slots units have in use: as many for each of a layer, the rest hold the fill value.

    Unused slots weigh nothing, but would count as voxels in the size of a spatially normalised pattern.
    """
    unused = (voxel == np.iinfo(voxel.dtype).max).all(axis=0) & ~weight.any(axis=0)
    return int(voxel.shape[1] - unused.sum())
