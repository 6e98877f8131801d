"""The thread count comes from the job, else from the affinity."""

from __future__ import annotations

import os

import pytest

from hpc_recon.core import threads
from hpc_recon.core.errors import StudyError


def test_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.VARIABLE, "7")
    assert threads.available() == 7
    monkeypatch.delenv(threads.VARIABLE)
    assert threads.available() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "", "1.5"])
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(threads.VARIABLE, wrong)
    with pytest.raises(StudyError, match="HPC_RECON_THREADS"):
        threads.available()


def test_worker_environment_is_what_available_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in threads.worker_environment(5).items():
        monkeypatch.setenv(name, value)
    assert threads.available() == 5
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
