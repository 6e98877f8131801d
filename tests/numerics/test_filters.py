"""Accuracy by filter, against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpc_recon.numerics.filters import by_filter


def test_means_and_counts_are_those_of_a_table_in_any_order():
    rng = np.random.default_rng(0)
    profiles, filters = rng.normal(size=300), rng.permutation(np.repeat(np.arange(0, 60, 2), 10))
    profiles[rng.random(300) < 0.2] = np.nan
    profiles[filters == 4] = np.nan
    wanted = pd.DataFrame({"f": filters, "r": profiles}).groupby("f")["r"].agg(["mean", "count"])
    present, mean, n = by_filter(profiles, filters)
    assert present.tolist() == wanted.index.tolist()
    assert n.tolist() == wanted["count"].tolist()
    np.testing.assert_allclose(mean, wanted["mean"], atol=1e-14)  # sums of ten numbers in another order
    assert np.isnan(mean[2])


def test_every_unit_has_a_filter():
    with pytest.raises(ValueError, match=r"\(n_units,\) both, got \(3,\) and \(2,\)"):
        by_filter(np.zeros(3), np.zeros(2, int))
