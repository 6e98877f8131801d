"""Lines of the report on the noise ceilings of voxels: one an ROI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.reporting.words import dataset_title, join_words, number


def lines(summary: Mapping[str, Any], study: Study) -> list[tuple[str, str]]:
    """Return name and text for each ROI whose test stimuli were repeated: of the first such dataset, all subjects.

    Parameters
    ----------
    summary
        `scores/summary.json`; those of older versions have no `voxels`.
    """
    found = []
    for roi in study.rois:
        own = [e for e in summary.get("voxels", ()) if e["roi"] == roi and e["mean"] is not None]
        dataset = next((name for name in study.test_datasets() if any(e["dataset"] == name for e in own)), None)
        if dataset is None:
            continue
        entries = [e for e in own if e["dataset"] == dataset]
        single = {e["subject"]: e for e in entries if e["metric"] == "repeat_correlation"}
        halves = [e for e in entries if e["metric"] == "split_half"]
        parts = [
            f"{e['subject']} {number(e['median'])} (quartiles {number(e['q25'])} to {number(e['q75'])}; single trials "
            f"{number(single[e['subject']]['median'])}; {e['n']:,} voxels)"
            for e in halves
            if e["subject"] in single
        ]
        repeats = f"{halves[0]['n_repeats']} trials" if halves else ""
        title = dataset_title(study, dataset)
        text = f"reliability of the mean of {repeats} ({title}), median over voxels: {join_words(parts)}"
        found.append((f"Voxels of {roi}", text))
    return found
