"""Write the report: one self-contained HTML page with images, scores, accuracy by layer and the figures of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core import loading, reference_options
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.convert_options import is_converted, seen_by
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import read_json, write_atomic
from hpc_recon.core.text import format_seconds
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical
from hpc_recon.core.units import in_words

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.reporting.pictures import Gallery, Picture, Strip
    from hpc_recon.reporting.runs import RunFigures

#: How the scores are defined, in words for a reader of the page.
DEFINITIONS = (
    (
        "Pixel correlation",
        "Pearson's r between a reconstruction and the stimulus, over all pixels and colour channels.",
    ),
    (
        "Identification of images",
        "For each reconstruction, the share of the other stimuli of the same dataset whose pixels correlate less with "
        "it than those of its own stimulus. Ties are losses; chance is 50 %.",
    ),
    (
        "SSIM",
        "Structural similarity (Wang et al. 2004): Gaussian window of sigma 1.5 pixels, population covariance, data "
        "range 1, mean over channels, at the stimulus's own resolution.",
    ),
    (
        "Profile correlation",
        "For each unit, Pearson's r between decoded and true features over the images of a dataset; mean over units. "
        "Constant units are left out.",
    ),
    (
        "Pattern correlation",
        "For each image, Pearson's r between decoded and true features over the units of a layer, both z-scored with "
        "the mean and standard deviation of the training images.",
    ),
    (
        "Identification by features",
        "As for images, with the correlation of raw features over units. Scores of features are those of the decoded "
        "features before norm correction.",
    ),
    (
        "Nearest training image",
        "The training image whose features are most like the decoded ones: pattern correlation, mean over the "
        "network's layers. It shows how far one gets by looking up instead of reconstructing.",
    ),
    ("Mean training image", "The mean of all training images, the same for every stimulus."),
    ("Mean image of the true class", "The mean training image of the stimulus's category, as if an oracle named it."),
    (
        "Intervals",
        "Percentile bootstrap over images: what to expect of another image of the same kind and the same subject. "
        "They say nothing about other subjects.",
    ),
)


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the one tile that writes the page."""
    from hpc_recon.reporting.pictures import LARGEST

    height, width = shapes.image_size()
    shown = study.report.gallery * len(study.test_datasets()) * len(study.subjects) * (2 + len(study.reconstruct))
    upstream = ("evaluate/tables", *(("reconstruct",) if study.reconstruct else ()))
    # The page prints the study file, so it depends on all of it.
    settings = canonical(study.model_dump(mode="json", exclude={"workspace"}))
    embedded = 3 * min(height, LARGEST) * min(width, LARGEST) * shown
    # Embedded pictures are text, joined, encoded: 4.9 bytes a byte (measured). Strips are read whole, as floats too.
    strip = 3 * height * width * study.report.gallery
    need = Need(
        host_bytes=200 * 2**20 + 10 * embedded + 10 * strip,
        bytes_in=3 * height * width * shown,
        bytes_out=4 * embedded // 3 + 2**20,
        files_out=1,
        seconds=5 + 0.02 * shown,
    )
    return [Tile(Group("report", ("report",), settings, upstream), "report", 0, 1, need)]


def prepare(study: Study) -> None:
    """Create nothing: the page is one file."""


