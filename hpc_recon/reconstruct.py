"""Turn decoded features into images: one tile a few items of one test dataset.

Each entry under `reconstruct:` in the study (a *variant*) names a method of `hpc_recon.methods` and its options. An
item becomes `images/<variant>/<split>/<roi>/<dataset>/<item>` with three endings: `.png`, `.npy` (float32 in [0, 1])
and `.json` (its loss after each iteration, and what it was made with).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.paths import require_inside
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.core.tiles import START_SECONDS, Group, Need, Shapes, Tile, canonical, ranges

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.methods.targets import Reconstruction, Targets

Options = IcnnOptions | PixelsOptions

#: Evaluations of the loss in one iteration, rejected steps included (measured: 1.1 to 1.3).
EVALUATIONS_PER_ITERATION = 1.3
#: Forward and backward pass together, relative to the forward pass.
BACKWARD_FACTOR = 3.0
#: Images held by L-BFGS: 2 x 10 of history, their copies while a pair is added, and the point itself.
LBFGS_IMAGES = 48
#: Stimuli read at a time for the mean training image.
_BATCH = 48


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each variant, split, ROI and dataset.

    Raises
    ------
    MissingStore
        If brain data or features do not exist yet.
    """
    tiles = []
    for variant, options in study.reconstruct.items():
        for split, roi, dataset in study.image_sets(variant):
            group = _group(study, variant, (split, roi, dataset))
            for start, stop in ranges(shapes.n_items(split, dataset), options.images_per_tile):
                tiles.append(Tile(group, "reconstruct", start, stop, _need(study, shapes, options, n=stop - start)))
    return tiles


def _group(study: Study, variant: str, place: tuple[str, str, str]) -> Group:
    """Return the group of one variant, split, ROI and dataset."""
    from hpc_recon.nets.identity import identity

    split, roi, _ = place
    options = study.reconstruct[variant]
    network = study.networks[options.network]
    settings = {
        "options": options.model_dump(exclude={"title", "datasets", "rois", "subjects"}),
        "network": identity(network),
        "layers": list(_layers(study, options)),
        "units": study.units,
        "seed": study.seed,
    }
    name = study.decoded_name(options.network)
    upstream = (
        f"{study.source_verb}/stimuli",
        *(() if study.decode.files else (f"{study.source_verb}/{split}",)),
        *(f"decode/{split}/{roi}/{name}/{layer}" for layer in _layers(study, options)),
    )
    return Group("reconstruct", (variant, *place), canonical(settings), upstream)


def _layers(study: Study, options: Options) -> tuple[str, ...]:
    """Return the layers that a method reads."""
    chosen = options.layers if isinstance(options, IcnnOptions) else None
    return chosen or study.networks[options.network].layers


