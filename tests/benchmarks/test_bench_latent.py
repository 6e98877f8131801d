from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.numerics import latent_scores

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_latent.py"


def _module():
    spec = importlib.util.spec_from_file_location("bench_latent", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_posterior_mean_that_learns_the_mapping_correlates_as_the_exact_one() -> None:
    """The weights integrated out: N(z; 0, 1) N(x; mean'z, noise^2 (1 + z'A^-1 z)), by importance sampling."""
    n, p, d, noise, rng = 60, 100, 8, 1.5, np.random.default_rng(0)
    z, mapping = rng.standard_normal((n + 60, d)), rng.standard_normal((d, p)) / np.sqrt(d)
    x = z @ mapping + noise * rng.standard_normal((n + 60, p))
    own = _module()._mapping_learned(z[:n], x[:n], x[n:], noise)
    inverse = np.linalg.inv(z[:n].T @ z[:n] + d * noise**2 * np.eye(d))
    weights = inverse @ (z[:n].T @ x[:n])
    spread = np.linalg.inv(np.eye(d) + weights @ weights.T / noise**2 / (1 + np.trace(inverse)))
    exact = np.empty_like(own)
    for i, item in enumerate(x[n:]):
        noises = rng.standard_normal((4000, d))
        drawn = own[i] + noises @ np.linalg.cholesky(1.3 * spread).T
        variance = noise**2 * (1 + np.einsum("ij,jk,ik->i", drawn, inverse, drawn))
        log = 0.5 * np.square(noises).sum(axis=1) - 0.5 * np.square(drawn).sum(axis=1)
        log -= 0.5 * (np.square(drawn @ weights - item).sum(axis=1) / variance + p * np.log(variance))
        share = np.exp(log - log.max())
        assert share.sum() ** 2 / np.square(share).sum() > 1000  # as good as so many independent draws
        exact[i] = share @ drawn / share.sum()
    r = [latent_scores.by_number(values, z[n:]).mean() for values in (own, exact)]
    assert r[0] == pytest.approx(r[1], abs=0.003)
    assert r[1] > 0.8


def test_at_toy_size(tmp_path, capsys) -> None:
    module = _module()
    assert module.main(["--toy", "--output", str(tmp_path / "latent.json")]) == 0
    content = json.loads((tmp_path / "latent.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    found = content["results"]["targets"]
    assert found["largest difference from scikit-learn"] == pytest.approx(
        0, abs=1e-3 * found["deviation of predictions"]
    )
    # Nothing is better than the posterior mean, but for the chance of 60 items.
    assert all(0.5 < own["ratio"] < 1.05 for own in content["results"]["bayes"].values())
    # Nor is ridge better than the posterior mean that learns the mapping, and that improves with more samples.
    assert all(0.5 < own["ratio to mapping learned"] < 1.02 for own in content["results"]["bayes"].values())
    for own in content["results"]["more_samples"].values():
        assert sorted(own.values()) == list(own.values())
        assert own["1920 samples"] > 0.98
    trained = content["results"]["gradient"]["noise 1"]
    assert trained["closed form"]["alpha"] == pytest.approx(0.01 * 120 * 10)
    assert trained["Adam, weights from +-0"]["r"] == pytest.approx(trained["closed form"]["r"], abs=0.05)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 4.0])
def test_ridge_is_near_the_posterior_mean_that_learns_the_mapping_at_every_noise(noise) -> None:
    """What ridge lacks of the posterior mean of a known mapping is what samples cannot tell, not what ridge does.

    That share falls with noise, and more samples give it back.
    """
    module, shares = _module(), []
    for n in (150, 1200):
        rng, d, p, n_test = np.random.default_rng(3), 10, 80, 500
        z, mapping = rng.standard_normal((n + n_test, d)), rng.standard_normal((d, p)) / np.sqrt(d)
        x = z @ mapping + noise * rng.standard_normal((n + n_test, p))
        known = x[n:] @ np.linalg.solve(mapping @ mapping.T + noise**2 * np.eye(d), mapping).T
        learned = module._mapping_learned(z[:n], x[:n], x[n:], noise)
        X, Y, test = x[:n].astype(np.float32), z[:n].astype(np.float32), x[n:].astype(np.float32)
        folds = np.arange(n) % 5
        errors = [
            sum(
                np.square(module._ridge(X[folds != f], Y[folds != f], X[folds == f], alpha, 1) - Y[folds == f]).sum()
                for f in range(5)
            )
            for alpha in (10.0, 100.0, 1000.0)
        ]
        ridge = module._ridge(X, Y, test, (10.0, 100.0, 1000.0)[int(np.argmin(errors))], 1)
        r = [latent_scores.by_number(values, z[n:]).mean() for values in (known, learned, ridge)]
        # Of few samples, the prior on the weights, which ridge does not know, tells a little more (.925 at noise 4).
        assert (0.9 if n == 150 else 0.95) * r[1] < r[2] < 1.01 * r[1]
        assert r[2] < 1.005 * r[0]
        shares.append(r[1] / r[0])
    assert shares[0] < shares[1]
    assert shares[1] > 0.95
