"""Tidy tables: what is written reads back."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest

from hpc_recon.core.errors import DamagedStore, StudyError
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


def scores():
    metrics = {"ssim": ([0.1 + 0.2, float("nan")], 12), "mindeye.ssim": ([0.5, 1.0], 9), "takagi.clip": ([1.0, 0.0], 1)}
    return frame(tables.item_rows(PLACE, ["007", "NA"], metrics=metrics))


def test_presets_have_a_column_of_their_own_and_their_metrics_are_told_apart_again(tmp_path):
    path = tables.write_scores(tmp_path / "a.csv", scores())
    written = pd.read_csv(path, keep_default_na=False)
    assert list(written.columns) == [*tables.IMAGE_COLUMNS, "preset"]
    assert list(written["metric"]) == ["ssim", "ssim", "ssim", "ssim", "clip", "clip"]
    assert list(written["preset"]) == ["", "", "mindeye", "mindeye", "takagi", "takagi"]
    pd.testing.assert_frame_equal(tables.read_scores(path, columns=tables.IMAGE_COLUMNS), scores(), check_dtype=False)
    empty = tables.write_scores(tmp_path / "b.csv", frame([]))
    assert tables.read_scores(empty, columns=tables.IMAGE_COLUMNS).empty
    with pytest.raises(DamagedStore, match="preset"):  # a table of an older version
        tables.read_scores(tables.write_frame(path, scores()), columns=tables.IMAGE_COLUMNS)


def test_parquet_holds_what_the_csv_file_holds(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'hpc_recon[parquet]')")
    path = tables.write_scores(tmp_path / "a.parquet", scores())
    pd.testing.assert_frame_equal(pd.read_parquet(path), tables.with_presets(scores()), check_dtype=False)


def test_parquet_without_pyarrow_names_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"hpc_recon\[parquet\]"):
        tables.write_scores(tmp_path / "a.parquet", scores())
    assert not list(tmp_path.iterdir())


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
