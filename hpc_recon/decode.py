"""Decode test data: the features of every unit from brain samples that no decoder has seen.

Two stages. `decode`: one tile a shard of units predicts all test datasets (nothing is left to do here with
`fit.decode: true`); with `decode.files` one tile a layer reads what was decoded elsewhere. `correct`: one tile a layer
computes gain and offset of each item for `decode.norm_correction`, from the features of the network's reference images,
else of training stimuli, never of test stimuli; the decoded features themselves stay as they are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core import reference_options, threads
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, writing_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds

if TYPE_CHECKING:
    from hpc_recon.core.array import Array

log = logging.getLogger(__name__)
#: Copies of one file of decoded features in memory while some are read at once.
FILES_IN_MEMORY = 64


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of both stages.

    Raises
    ------
    StudyError
        If a norm correction needs whole layers but only a sample of units is decoded.
    MissingStore
        If features or brain samples do not exist yet.
    """
    _require_whole_layers(study, shapes)
    decode = [] if study.fit.decode else (_plan_files if study.decode.files else _plan_decode)(study, shapes)
    return [*decode, *_plan_correct(study, shapes)]


def _require_whole_layers(study: Study, shapes: Shapes) -> None:
    from hpc_recon.core.units import label
    from hpc_recon.numerics.corrections import CHANNEL_WISE

    method = study.decode.norm_correction
    if study.units is None or method not in CHANNEL_WISE:
        return
    sampled = [
        f"{network}/{layer}"
        for network, described in study.networks.items()
        for layer in described.layers
        if len(shapes.unit_shape(network, layer)) > 1
        and study.n_decoded(n := shapes.n_units(network, layer), layer) < n
    ]
    if sampled:
        raise StudyError(
            "decode.norm_correction",
            [
                f"{method} needs the spread of each channel and so whole layers, but units: {label(study.units)} "
                f"decodes a sample of {', '.join(sampled)}; use norm_correction l2_norm or none, or leave out units"
            ],
        )


def _plan_decode(study: Study, shapes: Shapes) -> list[Tile]:
    from hpc_recon.numerics import needs
    from hpc_recon.stores import layout

    tiles = []
    for group, network, layer in _groups(study, shapes):
        split, roi = group.path[:2]
        n_voxels = shapes.n_voxels(split, roi)
        items = [shapes.n_items(split, name) for name in study.test_datasets(split)]
        read = max(shapes.n_samples(split, name) for name in study.test_datasets(split))
        k = _width(study, shapes, (split, roi, network, layer)) if study.fit.files else study.fit.most_voxels(n_voxels)
        n_units = study.n_decoded(shapes.n_units(network, layer), layer)
        for start, stop in ranges(n_units, layout.units_per_shard(n_units)):
            n = stop - start
            bytes_in = needs.decoder_bytes(n, k, n_voxels) + array_bytes(n, 3) + array_bytes(sum(items), n_voxels)
            need = Need(
                host_bytes=needs.decode_tile_bytes(n, n_voxels=n_voxels, k=k, n_items=items, n_samples=read),
                device_bytes=needs.predict_bytes(sum(items), n, n_voxels=n_voxels, k=k, n_threads=1)
                + array_bytes(n, 2 * k),
                bytes_in=bytes_in,
                bytes_out=array_bytes(sum(items), n),
                files_out=len(items),
                seconds=store_seconds(bytes_in + array_bytes(sum(items), n))
                + needs.predict_seconds(sum(items), n, k=k, n_threads=threads.available()),
            )
            tiles.append(Tile(group, "decode", start, stop, need))
    return tiles


def _width(study: Study, shapes: Shapes, where: tuple[str, str, str, str]) -> int:
    """Return how many voxels the units of decoders from files read."""
    from hpc_recon.exchange import given_decoders

    return given_decoders.width(study, shapes, where)


