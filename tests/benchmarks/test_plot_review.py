from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def test_every_curve_holds_what_was_measured(tmp_path) -> None:
    import plot_review

    review = tmp_path / "review.json"
    images = [{"images": n, "cpu_seconds": 0.5 * n} for n in (1, 2, 4)]
    review.write_text(json.dumps({"growth_images": images}))
    growth, verb = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("growth", "verb"))
    found = {name: (x, y) for _, name, x, y, _ in plot_review.curves(growth, {"growth_images": images}, verb)}
    assert list(found) == ["units", "voxels", "stimuli", "images", "threads"]
    assert found["images"] == ([1, 2, 4], [0.5, 1.0, 2.0])
    assert found["units"][1] == [point["fit_seconds"] for point in growth["units"]["points"]]
    output = tmp_path / "drawn.svg"
    assert plot_review.main(["--review", str(review), "--output", str(output)]) == 0
    drawn = output.read_text()
    assert drawn.startswith("<?xml")
    assert all(name in drawn for name in found)
