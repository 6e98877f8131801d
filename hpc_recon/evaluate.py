"""Score decoded features and reconstructed images against the truth and against simple baselines.

Stages: `features` (one tile a split, ROI and layer), `images` (one tile a method, split, ROI and dataset),
`tables` (joins both into `scores/features.csv`, `scores/images.csv` and `scores/summary.json`, and lists the items in
`scores/items.csv`; where some units are decoded, `scores/expected.json` says what they tell about all), and `human`
(`scores/human.csv` and `scores/human.json`, where raters judged images).
Items that show no stimulus have no truth and no score; the truth of a category is the mean of its stimuli's features.
Scores of features are those of the decoded features before any norm correction.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core import expected, memory
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import write_atomic, write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges

if TYPE_CHECKING:
    from hpc_recon.numerics.layer_scores import LayerScores
    from hpc_recon.numerics.scores import Interval, Products

SCORES = "scores"
#: Units of the test stimuli that are held at once: a shard of decoded features.
TEST_UNITS = 32768
#: pandas and scikit-image, imported by the first tile of a worker (measured: 55 MiB).
_LIBRARIES = 64 * 2**20
#: Multiplications and shard bytes a second on one core, for the projected time.
_FLOPS, _BYTES = 5e9, 3e8


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return a tile a layer, a tile a set of images, one that joins their tables, and one for what raters judged."""
    features = [
        _features_tile(study, shapes, (split, roi), network=network, layer=layer)
        for split, roi, network, layer in study.layer_sets()
    ]
    images = [
        _images_tile(study, shapes, variant, (split, roi, dataset))
        for variant in study.reconstruct
        for split, roi, dataset in study.image_sets(variant)
    ]
    settings = canonical(_averaging(study) | {"evaluate": _intervals(study), "seed": study.seed})
    upstream = ("evaluate/features", *(("evaluate/images",) if images else ()))
    rows = 300 * (len(features) + len(images))
    need = Need(
        host_bytes=_LIBRARIES + 2000 * rows,
        bytes_in=60 * rows,
        bytes_out=60 * rows,
        files_out=4 + (study.units is not None),
        seconds=1 + rows / 2e4,
    )
    tables = Tile(Group("evaluate", ("tables",), settings, upstream), "tables", 0, 1, need)
    human = [_human_tile(study)] if study.evaluate.ratings else []
    return [*features, *images, tables, *human]


def _intervals(study: Study) -> dict[str, Any]:
    return study.evaluate.model_dump(exclude={"ratings"})


def _human_tile(study: Study) -> Tile:
    from hpc_recon.reporting import human  # pandas: not for every plan

    return human.tile(study, _workspace(study))


def _averaging(study: Study) -> dict[str, object]:
    """Return how test repeats are averaged, where that is not the default: else older scores would count as done."""
    return {} if study.decode.average is True else {"average": study.decode.average}


def _features_tile(study: Study, shapes: Shapes, place: tuple[str, str], *, network: str, layer: str) -> Tile:
    from hpc_recon.decoding.truth import TRAINING_UNITS

    split, roi = place
    name = study.decoded_name(network)
    datasets = study.test_datasets(split)
    # The decoded features' own fingerprint covers the brain, the decoders and the features they were made from.
    upstream = f"{'fit' if study.fit.decode else 'decode'}/{split}/{roi}/{name}/{layer}"
    settings = canonical(
        _averaging(study) | {"identification": {d: study.datasets[d].identification for d in datasets}}
    )
    n_units = shapes.n_units(network, layer)
    n_decoded = study.n_decoded(n_units, layer)
    n_items, n_stimuli = sum(shapes.n_items(split, d) for d in datasets), shapes.n_stimuli()
    bytes_in = memory.array_bytes(n_stimuli + 2 * n_items, n_units)
    need = Need(
        host_bytes=_LIBRARIES
        + memory.shard_bytes(n_stimuli, min(TRAINING_UNITS, n_units), itemsize=12)
        + memory.shard_bytes(6 * n_items, min(TEST_UNITS, n_units)),
        bytes_in=bytes_in,
        bytes_out=memory.array_bytes(n_items, n_stimuli) + 200 * n_items,
        files_out=1 + len(datasets) + (study.units is not None),
        seconds=0.2 + 2.0 * n_items * n_stimuli * n_decoded / _FLOPS + bytes_in / _BYTES,
    )
    return Tile(Group("evaluate", ("features", split, roi, name, layer), settings, (upstream,)), "features", 0, 1, need)


