"""Decoders of others, read from files: the section `fit.files` of a study, and what does not go with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from hpc_recon.core.ingest_options import Name, SubjectName
from hpc_recon.core.ingest_section import paths_as_list
from hpc_recon.core.section import Section
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study


class DecoderFiles(Section):
    """Decoders of one network that were trained elsewhere, as bdpy keeps them.

    In `<folder>/<layer>/<subject>/<roi>/model/` lie `x_mean.mat`, `x_norm.mat`, `y_mean.mat`, `y_norm.mat`, and `W.mat`
    and `b.mat`, or a file a channel in `W/` and `b/`.
    """

    folders: Annotated[tuple[Path, ...], BeforeValidator(paths_as_list)] = Field(
        min_length=1,
        description="folder of the layers' folders, or a list of such (the layers may be spread over them)",
    )
    subjects: dict[SubjectName, str] = Field(
        default_factory=dict, description="what the files call a subject, where it differs: {S1: sub-01}"
    )
    rois: dict[Name, str] = Field(default_factory=dict, description="what the files call an ROI, where it differs")


def problems(study: Study) -> Iterator[str]:
    """Yield what does not go with decoders that are read from files; nothing where none are."""
    given = study.fit.files
    if not given:
        return
    yield from (
        f"fit.files: unknown network {name!r}{closest(name, study.networks)}"
        for name in given
        if name not in study.networks
    )
    missing = [name for name in study.networks if name not in given]
    if missing:
        yield f"fit.files: nothing is fitted then; give files of {', '.join(missing)} too, or a study of its own"
    fields = type(study.fit).model_fields
    wrong = [
        f"fit.{name}"
        for name, field in fields.items()
        if name != "files" and getattr(study.fit, name) != field.get_default(call_default_factory=True)
    ]
    wrong += ["decode.files"] if study.decode.files else []
    wrong += ["ingest.cross_validation"] if study.ingest is not None and study.ingest.cross_validation else []
    yield from (
        f"fit.files reads decoders as they are, so {name} would have no effect; leave that out" for name in wrong
    )
    for name, files in given.items():
        for key, named, known in (("subjects", files.subjects, study.subjects), ("rois", files.rois, study.rois)):
            yield from (
                f"fit.files.{name}.{key}: {x!r} is not in the study{closest(x, known)}" for x in named if x not in known
            )
