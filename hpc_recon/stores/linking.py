"""Files of one workspace in another, without copying them: hard links.

A link keeps the bytes that it was made of: stores never change a file, they replace it.
"""

from __future__ import annotations

import os
from pathlib import Path

from hpc_recon.core.errors import DataError


def link_tree(source: Path, target: Path) -> int:
    """Link every file below a folder into another, and remove from that what the first does not hold.

    Parameters
    ----------
    source
        A folder, or nothing: then nothing is left in `target` either.

    Returns
    -------
    int
        Number of files linked now; those that were linked before are left.

    Raises
    ------
    DataError
        If the file system has no hard links.
    """
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.name[0] != "."}
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    n_linked = 0
    for name in sorted(wanted):
        n_linked += _link(source / name, target / name)
    return n_linked


def _link(source: Path, target: Path) -> int:
    if target.exists():
        if target.samefile(source):
            return 0
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        raise DataError(
            f"controls use the features of their study by hard links, but {source} cannot be linked to {target} "
            f"({error.strerror}); put the workspace on a file system that has hard links"
        ) from error
    return 1
