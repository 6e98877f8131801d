"""How many processes the kernel killed for want of memory."""

import pytest

from hpc_recon.run.kernel import memory_kills


@pytest.fixture
def machine(tmp_path):
    """Return a function that writes files of a pretended machine and reads its count."""

    def count(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_D_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return memory_kills(tmp_path / "groups", tmp_path / "proc")

    return count


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


def test_no_count_is_an_error(machine):
    with pytest.raises(OSError, match="neither"):
        machine(proc__self__cgroup="0::/\n", proc__vmstat="nr_free_pages 7\n")


def test_this_machine_has_one():
    assert memory_kills() >= 0
