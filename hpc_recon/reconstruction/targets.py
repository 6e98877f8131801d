"""What the images of a tile shall show: decoded features, norm-corrected and weighed, or the true ones."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.core.tiles import Tile
from hpc_recon.methods import reliability
from hpc_recon.methods.targets import Targets
from hpc_recon.numerics import corrections
from hpc_recon.reconstruction import starts
from hpc_recon.stores import arrays, items, layout
from hpc_recon.stores import shapes as store_shapes

Options = IcnnOptions | PixelsOptions


def read(study: Study, tile: Tile, options: Options, place: tuple[str, str, str]) -> tuple[Targets, Array]:
    """Read what the images of a tile shall show, and the rows of their stimuli.

    Decoded features with their norm correction applied, or the true ones.

    Raises
    ------
    MissingStore
        If a layer was not decoded; names the command. Also if `prepare` did not run.
    """
    split, roi, dataset = place
    shapes = store_shapes.read(study)
    layers = study.layers_of(options)
    n_units = {layer: shapes.n_units(options.network, layer) for layer in layers}
    index = {layer: unit_sample(study, options.network, layer, n) for layer, n in n_units.items()}
    shown = items.read_shown(study, split, dataset)
    rows, stop = shown.rows[tile.start : tile.stop], tile.stop
    if options.needs_stimuli:  # items that show none come last; they have no true features
        stop = tile.start + int(np.count_nonzero(rows >= 0))
        rows = rows[: stop - tile.start]
    wanted = slice(tile.start, stop)
    features: dict[str, Array] = {}
    weights: dict[str, Array | None] = {}
    for layer in layers:
        if options.needs_stimuli:
            features[layer] = items.true_features(study, options.network, layer, rows, index[layer])
        else:
            features[layer] = _corrected(study, options, place, layer, wanted)
        if isinstance(options, IcnnOptions) and options.reliability != "none":
            features[layer], weights[layer] = _weighed(study, options, place, layer, features[layer])
    targets = Targets(
        names=shown.names[wanted],
        features=features,
        start=starts.read(study, split),
        seed=seed_of(study.seed, tile.group.path[0], split, roi, dataset),
        unit_index=index,
        unit_weights=weights,
    )
    return targets, rows


def _weighed(
    study: Study, options: IcnnOptions, place: tuple[str, str, str], layer: str, features: Array
) -> tuple[Array, Array]:
    """Return features and weights of units as `reliability` says, from the out-of-fold predictions."""
    workspace = layout.workspace_of(study)
    key = (place[0], place[1], study.decoded_name(options.network), layer)
    known = arrays.read(workspace, layout.out_of_fold(*key, "stats"))  # residual variance, correlation
    if options.reliability == "residual":
        return features, reliability.residual_weights(known[:, 0])
    stats = arrays.read(workspace, layout.decoder(*key, "stats"))  # bias, mean, scale
    return reliability.calibrated(features, correlation=known[:, 1], mean=stats[:, 1], scale=stats[:, 2])


def _corrected(study: Study, options: Options, place: tuple[str, str, str], layer: str, rows: slice) -> Array:
    """Return the corrected decoded features of some items, (n, n_units) float32."""
    split, roi, dataset = place
    workspace, name = layout.workspace_of(study), study.decoded_name(options.network)
    features, gain, offset = (
        arrays.read(workspace, layout.decoded(split, roi, dataset, name, layer, part), rows)
        for part in ("features", "gain", "offset")
    )
    if study.decode.norm_correction == "none":
        return features
    unit_mean = None
    if study.decode.norm_correction == "train_mean_center":
        unit_mean = arrays.read(workspace, layout.decoder(split, roi, name, layer, "stats"))[:, 1]
    return corrections.apply(features, gain=gain, offset=offset, unit_mean=unit_mean)
