"""Sizes, durations, names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core import text
from hpc_recon.core.errors import StudyError


@given(st.integers(min_value=0, max_value=2**52))
def test_formatted_bytes_read_back_within_rounding(size: int) -> None:
    assert text.parse_bytes(text.format_bytes(size)) == pytest.approx(size, rel=0.06, abs=1)


@pytest.mark.parametrize(("written", "size"), [("1 KB", 1000), ("1KiB", 1024), ("1.5 gib", 3 * 2**29), ("77", 77)])
def test_parse_bytes(written: str, size: int) -> None:
    assert text.parse_bytes(written) == size


@pytest.mark.parametrize("wrong", ["", "GiB", "12 parsecs", "-3MB", "1e9"])
def test_parse_bytes_names_the_units(wrong: str) -> None:
    with pytest.raises(ValueError, match="KiB"):
        text.parse_bytes(wrong)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (86399, "23 h 59 min")],
)
def test_format_seconds(seconds: float, shown: str) -> None:
    assert text.format_seconds(seconds) == shown


def test_closest_lists_names_when_none_is_near() -> None:
    assert text.closest("zzz", ["alpha", "beta"]) == "; known: alpha, beta"
    assert text.closest("zzz", []) == ""


def test_require_known() -> None:
    text.require_known("a", ["a"], what="layer", where="x")
    with pytest.raises(StudyError, match="unknown layer 'conv1-1'; did you mean 'conv1_1'"):
        text.require_known("conv1-1", ["conv1_1"], what="layer", where="study")


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a b", "a/b", "", "a\n", "x" * 200, "a\0b"])
def test_unsafe_names(name: str) -> None:
    assert text.SAFE_NAME.fullmatch(name) is None
