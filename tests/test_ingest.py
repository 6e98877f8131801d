from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpc_recon import ingest
from hpc_recon.core import receipts
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.loading import load_study
from hpc_recon.stores import brain, images, shapes

N_VOXELS = 9


def _content():
    """What the lab has: 6 training stimuli seen twice, 3 test stimuli seen twice, imagery of two of these."""
    rng = np.random.default_rng(0)
    train = [f"t{i}" for i in range(6)] * 2
    return {
        "train_x": rng.standard_normal((12, N_VOXELS)),
        "train_labels": np.array(train),
        "train_run": np.repeat([1.0, 2.0], 6),
        "train_images": rng.integers(0, 256, (6, 10, 8, 3)).astype(np.uint8),
        "train_names": np.array(train[:6]),
        "train_kind": np.array(["cat", "dog"] * 3),
        "test_x": rng.standard_normal((6, N_VOXELS)),
        "test_rows": np.array([3, 1, 2, 1, 2, 3]),
        "test_images": rng.random((3, 80)),
        "imagery_x": rng.standard_normal((2, N_VOXELS)),
        "imagery_labels": np.array(["test-0002", "test-0003"]),
        "v1": np.array([0, 1, 1, 0, 0, 0, 0, 0, 1.0]),
        "v2": np.array([1, 0, 0, 0, 0, 0, 0, 0, 0]),
    }


def _key(name):
    return {"file": "lab/S1.npz", "key": name}


STUDY = {
    "name": "lab",
    "subjects": ["S1"],
    "rois": ["VC", "V1"],
    "datasets": {"training": {"role": "training"}, "test": {"role": "test"}, "imagery": {"role": "test"}},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "ingest": {
        "subjects": {
            "S1": {
                "datasets": {
                    "training": {
                        "samples": _key("train_x"),
                        "labels": _key("train_labels"),
                        "columns": {"run": _key("train_run")},
                    },
                    "test": {"samples": _key("test_x"), "stimulus_rows": _key("test_rows")},
                    "imagery": {"samples": _key("imagery_x"), "labels": _key("imagery_labels")},
                },
                "rois": {"V1": _key("v1"), "V2": _key("v2")},
            }
        },
        "stimuli": {
            "training": {
                "array": _key("train_images"),
                "labels": _key("train_names"),
                "categories": _key("train_kind"),
            },
            "test": {"array": _key("test_images"), "shape": [10, 8], "scale": 1.0},
        },
    },
}


@pytest.fixture
def lab(tmp_path, make_study):
    """Return a function that writes the lab's files, after changes, and loads the study, after changes."""

    def make(change=None, change_study=None):
        content, study = _content(), copy.deepcopy(STUDY)
        if change is not None:
            change(content)
        if change_study is not None:
            change_study(study)
        (tmp_path / "lab").mkdir(exist_ok=True)
        np.savez(tmp_path / "lab" / "S1.npz", **content)
        return make_study(study)

    return make


def _plan(study):
    return ingest.plan(study, shapes.read(study))


def _samples(name):
    return _content()[name].astype(np.float32)


def test_samples_labels_and_masks_arrive(lab, run_verb):
    study = lab()
    tiles = run_verb(ingest, study)
    assert [tile.id for tile in tiles] == [
        "ingest/stimuli/stimuli-00000000-00000001",
        "ingest/S1/brain-00000000-00000001",
    ]
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_array_equal(found.samples, _samples("train_x"))  # repeats are kept for training
    assert found.labels == tuple(f"t{i}" for i in range(6)) * 2
    assert found.columns == {"run": [1.0] * 6 + [2.0] * 6}
    masked = brain.read_brain(study.workspace, "S1", "training", "V1")
    np.testing.assert_array_equal(masked.samples, _samples("train_x")[:, [1, 2, 8]])
    assert shapes.read(study).n_voxels("S1", "V2") == 1
    assert shapes.read(study).n_voxels("S1", "VC") == N_VOXELS


def test_stimulus_rows_count_from_one_and_test_repeats_are_averaged(lab, run_verb):
    study = lab()
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "test")
    x = _content()["test_x"]
    assert found.labels == ("test-0003", "test-0001", "test-0002")  # rows 3, 1, 2
    np.testing.assert_allclose(found.samples, [(x[a] + x[b]) / 2 for a, b in ((0, 5), (1, 3), (2, 4))], rtol=1e-6)
    assert found.columns == {"n_averaged": [2.0, 2.0, 2.0]}
    items = brain.read_items(study, "S1", "test")
    assert items.names == ("test-0001", "test-0002", "test-0003")
    assert items.n_averaged.tolist() == [2, 2, 2]


