"""What Grid Engine, HTCondor, OAR and Moab tell, in samples as they print it."""

import json

import pytest

from hpc_recon.run import queue_records as records
from hpc_recon.run.queue_texts import JobState

NAME = "hpc_recon-tiny-0123456789ab"


def sge_job(number, state, name=NAME):
    return f"""<job_list state="pending"><JB_job_number>{number}</JB_job_number><JAT_prio>0.5</JAT_prio>
      <JB_name>{name[:10]}</JB_name><JB_owner>ann</JB_owner><state>{state}</state><slots>1</slots>
      <full_job_name>{name}</full_job_name></job_list>"""


def sge(*jobs):
    return f"""<?xml version='1.0'?>
<job_info  xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <queue_info>{jobs[0] if jobs else ""}</queue_info><job_info>{"".join(jobs[1:])}</job_info>
</job_info>"""


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("r", JobState("running")),
        ("t", JobState("running")),
        ("Rr", JobState("running")),
        ("qw", JobState("waiting")),
        ("S", JobState("waiting", "S")),
        ("hqw", JobState("held", "hqw")),
        ("Eqw", JobState("held", "error state Eqw")),
        ("dr", JobState("ending", "dr")),
        ("dRr", JobState("ending", "dRr")),
    ],
)
def test_states_of_grid_engine(state, expected):
    assert records.sge_jobs(sge(sge_job(7, state)), NAME) == {"7": expected}


def test_names_of_grid_engine_are_compared_whole():
    text = sge(sge_job(7, "r"), sge_job(8, "qw"), sge_job(9, "qw", name=NAME + "c"))
    assert set(records.sge_jobs(text, NAME)) == {"7", "8"}
    assert records.sge_jobs(sge(), NAME) == {}


def test_an_answer_that_is_no_xml():
    with pytest.raises(ValueError, match="not XML"):
        records.sge_jobs("error: commlib error: got select error", NAME)


ACCOUNTS = """==============================================================
qname        main.q
hostname     n1
jobnumber    7
failed       0
exit_status  0
maxvmem      12.000M
category     -u ann -l h_vmem=2G
==============================================================
qname        main.q
hostname     n2
jobnumber    7
failed       100 : assumedly after job
exit_status  137
slots        {slots}
maxvmem      {peak}
category     -u ann -l h_rt=3600,h_vmem=2G -pe smp 2
"""


def test_how_a_job_of_grid_engine_ended():
    accounts = records.sge_accounts(ACCOUNTS.format(peak="3.998G", slots=2))
    assert records.sge_end(accounts) == ("failed 100 : assumedly after job, exit code 137, peak memory 3.998G, host n2")
    assert records.sge_out_of_memory(accounts)
    assert not records.sge_out_of_memory(records.sge_accounts(ACCOUNTS.format(peak="2.000G", slots=2)))
    assert records.sge_out_of_memory(records.sge_accounts(ACCOUNTS.format(peak="2.000G", slots=1)))
    assert not records.sge_out_of_memory({})
    assert records.sge_end({}) == ""


def test_error_reasons_of_grid_engine():
    text = (
        "job_number:                 7\nerror reason    1:          11/20/2026 10:00:00 [0:1]: can't chdir to /x\n"
        "error reason    2:          another\n"
    )
    assert records.sge_errors(text) == "11/20/2026 10:00:00 [0:1]: can't chdir to /x; another"
    waiting = (
        'scheduling info:            queue instance "main.q@n2" dropped because it is disabled\n'
        '                            (-l hostname=!(n1)) cannot run at host "n1" because it offers qf:hostname=n1\n'
    )
    assert records.sge_errors(waiting).startswith("(-l hostname=!(n1)) cannot run")


def test_jobs_of_htcondor():
    text = "12.0 1 undefined\n13.0 2 undefined\n14.0 5 The job attribute PeriodicHold expression is true\n"
    text += "15.0 3 undefined\n"
    assert records.condor_jobs(text) == {
        "12.0": JobState("waiting"),
        "13.0": JobState("running"),
        "14.0": JobState("held", "The job attribute PeriodicHold expression is true"),
        "15.0": JobState("ending"),
    }
    assert records.condor_jobs("") == {}


