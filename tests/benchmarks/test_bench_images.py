from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")


def test_at_toy_size(tmp_path) -> None:
    import bench_images

    output = tmp_path / "a.json"
    assert bench_images.main(["--toy", "--kinds", "cifti", "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert set(found) == {"machine", "toy", "cifti"}
    assert found["cifti"]["brain"]["projected_bytes"] > 0
