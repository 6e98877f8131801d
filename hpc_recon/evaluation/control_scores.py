"""What finished controls say: how well images made from brains that can tell nothing, or less, are identified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_recon.core import memory, receipts
from hpc_recon.core.config import Study
from hpc_recon.core.control_options import CONTROLS, ControlName
from hpc_recon.core.errors import DamagedStore, ReconError
from hpc_recon.core.files import read_json
from hpc_recon.core.loading import save_study
from hpc_recon.evaluation import cluster_scores, controls
from hpc_recon.numerics import validity
from hpc_recon.stores import checks, images, layout

NAME = "controls.json"
COMMAND = "python -m hpc_recon.control"
#: What may be said of a control.
FINISHED, CHANGED, NOT_RUN = "finished", "changed", "not run"


def state(study: Study, name: ControlName) -> str:
    """Return whether a control is finished, was finished for another state of the study, or was not run to its end."""
    workspace = controls.workspace_of(study, name)
    if not _card(workspace).is_file() or not checks.group_records(workspace, "evaluate/tables"):
        return NOT_RUN
    try:
        derived = controls.derive(study, name)
        now = controls.content(derived)
    except ReconError:  # what it was made of is gone, or the study has none any more
        return CHANGED
    if (workspace / "study.yaml").read_text(encoding="utf-8") != save_study(derived):
        return CHANGED
    made = [_made_of(workspace, subject) for subject in derived.subjects]
    return FINISHED if all(one == now for one in made) else CHANGED


def _card(workspace: Path) -> Path:
    return workspace / "scores" / "validity.json"


def _made_of(workspace: Path, subject: str) -> Any:
    found = receipts.group_fingerprint(workspace, f"control/{subject}")
    return None if found is None else found["settings"]["of"]


def digest(study: Study) -> str | None:
    """Return a digest of the state and the scores of all controls; None where none was run to its end."""
    states = {name: state(study, name) for name in CONTROLS}
    if set(states.values()) == {NOT_RUN}:
        return None
    value = hashlib.sha256(json.dumps(states).encode())
    for name, found in states.items():
        if found == FINISHED:
            folder = _card(controls.workspace_of(study, name)).parent
            value.update((folder / "validity.json").read_bytes() + (folder / "images.csv").read_bytes())
    return value.hexdigest()


def need(study: Study) -> tuple[int, float]:
    """Return bytes that `collect` holds, and seconds: only the control without clusters reads images."""
    if state(study, "clusters") != FINISHED:
        return 2**24, 0.0
    table = images.read_table(layout.workspace_of(study))
    image = memory.array_bytes(table.height, table.width, 3, itemsize=8)
    n_sets = sum(len(study.image_sets(variant)) for variant in study.reconstruct)
    return 2**24 + 4 * study.controls.images * image, 0.2 * n_sets * (1 + study.controls.clusters)


def collect(study: Study) -> dict[str, Any]:
    """Return what the controls of a study say, as plain values for JSON.

    Returns
    -------
    dict
        `controls`: one each, with its `state` (finished, changed or not run) and, if finished, its `sets`: variant,
        ROI, dataset and subject with the mean identification and the p of each repeat, and whether it `leaks`; `leaks`:
        variants and ROIs with a set that does; `rule`. The sets of `clusters` are those of `cluster_scores.sets`.
    """
    found = []
    for name in CONTROLS:
        entry: dict[str, Any] = {"name": name, "state": state(study, name), "sets": []}
        if entry["state"] == FINISHED:
            entry["sets"] = cluster_scores.sets(study) if name == "clusters" else _sets(study, name)
        found.append(entry)
    leaks = dict.fromkeys((s["variant"], s["roi"]) for e in found for s in e["sets"] if s["leaks"])
    return {
        "controls": found,
        "leaks": [{"variant": variant, "roi": roi} for variant, roi in leaks],
        "rule": {"alpha": validity.ALPHA, "relabellings": validity.DRAWS, "repeats": study.controls.repeats},
    }


def _sets(study: Study, name: ControlName) -> list[dict[str, Any]]:
    path = _card(controls.workspace_of(study, name))
    source = controls.derive(study, name).control_of
    assert source is not None
    try:
        judged = read_json(path)["sets"]
    except (ValueError, KeyError) as error:
        raise DamagedStore(f"{path} cannot be read ({error!r}); make it anew with `{COMMAND} --redo`") from error
    by_set: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for entry in judged:
        key = (entry["variant"], entry["roi"], entry["dataset"], source.subjects[entry["subject"]])
        by_set.setdefault(key, []).append(entry["identification"])
    return [
        {
            **dict(zip(("variant", "roi", "dataset", "subject"), key, strict=True)),
            "identification": [one["mean"] for one in own],
            "p": [one["p"] for one in own],
            "n_images": own[0]["n_items"],
            "leaks": leaks([one["p"] for one in own]),
        }
        for key, own in by_set.items()
    ]


def leaks(p: Sequence[float | None]) -> bool:
    """Return whether a set leaks: every repeat, of three or more, is identified beyond relabelled stimuli.

    >>> leaks([0.001, 0.04, 0.01]), leaks([0.001, 0.06, 0.01]), leaks([0.001, None, 0.01]), leaks([0.001, 0.001])
    (True, False, False, False)
    """
    return len(p) >= 3 and all(value is not None and value < validity.ALPHA for value in p)
