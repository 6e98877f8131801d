"""Controls: studies derived from a study, with brains that can tell nothing or less, and these brains.

A derived study is an ordinary one in `<workspace>/controls/<name>`. Its subjects are repeats of the subjects of the
study (`S1-shuffled1`, ...), or a subject without one cluster of training stimuli (`S1-clusters3`; `S1-clusters0` has
all); its stimuli and features are links.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core import receipts
from hpc_recon.core.array import Array
from hpc_recon.core.config import Reconstruct, Report, Study
from hpc_recon.core.control_options import ControlName, ControlOf, Controls, DerivedName
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.evaluate_options import Evaluate
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.options import EndToEndOptions, IcnnOptions, PixelsOptions
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import ShapeSemanticOptions
from hpc_recon.core.sizes import DatasetSize, Sizes
from hpc_recon.evaluation import clusters, subsets
from hpc_recon.evaluation.clusters import Clusters
from hpc_recon.stores import brain, layout, linking, shapes

FOLDER = "controls"
#: Arrays of the study that its controls read as they are.
_LINKED = ("stimuli.zarr", "features.zarr", "norms.zarr", "reference.zarr")


def workspace_of(study: Study, name: DerivedName) -> Path:
    """Return the workspace of a control, or of `power --images`."""
    own = ("power", "images") if name == "power" else (FOLDER, name)
    return layout.workspace_of(study).joinpath(*own)


def require_possible(study: Study, what: str = "controls") -> None:
    """Raise unless the study can be fitted again; `what` is who asks for it.

    Raises
    ------
    StudyError
        If decoders or decoded features come from files, arrays lie elsewhere, it is itself a control, or there is no
        test dataset to identify.
    """
    problems = []
    if study.control_of is not None:
        problems.append(f"this study is a control of {study.control_of.workspace}; give the study of that workspace")
    if study.fit.files or study.decode.files:
        problems.append(
            f"{what} are fitted again, but decoders or decoded features of this study are read from files (fit.files, "
            "decode.files); there are none without training samples"
        )
    if study.arrays is not None:
        problems.append(
            f"{what} use features by hard links, but arrays lie in {study.arrays}; run the study with its arrays in "
            "a folder workspace"
        )
    if not identified(study):
        problems.append(f"{what} are identified, but no test dataset has identification: true; set one")
    if problems:
        raise StudyError(study.name, problems)


def identified(study: Study) -> list[str]:
    """Return the test datasets whose images are identified."""
    return [name for name in study.test_datasets() if study.datasets[name].identification]


def derive(study: Study, name: ControlName) -> Study:
    """Return the study of a control, with an absolute workspace.

    Raises
    ------
    MissingStore
        If the brain or the features of the study are not there yet.
    """
    more: dict[str, Any] = _without_clusters(study) if name == "clusters" else {}
    repeats = {f"{s}-{name}{r + 1}": s for s in study.subjects for r in range(study.controls.repeats)}
    more = {"subjects": repeats, "images": study.controls.images} | more
    return derived(study, ControlOf(name=name, workspace=layout.workspace_of(study), **more))


def derived(study: Study, of: ControlOf, tests: Sequence[str] | None = None) -> Study:
    """Return a study of the brains that `of` describes; errors as `derive`.

    Parameters
    ----------
    tests
        Its test datasets; default: all that are identified.
    """
    options, name, subjects = study.controls, of.name, of.subjects
    kept = identified(study) if tests is None else tests
    datasets = {n: d for n, d in study.datasets.items() if d.role == "training" or n in kept}
    methods = _methods(study, subjects, list(datasets))
    pixels = any(isinstance(method, PixelsOptions) for method in methods.values())
    ingest = study.ingest
    if ingest is not None:
        mapped = {
            copy: ingest.subjects[s].model_copy(
                update={"datasets": {n: d for n, d in ingest.subjects[s].datasets.items() if n in datasets}}
            )
            for copy, s in subjects.items()
        }
        stimuli = {n: s for n, s in ingest.stimuli.items() if n in datasets}
        ingest = ingest.model_copy(update={"subjects": mapped, "stimuli": stimuli, "cross_validation": None})
    changes = {
        "name": f"{study.name}-{name}"[:60],
        "workspace": workspace_of(study, name),
        "subjects": tuple(subjects),
        "datasets": datasets,
        "ingest": ingest,
        "convert": None,
        "units": study.units if study.units is not None or pixels else options.units,
        "sizes": _sizes(study, list(datasets)),
        "reconstruct": methods,
        "evaluate": Evaluate(confidence=study.evaluate.confidence, resamples=study.evaluate.resamples),
        "report": Report(),
        "controls": Controls(),
        "control_of": of,
    }
    return study.model_copy(update=changes)


def clusters_of(study: Study) -> Clusters:
    """Return the clusters of a study's stimuli, kept in the control's workspace or found anew; nothing is written.

    Raises
    ------
    MissingStore
        If the brain or the features of the study are not there yet.
    StudyError, DataError
        If `controls.cluster_layer` is no layer, or there are more clusters than stimuli.
    """
    found = _content(study, layout.workspace_of(study), study.subjects)
    test = {
        label
        for subject in study.subjects
        for dataset in identified(study)
        if dataset in study.test_datasets(subject)
        for label in chosen(study, subject, dataset, study.controls.images)
    }
    return clusters.find(study, workspace_of(study, "clusters"), found, sorted(test))


def _without_clusters(study: Study) -> dict[str, Any]:
    """Return for `ControlOf`: each subject with all training samples, then without each cluster of its test stimuli."""
    found = clusters_of(study)
    subjects: dict[str, str] = {}
    held_out: dict[str, int] = {}
    datasets: dict[str, tuple[str, ...]] = {}
    for subject in study.subjects:
        own = [name for name in identified(study) if name in study.test_datasets(subject)]
        of = {name: {found.test[x] for x in chosen(study, subject, name, study.controls.images)} for name in own}
        subjects[f"{subject}-clusters0"] = subject
        for cluster in sorted(set().union(*of.values())):
            name = f"{subject}-clusters{cluster + 1}"
            subjects[name], held_out[name] = subject, cluster
            datasets[name] = tuple(dataset for dataset in own if cluster in of[dataset])
    key = clusters.digest_of(found)
    return {"subjects": subjects, "held_out": held_out, "datasets": datasets, "clusters": key}


def _methods(study: Study, subjects: dict[str, str], datasets: list[str]) -> dict[str, Reconstruct]:
    """Return the methods for the derived subjects and the datasets that are left, without what only shows them.

    Methods that are trained are left out: their networks would have to be trained again.
    """
    found: dict[str, Reconstruct] = {}
    for name, options in study.reconstruct.items():
        if isinstance(options, (EndToEndOptions, ShapeSemanticOptions)) or (
            isinstance(options, LatentOptions) and options.model is not None
        ):
            continue
        kept = None if options.datasets is None else tuple(d for d in options.datasets if d in datasets)
        own = options.subjects
        mine = None if own is None else tuple(copy for copy, s in subjects.items() if s in own)
        if kept == () or mine == ():
            continue
        changes: dict[str, object] = {"datasets": kept, "subjects": mine}
        if isinstance(options, IcnnOptions):
            changes |= {"recovery": 0, "snapshots": None, "keep_starts": False}
        found[name] = options.model_copy(update=changes)
    return found


def _sizes(study: Study, datasets: list[str]) -> Sizes:
    """Return what the control's stores will hold, from those of the first subject."""
    known, workspace, subject = shapes.read(study), layout.workspace_of(study), study.subjects[0]
    found = {}
    for name in datasets:
        owner = next((s for s in study.subjects if _has(study, s, name)), subject)
        labels = brain.read_labels(workspace, owner, name)
        if name != study.training_dataset:
            shown = chosen(study, owner, name, study.controls.images)
            labels = tuple(label for label in labels if label in shown)
        found[name] = DatasetSize(stimuli=max(1, len(set(labels))), samples=max(1, len(labels)))
    voxels = {roi: known.n_voxels(subject, roi) for roi in study.rois}
    return Sizes(image_size=known.image_size(), voxels=voxels, datasets=found)


