"""Does the projected memory of `fit` and `decode` hold, and is `--memory` obeyed?

Matrix: for each shape, stores are made and each stage runs in a process of its own, which has imported what a worker
has imported. Measured is what its resident size grows by at most while it computes the first tile of the stage;
projected is that tile's `need.host_bytes`. The rule: measured <= projected <= max(1.5 x measured, measured + 160 MiB).

Worker: `fit` and `decode` with `--memory 2GiB` on a local worker, for few and for many units; the peak resident size of
the worker, everything included, comes from the receipts.

    python benchmarks/bench_memory.py --toy
    python benchmarks/bench_memory.py --output benchmarks/results/memory.json

Needs Linux. Stores are made below `--folder` (default: a temporary one) and removed: 2 GB for the matrix, 1 GB for a
million units.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from give import give
from machine import machine

from hpc_recon.core import memory, receipts
from hpc_recon.core.loading import load_study
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import ledger, measure

MIB = 2**20
#: Projected may exceed measured by this factor, or by this many bytes where little is needed: what the same stage
#: takes differs by up to 50 MiB from run to run, and kernels may be loaded already.
FACTOR, FLOOR = 1.5, 160 * MIB
#: Test items of the two test datasets, two samples each.
ITEMS = {"natural": 50, "shapes": 40}
NAMES = ("n_voxels", "n_stimuli", "repeats", "k", "n_units")
SHAPES = (
    (500, 100, 1, 50, 300),
    (500, 100, 5, 50, 4096),
    (500, 1200, 1, 500, 32768),
    (1000, 200, 1, 500, 10000),
    (2000, 300, 1, 100, 32768),
    (2000, 1200, 5, 500, 4096),
    (4000, 1200, 1, 200, 32768),
    (8000, 100, 1, 50, 32768),
    (8000, 1200, 1, 500, 300),
    (8000, 1200, 5, 500, 32768),
)
TOY_SHAPES = ((60, 20, 2, 10, 50),)
#: Of the worker: few and many units; voxels, stimuli and k are small, so that features are cheap.
WORKER_SIZE = {"n_voxels": 300, "n_stimuli": 60, "repeats": 1, "k": 20}
UNITS, TOY_UNITS = (10_000, 1_000_000), (300, 600)
BUDGET = 2 * 2**30
#: Verb, `fit` settings beyond the fixed k and alpha, and stage, in the order in which they run.
STAGES = {
    "statistics": ("fit", "plain", "statistics"),
    "folds": ("fit", "grids", "folds"),
    "choose": ("fit", "grids", "choose"),
    "fit": ("fit", "plain", "fit"),
    "fit with decode": ("fit", "decoding", "fit"),
    "decode": ("decode", "plain", "decode"),
    "correct": ("decode", "plain", "correct"),
}


def study_content(workspace, *, k, variant="plain"):
    """Return a study file of one subject and one layer; `variant` as in `STAGES`."""
    fit = {"n_voxels": k, "alpha": 100.0}
    if variant == "grids":
        fit |= {"n_voxels": {"grid": [max(k // 2, 1), k]}, "alpha": {"grid": [10.0, 100.0, 1000.0]}, "folds": 5}
    if variant == "decoding":
        fit["decode"] = True
    return {
        "name": "memory",
        "workspace": str(workspace),
        "subjects": ["S1"],
        "rois": ["VC"],
        "datasets": {"training": {"role": "training"}, **{name: {"role": "test"} for name in ITEMS}},
        "simulate": {"image_size": 16, "n_training": 24, "n_natural": 6, "n_shapes": 3, "n_voxels": 50},
        "networks": {"net": {"architecture": "vgg11_quarter", "layers": ["fc"]}},
        "fit": fit,
        "decode": {"norm_correction": "train_mean_center"},
    }


def write_study(path, workspace, **named):
    """Write a study file and load it."""
    path.write_text(yaml.safe_dump(study_content(workspace, **named), sort_keys=False))
    return load_study(path, [])


def finished(workspace, path, files):
    """Write the group and the receipt of stores that no verb made."""
    tile = Tile(Group(path[0], path[1:]), "made", 0, 1)
    ledger.commit(workspace, [tile], ledger.survey(workspace, [tile]))
    receipts.write(workspace, tile, files, {})


def make_stores(workspace, *, n_voxels, n_stimuli, repeats, n_units, **_):
    """Write stimuli, brain samples and the features of one layer: random numbers, shard by shard."""
    from hpc_recon.stores import arrays, brain, images, layout

    rng = np.random.default_rng(0)
    sizes = {"training": n_stimuli, **ITEMS}
    dataset = tuple(name for name, n in sizes.items() for _ in range(n))
    labels = tuple(f"{name}{i:04d}" for name, n in sizes.items() for i in range(n))
    pictures = np.zeros((len(labels), 16, 16, 3), np.uint8)
    stimuli = images.Stimuli(pictures, labels, dataset, ("c",) * len(labels), labels)
    finished(workspace, ("simulate", "stimuli"), images.write_stimuli(workspace, stimuli, made_by="simulate/stimuli"))
    files = []
    for name in sizes:
        rows = rng.permutation(
            np.repeat([i for i, d in enumerate(dataset) if d == name], repeats if name == "training" else 2)
        )
        made = brain.Brain(rng.standard_normal((len(rows), n_voxels), np.float32), tuple(labels[r] for r in rows))
        files += brain.write_brain(workspace, "S1", name, made, made_by="simulate/S1")
    finished(workspace, ("simulate", "S1"), files)
    n, files = len(labels), []
    features, norms = layout.feature_geometry(n, n_units), layout.row_geometry(n, 3)
    for ref, width, geometry, attributes in (
        (layout.features("net", "fc"), n_units, features, {"unit_shape": [n_units]}),
        (layout.norms("net", "fc"), 3, norms, {}),
    ):
        named = {"dtype": "float32", "geometry": geometry, "made_by": "extract/net/fc", "attributes": attributes}
        arrays.create(workspace, ref, shape=(n, width), **named)
        for i in range(0, n, geometry.shards[0]):
            for j in range(0, width, geometry.shards[1]):
                part = (min(geometry.shards[0], n - i), min(geometry.shards[1], width - j))
                files += arrays.write(workspace, ref, (i, j), rng.random(part, np.float32))  # norms are positive
    finished(workspace, ("extract", "net", "fc"), files)


def resident():
    """Return the resident bytes of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def one_stage(study_file, verb, stage):
    """Compute the tiles of a stage in this process; return what the first one took, measured and projected.

    Of `fit` and `decode` the first tile alone is computed.
    """
    import importlib

    import distributed  # noqa: F401  what an idle worker has imported
    import zarr  # noqa: F401

    from hpc_recon.run import runner
    from hpc_recon.stores import shapes

    study = load_study(Path(study_file), [])
    module, workspace = importlib.import_module(f"hpc_recon.{verb}"), study.workspace
    plan = module.plan(study, shapes.read(study))
    tiles = [tile for tile in plan if tile.stage == stage]
    tiles = tiles[:1] if stage in ("fit", "decode") else tiles
    ledger.commit(workspace, tiles, ledger.survey(workspace, plan))
    module.prepare(study)
    found = {}
    for tile in tiles:
        before = resident()
        runner.call(f"hpc_recon.{verb}", str(study_file), tile, "numpy")
        figures = receipts.read(workspace, tile).run
        found = found or {
            "measured": figures["peak_bytes"] - before,
            "projected": tile.need.host_bytes,
            "before": before,
            "seconds": figures["seconds"],
        }
    return found