def work(study: Study, tile: Tile) -> list[Path]:
    """Gather what the page shows, and write it."""
    from hpc_recon import __version__
    from hpc_recon.reporting import conversion, layer_plots, page, runs, score_tables, validity_card, words
    from hpc_recon.reporting.tables import CROSS_VALIDATION
    from hpc_recon.stores import layout

    workspace = layout.workspace_of(study)
    summary = _scores(workspace, "summary.json")
    roi = words.primary_roi(study)
    run = runs.collect(workspace)
    content = page.Page(
        title=study.report.title or study.name,
        description=study.report.description,
        label=words.label(study),
        verdict=words.verdict(summary, study),
        galleries=_galleries(study, roi),
        image_tables=score_tables.image_tables(summary, study, split="all", roi=roi),
        fold_tables=score_tables.image_tables(summary, study, split=CROSS_VALIDATION, roi=roi),
        roi_table=score_tables.roi_table(summary, study),
        legend=layer_plots.legend(summary, study),
        panel_rows=layer_plots.panel_rows(summary, study, roi=roi),
        other_rois=[(name, layer_plots.panel_rows(summary, study, roi=name)) for name in study.rois if name != roi],
        layer_table=score_tables.layer_table(summary, study, roi=roi),
        choices=score_tables.choice_rows(_choices(workspace)),
        run=run,
        warnings=_warnings(study, summary, run),
        study_yaml=loading.save_study(study.model_copy(update={"workspace": None})),
        definitions=DEFINITIONS,
        facts=_facts(study, roi),
        confidence=f"{100 * summary['confidence']:g} %",
        version=__version__,
        total_time=format_seconds(run.total_seconds) if run.total_seconds else "",
        card=validity_card.card(_scores(workspace, "validity.json"), study, roi=roi),
        conversion_tables=conversion.tables(summary, study, roi=roi),
    )
    return [write_atomic(workspace / "report" / "index.html", page.render(content).encode("utf-8"))]


