"""Runs in a folder of BIDS derivatives: their images, confounds, sidecars and events, by the entities of their names.

Names are those of BIDS 1.10 and its derivatives, and of fMRIPrep's outputs (fmriprep.org, "Outputs"):
`sub-01_ses-a_task-x_run-1_space-T1w_desc-preproc_bold.nii.gz`, `..._hemi-L_space-fsnative_bold.func.gii`,
`..._space-fsLR_den-91k_bold.dtseries.nii`, `..._desc-confounds_timeseries.tsv`. Events follow the inheritance
principle: the table nearest to the run, of those whose entities are all the run's.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpc_recon.core.errors import DataError
from hpc_recon.core.files import visible
from hpc_recon.formats.bids import entities_of

Kind = Literal["volume", "gifti", "cifti"]
_EXTENSIONS = {"volume": (".nii.gz", ".nii"), "gifti": (".func.gii",), "cifti": (".dtseries.nii",)}
#: Entities that say how a run was processed or sampled; the others say which run it is.
_OF_PROCESSING = ("space", "desc", "res", "den", "hemi", "suffix", "extension")
#: fMRIPrep's name of the table since version 20, and the one before.
_CONFOUNDS = ("timeseries", "regressors")


@dataclass(frozen=True)
class FoundRun:
    """One run: `images` (one, or the left and the right hemisphere), its tables, and the entities that name it."""

    images: tuple[Path, ...]
    events: Path
    confounds: Path | None
    sidecar: Path | None
    session: str
    entities: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """Which runs: labels without their keys; `sessions`, `tasks` and `runs` are patterns with `*` and `?`.

    `space` None means files without that entity; `entities` are more that must be as given.
    """

    subject: str
    sessions: Sequence[str] = ("*",)
    tasks: Sequence[str] = ("*",)
    runs: Sequence[str] = ("*",)
    space: str | None = None
    kind: Kind = "volume"
    entities: Mapping[str, str] | None = None


def find_runs(folder: Path, events: Path, wanted: Wanted, *, confounds: bool = True) -> list[FoundRun]:
    """Find the runs of one subject, in the natural order of session, task and run.

    Parameters
    ----------
    folder
        Derivatives, with `sub-<subject>` in it.
    events
        The BIDS folder that has the `*_events.tsv`.
    wanted
        Which runs.
    confounds
        Whether each run must have its `desc-confounds` table.

    Raises
    ------
    DataError
        If no run is found (what there is, is named), two images fit one run, or a run lacks a table or a hemisphere.
    """
    top = folder / f"sub-{wanted.subject}"
    if not top.is_dir():
        there = sorted(path.name for path in folder.glob("sub-*") if path.is_dir()) if folder.is_dir() else []
        raise DataError(f"{top} does not exist; {folder} has {', '.join(there[:20]) or 'no sub- folder'}. Correct it.")
    images = [
        path
        for pattern in ("func/*_bold.*", "ses-*/func/*_bold.*")
        for path in visible(top, pattern)
        if path.name.endswith(_EXTENSIONS[wanted.kind]) and _is_kind(path, wanted.kind)
    ]
    chosen: dict[tuple[tuple[str, str], ...], dict[str, Path]] = {}
    for path in images:
        entities = entities_of(path)
        if _fits(entities, wanted):
            hemisphere = entities.get("hemi", "")
            run = chosen.setdefault(tuple(sorted(_identity(entities).items())), {})
            if hemisphere in run:
                raise DataError(
                    f"{run[hemisphere].name} and {path.name} are images of one run. Give more `entities`: res, den."
                )
            run[hemisphere] = path
    if not chosen:
        raise DataError(f"{top}: none of {len(images)} {wanted.kind} images fits {_shown(wanted)}. {_what(images)}")
    found = [_found(dict(key), files, events, wanted, confounds=confounds) for key, files in chosen.items()]
    return sorted(
        found, key=lambda run: [natural(run.entities.get(name, "")) for name in ("ses", "task", "acq", "run")]
    )


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within texts by their value.

    >>> sorted(["s10", "s9", "a"], key=natural)
    ['a', 's9', 's10']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", text)]


def _is_kind(path: Path, kind: Kind) -> bool:
    """Return whether an image is a preprocessed run of this kind: a volume says so by `desc-preproc`."""
    return kind != "volume" or (not path.name.endswith(".dtseries.nii") and "_desc-preproc_" in path.name)


def _identity(entities: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in entities.items() if key not in _OF_PROCESSING}


def _fits(entities: Mapping[str, str], wanted: Wanted) -> bool:
    for key, patterns in (("ses", wanted.sessions), ("task", wanted.tasks), ("run", wanted.runs)):
        if not any(fnmatch.fnmatchcase(entities.get(key, ""), pattern) for pattern in patterns):
            return False
    more = {"sub": wanted.subject, **(wanted.entities or {})}
    return entities.get("space") == wanted.space and all(entities.get(key) == value for key, value in more.items())


def _found(
    entities: dict[str, str], files: dict[str, Path], events: Path, wanted: Wanted, *, confounds: bool
) -> FoundRun:
    """Return a run with its tables."""
    needed = ("L", "R") if wanted.kind == "gifti" else ("",)
    if sorted(files) != sorted(needed):
        raise DataError(
            f"{next(iter(files.values()))}: the run has the hemispheres {', '.join(sorted(files))}, but needs L and R."
            if wanted.kind == "gifti"
            else f"{next(iter(files.values()))}: is an image of one hemisphere, but {wanted.kind} is asked for."
        )
    images = tuple(files[hemisphere] for hemisphere in needed)
    name = _name(entities)
    tables = [images[0].parent / f"{name}_desc-confounds_{suffix}.tsv" for suffix in _CONFOUNDS]
    table = next((path for path in tables if path.is_file()), None)
    if confounds and table is None:
        raise DataError(f"{tables[0]} does not exist. Copy it there, or say that there are none (`confounds: false`).")
    sidecar = images[0].with_name(images[0].name.removesuffix(entities_of(images[0])["extension"]) + ".json")
    return FoundRun(
        images,
        _events(events, entities, name),
        table if confounds else None,
        sidecar if sidecar.is_file() else None,
        entities.get("ses", ""),
        entities,
    )


def _name(entities: Mapping[str, str]) -> str:
    return "_".join(f"{key}-{value}" for key, value in sorted(entities.items(), key=lambda item: _order(item[0])))


def _order(key: str) -> tuple[int, str]:
    """Return where BIDS puts an entity in a name."""
    known = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "part")
    return (known.index(key), "") if key in known else (len(known), key)


def _events(root: Path, entities: Mapping[str, str], name: str) -> Path:
    """Return the events of a run: in the nearest folder, the table with the most entities that are all the run's."""
    subject = root / f"sub-{entities['sub']}"
    session = subject / f"ses-{entities['ses']}" if "ses" in entities else subject
    for folder in dict.fromkeys((session / "func", session, subject / "func", subject, root)):
        fitting = []
        for path in visible(folder, "*_events.tsv"):
            own = {key: value for key, value in entities_of(path).items() if key not in ("suffix", "extension")}
            if own.items() <= entities.items():
                fitting.append((len(own), path))
        if fitting:
            most = max(n for n, _ in fitting)
            nearest = [path for n, path in fitting if n == most]
            if len(nearest) > 1:
                raise DataError(f"{nearest[0]} and {nearest[1].name} both fit the run {name}. Keep one.")
            return nearest[0]
    raise DataError(
        f"{session / 'func' / name}_events.tsv does not exist, nor one above it. Is `events` the BIDS folder?"
    )


def _shown(wanted: Wanted) -> str:
    parts = {"sessions": wanted.sessions, "tasks": wanted.tasks, "runs": wanted.runs}
    text = ", ".join(f"{name} {', '.join(patterns)}" for name, patterns in parts.items())
    more = "".join(f", {key} {value}" for key, value in (wanted.entities or {}).items())
    return f"{text}, space {wanted.space or '(none)'}{more}"


def _what(images: Sequence[Path]) -> str:
    """Return which sessions, tasks and spaces there are, for an error."""
    if not images:
        return "Is it the folder of derivatives, and was this kind of image written?"
    found = [entities_of(path) for path in images]
    values = {
        key: sorted({e.get(key, "(none)") for e in found}, key=natural) for key in ("ses", "task", "run", "space")
    }
    return "There are " + "; ".join(f"{key} {', '.join(names[:20])}" for key, names in values.items()) + "."
