"""What a run would do: tiles, files, bytes, memory and time per stage, and the exact job script. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hpc_recon.core.memory import WORKER_BASE
from hpc_recon.core.text import format_bytes, format_seconds
from hpc_recon.core.tiles import Tile, stages
from hpc_recon.run import jobqueue, security
from hpc_recon.run.clusters import Place, local_threads
from hpc_recon.run.lease import certificate_folder
from hpc_recon.run.ledger import GroupEntry

#: Columns of the table where the output is not a terminal.
WIDE = 160
COLUMNS = ("stage", "tiles", "done", "to do", "files", "read", "written", "memory of a worker", "GPU", "time")


def stage_row(stage: str, tiles: Sequence[Tile], todo: Sequence[Tile], *, workers: int) -> tuple[str, ...]:
    """Return one row of the table: totals over the tiles to do, the largest tile's memory, wall time on `workers`."""
    needs = [tile.need for tile in todo]
    seconds = sum(need.seconds for need in needs) / max(1, min(workers, len(todo)))
    device = max((need.device_bytes for need in needs), default=0)
    return (
        stage,
        f"{len(tiles):,}",
        f"{len(tiles) - len(todo):,}",
        f"{len(todo):,}",
        f"{sum(need.files_out for need in needs):,}",
        format_bytes(sum(need.bytes_in for need in needs)),
        format_bytes(sum(need.bytes_out for need in needs)),
        format_bytes(WORKER_BASE + max((need.host_bytes for need in needs), default=0)) if needs else "-",
        format_bytes(device) if device else "-",
        format_seconds(seconds) if needs else "-",
    )


def print_plan(
    verb: str, tiles: Sequence[Tile], todo: Sequence[Tile], *, entries: Mapping[str, GroupEntry], place: Place
) -> None:
    """Print the table of a verb's stages to standard output."""
    table = Table(
        title=f"{verb}: {len(todo):,} of {len(tiles):,} tiles in {len(entries):,} groups", title_justify="left"
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "stage" else "right")
    wanted = {tile.id for tile in todo}
    for stage, members in stages(tiles):
        to_do = [tile for tile in members if tile.id in wanted]
        table.add_row(*stage_row(stage, members, to_do, workers=place.wanted.most))
    _stdout().print(table)


def print_note(text: str) -> None:
    """Print a line to standard output."""
    _stdout().print(text)


def print_place(place: Place, *, workspace: Path, job_name: str, nonce: str) -> None:
    """Print where the run would go, and for a scheduler the job script."""
    out = _stdout()
    out.print(f"workspace: {workspace}", markup=False)
    budget = f"memory of a worker: at most {format_bytes(place.host_budget)}"
    jobs = place.wanted
    if place.file.kind == "local":
        out.print(f"cluster: local, {jobs.most} worker(s) of {local_threads(place)} threads; {budget}", markup=False)
        return
    out.print(f"cluster: {place.file.kind}, {jobs.least} to {jobs.most} jobs; {budget}; job script:", markup=False)
    plan = jobqueue.plan_jobs(place.file, folder=workspace / "jobs", job_name=job_name, xp=place.xp)
    script = jobqueue.render(plan, security.of_files(certificate_folder(workspace, nonce)))
    out.print(script, markup=False)


def _stdout() -> Console:
    """Return a console for standard output; into a file or pipe the table keeps its full width."""
    screen = Console(highlight=False, soft_wrap=True)
    return screen if screen.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDE)
