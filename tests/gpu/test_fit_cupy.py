"""The same functions with cupy: results of the CPU within rounding, arrays that stay on the device."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.numerics import choice, corrections, cuda, decoder, folds, stats, voxels, xp
from hpc_recon.numerics.decoder import fit_decoder

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy():
    try:
        return xp.module("cupy")
    except StudyError as error:
        pytest.skip(f"needs a CUDA device and cupy: {error}")


def simulated(n_stimuli, n_voxels, repeats, *, n_units=300, dtype=np.float32):
    rng = np.random.default_rng(0)
    counts = {"none": np.ones(n_stimuli, int), "unbalanced": rng.integers(1, 5, n_stimuli)}[repeats]
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    latent = rng.normal(size=(n_stimuli, 10))
    Y = latent @ rng.normal(size=(10, n_units)) + rng.normal(size=(n_stimuli, n_units)) + 4
    X = latent[stimulus] @ rng.normal(size=(10, n_voxels)) + 2 * rng.normal(size=(len(stimulus), n_voxels)) + 30
    return X.astype(dtype), Y.astype(dtype), stimulus


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("repeats", ["none", "unbalanced"])
@pytest.mark.parametrize(("n_stimuli", "n_voxels", "k"), [(60, 150, 100), (200, 40, 25), (300, 120, 40)])
def test_decoders_equal_those_of_the_cpu(cupy, n_stimuli, n_voxels, k, repeats, dtype, tolerance) -> None:
    X, Y, stimulus = simulated(n_stimuli, n_voxels, repeats, dtype=dtype)
    X[:, 7] = 3.0
    Y[:, 5] = 0.1
    host = fit_decoder(X, Y, k, 10.0, stimulus=stimulus)
    device = fit_decoder(cupy.asarray(X), cupy.asarray(Y), k, 10.0, stimulus=cupy.asarray(stimulus))
    for field in dataclasses.fields(device):
        if field.name != "warnings":
            assert isinstance(getattr(device, field.name), cupy.ndarray), field.name
            assert getattr(device, field.name).dtype == getattr(host, field.name).dtype, field.name
    same = (device.voxel.get() == host.voxel).all(axis=1)
    assert same.mean() > (0.99 if dtype == np.float32 else 0.999)  # float32 ties within rounding may differ
    scale = np.linalg.norm(host.weight, axis=1, keepdims=True) + 1e-30
    assert (np.abs(device.weight.get() - host.weight) / scale)[same].max() < tolerance
    predicted = device.predict(cupy.asarray(X[:8]))
    assert isinstance(predicted, cupy.ndarray)
    errors = np.abs(predicted.get() - host.predict(X[:8]))[:, same] / Y.std(axis=0, ddof=1)[same].clip(1e-6)
    assert errors[:, Y.std(axis=0)[same] > 1e-6].max() < 2 * tolerance
    np.testing.assert_array_equal(predicted.get()[:, 5], dtype(0.1))


def test_statistics(cupy) -> None:
    X, _, stimulus = simulated(300, 1500, "unbalanced")
    host = stats.brain_statistics(X, stimulus)
    device = stats.brain_statistics(cupy.asarray(X), cupy.asarray(stimulus))
    np.testing.assert_allclose(device.mean.get(), host.mean, rtol=1e-12)
    np.testing.assert_allclose(device.scale.get(), host.scale, rtol=1e-12)
    np.testing.assert_allclose(device.sums.get(), host.sums, atol=1e-5)
    np.testing.assert_allclose(device.gram.get(), host.gram, atol=5e-3)  # of 700 on the diagonal, in float32
    np.testing.assert_array_equal(device.counts.get(), host.counts)


def test_ties_are_broken_as_on_the_cpu(cupy) -> None:
    score = np.random.default_rng(0).integers(-1, 4, (40, 60)).astype(np.float32)
    for k in (1, 13, 59, 60):
        np.testing.assert_array_equal(voxels.top_voxels(cupy.asarray(score), k).get(), voxels.top_voxels(score, k))
        np.testing.assert_array_equal(
            voxels.ranked_voxels(cupy.asarray(score), k).get(), voxels.ranked_voxels(score, k)
        )


def test_stored_decoders_predict_as_on_the_cpu(cupy) -> None:
    rng = np.random.default_rng(0)
    voxel = np.sort(rng.integers(0, 50, (300, 6)), axis=1).astype(np.uint16)
    voxel[:, 0] = 60
    voxel[:, -1] = 65535
    voxel = np.sort(voxel, axis=1)
    voxel[:, 1:-2] += np.arange(3, dtype=np.uint16) * 50  # distinct
    weight = rng.normal(size=voxel.shape).astype(np.float32)
    weight[:, -1] = 0
    table = rng.normal(size=(300, 3)).astype(np.float32)
    Z = rng.normal(size=(9, 250)).astype(np.float32)
    host = decoder.predict_units(Z, decoder.from_table(voxel, weight, table))
    parts = [cupy.asarray(array) for array in (voxel, weight, table)]
    device = decoder.predict_units(cupy.asarray(Z), decoder.from_table(*parts))
    np.testing.assert_allclose(device.get(), host, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.parametrize(
    ("n_stimuli", "n_voxels", "repeats", "k"),
    [(400, 900, "unbalanced", 500), (400, 200, "none", 97), (60, 150, "none", 100), (300, 1300, "unbalanced", 1024)],
    ids=["refined", "plain", "dual", "largest"],
)
def test_kernels_fit_as_the_cpu(cupy, n_stimuli, n_voxels, repeats, k, penalize_bias, dtype, tolerance) -> None:
    X, Y, stimulus = simulated(n_stimuli, n_voxels, repeats, dtype=dtype)
    X[:, 7], Y[:, 5] = 3.0, 0.1
    alpha = np.random.default_rng(1).choice([10.0, 100.0], Y.shape[1])
    host = decoder.fit_units(
        stats.brain_statistics(X, stimulus), Y, n_voxels=k, alpha=alpha, penalize_bias=penalize_bias
    )
    brain = stats.brain_statistics(cupy.asarray(X), cupy.asarray(stimulus))
    options = {"n_voxels": k, "alpha": cupy.asarray(alpha), "penalize_bias": penalize_bias}
    device = cuda.fit_units(brain, cupy.asarray(Y), **options)
    for field in dataclasses.fields(device):
        if field.name != "n_redone":
            assert isinstance(getattr(device, field.name), cupy.ndarray), field.name
            assert getattr(device, field.name).dtype == getattr(host, field.name).dtype, field.name
    same = (device.voxel.get() == host.voxel).all(axis=1)
    assert same.mean() > (0.9 if dtype == np.float32 else 0.999)  # products that differ in the last bit change ranks
    scale = np.linalg.norm(host.weight, axis=1, keepdims=True) + 1e-30
    assert (np.abs(device.weight.get() - host.weight) / scale)[same].max() < tolerance
    np.testing.assert_allclose(device.bias.get(), host.bias, atol=1e-6)
    assert not device.weight[5].any()
    again = cuda.fit_units(brain, cupy.asarray(Y), **options)
    for name in ("voxel", "weight", "bias"):
        np.testing.assert_array_equal(getattr(again, name).get(), getattr(device, name).get())
    Z = np.random.default_rng(2).normal(size=(50, n_voxels)).astype(dtype)
    on_host = decoder.UnitDecoders(*[getattr(device, f.name).get() for f in dataclasses.fields(device)[:-1]], 0)
    found = cuda.predict_units(cupy.asarray(Z), device).get()
    np.testing.assert_allclose(found, decoder.predict_units(Z, on_host), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_choose_as_the_cpu(cupy, dtype) -> None:
    rng = np.random.default_rng(0)
    usable = rng.random(11726) < 0.9
    for products in (rng.normal(size=(500, 11726)), rng.integers(-60, 60, (500, 11726))):
        voxel, rhs = cuda.select(cupy.asarray(products.astype(dtype)), cupy.asarray(usable.astype(np.uint8)), 500)
        expected = voxels.top_voxels(np.where(usable, np.abs(products.astype(dtype)), -1), 500)
        np.testing.assert_array_equal(voxel.get(), expected)
        np.testing.assert_array_equal(rhs.get(), np.take_along_axis(products.astype(dtype), expected, axis=1))


@pytest.mark.parametrize("k", [1, 31, 32, 33, 100, 128, 129, 500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_solve(cupy, k, dtype) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(k + 50, k + 20)).astype(dtype)
    gram = (Z.T @ Z).astype(dtype)
    gram = np.tril(gram) + np.tril(gram, -1).T
    n_units = 2000 if k < 200 else 700  # more than there are blocks
    voxel = np.sort(np.argsort(rng.random((n_units, k + 20)), axis=1)[:, :k], axis=1).astype(np.int32)
    rhs = rng.normal(size=(n_units, k)).astype(dtype)
    alpha = rng.choice([1.0, 30.0], n_units)
    weight, status = cuda.solve(*[cupy.asarray(a) for a in (gram, voxel, rhs, alpha)], refine_below=np.inf)
    assert not status.get().any()
    for j in (0, 1, n_units // 2, n_units - 1):
        system = gram[np.ix_(voxel[j], voxel[j])].astype(np.float64) + alpha[j] * np.eye(k)
        expected = np.linalg.solve(system, rhs[j].astype(np.float64))
        error = np.linalg.norm(weight[j].get() - expected) / np.linalg.norm(expected)
        assert error < (1e-10 if dtype == np.float64 else 5e-7)


def test_kernels_solve_again_in_double_what_fails(cupy) -> None:
    rng = np.random.default_rng(0)
    X = cupy.asarray(np.repeat(rng.normal(size=(300, 40)), 2, axis=1).astype(np.float32))
    Y = cupy.asarray(rng.normal(size=(300, 70)).astype(np.float32))
    brain = stats.brain_statistics(X)
    assert cuda.fit_units(brain, Y, n_voxels=80, alpha=1e-6).n_redone == 70
    with pytest.raises(DataError, match="too small for data of type float32"):
        cuda.fit_units(brain, Y, n_voxels=80, alpha=1e-30)


def test_choice(cupy) -> None:
    X, Y, stimulus = simulated(60, 80, "unbalanced", dtype=np.float64)
    options = {"n_voxels": [10, 40], "alphas": [1.0, 10.0, 100.0]}
    dealt = choice.deal_folds(len(Y), 3, seed=0)

    def chosen(X, Y, stimulus):
        found = folds.make_folds(X, stimulus, n_stimuli=len(Y), fold_of_stimulus=dealt)
        return choice.choose(found, Y, **options)

    host = chosen(X, Y, stimulus)
    device = chosen(cupy.asarray(X), cupy.asarray(Y), cupy.asarray(stimulus))
    np.testing.assert_allclose(device.explained_variance, host.explained_variance, atol=1e-8)
    np.testing.assert_allclose(device.correlation, host.correlation, atol=1e-8)
    assert (device.n_voxels, device.alpha) == (host.n_voxels, host.alpha)


def test_corrections(cupy) -> None:
    features = np.random.default_rng(0).normal(size=(3, 60)).astype(np.float32)
    mean = np.zeros(60)
    for method in corrections.COLUMN:
        host = corrections.per_item(features, (3, 4, 5), method=method, reference=2.0, unit_mean=mean)
        device = corrections.per_item(
            cupy.asarray(features), (3, 4, 5), method=method, reference=2.0, unit_mean=cupy.asarray(mean)
        )
        for a, b in zip(device, host, strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-10, atol=1e-12)


def test_the_verbs_compute_there(cupy, decodable, run_verb, monkeypatch, tmp_path) -> None:
    from hpc_recon import decode, fit
    from hpc_recon.stores import arrays, layout

    found = []
    for name in ("numpy", "cupy"):
        monkeypatch.setenv(xp.VARIABLE, name)
        study, _ = decodable(workspace=str(tmp_path / name), data={"n_training": 100})
        run_verb(fit, study)
        run_verb(decode, study)
        found.append(arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", "net", "conv")))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_mixing_libraries_is_refused(cupy) -> None:
    X, Y, _ = simulated(60, 20, "none", n_units=3)
    with pytest.raises(TypeError, match="cupy, numpy"):
        fit_decoder(cupy.asarray(X), Y, 5, 1.0)
