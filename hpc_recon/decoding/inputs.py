"""What decoders are fitted to, read from the stores into the array library that the worker computes with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.numerics import xp
from hpc_recon.numerics.stats import BrainStatistics, standardise
from hpc_recon.stores import arrays, brain, layout, statistics, tables

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.core.fit_options import MostActive
    from hpc_recon.core.tiles import Group
    from hpc_recon.numerics.folds import Fold


#: The last statistics that were copied to a GPU: the tiles of a layer, and of the next one, use them again.
_ON_DEVICE: dict[tuple[str, str, str, str, int], BrainStatistics] = {}


@dataclass(frozen=True)
class Training:
    """The training samples of a split and ROI; numpy arrays."""

    #: (n_samples, n_voxels) float32, raw; with `fit.most_active` all others are 0, as constant voxels are never read.
    samples: Array
    #: Rows of the distinct stimuli in the stimulus table, int64, ascending.
    rows: Array
    #: (n_samples,) int64: which of `rows` each sample shows.
    codes: Array
    #: More numbers for each sample: run, session.
    columns: dict[str, Array]


def names(group: Group) -> tuple[str, str, str, str]:
    """Return split, ROI, decoded name of the network, and layer of a layer's group."""
    split, roi, decoded_name, layer = (*group.path[:2], *group.path[-2:])
    return split, roi, decoded_name, layer


def training(study: Study, split: str, roi: str) -> Training:
    """Read the training samples that `fit.samples` admits.

    Raises
    ------
    DataError
        As `admitted`, and if a label has no row in the stimulus table.
    """
    workspace = layout.workspace_of(study)
    kept = admitted(study, split)
    read = brain.read_brain(workspace, split, study.training_dataset, roi)
    labels = [label for label, keep in zip(read.labels, kept, strict=True) if keep]
    rows, codes = np.unique(brain.stimulus_rows(workspace, labels), return_inverse=True)
    samples = read.samples if kept.all() else read.samples[kept]
    if study.fit.most_active is not None:
        samples = _active(samples, study.fit.most_active)
    own = {name: np.asarray(values)[kept] for name, values in read.columns.items()}
    return Training(samples, rows.astype(np.int64), codes.astype(np.int64), own)


def _active(samples: Array, options: MostActive) -> Array:
    """Return the samples with all but the most active voxels set to 0."""
    from hpc_recon.numerics.activity import most_active

    chosen = most_active(samples, options.voxels, by=options.by)
    kept = np.zeros_like(samples)
    kept[:, chosen] = samples[:, chosen]
    return kept


def admitted(study: Study, split: str) -> Array:
    """Return which training samples of a split `fit.samples` admits (n_samples,) bool; no sample is read for it.

    Raises
    ------
    DataError
        If a column that `fit.samples` or `fit.statistics_by` names is not there or holds text, or no sample is
        admitted.
    """
    workspace = layout.workspace_of(study)
    columns = tables.read_checked(workspace, layout.samples_columns(split, study.training_dataset))
    n_samples = len(columns.pop("label"))
    asked = [*study.fit.samples, *([study.fit.statistics_by] if study.fit.statistics_by else [])]
    unknown = sorted(set(asked) - set(columns))
    if unknown:
        raise DataError(
            f"the training samples of {split} have no column {', '.join(unknown)}, which fit.samples or "
            f"fit.statistics_by names; there are: {', '.join(columns) or 'none'}"
        )
    kept = np.ones(n_samples, np.bool_)
    for name, values in study.fit.samples.items():
        kept &= np.isin(np.asarray(columns[name], np.float64), values)
    by = study.fit.statistics_by
    gaps = np.count_nonzero(np.isnan(np.asarray(columns[by], np.float64)[kept])) if by else 0
    if gaps:
        raise DataError(
            f"{gaps} of {np.count_nonzero(kept)} training samples of {split} have no number in the column {by}, which "
            "fit.statistics_by names; leave them out when they are ingested (exclude), or use another column"
        )
    if not kept.any():
        known = {name: sorted({x for x in columns[name] if x is not None}) for name in study.fit.samples}
        raise DataError(
            f"fit.samples admits none of the {n_samples} training samples of {split}: asked for are "
            f"{_listed(study.fit.samples)}, and there are {_listed(known)}"
        )
    return kept


def _listed(values: Mapping[str, Sequence[float]]) -> str:
    """Return the values of each column, at most ten of one."""
    return "; ".join(
        f"{name} {', '.join(f'{value:g}' for value in own[:10])}{' ...' if len(own) > 10 else ''}"
        for name, own in values.items()
    )


