"""Images from decoded shape and semantics (method `shape_semantic`): one pass of a trained generator."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.files import write_atomic
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.shape_options import ShapeSemanticOptions
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.methods import display, shape_semantic
from hpc_recon.nets import costs, devices, shape_semantic_costs
from hpc_recon.reconstruction import writing
from hpc_recon.stores import images, items, layout
from hpc_recon.training import Place, shape_inputs, shape_sources
from hpc_recon.training import shape_semantic as learner
from hpc_recon.training.models import Model
from hpc_recon.training.shape_inputs import Inputs

#: Training images of the decoded class that are shown of each item.
EXAMPLES = 3
#: Folder beside the images: the stimulus, the decoded shape of each area, the joined one, the image, and `EXAMPLES`
#: training images of the class that was decoded.
STAGES = "stages"
#: Pixels of an edge of each of these pictures.
_SHOWN = 96


def _options(study: Study, variant: str) -> ShapeSemanticOptions:
    options = study.reconstruct[variant]
    assert isinstance(options, ShapeSemanticOptions), options.method
    return options


def _places(study: Study, variant: str, split: str, roi: str) -> list[Place]:
    """Return the networks whose images are averaged."""
    options = _options(study, variant)
    return [Place(name, split, roi) for name in (options.model, *options.averaged_with)]


def plan(study: Study, shapes: Shapes, variant: str) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each split, ROI and dataset.

    Raises
    ------
    MissingStore
        If there are no brain samples, or the network was never trained.
    """
    options, tiles = _options(study, variant), []
    for split, roi, dataset in study.image_sets(variant):
        group = _group(study, variant, (split, roi, dataset))
        for start, stop in ranges(shapes.n_items(split, dataset), options.images_per_tile):
            need = _need(study, shapes, _places(study, variant, split, roi), dataset, n=stop - start)
            tiles.append(Tile(group, "reconstruct", start, stop, need))
    return tiles


def _group(study: Study, variant: str, where: tuple[str, str, str]) -> Group:
    split, roi, _ = where
    options, places = _options(study, variant), _places(study, variant, *where[:2])
    settings: dict[str, Any] = {
        "options": options.model_dump(include={"method", "shows", "images_per_tile"}),
        "seed": study.seed,
    }
    if options.shows == "image":
        settings["steps"] = [study.train[place.name].steps for place in places]
    if study.decode.average is not True:  # else images of other items would count as done
        settings["average"] = study.decode.average
    upstream = [f"{study.source_verb}/stimuli", f"{study.source_verb}/{split}"]
    for place in places:
        upstream.append(shape_inputs.key(place))
        if options.shows == "image":
            upstream.append(f"train/{place.name}/{split}/{roi}")
        upstream += _decoded(study, place)
    return Group("reconstruct", (variant, *where), canonical(settings), tuple(dict.fromkeys(upstream)))


def _decoded(study: Study, place: Place) -> list[str]:
    """Return the groups of the decoded features that are read."""
    options, verb = shape_sources.options_of(study, place), "fit" if study.fit.decode else "decode"
    layer = shape_sources.shape_layer(study, options)
    name = study.decoded_name(options.shape.network)
    found = [f"{verb}/{place.split}/{roi}/{name}/{layer}" for roi in shape_sources.areas_of(options, place)]
    own = options.semantic
    if options.has("semantics") and own.target == "embedding" and own.decoder == "linear" and own.network is not None:
        layer = shape_sources.layer_of(study, own.network, own.layer)
        found.append(f"{verb}/{place.split}/{own.roi or place.roi}/{study.decoded_name(own.network)}/{layer}")
    return found


