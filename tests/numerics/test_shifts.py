"""Test samples against training samples, drawn with known means and deviations."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics.shifts import compare

RNG = np.random.default_rng(0)
MEAN, SCALE = RNG.normal(100, 20, 300), RNG.uniform(1, 5, 300)


def drawn(n=40, *, shift=0.0, ratio=1.0):
    rng = np.random.default_rng(1)
    return MEAN + SCALE * (shift + ratio * rng.standard_normal((n, 300)))


def test_shift_and_ratio_are_those_drawn():
    found = compare(MEAN, SCALE, drawn(4000, shift=-0.7, ratio=1.4), n_training=1000)
    assert found.shift == pytest.approx(0.7, abs=5 * 1.4 / np.sqrt(4000))
    assert found.ratio == pytest.approx(1.4, abs=5 * 1.4 / np.sqrt(8000))
    assert not found.is_far


@pytest.mark.parametrize(
    ("changed", "averaged", "is_far"),
    [
        ({"shift": 3.0}, (1, 1), True),
        ({"shift": 1.0}, (1, 1), False),
        ({"ratio": 8.0}, (1, 1), True),
        ({"ratio": 0.1}, (1, 1), True),
        ({"ratio": 2.0}, (1, 1), False),
        ({"ratio": 8.0}, (5, 1), False),  # a single trial is noisier than a mean of five by sqrt(5) at most
        ({"ratio": 0.1}, (1, 24), False),
        ({"n": 2, "shift": 3.0}, (1, 1), False),  # two samples: a mean moves by .7 by chance, and 5 of that are allowed
        ({"n": 3, "ratio": 50.0}, (1, 1), True),  # its mean moves as far as it varies
    ],
)
def test_only_what_averaging_and_sampling_do_not_explain_is_far(changed, averaged, is_far):
    assert compare(MEAN, SCALE, drawn(**changed), n_training=1000, averaged=averaged).is_far is is_far


def test_voxels_that_do_not_vary_are_no_reason():
    scale = np.where(np.arange(300) < 200, 0.0, SCALE)
    moved = drawn() + np.where(np.arange(300) < 200, 1e6, 0.0)
    assert not compare(MEAN, scale, moved, n_training=1000).is_far
    assert not compare(MEAN, np.zeros(300), moved, n_training=1000).is_far
