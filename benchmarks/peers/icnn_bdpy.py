"""Deep image reconstruction by bdpy 0.26, for `bench_icnn.py`: `bdpy.recon.torch.icnn.reconstruct` on request, timed.

    python benchmarks/peers/icnn_bdpy.py FOLDER

Reads one JSON request a line and answers each with one JSON line. FOLDER holds `vgg19.pt` and perhaps `relu7.pt` (state
dicts) and, in a folder a case, `<layer>.npy` (the wanted features, without a batch axis), `weights.json` (of the layers),
and either `start.npy` (uint8, RGB, height x width x 3) or `upper.npy` (of each number of the generator's input).
"""

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.simplefilter("ignore")
from bdpy.dl.torch.models import VGG19, AlexNetGenerator, layer_map  # noqa: E402
from bdpy.recon.torch import icnn  # noqa: E402

#: BGR; what the published scripts take off.
MEAN = np.array([104.00698793, 116.66876762, 122.67891434], np.float32).reshape(3, 1, 1)


class Doubled:
    """numpy with `float32` for `float64`: bdpy converts every array to float32."""

    float32 = np.float64

    def __getattr__(self, name):
        return getattr(np, name)


def load(module, path, *, may_lack):
    """Load a state dict; what it lacks must begin with `may_lack`."""
    found = module.load_state_dict(torch.load(path, weights_only=True), strict=False)
    lacking = [key for key in found.missing_keys if not key.startswith(may_lack)]
    if found.unexpected_keys or lacking:
        raise SystemExit(f"{path}: unexpected {found.unexpected_keys}, lacking {lacking}")
    return module.eval()


class Peer:
    def __init__(self, folder):
        self.folder = folder
        self.encoder = load(VGG19(), folder / "vgg19.pt", may_lack="classifier.")
        self.generator = None
        if (folder / "relu7.pt").exists():
            # Its parameters have two names each.
            self.generator = load(AlexNetGenerator(), folder / "relu7.pt", may_lack=("defc.", "deconv."))

    def arguments(self, case, size, momentum):
        """Return the keywords of `reconstruct`: bdpy's defaults, but for what a case names."""
        folder = self.folder / case
        weights = json.loads((folder / "weights.json").read_text())
        chosen = {
            "features": {layer: np.load(folder / f"{layer}.npy")[None] for layer in weights},  # in the network's order
            "layer_weights": weights,
            "layer_mapping": layer_map("vgg19"),
            "image_size": (size, size, 3),
            "decay": tuple(momentum["decay"]),
        }
        if momentum["blur"]:
            chosen |= {"blurring": True, "sigma": tuple(momentum["blur"])}
        if (folder / "start.npy").exists():
            start = np.load(folder / "start.npy")
            # As the published scripts: an image of whole numbers, its channels turned round, minus the mean.
            chosen |= {
                "initial_image": start,
                "preproc": lambda image: np.float32(image.transpose(2, 0, 1)[::-1]) - MEAN,
            }
        else:
            upper = np.load(folder / "upper.npy")
            chosen |= {
                "generator": self.generator,
                "initial_feature": np.zeros(len(upper), np.float32),
                "feature_lower_bound": np.float32(0),
                "feature_upper_bound": upper,
            }
        return chosen

    def run(self, request):
        kind = torch.float64 if request["double"] else torch.float32
        icnn.np = Doubled() if request["double"] else np
        torch.set_num_threads(request["threads"])
        networks = [net for net in (self.encoder, self.generator) if net is not None]
        for net in networks:
            # As loaded, parameters get gradients that nobody reads; a caller may switch them off.
            net.to(kind).requires_grad_(not request["frozen"]).zero_grad()
            for module in net.modules():
                module._forward_hooks.clear()
        chosen = self.arguments(request["case"], request["size"], request["momentum"])
        if request["double"]:
            wanted = chosen["features"]
            chosen["features"] = {layer: values.astype(np.float64) for layer, values in wanted.items()}
            if "preproc" in chosen:
                prepared = chosen["preproc"]
                chosen["preproc"] = lambda image: prepared(image).astype(np.float64)
        wall, cpu = time.perf_counter(), time.process_time()
        image, losses = icnn.reconstruct(
            encoder=self.encoder,
            n_iter=request["iterations"],
            return_loss=True,
            save_snapshot=False,
            disp_interval=10**9,
            output_dir=str(self.folder / "output"),
            **chosen,
        )
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "losses": losses.tolist()}
        np.save(self.folder / "image.npy", (image + MEAN)[::-1].transpose(1, 2, 0))  # RGB, 0 to 255 and beyond
        return answer


def serve(folder, channel):
    from importlib.metadata import version

    peer = Peer(folder)
    print(json.dumps({name: version(name) for name in ("bdpy", "torch", "numpy")}), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(peer.run(json.loads(line))), file=channel, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # bdpy prints
    serve(parser.parse_args().folder, answers)
