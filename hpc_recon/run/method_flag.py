"""Option of the command line about methods: `--method NAME`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from hpc_recon.core.errors import StudyError


def method_assignment(method: str, study: Path, assignments: Sequence[str]) -> str:
    """Turn `--method NAME` into an override that leaves the entries of other methods out of `reconstruct:`.

    So nothing is asked of entries that are not wanted: their features need not be decoded, nor their networks trained.

    Parameters
    ----------
    method
        `icnn`, `pixels`, `end_to_end`, `latent`, `shape_semantic` or `retrieval`.
    study, assignments
        The study file, and what overrides it.

    Raises
    ------
    StudyError
        If no entry has this method; names those that there are.
    """
    from hpc_recon.core.loading import override, read_yaml

    given = override(read_yaml(study), assignments).get("reconstruct")
    entries = {k: v for k, v in given.items() if isinstance(v, Mapping)} if isinstance(given, Mapping) else {}
    chosen = {name: entry for name, entry in entries.items() if entry.get("method") == method}
    if not chosen:
        there = ", ".join(f"{name} ({entry.get('method')})" for name, entry in entries.items()) or "none"
        raise StudyError(
            "--method", [f"{method}: no entry under reconstruct has this method; add one, or choose among: {there}"]
        )
    return f"reconstruct={yaml.safe_dump(chosen)}"
