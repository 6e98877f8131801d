"""What does a tile cost apart from its own work, and how long do starting, resuming and `status` take with very many?

First a controller runs `--tiles` trivial tiles (benchmarks/trivial_tiles.py) on `--workers` local processes. Its CPU
time (with dask's scheduler, which runs in it) and its memory are sampled from the first receipt to the last tile. Then
`--receipts` receipts are written as if so many tiles had been finished, and the same command is run again, which finds
nothing to do, and `status`: once over single receipts, once after the groups were compacted.

    python benchmarks/bench_scale.py --toy
    python benchmarks/bench_scale.py --output benchmarks/results/scale.json

docs/scale.md uses the figures. The receipts take half a gigabyte below `--folder` (default: a temporary one); all is
removed in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from give import give
from machine import machine

SIZE = {"tiles": 10_000, "workers": 16, "receipts": 100_000}
TOY = {"tiles": 60, "workers": 2, "receipts": 300}
#: Tiles of a group: a layer of VGG19 has 24 on average (465 tiles of 32,768 units in 19 layers).
GROUP = 24
#: Seconds between two samples of the controller.
SAMPLED_EVERY = 0.25
HERE = Path(__file__).resolve().parent


def write_study(folder, *, tiles, name):
    """Write a study of trivial tiles; return its file."""
    content = {
        "name": name,
        "workspace": str(folder / name),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
        "report": {"description": json.dumps({"tiles": tiles, "group": GROUP})},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def options_for(study, workers):
    from hpc_recon.run.options import Jobs, Options

    return Options(study=study, jobs=Jobs(workers, workers), memory=1 << 28)


def trivial_verb():
    from hpc_recon.run.verbs import Verb

    return Verb("fit", "trivial_tiles", "nothing")


def resident_bytes():
    """Return the bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Sampler(threading.Thread):
    """Samples seconds, CPU seconds and memory of this process from the first receipt on."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder = folder
        self.samples = []
        self.stop = threading.Event()

    def sample(self):
        self.samples.append((time.perf_counter(), time.process_time(), resident_bytes()))

    def run(self):
        while not self.stop.wait(SAMPLED_EVERY if self.samples else 0.01):
            if self.samples or any(self.folder.glob("fit-*.json")):
                self.sample()


def controller(study, workers):
    """Run the trivial tiles in this process; return what they cost."""
    from hpc_recon.core.loading import load_study
    from hpc_recon.run import runner, session

    begin = time.perf_counter()
    workspace = load_study(study).workspace
    sampler = Sampler(workspace / "receipts" / "fit" / "S1" / "VC" / "net" / "layer00000")
    run_stage = runner.StageRun.run

    def sampled(self, *arguments):
        sampler.start()
        try:
            return run_stage(self, *arguments)
        finally:
            sampler.stop.set()
            sampler.join()
            sampler.sample()

    runner.StageRun.run = sampled
    code = session.run_verbs([trivial_verb()], options_for(study, workers))
    assert code == 0, f"the run ended with {code}"
    samples, n_tiles = sampler.samples, json.loads(load_study(study).report.description)["tiles"]
    quarter = max(1, len(samples) // 4)
    first, last = samples[0], samples[-1]
    return {
        "start_seconds": first[0] - begin,
        "tile_seconds": last[0] - first[0],
        "tiles_per_second": n_tiles / (last[0] - first[0]),
        "controller_cpu_ms_per_tile": 1e3 * (last[1] - first[1]) / n_tiles,
        "controller_share_of_a_core": (last[1] - first[1]) / (last[0] - first[0]),
        "resident_bytes": {
            "first_quarter": statistics.mean(s[2] for s in samples[:quarter]),
            "last_quarter": statistics.mean(s[2] for s in samples[-quarter:]),
            "peak": max(s[2] for s in samples),
        },
        "end_seconds": time.perf_counter() - last[0],
    }


def fill(study):
    """Write a receipt for every tile, without waiting for the disk; return the groups with the names of their tiles."""
    import trivial_tiles

    from hpc_recon.core import receipts
    from hpc_recon.core.loading import load_study
    from hpc_recon.run import ledger, measure

    loaded = load_study(study)
    workspace, tiles = loaded.workspace, trivial_tiles.plan(loaded, None)
    with measure.recorded() as figures:
        pass
    fsync, os.fsync = os.fsync, lambda _: None
    try:
        ledger.commit(workspace, tiles, ledger.survey(workspace, tiles))
        for tile in tiles:
            path = workspace / "out" / f"{tile.group.path[-1]}.bin"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes(1024))
            receipts.write(workspace, tile, [path], figures)
    finally:
        os.fsync = fsync
    groups = {}
    for tile in tiles:
        groups.setdefault(tile.group, []).append(tile.name)
    return workspace, groups


def resume(study):
    """Plan, compare with the receipts, and find nothing to do; return the seconds of it."""
    from hpc_recon.core.loading import load_study
    from hpc_recon.run import session
    from hpc_recon.run.verbs import step  # noqa: F401 - what a command imports before it plans

    begin = time.perf_counter()
    planned = session.make_plan(trivial_verb(), load_study(study), options_for(study, 1))
    assert planned.selected, "no tile is planned"
    assert not planned.todo, f"{len(planned.todo)} tiles are left"
    return {
        "plan_seconds": time.perf_counter() - begin,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def in_a_process(*arguments):
    """Run a part of this file in a process of its own; return what it printed (JSON), and its wall-clock seconds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return {**json.loads(done.stdout.splitlines()[-1]), "command_seconds": time.perf_counter() - begin}


