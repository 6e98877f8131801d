"""Parts of a training: cut, interrupted, killed, they end with the very bits of a training in one go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from hpc_recon import train
from hpc_recon.core.errors import DataError, MissingStore
from hpc_recon.core.loading import save_study
from hpc_recon.methods import end_to_end, trainers
from hpc_recon.stores import checks, layout, shapes
from hpc_recon.training import parts
from hpc_recon.training.models import Model


def tensors(value, name=""):
    """Yield every tensor and number of a state."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from tensors(item, f"{name}.{i}")
    else:
        yield name, value


def same(one: trainers.Checkpoint, two: trainers.Checkpoint) -> bool:
    pairs = list(zip(tensors(dict(one.trainer)), tensors(dict(two.trainer)), strict=True))
    assert len(pairs) > 30
    return all(a[0] == b[0] and (torch.equal(a[1], b[1]) if torch.is_tensor(a[1]) else a[1] == b[1]) for a, b in pairs)


def last(study, step=10):
    return trainers.read(Model(study, "e2e", "S1", "VC").checkpoint(step), remedy="")


def test_parts_end_where_one_go_ends(trainable, run_verb, tmp_path):
    cut, _ = trainable({"workspace": str(tmp_path / "cut")})
    run_verb(train, cut)
    more = {"steps_per_tile": 10, "loading_threads": 3, "pictures_every": 3}
    whole, _ = trainable({"workspace": str(tmp_path / "whole")}, **more)
    run_verb(train, whole)
    assert same(last(cut), last(whole))
    folder = Model(cut, "e2e", "S1", "VC").folder
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        *(f"examples-{n:08d}.png" for n in (4, 8, 10)),
        *(f"losses-{n:08d}.csv" for n in (0, 4, 8)),
        *(f"step-{n:08d}.pt" for n in (4, 8, 10)),
    ]
    table = "".join(path.read_text().split("\n", 1)[1] for path in sorted(folder.glob("losses-*.csv")))
    other = Model(whole, "e2e", "S1", "VC")
    shown = [other.grid(n) for n in (3, 6, 9, 10)]
    assert sorted(other.folder.glob("examples-*.png")) == shown
    assert shown[-1].read_bytes() == Model(cut, "e2e", "S1", "VC").grid(10).read_bytes() != shown[0].read_bytes()
    for path in shown:
        assert checks.group_records(layout.workspace_of(whole), other.key)[f"models/e2e/S1/VC/{path.name}"]
    own = other.losses(0).read_text()
    assert own.split("\n", 1)[1] == table
    assert [line.partition(",")[0] for line in table.splitlines()] == [str(n) for n in range(1, 11)]


def test_a_training_that_is_killed_goes_on_to_the_very_bits(trainable, run_verb, tmp_path):
    """kill -9 in the middle of a part, which then goes on from its own checkpoint, not from its beginning."""
    whole, _ = trainable({"workspace": str(tmp_path / "whole")}, steps_per_tile=10)
    run_verb(train, whole)
    study, _ = trainable({"workspace": str(tmp_path / "killed")}, steps_per_tile=10, pictures_every=2)
    first = [tile for tile in train.plan(study, shapes.read(study)) if tile.stage == "images"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "plan", lambda *_: first)
        run_verb(train, study)
    text = tmp_path / "killed.yaml"
    text.write_text(save_study(study))
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom hpc_recon import train\n"
        "from hpc_recon.core.loading import load_study\nfrom hpc_recon.stores import shapes\n"
        "from hpc_recon.methods.end_to_end import EndToEndTrainer\nfrom hpc_recon.training.models import Model\n"
        "plain = EndToEndTrainer.step\n"
        "steps = iter([0.0] * 6)\n"
        "def slow(self, batch):\n    time.sleep(next(steps, 600.0))\n    return plain(self, batch)\n"
        "EndToEndTrainer.step = slow\nModel.made_by = property(lambda self: 'x')\n"
        f"study = load_study(Path({str(text)!r}))\n"
        "train.work(study, train.plan(study, shapes.read(study))[-1])\n"
    )
    running = Model(study, "e2e", "S1", "VC").running(0)
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "HPC_RECON_THREADS": "1"})
    limit = time.monotonic() + 400
    reached = 0
    while reached < 3:
        assert process.poll() is None
        assert time.monotonic() < limit
        if running.is_file():
            reached = trainers.read(running, remedy="").step
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = trainers.read(running, remedy="")
    assert 3 <= found.step < 10
    assert not Model(study, "e2e", "S1", "VC").checkpoint(10).exists()
    done = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "made_by", property(lambda self: "x"))
        plain = parts.loop.run

        def noting(trainer, batch, progress, **more):
            done.append(progress.step)
            plain(trainer, batch, progress, **more)

        patch.setattr(parts.loop, "run", noting)
        run_verb(train, study)
    assert done == [found.step]
    assert same(last(study), last(whole))
    assert not running.exists()
    records = checks.group_records(layout.workspace_of(study), "train/e2e/S1/VC")
    assert [n for n in range(1, 11) if f"models/e2e/S1/VC/examples-{n:08d}.png" in records] == [2, 4, 6, 8, 10]


