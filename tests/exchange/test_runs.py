"""BOLD runs through `ingest`: planted responses come back, equal to the steps called directly; bad files are errors."""

from __future__ import annotations

import gzip
import logging
import warnings

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.random import default_rng

from hpc_recon import ingest
from hpc_recon.bold.samples import BoldRun, SampleOptions, samples_of_runs
from hpc_recon.bold.windows import Event
from hpc_recon.core.errors import StudyError
from hpc_recon.exchange import checking, runs
from hpc_recon.formats import surfaces, volumes
from hpc_recon.stores import brain, positions, shapes

from .conftest import AFFINE, LEFT, MOTION, N_LEFT, RIGHT, SHAPE, TR, save_volume


def dataset(study, name="training"):
    return study["ingest"]["subjects"]["S1"]["datasets"][name]["bold"]


def kept(labels):
    """Return the labels without those that repeat the one before."""
    return [x for i, x in enumerate(labels) if i == 0 or labels[i - 1] != x]


@pytest.mark.parametrize("kind", ["volume", "gifti", "cifti"])
def test_planted_responses_arrive_with_columns_and_positions(bold_lab, make_study, run_verb, kind):
    lab = bold_lab(kind)
    study = make_study(lab.study())
    tiles = run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    order = [(s, r) for s in (1, 2) for r in (1, 2)]
    shown = {(s, r): kept(lab.shown[f"training{s:02d}", "perception", r]) for s, r in order}
    assert found.labels == tuple(x for key in order for x in shown[key])
    oracle = np.stack([lab.response[label] for label in found.labels])
    np.testing.assert_allclose(found.samples, oracle, atol=2e-4)  # percent of values that the files hold as float32
    assert found.columns["session"] == [s for s, r in order for _ in shown[s, r]]
    assert found.columns["run"] == [r for s, r in order for _ in shown[s, r]]
    assert found.columns["block"][:6] == [1, 2, 4, 5, 6, 7]  # the third repeats the second
    assert found.columns["onset_s"][:3] == [32, 40, 56]
    assert found.columns["vividness"][:6] == [1, 2, 4, 5, 1, 2]
    assert set(found.columns) == {"session", "run", "block", "onset_s", "vividness"}
    for name, n in (("test", 3), ("imagery", 3)):  # the test run shows n03 twice in a row, and n02 again at its end
        part = brain.read_brain(study.workspace, "S1", name)
        assert len(part.labels) == n
        np.testing.assert_allclose(part.samples, [lab.response[x] for x in part.labels], atol=2e-4)
    assert brain.read_brain(study.workspace, "S1", "test").columns["n_averaged"] == [1, 2, 1]
    check_positions(lab, positions.read_positions(study.workspace, "S1"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(ingest.work(study, tiles[1])) == tiles[1].need.files_out
    notes = [str(warning.message) for warning in caught]
    assert "S1 training: 4 blocks that repeat the one before are left out" in notes


def check_positions(lab, found):
    if lab.kind == "volume":
        assert found.ijk.tolist() == [list(x) for x in np.argwhere(lab.mask)]
        assert (found.grid_shape, found.structures) == (SHAPE, ("volume",))
        np.testing.assert_allclose(found.mm[0], (AFFINE @ [*np.argwhere(lab.mask)[0], 1])[:3], atol=1e-5)
    elif lab.kind == "gifti":
        assert found.vertex.tolist() == [*range(40), *range(30)]
        assert found.structure.tolist() == [0] * 40 + [1] * 30
        assert (found.structures, found.surface_sizes) == ((LEFT, RIGHT), {LEFT: 40, RIGHT: 30})
        assert found.grid_shape is None
    else:
        assert found.vertex.tolist() == [*range(24), *range(30), -1, -1, -1]
        assert found.ijk[54:].tolist() == [[2, 3, 0], [2, 3, 1], [2, 3, 2]]
        assert found.structures == (LEFT, RIGHT, "CIFTI_STRUCTURE_THALAMUS_LEFT")
        assert found.surface_sizes == {LEFT: 40, RIGHT: 30}
        assert found.grid_shape == SHAPE
        np.testing.assert_allclose(found.affine, AFFINE)


def by_hand(lab, session, number, run):
    """Read a run with nibabel alone."""
    path = lab.images(session, "perception", run)[0]
    bold = np.asarray(nib.load(path).dataobj)[lab.mask].T
    base = f"{lab.name(session, 'perception', run)}"
    events = [line.split("\t") for line in (lab.folder("raw", session) / f"{base}_events.tsv").read_text().splitlines()]
    table = np.genfromtxt(
        lab.folder("derived", session) / f"{base}_desc-confounds_timeseries.tsv", names=True, delimiter="\t"
    )
    confounds = np.stack([table[name] for name in MOTION], axis=1)
    blocks = [Event(float(e[0]), e[3].split("/")[1].split(".")[0]) for e in events[1:] if e[2] == "stimulus"]
    return BoldRun(path.name, number, run, TR, len(bold), blocks, lambda: bold, confounds)


def test_samples_equal_those_of_the_steps_called_directly(bold_lab, make_study, run_verb):
    """With trend, motion parameters, despiking and noise: nothing may be lost or doubled on the way."""
    lab = bold_lab(noise=0.8)
    study = make_study(lab.study({}))
    run_verb(ingest, study)
    bold_runs = [by_hand(lab, f"training{s:02d}", s, r) for s in (1, 2) for r in (1, 2)]
    oracle = samples_of_runs(bold_runs, SampleOptions())
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_array_equal(found.samples, oracle.samples)
    assert found.labels == oracle.labels
    other = samples_of_runs([by_hand(lab, "test01", 1, 1)], SampleOptions(window_s=12))
    twice = np.stack([other.samples[[i for i, x in enumerate(other.labels) if x == y]].mean(axis=0) for y in lab.test])
    np.testing.assert_allclose(brain.read_items(study, "S1", "test").samples, twice, rtol=1e-5, atol=1e-6)


def test_through_the_command_line(bold_lab, tmp_path, capsys):
    lab = bold_lab()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**lab.study(), "workspace": str(tmp_path / "ws")}))
    arguments = ["--study", str(tmp_path / "study.yaml")]
    assert ingest.main([*arguments, "--check"]) == 0
    assert "S1 training: headers, events and trials fit each other: 24 samples" in capsys.readouterr().out
    assert not (tmp_path / "ws").exists()
    assert ingest.main(arguments) == 0
    found = brain.read_brain(tmp_path / "ws", "S1", "training")
    np.testing.assert_allclose(found.samples, [lab.response[x] for x in found.labels], atol=2e-4)
    assert "4 blocks that repeat the one before are left out" in " ".join(capsys.readouterr().err.split())


