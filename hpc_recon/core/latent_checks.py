"""What is wrong with a study's layers from voxels to latents though each section is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.core.latent_options import LatentOptions
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


def reconstruction(study: Study, where: str, options: LatentOptions) -> list[str]:
    """Return the mistakes of the trained layer that an entry of method `latent` names, a line each."""
    if options.model is None:
        return []
    model = study.train.get(options.model)
    if model is None:
        return [f"{where}.model: unknown name {options.model!r}{closest(options.model, study.train)}"]
    if not isinstance(model, LatentLayerTraining):
        return [f"{where}.model: {options.model!r} is trained by {model.method}; name one of method latent_layer"]
    problems = []
    known = study.networks[options.network].layers
    if (model.network, model.layers or known) != (options.network, options.layers or known):
        problems.append(
            f"{where}: latents of {options.network!r} are wanted, but {options.model!r} was trained on other layers; "
            "give both the same network and layers"
        )
    for key in ("subjects", "rois"):
        trained = getattr(model, key)
        wanted = getattr(options, key) or getattr(study, key)
        absent = [x for x in wanted if trained is not None and x not in trained]
        if absent:
            problems.append(f"{where}.{key}: {', '.join(absent)} not trained by {options.model!r}; choose from its own")
    return problems
