"""Sums over the brain samples with one value of a column (a session), stored so that they are computed once.

A new scan day changes none of the sums of earlier days: their samples are recognised by a digest, and their Gram
matrices are added, not computed again.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.numerics import additive, xp
from hpc_recon.stores import layout, statistics

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.decoding.inputs import Training

_FIELDS = tuple(field.name for field in fields(additive.SampleSums))
#: Beside the sums: of which samples they are, and the rows of the stimulus table that their stimuli had.
_OWN = ("digest", "stimuli")


def of_value(
    study: Study, split: str, roi: str, found: Training, *, value: float, reference: tuple[Array, Array]
) -> tuple[additive.SampleSums, list[Path]]:
    """Return the sums over the training samples with one value of `fit.statistics_by`, and their files.

    Parameters
    ----------
    reference
        See `shared_reference`.
    """
    chosen = _of(study, found, value)
    workspace, library = layout.workspace_of(study), xp.module()
    centre, unit = reference
    folder, digest = _folder(study, split, roi, value), _digest(found, chosen)
    stored = _stored(folder, digest=digest, rows=found.rows, reference=reference)
    if stored is not None:
        ready = {name: array if name == "n_samples" else library.asarray(array) for name, array in stored.items()}
        return additive.SampleSums(**ready), [folder / f"{name}.npy" for name in (*_FIELDS, *_OWN)]
    made = additive.sample_sums(
        library.asarray(found.samples[chosen]),
        library.asarray(found.codes[chosen]),
        n_stimuli=len(found.rows),
        centre=library.asarray(centre),
        unit=library.asarray(unit),
    )
    content: dict[str, Array] = {"n_samples": np.array([made.n_samples])}
    content |= {name: xp.to_numpy(getattr(made, name)) for name in _FIELDS if name != "n_samples"}
    content |= {"stimuli": found.rows, "digest": np.frombuffer(digest, np.uint8)}
    (folder / "digest.npy").unlink(missing_ok=True)  # written last: without it, half-written sums are not taken
    return made, statistics.write(workspace, split, roi, content, part=folder.name)


def shared_reference(study: Study, split: str, roi: str, found: Training) -> tuple[Array, Array]:
    """Return the centre and unit that all sums share: those of stored sums that are still of use, else new ones.

    Sums whose samples have changed do not count: other samples may lie far from their centre, and lose digits there.
    """
    for value in np.unique(found.columns[_column(study)]):
        folder = _folder(study, split, roi, value)
        digest = _digest(found, _of(study, found, value))
        if _is_of(folder, digest=digest, rows=found.rows):
            return np.load(folder / "centre.npy", allow_pickle=False), np.load(folder / "unit.npy", allow_pickle=False)
    return additive.reference(found.samples)


def _column(study: Study) -> str:
    assert study.fit.statistics_by is not None, "asked by the caller"
    return study.fit.statistics_by


def _of(study: Study, found: Training, value: float) -> Array:
    """Return which training samples have a value (n_samples,) bool."""
    chosen: Array = found.columns[_column(study)] == value
    return chosen


def _folder(study: Study, split: str, roi: str, value: float) -> Path:
    """Return where the sums over the samples with a value lie."""
    ref = statistics.place(split, roi, "digest", part=f"sums-{value:.12g}")
    return (layout.workspace_of(study) / ref.path).parent


def _digest(found: Training, chosen: Array) -> bytes:
    """Return the sha256 of the chosen samples and the rows of their stimuli."""
    content = hashlib.sha256()
    for array in (found.samples[chosen], found.rows[found.codes[chosen]]):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.digest()


def _is_of(folder: Path, *, digest: bytes, rows: Array) -> bool:
    """Return whether whole sums of these very samples are stored; `rows` are those of all training stimuli.

    They are looked for without receipts, which are gone while the tile is computed anew; each file is whole or absent.
    """
    if not all((folder / f"{name}.npy").exists() for name in (*_FIELDS, *_OWN)):
        return False
    known = np.load(folder / "digest.npy", allow_pickle=False).tobytes() == digest
    return known and bool(np.isin(_shown(folder), rows).all())


def _shown(folder: Path) -> Array:
    """Return the rows of the stimulus table that stored sums have samples of; other rows of them are 0."""
    shown: Array = np.load(folder / "stimuli.npy", allow_pickle=False)[
        np.load(folder / "counts.npy", allow_pickle=False) > 0
    ]
    return shown


def _stored(folder: Path, *, digest: bytes, rows: Array, reference: tuple[Array, Array]) -> dict[str, Any] | None:
    """Return stored sums if they are of these very samples and have the reference."""
    if not _is_of(folder, digest=digest, rows=rows):
        return None
    content: dict[str, Any] = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _FIELDS}
    if any(not np.array_equal(content[name], own) for name, own in zip(("centre", "unit"), reference, strict=True)):
        return None
    content["n_samples"] = int(content["n_samples"][0])
    own = content["counts"] > 0  # another day may show other stimuli: the rows of old sums move
    place = np.searchsorted(rows, _shown(folder))
    for name in ("stimulus_sums", "counts"):
        old = content[name]
        content[name] = np.zeros((len(rows), *old.shape[1:]), old.dtype)
        content[name][place] = old[own]
    return content
