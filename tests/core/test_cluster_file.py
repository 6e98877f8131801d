"""Cluster files: names, mistakes, walltimes."""

import pytest
import yaml

from hpc_recon.core.cluster_file import PLANNED, ClusterFile, Jobqueue, load_cluster, walltime_seconds
from hpc_recon.core.errors import StudyError


@pytest.fixture
def write(tmp_path):
    def write(content, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("name", ["local", "slurm", "one_host_slurm"])
def test_the_projects_own_files_are_valid(name):
    assert load_cluster(name).kind in ("local", "slurm")


def test_a_file_by_name_from_the_users_folder(write, tmp_path, monkeypatch):
    write({"cluster": {"jobs": "3:5"}, "jobqueue": {"slurm": {"cores": 4}}}, "my_lab.yaml")
    monkeypatch.setenv("HPC_RECON_CLUSTERS", str(tmp_path))
    found = load_cluster("my_lab")
    assert found.kind == "slurm"
    assert found.job.cores == 4
    assert found.cluster.jobs == "3:5"
    with pytest.raises(StudyError, match="did you mean 'my_lab'"):
        load_cluster("mylab")


@pytest.mark.parametrize("name", PLANNED)
def test_schedulers_that_do_not_run_yet_say_so(name):
    with pytest.raises(StudyError, match="not supported yet; supported: local, slurm"):
        load_cluster(name)


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


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ({"env-extra": ["x"]}, "job-script-prologue"),
        ({"log-directory": "/x"}, "<workspace>/jobs"),
        ({"processes": 4}, "processes"),
        ({"local-directory": "/my scratch"}, "white space"),
        ({"walltime": "soon"}, "04:00:00"),
        ({"job-extra-directives": "--gres=gpu:1"}, "job_extra_directives"),
    ],
)
def test_keys_that_cannot_be_as_they_are(write, section, word):
    with pytest.raises(StudyError, match=word):
        load_cluster("slurm", write({"jobqueue": {"slurm": section}}))


def test_one_scheduler_a_file(write):
    with pytest.raises(StudyError, match="one scheduler a file"):
        load_cluster("slurm", write({"jobqueue": {"slurm": {}, "pbs": {}}}))
    with pytest.raises(StudyError, match="'slrum'; did you mean 'slurm'"):
        load_cluster("slurm", write({"jobqueue": {"slrum": {}}}))
    with pytest.raises(StudyError, match=r"cluster\.kind is 'local'"):
        load_cluster("slurm", write({"cluster": {"kind": "local"}, "jobqueue": {"slurm": {}}}))


def test_dashes_and_underscores_are_the_same():
    assert Jobqueue.model_validate({"job-cpu": 3}) == Jobqueue.model_validate({"job_cpu": 3})
    assert ClusterFile().kind == "local"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 600), ("10:30", 630), ("1:00:00", 3600), ("2-0", 172800), ("1-2:30", 95400), ("1-00:00:05", 86405)],
)
def test_walltimes(text, seconds):
    assert walltime_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4", "04.00"])
def test_bad_walltimes(text):
    with pytest.raises(ValueError, match="walltime"):
        walltime_seconds(text)
