"""Chains of derived studies: controls, and the images of `power`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core.files import write_atomic
from hpc_recon.core.loading import load_study
from hpc_recon.run import dryrun, outlook, preview, session
from hpc_recon.run.verbs import OTHERS, Verb, step

if TYPE_CHECKING:
    from hpc_recon.run.options import Options

#: The command that makes the brains of every derived study.
_BRAINS = next(verb for verb in OTHERS if verb.name == "control")


def run(text: str, verbs: Sequence[str], options: Options, *, workspace: Path, projected: str = "") -> int:
    """Run the brains of a derived study and some steps on the cluster of the options; a dry run touches nothing.

    Parameters
    ----------
    text
        The derived study, as `save_study` writes it; kept as `study.yaml` in its workspace.
    verbs
        Steps after the brains.
    workspace
        Of the derived study.
    projected
        Title of a table of what everything is projected to take, which is printed first; none without one.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    ReconError
        If the input is wrong, or a tile does not fit a worker.
    """
    steps = [_BRAINS, *(step(name) for name in verbs)]
    if options.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            return outlook.dry_run(steps, _for(write_atomic(Path(folder) / "study.yaml", text.encode()), options))
    own = _for(write_atomic(workspace / "study.yaml", text.encode()), options)
    if projected:
        _print_projected(steps, own, title=projected)
    return session.run_verbs(steps, own)


def _for(path: Path, options: Options) -> Options:
    return replace(options, study=path, assignments=())


def _print_projected(steps: Sequence[Verb], options: Options, *, title: str) -> None:
    place = session.place_of(options)
    planner = preview.forecaster(load_study(options.study), options, place=place)
    forecasts, notes = preview.forecast_all(steps, planner)
    session.require_room([tile for forecast in forecasts for tile in forecast.todo], place)
    dryrun.print_forecasts(forecasts, title=title, place=place, n_threads=place.worker_threads)
    for note in notes:
        dryrun.print_prose(note)
