"""The split by photograph: files exist, and no held-out scene occurs in training, by content."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.feature import match_template

from hpc_recon.core.errors import DataError
from hpc_recon.simulation import photographs

ALL = sorted({*photographs.TRAINING, *photographs.HELD_OUT})


def edges(picture: np.ndarray, side: int = 96) -> np.ndarray:
    """Luminance with the shorter side at `side` pixels, less its surround: smooth skies resemble anything."""
    height, width = picture.shape[:2]
    factor = side / min(height, width)
    image = Image.fromarray(picture).convert("L").resize((round(width * factor), round(height * factor)))
    grey = np.asarray(image, dtype=np.float64)
    return gaussian_filter(grey, 0.7) - gaussian_filter(grey, 3.0)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Largest correlation of a middle piece of `one`, at several sizes and mirrored, anywhere in `other`."""
    scene = edges(other)
    best = 0.0
    for side, mirror in product((56, 72, 88, 96, 104, 120), (False, True)):
        piece = edges(one, side)
        top, left = (round(size * 0.3) for size in piece.shape)
        piece = piece[top : piece.shape[0] - top, left : piece.shape[1] - left]
        piece = piece[:, ::-1] if mirror else piece
        best = max(best, float(match_template(scene, piece).max()))
    return best


@pytest.mark.parametrize("name", ALL)
def test_every_photograph_ships_with_the_packages(name: str):
    picture = photographs.load(name)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 256


def test_no_held_out_photograph_is_a_training_photograph():
    assert not set(photographs.TRAINING) & set(photographs.HELD_OUT)
    assert len({photographs.path_of(name) for name in ALL}) == len(ALL)
    assert len({photographs.load(name).tobytes() for name in ALL}) == len(ALL)


def test_no_held_out_scene_occurs_in_a_training_photograph():
    """The same scene under another name (cut, mirrored, shrunk) would leak the test stimuli into training."""
    pairs = product(photographs.HELD_OUT, photographs.TRAINING)
    alike = {pair: likeness(photographs.load(pair[0]), photographs.load(pair[1])) for pair in pairs}
    assert max(alike.values()) < 0.7, max(alike.items(), key=lambda item: item[1])


def test_the_search_for_scenes_finds_derived_photographs():
    """The other half of the stereo pair, and a mirrored cut of a photograph, are found."""
    left = photographs.load("motorcycle")
    with Image.open(photographs.path_of("motorcycle").with_name("motorcycle_right.png")) as image:
        right = np.asarray(image.convert("RGB"))
    assert likeness(left, right) > 0.8
    cat = photographs.load("chelsea")
    assert likeness(cat[20:, 10:-60][:, ::-1], cat) > 0.9


def test_a_missing_package_or_file_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(photographs._FILES, "lost", ("skimage", "data", "no_such_file.png"))
    monkeypatch.setitem(photographs._FILES, "alien", ("no_such_package", "data", "a.png"))
    with pytest.raises(DataError, match=r"no_such_file\.png does not exist"):
        photographs.load("lost")
    with pytest.raises(DataError, match="no_such_package, which is not installed"):
        photographs.load("alien")
