"""What does every command from stimuli to report cost, end to end, and how far is it from what the machine allows?

Simulates a study, then runs `extract`, `fit`, `decode`, `reconstruct`, `evaluate` and `report`, one worker with one
thread. For each: seconds by the clock and of CPU (start of the worker included), seconds of its tiles alone, peak
memory of a tile, bytes that its processes read and wrote, and three limits measured or counted in the same run:

- arithmetic: necessary operations at the rate of a matrix product (numpy, float32, one thread);
- memory: bytes that must pass through memory once, at the rate of numpy's triad;
- disk: bytes that the tiles read and write, at the rate of one large file, read past the page cache.

The largest binds. Peers do the arithmetic of a slice in the same run: FastL2LiR and scikit-learn for `fit`, a numpy
loop for `decode` and `evaluate` (bdpy too, where given), bare torch for `extract` and `reconstruct`.

    python benchmarks/bench_review.py --toy
    python benchmarks/bench_review.py --output benchmarks/results/review.json

docs/performance.md shows the figures. Needs Linux; half a gigabyte below `--folder` (default: a temporary one).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_peers
import bench_scores
import numpy as np
from give import give
from machine import machine
from peers import timed

VERBS = ("extract", "fit", "decode", "reconstruct", "evaluate", "report")
SMALL = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1")
SIZE = {"training": 1200, "repeats": 5, "test": 24, "voxels": 8000, "pixels": 64, "k": 500, "iterations": 25}
TOY = {"training": 16, "repeats": 2, "test": 4, "voxels": 60, "pixels": 16, "k": 10, "iterations": 2}
#: Units that peers fit (few, many), that the loops predict and score, and images that bare torch makes.
SLICE = {"fastl2lir": (32, 160), "scikit-learn": (2, 6), "units": 2048, "images": 2, "stimuli": 64}
TOY_SLICE = {"fastl2lir": (2, 6), "scikit-learn": (2, 4), "units": 32, "images": 1, "stimuli": 4}
#: Images made together, of the growth curve.
IMAGES, TOY_IMAGES = (1, 2, 4, 8), (1, 2)


def write_study(folder, size, layers):
    """Write the study, and the file of a cluster of one worker with one thread; return both."""
    content = {
        "name": "review",
        "workspace": str(folder / "review"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {
            "preset": "easy", "image_size": size["pixels"], "n_training": size["training"], "n_natural": size["test"],
            "n_voxels": size["voxels"], "training_repeats": size["repeats"],
        },
        "networks": {"net": {"architecture": "vgg11_quarter", "weights": "random:1", "layers": list(layers)}},
        "fit": {"n_voxels": size["k"], "alpha": 100},
        "reconstruct": {
            "icnn": {"method": "icnn", "network": "net", "iterations": size["iterations"], "recovery": 0},
        },
    }  # fmt: skip
    study, cluster = folder / "study.yaml", folder / "one.yaml"
    study.write_text(json.dumps(content))  # JSON is YAML
    cluster.write_text("cluster: {kind: local, jobs: '1', threads: 1}\n")
    return study, cluster


def counters():
    """Return CPU seconds of processes that this one started and that have ended, and bytes read and written by them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return np.array([used.ru_utime + used.ru_stime, int(io["rchar"]), int(io["wchar"])])


