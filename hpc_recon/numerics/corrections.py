"""Norm correction: decoded features are shrunken towards their mean; their spread is restored from reference images.

Every method is one gain and one offset per image and layer: corrected = gain * (f - c) + offset + c, where c is the
training mean of each unit for `train_mean_center` and 0 for the others. So decoded features are stored as they are,
and the correction is two numbers beside them. s is an image's own spread, r the reference's:

==================  ===========================================  =======================================================
method              gain and offset                              spread
==================  ===========================================  =======================================================
none                1, 0
l2_norm             r / s, 0                                     norm over units (Shen et al. 2019: the paper)
channel_std         r / s, 0                                     mean over channels of the spatial std, ddof 0 (code)
mean_center         r / s, (1 - gain) m                          the same with ddof 1; m is the image's mean over units
train_mean_center   r / s, (1 - gain) m of d = f - c             the same of d
==================  ===========================================  =======================================================

Layers without space (fully connected) take the std over units instead of the mean over channels.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from hpc_recon.core.array import Array
from hpc_recon.core.decode_options import NormCorrection
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.xp import namespace

#: Column of `reference_statistics` that each method divides by.
COLUMN: dict[str, int] = {"l2_norm": 0, "channel_std": 1, "mean_center": 2, "train_mean_center": 2}
#: Methods whose spread is taken channel by channel: they need whole layers, not a sample of units.
CHANNEL_WISE: frozenset[NormCorrection] = frozenset({"channel_std", "mean_center", "train_mean_center"})


def _std_over_space(features: Array, unit_shape: tuple[int, ...], *, ddof: Literal[0, 1]) -> Array:
    """Return the mean over channels of the spatial std of each image, float64 (n,)."""
    xp = namespace(features)
    n = features.shape[0]
    shape = (n, unit_shape[0], math.prod(unit_shape[1:])) if len(unit_shape) > 1 else (n, 1, unit_shape[0])
    maps = features.astype(xp.float64).reshape(shape)
    divisor = shape[2] - ddof
    if divisor < 1:
        raise DataError(
            f"a spatial standard deviation with ddof {ddof} needs more than {ddof} places, but the layer has the shape "
            f"{unit_shape}; use decode.norm_correction=l2_norm"
        )
    maps = maps - maps.mean(axis=2, keepdims=True)
    spread: Array = xp.sqrt((maps * maps).sum(axis=2) / divisor).mean(axis=1)
    return spread


def _check_shape(features: Array, unit_shape: tuple[int, ...]) -> None:
    if features.ndim != 2 or features.shape[1] != math.prod(unit_shape):
        raise DataError(
            f"features must be (n, units) with the {math.prod(unit_shape)} units of a layer of shape {unit_shape}, "
            f"got {features.shape}"
        )


def reference_statistics(features: Array, unit_shape: tuple[int, ...]) -> Array:
    """Return the spread of each image: l2 norm, mean channel std with ddof 0, the same with ddof 1.

    Parameters
    ----------
    features : (n, n_units)
        C order of (channel, y, x).
    unit_shape
        (channels, height, width), or (n_units,) of a layer without space: the std over units then.

    Returns
    -------
    (n, 3) float64
        The third column is 0 where a channel has a single place: it has no such spread.

    Examples
    --------
    >>> import numpy as np
    >>> reference_statistics(np.array([[3.0, 5.0, 0.0, 4.0]]), (2, 1, 2)).round(3).tolist()
    [[7.071, 1.5, 2.121]]
    """
    xp = namespace(features)
    _check_shape(features, unit_shape)
    n_places = math.prod(unit_shape[1:]) if len(unit_shape) > 1 else unit_shape[0]
    norm = xp.sqrt((features.astype(xp.float64) ** 2).sum(axis=1))
    plain = _std_over_space(features, unit_shape, ddof=0)
    corrected = plain * math.sqrt(n_places / (n_places - 1)) if n_places > 1 else xp.zeros_like(plain)
    table: Array = xp.stack([norm, plain, corrected], axis=1)
    return table


def per_item(
    features: Array,
    unit_shape: tuple[int, ...],
    *,
    method: NormCorrection,
    reference: float,
    unit_mean: Array | None = None,
) -> tuple[Array, Array]:
    """Return gain and offset of each image.

    Parameters
    ----------
    features : (n, n_units)
        Decoded, on the raw scale.
    method
        Of `decode.norm_correction`; the module's table.
    reference
        Spread of undecoded images in the method's measure: the mean over reference images of `COLUMN[method]` of
        `reference_statistics`.
    unit_mean : (n_units,)
        Training mean of each unit; needed by `train_mean_center` only.

    Returns
    -------
    gain, offset : (n,) float64
        corrected = gain * (f - c) + offset + c; `apply` does it.

    Raises
    ------
    DataError
        If a decoded image has no spread (its gain would be infinite), or the reference is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> gain, offset = per_item(np.array([[3.0, 4.0]]), (2,), method="l2_norm", reference=10.0)
    >>> gain.tolist(), offset.tolist()
    ([2.0], [0.0])
    """
    xp = namespace(features, unit_mean)
    _check_shape(features, unit_shape)
    n = features.shape[0]
    if method == "none":
        return xp.ones(n), xp.zeros(n)
    if method not in COLUMN:
        raise ValueError(f"method must be one of {', '.join(get_args(NormCorrection))}, got {method!r}")
    if not (math.isfinite(reference) and reference > 0):
        raise DataError(f"the reference spread for {method} must be a positive number, got {reference}")
    centre = None
    if method == "train_mean_center":
        if unit_mean is None:
            raise ValueError("train_mean_center needs unit_mean, the training mean of each unit")
        centre = unit_mean
    offsets_from = features if centre is None else features - centre
    if method == "l2_norm":
        spread = xp.sqrt((features.astype(xp.float64) ** 2).sum(axis=1))
    else:
        spread = _std_over_space(offsets_from, unit_shape, ddof=0 if method == "channel_std" else 1)
    if not bool((spread > 0).all()):
        flat = int((~(spread > 0)).sum())
        raise DataError(
            f"{method} divides by the spread of each decoded image, but {flat} of {n} have none; their decoders "
            "predict constants: use decode.norm_correction=none"
        )
    gain = reference / spread
    if method in ("l2_norm", "channel_std"):
        return gain, xp.zeros(n)
    return gain, (1.0 - gain) * offsets_from.mean(axis=1, dtype=xp.float64)


def apply(features: Array, *, gain: Array, offset: Array, unit_mean: Array | None = None) -> Array:
    """Return gain * (f - c) + offset + c in the dtype of `features`; c is `unit_mean`, or 0.

    Examples
    --------
    >>> import numpy as np
    >>> apply(np.array([[1.0, 3.0]]), gain=np.array([2.0]), offset=np.array([1.0])).tolist()
    [[3.0, 7.0]]
    """
    centre = 0.0 if unit_mean is None else unit_mean
    corrected = gain[:, None] * (features - centre) + offset[:, None] + centre
    return corrected.astype(features.dtype)
