from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.nets.identity import file_sha256, identity, preprocessing


def network(architecture: str, weights: str = "random:0", **fields) -> Network:
    return Network(architecture=architecture, weights=weights, layers=("x",), **fields)


def test_identity_holds_what_features_depend_on():
    assert identity(network("pixels", image_size=32)) == {"architecture": "pixels", "image_size": 32}
    assert identity(network("vgg19", "random:03")) == {
        "architecture": "vgg19", "image_size": None, "weights": "random:3", "preprocessing": "imagenet",
    }  # fmt: skip
    with pytest.raises(StudyError, match="random:<seed>"):
        identity(network("vgg19", "random:x"))


def test_the_sha256_of_a_file_is_that_of_its_present_content(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"other")
    assert not file_sha256(path).startswith("ba7816bf")


@pytest.mark.parametrize(
    ("architecture", "source", "expected"),
    [
        ("vgg19", "/a/VGG_ILSVRC_19_layers.pt", "caffe"),
        ("vgg19", "/a/net.caffemodel", "caffe"),
        ("vgg11_quarter", "/a/net.caffemodel", "caffe"),
        ("vgg19_leaky_avg", "/a/file.pt", "caffe"),
        ("caffenet", "/a/file.pt", "caffe"),
        ("vgg19", "random:0", "imagenet"),
        ("vgg19", "torchvision:DEFAULT", "imagenet"),
        ("vgg11_quarter", "/a/file.pt", "imagenet"),
        ("vgg_normalised", "/a/file.pt", "none"),
    ],
)
def test_preprocessing_belongs_to_the_weights(architecture: str, source: str, expected: str):
    assert preprocessing(network(architecture, source)) == expected
    assert preprocessing(network(architecture, source, preprocessing="half")) == "half"


@pytest.mark.parametrize(
    ("architecture", "source", "why"),
    [
        ("vgg19", "/a/file.pt", "this file is neither's"),
        ("vgg16", "/a/vgg16.pth", "this file is neither's"),
        ("vgg16", "torchvision:IMAGENET1K_FEATURES", "a mean of their own"),
        ("timm:resnet18", "/a/file.pt", "networks from elsewhere"),
        ("python:lab.nets:make", "own", "networks from elsewhere"),
    ],
)
def test_an_unknown_preprocessing_must_be_said(architecture: str, source: str, why: str):
    with pytest.raises(StudyError, match=why) as caught:
        preprocessing(network(architecture, source))
    assert "write preprocessing: imagenet, caffe, half, clip or none" in str(caught.value)
    assert preprocessing(network(architecture, source, preprocessing="caffe")) == "caffe"


def test_torchvisions_files_are_known_by_their_content_whatever_their_name(tmp_path: Path, monkeypatch):
    path = tmp_path / "VGG_ILSVRC_19_layers.pt"
    path.write_bytes(b"abc")
    assert preprocessing(network("vgg19", str(path))) == "caffe"
    monkeypatch.setattr("hpc_recon.nets.identity._TORCHVISION_VGG", {"ba7816bf": "imagenet"})
    assert preprocessing(network("vgg19", str(path))) == "imagenet"
    monkeypatch.setattr("hpc_recon.nets.identity._TORCHVISION_VGG", {"ba7816bf": "other"})
    with pytest.raises(StudyError, match="is not known"):
        preprocessing(network("vgg19", str(path)))


def test_the_known_prefixes_are_those_in_torchvisions_file_names():
    import torchvision

    from hpc_recon.nets import identity as module

    urls = [
        member.value.url
        for name in ("vgg16", "vgg19")
        for member in torchvision.models.get_model_weights(name).__members__.values()
    ]
    assert {url.rsplit("-", 1)[1].removesuffix(".pth") for url in urls} == set(module._TORCHVISION_VGG)


def test_ones_own_network_counts_by_its_source(tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "ownnet_identity.py").write_text("raise SystemExit('must not run')")
    described = network("python:ownnet_identity:make", preprocessing="none")
    before = identity(described)
    (tmp_path / "ownnet_identity.py").write_text("x = 1")
    assert identity(described)["code"] != before["code"]
    with pytest.raises(StudyError, match="'ownnet_absent' cannot be found"):
        identity(network("python:ownnet_absent:make"))
    with pytest.raises(StudyError, match="own are those"):
        identity(network("vgg19", "own"))


def test_a_transform_is_part_of_the_identity_and_its_absence_is_not_named():
    for architecture in ("vgg19", "pixels"):
        plain = identity(network(architecture))
        assert "transform" not in plain
        assert identity(network(architecture, transform="abs")) == {**plain, "transform": "abs"}
