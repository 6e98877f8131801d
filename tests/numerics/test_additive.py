"""Sums of samples that are added and taken apart, against the statistics of the samples themselves."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import additive, needs, stats

# float64: the requirement. float32: a float32 Gram matrix of these sizes is itself within 9e-7 n of the exact one, and
# this one within 1.2e-6 n (measured); so two of them may differ by the sum.
TOLERANCE = {np.float64: 1e-6, np.float32: 2.5e-6}


def samples(n, n_voxels, *, offset=0.0, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, n_voxels))
    return (X + offset * np.random.default_rng(seed + 1).normal(size=n_voxels)).astype(dtype)


def plain(X, stimulus):
    """Z-scored statistics from the formula, float64; constant columns become 0."""
    X = X.astype(np.float64)
    mean, scale = X.mean(0), X.std(0, ddof=1)
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, 0)
    Z = np.where(scale > 0, (X - mean) / np.where(scale > 0, scale, 1), 0)
    rows = np.unique(stimulus)
    return mean, scale, Z.T @ Z, np.array([Z[stimulus == s].sum(0) for s in rows]), rows


def assert_equal(brain, rows, X, stimulus, *, tolerance):
    mean, scale, gram, sums, expected_rows = plain(X, stimulus)
    unit = np.where(scale > 0, scale, 1)
    assert np.abs((brain.mean - mean) / unit).max() < tolerance
    assert np.abs(brain.scale / unit - scale / unit).max() < tolerance
    np.testing.assert_array_equal(brain.scale > 0, scale > 0)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(brain.counts, np.unique(stimulus, return_counts=True)[1])
    assert brain.n_samples == len(X)
    assert np.abs(brain.sums - sums).max() < tolerance * max(np.abs(sums).max(), 1.0)
    if brain.gram is None:
        assert len(X) <= stats.DIRECT_SAMPLES
        assert (brain.counts == 1).all()
    else:
        assert np.abs(brain.gram - gram).max() < tolerance * len(X)
        assert np.array_equal(brain.gram, brain.gram.T)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(8, 400),
    n_parts=st.integers(2, 5),
    repeats=st.sampled_from(["none", "balanced", "unbalanced"]),
    offset=st.sampled_from([0.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_partition_adds_up_and_any_part_can_be_taken_away(seed, n, n_parts, repeats, offset, dtype) -> None:
    rng = np.random.default_rng(seed)
    X = samples(n, 12, offset=offset, dtype=dtype, seed=seed)
    X[:, 3] = 0.1  # constant, and not a sum of powers of two
    n_stimuli = n if repeats == "none" else max(n // 3, 2)
    stimulus = {
        "none": rng.permutation(n),
        "balanced": np.arange(n) % n_stimuli,
        "unbalanced": rng.integers(0, n_stimuli, n),
    }[repeats]
    centre, unit = additive.reference(X)
    part_of = rng.integers(0, n_parts, n)
    parts = [
        additive.sample_sums(
            X[part_of == p], stimulus[part_of == p], n_stimuli=n_stimuli, centre=centre, unit=unit, n_threads=1
        )
        for p in range(n_parts)
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    brain, rows = additive.to_brain(whole, n_threads=1)
    assert_equal(brain, rows, X, stimulus, tolerance=TOLERANCE[dtype])
    rest = part_of != 0
    if rest.sum() >= 4:  # of fewer samples some voxel may keep next to nothing of its variance
        growth = additive.loss(whole - parts[0])[np.arange(12) != 3].max() ** 2
        for brain, rows in (
            additive.to_brain(whole - parts[0], n_threads=1),
            additive.to_brain(whole, without=parts[0], n_threads=2),
        ):
            assert_equal(brain, rows, X[rest], stimulus[rest], tolerance=TOLERANCE[dtype] * growth)


def test_equal_to_brain_statistics_of_the_samples() -> None:
    """Also the rule for which samples have a Gram matrix, and the types."""
    for n, repeats, dtype in ((stats.DIRECT_SAMPLES, 1, np.float32), (300, 1, np.float32), (100, 2, np.float64)):
        X, stimulus = samples(n, 30, offset=100, dtype=dtype), np.arange(n) // repeats
        centre, unit = additive.reference(X[: n // 2])
        sums = additive.sample_sums(X, stimulus, n_stimuli=n, centre=centre, unit=unit)
        brain, _ = additive.to_brain(sums)
        direct = stats.brain_statistics(X, stimulus)
        assert (brain.gram is None) == (direct.gram is None)
        assert brain.sums.dtype == direct.sums.dtype == dtype
        np.testing.assert_allclose(brain.sums, direct.sums, atol=3e-6)
        np.testing.assert_allclose(brain.scale, direct.scale, rtol=1e-12)
        if brain.gram is not None and direct.gram is not None:
            assert brain.gram.dtype == direct.gram.dtype
            assert np.abs(brain.gram - direct.gram).max() < TOLERANCE[dtype] * n


def test_statistics_stand_for_sums() -> None:
    """Samples can be taken from statistics as from their sums, without a copy of the Gram matrix."""
    X, stimulus = samples(300, 12, offset=100), np.arange(300) % 60
    X[:, 3] = 0.1
    brain = stats.brain_statistics(X, stimulus)
    sums = additive.sums_of(brain)
    assert sums.products is brain.gram
    kept = stimulus >= 20
    part = additive.sample_sums(X[~kept], stimulus[~kept], n_stimuli=60, centre=sums.centre, unit=sums.unit)
    rest, rows = additive.to_brain(sums, without=part)
    assert_equal(rest, rows, X[kept], stimulus[kept], tolerance=1e-9)
    again, rows = additive.to_brain(sums)
    assert_equal(again, rows, X, stimulus, tolerance=1e-9)
    with pytest.raises(DataError, match="30 samples without repeats have no Gram matrix"):
        additive.sums_of(stats.brain_statistics(X[:30]))


def test_a_new_scan_day_far_from_the_reference_costs_few_digits() -> None:
    """A day whose mean lies 20 standard deviations away: the products hold 400 n, and lose less than three digits."""
    rng = np.random.default_rng(0)
    days = [rng.normal(size=(400, 20)), rng.normal(size=(400, 20)) + 20]
    stimulus = rng.integers(0, 50, 800)
    centre, unit = additive.reference(days[0])
    parts = [
        additive.sample_sums(day.astype(np.float32), codes, n_stimuli=50, centre=centre, unit=unit)
        for day, codes in zip(days, (stimulus[:400], stimulus[400:]), strict=True)
    ]
    second, rows = additive.to_brain(parts[1])
    assert 17 < additive.loss(parts[1]).min() < additive.loss(parts[1]).max() < 23
    assert_equal(second, rows, days[1].astype(np.float32), stimulus[400:], tolerance=23**2 * TOLERANCE[np.float32])
    both, rows = additive.to_brain(parts[0] + parts[1])
    assert_equal(both, rows, np.concatenate(days).astype(np.float32), stimulus, tolerance=TOLERANCE[np.float32])


def test_a_voxel_that_varies_only_in_what_is_taken_away_becomes_constant() -> None:
    X = samples(300, 5)
    X[100:, 2] = -0.3
    X[:, 4] = 1e-3
    stimulus, centre_unit = np.arange(300), additive.reference(X)
    reference = dict(zip(("centre", "unit"), centre_unit, strict=True))
    whole, part = (
        additive.sample_sums(X[:n], stimulus[:n], n_stimuli=300, **reference) for n in (300, 100)
    )  # fmt: skip
    brain, _ = additive.to_brain(whole, without=part)
    assert (brain.scale > 0).tolist() == [True, True, False, True, False]
    assert additive.to_brain(whole)[0].n_usable == 4
    assert additive.loss(whole, without=part)[2] > 1e6
    assert brain.gram is None


def test_products_can_be_written_into_those_of_a_part() -> None:
    X, stimulus = samples(300, 1200, dtype=np.float32), np.arange(300) % 40
    centre, unit = additive.reference(X)
    a, b = (
        additive.sample_sums(X[rows], stimulus[rows], n_stimuli=40, centre=centre, unit=unit)
        for rows in (slice(0, 200), slice(200, 300))
    )
    expected, whole = additive.to_brain(a)[0], a + b
    joint = additive.combined(a, b, sign=1, out=b.products)
    assert joint.products is b.products
    np.testing.assert_array_equal(joint.products, whole.products)
    brain, _ = additive.to_brain(whole, out=whole.products)
    assert brain.gram is whole.products
    direct = stats.brain_statistics(X, stimulus)
    assert direct.gram is not None
    assert brain.gram is not None
    assert expected.gram is not None
    assert np.abs(brain.gram - direct.gram).max() < TOLERANCE[np.float32] * 300


def test_bytes_do_not_depend_on_threads() -> None:
    X, stimulus = samples(700, 1100, dtype=np.float32), np.arange(700) % 40
    centre, unit = additive.reference(X)
    found = []
    for n in (1, 3):
        sums = additive.sample_sums(X, stimulus, n_stimuli=40, centre=centre, unit=unit, n_threads=n)
        found.append(additive.to_brain(sums, n_threads=n)[0])
    for name in ("mean", "scale", "gram", "sums"):
        assert getattr(found[0], name).tobytes() == getattr(found[1], name).tobytes(), name


def test_what_numpy_allocates_stays_below() -> None:
    n, n_voxels, n_stimuli = 300, 1500, 60
    X, stimulus = samples(n, n_voxels, dtype=np.float32), np.arange(n) % n_stimuli
    centre, unit = additive.reference(X)
    tracemalloc.start()
    try:
        sums = additive.sample_sums(X, stimulus, n_stimuli=n_stimuli, centre=centre, unit=unit, n_threads=2)
        brain = additive.to_brain(sums, out=sums.products, n_threads=2)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert brain[0].gram is sums.products
    assert used < additive.additive_bytes(n, n_voxels, n_stimuli=n_stimuli, n_threads=2) - needs.SLACK_BYTES


def test_what_does_not_fit_together_is_refused() -> None:
    X, stimulus = samples(30, 4), np.arange(30) % 10
    centre, unit = additive.reference(X)

    def sums(rows=slice(None), *, n_stimuli=10, centre=centre, unit=unit, X=X):
        return additive.sample_sums(X[rows], stimulus[rows], n_stimuli=n_stimuli, centre=centre, unit=unit)

    with pytest.raises(DataError, match=r"same reference.*1 of 4 voxels differ"):
        sums() + sums(centre=centre + np.array([0, 0, 1e-9, 0]))
    with pytest.raises(DataError, match=r"same stimuli.*\(10, 4\) of float64 and \(11, 4\)"):
        sums() + sums(n_stimuli=11)
    with pytest.raises(DataError, match=r"of float64 and .* of float32"):
        sums() - sums(X=X.astype(np.float32))
    with pytest.raises(DataError, match=r"5 stimuli have fewer \(first: stimulus 0, 3 of 2\)"):
        sums(slice(5, 30)) - sums()
    with pytest.raises(DataError, match="5 stimuli have fewer"):
        additive.to_brain(sums(slice(5, 30)), without=sums())
    with pytest.raises(DataError, match="1 of 30 are left"):
        additive.to_brain(sums(), without=sums(slice(1, 30)))
    with pytest.raises(DataError, match="all 4 voxels are constant over 30"):
        additive.to_brain(sums(X=np.ones((30, 4))))
    with pytest.raises(DataError, match="1 of 4 are not"):
        sums(unit=np.array([1, 1, 0, 1.0]))
    with pytest.raises(DataError, match="X must be finite"):
        sums(X=np.where(np.arange(4) == 2, np.nan, X))
    with pytest.raises(ValueError, match="sign must be 1 or -1"):
        additive.combined(sums(), sums(), sign=0)
