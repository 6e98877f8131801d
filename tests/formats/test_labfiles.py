from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from hpc_recon.core.errors import DataError
from hpc_recon.formats import labfiles

X = np.arange(12.0).reshape(3, 4)


def _mat5(path):
    cells = np.array([["image one"], ["b"]], dtype=object)
    content = {
        "X": X,
        "small": X.astype(np.uint8),
        "cells": cells,
        "chars": np.array(["abc", "de"]),
        "sparse": scipy.sparse.csc_matrix(X),
        "s": {"inner": {"X": X}},
        "mixed": np.array([np.zeros((2, 2)), "x"], dtype=object),
    }
    scipy.io.savemat(path, content)
    return path


def _mat73(path):
    """Write what MATLAB's -v7.3 writes: reversed axes, cells as references into #refs#, characters as numbers."""
    with h5py.File(path, "w", userblock_size=512) as stream:
        stream["X"] = X.T
        stream["X"].attrs["MATLAB_class"] = np.bytes_("double")
        stream["volume"] = np.arange(24).reshape(2, 3, 4).T
        stream["s/X"] = X.T
        references = []
        for i, word in enumerate(["image one", "b"]):
            item = stream.create_dataset(f"#refs#/{i}", data=np.array([[ord(c)] for c in word], np.uint16))
            item.attrs["MATLAB_class"] = np.bytes_("char")
            references.append(item.ref)
        cells = stream.create_dataset("cells", data=np.array([references], dtype=h5py.ref_dtype))
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        codes = np.array([[ord(c) for c in w] for w in ("abc", "de ")], np.uint16)
        characters = stream.create_dataset("chars", data=codes.T)
        characters.attrs["MATLAB_class"] = np.bytes_("char")
        empty = stream.create_dataset("empty", data=np.array([0, 0], np.uint64))
        empty.attrs["MATLAB_empty"] = np.uint8(1)
    with open(path, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return path


def _h5(path):
    with h5py.File(path, "w") as stream:
        stream["brain/X"] = X
        stream["words"] = ["ä", "b"]
    return path


@pytest.fixture
def lab(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, words=np.array(["ä", "b"]))
    np.save(tmp_path / "a.npy", X)
    _mat5(tmp_path / "v5.mat")
    _mat73(tmp_path / "v73.mat")
    _h5(tmp_path / "a.h5")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("v5.mat", "X"),
        ("v5.mat", "small"),
        ("v5.mat", "sparse"),
        ("v5.mat", "s.inner.X"),
        ("v73.mat", "X"),
        ("v73.mat", "s.X"),
        ("v73.mat", "s/X"),
        ("a.h5", "brain/X"),
        ("a.npz", "X"),
        ("a.npy", None),
    ],
)
def test_each_format_gives_the_same_array(lab, file, key):
    np.testing.assert_array_equal(labfiles.read_array(lab / file, key), X)


def test_all_axes_of_a_v73_file_are_reversed(lab):
    np.testing.assert_array_equal(labfiles.read_array(lab / "v73.mat", "volume"), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("file", "key", "words"),
    [
        ("v5.mat", "cells", ("image one", "b")),
        ("v73.mat", "cells", ("image one", "b")),
        ("v5.mat", "chars", ("abc", "de")),
        ("v73.mat", "chars", ("abc", "de")),
        ("a.h5", "words", ("ä", "b")),
        ("a.npz", "words", ("ä", "b")),
    ],
)
def test_text_of_each_format(lab, file, key, words):
    assert labfiles.text(labfiles.read_array(lab / file, key), "labels") == words


@pytest.mark.parametrize(
    ("file", "key", "message"),
    [
        ("none.mat", "X", r"none\.mat does not exist, or is not a file; correct the path"),
        ("v5.mat", "Xx", r"no key 'Xx'.* \(its keys: X, cells, chars, mixed, s, small, sparse\); correct `key`"),
        ("v5.mat", "smal", r"no key 'smal'; did you mean 'small'\?"),
        ("v73.mat", "Y", r"no key 'Y' \(its keys: X, cells, chars, empty, s/X, volume\)"),
        ("v73.mat", "s", r"no key 's'"),
        ("v73.mat", "empty", r"empty in .* is empty"),
        ("a.h5", "X", r"no key 'X'.* \(its keys: brain/X, words\)"),
        ("a.npz", "Y", r"no key 'Y' \(its keys: X, words\)"),
        ("v5.mat", "s.outer.X", r"no key 's\.outer'.*its keys: s\.inner"),
        ("v5.mat", "X.y", r"X in .* is not a single structure, so it has no field 'y'"),
        ("v5.mat", "mixed", r"neither numbers nor text; save it as a plain array"),
        ("a.npy", "X", r"a \.npy file holds one array, so it takes no key; remove `key`"),
        ("v5.mat", None, r"key says which array is meant; give `key`"),
    ],
)
def test_wrong_files_and_keys_are_explained(lab, file, key, message):
    with pytest.raises(DataError, match=message):
        labfiles.read_array(lab / file, key)


