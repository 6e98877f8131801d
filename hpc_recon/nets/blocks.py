"""Blocks of neighbouring layers that are computed and stored together."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_recon.core.network_options import Network
from hpc_recon.nets import zoo


@dataclass(frozen=True)
class Block:
    """Neighbouring layers of an architecture; `chosen` are those that the study decodes, in network order."""

    first: str
    last: str
    chosen: tuple[str, ...]

    @property
    def name(self) -> str:
        """`first..last`."""
        return f"{self.first}..{self.last}"


def cut(network: Network, *, image_size: tuple[int, int], max_units: int) -> list[Block]:
    """Cut all layers of an architecture into blocks, and return those that hold a layer of the study.

    The cuts do not depend on which layers are chosen, so that choosing more leaves the other blocks as they are.

    Parameters
    ----------
    max_units
        Units of a block at most; a layer that has more is a block of its own.

    Raises
    ------
    StudyError
        If a layer of the study is unknown; all of them are named.
    """
    zoo.check_layers(network, image_size=image_size)
    groups: list[list[str]] = []
    size = 0
    for layer, tap in zoo.structure(network, image_size=image_size).taps.items():
        own = zoo.n_units(tap.unit_shape)
        if not groups or size + own > max_units:
            groups.append([])
            size = 0
        groups[-1].append(layer)
        size += own
    blocks = [Block(group[0], group[-1], tuple(x for x in group if x in network.layers)) for group in groups]
    return [block for block in blocks if block.chosen]
