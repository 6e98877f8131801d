"""Score decoded features and reconstructed images against the truth and against simple baselines.

Stages: `features` (one tile a split, ROI and layer), `images` (one tile a method, split, ROI and dataset), `latents`
(the same for entries of method `latent`: `scores/latents/`),
`tables` (joins both into `scores/features.csv`, `scores/images.csv` and `scores/summary.json`, tests them in
`scores/tests.csv`, compares variants with each other in `scores/winning.csv`, says in `scores/validity.json` what the
images are evidence of, lists the items in `scores/items.csv`, and the filters of first convolutions in
`scores/filters.csv`; with `evaluate.parquet` the first two also as `.parquet`; where some units are decoded,
`scores/expected.json` says what they tell about all), `controls` (`scores/controls.json`, where `control` was run:
whether scores are at chance with brains that can tell nothing), and `human` (`scores/human.csv` and
`scores/human.json`, where raters judged images).
Items that show no stimulus have no truth and no score; the truth of a category is the mean of its stimuli's features.
Scores of features are those of the decoded features before any norm correction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_recon.core import expected
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.score_names import BASELINES, CHANCE, FILTER_COLUMNS
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

if TYPE_CHECKING:
    import pandas as pd

    from hpc_recon.evaluation.parts import Scored
    from hpc_recon.numerics.scores import Interval


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return a tile a layer, a set of images, and an ROI's voxels; one joins tables, one reads what raters judged."""
    from hpc_recon.evaluation import filters, planning, voxels

    ceilings = voxels.tiles(study, shapes)
    features = [
        planning.features_tile(study, shapes, (split, roi), network=network, layer=layer)
        for split, roi, network, layer in study.layer_sets(decoded=True)
    ]
    images = [
        planning.images_tile(study, shapes, variant, (split, roi, dataset))
        for variant in study.reconstruct
        for split, roi, dataset in study.image_sets(variant)
    ]
    content = {
        "evaluate": study.evaluate.intervals,
        "seed": study.seed,
        "holds": (
            *("tests", "validity", "winning by split", "anova", "warnings", "preset", "columns"),
            *(("converters", "converted") if study.convert else ()),
        ),
        **_as_parquet(study),
    }
    settings = canonical(planning.averaging(study) | content | planning.chosen(study))
    more = {"evaluate/images": images, "evaluate/voxels": ceilings}
    upstream = ("evaluate/features", *(key for key, found in more.items() if found))
    voxel_bytes = sum(tile.need.bytes_out for tile in ceilings)
    rows = planning.table_rows(study, shapes)
    need = Need(
        # Images are judged, and samples compared with training, once more.
        host_bytes=max([planning.LIBRARIES, *(tile.need.host_bytes for tile in (*images, *ceilings))])
        + planning.ROW_BYTES * rows
        + 8 * voxel_bytes,
        bytes_in=100 * rows + voxel_bytes + sum(tile.need.bytes_in for tile in images),
        bytes_out=100 * rows,
        files_out=9
        + 2 * study.evaluate.parquet
        + (study.units is not None)
        + any(filters.has(key[3]) for key in study.layer_sets(decoded=True)),
        seconds=1 + rows / 2e4 + sum(0.2 * tile.need.seconds for tile in images),
    )
    tables = Tile(Group("evaluate", ("tables",), settings, upstream), "tables", 0, 1, need)
    human = [_human_tile(study)] if study.evaluate.ratings else []
    return [*features, *images, *ceilings, *_latent_tiles(study, shapes), tables, *_controls_tile(study), *human]


def _as_parquet(study: Study) -> dict[str, object]:
    """Return whether tables are written as Parquet too, where they are; raise where pyarrow is not installed."""
    if not study.evaluate.parquet:
        return {}
    from hpc_recon.reporting import tables

    tables.require_parquet()
    return {"parquet": True}


def _controls_tile(study: Study) -> list[Tile]:
    """Return the tile that reads finished controls; none where no control was run to its end."""
    if not (_workspace(study) / "controls").is_dir():
        return []
    from hpc_recon.evaluation import control_scores, planning

    found = control_scores.digest(study)
    if found is None:
        return []
    held, seconds = control_scores.need(study)
    need = Need(
        host_bytes=planning.LIBRARIES + held, bytes_in=held, bytes_out=2**16, files_out=1, seconds=0.5 + seconds
    )
    return [Tile(Group("evaluate", ("controls",), canonical({"controls": found})), "controls", 0, 1, need)]


