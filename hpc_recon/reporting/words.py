"""The verdict in plain words, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.score_names import BASELINES, CROSS_VALIDATION

Entry = dict[str, Any]

#: Written for a score that is not defined.
NOTHING = "\N{EN DASH}"
#: Baselines in words.
BASELINE_NAMES = {
    "mean_training_image": "mean training image",
    "nearest_training_image": "nearest training image",
    "true_class_mean": "mean image of the true class",
}
METRIC_NAMES = {
    "identification": "Identification",
    "pixel_correlation": "Pixel correlation",
    "ssim": "SSIM",
    "profile_correlation": "Profile correlation",
    "pattern_correlation": "Pattern correlation",
    "identification_zscored": "Identification, z-scored",
    "identification_stimulus_anchored": "Identification, stimulus kept",
    "identification_5way": "Identification among 5",
    "identification_10way": "Identification among 10",
    "identification_50way": "Identification among 50",
    "identification_top1": "Top 1",
    "identification_top5": "Top 5",
    "category_identification": "Category identification",
    "ssim_identification": "Identification by SSIM",
    "shape_identification": "Shape identification",
    "colour_identification": "Colour identification",
    "rmse": "RMSE",
    "psnr": "PSNR, dB",
    "human_identification": "Identification by people",
    "human_shape": "Shape, by people",
    "human_colour": "Colour, by people",
    "winning_percentage": "Preferred by people",
    "winning_pixel_correlation": "Better than other methods",
}


def metric_name(metric: str) -> str:
    """Return a score's name in words.

    >>> metric_name("ssim"), metric_name("mindeye.alexnet2")
    ('SSIM', 'mindeye: alexnet2')
    """
    preset, dot, own = metric.partition(".")
    return METRIC_NAMES.get(metric, f"{preset}: {own.replace('_', ' ')}" if dot else metric.replace("_", " "))


@dataclass(frozen=True)
class Verdict:
    """What the results say: one sentence, and a few more that qualify it."""

    headline: str
    details: tuple[str, ...]


def percent(value: float | None) -> str:
    """Write a share.

    >>> percent(0.976).split()
    ['98', '%']
    """
    return NOTHING if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def number(value: float | None, *, signed: bool = False) -> str:
    """Write a correlation with two decimals and a true minus sign.

    >>> number(0.8349), number(-0.1), number(0.2, signed=True)
    ('0.83', '−0.10', '+0.20')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:{'+' if signed else ''}.2f}".replace("-", "\N{MINUS SIGN}")


def interval(entry: Entry, *, as_percent: bool = False, signed: bool = False) -> str:
    """Write the limits of an entry's interval, empty without one.

    >>> interval({"low": 0.71, "high": 0.85}, as_percent=True)
    '71–85'
    """
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return ""
    if as_percent:
        return f"{100 * low:.0f}\N{EN DASH}{100 * high:.0f}"
    return f"{number(low, signed=signed)} to {number(high, signed=signed)}"


def join_words(parts: Sequence[str]) -> str:
    """Join with commas and `and`.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def image_rois(study: Study) -> dict[str, list[str]]:
    """Return the ROIs from which each entry of `reconstruct` makes images, in the study's order."""
    return {name: list(dict.fromkeys(roi for _, roi, _ in study.image_sets(name))) for name in study.reconstruct}


def primary_roi(study: Study) -> str:
    """Return the ROI that the report shows first: of those with images VC or the first; without images likewise."""
    known = [roi for rois in image_rois(study).values() for roi in rois] or study.rois
    return "VC" if "VC" in known else known[0]


def dataset_title(study: Study, dataset: str) -> str:
    """Return the heading of a dataset."""
    return study.datasets[dataset].title or dataset


def label(study: Study) -> str:
    """Return what a reader must know before the verdict: simulated data are labelled; empty for recorded ones."""
    if study.simulate is None:
        return ""
    preset = study.simulate.preset
    meaning = {
        "easy": "much cleaner than recordings; it shows that the program works and is no evidence about brains",
        "realistic": "accuracies tuned to published studies; no evidence about brains",
        "null": "no signal by construction: every score should lie at chance",
    }[preset]
    return f"Simulated data, preset {preset}: {meaning}."


