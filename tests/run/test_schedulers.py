"""The table of schedulers: names of jobs, ids of jobs, hosts to avoid."""

import platform
import re

import pytest

from hpc_recon.core import cluster_file
from hpc_recon.run import schedulers
from hpc_recon.run.schedulers import SCHEDULERS

NONCE = "0123456789ab"


def test_the_table_has_every_scheduler_of_cluster_files():
    assert tuple(SCHEDULERS) == cluster_file.SCHEDULERS
    assert all(kind == scheduler.kind for kind, scheduler in SCHEDULERS.items())


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_names_of_jobs_fit_and_tell_runs_apart(kind):
    name = SCHEDULERS[kind].job_name("a_study_with_a_name_that_is_longer_than_any_scheduler_shows_it", NONCE)
    assert len(name) <= (SCHEDULERS[kind].name_limit or 80)
    assert name.endswith(NONCE)
    assert re.fullmatch(r"[A-Za-z][\w-]*", name), "PBS and Grid Engine want a letter first"
    assert schedulers.job_name(kind, "x", NONCE) == SCHEDULERS[kind].job_name("x", NONCE)


def test_runs_on_this_machine_have_names_too():
    assert schedulers.job_name("local", "tiny", NONCE) == "hpc_recon-tiny-0123456789ab"


@pytest.fixture
def no_job(monkeypatch):
    for name in (*schedulers.JOB_ID_VARIABLES, "PBS_JOBID", "JOB_ID", "SGE_ROOT", "SLURMD_NODENAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"PBS_JOBID": "123.head.example.org"}, "123"),
        ({"PBS_JOBID": "123.head", "MOAB_JOBID": "Moab.9"}, "Moab.9"),
        ({"LSB_JOBID": "8"}, "8"),
        ({"OAR_JOB_ID": "9"}, "9"),
        ({"HPC_RECON_JOB_ID": "12.0"}, "12.0"),
        ({"JOB_ID": "5", "SGE_ROOT": "/opt/sge"}, "5"),
        ({"JOB_ID": "5"}, None),
    ],
)
def test_the_id_of_this_job(no_job, monkeypatch, variables, job):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert schedulers.job_id() == job


def test_the_name_of_this_node(no_job, monkeypatch):
    assert schedulers.node_name() == platform.node()
    monkeypatch.setenv("SLURMD_NODENAME", "n2")
    assert schedulers.node_name() == "n2"


@pytest.mark.parametrize(
    ("kind", "directives"),
    [
        ("slurm", ("--exclude=n1,n2.x.org",)),
        ("sge", ("-l h=!(n1|n1.*|n2.x.org|n2.x.org.*)", "-w e")),
        ("lsf", ("-R \"select[hname!='n1' && hname!='n2.x.org']\"",)),
        ("htcondor", ('!regexp("^(n1|n2[.]x[.]org)[.]", strcat(TARGET.Machine, "."), "i")',)),
    ],
)
def test_hosts_to_avoid(kind, directives):
    exclude = SCHEDULERS[kind].exclude
    assert exclude is not None
    assert exclude(["n1", "n2.x.org"]) == directives


def test_schedulers_that_cannot_avoid_hosts():
    assert {kind for kind, scheduler in SCHEDULERS.items() if scheduler.exclude is None} == {"pbs", "moab"}