def _need(study: Study, shapes: Shapes, places: list[Place], dataset: str, *, n: int) -> Need:
    """Project a tile of `n` items."""
    place = places[0]
    options = shape_sources.options_of(study, place)
    n_vector = learner.n_semantic(study, shapes, place)
    cost = shape_semantic_costs.project(options, n_vector)
    generator, _ = shape_semantic_costs.networks(shape_semantic_costs.sizes_of(options, n_vector))
    height, width = shapes.image_size()
    image = array_bytes(height, width, 3)
    n_items, n_voxels = shapes.n_items(place.split, dataset), shapes.n_voxels(place.split, place.roi)
    n_cells = shapes.n_units(options.shape.network, shape_sources.shape_layer(study, options))
    areas = len(shape_sources.areas_of(options, place))
    read = len(places) * (cost.checkpoint_bytes + array_bytes(shapes.n_stimuli(), n_cells, areas))
    read += array_bytes(shapes.n_samples(place.split, dataset), n_voxels)
    embedding = 0
    if options.semantic.target == "kmeans" and options.semantic.network is not None:
        layer = shape_sources.layer_of(study, options.semantic.network, options.semantic.layer)
        embedding = array_bytes(shapes.n_stimuli(), shapes.n_units(options.semantic.network, layer))
    return Need(
        host_bytes=costs.TORCH_BYTES
        + 2 * cost.checkpoint_bytes
        + shard_bytes(shapes.n_samples(place.split, dataset), n_voxels)
        + array_bytes(shapes.n_stimuli() + 3 * n_items, n_cells, areas + 1)
        + 4 * embedding
        + n * (12 * generator.activations + 12 * image),
        device_bytes=4 * generator.n_parameters + 12 * n * generator.activations,
        bytes_in=read + embedding,
        bytes_out=2 * n * image,
        files_out=4 * n,
        seconds=store_seconds(read + n * image) + len(places) * n * cost.seconds + 0.05 * n,
    )


def prepare(study: Study, variants: Sequence[str]) -> None:
    """Look whether the networks that make images were trained to their end.

    Raises
    ------
    MissingStore
        If one was not; names the command.
    """
    for variant in variants:
        for split, roi in dict.fromkeys(where[:2] for where in study.image_sets(variant)):
            for place in _places(study, variant, split, roi):
                shape_inputs.read(study, place)
                if _options(study, variant).shows == "image":
                    Model(study, place.name, split, roi).require(study.train[place.name].steps)


def work(study: Study, tile: Tile) -> list[Path]:
    """Make and write the images of one tile, and pictures of what they were made from; return the files.

    Raises
    ------
    DamagedStore
        If inputs or a checkpoint cannot be used.
    """
    variant, split, roi, dataset = tile.group.path
    options, places = _options(study, variant), _places(study, variant, split, roi)
    shown, wanted = items.read_shown(study, split, dataset), slice(tile.start, tile.stop)
    parts, records = [], []
    examples: list[Array] = []
    for place in places:
        inputs = shape_inputs.read(study, place)
        shape, semantic, areas = shape_inputs.of_items(study, place, dataset, inputs)
        parts.append(_made(study, place, inputs, shape[wanted], semantic[wanted], shows=options.shows))
        decoded = None if inputs.semantics is None else inputs.semantics.classes(study, place, dataset)
        if decoded is None:
            continue
        records.append(_semantic_records(study, place, inputs, decoded, shown.rows))
        examples = examples or _examples(study, place, inputs, decoded)
    size = parts[0].shape[1]
    table = images.read_table(layout.workspace_of(study))
    made = np.asarray(np.mean(parts, axis=0, dtype=np.float64), np.float32)
    whole = display.placed(made, image_size=size, stimuli=(table.height, table.width))
    files = []
    for i, (name, image) in enumerate(zip(shown.names[wanted], whole, strict=True)):
        path = layout.image_file(study, variant, split, roi, dataset, name)
        alike = examples[tile.start + i] if examples else np.zeros(0, np.int64)
        record = {
            "item": name,
            "variant": variant,
            "options": options.model_dump(mode="json"),
            "models": [place.name for place in places],
            "areas": list(shape_sources.areas_of(shape_sources.options_of(study, places[0]), places[0])),
            "semantics": [own[tile.start + i] for own in records],
            "examples": [table.labels[row] for row in alike if row >= 0],
            "losses": [],
        }
        strip = [_stimulus(study, int(shown.rows[tile.start + i]), whole.shape[1:3])]
        strip += [*areas[:, tile.start + i], shape[tile.start + i], image.transpose(2, 0, 1)]
        strip += [_stimulus(study, int(row), whole.shape[1:3]) for row in alike]
        files += writing.write(study, path, image, record)
        files.append(_write_strip(path.parent / STAGES / f"{path.stem}.png", strip))
    return files


