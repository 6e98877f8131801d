from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.numerics.voxels import ranked_voxels, top_voxels


@settings(max_examples=200)
@given(st.data())
def test_against_a_stable_sort_with_many_ties(data) -> None:
    n_units, n_voxels = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 30))
    k = data.draw(st.integers(1, n_voxels))
    levels = data.draw(st.integers(1, 5))
    score = np.random.default_rng(data.draw(st.integers(0, 1000))).integers(-1, levels, (n_units, n_voxels))
    score = score.astype(np.float32)
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(ranked_voxels(score, k), order)
    np.testing.assert_array_equal(top_voxels(score, k), np.sort(order, axis=1))


def test_one_ranking_serves_every_k() -> None:
    score = np.random.default_rng(0).random((5, 40))
    ranking = ranked_voxels(score, 30)
    for k in (1, 7, 30):
        np.testing.assert_array_equal(np.sort(ranking[:, :k], axis=1), top_voxels(score, k))


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit(k) -> None:
    with pytest.raises(ValueError, match="k must be between 1 and the number of voxels 3"):
        top_voxels(np.zeros((2, 3)), k)
