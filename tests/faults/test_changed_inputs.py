"""Studies, inputs and folders that change between two runs: results of different settings are never mixed."""

import harness
import numpy as np
import pytest
import yaml
from PIL import Image


def test_an_edited_study_is_refused_with_the_key_and_both_values(copy, whole, capfd):
    study, workspace = copy
    harness.write_real(workspace, fit={"n_voxels": 20, "alpha": 7.0})
    assert harness.run_verb("fit", study) == 2
    printed = capfd.readouterr().err
    assert "- alpha: [100.0] -> [7.0]" in printed
    assert "--redo" in printed
    assert harness.digests(workspace, *harness.STORES) == whole, "a refusal changes nothing"
    harness.write_real(workspace)
    assert harness.run_verb("fit", study) == 0
    assert "nothing to do" in capfd.readouterr().err


def test_decoders_made_anew_with_other_settings_are_noticed_downstream(copy, whole, capfd):
    study, workspace = copy
    redo = ("--redo", "--only", "fit/S1/V1/vgg/conv3_1/")
    harness.write_real(workspace, fit={"n_voxels": 20, "alpha": 7.0})
    assert harness.run_verb("fit", study, *redo) == 0
    decoded = harness.digests(workspace, "decoded.zarr")
    assert harness.run_verb("decode", study) == 2
    assert "fit/S1/V1/vgg/conv3_1 was computed anew" in capfd.readouterr().err
    assert harness.digests(workspace, "decoded.zarr") == decoded
    harness.write_real(workspace)
    assert harness.run_verb("fit", study, *redo) == 0
    assert harness.run_verb("decode", study) == 0
    assert "decode: nothing to do" in capfd.readouterr().err, "the same settings give the same decoders"
    assert harness.digests(workspace, *harness.STORES) == whole


@pytest.fixture
def lab(tmp_path):
    """A study of a lab's own files: eight pictures and samples that show each of them."""
    rng = np.random.default_rng(0)
    pictures = tmp_path / "pictures"
    for name, n in (("training", 6), ("natural", 2)):
        (pictures / name).mkdir(parents=True)
        for i in range(n):
            values = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(values).save(pictures / name / f"{name}{i}.png")
    arrays = {
        "x": rng.standard_normal((6, 5)),
        "labels": np.array([f"training{i}" for i in range(6)]),
        "test_x": rng.standard_normal((2, 5)),
        "test_labels": np.array(["natural0", "natural1"]),
    }
    np.savez(tmp_path / "lab.npz", **arrays)
    subject = {
        "training": {"samples": key("x"), "labels": key("labels")},
        "natural": {"samples": key("test_x"), "labels": key("test_labels")},
    }
    content = {
        "name": "lab",
        "workspace": str(tmp_path / "ws"),
        "subjects": ["S1"],
        "rois": ["VC"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
        "ingest": {
            "subjects": {"S1": {"datasets": subject}},
            "stimuli": {name: {"folder": f"pictures/{name}"} for name in ("training", "natural")},
            "image_size": 8,
        },
    }
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(content))
    return path, tmp_path / "ws"


def key(name):
    return {"file": "lab.npz", "key": name}


def test_a_picture_changed_after_it_was_read_is_refused_by_its_name(lab, capfd):
    study, workspace = lab
    assert harness.run_verb("ingest", study) == 0
    stores = ("stimuli.zarr", "brain.zarr")
    before = harness.digests(workspace, *stores)
    assert before
    picture = study.parent / "pictures" / "natural" / "natural1.png"
    original = picture.read_bytes()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    capfd.readouterr()
    assert harness.run_verb("ingest", study) == 2
    assert "natural1.png" in capfd.readouterr().err
    assert harness.digests(workspace, *stores) == before
    picture.write_bytes(original)
    assert harness.run_verb("ingest", study) == 0
    assert "nothing to do" in capfd.readouterr().err


def test_samples_changed_after_they_were_read_are_refused(lab, capfd):
    study, workspace = lab
    assert harness.run_verb("ingest", study) == 0
    before = harness.digests(workspace, "brain.zarr")
    with np.load(study.parent / "lab.npz") as found:
        arrays = dict(found)
    np.savez(study.parent / "lab.npz", **{**arrays, "x": arrays["x"] + 1})
    capfd.readouterr()
    assert harness.run_verb("ingest", study) == 2
    assert "were made with other settings" in capfd.readouterr().err
    assert harness.digests(workspace, "brain.zarr") == before


def test_a_workspace_moved_to_another_path_is_done_there_too(copy, whole, capfd):
    study, workspace = copy  # it was made in another folder, and is moved once more
    moved = workspace.rename(workspace.parent / "elsewhere")
    assert harness.run_verb("pipeline", study, "--through", "decode", "--set", f"workspace={moved}") == 0
    printed = capfd.readouterr().err
    assert printed.count("nothing to do") == 4
    assert "tiles done" not in printed
    assert harness.digests(moved, *harness.STORES) == whole
    assert not workspace.exists()
