"""Do hpc_recon and bdpy agree on BData files, and what does one ROI of a large file cost each?

    python -m venv /tmp/bdpy && /tmp/bdpy/bin/pip install -r benchmarks/peers/requirements-bdpy.txt   # Python 3.11
    python benchmarks/bench_bdata.py --peer-python /tmp/bdpy/bin/python --output benchmarks/results/bdata.json

Agreement: a file written by bdpy and one written here, each read by both: every value, key, label, and the columns of
random selectors with parentheses, quotes, wildcards and blanks. Cost: one ROI of a 6,000 x 12,000 float64 file, each
program in a process of its own, taking turns, with the file in the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
from fuzz_files import memory

from hpc_recon.core.errors import DataError
from hpc_recon.core.files import write_json
from hpc_recon.formats.bdata import BData
from hpc_recon.formats.bdata_write import Row, write_bdata

PEER = Path(__file__).parent / "peers" / "bdata_bdpy.py"
VARIABLE = "HPC_RECON_BDPY_PYTHON"
ROIS = ("ROI_V1", "ROI_V2", "ROI_V3", "ROI_LOC", "ROI-odd", "hcp180_a")
SELECTOR = "ROI_V1 = 1"


def selector(rng, depth=3):
    """Return a random expression that is valid by bdpy's grammar."""
    if depth == 0 or rng.random() < 0.35:
        name = rng.choice((*ROIS, "VoxelData", "ROI_*", "ROI_V*", "*", "Run", "R OI_V1"))
        quote = rng.choice("'\"") if "-" in name else rng.choice(("", "", "'"))
        text = f"{quote}{name if not quote else name.replace(' ', '')}{quote}"
    else:
        sign = rng.choice("|+&-")
        left, right = (selector(rng, depth - 1) for _ in range(2))
        text = f"{left}{rng.choice(('', ' '))}{sign} {right}"
        if rng.random() < 0.6:
            return f"({text})" + rng.choice(("", "", " = 1", "=0"))
        return text
    return text + rng.choice(("", "", " = 1", " = 0", "=2"))