def training_stimuli(study: Study, split: str) -> int:
    """Return the number of stimuli that the admitted training samples of a split show; no sample is read for it."""
    workspace = layout.workspace_of(study)
    labels = brain.read_labels(workspace, split, study.training_dataset)
    return len({label for label, keep in zip(labels, admitted(study, split), strict=True) if keep})


def folds_of_stimuli(study: Study, split: str, n_stimuli: int) -> Array:
    """Return the cross-validation fold of each training stimulus of a split: the same for all ROIs and layers."""
    from hpc_recon.numerics.choice import deal_folds

    return deal_folds(n_stimuli, study.fit.folds, seed=seed_of(study.seed, "folds", split))


def brain_statistics(study: Study, split: str, roi: str, *, part: str = "") -> tuple[BrainStatistics, Array]:
    """Return stored statistics, the Gram matrix mapped, and the rows of their stimuli in the stimulus table.

    Parameters
    ----------
    part
        "" for all training samples, `fold-<i>` for those without the stimuli of a fold.
    """
    library, workspace = xp.module(), layout.workspace_of(study)
    place = (str(workspace), split, roi, part, statistics.checksum(workspace, split, roi, "sums", part=part))
    if place in _ON_DEVICE:
        return _ON_DEVICE[place], statistics.read(workspace, split, roi, "rows", part=part)
    mean, scale, sums, counts, rows = (
        statistics.read(workspace, split, roi, name, part=part) for name in ("mean", "scale", "sums", "counts", "rows")
    )
    gram = None
    if statistics.has(workspace, split, roi, "gram", part=part):
        mapped = statistics.read(workspace, split, roi, "gram", part=part, mapped=True)
        gram = mapped if xp.namespace(mapped) is library else library.asarray(mapped)
    parts = [library.asarray(array) for array in (mean, scale, sums, counts)]
    known = BrainStatistics(int(counts.sum()), parts[0], parts[1], gram, parts[2], parts[3])
    if library is not np and not part:
        _ON_DEVICE.clear()
        _ON_DEVICE[place] = known
    return known, rows


def folds(study: Study, split: str, roi: str) -> Iterator[Fold]:
    """Yield the stored folds of a split and ROI, one in memory at a time."""
    from hpc_recon.numerics.folds import Fold

    library, workspace = xp.module(), layout.workspace_of(study)
    for fold in range(study.fit.folds):
        part = f"fold-{fold}"
        known, train_rows = brain_statistics(study, split, roi, part=part)
        test_rows, patterns = (
            statistics.read(workspace, split, roi, name, part=part) for name in ("test_rows", "test_patterns")
        )
        yield Fold(known, library.asarray(train_rows), library.asarray(test_rows), library.asarray(patterns))
        del known, patterns


def units_of(study: Study, group: Group) -> Array | None:
    """Return the unit numbers that a layer's decoders stand for; None means all units."""
    _, _, decoded_name, layer = names(group)
    network = study.network_of(decoded_name)
    n_units = arrays.describe(layout.workspace_of(study), layout.features(network, layer)).shape[1]
    return unit_sample(study, network, layer, n_units)


def n_units(study: Study, group: Group) -> int:
    """Return the number of decoders of a layer."""
    units = units_of(study, group)
    if units is not None:
        return len(units)
    _, _, decoded_name, layer = names(group)
    ref = layout.features(study.network_of(decoded_name), layer)
    return arrays.describe(layout.workspace_of(study), ref).shape[1]


def features(study: Study, group: Group, rows: Array, units: Array | None, start: int, stop: int) -> Array:
    """Read the features of stimuli for decoders `start` to `stop` of a layer, in the stored type.

    Parameters
    ----------
    rows : (n_stimuli,) int64
        Of the stimulus table, ascending.
    units
        As `units_of` returns them.
    """
    _, _, decoded_name, layer = names(group)
    ref = layout.features(study.network_of(decoded_name), layer)
    columns = slice(start, stop) if units is None else units[start:stop]
    whole = int(rows[-1]) - int(rows[0]) + 1 == len(rows)  # the usual case, and the faster one
    chosen = slice(int(rows[0]), int(rows[-1]) + 1) if whole else rows
    return arrays.read(layout.workspace_of(study), ref, chosen, columns)


def test_patterns(study: Study, split: str, roi: str) -> dict[str, Array]:
    """Return the items of each test dataset, z-scored with the training statistics (n_items, n_voxels) float32."""
    library, workspace = xp.module(), layout.workspace_of(study)
    mean, scale = (library.asarray(statistics.read(workspace, split, roi, name)) for name in ("mean", "scale"))
    patterns = {}
    for dataset in study.test_datasets(split):
        samples = library.asarray(brain.read_items(study, split, dataset, roi).samples)
        patterns[dataset] = standardise(samples, mean=mean, scale=scale, dtype="float32")
    return patterns