def test_first_row_zero(lab, run_verb):
    def count_from_zero(study):
        study["ingest"]["subjects"]["S1"]["datasets"]["test"] |= {"first_row": 0, "repeats": "keep"}

    study = lab(lambda content: content.update(test_rows=np.array([2, 0, 1, 0, 1, 2])), count_from_zero)
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "test")
    assert found.labels == tuple(f"test-000{i}" for i in (3, 1, 2, 1, 2, 3))
    assert found.columns == {}


def test_dataset_without_stimuli_refers_to_those_of_others(lab, run_verb):
    study = lab()
    run_verb(ingest, study)
    assert brain.read_labels(study.workspace, "S1", "imagery") == ("test-0002", "test-0003")
    assert brain.read_items(study, "S1", "imagery").rows.tolist() == [7, 8]


def test_stimuli_arrive_with_their_table(lab, run_verb):
    study = lab()
    run_verb(ingest, study)
    table = images.read_table(study.workspace)
    assert table.labels == (*(f"t{i}" for i in range(6)), "test-0001", "test-0002", "test-0003")
    assert table.dataset == ("training",) * 6 + ("test",) * 3
    assert table.category == ("cat", "dog") * 3 + ("",) * 3
    assert (table.height, table.width) == (10, 8)
    pixels = images.read_images(study.workspace)
    np.testing.assert_array_equal(pixels[:6], _content()["train_images"])
    grey = np.rint(_content()["test_images"].reshape(3, 10, 8) * 255)
    np.testing.assert_array_equal(pixels[6:], np.repeat(grey[..., None], 3, axis=3))


@pytest.mark.parametrize("flat", [True, False])
def test_transposed_images_are_turned(lab, run_verb, flat):
    truth = _content()["test_images"].reshape(3, 10, 8)
    stored = truth.transpose(0, 2, 1)  # as MATLAB's column order leaves them
    study = lab(
        lambda content: content.update(test_images=stored.reshape(3, 80) if flat else stored),
        lambda study: study["ingest"]["stimuli"]["test"].update(transpose=True),
    )
    run_verb(ingest, study)
    np.testing.assert_array_equal(images.read_images(study.workspace)[6:, ..., 0], np.rint(truth * 255))


def test_folder_of_images_is_resized(lab, run_verb, tmp_path):
    folder = tmp_path / "lab" / "photos"
    folder.mkdir(parents=True)
    for i, size in ((1, (20, 20)), (0, (30, 20)), (2, (16, 16))):
        Image.fromarray(np.full((*size, 3), 40 * i, np.uint8)).save(folder / f"test-000{i + 1}.png")

    def use_folder(study):
        study["ingest"]["stimuli"]["test"] = {"folder": "lab/photos"}
        study["ingest"]["image_size"] = 16

    study = lab(None, use_folder)
    run_verb(ingest, study)
    table = images.read_table(study.workspace)
    assert table.labels[6:] == ("test-0001", "test-0002", "test-0003")
    assert table.source[6:] == ("test-0001.png", "test-0002.png", "test-0003.png")
    pixels = images.read_images(study.workspace)
    assert pixels.shape == (9, 16, 16, 3)
    assert [int(p.max()) for p in pixels[6:]] == [0, 40, 80]
    study = lab(None, lambda s: (use_folder(s), s["ingest"].pop("image_size")))
    with pytest.raises(
        StudyError, match=r"test: the images have 3 different sizes, 16 x 16 to 30 x 20; set ingest\.image"
    ):
        _plan(study)


def _dataset(study, name):
    return study["ingest"]["subjects"]["S1"]["datasets"][name]


def _set(path, value):
    """Return a change of the study: `_set("a.b", 1)` sets study["a"]["b"] = 1."""

    def change(study):
        *outer, last = path.split(".")
        for key in outer:
            study = study[key]
        study[last] = value

    return change


def _poke(name, index, value):
    def change(content):
        content[name] = content[name].astype(float)
        content[name][index] = value

    return change


