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
    study: Study, split: str, roi: str, found: Training, *, value: float
) -> tuple[additive.SampleSums, list[Path]]:
    """Return the sums over the training samples with one value of `fit.statistics_by`, and their files."""
    assert study.fit.statistics_by is not None, "asked by the caller"
    chosen = found.columns[study.fit.statistics_by] == value
    part, workspace, library = f"sums-{value:.12g}", layout.workspace_of(study), xp.module()
    centre, unit = _reference(study, split, roi, found.samples)
    digest = _digest(found.samples[chosen], found.rows[found.codes[chosen]], centre, unit)
    folder = (workspace / statistics.place(split, roi, "digest", part=part).path).parent
    stored = _stored(folder, digest=digest, rows=found.rows)
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
    content: dict[str, Array] = {"n_samples": np.array(made.n_samples)}
    content |= {name: xp.to_numpy(getattr(made, name)) for name in _FIELDS if name != "n_samples"}
    content |= {"digest": np.frombuffer(digest, np.uint8), "stimuli": found.rows}
    return made, statistics.write(workspace, split, roi, content, part=part)


def _reference(study: Study, split: str, roi: str, samples: Array) -> tuple[Array, Array]:
    """Return the centre and unit that all sums share: those of the first sums that were ever stored."""
    folder = (layout.workspace_of(study) / statistics.place(split, roi, "mean").path).parent
    for known in sorted(folder.glob("sums-*/centre.npy")):
        centre, unit = np.load(known), np.load(known.with_name("unit.npy"))
        if len(centre) == samples.shape[1]:
            return centre, unit
    return additive.reference(samples)


def _digest(*arrays: Array) -> bytes:
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.digest()


def _stored(folder: Path, *, digest: bytes, rows: Array) -> dict[str, Any] | None:
    """Return stored sums if they are of these very samples.

    They are looked for without receipts, which are gone while the tile is computed anew; each file is whole or absent.
    """
    if not all((folder / f"{name}.npy").exists() for name in (*_FIELDS, *_OWN)):
        return None
    stimuli = np.load(folder / "stimuli.npy")
    if np.load(folder / "digest.npy").tobytes() != digest or not np.isin(stimuli, rows).all():
        return None
    content: dict[str, Any] = {name: np.load(folder / f"{name}.npy") for name in _FIELDS}
    content["n_samples"] = int(content["n_samples"])
    place = np.searchsorted(rows, stimuli)  # a new day may show new stimuli: the rows of old sums move
    for name in ("stimulus_sums", "counts"):
        old = content[name]
        content[name] = np.zeros((len(rows), *old.shape[1:]), old.dtype)
        content[name][place] = old
    return content
