"""Nodes that cannot be used, on a real Slurm of which one node pretends to be broken."""

import importlib.metadata

import pytest
import running
from running import (
    change,
    excluding,
    finish,
    go,
    jobs_of,
    require_clean,
    require_same,
    start,
    trace,
    wait_until,
    wrapper,
    write_study,
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]


def run(slurm, cluster_file, tmp_path, ready=None, **options):
    """Run 8 tiles; if it is said what must have happened before the end, 80 that take long until then."""
    workspace = tmp_path / "ws"
    if ready is None:
        study = write_study(tmp_path, "ws", n=8, seconds=0.2)
        return running.run(slurm, study, cluster="slurm", cluster_file=cluster_file, **options)
    study = write_study(tmp_path, "ws", n=80, seconds=1.0)
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file, **options)
    wait_until(lambda: ready(workspace), process=process)
    go(workspace)
    return finish(process)


def nodes_of(workspace):
    return {record["node"] for record in trace(workspace)}


def test_a_node_without_a_package_is_said_once_and_not_used_again(slurm, cluster_file, tmp_path, expected):
    (tmp_path / "broken" / "numba").mkdir(parents=True)
    (tmp_path / "broken" / "numba" / "__init__.py").write_text("raise ImportError('libllvm.so is not there')\n")
    only = f'[ "$SLURMD_NODENAME" = n1 ] && export PYTHONPATH={tmp_path}/broken:$PYTHONPATH'
    change(cluster_file, python=str(wrapper(tmp_path, only)))
    workspace = tmp_path / "ws"
    code, printed = run(slurm, cluster_file, tmp_path, excluding, jobs="2")
    assert code == 0, printed
    assert printed.count("the node n1 cannot be used, and is avoided from now on") == 1
    assert "numba cannot be imported: ImportError: libllvm.so is not there" in printed
    assert nodes_of(workspace) == {"n2"}
    assert all("--exclude=n1" in path.read_text() for path in excluding(workspace))
    require_same(workspace, expected, 80)
    require_clean(slurm, workspace)


def test_a_node_with_an_older_package_is_not_used(slurm, cluster_file, tmp_path, expected):
    older = tmp_path / "older" / "zarr-3.0.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: zarr\nVersion: 3.0.0\n")
    only = f'[ "$SLURMD_NODENAME" = n1 ] && export PYTHONPATH={tmp_path}/older:$PYTHONPATH'
    change(cluster_file, python=str(wrapper(tmp_path, only)))
    workspace = tmp_path / "ws"
    code, printed = run(slurm, cluster_file, tmp_path)
    assert code == 0, printed
    ours = importlib.metadata.version("zarr")
    assert (
        printed.count(
            f"the node n1 cannot be used, and is avoided from now on: version of zarr: 3.0.0 (controller: {ours})"
        )
        == 1
    )
    assert nodes_of(workspace) == {"n2"}
    assert len(jobs_of(workspace)) == 1
    require_same(workspace, expected, 8)
    require_clean(slurm, workspace)


def test_a_node_without_python_is_avoided_after_two_deaths(slurm, cluster_file, tmp_path, expected):
    change(
        cluster_file,
        python=str(wrapper(tmp_path, '[ "$SLURMD_NODENAME" = n1 ] && { echo no python here >&2; exit 127; }')),
    )
    workspace = tmp_path / "ws"
    code, printed = run(slurm, cluster_file, tmp_path)
    assert code == 0, printed
    assert printed.count("the node n1 is avoided from now on: 2 of this run's jobs ended there") == 1
    assert "ExitCode 127:0" in printed
    assert "ends with: no python here" in printed
    assert nodes_of(workspace) == {"n2"}
    require_same(workspace, expected, 8)
    require_clean(slurm, workspace)


def test_where_no_node_can_be_used_the_run_stops_and_names_them(slurm, cluster_file, tmp_path):
    older = tmp_path / "older" / "numpy-1.26.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.26.0\n")
    change(cluster_file, python=str(wrapper(tmp_path, f"export PYTHONPATH={tmp_path}/older:$PYTHONPATH")))
    code, printed = run(slurm, cluster_file, tmp_path)
    assert code == 2, printed
    assert "3 jobs in a row ended before their workers registered" in printed
    assert "its submission was refused" in printed
    assert "node n1: version of numpy: 1.26.0" in printed
    assert "node n2: version of numpy: 1.26.0" in printed
    require_clean(slurm, tmp_path / "ws")


def test_strict_device_uses_nodes_of_one_kind_only(slurm, cluster_file, tmp_path, expected):
    """Without results so far, the first node that comes says which kind; OpenBLAS can be told to pretend."""
    only = '[ "$SLURMD_NODENAME" = n2 ] && export OPENBLAS_CORETYPE=Nehalem && sleep 3'
    change(cluster_file, python=str(wrapper(tmp_path, only)))
    workspace = tmp_path / "ws"
    code, printed = run(slurm, cluster_file, tmp_path, excluding, jobs="2", strict_device=True)
    assert code == 0, printed
    assert printed.count("the node n2 cannot be used, and is avoided from now on: BLAS kernels: Nehalem") == 1
    assert "--strict-device was given" in printed
    assert nodes_of(workspace) == {"n1"}
    require_same(workspace, expected, 80)
    require_clean(slurm, workspace)


def test_a_node_with_other_kernels_is_named_once_and_used(slurm, cluster_file, tmp_path, expected):
    only = '[ "$SLURMD_NODENAME" = n2 ] && export OPENBLAS_CORETYPE=Nehalem'
    change(cluster_file, python=str(wrapper(tmp_path, only)))
    workspace = tmp_path / "ws"
    code, printed = run(slurm, cluster_file, tmp_path, lambda workspace: len(nodes_of(workspace)) == 2, jobs="2")
    assert code == 0, printed
    assert printed.count("the node n2 has another environment than this controller") == 1
    assert "BLAS kernels: Nehalem (controller: " in printed
    assert "n1 has another" not in printed
    assert nodes_of(workspace) == {"n1", "n2"}
    require_same(workspace, expected, 80)
    require_clean(slurm, workspace)
