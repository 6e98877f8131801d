"""Images of method `latent`: its tiles, which latents they render, and the strips of edits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner
from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import write_npy
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import START_SECONDS, Group, Need, Shapes, Tile, canonical, ranges
from hpc_recon.methods import latent as method
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import attributes, costs, devices, latent_generators
from hpc_recon.nets.latents import Shape as GeneratorShape
from hpc_recon.reconstruction import calibrated, starts, writing
from hpc_recon.stores import items, layout, provenance
from hpc_recon.stores import shapes as store_shapes
from hpc_recon.training import latent_data
from hpc_recon.training.models import Model

Place = tuple[str, str, str]
#: Folder beside the images that holds the latents that were rendered.
LATENTS = "latents"
EDITS = "edits"


def plan(study: Study, shapes: Shapes, variant: str) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each split, ROI and dataset.

    Raises
    ------
    StudyError
        If the latents have not as many numbers as the generator reads, or a file is missing.
    DataError
        If a file of an attribute does not fit the latents.
    """
    options = _options(study, variant)
    shape = latent_generators.describe(options.generator)
    layers = study.layers_of(options)
    n_units = {layer: shapes.n_units(options.network, layer) for layer in layers}
    if sum(n_units.values()) != shape.n_inputs:
        shown = ", ".join(f"{layer} {n:,}" for layer, n in n_units.items())
        raise StudyError(
            "reconstruct",
            [
                f"{variant}: the generator {options.generator.kind} reads {shape.n_inputs:,} numbers, but the layers "
                f"of {options.network} have {sum(n_units.values()):,} ({shown}); give the layers of its latent"
            ],
        )
    attributes.require_length(attributes.read(options), shape.n_inputs)
    tiles = []
    for place in study.image_sets(variant):
        group = _group(study, variant, place)
        for start, stop in ranges(shapes.n_items(place[0], place[2]), options.images_per_tile):
            tiles.append(Tile(group, "reconstruct", start, stop, _need(shapes, options, place, shape, n=stop - start)))
    return tiles


def _options(study: Study, variant: str) -> LatentOptions:
    options = study.reconstruct[variant]
    assert isinstance(options, LatentOptions), options.method
    return options


