"""Is our deep image reconstruction bdpy's, and how long does an iteration of each take?

    python -m venv /tmp/bdpy && /tmp/bdpy/bin/pip install -r benchmarks/peers/requirements-icnn.txt   # Python 3.11
    python benchmarks/bench_icnn.py --peer-python /tmp/bdpy/bin/python --output benchmarks/results/icnn.json

Curves: `bdpy.recon.torch.icnn.reconstruct` and `methods.icnn` with the same VGG19 (random weights, handed over),
features, layer weights, schedule and start: the loss before every step. It is to differ by no more than 1 % over the
first 50 iterations, and by 5 % at the end. Features are those of an image and noise, as decoded ones: no image has
exactly them. With `exact` ones the loss falls to nothing, where the normalised gradient makes rounding errors grow:
`own` is how far our own curve moves if its start moves by 1e-7 of white. Images: the largest and the mean difference,
in levels of 255. Where rounding alone parts two curves (a generator's input), cases named `float64` compare the same
arithmetic in double precision on both sides: what differs there is not rounding.

Time: the two programs take turns in processes of their own, with the same number of threads; a turn is a short and a
long run, whose difference counts, so that what is done once does not. Medians over turns; `ratio` is bdpy's time
divided by ours. bdpy as shipped computes gradients of the weights too, which nobody reads; `frozen` is bdpy called
with weights that need none. Batches: ours alone, seconds an image and iteration; bdpy makes one image a call.

`--only curves|time|batches` and `--case TEXT` do a part. bdpy's curves are those of `frozen`, whose arithmetic is the
same. About 15 minutes on two cores that have nothing else to do.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_reconstruct
import numpy as np
import torch
from give import give
from machine import machine
from PIL import Image

from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.methods import icnn, momentum
from hpc_recon.methods import latents as latents_of
from hpc_recon.methods.objective import Objective
from hpc_recon.methods.targets import Reconstruction, Targets
from hpc_recon.nets import latents, taps, zoo

PEER = Path(__file__).parent / "peers" / "icnn_bdpy.py"
VARIABLE = "HPC_RECON_BDPY_PYTHON"
PARTS = ("time", "batches", "curves")
CONVOLUTIONS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
#: bdpy's defaults beside those of both: decay 0.2 to 0, no blur.
PLAIN = {"decay": [0.2, 1e-10], "blur": None}
BLURRED = {"decay": [0.2, 1e-10], "blur": [2.0, 0.5]}
LATENT = {"decay": [0.01, 0.01], "blur": None}
#: Layers, pixels, momentum, whether a generator's input is optimised, iterations.
CURVES = {
    "pixels, 64 px": (CONVOLUTIONS, 64, PLAIN, False, 200),
    "pixels with blur, 64 px": (CONVOLUTIONS, 64, BLURRED, False, 200),
    "pixels with blur, fc6 too, 64 px": ((*CONVOLUTIONS, "fc6"), 64, BLURRED, False, 200),
    "pixels with blur, 112 px": (CONVOLUTIONS, 112, BLURRED, False, 200),
    "pixels with blur, exact, 64 px": (CONVOLUTIONS, 64, BLURRED, False, 200),
    "pixels with blur, exact, float64, 64 px": (CONVOLUTIONS, 64, BLURRED, False, 60),
    "generator, 64 px": (CONVOLUTIONS, 64, LATENT, True, 200),
    "generator, float64, 64 px": (CONVOLUTIONS, 64, LATENT, True, 60),
    "generator, fc6 too, 64 px": ((*CONVOLUTIONS, "fc6"), 64, LATENT, True, 200),
    "pixels, 224 px": (CONVOLUTIONS, 224, PLAIN, False, 60),
}
#: The same with the lengths of the two runs instead of iterations.
TIMES = {
    "pixels with blur, 64 px": (CONVOLUTIONS, 64, BLURRED, False, (2, 12)),
    "pixels with blur, 112 px": (CONVOLUTIONS, 112, BLURRED, False, (1, 6)),
    "pixels with blur, 224 px": (CONVOLUTIONS, 224, BLURRED, False, (1, 3)),
    "generator, 64 px": (CONVOLUTIONS, 64, LATENT, True, (2, 12)),
}
BATCHES = {"pixels with blur, 64 px": (1, 4, 12)}
TOY = ("pixels with blur, 32 px", (("conv1_1", "conv2_1"), 32, BLURRED, False, 30))
GENERATOR = {"generator": "relu7", "weights": "random:1"}
#: Standard deviation of the noise in the wanted features, of that of a layer; what starts move by for `own`.
NOISE, MOVED = 0.5, 1e-7
FIRST, LARGEST_FIRST, LARGEST_LAST = 50, 0.01, 0.05


class Case:
    """One reconstruction, as files for bdpy and as arguments for us."""

    def __init__(self, folder, name, layers, size, momentum, generated, *, n=1):
        self.name, self.size, self.momentum = name.replace(" ", "_"), size, momentum
        self.double = "float64" in name
        self.folder = folder / self.name
        self.folder.mkdir(exist_ok=True)
        optimiser = {"name": "momentum", "decay": momentum["decay"], "blur": momentum["blur"] or 0}
        options = {
            "balance": "published",
            "optimiser": optimiser,
            "preset": "generator_gd" if generated else "pixels_gd",
        }
        rng = np.random.default_rng(0)
        if generated:
            upper = rng.integers(2, 7, 4096)  # as act_range/3x/fc7.txt
            (self.folder / "upper.txt").write_text(" ".join(map(str, upper)))
            np.save(self.folder / "upper.npy", np.float32(upper))
            options["latent"] = GENERATOR | {"upper_file": str(self.folder / "upper.txt")}
        else:
            start = rng.integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(start).save(self.folder / "start.png")
            np.save(self.folder / "start.npy", start)
            options |= {"start_file": str(self.folder / "start.png"), "start_noise": 0}
        study = bench_reconstruct.study_of("vgg19", layers, options)
        net = study.networks["net"].model_copy(update={"preprocessing": "caffe"})
        self.network, self.options = net, study.reconstruct["icnn"]
        study = study.model_copy(update={"networks": {"net": net}})
        self.given = self._generated(layers, n) if generated else bench_reconstruct.random_targets(study, size, n)
        if "exact" not in name:
            for values in self.given.features.values():
                values += np.float32(NOISE * values.std()) * rng.standard_normal(values.shape, np.float32)
        loaded = zoo.load(net, image_size=(size, size))
        norms = {layer: float(np.square(self.given.features[layer][0], dtype=np.float64).sum()) for layer in layers}
        for layer in layers:
            values = self.given.features[layer][0]
            np.save(self.folder / f"{layer}.npy", values.reshape(loaded.taps[layer].unit_shape))
        # Published: one over the square of the norm of the features; ours divides by the number of layers too.
        weights = {layer: 1 / (len(layers) * norm) for layer, norm in norms.items()}
        (self.folder / "weights.json").write_text(json.dumps(weights))
        torch.save(loaded.body.state_dict(), folder / f"vgg19{'_whole' if 'fc6' in layers else ''}.pt")
        if generated:
            torch.save(self._generator().body.state_dict(), folder / "relu7.pt")

    def _generator(self):
        return latents.load(GeneratorLatent(**GENERATOR), size=(self.size, self.size))

    def _generated(self, layers, n):
        """Return features of images that the generator can make."""
        rng = np.random.default_rng(1)
        latent = torch.from_numpy(rng.random((n, 4096), np.float32) * 2)
        net = zoo.load(self.network, image_size=(self.size, self.size))
        with torch.inference_mode():
            found = taps.activations(net, self._generator()(latent).clamp(0, 1), layers)
        start = np.full((self.size, self.size, 3), 0.5, np.float32)
        features = {layer: values.flatten(1).numpy().copy() for layer, values in found.items()}
        return Targets(tuple(f"i{i}" for i in range(n)), features, start)

    def ours(self, *, iterations, threads, moved=0.0):
        torch.set_num_threads(threads)
        options = self.options.model_copy(update={"iterations": iterations, "start_noise": moved})
        if self.double:
            return {"made": self._doubled(options)}
        wall, cpu = time.perf_counter(), time.process_time()
        made = icnn.reconstruct(self.given, options, network=self.network, device="cpu")
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "made": made}

    def _doubled(self, options):
        """Return what `icnn.reconstruct` does, its parts in double precision; images as it gives them."""
        size = (self.size, self.size)
        net = copy.deepcopy(zoo.load(self.network, image_size=size)).double()
        latent = latents_of.make(options, net, stimuli=size, device="cpu")
        if isinstance(latent, latents_of.GeneratorInput):
            generator = copy.deepcopy(latent.generator).double()
            latent = latents_of.GeneratorInput(generator, latent.low.double(), latent.high.double())
        objective = Objective(net, latent, self.given, options, layers=tuple(self.given.features), dtype=torch.float64)
        start = torch.from_numpy(latent.start(self.given, self.given.names[0], options, 0)[None]).double()
        pixels = momentum.PixelSteps(latent.shape, (np.random.default_rng(0),)) if options.latent == "pixels" else None
        found = momentum.descend(
            objective,
            start,
            iterations=options.iterations,
            options=options.optimiser,
            box=None if pixels else latent.box,
            pixels=pixels,
        )
        images = latent.images(found.x).detach().clamp(0, 1).permute(0, 2, 3, 1).numpy()
        return Reconstruction(images, found.losses.numpy())

    def request(self, *, iterations, threads, frozen=False):
        asked = {"case": self.name, "size": self.size, "momentum": self.momentum}
        return asked | {"iterations": iterations, "threads": threads, "frozen": frozen, "double": self.double}


class Peer:
    """A process of bdpy's with the networks loaded."""

    def __init__(self, python, folder):
        command = [python, str(PEER), str(folder)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in close
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self.versions = self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"bdpy ended with {self._process.wait()}:\n{self._errors.read()[-3000:]}")
        return json.loads(line)

    def ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def compare(ours, theirs):
    """Return how far two curves (n_iterations,) lie apart, relative to the second."""
    difference = np.abs(np.float64(ours) - np.float64(theirs)) / np.abs(np.float64(theirs))
    found = {
        "first": float(difference[:FIRST].max()),
        "largest": float(difference.max()),
        "last": float(difference[-1]),
    }
    # A NaN fails.
    return found | {"ok": bool(found["first"] <= LARGEST_FIRST and found["last"] <= LARGEST_LAST)}


