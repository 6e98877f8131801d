"""How does ridge on all voxels, with each unit's penalty chosen by cross-validation, compare with himalaya?

Both choose among ten penalties for every unit by the same five folds, fit again on all samples and predict test items.
Ours starts from raw samples and z-scores them anew in each fold; theirs are given z-scored samples and units, once.
Where stimuli are repeated, ours takes them as they are and predicts held-out means, theirs needs expanded units.
himalaya runs in an environment of its own (benchmarks/peers/requirements-himalaya.txt) and in every form that suits the
sizes; the quickest counts. CPU seconds are given too: with one thread they say what the work costs on a busy machine.

    python benchmarks/bench_all_voxels.py --toy
    python benchmarks/bench_all_voxels.py --peer PYTHON --threads 2 --output benchmarks/results/all-voxels.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from give import give

from hpc_recon.core import threads
from hpc_recon.numerics.all_voxels import fold_errors, predict_items
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.factorisation import prepare, sample_statistics
from hpc_recon.numerics.stats import standardise

#: name: stimuli, samples of each, voxels, units, programs left out (unsuited to the shape, or minutes)
SIZES = {
    "1,200 x 4,000, 2,000 units": (1200, 1, 4000, 2000, ("RidgeCV", "sklearn")),
    "1,200 x 4,000, 20,000 units": (1200, 1, 4000, 20000, ("RidgeCV", "sklearn")),
    "600 stimuli x 5, 1,500 voxels, 4,000 units": (600, 5, 1500, 4000, ("KernelRidgeCV", "sklearn")),
}
TOY = {"toy": (40, 2, 30, 300, ()), "toy, dual": (40, 1, 90, 20, ())}
ALPHAS = np.logspace(1, 5.5, 10)
N_FOLDS = 5
N_TEST = 100
REPETITIONS = 2
PEER = Path(__file__).parent / "peers" / "himalaya_ridge.py"


def simulate(n_stimuli, repeats, n_voxels, n_units):
    """Return raw float32 samples, units, the stimulus of each sample, and test samples: shared signals and noise."""
    rng = np.random.default_rng(0)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    latent = rng.standard_normal((n_stimuli + N_TEST, 60), dtype=np.float32)
    readout = rng.standard_normal((60, n_voxels), dtype=np.float32) * (rng.random(n_voxels) < 0.5)
    shown = np.concatenate([latent[stimulus], latent[n_stimuli:]])
    X = shown @ readout + 8 * rng.standard_normal((len(shown), n_voxels), dtype=np.float32) + 100
    Y = latent[:n_stimuli] @ rng.standard_normal((60, n_units), dtype=np.float32)
    Y += rng.gamma(1.0, 3.0, n_units).astype(np.float32) * rng.standard_normal(Y.shape, dtype=np.float32)
    return X[: len(stimulus)], Y + 5, stimulus, X[len(stimulus) :]


def ours(X, Y, stimulus, test, *, fold, n_threads):
    """Return predictions of the test items, and the penalty of each unit."""
    errors = sum(
        fold_errors(X, Y, stimulus=stimulus, held_out=fold == f, alphas=ALPHAS, n_threads=n_threads)[0]
        for f in range(N_FOLDS)
    )
    alpha = ALPHAS[errors.argmin(axis=0)]
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    Z = standardise(test, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    shared = prepare(X, stimulus, brain, n_alphas=len(np.unique(alpha)), n_threads=n_threads)
    return predict_items(shared, brain, Z, Y, alpha=alpha, n_threads=n_threads), alpha


def theirs(python, X, Y, stimulus, test, *, fold, n_threads, skip):
    """Return the report, predictions on the scale of Y, and the penalty of each unit."""
    mean, scale = X.mean(0, dtype=np.float64), X.std(0, ddof=1, dtype=np.float64)
    y_mean, y_scale = Y.mean(0, dtype=np.float64), Y.std(0, ddof=1, dtype=np.float64)
    with tempfile.TemporaryDirectory() as folder:
        case, result = Path(folder, "case.npz"), Path(folder, "result.npz")
        Z, items = (((part - mean) / scale).astype(np.float32) for part in (X, test))
        T = ((Y - y_mean) / y_scale).astype(np.float32)
        np.savez(case, Z=Z, test=items, T=T, stimulus=stimulus, fold=fold, alphas=ALPHAS.astype(np.float32))
        limits = {name: str(n_threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [python, PEER, case, result, "--repetitions", str(REPETITIONS), "--skip", *skip]
        subprocess.run(command, check=True, env=os.environ | limits)
        stored = np.load(result)
        return json.loads(str(stored["report"])), stored["predicted"] * y_scale + y_mean, stored["alphas"]


def measure(size, *, n_threads, python):
    """Return seconds and, with a peer, the ratio and how far the predictions of units with the same penalty differ."""
    n_stimuli, repeats, n_voxels, n_units, skip = size
    X, Y, stimulus, test = simulate(n_stimuli, repeats, n_voxels, n_units)
    fold = deal_folds(n_stimuli, N_FOLDS, seed=0)
    seconds = cpu = np.inf
    for _ in range(REPETITIONS):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        predicted, alpha = ours(X, Y, stimulus, test, fold=fold, n_threads=n_threads)
        cpu = min(cpu, time.process_time() - begin_cpu)
        seconds = min(seconds, time.perf_counter() - begin)
    result = {
        "sizes": dict(zip(("stimuli", "samples of each", "voxels", "units"), size[:4], strict=True)),
        "seconds": {"ours": round(seconds, 3)},
        "CPU seconds": {"ours": round(cpu, 3)},
        "units at each penalty": [int((alpha == a).sum()) for a in ALPHAS],
    }
    if python is None:
        return result
    report, other, chosen = theirs(python, X, Y, stimulus, test, fold=fold, n_threads=n_threads, skip=skip)
    result["seconds"] |= {name: round(value, 3) for name, value in report["seconds"].items()}
    result["CPU seconds"] |= {name: round(value, 3) for name, value in report["cpu"].items()}
    result["peer versions"] = report["versions"]
    same = np.isclose(chosen, alpha, rtol=1e-5)
    return result | {
        "quickest himalaya": report["quickest"],
        "theirs / ours": round(report["seconds"][report["quickest"]] / seconds, 2),
        "theirs / ours, least CPU": round(
            min(v for n, v in report["cpu"].items() if n.startswith("himalaya")) / cpu, 2
        ),
        "units with the same penalty": f"{int(same.sum())} of {n_units}",
        "largest difference of their predictions, of a unit's SD": float(
            (np.abs(other - predicted) / Y.std(0, ddof=1))[:, same].max()
        ),
    }


def machine(n_threads):
    """Return what the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": n_threads,
        "load before": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "scipy")},
        "commit": commit.stdout.strip() or "unknown",
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, a second in all")
    parser.add_argument("--only", default="", help="sizes whose name contains this text")
    parser.add_argument("--peer", default=None, help="interpreter that has himalaya (default: ours alone)")
    parser.add_argument("--threads", type=int, default=None, help="default: what the process may use")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    options = parser.parse_args(argv)
    n_threads = options.threads or threads.available()
    sizes, described = TOY if options.toy else SIZES, machine(n_threads)
    results = {
        name: measure(size, n_threads=n_threads, python=options.peer)
        for name, size in sizes.items()
        if options.only in name
    }
    return give({"machine": described, "results": results}, options.output)


if __name__ == "__main__":
    sys.exit(main())
