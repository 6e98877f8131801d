"""How long do himalaya and scikit-learn take for ridge on all voxels, with each unit's penalty chosen by cross-validation?

    himalaya_ridge.py CASE.npz RESULT.npz --repetitions 3      (run by benchmarks/bench_all_voxels.py)

CASE holds z-scored float32 samples Z (n, n_voxels), units T (n_stimuli, n_units) with the stimulus of each sample, test
items, penalties and the fold of each stimulus. They are given to each program in the form that suits it: z-scored, so
that no intercept has to be fitted, and repeats expanded before the clock starts. RESULT holds the predictions of the
quickest himalaya estimator, the penalties that it chose, and the seconds of every program as JSON.
"""

import argparse
import importlib.metadata
import json
import time

import numpy as np
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import RidgeCV
from sklearn.linear_model import RidgeCV as SklearnRidgeCV

#: Units that himalaya handles at a time; None is all of them. The quickest is what counts.
BATCHES = (None, 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("result")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--skip", nargs="*", default=[], help="RidgeCV, KernelRidgeCV, sklearn: where they take too long")
    options = parser.parse_args()
    case = np.load(options.case)
    Z, stimulus, test, alphas = case["Z"], case["stimulus"], case["test"], case["alphas"]
    Y = np.ascontiguousarray(case["T"][stimulus])
    fold = case["fold"][stimulus]
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(fold.max() + 1)]

    def himalaya(estimator, batch):
        params = {"n_targets_batch": batch, "n_targets_batch_refit": batch}
        extra = {"alphas": alphas, "cv": splits, "fit_intercept": False}
        if estimator == "RidgeCV":
            model = RidgeCV(solver_params=params | {"warn": False}, **extra).fit(Z, Y)
        else:
            model = KernelRidgeCV(solver_params=params, warn=False, **extra).fit(Z, Y)
        return model.predict(test), model.best_alphas_

    def sklearn():
        model = SklearnRidgeCV(alphas=alphas, cv=splits, fit_intercept=False).fit(Z, Y)
        return model.predict(test), np.full(Y.shape[1], model.alpha_)

    programs = {
        f"himalaya {name}, {'all units' if batch is None else batch} at a time": lambda n=name, b=batch: himalaya(n, b)
        for name in ("KernelRidgeCV", "RidgeCV")
        if name not in options.skip
        for batch in BATCHES
    }
    if "sklearn" not in options.skip:
        programs["sklearn RidgeCV, one penalty for all units"] = sklearn
    seconds, cpu, best = {}, {}, None
    for name, program in programs.items():
        for _ in range(options.repetitions):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            result = program()
            cpu[name] = min(cpu.get(name, np.inf), time.process_time() - begin_cpu)
            seconds[name] = min(seconds.get(name, np.inf), time.perf_counter() - begin)
        if name.startswith("himalaya") and (best is None or seconds[name] < seconds[best[0]]):
            best = (name, *result)
    versions = {name: importlib.metadata.version(name) for name in ("himalaya", "scikit-learn", "numpy", "scipy")}
    report = {"seconds": seconds, "cpu": cpu, "quickest": best[0], "versions": versions}
    np.savez(options.result, predicted=best[1], alphas=best[2], report=json.dumps(report))


if __name__ == "__main__":
    main()
