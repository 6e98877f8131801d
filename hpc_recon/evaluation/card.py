"""The validity card of a study: what its images are evidence of, from what the study already has; nothing is refitted.

Verdicts are of subjects' own training and test sets (split `all`), and of datasets that are identified. Images from
converted activity, or by decoders of pooled samples, are judged alike, set by set, but count in no verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.files import read_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation.images import reconstructions
from hpc_recon.numerics import hypotheses, scores, validity
from hpc_recon.stores import images, layout
from hpc_recon.stores.items import read_shown, training_rows

NAME = "validity.json"
EXEMPLAR, CLASS_MEAN = "nearest_training_image", "true_class_mean"
#: Images must be above a baseline in one of these scores, and below it in none. Not SSIM: it rewards smoothness.
METRICS = ("identification", "pixel_correlation")
#: Images read at once while they are compared byte by byte.
_AT_ONCE = 256
#: Labels named of those that training and test share.
_EXAMPLES = 5

Entry = Mapping[str, Any]


def collect(study: Study, features: pd.DataFrame, tests: Sequence[Entry]) -> dict[str, Any]:
    """Return the card, as plain values for JSON.

    Parameters
    ----------
    features
        Tidy scores of decoded features.
    tests
        Entries of `evaluation.significance`.

    Returns
    -------
    dict
        `verdicts`: one a variant and ROI, over its subjects and datasets (`validity.overall`); `sets`: one a
        variant, ROI, dataset and subject, with what it rests on; `converted`: the same of converted and pooled splits,
        which no verdict counts (`split` says which); `recovery`, `overlap`, `few_images`,
        `negative_layers`: what a reader should know beside it; `expected`: identification of who knows one of k
        clusters; `thresholds`.
    """
    sets = _judged(study, study.subjects, tests)
    more = [s for s in study.decoded_splits() if s not in study.splits()]
    places = dict.fromkeys((entry["variant"], entry["roi"]) for entry in sets)
    return {
        "verdicts": [
            {
                "variant": variant,
                "roi": roi,
                **_overall([e for e in sets if (e["variant"], e["roi"]) == (variant, roi)]),
            }
            for variant, roi in places
        ],
        "sets": sets,
        "converted": _judged(study, more, tests),
        "recovery": _recovery(study),
        "overlap": _overlap(study),
        "few_images": _few_images(study),
        "negative_layers": _negative_layers(features),
        "expected": [{"clusters": k, "identification": validity.expected_from_clusters(k)} for k in validity.CLUSTERS],
        "thresholds": {
            "alpha": validity.ALPHA,
            "relabellings": validity.DRAWS,
            "few_images": validity.FEW_IMAGES,
            "poor_recovery": validity.POOR_RECOVERY,
        },
    }


def _judged(study: Study, splits: Sequence[str], tests: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the judged sets of images of some splits; none without an image that shows a stimulus."""
    found = [
        _judge(study, variant, place, tests)
        for variant in study.reconstruct
        for place in study.image_sets(variant)
        if place[0] in splits and study.datasets[place[2]].identification
    ]
    return [entry for entry in found if entry["n_images"]]


def _overall(sets: Sequence[Entry]) -> dict[str, Any]:
    return {
        "verdict": validity.overall([validity.Verdict(e["verdict"], tuple(e["untested"])) for e in sets]),
        "n_sets": len(sets),
        "untested": sorted({name for entry in sets for name in entry["untested"]}),
    }


def _judge(study: Study, variant: str, place: tuple[str, str, str], tests: Sequence[Entry]) -> dict[str, Any]:
    """Judge the images of one variant, subject, ROI and dataset."""
    name, roi, dataset = place
    subject, _, split = name.partition(".")
    workspace = layout.workspace_of(study)
    items, table = read_shown(study, name, dataset), images.read_table(workspace)
    shown = np.flatnonzero(items.rows >= 0)
    own = {"variant": variant, "roi": roi, "dataset": dataset, "subject": subject, "n_images": 0}
    if split:
        own["split"] = split
    if not len(shown):
        return own
    stimuli, target = np.unique(items.rows[shown], return_inverse=True)
    names = [items.names[i] for i in shown]
    made = reconstructions(study, variant, place, names, size=(table.height, table.width))
    similarity = scores.pixel_similarity(made, images.read_images(workspace, stimuli))  # (items, stimuli)
    seed = seed_of(study.seed, "validity", variant, *place)
    category = [table.category[row] for row in stimuli]
    overall = validity.identification_within(similarity, target, ["all"] * len(stimuli), seed=seed)
    within = validity.identification_within(similarity, target, category, seed=seed + 1)
    network = study.reconstruct[variant].network
    key = {
        "split": split or "all",
        "subject": subject,
        "roi": roi,
        "dataset": dataset,
        "variant": variant,
        "network": network,
    }
    mine = [e for e in tests if e["metric"] in METRICS and all(e[name] == value for name, value in key.items())]
    compared = {name: [e for e in mine if e["baseline"] == name] for name in (EXEMPLAR, CLASS_MEAN)}
    found = validity.verdict(
        overall, within, above_class=above(compared[CLASS_MEAN]), above_exemplar=above(compared[EXEMPLAR])
    )
    fields = ("metric", "mean", "p_one", "p_two", "rank_biserial")
    return {
        **own,
        "n_images": len(stimuli),
        "verdict": found.name,
        "untested": list(found.untested),
        "identification": _identified(overall),
        "within_category": _identified(within),
        **{name: [{field: e[field] for field in fields} for e in rows] for name, rows in compared.items()},
    }


