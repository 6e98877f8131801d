from __future__ import annotations

import json


def test_at_toy_size(tmp_path) -> None:
    import bench_train

    output = tmp_path / "a.json"
    few = ["--batch", "2", "--voxels", "20", "--steps", "1", "--turns", "1"]
    assert bench_train.main([*few, "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["ratio"] > 0
    assert found["peak_bytes"] > 2**27
