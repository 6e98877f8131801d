"""The tiles of a network's training: parts of its steps, each of which begins at the checkpoint of the one before."""

from __future__ import annotations

from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.nets import costs, end_to_end, end_to_end_costs, zoo
from hpc_recon.nets.identity import identity
from hpc_recon.training import latent_planning, pictures, shape_planning
from hpc_recon.training.data import in_buffer
from hpc_recon.training.shape_sources import Place

#: Options on which no number depends: who is trained, how long, how often something is written, and how it is run.
_NO_MATTER = {
    *("profile", "subjects", "rois", "seeds", "ablations", "steps", "checkpoint_every", "log_every"),
    *("pictures_every", "loading_threads", "seconds_per_step", "comparator"),
}


def settings_of(options: EndToEndTraining) -> dict[str, Any]:
    """Return what a network's weights after some step depend on; the comparator's weights by their content.

    The number of steps is not among it: more of them go on from where fewer ended.

    Raises
    ------
    StudyError
        If the comparator's weights are missing, or it does not have the layers.
    """
    found = options.model_dump(exclude=_NO_MATTER)
    if options.losses.feature:
        network = end_to_end.comparator_network(options.comparator, crop=options.crop)
        found["comparator"] = {**identity(network), "layers": list(network.layers)}
    return found


def group(study: Study, shapes: Shapes, name: str, place: tuple[str, str]) -> Group:
    """Return the group of one network: `train/<name>/<split>/<roi>`."""
    options, (split, roi) = study.train[name], place
    if isinstance(options, ShapeSemanticTraining):
        return shape_planning.group(study, shapes, Place(name, split, roi))
    if isinstance(options, LatentLayerTraining):
        return latent_planning.group(study, name, place)
    settings = canonical({"options": settings_of(options), "seed": study.seed})
    upstream = (f"{study.source_verb}/{split}", pictures.upstream(study, shapes, options.image_size))
    return Group("train", (name, split, roi), settings, upstream)


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all networks, part by part: parts with the same number are trained side by side.

    Raises
    ------
    MissingStore
        If there are no brain samples yet.
    StudyError
        If a comparator's weights are missing, or it does not have the layers.
    """
    tiles = pictures.plan(study, shapes)
    for name, options in study.train.items():
        if isinstance(options, EndToEndTraining) and options.losses.feature:
            network = end_to_end.comparator_network(options.comparator, crop=options.crop)
            zoo.check_layers(network, image_size=options.crop)
        elif isinstance(options, LatentLayerTraining):
            latent_planning.check(study, shapes, name)
        for split, roi in study.trained_sets(name):
            own = group(study, shapes, name, (split, roi))
            if isinstance(options, ShapeSemanticTraining):
                tiles.append(shape_planning.inputs_tile(study, shapes, Place(name, split, roi)))
            for number, (start, stop) in enumerate(ranges(options.steps, options.steps_per_tile)):
                need = need_of(study, shapes, name, (split, roi), n_steps=stop - start)
                tiles.append(Tile(own, f"part{number + 1:03d}", start, stop, need))
    return sorted(tiles, key=lambda tile: tile.stage)


def need_of(study: Study, shapes: Shapes, name: str, place: tuple[str, str], *, n_steps: int) -> Need:
    """Project a part of a network's training."""
    options, (split, roi) = study.train[name], place
    if isinstance(options, ShapeSemanticTraining):
        return shape_planning.need_of(study, shapes, Place(name, split, roi), n_steps=n_steps)
    if isinstance(options, LatentLayerTraining):
        return latent_planning.need_of(study, shapes, name, place, n_steps=n_steps)
    n_samples, n_voxels = shapes.n_samples(split, study.training_dataset), shapes.n_voxels(split, roi)
    n_samples = min(n_samples, options.training.samples or n_samples)
    n_images = min(shapes.n_stimuli(), options.training.images or n_samples)
    cost = end_to_end_costs.project(options, n_voxels)
    held = in_buffer(options, n_samples=n_samples, n_voxels=n_voxels, n_images=n_images)
    buffers = 1 if held >= n_samples else 2
    image = array_bytes(3, options.image_size, options.image_size, itemsize=1)
    data = buffers * (array_bytes(held, n_voxels) + min(held, n_images) * image)
    batches = 3 * options.loading_threads * options.batch * (array_bytes(n_voxels, itemsize=12) + 2 * image)
    read = array_bytes(n_samples, n_voxels) + n_images * image + cost.checkpoint_bytes
    return Need(
        host_bytes=costs.TORCH_BYTES
        + cost.weights_bytes
        + cost.activations_bytes
        + cost.checkpoint_bytes
        + data
        + batches
        + shard_bytes(min(n_samples, 1024), n_voxels, itemsize=8),
        device_bytes=cost.weights_bytes + cost.activations_bytes,
        bytes_in=read,
        bytes_out=cost.checkpoint_bytes,
        files_out=3 + (n_steps - 1) // (options.pictures_every or n_steps),
        seconds=store_seconds(read + cost.checkpoint_bytes) + n_steps * cost.seconds,
    )
