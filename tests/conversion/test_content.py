"""Converters that learn from the target's decoders: what they learn from, and that they go on where they stopped."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_recon import convert, extract, fit, simulate
from hpc_recon.conversion import blocks, content, planning
from hpc_recon.core import deadline
from hpc_recon.core.errors import Unfinished
from hpc_recon.core.loading import load_study
from hpc_recon.stores import layout, shapes

SPLIT = "S2.from-S1"
TRAINING = {"steps": 60, "check_every": 5, "checkpoint_every": 5, "learning_rate": 0.01, "at_once": 20}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, run_verb):
    """Two subjects, and the decoders of the second."""
    import yaml

    folder = tmp_path_factory.mktemp("content")
    written = {
        "name": "content",
        "workspace": str(folder / "runs"),
        "subjects": ["S1", "S2"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"image_size": 16, "n_training": 60, "n_natural": 6, "n_voxels": 60, "training_repeats": 2},
        "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
        "units": 30,
        "fit": {"n_voxels": 20, "alpha": 10.0},
        "convert": {"pairs": ["S1-S2"], "method": "content_loss", "content": TRAINING, "permutations": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(written))
    study = load_study(folder / "study.yaml", [])
    for verb in (simulate, extract, fit):
        run_verb(verb, study)
    return study


def copy(study, folder):
    shutil.copytree(study.workspace, folder / "runs")
    return study.model_copy(update={"workspace": folder / "runs"})


def the_tile(study):
    (tile,) = [t for t in planning.tiles(study, shapes.read(study)) if t.stage == "converters"]
    return tile


def test_what_it_learns_is_what_the_decoders_should_decode(fitted, tmp_path, run_verb):
    study = copy(fitted, tmp_path)
    run_verb(convert, study)
    with layout.conversion_file(study, SPLIT, name="content.csv").open() as file:
        losses = [(int(row["step"]), float(row["held_out"])) for row in csv.DictReader(file)]
    note = json.loads(layout.conversion_file(study, SPLIT, name="chosen-VC.json").read_text())
    assert losses[0][0] == 0
    assert note["held_out_loss"] == min(loss for _, loss in losses[1:]) < 0.9 * losses[0][1]
    found = content.examples(study, SPLIT)
    assert note["held_out_stimuli"] == 6
    assert {row: {bool(h) for h in found.held_out[found.row == row]} for row in found.row.tolist()} == {
        row: {bool(found.held_out[found.row == row][0])} for row in found.row.tolist()
    }, "all repeats of a stimulus are held out, or none"
    # What is stored is what was kept: the loss of held-out samples, computed from the blocks and the decoders.
    shown, number = np.unique(found.row, return_inverse=True)
    (judge,) = content.judges(study, SPLIT, shown)
    ((_, block),) = blocks.read(study, SPLIT)
    Z = found.Z[found.held_out].astype(np.float64) @ block.dense() + block.bias
    decoded = np.einsum("nuk,uk->nu", Z[:, judge.voxel], judge.weight) + judge.bias
    loss = ((decoded - judge.wanted[number[found.held_out]]) ** 2).mean()
    assert loss == pytest.approx(note["held_out_loss"], rel=1e-4)
    assert not layout.conversion_file(study, SPLIT, name="content.running.pt").exists()


def train(study, run_verb):
    """Train the converter, with its receipt."""
    run_verb(SimpleNamespace(plan=lambda *_: [the_tile(study)], prepare=convert.prepare, work=convert.work), study)


def test_stopped_at_the_end_of_a_job_it_goes_on_to_the_same_bits(fitted, tmp_path, monkeypatch, run_verb):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, stopped = copy(fitted, tmp_path / "a"), copy(fitted, tmp_path / "b")
    train(whole, run_verb)
    monkeypatch.setattr(deadline, "seconds_left", lambda: 1.0)
    for _ in range(2):
        with pytest.raises(Unfinished, match="a checkpoint is kept"):
            content.write(stopped, the_tile(stopped))
    monkeypatch.setattr(deadline, "seconds_left", lambda: None)
    train(stopped, run_verb)
    ((_, first),), ((_, second),) = blocks.read(whole, SPLIT), blocks.read(stopped, SPLIT)
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.bias, second.bias)
