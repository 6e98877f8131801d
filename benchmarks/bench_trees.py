"""Do bdpy and we read each other's feature trees and decoders, and how long does collecting 1,200 feature files take?

    python benchmarks/bench_trees.py --peer-python /tmp/peers/bin/python --output benchmarks/results/trees.json

The peer's environment is made from benchmarks/peers/requirements-bdpy.txt. Each collection runs in its own process, the
files in the page cache; its memory is that process's peak (bdpy reads with 64 processes more, which are not counted).
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

from hpc_recon.formats import decoder_trees, feature_trees, matlab, sparse
from hpc_recon.formats.decoder_trees import DecoderRows, Scaling

SHAPES = {"conv": (6, 3, 4), "fc": (11,)}
PEER = Path(__file__).parent / "peers" / "bdpy_trees.py"


def exchange(peer, folder):
    rng = np.random.default_rng(0)
    n_voxels, k = 50, 8
    truth = {layer: rng.normal(size=(20, *shape)).astype(np.float32) for layer, shape in SHAPES.items()}
    truth["x"] = rng.normal(size=(9, n_voxels)) * 2 + 1
    truth["W"] = np.where(rng.random((30, 1, 4, 5)) < 0.1, rng.normal(size=(30, 1, 4, 5)), 0).astype(np.float32)
    for layer, shape in SHAPES.items():
        n_units = int(np.prod(shape))
        voxel = np.sort([rng.choice(n_voxels, k, replace=False) for _ in range(n_units)], axis=1).astype(np.uint32)
        weight, bias = rng.normal(size=(n_units, k)).astype(np.float32), rng.normal(size=n_units).astype(np.float32)
        x_scale, y_scale = (rng.random((2, n)).astype(np.float32) + 0.5 for n in (n_voxels, n_units))
        z = (truth["x"] - x_scale[0]) / x_scale[1]
        truth[f"predicted_{layer}"] = (np.einsum("nuk,uk->nu", z[:, voxel], weight) + bias) * y_scale[1] + y_scale[0]
        for name in (layer, f"{layer}_dense"):
            model = folder / f"model_{name}"
            rows = DecoderRows(0, voxel, weight, bias)
            decoder_trees.write_rows(model, rows, n_voxels, shape, dense="dense" in name)
            decoder_trees.write_scaling(model, Scaling(*x_scale, *y_scale, shape))
        for i, row in enumerate(truth[layer].reshape(20, -1)):
            feature_trees.write_feature(folder / "ours", layer, f"Img{i:04d}", row, shape)
            feature_trees.write_decoded(folder / "ours_decoded", layer, "S1", "VC", f"Img{i:04d}", row, shape)
    np.savez(folder / "truth.npz", **truth)
    run(peer, PEER, "write", folder)
    tree = feature_trees.FeatureTree(folder / "theirs")
    ours = {
        f"theirs, {layer}": float(np.abs(tree.read(layer) - truth[layer].reshape(20, -1)).max()) for layer in SHAPES
    }
    for name in ("sparse", "dense"):
        ours[f"theirs, {name} array"] = float(np.abs(sparse.read_dense(folder / f"{name}.mat", "W") - truth["W"]).max())
    return {
        "largest differences, read by us": ours,
        "largest differences, read by bdpy": run(peer, PEER, "read", folder),
    }


def collect(folder):
    begin = time.perf_counter()
    found = feature_trees.FeatureTree(folder).read("layer", threads=2)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "sum": float(found.sum(dtype=np.float64)), "peak_mb": peak}


def run(python, script, what, folder):
    done = subprocess.run([python, script, what, folder], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["collect"], help="internal: one collection in this process")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--files", type=int, default=1200)
    parser.add_argument("--units", type=int, nargs="+", default=[512, 14, 14])
    options = parser.parse_args()
    if options.what:
        print(json.dumps(collect(options.folder)))
        return
    report = {"machine": machine(), "files": options.files, "units": options.units, "collecting": {}}
    with tempfile.TemporaryDirectory() as name:
        report |= exchange(options.peer_python, Path(name))
    for version, write in (("v5", matlab.write_v5), ("v7.3", matlab.write_v73)):
        with tempfile.TemporaryDirectory() as name:
            rng = np.random.default_rng(0)
            for i in range(options.files):
                value = rng.normal(size=(1, *options.units)).astype(np.float32)
                write(Path(name) / "layer" / f"Img{i:04d}.mat", {"feat": value})
            ours = run(sys.executable, __file__, "collect", name)
            theirs = run(options.peer_python, PEER, "collect", name)
        if not np.isclose(ours["sum"], theirs["sum"], rtol=1e-9):
            raise SystemExit(f"{version}: the sums differ, {ours['sum']} and {theirs['sum']}")
        report["collecting"][version] = {"ours": ours, "bdpy": theirs}
    text = json.dumps(report, indent=1)
    if options.output:
        options.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
