"""Stages `statistics` and `folds` of `fit`: what all units of a split and ROI share, computed once for all networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Tile
from hpc_recon.decoding import inputs, sums
from hpc_recon.numerics import xp
from hpc_recon.numerics.stats import BrainStatistics, brain_statistics
from hpc_recon.stores import layout, statistics

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.numerics.additive import SampleSums


def write_statistics(study: Study, tile: Tile) -> list[Path]:
    """Write z-scoring statistics, Gram matrix and sums per stimulus of all training samples.

    With `fit.statistics_by` they are added up from sums over the samples with each value of a column; sums whose
    samples have not changed are read, not computed again.
    """
    split, roi, _ = tile.group.path
    found = inputs.training(study, split, roi)
    if study.fit.statistics_by is None:
        library = xp.module()
        codes = library.asarray(found.codes)
        known = brain_statistics(library.asarray(found.samples), codes, n_stimuli=len(found.rows))
        return _write_brain(study, split, roi, known, rows=found.rows)
    from hpc_recon.numerics import additive

    files: list[Path] = []
    total: SampleSums | None = None
    reference = sums.shared_reference(study, split, roi, found)
    for value in np.unique(found.columns[study.fit.statistics_by]):
        part, written = sums.of_value(study, split, roi, found, value=float(value), reference=reference)
        files += written
        total = part if total is None else additive.combined(total, part, sign=1, out=total.products)
        del part
    assert total is not None, "there are training samples"
    known, kept = additive.to_brain(total)
    return files + _write_brain(study, split, roi, known, rows=found.rows[xp.to_numpy(kept)])


def _write_brain(
    study: Study, split: str, roi: str, known: BrainStatistics, *, rows: Array, part: str = "", **more: Array
) -> list[Path]:
    names = ("mean", "scale", "sums", "counts", *(() if known.gram is None else ("gram",)))
    content = {name: xp.to_numpy(getattr(known, name)) for name in names}
    return statistics.write(layout.workspace_of(study), split, roi, {**content, "rows": rows, **more}, part=part)


def write_fold(study: Study, tile: Tile) -> list[Path]:
    """Write the statistics without the stimuli of one fold, and these stimuli as patterns to predict."""
    from hpc_recon.numerics import folds

    split, roi, _ = tile.group.path
    found, library = inputs.training(study, split, roi), xp.module()
    known, rows = inputs.brain_statistics(study, split, roi)
    kept = np.searchsorted(rows, found.rows)
    dealt = inputs.folds_of_stimuli(study, split, len(rows))
    fold = folds.make_fold(
        library.asarray(found.samples),
        library.asarray(kept[found.codes]),
        held_out=dealt == tile.start,
        brain=known,
    )
    more = {"test_rows": xp.to_numpy(fold.test_rows), "test_patterns": xp.to_numpy(fold.test_patterns)}
    part = f"fold-{tile.start}"
    return _write_brain(study, split, roi, fold.brain, rows=xp.to_numpy(fold.train_rows), part=part, **more)


def write_maps(study: Study, tile: Tile) -> list[Path]:
    """Write, for each penalty, the map from targets to the weights of all voxels; tile 1 + i leaves out fold i."""
    from hpc_recon.numerics import factorisation

    split, roi, _ = tile.group.path
    found, library = inputs.training(study, split, roi), xp.module()
    fold = tile.start - 1
    known, rows = inputs.brain_statistics(study, split, roi, part="" if fold < 0 else f"fold-{fold}")
    shown = found.rows[found.codes] if fold < 0 else found.codes  # the rows of a fold count the training stimuli
    kept = np.isin(shown, rows)
    stimulus = library.asarray(np.searchsorted(rows, shown[kept]))
    alphas = sorted(set(study.fit.alpha_candidates))
    samples = library.asarray(found.samples if kept.all() else found.samples[kept])
    del found
    shared = factorisation.prepare(samples, stimulus, known, n_alphas=len(alphas))
    if len(alphas) == 1:  # the usual large case: the map is there once
        maps = xp.to_numpy(shared.shared_map(alphas[0]))[None]
    else:
        maps = np.empty((len(alphas), samples.shape[1], len(rows)), np.float32)
        for a, alpha in enumerate(alphas):
            maps[a] = xp.to_numpy(shared.shared_map(alpha))
    part = "maps" if fold < 0 else f"maps-fold-{fold}"
    content = {"maps": maps, "alphas": np.array(alphas, np.float64)}
    return statistics.write(layout.workspace_of(study), split, roi, content, part=part)