def _images_tile(study: Study, shapes: Shapes, variant: str, place: tuple[str, str, str]) -> Tile:
    split, roi, dataset = place
    name = study.decoded_name(study.reconstruct[variant].network)
    upstream = (
        "/".join(("reconstruct", variant, *place)),
        f"evaluate/features/{split}/{roi}/{name}",
        f"{study.source_verb}/stimuli",
    )
    settings = canonical(_averaging(study) | {"identification": study.datasets[dataset].identification})
    height, width = shapes.image_size()
    n_items, n_stimuli = shapes.n_items(split, dataset), shapes.n_stimuli()
    image = memory.array_bytes(height, width, 3)
    need = Need(
        host_bytes=_LIBRARIES + memory.shard_bytes(n_stimuli, height, width, 3, itemsize=1) + 24 * n_items * image,
        bytes_in=n_stimuli * image // 4 + n_items * image,
        bytes_out=600 * n_items,
        files_out=2,
        seconds=0.5 + 0.05 * n_items,
    )
    return Tile(Group("evaluate", ("images", variant, *place), settings, upstream), "images", 0, 1, need)


def prepare(study: Study) -> None:
    """Create nothing: every tile writes small whole files."""


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute the scores of one tile, or join the tables; return the files written."""
    stages = {"features": _score_layer, "images": _score_images, "tables": _join_tables, "human": _score_human}
    return stages[tile.stage](study, tile)


def _part(study: Study, tile_path: tuple[str, ...]) -> Path:
    """Return the folder of one tile's scores."""
    return _workspace(study).joinpath(SCORES, "parts", *tile_path)


def _workspace(study: Study) -> Path:
    from hpc_recon.stores import layout

    return layout.workspace_of(study)


def _score_layer(study: Study, tile: Tile) -> list[Path]:
    """Score one layer in all test datasets of a split, and compare its decoded items with the training stimuli."""
    from hpc_recon.decoding import truth
    from hpc_recon.numerics.expected import estimate
    from hpc_recon.numerics.layer_scores import layer_scores
    from hpc_recon.reporting import tables
    from hpc_recon.stores.items import read_shown, training_rows

    _, split, roi, decoded_name, layer = tile.group.path
    network = study.network_of(decoded_name)
    items = {name: read_shown(study, split, name) for name in study.test_datasets(split)}
    truths = {name: truth.of_items(study, own) for name, own in items.items()}
    reader = truth.LayerReader(study, (split, roi, network, layer))
    training = training_rows(study, split)
    found: dict[str, LayerScores] = {}
    nearness: dict[str, Products] = {}
    for start, stop in ranges(reader.n_units, TEST_UNITS):
        statistics = reader.statistics(start, stop)
        decoded = {name: reader.decoded(name, start, stop, n_items=len(items[name].names)) for name in items}
        for name, own in truths.items():
            if not len(own.scored):
                continue  # nothing of it has a truth: it is decoded, not scored
            block = layer_scores(decoded[name][own.scored], reader.truth(own, start, stop), own.target, **statistics)
            found[name] = found[name] + block if name in found else block
        for name, block_products in reader.with_training(decoded, training, start, statistics=statistics).items():
            nearness[name] = nearness[name] + block_products if name in nearness else block_products
    folder, fields = _part(study, tile.group.path), {**tables.split_fields(split), "roi": roi}
    rows, files = [], []
    for name, layer_found in found.items():
        place = {**fields, "dataset": name, "network": network, "layer": layer}
        names = [items[name].names[i] for i in truths[name].scored]
        rows += _layer_rows(layer_found, names, place, identification=study.datasets[name].identification)
    for name in items:
        similarity = np.asarray(nearness[name].correlation(), np.float32)  # (items, training stimuli)
        files.append(write_atomic(folder / f"similarity-{name}.npy", _npy(similarity)))
    if study.units is not None:
        place = {"split": split, "roi": roi, "network": network, "decoded_name": decoded_name, "layer": layer}
        profiles = {name: layer_found.profile for name, layer_found in found.items()}
        files.append(expected.write(folder / expected.NAME, estimate(profiles, n_units=reader.n_stored, **place)))
    return [*files, tables.write_rows(folder / "scores.csv", rows, columns=tables.FEATURE_COLUMNS)]


