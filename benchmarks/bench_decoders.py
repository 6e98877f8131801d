"""What does reading a file of decoders from elsewhere (bdpy's W of a channel) take, and is it below the projection?

    python benchmarks/bench_decoders.py --output benchmarks/results/decoders.json

Each file is written and read in processes of their own, because a child inherits its parent's peak. For each number
stored: peak memory beyond what was resident before, and processor seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine

from hpc_recon.formats import decoder_trees

#: Kind of file, height and width of the channel, weights a unit, voxels.
CASES = (("sparse", 112, 500, 11726), ("sparse", 112, 200, 2000), ("dense", 56, 200, 2000), ("dense", 56, 2000, 2000))


def write(folder, kind, side, k, n_voxels):
    rng = np.random.default_rng(0)
    n = side * side
    voxel = np.sort([rng.choice(n_voxels, k, replace=False) for _ in range(n)], axis=1).astype(np.uint32)
    weight = rng.standard_normal((n, k), dtype=np.float32)
    rows = decoder_trees.DecoderRows(0, voxel, weight, np.zeros(n, np.float32))
    decoder_trees.write_rows(folder, rows, n_voxels, (1, side, side), dense=kind == "dense")


def read(folder):
    pair = decoder_trees.pairs(folder)[0]
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    rows, (n_voxels, *_) = decoder_trees.read_pair(pair)
    seconds = time.process_time() - begin
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    k, projected = decoder_trees.stored(pair[0], n_voxels=n_voxels, n_units=len(rows.bias))
    return {"width": rows.voxel.shape[1], "stored": k, "peak": peak, "projected": projected, "seconds": seconds}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="internal: read the file in this folder, or with --case write it")
    parser.add_argument("--case", type=int, help="internal: number of the case")
    parser.add_argument("--toy", action="store_true", help="channels of 4 x 4")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    if options.case is not None:
        kind, side, k, n_voxels = CASES[options.case]
        write(options.folder, kind, 4 if options.toy else side, k, n_voxels)
        return 0
    if options.folder:
        print(json.dumps(read(options.folder)))
        return 0
    report = {"machine": machine(), "cases": []}
    for case, (kind, side, _, _) in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--folder", folder]
            subprocess.run([*command, "--case", str(case), *(["--toy"] if options.toy else [])], check=True)
            size = sum(path.stat().st_size for path in Path(folder).rglob("W/*.mat"))
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        n = found["stored"] * (4 if options.toy else side) ** 2
        numbers = {"bytes": size / n, "peak": found["peak"] / n, "projected": found["projected"] / n}
        numbers["microseconds"] = 1e6 * found["seconds"] / n
        report["cases"].append({"kind": kind, "n_stored": n, "width": found["width"], "for each stored": numbers})
    text = json.dumps(report, indent=1)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
