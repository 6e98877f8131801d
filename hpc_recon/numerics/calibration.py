"""Calibration of decoded latents: their length, or mean and deviation of each number, brought to those of true ones.

Ridge regression shrinks: decoded latents are shorter, and each of their numbers varies less than in training. What is
restored is the spread, not the information: correlations with the truth stay what they are within one number.
"""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array


def to_norm(latents: Array, norm: float | None = None) -> Array:
    """Return latents (n, d) of one length: `norm`, or sqrt(d), that of a standard normal latent.

    Raises
    ------
    ValueError
        If a latent is zero, which has no direction.
    """
    lengths = np.linalg.norm(np.asarray(latents, np.float64), axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(
            f"latent {int(np.argmin(lengths))} is zero, so it has no direction; leave out calibration: norm"
        )
    wanted = np.sqrt(latents.shape[1]) if norm is None else norm
    return np.asarray(latents / lengths * wanted, np.float32)


def matched(latents: Array, *, source: tuple[Array, Array], target: tuple[Array, Array]) -> Array:
    """Return (z - source mean) / source deviation * target deviation + target mean, number by number.

    Parameters
    ----------
    latents
        (n, d).
    source, target
        Mean and standard deviation of each number, (d,): of predictions, and of true latents. A number whose source
        deviation is 0 becomes the target's mean.
    """
    (mean, deviation), (wanted_mean, wanted_deviation) = source, target
    gain = np.divide(wanted_deviation, deviation, out=np.zeros_like(deviation, np.float64), where=deviation > 0)
    return np.asarray((latents - mean) * gain + wanted_mean, np.float32)


def moments(latents: Array) -> tuple[Array, Array]:
    """Return mean and population standard deviation of each number over latents (n, d), float64."""
    values = np.asarray(latents, np.float64)
    return values.mean(axis=0), values.std(axis=0)
