"""Write the report: one self-contained HTML page with images, scores, accuracy by layer and the figures of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_recon.core import loading, receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import read_json, sha256, write_atomic
from hpc_recon.core.power_options import Power
from hpc_recon.core.score_names import CROSS_VALIDATION
from hpc_recon.core.text import format_seconds
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

if TYPE_CHECKING:
    import pandas as pd

    from hpc_recon.reporting.figures import Panel
    from hpc_recon.reporting.power import Section
    from hpc_recon.reporting.score_tables import Table
    from hpc_recon.run.options import Options

    #: What people chose, and methods against each other; None without such scores.
    _Compared = tuple[dict[str, Any] | None, pd.DataFrame | None]

#: The group that reads finished controls; there is none where no control was run.
_CONTROLS = "evaluate/controls"
#: The group that joins the curves of `power`; there is none where it was not run.
_POWER = "power/tables"
#: Groups of scores that the page shows and that the tables do not rest on: what raters chose, and decoded latents.
_HUMAN, _LATENTS = "evaluate/human", "evaluate/latents"
#: What `power --images` found, in the workspace.
_POWER_IMAGES = Path("power", "images.json")


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the one tile that writes the page."""
    from hpc_recon.reporting.pictures import LARGEST

    height, width = shapes.image_size()
    shown = (
        study.report.gallery
        * len(study.test_datasets())
        * len(study.subjects)
        * (2 + len(study.reconstruct))
        * (1 + len(study.report.rois))
    )
    upstream = ("evaluate/tables", *(("reconstruct",) if study.reconstruct else ()))
    assert study.workspace is not None
    shows = (_CONTROLS, _POWER, *((_HUMAN,) if study.evaluate.ratings else ()), _LATENTS)
    more = (key for key in shows if receipts.Listing(study.workspace, key).any_done(key))
    upstream = (*upstream, *more)
    # The page prints the study file, so it depends on all of it.
    # Options that are not used are left out, so that older pages stay done.
    unused = {name for name in ("rois", "megabytes", "publishable") if name not in study.report.model_fields_set}
    leave_out: dict[str, Any] = {"workspace": True, "report": unused}
    if study.power == Power():
        leave_out["power"] = True
    content = study.model_dump(mode="json", exclude=leave_out)
    settings = canonical(content | _listed(study) | _pictured(study))
    # Reduced pictures are made only after the whole ones were too many; animations take half of the limit at most.
    embedded = 3 * min(height, LARGEST) * min(width, LARGEST) * shown + round(study.report.megabytes * 5e5)
    by_region = any(len({roi for _, roi, _ in study.image_sets(variant)}) > 1 for variant in study.reconstruct)
    figures = 3 * len(study.subjects) * len(study.rois) + 3 * (len(study.reconstruct) > 1) + 2 * by_region
    # Embedded pictures are text, joined, encoded: 4.9 bytes a byte (measured). Strips are read whole, as floats too.
    strip = 3 * height * width * study.report.gallery
    need = Need(
        host_bytes=200 * 2**20 + 10 * embedded + 10 * strip,
        bytes_in=3 * height * width * shown,
        bytes_out=4 * embedded // 3 + 2**20,
        files_out=1 + 2 * figures,
        seconds=5 + 0.02 * shown + 0.5 * figures,
    )
    return [Tile(Group("report", ("report",), settings, upstream), "report", 0, 1, need)]


def _listed(study: Study) -> dict[str, object]:
    """Return which labels may be shown, if not all: a list counts by its content."""
    from hpc_recon.reporting import publishable

    path = study.report.publishable
    return {} if path is None else {"publishable": sorted(publishable.labels_of(path))}


def _pictured(study: Study) -> dict[str, object]:
    """Return the digest of what `power --images` found, where it was run."""
    assert study.workspace is not None
    path = study.workspace / _POWER_IMAGES
    return {"power_images": sha256(path)} if path.exists() else {}


def prepare(study: Study) -> None:
    """Create nothing: the page is one file."""


