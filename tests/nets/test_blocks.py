from __future__ import annotations

from hpc_recon.core.network_options import Network
from hpc_recon.nets import blocks, zoo

GIBIBYTE = 2**30 // (48 * 4)
VGG19 = zoo.structure(Network(architecture="vgg19", layers=("x",)), image_size=224).taps


def cut(*layers: str, max_units: int = GIBIBYTE) -> list[blocks.Block]:
    network = Network(architecture="vgg19", layers=layers)
    return blocks.cut(network, image_size=(224, 224), max_units=max_units)


def test_blocks_do_not_depend_on_the_chosen_layers():
    everything = cut(*VGG19)
    assert [block.name for block in everything] == [
        "conv1_1..conv1_1", "conv1_2..conv2_1", "conv2_2..conv4_1", "conv4_2..fc8",
    ]  # fmt: skip
    (block,) = cut("conv3_4", "conv2_2")
    assert block == blocks.Block("conv2_2", "conv4_1", ("conv2_2", "conv3_4"))


def test_a_block_of_vgg19_stays_within_its_units():
    for block in cut(*VGG19):
        assert sum(zoo.n_units(VGG19[layer].unit_shape) for layer in block.chosen) <= GIBIBYTE


def test_a_layer_that_is_too_large_is_a_block_of_its_own():
    assert [block.name for block in cut("conv1_1", "fc7", max_units=1)] == ["conv1_1..conv1_1", "fc7..fc7"]
