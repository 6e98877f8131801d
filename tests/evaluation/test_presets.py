"""The tables of the published presets: nodes, sizes, what is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core.evaluate_options import USED_BY, Evaluate
from hpc_recon.core.network_options import Network
from hpc_recon.evaluation import presets

#: Preset, metric, network, node, input size, units: as their own code has them.
PUBLISHED = [
    ("mindeye", "alexnet2", "alexnet", "features.4", 256, 184512),
    ("mindeye", "alexnet5", "alexnet", "features.11", 256, 57600),
    ("mindeye", "inception", "inception", "avgpool", 342, 2048),
    ("mindeye", "clip", "clip", "head", 224, 768),
    ("mindeye", "efficientnet", "efficientnet_v2", "avgpool", 255, 1280),
    ("mindeye", "swav", "swav", "avgpool", 224, 2048),
    ("brain-diffuser", "alexnet2", "alexnet", "features.4", 224, 139968),
    ("brain-diffuser", "alexnet5", "alexnet", "features.11", 224, 43264),
    ("brain-diffuser", "inception", "inception", "avgpool", 224, 2048),
    ("brain-diffuser", "clip", "clip", "head", 224, 768),
    ("brain-diffuser", "efficientnet", "efficientnet_v1", "avgpool", 224, 1280),
    ("brain-diffuser", "swav", "swav", "avgpool", 224, 2048),
    ("takagi", "alexnet_features5", "alexnet", "features.5", 299, 192 * 17 * 17),
    ("takagi", "alexnet_features12", "alexnet", "features.12", 299, 256 * 8 * 8),
    ("takagi", "alexnet_classifier5", "alexnet", "classifier.5", 299, 4096),
    ("takagi", "inception", "inception", "avgpool", 299, 2048),
    ("takagi", "clip_block6", "clip", "transformer.resblocks.5", 224, 257 * 1024),
    ("takagi", "clip_block12", "clip", "transformer.resblocks.11", 224, 257 * 1024),
    ("takagi", "clip", "clip", "head", 224, 768),
    ("kamitani", "alexnet_conv1", "alexnet_caffe", "features.0", 227, 96 * 55 * 55),
    ("kamitani", "alexnet_conv2", "alexnet_caffe", "features.4", 227, 256 * 27 * 27),
    ("kamitani", "alexnet_conv3", "alexnet_caffe", "features.8", 227, 384 * 13 * 13),
    ("kamitani", "alexnet_conv4", "alexnet_caffe", "features.10", 227, 384 * 13 * 13),
    ("kamitani", "alexnet_conv5", "alexnet_caffe", "features.12", 227, 256 * 13 * 13),
    ("kamitani", "alexnet_fc6", "alexnet_caffe", "classifier.0", 227, 4096),
    ("kamitani", "alexnet_fc7", "alexnet_caffe", "classifier.2", 227, 4096),
    ("kamitani", "alexnet_fc8", "alexnet_caffe", "classifier.4", 227, 1000),
]


def test_nodes_and_sizes_are_the_published_ones():
    found = [
        (preset, c.name, c.network, c.path, c.size, c.n_units) for preset in presets.COMPARISONS
        for c in presets.COMPARISONS[preset]
    ]  # fmt: skip
    assert found == PUBLISHED
    distances = {c.name for own in presets.COMPARISONS.values() for c in own if c.kind == "distance"}
    assert distances == {"efficientnet", "swav"}
    assert presets.PIXEL_SIZE == 425


@pytest.mark.parametrize(("preset", "metric", "network", "path", "size", "n_units"), PUBLISHED)
def test_the_nodes_have_these_units(preset, metric, network, path, size, n_units):
    import torch

    from hpc_recon.nets import clip_image, taps, zoo

    if network == "clip":
        with torch.device("meta"):
            body = clip_image.ClipImage(width=1024, depth=24, patch=14, size=224, embedding=768)
            found, _, _ = taps.trace(body, torch.zeros(1, 3, size, size))
        assert zoo.n_units(found[path].unit_shape) == n_units
        return
    if network == "alexnet_caffe":
        from hpc_recon.nets import caffe

        layer = metric.removeprefix("alexnet_")
        assert caffe.layer_names(caffe.build("alexnet_caffe"))[layer] == path
        path = layer
    architecture = {"swav": "resnet50"}.get(network, presets.ARCHITECTURES[network])
    described = Network(architecture=architecture, layers=(path,), image_size=size)
    assert zoo.n_units(zoo.unit_shapes(described, image_size=size)[path]) == n_units, (preset, metric)


def test_each_network_is_used_by_the_presets_that_the_options_name():
    for network, users in USED_BY.items():
        assert users == tuple(p for p, own in presets.COMPARISONS.items() if any(c.network == network for c in own))


def test_what_is_not_computed_is_listed_with_its_reason():
    options = Evaluate(presets=("mindeye", "kamitani"), networks={"alexnet": Path("a.pth"), "swav": Path("s.pth")})
    found = {(e["preset"], e["metric"]): e["reason"] for e in presets.absent(options)}
    assert set(found) == {
        ("mindeye", "inception"), ("mindeye", "efficientnet"), ("mindeye", "clip"),
        *(("kamitani", f"alexnet_{layer}") for layer in (*(f"conv{i}" for i in range(1, 6)), "fc6", "fc7", "fc8")),
    }  # fmt: skip
    assert found["mindeye", "efficientnet"] == "no file at evaluate.networks.efficientnet_v2"
    computed = [(preset, network, [c.name for c in own]) for preset, network, own in presets.used(options)]
    assert computed == [("mindeye", "alexnet", ["alexnet2", "alexnet5"]), ("mindeye", "swav", ["swav"])]
    assert presets.absent(Evaluate()) == []


def test_more_metrics_need_more():
    nothing = presets.need(Evaluate(), 50, 50)
    pixels = presets.need(Evaluate(presets=("mindeye",)), 50, 50)
    alexnet = presets.need(Evaluate(presets=("mindeye",), networks={"alexnet": Path("a.pth")}), 50, 50)
    assert nothing == (0, 0)
    assert pixels[0] < alexnet[0]
    assert pixels[1] < alexnet[1]
    assert presets.need(Evaluate(ssim_identification=True), 50, 50)[1] > 0
