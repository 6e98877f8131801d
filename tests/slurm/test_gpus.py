"""Several GPUs a job on a real Slurm: one worker process each, which sees its own alone."""

import pytest
from running import change, finish, go, require_clean, require_same, start, trace, wait_until, write_study

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]


def together(found):
    """Tell whether tiles were computed on two GPUs at once."""
    pairs = [(a, b) for a in found for b in found if a["gpu"] < b["gpu"]]
    return any(a["start"] < b["stop"] and b["start"] < a["stop"] for a, b in pairs)


def test_a_job_with_two_gpus_computes_two_tiles_at_once(slurm, cluster_file, tmp_path, expected):
    change(cluster_file, cluster={"gpus": 2}, cores=2, job_extra_directives=["--gres=gpu:2", "--exclusive"])
    study = write_study(tmp_path, "ws", n=80, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file)
    wait_until(lambda: together(trace(workspace)), process=process)
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    found = trace(workspace)
    assert {record["job"] for record in found} == {found[0]["job"]}, "one job"
    assert {record["gpu"] for record in found} == {"0", "1"}
    by_gpu = {gpu: {record["pid"] for record in found if record["gpu"] == gpu} for gpu in ("0", "1")}
    assert [len(pids) for pids in by_gpu.values()] == [1, 1]
    assert not by_gpu["0"] & by_gpu["1"]
    require_same(workspace, expected, 80)
    require_clean(slurm, workspace)
