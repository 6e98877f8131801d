"""What the study model derives from its fields."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.errors import StudyError
from hpc_recon.core.fit_options import AlphaGrid
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.text import SAFE_NAME
from hpc_recon.core.tiles import canonical


def study(**changes: Any) -> Study:
    content: dict[str, Any] = {
        "name": "x",
        "subjects": ["S1", "S2"],
        "datasets": {"natural": {"role": "test"}, "training": {"role": "training"}, "shapes": {"role": "test"}},
        "simulate": {},
        "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    }
    return Study.model_validate(content | changes)


def test_datasets_by_role() -> None:
    assert study().training_dataset == "training"
    assert study().test_datasets() == ["natural", "shapes"]


def test_source_verb() -> None:
    assert study().source_verb == "simulate"
    assert study(simulate=None, ingest={"subjects": {}, "stimuli": {}}).source_verb == "ingest"


def test_splits_of_cross_validation() -> None:
    assert study().splits() == ["S1", "S2"]
    folds = {"folds": 2, "repeats": 2}
    found = study(
        simulate=None, ingest={"subjects": {}, "stimuli": {}, "cross_validation": folds}, subjects=["S1"]
    ).splits()
    assert found == ["S1", "S1.r1f01", "S1.r1f02", "S1.r2f01", "S1.r2f02"]
    assert {base_subject(name) for name in found} == {"S1"}


def test_decoded_name() -> None:
    assert study().decoded_name("vgg") == "vgg"
    assert study(units=100).decoded_name("vgg") == "vgg@100"


def unit_files(folder: Path) -> list[dict[str, str]]:
    """Return `units:` of two files whose content differs."""
    np.savez(folder / "a.npz", conv1_1=np.arange(0, 500, 7))
    np.save(folder / "b.npy", np.arange(500))
    return [{"file": str(folder / name)} for name in ("a.npz", "b.npy")]


def test_distinct_units_have_distinct_names(tmp_path: Path) -> None:
    every: list[Any] = [None, 100, 101, {"every": 16}, {"every": 100}, *unit_files(tmp_path)]
    studies = [study(units=units) for units in every]
    names = [given.decoded_name("vgg") for given in studies]
    assert len(set(names)) == len(every)
    assert names[3] == "vgg@every16"
    assert re.fullmatch("vgg@file-[0-9a-f]{8}", names[5])
    assert all(SAFE_NAME.match(name) for name in names)
    assert [given.network_of(name) for given, name in zip(studies, names, strict=True)] == ["vgg"] * len(every)


def test_a_name_made_with_other_units_is_refused() -> None:
    with pytest.raises(StudyError, match=r"'vgg@100' is none of vgg@every16"):
        study(units={"every": 16}).network_of("vgg@100")


def test_n_decoded_counts_what_is_decoded(tmp_path: Path) -> None:
    for units in (None, 100, 500, 900, {"every": 16}, {"every": 600}, *unit_files(tmp_path)):
        given = study(units=units)
        drawn = unit_sample(given, "vgg", "conv1_1", 500)
        assert given.n_decoded(500, "conv1_1") == (500 if drawn is None else len(drawn))
        if not isinstance(units, dict) or "a.npz" not in units.get("file", ""):
            assert given.n_decoded(500) == given.n_decoded(500, "conv1_1")
        else:
            with pytest.raises(StudyError, match="names no units of the layer"):
                given.n_decoded(500)


def test_settings_hold_the_content_of_a_file_not_its_place(tmp_path: Path) -> None:
    first = study(units=unit_files(tmp_path)[0])
    copied = shutil.copy(tmp_path / "a.npz", tmp_path / "c.npz")
    again = study(units={"file": str(copied)})
    assert canonical({"units": first.units}) == canonical({"units": again.units})
    assert re.search('"file:[0-9a-f]{64}"', canonical({"units": first.units}))
    assert canonical({"units": study(units={"every": 3}).units}) == '{"units":"every3"}'
    assert canonical({"units": study(units=3).units}) == '{"units":3}'


def test_units_survive_the_resolved_file(tmp_path: Path) -> None:
    for units in (7, {"every": 16}, *unit_files(tmp_path)):
        path = tmp_path / "resolved.yaml"
        given = study(units=units, workspace=str(tmp_path))
        path.write_text(save_study(given))
        assert load_study(path).units == given.units


def test_wrong_units_are_one_mistake() -> None:
    with pytest.raises(ValidationError) as caught:
        study(units={"evry": 2})
    (mistake,) = caught.value.errors()
    assert mistake["loc"] == ("units",)
    assert "did you mean 'every'" in mistake["msg"]


def test_layer_sets_in_the_order_of_the_file() -> None:
    networks = {
        "b": {"architecture": "vgg11_quarter", "layers": ["conv2_1", "conv1_1"]},
        "a": {"architecture": "pixels", "layers": ["pixels"]},
    }
    found = study(networks=networks, rois=["V1", "VC"]).layer_sets()
    assert len(found) == 2 * 2 * 3
    assert found[:4] == [
        ("S1", "V1", "b", "conv2_1"),
        ("S1", "V1", "b", "conv1_1"),
        ("S1", "V1", "a", "pixels"),
        ("S1", "VC", "b", "conv2_1"),
    ]


def test_a_grid_or_a_number() -> None:
    fit = study(fit={"alpha": {"grid": [1, 10]}, "n_voxels": 30}).fit
    assert isinstance(fit.alpha, AlphaGrid)
    assert fit.alpha.grid == (1.0, 10.0)
    assert fit.n_voxels == 30


def test_studies_are_frozen() -> None:
    with pytest.raises(ValidationError):
        study().fit.alpha = 3.0  # type: ignore[misc]


FILES: dict[str, Any] = {"architecture": "features", "features": {"folders": "lab"}, "layers": ["fc"]}


def test_which_networks_are_run() -> None:
    both = {"a": {**FILES, "architecture": "vgg11_quarter", "layers": ["conv1_1"]}, "b": FILES}
    plain = study(networks={**both, "c": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}})
    assert [plain.runs(name) for name in "abc"] == [False, False, True]
    made = study(networks=both, reconstruct={"icnn": {"method": "icnn", "network": "a"}})
    assert [made.runs(name) for name in "ab"] == [True, False]


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("false", False), ("4", 4)])
def test_averages_are_all_none_or_some(make_study, text, expected) -> None:
    found = make_study(set_=[f"decode.average={text}"]).decode.average
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["1", "0", "-3", "2.5", "some"])
def test_other_averages_are_refused(make_study, text) -> None:
    with pytest.raises(StudyError, match=r"decode\.average"):
        make_study(set_=[f"decode.average={text}"])


def test_splits_of_converters(make_study) -> None:
    """Pooled splits have decoders, converted ones are decoded; a network from brain to image knows neither."""
    reconstruct = {
        "direct": {"method": "pixels", "network": "pixels"},
        "e2e": {"method": "end_to_end", "network": "pixels", "weights": {"S1": "random", "S2": "random"}},
    }
    study = make_study(subjects=["S1", "S2"], convert={"pairs": ["S1-S2"], "pool": [1]}, reconstruct=reconstruct)
    assert study.splits() == ["S1", "S2"]
    assert study.fitted_splits() == ["S1", "S2", "S2.with-1"]
    assert study.decoded_splits() == ["S1", "S2", "S2.with-1", "S2.from-S1"]
    assert [split for split, _, _ in study.image_sets("direct")] == study.decoded_splits()
    assert [split for split, _, _ in study.image_sets("e2e")] == study.splits()
    assert [split for split, *_ in study.layer_sets()] == study.fitted_splits()
    assert [split for split, *_ in study.layer_sets(decoded=True)] == study.decoded_splits()
    assert (study.brain_key("S2"), study.brain_key("S2.from-S1")) == ("simulate/S2", "convert/S2.from-S1")
