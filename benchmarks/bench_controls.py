"""How often do the controls say `leak` of an honest study, and do they say it of one that cheats?

Tiny simulated studies that differ by their seed, each with the controls of `python -m hpc_recon.control`: an honest
method (decoded pixels) and one that reads the true features of the test stimuli. Beside the rule (every repeat of three
or more is identified with p < .05) stands what a single repeat would have said.

    python benchmarks/bench_controls.py --studies 20 --output benchmarks/results/controls-tiny.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from give import give
from machine import machine

from hpc_recon import control, decode, evaluate, extract, fit, reconstruct, simulate
from hpc_recon.core import receipts
from hpc_recon.core.files import write_atomic, write_json
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.core.tiles import digest
from hpc_recon.evaluation import control_scores, controls
from hpc_recon.numerics.validity import ALPHA
from hpc_recon.stores import shapes

STUDY = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 12, "n_voxels": 80, "training_repeats": 1},
    "networks": {
        "image": {"architecture": "pixels", "layers": ["pixels"]},
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]},
    },
    "fit": {"n_voxels": 30, "alpha": 10.0},
    # The second method is one that reads the true features of the test stimuli instead of the decoded ones.
    "reconstruct": {
        "honest": {"method": "pixels", "network": "image", "images_per_tile": 12},
        "cheat": {"method": "icnn", "network": "vgg", "source": "true", "iterations": 3, "images_per_tile": 12},
    },
    "evaluate": {"resamples": 100},
}
NAMES = ("shuffled", "noise")


def run(verb, study):
    """Run all tiles of a command in this process, with their receipts."""
    tiles = verb.plan(study, shapes.read(study))
    verb.prepare(study)
    for key in dict.fromkeys(tile.group.key for tile in tiles):
        own = [tile for tile in tiles if tile.group.key == key]
        group = own[0].group
        upstream = {name: digest(dict(receipts.group_digests(study.workspace, name))) for name in group.upstream}
        fingerprint = group.fingerprint(upstream)
        content = {**fingerprint, "digest": digest(fingerprint), "tiles": dict(Counter(tile.stage for tile in own))}
        write_json(receipts.group_folder(study.workspace, group) / receipts.GROUP_FILE, content)
        for tile in own:
            receipts.write(study.workspace, tile, verb.work(study, tile), {})


def refit(study, name):
    """Run a control of a study that is simulated and extracted; return the control's own study."""
    text = save_study(controls.derive(study, name)).encode()
    derived = load_study(write_atomic(controls.workspace_of(study, name) / "study.yaml", text))
    for verb in (control, fit, decode, reconstruct, evaluate):
        run(verb, derived)
    return derived


def judged(folder, seed, repeats):
    """Return, by control and method, the p and the identification of each repeat of one study."""
    content = {**STUDY, "seed": seed, "workspace": str(folder / "runs"), "controls": {"repeats": repeats}}
    path = write_atomic(folder / "study.yaml", yaml.safe_dump(content).encode())
    study = load_study(path)
    run(simulate, study)
    run(extract, study)
    found = {}
    for name in NAMES:
        derived = refit(study, name)
        card = json.loads((derived.workspace / "scores" / "validity.json").read_text())
        for variant in study.reconstruct:
            own = [e["identification"] for e in card["sets"] if e["variant"] == variant]
            found[f"{name}, {variant}"] = {"p": [e["p"] for e in own], "identification": [e["mean"] for e in own]}
    return found


def rates(rows):
    """Return how often each control calls each method a leak, by the rule and by a single repeat."""
    result = {}
    for name in rows[0]["controls"]:
        own = [row["controls"][name] for row in rows]
        p = np.array([one["p"] for one in own])
        means = np.array([one["identification"] for one in own])
        result[name] = {
            "studies": len(own),
            "leaks": int(sum(control_scores.leaks(one["p"]) for one in own)),
            "single_repeats": p.size,
            "single_repeats_below_alpha": int((p < ALPHA).sum()),
            "identification": round(float(means.mean()), 4),
            "identification_lowest": round(float(means.min()), 4),
            "identification_highest": round(float(means.max()), 4),
        }
    return result


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20, help="seeds 0, 1, ...")
    parser.add_argument("--repeats", type=int, default=3, help="of each control")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(argv)
    rows = []
    for seed in range(options.studies):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            row = {"seed": seed, "controls": judged(Path(folder), seed, options.repeats)}
        row["seconds"] = round(time.perf_counter() - start, 1)
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    report = {"machine": machine(), "repeats": options.repeats, "rates": rates(rows), "rows": rows}
    return give(report, options.output)


if __name__ == "__main__":
    raise SystemExit(main())
