"""Fit again on brains that can tell nothing, or less, to see what scores are then (docs/statistics.md).

For each control of the study (`controls:`), a study is derived into `<workspace>/controls/<name>` and its chain runs:
this command makes its brains (one tile a subject and repeat), then come `fit`, `decode`, `reconstruct` and `evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_recon.core.config import Study
from hpc_recon.core.control_options import CONTROLS, ControlName
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.run import cli

if TYPE_CHECKING:
    from hpc_recon.run.options import Options

#: What runs after the brains of a control are made.
CHAIN = ("fit", "decode", "reconstruct", "evaluate")


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return a tile for each subject of a derived study, which makes its brain; sizes are those of its `sizes`."""
    from hpc_recon.evaluation import controls
    from hpc_recon.stores.shapes import read

    del shapes  # of stores that this command makes
    of = study.control_of
    assert of is not None, "only a study that `_run` derived is planned"
    original = read(study.model_copy(update={"workspace": of.workspace}))
    digests = controls.content(study)
    tiles = []
    for subject, source in of.subjects.items():
        settings: dict[str, object] = {
            "of": digests, "control": of.name, "seed": study.seed, "images": of.images, "source": source
        }  # fmt: skip
        if of.parts is not None:
            trials = of.trials or {}
            tests = {name: trials[name].model_dump() for name in of.datasets[subject] if name in trials}
            settings |= {"part": of.parts[subject].model_dump(), "trials": tests, "samples": study.fit.samples}
        n_samples = [
            original.n_samples(source, of.source(dataset))
            for dataset in study.datasets
            if dataset == study.training_dataset or dataset in study.test_datasets(subject)
        ]
        n_voxels = original.n_voxels(source, "VC") if "VC" in study.rois else _widest(original, source, study)
        sizes = [array_bytes(n, n_voxels) for n in n_samples]
        need = Need(
            host_bytes=6 * max(sizes) + sum(sizes),
            bytes_in=sum(sizes),
            bytes_out=sum(sizes),
            files_out=2 * len(sizes) + len(study.rois),
            seconds=1 + store_seconds(2 * sum(sizes)),
        )
        tiles.append(Tile(Group("control", (subject,), canonical(settings)), "brain", 0, 1, need))
    return tiles


def _widest(shapes: Shapes, subject: str, study: Study) -> int:
    return sum(shapes.n_voxels(subject, roi) for roi in study.rois)


def prepare(study: Study) -> None:
    """Link stimuli and features of the study into the control's workspace.

    Raises
    ------
    DataError
        If the file system has no hard links.
    """
    from hpc_recon.evaluation import controls

    controls.link(study)


def work(study: Study, tile: Tile) -> list[Path]:
    """Make the brain of one subject of a control; return the files written."""
    from hpc_recon.evaluation import controls

    (subject,) = tile.group.path
    return controls.write_brain(study, subject, made_by=tile.group.key)


def _run(options: Options, chosen: Sequence[ControlName]) -> int:
    from hpc_recon.core import storage
    from hpc_recon.core.loading import load_study, save_study
    from hpc_recon.evaluation import clusters, controls
    from hpc_recon.run import chain
    from hpc_recon.stores import layout

    study = load_study(options.study, options.assignments)
    workspace = layout.workspace_of(study)
    storage.check(workspace, study.arrays)
    controls.require_possible(study)
    names = chosen or study.controls.names
    for name in names:
        derived = controls.derive(study, name)
        controls.content(derived)  # what is missing is said before anything is written
        if name == "clusters" and not options.dry_run:
            clusters.keep(controls.clusters_of(study), controls.workspace_of(study, name))
        click.echo(_announced(study, derived))
        steps = [step for step in CHAIN if step != "reconstruct" or derived.reconstruct]
        code = chain.run(save_study(derived), steps, options, workspace=controls.workspace_of(study, name))
        if code:
            return code
    if not options.dry_run:
        click.echo("controls are done; `python -m hpc_recon.evaluate` reads them, `report --redo` shows them")
    return 0


def _announced(study: Study, derived: Study) -> str:
    of = derived.control_of
    assert of is not None
    if not of.held_out:
        return f"control {of.name}: {study.controls.repeats} repeats of {', '.join(study.subjects)}"
    n = [sum(of.subjects[name] == subject for name in of.held_out) for subject in study.subjects]
    told = ", ".join(f"{subject} {count}" for subject, count in zip(study.subjects, n, strict=True))
    return f"control {of.name}: held out in turn, of {study.controls.clusters} clusters: {told}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""

    @click.command(
        help="Fit again on brains that can tell nothing (shuffled labels, noise), in <workspace>/controls/<name>: "
        "scores must be at chance then; and without the cluster of training stimuli that test stimuli are of "
        "(clusters).",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    @click.option(
        "--name", "names", type=click.Choice(CONTROLS), multiple=True, help="only this one  [default: controls.names]"
    )
    @cli.common_options
    def command(names: tuple[ControlName, ...], **values: Any) -> int:
        return cli.guarded(lambda: _run(cli.options_of(values), names))

    return cli.execute("python -m hpc_recon.control", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
