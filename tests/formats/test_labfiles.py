from __future__ import annotations

import hashlib
import os

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

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
        characters = stream.create_dataset("chars", data=np.array([[ord(c) for c in w] for w in ("abc", "de ")]).T)
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
    with pytest.raises(DataError, match=rf"{name} cannot be read as .* is it damaged\?"):
        labfiles.read_array(path, None if name == "a.npy" else "X")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot be read as \.npy .*allow_pickle=False"):
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


def _save(array, path, mode=None):
    Image.fromarray(array, mode=mode).save(path) if mode is None else Image.fromarray(array).convert(mode).save(path)
    return labfiles.read_image(path)


def test_images_become_rgb(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(_save(rgb, tmp_path / "rgb.png"), rgb)
    np.testing.assert_array_equal(_save(rgb[..., 0], tmp_path / "grey.png"), np.repeat(rgb[..., :1], 3, axis=2))
    deep = rgb[..., 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(_save(deep, tmp_path / "deep.png"), np.repeat(rgb[..., :1], 3, axis=2))
    clear = np.dstack([rgb, np.zeros((4, 6), np.uint8)])
    assert (_save(clear, tmp_path / "clear.png") == 255).all()  # laid on white
    opaque = np.dstack([rgb, np.full((4, 6), 255, np.uint8)])
    np.testing.assert_array_equal(_save(opaque, tmp_path / "opaque.png"), rgb)
    with pytest.raises(DataError, match="has 32 bits a pixel"):
        _save(np.zeros((2, 2), np.float32), tmp_path / "float.tif")


def test_rotated_photographs_are_turned_upright(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(labfiles.read_image(tmp_path / "a.png"), np.rot90(rgb, -1))


def test_damaged_image_is_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"the image .*a\.png cannot be read"):
        labfiles.read_image(path)


def test_folder_lists_images_by_name_only(tmp_path):
    for name in ("b.PNG", "a.jpeg", "notes.txt", "._a.png"):
        (tmp_path / name).write_text("")
    assert [path.name for path in labfiles.list_images(tmp_path)] == ["a.jpeg", "b.PNG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no image"):
        labfiles.list_images(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist, or is not a folder"):
        labfiles.list_images(tmp_path / "none")


def test_resize_keeps_what_has_the_size_and_the_mean_of_others():
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert labfiles.resize(ramp, 40) is ramp
    small = labfiles.resize(ramp, 20)
    assert small.shape == (20, 20, 3)
    oracle = ramp.reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - oracle)[:, 2:-2].max() <= 1  # a ramp is kept by bicubic filters, but for its ends


def test_digest_follows_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert labfiles.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"abcd")
    assert labfiles.sha256(path).startswith("88d4266fd4e6338d")


def test_large_files_are_sampled_and_small_ones_are_not(tmp_path):
    small, large = tmp_path / "a", tmp_path / "b"
    small.write_bytes(b"x" * 100)
    assert labfiles.sampled_sha256(small) == f"100:{hashlib.sha256(b'x' * 100).hexdigest()}"
    content = bytearray(np.random.default_rng(0).bytes(9 * 2**20))
    digests = []
    # The first byte, the last, and one in the piece that starts at 3/63 of what is left of the last piece count.
    for place in (None, 0, len(content) - 1, 3 * (len(content) - 65536) // 63):
        changed = bytearray(content)
        if place is not None:
            changed[place] ^= 255
        large.unlink(missing_ok=True)
        large.write_bytes(changed)
        digests.append(labfiles.sampled_sha256(large))
    assert len(set(digests)) == 4
    large.write_bytes(content + b"x")
    assert labfiles.sampled_sha256(large).startswith(f"{9 * 2**20 + 1}:")
