"""Does bdpy read all that `export` writes, and do we read the features that bdpy writes, equal in every value?

    python -m venv /tmp/bdpy && /tmp/bdpy/bin/pip install -r benchmarks/peers/requirements-bdpy.txt   # Python 3.11
    python benchmarks/bench_export.py --peer-python /tmp/bdpy/bin/python --output benchmarks/results/export.json

A simulated study is decoded and exported by the command line. bdpy's Features, DecodedFeatures, ModelTest and BData
read the files; then bdpy writes the features of all stimuli, and `extract` reads them into a workspace of its own.
Seconds are those of each command, and of the tiles of `extract`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
import yaml

from hpc_recon import export, pipeline
from hpc_recon.core import receipts
from hpc_recon.core.files import write_json
from hpc_recon.core.loading import load_study
from hpc_recon.stores import arrays, brain, images, items, layout, shapes

PEER = Path(__file__).parent / "peers" / "export_bdpy.py"
VARIABLE = "HPC_RECON_BDPY_PYTHON"
WHAT = ("features", "decoded", "decoders", "brain", "statistics")
#: bdpy predicts in float64 from float32 weights; ours are float32 throughout.
LARGEST_PREDICTION_ERROR = 1e-5


def study_of(folder, *, toy):
    size = {"image_size": 16, "n_training": 24, "n_natural": 4, "n_shapes": 3, "n_voxels": 60}
    if not toy:
        size = {"image_size": 64, "n_training": 300, "n_natural": 12, "n_shapes": 8, "n_voxels": 1000}
    content = {
        "name": "exported",
        "workspace": str(folder / "ws"),
        "subjects": ["S1"],
        "rois": ["V1", "VC"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "shapes": {"role": "test"}},
        "simulate": size,
        "networks": {"vgg": {"architecture": "vgg11_quarter", "weights": "random:3", "layers": ["conv1_1", "conv3_1"]}},
        "fit": {"n_voxels": 10 if toy else 100, "alpha": 10},
    }
    if not toy:
        content["networks"]["vgg"] |= {"architecture": "vgg11", "layers": ["conv3_1", "conv5_1", "fc8"]}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def truth_of(study):
    """Return everything that was exported, read from the stores."""
    workspace, sizes = study.workspace, shapes.read(study)
    table, network = images.read_table(workspace), study.networks["vgg"]
    shown = [items.read_shown(study, "S1", dataset) for dataset in study.test_datasets("S1")]
    training = brain.read_brain(workspace, "S1", "training")
    found = {
        "layers": np.array(network.layers),
        "rois": np.array(study.rois),
        "labels": np.array(table.labels),
        "items": np.array([label for one in shown for label in one.labels]),
        "samples": training.samples,
        "sample_labels": np.array(training.labels),
    }
    rows = np.flatnonzero(np.array(table.dataset) == "training")
    for roi in study.rois:
        found[f"mask_{roi}"] = brain.read_roi(workspace, "S1", roi)
        found[f"x_{roi}"] = np.concatenate(
            [brain.read_items(study, "S1", name, roi).samples for name in study.test_datasets("S1")]
        )
    for layer in network.layers:
        shape = sizes.unit_shape("vgg", layer)
        found[f"features_{layer}"] = arrays.read(workspace, layout.features("vgg", layer)).reshape(-1, *shape)
        spread = (
            found[f"features_{layer}"][rows].astype(float).reshape(len(rows), shape[0] if len(shape) > 1 else 1, -1)
        )
        found[f"spread_{layer}"] = spread.std(axis=2).mean().astype(np.float32)
        for roi in study.rois:
            parts = [
                arrays.read(workspace, layout.decoded("S1", roi, name, "vgg", layer))
                for name in study.test_datasets("S1")
            ]
            found[f"decoded_{layer}_{roi}"] = np.concatenate(parts).reshape(-1, *shape)
    return found


def exported(path, folder):
    """Export everything; return files, bytes and seconds of each kind."""
    found = {}
    for what in WHAT:
        begin = time.perf_counter()
        if export.main([what, "--study", str(path), "--to", str(folder / what)]):
            raise SystemExit(f"export {what} failed")
        seconds = time.perf_counter() - begin
        written = [file for file in (folder / what).rglob("*") if file.suffix in (".mat", ".h5", ".yaml")]
        found[what] = {
            "files": len(written),
            "bytes": sum(file.stat().st_size for file in written),
            "seconds": seconds,
        }
    return found


def imported(path, folder, truth):
    """Read bdpy's features by `extract` into a workspace of its own; return the largest difference, and the rate."""
    content = yaml.safe_load(path.read_text())
    content["workspace"] = str(folder / "again")
    content["networks"]["vgg"] = {
        "architecture": "features",
        "features": {"folders": str(folder / "theirs")},
        "layers": content["networks"]["vgg"]["layers"],
    }
    other = folder / "again.yaml"
    other.write_text(yaml.safe_dump(content))
    if pipeline.main(["--study", str(other), "--through", "extract", "--jobs", "1"]):
        raise SystemExit("extract failed")
    study = load_study(other)
    differences = {}
    for layer in study.networks["vgg"].layers:
        values = arrays.read(study.workspace, layout.features("vgg", layer))
        differences[layer] = float(np.abs(values - truth[f"features_{layer}"].reshape(values.shape)).max())
    runs = [receipt.run for _, receipt in receipts.iterate(study.workspace, "extract")]
    n_bytes = sum(truth[f"features_{layer}"].nbytes for layer in study.networks["vgg"].layers)
    return differences, {"tiles": len(runs), "bytes": n_bytes, "seconds": sum(run["seconds"] for run in runs)}


def run(*command):
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{command} failed:\n{ran.stderr}")
    return json.loads(ran.stdout)


def is_equal(name, value):
    """Return whether a finding of the peer is what it must be: exact, but for predictions."""
    if isinstance(value, bool):
        return value
    return not math.isnan(value) and value <= (LARGEST_PREDICTION_ERROR if name.startswith("predictions") else 0)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get(VARIABLE), help=f"has bdpy; default ${VARIABLE}")
    parser.add_argument("--toy", action="store_true", help="a small study")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result = {"machine": machine.machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = study_of(folder, toy=options.toy)
        if pipeline.main(["--study", str(path), "--through", "decode", "--jobs", "1"]):
            raise SystemExit("the study failed")
        truth = truth_of(load_study(path))
        np.savez(folder / "truth.npz", **truth)
        result["exported"] = exported(path, folder)
        if options.peer_python:
            result["read by bdpy"] = run(options.peer_python, PEER, "read", folder)
            run(options.peer_python, PEER, "write", folder)
            result["bdpy's features, read by us"], result["reading"] = imported(path, folder, truth)
        else:
            print(f"no --peer-python and no ${VARIABLE}: bdpy is left out")
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result)
    findings = {**result.get("read by bdpy", {}), **result.get("bdpy's features, read by us", {})}
    differing = [name for name, value in findings.items() if not is_equal(name, value)]
    print(f"{len(findings)} findings, {len(differing)} differ: {', '.join(differing) or 'none'}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
