"""Write what a study computed as files of other programs: features, decoded features, decoders, samples, maps.

Nothing is computed anew: the stores are read a block at a time and written as the lab's own scripts keep them
(docs/export.md), so that bdpy reads them. Runs here, without a cluster; a run that was stopped goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_recon.run import cli

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.core.config import Study
    from hpc_recon.exchange.exporting import Batch, Plan, Selection

WHAT = ("features", "decoded", "decoders", "brain", "maps", "statistics", "converters")
#: Folders that --dry-run lists; the rest is counted.
SHOWN = 40


def _batches(
    what: str, study: Study, selection: Selection, *, corrected: bool, units: Sequence[int]
) -> Iterable[Batch]:
    from hpc_recon.exchange import export_brain, export_converters, export_decoders, export_features, export_maps

    makers: dict[str, Callable[[], Iterable[Batch]]] = {
        "features": lambda: export_features.true_features(study, selection),
        "decoded": lambda: export_features.decoded(study, selection, correct=_correct(study) if corrected else None),
        "decoders": lambda: export_decoders.decoders(study, selection),
        "brain": lambda: export_brain.samples(study, selection),
        "maps": lambda: export_maps.maps(study, selection, units=units),
        "statistics": lambda: export_features.statistics(study, selection),
        "converters": lambda: export_converters.converters(study, selection),
    }
    return makers[what]()


def _correct(study: Study) -> Callable[[Array, Array, Array, Array], Array]:
    """Return what applies the norm correction, as `reconstruct` does.

    Raises
    ------
    StudyError
        If the study has none.
    """
    from hpc_recon.core.errors import StudyError
    from hpc_recon.numerics import corrections

    method = study.decode.norm_correction
    if method == "none":
        raise StudyError("--corrected", ["decode.norm_correction is none, so there is nothing to apply; leave it out"])

    def apply(features: Array, gain: Array, offset: Array, unit_mean: Array) -> Array:
        mean = unit_mean if method == "train_mean_center" else None
        return corrections.apply(features, gain=gain, offset=offset, unit_mean=mean)

    return apply


def _require_sense(what: str, *, corrected: bool, units: Sequence[int], selection: Selection) -> None:
    """Raise `StudyError` if an option would have no effect."""
    from hpc_recon.core.errors import StudyError

    reads = {
        "features": ("network", "layer", "dataset"),
        "decoded": ("subject", "roi", "network", "layer", "dataset"),
        "decoders": ("subject", "roi", "network", "layer"),
        "brain": ("subject", "dataset"),
        "maps": ("subject", "roi", "network", "layer"),
        "statistics": ("network", "layer"),
        "converters": ("subject",),
    }[what]
    given = {
        "subject": selection.subjects,
        "roi": selection.rois,
        "network": selection.networks,
        "layer": selection.layers,
        "dataset": selection.datasets,
    }
    problems = [
        f"--{name} has no effect on {what}, which is chosen by {', '.join(f'--{one}' for one in reads)}"
        for name, values in given.items()
        if values and name not in reads
    ]
    problems += ["--corrected goes with decoded"] if corrected and what != "decoded" else []
    problems += ["--unit goes with maps"] if units and what != "maps" else []
    if problems:
        raise StudyError("command line", problems)


def _export(what: str, folder: Path, selection: Selection, values: dict[str, Any]) -> int:
    from hpc_recon.core import storage
    from hpc_recon.core.errors import StudyError
    from hpc_recon.core.loading import load_study
    from hpc_recon.exchange import exporting
    from hpc_recon.run.options import default_study

    corrected, units = values["corrected"], values["units"]
    _require_sense(what, corrected=corrected, units=units, selection=selection)
    study = load_study(Path(values["study"]) if values["study"] else default_study(), values["assignments"])
    assert study.workspace is not None
    storage.check(study.workspace, study.arrays)
    selection.check(study)
    batches = list(_batches(what, study, selection, corrected=corrected, units=units))
    if not batches:
        raise StudyError("command line", [f"nothing of {what} is chosen by these options; choose less narrowly"])
    planned = exporting.plan(
        folder.expanduser().absolute(), batches, overwrite=values["overwrite"], workspace=study.workspace
    )
    if values["dry_run"]:
        _show(planned)
        return 0
    written = exporting.run(planned, report=_progress)
    click.echo(f"{what}: {written:,} files written to {folder}, {planned.n_kept:,} kept")
    return 0


def _progress(done: int, total: int) -> None:
    """Show on a terminal how many files are written."""
    if sys.stderr.isatty():
        click.echo(f"\r{done:,} of {total:,} files", nl=done == total, err=True)


def _show(planned: Plan) -> None:
    """Print the folders that would be written, with files and bytes."""
    from hpc_recon.core.files import describe_room
    from hpc_recon.core.text import format_bytes

    folders: dict[str, list[tuple[str, int]]] = {}
    for name, n_bytes in planned.files.items():
        folder, _, file = name.rpartition("/")
        folders.setdefault(f"{folder}/" if folder else "", []).append((file, n_bytes))
    for folder, files in list(folders.items())[:SHOWN]:
        shown = files[0][0] if len(files) == 1 else f"{len(files):,} files {files[0][0]} ... {files[-1][0]}"
        click.echo(f"  {folder}{shown}: {format_bytes(sum(n_bytes for _, n_bytes in files))}")
    if len(folders) > SHOWN:
        click.echo(f"  and {len(folders) - SHOWN:,} more folders")
    total = format_bytes(sum(planned.files.values()))
    click.echo(
        f"{planned.folder}: {len(planned.files):,} files of about {total} would be written, {planned.n_kept:,} kept; "
        f"about {format_bytes(planned.host_bytes)} of memory; {describe_room(planned.folder)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""

    @click.command(
        help="Write features, decoded features, decoders, brain samples, maps of decoders, or the statistics of a "
        "norm correction, or converters between subjects, as files that other programs read.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    @click.argument("what", type=click.Choice(WHAT))
    @click.option("--to", "folder", metavar="FOLDER", required=True, help="where the files go; made if absent")
    @click.option("--study", metavar="FILE", default=None, help="study file  [default: $HPC_RECON_STUDY, ./study.yaml]")
    @click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study")
    @click.option("--subject", "subjects", metavar="NAME", multiple=True, help="these subjects  [default: all]")
    @click.option("--roi", "rois", metavar="NAME", multiple=True, help="these ROIs  [default: all]")
    @click.option("--network", "networks", metavar="NAME", multiple=True, help="this network; needed if there are more")
    @click.option("--layer", "layers", metavar="NAME", multiple=True, help="these layers  [default: all]")
    @click.option("--dataset", "datasets", metavar="NAME", multiple=True, help="these datasets  [default: all]")
    @click.option("--corrected", is_flag=True, help="decoded: with the norm correction of the study applied")
    @click.option(
        "--unit", "units", metavar="N", type=click.IntRange(0), multiple=True, help="maps: signed weights too"
    )
    @click.option("--overwrite", is_flag=True, help="replace files that this command did not write")
    @click.option("--dry-run", is_flag=True, help="list files and bytes; write nothing")
    def command(what: str, folder: str, **values: Any) -> int:
        def action() -> int:
            from hpc_recon.exchange.exporting import Selection

            names = ("subjects", "rois", "networks", "layers", "datasets")
            return _export(what, Path(folder), Selection(*(values[name] for name in names)), values)

        return cli.guarded(action)

    return cli.execute("python -m hpc_recon.export", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
