"""Tiles of a layer from voxels to latents: what changes its group, what its parts need, what is refused."""

from __future__ import annotations

import json

import pytest
import torch

from hpc_recon import extract, ingest, train
from hpc_recon.core.errors import StudyError
from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.methods import trainers
from hpc_recon.stores import shapes
from hpc_recon.training.models import Model

FEATURES = {"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv1_1"], "image_size": 16}
ENTRY = {"method": "latent_layer", "network": "z", "generator": {"kind": "pggan", "weights": "g.pt"}, "steps": 10}


def test_tiles_and_their_groups(latent_study, run_verb):
    study = latent_study(train={"layer": {**ENTRY, "steps_per_tile": 4}})
    run_verb(ingest, study)
    run_verb(extract, study)
    sizes = shapes.read(study)

    def tiles(**changes):
        options = LatentLayerTraining.model_validate(
            {**study.train["layer"].model_dump(), "generator": study.train["layer"].generator, **changes}
        )
        return train.plan(study.model_copy(update={"train": {"layer": options}}), sizes)

    plain = tiles()
    assert [(tile.stage, tile.start, tile.stop) for tile in plain] == [
        *(("part001", 0, 4), ("part002", 4, 8), ("part003", 8, 10))
    ]
    group = plain[0].group
    assert group.key == "train/layer/S1/VC"
    assert group.upstream == ("ingest/S1", "ingest/stimuli", "extract/z")
    assert "sha256" in json.dumps(json.loads(group.settings)["options"]["generator"])
    for same in ({"steps": 20}, {"log_every": 1}, {"loading_threads": 2}):
        assert tiles(**same)[0].group.settings == group.settings, same
    for other in ({"batch": 5}, {"weight_decay": 0.0}, {"features": FEATURES}, {"inputs": "z_scored"}):
        assert tiles(**other)[0].group.settings != group.settings, other
    heavier = tiles(features=FEATURES)
    assert json.loads(heavier[0].group.settings)["options"]["features"]["layers"] == ["conv1_1"]
    assert heavier[0].need.seconds > plain[0].need.seconds
    many = tiles(features={**FEATURES, "images_at_once": 1000})
    assert many[0].need.host_bytes > heavier[0].need.host_bytes
    assert tiles(seconds_per_step=2.0)[0].need.seconds > 8

    with pytest.raises(StudyError, match="reads 512 numbers, but the layers of z have 6"):
        tiles(generator={"kind": "pggan", "weights": "random:0", "resolution": 8})
    with pytest.raises(StudyError, match="conv9"):
        tiles(features={**FEATURES, "layers": ["conv9"]})


def stopping(original, n):
    """Return `trainers.make` whose trainers are interrupted after n steps."""

    def make(*args, **keys):
        made = original(*args, **keys)
        step, done = made.step, []

        def once(batch):
            if len(done) == n:
                raise KeyboardInterrupt
            done.append(batch)
            return step(batch)

        made.step = once
        return made

    return make


def test_parts_end_with_the_bits_of_one_go(latent_study, run_verb, tmp_path, monkeypatch):
    """With a loss of features, cut in parts, and interrupted within one."""
    found, original = [], trainers.make
    for name, per_tile in (("whole", 10), ("cut", 4)):
        entry = {**ENTRY, "features": FEATURES, "steps_per_tile": per_tile, "checkpoint_every": 1, "log_every": 1}
        study = latent_study(workspace=str(tmp_path / name), train={"layer": {**entry, "batch": 6}})
        for verb in (ingest, extract):
            run_verb(verb, study)
        model = Model(study, "layer", "S1", "VC")
        if name == "cut":
            monkeypatch.setattr(trainers, "make", stopping(original, 3))
            with pytest.raises(KeyboardInterrupt):
                run_verb(train, study)
            monkeypatch.setattr(trainers, "make", original)
            assert model.running(0).is_file()
        run_verb(train, study)
        assert model.grid(10).is_file()
        rows = "".join(path.read_text().split("\n", 1)[1] for path in sorted(model.folder.glob("losses-*.csv")))
        found.append((trainers.read(model.checkpoint(10), remedy="").trainer, rows))
    (whole, rows), (cut, others) = found
    assert torch.equal(whole["weight"], cut["weight"])
    assert torch.equal(whole["adam"]["state"][0]["exp_avg"], cut["adam"]["state"][0]["exp_avg"])
    assert rows == others
    assert rows.count("\n") == 10
