"""What is wrong with a study's layers from voxels to latents though each section is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study


def training(study: Study, where: str, options: LatentLayerTraining) -> list[str]:
    """Return the mistakes of an entry of method `latent_layer` under `train:`, a line each."""
    network = study.networks.get(options.network)
    if network is None:
        return [f"{where}.network: unknown network {options.network!r}{closest(options.network, study.networks)}"]
    problems = [
        f"{where}.layers: {options.network!r} has no layer {layer!r}{closest(layer, network.layers)}"
        for layer in options.layers or ()
        if layer not in network.layers
    ]
    if study.units is not None:
        problems.append(f"{where}: a generator needs every number of a latent; leave out units")
    return problems
