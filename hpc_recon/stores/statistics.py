"""Statistics of the training samples of a split and ROI: `.npy` files; processes of a node share the Gram matrix.

The *part* "" holds those of all training samples, `fold-<i>` those without the stimuli of a fold, `sums-<value>` plain
sums over the samples with one value of a column (a session), `maps` what decoders of all voxels share (in a fold:
`maps-fold-<i>`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.convert_options import owner
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import write_npy
from hpc_recon.core.paths import require_inside
from hpc_recon.stores.checks import crc32_of, group_records, redo_command
from hpc_recon.stores.layout import Ref

#: Group whose tiles write a part, by the part's name up to the first hyphen.
_GROUPS = {"": "_brain", "sums": "_brain", "fold": "_folds", "maps": "_all_voxels"}
_NAME = re.compile(r"[a-z][a-z_]*")
_PART = re.compile(r"(|maps(-fold-\d+)?|fold-\d+|sums-[A-Za-z0-9._+-]+)")


def place(split: str, roi: str, name: str, *, part: str = "") -> Ref:
    """Return where one of the arrays of a part lies; converted samples are z-scored as their target's."""
    if not _NAME.fullmatch(name) or not _PART.fullmatch(part):
        raise ValueError(f"there are no statistics {name!r} of the part {part!r}")
    folder = f"brain_statistics/{owner(split)}/{roi}" + (f"/{part}" if part else "")
    return Ref(f"{folder}/{name}.npy", "fit")


def made_by(split: str, roi: str, *, part: str = "") -> str:
    """Return the key of the group that makes a part."""
    return f"fit/{owner(split)}/{roi}/{_GROUPS[part.partition('-')[0]]}"


def write(workspace: Path, split: str, roi: str, arrays: Mapping[str, Array], *, part: str = "") -> list[Path]:
    """Write the arrays of a part atomically and flush them; arrays of an older version that are not given are removed.

    Returns
    -------
    list of Path
        The files written.
    """
    folder = (workspace / place(split, roi, "gram", part=part).path).parent
    require_inside(workspace, folder)
    for old in folder.glob("*.npy"):
        if old.stem not in arrays:
            old.unlink()
    where = {name: workspace / place(split, roi, name, part=part).path for name in arrays}
    return [write_npy(where[name], np.ascontiguousarray(array)) for name, array in arrays.items()]


def read(workspace: Path, split: str, roi: str, name: str, *, part: str = "", mapped: bool = False) -> Array:
    """Read one array after comparing the file's length with its receipt.

    Parameters
    ----------
    mapped
        Map the file into memory instead of reading it: processes of one node share its pages.

    Raises
    ------
    MissingStore
        If the tile that writes it was not finished.
    DamagedStore
        If the file is absent, shorter or longer than its receipt says, or no array; unless it is mapped, also if it has
        another checksum.
    """
    ref, maker = place(split, roi, name, part=part), made_by(split, roi, part=part)
    found = group_records(workspace, maker).get(ref.path)
    path = workspace / ref.path
    if found is None:
        raise MissingStore(f"{ref.path} does not exist in {workspace}; make it with {ref.command}")
    length = path.stat().st_size if path.exists() else None
    if length != found.length:
        size = "is absent" if length is None else f"has {length} bytes"
        raise DamagedStore(
            f"{path} {size}, but its receipt says {found.length}; make it anew with {redo_command(maker)}"
        )
    try:
        changed = not mapped and crc32_of(path) != found.crc32
        array: Array = np.empty(0) if changed else np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except ValueError:  # numpy's own text speaks of objects that might be unpickled
        changed = True
    if changed:
        raise DamagedStore(
            f"{path} has the length that its receipt says, but other bytes than were written; make it anew with "
            f"{redo_command(maker)}"
        )
    return array


def checksum(workspace: Path, split: str, roi: str, name: str, *, part: str = "") -> int:
    """Return the checksum that the receipt of an array states, 0 where there is none."""
    found = group_records(workspace, made_by(split, roi, part=part)).get(place(split, roi, name, part=part).path)
    return 0 if found is None else found.crc32


def has(workspace: Path, split: str, roi: str, name: str, *, part: str = "") -> bool:
    """Return whether a finished tile wrote an array."""
    return place(split, roi, name, part=part).path in group_records(workspace, made_by(split, roi, part=part))
