from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpc_recon.numerics.selection import strongest
from hpc_recon.numerics.voxels import top_voxels


def oracle(products, usable, k):
    """Sort by falling size, then by voxel number."""
    chosen = []
    for row in products:
        order = sorted(np.flatnonzero(usable), key=lambda v: (-abs(row[v]), v))
        chosen.append(sorted(order[:k]))
    return np.array(chosen)


@given(
    products=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 30)),
        elements=st.one_of(
            st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-40, 3.4e38]), st.floats(-9, 9, width=32, allow_nan=False)
        ),
    ),
    data=st.data(),
)
def test_ties_zeros_and_subnormals(products, data) -> None:
    usable = np.array(data.draw(st.lists(st.booleans(), min_size=products.shape[1], max_size=products.shape[1])))
    usable[data.draw(st.integers(0, products.shape[1] - 1))] = True
    k = data.draw(st.integers(1, int(usable.sum())))
    voxel, chosen = strongest(products, usable, k)
    np.testing.assert_array_equal(voxel, oracle(products, usable, k))
    np.testing.assert_array_equal(chosen, np.take_along_axis(products, voxel.astype(np.int64), axis=1))


@pytest.mark.parametrize("k", [1, 100, 2999, 3000])
def test_as_top_voxels(k) -> None:
    products = np.random.default_rng(0).standard_normal((20, 3000)).astype(np.float32)
    voxel, _ = strongest(products, np.ones(3000, bool), k)
    np.testing.assert_array_equal(voxel, top_voxels(np.abs(products), k))


def test_wrong_input_is_refused() -> None:
    usable = np.array([True, False, True])
    with pytest.raises(ValueError, match=r"number of usable voxels 2, got k=3"):
        strongest(np.ones((1, 3), np.float32), usable, 3)
    with pytest.raises(ValueError, match="contiguous float32"):
        strongest(np.ones((1, 3)), usable, 1)
