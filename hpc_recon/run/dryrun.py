"""What a run would do, in print: tiles, files, bytes, memory and time per stage, and the exact job script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import Box
from rich.console import Console
from rich.table import Table

from hpc_recon.core.memory import WORKER_BASE
from hpc_recon.core.text import format_bytes
from hpc_recon.core.tiles import Tile, stages
from hpc_recon.run import jobqueue, security
from hpc_recon.run.clusters import HERE, Place
from hpc_recon.run.lease import certificate_folder
from hpc_recon.run.rates import Rate

#: Columns where the output is not a terminal; prose is never wider, tables and job scripts may be.
WIDE = 120
COLUMNS = ("stage", "to do", "files", "read", "written", "memory", "GPU", "work", "elapsed")
#: No lines but one below the head, and one above the sum: fits 80 columns.
LINES = Box("    \n    \n ─  \n    \n ─  \n ─  \n    \n    \n")


@dataclass(frozen=True)
class Cost:
    """What some tiles are projected to cost; memory is that of the largest tile."""

    n_tiles: int = 0
    files: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    host_bytes: int = 0
    device_bytes: int = 0
    #: Summed over tiles, and by the clock.
    seconds: float = 0.0
    wall_seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both, one after the other."""
        return Cost(
            self.n_tiles + other.n_tiles,
            self.files + other.files,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
            max(self.host_bytes, other.host_bytes),
            max(self.device_bytes, other.device_bytes),
            self.seconds + other.seconds,
            self.wall_seconds + other.wall_seconds,
        )


@dataclass(frozen=True)
class Forecast:
    """One verb as it would run: all selected tiles, those to do, and by stage what was measured."""

    verb: str
    selected: Sequence[Tile]
    todo: Sequence[Tile]
    rates: Mapping[str, Rate] = field(default_factory=dict)


def cost(todo: Sequence[Tile], *, workers: int, factor: float = 1.0) -> Cost:
    """Return what the tiles of one stage cost.

    Parameters
    ----------
    workers
        Workers that share the tiles; by the clock they take the sum over workers, but never less than the longest tile.
    factor
        Multiplies the projected seconds.
    """
    needs = [tile.need for tile in todo]
    seconds = [need.seconds * factor for need in needs]
    return Cost(
        n_tiles=len(needs),
        files=sum(need.files_out for need in needs),
        bytes_in=sum(need.bytes_in for need in needs),
        bytes_out=sum(need.bytes_out for need in needs),
        host_bytes=WORKER_BASE + max(need.host_bytes for need in needs) if needs else 0,
        device_bytes=max((need.device_bytes for need in needs), default=0),
        seconds=sum(seconds),
        wall_seconds=max(sum(seconds) / max(1, workers), max(seconds, default=0.0)),
    )


