"""The tiles that score decoded features and images: what each depends on, and what it needs."""

from __future__ import annotations

from pathlib import Path

from hpc_recon.core import memory
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import sha256
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

#: pandas and scikit-image, imported by the first tile of a worker (measured: 55 MiB, and 46 more where pyarrow is
#: installed, which pandas then imports).
LIBRARIES = 112 * 2**20
#: Peak bytes of a row of scores while tables are joined, tested and written (measured: 500 to 530).
ROW_BYTES = 600
#: Scores of an item of a layer, and of an image.
_LAYER_SCORES, _IMAGE_SCORES = 8, 10
#: Multiplications and shard bytes a second on one core, for the projected time.
_FLOPS, _BYTES = 5e9, 3e8


def averaging(study: Study) -> dict[str, object]:
    """Return how test repeats are averaged, where that is not the default: else older scores would count as done."""
    return {} if study.decode.average is True else {"average": study.decode.average}


def chosen(study: Study) -> dict[str, object]:
    """Return which metrics of images are computed, where that is not the default; weights count by their content.

    Raises
    ------
    StudyError
        If a weights file does not exist.
    """
    from hpc_recon.nets.identity import file_sha256

    options = study.evaluate
    metrics: dict[str, object] = {"ssim_identification": True} if options.ssim_identification else {}
    if options.n_way:
        metrics["n_way"] = sorted(options.n_way)
    if options.presets:
        metrics["presets"] = sorted(options.presets)
        metrics["networks"] = {name: file_sha256(path) for name, path in options.networks.items()}
    return metrics


def table_rows(study: Study, shapes: Shapes) -> int:
    """Return how many rows the tables of scores have: items by layers and scores, images of methods and baselines."""
    items = {
        (split, dataset): shapes.n_items(split, dataset)
        for split in study.decoded_splits()
        for dataset in study.test_datasets(split)
    }
    layers = sum(
        items[split, dataset] for split, *_ in study.layer_sets(decoded=True) for dataset in study.test_datasets(split)
    )
    images = sum(
        items[split, dataset] for variant in study.reconstruct for split, _, dataset in study.image_sets(variant)
    )
    return _LAYER_SCORES * layers + 4 * _IMAGE_SCORES * images


def shape_labels(study: Study, dataset: str) -> dict[str, object]:
    """Return where the colours and shapes of a dataset are known from, if they are; a file by its content.

    Raises
    ------
    StudyError
        If a file does not exist, or a dataset is no test dataset.
    """
    unknown = sorted(set(study.evaluate.shapes) - set(study.test_datasets()))
    if unknown:
        tests = ", ".join(study.test_datasets())
        raise StudyError("evaluate.shapes", [f"{unknown[0]!r} is no test dataset; there are: {tests}"])
    source = study.evaluate.shapes.get(dataset)
    if source is None:
        return {}
    if isinstance(source, Path) and not source.is_file():
        raise StudyError("evaluate.shapes", [f"{dataset}: the file {source} does not exist; give another, or labels"])
    return {"shapes": sha256(source) if isinstance(source, Path) else source}


def features_tile(study: Study, shapes: Shapes, place: tuple[str, str], *, network: str, layer: str) -> Tile:
    """Return the tile that scores one layer; `place` is split and ROI."""
    from hpc_recon.evaluation import filters
    from hpc_recon.evaluation.layers import TEST_UNITS
    from hpc_recon.evaluation.truth import TRAINING_UNITS

    split, roi = place
    name = study.decoded_name(network)
    datasets = study.test_datasets(split)
    # The decoded features' own fingerprint covers the brain, the decoders and the features they were made from.
    upstream = f"{'fit' if study.fit.decode else 'decode'}/{split}/{roi}/{name}/{layer}"
    by_filter = {"filters": True} if filters.has(layer) else {}
    settings = canonical(
        averaging(study) | {"identification": {d: study.datasets[d].identification for d in datasets}} | by_filter
    )
    n_units = shapes.n_units(network, layer)
    n_decoded = study.n_decoded(n_units, layer)
    n_items, n_stimuli = sum(shapes.n_items(split, d) for d in datasets), shapes.n_stimuli()
    bytes_in = memory.array_bytes(n_stimuli + 2 * n_items, n_units)
    need = Need(
        host_bytes=LIBRARIES
        + memory.shard_bytes(n_stimuli, min(TRAINING_UNITS, n_units), itemsize=12)
        + memory.shard_bytes(8 * n_items, min(TEST_UNITS, n_units))
        + memory.array_bytes(8 * n_items, n_stimuli, itemsize=8),
        bytes_in=bytes_in,
        bytes_out=memory.array_bytes(n_items, n_stimuli) + 200 * n_items,
        files_out=1 + len(datasets) + (study.units is not None) + len(by_filter),
        seconds=0.2 + 2.0 * n_items * n_stimuli * n_decoded / _FLOPS + bytes_in / _BYTES,
    )
    return Tile(Group("evaluate", ("features", split, roi, name, layer), settings, (upstream,)), "features", 0, 1, need)


def images_tile(study: Study, shapes: Shapes, variant: str, place: tuple[str, str, str]) -> Tile:
    """Return the tile that scores the images of one method; `place` is split, ROI and dataset.

    Raises
    ------
    StudyError
        If a file of weights or labels does not exist, or labels are those of no test dataset.
    """
    from hpc_recon.evaluation import presets

    split, roi, dataset = place
    name = study.decoded_name(study.reconstruct[variant].network)
    upstream = (
        "/".join(("reconstruct", variant, *place)),
        f"evaluate/features/{split}/{roi}/{name}",
        f"{study.source_verb}/stimuli",
    )
    settings = canonical(
        averaging(study)
        | {"identification": study.datasets[dataset].identification}
        | chosen(study)
        | shape_labels(study, dataset)
    )
    height, width = shapes.image_size()
    n_items, n_stimuli = shapes.n_items(split, dataset), shapes.n_stimuli()
    image = memory.array_bytes(height, width, 3)
    more_bytes, more_seconds = presets.need(study.evaluate, n_items, n_items)  # at most a stimulus an item
    need = Need(
        host_bytes=LIBRARIES
        + more_bytes
        + memory.shard_bytes(n_stimuli, height, width, 3, itemsize=1)
        + 24 * n_items * image,
        bytes_in=n_stimuli * image // 4 + n_items * image,
        bytes_out=600 * n_items,
        files_out=2,
        seconds=0.5 + 0.05 * n_items + more_seconds,
    )
    return Tile(Group("evaluate", ("images", variant, *place), settings, upstream), "images", 0, 1, need)
