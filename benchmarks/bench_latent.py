"""How near does ridge on all voxels come to the Bayes posterior mean of latents, and what do many targets cost?

`bayes`: standard normal latents (as many as HYPER's), a brain that is linear in them with a known mapping and noise; r
of each number over test items by ridge (penalty by five folds), by the posterior mean that knows mapping and noise, and
their ratio; beside them the posterior mean that has to learn the mapping from the same samples and knows its prior.
`more_samples`: the last two, with up to 16 times the samples. `gradient`: HYPER's dense layer, trained by its schedule,
against its closed form. `targets`: latents of many numbers (as those of hierarchical autoencoders), made tile by tile
so that they are never all in memory: one factorisation, then all targets, their seconds and the peak of memory, and
predictions against scikit-learn's Ridge on a slice.

    python benchmarks/bench_latent.py --toy
    python benchmarks/bench_latent.py bayes targets --output benchmarks/results/latent.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from give import give
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from hpc_recon.numerics import gradient as trained
from hpc_recon.numerics import latent_scores
from hpc_recon.numerics.all_voxels import fold_errors, predict_items
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.decoder import predict_units
from hpc_recon.numerics.factorisation import prepare, sample_statistics
from hpc_recon.numerics.stats import mean_and_scale, standardise

ALPHAS = np.logspace(0, 6, 13)
N_FOLDS = 5
#: samples, voxels, numbers of a latent, test items; noise relative to the signal of a voxel
BAYES = {False: (1050, 4096, 512, 400), True: (120, 200, 10, 60)}
NOISE = (0.5, 1.0, 2.0, 4.0)
#: How many times the samples of `bayes`.
TIMES = (1, 4, 16)
#: samples, voxels, targets, targets at a time, scikit-learn's slice, test items
TARGETS = {False: (8859, 15_724, 91_168, 2048, 256, 982), True: (60, 90, 200, 32, 16, 20)}
PENALTY = 1e3


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
        learned = latent_scores.by_number(_mapping_learned(z[:n], x[:n], x[n:], noise), z[n:])
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
            "posterior mean, mapping learned": float(learned.mean()),
            "ridge": float(own.mean()),
            "ratio": float(own.mean() / best.mean()),
            "ratio to mapping learned": float(own.mean() / learned.mean()),
            "alpha": alpha,
            "seconds": time.perf_counter() - started,
        }
    return found


def _mapping_learned(z, x, test, noise):
    """Return the posterior mean of latents of test items where the mapping is learned from n samples.

    Its prior (independent normal weights of variance 1 / d) and the noise are known. Given the samples a voxel's
    weights are normal with mean A^-1 z'x and covariance noise^2 A^-1, A = z'z + d noise^2 I, so a test pattern has the
    variance noise^2 (1 + z*'A^-1 z*) about z* times the mean weights. That variance is taken at its expectation under
    the posterior of z*, found by a few rounds; then the posterior is normal.
    """
    d = z.shape[1]
    A = z.T @ z + d * noise**2 * np.eye(d)
    inverse = np.linalg.inv(A)
    weights = inverse @ (z.T @ x)  # (d, voxels)
    products, seen = weights @ weights.T, test @ weights.T
    variance = noise**2 * (1 + np.trace(inverse))
    for _ in range(20):
        precision = np.eye(d) + products / variance
        mean = np.linalg.solve(precision, seen.T / variance).T
        spread = np.einsum("ij,jk,ik->i", mean, inverse, mean).mean() + np.trace(np.linalg.solve(precision, inverse))
        variance = noise**2 * (1 + spread)
    return mean


def more_samples(toy: bool, n_threads: int) -> dict[str, object]:
    """Return r of the posterior mean with a learned mapping, relative to that of a known one, by samples and noise."""
    n, p, d, n_test = BAYES[toy]
    rng = np.random.default_rng(1)
    mapping = rng.standard_normal((d, p), dtype=np.float32) / np.sqrt(d, dtype=np.float32)
    most = n * max(TIMES)
    z = rng.standard_normal((most + n_test, d), dtype=np.float32)
    pure = z @ mapping
    found = {}
    for noise in NOISE:
        x = pure + np.float32(noise) * rng.standard_normal(pure.shape, dtype=np.float32)
        test, known = x[most:].astype(np.float64), mapping.astype(np.float64)
        best = test @ np.linalg.solve(known @ known.T + noise**2 * np.eye(d), known).T
        best = latent_scores.by_number(best, z[most:]).mean()
        own = {}
        for times in TIMES:
            learned = _mapping_learned(z[: n * times], x[: n * times], test, noise)
            own[f"{n * times} samples"] = float(latent_scores.by_number(learned, z[most:]).mean() / best)
        found[f"noise {noise:g}"] = own
    return found


def gradient(toy: bool, n_threads: int) -> dict[str, object]:
    """Return r of the dense layer of HYPER's schedule, of its closed form, and of ridge, at two levels of noise.

    Some units of the layer alone: they do not depend on one another.
    """
    n, p, d, n_test = BAYES[toy]
    n_units, epochs = (8, 40) if toy else (32, 1500)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n + n_test, d))
    mapping = rng.standard_normal((d, p)) / np.sqrt(d)
    found = {}
    with mock.patch.object(trained, "UNIT_BLOCK", n_units):  # no more units than are looked at
        for noise in NOISE[1:3]:
            x = z @ mapping + noise * rng.standard_normal((n + n_test, p))
            x = ((x - x[:n].mean(axis=0)) / x[:n].std(axis=0)).astype(np.float32)  # as maps of z-statistics are
            X, Y, test = x[:n], z[:n, :n_units].astype(np.float32), x[n:]
            brain = sample_statistics(X, np.arange(n), n_stimuli=n)
            Z = standardise(test, mean=brain.mean, scale=brain.scale, dtype=np.float32)
            own = {}
            for start in (0.07, 0.0):
                schedule = trained.Schedule(epochs=epochs, start=start)
                started = time.perf_counter()
                units = trained.fit_units(
                    X, np.arange(n), brain, Y, schedule=schedule, n_units=d, seed=0, n_threads=n_threads
                )
                seconds = time.perf_counter() - started
                r = latent_scores.by_number(predict_units(Z, units), z[n:, :n_units]).mean()
                own[f"Adam, weights from +-{start:g}"] = {"r": float(r), "seconds": seconds}
            for name, alpha in (("closed form", schedule.equivalent_alpha(n, d)), ("alpha 100", 100.0)):
                predicted = _ridge(X, Y, test, alpha, n_threads)
                r = latent_scores.by_number(predicted, z[n:, :n_units]).mean()
                own[name] = {"r": float(r), "alpha": alpha}
            found[f"noise {noise:g}"] = own
    return {"units": n_units, "of": d, "epochs": epochs, **found}


def _ridge(X, Y, test, alpha, n_threads):
    """Return predictions of test items, all voxels."""
    stimulus = np.arange(len(X))
    brain = sample_statistics(X, stimulus, n_stimuli=len(X))
    shared = prepare(X, stimulus, brain, n_alphas=1, n_threads=n_threads)
    Z = standardise(test, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    return predict_items(shared, brain, Z, Y, alpha=alpha, n_threads=n_threads)


def targets(toy: bool, n_threads: int) -> dict[str, object]:
    """Return seconds of the one factorisation and of a target, memory, and agreement; each part is a process alone."""
    n, p, n_targets, at_once, n_slice, n_test = TARGETS[toy]
    with tempfile.TemporaryDirectory() as folder:
        ours = _apart("ours", toy, n_threads, Path(folder) / "ours.npy")
        theirs = _apart("scikit-learn", toy, n_threads, Path(folder) / "theirs.npy")
        mine, known = (np.load(Path(folder) / f"{name}.npy") for name in ("ours", "theirs"))
    return {
        "samples, voxels, targets, test items": [n, p, n_targets, n_test],
        "targets at a time": at_once,
        "ours": ours,
        "scikit-learn": {"targets": n_slice, **theirs},
        "largest difference from scikit-learn": float(np.abs(mine - known).max()),
        "deviation of predictions": float(known.std()),
    }


def _apart(part: str, toy: bool, n_threads: int, output: Path) -> dict[str, float]:
    """Run one part in a process of its own, whose peak of memory is its alone."""
    size = ["--toy"] if toy else []
    command = [sys.executable, __file__, "--part", part, *size, "--threads", str(n_threads), "--output", str(output)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _brain_and_shown(toy: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return all samples (n + n_test, voxels) and the 40 numbers that they show, float32."""
    n, p, _, _, _, n_test = TARGETS[toy]
    rng = np.random.default_rng(0)
    shown = rng.standard_normal((n + n_test, 40), dtype=np.float32)
    x = shown @ rng.standard_normal((40, p), dtype=np.float32)
    for row in x:
        row += 5 * rng.standard_normal(p, dtype=np.float32)
    return x, shown


def _tile(shown: np.ndarray, first: int, at_once: int) -> np.ndarray:
    """Return some targets of the training samples (n, at_once) float32: never all of them at once."""
    rng = np.random.default_rng(first)
    made = shown @ rng.standard_normal((40, at_once), dtype=np.float32)
    made += 3 * rng.standard_normal(made.shape, dtype=np.float32)
    return made


def _part_of_ours(toy: bool, n_threads: int, output: Path) -> dict[str, float]:
    """Predict all targets; the slice goes to `output`."""
    n, _, n_targets, at_once, n_slice, _ = TARGETS[toy]
    x, shown = _brain_and_shown(toy)
    X, stimulus, seconds = x[:n], np.arange(n), {}
    started = time.perf_counter()
    brain = sample_statistics(X, stimulus, n_stimuli=n)
    seconds["statistics"] = time.perf_counter() - started
    started = time.perf_counter()
    shared = prepare(X, stimulus, brain, n_alphas=1, n_threads=n_threads)
    seconds["Gram matrix"] = time.perf_counter() - started
    Z = standardise(x[n:], mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    started = time.perf_counter()
    maps = shared.item_maps(Z, [PENALTY])
    seconds["factorisation and test items"] = time.perf_counter() - started
    making, computing = 0.0, 0.0
    for first in range(0, n_targets, at_once):
        started = time.perf_counter()
        Y = _tile(shown[:n], first, min(at_once, n_targets - first))
        made = time.perf_counter()
        mean, scale = mean_and_scale(Y)
        predicted = maps.predict(standardise(Y, mean=mean, scale=scale, dtype=np.float32).T)[0] * scale + mean
        computing, making = computing + time.perf_counter() - made, making + made - started
        if first == 0:
            np.save(output, predicted[:, :n_slice])
    seconds["all targets"] = computing
    predicting = _peak_mib()
    started = time.perf_counter()
    M = shared.shared_map(PENALTY)
    seconds["weights: map, once"] = time.perf_counter() - started
    started = time.perf_counter()
    mean, scale = mean_and_scale(Y)
    weights = standardise(Y, mean=mean, scale=scale, dtype=np.float32).T @ M.T
    seconds["weights: a target"] = (time.perf_counter() - started) / len(weights)
    return {
        **{f"seconds, {name}": value for name, value in seconds.items()},
        "milliseconds a target": 1e3 * computing / n_targets,
        "seconds, making the targets (not counted)": making,
        "peak MiB, predictions": predicting,
        "peak MiB, weights too": _peak_mib(),
    }


def _part_of_scikit_learn(toy: bool, n_threads: int, output: Path) -> dict[str, float]:
    """Predict the slice."""
    n, _, n_targets, at_once, n_slice, _ = TARGETS[toy]
    x, shown = _brain_and_shown(toy)
    Y = _tile(shown[:n], 0, min(at_once, n_targets))[:, :n_slice].astype(np.float64)
    Z = np.empty(x.shape)
    for first in range(0, x.shape[1], 1024):  # column by column: no copy of the whole
        own = x[:, first : first + 1024].astype(np.float64)
        Z[:, first : first + 1024] = (own - own[:n].mean(axis=0)) / own[:n].std(axis=0, ddof=1)
    del x
    started = time.perf_counter()
    with threadpool_limits(n_threads):
        predicted = Ridge(alpha=PENALTY, solver="cholesky").fit(Z[:n], Y).predict(Z[n:])
    seconds = time.perf_counter() - started
    np.save(output, predicted)
    return {"seconds": seconds, "milliseconds a target": 1e3 * seconds / n_slice, "peak MiB": _peak_mib()}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


_PARTS = {"ours": _part_of_ours, "scikit-learn": _part_of_scikit_learn}


def main(argv=None):
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="bayes|more_samples|gradient|targets")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.part is not None:
        return give(_PARTS[arguments.part](arguments.toy, arguments.threads, arguments.output))
    functions = {"bayes": bayes, "more_samples": more_samples, "gradient": gradient, "targets": targets}
    results = {name: functions[name](arguments.toy, arguments.threads) for name in arguments.what or functions}
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    return give({"about": about, "results": results}, arguments.output)


if __name__ == "__main__":
    raise SystemExit(main())
