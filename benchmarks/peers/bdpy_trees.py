"""The half of `bench_trees.py` that runs with bdpy 0.26 and fastl2lir 0.11: writes files for us, reads and uses ours."""

import argparse
import json
import resource
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
from bdpy.dataform import DecodedFeatures, Features, load_array, save_array, save_feature  # noqa: E402
from bdpy.ml import ModelTest  # noqa: E402
from fastl2lir import FastL2LiR  # noqa: E402


def write(folder):
    truth = np.load(folder / "truth.npz")
    for layer in ("conv", "fc"):
        for i, row in enumerate(truth[layer]):
            save_feature(row[None], str(folder / "theirs"), layer, f"Img{i:04d}")
    save_array(str(folder / "sparse.mat"), truth["W"], key="W", dtype=np.float32, sparse=True)
    save_array(str(folder / "dense.mat"), truth["W"], key="W", dtype=np.float32, sparse=False)
    return {}


def read(folder):
    truth, report = np.load(folder / "truth.npz"), {}
    features, decoded = Features(str(folder / "ours")), DecodedFeatures(str(folder / "ours_decoded"))
    for layer in ("conv", "fc"):
        report[f"Features {layer}"] = float(np.abs(features.get(layer) - truth[layer]).max())
        found = decoded.get(layer=layer, subject="S1", roi="VC")
        rows = [int(label[3:]) for label in decoded.selected_label]
        report[f"DecodedFeatures {layer}"] = float(np.abs(found - truth[layer][rows]).max())
    for name in ("conv", "fc", "conv_dense"):
        model = folder / f"model_{name}"
        scale = {part: load_array(str(model / f"{part}.mat"), key=part) for part in ("x_mean", "x_norm", "y_mean", "y_norm")}
        x = (truth["x"] - scale["x_mean"]) / scale["x_norm"]
        test = ModelTest(FastL2LiR(), x, model_format="bdmodel", model_path=str(model), chunk_axis=1)
        predicted = test.run() * scale["y_norm"] + scale["y_mean"]
        ours = truth[f"predicted_{name.split('_')[0]}"].reshape(predicted.shape)
        report[f"predictions {name}, of their largest"] = float(np.abs(predicted - ours).max() / np.abs(ours).max())
    return report


def collect(folder):
    begin = time.perf_counter()
    found = Features(str(folder)).get("layer")
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "sum": float(found.sum(dtype=np.float64)), "peak_mb": peak()}


def peak():
    """Memory of this process at its highest; its pool's processes are not counted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["write", "read", "collect"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    with redirect_stdout(sys.stderr):  # bdpy prints
        result = {"write": write, "read": read, "collect": collect}[options.what](options.folder)
    print(json.dumps(result))
