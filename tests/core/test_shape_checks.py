"""Mistakes of shape-semantic entries that only show beside the rest of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study

CONTENT = {
    "name": "x",
    "subjects": ["S1"],
    "rois": ["V1", "VC"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 8, "n_natural": 2, "n_voxels": 50},
    "networks": {
        "shape": {"architecture": "shape_gray", "layers": ["grid8", "grid16"]},
        "net": {"architecture": "pixels", "layers": ["pixels"]},
    },
    "fit": {"out_of_fold": True},
    "train": {"f": {"method": "shape_semantic", "rois": ["VC"], "shape": {"network": "shape", "layer": "grid8"}}},
    "reconstruct": {"f": {"method": "shape_semantic", "network": "net", "model": "f", "rois": ["VC"]}},
}


def load(tmp_path: Path, *assignments: str):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return load_study(path, list(assignments))


def test_a_whole_study_is_accepted_and_expanded(tmp_path):
    study = load(tmp_path, "train.f.seeds=[0, 1]", "reconstruct.f.expand=true")
    assert list(study.train) == ["f.seed0", "f.seed1"]
    assert [own.model for own in study.reconstruct.values()] == ["f.seed0", "f.seed1"]
    mean = load(tmp_path, "train.f.seeds=[0, 1]", "reconstruct.f.average_seeds=true")
    assert list(mean.reconstruct) == ["f"]
    assert (mean.reconstruct["f"].model, mean.reconstruct["f"].averaged_with) == ("f.seed0", ("f.seed1",))
    both = load(
        tmp_path,
        *("train.f.seeds=[0, 1]", "train.f.ablations=[shape]", "reconstruct.f.average_seeds=true"),
        "reconstruct.f.expand=true",
    )
    assert {name: (own.model, own.averaged_with) for name, own in both.reconstruct.items()} == {
        "f": ("f.seed0", ("f.seed1",)),
        "f.no-shape": ("f.no-shape.seed0", ("f.no-shape.seed1",)),
    }


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.f.shape.network=shap", r"train\.f\.shape\.network: unknown network 'shap'.*shape"),
        ("train.f.shape.layer=grid9", r"train\.f\.shape\.layer: layer 'grid9' is not decoded"),
        ("train.f.shape={network: shape}", r"train\.f\.shape\.layer: 'shape' has 2 layers; name one"),
        ("train.f.shape.rois=[V9]", r"train\.f\.shape\.rois: unknown name 'V9'"),
        ("train.f.semantic={roi: HVC}", r"train\.f\.semantic\.roi: unknown name 'HVC'"),
        ("train.f.semantic={target: kmeans, network: nay}", r"train\.f\.semantic\.network: unknown network 'nay'"),
        ("train.f={method: shape_semantic, shape: {network: net, rois: [V1]}}", r"name the one ROI .*rois: \[VC\]"),
        ("fit.out_of_fold=false", r"write fit: \{out_of_fold: true\}"),
        ("units=5", r"a shape needs every cell; leave out units"),
        ("train.f.augmentation={dataset: extra}", r"augmentation\.dataset: unknown name 'extra'"),
        ("reconstruct.f.model=g", r"reconstruct\.f\.model: unknown name 'g'"),
        ("reconstruct.f.rois=[V1]", r"reconstruct\.f\.rois: V1 not trained by 'f'"),
        ("decode.norm_correction=channel_std", r"write decode: \{norm_correction: none\}"),
    ],
)
def test_mistakes_are_named_with_their_key(tmp_path, assignment, message):
    with pytest.raises(StudyError, match=message):
        load(tmp_path, assignment)
