"""A bounded reader of the protobuf wire format: where the fields of a message lie, and nothing of what they mean.

A message is a sequence of fields: a key (varint: field number * 8 + wire type), then a varint (type 0), 8 bytes
(1), a length and so many bytes (2), or 4 bytes (5). Source: "Encoding", protobuf.dev/programming-guides/encoding.
Nothing is copied and nothing recursive happens: a caller asks for the fields of one range of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_WIRE_NAMES = {VARINT: "varint", FIXED64: "64-bit", BYTES: "length-delimited", FIXED32: "32-bit"}
#: A varint holds 64 bits, 7 a byte.
_MAX_VARINT_BYTES = 10
#: Field numbers have 29 bits.
_MAX_NUMBER = 2**29 - 1
#: Fields of one file that are looked at one by one; a network has thousands. So garbage ends within seconds.
MAX_FIELDS = 200_000
#: Elements of an unpacked array compared in one step: 5 or 9 MiB.
_RUN_STEP = 2**20


@dataclass(frozen=True)
class Field:
    """One field: `value` of a varint, `start` and `stop` of the bytes of anything else.

    `count` fixed-width elements of one field that follow each other key by key (an unpacked array) are one
    `Field`: element i lies at `start + i * (key bytes + width)`, `stride` bytes apart.
    """

    number: int
    wire: int
    value: int
    start: int
    stop: int
    count: int = 1
    stride: int = 0


class Wire:
    """The bytes of one file, and how many fields of it may still be looked at.

    Parameters
    ----------
    data
        (n_bytes,) uint8, usually a memory map.
    where
        The file, for messages.
    """

    def __init__(self, data: Array, *, where: str) -> None:
        self.data = data
        self._bytes = data.data  # single bytes are read faster than from an array
        self.where = where
        self.remaining = MAX_FIELDS

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of the message in bytes `start` to `stop`, in their order.

        Raises
        ------
        DataError
            If a key or a length leads beyond `stop`, a wire type or field number does not exist, a varint has more
            than 64 bits, or the file has more than `MAX_FIELDS` fields.
        """
        at = start
        while at < stop:
            self.remaining -= 1
            if self.remaining < 0:
                raise self.error(at, f"there are more than {MAX_FIELDS} fields")
            key_at = at
            key, at = self.varint(at, stop)
            number, wire = key >> 3, key & 7
            if not 1 <= number <= _MAX_NUMBER:
                raise self.error(key_at, f"field number {number} does not exist")
            if wire == VARINT:
                value, at = self.varint(at, stop)
                yield Field(number, wire, value, at, at)
            elif wire == BYTES:
                length, at = self.varint(at, stop)
                if length > stop - at:
                    raise self.error(key_at, f"field {number} claims {length} bytes where {stop - at} are left")
                yield Field(number, wire, 0, at, at + length)
                at += length
            elif wire in _FIXED:
                if _FIXED[wire] > stop - at:
                    raise self.error(key_at, f"field {number} is cut off after {stop - at} bytes")
                stride = at - key_at + _FIXED[wire]
                count = self._run(key_at, stop, n_key=at - key_at, stride=stride)
                yield Field(number, wire, 0, at, key_at + count * stride, count, stride)
                at = key_at + count * stride
            else:
                raise self.error(key_at, f"wire type {wire} of field {number} is not one of 0, 1, 2, 5")

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return the unsigned varint at byte `at` and the byte behind it.

        Raises
        ------
        DataError
            If it does not end before `stop` or has more than 64 bits.
        """
        value = 0
        for n in range(_MAX_VARINT_BYTES):
            if at + n >= stop:
                raise self.error(at, "a number is cut off")
            byte = self._bytes[at + n]
            value |= (byte & 0x7F) << (7 * n)
            if byte < 0x80:
                if value >= 2**64:
                    break
                return value, at + n + 1
        raise self.error(at, "a number has more than 64 bits")

    def integers(self, field: Field, *, limit: int) -> list[int]:
        """Return the signed 64-bit integers of a field: one varint, or a packed array of `limit` at most.

        Raises
        ------
        DataError
            If the field has another wire type, or more integers.
        """
        if field.wire == VARINT:
            return [_signed(field.value)]
        self.require(field, BYTES)
        found: list[int] = []
        at = field.start
        while at < field.stop:
            if len(found) == limit:
                raise self.error(field.start, f"field {field.number} has more than {limit} integers")
            value, at = self.varint(at, field.stop)
            found.append(_signed(value))
        return found

    def text(self, field: Field, *, limit: int) -> str:
        """Return the text of a field.

        Raises
        ------
        DataError
            If it is longer than `limit` bytes or not UTF-8.
        """
        self.require(field, BYTES)
        if field.stop - field.start > limit:
            raise self.error(
                field.start, f"the text of field {field.number} has {field.stop - field.start} bytes, more than {limit}"
            )
        try:
            return self.data[field.start : field.stop].tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(field.start, f"the text of field {field.number} is not UTF-8") from error

    def require(self, field: Field, wire: int) -> None:
        """Raise `DataError` unless the field has that wire type."""
        if field.wire != wire:
            raise self.error(field.start, f"field {field.number} is {_WIRE_NAMES[field.wire]}, not {_WIRE_NAMES[wire]}")

    def error(self, at: int, problem: str) -> DataError:
        """Return the error that says what is wrong at byte `at`."""
        return DataError(
            f"{self.where} is damaged or not a protobuf file of the expected kind: {problem} (byte {at} of "
            f"{len(self.data)}); compare its size and sha256 with the publisher's, and fetch it again"
        )

    def _run(self, at: int, stop: int, *, n_key: int, stride: int) -> int:
        """Return how many whole elements with the key at byte `at` follow each other (at least one)."""
        possible = (stop - at) // stride
        key = self.data[at : at + n_key]
        count = 0
        step = 1  # grows: most fixed-width fields stand alone
        while count < possible:
            n = min(step, possible - count)
            rows = self.data[at + count * stride : at + (count + n) * stride].reshape(n, stride)[:, :n_key]
            same = (rows == key).all(axis=1)
            if not same.all():
                return count + int(np.argmin(same))
            count += n
            step = min(4 * step, _RUN_STEP)
        return count


def _signed(value: int) -> int:
    """Return the two's complement reading of 64 bits."""
    return value - 2**64 if value >= 2**63 else value
