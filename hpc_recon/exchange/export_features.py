"""Features for other programs: true ones, decoded ones, and the statistics of a norm correction, as labs keep them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.memory import reading_bytes
from hpc_recon.core.tiles import ranges
from hpc_recon.exchange.exporting import OVERHEAD, Batch, Selection, place, source_of
from hpc_recon.formats import feature_trees, matlab
from hpc_recon.stores import arrays, brain, images, items, layout
from hpc_recon.stores import shapes as store_shapes

#: Corrects decoded features (n, n_units) by gain and offset (n,) and the units' training means.
Correct: TypeAlias = Callable[[Array, Array, Array, Array], Array]

#: Bytes of decoded features that are read at a time.
BLOCK_BYTES = 256 * 2**20
#: Files written at once: enough to hide the waiting for a disk.
AT_ONCE = 4


def true_features(study: Study, selection: Selection) -> Iterator[Batch]:
    """Yield `<layer>/<label>.mat`, 48 stimuli of a layer a batch: those of the chosen datasets' own stimuli.

    Raises
    ------
    MissingStore
        If features are not all there.
    """
    workspace, name = layout.workspace_of(study), selection.network(study)
    table, shapes = images.read_table(workspace), store_shapes.read(study)
    chosen = [row for row, dataset in enumerate(table.dataset) if selection.has_dataset(dataset)]
    for layer in selection.layers_of(study):
        shape = shapes.unit_shape(name, layer)
        source = source_of(workspace, [shapes.made_by(name, layer)])
        for start, stop in ranges(len(table.labels), layout.STIMULI_PER_SHARD):
            rows = [row for row in chosen if start <= row < stop]
            if rows:
                named = {feature_trees.feature_path(layer, table.labels[row]): row for row in rows}
                write = _WriteTrue(workspace, layout.features(name, layer), named, shape)
                yield _batch(dict.fromkeys(named, 4 * math.prod(shape)), source, write, len(rows) * math.prod(shape))


def _batch(sizes: dict[str, int], source: str, write: Callable[[Path, Collection[str]], None], n_values: int) -> Batch:
    files = {name: size + OVERHEAD for name, size in sizes.items()}
    return Batch(files, source, write, reading_bytes(n_values))


class _WriteTrue:
    """Writes the true features of some stimuli of one layer."""

    def __init__(self, workspace: Path, ref: layout.Ref, rows: dict[str, int], shape: tuple[int, ...]) -> None:
        self._workspace, self._ref, self._rows, self._shape = workspace, ref, rows, shape

    def __call__(self, folder: Path, names: Collection[str]) -> None:
        rows = {name: row for name, row in self._rows.items() if name in names}
        values = arrays.read(self._workspace, self._ref, np.array(list(rows.values()), dtype=np.int64))
        _write_each(folder, list(rows), values, self._shape)


def decoded(study: Study, selection: Selection, *, correct: Correct | None = None) -> Iterator[Batch]:
    """Yield `<layer>/<subject>/<roi>/<label>.mat`, as many items a batch as take 256 MiB.

    A fold of a cross-validation lies in `<roi>/<fold>/decoded_features/`, and so do splits of converted and of pooled
    samples (`S2.from-S1`: `<layer>/S2/<roi>/from-S1/decoded_features/`). Where repeats are not averaged the files are
    called `sample<number>-<label>`, numbers from 000001 in the order of the samples; means of N, `<label>@<nn>`.

    Parameters
    ----------
    correct
        Applies the norm correction of the study; None: as the decoders gave them.

    Raises
    ------
    MissingStore
        If features were not decoded, or (with `correct`) not corrected.
    """
    workspace, network = layout.workspace_of(study), selection.network(study)
    shapes, name = store_shapes.read(study), study.decoded_name(network)
    for split in selection.decoded_splits(study):
        datasets = [dataset for dataset in study.test_datasets(split) if selection.has_dataset(dataset)]
        names = {dataset: _item_names(study, split, dataset) for dataset in datasets}
        for roi in selection.chosen_rois(study):
            for layer in selection.layers_of(study):
                whole = shapes.unit_shape(network, layer)
                n_units = study.n_decoded(math.prod(whole), layer)
                shape = whole if n_units == math.prod(whole) else (n_units,)
                for dataset in datasets:
                    ref = layout.decoded(split, roi, dataset, name, layer)
                    keys = [arrays.describe(workspace, ref).made_by]
                    if correct is not None:
                        keys.append(f"decode/{split}/{roi}/{name}/{layer}")
                    source = source_of(workspace, keys, corrected=correct is not None)
                    _require_items(workspace, ref, len(names[dataset]))
                    paths = [feature_trees.decoded_path(layer, *place(split), roi, item) for item in names[dataset]]
                    step = max(1, BLOCK_BYTES // (4 * n_units))
                    for start, stop in ranges(len(paths), step):
                        rows = {path: start + i for i, path in enumerate(paths[start:stop])}
                        write = _WriteDecoded(study, (split, roi, dataset, name, layer), rows, shape, correct)
                        yield _batch(dict.fromkeys(rows, 4 * n_units), source, write, len(rows) * n_units)


def _require_items(workspace: Path, ref: layout.Ref, n_items: int) -> None:
    """Raise `DataError` unless an array has a row for each item: else its files would have wrong names."""
    n_rows = arrays.describe(workspace, ref).shape[0]
    if n_rows != n_items:
        raise DataError(f"{ref.path} has {n_rows} rows, but the study {n_items} items; run {ref.command} with --redo")


def _item_names(study: Study, split: str, dataset: str) -> list[str]:
    """Return the names of a dataset's items: the label, or the lab's name of a single sample; means of some: ours."""
    if study.decode.average is not False:
        return list(items.read_shown(study, split, dataset).names)
    places: dict[str, list[int]] = {}
    for i, label in enumerate(brain.read_labels(layout.workspace_of(study), split, dataset)):
        places.setdefault(label, []).append(i)
    labels = items.read_shown(study, split, dataset).labels  # samples of one label follow each other, in order
    return [f"sample{places[label].pop(0) + 1:06d}-{label}" for label in labels]


class _WriteDecoded:
    """Writes the decoded features of some items of one layer."""

    def __init__(
        self,
        study: Study,
        where: tuple[str, str, str, str, str],
        rows: dict[str, int],
        shape: tuple[int, ...],
        correct: Correct | None,
    ) -> None:
        self._study, self._where, self._rows, self._shape, self._correct = study, where, rows, shape, correct

    def __call__(self, folder: Path, names: Collection[str]) -> None:
        rows = {name: row for name, row in self._rows.items() if name in names}
        numbers = np.array(list(rows.values()), dtype=np.int64)
        values = self._read("features", numbers)
        if self._correct is not None and self._study.decode.norm_correction != "none":
            split, roi, _, name, layer = self._where
            workspace = layout.workspace_of(self._study)
            means = arrays.read(workspace, layout.decoder(split, roi, name, layer, "stats"))[:, 1]
            values = self._correct(values, self._read("gain", numbers), self._read("offset", numbers), means)
        _write_each(folder, list(rows), values, self._shape)

    def _read(self, part: str, rows: Array) -> Array:
        return arrays.read(layout.workspace_of(self._study), layout.decoded(*self._where, part), rows)


def _write_each(folder: Path, names: list[str], values: Array, shape: tuple[int, ...]) -> None:
    """Write one file a row of (n, n_units)."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = [
            pool.submit(feature_trees.write_file, folder / name, row, shape)
            for name, row in zip(names, values, strict=True)
        ]
        for one in done:
            one.result()