def test_a_plan_reads_no_voxel(bold_lab, make_study, monkeypatch):
    def never(*_):
        raise AssertionError("a voxel was read")

    lab = bold_lab()
    study = make_study(lab.study())
    monkeypatch.setattr(volumes.VolumeSeries, "blocks", never)
    tiles = ingest.plan(study, shapes.read(study))
    assert [tile.stage for tile in tiles] == ["stimuli", "brain"]
    assert {finding.state for finding in checking.check(study)} == {"ok"}
    images = [path for place in lab.shown for path in lab.images(*place)]
    assert tiles[1].need.bytes_in > sum(path.stat().st_size for path in images)
    assert not study.workspace.exists()


@pytest.mark.parametrize("kind", ["gifti", "cifti"])
def test_a_plan_of_surfaces_reads_no_voxel(bold_lab, make_study, monkeypatch, kind):
    def never(*_):
        raise AssertionError("a vertex was read")

    study = make_study(bold_lab(kind).study())
    monkeypatch.setattr(surfaces, "read_gifti", never)
    monkeypatch.setattr(surfaces.CiftiSeries, "read", never)
    assert len(ingest.plan(study, shapes.read(study))) == 2


def test_the_published_design_is_6600_blocks_and_6000_samples(tmp_path, make_study, run_verb):
    """120 runs in 15 sessions, 50 of 1,200 stimuli in each and 5 of them twice in a row; a mask of three voxels."""
    rng = default_rng(8)
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0, 0], mask[1, 1, 0] = 1, 1
    save_volume(tmp_path / "mask.nii", mask)
    stimuli = [f"s{i:04d}" for i in range(1200)]
    np.savez(tmp_path / "stimuli.npz", images=rng.random((1200, 8, 8)), labels=np.array(stimuli))
    response = {x: rng.normal(size=3) for x in stimuli}
    order = np.concatenate([rng.permutation(stimuli) for _ in range(5)])  # each stimulus five times
    level = np.array([700.0, 900.0, 1100.0])
    listed, expected = [], []
    for number in range(120):
        shown = [str(x) for x in order[50 * number : 50 * number + 50]]
        again = set(rng.choice(50, 5, replace=False).tolist())
        blocks = [x for i, label in enumerate(shown) for x in ([label] * 2 if i in again else [label])]
        percent = np.zeros((239, 3))
        lines = ["onset\tduration\tstimulus"]
        for i, label in enumerate(blocks):
            percent[18 + 4 * i : 22 + 4 * i] = response[label]
            lines.append(f"{32 + 8 * i}\t8\t{label}")
        whole = np.zeros((2, 2, 2, 239), np.float32)
        whole[mask == 1] = (level * (1 + percent / 100)).T
        save_volume(tmp_path / f"{number}.nii", whole)
        (tmp_path / f"{number}.tsv").write_text("\n".join(lines) + "\n")
        listed.append({"file": f"{number}.nii", "events": f"{number}.tsv", "session": number // 8 + 1})
        expected += shown
    source = {"mask": "mask.nii", "runs": listed, "labels": {"column": "stimulus"}}
    exact = {"confounds": [], "linear_trend": False, "despike_sd": None}
    study = make_study(
        simulate=None,
        datasets={"training": {"role": "training"}},
        ingest={
            "subjects": {"S1": {"datasets": {"training": {"bold": source | exact}}}},
            "stimuli": {
                "training": {
                    "array": {"file": "stimuli.npz", "key": "images"},
                    "labels": {"file": "stimuli.npz", "key": "labels"},
                    "scale": 1.0,
                }
            },
        },
    )
    assert sum(len((tmp_path / f"{i}.tsv").read_text().splitlines()) - 1 for i in range(120)) == 6600
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    assert found.samples.shape == (6000, 3)
    # A stimulus at the end of one run and the start of the next is no repetition; within a run none is drawn twice.
    assert list(found.labels) == expected
    np.testing.assert_allclose(found.samples, [response[x] for x in expected], atol=2e-4)
    assert sorted(set(found.columns["session"])) == list(range(1, 16))
    assert found.columns["run"][:: 50 * 8] == [1.0] * 15


def test_test_samples_that_are_normalised_are_flagged(bold_lab, make_study, run_verb, caplog):
    lab = bold_lab(noise=0.5)
    content = lab.study()
    dataset(content, "test")["normalise"] = "run"
    study = make_study(content)
    with caplog.at_level(logging.WARNING, "tests"):  # where the fixture logs what becomes part of the receipt
        run_verb(ingest, study)
    assert brain.read_brain(study.workspace, "S1", "test").columns["transductive"] == [1.0] * 3
    assert "transductive" not in brain.read_brain(study.workspace, "S1", "training").columns
    assert any("S1 test: test samples are normalised with their own" in r.message for r in caplog.records)


def test_held_out_samples_of_folds_are_flagged_too(bold_lab, make_study, run_verb):
    lab = bold_lab(noise=0.5)
    content = lab.study()
    del content["datasets"]["imagery"], content["ingest"]["subjects"]["S1"]["datasets"]["imagery"]
    for name in ("training", "test"):
        dataset(content, name)["normalise"] = "session"
    content["ingest"]["cross_validation"] = {"folds": 3}
    study = make_study(content)
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1.r1f02", "test")
    assert set(found.columns["transductive"]) == {1.0}
    assert positions.read_positions(study.workspace, "S1.r1f02").n_voxels == lab.n_voxels


def test_repetitions_may_be_named_by_a_column(bold_lab, make_study, run_verb):
    lab = bold_lab()
    content = lab.study()
    dataset(content)["repetitions"] = {"column": "evaluation", "values": [1, 2]}
    study = make_study(content)
    run_verb(ingest, study)
    assert set(brain.read_brain(study.workspace, "S1", "training").columns["vividness"]) == {3.0, 4.0, 5.0}
    dataset(content)["drop_repetitions"] = False
    study = make_study(content, workspace=str(study.workspace) + "2")
    run_verb(ingest, study)
    assert len(brain.read_labels(study.workspace, "S1", "training")) == 28


def test_the_same_runs_from_a_folder_and_from_a_list_are_one_group(bold_lab, make_study):
    lab = bold_lab()
    content = lab.study()
    study = make_study(content)
    settings = [tile.group.settings for tile in ingest.plan(study, shapes.read(study))]
    bold = dataset(content)
    del bold["bids"]
    bold["runs"] = [
        {
            "file": str(lab.images(f"training{s:02d}", "perception", r)[0]),
            "events": str(next(lab.folder("raw", f"training{s:02d}").glob(f"*run-{r}_events.tsv"))),
            "confounds": str(next(lab.folder("derived", f"training{s:02d}").glob(f"*run-{r}_desc-confounds*"))),
            "session": s,
            "run": r,
        }
        for s in (1, 2)
        for r in (1, 2)
    ]
    dataset(content)["confounds"] = ["trans_x"]
    dataset(content, "training")["confounds"] = []
    for run in bold["runs"]:
        del run["confounds"]
    study = make_study(content)
    assert [tile.group.settings for tile in ingest.plan(study, shapes.read(study))] == settings
    lab.save("training01", "perception", 1, np.ones((48, lab.n_voxels), np.float32))
    assert [tile.group.settings for tile in ingest.plan(study, shapes.read(study))] != settings


def volume(lab):
    return lab.images("training01", "perception", 1)[0]


def confounds(lab):
    return next(lab.folder("derived", "training01").glob("*run-1_desc-confounds*"))


def events(lab):
    return next(lab.folder("raw", "training01").glob("*run-1_events.tsv"))


def rewrite(find, old, new):
    return lambda lab, _: find(lab).write_text(find(lab).read_text().replace(old, new))


def other_grid(lab, _):
    save_volume(lab.root / "lab" / "mask.nii.gz", lab.mask.astype(np.uint8), AFFINE + np.eye(4)[[3, 0, 1, 2]] * 0.5)


def nan_voxel(lab, _):
    image = nib.load(volume(lab))
    values = np.asarray(image.dataobj).copy()
    values[(*np.argwhere(lab.mask)[4], 7)] = np.nan
    save_volume(volume(lab), values)


def truncated_header(lab, _):
    whole = gzip.decompress(volume(lab).read_bytes())
    volume(lab).write_bytes(gzip.compress(whole[:300]))


def no_mask(_, study):
    del dataset(study)["mask"]


def no_tr(lab, _):
    save_volume(volume(lab), np.asarray(nib.load(volume(lab)).dataobj), tr_s=0.0)


def other_tr(lab, _):
    volume(lab).with_name(volume(lab).name.replace(".nii.gz", ".json")).write_text('{"RepetitionTime": 3.0}')


def regress(columns):
    return lambda _, study: [dataset(study, name).update(confounds=columns) for name in ("training", "test", "imagery")]


def other_mask(lab, study):
    fewer = lab.mask.copy()
    fewer[tuple(np.argwhere(fewer)[0])] = False
    save_volume(lab.root / "lab" / "fewer.nii.gz", fewer.astype(np.uint8))
    dataset(study, "test")["mask"] = "lab/fewer.nii.gz"


def moved_mask(lab, study):
    first = np.argwhere(lab.mask)[0]
    moved = lab.mask.copy()
    moved[tuple(first)] = False
    moved[tuple(np.argwhere(~lab.mask)[-1])] = True
    save_volume(lab.root / "lab" / "moved.nii.gz", moved.astype(np.uint8))
    dataset(study, "test")["mask"] = "lab/moved.nii.gz"


PLANNED = {
    "another grid": (other_grid, r"4 of 4 runs: .*run-1_space-T1w.* and .*mask\.nii\.gz are not on one grid: affine"),
    "missing confounds column": (regress(["trans_x", "csf"]), r"there is no column 'csf'\. Columns: trans_x"),
    "confounds with n/a": (
        lambda lab, study: [regress(["framewise_displacement"])(lab, study), dataset(study).update(drop_s=0)],
        r"the column framewise_displacement has n/a after the 0 dropped volumes; name columns without",
    ),
    "no confounds": (
        lambda lab, study: [regress(list(MOTION))(lab, study), confounds(lab).unlink()],
        r"datasets\.training\.bold\.bids: .*desc-confounds_timeseries\.tsv does not exist\. Copy it there",
    ),
    "truncated header": (truncated_header, r"1 of 4 runs: .*not a readable NIfTI file"),
    "events without a label": (rewrite(events, "photos/t", "n/a\tphotos/t"), r"line 3: 6 cells, the header has 5"),
    "n/a as a label": (
        rewrite(events, "photos/t03.JPEG", "n/a"),
        r"events have no onset, .* or no stim_file; the first",
    ),
    "no such label column": (
        lambda _, study: dataset(study)["labels"].update(column="trial"),
        r"there is no column 'trial'\. Columns: onset",
    ),
    "no such trial type": (
        lambda _, study: dataset(study).update(stimuli={"trial_type": "image"}),
        r"no row has .*'image'.*The file has .*'rest', 'stimulus'",
    ),
    "unknown stimulus": (rewrite(events, "photos/t03", "photos/x03"), r"1 of 7 distinct labels .* 'x03'"),
    "no mask": (no_mask, r"is a volume, so `mask` is needed"),
    "no TR": (no_tr, r"the TR is 0\.0 s\. Give it in seconds \(`tr_s`\)"),
    "two TRs": (other_tr, r"the TR is 2 s in the header and 3 s in .*\.json; give the right one as `tr_s`"),
    "another mask": (other_mask, r"all datasets of a subject have the same voxels, but their numbers are .*'test': "),
    "a moved mask": (moved_mask, r"the voxels of training and test are not the same"),
    "no such session": (
        lambda _, study: dataset(study)["bids"].update(sessions=["learning*"]),
        r"none of 6 volume images fits sessions learning\*.*There are ses imagery01, test01, training01, training02",
    ),
    "a window that is no volumes": (
        lambda _, study: dataset(study).update(window_s=7),
        r"window_s of 7 s is 3\.500 volumes at a TR of 2 s\. Choose 6 or 8 s",
    ),
    "a column that is no number": (
        lambda _, study: dataset(study).update(columns={"kind": "trial_type"}),
        r"column trial_type of the events: 24 of 24 values are no numbers, the first is 'stimulus'",
    ),
}


@pytest.mark.parametrize("case", PLANNED)
def test_a_bad_run_is_an_error_before_anything_is_written(bold_lab, make_study, case):
    lab = bold_lab()
    content = lab.study()
    change, message = PLANNED[case]
    change(lab, content)
    study = make_study(content)
    with pytest.raises(StudyError, match=message):
        ingest.plan(study, shapes.read(study))
    assert not study.workspace.exists()


def damaged(lab, _):
    content = volume(lab).read_bytes()
    volume(lab).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, r"run-1_.*: not a readable NIfTI file"),
        (nan_voxel, r"1 of \d+ voxels have NaN .* voxel 4 of"),
    ],
)
def test_what_only_voxels_show_stops_the_tile_before_it_writes(bold_lab, make_study, run_verb, change, message):
    lab = bold_lab()
    change(lab, None)
    study = make_study(lab.study())
    with pytest.raises(StudyError, match=message):
        run_verb(ingest, study)
    assert not (study.workspace / "brain.zarr").exists()