def _need(shapes: Shapes, options: LatentOptions, place: Place, shape: GeneratorShape, *, n: int) -> Need:
    height, width = shapes.image_size()
    image = array_bytes(height, width, 3)
    held = shapes.n_stimuli() if options.calibration == "train_statistics" else 0
    held = max(held, n, shapes.n_items(place[0], place[2]) if options.calibration == "test_statistics" else 0)
    latents = shard_bytes(held, shape.n_inputs, itemsize=8)
    weights = array_bytes(shape.n_parameters)
    compute = array_bytes(shape.n_activations, itemsize=8)
    if options.model is not None:  # weights with both means of Adam, and the items
        n_voxels = shapes.n_voxels(place[0], place[1])
        latents += 4 * array_bytes(n_voxels, shape.n_inputs)
        latents += shard_bytes(shapes.n_samples(place[0], place[2]), n_voxels, itemsize=12)
    rendered = n
    if options.edits is not None:
        rendered += min(n, options.edits.images) * len(options.edits.attributes) * len(options.edits.steps)
    return Need(
        host_bytes=costs.TORCH_BYTES + 2 * weights + compute + latents + 8 * n * image,
        device_bytes=weights + compute,
        bytes_in=array_bytes(held, shape.n_inputs) + weights,
        bytes_out=n * (image + image // 4 + array_bytes(shape.n_inputs)),
        files_out=4 * n,
        seconds=START_SECONDS + rendered * shape.n_activations * 4 * costs.SECONDS_PER_UNIT,
    )


def _group(study: Study, variant: str, place: Place) -> Group:
    split, roi, _ = place
    options = _options(study, variant)
    chosen = options.model_dump(mode="json", include={"method", "network", "source", "calibration", "images_per_tile"})
    settings: dict[str, Any] = {
        "options": chosen,
        "generator": latent_generators.identity(options.generator),
        "layers": list(study.layers_of(options)),
        "seed": study.seed,
    }
    if options.edits is not None:
        directions = attributes.read(options)
        settings["edits"] = {
            "steps": list(options.edits.steps),
            "images": options.edits.images,
            "directions": {name: attributes.digest(directions[name]) for name in options.edits.attributes},
        }
    if study.decode.average is not True:
        settings["average"] = study.decode.average
    name, layers = study.decoded_name(options.network), study.layers_of(options)
    upstream = [f"{study.source_verb}/stimuli"]
    if not study.decode.files:
        upstream.append(study.brain_key(split))
    if options.source == "true" or options.calibration.endswith("statistics"):
        upstream.append(f"extract/{options.network}")
    if options.model is not None:
        settings["step"] = latent_data.options_of(study, options.model).steps
        upstream.append(f"train/{options.model}/{split}/{roi}")
    elif options.source == "decoded":
        upstream += study.decode_keys(variant, split, roi)
    if options.calibration == "train_statistics":
        upstream += [f"fit/{owner(split)}/{roi}/_out_of_fold/{name}/{layer}" for layer in layers]
    return Group("reconstruct", (variant, *place), canonical(settings), tuple(upstream))


def prepare(study: Study, variants: Sequence[str]) -> None:
    """Check what was made before, and write the mean training image, whose size that of the images is.

    Raises
    ------
    ChangedStudy
        If decoded features were made from an earlier version of something.
    """
    look = provenance.Provenance(layout.workspace_of(study))
    for variant in variants:
        options = _options(study, variant)
        places = study.image_sets(variant)
        if options.model is not None:
            steps = latent_data.options_of(study, options.model).steps
            for split, roi in dict.fromkeys(place[:2] for place in places):
                Model(study, options.model, split, roi).require(steps)
        elif not options.needs_stimuli:
            look.require_decoded(study, variant)
        for split in dict.fromkeys(place[0] for place in places):
            starts.write(study, split)


def work(study: Study, tile: Tile) -> list[Path]:
    """Render and write the items of one tile; return the files."""
    variant, split, roi, dataset = tile.group.path
    options, place = _options(study, variant), (split, roi, dataset)
    shown = items.read_shown(study, split, dataset)
    stop = tile.stop
    if options.needs_stimuli:  # items that show none come last; they have no true latents
        stop = tile.start + int(np.count_nonzero(shown.rows[tile.start : tile.stop] >= 0))
    wanted = slice(tile.start, stop)
    names = shown.names[wanted]
    if not names:
        return []
    if options.calibration == "test_statistics":
        warnings.warn(
            f"{variant}: calibration: test_statistics z-scores each number of a latent across the test items, so that "
            "an image depends on the other items; do not report it as the decoding of single items",
            stacklevel=2,
        )
    values = calibrated.latents(study, options, place)[wanted]
    layers = study.layers_of(options)
    edges = np.cumsum([0, *(store_shapes.read(study).n_units(options.network, layer) for layer in layers)])
    features = {layer: values[:, edges[i] : edges[i + 1]] for i, layer in enumerate(layers)}
    start = starts.read(study, split)
    targets = Targets(names=names, features=features, start=start, seed=seed_of(study.seed, variant, *place))
    shape = latent_generators.describe(options.generator)
    files = []
    with devices.settings(shape.n_activations):
        made = method.reconstruct(targets, options, network=study.networks[options.network], device=devices.choose())
        for i, name in enumerate(names):
            path = layout.image_file(study, variant, split, roi, dataset, name)
            record = {
                "item": name,
                "variant": variant,
                "options": options.model_dump(mode="json"),
                "layers": list(layers),
                "losses": [],
            }
            files += writing.write(study, path, made.images[i], record)
            files.append(write_npy(path.parent / LATENTS / f"{path.stem}.npy", values[i]))
            if options.edits is not None and tile.start + i < options.edits.images:
                files.append(_write_strip(path, values[i], options, size=start.shape[:2]))
    return files


def _write_strip(path: Path, latent: Array, options: LatentOptions, *, size: tuple[int, ...]) -> Path:
    """Write images along each attribute, (attributes, steps, H, W, 3) uint8."""
    assert options.edits is not None, "asked for"
    directions = attributes.read(options)
    edited = [
        attributes.edited(latent, directions[name], steps=np.asarray(options.edits.steps))
        for name in options.edits.attributes
    ]
    stacked = np.concatenate(edited)
    images = latent_generators.render(stacked, options.generator, size=size, device=devices.choose())
    shape = (len(edited), len(options.edits.steps), *images.shape[1:])
    return write_npy(path.parent / EDITS / f"{path.stem}.npy", np.rint(255 * images).astype(np.uint8).reshape(shape))
