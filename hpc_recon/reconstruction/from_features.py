"""Images from decoded features (methods `icnn` and `pixels`): their tiles, what these read, and the recovery check."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.tiles import Group, Shapes, Tile, canonical, ranges
from hpc_recon.methods import METHODS, planning
from hpc_recon.methods.targets import Reconstruction, Targets
from hpc_recon.nets import costs, devices, zoo
from hpc_recon.nets.identity import identity
from hpc_recon.numerics import validity
from hpc_recon.reconstruction import starts, targets, writing
from hpc_recon.stores import images, layout, provenance
from hpc_recon.stores import shapes as store_shapes

Options = IcnnOptions | PixelsOptions

#: Name of the group of a variant's recovery check, and of the folder of its images.
RECOVERY = "_recovery"


def plan(study: Study, shapes: Shapes, variant: str) -> list[Tile]:
    """Return one tile per `images_per_tile` items of each split, ROI and dataset, then the recovery check.

    Raises
    ------
    MissingStore
        If brain data or features do not exist yet.
    StudyError
        If a generator is unknown, its files are missing, or its images are smaller than the network's input.
    DataError
        If a mask, a start or bounds do not fit.
    """
    options, tiles = _options(study, variant), []
    places = study.image_sets(variant)
    for place in places:
        group = _group(study, variant, place, place)
        step = planning.images_per_tile(study, shapes, options)
        for start, stop in ranges(shapes.n_items(place[0], place[2]), step):
            need = planning.need(study, shapes, variant, n=stop - start)
            tiles.append(Tile(group, "reconstruct", start, stop, need))
    n_recovered = _n_recovered(study, shapes, variant)
    if n_recovered:
        group = _group(study, variant, (RECOVERY,), places[0])
        tiles.append(Tile(group, "recovery", 0, n_recovered, planning.need(study, shapes, variant, n=n_recovered)))
    planning.require_usable(study, shapes, [variant])  # last: a file that is missing is named as such before
    return tiles


def _options(study: Study, variant: str) -> Options:
    options = study.reconstruct[variant]
    assert isinstance(options, (IcnnOptions, PixelsOptions)), options.method
    return options


def _n_recovered(study: Study, shapes: Shapes, variant: str) -> int:
    """Return how many items of the first image set of a variant are made from true features."""
    options, places = _options(study, variant), study.image_sets(variant)
    if not isinstance(options, IcnnOptions) or options.needs_stimuli or not places:
        return 0
    return min(options.recovery, shapes.n_items(places[0][0], places[0][2]))


def _group(study: Study, variant: str, below: tuple[str, ...], place: tuple[str, str, str]) -> Group:
    """Return the group `reconstruct/<variant>/<below>` of the images of one split, ROI and dataset."""
    split, roi, _ = place
    options = _options(study, variant)
    network = study.networks[options.network]
    settings = {
        "options": planning.settings_of(options),
        "network": identity(network),
        "layers": list(study.layers_of(options)),
        "units": study.units,
        "seed": study.seed,
    }
    if study.decode.average is not True:  # else images of other items would count as done
        settings["average"] = study.decode.average
    name, layers = study.decoded_name(options.network), study.layers_of(options)
    upstream = [f"{study.source_verb}/stimuli"]
    if not study.decode.files:
        upstream.append(study.brain_key(split))
    if below == (RECOVERY,) or options.needs_stimuli:
        upstream.append(f"extract/{options.network}")
    else:
        upstream += study.decode_keys(variant, split, roi)
        if isinstance(options, IcnnOptions) and options.reliability != "none":
            upstream += [f"fit/{owner(split)}/{roi}/_out_of_fold/{name}/{layer}" for layer in layers]
    if below == (RECOVERY,):
        settings["place"] = list(place)
    return Group("reconstruct", (variant, *below), canonical(settings), tuple(upstream))


def prepare(study: Study, variants: Sequence[str]) -> None:
    """Check what was decoded, and write the mean training image of every split, where optimisation starts.

    Raises
    ------
    ChangedStudy
        If decoded features were made by another network than the study's, or from an earlier version of something.
    """
    _require_own_features(study, variants)
    places = [place for variant in variants for place in study.image_sets(variant)]
    for split in dict.fromkeys(split for split, _, _ in places):
        starts.write(study, split)


def _require_own_features(study: Study, variants: Sequence[str]) -> None:
    """Raise unless the features that are turned into images are those of the networks that look at the images."""
    shapes = store_shapes.read(study)
    look = provenance.Provenance(layout.workspace_of(study))
    for variant in variants:
        options = _options(study, variant)
        own = identity(study.networks[options.network])
        for layer in study.layers_of(options):
            made_by = shapes.made_by(options.network, layer)
            look.require_network(made_by, own, network=options.network, layer=layer)
        if not options.needs_stimuli:
            look.require_decoded(study, variant)


def work(study: Study, tile: Tile) -> list[Path]:
    """Reconstruct and write the items of one tile; return the files."""
    variant, *place = tile.group.path
    if tile.stage == "recovery":
        return _recover(study, tile)
    options = _options(study, variant)
    wanted, rows = targets.read(study, tile, options, (place[0], place[1], place[2]))
    if not wanted.names:  # nothing of this tile shows a stimulus, and true features are asked for
        return []
    made = _reconstruct(study, options, wanted)
    files = []
    for i, name in enumerate(wanted.names):
        path = layout.image_file(study, variant, place[0], place[1], place[2], name)
        files += writing.write(study, path, made.images[i], _record(study, variant, options, wanted, made, i))
        files += writing.write_more(study, path, made, i, row=int(rows[i]))
    return files


def _reconstruct(study: Study, options: Options, wanted: Targets) -> Reconstruction:
    """Call the method of a variant."""
    method = importlib.import_module(METHODS[options.method])
    network = study.networks[options.network]
    structure = zoo.structure(network, image_size=(wanted.start.shape[0], wanted.start.shape[1]))
    with devices.settings(len(wanted.names) * costs.forward_units(structure, study.layers_of(options))):
        made: Reconstruction = method.reconstruct(wanted, options, network=network, device=devices.choose())
    return made


def _record(
    study: Study, variant: str, options: Options, wanted: Targets, made: Reconstruction, i: int
) -> dict[str, Any]:
    """Return what is written beside one image."""
    record: dict[str, Any] = {
        "item": wanted.names[i],
        "variant": variant,
        "options": options.model_dump(mode="json"),
        "layers": list(study.layers_of(options)),
        "losses": [float(loss) for loss in made.losses[i]],
        "layer_losses": {layer: float(values[i]) for layer, values in made.layer_losses.items()},
    }
    if made.start_losses is not None:
        record["start_losses"] = [float(loss) for loss in made.start_losses[i]]
    return record


def _recover(study: Study, tile: Tile) -> list[Path]:
    """Make the first items of a variant from true features; write how like their stimuli they are."""
    variant = tile.group.path[0]
    changes = {"source": "true", "reliability": "none", "snapshots": None, "keep_starts": False, "stretch": False}
    options = _options(study, variant).model_copy(update=changes)
    wanted, rows = targets.read(study, tile, options, study.image_sets(variant)[0])
    if not wanted.names:
        return []
    made = _reconstruct(study, options, wanted)
    workspace, files, found = layout.workspace_of(study), [], []
    for i, name in enumerate(wanted.names):
        (stimulus,) = images.read_images(workspace, rows[i : i + 1])
        record = _record(study, variant, options, wanted, made, i)
        record["pixel_correlation"] = _correlation(made.images[i], stimulus)
        found.append(record["pixel_correlation"])
        files += writing.write(study, layout.recovery_file(study, variant, name), made.images[i], record)
    if np.mean(found) < validity.POOR_RECOVERY:
        shown = ", ".join(f"{value:.2f}" for value in found)
        warnings.warn(
            f"{variant}: images from true features correlate {shown} with their stimuli: even perfect decoding "
            "would not give them back, so look at layers, iterations, optimiser and start before decoding",
            stacklevel=2,
        )
    return files


def _correlation(image: Array, stimulus: Array) -> float:
    """Return Pearson's r over pixels and channels; 0 if one of them is of one colour."""
    a, b = (values.astype(np.float64).ravel() - values.mean(dtype=np.float64) for values in (image, stimulus))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
