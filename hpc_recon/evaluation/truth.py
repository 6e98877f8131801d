"""What decoded items of one layer are compared with: the features of what they show, and of the training stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import ranges
from hpc_recon.numerics import nearness, scores
from hpc_recon.stores import arrays, images, layout, shapes

if TYPE_CHECKING:
    from hpc_recon.numerics.scores import Products
    from hpc_recon.stores.brain import Items

#: Units of all training stimuli that are held at once: 1,200 stimuli x 4,096 units are 38 MiB in float64.
TRAINING_UNITS = 4096


@dataclass(frozen=True)
class Truth:
    """What the items of a dataset show.

    Attributes
    ----------
    scored
        (n_scored,) numbers of the items that have a truth, ascending; a null condition has none.
    target
        (n_scored,) which target each of them shows.
    rows
        By target: rows of the stimuli table, ascending. One for a stimulus; all stimuli of a category.
    category
        By target: the name of its category; None unless all have one, and there are two or more.
    """

    scored: Array
    target: Array
    rows: tuple[Array, ...]
    category: tuple[str, ...] | None = None

    @property
    def has_means(self) -> bool:
        """Whether some target is a mean over stimuli, as that of a category."""
        return any(len(group) > 1 for group in self.rows)


def of_items(study: Study, items: Items) -> Truth:
    """Return what items show; targets are stimuli in the order of their rows, then categories in that of their names.

    Raises
    ------
    DataError
        If a category has no stimulus.
    """
    scored = np.flatnonzero([condition != "nothing" for condition in items.conditions])
    stimuli = np.unique(items.rows[items.rows >= 0])
    place = {("stimulus", int(row)): number for number, row in enumerate(stimuli)}
    groups = [np.array([row]) for row in stimuli]
    owner = np.array(images.read_table(layout.workspace_of(study)).category, dtype=str)
    names = [str(owner[row]) for row in stimuli]
    wanted = sorted({x for x, kind in zip(items.labels, items.conditions, strict=True) if kind == "category"})
    if wanted:
        members = {label: np.flatnonzero(owner == label) for label in wanted}
        absent = [label for label, rows in members.items() if not len(rows)]
        if absent:
            raise DataError(
                f"{len(absent)} categories of brain samples are those of no stimulus: {images.examples(absent)}; run "
                f"ingest again"
            )
        categories = {("category", label): len(groups) + number for number, label in enumerate(wanted)}
        groups += members.values()
        names += wanted
    else:
        categories = {}
    target = [
        place["stimulus", int(items.rows[i])] if items.rows[i] >= 0 else categories["category", items.labels[i]]
        for i in scored
    ]
    known = tuple(names) if "" not in names and len(set(names)) > 1 else None
    return Truth(scored, np.array(target, dtype=np.int64), tuple(groups), known)


class LayerReader:
    """Reads one layer of one split: what was decoded, what is true, and the decoders' training statistics."""

    def __init__(self, study: Study, place: tuple[str, str, str, str]) -> None:
        self._workspace = layout.workspace_of(study)
        self._split, self._roi, network, self._layer = place
        self._name = study.decoded_name(network)
        self._features = layout.features(network, self._layer)
        self.n_stored = arrays.describe(self._workspace, self._features).shape[1]
        self._unit_shape = shapes.read(study).unit_shape(network, self._layer)
        self._units = unit_sample(study, network, self._layer, self.n_stored)
        self.n_units = self.n_stored if self._units is None else len(self._units)

    def filters(self) -> Array | None:
        """Return the filter (channel) of each unit, (n_units,) int64; None where the layer has no positions."""
        shape = self._unit_shape
        if len(shape) != 3:
            return None
        units = np.arange(self.n_stored) if self._units is None else np.asarray(self._units)
        return units // (shape[1] * shape[2])

    def statistics(self, start: int, stop: int) -> dict[str, Array]:
        """Return `mean` and `scale` of the units over the training stimuli, (units,) each."""
        ref = layout.decoder(self._split, self._roi, self._name, self._layer, "stats")
        stats = arrays.read(self._workspace, ref, slice(start, stop))  # (units, 3): bias, mean, scale
        return {"mean": stats[:, 1], "scale": stats[:, 2]}

    def decoded(self, dataset: str, start: int, stop: int, *, n_items: int) -> Array:
        """Return decoded features (items, units); raise unless they have as many items as the brain data."""
        ref = layout.decoded(self._split, self._roi, dataset, self._name, self._layer)
        decoded = arrays.read(self._workspace, ref, None, slice(start, stop))
        if len(decoded) != n_items:
            raise DataError(
                f"decoded features and test items must agree, but {ref.path} has {len(decoded)} rows and the brain "
                f"data give {n_items} items; re-run `python -m hpc_recon.decode --redo`"
            )
        return decoded

    def true(self, rows: Array, start: int, stop: int) -> Array:
        """Return the features of stimuli, (rows, units)."""
        columns = slice(start, stop) if self._units is None else self._units[start:stop]
        return arrays.read(self._workspace, self._features, rows, columns)

    def truth(self, own: Truth, start: int, stop: int, *, absolute: bool = False) -> Array:
        """Return the features of each target of a dataset, (targets, units): the mean over its stimuli.

        With `absolute`, of absolute values.
        """
        rows = np.unique(np.concatenate(own.rows))
        found = self.true(rows, start, stop)
        found = np.abs(found) if absolute else found
        if not own.has_means:
            return found[np.searchsorted(rows, [group[0] for group in own.rows])]
        means = [found[np.searchsorted(rows, group)].mean(axis=0, dtype=np.float64) for group in own.rows]
        return np.stack(means).astype(np.float32)

    def with_training(
        self, decoded: dict[str, Array], rows: Array, first: int, *, statistics: dict[str, Array]
    ) -> dict[str, Products]:
        """Compare decoded items (items, units from `first`) with all training stimuli, a few units at a time."""
        n_units = len(statistics["mean"])
        total = {name: scores.products(values[:, :0], np.empty((len(rows), 0))) for name, values in decoded.items()}
        for start, stop in ranges(n_units, TRAINING_UNITS):
            units = {name: values[:, start:stop] for name, values in decoded.items()}
            true = self.true(rows, first + start, first + stop)
            mean, scale = (statistics[name][start:stop] for name in ("mean", "scale"))
            for name, own in nearness.with_training(units, true, mean=mean, scale=scale).items():
                total[name] += own
        return total
