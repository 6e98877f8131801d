"""Files of a trained network: what is read must be what its receipt describes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hpc_recon import train
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.training import models
from hpc_recon.training.data import Scaling
from hpc_recon.training.models import Model


def test_checkpoints_are_compared_with_their_receipts(trainable, run_verb):
    study, _ = trainable(steps=2, steps_per_tile=1, losses={"feature": 0, "adversarial": 0})
    model = Model(study, "e2e", "S1", "VC")
    with pytest.raises(MissingStore, match=r"was never trained; run .*hpc_recon.train"):
        _ = model.made_by
    run_verb(train, study)
    assert model.read(2).step == 2
    with pytest.raises(MissingStore, match=r"was not trained to step 3; run .*hpc_recon.train"):
        model.read(3)
    one, two = (model.checkpoint(step) for step in (1, 2))
    good = two.read_bytes()
    two.write_bytes(one.read_bytes())
    with pytest.raises(DamagedStore, match="not the one that its receipt describes; make it anew"):
        model.read(2)
    two.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DamagedStore, match="receipt describes"):
        model.read(2)
    two.unlink()
    with pytest.raises(DamagedStore, match="absent; make it anew"):
        model.read(2)


def test_a_scaling_survives(tmp_path):
    given = Scaling(np.linspace(0, 1, 4), np.arange(4.0), 5.5)
    found = models.scaling_of(models.trainers.Checkpoint(0, "", {}, given.arrays()))
    np.testing.assert_array_equal(found.mean, given.mean)
    assert found.n_averaged == 5.5


def test_losses_and_pictures_are_written(tmp_path):
    path = models.write_losses(tmp_path / "l.csv", [[5, 1.5, float("nan")]], columns=("pixel", "feature"))
    assert path.read_text() == "step,pixel,feature\n5,1.5,\n"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 5, 3)).astype(np.uint8)
    sheet = np.asarray(Image.open(models.write_grid(tmp_path / "g.png", pictures)))
    np.testing.assert_array_equal(sheet[:4, 5:10], pictures[1, 0])
    np.testing.assert_array_equal(sheet[4:, 10:], pictures[2, 1])
