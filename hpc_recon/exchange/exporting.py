"""Files written for other programs: batch by batch, whole or not at all, and never over a file of somebody else.

A journal beside the files (`.hpc_recon-export-<number>.jsonl`, one a run) says which files are ours: first the journals
that it found, then each batch before it is written, and after it each file with its size, its time of change and a
digest of what it was made of. So a run that was stopped goes on where it stopped; a file whose source is still the same
is kept; one whose source changed is written again; and one that is not in the journal, or was changed since, is only
replaced where that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import DataError, MissingStore, StudyError, WorkspaceError
from hpc_recon.core.files import describe_room, free_bytes, sync_folder
from hpc_recon.core.listing import Listing
from hpc_recon.core.text import closest, format_bytes
from hpc_recon.core.tiles import canonical
from hpc_recon.stores import layout

JOURNAL = ".hpc_recon-export-"
#: Bytes of a `.mat` file beside its values, at most.
OVERHEAD = 4096


@dataclass(frozen=True)
class Selection:
    """Which part of a study is exported; empty means all."""

    subjects: tuple[str, ...] = ()
    rois: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    def check(self, study: Study) -> None:
        """Raise `StudyError` with every name that the study does not have."""
        layers = [layer for network in study.networks.values() for layer in network.layers]
        problems = [
            f"--{option} {name!r} is not in the study{closest(name, known)}"
            for option, names, known in (
                ("subject", self.subjects, study.subjects),
                ("roi", self.rois, study.rois),
                ("network", self.networks, list(study.networks)),
                ("layer", self.layers, layers),
                ("dataset", self.datasets, list(study.datasets)),
            )
            for name in names
            if name not in known
        ]
        if problems:
            raise StudyError("command line", problems)

    def network(self, study: Study) -> str:
        """Return the one network that is chosen; trees of several networks would lie in each other."""
        names = self.networks or tuple(study.networks)
        if len(names) != 1:
            raise StudyError(
                "command line",
                [f"give one --network of {', '.join(names)}: each network is exported to a folder of its own (--to)"],
            )
        return names[0]

    def layers_of(self, study: Study) -> list[str]:
        """Return the chosen layers of the chosen network.

        Raises
        ------
        StudyError
            If it has none of them.
        """
        name = self.network(study)
        own = study.networks[name].layers
        foreign = [layer for layer in self.layers if layer not in own]
        if foreign:
            problems = [f"--layer {layer!r} is not a layer of {name}{closest(layer, own)}" for layer in foreign]
            raise StudyError("command line", problems)
        return [layer for layer in own if not self.layers or layer in self.layers]

    def splits(self, study: Study) -> list[str]:
        """Return the chosen subjects, each followed by the folds of its cross-validation."""
        return [split for split in study.splits() if not self.subjects or base_subject(split) in self.subjects]

    def decoded_splits(self, study: Study) -> list[str]:
        """Return the chosen splits that are decoded: with `splits`, those with converters, by their target's name."""
        return [split for split in study.decoded_splits() if not self.subjects or base_subject(split) in self.subjects]

    def fitted_splits(self, study: Study) -> list[str]:
        """Return the chosen splits that have decoders: with `splits`, those of pooled samples."""
        return [split for split in study.fitted_splits() if not self.subjects or base_subject(split) in self.subjects]

    def chosen_rois(self, study: Study) -> list[str]:
        """Return the chosen ROIs."""
        return [roi for roi in study.rois if not self.rois or roi in self.rois]

    def has_dataset(self, name: str) -> bool:
        """Return whether a dataset is chosen."""
        return not self.datasets or name in self.datasets


def place(split: str) -> tuple[str, str | None]:
    """Return subject and fold of a split, which are folders of their own in the lab's trees.

    So are splits of converted and of pooled samples.

    >>> place("S1"), place("S1.r1f02"), place("S2.from-S1")
    (('S1', None), ('S1', 'r1f02'), ('S2', 'from-S1'))
    """
    subject, _, fold = split.partition(".")
    return subject, fold or None


@dataclass(frozen=True)
class Batch:
    """Files that are made from one bounded read of the stores."""

    #: Relative to the folder of the export, with their projected bytes.
    files: dict[str, int]
    #: Digest of everything that the content depends on.
    source: str
    #: Writes the files named, below a folder.
    write: Callable[[Path, Collection[str]], None] = field(repr=False, compare=False)
    #: Bytes in memory while it does.
    host_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """What an export will write."""

    folder: Path
    todo: tuple[tuple[Batch, tuple[str, ...]], ...]
    #: Files that are there and of the same source.
    n_kept: int

    @property
    def files(self) -> dict[str, int]:
        """Names and projected bytes of the files that will be written."""
        return {name: batch.files[name] for batch, names in self.todo for name in names}

    @property
    def host_bytes(self) -> int:
        """Bytes in memory of the largest batch."""
        return max((batch.host_bytes for batch, _ in self.todo), default=0)


