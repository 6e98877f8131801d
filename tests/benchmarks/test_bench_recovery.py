from __future__ import annotations

import importlib
import json

import pytest


@pytest.fixture
def bench_recovery():
    return importlib.import_module("bench_recovery")


def test_sets_of_layers_are_single_cumulative_and_without_the_first(bench_recovery) -> None:
    found = bench_recovery.sets(bench_recovery.REAL)
    assert list(found) == ["conv1", "conv2", "conv3", "conv1-2", "conv1-3", "all but conv1"]
    assert found["conv1-3"] == ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    assert found["all but conv1"] == found["conv1-3"][2:]
    assert len(bench_recovery.sets(bench_recovery.VGG19)) == 8 + 7 + 1


def test_at_toy_size_the_first_layers_give_the_image_back(bench_recovery, tmp_path) -> None:
    arguments = ["random", "--size", "32", "--iterations", "40", "--only", "DNN1", "--output", str(tmp_path / "a.json")]
    assert bench_recovery.main(arguments) == 0
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["layers"] == ["conv1_1", "conv1_2"]
    assert row["pixel_correlation"] > 0.97
    assert row["loss_last"] < row["loss_first"]
