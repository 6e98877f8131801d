"""Job scripts: the cluster file merged with the user's own settings, compared with golden files, one a scheduler."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import dask
import pytest

from hpc_recon.core.cluster_file import SCHEDULERS, ClusterFile, Jobqueue, load_cluster
from hpc_recon.core.errors import StudyError
from hpc_recon.run import jobqueue, schedulers, security

GOLDEN = Path(__file__).parents[1] / "golden"
COMMON = {
    "cores": 8,
    "memory": "32GiB",
    "python": "/opt/env/bin/python",
    "interface": "ib0",
    "job-script-prologue": ["module load cuda"],
}
#: One section for each golden file; the first part of a name is the scheduler.
SECTIONS = {
    "slurm": {
        "walltime": "04:00:00",
        "queue": "gpu",
        "job-extra-directives": ["--gres=gpu:1"],
        "job-directives-skip": ["--mem"],
    },
    "slurm.2_gpus": {"walltime": "1-00:00:00", "job-mem": "100G", "job-extra-directives": ["--gres=gpu:2"]},
    "pbs": {"walltime": "04:00:00", "queue": "gpu", "resource-spec": "select=1:ncpus=8:ngpus=1:mem=32gb"},
    "sge": {
        "walltime": "04:00:00",
        "queue": "gpu.q",
        "resource-spec": "h_vmem=4G,gpu=1",
        "job-extra-directives": ["-pe smp 8"],
    },
    "lsf": {
        "walltime": "04:00",
        "queue": "gpu",
        "lsf-units": "mb",
        "job-extra-directives": ['-R "rusage[mem=32GB]"', '-gpu "num=1"'],
    },
    "htcondor": {"disk": "10GiB", "job-extra-directives": {"request_gpus": 1}},
    "oar": {
        "walltime": "04:00:00",
        "queue": "default",
        "memory-per-core-property-name": "memcore",
        "job-extra-directives": ["-p \"gpu_model = 'A100'\""],
    },
    "moab": {"walltime": "04:00:00", "account": "brains", "resource-spec": "nodes=1:ppn=8:gpus=1,mem=32gb"},
}


def section(kind, **more):
    return {**COMMON, **SECTIONS[kind], **more}


def cluster_of(name, **more):
    kind, _, n_gpus = name.partition(".")
    content = {"cluster": {"gpus": int(n_gpus[0]) if n_gpus else 0}, "jobqueue": {kind: section(name, **more)}}
    return ClusterFile.model_validate(content)


def script(cluster, folder=Path("/data/runs/tiny/jobs"), **more):
    name = schedulers.job_name(cluster.kind, "tiny", "NONCE")
    plan = jobqueue.plan_jobs(cluster, folder=folder, job_name=name, xp="auto", **more)
    return jobqueue.render(plan, security.of_files(folder / "tls-NONCE"))


@pytest.fixture
def users():
    """Return a context manager within which the user's own jobqueue.yaml has some settings."""
    return lambda kind, **settings: dask.config.set(
        {f"jobqueue.{kind}.{key.replace('_', '-')}": value for key, value in settings.items()}
    )


@pytest.mark.parametrize("name", SECTIONS)
def test_the_script_is_the_golden_one(name):
    # Written anew by `python tests/run/test_jobqueue.py`; look at the difference.
    assert script(cluster_of(name)) == (GOLDEN / f"job_script.{name}.sh").read_text()


def test_each_scheduler_has_a_golden_file_and_a_cluster_file():
    assert {name.partition(".")[0] for name in SECTIONS} == set(SCHEDULERS)
    assert {path.name for path in GOLDEN.glob("job_script.*")} == {f"job_script.{name}.sh" for name in SECTIONS}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("hosts", [set(), {"n1", "n2.example.org"}])
