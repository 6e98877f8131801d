"""Published scores of images: resizing and conventions, against Pillow, torchvision, scipy and scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from skimage.metrics import structural_similarity
from torch import nn
from torchvision.transforms import v2

from hpc_recon.core.evaluate_options import Evaluate
from hpc_recon.evaluation import published
from hpc_recon.nets import metric_networks

TARGET = np.array([0, 1, 2, 1])


@pytest.fixture(scope="module")
def images():
    """Four images of three stimuli; not square, so that resizing and cropping differ."""
    rng = np.random.default_rng(1)
    coarse = rng.random((3, 5, 6, 3))
    true = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)  # (3, 40, 48, 3)
    made = np.clip(true[TARGET] + 0.4 * rng.normal(size=(4, 40, 48, 3)), 0, 1).astype(np.float32)
    return made, true


def _pil(image):
    return Image.fromarray(np.rint(image * 255).astype(np.uint8))


def _array(picture):
    return np.asarray(picture, np.float32) / 255


def test_each_preset_resizes_as_its_code_does(images):
    made, _ = images
    for image, mind, diffuser, pixels, taka, clip, lab in zip(
        made,
        published.resized("mindeye", made, 224),
        published.resized("brain-diffuser", made, 224),
        published.resized("brain-diffuser", made, 425),
        published.resized("takagi", made, 99),
        published.resized("takagi", made, 99, network="clip"),
        published.resized("kamitani", made, 227, network="alexnet_caffe"),
        strict=True,
    ):
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
        first = v2.functional.resize(tensor, [256, 256], antialias=True).clamp(0, 1)
        oracle = v2.functional.resize(first, [224, 224], antialias=True).numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(mind, oracle, atol=1e-6)
        np.testing.assert_allclose(diffuser, _array(_pil(image).resize((224, 224), Image.Resampling.BILINEAR)))
        np.testing.assert_allclose(pixels, _array(_pil(image).resize((425, 425), Image.Resampling.BICUBIC)))
        shown = v2.Compose([v2.Resize(99), v2.CenterCrop(99)])(_pil(image))
        np.testing.assert_allclose(taka, _array(shown))
        shown = v2.Compose([v2.Resize(99, v2.InterpolationMode.BICUBIC), v2.CenterCrop(99)])(_pil(image))
        np.testing.assert_allclose(clip, _array(shown))
        np.testing.assert_allclose(lab, _array(_pil(image).resize((227, 227), Image.Resampling.LANCZOS)))


@pytest.mark.parametrize("preset", ["mindeye", "brain-diffuser"])
def test_pixels_and_both_forms_of_ssim(images, preset):
    made, true = images
    found = published.score(Evaluate(presets=(preset,)), {("a", ""): made}, true, TARGET, among=True)["a", ""]
    assert list(found) == [f"{preset}.{name}" for name in ("pixcorr", "ssim", "ssim_legacy_columns")]
    one, other = (published.resized(preset, x, 425).astype(float) for x in (made, true))
    for i, t in enumerate(TARGET):
        assert found[f"{preset}.pixcorr"][0][i] == pytest.approx(np.corrcoef(one[i].ravel(), other[t].ravel())[0, 1])
        a, b = (x @ [0.2125, 0.7154, 0.0721] for x in (one[i], other[t]))
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        assert found[f"{preset}.ssim"][0][i] == pytest.approx(structural_similarity(a, b, **settings))
        legacy = structural_similarity(a, b, channel_axis=1, **settings)
        assert found[f"{preset}.ssim_legacy_columns"][0][i] == pytest.approx(legacy)
    assert found[f"{preset}.pixcorr"][1] == 3 * 425**2


def test_kamitani_scores_at_the_stimuli_s_own_size(images):
    made, true = images
    found = published.score(Evaluate(presets=("kamitani",)), {("a", ""): made}, true, TARGET, among=True)["a", ""]
    flat = [x.reshape(len(x), -1).astype(float) for x in (made, true)]
    similarity = {"identification": 1 - cdist(*flat, "correlation"), "identification_euclidean": -cdist(*flat)}
    for name, values in similarity.items():
        oracle = [(np.delete(row, t) < row[t]).mean() for row, t in zip(values, TARGET, strict=True)]
        assert found[f"kamitani.{name}"][0].tolist() == oracle
    gap = 255 * (made - true[TARGET]).astype(float)
    np.testing.assert_allclose(found["kamitani.rmse"][0], np.sqrt((gap**2).mean(axis=(1, 2, 3))))
    alone = published.score(Evaluate(presets=("kamitani",)), {("a", ""): made}, true, TARGET, among=False)["a", ""]
    assert list(alone) == ["kamitani.pixel_correlation", "kamitani.rmse", "kamitani.ssim"]


class _Tiny(nn.Module):
    """The module paths of an AlexNet, and an average pool, with two channels; remembers the sizes it saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 2, 9, stride=8), *(nn.Conv2d(2, 2, 1) for _ in range(12)))
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(*(nn.Linear(72, 72) for _ in range(6)))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(nn.Linear(72, 9) for _ in range(12))})
        self.head = nn.Linear(72, 7)
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        pooled = self.flatten(self.avgpool(self.features(x)))
        for block in self.transformer["resblocks"]:
            block(pooled)
        self.head(pooled)
        return self.classifier(pooled)


