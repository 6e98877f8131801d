"""Make a page on which people judge images: which of two stimuli is reconstructed, or which of two images is closer.

One HTML file that works without a network; raters send back the file that it saves, and `evaluate --ratings` scores
them (docs/rating.md). Runs here, without a cluster. The page and the design of its trials lie in `rating/<set>/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hpc_recon.run import cli

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.core.config import Study
    from hpc_recon.stores.images import StimulusTable

TASKS = ("identify", "shape", "colour", "compare")
#: Columns of the file that names shapes and colours.
ATTRIBUTES = ("label", "shape", "colour")


@dataclass(frozen=True)
class _Place:
    """Whose images are judged."""

    subject: str
    roi: str
    dataset: str
    variants: tuple[str, ...]

    @property
    def name(self) -> str:
        """Part of the default name of a set."""
        variants = self.variants[0] if len(self.variants) == 1 else f"{len(self.variants)}variants"
        return f"{self.subject}-{self.roi}-{self.dataset}-{variants}"


@dataclass(frozen=True)
class _Shown:
    """The items that are judged: names, labels and rows of their stimuli."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Array
    table: StimulusTable


def _place(study: Study, task: str, values: Mapping[str, Any]) -> _Place:
    """Return the subject, ROI, dataset and variants of the options; one that is not told must be the only one.

    Raises
    ------
    StudyError
        With every option that is wrong.
    """
    from hpc_recon.core.errors import StudyError

    known = {
        "subject": list(study.subjects),
        "roi": list(study.rois),
        "dataset": study.test_datasets(),
        "variant": list(study.reconstruct),
    }
    problems, chosen = [], {}
    for option, names in known.items():
        given = list(values["variants"]) if option == "variant" else [values[option]] if values[option] else []
        problems += [
            f"--{option} {one!r}: the study has {', '.join(names) or 'none'}" for one in given if one not in names
        ]
        several = option == "variant" and task == "compare"
        if not given and len(names) != 1 and not several:
            problems.append(f"--{option} is needed: the study has {', '.join(names) or 'none'}")
        chosen[option] = given or names
    variants = chosen["variant"]
    if task == "compare" and (len(variants) < 2 or len(set(variants)) < len(variants)):
        problems.append(f"compare needs two or more different --variant, got {', '.join(variants) or 'none'}")
    if task != "compare" and len(values["variants"]) > 1:
        problems.append(f"{task} judges one --variant a page, got {', '.join(values['variants'])}")
    if not problems:
        place = (chosen["subject"][0], chosen["roi"][0], chosen["dataset"][0])
        problems = [
            f"--variant {one}: the study makes no such images of {', '.join(place)}; see `reconstruct` in the study"
            for one in variants
            if place not in study.image_sets(one)
        ]
    if problems:
        raise StudyError("command line", problems)
    return _Place(*place, tuple(variants))


def _shown(study: Study, place: _Place) -> _Shown:
    """Return the items of a dataset that show a stimulus, one a stimulus."""
    from hpc_recon.core.errors import DataError
    from hpc_recon.stores import images, layout
    from hpc_recon.stores.items import read_shown

    items, table = read_shown(study, place.subject, place.dataset), images.read_table(layout.workspace_of(study))
    shown = [(name, table.labels[row]) for name, row in zip(items.names, items.rows, strict=True)]
    kept = _publishable(study, place, np.flatnonzero(items.rows >= 0), shown)
    rows = np.asarray(items.rows[kept])
    if len(np.unique(rows)) < max(2, len(rows)):
        raise DataError(
            f"raters judge one image a stimulus and two stimuli or more, but {place.dataset} has {len(rows)} images of "
            f"{len(np.unique(rows))} stimuli; average the repeats (decode.average: true), or choose another --dataset"
        )
    return _Shown(tuple(items.names[i] for i in kept), tuple(table.labels[row] for row in rows), rows, table)


