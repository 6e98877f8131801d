"""Decoders for other programs: the tree that bdpy's `ModelTest` predicts with, channel by channel."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import write_atomic
from hpc_recon.core.memory import reading_bytes
from hpc_recon.exchange.exporting import OVERHEAD, Batch, Selection, place, source_of
from hpc_recon.formats import decoder_trees, feature_trees, matlab
from hpc_recon.stores import arrays, layout, statistics
from hpc_recon.stores import shapes as store_shapes

#: Bytes of a weight in a file, compressed (measured: 5.1 to 6.1), rounded up for the projection.
WEIGHT_BYTES = 7
#: Copies of a weight and its coordinates, 64 bits each, while they are written (measured: 80 bytes with four axes).
_COORDINATE_COPIES = 2
SCALING = ("x_mean", "x_norm", "y_mean", "y_norm")


@dataclass(frozen=True)
class _Layer:
    """The decoders of one layer: where they are, and their shape."""

    study: Study
    split: str
    roi: str
    name: str
    layer: str
    #: (C, H, W) or (K,): whole layers, or the units that were decoded.
    shape: tuple[int, ...]
    k: int
    #: Folder of the export.
    folder: str

    @property
    def workspace(self) -> Path:
        """Where the stores are."""
        return layout.workspace_of(self.study)

    @property
    def per_channel(self) -> int:
        """Units of one file."""
        return math.prod(self.shape[1:]) if len(self.shape) > 1 else self.shape[0]

    def ref(self, part: str) -> layout.Ref:
        """Return where a part of the decoders lies."""
        return layout.decoder(self.split, self.roi, self.name, self.layer, part)

    def scaling(self, folder: Path, _: Collection[str]) -> None:
        """Write the statistics of voxels and units."""
        stats = arrays.read(self.workspace, self.ref("stats"))  # (units, 3): bias, mean, scale
        mean, scale = (statistics.read(self.workspace, self.split, self.roi, part) for part in ("mean", "scale"))
        found = decoder_trees.Scaling(mean, scale, stats[:, 1], stats[:, 2], self.shape)
        decoder_trees.write_scaling(folder / self.folder, found)

    def channel(self, folder: Path, number: int) -> None:
        """Write weights and biases of one channel, or of a layer without places."""
        start = number * self.per_channel
        units = slice(start, start + self.per_channel)
        voxel, weight, stats = (
            arrays.read(self.workspace, self.ref(part), units) for part in ("voxel", "weight", "stats")
        )
        unused = np.iinfo(voxel.dtype).max
        voxels = np.where(voxel == unused, decoder_trees.UNUSED, voxel.astype(np.uint32))
        rows = decoder_trees.DecoderRows(start, voxels, weight, stats[:, 0])
        n_voxels = len(statistics.read(self.workspace, self.split, self.roi, "mean"))
        decoder_trees.write_rows(folder / self.folder, rows, n_voxels, self.shape)

    def info(self, folder: Path, _: Collection[str]) -> None:
        """Write the mark that all other files are there."""
        content = {"_status": {"computation_id": self.folder, "computation_status": "done"}}
        write_atomic(folder / self.folder / "info.yaml", yaml.safe_dump(content, sort_keys=True).encode())


def decoders(study: Study, selection: Selection) -> Iterator[Batch]:
    """Yield the files of `<layer>/<subject>/<roi>[/<fold>]/model/`: statistics, a channel a batch, then `info.yaml`.

    Raises
    ------
    MissingStore
        If decoders are not all there.
    StudyError
        If the study stores none (`fit.decode`), or the lab's program cannot predict with them (`fit.spatial_norm`).
    """
    _require_linear(study)
    workspace, network = layout.workspace_of(study), selection.network(study)
    shapes, name = store_shapes.read(study), study.decoded_name(network)
    for split in selection.fitted_splits(study):
        subject, fold = place(split)
        for roi in selection.chosen_rois(study):
            for layer in selection.layers_of(study):
                key = f"fit/{split}/{roi}/{name}/{layer}"
                source = source_of(workspace, [key, statistics.made_by(split, roi)])
                whole = shapes.unit_shape(network, layer)
                n_units, k = arrays.describe(workspace, layout.decoder(split, roi, name, layer, "weight")).shape
                folder = feature_trees.decoded_path(layer, subject, None, roi, fold or "model").removesuffix(".mat")
                found = _Layer(
                    study,
                    split,
                    roi,
                    name,
                    layer,
                    whole if n_units == math.prod(whole) else (n_units,),
                    k,
                    folder if fold is None else f"{folder}/model",
                )
                yield from _batches(found, source, shapes.n_voxels(split, roi))


def _batches(found: _Layer, source: str, n_voxels: int) -> Iterator[Batch]:
    n_units = math.prod(found.shape)
    sizes = {"x_mean": n_voxels, "x_norm": n_voxels, "y_mean": n_units, "y_norm": n_units}
    scaling = {f"{found.folder}/{part}.mat": 4 * n + OVERHEAD for part, n in sizes.items()}
    yield Batch(scaling, source, found.scaling, reading_bytes(n_units, 6))
    n_weights, axes = found.per_channel * found.k, max(2, len(found.shape) + 1)
    per_weight = WEIGHT_BYTES if 4 * n_weights > matlab.CHUNKED_ABOVE else 8 * axes + 4
    for number in range(n_units // found.per_channel):
        ending = f"/{number:08d}.mat" if len(found.shape) > 1 else ".mat"
        files = {
            f"{found.folder}/W{ending}": per_weight * n_weights + 2 * OVERHEAD,
            f"{found.folder}/b{ending}": 4 * found.per_channel + OVERHEAD,
        }

        def write(folder: Path, names: Collection[str], number: int = number) -> None:
            found.channel(folder, number)

        memory = reading_bytes(n_weights, itemsize=8) + _COORDINATE_COPIES * 8 * (axes + 1) * n_weights
        yield Batch(files, source, write, memory)
    last = hashlib.sha256(f"{source} {found.folder}".encode()).hexdigest()[:16]
    yield Batch({f"{found.folder}/info.yaml": 128 + len(found.folder)}, last, found.info)


def _require_linear(study: Study) -> None:
    problems = []
    if study.decode.files:
        problems.append("decode.files: features were decoded elsewhere, so there are no decoders to export")
    if study.fit.decode:
        problems.append("fit.decode: true stores predictions and no decoders; fit without it to export them")
    if study.fit.spatial_norm is not None:
        problems.append(
            f"fit.spatial_norm: {study.fit.spatial_norm} changes each pattern before a decoder sees it, which no file "
            "of the lab's can say; export decoded features instead"
        )
    if problems:
        raise StudyError("export", problems)
