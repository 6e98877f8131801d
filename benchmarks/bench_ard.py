"""How long does the sparse Bayesian regression of one unit take, and how much less is that than the published way?

Fits units of a simulated brain (latent numbers of each stimulus, read out by a fifth of the voxels, with noise) with
`hpc_recon.numerics.ard`, and one of them with the published iterations on the samples themselves: with a pseudo-inverse
in each, as the published code, and with a Cholesky factor. These see the same voxels, run on one thread, and are taken
as if the threads shared the units perfectly. Seconds of a core are what a machine that is busy with other work lets one
compare. Needs `hpc_recon.numerics` and numpy (cupy) alone.

    python benchmarks/bench_ard.py --toy
    python benchmarks/bench_ard.py --threads 2 --output benchmarks/results/ard-2cores.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.linalg
from give import give
from threadpoolctl import threadpool_limits

from hpc_recon.core import threads
from hpc_recon.numerics import ard, ard_compiled, xp
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import brain_statistics, standardise

#: name: stimuli, repeats of each, voxels, voxels a unit, units
SIZES = {"1200 samples": (1200, 1, 2000, 500, 8), "6000 samples": (1200, 5, 2000, 500, 8)}
TOY = {"toy": (40, 3, 60, 30, 6), "toy without repeats": (60, 1, 80, 70, 6)}
ITERATIONS = (20, 200)
LATENT = 40


def simulated(n_stimuli, n_repeats, n_voxels, n_units):
    """Return raw samples, raw units (n_stimuli, n_units), and the stimulus of each sample."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_stimuli, LATENT))
    readout = rng.standard_normal((LATENT, n_voxels)) * (rng.random((LATENT, n_voxels)) < 0.2)
    stimulus = np.arange(n_stimuli * n_repeats) % n_stimuli
    X = latent[stimulus] @ readout + 3 * rng.standard_normal((len(stimulus), n_voxels))
    Y = latent @ rng.standard_normal((LATENT, n_units)) + rng.standard_normal((n_stimuli, n_units))
    return X.astype(np.float32), Y.astype(np.float32), stimulus


def pseudo_inverse(H):
    return np.linalg.pinv(H, hermitian=False)


def cholesky_inverse(H):
    factor = scipy.linalg.cho_factor(H, lower=True)
    return scipy.linalg.cho_solve(factor, np.eye(len(H)))


def published(X, y, *, iterations, inverse):
    """Return the weights of one unit by the published iterations; X (T, D) with the constant column, both branches."""
    T, D = X.shape
    used, a = np.arange(D), np.full(D, 1 / np.mean(X**2))
    x, gram = X, None
    for _ in range(iterations):
        xy = x.T @ y
        if len(used) > T:
            xc = (inverse((x * a) @ x.T + np.eye(T)) @ x).T
            w = a * xy - ((xy * a) @ xc) @ (x * a)
            g = a * (x.T * xc).sum(axis=1)
        else:
            gram = x.T @ x if gram is None else gram
            solved = inverse(gram + np.diag(1 / a))
            w = solved @ xy
            g = np.diag(gram @ solved)
        noise = (y @ y - w @ xy) / T
        a = np.sqrt(a * w**2 / (noise * np.maximum(g, 1e-15)))
        keep = a / a.max() > 1e-10
        used, a, w, x = used[keep], a[keep], w[keep], x[:, keep]
        gram = None if gram is None else gram[np.ix_(keep, keep)]
    weight = np.zeros(D)
    weight[used] = w
    return weight


def timed(function):
    """Return the result, the seconds, and the seconds of all cores that this process had of them."""
    begin, cores = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - begin, time.process_time() - cores


