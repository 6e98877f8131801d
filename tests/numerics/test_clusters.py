"""Clusters of stimuli, on groups that lie far apart."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics.clusters import assign


def groups(rng, sizes):
    """Return points about centres 20 deviations apart, and which centre each is of."""
    centres = 20 * np.eye(len(sizes), 6)
    which = np.repeat(np.arange(len(sizes)), sizes)
    return centres[which] + rng.standard_normal((len(which), 6)), which


def test_groups_far_apart_are_found_and_numbered_by_size():
    rng = np.random.default_rng(0)
    training, which = groups(rng, [5, 20, 12])
    others, whose = groups(rng, [3, 3, 3])
    found, placed = assign(training, others, k=3, seed=4)
    number = np.array([2, 0, 1])  # the second group is the largest
    np.testing.assert_array_equal(found, number[which])
    np.testing.assert_array_equal(placed, number[whose])


def test_units_count_alike_whatever_their_scale_and_flat_ones_not_at_all():
    rng = np.random.default_rng(1)
    training, which = groups(rng, [10, 6])
    wide = np.column_stack([training * 1e-3, np.full(16, 7.0)])
    found, _ = assign(wide, wide, k=2, seed=0)
    np.testing.assert_array_equal(found, which)


@pytest.mark.parametrize(("k", "rows"), [(3, [[0.0], [1.0], [1.0]]), (1, [[0.0], [1.0]]), (2, [[1.0], [1.0]])])
def test_more_clusters_than_distinct_stimuli_are_refused(k, rows):
    with pytest.raises(DataError, match=r"controls\.clusters"):
        assign(np.array(rows), np.array(rows), k=k, seed=0)
