"""The job script: the cluster file merged with the user's own settings, compared with a golden file."""

from pathlib import Path

import dask
import pytest
import yaml

from hpc_recon.core.cluster_file import ClusterFile, Jobqueue, load_cluster
from hpc_recon.core.errors import StudyError
from hpc_recon.run import jobqueue, security

GOLDEN = Path(__file__).parents[1] / "golden" / "job_script.slurm.sh"
SECTION = {
    "cores": 8,
    "memory": "32GiB",
    "walltime": "04:00:00",
    "queue": "gpu",
    "python": "/opt/env/bin/python",
    "interface": "ib0",
    "job-extra-directives": ["--gres=gpu:1"],
    "job-directives-skip": ["--mem"],
    "job-script-prologue": ["module load cuda"],
}


@pytest.fixture
def place(tmp_path):
    return ClusterFile.model_validate({"jobqueue": {"slurm": SECTION}})


def script(cluster, folder=Path("/data/runs/tiny/jobs")):
    plan = jobqueue.plan_jobs(cluster, folder=folder, job_name="hpc_recon-tiny-NONCE", xp="auto")
    return jobqueue.render(plan, security.of_files(folder / "tls-NONCE"))


def test_the_script_is_the_golden_one(place):
    # Written anew by: GOLDEN.write_text(script(place)), after a look at the difference.
    assert script(place) == GOLDEN.read_text()


def test_rendering_touches_nothing(place, tmp_path):
    with dask.config.set({"jobqueue.slurm.log-directory": str(tmp_path / "users-logs")}):
        script(place, tmp_path / "absent")
    assert not list(tmp_path.iterdir())


def test_lists_of_the_users_settings_are_kept_and_ours_win_otherwise(place):
    users = {"job-extra-directives": ["--constraint=a100", "--gres=gpu:1"], "queue": "cpu", "account": "brains"}
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in users.items()}):
        text = script(place)
    assert "#SBATCH --constraint=a100" in text
    assert text.count("--gres=gpu:1") == 1
    assert "#SBATCH -p gpu" in text
    assert "#SBATCH -A brains" in text


def test_what_is_set_nowhere_is_asked_for():
    with pytest.raises(StudyError) as caught:
        jobqueue.merged(Jobqueue(), {})
    assert len(caught.value.problems) == 2
    with pytest.raises(StudyError, match="must be text in quotes, got 43200"):
        jobqueue.merged(Jobqueue.model_validate(SECTION | {"walltime": None}), {"walltime": 43200})


def test_white_space_in_the_workspace_is_refused(place):
    with pytest.raises(StudyError, match="white space"):
        script(place, Path("/my data/jobs"))


@pytest.mark.parametrize(
    ("line", "skipped"),
    [
        ("#SBATCH --mem=4G", True),
        ("#SBATCH --mem-per-gpu=4G", False),
        ("#SBATCH -n 1", False),
        ("#SBATCH -t 04:00:00", True),
    ],
)
def test_skipped_options_are_compared_whole(line, skipped):
    assert jobqueue.is_skipped(line, ("--mem", "-t")) is skipped


def test_the_projects_slurm_file_makes_a_script():
    text = script(load_cluster("slurm"))
    assert "#SBATCH --gres=gpu:1" in text
    assert "#SBATCH --mem=32G" in text
    assert yaml.safe_load(text.splitlines()[-1]) is not None
