from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.vgg import make_layers

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import taps, weights, zoo


def network(architecture: str, *layers: str, **fields) -> Network:
    return Network(architecture=architecture, layers=layers or ("x",), **fields)


def images(n: int = 2, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 3, size, size), dtype=np.float32))


def test_the_quarter_vgg_has_the_documented_layers_and_shapes():
    small = network("vgg11_quarter", "conv1_1", "conv2_1", "conv3_2", "conv5_2")
    assert zoo.all_layers(small) == [
        "conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2",
    ]  # fmt: skip
    assert zoo.unit_shapes(small, image_size=64) == {
        "conv1_1": (16, 64, 64),
        "conv2_1": (32, 32, 32),
        "conv3_2": (64, 16, 16),
        "conv5_2": (128, 4, 4),
    }


def test_the_features_of_vgg11_are_those_of_the_whole_network():
    layers = ("conv1_1", "conv2_1", "conv5_2")
    part = zoo.unit_shapes(network("vgg11_features", *layers), image_size=64)
    assert part == zoo.unit_shapes(network("vgg11", *layers), image_size=64)
    assert zoo.all_layers(network("vgg11_features")) == zoo.all_layers(network("vgg11"))[:-3]


def test_vgg19_has_the_published_number_of_units():
    layers = zoo.all_layers(network("vgg19"))
    assert len(layers) == 19
    assert layers[-3:] == ["fc6", "fc7", "fc8"]
    shapes = zoo.unit_shapes(network("vgg19", *layers), image_size=224)
    assert sum(zoo.n_units(shape) for shape in shapes.values()) == 14_861_288
    assert shapes["conv4_4"] == (512, 28, 28)


