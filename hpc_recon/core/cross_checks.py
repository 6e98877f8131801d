"""What is wrong with a study though each of its sections is right."""

from __future__ import annotations

from hpc_recon.core import decoder_files
from hpc_recon.core.config import Study
from hpc_recon.core.ingest_options import CrossValidation, Ingest
from hpc_recon.core.network_options import FEATURES_ONLY
from hpc_recon.core.text import closest


def problems(study: Study) -> list[str]:
    """Return the mistakes of a study that only show when its sections are seen together, a line each."""
    found = []
    roles = [dataset.role for dataset in study.datasets.values()]
    if roles.count("training") != 1:
        found.append(f"datasets: exactly one must have role: training, but {roles.count('training')} have")
    if (study.simulate is None) == (study.ingest is None):
        found.append("give either `simulate:` or `ingest:`: one of them makes the brain data")
    for key, names in (("subjects", study.subjects), ("rois", study.rois)):
        if len(set(names)) != len(names):
            found.append(f"{key} repeat: {', '.join(names)}; name each once")
    found += [
        f"report.rois: {roi!r} is no region of the study{closest(roi, study.rois)}"
        for roi in study.report.rois
        if roi not in study.rois
    ]
    if study.ingest is not None:
        for subject in study.subjects if not study.decode.files else ():
            if subject not in study.ingest.subjects:
                found.append(
                    f"subjects: {subject!r} is not under ingest.subjects{closest(subject, study.ingest.subjects)}"
                )
        named = {name for s in study.ingest.subjects.values() for name in s.datasets} | set(study.ingest.stimuli)
        found += [
            f"ingest: dataset {name!r} is not under datasets{closest(name, study.datasets)}"
            for name in sorted(named - set(study.datasets))
        ]
        found += _check_conditions(study, study.ingest)
        if study.ingest.cross_validation is not None:
            found += _check_folds(study, study.ingest.cross_validation)
    found += _check_references(study)
    for name, entry in study.train.items():
        found += entry.problems(study, f"train.{name}")
    if study.train and (study.decode.files or study.fit.files):
        found.append("train: networks learn from brain samples; leave out decode.files and fit.files")
    for name, options in study.reconstruct.items():
        found += options.problems(study, f"reconstruct.{name}")
    found += decoder_files.problems(study)
    found += _check_convert(study) if study.convert is not None else []
    return [*found, *(_check_decoded_files(study) if study.decode.files else ())]


def _check_convert(study: Study) -> list[str]:
    """Return what does not go with converters: their decoders are the targets', fitted here or read, and stored."""
    assert study.convert is not None, "asked by the caller"
    wrong = {
        "fit.decode": study.fit.decode,
        "fit.samples": bool(study.fit.samples),
        "decode.files": bool(study.decode.files),
        "ingest.cross_validation": study.ingest is not None and study.ingest.cross_validation is not None,
    }
    found = [f"convert does not go with {name}; leave one of them out" for name, given in wrong.items() if given]
    roi = study.convert.content.roi
    if roi is not None and roi not in study.rois:
        found.append(f"convert.content.roi: {roi!r} has no decoders{closest(roi, study.rois)}; add it to rois")
    if study.fit.statistics_by is not None and study.convert.pool:
        found.append(
            "convert.pool does not go with fit.statistics_by: pooled samples are of several subjects and share no "
            "sessions or runs; leave one of them out"
        )
    if study.fit.files and study.convert.pool:
        found.append(
            "convert.pool does not go with fit.files: pooled samples need decoders fitted to them, but none is "
            "fitted; leave one of them out"
        )
    if study.fit.files and study.ingest is not None:
        found += [
            f"convert: converters are fitted to samples of the training dataset {study.training_dataset!r}, but "
            f"{subject} has none; give them under ingest.subjects.{subject}.datasets, or leave {subject} out of "
            "convert.pairs"
            for subject in dict.fromkeys(x for pair in study.convert.ordered(study.subjects) for x in pair)
            if (mapped := study.ingest.subjects.get(subject)) and study.training_dataset not in mapped.datasets
        ]
    if study.convert.after_fit and study.fit.spatial_norm:
        found.append("convert.method: content_loss does not go with fit.spatial_norm; leave one of them out")
    return found + study.convert.problems(study.subjects)


def _check_decoded_files(study: Study) -> list[str]:
    """Return what does not go with decoded features that are read from files."""
    problems = [
        f"decode.files: unknown network {name!r}{closest(name, study.networks)}"
        for name in study.decode.files
        if name not in study.networks
    ]
    missing = [name for name in study.networks if name not in study.decode.files]
    if missing:
        problems.append(
            f"decode.files: nothing else is decoded then; give files of {', '.join(missing)} too, or a study of its own"
        )
    wrong = {
        "fit.decode": study.fit.decode,
        "fit.out_of_fold": study.fit.out_of_fold,
        "decode.average": study.decode.average is not True,
        "ingest.cross_validation": study.ingest is not None and study.ingest.cross_validation is not None,
    }
    problems += [f"decode.files does not go with {name}; leave that out" for name, given in wrong.items() if given]
    for name, files in study.decode.files.items():
        for key, given, known in (("subjects", files.subjects, study.subjects), ("rois", files.rois, study.rois)):
            where, unknown = f"decode.files.{name}.{key}", [x for x in given if x not in known]
            problems += [f"{where}: {x!r} is not in the study{closest(x, known)}" for x in unknown]
    return problems


def _check_conditions(study: Study, ingest: Ingest) -> list[str]:
    """Return a problem for each training dataset with samples that show no stimulus: no decoder learns from them."""
    problems = []
    for subject, mapping in ingest.subjects.items():
        for name, dataset in mapping.datasets.items():
            if name not in study.datasets or study.datasets[name].role != "training":
                continue
            where = f"ingest.subjects.{subject}.datasets.{name}"
            if dataset.null_labels:
                labels = ", ".join(dataset.null_labels)
                problems.append(
                    f"{where}.null_labels: nothing is learnt from samples without a stimulus, and {name!r} has role: "
                    f"training; leave them out with exclude: {{labels: [{labels}]}}"
                )
            if dataset.labels_are == "categories":
                problems.append(
                    f"{where}.labels_are: decoders are trained on stimuli, and {name!r} has role: training; give "
                    "labels of stimuli"
                )
    return problems


def _check_references(study: Study) -> list[str]:
    """Return a problem for each reference that cannot be measured, or has no statistics for the norm correction."""
    problems = []
    method = study.decode.norm_correction
    for name, network in study.networks.items():
        if network.reference is None:
            continue
        where = f"networks.{name}.reference"
        if network.reference.folder is not None and network.architecture == FEATURES_ONLY:
            problems.append(
                f"{where}.folder: images are measured by running the network, but this one is only known by its "
                "features; give a file of statistics"
            )
        elif network.reference.folder is not None and network.image_size is None:
            problems.append(f"{where}.folder: its images are resized to the network's image_size; give one, as 224")
        if method != "none" and method not in network.reference.serves:
            served = " or ".join(network.reference.serves)
            problems.append(
                f"decode.norm_correction: {method} needs statistics that {network.reference.in_words} ({where}.file) "
                f"does not hold; use {served}, or give a folder of images: reference: {{folder: ...}}"
            )
    return problems


def _check_folds(study: Study, folds: CrossValidation) -> list[str]:
    wanted = {folds.training_dataset: "training", folds.test_dataset: "test"}
    return [
        f"ingest.cross_validation: {name!r} must be a dataset with role: {role}"
        for name, role in wanted.items()
        if name not in study.datasets or study.datasets[name].role != role
    ]
