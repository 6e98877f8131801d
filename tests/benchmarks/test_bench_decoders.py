"""The benchmark of reading decoders of others runs at toy size."""

from __future__ import annotations

import json


def test_files_of_both_kinds_are_read(tmp_path, capsys) -> None:
    import bench_decoders

    output = tmp_path / "a.json"
    assert bench_decoders.main(["--toy", "--output", str(output)]) == 0
    found = json.loads(output.read_text())["cases"]
    assert [(case["kind"], case["width"], case["n_stored"]) for case in found] == [
        ("sparse", 500, 8000), ("sparse", 200, 3200), ("dense", 200, 32000), ("dense", 2000, 32000),
    ]  # fmt: skip
    assert [case["for each stored"]["projected"] for case in found] == [120, 120, 36, 36]
