"""kill -9 of a controller on this machine: its workers go with it, the next one finishes what is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

FAKES = Path(__file__).parent.parent / "run"


@pytest.fixture
def study(tmp_path):
    content = {
        "name": "tiny",
        "workspace": str(tmp_path / "ws"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
        "report": {"description": json.dumps({"n": 12, "seconds": 0.3})},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def start(study):
    """Start a controller in a process group of its own, as a terminal does."""
    environment = {**os.environ, "PYTHONPATH": str(FAKES)}
    command = [sys.executable, str(FAKES / "run_fake.py"), str(study), "local"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def receipts_of(workspace):
    folder = workspace / "receipts" / "fit" / "S1" / "VC" / "net" / "layer"
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("fit-*.json")} if folder.is_dir() else {}


def wait_until(ready, seconds=30):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not after {seconds} s"
        time.sleep(0.05)


def test_killed_half_way_and_started_again(study, tmp_path):
    workspace = tmp_path / "ws"
    first = start(study)
    wait_until(lambda: len(receipts_of(workspace)) >= 3)
    workers = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert workers
    wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 15)
    assert (workspace / "receipts" / "controller.json").exists()
    before = receipts_of(workspace)
    assert 3 <= len(before) < 12
    second = start(study)
    _, printed = second.communicate(timeout=60)
    assert second.returncode == 0, printed
    assert f"process {first.pid} on" in printed
    assert "taking over" in printed
    after = receipts_of(workspace)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before, "finished tiles were computed again"
    assert not list((workspace / "receipts").glob("*controller*"))
    assert not list((workspace / "jobs").glob("tls-*"))


def test_ctrl_c_in_a_terminal_finishes_the_running_tile(study, tmp_path):
    workspace = tmp_path / "ws"
    process = start(study)
    wait_until(lambda: len(receipts_of(workspace)) >= 2)
    os.killpg(process.pid, signal.SIGINT)  # the workers get it too
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    assert 2 <= len(receipts_of(workspace)) < 12
    again = start(study)
    _, printed = again.communicate(timeout=60)
    assert again.returncode == 0, printed
    assert len(receipts_of(workspace)) == 12


def test_a_second_interrupt_leaves_at_once(study, tmp_path):
    process = start(study)
    wait_until(lambda: len(receipts_of(tmp_path / "ws")) >= 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 1, printed
    assert not list((tmp_path / "ws" / "receipts").glob("*controller*"))
    assert not list((tmp_path / "ws" / "jobs").glob("tls-*"))
