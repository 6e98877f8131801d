"""How do seconds and memory of a fit grow with the units, the voxels and the samples?

Units: features are made block by block, fitted and dropped, as a tile of a study is, up to a million units in one
process; peak memory is read at each mark and has to stay where it was. Voxels and samples: a process of its own for
each number. Features are random, so units share few voxels.

    python benchmarks/bench_growth.py --toy
    python benchmarks/bench_growth.py --output benchmarks/results/growth.json

Needs Linux (peak memory) and an otherwise idle machine. `--most-units` ends sooner than at a million units.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from give import give
from machine import machine

from hpc_recon.core import threads
from hpc_recon.numerics import decoder, stats
from hpc_recon.run import measure

#: Units that are made, fitted and dropped at a time.
STREAMED = 10_240
#: Samples (one a stimulus), voxels and k, unless the axis varies them.
SIZE = {"n_samples": 1200, "n_voxels": 8000, "k": 500, "alpha": 100.0}
TOY_SIZE = {"n_samples": 60, "n_voxels": 80, "k": 20, "alpha": 100.0}
#: Marks: multiples of 2,048, so that no half-filled block of the engine is timed.
UNITS = (10_240, 20_480, 51_200, 102_400, 204_800, 512_000, 1_024_000)
TOY_UNITS = (512, 1024)
TOY_STREAMED = 256
AXES = {"n_voxels": (1000, 2000, 4000, 8000, 16_000), "n_samples": (300, 600, 1200, 2400, 6000)}
TOY_AXES = {"n_voxels": (40, 80), "n_samples": (30, 60)}
#: Units of each point of the other axes.
POINT_UNITS, TOY_POINT_UNITS = 2048, 256
WARM = {"n_samples": 40, "n_voxels": 50}


def brain_of(n_samples, n_voxels, *, n_threads):
    """Return statistics of random samples and the seconds that they took; the samples are dropped."""
    X = np.random.default_rng(0).standard_normal((n_samples, n_voxels), np.float32)
    begin = time.perf_counter()
    brain = stats.brain_statistics(X, np.arange(n_samples), n_stimuli=n_samples, n_threads=n_threads)
    return brain, time.perf_counter() - begin


def warm_up(n_threads):
    """Compile kernels and start threads before anything is timed."""
    brain, _ = brain_of(**WARM, n_threads=n_threads)
    decoder.fit_units(brain, np.eye(WARM["n_samples"], dtype=np.float32), n_voxels=5, alpha=1.0, n_threads=n_threads)


def grow_units(size, *, marks, streamed, n_threads):
    """Fit random units block by block; return seconds and peak memory at each mark."""
    warm_up(n_threads)
    brain, seconds = brain_of(size["n_samples"], size["n_voxels"], n_threads=n_threads)
    measure.reset_peak_memory()
    before, rng = measure.peak_memory(), np.random.default_rng(1)
    done, fitting, making, points = 0, 0.0, 0.0, []
    for mark in marks:
        while done < mark:
            begin = time.perf_counter()
            Y = rng.standard_normal((size["n_samples"], min(streamed, mark - done)), np.float32)
            made = time.perf_counter()
            fitted = decoder.fit_units(brain, Y, n_voxels=size["k"], alpha=size["alpha"], n_threads=n_threads)
            fitting, making = fitting + time.perf_counter() - made, making + made - begin
            done += len(fitted.bias)
            del Y, fitted
        points.append(
            {
                "n_units": done,
                "fit_seconds": round(fitting, 4),
                "microseconds_per_unit": round(1e6 * fitting / done, 2),
                "seconds_making_features": round(making, 4),
                "peak_bytes": measure.peak_memory(),
            }
        )
    return {"statistics_seconds": round(seconds, 4), "bytes_before": before, "streamed": streamed, "points": points}


def one_point(size, *, n_units, repetitions, n_threads):
    """Return seconds and peak memory of one size."""
    warm_up(n_threads)
    measure.reset_peak_memory()
    before = measure.peak_memory()
    Y = np.random.default_rng(1).standard_normal((size["n_samples"], n_units), np.float32)
    all_statistics, all_fits = [], []
    for _ in range(repetitions):
        brain, seconds = brain_of(size["n_samples"], size["n_voxels"], n_threads=n_threads)
        all_statistics.append(seconds)
        begin = time.perf_counter()
        fitted = decoder.fit_units(brain, Y, n_voxels=size["k"], alpha=size["alpha"], n_threads=n_threads)
        all_fits.append(time.perf_counter() - begin)
        del brain
    return {
        **size,
        "k": fitted.voxel.shape[1],  # smaller where there are fewer voxels than asked for
        "n_units": n_units,
        "statistics_seconds": round(statistics.median(all_statistics), 4),
        "fit_seconds": round(statistics.median(all_fits), 4),
        "microseconds_per_unit": round(1e6 * statistics.median(all_fits) / n_units, 2),
        "bytes_before": before,
        "peak_bytes": measure.peak_memory(),
    }


def in_a_process(function, *arguments, **named):
    """Return `function(*arguments, **named)`, computed in a fresh process, whose peak memory is its own."""
    request = json.dumps({"function": function.__name__, "arguments": arguments, "named": named})
    done = subprocess.run([sys.executable, __file__, "--part", request], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{request} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def part(request):
    """Do what `in_a_process` asked for."""
    if not measure.reset_peak_memory():
        raise OSError("the peak memory cannot be reset: /proc/self/clear_refs is not writable; this needs Linux")
    function = {"grow_units": grow_units, "one_point": one_point}[request["function"]]
    print(json.dumps(function(*request["arguments"], **request["named"])))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, seconds in all")
    parser.add_argument("--threads", type=int, default=None, help="default: what the process may use")
    parser.add_argument("--repetitions", type=int, default=3, help="of each number of voxels and samples")
    parser.add_argument("--most-units", type=int, default=UNITS[-1], help="leave out larger numbers of units")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    parser.add_argument("--part", type=json.loads, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part is not None:
        part(options.part)
        return 0
    n_threads = options.threads or threads.available()
    size, axes = (TOY_SIZE, TOY_AXES) if options.toy else (SIZE, AXES)
    marks = [n for n in (TOY_UNITS if options.toy else UNITS) if n <= options.most_units]
    if not marks:
        parser.error(f"--most-units must be at least {TOY_UNITS[0] if options.toy else UNITS[0]}")
    streamed, n_units = (TOY_STREAMED, TOY_POINT_UNITS) if options.toy else (STREAMED, POINT_UNITS)
    content = {
        "machine": {**machine(), "threads": n_threads},
        "sizes": size,
        "units": in_a_process(grow_units, size, marks=marks, streamed=streamed, n_threads=n_threads),
    }
    for axis, values in axes.items():
        content[axis] = []
        for value in values:
            print(f"{axis} {value:,}", file=sys.stderr, flush=True)
            changed = {**size, axis: value}
            content[axis].append(
                in_a_process(one_point, changed, n_units=n_units, repetitions=options.repetitions, n_threads=n_threads)
            )
    return give(content, options.output)


if __name__ == "__main__":
    sys.exit(main())
