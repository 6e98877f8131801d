"""One worker for each of this machine's GPUs; the machine of the tests pretends to have some."""

import os
from types import SimpleNamespace

import pytest

from hpc_recon.core.cluster_file import ClusterFile, Where
from hpc_recon.core.errors import ClusterError
from hpc_recon.run import clusters, cuda, lease
from hpc_recon.run.clusters import Place
from hpc_recon.run.options import Jobs


def place(jobs=None, xp="numpy"):
    return Place("cuda", ClusterFile(cluster=Where(kind="cuda")), jobs, xp, None)


@pytest.fixture
def no_tool(monkeypatch, tmp_path):
    """A machine without nvidia-smi."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_gpus_are_those_that_the_variable_names_else_all(no_tool, monkeypatch):
    tool = no_tool / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    assert cuda.gpus() == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-0a1b")
    assert cuda.gpus() == ["2", "GPU-0a1b"]


def test_a_place_asks_once_for_the_gpus_of_this_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(cuda, "gpus", lambda: asked.append(1) or ["0", "1"])
    where = place()
    assert (where.wanted, where.n_workers, where.worker_threads > 0) == (Jobs(2, 2), 2, True)
    assert where.host_budget > 0
    assert len(asked) == 1


def test_without_a_gpu_the_message_says_what_to_do(no_tool, monkeypatch):
    with pytest.raises(ClusterError, match=r"needs an NVIDIA GPU.*nvidia-smi is not there.*--cluster local"):
        clusters.require_scheduler("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ClusterError, match="CUDA_VISIBLE_DEVICES is '': it hides every GPU"):
        cuda.gpus()


def test_a_worker_for_each_gpu_or_as_many_as_asked_for(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert place().wanted == Jobs(3, 3)
    assert place(Jobs(1, 2)).wanted == Jobs(2, 2)
    assert place(Jobs(8, 8)).wanted == Jobs(3, 3)
    assert place().walltime is None
    assert place(Jobs(2, 2)).host_budget <= clusters.available_memory() // 2 + 2**28


def test_each_worker_sees_its_own_gpu(monkeypatch, tmp_path):
    def on_worker():  # in here, so that it travels whole: a worker cannot import a test
        import time

        time.sleep(0.5)
        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["HPC_RECON_XP"], int(os.environ["HPC_RECON_THREADS"])

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with (
        lease.hold(tmp_path, cluster="cuda", study_name="tiny", cancel=print, say=print) as held,
        clusters.open_pool(place(), workspace=tmp_path, lease=held) as pool,
    ):
        assert pool.description.startswith("cuda: a worker on each of the GPUs 4, 5, ")
        pool.client.wait_for_workers(2, timeout=200)
        found = pool.client.run(on_worker)
        assert sorted(gpu for gpu, _, _ in found.values()) == ["4", "5"]
        assert {xp for _, xp, _ in found.values()} == {"numpy"}
        assert all(address.startswith("tls://127.0.0.1:") for address in found)
        assert pool.tick(3) == ""
        address = next(iter(found))
        assert pool.epitaph(address).memory > 2**20
        assert pool.epitaph(address).job is None
    assert not list((tmp_path / "jobs").glob("tls-*"))


def test_workers_of_this_machine_have_no_scheduler_to_ask():
    cluster = SimpleNamespace(scheduler=SimpleNamespace(workers={}))
    assert clusters.LocalWatcher(cluster).epitaph("tls://127.0.0.1:1") is None