def _scores(workspace: Path, name: str) -> dict[str, Any]:
    path = workspace / "scores" / name
    if not path.exists():
        raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate`")
    try:
        return dict(read_json(path))
    except ValueError as error:
        raise DamagedStore(f"{error}; make it anew with `python -m hpc_recon.evaluate --redo --only tables`") from error


def _choices(workspace: Path) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield (split, ROI, decoded name, layer) and content of every file that `fit` wrote about its choice."""
    folder = workspace / "choices"
    for path in sorted(folder.rglob("*.json")):
        *outer, name = path.relative_to(folder).parts
        yield (*outer, name.removesuffix(".json")), dict(read_json(path))


def _facts(study: Study, roi: str) -> list[tuple[str, str]]:
    from hpc_recon.stores import items, shapes

    sizes = shapes.read(study)
    training = study.training_dataset
    if study.decode.files:
        subjects, samples = ", ".join(study.subjects), "decoded elsewhere"
    else:
        subjects = ", ".join(f"{s} ({sizes.n_voxels(s, roi):,} voxels)" for s in study.subjects)
        known = [s for s in study.subjects if items.has_training_samples(study, s)]
        samples = ", ".join(f"{sizes.n_samples(s, training):,}" for s in known) or "not in this study"
    if study.fit.files:
        samples = f"{samples} (decoders were trained elsewhere and read from files)"
    networks = ", ".join(
        f"{name} ({len(net.layers)} {'layer' if len(net.layers) == 1 else 'layers'}, "
        f"{sum(study.n_decoded(sizes.n_units(name, layer), layer) for layer in net.layers):,} units)"
        for name, net in study.networks.items()
    )
    method = study.decode.norm_correction
    whose: dict[str, list[str]] = {}
    for name, net in study.networks.items():
        whose.setdefault(reference_options.in_words(net.reference), []).append(name)
    restored = "; ".join(
        f"{words}, for {', '.join(names)}" if len(whose) > 1 else words for words, names in whose.items()
    )
    return [
        ("Subjects" if len(study.subjects) > 1 else "Subject", subjects),
        ("Region", roi),
        ("Training samples", samples),
        ("Decoded", networks),
        *([("Norm correction", f"{method}: the spread of {restored}")] if method != "none" else []),
        *_recovered(study),
    ]


def _recovered(study: Study) -> list[tuple[str, str]]:
    """Return how like their stimuli images from true features are, of each method that tried."""
    from hpc_recon.reporting import score_tables
    from hpc_recon.stores import layout

    rows = []
    for variant in study.reconstruct:
        folder = layout.recovery_file(study, variant, "any").parent
        found = [float(read_json(path)["pixel_correlation"]) for path in sorted(folder.glob("*.json"))]
        if found:
            images = "image" if len(found) == 1 else "images"
            title = score_tables.method_title(study, variant)
            text = f"{', '.join(f'{value:.2f}' for value in found)} (pixel correlation of {len(found)} {images})"
            rows.append((f"From true features, {title}", text))
    return rows


def _warnings(study: Study, summary: dict[str, Any], run: RunFigures) -> list[str]:
    """Return what a reader should know before believing a number."""
    missing = [e for e in (*summary["images"], *summary["layers"]) if e.get("n_missing")]
    found = [
        f"{e['metric']} is undefined for {e['n_missing']} of {e['n'] + e['n_missing']} images "
        f"({e['subject']}, {e['dataset']}, {e.get('variant') or e.get('layer')}); they are left out of its mean"
        for e in missing
    ]
    told = [f"{w.verb}: {w.text} ({w.count} {'tile' if w.count == 1 else 'tiles'})" for w in run.warned]
    sampled = [] if study.units is None else [f"only {in_words(study.units)} were decoded (units in the study)"]
    return [*sampled, *found, *told]


# ---- galleries ------------------------------------------------------------------------------------------------------


def _galleries(study: Study, roi: str) -> list[Gallery]:
    """Return a gallery of each test dataset, and one of the first repeat of the cross-validation."""
    from hpc_recon.reporting import pictures, words

    made = []
    for dataset in study.test_datasets():
        whole = [s for s in study.subjects if dataset in study.test_datasets(s)]
        found = [_Wall(study, [subject], roi, dataset) for subject in whole]
        walls, title = [wall for wall in found if wall.variants], words.dataset_title(study, dataset)
        made.append(_gallery(study, title, walls))
        made.append(_gallery(study, f"{title}: no stimulus", walls, is_open=False, with_stimuli=False))
        pairs = study.convert.converted(study.subjects) if study.convert else []
        converted = [_Wall(study, [split], roi, dataset) for split in pairs if dataset in study.test_datasets(split)]
        made.append(_gallery(study, f"{title}: converted", [w for w in converted if w.variants], is_open=False))
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
    from hpc_recon.reporting import pictures

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
        from hpc_recon.stores import images, layout

        self._study, self._roi, self._dataset = study, roi, dataset
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
        from hpc_recon.reporting import pictures

        shown = self._pictures([_label(name, self._row) for name in names], "Stimulus {}")
        return pictures.Strip("seen", "", "stimulus", shown)

    def reconstructions(self, variant: str, names: Sequence[str], who: str) -> Strip:
        """Return the row of one method's images."""
        from hpc_recon.reporting import pictures, score_tables
        from hpc_recon.stores import images, layout

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
        from hpc_recon.reporting import pictures

        shown = self._pictures([self._nearest[variant][name] for name in names], "Nearest training image {}")
        network = self._study.reconstruct[variant].network
        return pictures.Strip("nearest training image", f"{who}by {network}", "baseline", shown)

    def _pictures(self, labels: Sequence[str], alt: str) -> tuple[Picture, ...]:
        from hpc_recon.reporting import pictures
        from hpc_recon.stores import images

        rows, index = np.unique([self._row[label] for label in labels], return_inverse=True)
        stored: Array = images.read_images(self._workspace, rows)
        return tuple(pictures.picture(stored[i], alt.format(label)) for i, label in zip(index, labels, strict=True))


def _label(name: str, known: dict[str, int]) -> str:
    """Return the stimulus of an item: its own name, or `<label>` of the single trial `<label>@<nn>`."""
    return name if name in known else name.rpartition("@")[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of this verb."""
    from hpc_recon.run import cli

    return cli.main("report", argv)


if __name__ == "__main__":
    raise SystemExit(main())
