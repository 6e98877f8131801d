"""What the control without clusters says: images of stimuli whose kind was never trained, beside the same with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.sampling import seed_of
from hpc_recon.evaluation import controls
from hpc_recon.evaluation.images import reconstructions
from hpc_recon.numerics import scores, validity
from hpc_recon.stores import images, layout
from hpc_recon.stores.items import read_shown


def sets(study: Study) -> list[dict[str, Any]]:
    """Return how a subject's images are identified with all training samples, and without those of their cluster.

    Every image is held against all test stimuli of the control, by r over pixels, whichever samples its decoders were
    trained on.

    Returns
    -------
    list of dict
        One a variant, ROI, dataset and subject: `n_images`, `n_clusters` (held out in turn), `all` and `held_out` (each
        the mean share of other stimuli that are less like the image, and p from relabelling the stimuli),
        `generalises` (p of `held_out` below alpha), `leaks` (never: this control cannot tell).
    """
    derived = controls.derive(study, "clusters")
    assert derived.control_of is not None
    found = []
    for variant in derived.reconstruct:
        places = derived.image_sets(variant)
        for whole, roi, dataset in places:
            if whole in derived.control_of.held_out:
                continue
            subject = derived.control_of.subjects[whole]
            parts = [
                name
                for name, held in derived.control_of.subjects.items()
                if held == subject and (name, roi, dataset) in places and name != whole
            ]
            place = {"variant": variant, "roi": roi, "dataset": dataset, "subject": subject}
            found.append({**place, **_compared(derived, variant, (roi, dataset), whole=whole, parts=parts)})
    return found


def _compared(study: Study, variant: str, place: tuple[str, str], *, whole: str, parts: list[str]) -> dict[str, Any]:
    roi, dataset = place
    workspace = layout.workspace_of(study)
    table = images.read_table(workspace)
    items = read_shown(study, whole, dataset)
    stimuli, target = np.unique(items.rows[items.scored], return_inverse=True)
    true = images.read_images(workspace, stimuli)

    def similar(split: str) -> tuple[list[str], Array]:
        own = read_shown(study, split, dataset)
        names = [own.names[i] for i in own.scored]
        made = reconstructions(study, variant, (split, roi, dataset), names, size=(table.height, table.width))
        return names, scores.pixel_similarity(made, true)  # (items, stimuli)

    names, with_all = similar(whole)
    row = {name: i for i, name in enumerate(names)}
    without = np.full_like(with_all, np.nan)
    for split in parts:
        shown, alike = similar(split)
        without[[row[name] for name in shown]] = alike
    seed = seed_of(study.seed, "clusters", variant, whole, *place)
    one = ["all"] * len(stimuli)
    known, held = (validity.identification_within(alike, target, one, seed=seed) for alike in (with_all, without))
    return {
        "n_images": held.n_items,
        "n_clusters": len(parts),
        "all": _told(known),
        "held_out": _told(held),
        "generalises": held.is_tested and held.p < validity.ALPHA,
        "leaks": False,
    }


def _told(found: validity.Identified) -> dict[str, float | None]:
    return {"mean": found.mean if found.n_items else None, "p": found.p if found.is_tested else None}
