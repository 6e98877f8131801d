from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_fit.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_fit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--xp", "numpy", "--threads", "2", "--output", str(tmp_path / "a" / "fit.json")]) == 0
    content = json.loads((tmp_path / "a" / "fit.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["results"]) == set(module.TOY)
    assert content["machine"]["versions"]["numpy"]
    assert all(result["microseconds_per_unit"]["fit"] > 0 for result in content["results"].values())


WITHOUT = """
import importlib.abc, runpy, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"scipy", "threadpoolctl", "pydantic", "zarr", "dask", "yaml", "h5py", "click"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, %r)
sys.argv = ["bench_fit.py", "--help"]
runpy.run_path(%r, run_name="__main__")
"""


def test_a_gpu_needs_numpy_numba_and_cupy_alone() -> None:
    code = WITHOUT % (str(PATH.parent), str(PATH))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--xp" in done.stdout
