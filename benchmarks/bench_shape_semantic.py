"""Does shape-semantic reconstruction beat retrieval and per-pixel ridge on real fMRI? Every row of one table.

Reads a study whose images are made (`configs/studies/digits69_shape.yaml`, by `pipeline --through reconstruct`): the
published split, and all folds of its cross-validation, in which an image's scores are averaged over the repeats. Beside
the study's own entries stand the mean training image, the mean of the true class, and the training image that is
closest (Pearson's r, the training mean subtracted) to what the entry `pixels` decodes.

- `pixel_correlation`: Pearson's r over all pixels, the stimulus's own size;
- `identification`: wins among the other test stimuli of the fold; `within`: among those of its own category, which
  nothing but the label wins half of;
- `ssim`: Gaussian window of sigma 1.5 (11 x 11), population covariance, data range 1, the stimulus's own size.

    python benchmarks/bench_shape_semantic.py configs/studies/digits69_shape.yaml
    python benchmarks/bench_shape_semantic.py --toy
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from give import give

from hpc_recon.core.loading import load_study
from hpc_recon.numerics import scores
from hpc_recon.stores import images, items, layout

#: Scores of an image.
METRICS = ("pixel_correlation", "identification", "within", "ssim")
RIDGE = "pixels"
RETRIEVED = "nearest training image to the decode"


def score(made, true, category):
    """Return each metric of images (n, H, W, 3) that show stimuli `true`, in the same order, (n,)."""
    similarity = scores.pixel_similarity(made, true)
    own = similarity.diagonal()
    # Ties count half: the mean training image is as close to every stimulus as to its own.
    won = (similarity < own[:, None]) + 0.5 * (similarity == own[:, None])
    others = ~np.eye(len(true), dtype=bool)
    alike = others & (category[:, None] == category[None])
    return {
        "pixel_correlation": own,
        "identification": np.array([row[mask].mean() for row, mask in zip(won, others, strict=True)]),
        "within": np.array([row[mask].mean() for row, mask in zip(won, alike, strict=True)]),
        "ssim": scores.ssim(made, true),
    }


def candidates(decoded, training, category, wanted):
    """Return the images of the baselines, by name, for items of some categories."""
    mean = training.mean(axis=0)
    classes = {name: training[category == name].mean(axis=0) for name in set(wanted.tolist())}
    closest = scores.pixel_similarity(decoded - mean, training - mean).argmax(axis=1)
    return {
        "mean training image": np.repeat(mean[None], len(wanted), axis=0),
        "mean of the true class": np.stack([classes[name] for name in wanted.tolist()]),
        RETRIEVED: training[closest],
    }


def read(study, split):
    """Return true images, categories, names, made images by entry, and training images with theirs, of a split."""
    workspace, dataset = layout.workspace_of(study), study.test_datasets(split)[0]
    table, shown = images.read_table(workspace), items.read_shown(study, split, dataset)
    rows = items.training_rows(study, split)
    true = images.read_images(workspace, np.sort(shown.rows))[np.argsort(np.argsort(shown.rows))] / 255.0
    made = {
        name: np.stack(
            [
                np.load(layout.image_file(study, name, split, study.rois[0], dataset, item).with_suffix(".npy"))
                for item in shown.names
            ]
        )
        for name in study.reconstruct
    }
    category = np.array(table.category)
    return true, category[shown.rows], shown.names, made, images.read_images(workspace, rows) / 255.0, category[rows]


def by_image(study, splits):
    """Return by entry, metric and image the scores in all splits."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for split in splits:
        true, category, names, made, training, trained = read(study, split)
        every = {**candidates(made[RIDGE], training, trained, category), **made}
        for entry, pictures in every.items():
            for metric, values in score(pictures, true, category).items():
                for name, value in zip(names, values.tolist(), strict=True):
                    found[entry][metric][name].append(value)
    return found


def table(study, splits):
    """Return by entry and metric: mean over images, and its 95 % bootstrap interval; then paired differences."""
    found = by_image(study, splits)
    means = {
        entry: {m: np.array([np.mean(own) for own in metrics[m].values()]) for m in METRICS}
        for entry, metrics in found.items()
    }
    rows = {entry: {m: _interval(values) for m, values in own.items()} for entry, own in means.items()}
    for entry in study.reconstruct:
        for other in (RIDGE, RETRIEVED):  # the same images in the same order: differences are paired
            if entry != other:
                difference = {m: _interval(means[entry][m] - means[other][m]) for m in METRICS}
                rows[f"{entry} less {other}"] = difference
    return rows


def _interval(values):
    found = scores.bootstrap_interval(values, confidence=0.95, resamples=2000, seed=0)
    return [round(float(x), 4) for x in (values.mean(), found.low, found.high)]


def toy():
    """Return the scores of noisy digits made of noise: everything but the label is lost."""
    rng = np.random.default_rng(0)
    shapes = rng.random((2, 16, 16, 3))
    category = np.arange(20) % 2
    training, true = (shapes[category] + 0.3 * rng.random((20, 16, 16, 3)) for _ in range(2))
    decoded = true + 0.2 * rng.standard_normal(true.shape)
    every = {**candidates(decoded, training, category, category), RIDGE: decoded}
    return {name: {k: float(v.mean()) for k, v in score(own, true, category).items()} for name, own in every.items()}


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument(
        "--repeats", type=int, default=None, help="of the cross-validation, the first ones; default: all"
    )
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    given = parser.parse_args(argv)
    if given.toy:
        return give(toy(), given.output)
    study = load_study(given.study)
    whole = [split for split in study.splits() if "." not in split]
    folds = [split for split in study.splits() if "." in split]
    if given.repeats is not None:
        folds = [split for split in folds if int(split.split(".r")[1].split("f")[0]) <= given.repeats]
    found = {"published split": table(study, whole)}
    if folds:
        found["cross-validation"] = table(study, folds)
    return give(found, given.output)


if __name__ == "__main__":
    sys.exit(main())
