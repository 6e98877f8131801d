from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats.caffemodel import open_caffemodel

#: Two files written by Google's protobuf (7.x) from messages of these field numbers: the present kind, packed; and
#: the older kind, with legacy dimensions, not packed.
PRESENT = bytes.fromhex(
    "0a036e6577a206680a05636f6e7631120b436f6e766f6c7574696f6e1a04646174612d0000803f3a262a180000c03f000000c0000040400000"
    "80400000a0400000c0403204000010413a040a0203023a1f3a030a010342189a9999999999b93f9a9999999999c93f333333333333d33fa206"
    "0d0a0572656c7531120452654c55"
)
OLDER = bytes.fromhex(
    "0a036f6c6412521205706f6f6c352203666336280e322608011001180220032d0000803f2d000000402d000040402d000080402d0000a0402d"
    "0000c840321a080110011801200241000000000000e03f41000000000000e0bf"
)


def number(value: int) -> bytes:
    """A varint."""
    result = b""
    while value >= 128:
        result, value = result + bytes([value % 128 + 128]), value // 128
    return result + bytes([value])


def part(field: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return number(8 * field + 2) + number(len(content)) + content


def blob(values: np.ndarray) -> bytes:
    shape = part(7, part(1, b"".join(number(n) for n in values.shape)))
    return part(5, values.astype("<f4").tobytes()) + shape


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.caffemodel"


def test_a_file_of_the_present_kind(path: Path):
    found = open_caffemodel(save(path, PRESENT))
    assert found.name == "new"
    assert list(found.layers) == ["conv1"]  # layers without weights are left out
    weight, bias = found.layers["conv1"]
    assert (weight.shape, weight.dtype) == ((3, 2), np.float32)
    assert weight.read().tolist() == [[1.5, -2], [3, 4], [5, 6]]
    assert (bias.shape, bias.dtype) == ((3,), np.float64)
    assert bias.read().tolist() == [0.1, 0.2, 0.3]


def test_a_file_of_the_older_kind_with_legacy_dimensions_and_unpacked_data(path: Path):
    found = open_caffemodel(save(path, OLDER))
    assert found.name == "old"
    weight, bias = found.layers["fc6"]
    assert weight.read().tolist() == [[[[1, 2, 3], [4, 5, 6.25]]]]
    assert bias.read().tolist() == [[[[0.5, -0.5]]]]


def test_a_file_of_the_oldest_kind(path: Path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    v0 = part(1, b"ip1") + part(50, blob(values))
    found = open_caffemodel(save(path, part(2, part(2, b"data") + part(1, v0))))
    assert found.layers["ip1"][0].read().tolist() == values.tolist()


def test_data_in_pieces_are_joined_in_order(path: Path):
    values = np.arange(7, dtype="<f4")
    pieces = part(5, values[:2].tobytes()) + b"".join(b"\x2d" + struct.pack("<f", v) for v in values[2:5])
    pieces += part(5, values[5:].tobytes()) + part(7, part(1, number(7)))
    found = open_caffemodel(save(path, part(100, part(1, b"x") + part(7, pieces))))
    assert found.layers["x"][0].read().tolist() == values.tolist()


def test_nothing_is_read_before_it_is_asked_for(path: Path):
    values = np.random.default_rng(0).standard_normal(4_000_000, dtype=np.float32)
    save(
        path, part(100, part(1, b"big") + part(7, blob(values))) + part(100, part(1, b"s") + part(7, blob(values[:3])))
    )
    tracemalloc.start()
    try:
        found = open_caffemodel(path)
        found.layers["s"][0].read()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.reset_peak()
        read = found.layers["big"][0].read()
        assert tracemalloc.get_traced_memory()[1] < 1.2 * values.nbytes
    finally:
        tracemalloc.stop()
    assert np.array_equal(read, values)


def layer(content: bytes, name: bytes = b"x") -> bytes:
    return part(100, part(1, name) + part(7, content))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (b'name: "VGG"\nlayers {', "damaged or not a protobuf"),
        (part(1, b"VGG"), "holds no layer with weights"),
        (layer(blob(np.zeros(3))[:-2]), "damaged"),
        (layer(part(5, bytes(12)) + part(7, part(1, number(4)))), r"a blob of shape \(4,\) has 3 values"),
        (layer(part(7, part(1, number(4)))), r"a blob of shape \(4,\) has 0 values"),
        (layer(part(5, bytes(12))), r"a blob of shape \(0, 0, 0, 0\) has 3 values"),
        (layer(part(5, bytes(13))), "13 bytes are no whole number of 4-byte values"),
        (layer(part(7, part(1, number(2**64 - 3)))), r"shape \(-3,\) has 0 values"),
        (layer(part(7, part(1, b"\x01" * 33))), "more than 32 integers"),
        (layer(part(7, b"\x08\x01" * 33)), "more than 32 axes"),
        (layer(blob(np.zeros(3)) * 2), "two shapes"),
        (layer(part(5, bytes(4)) + part(8, bytes(8))), "float and double data"),
        (layer(part(5, bytes(4)) * 17), "in more than 16 pieces"),
        (layer(blob(np.zeros(3))) * 2, "two layers with weights are called 'x'"),
        (layer(blob(np.zeros(3))) + part(2, b""), "layers of both kinds"),
        (layer(blob(np.zeros(3)), name=b"\xff"), "not UTF-8"),
        (layer(blob(np.zeros(3)), name=b"x" * 2000), "2000 bytes, more than 1024"),
        (part(100, b"") * 10_001, "more than 10000 layers"),
        (part(100, part(7, b"") * 5_001), "more than 5000 blobs"),
    ],
)
def test_files_that_are_wrong_say_how(path: Path, content: bytes, problem: str):
    with pytest.raises(DataError, match=problem) as caught:
        open_caffemodel(save(path, content))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        open_caffemodel(path)


def attempt(path: Path, content: bytes) -> None:
    """Either an error for the user, or blobs that can be read; at most twice the file and a constant in memory."""
    save(path, content)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        for blobs in open_caffemodel(path).layers.values():
            for found in blobs:
                assert found.read().shape == found.shape
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017  (an error is one of two right outcomes)
    assert tracemalloc.get_traced_memory()[1] - before < 2 * len(content) + 500_000


SEEDS = (PRESENT, OLDER, layer(blob(np.ones((4, 3, 2)))) + part(1, b"n"))


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_files_never_crash(path: Path, content: bytes, data: st.DataObject):
    tracemalloc.start()
    try:
        mutated = bytearray(content)
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(mutated) - 1))
            mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
            if not mutated:
                break
        attempt(path, bytes(mutated[: data.draw(st.integers(0, len(mutated)))]))
        attempt(path, bytes(mutated))
    finally:
        tracemalloc.stop()


@settings(max_examples=100, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage_never_crashes(path: Path, content: bytes):
    tracemalloc.start()
    try:
        attempt(path, content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", SEEDS, ids=["present", "older", "ours"])
def test_every_truncation_is_an_error_or_whole_layers(path: Path, content: bytes):
    whole = {
        name: [b.read().tolist() for b in blobs] for name, blobs in open_caffemodel(save(path, content)).layers.items()
    }
    for n in range(len(content)):
        save(path, content[:n])
        try:
            found = open_caffemodel(path)
        except DataError:
            continue
        assert {name: [b.read().tolist() for b in blobs] for name, blobs in found.layers.items()} == whole
