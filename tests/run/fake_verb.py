"""A verb that computes nothing: tiles write one file each; how it behaves comes from the study's description (JSON).

Keys: `n` tiles (10), `seconds` each (`need`: projected), and lists of starts: `fail` raise, `once` raise the first
time, `bad` raise DataError, `die` kill their worker the first time, `warn` warn, `memory` raise MemoryError, `hold`
wait until there is a file, `go` (default: `go` in the workspace); tiles that start after that take `late` seconds.
"""

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np

from hpc_recon.core.errors import DataError
from hpc_recon.core.files import write_atomic
from hpc_recon.core.tiles import Group, Need, Tile, canonical


def _behaviour(study):
    return json.loads(study.report.description or "{}")


def plan(study, shapes):
    orders = _behaviour(study)
    group = Group("fit", ("S1", "VC", "net", "layer"), canonical({"fit": {"alpha": study.fit.alpha}}))
    need = Need(
        host_bytes=1000,
        bytes_in=10,
        bytes_out=orders.get("out_bytes", 800),
        files_out=1,
        seconds=orders.get("need", orders.get("seconds", 0.01)),
    )
    return [Tile(group, "fit", i * 10, i * 10 + 10, need) for i in range(orders.get("n", 10))]


def prepare(study):
    (study.workspace / "out").mkdir(exist_ok=True)


def _first_time(study, tile):
    try:
        with open(study.workspace / f"seen-{tile.name}", "x"):
            return True
    except FileExistsError:
        return False


def _say_that_it_starts(study, tile):
    with open(study.workspace / f"starts-{tile.name}", "a") as stream:
        stream.write(f"{os.getpid()} {time.time()}\n")


def work(study, tile) -> list[Path]:
    orders = _behaviour(study)
    _say_that_it_starts(study, tile)
    go = Path(orders.get("go", study.workspace / "go"))
    time.sleep(orders.get("late" if go.exists() else "seconds", 0.0))
    while tile.start in orders.get("hold", []) and not go.exists():
        time.sleep(0.02)
    if tile.start in orders.get("warn", []):
        warnings.warn("a warning from the tile", RuntimeWarning, stacklevel=1)
    if tile.start in orders.get("fail", []) or (tile.start in orders.get("once", []) and _first_time(study, tile)):
        raise RuntimeError(f"tile {tile.start} is told to fail")
    if tile.start in orders.get("bad", []):
        raise DataError("voxels are NaN; correct the data")
    if tile.start in orders.get("memory", []):
        _first_time(study, tile)
        raise MemoryError("told to need too much")
    if tile.start in orders.get("die", []) and _first_time(study, tile):
        os._exit(9)
    if tile.start in orders.get("hog", []):
        held = np.ones(orders["hog_bytes"], dtype=np.uint8)
        time.sleep(0.5)
        held += 1
    n_values = orders.get("out_bytes", 800) // 8
    values = np.random.default_rng(tile.start).standard_normal(n_values) * study.fit.alpha
    path = study.workspace / "out" / f"{tile.name}.bin"
    return [write_atomic(path, values.tobytes())]
