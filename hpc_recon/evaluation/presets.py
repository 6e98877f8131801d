"""Published sets of image metrics, with the sizes, network nodes and conventions of their own code: what there is.

Metrics are called `<preset>.<metric>`. Those that need a network are computed where the study gives its weights file
(`evaluate.networks`), and are listed as absent where it does not; nothing takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpc_recon.core.evaluate_options import Evaluate, MetricNetwork, PresetName

#: Height and width at which correlation of pixels and SSIM are computed by `mindeye` and `brain-diffuser`.
PIXEL_SIZE = 425
#: torch; and one of the networks with its weights file and the activations of a batch (CLIP: 1.2 GB, twice).
_TORCH_BYTES, _NETWORK_BYTES, _CLIP_BYTES = 512 * 2**20, 1600 * 2**20, 3400 * 2**20


@dataclass(frozen=True)
class Comparison:
    """Images compared in one layer of a network: by pairwise identification, or by 1 - r with the own stimulus."""

    name: str
    network: MetricNetwork
    #: Module path, and its number of units at `size`.
    path: str
    size: int
    n_units: int
    kind: Literal["identification", "distance"] = "identification"


#: What `nets.metric_networks` calls the networks.
ARCHITECTURES: dict[MetricNetwork, str] = {
    "alexnet": "alexnet",
    "inception": "inception_v3",
    "efficientnet_v1": "efficientnet_b1",
    "efficientnet_v2": "efficientnet_b1",
    "swav": "swav",
    "clip": "clip",
    "alexnet_caffe": "alexnet_caffe",
}
#: What a network's weights expect, where that is not `imagenet`.
PREPROCESSING: dict[MetricNetwork, str] = {"clip": "clip", "alexnet_caffe": "caffe"}
#: Module path and units at 227 pixels of the layers of Caffe's AlexNet.
_CAFFE_ALEXNET = {
    "conv1": ("features.0", 290400),
    "conv2": ("features.4", 186624),
    "conv3": ("features.8", 64896),
    "conv4": ("features.10", 64896),
    "conv5": ("features.12", 43264),
    "fc6": ("classifier.0", 4096),
    "fc7": ("classifier.2", 4096),
    "fc8": ("classifier.4", 1000),
}
COMPARISONS: dict[PresetName, tuple[Comparison, ...]] = {
    "mindeye": (
        Comparison("alexnet2", "alexnet", "features.4", 256, 184512),
        Comparison("alexnet5", "alexnet", "features.11", 256, 57600),
        Comparison("inception", "inception", "avgpool", 342, 2048),
        Comparison("clip", "clip", "head", 224, 768),
        Comparison("efficientnet", "efficientnet_v2", "avgpool", 255, 1280, "distance"),
        Comparison("swav", "swav", "avgpool", 224, 2048, "distance"),
    ),
    "brain-diffuser": (
        Comparison("alexnet2", "alexnet", "features.4", 224, 139968),
        Comparison("alexnet5", "alexnet", "features.11", 224, 43264),
        Comparison("inception", "inception", "avgpool", 224, 2048),
        Comparison("clip", "clip", "head", 224, 768),
        Comparison("efficientnet", "efficientnet_v1", "avgpool", 224, 1280, "distance"),
        Comparison("swav", "swav", "avgpool", 224, 2048, "distance"),
    ),
    "takagi": (
        Comparison("alexnet_features5", "alexnet", "features.5", 299, 55488),
        Comparison("alexnet_features12", "alexnet", "features.12", 299, 16384),
        Comparison("alexnet_classifier5", "alexnet", "classifier.5", 299, 4096),
        Comparison("inception", "inception", "avgpool", 299, 2048),
        Comparison("clip_block6", "clip", "transformer.resblocks.5", 224, 263168),
        Comparison("clip_block12", "clip", "transformer.resblocks.11", 224, 263168),
        Comparison("clip", "clip", "head", 224, 768),
    ),
    "kamitani": tuple(
        Comparison(f"alexnet_{layer}", "alexnet_caffe", path, 227, n_units)
        for layer, (path, n_units) in _CAFFE_ALEXNET.items()
    ),
}


def absent(options: Evaluate) -> list[dict[str, str]]:
    """Return the metrics of the chosen presets that are not computed, and what they lack."""
    found = []
    for preset in options.presets:
        lacking = {c.name: c.network for c in COMPARISONS[preset] if c.network not in options.networks}
        found += [
            {"preset": preset, "metric": name, "reason": f"no file at evaluate.networks.{network}"}
            for name, network in lacking.items()
        ]
    return found


def used(options: Evaluate) -> list[tuple[PresetName, MetricNetwork, tuple[Comparison, ...]]]:
    """Return the comparisons that are computed, by preset and network."""
    return [
        (preset, network, tuple(c for c in COMPARISONS[preset] if c.network == network))
        for preset in options.presets
        for network in options.networks
        if any(c.network == network for c in COMPARISONS[preset])
    ]


def need(options: Evaluate, n_items: int, n_stimuli: int) -> tuple[int, float]:
    """Return what the chosen metrics need beside the images: bytes of host memory, and seconds on one core.

    Of `n_items` images of each of a method and three baselines.
    """
    n, host = n_items + n_stimuli, 0
    if options.presets:
        host = _TORCH_BYTES
    for _, network, comparisons in used(options):
        own = _CLIP_BYTES if network == "clip" else _NETWORK_BYTES
        host = max(host, own + 2 * 4 * n * sum(c.n_units for c in comparisons))  # joined from blocks
    seconds = 0.2 * 4 * n_items * len(options.presets) + 0.1 * 5 * n * len(used(options))
    if options.ssim_identification:
        seconds += 0.05 * 4 * n_items * n_stimuli
    return host, seconds
