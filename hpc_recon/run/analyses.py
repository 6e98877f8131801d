"""What `screen` and `power` print once everything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpc_recon.core.config import Study
from hpc_recon.core.loading import load_study
from hpc_recon.run.session import workspace_of

if TYPE_CHECKING:
    from hpc_recon.run.options import Options


@dataclass(frozen=True)
class Finished:
    """A study, and the file that holds what an analysis found."""

    study: Study
    path: Path


def finished(name: str, options: Options, *, missing: str) -> Finished | None:
    """Return what an analysis wrote (`<name>/<name>.json`); where tiles are left, say so and return None.

    Parameters
    ----------
    missing
        What there is not yet, in words.
    """
    study = load_study(options.study, options.assignments)
    path = workspace_of(study) / name / f"{name}.json"
    if options.only is not None or options.limit is not None or not path.exists():
        click.echo(f"{name}: no {missing} before all tiles are done; run it without --only and --limit")
        return None
    return Finished(study, path)
