"""Reference images of a network: their statistics, measured or from a lab's file, for the norm correction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import sha256
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.network_options import Network
from hpc_recon.core.tiles import Group, Need, Tile, canonical, digest, ranges
from hpc_recon.extraction import blocks
from hpc_recon.formats.images import list_images
from hpc_recon.nets import features, reference, zoo
from hpc_recon.nets.identity import identity
from hpc_recon.numerics import corrections
from hpc_recon.stores import arrays, layout, tables

#: Name of the group that measures the reference images of a network, beside its blocks of layers.
REFERENCE = "_reference"


def plan(name: str, network: Network, image_size: tuple[int, int]) -> list[Tile]:
    """Return the tiles that measure the reference images of a network: one for 48 images, all layers."""
    if network.reference is None:
        return []
    settings: dict[str, object] = {"layers": list(network.layers)}
    if network.reference.file is not None:
        _statistics_of_file(name, network)
        settings |= {"file": sha256(network.reference.file), "statistic": network.reference.statistic}
        return [Tile(Group("extract", (name, REFERENCE), canonical(settings)), "reference", 0, 1, Need(files_out=1))]
    assert network.reference.folder is not None, "the study was validated"
    paths = list_images(network.reference.folder)
    content = digest({path.name: sha256(path) for path in paths})
    settings |= {**identity(network), "images": len(paths), "content": content}
    group, tiles = Group("extract", (name, REFERENCE), canonical(settings)), []
    for start, stop in ranges(len(paths), layout.STIMULI_PER_SHARD):
        needs = [
            blocks.need(network, block, image_size, n=stop - start) for block in blocks.of_network(network, image_size)
        ]
        need = Need(
            host_bytes=max(need.host_bytes for need in needs),
            device_bytes=max(need.device_bytes for need in needs),
            bytes_in=sum(path.stat().st_size for path in paths[start:stop]) + needs[0].bytes_in,
            bytes_out=array_bytes(stop - start, 3 * len(network.layers)),
            files_out=len(network.layers),
            seconds=sum(need.seconds for need in needs),
        )
        tiles.append(Tile(group, "reference", start, stop, need))
    return tiles


def prepare(workspace: Path, name: str, network: Network) -> None:
    """Create the arrays of the statistics of a folder's images; nothing for networks without one."""
    if network.reference is None or network.reference.folder is None:
        return
    n_images = len(list_images(network.reference.folder))
    for layer in network.layers:
        arrays.create(
            workspace,
            layout.reference(name, layer),
            shape=(n_images, 3),
            dtype="float32",
            geometry=layout.row_geometry(n_images, 3),
            made_by=Group("extract", (name, REFERENCE)).key,
        )


def _statistics_of_file(name: str, network: Network) -> dict[str, float]:
    """Return what the lab's file says of each layer of a network.

    Raises
    ------
    StudyError
        If the file has no statistics of a layer.
    """
    assert network.reference is not None, "asked for networks with a reference"
    assert network.reference.file is not None, "asked for references in files"
    found = reference.read_std_file(network.reference.file)
    absent = [layer for layer in network.layers if layer not in found]
    if absent:
        raise StudyError(
            f"networks.{name}.reference",
            [
                f"{network.reference.file} has no statistics of {', '.join(absent)}; it has {', '.join(found)}: decode "
                "these, or give a folder of images"
            ],
        )
    return {layer: found[layer] for layer in network.layers}


def work(study: Study, tile: Tile) -> list[Path]:
    """Write the statistics of reference images, or what a lab's file says of them; return the files."""
    workspace, name = layout.workspace_of(study), tile.group.path[0]
    network = study.networks[name]
    given = network.reference
    assert given is not None, "planned for networks with a reference"
    if given.folder is None:
        found = _statistics_of_file(name, network)
        columns: dict[str, Sequence[str | float]] = {
            "layer": list(found),
            "statistic": [given.statistic] * len(found),
            "value": list(found.values()),
        }
        return [tables.write_table(workspace, layout.reference_table(name), columns, made_by=tile.group.key)]
    pictures = reference.read_images(network, list_images(given.folder)[tile.start : tile.stop])
    image_size = (pictures.shape[1], pictures.shape[2])
    assert image_size == zoo.input_size(network, image_size), "images are read at the size of the network's input"
    files = []
    for block in blocks.of_network(network, image_size):  # one block of layers in memory at a time
        for layer, (values, unit_shape) in features.compute(network, block.chosen, pictures=pictures).items():
            features.require_finite(values, layer=f"{name}/{layer} (reference images)", dtype="float32")
            rows = corrections.reference_statistics(values, unit_shape).astype("float32")  # (n, 3)
            files += arrays.write(workspace, layout.reference(name, layer), (tile.start, 0), rows)
    return files
