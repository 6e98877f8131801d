"""Lines of the validity card that say what controls found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.reporting.words import dataset_title, join_words, percent

#: The verdict where a control is identified: it outranks every other.
LEAK = "leak"
MEANING = (
    "Images made from a brain that can tell nothing are identified too, so something leads around the brain: no other "
    "verdict on this method counts."
)
TITLES = {"shuffled": "Shuffled labels", "noise": "Noise for a brain", "clusters": "Without its cluster"}
_OPEN = {
    "not run": "not run (python -m hpc_recon.control).",
    "changed": "run for another state of this study, so not shown (python -m hpc_recon.control --redo).",
}


def lines(found: Mapping[str, Any], study: Study, *, variant: str | None, roi: str) -> list[tuple[str, str, str]]:
    """Return tone, name and text of a line for each control; `found` is `scores/controls.json`, or empty."""
    if variant is None:
        return []
    entries = found.get("controls") or [{"name": name, "state": "not run", "sets": []} for name in TITLES]
    told = []
    for entry in entries:
        title = TITLES[entry["name"]]
        if entry["state"] != "finished":
            told.append(("open", title, _OPEN[entry["state"]]))
            continue
        sets = [s for s in entry["sets"] if (s["variant"], s["roi"]) == (variant, roi)]
        if sets and entry["name"] == "clusters":
            told.append(_of_clusters(sets, study, title))
            continue
        bad = [s for s in sets if s["leaks"]]
        texts = [f"{dataset_title(study, s['dataset'])}, {s['subject']} {_values(s)}" for s in bad or sets]
        if bad:
            told.append(("doubt", title, f"LEAK: identified in every repeat: {join_words(texts)}. Chance is 50 %."))
        elif sets:
            told.append(("good", title, f"no set is identified in every repeat: {join_words(texts)}. Chance is 50 %."))
        else:
            told.append(("open", title, "made no images of this method and ROI."))
    return told


def _of_clusters(sets: Sequence[Mapping[str, Any]], study: Study, title: str) -> tuple[str, str, str]:
    """Return the line of the control that trains without the cluster of each test image."""
    texts = [f"{dataset_title(study, s['dataset'])}, {s['subject']} {_fallen(s)}" for s in sets]
    n_beyond = sum(s["generalises"] for s in sets)
    rule = f"{n_beyond} of {len(sets)} sets of images are still identified when nothing of their cluster was trained on"
    text = f"{rule}: {join_words(texts)}. Chance is 50 %."
    return ("good" if n_beyond == len(sets) else "doubt"), title, text


def _fallen(entry: Mapping[str, Any]) -> str:
    known, held = entry["all"]["mean"], entry["held_out"]["mean"]
    if known is None or held is None:
        return "no two images"
    p = entry["held_out"]["p"]
    beyond = "too few to test" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    n = f"{entry['n_images']} images, {entry['n_clusters']} clusters held out in turn"
    return f"{percent(held)} ({beyond}), with all training images {percent(known)} ({n})"


def is_leak(found: Mapping[str, Any], *, variant: str | None, roi: str) -> bool:
    """Return whether a control of this method and ROI leaks."""
    return {"variant": variant, "roi": roi} in found.get("leaks", [])


def _values(entry: Mapping[str, Any]) -> str:
    values = [value for value in entry["identification"] if value is not None]
    if not values:
        return "no two images"
    mean = sum(values) / len(values)
    return f"{percent(mean)} (repeats {percent(min(values))} to {percent(max(values))}, {entry['n_images']} images)"
