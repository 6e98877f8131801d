"""Decoders that were trained elsewhere (`fit.files`): which files hold them, and the tiles that read them.

Stages. `statistics`: mean and scale of the voxels of a split and ROI, which decoding z-scores test data with. `count`:
all files of a layer are checked; the most weights that a unit has are the width of its arrays. `fit`: one tile a shard
of units, which reads the files that it needs, one in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core import file_records
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner
from hpc_recon.core.errors import DataError, MissingStore
from hpc_recon.core.memory import array_bytes, writing_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.formats import decoder_trees, feature_trees
from hpc_recon.stores import decoders, layout, metadata

#: Seconds to open the two files of a channel (measured: 0.03 on a local disk at load 4).
PAIR_SECONDS = 0.03
#: Weights that are read in a second, files compressed (measured: 4.7e6 at load 4).
WEIGHTS_PER_SECOND = 3e6


@dataclass(frozen=True)
class Found:
    """The files of the decoders of one split, ROI and layer."""

    #: Split, ROI, name of the decoded network, layer.
    place: tuple[str, str, str, str]
    folder: Path
    #: W and b of each file, in the order of their units.
    pairs: tuple[tuple[Path, Path], ...] = field(repr=False)
    #: Shape of the layer's units, and of those of one file.
    unit_shape: tuple[int, ...]
    inner: tuple[int, ...]

    @property
    def per_file(self) -> int:
        """Units of one file."""
        return math.prod(self.inner)

    @property
    def files(self) -> dict[str, Path]:
        """Every file by its name in the folder, without the ending."""
        named = [self.folder / f"{name}.mat" for name in ("x_mean", "x_norm", "y_mean", "y_norm")]
        named += [path for pair in self.pairs for path in pair]
        return {path.relative_to(self.folder).with_suffix("").as_posix(): path for path in named}

    @property
    def voxel_files(self) -> dict[str, Path]:
        """The statistics of the voxels."""
        return {name: self.folder / f"{name}.mat" for name in ("x_mean", "x_norm")}


def look(study: Study, shapes: Shapes, where: tuple[str, str, str, str]) -> Found:
    """Find the decoders of a split, ROI, network and layer; no file is opened.

    Raises
    ------
    DataError
        If there are none, or in two folders, or a file is missing.
    """
    split, roi, network, layer = where
    options = study.fit.files[network]
    subject, region = options.subjects.get(split, split), options.rois.get(roi, roi)
    inner = feature_trees.decoded_path(layer, subject, None, region, "model").removesuffix(".mat")
    looked = [folder / inner for folder in options.folders]
    here = [folder for folder in looked if folder.is_dir()]
    if len(here) != 1:
        found = "there is no such folder" if not here else f"there are {len(here)} of them"
        remedy = (
            f"add the files, or name subject and ROI as they do under fit.files.{network}" if not here else "name one"
        )
        raise DataError(
            f"decoders of {network}/{layer} for {split}, {roi} must lie in one folder, {' or '.join(map(str, looked))}"
            f", but {found}; {remedy}"
        )
    folder, shape = here[0], shapes.unit_shape(network, layer)
    absent = [name for name in ("x_mean", "x_norm", "y_mean", "y_norm") if not (folder / f"{name}.mat").is_file()]
    if absent:
        raise DataError(
            f"{len(absent)} of 4 files of statistics are missing in {folder}: {', '.join(absent)}; add them"
        )
    pairs = decoder_trees.pairs(folder)
    chunked = pairs[0][0].parent != folder
    wanted = shape[0] if chunked and len(shape) > 1 else 1
    if len(pairs) != wanted:
        raise DataError(
            f"{folder} has {len(pairs)} files in W, but {network}/{layer} has units {shape}, which takes {wanted}: one "
            "for each channel; was training finished, and everything copied?"
        )
    own = (1, *shape[1:]) if chunked and len(shape) > 1 else shape
    return Found((split, roi, study.decoded_name(network), layer), folder, tuple(pairs), shape, own)


def tiles(study: Study, shapes: Shapes) -> Iterator[Tile]:
    """Yield the tiles of all stages.

    Raises
    ------
    DataError
        As `look`.
    MissingStore
        If brain samples or features do not exist yet.
    """
    for split in study.splits():
        for roi in study.rois:
            n_voxels = shapes.n_voxels(split, roi)
            need = Need(
                host_bytes=array_bytes(4, n_voxels, itemsize=8),
                bytes_in=array_bytes(2, n_voxels),
                bytes_out=array_bytes(2, n_voxels, itemsize=8),
                files_out=4,
                seconds=store_seconds(0),
            )
            yield Tile(_brain_group(study, shapes, split, roi), "statistics", 0, 1, need)
    groups = list(_groups(study, shapes))
    costs = [_Cost.of(study, shapes, found) for _, found in groups]
    for (group, _), cost in zip(groups, costs, strict=True):
        yield Tile(group, "count", 0, 1, cost.count())
    for (group, _), cost in zip(groups, costs, strict=True):
        workspace = layout.workspace_of(study)
        per_tile = decoders.units_per_shard(workspace, group.path, n_units=cost.n_units, width=cost.k)
        for start, stop in ranges(cost.n_units, per_tile):
            yield Tile(group, "fit", start, stop, cost.fit(start, stop))


def width(study: Study, shapes: Shapes, where: tuple[str, str, str, str]) -> int:
    """Return how many voxels a unit of a layer reads at most: what is stored, else projected from a file's header."""
    split, roi, network, layer = where
    ref = layout.decoder(split, roi, study.decoded_name(network), layer, "weight")
    try:
        return metadata.describe(layout.workspace_of(study), ref).shape[1]
    except MissingStore:
        found = look(study, shapes, (owner(split), roi, network, layer))  # converted samples have their target's
        return projected_width(found, shapes.n_voxels(split, roi))


