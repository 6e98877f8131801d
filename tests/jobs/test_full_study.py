"""The script that runs a study verb by verb: the order of the verbs, by a Python that only says what it is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "jobs" / "full_study.sh"


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ("simulate:\n", "simulate extract fit fit decode reconstruct evaluate report status"),
        ("ingest:\nconvert: {pairs: [S1-S2]}\ntrain:\n",
         "ingest extract convert fit fit decode train reconstruct evaluate report status"),
        ("simulate:\nconvert:\n  method: content_loss\n",
         "simulate extract fit fit convert decode reconstruct evaluate report status"),
    ],
)  # fmt: skip
def test_verbs_follow_each_other_as_in_the_pipeline(study, expected, tmp_path):
    (tmp_path / "study.yaml").write_text(study)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$2"\n')
    python.chmod(0o755)
    found = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path / "study.yaml")],
        env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line.removeprefix("hpc_recon.") for line in found.stdout.split()] == expected.split()
