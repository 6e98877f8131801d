"""Dry runs, and what a study of some units says about all of them: hours, bytes, files, and accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hpc_recon.core import expected, storage
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import ReconError
from hpc_recon.core.expected import Expected
from hpc_recon.core.loading import load_study
from hpc_recon.core.units import EveryNth, UnitFile, in_words
from hpc_recon.run import dryrun, preview, schedulers, session
from hpc_recon.run.clusters import Place
from hpc_recon.run.verbs import Verb, step

if TYPE_CHECKING:
    from hpc_recon.run.options import Options

#: Verbs whose cost grows with the number of units that are decoded.
SAMPLED = ("fit", "decode", "reconstruct", "evaluate")


def dry_run(verbs: Sequence[Verb], options: Options) -> int:
    """Print what a run would do, and with a study of some units what all of them would take; touches nothing.

    Raises
    ------
    ReconError
        If the input is wrong, or a tile does not fit a worker; in that case after everything has been printed.
    """
    study = load_study(options.study, options.assignments)
    place = session.place_of(options)
    storage.check(session.workspace_of(study), study.arrays)
    planner = preview.forecaster(study, options, place=place)
    forecasts, notes = preview.forecast_all(verbs, planner)
    todo, selected = (sum(len(getattr(f, name)) for f in forecasts) for name in ("todo", "selected"))
    groups = {tile.group.key for forecast in forecasts for tile in forecast.selected}
    name = verbs[0].name if len(verbs) == 1 else study.name
    title = f"{name}: {todo:,} of {selected:,} tiles in {len(groups):,} groups"
    n_threads = place.worker_threads
    dryrun.print_forecasts(forecasts, title=title, place=place, n_threads=n_threads)
    for note in (*notes, *_origins(planner)):
        dryrun.print_prose(note)
    dryrun.stdout().print()
    job_name = schedulers.job_name(place.file.kind, study.name, "NONCE")
    dryrun.print_place(place, workspace=session.workspace_of(study), job_name=job_name, nonce="NONCE")
    if study.units is not None:
        _print_outlook([verb.name for verb in verbs], study, options, place=place)
    session.require_room([tile for forecast in forecasts for tile in forecast.todo], place)
    return session.DONE


def after_run(verbs: Sequence[Verb], options: Options) -> None:
    """After a run that decoded some units: print what all of them would take, and how well they would be decoded."""
    names = [verb.name for verb in verbs]
    if not set(names) & {"fit", "decode", "evaluate"}:
        return
    study = load_study(options.study, options.assignments)
    if study.units is not None:
        _print_outlook(names, study, options, place=session.place_of(options))


def _origins(planner: preview.Forecaster) -> list[str]:
    """Return where sizes came from that the workspace does not hold."""
    notes = []
    if planner.shapes.used:
        source = "`sizes:`" if planner.study.sizes is not None else "`simulate:`"
        notes.append(
            f"Sizes that the workspace does not hold yet are those of the study file ({source} and the networks' "
            "architectures)."
        )
    if planner.absent_weights:
        names = ", ".join(planner.absent_weights)
        notes.append(
            f"The weights (or reference images) of {names} are not here; what a network costs does not depend on the "
            "weights, and reference images are left out."
        )
    if planner.absent_generators:
        names = ", ".join(f"reconstruct.{name}" for name in planner.absent_generators)
        notes.append(
            f"The generator's files (weights or bounds) of {names} are not here; what a generator costs "
            "does not depend on them."
        )
    return notes


def _print_outlook(names: Sequence[str], study: Study, options: Options, *, place: Place) -> None:
    """Print both blocks; an outlook that cannot be made says why and makes no finished run fail."""
    wanted = [step(name) for name in SAMPLED if name in names]
    try:
        if {"fit", "decode"} & set(names):
            _print_whole(wanted, study, options, place=place)
        if {"evaluate", "fit", "decode"} & set(names):
            print_expected(study, session.workspace_of(study))
    except ReconError as error:
        dryrun.print_prose(f"What all units would take cannot be projected: {error}")


def _print_whole(verbs: Sequence[Verb], study: Study, options: Options, *, place: Place) -> None:
    """Print what the same verbs would take with all units."""
    assert study.units is not None
    whole = study.model_copy(update={"units": None})
    plain = dataclasses.replace(options, only=None, limit=None, retry_failed=False, redo=False)
    planner = preview.forecaster(whole, plain, place=place)
    planner.measured_units.append(study.units)
    verbs = [verb for verb in verbs if verb.name != "reconstruct" or whole.reconstruct]
    forecasts, notes = preview.forecast_all(verbs, planner)
    dryrun.stdout().print()
    title = f"All units instead of {in_words(study.units)}: what {', '.join(v.name for v in verbs)} would take"
    dryrun.print_forecasts(forecasts, title=title, place=place, n_threads=place.worker_threads)
    for note in (*notes, *_origins(planner)):
        dryrun.print_prose(note)


def print_expected(study: Study, workspace: Path) -> None:
    """Print the mean profile correlation to expect of all units, layer by layer; nothing before `evaluate` has run."""
    names = {study.decoded_name(name) for name in study.networks}
    entries = [e for e in expected.read(expected.path_of(workspace)) if e.decoded_name in names]
    entries = [e for e in entries if e.split == base_subject(e.split)]
    if not entries or study.units is None:
        return
    out = dryrun.stdout()
    for split, roi in dict.fromkeys((e.split, e.roi) for e in entries):
        here = [e for e in entries if (e.split, e.roi) == (split, roi)]
        out.print()
        out.print(f"Expected accuracy of all units, {split}, {roi}: mean profile correlation", markup=False)
        out.print(expected_table(here))
    out.print()
    dryrun.print_prose(_meaning(study))


def _meaning(study: Study) -> str:
    text = "± is one standard error, over units alone: it says nothing about other images or subjects."
    if isinstance(study.units, UnitFile):
        return f"{text} It takes the units of the file for a random sample; if they were chosen otherwise, do not."
    if isinstance(study.units, EveryNth):
        return f"{text} It takes every n-th unit for a random sample."
    return text


def expected_table(entries: Sequence[Expected]) -> Table:
    """Return one row a layer and one column a dataset."""
    datasets = list(dict.fromkeys(e.dataset for e in entries))
    shown = Table(box=dryrun.LINES, show_edge=False, padding=(0, 1, 0, 0), header_style="")
    shown.add_column("layer")
    shown.add_column("decoded units", justify="right")
    for name in datasets:
        shown.add_column(name, justify="right")
    found = {(e.network, e.layer, e.dataset): e for e in entries}
    several = len({e.network for e in entries}) > 1
    for network, layer in dict.fromkeys((e.network, e.layer) for e in entries):
        row = [found.get((network, layer, name)) for name in datasets]
        first = next(e for e in row if e is not None)
        name = f"{network} {layer}" if several else layer
        shown.add_row(name, f"{first.n_decoded:,} of {first.n_units:,}", *(_accuracy(e) for e in row))
    return shown


def _accuracy(entry: Expected | None) -> str:
    if entry is None or entry.mean is None:
        return "-"
    return f"{entry.mean:.3f}" + ("" if entry.error is None else f" ± {entry.error:.3f}")
