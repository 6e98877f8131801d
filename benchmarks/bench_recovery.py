"""Do true features give the image back? Single groups of layers and cumulative sets, on VGG19 and on a real network.

The image stage alone, without a brain: features of a photograph, 200 iterations of L-BFGS on pixels from the mean
training image without noise, then the pixel correlation with that photograph. What cannot be recovered from true
features cannot be claimed of decoded ones.

    python benchmarks/bench_recovery.py random --output benchmarks/results/recovery-random.json
    python benchmarks/bench_recovery.py real --weights PATH --output benchmarks/results/recovery-real.json

PATH is `vgg_normalised_conv3_1.pth`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from give import give
from machine import machine

from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.threads import available
from hpc_recon.methods import icnn
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import features
from hpc_recon.simulation import photographs

#: The layers of each group, as the paper names them DNN1 to DNN8.
VGG19 = {
    "DNN1": ("conv1_1", "conv1_2"),
    "DNN2": ("conv2_1", "conv2_2"),
    "DNN3": ("conv3_1", "conv3_2", "conv3_3", "conv3_4"),
    "DNN4": ("conv4_1", "conv4_2", "conv4_3", "conv4_4"),
    "DNN5": ("conv5_1", "conv5_2", "conv5_3", "conv5_4"),
    "DNN6": ("fc6",),
    "DNN7": ("fc7",),
    "DNN8": ("fc8",),
}
REAL = {"conv1": ("conv1_1", "conv1_2"), "conv2": ("conv2_1", "conv2_2"), "conv3": ("conv3_1",)}
#: Photographs in turn; none is a training photograph of the synthetic study.
IMAGES = photographs.HELD_OUT


def sets(groups):
    """Return the sets of layers to look at: each group, the cumulative ones, and all but the first group."""
    names = list(groups)
    found = {name: groups[name] for name in names}
    for i in range(1, len(names)):
        found[f"{names[0]}-{i + 1}"] = sum((groups[name] for name in names[: i + 1]), ())
    found[f"all but {names[0]}"] = sum((groups[name] for name in names[1:]), ())
    return found


def picture(name, size):
    """Return the middle square of a photograph, (size, size, 3) uint8."""
    from PIL import Image

    image = photographs.load(name)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def recover(network, layers, shown, start, *, iterations, name, smoothness, total_variation):
    """Return pixel correlation, the loss's fall, and seconds."""
    found = features.compute(network, layers, pictures=shown[None])
    targets = Targets((name,), {layer: values for layer, (values, _) in found.items()}, start)
    options = IcnnOptions(
        method="icnn",
        network="net",
        layers=layers,
        iterations=iterations,
        start_noise=0,
        total_variation=total_variation,
        optimiser={"name": "lbfgs", "smoothness": smoothness},
    )
    begin = time.perf_counter()
    made = icnn.reconstruct(targets, options, network=network, device="cpu")
    seconds = time.perf_counter() - begin
    r = np.corrcoef(made.images[0].ravel(), shown.ravel())[0, 1]
    losses = made.losses[0]
    return {
        "image": name,
        "pixel_correlation": round(float(r), 4),
        "loss_first": float(losses[0]),
        "loss_last": float(losses[-1]),
        "seconds": round(seconds, 1),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["random", "real"])
    parser.add_argument("--weights", type=Path, help="of the real network: vgg_normalised_conv3_1.pth")
    parser.add_argument("--size", type=int, help="pixels; default: 224 (random), 112 (real)")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--smoothness", type=float, default=1.0, help="of L-BFGS; 0: as published")
    parser.add_argument("--total-variation", type=float, default=0.0, help="strength of the smoothness penalty")
    parser.add_argument("--all", action="store_true", help="the training photographs of the synthetic study too")
    parser.add_argument("--only", nargs="+", help="names of sets")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    groups = VGG19 if options.which == "random" else REAL
    size = options.size or (224 if options.which == "random" else 112)
    layers = sum(groups.values(), ())
    if options.which == "random":
        network = Network(architecture="vgg19", weights="random:0", image_size=size, layers=layers)
    else:
        weights = str(options.weights.resolve())
        network = Network(architecture="vgg_normalised", weights=weights, image_size=size, layers=layers)
    start = np.mean([picture(name, size) for name in photographs.TRAINING], axis=0, dtype=np.float32) / 255
    images = (*IMAGES, *photographs.TRAINING) if options.all else IMAGES[: options.images]
    rows = []
    for name, chosen in sets(groups).items():
        if options.only and name not in options.only:
            continue
        for image in images:
            row = {"set": name, "layers": list(chosen)}
            row |= recover(
                network,
                chosen,
                picture(image, size),
                start,
                iterations=options.iterations,
                name=image,
                smoothness=options.smoothness,
                total_variation=options.total_variation,
            )
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    report = {"machine": machine(), "network": network.architecture, "weights": options.which, "size": size}
    report |= {"iterations": options.iterations, "smoothness": options.smoothness}
    report |= {"total_variation": options.total_variation, "threads": available(), "rows": rows}
    return give(report, options.output)


if __name__ == "__main__":
    raise SystemExit(main())
