"""Tiles of a training: parts in order, networks side by side; every method has a module that plans it."""

from __future__ import annotations

from typing import get_args

import pytest

from hpc_recon import train
from hpc_recon.core import config
from hpc_recon.methods.trainers import TRAINERS
from hpc_recon.stores import shapes
from hpc_recon.training import LEARNERS, Learner, learner


def plan(study):
    return train.plan(study, shapes.read(study))


def test_parts_follow_each_other_and_networks_are_side_by_side(trainable):
    study, _ = trainable({"rois": ["VC", "V1"]}, seeds=[0, 1])
    tiles = plan(study)
    assert [tile.stage for tile in tiles] == ["images", *["part001"] * 4, *["part002"] * 4, *["part003"] * 4]
    own = [tile for tile in tiles if tile.group.path == ("e2e.seed1", "S1", "V1")]
    assert [(tile.start, tile.stop) for tile in own] == [(0, 4), (4, 8), (8, 10)]
    assert own[0].group.upstream == ("simulate/S1", "train/_images-40")


def test_more_than_999_parts_stay_in_order(trainable):
    """As text, part1000 stands before part101: it would have begun at a checkpoint that is not there yet."""
    study, _ = trainable(steps=2002, steps_per_tile=2)
    starts = [tile.start for tile in plan(study) if tile.stage != "images"]
    assert starts == sorted(starts)
    assert starts[-1] == 2000


def test_a_study_without_networks_has_no_tiles(decodable):
    assert plan(decodable()[0]) == []


def test_the_tables_name_every_method():
    methods = [get_args(own.model_fields["method"].annotation)[0] for own in get_args(get_args(config.Train)[0])]
    assert list(LEARNERS) == methods == list(TRAINERS)


@pytest.mark.parametrize("method", LEARNERS)
def test_a_module_has_the_functions_of_the_contract(method):
    functions = [name for name in vars(Learner) if not name.startswith("_")]
    assert len(functions) == 7
    assert all(callable(getattr(learner(method), name)) for name in functions)
