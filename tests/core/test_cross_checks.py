"""What is wrong with a study though each section is right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core.loading import load_study


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("role: test", "role: training", "exactly one must have role: training, but 2 have"),
        ("simulate: {preset: easy}", "", "give either `simulate:` or `ingest:`"),
        ("[S1, S2]", "[S1, S1]", "subjects repeat: S1, S1"),
        ("rois: [V1, VC]", "rois: [V1, VC, V1]", "rois repeat: V1, VC, V1"),
        ("fit: {", "report: {rois: [V2]}\nfit: {", "report.rois: 'V2' is no region of the study"),
        ("fit: {alpha: {grid: [1, 10]}", "fit: {alpha: .inf", "fit.alpha: input should be a finite number; got inf"),
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
        ("layer_weights: {conv1_1: 6}", "layers: [conv2_1, conv2_1]", "icnn.layers: layers repeat: conv2_1"),
        ("method: pixels,", "method: retrieval, layers: [pixels, pixels],", "direct.layers: layers repeat: pixels"),
        ("name: small", "name: ../small", "name: a name has letters, digits and"),
    ],
)
def test_one_mistake_each(mistakes, good, old: str, new: str, expected: str) -> None:
    assert old in good
    found = mistakes(good.replace(old, new))
    assert any(expected in line for line in found), found


def test_ingest_cross_checks(mistakes, good) -> None:
    content = yaml.safe_load(good)
    del content["simulate"]
    samples = {"samples": {"file": "a.mat", "key": "x"}}
    content["ingest"] = {
        "subjects": {"S1": {"datasets": {"trainin": samples}}},
        "stimuli": {"natural": {"array": {"file": "b.npy"}}},
        "cross_validation": {"folds": 5, "test_dataset": "training"},
    }
    found = mistakes(yaml.safe_dump(content))
    assert any("'S2' is not under ingest.subjects" in line for line in found)
    assert any("dataset 'trainin' is not under datasets; did you mean 'training'?" in line for line in found)
    assert any("ingest.cross_validation: 'training' must be a dataset with role: test" in line for line in found)


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
def test_mistakes_in_the_options_of_icnn(mistakes, good, new: str, expected: str) -> None:
    found = mistakes(good.replace("layer_weights: {conv1_1: 6}", new))
    assert any(expected in line for line in found), found


def test_calibration_and_gram_cross_checks(mistakes, good) -> None:
    text = good.replace("layer_weights: {conv1_1: 6}", "reliability: calibrated")
    found = mistakes(text, "fit.out_of_fold=true", "fit.alpha=1", "decode.norm_correction=l2_norm")
    assert any("restores the spread of decoded features itself" in line for line in found)
    text = good.replace("layer_weights: {conv1_1: 6}", "loss: gram")
    assert any("a gram loss needs all units" in line for line in mistakes(text, "units=7"))


def test_decoded_features_from_files_replace_decoding(write, mistakes, good, tmp_path: Path) -> None:
    content = yaml.safe_load(good)
    files = {name: {"folders": f"lab/{name}", "subjects": {"S1": "sub-01"}} for name in content["networks"]}
    content["decode"] = {"files": files}
    content["fit"] = {}
    study = load_study(write(yaml.safe_dump(content)))
    assert study.decode.files["vgg"].folders == (tmp_path / "lab" / "vgg",)
    del content["simulate"]
    content["ingest"] = {"subjects": {}, "stimuli": {"natural": {"folder": "x"}}}
    assert load_study(write(yaml.safe_dump(content))).test_datasets("S1") == ["natural"]
    content["fit"] = {"decode": True}
    content["decode"] = {
        "average": False,
        "files": {"vg": files["vgg"], "image": {"folders": "x", "rois": {"V2": "b"}}},
    }
    found = mistakes(yaml.safe_dump(content))
    for message in (
        "decode.files: unknown network 'vg'; did you mean 'vgg'",
        "give files of vgg too",
        "decode.files does not go with fit.decode",
        "decode.files does not go with decode.average",
        "decode.files.image.rois: 'V2' is not in the study",
    ):
        assert any(message in line for line in found), (message, found)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("convert: {pairs: [S1-S3]}", "convert.pairs: 'S1-S3' is not <source>-<target> of the subjects S1, S2"),
        ("convert: {}\nfit: {decode: true}", "convert does not go with fit.decode; leave one of them out"),
        ("convert: {pool: [2]}", "convert.pool: 2 sources are asked for"),
        (
            "convert: {pool: [1]}\nfit: {files: {vgg: {folders: x}, image: {folders: x}}}",
            "convert.pool does not go with fit.files: pooled samples need decoders fitted to them",
        ),
        (
            "convert: {pool: [1]}\nfit: {statistics_by: session}",
            "convert.pool does not go with fit.statistics_by: pooled samples are of several subjects",
        ),
    ],
)
def test_mistakes_of_converters(mistakes, good, section: str, expected: str) -> None:
    old = "fit: {alpha: {grid: [1, 10]}, n_voxels: 50}\n"
    found = mistakes(good.replace(old, section + "\n"))
    assert any(expected in line for line in found), found


def test_converters_need_training_samples_that_decoders_from_files_do_without(mistakes, good) -> None:
    content = yaml.safe_load(good)
    del content["simulate"]
    content["fit"] = {"files": {name: {"folders": "x"} for name in content["networks"]}}
    one = {"bdata": {"files": "x.h5", "labels": {"key": "stimulus_name"}}}
    own = {name: one for name in content["datasets"] if name != "training"}
    both = own | {"training": one}
    subjects = {"S1": {"datasets": own}, "S2": {"datasets": both}}
    content["ingest"] = {"subjects": subjects, "stimuli": {"natural": {"folder": "x"}}}
    content["convert"] = {}
    found = [line for line in mistakes(yaml.safe_dump(content)) if "convert: " in line]
    assert len(found) == 1, "S2 has them"
    assert "samples of the training dataset 'training', but S1 has none; give them under ingest.subjects.S1" in found[0]