def work(study: Study, tile: Tile) -> list[Path]:
    """Gather what the page shows, and write it."""
    from hpc_recon import __version__
    from hpc_recon.reporting import (
        conversion,
        conversion_plots,
        facts,
        galleries,
        layer_plots,
        page,
        runs,
        score_tables,
        stages,
        study_figures,
        tables,
        training,
        validity_card,
        voxel_lines,
        words,
    )
    from hpc_recon.stores import choices, layout

    workspace = layout.workspace_of(study)
    summary = _scores(workspace, "summary.json")
    roi = words.primary_roi(study)
    run = runs.collect(workspace)
    by_roi = {name: layer_plots.panel_rows(summary, study, roi=name) for name in dict.fromkeys((roi, *study.rois))}
    scores = workspace / "scores"
    images = tables.read_scores(scores / "images.csv", columns=tables.IMAGE_COLUMNS)
    shown = galleries.collect(study, images)
    compared = _compared(study)
    figures = _figures(study, summary, images, compared, roi=roi)
    curves = conversion_plots.panels(summary, study, roi=roi)
    content = page.Page(
        title=study.report.title or study.name,
        description=study.report.description,
        label=words.label(study),
        verdict=words.verdict(summary, study),
        galleries=shown.galleries,
        gallery_note=galleries.note(study, shown),
        image_tables=score_tables.image_tables(summary, study, split="all", roi=roi),
        fold_tables=score_tables.image_tables(summary, study, split=CROSS_VALIDATION, roi=roi),
        roi_table=score_tables.roi_table(summary, study),
        legend=layer_plots.legend(summary, study),
        panel_rows=by_roi[roi],
        other_rois=[(name, rows) for name, rows in by_roi.items() if name != roi],
        layer_table=score_tables.layer_table(summary, study, roi=roi),
        choices=score_tables.choice_rows(choices.read(study)),
        run=run,
        warnings=facts.warnings(study, summary, run),
        study_yaml=loading.save_study(study.model_copy(update={"workspace": None})),
        definitions=facts.DEFINITIONS,
        facts=[*facts.collect(study, roi), *voxel_lines.lines(summary, study)],
        confidence=f"{100 * summary['confidence']:g} %",
        version=__version__,
        total_time=format_seconds(run.total_seconds) if run.total_seconds else "",
        card=validity_card.card(
            _scores(workspace, "validity.json"),
            study,
            roi=roi,
            controls=_controls(workspace, tile),
            warned=summary.get("warnings", ()),
        ),
        conversion_tables=conversion.tables(summary, study, roi=roi),
        conversion_panels=curves,
        more_tables=_more_tables(study, summary, compared, roi=roi),
        figures=figures,
        power=[part for part in (_power(study, tile, roi=roi), _power_images(study, tile, roi=roi)) if part],
        trained=training.collect(workspace, tuple(study.train), with_pictures=not study.withholds),
        staged=stages.collect(
            workspace, tuple(study.reconstruct), datasets=study.test_datasets(), with_pictures=not study.withholds
        ),
    )
    drawn = study_figures.write(workspace / "report" / "figures", list(by_roi.items()), [*figures, *curves])
    return [
        write_atomic(workspace / "report" / "index.html", page.render(content).encode("utf-8")),
        *drawn,
        *_latents(study),
    ]


def _figures(
    study: Study, summary: dict[str, Any], images: pd.DataFrame, compared: _Compared, *, roi: str
) -> list[Panel]:
    """Return the figures over methods, regions, layers, items and filters."""
    from hpc_recon.evaluation import anova
    from hpc_recon.reporting import filter_plots, study_figures, tables
    from hpc_recon.stores import layout

    scores = layout.workspace_of(study) / "scores"
    items = tables.read_items(scores / "items.csv")
    judged, won = compared
    pairs = anova.pairs(items, study.test_datasets())
    figures = study_figures.collect(summary, study, items, images, roi=roi, pairs=pairs, judged=judged, won=won)
    return [*figures, *filter_plots.collect(filter_plots.read(scores), study, roi=roi)]


