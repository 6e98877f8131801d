from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import corrections

CONV, FC = (4, 5, 6), (70,)


def decoded(shape, n=3, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, int(np.prod(shape)))) * 2 + 5).astype(np.float32)


def spread(image, shape, ddof):
    """Mean over channels of the spatial std, or the std over units."""
    if len(shape) == 1:
        return image.astype(np.float64).std(ddof=ddof)
    return np.mean([channel.std(ddof=ddof) for channel in image.astype(np.float64).reshape(shape)])


@pytest.mark.parametrize("shape", [CONV, FC])
def test_reference_statistics(shape) -> None:
    features = decoded(shape)
    table = corrections.reference_statistics(features, shape)
    assert table.dtype == np.float64
    for row, image in zip(table, features, strict=True):
        expected = [np.linalg.norm(image.astype(np.float64)), spread(image, shape, 0), spread(image, shape, 1)]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [CONV, FC])
def test_each_method_as_the_published_code_writes_it(shape) -> None:
    features, mean = decoded(shape), decoded(shape, n=1, seed=1)[0]
    reference = 3.5
    for image in features:
        f = image.astype(np.float64)
        m = f.mean()
        d = f - mean
        expected = {
            "none": f,
            "l2_norm": f / np.linalg.norm(f) * reference,
            "channel_std": f / spread(f, shape, 0) * reference,
            "mean_center": (f - m) / spread(f, shape, 1) * reference + m,
            "train_mean_center": (d - d.mean()) / spread(d, shape, 1) * reference + d.mean() + mean,
        }
        for method, wanted in expected.items():
            centre = mean if method == "train_mean_center" else None
            gain, offset = corrections.per_item(f[None], shape, method=method, reference=reference, unit_mean=centre)
            got = corrections.apply(f[None], gain=gain, offset=offset, unit_mean=centre)
            np.testing.assert_allclose(got[0], wanted, rtol=1e-10, err_msg=method)


@pytest.mark.parametrize("shape", [CONV, FC])
@pytest.mark.parametrize("method", list(corrections.COLUMN))
def test_the_corrected_spread_is_the_reference(shape, method) -> None:
    features = decoded(shape).astype(np.float64)
    mean = np.zeros(features.shape[1])
    gain, offset = corrections.per_item(features, shape, method=method, reference=7.0, unit_mean=mean)
    got = corrections.apply(features, gain=gain, offset=offset)
    column = corrections.reference_statistics(got, shape)[:, corrections.COLUMN[method]]
    np.testing.assert_allclose(column, 7.0, rtol=1e-12)


def test_apply_keeps_the_type() -> None:
    f = decoded(FC)
    assert corrections.apply(f, gain=np.ones(3), offset=np.zeros(3)).dtype == np.float32


def test_the_impossible_is_refused() -> None:
    flat = np.ones((2, 6))
    for method in ("channel_std", "mean_center"):
        with pytest.raises(DataError, match="2 of 2 have none"):
            corrections.per_item(flat, (2, 1, 3), method=method, reference=1.0)
    with pytest.raises(DataError, match="needs more than 1 places"):
        corrections.per_item(flat, (6, 1, 1), method="mean_center", reference=1.0)
    assert corrections.reference_statistics(flat, (6, 1, 1))[0].tolist() == [pytest.approx(6**0.5), 0, 0]
    with pytest.raises(DataError, match="must be a positive number, got nan"):
        corrections.per_item(flat, (6,), method="l2_norm", reference=float("nan"))
    with pytest.raises(DataError, match="6 units of a layer"):
        corrections.per_item(np.ones((2, 5)), (6,), method="l2_norm", reference=1.0)
    with pytest.raises(ValueError, match="needs unit_mean"):
        corrections.per_item(flat, (6,), method="train_mean_center", reference=1.0)
    with pytest.raises(ValueError, match="method must be one of none, l2_norm"):
        corrections.per_item(flat, (6,), method="other", reference=1.0)
