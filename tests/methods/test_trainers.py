"""The contract of trainers, random state, and checkpoints."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import trainers


def test_every_trainer_of_the_table_is_there():
    for module in trainers.TRAINERS.values():
        assert callable(importlib.import_module(module).trainer)
    given = EndToEndTraining(
        method="end_to_end", profile="tiny", crop=36, image_size=36, losses={"feature": 0, "adversarial": 0}
    )
    with trainers.own_randomness("cpu"):
        found = trainers.make(given, n_voxels=3, seed=0, device="cpu")
    assert "pixel" in found.columns


def test_randomness_is_given_back():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with trainers.own_randomness("cpu"):
        torch.manual_seed(2)
        torch.rand(5)
    assert torch.equal(torch.rand(3), expected)


def test_a_random_state_is_continued():
    with trainers.own_randomness("cpu"):
        torch.manual_seed(3)
        state = trainers.random_state("cpu")
        expected = torch.rand(4)
        trainers.set_random_state(state, "cpu")
        assert torch.equal(torch.rand(4), expected)


def test_a_checkpoint_is_read_back_and_a_damaged_one_refused(tmp_path):
    given = trainers.Checkpoint(4, "abc", {"x": torch.arange(3), "names": ["a"]}, {"mean": np.linspace(0, 1, 5)})
    path = trainers.save(tmp_path / "deep" / "a.pt", given)
    found = trainers.read(path, remedy="start again")
    assert (found.step, found.made_by, found.trainer["names"]) == (4, "abc", ["a"])
    assert found.trainer["x"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.arrays["mean"], given.arrays["mean"])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedStore, match=r"cannot be read \(.*\); start again"):
        trainers.read(path, remedy="start again")
    torch.save({"state": 1}, path)
    with pytest.raises(DamagedStore, match="not a checkpoint of format 1; start again"):
        trainers.read(path, remedy="start again")
    path.unlink()
    with pytest.raises(DamagedStore, match="absent; start again"):
        trainers.read(path, remedy="start again")
