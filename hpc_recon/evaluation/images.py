"""Score the reconstructions of one dataset, and what needs no reconstruction: the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.evaluate_options import Evaluate
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation import shapes
from hpc_recon.evaluation.parts import Scored, nearest
from hpc_recon.numerics import identification, image_scores, scores
from hpc_recon.stores import images, layout
from hpc_recon.stores.items import read_shown, training_rows

Metrics = dict[str, tuple[Array, int | Array]]


@dataclass(frozen=True)
class ImagesFound:
    """Scores of a method's images and of each baseline, and the nearest training stimulus of every item.

    Attributes
    ----------
    items
        (n_items,) names of all items, also of those that show no stimulus.
    nearest
        (n_items,) labels of training stimuli.
    scored
        One a method or baseline (`variant`, and the `network` that it depends on); none without a stimulus shown.
    """

    items: tuple[str, ...]
    nearest: tuple[str, ...]
    scored: tuple[Scored, ...]


def score(study: Study, variant: str, place: tuple[str, str, str]) -> ImagesFound:
    """Score the images that a method made of one dataset.

    Parameters
    ----------
    variant
        Name of the method in the study.
    place
        Split, ROI and dataset.

    Raises
    ------
    MissingStore, DamagedStore
        If an image or the similarities of features are missing or damaged.
    """
    split, _, dataset = place
    workspace = layout.workspace_of(study)
    network = study.reconstruct[variant].network
    items, table = read_shown(study, split, dataset), images.read_table(workspace)
    scored = np.flatnonzero(items.rows >= 0)
    stimuli, target = np.unique(items.rows[scored], return_inverse=True)
    names = tuple(items.names[i] for i in scored)
    training = training_rows(study, split)
    closest = training[nearest(study, place, network)]  # (items,)
    retrieved = tuple(items.names), tuple(table.labels[row] for row in closest)
    if not names:  # nothing of it shows a stimulus: no image to compare with
        return ImagesFound(*retrieved, ())
    true = _unit_range(images.read_images(workspace, stimuli))  # (stimuli, H, W, 3)
    shown, index = np.unique(closest[scored], return_inverse=True)
    candidates: dict[tuple[str, str], Array] = {
        (variant, network): reconstructions(study, variant, place, names, size=true.shape[1:3]),
        ("nearest_training_image", network): _unit_range(images.read_images(workspace, shown))[index],
    }
    everything = mean_image(study, training)
    candidates["mean_training_image", ""] = np.broadcast_to(everything, (len(target), *everything.shape))
    by_class = _class_means(study, training, [table.category[row] for row in items.rows[scored]], table.category)
    if by_class is not None:
        candidates["true_class_mean", ""] = by_class
    among = study.datasets[dataset].identification
    more = _published(study, candidates, true, target, among=among)
    coloured = shapes.rivals(study, dataset, [table.labels[row] for row in stimuli])
    if coloured is not None:
        for key, made in candidates.items():
            more[key] |= shapes.score(scores.pixel_similarity(made, true), target, coloured)
    found = [
        Scored(
            {"variant": name, "network": source},
            names,
            _metrics(made, true, target, among=among, options=study.evaluate) | more[name, source],
        )
        for (name, source), made in candidates.items()
    ]
    return ImagesFound(*retrieved, tuple(found))


def _published(
    study: Study, candidates: dict[tuple[str, str], Array], true: Array, target: Array, *, among: bool
) -> dict[tuple[str, str], Metrics]:
    """Return the scores of the published presets that the study chooses, by method or baseline."""
    if not study.evaluate.presets:
        return {key: {} for key in candidates}
    from hpc_recon.evaluation import published  # torch: as large as all else that a tile holds

    return published.score(study.evaluate, candidates, true, target, among=among)


def _metrics(made: Array, true: Array, target: Array, *, among: bool, options: Evaluate) -> Metrics:
    """Score images (items, H, W, 3) that show the stimuli `true[target]`; each metric with its number of values."""
    n_values = int(np.prod(true.shape[1:]))
    similarity = scores.pixel_similarity(made, true)  # (items, stimuli)
    metrics: Metrics = {
        "pixel_correlation": (similarity[np.arange(len(target)), target], n_values),
        "ssim": (scores.ssim(made, true[target]), n_values),
        "rmse": (image_scores.rmse(made, true[target]), n_values),
        "psnr": (image_scores.psnr(made, true[target]), n_values),
    }
    if among and len(true) > 1:
        metrics["identification"] = (scores.pairwise_identification(similarity, target).accuracy, len(true) - 1)
        if options.n_way:
            others = np.arange(len(true)) != target[:, None]
            not_below = identification.n_not_below(similarity, metrics["pixel_correlation"][0], others)
            for n in options.n_way:
                if len(true) >= n:
                    accuracy = identification.n_way(not_below, len(true) - 1, n)
                    metrics[f"identification_{n}way"] = (accuracy, len(true) - 1)
        if options.ssim_identification:
            alike = image_scores.ssim_similarity(made, true)
            metrics["ssim_identification"] = (scores.pairwise_identification(alike, target).accuracy, len(true) - 1)
    return metrics


def reconstructions(
    study: Study, variant: str, place: tuple[str, str, str], names: Sequence[str], *, size: tuple[int, int]
) -> Array:
    """Read the reconstructed images of a dataset, (items, H, W, 3) float32 in [0, 1]."""
    workspace = layout.workspace_of(study)
    made_by = "/".join(("reconstruct", variant, *place))
    files = [layout.image_file(study, variant, *place, name) for name in names]
    return np.stack([images.read_picture(workspace, path, made_by=made_by, size=size) for path in files])


def mean_image(study: Study, rows: Array) -> Array:
    """Return the mean of stimuli, (H, W, 3) float64 in [0, 1], reading 256 at a time."""
    workspace = layout.workspace_of(study)
    total: Array | float = 0.0
    for start, stop in ranges(len(rows), 256):
        total = total + images.read_images(workspace, rows[start:stop]).sum(axis=0, dtype=np.float64)
    return np.asarray(total / (255 * len(rows)))


def _class_means(study: Study, training: Array, wanted: Sequence[str], category: Sequence[str]) -> Array | None:
    """Return, for each item, the mean training image of its own category; None unless every item has one."""
    members = {name: np.array([row for row in training if category[row] == name]) for name in set(wanted)}
    if "" in members or not all(len(rows) for rows in members.values()):
        return None
    means = {name: mean_image(study, rows) for name, rows in members.items()}
    return np.stack([means[name] for name in wanted])


def _unit_range(pictures: Array) -> Array:
    return np.asarray(pictures, np.float32) / np.float32(255)
