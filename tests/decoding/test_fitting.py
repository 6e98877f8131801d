"""Tiles of `fit` and `out_of_fold`: streamed in blocks, errors of the reader, predictions of unseen stimuli."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.core import receipts
from hpc_recon.core.errors import ChangedStudy, DamagedStore
from hpc_recon.core.sampling import seed_of
from hpc_recon.decoding import fitting, inputs, planning
from hpc_recon.numerics import out_of_fold
from hpc_recon.stores import shapes

GRID = {"grid": [1.0, 30.0, 900.0]}
ONE_LAYER = {"net": {"architecture": "vgg11_quarter", "layers": ["fc"]}}
FIXED = {"n_voxels": 12, "alpha": 5.0, "folds": 3, "out_of_fold": True}
GRIDS = {**FIXED, "n_voxels": {"grid": [4, 12]}, "alpha": GRID}


@pytest.mark.parametrize(
    "options",
    [
        {"n_voxels": 12, "alpha": 5.0},
        {"n_voxels": 12, "alpha": 5.0, "decode": True},
        {"n_voxels": 12, "alpha": {**GRID, "per": "unit"}, "folds": 3},
        {"n_voxels": "all", "alpha": 5.0},
        {"n_voxels": 8, "alpha": 0.5, "spatial_norm": "norm1"},
        FIXED,
    ],
    ids=str,
)
def test_blocks_do_not_change_a_byte(decodable, run_verb, monkeypatch, options) -> None:
    study, _ = decodable(fit=options)
    run_verb(fit, study)
    before = receipts.records(study.workspace, "fit")
    assert any("decod" in path for path in before)
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 9)
    asked = []
    original = inputs.features

    def noted(study, group, rows, units, start, stop):
        asked.append((start, stop))
        return original(study, group, rows, units, start, stop)

    monkeypatch.setattr(inputs, "features", noted)
    run_verb(fit, study)
    assert receipts.records(study.workspace, "fit") == before
    assert asked[:12] == [(start, min(start + 9, 100)) for start in range(0, 100, 9)]


def test_blocks_of_a_tile_are_its_units_in_order(decodable, run_verb, monkeypatch) -> None:
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 16)
    study, truth = decodable(units={"every": 3})
    tiles = run_verb(fit, study)
    _, rows = inputs.brain_statistics(study, "S1", "VC")
    tile = next(tile for tile in tiles if tile.group.path[-1] == "conv")
    found = list(fitting.blocks(study, tile, rows))
    assert [(units.start, units.stop) for units, _ in found] == [(0, 16), (16, 32), (32, 34)]
    whole = np.concatenate([Y for _, Y in found], axis=1)
    np.testing.assert_array_equal(whole, truth.features["conv"][truth.dataset == "training"][:, ::3])


@pytest.mark.parametrize("at_once", [9, 4096])
def test_a_shard_that_is_gone_is_the_store_s_error(decodable, run_verb, monkeypatch, at_once) -> None:
    """Also where the block is read while another one is fitted."""
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", at_once)
    study, _ = decodable()
    tiles = run_verb(fit, study)
    next(iter((study.workspace / "features.zarr/net/fc").rglob("c/*/0"))).unlink()
    tile = next(tile for tile in tiles if tile.group.path[-1] == "fc")
    with pytest.raises(DamagedStore, match=r"features.zarr/net/fc.*python -m hpc_recon.extract"):
        fit.work(study, tile)


def test_an_error_of_a_later_block_is_raised_too(decodable, run_verb, monkeypatch) -> None:
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 9)
    study, _ = decodable()
    tiles = run_verb(fit, study)
    original = inputs.features

    def failing(study, group, rows, units, start, stop):
        if start >= 18:
            raise DamagedStore(f"the shard of unit {start} is gone")
        return original(study, group, rows, units, start, stop)

    monkeypatch.setattr(inputs, "features", failing)
    with pytest.raises(DamagedStore, match="the shard of unit 18 is gone"):
        fit.work(study, tiles[-1])


@pytest.mark.parametrize(
    ("samples", "values"), [({"session": [1, 2]}, (1, 2)), ({"session": [3]}, (3,)), ({"session": [2, 9.5]}, (2,))]
)
def test_only_admitted_samples_train(decodable, run_verb, stored, oracle, samples, values) -> None:
    from hpc_recon.numerics.decoder import fit_decoder

    study, truth = decodable(fit={"n_voxels": 12, "alpha": 5.0, "samples": samples}, networks=ONE_LAYER)
    run_verb(fit, study)
    X, rows = truth.brain["S1", "training"]
    kept = np.isin(truth.session["S1"], values)
    distinct, codes = np.unique(rows[kept], return_inverse=True)
    Y = truth.features["fc"][distinct]
    expected = fit_decoder(X[kept], Y, 12, 5.0, stimulus=codes)
    got = stored(study)
    np.testing.assert_array_equal(got.decoder("voxel"), expected.voxel)
    np.testing.assert_array_equal(got.decoder("weight"), expected.weight)
    dense = oracle.ridge(X[kept], Y, codes, alpha=5.0, k=12)
    np.testing.assert_allclose(got.decoder("weight"), np.stack(dense.weight), atol=2e-5)
    assert got.statistics("rows").tolist() == distinct.tolist()


def predictions(truth, oracle, dealt, settings):
    """Return what decoders without each fold predict for it; settings are (k, alpha) of each fold."""
    X, Y, codes = truth.training("S1", "VC", "fc")
    expected = np.empty(Y.shape)
    for fold, (k, alpha) in enumerate(settings):
        held = dealt == fold
        X1, Y1, codes1, test = oracle.without(X, Y, codes, held)
        expected[held] = oracle.ridge(X1, Y1, codes1, alpha=alpha, k=k).predict(test)
    return expected, Y


@pytest.mark.parametrize("options", [FIXED, {**FIXED, "decode": True}, GRIDS], ids=["fixed", "while fitting", "grids"])
def test_out_of_fold_predictions(decodable, run_verb, stored, oracle, options) -> None:
    study, truth = decodable(fit=options, networks=ONE_LAYER)
    run_verb(fit, study)
    got, settings = stored(study), [(12, 5.0)] * 3
    if options is GRIDS:
        chosen = json.loads((study.workspace / "choices/S1/VC/_out_of_fold/net/fc.json").read_text())
        settings = [(one["n_voxels"], one["alpha"]) for one in chosen]
        assert {alpha for _, alpha in settings} <= set(GRID["grid"])
    expected, Y = predictions(truth, oracle, oracle.dealt(study, 24), settings)
    np.testing.assert_allclose(got.out_of_fold(), expected, rtol=1e-3, atol=1e-3)
    direct = out_of_fold.predict_chosen(inputs.folds(study, "S1", "VC"), Y, settings=settings)
    np.testing.assert_array_equal(got.out_of_fold(), direct.predictions)
    stats = np.stack([direct.residual_variance, direct.correlation], axis=1).astype(np.float32)
    np.testing.assert_array_equal(got.out_of_fold("stats"), stats)
    np.testing.assert_allclose(got.out_of_fold("stats")[:, 0], ((Y - expected) ** 2).mean(0), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("alpha", "data"), [(5.0, {}), (GRID, {"n_voxels": 90, "repeats": 1}), (GRID, {"constant_voxels": 3})], ids=str
)
def test_out_of_fold_predictions_of_all_voxels(decodable, run_verb, stored, oracle, alpha, data) -> None:
    """Against scikit-learn, refitted for each fold with the penalty that was chosen without it."""
    from sklearn.linear_model import Ridge

    section = {"n_voxels": "all", "alpha": alpha, "folds": 3, "out_of_fold": True}
    study, truth = decodable(fit=section, data=data, networks=ONE_LAYER)
    run_verb(fit, study)
    got, (X, Y, codes) = stored(study), truth.training("S1", "VC", "fc")
    dealt, expected = oracle.dealt(study, 24), np.empty(Y.shape)
    for fold in range(3):
        held = dealt == fold
        X1, Y1, codes1, test = oracle.without(X, Y, codes, held)
        used = alpha if alpha != GRID else nested(X1, Y1, codes1, dealt[~held], oracle)
        (mean, scale), (y_mean, y_scale) = oracle.moments(X1.astype(float)), oracle.moments(Y1.astype(float))
        Z, new = ((x - mean) / np.where(scale > 0, scale, np.inf) for x in (X1, test))
        own = Ridge(alpha=used).fit(Z, ((Y1 - y_mean) / np.where(y_scale > 0, y_scale, np.inf))[codes1])
        expected[held] = own.predict(new) * y_scale + y_mean
    np.testing.assert_allclose(got.out_of_fold(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got.out_of_fold("stats")[:, 0], ((Y - expected) ** 2).mean(0), rtol=1e-3, atol=1e-6)
    assert got.out_of_fold("stats")[:, 1].mean() > 0.2


def test_out_of_fold_predictions_of_a_trained_layer(decodable, run_verb, stored, oracle, monkeypatch) -> None:
    """Against the layer trained by torch's Adam on the samples outside each fold, however few units are read."""
    import torch

    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 9)
    options = {"epochs": 3, "learning_rate": 1e-3, "batch": 11, "inputs": "z_scored"}
    section = {"estimator": "gradient", "n_voxels": "all", "gradient": options, "folds": 3, "out_of_fold": True}
    study, truth = decodable(fit=section, networks=ONE_LAYER)
    run_verb(fit, study)
    got, (X, Y, codes) = stored(study).out_of_fold(), truth.training("S1", "VC", "fc")
    dealt, expected = oracle.dealt(study, 24), np.empty(Y.shape)
    seed = seed_of(study.seed, "gradient", "S1", "VC", "net", "fc")
    for fold in range(3):
        held = dealt == fold
        X1, Y1, codes1, test = oracle.without(X, Y, codes, held)
        mean, scale = oracle.moments(X1.astype(float))
        Z, new = (torch.from_numpy((x - mean) / np.where(scale > 0, scale, np.inf)) for x in (X1, test))
        layer = torch.nn.Linear(Z.shape[1], 30, dtype=torch.float64)
        begun = [np.random.default_rng([seed, unit]).uniform(-0.07, 0.07, Z.shape[1]) for unit in range(30)]
        layer.weight.data, layer.bias.data = torch.from_numpy(np.stack(begun)), torch.zeros(30, dtype=torch.float64)
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3, weight_decay=0.01)
        wanted, order = torch.from_numpy(Y1[codes1].astype(float)), np.random.default_rng(seed)
        for _ in range(3):
            rows = order.permutation(len(Z))
            for start in range(0, len(rows), 11):
                own = rows[start : start + 11]
                adam.zero_grad()
                (0.5 * (layer(Z[own]) - wanted[own]).square().mean()).backward()
                adam.step()
        expected[held] = layer(new).detach().numpy()
    varies = np.delete(np.arange(30), 3)  # a constant unit is predicted by its mean
    np.testing.assert_allclose(got[:, varies], expected[:, varies], rtol=1e-3, atol=1e-4)


