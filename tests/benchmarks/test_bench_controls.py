"""The summary of the benchmark of controls; its study is run by tests/evaluation/test_control_scores.py."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "controls-tiny.json"


def test_rates_count_studies_by_the_rule_and_repeats_alone():
    bench = importlib.import_module("bench_controls")
    p = [[0.01, 0.02, 0.03], [0.01, 0.02, 0.5], [0.5, 0.6, 0.7]]
    rows = [{"controls": {"noise, honest": {"p": own, "identification": [0.5, 0.6, 0.4]}}} for own in p]
    assert bench.rates(rows) == {
        "noise, honest": {
            "studies": 3,
            "leaks": 1,
            "single_repeats": 9,
            "single_repeats_below_alpha": 5,
            "identification": 0.5,
            "identification_lowest": 0.4,
            "identification_highest": 0.6,
        }
    }


def test_the_rates_kept_are_those_of_the_studies_kept():
    kept = json.loads(RESULTS.read_text())
    assert importlib.import_module("bench_controls").rates(kept["rows"]) == kept["rates"]
