"""Turn decoded features into images: one tile a few items of one test dataset.

Each entry under `reconstruct:` in the study (a *variant*) names a method of `hpc_recon.methods` and its options. An
item becomes `images/<variant>/<split>/<roi>/<dataset>/<item>` with three endings: `.png`, `.npy` (float32 in [0, 1])
and `.json` (its loss after each iteration, and what it was made with). Stage `recovery`: a few items of each variant
are also made from true features, in `images/<variant>/_recovery/`: what the method can do when decoding is perfect.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_recon.core.config import Study
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.paths import require_inside
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.core.tiles import Group, Shapes, Tile, canonical, ranges

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.methods.targets import Reconstruction, Targets

Options = IcnnOptions | PixelsOptions

#: Name of the group of a variant's recovery check, and of the folder of its images.
RECOVERY = "_recovery"
#: Mean correlation of images from true features with their stimuli, below which a warning is given.
_POOR_RECOVERY = 0.5
#: Stimuli read at a time for the mean training image.
_BATCH = 48


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each variant, split, ROI and dataset, and the recovery checks.

    Raises
    ------
    MissingStore
        If brain data or features do not exist yet.
    StudyError
        If a generator is unknown, its files are missing, or its images are smaller than the network's input.
    """
    from hpc_recon.methods import planning

    tiles, checks = [], []
    for variant, options in study.reconstruct.items():
        places = study.image_sets(variant)
        n_recovered = _n_recovered(study, shapes, variant)
        if n_recovered:
            group = _group(study, variant, (RECOVERY,), places[0])
            checks.append(Tile(group, "recovery", 0, n_recovered, planning.need(study, shapes, variant, n=n_recovered)))
        for place in places:
            group = _group(study, variant, place, place)
            step = planning.images_per_tile(study, shapes, options)
            for start, stop in ranges(shapes.n_items(place[0], place[2]), step):
                tiles.append(
                    Tile(group, "reconstruct", start, stop, planning.need(study, shapes, variant, n=stop - start))
                )
    return [*tiles, *checks]


def _n_recovered(study: Study, shapes: Shapes, variant: str) -> int:
    """Return how many items of the first image set of a variant are made from true features."""
    options, places = study.reconstruct[variant], study.image_sets(variant)
    if not isinstance(options, IcnnOptions) or options.needs_stimuli or not places:
        return 0
    return min(options.recovery, shapes.n_items(places[0][0], places[0][2]))


def _group(study: Study, variant: str, below: tuple[str, ...], place: tuple[str, str, str]) -> Group:
    """Return the group `reconstruct/<variant>/<below>` of the images of one split, ROI and dataset."""
    from hpc_recon.methods import planning
    from hpc_recon.nets.identity import identity

    split, roi, _ = place
    options = study.reconstruct[variant]
    network = study.networks[options.network]
    settings = {
        "options": planning.settings_of(options),
        "network": identity(network),
        "layers": list(planning.layers_of(study, options)),
        "units": study.units,
        "seed": study.seed,
    }
    if study.decode.average is not True:  # else images of other items would count as done
        settings["average"] = study.decode.average
    name, layers = study.decoded_name(options.network), planning.layers_of(study, options)
    upstream = [f"{study.source_verb}/stimuli"]
    if not study.decode.files:
        upstream.append(f"{study.source_verb}/{split}")
    if below == (RECOVERY,) or options.needs_stimuli:
        upstream.append(f"extract/{options.network}")
    else:
        upstream += [f"decode/{split}/{roi}/{name}/{layer}" for layer in layers]
        if isinstance(options, IcnnOptions) and options.reliability != "none":
            upstream += [f"fit/{split}/{roi}/_out_of_fold/{name}/{layer}" for layer in layers]
    if below == (RECOVERY,):
        settings["place"] = list(place)
    return Group("reconstruct", (variant, *below), canonical(settings), tuple(upstream))


def prepare(study: Study) -> None:
    """Compute the mean training image of every split, where optimisation starts.

    Raises
    ------
    ChangedStudy
        If decoded features were made by another network than the study's, or from an earlier version of something.
    DataError
        If a mask, a start or bounds do not fit.
    """
    import numpy as np

    from hpc_recon.core.files import write_atomic
    from hpc_recon.methods import planning
    from hpc_recon.stores import layout
    from hpc_recon.stores import shapes as store_shapes

    workspace = layout.workspace_of(study)
    planning.require_usable(study, store_shapes.read(study))
    _require_own_features(study)
    places = [place for variant in study.reconstruct for place in study.image_sets(variant)]
    for split in dict.fromkeys(split for split, _, _ in places):
        payload = io.BytesIO()
        np.save(payload, _mean_training_image(study, split), allow_pickle=False)
        path = _start_path(workspace, split)
        if not path.exists() or path.read_bytes() != payload.getvalue():
            write_atomic(path, payload.getvalue())