def nested(X, Y, codes, dealt, oracle):
    """Return the penalty that the folds without the one that is left out choose."""
    errors, _ = oracle.validate(X, Y, codes, dealt=np.searchsorted(np.unique(dealt), dealt), alphas=GRID["grid"])
    return GRID["grid"][int(errors.sum(axis=1).argmin())]


@pytest.mark.parametrize("options", [FIXED, GRIDS], ids=["fixed", "grids"])
def test_a_held_out_stimulus_has_no_say_in_its_own_prediction(decodable, run_verb, stored, oracle, options) -> None:
    from hpc_recon.stores import arrays, layout

    study, truth = decodable(fit=options, networks=ONE_LAYER)
    run_verb(fit, study)
    before = stored(study).out_of_fold()
    held = oracle.dealt(study, 24) == 1
    changed = np.flatnonzero(truth.dataset == "training")[np.flatnonzero(held)[0]]
    truth.features["fc"][changed] += 7.0 * np.cos(np.arange(30))
    files = arrays.write(study.workspace, layout.features("net", "fc"), (0, 0), truth.features["fc"])
    files += [study.workspace / p for p in receipts.records(study.workspace, "extract", ["net", "fc"]) if "norms" in p]
    truth.receipt(("extract", "net", "fc"), files)
    run_verb(fit, study)
    after = stored(study).out_of_fold()
    assert after[held].tobytes() == before[held].tobytes()
    varies = np.delete(np.arange(30), 3)
    assert (np.abs(after[~held] - before[~held]).max(axis=0)[varies] > 1e-3).all()


def test_out_of_fold_predictions_of_a_subset(decodable, run_verb, stored) -> None:
    study, truth = decodable(fit={**FIXED, "samples": {"session": [1]}}, networks=ONE_LAYER)
    run_verb(fit, study)
    n = len(np.unique(truth.brain["S1", "training"][1][truth.session["S1"] == 1]))
    assert 6 < n < 24
    assert stored(study).out_of_fold().shape == (n, 30)


def test_arrays_are_made_once(decodable, run_verb) -> None:
    study, _ = decodable(fit=FIXED)
    run_verb(fit, study)
    before = receipts.records(study.workspace, "fit")
    fit.prepare(study)
    for path in before:
        assert (study.workspace / path).exists()
    group = next(planning.layer_groups(study, shapes.read(study)))[0]
    with pytest.raises(ChangedStudy, match="exists and differs"):
        fitting.create(study, group, k=11)
    with pytest.raises(ChangedStudy, match="exists and differs"):
        fitting.create_out_of_fold(study, planning.out_of_fold_group(study, group), n_stimuli=23)
