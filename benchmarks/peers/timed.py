"""One program, fitting units of a prepared data set on request and timing itself; started by `bench_peers.py`.

    python benchmarks/peers/timed.py PROGRAM FOLDER SETTINGS

Reads one JSON request a line, `{"do": ..., ...}`, and answers each with one JSON line. It needs nothing but the program
and numpy, so it runs in an environment that has no hpc_recon. FOLDER holds, as float32 `.npy`:

    x.npy         (n_samples, n_voxels), raw: what hpc_recon reads
    y.npy         (n_stimuli, n_units), raw: what hpc_recon reads
    test.npy      (n_test, n_voxels), raw
    z.npy t.npy z_test.npy     the same, z-scored: what the peers read, whose callers z-score
    stimulus.npy  (n_samples,) int64: row of y that each sample shows

Predictions are left in the folder, in units of each unit's standard deviation.
"""

import argparse
import json
import os
import pickle
import platform
import sys
import time
from pathlib import Path

import numpy as np
import threadpoolctl

#: Samples, voxels and units of the untimed first fit, which compiles kernels and starts threads.
WARM = (64, 60, 4, 5)


class Ours:
    """`hpc_recon.numerics.decoder.fit_units`; the brain statistics are made once, in `statistics`."""

    def __init__(self, folder, settings):
        from hpc_recon.numerics import decoder, stats

        self.decoder, self.stats = decoder, stats
        self.n_threads, self.k, self.alpha = settings["threads"], settings["k"], settings["alpha"]
        n, n_voxels, n_units, k = WARM
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((n, n_voxels), np.float32), rng.standard_normal((n, n_units), np.float32)
        for codes in (None, np.arange(n) // 2):  # without and with a Gram matrix
            brain = stats.brain_statistics(x, codes, n_stimuli=n, n_threads=self.n_threads)
            decoder.fit_units(brain, y, n_voxels=k, alpha=1.0, n_threads=self.n_threads)
        self.x, self.y, self.test, self.stimulus = load(folder, "x", "y", "test", "stimulus")
        self.brain = self.fitted = None

    def statistics(self):
        self.brain = self.fitted = None
        begin = time.perf_counter()
        self.brain = self.stats.brain_statistics(
            self.x, self.stimulus, n_stimuli=len(self.y), n_threads=self.n_threads
        )
        return time.perf_counter() - begin

    def fit(self, n_units):
        self.fitted = None
        y = np.ascontiguousarray(self.y[:, :n_units])
        begin = time.perf_counter()
        self.fitted = self.decoder.fit_units(
            self.brain, y, n_voxels=self.k, alpha=self.alpha, n_threads=self.n_threads
        )
        return time.perf_counter() - begin

    def result(self):
        fitted, brain = self.fitted, self.brain
        z = self.stats.standardise(self.test, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
        predicted = self.decoder.predict_units(z, fitted, n_threads=self.n_threads)
        stored = sum(getattr(fitted, name).nbytes for name in ("voxel", "weight", "bias", "y_mean", "y_scale"))
        return (predicted - fitted.y_mean) / fitted.y_scale, fitted.voxel, stored / len(fitted.bias)


class FastL2LiR:
    """The published program as shipped: targets expanded to all samples, dense weights, its own BLAS threads."""

    def __init__(self, folder, settings):
        from fastl2lir import FastL2LiR as Model

        self.Model, self.k, self.alpha = Model, settings["k"], settings["alpha"]
        n, n_voxels, n_units, k = WARM
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((n, n_voxels), np.float32), rng.standard_normal((n, n_units), np.float32)
        Model().fit(x, y, alpha=1.0, n_feat=k, dtype=np.float32)
        self.z, self.t, self.z_test, self.stimulus = load(folder, "z", "t", "z_test", "stimulus")
        self.model = None

    def fit(self, n_units):
        self.model = None
        targets = self.t[:, :n_units][self.stimulus]
        model = self.Model()
        begin = time.perf_counter()
        model.fit(self.z, targets, alpha=self.alpha, n_feat=self.k, dtype=np.float32)
        seconds = time.perf_counter() - begin
        self.model = model
        return seconds

    def result(self):
        weight = np.asarray(self.model.W)  # (n_voxels, n_units)
        predicted = self.model.predict(self.z_test, dtype=np.float32)
        voxel = np.stack([np.flatnonzero(column)[: self.k] for column in weight.T])
        return predicted, voxel, (weight.nbytes + self.model.b.nbytes) / weight.shape[1]


class ScikitLearn:
    """A pipeline a unit, as a user of scikit-learn writes it: F test, k best voxels, ridge."""

    def __init__(self, folder, settings):
        from sklearn.feature_selection import SelectKBest, f_regression
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline

        self.make = lambda k, alpha: make_pipeline(SelectKBest(f_regression, k=k), Ridge(alpha=alpha))
        self.k, self.alpha = settings["k"], settings["alpha"]
        n, n_voxels, _, k = WARM
        rng = np.random.default_rng(0)
        self.make(k, 1.0).fit(rng.standard_normal((n, n_voxels), np.float32), rng.standard_normal(n, np.float32))
        self.z, self.t, self.z_test, self.stimulus = load(folder, "z", "t", "z_test", "stimulus")
        self.models = []

    def fit(self, n_units):
        self.models = []
        targets = self.t[:, :n_units][self.stimulus]
        begin = time.perf_counter()
        for unit in range(n_units):
            self.models.append(self.make(self.k, self.alpha).fit(self.z, targets[:, unit]))
        return time.perf_counter() - begin

    def result(self):
        predicted = np.stack([model.predict(self.z_test) for model in self.models], axis=1)
        voxel = np.stack([np.flatnonzero(model[0].get_support()) for model in self.models])
        return predicted, voxel, len(pickle.dumps(self.models)) / len(self.models)


PROGRAMS = {"ours": Ours, "fastl2lir": FastL2LiR, "scikit-learn": ScikitLearn}
PACKAGES = {"ours": "hpc_recon", "fastl2lir": "fastl2lir", "scikit-learn": "scikit-learn"}


def load(folder, *names):
    return [np.load(Path(folder) / f"{name}.npy") for name in names]


def memory(field):
    """Return a field of /proc/self/status in bytes: `VmRSS`, or `VmHWM`, the peak.

    Not ru_maxrss: a child inherits its parent's through fork and exec, so a large parent hides a small child.
    """
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{field}:"))


def sgemm_rate(size):
    """Return the float32 operations a second of one thread: the fastest of three products of `size` x `size`."""
    a = np.random.default_rng(0).standard_normal((size, size), np.float32)
    out, fastest = np.empty_like(a), float("inf")
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        np.dot(a, a, out=out)
        for _ in range(3):
            begin = time.perf_counter()
            np.dot(a, a, out=out)
            fastest = min(fastest, time.perf_counter() - begin)
    return 2 * size**3 / fastest


def describe(name):
    from importlib.metadata import version

    # scipy's own BLAS, where it is loaded, has the same threads
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "version": version(PACKAGES[name]),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": sorted({f"{p['internal_api']} {p['version']} {p.get('architecture', '')}".strip() for p in pools}),
        "blas_threads": max(pool["num_threads"] for pool in pools),
        "bytes_before": memory("VmRSS"),
    }


def serve(name, folder, settings, channel):
    if name == "sgemm":
        program, hello = None, {}
    else:
        program = PROGRAMS[name](folder, settings)
        hello = describe(name)
    print(json.dumps(hello), file=channel, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "sgemm":
            answer = {"rate": sgemm_rate(request["size"])}
        elif request["do"] == "statistics":
            answer = {"seconds": program.statistics()}
        elif request["do"] == "fit":
            answer = {"seconds": program.fit(request["units"]), "peak_bytes": memory("VmHWM")}
        elif request["do"] == "result":
            predicted, voxel, stored = program.result()
            np.savez(request["file"], predicted=np.asarray(predicted, np.float64), voxel=voxel)
            answer = {"stored_bytes_per_unit": stored}
        else:
            raise ValueError(f"unknown request {request}")
        print(json.dumps(answer), file=channel, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=[*PROGRAMS, "sgemm"])
    parser.add_argument("folder", help="where the data lie")
    parser.add_argument("settings", type=json.loads, help='JSON: {"k": ..., "alpha": ..., "threads": ...}')
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a program prints must not mix with the answers
    serve(options.program, options.folder, options.settings, answers)
