"""Names and labels never lead out of the workspace, and what others wrote into it leads nowhere else."""

from __future__ import annotations

import copy
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpc_recon import evaluate, ingest, reconstruct
from hpc_recon.core import receipts
from hpc_recon.core.errors import ClusterError, DamagedStore, DataError, ReconError, StudyError
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import failures, lease, ledger
from hpc_recon.stores import arrays, images, layout, shapes

#: What an attacker, an old script or an accident may use as a name.
HOSTILE = [
    "../escaped", "../../escaped", "..", ".", "/tmp/escaped", "a/b", "a\\..\\b", "escaped\0x", "CON", "nul", "COM1.x",
    "\nx", "-rf", "--help", "x" * 300, "\u2215etc\u2215passwd", "..\uff0fescaped", "a\u202eb", "~", "$(touch x)",
    "a\n", ".hidden", "group.json", "x.partial", "a b", "\x1b[2J", "",
]  # fmt: skip


def set_at(content: dict[str, object], path: str, name: str) -> dict[str, object]:
    """Put a name where `path` points; a last part `<key>` means the key of a mapping, else a value."""
    changed = copy.deepcopy(content)
    *outer, last = path.split(".")
    place = changed
    for part in outer:
        place = place[int(part) if part.isdigit() else part]
    if last.startswith("<"):
        old = last.strip("<>")
        place[name] = place.pop(old)
    else:
        place[int(last) if last.isdigit() else last] = name
    return changed


