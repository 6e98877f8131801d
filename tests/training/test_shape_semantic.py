"""Tiles of shape-semantic training: inputs first, what they depend on, and parts that end where one go ends."""

from __future__ import annotations

import pytest
import torch

from hpc_recon import train
from hpc_recon.core.errors import DataError
from hpc_recon.methods import trainers
from hpc_recon.methods.shape_semantic import ShapeSemanticTrainer
from hpc_recon.stores import shapes
from hpc_recon.training import Place, shape_semantic
from hpc_recon.training.models import Model

PLACE = Place("fused", "S1", "VC")


def changed(study, **changes):
    entry = study.train["fused"].model_copy(update=changes)
    return study.model_copy(update={"train": {"fused": entry}})


def test_inputs_come_before_parts_and_name_what_they_read(shape_study):
    tiles = train.plan(shape_study, shapes.read(shape_study))
    assert [(tile.group.key, tile.stage) for tile in tiles] == [
        ("train/_inputs/fused/S1/VC", "inputs"),
        ("train/fused/S1/VC", "part001"),
        ("train/fused/S1/VC", "part002"),
    ]
    assert tiles[0].group.upstream == (
        *("ingest/S1", "ingest/stimuli", "extract/shape"),
        *("fit/S1/V1/_out_of_fold/shape/pixels", "fit/S1/V2/_out_of_fold/shape/pixels"),
    )
    assert tiles[1].group.upstream == ("train/_inputs/fused/S1/VC", "ingest/stimuli")
    assert all(tile.need.host_bytes > 0 and tile.need.seconds > 0 for tile in tiles)


def test_a_layer_that_is_no_image_is_refused_before_anything_is_trained(shape_study, monkeypatch):
    monkeypatch.setattr(shapes.StoreShapes, "unit_shape", lambda *_: (1, 4, 16))
    with pytest.raises(DataError, match="square grid of 1 or 3 channels, but pixels of shape is 1 x 4 x 16"):
        train.plan(shape_study, shapes.read(shape_study))


def test_inputs_depend_on_what_makes_them_alone(shape_study):
    sizes = shapes.read(shape_study)
    own = shape_semantic.inputs_group(shape_study, sizes, PLACE).settings
    for change in ({"width": 0.5}, {"batch": 3}, {"steps": 9}, {"learning_rate": 1.0}):
        assert shape_semantic.inputs_group(changed(shape_study, **change), sizes, PLACE).settings == own
    for change in ({"seed": 1}, {"folds": 3}, {"leave_out": ("fusion",)}):
        assert shape_semantic.inputs_group(changed(shape_study, **change), sizes, PLACE).settings != own
    settings = shape_semantic.group(shape_study, sizes, PLACE).settings
    assert shape_semantic.group(changed(shape_study, steps=99), sizes, PLACE).settings == settings
    assert shape_semantic.group(changed(shape_study, batch=3), sizes, PLACE).settings != settings


def test_numbers_of_the_vector_follow_the_options(shape_study):
    sizes = shapes.read(shape_study)
    semantic = shape_study.train["fused"].semantic
    for change, expected in (
        ({}, 4),
        ({"target": "kmeans", "network": "embedding", "clusters": 3, "decoder": "linear"}, 3),
        ({"target": "embedding", "network": "embedding", "decoder": "linear"}, 64),
    ):
        study = changed(shape_study, semantic=semantic.model_copy(update=change))
        assert shape_semantic.n_semantic(study, sizes, PLACE) == expected
    assert shape_semantic.n_semantic(changed(shape_study, leave_out=("semantics",)), sizes, PLACE) == 0


def test_a_training_in_one_go_and_one_interrupted_end_alike(shape_study, run_verb, monkeypatch):
    """The fixture trained 2 + 2 steps; one part of 4 that ends after 3 and goes on reaches the same bits."""
    expected = trainers.read(Model(shape_study, "fused", "S1", "VC").checkpoint(4), remedy="").trainer
    entry = shape_study.train["fused"].model_copy(update={"steps_per_tile": 4})
    whole = shape_study.model_copy(update={"train": {"whole": entry}})
    model, step = Model(whole, "whole", "S1", "VC"), ShapeSemanticTrainer.step

    def ends(self, batch):
        if self.n_steps == 3:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ShapeSemanticTrainer, "step", ends)
        with pytest.raises(KeyboardInterrupt):
            run_verb(train, whole)
    assert trainers.read(model.running(0), remedy="").step == 3
    run_verb(train, whole)
    found = trainers.read(model.checkpoint(4), remedy="").trainer
    assert found["steps"] == 4
    for name in ("generator", "discriminator"):
        assert all(torch.equal(found[name][key], expected[name][key]) for key in expected[name])
