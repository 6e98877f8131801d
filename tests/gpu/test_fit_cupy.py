"""The same functions with cupy: results of the CPU within rounding, arrays that stay on the device."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.numerics import choice, corrections, decoder, stats, voxels, xp
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


def test_choice(cupy) -> None:
    X, Y, stimulus = simulated(60, 80, "unbalanced", dtype=np.float64)
    options = {"n_voxels": [10, 40], "alphas": [1.0, 10.0, 100.0], "n_folds": 3, "seed": 0}
    host = choice.choose(X, Y, stimulus=stimulus, **options)
    device = choice.choose(cupy.asarray(X), cupy.asarray(Y), stimulus=cupy.asarray(stimulus), **options)
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
