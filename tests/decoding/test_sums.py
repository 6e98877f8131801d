"""Sums over the samples of a session: added up they are the statistics, and old ones are read, not computed again."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.numerics import additive

ONE_LAYER = {"net": {"architecture": "vgg11_quarter", "layers": ["fc"]}}
BY_SESSION = {"n_voxels": 12, "alpha": 5.0, "statistics_by": "session"}
NAMES = ("mean", "scale", "gram", "sums")


@pytest.fixture
def computed(monkeypatch):
    """Return a list that gets the number of samples of every call of `additive.sample_sums`."""
    calls, original = [], additive.sample_sums

    def counting(X, *args, **kwargs):
        calls.append(len(X))
        return original(X, *args, **kwargs)

    monkeypatch.setattr(additive, "sample_sums", counting)
    return calls


def state(study, session):
    """Return inode, time and content of the files of a session."""
    folder = study.workspace / f"brain_statistics/S1/VC/sums-{session}"
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.iterdir())}


def same_decoders(got, expected, *, rtol=1e-4):
    for layer in ("conv", "fc"):
        np.testing.assert_array_equal(got.decoder("voxel", layer), expected.decoder("voxel", layer))
        for part in ("weight", "stats"):
            want = expected.decoder(part, layer)
            atol = rtol * np.abs(want).max()
            np.testing.assert_allclose(got.decoder(part, layer), want, rtol=rtol, atol=atol)


def test_decoders_are_those_without_it(decodable, run_verb, stored, oracle, tmp_path) -> None:
    plain, _ = decodable(workspace=str(tmp_path / "plain"))
    run_verb(fit, plain)
    study, truth = decodable(workspace=str(tmp_path / "by"), fit=BY_SESSION)
    run_verb(fit, study)
    got = stored(study)
    same_decoders(got, stored(plain))
    for session in (1, 2, 3):
        X = truth.brain["S1", "training"][0][truth.session["S1"] == session].astype(np.float64)
        part = f"sums-{session}"
        w = (X - got.statistics("centre", part)) / got.statistics("unit", part)
        np.testing.assert_allclose(got.statistics("products", part), w.T @ w, rtol=1e-4, atol=1e-4)
        assert got.statistics("n_samples", part).tolist() == [24]
    X, _, codes = truth.training("S1", "VC", "fc")
    mean, scale = oracle.moments(X.astype(np.float64))
    Z = (X - mean) / scale
    np.testing.assert_allclose(got.statistics("mean"), mean, rtol=1e-6)
    np.testing.assert_allclose(got.statistics("scale"), scale, rtol=1e-6)
    np.testing.assert_allclose(got.statistics("gram"), Z.T @ Z, atol=1e-3)
    shown = np.arange(24)[:, None] == codes
    np.testing.assert_allclose(got.statistics("sums"), shown @ Z, atol=1e-4)
    assert got.statistics("counts").tolist() == [3] * 24


def test_a_new_scan_day_reads_the_old_sums(decodable, run_verb, stored, write_training, computed, tmp_path) -> None:
    """Its stimuli come first in the table, so the rows of all old sums move."""
    study, truth = decodable(workspace=str(tmp_path / "grown"), fit=BY_SESSION)
    samples, rows = truth.brain["S1", "training"]
    first = np.unique(rows)[:4]
    session = np.where(np.isin(rows, first), 3, truth.session["S1"])
    early = session < 3
    write_training(truth, samples[early], rows[early], session[early])
    run_verb(fit, study)
    assert computed == [int((session == 1).sum()), int((session == 2).sum())]
    before = {day: state(study, day) for day in (1, 2)}
    write_training(truth, samples, rows, session)
    run_verb(fit, study)
    assert computed[2:] == [int((session == 3).sum())]
    assert {day: state(study, day) for day in (1, 2)} == before
    anew, fresh = decodable(workspace=str(tmp_path / "anew"))
    write_training(fresh, samples, rows, session)
    run_verb(fit, anew)
    same_decoders(stored(study), stored(anew))
    assert stored(study).statistics("rows").tolist() == stored(anew).statistics("rows").tolist()


def test_a_subset_is_added_from_stored_sums(decodable, run_verb, stored, computed, tmp_path) -> None:
    study, _ = decodable(workspace=str(tmp_path / "by"), fit=BY_SESSION)
    run_verb(fit, study)
    before = state(study, 1)
    subset, _ = decodable(
        workspace=str(tmp_path / "plain"), fit={"n_voxels": 12, "alpha": 5.0, "samples": {"session": [1, 3]}}
    )
    run_verb(fit, subset)
    section = study.fit.model_copy(update={"samples": {"session": (1.0, 3.0)}})
    smaller = study.model_copy(update={"fit": section})
    del computed[:]
    run_verb(fit, smaller)
    assert computed == []
    assert state(study, 1) == before
    same_decoders(stored(smaller), stored(subset))


def test_changed_samples_of_an_old_day_are_computed_again(
    decodable, run_verb, stored, write_training, computed, tmp_path
) -> None:
    study, truth = decodable(workspace=str(tmp_path / "changed"), fit=BY_SESSION)
    run_verb(fit, study)
    before = {day: state(study, day) for day in (1, 2, 3)}
    samples, rows = truth.brain["S1", "training"]
    samples = samples.copy()
    samples[np.flatnonzero(truth.session["S1"] == 2)[0], 5] += 1.0
    write_training(truth, samples, rows, truth.session["S1"])
    del computed[:]
    run_verb(fit, study)
    assert computed == [24]
    assert {day: state(study, day) for day in (1, 3)} == {day: before[day] for day in (1, 3)}
    assert state(study, 2) != before[2]
    anew, fresh = decodable(workspace=str(tmp_path / "anew"))
    write_training(fresh, samples, rows, truth.session["S1"])
    run_verb(fit, anew)
    same_decoders(stored(study), stored(anew))


def test_another_stimulus_is_another_sample(decodable, run_verb, write_training, computed) -> None:
    study, truth = decodable(fit=BY_SESSION, networks=ONE_LAYER)
    run_verb(fit, study)
    samples, rows = truth.brain["S1", "training"]
    a, b = np.flatnonzero(truth.session["S1"] == 1)[:2]
    rows = rows.copy()
    assert rows[a] != rows[b]
    rows[[a, b]] = rows[[b, a]]
    write_training(truth, samples, rows, truth.session["S1"])
    del computed[:]
    run_verb(fit, study)
    assert computed == [24]


def test_sums_of_samples_that_are_gone_lend_no_reference(
    decodable, run_verb, stored, write_training, computed, tmp_path
) -> None:
    """Samples in another unit, far from the old centre: kept, it would cost all digits of float32."""
    study, truth = decodable(workspace=str(tmp_path / "by"), fit=BY_SESSION)
    run_verb(fit, study)
    samples, rows = truth.brain["S1", "training"]
    moved = samples / 100 + 1e4
    write_training(truth, moved, rows, truth.session["S1"])
    del computed[:]
    run_verb(fit, study)
    assert computed == [24] * 3
    np.testing.assert_allclose(
        stored(study).statistics("centre", "sums-1"), moved.astype(np.float64).mean(0), rtol=1e-6
    )


@pytest.mark.parametrize("damage", ["digest", "products"])
def test_half_written_sums_are_not_taken(decodable, run_verb, computed, damage) -> None:
    study, _ = decodable(fit=BY_SESSION, networks=ONE_LAYER)
    run_verb(fit, study)
    (study.workspace / f"brain_statistics/S1/VC/sums-2/{damage}.npy").unlink()
    del computed[:]
    run_verb(fit, study)
    assert computed == [24]


def test_the_digest_goes_before_anything_is_overwritten(decodable, run_verb, write_training, monkeypatch) -> None:
    """A run that is cut off while it writes leaves no sums of two kinds behind."""
    from hpc_recon.stores import shapes, statistics

    study, truth = decodable(fit=BY_SESSION, networks=ONE_LAYER)
    tiles = run_verb(fit, study)
    samples, rows = truth.brain["S1", "training"]
    write_training(truth, samples + 1, rows, truth.session["S1"])

    def cut_off(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(statistics, "write", cut_off)
    assert fit.plan(study, shapes.read(study))
    with pytest.raises(OSError, match="no space left"):
        fit.work(study, tiles[0])
    assert not (study.workspace / "brain_statistics/S1/VC/sums-1/digest.npy").exists()
    assert (study.workspace / "brain_statistics/S1/VC/sums-2/digest.npy").exists()


def test_folds_and_all_voxels_stand_on_sums_too(decodable, run_verb, stored, tmp_path) -> None:
    options = {"n_voxels": "all", "alpha": {"grid": [1.0, 30.0, 900.0]}, "folds": 3}
    found = []
    for name, more in (("plain", {}), ("by", {"statistics_by": "session"})):
        study, _ = decodable(workspace=str(tmp_path / name), fit={**options, **more})
        run_verb(fit, study)
        found.append(stored(study))
    same_decoders(found[1], found[0])
