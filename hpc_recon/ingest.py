"""Bring a lab's samples, stimuli and ROI masks into the workspace, by the mapping in the study's `ingest` section.

All files are read and checked before anything is written. One tile writes the stimuli, then one tile a
split (a subject, or a fold of its cross-validation) writes its brain samples and masks.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import StudyError
from hpc_recon.core.ingest_options import CrossValidation
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

if TYPE_CHECKING:
    from hpc_recon.exchange.mapping import SubjectData
    from hpc_recon.stores.brain import Brain
    from hpc_recon.stores.images import StimulusTable

log = logging.getLogger(__name__)

STIMULI_KEY = "ingest/stimuli"
#: Seconds to open the files and a byte rate (read, cast, write, flush) of a slow network disk.
START_SECONDS = 0.5
BYTES_PER_SECOND = 50e6
#: Peak before writing, in multiples of the stored bytes: images as float64, as uint8, stacked, and joined.
STIMULI_FACTOR = 8 + 3
#: Samples as float64, as float32, which of them are finite, and a copy of a split's rows.
SAMPLES_FACTOR = 2 + 1 + 0.25 + 1

#: A file's path, length and time: what is read again only if one of them changes.
Signature = tuple[str, int, int]


@dataclass(frozen=True)
class _Sizes:
    """What the checked input holds: shape of the stimuli, and of each dataset of each split.

    By subject: small arrays (masks, positions), bytes of the samples as they are read, and for images bytes of the peak
    beside them, bytes of the files, and seconds of computing.
    """

    images: tuple[int, ...]
    samples: dict[str, dict[str, tuple[int, int]]]
    n_small: dict[str, int]
    input_bytes: dict[str, int]
    images_need: dict[str, tuple[int, int, float]]


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile for the stimuli and one for each split; the input is read and checked.

    Raises
    ------
    StudyError
        With every problem of the mapping and of the files; nothing has been written then.
    """
    from hpc_recon.exchange import mapping
    from hpc_recon.nets import zoo
    from hpc_recon.stores import layout

    sizes = _inspect(*_cache_key(study))
    for name, network in study.networks.items():  # missing weights or layers would only show when all is read
        zoo.check(network, image_size=(sizes.images[1], sizes.images[2]), runs=study.runs(name))
    ingest = mapping.section(study)
    stimuli_settings = {
        "stimuli": {
            name: mapping.fingerprint(ingest.stimuli[name]) for name in study.datasets if name in ingest.stimuli
        },
        "order": [name for name in study.datasets if name in ingest.stimuli],
        "image_size": ingest.image_size,
    }
    group = Group("ingest", ("stimuli",), canonical(stimuli_settings))
    n_bytes = array_bytes(*sizes.images, itemsize=1)
    shard = layout.stimuli_geometry(*sizes.images[:3]).shards[0]
    tiles = [
        Tile(group, "stimuli", 0, 1, _need(STIMULI_FACTOR, n_bytes, n_bytes, files=1 + -(-sizes.images[0] // shard)))
    ]
    for split in study.splits() if not study.decode.files else ():  # decoded elsewhere: no sample is read
        subject = base_subject(split)
        settings: dict[str, object] = {
            "subject": mapping.fingerprint(ingest.subjects[subject]),
            "roles": {name: study.datasets[name].role for name in ingest.subjects[subject].datasets},
        }
        if split != subject:
            settings |= {"cross_validation": mapping.fingerprint(ingest.cross_validation), "seed": study.seed}
        group = Group("ingest", (split,), canonical(settings), (STIMULI_KEY,))
        written = sum(array_bytes(*shape) for shape in sizes.samples[split].values())
        files = sizes.n_small[subject] + sum(
            1 + -(-n // layout.SAMPLES_PER_SHARD) for n, _ in sizes.samples[split].values()
        )
        need = _need(SAMPLES_FACTOR, sizes.input_bytes[subject], written, files=files)
        working, n_read, computing = sizes.images_need[subject]
        if n_read:
            seconds = START_SECONDS + computing + (n_read + written) / BYTES_PER_SECOND
            need = replace(need, host_bytes=need.host_bytes + working, bytes_in=n_read, seconds=seconds)
        tiles.append(Tile(group, "brain", 0, 1, need))
    return tiles


def _need(factor: float, bytes_in: int, bytes_out: int, *, files: int) -> Need:
    host = int(factor * max(bytes_in, bytes_out)) + shard_bytes(bytes_out, itemsize=1)
    seconds = START_SECONDS + (bytes_in + bytes_out) / BYTES_PER_SECOND
    return Need(host_bytes=host, bytes_in=bytes_in, bytes_out=bytes_out, files_out=files, seconds=seconds)


def prepare(study: Study) -> None:
    """Check the input once more; each array belongs to one tile, which creates it.

    Raises
    ------
    StudyError
        As `plan`.
    """
    _inspect(*_cache_key(study))


def work(study: Study, tile: Tile) -> list[Path]:
    """Write the stimuli, or the brain samples and ROI masks of one split.

    Returns
    -------
    list of Path
        Every file written, flushed to disk.
    """
    from hpc_recon.exchange import stimuli
    from hpc_recon.stores import brain, images, layout, positions

    workspace = layout.workspace_of(study)
    if tile.stage == "stimuli":
        return images.write_stimuli(workspace, stimuli.read(study), made_by=tile.group.key)
    (split,) = tile.group.path
    table = images.read_table(workspace)
    subject = _subject(*_cache_key(study), base_subject(split), table)
    files = []
    for name, part in _datasets(study, split, subject, table=table).items():
        files += brain.write_brain(workspace, split, name, part, made_by=tile.group.key)
    for name, mask in subject.rois.items():
        files += brain.write_roi(workspace, split, name, mask, made_by=tile.group.key)
    if subject.positions is not None:
        files += positions.write_positions(workspace, split, subject.positions, made_by=tile.group.key)
    for note in subject.notes:
        warnings.warn(note, stacklevel=2)
    return files


def _cache_key(study: Study) -> tuple[str, tuple[Signature, ...]]:
    """Return what the input depends on: the study, and path, length and time of each file."""
    from hpc_recon.exchange import mapping

    files = []
    for path in mapping.input_files(mapping.section(study).model_copy(update={"sources": ()})):
        status = path.stat()
        files.append((str(path), status.st_size, status.st_mtime_ns))
    return study.model_dump_json(), tuple(files)


@lru_cache(maxsize=1)  # the folds of a subject are tiles of their own, one after another in a worker
def _subject(
    text: str, files: tuple[Signature, ...], subject: str, table: StimulusTable, voxels: bool = True
) -> SubjectData:
    from hpc_recon.exchange import mapping

    return mapping.read_subject(Study.model_validate_json(text), subject, table=table, voxels=voxels)


@lru_cache(maxsize=1)
def _inspect(text: str, files: tuple[Signature, ...]) -> _Sizes:
    """Read and check everything, log what deserves a look, and return the sizes."""
    from hpc_recon.exchange import mapping
    from hpc_recon.exchange import stimuli as lab_stimuli
    from hpc_recon.stores import images

    study = Study.model_validate_json(text)
    problems = _check_study(study)
    try:
        stimuli = lab_stimuli.read(study)
    except StudyError as error:  # without labels, samples cannot be checked
        raise StudyError(study.name, [*problems, *_at("ingest.stimuli", error)]) from error
    lab_stimuli.warn_of_copies(stimuli)
    sizes, table = _Sizes(stimuli.images.shape, {}, {}, {}, {}), images.table_of(stimuli)
    del stimuli
    for name in study.subjects if not study.decode.files else ():
        try:
            if mapping.has_images(study, name):
                subject = _subject(text, files, name, table, False)
            else:
                subject = _subject(text, files, name, table)
        except StudyError as error:
            problems += _at(f"ingest.subjects.{name}", error)
            continue
        _warn_of_voxels(name, subject)
        problems += _check_shared(study, name, subject, table=table)
        problems += _check_pool(study, name, subject, table=table)
        sizes.n_small[name] = len(subject.rois) + (subject.positions is not None)
        sizes.input_bytes[name] = subject.read_bytes
        sizes.images_need[name] = subject.working_bytes, subject.file_bytes, subject.working_seconds
        for split in study.splits() if not problems else ():
            if base_subject(split) == name:
                sizes.samples[split] = _sample_sizes(study, split, subject, table=table)
                problems += [
                    f"{split}: the dataset {dataset!r} would have no sample; use fewer folds"
                    for dataset, (n, _) in sizes.samples[split].items()
                    if n == 0
                ]
    if problems:
        raise StudyError(study.name, problems)
    return sizes


def _at(place: str, error: StudyError) -> list[str]:
    return [f"{place}: {problem}" for problem in error.problems]


def _check_study(study: Study) -> list[str]:
    """Return the mistakes of the study that only matter here."""
    from hpc_recon.stores import layout

    return [
        f"datasets: no dataset may be called {name!r}: the {held} lie under this name"
        for name, held in ((layout.ROI_FOLDER, "masks"), (layout.POSITIONS, "positions of voxels"))
        if name in study.datasets
    ]


def _folds(study: Study) -> CrossValidation | None:
    return study.ingest.cross_validation if study.ingest is not None else None


def _check_pool(study: Study, name: str, subject: SubjectData, *, table: StimulusTable) -> list[str]:
    """Return a problem if samples to be dealt into folds show stimuli that are not dealt, so never held out."""
    folds = _folds(study)
    if folds is None:
        return []
    pooled = {folds.training_dataset, folds.test_dataset}
    dealt = {label for label, owner in zip(table.labels, table.dataset, strict=True) if owner in pooled}
    parts = [subject.datasets[dataset] for dataset in pooled & set(subject.datasets)]
    foreign = sorted({label for brain in parts for label in brain.labels if label not in brain.conditions} - dealt)
    if not foreign:
        return []
    return [
        f"ingest.cross_validation: {len(foreign)} stimuli that {name} saw in {' and '.join(sorted(pooled))} belong to "
        f"another dataset ({', '.join(foreign[:5])}), so no fold holds them out; give these samples their own dataset"
    ]


def _warn_of_voxels(name: str, subject: SubjectData) -> None:
    """Log constant voxels."""
    if subject.n_constant:
        log.warning("%s: %d voxels are constant over the training samples; never selected", name, subject.n_constant)


def _check_shared(study: Study, name: str, subject: SubjectData, *, table: StimulusTable) -> list[str]:
    """Return a problem for each test dataset that shows training stimuli; log them where the study allows it.

    Without training samples (decoders are read from files), training stimuli are the training dataset's own.
    """
    assert study.ingest is not None, "checked by the plan"
    if study.training_dataset in subject.datasets:
        trained = set(subject.datasets[study.training_dataset].labels)
    else:
        own = zip(table.labels, table.dataset, strict=True)
        trained = {label for label, dataset in own if dataset == study.training_dataset}
    problems = []
    for dataset in study.test_datasets(name):
        shared = sorted(trained & set(subject.datasets[dataset].labels))
        if not shared:
            continue
        found = f"{name}: {len(shared)} stimuli of the test dataset {dataset} are training stimuli too"
        if study.ingest.shared_stimuli == "allow":
            log.warning("%s", found)
        else:
            problems.append(
                f"{found} ({', '.join(shared[:5])}{', ...' if len(shared) > 5 else ''}); move them to one side, or set "
                f"ingest.shared_stimuli: allow if this is meant"
            )
    return problems


def _averages(study: Study, subject: str, dataset: str) -> bool:
    """Return whether the repeats of a dataset are averaged: as its mapping says, else for test datasets."""
    assert study.ingest is not None, "checked by the plan"
    mapped = study.ingest.subjects[subject].datasets.get(dataset)  # None: only folds of a cross-validation have it
    chosen = mapped.repeats if mapped is not None else None
    return (chosen or ("keep" if study.datasets[dataset].role == "training" else "average")) == "average"


def _select(
    study: Study, split: str, subject: SubjectData, *, table: StimulusTable
) -> dict[str, list[tuple[str, Array]]]:
    """Return for each dataset of a split the samples that it holds: pairs of a source dataset and its rows."""
    sources = {name: subject.datasets[name].labels for name in study.datasets if name in subject.datasets}
    match = re.search(r"\.r([0-9]+)f([0-9]+)$", split)
    if match is None:
        return {name: [(name, np.arange(len(labels)))] for name, labels in sources.items()}
    from hpc_recon.stores.folds import held_out_labels

    folds = _folds(study)
    assert folds is not None, "only cross-validation makes such splits"
    held_out = held_out_labels(study, folds, repeat=int(match[1]) - 1, fold=int(match[2]) - 1, table=table)
    pooled = [name for name in (folds.training_dataset, folds.test_dataset) if name in sources]
    held = {name: np.array([label in held_out for label in sources[name]]) for name in pooled}
    # A condition without a stimulus is not dealt: it is decoded by the subject's own split.
    shown = {name: np.array([x not in subject.datasets[name].conditions for x in sources[name]]) for name in pooled}
    return {
        folds.training_dataset: [(name, np.flatnonzero(shown[name] & ~mask)) for name, mask in held.items()],
        folds.test_dataset: [(name, np.flatnonzero(shown[name] & mask)) for name, mask in held.items()],
    }


def _sample_sizes(
    study: Study, split: str, subject: SubjectData, *, table: StimulusTable
) -> dict[str, tuple[int, int]]:
    """Return (n_samples, n_voxels) of each dataset of a split, after averaging."""
    sizes = {}
    for dataset, parts in _select(study, split, subject, table=table).items():
        labels = [subject.datasets[name].labels[i] for name, rows in parts for i in rows]
        averaged = _averages(study, base_subject(split), dataset)
        sizes[dataset] = (len(set(labels)) if averaged else len(labels), subject.n_voxels)
    return sizes


def _datasets(study: Study, split: str, subject: SubjectData, *, table: StimulusTable) -> dict[str, Brain]:
    """Return the samples of each dataset of a split, repeats averaged where they are to be."""
    from hpc_recon.exchange import pooling

    found = {}
    for dataset, parts in _select(study, split, subject, table=table).items():
        brain = pooling.pool([pooling.take(subject.datasets[name], rows) for name, rows in parts])
        found[dataset] = pooling.average_repeats(brain) if _averages(study, base_subject(split), dataset) else brain
    return found


def _check(options: Any) -> int:
    """Print the state of every input file; 0 if all are here and as declared, else 1."""
    import click

    from hpc_recon.core.loading import load_study
    from hpc_recon.core.redaction import for_terminal
    from hpc_recon.exchange import checking

    findings = checking.check(load_study(options.study, options.assignments))
    for finding in findings:
        click.echo(for_terminal(f"{finding.state:8}{finding.what}: {finding.detail}"))
    bad = {state: sum(finding.state == state for finding in findings) for state in ("missing", "wrong")}
    click.echo(f"{len(findings)} looked at, {bad['missing']} missing, {bad['wrong']} wrong")
    return 1 if any(bad.values()) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see `python -m hpc_recon.ingest --help`."""
    from hpc_recon.run import cli

    text = "say which input files are here, where to get the others, and whether they hold what the study declares"
    return cli.main("ingest", argv, instead={"check": (text, _check)})


if __name__ == "__main__":
    raise SystemExit(main())