def _made(study: Study, place: Place, inputs: Inputs, shape: Array, semantic: Array, *, shows: str) -> Array:
    """Return what is shown of some items, (n, size, size, 3) float32 in [0, 1]."""
    options = shape_sources.options_of(study, place)
    given = shape_semantic.as_input(shape, size=options.image_size)
    if shows == "shape":
        return np.ascontiguousarray((given.transpose(0, 2, 3, 1) + 1.0) / 2.0)
    state = Model(study, place.name, place.split, place.roi).read(options.steps).trainer
    generator = shape_semantic.trained(options, state, n_semantic=inputs.n_semantic)
    with devices.settings(len(shape) * options.image_size**2):
        return shape_semantic.images_of(generator, given, semantic, device=devices.choose())


def _semantic_records(study: Study, place: Place, inputs: Inputs, decoded: Array, rows: Array) -> list[dict[str, Any]]:
    """Return what was decoded of each item's class, and, for evaluation only, the class of what it shows."""
    assert inputs.semantics is not None
    options = shape_sources.options_of(study, place)
    names = inputs.semantics.names
    known: list[Any] = [None] * len(rows)
    if inputs.semantics.centres is not None and options.semantic.network is not None:
        layer = shape_sources.layer_of(study, options.semantic.network, options.semantic.layer)
        some = np.flatnonzero(rows >= 0)
        true = items.true_features(study, options.semantic.network, layer, rows[some])
        for i, cluster in zip(some.tolist(), shape_inputs.classes_of(inputs, true).tolist(), strict=True):
            known[i] = cluster
    else:
        category = images.read_table(layout.workspace_of(study)).category
        known = [category[row] if row >= 0 else None for row in rows]
    return [
        {"model": place.name, "decoded": names[own] if names else own, "true": true}
        for own, true in zip(decoded.tolist(), known, strict=True)
    ]


def _examples(study: Study, place: Place, inputs: Inputs, decoded: Array) -> list[Array]:
    """Return rows of `EXAMPLES` training images of the class decoded of each item, -1 where there are fewer.

    Of a cluster those nearest to its centre, of a category the first ones.
    """
    made = inputs.semantics
    assert made is not None
    options = shape_sources.options_of(study, place)
    rows = inputs.rows[inputs.has_brain]
    if made.centres is not None and options.semantic.network is not None:
        layer = shape_sources.layer_of(study, options.semantic.network, options.semantic.layer)
        embedding = items.true_features(study, options.semantic.network, layer, rows)
        own = shape_inputs.classes_of(inputs, embedding)
        order = np.argsort(np.linalg.norm(embedding - made.centres[own], axis=1), kind="stable")
        rows, own = rows[order], own[order]
    else:
        category = images.read_table(layout.workspace_of(study)).category
        own = np.array([made.names.index(category[row]) for row in rows])
    chosen = {int(c): rows[own == c][:EXAMPLES] for c in np.unique(decoded)}
    return [np.pad(chosen[int(c)], (0, EXAMPLES - len(chosen[int(c)])), constant_values=-1) for c in decoded]


def _stimulus(study: Study, row: int, size: tuple[int, int]) -> Array:
    """Return what an item shows, (3, H, W) in [0, 1]; black where that is no stimulus."""
    if row < 0:
        return np.zeros((3, *size), np.float32)
    (image,) = images.read_images(layout.workspace_of(study), np.array([row]))
    return np.asarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)


def _write_strip(path: Path, pictures: Sequence[Array]) -> Path:
    """Write pictures (C, H, W) in [0, 1] side by side."""
    sheet = []
    for picture in pictures:
        values = np.rint(255 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)
        values = np.broadcast_to(values, (3, *values.shape[1:])).transpose(1, 2, 0)
        own = Image.fromarray(np.ascontiguousarray(values)).resize((_SHOWN, _SHOWN), Image.Resampling.NEAREST)
        sheet.append(np.asarray(own))
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(sheet, axis=1)).save(stream, format="PNG")
    return write_atomic(path, stream.getvalue())