def _compared(study: Study) -> _Compared:
    """Return what people chose, and methods against each other, where there are such scores."""
    from hpc_recon.evaluation import winning
    from hpc_recon.reporting import tables
    from hpc_recon.stores import layout

    workspace = layout.workspace_of(study)
    human = _scores(workspace, "human.json") if study.evaluate.ratings else None
    won = workspace / "scores" / winning.NAME  # absent in workspaces that an older version scored
    return human, tables.read_frame(won, columns=winning.COLUMNS) if won.exists() else None


def _more_tables(study: Study, summary: dict[str, Any], compared: _Compared, *, roi: str) -> list[Table]:
    """Return the longer tables; those of people and of methods against each other where there are such scores."""
    from hpc_recon.reporting import more_scores

    human, won = compared
    found = (
        more_scores.human(human, study),
        more_scores.tested(summary, study, roi=roi),
        None if won is None else more_scores.winning(won, study, roi=roi),
        more_scores.all_images(summary, study, roi=roi),
        more_scores.all_layers(summary, study, roi=roi),
    )
    return [table for table in found if table is not None]


def _controls(workspace: Path, tile: Tile) -> dict[str, Any] | None:
    """Return what controls found, where the page was planned with them."""
    return _scores(workspace, "controls.json") if _CONTROLS in tile.group.upstream else None


def _power(study: Study, tile: Tile, *, roi: str) -> Section | None:
    """Return how accuracy grows with the data, where the page was planned with it."""
    if _POWER not in tile.group.upstream:
        return None
    from hpc_recon.reporting import power
    from hpc_recon.stores import layout

    path = layout.workspace_of(study) / "power" / "power.json"
    if not path.exists():
        raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.power --redo`")
    return power.section(dict(read_json(path)), study, roi=roi)


def _power_images(study: Study, tile: Tile, *, roi: str) -> Section | None:
    """Return how images grow better with the data, where the page was planned with it."""
    if "power_images" not in tile.group.settings:
        return None
    from hpc_recon.core.errors import ReconError
    from hpc_recon.evaluation import controls, power_images
    from hpc_recon.reporting import power_pictures
    from hpc_recon.stores import layout

    found = dict(read_json(layout.workspace_of(study) / _POWER_IMAGES))
    try:
        stale = found["of"] != controls.content(power_images.derive(study))
    except ReconError:  # the study has no such method or data any more
        stale = True
    shown = power_pictures.section(found, study, roi=roi, stale=stale)
    return shown if shown.panels else None


def _latents(study: Study) -> list[Path]:
    """Write `report/latents.html` where an entry of method `latent` was scored; return it, or nothing."""
    if not any(options.method == "latent" for options in study.reconstruct.values()):
        return []
    from hpc_recon.evaluation import latents
    from hpc_recon.reporting import latent_page
    from hpc_recon.stores import layout

    workspace = layout.workspace_of(study)
    may_show = not study.withholds  # strips are of stimuli that may be withheld
    sets = [
        latent_page.Scores(variant, place, summary, latents.strips(study, variant, place) if may_show else {})
        for (variant, place), summary in latents.read(study).items()
    ]
    return [write_atomic(workspace / "report" / "latents.html", latent_page.render(study.name, sets).encode("utf-8"))]


def _scores(workspace: Path, name: str) -> dict[str, Any]:
    path = workspace / "scores" / name
    if not path.exists():
        raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate`")
    try:
        return dict(read_json(path))
    except ValueError as error:
        raise DamagedStore(f"{error}; make it anew with `python -m hpc_recon.evaluate --redo --only tables`") from error


def _print_methods(options: Options) -> int:
    """Print what a paper's Methods section would say of the study, Markdown, on standard output."""
    import click

    from hpc_recon import __version__
    from hpc_recon.core.redaction import for_terminal
    from hpc_recon.reporting import methods_text

    study = loading.load_study(options.study, options.assignments)
    click.echo("\n".join(for_terminal(line) for line in methods_text.text(study, version=__version__).splitlines()))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of this verb."""
    from hpc_recon.run import cli

    help_text = "print what a paper's Methods section would say of the study, with what to cite, and stop"
    return cli.main("report", argv, instead={"methods-text": (help_text, _print_methods)})


if __name__ == "__main__":
    raise SystemExit(main())