def _has(study: Study, subject: str, dataset: str) -> bool:
    return dataset == study.training_dataset or dataset in study.test_datasets(subject)


def chosen(study: Study, subject: str, dataset: str, images: int) -> set[str]:
    """Return the labels of the test stimuli of a control: all, or a random sample, the same in each repeat."""
    items = brain.read_item_table(study, subject, dataset)
    labels = list(dict.fromkeys(items.labels[i] for i in items.scored))
    if len(labels) <= images:
        return set(labels)
    rng = np.random.default_rng(seed_of(study.seed, "control images", dataset))
    return set(rng.choice(labels, size=images, replace=False).tolist())


def content(study: Study) -> dict[str, str]:
    """Return the digests of all in the workspace of a control's study that the control rests on.

    Raises
    ------
    MissingStore
        If something of it is not computed yet; names the command.
    """
    of = study.control_of
    assert of is not None
    found = _content(study, of.workspace, tuple(dict.fromkeys(of.subjects.values())))
    return found if of.clusters is None else {**found, "clusters": of.clusters}


def _content(study: Study, workspace: Path, subjects: Sequence[str]) -> dict[str, str]:
    source = study.recording_verb
    found: dict[str, str] = {}
    prefixes = [f"{source}/stimuli", *(f"{source}/{subject}" for subject in subjects)]
    for prefix in (*prefixes, *(f"extract/{network}" for network in study.networks)):
        digests = receipts.group_digests(workspace, prefix)
        if not digests or not receipts.Listing(workspace, prefix).any_done(prefix):
            verb = prefix.partition("/")[0]
            raise MissingStore(
                f"controls are made of {prefix}, of which nothing is computed yet in {workspace}; run "
                f"{layout.command(verb)} first"
            )
        found |= digests
    return found