def _publishable(study: Study, place: _Place, kept: Array, shown: Sequence[tuple[str, str]]) -> Array:
    """Return those of the items (name, label) whose stimulus and images may be shown, and say how many are withheld.

    Raises
    ------
    DataError
        If fewer than two are left.
    """
    from hpc_recon.core.errors import DataError
    from hpc_recon.reporting import publishable
    from hpc_recon.stores import layout

    allowed = publishable.read(study, publishable.known(layout.workspace_of(study)))

    def needs(name: str, label: str) -> list[str]:
        made = [(v, layout.image_file(study, v, place.subject, place.roi, place.dataset, name)) for v in place.variants]
        return [label, *(other for variant, path in made for other in publishable.copied(study, variant, path))]

    found = np.asarray([i for i in kept if allowed.allows(*needs(*shown[i]))], np.int64)
    if len(found) < len(kept):
        click.echo(f"{len(kept) - len(found)} of {len(kept)} images are withheld (publishable)")
        if len(found) < 2:
            raise DataError(
                f"raters need two publishable stimuli or more, but "
                f"{study.report.publishable or f'datasets.{place.dataset}.publishable'} allows {len(found)} of "
                f"{len(kept)} in {place.dataset}; list more labels (report.publishable), or choose another --dataset"
            )
    return found


def _groups(task: str, shown: _Shown, attributes: Path | None) -> Array:
    """Return the code of each image's group, within which candidates are drawn: (n_images,) int64."""
    if task not in ("shape", "colour"):
        return np.zeros(len(shown.labels), np.int64)
    known = _read_attributes(attributes) if attributes else _split_labels(shown)
    _require_known(shown, known, where=attributes)
    same = [known[label][1 if task == "shape" else 0] for label in shown.labels]  # shapes differ: colours are the same
    return np.asarray(np.unique(same, return_inverse=True)[1], np.int64)


def _split_labels(shown: _Shown) -> dict[str, tuple[str, str]]:
    """Return shape and colour of stimuli whose label is `<colour>_<category>`, as those of `simulate` are."""
    found = {}
    for label, row in zip(shown.labels, shown.rows, strict=True):
        shape = shown.table.category[row]
        colour = label.removesuffix(f"_{shape}")
        if shape and colour not in ("", label):
            found[label] = (shape, colour)
    return found


def _read_attributes(path: Path) -> dict[str, tuple[str, str]]:
    """Read shape and colour of each stimulus from a CSV file; errors as `shapes.read_table`."""
    from hpc_recon.evaluation import shapes

    found = shapes.read_table(path, named="--attributes")
    return {label: (shape, colour) for label, (colour, shape) in found.items()}


def _require_known(shown: _Shown, known: Mapping[str, tuple[str, str]], *, where: Path | None) -> None:
    from hpc_recon.core.errors import DataError

    missing = [label for label in shown.labels if label not in known]
    if missing:
        raise DataError(
            f"the shape and the colour of each stimulus must be known, but those of {len(missing)} of "
            f"{len(shown.labels)} are not {'in ' + str(where) if where else 'told by labels <colour>_<shape>'} "
            f"(first: {missing[0]}); give --attributes FILE, a CSV file with the columns {', '.join(ATTRIBUTES)}"
        )
    pairs = [known[label] for label in shown.labels]
    if len(set(pairs)) < len(pairs):
        twice = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise DataError(
            f"no two stimuli may have the same shape and colour, else they cannot be told apart, but {twice[1]} "
            f"{twice[0]} occurs {pairs.count(twice)} times; correct --attributes"
        )


def _trials(task: str, place: _Place, groups: Array, values: Mapping[str, Any], seed: int) -> Array:
    """Return the design's trials, (n_trials, 3): the image, and both candidates in random order, half right each."""
    from hpc_recon.numerics import trial_design

    rng, per_image = np.random.default_rng(seed), values["per_image"]
    if task == "compare":
        made = trial_design.variant_trials(len(groups), len(place.variants), per_image=per_image, rng=rng)
    else:
        pairs = trial_design.candidate_trials(groups, per_image=per_image, rng=rng)
        made = np.concatenate([pairs[:, :1], pairs], axis=1)  # image, target (itself), distractor
    swapped = trial_design.sides(len(made), rng=rng) == 1
    made[swapped, 1:] = made[swapped, 2:0:-1]
    return made