def source_of(workspace: Path, keys: Iterable[str], **settings: object) -> str:
    """Return a digest of the groups with these keys, and of settings of the export; all groups must be finished.

    Raises
    ------
    MissingStore
        If a group was never started, or has tiles left; names the command.
    """
    digests = {}
    for key in dict.fromkeys(keys):
        found = Listing(workspace, key)
        fingerprint = found.fingerprint(key) or {}
        total, done = sum(fingerprint.get("tiles", {}).values()), len(found.done(key))
        if done < total or not total:
            raise MissingStore(
                f"{key} is not finished: {done} of {total or 'its'} tiles are done; run "
                f"{layout.command(key.partition('/')[0])} first"
            )
        digests[key] = fingerprint["digest"]
    return hashlib.sha256(canonical([digests, settings]).encode()).hexdigest()[:16]


def plan(folder: Path, batches: Iterable[Batch], *, overwrite: bool, workspace: Path) -> Plan:
    """Compare what is to be written with what is there; nothing is changed.

    Raises
    ------
    DataError
        If two batches would write one file, the folder is in the workspace, or a file that is not ours would be
        replaced and `overwrite` does not allow it.
    WorkspaceError
        If the disk has too little room.
    """
    if folder.resolve().is_relative_to(workspace.resolve()):
        raise DataError(f"--to {folder} is in the workspace {workspace}, which holds nothing else; give another folder")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--to {folder} is a file; give a folder")
    ours, unfinished = _journals(folder)
    todo: list[tuple[Batch, tuple[str, ...]]] = []
    seen: set[str] = set()
    foreign: list[str] = []
    n_kept = 0
    for batch in batches:
        twice = [name for name in batch.files if name in seen]
        if twice:
            raise DataError(
                f"{len(twice)} files would be written twice (first: {twice[0]}): two datasets show the same stimuli; "
                "give one --dataset at a time, each with a folder of its own"
            )
        seen.update(batch.files)
        names = []
        for name in batch.files:
            state = _state(folder / name, ours.get(name, {}), batch.source, is_unfinished=name in unfinished)
            n_kept += state == "kept"
            if state == "foreign":
                foreign.append(name)
            if state != "kept":
                names.append(name)
        if names:
            todo.append((batch, tuple(names)))
    if foreign and not overwrite:
        raise DataError(
            f"{len(foreign):,} files in {folder} were not written by this export, or changed since (first: "
            f"{foreign[0]}); nothing was written. Give another folder, or replace them with --overwrite"
        )
    found = Plan(folder, tuple(todo), n_kept)
    size, free = sum(found.files.values()), free_bytes(folder)
    if size > free:
        raise WorkspaceError(
            f"{len(found.files):,} files of {format_bytes(size)} do not fit on the disk of {folder}: "
            f"{describe_room(folder)}; make room, or choose less (--layer, --subject, --roi)"
        )
    return found


def run(work: Plan, *, report: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Write what a plan says, and return how many files were written; `report` hears files done and in all."""
    total, done = len(work.files), 0
    if not total:
        return 0
    work.folder.mkdir(parents=True, exist_ok=True)
    before = sorted(path.name for path in work.folder.glob(f"{JOURNAL}*.jsonl"))
    journal = work.folder / f"{JOURNAL}{uuid.uuid4().hex[:12]}.jsonl"
    with open(journal, "x", encoding="utf-8") as stream:
        sync_folder(work.folder)

        def note(content: object) -> None:
            stream.write(json.dumps(content, separators=(",", ":")) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

        note({"after": before})
        for batch, names in work.todo:
            note({"begin": list(names)})
            batch.write(work.folder, names)
            written = {name: (work.folder / name).stat() for name in names}
            note({"done": {name: [at.st_size, at.st_mtime_ns, batch.source] for name, at in written.items()}})
            done += len(names)
            report(done, total)
    return done


def _state(path: Path, ours: dict[tuple[int, int], str], source: str, *, is_unfinished: bool) -> str:
    """Return `absent`, `kept`, `outdated` or `foreign`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return "absent"
    written_from = ours.get((found.st_size, found.st_mtime_ns))
    if written_from is not None:
        return "kept" if written_from == source else "outdated"
    return "outdated" if is_unfinished else "foreign"


def _journals(folder: Path) -> tuple[dict[str, dict[tuple[int, int], str]], set[str]]:
    """Return the source of each file by size and time, and the files of batches that were begun but not finished.

    What a later run finished, which names in its journal those that it found, is finished.
    """
    ours: dict[str, dict[tuple[int, int], str]] = {}
    begun: dict[str, set[str]] = {}
    later: list[tuple[list[str], set[str]]] = []
    for path in sorted(folder.glob(f"{JOURNAL}*.jsonl")):
        own, before, finished = begun.setdefault(path.name, set()), list[str](), set[str]()
        for line in _lines(path):
            before += map(str, line.get("after", ()))
            own.update(line.get("begin", ()))
            for name, (size, changed, source) in line.get("done", {}).items():
                ours.setdefault(name, {})[int(size), int(changed)] = str(source)
                own.discard(name)
                finished.add(name)
        later.append((before, finished))
    for before, finished in later:
        for name in before:
            begun.get(name, set()).difference_update(finished)
    return ours, set().union(*begun.values())


def _lines(path: Path) -> Iterator[dict[str, dict[str, Sequence[int]]]]:
    """Yield the lines of a journal; the last may have been cut by a crash, before anything was done after it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            yield dict(json.loads(line))
        except (ValueError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                return
            raise DataError(
                f"line {number} of {path}, which says what was exported, is damaged; remove the file, and replace what "
                "is there with --overwrite"
            ) from error
