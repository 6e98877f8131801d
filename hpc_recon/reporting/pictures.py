"""Galleries: images as data URIs, in bands of a few columns, stimulus above reconstruction."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array

#: Longest side of an embedded image, pixels: twice what is shown, for sharp screens.
LARGEST = 256
#: Images up to this side are enlarged without smoothing, so that a pixel stays a pixel.
PIXELATED = 64
#: Columns of a band at most: eight images of 100 px fit beside their labels on a laptop, 42 px each on a telephone.
COLUMNS = 8


@dataclass(frozen=True)
class Picture:
    """One embedded image."""

    uri: str
    alt: str
    is_pixelated: bool


@dataclass(frozen=True)
class Strip:
    """One row of a gallery: `kind` is stimulus, reconstruction or baseline; it chooses the frame."""

    label: str
    note: str
    kind: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Band:
    """A few columns: the names above, the rows below each other."""

    names: tuple[str, ...]
    rows: tuple[Strip, ...]


@dataclass(frozen=True)
class Gallery:
    """All images of one dataset that are shown."""

    title: str
    note: str
    columns: int
    bands: tuple[Band, ...]
    is_open: bool = True


def picture(image: Array, alt: str) -> Picture:
    """Embed an image.

    Parameters
    ----------
    image
        (H, W, 3) uint8, or float in [0, 1].
    alt
        What it shows, for people who do not see it.
    """
    pixels = image if image.dtype == np.uint8 else np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    made = Image.fromarray(pixels)
    side = max(made.size)
    if side > LARGEST:
        made = made.resize(
            (round(made.width * LARGEST / side), round(made.height * LARGEST / side)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    made.save(buffer, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(uri, alt, side <= PIXELATED)


def gallery(
    title: str, names: Sequence[str], rows: Sequence[Strip], *, note: str = "", is_open: bool = True
) -> Gallery:
    """Cut rows of equal length into bands of at most eight columns, all about equally long.

    >>> rows = [Strip("seen", "", "stimulus", tuple(Picture("", str(i), True) for i in range(10)))]
    >>> [band.names for band in gallery("letters", "ABCDEFGHIJ", rows).bands]
    [('A', 'B', 'C', 'D', 'E'), ('F', 'G', 'H', 'I', 'J')]

    Raises
    ------
    ValueError
        If a row does not have one picture a name.
    """
    wrong = [row.label for row in rows if len(row.pictures) != len(names)]
    if wrong:
        raise ValueError(f"each row needs one picture a name ({len(names)}), but these have others: {', '.join(wrong)}")
    n_bands = max(1, -(-len(names) // COLUMNS))
    columns = max(1, -(-len(names) // n_bands))
    bands = []
    for start in range(0, len(names), columns):
        part = slice(start, start + columns)
        cut = tuple(Strip(row.label, row.note, row.kind, row.pictures[part]) for row in rows)
        bands.append(Band(tuple(names[part]), cut))
    return Gallery(title, note, columns, tuple(bands), is_open)