def _pictures(study: Study, place: _Place, shown: _Shown, *, compare: bool) -> tuple[list[Array], list[Array]]:
    """Return the stimuli, and the reconstructions, variant after variant."""
    from hpc_recon.stores import images, layout

    workspace = layout.workspace_of(study)
    order = np.argsort(shown.rows)  # the store reads rows in order
    stored = images.read_images(workspace, shown.rows[order])
    stimuli = [stored[i] for i in np.argsort(order)]
    size = (shown.table.height, shown.table.width)
    variants = place.variants if compare else place.variants[:1]
    made = []
    for variant in variants:
        where = (variant, place.subject, place.roi, place.dataset)
        for name in shown.names:
            path = layout.image_file(study, *where, name)
            made.append(images.read_picture(workspace, path, made_by="/".join(("reconstruct", *where)), size=size))
    return stimuli, made


def _announce(name: str, trials: Array, n_all: int) -> None:
    from hpc_recon.core.text import format_seconds
    from hpc_recon.reporting.rating_page import SECONDS_A_TRIAL

    n = len(trials)
    part = "all pairs" if n == n_all else f"a balanced part of {n_all:,}"
    duration = format_seconds(SECONDS_A_TRIAL * n)
    click.echo(f"{name}: {n:,} trials ({part}), {duration} at {SECONDS_A_TRIAL} seconds each")
    if n == n_all and n > 300:
        click.echo("  for a shorter sitting: --per-image N, in which each image is shown N times")


def _rate(task: str, values: Mapping[str, Any]) -> int:
    from hpc_recon.core import storage
    from hpc_recon.core.errors import StudyError
    from hpc_recon.core.loading import load_study
    from hpc_recon.core.sampling import seed_of
    from hpc_recon.core.text import SAFE_NAME_RULE, is_safe_name
    from hpc_recon.run.options import default_study
    from hpc_recon.stores import layout

    study = load_study(Path(values["study"]) if values["study"] else default_study(), values["assignments"])
    workspace = layout.workspace_of(study)
    storage.check(workspace, study.arrays)
    place = _place(study, task, values)
    name = values["name"] or f"{task}-{place.name}"
    if not is_safe_name(name):
        raise StudyError("--name", [f"is a name of {SAFE_NAME_RULE}; got {name!r}"])
    if values["attributes"] and task not in ("shape", "colour"):
        raise StudyError("command line", ["--attributes goes with shape and colour"])
    page = _target(values, name)
    shown = _shown(study, place)
    groups = _groups(task, shown, Path(values["attributes"]) if values["attributes"] else None)
    seed = values["seed"] if values["seed"] is not None else seed_of(study.seed, "rate", name)
    trials = _trials(task, place, groups, values, seed)
    everything = len(_trials(task, place, groups, {**values, "per_image": None}, seed))
    _announce(name, trials, everything)
    if values["dry_run"]:
        return 0
    return _write(study, task, place, shown, name=name, seed=seed, trials=trials, values=values, page=page)


def _target(values: Mapping[str, Any], name: str) -> Path | None:
    """Return where `--to` puts the page of a set; None without it.

    Raises
    ------
    DataError
        If it is a folder, or a file that is no page of this set and `--overwrite` is not given.
    """
    from hpc_recon.core.errors import DataError

    if not values["to"]:
        return None
    page = Path(values["to"]).expanduser().absolute()
    if page.is_dir():
        raise DataError(f"--to is the file of the page, but {page} is a folder; give {page / (name + '.html')}")
    if page.exists() and not values["overwrite"] and f'"set":"{name}"'.encode() not in page.read_bytes():
        raise DataError(
            f"--to {page} is there already and is no page of the set {name}; give another file, or --overwrite it"
        )
    return page