def in_a_process(*arguments, n_threads, script=__file__):
    """Return what a script prints for `--part`, computed in a fresh process; here: `one_stage(*arguments)`."""
    environment = {**os.environ, "HPC_RECON_THREADS": str(n_threads), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, "--part", json.dumps([str(a) for a in arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def keeps_the_rule(measured, projected):
    """Return whether a projection is neither too small nor far too large.

    >>> keeps_the_rule(100, 99), keeps_the_rule(10**9, 14 * 10**8), keeps_the_rule(10**9, 16 * 10**8)
    (False, True, False)
    """
    return measured <= projected <= max(FACTOR * measured, measured + FLOOR)


def measure_shape(folder, shape, *, stages=tuple(STAGES), repetitions=1, n_threads):
    """Return what each stage took at most in `repetitions` runs, and was projected to take, for one shape."""
    sizes = dict(zip(NAMES, shape, strict=True))
    spaces = {variant: folder / variant for variant in ("plain", "grids", "decoding")}
    files = {variant: folder / f"{variant}.yaml" for variant in spaces}
    for variant, workspace in spaces.items():
        write_study(files[variant], workspace, k=sizes["k"], variant=variant)
    spaces["plain"].mkdir(parents=True)
    make_stores(spaces["plain"], **sizes)
    found = {}
    for name in dict.fromkeys(("statistics", *stages)):
        verb, variant, stage = STAGES[name]
        # Threads are not always at their peaks together: the largest of a few runs.
        rows = [in_a_process(files[variant], verb, stage, n_threads=n_threads) for _ in range(repetitions)]
        row = max(rows, key=lambda row: row["measured"])
        row["ratio"] = round(row["projected"] / row["measured"], 3)
        row["ok"] = keeps_the_rule(row["measured"], row["projected"])
        found[name] = row
        report(f"{shape!s:32} {name:16}", row)
        if name == "statistics":  # all share them; a tile replaces files, it never writes into one
            for other in ("grids", "decoding"):
                unshared = shutil.ignore_patterns("decoders.zarr", "decoded.zarr")
                shutil.copytree(spaces["plain"], spaces[other], copy_function=os.link, ignore=unshared)
    return {**sizes, "stages": found}


def report(title, row):
    """Print one line for the person who waits."""
    text = f"measured {row['measured'] / MIB:7.0f} MiB, projected {row['projected'] / MIB:7.0f}, x {row['ratio']:.2f}"
    print(f"{title} {text}, {row['seconds']:.1f} s{'' if row['ok'] else '  <-- outside'}", file=sys.stderr, flush=True)


def worker_peaks(folder, n_units, *, size, budget=BUDGET):
    """Run `fit` and `decode` on a local worker with this memory; return its peak resident bytes, and the projected.

    `projected` is the worker and its largest tile; what is checked against `--memory`.
    """
    from hpc_recon.run.options import Jobs, Options
    from hpc_recon.run.session import DONE, run_verbs
    from hpc_recon.run.verbs import read_shapes, step

    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    study = write_study(folder / "study.yaml", workspace, k=size["k"])
    make_stores(workspace, n_units=n_units, **size)
    found = {}
    for name in ("fit", "decode"):
        verb = step(name)
        tiles = verb.load().plan(study, read_shapes(study))
        options = Options(study=folder / "study.yaml", jobs=Jobs(1, 1), xp="numpy", memory=budget)
        if run_verbs([verb], options) != DONE:
            raise RuntimeError(f"{name} of {n_units} units failed; see {workspace / 'logs'}")
        runs = [receipt.run for _, receipt in receipts.iterate(workspace, name)]
        peak = max(run["peak_bytes"] for run in runs)
        projected = memory.WORKER_BASE + max(tile.need.host_bytes for tile in tiles)
        found[name] = {
            "tiles": len(tiles),
            "measured": peak,
            "projected": projected,
            "ratio": round(projected / peak, 3),
            "seconds": round(sum(run["seconds"] for run in runs), 1),
            "ok": keeps_the_rule(peak, projected) and peak <= budget,
        }
        report(f"worker, {n_units:,} units {name:16}", found[name])
    return {"n_units": n_units, "budget": budget, **found}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, seconds in all")
    parser.add_argument("--threads", type=int, default=2, help="of each tile")
    parser.add_argument("--repetitions", type=int, default=2, help="of each stage; the largest peak counts")
    parser.add_argument("--folder", type=Path, default=None, help="make the stores below this folder")
    parser.add_argument("--only", choices=("matrix", "worker"), default=None, help="default: both")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    parser.add_argument("--part", type=json.loads, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part is not None:
        print(json.dumps(one_stage(*options.part)))
        return 0
    if not measure.reset_peak_memory():
        raise OSError("the peak memory cannot be reset: /proc/self/clear_refs is not writable; this needs Linux")
    content = {"machine": machine(), "n_threads": options.threads, "rule": {"factor": FACTOR, "floor": FLOOR}}
    if options.only != "worker":
        content["matrix"] = []
        for shape in TOY_SHAPES if options.toy else SHAPES:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                content["matrix"].append(
                    measure_shape(Path(folder), shape, repetitions=options.repetitions, n_threads=options.threads)
                )
    if options.only != "matrix":
        content["worker"] = []
        for n_units in TOY_UNITS if options.toy else UNITS:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                content["worker"].append(worker_peaks(Path(folder), n_units, size=WORKER_SIZE))
    return give(content, options.output)


if __name__ == "__main__":
    sys.exit(main())
