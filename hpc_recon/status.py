"""Show what of a study is done, failed and left, from receipts alone: needs no cluster and no controller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_recon.run import cli

if TYPE_CHECKING:
    from rich.table import Table

    from hpc_recon.core.config import Study

#: Seconds between two looks with --watch.
WATCH_EVERY = 5.0
#: Damaged tiles that --verify names; the rest is counted.
SHOWN = 10


@dataclass(frozen=True)
class VerbStatus:
    """Tiles of one verb; `total` counts the groups that were ever started."""

    verb: str
    groups: int
    total: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """Tiles neither done nor failed."""
        return max(0, self.total - self.done - self.failed)


def survey(workspace: Path) -> list[VerbStatus]:
    """Count tiles of every verb in pipeline order; verbs that never ran have zeros."""
    from hpc_recon.core.receipts import Listing
    from hpc_recon.run import failures
    from hpc_recon.run.verbs import ANALYSES, STEPS

    found = []
    for verb in (*STEPS, *ANALYSES):
        listing = Listing(workspace, verb.name)
        keys = listing.groups()
        if verb in ANALYSES and not keys:  # outside the pipeline: nobody waits for it
            continue
        total = sum(sum((listing.fingerprint(key) or {}).get("tiles", {}).values()) for key in keys)
        done = sum(len(listing.done(key)) for key in keys)
        found.append(VerbStatus(verb.name, len(keys), total, done, failures.count(workspace, verb.name)))
    return found


def verify(workspace: Path, *, checksums: bool) -> tuple[int, int, dict[str, list[str]]]:
    """Compare the files of everything that is done with their receipts.

    Parameters
    ----------
    checksums
        Read every file and compare its crc32; else compare lengths only.

    Returns
    -------
    tuple
        Number of files that receipts list, number of damaged ones, and what is wrong, by tile id.
    """
    from hpc_recon.core import receipts
    from hpc_recon.run.verbs import ANALYSES, STEPS

    found = [receipts.verify(workspace, verb.name, checksums=checksums) for verb in (*STEPS, *ANALYSES)]
    wrong = {tile_id: reasons for one in found for tile_id, reasons in one.damaged.items()}
    return sum(one.n_files for one in found), sum(one.n_damaged for one in found), wrong


def table(rows: Sequence[VerbStatus]) -> Table:
    """Return the rows as a table for a terminal."""
    from rich.table import Table

    shown = Table()
    for name in ("verb", "groups", "tiles", "done", "failed", "left"):
        shown.add_column(name, justify="left" if name == "verb" else "right")
    for row in rows:
        numbers = (row.groups, row.total, row.done, row.failed, row.left)
        style = "red" if row.failed else ("green" if row.total and not row.left else None)
        shown.add_row(row.verb, *(f"{n:,}" for n in numbers), style=style)
    return shown


def _verify(workspace: Path, *, checksums: bool) -> int:
    """Print what is damaged; 1 if anything is."""
    n_files, n_damaged, wrong = verify(workspace, checksums=checksums)
    compared = "lengths and checksums" if checksums else "lengths"
    click.echo(f"{workspace}: {n_damaged:,} of {n_files:,} files are damaged ({compared} compared with the receipts)")
    for tile_id, reasons in list(wrong.items())[:SHOWN]:
        more = f", and {len(reasons) - 1:,} more" if len(reasons) > 1 else ""
        click.echo(f"  {tile_id}: {reasons[0]}{more}")
    if len(wrong) > SHOWN:
        click.echo(f"  and {len(wrong) - SHOWN:,} more tiles")
    if wrong:
        click.echo("Make these tiles anew by running their commands with --verify, or with --redo --only <tile>")
    return 1 if wrong else 0


def _show(study_file: str | None, assignments: Sequence[str], *, watch: bool) -> int:
    from rich.console import Console

    from hpc_recon.core import storage
    from hpc_recon.run import lease

    study, workspace = _load(study_file, assignments)
    out = Console(highlight=False)
    pulse, since = None, time.monotonic()
    while True:
        storage.look_again()  # the workspace may have been made since
        owner = lease.read(workspace)
        running = f"computed by {owner}, cluster {owner.cluster}" if owner else "no controller runs"
        if owner is not None:
            before, pulse = pulse, (owner.nonce, owner.beat, lease.touched_at(workspace))
            since = since if pulse == before else time.monotonic()
            if lease.runs_here(workspace, owner) is False or time.monotonic() - since > lease.PATIENCE:
                running, owner = f"the controller ({owner}) has died; run the same command again to go on", None
        rows = [row for row in survey(workspace) if row.verb not in _other_sources(study.source_verb)]
        out.print(f"{workspace}: {running}", markup=False, soft_wrap=True)
        out.print(table(rows))
        if not watch or owner is None:
            return 1 if any(row.failed for row in rows) else 0
        time.sleep(WATCH_EVERY)


def _load(study_file: str | None, assignments: Sequence[str]) -> tuple[Study, Path]:
    """Load the study and its workspace, and make sure that this has its arrays where the study says."""
    from hpc_recon.core import storage
    from hpc_recon.core.loading import load_study
    from hpc_recon.run.options import default_study

    study = load_study(Path(study_file) if study_file else default_study(), assignments)
    assert study.workspace is not None
    storage.check(study.workspace, study.arrays)
    return study, study.workspace


def _other_sources(source: str) -> set[str]:
    return {"simulate", "ingest"} - {source}


def main(argv: Sequence[str] | None = None) -> int:
    """Show the status from the command line."""

    @click.command(help="Show what is done, failed and left.")
    @click.option("--study", metavar="FILE", default=None, help="study file  [default: $HPC_RECON_STUDY, ./study.yaml]")
    @click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study")
    @click.option("--watch", is_flag=True, help=f"show again every {WATCH_EVERY:.0f} s until the controller ends")
    @click.option("--verify", is_flag=True, help="compare the length of every file with its receipt")
    @click.option("--checksums", is_flag=True, help="with --verify: read every file and compare its checksum too")
    def command(
        study: str | None, assignments: tuple[str, ...], watch: bool, verify: bool, checksums: bool, **_: Any
    ) -> int:
        if not verify and checksums:
            raise click.UsageError("--checksums goes with --verify")
        if not verify:
            return cli.guarded(lambda: _show(study, assignments, watch=watch))
        return cli.guarded(lambda: _verify(_load(study, assignments)[1], checksums=checksums))

    return cli.execute("python -m hpc_recon.status", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
