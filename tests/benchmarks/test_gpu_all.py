from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2
def test_absent(): pytest.skip("no card")
"""


@pytest.fixture
def gpu_all():
    spec = importlib.util.spec_from_file_location("gpu_all", BENCHMARKS / "gpu_all.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_card_it_says_so_and_writes_nothing(gpu_all, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_all.main(["--output", str(tmp_path / "gpu.json")]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_script_says_so_too(tmp_path) -> None:
    done = subprocess.run(
        ["bash", BENCHMARKS / "gpu_all.sh"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        pytest.skip("there is a card")
    assert done.returncode == 2
    assert "no NVIDIA card here" in done.stderr


def test_tests_are_counted_with_their_reasons(gpu_all, tmp_path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    report = tmp_path / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_some.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    found = gpu_all.counts(report)
    assert found["passed"] == 1
    assert found["skipped"] == {"test_some::test_absent": "no card"}
    assert list(found["failed"]) == ["test_some::test_bad"]
    assert "1 == 2" in found["failed"]["test_some::test_bad"]


def test_every_benchmark_has_its_options_and_a_failing_one_is_recorded(gpu_all, tmp_path) -> None:
    for arguments, toy in gpu_all.BENCHMARKS.values():
        text = (BENCHMARKS / arguments[0]).read_text(encoding="utf-8")
        options = [word for word in [*arguments, *toy, "--output"] if word.startswith("--")]
        assert all(f'"{option}"' in text for option in options), arguments
    found = gpu_all.benchmark(["bench_ard.py", "--no-such-option"], tmp_path)
    assert "--no-such-option" in found["error"]