def verdict(summary: dict[str, Any], study: Study) -> Verdict:
    """Say in one sentence how well images (or, without any, features) were decoded, and against what.

    The first method of the study and the primary ROI are spoken of; means are over subjects and datasets,
    each counting once. "Above" means that the whole interval is.
    """
    variant = next(iter(study.reconstruct), None)
    roi = primary_roi(study)
    mine = [e for e in summary["images"] if e["variant"] == variant and e["roi"] == roi]
    sets = [e for e in mine if e["split"] == "all"]
    if not sets:
        return _verdict_of_features(summary, roi)
    identified = [e for e in sets if e["metric"] == "identification" and e["mean"] is not None]
    correlated = [e for e in sets if e["metric"] == "pixel_correlation" and e["mean"] is not None]
    r = _mean(correlated)
    details = []
    if identified:
        headline = (
            f"In {percent(_mean(identified))} of comparisons, a reconstruction resembles the image that was seen more "
            f"than another image of its set ({_against_chance(identified)})."
        )
        each = [f"{dataset_title(study, dataset)} {percent(mean)}" for dataset, mean in _by_dataset(identified)]
        details += [f"{join_words(each)}."] if len(each) > 1 else []
        details += [f"Pixel by pixel, reconstructions correlate with the stimuli at r = {number(r)}."]
    else:
        headline = f"Reconstructions correlate with the images that were seen at r = {number(r)} (no correlation: 0)."
    details += _against_baselines(summary, variant or "", roi)
    details += _cross_validated(mine)
    if len(study.reconstruct) > 1:
        title = study.reconstruct[variant].title or variant if variant else ""
        details.append(f"These sentences speak of the method “{title}”, the first of {len(study.reconstruct)}.")
    return Verdict(headline, tuple(details))


def _by_dataset(entries: Sequence[Entry]) -> list[tuple[str, float]]:
    names = list(dict.fromkeys(e["dataset"] for e in entries))
    return [(name, _mean([e for e in entries if e["dataset"] == name]) or 0.0) for name in names]


def _mean(entries: Sequence[Entry]) -> float | None:
    values = [e["mean"] for e in entries if e["mean"] is not None]
    return sum(values) / len(values) if values else None


def _against_chance(entries: Sequence[Entry]) -> str:
    above = sum(e["low"] is not None and e["low"] > 0.5 for e in entries)
    sets = f"all {above} sets" if above == len(entries) else f"{above} of {len(entries)} sets"
    outcome = "not exceeded beyond doubt" if above == 0 else "exceeded" if len(entries) == 1 else f"exceeded in {sets}"
    return f"chance: 50\N{NO-BREAK SPACE}%, {outcome}"


def _against_baselines(summary: dict[str, Any], variant: str, roi: str) -> list[str]:
    """Compare with the strongest baseline by pixel correlation."""
    differences = [
        e
        for e in summary["differences"]
        if (e["variant"], e["roi"], e["split"], e["metric"]) == (variant, roi, "all", "pixel_correlation")
        and e["mean"] is not None
    ]
    baselines = [
        e
        for e in summary["images"]
        if e["variant"] in BASELINES and (e["roi"], e["split"], e["metric"]) == (roi, "all", "pixel_correlation")
    ]
    levels = {name: _mean([e for e in baselines if e["variant"] == name]) for name in BASELINES}
    known = {name: level for name, level in levels.items() if level is not None}
    if not known or not differences:
        return []
    best = max(known, key=lambda name: known[name])
    own = [e for e in differences if e["baseline"] == best]
    above = sum(e["low"] is not None and e["low"] > 0 for e in own)
    below = sum(e["high"] is not None and e["high"] < 0 for e in own)
    outcome = (
        "reconstructions are above it"
        if above == len(own)
        else "reconstructions are below it"
        if below == len(own)
        else "the difference is not distinguishable from zero"
        if above == below == 0
        else f"reconstructions are above it in {above} and below it in {below} of {len(own)} sets"
    )
    gain = number(_mean(own), signed=True)
    return [
        f"The strongest baseline, the {BASELINE_NAMES[best]}, reaches r = {number(known[best])}: {outcome} "
        f"(mean difference {gain})."
    ]


def _cross_validated(mine: Sequence[Entry]) -> list[str]:
    folds = {e["metric"]: e for e in mine if e["split"] == CROSS_VALIDATION}
    if "pixel_correlation" not in folds:
        return []
    r = folds["pixel_correlation"]
    text = f"Cross-validated over all {r['n']} images: r = {number(r['mean'])} ({interval(r)})"
    if "identification" in folds:
        p = folds["identification"]
        text += f", identification {percent(p['mean'])} ({interval(p, as_percent=True)})"
    return [f"{text}."]


def _verdict_of_features(summary: dict[str, Any], roi: str) -> Verdict:
    entries = [
        e
        for e in summary["layers"]
        if (e["roi"], e["split"], e["metric"]) == (roi, "all", "identification") and e["mean"] is not None
    ]
    if not entries:
        return Verdict("Features were decoded; nothing was reconstructed and no identification was asked for.", ())
    layers = list(dict.fromkeys((e["network"], e["layer"]) for e in entries))
    means = {key: _mean([e for e in entries if (e["network"], e["layer"]) == key]) or 0.0 for key in layers}
    best = max(means, key=lambda key: means[key])
    headline = (
        f"Decoded features resemble those of the image that was seen more than those of another in "
        f"{percent(_mean(entries))} of comparisons, on average over layers (chance 50\N{NO-BREAK SPACE}%)."
    )
    return Verdict(headline, (f"The best layer is {best[1]} of {best[0]} with {percent(means[best])}.",))
