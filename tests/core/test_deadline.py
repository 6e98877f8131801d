"""When a job ends."""

import time

import pytest

from hpc_recon.core import deadline


def test_seconds_left(monkeypatch):
    monkeypatch.delenv(deadline.VARIABLE, raising=False)
    assert deadline.seconds_left() is None
    monkeypatch.setenv(deadline.VARIABLE, str(time.time() + 100))
    assert deadline.seconds_left() == pytest.approx(100, abs=5)
