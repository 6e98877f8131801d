"""A shape-semantic generator: the tile of its inputs, what its weights depend on, what its steps need, its batches."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.nets import costs, shape_semantic_costs
from hpc_recon.nets.end_to_end_costs import StepCost
from hpc_recon.training import Place, pictures, shape_data, shape_inputs, shape_sources

if TYPE_CHECKING:
    from hpc_recon.methods.trainers import Checkpoint

#: Options on which no number depends, or that have made entries of their own.
_NO_MATTER = {
    *("profile", "subjects", "rois", "seeds", "ablations", "targets", "clusters", "steps", "checkpoint_every"),
    *("log_every", "pictures_every", "loading_threads", "seconds_per_step"),
}
#: Options of the generator's training, on which its inputs do not depend.
_LATER = {
    *("image_size", "width", "patch_layers", "norm", "dropout", "image_weight", "adversarial_weight"),
    *("learning_rate", "decay", "decay_every", "steps_per_tile", "batch", "shift"),
}
#: Multiplications a second in the semantic decoder's training, one thread.
_FLOPS = 2e10


def settings_of(options: ShapeSemanticTraining) -> dict[str, Any]:
    """Return what a network's weights after some step depend on."""
    return options.model_dump(mode="json", exclude=_NO_MATTER)


def check(study: Study, shapes: Shapes, name: str) -> None:
    """Look whether a network's shapes are images; it compares with no frozen network.

    Raises
    ------
    DataError
        If their layer is no square grid of one or three channels.
    """
    options = study.train[name]
    assert isinstance(options, ShapeSemanticTraining), options.method
    layer = shape_sources.shape_layer(study, options)
    shape_sources.grid_of(study, options, shapes.unit_shape(options.shape.network, layer))


def inputs_group(study: Study, shapes: Shapes, place: Place) -> Group:
    """Return the group that makes the inputs of a network: `train/_inputs/<name>/<split>/<roi>`."""
    options = shape_sources.options_of(study, place)
    upstream = [f"{study.source_verb}/{place.split}", f"{study.source_verb}/stimuli"]
    used = [(options.shape.network, options.shape.layer, shape_sources.areas_of(options, place))]
    own = options.semantic
    if options.has("semantics") and own.network is not None:
        decoded = own.target == "embedding" and own.decoder == "linear"
        used.append((own.network, own.layer, (own.roi or place.roi,) if decoded else ()))
    for network, named, rois in used:
        layer = shape_sources.layer_of(study, network, named)
        upstream.append(f"extract/{network}")
        name = study.decoded_name(network)
        upstream += [f"fit/{place.split}/{roi}/_out_of_fold/{name}/{layer}" for roi in rois]
    settings = canonical({"options": options.model_dump(mode="json", exclude=_NO_MATTER | _LATER), "seed": study.seed})
    path = (shape_inputs.INPUTS, place.name, place.split, place.roi)
    return Group("train", path, settings, tuple(dict.fromkeys(upstream)))


def group(study: Study, shapes: Shapes, place: Place) -> Group:
    """Return the group of one network."""
    options = shape_sources.options_of(study, place)
    settings = canonical({"options": settings_of(options), "seed": study.seed})
    upstream = (shape_inputs.key(place), pictures.upstream(study, shapes, options.image_size))
    return Group("train", (place.name, place.split, place.roi), settings, upstream)


def first_tiles(study: Study, shapes: Shapes, place: Place) -> list[Tile]:
    """Return the tile that makes the inputs of a network."""
    options = shape_sources.options_of(study, place)
    n_stimuli, n_samples = shapes.n_stimuli(), shapes.n_samples(place.split, study.training_dataset)
    n_cells = shapes.n_units(options.shape.network, shape_sources.shape_layer(study, options))
    n_areas = len(shape_sources.areas_of(options, place))
    shape = array_bytes(n_stimuli, n_cells) * (n_areas + 3) + array_bytes(n_stimuli, n_cells, n_areas, itemsize=16)
    own, semantic, seconds = options.semantic, 0, 0.0
    n_voxels = shapes.n_voxels(place.split, own.roi or place.roi)
    if options.has("semantics"):
        n_outputs = own.clusters if own.target == "kmeans" else n_stimuli
        n_embedding = 0
        if own.network is not None:
            n_embedding = shapes.n_units(own.network, shape_sources.layer_of(study, own.network, own.layer))
            n_outputs = own.clusters if own.target == "kmeans" else n_embedding
        weights = n_voxels * own.hidden[0] + own.hidden[0] * own.hidden[1] + own.hidden[1] * n_outputs
        if own.decoder == "linear":
            weights = n_voxels * n_outputs
        semantic = 24 * array_bytes(n_stimuli, n_voxels) // 4 + 6 * 4 * weights + 16 * n_stimuli * n_embedding
        seconds = (options.folds + 1) * own.epochs * 6.0 * n_stimuli * weights / _FLOPS
    height, width = shapes.image_size()
    read = array_bytes(n_samples, n_voxels) + (n_areas + 1) * array_bytes(n_stimuli, n_cells)
    read += array_bytes(n_stimuli, height, width, 3, itemsize=1)
    need = Need(
        host_bytes=costs.TORCH_BYTES
        + shape
        + semantic
        + shard_bytes(min(n_samples, 1024), n_voxels)
        + shard_bytes(48, height, width, 3, itemsize=1),
        bytes_in=read,
        bytes_out=array_bytes(n_stimuli, n_cells) + semantic // 6,
        files_out=1,
        seconds=store_seconds(read) + 5.0 + seconds,
    )
    return [Tile(inputs_group(study, shapes, place), "inputs", 0, 1, need)]


def need_of(study: Study, shapes: Shapes, place: Place, *, n_steps: int) -> Need:
    """Project a part of a network's training."""
    options = shape_sources.options_of(study, place)
    cost = _cost(options, n_semantic(study, shapes, place))
    n, size = shapes.n_stimuli(), options.image_size
    n_cells = shapes.n_units(options.shape.network, shape_sources.shape_layer(study, options))
    data = n * (2 * array_bytes(3, size, size, itemsize=1) + 2 * array_bytes(n_cells))
    batches = 6 * options.loading_threads * options.batch * array_bytes(6, size, size)
    return cost.need(options, n_steps=n_steps, data_bytes=data, held_bytes=data + batches)


def prepare(study: Study, place: Place) -> None:
    """Look at nothing: what it learns from is made by a tile of its own."""


def stream(study: Study, place: Place, begun: Checkpoint | None) -> shape_data.ShapeStream:
    """Return the batches of a network, whose inputs were made; they depend on no checkpoint."""
    return shape_data.stream(study, place)


def flops(options: ShapeSemanticTraining, n_inputs: int) -> int:
    """Return the operations of the generator for one sample."""
    return shape_semantic_costs.networks(shape_semantic_costs.sizes_of(options, n_inputs))[0].flops


def n_semantic(study: Study, shapes: Shapes, place: Place) -> int:
    """Return the numbers of the semantic vector, as far as sizes tell: of classes there may be one a stimulus."""
    options = shape_sources.options_of(study, place)
    own = options.semantic
    if not options.has("semantics"):
        return 0
    if own.decoder == "network" and own.feature == "penultimate":
        return own.hidden[1]
    if own.target == "kmeans":
        return own.clusters
    if own.network is None:
        return shapes.n_stimuli()
    return shapes.n_units(own.network, shape_sources.layer_of(study, own.network, own.layer))


@lru_cache(maxsize=16)
def _cost(options: ShapeSemanticTraining, n: int) -> StepCost:
    return shape_semantic_costs.project(options, n)