STUDY = {
    "name": "tiny",
    "subjects": ["S1"],
    "rois": ["VC"],
    "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
    "ingest": {
        "subjects": {
            "S1": {
                "datasets": {
                    "training": {"samples": {"file": "x.npy"}, "columns": {"run": {"file": "x.npy"}}},
                    "test": {"samples": {"file": "x.npy"}},
                },
                "rois": {"V1": {"file": "x.npy"}},
            }
        },
        "stimuli": {"training": {"folder": "train"}, "test": {"folder": "test"}},
        "cross_validation": {"folds": 2, "test_dataset": "test", "training_dataset": "training"},
    },
    "networks": {"net": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    "reconstruct": {"variant": {"method": "icnn", "network": "net", "rois": ["VC"], "layers": ["conv1_1"]}},
}
NAMES = [
    "name", "subjects.0", "rois.0", "datasets.<test>", "networks.<net>", "networks.net.layers.0",
    "reconstruct.<variant>",
    "reconstruct.variant.network", "reconstruct.variant.rois.0", "reconstruct.variant.layers.0", "ingest.subjects.<S1>",
    "ingest.subjects.S1.datasets.<test>", "ingest.subjects.S1.datasets.training.columns.<run>", "ingest.stimuli.<test>",
    "ingest.subjects.S1.rois.<V1>", "ingest.cross_validation.test_dataset",
]  # fmt: skip


def test_the_study_of_these_tests_is_good(make_study) -> None:
    make_study(STUDY)


@pytest.mark.parametrize("where", NAMES)
def test_hostile_names_in_a_study_file(make_study, tmp_path: Path, where: str) -> None:
    for name in HOSTILE:
        with pytest.raises(StudyError):
            make_study(set_at(STUDY, where, name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml"]


REFS = {
    "features": lambda n: layout.features("net", n),
    "network": lambda n: layout.features(n, "fc"),
    "norms": lambda n: layout.norms("net", n),
    "samples": lambda n: layout.samples("S1", n),
    "split": lambda n: layout.samples(n, "test"),
    "columns": lambda n: layout.samples_columns("S1", n),
    "mask": lambda n: layout.roi_mask("S1", n),
    "decoder": lambda n: layout.decoder("S1", n, "net", "fc", "weight"),
    "out of fold": lambda n: layout.out_of_fold("S1", "VC", n, "fc"),
    "decoded": lambda n: layout.decoded("S1", "VC", "test", "net", n),
}


@pytest.mark.parametrize("kind", REFS)
def test_hostile_names_that_come_from_elsewhere_than_a_study(kind: str) -> None:
    """Labels of items and names of layers reach the layout too; it checks every part of every path by itself."""
    assert ".." not in REFS[kind]("good").path
    for name in HOSTILE:
        with pytest.raises(DataError):
            REFS[kind](name)


def test_hostile_items_of_images(make_study) -> None:
    study = make_study()
    good = layout.image_file(study, "v", "S1", "VC", "test", "good")
    assert good.is_relative_to(layout.workspace_of(study))
    for name in HOSTILE:
        with pytest.raises(DataError, match="cannot be a file name"):
            layout.image_file(study, "v", "S1", "VC", "test", name)


# ---- labels through the whole of ingest -----------------------------------------------------------------------------


@pytest.fixture
def lab(make_study, tmp_path: Path):
    """Return a function that makes a lab's files with one hostile label and loads the study that reads them.

    How the label comes in: `array` (labels beside an array of images), or `folder` (names of image files).
    """

    def make(label: str, *, how: str):
        folder = tmp_path / "lab"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        names = [*(f"t{i}" for i in range(7)), label]
        pictures = rng.integers(0, 255, (8, 8, 8, 3)).astype(np.uint8)
        np.savez(
            folder / "lab.npz",
            x=rng.normal(size=(8, 5)),
            labels=np.array(names),
            pictures=pictures,
            rows=np.arange(1, 9),
            test=rng.normal(size=(2, 5)),
            tests=pictures[:2] // 2,
        )

        def key(name):
            return {"file": "lab/lab.npz", "key": name}

        training = {"array": key("pictures"), "labels": key("labels")}
        if how == "folder":
            (folder / "images").mkdir()
            for name, picture in zip(names, pictures, strict=True):
                Image.fromarray(picture).save(os.fsencode(folder / "images") + b"/" + os.fsencode(f"{name}.png"))
            training = {"folder": "lab/images"}
        return make_study(
            {
                "name": "tiny",
                "subjects": ["S1"],
                "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
                "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
                "ingest": {
                    "subjects": {
                        "S1": {
                            "datasets": {
                                "training": {"samples": key("x"), "stimulus_rows": key("rows")},
                                "test": {"samples": key("test")},
                            }
                        }
                    },
                    "stimuli": {"training": training, "test": {"array": key("tests")}},
                },
            }
        )

    return make


#: What can be the name of a file, so that it can come in by a folder of images.
IN_A_FOLDER = [name for name in HOSTILE if name and not set("/\0") & set(name) and len(name) < 250 and name[0] != "."]
#: Labels are stripped of white space around them; numpy's text cannot hold a NUL at its end.
AS_LABELS = [name for name in HOSTILE if name.strip("\n\0") == name]


@pytest.mark.parametrize(
    ("how", "label"), [("folder", name) for name in IN_A_FOLDER] + [("array", name) for name in AS_LABELS]
)
def test_hostile_labels_through_ingest(lab, tmp_path: Path, how: str, label: str) -> None:
    study = lab(label, how=how)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudyError, match="labels name files"):
        ingest.plan(study, shapes.read(study))
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


@pytest.mark.parametrize("how", ["folder", "array"])
def test_good_labels_arrive(lab, run_verb, how: str) -> None:
    study = lab("n01518878_8432.JPEG", how=how)
    run_verb(ingest, study)
    assert "n01518878_8432.JPEG" in images.read_table(layout.workspace_of(study)).labels


def test_a_label_that_is_no_unicode(lab, tmp_path: Path) -> None:
    study = lab(os.fsdecode(b"caf\xe9"), how="folder")
    with pytest.raises(StudyError, match="labels name files"):
        ingest.plan(study, shapes.read(study))


def compute(verb, study) -> None:
    tiles = verb.plan(study, shapes.read(study))
    verb.prepare(study)
    for tile in tiles:
        verb.work(study, tile)


def test_labels_that_were_changed_in_the_workspace(make_study, fill_workspace, tmp_path: Path) -> None:
    """A stranger with access to the table of stimuli cannot make `reconstruct` or `evaluate` write elsewhere."""
    content = {
        "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
        "reconstruct": {"direct": {"method": "pixels", "network": "pixels"}},
    }
    study = make_study(**content)
    fill_workspace(study)
    workspace = layout.workspace_of(study)
    path = workspace / layout.stimuli_columns().path
    text = path.read_text()
    assert '"natural001"' in text
    changed = text.replace('"natural001"', '"../../zz"')
    path.write_text(changed + " " * (len(text) - len(changed)))  # of equal length: the receipt still agrees
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(workspace)}
    for verb in (reconstruct, evaluate):
        with pytest.raises(ReconError):
            compute(verb, study)
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(workspace)} == before


# ---- links in the workspace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["receipts", "jobs", "logs", "out", "features.zarr"])
def test_a_run_refuses_folders_that_lead_out_of_its_workspace(start, tmp_path: Path, name: str) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ws" / name).symlink_to(tmp_path / "elsewhere")
    run = start(n=2)
    assert run.process.wait(400) == 2
    printed = run.process.stderr.read()
    assert "stays in the workspace" in printed
    assert f"through the link {tmp_path / 'ws' / name}" in printed
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_workspace_that_is_a_link_is_used(start, tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "ws").symlink_to(tmp_path / "large disk")
    run = start(n=2)
    assert run.process.wait(400) == 0
    assert len(run.receipts()) == 2


def test_links_at_any_depth(tmp_path: Path, make_study) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "precious.npy").write_text("precious")
    ref = layout.features("net", "fc")
    for path in (ref.path, "brain_statistics/S1/VC", "receipts/fit/S1"):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).symlink_to(outside)
    with pytest.raises(DataError, match="stays in the workspace"):
        arrays.create(
            workspace, ref, shape=(2, 4), dtype="f4", geometry=layout.whole_geometry(2, 4), made_by="extract/x"
        )
    from hpc_recon.stores import statistics

    with pytest.raises(DataError, match="stays in the workspace"):
        statistics.write(workspace, "S1", "VC", {"gram": np.zeros(2)})
    assert [path.name for path in outside.iterdir()] == ["precious.npy"]


