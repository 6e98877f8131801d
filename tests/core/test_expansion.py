"""`expand`: one entry under `reconstruct:` becomes several."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core.errors import StudyError
from hpc_recon.core.expansion import expanded, sets_of_layers
from hpc_recon.core.loading import load_study, save_study

LAYERS = ["conv1_1", "conv1_2", "conv2_1", "conv3_1", "fc6", "fc7", "fc8"]
CONTENT = {
    "name": "small",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"preset": "easy"},
    "networks": {"vgg": {"architecture": "vgg19", "layers": LAYERS}},
    "reconstruct": {
        "icnn": {
            "method": "icnn", "network": "vgg", "title": "Deep", "expand": "cumulative", "layer_weights": {"fc6": 2},
            "loss": {"conv2_1": "l1", "default": "l2"}, "masks": {"conv1_1": {"channels": [0]}},
        },
        "other": {"method": "icnn", "network": "vgg"},
    },
}  # fmt: skip


def load(tmp_path: Path, **changes):
    path = tmp_path / "study.yaml"
    own = {**CONTENT["reconstruct"]["icnn"], **changes}
    path.write_text(yaml.safe_dump({**CONTENT, "reconstruct": {**CONTENT["reconstruct"], "icnn": own}}))
    return load_study(path)


def test_cumulative_groups_are_those_of_the_paper(tmp_path: Path) -> None:
    found = load(tmp_path).reconstruct
    names = [f"icnn.DNN1-{i}" if i > 1 else "icnn.DNN1" for i in range(1, 7)]
    assert list(found) == [*names, "other"]
    assert found["icnn.DNN1"].layers == ("conv1_1", "conv1_2")
    assert found["icnn.DNN1-6"].layers == tuple(LAYERS)
    assert found["icnn.DNN1-4"].title == "Deep, DNN1-4"


def test_each_part_has_what_belongs_to_its_layers(tmp_path: Path) -> None:
    first, last = load(tmp_path).reconstruct["icnn.DNN1"], load(tmp_path).reconstruct["icnn.DNN1-6"]
    assert (first.layer_weights, first.loss, set(first.masks)) == ({}, {"default": "l2"}, {"conv1_1"})
    assert last.layer_weights == {"fc6": 2}
    assert last.loss == {"conv2_1": "l1", "default": "l2"}


def test_single_groups_and_layers() -> None:
    assert sets_of_layers("groups", LAYERS)["DNN4"] == ("fc6",)
    assert list(sets_of_layers("layers", LAYERS)) == LAYERS


def test_only_the_entrys_own_layers_are_expanded(tmp_path: Path) -> None:
    found = load(tmp_path, layers=["conv1_1", "fc6"], expand="layers", loss="l2")
    assert [name for name in found.reconstruct if name != "other"] == ["icnn.conv1_1", "icnn.fc6"]


def test_expanding_again_changes_nothing(tmp_path: Path) -> None:
    study = load(tmp_path)
    assert expanded(study) == study
    resolved = tmp_path / "elsewhere.yaml"
    resolved.write_text(save_study(study))
    assert load_study(resolved) == study


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    taken = {**CONTENT["reconstruct"], "icnn.DNN1": {"method": "icnn", "network": "vgg"}}
    path.write_text(yaml.safe_dump({**CONTENT, "reconstruct": taken}))
    with pytest.raises(StudyError, match=r"expand makes 'icnn\.DNN1' of 'icnn', but there is such an entry"):
        load_study(path)