def _latent_tiles(study: Study, shapes: Shapes) -> list[Tile]:
    if not any(options.method == "latent" for options in study.reconstruct.values()):
        return []
    from hpc_recon.evaluation import latents

    return latents.tiles(study, shapes)


def _human_tile(study: Study) -> Tile:
    from hpc_recon.evaluation import human  # pandas: not for every plan

    return human.tile(study, _workspace(study))


def prepare(study: Study) -> None:
    """Create nothing: every tile writes small whole files."""


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute the scores of one tile, or join the tables; return the files written."""
    stages = {
        "features": _score_layer,
        "images": _score_images,
        "voxels": _score_voxels,
        "latents": _score_latents,
        "tables": _join_tables,
        "controls": _read_controls,
        "human": _score_human,
    }
    return stages[tile.stage](study, tile)


def _workspace(study: Study) -> Path:
    from hpc_recon.stores import layout

    return layout.workspace_of(study)


def _rows(found: Iterable[Scored], place: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows of scores: those of all items together first, then one an item and metric."""
    from hpc_recon.reporting import tables

    rows: list[dict[str, Any]] = []
    for own in found:
        here = {**place, **own.place}
        rows += [{**here, "image": "", "metric": name, "value": v, "n": n} for name, (v, n) in own.whole.items()]
        rows += tables.item_rows(here, own.names, metrics=own.metrics)
    return rows


def _score_layer(study: Study, tile: Tile) -> list[Path]:
    """Score one layer in all test datasets of a split, and compare its decoded items with the training stimuli."""
    from hpc_recon.evaluation import filters, layers, parts
    from hpc_recon.numerics.expected import estimate
    from hpc_recon.reporting import tables

    _, split, roi, decoded_name, layer = tile.group.path
    network = study.network_of(decoded_name)
    found = layers.score(study, (split, roi, network, layer))
    folder = parts.folder(study, tile.group.path)
    files = [parts.write_similarity(folder, name, values) for name, values in found.similarity.items()]
    if study.units is not None:
        place = {"split": split, "roi": roi, "network": network, "decoded_name": decoded_name, "layer": layer}
        files.append(expected.write(folder / expected.NAME, estimate(found.profiles, n_units=found.n_stored, **place)))
    fields = {**tables.split_fields(split), "roi": roi, "network": network, "layer": layer}
    if filters.has(layer):
        own = filters.rows(found, study, fields)
        files.append(tables.write_rows(folder / filters.NAME, own, columns=FILTER_COLUMNS))
    rows = _rows(found.scored, fields)
    return [*files, tables.write_rows(folder / "scores.csv", rows, columns=tables.FEATURE_COLUMNS)]


def _score_images(study: Study, tile: Tile) -> list[Path]:
    """Score the reconstructions of one dataset, and the baselines; note each item's nearest training stimulus."""
    from hpc_recon.evaluation import images, parts
    from hpc_recon.reporting import tables

    _, variant, split, roi, dataset = tile.group.path
    found = images.score(study, variant, (split, roi, dataset))
    folder = parts.folder(study, tile.group.path)
    retrieved = {"images": list(found.items), "nearest": list(found.nearest)}
    rows = _rows(found.scored, {**tables.split_fields(split), "roi": roi, "dataset": dataset})
    return [
        write_json(folder / "retrieved.json", retrieved),
        tables.write_rows(folder / "scores.csv", rows, columns=tables.IMAGE_COLUMNS),
    ]


