"""Betas of single trials through `ingest`: volumes in both file kinds, surfaces, lists of trials, NaN voxels."""

from __future__ import annotations

import copy
import logging

import h5py
import numpy as np
import pytest

from hpc_recon import ingest
from hpc_recon.core.errors import StudyError
from hpc_recon.formats import betas
from hpc_recon.stores import brain, positions, shapes

from .conftest import AFFINE, LEFT, RIGHT, SHAPE, save_labels, save_volume

#: Trials of two sessions; those of test stimuli (n..) belong to the test dataset.
SHOWN = [["t00", "n00", "t01", "t02", "n01", "t00"], ["n00", "t03", "t02", "n01"]]
ENDINGS = (".nii.gz", ".hdf5", ".h5")


class Betas:
    """Betas of two sessions as int16 of percent times 300, in one kind of file, and a table of trials."""

    def __init__(self, root, ending):
        rng = np.random.default_rng(5)
        self.root, self.ending, self.mask = root, ending, rng.random(SHAPE) < 0.3
        self.stored = [rng.integers(-3000, 3000, (*SHAPE, len(shown)), dtype=np.int16) for shown in SHOWN]
        save_volume(root / "mask.nii.gz", self.mask.astype(np.uint8))
        self.files = [f"betas_session0{s}{ending}" for s in (1, 2)]
        self.save()
        rows = [(x, int(x[0] == "n"), s) for s, shown in enumerate(SHOWN, start=1) for x in shown]
        text = "\n".join(["stimulus\tshared\tday", *(f"{x}\t{shared}\t{10 * s}" for x, shared, s in rows)])
        (root / "trials.tsv").write_text(text + "\n")
        (root / "trials.csv").write_text(text.replace("\t", ",").replace("t00", '"t00"') + "\n")
        labels = np.array([f"{kind}{i:02d}" for kind, n in (("t", 4), ("n", 2)) for i in range(n)])
        np.savez(root / "stimuli.npz", training=labels[:4], test=labels[4:])

    def save(self):
        for name, values in zip(self.files, self.stored, strict=True):
            if self.ending == ".nii.gz":
                save_volume(self.root / name, values)
            else:
                with h5py.File(self.root / name, "w") as file:
                    file["betas"] = values if self.ending == ".h5" else values.transpose(3, 2, 1, 0)

    def dataset(self, shared, **options):
        trials = {"files": "trials.tsv", "column": "stimulus", "rows": {"shared": shared}, "columns": {"day": "day"}}
        axes = {"axes": "as written"} if self.ending == ".h5" else {}
        return {
            "betas": {"files": self.files, "mask": "mask.nii.gz", "scale": 300, "trials": trials, **axes, **options}
        }

    def study(self, **subject):
        np.savez(self.root / "a.npz", images=np.random.default_rng(1).random((4, 8, 8)))
        np.savez(self.root / "b.npz", images=np.random.default_rng(2).random((2, 8, 8)))
        return {
            "name": "nsd",
            "subjects": ["S1"],
            "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
            "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
            "ingest": {
                "subjects": {"S1": {"datasets": {"training": self.dataset(0), "test": self.dataset(1)}, **subject}},
                "stimuli": {
                    name: {
                        "array": {"file": f"{file}.npz", "key": "images"},
                        "labels": {"file": "stimuli.npz", "key": name},
                        "scale": 1.0,
                    }
                    for name, file in (("training", "a"), ("test", "b"))
                },
            },
        }

    def oracle(self, kind):
        """Return (label, session, values) of each trial of a kind, by loops."""
        return [
            (x, s + 1, [self.stored[s][i, j, k, t] / 300 for i, j, k in np.argwhere(self.mask)])
            for s, shown in enumerate(SHOWN)
            for t, x in enumerate(shown)
            if x[0] == kind
        ]