def test_bash_can_read_the_script(kind, hosts):
    text = script(cluster_of(kind), exclusions=hosts)
    if kind == "htcondor":
        # The quoting of submit descriptions: '' and "" are one quote, $(DOLLAR) a dollar.
        argument = re.search(r"^Arguments = \"-c '(.*)'\"$", text, re.MULTILINE).group(1)
        text = argument.replace("''", "'").replace('""', '"').replace("$(DOLLAR)", "$")
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_the_projects_cluster_files_make_scripts(kind):
    text = script(load_cluster(kind))
    assert "-m hpc_recon.run.worker tls://SCHEDULER:PORT --name WORKER" in text


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_rendering_touches_nothing_warns_of_nothing_and_heeds_no_old_names(kind, tmp_path, users):
    old = {"log_directory": str(tmp_path / "users-logs"), "shared_temp_directory": str(tmp_path / "certificates")}
    old |= {"env_extra": ["export OLD=1"], "header_skip": ["--nothing"], "extra": ["--resources", "a=1"]}
    with users(kind, **old), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = script(cluster_of(kind), tmp_path / "absent")
    assert not caught
    assert not list(tmp_path.iterdir())
    assert "users-logs" not in text
    assert "export OLD=1" in text, "an old name has its new meaning"
    assert "--resources a=1" in text


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_users_settings_that_a_run_makes_itself_are_passed_over(kind, users):
    theirs = {"processes": 4, "worker_command": "dask_cuda.cli", "name": "my-dask", "log_directory": "/data/ann/logs"}
    without = script(cluster_of(kind))
    with users(kind, **theirs):
        assert script(cluster_of(kind)) == without


def test_lists_of_the_users_settings_are_kept_and_ours_win_otherwise(users):
    theirs = {"job_extra_directives": ["--constraint=a100", "--gres=gpu:1"], "queue": "cpu", "account": "brains"}
    with users("slurm", **theirs):
        text = script(cluster_of("slurm"))
    assert "#SBATCH --constraint=a100" in text
    assert text.index("--constraint") < text.index("--gres")
    assert text.count("--gres=gpu:1") == 1
    assert "#SBATCH -p gpu" in text
    assert "#SBATCH -A brains" in text


@pytest.mark.parametrize(
    ("kind", "old", "line"),
    [
        ("slurm", {"job_extra": ["--constraint=a100"]}, "#SBATCH --constraint=a100"),
        ("slurm", {"project": "brains"}, "#SBATCH -A brains"),
        ("pbs", {"project": "brains"}, "#PBS -A brains"),
        ("sge", {"project": "brains"}, "#$ -P brains"),
        ("htcondor", {"job_extra": {"requirements": "(Memory > 1)"}}, "requirements = (Memory > 1)"),
    ],
)
def test_old_names_in_the_users_settings_are_their_new_ones(kind, old, line, users):
    with users(kind, **old):
        assert line in script(cluster_of(kind)).splitlines()


def test_a_new_name_wins_over_an_old_one(users):
    with users("slurm", job_extra=["--old"], job_extra_directives=["--new"]):
        text = script(cluster_of("slurm"))
    assert "#SBATCH --new" in text
    assert "--old" not in text


def test_the_users_own_names_and_logs_are_passed_over_but_refused_in_our_file(users):
    with users("slurm", job_extra_directives=["--output=/data/ann/%j.out", "-J mine", "--exclusive"]):
        text = script(cluster_of("slurm"))
    assert "/data/ann" not in text
    assert "-J mine" not in text
    assert "#SBATCH --exclusive" in text
    with pytest.raises(StudyError, match="'--error=x' cannot be set"):
        script(cluster_of("slurm", **{"job-extra-directives": ["--error=x"]}))
    with pytest.raises(StudyError, match="'Output' cannot be set"):
        script(cluster_of("htcondor", **{"job-extra-directives": {"Output": "x"}}))


def test_tables_of_htcondor_are_merged(users):
    with users("htcondor", job_extra_directives={"request_gpus": 4, "+Group": '"brains"'}):
        lines = script(cluster_of("htcondor")).splitlines()
    assert "request_gpus = 1" in lines
    assert '+Group = "brains"' in lines


def test_a_table_where_a_list_is_needed_is_refused(users):
    with users("slurm", job_extra_directives={"gres": "gpu:1"}), pytest.raises(StudyError, match="must be a list"):
        script(cluster_of("slurm"))
    with users("slurm", job_script_prologue="module load x"), pytest.raises(StudyError, match="must be a list"):
        script(cluster_of("slurm"))


