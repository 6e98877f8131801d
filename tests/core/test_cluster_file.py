"""Cluster files: names, mistakes, walltimes."""

from pathlib import Path

import dask_jobqueue
import pytest
import yaml

from hpc_recon.core.cluster_file import (
    KEYS,
    SCHEDULERS,
    SUPPORTED,
    ClusterFile,
    Jobqueue,
    load_cluster,
    walltime_seconds,
)
from hpc_recon.core.errors import StudyError


@pytest.fixture
def write(tmp_path):
    def write(content, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("name", [*SUPPORTED, "one_host_slurm"])
def test_the_projects_own_files_are_valid(name):
    assert load_cluster(name).kind == name.removeprefix("one_host_")


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_name_without_a_file_is_a_cluster_of_that_kind(name, monkeypatch):
    monkeypatch.setattr("hpc_recon.core.cluster_file.folders", list)
    assert load_cluster(name).kind == name


def test_the_keys_are_those_of_dask_jobqueue():
    """All but the old names, and what a run sets itself."""
    defaults = yaml.safe_load((Path(dask_jobqueue.__file__).parent / "jobqueue.yaml").read_text())["jobqueue"]
    assert set(defaults) == {*SCHEDULERS, "local"}
    not_ours = {"extra", "env_extra", "job_extra", "worker_command", "log_directory", "shared_temp_directory"}
    for kind in SCHEDULERS:
        assert {key.replace("-", "_") for key in defaults[kind]} - not_ours == KEYS[kind]
    assert set().union(*KEYS.values()) == set(Jobqueue.model_fields)


def test_a_file_by_name_from_the_users_folder(write, tmp_path, monkeypatch):
    write({"cluster": {"jobs": "3:5"}, "jobqueue": {"slurm": {"cores": 4}}}, "my_lab.yaml")
    monkeypatch.setenv("HPC_RECON_CLUSTERS", str(tmp_path))
    found = load_cluster("my_lab")
    assert found.kind == "slurm"
    assert found.job.cores == 4
    assert found.cluster.jobs == "3:5"
    with pytest.raises(StudyError, match="did you mean 'my_lab'"):
        load_cluster("mylab")


def test_all_mistakes_are_named_at_once(write):
    path = write("cluster: {jbos: 2}\njobqueue:\n  slurm: {walltime: 12:00:00, core: 3, memory: lots}\n")
    with pytest.raises(StudyError) as caught:
        load_cluster("slurm", path)
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert "did you mean 'jobs'" in text
    assert "did you mean 'cores'" in text
    assert "must be text in quotes" in text
    assert "lots" in text


def test_what_only_jobs_have_is_refused_on_this_machine(write):
    with pytest.raises(StudyError, match=r"'cuda' is this machine .* cluster\.gpus, cluster\.max_jobs would be"):
        load_cluster("cuda", write("cluster: {kind: cuda, gpus: 2, max_jobs: 9}\n"))


def test_a_file_that_is_not_there_names_its_option(tmp_path):
    with pytest.raises(StudyError, match=r"cannot be read .*; give a file with --cluster-file"):
        load_cluster("local", tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["8", "2:16", '"9:3"', '"0"', '"two"'])
def test_numbers_of_jobs_are_text_and_a_range(write, text):
    with pytest.raises(StudyError, match=r"cluster\.jobs: (must be text in quotes|is N or N:M with 1 <= N <= M)"):
        load_cluster("local", write(f"cluster:\n  jobs: {text}\n"))


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ({"env-extra": ["x"]}, "job-script-prologue"),
        ({"log-directory": "/x"}, "<workspace>/jobs"),
        ({"processes": 4}, "processes"),
        ({"local-directory": "/my scratch"}, "white space"),
        ({"walltime": "soon"}, "04:00:00"),
        ({"job-extra-directives": "--gres=gpu:1"}, "job_extra_directives"),
        ({"job-extra-directives": {"gres": "gpu:1"}}, "a list of texts"),
        ({"project": "brains"}, "'project' is now called 'account'"),
        ({"worker-command": "dask_cuda.cli"}, "hpc_recon.run.worker"),
        ({"resource-spec": "nodes=1"}, "has no key 'resource-spec' .it has account, cores, "),
        ({"lsf-units": "gb"}, "has no key 'lsf-units'"),
    ],
)
def test_keys_that_cannot_be_as_they_are(write, section, word):
    with pytest.raises(StudyError, match=word):
        load_cluster("slurm", write({"jobqueue": {"slurm": section}}))


