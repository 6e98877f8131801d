"""The galleries of the report: which images are shown, read from the workspace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import read_json
from hpc_recon.reporting import pictures, score_tables, words
from hpc_recon.reporting.pictures import Gallery, Picture, Strip
from hpc_recon.stores import images, layout


def collect(study: Study, roi: str) -> list[Gallery]:
    """Return a gallery of each test dataset, and one of the first repeat of the cross-validation."""
    made = []
    for dataset in study.test_datasets():
        whole = [s for s in study.subjects if dataset in study.test_datasets(s)]
        found = [_Wall(study, [subject], roi, dataset) for subject in whole]
        walls, title = [wall for wall in found if wall.variants], words.dataset_title(study, dataset)
        made.append(_gallery(study, title, walls))
        made.append(_gallery(study, f"{title}: no stimulus", walls, is_open=False, with_stimuli=False))
    folds = [s for s in study.splits() if s != base_subject(s) and s.partition(".")[2].startswith("r1f")]
    if folds:
        dataset = study.test_datasets(folds[0])[0]
        walls = [
            _Wall(study, [s for s in folds if base_subject(s) == subject], roi, dataset) for subject in study.subjects
        ]
        made.append(_gallery(study, "Cross-validation, first repeat", [w for w in walls if w.variants], is_open=False))
    return [gallery for gallery in made if isinstance(gallery, pictures.Gallery)]


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
    who = {wall: f"{wall.subject} " if len(study.subjects) > 1 else "" for wall in walls}
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


class _Wall:
    """The images of one subject and dataset, from one split or from the folds that hold them out."""

    def __init__(self, study: Study, splits: Sequence[str], roi: str, dataset: str) -> None:

        self._study, self._roi, self._dataset = study, roi, dataset
        self._workspace = layout.workspace_of(study)
        self._table = images.read_table(self._workspace)
        self._row = {label: row for row, label in enumerate(self._table.labels)}
        self.subject = base_subject(splits[0]) if splits else ""
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
            "scores", "parts", "images", variant, split, self._roi, self._dataset, "retrieved.json"
        )
        if not path.exists():
            raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate --redo`")
        found = read_json(path)
        for name, nearest in zip(found["images"], found["nearest"], strict=True):
            self._split[name] = split
            self._nearest[variant][name] = nearest

    def stimuli(self, names: Sequence[str]) -> Strip:
        """Return the row of what was seen."""
        shown = self._pictures([_label(name, self._row) for name in names], "Stimulus {}")
        return pictures.Strip("seen", "", "stimulus", shown)

    def reconstructions(self, variant: str, names: Sequence[str], who: str) -> Strip:
        """Return the row of one method's images."""
        made = []
        for name in names:
            place = (variant, self._split[name], self._roi, self._dataset)
            image = images.read_picture(
                self._workspace,
                layout.image_file(self._study, *place, name),
                made_by="/".join(("reconstruct", *place)),
                size=(self._table.height, self._table.width),
            )
            made.append(pictures.picture(image, f"Reconstruction of {name}, {who}{variant}"))
        title = score_tables.method_title(self._study, variant)
        return pictures.Strip(title, who.strip(), "reconstruction", tuple(made))

    def by_network(self) -> list[str]:
        """Return one variant of each network: the nearest image depends on the network alone."""
        return list({self._study.reconstruct[v].network: v for v in reversed(self.variants)}.values())[::-1]

    def nearest(self, variant: str, names: Sequence[str], who: str) -> Strip:
        """Return the row of the nearest training images."""
        shown = self._pictures([self._nearest[variant][name] for name in names], "Nearest training image {}")
        network = self._study.reconstruct[variant].network
        return pictures.Strip("nearest training image", f"{who}by {network}", "baseline", shown)

    def _pictures(self, labels: Sequence[str], alt: str) -> tuple[Picture, ...]:

        rows, index = np.unique([self._row[label] for label in labels], return_inverse=True)
        stored: Array = images.read_images(self._workspace, rows)
        return tuple(pictures.picture(stored[i], alt.format(label)) for i, label in zip(index, labels, strict=True))


def _label(name: str, known: dict[str, int]) -> str:
    """Return the stimulus of an item: its own name, or `<label>` of the single trial `<label>@<nn>`."""
    return name if name in known else name.rpartition("@")[0]