def duration(seconds: float) -> str:
    """Return a duration in at most eight characters.

    >>> duration(0.84), duration(42), duration(725), duration(7800), duration(4e6)
    ('0.8 s', '42 s', '12.1 min', '2.2 h', '1,111 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 3.6e5 else f"{seconds / 3600:,.0f} h"


def size(n_bytes: float) -> str:
    """Return a size in at most eight characters.

    >>> size(512), size(3_000_000), size(3.6e11), size(1047527424)
    ('512 B', '2.9 MiB', '335 GiB', '999 MiB')
    """
    number, _, unit = format_bytes(n_bytes).partition(" ")
    return f"{float(number):.0f} {unit}" if float(number) >= 100 else f"{number} {unit}"


def cells(name: str, found: Cost) -> dict[str, str]:
    """Return one row of the table by column; `-` where there is nothing to do."""
    if not found.n_tiles:
        return {**dict.fromkeys(COLUMNS, "-"), "stage": name, "to do": "0"}
    texts = (
        name,
        f"{found.n_tiles:,}",
        f"{found.files:,}",
        size(found.bytes_in),
        size(found.bytes_out),
        size(found.host_bytes),
        size(found.device_bytes) if found.device_bytes else "-",
        duration(found.seconds),
        duration(found.wall_seconds),
    )
    return dict(zip(COLUMNS, texts, strict=True))


def costs(forecast: Forecast, *, workers: int) -> dict[str, Cost]:
    """Return the cost of each stage of a verb."""
    wanted = {tile.id for tile in forecast.todo}
    found = {}
    for stage, members in stages(forecast.selected):
        todo = [tile for tile in members if tile.id in wanted]
        found[stage] = cost(todo, workers=workers, factor=forecast.rates.get(stage, Rate()).factor_for(todo))
    return found


def table(forecasts: Sequence[Forecast], *, workers: int, gpu: bool) -> tuple[Table, Cost]:
    """Return the table of the stages of some verbs, and the sum of all.

    Parameters
    ----------
    gpu
        Show the memory on a GPU too.
    """
    columns = [name for name in COLUMNS if gpu or name != "GPU"]
    shown = Table(box=LINES, show_edge=False, padding=(0, 1, 0, 0), header_style="")
    for name in columns:
        shown.add_column(name, justify="left" if name == "stage" else "right", no_wrap=name == "stage", overflow="fold")
    total, rows = Cost(), 0
    for forecast in forecasts:
        by_stage = costs(forecast, workers=workers)
        if list(by_stage) != [forecast.verb]:
            shown.add_row(forecast.verb)
        for stage, found in by_stage.items():
            row = cells(stage if list(by_stage) == [forecast.verb] else f"  {stage}", found)
            shown.add_row(*(row[name] for name in columns))
            total, rows = total.plus(found), rows + 1
    if rows > 1:
        shown.add_section()
        row = cells("all", total)
        shown.add_row(*(row[name] for name in columns))
    return shown, total


def rate_lines(forecasts: Sequence[Forecast], *, n_threads: int) -> list[str]:
    """Return in words where the seconds of the table come from."""
    lines, projected = [], []
    for forecast in forecasts:
        for stage, todo in stages(forecast.todo):
            name = stage if stage == forecast.verb else f"{forecast.verb} {stage}"
            if stage in forecast.rates:
                lines.append(f"{name}: {forecast.rates[stage].in_words(todo)}")
            else:
                projected.append(name)
    if projected:
        lines.append(f"no tile finished yet, so as projected: {', '.join(projected)}")
    noun = "thread" if n_threads == 1 else "threads"
    return [
        f"Times: projected for workers of {n_threads} {noun} without a GPU by the constants of numerics.needs (fit, "
        "decode), nets.costs (extract, reconstruct) and the other verbs' plans, then corrected by what finished tiles "
        "of the same stage took.",
        *(f"- {line}" for line in lines),
    ]


def print_forecasts(forecasts: Sequence[Forecast], *, title: str, place: Place, n_threads: int) -> None:
    """Print title, table and the source of its times to standard output."""
    out = stdout()
    workers = place.n_workers
    shown, total = table(forecasts, workers=workers, gpu=place.xp == "cupy" or place.device_budget is not None)
    out.print(title, markup=False)
    out.print(shown)
    out.print()
    noun = "worker" if workers == 1 else "workers"
    written = f"{size(total.bytes_out)} written in {total.files:,} files"
    print_prose(
        f"In all {duration(total.seconds)} of one worker's work, {duration(total.wall_seconds)} elapsed with "
        f"{workers:,} {noun}; {written}; {size(total.host_bytes)} of memory a worker."
    )
    out.print()
    for line in rate_lines(forecasts, n_threads=n_threads):
        print_prose(line)


def print_prose(text: str) -> None:
    """Print a sentence to standard output, broken into lines between words; a list item keeps its indent."""
    out = stdout()
    width = min(out.width, WIDE)
    indent = 2 if text.startswith("- ") else 0
    for i, line in enumerate(_wrapped(text, width=width, indent=indent)):
        out.print(line if i == 0 else " " * indent + line, markup=False, soft_wrap=True)


def _wrapped(text: str, *, width: int, indent: int) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return [lines[0], *(line[indent:] for line in lines[1:])] if lines else [""]


def print_place(place: Place, *, workspace: Path, job_name: str, nonce: str) -> None:
    """Print where the run would go, and for a scheduler the job script."""
    out = stdout()
    out.print(f"workspace: {workspace}", markup=False, soft_wrap=True)
    budget = f"memory of a worker: at most {format_bytes(place.host_budget)}"
    jobs = place.wanted
    if place.file.kind in HERE:
        print_prose(f"cluster: {place.file.kind}, {jobs.most} worker(s) of {place.worker_threads} threads; {budget}")
        return
    each = f" of {place.file.cluster.gpus} GPUs" if place.file.cluster.gpus > 1 else ""
    print_prose(f"cluster: {place.file.kind}, {jobs.least} to {jobs.most} jobs{each}; {budget}; job script:")
    plan = jobqueue.plan_jobs(place.file, folder=workspace / "jobs", job_name=job_name, xp=place.xp)
    script = jobqueue.render(plan, security.of_files(certificate_folder(workspace, nonce)))
    out.print(script, markup=False, soft_wrap=True)


def stdout() -> Console:
    """Return a console for standard output; into a file or pipe it is `WIDE` columns wide."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=WIDE)
