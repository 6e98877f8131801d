"""Every estimator through stores: against dense numpy, or its own numerics; and decoding while fitting is the same."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core.sampling import seed_of
from hpc_recon.decoding import estimators, inputs, planning
from hpc_recon.numerics import ard, gradient, spatial_norm
from hpc_recon.numerics.stats import brain_statistics, standardise
from hpc_recon.stores import shapes

GRID = {"grid": [1.0, 30.0, 900.0]}
ONE_LAYER = {"net": {"architecture": "vgg11_quarter", "layers": ["fc"]}}
#: More stimuli than voxels (repeats), fewer samples than voxels, as many samples as stimuli.
DATA = {"N>D": {}, "N<D": {"n_voxels": 90, "repeats": 2}, "no repeats": {"n_voxels": 60, "repeats": 1}}
PUBLISHED = {"n_voxels": 8, "alpha": 0.5}
ESTIMATORS = {
    "ridge": {"n_voxels": 12, "alpha": 5.0},
    "ridge, intercept": {"n_voxels": 12, "alpha": 5.0, "penalize_bias": True},
    "ridge, grids": {"n_voxels": {"grid": [4, 12]}, "alpha": GRID, "folds": 3},
    "ridge, per unit": {"n_voxels": 12, "alpha": {**GRID, "per": "unit"}, "folds": 3},
    "all": {"n_voxels": "all", "alpha": 5.0},
    "all, grid": {"n_voxels": "all", "alpha": GRID, "folds": 3},
    "all, per unit": {"n_voxels": "all", "alpha": {**GRID, "per": "unit"}, "folds": 3},
    "all, intercept": {"n_voxels": "all", "alpha": 5.0, "penalize_bias": True},
    "ard": {"estimator": "ard", "n_voxels": 12, "ard": {"iterations": 20}},
    "std1": {**PUBLISHED, "spatial_norm": "std1"},
    "gradient": {"estimator": "gradient", "n_voxels": "all", "gradient": {"epochs": 3, "learning_rate": 1e-3}},
    "by session": {"n_voxels": 12, "alpha": 5.0, "statistics_by": "session"},
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("alpha", [5.0, {**GRID, "per": "layer"}, {**GRID, "per": "unit"}], ids=str)
def test_all_voxels_are_dense_ridge(decodable, run_verb, stored, oracle, data, alpha) -> None:
    from hpc_recon.core.files import read_json

    study, truth = decodable(fit={"n_voxels": "all", "alpha": alpha, "folds": 3}, data=DATA[data], networks=ONE_LAYER)
    run_verb(fit, study)
    run_verb(decode, study)
    got = stored(study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    used = alpha
    if isinstance(alpha, dict):
        choice = study.workspace / "choices/S1/VC/net/fc.json"
        used = got.decoder("alpha")[:, 0] if alpha["per"] == "unit" else read_json(choice)["alpha"]
    dense = oracle.ridge(X, Y, codes, alpha=used)
    weight = np.stack(dense.weight)
    np.testing.assert_array_equal(got.decoder("voxel"), np.stack(dense.voxel))
    np.testing.assert_allclose(got.decoder("weight"), weight, atol=2e-5 * np.abs(weight).max() + 2e-6)
    expected = np.stack([dense.bias, dense.y_mean, dense.y_scale], axis=1)
    np.testing.assert_allclose(got.decoder("stats"), expected, rtol=1e-5, atol=1e-5)
    for dataset in ("natural", "shapes"):
        predicted = dense.predict(truth.test("S1", "VC", dataset))
        np.testing.assert_allclose(got.decoded(dataset), predicted, rtol=1e-4, atol=1e-4)


def test_all_usable_voxels(decodable, run_verb, stored, oracle) -> None:
    study, truth = decodable(
        rois=["V1"], fit={"n_voxels": "all", "alpha": GRID, "folds": 3}, data={"constant_voxels": 3}, networks=ONE_LAYER
    )
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "V1", "fc")
    got, n = stored(study, roi="V1"), X.shape[1]
    assert (got.decoder("voxel") == [*range(3, n), *[65535] * 3]).all()
    assert not got.decoder("weight")[:, -3:].any()
    from hpc_recon.core.files import read_json

    alpha = read_json(study.workspace / "choices/S1/V1/net/fc.json")["alpha"]
    expected = oracle.ridge(X, Y, codes, alpha=alpha).predict(truth.test("S1", "V1", "natural"))
    np.testing.assert_allclose(got.decoded(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"update": "mackay", "iterations": 40}, {"prune_by": "weight"}], ids=str)
def test_sparse_decoders_are_those_of_numerics(decodable, run_verb, stored, options) -> None:
    section = {"estimator": "ard", "n_voxels": 12, "ard": {"iterations": 30, **options}}
    study, truth = decodable(fit=section, networks=ONE_LAYER)
    run_verb(fit, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    expected = ard.fit_units(
        brain_statistics(X, codes, n_stimuli=24),
        Y,
        n_voxels=12,
        options=ard.ArdOptions(**{"iterations": 30, **options}),
    )
    got = stored(study)
    np.testing.assert_array_equal(got.decoder("voxel"), expected.voxel)
    np.testing.assert_array_equal(got.decoder("weight"), expected.weight)
    table = np.stack([expected.bias, expected.y_mean, expected.y_scale], axis=1).astype(np.float32)
    np.testing.assert_array_equal(got.decoder("stats"), table)


@pytest.mark.parametrize(
    ("options", "by"),
    [({"n_voxels": 12}, "mean"), ({"n_voxels": "all", "alpha": GRID, "folds": 3, "out_of_fold": True}, "t")],
    ids=str,
)
def test_only_the_most_active_voxels_are_read(decodable, run_verb, stored, oracle, options, by) -> None:
    from hpc_recon.core.files import read_json

    section = {"alpha": 5.0, **options, "most_active": {"voxels": 15, "by": by}}
    study, truth = decodable(fit=section, networks=ONE_LAYER)
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    size = X.mean(0) if by == "mean" else X.mean(0) / X.std(0, ddof=1)
    active = np.sort(np.argsort(-size)[:15])
    grid = study.workspace / "choices/S1/VC/net/fc.json"
    alpha = read_json(grid)["alpha"] if study.fit.has_grids else 5.0
    k = None if options["n_voxels"] == "all" else 12
    dense = oracle.ridge(X[:, active], Y, codes, alpha=alpha, k=k)
    got = stored(study)
    np.testing.assert_array_equal(got.decoder("voxel")[:, : k or 15], active[np.stack(dense.voxel)])
    if k is None:
        assert set(got.decoder("voxel")[:, 15:].ravel()) <= {65535}
    predicted = dense.predict(truth.test("S1", "VC", "natural")[:, active])
    np.testing.assert_allclose(got.decoded(), predicted, rtol=1e-4, atol=1e-4)


def test_another_mask_is_another_fit(decodable) -> None:
    made = []
    for options in ({}, {"most_active": {"voxels": 15}}, {"most_active": {"voxels": 15, "by": "t"}}):
        study, _ = decodable(fit={"n_voxels": 12, **options}, networks=ONE_LAYER)
        made.append(fit.plan(study, shapes.read(study))[0].group.settings)
    assert len(set(made)) == 3


def test_trained_decoders_are_those_of_numerics(decodable, run_verb, stored, monkeypatch) -> None:
    """Each unit is trained as its number in the layer says, however few are read at a time."""
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 9)
    options = {"epochs": 4, "learning_rate": 1e-3, "batch": 11}
    section = {"estimator": "gradient", "n_voxels": "all", "gradient": options}
    study, truth = decodable(fit=section, networks=ONE_LAYER)
    tiles = run_verb(fit, study)
    assert {tile.stage for tile in tiles} == {"statistics", "fit"}
    X, Y, codes = truth.training("S1", "VC", "fc")
    seed = seed_of(study.seed, "gradient", "S1", "VC", "net", "fc")
    known = brain_statistics(X, codes, n_stimuli=24)
    schedule = gradient.Schedule(**options)
    expected = gradient.fit_units(X, codes, known, Y, schedule=schedule, n_units=30, seed=seed)
    np.testing.assert_array_equal(stored(study).decoder("weight"), expected.weight)
    np.testing.assert_array_equal(stored(study).decoder("stats")[:, 0], expected.bias)


def normalised(Z, norm):
    """FastL2LiR's spatial normalisation, one sample after the other."""
    rows = []
    for z in Z:
        m = z.mean()
        q = z - m if norm not in ("norm1", "norm2") else z
        size = {"norm1": np.abs(q).sum(), "norm2": np.sqrt(q @ q), "std1": np.sqrt(q @ q / (len(q) - 1))}
        q = q / size[norm.removesuffix("mean0")]
        rows.append(q + m if norm == "std1" else q)
    return np.array(rows)


