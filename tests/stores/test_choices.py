"""What `fit` chose, read in the order of the study."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import write_json
from hpc_recon.stores import choices

NETWORKS = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv2_1", "conv1_1"]}}


def test_choices_are_those_of_the_study_alone_and_in_its_order(make_study):
    study = make_study(networks=NETWORKS)
    assert list(choices.read(study)) == []
    for roi, layer in (("VC", "conv1_1"), ("VC", "conv2_1"), ("VC", "conv4_1"), ("V9", "conv1_1")):
        write_json(choices.path_of(study, ("S1", roi, "vgg", layer)), {"warnings": [], "alpha": len(layer)})
    write_json(study.workspace / "choices" / "S1" / "VC" / "vgg" / "_out_of_fold" / "conv1_1.json", [1])
    found = list(choices.read(study))
    assert [place for place, _ in found] == [("S1", "VC", "vgg", "conv2_1"), ("S1", "VC", "vgg", "conv1_1")]
    assert found[0][1] == {"warnings": [], "alpha": 7}


@pytest.mark.parametrize("text", ["{", "[]", '{"alpha": 1}'])
def test_a_damaged_choice_is_named_with_the_command(make_study, text):
    study = make_study(networks=NETWORKS)
    path = choices.path_of(study, ("S1", "VC", "vgg", "conv1_1"))
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DamagedStore, match=r"conv1_1\.json .*fit --redo --only 'S1/VC/vgg/conv1_1/\*'"):
        list(choices.read(study))