def curve(case, peer, iterations, threads):
    made = case.ours(iterations=iterations, threads=threads)["made"]
    moved = case.ours(iterations=iterations, threads=threads, moved=MOVED)["made"]
    own = compare(moved.losses[0], made.losses[0])
    row = {"iterations": iterations, "ours": made.losses[0].tolist(), "own": own}
    if peer is not None:
        row["bdpy"] = peer.ask(case.request(iterations=iterations, threads=threads, frozen=True))["losses"]
        image = np.clip(np.load(case.folder.parent / "image.npy"), 0, 255)
        apart = np.abs(255.0 * made.images[0] - image)
        row |= {"pixels": {"largest": float(apart.max()), "mean": float(apart.mean())}}
        row = compare(row["ours"], row["bdpy"]) | row
    return row


def times(case, peer, lengths, threads, turns):
    """Return medians of seconds an iteration of the programs that take turns, and their ratios."""
    programs = {"ours": lambda n: case.ours(iterations=n, threads=threads)}
    if peer is not None:
        programs["bdpy"] = lambda n: peer.ask(case.request(iterations=n, threads=threads))
        programs["frozen"] = lambda n: peer.ask(case.request(iterations=n, threads=threads, frozen=True))
    short, long = lengths
    found = {name: [] for name in programs}
    for program in programs.values():
        program(short)  # what is done once in a process
    for _ in range(turns):
        for name, program in programs.items():
            first, second = program(short), program(long)
            found[name].append([(second[kind] - first[kind]) / (long - short) for kind in ("wall", "cpu")])
    row = {"threads": threads, "turns": turns, "load": os.getloadavg()[0]}
    for name, values in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        row[name] = {"wall": wall, "cpu": cpu, "turns": [value[0] for value in values]}
    for name in list(found)[1:]:
        row[f"ratio {name}"] = {kind: row[name][kind] / row["ours"][kind] for kind in ("wall", "cpu")}
    return row


