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

#: Seconds between two looks with --watch.
WATCH_EVERY = 5.0


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
    from hpc_recon.core.files import read_json
    from hpc_recon.core.receipts import GROUP_FILE
    from hpc_recon.run import failures
    from hpc_recon.run.verbs import STEPS

    found = []
    for verb in STEPS:
        folder = workspace / "receipts" / verb.name
        groups = sorted(folder.rglob(GROUP_FILE)) if folder.is_dir() else []
        totals = [sum(read_json(path).get("tiles", {}).values()) for path in groups]
        done = [sum(1 for p in path.parent.glob("*.json") if p.name != GROUP_FILE) for path in groups]
        failed = failures.count(workspace, verb.name)
        found.append(VerbStatus(verb.name, len(groups), sum(totals), sum(done), failed))
    return found


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


def _show(study_file: str | None, assignments: Sequence[str], watch: bool) -> int:
    from rich.console import Console

    from hpc_recon.core.loading import load_study
    from hpc_recon.run import lease
    from hpc_recon.run.options import default_study

    study = load_study(Path(study_file) if study_file else default_study(), assignments)
    assert study.workspace is not None
    out = Console(highlight=False)
    while True:
        owner = lease.read(study.workspace)
        running = f"computed by {owner}, cluster {owner.cluster}" if owner else "no controller runs"
        rows = [row for row in survey(study.workspace) if row.verb != _other_source(study.source_verb)]
        out.print(f"{study.workspace}: {running}", markup=False, soft_wrap=True)
        out.print(table(rows))
        if not watch or owner is None:
            return 1 if any(row.failed for row in rows) else 0
        time.sleep(WATCH_EVERY)


def _other_source(source: str) -> str:
    return {"simulate": "ingest", "ingest": "simulate"}[source]


def main(argv: Sequence[str] | None = None) -> int:
    """Show the status from the command line."""

    @click.command(help="Show what is done, failed and left.")
    @click.option("--study", metavar="FILE", default=None, help="study file  [default: $HPC_RECON_STUDY, ./study.yaml]")
    @click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study")
    @click.option("--watch", is_flag=True, help=f"show again every {WATCH_EVERY:.0f} s until the controller ends")
    def command(study: str | None, assignments: tuple[str, ...], watch: bool, **_: Any) -> int:
        return cli.guarded(lambda: _show(study, assignments, watch))

    return cli.execute("python -m hpc_recon.status", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
