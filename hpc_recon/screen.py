"""Rank networks and layers by decodability before anything large is extracted.

Stages. `features`: a sample of units of each layer, for training stimuli alone, straight from the taps. `fit`: one tile
a network, subject and ROI: ridge with folds of stimuli, where z-scoring, voxel selection and penalties are made inside
the fold. `tables`: screen/screen.csv and screen.json. Test data are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

if TYPE_CHECKING:
    from hpc_recon.extraction.sampled import Candidate

FOLDER = "screen"
COLUMNS = (
    "rank", "network", "layer", "subject", "roi", "mean", "low", "high", "units_low", "units_high", "n_units",
    "n_missing", "n_stimuli",
)  # fmt: skip


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a network and 48 training stimuli, one a network, subject and ROI, and one for the tables.

    Raises
    ------
    StudyError
        If a network, a layer or the estimator is wrong.
    MissingStore
        If stimuli or brain samples do not exist yet.
    """
    from hpc_recon.decoding import screening
    from hpc_recon.extraction import sampled

    def most() -> int:
        sizes = [shapes.n_samples(subject, study.training_dataset) for subject in study.subjects]
        return min(sum(sizes), shapes.n_stimuli())

    screening.require_ridge(study)
    candidates = _candidates(study, shapes.image_size())
    tiles, n_units = sampled.plan(study, shapes, candidates, rows=screening.training_rows, most=most)
    fits = screening.tiles(study, shapes, n_units)
    layers = {name: list(own) for name, own in n_units.items()}
    upstream = tuple(tile.group.key for tile in fits)
    tables = Group("screen", ("tables",), canonical({"layers": layers}), upstream)
    return [*tiles, *fits, Tile(tables, "tables", 0, 1, Need(files_out=2, seconds=0.1))]


def _candidates(study: Study, image_size: tuple[int, int]) -> dict[str, Candidate]:
    from hpc_recon.decoding import screening
    from hpc_recon.extraction import sampled

    return {
        name: sampled.candidate(study, name, network, image_size)
        for name, network in screening.candidates(study).items()
    }


def prepare(study: Study) -> None:
    """Create the arrays of sampled features.

    Raises
    ------
    StudyError
        If weights are missing; nothing is downloaded.
    DataError
        If there are fewer training stimuli than folds.
    """
    from hpc_recon.decoding import inputs, screening
    from hpc_recon.extraction import sampled
    from hpc_recon.numerics.choice import deal_folds
    from hpc_recon.stores import shapes as store_shapes

    for subject in study.subjects:
        deal_folds(inputs.training_stimuli(study, subject), study.screen.folds, seed=study.seed, option="screen.folds")
    n_stimuli = len(screening.training_rows(study))
    for wanted in _candidates(study, store_shapes.read(study).image_size()).values():
        sampled.create(study, wanted, n_stimuli=n_stimuli)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    from hpc_recon.decoding import fitting, screening
    from hpc_recon.extraction import sampled
    from hpc_recon.stores import shapes as store_shapes

    if tile.stage == "tables":
        return _write_tables(study)
    name = tile.group.path[1]
    network = screening.candidates(study)[name]
    wanted = sampled.candidate(study, name, network, store_shapes.read(study).image_size())
    if tile.stage == "features":
        return sampled.write(study, tile, wanted, screening.training_rows(study))
    fitting.compile_kernels()
    return screening.write_scores(study, tile, wanted.units)


def _rows(study: Study) -> list[dict[str, Any]]:
    """Return one row a network, layer, subject and ROI, the most decodable layer first.

    A layer's rank follows from its mean over subjects and ROIs; layers without a score come last.
    """
    from hpc_recon.decoding import screening
    from hpc_recon.stores import layout, tables

    rows: list[dict[str, Any]] = []
    for name in screening.candidates(study):
        for subject in study.subjects:
            for roi in study.rois:
                ref = screening.layers_table(name, subject, roi)
                columns = tables.read_checked(layout.workspace_of(study), ref)
                for values in zip(*columns.values(), strict=True):
                    row = dict(zip(columns, values, strict=True))
                    rows.append({"network": name, "subject": subject, "roi": roi, **row})
    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        known = means.setdefault((row["network"], row["layer"]), [])
        if row["mean"] is not None:
            known.append(row["mean"])
    order = sorted(means, key=lambda key: -(sum(means[key]) / len(means[key])) if means[key] else 2.0)
    for row in rows:
        row["rank"] = order.index((row["network"], row["layer"])) + 1
    return sorted(rows, key=lambda row: int(row["rank"]))


def _write_tables(study: Study) -> list[Path]:
    """Write all rows as CSV, and as JSON with what they depend on."""
    from hpc_recon.core.files import write_json
    from hpc_recon.reporting import tables
    from hpc_recon.stores import layout

    folder, rows, options = layout.workspace_of(study) / FOLDER, _rows(study), study.screen
    content = {
        "units": options.units, "folds": options.folds, "confidence": options.confidence,
        "resamples": options.resamples, "seed": study.seed, "layers": rows,
    }  # fmt: skip
    return [
        tables.write_rows(folder / "screen.csv", rows, columns=COLUMNS),
        write_json(folder / "screen.json", content),
    ]


def _show(options: Any) -> int:
    """Print the ranking, unless tiles are left."""
    from hpc_recon.core.files import read_json
    from hpc_recon.run import analyses

    finished = analyses.finished("screen", options, missing="ranking")
    if finished is None:
        return 0
    found = read_json(finished.path)
    percent = f"{100 * found['confidence']:g} %"
    click.echo(
        f"Profile correlation of held-out training stimuli, mean over units, and its {percent} interval over stimuli "
        "and units:"
    )
    texts = [("rank", "network", "layer", "subject", "roi", "r", f"{percent} interval", "units", "stimuli")]
    for row in found["layers"]:
        scores = ["-" if row[key] is None else f"{row[key]:.3f}" for key in ("mean", "low", "high")]
        place = (str(row["rank"]), row["network"], row["layer"], row["subject"], row["roi"])
        texts.append((*place, scores[0], f"[{scores[1]}, {scores[2]}]", str(row["n_units"]), str(row["n_stimuli"])))
    widths = [max(len(text[i]) for text in texts) for i in range(len(texts[0]))]
    for text in texts:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)).rstrip())
    click.echo(f"written to {finished.path.with_suffix('.csv')}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("screen", argv, after=_show)


if __name__ == "__main__":
    raise SystemExit(main())
