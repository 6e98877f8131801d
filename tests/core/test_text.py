"""Sizes, durations, names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core import text


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


UNSAFE = [
    "../x", "..", ".", "/x", ".x", "-x", "--help", "a b", "a/b", "a\\b", "", "a\n", "\na", "x" * 122, "a\0b", "a\0",
    "~", "a;b", "$x", "a:b", "a*", "a?", "CON", "con", "Nul.png", "aux", "PRN.a.b", "com1", "LPT9.txt", "a.", "a.json",
    "group.JSON", "x.partial", "x.removed", "a\u2215b", "a\uff0fb", "\u2044", "\u202eb", "\u00e9",
    "a\u200b", "\u0430bc", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names(name: str) -> None:
    assert not text.is_safe_name(name)
    with pytest.raises(ValueError, match="a name has letters, digits"):
        text.checked_name(name)


@pytest.mark.parametrize(
    "name",
    ["conv1_1", "S1", "n01518878_8432.JPEG", "x" * 121, "7", "a@1000", "console", "com10", "nullity.x", "json", "a=b"],
)
def test_safe_names(name: str) -> None:
    assert text.is_safe_name(name)
    assert text.checked_name(name) == name