def above(compared: Sequence[Entry]) -> bool | None:
    """Return whether images are above a baseline: in one score (Holm over the scores), and below it in none.

    None without a comparison, and where so few images are compared that none could be above.
    """
    known = [e for e in compared if e["p_one"] is not None]
    if not known or max(e["n"] for e in known) < validity.fewest_images(len(known)):
        return None
    better = hypotheses.holm([e["p_one"] for e in known]) < validity.ALPHA
    worse = [e["mean"] < 0 and e["p_two"] < validity.ALPHA for e in known]
    return bool(better.any()) and not any(worse)


def _identified(found: validity.Identified) -> dict[str, Any]:
    return {
        "n_items": found.n_items,
        "n_groups": found.n_groups,
        "mean": found.mean if found.n_items else None,
        "p": found.p if found.is_tested else None,
    }


def _recovery(study: Study) -> list[dict[str, Any]]:
    """Return how like their stimuli images from true features are, of each variant that tried."""
    rows = []
    for variant in study.reconstruct:
        folder = layout.recovery_file(study, variant, "any").parent
        values = [float(read_json(path)["pixel_correlation"]) for path in sorted(folder.glob("*.json"))]
        if values:
            mean = float(np.mean(values))
            rows.append({"variant": variant, "n": len(values), "mean": mean, "poor": mean < validity.POOR_RECOVERY})
    return rows


def _overlap(study: Study) -> list[dict[str, Any]]:
    """Return what test datasets share with the training images of a subject: stimuli, or other ones of equal bytes."""
    workspace = layout.workspace_of(study)
    labels = images.read_table(workspace).labels
    digests: dict[int, bytes] = {}
    rows = []
    for subject in study.subjects:
        training = training_rows(study, subject, required=False)
        known = dict(zip(_digests(study, training, digests), training.tolist(), strict=True))
        for dataset in study.test_datasets(subject):
            shown = read_shown(study, subject, dataset).rows
            test = np.unique(shown[shown >= 0])
            same = np.intersect1d(test, training)
            others = np.setdiff1d(test, training)
            equal = [
                (row, known[key])
                for row, key in zip(others, _digests(study, others, digests), strict=True)
                if key in known
            ]
            if len(same) or equal:
                rows.append(
                    {
                        "subject": subject,
                        "dataset": dataset,
                        "n_same": len(same),
                        "n_equal": len(equal),
                        "examples": [labels[row] for row in same[:_EXAMPLES]]
                        + [f"{labels[a]} = {labels[b]}" for a, b in equal[:_EXAMPLES]],
                    }
                )
    return rows


def _digests(study: Study, rows: Array, known: dict[int, bytes]) -> list[bytes]:
    """Return a digest of each image's bytes; `known` keeps them, so that each image is read once for all subjects."""
    new = np.array([row for row in rows.tolist() if row not in known], np.int64)
    for start, stop in ranges(len(new), _AT_ONCE):
        block = images.read_images(layout.workspace_of(study), new[start:stop])
        found = (hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in block)
        known.update(zip(new[start:stop].tolist(), found, strict=True))
    return [known[row] for row in rows.tolist()]


def _few_images(study: Study) -> list[dict[str, Any]]:
    """Return the test datasets with fewer than `FEW_IMAGES` stimuli, each once."""
    found: dict[str, int] = {}
    for subject in study.subjects:
        for dataset in study.test_datasets(subject):
            rows = read_shown(study, subject, dataset).rows
            n = len(np.unique(rows[rows >= 0]))
            if n:
                found[dataset] = min(n, found.get(dataset, n))
    return [{"dataset": name, "n_images": n} for name, n in found.items() if n < validity.FEW_IMAGES]


def _negative_layers(features: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the layers in which more than half of the images have a pattern correlation of 0 or less."""
    mine = features[(features["metric"] == "pattern_correlation") & (features["split"] == "all")]
    mine = mine[mine["value"].notna()]
    keys = ["subject", "roi", "dataset", "network", "layer"]
    rows = []
    for names, group in mine.groupby(keys, sort=False):
        share = float((group["value"] <= 0).mean())
        if share > 0.5:
            rows.append({**dict(zip(keys, map(str, names), strict=True)), "share": share, "n": len(group)})
    return rows
