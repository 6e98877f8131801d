from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from hpc_recon.core.errors import DataError
from hpc_recon.formats import images


def _save(array, path, mode=None):
    Image.fromarray(array, mode=mode).save(path) if mode is None else Image.fromarray(array).convert(mode).save(path)
    return images.read_image(path)


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
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), np.rot90(rgb, -1))


def test_damaged_image_is_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"the image .*a\.png cannot be decoded"):
        images.read_image(path)


def test_folder_lists_images_by_name_only(tmp_path):
    for name in ("b.PNG", "a.jpeg", "notes.txt", "._a.png"):
        (tmp_path / name).write_text("")
    assert [path.name for path in images.list_images(tmp_path)] == ["a.jpeg", "b.PNG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no image"):
        images.list_images(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist, or is not a folder"):
        images.list_images(tmp_path / "none")


def test_resize_keeps_what_has_the_size_and_the_mean_of_others():
    ramp = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert images.resize(ramp, 40) is ramp
    small = images.resize(ramp, 20)
    assert small.shape == (20, 20, 3)
    oracle = ramp.reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - oracle)[:, 2:-2].max() <= 1  # a ramp is kept by bicubic filters, but for its ends


def test_no_decoder_but_those_of_the_endings_is_tried(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png cannot be decoded"):
        images.read_image(tmp_path / "a.png")


def test_an_image_that_announces_more_than_its_bytes_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("L", (64, 64)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:18] + np.array([8192, 8192], "<i4").tobytes() + content[26:])
    with pytest.raises(DataError, match=r"too many pixels for its \d+ bytes \(8192 x 8192\)"):
        images.read_image(path)
    path.write_bytes(content[:18] + np.array([2**15, 2**15], "<i4").tobytes() + content[26:])
    with pytest.raises(DataError, match=r"too many pixels .*make it smaller"):  # Pillow's own limit
        images.read_image(path)


def test_a_large_image_of_one_colour_is_read(tmp_path):
    """Packed a thousand to one: the most that deflate can do."""
    Image.new("L", (3000, 3000), 7).save(tmp_path / "a.png", optimize=True)
    assert (tmp_path / "a.png").stat().st_size < 13_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (images.read_image(tmp_path / "a.png") == 7).all()