@pytest.mark.parametrize("norm", spatial_norm.NORMS)
def test_spatially_normed_decoders(decodable, run_verb, stored, oracle, norm) -> None:
    """Against the system with a column of ones, for two units; constant voxels count in no pattern."""
    section = {"n_voxels": 500, "alpha": 0.05, "spatial_norm": norm}
    study, truth = decodable(fit=section, data={"constant_voxels": 3}, networks=ONE_LAYER)
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    mean, scale = oracle.moments(X.astype(np.float64))
    usable = np.flatnonzero(scale)
    assert len(usable) == 37
    y_mean, y_scale = oracle.moments(Y.astype(np.float64))
    Q = normalised(((X - mean) / np.where(scale > 0, scale, 1))[:, usable], norm)
    test = truth.test("S1", "VC", "natural")
    test = normalised(((test - mean) / np.where(scale > 0, scale, 1))[:, usable], norm)
    got = stored(study)
    for unit in (0, 17):
        y = ((Y[:, unit] - y_mean[unit]) / y_scale[unit])[codes]
        ones = np.hstack([Q, np.ones((len(Q), 1))])
        penalty = 0.05 * np.diag([*[1.0] * 37, 0.0])
        solution = np.linalg.solve(ones.T @ ones + penalty, ones.T @ y)
        np.testing.assert_array_equal(got.decoder("voxel")[unit], [*usable, *[65535] * 3])
        np.testing.assert_allclose(got.decoder("weight")[unit, :37], solution[:-1], rtol=2e-3, atol=2e-3)
        expected = (test @ solution[:-1] + solution[-1]) * y_scale[unit] + y_mean[unit]
        np.testing.assert_allclose(got.decoded()[:, unit], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "constant"),
    [*((name, 0) for name in ESTIMATORS), *((name, 3) for name in ("ridge", "std1", "ard", "all"))],
)
def test_stored_decoders_predict_the_bytes_of_decoding_while_fitting(
    decodable, run_verb, stored, tmp_path, name, constant
) -> None:
    options = {**ESTIMATORS[name], **({"n_voxels": 500} if constant and name in ("ridge", "std1", "ard") else {})}
    found = []
    for place, flag in (("stored", False), ("at once", True)):
        study, _ = decodable(
            workspace=str(tmp_path / place),
            fit={**options, "decode": flag},
            data={"constant_voxels": constant},
            networks=ONE_LAYER,
        )
        run_verb(fit, study)
        run_verb(decode, study)
        found.append(stored(study))
        assert (study.workspace / "decoders.zarr/S1/VC/net/fc/weight").exists() != flag
    two, one = found
    for dataset in ("natural", "shapes"):
        assert two.decoded(dataset).tobytes() == one.decoded(dataset).tobytes()
    assert two.decoder("stats").tobytes() == one.decoder("stats").tobytes()
    if "per unit" in name:
        assert two.decoder("alpha").tobytes() == one.decoder("alpha").tobytes()
    assert two.decoded().std(axis=0).max() > 0.1


