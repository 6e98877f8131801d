"""Asking queues: pretended commands print what the real ones do; Slurm and Grid Engine are real in their own suites."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_commands import Commands

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import queues
from hpc_recon.run.queues import FORGOTTEN, JobState
from hpc_recon.run.schedulers import SCHEDULERS

NAME = "r-0123456789ab"
PBS = """Job Id: 123.head
    Job_Name = r-0123456789ab
    job_state = R

Job Id: 124.head
    Job_Name = r-0123456789ab
    job_state = E

"""
SGE = """<?xml version='1.0'?><job_info><queue_info/><job_info>
<job_list state="pending"><JB_job_number>123</JB_job_number><state>qw</state>
<full_job_name>r-0123456789ab</full_job_name></job_list></job_info></job_info>"""
MOAB = '<Data><queue option="active"><job JobID="Moab.123" JobName="r-0123456789ab" State="Running"/></queue></Data>'


@pytest.fixture
def commands(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


#: What the query of each scheduler prints while one job runs or waits: program, output, and that job.
ANSWERS = {
    "slurm": ("squeue", "123|PENDING|Priority\n", {"123": JobState("waiting", "Priority")}),
    "pbs": ("qstat", PBS, {"123": JobState("running"), "124": JobState("ending")}),
    "sge": ("qstat", SGE, {"123": JobState("waiting")}),
    "lsf": ("bjobs", "123|RUN|-\n", {"123": JobState("running")}),
    "htcondor": ("condor_q", "123.0 2 undefined\n", {"123.0": JobState("running")}),
    "oar": ("oarstat", json.dumps({"123": {"name": NAME, "state": "Running"}}), {"123": JobState("running")}),
    "moab": ("showq", MOAB, {"Moab.123": JobState("running")}),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_the_jobs_of_a_name(commands, kind):
    program, out, expected = ANSWERS[kind]
    commands.add(program, out)
    assert SCHEDULERS[kind].queue().by_name(NAME) == expected


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_that_does_not_answer(commands, kind):
    commands.add(ANSWERS[kind][0], err="cannot connect to the server\n", code=1)
    with pytest.raises(ClusterError, match="cannot connect to the server"):
        SCHEDULERS[kind].queue().by_name(NAME)


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_machine_without_the_scheduler(commands, kind):
    with pytest.raises(ClusterError, match="not on PATH"):
        SCHEDULERS[kind].queue().by_name(NAME)


def test_a_scheduler_that_hangs(commands, monkeypatch):
    (commands.folder / "squeue").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    (commands.folder / "squeue").chmod(0o700)
    monkeypatch.setattr(queues, "ANSWER_WITHIN", 0.5)
    with pytest.raises(ClusterError, match=r"squeue.*no answer within 0\.5 s"):
        queues.SlurmQueue().by_name(NAME)


@pytest.mark.parametrize("kind", ["sge", "oar", "moab"])
def test_an_answer_that_cannot_be_read_is_no_answer(commands, kind):
    commands.add(ANSWERS[kind][0], "<half an ans")
    with pytest.raises(ClusterError, match="cannot be read"):
        SCHEDULERS[kind].queue().by_name(NAME)


@pytest.mark.parametrize(
    ("kind", "out", "err", "code"),
    [
        ("slurm", "", "", 0),
        ("pbs", "", "", 0),
        # Debian's wrappers of Slurm, where there are no jobs at all.
        ("pbs", "", "", 153),
        ("sge", "<?xml version='1.0'?><job_info><queue_info/><job_info/></job_info>", "", 0),
        ("lsf", "", f"Job <{NAME}> is not found\n", 255),
        ("lsf", "", "No unfinished job found\n", 255),
        ("htcondor", "", "", 0),
        ("oar", "null\n", "", 0),
        ("oar", "", "hash- or arrayref expected (not a simple scalar, use allow_nonref to allow this)", 255),
        ("moab", "<Data><Object>queue</Object></Data>", "", 0),
    ],
)
def test_no_job_is_no_failure(commands, kind, out, err, code):
    commands.add(ANSWERS[kind][0], out, err, code)
    assert SCHEDULERS[kind].queue().by_name(NAME) == {}


def test_pbs_is_asked_for_the_jobs_of_the_name_where_it_can_tell(commands):
    commands.add("qselect", "123.head\n124.head\n")
    commands.add("qstat", PBS, err="qstat: Unknown Job Id 125.head\n", code=153)
    assert set(queues.PBSQueue().by_name(NAME)) == {"123", "124"}
    assert commands.calls[0].endswith(f"-N {NAME}")
    assert commands.calls[1] == "qstat -f 123.head 124.head"
    commands.add("qselect", "")
    assert queues.PBSQueue().by_name(NAME) == {}
    assert len(commands.calls) == 3, "no query without jobs: qstat -f alone lists everybody's"


#: What cancels the one job of `ANSWERS`, by name or by number.
CANCELS = {
    "slurm": ["scancel --name=r-0123456789ab"],
    "pbs": ["qdel 123"],
    "sge": ["qdel 123"],
    "lsf": ["bkill 123"],
    "htcondor": ["condor_rm -constraint 'JobBatchName == \"r-0123456789ab\"'"],
    "oar": ["oardel 123"],
    "moab": ["canceljob Moab.123"],
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_all_jobs_of_a_name_are_cancelled_and_no_others(commands, kind):
    program, out, _ = ANSWERS[kind]
    commands.add(program, out)
    delete = CANCELS[kind][0].split()[0]
    commands.add(delete)
    SCHEDULERS[kind].queue().cancel(NAME)
    assert [call for call in commands.calls if call.startswith(delete)] == CANCELS[kind]


def test_numbers_are_cancelled_only_together_with_the_name(commands):
    commands.add("scancel")
    queues.SlurmQueue().cancel(NAME, ["7", "8"])
    assert commands.calls == ["scancel --name=r-0123456789ab", "scancel --name=r-0123456789ab 7 8"]


@pytest.mark.parametrize(
    ("kind", "err"),
    [
        ("pbs", "qdel: Unknown Job Id 123.head"),
        ("pbs", "qdel: Job has finished 123.head"),
        ("sge", 'denied: job "123" does not exist'),
        ("lsf", "Job <123>: Job has already finished"),
        ("oar", "Cannot frag 123 ; This job was already killed."),
        ("moab", "ERROR:  invalid job specified (Moab.123)"),
    ],
)
def test_a_job_that_left_before_it_was_cancelled_is_no_failure(commands, kind, err):
    program, out, _ = ANSWERS[kind]
    commands.add(program, out)
    delete = CANCELS[kind][0].split()[0]
    commands.add(delete, err=err, code=1)
    SCHEDULERS[kind].queue().cancel(NAME)
    commands.add(delete, err="server down", code=1)
    with pytest.raises(ClusterError, match="server down"):
        SCHEDULERS[kind].queue().cancel(NAME)


def test_htcondor_without_such_jobs_has_nothing_to_cancel(commands):
    text = 'Couldn\'t find/remove all jobs matching constraint (JobBatchName == "x")\n'
    commands.add("condor_rm", err=text, code=1)
    queues.HTCondorQueue().cancel(NAME)
    assert len(commands.calls) == 1


#: What tells how a job ended: program, output, what is shown of it, whether it was for its memory.
ENDS = {
    "slurm": (
        "scontrol",
        "JobId=7\n   JobState=OUT_OF_MEMORY Reason=OutOfMemory\n   ExitCode=0:125\n",
        "JobState OUT_OF_MEMORY, Reason OutOfMemory, ExitCode 0:125",
        True,
    ),
    "pbs": (
        "qstat",
        "Job Id: 7.head\n    job_state = F\n    Exit_status = -27\n",
        "state F, exit code -27",
        True,
    ),
    "sge": ("qacct", "failed       0\nexit_status  1\nmaxvmem      1.2G\n", "exit code 1, peak memory 1.2G", False),
    "lsf": (
        "bjobs",
        "EXIT|137|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|-\n",
        "state EXIT, exit code 137, reason TERM_MEMLIMIT: job killed after reaching LSF memory usage limit",
        True,
    ),
    "htcondor": (
        "condor_history",
        "\tExitCode = undefined\tHoldReasonCode = undefined\tRemoveReason = via condor_rm (by user ann)\n",
        "removed: via condor_rm (by user ann)",
        False,
    ),
    "oar": (
        "oarstat",
        json.dumps({"7": {"state": "Error", "exit_code": 256}}),
        "state Error, exit code 1",
        False,
    ),
    "moab": (
        "checkjob",
        "job 7\nState: Completed Completion Code: 1  Time: x\n",
        "State: Completed Completion Code: 1 Time: x",
        False,
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_why_a_job_ended(commands, kind):
    program, out, shown, is_memory = ENDS[kind]
    for other in ("qstat", "condor_q"):
        commands.add(other, err="unknown job", code=1)
    commands.add(program, out)
    queue = SCHEDULERS[kind].queue()
    assert queue.why("7") == shown
    assert queue.out_of_memory("7") is is_memory


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_job_that_is_forgotten(commands, kind):
    for program in {ENDS[kind][0], "qstat", "qacct", "condor_q", "condor_history"}:
        commands.add(program, err="unknown job", code=1)
    queue = SCHEDULERS[kind].queue()
    assert queue.why("7") == FORGOTTEN
    assert queue.out_of_memory("7") is False


def test_a_waiting_job_of_grid_engine_in_an_error_state_says_why(commands):
    commands.add("qstat", "error reason    1:          can't chdir to /nowhere: No such file\n")
    assert queues.SGEQueue().why("7") == "can't chdir to /nowhere: No such file"


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_held_job_is_hopeless_and_a_waiting_one_is_not(kind):
    queue = SCHEDULERS[kind].queue()
    assert queue.hopeless(JobState("held", "whatever"))
    assert not queue.hopeless(JobState("waiting", "Resources"))
    assert not queue.hopeless(JobState("running"))


def test_jobs_that_ask_for_what_there_is_not_are_hopeless():
    assert queues.SlurmQueue().hopeless(JobState("waiting", "BadConstraints"))
    comment = "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 8 T: 8)"
    assert queues.PBSQueue().hopeless(JobState("waiting", comment))