def measure(library, size, *, n_threads, with_pseudo_inverse):
    """Return milliseconds per unit of each way, for each number of iterations."""
    n_stimuli, n_repeats, n_voxels, k, n_units = size
    X, Y, stimulus = simulated(n_stimuli, n_repeats, n_voxels, n_units)
    brain = brain_statistics(library.asarray(X), library.asarray(stimulus), n_threads=n_threads)
    ours = library.asarray(Y)
    Z = standardise(X, mean=xp.to_numpy(brain.mean), scale=xp.to_numpy(brain.scale), dtype=np.float64)
    y = ((Y[:, 0] - Y[:, 0].mean(dtype=np.float64)) / Y[:, 0].std(ddof=1, dtype=np.float64))[stimulus]
    ways = {"published, Cholesky": cholesky_inverse}
    if with_pseudo_inverse:
        ways["published, pseudo-inverse"] = pseudo_inverse
    table = {}
    for iterations in ITERATIONS:
        options = ard.ArdOptions(iterations=iterations)

        def fit(options=options):
            fitted = ard.fit_units(brain, ours, n_voxels=k, options=options, n_threads=n_threads)
            return xp.to_numpy(fitted.voxel), xp.to_numpy(fitted.weight)

        if library is np:  # compiles, or reads what was compiled
            ard.fit_units(brain, ours[:, :1], n_voxels=k, options=ard.ArdOptions(iterations=1))
        runs = [timed(fit) for _ in range(2)]
        voxel, weight = runs[0][0]
        milliseconds = {"ard.fit_units": 1e3 * min(seconds for _, seconds, _ in runs) / n_units}
        of_a_core = {"ard.fit_units": 1e3 * min(seconds for _, _, seconds in runs) / n_units}
        design = np.column_stack([Z[:, voxel[0]], np.ones(len(Z))])
        differences = {}
        for name, inverse in ways.items():
            with threadpool_limits(1, user_api="blas"):
                w, seconds, cores = timed(
                    lambda i=inverse, n=iterations, d=design: published(d, y, iterations=n, inverse=i)
                )
            milliseconds[name], of_a_core[name] = 1e3 * seconds / n_threads, 1e3 * cores
            differences[name] = float(np.abs(weight[0] - w[:-1]).max() / np.abs(w).max())
        table[str(iterations)] = {
            "milliseconds_per_unit": {name: round(value, 2) for name, value in milliseconds.items()},
            "milliseconds_of_a_core_per_unit": {name: round(value, 2) for name, value in of_a_core.items()},
            "times_less_work_than": {name: round(of_a_core[name] / of_a_core["ard.fit_units"], 1) for name in ways},
            "largest_difference_of_weights": {name: float(f"{value:.1e}") for name, value in differences.items()},
            "voxels_left": round(float((weight != 0).sum(axis=1).mean()), 1),
            "projected_milliseconds_of_a_core_per_unit": round(1e3 * ard.ard_seconds(k, iterations), 2),
        }
    names = ("stimuli", "repeats", "voxels", "k", "units")
    return {"sizes": dict(zip(names, size, strict=True)), "iterations": table}


def steps(k):
    """Return milliseconds of one iteration of k voxels, and of its factorisation by halves and by LAPACK alone."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * k, k))
    gram, right = X.T @ X, rng.standard_normal(k)
    a, w, g = np.full(k, 0.5), np.empty(k), np.empty(k)
    B, V = np.empty((k, k)), np.empty((k, k))
    whole = np.asfortranarray(gram + np.eye(k))

    def halves():
        B[:] = whole
        assert not ard_compiled.factor_and_invert(B, V)

    def lapack_alone():
        factor, failed = scipy.linalg.lapack.dpotrf(whole, lower=0, clean=0)
        assert not failed
        scipy.linalg.lapack.dtrtri(factor, lower=0, overwrite_c=1)

    def best(function):
        return round(1e3 * min(timed(function)[1] for _ in range(40)), 3)

    def iterate():
        assert ard_compiled._posterior(gram, a, right, w, g, k, B, V, ard_compiled._tools())

    def all_of_them(_):
        return {
            "one iteration": best(
                lambda: ard_compiled._posterior(gram, a, right, w, g, k, B, V, ard_compiled._tools())
            ),
            "factor and inverse by halves": best(halves),
            "dpotrf and dtrtri": best(lapack_alone),
        }

    return for_each(all_of_them, [None], n_threads=1)[0]


def machine(library, n_threads):
    """Return what the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    names = ("hpc_recon", "numpy", "scipy", "cupy-cuda12x", "cupy-cuda13x")
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": n_threads,
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in names if name in installed},
        "commit": commit.stdout.strip() or "unknown",
        "xp": library.__name__,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, a second in all")
    parser.add_argument("--xp", default="auto", choices=xp.NAMES, help="array library (default: auto)")
    parser.add_argument("--threads", type=int, default=None, help="default: what the process may use")
    parser.add_argument("--without-pseudo-inverse", action="store_true", help="leave the slowest way out")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    options = parser.parse_args(argv)
    library, n_threads = xp.module(options.xp), options.threads or threads.available()
    results = {
        name: measure(library, size, n_threads=n_threads, with_pseudo_inverse=not options.without_pseudo_inverse)
        for name, size in (TOY if options.toy else SIZES).items()
    }
    one_thread = {str(k): steps(k) for k in ((30,) if options.toy else (100, 250, 500))}
    content = {"machine": machine(library, n_threads), "results": results, "milliseconds_on_one_thread": one_thread}
    return give(content, options.output)


if __name__ == "__main__":
    sys.exit(main())
