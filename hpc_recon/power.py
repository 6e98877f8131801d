"""Show how accuracy grows with images, repeats, averaged trials and voxels, and what more data would bring.

Stages. `features`: a sample of units of each layer, for training and test stimuli, straight from the taps. `draws`: one
tile a network, subject, ROI and draw: nested random subsets of the training data, scored on held-out training stimuli;
test data are not read. `trials`: means of some trials of each test stimulus. `curves`: curves fitted to these scores.
`tables`: power/power.csv, power.json and figures. `--images` makes images from parts of the data instead, in a
workspace of its own (power/images), and writes power/images.csv, images.json and figures.
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
#: What runs after the brains of the parts are made, for `--images`.
IMAGES = ("fit", "decode", "reconstruct")


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all stages.

    Raises
    ------
    StudyError
        If a network or layer is wrong, or the decoders are not ridge on selected voxels with one setting.
    MissingStore
        If stimuli or brain samples do not exist yet.
    """
    from hpc_recon.decoding import power_plan
    from hpc_recon.extraction import sampled
    from hpc_recon.nets import costs

    power_plan.require_possible(study)
    candidates = _candidates(study, shapes.image_size())
    tiles, n_units = sampled.plan(
        study, shapes, candidates, rows=power_plan.stimulus_rows, most=lambda: shapes.n_stimuli()
    )  # fmt: skip
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
    from hpc_recon.reporting import power
    from hpc_recon.run import analyses

    found = analyses.finished("power", options, missing="curves")
    if found is not None:
        for line in power.lines(read_json(found.path), found.study):
            click.echo(line)
        click.echo(f"written to {found.path.with_suffix('.csv')}, figures beside it")
    return 0


def _images(options: Any) -> int:
    """Make images from parts of the data in a workspace of their own, score them, and print what more would bring."""
    from hpc_recon.core import storage
    from hpc_recon.core.loading import load_study, save_study
    from hpc_recon.evaluation import controls, power_images
    from hpc_recon.run import chain
    from hpc_recon.stores import layout

    study = load_study(options.study, options.assignments)
    storage.check(layout.workspace_of(study), study.arrays)
    derived = power_images.derive(study)
    controls.content(derived)  # what is missing is said before anything is written
    for line in power_images.announced(study, derived):
        click.echo(line)
    workspace = power_images.workspace_of(study)
    title = f"power --images: projected, {len(derived.subjects)} parts of the data"
    code = chain.run(save_study(derived), IMAGES, options, workspace=workspace, projected=title)
    if code or options.dry_run:
        return code
    if options.only is not None or options.limit is not None:
        click.echo("power --images: no curves before all tiles are done; run it without --only and --limit")
        return 0
    return _write_images(study, derived)


def _write_images(study: Study, derived: Study) -> int:
    """Score the finished images, fit curves, write power/images.json, images.csv and figures, and print the answer."""
    from hpc_recon.core.files import write_json
    from hpc_recon.decoding import power_plan, power_scores
    from hpc_recon.evaluation import power_images
    from hpc_recon.reporting import power, power_pictures, tables
    from hpc_recon.stores import layout

    chosen, sets = power_images.choose(study), []
    for subject in chosen.subjects:
        for roi in chosen.rois:
            design, curves = power_plan.design(study, subject, roi), []
            for found in power_images.collect(study, subject, roi):
                for metric, values in found.values.items():
                    place = {
                        "network": chosen.variant, "layer": chosen.variant, "subject": subject, "roi": roi,
                        "dataset": chosen.dataset, "curve": found.curve, "metric": metric,
                    }  # fmt: skip
                    link = power_images.METRICS[metric]
                    curves.append(place | power_scores.curve_of(study, design, place, found.x, values, link=link))
            own = power_scores.described(design) | {"floor": power_images.floor(study, subject), "curves": curves}
            sets.append({"network": chosen.variant, "subject": subject, "roi": roi, **own})
    content = power_images.content(study, derived) | {"sets": sets}
    folder = layout.workspace_of(study) / FOLDER
    tables.write_rows(folder / "images.csv", power.rows(content), columns=power.COLUMNS)
    power_pictures.write_figures(content, study, folder / "figures")
    write_json(folder / "images.json", content)
    for line in power_pictures.lines(content, study):
        click.echo(line)
    click.echo(f"written to {folder / 'images.csv'}, figures beside it; `report --redo` shows them")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    text = "image quality instead of features: images from parts of the data, made and scored (docs/power.md)"
    return cli.main("power", argv, instead={"images": (text, _images)}, after=_show)


if __name__ == "__main__":
    raise SystemExit(main())
