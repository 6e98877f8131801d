from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats import protobuf
from hpc_recon.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Wire


def wire(content: bytes) -> Wire:
    return Wire(np.frombuffer(content, np.uint8), where="file")


def fields(content: bytes) -> list[protobuf.Field]:
    return list(wire(content).fields(0, len(content)))


def encode(value: int) -> bytes:
    """Oracle: a varint written by arithmetic, low 7 bits first."""
    digits = []
    while True:
        value, digit = divmod(value, 128)
        digits.append(digit)
        if value == 0:
            return bytes([*(d + 128 for d in digits[:-1]), digits[-1]])


def test_the_example_of_the_specification():
    # protobuf.dev/programming-guides/encoding: field 1 = 150, and field 2 = "testing".
    (number,) = fields(bytes.fromhex("089601"))
    assert (number.number, number.wire, number.value) == (1, VARINT, 150)
    content = bytes.fromhex("120774657374696e67")
    (text,) = fields(content)
    assert (text.number, text.wire) == (2, BYTES)
    assert wire(content).text(text, limit=7) == "testing"


@given(st.integers(0, 2**64 - 1))
def test_varints_of_64_bits(value: int):
    content = encode(value)
    assert wire(content).varint(0, len(content)) == (value, len(content))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_packed_integers_are_signed(values: list[int]):
    packed = b"".join(encode(value % 2**64) for value in values)
    content = b"\x0a" + encode(len(packed)) + packed
    (field,) = fields(content)
    assert wire(content).integers(field, limit=8) == values


@pytest.mark.parametrize(("number", "width", "kind"), [(5, 4, FIXED32), (8, 8, FIXED64), (100, 4, FIXED32)])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 1000])
def test_elements_of_an_unpacked_array_are_one_field(number: int, width: int, kind: int, count: int):
    key = encode(number * 8 + kind)
    content = b"".join(key + i.to_bytes(width, "little") for i in range(count)) + b"\x08\x01"
    run, last = fields(content)
    assert (run.number, run.wire, run.count, run.stride) == (number, kind, count, len(key) + width)
    assert [content[run.start + i * run.stride] for i in range(min(count, 200))] == list(range(min(count, 200)))
    assert (last.number, last.value) == (1, 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x08", "a number is cut off"),
        (b"\x08\x80", "a number is cut off"),
        (b"\x08" + b"\xff" * 10, "more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "more than 64 bits"),
        (b"\x0a\x05ab", "field 1 claims 5 bytes where 2 are left"),
        (b"\x0a" + encode(2**63), "claims 9223372036854775808 bytes"),
        (b"\x0d\x00\x00", "field 1 is cut off after 2 bytes"),
        (b"\x09" + bytes(7), "field 1 is cut off after 7 bytes"),
        (b"\x0b", "wire type 3 of field 1"),
        (b"\x0f", "wire type 7 of field 1"),
        (b"\x00", "field number 0 does not exist"),
        (encode(2**32), "field number 536870912 does not exist"),
    ],
)
def test_malformed_messages_say_what_is_wrong_and_where(content: bytes, problem: str):
    with pytest.raises(DataError, match=problem) as caught:
        fields(content)
    assert "file is damaged" in str(caught.value)
    assert f"of {len(content)})" in str(caught.value)


def test_a_file_of_countless_fields_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 10)
    assert len(fields(b"\x08\x01" * 10)) == 10
    with pytest.raises(DataError, match="more than 10 fields"):
        fields(b"\x08\x01" * 11)


def test_texts_and_integers_have_limits_and_types():
    content = b"\x0a\x03\x01\x02\x03\x08\x01\x0a\x01\xff"
    packed, number, bad = fields(content)
    assert wire(content).integers(number, limit=1) == [1]
    for read, problem in (
        (lambda: wire(content).integers(packed, limit=2), "more than 2 integers"),
        (lambda: wire(content).text(packed, limit=2), "has 3 bytes, more than 2"),
        (lambda: wire(content).text(bad, limit=2), "not UTF-8"),
        (lambda: wire(content).text(number, limit=2), "is varint, not length-delimited"),
    ):
        with pytest.raises(DataError, match=problem):
            read()