def _layer_rows(
    found: LayerScores, names: Sequence[str], place: dict[str, str], *, identification: bool
) -> list[dict[str, Any]]:
    """Return the rows of one layer and dataset: three of profiles, then one an item and metric."""
    from hpc_recon.reporting import tables

    profiles, n_defined = found.profile_summary()
    rows = [
        {**place, "image": "", "metric": f"profile_correlation{ending}", "value": value, "n": n_defined}
        for ending, value in profiles.items()
    ]
    metrics: dict[str, tuple[Array, int]] = {"pattern_correlation": (found.pattern(), found.zscored.n_units)}
    n_others = len(found.raw.mean_b) - 1
    if identification and n_others > 0:
        metrics["identification"] = (found.identification().accuracy, n_others)
    return [*rows, *tables.item_rows(place, names, metrics=metrics)]


def _score_images(study: Study, tile: Tile) -> list[Path]:
    """Score the reconstructions of one dataset, and what needs no reconstruction: the baselines."""
    from hpc_recon.reporting import tables
    from hpc_recon.stores import images
    from hpc_recon.stores.items import read_shown, training_rows

    _, variant, split, roi, dataset = tile.group.path
    workspace = _workspace(study)
    network = study.reconstruct[variant].network
    items, table = read_shown(study, split, dataset), images.read_table(workspace)
    scored = np.flatnonzero(items.rows >= 0)
    stimuli, target = np.unique(items.rows[scored], return_inverse=True)
    names = [items.names[i] for i in scored]
    training = training_rows(study, split)
    nearest = training[_nearest(study, (split, roi, dataset), network)]  # (items,)
    folder = _part(study, tile.group.path)
    retrieved = {"images": list(items.names), "nearest": [table.labels[row] for row in nearest]}
    files = [write_json(folder / "retrieved.json", retrieved)]
    if not names:  # nothing of it shows a stimulus: no image to compare with
        return [*files, tables.write_rows(folder / "scores.csv", [], columns=tables.IMAGE_COLUMNS)]
    true = _unit_range(images.read_images(workspace, stimuli))  # (stimuli, H, W, 3)
    shown, index = np.unique(nearest[scored], return_inverse=True)
    candidates: dict[tuple[str, str], Array] = {
        (variant, network): _reconstructions(study, tile, names, size=true.shape[1:3]),
        ("nearest_training_image", network): _unit_range(images.read_images(workspace, shown))[index],
    }
    everything = _mean_image(study, training)
    candidates["mean_training_image", ""] = np.broadcast_to(everything, (len(target), *everything.shape))
    by_class = _class_means(study, training, [table.category[row] for row in items.rows[scored]], table.category)
    if by_class is not None:
        candidates["true_class_mean", ""] = by_class
    fields = {**tables.split_fields(split), "roi": roi, "dataset": dataset}
    rows: list[dict[str, Any]] = []
    for (name, source), made in candidates.items():
        place = {**fields, "variant": name, "network": source}
        metrics = _image_metrics(made, true, target, identification=study.datasets[dataset].identification)
        rows += tables.item_rows(place, names, metrics=metrics)
    return [*files, tables.write_rows(folder / "scores.csv", rows, columns=tables.IMAGE_COLUMNS)]


def _image_metrics(made: Array, true: Array, target: Array, *, identification: bool) -> dict[str, tuple[Array, int]]:
    """Score images (items, H, W, 3) that show the stimuli `true[target]`; each metric with its number of values."""
    from hpc_recon.numerics import scores

    n_values = int(np.prod(true.shape[1:]))
    similarity = scores.pixel_similarity(made, true)  # (items, stimuli)
    metrics = {
        "pixel_correlation": (similarity[np.arange(len(target)), target], n_values),
        "ssim": (scores.ssim(made, true[target]), n_values),
    }
    if identification and len(true) > 1:
        metrics["identification"] = (scores.pairwise_identification(similarity, target).accuracy, len(true) - 1)
    return metrics


