"""Study files: overrides, all mistakes at once in our words, cross-checks, paths."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study, override, read_yaml, save_study

GOOD = """
name: small
subjects: [S1, S2]
rois: [V1, VC]
datasets: {training: {role: training}, natural: {role: test}}
simulate: {preset: easy}
networks:
  vgg: {architecture: vgg11_quarter, layers: [conv1_1, conv2_1]}
  image: {architecture: pixels, layers: [pixels]}
fit: {alpha: {grid: [1, 10]}, n_voxels: 50}
reconstruct:
  icnn: {method: icnn, network: vgg, layer_weights: {conv1_1: 6}}
  direct: {method: pixels, network: image}
"""


def write(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def mistakes(tmp_path: Path, text: str, *assignments: str) -> list[str]:
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, text), assignments)
    return list(caught.value.problems)


def test_round_trip_through_the_resolved_file(tmp_path: Path) -> None:
    study = load_study(write(tmp_path), ["units=7"])
    resolved = tmp_path / "elsewhere" / "resolved.yaml"
    resolved.parent.mkdir()
    resolved.write_text(save_study(study))
    assert load_study(resolved) == study
    assert study.units == 7


def test_workspace_default_and_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_study(write(tmp_path)).workspace == tmp_path / "runs" / "small"
    assert load_study(write(tmp_path), ["workspace=other"]).workspace == tmp_path / "other"


def test_three_mistakes_are_all_named_with_the_closest_name(tmp_path: Path) -> None:
    wrong = (
        GOOD.replace("alpha:", "alhpa:").replace("preset: easy", "preset: esy").replace("n_voxels: 50", "n_voxels: -1")
    )
    found = mistakes(tmp_path, wrong)
    assert len(found) == 3
    assert any("unknown key 'fit.alhpa'; did you mean 'alpha'?" in line for line in found)
    assert any("simulate.preset" in line and "'esy'" in line for line in found)
    assert any("fit.n_voxels: input should be greater than or equal to 1; got -1" in line for line in found)


def test_mistakes_inside_unions_name_only_keys_of_the_file(tmp_path: Path) -> None:
    wrong = GOOD.replace("grid: [1, 10]", "grid: [1]").replace("layer_weights: {conv1_1: 6}", "iteratons: 3")
    assert mistakes(tmp_path, wrong) == [
        "fit.alpha.grid: tuple should have at least 2 items after validation, not 1",
        "unknown key 'reconstruct.icnn.iteratons'; did you mean 'iterations'?",
    ]


def test_unknown_method(tmp_path: Path) -> None:
    assert mistakes(tmp_path, GOOD.replace("method: icnn", "method: icn")) == [
        "reconstruct.icnn.method: unknown or missing; did you mean 'icnn'?"
    ]


def test_missing_keys(tmp_path: Path) -> None:
    assert "subjects: this key is required" in mistakes(tmp_path, GOOD.replace("subjects: [S1, S2]", ""))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("role: test", "role: training", "exactly one must have role: training, but 2 have"),
        ("simulate: {preset: easy}", "", "give either `simulate:` or `ingest:`"),
        ("[S1, S2]", "[S1, S1]", "subjects repeat: S1, S1"),
        ("network: vgg,", "network: vg,", "unknown network 'vg'; did you mean 'vgg'?"),
        ("{conv1_1: 6}", "{conv1-1: 6}", "layer 'conv1-1'"),
        ("{conv1_1: 6}", "{conv3_1: 6}", "layer 'conv3_1' is not decoded"),
        ("network: image", "network: vgg", "method pixels needs a network with architecture"),
        (
            "method: icnn, network: vgg, layer_weights: {conv1_1: 6}",
            "method: icnn, network: image",
            "use method: pixels",
        ),
        ("network: image}", "network: image, rois: [V2]}", "reconstruct.direct.rois: unknown name 'V2'"),
        ("network: image}", "network: image, datasets: [training]}", "reconstruct.direct.datasets: unknown name"),
        ("[conv1_1, conv2_1]", "[conv1_1, conv1_1]", "layers repeat: conv1_1"),
        ("name: small", "name: ../small", "name: a name has letters, digits and"),
    ],
)
def test_one_mistake_each(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = mistakes(tmp_path, GOOD.replace(old, new))
    assert any(expected in line for line in found), found


def test_ingest_cross_checks(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    del content["simulate"]
    samples = {"samples": {"file": "a.mat", "key": "x"}}
    content["ingest"] = {
        "subjects": {"S1": {"datasets": {"trainin": samples}}},
        "stimuli": {"natural": {"array": {"file": "b.npy"}}},
        "cross_validation": {"folds": 5, "test_dataset": "training"},
    }
    found = mistakes(tmp_path, yaml.safe_dump(content))
    assert any("'S2' is not under ingest.subjects" in line for line in found)
    assert any("dataset 'trainin' is not under datasets; did you mean 'training'?" in line for line in found)
    assert any("ingest.cross_validation: 'training' must be a dataset with role: test" in line for line in found)


def test_paths_start_at_the_study_file(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    del content["simulate"]
    entry = {"samples": {"file": "data/a.mat", "key": "x"}}
    content["subjects"] = ["S1"]
    content["ingest"] = {
        "subjects": {"S1": {"datasets": {"training": entry, "natural": entry}}},
        "stimuli": {"training": {"folder": "../pictures"}, "natural": {"array": {"file": "b.npy"}}},
    }
    content["networks"]["vgg"]["weights"] = "weights/vgg.pt"
    study = load_study(write(tmp_path, yaml.safe_dump(content)))
    assert study.ingest is not None
    assert study.ingest.subjects["S1"].datasets["training"].samples.file == tmp_path / "data/a.mat"
    assert study.ingest.stimuli["training"].folder == (tmp_path / "../pictures").resolve()
    assert study.networks["vgg"].weights == str(tmp_path / "weights/vgg.pt")
    assert study.networks["image"].weights == "random:0"


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
def test_not_a_study(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in line for line in mistakes(tmp_path, text))


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


def test_a_network_of_files_has_paths_of_the_study_and_cannot_be_run(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    content["networks"]["lab"] = {"architecture": "features", "features": {"folders": "lab/net"}, "layers": ["fc"]}
    study = load_study(write(tmp_path, yaml.safe_dump(content)))
    assert study.networks["lab"].features is not None
    assert study.networks["lab"].features.folders == (tmp_path / "lab" / "net",)
    content["reconstruct"]["wrong"] = {"method": "icnn", "network": "lab"}
    found = mistakes(tmp_path, yaml.safe_dump(content))
    assert len(found) == 1
    assert "reconstruct.wrong: the network 'lab' is known by its features alone, and this method runs it" in found[0]


def test_files_of_methods_start_at_the_study_file(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    content["reconstruct"]["icnn"] |= {
        "latent": {"generator": "relu7", "weights": "weights/g.pt", "upper_file": "fc7.txt"},
        "start_file": "z.npy",
        "masks": {"conv1_1": {"file": "mask.npy"}},
    }
    study = load_study(write(tmp_path, yaml.safe_dump(content)))
    found = study.reconstruct["icnn"]
    assert found.latent.weights == tmp_path / "weights/g.pt"
    assert found.latent.upper_file == tmp_path / "fc7.txt"
    assert found.start_file == tmp_path / "z.npy"
    assert found.masks["conv1_1"].file == tmp_path / "mask.npy"
    assert load_study(write(tmp_path, save_study(study))) == study


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("loss: {conv9_1: l1}", "reconstruct.icnn: layer 'conv9_1' is not decoded"),
        ("masks: {conv2-1: {channels: [0]}}", "layer 'conv2-1' is not decoded"),
        ("layer_weights: {default: 2}", "layer 'default' is not decoded"),
        ("reliability: residual", "write fit: {out_of_fold: true}"),
        (
            "optimiser: {name: momentun}",
            "reconstruct.icnn.optimiser.name: unknown or missing; did you mean 'momentum'?",
        ),
        (
            "optimiser: {name: momentum, blurr: 1}",
            "unknown key 'reconstruct.icnn.optimiser.blurr'; did you mean 'blur'?",
        ),
        ("latent: {generator: relu7}", "reconstruct.icnn.latent.weights: this key is required"),
        ("latent: {generator: relu7, weights: random:0, uper: 3}", "unknown key 'reconstruct.icnn.latent.uper'"),
        ("latent: pixel", "reconstruct.icnn.latent: input should be 'pixels'"),
        ("start: normal", "reconstruct.icnn: start of pixels must be one of"),
    ],
)
def test_mistakes_in_the_options_of_icnn(tmp_path: Path, new: str, expected: str) -> None:
    found = mistakes(tmp_path, GOOD.replace("layer_weights: {conv1_1: 6}", new))
    assert any(expected in line for line in found), found


def test_calibration_and_gram_cross_checks(tmp_path: Path) -> None:
    text = GOOD.replace("layer_weights: {conv1_1: 6}", "reliability: calibrated")
    found = mistakes(tmp_path, text, "fit.out_of_fold=true", "fit.alpha=1", "decode.norm_correction=l2_norm")
    assert any("restores the spread of decoded features itself" in line for line in found)
    text = GOOD.replace("layer_weights: {conv1_1: 6}", "loss: gram")
    assert any("a gram loss needs all units" in line for line in mistakes(tmp_path, text, "units=7"))


def test_anchors_are_merged_and_own_keys_count_first(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a], z: 4}\nd: *a\n")
    assert read_yaml(path) == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2, "z": 4}, "d": {"x": 1, "y": 2},
    }  # fmt: skip
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 3, y: 4}\n")
    with pytest.raises(StudyError, match="the key 'y' is written twice"):
        read_yaml(path)


def test_decoded_features_from_files_replace_decoding(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    files = {name: {"folders": f"lab/{name}", "subjects": {"S1": "sub-01"}} for name in content["networks"]}
    content["decode"] = {"files": files}
    content["fit"] = {}
    study = load_study(write(tmp_path, yaml.safe_dump(content)))
    assert study.decode.files["vgg"].folders == (tmp_path / "lab" / "vgg",)
    del content["simulate"]
    content["ingest"] = {"subjects": {}, "stimuli": {"natural": {"folder": "x"}}}
    assert load_study(write(tmp_path, yaml.safe_dump(content))).test_datasets("S1") == ["natural"]
    content["fit"] = {"decode": True}
    content["decode"] = {
        "average": False,
        "files": {"vg": files["vgg"], "image": {"folders": "x", "rois": {"V2": "b"}}},
    }
    found = mistakes(tmp_path, yaml.safe_dump(content))
    for message in (
        "decode.files: unknown network 'vg'; did you mean 'vgg'",
        "give files of vgg too",
        "decode.files does not go with fit.decode",
        "decode.files does not go with decode.average",
        "decode.files.image.rois: 'V2' is not in the study",
    ):
        assert any(message in line for line in found), (message, found)
    assert len(found) == 5
