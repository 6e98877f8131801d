from __future__ import annotations

from hpc_recon.core.network_options import Network
from hpc_recon.extraction import blocks
from hpc_recon.nets import zoo

NETWORK = Network(architecture="vgg11_quarter", layers=("conv1_1", "conv3_1"))


def test_a_block_holds_the_chosen_layers_and_counts_what_it_writes() -> None:
    (block,) = blocks.of_network(NETWORK, (16, 16))
    assert block.chosen == ("conv1_1", "conv3_1")
    units = sum(zoo.n_units(shape) for shape in zoo.unit_shapes(NETWORK, image_size=(16, 16)).values())
    need = blocks.need(NETWORK, block, (16, 16), n=48)
    assert need.bytes_out == 48 * (units + 3 * 2) * 4
    assert need.host_bytes > 48 * units * 4
    half = blocks.need(NETWORK.model_copy(update={"dtype": "float16"}), block, (16, 16), n=48)
    assert 2 * half.bytes_out == need.bytes_out


def test_settings_depend_on_the_weights_the_type_and_the_layers() -> None:
    (block,) = blocks.of_network(NETWORK, (16, 16))
    changed = [{"weights": "random:1"}, {"dtype": "float16"}, {"transform": "abs"}, {"image_size": 24}]
    found = {blocks.settings(NETWORK.model_copy(update=change), block) for change in ({}, *changed)}
    assert len(found) == 1 + len(changed)


def test_layers_too_large_for_one_block_are_cut(monkeypatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 48 * 4 * 5000)  # one layer of 4,096 units
    assert [block.chosen for block in blocks.of_network(NETWORK, (16, 16))] == [("conv1_1",), ("conv3_1",)]