def _write(
    study: Study,
    task: str,
    place: _Place,
    shown: _Shown,
    *,
    name: str,
    seed: int,
    trials: Array,
    values: Mapping[str, Any],
    page: Path | None,
) -> int:
    """Write the page, beside the design without another place for it, then the design."""
    from hpc_recon import __version__
    from hpc_recon.core.errors import DataError
    from hpc_recon.core.files import write_atomic
    from hpc_recon.core.text import format_bytes
    from hpc_recon.reporting import rating_page, words
    from hpc_recon.stores import layout, rating_design

    workspace, compare = layout.workspace_of(study), task == "compare"
    stimuli, made = _pictures(study, place, shown, compare=compare)
    pictures, digest = rating_page.sheet(stimuli, made)
    n = len(shown.names)
    design = rating_design.Design(
        name=name, task=task, study=study.name, subject=place.subject, roi=place.roi, dataset=place.dataset,
        variants=place.variants, images=shown.names, seed=seed, per_image=values["per_image"],
        trials=tuple((int(i), int(a), int(b)) for i, a, b in trials), pictures=digest,
    )  # fmt: skip
    path = rating_design.path_of(workspace, name)
    if path.exists() and not values["overwrite"] and rating_design.read(workspace, name).digest != design.digest:
        raise DataError(
            f"the set {name} was made before of other images, trials or seed ({path}), and its ratings would be "
            f"lost; give this one another --name, or --overwrite the old one"
        )
    # Rows of the pictures: the stimuli, then the reconstructions, variant after variant.
    rows = [(i, n + n * a + i, n + n * b + i) if compare else (n + i, a, b) for i, a, b in design.trials]
    page = page or path.with_name("index.html")
    html = rating_page.render(
        design, pictures, rows, title=study.report.title or study.name, label=words.label(study), version=__version__
    ).encode()
    write_atomic(page, html)
    rating_design.write(workspace, design)
    click.echo(f"{page}: {format_bytes(len(html))}; send it to three raters or more, and keep what they save")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""

    @click.command(
        help="Make a page on which people judge images: which of two stimuli is reconstructed (identify), by shape or "
        "by colour alone, or which of two reconstructions is closer to the stimulus (compare).",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    @click.argument("task", type=click.Choice(TASKS))
    @click.option("--study", metavar="FILE", default=None, help="study file  [default: $HPC_RECON_STUDY, ./study.yaml]")
    @click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study")
    @click.option("--subject", metavar="NAME", default=None, help="whose images; needed if there are more")
    @click.option("--roi", metavar="NAME", default=None, help="of which ROI; needed if there are more")
    @click.option("--dataset", metavar="NAME", default=None, help="of which dataset; needed if there are more")
    @click.option(
        "--variant",
        "variants",
        metavar="NAME",
        multiple=True,
        help="entry of reconstruct; compare: two or more, or all",
    )
    @click.option(
        "--per-image",
        metavar="N",
        type=click.IntRange(1),
        default=None,
        help="trials of each image  [default: all pairs]",
    )
    @click.option(
        "--seed", metavar="N", type=click.IntRange(0), default=None, help="draws trials  [default: the study's]"
    )
    @click.option("--attributes", metavar="FILE", default=None, help="CSV: label, shape, colour of each stimulus")
    @click.option("--name", metavar="NAME", default=None, help="of this set of trials  [default: from what is judged]")
    @click.option("--to", metavar="FILE", default=None, help="where the page goes  [default: rating/<set>/index.html]")
    @click.option("--overwrite", is_flag=True, help="replace another set of this name, or any file at --to")
    @click.option("--dry-run", is_flag=True, help="say how many trials there are; write nothing")
    def command(task: str, **values: Any) -> int:
        return cli.guarded(lambda: _rate(task, values))

    return cli.execute("python -m hpc_recon.rate", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
