"""The U-Net and the patch discriminator: the published numbers, and what flows where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.nets.shape_semantic import PatchDiscriminator, Sizes, UNet, enlarged, initialise

SMALL = Sizes(32, 5, width=0.125, patch_layers=3)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("n_semantic", "golden"), [(64, 54_928_387), (1024, 62_792_707), (0, 54_404_099)])
def test_the_unet_has_the_published_number_of_parameters(n_semantic, golden):
    with torch.device("meta"):
        net = UNet(Sizes(256, n_semantic))
        made = net(torch.zeros(2, 3, 256, 256), torch.zeros(2, n_semantic))
    assert n_parameters(net) == golden
    assert made.shape == (2, 3, 256, 256)


def test_the_discriminator_has_the_published_number_of_parameters_and_patches():
    with torch.device("meta"):
        net = PatchDiscriminator(Sizes(256, 64))
        scores = net(torch.zeros(2, 3, 256, 256), torch.zeros(2, 3, 256, 256))
    assert n_parameters(net) == 2_767_808
    assert scores.shape == (2, 1, 16, 16)


def test_maps_of_the_unet_have_the_published_channels_and_sizes():
    found = []
    with torch.device("meta"):
        net = UNet(Sizes(256, 64))
        for block in [*net.down, *net.up]:
            block.register_forward_hook(lambda _module, _given, out: found.append(tuple(out.shape[1:3])))
        net(torch.zeros(1, 3, 256, 256), torch.zeros(1, 64))
    down = [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4), (512, 2), (512, 1)]
    up = [(512, 2), (512, 4), (512, 8), (512, 16), (256, 32), (128, 64), (64, 128)]
    assert found == [*down, *up]


def dropouts(blocks) -> list[bool]:
    return [any(isinstance(layer, torch.nn.Dropout) for layer in block) for block in blocks]


def normed(blocks) -> list[bool]:
    return [any(isinstance(layer, torch.nn.InstanceNorm2d) for layer in block) for block in blocks]


def test_dropout_and_normalisation_are_where_they_were_published():
    with torch.device("meta"):
        net = UNet(Sizes(256, 64))
    assert dropouts(net.down) == [False] * 3 + [True] * 5
    assert dropouts(net.up) == [True] * 4 + [False] * 3
    assert normed(net.down) == [False, *[True] * 6, False]
    assert all(normed(net.up))


def test_images_depend_on_both_inputs_unless_one_is_left_out():
    net = UNet(SMALL).eval()
    initialise(net, seed=0)
    drawn = torch.Generator().manual_seed(0)
    shape, semantic = torch.randn(2, 3, 32, 32, generator=drawn), torch.randn(2, 5, generator=drawn)
    made = net(shape, semantic)
    assert made.abs().max() < 1
    assert not torch.equal(net(shape, semantic + 1), made)
    assert not torch.equal(net(shape + 1, semantic), made)
    alone = UNet(Sizes(32, 0, width=0.125)).eval()
    assert alone(shape, torch.zeros(2, 0)).shape == made.shape


def test_initial_weights_depend_on_the_seed_and_the_name_alone():
    nets = [UNet(SMALL) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        initialise(net, seed=seed)
    states = [net.state_dict() for net in nets]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["down.0.0.weight"], states[2]["down.0.0.weight"])
    drawn = states[0]["down.2.0.weight"]
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.05)


def test_a_cell_becomes_a_block():
    cells = torch.arange(4.0).reshape(1, 1, 2, 2)
    found = enlarged(cells, 6)
    np.testing.assert_array_equal(found[0, 0].numpy(), np.kron(cells[0, 0].numpy(), np.ones((3, 3))))
    assert found.shape == (1, 3, 6, 6)
    assert torch.equal(found[:, 0], found[:, 2])
