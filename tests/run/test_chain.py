"""Chains of derived studies; `tests/test_control.py` runs one to its end."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import MemoryBudgetError
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.run import chain, session
from hpc_recon.run.options import Options


@pytest.fixture
def calls(monkeypatch):
    """Return the arguments of what would run; no tile is planned for the study's own `control`."""
    seen = []
    monkeypatch.setattr(session, "run_verbs", lambda steps, options: seen.append((steps, options)) or 0)
    monkeypatch.setattr(chain, "_BRAINS", chain.step("simulate"))
    return seen


def test_the_projection_is_printed_before_anything_runs(make_study, tmp_path, calls, capsys):
    study, folder = make_study(), tmp_path / "derived"
    options = Options(study=tmp_path / "other.yaml", assignments=("fit.alpha=3",), limit=1)
    assert chain.run(save_study(study), ["extract"], options, workspace=folder, projected="what it takes") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("what it takes")
    assert "of memory a worker" in printed
    ((steps, own),) = calls
    assert [step.name for step in steps] == ["simulate", "extract"]
    assert (own.study, own.assignments, own.limit) == (folder / "study.yaml", (), 1)
    assert load_study(own.study) == study


def test_a_worker_too_small_is_refused_and_a_dry_run_touches_nothing(make_study, tmp_path, calls):
    text, folder = save_study(make_study()), tmp_path / "derived"
    small = Options(study=tmp_path / "x.yaml", memory=2**20)
    with pytest.raises(MemoryBudgetError):
        chain.run(text, ["extract"], small, workspace=folder, projected="what it takes")
    assert not calls
    before = sorted(tmp_path.rglob("*"))
    assert chain.run(text, [], Options(study=tmp_path / "x.yaml", dry_run=True), workspace=tmp_path / "more") == 0
    assert sorted(tmp_path.rglob("*")) == before