@pytest.mark.parametrize(
    ("preset", "networks", "sizes"),
    [
        ("mindeye", ("alexnet", "inception", "efficientnet_v2", "swav", "clip"), {256, 342, 255, 224}),
        ("brain-diffuser", ("alexnet", "inception", "efficientnet_v1", "swav", "clip"), {224}),
        ("takagi", ("alexnet", "inception", "clip"), {299, 224}),
        ("kamitani", ("alexnet_caffe",), {227}),
    ],
)
def test_images_are_compared_in_networks(images, preset, networks, sizes, monkeypatch):
    made, true = images
    body = _Tiny().eval()
    loaded = []
    monkeypatch.setattr(metric_networks, "load", lambda name, path: (loaded.append((name, path.name)), body)[1])
    options = Evaluate(presets=(preset,), networks={name: Path(f"{name}.pth") for name in networks})
    found = published.score(options, {("a", "net"): made}, true, TARGET, among=True)["a", "net"]
    assert {size for pair in body.seen for size in pair} == sizes
    assert [path for _, path in loaded] == [f"{name}.pth" for name in networks]
    from hpc_recon.evaluation.presets import COMPARISONS

    expects = {"clip": "clip", "alexnet_caffe": "caffe"}
    for c in COMPARISONS[preset]:
        of = [
            metric_networks.activations(
                body,
                [c.path],
                published.resized(preset, x, c.size, network=c.network),
                preprocessing=expects.get(c.network, "imagenet"),
            )[c.path].astype(float)
            for x in (made, true)
        ]
        r = 1 - cdist(*of, "correlation")
        if c.kind == "distance":
            oracle = [1 - r[i, t] for i, t in enumerate(TARGET)]
        elif preset == "takagi":  # the stimulus is kept, the reconstruction changed
            rivals = [[k for k in range(4) if TARGET[k] != t] for t in TARGET]
            oracle = [np.mean([r[k, t] < r[i, t] for k in rivals[i]]) for i, t in enumerate(TARGET)]
        else:  # the reconstruction is kept
            oracle = [(np.delete(row, t) < row[t]).mean() for row, t in zip(r, TARGET, strict=True)]
        np.testing.assert_allclose(found[f"{preset}.{c.name}"][0], oracle, atol=1e-9, err_msg=c.name)


def test_without_weights_nothing_takes_the_place_of_a_network(images):
    made, true = images
    found = published.score(Evaluate(presets=("takagi",)), {("a", ""): made}, true, TARGET, among=True)
    assert found == {("a", ""): {}}
