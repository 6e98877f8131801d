"""Study files: overrides, paths, what is no study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study, override, read_yaml, save_study

ROOT = Path(__file__).parents[2]


def test_round_trip_through_the_resolved_file(write, tmp_path: Path) -> None:
    study = load_study(write(), ["units=7"])
    resolved = tmp_path / "elsewhere" / "resolved.yaml"
    resolved.parent.mkdir()
    resolved.write_text(save_study(study))
    assert load_study(resolved) == study
    assert study.units == 7


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_package_survives_json(path: Path) -> None:
    """`ingest` keeps a study as JSON: `e2e2019` named a comparator's file, and could not be ingested."""
    study = load_study(path)
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_workspace_default_and_override(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_study(write()).workspace == tmp_path / "runs" / "small"
    assert load_study(write(), ["workspace=other"]).workspace == tmp_path / "other"


def test_paths_start_at_the_study_file(write, good, tmp_path: Path) -> None:
    content = yaml.safe_load(good)
    del content["simulate"]
    entry = {"samples": {"file": "data/a.mat", "key": "x"}}
    content["subjects"] = ["S1"]
    content["ingest"] = {
        "subjects": {"S1": {"datasets": {"training": entry, "natural": entry}}},
        "stimuli": {"training": {"folder": "../pictures"}, "natural": {"array": {"file": "b.npy"}}},
    }
    content["networks"]["vgg"]["weights"] = "weights/vgg.pt"
    study = load_study(write(yaml.safe_dump(content)))
    assert study.ingest is not None
    assert study.ingest.subjects["S1"].datasets["training"].samples.file == tmp_path / "data/a.mat"
    assert study.ingest.stimuli["training"].folder == (tmp_path / "../pictures").resolve()
    assert study.networks["vgg"].weights == str(tmp_path / "weights/vgg.pt")
    assert study.networks["image"].weights == "random:0"


def test_weights_in_the_home_folder_and_files_that_begin_like_a_word(write, good, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    content = yaml.safe_load(good)
    content["networks"]["vgg"]["weights"] = "~/vgg.pt"
    content["reconstruct"]["icnn"] |= {"latent": {"generator": "relu7", "weights": "own_relu7.pt"}}
    content["train"] = {"e": {"method": "end_to_end", "profile": "tiny", "comparator": {"weights": "owner/alex.pt"}}}
    study = load_study(write(yaml.safe_dump(content)))
    assert study.networks["vgg"].weights == str(tmp_path / "home/vgg.pt")
    assert study.reconstruct["icnn"].latent.weights == tmp_path / "own_relu7.pt"
    assert study.train["e"].comparator.weights == tmp_path / "owner/alex.pt"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("a: 1\na: 2", "the key 'a' is written twice"),
        ("? [a]\n: 1", "a key must be plain text"),
        ("a: !!python/object/apply:os.system [echo]", "is not YAML"),
    ],
)
def test_not_a_study(mistakes, text: str, expected: str) -> None:
    assert any(expected in line for line in mistakes(text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot be read .*give a file with --study"):
        load_study(tmp_path / "none.yaml")


def test_override_does_not_change_its_input() -> None:
    content = {"a": {"b": [1, {"c": 2}]}}
    assert override(content, ["a.d=[x, y]", "e.f.g=1.5"]) == {
        "a": {"b": [1, {"c": 2}], "d": ["x", "y"]},
        "e": {"f": {"g": 1.5}},
    }
    assert content == {"a": {"b": [1, {"c": 2}]}}


def test_override_names_every_bad_assignment() -> None:
    with pytest.raises(StudyError) as caught:
        override({"a": 1}, ["b", "a.c=1", "d=[", "=3"])
    assert len(caught.value.problems) == 4
    assert "key=value" in caught.value.problems[0]
    assert "'a' is a value, not a section" in caught.value.problems[1]


def test_a_network_of_files_has_paths_of_the_study_and_cannot_be_run(write, mistakes, good, tmp_path: Path) -> None:
    content = yaml.safe_load(good)
    content["networks"]["lab"] = {"architecture": "features", "features": {"folders": "lab/net"}, "layers": ["fc"]}
    study = load_study(write(yaml.safe_dump(content)))
    assert study.networks["lab"].features is not None
    assert study.networks["lab"].features.folders == (tmp_path / "lab" / "net",)
    content["reconstruct"]["wrong"] = {"method": "icnn", "network": "lab"}
    found = mistakes(yaml.safe_dump(content))
    assert len(found) == 1
    assert "reconstruct.wrong: the network 'lab' is known by its features alone, and this method runs it" in found[0]


def test_files_of_methods_start_at_the_study_file(write, good, tmp_path: Path) -> None:
    content = yaml.safe_load(good)
    content["reconstruct"]["icnn"] |= {
        "latent": {"generator": "relu7", "weights": "weights/g.pt", "upper_file": "fc7.txt"},
        "start_file": "z.npy",
        "masks": {"conv1_1": {"file": "mask.npy"}},
    }
    study = load_study(write(yaml.safe_dump(content)))
    found = study.reconstruct["icnn"]
    assert found.latent.weights == tmp_path / "weights/g.pt"
    assert found.latent.upper_file == tmp_path / "fc7.txt"
    assert found.start_file == tmp_path / "z.npy"
    assert found.masks["conv1_1"].file == tmp_path / "mask.npy"
    assert load_study(write(save_study(study))) == study


def test_anchors_are_merged_and_own_keys_count_first(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a], z: 4}\nd: *a\n")
    assert read_yaml(path) == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2, "z": 4}, "d": {"x": 1, "y": 2},
    }  # fmt: skip
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 3, y: 4}\n")
    with pytest.raises(StudyError, match="the key 'y' is written twice"):
        read_yaml(path)
