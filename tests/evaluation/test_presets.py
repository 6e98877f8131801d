"""The tables of the published presets: nodes, sizes, what is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core.config import Network
from hpc_recon.core.evaluate_options import USED_BY, Evaluate
from hpc_recon.evaluation import presets

#: Preset, metric, network, node, input size, units: as their own code has them.
PUBLISHED = [
    ("mindeye", "alexnet2", "alexnet", "features.4", 256, 184512),
    ("mindeye", "alexnet5", "alexnet", "features.11", 256, 57600),
    ("mindeye", "inception", "inception", "avgpool", 342, 2048),
    ("mindeye", "efficientnet", "efficientnet_v2", "avgpool", 255, 1280),
    ("mindeye", "swav", "swav", "avgpool", 224, 2048),
    ("brain-diffuser", "alexnet2", "alexnet", "features.4", 224, 139968),
    ("brain-diffuser", "alexnet5", "alexnet", "features.11", 224, 43264),
    ("brain-diffuser", "inception", "inception", "avgpool", 224, 2048),
    ("brain-diffuser", "efficientnet", "efficientnet_v1", "avgpool", 224, 1280),
    ("brain-diffuser", "swav", "swav", "avgpool", 224, 2048),
    ("takagi", "alexnet_features5", "alexnet", "features.5", 299, 192 * 17 * 17),
    ("takagi", "alexnet_features12", "alexnet", "features.12", 299, 256 * 8 * 8),
    ("takagi", "alexnet_classifier5", "alexnet", "classifier.5", 299, 4096),
    ("takagi", "inception", "inception", "avgpool", 299, 2048),
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
    from hpc_recon.nets import zoo

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
        ("mindeye", "inception"), ("mindeye", "efficientnet"), ("mindeye", "clip"), ("kamitani", "alexnet")
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
