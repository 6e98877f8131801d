"""Image quality against the amount of data (`power --images`): the derived study, and the scores of its images.

The derived study is an ordinary one, as those of the controls: its subjects have parts of the training samples of
theirs, `S1-all` has them all, and its datasets average some of the test trials. All are decoded with the study's own
`fit` and made into images by one entry of `reconstruct`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core import units as unit_choice
from hpc_recon.core.array import Array
from hpc_recon.core.config import Dataset, Reconstruct, Study
from hpc_recon.core.control_options import ControlOf, Part, Trials
from hpc_recon.core.errors import StudyError
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.core.power_options import Power, PowerImages
from hpc_recon.core.sizes import DatasetSize, Sizes
from hpc_recon.core.text import closest
from hpc_recon.evaluation import controls, images, subsets
from hpc_recon.numerics import saturation, scores
from hpc_recon.stores import brain, layout, shapes
from hpc_recon.stores import images as stimuli

#: Scores of an image, and the form of the curve through them.
METRICS: dict[str, saturation.Link] = {"pixel_correlation": "correlation", "identification": "identification"}


@dataclass(frozen=True)
class Curve:
    """The scores of one subject and ROI along one curve.

    Attributes
    ----------
    x
        Sizes, ascending; the last is all there is.
    values
        By metric: (n_draws, n_sizes, n_images) float64. All there is has one value, the same in every draw.
    """

    curve: str
    x: tuple[float, ...]
    values: dict[str, Array]


@dataclass(frozen=True)
class Chosen:
    """What makes the images, and of which stimuli."""

    options: PowerImages
    variant: str
    method: Reconstruct
    dataset: str
    subjects: tuple[str, ...]
    rois: tuple[str, ...]


def choose(study: Study) -> Chosen:
    """Return what of a study makes the images.

    Raises
    ------
    StudyError
        If there is no such method or dataset, or the study cannot be fitted again.
    """
    controls.require_possible(study, "images of power")
    options = study.power.reconstruct or PowerImages()
    made = [name for name, one in study.reconstruct.items() if isinstance(one, (IcnnOptions, PixelsOptions))]
    problems = []
    variant = options.variant or next(iter(made), None)
    if variant is None or variant not in made:
        problems.append(
            "power.reconstruct.variant: images are made by an entry under `reconstruct` with method icnn or pixels, "
            + (f"which {variant!r} is not{closest(variant, made)}" if variant else "and the study has none; add one")
        )
    tests = controls.identified(study)
    dataset = options.dataset or next(iter(tests), "")
    if dataset not in tests:
        problems.append(
            f"power.reconstruct.dataset: {dataset!r} is no test dataset with identification: true; there are "
            f"{', '.join(tests) or 'none'}"
        )
    if problems or variant is None:
        raise StudyError("power --images", problems)
    method = study.reconstruct[variant]
    subjects = [s for s in method.subjects or study.subjects if dataset in study.test_datasets(s)]
    return Chosen(options, variant, method, dataset, tuple(subjects), tuple(method.rois or study.rois))


def derive(study: Study) -> Study:
    """Return the study whose images are scored, with an absolute workspace.

    Raises
    ------
    StudyError
        As `choose`.
    DataError
        If there are too few training stimuli for subsets of two sizes.
    MissingStore
        If the brain or the features of the study are not there yet.
    """
    chosen = choose(study)
    options, dataset = chosen.options, chosen.dataset
    of_subject, datasets = dict[str, str](), dict[str, tuple[str, ...]]()
    parts, tests = dict[str, Part](), dict[str, Trials]()
    for subject in chosen.subjects:
        found = sizes_of(study, chosen, subject)
        own = dict(subsets.trials(found, options, dataset))
        tests |= own
        for name, part in subsets.parts(found, options):
            of_subject[f"{subject}-{name}"], parts[f"{subject}-{name}"] = subject, part
            datasets[f"{subject}-{name}"] = (dataset, *own) if part.curve == "all" else (dataset,)
    of = ControlOf(
        name="power", workspace=layout.workspace_of(study), subjects=of_subject, images=options.stimuli,
        datasets=datasets, parts=parts, trials=tests,
    )  # fmt: skip
    whole = controls.derived(study, of, [dataset])
    described = study.datasets[dataset]
    every: dict[str, Dataset] = {
        study.training_dataset: study.datasets[study.training_dataset], dataset: described,
    }  # fmt: skip
    every |= {name: described.model_copy(update={"title": None}) for name in tests}
    method = chosen.method.model_copy(
        update={"datasets": None, "subjects": None, "rois": None}
        | ({"recovery": 0, "snapshots": None, "keep_starts": False} if isinstance(chosen.method, IcnnOptions) else {})
    )
    network = study.networks[method.network]
    used = network.model_copy(update={"layers": tuple(study.layers_of(method))})
    return whole.model_copy(
        update={
            "datasets": every,
            "rois": chosen.rois,
            "networks": {method.network: used},
            "units": study.units,
            "fit": study.fit.model_copy(update={"decode": True}),
            "decode": study.decode.model_copy(update={"average": True}),
            "train": {},
            "reconstruct": {chosen.variant: method},
            "power": Power(),
            "sizes": _sizes(study, chosen, tuple(tests)),
        }
    )


def sizes_of(study: Study, chosen: Chosen, subject: str) -> subsets.Sizes:
    """Return what is tried with a subject; errors as `derive`."""
    shown = controls.chosen(study, subject, chosen.dataset, chosen.options.stimuli)
    return subsets.sizes(study, chosen.options, subject, dataset=chosen.dataset, shown=shown)


def _sizes(study: Study, chosen: Chosen, tests: tuple[str, ...]) -> Sizes:
    """Return what the stores of the derived study hold at most, from those of the first subject."""
    known, workspace, subject = shapes.read(study), layout.workspace_of(study), chosen.subjects[0]
    labels = brain.read_labels(workspace, subject, study.training_dataset)
    shown = controls.chosen(study, subject, chosen.dataset, chosen.options.stimuli)
    n_test = sum(label in shown for label in brain.read_labels(workspace, subject, chosen.dataset))
    test = DatasetSize(stimuli=len(shown), samples=n_test)
    return Sizes(
        image_size=known.image_size(),
        voxels={roi: known.n_voxels(subject, roi) for roi in chosen.rois},
        datasets={study.training_dataset: DatasetSize(stimuli=len(set(labels)), samples=len(labels))}
        | dict.fromkeys((chosen.dataset, *tests), test),
    )


def collect(study: Study, subject: str, roi: str) -> list[Curve]:
    """Score the finished images of a subject and ROI.

    Pixel correlation with the own stimulus, and pairwise identification among the stimuli whose images are made.

    Raises
    ------
    MissingStore, DamagedStore
        If an image is missing or damaged.
    """
    chosen, made = choose(study), derive(study)
    found, draws = sizes_of(study, chosen, subject), chosen.options.draws
    n_voxels = shapes.read(study).n_voxels(subject, roi)
    whole = _scored(made, chosen.variant, (f"{subject}-all", roi, chosen.dataset))
    named: dict[tuple[str, float, int], str] = {
        (p.curve, p.amount, p.draw): name for name, p in subsets.parts(found, chosen.options)
    }
    axes: dict[str, tuple[float, ...]] = {
        "images": (*map(float, found.images), float(found.n_stimuli)),
        "repeats": (*found.means, found.mean_repeats),
        "voxels": (*(share * n_voxels for share in found.voxels), float(n_voxels)),
    }
    curves = []
    for curve, amounts in found.parts.items():
        sets = [
            [(f"{subject}-{named[curve, amount, draw]}", roi, chosen.dataset) for amount in amounts]
            for draw in range(1, draws + 1)
        ]
        curves.append(_curve(made, chosen.variant, curve, axes[curve], sets=sets, whole=whole))
    if len(found.trials) > 1:
        names = {(t.trials, t.draw): name for name, t in subsets.trials(found, chosen.options, chosen.dataset)}
        sets = [
            [(f"{subject}-all", roi, names[level, draw]) for level in found.trials[:-1]] for draw in range(1, draws + 1)
        ]
        x = tuple(float(level) for level in found.trials)
        curves.append(_curve(made, chosen.variant, "trials", x, sets=sets, whole=whole))
    return curves


def _curve(
    study: Study,
    variant: str,
    curve: str,
    x: tuple[float, ...],
    *,
    sets: list[list[tuple[str, str, str]]],
    whole: dict[str, Array],
) -> Curve:
    each = [[*(_scored(study, variant, place) for place in own), whole] for own in sets]
    values = {metric: np.stack([np.stack([one[metric] for one in own]) for own in each]) for metric in METRICS}
    return Curve(curve, x, values)


def _scored(study: Study, variant: str, place: tuple[str, str, str]) -> dict[str, Array]:
    """Return the scores of the images of one subject, ROI and dataset, (n_images,) float64 each."""
    split, _, dataset = place
    items = brain.read_item_table(study, split, dataset)
    true = stimuli.read_images(layout.workspace_of(study), items.rows).astype(np.float32) / np.float32(255)
    made = images.reconstructions(study, variant, place, items.names, size=true.shape[1:3])
    return scores_of(made, true)


def scores_of(made: Array, true: Array) -> dict[str, Array]:
    """Return the scores of images (n, H, W, 3) whose stimuli are `true`, by metric (n,) float64."""
    similarity = scores.pixel_similarity(made, true)
    return {
        "pixel_correlation": np.diagonal(similarity).astype(np.float64),
        "identification": np.asarray(scores.pairwise_identification(similarity).accuracy, np.float64),
    }


def floor(study: Study, subject: str) -> float:
    """Return the mean pixel correlation of the mean training image with the stimuli whose images are made."""
    chosen = choose(study)
    shown = controls.chosen(study, subject, chosen.dataset, chosen.options.stimuli)
    workspace = layout.workspace_of(study)
    table = stimuli.read_table(workspace)
    rows = np.array([row for row, label in enumerate(table.labels) if label in shown])
    training = np.unique(brain.stimulus_rows(workspace, brain.read_labels(workspace, subject, study.training_dataset)))
    true = stimuli.read_images(workspace, rows).astype(np.float32) / np.float32(255)
    mean = images.mean_image(study, training)
    return float(np.mean(scores.pixel_similarity(mean[None], true)))


def announced(study: Study, derived: Study) -> Iterator[str]:
    """Yield what is going to be made, in words."""
    chosen, of = choose(study), derived.control_of
    assert of is not None
    assert of.parts is not None
    n_sets = sum(len(tests) for tests in of.datasets.values()) * len(chosen.rois)
    shown = controls.chosen(study, chosen.subjects[0], chosen.dataset, chosen.options.stimuli)
    layers = derived.networks[chosen.method.network].layers
    units = "all units" if study.units is None else unit_choice.in_words(study.units)
    yield (
        f"power --images: {chosen.variant} makes {len(shown)} images of {chosen.dataset} from {n_sets} parts of the "
        f"data ({n_sets * len(shown)} images); {len(of.parts) * len(chosen.rois)} fits of {units} of "
        f"{len(layers)} layers"
    )
    if study.units is not None and isinstance(chosen.method, IcnnOptions):
        yield "Images from some units are worse than those from all: take the curves for their shape, not their height."


def content(study: Study, derived: Study) -> dict[str, Any]:
    """Return what is written of the whole: what made the images, how many, and the digests of what they rest on."""
    chosen, power = choose(study), study.power
    shown = controls.chosen(study, chosen.subjects[0], chosen.dataset, chosen.options.stimuli)
    return {
        "variant": chosen.variant, "dataset": chosen.dataset, "images": len(shown), "draws": chosen.options.draws,
        "units": None if study.units is None else unit_choice.in_words(study.units),
        "confidence": power.confidence, "resamples": power.resamples, "seed": study.seed,
        "of": controls.content(derived),
    }  # fmt: skip


def workspace_of(study: Study) -> Path:
    """Return the workspace of the derived study."""
    return controls.workspace_of(study, "power")
