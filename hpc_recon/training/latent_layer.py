"""A layer from voxels to latents: what its weights depend on, what a part of its training needs, and its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.latent_layer_options import FeatureLoss, LatentLayerTraining
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.nets import costs, end_to_end, latent_generators, zoo
from hpc_recon.nets.end_to_end_costs import FLOPS_PER_SECOND
from hpc_recon.nets.identity import identity
from hpc_recon.training import Place, data, latent_data

if TYPE_CHECKING:
    from hpc_recon.methods.trainers import Checkpoint

#: Options on which no number depends: who is trained, how long, how often something is written, and how it is run; and
#: those that count by content.
_NO_MATTER = {
    *("subjects", "rois", "steps", "checkpoint_every", "log_every", "pictures_every", "loading_threads"),
    *("seconds_per_step", "features", "generator"),
}


def settings_of(options: LatentLayerTraining) -> dict[str, Any]:
    """Return what the weights after some step depend on; those of generator and network count by their content.

    Raises
    ------
    StudyError
        If a file of weights is missing, or the network does not have the layers.
    """
    found = options.model_dump(mode="json", exclude=_NO_MATTER)
    found["generator"] = latent_generators.identity(options.generator)
    if options.features is not None:
        network = end_to_end.comparator_network(options.features, crop=options.features.image_size)
        own = options.features.model_dump(include={"weight", "image_size", "images_at_once"})
        found["features"] = {**own, **identity(network), "layers": list(network.layers)}
    return found


def group(study: Study, shapes: Shapes, place: Place) -> Group:
    """Return the group of one layer."""
    options = latent_data.options_of(study, place.name)
    settings = {**settings_of(options), "layers": list(latent_data.layers_of(study, options))}
    upstream = (f"{study.source_verb}/{place.split}", f"{study.source_verb}/stimuli", f"extract/{options.network}")
    return Group(
        "train", (place.name, place.split, place.roi), canonical({"options": settings, "seed": study.seed}), upstream
    )


def check(study: Study, shapes: Shapes, name: str) -> None:
    """Look whether the generator reads as many numbers as the layers have, and the network has its layers.

    Raises
    ------
    StudyError
        If not.
    """
    options = latent_data.options_of(study, name)
    n_inputs = latent_generators.describe(options.generator).n_inputs
    n_units = [shapes.n_units(options.network, layer) for layer in latent_data.layers_of(study, options)]
    if sum(n_units) != n_inputs:
        raise StudyError(
            "train",
            [
                f"{name}: the generator {options.generator.kind} reads {n_inputs:,} numbers, but the layers of "
                f"{options.network} have {sum(n_units):,}; give the layers of its latent"
            ],
        )
    if options.features is not None:
        network = end_to_end.comparator_network(options.features, crop=options.features.image_size)
        zoo.check_layers(network, image_size=options.features.image_size)


def first_tiles(study: Study, shapes: Shapes, place: Place) -> list[Tile]:
    """Return none: the steps read what is stored."""
    return []


def need_of(study: Study, shapes: Shapes, place: Place, *, n_steps: int) -> Need:
    """Project a part of a layer's training."""
    options = latent_data.options_of(study, place.name)
    n_samples, n_voxels = shapes.n_samples(place.split, study.training_dataset), shapes.n_voxels(place.split, place.roi)
    shape = latent_generators.describe(options.generator)
    d, batch = shape.n_inputs, options.batch
    held = latent_data.in_buffer(options, n_samples=n_samples, n_voxels=n_voxels, n_numbers=d)
    buffers = 1 if held >= n_samples else 2
    layer = array_bytes(n_voxels + 1, d)
    seconds = 4.0 * n_voxels * d * batch / FLOPS_PER_SECOND / threads.available()
    frozen, active = array_bytes(shape.n_parameters), 2 * array_bytes(shape.n_activations, itemsize=8)  # of examples
    if options.features is not None:
        loss_frozen, loss_active, image_seconds = _feature_loss(options.features, shape.n_activations)
        frozen, active, seconds = frozen + loss_frozen, max(active, loss_active), seconds + batch * image_seconds
    read = array_bytes(n_samples, n_voxels + d) + 3 * layer + frozen
    return Need(
        host_bytes=costs.TORCH_BYTES
        # weights, gradient, two means and a root of Adam; a checkpoint; the first weights in float64
        + 10 * layer
        + 2 * frozen
        + active
        + buffers * array_bytes(held, n_voxels + d)
        + 3 * options.loading_threads * batch * array_bytes(n_voxels, itemsize=20)
        + shard_bytes(min(n_samples, 1024), n_voxels, itemsize=16),
        device_bytes=5 * layer + frozen + active,
        bytes_in=read,
        bytes_out=3 * layer,
        files_out=3 + (n_steps - 1) // (options.pictures_every or n_steps),
        seconds=store_seconds(read + 3 * layer) + n_steps * (options.seconds_per_step or seconds + 0.002),
    )


def prepare(study: Study, place: Place) -> None:
    """Look at nothing: all training samples are taken."""


def stream(study: Study, place: Place, begun: Checkpoint | None) -> latent_data.LatentStream:
    """Return the batches of a layer."""
    known = None if begun is None else data.scaling_from(begun.arrays)
    return latent_data.stream(study, place.name, place.split, place.roi, scaling=known)


def flops(options: LatentLayerTraining, n_inputs: int) -> int:
    """Return the operations of the layer for one sample, with a loss of features a hundred for each activation too."""
    shape = latent_generators.describe(options.generator)
    return shape.n_inputs * n_inputs + (0 if options.features is None else 100 * shape.n_activations)


def _feature_loss(options: FeatureLoss, n_activations: int) -> tuple[int, int, float]:
    """Return bytes of the frozen network, bytes of the activations kept, and seconds of an image of the batch."""
    network = end_to_end.comparator_network(options, crop=options.image_size)
    structure = zoo.structure(network, image_size=options.image_size)
    at_once = options.images_at_once
    # As `costs.gradient_bytes` counts a network: activations, twice for what is rectified, and the way back.
    active = at_once * (16 * n_activations + costs.gradient_bytes(structure, options.layers))
    generator = costs.SECONDS_PER_UNIT * n_activations * costs.MEASURED_THREADS / threads.available()
    # Two passes forwards, and one back to the latent, which costs about one more.
    seconds = 3.0 * (generator + costs.forward_seconds(structure, options.layers))
    return zoo.loading_bytes(network, image_size=options.image_size)[1], active, seconds
