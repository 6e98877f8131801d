from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import IngestSubject
from hpc_recon.exchange.rois import Masks

AREAS = {"V1": [1, 1, 0, 0, 0, 0], "V2": [0, 1, 1, 0, 0, 0], "LOC": [0, 0, 1, 1, 1, 0], "FFA": [0, 0, 0, 0, 1, 0]}


@pytest.fixture
def masks(tmp_path):
    """Return a function that makes the masks of a subject: AREAS as files, and the ROIs given."""

    def make(**rois):
        np.savez(
            tmp_path / "rois.npz", atlas=np.array([0, 1, 1, 2, 3, 3]), **{k: np.array(v) for k, v in AREAS.items()}
        )
        given = {name: {"file": tmp_path / "rois.npz", "key": name} for name in AREAS}
        atlas = {"file": tmp_path / "rois.npz", "key": "atlas"}
        rois = {k: atlas | v if isinstance(v, dict) else v for k, v in rois.items()}
        return Masks(IngestSubject.model_validate({"datasets": {}, "rois": given | rois}), 6)

    return make


def _set(name):
    return {i for i, member in enumerate(AREAS[name]) if member}


@pytest.mark.parametrize(
    ("expression", "oracle"),
    [
        ("LOC + FFA - V1 - V2", (_set("LOC") | _set("FFA")) - _set("V1") - _set("V2")),
        ("V1 & V2", _set("V1") & _set("V2")),
        ("V1 + V2 & LOC", (_set("V1") | _set("V2")) & _set("LOC")),  # from left to right
        ("V1 + (V2 & LOC)", _set("V1") | (_set("V2") & _set("LOC"))),
    ],
)
def test_combinations_equal_those_of_sets(masks, expression, oracle):
    assert set(np.flatnonzero(masks(HVC=expression).read("HVC"))) == oracle


def test_a_combination_may_name_another(masks):
    found = masks(VC="V1 + HVC", HVC="LOC - V2")
    assert found.read("VC").tolist() == [True, True, False, True, True, False]


def test_regions_of_an_atlas(masks):
    found = masks(early={"values": [1, 2]}, late={"values": 3}, all={})
    assert found.read("early").tolist() == [False, True, True, True, False, False]
    assert found.read("late").tolist() == [False] * 4 + [True] * 2
    assert found.read("all").tolist() == [False] + [True] * 5


def test_errors_say_what_to_do(masks):
    with pytest.raises(DataError, match=r"A -> B -> A: an ROI cannot be combined from itself"):
        masks(A="B + V1", B="A + V2").read("A")
    with pytest.raises(DataError, match=r"rois\.A: .*V11.*did you mean 'V1'"):
        masks(A="V11 + V2").read("A")
    with pytest.raises(DataError, match=r"rois\.A has no voxel: 'V1 - V1' leaves none of 6"):
        masks(A="V1 - V1").read("A")
    with pytest.raises(DataError, match=r"has no voxel with the label 7 \(it has 0, 1, 2, 3\)"):
        masks(A={"values": [1, 7]}).read("A")
    subject = IngestSubject.model_validate({"datasets": {}, "rois": {"A": {"select": "ROI_V1"}}})
    with pytest.raises(DataError, match=r"rois\.A: select chooses keys of BData, but no dataset"):
        Masks(subject, 6).read("A")
