"""Runs to samples: block means recovered end to end, counts of the published design, and every bad run."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hpc_recon.bold.samples import BoldRun, SampleOptions, outline_of_runs, samples_of_runs
from hpc_recon.bold.windows import Event
from hpc_recon.core.errors import DataError

N_VOXELS = 6
#: Response in percent without noise: no spikes are to be clipped where the exact means are asked for.
EXACT = SampleOptions(despike_sd=None)


def labels_of(run: int, n_blocks: int = 55, n_repeats: int = 5) -> list[str]:
    """Return labels of one run: `n_blocks` blocks, of which `n_repeats` repeat the block before them."""
    rng = np.random.default_rng(run)
    different = [f"r{run}s{k}" for k in range(n_blocks - n_repeats)]
    again = set(rng.choice(len(different), n_repeats, replace=False).tolist())
    return [label for k, label in enumerate(different) for label in ([label] * 2 if k in again else [label])]


def make_run(
    session: int = 1, run: int = 1, *, n_volumes: int = 239, noise: float = 0.0, responses: np.ndarray | None = None
) -> BoldRun:
    """Simulate a run without haemodynamics: 8 s blocks from 32 s on, each response delayed by exactly 4 s."""
    rng = np.random.default_rng(100 * session + run)
    labels = labels_of(run)
    if responses is None:
        responses = rng.standard_normal((len(labels), N_VOXELS))
    percent = np.zeros((n_volumes, N_VOXELS))
    for block, response in enumerate(responses):
        percent[18 + 4 * block : 22 + 4 * block] = response
    level = 800 + 100 * np.arange(N_VOXELS)
    percent += noise * rng.standard_normal(percent.shape)
    bold = level * (1 + percent / 100)
    events = [Event(32.0 + 8 * block, label) for block, label in enumerate(labels)]
    return BoldRun(f"ses-{session} run-{run}", session, run, 2.0, n_volumes, events, lambda: bold)


def read(run: BoldRun) -> np.ndarray:
    return np.array(run.read())


def test_block_means_are_recovered_from_trend_motion_and_initial_transients() -> None:
    """The planted nuisance is orthogonal to nothing: least squares takes it out with what it shares with the blocks.

    So the oracle is the same run without nuisance, taken through the same projection: the difference must vanish.
    """
    plain = make_run()
    rng = np.random.default_rng(9)
    motion = rng.standard_normal((239, 6)).cumsum(axis=0)
    nuisance = np.outer(np.arange(239), rng.standard_normal(N_VOXELS)) + motion @ rng.standard_normal((6, N_VOXELS))
    nuisance -= nuisance[4:].mean(axis=0)
    dirty = read(plain) + nuisance
    dirty[:4] += 5000  # not yet at steady state; dropped
    clean = samples_of_runs([replace(plain, confounds=motion)], EXACT)
    found = samples_of_runs([replace(plain, confounds=motion, read=lambda: dirty)], EXACT)
    np.testing.assert_allclose(found.samples, clean.samples, atol=1e-4)  # percent; float32 of samples of size 3


def test_block_means_are_recovered_exactly_when_nothing_is_regressed_out() -> None:
    responses = np.random.default_rng(4).standard_normal((55, N_VOXELS))
    run = make_run(responses=responses)
    found = samples_of_runs([run], replace(EXACT, linear_trend=False))
    kept = [k for k, label in enumerate(labels_of(1)) if k == 0 or label != labels_of(1)[k - 1]]
    np.testing.assert_allclose(found.samples, responses[kept], atol=1e-5)
    assert found.labels == tuple(labels_of(1)[k] for k in kept)
    assert found.columns["block"].tolist() == [k + 1 for k in kept]
    assert found.columns["onset_s"].tolist() == [32.0 + 8 * k for k in kept]
    assert found.samples.dtype == np.float32


def test_a_spike_is_clipped_in_its_voxel_alone() -> None:
    run = make_run(noise=0.5)
    spiked = read(run)
    spiked[100, 2] *= 3
    plain = samples_of_runs([run], SampleOptions())
    found = samples_of_runs([replace(run, read=lambda: spiked)], SampleOptions())
    unclipped = samples_of_runs([replace(run, read=lambda: spiked)], EXACT)
    assert found.counts["despiked"] >= 1
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(found.samples[:, others], plain.samples[:, others])
    # A spike of 200 % in a window of 4 volumes is 50 % unless it is clipped, to a few percent here.
    assert np.abs(unclipped.samples[:, 2]).max() > 40
    assert np.abs(found.samples[:, 2]).max() < 10


def test_the_published_training_set_is_6600_blocks_and_6000_samples() -> None:
    runs = [make_run(session, run) for session in range(1, 16) for run in range(1, 9)]  # 120 runs in 15 sessions
    assert sum(len(run.events) for run in runs) == 6600
    found = samples_of_runs(runs, SampleOptions())
    assert found.samples.shape == (6000, N_VOXELS)
    assert found.counts["repetitions"] == 600
    assert (found.counts["truncated"], found.counts["overlapping"]) == (0, 0)
    assert np.unique(found.columns["session"]).size == 15
    assert set(found.columns["n_volumes"].tolist()) == {4}


def test_the_published_test_window_says_what_is_truncated_and_overlaps() -> None:
    found = samples_of_runs([make_run()], replace(EXACT, window_s=12.0, drop_repetitions=False))
    assert found.samples.shape[0] == 55
    assert (found.counts["truncated"], found.counts["overlapping"]) == (1, 54)
    assert found.columns["n_volumes"].tolist() == [6] * 54 + [5]
    assert any("end after their run" in note for note in found.notes)
    assert any("54 of 55 windows overlap" in note for note in found.notes)


def test_sessions_that_differ_are_told_and_normalising_by_session_removes_it(caplog: pytest.LogCaptureFixture) -> None:
    runs = []
    for session in (1, 2, 3):
        responses = np.random.default_rng(session).standard_normal((55, N_VOXELS)) + session
        runs.append(make_run(session, 1, responses=responses))
    options = replace(EXACT, linear_trend=False)
    with caplog.at_level(logging.WARNING):
        pooled = samples_of_runs(runs, options)
    assert pooled.session_variance > 0.2
    assert "the session explains" in caplog.text
    normal = samples_of_runs(runs, replace(options, normalise="session"))
    for session in (1, 2, 3):
        rows = pooled.columns["session"] == session
        part = pooled.samples[rows].astype(np.float64)
        expected = (part - part.mean(axis=0)) / part.std(axis=0, ddof=1)
        np.testing.assert_allclose(normal.samples[rows], expected, atol=1e-5)
    assert not normal.is_transductive


def test_normalising_by_run_tells_run_1_of_two_sessions_apart() -> None:
    runs = [make_run(session, 1) for session in (1, 2)]
    found = samples_of_runs(runs, replace(EXACT, normalise="run"))
    for session in (1, 2):
        rows = found.columns["session"] == session
        np.testing.assert_allclose(found.samples[rows].mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize(("normalise", "role", "expected"), [
    ("none", "test", False), ("session", "test", True), ("run", "test", True), ("run", "training", False),
])  # fmt: skip
def test_test_data_with_their_own_statistics_are_transductive(normalise: str, role: str, expected: bool) -> None:
    found = samples_of_runs([make_run()], replace(EXACT, normalise=normalise, role=role))  # type: ignore[arg-type]
    assert found.is_transductive is expected
    assert any("transductive" in note for note in found.notes) is expected


def test_constant_voxels_are_counted_and_zero() -> None:
    run = make_run(noise=1.0)
    bold = read(run)
    bold[:, 1] = 700.1
    bold[:, 4] = 0
    found = samples_of_runs([replace(run, read=lambda: bold)], SampleOptions())
    assert found.constant_voxels.tolist() == [False, True, False, False, True, False]
    assert (found.samples[:, [1, 4]] == 0).all()
    assert any("2 of 6 voxels are constant" in note for note in found.notes)


def test_one_run_is_in_memory_at_a_time() -> None:
    """A run is asked for its voxels only after the run before was averaged and let go."""
    import weakref

    alive: list[weakref.ref[np.ndarray]] = []

    def reader(run: BoldRun) -> np.ndarray:
        assert all(reference() is None for reference in alive)
        bold = read(run)
        alive.append(weakref.ref(bold))
        return bold

    runs = [make_run(run=number) for number in (1, 2, 3)]
    found = samples_of_runs([replace(run, read=lambda run=run: reader(run)) for run in runs], SampleOptions())
    assert len(alive) == 3
    assert found.samples.shape[0] == 150


def test_every_run_is_checked_before_any_voxel_is_read() -> None:
    def never() -> np.ndarray:
        raise AssertionError("a voxel was read")

    good, bad = make_run(run=1), make_run(run=2)
    runs = [replace(good, read=never), replace(bad, read=never, events=[Event(900.0, "late")])]
    with pytest.raises(DataError, match="ses-1 run-2: 1 of 1 events"):
        samples_of_runs(runs, SampleOptions())


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"events": []}, "no stimulus event"),
        ({"tr_s": 3.0}, "drop_s of 8 s is 2.667 volumes"),
        ({"tr_s": 0.0}, "the TR is 0.0 s"),
        ({"n_volumes": 240}, "240 volumes were announced, 239 were read"),
        ({"n_volumes": 10}, "an initial rest of 12"),
        ({"confounds": np.ones((235, 6))}, "239 volumes, its confounds have 235"),
    ],
)
def test_a_bad_run_is_named(changes: dict[str, object], rule: str) -> None:
    with pytest.raises(DataError, match=f"ses-1 run-1: .*{rule}"):
        samples_of_runs([replace(make_run(), **changes)], SampleOptions())  # type: ignore[arg-type]


def test_nan_voxels_are_refused() -> None:
    bold = read(make_run())
    bold[7, 3] = np.nan
    with pytest.raises(DataError, match="1 of 6 voxels have NaN"):
        samples_of_runs([replace(make_run(), read=lambda: bold)], SampleOptions())


def test_runs_with_other_voxels_runs_twice_and_no_runs_are_refused() -> None:
    run = make_run()
    with pytest.raises(DataError, match=r"run-2 has 3 voxels, ses-1 run-1 has 6"):
        samples_of_runs([run, replace(make_run(run=2), read=lambda: read(run)[:, :3])], SampleOptions())
    with pytest.raises(DataError, match="session 1, run 1 is there twice"):
        samples_of_runs([run, run], SampleOptions())
    with pytest.raises(DataError, match="no run"):
        samples_of_runs([], SampleOptions())
    with pytest.raises(DataError, match="all blocks of 1 runs are repetitions"):
        samples_of_runs([replace(run, events=[Event(32.0, "a", True)])], SampleOptions())
    with pytest.raises(ValueError, match="unknown option"):
        samples_of_runs([run], replace(EXACT, normalise="subject"))  # type: ignore[arg-type]


def test_the_simulation_has_the_repetitions_it_claims() -> None:
    assert sum(a == b for a, b in pairwise(labels_of(3))) == 5


def test_the_outline_is_that_of_the_samples_and_reads_nothing() -> None:
    def never() -> np.ndarray:
        raise AssertionError("a voxel was read")

    runs = [make_run(1, 1), make_run(2, 1)]
    whole = samples_of_runs(runs, SampleOptions())
    found = outline_of_runs([replace(run, read=never) for run in runs], SampleOptions())
    assert found.labels == whole.labels
    assert found.counts == {key: n for key, n in whole.counts.items() if key != "despiked"}
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(found.columns[name], values)
    with pytest.raises(DataError, match="there is no stimulus event"):
        outline_of_runs([replace(runs[0], events=[])], SampleOptions())


def test_events_within_the_initial_rest_are_said(caplog) -> None:
    run = make_run()
    assert samples_of_runs([run], EXACT).counts["in_rest"] == 0, "the first event follows the rest at once"
    with caplog.at_level(logging.WARNING):
        found = samples_of_runs([run], replace(EXACT, baseline_s=50.0))
    assert found.counts["in_rest"] == 4, "those at 32, 40, 48 and 56 s, of a rest from 8 to 58 s"
    assert "4 events begin within the initial rest" in caplog.text
