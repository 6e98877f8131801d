"""Places, budgets, and a local pool: encrypted, on this machine only, gone afterwards."""

import socket
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from hpc_recon.core.cluster_file import ClusterFile, load_cluster
from hpc_recon.core.errors import ClusterError, DataError
from hpc_recon.run import clusters, lease
from hpc_recon.run.clusters import Place
from hpc_recon.run.options import Jobs
from hpc_recon.run.schedulers import SCHEDULERS


def place(content, *, jobs=None, memory=None):
    return Place("x", ClusterFile.model_validate(content), jobs, "numpy", memory)


def test_budgets_come_from_the_option_the_file_the_job_or_the_machine():
    slurm = {"jobqueue": {"slurm": {"cores": 2, "memory": "8GiB", "walltime": "00:30:00"}}}
    assert place(slurm, memory=5).host_budget == 5
    assert place(slurm).host_budget == 8 * 2**30
    assert place({**slurm, "cluster": {"memory": "6GiB", "device_memory": "80GiB"}}).host_budget == 6 * 2**30
    assert place({**slurm, "cluster": {"device_memory": "80GiB"}}).device_budget == 80 * 2**30
    assert place(slurm).walltime == 1800
    two = place({"cluster": {"kind": "local"}}, jobs=Jobs(2, 2))
    assert 0 < two.host_budget <= clusters.available_memory()
    assert two.walltime is None
    gpus = {"cluster": {"gpus": 2}, **slurm}
    assert place(gpus).host_budget == 4 * 2**30, "a worker process has its part of the job's memory"
    assert place(gpus, jobs=Jobs(1, 8)).n_workers == 16
    assert two.n_workers == 2
    assert two.device_budget is None


def test_jobs_come_from_the_option_then_the_file():
    assert place({"cluster": {"jobs": "2:5"}}).wanted == Jobs(2, 5)
    assert place({"cluster": {"jobs": "2:5"}}, jobs=Jobs(3, 3)).wanted == Jobs(3, 3)


def test_limits_come_from_the_option_then_the_file():
    content = {"cluster": {"max_jobs": 7, "start_within": "02:00"}, "jobqueue": {"lsf": {"cores": 1, "memory": "1GiB"}}}
    found = place(content)
    assert found.most_submissions == 7
    assert found.start_within == 7200, "as LSF reads it: hours and minutes"
    assert replace(found, max_jobs=3).most_submissions == 3
    assert place({}).most_submissions is None
    assert place({}).start_within is None


def test_a_scheduler_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    clusters.require_scheduler("local")
    with pytest.raises(ClusterError, match=r"sbatch, squeue, scancel, scontrol on PATH.*--cluster local"):
        clusters.require_scheduler("slurm")
    with pytest.raises(ClusterError, match=r"oarsub, oarstat, oardel on PATH"):
        clusters.require_scheduler("oar")


@pytest.mark.parametrize("kind", sorted(SCHEDULERS))
def test_jobs_of_a_dead_controller_are_cancelled_with_its_own_scheduler(kind, monkeypatch):
    asked = []
    monkeypatch.setattr(clusters, "require_scheduler", asked.append)
    monkeypatch.setattr(clusters, "cancel_jobs_of", lambda owner, queue: asked.append(type(queue)))
    clusters.cancel_jobs(SimpleNamespace(cluster=kind))
    assert asked == [kind, SCHEDULERS[kind].queue]


def test_workers_of_a_dead_controller_on_this_machine_ended_with_it(monkeypatch):
    monkeypatch.setattr(clusters, "cancel_jobs_of", pytest.fail)
    clusters.cancel_jobs(SimpleNamespace(cluster="local"))
    clusters.cancel_jobs(SimpleNamespace(cluster="cuda"))


def listening():
    """Where this process and its children listen: address and port."""
    me = psutil.Process()
    found = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections() if c.status == "LISTEN"]
    return {(c.laddr.ip, c.laddr.port) for c in found}


def refuses_plain_text(address):
    """Whether a server answers 64 zero bytes (a dask handshake without TLS) by hanging up."""
    host, port = address.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        plain.settimeout(60)
        plain.sendall(b"\0" * 64)
        try:
            return not plain.recv(64).startswith(b"\0")
        except ConnectionResetError:
            return True


def test_a_local_pool(tmp_path):
    where = Place("local", load_cluster("local"), Jobs(1, 1), "numpy", None)
    before = listening()  # schedulers of other tests may be children of this process
    with (
        lease.hold(tmp_path, cluster="local", study_name="tiny", cancel=print, say=print) as held,
        clusters.open_pool(where, workspace=tmp_path, lease=held) as pool,
    ):
        assert pool.client.submit(abs, -3).result(timeout=200) == 3
        assert pool.client.scheduler.address.startswith("tls://127.0.0.1:")
        assert {ip for ip, _ in listening() - before} == {"127.0.0.1"}, "something listens beyond this machine"
        assert refuses_plain_text(pool.client.scheduler.address)
        assert list((tmp_path / "jobs").glob("tls-*"))
        environment = pool.client.submit(__import__("os").getenv, "HPC_RECON_THREADS").result(timeout=200)
        assert int(environment) >= 1
    assert not list((tmp_path / "jobs").glob("tls-*"))


def test_a_machine_without_workers_stops_the_run(monkeypatch):
    worker = SimpleNamespace(name=0, address="tls://127.0.0.1:1", metrics={"memory": 5}, processing={})
    cluster = SimpleNamespace(scheduler=SimpleNamespace(workers={worker.address: worker}))
    watcher = clusters.LocalWatcher(cluster)
    assert watcher.tick(3) == ""
    cluster.scheduler.workers.clear()
    assert watcher.tick(3) == "waiting for workers"
    monkeypatch.setattr(clusters, "GONE_AFTER", -1.0)
    with pytest.raises(ClusterError, match="no worker on this machine"):
        watcher.tick(3)
    assert watcher.epitaph(worker.address).memory == 5, "remembered after its death"
    watcher.kills = None
    assert watcher.epitaph(worker.address).out_of_memory is None, "the kernel does not count"


def test_strict_device_on_this_machine_is_checked_before_workers_start(monkeypatch, tmp_path):
    def refuse(workspace):
        raise ClusterError(f"asked about {workspace.name}")

    monkeypatch.setattr(clusters, "require_same_kind", refuse)
    where = replace(place({"cluster": {"kind": "local"}}), strict_device=True)
    with (
        pytest.raises(ClusterError, match=f"asked about {tmp_path.name}"),
        clusters.open_pool(where, workspace=tmp_path, lease=None),
    ):
        pytest.fail("opened")


def test_jobs_that_cannot_be_cancelled_do_not_hide_why_the_run_stopped(monkeypatch):
    def silent(owner, queue):
        raise ClusterError("`squeue` failed: no answer within 60 s")

    monkeypatch.setattr(clusters, "cancel_jobs_of", silent)
    said = r"(?s)voxels are NaN.*may still run and write: `squeue` failed"
    with pytest.raises(ClusterError, match=said), clusters._leaving_nothing_that_writes(None, None):
        raise DataError("voxels are NaN")
    with pytest.raises(ClusterError, match=r"^`squeue` failed"), clusters._leaving_nothing_that_writes(None, None):
        raise KeyboardInterrupt
