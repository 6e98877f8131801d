"""Names that tables of scores share."""

from __future__ import annotations

import pytest

from hpc_recon.core import score_names


@pytest.mark.parametrize(("metric", "chance"), [("identification_5way", 5), ("identification_50way", 50)])
def test_chance_among_n_candidates_is_one_in_n(metric, chance):
    assert score_names.CHANCE[metric] == pytest.approx(1 / chance)


def test_baselines_are_no_metric_and_columns_are_distinct():
    assert not set(score_names.BASELINES) & set(score_names.CHANCE)
    assert len(set(score_names.FILTER_COLUMNS)) == len(score_names.FILTER_COLUMNS)