DATASETS = "ingest.subjects.S1.datasets"
BAD_INPUT = {
    "missing file": (
        None,
        _set(f"{DATASETS}.test.samples", {"file": "lab/S2.npz", "key": "x"}),
        r"lab/S2\.npz does not exist; correct the path",
    ),
    "missing folder": (None, _set("ingest.stimuli.test", {"folder": "lab/none"}), r"lab/none does not exist"),
    "wrong key": (
        None,
        _set(f"{DATASETS}.test.samples", _key("test_xx")),
        r"no key 'test_xx'; did you mean 'test_x'\? \(its keys: imagery_labels, imagery_x, test_images",
    ),
    "nan in voxels": (
        _poke("train_x", (4, 7), np.nan),
        None,
        r"training: samples: 1 of 108 values are NaN or infinite, in 1 of 12 rows \(first at row 5, voxel 8",
    ),
    "infinity in voxels": (_poke("test_x", (0, 0), np.inf), None, r"test: samples: 1 of 54 values are NaN or infinite"),
    "overflow of float32": (_poke("test_x", (0, 0), 1e300), None, r"1 of 54 values are NaN or infinite"),
    "text for samples": (
        None,
        _set(f"{DATASETS}.test.samples", _key("train_labels")),
        r"test: samples must hold numbers, but holds text",
    ),
    "samples of one axis": (
        None,
        _set(f"{DATASETS}.test.samples", _key("v1")),
        r"test: samples are \(n_samples, n_voxels\), got \(9,\)",
    ),
    "labels that do not match": (
        lambda c: c.update(train_labels=np.array(["t0", "x1", "x2"] * 4)),
        None,
        r"training: 2 of 3 distinct labels of samples are not labels of its stimuli: 'x1', 'x2'; its 6 stimuli",
    ),
    "training samples of test stimuli": (
        lambda c: c.update(train_labels=np.array(["test-0001"] * 12)),
        None,
        r"training: 1 of 1 distinct labels",
    ),
    "too few labels": (
        lambda c: c.update(train_labels=np.array(["t0"] * 11)),
        None,
        r"training: there are 12 samples but 11 labels",
    ),
    "rows beyond the stimuli": (
        lambda c: c.update(test_rows=np.array([1, 2, 3, 4, 0, 1])),
        None,
        r"test: stimulus_rows must be whole numbers from 1 to 3 \(first_row is 1\), but 2 are not \(first: 4 at sa",
    ),
    "rows that are no whole numbers": (
        lambda c: c.update(test_rows=np.array([1, 2, 3, np.nan, 1, 1])),
        None,
        r"stimulus_rows must be whole numbers",
    ),
    "too few rows": (
        lambda c: c.update(test_rows=np.array([1, 2])),
        None,
        r"test: stimulus_rows has 2 values, but there are 6 samples",
    ),
    "samples in order, other number": (
        None,
        _set(f"{DATASETS}.test", {"samples": _key("test_x")}),
        r"sample i shows stimulus i, but there are 6 samples and 3 stimuli; give labels or stimulus_rows",
    ),
    "neither stimuli nor labels": (
        None,
        _set(f"{DATASETS}.imagery", {"samples": _key("imagery_x")}),
        r"imagery: it has no stimuli under ingest\.stimuli, so its samples need `labels`",
    ),
    "other voxels": (
        lambda c: c.update(test_x=np.zeros((6, 8))),
        None,
        r"all datasets of a subject have the same voxels, but their numbers are .*'test': 8",
    ),
    "region without voxels": (
        lambda c: c.update(v1=np.zeros(N_VOXELS)),
        None,
        r"rois\.V1 has no voxel: all 9 values are 0",
    ),
    "mask of other length": (
        lambda c: c.update(v1=np.ones(5)),
        None,
        r"rois\.V1 has 5 values, but the samples have 9 voxels",
    ),
    "nan in a mask": (_poke("v1", 3, np.nan), None, r"rois\.V1: 1 of 9 values are NaN"),
    "region that is not given": (
        None,
        _set("rois", ["VC", "V11"]),
        r"rois: the study decodes 'V11', but it is not given; did you mean 'V1'\?",
    ),
    "no training dataset": (
        None,
        lambda s: s["ingest"]["subjects"]["S1"]["datasets"].pop("training"),
        r"the training dataset 'training' is missing",
    ),
    "column of other length": (
        lambda c: c.update(train_run=np.ones(3)),
        None,
        r"training: column run has 3 values, but there are 12 samples",
    ),
    "infinity in a column": (_poke("train_run", 2, np.inf), None, r"training: column run: 1 of 12 values are NaN"),
    "duplicate labels of stimuli": (
        lambda c: c.update(train_names=np.array(["t0", "t0", "t2", "t3", "t4", "t5"])),
        None,
        r"1 labels of the stimuli of training occur more than once: 't0'",
    ),
    "label in two datasets": (
        lambda c: c.update(train_names=np.array(["test-0001", "t1", "t2", "t3", "t4", "t5"])),
        None,
        r"1 labels of the stimuli of all datasets occur more than once: 'test-0001'",
    ),
    "label that is no file name": (
        lambda c: c.update(train_names=np.array(["t0", "t 1", "t2", "t3", "t4", "t/5"])),
        None,
        r"2 of 6 labels of the stimuli of training do not: 't 1', 't/5'; rename them",
    ),
    "too few names of stimuli": (
        lambda c: c.update(train_names=np.array(["t0"])),
        None,
        r"training: there are 6 images but 1 labels",
    ),
    "too few categories": (
        lambda c: c.update(train_kind=np.array(["a"])),
        None,
        r"training: there are 6 images but 1 categories",
    ),
    "pixels beyond white": (
        None,
        _set("ingest.stimuli.training.scale", 1.0),
        r"pixel values are NaN or outside 0 to scale = 1 \(range 0 to 255\); set `scale`",
    ),
    "nan in pixels": (_poke("test_images", (0, 0), np.nan), None, r"test: 1 of 240 pixel values are NaN"),
    "wrong shape of flattened images": (
        None,
        _set("ingest.stimuli.test.shape", [10, 9]),
        r"flattened images \(3, 80\) need `shape: \[height, width\]` .* got \[10, 9\]",
    ),
    "images of five axes": (
        lambda c: c.update(train_images=np.zeros((6, 2, 2, 2, 3))),
        None,
        r"images are \(n, H, W\), .* got \(6, 2, 2, 2, 3\)",
    ),
    "sizes that differ": (
        lambda c: c.update(train_images=np.zeros((6, 5, 5))),
        None,
        r"must have one size, got training 5 x 5, test 10 x 8; set ingest\.image_size",
    ),
    "labels for a folder": (
        None,
        _set("ingest.stimuli.test", {"folder": "lab", "labels": _key("train_names")}),
        r"lab has no image",
    ),
    "dataset called roi": (
        None,
        lambda s: s["datasets"].update(roi={"role": "test"}),
        r"no dataset may be called 'roi'",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_a_clear_error_and_nothing_is_written(lab, case):
    change, change_study, message = BAD_INPUT[case]
    study = lab(change, change_study)
    with pytest.raises((StudyError, DataError), match=message):
        _plan(study)
    assert not study.workspace.exists()


def test_all_problems_of_a_subject_are_reported_at_once(lab):
    def spoil(content):
        content["train_x"][0, 0] = np.nan
        content["test_rows"] = np.array([9])
        content["v2"] = np.zeros(N_VOXELS)

    with pytest.raises(StudyError) as caught:
        _plan(lab(spoil))
    assert len(caught.value.problems) == 3
    assert all(problem.startswith("ingest.subjects.S1: ") for problem in caught.value.problems)


def test_constant_voxels_copies_and_shared_stimuli_are_logged(lab, caplog):
    def change(content):
        content["train_x"][:, [2, 5]] = 1.0
        content["train_images"][3] = content["train_images"][1]
        content["imagery_labels"] = np.array(["t0", "t1"])

    with pytest.raises(StudyError, match=r"dataset imagery are training stimuli too \(t0, t1\); move them to one side"):
        _plan(lab(change))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _plan(lab(change, _set("ingest.shared_stimuli", "allow")))
    text = caplog.text
    assert "S1: 2 voxels are constant over the training samples" in text
    assert "1 stimuli are copies of others (t3 = t1)" in text
    assert "S1: 2 stimuli of the test dataset imagery are training stimuli too" in text


def test_settings_follow_the_content_of_files_and_not_their_place(lab, tmp_path):
    settings = [tile.group.settings for tile in _plan(lab())]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "lab").rename(moved / "lab")
    path = moved / "study.yaml"
    (tmp_path / "study.yaml").rename(path)
    again = _plan(load_study(path))
    assert [tile.group.settings for tile in again] == settings
    changed = [tile.group.settings for tile in _plan(lab(_poke("train_x", (0, 0), 0.0)))]
    assert changed != settings


def test_second_run_writes_equal_bytes(lab, run_verb):
    study = lab()
    run_verb(ingest, study)
    before = receipts.records(study.workspace, "ingest")
    run_verb(ingest, study)
    assert receipts.records(study.workspace, "ingest") == before


def test_projected_files_are_the_files_written(lab):
    study = lab()
    ingest.prepare(study)
    for tile in _plan(study):
        files = ingest.work(study, tile)
        assert len(files) == tile.need.files_out
        receipts.write(study.workspace, tile, files, {})


MEASURE = """
import sys
from pathlib import Path
from hpc_recon import ingest
from hpc_recon.core import receipts
from hpc_recon.core.loading import load_study
from hpc_recon.stores import brain, images, shapes

def peak(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

study = load_study(Path(sys.argv[1]))
for tile in ingest.plan(study, shapes.read(study)):
    ingest._subject.cache_clear()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak("VmRSS")
    files = ingest.work(study, tile)
    print(tile.stage, peak("VmHWM") - before, tile.need.host_bytes)
    receipts.write(study.workspace, tile, files, {})
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure peaks")
def test_peak_memory_is_at_most_the_projected(lab, tmp_path):
    """The images and samples are large enough (40 MB) that what the interpreter itself allocates does not matter."""
    rng = np.random.default_rng(0)
    lab(
        lambda c: c.update(
            train_x=rng.standard_normal((1200, 8000)),
            train_labels=np.array([f"t{i % 6}" for i in range(1200)]),
            train_run=np.ones(1200),
            test_x=rng.standard_normal((6, 8000)),
            imagery_x=rng.standard_normal((2, 8000)),
            v1=np.ones(8000),
            v2=np.ones(8000),
            train_images=rng.random((6, 1500, 1500, 3)),
            test_images=np.zeros((3, 1500, 1500)),
        ),
        lambda s: s["ingest"]["stimuli"]["training"].update(scale=1.0),
    )
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "study.yaml")], check=True, capture_output=True, text=True
    )
    rows = [line.split() for line in run.stdout.splitlines()]
    assert [row[0] for row in rows] == ["stimuli", "brain"]
    for stage, used, projected in rows:
        assert int(used) <= int(projected), (stage, used, projected)
        assert int(used) >= int(projected) / 4, f"the projection of {stage} is far too large"


def _cross_validate(study):
    study["datasets"].pop("imagery")
    study["ingest"]["subjects"]["S1"]["datasets"].pop("imagery")
    study["ingest"]["cross_validation"] = {"folds": 3, "repeats": 2}


def test_folds_never_share_a_stimulus_and_hold_each_out_once(lab, run_verb):
    study = lab(None, _cross_validate)
    run_verb(ingest, study)
    table = images.read_table(study.workspace)
    dealt = {}
    for repeat in (1, 2):
        held = []
        for fold in (1, 2, 3):
            split = f"S1.r{repeat}f{fold:02d}"
            training = set(brain.read_labels(study.workspace, split, "training"))
            test = brain.read_labels(study.workspace, split, "test")
            assert not training & set(test)
            assert training | set(test) == set(table.labels)
            held.append(sorted(test))
        assert sorted(x for fold in held for x in fold) == sorted(table.labels)
        assert [len(fold) for fold in held] == [3, 3, 3]
        dealt[repeat] = held
    assert dealt[1] != dealt[2]


def test_folds_keep_training_repeats_and_average_held_out_ones(lab, run_verb):
    study = lab(None, _cross_validate)
    run_verb(ingest, study)
    content = _content()
    samples = np.concatenate([content["train_x"], content["test_x"]])
    labels = np.array([*content["train_labels"], *(f"test-000{i}" for i in content["test_rows"])])
    training = brain.read_brain(study.workspace, "S1.r1f02", "training")
    assert len(training.labels) == 12
    for label in set(training.labels):
        rows = [i for i, x in enumerate(training.labels) if x == label]
        np.testing.assert_array_equal(training.samples[rows], samples[labels == label].astype(np.float32))
    test = brain.read_brain(study.workspace, "S1.r1f02", "test")
    oracle = [samples[labels == label].mean(axis=0) for label in test.labels]
    np.testing.assert_allclose(test.samples, oracle, rtol=1e-5, atol=1e-6)  # float32 means
    assert test.columns == {"n_averaged": [2.0] * 3}
    assert training.columns == {}  # `run` is not known of the test samples


def test_more_folds_than_stimuli_are_refused(lab):
    def many(study):
        _cross_validate(study)
        study["ingest"]["cross_validation"] = {"folds": 10}

    study = lab(None, many)
    with pytest.raises(StudyError, match=r"S1\.r1f10: the dataset 'test' would have no sample; use fewer folds"):
        _plan(study)
    assert not study.workspace.exists()


def test_samples_of_stimuli_that_no_fold_holds_out_are_refused(lab):
    def borrow(study):
        _cross_validate(study)
        study["datasets"]["letters"] = {"role": "test"}
        study["ingest"]["stimuli"]["letters"] = study["ingest"]["stimuli"].pop("test")
        _dataset(study, "test").pop("stimulus_rows")
        _dataset(study, "test")["labels"] = _key("letter_labels")

    study = lab(lambda c: c.update(letter_labels=np.array(["letters-0001"] * 6)), borrow)
    with pytest.raises(
        StudyError, match=r"1 stimuli that S1 saw in test and training belong to another dataset \(letters-"
    ):
        _plan(study)


def _spread(pixels, *, axis):
    """Return the standard deviation of the ink along an axis, pixels."""
    ink = pixels.sum(axis=3 - axis)
    place = np.arange(ink.shape[1])
    mean = (ink * place).sum(axis=1) / ink.sum(axis=1)
    return np.sqrt((ink * (place - mean[:, None]) ** 2).sum(axis=1) / ink.sum(axis=1))


DIGITS = Path(__file__).resolve().parents[2] / "shared" / "data" / "digit69_28x28.mat"


@pytest.mark.real
@pytest.mark.skipif(not DIGITS.exists(), reason=f"the real data are not here: {DIGITS}")
def test_real_digits(tmp_path, run_verb):
    path = Path(__file__).resolve().parents[1] / "configs" / "studies" / "digits69.yaml"
    study = load_study(path, [f"workspace={tmp_path}", "ingest.cross_validation.repeats=1"])
    tiles = run_verb(ingest, study)
    assert len(tiles) == 1 + 11
    found = shapes.read(study)
    assert (found.n_stimuli(), found.image_size(), found.n_voxels("S1", "VC")) == (100, (28, 28), 3092)
    assert found.n_samples("S1", "training") == 90
    assert found.n_items("S1", "test") == 10
    assert {found.n_items(split, "test") for split in study.splits()} == {10}
    table = images.read_table(study.workspace)
    pixels = images.read_images(study.workspace)[..., 0] / 255.0
    six = np.array([category == "1" for category in table.category])
    assert six.sum() == 50
    # Upright, not lying on their side: digits are taller than wide. Not upside down: a six has its bowl below.
    taller = _spread(pixels, axis=1) > _spread(pixels, axis=2)
    assert taller.mean() > 0.9
    bowl_below = _spread(pixels[:, 14:], axis=2) > _spread(pixels[:, :14], axis=2)
    assert bowl_below[six].mean() > 0.8
    assert bowl_below[~six].mean() < 0.2
    for split in study.splits()[1:]:
        test = set(brain.read_labels(study.workspace, split, "test"))
        kinds = [table.category[table.labels.index(label)] for label in test]
        assert (kinds.count("1"), kinds.count("2")) == (5, 5)
    group = receipts.group_folder(study.workspace, tiles[1].group) / receipts.GROUP_FILE
    assert json.loads(group.read_text())["settings"]["subject"]["datasets"]["test"]["samples"]["key"] == "fmriTest"


def test_where_decoders_are_read_training_samples_may_be_absent_and_training_stimuli_are_no_test(lab, run_verb):
    def read_decoders(study):
        del study["ingest"]["subjects"]["S1"]["datasets"]["training"]
        study["fit"] = {"files": {name: {"folders": "lab"} for name in study["networks"]}}

    study = lab(change_study=read_decoders)
    run_verb(ingest, study)
    assert not (study.workspace / "brain.zarr" / "S1" / "training").exists()
    assert brain.read_items(study, "S1", "test").names == ("test-0001", "test-0002", "test-0003")
    with pytest.raises(StudyError, match=r"dataset imagery are training stimuli too \(t0, t1\); move them to one side"):
        _plan(lab(lambda content: content.update(imagery_labels=np.array(["t0", "t1"])), read_decoders))
