"""What a node must have, and that one which differs otherwise is named once."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from typing import Any

import pytest

from hpc_recon.core import receipts, storage
from hpc_recon.core.errors import ClusterError
from hpc_recon.core.tiles import Group, Need, Tile, canonical
from hpc_recon.run import environment, worker
from hpc_recon.run.environment import Inspector, describe, devices, differences, expectations, require_same_kind


class FakeClient:
    """Hands on what workers say."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, Any]], None]) -> None:
        assert topic == environment.ENVIRONMENT_TOPIC
        self.hear = handler


def test_a_worker_introduces_itself_once() -> None:
    said: list[tuple[str, list[dict[str, str]]]] = []

    class Worker:
        def log_event(self, topic: str, message: list[dict[str, str]]) -> None:
            said.append((topic, message))

    process = Worker()
    environment.introduce(process)
    environment.introduce(process)
    assert said == [(environment.ENVIRONMENT_TOPIC, [describe()])]


def test_this_process_describes_itself() -> None:
    own = describe()
    assert own["host"]
    assert own["version of python"] == platform.python_version()
    assert own["BLAS kernels"]
    for name in worker.SAME_VERSION:
        assert own[f"version of {name}"], name
    assert differences(own, own) == []


def test_kernels_of_more_libraries_are_no_difference() -> None:
    """Which libraries are loaded depends on what a process has done; scipy's may have been built with other kernels."""
    few, more = {"BLAS kernels": "SkylakeX"}, {"BLAS kernels": "Cooperlake, SkylakeX"}
    assert differences(few, more) == differences(more, few) == []
    assert differences({"BLAS kernels": "Haswell"}, more) == [
        "BLAS kernels: Haswell (controller: Cooperlake, SkylakeX)"
    ]
    assert differences({}, few) == ["BLAS kernels: none (controller: SkylakeX)"]


def test_a_missing_package_is_a_difference() -> None:
    assert differences({"host": "a"}, {"host": "b", "version of torch": "2.6"}) == [
        "version of torch: none (controller: 2.6)"
    ]


def test_each_host_is_named_once() -> None:
    own = {"host": "login", "version of numpy": "2.4"}
    client = FakeClient()
    said: list[str] = []
    inspector = Inspector(client, said.append, own=own)
    client.hear((0.0, [{"host": "n1", "version of numpy": "2.4"}]))
    inspector.look()
    assert said == []
    for _ in range(2):
        client.hear((0.0, [{"host": "n2", "version of numpy": "2.3"}]))
    inspector.look()
    inspector.look()
    assert len(said) == 1
    assert "the node n2 has another environment" in said[0]
    assert "version of numpy: 2.3 (controller: 2.4)" in said[0]


def test_a_gpu_counts_where_one_may_be_used(monkeypatch, tmp_path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'NVIDIA H200\\nNVIDIA H200\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("HPC_RECON_XP", "auto")
    assert devices()["GPU"] == "NVIDIA H200"
    monkeypatch.setenv("HPC_RECON_XP", "numpy")
    assert devices()["GPU"] == "none"
    monkeypatch.setenv("HPC_RECON_XP", "cupy")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices()["GPU"] == "none"


def test_expectations_are_there_for_the_workers_and_gone_afterwards(tmp_path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "environment-killed.json").write_text("left by a controller that was killed")
    with expectations(tmp_path, "abc", strict=False):
        assert not (folder / "environment-killed.json").exists()
        expected = json.loads((folder / "environment-abc.json").read_text())
        assert expected == {"controller": describe(), "strict": False}
        assert worker.examine(expected, folder, "abc") == []
        (folder / "broken-abc-w-1.json").write_text("{}")
        (folder / "w-1.log").write_text("kept")
    assert [path.name for path in folder.iterdir()] == ["w-1.log"]


def finish_a_tile(workspace, blas) -> None:
    group = Group("fit", ("S1", "VC", "net", "layer"), canonical({"fit": {"alpha": 1.0}}))
    tile = Tile(group, "fit", 0, 10, Need(host_bytes=1, bytes_in=1, bytes_out=1, files_out=1, seconds=1.0))
    path = workspace / "out.bin"
    path.write_bytes(b"1")
    receipts.write(workspace, tile, [path], {"blas": blas})


def test_strict_means_the_kernels_that_made_the_results_so_far(tmp_path) -> None:
    finish_a_tile(tmp_path, ["openblas VAX", "openblas VAX"])
    with expectations(tmp_path, "abc", strict=True):
        folder = tmp_path / "jobs"
        expected = json.loads((folder / "environment-abc.json").read_text())
        (found,) = worker.examine(expected, folder, "abc")
        assert "(the results so far: VAX); --strict-device was given" in found
    assert not list(folder.iterdir())


def test_strict_without_results_means_the_first_node(tmp_path) -> None:
    with expectations(tmp_path, "abc", strict=True):
        folder = tmp_path / "jobs"
        expected = json.loads((folder / "environment-abc.json").read_text())
        assert worker.examine(expected, folder, "abc") == []
        assert (folder / "devices-abc-BLAS_kernels.txt").read_text() == devices()["BLAS kernels"]


def test_strict_on_this_machine_refuses_other_kernels(tmp_path) -> None:
    require_same_kind(tmp_path)
    finish_a_tile(tmp_path, ["openblas VAX"])
    with pytest.raises(ClusterError, match=r"kernels are .+, the results so far were made with VAX, and --strict-dev"):
        require_same_kind(tmp_path)


def test_strict_finds_results_whose_receipts_lie_elsewhere(tmp_path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    storage.bind(workspace, f"file://{tmp_path / 'arrays'}")
    finish_a_tile(workspace, ["openblas VAX"])
    assert not (workspace / "receipts").exists()
    with pytest.raises(ClusterError, match="made with VAX"):
        require_same_kind(workspace)


def test_strict_on_the_machine_that_made_the_results(tmp_path) -> None:
    finish_a_tile(tmp_path, [f"openblas {devices()['BLAS kernels']}"])
    require_same_kind(tmp_path)
