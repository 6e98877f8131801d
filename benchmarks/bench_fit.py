"""How many microseconds does one unit's decoder take, and where do they go?

Fits units to random brain samples at the sizes of the demo and of a published study, on numpy or cupy. Needs
`hpc_recon.numerics` alone: numpy, numba, and cupy or scipy and threadpoolctl; no stores, no cluster.

    python benchmarks/bench_fit.py --toy
    python benchmarks/bench_fit.py --xp cupy --output benchmarks/results/fit-h200.json
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
from give import give

from hpc_recon.core import threads
from hpc_recon.numerics import cuda, needs, xp
from hpc_recon.numerics.decoder import (
    UNIT_BLOCK,
    UnitDecoders,
    fit_units,
    predict_units,
    standardised_targets,
    voxel_products,
)
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.selection import strongest
from hpc_recon.numerics.stats import brain_statistics

#: name: samples, voxels, stimuli, units, voxels a unit
SIZES = {
    "demo": (4500, 4000, 900, 8192, 100),
    "published": (6000, 11726, 1200, 2048, 500),
}
TOY = {"toy": (150, 60, 50, 300, 10), "toy without repeats": (50, 60, 50, 300, 55)}
REPETITIONS = 3
#: A GPU fits this many times the units.
DEVICE_UNITS = 16


def timed(function, library):
    """Return the result of the last call and the seconds of the fastest; BLAS has one thread, as in a worker."""
    if library is not np:
        return _timed(function, library)
    return for_each(lambda _: _timed(function, library), [None], n_threads=1)[0]


def _timed(function, library):
    best = float("inf")
    for _ in range(REPETITIONS):
        begin = time.perf_counter()
        result = function()
        if library is not np:
            library.cuda.get_current_stream().synchronize()
        best = min(best, time.perf_counter() - begin)
    return result, best


def measure(library, size, *, n_threads):
    """Return seconds and microseconds per unit of each step, and the share of the machine's limit.

    The limit is the arithmetic of product and Cholesky factorisation, 2 n D + k^3 / 3 a unit with n stimuli and D
    voxels, at the rate of a large matrix product of the same threads, measured beside it.
    """
    n_samples, n_voxels, n_stimuli, n_units, k = size
    n_units *= 1 if library is np else DEVICE_UNITS
    rng = np.random.default_rng(0)
    X = library.asarray(rng.standard_normal((n_samples, n_voxels), dtype=np.float32))
    Y = library.asarray(rng.standard_normal((n_stimuli, n_units), dtype=np.float32))
    stimulus = library.asarray(np.arange(n_samples) % n_stimuli)
    Z = X[:26]
    square = X[: min(n_samples, n_voxels), : min(n_samples, n_voxels)].copy()
    brain, statistics = timed(lambda: brain_statistics(X, stimulus, n_threads=n_threads), library)
    _, multiplying = timed(lambda: square @ square, library)
    units, fitting = timed(lambda: fit_units(brain, Y, n_voxels=k, alpha=100.0, n_threads=n_threads), library)
    assert isinstance(units, UnitDecoders)
    _, predicting = timed(lambda: predict_units(Z, units, n_threads=n_threads), library)
    block = Y[:, :UNIT_BLOCK] if library is np else Y[:, : cuda.UNITS_AT_ONCE]
    targets, standardising = timed(lambda: standardised_targets(block, dtype=np.float32)[0], library)
    products, multiplying_targets = timed(lambda: voxel_products(brain, targets), library)
    if library is np:
        _, selecting = timed(lambda: strongest(products, brain.scale > 0, k), library)
    else:
        usable = (brain.scale > 0).astype(np.uint8)
        _, selecting = timed(lambda: cuda.select(products, usable, k), library)
    n_block = block.shape[1]
    per_unit = {
        "fit": fitting / n_units,
        "of which, on one thread: z-scoring": standardising / n_block,
        "product": multiplying_targets / n_block,
        "selection": selecting / n_block,
        "predict 26 items": predicting / n_units,
    }
    rate = 2 * len(square) ** 3 / multiplying  # of one thread; a GPU counts as one
    flops = 2 * n_stimuli * n_voxels + k**3 / 3
    projected = needs.fit_seconds(n_units, n_voxels=n_voxels, n_stimuli=n_stimuli, k=k, n_threads=n_threads)
    return {
        "sizes": dict(zip(("samples", "voxels", "stimuli", "units", "k"), (*size[:3], n_units, k), strict=True)),
        "statistics_seconds": round(statistics, 4),
        "microseconds_per_unit": {name: round(1e6 * seconds, 3) for name, seconds in per_unit.items()},
        "units_per_second": round(n_units / fitting),
        "product_gflops_per_thread": round(rate / 1e9, 1),
        "share_of_limit": round(flops * n_units / fitting / rate / (n_threads if library is np else 1), 3),
        "projected_microseconds_per_unit": round(1e6 * projected / n_units, 2),
    }


def machine(library, n_threads):
    """Return what the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    names = ("hpc_recon", "numpy", "scipy", "cupy-cuda12x", "cupy-cuda13x")
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    described = {
        "processor": platform.processor() or platform.machine(),
        "threads": n_threads,
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in names if name in installed},
        "commit": commit.stdout.strip() or "unknown",
        "xp": library.__name__,
    }
    if library is not np:
        described["device"] = library.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return described


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, a second in all")
    parser.add_argument("--xp", default="auto", choices=xp.NAMES, help="array library (default: auto)")
    parser.add_argument("--threads", type=int, default=None, help="default: what the process may use")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    options = parser.parse_args(argv)
    library, n_threads = xp.module(options.xp), options.threads or threads.available()
    results = {
        name: measure(library, size, n_threads=n_threads) for name, size in (TOY if options.toy else SIZES).items()
    }
    return give({"machine": machine(library, n_threads), "results": results}, options.output)


if __name__ == "__main__":
    sys.exit(main())
