"""How near does ridge on all voxels come to the Bayes posterior mean of latents, and what do many targets cost?

Two questions. `bayes`: standard normal latents (as many as HYPER's), a brain that is linear in them with a known
mapping and noise; r of each number over test items by ridge (penalty by five folds), by the posterior mean that knows
mapping and noise, and their ratio. `targets`: latents of many numbers (as those of hierarchical autoencoders), made
tile by tile so that they are never all in memory: one factorisation, then the seconds of each target and the peak of
memory, and predictions against scikit-learn's Ridge on a slice.

    python benchmarks/bench_latent.py --toy
    python benchmarks/bench_latent.py bayes targets --output benchmarks/results/latent.json
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
from give import give
from sklearn.linear_model import Ridge

from hpc_recon.numerics import latent_scores
from hpc_recon.numerics.all_voxels import fold_errors, predict_items
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.factorisation import prepare, sample_statistics
from hpc_recon.numerics.stats import standardise

ALPHAS = np.logspace(0, 6, 13)
N_FOLDS = 5
#: samples, voxels, numbers of a latent, test items; noise relative to the signal of a voxel
BAYES = {False: (1050, 4096, 512, 400), True: (120, 200, 10, 60)}
NOISE = (0.5, 1.0, 2.0, 4.0)
#: samples, voxels, targets that are computed, targets of the whole job, targets at a time; scikit-learn's slice
TARGETS = {False: (8859, 15_724, 4096, 91_168, 2048, 256), True: (60, 90, 64, 200, 32, 16)}


def bayes(toy: bool, n_threads: int) -> dict[str, object]:
    """Return the mean over numbers of the latent of r, by noise."""
    n, p, d, n_test = BAYES[toy]
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n + n_test, d))
    mapping = rng.standard_normal((d, p)) / np.sqrt(d)
    found = {}
    for noise in NOISE:
        x = z @ mapping + noise * rng.standard_normal((n + n_test, p))
        best = latent_scores.by_number(
            x[n:] @ np.linalg.solve(mapping @ mapping.T + noise**2 * np.eye(d), mapping).T, z[n:]
        )
        started = time.perf_counter()
        X, Y, stimulus = x[:n].astype(np.float32), z[:n].astype(np.float32), np.arange(n)
        fold = deal_folds(n, N_FOLDS, seed=0)
        errors = sum(
            fold_errors(X, Y, stimulus=stimulus, held_out=fold == f, alphas=ALPHAS, n_threads=n_threads)[0]
            for f in range(N_FOLDS)
        )
        alpha = float(ALPHAS[np.asarray(errors).sum(axis=1).argmin()])
        predicted = _ridge(X, Y, x[n:].astype(np.float32), alpha, n_threads)
        own = latent_scores.by_number(predicted, z[n:])
        found[f"noise {noise:g}"] = {
            "posterior mean": float(best.mean()),
            "ridge": float(own.mean()),
            "ratio": float(own.mean() / best.mean()),
            "alpha": alpha,
            "seconds": time.perf_counter() - started,
        }
    return found


def _ridge(X, Y, test, alpha, n_threads):
    """Return predictions of test items, all voxels."""
    stimulus = np.arange(len(X))
    brain = sample_statistics(X, stimulus, n_stimuli=len(X))
    shared = prepare(X, stimulus, brain, n_alphas=1, n_threads=n_threads)
    Z = standardise(test, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    return predict_items(shared, brain, Z, Y, alpha=alpha, n_threads=n_threads)


def targets(toy: bool, n_threads: int) -> dict[str, object]:
    """Return seconds of the one factorisation and of a target, the whole job from these, peak memory, and agreement."""
    n, p, n_computed, n_whole, at_once, n_slice = TARGETS[toy]
    rng, alpha, n_test = np.random.default_rng(0), 1e3, 50
    shown = rng.standard_normal((n + n_test, 40), dtype=np.float32)
    x = shown @ rng.standard_normal((40, p), dtype=np.float32)
    x += 5 * rng.standard_normal(x.shape, dtype=np.float32)
    X, test, stimulus = x[:n], x[n:], np.arange(n)

    def tile(first):
        own = np.random.default_rng(first)
        made = shown[:n] @ own.standard_normal((40, at_once), dtype=np.float32)
        return made + 3 * own.standard_normal(made.shape, dtype=np.float32)

    started = time.perf_counter()
    brain = sample_statistics(X, stimulus, n_stimuli=n)
    shared = prepare(X, stimulus, brain, n_alphas=1, n_threads=n_threads)
    Z = standardise(test, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    maps = shared.item_maps(Z, [alpha])
    factorised, computing, first_tile = time.perf_counter() - started, 0.0, None
    for first in range(0, n_computed, at_once):
        Y = tile(first)
        started = time.perf_counter()
        mean, scale = Y.mean(axis=0), Y.std(axis=0, ddof=1)
        predicted = maps.predict(np.ascontiguousarray(((Y - mean) / scale).T))[0] * scale + mean
        computing += time.perf_counter() - started
        first_tile = predicted if first_tile is None else first_tile
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    each = computing / n_computed
    Y = tile(0)[:, :n_slice]
    started = time.perf_counter()
    z = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, ddof=1, dtype=np.float64)
    zt = (test - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, ddof=1, dtype=np.float64)
    known = Ridge(alpha=alpha, solver="cholesky").fit(z, Y.astype(np.float64)).predict(zt)
    theirs = time.perf_counter() - started
    return {
        "samples, voxels": [n, p],
        "seconds of the factorisation": factorised,
        "seconds a target": each,
        "seconds of all targets, from these": factorised + each * n_whole,
        "targets": n_whole,
        "peak MiB of the process": peak / 2**20,
        "largest difference from scikit-learn": float(np.abs(first_tile[:, :n_slice] - known).max()),
        "deviation of predictions": float(known.std()),
        "scikit-learn, seconds of a slice": {"targets": n_slice, "seconds": theirs},
    }


def main(argv=None):
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="bayes|targets")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    functions = {"bayes": bayes, "targets": targets}
    results = {name: functions[name](arguments.toy, arguments.threads) for name in arguments.what or functions}
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    return give({"about": about, "results": results}, arguments.output)


if __name__ == "__main__":
    raise SystemExit(main())