@pytest.mark.parametrize(
    ("kind", "section", "word"),
    [
        ("htcondor", {"walltime": "01:00:00"}, "has no key 'walltime'"),
        ("htcondor", {"job-extra-directives": ["request_gpus = 1"]}, "a table of `key: value`"),
        ("sge", {"account": "x"}, "has no key 'account'"),
        ("moab", {"project": "x"}, "now called 'account'"),
        ("lsf", {"walltime": "04:00:00"}, "hours:minutes"),
        ("pbs", {"walltime": "1-00:00:00"}, "a walltime of pbs"),
        ("lsf", {"lsf-units": "bytes"}, "lsf_units"),
    ],
)
def test_keys_and_walltimes_are_the_schedulers_own(kind, section, word, write):
    with pytest.raises(StudyError, match=word):
        load_cluster(kind, write({"jobqueue": {kind: section}}))


def test_keys_of_other_schedulers_are_theirs(write):
    section = {
        "disk": "1GB",
        "submit-command-extra": ["-verbose"],
        "job-extra-directives": {"request_gpus": 1, "x": True},
    }
    found = load_cluster("x", write({"jobqueue": {"htcondor": section}}))
    assert found.job.job_extra_directives == {"request_gpus": 1, "x": True}
    assert found.job.submit_command_extra == ("-verbose",)


def test_the_clusters_own_keys(write):
    content = {"cluster": {"gpus": 2, "max_jobs": 5, "start_within": "02:00:00"}, "jobqueue": {"slurm": {}}}
    found = load_cluster("x", write(content)).cluster
    assert (found.gpus, found.max_jobs, found.start_within) == (2, 5, "02:00:00")
    content["cluster"] = {"gpus": -1, "max_jobs": 0, "start_within": "soon"}
    with pytest.raises(StudyError) as caught:
        load_cluster("x", write(content))
    assert len(caught.value.problems) == 2
    content["cluster"] = {"start_within": "soon"}
    with pytest.raises(StudyError, match=r"cluster\.start_within: a walltime of slurm"):
        load_cluster("x", write(content))


@pytest.mark.parametrize("kind", ["local", "cuda"])
def test_this_machine_has_no_jobs(kind, write):
    with pytest.raises(StudyError, match=f"the cluster '{kind}' is this machine"):
        load_cluster(kind, write({"cluster": {"kind": kind}, "jobqueue": {"slurm": {}}}))
    with pytest.raises(StudyError, match=f"the cluster '{kind}' is this machine"):
        load_cluster(kind, write({"jobqueue": {kind: {}}}))


def test_one_scheduler_a_file(write):
    with pytest.raises(StudyError, match="one scheduler a file"):
        load_cluster("slurm", write({"jobqueue": {"slurm": {}, "pbs": {}}}))
    with pytest.raises(StudyError, match="'slrum'; did you mean 'slurm'"):
        load_cluster("slurm", write({"jobqueue": {"slrum": {}}}))
    with pytest.raises(StudyError, match=r"cluster\.kind is 'pbs'"):
        load_cluster("slurm", write({"cluster": {"kind": "pbs"}, "jobqueue": {"slurm": {}}}))


def test_dashes_and_underscores_are_the_same():
    assert Jobqueue.model_validate({"job-cpu": 3}) == Jobqueue.model_validate({"job_cpu": 3})
    assert ClusterFile().kind == "local"


@pytest.mark.parametrize(
    ("kind", "text", "seconds"),
    [
        # sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes[:seconds]
        ("slurm", "10", 600),
        ("slurm", "10:30", 630),
        ("slurm", "1:00:00", 3600),
        ("slurm", "2-0", 172800),
        ("slurm", "1-2:30", 95400),
        ("slurm", "1-00:00:05", 86405),
        # pbs_resources(7): seconds, or [[hours:]minutes:]seconds
        ("pbs", "90", 90),
        ("pbs", "10:30", 630),
        ("pbs", "100:00:00", 360000),
        # qsub(1) of Moab: the same, and days
        ("moab", "90", 90),
        ("moab", "1:02:00:00", 93600),
        # sge_types(1): seconds, or hours:minutes:seconds of which zeros may be left out
        ("sge", "90", 90),
        ("sge", "1::1", 3601),
        ("sge", "4:00:00", 14400),
        # bsub -W [hour:]minute
        ("lsf", "90", 5400),
        ("lsf", "3:30", 12600),
        # oarsub(1): hour:mn:sec, hour:mn or hour
        ("oar", "2", 7200),
        ("oar", "2:30", 9000),
        ("oar", "0:10:05", 605),
        ("htcondor", "01:00:00", 3600),
    ],
)
def test_walltimes(kind, text, seconds):
    assert walltime_seconds(text, kind) == seconds


@pytest.mark.parametrize("kind", SUPPORTED)
@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4:5", "04.00", "00:00:00", "0", "::"])
def test_bad_walltimes(kind, text):
    with pytest.raises(ValueError, match="walltime"):
        walltime_seconds(text, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("pbs", "1:02:00:00"), ("lsf", "04:00:00"), ("sge", "04:00"), ("oar", "1:2:3:4"), ("pbs", "1-0"), ("lsf", "1-0")],
)
def test_walltimes_of_others(kind, text):
    with pytest.raises(ValueError, match=f"a walltime of {kind}"):
        walltime_seconds(text, kind)
