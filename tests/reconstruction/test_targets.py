"""What the images of a tile shall show."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import reconstruct
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.tiles import Group
from hpc_recon.reconstruction import targets as targets_of
from hpc_recon.stores import arrays, brain, layout, shapes

LAYERS = ("conv1_1", "conv2_1")


@pytest.mark.parametrize("method", ["channel_std", "train_mean_center"])
def test_the_norm_correction_is_applied(study: Study, make_study, method: str, content, decode_truly):
    corrected = make_study({**content, "decode": {"norm_correction": method}})
    decode_truly(corrected, gain=2.5, offset=0.25)
    reconstruct.prepare(corrected)
    tile = reconstruct.plan(corrected, shapes.read(corrected))[0]
    options = corrected.reconstruct["images"]
    targets, _ = targets_of.read(corrected, tile, options, ("S1", "VC", "natural"))
    rows = brain.read_items(corrected, "S1", "natural").rows[:2]
    true = arrays.read(corrected.workspace, layout.features("vgg", "conv2_1"), rows)
    np.testing.assert_allclose(targets.features["conv2_1"], true, atol=1e-5)


def test_undecoded_layers_name_the_command(study: Study):
    reconstruct.prepare(study)
    tile = reconstruct.plan(study, shapes.read(study))[0]
    with pytest.raises(MissingStore, match=r"hpc_recon\.decode"):
        reconstruct.work(study, tile)


def test_a_sample_of_units_is_matched_by_number(study: Study, make_study, content, decode_truly, truth, picture):
    sampled = make_study({**content, "units": 1500, "reconstruct": {"images": content["reconstruct"]["images"]}})
    decode_truly(sampled)
    reconstruct.prepare(sampled)
    for tile in reconstruct.plan(sampled, shapes.read(sampled)):
        reconstruct.work(sampled, tile)
    for name, image in zip(*truth(study, "natural"), strict=True):
        assert np.corrcoef(picture(sampled, "images", "natural", name).ravel(), image.ravel())[0, 1] > 0.9


def out_of_fold(study: Study, correlation: np.ndarray, layer: str, finish) -> None:
    """Store statistics of out-of-fold predictions as `fit` does."""
    group = Group("fit", ("S1", "VC", "_out_of_fold", "vgg", layer))
    values = np.stack([1 - correlation**2, correlation], axis=1).astype(np.float32)
    ref = layout.out_of_fold("S1", "VC", "vgg", layer, "stats")
    geometry = layout.whole_geometry(*values.shape)
    arrays.create(study.workspace, ref, shape=values.shape, dtype="float32", geometry=geometry, made_by=group.key)
    finish(study, group, arrays.write(study.workspace, ref, (0, 0), values))


@pytest.mark.parametrize("kind", ["residual", "calibrated"])
def test_reliable_units_count_more(study: Study, make_study, kind: str, content, decode_truly, finish):
    made = make_study(
        {
            **content,
            "fit": {"out_of_fold": True},
            "reconstruct": {"images": {"method": "icnn", "network": "vgg", "reliability": kind, "iterations": 3}},
        }
    )
    decode_truly(made)
    for layer in LAYERS:
        n = shapes.read(made).n_units("vgg", layer)
        out_of_fold(made, np.linspace(0, 0.9, n), layer, finish)
    reconstruct.prepare(made)
    (tile, *_) = reconstruct.plan(made, shapes.read(made))
    assert "fit/S1/VC/_out_of_fold/vgg/conv1_1" in tile.group.upstream
    options = made.reconstruct["images"]
    targets, _ = targets_of.read(made, tile, options, ("S1", "VC", "natural"))
    weights = targets.unit_weights["conv1_1"]
    assert (np.diff(weights) >= 0).all()
    assert weights[-1] > weights[len(weights) // 2] > 0
    reconstruct.work(made, tile)


def test_true_features_as_source_need_no_decoding(study: Study, run_verb, truth, picture, variant):
    own = variant(source="true", iterations=40, recovery=2)
    tiles = run_verb(reconstruct, own)  # nothing was decoded, and there is nothing to recover
    assert {tile.stage for tile in tiles} == {"reconstruct"}
    for name, image in zip(*truth(own, "natural"), strict=True):
        assert np.corrcoef(picture(own, "images", "natural", name).ravel(), image.ravel())[0, 1] > 0.98