def _need(study: Study, shapes: Shapes, options: Options, *, n: int) -> Need:
    """Project a tile of `n` items."""
    from hpc_recon.nets import costs, zoo

    network, layers = study.networks[options.network], _layers(study, options)
    height, width = shapes.image_size()
    image = array_bytes(height, width, 3)
    units = [shapes.n_units(options.network, layer) for layer in layers]
    structure = zoo.structure(network, image_size=(height, width))
    targets = array_bytes(n, sum(units)) + shard_bytes(n, max(units)) + array_bytes(3 * max(units))
    seconds, compute = START_SECONDS, 0
    if isinstance(options, IcnnOptions):
        compute = n * (costs.gradient_bytes(structure, layers) + 2 * array_bytes(sum(units)) + LBFGS_IMAGES * image)
        evaluations = EVALUATIONS_PER_ITERATION * options.iterations
        seconds += n * evaluations * BACKWARD_FACTOR * costs.forward_seconds(structure, layers)
    weights = 4 * structure.n_parameters
    return Need(
        host_bytes=costs.TORCH_BYTES + 2 * weights + targets + compute + 8 * n * image,
        device_bytes=weights + array_bytes(n, sum(units)) + compute,
        bytes_in=array_bytes(n, sum(units)) + image,
        bytes_out=n * (image + image // 4),
        files_out=3 * n,
        seconds=seconds,
    )


def prepare(study: Study) -> None:
    """Compute the mean training image of every split, where optimisation starts."""
    import numpy as np

    from hpc_recon.core.files import write_atomic
    from hpc_recon.stores import layout

    workspace = layout.workspace_of(study)
    places = [place for variant in study.reconstruct for place in study.image_sets(variant)]
    for split in dict.fromkeys(split for split, _, _ in places):
        payload = io.BytesIO()
        np.save(payload, _mean_training_image(study, split), allow_pickle=False)
        path = _start_path(workspace, split)
        if not path.exists() or path.read_bytes() != payload.getvalue():
            write_atomic(path, payload.getvalue())


def _start_path(workspace: Path, split: str) -> Path:
    return workspace / "starts" / f"{split}.npy"


def _mean_training_image(study: Study, split: str) -> Array:
    """Return the mean of the stimuli that a split's decoders were trained on, (H, W, 3) float32 in [0, 1]."""
    import numpy as np

    from hpc_recon.stores import images, items, layout

    workspace = layout.workspace_of(study)
    rows = items.training_rows(study, split)
    total = np.zeros(images.read_images(workspace, rows[:1]).shape[1:])
    for start, stop in ranges(len(rows), _BATCH):
        total += images.read_images(workspace, rows[start:stop]).sum(axis=0, dtype=np.float64)
    return (total / (255 * len(rows))).astype(np.float32)


def work(study: Study, tile: Tile) -> list[Path]:
    """Reconstruct and write the items of one tile; return the files."""
    from hpc_recon.core.files import write_json
    from hpc_recon.methods import METHODS
    from hpc_recon.nets import costs, devices, zoo
    from hpc_recon.stores import images, layout

    variant, split, roi, dataset = tile.group.path
    options = study.reconstruct[variant]
    targets = _read_targets(study, tile)
    method = importlib.import_module(METHODS[options.method])
    network = study.networks[options.network]
    structure = zoo.structure(network, image_size=(targets.start.shape[0], targets.start.shape[1]))
    with devices.settings(len(targets.names) * costs.forward_units(structure, _layers(study, options))):
        made: Reconstruction = method.reconstruct(targets, options, network=network, device=devices.choose())
    files = []
    for i, name in enumerate(targets.names):
        path = layout.image_file(study, variant, split, roi, dataset, name)
        require_inside(layout.workspace_of(study), path.parent)
        files += images.write_picture(path, made.images[i])
        record = {
            "item": name,
            "variant": variant,
            "options": options.model_dump(mode="json"),
            "layers": list(_layers(study, options)),
            "losses": [float(loss) for loss in made.losses[i]],
        }
        files.append(write_json(path.with_suffix(".json"), record))
    return files


def _read_targets(study: Study, tile: Tile) -> Targets:
    """Read what the images of a tile shall show: decoded features with their norm correction applied.

    Raises
    ------
    MissingStore
        If a layer was not decoded; names the command. Also if `prepare` did not run.
    """
    import numpy as np

    from hpc_recon.core.errors import MissingStore
    from hpc_recon.methods.targets import Targets
    from hpc_recon.stores import items, layout
    from hpc_recon.stores import shapes as store_shapes

    variant, split, roi, dataset = tile.group.path
    options = study.reconstruct[variant]
    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    start = _start_path(workspace, split)
    if not start.exists():
        raise MissingStore(f"{start} does not exist; run `python -m hpc_recon.reconstruct --study <study file>`")
    layers = _layers(study, options)
    n_units = {layer: shapes.n_units(options.network, layer) for layer in layers}
    return Targets(
        names=items.read_shown(study, split, dataset).names[tile.start : tile.stop],
        features={layer: _corrected(study, tile, layer) for layer in layers},
        start=np.load(start, allow_pickle=False),
        seed=seed_of(study.seed, variant, split, roi, dataset),
        unit_index={layer: unit_sample(study, options.network, layer, n) for layer, n in n_units.items()},
    )


def _corrected(study: Study, tile: Tile, layer: str) -> Array:
    """Return the corrected decoded features of a tile's items, (n, n_units) float32."""
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout

    variant, split, roi, dataset = tile.group.path
    workspace, rows = layout.workspace_of(study), slice(tile.start, tile.stop)
    name = study.decoded_name(study.reconstruct[variant].network)
    features, gain, offset = (
        arrays.read(workspace, layout.decoded(split, roi, dataset, name, layer, part), rows)
        for part in ("features", "gain", "offset")
    )
    if study.decode.norm_correction == "none":
        return features
    unit_mean = None
    if study.decode.norm_correction == "train_mean_center":
        unit_mean = arrays.read(workspace, layout.decoder(split, roi, name, layer, "stats"))[:, 1]
    return corrections.apply(features, gain=gain, offset=offset, unit_mean=unit_mean)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("reconstruct", argv)


if __name__ == "__main__":
    raise SystemExit(main())
