"""Networks for comparing images: weights from files, activations as the modules give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from hpc_recon.core.errors import DataError
from hpc_recon.nets import metric_networks


def _pictures(n=3, size=64):
    return np.random.default_rng(0).random((n, size, size, 3)).astype(np.float32)


def test_activations_are_those_of_the_modules(tmp_path):
    torch.manual_seed(0)
    known = torchvision.models.squeezenet1_1(weights=None).eval()
    torch.save(known.state_dict(), tmp_path / "net.pt")
    body = metric_networks.load("squeezenet1_1", tmp_path / "net.pt")
    found = metric_networks.activations(body, ["features.1", "features.4"], _pictures())
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((_pictures() - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.inference_mode():
        for path, depth in {"features.1": 2, "features.4": 5}.items():
            oracle = known.features[:depth](x).flatten(1).numpy()
            # float32 sums of some hundred products
            np.testing.assert_allclose(found[path], oracle, rtol=1e-4, atol=1e-4)


def test_a_swav_checkpoint_is_a_resnet_without_its_heads(tmp_path):
    torch.manual_seed(0)
    known = torchvision.models.resnet50(weights=None).eval()
    state = {f"module.{key}": value for key, value in known.state_dict().items() if not key.startswith("fc.")}
    state |= {"module.prototypes.weight": torch.zeros(4, 8), "module.projection_head.0.weight": torch.zeros(8, 2048)}
    torch.save(state, tmp_path / "swav.pt")
    body = metric_networks.load("swav", tmp_path / "swav.pt")
    found = metric_networks.activations(body, ["avgpool"], _pictures(2))["avgpool"]
    known.fc = nn.Identity()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    with torch.inference_mode():
        oracle = known(torch.from_numpy(((_pictures(2) - mean) / std).transpose(0, 3, 1, 2)).float()).numpy()
    assert found.shape == (2, 2048)
    np.testing.assert_allclose(found, oracle, rtol=1e-3, atol=1e-3)


def test_inception_transforms_its_input_as_its_weights_need_it(monkeypatch):
    """torchvision's Inception weights are for -1 ... 1, and its module comes from ImageNet's normalisation to that."""
    asked = {}

    def build(architecture, *, torchvision_input=False):
        asked[architecture] = torchvision_input
        return nn.Sequential()

    monkeypatch.setattr(metric_networks.architectures, "build", build)
    monkeypatch.setattr(metric_networks.weights, "read_state", lambda path: {})
    metric_networks.load("inception_v3", Path("x.pt"))
    assert asked == {"inception_v3": True}


def test_another_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "net.pt")
    with pytest.raises(DataError, match=r"net\.pt does not hold the parameters of squeezenet1_1"):
        metric_networks.load("squeezenet1_1", tmp_path / "net.pt")


def test_activations_that_are_not_finite_are_named():
    body = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3))
    nn.init.constant_(body[1].weight, float("nan"))
    with pytest.raises(DataError, match="those of 1 are not"):
        metric_networks.activations(body, ["0", "1"], _pictures())


def test_bilinear_is_torchvisions_with_antialiasing():
    from torchvision.transforms.v2 import functional

    tensor = torch.from_numpy(_pictures().transpose(0, 3, 1, 2).copy())
    for size in (20, 100):
        oracle = functional.resize(tensor, [size, size], antialias=True).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(metric_networks.bilinear(_pictures(), size), oracle, atol=1e-6)


def test_caffes_alexnet_from_a_state_dict_with_its_own_preprocessing(tmp_path):
    from hpc_recon.nets import caffe

    torch.manual_seed(0)
    known = caffe.build("alexnet_caffe").eval()
    torch.save(known.state_dict(), tmp_path / "alexnet.pt")
    body = metric_networks.load("alexnet_caffe", tmp_path / "alexnet.pt")
    pictures = _pictures(1, 227)
    found = metric_networks.activations(body, ["features.0", "classifier.4"], pictures, preprocessing="caffe")
    bgr = 255 * pictures[..., ::-1] - np.array([104.00698793, 116.66876762, 122.67891434])
    x = torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy()).float()
    with torch.inference_mode():
        np.testing.assert_allclose(found["features.0"][0], known.features[0](x).numpy().ravel(), rtol=1e-3, atol=1e-2)
        assert found["classifier.4"].shape == (1, 1000)


def test_clip_is_loaded_for_its_own_preprocessing(tmp_path):
    from hpc_recon.nets.clip_image import ClipImage

    torch.manual_seed(0)
    state = ClipImage(width=64, depth=1, patch=8, size=16, embedding=5).state_dict()
    state["proj"] = torch.randn(64, 5)
    del state["head.weight"]
    torch.save(state, tmp_path / "clip.pt")
    body = metric_networks.load("clip", tmp_path / "clip.pt")
    assert not body.training
    found = metric_networks.activations(body, ["head"], _pictures(2, 16), preprocessing="clip")
    assert found["head"].shape == (2, 5)
