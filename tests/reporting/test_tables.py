"""Tidy tables: what is written reads back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpc_recon.core.errors import DamagedStore
from hpc_recon.reporting import tables

PLACE = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "test", "variant": "direct", "network": "pixels"}


def frame(rows, columns=tables.IMAGE_COLUMNS):
    return pd.DataFrame(rows, columns=list(columns))


def test_names_stay_text_and_values_stay_exact(tmp_path):
    names = ["007", "NA", "nan", "1e5", "a,b", 'say "hi"', ""]
    values = [0.1 + 0.2, float("nan"), -1.0, 1e-300, 0.5, 1 / 3, 0.0]
    rows = tables.item_rows(PLACE, names, metrics={"ssim": (values, 12)})
    path = tables.write_rows(tmp_path / "a.csv", rows, columns=tables.IMAGE_COLUMNS)
    read = tables.read_frame(path, columns=tables.IMAGE_COLUMNS)
    assert list(read["image"]) == names
    np.testing.assert_array_equal(read["value"], values)
    assert set(read["n"]) == {12}


def test_an_empty_table_keeps_its_columns(tmp_path):
    path = tables.write_frame(tmp_path / "a.csv", tables.join([], columns=tables.IMAGE_COLUMNS))
    assert tables.read_frame(path, columns=tables.IMAGE_COLUMNS).empty


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", None])
def test_a_damaged_table_names_the_command(tmp_path, content):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DamagedStore, match=r"hpc_recon\.evaluate"):
        tables.read_frame(path, columns=tables.IMAGE_COLUMNS)


def test_joined_parts_hold_each_baseline_once(tmp_path):
    one = tables.item_rows({**PLACE, "variant": "mean_training_image"}, ["a"], metrics={"ssim": ([0.5], 3)})
    paths = [tables.write_rows(tmp_path / f"{i}.csv", one, columns=tables.IMAGE_COLUMNS) for i in range(2)]
    assert len(tables.join(paths, columns=tables.IMAGE_COLUMNS)) == 1


def test_an_image_with_nothing_to_compare_has_no_row():
    metrics = {"shape": (np.array([0.5, np.nan]), np.array([2, 0])), "pattern": (np.array([np.nan, 0.1]), 0)}
    found = tables.item_rows({"dataset": "d"}, ["a", "b"], metrics=metrics)
    assert [(row["metric"], row["image"], row["n"]) for row in found] == [
        ("shape", "a", 2), ("pattern", "a", 0), ("pattern", "b", 0)
    ]  # fmt: skip
