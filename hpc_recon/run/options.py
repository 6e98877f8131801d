"""The common options of every verb as one frozen value."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_recon.core.cluster_file import job_range
from hpc_recon.core.errors import StudyError


@dataclass(frozen=True)
class Jobs:
    """Between `least` and `most` jobs (workers): as many as there are tiles left, within these bounds."""

    least: int
    most: int

    def wanted(self, tiles_left: int) -> int:
        """Return how many jobs to keep while this many tiles are left.

        >>> Jobs(1, 8).wanted(5), Jobs(2, 2).wanted(100), Jobs(2, 4).wanted(1)
        (5, 2, 2)
        """
        return max(self.least, min(self.most, tiles_left))

    @classmethod
    def parse(cls, text: str) -> Jobs:
        """Read `N` or `N:M`.

        >>> Jobs.parse("2"), Jobs.parse("1:8")
        (Jobs(least=2, most=2), Jobs(least=1, most=8))

        Raises
        ------
        StudyError
            If it is neither, or N is 0 or above M.
        """
        found = job_range(text.strip())
        if found is None:
            raise StudyError("--jobs", [f"is N or N:M with 1 <= N <= M, for example 4 or 1:16; got {text!r}"])
        return cls(*found)


@dataclass(frozen=True)
class Options:
    """What the command line said; the study and the cluster file are read later."""

    study: Path
    cluster: str = "local"
    cluster_file: Path | None = None
    jobs: Jobs | None = None
    max_jobs: int | None = None
    assignments: tuple[str, ...] = ()
    xp: str = "auto"
    only: str | None = None
    limit: int | None = None
    retry_failed: bool = False
    redo: bool = False
    verify: bool = False
    strict_device: bool = False
    memory: int | None = None
    dry_run: bool = False


def _absolute(text: str, option: str) -> Path:
    """Return a path of the command line, which starts at the current folder.

    Raises
    ------
    StudyError
        If it names the home folder of an unknown user.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        problem = f"{text!r} begins with a home folder that this machine does not know; write the path out"
        raise StudyError(option, [problem]) from error


def default_study() -> Path:
    """Return `$HPC_RECON_STUDY`, else `study.yaml`."""
    return Path(os.environ.get("HPC_RECON_STUDY", "study.yaml"))


def units_assignment(text: str) -> str:
    """Turn `--units N/layer`, `--units every:N` or `--units file:PATH` into an override of the study.

    >>> units_assignment("1000/layer"), units_assignment("every:16"), units_assignment("file:/data/units.npz")
    ('units=1000', 'units={every: 16}', 'units={file: "/data/units.npz"}')

    Raises
    ------
    StudyError
        If it is none of them.
    """
    text = text.strip()
    if match := re.fullmatch(r"([1-9]\d*)/layer", text):
        return f"units={match.group(1)}"
    if match := re.fullmatch(r"every:(\d+)", text):
        return f"units={{every: {match.group(1)}}}"
    if match := re.fullmatch(r"file:(\S.*)", text):
        path = _absolute(match.group(1), "--units")
        return f"units={{file: {json.dumps(str(path), ensure_ascii=False)}}}"
    forms = "1000/layer (a random sample), every:16 (every 16th) or file:PATH (your own)"
    raise StudyError("--units", [f"is one of {forms}; got {text!r}"])


def publishable_assignment(path: str) -> str:
    """Turn `--publishable LIST` into an override of the study.

    >>> publishable_assignment("/data/list.txt")
    'report.publishable="/data/list.txt"'
    """
    return f"report.publishable={json.dumps(str(_absolute(path, '--publishable')), ensure_ascii=False)}"


def ratings_assignment(paths: Sequence[str]) -> str:
    """Turn `--ratings PATH` into an override of the study.

    >>> ratings_assignment(["/data/ratings"])
    'evaluate.ratings=["/data/ratings"]'
    """
    absolute = [str(_absolute(path, "--ratings")) for path in paths]
    return f"evaluate.ratings={json.dumps(absolute, ensure_ascii=False)}"


def reference_assignments(text: str, study: Path) -> tuple[str, ...]:
    """Turn `--reference PATH` into an override of each network of a study that has weights.

    Raises
    ------
    StudyError
        If there is no such folder or file, or the study cannot be read.
    """
    from hpc_recon.core.loading import read_yaml
    from hpc_recon.core.network_options import PIXEL_ARCHITECTURES, SHAPE_ARCHITECTURES

    path = _absolute(text, "--reference")
    if not path.exists():
        raise StudyError("--reference", [f"is a folder of images or a .mat file, but {path} does not exist"])
    kind = "folder" if path.is_dir() else "file"
    networks = read_yaml(study).get("networks")
    names = [
        name
        for name, network in (networks.items() if isinstance(networks, dict) else ())
        if isinstance(network, dict) and network.get("architecture") not in PIXEL_ARCHITECTURES + SHAPE_ARCHITECTURES
    ]
    if not names:
        raise StudyError("--reference", [f"{study} has no network with weights, whose features it would be of"])
    dotted = [name for name in names if "." in name]
    if dotted:
        raise StudyError(
            "--reference", [f"cannot name networks with a full stop; write networks.{dotted[0]}.reference"]
        )
    where = json.dumps(str(path), ensure_ascii=False)
    return tuple(f"networks.{name}.reference={{{kind}: {where}}}" for name in names)
