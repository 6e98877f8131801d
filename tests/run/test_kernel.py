"""How many processes the kernel killed for want of memory."""

import pytest

from hpc_recon.run import clusters, kernel
from hpc_recon.run.kernel import memory_kills, memory_limit


@pytest.fixture
def machine(tmp_path):
    """Return a function that writes files of a pretended machine and asks it, how many were killed by default."""

    def ask(question=memory_kills, **files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_D_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return question(tmp_path / "groups", tmp_path / "proc")

    return ask


VMSTAT = "nr_free_pages 7\noom_kill 9\n"


def test_version_two_counts_in_the_own_group(machine):
    assert (
        machine(
            proc__self__cgroup="0::/job/step\n",
            proc__vmstat=VMSTAT,
            groups__job__step__memory_D_events="low 0\noom 2\noom_kill 1\noom_group_kill 0\n",
        )
        == 1
    )


def test_version_one_counts_in_the_group_of_the_memory_controller(machine):
    assert (
        machine(
            proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
            proc__vmstat=VMSTAT,
            groups__memory__job__memory_D_oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        )
        == 3
    )


def test_else_on_the_whole_machine(machine):
    assert machine(proc__self__cgroup="0::/\n", proc__vmstat=VMSTAT) == 9


def test_old_kernels_do_not_count(machine):
    assert machine(proc__self__cgroup="0::/\n", proc__vmstat="nr_free_pages 7\n") is None


def test_without_control_groups_the_whole_machine_counts_and_nothing_is_limited(machine):
    assert machine(proc__vmstat=VMSTAT) == 9
    assert machine(memory_limit) is None


def test_a_job_is_limited_by_its_own_group_and_those_above(machine):
    assert (
        machine(
            memory_limit,
            proc__self__cgroup="0::/system/job_7/step_0\n",
            groups__system__job_7__step_0__memory_D_max="max\n",
            groups__system__job_7__memory_D_max="8589934592\n",
            groups__memory_D_max="99999999999\n",
        )
        == 8 * 2**30
    )
    assert (
        machine(
            memory_limit,
            proc__self__cgroup="4:memory:/slurm/job_7\n0::/elsewhere\n",
            groups__memory__slurm__job_7__memory_D_limit_in_bytes="1073741824\n",
            groups__memory__memory_D_limit_in_bytes="9223372036854771712\n",
        )
        == 2**30
    )


def test_without_a_limit_there_is_none(machine):
    assert machine(memory_limit, proc__self__cgroup="0::/\n") is None


def test_workers_on_this_machine_share_what_its_job_may_use(monkeypatch):
    monkeypatch.setattr(kernel, "memory_limit", lambda: 12345)
    assert clusters.available_memory() == 12345


def test_this_machine_has_one():
    assert memory_kills() >= 0