def source(study, name="training"):
    return study["ingest"]["subjects"]["S1"]["datasets"][name]["betas"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_kept_trials_of_all_sessions_arrive_in_order(tmp_path, make_study, run_verb, ending):
    lab = Betas(tmp_path, ending)
    study = make_study(lab.study())
    tiles = run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    oracle = lab.oracle("t")
    assert found.labels == tuple(x for x, _, _ in oracle)
    np.testing.assert_allclose(found.samples, [values for _, _, values in oracle], rtol=1e-6)
    assert found.columns == {"session": [s for _, s, _ in oracle], "day": [10.0 * s for _, s, _ in oracle]}
    items = brain.read_items(study, "S1", "test")
    means = [np.mean([v for x, _, v in lab.oracle("n") if x == y], axis=0) for y in ("n00", "n01")]
    np.testing.assert_allclose(items.samples, means, rtol=1e-5, atol=1e-6)
    where = positions.read_positions(study.workspace, "S1")
    assert where.ijk.tolist() == [list(x) for x in np.argwhere(lab.mask)]
    np.testing.assert_allclose(where.affine, AFFINE)
    assert len(ingest.work(study, tiles[1])) == tiles[1].need.files_out


def test_a_plan_reads_no_voxel(tmp_path, make_study, monkeypatch):
    def never(*_):
        raise AssertionError("a voxel was read")

    monkeypatch.setattr(betas.Betas, "blocks", never)
    study = make_study(Betas(tmp_path, ".hdf5").study())
    assert len(ingest.plan(study, shapes.read(study))) == 2


def test_lists_may_be_csv_and_text_and_sessions_have_numbers(tmp_path, make_study, run_verb):
    lab = Betas(tmp_path, ".nii.gz")
    content = lab.study()
    source(content)["trials"]["files"] = "trials.csv"
    source(content)["sessions"] = [7, 9]
    study = make_study(content)
    run_verb(ingest, study)
    assert brain.read_brain(study.workspace, "S1", "training").columns["session"] == [7.0] * 4 + [9.0] * 2
    for s, shown in enumerate(SHOWN):
        (tmp_path / f"{s}.txt").write_text("\n".join(shown) + "\n")
    content = lab.study()
    for name in ("training", "test"):
        source(content, name)["trials"] = {"files": ["0.txt", "1.txt"]}
    content["ingest"]["subjects"]["S1"]["datasets"]["training"]["exclude"] = {"labels": ["n00", "n01"]}
    content["ingest"]["subjects"]["S1"]["datasets"]["test"]["exclude"] = {"labels": ["t00", "t01", "t02", "t03"]}
    study = make_study(content, workspace=str(tmp_path / "other"))
    run_verb(ingest, study)
    assert brain.read_labels(study.workspace, "S1", "training") == tuple(x for x, _, _ in lab.oracle("t"))


def test_surfaces_are_pairs_of_files(tmp_path, make_study, run_verb):
    lab = Betas(tmp_path, ".hdf5")
    rng = np.random.default_rng(4)
    sides = {"left": 40, "right": 30}
    stored = {side: [rng.normal(size=(len(x), n)).astype(np.float32) for x in SHOWN] for side, n in sides.items()}
    for side, n in sides.items():
        save_labels(tmp_path / f"{side}.label.gii", np.arange(n) % 3 == 0, {0: "???", 1: "nsdgeneral"})
        for s, values in enumerate(stored[side]):
            with h5py.File(tmp_path / f"{side}{s}.hdf5", "w") as file:
                file["betas"] = values  # MATLAB's (vertex, trial), reversed
    content = lab.study()
    for name in ("training", "test"):
        one = source(content, name)
        del one["files"], one["mask"], one["scale"]
        for side in sides:
            one |= {f"{side}_files": [f"{side}0.hdf5", f"{side}1.hdf5"], f"{side}_mask": f"{side}.label.gii"}
        content["ingest"]["subjects"]["S1"]["datasets"][name]["betas"] = one
    study = make_study(content)
    run_verb(ingest, study)
    both = np.concatenate([np.hstack([stored["left"][s][:, ::3], stored["right"][s][:, ::3]]) for s in (0, 1)])
    chosen = [i for i, x in enumerate([*SHOWN[0], *SHOWN[1]]) if x[0] == "t"]
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_array_equal(found.samples, both[chosen])
    where = positions.read_positions(study.workspace, "S1")
    assert where.surface_sizes == {LEFT: 40, RIGHT: 30}
    assert where.vertex.tolist() == [*range(0, 40, 3), *range(0, 30, 3)]


def nan_betas(lab, session, trial, voxels):
    """Make some voxels NaN in a trial, as in sessions whose slices do not cover them."""
    lab.stored[session] = lab.stored[session].astype(np.float32)
    for voxel in voxels:
        lab.stored[session][(*np.argwhere(lab.mask)[voxel], trial)] = np.nan
    lab.save()


def test_nan_voxels_are_an_error_that_counts_them(tmp_path, make_study, run_verb):
    lab = Betas(tmp_path, ".nii.gz")
    nan_betas(lab, 0, 0, [2])
    nan_betas(lab, 1, 0, [2, 5])  # a test trial
    study = make_study(lab.study())
    with pytest.raises(StudyError, match=r"2 of \d+ voxels are NaN in some sample \(training 1, test 2\); take"):
        run_verb(ingest, study)
    assert not (study.workspace / "brain.zarr").exists()


def test_nan_voxels_are_left_out_of_all_datasets_on_request(tmp_path, make_study, run_verb, caplog):
    lab = Betas(tmp_path, ".nii.gz")
    nan_betas(lab, 0, 0, [2])
    nan_betas(lab, 1, 0, [5])
    n = int(lab.mask.sum())
    odd = lab.mask.copy()
    odd[tuple(np.argwhere(lab.mask)[::2].T)] = False
    save_volume(tmp_path / "odd.nii.gz", odd.astype(np.uint8))
    study = make_study(lab.study(drop_nan_voxels=True, rois={"odd": {"mask": "odd.nii.gz"}}))
    with caplog.at_level(logging.WARNING, "tests"):
        run_verb(ingest, study)
    left = [i for i in range(n) if i not in (2, 5)]
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_allclose(found.samples, np.array([v for _, _, v in lab.oracle("t")])[:, left], rtol=1e-6)
    assert brain.read_roi(study.workspace, "S1", "odd").tolist() == [i % 2 == 1 for i in left]
    assert positions.read_positions(study.workspace, "S1").n_voxels == n - 2
    assert any(f"S1: 2 of {n} voxels are NaN in some sample" in record.message for record in caplog.records)


def test_a_voxel_that_is_nan_only_in_trials_left_out_stays(tmp_path, make_study, run_verb):
    lab = Betas(tmp_path, ".nii.gz")
    nan_betas(lab, 0, 5, [2])
    content = lab.study()
    content["ingest"]["subjects"]["S1"]["datasets"]["training"]["exclude"] = {"trials": [4]}
    study = make_study(content)
    run_verb(ingest, study)
    assert brain.n_voxels_of(study.workspace, "S1") == int(lab.mask.sum())


BAD = {
    "no mask": (lambda s: s.pop("mask"), r"betas of volumes need `mask`"),
    "no such data set": (lambda s: s.update(key="beta"), r"betas_session01\.hdf5.*beta"),
    "axes": (lambda s: s.update(axes="as written"), r"with axes as written and the mask's shape .* Try axes: reversed"),
    "no column": (lambda s: s["trials"].pop("column"), r"say which column has the labels .*: stimulus, shared, day"),
    "no trial": (lambda s: s["trials"].update(rows={"shared": 2}), r"training: none of 10 trials has shared = 2"),
    "a list that is short": (lambda s: s["trials"].update(files="short.tsv"), r"has 9 rows, but its betas 10 trials"),
    "text with columns": (lambda s: s["trials"].update(files="all.txt"), r"a text file has no columns"),
    "a list of another kind": (lambda s: s["trials"].update(files="trials.xlsx"), r"is \.txt .*, \.tsv or \.csv"),
    "text as a number": (lambda s: s["trials"].update(columns={"x": "stimulus"}), r"6 of 6 values are no numbers"),
    "index": (
        lambda s: s["trials"].update(by="image_index"),
        r"labels of the trials .* no numbers, the first is",
    ),
    "one list too many": (lambda s: s["trials"].update(files=["trials.tsv"] * 3), r"trials\.files needs one file, or"),
    "one session too few": (lambda s: s.update(sessions=[1]), r"sessions needs one number a file: 2, not 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_betas_are_errors_before_anything_is_written(tmp_path, make_study, case):
    lab = Betas(tmp_path, ".hdf5")
    for name, text in (
        ("short.tsv", "\n".join((tmp_path / "trials.tsv").read_text().splitlines()[:-1])),
        ("all.txt", "\n".join(x for shown in SHOWN for x in shown)),
        ("trials.xlsx", "x"),
    ):
        (tmp_path / name).write_text(text + "\n")
    content = copy.deepcopy(lab.study())
    change, message = BAD[case]
    change(source(content))
    with pytest.raises(StudyError, match=message):
        ingest.plan(study := make_study(content), shapes.read(study))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1\n", r"row 2 has another number of cells than its header \['a', 'b'\]"),
        ("a,a\n1,2\n", r"it needs rows, and distinct names in its header"),
        ("a,b\n", r"it needs rows"),
        ("", r"not a table in UTF-8 with a header"),
    ],
)
def test_bad_csv_is_named(tmp_path, make_study, text, message):
    lab = Betas(tmp_path, ".nii.gz")
    (tmp_path / "trials.csv").write_text(text)
    content = lab.study()
    source(content)["trials"]["files"] = "trials.csv"
    study = make_study(content)
    with pytest.raises(StudyError, match=message):
        ingest.plan(study, shapes.read(study))


def test_constant_voxels_are_counted_when_they_are_read(tmp_path, make_study, run_verb, caplog):
    lab = Betas(tmp_path, ".nii.gz")
    for values in lab.stored:
        values[tuple(np.argwhere(lab.mask)[3])] = 300
    lab.save()
    study = make_study(lab.study())
    with caplog.at_level(logging.WARNING, "tests"):
        run_verb(ingest, study)
    told = [record.message for record in caplog.records]
    assert "S1: 1 voxels are constant over the training samples; never selected" in told
