"""What `reconstruct` plans with: the layers that a method reads, what its images depend on, and what a tile needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import GeneratorLatent, Lbfgs
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.tiles import START_SECONDS, Need, Shapes
from hpc_recon.methods import icnn, icnn_costs, masks
from hpc_recon.methods.latents import read_latent
from hpc_recon.nets import costs, latents, option_files, zoo

Options = IcnnOptions | PixelsOptions

#: Options that a fingerprint holds whatever their values.
_ALWAYS = (
    *("method", "network", "layers", "layer_weights", "iterations", "total_variation", "image_size"),
    *("start", "start_noise", "images_per_tile"),
)


def settings_of(options: Options) -> dict[str, Any]:
    """Return what images depend on; files count by their content, so that a study may move.

    Options count where they differ from their defaults, so that a new option does not disown images made before it.

    Raises
    ------
    StudyError
        If a file is missing, or a generator is not known.
    """
    found = options.model_dump(exclude={"title", "datasets", "rois", "subjects", "expand", "recovery", "preset"})
    if not isinstance(options, IcnnOptions):
        return found
    found |= {"start": options.first, "start_noise": options.noise}
    if options.first == "uniform":
        found["levels"] = 256
    if isinstance(options.optimiser, Lbfgs) and options.latent == "pixels":
        found["smoothness"] = options.optimiser.smoothness
    if isinstance(options.latent, GeneratorLatent):
        found["latent"] = latents.identity(options.latent)
    if options.start_file is not None:
        found["start_file"] = f"sha256:{latents.content(options.start_file, 'start_file')}"
    for layer, mask in options.masks.items():
        if mask.file is not None:
            found["masks"][layer]["file"] = f"sha256:{latents.content(mask.file, f'masks.{layer}.file')}"
    defaults = IcnnOptions(method="icnn", network=options.network).model_dump()
    return {key: value for key, value in found.items() if key in _ALWAYS or value != defaults.get(key)}


def images_per_tile(study: Study, shapes: Shapes, options: Options) -> int:
    """Return how many images one task makes: a function of the study and of shapes alone."""
    if not isinstance(options, IcnnOptions):
        return options.images_per_tile or icnn_costs.AUTO_IMAGES
    network, layers = study.networks[options.network], study.layers_of(options)
    return icnn_costs.images_at_once(options, network, layers, stimuli=shapes.image_size())


def need(study: Study, shapes: Shapes, variant: str, *, n: int) -> Need:
    """Project a tile of `n` items."""
    options = study.reconstruct[variant]
    assert isinstance(options, (IcnnOptions, PixelsOptions)), options.method
    network, layers = study.networks[options.network], study.layers_of(options)
    height, width = shapes.image_size()
    image = array_bytes(height, width, 3)
    units = [shapes.n_units(options.network, layer) for layer in layers]
    targets = array_bytes(n, sum(units)) + shard_bytes(n, max(units)) + array_bytes(3 * max(units))
    weights, loading = zoo.loading_bytes(network, image_size=(height, width))
    seconds, compute, files, out = START_SECONDS, 0, 3, image + image // 4
    if isinstance(options, IcnnOptions):
        cost = icnn_costs.project(options, network, layers, stimuli=(height, width), n=n)
        weights, loading = cost.weights_bytes, cost.loading_bytes
        compute, seconds = cost.compute_bytes, seconds + cost.seconds
        # Weights of units, their numbers where some are left out, and targets without the others.
        targets += array_bytes(n + 4, sum(units)) if options.masks or options.reliability != "none" else 0
        files += (options.snapshots is not None) + options.keep_starts
        out += options.keep_starts * options.n_starts * image + icnn.n_snapshots(options) * image // 8
    return Need(
        host_bytes=costs.TORCH_BYTES + loading + targets + compute + 8 * n * image,
        device_bytes=weights + array_bytes(n, sum(units)) + compute,
        bytes_in=array_bytes(n, sum(units)) + image,
        bytes_out=n * out,
        files_out=files * n,
        seconds=seconds,
    )


def require_usable(study: Study, shapes: Shapes, variants: Sequence[str]) -> None:
    """Raise unless the files and masks of entries fit their layers and generators: before anything is computed.

    Raises
    ------
    DataError
        Names every entry and what does not fit.
    """
    problems = []
    for variant in variants:
        options = study.reconstruct[variant]
        if isinstance(options, IcnnOptions):
            own = {layer: shapes.unit_shape(options.network, layer) for layer in study.layers_of(options)}
            problems += [f"{variant}: {problem}" for problem in _problems(options, own)]
    if problems:
        raise DataError("; ".join(problems))


def _problems(options: IcnnOptions, unit_shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Return what does not fit, of one entry."""
    problems = []
    for layer, shape in unit_shapes.items():
        mask = options.mask_of(layer)
        if options.loss_of(layer) == "gram" and len(shape) != 3:
            problems.append(f"a gram loss compares maps, but layer {layer} has the shape {shape}; give it another loss")
        try:
            if mask is not None and not masks.units(mask, shape, layer=layer).any():
                problems.append(f"the mask of layer {layer} leaves none of its units; widen it")
        except DataError as error:
            problems.append(str(error))
    try:
        if isinstance(options.latent, GeneratorLatent):
            latents.box(options.latent)
            if options.start_file is not None:
                read_latent(options.start_file, n=latents.describe(options.latent).n_inputs)
        elif options.start_file is not None:
            option_files.image(options.start_file, what="start_file")
    except DataError as error:
        problems.append(str(error))
    return problems