def test_how_a_job_of_htcondor_ended():
    text = (
        "\tExitCode = undefined\tExitSignal = 9\tHoldReasonCode = 34\tLastHoldReasonCode = undefined"
        "\tHoldReason = Error from slot1@n1: Job has gone over cgroup memory limit of 2048 megabytes.\n"
    )
    record = records.condor_record(text)
    assert records.condor_end(record) == (
        "signal 9, held: Error from slot1@n1: Job has gone over cgroup memory limit of 2048 megabytes."
    )
    assert records.condor_out_of_memory(record)
    removed = records.condor_record("\tExitCode = undefined\tRemoveReason = via condor_rm (by user ann)\n")
    assert records.condor_end(removed) == "removed: via condor_rm (by user ann)"
    assert not records.condor_out_of_memory(removed)
    assert records.condor_record("") == {}


def oar(**records_):
    return json.dumps({job: {"name": NAME, **record} for job, record in records_.items()}, indent=3)


def test_jobs_of_oar():
    text = oar(
        **{
            "4": {"state": "Waiting", "message": "FIFO scheduling OK"},
            "5": {"state": "Running", "message": ""},
            "6": {"state": "Hold", "message": None},
            "7": {"state": "Finishing"},
            "8": {"state": "Terminated"},
            "9": {"state": "Running", "name": NAME + "c"},
        }
    )
    assert records.oar_jobs(text, NAME) == {
        "4": JobState("waiting", "FIFO scheduling OK"),
        "5": JobState("running"),
        "6": JobState("held"),
        "7": JobState("ending"),
    }
    assert records.oar_jobs("null\n", NAME) == records.oar_jobs("", NAME) == {}
    with pytest.raises(ValueError, match="Expecting value"):
        records.oar_jobs("DB connection error, exiting.", NAME)


def test_how_a_job_of_oar_ended():
    event = {"type": "WALLTIME", "description": "Job [4] from 10 with 4; walltime reached", "date": 10}
    text = oar(**{"4": {"state": "Error", "exit_code": 32512, "message": "R=1", "events": [event]}})
    assert records.oar_end(text) == (
        "state Error, exit code 127, message: R=1, events: WALLTIME: Job [4] from 10 with 4; walltime reached"
    )
    assert "signal 9" in records.oar_end(oar(**{"4": {"state": "Error", "exit_code": "9 (0,9,0)"}}))
    assert records.oar_end("") == ""


MOAB = f"""<Data>
 <Object>queue</Object>
 <cluster LocalActiveNodes="68" time="1553503935"/>
 <queue count="2" option="active">
  <job DRMJID="50.mg1" GJID="50" JobID="50" JobName="{NAME}" ReqProcs="20" State="Running" User="ann"/>
  <job GJID="51" JobID="51" JobName="other" ReqProcs="20" State="Running" User="ann"/>
 </queue>
 <queue count="1" option="eligible"><job JobID="Moab.52" JobName="{NAME}" State="Idle" User="ann"/></queue>
 <queue count="2" option="blocked">
  <job JobID="53" JobName="{NAME}" State="BatchHold" User="ann"/>
  <job JobID="54" JobName="{NAME}" State="NotQueued" User="ann"/>
 </queue>
</Data>"""


def test_jobs_of_moab():
    assert records.moab_jobs(MOAB, NAME) == {
        "50": JobState("running"),
        "Moab.52": JobState("waiting"),
        "53": JobState("held", "BatchHold"),
        "54": JobState("waiting", "NotQueued"),
    }
    assert records.moab_jobs("<Data><Object>queue</Object></Data>", NAME) == {}


def test_how_a_job_of_moab_ended():
    text = """job 53

AName: x
State: Completed Completion Code: 271  Time: Fri Jun 10 15:35:08
Creds:  user:ann  group:ann  class:batch
WallTime:   00:01:31 of 2:00:00
BLOCK MSG: job hold active - Batch (recorded at last scheduling iteration)
"""
    assert records.moab_end(text) == (
        "State: Completed Completion Code: 271 Time: Fri Jun 10 15:35:08; "
        "BLOCK MSG: job hold active - Batch (recorded at last scheduling iteration)"
    )
    assert records.moab_end("ERROR:  cannot locate job '53'") == ""
