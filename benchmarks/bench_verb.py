"""How much slower than its kernel is the whole command `fit`, and what do two threads gain?

Makes stores of random data, fits all units from arrays in memory (the kernel), then runs `python -m hpc_recon.fit` on
the same stores, which reads feature shards, computes, and writes decoders. Kernel and command take turns.

    python benchmarks/bench_verb.py --toy
    python benchmarks/bench_verb.py --output benchmarks/results/verb.json

The stores take 1.3 GB below `--folder` (default: a temporary one), the decoders .3 GB, and are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_memory import make_stores, write_study
from give import give
from machine import machine

SIZE = {"n_voxels": 11_726, "n_stimuli": 1200, "repeats": 5, "k": 500, "n_units": 98_304}
TOY = {"n_voxels": 60, "n_stimuli": 20, "repeats": 2, "k": 10, "n_units": 300}
#: Units of the timed kernel: all units in blocks of this many, which is what a tile does too.
BLOCK = 4096


def kernel_seconds(study, *, n_threads, most_units=None):
    """Return the seconds of fitting every unit (or as many as `most_units`), features read beforehand."""
    from hpc_recon.decoding import inputs
    from hpc_recon.numerics.decoder import fit_units
    from hpc_recon.stores import arrays, layout

    brain, rows = inputs.brain_statistics(study, "S1", "VC")
    total = 0.0
    n_units = arrays.describe(study.workspace, layout.features("net", "fc")).shape[1]
    n_units = min(n_units, most_units or n_units)
    for start in range(0, n_units, BLOCK):
        Y = arrays.read(study.workspace, layout.features("net", "fc"), rows, slice(start, min(start + BLOCK, n_units)))
        begin = time.perf_counter()
        fit_units(brain, Y, n_voxels=study.fit.n_voxels, alpha=100.0, n_threads=n_threads)
        total += time.perf_counter() - begin
    return total


def command(study_file, *, cluster, only, redo):
    """Run `fit` and return its wall-clock seconds."""
    arguments = [
        "--study",
        str(study_file),
        "--cluster-file",
        str(cluster),
        "--only",
        only,
        *(["--redo"] if redo else []),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hpc_recon.fit", *arguments], check=True, capture_output=True, env=environment
    )
    return time.perf_counter() - begin


def tile_seconds(study):
    """Return the seconds that the tiles of stage `fit` took, from their receipts."""
    folder = study.workspace / "receipts/fit/S1/VC/net/fc"
    return sum(json.loads(path.read_text())["run"]["seconds"] for path in folder.glob("fit-*.json"))


def measure_at(folder, size, *, repetitions):
    """Return medians over the repetitions, for one and two threads."""
    study_file = folder / "study.yaml"
    study = write_study(study_file, folder / "runs", k=size["k"])
    make_stores(study.workspace, **size)
    clusters = {n: folder / f"threads{n}.yaml" for n in (1, 2)}
    for n, path in clusters.items():
        path.write_text(f"cluster: {{kind: local, jobs: '1', threads: {n}, dashboard: false}}\n")
    command(study_file, cluster=clusters[2], only="_brain", redo=False)
    kernel_seconds(study, n_threads=2, most_units=BLOCK)  # compiles
    found = {n: {"kernel": [], "command": [], "tiles": []} for n in clusters}
    for repetition in range(repetitions):
        for n, cluster in clusters.items():
            found[n]["kernel"].append(kernel_seconds(study, n_threads=n))
            redo = repetition > 0 or n > 1
            found[n]["command"].append(command(study_file, cluster=cluster, only="net/fc/fit", redo=redo))
            found[n]["tiles"].append(tile_seconds(study))
    medians = {n: {name: statistics.median(seconds) for name, seconds in own.items()} for n, own in found.items()}
    return {
        "size": size,
        "seconds": found,
        "median_seconds": medians,
        "command_over_kernel": {n: own["command"] / own["kernel"] for n, own in medians.items()},
        "tiles_over_kernel": {n: own["tiles"] / own["kernel"] for n, own in medians.items()},
        "two_threads_over_one": {name: medians[1][name] / medians[2][name] for name in medians[1]},
        "microseconds_per_unit": {n: 1e6 * own["command"] / size["n_units"] for n, own in medians.items()},
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes")
    parser.add_argument("--units", type=int, default=None, help=f"default: {SIZE['n_units']:,}")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args(argv)
    size = dict(TOY if options.toy else SIZE)
    if options.units is not None:
        size["n_units"] = options.units
    described = machine()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        result = measure_at(folder, size, repetitions=options.repetitions)
    finally:
        shutil.rmtree(folder)
    return give({"machine": described, **result}, options.output)


if __name__ == "__main__":
    sys.exit(main())
