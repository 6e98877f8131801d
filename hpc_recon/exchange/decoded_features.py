"""Decoded features that were computed elsewhere: found by label in trees of files, and read into the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpc_recon.core import file_records, threads
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import unit_sample
from hpc_recon.formats import feature_trees
from hpc_recon.stores import arrays, items, layout
from hpc_recon.stores import shapes as store_shapes
from hpc_recon.stores.images import examples


@dataclass(frozen=True)
class Found:
    """The files of one split, ROI and layer, for the items of all test datasets."""

    place: tuple[str, str, str, str]
    files: Mapping[str, Path] = field(repr=False)

    @property
    def redo(self) -> str:
        """The command that reads the files anew."""
        return f"`python -m hpc_recon.decode --study <study file> --redo --only '{'/'.join(self.place)}/decode-*'`"

    def records(self, workspace: Path) -> Path:
        """Return the folder that says which files were read."""
        return workspace.joinpath(file_records.SOURCES, "_decoded", *self.place)


def look(study: Study, split: str, roi: str, network: str, layer: str) -> Found:
    """Find the decoded features of a layer for every item of the test datasets; no file is opened.

    Raises
    ------
    DataError
        If an item has no file, or one in two folders.
    """
    options = study.decode.files[network]
    subject, region = options.subjects.get(split, split), options.rois.get(roi, roi)
    place = (split, roi, study.decoded_name(network), layer)
    held: dict[str, Path] = {}
    twice: list[str] = []
    looked = []
    for folder in options.folders:
        tree = feature_trees.DecodedTree(folder)
        looked.append(str(folder / tree.inner(layer, subject, region)))
        if (folder / tree.inner(layer, subject, region)).is_dir():
            own = tree.files(layer, subject, region)
            twice += [label for label in own if label in held]
            held |= own
    labels = [
        label for dataset in study.test_datasets(split) for label in items.read_shown(study, split, dataset).names
    ]
    missing = [label for label in labels if label not in held]
    where = " or ".join(looked)
    if missing:
        known = f"it has {len(held)}: {examples(list(held))}" if held else "no such folder has any"
        raise DataError(
            f"{len(missing)} of {len(labels)} test stimuli have no decoded features in {where}: {examples(missing)}; "
            f"{known}. Add the files, or name subject and ROI as the files do under decode.files.{network}"
        )
    both = sorted(set(twice) & set(labels))
    if both:
        raise DataError(f"{len(both)} test stimuli have decoded features twice, in {where}: {examples(both)}; name one")
    return Found(place, {label: held[label] for label in labels})


def identity(study: Study, found: Found) -> str:
    """Return what stays the same while the files hold what was read; see `file_records.identity`."""
    return file_records.identity(found.records(layout.workspace_of(study)), found.files, redo=found.redo)


def write(study: Study, place: tuple[str, str, str, str]) -> list[Path]:
    """Read the decoded features of a layer, an item at a time, and write them for each test dataset.

    Returns
    -------
    list of Path
        Files written: shards, and the record of what was read.

    Raises
    ------
    DataError
        If a file is damaged, or has other units than the layer.
    """
    split, roi, decoded_name, layer = place
    workspace, network = layout.workspace_of(study), study.network_of(decoded_name)
    found = look(study, split, roi, network, layer)
    shape = store_shapes.read(study).unit_shape(network, layer)
    units = unit_sample(study, network, layer, store_shapes.read(study).n_units(network, layer))
    written = [
        file_records.record(found.records(workspace), found.files, list(found.files), name="all", redo=found.redo)
    ]
    for dataset in study.test_datasets(split):
        names = items.read_shown(study, split, dataset).names
        count = min(file_records.AT_ONCE, 2 * threads.available())
        values = feature_trees.read_rows({n: found.files[n] for n in names}, units, threads=count, shape=shape)
        written += arrays.write(workspace, layout.decoded(split, roi, dataset, decoded_name, layer), (0, 0), values)
    return written
