"""The latents that a generator renders: decoded ones, calibrated, or true ones; all items of one dataset.

Decoded by the decoders of `fit`, or by a layer that `train` has trained.
"""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.methods import latent_layer
from hpc_recon.numerics import calibration
from hpc_recon.stores import arrays, brain, items, layout
from hpc_recon.stores.items import training_rows, true_features
from hpc_recon.training import latent_data, models


def latents(study: Study, options: LatentOptions, place: tuple[str, str, str]) -> Array:
    """Return the latents of all items of a dataset, (n_items, n_inputs) float32, in the order of the items.

    Parameters
    ----------
    place
        Split, ROI and dataset.

    Raises
    ------
    MissingStore
        If a layer was not decoded, or not predicted out of fold.
    """
    layers = study.layers_of(options)
    if options.source == "true":
        rows = items.read_shown(study, place[0], place[2]).rows
        return np.concatenate(
            [true_features(study, options.network, layer, rows[rows >= 0]) for layer in layers], axis=1
        )
    if options.model is not None:
        found = _calibrated_across(study, options, place, trained_latents(study, options.model, place))
    else:
        found = np.concatenate([_layer(study, options, place, layer) for layer in layers], axis=1)
    return calibration.to_norm(found) if options.calibration == "norm" else found


def trained_latents(study: Study, model: str, place: tuple[str, str, str]) -> Array:
    """Return the latents that a layer of `train` predicts of all items of a dataset, (n_items, n_inputs) float32.

    Raises
    ------
    MissingStore
        If it was not trained to its last step.
    """
    split, roi, dataset = place
    steps = latent_data.options_of(study, model).steps
    checkpoint = models.Model(study, model, split, roi).read(steps)
    items_shown = brain.read_items(study, split, dataset, roi)
    return latent_layer.predicted(checkpoint.trainer, models.scaling_of(checkpoint).apply(items_shown.samples))


def _calibrated_across(study: Study, options: LatentOptions, place: tuple[str, str, str], found: Array) -> Array:
    """Return the latents of a trained layer with the moments of true ones, where the study wants it."""
    if options.calibration != "test_statistics":
        return found
    rows = training_rows(study, place[0])
    true = [true_features(study, options.network, layer, rows) for layer in study.layers_of(options)]
    return calibration.matched(
        found, source=calibration.moments(found), target=calibration.moments(np.concatenate(true, axis=1))
    )


def _layer(study: Study, options: LatentOptions, place: tuple[str, str, str], layer: str) -> Array:
    split, roi, dataset = place
    workspace, name = layout.workspace_of(study), study.decoded_name(options.network)
    decoded: Array = arrays.read(workspace, layout.decoded(split, roi, dataset, name, layer))
    if options.calibration not in ("train_statistics", "test_statistics"):
        return decoded
    own = calibration.moments(true_features(study, options.network, layer, training_rows(study, split)))
    if options.calibration == "test_statistics":
        return calibration.matched(decoded, source=calibration.moments(decoded), target=own)
    predicted = arrays.read(workspace, layout.out_of_fold(split, roi, name, layer))
    return calibration.matched(decoded, source=calibration.moments(predicted), target=own)
