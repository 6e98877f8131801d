"""Population statistics block by block, against numpy on the whole."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics.population import population_statistics


def test_blocks_give_the_statistics_of_the_whole():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(57, 6)) * [1, 1e-3, 10, 1, 1, 0] + [0, 1e4, -5, 1e6, 3, 7]).astype(np.float32)
    mean, scale = population_statistics([rows[:1], rows[1:1], rows[1:40], rows[40:]])
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(scale, exact.std(axis=0), rtol=1e-9, atol=0)  # ddof 0
    assert scale[5] == 0


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        population_statistics([np.empty((0, 3))])
