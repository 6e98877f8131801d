"""What Slurm, PBS, Torque and LSF print, in samples as their manuals show them."""

import pytest

from hpc_recon.run import queue_texts as texts
from hpc_recon.run.queue_texts import JobState

NAME = "r-0123456789ab"

PBS = """Job Id: 1234.pbs01.example.org
    Job_Name = r-0123456789ab
    Job_Owner = ann@login1
    job_state = Q
    queue = gpu
    Variable_List = PBS_O_HOME=/data/ann,PBS_O_LANG=en_US.UTF-8,PBS_O_LOGNAME=ann,
\tPBS_O_PATH=/usr/bin:/bin,job_state = R
    comment = Not Running: Insufficient amount of resource: ngpus (R: 1 A: 0 T:
\t 8)

Job Id: 1235.pbs01.example.org
    Job_Name = r-0123456789ab
    job_state = R
    exec_host = n1/0*8

Job Id: 1236.pbs01.example.org
    Job_Name = r-0123456789abc
    job_state = R

Job Id: 1237.pbs01.example.org
    Job_Name = r-0123456789ab
    job_state = H
    Hold_Types = u

Job Id: 1238.pbs01.example.org
    Job_Name = r-0123456789ab
    job_state = E
"""
TORQUE = """Job Id: 88.torque
    Job_Name = r-0123456789ab
    job_state = C
    exit_status = 271
"""
PBS_ENDED = """Job Id: 1239.pbs01
    Job_Name = r-0123456789ab
    job_state = F
    comment = Job run at Fri Nov 20 at 10:00 on (n1:ncpus=8) and failed
    Exit_status = -27
"""


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("7|PENDING|Priority", JobState("waiting", "Priority")),
        ("7|PENDING|(null)|x", JobState("waiting", "(null)|x")),
        ("7|RUNNING|None", JobState("running")),
        ("7|COMPLETING|None", JobState("ending", "COMPLETING")),
        ("7|SUSPENDED|None", JobState("waiting", "SUSPENDED")),
        ("7|PENDING|JobHeldUser", JobState("held", "JobHeldUser")),
        ("7|PENDING|launch failed requeued held", JobState("held", "launch failed requeued held")),
        ("7|REQUEUE_HOLD|None", JobState("held", "REQUEUE_HOLD")),
        ("7|SIGNALING|None", JobState("running", "SIGNALING")),
    ],
)
def test_states_of_slurm(line, state):
    assert texts.slurm_jobs(line + "\n") == {"7": state}


def test_lines_that_are_no_jobs_of_slurm_are_passed_over():
    assert texts.slurm_jobs("\nslurm_load_jobs: a warning\n") == {}


@pytest.mark.parametrize("reason", ["BadConstraints", "(PartitionTimeLimit)", "InvalidQOS", "JobHeldAdmin"])
def test_reasons_of_slurm_without_hope(reason):
    assert texts.slurm_hopeless(reason)


@pytest.mark.parametrize("reason", ["Resources", "Priority", "ReqNodeNotAvail, UnavailableNodes:n1", "", "Dependency"])
def test_reasons_of_slurm_that_pass(reason):
    assert not texts.slurm_hopeless(reason)


def test_a_slurm_job_that_ended():
    text = "JobId=7 JobName=x\n   JobState=OUT_OF_MEMORY Reason=OutOfMemory Dependency=(null)\n   ExitCode=0:125\n"
    found = texts.slurm_end(text)
    assert (found["JobState"], found["Reason"], found["ExitCode"]) == ("OUT_OF_MEMORY", "OutOfMemory", "0:125")


def test_jobs_of_pbs_with_folded_lines_and_another_name():
    assert texts.pbs_jobs(PBS, NAME) == {
        "1234": JobState("waiting", "Not Running: Insufficient amount of resource: ngpus (R: 1 A: 0 T: 8)"),
        "1235": JobState("running"),
        "1237": JobState("held"),
        "1238": JobState("ending"),
    }


def test_jobs_of_slurms_own_qstat():
    text = "Job Id:\t1\n\tJob_Name = r-0123456789ab\n\tjob_state = R\n\tqueue = main\n\n"
    assert texts.pbs_jobs(text, NAME) == {"1": JobState("running")}


def test_jobs_that_torque_still_lists_after_their_end_are_gone():
    assert texts.pbs_jobs(TORQUE, NAME) == {}
    assert texts.pbs_end(TORQUE) == "state C, exit code 271"
    assert not texts.pbs_out_of_memory(TORQUE)


def test_a_pbs_job_that_ended():
    assert texts.pbs_end(PBS_ENDED).startswith("state F, exit code -27, comment: Job run at")
    assert texts.pbs_out_of_memory(PBS_ENDED)
    assert texts.pbs_out_of_memory("Job Id: 1.x\n    comment = job killed: mem 2097152kb exceeded limit 1048576kb\n")
    assert texts.pbs_end("qstat: Unknown Job Id 1239.pbs01\n") == ""
    assert not texts.pbs_out_of_memory("")


def test_jobs_of_lsf():
    text = (
        "101|PEND|New job is waiting for scheduling;\n102|RUN|-\n"
        "103|PSUSP|Job was suspended by the user while pending;\n104|SSUSP|-\n"
        "105|EXIT|-\n106|DONE|-\n107|UNKWN|-\n108|ZOMBI|-\n"
    )
    assert texts.lsf_jobs(text) == {
        "101": JobState("waiting", "New job is waiting for scheduling"),
        "102": JobState("running"),
        "103": JobState("held", "Job was suspended by the user while pending"),
        "104": JobState("waiting", "SSUSP"),
        "107": JobState("running", "UNKWN"),
        "108": JobState("ending", "ZOMBI"),
    }
    assert texts.lsf_jobs("Job <x> is not found\n") == {}


def test_an_lsf_job_that_ended():
    text = "EXIT|137|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|-\n"
    assert texts.lsf_end(text) == (
        "state EXIT, exit code 137, reason TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"
    )
    assert texts.lsf_end("PEND|-|-|Not enough hosts to meet the job's requirement;\n") == (
        "state PEND, waits: Not enough hosts to meet the job's requirement"
    )
    assert texts.lsf_end("") == ""
