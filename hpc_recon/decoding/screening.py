"""What a tile of `screen` fits: the sampled units of one network for one subject and ROI, on training data alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.network_options import Network
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.decoding import inputs, planning
from hpc_recon.numerics import choice, folds, out_of_fold, screening, xp
from hpc_recon.stores import arrays, brain, layout, tables
from hpc_recon.stores.layout import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpc_recon.core.array import Array


def candidates(study: Study) -> dict[str, Network]:
    """Return the networks that are compared: the study's, and those under `screen.networks`.

    Raises
    ------
    StudyError
        If two have one name.
    """
    twice = sorted(set(study.networks) & set(study.screen.networks))
    if twice:
        raise StudyError(
            "screen.networks",
            [f"{name!r} is a network of the study already; leave it out, or rename it" for name in twice],
        )
    return {**study.networks, **study.screen.networks}


def require_ridge(study: Study, verb: str = "screen") -> None:
    """Raise `StudyError` unless the study's decoders are ridge on selected voxels, which is what `verb` fits."""
    wrong = {
        f"estimator: {study.fit.estimator}": (study.fit.estimator != "ridge", "fit.estimator=ridge"),
        "n_voxels: all": (study.fit.n_voxels == "all", "fit.n_voxels=500"),
        "spatial_norm": (study.fit.spatial_norm is not None, "fit.spatial_norm=null"),
        "files": (bool(study.fit.files), "fit.files={}"),
    }
    problems = [
        f"{verb} fits ridge on selected voxels, but fit has {name}; add --set {remedy} for this command"
        for name, (is_so, remedy) in wrong.items()
        if is_so
    ]
    if problems:
        raise StudyError("fit", problems)


def training_rows(study: Study) -> Array:
    """Return the rows of the stimulus table that a training sample of a subject shows, int64 ascending.

    Raises
    ------
    MissingStore
        If the brain samples do not exist yet.
    """
    workspace, found = layout.workspace_of(study), set()
    for split in study.subjects:
        labels = brain.read_labels(workspace, split, study.training_dataset)
        kept = inputs.admitted(study, split)
        own = [label for label, keep in zip(labels, kept, strict=True) if keep]
        found |= set(np.asarray(brain.stimulus_rows(workspace, own)).tolist())
    return np.array(sorted(found), np.int64)


def layers_table(name: str, split: str, roi: str) -> Ref:
    """Return where the table of a network's layers lies: one row a layer."""
    return Ref(f"screen/{name}/{split}/{roi}/layers.json", "screen")


def units_table(name: str, split: str, roi: str) -> Ref:
    """Return where the table of a network's sampled units lies: layer, unit, correlation."""
    return Ref(f"screen/{name}/{split}/{roi}/units.json", "screen")


def tiles(study: Study, shapes: Shapes, n_units: Mapping[str, Mapping[str, int]]) -> list[Tile]:
    """Return one tile a network, subject and ROI.

    Parameters
    ----------
    n_units
        Sampled units, by network and layer.
    """
    options, found = study.screen, []
    settings = {
        "training": study.training_dataset,
        "samples": study.fit.samples,
        "fit": [study.fit.voxel_candidates, study.fit.alpha_candidates, study.fit.per_unit, study.fit.penalize_bias],
        "folds": options.folds,
        "intervals": [options.confidence, options.resamples],
        "seed": study.seed,
    }
    if study.fit.most_active is not None:
        settings["most_active"] = study.fit.most_active.model_dump()
    for name, own in n_units.items():
        for split in study.subjects:
            for roi in study.rois:
                upstream = (f"{study.source_verb}/{split}", f"screen/features/{name}")
                group = Group("screen", ("scores", name, split, roi), canonical(settings), upstream)
                need = _need(study, planning.sizes_of(study, shapes, split, roi), list(own.values()))
                found.append(Tile(group, "fit", 0, 1, need))
    return found


def _need(study: Study, s: planning.Sizes, n_units: list[int]) -> Need:
    """Project one tile: all layers at once without grids, one layer after another with them."""
    grids, n_folds, n_threads = study.fit.has_grids, study.screen.folds, threads.available()
    passes, at_once = (len(n_units), max(n_units)) if grids else (1, sum(n_units))
    k, total = study.fit.most_voxels(s.n_voxels), sum(n_units)
    held = s.held(n_folds, 2 if grids else 1)
    making = folds.folds_bytes(s.n_samples, s.n_voxels, n_held=held, n_stimuli=s.n_stimuli, n_threads=n_threads)
    fitting = out_of_fold.out_of_fold_bytes(
        at_once, n_stimuli=s.n_stimuli, n_test=s.n_stimuli, n_voxels=s.n_voxels, k=k, n_threads=n_threads
    )
    seconds = passes * folds.folds_seconds(s.n_samples, s.n_voxels, n_folds=n_folds, n_threads=n_threads)
    seconds += out_of_fold.out_of_fold_seconds(
        total, n_stimuli=s.n_stimuli, n_voxels=s.n_voxels, k=k, n_folds=n_folds, n_threads=n_threads
    )
    if grids:
        ks, n_alphas = study.fit.voxel_candidates, len(study.fit.alpha_candidates)
        n_pairs = n_folds * (n_folds - 1) // 2
        fitting += n_folds * choice.choose_bytes(
            at_once, n_stimuli=s.n_stimuli, n_test=s.n_stimuli, n_voxels=s.n_voxels, k=k, n_k=len(ks),
            n_alphas=n_alphas, n_threads=n_threads,
        )  # fmt: skip
        seconds += choice.choose_seconds(
            total, n_stimuli=s.n_stimuli, n_voxels=s.n_voxels, ks=ks, n_alphas=n_alphas, n_folds=n_pairs,
            n_threads=n_threads,
        )  # fmt: skip
        seconds += passes * folds.folds_seconds(
            s.n_samples, s.n_voxels, n_folds=n_folds, n_threads=n_threads, pairs=True
        )
    scoring = 6 * array_bytes(s.n_stimuli, max(n_units), itemsize=8)
    return Need(
        host_bytes=2 * s.sample_bytes + s.gram_bytes + making + array_bytes(s.n_stimuli, at_once) + fitting + scoring,
        device_bytes=0,
        bytes_in=s.sample_bytes + array_bytes(s.n_stimuli, total),
        bytes_out=60 * total,
        files_out=2,
        seconds=store_seconds(s.sample_bytes) + seconds,
    )