def statistics(study: Study, selection: Selection) -> Iterator[Batch]:
    """Yield two files of the spread of true features, which norm corrections divide by.

    `estimated_<network>_cnn_feat_std.mat`: for each layer, (1, 1) float32, the mean over the training stimuli of the
    mean over channels of the spatial standard deviation with ddof 0 (over all units for a layer without places), as in
    the scripts of 2019; `..._dof1.mat`: the same with ddof 1.

    Raises
    ------
    MissingStore
        If features are not all there.
    StudyError
        If the training dataset has no stimuli, or decoders were trained elsewhere (`fit.files`).
    """
    if study.fit.files:
        raise StudyError(
            "export",
            [
                "fit.files: nothing says which stimuli the decoders were trained on, so there is no spread of them to "
                "export; take the file that came with the decoders, or export it from a study that fits"
            ],
        )
    workspace, name = layout.workspace_of(study), selection.network(study)
    shapes, table = store_shapes.read(study), images.read_table(workspace)
    layers = selection.layers_of(study)
    rows = np.flatnonzero([dataset == study.training_dataset for dataset in table.dataset])
    if not rows.size:
        raise StudyError("datasets", [f"no stimulus belongs to {study.training_dataset}, so there is no spread"])
    source = source_of(workspace, [shapes.made_by(name, layer) for layer in layers], layers=layers)
    for column, ending in ((1, ""), (2, "_dof1")):
        file = f"estimated_{name}_cnn_feat_std{ending}.mat"

        def write(folder: Path, names: Collection[str], column: int = column, file: str = file) -> None:
            spread = {
                layer: arrays.read(workspace, layout.norms(name, layer), rows)[:, column].mean(dtype=np.float64)
                for layer in layers
            }
            matlab.write_v5(folder / file, {layer: np.full((1, 1), s, np.float32) for layer, s in spread.items()})

        yield Batch({file: OVERHEAD + 128 * len(layers)}, source, write, 12 * len(table.labels))