def batches(folder, name, sizes, threads, turns):
    """Return our seconds an image and iteration by the number of images made together."""
    *what, (short, long) = TIMES[name]
    found = {n: [] for n in sizes}
    cases = {n: Case(folder, f"{name} batch {n}", *what, n=n) for n in sizes}
    for turn in range(turns + 1):
        for n, case in cases.items():
            first, second = (case.ours(iterations=length, threads=threads) for length in (short, long))
            if turn:
                found[n].append((second["wall"] - first["wall"]) / (long - short) / n)
    return {"threads": threads} | {str(n): statistics.median(values) for n, values in found.items()}


def show(name, row):
    short = {key: value for key, value in row.items() if not isinstance(value, list)}
    print(f"{name:46} {json.dumps(short)}", file=sys.stderr, flush=True)


def with_peers(options, folder, cases, measure):
    """Return the rows that `measure(case, peer, name, last of the case)` yields, and bdpy's versions.

    bdpy is started anew for each case, so that its memory is given back.
    """
    found = {}
    for name, (*what, last) in cases.items():
        (folder / "vgg19.pt").unlink(missing_ok=True)
        made = Case(folder, name, *what)
        if "fc6" in what[0]:
            (folder / "vgg19_whole.pt").rename(folder / "vgg19.pt")
        peer = Peer(options.peer_python, folder) if options.peer_python else None
        try:
            for key, row in measure(made, peer, name, last):
                show(key, row)
                found[key] = row | ({"peer": peer.versions} if peer else {})
        finally:
            if peer is not None:
                peer.close()
    return found


