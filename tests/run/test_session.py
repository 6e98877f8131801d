"""Whole runs of a fake verb on a local cluster."""

import json
from dataclasses import asdict

import pytest

from hpc_recon.core import receipts, threads
from hpc_recon.core.errors import ChangedStudy, ClusterError, MemoryBudgetError, StudyError
from hpc_recon.core.files import write_json
from hpc_recon.run import lease, outlook
from hpc_recon.run.draining import Stop
from hpc_recon.run.options import Jobs, Options
from hpc_recon.run.session import BAD_INPUT, DONE, SOME_FAILED, Session, run_verbs


def files(workspace):
    return {p.name: p.stat().st_mtime_ns for p in (workspace / "out").iterdir()}


@pytest.fixture
def run(fake):
    def run(study, **changes):
        return run_verbs([fake], Options(study=study, jobs=Jobs(1, 1), **changes))

    return run


def test_run_resume_and_change(run, write_study, tmp_path, capfd):
    study = write_study(warn=[20], once=[30], die=[40])
    workspace = tmp_path / "ws"
    assert run(study, limit=3) == DONE
    assert len(files(workspace)) == 3
    first = files(workspace)
    assert run(study) == DONE  # one tile raised once, one killed its worker once: both were tried again
    second = files(workspace)
    assert len(second) == 10
    assert {name: second[name] for name in first} == first, "finished tiles were computed again"
    printed = capfd.readouterr().err
    assert "a warning from the tile" in printed
    assert "7 tiles done, 0 failed, 0 left" in printed
    assert "another environment" not in printed, "its own workers"
    assert run(study) == DONE
    assert "nothing to do, all 10 tiles are done" in capfd.readouterr().err
    found = dict(receipts.iterate(workspace, "fit"))
    assert len(found) == 10
    for receipt in found.values():
        assert receipt.run["peak_bytes"] > 10**6
        assert receipt.run["threads"] >= 1
        assert "numpy" in receipt.run["versions"]
    group = json.loads((workspace / "receipts/fit/S1/VC/net/layer/group.json").read_text())
    assert group["tiles"] == {"fit": 10}
    # Other settings: refused with the key and both values; --redo discards and computes anew.
    changed = write_study("changed.yaml", alpha=5.0)
    with pytest.raises(ChangedStudy, match=r"fit\.alpha: 100\.0 -> 5\.0"):
        run(changed)
    assert files(workspace) == second
    assert run(changed, redo=True) == DONE
    assert all(files(workspace)[name] != second[name] for name in second)
    # Nothing is left over: no lease, no certificates, no partial files.
    assert not (workspace / "receipts" / "controller.json").exists()
    assert not list((workspace / "jobs").glob("tls-*"))
    assert not list(workspace.rglob("*.partial"))


def test_failures_are_named_with_a_traceback_and_retried(run, write_study, tmp_path, capfd, in_threads):
    study = write_study(fail=[30], memory=[50])
    workspace = tmp_path / "ws"
    assert run(study) == SOME_FAILED
    printed = capfd.readouterr().err
    assert "8 tiles done, 2 failed, 0 left" in printed
    log = workspace / "logs" / "fit__S1__VC__net__layer__fit-00000030-00000040.txt"
    assert "tile 30 is told to fail" in log.read_text()
    assert "in work" in log.read_text()
    assert len(list(workspace.glob("logs/*.txt"))) == 2
    assert run(write_study(), retry_failed=True) == DONE
    assert "2 tiles done, 0 failed, 0 left" in capfd.readouterr().err
    assert not list(workspace.glob("logs/*.txt"))


def test_bad_data_are_the_users_to_correct_and_leave_nothing(run, write_study, tmp_path, capfd, in_threads):
    study = write_study(n=1, bad=[0])
    assert run(study) == BAD_INPUT
    assert "fit: voxels are NaN; correct the data" in capfd.readouterr().err
    assert not (tmp_path / "ws" / "receipts").exists()
    assert run(study, retry_failed=True) == DONE
    assert "tiles that bad input stopped have none: run without --retry-failed" in capfd.readouterr().err


def test_tiles_too_large_for_memory_or_walltime_are_refused_before_anything_is_written(fake, write_study, tmp_path):
    study = write_study(seconds=100)
    with pytest.raises(MemoryBudgetError, match=r"fit/S1/VC/net/layer.*has 1\.0 MiB"):
        run_verbs([fake], Options(study=study, memory=2**20))
    cluster = tmp_path / "short.yaml"
    cluster.write_text("jobqueue: {slurm: {cores: 1, memory: 1GiB, walltime: '00:05:00'}}")
    with pytest.raises(ClusterError, match=r"projected to take 1 min 40 s.*longer walltime"):
        run_verbs([fake], Options(study=study, cluster_file=cluster))
    assert not (tmp_path / "ws").exists()


def test_a_controller_that_lost_its_study_leaves_the_new_ones_groups_alone(run, write_study, tmp_path, monkeypatch):
    def taken_over(self, planned, study_path):
        other = lease.Owner("far", 1, 1, "abc", "slurm", "hpc_recon-tiny-abc")
        write_json(lease.lease_path(self.workspace), asdict(other))
        self.lease.lost = True
        raise ClusterError("another controller took the study over")

    monkeypatch.setattr(Session, "_run_stages", taken_over)
    with pytest.raises(ClusterError, match="took the study over"):
        run(write_study())
    group = tmp_path / "ws/receipts/fit/S1/VC/net/layer/group.json"
    assert group.is_file(), "the other controller's tiles would have receipts without settings"


def test_a_second_ctrl_c_keeps_the_settings_of_what_workers_may_still_finish(run, write_study, tmp_path, monkeypatch):
    def stopped(self, planned, study_path):
        raise Stop

    monkeypatch.setattr(Session, "_run_stages", stopped)
    with pytest.raises(Stop):
        run(write_study())
    workspace = tmp_path / "ws"
    assert not workspace.exists(), "nothing was computed"
    workspace.mkdir()
    with pytest.raises(Stop):
        run(write_study())
    assert (workspace / "receipts/fit/S1/VC/net/layer/group.json").is_file()


def test_tiles_are_planned_for_the_threads_of_their_workers(run, fake, write_study, tmp_path, monkeypatch, in_threads):
    asked, plan = [], fake.load().plan
    monkeypatch.setattr("fake_verb.plan", lambda *given: asked.append(threads.available()) or plan(*given))
    cluster = tmp_path / "many.yaml"
    cluster.write_text("cluster: {kind: local, threads: 77}")
    assert run(write_study(n=1), cluster_file=cluster) == DONE
    assert set(asked) == {77}, "the controller's own number says nothing of a tile's memory and seconds"


def test_a_pattern_that_matches_no_tile_is_no_success(run, write_study, tmp_path):
    with pytest.raises(StudyError, match=r"'S2' matches none of the 10 tiles of fit, which are called as fit/S1/VC/"):
        run(write_study(), only="S2")
    assert not (tmp_path / "ws").exists()


def test_dry_runs_count_a_worker_for_each_gpu_of_a_job(fake, write_study, tmp_path, capsys):
    cluster = tmp_path / "gpus.yaml"
    cluster.write_text("{cluster: {gpus: 4, jobs: '2'}, jobqueue: {slurm: {cores: 8, memory: 8GiB}}}")
    outlook.dry_run([fake], Options(study=write_study(need=80.0, n=8), cluster_file=cluster))
    assert "In all 10.7 min of one worker's work, 1.3 min elapsed with 8 workers" in capsys.readouterr().out
