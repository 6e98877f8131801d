"""Projections at published sizes, and against what numpy allocates; the tests of the verbs measure whole tiles."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hpc_recon.numerics import decoder, needs, stats
from hpc_recon.numerics.parallel import one_blas_thread

PUBLISHED = {"n_voxels": 11726, "n_stimuli": 1200, "k": 500}


def peak(function):
    """Bytes that numpy allocates at most during a call."""
    with one_blas_thread():  # finding the libraries takes .3 MB where there are many
        tracemalloc.start()
        try:
            result = function()
            return result, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(("n_stimuli", "repeats", "k"), [(120, 3, 60), (200, 1, 150)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_numpy_allocates_stays_below(n_stimuli, repeats, k, n_threads) -> None:
    rng = np.random.default_rng(0)
    n_voxels, n_units, n = 1200, 2000, n_stimuli * repeats
    X, Y = rng.normal(size=(n, n_voxels)).astype(np.float32), rng.normal(size=(n_stimuli, n_units)).astype(np.float32)
    stimulus = np.arange(n) % n_stimuli
    sizes = {"n_stimuli": n_stimuli, "n_threads": n_threads, "direct": n <= stats.DIRECT_SAMPLES and repeats == 1}
    # What importing and compiling take is `COMPILED_BYTES`, and counted apart.
    few = stats.brain_statistics(X[:20], np.arange(20) % 10)
    decoder.predict_units(X[:2], decoder.fit_units(few, Y[:10, :2], n_voxels=2, alpha=1.0))
    brain, used = peak(lambda: stats.brain_statistics(X, stimulus, n_threads=n_threads))
    slack = needs.SLACK_BYTES  # not used up by what numpy allocates
    assert used < needs.statistics_bytes(n, n_voxels, **sizes) - slack
    assert (brain.gram is None) == sizes["direct"]
    units, used = peak(lambda: decoder.fit_units(brain, Y, n_voxels=k, alpha=10.0, n_threads=n_threads))
    assert used < needs.fit_bytes(n_units, n_voxels, k=k, **sizes) - slack
    _, used = peak(lambda: decoder.predict_units(X[:40], units, n_threads=n_threads))
    assert used < needs.predict_bytes(40, n_units, n_voxels=n_voxels, k=k, n_threads=n_threads) - slack


def test_figures_at_published_size() -> None:
    """One region of a published study: well below a laptop's memory, and no more than an hour per million units."""
    assert needs.decoder_bytes(32768, 500, 11726) == 32768 * 500 * 6
    assert needs.decoder_bytes(10, 500, 70_000) == 10 * 500 * 8
    assert 1.0e9 < needs.statistics_bytes(6000, 11726, n_stimuli=1200, n_threads=2) < 1.5e9
    assert 1.0e9 < needs.fit_tile_bytes(32768, n_items=[], **PUBLISHED) < 4e9
    assert needs.fit_tile_bytes(32768, n_items=[50, 40, 10], **PUBLISHED) < 4e9
    assert 0.5e9 < needs.device_bytes(4096, n_voxels=11726, n_stimuli=1200, k=500) < 4e9
    assert 1000 < needs.fit_seconds(1_000_000, n_threads=1, **PUBLISHED) < 7200


def test_what_needs_no_gram_matrix_needs_less() -> None:
    few = {"n_stimuli": 200, "n_threads": 2}
    gram = 4 * 8000**2
    assert needs.statistics_bytes(200, 8000, **few) - needs.statistics_bytes(200, 8000, **few, direct=True) >= gram
    assert needs.fit_bytes(4096, 8000, k=300, **few) > needs.fit_bytes(4096, 8000, k=300, **few, direct=True)


def test_a_tile_holds_a_block_of_features_and_the_next_one() -> None:
    """Beyond two blocks, more units of a tile add their results and nothing else."""
    sizes = {"n_voxels": 2000, "n_stimuli": 1200, "k": 500}
    one, two, eight = (needs.fit_tile_bytes(n * needs.UNITS_AT_ONCE, n_items=[], **sizes) for n in (1, 2, 8))
    results = needs.UNITS_AT_ONCE * (500 * 6 + 12)
    assert two - one == results + 2 * 4 * 1200 * needs.UNITS_AT_ONCE
    assert eight - two == 6 * results


def test_more_of_anything_needs_more() -> None:
    base = {"n_units": 1000, "n_voxels": 2000, "k": 100, "n_stimuli": 300, "n_threads": 2}
    for name in base:
        more = {**base, name: 3 * base[name]}
        assert needs.fit_bytes(**more) > needs.fit_bytes(**base)
    sizes = {"n_units": 5000, "n_voxels": 2000, "k": 100, "n_items": [50, 40], "n_samples": 600}
    for name in ("n_units", "n_voxels"):
        assert needs.decode_tile_bytes(**{**sizes, name: 100_000}) > needs.decode_tile_bytes(**sizes)
    assert needs.correct_tile_bytes(10**6, n_stimuli=100) > needs.correct_tile_bytes(10**5, n_stimuli=100)
    assert needs.predict_seconds(100, 1000, k=2000, n_threads=1) > 0
    assert needs.statistics_seconds(6000, 11726, n_threads=1) > needs.statistics_seconds(6000, 11726, n_threads=2)
