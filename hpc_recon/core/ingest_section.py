"""What every part of `ingest:` shares: the kind of section, names, one array in a file, and one value for a list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hpc_recon.core.section import Section
from hpc_recon.core.text import checked_name

Name = Annotated[str, AfterValidator(checked_name)]


def as_list(value: Any) -> Any:
    """Return a single value as a list of one, anything else as it is.

    >>> as_list("a.nii.gz"), as_list(["a", "b"])
    (['a.nii.gz'], ['a', 'b'])
    """
    return [value] if isinstance(value, (str, int, float, Path)) else value


def paths_as_list(value: Any) -> Any:
    """Return a single path as a list of one, anything else, numbers too, as it is.

    >>> paths_as_list("lab/features"), paths_as_list(5)
    (['lab/features'], 5)
    """
    return [value] if isinstance(value, (str, Path)) else value


def as_texts(value: Any) -> Any:
    """Return one value or a list as a list of texts: what a table holds is text, and YAML reads 1 as a number.

    >>> as_texts(1), as_texts(["stimulus", 2])
    (['1'], ['stimulus', '2'])
    """
    listed = as_list(value)
    if not isinstance(listed, (list, tuple)):
        return listed
    return [str(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else item for item in listed]


class IngestSection(Section):
    """A part of `ingest`: frozen, and unknown keys are errors."""


class ArrayKey(IngestSection):
    """One array in a lab's file: `.mat` (v5 or v7.3), `.h5`, `.npz` or `.npy`."""

    file: Path = Field(description="path, relative to the study file")
    key: str | None = Field(None, description="variable, dataset path or npz entry; not used for .npy")
