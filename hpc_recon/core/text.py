"""Text for people: sizes, durations, counts, closest names, and safe file names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: One path component: no separators, no leading dot or dash, no white space, nothing that a shell minds. Ask
#: `is_safe_name`, not this alone: in Python, `$` also matches before a line feed at the end.
SAFE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+@=-]{0,120}$")
#: Names that Windows, and what synchronises folders with it, takes for devices, with any ending.
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))})
#: Endings that folders must not have: files with them are looked for below `receipts/` and in the workspace.
_TAKEN = (".json", ".partial", ".removed", ".")
#: The rule in words, for error messages.
SAFE_NAME_RULE = (
    "letters, digits and _ . + @ = - only, first a letter or digit, at most 121 characters, not ending in . .json "
    ".partial or .removed, and not the name of a device (CON, NUL, COM1, ...)"
)

_BYTE_UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


def is_safe_name(name: str) -> bool:
    r"""Return whether a name can be one component of a path, on any disk and in any command line.

    >>> is_safe_name("conv5_1"), is_safe_name("../x"), is_safe_name("x\n"), is_safe_name("nul.png")
    (True, False, False, False)
    """
    if SAFE_NAME.fullmatch(name) is None or name.lower().endswith(_TAKEN):
        return False
    return name.partition(".")[0].upper() not in _DEVICES


def checked_name(name: str) -> str:
    """Return a name that is safe.

    Raises
    ------
    ValueError
        If it is not; says the rule.
    """
    if not is_safe_name(name):
        raise ValueError(f"a name has {SAFE_NAME_RULE}")
    return name


def format_bytes(size: float) -> str:
    """Format bytes with a binary unit: `format_bytes(3_000_000)` is `'2.9 MiB'`.

    >>> format_bytes(512), format_bytes(3_000_000)
    ('512 B', '2.9 MiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def parse_bytes(text: str) -> int:
    """Read a size such as `2GiB`, `500 MB` or `1024`.

    >>> parse_bytes("2GiB")
    2147483648

    Raises
    ------
    ValueError
        If the text is not a number with a known unit.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match.group(2).upper() not in _BYTE_UNITS:
        units = ", ".join(["KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"])
        raise ValueError(f"a size is a number and a unit ({units}), for example 2GiB; got {text!r}")
    return int(float(match.group(1)) * _BYTE_UNITS[match.group(2).upper()])


def format_seconds(seconds: float) -> str:
    """Format a duration: `'0.8 s'`, `'42 s'`, `'3 min 05 s'`, `'2 h 10 min'`.

    >>> format_seconds(0.84), format_seconds(185), format_seconds(7800)
    ('0.8 s', '3 min 05 s', '2 h 10 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def closest(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest known name, else the list of known names.

    >>> closest("alhpa", ["alpha", "folds"])
    "; did you mean 'alpha'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"; known: {shown}" if names else ""
