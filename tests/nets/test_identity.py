from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core.config import Network
from hpc_recon.core.errors import StudyError
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
        ("vgg19", "/a/file.pt", "caffe"),
        ("vgg19", "random:0", "imagenet"),
        ("vgg19", "torchvision:DEFAULT", "imagenet"),
        ("vgg11_quarter", "/a/file.pt", "imagenet"),
        ("vgg_normalised", "/a/file.pt", "none"),
    ],
)
def test_preprocessing_belongs_to_the_weights(architecture: str, source: str, expected: str):
    assert preprocessing(network(architecture, source)) == expected
    assert preprocessing(network(architecture, source, preprocessing="none")) == "none"


def test_a_transform_is_part_of_the_identity_and_its_absence_is_not_named():
    for architecture in ("vgg19", "pixels"):
        plain = identity(network(architecture))
        assert "transform" not in plain
        assert identity(network(architecture, transform="abs")) == {**plain, "transform": "abs"}