def test_unknown_ending_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(DataError, match=r"a\.csv is none of \.mat \.h5 \.hdf5 \.npz \.npy"):
        labfiles.read_array(tmp_path / "a.csv", "x")


@pytest.mark.parametrize("name", ["v5.mat", "v73.mat", "a.h5", "a.npz", "a.npy"])
@pytest.mark.parametrize("keep", [0, 60])
def test_damaged_files_are_an_error_of_ours(lab, name, keep):
    path = lab / name
    os.truncate(path, keep)
    with pytest.raises(DataError, match=rf"{name} .*(truncated|damaged|empty|copy it again)"):
        labfiles.read_array(path, None if name == "a.npy" else "X")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy holds Python objects, which are never loaded"):
        labfiles.read_array(tmp_path / "a.npy")


def test_numbers_as_text():
    assert labfiles.text(np.array([[1], [20]], np.uint8), "x") == ("1", "20")
    assert labfiles.text(np.array([1.0, 1518878.005958]), "x") == ("1", "1518878.005958")
    assert labfiles.text(np.array([" a ", "b"]), "x") == ("a", "b")
    with pytest.raises(DataError, match="x has 1 labels that are NaN"):
        labfiles.text(np.array([1.0, np.nan]), "x")
    with pytest.raises(DataError, match=r"x must be a vector, but has shape \(2, 2\)"):
        labfiles.text(np.zeros((2, 2)), "x")
    with pytest.raises(DataError, match="x must hold numbers, but holds text"):
        labfiles.numbers(np.array(["a"]), "x")


def test_nan_has_a_name_where_one_is_given():
    numbers = np.array([3.0, np.nan, 0.5])
    assert labfiles.text(numbers, "labels", nan="n/a") == ("3", "n/a", "0.5")
    with pytest.raises(DataError, match="1 labels that are NaN or infinite"):
        labfiles.text(numbers, "labels")
    with pytest.raises(DataError, match="1 labels that are NaN or infinite"):
        labfiles.text(np.array([np.inf, np.nan]), "labels", nan="n/a")


def test_a_structure_names_its_fields_and_a_cell_what_it_holds(lab):
    for file in ("v5.mat", "v73.mat"):
        with pytest.raises(DataError, match=r"no key 's' that is an array: it is a structure \(its keys: s\."):
            labfiles.read_array(lab / file, "s")
    with pytest.raises(DataError, match=r"mixed in .*v5\.mat has a cell that holds numbers \(2, 2\)"):
        labfiles.read_array(lab / "v5.mat", "mixed")


def test_sparse_logical_and_integer_variables_of_v5(tmp_path):
    wide = scipy.sparse.csc_matrix((np.array([1.5, -2.0]), ([0, 2], [1, 3])), shape=(3, 5))
    content = {"wide": wide, "flags": scipy.sparse.csc_matrix(X > 5), "flag": X > 5, "i": X.astype(np.int64)}
    for packed in (False, True):
        scipy.io.savemat(tmp_path / "a.mat", content, do_compression=packed)
        np.testing.assert_array_equal(labfiles.read_array(tmp_path / "a.mat", "wide"), wide.toarray())
        np.testing.assert_array_equal(labfiles.read_array(tmp_path / "a.mat", "flags"), X > 5)
        assert labfiles.read_array(tmp_path / "a.mat", "flag").dtype == bool
        assert labfiles.read_array(tmp_path / "a.mat", "i").dtype == np.int64
    huge = scipy.sparse.csc_matrix((np.ones(1), ([0], [0])), shape=(10**6, 10**6))
    scipy.io.savemat(tmp_path / "a.mat", {"huge": huge})
    with pytest.raises(DataError, match=r"huge in .* is sparse, and takes 7.3 TiB if dense"):
        labfiles.read_array(tmp_path / "a.mat", "huge")


def test_keys_of_an_h5_file_are_paths_and_texts_may_have_axes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as stream:
        stream["a/b.c"] = X
        stream["words"] = np.array([["x", "ü"], ["y", ""]], dtype=object)
        stream["alias"] = h5py.SoftLink("/a/b.c")
    for key in ("a/b.c", "/a/b.c", "alias"):
        np.testing.assert_array_equal(labfiles.read_array(tmp_path / "a.h5", key), X)
    assert labfiles.read_array(tmp_path / "a.h5", "words").tolist() == [["x", "ü"], ["y", ""]]
    with pytest.raises(DataError, match=r"no key 'a' \(its keys: a/b\.c, words\)"):
        labfiles.read_array(tmp_path / "a.h5", "a")


def test_a_scalar_text_of_variable_length_in_a_mat_file_is_not_read_by_libhdf5(tmp_path):
    path = _mat73(tmp_path / "a.mat")
    with h5py.File(path, "r+") as stream:
        stream["X"].attrs["MATLAB_class"] = "double"  # of variable length, which MATLAB never writes
    with pytest.raises(
        DataError, match=r"attribute MATLAB_class of /X .* text of fixed length; write it as MATLAB does"
    ):
        labfiles.read_array(path, "X")
