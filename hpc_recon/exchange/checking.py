"""Which input files of a study are here, where to get the others, and whether they hold what the study declares."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import Exclude, IngestDataset, SourceFile
from hpc_recon.core.text import format_bytes
from hpc_recon.exchange import bdata, images, mapping, samples
from hpc_recon.formats import labfiles
from hpc_recon.formats.bdata import NO_LABEL


@dataclass(frozen=True)
class Finding:
    """One line of the check: what was looked at, `ok`, `missing` or `wrong`, and what is known of it."""

    what: str
    state: Literal["ok", "missing", "wrong"]
    detail: str


def check(study: Study) -> list[Finding]:
    """Look at every input file that the study names or lists under `sources`, then at the numbers of samples.

    Files of subjects that `subjects` leaves out are not looked at.

    Nothing is written. Sizes and md5 are compared where the study knows them; the samples, stimuli and conditions
    without a stimulus of a dataset with `sizes`, where all its files are here and its samples are kept one by one.

    Raises
    ------
    StudyError
        If the study has no `ingest` section.
    """
    problems: list[str] = []
    given = mapping.given_section(study)
    ingest = images.resolved(mapping.of_subjects(study), problems)
    listed = {source.file: source for source in ingest.sources}
    named = set(mapping.named_paths(ingest.model_copy(update={"sources": ()})))
    others = set(mapping.named_paths(given.model_copy(update={"sources": ()}))) - named
    found = [_file(path, listed.get(path)) for path in sorted({*listed, *named} - others)]
    for problem in problems:
        place, _, detail = problem.partition(": ")
        found.append(Finding(place, "wrong", detail))
    for subject in ingest.subjects:
        for name, dataset in ingest.subjects[subject].datasets.items():
            found += _counts(study, subject, name, dataset)
    return found


def _file(path: Path, source: SourceFile | None) -> Finding:
    if not path.exists():
        where = source.source if source is not None else "the study does not say where; see its `ingest.sources`"
        return Finding(str(path), "missing", f"get it: {where}")
    if path.is_dir():
        return Finding(str(path), "ok", "a folder")
    size = path.stat().st_size
    shown = format_bytes(size)
    if source is not None and source.bytes is not None and source.bytes != size:
        return Finding(str(path), "wrong", f"{size:,} bytes, but {source.bytes:,} are published; download it again")
    if source is None or source.md5 is None:
        return Finding(str(path), "ok", f"{shown}, no md5 is known")
    value = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 22):
            value.update(piece)
    if value.hexdigest() != source.md5:
        return Finding(str(path), "wrong", f"md5 {value.hexdigest()}, but {source.md5} is published; download it again")
    return Finding(str(path), "ok", f"{shown}, md5 as published")


def _counts(study: Study, subject: str, name: str, dataset: IngestDataset) -> Iterator[Finding]:
    """Yield whether a dataset has as many samples and labels as declared; nothing where that cannot be said.

    Of datasets in images, headers and tables are looked at in any case.
    """
    if images.is_image(dataset) and not any(not path.is_file() for path in mapping.named_paths(dataset)):
        try:
            n = images.n_samples(name, dataset, study.datasets[name].role)
        except DataError as error:
            yield Finding(f"{subject} {name}", "wrong", str(error))
            return
        yield Finding(f"{subject} {name}", "ok", f"headers, events and trials fit each other: {n:,} samples")
    if study.sizes is None or name not in study.sizes.datasets:
        return
    default = "keep" if study.datasets[name].role == "training" else "average"
    if (dataset.repeats or default) != "keep" or dataset.average_groups_of or dataset.exclude != Exclude():
        return
    if any(not path.is_file() for path in mapping.named_paths(dataset)):
        return
    what, declared = f"{subject} {name}", study.sizes.datasets[name]
    try:
        n = _n_samples(name, dataset, study.datasets[name].role)
        labels = Counter(_raw_labels(name, dataset))
    except DataError as error:
        yield Finding(what, "wrong", str(error))
        return
    # Which labels are null is known of the study; samples of a dataset without labels are one of each stimulus.
    null = {label: count for label, count in labels.items() if label in dataset.null_labels}
    found = {"samples": n, "null_samples": sum(null.values()), "null_conditions": len(null)}
    found |= {"stimuli": len(labels) - len(null)} if labels else {}
    wrong = {key: value for key, value in found.items() if value != getattr(declared, key)}
    if wrong:
        shown = "; ".join(
            f"{value:,} {key.replace('_', ' ')}, but sizes.datasets.{name}.{key} is {getattr(declared, key):,}"
            for key, value in wrong.items()
        )
        yield Finding(what, "wrong", f"{shown}; is it the whole file, and the right label?")
        return
    stimuli = f" of {found['stimuli']:,} stimuli" if labels else ""
    noun = "condition" if len(null) == 1 else "conditions"
    rest = f", {found['null_samples']:,} more of {len(null)} {noun} without a stimulus" if null else ""
    yield Finding(what, "ok", f"{n - found['null_samples']:,} samples{stimuli}{rest}")


def _n_samples(name: str, dataset: IngestDataset, role: Literal["training", "test"]) -> int:
    """Return how many samples a dataset has; no voxel of images is read."""
    if images.is_image(dataset):
        return images.n_samples(name, dataset, role)
    if dataset.bdata is not None:
        return bdata.n_rows(dataset.bdata)
    assert dataset.samples is not None, "the study was validated"
    return len(samples.array(dataset.samples))


def _raw_labels(name: str, dataset: IngestDataset) -> tuple[str, ...]:
    """Return what the files say of each sample, numbers as text; nothing where they do not say it."""
    if dataset.bdata is not None:
        return bdata.raw_labels(name, dataset.bdata)
    key = dataset.labels or dataset.stimulus_rows
    return () if key is None else labfiles.text(samples.array(key), f"{name}: labels", nan=NO_LABEL)
