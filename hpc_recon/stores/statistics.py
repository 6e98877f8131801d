"""Statistics of the training samples of a split and ROI: `.npy` files; processes of a node share the Gram matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import replacing
from hpc_recon.stores.checks import group_records, redo_command
from hpc_recon.stores.layout import Ref

#: mean, scale (n_voxels,); gram (n_voxels, n_voxels), absent for few samples without repeats; sums (n_stimuli,
#: n_voxels); counts (n_stimuli,): samples of each stimulus; rows (n_stimuli,): its row in the stimuli table, ascending.
NAMES = ("mean", "scale", "gram", "sums", "counts", "rows")
OPTIONAL = frozenset({"gram"})


def place(split: str, roi: str, name: str) -> Ref:
    """Return where one of the arrays lies."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    return Ref(f"brain_statistics/{split}/{roi}/{name}.npy", "fit")


def made_by(split: str, roi: str) -> str:
    """Return the key of the group that makes them."""
    return f"fit/{split}/{roi}/_brain"


def write(workspace: Path, split: str, roi: str, arrays: Mapping[str, Array]) -> list[Path]:
    """Write the arrays atomically and flush them; an optional one that is not given is removed.

    Returns
    -------
    list of Path
        The files written.
    """
    if wrong := set(NAMES) - OPTIONAL - set(arrays):
        raise ValueError(f"the arrays {', '.join(sorted(wrong))} are missing")
    files = []
    for name in NAMES:
        path = workspace / place(split, roi, name).path
        if name in arrays:
            files.append(_save(path, arrays[name]))
        else:
            path.unlink(missing_ok=True)
    return files


def read(workspace: Path, split: str, roi: str, name: str, *, mapped: bool = False) -> Array:
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
        If the file is absent, or shorter or longer than its receipt says.
    """
    ref, maker = place(split, roi, name), made_by(split, roi)
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
    array: Array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return array


def has_gram(workspace: Path, split: str, roi: str) -> bool:
    """Return whether the finished tile wrote a Gram matrix."""
    return place(split, roi, "gram").path in group_records(workspace, made_by(split, roi))


def _save(path: Path, array: Array) -> Path:
    """Write a `.npy` file without holding a second copy in memory."""
    with replacing(path) as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return path
