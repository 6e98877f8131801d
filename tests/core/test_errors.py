"""Errors list every mistake, are built-ins too, and travel between processes."""

from __future__ import annotations

import pickle

import pytest

from hpc_recon.core import errors


def test_study_error_lists_every_mistake() -> None:
    error = errors.StudyError("s.yaml", ["one", "two"])
    assert str(error) == "s.yaml: 2 mistakes\n  - one\n  - two"
    assert "1 mistake\n" in str(errors.StudyError("s.yaml", ["one"]))


def test_study_error_travels() -> None:
    error = pickle.loads(pickle.dumps(errors.StudyError("s.yaml", ["one", "two"])))
    assert isinstance(error, errors.StudyError)
    assert error.problems == ("one", "two")


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.DataError, ValueError),
        (errors.MissingStore, FileNotFoundError),
        (errors.DamagedStore, OSError),
        (errors.ChangedStudy, ValueError),
        (errors.ClusterError, RuntimeError),
        (errors.MemoryBudgetError, MemoryError),
    ],
)
def test_each_error_is_a_builtin_too(ours: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(ours, builtin)
    assert issubclass(ours, errors.ReconError)
    assert str(pickle.loads(pickle.dumps(ours("text")))) == "text"