def _nearest(study: Study, place: tuple[str, str, str], network: str) -> Array:
    """Return which training stimulus has the features most like the decoded ones, mean over layers; ties: the first.

    A similarity that is undefined (a constant pattern) counts 0, as no correlation does.
    """
    split, roi, dataset = place
    layers = study.networks[network].layers
    total: Array | float = 0.0
    for layer in layers:
        folder = _part(study, ("features", split, roi, study.decoded_name(network), layer))
        path = folder / f"similarity-{dataset}.npy"
        if not path.exists():
            raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate --redo`")
        total = total + np.nan_to_num(np.load(path, allow_pickle=False))
    return np.asarray(np.argmax(total, axis=1))


def _reconstructions(study: Study, tile: Tile, names: Sequence[str], *, size: tuple[int, int]) -> Array:
    """Read the reconstructed images of a tile's dataset, (items, H, W, 3) float32 in [0, 1]."""
    from hpc_recon.stores import images, layout

    _, variant, split, roi, dataset = tile.group.path
    made_by = f"reconstruct/{variant}/{split}/{roi}/{dataset}"
    files = [layout.image_file(study, variant, split, roi, dataset, name) for name in names]
    return np.stack([images.read_picture(_workspace(study), path, made_by=made_by, size=size) for path in files])


def _mean_image(study: Study, rows: Array) -> Array:
    """Return the mean of stimuli, (H, W, 3) float64 in [0, 1], reading 256 at a time."""
    from hpc_recon.stores import images

    total: Array | float = 0.0
    for start, stop in ranges(len(rows), 256):
        total = total + images.read_images(_workspace(study), rows[start:stop]).sum(axis=0, dtype=np.float64)
    return np.asarray(total / (255 * len(rows)))


def _class_means(study: Study, training: Array, wanted: Sequence[str], category: Sequence[str]) -> Array | None:
    """Return, for each item, the mean training image of its own category; None unless every item has one."""
    members = {name: np.array([row for row in training if category[row] == name]) for name in set(wanted)}
    if "" in members or not all(len(rows) for rows in members.values()):
        return None
    means = {name: _mean_image(study, rows) for name, rows in members.items()}
    return np.stack([means[name] for name in wanted])


def _unit_range(images: Array) -> Array:
    return np.asarray(images, np.float32) / np.float32(255)


def _npy(values: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _join_tables(study: Study, tile: Tile) -> list[Path]:
    """Join the parts of all tiles into two tables, and summarise them with intervals."""
    from hpc_recon.reporting import tables

    folder = _workspace(study) / SCORES
    layers = [
        _part(study, ("features", split, roi, study.decoded_name(network), layer))
        for split, roi, network, layer in study.layer_sets()
    ]
    image_parts = [
        _part(study, ("images", variant, *place)) / "scores.csv"
        for variant in study.reconstruct
        for place in study.image_sets(variant)
    ]
    features = tables.join([part / "scores.csv" for part in layers], columns=tables.FEATURE_COLUMNS)
    images = tables.join(image_parts, columns=tables.IMAGE_COLUMNS)
    summary = {"study": study.name, **_intervals(study), "chance": tables.CHANCE}
    summary |= tables.summarise(features, images, interval=partial(_interval, study))
    entries = [entry for part in layers for entry in expected.read(part / expected.NAME)]
    return [
        *([expected.write(folder / expected.NAME, entries)] if study.units is not None else []),
        tables.write_frame(folder / "features.csv", features),
        tables.write_frame(folder / "images.csv", images),
        _write_items(study, folder / "items.csv"),
        write_json(folder / "summary.json", summary),
    ]


def _interval(study: Study, values: Array, names: tuple[str, ...]) -> Interval:
    from hpc_recon.numerics import scores

    return scores.bootstrap_interval(values, **_intervals(study), seed=seed_of(study.seed, "bootstrap", *names))


def _score_human(study: Study, tile: Tile) -> list[Path]:
    from hpc_recon.numerics import judgements
    from hpc_recon.reporting import human

    judged = human.collect(_workspace(study), study.evaluate.ratings)
    return human.write(_workspace(study) / SCORES, judged, judge=judgements, interval=partial(_interval, study))


def _write_items(study: Study, path: Path) -> Path:
    """Write what is known of each item: what it shows, how many presentations it averages, means of sample columns."""
    from hpc_recon.reporting import tables
    from hpc_recon.stores.items import read_shown

    found = [
        ({**tables.split_fields(split), "dataset": dataset}, read_shown(study, split, dataset))
        for split in study.splits()
        for dataset in study.test_datasets(split)
    ]
    rows: list[dict[str, str | float | int]] = [
        {
            **place,
            "image": name,
            "label": items.labels[i],
            "shows": items.conditions[i] or "stimulus",
            "n_averaged": int(items.n_averaged[i]),
            **{column: float(values[i]) for column, values in items.columns.items()},
        }
        for place, items in found
        for i, name in enumerate(items.names)
    ]
    more = sorted({column for _, items in found for column in items.columns})
    return tables.write_rows(path, rows, columns=(*tables.ITEM_COLUMNS, *more))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of this verb."""
    from hpc_recon.run import cli

    return cli.main("evaluate", argv)


if __name__ == "__main__":
    raise SystemExit(main())
