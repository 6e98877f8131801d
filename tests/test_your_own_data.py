"""The examples of docs/your_own_data.md, run on small files; and the studies of published data."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from hpc_recon import decode, evaluate, extract, fit, ingest, pipeline, report
from hpc_recon.core.loading import load_study, read_yaml
from hpc_recon.exchange import checking
from hpc_recon.formats import decoder_trees, feature_trees
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.formats.bids import MOTION
from hpc_recon.stores import arrays, brain, layout, positions

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
    headings = "Arrays|BData|BOLD|Betas|ROIs in images|Features|Decoded features|Decoders|Samples that show no stimulus"
    found = dict(re.findall(rf"\n## ({headings})\n.*?```yaml\n(.*?)```", page, re.DOTALL))

    def make(text, **more):
        (tmp_path / "example.yaml").write_text(text)  # read as a user's file, with its anchors
        return make_study(yaml.safe_load(common) | read_yaml(tmp_path / "example.yaml") | more)

    return {heading: partial(make, text) for heading, text in found.items()}


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


SHAPE, AFFINE = (3, 4, 2), np.diag([2.0, 2.0, 3.0, 1.0])
#: Five voxels of a grid, in C order; the first two are V1, the next LOC and FFA, the last in no region.
IJK = [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 2, 0), (2, 3, 1)]


def volume(path, values, *, tr_s=None):
    """Save (5,) or (n, 5) values of the five voxels as a NIfTI file; other voxels are 0."""
    values = np.asarray(values)
    whole = np.zeros((*SHAPE, *values.shape[:-1]), values.dtype)
    for voxel, place in enumerate(IJK):
        whole[place] = values[..., voxel]
    image = nib.Nifti1Image(whole, AFFINE)
    if tr_s is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = tr_s
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def atlas(lab):
    volume(lab / "mask.nii.gz", np.ones(5, np.uint8))
    volume(lab / "V1.nii.gz", np.array([1, 1, 0, 0, 0], np.uint8))
    volume(lab / "atlas.nii.gz", np.array([1, 1, 20, 21, 3], np.int16))
    (lab / "atlas.tsv").write_text("index\tname\n1\tV1\n3\tPPA\n20\tLOC\n21\tFFA\n")


def write_run(image, events, confounds, shown, *, n_window, dropped=4):
    """Save a run with one response of `X` a block, 4 s after its onset, and its tables."""
    percent = np.zeros((dropped + 12 + n_window * len(shown) + 4, 5))
    rows = ["onset\tduration\ttrial_type\tstim_file\tbutton", "0\t24\trest\tn/a\tn/a"]
    for block, (label, row) in enumerate(shown):
        first = dropped + 12 + n_window * block
        percent[first + 2 : first + 2 + n_window] = X[row]
        rows.append(f"{2 * first}\t{2 * n_window}\tstimulus\timages/{label}.png\t{row}")
    volume(image, (900 * (1 + percent / 100)).astype(np.float32), tr_s=2.0)
    for path, lines in ((events, rows), (confounds, ["\t".join(MOTION), *["\t".join("0" * 6)] * len(percent)])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def test_bold(examples, tmp_path, run_verb):
    lab = tmp_path / "lab"
    atlas(lab)
    for session, shown in (("training01", [("t1", 0), ("t2", 1), ("t2", 2)]), ("training02", [("t2", 3), ("t1", 4)])):
        func, name = f"sub-01/ses-{session}/func", f"sub-01_ses-{session}_task-view_run-1"
        write_run(
            lab / "fmriprep" / func / f"{name}_space-T1w_desc-preproc_bold.nii.gz",
            lab / "raw" / func / f"{name}_events.tsv",
            lab / "fmriprep" / func / f"{name}_desc-confounds_timeseries.tsv",
            shown,
            n_window=4,
        )
    tables = lab / "test_events.tsv", lab / "unused.tsv"
    write_run(lab / "test.nii.gz", *tables, [("n1", 5)], n_window=6, dropped=0)
    example = examples["BOLD"]()
    datasets = example.ingest.subjects["S1"].datasets
    plain = {name: datasets[name].bold.model_copy(update={"linear_trend": False}) for name in datasets}
    assert datasets["training"].bold.confounds == MOTION
    run_verb(ingest, example)
    found = brain.read_brain(example.workspace, "S1", "training")
    assert found.labels == ("t1", "t2", "t2", "t1")  # t2 after t2 is a repetition
    assert found.columns["session"] == [1.0, 1.0, 2.0, 2.0]
    assert found.columns["response"] == [0.0, 1.0, 3.0, 4.0]
    assert brain.read_brain(example.workspace, "S1", "test").columns["n_averaged"] == [1.0]
    assert brain.read_roi(example.workspace, "S1", "V1").tolist() == [True, True, False, False, False]
    assert brain.read_roi(example.workspace, "S1", "HVC").tolist() == [False, False, True, True, False]
    assert positions.read_positions(example.workspace, "S1").ijk.tolist() == [list(place) for place in IJK]
    # Without the trend, which takes a part of so few blocks, a sample is what was planted.
    subject = example.ingest.subjects["S1"]
    changed = {name: datasets[name].model_copy(update={"bold": plain[name]}) for name in datasets}
    section = {"S1": subject.model_copy(update={"datasets": changed})}
    update = {"ingest": example.ingest.model_copy(update={"subjects": section}), "workspace": tmp_path / "plain"}
    run_verb(ingest, study := example.model_copy(update=update))
    np.testing.assert_allclose(brain.read_brain(study.workspace, "S1", "training").samples, X[[0, 1, 3, 4]], atol=1e-4)
    np.testing.assert_allclose(brain.read_brain(study.workspace, "S1", "test").samples, X[[5]], atol=1e-4)


def test_betas(examples, tmp_path, run_verb):
    lab = tmp_path / "lab"
    stored = np.rint(300 * X).astype(np.int16)
    volume(lab / "mask.nii.gz", np.ones(5, np.uint8))
    volume(lab / "hvc.nii.gz", np.array([0, 0, 1, 1, 1], np.uint8))
    volume(lab / "betas_session01.nii.gz", stored[:4])
    whole = np.zeros((*SHAPE, 3), np.float32)
    for voxel, place in enumerate(IJK):
        whole[place] = stored[4:, voxel]
    whole[IJK[3]][1] = np.nan
    with h5py.File(lab / "betas_session02.hdf5", "w") as file:
        file["betas"] = whole.transpose(3, 2, 1, 0)  # as MATLAB writes (X, Y, Z, trial)
    shown = ["t1", "n1", "t2", "t1", "t2", "n1", "t1"]
    rows = [f"{label}\t{int(label == 'n1')}\t{i + 1}" for i, label in enumerate(shown)]
    (lab / "trials.tsv").write_text("\n".join(["image\tshared\trun", *rows]) + "\n")
    study = examples["Betas"]()
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    left = [0, 1, 2, 4]  # voxel 3 is NaN in a test trial
    assert found.labels == ("t1", "t2", "t1", "t2", "t1")
    np.testing.assert_allclose(found.samples, stored[[0, 2, 3, 4, 6]][:, left] / 300, rtol=1e-6)
    assert found.columns == {"session": [1.0, 1.0, 1.0, 2.0, 2.0], "run": [1.0, 3.0, 4.0, 5.0, 7.0]}
    assert brain.read_roi(study.workspace, "S1", "HVC").tolist() == [False, False, True, True]
    means = stored[[1, 5]][:, left].mean(axis=0) / 300
    np.testing.assert_allclose(brain.read_items(study, "S1", "test").samples, [means], rtol=1e-5)


def test_rois_in_images(examples, tmp_path, run_verb):
    lab = tmp_path / "lab"
    atlas(lab)
    volume(lab / "grid.nii.gz", np.zeros(5, np.uint8))
    volume(lab / "v1_probability.nii.gz", np.array([0.9, 0.6, 0.4, 0.0, 0.1], np.float32))
    order = [3, 0, 4, 1, 2]  # arrays may list voxels in any order
    np.savez(
        lab / "S1.npz",
        training=X[:4],
        training_labels=np.array(["t1", "t2", "t1", "t2"]),
        test=X[4:6],
        test_labels=np.array(["n1", "n1"]),
        mm=[(AFFINE @ [*IJK[voxel], 1])[:3] for voxel in order],
    )
    study = examples["ROIs in images"]()
    run_verb(ingest, study)
    regions = {"V1": [0, 1], "HVC": [2, 3], "VC": [0, 1, 2, 3]}
    for name, members in regions.items():
        assert brain.read_roi(study.workspace, "S1", name).tolist() == [voxel in members for voxel in order], name
    assert positions.read_positions(study.workspace, "S1").ijk.tolist() == [list(IJK[voxel]) for voxel in order]


def test_samples_that_show_no_stimulus(examples, tmp_path, run_verb):
    for name in ("t1", "t2"):
        (tmp_path / "lab" / "training" / f"{name}.png").rename(tmp_path / "lab" / "training" / f"cats_{name}.png")
    np.savez(
        tmp_path / "lab" / "S1.npz",
        training=X[:4],
        training_labels=np.array(["cats_t1", "cats_t2"] * 2),
        categories=X[4:6],
        categories_labels=np.array(["cats", "cats"]),
    )
    write_bdata(
        tmp_path / "lab" / "S1_imagery.h5",
        {"VoxelData": X[:3], "stimulus_name": np.array([2.0, np.nan, 2.0]), "Evaluation": np.array([4.0, 0, 1])},
        vmaps={"stimulus_name": {2.0: "n1"}},
    )
    study = examples["Samples that show no stimulus"](rois=["VC"])
    run_verb(ingest, study)
    items = brain.read_items(study, "S1", "imagery")
    assert (items.names, items.conditions) == (("n1", "fixation"), ("", "nothing"))
    assert items.columns["vividness"].tolist() == [2.5, 0]
    items = brain.read_items(study, "S1", "categories")
    assert (items.names, items.conditions) == (("cats",), ("category",))


PUBLISHED = ["shen2019", "god2017", "ho2022", "e2e2019", "fang2020", "hyper2020"]


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


def test_decoders(examples, tmp_path, run_verb):
    rng = np.random.default_rng(2)
    shape, members = (16, 16, 16), np.array([0, 1, 1, 1, 0], dtype=bool)
    n = int(np.prod(shape))
    scaling = decoder_trees.Scaling(rng.normal(size=3), rng.uniform(1, 2, 3), *rng.uniform(0.5, 2, (2, n)), shape)
    weights, bias = rng.normal(size=(n, 3)).astype("f4"), rng.normal(size=n).astype("f4")
    rows = decoder_trees.DecoderRows(0, np.tile(np.arange(3, dtype=np.uint32), (n, 1)), weights, bias)
    folder = tmp_path / "lab" / "feature_decoders" / "net" / "conv1_1" / "sub-01" / "ROI_HVC" / "model"
    decoder_trees.write_rows(folder, rows, 3, shape)
    decoder_trees.write_scaling(folder, scaling)
    np.savez(tmp_path / "lab" / "S1.npz", test=X[:2], test_labels=np.array(["n1", "n1"]), HVC=members)
    study = examples["Decoders"](rois=["HVC"])
    for verb in (ingest, extract, fit, decode, evaluate, report):
        run_verb(verb, study)
    assert "not in this study (decoders were trained elsewhere" in (study.workspace / "report/index.html").read_text()
    found = arrays.read(study.workspace, layout.decoded("S1", "HVC", "test", "net", "conv1_1"))
    z = (X[:2, members].mean(axis=0) - scaling.x_mean) / scaling.x_norm
    np.testing.assert_allclose(found[0], (weights @ z + bias) * scaling.y_norm + scaling.y_mean, rtol=1e-4, atol=1e-5)
    scores = pd.read_csv(study.workspace / "scores" / "features.csv")
    assert np.isfinite(scores[scores["metric"] == "pattern_correlation"]["value"]).all()
    assert not (study.workspace / "brain.zarr" / "S1" / "training").exists()
    retrieved = np.load(
        study.workspace / "scores" / "parts" / "features" / "S1" / "HVC" / "net" / "conv1_1" / "similarity-test.npy"
    )
    assert retrieved.shape == (1, 2)  # with the training dataset's own stimuli


def _zscored(study, values):
    """Standardise by the two reference stimuli, as published scores do; units that never change are left out."""
    reference = arrays.read(study.workspace, layout.features("net", "conv1_1"))[:2].astype(float)
    scale = reference.std(axis=0, ddof=1)
    kept = scale > 1e-6 * np.abs(reference.mean(axis=0))
    return ((values - reference.mean(axis=0)) / np.where(kept, scale, 1))[kept]


@pytest.mark.parametrize("name", PUBLISHED)
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
    assert study.ingest is not None
    assert set(study.sizes.datasets) == set(study.datasets)
    listed = {source.file for source in study.ingest.sources}
    assert {Path(network.weights) for network in study.networks.values() if "/" in network.weights} <= listed
    assert {n.reference.file for n in study.networks.values() if n.reference is not None} <= listed
    generators = [o.latent for o in study.reconstruct.values() if getattr(o, "is_generator", False)]
    assert {path for latent in generators for path in (latent.weights, latent.upper_file)} <= listed


@pytest.mark.parametrize("name", ["shen2019", "ho2022"])
def test_photographs_are_made_through_the_generator_and_everything_from_pixels(name):
    study = load_study(ROOT / "configs" / "studies" / f"{name}.yaml")
    generator = study.reconstruct["generator"]
    assert (generator.datasets, generator.optimiser.name, generator.first) == (("natural",), "momentum", "zeros")
    assert generator.optimiser.decay == (0.01, 0.01)
    others = [options for options in study.reconstruct.values() if options is not generator]
    assert {(o.optimiser.name, o.iterations, o.first, o.noise) for o in others} == {("lbfgs", 200, "mean_rgb", 0.0)}
    made = {dataset for o in others for dataset in (o.datasets or study.datasets)}
    assert made >= set(study.datasets) - {"training"}


def test_the_imagery_of_the_2019_study_is_checked_with_its_fixation_rows(tmp_path):
    """Files as the comments of the study say: 26 blocks in each of 20 runs, one of them fixation."""
    text = (ROOT / "configs" / "studies" / "shen2019.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text)
    folder = tmp_path / "shen2019"
    folder.mkdir()
    labels = np.array([*(f"image{i:02d}" for i in range(25)), "fixation"] * 20)
    np.save(folder / "S1_imagery.npy", np.zeros((520, 4), np.float32))
    np.save(folder / "S1_imagery_labels.npy", labels)
    np.save(folder / "S1_imagery_vividness.npy", np.zeros(520))

    def state():
        found = checking.check(load_study(tmp_path / "study.yaml", [f"workspace={tmp_path}/ws"]))
        return {finding.what: (finding.state, finding.detail) for finding in found}

    expected = "500 samples of 25 stimuli, 20 more of 1 condition without a stimulus"
    assert state()["S1 imagery"] == ("ok", expected)
    assert state()[str(folder / "S2_imagery.npy")][0] == "missing"
    labels[25] = "image00"
    np.save(folder / "S1_imagery_labels.npy", labels)
    assert state()["S1 imagery"] == (
        "wrong",
        "19 null samples, but sizes.datasets.imagery.null_samples is 20; is it the whole file, and the right label?",
    )


def test_the_imagery_of_god_shows_categories(tmp_path, run_verb):
    """A file as the study's comments say, with few rows: photographs by id, imagery by synset."""
    (tmp_path / "study.yaml").write_text((ROOT / "configs" / "studies" / "god2017.yaml").read_text())
    folder = tmp_path / "god2017"
    for name, images_of in (("training", ("n01518878_10042", "n01518878_5")), ("test", ("n01443537_22563",))):
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(images_of):
            Image.fromarray(np.full((8, 8, 3), 50 * i + len(name), np.uint8)).save(folder / name / f"{image}.JPEG")
    ids = [1518878.010042, 1518878.000005, 1443537.022563, 1443537.022563, 1443537.0]
    write_bdata(
        folder / "Subject1.h5",
        {
            "VoxelData": X[:5],
            "DataType": np.array([1.0, 1, 2, 2, 3]),
            "Run": np.arange(5.0),
            "stimulus_id": np.array(ids),
        },
        metadata={f"ROI_{roi}": Row("VoxelData", np.ones(5, dtype=bool)) for roi in ("VC", "V1", "V2")},
    )
    changes = ["subjects=[S1]", f"workspace={tmp_path}/ws", "networks.vgg19.weights=random:0"]
    study = load_study(tmp_path / "study.yaml", changes)
    run_verb(ingest, study)
    items = brain.read_items(study, "S1", "imagery")
    assert (items.names, items.conditions, items.rows.tolist()) == (("n01443537",), ("category",), [-1])
    assert brain.read_items(study, "S1", "test").n_averaged.tolist() == [2]


def test_only_the_files_of_the_chosen_subjects_are_looked_for(tmp_path):
    path = ROOT / "configs" / "studies" / "god2017.yaml"
    named = {f.what for f in checking.check(load_study(path, ["subjects=[S2]", f"workspace={tmp_path}/ws"]))}
    assert {Path(what).name for what in named if what.endswith(".h5")} == {"Subject2.h5"}
    assert any(what.endswith("VGG_ILSVRC_19_layers.pt") for what in named)