def _require_own_features(study: Study) -> None:
    """Raise unless the features that are turned into images are those of the networks that look at the images."""
    from hpc_recon.methods import planning
    from hpc_recon.nets.identity import identity
    from hpc_recon.stores import layout, provenance
    from hpc_recon.stores import shapes as store_shapes

    shapes = store_shapes.read(study)
    look = provenance.Provenance(layout.workspace_of(study))
    for variant, options in study.reconstruct.items():
        name, own = study.decoded_name(options.network), identity(study.networks[options.network])
        for layer in planning.layers_of(study, options):
            made_by = shapes.made_by(options.network, layer)
            look.require_network(made_by, own, network=options.network, layer=layer)
            if not options.needs_stimuli:
                for split, roi in dict.fromkeys(place[:2] for place in study.image_sets(variant)):
                    look.require_current(f"decode/{split}/{roi}/{name}/{layer}")


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
    from hpc_recon.stores import layout

    variant, *place = tile.group.path
    if tile.stage == "recovery":
        return _recover(study, tile)
    options = study.reconstruct[variant]
    targets, rows = _read_targets(study, tile, options, (place[0], place[1], place[2]))
    if not targets.names:  # nothing of this tile shows a stimulus, and true features are asked for
        return []
    made = _reconstruct(study, options, targets)
    files = []
    for i, name in enumerate(targets.names):
        path = layout.image_file(study, variant, place[0], place[1], place[2], name)
        files += _write(study, path, made, i, _record(study, variant, options, targets, made, i))
        files += _write_more(study, path, made, i, row=int(rows[i]))
    return files


def _reconstruct(study: Study, options: Options, targets: Targets) -> Reconstruction:
    """Call the method of a variant."""
    from hpc_recon.methods import METHODS, planning
    from hpc_recon.nets import costs, devices, zoo

    method = importlib.import_module(METHODS[options.method])
    network = study.networks[options.network]
    structure = zoo.structure(network, image_size=(targets.start.shape[0], targets.start.shape[1]))
    with devices.settings(len(targets.names) * costs.forward_units(structure, planning.layers_of(study, options))):
        made: Reconstruction = method.reconstruct(targets, options, network=network, device=devices.choose())
    return made


def _record(
    study: Study, variant: str, options: Options, targets: Targets, made: Reconstruction, i: int
) -> dict[str, Any]:
    """Return what is written beside one image."""
    from hpc_recon.methods import planning

    record: dict[str, Any] = {
        "item": targets.names[i],
        "variant": variant,
        "options": options.model_dump(mode="json"),
        "layers": list(planning.layers_of(study, options)),
        "losses": [float(loss) for loss in made.losses[i]],
        "layer_losses": {layer: float(values[i]) for layer, values in made.layer_losses.items()},
    }
    if made.start_losses is not None:
        record["start_losses"] = [float(loss) for loss in made.start_losses[i]]
    return record


def _write(study: Study, path: Path, made: Reconstruction, i: int, record: dict[str, Any]) -> list[Path]:
    from hpc_recon.core.files import write_json
    from hpc_recon.stores import images, layout

    require_inside(layout.workspace_of(study), path.parent)
    return [*images.write_picture(path, made.images[i]), write_json(path.with_suffix(".json"), record)]


def _write_more(study: Study, path: Path, made: Reconstruction, i: int, *, row: int) -> list[Path]:
    """Write the images of all starts and the animation of one item, where there are any."""
    import numpy as np

    from hpc_recon.core.files import write_atomic
    from hpc_recon.stores import images, layout

    files = []
    if made.start_images is not None:
        payload = io.BytesIO()
        np.save(payload, made.start_images[i], allow_pickle=False)
        files.append(write_atomic(path.parent / "starts" / f"{path.stem}.npy", payload.getvalue()))
    if made.snapshots is not None:
        workspace, size = layout.workspace_of(study), made.images.shape[1:3]
        # Black where nothing was shown.
        stimulus = images.read_images(workspace, slice(row, row + 1))[0] if row >= 0 else np.zeros((*size, 3), np.uint8)
        files.append(
            images.write_animation(path.parent / "snapshots" / f"{path.stem}.webp", stimulus, made.snapshots[i])
        )
    return files


