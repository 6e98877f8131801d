from __future__ import annotations

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.stores import checks


def test_records_are_read_once_and_again_when_a_receipt_changes(stored, finish, monkeypatch):
    calls = []
    original = receipts.records
    monkeypatch.setattr(checks.receipts, "records", lambda *args: calls.append(args) or original(*args))
    first = checks.group_records(stored.workspace, stored.made_by)
    assert len(first) == 6
    assert checks.group_records(stored.workspace, stored.made_by) is first
    n_calls = len(calls)
    finish(stored.workspace, stored.made_by, stored.files[:2])  # the same receipt, written again
    assert len(checks.group_records(stored.workspace, stored.made_by)) == 6
    assert len(calls) == n_calls + 1
    next((stored.workspace / "receipts").rglob("stage-00000008*.json")).unlink()
    assert len(checks.group_records(stored.workspace, stored.made_by)) == 4


def test_group_without_receipts_has_no_records(tmp_path):
    assert checks.group_records(tmp_path, "fit/S9/VC") == {}


def test_damaged_receipt_is_an_error_and_not_ignored(stored):
    next((stored.workspace / "receipts").rglob("*.json")).write_text("")
    with pytest.raises(DamagedStore, match=r"receipt .* is damaged"):
        stored.read()


def test_redo_command_selects_the_group():
    assert (
        checks.redo_command("fit/S1/VC") == "`python -m hpc_recon.fit --study <study file> --redo --only 'fit/S1/VC/'`"
    )
