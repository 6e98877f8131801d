"""What is wrong with a study's shape-semantic entries though each section is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.shape_options import ShapeSemanticTraining


def training(study: Study, where: str, options: ShapeSemanticTraining) -> list[str]:
    """Return the mistakes of an entry under `train:`, a line each."""
    problems = [
        *_layer(study, f"{where}.shape", options.shape.network, options.shape.layer),
        *_rois(study, f"{where}.shape.rois", options.shape.rois),
    ]
    if options.has("semantics"):
        own = options.semantic
        if own.network is not None:
            problems += _layer(study, f"{where}.semantic", own.network, own.layer)
        problems += _rois(study, f"{where}.semantic.roi", () if own.roi is None else (own.roi,))
    named = options.shape.rois or options.semantic.roi
    if named and len(options.rois or study.rois) > 1:
        problems.append(
            f"{where}.rois: areas are named under shape or semantic, so one network is trained; name the one ROI that "
            f"its images are stored under, as rois: [{study.rois[-1]}]"
        )
    if not study.fit.out_of_fold:
        problems.append(
            f"{where}: it is trained on predictions out of fold, as noisy as those of new images; write "
            "fit: {out_of_fold: true}"
        )
    if study.units is not None:
        problems.append(f"{where}: a shape needs every cell; leave out units")
    augments = options.augments
    if augments is not None:
        problems += _augmentation(study, f"{where}.augmentation.dataset", augments.dataset)
    return problems


def _layer(study: Study, where: str, network: str, layer: str | None) -> list[str]:
    found = study.networks.get(network)
    if found is None:
        return [f"{where}.network: unknown network {network!r}{closest(network, study.networks)}"]
    if layer is None and len(found.layers) > 1:
        return [f"{where}.layer: {network!r} has {len(found.layers)} layers; name one, as layer: {found.layers[0]}"]
    if layer is not None and layer not in found.layers:
        return [f"{where}.layer: layer {layer!r} is not decoded{closest(layer, found.layers)}"]
    return []


def _rois(study: Study, where: str, rois: tuple[str, ...]) -> list[str]:
    return [f"{where}: unknown name {x!r}{closest(x, study.rois)}" for x in rois if x not in study.rois]


def _augmentation(study: Study, where: str, dataset: str) -> list[str]:
    if dataset not in study.datasets or study.ingest is None:
        return [f"{where}: unknown name {dataset!r}{closest(dataset, study.datasets)}; it needs ingest.stimuli"]
    seen = [name for name, subject in study.ingest.subjects.items() if dataset in subject.datasets]
    if seen or dataset == study.training_dataset:
        return [
            f"{where}: {dataset!r} has brain samples ({', '.join(seen) or 'training'}); name a dataset of images that "
            "no subject saw"
        ]
    if dataset not in study.ingest.stimuli:
        return [f"{where}: {dataset!r} has no images; give them under ingest.stimuli"]
    return []
