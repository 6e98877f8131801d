"""Attributes of a latent: directions (normals of boundaries), scores along them, edits, and conditions.

Shen et al. 2020 (InterFaceGAN): an attribute grows along the unit normal of the hyperplane that separates latents with
it from those without; a *conditioned* direction leaves out what it has in common with other directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.nets import option_files


def read(options: LatentOptions) -> dict[str, Array]:
    """Read the directions of an entry's attributes, conditioned where it says so: unit vectors (d,) float64.

    Raises
    ------
    DataError
        If a file is no `.npy` of finite numbers, is zero, or differs in length from the others, or a direction lies in
        the span of its conditions.
    """
    raw = {name: _read(attribute.file, name) for name, attribute in options.attributes.items()}
    lengths = {name: len(values) for name, values in raw.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise DataError(f"attributes must be directions in one latent space, but have different lengths: {shown}")
    found = {}
    for name, attribute in options.attributes.items():
        try:
            found[name] = conditioned(raw[name], [raw[other] for other in attribute.conditions])
        except ValueError as error:
            raise DataError(f"attribute {name} ({attribute.file}): {error}") from error
    return found


def _read(file: Path, name: str) -> Array:
    values = option_files.numbers(file, what=f"attribute {name}: {file}", remedy="give an array of numbers")
    if values.dtype.kind not in "fiu" or not values.size or not np.isfinite(values).all() or not values.any():
        raise DataError(
            f"attribute {name}: {file} must hold finite numbers that are not all zero, but holds {values.dtype} "
            f"{values.shape}"
        )
    return np.asarray(values, np.float64).ravel()


def require_length(directions: Mapping[str, Array], n: int) -> None:
    """Raise `DataError` unless directions have as many numbers as a latent."""
    wrong = [f"{name} has {len(values):,}" for name, values in directions.items() if len(values) != n]
    if wrong:
        raise DataError(f"a latent has {n:,} numbers, but {', '.join(wrong)}; give directions in this latent space")


def digest(direction: Array) -> str:
    """Return 16 hexadecimal digits of a direction's values."""
    return hashlib.sha256(np.ascontiguousarray(direction, np.float64).tobytes()).hexdigest()[:16]


def unit(direction: Array) -> Array:
    """Return a direction of length 1, float64."""
    values = np.asarray(direction, np.float64).ravel()
    return values / np.linalg.norm(values)


def conditioned(direction: Array, conditions: Sequence[Array]) -> Array:
    """Return the part of a direction that is orthogonal to all conditions, of length 1, (d,) float64.

    With one condition c: n - (n . c) c, renormalised; with several, the conditions are orthonormalised first, because
    they may have something in common.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    own = unit(direction)
    if not conditions:
        return own
    basis, _ = np.linalg.qr(np.stack([unit(c) for c in conditions], axis=1))
    rest = own - basis @ (basis.T @ own)
    if np.linalg.norm(rest) < 1e-6:
        raise ValueError("the direction lies within those of its conditions, so nothing is left of it")
    return unit(rest)


def scores(latents: Array, direction: Array) -> Array:
    """Return how much latents (n, d) have of an attribute: their products with its unit direction, (n,) float64."""
    return np.asarray(latents, np.float64) @ unit(direction)


def edited(latent: Array, direction: Array, *, steps: Array) -> Array:
    """Return a latent (d,) moved by each step along a unit direction, (n_steps, d) float32."""
    moved = np.asarray(latent, np.float64)[None] + np.asarray(steps, np.float64)[:, None] * unit(direction)[None]
    return np.asarray(moved, np.float32)


def cosines(directions: Mapping[str, Array]) -> Array:
    """Return the cosine of each pair of directions, (n, n), in their order."""
    stacked = np.stack([unit(values) for values in directions.values()])
    return np.asarray(stacked @ stacked.T)