def _plan_files(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a layer, which reads the decoded features of all items from files."""
    from hpc_recon.stores import layout

    tiles = []
    for group, network, layer in _groups(study, shapes):
        n_units = study.n_decoded(shapes.n_units(network, layer), layer)
        items = [shapes.n_items(group.path[0], name) for name in study.test_datasets(group.path[0])]
        bytes_out = array_bytes(sum(items), n_units)
        need = Need(
            host_bytes=array_bytes(max(items), n_units)
            + max(writing_bytes(max(items), n_units), array_bytes(FILES_IN_MEMORY, shapes.n_units(network, layer))),
            bytes_in=array_bytes(sum(items), shapes.n_units(network, layer)),
            bytes_out=bytes_out,
            files_out=1 + len(items) * -(-n_units // layout.units_per_shard(n_units)),
            seconds=store_seconds(3 * bytes_out),
        )
        tiles.append(Tile(group, "decode", 0, n_units, need))
    return tiles


def _plan_correct(study: Study, shapes: Shapes) -> list[Tile]:
    from hpc_recon.numerics import needs

    tiles = []
    for group, network, layer in _groups(study, shapes):
        n_units = study.n_decoded(shapes.n_units(network, layer), layer)
        n_items = sum(shapes.n_items(group.path[0], name) for name in study.test_datasets(group.path[0]))
        bytes_in = array_bytes(n_items, n_units) if study.decode.norm_correction != "none" else 0
        need = Need(
            host_bytes=needs.correct_tile_bytes(n_units, n_stimuli=shapes.n_stimuli()),
            bytes_in=bytes_in,
            bytes_out=array_bytes(2, n_items),
            files_out=2 * len(study.test_datasets(group.path[0])),
            seconds=store_seconds(3 * bytes_in),
        )
        tiles.append(Tile(group, "correct", 0, 1, need))
    return tiles


def _groups(study: Study, shapes: Shapes) -> Iterator[tuple[Group, str, str]]:
    """Yield the group of each split, ROI, network and layer, with the network's own name and the layer's."""
    for split, roi, network, layer in study.layer_sets(decoded=True):
        settings: dict[str, object] = {
            "datasets": study.test_datasets(split),
            "average": study.decode.average,
            "norm_correction": study.decode.norm_correction,
        }
        reference = study.networks[network].reference
        if study.decode.norm_correction != "none":
            settings["reference"] = "training" if reference is None else "folder" if reference.folder else "file"
        path = (split, roi, study.decoded_name(network), layer)
        decoders = owner(split)
        upstream = [
            f"fit/{'/'.join((decoders, *path[1:]))}",
            f"fit/{decoders}/{roi}/_brain",
            shapes.made_by(network, layer),
        ]
        if study.decode.files:
            settings["files"] = _identity(study, path, network=network)
        else:
            upstream.insert(2, study.brain_key(split))
        if "reference" in settings and reference is not None:
            upstream.append(f"extract/{network}/_reference")
        yield Group("decode", path, canonical(settings), tuple(upstream)), network, layer


def _identity(study: Study, path: tuple[str, str, str, str], *, network: str) -> str:
    """Return which files hold the decoded features of a layer."""
    from hpc_recon.exchange import decoded_features

    return decoded_features.identity(study, decoded_features.look(study, path[0], path[1], network, path[3]))


def prepare(study: Study) -> None:
    """Create the arrays of decoded features (unless `fit` did), gains and offsets; note the default reference.

    Raises
    ------
    DataError
        If a norm correction restores the spread of training stimuli, and there are none (`fit.files`).
    """
    from hpc_recon.stores import arrays, items, layout
    from hpc_recon.stores import shapes as store_shapes

    without = [name for name, network in study.networks.items() if network.reference is None]
    if study.decode.norm_correction != "none" and without:
        whose = reference_options.TRAINING
        log.warning("%s: %s restores the spread of %s", ", ".join(without), study.decode.norm_correction, whose)
        for split in study.splits() if study.fit.files else ():
            items.training_rows(study, split)
    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    for group, network, layer in _groups(study, shapes):
        split, roi, decoded_name, _ = group.path
        n_units = study.n_decoded(shapes.n_units(network, layer), layer)
        for dataset in study.test_datasets(split):
            n = shapes.n_items(split, dataset)
            shapes_of: dict[str, tuple[int, ...]] = {"gain": (n,), "offset": (n,)}
            if not study.fit.decode:
                shapes_of["features"] = (n, n_units)
            for part, shape in shapes_of.items():
                geometry = layout.whole_geometry(n) if len(shape) == 1 else layout.decoded_geometry(n, n_units)
                ref = layout.decoded(split, roi, dataset, decoded_name, layer, part)
                arrays.create(workspace, ref, shape=shape, dtype="float32", geometry=geometry, made_by=group.key)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    if tile.stage != "decode":
        return _correct(study, tile)
    if study.decode.files:
        from hpc_recon.exchange import decoded_features

        split, roi, decoded_name, layer = tile.group.path
        return decoded_features.write(study, (split, roi, decoded_name, layer))
    from hpc_recon.decoding import predicting

    return predicting.write_predictions(study, tile)


def _correct(study: Study, tile: Tile) -> list[Path]:
    """Compute gain and offset of every item of a layer, one item in memory at a time."""
    import numpy as np

    from hpc_recon.stores import arrays, layout

    split, roi, decoded_name, layer = tile.group.path
    workspace = layout.workspace_of(study)
    files = []
    for dataset in study.test_datasets(split):
        parts = {part: layout.decoded(split, roi, dataset, decoded_name, layer, part) for part in ("gain", "offset")}
        n_items = arrays.describe(workspace, parts["gain"]).shape[0]
        pairs = list(_gains(study, tile, dataset, n_items=n_items))
        for column, ref in enumerate(parts.values()):
            files += arrays.write(workspace, ref, (0,), np.array([pair[column] for pair in pairs], np.float32))
    return files


def _gains(study: Study, tile: Tile, dataset: str, *, n_items: int) -> Iterator[tuple[float, float]]:
    """Yield gain and offset of each item of a test dataset.

    Raises
    ------
    DataError
        If the decoded features of an item have no spread.
    """
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout, shapes

    method = study.decode.norm_correction
    if method == "none":
        yield from [(1.0, 0.0)] * n_items
        return
    split, roi, decoded_name, layer = tile.group.path
    workspace = layout.workspace_of(study)
    network = study.network_of(decoded_name)
    unit_shape = shapes.read(study).unit_shape(network, layer)
    n_units = arrays.describe(workspace, layout.decoder(split, roi, decoded_name, layer, "stats")).shape[0]
    reference = _reference(study, split, roi, network=network, layer=layer)
    if n_units != math.prod(unit_shape):
        unit_shape, reference = (n_units,), _of_sample(reference, n_units / math.prod(unit_shape), method)
    unit_mean = None
    if method == "train_mean_center":
        unit_mean = arrays.read(workspace, layout.decoder(split, roi, decoded_name, layer, "stats"))[:, 1].copy()
    ref = layout.decoded(split, roi, dataset, decoded_name, layer)
    for item in range(n_items):
        features = arrays.read(workspace, ref, slice(item, item + 1))
        gain, offset = corrections.per_item(
            features, unit_shape, method=method, reference=reference, unit_mean=unit_mean
        )
        yield float(gain[0]), float(offset[0])


def _of_sample(reference: float, fraction: float, method: str) -> float:
    """Return the reference for a random sample of a layer's units: a squared norm shrinks as their number does.

    A standard deviation over units (layers without space) stays what it is; spatial ones are refused by the plan.
    """
    return reference * math.sqrt(fraction) if method == "l2_norm" else reference


def _reference(study: Study, split: str, roi: str, *, network: str, layer: str) -> float:
    """Return the mean spread of undecoded features in the method's measure: of reference images, else training stimuli.

    Raises
    ------
    MissingStore
        If the reference images were not measured.
    """
    import numpy as np

    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout, statistics, tables

    workspace, given = layout.workspace_of(study), study.networks[network].reference
    if given is not None and given.file is not None:  # the study was checked: the file serves the method
        table = tables.read_checked(workspace, layout.reference_table(network))
        return float(table["value"][table["layer"].index(layer)])
    if given is not None:
        spread = arrays.read(workspace, layout.reference(network, layer))  # (n_images, 3)
    else:
        rows: Array = statistics.read(workspace, split, roi, "rows")
        spread = arrays.read(workspace, layout.norms(network, layer), rows)  # (n_stimuli, 3)
    return float(spread[:, corrections.COLUMN[study.decode.norm_correction]].mean(dtype=np.float64))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("decode", argv)


if __name__ == "__main__":
    raise SystemExit(main())
