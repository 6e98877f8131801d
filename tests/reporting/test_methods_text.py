"""A Methods paragraph: its numbers are those of the study and of the stores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hpc_recon import report
from hpc_recon.core.loading import load_study
from hpc_recon.reporting import methods_text

INGEST = {"subjects": {}, "stimuli": {name: {"array": {"file": "x.npy"}} for name in ("training", "natural")}}
STUDIES = sorted((Path(__file__).resolve().parents[2] / "configs" / "studies").glob("*.yaml"))


def text(study) -> str:
    return methods_text.text(study, version="1.2.3")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_is_shipped_has_a_text(path: Path, tmp_path: Path) -> None:
    study = load_study(path, [f"workspace={tmp_path}"])
    found = text(study)
    assert f"{len(study.subjects)} subject" in found
    for name in (*study.networks, *study.datasets):
        assert name in found
    assert found.count(methods_text.NOT_RUN.strip()) >= 4, "nothing of it was run"
    assert "hpc_recon 1.2.3" in found
    assert not re.search(r"\bNone\b|<class|PosixPath|/configs/", found)
    assert ("ho2022" in path.stem or study.convert is not None) == ("Inter-individual" in found)
    kinds = {options.method for options in study.reconstruct.values()}
    assert ("end_to_end" in kinds) == ("End-to-end deep image reconstruction from" in found)
    assert ("shape_semantic" in kinds) == ("shape-semantic GAN" in found)
    assert ("latent" in kinds) == ("Hyperrealistic" in found)


def test_numbers_are_those_of_the_stores(decodable) -> None:
    study, data = decodable()
    found = text(study)
    samples, _ = data.brain["S1", "training"]
    assert f"Dataset training (training), samples: {len(samples):,} (S1)" in found
    assert f"ROI VC, voxels: {samples.shape[1]:,} (S1)" in found
    assert f"conv ({np.prod((4, 5, 5))} units) and fc (30 units)" in found
    assert "the 12 voxels of largest |correlation|" in found
    assert "**Decoders.** [not run yet]" in found
    assert "**Features.** [not run yet]" not in found, "features were stored"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fit": {"n_voxels": "all", "alpha": {"grid": [1, 20]}}}, "penalty chosen of 1 and 20 for each layer"),
        ({"fit": {"n_voxels": 7, "alpha": 3.5}}, "penalty 3.5 on z-scored data), from the 7 voxels"),
        ({"fit": {"estimator": "ard", "n_voxels": 7}}, "automatic relevance determination"),
        ({"decode": {"average": False}}, "were kept as single trials"),
        ({"decode": {"average": 3}}, "were averaged 3 at a time"),
        ({"decode": {"norm_correction": "channel_std"}}, "corrected (channel_std) with the statistics of the training"),
        ({"units": {"every": 4}}, "Only every 4th unit of each layer were decoded"),
        ({"evaluate": {"confidence": 0.9, "resamples": 300}}, "90 % percentile bootstrap over images (300 resamples)"),
        ({"evaluate": {"presets": ["mindeye"]}}, "Further settings: presets mindeye"),
    ],
)
def test_another_setting_is_another_text(make_study, changes, expected) -> None:
    assert expected not in text(make_study())
    assert expected in text(make_study(**changes))


def test_features_of_others_are_corrected_and_weights_prepared_as_the_text_says(make_study) -> None:
    files = {"pixels": {"folders": ["decoded"]}}
    found = text(make_study(simulate=None, ingest=INGEST, decode={"files": files, "norm_correction": "channel_std"}))
    assert "read from files. The norm of decoded features was corrected (channel_std)" in found
    network = {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "preprocessing": "half", "dtype": "float16"}
    assert "Further settings: preprocessing half, dtype float16." in text(make_study(networks={"vgg": network}))


def test_of_images_method_optimiser_and_what_differs_from_defaults(make_study) -> None:
    network = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}}
    deep = {"method": "icnn", "network": "vgg", "iterations": 33, "layers": ["conv2_1"], "total_variation": 0.25}
    near = {"method": "retrieval", "network": "vgg", "mean_of": 4, "title": "Look-up"}
    found = text(make_study(networks=network, reconstruct={"deep": deep, "near": near}))
    assert "pixels optimised with L-BFGS for 33 iterations" in found
    assert "features of vgg (conv2_1) match the decoded ones" in found
    assert "total variation 0.25" in found
    assert "*Look-up*: the mean of the 4 training images nearest in features of vgg (all layers)" in found
    assert "end-to-end" not in found.lower()


def test_the_command_prints_it_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = next(path for path in STUDIES if path.stem == "demo")
    options = ["--study", str(demo), "--set", f"workspace={tmp_path / 'ws'}", "--set", "fit.n_voxels=77"]
    assert report.main([*options, "--methods-text"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Methods: ")
    assert "the 77 voxels of largest" in printed
    assert not (tmp_path / "ws").exists()