def test_a_file_written_through_a_link_never_counts_as_done(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "elsewhere"
    outside.mkdir()
    workspace.mkdir()
    (workspace / "out").symlink_to(outside)
    (outside / "x.bin").write_text("x")
    tile = Tile(Group("fit", ("S1",)), "fit", 0, 1)
    with pytest.raises(DataError, match="stays in the workspace"):
        receipts.write(workspace, tile, [workspace / "out" / "x.bin"], {})
    assert receipts.read(workspace, tile) is None


def test_a_traceback_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    tile = Tile(Group("fit", ("S1",)), "fit", 0, 1)
    path = failures.log_path(tmp_path / "ws", tile)
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    failures.record(tmp_path / "ws", tile, "Traceback")
    assert victim.read_text() == "mine"
    assert path.is_file()
    assert not path.is_symlink()


# ---- files that others may have written: receipts and leases --------------------------------------------------------


@pytest.mark.parametrize("name", ["../victim", "out/../../victim", "/etc/x", "", "out//x", "a\0b"])
def test_a_receipt_that_names_files_outside(tmp_path: Path, name: str) -> None:
    """`--redo` removes what receipts list."""
    workspace = tmp_path / "ws"
    victim = tmp_path / "victim"
    victim.write_text("mine")
    group = Group("fit", ("S1",))
    tile = Tile(group, "fit", 0, 1)
    (workspace / "out").mkdir(parents=True)
    (workspace / "out" / "x").write_text("x")
    receipts.write(workspace, tile, [workspace / "out" / "x"], {})
    path = receipts.receipt_path(workspace, tile)
    content = json.loads(path.read_text())
    content["files"] = {name: [4, 0]}
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedStore, match="not a plain path"):
        ledger.discard(workspace, group)
    with pytest.raises(DamagedStore, match="not a plain path"):
        receipts.records(workspace, "fit")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "x/../../../victim"},
        {"nonce": "../../victim"},
        {"nonce": ""},
        {"jobs": ["-u", "root"]},
        {"jobs": ["12 13"]},
        {"jobs": ["$(touch x)"]},
        {"job_name": "x --user=root"},
        {"job_name": "../x"},
    ],
    ids=str,
)
@pytest.mark.parametrize("grave", [False, True], ids=["lease", "grave"])
def test_a_lease_that_would_remove_or_cancel_what_is_not_the_runs(tmp_path: Path, change, grave: bool) -> None:
    workspace, victim = tmp_path / "ws", tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.tex").write_text("mine")
    (workspace / "jobs").mkdir(parents=True)
    owner = {
        "host": os.uname().nodename, "pid": 2**22 + 1, "started": 1, "nonce": "ab12", "cluster": "slurm",
        "job_name": "hpc_recon-tiny-ab12", "jobs": ["17"], "beat": 0,
    }  # fmt: skip
    path = lease.lease_path(workspace)
    path.parent.mkdir(parents=True)
    (path.with_name(f".{path.name}.dead-ab12") if grave else path).write_text(json.dumps({**owner, **change}))
    cancelled: list[lease.Owner] = []
    with (
        pytest.raises(ClusterError, match="damaged"),
        lease.hold(
            workspace, cluster="slurm", study_name="tiny", cancel=cancelled.append, say=lambda _: None, patience=0.1
        ),
    ):
        pytest.fail("the lease was taken over")
    assert not cancelled
    assert (victim / "thesis.tex").read_text() == "mine"


def test_clearing_up_stays_in_the_workspace(tmp_path: Path) -> None:
    """Partial files of a dead controller are removed, those behind a link are not."""
    workspace, outside = tmp_path / "ws", tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "mine.partial").write_text("mine")
    (workspace / "out").mkdir(parents=True)
    (workspace / "out" / ".x.partial").write_text("torn")
    (workspace / "link").symlink_to(outside)
    (workspace / "out" / "link.partial").symlink_to(outside / "mine.partial")
    lease._bury(workspace, lease.Owner("h", 1, 1, "ab12", "local", "hpc_recon-x-ab12"), lambda _: None)
    assert (outside / "mine.partial").read_text() == "mine"
    assert not (workspace / "out" / ".x.partial").exists()


# ---- certificates after a kill --------------------------------------------------------------------------------------


def test_certificates_of_a_killed_controller_are_gone_after_the_next_start(start) -> None:
    run = start(n=4, hold=[10])
    run.wait_for(run.receipts)
    (folder,) = (run.workspace / "jobs").glob("tls-*")
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert (folder / "key.pem").exists()
    again = start(n=4)
    assert again.process.wait(400) == 0, again.process.stderr.read()
    assert len(again.receipts()) == 4
    assert not list((run.workspace / "jobs").glob("tls-*"))
