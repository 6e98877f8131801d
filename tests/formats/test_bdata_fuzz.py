from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("fuzz_bdata")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and peak memory are Linux's")
def test_damaged_files_neither_crash_nor_hang_nor_cost_memory(fuzz) -> None:
    refused, findings = fuzz.fuzz(300)
    assert findings == []
    assert refused > 100  # many mutations hit what is never read; if most did, nothing would be tested


def test_the_same_number_makes_the_same_file_and_others_differ(fuzz, tmp_path) -> None:
    content = fuzz.seed_file(tmp_path / "seed.h5").read_bytes()
    assert fuzz.mutated(content, 7) == fuzz.mutated(content, 7)
    assert len({fuzz.mutated(content, number) for number in range(50)} - {content}) > 40


def test_an_error_that_is_not_clear_is_a_finding(fuzz, tmp_path, monkeypatch) -> None:
    fuzz.seed_file(tmp_path / "seed.h5")
    monkeypatch.setattr(fuzz.resource, "setrlimit", lambda *_: None)  # this process is not a child
    calls = iter([None, KeyError("x")])

    def read(path):
        error = next(calls)
        if error is not None:
            raise error

    monkeypatch.setattr(fuzz, "read_everything", read)
    with pytest.raises(KeyError):
        fuzz.child(tmp_path, 0, 1)
    fuzz.signal.setitimer(fuzz.signal.ITIMER_REAL, 0)