def test_nan_voxels_are_dropped_from_every_dataset(bold_lab, make_study, run_verb, caplog):
    lab = bold_lab()
    nan_voxel(lab, None)
    study = make_study(lab.study(drop_nan_voxels=True, rois={"all": {"mask": "lab/mask.nii.gz"}}))
    with caplog.at_level(logging.WARNING, "tests"):
        run_verb(ingest, study)
    left = [i for i in range(lab.n_voxels) if i != 4]
    for name in ("training", "test", "imagery"):
        found = brain.read_brain(study.workspace, "S1", name, "all")
        np.testing.assert_allclose(found.samples, [lab.response[x][left] for x in found.labels], atol=2e-4)
    where = positions.read_positions(study.workspace, "S1")
    assert where.ijk.tolist() == [list(x) for i, x in enumerate(np.argwhere(lab.mask)) if i != 4]
    assert any(f"S1: 1 of {lab.n_voxels} voxels are NaN in some sample" in r.message for r in caplog.records)


def test_surfaces_may_be_masked_and_structures_chosen(bold_lab, make_study, run_verb):
    lab = bold_lab("cifti")
    content = lab.study()
    for name in ("training", "test", "imagery"):
        dataset(content, name)["structures"] = [RIGHT]
    study = make_study(content)
    run_verb(ingest, study)
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_allclose(found.samples, [lab.response[x][24:54] for x in found.labels], atol=2e-4)
    assert positions.read_positions(study.workspace, "S1").structures == (RIGHT,)
    dataset(content)["structures"] = ["CORTEX"]
    study = make_study(content)
    with pytest.raises(StudyError, match=r"has no structure 'CORTEX'; it has CIFTI_STRUCTURE_CORTEX_LEFT"):
        ingest.plan(study, shapes.read(study))


