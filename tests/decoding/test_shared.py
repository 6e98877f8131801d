"""Statistics, folds and maps in the stores: against plain numpy, written from the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.core.errors import MissingStore

ONE_LAYER = {"net": {"architecture": "vgg11_quarter", "layers": ["fc"]}}
GRIDS = {"n_voxels": 12, "alpha": {"grid": [1.0, 30.0]}, "folds": 3}


def z_scored(oracle, X):
    mean, scale = oracle.moments(X.astype(np.float64))
    Z = np.where(scale > 0, (X - mean) / np.where(scale > 0, scale, 1), 0)
    return mean, scale, Z


@pytest.mark.parametrize("data", [{}, {"constant_voxels": 3}, {"repeats": 1}], ids=str)
def test_statistics(decodable, run_verb, stored, oracle, data) -> None:
    from hpc_recon.stores import statistics

    study, truth = decodable(rois=["V1"], data=data, networks=ONE_LAYER)
    run_verb(fit, study)
    X, _, codes = truth.training("S1", "V1", "fc")
    mean, scale, Z = z_scored(oracle, X)
    got = stored(study, roi="V1")
    np.testing.assert_allclose(got.statistics("mean"), mean, rtol=1e-6)
    np.testing.assert_allclose(got.statistics("scale"), scale, rtol=1e-5)
    np.testing.assert_allclose(got.statistics("sums"), (np.arange(24)[:, None] == codes) @ Z, atol=1e-4)
    assert got.statistics("rows").tolist() == np.flatnonzero(truth.dataset == "training").tolist()
    assert got.statistics("counts").tolist() == np.bincount(codes).tolist()
    few = data.get("repeats") == 1  # without repeats units are fitted from the samples
    assert statistics.has(study.workspace, "S1", "V1", "gram") != few
    if not few:
        np.testing.assert_allclose(got.statistics("gram"), Z.T @ Z, atol=1e-3)


@pytest.mark.parametrize("samples", [{}, {"session": [1, 2]}], ids=str)
def test_a_fold_is_fitted_without_its_stimuli(decodable, run_verb, stored, oracle, samples) -> None:
    study, truth = decodable(fit={**GRIDS, "samples": samples}, data={"constant_voxels": 2}, networks=ONE_LAYER)
    run_verb(fit, study)
    X, rows = truth.brain["S1", "training"]
    kept = np.isin(truth.session["S1"], samples.get("session", [1, 2, 3]))
    distinct, codes = np.unique(rows[kept], return_inverse=True)
    X, n = X[kept], len(distinct)
    dealt = oracle.dealt(study, n)
    seen = []
    for fold in range(3):
        got = {
            name: stored(study).statistics(name, f"fold-{fold}")
            for name in ("mean", "scale", "gram", "sums", "counts", "rows", "test_rows", "test_patterns")
        }
        train_rows, held = np.flatnonzero(dealt != fold), dealt == fold
        mean, scale, Z = z_scored(oracle, X[~held[codes]])
        own = codes[~held[codes]]
        assert got["rows"].tolist() == train_rows.tolist()
        assert got["test_rows"].tolist() == np.flatnonzero(held).tolist()
        np.testing.assert_allclose(got["mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(got["scale"], scale, rtol=1e-4)
        np.testing.assert_allclose(got["gram"], Z.T @ Z, atol=2e-3)
        np.testing.assert_allclose(got["sums"], (train_rows[:, None] == own) @ Z, atol=1e-3)
        assert got["counts"].tolist() == np.bincount(own, minlength=n)[train_rows].tolist()
        test = np.stack([X[codes == s].astype(np.float64).mean(0) for s in np.flatnonzero(held)])
        expected = np.where(scale > 0, (test - mean) / np.where(scale > 0, scale, 1), 0)
        np.testing.assert_allclose(got["test_patterns"], expected, atol=1e-4)
        seen += got["test_rows"].tolist()
    assert sorted(seen) == list(range(n))


@pytest.mark.parametrize("n_voxels", [40, 90])
@pytest.mark.parametrize("grid", [2, 30])
def test_maps_of_all_samples_and_of_each_fold(decodable, run_verb, stored, oracle, n_voxels, grid) -> None:
    """M = (Z'Z + alpha I)^-1 S' for every penalty; 30 of them go through an eigen-decomposition."""
    alphas = np.geomspace(1, 1000, grid)
    study, truth = decodable(
        fit={"n_voxels": "all", "alpha": {"grid": alphas.tolist()}, "folds": 3},
        data={"n_voxels": n_voxels, "repeats": 2, "constant_voxels": 2},
        networks=ONE_LAYER,
    )
    run_verb(fit, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    dealt = oracle.dealt(study, 24)
    for part, held in (("maps", dealt < 0), *((f"maps-fold-{i}", dealt == i) for i in range(3))):
        X1, Y1, own, _ = oracle.without(X, Y, codes, held) if held.any() else (X, Y, codes, None)
        _, _, Z = z_scored(oracle, X1)
        S = (np.arange(len(Y1))[:, None] == own) @ Z
        maps = stored(study).statistics("maps", part)
        assert maps.dtype == np.float32
        assert stored(study).statistics("alphas", part).tolist() == alphas.tolist()
        for a in (0, len(alphas) - 1):
            M = np.linalg.solve(Z.T @ Z + alphas[a] * np.eye(n_voxels), S.T)
            np.testing.assert_allclose(maps[a], M, atol=2e-5 * np.abs(M).max() + 1e-6)


def test_a_fold_without_statistics_names_its_command(decodable) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable(fit=GRIDS)
    tiles = fit.plan(study, shapes.read(study))
    with pytest.raises(MissingStore, match=r"brain_statistics/S1/VC/mean.npy does not exist.*python -m hpc_recon.fit"):
        fit.work(study, next(tile for tile in tiles if tile.stage == "folds"))
