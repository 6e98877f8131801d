"""The networks of end-to-end reconstruction: golden numbers of the published prototxts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.train_options import Comparator
from hpc_recon.nets import end_to_end, zoo
from hpc_recon.nets.end_to_end import Discriminator, Features, Generator, Sizes

PUBLISHED = Sizes.published(11726)
TINY = Sizes(20, 60, 64, 0.125)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def outputs(module: torch.nn.Module, given: torch.Tensor) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inner in module.named_modules():
        if name:
            inner.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    module(given)
    return shapes


def test_the_published_generator():
    with torch.device("meta"):
        generator = Generator(PUBLISHED)
        shapes = outputs(generator, torch.zeros(1, 11726))
    assert n_parameters(generator) == 87_348_736
    connected = {n: p for n, p in generator.named_parameters() if n.startswith("defc")}
    assert sum(p.numel() for p in connected.values()) == 81_596_416
    assert [n for n in generator.state_dict() if n.endswith("bias")] == ["defc7.bias", "defc6.bias", "defc5.bias"]
    assert shapes == {
        **dict.fromkeys(("defc7", "defc6", "defc5"), (4096,)),
        "deconv5": (256, 8, 8),
        "conv5_1": (512, 8, 8),
        "deconv4": (256, 16, 16),
        "conv4_1": (256, 16, 16),
        "deconv3": (128, 32, 32),
        "conv3_1": (128, 32, 32),
        "deconv2": (64, 64, 64),
        "deconv1": (32, 128, 128),
        "deconv0": (3, 256, 256),
    }


def test_initial_deviations_are_the_published_ones():
    with torch.device("meta"):
        deviations = end_to_end.generator_deviations(Generator(PUBLISHED))
    expected = {
        "defc7": 0.01306,
        "defc6": 0.02210,
        "defc5": 0.02210,
        "deconv5": 0.03977,
        "conv5_1": 0.01875,
        "deconv4": 0.03977,
        "conv4_1": 0.02652,
        "deconv3": 0.05625,
        "conv3_1": 0.03750,
        "deconv2": 0.07955,
        "deconv1": 0.11250,
        "deconv0": 0.36742,
    }
    assert {name.removesuffix(".weight"): round(value, 5) for name, value in deviations.items()} == expected


def test_the_published_discriminator():
    with torch.device("meta"):
        discriminator = Discriminator(PUBLISHED)
        shapes = outputs(discriminator, torch.zeros(1, 3, 227, 227))
        deviations = end_to_end.discriminator_deviations(discriminator)
    assert n_parameters(discriminator) == 1_081_410
    assert [shapes[f"maps.{i}"][1] for i in range(5)] == [56, 52, 25, 23, 11]
    assert [shapes[f"maps.{i}"][0] for i in range(5)] == [32, 64, 128, 256, 256]
    assert (shapes["fc1"], shapes["fc2"]) == ((256,), (2,))
    he = {name: np.sqrt(2 / fan_in) for name, fan_in in (("maps.0", 147), ("maps.1", 800), ("fc1", 256), ("fc2", 256))}
    assert deviations["maps.0.weight"] == pytest.approx(0.1 * he["maps.0"])
    assert deviations["maps.1.weight"] == pytest.approx(he["maps.1"])
    assert deviations["fc1.weight"] == pytest.approx(0.1 * he["fc1"]) == deviations["fc2.weight"]


def test_initial_weights_have_their_deviations_and_depend_on_seed_and_name_alone():
    one, two, other = Generator(TINY), Generator(TINY), Generator(TINY)
    deviations = end_to_end.generator_deviations(one)
    torch.manual_seed(5)
    end_to_end.initialise(one, deviations, seed=3)
    torch.manual_seed(6)
    end_to_end.initialise(two, deviations, seed=3)
    end_to_end.initialise(other, deviations, seed=4)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name))
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert not torch.equal(parameter, other.get_parameter(name))
            # 5 standard errors of a standard deviation
            assert parameter.std().item() == pytest.approx(deviations[name], rel=5 / np.sqrt(2 * parameter.numel()))


def test_the_output_is_the_middle_of_what_is_made():
    image = torch.arange(256.0 * 256).reshape(1, 1, 256, 256)
    assert torch.equal(end_to_end.middle(image, 227), image[..., 14:241, 14:241])
    generator = Generator(TINY)
    assert generator(torch.zeros(2, 20)).shape == (2, 3, 60, 60)
    generator.train()
    trained = generator(torch.ones(2, 20))
    assert torch.equal(trained, generator.eval()(torch.ones(2, 20)))  # no dropout, no normalisation


def test_the_discriminator_of_small_images_drops_units_while_it_is_trained():
    discriminator = Discriminator(TINY).train()
    images = torch.randn(4, 3, 60, 60, generator=torch.Generator().manual_seed(0)) * 60
    assert discriminator(images).shape == (4, 2)
    end_to_end.initialise(discriminator, end_to_end.discriminator_deviations(discriminator), seed=1)
    assert not torch.equal(discriminator(images), discriminator(images))


def test_caffenet_compares_images_as_they_are_and_other_networks_rgb():
    images = torch.rand(1, 3, 227, 227, generator=torch.Generator().manual_seed(1)) * 255 - 110
    caffenet = Comparator(architecture="caffenet", weights="random:0", preprocessing="caffe")
    (pool5,) = Features(caffenet, crop=227, device="cpu")(images)
    assert pool5.shape == (1, 256, 6, 6)
    body = zoo.load(end_to_end.comparator_network(caffenet, crop=227), image_size=227).body
    with torch.no_grad():
        assert torch.equal(pool5, body.features(images))
    small = Comparator(architecture="vgg11_quarter", weights="random:1", layers=("conv1_1", "conv2_1"))
    found = Features(small, crop=32, device="cpu")(images[..., :32, :32])
    rgb = (images[..., :32, :32] + torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)).flip(1) / 255
    whole = zoo.load(end_to_end.comparator_network(small, crop=32), image_size=32)
    with torch.no_grad():
        expected = whole.body.features[0](whole.preprocess(rgb))
    torch.testing.assert_close(found[0], expected)


def test_the_port_of_alexnet_has_a_pool5_of_the_same_shape():
    alexnet = Comparator(architecture="alexnet", weights="random:0", layers=("features.12",))
    shapes = zoo.unit_shapes(end_to_end.comparator_network(alexnet, crop=227), image_size=227)
    assert shapes == {"features.12": (256, 6, 6)}
