"""The command `control`: its own command line, on a real local cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from hpc_recon import control, extract, simulate
from hpc_recon.evaluation import control_scores

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 6, "n_voxels": 80, "training_repeats": 1},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 30, "alpha": 10.0},
    "reconstruct": {"direct": {"method": "pixels", "network": "image", "images_per_tile": 12}},
    "evaluate": {"resamples": 100},
}


@pytest.fixture
def study(make_study, run_verb):
    made = make_study(CONTENT)
    run_verb(simulate, made)
    run_verb(extract, made)
    return made


def files(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_killed_control_goes_on_and_touches_nothing_else(study, tmp_path, in_threads, plain_cluster, capfd):
    arguments = ["--study", str(tmp_path / "study.yaml"), "--name", "shuffled", "--jobs", "1", *plain_cluster]
    before, folder = files(study.workspace), study.workspace / "controls" / "shuffled"
    assert control.main([*arguments, "--dry-run"]) == 0
    dry = capfd.readouterr().out
    assert "control shuffled: 3 repeats of S1" in dry
    assert "reconstruct" in dry
    assert files(study.workspace) == before, "a dry run touches nothing"
    command = [sys.executable, "-m", "hpc_recon.control", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 400
    while not list(folder.glob("receipts/fit/**/fit-*.json")) and time.monotonic() < until:
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert list(folder.glob("receipts/fit/**/fit-*.json"))
    assert control_scores.state(study, "shuffled") == control_scores.NOT_RUN
    brain = files(folder / "brain.zarr")
    capfd.readouterr()
    assert control.main(arguments) == 0
    assert "control: nothing to do, all 3 tiles are done" in capfd.readouterr().err
    assert control_scores.state(study, "shuffled") == control_scores.FINISHED
    assert files(folder / "brain.zarr") == brain
    assert {p: t for p, t in files(study.workspace).items() if p.parts[0] != "controls"} == before


def test_bad_input_is_said_before_anything_is_written(make_study, tmp_path, capsys):
    study = make_study(CONTENT)
    assert control.main(["--study", str(tmp_path / "study.yaml")]) == 2
    assert "python -m hpc_recon.simulate" in capsys.readouterr().err
    content = yaml.safe_load((tmp_path / "study.yaml").read_text())
    content["arrays"] = str(tmp_path / "elsewhere")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    assert control.main(["--study", str(tmp_path / "study.yaml")]) == 2
    assert "hard links" in capsys.readouterr().err
    assert not study.workspace.exists()