def test_vertices_of_hemispheres_are_masked(bold_lab, make_study, run_verb):
    from .conftest import save_labels

    lab = bold_lab("gifti")
    save_labels(lab.root / "lab" / "lh.label.gii", np.arange(40) % 2, {0: "???", 1: "V1"})
    save_labels(lab.root / "lab" / "rh.label.gii", np.arange(30) < 4, {0: "???", 1: "V1"})
    content = lab.study()
    for name in ("training", "test", "imagery"):
        dataset(content, name).update(left_mask="lab/lh.label.gii", right_mask="lab/rh.label.gii")
    study = make_study(content)
    run_verb(ingest, study)
    chosen = [*range(1, 40, 2), *range(40, 44)]
    found = brain.read_brain(study.workspace, "S1", "training")
    np.testing.assert_allclose(found.samples, [lab.response[x][chosen] for x in found.labels], atol=2e-4)
    assert positions.read_positions(study.workspace, "S1").vertex.tolist() == [*range(1, 40, 2), *range(4)]
    save_labels(lab.root / "lab" / "lh.label.gii", np.ones(41), {1: "V1"})
    with pytest.raises(StudyError, match=r"lh\.label\.gii has 41 vertices, but the data 40"):
        ingest.plan(study, shapes.read(study))
    assert N_LEFT == 40


