"""Texts of variable length: what h5py writes is read as h5py reads it; what is damaged is refused at once."""

from __future__ import annotations

import struct

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats import hdf5
from hpc_recon.formats.hdf5_texts import attribute, read_variable

WORDS = ["", "a", "é" * 50, "x" * 5000, "word"] * 40


def read(path, name="x"):
    with hdf5.open_hdf5(path) as file:
        return hdf5.read_texts(hdf5.dataset_at(file, name), flat=True)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize(
    "options", [{}, {"chunks": (7,)}, {"chunks": (7,), "compression": "gzip"},
                {"chunks": (64,), "compression": "gzip", "shuffle": True}]
)  # fmt: skip
def test_what_h5py_writes(tmp_path, libver, userblock, options):
    with h5py.File(tmp_path / "a.h5", "w", libver=libver, userblock_size=userblock) as file:
        file.create_dataset("x", data=WORDS, dtype=h5py.string_dtype(), **options)
        file["scalar"] = "é"
        file["matrix"] = np.array([["a", "b", "c"], ["d", "e", "f"]], dtype=object)
        file.create_dataset("unwritten", (3,), dtype=h5py.string_dtype(), chunks=(2,) if options else None)
        file.create_dataset("partly", (5,), dtype=h5py.string_dtype(), chunks=(2,))[:2] = ["a", "b"]
        file.create_dataset("huge", data="y" * 3_000_000)
    assert read(tmp_path / "a.h5") == WORDS
    assert read(tmp_path / "a.h5", "scalar") == ["é"]
    assert read(tmp_path / "a.h5", "matrix") == list("abcdef")
    with hdf5.open_hdf5(tmp_path / "a.h5") as file:
        # `hdf5.dataset_at` refuses datasets that are not written to their end
        assert read_variable(file["unwritten"], "x") == [b""] * 3
        assert read_variable(file["partly"], "x") == [b"a", b"b", b"", b"", b""]
    assert len(read(tmp_path / "a.h5", "huge")[0]) == 3_000_000


@settings(max_examples=30, derandomize=True)
@given(
    words=st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40), min_size=1)
)
def test_any_texts(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("texts") / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=words, dtype=h5py.string_dtype())
    assert read(path) == words


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=["first", "second"], dtype=h5py.string_dtype())
    return tmp_path / "a.h5"


def changed(path, at, content):
    raw = bytearray(path.read_bytes())
    raw[at : at + len(content)] = content
    path.write_bytes(bytes(raw))
    return path


def heap(path):
    """Return where the collection begins."""
    return path.read_bytes().index(b"GCOL")


@pytest.mark.parametrize(
    ("at", "content", "rule"),
    [
        (0, b"GCOX", "there is no collection of texts"),
        (4, b"\x07", "there is no collection of texts"),
        (8, struct.pack("<Q", 8), "a collection of texts says that it has 8 bytes"),
        (8, struct.pack("<Q", 1 << 62), "says that it has"),
        (16 + 8, struct.pack("<Q", 1 << 63), "object 1 says that it has"),
        (16 + 8, struct.pack("<Q", 2), "a text of 6 bytes is object 1, which has 2"),
        (16, struct.pack("<H", 9), "a text of 6 bytes is object 1, which has 0"),
    ],
)
def test_damaged_heaps_are_refused(path, at, content, rule):
    with pytest.raises(DataError, match=rf"/x in .*a\.h5 is damaged: .*{rule}"):
        read(changed(path, heap(path) + at, content))


def test_free_space_without_a_length_ends_a_collection(path):
    """libhdf5 never comes to the end of it: files 2091, 2157, 3007, 4673 and 5466 of an earlier fuzzer."""
    free = heap(path) + 16 + 24 + 24  # behind both texts, 8 bytes each with a header of 16
    raw = path.read_bytes()
    assert raw[free : free + 2] == b"\0\0"
    assert struct.unpack("<Q", raw[free + 8 : free + 16])[0] > 0
    assert read(changed(path, free + 8, bytes(8))) == ["first", "second"]
    # in front of the texts, they cannot be found
    with pytest.raises(DataError, match="object 2, which has 0"):
        read(changed(path, heap(path) + 16, bytes(16)))


def test_references_that_lead_out_of_the_file_or_are_too_long(path):
    with h5py.File(path) as file:
        at = file["x"].id.get_offset()
    sound = path.read_bytes()
    for content, rule in (
        (struct.pack("<IQI", 5, 1 << 60, 1), "beyond the end of the file"),
        (struct.pack("<IQI", 1 << 30, heap(path), 1), "a text of 1073741824 bytes, which is none"),
        (struct.pack("<IQI", 100, heap(path), 1), "a text of 100 bytes is object 1, which has 6"),
    ):
        path.write_bytes(sound)
        with pytest.raises(DataError, match=rule):
            read(changed(path, at, content))


def test_many_references_to_one_text_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=["y" * 20_000] + [""] * 400, dtype=h5py.string_dtype())
        at = file["x"].id.get_offset()
    raw = bytearray((tmp_path / "a.h5").read_bytes())
    raw[at : at + 401 * 16] = raw[at : at + 16] * 401
    (tmp_path / "a.h5").write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"texts of more than .* bytes, the size of the file"):
        read(tmp_path / "a.h5")


def test_compact_layouts_and_other_filters_have_a_remedy(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((2,)), properties)
        file.create_dataset("packed", data=["a", "b"], dtype=h5py.string_dtype(), chunks=(2,), compression="lzf")
    with pytest.raises(DataError, match=r"h5repack -l CONTI"):
        read(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"the filter 32000; save it with `h5repack -f GZIP=4`"):
        read(tmp_path / "a.h5", "packed")


def test_attributes_of_numbers_and_fixed_texts_are_read_others_refused(path):
    with h5py.File(path, "r+") as file:
        file["x"].attrs["text"], file["x"].attrs["number"] = np.bytes_("double"), np.arange(3)
        file["x"].attrs["long"] = "of variable length"
    with hdf5.open_hdf5(path) as file:
        assert attribute(file["x"], "text") == b"double"
        assert attribute(file["x"], "number").tolist() == [0, 1, 2]
        assert attribute(file["x"], "none") is None
        with pytest.raises(DataError, match=r"attribute long of /x in .* text of fixed length"):
            attribute(file["x"], "long")
