from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics.prediction import weighted_sums


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.uint32])
def test_against_dense_weights(dtype) -> None:
    rng = np.random.default_rng(0)
    Z, weight = rng.standard_normal((7, 50)).astype(np.float32), rng.standard_normal((9, 12)).astype(np.float32)
    voxel = np.argsort(rng.random((9, 50)), axis=1)[:, :12].astype(dtype)
    unused = rng.random((9, 12)) < 0.2
    voxel[unused] = np.iinfo(dtype).max
    dense = np.zeros((9, 50))
    for u, s in np.argwhere(~unused):
        dense[u, voxel[u, s]] = weight[u, s]
    np.testing.assert_allclose(weighted_sums(np.ascontiguousarray(Z.T), voxel, weight), dense @ Z.T, atol=1e-5)


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        weighted_sums(np.ones((3, 2)), np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32))
