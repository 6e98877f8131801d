from __future__ import annotations

import h5py
import numpy as np
import pytest

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.formats import hdf5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def made(path, fill):
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def test_absent_empty_wrong_and_truncated_files(path, tmp_path) -> None:
    cases = {"does not exist": None, "is empty": b"", "no HDF5 file: it starts with b'MATLAB 5": b"MATLAB 5.0"}
    for message, content in cases.items():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message), hdf5.open_hdf5(path):
            pass
    with pytest.raises(DataError, match="is not a file"), hdf5.open_hdf5(tmp_path):
        pass
    made(path, lambda file: file.create_dataset("x", data=np.arange(1000.0)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"truncated: it has \d+ bytes"), hdf5.open_hdf5(path):
        pass
    path.write_bytes(hdf5.SIGNATURE + bytes(100))
    with pytest.raises(DataError, match="cannot be opened as HDF5"), hdf5.open_hdf5(path):
        pass


def test_a_user_block_is_found(path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = 1.0
    with hdf5.open_hdf5(path) as file:
        assert hdf5.dataset_at(file, "x")[()] == 1.0


def test_errors_of_the_block_are_translated_only_if_they_are_hdf5s(path) -> None:
    made(path, lambda file: None)
    for raised, expected in (
        (OSError("x"), DataError),
        (KeyError("x"), KeyError),
        (StudyError("a", ["b"]), StudyError),
    ):
        with pytest.raises(expected), hdf5.open_hdf5(path):
            raise raised


def test_links_are_followed_within_the_file_only(path, tmp_path) -> None:
    other = made(tmp_path / "other.h5", lambda file: file.create_dataset("x", data=1.0))

    def fill(file):
        file["real/x"] = 2.0
        file["soft"] = h5py.SoftLink("/real")
        file["out"] = h5py.ExternalLink(str(other), "/")
        file["softly_out"] = h5py.SoftLink("/out")
        file["nowhere"] = h5py.SoftLink("/absent")
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")

    made(path, fill)
    with hdf5.open_hdf5(path) as file:
        assert hdf5.node(file, "soft/x")[()] == 2.0
        for name, message in {
            "out/x": "link to another file.*other.h5",
            "softly_out/x": "link to another file",
            "nowhere": "has no 'absent'",
            "a": "in a circle",
            "rael": "did you mean 'real'",
            "real/x/y": "is a dataset, so it has no 'y'",
        }.items():
            with pytest.raises(DataError, match=message):
                hdf5.node(file, name)
        with pytest.raises(DataError, match="must be a dataset"):
            hdf5.dataset_at(file, "real")
        with pytest.raises(DataError, match="must be a group"):
            hdf5.group_at(file, "real/x")


def test_values_outside_the_file_are_refused(path, tmp_path) -> None:
    def fill(file):
        layout = h5py.VirtualLayout((2,), np.float64)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (2,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (2,), np.float64, external=[(str(tmp_path / "raw"), 0, 16)])
        file.create_dataset("unwritten", (10**7, 10**5), np.float64)
        file.create_dataset("unwritten_chunks", (10**7, 10**5), np.float64, chunks=(100, 100), compression="gzip")
        file.create_dataset("zipped", data=np.zeros((1000, 1000)), compression="gzip", shuffle=True)

    made(path, fill)
    with hdf5.open_hdf5(path) as file:
        for name, message in {
            "virtual": "virtual dataset",
            "external": "outside the file.*raw",
            "unwritten": "the file stores 0 B for them",
            "unwritten_chunks": "the file stores 0 B for them",
        }.items():
            with pytest.raises(DataError, match=message):
                hdf5.dataset_at(file, name)
        assert hdf5.read_numbers(hdf5.dataset_at(file, "zipped"), ndim=2).sum() == 0


def test_plugin_filters_are_refused(path) -> None:
    def fill(file):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2,))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # blosc's registered number
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((2,)), properties)

    made(path, fill)
    with hdf5.open_hdf5(path) as file, pytest.raises(DataError, match=r"plugin filter 32001.*h5repack"):
        hdf5.dataset_at(file, "x")


def test_object_arrays_are_no_numbers(path) -> None:
    def fill(file):
        file.create_dataset("ragged", (1,), h5py.vlen_dtype(np.float64))
        file["ragged"][0] = np.arange(3.0)
        file.create_dataset("reference", data=[file.ref], dtype=h5py.ref_dtype)
        file["text"] = ["a"]
        file["complex"] = np.array([1j])
        file["matrix"] = np.ones((2, 2))

    made(path, fill)
    with hdf5.open_hdf5(path) as file:
        for name, message in {
            "ragged": "different lengths.*object array",
            "reference": "references",
            "text": "holds text",
            "complex": "complex128",
            "matrix": "must have 1 axes",
        }.items():
            with pytest.raises(DataError, match=message):
                hdf5.read_numbers(hdf5.dataset_at(file, name), ndim=1)


def test_texts_of_every_kind(path) -> None:
    def fill(file):
        file["fixed"] = np.array([b"a", "é".encode()])
        file["variable"] = ["a", "é"]
        file["scalar"] = "é"
        file["fixed_scalar"] = np.bytes_("é".encode())
        file["latin"] = np.array([b"a", "é".encode("latin-1")])
        file["numbers"] = np.arange(2)

    made(path, fill)
    with hdf5.open_hdf5(path) as file:
        for name, expected in {
            "fixed": ["a", "é"],
            "variable": ["a", "é"],
            "scalar": ["é"],
            "fixed_scalar": ["é"],
        }.items():
            assert hdf5.read_texts(hdf5.dataset_at(file, name)) == expected
        with pytest.raises(DataError, match=r"text 1 of /latin.*not UTF-8: b'\\xe9'"):
            hdf5.read_texts(hdf5.dataset_at(file, "latin"))
        with pytest.raises(DataError, match="must hold text"):
            hdf5.read_texts(hdf5.dataset_at(file, "numbers"))


def test_many_references_to_one_long_text_are_refused(path) -> None:
    def fill(file):
        file.create_dataset("x", (100,), h5py.string_dtype())
        file["x"][0] = "a" * 10_000

    made(path, fill)
    with h5py.File(path) as file:
        at, size = file["x"].id.get_offset(), file["x"].id.get_storage_size()
    content = bytearray(path.read_bytes())
    content[at : at + size] = bytes(content[at : at + size // 100]) * 100  # all references equal the first
    path.write_bytes(content)
    with hdf5.open_hdf5(path) as file, pytest.raises(DataError, match="the size of the file"):
        hdf5.read_texts(hdf5.dataset_at(file, "x"))


def test_names_that_are_not_utf8_are_shown(path) -> None:
    with h5py.File(path, "w") as file:
        h5py.h5g.create(file.id, b"\xe9t\xe9")
    with hdf5.open_hdf5(path) as file, pytest.raises(DataError, match=r"not UTF-8: b'\\xe9t\\xe9'"):
        hdf5.names(file)