def command(verb, study, cluster):
    """Run one command; return what it took."""
    before, begin = counters(), time.perf_counter()
    arguments = ["--study", str(study), "--cluster-file", str(cluster)]
    done = subprocess.run(
        [sys.executable, "-m", f"hpc_recon.{verb}", *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{verb} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    seconds, used = time.perf_counter() - begin, counters() - before
    return {"seconds": seconds, "cpu_seconds": used[0], "bytes_read": int(used[1]), "bytes_written": int(used[2])}


def tiles_of(verb, study):
    """Return what the receipts of a command say, and the bytes that its plan projects."""
    from hpc_recon.core import receipts
    from hpc_recon.run.verbs import read_shapes, step

    runs = [receipt.run for _, receipt in receipts.iterate(study.workspace, verb)]
    needs = [tile.need for tile in step(verb).load().plan(study, read_shapes(study))]
    return {
        "tiles": len(runs),
        "tile_seconds": sum(run["seconds"] for run in runs),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "bytes_in": sum(need.bytes_in for need in needs),
        "bytes_out": sum(need.bytes_out for need in needs),
    }


def rates(folder, *, n_bytes, order):
    """Return operations a second of a matrix product, bytes a second of a triad and of one file; the best of three."""
    n = n_bytes // 12
    a, b, c = (np.full(n, value, np.float32) for value in (0.0, 1.0, 2.0))
    path, block = folder / "rate.bin", bytes(n_bytes // 8)
    found = {"memory": 0.0, "write": 0.0, "read": 0.0}
    for _ in range(3):
        begin = time.perf_counter()
        np.multiply(c, 3.0, out=a)
        np.add(a, b, out=a)
        found["memory"] = max(found["memory"], 5 * a.nbytes / (time.perf_counter() - begin))
        begin = time.perf_counter()
        with open(path, "wb", buffering=0) as stream:
            for _ in range(8):
                stream.write(block)
            os.fsync(stream.fileno())
        found["write"] = max(found["write"], 8 * len(block) / (time.perf_counter() - begin))
        with open(path, "rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begin = time.perf_counter()
            while stream.read(len(block)):
                pass
        found["read"] = max(found["read"], 8 * len(block) / (time.perf_counter() - begin))
    path.unlink()
    return {"arithmetic": timed.sgemm_rate(order), **found}


class Bare:
    """The network of the study in bare torch: its pass from images to layers, and back."""

    def __init__(self, study, pixels, n):
        import torch

        from hpc_recon.nets import taps, zoo
        from hpc_recon.stores import arrays, layout

        torch.set_num_threads(1)
        self.layers = study.networks["net"].layers
        self.net = zoo.load(study.networks["net"], image_size=pixels)
        self.activations = taps.activations
        stored = arrays.read(study.workspace, layout.stimuli(), slice(0, n))
        self.images = torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255

    def operations(self, *, back):
        """Return the operations of one image, with the way back to its pixels or without."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.step(self.images[:1]) if back else self.activations(self.net, self.images[:1], self.layers)
        return counter.get_total_flops()

    def step(self, images):
        leaf = images.clone().requires_grad_()
        found = self.activations(self.net, leaf, self.layers)
        sum((one**2).sum() for one in found.values()).backward()
        return leaf.grad

    def extract(self):
        """Return CPU seconds of one image."""
        import torch

        begin = time.process_time()
        with torch.inference_mode():
            self.activations(self.net, self.images, self.layers)
        return (time.process_time() - begin) / len(self.images)

    def reconstruct(self, n, iterations):
        """Return CPU seconds of one image: Adam on the squared difference, so many steps, one image at a time."""
        import torch

        begin = time.process_time()
        for image in self.images[:n]:
            with torch.no_grad():
                given = self.activations(self.net, image[None], self.layers)
            pixels = torch.full_like(image[None], 0.5, requires_grad=True)
            adam = torch.optim.Adam([pixels], lr=0.01)
            for _ in range(iterations):
                adam.zero_grad()
                found = self.activations(self.net, pixels, self.layers)
                sum(((found[name] - given[name]) ** 2).sum() for name in given).backward()
                adam.step()
        return (time.process_time() - begin) / n


def grow_images(bare, study, numbers):
    """Return CPU seconds of making so many images together, of the network, by method icnn."""
    import torch

    from hpc_recon.methods import icnn
    from hpc_recon.methods.targets import Targets

    points = []
    for n in numbers:
        with torch.inference_mode():
            found = bare.activations(bare.net, bare.images[:n], bare.layers)
        joined = {layer: values.flatten(1).numpy().copy() for layer, values in found.items()}
        start = np.full((*bare.images.shape[2:], 3), 0.5, np.float32)
        given = Targets(tuple(f"i{i}" for i in range(n)), joined, start)
        begin = time.process_time()
        icnn.reconstruct(given, study.reconstruct["icnn"], network=study.networks["net"], device="cpu")
        points.append({"images": n, "cpu_seconds": time.process_time() - begin})
    return points


def fit_peers(study, folder, size, layer, part, peer_python):
    """Return marginal seconds of one unit of each peer, on samples and features of the study."""
    from hpc_recon.decoding import inputs
    from hpc_recon.stores import arrays, layout

    train = inputs.training(study, "S1", "VC")
    X, stimulus = np.asarray(train.samples, np.float32), train.codes
    Y = arrays.read(study.workspace, layout.features("net", layer), train.rows, slice(0, part["fastl2lir"][1]))
    varied = X.std(axis=0) > 0, Y.std(axis=0) > 0
    X, Y = np.ascontiguousarray(X[:, varied[0]]), np.ascontiguousarray(Y[:, varied[1]])
    bench_peers.store(folder, X, Y, X[:2], stimulus)
    settings = {"k": min(size["k"], X.shape[1]), "alpha": 100.0, "threads": 1}
    pythons = {"scikit-learn": sys.executable} | ({"fastl2lir": peer_python} if peer_python else {})
    found = {}
    for name, python in pythons.items():
        program = bench_peers.Program(name, python, folder, settings)
        try:
            few, many = (min(n, Y.shape[1]) for n in part[name])
            short, long = (program.ask("fit", units=n)["seconds"] for n in (few, many))
            found[name] = (long - short) / (many - few)
        finally:
            program.close()
    return found


def loops(study, folder, layer, part, bdpy_python):
    """Return seconds of one unit in a numpy loop: of prediction, and of scores (bdpy's too)."""
    from hpc_recon.stores import arrays, layout

    name, some = study.decoded_name("net"), slice(0, part["units"])
    voxel, weight = (
        arrays.read(study.workspace, layout.decoder("S1", "VC", name, layer, which), some)
        for which in ("voxel", "weight")
    )
    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", name, layer), None, some)
    z = np.random.default_rng(0).standard_normal((len(decoded), int(voxel.max()) + 1), np.float32)
    begin = time.perf_counter()
    for v, w in zip(voxel, weight, strict=True):
        z[:, v] @ w
    predict = (time.perf_counter() - begin) / len(voxel)
    true = arrays.read(study.workspace, layout.features("net", layer), slice(0, len(decoded)), some)
    varied = (true.std(axis=0) > 0) & (decoded.std(axis=0) > 0)
    np.save(folder / "decoded.npy", decoded[:, varied])
    np.save(folder / "true.npy", true[:, varied])
    n = int(varied.sum())
    programs = {"numpy": bench_scores.child("--part", "loop", folder, script=bench_scores.__file__)}
    if bdpy_python:
        programs["bdpy"] = bench_scores.child(folder, python=bdpy_python, script=bench_scores.PEER)
    return {"numpy": predict}, {k: (s["profile_s"] + s["identification_s"]) / n for k, s in programs.items()}


def limits(stage, verb, speed, *, work):
    """Return the seconds of each limit, the name of the one that binds, and our share of it."""
    operations, through_memory = work.get(verb, (0, 0))
    seconds = {
        "arithmetic": operations / speed["arithmetic"],
        "memory": through_memory / speed["memory"],
        "disk": stage["bytes_in"] / speed["read"] + stage["bytes_out"] / speed["write"],
    }
    binds = max(seconds, key=seconds.get)
    return {
        "limit_seconds": seconds,
        "binds": binds,
        "share_of_limit": {key: seconds[binds] / stage[key] for key in ("cpu_seconds", "tile_seconds")},
    }


def necessary(size, n_units, *, image, image_and_back):
    """Return operations and bytes through memory that each command cannot do without, by command."""
    n, test, v, k = size["training"], size["test"], size["voxels"], min(size["k"], size["voxels"])
    samples = n * size["repeats"]
    return {
        "extract": ((n + test) * image, 4 * (n + test) * n_units),
        # The Gram matrix (half of it), correlations with all voxels, one factorisation a unit.
        "fit": (samples * v**2 + n_units * (2 * n * v + k**3 / 3), n_units * (4 * n + 2 * k**2) + 4 * samples * v),
        "decode": (2 * n_units * k * test, n_units * (8 * k + 4 * test)),
        "reconstruct": (test * size["iterations"] * image_and_back, 4 * test * n_units),
        "evaluate": (2 * n_units * test**2, 8 * n_units * test),
    }


def measure(folder, size, layers, *, part, images, peer_python, bdpy_python, most_bytes):
    """Run everything; return the figures."""
    from hpc_recon.core.loading import load_study
    from hpc_recon.stores import arrays, layout

    speed = rates(folder, n_bytes=most_bytes, order=2048 if most_bytes > 1 << 24 else 256)
    study_file, cluster = write_study(folder, size, layers)
    study = load_study(study_file, [])
    found = {"simulate": command("simulate", study_file, cluster)}
    for verb in VERBS:
        found[verb] = command(verb, study_file, cluster) | tiles_of(verb, study)
        print(verb, json.dumps(found[verb], default=float), file=sys.stderr, flush=True)
    pixels = (size["pixels"], size["pixels"])
    bare = Bare(study, pixels, max(part["stimuli"], *images))
    bare.extract()  # the first pass allocates
    layer = layers[-1]
    units = {name: arrays.describe(study.workspace, layout.features("net", name)).shape[1] for name in layers}
    n_units = sum(units.values())
    work = necessary(size, n_units, image=bare.operations(back=False), image_and_back=bare.operations(back=True))
    predict, score = loops(study, folder, layer, part, bdpy_python)
    # Seconds that a peer would take for all of a stage, from its slice.
    n_stimuli = size["training"] + size["test"]
    peers = {
        "extract": {"torch": n_stimuli * bare.extract()},
        "fit": {k: s * n_units for k, s in fit_peers(study, folder, size, layer, part, peer_python).items()},
        "decode": {k: s * n_units for k, s in predict.items()},
        "reconstruct": {"torch": size["test"] * bare.reconstruct(part["images"], size["iterations"])},
        "evaluate": {k: s * n_units for k, s in score.items()},
        "report": {},
    }
    for verb in VERBS:
        found[verb] |= limits(found[verb], verb, speed, work=work) | {"peer_seconds": peers[verb]}
    return {"rates": speed, "units": units, "stages": found, "growth_images": grow_images(bare, study, images)}


def table(result):
    """Return the table of docs/performance.md, in Markdown."""
    lines = ["| command | clock, s | CPU, s | tiles, s | peak, MiB | limit, s | share of it | peers, s |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for verb in VERBS:
        own = result["stages"][verb]
        peers = ", ".join(f"{name} {seconds:.3g}" for name, seconds in own["peer_seconds"].items())
        lines.append(
            f"| `{verb}` | {own['seconds']:.3g} | {own['cpu_seconds']:.3g} | {own['tile_seconds']:.3g} | "
            f"{own['peak_bytes'] / 2**20:,.0f} | {own['limit_seconds'][own['binds']]:.2g} ({own['binds']}) | "
            f"{own['share_of_limit']['tile_seconds']:.2g} | {peers} |"
        )
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes")
    for name, value in SIZE.items():
        parser.add_argument(f"--{name}", type=int, default=None, help=f"default: {value:,}")
    parser.add_argument("--layers", nargs="+", default=None, help=f"default: {' '.join(SMALL)}")
    parser.add_argument("--peer-python", default=os.environ.get(bench_peers.VARIABLE), help="has FastL2LiR")
    parser.add_argument("--bdpy-python", default=os.environ.get("HPC_RECON_BDPY_PYTHON"), help="has bdpy")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args(argv)
    size = {name: getattr(options, name) or value for name, value in (TOY if options.toy else SIZE).items()}
    layers = tuple(options.layers or (SMALL[:1] if options.toy else SMALL))
    described = machine()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        result = measure(
            folder,
            size,
            layers,
            part=TOY_SLICE if options.toy else SLICE,
            images=TOY_IMAGES if options.toy else IMAGES,
            peer_python=options.peer_python,
            bdpy_python=options.bdpy_python,
            most_bytes=1 << 22 if options.toy else 3 << 26,
        )
    finally:
        shutil.rmtree(folder)
    print(table(result), file=sys.stderr)
    return give({"machine": described, "size": size, **result}, options.output)


if __name__ == "__main__":
    sys.exit(main())
