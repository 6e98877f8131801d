"""The galleries of the report: which images are shown, read from the workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.convert_options import is_converted, seen_by
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.files import read_json
from hpc_recon.core.score_names import BASELINES
from hpc_recon.reporting import pictures, publishable, score_tables, tables, words
from hpc_recon.reporting.pictures import Gallery, Picture, Strip
from hpc_recon.reporting.publishable import Publishable
from hpc_recon.stores import images, layout

#: Longest sides that are tried, pixels, until all pictures fit into the size of the page.
SIDES = (pictures.LARGEST, 192, 128, 96, 64, 48)
#: Subject, split, ROI, dataset, variant, image.
_Key = tuple[str, ...]


@dataclass(frozen=True)
class Galleries:
    """What is shown, the longest side of a picture, and whether animations were left out for size."""

    galleries: tuple[Gallery, ...]
    largest: int
    without_animations: bool

    @property
    def n_bytes(self) -> int:
        """Bytes of the page that they take."""
        return sum(one.n_bytes for one in self.galleries)


#: So many converted pairs are shown unfolded; more would hide what follows.
OPEN_PAIRS = 2


@dataclass(frozen=True)
class _Show:
    """How pictures are embedded."""

    largest: int
    animated: bool
    publishable: Publishable
    scores: Mapping[_Key, Mapping[str, float]]


def rois_of(study: Study) -> list[str]:
    """Return the ROIs whose images are shown: the first, the first of any entry without it, those that it adds."""
    first = words.primary_roi(study)
    others = [rois[0] for rois in words.image_rois(study).values() if rois and first not in rois]
    return list(dict.fromkeys([first, *others, *study.report.rois]))


def collect(study: Study, scored: pd.DataFrame | None = None) -> Galleries:
    """Return a gallery of each test dataset, and one of the first repeat of the cross-validation.

    Pictures are reduced, after animations are left out, until they fit into `report.megabytes`.

    Parameters
    ----------
    scored
        The content of `scores/images.csv`; None: it is read.

    Raises
    ------
    StudyError
        If they do not even fit as thumbnails.
    """
    workspace = layout.workspace_of(study)
    limit = round(study.report.megabytes * 1e6)
    allowed = publishable.read(study, publishable.known(workspace))
    if scored is None:
        scored = tables.read_scores(workspace / "scores" / "images.csv", columns=tables.IMAGE_COLUMNS)
    scores = by_image(scored)
    animated = sum(path.stat().st_size for path in (workspace / "images").rglob("snapshots/*.webp"))
    moves = 0 < 4 * animated // 3 <= limit // 2
    total = 0
    for largest in SIDES:
        made = _all(study, _Show(largest, moves, allowed, scores))
        total = sum(gallery.n_bytes for gallery in made)
        if total <= limit:
            return Galleries(tuple(made), largest, animated > 0 and not moves)
    raise StudyError(
        "report.megabytes",
        [
            f"embedded pictures take {study.report.megabytes:g} MB at most, but they take {total / 1e6:.1f} MB even at "
            f"{SIDES[-1]} pixels; show fewer (report.gallery, now {study.report.gallery}), or allow more"
        ],
    )


def note(study: Study, shown: Galleries) -> str:
    """Say how large the pictures are, and what is withheld or left out."""
    parts = [
        f"Embedded pictures take {shown.n_bytes / 1e6:.1f} MB of this page (at most {study.report.megabytes:g}), their "
        f"longest side is {shown.largest} pixels or less."
    ]
    if shown.without_animations:
        parts.append("Animations were left out: they would take more than half of that.")
    if study.withholds:
        parts.append("Images whose stimulus may not be published are withheld, with all that was made from it.")
    return " ".join(parts)


def by_image(frame: pd.DataFrame) -> dict[_Key, dict[str, float]]:
    """Return the scores of each reconstruction by subject, split, ROI, dataset, variant and image."""
    frame = frame[~frame["variant"].isin(BASELINES) & (frame["image"] != "") & frame["value"].notna()]
    found: dict[_Key, dict[str, float]] = {}
    for row in frame.to_dict("records"):
        if not row["metric"].endswith("_undefined"):
            key = tuple(row[name] for name in ("subject", "split", "roi", "dataset", "variant", "image"))
            found.setdefault(key, {})[row["metric"]] = float(row["value"])
    return found


def _all(study: Study, show: _Show) -> list[Gallery]:
    made = []
    rois = rois_of(study)
    for dataset in study.test_datasets():
        whole = [s for s in study.subjects if dataset in study.test_datasets(s)]
        found = [_Wall(study, [subject], roi, dataset, show) for subject in whole for roi in rois]
        walls, title = [wall for wall in found if wall.variants], words.dataset_title(study, dataset)
        made.append(_gallery(study, title, walls))
        made.append(_gallery(study, f"{title}: no stimulus", walls, is_open=False, with_stimuli=False))
        pairs = [s for s in study.decoded_splits() if is_converted(s) and dataset in study.test_datasets(s)]
        found = [_Wall(study, [split], roi, dataset, show) for split in pairs for roi in rois]
        converted = [wall for wall in found if wall.variants]
        made.append(_gallery(study, f"{title}: converted", converted, is_open=len(converted) <= OPEN_PAIRS))
    folds = [s for s in study.splits() if s != base_subject(s) and s.partition(".")[2].startswith("r1f")]
    if folds:
        dataset = study.test_datasets(folds[0])[0]
        walls = [
            _Wall(study, [s for s in folds if base_subject(s) == subject], roi, dataset, show)
            for subject in study.subjects
            for roi in rois
        ]
        made.append(_gallery(study, "Cross-validation, first repeat", [w for w in walls if w.variants], is_open=False))
    return [gallery for gallery in made if gallery is not None]


def _gallery(
    study: Study, title: str, walls: Sequence[_Wall], *, is_open: bool = True, with_stimuli: bool = True
) -> Gallery | None:
    """Return one gallery with the rows of all subjects below the stimuli they share; None without images.

    Items that show no stimulus (null conditions, categories) have a gallery of their own, `with_stimuli=False`.
    """
    shared = [name for name in walls[0].names if all(name in wall.names for wall in walls)] if walls else []
    names = [name for name in shared if walls[0].shows_stimulus(name) == with_stimuli]
    if not names:
        return None
    # Evenly spaced, so that a part of a sorted dataset shows all of it.
    shown = [names[i * len(names) // study.report.gallery] for i in range(study.report.gallery)]
    if len(names) <= study.report.gallery:
        shown = names
    rows = [walls[0].stimuli(shown)] if with_stimuli else []
    who = {wall: _who(study, wall, walls) for wall in walls}
    rows += [
        wall.reconstructions(variant, shown, who[wall])
        for wall in walls
        for variant in wall.variants
        if with_stimuli or not study.reconstruct[variant].needs_stimuli
    ]
    rows += [wall.nearest(variant, shown, who[wall]) for wall in walls for variant in wall.by_network()]
    noun = "image" if len(names) == 1 else "images"
    note = f"{len(shown)} of {len(names)} images, evenly spaced" if len(shown) < len(names) else f"{len(names)} {noun}"
    if not with_stimuli:
        note += f" ({', '.join(shown)}); there is no image to compare with, so no score"
    return pictures.gallery(title, shown, rows, note=note, is_open=is_open)


def _who(study: Study, wall: _Wall, walls: Sequence[_Wall]) -> str:
    """Return subject and ROI with a space behind, as far as there are several."""
    several = len({other.roi for other in walls}) > 1
    parts = [*([wall.subject] if len(study.subjects) > 1 else []), *([wall.roi] if several else [])]
    return f"{', '.join(parts)} " if parts else ""


class _Wall:
    """The images of one subject and dataset, from one split or from the folds that hold them out."""

    def __init__(self, study: Study, splits: Sequence[str], roi: str, dataset: str, show: _Show) -> None:
        self._study, self._show, self.roi, self._dataset = study, show, roi, dataset
        self._workspace = layout.workspace_of(study)
        self._table = images.read_table(self._workspace)
        self._row = {label: row for row, label in enumerate(self._table.labels)}
        self.subject = base_subject(splits[0]) if splits else ""
        if splits and is_converted(splits[0]):
            self.subject = f"{seen_by(splits[0])} to {self.subject}"
        wanted = [(split, roi, dataset) for split in splits]
        self.variants = [v for v in study.reconstruct if wanted and set(wanted) <= set(study.image_sets(v))]
        #: Item -> the split whose decoders did not see it; nearest training image of each variant.
        self._split: dict[str, str] = {}
        self._nearest: dict[str, dict[str, str]] = {variant: {} for variant in self.variants}
        for variant in self.variants:
            for split in splits:
                self._read(variant, split)
        n_stimuli = len(self._row)  # items without a stimulus come last
        self.names = sorted(self._split, key=lambda name: (self._row.get(_label(name, self._row), n_stimuli), name))

    def shows_stimulus(self, name: str) -> bool:
        """Return whether an item shows a stimulus: a null condition and a category do not."""
        return _label(name, self._row) in self._row

    def _read(self, variant: str, split: str) -> None:
        path = self._workspace.joinpath(
            "scores", "parts", "images", variant, split, self.roi, self._dataset, "retrieved.json"
        )
        if not path.exists():
            raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate --redo`")
        found = read_json(path)
        for name, nearest in zip(found["images"], found["nearest"], strict=True):
            self._split[name] = split
            self._nearest[variant][name] = nearest

    def stimuli(self, names: Sequence[str]) -> Strip:
        """Return the row of what was seen."""
        shown = self._pictures([_label(name, self._row) for name in names], names, "Stimulus {}")
        return Strip("seen", "", "stimulus", shown)

    def reconstructions(self, variant: str, names: Sequence[str], who: str) -> Strip:
        """Return the row of one method's images."""
        made = [self._reconstruction(variant, name, who) for name in names]
        title = score_tables.method_title(self._study, variant)
        return Strip(title, who.strip(), "reconstruction", tuple(made), self.subject, self.roi, title)

    def _reconstruction(self, variant: str, name: str, who: str) -> Picture:
        alt, split = f"Reconstruction of {name}, {who}{variant}", self._split[name]
        place = (variant, split, self.roi, self._dataset)
        path = layout.image_file(self._study, *place, name)
        if not self._show.publishable.allows(self._owner(name), *publishable.copied(self._study, variant, path)):
            return pictures.withheld(f"{alt}: withheld")
        image = images.read_picture(
            self._workspace,
            path,
            made_by="/".join(("reconstruct", *place)),
            size=(self._table.height, self._table.width),
        )
        moving = path.parent / "snapshots" / f"{path.stem}.webp"
        fields = tables.split_fields(split)
        key = (fields["subject"], fields["split"], self.roi, self._dataset, variant, name)
        return pictures.picture(
            image,
            alt,
            largest=self._show.largest,
            scores=self._show.scores.get(key),
            animation=moving.read_bytes() if self._show.animated and moving.exists() else b"",
        )

    def _owner(self, name: str) -> str:
        """Return the label that decides whether an item may be shown: its stimulus, or itself without one."""
        return _label(name, self._row) if self.shows_stimulus(name) else name

    def by_network(self) -> list[str]:
        """Return one variant of each network: the nearest image depends on the network alone."""
        return list({self._study.reconstruct[v].network: v for v in reversed(self.variants)}.values())[::-1]

    def nearest(self, variant: str, names: Sequence[str], who: str) -> Strip:
        """Return the row of the nearest training images."""
        shown = self._pictures([self._nearest[variant][name] for name in names], names, "Nearest training image {}")
        network = self._study.reconstruct[variant].network
        note = f"{who}by {network}"
        return Strip("nearest training image", note, "baseline", shown, self.subject, self.roi)

    def _pictures(self, labels: Sequence[str], names: Sequence[str], alt: str) -> tuple[Picture, ...]:
        """Embed stimuli; each belongs to an item, and is shown only where both may be."""
        rows, index = np.unique([self._row[label] for label in labels], return_inverse=True)
        stored: Array = images.read_images(self._workspace, rows)
        return tuple(
            pictures.picture(stored[i], alt.format(label), largest=self._show.largest)
            if self._show.publishable.allows(label, self._owner(name))
            else pictures.withheld(f"{alt.format(label)}: withheld")
            for i, label, name in zip(index, labels, names, strict=True)
        )


def _label(name: str, known: dict[str, int]) -> str:
    """Return the stimulus of an item: its own name, or `<label>` of the single trial `<label>@<nn>`."""
    return name if name in known else name.rpartition("@")[0]
