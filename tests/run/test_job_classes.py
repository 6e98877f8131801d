"""Our job classes: skipped options, submission to pretended schedulers, what is submitted, and why it was refused."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_commands import Commands

from hpc_recon.core.cluster_file import SCHEDULERS as KINDS
from hpc_recon.core.cluster_file import ClusterFile
from hpc_recon.core.errors import ClusterError
from hpc_recon.run import jobqueue
from hpc_recon.run.job_classes import JOBS, is_reserved, is_skipped
from hpc_recon.run.schedulers import SCHEDULERS

COMMON = {"cores": 2, "memory": "4GiB", "job-script-prologue": ["export GREETING='it is \"so\"'"]}
MORE = {"htcondor": {"disk": "1GiB"}, "oar": {"memory-per-core-property-name": "memcore"}, "lsf": {"walltime": "01:00"}}
#: The program that submits, what it prints, and the id that must come of it.
SUBMIT = {
    "slurm": ("sbatch", "Submitted batch job 123\n", "123"),
    "pbs": ("qsub", "123.head.example.org\n", "123"),
    "sge": ("qsub", 'Your job 123 ("hpc_recon-tiny-x") has been submitted\n', "123"),
    "lsf": ("bsub", "Job <123> is submitted to queue <normal>.\n", "123"),
    "htcondor": ("condor_submit", "Submitting job(s).\n1 job(s) submitted to cluster 123.\n", "123.0"),
    "oar": ("oarsub", "[ADMISSION RULE] Modify resource description\nOAR_JOB_ID=123\n", "123"),
    "moab": ("msub", "\nMoab.123\n", "Moab.123"),
}


def make_job(kind, folder, *, exclusions=None, skip=(), **section):
    content = {**COMMON, **MORE.get(kind, {}), **section, "job-directives-skip": list(skip)}
    cluster = ClusterFile.model_validate({"jobqueue": {kind: content}})
    plan = jobqueue.plan_jobs(cluster, folder=folder, job_name="the-name", xp="numpy", exclusions=exclusions)
    return JOBS[kind](
        "tls://127.0.0.1:1",
        name="worker-x-0",
        script_folder=folder,
        skip=plan.skip,
        exclusions=plan.exclusions,
        **plan.settings,
    )


@pytest.fixture
def commands(tmp_path, monkeypatch):
    return Commands(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("line", "skip", "skipped"),
    [
        ("#SBATCH --mem=4G", ("--mem",), True),
        ("#SBATCH --mem=4G", (" --mem ",), True),
        ("#SBATCH --mem-per-gpu=4G", ("--mem",), False),
        ("#SBATCH -n 1", ("--mem", "-t"), False),
        ("#SBATCH -t 04:00:00", ("--mem", "-t"), True),
        ("#$ -l h_rt=04:00:00", ("-l h_rt",), True),
        ("#$ -l h_vmem=4G", ("-l h_rt",), False),
        ("#$ -l h_vmem=4G", ("-l",), True),
        ("#PBS -l select=1:ncpus=8:mem=4GB", ("-l select",), True),
        ("#PBS -l walltime=04:00:00", ("-l select",), False),
        ("#BSUB -M 34360", ("-M",), True),
        ("#BSUB -W 04:00", ("",), False),
    ],
)
def test_skipped_options_are_compared_whole(line, skip, skipped):
    assert is_skipped(line, skip) is skipped


def test_options_that_every_run_sets_itself():
    assert is_reserved("--output=x", SCHEDULERS["slurm"])
    assert is_reserved("-J x", SCHEDULERS["lsf"])
    assert is_reserved("Output", SCHEDULERS["htcondor"])
    assert not is_reserved("-l nodes=1", SCHEDULERS["pbs"])


@pytest.mark.parametrize(
    ("kind", "skip", "gone"),
    [
        ("slurm", "--mem", "--mem="),
        ("pbs", "-l select", "select"),
        ("sge", "-l h_rt", "h_rt"),
        ("lsf", "-M", "-M"),
        ("htcondor", "requestdisk", "RequestDisk ="),
        ("oar", "-l", "-l "),
        ("moab", "-l select", "select"),
        ("pbs", "-S", "-S"),
    ],
)
def test_an_option_can_be_left_out_of_every_schedulers_script(kind, skip, gone, tmp_path):
    assert gone in make_job(kind, tmp_path).job_script()
    assert gone not in make_job(kind, tmp_path, skip=(skip,)).job_script()


def test_the_users_own_directives_are_never_left_out(tmp_path):
    job = make_job("slurm", tmp_path, skip=("--mem",), **{"job-extra-directives": ["--mem=1G"]})
    assert [line for line in job.job_script().splitlines() if "--mem" in line and "SBATCH" in line] == [
        "#SBATCH --mem=1G"
    ]


def test_the_users_own_shell_stays(tmp_path):
    text = make_job("sge", tmp_path, **{"job-extra-directives": ["-S /opt/bin/bash"]}).job_script()
    assert [line for line in text.splitlines() if " -S " in line] == ["#$ -S /opt/bin/bash"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_is_submitted_and_its_script_kept(kind, commands, tmp_path):
    program, out, number = SUBMIT[kind]
    commands.add(program, out, reads=kind == "lsf")
    job = make_job(kind, tmp_path)
    asyncio.run(job.start())
    assert (job.problem, job.job_id) == (None, number)
    path = tmp_path / "worker-x-0.sh"
    assert path.read_text() == job.job_script()
    assert path.stat().st_mode & 0o777 == 0o700
    (call,) = commands.raw
    if kind == "lsf":
        assert call == ["bsub", path.read_text()], "LSF reads directives only from standard input"
    elif kind == "oar":
        assert call[1:7] == [
            "-n",
            "the-name",
            "-l",
            "/nodes=1/core=2,walltime=00:30:00",
            "-O",
            f"{tmp_path}/worker-x-0.log",
        ]
        assert call[9:11] == ["-p", "memcore>=2048"]
    else:
        assert call[-2] == str(path)


def test_lsf_takes_the_file_where_told_to(commands, tmp_path):
    commands.add("bsub", "Job <9> is submitted to queue <normal>.\n")
    job = make_job("lsf", tmp_path, **{"use-stdin": False})
    asyncio.run(job.start())
    assert commands.calls == [f"bsub {tmp_path}/worker-x-0.sh"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_remembered_in_the_schedulers_words(kind, commands, tmp_path):
    commands.add(SUBMIT[kind][0], err="no such queue: nosuchqueue\n", code=1, reads=kind == "lsf")
    job = make_job(kind, tmp_path)
    asyncio.run(job.start())
    assert job.job_id is None
    assert "no such queue: nosuchqueue" in job.problem


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_a_number_is_a_refusal(kind, commands, tmp_path):
    commands.add(SUBMIT[kind][0], "thank you\n", reads=kind == "lsf")
    job = make_job(kind, tmp_path)
    asyncio.run(job.start())
    assert "thank you" in job.problem


#: In place of Python: writes its command line and what it was given into the log.
PYTHON = f"""#!{sys.executable}
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ), os.getppid()]))
"""


def as_run(kind, job, commands, tmp_path):
    """Return how the scheduler would run a job: a shell, its argument or its standard input."""
    text = job.job_script()
    if kind == "oar":
        commands.add("oarsub", "OAR_JOB_ID=1\n")
        asyncio.run(job.start())
        return ["/bin/bash", "-c", commands.raw[-1][-2]]
    if kind == "htcondor":
        line = next(line for line in text.splitlines() if line.startswith("Arguments"))
        quoted = (
            line.removeprefix('Arguments = "')
            .removesuffix('"')
            .replace('""', '"')
            .removeprefix("-c '")
            .removesuffix("'")
        )
        expanded = quoted.replace("$(ClusterId).$(ProcId)", "12.0").replace("$(DOLLAR)", "$")
        return ["/bin/bash", "-c", expanded.replace("''", "'")]
    path = tmp_path / "script"
    path.write_text(text)
    return ["/bin/bash", str(path)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_shell_does_what_the_script_says(kind, commands, tmp_path):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o700)
    job = make_job(kind, tmp_path, python=str(python))
    command = as_run(kind, job, commands, tmp_path)
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    said = (tmp_path / "worker-x-0.log").read_text() if kind == "htcondor" else answer.stdout
    node, last_line = said.splitlines()
    assert node.startswith("hpc_recon: node ")
    arguments, environment, parent = json.loads(last_line)
    assert parent == os.getpid(), "the worker takes the shell's place, so that signals reach it"
    assert arguments[:5] == ["-m", "hpc_recon.run.worker", "tls://127.0.0.1:1", "--name", "worker-x-0"]
    last = {name: arguments[len(arguments) - 1 - arguments[::-1].index(name) + 1] for name in ("--nthreads", "--gpus")}
    assert last == {"--nthreads": "1", "--gpus": "0"}
    assert environment["GREETING"] == 'it is "so"'
    assert environment["HPC_RECON_THREADS"] == "2"
    if kind == "htcondor":
        assert environment["HPC_RECON_JOB_ID"] == "12.0"
    else:
        assert environment["HPC_RECON_DEADLINE"].isdigit()


@pytest.mark.parametrize("kind", ["pbs", "moab"])
def test_a_job_leaves_a_host_that_it_must_avoid(kind, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho worked\n")
    python.chmod(0o700)
    here = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    exclusions = {f"{here}x"}
    job = make_job(kind, tmp_path, exclusions=exclusions, python=str(python))

    def run():
        return subprocess.run(["bash"], input=job.job_script(), capture_output=True, text=True, check=True).stdout

    assert run().splitlines()[-1] == "worked"
    exclusions.add(here)
    assert run() == f"hpc_recon: node {here} is avoided, as asked by the controller\n"


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_no_hosts_never_reach_a_script(kind, tmp_path):
    job = make_job(kind, tmp_path, exclusions={"n1", "n2; rm -rf /"})
    with pytest.raises(ClusterError, match="not names of hosts"):
        job.job_script()
    asyncio.run(job.start())
    assert "not names of hosts" in job.problem


def test_oar_gets_one_expression_of_all_properties(tmp_path):
    directives = ["-p \"gpu_model = 'A100'\"", "-p cluster='x'", "-t besteffort"]
    job = make_job("oar", tmp_path, exclusions={"n1"}, **{"job-extra-directives": directives})
    lines = [line for line in job.job_script().splitlines() if line.startswith("#OAR -p")]
    assert len(lines) == 1
    assert shlex.split(lines[0])[2] == (
        "(gpu_model = 'A100') AND (cluster=x) AND (memcore>=2048) "
        "AND (network_address != 'n1' AND network_address NOT LIKE 'n1.%')"
    )
    assert "#OAR -t besteffort" in job.job_script()


def test_oar_without_a_property_for_memory_asks_for_none(tmp_path):
    job = make_job("oar", tmp_path, **{"memory-per-core-property-name": "not_applicable"})
    assert " -p " not in job.job_script()


def test_htcondor_joins_requirements(tmp_path):
    extra = {"job-extra-directives": {"Requirements": "Memory > 1 || Cpus > 1", "transfer_executable": "True"}}
    text = make_job("htcondor", tmp_path, exclusions={"n1"}, **extra).job_script()
    assert 'Requirements = (Memory > 1 || Cpus > 1) && !regexp("^(n1)[.]", strcat(TARGET.Machine, "."), "i")' in text
    assert text.count("transfer_executable") == 1


def test_htcondor_itself_reads_the_submit_description(tmp_path):
    htcondor = pytest.importorskip("htcondor2", reason="HTCondor's own parser (pip install htcondor) is not installed")
    text = make_job("htcondor", tmp_path, exclusions={"n1"}).job_script()
    found = htcondor.Submit("\n".join(text.splitlines()[1:]))
    assert found.expand("batch_name") == "the-name"
    argument = found.expand("arguments").removeprefix("\"-c '").removesuffix("'\"")
    assert "DOLLAR" not in argument
    assert "export HPC_RECON_JOB_ID=1.0; " in argument
    assert "; export GREETING=''it is \"\"so\"\"'';" in argument
    assert "${SLURMD_NODENAME:-$(hostname)}" in argument
    import classad2

    requirements = classad2.ExprTree(found.expand("requirements").replace("TARGET.", ""))
    assert [requirements.eval(classad2.ClassAd({"Machine": m})) for m in ("n1.x.org", "n1", "n11.x.org")] == [0, 0, 1]
