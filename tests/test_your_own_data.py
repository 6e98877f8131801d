"""The examples of docs/your_own_data.md, run on small files; and the studies of published data."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hpc_recon import ingest, pipeline
from hpc_recon.core.loading import load_study, read_yaml
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.formats.bids import MOTION
from hpc_recon.stores import brain, positions

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
    found = dict(re.findall(r"\n## (Arrays|BData|BOLD|Betas|ROIs in images)\n.*?```yaml\n(.*?)```", page, re.DOTALL))

    def make(text):
        (tmp_path / "example.yaml").write_text(common + text)
        load_study(tmp_path / "example.yaml")  # as a user's file, with its anchors
        return make_study(read_yaml(tmp_path / "example.yaml"))

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