def _recover(study: Study, tile: Tile) -> list[Path]:
    """Make the first items of a variant from true features; write how like their stimuli they are."""
    import numpy as np

    from hpc_recon.stores import images, layout

    variant = tile.group.path[0]
    changes = {"source": "true", "reliability": "none", "snapshots": None, "keep_starts": False, "stretch": False}
    options = study.reconstruct[variant].model_copy(update=changes)
    targets, rows = _read_targets(study, tile, options, study.image_sets(variant)[0])
    if not targets.names:
        return []
    made = _reconstruct(study, options, targets)
    workspace, files, found = layout.workspace_of(study), [], []
    for i, name in enumerate(targets.names):
        (stimulus,) = images.read_images(workspace, rows[i : i + 1])
        record = _record(study, variant, options, targets, made, i)
        record["pixel_correlation"] = _correlation(made.images[i], stimulus)
        found.append(record["pixel_correlation"])
        files += _write(study, layout.recovery_file(study, variant, name), made, i, record)
    if np.mean(found) < _POOR_RECOVERY:
        shown = ", ".join(f"{value:.2f}" for value in found)
        warnings.warn(
            f"{variant}: images from true features correlate {shown} with their stimuli: even perfect decoding "
            "would not give them back, so look at layers, iterations, optimiser and start before decoding",
            stacklevel=2,
        )
    return files


def _correlation(image: Array, stimulus: Array) -> float:
    """Return Pearson's r over pixels and channels; 0 if one of them is of one colour."""
    import numpy as np

    a, b = (values.astype(np.float64).ravel() - values.mean(dtype=np.float64) for values in (image, stimulus))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _read_targets(study: Study, tile: Tile, options: Options, place: tuple[str, str, str]) -> tuple[Targets, Array]:
    """Read what the images of a tile shall show, and the rows of their stimuli.

    Decoded features with their norm correction applied, or the true ones.

    Raises
    ------
    MissingStore
        If a layer was not decoded; names the command. Also if `prepare` did not run.
    """
    import numpy as np

    from hpc_recon.core.errors import MissingStore
    from hpc_recon.methods import planning
    from hpc_recon.methods.targets import Targets
    from hpc_recon.stores import items, layout
    from hpc_recon.stores import shapes as store_shapes

    split, roi, dataset = place
    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    start = _start_path(workspace, split)
    if not start.exists():
        raise MissingStore(f"{start} does not exist; run `python -m hpc_recon.reconstruct --study <study file>`")
    layers = planning.layers_of(study, options)
    n_units = {layer: shapes.n_units(options.network, layer) for layer in layers}
    index = {layer: unit_sample(study, options.network, layer, n) for layer, n in n_units.items()}
    shown = items.read_shown(study, split, dataset)
    rows, stop = shown.rows[tile.start : tile.stop], tile.stop
    if options.needs_stimuli:  # items that show none come last; they have no true features
        stop = tile.start + int(np.count_nonzero(rows >= 0))
        rows = rows[: stop - tile.start]
    wanted = slice(tile.start, stop)
    features: dict[str, Array] = {}
    weights: dict[str, Array | None] = {}
    for layer in layers:
        if options.needs_stimuli:
            features[layer] = _true(study, options.network, layer, rows, index[layer])
        else:
            features[layer] = _corrected(study, options, place, layer, wanted)
        if isinstance(options, IcnnOptions) and options.reliability != "none":
            features[layer], weights[layer] = _weighed(study, options, place, layer, features[layer])
    targets = Targets(
        names=shown.names[wanted],
        features=features,
        start=np.load(start, allow_pickle=False),
        seed=seed_of(study.seed, tile.group.path[0], split, roi, dataset),
        unit_index=index,
        unit_weights=weights,
    )
    return targets, rows


def _true(study: Study, network: str, layer: str, rows: Array, units: Array | None) -> Array:
    """Return the features of the stimuli `rows`, (n, n_units) float32."""
    import numpy as np

    from hpc_recon.stores import arrays, layout

    distinct, place = np.unique(rows, return_inverse=True)
    found: Array = arrays.read(layout.workspace_of(study), layout.features(network, layer), distinct, units)
    return np.asarray(found[place], np.float32)


def _weighed(
    study: Study, options: IcnnOptions, place: tuple[str, str, str], layer: str, features: Array
) -> tuple[Array, Array]:
    """Return features and weights of units as `reliability` says, from the out-of-fold predictions."""
    from hpc_recon.methods import reliability
    from hpc_recon.stores import arrays, layout

    workspace = layout.workspace_of(study)
    key = (place[0], place[1], study.decoded_name(options.network), layer)
    known = arrays.read(workspace, layout.out_of_fold(*key, "stats"))  # residual variance, correlation
    if options.reliability == "residual":
        return features, reliability.residual_weights(known[:, 0])
    stats = arrays.read(workspace, layout.decoder(*key, "stats"))  # bias, mean, scale
    return reliability.calibrated(features, correlation=known[:, 1], mean=stats[:, 1], scale=stats[:, 2])


def _corrected(study: Study, options: Options, place: tuple[str, str, str], layer: str, rows: slice) -> Array:
    """Return the corrected decoded features of some items, (n, n_units) float32."""
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout

    split, roi, dataset = place
    workspace, name = layout.workspace_of(study), study.decoded_name(options.network)
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
