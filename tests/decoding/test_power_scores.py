"""What is foretold of a curve; the scores are tested through the verb (tests/test_power.py)."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.decoding import power_scores
from hpc_recon.decoding.power_plan import Design, Session

DESIGN = Design(3000, 600, (60, 480), (1, 2, 5), (10, 100), (1, 2, 5), Session("session", 600, 5))


@pytest.mark.parametrize(
    ("curve", "now", "ahead"),
    [
        ("images", 600, [(1, 720), (4, 1080)]),
        ("repeats", 5, [(1, 6), (4, 9)]),
        ("voxels", 24, []),
        ("trials", 24, [(2, 48)]),
    ],
)
def test_more_sessions_are_new_images_or_more_repeats(make_study, curve, now, ahead):
    study = make_study(power={"sessions": [1, 4]})
    assert power_scores._ahead(study, DESIGN, curve, (1, 24)) == (now, ahead)


def test_a_curve_counts_the_units_that_vary(make_study):
    rng = np.random.default_rng(0)
    sizes, units = (60, 120, 240, 480), rng.uniform(0.2, 0.6, 30)
    values = np.sqrt(np.array(sizes) / (np.array(sizes) + 200))[None, :, None] * units + np.zeros((3, 1, 1))
    values[0, 0, :2] = np.nan
    study = make_study(power={"resamples": 100})
    found = power_scores.curve_of(study, DESIGN, {"curve": "images"}, sizes, values, link="correlation")
    assert (found["n_units"], found["n_missing"], found["n_draws"]) == (28, 2, 3)
    assert found["a"] == pytest.approx(units[2:].mean(), rel=1e-3)
    assert found["b"] == pytest.approx(200, rel=1e-2)
    assert found["now"]["value"] == pytest.approx(units[2:].mean() * np.sqrt(0.75), rel=1e-3)
    assert found["now"]["low"] < found["now"]["value"] < found["now"]["high"]
    assert found["foretold"]["n_sizes"] == 3
