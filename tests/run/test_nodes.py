"""Which nodes a run avoids, and what it reads in the logs of its jobs."""

import pytest

from hpc_recon.run.nodes import Nodes, log_tail, node_in_log


@pytest.fixture
def nodes(tmp_path):
    said = []
    return Nodes(tmp_path, "abc", said.append, set())


def write_log(nodes, job, *lines):
    nodes.log(job).write_text("\n".join(lines) + "\n")


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "w.log"
    assert log_tail(log) == ["(there is no log)"]
    log.write_text("")
    assert log_tail(log) == ["(the log is empty)"]
    log.write_text("".join(f"line {i}\n" for i in range(100_000)))
    assert log_tail(log)[-1] == "line 99999"
    assert len(log_tail(log)) == 15


def test_the_node_in_a_log_is_the_last_that_a_requeued_job_ran_on(tmp_path):
    log = tmp_path / "w.log"
    assert node_in_log(log) is None
    log.write_text("bash: python: command not found\n")
    assert node_in_log(log) is None
    log.write_text("loading modules\nhpc_recon: node n1, job 7\nkilled\nhpc_recon: node gpu-2.site.org, job 7\n")
    assert node_in_log(log) == "gpu-2.site.org"


def test_a_node_on_which_two_jobs_died_is_avoided(nodes):
    write_log(nodes, "w-1", "hpc_recon: node n1, job 7", "python: not found")
    write_log(nodes, "w-2", "hpc_recon: node n1, job 8", "python: not found")
    nodes.blame("w-1", why="ExitCode 127:0", others_work=False)
    assert nodes.exclusions == set()
    nodes.blame("w-2", why="ExitCode 127:0", others_work=False)
    assert nodes.exclusions == {"n1"}
    nodes.blame("w-2", why="ExitCode 127:0", others_work=False)
    assert "n1" in nodes.summary()


def test_one_death_is_enough_while_others_work(tmp_path):
    said = []
    nodes = Nodes(tmp_path, "abc", said.append, set())
    write_log(nodes, "w-1", "hpc_recon: node n1, job 7", "python: not found", "")
    nodes.blame("w-1", why="ExitCode 127:0", others_work=True)
    assert nodes.exclusions == {"n1"}
    (line,) = said
    assert "the node n1 is avoided from now on: 1 of this run's jobs ended there" in line
    assert "ends with: python: not found" in line


@pytest.mark.parametrize("why", ["JobState=CANCELLED", "PREEMPTED", "requeued"])
def test_a_job_that_somebody_took_away_says_nothing_about_its_node(nodes, why):
    write_log(nodes, "w-1", "hpc_recon: node n1, job 7")
    nodes.blame("w-1", why=why, others_work=True)
    assert nodes.exclusions == set()


def test_a_job_whose_log_names_no_node(nodes):
    nodes.blame("w-1", why="ExitCode 1:0", others_work=True)
    assert nodes.exclusions == set()
    assert nodes.summary() == ""
