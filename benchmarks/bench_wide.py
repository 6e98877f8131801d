"""What do tiles of wide decoders need, with shards of 32,768 units and with shards of 256 MiB of weights?

Stage `fit` of `n_voxels: all` with stored weights, whole, each way of cutting in a process of its own: peak resident
bytes of the process (what `--memory` limits), projected bytes of a worker with the largest tile, seconds. Statistics
and the map from targets to weights are random numbers of the true sizes: how long fitting takes does not depend on
them, and making them would take minutes.

    python benchmarks/bench_wide.py --toy
    python benchmarks/bench_wide.py --output benchmarks/results/wide.json

Needs Linux. Stores are made below `--folder` (default: a temporary one) and removed: 5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_memory import MIB, finished, in_a_process, make_stores, write_study
from give import give
from machine import machine

from hpc_recon.core import memory, receipts
from hpc_recon.core.loading import load_study
from hpc_recon.run import ledger, measure

#: Samples are as many as stimuli.
SIZE = {"n_voxels": 15_724, "n_stimuli": 8_859, "repeats": 1, "n_units": 16_384}
TOY = {"n_voxels": 60, "n_stimuli": 20, "repeats": 1, "n_units": 96}
#: Bytes of weights in a shard: no limit, as before, and the limit of the format; that of the toy is 32 units.
LIMITS = {"before": 2**62, "after": 2**28}
TOY_LIMITS = {"before": 2**62, "after": 4 * 60 * 32}


def make_shared(study, *, n_voxels, n_stimuli, **_):
    """Write statistics of the brain and the map to weights: random numbers, with receipts."""
    from hpc_recon.stores import statistics

    rng = np.random.default_rng(1)
    rows = np.flatnonzero([name == "training" for name in _datasets(study)])
    content = {
        "mean": np.zeros(n_voxels),
        "scale": np.ones(n_voxels),
        "sums": rng.standard_normal((n_stimuli, n_voxels), np.float32),
        "counts": np.ones(n_stimuli, np.int64),
        "rows": rows,
    }
    finished(study.workspace, ("fit", "S1", "VC", "_brain"), statistics.write(study.workspace, "S1", "VC", content))
    del content
    maps = rng.standard_normal((1, n_voxels, n_stimuli), np.float32)
    files = statistics.write(study.workspace, "S1", "VC", {"maps": maps, "alphas": np.array([100.0])}, part="maps")
    finished(study.workspace, ("fit", "S1", "VC", "_all_voxels"), files)


def _datasets(study):
    from hpc_recon.stores import images

    return images.read_table(study.workspace).dataset


def all_tiles(study_file, limit):
    """Compute all tiles of the stage in this process; return what the largest took and was projected to take."""
    import distributed  # noqa: F401  what an idle worker has imported
    import zarr  # noqa: F401

    from hpc_recon import fit
    from hpc_recon.run import runner
    from hpc_recon.stores import layout, shapes

    layout.WEIGHT_BYTES_PER_SHARD = int(limit)
    study = load_study(Path(study_file), [])
    tiles = [tile for tile in fit.plan(study, shapes.read(study)) if tile.stage == "fit"]
    ledger.commit(study.workspace, tiles, ledger.survey(study.workspace, tiles))
    fit.prepare(study)
    start, cpu = time.perf_counter(), time.process_time()
    for tile in tiles:
        runner.call("hpc_recon.fit", str(study_file), tile, "numpy")
    return {
        "tiles": len(tiles),
        "units": tiles[0].stop,
        "peak": max(receipts.read(study.workspace, tile).run["peak_bytes"] for tile in tiles),
        "projected": memory.WORKER_BASE + max(tile.need.host_bytes for tile in tiles),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
    }


def compare(folder, size, limits, *, n_threads):
    """Return what both ways of cutting take, and whether they give the same weights."""
    from hpc_recon.stores import arrays, layout

    study = write_study(folder / "made.yaml", folder / "made", k="all")
    (folder / "made").mkdir()
    make_stores(study.workspace, **size)
    make_shared(study, **size)
    found, weight = {}, {}
    for name, limit in limits.items():
        shutil.copytree(folder / "made", folder / name, copy_function=os.link)
        own = write_study(folder / f"{name}.yaml", folder / name, k="all")
        found[name] = in_a_process(folder / f"{name}.yaml", limit, n_threads=n_threads, script=__file__)
        row = found[name]
        print(
            f"{name:7} {row['tiles']:3} tiles of {row['units']:6} units: peak {row['peak'] / MIB:7.0f} MiB, "
            f"projected {row['projected'] / MIB:7.0f}, {row['seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
        ref = layout.decoder("S1", "VC", "net", "fc", "weight")
        weight[name] = arrays.read(own.workspace, ref, slice(0, min(256, size["n_units"])))
        shutil.rmtree(folder / name)
    return {**found, "same": weight["before"].tobytes() == weight["after"].tobytes()}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, seconds in all")
    parser.add_argument("--units", type=int, default=SIZE["n_units"], help="of the layer")
    parser.add_argument("--threads", type=int, default=2, help="of each tile")
    parser.add_argument("--folder", type=Path, default=None, help="make the stores below this folder")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    parser.add_argument("--part", type=json.loads, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part is not None:
        print(json.dumps(all_tiles(*options.part)))
        return 0
    if not measure.reset_peak_memory():
        raise OSError("the peak memory cannot be reset: /proc/self/clear_refs is not writable; this needs Linux")
    size = TOY if options.toy else {**SIZE, "n_units": options.units}
    content = {"machine": machine(), "n_threads": options.threads, "size": size}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        limits = TOY_LIMITS if options.toy else LIMITS
        content |= compare(Path(folder), size, limits, n_threads=options.threads)
    return give(content, options.output)


if __name__ == "__main__":
    sys.exit(main())
