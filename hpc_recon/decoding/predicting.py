"""Stage `decode` of `decode`: a range of a layer's units predicted for every test dataset from stored decoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Tile, ranges
from hpc_recon.decoding import estimators, inputs
from hpc_recon.numerics import decoder, needs, xp
from hpc_recon.stores import arrays, layout


def write_predictions(study: Study, tile: Tile) -> list[Path]:
    """Predict a range of units for every test dataset, block by block."""
    split, roi, decoded_name, layer = tile.group.path
    workspace, library, units = layout.workspace_of(study), xp.module(), slice(tile.start, tile.stop)
    test = inputs.test_patterns(study, split, roi)
    predict = estimators.predictor(study)
    voxel, weight, table = (
        arrays.read(workspace, layout.decoder(split, roi, decoded_name, layer, part), units)
        for part in ("voxel", "weight", "stats")
    )
    predicted = {dataset: np.empty((len(Z), len(table)), np.float32) for dataset, Z in test.items()}
    for start, stop in ranges(len(table), needs.UNITS_AT_ONCE):
        stored = decoder.from_table(*(library.asarray(array[start:stop]) for array in (voxel, weight, table)))
        for dataset, Z in test.items():
            predicted[dataset][:, start:stop] = xp.to_numpy(predict(Z, stored))
    del voxel, weight
    files = []
    for dataset, values in predicted.items():
        ref = layout.decoded(split, roi, dataset, decoded_name, layer)
        files += arrays.write(workspace, ref, (0, tile.start), values)
    return files
