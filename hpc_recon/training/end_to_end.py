"""An end-to-end generator: what its weights depend on, what a part of its training needs, and its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.nets import end_to_end, end_to_end_costs, zoo
from hpc_recon.nets.identity import identity
from hpc_recon.training import Place, data, pictures

if TYPE_CHECKING:
    from hpc_recon.methods.trainers import Checkpoint

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


def check(study: Study, shapes: Shapes, name: str) -> None:
    """Look whether the comparator, if there is one, has its layers.

    Raises
    ------
    StudyError
        If its weights are missing, or it does not have the layers.
    """
    options = data.options_of(study, name)
    if options.losses.feature:
        network = end_to_end.comparator_network(options.comparator, crop=options.crop)
        zoo.check_layers(network, image_size=options.crop)


def group(study: Study, shapes: Shapes, place: Place) -> Group:
    """Return the group of one network."""
    options = data.options_of(study, place.name)
    settings = canonical({"options": settings_of(options), "seed": study.seed})
    upstream = (f"{study.source_verb}/{place.split}", pictures.upstream(study, shapes, options.image_size))
    return Group("train", (place.name, place.split, place.roi), settings, upstream)


def first_tiles(study: Study, shapes: Shapes, place: Place) -> list[Tile]:
    """Return none: the steps read what is stored."""
    return []


def need_of(study: Study, shapes: Shapes, place: Place, *, n_steps: int) -> Need:
    """Project a part of a network's training."""
    options = data.options_of(study, place.name)
    n_samples, n_voxels = shapes.n_samples(place.split, study.training_dataset), shapes.n_voxels(place.split, place.roi)
    n_samples = min(n_samples, options.training.samples or n_samples)
    n_images = min(shapes.n_stimuli(), options.training.images or n_samples)
    cost = end_to_end_costs.project(options, n_voxels)
    held = data.in_buffer(options, n_samples=n_samples, n_voxels=n_voxels, n_images=n_images)
    buffers = 1 if held >= n_samples else 2
    image = array_bytes(3, options.image_size, options.image_size, itemsize=1)
    in_memory = buffers * (array_bytes(held, n_voxels) + min(held, n_images) * image)
    batches = 3 * options.loading_threads * options.batch * (array_bytes(n_voxels, itemsize=12) + 2 * image)
    return cost.need(
        options,
        n_steps=n_steps,
        data_bytes=array_bytes(n_samples, n_voxels) + n_images * image,
        held_bytes=in_memory + batches + shard_bytes(min(n_samples, 1024), n_voxels, itemsize=8),
    )


def prepare(study: Study, place: Place) -> None:
    """Look whether there are as many samples as the entry asks for.

    Raises
    ------
    DataError
        If there are not.
    """
    data.training_samples(study, place.name, place.split, place.roi)


def stream(study: Study, place: Place, begun: Checkpoint | None) -> data.PairedStream:
    """Return the batches of a network."""
    known = None if begun is None else data.scaling_from(begun.arrays)
    return data.stream(study, place.name, place.split, place.roi, scaling=known)


def flops(options: EndToEndTraining, n_inputs: int) -> int:
    """Return the operations of the generator for one sample."""
    return end_to_end_costs.networks(end_to_end.Sizes.of(options, n_inputs))[0].flops
