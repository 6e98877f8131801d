"""Do FastL2LiR's weights and predictions equal those of `fit_decoder(..., penalize_bias=True)`?

`ours FILE` fits with hpc_recon and stores data and results; `peer FILE` fits the same data with FastL2LiR 0.11 (NumPy < 2)
and prints the differences as JSON. It expands repeats and z-scores as the published pipeline does: voxels over
samples, units over stimuli.
"""

import argparse
import json
import sys
import time

import numpy as np

#: name: samples per stimulus (None: unbalanced), stimuli, voxels, units, k, alpha, dtype
CASES = {
    "more samples than voxels": (3, 100, 60, 40, 20, 10.0, "float64"),
    "fewer samples than voxels": (1, 80, 300, 40, 50, 10.0, "float64"),
    "unbalanced repeats": (None, 120, 90, 40, 30, 10.0, "float64"),
    "all voxels": (2, 100, 50, 40, 50, 10.0, "float64"),
    "float32, 500 of 2,000 voxels": (5, 240, 2000, 40, 500, 100.0, "float32"),
}


def simulate(per_stimulus, n_stimuli, n_voxels, n_units, dtype):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, n_stimuli) if per_stimulus is None else np.full(n_stimuli, per_stimulus)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    latent = rng.normal(size=(n_stimuli, 12))
    Y = latent @ rng.normal(size=(12, n_units)) + 5
    X = latent[stimulus] @ rng.normal(size=(12, n_voxels)) + 3 * rng.normal(size=(len(stimulus), n_voxels)) + 100
    return X.astype(dtype), Y.astype(dtype), stimulus


def ours(path):
    from hpc_recon.numerics.decoder import fit_decoder

    content = {}
    for name, (per_stimulus, n_stimuli, n_voxels, n_units, k, alpha, dtype) in CASES.items():
        X, Y, stimulus = simulate(per_stimulus, n_stimuli, n_voxels, n_units, dtype)
        begin = time.perf_counter()
        d = fit_decoder(X, Y, k, alpha, True, stimulus)
        seconds = time.perf_counter() - begin
        dense = np.zeros((n_units, n_voxels))
        np.put_along_axis(dense, d.voxel.astype(np.int64), d.weight.astype(np.float64), axis=1)
        parts = {"X": X, "Y": Y, "stimulus": stimulus, "weight": dense, "bias": d.bias, "predicted": d.predict(X[:20])}
        content.update({f"{name}/{part}": value for part, value in parts.items()})
        content[f"{name}/seconds"] = np.array(seconds)
    np.savez(path, **content)


def peer(path):
    from fastl2lir import FastL2LiR

    stored = np.load(path)
    report = {}
    for name, (_, _, n_voxels, n_units, k, alpha, dtype) in CASES.items():
        X, Y, stimulus, weight, bias, predicted = (
            stored[f"{name}/{part}"] for part in ("X", "Y", "stimulus", "weight", "bias", "predicted")
        )
        x_mean, x_scale = X.mean(0, dtype=np.float64), X.std(0, ddof=1, dtype=np.float64)
        y_mean, y_scale = Y.mean(0, dtype=np.float64), Y.std(0, ddof=1, dtype=np.float64)
        z, t = ((X - x_mean) / x_scale).astype(dtype), ((Y - y_mean) / y_scale).astype(dtype)
        model = FastL2LiR()
        begin = time.perf_counter()
        model.fit(z, t[stimulus], alpha=alpha, n_feat=k, dtype=np.dtype(dtype).type)
        seconds = time.perf_counter() - begin
        w = np.asarray(model.W, dtype=np.float64).reshape(n_voxels, n_units).T
        same = ((w != 0) == (weight != 0)).all(axis=1)
        theirs = model.predict(z[:20], dtype=np.dtype(dtype).type) * y_scale + y_mean
        report[name] = {
            "units with the same voxels": f"{int(same.sum())} of {n_units}",
            "largest difference of weights, of their norm": float(
                (np.linalg.norm(w - weight, axis=1) / np.linalg.norm(w, axis=1))[same].max()
            ),
            "largest difference of biases": float(np.abs(np.ravel(model.b) - bias).max()),
            "largest difference of predictions, of a unit's SD": float((np.abs(theirs - predicted) / y_scale)[:, same].max()),
            "seconds theirs, ours": [round(seconds, 3), round(float(stored[f"{name}/seconds"]), 3)],
        }
    json.dump({"numpy": np.__version__, "cases": report}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=["ours", "peer"])
    parser.add_argument("file", help="an .npz file that the first half writes and the second one reads")
    options = parser.parse_args()
    {"ours": ours, "peer": peer}[options.half](options.file)