def projected_width(found: Found, n_voxels: int) -> int:
    """Return how many weights a unit has by the first file's header: so many units are in a tile and a shard."""
    return _stored(found, n_voxels)[0]


def _stored(found: Found, n_voxels: int) -> tuple[int, int]:
    """Return weights a unit and peak bytes of reading, of the first file; the others are taken to be like it."""
    return decoder_trees.stored(found.pairs[0][0], n_voxels=n_voxels, n_units=found.per_file)


@dataclass(frozen=True)
class _Cost:
    """Sizes of a layer's decoders, and what its tiles will need."""

    n_units: int
    n_files: int
    per_file: int
    k: int
    #: Peak bytes of reading one file, and bytes of a voxel's number.
    reading: int
    voxel_bytes: int

    @classmethod
    def of(cls, study: Study, shapes: Shapes, found: Found) -> _Cost:
        """Look sizes up; the number of weights is projected from the first file's header."""
        split, roi, _, layer = found.place
        n_voxels, n_whole = shapes.n_voxels(split, roi), math.prod(found.unit_shape)
        dtype = np.dtype(layout.voxel_dtype(n_voxels))
        k, reading = _stored(found, n_voxels)
        return cls(study.n_decoded(n_whole, layer), len(found.pairs), found.per_file, k, reading, dtype.itemsize)

    def count(self) -> Need:
        """Return what checking all files takes: one in memory at a time, and the units' statistics."""
        weights = self.n_files * self.per_file * self.k
        return Need(
            host_bytes=self.reading + array_bytes(6, self.n_files * self.per_file),
            bytes_in=6 * weights,
            bytes_out=256 * self.n_files,
            files_out=1,
            seconds=store_seconds(6 * weights) + weights / WEIGHTS_PER_SECOND + PAIR_SECONDS * self.n_files,
        )

    def fit(self, start: int, stop: int) -> Need:
        """Return what reading some units takes: their decoders, and one file, or what writing takes."""
        n = stop - start
        out = array_bytes(n, self.k, itemsize=4 + self.voxel_bytes) + array_bytes(n, 3)
        n_files = min(self.n_files, -(-n // self.per_file) + 1)
        read = n_files * self.per_file * self.k
        statistics_bytes = array_bytes(6, self.n_files * self.per_file)
        return Need(
            host_bytes=out + max(self.reading + statistics_bytes, writing_bytes(n, self.k)),
            bytes_in=6 * read,
            bytes_out=out,
            files_out=3,
            seconds=store_seconds(6 * read + out) + read / WEIGHTS_PER_SECOND + PAIR_SECONDS * n_files,
        )


def _brain_group(study: Study, shapes: Shapes, split: str, roi: str) -> Group:
    found = first(study, shapes, split, roi)
    known = file_records.identity(records(study, (split, roi, "_brain")), found.voxel_files, redo=redo(split, roi))
    settings = {"decoders": "files", "training": study.training_dataset, "files": known}
    upstream = (f"{study.source_verb}/{split}", f"{study.source_verb}/stimuli")
    return Group("fit", (split, roi, "_brain"), canonical(settings), upstream)


def first(study: Study, shapes: Shapes, split: str, roi: str) -> Found:
    """Return the decoders whose statistics of the voxels are taken: those of all layers are the same."""
    network = next(iter(study.networks))
    return look(study, shapes, (split, roi, network, study.networks[network].layers[0]))


def _groups(study: Study, shapes: Shapes) -> Iterator[tuple[Group, Found]]:
    """Yield the group of each split, ROI, network and layer, and its files."""
    for split, roi, network, layer in study.layer_sets():
        found = look(study, shapes, (split, roi, network, layer))
        known = file_records.identity(records(study, found.place), found.files, redo=redo(*found.place))
        settings: dict[str, object] = {"decoders": "files", "files": known}
        if study.units is not None:
            settings |= {"units": study.units, "seed": study.seed}
        upstream = (f"fit/{split}/{roi}/_brain", f"{study.source_verb}/{split}", shapes.made_by(network, layer))
        yield Group("fit", found.place, canonical(settings), upstream), found


def records(study: Study, place: tuple[str, ...]) -> Path:
    """Return the folder that says which files were read."""
    return layout.workspace_of(study).joinpath(file_records.SOURCES, "_decoders", *place)


def redo(*place: str) -> str:
    """Return the command that reads files anew."""
    return f"`python -m hpc_recon.fit --study <study file> --redo --only '{'/'.join(place)}/*'`"