def part_of(kind, options, folder):
    """Return the rows of `curves`, `time` or `batches`."""

    def named(cases):
        return {name: case for name, case in cases.items() if options.case in name}

    def curves_of(case, peer, name, iterations):
        yield name, curve(case, peer, iterations, max(options.threads))

    def times_of(case, peer, name, lengths):
        for threads in options.threads:
            yield f"{name}, threads: {threads}", times(case, peer, lengths, threads, options.turns)

    if kind == "curves":
        return with_peers(options, folder, dict([TOY]) if options.toy else named(CURVES), curves_of)
    if kind == "time":
        cases = {TOY[0]: (*TOY[1][:4], (1, 3))} if options.toy else named(TIMES)
        return with_peers(options, folder, cases, times_of)
    found = {}
    for name, sizes in {} if options.toy else named(BATCHES).items():
        for threads in options.threads:
            row = found[f"{name}, threads: {threads}"] = batches(folder, name, sizes, threads, options.turns)
            show(name, row)
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peer-python", default=os.environ.get(VARIABLE), help=f"has bdpy and torch; default ${VARIABLE}"
    )
    parser.add_argument("--toy", action="store_true", help="one tiny case")
    parser.add_argument("--only", choices=PARTS, help="default: all three; the rest of an existing output stays")
    parser.add_argument("--case", default="", help="only cases whose name holds this")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="of the timings; the curves take the most"
    )
    parser.add_argument("--turns", type=int, default=3, help="of each timing")
    parser.add_argument("--output", type=Path, help="write JSON here (default: standard output only)")
    options = parser.parse_args(arguments)
    if not options.peer_python:
        print(f"no --peer-python and no ${VARIABLE}: bdpy is left out", file=sys.stderr)
    content = {}
    if options.only and options.output and options.output.exists():
        content = json.loads(options.output.read_text())
    for kind in [options.only] if options.only else PARTS:
        before = machine()
        with tempfile.TemporaryDirectory() as folder:
            rows = part_of(kind, options, Path(folder))
        kept = content.get(kind, {"rows": {}})["rows"] if options.case else {}
        content[kind] = {"machine": before, "rows": kept | rows}
    give(content, options.output)
    curves = content.get("curves", {"rows": {}})["rows"]
    differing = [name for name, row in curves.items() if not row.get("ok", True)]
    print(f"{len(curves)} curves, {len(differing)} differ: {', '.join(differing) or 'none'}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