@pytest.mark.parametrize("walltime", [43200, "1h", "04:00:00:00:00"])
def test_a_walltime_of_the_user_is_checked(walltime, users):
    cluster = ClusterFile.model_validate({"jobqueue": {"lsf": COMMON}})
    with users("lsf", walltime=walltime), pytest.raises(StudyError, match=r"text in quotes|a walltime of lsf"):
        script(cluster)


def test_no_walltime_at_all(users):
    cluster = ClusterFile.model_validate({"jobqueue": {"slurm": COMMON}})
    with users("slurm", walltime=None):
        text = script(cluster)
    assert "#SBATCH -t" not in text
    assert "HPC_RECON_DEADLINE" not in text


def test_what_is_set_nowhere_is_asked_for():
    with pytest.raises(StudyError) as caught:
        jobqueue.merged(Jobqueue(), {})
    assert len(caught.value.problems) == 2
    with pytest.raises(StudyError, match="disk of a job is not set"):
        script(ClusterFile.model_validate({"jobqueue": {"htcondor": COMMON}}))
    with pytest.raises(StudyError, match="memory-per-core-property-name"):
        script(ClusterFile.model_validate({"jobqueue": {"oar": COMMON}}))


def test_threads_are_shared_among_the_processes_of_the_gpus():
    plan = jobqueue.plan_jobs(cluster_of("slurm.2_gpus"), folder=Path("/x"), job_name="j", xp="cupy")
    assert plan.threads == 4
    few = ClusterFile.model_validate({"cluster": {"gpus": 4}, "jobqueue": {"slurm": {**COMMON, "cores": 2}}})
    with pytest.raises(StudyError, match="each GPU's process needs one"):
        jobqueue.plan_jobs(few, folder=Path("/x"), job_name="j", xp="cupy")


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("name", ["my data", "it's", "a;b", "50%x", "$HOME"])
def test_folders_that_no_script_survives_are_refused(kind, name):
    with pytest.raises(StudyError, match="do not survive"):
        script(cluster_of(kind), Path("/data") / name / "jobs")


def test_colons_are_refused_where_they_part_hosts_from_paths():
    assert "/a:b/" in script(cluster_of("slurm"), Path("/a:b/jobs"))
    with pytest.raises(StudyError, match=r"/a:b/jobs has :"):
        script(cluster_of("pbs"), Path("/a:b/jobs"))


def test_comments_do_not_swallow_the_line_of_htcondor():
    text = script(
        cluster_of("htcondor", **{"job-script-prologue": ["# what we need\nmodule load a", "", "module load b"]})
    )
    assert "; module load a; module load b; export" in text
    assert "what we need" not in text


def test_a_pool_without_jobs_listens_with_tls_only_whatever_the_user_set(tmp_path, users):
    cluster = ClusterFile.model_validate({"jobqueue": {"slurm": {**COMMON, "interface": "lo"}}})
    plan = jobqueue.plan_jobs(cluster, folder=tmp_path / "jobs", job_name="j", xp="auto", nonce="x", exclusions={"n1"})
    theirs = {"protocol": "tcp://", "dashboard_address": "0.0.0.0:0"}
    with (
        users("slurm", scheduler_options=theirs),
        security.certificates(tmp_path / "tls-x") as credentials,
        jobqueue.open_jobs(plan, security=credentials, name="worker-x", dashboard=False) as pool,
    ):
        assert pool.scheduler_address.startswith("tls://127.0.0.1:")
        job = pool.job_cls(pool.scheduler_address, name="worker-x-0", **pool.new_spec["options"])
        plan.exclusions.add("n2")
        assert "#SBATCH --exclude=n1,n2" in job.job_script(), "later additions reach later scripts"


if __name__ == "__main__":
    for golden in SECTIONS:
        (GOLDEN / f"job_script.{golden}.sh").write_text(script(cluster_of(golden)))
    sys.stdout.write(f"wrote {len(SECTIONS)} files\n")


def test_a_python_that_no_script_survives_is_refused(monkeypatch):
    monkeypatch.setattr(jobqueue.sys, "executable", "/opt/my envs/a/bin/python")
    with pytest.raises(StudyError, match="'/opt/my envs/a/bin/python' has white space"):
        script(ClusterFile.model_validate({"jobqueue": {"lsf": {"cores": 1, "memory": "1GiB"}}}))