def write_scores(study: Study, tile: Tile, units: Mapping[str, Array]) -> list[Path]:
    """Predict the training stimuli out of fold, score each sampled unit, and write both tables.

    Parameters
    ----------
    units
        The unit numbers of each layer's sample, (n,) int64.
    """
    _, name, split, roi = tile.group.path
    workspace, options = layout.workspace_of(study), study.screen
    found, everything = inputs.training(study, split, roi), training_rows(study)
    at = np.searchsorted(everything, found.rows)
    rows = None if len(at) == len(everything) else at
    dealt = choice.deal_folds(
        len(found.rows), options.folds, seed=seed_of(study.seed, "screen", split), option="screen.folds"
    )
    Y = {layer: arrays.read(workspace, layout.screened(name, layer), rows).astype(np.float32) for layer in units}
    predictions = _predict(study, found, Y, dealt)
    layers: dict[str, list[str | float | int | None]] = {}
    each: dict[str, list[str | float | int | None]] = {"layer": [], "unit": [], "correlation": []}
    for layer, own in units.items():
        seed = seed_of(study.seed, "screen", name, layer, split, roi)
        scored = screening.score(
            predictions[layer], Y[layer], fold_of_stimulus=dealt, confidence=options.confidence,
            resamples=options.resamples, seed=seed,
        )  # fmt: skip
        over = scored.units
        row: dict[str, str | float | int] = {
            "layer": layer, "mean": over.mean, "units_low": over.low, "units_high": over.high, "low": scored.low,
            "high": scored.high, "n_units": over.n, "n_missing": over.n_missing, "n_stimuli": len(found.rows),
        }  # fmt: skip
        for key, value in row.items():
            layers.setdefault(key, []).append(value)
        each["layer"] += [layer] * len(own)
        each["unit"] += own.tolist()
        each["correlation"] += scored.correlation.tolist()
    where = (name, split, roi)
    return [
        tables.write_table(workspace, layers_table(*where), layers, made_by=tile.group.key, gaps=True),
        tables.write_table(workspace, units_table(*where), each, made_by=tile.group.key, gaps=True),
    ]


def _predict(study: Study, found: inputs.Training, Y: Mapping[str, Array], dealt: Array) -> dict[str, Array]:
    """Return out-of-fold predictions of each layer, (n_stimuli, n_units) numpy."""
    library, fit = xp.module(), study.fit
    X, codes = library.asarray(found.samples), library.asarray(found.codes)
    shape: dict[str, Any] = {"n_stimuli": len(found.rows), "fold_of_stimulus": dealt}
    if not fit.has_grids:  # one pass over the folds for all layers
        joined = library.asarray(np.concatenate(list(Y.values()), axis=1))
        k, alpha = fit.most_voxels(X.shape[1]), fit.alpha_candidates[0]
        made = folds.make_folds(X, codes, **shape)
        predicted = out_of_fold.predict(made, joined, n_voxels=k, alpha=alpha, penalize_bias=fit.penalize_bias)
        ends = np.cumsum([own.shape[1] for own in Y.values()])
        return dict(zip(Y, np.split(xp.to_numpy(predicted.predictions), ends[:-1], axis=1), strict=True))
    ks = sorted({min(k, X.shape[1]) for k in fit.voxel_candidates})
    result = {}
    for layer, own in Y.items():
        units = library.asarray(own)
        chosen = choice.choose_nested(
            folds.make_pairs(X, codes, **shape), units, fold_of_stimulus=dealt, n_voxels=ks,
            alphas=fit.alpha_candidates, per="unit" if fit.per_unit else "layer", penalize_bias=fit.penalize_bias,
        )  # fmt: skip
        predicted = out_of_fold.predict_chosen(
            folds.make_folds(X, codes, **shape), units, settings=[one.setting for one in chosen],
            penalize_bias=fit.penalize_bias,
        )  # fmt: skip
        result[layer] = xp.to_numpy(predicted.predictions)
    return result
