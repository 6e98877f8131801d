from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from hpc_recon import fit

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_prefix.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("bench_prefix", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_common_beginnings() -> None:
    """Voxel 7 is in all three units, 3 in two: the lists begin [7, 3, ...], [7, 3, ...], [7, ...]."""
    voxel = np.array([[1, 3, 7], [3, 7, 9], [0, 5, 7]])
    assert sorted(benchmark().beginnings(voxel, group=3).tolist()) == [0, 1, 2]
    assert benchmark().beginnings(voxel, group=1).tolist() == [0, 0, 0]


def test_on_a_small_study(decodable, run_verb, tmp_path, capsys) -> None:
    study, _ = decodable()
    run_verb(fit, study)
    named = ["--workspace", str(study.workspace), "--network", "net", "--k", "12", "--output", str(tmp_path / "a.json")]
    assert benchmark().main(named) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["layers"]) == {"conv", "fc"}
    assert 0 < content["layers"]["conv"]["overlap_of_neighbours"] <= 1