def test_a_vgg_without_wanted_classifier_is_loaded_without_it():
    light = zoo.load(network("vgg11_bn", "conv2_1"), image_size=32)
    assert sum(p.numel() for p in light.parameters()) < 10_000_000
    variances = [module.running_var for module in light.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(torch.equal(v, torch.ones_like(v)) for v in variances)


def test_a_network_loaded_in_inference_mode_still_gives_gradients():
    with torch.inference_mode():
        net = zoo.load(network("vgg11_quarter", "conv1_1", weights="random:77"), image_size=17)
    image = images(1, 17).requires_grad_()
    taps.activations(net, image, ["conv1_1"])["conv1_1"].sum().backward()
    assert image.grad is not None


@pytest.mark.parametrize("architecture", ["resnet18", "densenet121", "googlenet", "mobilenet_v3_small", "alexnet"])
def test_layers_read_together_equal_layers_read_alone(architecture: str):
    """In-place additions and activations of a network must not change what was read before them."""
    described = network(architecture)
    layers = zoo.all_layers(described)
    some = [*layers[:6], *layers[len(layers) // 2 : len(layers) // 2 + 4]]
    net = zoo.load(network(architecture, *some), image_size=64)
    together = taps.activations(net, images(1), some)
    for layer in some:
        alone = taps.activations(net, images(1), [layer])[layer]
        assert torch.equal(alone, together[layer]), layer


def test_residual_addition_does_not_overwrite_the_normalised_output():
    net = zoo.load(network("resnet18", "layer1.0.conv2", "layer1.0.bn2"), image_size=32)
    found = taps.activations(net, images(1, 32), ["layer1.0.conv2", "layer1.0.bn2"])
    expected = net.body.get_submodule("layer1.0.bn2")(found["layer1.0.conv2"])
    assert torch.equal(found["layer1.0.bn2"], expected)


def test_shared_modules_are_not_layers():
    assert "layer1.0.relu" not in zoo.all_layers(network("resnet18"))
    assert "layer1.0" in zoo.all_layers(network("resnet18"))


def test_unknown_layers_are_named_all_at_once_with_the_closest():
    with pytest.raises(StudyError) as caught:
        zoo.unit_shapes(network("vgg19", "conv1_3", "conv2_1", "fc9"), image_size=224)
    assert len(caught.value.problems) == 2
    assert "'conv1_3'" in caught.value.problems[0]
    assert "did you mean" in caught.value.problems[0]


def test_unknown_architecture_and_too_small_images_are_study_errors():
    with pytest.raises(StudyError, match="did you mean 'vgg19'"):
        zoo.all_layers(network("vgg91"))
    with pytest.raises(StudyError, match="layer 'conv5_1' of vgg19 does not exist for images of 8 x 8"):
        zoo.unit_shapes(network("vgg19", "conv1_1", "conv5_1"), image_size=8)


def test_small_images_have_the_shallow_layers():
    assert zoo.unit_shapes(network("vgg19", "conv3_1"), image_size=8) == {"conv3_1": (256, 2, 2)}


def test_random_weights_depend_on_seed_and_name_only():
    first = zoo.load(network("vgg11_quarter", "conv1_1", weights="random:1"), image_size=32)
    state = torch.random.get_rng_state()
    again = zoo.load(network("vgg11_quarter", "conv2_1", weights="random:1"), image_size=64)
    other = zoo.load(network("vgg11_quarter", "conv1_1", weights="random:2"), image_size=32)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, dict(again.named_parameters())[name])
        assert not torch.equal(parameter, dict(other.named_parameters())[name])
        assert not parameter.requires_grad


def test_random_weights_are_he_normal():
    net = zoo.load(network("vgg11_quarter", "conv1_1"), image_size=32)
    weight = net.get_parameter("body.features.18.weight")
    assert weight.shape == (128, 128, 3, 3)
    # 147456 draws: the standard deviation is known to 0.2 %.
    assert float(weight.std()) == pytest.approx(np.sqrt(2 / (128 * 9)), rel=0.01)
    assert float(weight.mean()) == pytest.approx(0, abs=5e-4)


def test_random_networks_have_a_gradient_at_a_grey_image():
    net = zoo.load(network("vgg11_quarter", "conv3_1"), image_size=32)
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    image = mean.expand(1, 3, 32, 32).clone().requires_grad_()
    taps.activations(net, image, ["conv3_1"])["conv3_1"].square().sum().backward()
    assert float(image.grad.abs().max()) > 0


def test_pixels_are_the_image_itself_and_grey_is_its_luminance():
    net = zoo.load(network("pixels", "pixels"), image_size=64)
    assert torch.equal(taps.activations(net, images(), ["pixels"])["pixels"], images())
    grey = images()[:, :1].expand(-1, 3, -1, -1)
    net = zoo.load(network("pixels_gray", "pixels"), image_size=64)
    found = taps.activations(net, grey, ["pixels"])["pixels"]
    assert found.shape == (2, 1, 64, 64)
    torch.testing.assert_close(found, grey[:, :1])
    assert zoo.unit_shapes(network("pixels_gray", "pixels"), image_size=(28, 20)) == {"pixels": (1, 28, 20)}


def test_enlarged_pixels_stay_colours():
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    net = zoo.load(network("pixels", "pixels", image_size=32), image_size=8)
    found = taps.activations(net, step, ["pixels"])["pixels"]
    assert found.shape == (1, 3, 32, 32)
    assert float(found.min()) == 0
    assert float(found.max()) == 1


def test_images_are_resized_to_the_networks_own_size():
    described = network("vgg11_quarter", "conv1_1", image_size=32)
    net = zoo.load(described, image_size=64)
    assert zoo.unit_shapes(described, image_size=64) == {"conv1_1": (16, 32, 32)}
    assert taps.activations(net, images(1, 64), ["conv1_1"])["conv1_1"].shape == (1, 16, 32, 32)


def test_vgg19_activations_are_those_before_the_relu():
    """Oracle: torchvision's own modules, applied one after another."""
    described = network("vgg11", "conv1_1", "conv2_1")
    net = zoo.load(described, image_size=32)
    found = taps.activations(net, images(1, 32), ["conv2_1", "conv1_1"])
    assert list(found) == ["conv2_1", "conv1_1"]
    oracle = torchvision.models.VGG(make_layers([64, "M", 128, "M"]), num_classes=1, init_weights=False)
    oracle.classifier = torch.nn.Identity()
    weights.fill_random(oracle, 0)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images(1, 32) - mean[:, None, None]) / deviation[:, None, None]
    conv1_1 = oracle.features[0](x)
    torch.testing.assert_close(found["conv1_1"], conv1_1)
    assert float(found["conv1_1"].detach().min()) < 0
    conv2_1 = oracle.features[3](torch.nn.functional.max_pool2d(conv1_1.relu(), 2))
    torch.testing.assert_close(found["conv2_1"], conv2_1)


def test_bytes_of_weights_while_they_are_used_and_loaded():
    """VGG19 has 20,024,384 parameters in its convolutions and 143,667,240 in all."""
    described = Network(architecture="vgg19", layers=("conv5_4",), image_size=224)
    assert zoo.loading_bytes(described, image_size=224) == (4 * 20_024_384, 8 * 20_024_384)
    whole = described.model_copy(update={"layers": ("conv1_1", "fc6")})
    assert zoo.loading_bytes(whole, image_size=224) == (4 * 143_667_240, 8 * 143_667_240)
    file = described.model_copy(update={"weights": "vgg.pt"})
    assert zoo.loading_bytes(file, image_size=224) == (4 * 20_024_384, 4 * (20_024_384 + 143_667_240))
    small = Network(architecture="vgg11_quarter", layers=("conv1_1",))
    assert zoo.loading_bytes(small, image_size=32)[0] == 4 * zoo.structure(small, image_size=32).n_parameters
