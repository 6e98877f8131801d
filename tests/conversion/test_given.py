"""A converter of a whole ROI, cut into blocks."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_recon.conversion import blocks, given, planning
from hpc_recon.core.errors import DataError
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.numerics.stats import mean_and_scale
from hpc_recon.stores import brain, shapes

SPLIT = "S2.from-S1"
TILE = Tile(Group("convert", ("converters", SPLIT)), "converters", 0, 1)


@pytest.fixture
def study(with_options, tmp_path):
    made = with_options(files={"S1-S2": tmp_path / "files"}, pairs=["S1-S2"], alpha="published", pool=[])
    shutil.copytree(made.workspace, tmp_path / "runs")
    return made.model_copy(update={"workspace": tmp_path / "runs"})


def matrix(study):
    rng = np.random.default_rng(0)
    mean, scale = mean_and_scale(brain.read_brain(study.workspace, "S1", "training").samples)
    return SimpleNamespace(
        M=rng.normal(size=(61, 60)).astype(np.float32),
        x_mean=mean.astype(np.float32),
        x_norm=scale.astype(np.float32),
        y_mean=rng.normal(size=60).astype(np.float32),
        y_norm=rng.uniform(1, 2, 60).astype(np.float32),
    )


def test_one_block_of_everything_predicts_what_the_matrix_does(study, run_verb):
    found = matrix(study)
    (tile,) = (t for t in planning.tiles(study, shapes.read(study), {SPLIT: "x"}) if t.stage == "converters")
    work = SimpleNamespace(
        plan=lambda *_: [tile],
        prepare=lambda study: None,
        work=lambda study, tile: given.write_block(study, tile, found),
    )
    run_verb(work, study)
    X = brain.read_brain(study.workspace, "S1", "natural").samples
    ones = np.hstack([(X - found.x_mean) / found.x_norm, np.ones((len(X), 1))])
    ((_, block),) = blocks.read(study, SPLIT)
    np.testing.assert_allclose(block.predict(X), ones @ found.M * found.y_norm + found.y_mean, rtol=1e-3, atol=1e-3)


def test_weights_outside_of_the_blocks_are_counted(study):
    cut = study.convert.model_copy(update={"blocks": ("V1", "VC")})
    with pytest.raises(DataError, match=r"has \d+ weights from outside of its blocks, and 0 target voxels of no block"):
        given.write_block(study.model_copy(update={"convert": cut}), TILE, matrix(study))


def test_voxels_in_another_order_are_told_by_their_means(study):
    found = matrix(study)
    found.x_mean = found.x_mean[::-1] + 10 * found.x_norm
    with pytest.warns(UserWarning, match="are the voxels in another order"):
        given.write_block(study, TILE, found)
