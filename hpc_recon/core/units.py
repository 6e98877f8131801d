"""Which units of a layer are decoded: a random sample, every n-th, or those that a file names.

`Study.units` holds one of these. A file counts by its content: two files with the same unit numbers are the same
choice, wherever they lie and whatever their format.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hpc_recon.core.errors import StudyError
from hpc_recon.core.section import Section
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.array import Array

#: Endings of files that name the units of each layer, and of those that hold one list for every layer.
BY_LAYER, FOR_ALL = (".npz", ".json", ".mat"), (".npy", ".txt")
#: Reader of a lab's file of units, bound when such a file is read: `core` knows no file formats.
MATLAB_INDEX = "hpc_recon.formats.feature_trees:read_index"
#: Stands for every layer in the content of a file that holds one list.
EVERY_LAYER = ""


class EveryNth(Section):
    """Units 0, n, 2n, ... of each layer, counted in C order of (channel, y, x)."""

    every: int = Field(
        ge=2, description="n; where n divides the width of a layer's maps, the same columns of every map are decoded"
    )

    def __str__(self) -> str:
        return f"every{self.every}"


class UnitFile(Section):
    """The units that a file names, numbered from 0 in C order of (channel, y, x), ascending."""

    file: Path = Field(
        description=".npz or .json with one list a layer, by layer name; .npy or .txt with one list for every layer; "
        ".mat with a structure `index` of layers, as labs keep them (put in ascending order)"
    )

    def __str__(self) -> str:
        """Return the sha256 of the content: what settings hold, so that a file may be moved."""
        return f"file:{content_sha256(self)}"


Units = int | EveryNth | UnitFile


def parse(value: Any) -> Any:
    """Turn what stands under `units:` into one of the three forms; None stays None.

    >>> parse(1000), parse({"every": 16}), parse({"file": "units.npz"}).file.name
    (1000, EveryNth(every=16), 'units.npz')

    Raises
    ------
    ValueError
        If it is none of them; for pydantic, which makes a `StudyError` of it.
    """
    if value is None or isinstance(value, (EveryNth, UnitFile)):
        return value
    forms = "give a number of units per layer, {every: N} or {file: PATH}"
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise ValueError(f"{forms}, with one key; got the keys {', '.join(map(str, value)) or '(none)'}")
        ((key, given),) = value.items()
        if key == "every":
            if not _is_whole(given) or given < 2:
                raise ValueError(f"every must be a whole number of at least 2 (leave out units for all); got {given!r}")
            return EveryNth(every=given)
        if key == "file":
            if not isinstance(given, (str, Path)) or not str(given).strip():
                raise ValueError(f"file must be a path; got {given!r}")
            return UnitFile(file=Path(given))
        raise ValueError(f"unknown key {str(key)!r}{closest(str(key), ('every', 'file'))}; {forms}")
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{forms}, at least 1 unit")
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def label(units: Units) -> str:
    """Return a name that differs between choices: `1000`, `every16`, `file-<8 hexadecimal digits of the content>`.

    >>> label(1000), label(EveryNth(every=16))
    ('1000', 'every16')

    Raises
    ------
    StudyError
        If a file cannot be read.
    """
    return f"file-{content_sha256(units)[:8]}" if isinstance(units, UnitFile) else str(units)


def in_words(units: Units) -> str:
    """Return the choice for people.

    >>> in_words(1000), in_words(EveryNth(every=2)), in_words(EveryNth(every=16))
    ('a random sample of 1,000 units of each layer', 'every 2nd unit of each layer', 'every 16th unit of each layer')
    """
    if isinstance(units, UnitFile):
        return f"the units of each layer that {units.file.name} names"
    if isinstance(units, EveryNth):
        last = units.every % 10 if units.every % 100 // 10 != 1 else 0
        return f"every {units.every}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') } unit of each layer"
    return f"a random sample of {units:,} units of each layer"


def content_sha256(units: UnitFile) -> str:
    """Return the sha256 of the unit numbers in a file, by layer; the same for every format.

    Raises
    ------
    StudyError
        As `from_file`.
    """
    return _sha256(*_identity(units))


def from_file(units: UnitFile, layer: str, n_units: int) -> Array:
    """Return the units of a layer that a file names, int64 ascending.

    Parameters
    ----------
    n_units
        Number of units of the layer.

    Raises
    ------
    StudyError
        If the file cannot be read, is not of ascending distinct whole numbers, does not name the layer, or names
        a unit that the layer does not have.
    """
    content = _content(units)
    numbers = content.get(EVERY_LAYER, content.get(layer))
    if numbers is None:
        raise StudyError("units", [f"{units.file} names no units of the layer {layer!r}{closest(layer, content)}"])
    if numbers[-1] >= n_units:
        raise StudyError(
            "units",
            [
                f"{units.file} names the unit {numbers[-1]:,} of the layer {layer!r}, which has {n_units:,} units, "
                f"numbered from 0; {int((numbers >= n_units).sum()):,} of its {len(numbers):,} numbers are too large"
            ],
        )
    return numbers


def _content(units: UnitFile) -> dict[str, Array]:
    """Return the checked content of a file by layer; remembered while its size and time of change stay the same."""
    return _read(*_identity(units))


def _identity(units: UnitFile) -> tuple[Path, int, int]:
    """Return path, size and time of change."""
    path = units.file.expanduser()
    if not path.is_absolute():
        raise StudyError("units", [f"the path {units.file} must be absolute by now; read the study with load_study"])
    try:
        status = path.stat()
    except OSError as error:
        raise StudyError("units", [f"the file {path} cannot be read ({error.strerror}); correct the path"]) from error
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _sha256(path: Path, size: int, changed: int) -> str:
    """Remembered as the content is: a plan asks for it with every group."""
    found = hashlib.sha256()
    for layer, numbers in sorted(_read(path, size, changed).items()):
        found.update(f"{layer}\x1f{len(numbers)}\x1f".encode())
        found.update(numbers.astype("<i8").tobytes())
    return found.hexdigest()


@lru_cache(maxsize=4)
def _read(path: Path, _size: int, _changed: int) -> dict[str, Array]:
    import numpy as np  # here: every verb imports this module, and `--help` is quick

    kind = path.suffix.lower()
    if kind not in (*BY_LAYER, *FOR_ALL):
        known = ", ".join((*BY_LAYER, *FOR_ALL))
        raise StudyError("units", [f"the ending of {path} must be one of {known}; got {kind or 'none'!r}"])
    try:
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                raw: dict[str, Any] = {name: archive[name] for name in archive.files}
        elif kind == ".json":
            raw = json.loads(path.read_text(encoding="utf-8"))
        elif kind == ".mat":
            module, _, function = MATLAB_INDEX.partition(":")
            index = getattr(importlib.import_module(module), function)(path)
            raw = {layer: np.sort(numbers) for layer, numbers in index.items()}
        elif kind == ".npy":
            raw = {EVERY_LAYER: np.load(path, allow_pickle=False)}
        else:
            raw = {EVERY_LAYER: [int(word) for word in path.read_text(encoding="utf-8").split()]}
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise StudyError("units", [f"{path} is not a {kind} file of unit numbers ({reason})"]) from error
    if not isinstance(raw, dict) or not raw:
        raise StudyError("units", [f"{path} must hold one list of unit numbers a layer, by layer name"])
    problems: list[str] = []
    content = {str(layer): _checked(values, str(layer), problems) for layer, values in raw.items()}
    if problems:
        raise StudyError(f"units ({path})", problems)
    return content


def _checked(values: Any, layer: str, problems: list[str]) -> Array:
    """Return unit numbers as int64; what is wrong with them is added to `problems`."""
    import numpy as np

    where = f"layer {layer!r}: " if layer else ""
    try:
        numbers = np.asarray(values)
    except ValueError:  # lists of different lengths
        numbers = np.empty((0, 0))
    if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
        problems.append(
            f"{where}must be a list of whole numbers, but has shape {numbers.shape} and type {numbers.dtype}; "
            "save it as integers, one dimension"
        )
        return np.zeros(1, np.int64)
    numbers = numbers.astype(np.int64)
    wrong = np.flatnonzero(np.diff(numbers) <= 0)
    if numbers[0] < 0 or len(wrong):
        at = int(wrong[0]) + 1 if len(wrong) else 0
        problems.append(
            f"{where}unit numbers must be at least 0 and ascending without repeats, but number {at} is "
            f"{int(numbers[at])}{f' after {int(numbers[at - 1])}' if at else ''}; save numpy.unique of them"
        )
    numbers.flags.writeable = False  # one array is handed to every caller
    return numbers
