"""A secret reaches no file of a run and no message: receipts, logs, job scripts, the resolved study, the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.redaction import HIDDEN

SECRET = "wJalrXUtnFEMI7K7MDENGbPxRfiCYEX"
TOKEN = "ghp-0123456789abcdefghijklmnop"
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SESSION_TOKEN": f"{TOKEN}-session",
    "LAB_API_TOKEN": TOKEN,
}
#: What none of them may appear in, in either direction: the leaky verb spells one backwards.
NEVER = (SECRET, SECRET[::-1], TOKEN, "AKIAIOSFODNN7EXAMPLE")


def leaks(*folders: Path) -> list[str]:
    """Return every file below some folders whose content or name has a secret."""
    return [
        f"{path}: {word}"
        for folder in folders
        for path in folder.rglob("*")
        for word in NEVER
        if word in path.name or (path.is_file() and word.encode() in path.read_bytes())
    ]


@pytest.mark.parametrize("kind", ["local", "slurm"])
def test_errors_and_warnings_of_tiles(start, kind: str) -> None:
    run = start(kind, environment=ENVIRONMENT, program=Path(__file__).parent / "run_leaky.py", n=4)
    assert run.process.wait(400) == 1
    printed = run.process.stderr.read()
    # It is there that they would stand: the traceback, its cause, the warning, and the worker's own log.
    assert f"signed by {HIDDEN}" in printed
    assert f"the token {HIDDEN}" in printed
    assert HIDDEN in "".join(path.read_text() for path in (run.workspace / "logs").glob("*.txt"))
    assert HIDDEN in "".join(path.read_text() for path in run.receipts())
    if kind == "slurm":
        output = "".join(p.read_text() for p in (*run.workspace.glob("jobs/*.log"), *run.spool.glob("*.log")))
        assert "cannot store" in output
        assert HIDDEN in output
    assert not [word for word in NEVER if word in printed]
    assert not leaks(run.workspace, run.spool)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/prefix",
        f"s3://{TOKEN}@bucket/prefix",
        f"s3://bucket/prefix?token={TOKEN}",
        f"https://bucket.example.org/x?X-Amz-Signature={SECRET}",
        f"s3://bucket/prefix#{TOKEN}",
        f"az://container/x?sig={SECRET}",
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}/x@bucket",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(make_study, url: str) -> None:
    for change in ({"arrays": url}, {"set_": [f"arrays={url}"]}):
        with pytest.raises(StudyError) as caught:
            make_study(**change)
        assert "arrays" in str(caught.value)
        assert not [word for word in NEVER if word in str(caught.value)]


def test_a_url_with_a_secret_on_the_command_line(make_study, tmp_path: Path) -> None:
    make_study()
    url = f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/prefix?token={TOKEN}"
    command = [sys.executable, "-m", "hpc_recon.fit", "--study", str(tmp_path / "study.yaml"), "--dry-run"]
    command += ["--set", f"arrays={url}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 2
    assert "arrays" in found.stderr
    assert not [word for word in NEVER if word in found.stdout + found.stderr]
    assert not (tmp_path / "runs").exists()


def test_a_secret_in_another_key_is_not_repeated_in_its_error(make_study) -> None:
    """Somebody who puts the URL where a number belongs is told so without it."""
    with pytest.raises(StudyError, match="seed") as caught:
        make_study(seed=f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/prefix")
    assert not [word for word in NEVER if word in str(caught.value)]


def test_credentials_of_an_object_store(
    make_study, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_cluster: list[str]
) -> None:
    """A real command with its arrays and receipts in an object store: its credentials stay in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    study = make_study(arrays=f"{bucket}/vision")
    command = [sys.executable, "-m", "hpc_recon.simulate", "--study", str(tmp_path / "study.yaml"), *plain_cluster]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert not [word for word in NEVER if word in found.stdout + found.stderr]
    assert study.workspace is not None
    assert list(study.workspace.glob("jobs/study-*.yaml"))
    assert not leaks(study.workspace)
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    name = bucket.removeprefix("s3://")
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=name)["Contents"]]
    assert any("/receipts/simulate/" in key for key in keys)
    assert any(key.endswith("/zarr.json") for key in keys)
    for key in keys:
        content = client.get_object(Bucket=name, Key=key)["Body"].read()
        assert not [word for word in NEVER if word.encode() in content], key