def test_stored_maps_are_those_of_their_penalty(decodable, run_verb, oracle) -> None:
    study, truth = decodable(fit={"n_voxels": "all", "alpha": GRID, "folds": 3})
    run_verb(fit, study)
    X, _, codes = truth.training("S1", "VC", "fc")
    mean, scale = oracle.moments(X.astype(np.float64))
    Z = (X - mean) / scale
    S = (np.arange(24)[:, None] == codes) @ Z
    maps = estimators.stored_maps(study, "S1", "VC")
    assert maps.alphas == (1.0, 30.0, 900.0)
    items = standardise(truth.test("S1", "VC", "natural"), mean=mean, scale=scale, dtype="float32")
    both = maps.item_maps(items, [900.0, 1.0])
    for place, alpha in enumerate((900.0, 1.0)):
        M = np.linalg.solve(Z.T @ Z + alpha * np.eye(40), S.T)
        np.testing.assert_allclose(maps.shared_map(alpha), M, atol=1e-5)
        np.testing.assert_allclose(both.left[place], items @ M, atol=1e-4)
    with pytest.raises(ValueError, match="not in tuple"):
        maps.shared_map(2.0)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"n_voxels": 12, "alpha": 5.0}, estimators.Ridge),
        ({"n_voxels": "all", "alpha": 5.0}, estimators.AllVoxels),
        ({"estimator": "ard", "n_voxels": 12}, estimators.SparseBayes),
        ({"estimator": "gradient", "n_voxels": "all", "gradient": {"epochs": 1}}, estimators.Trained),
        ({**PUBLISHED, "spatial_norm": "norm2"}, estimators.SpatiallyNormed),
    ],
    ids=str,
)
def test_the_estimator_is_the_study_s(decodable, run_verb, options, kind) -> None:
    study, _ = decodable(fit=options, networks=ONE_LAYER)
    run_verb(fit, study)
    known, _ = inputs.brain_statistics(study, "S1", "VC")
    group = next(group for group, _, _ in planning.layer_groups(study, shapes.read(study)))
    assert type(estimators.estimator(study, group, known=known)) is kind
