"""The half of `bench_export.py` that runs with bdpy 0.26 and fastl2lir 0.11: reads what `export` wrote, writes features for us."""

import argparse
import json
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
import hdf5storage  # noqa: E402
from bdpy import BData  # noqa: E402
from bdpy.dataform import DecodedFeatures, Features, load_array, save_feature  # noqa: E402
from bdpy.ml import ModelTest  # noqa: E402
from fastl2lir import FastL2LiR  # noqa: E402


def write(folder):
    """True features and decoded ones, as the lab's scripts save them."""
    truth = np.load(folder / "truth.npz")
    for layer in truth["layers"]:
        for label, row in zip(truth["labels"], truth[f"features_{layer}"]):
            save_feature(row[None], str(folder / "theirs"), str(layer), str(label))
    return {"files": len(truth["layers"]) * len(truth["labels"])}


def read(folder):
    truth, report = np.load(folder / "truth.npz"), {}
    features = Features(str(folder / "features"))
    decoded = DecodedFeatures(str(folder / "decoded"))
    report["labels of features"] = bool(list(features.labels) == sorted(truth["labels"].tolist()))
    report["layers"] = bool(sorted(features.layers) == sorted(truth["layers"].tolist()))
    rows = [truth["labels"].tolist().index(label) for label in features.labels]
    spread = hdf5storage.loadmat(str(next((folder / "statistics").glob("*feat_std.mat"))))
    for layer in truth["layers"]:
        report[f"features {layer}"] = difference(features.get(layer=layer), truth[f"features_{layer}"][rows])
        report[f"spread {layer}"] = difference(spread[layer], truth[f"spread_{layer}"].reshape(1, 1))
        for roi in truth["rois"]:
            found = decoded.get(layer=layer, subject="S1", roi=roi)
            places = [truth["items"].tolist().index(label) for label in decoded.selected_label]
            stored = truth[f"decoded_{layer}_{roi}"]
            report[f"decoded {layer} {roi}"] = difference(found, stored[places])
            model = folder / "decoders" / str(layer) / "S1" / str(roi) / "model"
            scale = {name: load_array(str(model / f"{name}.mat"), key=name) for name in ("x_mean", "x_norm", "y_mean", "y_norm")}
            x = (truth[f"x_{roi}"] - scale["x_mean"]) / scale["x_norm"]
            test = ModelTest(FastL2LiR(), x, model_format="bdmodel", model_path=str(model), chunk_axis=1)
            predicted = test.run() * scale["y_norm"] + scale["y_mean"]
            report[f"predictions {layer} {roi}, of their largest"] = float(np.abs(predicted - stored).max() / np.abs(stored).max())
    brain = BData(str(folder / "brain" / "S1_training.h5"))
    report["samples"] = difference(brain.select("VoxelData"), truth["samples"])
    report["labels of samples"] = bool(brain.get_label("stimulus_name") == truth["sample_labels"].tolist())
    for roi in truth["rois"]:
        report[f"ROI {roi}"] = difference(brain.select(f"ROI_{roi} = 1"), truth["samples"][:, truth[f"mask_{roi}"]])
    return report


def difference(found, expected):
    """Return the largest absolute difference; NaN where shapes differ."""
    return float(np.abs(found.astype(np.float64) - expected).max()) if found.shape == expected.shape else float("nan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    with redirect_stdout(sys.stderr):  # bdpy prints
        result = {"write": write, "read": read}[options.what](options.folder)
    print(json.dumps(result))
