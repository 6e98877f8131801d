"""What the report says in words: what was measured and decoded, how scores are defined, and what to be wary of."""

from __future__ import annotations

from typing import Any

from hpc_recon.core import reference_options
from hpc_recon.core.config import Study
from hpc_recon.core.files import read_json
from hpc_recon.core.units import in_words
from hpc_recon.reporting import score_tables
from hpc_recon.reporting.runs import RunFigures
from hpc_recon.stores import items, layout, shapes

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


def collect(study: Study, roi: str) -> list[tuple[str, str]]:
    """Return what was measured and decoded, as (name, words)."""
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


def warnings(study: Study, summary: dict[str, Any], run: RunFigures) -> list[str]:
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
