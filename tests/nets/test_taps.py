from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.network_options import Network
from hpc_recon.nets import architectures, taps, zoo


@pytest.fixture
def net() -> taps.Net:
    layers = ("conv1_1", "conv2_1", "conv3_1")
    return zoo.load(Network(architecture="vgg11_quarter", layers=layers), image_size=16)


def hooks(net: taps.Net) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


def test_the_network_stops_behind_the_deepest_wanted_layer(net: taps.Net):
    ran = []
    handles = [
        module.register_forward_hook(lambda module, *_, name=name: ran.append(name))
        for name, module in net.body.features.named_children()
    ]
    taps.activations(net, torch.rand(1, 3, 16, 16), ["conv2_1", "conv1_1"])
    for handle in handles:
        handle.remove()
    assert ran[-1] in ("2", "3")  # conv2_1 is features.3; the module that stops the run does not report
    assert len(ran) <= 4


def test_hooks_are_removed_after_success_and_after_failure(net: taps.Net):
    taps.activations(net, torch.rand(1, 3, 16, 16), ["conv2_1"])
    assert hooks(net) == 0
    with pytest.raises(RuntimeError):
        taps.activations(net, torch.rand(1, 5, 16, 16), ["conv2_1"])
    assert hooks(net) == 0


def test_gradients_flow_to_the_images(net: taps.Net):
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    taps.activations(net, image, ["conv3_1"])["conv3_1"].sum().backward()
    assert float(image.grad.abs().sum()) > 0


class _Plain:
    def __enter__(self): ...

    def __exit__(self, *error): ...


@pytest.mark.parametrize("architecture", ["vgg11_quarter", "caffenet", "vgg_normalised", "googlenet"])
def test_shapes_are_those_that_torch_itself_finds(architecture, monkeypatch):
    """Also which outputs an in-place ReLU overwrites, as those of googlenet do."""

    def found():
        with torch.device("meta"):
            return taps.trace(architectures.build_empty(architecture), torch.zeros(1, 3, 96, 96))

    own = found()
    monkeypatch.setattr(taps, "_ShapeOfReLU", _Plain)
    assert found() == own
    assert len(own[0]) > 5
    assert any(tap.overwritten for tap in own[0].values()) == (architecture == "googlenet")


def test_a_relu_off_the_meta_device_computes():
    found, _, _ = taps.trace(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten()), torch.zeros(1, 3, 2, 2))
    assert [tap.unit_shape for tap in found.values()] == [(3, 2, 2), (12,)]
    with taps._ShapeOfReLU():
        assert torch.nn.functional.relu(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


def test_no_layers_is_no_work(net: taps.Net):
    assert taps.activations(net, torch.rand(1, 3, 16, 16), []) == {}


def test_unknown_layer_is_a_key_error(net: taps.Net):
    with pytest.raises(KeyError):
        taps.activations(net, torch.rand(1, 3, 16, 16), ["nothing"])


def test_a_batch_equals_its_images_one_by_one(net: taps.Net):
    batch = torch.rand(3, 3, 16, 16)
    together = taps.activations(net, batch, ["conv3_1"])["conv3_1"]
    for i in range(3):
        alone = taps.activations(net, batch[i : i + 1], ["conv3_1"])["conv3_1"]
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)  # float32 convolutions


def test_read_gives_the_same_as_numpy_arrays_and_restores_the_threads(net: taps.Net, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPC_RECON_THREADS", "1")
    before = torch.get_num_threads()
    images = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3), dtype=np.uint8)
    found = taps.read(net, images, ["conv3_1", "conv1_1"])
    assert torch.get_num_threads() == before
    assert list(found) == ["conv3_1", "conv1_1"]
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    for layer, values in taps.activations(net, tensor, ["conv3_1", "conv1_1"]).items():
        assert found[layer].dtype == np.float32
        assert found[layer] == pytest.approx(values.numpy(), abs=1e-5)
