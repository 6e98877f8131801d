from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision

from hpc_recon.core.errors import StudyError
from hpc_recon.nets import architectures


@pytest.mark.parametrize(
    ("name", "path"), [("conv1_1", 0), ("conv1_2", 2), ("conv3_4", 16), ("conv4_1", 19), ("conv5_4", 34)]
)
def test_vgg19_names_are_the_modules_of_the_specification(name: str, path: int):
    body = architectures.build_empty("vgg19")
    assert architectures.caffe_names("vgg19", body)[name] == f"features.{path}"


def test_fully_connected_layers_are_those_of_the_classifier():
    names = architectures.caffe_names("vgg19", architectures.build_empty("vgg19"))
    assert [names[layer] for layer in ("fc6", "fc7", "fc8")] == ["classifier.0", "classifier.3", "classifier.6"]


def test_vgg_names_with_batch_normalisation_are_what_the_relu_receives():
    body = architectures.build_empty("vgg11_bn")
    assert architectures.caffe_names("vgg11_bn", body)["conv1_1"] == "features.1"


def test_other_networks_have_no_caffe_names():
    assert architectures.caffe_names("resnet18", architectures.build_empty("resnet18")) is None


def test_no_activation_works_in_place():
    for architecture in ("vgg19", "alexnet", "mobilenet_v3_small"):
        body = architectures.build_empty(architecture)
        assert not any(getattr(module, "inplace", False) for module in body.modules())


def test_empty_networks_hold_no_memory():
    for architecture in ("vgg19", "regnet_x_400mf"):
        assert all(p.device == torch.device("meta") for p in architectures.build_empty(architecture).parameters())


def test_unknown_architectures_name_the_closest():
    with pytest.raises(StudyError, match="did you mean 'resnet18'"):
        architectures.check("resnet19x")


def test_own_convolutions_are_those_of_torchvisions_vgg11():
    body, own = torchvision.models.vgg11(weights=None), architectures.build("vgg11_features")
    features = {path: value for path, value in body.state_dict().items() if path.startswith("features.")}
    own.load_state_dict(features, strict=True)
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert torch.equal(own.features(images), body.features(images))
    quarter = architectures.build_empty("vgg11_quarter").state_dict()
    assert {path: len(value) for path, value in quarter.items()} == {p: len(v) // 4 for p, v in features.items()}


def test_neither_torchvision_nor_the_compiler_is_imported_before_one_of_its_networks_is_asked_for():
    program = (
        "import sys\nfrom hpc_recon.core.network_options import Network\n"
        "from hpc_recon.nets import architectures, weights, zoo\n"
        "architectures.check('vgg11_quarter')\narchitectures.build('vgg11_quarter')\n"
        "zoo.structure(Network(architecture='vgg11_quarter', layers=('conv1_1',)), image_size=32)\n"
        "assert 'torch._dynamo' not in sys.modules\n"  # torch's compiler: 1 s of CPU, and torchvision imports it
        "assert 'torchvision' not in sys.modules\narchitectures.check('alexnet')\nassert 'torchvision' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
