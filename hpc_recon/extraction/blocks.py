"""The blocks of layers that one tile of `extract` computes: what they depend on and what they need."""

from __future__ import annotations

from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.network_options import Network
from hpc_recon.core.tiles import Need, canonical, store_seconds
from hpc_recon.nets import costs, zoo
from hpc_recon.nets.blocks import Block, cut
from hpc_recon.nets.identity import identity
from hpc_recon.stores import layout

#: Features of one tile, all layers of its block, float32; a constant of the format (docs/store_format.md).
BLOCK_BYTES = 2**30


def of_network(network: Network, image_size: tuple[int, int]) -> list[Block]:
    """Return the blocks of layers that hold a layer of the study."""
    return cut(network, image_size=image_size, max_units=BLOCK_BYTES // array_bytes(layout.STIMULI_PER_SHARD))


def settings(network: Network, block: Block) -> str:
    """Return what the features of a block depend on; the weights by content, not by place."""
    return canonical({**identity(network), "dtype": network.dtype, "layers": list(block.chosen)})


def need(network: Network, block: Block, image_size: tuple[int, int], *, n: int) -> Need:
    """Project a tile of `n` stimuli."""
    structure = zoo.structure(network, image_size=image_size)
    units = {layer: zoo.n_units(structure.taps[layer].unit_shape) for layer in block.chosen}
    itemsize = 4 if network.dtype == "float32" else 2
    weights = 4 * structure.n_parameters
    batch = costs.micro_batch(structure, block.chosen) * costs.forward_bytes(structure, block.chosen)
    bytes_out = array_bytes(n, sum(units.values()) + 3 * len(units), itemsize=itemsize)
    # Norms are computed in float64, one layer at a time, before that layer is written.
    largest = max(units.values())
    layer = max(shard_bytes(n, largest, itemsize=itemsize), array_bytes(n, largest, itemsize=16))
    return Need(
        host_bytes=costs.TORCH_BYTES + 2 * weights + batch + array_bytes(n, sum(units.values())) + layer,
        device_bytes=weights + batch,
        bytes_in=n * image_size[0] * image_size[1] * 3 + weights,
        bytes_out=bytes_out,
        files_out=sum(-(-count // layout.units_per_shard(count)) + 1 for count in units.values()),
        seconds=store_seconds(bytes_out) + n * costs.forward_seconds(structure, block.chosen),
    )