def test_a_checkpoint_of_another_training_or_a_torn_one_is_left_out(trainable, run_verb, tmp_path, caplog):
    study, _ = trainable(steps=4)
    run_verb(train, study)
    expected, model = last(study, 4), Model(study, "e2e", "S1", "VC")
    trainers.save(model.running(0), trainers.Checkpoint(2, "another", {}, {}))
    run_verb(train, study)
    assert same(last(study, 4), expected)
    model.running(0).write_bytes(b"torn")
    run_verb(train, study)
    assert "cannot be read" in caplog.text
    assert same(last(study, 4), expected)


def test_more_steps_go_on_from_where_fewer_ended(trainable, run_verb, tmp_path):
    study, _ = trainable(steps=4)
    run_verb(train, study)
    longer = study.model_copy(update={"train": {"e2e": study.train["e2e"].model_copy(update={"steps": 8})}})
    tiles = train.plan(longer, shapes.read(longer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "plan", lambda *_: tiles[-1:])
        run_verb(train, longer)
    whole, _ = trainable({"workspace": str(tmp_path / "whole")}, steps=8, steps_per_tile=8)
    run_verb(train, whole)
    assert same(last(longer, 8), last(whole, 8))


def test_a_part_whose_beginning_is_missing_says_so(trainable, run_verb):
    study, _ = trainable()
    tiles = train.plan(study, shapes.read(study))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "plan", lambda *_: [tiles[0], tiles[2]])
        with pytest.raises(MissingStore, match="go on from step 4, which was not reached; run train without --only"):
            run_verb(train, study)


def test_a_training_that_diverges_is_no_result(trainable, run_verb):
    study, _ = trainable(steps=3, adam={"learning_rate": 1e18}, losses={"feature": 0, "adversarial": 0})
    with pytest.raises(DataError, match=r"has diverged: .*lower the learning rate \(adam\.learning_rate"):
        run_verb(train, study)


def test_a_training_that_diverges_stops_at_the_next_checkpoint(trainable, run_verb, monkeypatch):
    """It went on to the end of its part, of 50,000 steps by default, and kept checkpoints of nothing."""
    losses = {"feature": 0, "adversarial": 0}
    study, _ = trainable(steps=40, steps_per_tile=40, checkpoint_every=5, adam={"learning_rate": 1e18}, losses=losses)
    steps, step = [], end_to_end.EndToEndTrainer.step
    monkeypatch.setattr(end_to_end.EndToEndTrainer, "step", lambda *given: [steps.append(1), step(*given)][1])
    with pytest.raises(DataError, match="has diverged"):
        run_verb(train, study)
    assert len(steps) == 5
    assert not list(Model(study, "e2e", "S1", "VC").folder.glob("*.pt"))


def test_other_seeds_are_other_networks(trainable, run_verb):
    study, _ = trainable(steps=2, seeds=[0, 1], losses={"feature": 0, "adversarial": 0})
    run_verb(train, study)
    one, two = (trainers.read(Model(study, f"e2e.seed{seed}", "S1", "VC").checkpoint(2), remedy="") for seed in (0, 1))
    weights = [c.trainer["generator"]["defc7.weight"].numpy() for c in (one, two)]
    assert not np.array_equal(*weights)