def link(study: Study) -> None:
    """Link stimuli and features of its study, with their receipts, into the workspace of a control.

    Raises
    ------
    DataError
        If the file system has no hard links.
    """
    assert study.control_of is not None
    there, here = study.control_of.workspace, layout.workspace_of(study)
    source = study.recording_verb
    for name in (*_LINKED, "receipts/extract", f"receipts/{source}/stimuli"):
        linking.link_tree(there / name, here / name)
    # The study's own stimuli, under the name of the command that makes the brains of this one.
    linking.link_tree(there / f"receipts/{source}/stimuli", here / "receipts/control/stimuli")


def write_brain(study: Study, subject: str, *, made_by: str) -> list[Path]:
    """Write the brain of one subject of a control: samples of each dataset, and the masks of the ROIs.

    Returns
    -------
    list of Path
        Every file written.
    """
    of = study.control_of
    assert of is not None
    there, here, original = of.workspace, layout.workspace_of(study), of.subjects[subject]
    whole = study.model_copy(update={"workspace": there})
    training = brain.read_brain(there, original, study.training_dataset)
    mean = training.samples.mean(axis=0, dtype=np.float64)
    scale = training.samples.std(axis=0, ddof=1, dtype=np.float64)
    files: list[Path] = []
    for dataset in study.datasets:
        is_training = dataset == study.training_dataset
        if not is_training and dataset not in study.test_datasets(subject):
            continue
        own = training if is_training else _selected(whole, of, original, of.source(dataset))
        if subject in of.held_out:
            own = _of_cluster(study, own, of.held_out[subject], training=is_training)
        rng = np.random.default_rng(seed_of(study.seed, "control", of.name, subject, dataset))
        if of.name == "power":
            own = subsets.reduced(study, own, subject, dataset)
        elif of.name == "noise":
            noise = mean + scale * rng.standard_normal(own.samples.shape)
            own = brain.Brain(noise.astype(np.float32), own.labels, own.columns, own.conditions)
        elif is_training and of.name == "shuffled":
            own = brain.Brain(own.samples, exchanged(own.labels, rng=rng), own.columns, own.conditions)
        files += brain.write_brain(here, subject, dataset, own, made_by=made_by)
    for roi in study.rois:
        if roi != brain.ALL_VOXELS or brain.has_mask(there, original, roi):
            mask: Array = brain.read_roi(there, original, roi)
            files += brain.write_roi(here, subject, roi, mask, made_by=made_by)
    return files


def _selected(study: Study, of: ControlOf, subject: str, dataset: str) -> brain.Brain:
    """Return the samples of a test dataset that show one of the stimuli chosen."""
    own = brain.read_brain(of.workspace, subject, dataset)
    shown = chosen(study, subject, dataset, of.images)
    kept = [i for i, label in enumerate(own.labels) if label in shown]
    if not kept:
        raise StudyError(
            study.name, [f"datasets.{dataset}: no sample of {subject} shows a stimulus; set identification: false"]
        )
    return subsets.some(own, kept)


def _of_cluster(study: Study, own: brain.Brain, cluster: int, *, training: bool) -> brain.Brain:
    """Return training samples that show no stimulus of a cluster, or test samples that show one."""
    assert study.control_of is not None
    found = clusters.read(layout.workspace_of(study), of=study.control_of.clusters)
    number = found.training if training else found.test
    kept = [i for i, label in enumerate(own.labels) if (number[label] == cluster) != training]
    if not kept:
        raise StudyError(
            study.name, [f"controls.clusters: all training stimuli are of cluster {cluster + 1}; set more clusters"]
        )
    return subsets.some(own, kept)


def exchanged(labels: tuple[str, ...], *, rng: np.random.Generator) -> tuple[str, ...]:
    """Return labels exchanged among stimuli: all samples of one get the label of another, and none keeps its own.

    Sattolo's algorithm: a random permutation that is one cycle.

    >>> exchanged(("a", "b", "a"), rng=np.random.default_rng(0))
    ('b', 'a', 'b')
    """
    known = list(dict.fromkeys(labels))
    given = known.copy()
    for i in range(len(given) - 1, 0, -1):
        j = int(rng.integers(i))
        given[i], given[j] = given[j], given[i]
    new = dict(zip(known, given, strict=True))
    return tuple(new[label] for label in labels)
