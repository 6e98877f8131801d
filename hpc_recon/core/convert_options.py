"""The section `convert` of a study: one person's activity turned into another's, and the splits that come of it.

A split of a converted person is called `<target>.from-<source>`: the target's decoders, the source's test samples. A
split with decoders of several persons' samples is called `<target>.with-<n>`: the target's own training samples and the
converted ones of n others. `<target>.from-<source>.n300` is of a converter that was fitted to 300 paired samples, for a
curve (`growth`). No subject's name has a full stop, so none of them can be a subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from hpc_recon.core.content_options import Content
from hpc_recon.core.ingest_options import Name
from hpc_recon.core.section import Section

#: What follows the target's name in a split of converted samples, and in one of pooled samples.
FROM, WITH = ".from-", ".with-"
#: What follows a split of converted samples, before the number of samples that its converter was fitted to.
_FEWER = ".n"
#: Options that only one method reads.
_OF_METHOD = {"template": "hyperalignment", "regularisation": "optimal_transport", "content": "content_loss"}


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Convert(Section):
    """Converters from one subject's brain to another's (Ho et al. 2022): fitted on the training stimuli both saw."""

    pairs: Literal["all"] | tuple[str, ...] = Field(
        "all", description="all (every ordered pair of subjects), or a list of <source>-<target>: [S1-S2, S3-S2]"
    )
    method: Literal["ridge", "procrustes", "hyperalignment", "optimal_transport", "content_loss"] = Field(
        "ridge",
        description="ridge (the neural code converter), procrustes (an orthogonal map), hyperalignment (orthogonal "
        "maps by way of a template of three levels), optimal_transport (each target voxel a weighted mean of source "
        "voxels), or content_loss (trained so that the target's decoders give the stimuli's features; see content)",
    )
    template: Literal["all", "pair"] = Field(
        "all",
        description="hyperalignment: the template is made from all subjects of the study, or from each pair alone",
    )
    regularisation: float = Field(
        0.1,
        ge=0,
        description="optimal_transport: weight of the entropy, for distances from 0 to 2 of voxels; 0: the exact plan",
    )
    content: Content = Field(Content(), description="content_loss: how it is trained")
    files: dict[str, Path] = Field(
        default_factory=dict,
        description="converters that were trained elsewhere, by pair: {S1-S2: folder of transformation.mat}; nothing "
        "is fitted then",
    )
    files_roi: Name = Field("VC", description="ROI whose voxels the rows and columns of such files are, in their order")
    blocks: tuple[Name, ...] = Field(
        ("VC",),
        min_length=1,
        description="ROIs, each converted into itself; a target voxel of several belongs to the first of them",
    )
    hemispheres: tuple[Name, ...] = Field(
        (),
        description="ROIs that hold a hemisphere each: each block is cut by them, no weight crosses; default: none",
    )
    n_voxels: int | Literal["all"] = Field(
        "all", description="source voxels of largest |correlation| for each target voxel, or all of the block"
    )
    alpha: Annotated[tuple[Annotated[float, Field(gt=0)], ...] | Literal["published"], BeforeValidator(_as_tuple)] = (
        Field(
            "published",
            description="ridge penalty on z-scored data: a number, a list (chosen for each block by cross-validation "
            "that holds out stimuli), or published (the median of the authors' for this number of samples)",
        )
    )
    folds: int = Field(5, ge=2, description="folds in which a list of alpha is judged")
    samples: int | None = Field(
        None,
        ge=2,
        description="paired training samples: whole repeats first, then stimuli spread evenly over the categories; "
        "default: all",
    )
    growth: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (),
        description="also fit converters to so many paired samples, for accuracy against their number: [300, 600, "
        "1200]; these are decoded and scored, but no images are made from them",
    )
    average: bool = Field(
        False,
        description="fit to the means of each stimulus's paired repeats, not to single pairs as the authors: for noisy "
        "samples; what is converted is the same",
    )
    weighting: Literal["equal", "reliability"] | None = Field(
        None,
        description="ridge over all voxels of a block: reliability penalises a source voxel the more, the less its "
        "repeats agree; equal penalises all alike, as the authors do; default: reliability with average: true, where "
        "stimuli have repeats, else equal",
    )
    variance: Literal["matched", "as_fitted"] | None = Field(
        None,
        description="ridge, which shrinks what it predicts: matched multiplies the predictions of a block by one "
        "factor, so that over its training pairs they vary as much as the target's voxels; as_fitted leaves them, as "
        "the authors do; default: matched with average: true, else as_fitted",
    )
    stimuli: Literal["same", "common"] = Field(
        "same",
        description="same: it is an error if training stimuli or their repeats differ between two subjects; common: "
        "what both have is used",
    )
    shuffle: bool = Field(
        False, description="pair each source sample with a target sample of another stimulus: a control without signal"
    )
    pool: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="also fit decoders of each target on its own samples and the converted ones of so many others, in "
        "the order of subjects: [1, 2, 4]",
    )
    areas: tuple[Name, ...] = Field(
        (), description="ROIs between which weights are summed, and in which accuracy is told; the study's rois are too"
    )
    permutations: int = Field(
        10_000, ge=100, description="permutations for the threshold of the noise ceiling of conversion accuracy"
    )

    @model_validator(mode="after")
    def _combinations(self) -> Convert:
        if isinstance(self.n_voxels, int) and self.n_voxels < 1:
            raise ValueError(f"n_voxels is a number from 1, or all; got {self.n_voxels}")
        given = self._given()
        wrong = [name for name in ("n_voxels", "alpha") if name in given]
        if self.method != "ridge" and wrong:
            raise ValueError(f"method: {self.method} has no {' and no '.join(wrong)}; leave that out")
        if self.weighting == "reliability" and (self.method != "ridge" or self.n_voxels != "all"):
            raise ValueError(
                "weighting: reliability goes with method: ridge and n_voxels: all; leave it out, or set these"
            )
        if self.variance == "matched" and self.method != "ridge":
            raise ValueError(
                f"variance: matched goes with method: ridge, which shrinks, not with {self.method}; leave it out"
            )
        for name, method in _OF_METHOD.items():
            if name in given and self.method != method:
                raise ValueError(f"{name} is read with method: {method} alone, not with {self.method}; leave it out")
        if self.method == "content_loss" and self.pool:
            raise ValueError(
                "pool does not go with method: content_loss, which needs the target's decoders first, while those of "
                "pooled samples need the converter first; leave pool out"
            )
        fitting = (
            "method",
            "n_voxels",
            "alpha",
            "folds",
            "samples",
            "growth",
            "average",
            "weighting",
            "variance",
            "stimuli",
            "shuffle",
        )
        unread = [name for name in fitting if name in given]
        if self.files and unread:
            raise ValueError(f"files holds converters as they are, so {', '.join(unread)} has no effect; leave it out")
        if not self.files and "files_roi" in given:
            raise ValueError("files_roi is read with files alone; leave it out")
        if self.growth and self.method == "hyperalignment" and self.template == "all":
            raise ValueError(
                "growth does not go with template: all, whose space is made once from all samples; set template: pair, "
                "or leave growth out"
            )
        if self.samples is not None and max(self.growth, default=0) >= self.samples:
            raise ValueError(
                f"growth holds numbers below samples ({self.samples}), which is fitted anyway; got {max(self.growth)}"
            )
        for key in ("pairs", "blocks", "hemispheres", "growth", "pool", "areas"):
            values = getattr(self, key)
            if values != "all" and len(set(values)) != len(values):
                raise ValueError(f"{key} repeats: {', '.join(map(str, values))}")
        return self

    def _given(self) -> set[str]:
        """Return the names of the options that differ from their defaults."""
        fields = type(self).model_fields
        return {
            name
            for name, field in fields.items()
            if getattr(self, name) != field.get_default(call_default_factory=True)
        }

    @property
    def weighs(self) -> bool:
        """Whether source voxels are penalised by their reliability, where stimuli have repeats."""
        if self.method != "ridge" or self.n_voxels != "all":
            return False
        return self.average if self.weighting is None else self.weighting == "reliability"

    @property
    def matches_variance(self) -> bool:
        """Whether converted samples are made to vary as much as the target's."""
        if self.method != "ridge":
            return False
        return self.average if self.variance is None else self.variance == "matched"

    @property
    def after_fit(self) -> bool:
        """Whether converters need decoders before they are trained."""
        return self.method == "content_loss"

    def file_of(self, split: str) -> Path:
        """Return the folder that holds the converter of a split of converted samples."""
        return self.files[f"{seen_by(split)}-{owner(split)}"]

    def ordered(self, subjects: Sequence[str]) -> list[tuple[str, str]]:
        """Return (source, target) of every pair; names that are no pair are left out (`problems` tells them)."""
        every = [(source, target) for target in subjects for source in subjects if source != target]
        if self.pairs == "all":
            return every
        # To oneself is allowed where it is asked for: a check of the method.
        known = {f"{source}-{target}": (source, target) for source in subjects for target in subjects}
        return [known[pair] for pair in self.pairs if pair in known]

    def converted(self, subjects: Sequence[str]) -> list[str]:
        """Return the splits of converted samples: `S2.from-S1`, ..."""
        return [f"{target}{FROM}{source}" for source, target in self.ordered(subjects)]

    def grown(self, subjects: Sequence[str]) -> list[str]:
        """Return the splits of converters that are fitted to fewer samples: `S2.from-S1.n300`, ..."""
        return [f"{split}{_FEWER}{n}" for split in self.converted(subjects) for n in sorted(self.growth)]

    def fitted(self, subjects: Sequence[str]) -> list[str]:
        """Return the splits of all converters: those of `converted`, then those of `grown`."""
        return [*self.converted(subjects), *self.grown(subjects)]

    def samples_of(self, split: str) -> int | None:
        """Return how many paired samples the converter of a split is fitted to; None: all.

        >>> Convert(growth=(300,)).samples_of("S2.from-S1.n300"), Convert(samples=600).samples_of("S2.from-S1")
        (300, 600)
        """
        return int(split.rpartition(_FEWER)[2]) if is_grown(split) else self.samples

    def pooled(self, subjects: Sequence[str]) -> list[str]:
        """Return the splits of pooled training samples: `S2.with-1`, ..., of targets with so many sources."""
        return [
            f"{target}{WITH}{n}"
            for target in subjects
            for n in self.pool
            if n <= len(self.sources(f"{target}{WITH}", subjects))
        ]

    def sources(self, split: str, subjects: Sequence[str]) -> list[str]:
        """Return the subjects whose converted samples are pooled in a split, in the order of the study."""
        target, _, n = split.partition(WITH)
        own = {source for source, to in self.ordered(subjects) if to == target and source != target}
        found = [subject for subject in subjects if subject in own]
        return found[: int(n)] if n else found

    def problems(self, subjects: Sequence[str]) -> list[str]:
        """Return what does not go with the study's subjects, a line each."""
        found = []
        known = {f"{source}-{target}" for source in subjects for target in subjects}
        if self.pairs == "all" and len(subjects) < 2:
            found.append("convert.pairs: all pairs of one subject are none; give two subjects or more, or name a pair")
        found += [
            f"convert.pairs: {pair!r} is not <source>-<target> of the subjects {', '.join(subjects)}"
            for pair in (() if self.pairs == "all" else self.pairs)
            if pair not in known
        ]
        named = [f"{source}-{target}" for source in subjects for target in subjects]
        found += [
            f"convert.pairs: {pair!r} can be read in two ways, because names of subjects have a hyphen; rename one"
            for pair in (() if self.pairs == "all" else self.pairs)
            if named.count(pair) > 1
        ]
        if self.files:
            wanted = {f"{source}-{target}" for source, target in self.ordered(subjects)}
            found += [
                f"convert.files: {pair!r} is no pair that is converted ({', '.join(sorted(wanted))}); add it to pairs"
                for pair in self.files
                if pair not in wanted
            ]
            absent = sorted(wanted - set(self.files))
            if absent:
                found.append(
                    f"convert.files: nothing is fitted then; give files of {', '.join(absent)} too, or name in pairs "
                    "those that have files"
                )
        most = max((len(self.sources(f"{target}{WITH}", subjects)) for target in subjects), default=0)
        found += [
            f"convert.pool: {n} sources are asked for, but no subject has more than {most}; add pairs, or leave it out"
            for n in self.pool
            if n > most
        ]
        return found