def test_windows_follow_role_and_name():
    from hpc_recon.core.image_options import BoldSource

    source = BoldSource.model_validate(
        {"runs": [{"file": "a.nii", "events": "a.tsv"}], "labels": {"column": "x"}, "mask": "m.nii"}
    )
    found = {
        (name, role): runs.options_of(name, source, role).window_s
        for name, role in (("training", "training"), ("shapes", "test"), ("imagery", "test"), ("mine", "training"))
    }
    assert list(found.values()) == [8.0, 12.0, 16.0, 8.0]
    given = source.model_copy(update={"window_s": 4.0})
    assert runs.options_of("imagery", given, "test").window_s == 4.0
    assert runs.options_of("x", source, "test") == SampleOptions(window_s=12.0, role="test")  # all defaults are its own


def test_a_run_twice_is_an_error(bold_lab, make_study):
    lab = bold_lab()
    content = lab.study()
    bold = dataset(content)
    del bold["bids"]
    run = {"file": str(volume(lab)), "events": str(events(lab)), "run": 3}
    bold["runs"] = [run, run]
    study = make_study(content)
    with pytest.raises(StudyError, match=r"session 1, run 3 is there twice\. Number the runs uniquely"):
        ingest.plan(study, shapes.read(study))


def test_the_command_line_ends_with_2_and_writes_nothing(bold_lab, tmp_path, capsys):
    lab = bold_lab(runs=1, sessions=1)
    other_grid(lab, None)
    rewrite(events, "photos/t03", "photos/x03")(lab, None)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**lab.study(), "workspace": str(tmp_path / "ws")}))
    assert ingest.main(["--study", str(tmp_path / "study.yaml")]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    for name in ("training", "test", "imagery"):  # every dataset is told, not only the first
        assert f"ingest.subjects.S1: {name}: 1 of 1 runs:" in shown
    assert "are not on one grid: affine" in shown
    assert not (tmp_path / "ws").exists()
