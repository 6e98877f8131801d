"""How much slower is a step of training than its networks alone, and how much memory does it take?

    python benchmarks/bench_train.py --profile tiny --steps 20 --output benchmarks/results/train.json

Bare: forward and backward passes of generator, discriminator and comparator as a step has them, on one batch that is
already there, without optimisers, suspension, loading and checkpoints. Both are timed in turn, a few steps at a time,
because machines are noisy; the ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import machine

from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import end_to_end, trainers
from hpc_recon.nets import end_to_end as networks
from hpc_recon.training import loop
from hpc_recon.training.data import PairedStream, Scaling
from hpc_recon.training.order import Order


def stream(options, *, n_samples, n_voxels, n_images):
    """Return batches of random samples and images that are in memory, as `train` has them."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(n_samples, n_voxels)).astype(np.float32)
    images = rng.integers(0, 256, (n_images, options.image_size, options.image_size, 3)).astype(np.uint8)
    return PairedStream(
        options,
        Order(n_samples, n_samples, 0),
        Scaling(np.zeros(n_voxels), np.ones(n_voxels), 1.0),
        rng.integers(0, n_images, n_samples),
        lambda places: samples[places],
        lambda rows: images[rows],
        0,
    )


def bare(options, batch, *, n_voxels, device):
    """Return a function that runs the passes of one step and nothing else."""
    sizes = networks.Sizes.of(options, n_voxels)
    generator, judge = networks.Generator(sizes).to(device), networks.Discriminator(sizes).to(device)
    networks.initialise(generator, networks.generator_deviations(generator), seed=0)
    networks.initialise(judge, networks.discriminator_deviations(judge), seed=0)
    features = networks.Features(options.comparator, crop=options.crop, device=device)
    voxels = torch.from_numpy(batch["voxels"]).to(device)
    images = torch.from_numpy(batch["images"]).to(device).float() - 115

    def step():
        made = generator(voxels)
        with torch.no_grad():
            wanted = features(images)
        judge.requires_grad_(True)
        (end_to_end.cross_entropy(judge(images), 0) + end_to_end.cross_entropy(judge(made.detach()), 1)).backward()
        judge.requires_grad_(False)
        loss = end_to_end.half_squares(made, images) + end_to_end.feature_loss(features(made), wanted)
        (loss + end_to_end.cross_entropy(judge(made), 0)).backward()
        for parameter in (*generator.parameters(), *judge.parameters()):
            parameter.grad = None
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def main(argv=None):
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--voxels", type=int, default=3000)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=5, help="steps of one turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    changes = {"batch": given.batch} if given.batch else {}
    weights = {"comparator": {"architecture": "caffenet", "weights": "random:0", "preprocessing": "caffe"}}
    changes |= weights if given.profile != "tiny" else {}
    options = EndToEndTraining(method="end_to_end", profile=given.profile, **changes)
    # Neither network is ever suspended here: a suspended one would make steps cheaper than the passes.
    batches = stream(options, n_samples=200, n_voxels=given.voxels, n_images=50)
    found = {"machine": machine(), "profile": given.profile, "batch": options.batch, "bare": [], "step": []}
    with trainers.own_randomness(device):
        passes = bare(options, batches.batch(0), n_voxels=given.voxels, device=device)
        trainer = trainers.make(options, n_voxels=given.voxels, seed=0, device=device)
        pace = loop.Pace(10**9, 10**9, options.loading_threads)

        plain = trainer.step

        def step(batch):
            trainer.suspension = end_to_end.Suspension()
            return plain(batch)

        trainer.step = step

        def alone(start, stop):
            for _ in range(start, stop):
                passes()

        def train(start, stop):
            loop.run(trainer, batches.batch, loop.Progress(start), stop=stop, pace=pace, keep=lambda _: None)

        alone(0, 1)
        train(0, 1)
        for turn in range(given.turns):
            first = 1 + turn * given.steps
            for name, run in (("bare", alone), ("step", train)):
                begin = time.perf_counter()
                run(first, first + given.steps)
                found[name].append((time.perf_counter() - begin) / given.steps)
    ratios = [step / alone for step, alone in zip(found["step"], found["bare"], strict=True)]
    found |= {
        "ratio": statistics.median(ratios),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(
        f"{given.profile}, batch {options.batch}: bare {statistics.median(found['bare']):.3f} s, step "
        f"{statistics.median(found['step']):.3f} s, ratio {found['ratio']:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); peak {found['peak_bytes'] / 2**20:.0f} MiB"
    )
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
