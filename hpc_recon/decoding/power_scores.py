"""What the tiles of `power` compute: scores of decoders from parts of the data, and the curves through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Tile
from hpc_recon.decoding import inputs, power_plan
from hpc_recon.numerics import additive, choice, learning, saturation, xp
from hpc_recon.numerics.scores import profile_correlation
from hpc_recon.numerics.stats import brain_statistics, mean_and_scale, standardise
from hpc_recon.stores import arrays, brain, layout

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.decoding.power_plan import Design
    from hpc_recon.numerics.stats import BrainStatistics

#: The score of each part that is stored, and the curve that is fitted to it.
_METRICS: dict[str, tuple[str, saturation.Link]] = {
    "units": ("profile_correlation", "correlation"),
    "stimuli": ("identification_zscored", "identification"),
}


@dataclass(frozen=True)
class _Layers:
    """The sampled units of all layers side by side."""

    units: Mapping[str, Array]

    @property
    def slices(self) -> list[slice]:
        """Where the units of each layer stand."""
        ends = np.cumsum([len(own) for own in self.units.values()]).tolist()
        return [slice(end - len(own), end) for end, own in zip(ends, self.units.values(), strict=True)]

    def read(self, study: Study, name: str, rows: Array) -> Array:
        """Return the features of stimuli, by ascending row of the stimulus table, (n, n_units of all) float32."""
        at = np.searchsorted(power_plan.stimulus_rows(study), rows)
        workspace = layout.workspace_of(study)
        own = [arrays.read(workspace, layout.powered(name, layer), at) for layer in self.units]
        return np.concatenate([values.astype(np.float32) for values in own], axis=1)


def write_draw(study: Study, tile: Tile, units: Mapping[str, Array]) -> list[Path]:
    """Score one draw of subsets on held-out training stimuli; test data are not read.

    Parameters
    ----------
    units
        The unit numbers of each layer's sample, (n,) int64.
    """
    _, name, split, roi = tile.group.path
    found, layers = inputs.training(study, split, roi), _Layers(units)
    design = power_plan.design(study, split, roi)
    Y = layers.read(study, name, found.rows)
    seed = seed_of(study.seed, "power", split, tile.start)
    dealt = choice.deal_folds(len(found.rows), study.power.folds, seed=seed, option="power.folds")
    held = learning.HeldOut(design.n_settings, n_stimuli=len(found.rows), layers=layers.slices)
    centre, unit = additive.reference(xp.module().asarray(found.samples))
    for fold in range(study.power.folds):
        rng = np.random.default_rng(seed_of(seed, fold))
        _add_fold(study, found, Y, design, held, test=np.flatnonzero(dealt == fold), scale=(centre, unit), rng=rng)
    workspace, files = layout.workspace_of(study), list[Path]()
    for part, values in (("units", held.correlation()), ("stimuli", held.identification)):
        ref = power_plan.scores(name, split, roi, power_plan.TRAINING, part)
        files += arrays.write(workspace, ref, (tile.start,), values[None], allow_nan=True)
    return files


def _add_fold(
    study: Study,
    found: inputs.Training,
    Y: Array,
    design: Design,
    held: learning.HeldOut,
    *,
    test: Array,
    scale: tuple[Array, Array],
    rng: np.random.Generator,
) -> None:
    """Predict the held-out stimuli of a fold by decoders of every setting.

    Stimuli and repeats of the training part, and voxels, are dealt in a random order, so that sizes are nested.
    """
    library = xp.module()
    X, true = library.asarray(found.samples), Y[test]
    out = np.isin(found.codes, test)
    codes = np.searchsorted(test, found.codes[out])
    pool = np.setdiff1d(np.arange(len(Y)), test)
    place = np.full(len(Y), len(Y))  # of each stimulus in the order in which they are taken
    place[rng.permutation(pool)[: design.images[-1]]] = np.arange(design.images[-1])
    order = place[found.codes]
    n_images, n_repeats = len(design.images), len(design.repeats)
    voxel_order = rng.permutation(X.shape[1])
    settings: dict[str, Any] = {"alpha": study.fit.alpha_candidates[0], "penalize_bias": study.fit.penalize_bias}
    k = study.fit.most_voxels(X.shape[1])
    mean, deviation = mean_and_scale(Y[pool])
    raw = X[library.asarray(np.flatnonzero(out))]

    def score(numbers: list[int], brain: BrainStatistics, rows: Array, voxels: Array | None = None) -> None:
        known = brain if voxels is None else learning.offered(brain, voxels)
        shown = raw if voxels is None else raw[:, library.asarray(voxels)]
        own = learning.patterns_of(shown, codes, known, n=len(test))
        wanted = library.asarray(Y[xp.to_numpy(rows)])
        predicted = learning.predict(known, wanted, own, n_voxels=min(k, len(known.mean)), **settings)
        held.add(numbers, test, predicted, true, mean=mean, scale=deviation)

    shape: dict[str, Any] = {"n_stimuli": len(Y), "centre": scale[0], "unit": scale[1]}
    steps = [np.flatnonzero((order >= a) & (order < b)) for a, b in _pairs(design.images)]
    for number, (known, rows) in enumerate(learning.growing(X, found.codes, steps, **shape)):
        if number < n_images - 1:
            score([number], known, rows)
            continue
        whole = [number, *([n_images + n_repeats - 1] if n_repeats else []), design.n_settings - 1]
        score(whole, known, rows)  # all images, all repeats and all voxels are one setting
        for at, n in enumerate(design.voxels[:-1]):
            score([n_images + n_repeats + at], known, rows, np.sort(voxel_order[:n]))
    turn = learning.turns(found.codes, rng)
    taken = order < design.images[-1]
    steps = [np.flatnonzero(taken & (turn >= a) & (turn < b)) for a, b in _pairs(design.at_most[:-1])]
    for number, (known, rows) in enumerate(learning.growing(X, found.codes, steps, **shape)):
        score([n_images + number], known, rows)


def _pairs(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip((0, *sizes[:-1]), sizes, strict=True)) if sizes else []


def write_trials(study: Study, tile: Tile, units: Mapping[str, Array]) -> list[Path]:
    """Decode means of some trials of each test stimulus, by decoders of all training samples, and score them."""
    _, name, split, roi = tile.group.path
    library, workspace, layers = xp.module(), layout.workspace_of(study), _Layers(units)
    found = inputs.training(study, split, roi)
    codes = library.asarray(found.codes)
    known = brain_statistics(library.asarray(found.samples), codes, n_stimuli=len(found.rows))
    Y = layers.read(study, name, found.rows)
    mean, deviation = mean_and_scale(Y)
    fitted, files = learning.fit(known, library.asarray(Y), **_settings(study, known)), list[Path]()
    for dataset in study.test_datasets(split):
        levels, n_stimuli = power_plan.trials(study, split, dataset)
        if not levels:
            continue
        samples, shown, rows, weights = _test_samples(study, split, dataset, roi)
        true, draws = layers.read(study, name, rows), study.power.draws
        r = np.empty((draws, len(levels), true.shape[1]), np.float32)
        won = np.full((draws, len(levels), len(layers.units), n_stimuli), np.nan, np.float32)
        for draw in range(draws):
            turn = learning.turns(shown, np.random.default_rng(seed_of(study.seed, "trials", split, dataset, draw)))
            for at, level in enumerate(levels):
                means = learning.means_of(samples, shown, np.where(turn < level, weights, 0.0), n=n_stimuli)
                Z = standardise(library.asarray(means), mean=known.mean, scale=known.scale, dtype="float32")
                predicted = learning.decode(Z, fitted)
                r[draw, at] = profile_correlation(predicted, true)
                for number, own in enumerate(layers.slices if study.datasets[dataset].identification else ()):
                    z = {"mean": mean[own], "scale": deviation[own]}
                    won[draw, at, number] = learning.identified(predicted[:, own], true[:, own], **z)
        for part, values in (("units", r), ("stimuli", won)):
            ref = power_plan.scores(name, split, roi, dataset, part)
            for draw in range(draws):
                files += arrays.write(workspace, ref, (draw,), values[draw : draw + 1], allow_nan=True)
    return files


def _settings(study: Study, known: BrainStatistics) -> dict[str, Any]:
    return {
        "n_voxels": study.fit.most_voxels(len(known.mean)),
        "alpha": study.fit.alpha_candidates[0],
        "penalize_bias": study.fit.penalize_bias,
    }


def _test_samples(study: Study, split: str, dataset: str, roi: str) -> tuple[Array, Array, Array, Array]:
    """Return the samples that show a stimulus, which one, the rows of these stimuli, and what each sample weighs."""
    workspace = layout.workspace_of(study)
    read = brain.read_brain(workspace, split, dataset, roi)
    kept = np.flatnonzero([label not in read.conditions for label in read.labels])
    rows, shown = np.unique(
        brain.stimulus_rows(workspace, [read.labels[i] for i in kept]), return_inverse=True
    )  # fmt: skip
    weights = np.asarray(read.columns.get(brain.N_AVERAGED, [1.0] * len(read.labels)), np.float64)
    return read.samples[kept], shown.astype(np.int64), rows.astype(np.int64), weights[kept]


def write_curves(study: Study, tile: Tile, units: Mapping[str, Array]) -> list[Path]:
    """Fit curves to the scores of a network, subject and ROI, and foretell what more data would bring."""
    _, name, split, roi = tile.group.path
    design, slices = power_plan.design(study, split, roi), _Layers(units).slices
    curves, left_out = list[dict[str, Any]](), list[dict[str, Any]]()
    wanted: list[tuple[str, str, tuple[float, ...], int]] = []
    start = 0
    for curve, sizes in design.curves.items():
        wanted.append((power_plan.TRAINING, curve, sizes, start))
        start += len(sizes)
    for dataset in study.test_datasets(split):
        levels, n_stimuli = power_plan.trials(study, split, dataset)
        wanted.append((dataset, "trials", levels, 0))
        if not levels:
            reason = f"{n_stimuli} test stimuli, some with a single trial" if n_stimuli else "no stimulus"
            left_out.append({"curve": "trials", "dataset": dataset, "reason": reason})
    if not design.repeats:
        left_out.append({"curve": "repeats", "dataset": "", "reason": "no training stimulus has repeats"})
    for dataset, curve, sizes, first in wanted:
        for part in _METRICS if sizes else ():
            ref = power_plan.scores(name, split, roi, dataset, part)
            values = arrays.read(layout.workspace_of(study), ref)[:, first : first + len(sizes)]
            for number, layer in enumerate(units):
                own = values[:, :, slices[number]] if part == "units" else values[:, :, number]
                place = {
                    "network": name, "layer": layer, "subject": split, "roi": roi,
                    "dataset": "" if dataset == power_plan.TRAINING else dataset, "curve": curve,
                    "metric": _METRICS[part][0],
                }  # fmt: skip
                if np.isfinite(own).all(axis=(0, 1)).any():
                    curves.append({**place, **curve_of(study, design, place, sizes, own, link=_METRICS[part][1])})
                elif part == "units":
                    reason = "no unit varies"
                    left_out.append({"curve": curve, "dataset": place["dataset"], "layer": layer, "reason": reason})
    content = described(design) | {"curves": curves, "left_out": left_out}
    path = layout.workspace_of(study) / power_plan.curves_path(name, split, roi)
    return [write_json(path, content)]


def described(design: Design) -> dict[str, Any]:
    """Return what is written of the samples of a subject and ROI."""
    session = design.session
    return {
        "session": {"column": session.column, "samples": session.n_samples, "sessions": session.n_sessions},
        "n_samples": design.n_samples,
        "n_stimuli": design.n_stimuli,
    }


def curve_of(
    study: Study,
    design: Design,
    place: Mapping[str, str],
    sizes: tuple[float, ...],
    values: Array,
    *,
    link: saturation.Link,
) -> dict[str, Any]:
    """Return one curve as it is written: measured, fitted, foretold.

    Parameters
    ----------
    place
        What it is of; `curve` says what is counted.
    values : (n_draws, len(sizes), n_units)
        Scores of units, or of stimuli.
    """
    options = study.power
    found = saturation.fit_resampled(
        np.asarray(sizes), values, link=link, confidence=options.confidence, resamples=options.resamples,
        seed=seed_of(study.seed, "power", *place.values()),
    )  # fmt: skip
    now, ahead = _ahead(study, design, place["curve"], sizes)
    limits = np.quantile(found.resampled.b, [(1 - options.confidence) / 2, (1 + options.confidence) / 2])
    told = found.foretold
    return {
        "x": list(sizes), "mean": found.mean.tolist(), "low": found.low.tolist(), "high": found.high.tolist(),
        "fitted": found.curve.at(np.asarray(sizes))[0].tolist(),
        "a": float(found.curve.a[0]), "b": float(found.curve.b[0]), "b_low": float(limits[0]),
        "b_high": float(limits[1]), "n_draws": len(values),
        "n_units": int(np.isfinite(values).all(axis=(0, 1)).sum()), "n_missing": int(
            (~np.isfinite(values).all(axis=(0, 1))).sum()),
        "now": _at(found, now), "ahead": [{"steps": steps, **_at(found, x)} for steps, x in ahead],
        "foretold": None if told is None else {
            "n_sizes": told.n_sizes, "predicted": told.predicted, "low": told.low, "high": told.high,
            "measured": told.measured,
        },
    }  # fmt: skip


def _at(found: saturation.Fitted, x: float) -> dict[str, float]:
    value, low, high = found.at(x)
    return {"x": x, "value": value, "low": low, "high": high}


def _ahead(
    study: Study, design: Design, curve: str, sizes: tuple[float, ...]
) -> tuple[float, list[tuple[float, float]]]:
    """Return what the study has on a curve's axis, and where more sessions (or twice the trials) would bring it."""
    repeats = design.n_samples / design.n_stimuli
    more = [(steps, steps * design.session.n_samples) for steps in study.power.sessions]
    if curve == "images":
        return design.n_stimuli, [(steps, design.n_stimuli + samples / repeats) for steps, samples in more]
    if curve == "repeats":
        return repeats, [(steps, repeats + samples / design.n_stimuli) for steps, samples in more]
    return sizes[-1], [(2.0, 2 * sizes[-1])] if curve == "trials" else []
