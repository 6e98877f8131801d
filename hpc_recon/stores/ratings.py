"""Files of ratings, read strictly: they were made in a browser, and came by mail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import is_safe_name

#: Longest file that is read, bytes: a hundred thousand judgements take 2 MiB.
LARGEST = 32 * 2**20
FORMAT = 1
KIND = "hpc_recon ratings"
#: Longest name of a rater, as in the page.
LONGEST_NAME = 40
_KEYS = frozenset({"format", "kind", "set", "design", "rater", "started", "saved", "complete", "answers"})
_ANEW = "save it again from the page, and give the file as it is"


@dataclass(frozen=True)
class Ratings:
    """One rater's answers to all trials of one set.

    Attributes
    ----------
    design
        Digest of the design that was judged.
    choices : (n_trials,) int64
        The candidate that was chosen in each trial of the design: 0 or 1.
    left : (n_trials,) int64
        The candidate that was on the left.
    seconds : (n_trials,) float64
        Time of each judgement.
    """

    path: Path
    set_name: str
    design: str
    rater: str
    choices: Array
    left: Array
    seconds: Array


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files of ratings that paths name: files, and folders, of which all `*.json` are meant.

    Raises
    ------
    DataError
        If a path is absent, or a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside or not all(file.is_file() for file in inside):
            what = "holds no .json file" if path.is_dir() else "is no file"
            raise DataError(f"ratings are files that raters saved, or a folder of them, but {path} {what}; correct it")
        found += inside
    return found


def read(path: Path) -> Ratings:
    """Read one file of ratings.

    Raises
    ------
    DataError
        If it is not a complete file of ratings; names the file and what is wrong in it.
    """
    size = path.stat().st_size
    if size > LARGEST:
        _refuse(path, f"has at most {LARGEST:,} bytes, but this one has {size:,}")
    try:
        content = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        _refuse(path, f"is JSON, but this one is cut off or garbled ({_short(str(error))})")
    if not isinstance(content, dict) or set(content) != _KEYS:
        keys = sorted(map(str, content)) if isinstance(content, dict) else [type(content).__name__]
        _refuse(path, f"has the keys {', '.join(sorted(_KEYS))}, but this one has {_short(', '.join(keys))}")
    if (content["format"], content["kind"]) != (FORMAT, KIND):
        _refuse(
            path, f"says format {FORMAT} and kind {KIND!r}, not {_short(repr((content['format'], content['kind'])))}"
        )
    name, design, rater = content["set"], content["design"], content["rater"]
    if not isinstance(name, str) or not is_safe_name(name):
        _refuse(path, f"names its set of trials as a file is named, not {_short(repr(name))}")
    if not isinstance(design, str) or len(design) != 64 or not set(design) <= set("0123456789abcdef"):
        _refuse(path, f"gives its design as 64 hexadecimal digits, not {_short(repr(design))}")
    if not isinstance(rater, str) or not 0 < len(rater) <= LONGEST_NAME or not rater.isprintable():
        _refuse(path, f"names its rater in 1 to {LONGEST_NAME} printable characters, not {_short(repr(rater))}")
    answers = _answers(path, content)
    return Ratings(path, name, design, rater, answers[:, 1], answers[:, 2], answers[:, 3] / 1000)


def _answers(path: Path, content: Mapping[str, Any]) -> Array:
    """Return (n_trials, 4) int64 in the order of the design's trials: trial, choice, left, milliseconds."""
    answers = content["answers"]
    if not isinstance(answers, list) or not answers:
        _refuse(path, f"lists its answers, not {_short(repr(answers))}")
    for i, answer in enumerate(answers):
        # `type` and not `isinstance`: true is no number here.
        fits = isinstance(answer, list) and len(answer) == 4 and all(type(value) is int for value in answer)
        if not fits or answer[1] not in (0, 1) or answer[2] not in (0, 1) or not 0 <= answer[3] < 2**53:
            _refuse(
                path,
                f"gives an answer as trial, choice (0 or 1), left (0 or 1) and milliseconds, but answer {i + 1} of "
                f"{len(answers)} is {_short(repr(answer))}",
            )
        if not 0 <= answer[0] < 2**31:
            _refuse(path, f"counts its trials from 0, but answer {i + 1} is of trial {_short(repr(answer[0]))}")
    if content["complete"] is not True:
        raise DataError(
            f"{path}: a sitting counts when all its trials are judged, and this one has {len(answers)} judgements so "
            f"far; open the page in the same browser under the same name, finish it, and save again"
        )
    made: Array = np.array(sorted(answers), np.int64)
    if not np.array_equal(made[:, 0], np.arange(len(made))):
        _refuse(path, f"has one answer a trial, from 0 without a gap, but its {len(made)} answers do not")
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _short(text: str) -> str:
    """Return a foreign text fit for a message."""
    return ascii(text[:80] + ("..." if len(text) > 80 else ""))[1:-1]


def _refuse(path: Path, rule: str) -> NoReturn:
    raise DataError(f"{path}: a file of ratings {rule}; {_ANEW}")
