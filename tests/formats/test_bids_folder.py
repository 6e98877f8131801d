"""Runs found by their names: order, companions, inheritance, and what is missing or ambiguous."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats.bids_folder import Wanted, find_runs


@pytest.fixture
def tree(tmp_path):
    """Return a function that makes empty files below a folder `fmriprep` or `raw`."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "fmriprep", tmp_path / "raw"

    return make


def run(number, session="10", task="view", space="_space-T1w", ending="_desc-preproc_bold.nii.gz", sub="01"):
    """Return image, confounds and events of a run."""
    func, name = f"sub-{sub}/ses-{session}/func", f"sub-{sub}_ses-{session}_task-{task}_run-{number}"
    return (
        f"fmriprep/{func}/{name}{space}{ending}",
        f"fmriprep/{func}/{name}_desc-confounds_timeseries.tsv",
        f"raw/{func}/{name}_events.tsv",
    )


T1W = Wanted("01", space="T1w")


def test_runs_are_in_natural_order_with_their_companions(tree, tmp_path):
    folders = tree(*run(2, "10"), *run(10, "9"), *run(9, "9"), *run(1, "10", sub="02"), *run(1, "9", space=""))
    found = find_runs(*folders, T1W)
    assert [(r.session, r.entities["run"]) for r in found] == [("9", "9"), ("9", "10"), ("10", "2")]
    image, confounds, events = (tmp_path / name for name in run(9, "9"))
    assert (found[0].images, found[0].confounds, found[0].events, found[0].sidecar) == (
        (image,),
        confounds,
        events,
        None,
    )
    image.with_name(image.name.replace(".nii.gz", ".json")).touch()
    assert find_runs(*folders, T1W)[0].sidecar.name.endswith("_desc-preproc_bold.json")
    assert [r.images[0].name for r in find_runs(*folders, Wanted("01"), confounds=False)] == [
        "sub-01_ses-9_task-view_run-1_desc-preproc_bold.nii.gz"  # in the run's own space, which names none
    ]


def test_patterns_choose_sessions_tasks_and_runs(tree):
    names = [x for s in ("percA01", "percB01", "imag01") for t in ("a", "b") for x in run(1, s, t)]
    folders = tree(*names)
    found = find_runs(*folders, Wanted("01", sessions=("perc*",), tasks=("a",), space="T1w"))
    assert [r.session for r in found] == ["percA01", "percB01"]
    with pytest.raises(DataError, match=r"none of 6 volume images fits .* runs 2, space T1w\. There are ses imag01"):
        find_runs(*folders, Wanted("01", runs=("2",), space="T1w"))


def test_hemispheres_are_pairs(tree):
    ending = "_hemi-{}_space-fsnative_bold.func.gii"
    left, right = (run(1, space="", ending=ending.format(side)) for side in "LR")
    folders = tree(*left, *right)
    wanted = Wanted("01", space="fsnative", kind="gifti")
    (found,) = find_runs(*folders, wanted)
    assert [path.name.split("hemi-")[1][0] for path in found.images] == ["L", "R"]
    (folders[0].parent / right[0]).unlink()
    with pytest.raises(DataError, match=r"has the hemispheres L, but needs L and R"):
        find_runs(*folders, wanted)


def test_resolutions_must_be_told_apart(tree):
    folders = tree(*run(1, space="_space-T1w_res-1"), *run(1, space="_space-T1w_res-2"))
    with pytest.raises(DataError, match=r"are images of one run\. Give more `entities`: res, den"):
        find_runs(*folders, T1W)
    (found,) = find_runs(*folders, Wanted("01", space="T1w", entities={"res": "2"}))
    assert "_res-2_" in found.images[0].name


def test_cifti_and_runs_without_sessions(tree):
    folders = tree(
        "fmriprep/sub-01/func/sub-01_task-view_space-fsLR_den-91k_bold.dtseries.nii",
        "fmriprep/sub-01/func/sub-01_task-view_space-fsLR_den-91k_bold.json",
        "fmriprep/sub-01/func/sub-01_task-view_desc-confounds_regressors.tsv",
        "raw/sub-01/func/sub-01_task-view_events.tsv",
    )
    (found,) = find_runs(*folders, Wanted("01", space="fsLR", kind="cifti"))
    assert found.session == ""
    assert found.confounds.name.endswith("_regressors.tsv")
    assert found.sidecar is not None


def test_events_are_inherited_from_above(tree, tmp_path):
    image, confounds, _ = run(1)
    tree(image, confounds, "raw/task-view_events.tsv", "raw/task-other_events.tsv")
    folders = tmp_path / "fmriprep", tmp_path / "raw"
    assert find_runs(*folders, T1W)[0].events.name == "task-view_events.tsv"
    tree("raw/sub-01/ses-10/sub-01_ses-10_events.tsv", "raw/sub-01/ses-10/sub-01_ses-10_task-view_events.tsv")
    assert find_runs(*folders, T1W)[0].events.name == "sub-01_ses-10_task-view_events.tsv"
    tree("raw/sub-01/ses-10/sub-01_ses-10_run-1_events.tsv")
    with pytest.raises(DataError, match=r"both fit the run sub-01_ses-10_task-view_run-1\. Keep one"):
        find_runs(*folders, T1W)


def test_what_is_missing_is_named(tree):
    image, confounds, events = run(1)
    folders = tree(image)
    with pytest.raises(DataError, match=r"run-1_desc-confounds_timeseries\.tsv does not exist"):
        find_runs(*folders, T1W)
    with pytest.raises(DataError, match=r"task-view_run-1_events\.tsv does not exist, nor one above it"):
        find_runs(*folders, T1W, confounds=False)
    with pytest.raises(DataError, match=r"sub-07 does not exist; .*fmriprep has sub-01\. Correct it"):
        find_runs(*folders, Wanted("07"))
    with pytest.raises(DataError, match=r"nowhere has no sub- folder"):
        find_runs(folders[0] / "nowhere", folders[1], T1W)
    with pytest.raises(DataError, match=r"none of 0 cifti images fits .* was this kind of image written"):
        find_runs(*folders, Wanted("01", kind="cifti"))
    tree(confounds, events)
    assert len(find_runs(*folders, T1W)) == 1


def test_what_macos_leaves_beside_files_is_none_of_them(tree):
    names = run(1)
    hidden = [f"{folder}/._{name}" for folder, _, name in (path.rpartition("/") for path in names)]
    (found,) = find_runs(*tree(*names, *hidden), T1W)
    assert not any(path.name.startswith(".") for path in (*found.images, found.confounds, found.events))
