from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.text import SAFE_NAME
from hpc_recon.stores import images

KEY = "ingest/stimuli"


def _stimuli(n=5, **changes) -> images.Stimuli:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 6, 8, 3), dtype=np.uint8)
    pixels[0] = 0  # a black image is nothing but fill values
    made = images.Stimuli(
        images=pixels,
        labels=tuple(f"photo.{i}" for i in range(n)),
        dataset=("training",) * (n - 1) + ("test",),
        category=("",) * n,
        source=tuple(f"photograph {i} ü.png" for i in range(n)),
    )
    return replace(made, **changes)


def test_stimuli_come_back_equal(tmp_path, finish):
    stimuli = _stimuli()
    finish(tmp_path, KEY, images.write_stimuli(tmp_path, stimuli, made_by=KEY))
    table = images.read_table(tmp_path)
    assert (table.labels, table.dataset, table.category, table.source) == (
        stimuli.labels,
        stimuli.dataset,
        stimuli.category,
        stimuli.source,
    )
    assert (table.height, table.width) == (6, 8)
    np.testing.assert_array_equal(images.read_images(tmp_path, None), stimuli.images)
    np.testing.assert_array_equal(images.read_images(tmp_path, np.array([1, 4])), stimuli.images[[1, 4]])


def test_only_black_images_can_be_stored(tmp_path, finish):
    stimuli = _stimuli(images=np.zeros((5, 6, 8, 3), np.uint8))
    finish(tmp_path, KEY, images.write_stimuli(tmp_path, stimuli, made_by=KEY))
    assert not images.read_images(tmp_path).any()


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (("a", "b c", "../d", "", "e"), r"3 of 5 labels of the stimuli do not: 'b c', '\.\./d', ''; rename them"),
        (("a", "a", "b", "b", "c"), "2 labels of the stimuli occur more than once: 'a', 'b'; rename them"),
    ],
)
def test_bad_labels_are_refused_with_examples_and_nothing_is_written(tmp_path, labels, text):
    with pytest.raises(DataError, match=text):
        images.write_stimuli(tmp_path, _stimuli(labels=labels), made_by=KEY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 6, 8, 3)), np.zeros((5, 6, 8), np.uint8), np.zeros((5, 6, 8, 4), np.uint8)]
)
def test_images_of_wrong_type_are_refused(tmp_path, pixels):
    with pytest.raises(DataError, match=r"stimuli are \(n, H, W, 3\) uint8"):
        images.write_stimuli(tmp_path, _stimuli(images=pixels), made_by=KEY)


def test_columns_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"one label, dataset, category and source, got .*'category': 1"):
        images.write_stimuli(tmp_path, _stimuli(category=("x",)), made_by=KEY)


def test_unfinished_or_changed_table_is_refused(tmp_path, finish):
    files = images.write_stimuli(tmp_path, _stimuli(), made_by=KEY)
    with pytest.raises(MissingStore, match=r"columns\.json .* has no receipt .* `python -m hpc_recon\.ingest"):
        images.read_table(tmp_path)
    finish(tmp_path, KEY, files)
    path = tmp_path / "stimuli.zarr" / "columns.json"
    path.write_bytes(path.read_bytes().replace(b"photo.1", b"photo.9"))
    with pytest.raises(DamagedStore, match=r"has changed since it was written .* --redo --only 'ingest/stimuli/'"):
        images.read_table(tmp_path)
    path.unlink()
    with pytest.raises(MissingStore, match=r"stimuli\.zarr/columns\.json does not exist"):
        images.read_table(tmp_path)


def test_picture_and_numbers_lie_side_by_side(tmp_path):
    picture = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    files = images.write_picture(tmp_path / "a" / "n01.02.png", picture)
    assert [path.name for path in files] == ["n01.02.png", "n01.02.npy"]
    np.testing.assert_array_equal(np.load(files[1]), picture)
    with Image.open(files[0]) as opened:
        assert np.abs(np.asarray(opened) / 255 - picture).max() <= 0.5 / 255 + 1e-6  # rounded to 8 bits


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((5, 4)), r"a picture is \(H, W, 3\), got \(5, 4\)"),
        (np.full((2, 2, 3), 1.5), r"values are in \[0, 1\], got \[1\.5, 1\.5\]"),
        (np.full((2, 2, 3), np.nan), r"values are in \[0, 1\]"),
    ],
)
def test_bad_pictures_are_refused(tmp_path, image, text):
    with pytest.raises(DataError, match=text):
        images.write_picture(tmp_path / "x.png", image)
    assert not list(tmp_path.iterdir())


def test_label_rule_is_the_file_name_rule():
    assert SAFE_NAME.match("n01518878_8432.JPEG")
    images.require_labels(["n01518878_8432.JPEG", "1518878.005958"], where="x")


def test_picture_is_read_only_if_its_receipt_agrees(tmp_path, finish):
    picture = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    path = tmp_path / "images" / "x.png"
    files = images.write_picture(path, picture)
    arguments = {"made_by": "reconstruct/icnn", "size": (5, 4)}
    with pytest.raises(MissingStore, match=r"was never finished: no receipt .*hpc_recon\.reconstruct --study"):
        images.read_picture(tmp_path, path, **arguments)
    finish(tmp_path, "reconstruct/icnn", files)
    np.testing.assert_array_equal(images.read_picture(tmp_path, path, **arguments), picture)
    with pytest.raises(DamagedStore, match=r"must hold \(4, 5, 3\) finite values"):
        images.read_picture(tmp_path, path, made_by="reconstruct/icnn", size=(4, 5))
    files[1].write_bytes(b"")
    with pytest.raises(DamagedStore, match="in 0 bytes"):
        images.read_picture(tmp_path, path, **arguments)


def test_an_animation_has_the_stimulus_left_and_each_picture_right(tmp_path):
    stimulus = np.full((8, 6, 3), 200, np.uint8)
    pictures = np.stack([np.full((8, 6, 3), level, np.uint8) for level in (10, 120, 250)])
    path = images.write_animation(tmp_path / "a" / "film.webp", stimulus, pictures)
    with Image.open(path) as film:
        assert (film.size, film.n_frames, film.format) == ((12, 8), 3, "WEBP")
        for i, level in enumerate((10, 120, 250)):
            film.seek(i)
            frame = np.asarray(film.convert("RGB"), int)
            assert abs(frame[:, :5] - 200).max() < 12  # lossy
            assert abs(frame[:, 7:] - level).max() < 12


def test_pictures_of_another_size_are_brought_to_the_stimulus(tmp_path):
    path = images.write_animation(
        tmp_path / "film.webp", np.zeros((8, 6, 3), np.uint8), np.full((2, 20, 20, 3), 90, np.uint8)
    )
    with Image.open(path) as film:
        assert film.size == (12, 8)