def _join_tables(study: Study, tile: Tile) -> list[Path]:
    """Join the parts of all tiles into two tables, and summarise them with intervals and tests."""
    from hpc_recon.evaluation import (
        anova,
        associations,
        card,
        cautions,
        filters,
        parts,
        presets,
        significance,
        voxels,
        winning,
    )
    from hpc_recon.evaluation import converters as curves
    from hpc_recon.evaluation import summary as summary_of
    from hpc_recon.reporting import tables

    folder = _workspace(study) / parts.SCORES
    layers = [
        parts.folder(study, ("features", split, roi, study.decoded_name(network), layer))
        for split, roi, network, layer in study.layer_sets(decoded=True)
    ]
    image_parts = [
        parts.folder(study, ("images", variant, *place)) / "scores.csv"
        for variant in study.reconstruct
        for place in study.image_sets(variant)
    ]
    features = tables.join([part / "scores.csv" for part in layers], columns=tables.FEATURE_COLUMNS)
    images = tables.join(image_parts, columns=tables.IMAGE_COLUMNS)
    summary = {"study": study.name, **study.evaluate.intervals, "chance": CHANCE}
    if study.evaluate.presets:
        summary["absent"] = presets.absent(study.evaluate)
    pooled = summary_of.pool_folds(features), summary_of.pool_folds(images)
    summary |= summary_of.summarise(*pooled, interval=partial(_interval, study))
    summary["converters"] = curves.collect(study, *pooled, interval=partial(_interval, study))
    summary["tests"] = significance.entries(*pooled, chance=CHANCE, baselines=BASELINES)
    reliable, items = voxels.read(study), _items(study)
    summary["voxels"] = voxels.distribution(reliable)
    summary["columns"] = associations.entries(images, items, baselines=BASELINES)
    tasks = anova.entries(features, images, items, study=study, baselines=BASELINES)
    judged = card.collect(study, features, summary["tests"])
    summary["warnings"] = cautions.collect(study, summary["layers"], judged["few_images"])
    entries = [entry for part in layers for entry in expected.read(part / expected.NAME)]
    by_filter = filters.places(study)
    return [
        *([_join_filters(folder, by_filter)] if by_filter else []),
        *([expected.write(folder / expected.NAME, entries)] if study.units is not None else []),
        *(
            tables.write_scores(folder / f"{name}{suffix}", frame)
            for name, frame in (("features", features), ("images", images))
            for suffix in ((".csv", ".parquet") if study.evaluate.parquet else (".csv",))
        ),
        tables.write_frame(folder / winning.NAME, winning.table(pooled[1], baselines=BASELINES)),
        tables.write_frame(folder / voxels.NAME, reliable),
        tables.write_frame(folder / "items.csv", items),
        tables.write_rows(folder / anova.NAME, tasks, columns=anova.COLUMNS),
        tables.write_scores(folder / "tests.csv", significance.frame(summary["tests"])),
        write_json(folder / card.NAME, judged),
        write_json(folder / "summary.json", summary),
    ]


def _join_filters(folder: Path, found: Sequence[Path]) -> Path:
    from hpc_recon.evaluation import filters
    from hpc_recon.reporting import tables

    return tables.write_frame(folder / filters.NAME, tables.join(found, columns=FILTER_COLUMNS))


def _interval(study: Study, values: Array, names: tuple[str, ...]) -> Interval:
    from hpc_recon.numerics import scores

    return scores.bootstrap_interval(values, **study.evaluate.intervals, seed=seed_of(study.seed, "bootstrap", *names))


def _score_voxels(study: Study, tile: Tile) -> list[Path]:
    """Write the noise ceilings of the voxels of one ROI."""
    from hpc_recon.evaluation import parts, voxels
    from hpc_recon.reporting import tables

    rows = voxels.score(study, *tile.group.path[1:])
    return [tables.write_rows(parts.folder(study, tile.group.path) / voxels.NAME, rows, columns=voxels.COLUMNS)]


def _score_latents(study: Study, tile: Tile) -> list[Path]:
    """Score the latents that one entry rendered for one split, ROI and dataset."""
    from hpc_recon.evaluation import latents

    return latents.score(study, tile)


def _read_controls(study: Study, tile: Tile) -> list[Path]:
    """Write what finished controls say of the study."""
    from hpc_recon.evaluation import control_scores, parts

    return [write_json(_workspace(study) / parts.SCORES / control_scores.NAME, control_scores.collect(study))]


def _score_human(study: Study, tile: Tile) -> list[Path]:
    """Score what raters judged."""
    from hpc_recon.evaluation import human, parts
    from hpc_recon.reporting import tables

    folder = _workspace(study) / parts.SCORES
    judged = human.collect(_workspace(study), study.evaluate.ratings)
    rows, summary = human.summarise(judged, interval=partial(_interval, study))
    return [
        tables.write_rows(folder / "human.csv", rows, columns=human.COLUMNS),
        write_json(folder / "human.json", summary),
    ]


def _items(study: Study) -> pd.DataFrame:
    """Return what is known of each item: what it shows, how many presentations it averages, means of sample columns."""
    import pandas as pd

    from hpc_recon.reporting import tables
    from hpc_recon.stores.items import read_shown

    found = [
        ({**tables.split_fields(split), "dataset": dataset}, read_shown(study, split, dataset))
        for split in study.decoded_splits()
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
    return pd.DataFrame(rows, columns=[*tables.ITEM_COLUMNS, *more])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of this verb."""
    from hpc_recon.run import cli

    return cli.main("evaluate", argv)


if __name__ == "__main__":
    raise SystemExit(main())