def status_seconds(study, *, receipts):
    """Return the wall-clock seconds of `status`, after looking that it counts every receipt."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hpc_recon.status", "--study", str(study)], check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - begin
    assert f"{receipts:,}" in done.stdout, done.stdout + done.stderr
    return seconds


def usage(folder):
    """Return the number of files and folders below a folder, and their bytes as `du` counts them."""
    found = [entry for path in folder.rglob("*") if (entry := path.lstat())]
    return {"inodes": len(found), "bytes_on_disk": 512 * sum(entry.st_blocks for entry in found)}


def receipts_at(folder, n_receipts):
    """Resume and `status` over many receipts, single ones and compacted ones."""
    from hpc_recon.core import receipts

    study = write_study(folder, tiles=n_receipts, name="receipts")
    begin = time.perf_counter()
    workspace, groups = fill(study)
    found = {"receipts": n_receipts, "groups": len(groups), "fill_seconds": time.perf_counter() - begin}
    for form in ("single", "compacted"):
        if form == "compacted":
            begin = time.perf_counter()
            for group, names in groups.items():
                receipts.compact(workspace, group, names)
            found["compact_seconds"] = time.perf_counter() - begin
        found[form] = {
            **usage(workspace / "receipts"),
            "resume": in_a_process("--resume", study),
            "status_seconds": status_seconds(study, receipts=n_receipts),
        }
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes")
    for name, value in SIZE.items():
        parser.add_argument(f"--{name}", type=int, default=None, help=f"default: {value:,}")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--controller", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    size = {name: getattr(options, name) or value for name, value in (TOY if options.toy else SIZE).items()}
    if options.controller is not None or options.resume is not None:
        part = controller(options.controller, size["workers"]) if options.controller else resume(options.resume)
        sys.stdout.write(json.dumps(part) + "\n")
        return 0
    described = machine()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        study = write_study(folder, tiles=size["tiles"], name="tiles")
        tiles = in_a_process("--controller", study, "--workers", size["workers"])
        receipts = receipts_at(folder, size["receipts"])
    finally:
        shutil.rmtree(folder)
    return give({"machine": described, "size": size, "tiles": tiles, "receipts": receipts}, options.output)


if __name__ == "__main__":
    sys.exit(main())
