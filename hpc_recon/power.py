"""Show how accuracy grows with images, repeats, averaged trials and voxels, and what more data would bring.

Stages. `features`: a sample of units of each layer, for training and test stimuli, straight from the taps. `draws`: one
tile a network, subject, ROI and draw: nested random subsets of the training data, scored on held-out training stimuli;
test data are not read. `trials`: means of some trials of each test stimulus. `curves`: curves fitted to these scores.
`tables`: power/power.csv, power.json and figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

if TYPE_CHECKING:
    from hpc_recon.extraction.sampled import Candidate

FOLDER = "power"


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all stages.

    Raises
    ------
    StudyError
        If a network or layer is wrong, or the decoders are not ridge on selected voxels with one setting.
    MissingStore
        If stimuli or brain samples do not exist yet.
    """
    from hpc_recon.core.errors import MissingStore
    from hpc_recon.decoding import power_plan
    from hpc_recon.extraction import sampled
    from hpc_recon.nets import costs
    from hpc_recon.stores import images, layout

    power_plan.require_possible(study)
    size = shapes.image_size()
    try:
        rows = power_plan.stimulus_rows(study)
        every = images.read_table(layout.workspace_of(study)).labels
        n_stimuli, labels = len(rows), tuple(every[row] for row in rows)
    except MissingStore:  # a dry run from declared sizes; else the shapes raise the same
        n_stimuli, labels = shapes.n_stimuli(), None
    tiles, n_units = [], {}
    for wanted in _candidates(study, size).values():
        tiles += sampled.tiles(study, wanted, n_stimuli=n_stimuli, labels=labels, image_size=size)
        n_units[wanted.name] = {layer: len(own) for layer, own in wanted.units.items()}
    # Which units are meant follows from the network's structure, which torch tells: every tile imports it.
    scored = [_with_bytes(tile, costs.TORCH_BYTES) for tile in power_plan.tiles(study, shapes, n_units)]
    upstream = tuple(dict.fromkeys(tile.group.key for tile in scored if tile.stage == "curves"))
    layers = {name: list(own) for name, own in n_units.items()}
    tables = Group("power", ("tables",), canonical({"layers": layers}), upstream)
    n_figures = (3 + len(study.test_datasets())) * len(upstream)
    need = Need(host_bytes=2**28, files_out=2 + 2 * n_figures, seconds=1 + 0.4 * n_figures)
    return [*tiles, *scored, Tile(tables, "tables", 0, 1, need)]


def _with_bytes(tile: Tile, more: int) -> Tile:
    return replace(tile, need=replace(tile.need, host_bytes=tile.need.host_bytes + more))


def _candidates(study: Study, image_size: tuple[int, int]) -> dict[str, Candidate]:
    from hpc_recon.decoding import power_plan
    from hpc_recon.extraction import sampled

    n = power_plan.n_sampled(study)
    return {
        name: sampled.candidate(study, name, network, image_size, verb="power", n_sampled=n)
        for name, network in study.networks.items()
    }


def prepare(study: Study) -> None:
    """Create the arrays of sampled features and of scores.

    Raises
    ------
    StudyError
        If weights are missing; nothing is downloaded.
    DataError
        If there are too few training stimuli or voxels for subsets of two sizes.
    """
    from hpc_recon.decoding import power_plan
    from hpc_recon.extraction import sampled
    from hpc_recon.stores import shapes as store_shapes

    n_stimuli = len(power_plan.stimulus_rows(study))
    for wanted in _candidates(study, store_shapes.read(study).image_size()).values():
        power_plan.create(study, wanted.name, [len(own) for own in wanted.units.values()])
        sampled.create(study, wanted, n_stimuli=n_stimuli)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    from hpc_recon.decoding import fitting, power_plan, power_scores
    from hpc_recon.extraction import sampled
    from hpc_recon.stores import shapes as store_shapes

    if tile.stage == "tables":
        return _write_tables(study)
    wanted = _candidates(study, store_shapes.read(study).image_size())[tile.group.path[1]]
    if tile.stage == "features":
        return sampled.write(study, tile, wanted, power_plan.stimulus_rows(study))
    if tile.stage == "curves":
        return power_scores.write_curves(study, tile, wanted.units)
    fitting.compile_kernels()
    write = power_scores.write_draw if tile.stage == "draws" else power_scores.write_trials
    return write(study, tile, wanted.units)


def _write_tables(study: Study) -> list[Path]:
    """Join all curves as JSON and CSV, and draw them."""
    from hpc_recon.core.files import read_json, write_json
    from hpc_recon.decoding import power_plan
    from hpc_recon.reporting import power, tables
    from hpc_recon.stores import layout

    workspace, options = layout.workspace_of(study), study.power
    found = [
        {"network": name, "subject": split, "roi": roi}
        | read_json(workspace / power_plan.curves_path(name, split, roi))
        for name in study.networks
        for split in study.subjects
        for roi in study.rois
    ]
    content = {
        "units": power_plan.n_sampled(study), "folds": options.folds, "draws": options.draws,
        "confidence": options.confidence, "resamples": options.resamples, "seed": study.seed, "sets": found,
    }  # fmt: skip
    folder = workspace / FOLDER
    return [
        tables.write_rows(folder / "power.csv", power.rows(content), columns=power.COLUMNS),
        write_json(folder / "power.json", content),
        *power.write_figures(content, study, folder / "figures"),
    ]


def _show(options: Any) -> int:
    """Print what was found, unless tiles are left."""
    from hpc_recon.core.files import read_json
    from hpc_recon.core.loading import load_study
    from hpc_recon.reporting import power
    from hpc_recon.stores import layout

    study = load_study(options.study, options.assignments)
    path = layout.workspace_of(study) / FOLDER / "power.json"
    if options.only is not None or options.limit is not None or not path.exists():
        click.echo("power: no curves before all tiles are done; run it without --only and --limit")
        return 0
    for line in power.lines(read_json(path), study):
        click.echo(line)
    click.echo(f"written to {path.with_suffix('.csv')}, figures beside it")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("power", argv, after=_show)


if __name__ == "__main__":
    raise SystemExit(main())