def content(seed):
    """Return blocks, metadata rows over the voxels, and a vmap."""
    rng = np.random.default_rng(seed)
    n, d = 30, 50
    names = rng.integers(1, 9, n).astype(float)
    names[::7] = np.nan
    blocks = {
        "VoxelData": rng.standard_normal((n, d)),
        "Run": np.repeat(np.arange(3.0), n // 3),
        "stimulus_name": names,
    }
    rows = {roi: np.where(rng.random(d) < 0.4, 1.0, np.nan) for roi in ROIS} | {"voxel_x": rng.integers(-3, 4, d) * 1.0}
    # bdpy keeps only the numbers that samples have
    return blocks, rows, {float(i): f"stimulus é {i}" for i in np.unique(names[~np.isnan(names)])}


def write_ours(path, seed):
    blocks, rows, vmap = content(seed)
    metadata = {name: Row("VoxelData", values) for name, values in rows.items()}
    return write_bdata(path, blocks, metadata=metadata, vmaps={"stimulus_name": vmap}, header={"made_by": "bench"})


def write_theirs(python, path, seed, folder):
    blocks, rows, vmap = content(seed)
    np.savez(
        folder / "case.npz",
        blocks=np.array(list(blocks)),
        rows=np.array(list(rows)),
        vmap_numbers=np.array(list(vmap)),
        vmap_texts=np.array(list(vmap.values())),
        **{f"block_{name}": values for name, values in blocks.items()},
        **{f"row_{name}": values for name, values in rows.items()},
    )
    run(python, PEER, "write", folder / "case.npz", path)
    return path


def run(*command):
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{command} failed:\n{ran.stderr}")
    return ran.stdout


def compare(python, path, selectors, folder):
    """Return what differs between the programs in one file; everything is counted, nothing is tolerated."""
    (folder / "selectors.json").write_text(json.dumps(selectors))
    run(python, PEER, "answer", path, folder / "selectors.json", folder / "answers.npz")
    ours, blocks = BData(path), content(0)[0]
    unequal = refused = 0
    with np.load(folder / "answers.npz") as theirs:
        for expression, mask, error in zip(selectors, theirs["masks"], theirs["errors"].tolist(), strict=True):
            equal = not error and np.array_equal(ours.columns(expression, reading="bdpy"), np.flatnonzero(mask))
            unequal += not equal
            try:
                ours.columns(expression)
            except DataError:
                refused += 1
        values = np.stack([ours.value(key) for key in ours.keys])
        return {
            "bdpy": str(theirs["version"]),
            "values": int(theirs["dataset"].size),
            "dataset_equal": np.array_equal(ours.read(dtype=np.float64), theirs["dataset"], equal_nan=True)
            and theirs["dataset"].shape[0] == len(blocks["Run"]),
            "keys_equal": list(ours.keys) == theirs["keys"].tolist(),
            "descriptions_equal": list(ours.descriptions.values()) == theirs["descriptions"].tolist(),
            "metadata_equal": np.array_equal(values, theirs["values"], equal_nan=True),
            "labels_equal": list(ours.label("stimulus_name")) == theirs["labels"].tolist(),
            "selectors": len(selectors),
            "selectors_unequal": unequal,
            "selectors_refused_as_ambiguous": refused,
        }


def write_large(path, n, d):
    """A file as bdpy writes it, with one ROI of a tenth of the voxels, scattered."""
    rng = np.random.default_rng(0)
    roi = np.zeros(d, dtype=bool)
    roi[rng.permutation(d)[: d // 10]] = True
    samples = rng.standard_normal((n, d))
    return write_bdata(path, {"VoxelData": samples}, metadata={"ROI_V1": Row("VoxelData", roi)})


def roi(path, selector):
    before, begin = memory("VmRSS"), time.perf_counter()
    samples = BData(Path(path)).read(selector, dtype=np.float64)
    seconds = time.perf_counter() - begin
    result = {"seconds": seconds, "bytes": memory("VmHWM") - before, "shape": samples.shape}
    result["sha256"] = hashlib.sha256(np.ascontiguousarray(samples)).hexdigest()  # after what is measured
    print(json.dumps(result))


def cost(python, path, repetitions):
    commands = {"ours": [sys.executable, __file__, "--roi", path, SELECTOR]}
    if python:
        commands["bdpy"] = [python, PEER, "roi", path, SELECTOR]
    runs = {name: [] for name in commands}
    for _ in range(repetitions + 1):
        for name, command in commands.items():
            runs[name].append(json.loads(run(*command)))
    assert len({(tuple(found["shape"]), found["sha256"]) for each in runs.values() for found in each}) == 1
    return {
        name: {
            "seconds": sorted(found["seconds"] for found in each[1:]),  # the first filled the page cache
            "seconds_median": statistics.median(found["seconds"] for found in each[1:]),
            "bytes_above_start": max(found["bytes"] for found in each[1:]),
            "shape": each[0]["shape"],
        }
        for name, each in runs.items()
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get(VARIABLE), help=f"has bdpy; default ${VARIABLE}")
    parser.add_argument("--selectors", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--toy", action="store_true", help="small file, few selectors")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--roi", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.roi:
        roi(*options.roi)
        return 0
    n, d = (60, 120) if options.toy else (6_000, 12_000)
    result = {"machine": machine.machine(), "shape": [n, d], "agreement": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.peer_python:
            rng = random.Random(0)
            expressions = [selector(rng) for _ in range(50 if options.toy else options.selectors)]
            python = options.peer_python
            for writer, path in {
                "written_by_ours": write_ours(folder / "ours.h5", 1),
                "written_by_bdpy": write_theirs(python, folder / "bdpy.h5", 2, folder),
            }.items():
                result["agreement"][writer] = compare(python, path, expressions, folder)
        else:
            print(f"no --peer-python and no ${VARIABLE}: bdpy is left out")
        result["one_roi"] = cost(options.peer_python, write_large(folder / "large.h5", n, d), options.repetitions)
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result)
    differing = any(
        each["selectors_unequal"] or not all(value for key, value in each.items() if key.endswith("_equal"))
        for each in result["agreement"].values()
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