def is_converted(split: str) -> bool:
    """Return whether a split holds converted samples.

    >>> is_converted("S2.from-S1"), is_converted("S2.r1f03")
    (True, False)
    """
    return FROM in split


def is_grown(split: str) -> bool:
    """Return whether a split holds samples of a converter that was fitted to fewer samples than there are.

    >>> is_grown("S2.from-S1.n300"), is_grown("S2.from-S1")
    (True, False)
    """
    return is_converted(split) and _FEWER in split.partition(FROM)[2]


def owner(split: str) -> str:
    """Return the split whose decoders and training samples a split uses: the target of a converted one, else itself.

    >>> owner("S2.from-S1"), owner("S2.with-3"), owner("S1")
    ('S2', 'S2.with-3', 'S1')
    """
    return split.partition(FROM)[0]


def seen_by(split: str) -> str:
    """Return the subject whose brain was measured while the test stimuli of a split were shown.

    >>> seen_by("S2.from-S1"), seen_by("S2.from-S1.n300"), seen_by("S2.with-3"), seen_by("S1.r1f03")
    ('S1', 'S1', 'S2', 'S1')
    """
    return (split.partition(FROM)[2] or split).partition(".")[0]


def in_words(split: str) -> str:
    """Return how a report calls what is not a subject's own split, without the subject's name.

    >>> in_words("from-S1"), in_words("with-3"), in_words("cross_validation")
    ('converted from S1', 'with 3 others', 'cross-validation')
    >>> in_words("from-S1.n300")
    'converted from S1, by 300 samples'
    """
    if split.startswith(FROM[1:]):
        source, _, n = split.removeprefix(FROM[1:]).partition(_FEWER)
        return f"converted from {source}{f', by {n} samples' if n else ''}"
    if split.startswith(WITH[1:]):
        n = split.removeprefix(WITH[1:])
        return f"with {n} {'other' if n == '1' else 'others'}"
    return "cross-validation"
