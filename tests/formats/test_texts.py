from __future__ import annotations

import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats.texts import read_text


def test_marks_and_line_ends_are_dropped(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes("\ufeffä\r\nb\n".encode())
    assert read_text(path, limit=100, what="table") == "ä\nb\n"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"x" * 101, "101 bytes are too many for a table .100 B at most"),
        ("ä".encode("latin-1"), "not UTF-8 .* at byte 0.* Save the table as UTF-8"),
        ("ab".encode("utf-16-le"), "NUL at byte 1.* Save the table as UTF-8"),
        (None, "does not exist, or is not a file; correct the path"),
    ],
)
def test_what_is_no_such_text_is_named(tmp_path, content, rule):
    path = tmp_path / "a.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.tsv.*{rule}"):
        read_text(path, limit=100, what="table")


def test_a_line_of_a_gigabyte_is_refused_unread(tmp_path):
    path = tmp_path / "a.tsv"
    with open(path, "wb") as stream:
        stream.truncate(1 << 30)  # sparse: takes no room
    with pytest.raises(DataError, match="1073741824 bytes are too many"):
        read_text(path, limit=1 << 26, what="table")
