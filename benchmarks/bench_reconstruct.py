"""What does an iteration of deep image reconstruction cost beyond the network, and does its projected memory hold?

Time: seconds of CPU (one thread) of one evaluation of the objective, everything that the optimiser does included,
against the network's own forward and backward pass from the same layers to the same images. Two runs of different
length are compared, so that what is done once does not count; of each the smallest of a few repetitions. Grows
with image size, layers and batch.

Memory: each case reconstructs in a process of its own; what its resident size grows by at most, imports included,
against `need.host_bytes` of the tile. The rule is that of `bench_memory.py`.

    python benchmarks/bench_reconstruct.py --toy
    python benchmarks/bench_reconstruct.py --output benchmarks/results/reconstruct.json

Needs Linux. About three minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench_memory import keeps_the_rule, resident
from give import give
from machine import machine

from hpc_recon.core.config import Study
from hpc_recon.run import measure

MIB = 2**20
SMALL = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1")
VGG19 = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
#: Iterations of the two runs that are compared.
LENGTHS = (2, 12)
#: Architecture, layers, height and width, images, options.
TIME_CASES = {
    "64 px, 1 image": ("vgg11_quarter", SMALL, 64, 1, {}),
    "64 px, 12 images": ("vgg11_quarter", SMALL, 64, 12, {}),
    "64 px, first layer": ("vgg11_quarter", SMALL[:1], 64, 1, {}),
    "128 px": ("vgg11_quarter", SMALL, 128, 1, {}),
    "224 px": ("vgg11_quarter", SMALL, 224, 1, {}),
    "VGG19, 64 px": ("vgg19", VGG19, 64, 1, {}),
    "VGG19, 112 px": ("vgg19", VGG19, 112, 1, {}),
    "VGG19, 112 px, 4 images": ("vgg19", VGG19, 112, 4, {}),
    "VGG19, 112 px, first layer": ("vgg19", VGG19[:1], 112, 1, {}),
    "VGG19, 112 px, first three layers": ("vgg19", VGG19[:3], 112, 1, {}),
    "VGG19, 224 px": ("vgg19", VGG19, 224, 1, {}),
    "VGG19, 112 px, total variation": ("vgg19", VGG19, 112, 1, {"total_variation": 1.0}),
    "VGG19, 112 px, momentum": ("vgg19", VGG19, 112, 1, {"preset": "pixels_gd"}),
    "VGG19, 112 px, adam": ("vgg19", VGG19, 112, 1, {"optimiser": "adam"}),
}
GENERATOR = {"generator": "small", "weights": "random:0"}
MEMORY_CASES = {
    "64 px, 1 image": ("vgg11_quarter", SMALL, 64, 1, {}),
    "64 px, 48 images": ("vgg11_quarter", SMALL, 64, 48, {}),
    "224 px, 4 images": ("vgg11_quarter", SMALL, 224, 4, {}),
    "224 px, 4 images, adam": ("vgg11_quarter", SMALL, 224, 4, {"optimiser": "adam"}),
    "224 px, 4 images, momentum": ("vgg11_quarter", SMALL, 224, 4, {"preset": "pixels_gd"}),
    "224 px, 4 images, history 50": (
        "vgg11_quarter", SMALL, 224, 4, {"optimiser": {"name": "lbfgs", "history": 50}, "iterations": 55},
    ),
    "224 px, 4 images, masks": ("vgg11_quarter", SMALL, 224, 4, {"masks": {"default": {"region": [0, 0, 1, 0.9]}}}),
    "224 px, starts and snapshots": (
        "vgg11_quarter", SMALL, 224, 2, {"n_starts": 3, "start": "uniform", "keep_starts": True, "snapshots": 1},
    ),
    "224 px, correlation": ("vgg11_quarter", SMALL, 224, 4, {"loss": "correlation"}),
    "64 px, generator, 16 images": ("vgg11_quarter", SMALL, 64, 16, {"latent": GENERATOR}),
    "VGG19, 112 px": ("vgg19", VGG19, 112, 2, {}),
    "VGG19, 224 px": ("vgg19", VGG19, 224, 1, {}),
    "VGG19, 112 px, relu7 generator": (
        "vgg19", VGG19, 112, 1, {"latent": {"generator": "relu7", "weights": "random:0"}},
    ),
}  # fmt: skip
TOY = ("vgg11_quarter", SMALL[:2], 16, 2, {})


def study_of(architecture, layers, options):
    """Return a study of one network and one variant."""
    own = {"iterations": 5, **options, "method": "icnn", "network": "net", "recovery": 0}
    return Study.model_validate(
        {
            "name": "bench",
            "subjects": ["S1"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
            "simulate": {},
            "networks": {"net": {"architecture": architecture, "weights": "random:0", "layers": list(layers)}},
            "reconstruct": {"icnn": own},
        }
    )


class Sizes:
    """The sizes that `plan` asks of a workspace."""

    def __init__(self, study, size):
        from hpc_recon.nets import zoo

        self._size, self._shapes = size, zoo.unit_shapes(study.networks["net"], image_size=size)

    def image_size(self):
        return self._size, self._size

    def n_units(self, _network, layer):
        return int(np.prod(self._shapes[layer]))


def random_targets(study, size, n):
    """Return features of images of smooth noise: real ones, so that losses fall as they should."""
    import torch

    from hpc_recon.methods.targets import Targets
    from hpc_recon.nets import taps, zoo

    network = study.networks["net"]
    net = zoo.load(network, image_size=size)
    coarse = torch.from_numpy(np.random.default_rng(0).random((n, 3, 8, 8), dtype=np.float32))
    features = {layer: [] for layer in network.layers}
    with torch.inference_mode():
        for one in coarse:  # one by one: memory is measured afterwards
            image = torch.nn.functional.interpolate(one[None], size=(size, size), mode="bilinear")
            for layer, values in taps.activations(net, image, network.layers).items():
                features[layer].append(values.flatten(1).numpy().copy())
    start = np.full((size, size, 3), 0.5, np.float32)
    joined = {layer: np.concatenate(parts) for layer, parts in features.items()}
    return Targets(tuple(f"i{i}" for i in range(n)), joined, start)


def time_case(architecture, layers, size, n, options, *, repetitions, device="cpu"):
    """Return seconds of CPU an evaluation, of the network alone and of the whole, and how they relate."""
    import torch

    from hpc_recon.methods import icnn, objective
    from hpc_recon.nets import taps, zoo

    torch.set_num_threads(1)
    study = study_of(architecture, layers, options)
    network, chosen = study.networks["net"], study.reconstruct["icnn"]
    given = random_targets(study, size, n)
    net = zoo.load(network, image_size=size, device=device)
    images = torch.rand(n, 3, size, size, device=device)
    counted = []
    whole = objective.Objective.__call__
    objective.Objective.__call__ = lambda self, flat, rows: (counted.append(len(rows)), whole(self, flat, rows))[1]

    def network_alone():
        leaf = images.clone().requires_grad_()
        found = list(taps.activations(net, leaf, layers).values())
        torch.autograd.grad(found, leaf, grad_outputs=[torch.ones_like(one) for one in found])

    def reconstruction(iterations):
        counted.clear()
        begun = clock()
        icnn.reconstruct(given, chosen.model_copy(update={"iterations": iterations}), network=network, device=device)
        return clock() - begun, sum(counted) / n

    def clock():  # seconds of the processor; with a GPU, of the clock on the wall, once the GPU has finished
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    alone, runs = [], {iterations: [] for iterations in LENGTHS}
    try:
        for _ in range(repetitions + 1):
            begun = clock()
            network_alone()
            alone.append(clock() - begun)
            for iterations, found in runs.items():
                found.append(reconstruction(iterations))
    finally:
        objective.Objective.__call__ = whole
    (short, n_short), (long, n_long) = (min(found[1:]) for found in runs.values())
    network_seconds, seconds = min(alone[1:]), (long - short) / (n_long - n_short)
    return {
        "n_evaluations": n_long,
        "network_seconds": network_seconds,
        "seconds": seconds,
        "ratio": round(seconds / network_seconds, 3),
    }


def memory_case(architecture, layers, size, n, options):
    """Return measured and projected bytes of one tile, computed in this process."""
    import distributed  # noqa: F401  what an idle worker has imported
    import zarr  # noqa: F401

    before = resident()
    from hpc_recon.methods import icnn, planning

    study = study_of(architecture, layers, options)
    need = planning.need(study, Sizes(study, size), "icnn", n=n)
    given = random_targets(study, size, n)
    measure.reset_peak_memory()
    icnn.reconstruct(given, study.reconstruct["icnn"], network=study.networks["net"], device="cpu")
    return {"measured": measure.peak_memory() - before, "projected": need.host_bytes}


def in_a_process(case):
    """Return `memory_case(*case)`, computed in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", json.dumps(case)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{case} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    row = json.loads(done.stdout)
    row["ratio"] = round(row["projected"] / row["measured"], 3)
    row["ok"] = keeps_the_rule(row["measured"], row["projected"])
    return row


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, seconds in all")
    parser.add_argument("--only", choices=("time", "memory"), default=None, help="default: both")
    parser.add_argument("--case", default=None, help="only cases whose name holds this")
    parser.add_argument("--repetitions", type=int, default=3, help="of each timing; the smallest counts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the timings")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    parser.add_argument("--part", type=json.loads, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part is not None:
        print(json.dumps(memory_case(*options.part)))
        return 0
    content = {"machine": machine()}
    for kind, cases in (("time", TIME_CASES), ("memory", MEMORY_CASES)):
        if options.only not in (None, kind):
            continue
        content[kind] = {}
        for name, case in ({"toy": TOY} if options.toy else cases).items():
            if options.case is not None and options.case not in name:
                continue
            row = (
                time_case(*case, repetitions=options.repetitions, device=options.device)
                if kind == "time"
                else in_a_process(case)
            )
            content[kind][name] = row
            print(f"{kind:7} {name:34} {json.dumps(row)}", file=sys.stderr, flush=True)
    return give(content, options.output)


if __name__ == "__main__":
    sys.exit(main())
