"""The study file's reference page is the one that the models write, and every key is described."""

from __future__ import annotations

from pathlib import Path

from hpc_recon.core import schema
from hpc_recon.core.config import Study

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_up_to_date() -> None:
    page = (ROOT / "docs/study_file.md").read_text()
    assert page == schema.markdown(), "run: python -m hpc_recon.core.schema > docs/study_file.md"


def test_every_key_has_a_meaning() -> None:
    text = schema.markdown()
    bare = [line for line in text.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not bare
    assert all(f"| `{name}` |" in text for name in Study.model_fields)
