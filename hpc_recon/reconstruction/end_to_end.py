"""Images straight from brain activity (method `end_to_end`): one pass of a trained or published generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.options import EndToEndOptions
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import display, end_to_end
from hpc_recon.nets import costs, devices, end_to_end_costs, latents
from hpc_recon.nets import end_to_end as networks
from hpc_recon.reconstruction import writing
from hpc_recon.stores import brain, images, layout
from hpc_recon.training import data, models
from hpc_recon.training.models import Model

if TYPE_CHECKING:
    from hpc_recon.training.data import Scaling

#: Sizes of the published generators' images, and of the stimuli that they were trained with.
_PUBLISHED = EndToEndTraining(method="end_to_end", profile="paper")


def _options(study: Study, variant: str) -> EndToEndOptions:
    options = study.reconstruct[variant]
    assert isinstance(options, EndToEndOptions), options.method
    return options


def _training(study: Study, options: EndToEndOptions) -> EndToEndTraining:
    """Return the sizes of the generator: those of the entry that trained it, or the published ones."""
    return _PUBLISHED if options.model is None else data.options_of(study, options.model)


def plan(study: Study, shapes: Shapes, variant: str) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each split, ROI and dataset.

    Raises
    ------
    MissingStore
        If there are no brain samples, or the network was never trained.
    StudyError
        If the file of a published generator is missing.
    """
    options, tiles = _options(study, variant), []
    for split, roi, dataset in study.image_sets(variant):
        group = _group(study, variant, (split, roi, dataset))
        for start, stop in ranges(shapes.n_items(split, dataset), options.images_per_tile):
            need = _need(study, shapes, options, (split, roi, dataset), n=stop - start)
            tiles.append(Tile(group, "reconstruct", start, stop, need))
    return tiles


def _group(study: Study, variant: str, place: tuple[str, str, str]) -> Group:
    split, roi, _ = place
    options = _options(study, variant)
    settings: dict[str, Any] = {
        "options": options.model_dump(include={"method", "display", "rescale", "images_per_tile"}),
        "seed": study.seed,
    }
    if study.decode.average is not True:  # else images of other items would count as done
        settings["average"] = study.decode.average
    upstream = [f"{study.source_verb}/stimuli", f"{study.source_verb}/{split}"]
    if options.model is None:
        given = options.weights[base_subject(split)]
        settings["weights"] = given
        if isinstance(given, Path):
            settings["weights"] = f"sha256:{latents.content(given, f'{variant}.weights of {base_subject(split)}')}"
    else:
        settings["step"] = study.train[options.model].steps
        upstream.append(f"train/{options.model}/{split}/{roi}")
    return Group("reconstruct", (variant, *place), canonical(settings), tuple(upstream))


def _file(options: EndToEndOptions, split: str) -> Path:
    """Return the file of the published generator of a subject.

    Raises
    ------
    StudyError
        If it is another word than a path.
    """
    given = options.weights[base_subject(split)]
    if not isinstance(given, Path):
        raise StudyError(
            "reconstruct",
            [f"weights of {split} must be a file of a published generator, not {given!r}; give a path"],
        )
    return given


def _need(study: Study, shapes: Shapes, options: EndToEndOptions, place: tuple[str, str, str], *, n: int) -> Need:
    """Project a tile of `n` items."""
    split, roi, dataset = place
    n_voxels = shapes.n_voxels(split, roi)
    height, width = shapes.image_size()
    training = _training(study, options)
    generator, _ = end_to_end_costs.networks(networks.Sizes.of(training, n_voxels))
    weights, image = 4 * generator.n_parameters, array_bytes(3, height, width)
    samples = shapes.n_samples(split, dataset)
    checkpoint = weights if options.model is None else end_to_end_costs.project(training, n_voxels).checkpoint_bytes
    read = array_bytes(samples, n_voxels) + checkpoint
    if options.model is None:
        read += array_bytes(shapes.n_samples(split, study.training_dataset), n_voxels)
    return Need(
        host_bytes=costs.TORCH_BYTES
        + 2 * checkpoint
        + shard_bytes(samples, n_voxels)
        + n * (12 * generator.activations + 8 * image),
        device_bytes=weights + 12 * n * generator.activations,
        bytes_in=read,
        bytes_out=2 * n * image,
        files_out=3 * n,
        seconds=store_seconds(read + n * image) + n * generator.flops / end_to_end_costs.FLOPS_PER_SECOND + 0.05 * n,
    )


def prepare(study: Study, variants: Sequence[str]) -> None:
    """Look whether the networks that make images were trained to their end.

    Raises
    ------
    MissingStore
        If one was not; names the command.
    StudyError
        If a published generator is not a file.
    """
    for variant in variants:
        options = _options(study, variant)
        for split, roi in dict.fromkeys(place[:2] for place in study.image_sets(variant)):
            if options.model is None:
                _file(options, split)
            else:
                Model(study, options.model, split, roi).require(study.train[options.model].steps)


def work(study: Study, tile: Tile) -> list[Path]:
    """Make and write the images of one tile; return the files.

    Raises
    ------
    DamagedStore, DataError
        If a checkpoint, or a published file, cannot be used.
    """
    variant, split, roi, dataset = tile.group.path
    options = _options(study, variant)
    training = _training(study, options)
    generator, scaling, source = _generator(study, options, split, roi)
    items = brain.read_items(study, split, dataset, roi)
    wanted = slice(tile.start, tile.stop)
    counts = items.n_averaged[wanted].astype(np.float64)
    voxels = scaling.apply(items.samples[wanted], counts if options.rescale else None)
    device, table = devices.choose(), images.read_table(layout.workspace_of(study))
    with devices.settings(len(voxels) * training.crop**2):
        made = end_to_end.images_of(generator, voxels, crop=training.crop, device=device)
    shown = display.stretched(made) if options.display == "stretched" else display.raw(made)
    whole = display.placed(shown, image_size=training.image_size, stimuli=(table.height, table.width))
    files = []
    for name, image, n_averaged in zip(items.names[wanted], whole, counts, strict=True):
        path = layout.image_file(study, variant, split, roi, dataset, name)
        record = {
            "item": name,
            "variant": variant,
            "options": options.model_dump(mode="json"),
            **source,
            "display": options.display,
            "factor": float(np.sqrt(n_averaged / scaling.n_averaged)) if options.rescale else 1.0,
            "losses": [],
        }
        files += writing.write(study, path, image, record)
    return files


def _generator(study: Study, options: EndToEndOptions, split: str, roi: str) -> tuple[Any, Scaling, dict[str, Any]]:
    """Return a generator, how its voxels are z-scored, and where it comes from."""
    if options.model is not None:
        training = data.options_of(study, options.model)
        found = Model(study, options.model, split, roi).read(training.steps)
        scaling = models.scaling_of(found)
        generator = end_to_end.trained(training, found.trainer, n_voxels=len(scaling.mean))
        return generator, scaling, {"model": options.model, "step": found.step}
    labels = brain.read_labels(layout.workspace_of(study), split, study.training_dataset)
    scaling = data.scaling_of(study, data.samples_of(study, split, roi, np.arange(len(labels)), labels))
    path = _file(options, split)
    return networks.load_published(path, n_voxels=len(scaling.mean)), scaling, {"file": path.name}
