"""The examples of docs/your_own_data.md, run on small files; and the studies of published data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from hpc_recon import decode, evaluate, extract, fit, ingest, pipeline
from hpc_recon.core.loading import load_study
from hpc_recon.formats import feature_trees
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.stores import arrays, brain, layout

ROOT = Path(__file__).resolve().parents[1]
X = np.random.default_rng(0).standard_normal((7, 5))


@pytest.fixture
def examples(tmp_path, make_study):
    """Return the studies of the page by heading, with images of two training stimuli and one test stimulus."""
    for folder, names in (("training", ("t1", "t2")), ("test", ("n1",))):
        (tmp_path / "lab" / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            Image.fromarray(np.full((16, 16, 3), 9 * i + len(folder), np.uint8)).save(
                tmp_path / "lab" / folder / f"{name}.png"
            )
    page = (ROOT / "docs" / "your_own_data.md").read_text()
    common, *_ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = dict(re.findall(r"\n## (Arrays|BData|Features|Decoded features)\n.*?```yaml\n(.*?)```", page, re.DOTALL))
    return {
        heading: lambda text=text, **more: make_study(yaml.safe_load(common) | yaml.safe_load(text) | more)
        for heading, text in found.items()
    }


def test_arrays(examples, tmp_path, run_verb):
    np.savez(
        tmp_path / "lab" / "S1.npz",
        training=X[:6],
        training_labels=np.array(["t1", "t2", "t1", "t2", "t1", "fixation"]),
        run=np.array([1.0, 1, 1, 2, 2, 2]),
        test=X[5:],
        test_labels=np.array(["n1", "n1"]),
        V1=np.array([1, 1, 0, 0, 0]),
        atlas=np.array([0, 20, 20, 21, 3]),
    )
    study = examples["Arrays"]()
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    assert found.labels == ("t1", "t2", "t1")  # sample 2 and fixation are left out; samples 1 and 3 are a group
    np.testing.assert_allclose(found.samples, np.stack([(X[0] + X[2]) / 2, X[3], X[4]])[:, :4], rtol=1e-6)
    assert found.columns == {"run": [1.0, 2.0, 2.0], "n_averaged": [2.0, 1.0, 1.0]}
    assert brain.read_roi(study.workspace, "S1", "HVC").tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(
        brain.read_items(study, "S1", "test", "HVC").samples, [X[5:, 2:4].mean(axis=0)], rtol=1e-6
    )


def test_bdata(examples, tmp_path, run_verb):
    for name, rows in (("a", slice(0, 4)), ("b", slice(4, 7))):
        kind = np.array([1.0, 1, 2, 2, 1, 1, 1])[rows]
        write_bdata(
            tmp_path / "lab" / f"S1_{name}.h5",
            {
                "VoxelData": X[rows],
                "DataType": kind,
                "Run": np.arange(7.0)[rows],
                "stimulus_name": np.where(kind == 2, 3.0, np.array([1.0, 2, 1, 1, 2, 1, 2])[rows]),
            },
            metadata={
                "ROI_V1": Row("VoxelData", np.array([1, 1, 0, 0, 0], dtype=bool)),
                "ROI_HVC": Row("VoxelData", np.array([0, 1, 1, 1, 0], dtype=bool)),
            },
            vmaps={"stimulus_name": {1.0: "t1", 2.0: "t2", 3.0: "n1"}},
        )
    study = examples["BData"]()
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    assert found.labels == ("t1", "t2", "t2", "t1", "t2")
    np.testing.assert_array_equal(found.samples, X[[0, 1, 4, 5, 6]].astype(np.float32))
    assert found.columns == {"run": [0.0, 1.0, 4.0, 5.0, 6.0]}
    assert brain.read_roi(study.workspace, "S1", "HVC").tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(
        brain.read_brain(study.workspace, "S1", "test").samples, [X[2:4].mean(axis=0)], rtol=1e-6
    )


def test_features(examples, tmp_path, run_verb):
    rng = np.random.default_rng(1)
    values = {"conv": rng.normal(size=(3, 24)).astype("f4"), "fc": rng.normal(size=(3, 5)).astype("f4")}
    for layer, shape in (("conv", (2, 3, 4)), ("fc", (5,))):
        for label, row in zip(("t1", "t2", "n1"), values[layer], strict=True):
            feature_trees.write_feature(tmp_path / "lab" / "features" / "net", layer, label, row, shape)
    folders = {name: {"folder": f"lab/{name}"} for name in ("training", "test")}
    np.save(tmp_path / "lab" / "x.npy", X[:2])
    np.save(tmp_path / "lab" / "y.npy", X[:1])
    mapped = {"training": {"samples": {"file": "lab/x.npy"}}, "test": {"samples": {"file": "lab/y.npy"}}}
    study = examples["Features"](ingest={"subjects": {"S1": {"datasets": mapped}}, "stimuli": folders}, rois=["VC"])
    run_verb(ingest, study)
    run_verb(extract, study)
    for layer in values:
        np.testing.assert_array_equal(arrays.read(study.workspace, layout.features("lab", layer)), values[layer])


def test_decoded_features(examples, tmp_path, run_verb):
    values = np.random.default_rng(1).normal(size=(1, 16 * 16 * 16)).astype("f4")
    root = tmp_path / "lab" / "decoded" / "net"
    feature_trees.write_decoded(root, "conv1_1", "sub-01", "VC", "n1", values[0], (16, 16, 16))
    study = examples["Decoded features"](rois=["VC"])
    for verb in (ingest, extract, fit, decode, evaluate):
        run_verb(verb, study)
    ref = layout.decoded("S1", "VC", "test", "net", "conv1_1")
    np.testing.assert_array_equal(arrays.read(study.workspace, ref), values)
    true = arrays.read(study.workspace, layout.features("net", "conv1_1"))[2]
    expected = np.corrcoef(_zscored(study, values[0]), _zscored(study, true))[0, 1]
    scores = pd.read_csv(study.workspace / "scores" / "features.csv")
    found = scores[scores["metric"] == "pattern_correlation"]["value"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not (study.workspace / "brain.zarr").exists()


def _zscored(study, values):
    """Standardise by the two reference stimuli, as published scores do; units that never change are left out."""
    reference = arrays.read(study.workspace, layout.features("net", "conv1_1"))[:2].astype(float)
    scale = reference.std(axis=0, ddof=1)
    kept = scale > 1e-6 * np.abs(reference.mean(axis=0))
    return ((values - reference.mean(axis=0)) / np.where(kept, scale, 1))[kept]


@pytest.mark.parametrize("name", ["shen2019", "god2017"])
def test_studies_of_published_data_are_projected_and_say_where_every_file_is(name, tmp_path, monkeypatch, capsys):
    path = ROOT / "configs" / "studies" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    assert pipeline.main(["--study", str(path), "--dry-run"]) == 0
    assert "Sizes that the workspace does not hold yet" in " ".join(capsys.readouterr().out.split())
    assert ingest.main(["--study", str(path), "--check", "--set", f"workspace={tmp_path}/ws"]) == 1
    assert "the study does not say where" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    study = load_study(path)
    assert study.sizes is not None
    assert set(study.sizes.datasets) == set(study.datasets)
