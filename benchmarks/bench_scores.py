"""How long do the scores of 50 decoded items and 802,816 units take, and does memory stay flat in units?

    python benchmarks/bench_scores.py --peer-python /tmp/peer-bdpy/bin/python --output benchmarks/results/scores.json

Profile correlation and identification as `evaluate` computes them, beside a plain loop over units and, in its own
environment (benchmarks/peers/requirements-bdpy.txt), bdpy; each in a process of its own, one thread, one after the
other, the arrays in memory. Then everything that `evaluate` gathers from a layer, block of 32,768 units by block, for a
quarter of the units and for all: the peak of that process, which makes each block when it needs it.

    python benchmarks/bench_scores.py --wide --output benchmarks/results/scores-wide.json

Identification of 1,492 items among as many stimuli in 425,984 units, block by block, nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine

from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation.layers import TEST_UNITS
from hpc_recon.numerics import layer_scores, scores

PEER = Path(__file__).parent / "peers" / "scores_bdpy.py"
#: Items and units: the test images of a published study, and a layer of VGG19's third block (256 x 56 x 56).
ITEMS, UNITS = 50, 802_816
#: What took bdpy 17 hours (its issue 145): all items of a study in a layer.
WIDE_ITEMS, WIDE_UNITS = 1_492, 425_984


def block(n_items, start, stop):
    """Return decoded and true features of some units; true ones share a pattern, as those of networks do."""
    rng = np.random.default_rng((7, start))
    true = rng.standard_normal((n_items, stop - start), np.float32) + rng.standard_normal(stop - start, np.float32)
    return 0.3 * true + rng.standard_normal(true.shape, np.float32), true


def gather(n_items, n_units):
    """Score a layer block by block, as a tile of `evaluate` does."""
    found = None
    for start, stop in ranges(n_units, TEST_UNITS):
        decoded, true = block(n_items, start, stop)
        statistics = {"mean": true.mean(axis=0), "scale": true.std(axis=0, ddof=1)}
        own = layer_scores.layer_scores(
            decoded, true, np.arange(n_items), **statistics, category=np.arange(n_items) % 2
        )
        found = own if found is None else found + own
    return found


def ours(folder):
    """Time both scores on arrays in memory, in blocks of units."""
    decoded, true = (np.load(folder / f"{name}.npy") for name in ("decoded", "true"))
    parts = list(ranges(decoded.shape[1], TEST_UNITS))
    begin = time.perf_counter()
    profile = np.concatenate([scores.profile_correlation(decoded[:, a:b], true[:, a:b]) for a, b in parts])
    middle = time.perf_counter()
    total = scores.products(decoded[:, :0], true[:, :0])
    for a, b in parts:
        total += scores.products(decoded[:, a:b], true[:, a:b])
    accuracy = scores.pairwise_identification(total.correlation()).accuracy
    end = time.perf_counter()
    np.save(folder / "ours_profile.npy", profile)
    np.save(folder / "ours_identification.npy", accuracy)
    return {"profile_s": middle - begin, "identification_s": end - middle}


def loop(folder):
    """Time a plain loop: `corrcoef` a unit, `corrcoef` of all items at once."""
    decoded, true = (np.load(folder / f"{name}.npy") for name in ("decoded", "true"))
    begin = time.perf_counter()
    profile = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(decoded.T, true.T, strict=True)])
    middle = time.perf_counter()
    n = len(decoded)
    r = np.corrcoef(decoded, true)[:n, n:]
    accuracy = [(np.delete(row, i) < row[i]).mean() for i, row in enumerate(r)]
    end = time.perf_counter()
    np.save(folder / "loop_profile.npy", profile)
    np.save(folder / "loop_identification.npy", accuracy)
    return {"profile_s": middle - begin, "identification_s": end - middle}


def peak(folder, n_items, n_units):
    """Gather a whole layer."""
    begin = time.perf_counter()
    found = gather(n_items, n_units)
    assert len(found.profile) == n_units
    return {"n_units": n_units, "seconds": time.perf_counter() - begin}


def wide(folder, n_items, n_units):
    """Identify items among all stimuli; blocks are made when they are needed, which is timed apart."""
    made, begin, cpu = 0.0, time.perf_counter(), time.process_time()
    total, made_cpu = None, 0.0
    for part in ranges(n_units, TEST_UNITS):
        before, cpu_before = time.perf_counter(), time.process_time()
        decoded, true = block(n_items, *part)
        made, made_cpu = made + time.perf_counter() - before, made_cpu + time.process_time() - cpu_before
        own = scores.products(decoded, true)
        total = own if total is None else total + own
    accuracy = scores.pairwise_identification(total.correlation()).accuracy
    return {
        "seconds": time.perf_counter() - begin - made,
        "cpu_seconds": time.process_time() - cpu - made_cpu,
        "making_seconds": made,
        "accuracy": float(accuracy.mean()),
    }


def peak_mib():
    """Return the peak of this program alone: `ru_maxrss` would begin at that of the process which started it."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(*arguments, python=sys.executable, script=__file__):
    """Run one part in a process of its own, with one thread, and return what it prints."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [str(python), str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **one})
    return json.loads(done.stdout.splitlines()[-1])


def measure(n_items, n_units, peer):
    """Return the figures of all programs, and how far their results lie apart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [block(n_items, *part) for part in ranges(n_units, TEST_UNITS)]
        for i, which in enumerate(("decoded", "true")):
            np.save(folder / f"{which}.npy", np.hstack([own[i] for own in parts]))
        del parts
        found = {"ours": child("--part", "ours", folder), "loop": child("--part", "loop", folder)}
        if peer is not None:
            found["bdpy"] = child(folder, python=peer, script=PEER)
        for other in [key for key in found if key != "ours"]:
            for score in ("profile", "identification"):
                a, b = (np.load(folder / f"{who}_{score}.npy") for who in ("ours", other))
                found[other][f"largest_difference_{score}"] = float(np.abs(a - b).max())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, help="interpreter that has bdpy; without it bdpy is left out")
    parser.add_argument("--wide", action="store_true", help="only identification of many items in many units")
    parser.add_argument("--items", type=int)
    parser.add_argument("--units", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        kind, folder, *sizes = options.part
        found = {"ours": ours, "loop": loop, "peak": peak, "wide": wide}[kind](Path(folder), *map(int, sizes))
        found["peak_mib"] = peak_mib()
        print(json.dumps(found))
        return
    items, units = (WIDE_ITEMS, WIDE_UNITS) if options.wide else (ITEMS, UNITS)
    items, units = options.items or items, options.units or units
    result = {"machine": machine(), "items": items, "units": units}
    if options.wide:
        result["identification"] = child("--part", "wide", "-", items, units)
    else:
        if options.peer_python is None:
            print("bdpy is left out: no --peer-python was given")
        result["programs"] = measure(items, units, options.peer_python)
        result["gathering"] = [child("--part", "peak", "-", items, n) for n in (units // 4, units)]
    print(json.dumps(result, indent=1))
    if options.output is not None:
        write_json(options.output, result)


if __name__ == "__main__":
    main()
